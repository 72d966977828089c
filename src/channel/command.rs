//! A program as the handler: it is run for each message, reads it on its standard input, and says by its exit
//! status whether it is done.

use std::ffi::OsStr;
use std::fmt;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use serde_json::json;

use super::handler::{Cause, Failure, Handler};
use super::print;
use super::puller::{Headers, Received};
use super::running::BUSY_GRACE;
use crate::config::ConsumerSettings;
use crate::error::{Error, Result};
use crate::stop::Stop;

/// The message's topic, UTF-8.
pub const TOPIC: &str = "POINT_TO_POINT_TOPIC";
/// Its partition.
pub const PARTITION: &str = "POINT_TO_POINT_PARTITION";
/// Its offset.
pub const OFFSET: &str = "POINT_TO_POINT_OFFSET";
/// Which attempt this is, from 1 on.
pub const ATTEMPT: &str = "POINT_TO_POINT_ATTEMPT";
/// Its time, ms since 1970; unset if it has none.
pub const TIMESTAMP: &str = "POINT_TO_POINT_TIMESTAMP";
/// Its key, if it has one and that is text: UTF-8 without NUL.
pub const KEY: &str = "POINT_TO_POINT_KEY";
/// Its key in base64 (RFC 4648, with padding), if it has one that is no text.
pub const KEY_BASE64: &str = "POINT_TO_POINT_KEY_BASE64";
/// Its headers in their order, a JSON list of objects: `{"name":"a","value":"text"}`, with `"base64"` instead
/// of `"value"` where the value is not UTF-8; a null value is null.
pub const HEADERS: &str = "POINT_TO_POINT_HEADERS";

/// When stop is asked, a program that runs has until so long before the end of the consumer's own grace.
const LAST_MOMENT: Duration = Duration::from_secs(1);

/// It is looked at a running program after this, then after twice as long each time, up to [`LONGEST_LOOK`].
const FIRST_LOOK: Duration = Duration::from_micros(500);
const LONGEST_LOOK: Duration = Duration::from_millis(20);

/// The bytes of a program by which it is told from a script.
const BEGINNING: u64 = 256;

/// Runs a program for each message.
pub struct CommandHandler {
    program: String,
    arguments: Vec<String>,
    time_limit: Duration,
    stop: Stop,
}

/// Why a program did not handle a message.
#[derive(Debug)]
pub enum HandlerFailed {
    /// It could not be started.
    NotStarted(io::Error),
    /// It ended with another status than 0, or by a signal.
    Ended(ExitStatus),
    /// It took longer than this and was killed.
    TooLong(Duration),
    /// It could not be waited for.
    Lost(io::Error),
}

impl fmt::Display for HandlerFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HandlerFailed::NotStarted(error) => write!(f, "the handler cannot be started: {error}"),
            HandlerFailed::Ended(status) => write!(f, "the handler ended with {status}"),
            HandlerFailed::TooLong(limit) => {
                write!(f, "the handler took longer than {} ms and was killed", limit.as_millis())
            }
            HandlerFailed::Lost(error) => write!(f, "the handler cannot be waited for: {error}"),
        }
    }
}

impl std::error::Error for HandlerFailed {}

/// How a run ended.
enum Run {
    Ended(ExitStatus),
    TooLong,
    /// It was killed because the consumer stops.
    Interrupted,
}

impl CommandHandler {
    /// Runs what `consumer.handler` names. `stop` cuts a run short.
    ///
    /// # Errors
    /// When there is no such program: every message would become a dead letter.
    pub fn new(settings: &ConsumerSettings, stop: Stop) -> Result<CommandHandler> {
        let (program, arguments) = settings
            .handler
            .split_first()
            .ok_or_else(|| Error::new("consumer.handler names no program").about_settings())?;
        let refused = |what: String| Err(Error::new(format!("consumer.handler: {what}")).about_settings());
        let Some(path) = find(program) else {
            return refused(format!("there is no program {program:?} that can be run"));
        };
        if is_text_alone(&path) {
            return refused(format!("{} has to begin with a line like #!/bin/sh", path.display()));
        }
        Ok(CommandHandler {
            program: program.clone(),
            arguments: arguments.to_vec(),
            time_limit: settings.handler_timeout(),
            stop,
        })
    }

    fn start(&self, message: &Received<'_>) -> io::Result<Child> {
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).stdin(Stdio::piped());
        // In a group of its own, so that Ctrl-C does not end it, and what it started can be killed with it.
        command.process_group(0);
        let set = |command: &mut Command, name: &str, value: Option<String>| {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        };
        let text =
            message.key.and_then(|key| std::str::from_utf8(key).ok()).filter(|key| !key.contains('\0'));
        let binary = message.key.filter(|_| text.is_none());
        set(&mut command, TOPIC, Some(message.topic.to_owned()));
        set(&mut command, PARTITION, Some(message.partition.to_string()));
        set(&mut command, OFFSET, Some(message.offset.to_string()));
        set(&mut command, ATTEMPT, Some(message.attempt.to_string()));
        set(&mut command, TIMESTAMP, message.timestamp.map(|timestamp| timestamp.to_string()));
        set(&mut command, KEY, text.map(str::to_owned));
        set(&mut command, KEY_BASE64, binary.map(|key| STANDARD.encode(key)));
        set(&mut command, HEADERS, Some(shown(message.headers)));
        command.spawn()
    }

    fn run(&self, message: &Received<'_>) -> Result<ExitStatus, Failure> {
        let failed = |error: HandlerFailed| Failure::Failed(Cause::of(&error));
        let mut child = self.start(message).map_err(|error| failed(HandlerFailed::NotStarted(error)))?;
        let outcome = self.watch(&mut child, message.value.unwrap_or_default());
        if !matches!(outcome, Ok(Run::Ended(_))) {
            kill(&mut child);
        }
        match outcome {
            Ok(Run::Ended(status)) => Ok(status),
            Ok(Run::TooLong) => Err(failed(HandlerFailed::TooLong(self.time_limit))),
            Ok(Run::Interrupted) => Err(Failure::Interrupted),
            Err(error) => Err(failed(HandlerFailed::Lost(error))),
        }
    }

    /// Writes the message to the program as it reads, and waits for its end. It need not read.
    fn watch(&self, child: &mut Child, value: &[u8]) -> io::Result<Run> {
        let deadline = Instant::now() + self.time_limit;
        let mut stop_deadline = None;
        let mut input = Input::new(child.stdin.take(), value)?;
        let mut look = FIRST_LOOK;
        loop {
            if input.write_some() {
                look = FIRST_LOOK;
            }
            if let Some(status) = child.try_wait()? {
                return Ok(Run::Ended(status));
            }
            let now = Instant::now();
            if now >= deadline {
                return Ok(Run::TooLong);
            }
            if self.stop.is_asked() && now >= *stop_deadline.get_or_insert(now + BUSY_GRACE - LAST_MOMENT) {
                log::warn!("the handler does not end and is killed, as the consumer stops");
                return Ok(Run::Interrupted);
            }
            thread::sleep(look.min(deadline - now));
            look = (look * 2).min(LONGEST_LOOK);
        }
    }
}

impl Handler for CommandHandler {
    fn joined(&mut self) -> Result<()> {
        print::Printer::on_stdout().joined()
    }

    fn handle(&mut self, message: &Received<'_>) -> Result<(), Failure> {
        let status = self.run(message)?;
        if status.success() {
            return Ok(());
        }
        // A program that prints fails at every message when nobody reads that any more.
        Err(broken_output().map_or_else(
            || Failure::Failed(Cause::of(&HandlerFailed::Ended(status))),
            |output| Failure::Broken(print::broken(output, message, io::ErrorKind::BrokenPipe.into())),
        ))
    }
}

/// Which of the outputs that a program shares with its consumer nobody reads any more.
fn broken_output() -> Option<&'static str> {
    let (output, error) = (io::stdout(), io::stderr());
    let mut outputs = [output.as_fd(), error.as_fd()].map(|output| PollFd::new(output, PollFlags::empty()));
    poll(&mut outputs, PollTimeout::ZERO).ok()?;
    let gone = |output: &PollFd<'_>| {
        output.revents().is_some_and(|found| found.intersects(PollFlags::POLLERR | PollFlags::POLLHUP))
    };
    let names = ["standard output", "standard error"];
    outputs.iter().zip(names).find(|(output, _)| gone(output)).map(|(_, name)| name)
}

/// What is still to be written to a program; its pipe never blocks.
struct Input<'a> {
    pipe: Option<ChildStdin>,
    rest: &'a [u8],
}

impl<'a> Input<'a> {
    fn new(pipe: Option<ChildStdin>, value: &'a [u8]) -> io::Result<Input<'a>> {
        if let Some(pipe) = &pipe {
            fcntl(pipe, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        }
        Ok(Input { pipe, rest: value })
    }

    /// Writes what fits, and closes the pipe after the end; tells whether anything was written.
    fn write_some(&mut self) -> bool {
        let Some(pipe) = &mut self.pipe else { return false };
        let before = self.rest.len();
        while !self.rest.is_empty() {
            match pipe.write(self.rest) {
                Ok(written) => self.rest = self.rest.get(written..).unwrap_or_default(),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                // It does not want the rest; what that means is its exit status's to say.
                Err(_) => self.rest = &[],
            }
        }
        let written = self.rest.len() < before;
        if self.rest.is_empty() {
            self.pipe = None;
        }
        written
    }
}

/// Kills a program and all of its group, and waits for it.
fn kill(child: &mut Child) {
    if let Ok(group) = i32::try_from(child.id()) {
        // Until it is waited for, nobody else can have its number.
        let _ = killpg(Pid::from_raw(group), Signal::SIGKILL);
    }
    if let Err(error) = child.kill().and_then(|()| child.wait()) {
        log::error!("the handler cannot be ended: {error}");
    }
}

fn shown(headers: Headers<'_>) -> String {
    let header =
        |(name, value): (std::borrow::Cow<'_, str>, Option<&[u8]>)| match value.map(std::str::from_utf8) {
            None => json!({ "name": name, "value": null }),
            Some(Ok(text)) => json!({ "name": name, "value": text }),
            Some(Err(_)) => json!({ "name": name, "base64": STANDARD.encode(value.unwrap_or_default()) }),
        };
    // JSON escapes NUL, which no environment can hold.
    serde_json::Value::from_iter(headers.iter().map(header)).to_string()
}

/// Where there is such a program: a path, or a name in one of the folders of `PATH`.
fn find(program: &str) -> Option<PathBuf> {
    let is_program = |path: &PathBuf| {
        path.metadata().is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
    };
    if program.contains('/') {
        return Some(PathBuf::from(program)).filter(is_program);
    }
    let path = std::env::var_os("PATH");
    let folders = std::env::split_paths(path.as_deref().unwrap_or(OsStr::new("/bin:/usr/bin")));
    folders.into_iter().map(|folder| folder.join(program)).find(is_program)
}

/// Whether this is a script that does not say what is to run it. A shell would take it for its own, but the system
/// starts it for nobody else. Programs in machine code have a NUL in their first bytes.
fn is_text_alone(path: &Path) -> bool {
    let mut beginning = Vec::new();
    let read = File::open(path).and_then(|file| file.take(BEGINNING).read_to_end(&mut beginning));
    // What cannot be read may be run all the same.
    read.is_ok() && !beginning.starts_with(b"#!") && !beginning.contains(&0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::records::OwnHeaders;

    fn handler(script: &str, time_limit_ms: u64) -> (CommandHandler, Stop) {
        let stop = Stop::new();
        let handler = ["sh", "-c", script].map(str::to_owned).to_vec();
        let settings =
            ConsumerSettings { handler, handler_timeout_ms: time_limit_ms, ..ConsumerSettings::default() };
        (CommandHandler::new(&settings, stop.clone()).unwrap(), stop)
    }

    fn message(value: &[u8]) -> Received<'_> {
        let headers = Headers::default();
        Received {
            topic: "t",
            partition: 1,
            offset: 2,
            key: None,
            value: Some(value),
            timestamp: None,
            headers,
            attempt: 1,
        }
    }

    fn fails(script: &str, time_limit_ms: u64, value: &[u8]) -> String {
        match handler(script, time_limit_ms).0.handle(&message(value)) {
            Err(Failure::Failed(cause)) => {
                assert_eq!(cause.kind, "point_to_point::channel::command::HandlerFailed");
                cause.message
            }
            other => panic!("{script}: {other:?}"),
        }
    }

    #[test]
    fn only_exit_status_0_says_that_a_message_is_done() {
        assert!(handler("exit 0", 60_000).0.handle(&message(b"1")).is_ok());
        assert_eq!(fails("exit 3", 60_000, b"1"), "the handler ended with exit status: 3");
        assert!(fails("kill -9 $$", 60_000, b"1").starts_with("the handler ended with signal: 9"));
    }

    #[test]
    fn a_program_that_does_not_read_a_large_message_holds_up_nobody() {
        let large = vec![b'1'; 1_000_000];
        assert!(handler("exit 0", 60_000).0.handle(&message(&large)).is_ok());
        assert!(handler("exec <&-; exit 0", 60_000).0.handle(&message(&large)).is_ok());
        // What it started still has the pipe.
        assert!(handler("sleep 0.3 & exit 0", 60_000).0.handle(&message(&large)).is_ok());
        let killed = "the handler took longer than 200 ms and was killed";
        assert_eq!(fails("sleep 600", 200, &large), killed);
    }

    #[test]
    fn a_large_message_arrives_whole() {
        let large = vec![b'1'; 1_000_000];
        assert!(handler("test $(wc -c) -eq 1000000", 60_000).0.handle(&message(&large)).is_ok());
    }

    #[test]
    fn what_a_program_started_is_killed_with_it_at_the_time_limit() {
        let mut unique = [0; 4];
        getrandom::fill(&mut unique).unwrap();
        let seconds = 1_000 + u32::from_ne_bytes(unique) % 1_000_000;
        let script = format!("sleep {seconds} & sleep {seconds}; true");
        fails(&script, 300, b"1");
        // They are killed together, but end when the system comes to it.
        let deadline = Instant::now() + Duration::from_secs(30);
        let left = || {
            let found = Command::new("pgrep").args(["-f", &format!("^sleep {seconds}$")]).output().unwrap();
            String::from_utf8_lossy(&found.stdout).into_owned()
        };
        while !left().is_empty() {
            assert!(Instant::now() < deadline, "still running: {}", left());
            thread::sleep(Duration::from_millis(20));
        }
    }

    #[test]
    fn headers_are_json_that_keeps_nulls_and_bytes() {
        let given: [(&str, Option<&[u8]>); 4] =
            [("a", Some(b"\"x\"\0")), ("a", None), ("señal", Some(b"\xff\0")), ("", Some(b""))];
        let headers = OwnHeaders::new(given);
        let text = shown(headers.borrowed());
        assert!(!text.contains('\0'));
        let expected = json!([
            { "name": "a", "value": "\"x\"\0" },
            { "name": "a", "value": null },
            { "name": "señal", "base64": "/wA=" },
            { "name": "", "value": "" },
        ]);
        assert_eq!(serde_json::from_str::<serde_json::Value>(&text).unwrap(), expected);
    }

    #[test]
    fn a_program_that_cannot_be_run_is_an_error_at_once() {
        let no_program = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
        for program in ["no-such-program", "./no-such-program", "/", no_program, ""] {
            let settings = ConsumerSettings { handler: vec![program.to_owned()], ..Default::default() };
            let Err(error) = CommandHandler::new(&settings, Stop::new()) else { panic!("{program:?}") };
            assert!(error.is_about_settings(), "{error}");
        }
    }

    #[test]
    fn a_script_that_does_not_say_what_runs_it_is_refused_at_once() {
        let mut unique = [0; 8];
        getrandom::fill(&mut unique).unwrap();
        let path = std::env::temp_dir().join(format!("handler-{:016x}", u64::from_ne_bytes(unique)));
        let of = |script: &str| {
            std::fs::write(&path, script).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
            let handler = vec![path.to_str().unwrap().to_owned()];
            CommandHandler::new(&ConsumerSettings { handler, ..Default::default() }, Stop::new())
        };
        let (without, empty, with) = (of("exit 0\n"), of(""), of("#!/bin/sh\nexit 0\n"));
        std::fs::remove_file(&path).unwrap();
        for refused in [without, empty] {
            let Err(error) = refused else { panic!("it must be refused") };
            assert!(error.is_about_settings() && error.to_string().contains("#!/bin/sh"), "{error}");
        }
        assert!(with.is_ok());
    }

    #[test]
    fn a_program_that_cannot_be_started_any_more_is_a_failure() {
        let mut handler = handler("true", 1_000).0;
        handler.program = "no-such-program".to_owned();
        let Err(Failure::Failed(cause)) = handler.handle(&message(b"1")) else { panic!("it must fail") };
        assert!(cause.message.starts_with("the handler cannot be started: "), "{cause}");
    }
}
