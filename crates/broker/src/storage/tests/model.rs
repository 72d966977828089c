//! A simple model of the content of a store, and seeded changes to apply to both.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::super::{Append, Pending, Store};
use super::support::{committed, sequenced_batch};
use protocol::error_code::ErrorCode;
use testing::Random;

/// Topics, groups and producers of the changes.
const TOPICS: [&str; 3] = ["red", "green", "blue"];
const GROUPS: [&str; 2] = ["readers", "writers"];
const PRODUCERS: i64 = 3;

/// A change to the store.
#[derive(Debug, Clone)]
pub enum Op {
    Create(&'static str, i32),
    /// A topic gets a configuration.
    Alter(&'static str, usize),
    /// A topic gets one partition more, so many in all.
    Grow(&'static str, i32),
    Delete(&'static str),
    Append {
        topic: &'static str,
        partition: i32,
        producer: i64,
        sequence: i32,
        batch: Bytes,
    },
    Commit {
        group: &'static str,
        topic: &'static str,
        partition: i32,
        offset: i64,
    },
    Forget {
        group: &'static str,
        topic: &'static str,
    },
    Save {
        group: &'static str,
        state: Bytes,
    },
    DeleteGroup(&'static str),
    NewProducer,
    ApplyRetention,
}

/// A change on its way.
pub enum Waiting {
    Unit(Pending<()>),
    Offset(Pending<super::super::Appended>),
    Topic(Pending<super::super::Topic>),
    Producer(Pending<i64>),
    ApplyRetention(Pending<bool>),
}

impl Waiting {
    /// Waits; an offset or a producer id, where there is one.
    pub fn wait(self) -> Result<i64, ErrorCode> {
        match self {
            Waiting::Unit(pending) => pending.wait().map(|()| 0),
            Waiting::Offset(pending) => pending.wait().map(|appended| appended.base_offset),
            Waiting::Topic(pending) => pending.wait().map(|_| 0),
            Waiting::Producer(pending) => pending.wait(),
            Waiting::ApplyRetention(pending) => pending.wait().map(|_| 0),
        }
    }
}

impl Op {
    pub fn submit(&self, store: &Store) -> Waiting {
        match self.clone() {
            Op::Create(topic, partitions) => {
                Waiting::Topic(store.create_topic(topic, partitions, Default::default()))
            }
            Op::Alter(topic, value) => {
                let configs = vec![("retention.ms".to_owned(), Some(value.to_string()))];
                Waiting::Topic(store.alter_topic(topic, configs, true))
            }
            Op::Grow(topic, count) => Waiting::Topic(store.create_partitions(topic, count)),
            Op::Delete(topic) => Waiting::Unit(store.delete_topic(topic)),
            Op::Append { topic, partition, batch, .. } => {
                let append = Append { topic: topic.into(), partition, batch };
                Waiting::Offset(store.append(vec![append]).remove(0))
            }
            Op::Commit { group, topic, partition, offset } => {
                let offsets = vec![(topic.into(), partition, committed(offset))];
                Waiting::Unit(store.commit_offsets(group, offsets))
            }
            Op::Forget { group, topic } => {
                Waiting::Unit(store.delete_offsets(group, vec![(topic.into(), 0)]))
            }
            Op::Save { group, state } => Waiting::Unit(store.save_group(group, state)),
            Op::DeleteGroup(group) => Waiting::Unit(store.delete_group(group)),
            Op::NewProducer => Waiting::Producer(store.new_producer_id()),
            Op::ApplyRetention => Waiting::ApplyRetention(store.apply_retention_now()),
        }
    }
}

/// A batch as it is to be stored.
#[derive(Debug, Clone, PartialEq)]
pub struct Stored {
    pub base: i64,
    pub bytes: Vec<u8>,
    producer: i64,
    sequence: i32,
}

/// The expected content of a store. Logs start at offset 0: retention is not modelled.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Model {
    pub topics: BTreeMap<&'static str, Vec<Vec<Stored>>>,
    pub offsets: BTreeMap<(&'static str, &'static str, i32), i64>,
    pub groups: BTreeMap<&'static str, Bytes>,
    /// The configuration of a topic that has one.
    pub configs: BTreeMap<&'static str, usize>,
}

fn records(batch: &Stored) -> i32 {
    i32::from_be_bytes(*batch.bytes[57..].first_chunk().unwrap())
}

/// The offset after a log's last.
fn end(log: &[Stored]) -> i64 {
    log.last().map_or(0, |last| last.base + i64::from(records(last)))
}

impl Model {
    /// The model after one more change.
    pub fn apply(&mut self, op: &Op) {
        match op.clone() {
            Op::Create(topic, partitions) => {
                let logs = vec![Vec::new(); usize::try_from(partitions).unwrap()];
                self.topics.entry(topic).or_insert(logs);
            }
            Op::Alter(topic, value) => {
                if self.topics.contains_key(topic) {
                    self.configs.insert(topic, value);
                }
            }
            Op::Grow(topic, count) => {
                if let Some(logs) = self.topics.get_mut(topic) {
                    logs.resize(logs.len().max(usize::try_from(count).unwrap()), Vec::new());
                }
            }
            Op::Delete(topic) => {
                self.topics.remove(topic);
                self.configs.remove(topic);
                self.offsets.retain(|(_, of, _), _| *of != topic);
            }
            Op::Append { topic, partition, producer, sequence, batch } => {
                let Some(log) = self.log_mut(topic, partition) else { return };
                let is_known = |stored: &Stored| (stored.producer, stored.sequence) == (producer, sequence);
                if log.iter().any(is_known) {
                    return;
                }
                let base = end(log);
                let mut bytes = batch.to_vec();
                bytes[..8].copy_from_slice(&base.to_be_bytes());
                bytes[12..16].fill(0);
                log.push(Stored { base, bytes, producer, sequence });
            }
            Op::Commit { group, topic, partition, offset } => {
                if self.log_mut(topic, partition).is_some() {
                    self.offsets.insert((group, topic, partition), offset);
                }
            }
            Op::Forget { group, topic } => {
                self.offsets.remove(&(group, topic, 0));
            }
            Op::Save { group, state } => {
                self.groups.insert(group, state);
            }
            Op::DeleteGroup(group) => {
                self.groups.remove(group);
                self.offsets.retain(|(of, _, _), _| *of != group);
            }
            Op::NewProducer | Op::ApplyRetention => {}
        }
    }

    fn log_mut(&mut self, topic: &str, partition: i32) -> Option<&mut Vec<Stored>> {
        self.topics.get_mut(topic)?.get_mut(usize::try_from(partition).ok()?)
    }

    /// How often a batch of a producer is in a log.
    pub fn count(&self, topic: &str, partition: i32, producer: i64, sequence: i32) -> usize {
        let log = self.topics.get(topic).and_then(|logs| logs.get(usize::try_from(partition).ok()?));
        let is_it = |stored: &&Stored| (stored.producer, stored.sequence) == (producer, sequence);
        log.map_or(0, |log| log.iter().filter(is_it).count())
    }

    /// Compares the store with the model: the difference, in words. Logs may have lost batches at their
    /// start.
    pub fn difference(&self, store: &Store) -> Option<String> {
        let topics: Vec<_> = store.topics().into_iter().map(|t| (t.name.to_string(), t.partitions)).collect();
        let expected: Vec<_> =
            self.topics.iter().map(|(name, logs)| ((*name).to_owned(), logs.len() as i32)).collect();
        if topics != expected {
            return Some(format!("topics {topics:?}, not {expected:?}"));
        }
        for (name, logs) in &self.topics {
            let configs = store.topic(name).map(|topic| topic.configs.get("retention.ms").cloned());
            if configs != Some(self.configs.get(name).map(usize::to_string)) {
                return Some(format!("{name} has the configuration {configs:?}"));
            }
            for (partition, log) in (0..).zip(logs) {
                if let Some(difference) = log_difference(store, name, partition, log) {
                    return Some(format!("{name}-{partition}: {difference}"));
                }
            }
        }
        for group in GROUPS {
            let expected = self.groups.get(group).cloned();
            if store.group(group) != expected {
                return Some(format!("group {group} is {:?}, not {expected:?}", store.group(group)));
            }
            let offsets = store.all_committed(group).into_iter();
            let mut offsets: Vec<_> =
                offsets.map(|(topic, partition, c)| (topic.to_string(), partition, c.offset)).collect();
            offsets.sort();
            let of_group = self.offsets.iter().filter(|((of, _, _), _)| *of == group);
            let expected: Vec<_> =
                of_group.map(|((_, topic, p), offset)| ((*topic).to_owned(), *p, *offset)).collect();
            if offsets != expected {
                return Some(format!("offsets of {group} are {offsets:?}, not {expected:?}"));
            }
        }
        None
    }
}

fn log_difference(store: &Store, topic: &str, partition: i32, log: &[Stored]) -> Option<String> {
    let bounds = store.bounds(topic, partition).unwrap();
    if bounds.log_end_offset != end(log) {
        return Some(format!("ends at {}, not {}", bounds.log_end_offset, end(log)));
    }
    let kept: Vec<&Stored> = log.iter().filter(|stored| stored.base >= bounds.log_start_offset).collect();
    if kept.first().map_or(bounds.log_end_offset, |first| first.base) != bounds.log_start_offset {
        return Some(format!("begins at {}, inside of a batch", bounds.log_start_offset));
    }
    let (mut offset, mut read) = (bounds.log_start_offset, 0);
    while offset < bounds.log_end_offset {
        let (bytes, _) = match store.read(topic, partition, offset, 50_000, true) {
            Ok(read) => read,
            Err(code) => return Some(format!("{code} at {offset}")),
        };
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let Some(expected) = kept.get(read) else { return Some("too much".to_owned()) };
            let Some((batch, left)) = rest.split_at_checked(expected.bytes.len()) else {
                return Some(format!("half a batch at {}", expected.base));
            };
            if batch != expected.bytes {
                return Some(format!("other bytes at {}", expected.base));
            }
            rest = left;
            read += 1;
        }
        offset = kept.get(read).map_or(bounds.log_end_offset, |next| next.base);
    }
    (read != kept.len()).then(|| "too little".to_owned())
}

/// Makes changes by chance, as clients would: sequences follow each other, and now and then a batch is sent
/// again.
pub struct Changes {
    pub random: Random,
    /// The content of the store after all changes so far.
    pub ahead: Model,
    sequences: BTreeMap<(&'static str, i32, i64), i32>,
    number: usize,
}

impl Changes {
    pub fn new(seed: u64) -> Changes {
        Changes { random: Random::new(seed), ahead: Model::default(), sequences: BTreeMap::new(), number: 0 }
    }

    pub fn next(&mut self) -> Op {
        let op = self.choose();
        self.ahead.apply(&op);
        if let Op::Delete(topic) = op {
            self.sequences.retain(|(of, _, _), _| *of != topic);
        }
        op
    }

    fn choose(&mut self) -> Op {
        let topic = TOPICS[self.random.below(TOPICS.len())];
        let group = GROUPS[self.random.below(GROUPS.len())];
        let Some(partitions) = self.ahead.topics.get(topic).map(Vec::len) else {
            return Op::Create(topic, 1 + self.random.below(3) as i32);
        };
        let partition = self.random.below(partitions) as i32;
        self.number += 1;
        match self.random.below(26) {
            0 => Op::Delete(topic),
            24 => Op::Alter(topic, self.number + 1_000_000_000),
            25 if partitions < 5 => Op::Grow(topic, partitions as i32 + 1),
            1 | 2 => Op::Save { group, state: vec![self.number as u8; self.random.below(9000)].into() },
            3 => Op::ApplyRetention,
            4 => Op::NewProducer,
            5 => Op::Forget { group, topic },
            6 if self.random.below(3) == 0 => Op::DeleteGroup(group),
            6..=9 => Op::Commit { group, topic, partition, offset: self.number as i64 },
            _ => self.append(topic, partition),
        }
    }

    fn append(&mut self, topic: &'static str, partition: i32) -> Op {
        let producer = self.random.below(PRODUCERS as usize) as i64;
        let log = &self.ahead.topics[topic][partition as usize];
        let sent: Vec<&Stored> = log.iter().filter(|stored| stored.producer == producer).collect();
        if !sent.is_empty() && self.random.below(5) == 0 {
            let again = sent[sent.len() - 1 - self.random.below(sent.len().min(5))];
            let batch = Bytes::from(again.bytes.clone());
            return Op::Append { topic, partition, producer, sequence: again.sequence, batch };
        }
        let sequence = *self.sequences.entry((topic, partition, producer)).or_insert(0);
        let count = 1 + self.random.below(3);
        let size = match self.random.below(40) {
            0 => 50_000 + self.random.below(400_000),
            1..6 => 1000 + self.random.below(6000),
            _ => self.random.below(100),
        };
        let value = format!("{}:{}", self.number, "v".repeat(size));
        let values = vec![value.as_str(); count];
        self.sequences.insert((topic, partition, producer), sequence + count as i32);
        let batch = sequenced_batch(&values, self.number as i64, producer, 0, sequence);
        Op::Append { topic, partition, producer, sequence, batch }
    }

    /// Goes on from what a store holds after a crash: what was not stored is sent anew, under the same
    /// numbers.
    pub fn resume_from(&mut self, held: Model) {
        self.sequences.clear();
        for (topic, logs) in &held.topics {
            for (partition, log) in (0..).zip(logs) {
                for batch in log {
                    let next = batch.sequence + records(batch);
                    self.sequences.insert((*topic, partition, batch.producer), next);
                }
            }
        }
        self.ahead = held;
    }
}
