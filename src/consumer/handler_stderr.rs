//! Standard error of handler programs: it goes on to this program's, in whole lines, and the last of it is
//! kept for the dead letter of the message that a program was at.
//!
//! One thread reads the pipes of all programs, so that none stands still that logs between two messages.
//! Whoever has to know what a program wrote so far reads its pipe, too. A pipe is read only while this
//! program's standard error takes more, so that a program waits as it would if it wrote there itself, and
//! nothing piles up.

use std::fs::File;
use std::io::{self, ErrorKind, PipeReader, PipeWriter, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::process::{ChildStderr, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::handler::StderrTail;
use super::program;
use crate::error::{Error, Result};
use crate::lines::LineBuffer;
use net::stop::Stop;
use net::sync::{Mutex, Worker, lock};

/// The bytes of a program's standard error that a dead letter has.
const KEPT: usize = 4 * 1024;
/// The bytes of one read, and of one write: a pipe that takes anything takes so much.
const PIECE: usize = 4 * 1024;
/// The number of reads before others have their turn: more than a pipe holds.
const MAX_READS: usize = 32;
/// The longest line that is held in memory, in bytes. A longer line is split.
const LONGEST_LINE: usize = 64 * 1024;
/// The number of pipes that programs left running may keep open.
const MAX_LEFT_RUNNING: usize = 64;

/// Where handler programs write their standard error. The thread has ended when this is dropped, with what
/// was there to read passed on.
pub struct HandlerStderr {
    shared: Arc<Shared>,
    _thread: Worker,
}

struct Shared {
    out: File,
    programs: Mutex<Vec<Arc<Pipe>>>,
    wake: PipeWriter,
}

/// The pipe of one program.
#[derive(Default)]
struct Pipe {
    state: Mutex<State>,
    /// Nobody asks for what the program wrote any more; others that it started may still write.
    is_left: AtomicBool,
}

struct State {
    /// `None` after its end.
    pipe: Option<Arc<File>>,
    lines: LineBuffer,
    /// Whole lines that are still to be passed on.
    pending: Vec<u8>,
    tail: Vec<u8>,
}

impl Default for State {
    fn default() -> State {
        let lines = LineBuffer::new(LONGEST_LINE);
        State { pipe: None, lines, pending: Vec::new(), tail: Vec::new() }
    }
}

impl HandlerStderr {
    /// Passes on to this program's standard error.
    ///
    /// # Errors
    /// The system gives no pipe, or no thread.
    pub fn start() -> Result<HandlerStderr> {
        let out = io::stderr().as_fd().try_clone_to_owned();
        let started = out.and_then(|out| HandlerStderr::passing_on_to(File::from(out)));
        started.map_err(|e| Error::new("the handlers' standard error cannot be read").caused_by(e))
    }

    fn passing_on_to(out: File) -> io::Result<HandlerStderr> {
        let (woken, wake) = io::pipe()?;
        for end in [woken.as_fd(), wake.as_fd()] {
            fcntl(end, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        }
        let shared = Arc::new(Shared { out, programs: Mutex::default(), wake });
        let body = {
            let shared = shared.clone();
            move |stop: &Stop| shared.read_all(&woken, stop)
        };
        Ok(HandlerStderr { shared, _thread: Worker::start("handler-stderr", body)? })
    }

    /// What a program gets as its standard error: a pipe, or, once nobody reads this program's, that itself,
    /// so that it hears of it.
    pub fn stdio(&self) -> Stdio {
        if program::is_unread(&self.shared.out) { Stdio::inherit() } else { Stdio::piped() }
    }

    /// Reads the pipe of a program that was started.
    ///
    /// # Errors
    /// The pipe cannot be made non-blocking.
    pub fn attach(&self, pipe: ChildStderr) -> io::Result<ProgramStderr> {
        let file = File::from(OwnedFd::from(pipe));
        fcntl(&file, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        let pipe = Arc::new(Pipe::default());
        lock(&pipe.state).pipe = Some(Arc::new(file));
        lock(&self.shared.programs).push(pipe.clone());
        self.shared.wake();
        Ok(ProgramStderr { shared: self.shared.clone(), pipe })
    }
}

/// Standard error of one program.
pub struct ProgramStderr {
    shared: Arc<Shared>,
    pipe: Arc<Pipe>,
}

impl ProgramStderr {
    /// What the program wrote so far is about none of the messages that it gets now.
    pub fn begin(&self) {
        self.pipe.read_available(&self.shared.out);
        lock(&self.pipe.state).tail = Vec::new();
    }

    /// The last that the program wrote since then, while it had so many messages; `None` if that is nothing.
    pub fn last(&self, messages: usize) -> Option<StderrTail> {
        self.pipe.read_available(&self.shared.out);
        let bytes = lock(&self.pipe.state).tail.clone();
        (!bytes.is_empty()).then_some(StderrTail { bytes, messages })
    }
}

impl Drop for ProgramStderr {
    fn drop(&mut self) {
        self.pipe.is_left.store(true, Ordering::Relaxed);
        self.shared.wake();
    }
}

impl Shared {
    fn wake(&self) {
        // A pipe that is full wakes as well.
        let _ = (&self.wake).write(&[0]);
    }

    /// The body of the thread.
    fn read_all(self: &Arc<Self>, mut woken: &PipeReader, stop: &Stop) {
        let waker = self.clone();
        let _hook = stop.on_ask(move || waker.wake());
        while !stop.is_asked() {
            let programs = self.programs();
            let pending = || programs.iter().filter(|pipe| pipe.has_pending());
            pending().for_each(|pipe| pipe.read_available(&self.out));
            let open: Vec<_> = programs.iter().filter_map(|pipe| Some((pipe, pipe.open()?))).collect();
            let mut polled = vec![PollFd::new(woken.as_fd(), PollFlags::POLLIN)];
            let takes_more = takes_more(&self.out);
            if takes_more {
                polled.extend(open.iter().map(|(_, file)| PollFd::new(file.as_fd(), PollFlags::POLLIN)));
            } else {
                polled.push(PollFd::new(self.out.as_fd(), PollFlags::POLLOUT));
            }
            let goes_on = takes_more && pending().next().is_some();
            let longest = if goes_on { PollTimeout::ZERO } else { PollTimeout::NONE };
            // A signal or an error ends the wait early: nothing is ready then.
            if !poll(&mut polled, longest).is_ok_and(|ready| ready > 0) {
                continue;
            }
            let _ = woken.read(&mut [0; 64]);
            let is_ready = |polled: &PollFd<'_>| polled.revents().is_some_and(|found| !found.is_empty());
            let readable = open.iter().zip(polled.iter().skip(1)).filter(|(_, polled)| is_ready(polled));
            if takes_more {
                readable.for_each(|((pipe, _), _)| pipe.read_available(&self.out));
            }
        }
        self.programs().iter().for_each(|pipe| pipe.close(&self.out));
    }

    /// The programs of which there is more to pass on. Of those that nobody asks for any more there is a limit.
    fn programs(&self) -> Vec<Arc<Pipe>> {
        let mut programs = lock(&self.programs);
        let is_left = |pipe: &&Arc<Pipe>| pipe.is_left.load(Ordering::Relaxed) && pipe.open().is_some();
        let left = programs.iter().filter(is_left);
        let left: Vec<_> = left.cloned().collect();
        for pipe in left.iter().rev().skip(MAX_LEFT_RUNNING) {
            log::warn!(
                "handlers have left more than {MAX_LEFT_RUNNING} programs running: standard error of the one \
                 that runs for longest is read no more"
            );
            lock(&pipe.state).end();
        }
        programs.retain(|pipe| pipe.open().is_some() || pipe.has_pending());
        programs.clone()
    }
}

impl Pipe {
    fn open(&self) -> Option<Arc<File>> {
        lock(&self.state).pipe.clone()
    }

    fn has_pending(&self) -> bool {
        !lock(&self.state).pending.is_empty()
    }

    /// Passes on what is there, as far as `out` takes it.
    fn read_available(&self, out: &File) {
        let mut state = lock(&self.state);
        for _ in 0..MAX_READS {
            if !state.write(out) || !takes_more(out) || !state.read() {
                break;
            }
        }
        state.write(out);
    }

    /// Passes on what is there and reads no more.
    fn close(&self, out: &File) {
        self.read_available(out);
        let mut state = lock(&self.state);
        state.end();
        state.write(out);
    }
}

impl State {
    /// Reads once; false if there is nothing more now.
    fn read(&mut self) -> bool {
        let Some(mut pipe) = self.pipe.as_deref() else { return false };
        let mut bytes = [0; PIECE];
        let read = loop {
            match pipe.read(&mut bytes) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return false,
                Ok(read @ 1..) => break read,
                Ok(0) | Err(_) => {
                    self.end();
                    return false;
                }
            }
        };
        let bytes = bytes.get(..read).unwrap_or_default();
        self.keep(bytes);
        self.lines.push(bytes, |lines| self.pending.extend_from_slice(lines));
        true
    }

    /// Reads no more.
    fn end(&mut self) {
        self.pipe = None;
        self.lines.end_line(|line| self.pending.extend_from_slice(line));
    }

    /// Passes on what is pending, as far as `out` takes it without a wait; returns whether that is all.
    fn write(&mut self, mut out: &File) -> bool {
        while !self.pending.is_empty() {
            if !takes_more(out) {
                return false;
            }
            match out.write(self.pending.get(..PIECE).unwrap_or(&self.pending)) {
                Ok(written @ 1..) => drop(self.pending.drain(..written)),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return false,
                // The program hears it as it would from this program's standard error. Other errors, as of a
                // full disk, may pass.
                Err(error) if error.kind() == ErrorKind::BrokenPipe => {
                    self.pending.clear();
                    self.pipe = None;
                }
                Ok(0) | Err(_) => self.pending.clear(),
            }
        }
        true
    }

    fn keep(&mut self, bytes: &[u8]) {
        self.tail.extend_from_slice(bytes);
        let too_many = self.tail.len().saturating_sub(KEPT);
        self.tail.drain(..too_many);
    }
}

/// Whether a write to `out` does not have to wait. Where it fails it does not.
fn takes_more(out: &File) -> bool {
    let mut polled = [PollFd::new(out.as_fd(), PollFlags::POLLOUT)];
    poll(&mut polled, PollTimeout::ZERO) != Ok(0)
}

#[cfg(test)]
mod tests;
