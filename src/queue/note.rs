//! The note: what an owner of a partition commits as the metadata of the lowest open offset, so that the next
//! owner knows what is done above it, which messages were attempted how often, and whether the partition was
//! handed over.
//!
//! It is text, as Kafka's tools show it, of fields between single blanks, always in this order:
//!
//! ```text
//! q1 held=consumer1 reach=1310 done=37:AQQBIQ attempts=3@1764396000000:EQAgGQu4kAEJAwAA
//! q1 clean
//! ```
//!
//! | field | what it says |
//! |---|---|
//! | `q1` | a note of version 1; another version is not read |
//! | `held=NAME` or `clean` | who holds the partition, or that it was handed over |
//! | `paused` | after `held=NAME` alone: who holds it hands out nothing, as its handler cannot be started or too many attempts failed |
//! | `reach=OFFSET` | open messages below it may have been in hand when the owner ended; left out where it is the committed offset |
//! | `done=COUNT:RANGES` | the offsets above the committed one that are done, as [`offset_ranges`] writes them, after how many they are; left out where there are none |
//! | `attempts=COUNT@TIME:LIST` | the open messages that were attempted ([`attempted`] has the bytes), after how many they are and the time in ms since 1970 that their waits count from |
//!
//! Both counts let a reader notice a text that was cut off or edited: an offset that is taken for done by
//! mistake would be a lost message. A note that cannot be read is treated as none: what is above the
//! committed offset comes again.

mod attempted;

use std::borrow::Cow;
use std::fmt::{self, Write as _};

pub use attempted::Attempted;
pub(super) use attempted::{attempts_length, longest_attempts_length};

use crate::offset_ranges::{self, OffsetRange};

const MARK: &str = "q";
const VERSION: &str = "1";
const PAUSED: &str = "paused";

/// The most characters of the holder's name.
const MAX_NAME: usize = 24;

/// The most characters of a note without its ranges and its list: five numbers of an `i64` or `u64`.
pub const MAX_HEADER: usize =
    "q1 held= paused reach= done=: attempts=@:".len() + MAX_NAME + 4 * "9223372036854775807".len() + 1;

/// The smallest limit on a note's length that a queue can work with.
pub const MIN_LIMIT: usize = 256;

/// What is committed with an offset.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Note {
    /// Who holds the partition; `None` where it was handed over.
    pub held_by: Option<String>,
    /// Who holds it hands out nothing: it pauses.
    pub paused: bool,
    /// Open messages below this offset may have been in hand when the owner ended.
    pub reach: i64,
    /// The ranges that are done, in order, apart from each other and from the committed offset.
    pub done: Vec<OffsetRange>,
    /// The open messages that were attempted, in order.
    pub attempted: Vec<Attempted>,
}

/// Why metadata is no note.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoNote {
    /// It is not a queue's.
    Foreign,
    /// It is of a version that is not known here.
    Version,
    /// It was cut off or edited; the field that shows it.
    Damaged(&'static str),
}

impl fmt::Display for NoNote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NoNote::Foreign => f.write_str("the metadata of the commit was not written by a work queue"),
            NoNote::Version => {
                f.write_str("the metadata of the commit is a note of another version of the work queue")
            }
            NoNote::Damaged(field) => {
                write!(f, "the note in the metadata of the commit is damaged: its field {field} is not valid")
            }
        }
    }
}

impl std::error::Error for NoNote {}

impl Note {
    /// The note that was committed with the offset `next`; empty metadata is an empty note.
    ///
    /// # Errors
    /// The text is not what [`Note::text`] makes.
    pub fn read(next: i64, text: &str) -> Result<Note, NoNote> {
        let mut note = Note { reach: next, ..Note::default() };
        if text.is_empty() {
            return Ok(note);
        }
        let mut fields = text.split(' ').peekable();
        match fields.next().and_then(|first| first.strip_prefix(MARK)) {
            Some(VERSION) => {}
            Some(other) if !other.is_empty() && other.bytes().all(|byte| byte.is_ascii_digit()) => {
                return Err(NoNote::Version);
            }
            _ => return Err(NoNote::Foreign),
        }
        let state = fields.next().unwrap_or_default();
        note.held_by = match state.strip_prefix("held=") {
            Some(name) if !name.is_empty() => Some(name.to_owned()),
            None if state == "clean" => None,
            _ => return Err(NoNote::Damaged("held")),
        };
        note.paused = note.held_by.is_some() && fields.next_if_eq(&PAUSED).is_some();
        let mut field = |name: &str| {
            let value = fields.peek()?.strip_prefix(name)?.strip_prefix('=')?;
            fields.next();
            Some(value)
        };
        if let Some(reach) = field("reach") {
            note.reach = decimal(reach).filter(|reach| *reach > next).ok_or(NoNote::Damaged("reach"))?;
        }
        if let Some(done) = field("done") {
            note.done = read_done(next, done).ok_or(NoNote::Damaged("done"))?;
        }
        if let Some(attempts) = field("attempts") {
            note.attempted = read_attempted(next, &note.done, attempts).ok_or(NoNote::Damaged("attempts"))?;
        }
        match fields.next() {
            None => Ok(note),
            Some(_) => Err(NoNote::Damaged("after the last one")),
        }
    }

    /// How many offsets are done above the committed one.
    pub fn done_count(&self) -> i64 {
        count(&self.done)
    }

    /// How many offsets from `start`, which is not below the committed one, to `end` are not done.
    pub fn open_count(&self, start: i64, end: i64) -> i64 {
        let done = self.done.iter().map(|(from, after)| after.min(&end).saturating_sub(*from.max(&start)));
        let done = done.filter(|count| *count > 0).fold(0, i64::saturating_add);
        end.saturating_sub(start).saturating_sub(done).max(0)
    }

    /// The message at `offset`, if it was attempted.
    pub fn attempted_at(&self, offset: i64) -> Option<&Attempted> {
        self.attempted.iter().find(|message| message.offset == offset)
    }

    /// Whether the note, which was committed with `next`, says that `offset` is done.
    pub fn is_done(&self, next: i64, offset: i64) -> bool {
        offset < next || self.done.iter().any(|(start, after)| (*start..*after).contains(&offset))
    }

    /// The text to commit with the offset `next`; waits count from `now`.
    pub fn text(&self, next: i64, now: u64) -> String {
        self.text_of(next, now, self.done.len(), self.attempted.len())
    }

    /// The text with as much as fits `limit` characters, and whether that is all. What is left out counts as
    /// open or as never attempted after a crash: ranges go before attempts, the highest first.
    pub fn text_within(&self, next: i64, now: u64, limit: usize) -> (String, bool) {
        let all = self.text(next, now);
        if all.len() <= limit {
            return (all, true);
        }
        let attempted = fitting(self.attempted.len(), |kept| self.text_of(next, now, 0, kept).len() <= limit);
        let done = fitting(self.done.len(), |kept| self.text_of(next, now, kept, attempted).len() <= limit);
        (self.text_of(next, now, done, attempted), false)
    }

    fn text_of(&self, next: i64, now: u64, done: usize, attempted: usize) -> String {
        let done = self.done.get(..done).unwrap_or_default();
        let attempted = self.attempted.get(..attempted).unwrap_or_default();
        let mut text = format!("{MARK}{VERSION}");
        // Writing to a String does not fail.
        let _ = match &self.held_by {
            Some(name) => write!(text, " held={}", printable(name)),
            None => write!(text, " clean"),
        };
        if self.paused && self.held_by.is_some() {
            let _ = write!(text, " {PAUSED}");
        }
        if self.reach > next {
            let _ = write!(text, " reach={}", self.reach);
        }
        if !done.is_empty() {
            let count = count(done);
            let ranges = offset_ranges::to_text(&offset_ranges::write(next, done));
            let _ = write!(text, " done={count}:{ranges}");
        }
        if !attempted.is_empty() {
            let list = offset_ranges::to_text(&attempted::write(next, done, attempted, now));
            let _ = write!(text, " attempts={}@{now}:{list}", attempted.len());
        }
        text
    }
}

fn read_done(next: i64, field: &str) -> Option<Vec<OffsetRange>> {
    let (count, ranges) = field.split_once(':')?;
    let ranges = offset_ranges::read(next, &offset_ranges::from_text(ranges).ok()?).ok()?;
    let near = ranges.last().is_some_and(|(_, after)| after.abs_diff(next) <= attempted::MAX_DISTANCE);
    (near && decimal(count)? == self::count(&ranges)).then_some(ranges)
}

/// The offsets of some ranges.
fn count(ranges: &[OffsetRange]) -> i64 {
    ranges.iter().fold(0, |sum: i64, (start, after)| sum.saturating_add(after.saturating_sub(*start)))
}

fn read_attempted(next: i64, done: &[OffsetRange], field: &str) -> Option<Vec<Attempted>> {
    let (count, rest) = field.split_once('@')?;
    let (time, list) = rest.split_once(':')?;
    let now = u64::try_from(decimal(time)?).ok()?;
    let list = attempted::read(next, done, &offset_ranges::from_text(list).ok()?, now)?;
    (!list.is_empty() && usize::try_from(decimal(count)?).ok()? == list.len()).then_some(list)
}

/// A number as it is written: digits alone.
fn decimal(text: &str) -> Option<i64> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}

/// A name without blanks, of one byte a character, and not too long.
fn printable(name: &str) -> Cow<'_, str> {
    let fits = |c: char| c.is_ascii_graphic();
    match name {
        "" => Cow::Borrowed("-"),
        name if name.len() <= MAX_NAME && name.chars().all(fits) => Cow::Borrowed(name),
        name => name.chars().take(MAX_NAME).map(|c| if fits(c) { c } else { '_' }).collect(),
    }
}

/// The most of `all` that `fits`, which is true up to a number and false from there on; none if nothing fits.
fn fitting(all: usize, fits: impl Fn(usize) -> bool) -> usize {
    let (mut low, mut high) = (0, all);
    while low < high {
        let middle = low + (high - low).div_ceil(2);
        if fits(middle) {
            low = middle;
        } else {
            high = middle - 1;
        }
    }
    low
}

#[cfg(test)]
mod tests;
