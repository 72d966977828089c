//! The child's end of the socket to its supervisor, which is the child's standard input. The first line is
//! the [`StartMessage`]. A later line `stop` asks the child to end in good order, `stop at once` to wait for
//! nothing any more, `alive?` whether the child's loop goes round, and `warning` says what is wrong with the
//! supervisor. The end of the socket means that
//! the supervisor has died; on Linux a child that is frozen then is continued, so that it reads that. The
//! child sends its [`ChildMessage`]s over the same socket.

use std::io::{self, BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use super::messages::{ASK, ChildMessage, STOP, STOP_AT_ONCE, StartMessage, WARNING};
use super::shared_output::{self, SharedOutput};
use crate::error::{Error, Result};
use crate::lines::{Lines, TooLong};
use net::pulse::Pulse;
use net::stop::Stop;
use net::sync::{Mutex, lock};
use platform::outputs::RawOutput;
use platform::{link, processes};

/// The time limit for the start message. A supervisor sends it at once.
const START_TIMEOUT: Duration = Duration::from_secs(10);
/// The time that a child without a supervisor may take to end by itself.
const LOST_GRACE: Duration = Duration::from_secs(1);
/// The end of that time, in which handlers are ended.
const LAST_MOMENT: Duration = Duration::from_millis(200);
/// The longest line that a supervisor writes, in bytes: a path has up to 4 KiB, and grows by a third in
/// base64.
const LONGEST_LINE: usize = 8 * 1024;

/// A child's link to its supervisor.
pub struct ParentLink {
    /// The parameters of the supervisor's start message.
    pub parameters: String,
    /// The standard output that the child shares with the supervisor and the other children.
    pub output: StandardOutput,
    /// Whether that output is a terminal.
    pub on_terminal: bool,
    /// Whether the supervisor has died.
    pub is_lost: Arc<AtomicBool>,
    /// What is wrong with the supervisor.
    pub warning: ParentWarning,
    /// The child's loop, by which the supervisor's questions are answered.
    pub pulse: Pulse,
}

/// What a supervisor says is wrong with itself. A clone says the same.
#[derive(Clone, Default)]
pub struct ParentWarning(Arc<Mutex<Option<String>>>);

impl ParentWarning {
    /// A sentence without its full stop; `None` while nothing is wrong.
    pub fn read(&self) -> Option<String> {
        lock(&self.0).clone()
    }

    fn set(&self, what: &str) {
        *lock(&self.0) = (!what.is_empty()).then(|| format!("the supervisor: {what}"));
    }
}

/// Waits for the supervisor's start message. From then on `stop` is asked when the supervisor sends `stop` or
/// dies. After its death `is_lost` is set, and the process ends within a second, whatever it does.
///
/// # Errors
/// No start message comes, the output cannot be shared, or stop is asked before.
pub fn connect(stop: &Stop) -> Result<ParentLink> {
    let is_lost = Arc::new(AtomicBool::new(false));
    // `None` is the wish to stop.
    let (sender, first_line) = mpsc::channel();
    let stop_sender = sender.clone();
    let _hook = stop.on_ask(move || drop(stop_sender.send(None)));
    let (warning, pulse) = (ParentWarning::default(), Pulse::default());
    let (asked, flag) = (stop.clone(), is_lost.clone());
    let told = Told { stop: stop.clone(), warning: warning.clone(), pulse: pulse.clone() };
    thread::Builder::new()
        .name("supervisor".to_owned())
        .spawn(move || {
            thaw_at_the_end_of_the_supervisor();
            let first_line = read_messages(BufReader::new(link::from_supervisor()), &sender, &told);
            flag.store(true, Ordering::Relaxed);
            end_process(&asked, first_line.as_deref());
        })
        .map_err(|e| Error::new("the thread supervisor cannot be started").caused_by(e))?;
    match first_line.recv_timeout(START_TIMEOUT) {
        Ok(Some(line)) => open(&line, is_lost, warning, pulse),
        Ok(None) | Err(_) => Err(Error::new("standard input brings no start message of a supervisor")),
    }
}

fn open(line: &str, is_lost: Arc<AtomicBool>, warning: ParentWarning, pulse: Pulse) -> Result<ParentLink> {
    let start = StartMessage::from_line(line)
        .ok_or_else(|| Error::new("--supervised is for the supervisor alone").about_settings())?;
    let output = RawOutput::stdout()
        .and_then(|out| SharedOutput::open(out, &start.lock_file))
        .map_err(|e| Error::new("standard output cannot be shared with the supervisor").caused_by(e))?;
    let output = StandardOutput { shared: Arc::new(output), prefix: start.prefix.into_bytes() };
    let (parameters, on_terminal) = (start.parameters, start.on_terminal);
    Ok(ParentLink { parameters, output, on_terminal, is_lost, warning, pulse })
}

/// The shared standard output, where each line of this process begins with its name. Each write takes one or
/// more whole lines, and returns when the output has taken them. A failure is reported to the supervisor.
#[derive(Clone)]
pub struct StandardOutput {
    shared: Arc<SharedOutput>,
    prefix: Vec<u8>,
}

impl Write for StandardOutput {
    fn write(&mut self, lines: &[u8]) -> io::Result<usize> {
        let mut named = Vec::with_capacity(self.prefix.len() + lines.len());
        for line in lines.split_inclusive(|byte| *byte == b'\n') {
            named.extend_from_slice(&self.prefix);
            named.extend_from_slice(line);
        }
        self.shared
            .print(&named)
            .inspect_err(|error| send(&ChildMessage::OutputFailed(error.to_string())))?;
        Ok(lines.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Tells the supervisor that a server accepts connections at `address`.
pub fn send_ready(address: SocketAddr) {
    send(&ChildMessage::Ready(address));
}

/// Tells the supervisor which member of its group this process is.
pub fn send_member(id: &str) {
    send(&ChildMessage::Member(id.to_owned()));
}

/// Tells the supervisor how this process is, a sentence for people.
pub fn send_status(status: &str) {
    send(&ChildMessage::Status(status.to_owned()));
}

fn send(message: &ChildMessage) {
    // A supervisor that is gone needs no message.
    let _ = link::send_to_supervisor(format!("{message}\n").as_bytes());
}

/// Who hears what the supervisor says.
#[derive(Default)]
struct Told {
    stop: Stop,
    warning: ParentWarning,
    pulse: Pulse,
}

/// Reads the supervisor's messages until the socket ends: hands over the first line, which it also returns,
/// and has the others heard.
fn read_messages(
    socket: impl BufRead,
    first_line: &mpsc::Sender<Option<String>>,
    told: &Told,
) -> Option<String> {
    let lines = Lines::new(socket, LONGEST_LINE, TooLong::Skip).map_while(Result::ok);
    let mut lines = lines.map_while(|line| line.text.and_then(|text| String::from_utf8(text).ok()));
    let first = lines.next()?;
    let _ = first_line.send(Some(first.clone()));
    for line in lines {
        match (line.as_str(), line.strip_prefix(WARNING)) {
            (_, Some(what)) => told.warning.set(what),
            (STOP, _) => told.stop.ask(),
            // The supervisor kills whoever is still there a moment later.
            (STOP_AT_ONCE, _) => told.stop.hurry(),
            (ASK, _) if told.pulse.ask() => send(&ChildMessage::Alive),
            _ => {}
        }
    }
    Some(first)
}

/// A process that is frozen (SIGSTOP) could not end itself, and would keep its port.
fn thaw_at_the_end_of_the_supervisor() {
    if let Err(error) = processes::thaw_at_the_end_of_the_parent() {
        log::debug!("the end of the supervisor will not be signalled: {error}");
    }
}

/// Ends the process: it is asked to stop, and exits after [`LOST_GRACE`] at the latest.
fn end_process(stop: &Stop, first_line: Option<&str>) -> ! {
    if !stop.is_asked() {
        log::error!("the supervisor is gone: ending");
    }
    stop.ask();
    // Processes that have opened the file can go on.
    let start = first_line.and_then(StartMessage::from_line);
    start.iter().for_each(|start| shared_output::remove(&start.lock_file));
    thread::sleep(LOST_GRACE.saturating_sub(LAST_MOMENT));
    // Handlers are no longer waited for: they would outlive this process.
    stop.hurry();
    thread::sleep(LAST_MOMENT);
    log::logger().flush();
    std::process::exit(1);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_is_handed_over_and_a_later_one_can_ask_to_stop() {
        let (sender, first_line) = mpsc::channel();
        let told = Told::default();
        let stop = &told.stop;
        let first = read_messages(&b"127.0.0.1:7 token\nwhat is this\n"[..], &sender, &told);
        assert_eq!(first_line.recv().unwrap().as_deref(), Some("127.0.0.1:7 token"));
        assert_eq!(first.as_deref(), Some("127.0.0.1:7 token"));
        assert!(!stop.is_asked());
        read_messages(&b"stop\nstop\n"[..], &sender, &told);
        assert_eq!(first_line.recv().unwrap().as_deref(), Some("stop"));
        assert!(stop.is_asked() && !stop.is_hurried());
        read_messages(&b"parameters\nstop at once\n"[..], &sender, &told);
        assert!(stop.is_hurried());
    }

    #[test]
    fn a_warning_of_the_supervisor_is_kept_until_it_is_over() {
        let (sender, _first_line) = mpsc::channel();
        let told = Told::default();
        read_messages(&b"start\nwarning no room\n"[..], &sender, &told);
        assert_eq!(told.warning.read().as_deref(), Some("the supervisor: no room"));
        read_messages(&b"start\nwarning \n"[..], &sender, &told);
        assert_eq!(told.warning.read(), None);
        assert!(!told.stop.is_asked());
    }
}
