//! The check that a body is JSON that every consumer can read.
//!
//! It is stricter than the grammar of RFC 8259 where readers are known to disagree: the depth is limited,
//! numbers must fit a double, escaped surrogates must come in pairs (as I-JSON, RFC 7493, asks for).

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use crate::http::response::Response;
use crate::message;

/// The deepest nesting of arrays and objects.
pub(crate) const MAX_DEPTH: usize = 64;

/// The reason why a body is refused: a sentence with the error and its place, without the body's own bytes.
#[derive(Debug, PartialEq, Eq)]
enum JsonError {
    /// It is not JSON.
    NotJson(String),
    /// It is JSON that some readers refuse.
    OverLimits(String),
}

/// Checks that a body is one whole JSON value with nothing after it, nested at most `depth` deep.
///
/// # Errors
/// The response to a body that is not.
pub(crate) fn check_body(body: &[u8], depth: usize) -> Result<(), Response> {
    check(body, depth).map_err(|error| refused(error, ""))
}

/// As [`check_body`], for a line of a body that has several; it is named by its number, from 1 on.
///
/// # Errors
/// The response to a body with a line that is not.
pub(crate) fn check_line(line: &[u8], depth: usize, number: usize) -> Result<(), Response> {
    check(line, depth).map_err(|error| refused(error, &format!("Line {number}: ")))
}

fn refused(error: JsonError, place: &str) -> Response {
    match error {
        JsonError::NotJson(why) => Response::error(400, "bad_json", &format!("{place}{why}")),
        JsonError::OverLimits(why) => Response::error(400, "json_limits", &format!("{place}{why}")),
    }
}

fn check(body: &[u8], depth: usize) -> Result<(), JsonError> {
    if let Err(error) = std::str::from_utf8(body) {
        let at = error.valid_up_to();
        return Err(JsonError::NotJson(format!("The body is not UTF-8 from byte {at} on.")));
    }
    let mut reader = serde_json::Deserializer::from_slice(body);
    let result = Depth { left: depth, most: depth }.deserialize(&mut reader).and_then(|()| reader.end());
    result.map_err(|error| match message::check(body) {
        Ok(()) => JsonError::OverLimits(format!("The body is JSON that not every reader can read: {error}.")),
        Err(_) => JsonError::NotJson(format!("The body is not JSON: {error}.")),
    })
}

/// Walks through a value that may be nested `left` levels deep; nothing of it is kept.
#[derive(Clone, Copy)]
struct Depth {
    left: usize,
    most: usize,
}

impl Depth {
    fn below<E: Error>(self) -> Result<Depth, E> {
        let left = self.left.checked_sub(1);
        let left = left.ok_or_else(|| E::custom(format_args!("nested more than {} deep", self.most)))?;
        Ok(Depth { left, ..self })
    }
}

impl<'de> DeserializeSeed<'de> for Depth {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Depth {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut values: A) -> Result<(), A::Error> {
        let depth = self.below()?;
        while values.next_element_seed(depth)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<(), A::Error> {
        let depth = self.below()?;
        while entries.next_key_seed(depth)?.is_some() {
            entries.next_value_seed(depth)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_of_any_shape_is_accepted() {
        for body in [
            r#"{"id":1,"contenido":"Hola desde Kafka"}"#,
            " [1, -2.5e10, true, null, \"\\u00f1\\ud83d\\ude00\", {\"a\": {\"a\": []}}] \r\n",
            "null",
            "\"\"",
            "18446744073709551616",
            r#"{"a":1,"a":2}"#,
        ] {
            assert_eq!(check(body.as_bytes(), MAX_DEPTH), Ok(()), "{body:?}");
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for body in [
            "",
            " ",
            "{",
            "{} x",
            "{}{}",
            "hola",
            "{'a':1}",
            "[1,]",
            "01",
            "NaN",
            "\"\n\"",
            "\u{feff}{}",
            "{a:1}",
            "{1:1}",
        ] {
            assert!(matches!(check(body.as_bytes(), MAX_DEPTH), Err(JsonError::NotJson(_))), "{body:?}");
        }
        let sentence = "The body is not UTF-8 from byte 2 on.".to_owned();
        assert_eq!(check(b"\"a\xff\"", MAX_DEPTH), Err(JsonError::NotJson(sentence)));
    }

    #[test]
    fn json_that_readers_disagree_about_is_refused_as_such() {
        for body in ["\"\\ud800\"", "\"\\ud800x\"", "[\"\\udc00\\ud800\"]", "1e999", "{\"a\":-1e400}"] {
            assert!(matches!(check(body.as_bytes(), MAX_DEPTH), Err(JsonError::OverLimits(_))), "{body:?}");
        }
        assert!(matches!(check(b"[1e999", MAX_DEPTH), Err(JsonError::NotJson(_))), "that is no JSON at all");
    }

    #[test]
    fn depth_is_limited() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert_eq!(check(nested(MAX_DEPTH).as_bytes(), MAX_DEPTH), Ok(()));
        let Err(JsonError::OverLimits(sentence)) = check(nested(MAX_DEPTH + 1).as_bytes(), MAX_DEPTH) else {
            panic!("it is too deep");
        };
        assert!(sentence.contains("64 deep"), "{sentence}");
        assert!(matches!(check("[".repeat(1_000_000).as_bytes(), MAX_DEPTH), Err(JsonError::NotJson(_))));
    }
}
