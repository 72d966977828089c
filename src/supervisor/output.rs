//! The supervisor's lines on the standard output that it shares with its children: the lines of all logs,
//! each with the name of its process as prefix, unless the lines say it themselves.
//!
//! A thread of its own writes. So a terminal that takes nothing blocks only the children that print: lines of
//! logs are dropped meanwhile, and counted.

use net::sync::{Condvar, Mutex, MutexGuard, lock};
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use super::shared_output::{LockFile, SharedOutput};
use net::stop::Stop;
use platform::outputs::RawOutput;

/// No further line is taken while so many bytes wait to be written.
const MAX_WAITING: usize = 256 * 1024;

/// The colours of names, as parameters of SGR (ECMA-48): magenta, cyan, green, yellow.
const COLOURS: [&str; 4] = ["35", "36", "32", "33"];

/// A handle on the output; all clones are one.
#[derive(Clone)]
pub struct Output {
    shared: Arc<Shared>,
}

/// What lines look like.
#[derive(Debug, Clone, Copy, Default)]
pub struct Style {
    /// Lines are read by a person.
    pub on_terminal: bool,
    /// Names are coloured.
    pub coloured: bool,
    /// Lines of logs that begin so have no prefix.
    pub bare: Option<&'static str>,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    style: Style,
    /// The file that all writers of the output lock.
    lock_file: LockFile,
    /// Asked when a write fails: no later line could be read.
    stop: Stop,
}

#[derive(Default)]
struct State {
    waiting: Vec<u8>,
    /// Whether the thread is writing lines that it took.
    writing: bool,
    /// Lines that were dropped for lack of room since the last line that was taken.
    dropped: u64,
    /// The number of log sources that have not ended.
    sources: usize,
    /// Why a write failed.
    failure: Option<String>,
    given_up: bool,
}

impl Output {
    /// Writes to `out`. `stop` is asked when `out` fails.
    ///
    /// # Errors
    /// The system gives no thread, or no file to share the output by.
    pub fn start(out: RawOutput, style: Style, stop: Stop) -> io::Result<Output> {
        let lock_file = LockFile::create()?;
        let out = SharedOutput::open(out, lock_file.path())?;
        let shared = Shared { state: Mutex::default(), changed: Condvar::new(), style, lock_file, stop };
        let output = Output { shared: Arc::new(shared) };
        let shared = output.shared.clone();
        // A write may block for ever, so the thread is not joined: it ends with the process.
        std::thread::Builder::new().name("output".to_owned()).spawn(move || shared.write(&out))?;
        Ok(output)
    }

    /// A source for the log of the child `name`; `number` chooses the name's colour.
    pub fn source(&self, name: &str, number: usize) -> LogSource {
        self.state().sources += 1;
        LogSource { prefix: self.prefix(name, number), output: self.clone() }
    }

    /// A writer for the log of this process. [`Output::finish`] does not wait for its end.
    pub fn own_log(&self, name: &str, number: usize) -> LogLines {
        LogLines { prefix: self.prefix(name, number), output: self.clone() }
    }

    fn prefix(&self, name: &str, number: usize) -> String {
        match COLOURS.get(number % COLOURS.len()) {
            Some(colour) if self.shared.style.coloured => format!("\x1b[{colour}m{name}\x1b[0m | "),
            _ => format!("{name} | "),
        }
    }

    /// The prefix of this line of a log, whose source has the prefix `own`.
    fn prefix_of<'a>(&self, line: &[u8], own: &'a str) -> &'a str {
        let is_bare = self.shared.style.bare.is_some_and(|start| line.starts_with(start.as_bytes()));
        if is_bare { "" } else { own }
    }

    /// Writes a line without a prefix, if there is room.
    pub fn print_line(&self, line: &str) {
        self.state().take_if_room("", line.as_bytes());
        self.shared.changed.notify_all();
    }

    /// What lines look like.
    pub fn style(&self) -> Style {
        self.shared.style
    }

    /// The file that all writers of this output lock.
    pub fn lock_file(&self) -> &Path {
        self.shared.lock_file.path()
    }

    /// Reports that a child's write to the output failed.
    pub fn failed(&self, reason: String) {
        self.state().failure.get_or_insert(reason);
        self.shared.stop.ask();
        self.shared.changed.notify_all();
    }

    /// Why a write to the output failed, if one did.
    pub fn failure(&self) -> Option<String> {
        self.state().failure.clone()
    }

    /// Waits until every source has ended and every line is written. At the `deadline` the remaining lines
    /// are given up. No further process can share the output afterwards.
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
        // The logger keeps a handle on the output as long as the process lives, so Drop comes too late.
        self.shared.lock_file.remove();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.shared.state)
    }
}

impl State {
    fn is_over(&self) -> bool {
        self.given_up || self.failure.is_some()
    }

    fn has_room(&self) -> bool {
        self.waiting.len() < MAX_WAITING
    }

    fn take_if_room(&mut self, prefix: &str, line: &[u8]) {
        if self.has_room() && !self.is_over() { self.take(prefix, line) } else { self.dropped += 1 }
    }

    fn take(&mut self, prefix: &str, line: &[u8]) {
        if self.dropped > 0 {
            let note = format!("({} lines of the log could not be shown)\n", self.dropped);
            self.waiting.extend_from_slice(note.as_bytes());
            self.dropped = 0;
        }
        self.waiting.extend_from_slice(prefix.as_bytes());
        self.waiting.extend_from_slice(line);
        self.waiting.push(b'\n');
    }
}

impl Shared {
    /// The body of the thread.
    fn write(&self, out: &SharedOutput) {
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
            let written = out.print(&lines);
            state = lock(&self.state);
            state.writing = false;
            if let Err(error) = written {
                state.failure.get_or_insert(error.to_string());
                self.stop.ask();
            }
            self.changed.notify_all();
        }
    }
}

/// The log of a child.
pub struct LogSource {
    prefix: String,
    output: Output,
}

impl LogSource {
    /// The prefix of each line.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Writes a line of the log, or drops it if there is no room.
    pub fn log(&self, line: &[u8]) {
        let prefix = self.output.prefix_of(line, &self.prefix);
        self.output.state().take_if_room(prefix, line);
        self.output.shared.changed.notify_all();
    }
}

impl Drop for LogSource {
    fn drop(&mut self) {
        self.output.state().sources -= 1;
        self.output.shared.changed.notify_all();
    }
}

/// The log of this process, to which whole lines are written.
pub struct LogLines {
    prefix: String,
    output: Output,
}

impl Write for LogLines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut state = self.output.state();
        for line in bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            state.take_if_room(self.output.prefix_of(line, &self.prefix), line);
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
    use std::io::{PipeReader, Read};
    use std::time::Duration;

    use super::*;

    fn piped(coloured: bool) -> (Output, PipeReader, Stop) {
        let (reader, writer) = io::pipe().unwrap();
        let stop = Stop::new();
        let style = Style { on_terminal: false, coloured, bare: Some("{\"time\":") };
        (Output::start(RawOutput::of(writer), style, stop.clone()).unwrap(), reader, stop)
    }

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(60)
    }

    /// What is read until nobody has the other end any more.
    fn rest(mut reader: PipeReader) -> String {
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        text
    }

    #[test]
    fn each_line_has_the_name_of_its_process() {
        let (output, reader, _) = piped(false);
        let consumer = output.source("consumer1", 2);
        consumer.log(b"a line of the log");
        consumer.log(b"{\"time\":1}");
        output.own_log("point-to-point", 0).write_all(b"one\ntwo\n").unwrap();
        output.print_line("curl");
        drop(consumer);
        output.finish(soon());
        drop(output);
        let lines =
            "consumer1 | a line of the log\n{\"time\":1}\npoint-to-point | one\npoint-to-point | two\ncurl\n";
        assert_eq!(rest(reader), lines);
    }

    #[test]
    fn names_have_colours_where_they_are_wanted() {
        let (output, reader, _) = piped(true);
        output.source("a", 1).log(b"x");
        output.finish(soon());
        drop(output);
        assert_eq!(rest(reader), "\x1b[36ma\x1b[0m | x\n");
    }

    #[test]
    fn a_blocked_output_drops_lines_and_counts_them() {
        let (output, mut reader, _) = piped(false);
        let api = output.source("api", 1);
        let long = vec![b'x'; MAX_WAITING];
        // One is being written, one waits.
        api.log(&long);
        while !output.state().writing {
            std::thread::yield_now();
        }
        api.log(&long);
        api.log(b"left out");
        api.log(b"this, too");
        let mut begun = vec![0; MAX_WAITING];
        reader.read_exact(&mut begun).unwrap();
        while output.state().waiting.len() >= MAX_WAITING {
            reader.read_exact(&mut [0]).unwrap();
        }
        api.log(b"shown again");
        let text = std::thread::spawn(move || rest(reader));
        drop(api);
        output.finish(soon());
        drop(output);
        assert!(
            text.join().unwrap().ends_with("\n(2 lines of the log could not be shown)\napi | shown again\n")
        );
    }

    #[test]
    fn an_output_that_fails_asks_to_stop() {
        let (output, reader, stop) = piped(false);
        let consumer = output.source("c", 0);
        drop(reader);
        consumer.log(b"lost");
        stop.wait();
        assert!(output.failure().is_some());
        consumer.log(b"nobody waits for this");
        output.finish(soon());
    }

    #[test]
    fn an_output_that_failed_for_a_child_has_failed() {
        let (output, _reader, stop) = piped(false);
        output.failed("Broken pipe".to_owned());
        assert!(stop.is_asked());
        assert_eq!(output.failure().as_deref(), Some("Broken pipe"));
        output.finish(soon());
    }

    #[test]
    fn an_output_that_stays_blocked_is_given_up() {
        let (output, _reader, _) = piped(false);
        let consumer = output.source("c", 0);
        consumer.log(&vec![b'x'; MAX_WAITING]);
        output.finish(Instant::now());
        assert!(output.state().is_over());
    }
}
