//! A dead letter: its id, its message, and the headers that tell where and why the message failed.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use super::headers::{
    ATTEMPTS, CONSUMER_GROUP, ERRORS, EXCEPTION_FQCN, EXCEPTION_MESSAGE, KILLS, ORIGINAL_OFFSET,
    ORIGINAL_PARTITION, ORIGINAL_TIMESTAMP, ORIGINAL_TOPIC, PREFIX, REPLAYS, STDERR, STDERR_MESSAGES, number,
};
use protocol::records::{OwnHeaders, Record};

/// The id of a dead letter: its partition and offset in the topic of the dead letters,
/// `<partition>:<offset>`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeadLetterId {
    /// The partition.
    pub partition: i32,
    /// The offset.
    pub offset: i64,
}

impl fmt::Display for DeadLetterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = format!("{}:{}", self.partition, self.offset);
        f.pad(&text)
    }
}

impl FromStr for DeadLetterId {
    type Err = String;

    /// # Errors
    /// It is not two numbers, none negative, with a colon between.
    fn from_str(text: &str) -> Result<DeadLetterId, String> {
        let numbers = text.split_once(':').and_then(|(partition, offset)| {
            Some(DeadLetterId { partition: partition.parse().ok()?, offset: offset.parse().ok()? })
        });
        let id = numbers.filter(|id| id.partition >= 0 && id.offset >= 0);
        id.ok_or_else(|| "a dead letter's id is <partition>:<offset>, as in 0:17".to_owned())
    }
}

/// A dead letter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// Its id.
    pub id: DeadLetterId,
    /// The time when the message became a dead letter, or of the append, as the topic is configured; ms since
    /// 1970.
    pub timestamp: Option<i64>,
    /// The message's key, if it has one.
    pub key: Option<Vec<u8>>,
    /// The message's bytes, or null.
    pub value: Option<Vec<u8>>,
    /// All headers: the message's own, and those of the dead letter.
    pub headers: OwnHeaders,
    /// From this offset on to its own, its partition has no other record.
    pub(in crate::dead_letters) after: i64,
}

impl DeadLetter {
    /// The letter in a record, before which there is nothing from `after` on.
    pub(in crate::dead_letters) fn new(partition: i32, record: &Record<'_>, after: i64) -> DeadLetter {
        let content = record.content();
        let headers: Vec<_> = content.headers.iter().collect();
        DeadLetter {
            id: DeadLetterId { partition, offset: record.offset },
            timestamp: content.timestamp,
            key: content.key.map(<[u8]>::to_vec),
            value: content.value.map(<[u8]>::to_vec),
            headers: OwnHeaders::new(headers.iter().map(|(name, value)| (name.as_ref(), *value))),
            after,
        }
    }

    /// About the bytes that it takes in memory and in a batch.
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
        number(self.header(name)?)
    }

    /// The topic that it came from.
    pub fn topic(&self) -> Option<Cow<'_, str>> {
        self.text(ORIGINAL_TOPIC)
    }

    /// The partition that it came from, whether the letter says that in binary, as Spring does, or as text.
    pub fn partition(&self) -> Option<i32> {
        i32::try_from(self.number(ORIGINAL_PARTITION)?).ok()
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

    /// The text of the error.
    pub fn message(&self) -> Option<Cow<'_, str>> {
        self.text(EXCEPTION_MESSAGE)
    }

    /// The number of attempts at the message; 0 where it was handed to no handler. `None` if the letter does
    /// not say it: another program, or an older version, has stored it.
    pub fn attempts(&self) -> Option<u32> {
        self.text(ATTEMPTS)?.parse().ok()
    }

    /// How many of the attempts their worker, or its consumer, did not survive.
    pub fn kills(&self) -> u32 {
        self.text(KILLS).and_then(|number| number.parse().ok()).unwrap_or(0)
    }

    /// The errors of the attempts that are known, the oldest first: the number of the attempt, `: ` and the
    /// beginning of the error's text, whose further lines are items of their own. The header comes from
    /// outside, so nothing here is certain to have that form.
    pub fn errors(&self) -> Vec<String> {
        let errors = self.text(ERRORS).unwrap_or_default();
        errors.lines().map(str::to_owned).collect()
    }

    /// The last that the handler program wrote on standard error in the last attempt.
    pub fn stderr(&self) -> Option<&[u8]> {
        self.header(STDERR)
    }

    /// How many messages the program had at once meanwhile.
    pub fn stderr_messages(&self) -> u32 {
        self.text(STDERR_MESSAGES).and_then(|number| number.parse().ok()).unwrap_or(1)
    }

    /// The last line that the handler program wrote on standard error that is not blank.
    pub fn last_stderr_line(&self) -> Option<&[u8]> {
        let lines = self.stderr()?.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
        lines.rev().find(|line| !line.is_empty())
    }

    /// The number of earlier replays of the message.
    pub fn replays(&self) -> u32 {
        self.text(REPLAYS).and_then(|number| number.parse().ok()).unwrap_or(0)
    }

    /// The headers with which the message is replayed: its own, and the count of replays with this one in it.
    pub(in crate::dead_letters) fn headers_again(&self) -> OwnHeaders {
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
    pub fn letter(headers: &[(&str, Option<&[u8]>)]) -> DeadLetter {
        DeadLetter {
            id: DeadLetterId { partition: 0, offset: 7 },
            timestamp: Some(1_000),
            key: None,
            value: None,
            headers: OwnHeaders::new(headers.iter().copied()),
            after: 7,
        }
    }

    #[test]
    fn a_name_is_two_numbers() {
        assert_eq!("3:41".parse(), Ok(DeadLetterId { partition: 3, offset: 41 }));
        assert_eq!("3:41".parse::<DeadLetterId>().unwrap().to_string(), "3:41");
        for wrong in ["", "3", ":", "3:", ":4", "-1:4", "1:-4", "1:2:3", "a:b", "1:99999999999999999999"] {
            assert!(wrong.parse::<DeadLetterId>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_replayed_message_has_its_own_headers_and_the_count() {
        let own: [(&str, Option<&[u8]>); 3] = [("a", Some(b"1")), ("a", None), ("b", Some(&[0xff]))];
        let dead: [(&str, Option<&[u8]>); 2] = [(ORIGINAL_TOPIC, Some(b"t")), ("kafka_dlt-other", None)];
        let once = letter(&[&own[..2], &dead, &own[2..]].concat()).headers_again();
        let expected = [&own[..], &[(REPLAYS, Some(&b"1"[..]))]].concat();
        assert_eq!(once, OwnHeaders::new(expected.clone()));
        let again = DeadLetter { headers: once, ..letter(&[]) }.headers_again();
        assert_eq!(again, OwnHeaders::new([&own[..], &[(REPLAYS, Some(&b"2"[..]))]].concat()));
        assert_eq!(letter(&[(REPLAYS, Some(b"many"))]).replays(), 0);
    }

    #[test]
    fn a_letter_tells_its_attempts_and_their_errors() {
        let told = letter(&[
            (ATTEMPTS, Some(b"3")),
            (KILLS, Some(b"1")),
            (ERRORS, Some("1: no stock\n3: a se\u{f1}or".as_bytes())),
        ]);
        assert_eq!((told.attempts(), told.kills()), (Some(3), 1));
        assert_eq!(told.errors(), ["1: no stock", "3: a se\u{f1}or"]);
        let older = letter(&[]);
        assert_eq!((older.attempts(), older.kills(), older.errors().len()), (None, 0, 0));
        let foreign = letter(&[(ATTEMPTS, Some(b"-1")), (KILLS, Some(b"x")), (ERRORS, Some(b"\xff"))]);
        assert_eq!((foreign.attempts(), foreign.kills()), (None, 0));
        assert_eq!(foreign.errors(), ["\u{fffd}"]);
    }

    #[test]
    fn headers_that_are_no_numbers_say_nothing() {
        let letter = letter(&[
            (ORIGINAL_PARTITION, Some(b"99999999999")),
            (ORIGINAL_OFFSET, Some(b"no number")),
            (CONSUMER_GROUP, None),
        ]);
        assert_eq!((letter.partition(), letter.offset(), letter.group()), (None, None, None));
    }

    #[test]
    fn a_place_may_be_said_as_text() {
        let letter = letter(&[
            (ORIGINAL_TOPIC, Some(b"t")),
            (ORIGINAL_PARTITION, Some(b"12")),
            (ORIGINAL_OFFSET, Some(b"1234")),
            (ORIGINAL_TIMESTAMP, Some(b"1700000000000")),
        ]);
        assert_eq!((letter.partition(), letter.offset()), (Some(12), Some(1_234)));
        assert_eq!(letter.original_timestamp(), Some(1_700_000_000_000));
    }

    #[test]
    fn a_letter_tells_the_last_line_of_standard_error() {
        let told = letter(&[(STDERR, Some(b"Traceback:\n  no stock \r\n\n")), (STDERR_MESSAGES, Some(b"3"))]);
        assert_eq!(told.last_stderr_line(), Some(&b"no stock"[..]));
        assert_eq!((told.stderr_messages(), told.stderr().map(<[u8]>::len)), (3, Some(25)));
        let without = letter(&[]);
        assert_eq!(
            (without.stderr(), without.stderr_messages(), without.last_stderr_line()),
            (None, 1, None)
        );
        assert_eq!(letter(&[(STDERR, Some(b" \n"))]).last_stderr_line(), None);
    }
}
