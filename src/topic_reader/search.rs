//! Looks for messages from either end of a topic until there are enough, or the time is over.
//!
//! Kafka reads forward alone: to look back, a chunk of each partition is read at a time, from behind. The
//! partition whose messages can come next in the order of time is read next, so that what is found comes in
//! that order however many partitions there are.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::place::{PartitionRange, Place};
use super::reader::{Connections, Found, Reader};
use client::{Error, Result};
use protocol::error_code::ErrorCode;
use protocol::records::Record;

/// The offsets of the first chunk of a partition: few, as each message may have a megabyte.
const FIRST_CHUNK: i64 = 16;
/// The offsets of the largest chunk.
const LARGEST_CHUNK: i64 = 16 * 1024;
/// A chunk that took longer is followed by a smaller one: what is read of one that the deadline cuts is lost.
const SLOW: Duration = Duration::from_millis(400);
/// The messages of all partitions together that are kept until their turn comes.
const MOST_KEPT: usize = 2_000;

/// Which messages come first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// The newest.
    Newest,
    /// The oldest.
    Oldest,
}

/// How far a search has come in one partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lane {
    /// The partition.
    pub partition: i32,
    /// The first offset that was looked at, ...
    pub from: i64,
    /// ... and the one after the last.
    pub to: i64,
    /// Where to go on: the messages before it, or from it on, by the direction; `None` at the end.
    pub next: Option<i64>,
}

/// What was found.
#[derive(Debug)]
pub struct Searched<T> {
    /// What fits, in the order of time as far as the messages of each partition are in it.
    pub found: Vec<Found<T>>,
    /// How many messages were looked at.
    pub messages: u64,
    /// How far the search has come.
    pub lanes: Vec<Lane>,
    /// It has found as many as were wanted, or has seen all.
    pub is_complete: bool,
    /// Why a partition could not be read on.
    pub trouble: Option<Error>,
}

/// A search in ranges of a topic.
pub struct Search<T> {
    direction: Direction,
    most: usize,
    lanes: Vec<Progress<T>>,
    messages: u64,
}

/// The search in one partition.
struct Progress<T> {
    range: PartitionRange,
    /// What is between it and the end at which the search began was looked at.
    edge: i64,
    chunk: i64,
    /// No chunk may have more offsets.
    largest: i64,
    /// No message beyond the edge comes before this time, as far as the times are in order.
    bound: i64,
    /// What fits and has not had its turn; the next one is the first.
    found: VecDeque<Found<T>>,
    is_broken: bool,
}

/// What a chunk holds.
struct Chunk<T> {
    /// What fits, in the order of offsets.
    found: VecDeque<Found<T>>,
    /// What of the range was looked at.
    seen: PartitionRange,
    messages: u64,
    /// The times of the first and the last message.
    times: Option<(i64, i64)>,
}

impl<T> Search<T> {
    /// A search for `most` messages in these ranges: from their ends back, or from their starts on.
    pub fn new(direction: Direction, ranges: Vec<PartitionRange>, most: usize) -> Search<T> {
        let lane = |range: PartitionRange| Progress {
            edge: if direction == Direction::Newest { range.end } else { range.start },
            range,
            chunk: FIRST_CHUNK,
            largest: LARGEST_CHUNK,
            bound: if direction == Direction::Newest { i64::MAX } else { i64::MIN },
            found: VecDeque::new(),
            is_broken: false,
        };
        Search { direction, most, lanes: ranges.into_iter().map(lane).collect(), messages: 0 }
    }

    /// Searches until the deadline of `place`; `keep` says what is kept of a record that fits, and how many
    /// bytes that takes.
    pub fn run(
        self,
        place: &Place<'_>,
        mut keep: impl FnMut(i32, &Record<'_>) -> Option<(T, usize)>,
    ) -> Searched<T> {
        let (direction, most) = (self.direction, self.most_kept());
        let mut connections = Connections::new();
        let mut read = |range| read(place, &mut connections, range, (direction, most), &mut keep);
        self.run_with(&mut read, &|| place.is_late() || place.cluster.stopping())
    }

    fn run_with(
        mut self,
        read: &mut impl FnMut(PartitionRange) -> Result<Chunk<T>>,
        is_late: &impl Fn() -> bool,
    ) -> Searched<T> {
        let (mut found, mut trouble, direction) = (Vec::new(), None, self.direction);
        let is_complete = loop {
            self.take_turns(&mut found, false);
            if found.len() >= self.most {
                break true;
            }
            let Some(lane) = self.next_to_read() else { break trouble.is_none() };
            if is_late() {
                break false;
            }
            let begun = Instant::now();
            let chunk = lane.next_chunk(direction);
            let offsets = chunk.end.saturating_sub(chunk.start);
            match read(chunk) {
                Ok(chunk) => {
                    let messages = chunk.messages;
                    lane.take(chunk, direction, begun.elapsed());
                    self.messages += messages;
                }
                Err(_) if is_late() => break false,
                // Behind what is damaged are whole messages, which are newer.
                Err(error) if direction == Direction::Newest && is_damage(&error) && offsets > 1 => {
                    lane.narrow(offsets / 4);
                }
                Err(error) => {
                    lane.is_broken = true;
                    trouble.get_or_insert(error);
                }
            }
        };
        if !is_complete {
            self.take_turns(&mut found, true);
        }
        let lanes = self.lanes.iter().map(|lane| lane.shown(direction)).collect();
        Searched { found, messages: self.messages, lanes, is_complete, trouble }
    }

    /// How many messages of a chunk are kept.
    fn most_kept(&self) -> usize {
        (MOST_KEPT / self.lanes.len().max(1)).clamp(1, self.most.max(1))
    }

    /// Whether the time `a` comes before `b`, or with it.
    fn comes_first(direction: Direction, a: i64, b: i64) -> bool {
        if direction == Direction::Newest { a >= b } else { a <= b }
    }

    /// Moves what has its turn to `out`; `is_last`: also what may have one before it that was not looked at.
    fn take_turns(&mut self, out: &mut Vec<Found<T>>, is_last: bool) {
        let direction = self.direction;
        while out.len() < self.most {
            let mut first: Option<(i64, usize)> = None;
            let mut bound: Option<i64> = None;
            for (index, lane) in self.lanes.iter().enumerate() {
                match lane.found.front() {
                    Some(head) => match first {
                        Some((time, _)) if Self::comes_first(direction, time, head.timestamp) => {}
                        _ => first = Some((head.timestamp, index)),
                    },
                    None if lane.is_open(direction) => match bound {
                        Some(time) if Self::comes_first(direction, time, lane.bound) => {}
                        _ => bound = Some(lane.bound),
                    },
                    None => {}
                }
            }
            let Some((time, index)) = first else { return };
            if !is_last && bound.is_some_and(|bound| !Self::comes_first(direction, time, bound)) {
                return;
            }
            out.extend(self.lanes.get_mut(index).and_then(|lane| lane.found.pop_front()));
        }
    }

    /// The partition without a message that was found whose next one may come first.
    fn next_to_read(&mut self) -> Option<&mut Progress<T>> {
        let direction = self.direction;
        let open = self.lanes.iter_mut().filter(|lane| lane.found.is_empty() && lane.is_open(direction));
        open.reduce(|a, b| if Self::comes_first(direction, a.bound, b.bound) { a } else { b })
    }
}

/// Whether a chunk without some of its offsets may be readable.
fn is_damage(error: &Error) -> bool {
    error.code() == Some(ErrorCode::CORRUPT_MESSAGE)
}

impl<T> Progress<T> {
    fn is_over(&self, direction: Direction) -> bool {
        match direction {
            Direction::Newest => self.edge <= self.range.start,
            Direction::Oldest => self.edge >= self.range.end,
        }
    }

    fn is_open(&self, direction: Direction) -> bool {
        !self.is_broken && !self.is_over(direction)
    }

    fn next_chunk(&self, direction: Direction) -> PartitionRange {
        let PartitionRange { partition, start, end } = self.range;
        match direction {
            Direction::Newest => {
                let start = start.max(self.edge.saturating_sub(self.chunk));
                PartitionRange { partition, start, end: self.edge }
            }
            Direction::Oldest => {
                let end = end.min(self.edge.saturating_add(self.chunk));
                PartitionRange { partition, start: self.edge, end }
            }
        }
    }

    fn take(&mut self, chunk: Chunk<T>, direction: Direction, took: Duration) {
        let Chunk { mut found, seen, times, .. } = chunk;
        match direction {
            Direction::Newest => {
                found.make_contiguous().reverse();
                self.edge = seen.start;
                self.bound = times.map_or(self.bound, |(first, _)| first);
            }
            Direction::Oldest => {
                self.edge = seen.end;
                self.bound = times.map_or(self.bound, |(_, last)| last);
            }
        }
        self.found = found;
        self.chunk = if took > SLOW { self.chunk / 4 } else { self.chunk.saturating_mul(4) };
        self.chunk = self.chunk.max(FIRST_CHUNK).min(self.largest);
    }

    /// Has no chunk with more offsets from now on.
    fn narrow(&mut self, largest: i64) {
        self.largest = largest.max(1);
        self.chunk = self.largest;
    }

    /// How far it has come; what was found without having its turn is still to be looked at.
    fn shown(&self, direction: Direction) -> Lane {
        let waiting = self.found.front().map(|found| found.offset);
        let PartitionRange { partition, start, end } = self.range;
        match direction {
            Direction::Newest => {
                let edge = waiting.map_or(self.edge, |offset| offset.saturating_add(1));
                Lane { partition, from: edge, to: end, next: (edge > start).then_some(edge) }
            }
            Direction::Oldest => {
                let edge = waiting.unwrap_or(self.edge);
                Lane { partition, from: start, to: edge, next: (edge < end).then_some(edge) }
            }
        }
    }
}

/// Reads a chunk, and keeps `most` of what fits: of more, those that come first by the direction; what is
/// beyond them counts as not looked at.
fn read<T>(
    place: &Place<'_>,
    connections: &mut Connections,
    range: PartitionRange,
    (direction, most): (Direction, usize),
    keep: &mut impl FnMut(i32, &Record<'_>) -> Option<(T, usize)>,
) -> Result<Chunk<T>> {
    let (mut messages, mut times) = (0, None);
    let mut seen = range.clone();
    let look = |partition: i32, record: &Record<'_>| {
        messages += 1;
        let first = times.map_or(record.timestamp, |(first, _)| first);
        times = Some((first, record.timestamp));
        let (item, bytes) = keep(partition, record)?;
        Some(((item, messages), bytes))
    };
    let mut reader = Reader::over(std::mem::take(connections), *place, vec![range], look);
    let mut found: VecDeque<Found<(T, u64)>> = VecDeque::new();
    let mut is_cut = false;
    let mut outcome = loop {
        match reader.next() {
            Ok(Some(next)) => found.push_back(next),
            Ok(None) => break Ok(()),
            Err(error) => break Err(error),
        }
        is_cut |= found.len() > most;
        if is_cut {
            match direction {
                Direction::Newest => drop(found.pop_front()),
                Direction::Oldest => {
                    found.pop_back();
                    break Ok(());
                }
            }
        }
    };
    let position = reader.position();
    *connections = reader.into_connections();
    match (direction, found.front(), found.back()) {
        (Direction::Newest, Some(front), _) if is_cut => {
            seen.start = front.offset;
            messages = messages.saturating_sub(front.item.1).saturating_add(1);
            times = times.map(|(_, last)| (front.timestamp, last));
        }
        (Direction::Oldest, _, Some(back)) if is_cut => {
            seen.end = back.offset.saturating_add(1);
            messages = back.item.1;
            times = times.map(|(first, _)| (first, back.timestamp));
        }
        // What was read forward until an error is not lost.
        (Direction::Oldest, ..) if outcome.is_err() => {
            if let Some(position) = position.filter(|position| *position > seen.start) {
                seen.end = position;
                outcome = Ok(());
            }
        }
        _ => {}
    }
    let found = found.into_iter().map(Found::without_count).collect();
    outcome.map(|()| Chunk { found, seen, messages, times })
}

impl<T> Found<(T, u64)> {
    fn without_count(self) -> Found<T> {
        let Found { partition, offset, timestamp, item: (item, _) } = self;
        Found { partition, offset, timestamp, item }
    }
}

#[cfg(test)]
mod tests;
