//! The header fields of a message that is pushed: CloudEvents in binary mode (HTTP binding, 1.0.2), Standard
//! Webhooks, and what the record has beside.

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use ureq::http::Request;

use super::PushSettings;
use crate::consumer::{ConsumerRecord, Payload};
use crate::http_client::percent_encoded;
use crate::message;

/// The most bytes of all header fields; a record whose own make more cannot be sent.
const MAX_BYTES: usize = 64 * 1024;

/// The id of a message, the same in each attempt.
pub fn id(message: &ConsumerRecord<'_>) -> String {
    format!("{}:{}:{}", message.topic, message.partition, message.offset)
}

/// The header fields of a message; `None` if they are too long.
pub fn fields(message: &ConsumerRecord<'_>, settings: &PushSettings) -> Option<Vec<(String, String)>> {
    let source = settings.source.clone().unwrap_or_else(|| format!("/topics/{}", message.topic));
    let mut fields = vec![
        ("ce-specversion".to_owned(), "1.0".to_owned()),
        ("ce-id".to_owned(), encoded(id(message).as_bytes())),
        ("ce-source".to_owned(), encoded(source.as_bytes())),
        ("ce-type".to_owned(), encoded(settings.kind.as_bytes())),
        ("content-type".to_owned(), content_type(message, settings.payload)),
        ("x-kafka-topic".to_owned(), message.topic.to_owned()),
        ("x-kafka-partition".to_owned(), message.partition.to_string()),
        ("x-kafka-offset".to_owned(), message.offset.to_string()),
        ("x-kafka-attempt".to_owned(), message.attempt.to_string()),
    ];
    if let Some(time) = message.timestamp.and_then(time) {
        fields.push(("ce-time".to_owned(), time));
    }
    if let Some(key) = message.key {
        let key = encoded(key);
        // The extension `partitionkey` of CloudEvents may not be empty.
        if !key.is_empty() {
            fields.push(("ce-partitionkey".to_owned(), key.clone()));
        }
        fields.push(("x-kafka-key".to_owned(), key));
    }
    if message.value.is_none() {
        fields.push(("x-kafka-null".to_owned(), "true".to_owned()));
    }
    for (name, value) in message.headers.iter() {
        let name = format!("x-kafka-header-{}", encoded_name(&name));
        fields.push((name, encoded(value.unwrap_or_default())));
    }
    let bytes: usize = fields.iter().map(|(name, value)| name.len() + value.len() + 4).sum();
    (bytes <= MAX_BYTES).then_some(fields)
}

/// The bytes of the longest line of a request's head, with room for its end and for the words around a URL.
pub fn longest_line<T>(request: &Request<T>) -> usize {
    let fields = request.headers().iter().map(|(name, value)| name.as_str().len() + value.len());
    let url = request.uri().to_string().len();
    fields.chain([url]).max().unwrap_or_default() + 64
}

/// What the body is: JSON, else what a header of the record says, else bytes.
fn content_type(message: &ConsumerRecord<'_>, payload: Payload) -> String {
    let value = message.value.unwrap_or_default();
    if payload == Payload::Json || message::check(value).is_ok() {
        return "application/json".to_owned();
    }
    let said = message.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("content-type"));
    match said.and_then(|(_, value)| value) {
        Some(said) if !said.is_empty() && said.iter().all(|byte| (b' '..=b'~').contains(byte)) => {
            String::from_utf8_lossy(said).into_owned()
        }
        _ => "application/octet-stream".to_owned(),
    }
}

/// A time in ms since 1970 as RFC 3339 has it.
fn time(timestamp: i64) -> Option<String> {
    let time = OffsetDateTime::from_unix_timestamp_nanos(i128::from(timestamp) * 1_000_000).ok()?;
    time.format(&Rfc3339).ok()
}

/// Bytes as the value of a field: what is no visible ASCII character, and `"` and `%`, percent-encoded
/// (CloudEvents HTTP binding, 3.1.3.2).
fn encoded(bytes: &[u8]) -> String {
    percent_encoded(bytes, |byte| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'%'))
}

/// The same for the name of a field: `tchar` of RFC 9110 stays, but for `%`.
fn encoded_name(name: &str) -> String {
    let is_plain = |byte: u8| {
        byte.is_ascii_alphanumeric()
            || matches!(
                byte,
                b'!' | b'#'
                    | b'$'
                    | b'&'
                    | b'\''
                    | b'*'
                    | b'+'
                    | b'-'
                    | b'.'
                    | b'^'
                    | b'_'
                    | b'`'
                    | b'|'
                    | b'~'
            )
    };
    percent_encoded(name.as_bytes(), is_plain)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::record::Headers;
    use protocol::records::OwnHeaders;

    fn settings() -> PushSettings {
        PushSettings {
            url: "http://localhost/".to_owned(),
            source: None,
            kind: "order".to_owned(),
            secret_file: None,
            dead_statuses: Vec::new(),
            private: true,
            tls_ca: None,
            connect_timeout: Duration::from_secs(1),
            send_timeout: Duration::from_secs(1),
            timeout: Duration::from_secs(1),
            most: 1,
            payload: Payload::Any,
        }
    }

    fn message(value: Option<&'static [u8]>) -> ConsumerRecord<'static> {
        ConsumerRecord {
            topic: "t",
            partition: 2,
            offset: 7,
            key: None,
            value,
            timestamp: None,
            headers: Headers::default(),
            attempt: 3,
        }
    }

    fn of(message: &ConsumerRecord<'_>) -> Vec<String> {
        let fields = fields(message, &settings()).unwrap();
        fields.into_iter().map(|(name, value)| format!("{name}: {value}")).collect()
    }

    #[test]
    fn a_message_says_its_place_its_attempt_and_what_it_is() {
        let told = of(&ConsumerRecord { timestamp: Some(1_500), ..message(Some(b"{}")) });
        let expected = [
            "ce-specversion: 1.0",
            "ce-id: t:2:7",
            "ce-source: /topics/t",
            "ce-type: order",
            "content-type: application/json",
            "x-kafka-topic: t",
            "x-kafka-partition: 2",
            "x-kafka-offset: 7",
            "x-kafka-attempt: 3",
            "ce-time: 1970-01-01T00:00:01.5Z",
        ];
        assert_eq!(told, expected);
    }

    #[test]
    fn keys_and_headers_are_encoded_so_that_no_byte_is_lost_and_none_breaks_out() {
        let headers = [("café", Some(&b"a b\r\nx: y"[..])), ("none", None), ("%", Some(&b"50%"[..]))];
        let headers = OwnHeaders::new(headers);
        let message =
            ConsumerRecord { key: Some(b"\xff\"1"), headers: headers.borrowed(), ..message(Some(b"1")) };
        let told = of(&message).split_off(9);
        let expected = [
            "ce-partitionkey: %FF%221",
            "x-kafka-key: %FF%221",
            "x-kafka-header-caf%C3%A9: a%20b%0D%0Ax:%20y",
            "x-kafka-header-none: ",
            "x-kafka-header-%25: 50%25",
        ];
        assert_eq!(told, expected);
    }

    #[test]
    fn what_is_no_json_is_told_by_its_header_or_is_bytes_and_null_is_told_from_empty() {
        let has = |message: &ConsumerRecord<'_>, field: &str| of(message).contains(&field.to_owned());
        let said = OwnHeaders::new([("Content-Type", Some(&b"text/plain"[..]))]);
        let text = ConsumerRecord { headers: said.borrowed(), ..message(Some(b"hello")) };
        assert!(has(&text, "content-type: text/plain"));
        assert!(has(&message(Some(b"")), "content-type: application/octet-stream"));
        assert!(has(&message(None), "x-kafka-null: true"));
        assert!(!has(&message(Some(b"")), "x-kafka-null: true"));
    }

    #[test]
    fn headers_that_no_server_takes_are_not_sent() {
        let long = vec![b'x'; MAX_BYTES];
        let headers = OwnHeaders::new([("long", Some(long.as_slice()))]);
        let message = ConsumerRecord { headers: headers.borrowed(), ..message(Some(b"1")) };
        assert!(fields(&message, &settings()).is_none());
    }
}
