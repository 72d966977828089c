//! Standard error of handler programs: it goes on to this program's, in whole lines, and the last of it is
//! kept for the dead letter of the message that a program was at.
//!
//! One thread reads the pipes of all programs, so that none stands still that logs between two messages, and
//! alone passes on. It reads a pipe only while this program's standard error takes more, so that a program
//! waits as it would if it wrote there itself, and nothing piles up. Whoever has to know what a program wrote
//! so far reads its pipe, too, as far as there is room in memory, and waits for nobody.

use std::io::{self, ErrorKind, Read, Write};
use std::process::{ChildStderr, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use std::time::Duration;

use platform::outputs::{self, RawOutput};
use platform::pipes::{self, Interest, ReadPipe, Waker, Woken};

use super::handler::StderrTail;
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
/// The bytes of a program that are to be passed on, from which on no more of it is read.
const MOST_PENDING: usize = 128 * 1024;
/// The number of pipes that programs left running may keep open, and that of programs that have ended and
/// whose pipes are not read to their end.
const MAX_LEFT: usize = 64;

/// Where handler programs write their standard error. The thread has ended when this is dropped, with what
/// was there to read passed on.
pub struct HandlerStderr {
    shared: Arc<Shared>,
    _thread: Worker,
}

struct Shared {
    out: Out,
    programs: Mutex<Vec<Arc<Pipe>>>,
    /// How many programs have ended of which something is left out.
    left_out: AtomicUsize,
    waker: Waker,
}

/// Where lines are passed on to.
struct Out {
    output: RawOutput,
    /// The pipe of which a part of a line was passed on last: nothing may stand within the line. It is known
    /// by its address; 0: none.
    within_line_of: AtomicUsize,
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
    pipe: Option<Arc<ReadPipe>>,
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
        let started = RawOutput::stderr().and_then(HandlerStderr::passing_on_to);
        started.map_err(|e| Error::new("the handlers' standard error cannot be read").caused_by(e))
    }

    fn passing_on_to(output: RawOutput) -> io::Result<HandlerStderr> {
        let (waker, woken) = pipes::waker()?;
        let out = Out { output, within_line_of: AtomicUsize::new(0) };
        let shared =
            Arc::new(Shared { out, programs: Mutex::default(), left_out: AtomicUsize::new(0), waker });
        let body = {
            let shared = shared.clone();
            move |stop: &Stop| shared.read_all(&woken, stop)
        };
        Ok(HandlerStderr { shared, _thread: Worker::start("handler-stderr", body)? })
    }

    /// What a program gets as its standard error: a pipe, or, once nobody reads this program's, that itself,
    /// so that it hears of it.
    pub fn stdio(&self) -> Stdio {
        if outputs::is_unread(&self.shared.out.output) { Stdio::inherit() } else { Stdio::piped() }
    }

    /// Reads the pipe of a program that was started.
    ///
    /// # Errors
    /// The pipe cannot be made non-blocking.
    pub fn attach(&self, pipe: ChildStderr) -> io::Result<ProgramStderr> {
        let opened = ReadPipe::of(pipe)?;
        let pipe = Arc::new(Pipe::default());
        lock(&pipe.state).pipe = Some(Arc::new(opened));
        lock(&self.shared.programs).push(pipe.clone());
        self.shared.waker.wake();
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
        self.read();
        lock(&self.pipe.state).tail = Vec::new();
    }

    /// The last that the program wrote since then, while it had so many messages; `None` if that is nothing.
    pub fn last(&self, messages: usize) -> Option<StderrTail> {
        lock(&self.pipe.state).pipe.iter().for_each(|pipe| pipe.settle());
        self.read();
        let bytes = lock(&self.pipe.state).tail.clone();
        (!bytes.is_empty()).then_some(StderrTail { bytes, messages })
    }

    /// Reads what is there, as far as there is room for it; the thread passes it on.
    fn read(&self) {
        let mut state = lock(&self.pipe.state);
        while state.pending.len() < MOST_PENDING && state.read() {}
        let has_pending = !state.pending.is_empty();
        drop(state);
        if has_pending {
            self.shared.waker.wake();
        }
    }
}

impl Drop for ProgramStderr {
    fn drop(&mut self) {
        self.pipe.is_left.store(true, Ordering::Relaxed);
        self.shared.waker.wake();
    }
}

impl Shared {
    /// The body of the thread.
    fn read_all(self: &Arc<Self>, woken: &Woken, stop: &Stop) {
        let shared = self.clone();
        let _hook = stop.on_ask(move || shared.waker.wake());
        while !stop.is_asked() {
            let programs = self.programs();
            let pending = || programs.iter().filter(|pipe| pipe.has_pending());
            pending().for_each(|pipe| pipe.read_available(&self.out));
            self.tell_what_is_left_out();
            let open: Vec<_> = programs.iter().filter_map(|pipe| Some((pipe, pipe.open()?))).collect();
            let mut waited = vec![Interest::Woken(woken)];
            let takes_more = self.out.takes_more();
            if takes_more {
                waited.extend(open.iter().map(|(_, opened)| Interest::Readable(opened)));
            } else {
                waited.push(Interest::Room(&self.out.output));
            }
            let goes_on = takes_more && pending().next().is_some();
            // A signal or an error ends the wait early: nothing is ready then.
            let found = pipes::wait(&waited, goes_on.then_some(Duration::ZERO));
            let Some(ready) = found.ok().filter(|ready| ready.contains(&true)) else { continue };
            woken.reset();
            let readable = open.iter().zip(ready.iter().skip(1)).filter(|(_, is_ready)| **is_ready);
            if takes_more {
                readable.for_each(|((pipe, _), _)| pipe.read_available(&self.out));
            }
        }
        self.programs().iter().for_each(|pipe| pipe.close(&self.out));
    }

    /// The programs of which there is more to pass on. Of those that nobody asks for any more there is a
    /// limit.
    fn programs(&self) -> Vec<Arc<Pipe>> {
        let mut programs = lock(&self.programs).clone();
        let is_left = |pipe: &&Arc<Pipe>| pipe.is_left.load(Ordering::Relaxed);
        programs.iter().filter(is_left).for_each(|pipe| pipe.read_available(&self.out));
        let left = programs.iter().filter(is_left).filter(|pipe| pipe.open().is_some());
        let (ended, running): (Vec<_>, Vec<_>) = left.partition(|pipe| pipe.has_ended());
        for pipe in running.iter().rev().skip(MAX_LEFT) {
            log::warn!(
                "handlers have left more than {MAX_LEFT} programs running: standard error of the one that \
                 runs for longest is read no more"
            );
            lock(&pipe.state).end();
        }
        // Standard error takes nothing, or they would have been read to their end.
        let within = self.out.within_line_of.load(Ordering::Relaxed);
        for pipe in ended.iter().rev().skip(MAX_LEFT).filter(|pipe| pipe.address() != within) {
            self.left_out.fetch_add(1, Ordering::Relaxed);
            lock(&pipe.state).leave_out();
        }
        let has_more = |pipe: &Arc<Pipe>| pipe.open().is_some() || pipe.has_pending();
        lock(&self.programs).retain(has_more);
        programs.retain(has_more);
        programs
    }

    /// Logs how much was left out, once standard error takes more.
    fn tell_what_is_left_out(&self) {
        if self.left_out.load(Ordering::Relaxed) > 0 && self.out.takes_more() {
            let count = self.left_out.swap(0, Ordering::Relaxed);
            log::warn!("standard error took no more: what {count} handlers wrote there is left out");
        }
    }
}

impl Pipe {
    fn open(&self) -> Option<Arc<ReadPipe>> {
        lock(&self.state).pipe.clone()
    }

    fn has_pending(&self) -> bool {
        !lock(&self.state).pending.is_empty()
    }

    fn address(&self) -> usize {
        std::ptr::from_ref(self).addr()
    }

    /// Whether no process has its other end any more.
    fn has_ended(&self) -> bool {
        self.open().is_some_and(|opened| opened.has_ended())
    }

    /// Passes on what is there, as far as `out` takes it. The thread alone calls this.
    fn read_available(&self, out: &Out) {
        for _ in 0..MAX_READS {
            if !self.pass_on(out) || !out.takes_more() || !lock(&self.state).read() {
                break;
            }
        }
        self.pass_on(out);
    }

    /// Passes on what is there and reads no more.
    fn close(&self, out: &Out) {
        self.read_available(out);
        lock(&self.state).end();
        self.pass_on(out);
    }

    /// Passes on what is pending, as far as `out` takes it without a wait; returns whether that is all.
    /// Nobody waits for the program's lock while a write takes longer, as another process has taken the room.
    fn pass_on(&self, out: &Out) -> bool {
        loop {
            let piece = lock(&self.state).next_piece();
            if piece.is_empty() {
                return true;
            }
            let within = out.within_line_of.load(Ordering::Relaxed);
            if !out.takes_more() || (within != 0 && within != self.address()) {
                return false;
            }
            let written = (&out.output).write(&piece);
            let mut state = lock(&self.state);
            let mut is_within = false;
            match written {
                Ok(written @ 1..) => {
                    is_within = !piece.get(..written).is_some_and(|done| done.ends_with(b"\n"));
                    state.pending.drain(..written);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return false,
                // The program hears it as it would from this program's standard error. Other errors, as of a
                // full disk, may pass.
                Err(error) if error.kind() == ErrorKind::BrokenPipe => {
                    state.pending.clear();
                    state.pipe = None;
                }
                Ok(0) | Err(_) => state.pending.clear(),
            }
            out.within_line_of.store(if is_within { self.address() } else { 0 }, Ordering::Relaxed);
        }
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

    /// Reads no more, and passes nothing on.
    fn leave_out(&mut self) {
        self.end();
        self.pending.clear();
    }

    /// Whole lines of what is pending, or a part of one that is longer than a piece.
    fn next_piece(&self) -> Vec<u8> {
        let piece = self.pending.get(..PIECE).unwrap_or(&self.pending);
        let end = piece.iter().rposition(|byte| *byte == b'\n').map_or(piece.len(), |end| end + 1);
        piece.get(..end).unwrap_or_default().to_vec()
    }

    fn keep(&mut self, bytes: &[u8]) {
        self.tail.extend_from_slice(bytes);
        let too_many = self.tail.len().saturating_sub(KEPT);
        self.tail.drain(..too_many);
    }
}

impl Out {
    /// Whether a write does not have to wait. Where it fails it does not.
    fn takes_more(&self) -> bool {
        loop {
            match self.output.has_room(Some(Duration::ZERO)) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                found => return found.unwrap_or(true),
            }
        }
    }
}

#[cfg(test)]
mod tests;
