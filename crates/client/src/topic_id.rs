//! Topics by their ids (KIP-516): a topic that is deleted and made anew has another one.
//!
//! What a member commits belongs to one topic, but OffsetCommit names it alone. So the id stands at the end
//! of the metadata beside the offset, as ` topic-id=` and the id in Kafka's own text: base64 for URLs (RFC
//! 4648) of its 16 bytes, without padding.

use std::collections::HashMap;
use std::fmt;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;

use protocol::TopicPartition;

/// The most characters that an id takes in metadata, with the blank before it.
pub const LENGTH: usize = 1 + MARK.len() + 22;

/// What stands before the id in metadata.
const MARK: &str = "topic-id=";

/// The id of a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct TopicId(u128);

/// The ids of the topics that partitions are of, where they are known.
pub type TopicIds = HashMap<TopicPartition, TopicId>;

impl TopicId {
    /// The id with these 16 bytes, big-endian; `None` for zero, which is none.
    pub(crate) fn of(id: u128) -> Option<TopicId> {
        Some(TopicId(id)).filter(|id| id.0 != 0)
    }

    /// The id in the type that messages have it in.
    pub(crate) fn to_message<I: TryFrom<Vec<u8>> + Default>(self) -> I {
        I::try_from(self.0.to_be_bytes().to_vec()).unwrap_or_default()
    }

    fn read(text: &str) -> Option<TopicId> {
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(text).ok()?;
        TopicId::of(u128::from_be_bytes(bytes.try_into().ok()?))
    }
}

impl fmt::Display for TopicId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&BASE64_URL_SAFE_NO_PAD.encode(self.0.to_be_bytes()))
    }
}

/// The metadata to commit: a note, and the id of the topic.
pub(crate) fn with_id(note: &str, id: Option<TopicId>) -> String {
    match id {
        None => note.to_owned(),
        Some(id) if note.is_empty() => format!("{MARK}{id}"),
        Some(id) => format!("{note} {MARK}{id}"),
    }
}

/// The note in committed metadata, and the id of the topic, if one stands there.
pub(crate) fn without_id(metadata: &str) -> (&str, Option<TopicId>) {
    let (note, last) = metadata.rsplit_once(' ').unwrap_or(("", metadata));
    match last.strip_prefix(MARK).and_then(TopicId::read) {
        Some(id) => (note, Some(id)),
        None => (metadata, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_beside_a_note_is_read_again_and_what_is_none_stays_the_note() {
        let id = TopicId::of(0x1234_5678 << 90);
        for note in ["", "a", "a b", " ", "topic-id=", "topic-id=AAAA"] {
            assert_eq!(without_id(&with_id(note, id)), (note, id));
            assert_eq!(without_id(&with_id(note, None)), (note, None));
        }
        assert_eq!(with_id("", TopicId::of(1)), "topic-id=AAAAAAAAAAAAAAAAAAAAAQ");
        assert_eq!(with_id("q1", id).len(), "q1".len() + LENGTH);
        for other in ["topic-id=AAAAAAAAAAAAAAAAAAAAAA", "topic-id=AAAAAAAAAAAAAAAAAAAAAQ "] {
            assert_eq!(without_id(other), (other, None));
        }
    }
}
