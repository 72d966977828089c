//! The records of a body, `{"records":[{"key","value","partition","headers","timestamp"}]}`.

use std::fmt;
use std::time::Instant;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde::de::{Deserializer, Error, IgnoredAny, SeqAccess, Visitor};
use serde_json::Number;
use serde_json::value::RawValue;

use super::media::{Encoding, Format};
use crate::http::api::json::{self, MAX_DEPTH};
use crate::http::api::record_fields::MAX_HEADERS;
use crate::http::response::Response;
use crate::message;
use crate::producer::{PartitionChoice, ProducerRecord};

/// The most records in one request.
pub(crate) const MAX_RECORDS: usize = 10_000;

/// The levels around a value: the body's object, its array, the record's object.
const OUTER_DEPTH: usize = 3;

/// The longest sentence about the bytes of a client, in characters.
const SHOWN: usize = 200;

/// The records of a body, all with this deadline; `partition` is the one in the path.
///
/// # Errors
/// The response to a body that is not JSON, or not a list of records, or too long a list.
pub(super) fn parse_body(
    body: &[u8],
    encoding: Encoding,
    partition: Option<i32>,
    deadline: Instant,
) -> Result<Vec<ProducerRecord>, Response> {
    json::check_body(body, MAX_DEPTH + OUTER_DEPTH)?;
    parse(body, encoding, partition, deadline)
}

/// Parses as [`parse_body`] does, for a body that is known to be JSON.
fn parse(
    body: &[u8],
    encoding: Encoding,
    partition: Option<i32>,
    deadline: Instant,
) -> Result<Vec<ProducerRecord>, Response> {
    let body: Body<'_> = object(body).map_err(|why| wrong(&format!("the body {why}")))?;
    if [body.key_schema, body.key_schema_id, body.value_schema, body.value_schema_id]
        .iter()
        .any(Option::is_some)
    {
        return Err(unprocessable("there is no schema registry here, so a schema cannot be given"));
    }
    let Some(List { items, over }) = body.records else {
        return Err(unprocessable("the body has no `records`"));
    };
    if over {
        return Err(too_many("records", MAX_RECORDS));
    }
    if items.is_empty() {
        return Err(unprocessable("`records` is empty"));
    }
    let mut headers = 0;
    let one = |(index, record): (usize, &RawValue)| {
        let of = |why: String| wrong(&format!("records[{index}] {why}"));
        let record: Record<'_> = object(record.get().as_bytes()).map_err(of)?;
        headers += record.headers.as_ref().map_or(0, List::capped_len);
        if headers > MAX_HEADERS {
            return Err(too_many("headers", MAX_HEADERS));
        }
        record.outgoing(encoding, partition, deadline).map_err(of)
    };
    items.into_iter().enumerate().map(one).collect()
}

/// The records, if the value of each is JSON: for the channel's topic, whose consumers take no other.
///
/// # Errors
/// 422: one of them is not.
pub(super) fn only_json(records: Vec<ProducerRecord>) -> Result<Vec<ProducerRecord>, Response> {
    let refused = records.iter().enumerate().find_map(|(index, record)| {
        let why = message::check_value(record.value.as_deref()).err()?;
        Some(unprocessable(&format!(
            "the channel's consumers take JSON alone (consumer.payload), and the value of records[{index}] is {why}"
        )))
    });
    refused.map_or(Ok(records), Err)
}

/// 413: more records or headers than one request may have.
fn too_many(what: &str, most: usize) -> Response {
    let sentence = format!("A request may have {most} {what} at most; nothing was stored.");
    Response::error(413, &format!("too_many_{what}"), &sentence)
}

/// 400: JSON that does not have the shape of records.
fn wrong(why: &str) -> Response {
    refused(400, why)
}

/// 422: a body of the right shape without records, or with what this server does not have.
fn unprocessable(why: &str) -> Response {
    refused(422, why)
}

fn refused(status: u16, why: &str) -> Response {
    let mut why: String = why.chars().take(SHOWN).collect();
    if !why.ends_with('.') {
        why.push('.');
    }
    Response::error(status, "bad_records", &format!("Nothing was stored: {why}"))
}

/// Deserializes an object; serde alone would also take an array of the fields in their order.
fn object<'a, T: Deserialize<'a>>(json: &'a [u8]) -> Result<T, String> {
    if !json.trim_ascii_start().starts_with(b"{") {
        return Err("must be an object".to_owned());
    }
    serde_json::from_slice(json).map_err(|error| format!("has the wrong shape: {error}"))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Body<'a> {
    #[serde(borrow)]
    records: Option<List<'a, MAX_RECORDS>>,
    key_schema: Option<IgnoredAny>,
    key_schema_id: Option<IgnoredAny>,
    value_schema: Option<IgnoredAny>,
    value_schema_id: Option<IgnoredAny>,
}

/// Up to `MOST` items of an array; no memory is allocated for more.
struct List<'a, const MOST: usize> {
    items: Vec<&'a RawValue>,
    over: bool,
}

impl<const MOST: usize> List<'_, MOST> {
    /// The number of items; `MOST + 1` if there are more than `MOST`.
    fn capped_len(&self) -> usize {
        self.items.len() + usize::from(self.over)
    }
}

impl<'de: 'a, 'a, const MOST: usize> Deserialize<'de> for List<'a, MOST> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<List<'a, MOST>, D::Error> {
        struct Collect<const MOST: usize>;
        impl<'de, const MOST: usize> Visitor<'de> for Collect<MOST> {
            type Value = List<'de, MOST>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an array")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut values: A) -> Result<List<'de, MOST>, A::Error> {
                let mut items = Vec::new();
                while let Some(item) = values.next_element()? {
                    if items.len() == MOST {
                        while values.next_element::<IgnoredAny>()?.is_some() {}
                        return Ok(List { items, over: true });
                    }
                    items.push(item);
                }
                Ok(List { items, over: false })
            }
        }
        deserializer.deserialize_seq(Collect)
    }
}

/// A record of the body; JSON's null is `None`. A value has to be there: without that a typing error in its
/// name would make a tombstone.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Record<'a> {
    #[serde(borrow)]
    key: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "given")]
    value: Option<Option<&'a RawValue>>,
    #[serde(default, deserialize_with = "integer")]
    partition: Option<i32>,
    #[serde(borrow)]
    headers: Option<List<'a, MAX_HEADERS>>,
    #[serde(default, deserialize_with = "integer")]
    timestamp: Option<i64>,
}

/// A field that is there, null or not.
fn given<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

/// An integer, or null. As in JSON Schema (Validation §6.1.1), `7.0` is one: there are programs that write it
/// so.
fn integer<'de, D: Deserializer<'de>, T: TryFrom<i64>>(deserializer: D) -> Result<Option<T>, D::Error> {
    const EXACT: f64 = 9_007_199_254_740_992.0; // 2^53: beyond it a double is no longer one integer
    let Some(number) = Option::<Number>::deserialize(deserializer)? else { return Ok(None) };
    let whole = |number: f64| (number.fract() == 0.0 && number.abs() <= EXACT).then_some(number as i64);
    let integer = number.as_i64().or_else(|| number.as_f64().and_then(whole));
    let integer = integer.and_then(|integer| T::try_from(integer).ok());
    integer.map(Some).ok_or_else(|| D::Error::custom(format_args!("{number} is no integer of this size")))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    key: String,
    value: Option<String>,
}

impl Record<'_> {
    fn outgoing(
        self,
        encoding: Encoding,
        partition: Option<i32>,
        deadline: Instant,
    ) -> Result<ProducerRecord, String> {
        let bytes = |name: &str, json: Option<&RawValue>, format| {
            let bytes = json.map(|json| bytes_of(json.get(), format)).transpose();
            bytes.map_err(|why| format!("has a `{name}` that {why}"))
        };
        let value = self.value.ok_or_else(|| "has no `value`; null is a tombstone".to_owned())?;
        let partition = match (self.partition, partition) {
            (Some(_), Some(_)) => return Err("has a `partition` though the path has one".to_owned()),
            (Some(number), None) if number < 0 => return Err("has a negative `partition`".to_owned()),
            (Some(number), None) | (None, Some(number)) => PartitionChoice::Only(number),
            (None, None) => PartitionChoice::ByKey,
        };
        if self.timestamp.is_some_and(|timestamp| timestamp < 0) {
            return Err("has a negative `timestamp`".to_owned());
        }
        let headers = self.headers.into_iter().flat_map(|list| list.items).enumerate().map(header);
        Ok(ProducerRecord {
            key: bytes("key", self.key, encoding.keys)?,
            value: bytes("value", value, encoding.values)?,
            headers: headers.collect::<Result<_, _>>()?,
            timestamp: self.timestamp,
            partition,
            deadline,
            request: None,
        })
    }
}

fn header((index, json): (usize, &RawValue)) -> Result<(String, Option<Vec<u8>>), String> {
    let of = |why: String| format!("has a header, headers[{index}], that {why}");
    let Header { key, value } = object(json.get().as_bytes()).map_err(of)?;
    let value = value.map(|value| from_base64(&value)).transpose();
    Ok((key, value.map_err(|why| of(format!("has a `value` that {why}")))?))
}

/// The bytes of a key or value in this format.
fn bytes_of(json: &str, format: Format) -> Result<Vec<u8>, String> {
    let text = || serde_json::from_str::<String>(json);
    match format {
        Format::Json => Ok(json.as_bytes().to_vec()),
        Format::Text => text().map(String::into_bytes).map_err(|_| "is not a string".to_owned()),
        Format::Binary => {
            text().map_err(|_| "is not base64 in a string".to_owned()).and_then(|text| from_base64(&text))
        }
    }
}

fn from_base64(text: &str) -> Result<Vec<u8>, String> {
    STANDARD.decode(text).map_err(|error| format!("is not base64 (RFC 4648 §4): {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &str, format: Format) -> Result<Vec<ProducerRecord>, Response> {
        parse(body.as_bytes(), Encoding { keys: format, values: format }, None, Instant::now())
    }

    fn one(record: &str, format: Format) -> ProducerRecord {
        let mut records = read(&format!("{{\"records\":[{record}]}}"), format).unwrap();
        assert_eq!(records.len(), 1);
        records.remove(0)
    }

    #[test]
    fn json_keys_and_values_are_kept_byte_for_byte() {
        for value in [
            "1.00",
            "-0",
            "true",
            "\"a\\u00e9\\/\"",
            "[ 1 , {\"b\" :2,\"b\":3}]",
            "12345678901234567890123",
            "{\n \"a\" : null }",
        ] {
            let record = one(&format!("{{\"value\" :  {value} , \"key\":{value}}}"), Format::Json);
            assert_eq!(record.value.as_deref(), Some(value.as_bytes()));
            assert_eq!(record.key.as_deref(), Some(value.as_bytes()));
        }
        for format in [Format::Json, Format::Binary, Format::Text] {
            for record in
                [r#"{"value":null,"key":null}"#, r#"{"value":null, "headers": null, "partition":null}"#]
            {
                let record = one(record, format);
                assert_eq!(
                    (record.key, record.value, record.partition),
                    (None, None, PartitionChoice::ByKey)
                );
            }
        }
    }

    #[test]
    fn binary_is_base64_and_text_is_text() {
        let record = one(r#"{"key":"","value":"AP8\u003d"}"#, Format::Binary);
        assert_eq!((record.key, record.value), (Some(vec![]), Some(vec![0, 255])));
        let record = one(r#"{"key":"","value":"a\u00f1\n\""}"#, Format::Text);
        assert_eq!((record.key, record.value), (Some(vec![]), Some("añ\n\"".as_bytes().to_vec())));
    }

    #[test]
    fn a_key_can_be_text_beside_a_value_that_is_json() {
        let encoding = Encoding { keys: Format::Text, values: Format::Json };
        let parse = |body: &str| parse(body.as_bytes(), encoding, None, Instant::now());
        let records = parse(r#"{"records":[{"key":"a","value":"a"}]}"#).unwrap();
        assert_eq!(
            (records[0].key.as_deref(), records[0].value.as_deref()),
            (Some(&b"a"[..]), Some(&b"\"a\""[..]))
        );
        assert_eq!(parse(r#"{"records":[{"key":1,"value":1}]}"#).err().map(|a| a.status), Some(400));
    }

    #[test]
    fn headers_partition_and_time_are_taken() {
        let headers =
            r#"[{"key":"a","value":"AA=="},{"key":"a","value":null},{"key":"a"},{"key":"","value":""}]"#;
        let record =
            format!(r#"{{"value":null,"headers":{headers},"partition":3,"timestamp":1700000000123}}"#);
        let record = one(&record, Format::Text);
        let name = || "a".to_owned();
        let expected =
            vec![(name(), Some(vec![0])), (name(), None), (name(), None), (String::new(), Some(vec![]))];
        assert_eq!(record.headers, expected);
        assert_eq!((record.partition, record.timestamp), (PartitionChoice::Only(3), Some(1_700_000_000_123)));
        let record = one(r#"{"value":null,"partition":3.0,"timestamp":1.7e12}"#, Format::Text);
        assert_eq!((record.partition, record.timestamp), (PartitionChoice::Only(3), Some(1_700_000_000_000)));
    }

    #[test]
    fn a_body_without_a_list_of_records_is_refused() {
        let long = format!("{{\"{}\":1}}", "x".repeat(10_000));
        for body in [
            "[]",
            "1",
            "null",
            "\"records\"",
            "[[{\"value\":1}]]",
            r#"{"records":{}}"#,
            r#"{"records":"x"}"#,
            r#"{"records":[1]}"#,
            r#"{"records":[null]}"#,
            r#"{"records":[["a",1]]}"#,
            r#"{"records":[{},[]]}"#,
            r#"{"records":[{}],"records":[{}]}"#,
            r#"{"Records":[{}]}"#,
            r#"{"records":[{}],"other":1}"#,
            r#"{"records":[{"values":1}]}"#,
            r#"{"records":[{"value":1,"value":1}]}"#,
            r#"{"records":[{"partition":-1}]}"#,
            r#"{"records":[{"partition":"0"}]}"#,
            r#"{"records":[{"partition":0.5}]}"#,
            r#"{"records":[{"partition":2147483648}]}"#,
            r#"{"records":[{"timestamp":-1}]}"#,
            r#"{"records":[{"timestamp":1.5}]}"#,
            r#"{"records":[{"timestamp":1e300}]}"#,
            r#"{"records":[{"partition":2147483648.0}]}"#,
            r#"{"records":[{"timestamp":"now"}]}"#,
            r#"{"records":[{"timestamp":9223372036854775808}]}"#,
            r#"{"records":[{"headers":{"a":"AA=="}}]}"#,
            r#"{"records":[{"headers":[["a","AA=="]]}]}"#,
            r#"{"records":[{"headers":[{"value":"AA=="}]}]}"#,
            r#"{"records":[{"headers":[{"key":null}]}]}"#,
            r#"{"records":[{"headers":[{"key":"a","value":"%"}]}]}"#,
            r#"{"records":[{"headers":[{"key":"a","value":1}]}]}"#,
            r#"{"records":[{"headers":[{"key":"a","name":"b"}]}]}"#,
            &long,
        ] {
            let Err(refused) = read(body, Format::Json) else { panic!("{body} was taken") };
            assert_eq!(refused.status, 400, "{body}");
            assert!(refused.body.len() < 1_000, "{body}");
        }
        for body in [
            "{}",
            r#"{"records":null}"#,
            r#"{"records":[]}"#,
            r#"{"records":[{"value":1}],"value_schema":"{}"}"#,
            r#"{"records":[{"value":1}],"key_schema_id":1}"#,
        ] {
            assert_eq!(read(body, Format::Json).err().map(|refused| refused.status), Some(422), "{body}");
        }
        for value in ["1", "true", "{}", "[\"AA==\"]", "\"A\"", "\"A_==\"", "\"AA\"", "\"AA==\\n\""] {
            for field in ["key", "value"] {
                let body = format!("{{\"records\":[{{\"value\":null,\"{field}\":{value}}}]}}")
                    .replace("null,\"value\":", "");
                assert_eq!(read(&body, Format::Binary).err().map(|a| a.status), Some(400), "{body}");
            }
        }
        assert!(read(r#"{"records":[{"value":1}]}"#, Format::Text).is_err());
        assert!(read(r#"{"records":[{"value":1}],"value_schema":null}"#, Format::Json).is_ok());
    }

    #[test]
    fn the_sentence_names_the_record_and_the_error() {
        let Err(refused) = read(r#"{"records":[{"value":1},{"value":1,"partition":-7}]}"#, Format::Json)
        else {
            panic!()
        };
        let body: serde_json::Value = serde_json::from_slice(&refused.body).unwrap();
        assert_eq!(body["message"], "Nothing was stored: records[1] has a negative `partition`.");
        assert_eq!(body["error_code"], 400);
    }

    #[test]
    fn a_partition_in_the_path_holds_for_every_record_and_excludes_others() {
        let encoding = Encoding { keys: Format::Json, values: Format::Json };
        let parse = |body: &str| parse(body.as_bytes(), encoding, Some(2), Instant::now());
        let records = parse(r#"{"records":[{"value":1},{"value":1,"partition":null}]}"#).unwrap();
        assert!(records.iter().all(|record| record.partition == PartitionChoice::Only(2)));
        assert_eq!(parse(r#"{"records":[{"value":1,"partition":2}]}"#).err().map(|a| a.status), Some(400));
    }

    #[test]
    fn the_number_of_records_is_limited() {
        let body = |count: usize| format!("{{\"records\":[{}]}}", vec![r#"{"value":1}"#; count].join(","));
        assert_eq!(read(&body(MAX_RECORDS), Format::Json).unwrap().len(), MAX_RECORDS);
        let refused = read(&body(MAX_RECORDS + 1), Format::Json).err().map(|answer| answer.status);
        assert_eq!(refused, Some(413));
    }

    #[test]
    fn the_headers_of_all_records_together_are_limited() {
        let record = |count: usize| {
            let headers = vec![r#"{"key":""}"#; count].join(",");
            format!("{{\"value\":null,\"headers\":[{headers}]}}")
        };
        let body = |counts: &[usize]| {
            let records: Vec<String> = counts.iter().map(|count| record(*count)).collect();
            format!("{{\"records\":[{}]}}", records.join(","))
        };
        for counts in [&[MAX_HEADERS][..], &[MAX_HEADERS - 1, 0, 1]] {
            assert_eq!(read(&body(counts), Format::Json).unwrap().len(), counts.len());
        }
        for counts in [&[MAX_HEADERS + 1][..], &[MAX_HEADERS, 0, 1], &[2 * MAX_HEADERS, MAX_HEADERS]] {
            let Err(refused) = read(&body(counts), Format::Json) else { panic!("{counts:?} were taken") };
            assert_eq!(refused.status, 413, "{counts:?}");
        }
    }
}
