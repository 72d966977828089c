//! One child process: its start, its socket, its log, and its end.

use std::ffi::OsString;
use std::io::{self, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::Sender;
use std::thread;
use std::time::{Duration, Instant};

use super::Event;
use super::messages::{ASK, ChildMessage, STOP, STOP_AT_ONCE, StartMessage, WARNING};
use super::output::{LogSource, Output};
use super::watchdog::Life;
use crate::lines::{LineEnd, Lines, TooLong};
use platform::link::{Link, Offer};

/// The longest line of a log that is held in memory, in bytes. A longer line is split. The largest message is
/// less, also when every byte of it has to be escaped.
const LONGEST_LINE: usize = 8 * 1024 * 1024;
/// The size of a reader's buffer, in bytes.
const BUFFER: usize = 64 * 1024;

/// The role that a child process plays.
#[derive(Debug, Clone)]
pub struct Role {
    /// The child's name, which is the prefix of its lines.
    pub name: &'static str,
    /// The command line, without the options for settings.
    pub arguments: Vec<OsString>,
    /// Options for settings that only this role has. They override the common options.
    pub options: Vec<OsString>,
    /// Whether the role is a server, which reports when it is ready. A server that fails before it was ready
    /// for the first time is not restarted.
    pub is_server: bool,
}

/// A running child process, which is killed on drop.
pub struct ChildProcess {
    process: Child,
    link: Link,
    started: Instant,
    /// What it has shown of its life.
    pub life: Life,
}

impl ChildProcess {
    /// Starts child number `index` (from 0): the `program` with the role's arguments and then `options`. The
    /// child's standard input is a socket to this process, over which it receives `parameters`. `events`
    /// receives the child's readiness, and the close of the socket, which only the child's end causes. The
    /// child writes to the standard output of this process itself.
    ///
    /// # Errors
    /// The program cannot be started, or the system gives no socket or no thread.
    pub fn start(
        (index, role): (usize, &Role),
        (program, options): (&Path, &[OsString]),
        parameters: &str,
        output: &Output,
        events: &Sender<Event>,
    ) -> io::Result<ChildProcess> {
        let mut command = Command::new(program);
        command.args(&role.arguments).args(options).args(&role.options);
        net::service_manager::withhold(&mut command);
        command.stdout(Stdio::inherit()).stderr(Stdio::piped());
        let offer = Offer::to(&mut command)?;
        let mut process = command.spawn()?;
        // The command holds the child's end of the connection, which has to close with the child.
        drop(command);
        let linked = offer.accepted_by(&mut process).and_then(|link| Ok((link.try_clone()?, link)));
        let (received, mut link) = linked.inspect_err(|_| {
            let _ = process.kill().and_then(|()| process.wait());
        })?;
        let Some(log) = process.stderr.take() else {
            return Err(io::Error::other("the child has no pipe for its log"));
        };
        let source = output.source(role.name, index + 1);
        let start = StartMessage {
            prefix: source.prefix().to_owned(),
            lock_file: output.lock_file().to_owned(),
            on_terminal: output.style().on_terminal,
            parameters: parameters.to_owned(),
        };
        // If the child has ended already, its exit status says more than this error.
        let _ = writeln!(link, "{}", start.to_line());
        let running = ChildProcess { process, link, started: Instant::now(), life: Life::begin() };
        let id = running.id();
        spawn(format!("{}-log", role.name), move || copy_log(&source, log))?;
        let (output, events) = (output.clone(), events.clone());
        spawn(format!("{}-messages", role.name), move || {
            read_messages(received, |message| match message {
                ChildMessage::Ready(address) => drop(events.send(Event::Ready(index, address))),
                ChildMessage::Member(id) => drop(events.send(Event::Member(index, id))),
                ChildMessage::Alive => drop(events.send(Event::Alive(index, id))),
                ChildMessage::Status(status) => drop(events.send(Event::Status(status))),
                ChildMessage::OutputFailed(reason) => output.failed(reason),
            });
            drop(events.send(Event::Closed(index, id)));
        })?;
        Ok(running)
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// The time since the start.
    pub fn uptime(&self) -> Duration {
        self.started.elapsed()
    }

    /// Asks the child to stop: in good order, or `at_once`, without waiting for anything.
    pub fn ask_to_stop(&mut self, at_once: bool) {
        // The socket has room for this line. A child that has ended is noticed elsewhere.
        let _ = writeln!(self.link, "{}", if at_once { STOP_AT_ONCE } else { STOP });
    }

    /// Tells the child what is wrong with this process; `None`: nothing more.
    pub fn warn(&mut self, what: Option<&str>) {
        let _ = writeln!(self.link, "{WARNING}{}", what.unwrap_or_default());
    }

    /// Asks the child whether its loop goes round.
    pub fn ask_whether_alive(&mut self) {
        if self.life.may_be_asked() {
            let _ = writeln!(self.link, "{ASK}");
        }
    }

    /// The exit status, if the child has ended.
    pub fn exit_status(&mut self) -> Option<ExitStatus> {
        self.process.try_wait().ok().flatten()
    }

    /// Kills the child, if it has not ended already, and returns its exit status.
    ///
    /// # Errors
    /// The system does not know the process.
    pub fn kill(&mut self) -> io::Result<ExitStatus> {
        self.process.kill()?;
        self.process.wait()
    }
}

impl Drop for ChildProcess {
    fn drop(&mut self) {
        let _ = self.kill();
    }
}

fn spawn(name: String, body: impl FnOnce() + Send + 'static) -> io::Result<()> {
    thread::Builder::new().name(name).spawn(body).map(drop)
}

/// Reads a child's messages until its socket closes.
fn read_messages(socket: impl Read, mut receive: impl FnMut(ChildMessage)) {
    let lines = Lines::new(BufReader::with_capacity(BUFFER, socket), LONGEST_LINE, TooLong::Split);
    for line in lines.map_while(Result::ok).filter(|line| line.end != LineEnd::EndOfInput) {
        line.text.and_then(|text| ChildMessage::from_line(&text)).into_iter().for_each(&mut receive);
    }
}

/// Copies a child's log to the output until its pipe closes.
fn copy_log(source: &LogSource, log: impl Read) {
    let lines = Lines::new(BufReader::with_capacity(BUFFER, log), LONGEST_LINE, TooLong::Split);
    lines.map_while(Result::ok).filter_map(|line| line.text).for_each(|text| source.log(&text));
}
