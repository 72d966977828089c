//! The message that programs share: one JSON value, kept byte for byte as it was given.

use std::fmt;

use serde_json::value::RawValue;

/// A JSON value of any shape. What is stored is what was posted: [`Message::to_json`] gives back the very
/// bytes that [`Message::from_json`] took.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    json: String,
}

/// Bytes that are not exactly one JSON value (RFC 8259, UTF-8).
#[derive(Debug)]
pub struct NotJson(Reason);

#[derive(Debug)]
enum Reason {
    Null,
    Empty,
    Syntax(serde_json::Error),
}

impl fmt::Display for NotJson {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Reason::Null => f.write_str("not JSON: a null value (a tombstone)"),
            Reason::Empty => f.write_str("not JSON: an empty value"),
            Reason::Syntax(error) => write!(f, "not JSON: {error}"),
        }
    }
}

impl std::error::Error for NotJson {}

impl Message {
    /// Takes bytes that hold exactly one JSON value. They are checked, not changed; nesting has no limit but
    /// the length.
    ///
    /// # Errors
    /// When the bytes are empty, no JSON, more than one value, or no UTF-8; the error tells line and column.
    pub fn from_json(bytes: impl Into<Vec<u8>>) -> Result<Message, NotJson> {
        let bytes = bytes.into();
        check(&bytes)?;
        let json = String::from_utf8(bytes)
            .map_err(|error| NotJson(Reason::Syntax(serde::de::Error::custom(error.utf8_error()))))?;
        Ok(Message { json })
    }

    /// The bytes as they were given.
    pub fn to_json(&self) -> &[u8] {
        self.json.as_bytes()
    }

    /// The value in one line: without the white space between tokens, every token as it was given.
    pub fn one_line(&self) -> String {
        one_line(&self.json)
    }
}

impl From<Message> for Vec<u8> {
    fn from(message: Message) -> Vec<u8> {
        message.json.into_bytes()
    }
}

/// Whether `bytes` are exactly one JSON value; as [`Message::from_json`] without keeping them.
///
/// # Errors
/// As [`Message::from_json`].
pub fn check(bytes: &[u8]) -> Result<(), NotJson> {
    if bytes.is_empty() {
        return Err(NotJson(Reason::Empty));
    }
    serde_json::from_slice::<&RawValue>(bytes).map(|_| ()).map_err(|error| NotJson(Reason::Syntax(error)))
}

/// Whether the value of a record is exactly one JSON value.
///
/// # Errors
/// As [`Message::from_json`], or it is null.
pub fn check_value(value: Option<&[u8]>) -> Result<(), NotJson> {
    check(value.ok_or(NotJson(Reason::Null))?)
}

/// JSON allows white space (space, tab, line feed, carriage return) between tokens; within strings only the
/// space stands for itself. So those bytes go, unless they are in a string.
fn one_line(json: &str) -> String {
    let mut line = String::with_capacity(json.len());
    let (mut in_string, mut escaped) = (false, false);
    for character in json.chars() {
        match character {
            ' ' | '\t' | '\n' | '\r' if !in_string => continue,
            '"' if !escaped => in_string = !in_string,
            _ => {}
        }
        escaped = in_string && character == '\\' && !escaped;
        line.push(character);
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bytes_come_back_as_they_were_given() {
        for json in
            ["{\"b\":1,  \"a\":1.00, \"b\":2}", " 3.10e+05\n", "\"\\u00e9\\/é\"", "null", "[]", "\"\\ud800\""]
        {
            let message = Message::from_json(json).unwrap();
            assert_eq!(message.to_json(), json.as_bytes());
            assert_eq!(Vec::from(message), json.as_bytes());
        }
    }

    #[test]
    fn white_space_between_tokens_goes_and_tokens_stay() {
        let json = " {\r\n\t\"a b\" : [ 1.0 , -0 ,\n true ],\"c\\\" :\\\\\" : \"x  \\\\\" , \"d\":\"{ }\" } ";
        let line = r#"{"a b":[1.0,-0,true],"c\" :\\":"x  \\","d":"{ }"}"#;
        assert_eq!(Message::from_json(json).unwrap().one_line(), line);
    }

    #[test]
    fn the_error_tells_a_null_value_from_an_empty_one_and_from_a_broken_one() {
        for (value, why) in [
            (None, "a null value (a tombstone)"),
            (Some(&b""[..]), "an empty value"),
            (Some(b"{"), "EOF while parsing an object at line 1 column 1"),
        ] {
            assert_eq!(check_value(value).unwrap_err().to_string(), format!("not JSON: {why}"));
        }
    }

    #[test]
    fn what_is_not_exactly_one_json_value_is_refused() {
        let refused: [&[u8]; 12] = [
            b"",
            b" ",
            b"{",
            b"{} {}",
            b"hola",
            b"{'a':1}",
            b"[1,]",
            b"01",
            b"\"a\nb\"",
            b"\"\xff\"",
            b"\xef\xbb\xbf{}",
            b"NaN",
        ];
        for bytes in refused {
            assert!(Message::from_json(bytes).is_err(), "{bytes:?}");
        }
    }

    #[test]
    fn nesting_cannot_exhaust_the_stack() {
        let deep = "[".repeat(500_000) + &"]".repeat(500_000);
        assert_eq!(Message::from_json(deep.clone()).unwrap().one_line(), deep);
        assert!(Message::from_json("[".repeat(500_000)).is_err());
    }
}
