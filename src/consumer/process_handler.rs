//! The handler that runs a program for each message. The program reads the message on its standard input, and
//! its exit status says whether the message is handled.

use std::fmt;
use std::io::{self, Write};
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::BUSY_GRACE;
use super::handler::{Failure, FailureCause, Handler};
use super::handler_output::{HandlerOutput, ProgramOutput, StopDeadline};
use super::handler_stderr::{HandlerStderr, ProgramStderr};
use super::print_handler;
use super::program::{self, Program};
use super::program_input::{self, ProgramInput};
use super::{ConsumerRecord, ProcessSettings};
use crate::error::{Error, Result};
use net::stop::Stop;
use platform::outputs;
use platform::processes::GroupChild;

/// After a stop, a running program is killed this long before the consumer's own time limit.
const LAST_MOMENT: Duration = Duration::from_secs(1);

/// Runs a program for each message. Its clones are for other threads, and print through the same writer.
#[derive(Clone)]
pub struct ProcessHandler {
    program: Arc<Program>,
    time_limit: Duration,
    stop: Stop,
    /// The output to which the consumer prints for the program; else the program inherits standard output.
    output: Option<Arc<HandlerOutput>>,
    stderr: Arc<HandlerStderr>,
}

/// Why a program did not handle a message.
#[derive(Debug)]
pub enum HandlerFailed {
    /// The program could not be started.
    NotStarted(io::Error),
    /// The program ended with another status than 0, or by a signal.
    Ended(ExitStatus),
    /// The program took longer than this and was killed.
    TooLong(Duration),
    /// The wait for the program failed.
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

/// The outcome of a run. Only with [`RunOutcome::Ended`] the program has ended by itself.
enum RunOutcome {
    /// The program ended with this status; and whether its output was written before the consumer had to
    /// stop.
    Ended(ExitStatus, io::Result<bool>),
    TooLong,
    /// The program has to be killed because the consumer stops.
    Interrupted,
    /// The program's output cannot be written any more.
    Broken(io::Error),
}

impl ProcessHandler {
    /// Runs what `consumer.handler` names. `stop` cuts a run short.
    ///
    /// # Errors
    /// There is no such program: every message would become a dead letter; or the system gives no pipe, or no
    /// thread.
    pub fn new(settings: &ProcessSettings, stop: Stop) -> Result<ProcessHandler> {
        let program = Arc::new(Program::find(program::SETTING, &settings.command)?);
        let stderr = Arc::new(HandlerStderr::start()?);
        Ok(ProcessHandler { program, time_limit: settings.timeout, stop, output: None, stderr })
    }

    /// Lets the consumer print the program's output to `out`, in whole lines. A message counts as handled
    /// only when all output until the program's end is written.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn printing_to(self, out: impl Write + Send + 'static) -> Result<ProcessHandler> {
        let output = HandlerOutput::start(out)
            .map_err(|e| Error::new("the thread handler-output cannot be started").caused_by(e))?;
        Ok(ProcessHandler { output: Some(Arc::new(output)), ..self })
    }

    fn start(&self, message: &ConsumerRecord<'_>) -> io::Result<GroupChild> {
        let mut command = self.program.command();
        if self.output.is_some() {
            command.stdout(Stdio::piped());
        }
        command.stderr(self.stderr.stdio());
        program_input::set_environment(&mut command, message);
        GroupChild::spawn(&mut command)
    }

    /// Runs the program, whose standard error is in `stderr` then, if it is read.
    fn run(
        &self,
        message: &ConsumerRecord<'_>,
        stderr: &mut Option<ProgramStderr>,
    ) -> Result<ExitStatus, Failure> {
        let failed = |error: HandlerFailed| Failure::Failed(FailureCause::of(&error));
        let mut child = self.start(message).map_err(not_started)?;
        let mut output = None;
        let attached = child.stderr.take().map(|pipe| self.stderr.attach(pipe)).transpose();
        let outcome = attached.and_then(|attached| {
            *stderr = attached;
            self.watch(&mut child, &mut output, message.value.unwrap_or_default())
        });
        if !matches!(outcome, Ok(RunOutcome::Ended(..))) {
            program::kill(&mut child);
        }
        if matches!(outcome, Ok(RunOutcome::Interrupted)) {
            log::warn!("the handler did not end and was killed, as the consumer stops");
        }
        output.into_iter().for_each(ProgramOutput::detach);
        match outcome {
            Ok(RunOutcome::Ended(status, Ok(true))) => Ok(status),
            Ok(RunOutcome::TooLong) => Err(failed(HandlerFailed::TooLong(self.time_limit))),
            Ok(RunOutcome::Interrupted | RunOutcome::Ended(_, Ok(false))) => Err(Failure::Interrupted),
            Ok(RunOutcome::Broken(error) | RunOutcome::Ended(_, Err(error))) => {
                Err(Failure::Broken(print_handler::broken("standard output", message, error)))
            }
            Err(error) => Err(failed(HandlerFailed::Lost(error))),
        }
    }

    /// Writes the message to the program as far as it reads, prints its output, and waits for its end.
    fn watch(
        &self,
        child: &mut GroupChild,
        output: &mut Option<ProgramOutput>,
        value: &[u8],
    ) -> io::Result<RunOutcome> {
        let mut last_event = Instant::now();
        let deadline = last_event + self.time_limit;
        let mut stop_deadline = StopDeadline::new(self.stop.clone(), BUSY_GRACE - LAST_MOMENT);
        let mut input = ProgramInput::new(child.stdin.take(), value)?;
        *output = self.output_of(child)?;
        loop {
            let read = match output.as_mut().map_or(Ok(false), ProgramOutput::read_available) {
                Ok(read) => read,
                Err(error) => return Ok(RunOutcome::Broken(error)),
            };
            if input.write_available() || read {
                last_event = Instant::now();
            }
            if let Some(status) = child.try_wait()? {
                let out = output.take().map_or(Ok(true), |output| output.finish(&mut stop_deadline));
                if matches!(out, Ok(false)) {
                    log::warn!("the handler's output cannot be written before the consumer stops");
                }
                return Ok(RunOutcome::Ended(status, out));
            }
            let now = Instant::now();
            if now >= deadline {
                return Ok(RunOutcome::TooLong);
            }
            if stop_deadline.has_passed() {
                return Ok(RunOutcome::Interrupted);
            }
            let interval = program_input::look_interval(now - last_event).min(deadline - now);
            let readable = output.as_ref().and_then(ProgramOutput::readable_pipe);
            program_input::wait_for_pipes(&input, readable, interval);
        }
    }

    fn output_of(&self, child: &mut GroupChild) -> io::Result<Option<ProgramOutput>> {
        let output = self.output.as_ref().zip(child.stdout.take());
        output.map(|(output, pipe)| output.attach(pipe)).transpose()
    }
}

impl Handler for ProcessHandler {
    fn joined(&mut self) -> Result<()> {
        match &self.output {
            Some(output) => print_handler::waiting(output.print(print_handler::WAITING)),
            None => print_handler::PrintHandler::on_stdout().joined(),
        }
    }

    fn handle(&mut self, message: &ConsumerRecord<'_>) -> Result<(), Failure> {
        let mut stderr = None;
        let handled = self.handle_once(message, &mut stderr);
        handled.map_err(|failure| failure.with_stderr(stderr.and_then(|stderr| stderr.last(1))))
    }
}

impl ProcessHandler {
    fn handle_once(
        &self,
        message: &ConsumerRecord<'_>,
        stderr: &mut Option<ProgramStderr>,
    ) -> Result<(), Failure> {
        let status = self.run(message, stderr)?;
        if status.success() {
            return Ok(());
        }
        // A program that prints fails at every message once the reader of its output is gone.
        if let Some(output) = broken_output() {
            let error = print_handler::broken(output, message, io::ErrorKind::BrokenPipe.into());
            return Err(Failure::Broken(error));
        }
        Err(program::failure(status, FailureCause::of(&HandlerFailed::Ended(status)), Failure::Failed))
    }
}

/// Whether the message is at fault when a program cannot be started: only with what it adds to the
/// environment. The same program starts for others, so the consumer must not wait for that to change.
fn not_started(error: io::Error) -> Failure {
    let is_the_messages = error.kind() == io::ErrorKind::ArgumentListTooLong;
    let cause = FailureCause::of(&HandlerFailed::NotStarted(error));
    if is_the_messages { Failure::Failed(cause) } else { Failure::NotStarted(cause) }
}

/// The name of an output that the program shares with its consumer, if its reader is gone.
fn broken_output() -> Option<&'static str> {
    if outputs::is_unread(&io::stdout()) {
        return Some("standard output");
    }
    outputs::is_unread(&io::stderr()).then_some("standard error")
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::process::Command;
    use std::thread;

    use super::*;
    use crate::consumer::Headers;

    fn handler(script: &str, time_limit_ms: u64) -> (ProcessHandler, Stop) {
        let stop = Stop::new();
        let command = ["sh", "-c", script].map(str::to_owned).to_vec();
        let settings = ProcessSettings::for_each_message(command, Duration::from_millis(time_limit_ms));
        (ProcessHandler::new(&settings, stop.clone()).unwrap(), stop)
    }

    fn message(value: &[u8]) -> ConsumerRecord<'_> {
        let headers = Headers::default();
        ConsumerRecord {
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

    #[test]
    fn a_failure_has_the_last_of_what_the_program_wrote_on_standard_error() {
        let outcome = |script| handler(script, 60_000).0.handle(&message(b"1"));
        let Err(Failure::Failed(cause)) = outcome("echo no stock >&2; exit 1") else { panic!("1") };
        let stderr = cause.stderr.unwrap();
        assert_eq!((&stderr.bytes[..], stderr.messages), (&b"no stock\n"[..], 1));
        let script = "head -c 5000 /dev/zero | tr '\\0' 'a' >&2; printf '\\nthe end' >&2; exit 65";
        let Err(Failure::Dead(cause)) = outcome(script) else { panic!("65") };
        let bytes = cause.stderr.unwrap().bytes;
        assert!(bytes.len() == 4_096 && bytes.ends_with(b"a\nthe end"), "{bytes:?}");
        let Err(Failure::Failed(cause)) = outcome("exit 1") else { panic!("1") };
        assert_eq!(cause.stderr, None);
    }

    fn fails(script: &str, time_limit_ms: u64, value: &[u8]) -> String {
        match handler(script, time_limit_ms).0.handle(&message(value)) {
            Err(Failure::Failed(cause)) => {
                assert_eq!(cause.kind, "point_to_point::consumer::process_handler::HandlerFailed");
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
    fn exit_statuses_say_that_it_was_not_the_messages_fault_or_that_no_attempt_can_succeed() {
        let outcome = |script| handler(script, 60_000).0.handle(&message(b"1"));
        let Err(Failure::TryLater { cause, wait: None }) = outcome("exit 75") else { panic!("75") };
        assert_eq!(cause.message, "the handler ended with exit status: 75");
        let Err(Failure::Dead(cause)) = outcome("exit 65") else { panic!("65") };
        assert_eq!(cause.message, "the handler ended with exit status: 65");
    }

    #[test]
    fn a_program_that_cannot_be_started_any_more_is_no_failure_of_the_message() {
        let mut unique = [0; 8];
        getrandom::fill(&mut unique).unwrap();
        let path = std::env::temp_dir().join(format!("handler-{:016x}", u64::from_ne_bytes(unique)));
        std::fs::write(&path, "#!/bin/sh\nexit 0\n").unwrap();
        let permit = |mode| std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        permit(0o755);
        let command = vec![path.to_str().unwrap().to_owned()];
        let settings = ProcessSettings::for_each_message(command, Duration::from_secs(60));
        let mut handler = ProcessHandler::new(&settings, Stop::new()).unwrap();
        let mut not_started = || {
            let outcome = handler.handle(&message(b"1"));
            let Err(Failure::NotStarted(cause)) = outcome else { panic!("{outcome:?}") };
            assert!(cause.message.starts_with("the handler cannot be started: "), "{cause}");
        };
        permit(0o644);
        not_started();
        std::fs::remove_file(&path).unwrap();
        not_started();
    }

    #[test]
    fn a_message_with_which_no_program_can_be_started_has_failed() {
        let key = vec![b'k'; 200_000];
        let outcome =
            handler("exit 0", 60_000).0.handle(&ConsumerRecord { key: Some(&key), ..message(b"1") });
        let Err(Failure::Failed(cause)) = outcome else { panic!("{outcome:?}") };
        assert!(
            cause.message.starts_with("the handler cannot be started: Argument list too long"),
            "{cause}"
        );
    }

    #[test]
    fn clones_on_many_threads_print_whole_lines_through_one_writer() {
        /// Whole lines, whoever prints them.
        #[derive(Clone, Default)]
        struct Kept(Arc<std::sync::Mutex<Vec<u8>>>);
        impl Write for Kept {
            fn write(&mut self, lines: &[u8]) -> io::Result<usize> {
                assert!(lines.ends_with(b"\n"));
                self.0.lock().unwrap().extend_from_slice(lines);
                Ok(lines.len())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let kept = Kept::default();
        let one = handler("printf a; cat; echo z", 60_000).0.printing_to(kept.clone()).unwrap();
        thread::scope(|scope| {
            for _ in 0..8 {
                let mut handler = one.clone();
                scope.spawn(move || (0..5).for_each(|_| handler.handle(&message(b"1")).unwrap()));
            }
        });
        let printed = String::from_utf8(kept.0.lock().unwrap().clone()).unwrap();
        assert_eq!(printed, "a1z\n".repeat(40));
    }

    /// `cargo test --release --lib process_handler -- --ignored --nocapture`
    #[test]
    #[ignore = "a measurement, for a release build"]
    fn how_many_processes_of_50_ms_end_in_a_second() {
        for workers in [1, 4, 16, 64, 256_u32] {
            let one = handler("exec sleep 0.05", 60_000).0;
            let begun = Instant::now();
            let each = 2_000 / workers.max(20);
            thread::scope(|scope| {
                for _ in 0..workers {
                    let mut handler = one.clone();
                    scope.spawn(move || (0..each).for_each(|_| handler.handle(&message(b"1")).unwrap()));
                }
            });
            let rate = f64::from(each * workers) / begun.elapsed().as_secs_f64();
            println!("{workers} workers: {rate:.0}/s of {}", workers * 20);
        }
    }
}
