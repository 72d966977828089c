//! A dead letter: its name, the message that it was, and what is said of where it failed and why.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use super::{
    CONSUMER_GROUP, EXCEPTION_FQCN, EXCEPTION_MESSAGE, ORIGINAL_OFFSET, ORIGINAL_PARTITION,
    ORIGINAL_TIMESTAMP, ORIGINAL_TOPIC, PREFIX, REPLAYS,
};
use crate::protocol::records::{OwnHeaders, Record};

/// What a dead letter is called: its place in the topic of the dead letters, `<partition>:<offset>`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name {
    /// The partition.
    pub partition: i32,
    /// The offset.
    pub offset: i64,
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = format!("{}:{}", self.partition, self.offset);
        f.pad(&text)
    }
}

impl FromStr for Name {
    type Err = String;

    /// # Errors
    /// It is not two numbers, none negative, with a colon between.
    fn from_str(text: &str) -> Result<Name, String> {
        let numbers = text.split_once(':').and_then(|(partition, offset)| {
            Some(Name { partition: partition.parse().ok()?, offset: offset.parse().ok()? })
        });
        let name = numbers.filter(|name| name.partition >= 0 && name.offset >= 0);
        name.ok_or_else(|| "a dead letter's name is <partition>:<offset>, as in 0:17".to_owned())
    }
}

/// A dead letter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Letter {
    /// Its name.
    pub name: Name,
    /// When it became one, or was appended, as the topic is configured, in ms since 1970.
    pub timestamp: Option<i64>,
    /// The message's key, if it has one.
    pub key: Option<Vec<u8>>,
    /// The message's bytes, or null.
    pub value: Option<Vec<u8>>,
    /// The headers of both: the message's own, and those that say what happened.
    pub headers: OwnHeaders,
    /// From here on to its own offset nothing else is in its partition.
    pub(super) after: i64,
}

impl Letter {
    /// The letter in a record, before which there is nothing from `after` on.
    pub(super) fn new(partition: i32, record: &Record<'_>, after: i64) -> Letter {
        let content = record.content();
        let headers: Vec<_> = content.headers.iter().collect();
        Letter {
            name: Name { partition, offset: record.offset },
            timestamp: content.timestamp,
            key: content.key.map(<[u8]>::to_vec),
            value: content.value.map(<[u8]>::to_vec),
            headers: OwnHeaders::new(headers.iter().map(|(name, value)| (name.as_ref(), *value))),
            after,
        }
    }

    /// What it weighs in memory and in a batch, about, in bytes.
    pub fn bytes(&self) -> usize {
        let length = |bytes: &Option<Vec<u8>>| bytes.as_ref().map_or(0, Vec::len);
        length(&self.key) + length(&self.value) + self.headers.bytes()
    }

    /// The last header of that name, unless it is null.
    fn header(&self, name: &str) -> Option<&[u8]> {
        let named = self.headers.borrowed().iter().filter(|(found, _)| found == name);
        named.last().and_then(|(_, value)| value)
    }

    fn text(&self, name: &str) -> Option<Cow<'_, str>> {
        self.header(name).map(String::from_utf8_lossy)
    }

    fn number(&self, name: &str) -> Option<i64> {
        self.header(name)?.try_into().map(i64::from_be_bytes).ok()
    }

    /// The topic that it came from.
    pub fn topic(&self) -> Option<Cow<'_, str>> {
        self.text(ORIGINAL_TOPIC)
    }

    /// The partition that it came from.
    pub fn partition(&self) -> Option<i32> {
        self.header(ORIGINAL_PARTITION)?.try_into().map(i32::from_be_bytes).ok()
    }

    /// The offset that it had there.
    pub fn offset(&self) -> Option<i64> {
        self.number(ORIGINAL_OFFSET)
    }

    /// The time that it had there, ms since 1970.
    pub fn original_timestamp(&self) -> Option<i64> {
        self.number(ORIGINAL_TIMESTAMP)
    }

    /// The group that could not handle it.
    pub fn group(&self) -> Option<Cow<'_, str>> {
        self.text(CONSUMER_GROUP)
    }

    /// The type of the error.
    pub fn exception(&self) -> Option<Cow<'_, str>> {
        self.text(EXCEPTION_FQCN)
    }

    /// What the error said.
    pub fn message(&self) -> Option<Cow<'_, str>> {
        self.text(EXCEPTION_MESSAGE)
    }

    /// How often the message was replayed before.
    pub fn replays(&self) -> u32 {
        self.text(REPLAYS).and_then(|number| number.parse().ok()).unwrap_or(0)
    }

    /// The headers with which the message is replayed: its own, and the count of replays with this one in it.
    pub(super) fn headers_again(&self) -> OwnHeaders {
        let replays = self.replays().saturating_add(1).to_string();
        let kept: Vec<_> = self
            .headers
            .borrowed()
            .iter()
            .filter(|(name, _)| !name.starts_with(PREFIX) && name != REPLAYS)
            .collect();
        let kept = kept.iter().map(|(name, value)| (name.as_ref(), *value));
        OwnHeaders::new(kept.chain([(REPLAYS, Some(replays.as_bytes()))]))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A letter of partition 0 with these headers.
    pub fn letter(headers: &[(&str, Option<&[u8]>)]) -> Letter {
        Letter {
            name: Name { partition: 0, offset: 7 },
            timestamp: Some(1_000),
            key: None,
            value: None,
            headers: OwnHeaders::new(headers.iter().copied()),
            after: 7,
        }
    }

    #[test]
    fn a_name_is_two_numbers() {
        assert_eq!("3:41".parse(), Ok(Name { partition: 3, offset: 41 }));
        assert_eq!("3:41".parse::<Name>().unwrap().to_string(), "3:41");
        for wrong in ["", "3", ":", "3:", ":4", "-1:4", "1:-4", "1:2:3", "a:b", "1:99999999999999999999"] {
            assert!(wrong.parse::<Name>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_replayed_message_has_its_own_headers_and_the_count() {
        let own: [(&str, Option<&[u8]>); 3] = [("a", Some(b"1")), ("a", None), ("b", Some(&[0xff]))];
        let dead: [(&str, Option<&[u8]>); 2] = [(ORIGINAL_TOPIC, Some(b"t")), ("kafka_dlt-other", None)];
        let once = letter(&[&own[..2], &dead, &own[2..]].concat()).headers_again();
        let expected = [&own[..], &[(REPLAYS, Some(&b"1"[..]))]].concat();
        assert_eq!(once, OwnHeaders::new(expected.clone()));
        let again = Letter { headers: once, ..letter(&[]) }.headers_again();
        assert_eq!(again, OwnHeaders::new([&own[..], &[(REPLAYS, Some(&b"2"[..]))]].concat()));
        assert_eq!(letter(&[(REPLAYS, Some(b"many"))]).replays(), 0);
    }

    #[test]
    fn headers_of_a_wrong_length_say_nothing() {
        let letter = letter(&[
            (ORIGINAL_PARTITION, Some(b"12345")),
            (ORIGINAL_OFFSET, Some(b"1")),
            (CONSUMER_GROUP, None),
        ]);
        assert_eq!((letter.partition(), letter.offset(), letter.group()), (None, None, None));
    }
}
