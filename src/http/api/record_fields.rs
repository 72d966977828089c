//! What the headers of a request say of the records in its body: their key, and headers of theirs.

use super::media_type;
use super::uri;
use crate::http::handed_on::{CLOUD_EVENT, KEY, RECORD_HEADER, TRACE_CONTEXT, after_prefix};
use crate::http::response::{ErrorResponse, Response};

const TWO_KEYS: ErrorResponse = ErrorResponse::new(
    400,
    "bad_key",
    "The request has its key twice: give `key` in the query, or one X-Key header.",
);

/// The most headers that the records of one request have together: a body of headers alone, or a few headers
/// of many records, would occupy the handlers' thread for seconds.
pub(crate) const MAX_HEADERS: usize = 10_000;
/// The most bytes of those that come from the request's own.
const MOST_HEADER_BYTES: usize = 4 * 1024 * 1024;

/// A header of a record.
pub(crate) type RecordHeader = (String, Option<Vec<u8>>);

/// What a request's headers say of its records.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct RecordFields {
    /// The value of `X-Key`; an empty one is none.
    pub(crate) key: Option<Vec<u8>>,
    /// The headers of the request that each record gets.
    pub(crate) headers: Vec<RecordHeader>,
}

impl RecordFields {
    /// Reads the headers of a request, names and values.
    ///
    /// # Errors
    /// 400: `X-Key` is given twice, or an attribute of a CloudEvent is not encoded as its HTTP binding says.
    pub(crate) fn read<'a>(
        request: impl Iterator<Item = (&'a str, &'a str)>,
        content_type: Option<&str>,
    ) -> Result<RecordFields, Response> {
        let mut fields = RecordFields::default();
        let (mut has_key, mut is_event) = (false, false);
        for (name, value) in request {
            let bytes = || Some(value.as_bytes().to_vec());
            if let Some(known) = TRACE_CONTEXT.iter().find(|known| name.eq_ignore_ascii_case(known)) {
                fields.headers.push(((*known).to_owned(), bytes()));
            } else if let Some(rest) = after_prefix(name, RECORD_HEADER) {
                fields.headers.push((rest.to_owned(), bytes()));
            } else if let Some(attribute) = after_prefix(name, CLOUD_EVENT) {
                is_event = true;
                fields.headers.push(event_attribute(attribute, value)?);
            } else if name.eq_ignore_ascii_case(KEY) {
                if std::mem::replace(&mut has_key, true) {
                    return Err(TWO_KEYS.response());
                }
                fields.key = bytes().filter(|key| !key.is_empty());
            }
        }
        let content_type =
            content_type.filter(|value| is_event || media_type::is(value, media_type::CLOUD_EVENT));
        fields
            .headers
            .extend(content_type.map(|value| ("content-type".to_owned(), Some(value.as_bytes().to_vec()))));
        Ok(fields)
    }

    /// Checks that so many records can have them: each record has a copy.
    ///
    /// # Errors
    /// 413: all together they would be too many, or too large.
    pub(crate) fn check_copies(&self, records: usize) -> Result<(), Response> {
        let length = |(name, value): &RecordHeader| name.len() + value.as_ref().map_or(0, Vec::len);
        let bytes = self.headers.iter().map(length).sum::<usize>() + self.key.as_ref().map_or(0, Vec::len);
        let fits = self.headers.len().saturating_mul(records) <= MAX_HEADERS
            && bytes.saturating_mul(records) <= MOST_HEADER_BYTES;
        let sentence = "Each record of the request would have its headers: together they are too many or too large; \
                        send fewer records, or fewer headers. Nothing was stored.";
        if fits { Ok(()) } else { Err(Response::error(413, "too_many_headers", sentence)) }
    }

    /// The key, where the query may have one, too.
    ///
    /// # Errors
    /// 400: both have one.
    pub(crate) fn key(&self, in_query: Option<Vec<u8>>) -> Result<Option<Vec<u8>>, Response> {
        match (&self.key, in_query) {
            (Some(_), Some(_)) => Err(TWO_KEYS.response()),
            (Some(key), None) => Ok(Some(key.clone())),
            (None, in_query) => Ok(in_query),
        }
    }
}

/// An attribute of a CloudEvent: percent-encoded in HTTP (HTTP Protocol Binding §3.1.3.2), plain in Kafka,
/// under a name with an underscore (Kafka Protocol Binding §3.2.3.1).
fn event_attribute(name: &str, value: &str) -> Result<RecordHeader, Response> {
    let sentence =
        || format!("The header ce-{name} is not percent-encoded UTF-8 (CloudEvents' HTTP binding).");
    let decoded = uri::segment(value).ok_or_else(|| Response::error(400, "bad_event", &sentence()))?;
    Ok((format!("ce_{}", name.to_ascii_lowercase()), Some(decoded.into_bytes())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(headers: &[(&str, &str)], content_type: Option<&str>) -> Result<RecordFields, Response> {
        RecordFields::read(headers.iter().copied(), content_type)
    }

    fn shown(fields: &RecordFields) -> Vec<(&str, String)> {
        let text = |value: &Option<Vec<u8>>| String::from_utf8(value.clone().unwrap()).unwrap();
        fields.headers.iter().map(|(name, value)| (name.as_str(), text(value))).collect()
    }

    #[test]
    fn trace_context_events_and_named_headers_become_headers_of_the_record() {
        let headers = [
            ("TraceParent", "00-0af7-b7ad-01"),
            ("tracestate", "a=1"),
            ("tracestate", "b=2"),
            ("X-Kafka-Header-Origen", "web"),
            ("CE-Id", "7"),
            ("ce-subject", "a%20%C3%B1+"),
            ("cookie", "secret"),
        ];
        let fields = read(&headers, Some("application/json")).unwrap();
        let expected = [
            ("traceparent", "00-0af7-b7ad-01"),
            ("tracestate", "a=1"),
            ("tracestate", "b=2"),
            ("Origen", "web"),
            ("ce_id", "7"),
            ("ce_subject", "a ñ+"),
            ("content-type", "application/json"),
        ];
        assert_eq!(shown(&fields), expected.map(|(name, value)| (name, value.to_owned())));
        assert_eq!(read(&[("ce-id", "%")], None).unwrap_err().status, 400);
    }

    #[test]
    fn the_media_type_of_an_event_is_a_header_and_no_other() {
        let structured = "application/cloudevents+json; charset=utf-8";
        let fields = read(&[], Some(structured)).unwrap();
        assert_eq!(shown(&fields), [("content-type", structured.to_owned())]);
        assert_eq!(read(&[], Some("application/json")).unwrap(), RecordFields::default());
    }

    #[test]
    fn a_requests_headers_are_not_multiplied_without_bound() {
        let long = "x".repeat(1_000);
        let fields = read(&[("baggage", long.as_str()), ("tracestate", "a=1")], None).unwrap();
        assert!(fields.check_copies(4_000).is_ok());
        assert_eq!(fields.check_copies(4_500).unwrap_err().status, 413, "bytes");
        let fields = read(&[("baggage", "a"), ("tracestate", "a=1")], None).unwrap();
        assert_eq!(fields.check_copies(5_001).unwrap_err().status, 413, "headers");
    }

    #[test]
    fn a_key_is_given_once() {
        let key = |value: &str| Some(value.as_bytes().to_vec());
        assert_eq!(read(&[("x-key", "c7")], None).unwrap().key(None).unwrap(), key("c7"));
        assert_eq!(read(&[("X-Key", "")], None).unwrap().key(key("q")).unwrap(), key("q"));
        assert_eq!(read(&[("x-key", "a"), ("x-key", "a")], None).unwrap_err().status, 400);
        assert_eq!(read(&[("x-key", "a")], None).unwrap().key(key("a")).unwrap_err().status, 400);
    }
}
