//! The last messages that this process has stored, by whichever route they came, and who has committed them.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Serialize, Serializer};

use super::feed::Feed;
use super::view::{EXCERPT_BYTES, Excerpt, GroupState, PartitionState};
use crate::channel::sender::{Delivery, Done, Outgoing, SubmitError};
use crate::http::{Submit, SubmitTo};

/// How many messages are remembered.
pub(super) const REMEMBERED: usize = 50;

/// A message that was stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Sent {
    #[serde(serialize_with = "as_text")]
    topic: Arc<str>,
    partition: i32,
    offset: i64,
    /// When that was known, ms since 1970.
    at: u64,
    key: Option<Beginning>,
    value: Option<Beginning>,
    /// The group has committed past it.
    committed: bool,
    /// The name of the member that owned the partition when that happened, where it is certain.
    by: Option<String>,
    /// The number of its last change.
    #[serde(skip)]
    changed: u64,
}

/// The messages, the oldest first.
#[derive(Debug, Default)]
pub(super) struct Ring {
    messages: VecDeque<Sent>,
    changes: u64,
}

impl Ring {
    /// The number of the last change.
    pub(super) fn changes(&self) -> u64 {
        self.changes
    }

    /// What has changed after the change `after`.
    pub(super) fn changed(&self, after: u64) -> Vec<Sent> {
        self.messages.iter().filter(|message| message.changed > after).cloned().collect()
    }

    fn add(&mut self, mut message: Sent) {
        self.changes += 1;
        message.changed = self.changes;
        if self.messages.len() == REMEMBERED {
            self.messages.pop_front();
        }
        self.messages.push_back(message);
    }

    /// Notes what the group has committed past. Who did it is said where one member owned the partition in
    /// both looks, `before` and `now`.
    pub(super) fn note_committed(&mut self, before: Option<&GroupState>, now: &GroupState) {
        for message in self.messages.iter_mut().filter(|message| !message.committed) {
            let Some(partition) = message.place_in(now) else { continue };
            if partition.committed.is_none_or(|committed| committed <= message.offset) {
                continue;
            }
            let owner_before = before.and_then(|before| message.place_in(before)?.owner.as_ref());
            let owner = partition.owner.as_ref().filter(|owner| owner_before == Some(owner));
            message.by = owner.and_then(|owner| name_of(now, owner));
            message.committed = true;
            self.changes += 1;
            message.changed = self.changes;
        }
    }
}

impl Sent {
    fn place_in<'a>(&self, group: &'a GroupState) -> Option<&'a PartitionState> {
        group.partitions.iter().find(|place| place.partition == self.partition && *place.topic == *self.topic)
    }
}

fn name_of(group: &GroupState, id: &str) -> Option<String> {
    group.members.iter().flatten().find(|member| member.id == id).map(|member| member.name.clone())
}

/// The channel, with a note of each message that it has stored.
pub(super) struct Noted<C> {
    /// What takes the messages.
    pub(super) channel: C,
    /// Where they are noted.
    pub(super) feed: Arc<Feed>,
}

impl Submit for Noted<Box<dyn Submit>> {
    fn submit(&self, message: Outgoing, done: Done) -> Result<(), SubmitError> {
        let done = self.noting(&message, done);
        self.channel.submit(message, done)
    }
}

impl SubmitTo for Noted<Arc<dyn SubmitTo>> {
    fn submit(&self, topic: &str, messages: Vec<(Outgoing, Done)>) -> Vec<Result<(), SubmitError>> {
        let noting = |(message, done)| {
            let done = self.noting(&message, done);
            (message, done)
        };
        self.channel.submit(topic, messages.into_iter().map(noting).collect())
    }
}

impl<C> Noted<C> {
    /// As `done`, with a note of `message` if it is stored.
    fn noting(&self, message: &Outgoing, done: Done) -> Done {
        let (key, value) = (Beginning::of(&message.key), Beginning::of(&message.value));
        let feed = Arc::clone(&self.feed);
        Box::new(move |delivery| {
            let noted = match &delivery {
                Delivery::Stored { topic, partition, offset } => Some(Sent {
                    topic: Arc::clone(topic),
                    partition: *partition,
                    offset: *offset,
                    at: now(),
                    key,
                    value,
                    committed: false,
                    by: None,
                    changed: 0,
                }),
                _ => None,
            };
            done(delivery);
            if let Some(message) = noted {
                feed.note(|ring| ring.add(message));
            }
        })
    }
}

fn as_text<S: Serializer>(topic: &Arc<str>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(topic)
}

/// The beginning of a key or value, and how long the whole is. It becomes text only when somebody is told of it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Beginning(Vec<u8>, usize);

impl Beginning {
    fn of(bytes: &Option<Vec<u8>>) -> Option<Beginning> {
        let bytes = bytes.as_deref()?;
        Some(Beginning(bytes.get(..EXCERPT_BYTES).unwrap_or(bytes).to_vec(), bytes.len()))
    }
}

impl Serialize for Beginning {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Excerpt::begun(&self.0, self.1).serialize(serializer)
    }
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::super::view::MemberState;
    use super::*;

    fn sent(partition: i32, offset: i64) -> Sent {
        Sent {
            topic: "t".into(),
            partition,
            offset,
            at: 0,
            key: None,
            value: None,
            committed: false,
            by: None,
            changed: 0,
        }
    }

    fn group(owner: Option<&str>, committed: i64) -> GroupState {
        let member =
            |id: &str| MemberState { id: id.to_owned(), name: format!("{id} name"), host: "h".into() };
        let partition = PartitionState {
            topic: "t".to_owned(),
            partition: 0,
            committed: Some(committed),
            end: Some(10),
            lag: None,
            owner: owner.map(str::to_owned),
        };
        GroupState {
            group: "g".to_owned(),
            state: "Stable".to_owned(),
            members: Some(vec![member("a"), member("b")]),
            partitions: vec![partition],
        }
    }

    #[test]
    fn who_committed_is_said_only_where_it_is_certain() {
        for (before, now, by) in [
            (Some(group(Some("a"), 3)), group(Some("a"), 4), Some("a name")),
            (Some(group(Some("b"), 3)), group(Some("a"), 4), None),
            (Some(group(None, 3)), group(Some("a"), 4), None),
            (None, group(Some("a"), 4), None),
        ] {
            let mut ring = Ring::default();
            ring.add(sent(0, 3));
            ring.note_committed(before.as_ref(), &now);
            let message = ring.changed(1).pop().unwrap();
            assert_eq!((message.committed, message.by.as_deref()), (true, by));
        }
    }

    #[test]
    fn what_is_not_committed_stays_so_and_what_changed_is_told_once() {
        let mut ring = Ring::default();
        ring.add(sent(0, 3));
        ring.add(sent(1, 0));
        let seen = ring.changes();
        ring.note_committed(None, &group(Some("a"), 3));
        assert!(ring.changed(seen).is_empty());
        ring.note_committed(None, &group(Some("a"), 9));
        assert_eq!(ring.changed(seen).len(), 1);
        assert!(ring.changed(ring.changes()).is_empty());
    }

    #[test]
    fn no_more_than_the_last_messages_are_remembered() {
        let mut ring = Ring::default();
        for offset in 0..200 {
            ring.add(sent(0, offset));
        }
        let offsets: Vec<i64> = ring.changed(0).iter().map(|message| message.offset).collect();
        assert_eq!(offsets, (150..200).collect::<Vec<i64>>());
    }
}
