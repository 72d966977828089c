//! A message as `kcat -J` prints it, a JSON object in one line.
//!
//! The fields are those of kcat's `json.c`: `topic`, `partition`, `offset`, `tstype`, `ts`, `broker`,
//! `headers`, `key`, `payload`, and with Avro `key_schema_id`, `value_schema_id`, `key_error` and
//! `payload_error`.

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::producer::ProducerRecord;

/// A message's headers.
pub type Headers = Vec<(String, Option<Vec<u8>>)>;

/// Fields that begin with `_` say where the message was, and are not sent.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Envelope<'a> {
    #[serde(borrow)]
    key: Option<&'a RawValue>,
    #[serde(borrow)]
    payload: &'a RawValue,
    headers: Option<Value>,
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
    record.headers = envelope.headers.map(headers).transpose()?.unwrap_or_default();
    Ok(record)
}

fn wrong(why: &str) -> String {
    format!("not a message as kcat -J prints it: {why}")
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

/// Names and values in turn, or an object, whose values may be lists.
fn headers(json: Value) -> Result<Headers, String> {
    let mut found = Vec::new();
    match json {
        Value::Null => {}
        Value::Array(list) => {
            let mut list = list.into_iter();
            while let Some(name) = list.next() {
                let Value::String(name) = name else { return Err(wrong("a header's name is no text")) };
                let value = list.next().ok_or_else(|| wrong("the last header has no value"))?;
                found.push((name, header_value(value)?));
            }
        }
        Value::Object(names) => {
            for (name, value) in names {
                match value {
                    Value::Array(values) => {
                        for value in values {
                            found.push((name.clone(), header_value(value)?));
                        }
                    }
                    value => found.push((name, header_value(value)?)),
                }
            }
        }
        _ => return Err(wrong("headers are no list")),
    }
    Ok(found)
}

fn header_value(json: Value) -> Result<Option<Vec<u8>>, String> {
    match json {
        Value::Null => Ok(None),
        Value::String(text) => Ok(Some(text.into_bytes())),
        _ => Err(wrong("a header's value is neither text nor null")),
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
            (r#"{"payload":"1","headers":["a",1]}"#, "neither text nor null"),
            (r#"{"payload":"1","headers":[1,"a"]}"#, "name is no text"),
            (r#"{"payload":"1","headers":"a"}"#, "headers are no list"),
            (r#"{"payload":"\ud800"}"#, "not a message as kcat -J prints it"),
            (r#"{"payload":null,"payload_error":"no schema"}"#, "kcat could not read the message: no schema"),
        ] {
            let error = parts(line).unwrap_err();
            assert!(error.contains(why), "{line}: {error}");
        }
        assert!(read(b"{\"payload\":\"\xff\"}").is_err(), "bytes that are no UTF-8 are no JSON");
    }
}
