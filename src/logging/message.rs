//! The line of a single message: what happened to it, its place, its key, how long it is. What it holds is
//! shown only where `log.values` asks for it.

use std::fmt::{self, Display};

use super::json::JsonText;
use super::{MESSAGE, MESSAGE_BURST, is_json, shows_values};
use crate::text::{Key, SHOWN_BYTES, Value, write_beginning};

/// A message that was sent or received.
pub struct MessageLine<'a> {
    /// What happened to it.
    pub what: &'static str,
    /// Its topic.
    pub topic: &'a str,
    /// Its partition.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
    /// Its key.
    pub key: Option<&'a [u8]>,
    /// Its value.
    pub value: Option<&'a [u8]>,
    /// The client id of who has sent or received it.
    pub client: &'a str,
    /// The id of the HTTP request that it came with.
    pub request: Option<&'a dyn Display>,
    /// What else is to be said, or nothing.
    pub note: &'static str,
}

impl Display for MessageLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if is_json() { self.members(f, shows_values()) } else { self.text(f, shows_values()) }
    }
}

impl MessageLine<'_> {
    /// Writes the line to the log, at once.
    pub fn log(&self) {
        log::info!(target: MESSAGE, "{self}");
    }

    /// Writes the line to the log when that is flushed.
    pub fn log_in_a_burst(&self) {
        log::info!(target: MESSAGE_BURST, "{self}");
    }

    fn text(&self, f: &mut fmt::Formatter<'_>, with_value: bool) -> fmt::Result {
        let (topic, partition, offset, key) = (self.topic, self.partition, self.offset, Key(self.key));
        write!(f, "{} topic={topic} partition={partition} offset={offset} key={key} length=", self.what)?;
        length(self.value, "none", f)?;
        write!(f, " name={}", self.client)?;
        if let Some(request) = self.request {
            write!(f, " request={request}")?;
        }
        if with_value {
            write!(f, " value={}", Value(self.value))?;
        }
        if self.note.is_empty() { Ok(()) } else { write!(f, " {}", self.note) }
    }

    /// The members of the line's JSON object.
    fn members(&self, f: &mut fmt::Formatter<'_>, with_value: bool) -> fmt::Result {
        write!(f, "\"message\":{},\"topic\":{}", JsonText(self.what), JsonText(self.topic))?;
        write!(f, ",\"partition\":{},\"offset\":{},\"key\":", self.partition, self.offset)?;
        nullable(self.key, f)?;
        f.write_str(",\"length\":")?;
        length(self.value, "null", f)?;
        write!(f, ",\"client\":{}", JsonText(self.client))?;
        if let Some(request) = self.request {
            write!(f, ",\"request\":{}", JsonText(request))?;
        }
        if with_value {
            f.write_str(",\"value\":")?;
            nullable(self.value, f)?;
        }
        if self.note.is_empty() { Ok(()) } else { write!(f, ",\"note\":{}", JsonText(self.note)) }
    }
}

fn length(value: Option<&[u8]>, none: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match value {
        Some(value) => write!(f, "{}", value.len()),
        None => f.write_str(none),
    }
}

/// Bytes from outside as a value of JSON.
fn nullable(bytes: Option<&[u8]>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match bytes {
        Some(bytes) => JsonText(Beginning(bytes)).fmt(f),
        None => f.write_str("null"),
    }
}

/// As much of bytes from outside as a line shows. What is no UTF-8 in them is shown as `\xff`.
struct Beginning<'a>(&'a [u8]);

impl Display for Beginning<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_beginning(f, self.0, SHOWN_BYTES, |f, text| f.write_str(text))
    }
}

/// The value of a message where lines show values, else its length; with a space before it.
pub struct ValueOrLength<'a>(pub Option<&'a [u8]>);

impl Display for ValueOrLength<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if shows_values() {
            return write!(f, " value={}", Value(self.0));
        }
        f.write_str(" length=")?;
        length(self.0, "none", f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Text<'a>(&'a MessageLine<'a>, bool);
    struct Json<'a>(&'a MessageLine<'a>, bool);

    impl Display for Text<'_> {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            self.0.text(f, self.1)
        }
    }

    impl Display for Json<'_> {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "{{")?;
            self.0.members(f, self.1)?;
            write!(f, "}}")
        }
    }

    fn line<'a>(key: Option<&'a [u8]>, value: Option<&'a [u8]>) -> MessageLine<'a> {
        MessageLine {
            what: "sent",
            topic: "pedidos",
            partition: 2,
            offset: 7,
            key,
            value,
            client: "producer_api",
            request: Some(&"abc-1"),
            note: "",
        }
    }

    #[test]
    fn a_line_has_place_key_and_length_and_the_value_only_where_it_is_wanted() {
        let line = line(Some(b"k\"\n"), Some(b"{\"secret\":1}"));
        let expected = "sent topic=pedidos partition=2 offset=7 key=\"k\\\"\\n\" length=12 name=producer_api \
                        request=abc-1";
        assert_eq!(Text(&line, false).to_string(), expected);
        assert_eq!(Text(&line, true).to_string(), format!("{expected} value={{\"secret\":1}}"));
        assert!(!Json(&line, false).to_string().contains("secret"));
    }

    #[test]
    fn as_json_it_is_an_object_whatever_key_and_value_are() {
        let long = [b'x'; 600];
        for (bytes, shown) in [
            (&b"a\nb\"\\\x1b"[..], "a\nb\"\\\u{1b}".to_owned()),
            (b"\xff\xc3", r"\xff\xc3".to_owned()),
            ("ñ\u{202e}😀".as_bytes(), "ñ\u{202e}😀".to_owned()),
            (&long, format!("{}… (600 bytes)", "x".repeat(512))),
        ] {
            let text = Json(&line(Some(bytes), Some(bytes)), true).to_string();
            let read: serde_json::Value = serde_json::from_str(&text).unwrap();
            assert_eq!(
                (read["key"].as_str(), read["value"].as_str()),
                (Some(&*shown), Some(&*shown)),
                "{text}"
            );
            assert_eq!(read["length"], bytes.len());
            assert!(!text.contains(['\n', '\u{1b}', '\u{202e}']), "{text:?}");
        }
        let read: serde_json::Value =
            serde_json::from_str(&Json(&line(None, None), true).to_string()).unwrap();
        assert!(read["key"].is_null() && read["value"].is_null() && read["length"].is_null(), "{read}");
        assert_eq!(
            (&read["partition"], &read["offset"], &read["request"]),
            (&2.into(), &7.into(), &"abc-1".into())
        );
    }
}
