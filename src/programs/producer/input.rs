//! The producer's input: the lines of a file or of standard input, whole files, or generated messages. It is
//! read ahead as far as the sender's queue has room, and as fast as the command line allows.

use net::sync::{Condvar, Mutex, MutexGuard};
use std::fs::File;
use std::io::{self, BufReader, IsTerminal, Read};
use std::path::{Path, PathBuf};
use std::sync::mpsc::Sender;
use std::sync::{Arc, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::Event;
use super::form::Form;
use crate::error::{Error, Result};
use crate::lines::{Lines, TooLong};
use crate::producer::{MAX_MESSAGE_BYTES, ProducerRecord, ProducerSettings, SubmitError};
use crate::text::escape;
use net::stop::Stop;

/// The number of generated messages where standard input is a terminal and nothing is asked for.
const ON_A_TERMINAL: u64 = 10;
const BUFFER: usize = 64 * 1024;
/// How far sending may lag behind its rate and still make up for it.
const SLACK: Duration = Duration::from_millis(10);

/// The source of messages.
pub enum Source {
    /// A file's lines.
    File(File),
    /// The lines of standard input.
    Input,
    /// Files, each of which is one message.
    Files(Vec<PathBuf>),
    /// This number of generated messages.
    Generated(u64),
}

impl Source {
    /// Opens the source that the command line names. `needs_input`: no messages are generated unasked.
    ///
    /// # Errors
    /// The file cannot be opened.
    pub fn find(
        file: Option<&Path>,
        files: &[PathBuf],
        count: Option<u64>,
        needs_input: bool,
    ) -> Result<Source> {
        match (file, count) {
            (Some(path), _) => File::open(path).map(Source::File).map_err(|e| {
                let path = path.display().to_string();
                let what = format!("the file {} cannot be opened", escape(path.as_bytes()));
                Error::new(what).caused_by(e).about_settings()
            }),
            (None, Some(count)) => Ok(Source::Generated(count)),
            (None, None) if !files.is_empty() => Ok(Source::Files(files.to_vec())),
            (None, None) if !needs_input && io::stdin().is_terminal() => Ok(Source::Generated(ON_A_TERMINAL)),
            (None, None) => Ok(Source::Input),
        }
    }

    /// Whether somebody types the messages.
    pub fn is_typed(&self) -> bool {
        matches!(self, Source::Input) && io::stdin().is_terminal()
    }

    /// The files, where each of them is a message; message 1 is the first.
    pub fn files(&self) -> Vec<PathBuf> {
        if let Source::Files(files) = self { files.clone() } else { Vec::new() }
    }

    /// Starts the thread that reads, and sends an event for each message, and for the end. The thread is not
    /// joined: a read that waits for input at a stop ends with the process.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub fn start(self, reader: Reader) -> Result<()> {
        let limit = reader.limit();
        let longest_line = reader.form.longest_line(limit);
        let body =
            move || match self {
                Source::File(file) => reader.feed(lines(file, longest_line)),
                Source::Input => reader.feed(lines(io::stdin(), longest_line)),
                Source::Files(files) => reader.feed((1..).zip(files).map(|(number, path)| {
                    Ok(Piece { number, bytes: read_file(&path, limit), is_line: false })
                })),
                Source::Generated(count) => reader.feed((1..=count).map(|number| Ok(generated(number)))),
            };
        let thread = thread::Builder::new().name("input".to_owned()).spawn(body);
        thread.map(drop).map_err(|e| Error::new("the thread input cannot be started").caused_by(e))
    }
}

/// A part of the input that becomes a message.
struct Piece {
    /// From 1 on.
    number: u64,
    /// Its bytes, or why there are none.
    bytes: std::result::Result<Vec<u8>, String>,
    is_line: bool,
}

fn lines<R: Read>(input: R, limit: usize) -> impl Iterator<Item = io::Result<Piece>> {
    let lines = Lines::new(BufReader::with_capacity(BUFFER, input), limit, TooLong::Skip);
    lines.map(|line| {
        line.map(|line| {
            let bytes = line.text.ok_or_else(|| "the line is longer than a message may be".to_owned());
            Piece { number: line.number, bytes, is_line: true }
        })
    })
}

/// The whole file, if it has no more than `limit` bytes.
fn read_file(path: &Path, limit: usize) -> std::result::Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let most = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    let file = File::open(path).map_err(|error| format!("the file cannot be opened: {error}"))?;
    file.take(most).read_to_end(&mut bytes).map_err(|error| format!("the file cannot be read: {error}"))?;
    if bytes.len() > limit {
        return Err("the file is longer than a message may be".to_owned());
    }
    Ok(bytes)
}

fn generated(number: u64) -> Piece {
    let json = format!(r#"{{"id":{number},"contenido":"Hola desde Kafka"}}"#);
    Piece { number, bytes: Ok(json.into_bytes()), is_line: true }
}

/// What the thread that reads works with.
pub struct Reader {
    /// How the input becomes messages.
    pub form: Form,
    /// The messages a second, at most.
    pub rate: Option<u32>,
    /// How far it may be ahead of the sender.
    pub read_ahead: Arc<ReadAhead>,
    /// Ends it.
    pub stop: Stop,
    /// Gets the messages.
    pub events: Sender<Event>,
}

impl Reader {
    /// The most that a message may weigh.
    fn limit(&self) -> usize {
        self.read_ahead.bytes.min(MAX_MESSAGE_BYTES)
    }

    fn feed(&self, pieces: impl Iterator<Item = io::Result<Piece>>) {
        let woken = self.read_ahead.clone();
        let _hook = self.stop.on_ask(move || woken.wake());
        let mut pace = self.rate.map(Pace::new);
        for piece in pieces {
            let piece = match piece {
                Ok(piece) if self.is_blank(&piece) => continue,
                Ok(piece) => piece,
                Err(error) => return drop(self.events.send(Event::End(Some(error)))),
            };
            let record = piece.bytes.and_then(|bytes| self.record(bytes));
            let bytes = record.as_ref().map_or(0, ProducerRecord::bytes);
            if let (Some(pace), Ok(_)) = (&mut pace, &record)
                && !self.read_ahead.wait_until(pace.next_due(), &self.stop)
            {
                return;
            }
            let event = Event::Message(piece.number, record.map(Box::new));
            if !self.read_ahead.take(bytes, &self.stop) || self.events.send(event).is_err() {
                return;
            }
        }
        // The receiver may have ended.
        let _ = self.events.send(Event::End(None));
    }

    fn is_blank(&self, piece: &Piece) -> bool {
        piece.is_line && piece.bytes.as_ref().is_ok_and(|bytes| self.form.skips(bytes))
    }

    fn record(&self, bytes: Vec<u8>) -> std::result::Result<ProducerRecord, String> {
        let record = self.form.record(bytes)?;
        let limit = self.limit();
        // There would never be room for it.
        if record.bytes() > limit {
            return Err(SubmitError::TooLarge { limit }.to_string());
        }
        Ok(record)
    }
}

/// The times at which messages are due at a rate.
struct Pace {
    interval: Duration,
    due: Instant,
}

impl Pace {
    fn new(rate: u32) -> Pace {
        Pace { interval: Duration::from_secs(1) / rate.max(1), due: Instant::now() }
    }

    /// When the next message may go. Time that went by without one is lost, but for a moment.
    fn next_due(&mut self) -> Instant {
        let now = Instant::now();
        let due = self.due.max(now.checked_sub(SLACK).unwrap_or(now));
        self.due = due + self.interval;
        due
    }
}

/// The budget of messages, and of their bytes, that are read and not reported yet.
pub struct ReadAhead {
    messages: usize,
    bytes: usize,
    taken: Mutex<(usize, usize)>,
    freed: Condvar,
}

impl ReadAhead {
    /// A budget as large as the sender's queue, and at a rate no more messages than those of a second: what
    /// waited through an outage goes at once.
    pub fn new(settings: &ProducerSettings, rate: Option<u32>) -> Arc<ReadAhead> {
        let second = rate.map_or(usize::MAX, |rate| usize::try_from(rate).unwrap_or(usize::MAX));
        let (messages, bytes) = (settings.queue_messages.min(second), settings.queue_bytes);
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

    /// Waits until this time. Returns false after a stop, which has to call [`ReadAhead::wake`].
    fn wait_until(&self, due: Instant, stop: &Stop) -> bool {
        let mut taken = self.lock();
        while !stop.is_asked() {
            let left = due.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return true;
            }
            taken = net::sync::wait_timeout(&self.freed, taken, left);
        }
        false
    }

    /// Lets [`ReadAhead::take`] and [`ReadAhead::wait_until`] look again.
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

    use super::super::form::FormOptions;
    use super::*;

    fn read_ahead(messages: usize, bytes: usize) -> Arc<ReadAhead> {
        let mut settings = ProducerSettings::default();
        (settings.queue_messages, settings.queue_bytes) = (messages, bytes);
        ReadAhead::new(&settings, None)
    }

    fn reader(read_ahead: &Arc<ReadAhead>, events: Sender<Event>) -> Reader {
        let (form, stop) = (FormOptions::default().form(), Stop::new());
        Reader { form, rate: None, read_ahead: read_ahead.clone(), stop, events }
    }

    #[test]
    fn reading_pauses_while_there_is_no_room() {
        let (read_ahead, (sender, events)) = (read_ahead(2, 100), mpsc::channel());
        let reader = reader(&read_ahead, sender);
        let reading = thread::spawn(move || {
            reader.feed((1..=4).map(|number| Ok(Piece { number, bytes: Ok(vec![b'1'; 40]), is_line: true })));
        });
        for taken in 1..=4 {
            assert!(matches!(events.recv(), Ok(Event::Message(number, Ok(_))) if number == taken));
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
        let tomorrow = Instant::now() + Duration::from_secs(86_400);
        assert!(!read_ahead.wait_until(tomorrow, &stop), "and that for the time");
    }

    #[test]
    fn blank_lines_are_left_out_but_count_and_what_has_no_room_is_refused() {
        let (sender, events) = mpsc::channel();
        reader(&read_ahead(9, 4), sender).feed(lines(&b"\n1\n \t\r\n2\n12345\n"[..], 9));
        let read: Vec<(u64, bool)> = events
            .iter()
            .filter_map(|e| if let Event::Message(n, record) = e { Some((n, record.is_ok())) } else { None })
            .collect();
        assert_eq!(read, [(2, true), (4, true), (5, false)]);
    }

    #[test]
    fn at_a_rate_no_more_than_a_second_of_messages_is_read_ahead() {
        let settings = ProducerSettings { queue_messages: 100, ..ProducerSettings::default() };
        let messages = |rate| ReadAhead::new(&settings, rate).messages;
        assert_eq!([messages(None), messages(Some(7)), messages(Some(1_000))], [100, 7, 100]);
    }

    #[test]
    fn a_pace_makes_up_for_no_more_than_a_moment() {
        let mut pace = Pace::new(1_000);
        let first = pace.next_due();
        assert_eq!(pace.next_due() - first, Duration::from_millis(1), "one after the other");
        pace.due = first.checked_sub(Duration::from_secs(9)).unwrap();
        assert!(pace.next_due() + SLACK >= first, "a pause is not made up for");
    }
}
