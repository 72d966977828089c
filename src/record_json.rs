//! A record as JSON in one line, for programs that read a line for each message.
//!
//! Nothing is built in between: the bytes go to the end of a buffer that the caller keeps. The fields come in
//! this order: `id`, `topic`, `partition`, `offset`, `key` or `key_base64`, `headers`, `timestamp`,
//! `attempt`, `encoding`, `value`. `docs/consuming.md` describes them for users.

use std::io::Write;

use base64::engine::general_purpose::STANDARD;
use base64::write::EncoderWriter;

use crate::message;
use crate::record::{ConsumerRecord, Headers};
use protocol::records::Record;

/// Appends `record` to `out` as one JSON object without a line's end. `id` names the message in the answer to
/// it.
///
/// A value that is JSON stands as it is, but for two things that keep it one line for every reader of lines
/// and leave it the same value: line breaks between tokens become blanks, and U+2028 and U+2029, at which
/// Node.js ends a line, are escaped. What is no JSON is text in base64 (RFC 4648, with padding).
pub fn write(out: &mut Vec<u8>, id: &str, record: &ConsumerRecord<'_>) {
    write_with(out, ("id", id), record);
}

/// As [`write`](fn@write), with another first field, whose name needs no escapes.
pub fn write_with(out: &mut Vec<u8>, (name, value): (&str, &str), record: &ConsumerRecord<'_>) {
    out.extend_from_slice(b"{\"");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":");
    write_text(out, value);
    out.extend_from_slice(b",\"topic\":");
    write_text(out, record.topic);
    write_number(out, "partition", record.partition.into());
    write_number(out, "offset", record.offset);
    write_key(out, record.key);
    out.extend_from_slice(b",\"headers\":");
    write_headers(out, record.headers);
    write_timestamp(out, record.timestamp);
    write_number(out, "attempt", record.attempt.into());
    write_value(out, record.value);
    out.push(b'}');
}

/// Appends what is stored in a topic as one JSON object without a line's end: `topic`, `partition`, `offset`,
/// `timestamp`, `key` or `key_base64`, `headers`, `encoding`, `value`. Other than by [`write`](fn@write), a
/// value that is no JSON is a text, with the encoding `text`, unless it is not UTF-8.
pub fn write_stored(out: &mut Vec<u8>, topic: &str, partition: i32, record: &Record<'_>) {
    write_stored_as(out, topic, partition, record, false);
}

/// As [`write_stored`], but a value that is JSON is a text, too: no reader of JSON changes its numbers.
pub fn write_stored_as_text(out: &mut Vec<u8>, topic: &str, partition: i32, record: &Record<'_>) {
    write_stored_as(out, topic, partition, record, true);
}

fn write_stored_as(out: &mut Vec<u8>, topic: &str, partition: i32, record: &Record<'_>, is_text: bool) {
    out.extend_from_slice(b"{\"topic\":");
    write_text(out, topic);
    write_number(out, "partition", partition.into());
    write_number(out, "offset", record.offset);
    write_timestamp(out, record.content().timestamp);
    write_key(out, record.key);
    out.extend_from_slice(b",\"headers\":");
    write_headers(out, record.headers);
    let is_text = |value| is_text || message::check(value).is_err();
    match record.value.map(|value| (std::str::from_utf8(value), is_text(value))) {
        Some((Ok(text), true)) => {
            out.extend_from_slice(b",\"encoding\":\"text\",\"value\":");
            write_text(out, text);
        }
        _ => write_value(out, record.value),
    }
    out.push(b'}');
}

/// Appends headers in their order, a JSON list of objects: `{"name":"a","value":"text"}`, with `"base64"`
/// instead of `"value"` where the value is not UTF-8; a null value is null.
pub fn write_headers(out: &mut Vec<u8>, headers: Headers<'_>) {
    out.push(b'[');
    for (index, (name, value)) in headers.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        match value.map(std::str::from_utf8) {
            Some(Err(_)) => {
                out.extend_from_slice(b"{\"base64\":");
                write_base64(out, value.unwrap_or_default());
                out.extend_from_slice(b",\"name\":");
                write_text(out, &name);
            }
            text => {
                out.extend_from_slice(b"{\"name\":");
                write_text(out, &name);
                out.extend_from_slice(b",\"value\":");
                match text {
                    Some(Ok(text)) => write_text(out, text),
                    _ => out.extend_from_slice(b"null"),
                }
            }
        }
        out.push(b'}');
    }
    out.push(b']');
}

fn write_timestamp(out: &mut Vec<u8>, timestamp: Option<i64>) {
    match timestamp {
        Some(timestamp) => write_number(out, "timestamp", timestamp),
        None => out.extend_from_slice(b",\"timestamp\":null"),
    }
}

fn write_number(out: &mut Vec<u8>, name: &str, number: i64) {
    // A buffer in memory takes everything.
    let _ = write!(out, ",\"{name}\":{number}");
}

fn write_key(out: &mut Vec<u8>, key: Option<&[u8]>) {
    match key.map(|key| std::str::from_utf8(key).map_err(|_| key)) {
        None => out.extend_from_slice(b",\"key\":null"),
        Some(Ok(text)) => {
            out.extend_from_slice(b",\"key\":");
            write_text(out, text);
        }
        Some(Err(bytes)) => {
            out.extend_from_slice(b",\"key_base64\":");
            write_base64(out, bytes);
        }
    }
}

fn write_value(out: &mut Vec<u8>, value: Option<&[u8]>) {
    match value {
        None => out.extend_from_slice(b",\"encoding\":\"null\",\"value\":null"),
        Some(json) if message::check(json).is_ok() => {
            out.extend_from_slice(b",\"encoding\":\"json\",\"value\":");
            write_in_one_line(out, json);
        }
        Some(bytes) => {
            out.extend_from_slice(b",\"encoding\":\"base64\",\"value\":");
            write_base64(out, bytes);
        }
    }
}

/// A text as a JSON string.
fn write_text(out: &mut Vec<u8>, text: &str) {
    let start = out.len();
    // Neither a buffer in memory nor a text can fail.
    let _ = serde_json::to_writer(&mut *out, text);
    if has_separator(out.get(start..).unwrap_or_default()) {
        let json = out.split_off(start);
        write_in_one_line(out, &json);
    }
}

fn write_base64(out: &mut Vec<u8>, bytes: &[u8]) {
    out.push(b'"');
    let mut encoder = EncoderWriter::new(&mut *out, &STANDARD);
    let _ = encoder.write_all(bytes).and_then(|()| encoder.finish().map(drop));
    drop(encoder);
    out.push(b'"');
}

/// The first two of the three bytes of U+2028 and U+2029 in UTF-8.
const SEPARATOR: [u8; 2] = [0xe2, 0x80];

fn has_separator(json: &[u8]) -> bool {
    json.windows(3).any(|bytes| matches!(bytes, [0xe2, 0x80, 0xa8 | 0xa9]))
}

/// Appends valid JSON without what some reader takes for a line's end. Outside of strings that is LF and CR,
/// which JSON allows nowhere else; within strings U+2028 and U+2029, which it allows nowhere else.
fn write_in_one_line(out: &mut Vec<u8>, json: &[u8]) {
    let mut rest = json;
    while let Some(at) = rest.iter().position(|byte| matches!(byte, b'\n' | b'\r' | 0xe2)) {
        let (plain, special) = rest.split_at(at);
        out.extend_from_slice(plain);
        let taken = match special {
            [first, second, last @ (0xa8 | 0xa9), ..] if [*first, *second] == SEPARATOR => {
                out.extend_from_slice(if *last == 0xa8 { b"\\u2028" } else { b"\\u2029" });
                3
            }
            [0xe2, ..] => {
                out.push(0xe2);
                1
            }
            _ => {
                out.push(b' ');
                1
            }
        };
        rest = special.get(taken..).unwrap_or_default();
    }
    out.extend_from_slice(rest);
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::records::OwnHeaders;
    use serde_json::{Value, json};

    fn record<'a>(
        key: Option<&'a [u8]>,
        value: Option<&'a [u8]>,
        headers: Headers<'a>,
    ) -> ConsumerRecord<'a> {
        let (topic, partition, offset, timestamp, attempt) = ("pedidos", 3, 1_042, Some(1_700), 2);
        ConsumerRecord { topic, partition, offset, key, value, timestamp, headers, attempt }
    }

    fn line(record: &ConsumerRecord<'_>) -> String {
        let mut out = b"before ".to_vec();
        write(&mut out, "17", record);
        String::from_utf8(out).unwrap().strip_prefix("before ").unwrap().to_owned()
    }

    /// The line as a program reads it.
    fn read(record: &ConsumerRecord<'_>) -> Value {
        let line = line(record);
        assert!(!line.contains(['\n', '\r', '\u{2028}', '\u{2029}']), "{line}");
        serde_json::from_str(&line).unwrap()
    }

    #[test]
    fn the_fields_come_in_their_order() {
        let headers = OwnHeaders::new([("a", Some(&b"b"[..]))]);
        let line = line(&record(Some(b"k"), Some(b"{\"b\":1, \"a\":1.00}"), headers.borrowed()));
        let expected = r#"{"id":"17","topic":"pedidos","partition":3,"offset":1042,"key":"k","headers":[{"name":"a","value":"b"}],"timestamp":1700,"attempt":2,"encoding":"json","value":{"b":1, "a":1.00}}"#;
        assert_eq!(line, expected);
    }

    #[test]
    fn what_is_stored_is_json_text_or_base64() {
        let stored = |value: Option<&[u8]>, timestamp| {
            let headers = OwnHeaders::new([("a", Some(&b"b"[..]))]);
            let record = Record { offset: 7, timestamp, key: Some(b"k"), value, headers: headers.borrowed() };
            let mut out = Vec::new();
            write_stored(&mut out, "pedidos", 3, &record);
            String::from_utf8(out).unwrap()
        };
        let expected = r#"{"topic":"pedidos","partition":3,"offset":7,"timestamp":9,"key":"k","headers":[{"name":"a","value":"b"}],"encoding":"json","value":{"b": 1}}"#;
        assert_eq!(stored(Some(b"{\"b\": 1}"), 9), expected);
        let mut text = Vec::new();
        let json = Some(&b"{\"n\": 1.00}"[..]);
        let record = Record { offset: 7, timestamp: 9, key: None, value: json, headers: Headers::default() };
        write_stored_as_text(&mut text, "pedidos", 3, &record);
        let read: Value = serde_json::from_slice(&text).unwrap();
        assert_eq!((&read["encoding"], &read["value"]), (&json!("text"), &json!("{\"n\": 1.00}")));
        let ends = [
            (Some(&b"hola\n\"\xe2\x80\xa8"[..]), r#""encoding":"text","value":"hola\n\"\u2028"}"#),
            (Some(b""), r#""encoding":"text","value":""}"#),
            (Some(b"\xff"), r#""encoding":"base64","value":"/w=="}"#),
            (None, r#""encoding":"null","value":null}"#),
        ];
        for (value, end) in ends {
            let line = stored(value, -1);
            assert!(line.ends_with(end) && line.contains(",\"timestamp\":null,"), "{line}");
            serde_json::from_str::<Value>(&line).unwrap();
        }
    }

    #[test]
    fn keys_values_and_times_that_are_not_there_are_null() {
        let none = ConsumerRecord { timestamp: None, ..record(None, None, Headers::default()) };
        let read = read(&none);
        assert_eq!(
            (&read["key"], &read["timestamp"], &read["value"]),
            (&json!(null), &json!(null), &json!(null))
        );
        assert_eq!((&read["encoding"], &read["headers"]), (&json!("null"), &json!([])));
    }

    #[test]
    fn what_is_no_text_or_no_json_is_base64() {
        let bytes = record(Some(&[0xfe, 0]), Some(&[0xff]), Headers::default());
        let found = read(&bytes);
        assert_eq!((&found["key_base64"], found.get("key")), (&json!("/gA="), None));
        assert_eq!((&found["encoding"], &found["value"]), (&json!("base64"), &json!("/w==")));
        for (value, encoded) in [("", ""), ("hola", "aG9sYQ=="), ("1 2", "MSAy"), ("\"a\nb\"", "ImEKYiI=")] {
            let found = read(&record(Some(b""), Some(value.as_bytes()), Headers::default()));
            assert_eq!((&found["encoding"], &found["value"]), (&json!("base64"), &json!(encoded)));
            assert_eq!(found["key"], json!(""), "an empty key is no null");
        }
        let long = vec![0xff; 100_000];
        let found = read(&record(None, Some(&long), Headers::default()));
        assert_eq!(found["value"].as_str().unwrap().len(), 133_336);
    }

    #[test]
    fn a_value_is_the_same_in_one_line() {
        let value = "{\r\n \"a\\n\u{2028}b\" : [ \"\u{2029}€â\" ,\n\n\"\\\"\" ] }\n";
        let key = "uno\n\u{2028}\"dos\"";
        let record = record(Some(key.as_bytes()), Some(value.as_bytes()), Headers::default());
        let found = read(&record);
        assert_eq!(found["value"], serde_json::from_str::<Value>(value).unwrap());
        assert_eq!(found["key"], json!(key));
        let expected = "\"value\":{   \"a\\n\\u2028b\" : [ \"\\u2029€â\" ,  \"\\\"\" ] } }";
        assert!(line(&record).ends_with(expected), "{}", line(&record));
    }

    #[test]
    fn headers_keep_nulls_and_bytes() {
        let given: [(&str, Option<&[u8]>); 4] =
            [("a", Some(b"\"x\"\0")), ("a", None), ("señal", Some(b"\xff\0")), ("", Some(b""))];
        let headers = OwnHeaders::new(given);
        let mut out = Vec::new();
        write_headers(&mut out, headers.borrowed());
        assert!(!out.contains(&0), "JSON escapes NUL, which no environment can hold");
        let expected = json!([
            { "name": "a", "value": "\"x\"\0" },
            { "name": "a", "value": null },
            { "name": "señal", "base64": "/wA=" },
            { "name": "", "value": "" },
        ]);
        assert_eq!(serde_json::from_slice::<Value>(&out).unwrap(), expected);
    }
}
