//! A message as `kcat -J` prints it, a JSON object in one line.
//!
//! The fields are those of kcat's `json.c`: `topic`, `partition`, `offset`, `tstype`, `ts`, `broker`,
//! `headers`, `key`, `payload`, and with Avro `key_schema_id`, `value_schema_id`, `key_error` and
//! `payload_error`.

use std::fmt;

use serde::de::{DeserializeSeed, Error, IgnoredAny, MapAccess, SeqAccess, Unexpected, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::producer::ProducerRecord;
use crate::text::beginning;

/// A message's headers.
pub type Headers = Vec<(String, Option<Vec<u8>>)>;

/// The most headers of a message, as many as the REST endpoint takes.
const MAX_HEADERS: usize = 10_000;
/// The most that is said of what is wrong: it may quote the line.
const REASON_BYTES: usize = 512;

/// Fields that begin with `_` say where the message was, and are not sent.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Envelope<'a> {
    #[serde(borrow)]
    key: Option<&'a RawValue>,
    #[serde(borrow)]
    payload: &'a RawValue,
    headers: Option<HeaderList>,
    key_error: Option<String>,
    payload_error: Option<String>,
    #[serde(rename = "topic")]
    _topic: Option<IgnoredAny>,
    #[serde(rename = "partition")]
    _partition: Option<IgnoredAny>,
    #[serde(rename = "offset")]
    _offset: Option<IgnoredAny>,
    #[serde(rename = "tstype")]
    _timestamp_type: Option<IgnoredAny>,
    #[serde(rename = "ts")]
    _timestamp: Option<IgnoredAny>,
    #[serde(rename = "broker")]
    _broker: Option<IgnoredAny>,
    #[serde(rename = "key_schema_id")]
    _key_schema: Option<IgnoredAny>,
    #[serde(rename = "value_schema_id")]
    _value_schema: Option<IgnoredAny>,
}

/// Reads a line. A payload of null is a null value.
///
/// # Errors
/// It has another form; the sentence says what is wrong.
pub fn read(line: &[u8]) -> Result<ProducerRecord, String> {
    // serde alone would also take an array of the fields in their order.
    if !line.trim_ascii_start().starts_with(b"{") {
        return Err(wrong("it is no object"));
    }
    let envelope: Envelope<'_> = serde_json::from_slice(line).map_err(|error| wrong(&error.to_string()))?;
    if let Some(error) = envelope.key_error.or(envelope.payload_error) {
        return Err(format!("kcat could not read the message: {error}"));
    }
    let mut record = ProducerRecord::of(Vec::new());
    record.value = bytes(envelope.payload)?;
    record.key = envelope.key.map(bytes).transpose()?.flatten();
    record.headers = envelope.headers.map(|HeaderList(headers)| headers).unwrap_or_default();
    Ok(record)
}

fn wrong(why: &str) -> String {
    format!("not a message as kcat -J prints it: {}", beginning(why, REASON_BYTES))
}

/// A text stands for its bytes. What is neither text nor null was decoded by kcat (`-s avro`), and is JSON.
fn bytes(json: &RawValue) -> Result<Option<Vec<u8>>, String> {
    match json.get() {
        "null" => Ok(None),
        text if text.starts_with('"') => {
            let text: String = serde_json::from_str(text).map_err(|error| wrong(&error.to_string()))?;
            Ok(Some(text.into_bytes()))
        }
        json => Ok(Some(json.as_bytes().to_vec())),
    }
}

/// Names and values in turn, or an object, whose values may be lists. Nothing is read behind the first that
/// is wrong.
#[derive(Default)]
struct HeaderList(Headers);

impl HeaderList {
    fn add<E: Error>(&mut self, name: String, value: Option<String>) -> Result<(), E> {
        if self.0.len() == MAX_HEADERS {
            return Err(E::custom(format_args!("it has more than {MAX_HEADERS} headers")));
        }
        self.0.push((name, value.map(String::into_bytes)));
        Ok(())
    }
}

impl<'de> Deserialize<'de> for HeaderList {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<HeaderList, D::Error> {
        deserializer.deserialize_any(HeaderList::default())
    }
}

impl<'de> Visitor<'de> for HeaderList {
    type Value = HeaderList;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list or an object of headers")
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut list: A) -> Result<HeaderList, A::Error> {
        while let Some(name) = list.next_element_seed(Part::Name)? {
            let Some(value) = list.next_element_seed(Part::Value)? else {
                return Err(A::Error::custom("the last header has no value"));
            };
            self.add(name.unwrap_or_default(), value)?;
        }
        Ok(self)
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut object: A) -> Result<HeaderList, A::Error> {
        while let Some(name) = object.next_key()? {
            object.next_value_seed(Values { name, headers: &mut self })?;
        }
        Ok(self)
    }
}

/// A header's name, or its value.
#[derive(Clone, Copy)]
enum Part {
    Name,
    Value,
}

impl<'de> DeserializeSeed<'de> for Part {
    type Value = Option<String>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Option<String>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Part {
    type Value = Option<String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Part::Name => "a header's name, a text",
            Part::Value => "a header's value, a text or null",
        })
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Option<String>, E> {
        Ok(Some(text.to_owned()))
    }

    fn visit_unit<E: Error>(self) -> Result<Option<String>, E> {
        match self {
            Part::Name => Err(E::invalid_type(Unexpected::Unit, &self)),
            Part::Value => Ok(None),
        }
    }
}

/// What an object has under a header's name: a value, or a list of some.
struct Values<'a> {
    name: String,
    headers: &'a mut HeaderList,
}

impl<'de> DeserializeSeed<'de> for Values<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Values<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a header's value, a text or null, or a list of them")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        self.headers.add(self.name, Some(text.to_owned()))
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        self.headers.add(self.name, None)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        while let Some(value) = list.next_element_seed(Part::Value)? {
            self.headers.add(self.name.clone(), value)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Parts = (Option<String>, Option<String>, Vec<(String, Option<String>)>);

    fn parts(line: &str) -> Result<Parts, String> {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        let record = read(line.as_bytes())?;
        let headers = record.headers.into_iter().map(|(name, value)| (name, value.map(text))).collect();
        Ok((record.key.map(text), record.value.map(text), headers))
    }

    fn header(name: &str, value: Option<&str>) -> (String, Option<String>) {
        (name.to_owned(), value.map(str::to_owned))
    }

    #[test]
    fn key_payload_and_headers_are_taken_and_the_place_is_not() {
        let line = r#"{"topic":"t","partition":2,"offset":41,"tstype":"create","ts":1700000000000,"broker":1,"headers":["a","x\n","a",null],"key":"k","payload":"{\"id\":\"\u00e9\"}"}"#;
        let expected = (Some("k".to_owned()), Some("{\"id\":\"é\"}".to_owned()));
        let headers = vec![header("a", Some("x\n")), header("a", None)];
        assert_eq!(parts(line), Ok((expected.0, expected.1, headers)));
        let record = read(line.as_bytes()).unwrap();
        assert_eq!((record.timestamp, record.partition), (None, crate::producer::PartitionChoice::ByKey));
    }

    #[test]
    fn null_is_null_empty_is_empty_and_what_kcat_decoded_is_json() {
        let both = |line| parts(line).map(|(key, value, _)| (key, value)).unwrap();
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(both(r#"{"key":null,"payload":null}"#), (None, None));
        assert_eq!(both(r#"{"payload":"","key":""}"#), (some(""), some("")));
        assert_eq!(both(r#"{"key":7,"payload":{"a": 1.00}}"#), (some("7"), some(r#"{"a": 1.00}"#)));
    }

    #[test]
    fn headers_may_be_an_object() {
        let line = r#"{"payload":"1","headers":{"a":["x",null],"b":"y"}}"#;
        let expected = vec![header("a", Some("x")), header("a", None), header("b", Some("y"))];
        assert_eq!(parts(line).unwrap().2, expected);
    }

    #[test]
    fn what_is_no_envelope_is_refused_with_the_reason() {
        for (line, why) in [
            (r#"{"key":"k"}"#, "missing field `payload`"),
            (r#"{"payload":"1","haeders":[]}"#, "unknown field `haeders`"),
            (r#"{"payload":"1","payload":"2"}"#, "duplicate field `payload`"),
            (r#"[null,"1"]"#, "it is no object"),
            (r#"{"payload":"1"} 2"#, "trailing characters"),
            (r#"{"payload":"1","headers":["a"]}"#, "the last header has no value"),
            (r#"{"payload":"1","headers":["a",1]}"#, "expected a header's value, a text or null"),
            (r#"{"payload":"1","headers":[1,"a"]}"#, "expected a header's name, a text"),
            (r#"{"payload":"1","headers":[null,"a"]}"#, "expected a header's name, a text"),
            (r#"{"payload":"1","headers":{"a":7}}"#, "expected a header's value, a text or null, or a list"),
            (r#"{"payload":"1","headers":{"a":[[]]}}"#, "expected a header's value, a text or null"),
            (r#"{"payload":"1","headers":"a"}"#, "expected a list or an object of headers"),
            (r#"{"payload":"\ud800"}"#, "not a message as kcat -J prints it"),
            (r#"{"payload":null,"payload_error":"no schema"}"#, "kcat could not read the message: no schema"),
        ] {
            let error = parts(line).unwrap_err();
            assert!(error.contains(why), "{line}: {error}");
        }
        assert!(read(b"{\"payload\":\"\xff\"}").is_err(), "bytes that are no UTF-8 are no JSON");
    }

    #[test]
    fn headers_are_counted_and_nothing_is_read_behind_the_first_that_is_wrong() {
        let list =
            |count| format!(r#"{{"payload":"1","headers":[{}"a",null]}}"#, "\"a\",\"\",".repeat(count - 1));
        let object =
            |count| format!(r#"{{"payload":"1","headers":{{"a":[{}""]}}}}"#, "null,".repeat(count - 1));
        for lines in
            [[list(MAX_HEADERS), list(MAX_HEADERS + 1)], [object(MAX_HEADERS), object(MAX_HEADERS + 1)]]
        {
            assert_eq!(parts(&lines[0]).unwrap().2.len(), MAX_HEADERS);
            assert!(parts(&lines[1]).unwrap_err().contains("it has more than 10000 headers"));
        }
        let error = parts(r#"{"headers":["a",1 here the JSON ends"#).unwrap_err();
        assert!(error.contains("expected a header's value"), "{error}");
        let long = parts(&format!(r#"{{"headers":"{}"}}"#, "x".repeat(1_000_000))).unwrap_err();
        assert!(long.len() < 600, "{} bytes", long.len());
    }
}
