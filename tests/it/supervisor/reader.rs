//! Whoever reads the standard output of the default program, and how fast; and the channel before such a
//! reader.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::process::ChildStdout;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use super::channel::{CONSUMERS, Place, children, ids_of, wait_until_gone};
use crate::support::http::post;
use crate::support::program::{Program, RECEIVED, Start, WAITING};
use crate::support::{EMBEDDED, PATIENCE, eventually};

/// What a pipe holds.
pub const PIPE: usize = 64 * 1024;

/// How a reader reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// All that there is.
    Fast,
    /// 4 KiB twenty times a second.
    Slow,
    /// Not at all.
    Still,
    /// It closes its end of the pipe.
    Gone,
}

#[derive(Default)]
struct Taken {
    bytes: Vec<u8>,
    ended: bool,
}

/// A reader on a thread of its own.
pub struct Reader {
    pace: Arc<Mutex<Pace>>,
    read: Arc<Mutex<Taken>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Reader {
    fn new(mut pipe: ChildStdout) -> Reader {
        let reader = Reader { pace: Arc::new(Mutex::new(Pace::Fast)), read: Arc::default() };
        let (pace, read) = (reader.pace.clone(), reader.read.clone());
        thread::spawn(move || {
            let mut piece = vec![0; PIPE];
            loop {
                let now = *lock(&pace);
                let most = match now {
                    Pace::Fast => PIPE,
                    Pace::Slow => 4096,
                    Pace::Still => 0,
                    Pace::Gone => break,
                };
                if now != Pace::Fast {
                    thread::sleep(Duration::from_millis(50));
                }
                match pipe.read(&mut piece[..most]) {
                    Ok(0) if most > 0 => break,
                    Ok(some) => lock(&read).bytes.extend_from_slice(&piece[..some]),
                    Err(error) => panic!("the output cannot be read: {error}"),
                }
            }
            drop(pipe);
            lock(&read).ended = true;
        });
        reader
    }

    /// From now on it reads like this.
    pub fn read(&self, pace: Pace) {
        *lock(&self.pace) = pace;
    }

    /// Reads what is left, or waits until it is gone.
    pub fn finish(&self) {
        if *lock(&self.pace) != Pace::Gone {
            self.read(Pace::Fast);
        }
        eventually("the output ends", PATIENCE, || lock(&self.read).ended.then_some(()));
    }

    /// All that was read so far.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&lock(&self.read).bytes).into_owned()
    }

    /// Every line so far that has its end.
    pub fn lines(&self) -> Vec<String> {
        let text = self.text();
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        whole.split('\n').map(str::to_owned).collect()
    }
}

/// What a consumer does with messages.
#[derive(Debug, Clone, Copy)]
pub struct Mode {
    /// `consumer.commit`.
    pub commit: &'static str,
    /// Whether a program prints them.
    pub handler: bool,
}

/// Every commit mode, and a handler.
pub const MODES: [Mode; 4] = [
    Mode { commit: "message", handler: false },
    Mode { commit: "pipelined", handler: false },
    Mode { commit: "poll", handler: false },
    Mode { commit: "message", handler: true },
];

const HANDLED: &str = "handled ";

/// The default program before a reader.
pub struct Stage {
    pub program: Program,
    pub place: Place,
    pub reader: Reader,
    mode: Mode,
    /// Where each message is stored, by its number.
    stored: Vec<(String, i64)>,
}

impl Stage {
    /// The channel, once both consumers are members.
    pub fn start(mode: Mode) -> Stage {
        let place = Place::new(EMBEDDED);
        let start = place.program(Start::program("point-to-point")).set("consumer.commit", mode.commit);
        let handler = format!("[\"sh\",\"-c\",\"v=$(cat); echo \\\"{HANDLED}$v\\\"\"]");
        let start = if mode.handler { start.set("consumer.handler", &handler) } else { start };
        let mut program = Program::producer_with(start.held());
        let reader = Reader::new(program.take_output());
        let stage = Stage { program, place, reader, mode, stored: Vec::new() };
        eventually("both consumers are members", PATIENCE, || {
            let lines = stage.reader.lines();
            let waits = |name: &&str| lines.contains(&format!("{name} | {WAITING}"));
            CONSUMERS.iter().all(waits).then_some(())
        });
        // Each has two partitions, whatever was joined in between.
        stage.place.wait_for_members(&[("consumer1", "2"), ("consumer2", "2")]);
        stage
    }

    /// Stores `count` messages of about `length` bytes in one request, in all partitions.
    pub fn store(&mut self, count: usize, length: usize) {
        let first = self.stored.len();
        let record = |id: usize| {
            let filler = "x".repeat(length);
            format!(r#"{{"partition":{},"value":{{"id":{id},"filler":"{filler}"}}}}"#, id % 4)
        };
        let records: Vec<String> = (first..first + count).map(record).collect();
        let body = format!(r#"{{"records":[{}]}}"#, records.join(","));
        let path = format!("/topics/{}", self.place.topic);
        let answer = post(self.program.address(), &path, body.as_bytes()).expect("an answer");
        assert_eq!(answer.status, 200, "{answer:?}");
        let json = answer.json();
        for place in json["offsets"].as_array().expect("offsets") {
            let partition = place["partition"].as_i64().expect("a partition").to_string();
            self.stored.push((partition, place["offset"].as_i64().expect("an offset")));
        }
        assert_eq!(self.stored.len(), first + count);
    }

    /// The number of the message in a line.
    fn number_in(&self, line: &str) -> Option<usize> {
        let (name, text) = line.split_once(" | ")?;
        assert!(CONSUMERS.contains(&name) || !text.starts_with(RECEIVED), "{:.300}", line);
        let message = text.strip_prefix(if self.mode.handler { HANDLED } else { RECEIVED })?;
        let message: serde_json::Value = serde_json::from_str(message).ok()?;
        usize::try_from(message["id"].as_u64()?).ok()
    }

    /// The numbers of the messages that the reader got whole.
    pub fn came_out(&self) -> BTreeSet<usize> {
        self.reader.lines().iter().filter_map(|line| self.number_in(line)).collect()
    }

    /// Waits until the reader got this many messages.
    pub fn wait_until_out(&self, count: usize) {
        eventually(&format!("{count} messages come out"), PATIENCE, || {
            (self.came_out().len() >= count).then_some(())
        });
    }

    /// The consumer whose message the reader has got in part.
    pub fn prints(&self) -> Option<&'static str> {
        let text = self.reader.text();
        let (name, message) = text.lines().last()?.split_once(" | ")?;
        let begins = message.starts_with(if self.mode.handler { HANDLED } else { RECEIVED });
        CONSUMERS.into_iter().find(|known| begins && !text.ends_with('\n') && *known == name)
    }

    /// Waits until nothing more is committed, as the output takes no more.
    pub fn wait_until_still(&self) {
        let mut last = Vec::new();
        eventually("nothing more is committed", PATIENCE, || {
            let (rows, _) = self.place.status();
            (std::mem::replace(&mut last, rows) == last).then_some(())
        });
    }

    /// How many lines are neither of a log nor a whole message, but have something of one.
    pub fn cut_off(&self) -> usize {
        let lines = self.reader.lines();
        let text = if self.mode.handler { HANDLED } else { RECEIVED };
        let begun = |line: &&String| line.contains(&format!("{text}{{")) || line.contains("xxxxx");
        let logged = |line: &&String| line.contains("[INFO ]") && !line.contains(&format!(" | {text}"));
        let cut_off = |line: &&String| self.number_in(line).is_none();
        lines.iter().filter(begun).filter(|line| !logged(line)).filter(cut_off).count()
    }

    /// Once every process has ended: what is committed came out, but for what a reader that is gone left in
    /// the pipe.
    pub fn check(&self, in_the_pipe: usize) {
        let (rows, printed) = self.place.status();
        let ours = rows.iter().filter(|row| row.len() == 11 && row[0] == self.place.group);
        let committed: BTreeMap<&str, i64> =
            ours.filter_map(|row| Some((row[2].as_str(), row[3].parse().ok()?))).collect();
        let out = self.came_out();
        let is_committed = |(partition, offset): &(String, i64)| {
            committed.get(&**partition).is_some_and(|next| offset < next)
        };
        let all = self.stored.iter().enumerate().filter(|(_, place)| is_committed(place));
        let (count, lost): (usize, Vec<usize>) = all.fold((0, Vec::new()), |(count, mut lost), (id, _)| {
            lost.extend((!out.contains(&id)).then_some(id));
            (count + 1, lost)
        });
        println!("{:?}: {count} committed, {} came out, {} lost", self.mode, out.len(), lost.len());
        // Mode `poll` may not have come to its first commit.
        assert!(!committed.is_empty() || self.mode.commit == "poll", "{printed}");
        let bytes: usize = lost.len() * self.line_length();
        assert!(bytes <= in_the_pipe, "{:?}: committed, but did not come out: {lost:?}", self.mode);
    }

    /// About as many bytes as each message's line has.
    fn line_length(&self) -> usize {
        self.reader.lines().iter().find(|line| self.number_in(line).is_some()).map_or(0, String::len)
    }

    /// Waits for the end of the supervisor and its children; gives the exit code, `None` for a signal.
    pub fn end(&mut self, children: &[u32]) -> Option<i32> {
        let code = self.program.wait(PATIENCE);
        wait_until_gone(children);
        self.reader.finish();
        code
    }

    /// Waits for the end, and checks the supervisor's exit code, that no line is cut off, and that what is
    /// committed came out.
    pub fn check_end(&mut self, children: &[u32], code: Option<i32>) {
        assert_eq!(self.end(children), code);
        assert_eq!(self.cut_off(), 0);
        self.check(0);
    }

    /// The children's processes.
    pub fn children(&self) -> Vec<u32> {
        ids_of(&children(self.program.id()))
    }

    /// The process of a child.
    pub fn child(&self, name: &str) -> u32 {
        eventually(&format!("{name} runs"), PATIENCE, || {
            let named = |(_, words): &(u32, Vec<String>)| words.iter().any(|word| word == name);
            children(self.program.id()).into_iter().find(named).map(|(id, _)| id)
        })
    }
}

/// Does the same in these modes, beside each other: most of it is waiting.
pub fn in_modes(modes: &[Mode], test: impl Fn(Mode) + Sync) {
    let test = &test;
    thread::scope(|scope| {
        modes.iter().for_each(|mode| drop(scope.spawn(|| test(*mode))));
    });
}
