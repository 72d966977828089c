//! What becomes of a line, or of a file: its key, its value and its headers.

// The options have no doc comment as a type: clap would show it as the description of the program.
#![allow(missing_docs)]

use clap::Args;

use super::envelope::{self, Headers};
use crate::message;
use crate::producer::ProducerRecord;

#[derive(Debug, Clone, Default, Args)]
pub struct FormOptions {
    /// Each line is a key, this text, and the value: 'customer-7:{"id":1}' with ':'; '\t' is a tab
    #[arg(
        long,
        value_name = "TEXT",
        value_parser = separator,
        allow_hyphen_values = true,
        conflicts_with_all = ["envelope", "count"]
    )]
    key_separator: Option<Separator>,
    /// A header of each message (repeatable)
    #[arg(long = "header", value_name = "NAME=VALUE", value_parser = header, allow_hyphen_values = true)]
    headers: Vec<(String, String)>,
    /// Takes values for text (UTF-8) that need not be JSON
    #[arg(long, conflicts_with = "count")]
    text: bool,
    /// Each line is a message as kcat -J prints it: the key, payload and headers in it are sent
    #[arg(long, conflicts_with = "count")]
    envelope: bool,
}

/// What stands between key and value.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Separator(Vec<u8>);

/// Reads a separator, in which `\t` is a tab, `\xNN` a byte and `\\` a backslash.
fn separator(text: &str) -> Result<Separator, String> {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        let (byte, after) = match (first, after) {
            (b'\\', [b't', after @ ..]) => (b'\t', after),
            (b'\\', [b'\\', after @ ..]) => (b'\\', after),
            (b'\\', [b'x', high, low, after @ ..]) => (hexadecimal(*high, *low)?, after),
            (b'\\', _) => return Err(ESCAPES.to_owned()),
            (byte, after) => (*byte, after),
        };
        bytes.push(byte);
        rest = after;
    }
    if bytes.is_empty() || bytes.contains(&b'\n') {
        return Err("it has to be a text, without a line break".to_owned());
    }
    Ok(Separator(bytes))
}

/// The most bytes by which a line may be longer than its message, so that memory stays bounded.
const MOST_ESCAPES: usize = 64 << 20;

const ESCAPES: &str = "after a backslash comes t (a tab), xNN (a byte) or another backslash";

fn hexadecimal(high: u8, low: u8) -> Result<u8, String> {
    let digit = |digit: u8| char::from(digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    digit(high).zip(digit(low)).map(|(high, low)| high << 4 | low).ok_or_else(|| ESCAPES.to_owned())
}

fn header(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("a header is NAME=VALUE".to_owned()),
    }
}

/// How the input becomes messages.
#[derive(Debug)]
pub struct Form {
    shape: Shape,
    text: bool,
    headers: Headers,
}

#[derive(Debug)]
enum Shape {
    /// A value.
    Value,
    /// Key, separator, value.
    Keyed(Separator),
    /// kcat's JSON.
    Envelope,
}

impl FormOptions {
    /// Whether any of them is.
    pub fn is_given(&self) -> bool {
        self.key_separator.is_some() || !self.headers.is_empty() || self.text || self.envelope
    }

    /// The form that they describe.
    pub fn form(&self) -> Form {
        let shape = match &self.key_separator {
            Some(separator) => Shape::Keyed(separator.clone()),
            None if self.envelope => Shape::Envelope,
            None => Shape::Value,
        };
        let owned = |(name, value): &(String, String)| (name.clone(), Some(value.clone().into_bytes()));
        Form { shape, text: self.text, headers: self.headers.iter().map(owned).collect() }
    }
}

impl Form {
    /// Whether values may be text that is no JSON.
    pub fn is_text(&self) -> bool {
        self.text
    }

    /// Whether a line without a visible character is no message.
    pub fn skips(&self, line: &[u8]) -> bool {
        if self.text { line.is_empty() } else { line.trim_ascii().is_empty() }
    }

    /// The most bytes of a line whose message may weigh `limit`.
    pub fn longest_line(&self, limit: usize) -> usize {
        match &self.shape {
            Shape::Value => limit,
            Shape::Keyed(Separator(separator)) => limit.saturating_add(separator.len()),
            // A byte may be six in JSON (\u0000), and there is the place that it was read from.
            Shape::Envelope => limit.saturating_mul(6).min(limit.saturating_add(MOST_ESCAPES)),
        }
    }

    /// The message of a line, or of a file.
    ///
    /// # Errors
    /// It has another form; the sentence says what is wrong.
    pub fn record(&self, bytes: Vec<u8>) -> Result<ProducerRecord, String> {
        let mut record = match &self.shape {
            Shape::Value => ProducerRecord::of(bytes),
            Shape::Keyed(separator) => keyed(bytes, separator)?,
            Shape::Envelope => envelope::read(&bytes)?,
        };
        if let Some(value) = &record.value {
            self.check(value)?;
        }
        record.headers.extend(self.headers.iter().cloned());
        Ok(record)
    }

    fn check(&self, value: &[u8]) -> Result<(), String> {
        if self.text {
            std::str::from_utf8(value).map(|_| ()).map_err(|error| format!("not text in UTF-8: {error}"))
        } else {
            message::check(value).map_err(|error| error.to_string())
        }
    }
}

fn keyed(mut line: Vec<u8>, Separator(separator): &Separator) -> Result<ProducerRecord, String> {
    let Some(end) = line.windows(separator.len()).position(|part| part == separator) else {
        return Err("no key: the line is without what --key-separator names".to_owned());
    };
    let value = line.split_off(end + separator.len());
    line.truncate(end);
    Ok(ProducerRecord::of(value).with_key(line))
}

#[cfg(test)]
mod tests {
    use clap::{Command, FromArgMatches};

    use super::*;

    fn options(words: &[&str]) -> Result<FormOptions, String> {
        let command = Command::new("p").arg(clap::Arg::new("count").long("count"));
        let matches = FormOptions::augment_args(command)
            .try_get_matches_from(std::iter::once("p").chain(words.iter().copied()));
        matches.and_then(|matches| FormOptions::from_arg_matches(&matches)).map_err(|error| error.to_string())
    }

    /// Key and value of a line, or why it is refused.
    fn sent(words: &[&str], line: &[u8]) -> Result<(Option<String>, String), String> {
        let text = |bytes| String::from_utf8(bytes).unwrap();
        let record = options(words).unwrap().form().record(line.to_vec())?;
        Ok((record.key.map(text), text(record.value.unwrap())))
    }

    #[test]
    fn a_line_is_split_at_the_first_separator() {
        let both = |key: &str, value: &str| Ok((Some(key.to_owned()), value.to_owned()));
        assert_eq!(sent(&["--key-separator", ":"], b"k:{\"a\":1}"), both("k", "{\"a\":1}"));
        assert_eq!(sent(&["--key-separator", "::"], b"a:b::1"), both("a:b", "1"));
        assert_eq!(sent(&["--key-separator", r"\t"], b"k\t[1]"), both("k", "[1]"));
        assert_eq!(sent(&["--key-separator", r"\x7c\\"], br"k|\1"), both("k", "1"));
        assert_eq!(sent(&["--key-separator", ":"], b":1"), both("", "1"), "an empty key is a key");
        assert_eq!(sent(&["--key-separator", "-"], b"k-1"), both("k", "1"), "no option");
        assert_eq!(sent(&["--key-separator", "->", "--text"], b"k->v"), both("k", "v"));
        assert_eq!(sent(&["--key-separator", ":", "--text"], b"k:"), both("k", ""));
        assert!(sent(&["--key-separator", ":"], b"1").unwrap_err().starts_with("no key:"));
        assert!(sent(&["--key-separator", ":"], b"k:").unwrap_err().starts_with("not JSON:"));
    }

    #[test]
    fn text_is_any_utf8_and_else_a_value_is_json() {
        assert_eq!(sent(&["--text"], "  ¡hola!".as_bytes()), Ok((None, "  ¡hola!".to_owned())));
        assert!(sent(&["--text"], b"a\xff").unwrap_err().starts_with("not text in UTF-8: "));
        assert!(sent(&[], b"hola").unwrap_err().starts_with("not JSON: "));
        let (json, text) = (options(&[]).unwrap().form(), options(&["--text"]).unwrap().form());
        assert!(json.skips(b" \t") && !text.skips(b" \t") && text.skips(b""));
    }

    #[test]
    fn headers_come_on_each_message_behind_its_own() {
        let words = ["--envelope", "--header", "b=2=3", "--header", "b=", "--header", "-b=-"];
        let form = options(&words).unwrap().form();
        let record = form.record(br#"{"payload":"1","headers":["a",null]}"#.to_vec()).unwrap();
        let bytes = |text: &str| Some(text.as_bytes().to_vec());
        let header = |(name, value): (&str, _)| (name.to_owned(), value);
        let expected = [("a", None), ("b", bytes("2=3")), ("b", bytes("")), ("-b", bytes("-"))];
        assert_eq!(record.headers, expected.map(header));
    }

    #[test]
    fn what_is_no_separator_or_no_header_or_contradicts_is_refused() {
        for words in [
            &["--key-separator", ""][..],
            &["--key-separator", "\n"],
            &["--key-separator", r"\n"],
            &["--key-separator", r"\x7"],
            &["--key-separator", r"\xzz"],
            &["--key-separator", "\\"],
            &["--header", "a"],
            &["--header", "=a"],
            &["--envelope", "--key-separator", ":"],
            &["--count", "1", "--envelope"],
            &["--count", "1", "--text"],
            &["--count", "1", "--key-separator", ":"],
        ] {
            assert!(options(words).is_err(), "{words:?}");
        }
    }
}
