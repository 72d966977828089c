//! The writer's view of logs, topics and producers, including changes of the running transaction.
//!
//! If that transaction fails, the store has failed, and this state is not used again.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use super::Topic;
use super::producer_state::{self, BatchSequence, ProducerState};
use super::rows::{Meta, PartitionRow};

/// Topic number, partition, producer id.
pub(super) type ProducerKey = (u32, i32, i64);

/// A topic and its logs.
pub(super) struct TopicLogs {
    pub number: u32,
    pub topic: Topic,
    pub logs: Vec<PartitionRow>,
}

/// Producers, ordered by the time of their last batch.
#[derive(Default)]
pub(super) struct ProducerStates {
    known: HashMap<ProducerKey, ProducerState>,
    by_age: BTreeSet<(i64, ProducerKey)>,
}

impl ProducerStates {
    pub(super) fn get(&self, key: &ProducerKey) -> Option<&ProducerState> {
        self.known.get(key)
    }

    pub(super) fn len(&self) -> usize {
        self.known.len()
    }

    pub(super) fn put(&mut self, key: ProducerKey, producer: ProducerState) {
        self.by_age.insert((producer.used, key));
        let used = producer.used;
        if let Some(before) = self.known.insert(key, producer)
            && before.used != used
        {
            self.by_age.remove(&(before.used, key));
        }
    }

    pub(super) fn remove(&mut self, key: &ProducerKey) {
        if let Some(producer) = self.known.remove(key) {
            self.by_age.remove(&(producer.used, *key));
        }
    }

    /// All of them.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&ProducerKey, &ProducerState)> {
        self.known.iter()
    }

    /// The producer that has been idle for the longest, and the time of its last batch.
    pub(super) fn oldest(&self) -> Option<(i64, ProducerKey)> {
        self.by_age.first().copied()
    }

    /// At most `count` producers whose last batch is older than `time`, the oldest first.
    pub(super) fn expired_before(&self, time: i64, count: usize) -> Vec<ProducerKey> {
        self.by_age.iter().take_while(|(used, _)| *used < time).take(count).map(|(_, key)| *key).collect()
    }

    /// Removes the producers of a topic.
    pub(super) fn forget_topic(&mut self, number: u32) {
        self.known.retain(|(topic, _, _), _| *topic != number);
        self.by_age.retain(|(_, (topic, _, _))| *topic != number);
    }
}

/// Limits of the memory and of the files of a store.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Approximate bytes of offsets and groups.
    pub bytes: usize,
    /// Remembered producers, counted for each partition. Beyond the limit, the one that has been idle for the
    /// longest is removed.
    pub producers: usize,
    /// Bytes of a segment, beyond which the next one begins.
    pub segment_bytes: u64,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { bytes: 256 << 20, producers: 100_000, segment_bytes: 64 << 20 }
    }
}

/// Topics, logs and producers, as of the last change in the running transaction.
pub(super) struct WriteState {
    pub meta: Meta,
    pub topics: HashMap<Arc<str>, TopicLogs>,
    /// Partitions of all topics.
    pub partitions: usize,
    pub producers: ProducerStates,
    pub limits: Limits,
}

impl WriteState {
    pub(super) fn new(meta: Meta, limits: Limits) -> WriteState {
        let (topics, producers) = Default::default();
        WriteState { meta, topics, partitions: 0, producers, limits }
    }

    /// Adds a topic, or changes its configurations, or gives it more partitions.
    pub(super) fn put_topic(&mut self, number: u32, topic: Topic) {
        let count = usize::try_from(topic.partitions).unwrap_or_default();
        let known = self.topics.entry(topic.name.clone());
        let logs = known.or_insert_with(|| TopicLogs { number, topic: topic.clone(), logs: Vec::new() });
        self.partitions += count.saturating_sub(logs.logs.len());
        logs.logs.resize(count, PartitionRow::EMPTY);
        logs.topic = topic;
    }

    /// Removes a topic with its producers; its number.
    pub(super) fn remove_topic(&mut self, name: &str) -> Option<u32> {
        let topic = self.topics.remove(name)?;
        self.partitions -= topic.logs.len();
        self.producers.forget_topic(topic.number);
        Some(topic.number)
    }

    /// Takes note of a batch of a producer; beyond the limit the one that has been idle for the longest is
    /// forgotten.
    pub(super) fn record_producer(
        &mut self,
        log: (u32, i32),
        sequence: &BatchSequence,
        base_offset: i64,
        now: i64,
    ) {
        let key = (log.0, log.1, sequence.producer);
        let after = producer_state::record(self.producers.get(&key), sequence, base_offset, now);
        self.producers.put(key, after);
        while self.producers.len() > self.limits.producers {
            let Some((_, key)) = self.producers.oldest() else { return };
            self.producers.remove(&key);
        }
    }

    pub(super) fn log_mut(&mut self, topic: &str, partition: i32) -> Option<(u32, &mut PartitionRow)> {
        let topic = self.topics.get_mut(topic)?;
        let log = topic.logs.get_mut(usize::try_from(partition).ok()?)?;
        Some((topic.number, log))
    }

    pub(super) fn log(&self, topic: &str, partition: i32) -> Option<(u32, &PartitionRow)> {
        let topic = self.topics.get(topic)?;
        Some((topic.number, topic.logs.get(usize::try_from(partition).ok()?)?))
    }
}
