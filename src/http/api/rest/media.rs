//! The media types of records: they tell how keys and values are encoded in the body's JSON.
//!
//! Version 1 of the API has other names for the same bodies; a type without a format is binary, as in
//! Confluent's proxy and Karapace.

use crate::http::api::media_type;
use crate::http::response::Response;

/// The encoding of keys and values in the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    /// Keys and values are JSON; their bytes are those of the body.
    Json,
    /// Keys and values are base64 in strings.
    Binary,
    /// Keys and values are strings; their bytes are UTF-8.
    Text,
}

/// The encoding of the keys in a body, and that of the values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Encoding {
    pub(super) keys: Format,
    pub(super) values: Format,
}

const TYPES: [(&str, Format); 11] = [
    ("application/vnd.kafka.json.v2+json", Format::Json),
    ("application/vnd.kafka.binary.v2+json", Format::Binary),
    ("application/vnd.kafka.text.v2+json", Format::Text),
    ("application/json", Format::Json),
    ("application/vnd.kafka.v2+json", Format::Binary),
    ("application/vnd.kafka.json.v1+json", Format::Json),
    ("application/vnd.kafka.binary.v1+json", Format::Binary),
    ("application/vnd.kafka.v1+json", Format::Binary),
    ("application/vnd.kafka.json+json", Format::Json),
    ("application/vnd.kafka.binary+json", Format::Binary),
    ("application/vnd.kafka+json", Format::Binary),
];

/// The format of a `Content-Type`, if it is a known one. Parameters, such as a charset, change nothing: JSON
/// is UTF-8 (RFC 8259 §8.1).
pub(super) fn format_of(content_type: &str) -> Option<Format> {
    let name = media_type::name_of(content_type);
    TYPES.iter().find(|(known, _)| name.eq_ignore_ascii_case(known)).map(|(_, format)| *format)
}

/// 400: the response to an unknown `Content-Type`, or none.
pub(super) fn unsupported() -> Response {
    let names = TYPES.map(|(name, _)| name).join(", ");
    Response::error(400, "media_type", &format!("Records come with one of these as Content-Type: {names}."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_is_known_in_any_case_and_with_parameters() {
        for (text, format) in [
            ("application/json", Some(Format::Json)),
            ("Application/Vnd.Kafka.JSON.v2+json; charset=utf-8", Some(Format::Json)),
            ("application/vnd.kafka.binary.v2+json;charset=\"x\"", Some(Format::Binary)),
            (" application/vnd.kafka.text.v2+json ;", Some(Format::Text)),
            ("application/vnd.kafka.avro.v2+json", None),
            ("application/vnd.kafka.json.v1+json", Some(Format::Json)),
            ("application/vnd.kafka.v2+json", Some(Format::Binary)),
            ("application/vnd.kafka.v3+json", None),
            ("application/vnd.kafka.json+avro", None),
            ("application/x-www-form-urlencoded", None),
            ("application/jsonx", None),
            ("", None),
        ] {
            assert_eq!(format_of(text), format, "{text:?}");
        }
    }
}
