//! What a watcher is shown of the cluster, and who looks.

use std::time::Instant;

use serde::Serialize;

use crate::channel::dead_letters::Name;
use crate::error::Result;

/// Somebody who sees the group that handles the messages and its dead letters. The calls come from threads of
/// the endpoint that nobody else waits for, and may take until their deadline.
pub trait Onlooker: Send + Sync + 'static {
    /// The group as it is now.
    ///
    /// # Errors
    /// The cluster did not tell until `deadline`.
    fn group(&self, deadline: Instant) -> Result<GroupState>;

    /// The newest dead letters that are not settled, the newest first, at most `most`.
    ///
    /// # Errors
    /// As [`Onlooker::group`].
    fn dead_letters(&self, most: usize, deadline: Instant) -> Result<Vec<DeadLetter>>;

    /// Sends dead letters back to where they came from, and says of each what became of it.
    ///
    /// # Errors
    /// None was replayed.
    fn replay(&self, letters: &[Name], deadline: Instant) -> Result<Vec<Replayed>>;

    /// Tells the calls under way to end soon.
    fn stop(&self);
}

/// A group, its members, and how far it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct GroupState {
    /// Its name.
    pub group: String,
    /// Its state in the coordinator's words.
    pub state: String,
    /// Its members; `None` where the coordinator does not tell.
    pub members: Option<Vec<MemberState>>,
    /// What it handles, in order of topic and partition.
    pub partitions: Vec<PartitionState>,
}

/// A member of a group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MemberState {
    /// The id that the coordinator gave it.
    pub id: String,
    /// Its client's name.
    pub name: String,
    /// The address it connects from.
    pub host: String,
}

/// How far a group is with a partition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PartitionState {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// The next offset to handle, if one is committed.
    pub committed: Option<i64>,
    /// The offset after the last message, where its leader tells.
    pub end: Option<i64>,
    /// Messages still to handle, where both are known.
    pub lag: Option<i64>,
    /// The id of the member that owns it.
    pub owner: Option<String>,
}

/// A dead letter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DeadLetter {
    /// Its name.
    #[serde(serialize_with = "as_text")]
    pub letter: Name,
    /// When it became one, ms since 1970, if that is known.
    pub at: Option<i64>,
    /// Where its message was: `topic partition offset` as far as it says.
    pub from: String,
    /// Why it could not be handled.
    pub error: String,
    /// How often it was replayed before.
    pub replays: u32,
    /// The message's key.
    pub key: Option<Excerpt>,
    /// The message's value.
    pub value: Option<Excerpt>,
}

/// What became of a dead letter that was to be replayed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Replayed {
    /// Its name.
    #[serde(serialize_with = "as_text")]
    pub letter: Name,
    /// Why it stays where it is; `None`: it is stored in the topic again.
    pub error: Option<String>,
}

fn as_text<S: serde::Serializer>(name: &Name, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(name)
}

/// The beginning of a key or a value as text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Excerpt {
    /// The text; what is no UTF-8 is replaced.
    pub text: String,
    /// How many bytes the whole has.
    pub bytes: usize,
    /// Whether the text is not the whole.
    pub cut: bool,
}

/// The most bytes of a key or value that an [`Excerpt`] is made of.
pub const EXCERPT_BYTES: usize = 240;

impl Excerpt {
    /// The beginning of `bytes`.
    pub fn of(bytes: &[u8]) -> Excerpt {
        Excerpt::begun(bytes.get(..EXCERPT_BYTES).unwrap_or(bytes), bytes.len())
    }

    /// As [`Excerpt::of`], of bytes of which only the beginning is there.
    pub(super) fn begun(beginning: &[u8], bytes: usize) -> Excerpt {
        let cut = beginning.len() < bytes;
        let whole_letters = match std::str::from_utf8(beginning) {
            // A letter of several bytes that the cut goes through.
            Err(error) if cut && error.error_len().is_none() => error.valid_up_to(),
            _ => beginning.len(),
        };
        let text = String::from_utf8_lossy(beginning.get(..whole_letters).unwrap_or(beginning));
        Excerpt { text: text.into_owned(), bytes, cut }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_excerpt_ends_between_two_letters_and_says_how_much_there_is() {
        let text = "ñ".repeat(EXCERPT_BYTES);
        let excerpt = Excerpt::of(format!("x{text}").as_bytes());
        assert_eq!(excerpt.text, format!("x{}", "ñ".repeat(EXCERPT_BYTES / 2 - 1)));
        assert_eq!((excerpt.bytes, excerpt.cut), (2 * EXCERPT_BYTES + 1, true));
        assert_eq!(Excerpt::of(b"a\xff"), Excerpt { text: "a\u{fffd}".to_owned(), bytes: 2, cut: false });
    }
}
