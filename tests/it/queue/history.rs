//! The history of the messages of a topic, as their handlers have written it down (`chaos_handler.py`), and
//! what it proves. What is committed is compared with it again and again.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use point_to_point::queue::note::Note;

/// A partition and an offset.
pub type Place = (i32, i64);

/// What is known of a message.
#[derive(Debug, Default, Clone)]
pub struct Message {
    /// Its key's number; `None` for a message without a key.
    pub key: Option<u32>,
    /// The line of its first attempt, and that of its last one.
    pub begun: Option<(u64, u64)>,
    /// The line in which it succeeded first.
    pub succeeded: Option<u64>,
    /// How often it succeeded.
    pub successes: usize,
    /// The highest attempt that has begun.
    pub attempt: u32,
    /// An attempt said that no other can succeed.
    pub is_hopeless: bool,
}

/// All messages that handlers have had.
pub struct History {
    path: PathBuf,
    file: Option<File>,
    /// What was read of a line that is not written to its end.
    rest: Vec<u8>,
    lines: u64,
    pub messages: BTreeMap<Place, Message>,
    /// How many messages have succeeded, and how often.
    pub distinct: usize,
    pub successes: usize,
    /// How many attempts ended in each way.
    pub fates: BTreeMap<String, usize>,
    /// Attempts that were lower than one before.
    fallen: Vec<String>,
}

impl History {
    /// The history in a file, which need not be there yet.
    pub fn of(path: &Path) -> History {
        History {
            path: path.to_owned(),
            file: None,
            rest: Vec::new(),
            lines: 0,
            messages: BTreeMap::new(),
            distinct: 0,
            successes: 0,
            fates: BTreeMap::new(),
            fallen: Vec::new(),
        }
    }

    /// Reads what was written since the last time.
    pub fn read(&mut self) {
        if self.file.is_none() {
            self.file = File::open(&self.path).ok();
        }
        let Some(file) = &mut self.file else { return };
        file.read_to_end(&mut self.rest).expect("the history can be read");
        let whole = self.rest.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let lines: Vec<u8> = self.rest.drain(..whole).collect();
        for line in std::str::from_utf8(&lines).expect("text").lines() {
            self.add(line);
        }
    }

    fn add(&mut self, line: &str) {
        self.lines += 1;
        let words: Vec<&str> = line.split(' ').collect();
        let [sign, _consumer, partition, offset, attempt, key, ref fate @ ..] = words[..] else {
            panic!("no line of a history: {line:?}")
        };
        let number = |word: &str| word.parse::<i64>().unwrap_or_else(|_| panic!("no number: {line:?}"));
        let attempt = number(attempt) as u32;
        let message = self.messages.entry((number(partition) as i32, number(offset))).or_default();
        message.key = key.strip_prefix('k').map(|key| number(key) as u32);
        if sign == "+" {
            if attempt < message.attempt {
                self.fallen.push(format!("line {}: {line} after {}", self.lines, message.attempt));
            }
            message.attempt = message.attempt.max(attempt);
            message.begun = Some((message.begun.map_or(self.lines, |(first, _)| first), self.lines));
            return;
        }
        *self.fates.entry(fate[0].to_owned()).or_default() += 1;
        message.is_hopeless |= fate[0] == "dead";
        if fate[0] == "ok" {
            self.distinct += usize::from(message.succeeded.is_none());
            self.successes += 1;
            message.succeeded.get_or_insert(self.lines);
            message.successes += 1;
        }
    }

    /// How often messages succeeded that had succeeded before.
    pub fn repeated(&self) -> usize {
        self.successes - self.distinct
    }

    /// Whether a message has succeeded.
    pub fn is_handled(&self, place: Place) -> bool {
        self.messages.get(&place).is_some_and(|message| message.succeeded.is_some())
    }

    /// Attempts have never gone down.
    pub fn check_attempts(&self) {
        assert!(self.fallen.is_empty(), "{} attempts went down: {:#?}", self.fallen.len(), self.fallen);
    }

    /// No message has begun before the one before it with its key had succeeded, or had had the last attempt
    /// that made it a dead letter.
    pub fn check_order(&self, dead: &BTreeSet<Place>) {
        let mut before: HashMap<(i32, u32), (Place, u64)> = HashMap::new();
        for (place, message) in &self.messages {
            let (Some(key), Some((first, last))) = (message.key, message.begun) else { continue };
            if let Some((other, until)) = before.get(&(place.0, key)) {
                assert!(
                    until < &first,
                    "{place:?} of k{key} began in line {first}, {other:?} was done in line {until}"
                );
            }
            let until = message.succeeded.or(dead.contains(place).then_some(last));
            let until = until.unwrap_or_else(|| panic!("{place:?} neither succeeded nor is a dead letter"));
            before.insert((place.0, key), (*place, until));
        }
    }
}

/// What a group has committed, which never goes back.
#[derive(Debug, Default)]
pub struct Commits {
    partitions: BTreeMap<i32, (i64, Note)>,
}

impl Commits {
    /// Takes note of what is committed in a partition; gives what was not taken for done before.
    ///
    /// # Panics
    /// What was done before is not any more.
    pub fn add(&mut self, partition: i32, next: i64, text: &str) -> Vec<i64> {
        let note = Note::read(next, text).unwrap_or_else(|why| panic!("{next} {text:?}: {why}"));
        let (before, known) = self.partitions.remove(&partition).unwrap_or_default();
        assert!(before <= next, "partition {partition}: {before} was committed, then {next} {text:?}");
        let is_in = |ranges: &[(i64, i64)], offset: i64| {
            ranges.iter().any(|(start, after)| (*start..*after).contains(&offset))
        };
        let lost = known.done.iter().flat_map(|(start, after)| *start..*after);
        let lost: Vec<i64> = lost.filter(|at| *at >= next && !is_in(&note.done, *at)).collect();
        assert!(lost.is_empty(), "partition {partition}: {lost:?} were done, then {next} {text:?}");
        let done = note.done.iter().flat_map(|(start, after)| *start..*after);
        let new = (before..next).chain(done).filter(|at| !is_in(&known.done, *at)).collect();
        self.partitions.insert(partition, (next, note));
        new
    }

    /// How many offsets are committed, those above the lowest open one left out.
    pub fn total(&self) -> i64 {
        self.partitions.values().map(|(next, _)| next).sum()
    }

    /// Who holds the partitions, as the notes say.
    pub fn holders(&self) -> Vec<&str> {
        self.partitions.values().filter_map(|(_, note)| note.held_by.as_deref()).collect()
    }
}
