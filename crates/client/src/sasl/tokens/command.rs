//! Programs that print a token.

use std::io::{self, ErrorKind, Read};
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use platform::pipes::{self, Interest, ReadPipe};
use platform::processes::GroupChild;

use super::TokenError;
use super::fetched::Fetched;
use crate::sasl::failure::quoted;
use crate::sasl::secret::Secret;
use net::stop::Stop;
use net::{secret_variables, service_manager};

/// The most that a program may print, in bytes.
const MAX_BYTES: usize = 64 * 1024;
/// How often a silent program and the stop are looked at.
const LOOK: Duration = Duration::from_millis(20);

/// Runs `words`, a program and its arguments, and takes what it prints for a token. The program ends, with
/// all that it started, by `deadline` or at the `stop`. It inherits the environment but for the variables
/// with secrets.
///
/// # Errors
/// It cannot be started, fails, prints no token, or too much. What it wrote to standard error is quoted, what
/// it printed is not.
pub(super) fn run(words: &[String], deadline: Instant, stop: &Stop) -> Result<Fetched, TokenError> {
    let Some((program, arguments)) = words.split_first() else {
        return Err(TokenError::lasting("no program is named".to_owned()));
    };
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    secret_variables::withhold(&mut command);
    service_manager::withhold(&mut command);
    let child = GroupChild::spawn(&mut command).map_err(|error| {
        let message = format!("it cannot be started: {error}");
        let may_pass = !matches!(error.kind(), ErrorKind::NotFound | ErrorKind::PermissionDenied);
        TokenError { message, may_pass }
    })?;
    let mut running = Running(child);
    let outcome = running.watch(deadline, stop);
    let Output { status, printed, complaint } =
        outcome.map_err(|error| TokenError::passing(error.to_string()))?;
    let token = printed.trim_ascii();
    if !status.success() {
        let complaint = without(&String::from_utf8_lossy(&complaint), token);
        return Err(TokenError::passing(format!("it ended with {status}: {}", quoted(complaint.trim()))));
    }
    if token.is_empty() {
        return Err(TokenError::passing("it printed nothing".to_owned()));
    }
    Ok(Fetched::new(Secret::new(token), None))
}

/// `text` without the token, should the program have written it there, too.
fn without(text: &str, token: &[u8]) -> String {
    match std::str::from_utf8(token) {
        Ok(token) if !token.is_empty() => text.replace(token, "(token)"),
        _ => text.to_owned(),
    }
}

struct Output {
    status: ExitStatus,
    printed: Vec<u8>,
    complaint: Vec<u8>,
}

/// A program that is ended, with its process group, when this is dropped.
struct Running(GroupChild);

impl Running {
    /// Waits for the program's end. Both of its outputs are read as they come: a full pipe would stop it.
    fn watch(&mut self, deadline: Instant, stop: &Stop) -> io::Result<Output> {
        let missing = || io::Error::other("its output is not piped");
        let mut stdout = ReadPipe::of(self.0.stdout.take().ok_or_else(missing)?)?;
        let mut stderr = ReadPipe::of(self.0.stderr.take().ok_or_else(missing)?)?;
        let (mut printed, mut complaint) = (Vec::new(), Vec::new());
        let (mut is_printing, mut is_complaining) = (true, true);
        loop {
            // Looked at before the last read: what an ended program wrote is in its pipes by then. A pipe
            // that another process holds open is not waited for.
            let status = self.0.try_wait()?;
            if status.is_some() {
                stdout.settle();
                stderr.settle();
            }
            is_printing = is_printing && drain(&mut stdout, &mut printed)?;
            is_complaining = is_complaining && drain(&mut stderr, &mut complaint)?;
            if printed.len() > MAX_BYTES {
                return Err(io::Error::other(format!("it printed more than {MAX_BYTES} bytes")));
            }
            complaint.truncate(MAX_BYTES);
            if let Some(status) = status {
                return Ok(Output { status, printed, complaint });
            }
            if stop.is_asked() {
                return Err(io::Error::other("this program stops"));
            }
            if Instant::now() >= deadline {
                return Err(io::Error::other("it did not end in time, and was ended"));
            }
            if is_printing || is_complaining {
                let open = [(is_printing, &stdout), (is_complaining, &stderr)];
                let open = open.into_iter().filter(|(is_open, _)| *is_open);
                let open: Vec<_> = open.map(|(_, pipe)| Interest::Readable(pipe)).collect();
                pipes::wait(&open, Some(LOOK))?;
            } else {
                stop.wait_for(LOOK);
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.kill_group();
        if let Err(error) = self.0.wait() {
            log::warn!("a token command cannot be waited for: {error}");
        }
    }
}

/// Reads what there is, a little more than is accepted at most; false at the pipe's end.
fn drain(pipe: &mut impl Read, into: &mut Vec<u8>) -> io::Result<bool> {
    let mut buffer = [0; 4096];
    while into.len() <= MAX_BYTES {
        match pipe.read(&mut buffer) {
            Ok(0) => return Ok(false),
            Ok(read) => into.extend_from_slice(buffer.get(..read).unwrap_or_default()),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(true),
            Err(error) => return Err(error),
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn shell(script: &str, limit: Duration) -> Result<Fetched, TokenError> {
        let words = ["/bin/sh", "-c", script].map(str::to_owned);
        run(&words, Instant::now() + limit, &Stop::new())
    }

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn what_a_program_prints_is_the_token() {
        let fetched = shell("echo noise >&2; printf ' a.b.c\\n'", LONG).unwrap();
        assert_eq!(fetched.token.expose(), b"a.b.c");
    }

    #[test]
    fn a_failure_quotes_standard_error_and_never_the_token() {
        let error = shell("echo s3cret; echo no s3cret for you >&2; exit 3", LONG).unwrap_err();
        assert_eq!(error.message, "it ended with exit status: 3: no (token) for you");
        assert!(error.may_pass);
        assert_eq!(shell("true", LONG).unwrap_err().message, "it printed nothing");
    }

    #[test]
    fn a_program_that_is_not_there_is_no_passing_error() {
        let error = run(&["/nowhere/at/all".to_owned()], Instant::now() + LONG, &Stop::new()).unwrap_err();
        assert!(error.message.starts_with("it cannot be started: ") && !error.may_pass, "{error}");
    }

    #[test]
    fn a_program_that_prints_without_end_or_never_ends_is_ended_with_its_children() {
        let error = shell("while :; do echo xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx; done", LONG).unwrap_err();
        assert!(error.message.contains("more than"), "{error}");
        let error = shell("sleep 1000 & sleep 1000", Duration::from_millis(100)).unwrap_err();
        assert!(error.message.contains("in time"), "{error}");
    }

    #[test]
    fn a_process_that_is_left_behind_holds_up_nobody() {
        let fetched = shell("sleep 1000 & echo token", LONG).unwrap();
        assert_eq!(fetched.token.expose(), b"token");
    }

    #[test]
    fn a_stop_ends_the_program() {
        let stop = Stop::new();
        stop.ask();
        let words = ["/bin/sh", "-c", "sleep 1000"].map(str::to_owned);
        let error = run(&words, Instant::now() + LONG, &stop).unwrap_err();
        assert!(error.message.contains("stops"), "{error}");
    }
}
