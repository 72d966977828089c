//! What of the database is held in memory, for everyone to read: as of the last durable transaction.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use bytes::Bytes;

use super::{Bounds, Committed, Topic};

/// A topic and the ends of its logs.
#[derive(Debug, Clone)]
pub(super) struct TopicState {
    pub topic: Topic,
    pub number: u32,
    /// One for each partition.
    pub bounds: Vec<Bounds>,
}

/// A group's state and offsets.
#[derive(Debug, Clone, Default)]
pub(super) struct GroupState {
    pub state: Option<Bytes>,
    /// By topic number and partition.
    pub offsets: BTreeMap<(u32, i32), Committed>,
}

/// See the module's documentation.
#[derive(Debug, Default)]
pub(super) struct State {
    pub topics: BTreeMap<Arc<str>, TopicState>,
    /// The names of the topics.
    pub names: HashMap<u32, Arc<str>>,
    pub groups: BTreeMap<Arc<str>, GroupState>,
}

/// A change to the state by a transaction that is durable.
#[derive(Debug)]
pub(super) enum Effect {
    TopicCreated(TopicState),
    TopicDeleted(Arc<str>),
    Bounds(Arc<str>, i32, Bounds),
    Committed(Arc<str>, u32, i32, Committed),
    OffsetDeleted(Arc<str>, u32, i32),
    Group(Arc<str>, Bytes),
    GroupDeleted(Arc<str>),
}

impl Effect {
    /// The logs that it changes: that of a partition, or with `None` all those of a topic.
    pub(super) fn changed_logs(&self) -> Option<(Arc<str>, Option<i32>)> {
        match self {
            Effect::Bounds(topic, partition, _) => Some((topic.clone(), Some(*partition))),
            Effect::TopicDeleted(topic) => Some((topic.clone(), None)),
            _ => None,
        }
    }
}

impl State {
    /// The topic's number and the ends of a partition's log.
    pub(super) fn partition(&self, topic: &str, partition: i32) -> Option<(u32, Bounds)> {
        let topic = self.topics.get(topic)?;
        let bounds = topic.bounds.get(usize::try_from(partition).ok()?)?;
        Some((topic.number, *bounds))
    }

    /// Changes a group, which is made if it is not there.
    pub(super) fn change_group(&mut self, name: &str, change: impl FnOnce(&mut GroupState)) {
        match self.groups.get_mut(name) {
            Some(group) => change(group),
            None => change(self.groups.entry(name.into()).or_default()),
        }
    }

    /// Makes a change visible.
    pub(super) fn apply(&mut self, effect: Effect) {
        match effect {
            Effect::TopicCreated(topic) => {
                self.names.insert(topic.number, topic.topic.name.clone());
                self.topics.insert(topic.topic.name.clone(), topic);
            }
            Effect::TopicDeleted(name) => {
                if let Some(topic) = self.topics.remove(&name) {
                    self.forget_topic(topic.number);
                }
            }
            Effect::Bounds(name, partition, bounds) => {
                let topic = self.topics.get_mut(&name);
                let partition = usize::try_from(partition).unwrap_or(usize::MAX);
                if let Some(known) = topic.and_then(|topic| topic.bounds.get_mut(partition)) {
                    *known = bounds;
                }
            }
            Effect::Committed(group, number, partition, committed) => {
                let group = self.groups.entry(group).or_default();
                group.offsets.insert((number, partition), committed);
            }
            Effect::OffsetDeleted(name, number, partition) => {
                if let Some(group) = self.groups.get_mut(&name) {
                    group.offsets.remove(&(number, partition));
                }
                self.forget_if_empty(&name);
            }
            Effect::Group(name, state) => self.groups.entry(name).or_default().state = Some(state),
            Effect::GroupDeleted(name) => {
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
