//! What the producer sends: the lines of a file or of standard input, or generated messages; read ahead no
//! further than the sender's queue may hold.

use std::fs::File;
use std::io::{self, BufReader, IsTerminal};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use super::Event;
use crate::channel::lines::{Line, Lines};
use crate::cli::Given;
use crate::config::{MAX_MESSAGE_BYTES, ProducerApiSettings};
use crate::error::{Error, Result};
use crate::logging::escaped;
use crate::stop::Stop;

/// Messages generated on a terminal where nothing else is asked for.
const ON_A_TERMINAL: u64 = 10;
/// How often it is looked meanwhile whether to stop.
const LOOK: Duration = Duration::from_millis(100);
const BUFFER: usize = 64 * 1024;

/// Where messages come from.
pub enum Source {
    /// A file's lines.
    File(File),
    /// The lines of standard input.
    Input,
    /// So many generated messages.
    Generated(u64),
}

impl Source {
    /// What the command line asks for.
    ///
    /// # Errors
    /// The file cannot be opened.
    pub fn find(given: &Given) -> Result<Source> {
        match (&given.file, given.count) {
            (Some(path), _) => File::open(path).map(Source::File).map_err(|e| {
                let path = path.display().to_string();
                let what = format!("the file {} cannot be opened", escaped(path.as_bytes()));
                Error::new(what).caused_by(e).about_settings()
            }),
            (None, Some(count)) => Ok(Source::Generated(count)),
            (None, None) if io::stdin().is_terminal() => Ok(Source::Generated(ON_A_TERMINAL)),
            (None, None) => Ok(Source::Input),
        }
    }

    /// Reads on a thread of its own, and tells of each line that is not blank, and of the end. A read that
    /// waits for input when stop is asked is not waited for: it ends with the process.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub fn start(self, room: Arc<Room>, stop: Stop, tell: Sender<Event>) -> Result<()> {
        let limit = room.bytes.min(MAX_MESSAGE_BYTES);
        let body = move || match self {
            Source::File(file) => {
                feed(Lines::new(BufReader::with_capacity(BUFFER, file), limit), &room, &stop, &tell)
            }
            Source::Input => {
                let input = BufReader::with_capacity(BUFFER, io::stdin());
                feed(Lines::new(input, limit), &room, &stop, &tell);
            }
            Source::Generated(count) => {
                feed((1..=count).map(|number| Ok(generated(number))), &room, &stop, &tell)
            }
        };
        let thread = thread::Builder::new().name("input".to_owned()).spawn(body);
        thread.map(drop).map_err(|e| Error::new("no thread for the input can be started").caused_by(e))
    }
}

fn generated(number: u64) -> Line {
    let json = format!(r#"{{"id":{number},"contenido":"Hola desde Kafka"}}"#);
    Line { number, text: Some(json.into_bytes()) }
}

fn feed(lines: impl Iterator<Item = io::Result<Line>>, room: &Room, stop: &Stop, tell: &Sender<Event>) {
    for line in lines {
        let line = match line {
            Ok(line) if line.text.as_ref().is_some_and(|text| text.trim_ascii().is_empty()) => continue,
            Ok(line) => line,
            Err(error) => return drop(tell.send(Event::End(Some(error)))),
        };
        let bytes = line.text.as_ref().map_or(0, Vec::len);
        if !room.take(bytes, stop) || tell.send(Event::Line(line)).is_err() {
            return;
        }
    }
    // Who listens has ended if it does not arrive.
    let _ = tell.send(Event::End(None));
}

/// How many messages, and bytes of them, may be read whose fate is open.
pub struct Room {
    messages: usize,
    bytes: usize,
    taken: Mutex<(usize, usize)>,
    freed: Condvar,
}

impl Room {
    /// As much as the sender's queue takes.
    pub fn new(settings: &ProducerApiSettings) -> Arc<Room> {
        let (messages, bytes) = (settings.queue_messages, settings.queue_bytes);
        Arc::new(Room { messages, bytes, taken: Mutex::default(), freed: Condvar::new() })
    }

    /// Waits until there is room for one more message; false when stop is asked.
    fn take(&self, bytes: usize, stop: &Stop) -> bool {
        let mut taken = self.lock();
        while !stop.is_asked() {
            if taken.0 < self.messages && taken.1 + bytes <= self.bytes {
                *taken = (taken.0 + 1, taken.1 + bytes);
                return true;
            }
            taken = self.freed.wait_timeout(taken, LOOK).unwrap_or_else(PoisonError::into_inner).0;
        }
        false
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

    fn room(messages: usize, bytes: usize) -> Arc<Room> {
        let mut settings = ProducerApiSettings::default();
        (settings.queue_messages, settings.queue_bytes) = (messages, bytes);
        Room::new(&settings)
    }

    #[test]
    fn reading_pauses_while_there_is_no_room() {
        let (room, (tell, events)) = (room(2, 100), mpsc::channel());
        let other = room.clone();
        let reading = thread::spawn(move || {
            let lines = (1..=4).map(|number| Ok(Line { number, text: Some(vec![b'1'; 40]) }));
            feed(lines, &other, &Stop::new(), &tell);
        });
        for taken in 1..=4 {
            assert!(matches!(events.recv(), Ok(Event::Line(line)) if line.number == taken));
            assert!(room.lock().0 <= 2 && room.lock().1 <= 100);
            if taken > 1 {
                room.free(40);
            }
        }
        assert!(matches!(events.recv(), Ok(Event::End(None))));
        reading.join().unwrap();
        let stop = Stop::new();
        stop.ask();
        assert!(!room.take(1, &stop), "a stop ends the wait");
    }

    #[test]
    fn blank_lines_are_left_out_but_count() {
        let (tell, events) = mpsc::channel();
        feed(Lines::new(&b"\n1\n \t\r\n2"[..], 9), &room(9, 99), &Stop::new(), &tell);
        drop(tell);
        let numbers: Vec<u64> = events
            .iter()
            .filter_map(|e| if let Event::Line(line) = e { Some(line.number) } else { None })
            .collect();
        assert_eq!(numbers, [2, 4]);
    }
}
