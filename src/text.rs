//! Text from outside, escaped for a log line or a terminal.

use std::borrow::Cow;
use std::fmt;

/// The most bytes of a text from outside that a log line shows.
pub const SHOWN_BYTES: usize = 512;

/// Shows bytes from outside in a log line: what could move the cursor, start a line or turn the text around
/// is escaped as in a Rust string (`\n`, `\u{9b}`, `\xff` for what is no UTF-8), and after 512 bytes only the
/// length is told.
pub fn escape(bytes: &[u8]) -> Escaped<'_> {
    Escaped { bytes, limit: SHOWN_BYTES, quoted: false }
}

/// As [`escape`], but no more than the first `limit` bytes.
pub fn escape_beginning(bytes: &[u8], limit: usize) -> Escaped<'_> {
    Escaped { bytes, limit, quoted: false }
}

/// As [`escape`], but whole.
pub fn escape_whole(bytes: &[u8]) -> Escaped<'_> {
    Escaped { bytes, limit: usize::MAX, quoted: false }
}

/// The text in one line: what could start a line, move the cursor or turn the text around is escaped. Other
/// than by [`escape`], a backslash stays, so that a text with escapes in it stays as it is.
pub fn one_line(text: &str) -> Cow<'_, str> {
    let is_plain = |character| is_safe(character) || character == '\\';
    if text.chars().all(is_plain) {
        return Cow::Borrowed(text);
    }
    let mut line = String::with_capacity(text.len() + 16);
    // Writing to a text does not fail.
    let _ = write_escaped(&mut line, text, is_plain, write_escape);
    Cow::Owned(line)
}

/// As [`escape_whole`], in double quotes.
pub fn quote_whole(bytes: &[u8]) -> String {
    format!("\"{}\"", Escaped { bytes, limit: usize::MAX, quoted: true })
}

/// As [`escape_beginning`], in double quotes.
pub fn quote_beginning(bytes: &[u8], limit: usize) -> String {
    format!("\"{}\"", Escaped { bytes, limit, quoted: true })
}

/// The text's beginning, of so many bytes at most.
pub fn beginning(text: &str, bytes: usize) -> &str {
    let end = (0..=bytes.min(text.len())).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    text.get(..end).unwrap_or_default()
}

/// The one of `known` that is most like a word from outside, if one is like it: what was meant, perhaps.
pub fn closest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // A longer text is no typing error, and comparing takes a time that grows with both lengths.
    const LONGEST: usize = 64;
    let word = beginning(word, LONGEST);
    let typos = |known: &'a str| {
        let is_beginning = word.len() >= 4 && known.starts_with(word);
        (if is_beginning { 0 } else { strsim::osa_distance(word, known) }, known)
    };
    let alike =
        known.into_iter().map(typos).filter(|(typos, known)| 3 * typos <= word.len().min(known.len()));
    alike.min_by_key(|(typos, _)| *typos).map(|(_, known)| known)
}

/// Shows a message's key in a log line: quoted and escaped, or `none`.
#[derive(Debug, Clone, Copy)]
pub struct Key<'a>(pub Option<&'a [u8]>);

impl fmt::Display for Key<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(bytes) => write!(f, "\"{}\"", Escaped { bytes, limit: SHOWN_BYTES, quoted: true }),
            None => f.write_str("none"),
        }
    }
}

/// Shows a message's value in a log line: escaped, or `none`.
#[derive(Debug, Clone, Copy)]
pub struct Value<'a>(pub Option<&'a [u8]>);

impl fmt::Display for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(bytes) => escape(bytes).fmt(f),
            None => f.write_str("none"),
        }
    }
}

/// See [`escape`].
#[derive(Debug, Clone, Copy)]
pub struct Escaped<'a> {
    bytes: &'a [u8],
    limit: usize,
    quoted: bool,
}

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_plain = |character| is_safe(character) && !(self.quoted && character == '"');
        write_beginning(f, self.bytes, self.limit, |f, text| write_escaped(f, text, is_plain, write_escape))
    }
}

/// Writes no more than the first `limit` of some bytes: what is UTF-8 by `write_text`, other bytes as `\xff`,
/// and how many they are where these are not all.
pub fn write_beginning(
    f: &mut fmt::Formatter<'_>,
    bytes: &[u8],
    limit: usize,
    write_text: impl Fn(&mut fmt::Formatter<'_>, &str) -> fmt::Result,
) -> fmt::Result {
    let shown = bytes.get(..limit).unwrap_or(bytes);
    let shortened = shown.len() < bytes.len();
    let mut chunks = shown.utf8_chunks().peekable();
    while let Some(chunk) = chunks.next() {
        write_text(f, chunk.valid())?;
        // The cut may have split a character: that is no malformed byte.
        if shortened && chunks.peek().is_none() {
            break;
        }
        chunk.invalid().iter().try_for_each(|byte| write!(f, "\\x{byte:02x}"))?;
    }
    if shortened { write!(f, "… ({} bytes)", bytes.len()) } else { Ok(()) }
}

/// Writes a text, and by `write_escape` each of its characters that is not plain.
pub fn write_escaped<W: fmt::Write>(
    out: &mut W,
    text: &str,
    is_plain: impl Fn(char) -> bool,
    write_escape: impl Fn(&mut W, char) -> fmt::Result,
) -> fmt::Result {
    let mut plain = 0;
    for (at, character) in text.char_indices().filter(|(_, character)| !is_plain(*character)) {
        out.write_str(text.get(plain..at).unwrap_or_default())?;
        write_escape(out, character)?;
        plain = at + character.len_utf8();
    }
    out.write_str(text.get(plain..).unwrap_or_default())
}

/// The same JSON without what could move a terminal's cursor or turn its text around: such characters stand
/// in strings alone, where they may be escaped (RFC 8259, section 7).
pub fn safe_json(json: &str) -> Cow<'_, str> {
    let is_plain = |character: char| match character.is_ascii() {
        true => character != '\u{7f}',
        false => is_safe(character),
    };
    if json.chars().all(is_plain) {
        return Cow::Borrowed(json);
    }
    let mut safe = String::with_capacity(json.len() + 64);
    // A string takes everything.
    let _ = write_escaped(&mut safe, json, is_plain, write_json_escape);
    Cow::Owned(safe)
}

/// Writes a character as in a string of JSON, by its UTF-16 units (RFC 8259, section 7).
pub fn write_json_escape<W: fmt::Write>(out: &mut W, character: char) -> fmt::Result {
    character.encode_utf16(&mut [0; 2]).iter().try_for_each(|unit| write!(out, "\\u{unit:04x}"))
}

/// Writes a character as in a Rust string.
fn write_escape<W: fmt::Write>(out: &mut W, character: char) -> fmt::Result {
    if character.is_ascii() {
        write!(out, "{}", character.escape_default())
    } else {
        write!(out, "{}", character.escape_unicode())
    }
}

/// Whether a character shows as itself: no control character (C0, DEL, C1), no line or paragraph separator,
/// nothing invisible that changes direction or joins, and not what the escapes themselves are made of.
pub fn is_safe(character: char) -> bool {
    match character {
        '\\' => false,
        ' '..='~' => true,
        '\u{061c}'
        | '\u{200b}'..='\u{200f}'
        | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}'
        | '\u{feff}' => false,
        other => !other.is_control(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_closest_word_is_what_a_typing_error_meant() {
        let known = ["topic", "topics", "partitions", "replication_factor"];
        for (word, meant) in [
            ("topci", Some("topic")),
            ("tpics", Some("topics")),
            ("partition", Some("partitions")),
            ("replication", Some("replication_factor")),
            ("bootstrap", None),
            ("", None),
        ] {
            assert_eq!(closest(word, known), meant, "{word}");
        }
    }

    #[test]
    fn plain_text_shows_as_itself() {
        assert_eq!(escape("Hola, señor ≤ 5 €".as_bytes()).to_string(), "Hola, señor ≤ 5 €");
    }

    #[test]
    fn what_could_forge_a_line_or_move_the_cursor_is_escaped() {
        let hostile = "a\nb\r\x1b[2J\x7f\u{9b}1A\u{202e}x\u{2066}y\u{2028}z\0\\";
        let shown = r#"a\nb\r\u{1b}[2J\u{7f}\u{9b}1A\u{202e}x\u{2066}y\u{2028}z\u{0}\\"#;
        assert_eq!(escape(hostile.as_bytes()).to_string(), shown);
    }

    #[test]
    fn a_line_stays_one_line_and_what_is_escaped_in_it_stays_as_it_is() {
        assert_eq!(one_line(r"señor \n \u{1b} a"), r"señor \n \u{1b} a");
        assert_eq!(one_line("a\nb\r\x1b\u{85}\u{202e}\\"), r"a\nb\r\u{1b}\u{85}\u{202e}\");
    }

    #[test]
    fn json_is_the_same_without_what_could_turn_a_terminals_text_around() {
        let hostile =
            serde_json::json!({"a\u{202e}": ["\u{9b}1A\u{7f}\n\u{2066}", "señor \\ \u{1f600}", "\u{e0001}"]});
        let (json, plain) = (hostile.to_string(), r#"{"b":"señor"}"#);
        let safe = safe_json(&json);
        assert!(safe.chars().all(|c| c == '\\' || is_safe(c)), "{safe}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&safe).unwrap(), hostile);
        assert!(matches!(safe_json(plain), Cow::Borrowed(same) if same == plain));
    }

    #[test]
    fn a_key_cannot_end_its_quotes() {
        assert_eq!(Key(Some(b"a\" name=b")).to_string(), r#""a\" name=b""#);
        assert_eq!(Key(None).to_string(), "none");
    }

    #[test]
    fn bytes_that_are_no_utf_8_are_shown_in_hexadecimal() {
        assert_eq!(escape(b"a\xff\xc3b").to_string(), r"a\xff\xc3b");
    }

    #[test]
    fn a_long_payload_is_cut_between_characters_and_its_length_told() {
        let long = "x".repeat(511) + "é" + "tail";
        assert_eq!(escape(long.as_bytes()).to_string(), "x".repeat(511) + "… (517 bytes)");
        assert_eq!(escape_whole(long.as_bytes()).to_string(), long);
    }

    #[test]
    fn a_long_text_is_cut_between_characters() {
        assert_eq!(beginning("señal", 3), "se");
        assert_eq!(beginning("señal", 4), "señ");
        assert_eq!(beginning("señal", 100), "señal");
        assert_eq!(beginning("", 5), "");
    }
}
