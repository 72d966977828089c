//! The child's end of supervision. Its standard input is a pipe from the supervisor: the first line says what the child
//! needs to know, a further line `stop` asks it to end in good order, and the pipe's end means that the supervisor has
//! died, in whatever way.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use super::{READY, STOP};
use crate::error::{Error, Result};
use crate::stop::Stop;

/// The first line is there at once, or something else than a supervisor started this program.
const FIRST_LINE: Duration = Duration::from_secs(10);
/// How often it is looked meanwhile whether to stop.
const LOOK: Duration = Duration::from_millis(50);
/// How long a child that has lost its supervisor may take to end by itself.
const LOST_GRACE: Duration = Duration::from_secs(1);
/// The longest line that a supervisor writes, in bytes.
const LONGEST_LINE: u64 = 1024;

/// Waits for the supervisor's first line; from then on `stop` is asked when the supervisor says so or has died. In the
/// latter case the flag given is set, and the process ends soon, whatever it does.
///
/// # Errors
/// No line comes, or stop is asked before.
pub fn listen(stop: &Stop) -> Result<(String, Arc<AtomicBool>)> {
    let lost = Arc::new(AtomicBool::new(false));
    let (tell, first_line) = mpsc::channel();
    let (asked, flag) = (stop.clone(), lost.clone());
    thread::Builder::new()
        .name("supervisor".to_owned())
        .spawn(move || {
            obey(BufReader::new(io::stdin()), &tell, &asked);
            flag.store(true, Ordering::Relaxed);
            end(&asked);
        })
        .map_err(|e| Error::new("no thread for the supervisor's pipe").caused_by(e))?;
    let deadline = Instant::now() + FIRST_LINE;
    loop {
        match first_line.recv_timeout(LOOK) {
            Ok(line) => return Ok((line, lost)),
            Err(RecvTimeoutError::Timeout) if Instant::now() < deadline && !stop.is_asked() => {}
            Err(_) => return Err(Error::new("standard input brings no word of a supervisor")),
        }
    }
}

/// Tells the supervisor that a server accepts connections at `address`.
pub fn say_ready(address: SocketAddr) {
    // Without a supervisor there is nobody to tell.
    let _ = writeln!(io::stdout(), "{READY}{address}");
}

/// Does what the pipe says until it ends.
fn obey(mut pipe: impl BufRead, first_line: &mpsc::Sender<String>, stop: &Stop) {
    let mut first = Some(first_line);
    loop {
        let mut line = String::new();
        match pipe.by_ref().take(LONGEST_LINE).read_line(&mut line) {
            Ok(1..) => {}
            Ok(0) | Err(_) => return,
        }
        let line = line.trim_end_matches('\n');
        match first.take() {
            Some(tell) => drop(tell.send(line.to_owned())),
            None if line == STOP => stop.ask(),
            None => {}
        }
    }
}

/// Ends the process: at best by itself, as it is asked to stop, else by force.
fn end(stop: &Stop) -> ! {
    if !stop.is_asked() {
        log::error!("the supervisor is gone: ending");
    }
    stop.ask();
    thread::sleep(LOST_GRACE);
    log::logger().flush();
    std::process::exit(1);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_is_handed_over_and_a_later_one_can_ask_to_stop() {
        let (tell, first_line) = mpsc::channel();
        let stop = Stop::new();
        obey(&b"127.0.0.1:7 token\nwhat is this\n"[..], &tell, &stop);
        assert_eq!(first_line.recv().unwrap(), "127.0.0.1:7 token");
        assert!(!stop.is_asked());
        obey(&b"stop\nstop\n"[..], &tell, &stop);
        assert_eq!(first_line.recv().unwrap(), "stop");
        assert!(stop.is_asked());
    }
}
