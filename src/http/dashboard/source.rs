//! The interface to the cluster that the dashboard needs, and the values that it shows.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use serde::Serialize;

use crate::dead_letters::{DeadLetterFilter, DeadLetterId, ReplayAction};
use crate::error::Result;

/// Describes the consumer group and its dead letters. The calls come from threads of the endpoint that serve
/// nothing else, so each may take until its deadline.
pub trait DashboardSource: Send + Sync + 'static {
    /// The group as it is now.
    ///
    /// # Errors
    /// The cluster did not answer before `deadline`.
    fn group(&self, deadline: Instant) -> Result<GroupState>;

    /// The newest `most` dead letters that fit `filter` and are neither replayed nor discarded, as far as
    /// they are found before `deadline`.
    ///
    /// # Errors
    /// The errors of [`DashboardSource::group`].
    fn dead_letters(
        &self,
        filter: &DeadLetterFilter,
        most: usize,
        deadline: Instant,
    ) -> Result<DeadLettersView>;

    /// The dead letter that the group has made of each of these messages, whether it is settled by now or
    /// not, or that there is none; none of the messages is older than `since` (ms since 1970). Those of which
    /// that cannot be said before `deadline` are left out.
    fn letters_of(
        &self,
        messages: &BTreeSet<MessagePlace>,
        since: i64,
        deadline: Instant,
    ) -> BTreeMap<MessagePlace, Option<DeadLetterId>>;

    /// Sends dead letters back to the topic that they came from, or discards them. The results are in the
    /// order of `letters`.
    ///
    /// # Errors
    /// Nothing was done.
    fn settle(
        &self,
        action: ReplayAction,
        letters: &[DeadLetterId],
        deadline: Instant,
    ) -> Result<Vec<Settled>>;

    /// The queues that workers receive from over HTTP, in the order of topic and group. It waits for nobody.
    fn leased_queues(&self) -> Vec<LeasedQueueState>;

    /// What is wrong and keeps no message from being stored: sentences without full stops. It waits for
    /// nobody.
    fn warnings(&self) -> Vec<String>;

    /// Makes the calls under way end soon.
    fn stop(&self);
}

/// The place of a message.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct MessagePlace {
    /// Its topic.
    pub topic: Arc<str>,
    /// Its partition.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
}

/// A consumer group with its members and its progress.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct GroupState {
    /// Its name.
    pub group: String,
    /// Its state, in the coordinator's words.
    pub state: String,
    /// Its members; `None` if the coordinator does not list them.
    pub members: Option<Vec<MemberState>>,
    /// Its progress, in the order of topic and partition.
    pub partitions: Vec<PartitionState>,
}

/// A member of a group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MemberState {
    /// Its member id.
    pub id: String,
    /// Its client id.
    pub name: String,
    /// The address it connects from.
    pub host: String,
}

/// The progress of a group in one partition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PartitionState {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// The committed offset, if there is one.
    pub committed: Option<i64>,
    /// The end offset, if the leader answered.
    pub end: Option<i64>,
    /// The lag, if both offsets are known and where the log begins: what was removed is no part of it.
    pub lag: Option<i64>,
    /// The offset of the first record that is kept, if the leader answered.
    #[serde(skip)]
    pub start: Option<i64>,
    /// The offset that the group would have committed if it had handled as much in order, what a work queue
    /// has done above the committed one included; before the first commit where a consumer would begin.
    #[serde(skip)]
    pub done: Option<i64>,
    /// The id of the member to which it is assigned.
    pub owner: Option<String>,
    /// What a work queue has noted beside the committed offset; `None` if none has.
    pub queue: Option<QueueState>,
}

/// A work queue in one partition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct QueueState {
    /// The offsets that are not done, if the leader answered.
    pub open: Option<i64>,
    /// The messages that wait for their next attempt.
    pub waiting: usize,
    /// When the first of them is due, ms since 1970.
    pub next_due: Option<i64>,
    /// Whether the consumer hands out nothing.
    pub paused: bool,
    /// Open messages that were attempted, in order of offset.
    pub attempted: Vec<AttemptedState>,
    /// How many more of them there are.
    pub unlisted: usize,
}

/// An open message that was attempted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct AttemptedState {
    /// Its offset.
    pub offset: i64,
    /// The attempts at it, that of a suspect which is under way included.
    pub attempts: u32,
    /// How many of them its worker or consumer did not survive.
    pub deaths: u32,
    /// When it may be attempted again, ms since 1970; `None` if it does not wait for a time.
    pub due: Option<i64>,
    /// It is being tried alone, as it may have killed its consumer.
    pub suspect: bool,
}

/// A queue that workers receive from over HTTP, with what it holds of the endpoint's partitions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LeasedQueueState {
    /// The topic.
    pub topic: String,
    /// The group.
    pub group: String,
    /// The messages that are read and not done.
    pub open: usize,
    /// Those that workers have, or that are being stored as dead letters.
    pub leased: usize,
    /// Those that wait for their next attempt.
    pub waiting: usize,
    /// When the oldest open message was made, ms since 1970; `None` if none is open.
    pub oldest: Option<i64>,
    /// The workers that wait for messages.
    pub receiving: usize,
    /// Why it has no messages to give, if it has none for a reason.
    pub obstacle: Option<String>,
    /// Leases, those that run out first.
    pub leases: Vec<LeaseState>,
    /// How many more of them there are.
    pub unlisted: usize,
}

/// A message that a worker has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LeaseState {
    /// Its partition.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
    /// Its key.
    pub key: Option<Excerpt>,
    /// The number of this attempt.
    pub attempt: u32,
    /// When its lease runs out, ms since 1970.
    pub until: i64,
}

/// A dead letter as the dashboard shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DeadLetterView {
    /// Its name.
    #[serde(serialize_with = "as_text")]
    pub letter: DeadLetterId,
    /// The topic in which it is.
    pub topic: String,
    /// When it was stored as a dead letter, ms since 1970, if known.
    pub at: Option<i64>,
    /// The original place of its message: `topic partition offset`, as far as known; of topic and partition
    /// that it does not say those to which a replay would send it.
    pub from: String,
    /// The error with which its handler failed.
    pub error: String,
    /// The last that the handler program wrote on standard error.
    pub stderr: Option<String>,
    /// How many messages the program had at once meanwhile.
    pub stderr_messages: u32,
    /// The number of its earlier replays.
    pub replays: u32,
    /// The number of attempts at its message, if it says so.
    pub attempts: Option<u32>,
    /// The message's key.
    pub key: Option<Excerpt>,
    /// The message's value.
    pub value: Option<Excerpt>,
}

/// Dead letters that were looked for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct DeadLettersView {
    /// The newest of those that fit, the newest first.
    pub letters: Vec<DeadLetterView>,
    /// The number of those that fit, of the letters that were looked at.
    pub fit: u64,
    /// The number of letters that were looked at, the newest ones.
    pub looked_at: u64,
    /// The number of all that are neither replayed nor discarded.
    pub open: u64,
    /// Whether all of them were looked at.
    pub complete: bool,
    /// Which partitions could not be read, and why.
    pub trouble: Option<String>,
}

/// The result of the replay, or the discard, of one dead letter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Settled {
    /// Its name.
    #[serde(serialize_with = "as_text")]
    pub letter: DeadLetterId,
    /// The reason why it is still there; `None`: it is stored in the topic again, or discarded.
    pub error: Option<String>,
}

pub(super) fn as_text<S: serde::Serializer>(name: &DeadLetterId, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(name)
}

/// The beginning of a key or a value as text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Excerpt {
    /// The text; bytes that are not UTF-8 are replaced.
    pub text: String,
    /// The length of the whole, in bytes.
    pub bytes: usize,
    /// Whether the text is shorter than the whole.
    pub cut: bool,
}

/// The longest beginning of a key or value that an [`Excerpt`] shows, in bytes.
pub const EXCERPT_BYTES: usize = 240;

impl Excerpt {
    /// The beginning of `bytes`.
    pub fn of(bytes: &[u8]) -> Excerpt {
        Excerpt::of_prefix(bytes.get(..EXCERPT_BYTES).unwrap_or(bytes), bytes.len())
    }

    /// An excerpt as [`Excerpt::of`], of `bytes` bytes of which only the beginning is there.
    pub(super) fn of_prefix(beginning: &[u8], bytes: usize) -> Excerpt {
        let cut = beginning.len() < bytes;
        let whole_characters = match std::str::from_utf8(beginning) {
            // The cut goes through a character of several bytes.
            Err(error) if cut && error.error_len().is_none() => error.valid_up_to(),
            _ => beginning.len(),
        };
        let text = String::from_utf8_lossy(beginning.get(..whole_characters).unwrap_or(beginning));
        Excerpt { text: text.into_owned(), bytes, cut }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_excerpt_ends_between_two_characters_and_tells_the_length_of_the_whole() {
        let text = "ñ".repeat(EXCERPT_BYTES);
        let excerpt = Excerpt::of(format!("x{text}").as_bytes());
        assert_eq!(excerpt.text, format!("x{}", "ñ".repeat(EXCERPT_BYTES / 2 - 1)));
        assert_eq!((excerpt.bytes, excerpt.cut), (2 * EXCERPT_BYTES + 1, true));
        assert_eq!(Excerpt::of(b"a\xff"), Excerpt { text: "a\u{fffd}".to_owned(), bytes: 2, cut: false });
    }
}
