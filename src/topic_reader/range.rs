//! Which offsets of which partitions are looked at.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::time::{Duration, Instant};

use super::place::{PartitionRange, Place};
use super::reader::Reader;
use client::offsets::{self, EARLIEST, LATEST, Offsets};
use client::{Error, in_time};
use protocol::TopicPartition;

/// The longest wait for a broker to be found.
const FIRST_ANSWER: Duration = Duration::from_secs(5);
/// The longest wait for the answers about offsets.
const ALL_ANSWERS: Duration = Duration::from_secs(20);

/// Where a look begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Beginning {
    /// With the oldest message that is there.
    Oldest,
    /// So many messages before the end.
    Last(usize),
    /// With the first message of each partition since this time, in ms since 1970.
    Since(i64),
    /// At this offset; where nothing is there yet, `may_wait` says whether that is no error.
    Offset {
        /// The offset.
        offset: i64,
        /// Whether what comes is awaited.
        may_wait: bool,
    },
}

/// What can be read, and why not all can.
pub type Ranges = (Vec<PartitionRange>, Option<Error>);

/// Why there is nothing to be read.
#[derive(Debug)]
pub enum NoRange {
    /// There is no such topic.
    Topic,
    /// The topic does not have the partition, but so many.
    Partition {
        /// The partition.
        asked: i32,
        /// How many the topic has, from 0 on.
        count: usize,
    },
    /// The partition does not have the offset.
    Offset {
        /// The partition.
        partition: i32,
        /// The offset.
        asked: i64,
        /// The first offset that is there.
        first: i64,
        /// The one after the last.
        end: i64,
    },
    /// No broker answers, or one refuses.
    Unanswered(Error),
}

impl From<Error> for NoRange {
    fn from(error: Error) -> NoRange {
        NoRange::Unanswered(error)
    }
}

/// A part of a sentence.
impl fmt::Display for NoRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NoRange::Topic => f.write_str("there is no such topic"),
            NoRange::Partition { asked, count: 1 } => {
                write!(f, "there is no partition {asked}: the topic has only 0")
            }
            NoRange::Partition { asked, count } => {
                write!(f, "there is no partition {asked}: the topic has 0 to {}", count.saturating_sub(1))
            }
            NoRange::Offset { asked, first, end, .. } if first >= end => {
                write!(f, "there is nothing at offset {asked}: it has no messages now")
            }
            NoRange::Offset { asked, first, end, .. } => {
                write!(f, "there is nothing at offset {asked}: it has the offsets {first} to {}", end - 1)
            }
            NoRange::Unanswered(error) => error.fmt(f),
        }
    }
}

impl Place<'_> {
    /// The offsets from `beginning` up to the ends that the partitions have now, of all partitions or of
    /// `only` one, whose leaders answer, and why others are left out.
    ///
    /// # Errors
    /// No broker answers in time, or there is no such topic, partition or offset.
    pub fn ranges(&self, only: Option<i32>, beginning: Beginning) -> Result<Ranges, NoRange> {
        let (logs, trouble) = self.logs_led(only)?;
        let ranges = match beginning {
            Beginning::Oldest | Beginning::Last(_) => logs,
            Beginning::Since(time) => self.since(logs, time)?,
            Beginning::Offset { offset, may_wait } => {
                let at = |log: PartitionRange| {
                    check(&log, offset, may_wait)?;
                    Ok(PartitionRange { start: offset.min(log.end), ..log })
                };
                logs.into_iter().map(at).collect::<Result<Vec<_>, NoRange>>()?
            }
        };
        match beginning {
            Beginning::Last(count) => Ok((self.last(ranges, count)?, trouble)),
            _ => Ok((ranges, trouble)),
        }
    }

    /// Where the logs of the partitions begin and end, of all or of `only` one.
    ///
    /// # Errors
    /// The errors of [`Place::ranges`].
    pub fn logs(&self, only: Option<i32>) -> Result<Vec<PartitionRange>, NoRange> {
        let partitions = self.partitions(only)?;
        let starts = self.offsets(&partitions, EARLIEST)?;
        // Last, so that no end is before its start.
        let ends = self.offsets(&partitions, LATEST)?;
        Ok(self.logs_of(&partitions, &starts, &ends))
    }

    /// As [`Place::logs`], of the partitions whose leaders answer in half of the time that is left, and why
    /// others are left out.
    ///
    /// # Errors
    /// The errors of [`Place::ranges`], where none answers.
    pub fn logs_led(&self, only: Option<i32>) -> Result<Ranges, NoRange> {
        let partitions = self.partitions(only)?;
        let left = self.deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        let deadline = self.within(left.map_or(ALL_ANSWERS, |left| left / 2));
        let [(starts, first), (ends, second)] = [EARLIEST, LATEST].map(|time| {
            offsets::find_led(self.cluster, self.client_id, &self.wanted(&partitions, time), deadline)
        });
        let (logs, trouble) = (self.logs_of(&partitions, &starts, &ends), first.or(second));
        match trouble {
            Some(error) if logs.is_empty() => Err(error.into()),
            trouble => Ok((logs, trouble)),
        }
    }

    fn logs_of(&self, partitions: &[i32], starts: &Offsets, ends: &Offsets) -> Vec<PartitionRange> {
        let log = |&partition: &i32| {
            let place = TopicPartition::new(self.topic, partition);
            let (start, end) = (*starts.get(&place)?, *ends.get(&place)?);
            Some(PartitionRange { partition, start: start.min(end), end })
        };
        partitions.iter().filter_map(log).collect()
    }

    /// The part of each log since a time, in ms since 1970.
    ///
    /// # Errors
    /// No broker answers in time, or one refuses.
    pub fn since(&self, logs: Vec<PartitionRange>, time: i64) -> Result<Vec<PartitionRange>, Error> {
        let partitions: Vec<i32> = logs.iter().map(|log| log.partition).collect();
        let found = self.offsets(&partitions, time)?;
        let since = |log: PartitionRange| {
            let first = found.get(&TopicPartition::new(self.topic, log.partition)).copied();
            let first = first.filter(|offset| *offset >= 0).unwrap_or(log.end);
            PartitionRange { start: first.clamp(log.start, log.end), ..log }
        };
        Ok(logs.into_iter().map(since).collect())
    }

    /// The numbers of the topic's partitions, or `only` that one.
    fn partitions(&self, only: Option<i32>) -> Result<Vec<i32>, NoRange> {
        let Place { cluster, topic, .. } = self;
        let deadline = self.within(FIRST_ANSWER);
        let found = in_time(cluster, deadline, || cluster.topic(topic, cluster.deadline(deadline)))?;
        let count = found.ok_or(NoRange::Topic)?.leaders.len();
        let numbers: Vec<i32> = (0..).take(count).collect();
        match only {
            None => Ok(numbers),
            Some(only) if numbers.contains(&only) => Ok(vec![only]),
            Some(asked) => Err(NoRange::Partition { asked, count }),
        }
    }

    fn offsets(&self, partitions: &[i32], time: i64) -> Result<Offsets, Error> {
        let wanted = self.wanted(partitions, time);
        match offsets::list(self.cluster, self.client_id, &wanted, self.within(ALL_ANSWERS)) {
            (found, None) => Ok(found),
            (_, Some(error)) => Err(error),
        }
    }

    fn wanted(&self, partitions: &[i32], time: i64) -> Vec<(TopicPartition, i64)> {
        partitions.iter().map(|&number| (TopicPartition::new(self.topic, number), time)).collect()
    }

    /// Narrows ranges to the last `count` messages of all of them together, in the order of time. Offsets
    /// without a message, as compaction and transactions leave them, do not count.
    fn last(&self, ranges: Vec<PartitionRange>, count: usize) -> Result<Vec<PartitionRange>, Error> {
        let mut windows = vec![i64::try_from(count).unwrap_or(i64::MAX); ranges.len()];
        loop {
            let late: Vec<PartitionRange> = ranges
                .iter()
                .zip(&windows)
                .map(|(range, window)| PartitionRange {
                    start: range.start.max(range.end.saturating_sub(*window)),
                    ..range.clone()
                })
                .collect();
            let newest = self.newest(late.clone(), count)?;
            let mut is_enough = true;
            for ((range, late), window) in ranges.iter().zip(&late).zip(&mut windows) {
                let seen = newest.seen.get(&range.partition).copied().unwrap_or(0);
                if late.start > range.start && seen < count {
                    *window = window.saturating_mul(4);
                    is_enough = false;
                }
            }
            if is_enough {
                let first = newest.first();
                let narrow = |range: PartitionRange| PartitionRange {
                    start: first.get(&range.partition).copied().unwrap_or(range.end),
                    ..range
                };
                return Ok(ranges.into_iter().map(narrow).collect());
            }
        }
    }

    fn newest(&self, ranges: Vec<PartitionRange>, count: usize) -> Result<Newest, Error> {
        let mut newest = Newest::default();
        // The place of each is in what is found.
        let mut reader = Reader::new(*self, ranges, |_, _| Some(((), size_of::<(i64, i64)>())));
        while let Some(found) = reader.next()? {
            *newest.seen.entry(found.partition).or_default() += 1;
            newest.places.push_back((found.partition, found.offset));
            if newest.places.len() > count {
                newest.places.pop_front();
            }
        }
        Ok(newest)
    }
}

/// Whether there is a message at an offset of a log, or one may come there.
fn check(log: &PartitionRange, asked: i64, may_wait: bool) -> Result<(), NoRange> {
    let PartitionRange { partition, start: first, end } = *log;
    if (first..end).contains(&asked) || (may_wait && asked == end) {
        return Ok(());
    }
    Err(NoRange::Offset { partition, asked, first, end })
}

/// The newest messages of some ranges: their places alone, so that a million of them take 16 MB.
#[derive(Default)]
struct Newest {
    /// Partition and offset, in the order of time.
    places: VecDeque<(i32, i64)>,
    /// How many messages each partition has.
    seen: BTreeMap<i32, usize>,
}

impl Newest {
    /// The first offset of each partition that has any.
    fn first(&self) -> BTreeMap<i32, i64> {
        let mut first = BTreeMap::new();
        for (partition, offset) in &self.places {
            first.entry(*partition).or_insert(*offset);
        }
        first
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(offset: i64, (start, end): (i64, i64), may_wait: bool) -> Result<(), String> {
        let log = PartitionRange { partition: 2, start, end };
        check(&log, offset, may_wait).map_err(|error| error.to_string())
    }

    #[test]
    fn an_offset_has_to_be_in_the_log_whose_range_is_named_otherwise() {
        assert_eq!(checked(5, (5, 42), false), Ok(()));
        assert_eq!(checked(41, (5, 42), false), Ok(()));
        let outside = |offset| format!("there is nothing at offset {offset}: it has the offsets 5 to 41");
        for offset in [0, 4, 43, i64::MAX] {
            assert_eq!(checked(offset, (5, 42), true), Err(outside(offset)));
        }
        assert_eq!(checked(42, (5, 42), false), Err(outside(42)));
    }

    #[test]
    fn the_next_offset_can_be_waited_for() {
        assert_eq!(checked(42, (5, 42), true), Ok(()));
        let empty = "there is nothing at offset 7: it has no messages now";
        assert_eq!(checked(7, (9, 9), false), Err(empty.to_owned()));
        assert_eq!(checked(9, (9, 9), true), Ok(()));
    }

    #[test]
    fn a_partition_that_is_not_there_is_told_with_those_that_are() {
        let told = |asked, count| NoRange::Partition { asked, count }.to_string();
        assert_eq!(told(1, 1), "there is no partition 1: the topic has only 0");
        assert_eq!(told(7, 3), "there is no partition 7: the topic has 0 to 2");
    }

    #[test]
    fn of_the_newest_each_partition_begins_with_its_first() {
        let places = VecDeque::from([(1, 5), (0, 3), (1, 9), (0, 4)]);
        let newest = Newest { places, seen: BTreeMap::new() };
        assert_eq!(newest.first(), BTreeMap::from([(0, 3), (1, 5)]));
    }
}
