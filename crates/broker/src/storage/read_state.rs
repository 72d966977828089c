//! The part of the database that is held in memory for readers, as of the last durable transaction.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use bytes::Bytes;

use super::{CommittedOffset, LogBounds, Topic};

/// A topic and the ends of its logs.
#[derive(Debug, Clone)]
pub(super) struct TopicState {
    pub topic: Topic,
    pub number: u32,
    /// The bounds of each partition, in order.
    pub bounds: Vec<LogBounds>,
}

/// A group's state and offsets.
#[derive(Debug, Clone, Default)]
pub(super) struct GroupState {
    pub state: Option<Bytes>,
    /// By topic number and partition.
    pub offsets: BTreeMap<(u32, i32), CommittedOffset>,
}

/// Topics, log ends, committed offsets and group snapshots, for readers.
#[derive(Debug, Default)]
pub(super) struct State {
    pub topics: BTreeMap<Arc<str>, TopicState>,
    /// The names of the topics.
    pub names: HashMap<u32, Arc<str>>,
    pub groups: BTreeMap<Arc<str>, GroupState>,
}

/// A change to the state by a transaction that is durable.
#[derive(Debug)]
pub(super) enum StateUpdate {
    TopicCreated(TopicState),
    TopicDeleted(Arc<str>),
    LogBounds(Arc<str>, i32, LogBounds),
    OffsetCommitted(Arc<str>, u32, i32, CommittedOffset),
    OffsetDeleted(Arc<str>, u32, i32),
    Group(Arc<str>, Bytes),
    GroupDeleted(Arc<str>),
}

impl StateUpdate {
    /// The logs that it changes: that of a partition, or with `None` all those of a topic.
    pub(super) fn changed_logs(&self) -> Option<(Arc<str>, Option<i32>)> {
        match self {
            StateUpdate::LogBounds(topic, partition, _) => Some((topic.clone(), Some(*partition))),
            StateUpdate::TopicDeleted(topic) => Some((topic.clone(), None)),
            _ => None,
        }
    }
}

impl State {
    /// The topic's number and the ends of a partition's log.
    pub(super) fn partition(&self, topic: &str, partition: i32) -> Option<(u32, LogBounds)> {
        let topic = self.topics.get(topic)?;
        let bounds = topic.bounds.get(usize::try_from(partition).ok()?)?;
        Some((topic.number, *bounds))
    }

    /// Changes a group, which is created if it does not exist.
    pub(super) fn change_group(&mut self, name: &str, change: impl FnOnce(&mut GroupState)) {
        match self.groups.get_mut(name) {
            Some(group) => change(group),
            None => change(self.groups.entry(name.into()).or_default()),
        }
    }

    /// Makes a change visible.
    pub(super) fn apply(&mut self, update: StateUpdate) {
        match update {
            StateUpdate::TopicCreated(topic) => {
                self.names.insert(topic.number, topic.topic.name.clone());
                self.topics.insert(topic.topic.name.clone(), topic);
            }
            StateUpdate::TopicDeleted(name) => {
                if let Some(topic) = self.topics.remove(&name) {
                    self.forget_topic(topic.number);
                }
            }
            StateUpdate::LogBounds(name, partition, bounds) => {
                let topic = self.topics.get_mut(&name);
                let partition = usize::try_from(partition).unwrap_or(usize::MAX);
                if let Some(known) = topic.and_then(|topic| topic.bounds.get_mut(partition)) {
                    *known = bounds;
                }
            }
            StateUpdate::OffsetCommitted(group, number, partition, committed) => {
                let group = self.groups.entry(group).or_default();
                group.offsets.insert((number, partition), committed);
            }
            StateUpdate::OffsetDeleted(name, number, partition) => {
                if let Some(group) = self.groups.get_mut(&name) {
                    group.offsets.remove(&(number, partition));
                }
                self.forget_if_empty(&name);
            }
            StateUpdate::Group(name, state) => self.groups.entry(name).or_default().state = Some(state),
            StateUpdate::GroupDeleted(name) => {
                self.groups.remove(&name);
            }
        }
    }

    fn forget_topic(&mut self, number: u32) {
        self.names.remove(&number);
        for group in self.groups.values_mut() {
            group.offsets.retain(|(topic, _), _| *topic != number);
        }
        self.groups.retain(|_, group| group.state.is_some() || !group.offsets.is_empty());
    }

    fn forget_if_empty(&mut self, name: &str) {
        if self.groups.get(name).is_some_and(|group| group.state.is_none() && group.offsets.is_empty()) {
            self.groups.remove(name);
        }
    }
}
