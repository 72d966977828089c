//! The writer's view of logs, topics and producers, including changes of the running transaction.
//!
//! If that transaction fails, the store has failed, and this state is not used again.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use super::producer_state::ProducerState;
use super::schema::{Meta, PartitionRow};

/// Topic number, partition, producer id.
pub(super) type ProducerKey = (u32, i32, i64);

/// A topic and its logs.
pub(super) struct TopicLogs {
    pub number: u32,
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

/// Limits of the memory of a store.
pub(super) struct Limits {
    /// Approximate bytes of offsets and groups.
    pub bytes: usize,
    /// Remembered producers, counted for each partition. Beyond the limit, the one that has been idle for the
    /// longest is removed.
    pub producers: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { bytes: 256 << 20, producers: 100_000 }
    }
}

/// Topics, logs and producers, as of the last change in the running transaction.
pub(super) struct WriteState {
    pub meta: Meta,
    pub topics: HashMap<Arc<str>, TopicLogs>,
    /// Partitions of all topics.
    pub partitions: usize,
    pub producers: ProducerStates,
    /// Numbers of deleted topics that still have rows.
    pub deleted_topics: BTreeSet<u32>,
    /// Approximate bytes of offsets and groups in memory.
    pub bytes: usize,
    pub limits: Limits,
}

impl WriteState {
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
