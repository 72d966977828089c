//! The ends of pipes to other programs, which never wait, and the wait for several of them. Windows has no
//! such wait for pipes that are a program's input and output: a thread for each pipe waits, and has a little
//! room for bytes that are on their way. It ends with the pipe, or at its next byte when this end was
//! dropped.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::os::windows::io::OwnedHandle;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::outputs::RawOutput;

/// The bytes that are on their way in a pipe's thread, at most.
const PIECE: usize = 32 * 1024;
/// What a program wrote is there to be read after so long, although its thread has to bring it.
const ARRIVAL: Duration = Duration::from_millis(100);

/// The end of a pipe that is read: an error of the kind `WouldBlock` where nothing is there.
#[derive(Debug)]
pub struct ReadPipe(Arc<Source>);

/// The end of a pipe that is written: an error of the kind `WouldBlock` where there is no room.
#[derive(Debug)]
pub struct WritePipe(Arc<Source>);

/// What wakes a wait: the other end of a [`Woken`].
#[derive(Debug)]
pub struct Waker(Arc<Source>);

/// What is ready once its [`Waker`] was used.
#[derive(Debug)]
pub struct Woken(Arc<Source>);

/// What a wait is for.
#[derive(Debug, Clone, Copy)]
pub enum Interest<'a> {
    /// There is something to read, or the end.
    Readable(&'a ReadPipe),
    /// There is room, or nobody reads any more.
    Writable(&'a WritePipe),
    /// Its waker was used.
    Woken(&'a Woken),
    /// A write to an output would not wait.
    Room(&'a RawOutput),
}

/// What a pipe's thread and its user share.
#[derive(Debug, Default)]
struct Source {
    state: Mutex<State>,
    /// Notified at each change.
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// On their way.
    bytes: Vec<u8>,
    /// The pipe has ended, maybe by this error.
    has_ended: bool,
    error: Option<ErrorKind>,
    /// The user's end was dropped.
    is_dropped: bool,
    is_woken: bool,
    /// Reads wait for what is about to arrive.
    is_settling: bool,
    /// Those who wait for this source among others.
    bells: Vec<Arc<Bell>>,
}

/// Rung for one wait.
#[derive(Debug, Default)]
struct Bell {
    is_rung: Mutex<bool>,
    rung: Condvar,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Source {
    /// Changes the state, and tells everyone who waits.
    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let mut state = lock(&self.state);
        let outcome = change(&mut state);
        self.changed.notify_all();
        for bell in &state.bells {
            *lock(&bell.is_rung) = true;
            bell.rung.notify_all();
        }
        outcome
    }

    /// Waits until the state is so.
    fn wait_until(&self, is_so: impl Fn(&State) -> bool) -> MutexGuard<'_, State> {
        let state = lock(&self.state);
        self.changed.wait_while(state, |state| !is_so(state)).unwrap_or_else(PoisonError::into_inner)
    }

    /// The body of the thread of a pipe that is read.
    fn bring(&self, mut pipe: File) {
        let mut piece = vec![0; PIECE];
        loop {
            let found = match pipe.read(&mut piece) {
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                // The end of a pipe whose writers are gone.
                Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(0),
                found => found,
            };
            if self.wait_until(|state| state.bytes.is_empty() || state.is_dropped).is_dropped {
                return;
            }
            match found {
                Ok(read @ 1..) => self.change(|state| {
                    state.bytes.extend_from_slice(piece.get(..read).unwrap_or_default());
                }),
                ended => {
                    return self.change(|state| {
                        (state.has_ended, state.error) = (true, ended.err().map(|error| error.kind()));
                    });
                }
            }
        }
    }

    /// The body of the thread of a pipe that is written.
    fn take_away(&self, mut pipe: File) {
        loop {
            let state = self.wait_until(|state| !state.bytes.is_empty() || state.is_dropped);
            let bytes = state.bytes.clone();
            drop(state);
            if bytes.is_empty() {
                return;
            }
            match pipe.write_all(&bytes) {
                Ok(()) => self.change(|state| state.bytes.clear()),
                Err(error) => {
                    return self.change(|state| {
                        state.bytes.clear();
                        (state.has_ended, state.error) = (true, Some(error.kind()));
                    });
                }
            }
        }
    }
}

fn start(
    name: &str,
    pipe: OwnedHandle,
    body: impl FnOnce(&Source, File) + Send + 'static,
) -> io::Result<Arc<Source>> {
    let source = Arc::new(Source::default());
    let threads = source.clone();
    thread::Builder::new().name(name.to_owned()).spawn(move || body(&threads, File::from(pipe)))?;
    Ok(source)
}

impl ReadPipe {
    /// The end of a pipe of which nobody else has a copy.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn of(pipe: impl Into<OwnedHandle>) -> io::Result<ReadPipe> {
        start("pipe-reader", pipe.into(), Source::bring).map(ReadPipe)
    }

    /// Whether no process has its other end any more; something may be there to be read.
    pub fn has_ended(&self) -> bool {
        lock(&self.0.state).has_ended
    }

    /// All that was written before can be read from now on, up to the next read that finds nothing. These
    /// reads wait a little for it.
    pub fn settle(&self) {
        lock(&self.0.state).is_settling = true;
    }
}

impl Read for &ReadPipe {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut state = lock(&self.0.state);
        if std::mem::take(&mut state.is_settling) {
            let is_quiet = |state: &mut State| state.bytes.is_empty() && !state.has_ended;
            let waited = self.0.changed.wait_timeout_while(state, ARRIVAL, is_quiet);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
            state.is_settling = !state.bytes.is_empty();
        }
        let count = state.bytes.len().min(buffer.len());
        match (buffer.get_mut(..count), state.bytes.get(..count), state.error) {
            (Some(room), Some(bytes), _) if count > 0 => room.copy_from_slice(bytes),
            _ if !state.has_ended => return Err(ErrorKind::WouldBlock.into()),
            (.., Some(error)) => return Err(error.into()),
            _ => return Ok(0),
        }
        drop(state);
        self.0.change(|state| drop(state.bytes.drain(..count)));
        Ok(count)
    }
}

impl Read for ReadPipe {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        (&*self).read(buffer)
    }
}

impl Drop for ReadPipe {
    fn drop(&mut self) {
        self.0.change(|state| state.is_dropped = true);
    }
}

impl WritePipe {
    /// The end of a pipe of which nobody else has a copy.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn of(pipe: impl Into<OwnedHandle>) -> io::Result<WritePipe> {
        start("pipe-writer", pipe.into(), Source::take_away).map(WritePipe)
    }
}

impl Write for WritePipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let piece = bytes.get(..PIECE).unwrap_or(bytes);
        self.0.change(|state| {
            if let Some(error) = state.error {
                return Err(error.into());
            }
            if !state.bytes.is_empty() {
                return Err(ErrorKind::WouldBlock.into());
            }
            state.bytes.extend_from_slice(piece);
            Ok(piece.len())
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for WritePipe {
    fn drop(&mut self) {
        // What is on its way still goes, and the end after it.
        self.0.change(|state| state.is_dropped = true);
    }
}

/// Something to wait for that a thread of this process makes ready.
///
/// # Errors
/// None.
pub fn waker() -> io::Result<(Waker, Woken)> {
    let source = Arc::new(Source::default());
    Ok((Waker(source.clone()), Woken(source)))
}

impl Waker {
    /// Wakes whoever waits, or the next one who does.
    pub fn wake(&self) {
        self.0.change(|state| state.is_woken = true);
    }
}

impl Drop for Waker {
    fn drop(&mut self) {
        self.0.change(|state| state.is_dropped = true);
    }
}

impl Woken {
    /// It was seen, and is ready no more.
    pub fn reset(&self) {
        lock(&self.0.state).is_woken = false;
    }
}

impl Interest<'_> {
    /// `None` for what is always ready.
    fn source(&self) -> Option<&Source> {
        match self {
            Interest::Readable(pipe) => Some(&pipe.0),
            Interest::Writable(pipe) => Some(&pipe.0),
            Interest::Woken(woken) => Some(&woken.0),
            Interest::Room(_) => None,
        }
    }

    fn is_ready(&self) -> bool {
        let Some(source) = self.source() else { return true };
        let state = lock(&source.state);
        match self {
            Interest::Readable(_) => !state.bytes.is_empty() || state.has_ended,
            Interest::Writable(_) => state.bytes.is_empty() || state.has_ended,
            Interest::Woken(_) => state.is_woken || state.is_dropped,
            Interest::Room(_) => true,
        }
    }
}

/// Waits for one of several things, for `time` at most; `None`: without end. Returns which are ready: none
/// when the time is up.
///
/// # Errors
/// None.
pub fn wait(interests: &[Interest<'_>], time: Option<Duration>) -> io::Result<Vec<bool>> {
    let deadline = time.map(|time| Instant::now() + time);
    let bell = Arc::new(Bell::default());
    let sources = || interests.iter().filter_map(Interest::source);
    sources().for_each(|source| lock(&source.state).bells.push(bell.clone()));
    let ready = loop {
        let ready: Vec<bool> = interests.iter().map(Interest::is_ready).collect();
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        if ready.contains(&true) || left.is_some_and(|left| left.is_zero()) {
            break ready;
        }
        bell.wait(left);
    };
    let is_another = |other: &Arc<Bell>| !Arc::ptr_eq(other, &bell);
    sources().for_each(|source| lock(&source.state).bells.retain(is_another));
    Ok(ready)
}

impl Bell {
    /// Waits until it is rung, for `time` at most.
    fn wait(&self, time: Option<Duration>) {
        let is_rung = lock(&self.is_rung);
        let is_quiet = |is_rung: &mut bool| !*is_rung;
        let mut is_rung = match time {
            Some(time) => {
                let waited = self.rung.wait_timeout_while(is_rung, time, is_quiet);
                waited.unwrap_or_else(PoisonError::into_inner).0
            }
            None => self.rung.wait_while(is_rung, is_quiet).unwrap_or_else(PoisonError::into_inner),
        };
        *is_rung = false;
    }
}
