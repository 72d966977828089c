//! The output of handler programs where their consumer prints it: whole lines through one writer thread. A
//! program's message counts as handled only when all output until the program's end is written.
//!
//! The thread keeps a blocked standard output from blocking the consumer's watch over the program. Its queue
//! is bounded: a program that prints more has to wait, as at any full pipe.

use net::sync::{Condvar, Mutex, lock, wait_timeout};
use std::io::{self, Read, Write};
use std::process::ChildStdout;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use platform::pipes::{self, Interest, ReadPipe};

use crate::lines::LineBuffer;
use net::stop::Stop;

/// A program's pipe is not read while the queue holds this many bytes.
const MAX_QUEUED: usize = 64 * 1024;
/// The bytes of one read.
const READ_SIZE: usize = 64 * 1024;
/// The number of reads before the caller looks at the program again.
const MAX_READS: usize = 16;
/// The longest line that is held in memory, in bytes. A longer line is split.
const LONGEST_LINE: usize = 8 * 1024 * 1024;
/// The most that a pipe holds, unless the system is configured otherwise.
const LARGEST_PIPE: usize = 1024 * 1024;
/// The number of pipes that programs left running may keep open.
const MAX_LEFT_RUNNING: usize = 16;
/// The interval at which the reader of a quiet pipe checks whether the output is closed. A wait for a pipe
/// hears no condition variable.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// The writer of handlers' output. It takes no more lines after its drop.
pub struct HandlerOutput(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    left_running: AtomicUsize,
}

#[derive(Default)]
struct State {
    queue: Vec<u8>,
    /// The number of bytes that were queued since the start, and how many of them are written.
    queued: u64,
    written: u64,
    failure: Option<(io::ErrorKind, String)>,
    is_closed: bool,
}

impl State {
    fn check(&self) -> io::Result<()> {
        let error = |(kind, text): &(io::ErrorKind, String)| io::Error::new(*kind, text.clone());
        self.failure.as_ref().map_or(Ok(()), |failure| Err(error(failure)))
    }
}

/// The time limit that begins when a stop is asked.
pub struct StopDeadline {
    stop: Stop,
    grace: Duration,
    deadline: Option<Instant>,
}

impl StopDeadline {
    /// A limit of `grace` after `stop`.
    pub fn new(stop: Stop, grace: Duration) -> StopDeadline {
        StopDeadline { stop, grace, deadline: None }
    }

    /// The time left; `None` as long as no stop is asked.
    fn left(&mut self) -> Option<Duration> {
        if self.stop.is_hurried() {
            return Some(Duration::ZERO);
        }
        let now = Instant::now();
        let is_asked = self.deadline.is_some() || self.stop.is_asked();
        is_asked.then(|| self.deadline.get_or_insert(now + self.grace).saturating_duration_since(now))
    }

    /// Whether the time is up.
    pub fn has_passed(&mut self) -> bool {
        self.left().is_some_and(|left| left.is_zero())
    }
}

impl HandlerOutput {
    /// Starts the thread that writes whole lines to `out`.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn start(out: impl Write + Send + 'static) -> io::Result<HandlerOutput> {
        let (state, changed) = (Mutex::default(), Condvar::new());
        let shared = Arc::new(Shared { state, changed, left_running: AtomicUsize::new(0) });
        let output = HandlerOutput(shared.clone());
        // A write may block for ever, so the thread is not joined: it ends with the process.
        thread::Builder::new().name("handler-output".to_owned()).spawn(move || shared.write(out))?;
        Ok(output)
    }

    /// Prints whole lines. They are written when this returns.
    ///
    /// # Errors
    /// The output failed.
    pub fn print(&self, lines: &[u8]) -> io::Result<()> {
        self.0.enqueue(lines);
        self.0.wait_until_written(None).map(drop)
    }

    /// The reader for the pipe of one program.
    ///
    /// # Errors
    /// The pipe cannot be made non-blocking.
    pub fn attach(&self, pipe: ChildStdout) -> io::Result<ProgramOutput> {
        Ok(ProgramOutput {
            shared: self.0.clone(),
            pipe: Some(ReadPipe::of(pipe)?),
            lines: LineBuffer::new(LONGEST_LINE),
            buffer: vec![0; READ_SIZE],
        })
    }
}

impl Drop for HandlerOutput {
    fn drop(&mut self) {
        lock(&self.0.state).is_closed = true;
        self.0.changed.notify_all();
    }
}

impl Shared {
    /// The body of the thread.
    fn write(&self, mut out: impl Write) {
        let mut state = lock(&self.state);
        while state.failure.is_none() {
            if state.queue.is_empty() {
                if state.is_closed {
                    return;
                }
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            let lines = std::mem::take(&mut state.queue);
            self.changed.notify_all();
            drop(state);
            let outcome = out.write_all(&lines).and_then(|()| out.flush());
            state = lock(&self.state);
            match outcome {
                Ok(()) => state.written += lines.len() as u64,
                Err(error) => state.failure = Some((error.kind(), error.to_string())),
            }
            self.changed.notify_all();
        }
    }

    fn enqueue(&self, lines: &[u8]) {
        let mut state = lock(&self.state);
        state.queue.extend_from_slice(lines);
        state.queued += lines.len() as u64;
        self.changed.notify_all();
    }

    /// Waits until all lines that were queued before are written; false when the output is closed or the time
    /// is up.
    fn wait_until_written(self: &Arc<Self>, limit: Option<&mut StopDeadline>) -> io::Result<bool> {
        let goal = lock(&self.state).queued;
        self.wait_until(|state| state.written >= goal, limit)
    }

    fn wait_until(
        self: &Arc<Self>,
        reached: impl Fn(&State) -> bool,
        mut limit: Option<&mut StopDeadline>,
    ) -> io::Result<bool> {
        let _hook = limit.as_ref().map(|limit| {
            let woken = self.clone();
            limit.stop.on_ask(move || {
                // A thread that saw no stop before this lock waits by now, and is notified.
                drop(lock(&woken.state));
                woken.changed.notify_all();
            })
        });
        let mut state = lock(&self.state);
        loop {
            state.check()?;
            if reached(&state) {
                return Ok(true);
            }
            let left = limit.as_mut().and_then(|limit| limit.left());
            if state.is_closed || left.is_some_and(|left| left.is_zero()) {
                return Ok(false);
            }
            state = match left {
                Some(left) => wait_timeout(&self.changed, state, left),
                None => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }
}

/// The output of one program.
pub struct ProgramOutput {
    shared: Arc<Shared>,
    /// `None` after the end of the pipe.
    pipe: Option<ReadPipe>,
    lines: LineBuffer,
    buffer: Vec<u8>,
}

impl ProgramOutput {
    /// Reads the available output, as far as the queue has room. Returns whether there was any, or the end of
    /// it, which is soon followed by that of the program.
    ///
    /// # Errors
    /// The output failed.
    pub fn read_available(&mut self) -> io::Result<bool> {
        let was_open = self.pipe.is_some();
        for reads in 0..MAX_READS {
            if !self.has_room()? || self.read() == 0 {
                return Ok(reads > 0 || was_open && self.pipe.is_none());
            }
        }
        Ok(true)
    }

    fn has_room(&self) -> io::Result<bool> {
        let state = lock(&self.shared.state);
        state.check()?;
        Ok(state.queue.len() < MAX_QUEUED)
    }

    /// The pipe to wait for; `None` at its end, and while the queue has no room.
    pub fn readable_pipe(&self) -> Option<&ReadPipe> {
        self.pipe.as_ref().filter(|_| self.has_room().unwrap_or(false))
    }

    /// Prints the rest of the output of a program that has ended, and waits until it is written; false when
    /// the output is closed or the time is up.
    ///
    /// # Errors
    /// The output failed.
    pub fn finish(mut self, limit: &mut StopDeadline) -> io::Result<bool> {
        self.pipe.iter().for_each(ReadPipe::settle);
        // Other processes may keep the pipe open and go on printing: that is not waited for.
        let mut left = LARGEST_PIPE;
        while left > 0 {
            if !self.shared.wait_until(|state| state.queue.len() < MAX_QUEUED, Some(limit))? {
                return Ok(false);
            }
            match self.read() {
                0 => break,
                read => left = left.saturating_sub(read),
            }
        }
        self.lines.end_line(|line| self.shared.enqueue(line));
        let is_written = self.shared.wait_until_written(Some(limit));
        self.detach();
        is_written
    }

    /// Leaves a pipe that other processes keep open to a thread of its own: a program may leave others
    /// running.
    pub fn detach(self) {
        if self.pipe.is_none() && self.lines.is_empty() {
            return;
        }
        let shared = self.shared.clone();
        if shared.left_running.fetch_add(1, Ordering::Relaxed) >= MAX_LEFT_RUNNING {
            shared.left_running.fetch_sub(1, Ordering::Relaxed);
            log::warn!(
                "handlers have left {MAX_LEFT_RUNNING} programs running: the output of another one is not read"
            );
            return;
        }
        let started = thread::Builder::new().name("handler-rest".to_owned()).spawn(move || {
            let shared = self.shared.clone();
            self.copy_rest();
            shared.left_running.fetch_sub(1, Ordering::Relaxed);
        });
        if let Err(error) = started {
            // The pipe went with the thread.
            shared.left_running.fetch_sub(1, Ordering::Relaxed);
            log::warn!(
                "the thread handler-rest cannot be started, so the output of a program that a handler has left \
                 running is not read: {error}"
            );
        }
    }

    /// Reads once without blocking, and returns the number of bytes.
    fn read(&mut self) -> usize {
        let Some(pipe) = &mut self.pipe else { return 0 };
        let read = loop {
            match pipe.read(&mut self.buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return 0,
                Ok(read @ 1..) => break read,
                Ok(0) | Err(_) => {
                    self.pipe = None;
                    return 0;
                }
            }
        };
        let bytes = self.buffer.get(..read).unwrap_or_default();
        self.lines.push(bytes, |lines| self.shared.enqueue(lines));
        read
    }

    /// Prints the output of programs that were left running, whenever the queue is empty.
    fn copy_rest(mut self) {
        while let Some(pipe) = &self.pipe {
            let found = pipes::wait(&[Interest::Readable(pipe)], Some(POLL_INTERVAL));
            let is_quiet = found.is_ok_and(|ready| !ready.contains(&true));
            match self.shared.wait_until(|state| !state.is_closed && state.queue.is_empty(), None) {
                Ok(true) if !is_quiet => drop(self.read()),
                Ok(true) => {}
                Ok(false) | Err(_) => self.pipe = None,
            }
        }
        self.lines.end_line(|line| self.shared.enqueue(line));
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Child, Command, Stdio};
    use std::sync::mpsc;

    use super::*;
    use crate::consumer::handler::{Failure, Handler};
    use crate::consumer::process_handler::ProcessHandler;
    use crate::consumer::{ConsumerRecord, Headers, ProcessSettings};

    /// Keeps what it is given.
    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl Kept {
        fn text(&self) -> String {
            String::from_utf8_lossy(&lock(&self.0)).into_owned()
        }
    }

    impl Write for Kept {
        fn write(&mut self, lines: &[u8]) -> io::Result<usize> {
            assert!(lines.ends_with(b"\n"), "whole lines");
            lock(&self.0).extend_from_slice(lines);
            Ok(lines.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// Stands still until the channel is closed, and is broken then.
    struct Still(mpsc::Receiver<()>);

    impl Write for Still {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            let _ = self.0.recv();
            Err(io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn program(script: &str, argument: &str) -> (Child, ChildStdout) {
        let mut command = Command::new("sh");
        let mut child = command.args(["-c", script, "sh", argument]).stdout(Stdio::piped()).spawn().unwrap();
        let pipe = child.stdout.take().unwrap();
        (child, pipe)
    }

    /// A limit that never begins.
    fn never() -> StopDeadline {
        StopDeadline::new(Stop::new(), Duration::ZERO)
    }

    /// Reads until the program has ended.
    fn watch(child: &mut Child, printed: &mut ProgramOutput) {
        while child.try_wait().unwrap().is_none() {
            assert!(printed.shared.state.lock().unwrap().queue.len() < MAX_QUEUED + READ_SIZE);
            if !printed.read_available().unwrap() {
                thread::sleep(Duration::from_millis(1));
            }
        }
    }

    fn all_of(script: &str) -> String {
        let kept = Kept::default();
        let output = HandlerOutput::start(kept.clone()).unwrap();
        let (mut child, pipe) = program(script, "");
        let mut printed = output.attach(pipe).unwrap();
        watch(&mut child, &mut printed);
        assert!(printed.finish(&mut never()).unwrap());
        kept.text()
    }

    #[test]
    fn all_that_a_program_printed_is_out_when_it_is_finished() {
        assert_eq!(all_of("echo a; echo b"), "a\nb\n");
        assert_eq!(all_of("printf a; sleep 0.05; printf b"), "ab\n", "also where no line ends");
        assert_eq!(all_of("true"), "");
        let flood = all_of("yes 123456789 | head -n 500000");
        assert!(flood.lines().count() == 500_000 && flood.lines().all(|line| line == "123456789"));
        assert_eq!(all_of("head -c 3000000 /dev/zero").len(), 3_000_001, "a long line is one");
    }

    #[test]
    fn what_a_program_left_running_prints_is_not_waited_for_and_comes_later() {
        let mut unique = [0; 8];
        getrandom::fill(&mut unique).unwrap();
        let go = std::env::temp_dir().join(format!("handler-output-{:016x}", u64::from_ne_bytes(unique)));
        let kept = Kept::default();
        let output = HandlerOutput::start(kept.clone()).unwrap();
        let script = "echo now; { until test -e $1; do sleep 0.05; done; echo later; printf end; } &";
        let (mut child, pipe) = program(script, go.to_str().unwrap());
        let mut printed = output.attach(pipe).unwrap();
        watch(&mut child, &mut printed);
        assert!(printed.finish(&mut never()).unwrap());
        assert_eq!(kept.text(), "now\n");
        std::fs::write(&go, "").unwrap();
        let deadline = Instant::now() + Duration::from_secs(30);
        while kept.text() != "now\nlater\nend\n" {
            assert!(Instant::now() < deadline, "{:?}", kept.text());
            thread::sleep(Duration::from_millis(10));
        }
        std::fs::remove_file(&go).unwrap();
    }

    #[test]
    fn a_program_left_running_that_floods_holds_up_nobody() {
        let kept = Kept::default();
        let output = HandlerOutput::start(kept.clone()).unwrap();
        let (mut child, pipe) = program("yes & exit 0", "");
        let mut printed = output.attach(pipe).unwrap();
        watch(&mut child, &mut printed);
        assert!(printed.finish(&mut never()).unwrap());
        // Its pipe closes with this, which ends it.
        drop(output);
    }

    #[test]
    fn an_output_that_stands_still_is_waited_for_until_it_is_given_up_and_a_broken_one_is_an_error() {
        let (close, still) = mpsc::channel();
        let output = HandlerOutput::start(Still(still)).unwrap();
        for _ in 0..2 {
            let (mut child, pipe) = program("echo a", "");
            let mut printed = output.attach(pipe).unwrap();
            watch(&mut child, &mut printed);
            let stop = Stop::new();
            let mut limit = StopDeadline::new(stop.clone(), Duration::from_millis(20));
            thread::scope(|scope| {
                let finishing = scope.spawn(|| printed.finish(&mut limit).unwrap());
                stop.ask();
                assert!(!finishing.join().unwrap());
            });
        }
        drop(close);
        assert_eq!(output.print(b"b\n").unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }

    #[test]
    fn the_time_limit_holds_whatever_a_program_prints_and_whether_it_comes_out() {
        let command = ["sh", "-c", "yes"].map(str::to_owned).to_vec();
        let settings = ProcessSettings::for_each_message(command, Duration::from_millis(300));
        let (_close, still) = mpsc::channel();
        let outputs: [Box<dyn Write + Send>; 2] = [Box::new(io::sink()), Box::new(Still(still))];
        let (topic, headers) = ("t", Headers::default());
        let (partition, offset, attempt) = (0, 0, 1);
        let message = ConsumerRecord {
            topic,
            partition,
            offset,
            key: None,
            value: None,
            timestamp: None,
            headers,
            attempt,
        };
        for out in outputs {
            let handler = ProcessHandler::new(&settings, Stop::new()).unwrap();
            let outcome = handler.printing_to(out).unwrap().handle(&message);
            let Err(Failure::Failed(cause)) = outcome else { panic!("it must fail") };
            assert_eq!(cause.message, "the handler took longer than 300 ms and was killed");
        }
    }
}
