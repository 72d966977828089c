//! The producer's input: the lines of a file or of standard input, or generated messages. It is read ahead as
//! far as the sender's queue has room.

use net::sync::{Condvar, Mutex, MutexGuard};
use std::fs::File;
use std::io::{self, BufReader, IsTerminal, Read};
use std::path::Path;
use std::sync::mpsc::Sender;
use std::sync::{Arc, PoisonError};
use std::thread;

use super::Event;
use crate::error::{Error, Result};
use crate::lines::{Line, LineEnd, Lines, TooLong};
use crate::producer::{MAX_MESSAGE_BYTES, ProducerSettings};
use crate::text::escape;
use net::stop::Stop;

/// The number of generated messages where standard input is a terminal and nothing else is asked for.
const ON_A_TERMINAL: u64 = 10;
const BUFFER: usize = 64 * 1024;

/// The source of messages.
pub enum Source {
    /// A file's lines.
    File(File),
    /// The lines of standard input.
    Input,
    /// This number of generated messages.
    Generated(u64),
}

impl Source {
    /// Opens the source that the command line names.
    ///
    /// # Errors
    /// The file cannot be opened.
    pub fn find(file: Option<&Path>, count: Option<u64>) -> Result<Source> {
        match (file, count) {
            (Some(path), _) => File::open(path).map(Source::File).map_err(|e| {
                let path = path.display().to_string();
                let what = format!("the file {} cannot be opened", escape(path.as_bytes()));
                Error::new(what).caused_by(e).about_settings()
            }),
            (None, Some(count)) => Ok(Source::Generated(count)),
            (None, None) if io::stdin().is_terminal() => Ok(Source::Generated(ON_A_TERMINAL)),
            (None, None) => Ok(Source::Input),
        }
    }

    /// Starts the thread that reads, and sends an event for each line that is not blank, and for the end. The
    /// thread is not joined: a read that waits for input at a stop ends with the process.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub fn start(self, read_ahead: Arc<ReadAhead>, stop: Stop, events: Sender<Event>) -> Result<()> {
        let limit = read_ahead.bytes.min(MAX_MESSAGE_BYTES);
        let body = move || match self {
            Source::File(file) => feed(lines(file, limit), &read_ahead, &stop, &events),
            Source::Input => feed(lines(io::stdin(), limit), &read_ahead, &stop, &events),
            Source::Generated(count) => {
                feed((1..=count).map(|number| Ok(generated(number))), &read_ahead, &stop, &events)
            }
        };
        let thread = thread::Builder::new().name("input".to_owned()).spawn(body);
        thread.map(drop).map_err(|e| Error::new("the thread input cannot be started").caused_by(e))
    }
}

fn lines<R: Read>(input: R, limit: usize) -> Lines<BufReader<R>> {
    Lines::new(BufReader::with_capacity(BUFFER, input), limit, TooLong::Skip)
}

fn generated(number: u64) -> Line {
    let json = format!(r#"{{"id":{number},"contenido":"Hola desde Kafka"}}"#);
    Line { number, text: Some(json.into_bytes()), end: LineEnd::Newline }
}

fn feed(
    lines: impl Iterator<Item = io::Result<Line>>,
    read_ahead: &Arc<ReadAhead>,
    stop: &Stop,
    events: &Sender<Event>,
) {
    let woken = read_ahead.clone();
    let _hook = stop.on_ask(move || woken.wake());
    for line in lines {
        let line = match line {
            Ok(line) if line.text.as_ref().is_some_and(|text| text.trim_ascii().is_empty()) => continue,
            Ok(line) => line,
            Err(error) => return drop(events.send(Event::End(Some(error)))),
        };
        let bytes = line.text.as_ref().map_or(0, Vec::len);
        if !read_ahead.take(bytes, stop) || events.send(Event::Line(line)).is_err() {
            return;
        }
    }
    // The receiver may have ended.
    let _ = events.send(Event::End(None));
}

/// The budget of messages, and of their bytes, that are read and not reported yet.
pub struct ReadAhead {
    messages: usize,
    bytes: usize,
    taken: Mutex<(usize, usize)>,
    freed: Condvar,
}

impl ReadAhead {
    /// A budget as large as the sender's queue.
    pub fn new(settings: &ProducerSettings) -> Arc<ReadAhead> {
        let (messages, bytes) = (settings.queue_messages, settings.queue_bytes);
        Arc::new(ReadAhead { messages, bytes, taken: Mutex::default(), freed: Condvar::new() })
    }

    /// Waits until there is room for one more message. Returns false after a stop, which has to call
    /// [`ReadAhead::wake`].
    fn take(&self, bytes: usize, stop: &Stop) -> bool {
        let mut taken = self.lock();
        while !stop.is_asked() {
            if taken.0 < self.messages && taken.1 + bytes <= self.bytes {
                *taken = (taken.0 + 1, taken.1 + bytes);
                return true;
            }
            taken = self.freed.wait(taken).unwrap_or_else(PoisonError::into_inner);
        }
        false
    }

    /// Lets [`ReadAhead::take`] look again.
    fn wake(&self) {
        // A thread that saw no stop before this lock waits by now, and is notified.
        drop(self.lock());
        self.freed.notify_all();
    }

    /// Gives back the room of one message.
    pub fn free(&self, bytes: usize) {
        let mut taken = self.lock();
        *taken = (taken.0.saturating_sub(1), taken.1.saturating_sub(bytes));
        drop(taken);
        self.freed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, (usize, usize)> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    fn read_ahead(messages: usize, bytes: usize) -> Arc<ReadAhead> {
        let mut settings = ProducerSettings::default();
        (settings.queue_messages, settings.queue_bytes) = (messages, bytes);
        ReadAhead::new(&settings)
    }

    #[test]
    fn reading_pauses_while_there_is_no_room() {
        let (read_ahead, (sender, events)) = (read_ahead(2, 100), mpsc::channel());
        let other = read_ahead.clone();
        let reading = thread::spawn(move || {
            let lines =
                (1..=4).map(|number| Ok(Line { number, text: Some(vec![b'1'; 40]), end: LineEnd::Newline }));
            feed(lines, &other, &Stop::new(), &sender);
        });
        for taken in 1..=4 {
            assert!(matches!(events.recv(), Ok(Event::Line(line)) if line.number == taken));
            assert!(read_ahead.lock().0 <= 2 && read_ahead.lock().1 <= 100);
            if taken > 1 {
                read_ahead.free(40);
            }
        }
        assert!(matches!(events.recv(), Ok(Event::End(None))));
        reading.join().unwrap();
        let stop = Stop::new();
        stop.ask();
        assert!(!read_ahead.take(1, &stop), "a stop ends the wait");
    }

    #[test]
    fn blank_lines_are_left_out_but_count() {
        let (sender, events) = mpsc::channel();
        feed(lines(&b"\n1\n \t\r\n2"[..], 9), &read_ahead(9, 99), &Stop::new(), &sender);
        drop(sender);
        let numbers: Vec<u64> = events
            .iter()
            .filter_map(|e| if let Event::Line(line) = e { Some(line.number) } else { None })
            .collect();
        assert_eq!(numbers, [2, 4]);
    }
}
