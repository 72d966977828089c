//! What comes after the ends that a look has seen, as it comes.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::{Duration, Instant};

use super::CLIENT_ID;
use crate::error;
use crate::topic_reader::{PartitionRange, Place, damaged, is_final};
use client::connection::Connection;
use client::fetch::{self, Fetched, Position};
use client::offsets::{self, EARLIEST, LATEST};
use client::{Error, RequestContext, Result};
use net::backoff::Backoff;
use protocol::TopicPartition;
use protocol::error_code::ErrorCode;
use protocol::records::{Batches, MAX_UNPACKED_BYTES, Record, RecordsError};

/// The bytes fetched of one partition; a batch comes whole, also when it is larger.
const FETCHED_BYTES: i32 = 1024 * 1024;
/// The longest wait of a broker in a fetch.
const WAIT: Duration = Duration::from_millis(500);
/// The longest wait for answers beside that.
const ANSWERS: Duration = Duration::from_secs(10);

/// Reads on from the ends of the partitions.
pub struct Follower<'a> {
    place: Place<'a>,
    /// The next offset of each partition. Who is first in one round is last in the next.
    next: Vec<(i32, i64)>,
    /// Whether partitions that are added are followed, too.
    grows: bool,
    connections: HashMap<i32, Connection>,
    backoff: Backoff,
    /// Whether it was said that no answer comes.
    is_silent: bool,
    /// The partitions of which it was said that they have no leader.
    leaderless: BTreeSet<i32>,
}

impl<'a> Follower<'a> {
    /// Goes on where `ranges` end; `grows`: also in partitions that are added to the topic.
    pub fn new(place: Place<'a>, ranges: &[PartitionRange], grows: bool) -> Follower<'a> {
        let next = ranges.iter().map(|range| (range.partition, range.end)).collect();
        let (connections, backoff) = (HashMap::new(), client::backoff());
        Follower { place, next, grows, connections, backoff, is_silent: false, leaderless: BTreeSet::new() }
    }

    /// Gives the records that come within half a second to `take`, which says whether it wants more. An
    /// outage is told once and waited out.
    ///
    /// # Errors
    /// The topic is gone, a broker refuses for good, or what it sends is damaged.
    pub fn round(&mut self, take: &mut dyn FnMut(i32, &Record<'_>) -> bool) -> error::Result<()> {
        let Place { cluster, topic, .. } = self.place;
        match self.try_round(take) {
            Ok(false) => Err(error::Error::new(format!("the topic {topic} is no longer there"))),
            Ok(true) => {
                self.backoff = client::backoff();
                self.tell_of_leaders();
                Ok(())
            }
            Err(error) if is_final(&error) || cluster.stopping() => {
                Err(self.place.unreadable().caused_by(error))
            }
            Err(error) => {
                if !std::mem::replace(&mut self.is_silent, true) {
                    log::error!("the topic {topic} cannot be read at present: {error}; still trying");
                }
                self.connections.clear();
                cluster.pause(self.backoff.next_wait());
                let deadline = cluster.deadline(Instant::now() + ANSWERS);
                if let Err(error) = cluster.refresh(&[topic], deadline) {
                    log::debug!("reading {topic}: {error}");
                }
                Ok(())
            }
        }
    }

    /// Tells, once each, that partitions have no leader, and that all are read again.
    fn tell_of_leaders(&mut self) {
        let Place { cluster, topic, .. } = self.place;
        let numbers = self.next.iter().map(|(partition, _)| *partition);
        let leaderless: BTreeSet<i32> =
            numbers.filter(|partition| cluster.leader(topic, *partition).is_none()).collect();
        let is_news = std::mem::take(&mut self.is_silent) || leaderless != self.leaderless;
        if is_news && leaderless.is_empty() {
            log::error!("the topic {topic} is read on");
        } else if is_news {
            let numbers = leaderless.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            log::error!("without a leader, and not read at present: {topic} {numbers}; still trying");
        }
        self.leaderless = leaderless;
    }

    /// False where there is no topic any more.
    fn try_round(&mut self, take: &mut dyn FnMut(i32, &Record<'_>) -> bool) -> Result<bool> {
        let cluster = self.place.cluster;
        let deadline = Instant::now() + ANSWERS;
        if !self.look_at_topic(deadline)? {
            return Ok(false);
        }
        let mut asked = Vec::new();
        for (leader, positions) in self.by_leader()? {
            let mut connection = match self.connections.remove(&leader) {
                Some(connection) => connection,
                None => cluster.connect(leader, CLIENT_ID, cluster.deadline(deadline))?,
            };
            fetch::ask(&mut connection, &positions, WAIT)?;
            asked.push((leader, positions, connection));
        }
        for (leader, positions, mut connection) in asked {
            let limit = cluster.deadline(deadline);
            let answer = fetch::answer(&mut connection, &positions, limit, &mut || !cluster.stopping())?;
            self.connections.insert(leader, connection);
            for fetched in answer {
                if !self.take(&fetched, deadline, take)? {
                    return Ok(true);
                }
            }
        }
        if !self.next.is_empty() {
            self.next.rotate_left(1);
        }
        Ok(true)
    }

    /// Looks whether the topic is still there, and has further partitions.
    fn look_at_topic(&mut self, deadline: Instant) -> Result<bool> {
        let Place { cluster, topic, .. } = self.place;
        let Some(found) = cluster.topic(topic, cluster.deadline(deadline))? else { return Ok(false) };
        if self.grows {
            let known = i32::try_from(self.next.len()).unwrap_or(i32::MAX);
            let count = i32::try_from(found.leaders.len()).unwrap_or(i32::MAX);
            self.next.extend((known..count).map(|partition| (partition, 0)));
            // A topic that was made anew may have fewer.
            self.next.retain(|(partition, _)| *partition < count);
        }
        Ok(true)
    }

    fn by_leader(&self) -> Result<BTreeMap<i32, Vec<Position>>> {
        let Place { cluster, topic, .. } = self.place;
        let mut by_leader: BTreeMap<i32, Vec<Position>> = BTreeMap::new();
        let mut without_leader = None;
        for &(partition, offset) in &self.next {
            let Some(leader) = cluster.leader(topic, partition) else {
                without_leader = Some(partition);
                continue;
            };
            let place = TopicPartition::new(topic, partition);
            by_leader.entry(leader).or_default().push(Position::new(&place, offset, FETCHED_BYTES));
        }
        match without_leader {
            // The others can be read.
            Some(partition) if by_leader.is_empty() => {
                Err(Error::refused(self.request(partition), ErrorCode::LEADER_NOT_AVAILABLE))
            }
            _ => Ok(by_leader),
        }
    }

    /// Whether more is wanted.
    fn take(
        &mut self,
        fetched: &Fetched,
        deadline: Instant,
        take: &mut dyn FnMut(i32, &Record<'_>) -> bool,
    ) -> Result<bool> {
        let (place, partition) = (self.place, fetched.partition);
        let request = self.request(partition);
        let Some((_, next)) = self.next.iter_mut().find(|(number, _)| *number == partition) else {
            return Ok(true);
        };
        match fetched.error {
            ErrorCode::NONE => {
                let taken = take_records(fetched, next, &mut |record| take(partition, record));
                taken.map_err(|error| damaged(&place, partition, &error))
            }
            ErrorCode::OFFSET_OUT_OF_RANGE => {
                *next = inside(&place, partition, *next, deadline).unwrap_or(*next);
                Ok(true)
            }
            code => Err(Error::refused(request, code)),
        }
    }

    fn request(&self, partition: i32) -> RequestContext {
        RequestContext::fetch(&TopicPartition::new(self.place.topic, partition))
    }
}

/// Where to go on whose offset is outside of the log: at its beginning, as what was there is removed or the
/// topic was made anew.
fn inside(place: &Place<'_>, partition: i32, next: i64, deadline: Instant) -> Option<i64> {
    let wanted = TopicPartition::new(place.topic, partition);
    let at = |time| {
        let found = offsets::find(place.cluster, CLIENT_ID, &[(wanted.clone(), time)], deadline);
        found.get(&wanted).copied()
    };
    let (start, end) = (at(EARLIEST)?, at(LATEST)?);
    Some(if (start..=end).contains(&next) { next } else { start })
}

/// Gives the records from `next` on to `take` until it wants no more, and returns whether it does.
fn take_records(
    fetched: &Fetched,
    next: &mut i64,
    take: &mut dyn FnMut(&Record<'_>) -> bool,
) -> std::result::Result<bool, RecordsError> {
    for batch in Batches::new(&fetched.records) {
        let batch = batch?;
        if batch.header.last_offset() < *next {
            continue;
        }
        if !batch.header.is_control() {
            for record in &batch.unpack(MAX_UNPACKED_BYTES)? {
                let record = record?;
                if record.offset >= *next {
                    *next = record.offset.saturating_add(1);
                    if !take(&record) {
                        return Ok(false);
                    }
                }
            }
        }
        *next = batch.header.last_offset().saturating_add(1);
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::compression::Compression;
    use protocol::records::encode_batch;

    /// What is taken of two batches of two messages each, at 4 and at 8, by who wants so many.
    fn taken(next: i64, most: usize) -> (Vec<i64>, i64, bool) {
        let batch = |base: i64| {
            let values = [(None, Some(&b"a"[..])), (None, None)];
            let mut bytes = encode_batch(values, 0, -1, -1, -1, Compression::None).unwrap();
            // The checksum does not cover the base offset, which brokers set.
            bytes[..8].copy_from_slice(&base.to_be_bytes());
            bytes
        };
        let fetched = Fetched {
            by_id: false,
            topic: "pedidos".to_owned(),
            partition: 0,
            error: ErrorCode::NONE,
            high_watermark: 10,
            log_start: 0,
            records: [batch(4), batch(8)].concat().into(),
        };
        let (mut next, mut offsets) = (next, Vec::new());
        let wants_more = take_records(&fetched, &mut next, &mut |record| {
            offsets.push(record.offset);
            offsets.len() < most
        });
        (offsets, next, wants_more.unwrap())
    }

    #[test]
    fn it_goes_on_after_the_last_that_was_taken() {
        assert_eq!(taken(0, 9), (vec![4, 5, 8, 9], 10, true));
        assert_eq!(taken(5, 9), (vec![5, 8, 9], 10, true));
        assert_eq!(taken(6, 9), (vec![8, 9], 10, true));
        assert_eq!(taken(4, 3), (vec![4, 5, 8], 9, false));
    }
}
