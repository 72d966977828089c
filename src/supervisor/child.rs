//! One child process: started with its pipes, asked to stop, ended.

use std::ffi::OsString;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::Sender;
use std::thread;
use std::time::{Duration, Instant};

use super::lines::{self, Line};
use super::output::{Output, Source};
use super::{Event, READY, STOP};

/// A child that is to run.
#[derive(Debug, Clone)]
pub struct Role {
    /// Its name, which stands before its lines.
    pub name: &'static str,
    /// Its command line, without the options for settings.
    pub arguments: Vec<OsString>,
    /// Options for settings of its own, over those that all have.
    pub options: Vec<OsString>,
    /// Whether it is a server, which says when it is ready. Until it was so once, its failure is not tried again.
    pub says_ready: bool,
}

/// A child that runs. Dropped, it is killed.
pub struct Running {
    process: Child,
    pipe: ChildStdin,
    since: Instant,
}

impl Running {
    /// Starts child number `index` (from 0): the `program` with the role's arguments and then `options`. It is told
    /// `first_line`; `events` hears when its output is closed and when it is ready.
    ///
    /// # Errors
    /// The program cannot be started, or the system gives no thread for its lines.
    pub fn start(
        (index, role): (usize, &Role),
        (program, options): (&Path, &[OsString]),
        first_line: &str,
        output: &Output,
        events: &Sender<Event>,
    ) -> io::Result<Running> {
        let mut command = Command::new(program);
        command.args(&role.arguments).args(options).args(&role.options);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut process = command.spawn()?;
        let pipes = (process.stdin.take(), process.stdout.take(), process.stderr.take());
        let (Some(mut pipe), Some(out), Some(log)) = pipes else {
            return Err(io::Error::other("a child without pipes"));
        };
        // Should it have ended already, its exit status says more than this error.
        let _ = writeln!(pipe, "{first_line}");
        let running = Running { process, pipe, since: Instant::now() };
        let id = running.id();
        let source = output.source(role.name, index + 1);
        spawn(format!("{}-log", role.name), move || show_log(&source, log))?;
        let (source, events) = (output.source(role.name, index + 1), events.clone());
        let is_server = role.says_ready;
        spawn(format!("{}-output", role.name), move || {
            let mut ready = |address| drop(events.send(Event::Ready(index, address)));
            let ended = show(&source, out, is_server.then_some(&mut ready));
            drop(source);
            if ended {
                // Only its end closes its output.
                drop(events.send(Event::Closed(index, id)));
            }
        })?;
        Ok(running)
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// How long ago it was started.
    pub fn ran(&self) -> Duration {
        self.since.elapsed()
    }

    /// Asks it to end in good order.
    pub fn ask_to_stop(&mut self) {
        // The pipe has room for this line; whether it has ended already is seen elsewhere.
        let _ = writeln!(self.pipe, "{STOP}");
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.process.try_wait().ok().flatten()
    }

    /// Ends it, if it has not ended already, and tells how it did.
    ///
    /// # Errors
    /// The system does not know the process.
    pub fn kill(&mut self) -> io::Result<ExitStatus> {
        self.process.kill()?;
        self.process.wait()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.kill();
    }
}

fn spawn(name: String, body: impl FnOnce() + Send + 'static) -> io::Result<()> {
    thread::Builder::new().name(name).spawn(body).map(drop)
}

/// Shows its messages, and tells a server's address to `ready`; tells whether it has ended. What was cut off was not
/// committed, and comes again whole.
fn show(source: &Source, out: impl io::Read, mut ready: Option<&mut dyn FnMut(SocketAddr)>) -> bool {
    lines::each(out, |line| match line {
        Line::Whole(line) => match ready.as_mut().zip(address_of(line)) {
            Some((ready, address)) => {
                ready(address);
                true
            }
            None => source.print(line),
        },
        Line::CutOff(_) => true,
    })
}

fn show_log(source: &Source, log: impl io::Read) {
    lines::each(log, |line| {
        let (Line::Whole(line) | Line::CutOff(line)) = line;
        source.log(line);
        true
    });
}

/// The address in a line that says that a server is ready.
fn address_of(line: &[u8]) -> Option<SocketAddr> {
    std::str::from_utf8(line.strip_prefix(READY.as_bytes())?).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stop::Stop;

    #[test]
    fn a_server_that_is_ready_says_where() {
        assert_eq!(address_of(b"ready 127.0.0.1:5000"), Some(SocketAddr::from(([127, 0, 0, 1], 5000))));
        assert_eq!(address_of(b"ready to go"), None);
        assert_eq!(address_of(b"Mensaje recibido: 1"), None);
    }

    #[test]
    fn nobody_but_a_server_is_believed_to_be_ready() {
        let output = Output::start(io::sink(), false, Stop::new()).unwrap();
        let said = |is_server: bool| {
            let mut told = Vec::new();
            let mut ready = |address| told.push(address);
            let lines = &b"ready 127.0.0.1:5000\n"[..];
            show(&output.source("a", 1), lines, is_server.then_some(&mut ready));
            told.len()
        };
        assert_eq!((said(true), said(false)), (1, 0));
    }
}
