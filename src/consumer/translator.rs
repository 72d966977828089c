//! A program that makes another value of a message: it reads the old one on its standard input, as a handler
//! does, and prints the new one.

use std::io::{self, ErrorKind, Read};
use std::process::{ChildStdout, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use platform::pipes::ReadPipe;
use platform::processes::GroupChild;

use super::ConsumerRecord;
use super::program::{self, Program};
use super::program_input::{self, ProgramInput};
use crate::error::Result;
use net::stop::Stop;

/// The most that a program may print for one message. No consumer here could read a larger one
/// ([`protocol::records::MAX_UNPACKED_BYTES`]); what a topic takes is for the broker to say.
const MOST_PRINTED: usize = protocol::records::MAX_UNPACKED_BYTES;

/// Runs a program for each message.
pub struct Translator {
    program: Program,
    time_limit: Duration,
    stop: Stop,
}

/// What a program made of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Translation {
    /// It ended with 0, and printed this.
    Done(Vec<u8>),
    /// It ended with 65: the message is not for it.
    Refused,
    /// It failed at this message, for this reason.
    Failed(String),
    /// It can be run for no message, for this reason: it cannot be started, or a stop was asked, at which it
    /// is killed.
    Unable(String),
}

/// How a run ended.
enum RunOutcome {
    Ended(ExitStatus, Vec<u8>),
    TooLong,
    TooMuch,
    Stopped,
}

impl Translator {
    /// Runs the program and the arguments in `command`, which `setting` names in errors, for `time_limit` at
    /// most. `stop` ends a run at once.
    ///
    /// # Errors
    /// There is no such program.
    pub fn new(setting: &str, command: &[String], time_limit: Duration, stop: Stop) -> Result<Translator> {
        Ok(Translator { program: Program::find(setting, command)?, time_limit, stop })
    }

    /// Runs the program for a message.
    pub fn translate(&self, message: &ConsumerRecord<'_>) -> Translation {
        let mut command = self.program.command();
        command.stdout(Stdio::piped());
        program_input::set_environment(&mut command, message);
        let mut child = match GroupChild::spawn(&mut command) {
            Ok(child) => child,
            Err(error) => {
                let reason = format!("the program cannot be started: {error}");
                // That is what the message adds to the environment; others may fit.
                let is_the_messages = error.kind() == ErrorKind::ArgumentListTooLong;
                return if is_the_messages {
                    Translation::Failed(reason)
                } else {
                    Translation::Unable(reason)
                };
            }
        };
        let outcome = self.watch(&mut child, message.value.unwrap_or_default());
        if !matches!(outcome, Ok(RunOutcome::Ended(..))) {
            program::kill(&mut child);
        }
        match outcome {
            Ok(RunOutcome::Ended(status, printed)) => translation(status, printed),
            Ok(RunOutcome::TooLong) => {
                let limit = self.time_limit.as_millis();
                Translation::Failed(format!("the program took longer than {limit} ms and was killed"))
            }
            Ok(RunOutcome::TooMuch) => Translation::Failed(format!(
                "the program printed more than {MOST_PRINTED} bytes and was killed"
            )),
            Ok(RunOutcome::Stopped) => Translation::Unable("the program was killed at the stop".to_owned()),
            Err(error) => Translation::Failed(format!("the program cannot be waited for: {error}")),
        }
    }

    /// Writes the value as far as the program reads, reads what it prints, and waits for its end.
    fn watch(&self, child: &mut GroupChild, value: &[u8]) -> io::Result<RunOutcome> {
        let mut last_event = Instant::now();
        let deadline = last_event + self.time_limit;
        let mut input = ProgramInput::new(child.stdin.take(), value)?;
        let mut printed = Printed::new(child.stdout.take())?;
        loop {
            // Before the last look at the pipe: all that the program itself has printed is there then. What
            // it left running may print more, which is not waited for.
            let ended = child.try_wait()?;
            if ended.is_some() {
                printed.settle();
            }
            if input.write_available() | printed.read_available()? {
                last_event = Instant::now();
            }
            if printed.bytes.len() > MOST_PRINTED {
                return Ok(RunOutcome::TooMuch);
            }
            if let Some(status) = ended {
                return Ok(RunOutcome::Ended(status, printed.bytes));
            }
            if self.stop.is_asked() {
                return Ok(RunOutcome::Stopped);
            }
            let now = Instant::now();
            if now >= deadline {
                return Ok(RunOutcome::TooLong);
            }
            let interval = program_input::look_interval(now - last_event).min(deadline - now);
            program_input::wait_for_pipes(&input, printed.pipe.as_ref(), interval);
        }
    }
}

fn translation(status: ExitStatus, printed: Vec<u8>) -> Translation {
    if status.code() == Some(program::DEAD) {
        return Translation::Refused;
    }
    if !status.success() {
        return Translation::Failed(format!("the program ended with {status}"));
    }
    if printed.is_empty() {
        return Translation::Failed("the program ended with success, but printed nothing".to_owned());
    }
    Translation::Done(printed)
}

/// What a program prints, from a non-blocking pipe.
struct Printed {
    /// `None` after its end.
    pipe: Option<ReadPipe>,
    bytes: Vec<u8>,
}

impl Printed {
    fn new(pipe: Option<ChildStdout>) -> io::Result<Printed> {
        Ok(Printed { pipe: pipe.map(ReadPipe::of).transpose()?, bytes: Vec::new() })
    }

    /// Reads what is there, up to one byte more than is allowed. Returns whether there was any, or the end.
    fn read_available(&mut self) -> io::Result<bool> {
        let Some(pipe) = &mut self.pipe else { return Ok(false) };
        let before = self.bytes.len();
        let room = (MOST_PRINTED + 1).saturating_sub(before);
        // What was read before an error is kept.
        match pipe.take(u64::try_from(room).unwrap_or(u64::MAX)).read_to_end(&mut self.bytes) {
            Ok(_) => {
                self.pipe = None;
                Ok(true)
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(self.bytes.len() > before),
            Err(error) => Err(error),
        }
    }

    /// The program has ended.
    fn settle(&self) {
        self.pipe.iter().for_each(ReadPipe::settle);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::consumer::Headers;

    fn translate_within(
        script: &str,
        limit_ms: u64,
        stop: &Stop,
        message: &ConsumerRecord<'_>,
    ) -> Translation {
        let command = ["sh", "-c", script].map(str::to_owned);
        let limit = Duration::from_millis(limit_ms);
        Translator::new("--through", &command, limit, stop.clone()).unwrap().translate(message)
    }

    fn translate(script: &str, value: &[u8]) -> Translation {
        translate_within(script, 60_000, &Stop::new(), &message(Some(value)))
    }

    fn message(value: Option<&[u8]>) -> ConsumerRecord<'_> {
        ConsumerRecord {
            topic: "t",
            partition: 1,
            offset: 2,
            key: Some(b"k"),
            value,
            timestamp: Some(3),
            headers: Headers::default(),
            attempt: 4,
        }
    }

    fn failed(reason: &str) -> Translation {
        Translation::Failed(reason.to_owned())
    }

    #[test]
    fn what_a_program_prints_is_the_new_value_byte_for_byte() {
        assert_eq!(translate("sed s/a/b/", b"{\"a\":1}\n"), Translation::Done(b"{\"b\":1}\n".to_vec()));
        assert_eq!(translate("printf '\\377\\000'", b""), Translation::Done(vec![0xff, 0]));
    }

    #[test]
    fn a_large_value_goes_through_while_the_program_still_reads() {
        let large: Vec<u8> = (0..3_000_000_u32).map(|number| number as u8).collect();
        assert!(translate("cat", &large) == Translation::Done(large));
    }

    #[test]
    fn the_exit_status_says_whether_it_counts() {
        assert_eq!(translate("echo 1; exit 65", b"1"), Translation::Refused);
        assert_eq!(translate("echo 1; exit 3", b"1"), failed("the program ended with exit status: 3"));
        let nothing = "the program ended with success, but printed nothing";
        assert_eq!(translate("cat > /dev/null", b"1"), failed(nothing));
        let Translation::Failed(killed) = translate("echo 1; kill -9 $$", b"1") else { panic!("killed") };
        assert!(killed.starts_with("the program ended with signal: 9"), "{killed}");
    }

    #[test]
    fn what_it_left_running_is_not_waited_for() {
        assert_eq!(translate("sleep 2 & echo 1", b"1"), Translation::Done(b"1\n".to_vec()));
    }

    #[test]
    fn a_program_gets_what_a_handler_gets() {
        let script = "echo $POINT_TO_POINT_TOPIC:$POINT_TO_POINT_PARTITION:$POINT_TO_POINT_OFFSET \
                      $POINT_TO_POINT_KEY $POINT_TO_POINT_ATTEMPT $POINT_TO_POINT_TIMESTAMP \
                      $POINT_TO_POINT_NULL";
        let got = translate_within(script, 60_000, &Stop::new(), &message(None));
        assert_eq!(got, Translation::Done(b"t:1:2 k 4 3 1\n".to_vec()));
    }

    #[test]
    fn one_that_takes_too_long_or_prints_without_end_is_killed() {
        let slow = translate_within("echo 1; sleep 600", 200, &Stop::new(), &message(Some(b"1")));
        assert_eq!(slow, failed("the program took longer than 200 ms and was killed"));
        assert_eq!(
            translate("yes", b"1"),
            failed("the program printed more than 67108864 bytes and was killed")
        );
    }

    #[test]
    fn a_stop_ends_a_run_at_once() {
        let stop = Stop::new();
        stop.ask();
        let stopped = translate_within("sleep 600", 600_000, &stop, &message(Some(b"1")));
        assert_eq!(stopped, Translation::Unable("the program was killed at the stop".to_owned()));
    }

    #[test]
    fn a_program_that_does_not_exist_is_told_by_its_option() {
        let command = ["no-such-program".to_owned()];
        let made = Translator::new("--through", &command, Duration::from_secs(1), Stop::new());
        let Err(error) = made else { panic!("it must be refused") };
        assert!(error.is_about_settings() && error.to_string().starts_with("--through: "), "{error}");
    }
}
