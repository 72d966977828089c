//! The last messages that this process has stored, by any route, the members that have committed them, and
//! the dead letters that they became.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Serialize, Serializer};

use super::source::{EXCERPT_BYTES, Excerpt, GroupState, MessagePlace, PartitionState};
use crate::dead_letters::DeadLetterId;
use crate::producer::{DeliveryReport, ProducerRecord};

/// The number of messages that are kept.
const KEPT: usize = 50;

/// A message that was stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct SentMessage {
    #[serde(serialize_with = "as_text")]
    topic: Arc<str>,
    partition: i32,
    offset: i64,
    /// When that was reported, ms since 1970.
    at: u64,
    key: Option<Prefix>,
    value: Option<Prefix>,
    /// The group has committed an offset after it, and it is no dead letter.
    committed: bool,
    /// The client id of the member that committed it, if that is certain.
    by: Option<String>,
    /// The name of the dead letter that it became.
    #[serde(serialize_with = "name_as_text")]
    letter: Option<DeadLetterId>,
    /// The group has committed an offset after it, by that member. Whether it is a dead letter is not known
    /// yet.
    #[serde(skip)]
    passed: Option<Option<String>>,
    /// The number of its last change.
    #[serde(skip)]
    changed: u64,
}

/// The last stored messages, the oldest first.
#[derive(Debug, Default)]
pub(super) struct RecentMessages {
    messages: VecDeque<SentMessage>,
    changes: u64,
    added: u64,
}

impl RecentMessages {
    /// The number of the last change.
    pub(super) fn changes(&self) -> u64 {
        self.changes
    }

    /// The number of messages that were ever added.
    pub(super) fn added(&self) -> u64 {
        self.added
    }

    /// The messages that have changed after the change `after`.
    pub(super) fn changed(&self, after: u64) -> Vec<SentMessage> {
        self.messages.iter().filter(|message| message.changed > after).cloned().collect()
    }

    /// Adds a message; the oldest one makes room for it.
    pub(super) fn add(&mut self, mut message: SentMessage) {
        self.changes += 1;
        self.added += 1;
        message.changed = self.changes;
        if self.messages.len() == KEPT {
            self.messages.pop_front();
        }
        self.messages.push_back(message);
    }

    /// Takes note of the messages that the group is done with. The member is named where the partition was
    /// assigned to it both `before` and `now`.
    pub(super) fn note_passed(&mut self, before: Option<&GroupState>, now: &GroupState) {
        for message in self.messages.iter_mut().filter(|message| message.is_open()) {
            let Some(partition) = message.partition_in(now) else { continue };
            if partition.committed.is_none_or(|committed| committed <= message.offset) {
                continue;
            }
            let owner_before = before.and_then(|before| message.partition_in(before)?.owner.as_ref());
            let owner = partition.owner.as_ref().filter(|owner| owner_before == Some(owner));
            message.passed = Some(owner.and_then(|owner| name_of(now, owner)));
        }
    }

    /// The messages that the group is done with, where it is not known how, and when the oldest of those was
    /// stored of which that will be asked, now or later.
    pub(super) fn undecided(&self) -> (BTreeSet<MessagePlace>, u64) {
        let undecided = self.messages.iter().filter(|message| message.passed.is_some());
        let to_be_asked =
            self.messages.iter().filter(|message| message.passed.is_some() || message.is_open());
        let since = to_be_asked.map(|message| message.at).min();
        (undecided.map(SentMessage::place).collect(), since.unwrap_or_default())
    }

    /// Marks messages that the group is done with: as dead letters those that have a letter, and the others
    /// as committed. Of messages that `letters` leaves out it is still not known.
    pub(super) fn decide(&mut self, letters: &BTreeMap<MessagePlace, Option<DeadLetterId>>) {
        for message in &mut self.messages {
            let Some(letter) = letters.get(&message.place()) else { continue };
            let Some(by) = message.passed.take() else { continue };
            message.letter = *letter;
            message.committed = message.letter.is_none();
            message.by = by.filter(|_| message.committed);
            self.changes += 1;
            message.changed = self.changes;
        }
    }
}

impl SentMessage {
    /// The message, if `delivery` reports it as stored.
    pub(super) fn stored(
        (key, value): (Option<Prefix>, Option<Prefix>),
        delivery: &DeliveryReport,
    ) -> Option<SentMessage> {
        let DeliveryReport::Stored { topic, partition, offset } = delivery else { return None };
        Some(SentMessage {
            topic: Arc::clone(topic),
            partition: *partition,
            offset: *offset,
            at: now(),
            key,
            value,
            committed: false,
            by: None,
            letter: None,
            passed: None,
            changed: 0,
        })
    }

    fn place(&self) -> MessagePlace {
        MessagePlace { topic: Arc::clone(&self.topic), partition: self.partition, offset: self.offset }
    }

    /// Whether the group is not known to be done with it.
    fn is_open(&self) -> bool {
        !self.committed && self.letter.is_none() && self.passed.is_none()
    }

    fn partition_in<'a>(&self, group: &'a GroupState) -> Option<&'a PartitionState> {
        group.partitions.iter().find(|state| state.partition == self.partition && *state.topic == *self.topic)
    }
}

fn name_of(group: &GroupState, id: &str) -> Option<String> {
    group.members.iter().flatten().find(|member| member.id == id).map(|member| member.name.clone())
}

fn as_text<S: Serializer>(topic: &Arc<str>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(topic)
}

fn name_as_text<S: Serializer>(name: &Option<DeadLetterId>, serializer: S) -> Result<S::Ok, S::Error> {
    name.map(|name| name.to_string()).serialize(serializer)
}

/// The beginning of a key or value, and the length of the whole. It becomes text only when a viewer gets it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Prefix(Vec<u8>, usize);

impl Prefix {
    /// The beginnings of a message's key and value.
    pub(super) fn of_message(message: &ProducerRecord) -> (Option<Prefix>, Option<Prefix>) {
        (Prefix::of(&message.key), Prefix::of(&message.value))
    }

    fn of(bytes: &Option<Vec<u8>>) -> Option<Prefix> {
        let bytes = bytes.as_deref()?;
        Some(Prefix(bytes.get(..EXCERPT_BYTES).unwrap_or(bytes).to_vec(), bytes.len()))
    }
}

impl Serialize for Prefix {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Excerpt::of_prefix(&self.0, self.1).serialize(serializer)
    }
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::super::source::MemberState;
    use super::*;

    fn sent(partition: i32, offset: i64) -> SentMessage {
        SentMessage {
            topic: "t".into(),
            partition,
            offset,
            at: 0,
            key: None,
            value: None,
            committed: false,
            by: None,
            letter: None,
            passed: None,
            changed: 0,
        }
    }

    /// Decides what the group is done with, where these are dead letters.
    fn decide(recent: &mut RecentMessages, letters: &[(MessagePlace, DeadLetterId)]) {
        let (undecided, _) = recent.undecided();
        let letter = |place: &MessagePlace| letters.iter().find(|(of, _)| of == place).map(|(_, id)| *id);
        recent.decide(&undecided.into_iter().map(|place| (place.clone(), letter(&place))).collect());
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
            start: None,
            done: None,
            owner: owner.map(str::to_owned),
            queue: None,
        };
        GroupState {
            group: "g".to_owned(),
            state: "Stable".to_owned(),
            members: Some(vec![member("a"), member("b")]),
            partitions: vec![partition],
        }
    }

    #[test]
    fn the_member_is_named_only_where_it_is_certain() {
        for (before, now, by) in [
            (Some(group(Some("a"), 3)), group(Some("a"), 4), Some("a name")),
            (Some(group(Some("b"), 3)), group(Some("a"), 4), None),
            (Some(group(None, 3)), group(Some("a"), 4), None),
            (None, group(Some("a"), 4), None),
        ] {
            let mut recent = RecentMessages::default();
            recent.add(sent(0, 3));
            recent.note_passed(before.as_ref(), &now);
            decide(&mut recent, &[]);
            let message = recent.changed(1).pop().unwrap();
            assert_eq!((message.committed, message.by.as_deref()), (true, by));
        }
    }

    #[test]
    fn an_uncommitted_message_stays_so_and_a_change_is_reported_once() {
        let mut recent = RecentMessages::default();
        recent.add(sent(0, 3));
        recent.add(sent(1, 0));
        let seen = recent.changes();
        recent.note_passed(None, &group(Some("a"), 3));
        decide(&mut recent, &[]);
        assert!(recent.changed(seen).is_empty());
        recent.note_passed(None, &group(Some("a"), 9));
        assert!(recent.changed(seen).is_empty(), "it may be a dead letter");
        decide(&mut recent, &[]);
        assert_eq!(recent.changed(seen).len(), 1);
        assert!(recent.changed(recent.changes()).is_empty());
    }

    #[test]
    fn letters_are_looked_for_since_the_oldest_message_that_will_be_asked_for() {
        let mut recent = RecentMessages::default();
        recent.add(SentMessage { at: 5, ..sent(1, 0) });
        recent.add(SentMessage { at: 70, ..sent(0, 3) });
        recent.note_passed(None, &group(Some("a"), 4));
        assert_eq!(recent.undecided(), ([sent(0, 3).place()].into(), 5), "the letter of one may be older");
    }

    #[test]
    fn a_dead_letter_is_never_called_committed() {
        let mut recent = RecentMessages::default();
        recent.add(sent(0, 3));
        recent.add(sent(0, 4));
        let id = DeadLetterId { partition: 1, offset: 7 };
        recent.note_passed(Some(&group(Some("a"), 3)), &group(Some("a"), 5));
        decide(&mut recent, &[(sent(0, 3).place(), id)]);
        let told: Vec<_> = recent.changed(2).into_iter().map(|m| (m.committed, m.by, m.letter)).collect();
        assert_eq!(told, [(false, None, Some(id)), (true, Some("a name".to_owned()), None)]);
        let shown = serde_json::to_value(recent.changed(0)).unwrap();
        assert_eq!((&shown[0]["letter"], &shown[1]["letter"]), (&"1:7".into(), &serde_json::Value::Null));
        recent.note_passed(None, &group(Some("a"), 9));
        assert!(recent.undecided().0.is_empty(), "it is decided once");
    }

    #[test]
    fn what_is_not_known_of_one_message_keeps_no_other_from_being_decided() {
        let mut recent = RecentMessages::default();
        recent.add(sent(0, 3));
        recent.add(sent(0, 4));
        recent.note_passed(None, &group(Some("a"), 5));
        recent.decide(&BTreeMap::from([(sent(0, 4).place(), None)]));
        let committed: Vec<bool> = recent.changed(0).iter().map(|message| message.committed).collect();
        assert_eq!(committed, [false, true]);
        assert_eq!(recent.undecided().0, [sent(0, 3).place()].into());
    }

    #[test]
    fn no_more_than_the_last_messages_are_kept() {
        let mut recent = RecentMessages::default();
        for offset in 0..200 {
            recent.add(sent(0, offset));
        }
        let offsets: Vec<i64> = recent.changed(0).iter().map(|message| message.offset).collect();
        assert_eq!(offsets, (150..200).collect::<Vec<i64>>());
    }
}
