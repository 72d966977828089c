//! Which offsets of which partitions are looked at.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use super::place::{CLIENT_ID, PartitionRange, Place};
use super::reader::Reader;
use crate::error::{Error, Result};
use client::in_time;
use client::offsets::{self, EARLIEST, LATEST, Offsets};
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

impl Place<'_> {
    /// The offsets from `beginning` up to the ends that the partitions have now, of all partitions or of
    /// `only` one.
    ///
    /// # Errors
    /// No broker answers in time, or there is no such topic, partition or offset.
    pub fn ranges(&self, only: Option<i32>, beginning: Beginning) -> Result<Vec<PartitionRange>> {
        let partitions = self.partitions(only)?;
        let deadline = Instant::now() + ALL_ANSWERS;
        let starts = self.offsets(&partitions, EARLIEST, deadline)?;
        let since = match beginning {
            Beginning::Since(time) => Some(self.offsets(&partitions, time, deadline)?),
            _ => None,
        };
        // Last, so that no end is before its start.
        let ends = self.offsets(&partitions, LATEST, deadline)?;
        let range = |partition: i32| {
            let place = TopicPartition::new(self.topic, partition);
            let [first, end] = [&starts, &ends].map(|found| found.get(&place).copied().unwrap_or(0));
            let start = match (beginning, &since) {
                (Beginning::Offset { offset, may_wait }, _) => {
                    self.check(partition, offset, (first, end), may_wait)?;
                    offset
                }
                (_, Some(since)) => since.get(&place).copied().filter(|offset| *offset >= 0).unwrap_or(end),
                _ => first,
            };
            Ok(PartitionRange { partition, start: start.min(end), end })
        };
        let ranges = partitions.into_iter().map(range).collect::<Result<Vec<PartitionRange>>>()?;
        match beginning {
            Beginning::Last(count) => self.last(ranges, count),
            _ => Ok(ranges),
        }
    }

    /// The numbers of the topic's partitions, or `only` that one.
    fn partitions(&self, only: Option<i32>) -> Result<Vec<i32>> {
        let Place { cluster, topic } = self;
        let deadline = Instant::now() + FIRST_ANSWER;
        let found = in_time(cluster, deadline, || cluster.topic(topic, cluster.deadline(deadline)));
        let found = found.map_err(|error| self.unreadable().caused_by(error))?;
        let brokers = cluster.settings().bootstrap_servers.join(", ");
        let Some(found) = found else {
            let what = format!(
                "there is no topic {topic} at {brokers}: `point-to-point status` lists those that are there"
            );
            return Err(Error::new(what));
        };
        let numbers: Vec<i32> = (0..).take(found.leaders.len()).collect();
        match only {
            None => Ok(numbers),
            Some(only) if numbers.contains(&only) => Ok(vec![only]),
            Some(only) => {
                let last = numbers.last().copied().unwrap_or_default();
                let has = if last == 0 { "only 0".to_owned() } else { format!("0 to {last}") };
                Err(Error::new(format!("there is no partition {only}: the topic {topic} has {has}")))
            }
        }
    }

    fn offsets(&self, partitions: &[i32], time: i64, deadline: Instant) -> Result<Offsets> {
        let wanted: Vec<_> =
            partitions.iter().map(|&number| (TopicPartition::new(self.topic, number), time)).collect();
        match offsets::list(self.cluster, CLIENT_ID, &wanted, deadline) {
            (found, None) => Ok(found),
            (_, Some(error)) => Err(self.unreadable().caused_by(error)),
        }
    }

    /// Whether there is a message at an offset, or one may come there.
    fn check(&self, partition: i32, offset: i64, (first, end): (i64, i64), may_wait: bool) -> Result<()> {
        if (first..end).contains(&offset) || (may_wait && offset == end) {
            return Ok(());
        }
        let has = match end.checked_sub(1) {
            Some(last) if last >= first => format!("it has the offsets {first} to {last}"),
            _ => "it has no messages now".to_owned(),
        };
        let hint = if offset == end { ", and --follow waits for the next one" } else { "" };
        let what = format!("there is nothing at offset {offset}: {has}{hint}");
        Err(Error::new(what).at(self.topic, Some(partition), None))
    }

    /// Narrows ranges to the last `count` messages of all of them together, in the order of time. Offsets
    /// without a message, as compaction and transactions leave them, do not count.
    fn last(&self, ranges: Vec<PartitionRange>, count: usize) -> Result<Vec<PartitionRange>> {
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

    fn newest(&self, ranges: Vec<PartitionRange>, count: usize) -> Result<Newest> {
        let mut newest = Newest::default();
        // The place of each is in what is found.
        let mut reader = Reader::new(*self, ranges, |_, _| Some(((), size_of::<(i64, i64)>())));
        while let Some(found) = reader.next().map_err(|error| self.unreadable().caused_by(error))? {
            *newest.seen.entry(found.partition).or_default() += 1;
            newest.places.push_back((found.partition, found.offset));
            if newest.places.len() > count {
                newest.places.pop_front();
            }
        }
        Ok(newest)
    }
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
    use std::sync::Arc;

    use super::*;
    use client::{Cluster, ClusterSettings};
    use protocol::compression::Compression;

    fn check(offset: i64, log: (i64, i64), may_wait: bool) -> Result<(), String> {
        let cluster = Cluster::new(ClusterSettings {
            bootstrap_servers: vec!["localhost:1".to_owned()],
            security: Arc::default(),
            request_timeout: Duration::from_secs(1),
            delivery_timeout: Duration::from_secs(1),
            follows_advertised: true,
            compression: Compression::None,
            create: Vec::new(),
        });
        let place = Place { cluster: &cluster, topic: "pedidos" };
        place.check(2, offset, log, may_wait).map_err(|error| error.to_string())
    }

    #[test]
    fn an_offset_has_to_be_in_the_log_whose_range_is_named_otherwise() {
        assert_eq!(check(5, (5, 42), false), Ok(()));
        assert_eq!(check(41, (5, 42), false), Ok(()));
        let outside = |offset| {
            format!(
                "there is nothing at offset {offset}: it has the offsets 5 to 41 (topic pedidos, partition 2)"
            )
        };
        for offset in [0, 4, 43, i64::MAX] {
            assert_eq!(check(offset, (5, 42), true), Err(outside(offset)));
        }
    }

    #[test]
    fn the_next_offset_can_be_waited_for() {
        assert_eq!(check(42, (5, 42), true), Ok(()));
        assert!(check(42, (5, 42), false).unwrap_err().contains("--follow"));
        let empty = "there is nothing at offset 7: it has no messages now (topic pedidos, partition 2)";
        assert_eq!(check(7, (9, 9), false), Err(empty.to_owned()));
        assert_eq!(check(9, (9, 9), true), Ok(()));
    }

    #[test]
    fn of_the_newest_each_partition_begins_with_its_first() {
        let places = VecDeque::from([(1, 5), (0, 3), (1, 9), (0, 4)]);
        let newest = Newest { places, seen: BTreeMap::new() };
        assert_eq!(newest.first(), BTreeMap::from([(0, 3), (1, 5)]));
    }
}
