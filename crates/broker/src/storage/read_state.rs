//! What readers see: topics, logs and groups, as of the last durable transaction.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use bytes::Bytes;

use super::partition_log::{Entries, Extent, PartitionLog};
use super::segment::Segment;
use super::segment_index::{BatchEntry, LogPart};
use super::{CommittedOffset, LogBounds, Topic};

/// Memory of a row beside its own bytes.
const ROW_BYTES: usize = 128;

/// A topic and its logs.
#[derive(Debug, Clone)]
pub(super) struct TopicState {
    pub topic: Topic,
    pub number: u32,
    /// In the order of the partitions.
    pub logs: Vec<PartitionLog>,
}

/// A group's state and offsets.
#[derive(Debug, Clone, Default)]
pub(super) struct GroupState {
    pub state: Option<Bytes>,
    /// By topic number and partition.
    pub offsets: BTreeMap<(u32, i32), CommittedOffset>,
}

/// Topics, logs, committed offsets and group snapshots, for readers.
#[derive(Debug, Default)]
pub(super) struct State {
    pub topics: BTreeMap<Arc<str>, TopicState>,
    /// The names of the topics.
    pub names: HashMap<u32, Arc<str>>,
    /// The names of the topics by their ids.
    pub ids: HashMap<u128, Arc<str>>,
    pub groups: BTreeMap<Arc<str>, GroupState>,
    /// Approximate memory of offsets and groups.
    pub bytes: usize,
    /// The segments, by number.
    pub segments: BTreeMap<u64, Arc<Segment>>,
}

/// A change to the state by a transaction that is durable.
#[derive(Debug)]
pub(super) enum StateUpdate {
    /// A topic that is new, or has other configurations, or more partitions.
    Topic(u32, Topic),
    TopicDeleted(u32),
    /// Batches at the end of a log, in the last segment.
    Appended(Arc<str>, i32, Vec<BatchEntry>),
    /// The log has lost batches at its start; with the bytes that it has left, if they are known.
    LogBounds(Arc<str>, i32, LogBounds, Option<u64>),
    OffsetCommitted(Arc<str>, u32, i32, CommittedOffset),
    OffsetDeleted(Arc<str>, u32, i32),
    Group(Arc<str>, Bytes),
    GroupDeleted(Arc<str>),
}

impl State {
    /// The topic's number and a partition's log.
    pub(super) fn partition(&self, topic: &str, partition: i32) -> Option<(u32, &PartitionLog)> {
        let topic = self.topics.get(topic)?;
        Some((topic.number, topic.logs.get(usize::try_from(partition).ok()?)?))
    }

    /// The log of a partition, by the number of its topic.
    pub(super) fn log_mut(&mut self, number: u32, partition: i32) -> Option<&mut PartitionLog> {
        let topic = self.topics.get_mut(self.names.get(&number)?)?;
        topic.logs.get_mut(usize::try_from(partition).ok()?)
    }

    /// As [`State::log_mut`], to look at it.
    pub(super) fn log(&self, number: u32, partition: i32) -> Option<&PartitionLog> {
        let topic = self.topics.get(self.names.get(&number)?)?;
        topic.logs.get(usize::try_from(partition).ok()?)
    }

    /// All logs, with the numbers of their topics and their partitions.
    pub(super) fn logs(&self) -> impl Iterator<Item = (u32, i32, &PartitionLog)> {
        self.topics
            .values()
            .flat_map(|topic| (0..).zip(&topic.logs).map(|(partition, log)| (topic.number, partition, log)))
    }

    /// What each log has in a segment.
    pub(super) fn parts_of(&self, segment: &Arc<Segment>) -> Vec<(LogPart, Extent)> {
        let logs = self.logs();
        let parts = logs.filter_map(|(number, partition, log)| {
            log.extent_in(segment).map(|extent| (extent.part(number, partition), extent.clone()))
        });
        parts.collect()
    }

    /// The segments before this number whose index has no file.
    pub(super) fn unindexed(&self, number: u64) -> Vec<Arc<Segment>> {
        let mut unindexed: BTreeMap<u64, Arc<Segment>> = BTreeMap::new();
        for extent in self.logs().flat_map(|(_, _, log)| &log.extents) {
            if matches!(extent.entries, Entries::Memory(_)) && extent.segment.id.number < number {
                unindexed.insert(extent.segment.id.number, extent.segment.clone());
            }
        }
        unindexed.into_values().collect()
    }

    /// The segments that stand for an offset that is kept, by number, and the bytes of their kept batches.
    pub(super) fn kept_segments(&self) -> HashMap<u64, u64> {
        let mut kept = HashMap::new();
        for (_, _, log) in self.logs() {
            for extent in &log.extents {
                *kept.entry(extent.segment.id.number).or_default() +=
                    extent.bytes_from(log.bounds.log_start_offset);
            }
        }
        kept
    }

    /// Bytes of the batches of a segment that are kept: an estimate, unless it is all or nothing.
    pub(super) fn kept_bytes(&self, segment: &Arc<Segment>) -> u64 {
        let parts = self.logs().filter_map(|(_, _, log)| {
            log.extent_in(segment).map(|extent| extent.bytes_from(log.bounds.log_start_offset))
        });
        parts.sum()
    }

    /// Makes a change visible; what was appended is in `segment`. Returns the logs that waiters may wait for.
    pub(super) fn apply(
        &mut self,
        update: StateUpdate,
        segment: &Arc<Segment>,
    ) -> Option<(Arc<str>, Option<i32>)> {
        match update {
            StateUpdate::Topic(number, topic) => self.put_topic(number, topic),
            StateUpdate::TopicDeleted(number) => {
                let name = self.names.remove(&number)?;
                let topic = self.topics.remove(&name)?;
                self.ids.remove(&topic.topic.id);
                self.forget_offsets(number);
                return Some((name, None));
            }
            StateUpdate::Appended(name, partition, entries) => {
                let topic = self.topics.get_mut(&name)?;
                topic.logs.get_mut(usize::try_from(partition).ok()?)?.append(segment, &entries);
                return Some((name, Some(partition)));
            }
            StateUpdate::LogBounds(name, partition, bounds, bytes) => {
                let topic = self.topics.get_mut(&name)?;
                topic.logs.get_mut(usize::try_from(partition).ok()?)?.set_bounds(bounds, bytes);
                return Some((name, Some(partition)));
            }
            StateUpdate::OffsetCommitted(name, number, partition, committed) => {
                self.bytes += offset_bytes(&name, &committed);
                let group = self.groups.entry(name.clone()).or_default();
                if let Some(before) = group.offsets.insert((number, partition), committed) {
                    self.bytes = self.bytes.saturating_sub(offset_bytes(&name, &before));
                }
            }
            StateUpdate::OffsetDeleted(name, number, partition) => {
                let group = self.groups.get_mut(&name)?;
                let before = group.offsets.remove(&(number, partition))?;
                self.bytes = self.bytes.saturating_sub(offset_bytes(&name, &before));
                if group.state.is_none() && group.offsets.is_empty() {
                    self.groups.remove(&name);
                }
            }
            StateUpdate::Group(name, state) => {
                self.bytes += group_bytes(&name, &state);
                let group = self.groups.entry(name.clone()).or_default();
                if let Some(before) = group.state.replace(state) {
                    self.bytes = self.bytes.saturating_sub(group_bytes(&name, &before));
                }
            }
            StateUpdate::GroupDeleted(name) => {
                let group = self.groups.remove(&name)?;
                self.bytes = self.bytes.saturating_sub(bytes_of(&name, &group));
            }
        }
        None
    }

    fn put_topic(&mut self, number: u32, topic: Topic) {
        self.names.insert(number, topic.name.clone());
        self.ids.insert(topic.id, topic.name.clone());
        let count = usize::try_from(topic.partitions).unwrap_or_default();
        match self.topics.get_mut(&topic.name) {
            Some(known) => {
                known.logs.resize(count, PartitionLog::EMPTY);
                known.topic = topic;
            }
            None => {
                let logs = vec![PartitionLog::EMPTY; count];
                self.topics.insert(topic.name.clone(), TopicState { topic, number, logs });
            }
        }
    }

    fn forget_offsets(&mut self, number: u32) {
        let mut freed = 0;
        self.groups.retain(|name, group| {
            group.offsets.retain(|(topic, _), committed| {
                let stays = *topic != number;
                freed += if stays { 0 } else { offset_bytes(name, committed) };
                stays
            });
            group.state.is_some() || !group.offsets.is_empty()
        });
        self.bytes = self.bytes.saturating_sub(freed);
    }
}

/// Approximate memory of a committed offset.
pub(super) fn offset_bytes(group: &str, committed: &CommittedOffset) -> usize {
    ROW_BYTES + 25 + group.len() + committed.metadata.len()
}

/// Approximate memory of a group's state.
pub(super) fn group_bytes(group: &str, state: &Bytes) -> usize {
    ROW_BYTES + 1 + group.len() + state.len()
}

fn bytes_of(name: &str, group: &GroupState) -> usize {
    let state = group.state.as_ref().map_or(0, |state| group_bytes(name, state));
    state + group.offsets.values().map(|committed| offset_bytes(name, committed)).sum::<usize>()
}
