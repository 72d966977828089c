//! The interface to the messages of any topic, and what is said of them.

use std::time::Instant;

use serde::Serialize;

use crate::http::dashboard::Excerpt;

/// Reads messages of any topic without a group: it commits nothing, and takes nothing from consumers. Each
/// call waits for a broker, and may take until its deadline.
pub trait MessageSource: Send + Sync + 'static {
    /// The messages that fit; at the deadline those that were found by then.
    ///
    /// # Errors
    /// There is no such topic or partition, or no message could be read.
    fn search(&self, search: &MessageSearch, deadline: Instant) -> Result<SearchedMessages, NoMessages>;

    /// One message whole, as a JSON object; `is_text`: a value that is JSON is a text, too.
    ///
    /// # Errors
    /// There is no such message, it has more than `most_bytes`, or it could not be read by the deadline.
    fn message(
        &self,
        place: &PlaceOfMessage,
        is_text: bool,
        most_bytes: usize,
        deadline: Instant,
    ) -> Result<Vec<u8>, NoMessages>;

    /// Makes the calls under way end soon.
    fn stop(&self);
}

/// The place of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlaceOfMessage {
    /// Its topic.
    pub topic: String,
    /// Its partition.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
}

/// Where a search begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SearchFrom {
    /// At the end, and goes back.
    Newest,
    /// With the oldest message that is there.
    Oldest,
    /// With the messages since this time, ms since 1970.
    Time(i64),
    /// At this offset, or at the nearest one that is there.
    Offset(i64),
}

/// Which messages are meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageSearch {
    /// The topic.
    pub topic: String,
    /// Where to begin.
    pub from: SearchFrom,
    /// Where to go on instead: an offset of each partition that is left, as an earlier answer told them.
    pub at: Option<Vec<(i32, i64)>>,
    /// Only messages of this partition.
    pub partition: Option<i32>,
    /// Only messages with this key.
    pub key: Option<Vec<u8>>,
    /// Only messages with this text in their key, their value or the value of a header. Letters of ASCII fit
    /// in either case.
    pub text: Option<String>,
    /// The most messages.
    pub max: usize,
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SearchedMessages {
    /// The topic.
    pub topic: String,
    /// The messages, in the order of the search.
    pub messages: Vec<MessageView>,
    /// How many messages were looked at.
    pub searched: u64,
    /// Whether as many were found as were wanted, or all were looked at.
    pub complete: bool,
    /// Why a partition could not be read on; a sentence without a full stop.
    pub trouble: Option<String>,
    /// What of each partition was looked at.
    pub partitions: Vec<SearchedPartition>,
    /// Where to go on: `partition:offset` of each partition that is left, with commas between; `None` at the
    /// end.
    pub next: Option<String>,
}

/// What of a partition was looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct SearchedPartition {
    /// The partition.
    pub partition: i32,
    /// The first offset that is there.
    pub beginning_offset: i64,
    /// The one after the last.
    pub end_offset: i64,
    /// The first offset that was looked at, ...
    pub from: i64,
    /// ... and the one after the last.
    pub to: i64,
}

/// A message in a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MessageView {
    /// Its partition.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
    /// Its time, ms since 1970, if it has one.
    pub timestamp: Option<i64>,
    /// Its key.
    pub key: Option<Excerpt>,
    /// Its value.
    pub value: Option<Excerpt>,
    /// Its first headers.
    pub headers: Vec<HeaderView>,
    /// How many more headers it has.
    pub more_headers: usize,
}

/// A header in a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HeaderView {
    /// Its name.
    pub name: Excerpt,
    /// Its value.
    pub value: Option<Excerpt>,
}

/// Why there is nothing to show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoMessages {
    /// There is no such topic.
    NoTopic,
    /// The topic does not have the partition.
    NoPartition,
    /// There is no message at the offset, for this reason: a sentence.
    NoMessage(String),
    /// The message has so many bytes, with its key and its headers.
    TooLarge(usize),
    /// The endpoint's own user at the cluster lacks the right; what the cluster says.
    Forbidden(String),
    /// What is stored cannot be read; why not.
    Damaged(String),
    /// No broker has answered in time; why not.
    Unanswered(String),
}
