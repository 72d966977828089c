//! The one standard output of a supervisor and its children: whole lines, each with the name of who wrote it.
//!
//! A thread of its own writes. So a terminal that takes nothing holds up the children that wait to be printed, as it
//! would without a supervisor, and nothing else: lines of the log are left out meanwhile, and counted.

use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Instant;

use crate::net::lock;
use crate::stop::Stop;

/// No further line is taken while so many bytes wait to be written.
const MAX_WAITING: usize = 256 * 1024;

/// The colours of names, as parameters of SGR (ECMA-48): magenta, cyan, green, yellow.
const COLOURS: [&str; 4] = ["35", "36", "32", "33"];

/// A handle on the output; all clones are one.
#[derive(Clone)]
pub struct Output {
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    coloured: bool,
    /// Asked when the output breaks: nobody would see what comes.
    stop: Stop,
}

#[derive(Default)]
struct State {
    waiting: Vec<u8>,
    /// The thread is at work on what it took.
    writing: bool,
    /// Lines of the log that there was no room for since the last line that was taken.
    left_out: u64,
    /// Those who have not come to their end.
    sources: usize,
    broken: Option<String>,
    given_up: bool,
}

impl Output {
    /// Writes to `out`, with coloured names or without. `stop` is asked when `out` fails.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn start(out: impl Write + Send + 'static, coloured: bool, stop: Stop) -> io::Result<Output> {
        let shared = Shared { state: Mutex::default(), changed: Condvar::new(), coloured, stop };
        let output = Output { shared: Arc::new(shared) };
        let shared = output.shared.clone();
        // It may stand still in a write for ever: the end of the process is its end, too.
        std::thread::Builder::new().name("output".to_owned()).spawn(move || shared.write(out))?;
        Ok(output)
    }

    /// For the lines of `name`; `number` chooses the name's colour.
    pub fn source(&self, name: &str, number: usize) -> Source {
        self.state().sources += 1;
        Source { prefix: self.prefix(name, number), output: self.clone() }
    }

    /// For the log of this very process, as [`Output::source`]. Nobody waits for its end.
    pub fn log_of(&self, name: &str, number: usize) -> LogLines {
        LogLines { prefix: self.prefix(name, number), output: self.clone() }
    }

    fn prefix(&self, name: &str, number: usize) -> String {
        match COLOURS.get(number % COLOURS.len()) {
            Some(colour) if self.shared.coloured => format!("\x1b[{colour}m{name}\x1b[0m | "),
            _ => format!("{name} | "),
        }
    }

    /// Writes a line as it is, if there is room.
    pub fn plain(&self, line: &str) {
        self.state().take_if_room("", line.as_bytes());
        self.shared.changed.notify_all();
    }

    /// Why nothing more can be written.
    pub fn broken(&self) -> Option<String> {
        self.state().broken.clone()
    }

    /// Waits until every source has come to its end and everything is written, or `deadline`: then what is left is
    /// given up.
    pub fn finish(&self, deadline: Instant) {
        let mut state = self.state();
        while !state.is_over() && (state.sources > 0 || state.writing || !state.waiting.is_empty()) {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            state = match self.shared.changed.wait_timeout(state, left) {
                Ok((state, _)) => state,
                Err(poisoned) => poisoned.into_inner().0,
            };
        }
        state.given_up = true;
        self.shared.changed.notify_all();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.shared.state)
    }
}

impl State {
    fn is_over(&self) -> bool {
        self.given_up || self.broken.is_some()
    }

    fn has_room(&self) -> bool {
        self.waiting.len() < MAX_WAITING
    }

    fn take_if_room(&mut self, prefix: &str, line: &[u8]) {
        if self.has_room() && !self.is_over() { self.take(prefix, line) } else { self.left_out += 1 }
    }

    fn take(&mut self, prefix: &str, line: &[u8]) {
        if self.left_out > 0 {
            let note = format!("({} lines of the log could not be shown)\n", self.left_out);
            self.waiting.extend_from_slice(note.as_bytes());
            self.left_out = 0;
        }
        self.waiting.extend_from_slice(prefix.as_bytes());
        self.waiting.extend_from_slice(line);
        self.waiting.push(b'\n');
    }
}

impl Shared {
    /// The thread's work.
    fn write(&self, mut out: impl Write) {
        let mut state = lock(&self.state);
        while !state.is_over() {
            if state.waiting.is_empty() {
                state = self.changed.wait(state).unwrap_or_else(|poisoned| poisoned.into_inner());
                continue;
            }
            let lines = std::mem::take(&mut state.waiting);
            state.writing = true;
            self.changed.notify_all();
            drop(state);
            let written = out.write_all(&lines).and_then(|()| out.flush());
            state = lock(&self.state);
            state.writing = false;
            if let Err(error) = written {
                state.broken = Some(error.to_string());
                self.stop.ask();
            }
            self.changed.notify_all();
        }
    }
}

/// Somebody whose lines come out with the name before them.
pub struct Source {
    prefix: String,
    output: Output,
}

impl Source {
    /// Writes a line as soon as there is room; false when nothing is written any more.
    pub fn print(&self, line: &[u8]) -> bool {
        let shared = &self.output.shared;
        let mut state = self.output.state();
        while !state.is_over() && !state.has_room() {
            state = shared.changed.wait(state).unwrap_or_else(|poisoned| poisoned.into_inner());
        }
        if state.is_over() {
            return false;
        }
        state.take(&self.prefix, line);
        shared.changed.notify_all();
        true
    }

    /// Writes a line of a log if there is room, else leaves it out.
    pub fn log(&self, line: &[u8]) {
        self.output.state().take_if_room(&self.prefix, line);
        self.output.shared.changed.notify_all();
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        self.output.state().sources -= 1;
        self.output.shared.changed.notify_all();
    }
}

/// The log of this process, as a place to write whole lines to.
pub struct LogLines {
    prefix: String,
    output: Output,
}

impl Write for LogLines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut state = self.output.state();
        for line in bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            state.take_if_room(&self.prefix, line);
        }
        drop(state);
        self.output.shared.changed.notify_all();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;

    /// Takes a write each time a word comes over the channel, and tells what it took.
    struct Slow(mpsc::Receiver<()>, Arc<Mutex<Vec<u8>>>);

    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.recv().map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))?;
            lock(&self.1).extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn slow(coloured: bool) -> (Output, mpsc::Sender<()>, Arc<Mutex<Vec<u8>>>, Stop) {
        let (go_on, wait) = mpsc::channel();
        let (taken, stop) = (Arc::new(Mutex::new(Vec::new())), Stop::new());
        let output = Output::start(Slow(wait, taken.clone()), coloured, stop.clone()).unwrap();
        (output, go_on, taken, stop)
    }

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(60)
    }

    fn text(taken: &Mutex<Vec<u8>>) -> String {
        String::from_utf8_lossy(&lock(taken)).into_owned()
    }

    #[test]
    fn each_line_has_the_name_of_who_wrote_it() {
        let (output, go_on, taken, _) = slow(false);
        let consumer = output.source("consumer1", 2);
        assert!(consumer.print(b"Mensaje recibido: 1"));
        consumer.log(b"a line of the log");
        output.log_of("point-to-point", 0).write_all(b"one\ntwo\n").unwrap();
        output.plain("curl");
        drop(consumer);
        (0..5).for_each(|_| go_on.send(()).unwrap());
        output.finish(soon());
        let lines = "consumer1 | Mensaje recibido: 1\nconsumer1 | a line of the log\n\
                     point-to-point | one\npoint-to-point | two\ncurl\n";
        assert_eq!(text(&taken), lines);
    }

    #[test]
    fn names_have_colours_where_they_are_wanted() {
        let (output, go_on, taken, _) = slow(true);
        output.source("a", 1).log(b"x");
        go_on.send(()).unwrap();
        output.finish(soon());
        assert_eq!(text(&taken), "\x1b[36ma\x1b[0m | x\n");
    }

    #[test]
    fn a_blocked_output_holds_up_messages_and_leaves_out_log_lines() {
        let (output, go_on, taken, _) = slow(false);
        let (consumer, api) = (output.source("c", 0), output.source("api", 1));
        let long = vec![b'x'; MAX_WAITING];
        // One is being written, one waits.
        assert!(consumer.print(&long));
        while !output.state().writing {
            std::thread::yield_now();
        }
        assert!(consumer.print(&long));
        api.log(b"left out");
        api.log(b"this, too");
        let printing = std::thread::spawn(move || consumer.print(b"a message"));
        (0..4).for_each(|_| go_on.send(()).unwrap());
        assert!(printing.join().unwrap(), "it is printed once there is room");
        drop(api);
        output.finish(soon());
        let text = text(&taken);
        assert!(text.ends_with("\n(2 lines of the log could not be shown)\nc | a message\n"));
    }

    #[test]
    fn a_broken_output_asks_to_stop_and_takes_no_more_messages() {
        let (output, go_on, _, stop) = slow(false);
        let consumer = output.source("c", 0);
        drop(go_on);
        assert!(consumer.print(b"lost"));
        stop.wait();
        assert!(output.broken().is_some());
        assert!(!consumer.print(b"another"));
        consumer.log(b"nobody waits for this");
        output.finish(soon());
    }

    #[test]
    fn an_output_that_stays_blocked_is_given_up() {
        let (output, _go_on, _, _) = slow(false);
        let consumer = output.source("c", 0);
        assert!(consumer.print(b"x"));
        output.finish(Instant::now());
        assert!(!consumer.print(b"y"), "whoever waits is let go");
    }
}
