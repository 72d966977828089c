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
            match read(lane.next_chunk(direction)) {
                Ok(chunk) => {
                    let messages = chunk.messages;
                    lane.take(chunk, direction, begun.elapsed());
                    self.messages += messages;
                }
                Err(_) if is_late() => break false,
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
        self.chunk = self.chunk.clamp(FIRST_CHUNK, LARGEST_CHUNK);
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
mod tests {
    use super::*;
    use client::RequestContext;
    use protocol::TopicPartition;
    use protocol::error_code::ErrorCode;

    /// The times of the messages of each partition, and which fit.
    struct Logs(Vec<Vec<(i64, bool)>>);

    impl Logs {
        fn ranges(&self) -> Vec<PartitionRange> {
            let range = |(partition, log): (i32, &Vec<_>)| PartitionRange {
                partition,
                start: 0,
                end: i64::try_from(log.len()).unwrap(),
            };
            (0..).zip(&self.0).map(range).collect()
        }

        /// As [`read`] does, of which `most` are kept.
        fn read(&self, mut seen: PartitionRange, direction: Direction, most: usize) -> Result<Chunk<()>> {
            let partition = seen.partition;
            let log = &self.0[usize::try_from(partition).unwrap()];
            let all = (seen.start..seen.end).map(|offset| (offset, log[usize::try_from(offset).unwrap()]));
            let all: Vec<_> = all.collect();
            let fits = all.iter().filter(|(_, (_, fits))| *fits);
            let mut found: VecDeque<_> = fits
                .map(|&(offset, (timestamp, _))| Found { partition, offset, timestamp, item: () })
                .collect();
            if found.len() > most {
                match direction {
                    Direction::Newest => {
                        found.drain(..found.len() - most);
                        seen.start = found[0].offset;
                    }
                    Direction::Oldest => {
                        found.truncate(most);
                        seen.end = found[most - 1].offset + 1;
                    }
                }
            }
            let inside = all.iter().filter(|(offset, _)| (seen.start..seen.end).contains(offset));
            let times: Vec<i64> = inside.map(|(_, (time, _))| *time).collect();
            let messages = u64::try_from(times.len()).unwrap();
            Ok(Chunk { found, seen, messages, times: times.first().copied().zip(times.last().copied()) })
        }

        fn search(&self, direction: Direction, ranges: Vec<PartitionRange>, most: usize) -> Searched<()> {
            let search = Search::new(direction, ranges, most);
            let kept = search.most_kept();
            search.run_with(&mut |range| self.read(range, direction, kept), &|| false)
        }

        /// Page after page, each where the one before has ended.
        fn pages(&self, direction: Direction, most: usize) -> Vec<Vec<(i32, i64)>> {
            let (mut ranges, mut pages) = (self.ranges(), Vec::new());
            loop {
                let searched = self.search(direction, ranges.clone(), most);
                assert!(searched.is_complete && searched.trouble.is_none());
                pages.push(searched.found.iter().map(|found| (found.partition, found.offset)).collect());
                let next = searched.lanes.iter().zip(&ranges).filter_map(|(lane, range)| {
                    let next = lane.next?;
                    Some(match direction {
                        Direction::Newest => PartitionRange { end: next, ..range.clone() },
                        Direction::Oldest => PartitionRange { start: next, ..range.clone() },
                    })
                });
                ranges = next.collect();
                if ranges.is_empty() {
                    return pages;
                }
            }
        }
    }

    /// Two partitions with a message each second in turn, every one of them in the first for a while.
    fn logs(fits: impl Fn(i64) -> bool) -> Logs {
        let mut logs = vec![Vec::new(), Vec::new(), Vec::new()];
        for time in 0..3_000 {
            let partition = if time < 1_000 { 0 } else { usize::try_from(time % 2).unwrap() };
            logs[partition].push((time, fits(time)));
        }
        Logs(logs)
    }

    fn times(logs: &Logs, places: &[(i32, i64)]) -> Vec<i64> {
        let time = |(partition, offset): &(i32, i64)| {
            logs.0[usize::try_from(*partition).unwrap()][usize::try_from(*offset).unwrap()].0
        };
        places.iter().map(time).collect()
    }

    #[test]
    fn pages_hold_everything_once_in_the_order_of_time() {
        for (direction, most, every) in [
            (Direction::Newest, 7, 1),
            (Direction::Newest, 200, 1),
            (Direction::Newest, 7, 97),
            (Direction::Oldest, 7, 1),
            (Direction::Oldest, 200, 1),
            (Direction::Oldest, 7, 97),
        ] {
            let logs = logs(|time| time % every == 0);
            let pages = logs.pages(direction, most);
            let found: Vec<i64> = pages.iter().flat_map(|page| times(&logs, page)).collect();
            let mut expected: Vec<i64> = (0..3_000).filter(|time| time % every == 0).collect();
            if direction == Direction::Newest {
                expected.reverse();
            }
            assert_eq!(found, expected, "{direction:?} {most} {every}");
            let full = pages.iter().rev().skip(2).all(|page| page.len() == most);
            assert!(full, "{direction:?} {most} {every}");
        }
    }

    #[test]
    fn what_does_not_fit_is_looked_at_to_the_end_and_no_further() {
        let logs = logs(|_| false);
        for direction in [Direction::Newest, Direction::Oldest] {
            let searched = logs.search(direction, logs.ranges(), 10);
            assert!(searched.found.is_empty() && searched.is_complete);
            assert_eq!(searched.messages, 3_000);
            assert!(searched.lanes.iter().all(|lane| lane.next.is_none()));
        }
        let none = Logs(Vec::new());
        assert!(none.search(Direction::Newest, Vec::new(), 10).is_complete);
    }

    #[test]
    fn a_search_that_is_late_gives_what_it_has_and_where_it_goes_on() {
        let logs = logs(|time| time % 10 == 0);
        for direction in [Direction::Newest, Direction::Oldest] {
            let search = Search::new(direction, logs.ranges(), 1_000);
            let left = std::cell::Cell::new(4);
            let searched = search.run_with(
                &mut |range| {
                    left.set(left.get() - 1);
                    logs.read(range, direction, 1_000)
                },
                &|| left.get() == 0,
            );
            assert!(!searched.is_complete && searched.trouble.is_none());
            assert!(!searched.found.is_empty() && searched.messages > 0);
            let looked_at: i64 = searched.lanes.iter().map(|lane| lane.to - lane.from).sum();
            assert_eq!(u64::try_from(looked_at).unwrap(), searched.messages);
            let left_over = searched.lanes.iter().filter(|lane| lane.next.is_some()).count();
            assert!(left_over > 0, "{:?}", searched.lanes);
        }
    }

    #[test]
    fn a_partition_that_cannot_be_read_keeps_no_other_from_being_searched() {
        let logs = logs(|time| time % 100 == 0);
        let damaged = || {
            let place = TopicPartition::new("pedidos", 1);
            Error::refused(RequestContext::fetch(&place), ErrorCode::CORRUPT_MESSAGE)
        };
        let search = Search::new(Direction::Newest, logs.ranges(), 100);
        let searched = search.run_with(
            &mut |range| match range.partition {
                1 if range.start < 500 => Err(damaged()),
                _ => logs.read(range, Direction::Newest, 100),
            },
            &|| false,
        );
        assert!(searched.trouble.is_some() && !searched.is_complete);
        assert_eq!(searched.found.iter().filter(|found| found.partition == 0).count(), 30);
        assert!(searched.lanes[1].next.is_some() && searched.lanes[0].next.is_none());
    }
}
