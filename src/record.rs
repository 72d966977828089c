//! A record as a consumer reads it.

use std::borrow::Cow;
use std::fmt;

pub use protocol::records::Headers;

/// A message as it was stored, and its position.
#[derive(Debug, Clone, Copy)]
pub struct ConsumerRecord<'a> {
    /// The topic.
    pub topic: &'a str,
    /// The partition.
    pub partition: i32,
    /// The offset.
    pub offset: i64,
    /// The key, if there is one; it may be empty.
    pub key: Option<&'a [u8]>,
    /// The bytes stored, or null.
    pub value: Option<&'a [u8]>,
    /// When it was made or appended, as the topic is configured, in ms since 1970.
    pub timestamp: Option<i64>,
    /// Its headers, in their order.
    pub headers: Headers<'a>,
    /// Which attempt at handling it this is, from 1 on. Attempts that failed are committed, so the number goes
    /// on after a crash and with another consumer; it begins anew where a group lost what it committed.
    pub attempt: u32,
}

impl ConsumerRecord<'_> {
    /// The value as text; what is not UTF-8 in it becomes U+FFFD, and null is empty.
    pub fn text(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(self.value.unwrap_or_default())
    }
}

/// Its place, for a log line.
impl fmt::Display for ConsumerRecord<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "topic={} partition={} offset={}", self.topic, self.partition, self.offset)
    }
}
