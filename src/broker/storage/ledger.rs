//! What the writer knows: as of the changes of the transaction in hand. If that fails, so has the store, and nothing
//! of this is used any more.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use super::producers::Producer;
use super::rows::{Meta, PartitionRow};

/// Topic number, partition, producer id.
pub(super) type ProducerKey = (u32, i32, i64);

/// A topic and its logs.
pub(super) struct LedgerTopic {
    pub number: u32,
    pub logs: Vec<PartitionRow>,
}

/// Producers, and which of them was silent the longest.
#[derive(Default)]
pub(super) struct Producers {
    known: HashMap<ProducerKey, Producer>,
    by_age: BTreeSet<(i64, ProducerKey)>,
}

impl Producers {
    pub(super) fn get(&self, key: &ProducerKey) -> Option<&Producer> {
        self.known.get(key)
    }

    pub(super) fn len(&self) -> usize {
        self.known.len()
    }

    pub(super) fn put(&mut self, key: ProducerKey, producer: Producer) {
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

    /// The one that was silent the longest, and since when.
    pub(super) fn oldest(&self) -> Option<(i64, ProducerKey)> {
        self.by_age.first().copied()
    }

    /// At most `count` that have been silent since before `time`, the oldest first.
    pub(super) fn silent_since(&self, time: i64, count: usize) -> Vec<ProducerKey> {
        self.by_age.iter().take_while(|(used, _)| *used < time).take(count).map(|(_, key)| *key).collect()
    }

    /// Forgets those of a topic.
    pub(super) fn forget_topic(&mut self, number: u32) {
        self.known.retain(|(topic, _, _), _| *topic != number);
        self.by_age.retain(|(_, (topic, _, _))| *topic != number);
    }
}

/// How much is kept in memory.
pub(super) struct Limits {
    /// Bytes that offsets and groups may take, by and large.
    pub bytes: usize,
    /// Producers that are remembered, each once for every partition; beyond, the one that was silent the longest is
    /// forgotten.
    pub producers: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { bytes: 256 << 20, producers: 100_000 }
    }
}

/// See the module's documentation.
pub(super) struct Ledger {
    pub meta: Meta,
    pub topics: HashMap<Arc<str>, LedgerTopic>,
    /// Partitions of all topics.
    pub partitions: usize,
    pub producers: Producers,
    /// Numbers of deleted topics some of whose rows are still there.
    pub emptied: BTreeSet<u32>,
    /// What offsets and groups take of the memory, by and large.
    pub bytes: usize,
    pub limits: Limits,
}

impl Ledger {
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
