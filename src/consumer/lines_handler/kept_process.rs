//! A program that is kept: it reads a line for each message, or batch, and answers with lines.

use std::io::{self, ErrorKind, Read, Write};
use std::process::{Child, ExitStatus, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use platform::pipes::{self, Interest, ReadPipe, WritePipe};
use platform::processes::GroupChild;

use super::answer::{LONGEST_ANSWER, shown};
use super::failed::Trouble;
use super::stop_signal::Limits;
use crate::consumer::handler_stderr::{HandlerStderr, ProgramStderr};
use crate::consumer::program::{self, Program};

/// The bytes of one read.
const READ_SIZE: usize = 8 * 1024;
/// How often a program that is silent is looked at: its end is not heard where what it started keeps its
/// output open.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// A program that closed its output has so long to end, so that its exit status can be told.
const CLOSED_GRACE: Duration = Duration::from_secs(1);
/// The first and the longest interval of looks whether a program that was told to end has ended.
const FIRST_PAUSE: Duration = Duration::from_millis(1);
const LONGEST_PAUSE: Duration = Duration::from_millis(20);

/// A running program, and the pipes of its input and its output, both non-blocking on this side.
pub struct KeptProcess {
    child: GroupChild,
    input: WritePipe,
    output: ReadPipe,
    /// Its standard error, if that is read.
    stderr: Option<Arc<ProgramStderr>>,
    /// What it wrote and nobody took.
    written: Vec<u8>,
}

/// What a look at the pipes found.
enum Found {
    Nothing,
    Bytes,
    End,
}

impl KeptProcess {
    /// Starts the program, whose standard error goes to `errors`.
    ///
    /// # Errors
    /// The system's.
    pub fn start(program: &Program, errors: &HandlerStderr) -> io::Result<KeptProcess> {
        let mut command = program.command();
        let mut child = GroupChild::spawn(command.stdout(Stdio::piped()).stderr(errors.stdio()))?;
        let pipes = child.stdin.take().zip(child.stdout.take());
        let stderr = child.stderr.take();
        let ready =
            pipes.ok_or_else(|| io::Error::from(ErrorKind::BrokenPipe)).and_then(|(input, output)| {
                let (input, output) = (WritePipe::of(input)?, ReadPipe::of(output)?);
                let stderr = stderr.map(|pipe| errors.attach(pipe)).transpose()?;
                Ok((input, output, stderr.map(Arc::new)))
            });
        match ready {
            Ok((input, output, stderr)) => {
                Ok(KeptProcess { child, input, output, stderr, written: Vec::new() })
            }
            Err(error) => {
                program::kill(&mut child);
                Err(error)
            }
        }
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Its standard error, if that is read.
    pub fn stderr(&self) -> Option<Arc<ProgramStderr>> {
        self.stderr.clone()
    }

    /// Looks whether it waits for the next line: it has neither ended nor written what nobody asked for.
    ///
    /// # Errors
    /// It does not.
    pub fn check_idle(&mut self) -> Result<(), Trouble> {
        match self.read()? {
            Found::End => Err(self.at_the_end()),
            Found::Nothing if self.written.is_empty() => Ok(()),
            _ => Err(Trouble::Misanswered(format!("it wrote more than was asked: {}", shown(&self.written)))),
        }
    }

    /// Writes `line`, which has its end, and hands each line that comes back to `take`, until that says that
    /// it was the last one or what is wrong with it.
    ///
    /// # Errors
    /// The program is of no more use.
    pub fn exchange(
        &mut self,
        line: &[u8],
        limits: &mut Limits<'_>,
        mut take: impl FnMut(&[u8]) -> Result<bool, String>,
    ) -> Result<(), Trouble> {
        self.stderr.iter().for_each(|stderr| stderr.begin());
        let (mut rest, mut is_answered) = (line, false);
        loop {
            self.write_available(&mut rest);
            is_answered |= self.take_lines(&mut take)?;
            if is_answered && rest.is_empty() {
                return Ok(());
            }
            if self.wait(!rest.is_empty(), limits)? && matches!(self.read()?, Found::End) {
                return Err(self.at_the_end());
            }
        }
    }

    /// Writes as much as fits.
    fn write_available(&mut self, rest: &mut &[u8]) {
        while !rest.is_empty() {
            match self.input.write(rest) {
                Ok(written) => *rest = rest.get(written..).unwrap_or_default(),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                // It reads no more: its end follows, or its silence does.
                Err(_) => *rest = &[],
            }
        }
    }

    /// Hands over whole lines, up to the last one that `take` waits for.
    fn take_lines(&mut self, take: &mut impl FnMut(&[u8]) -> Result<bool, String>) -> Result<bool, Trouble> {
        let (mut used, mut is_last) = (0, false);
        let mut rest = self.written.as_slice();
        while !is_last && let Some(length) = rest.iter().position(|byte| *byte == b'\n') {
            let (line, after) = rest.split_at(length);
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            check_length(line)?;
            is_last = take(line).map_err(Trouble::Misanswered)?;
            rest = after.get(1..).unwrap_or_default();
            used += length + 1;
        }
        if !is_last {
            check_length(rest)?;
        }
        self.written.drain(..used);
        self.written.shrink_to(READ_SIZE);
        Ok(is_last)
    }

    /// Waits until there is something to read, or room to write if it `has_more`. Returns whether to read.
    fn wait(&mut self, has_more: bool, limits: &mut Limits<'_>) -> Result<bool, Trouble> {
        let left = limits.left(Instant::now())?;
        let mut pipes = vec![Interest::Readable(&self.output)];
        if has_more {
            pipes.push(Interest::Writable(&self.input));
        }
        let signal = limits.signal();
        pipes.extend(signal.map(Interest::Woken));
        let ready = pipes::wait(&pipes, Some(left.min(LOOK_INTERVAL))).map_err(Trouble::Lost)?;
        let is_ready = |pipe: Option<&bool>| pipe.is_some_and(|is_ready| *is_ready);
        let (is_readable, is_stopped) = (is_ready(ready.first()), signal.is_some() && is_ready(ready.last()));
        if is_stopped {
            limits.stop_asked(Instant::now());
        }
        if !ready.contains(&true)
            && let Some(status) = self.child.try_wait().map_err(Trouble::Lost)?
        {
            return Err(Trouble::Ended(status));
        }
        Ok(is_readable)
    }

    /// Reads once what is there.
    fn read(&mut self) -> Result<Found, Trouble> {
        let mut bytes = [0; READ_SIZE];
        loop {
            match self.output.read(&mut bytes) {
                Ok(0) => return Ok(Found::End),
                Ok(read) => {
                    self.written.extend_from_slice(bytes.get(..read).unwrap_or_default());
                    return Ok(Found::Bytes);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(Found::Nothing),
                Err(error) => return Err(Trouble::Lost(error)),
            }
        }
    }

    /// What it means that the output has ended.
    fn at_the_end(&mut self) -> Trouble {
        match wait_for_end(&mut self.child, Instant::now() + CLOSED_GRACE) {
            Ok(Some(status)) => Trouble::Ended(status),
            Ok(None) => Trouble::OutputClosed,
            Err(error) => Trouble::Lost(error),
        }
    }

    /// Kills it with all that it started.
    pub fn kill(mut self) {
        program::kill(&mut self.child);
    }

    /// Closes its input, which tells it to end, and kills it if it does not end in this time.
    pub fn finish(self, grace: Duration) {
        // Its standard error is read until it has ended.
        let KeptProcess { mut child, input, mut output, stderr: _stderr, .. } = self;
        let deadline = Instant::now() + grace;
        drop(input);
        skip_output(&mut output, deadline);
        match wait_for_end(&mut child, deadline) {
            Ok(Some(status)) => log::debug!("the kept handler {} ended with {status}", child.id()),
            Ok(None) => {
                let ms = grace.as_millis();
                log::warn!("the kept handler {} did not end within {ms} ms and is killed", child.id());
                program::kill(&mut child);
            }
            Err(error) => log::error!("the kept handler cannot be waited for: {error}"),
        }
    }
}

/// # Errors
/// The line is too long, as far as it came.
fn check_length(line: &[u8]) -> Result<(), Trouble> {
    if line.len() <= LONGEST_ANSWER {
        return Ok(());
    }
    let what = format!("it wrote a line of more than {LONGEST_ANSWER} bytes: {}", shown(line));
    Err(Trouble::Misanswered(what))
}

/// Reads until the end of the output, so that a program that still writes can end.
fn skip_output(output: &mut ReadPipe, deadline: Instant) {
    let mut bytes = [0; READ_SIZE];
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        match output.read(&mut bytes) {
            Ok(0) => return,
            _ if left.is_zero() => return,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                let _ = pipes::wait(&[Interest::Readable(output)], Some(left.min(LOOK_INTERVAL)));
            }
            Err(error) if error.kind() != ErrorKind::Interrupted => return,
            _ => {}
        }
    }
}

/// Waits for the end of a program that is about to end.
fn wait_for_end(child: &mut Child, deadline: Instant) -> io::Result<Option<ExitStatus>> {
    let mut pause = FIRST_PAUSE;
    loop {
        let status = child.try_wait()?;
        if status.is_some() || Instant::now() >= deadline {
            return Ok(status);
        }
        thread::sleep(pause);
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}
