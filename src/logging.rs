//! The log: standard error and a file, through `simplelog`; and how text from outside is shown in a log line.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};

use log::{LevelFilter, Log, Metadata, Record};
use simplelog::{CombinedLogger, Config, ConfigBuilder, LevelPadding, SharedLogger, WriteLogger};
use time::macros::format_description;

use crate::config::LogSettings;
use crate::error::{Error, Result};

/// The target of lines that come in bursts, one for each message of a batch: they are written when whoever
/// logs them flushes the log, so that a burst costs one write.
pub const BURST: &str = concat!(env!("CARGO_CRATE_NAME"), "::burst");

/// What our own log targets start with.
const OURS: &str = env!("CARGO_CRATE_NAME");

/// Sends the log to standard error and, unless its name is empty, to the end of `log.file`. Times are UTC,
/// RFC 3339. Of other crates only warnings and errors are shown: below that the `kafka` crate logs whole
/// requests, tokens included.
///
/// # Errors
/// When the file cannot be opened for writing, or a logger is installed already.
pub fn start(settings: &LogSettings) -> Result<()> {
    start_on(settings, || Box::new(io::stderr()))
}

/// As [`start`], with another place than standard error. It is given whole lines, one or more in a call.
///
/// # Errors
/// As [`start`].
pub fn start_on(settings: &LogSettings, shown: impl Fn() -> Box<dyn Write + Send>) -> Result<()> {
    let ours = Outputs::open(settings, shown())?;
    let others = Outputs::open(settings, shown())?;
    let of_others = settings.level.min(LevelFilter::Warn);
    let loggers: Vec<Box<dyn SharedLogger>> = vec![
        Box::new(Prompt(WriteLogger::new(settings.level, our_lines(), ours))),
        Box::new(Prompt(WriteLogger::new(of_others, lines_of_others(), others))),
    ];
    CombinedLogger::init(loggers).map_err(|e| Error::new("the log cannot be started").caused_by(e))
}

/// Writes each line at once, but for those of a burst.
struct Prompt(Box<WriteLogger<Outputs>>);

impl Log for Prompt {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        self.0.enabled(metadata)
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            self.0.log(record);
            if record.target() != BURST {
                self.0.flush();
            }
        }
    }

    fn flush(&self) {
        self.0.flush();
    }
}

impl SharedLogger for Prompt {
    fn level(&self) -> LevelFilter {
        self.0.level()
    }

    fn config(&self) -> Option<&Config> {
        self.0.config()
    }

    fn as_log(self: Box<Self>) -> Box<dyn Log> {
        self
    }
}

/// Where lines go. Only whole lines are written, each in one call with its neighbours, so that several
/// programs can append to one file.
struct Outputs {
    shown: Box<dyn Write + Send>,
    file: Option<File>,
    lines: Vec<u8>,
}

/// A burst is written when it has grown to this.
const BURST_BYTES: usize = 32 * 1024;

impl Outputs {
    fn open(settings: &LogSettings, shown: Box<dyn Write + Send>) -> Result<Outputs> {
        let path = &settings.file;
        let file =
            (!path.is_empty()).then(|| OpenOptions::new().append(true).create(true).open(path)).transpose();
        let file = file.map_err(|e| {
            let path = escaped(path.as_bytes());
            Error::new(format!("the log file {path} cannot be opened for writing (log.file)")).caused_by(e)
        })?;
        Ok(Outputs { shown, file, lines: Vec::new() })
    }
}

impl Write for Outputs {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.lines.extend_from_slice(bytes);
        if self.lines.len() >= BURST_BYTES && self.lines.ends_with(b"\n") {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        // A terminal that is gone must not cost us the file.
        let shown = self.shown.write_all(&self.lines);
        let written = self.file.as_mut().map_or(Ok(()), |file| file.write_all(&self.lines));
        self.lines.clear();
        shown.and(written)
    }
}

fn our_lines() -> Config {
    line_format().add_filter_allow_str(OURS).build()
}

fn lines_of_others() -> Config {
    let mut format = line_format();
    format.set_target_level(LevelFilter::Error);
    format.add_filter_ignore_str(OURS).build()
}

fn line_format() -> ConfigBuilder {
    let mut builder = ConfigBuilder::new();
    builder
        .set_time_format_custom(format_description!(
            "[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z"
        ))
        .set_level_padding(LevelPadding::Right)
        .set_thread_level(LevelFilter::Off)
        .set_location_level(LevelFilter::Off)
        .set_target_level(LevelFilter::Debug);
    builder
}

/// The most bytes of a text from outside that a log line shows.
const SHOWN_BYTES: usize = 512;

/// Shows bytes from outside in a log line: what could move the cursor, start a line or turn the text around
/// is escaped as in a Rust string (`\n`, `\u{9b}`, `\xff` for what is no UTF-8), and after 512 bytes only the
/// length is told.
pub fn escaped(bytes: &[u8]) -> Escaped<'_> {
    Escaped { bytes, limit: SHOWN_BYTES, quoted: false }
}

/// As [`escaped`], but no more than the first `limit` bytes.
pub fn escaped_beginning(bytes: &[u8], limit: usize) -> Escaped<'_> {
    Escaped { bytes, limit, quoted: false }
}

/// As [`escaped`], but whole.
pub fn escaped_whole(bytes: &[u8]) -> Escaped<'_> {
    Escaped { bytes, limit: usize::MAX, quoted: false }
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
            Some(bytes) => escaped(bytes).fmt(f),
            None => f.write_str("none"),
        }
    }
}

/// See [`escaped`].
#[derive(Debug, Clone, Copy)]
pub struct Escaped<'a> {
    bytes: &'a [u8],
    limit: usize,
    quoted: bool,
}

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = self.bytes.get(..self.limit).unwrap_or(self.bytes);
        let shortened = shown.len() < self.bytes.len();
        let mut chunks = shown.utf8_chunks().peekable();
        while let Some(chunk) = chunks.next() {
            escape_text(chunk.valid(), self.quoted, f)?;
            // The cut may have split a character: that is no malformed byte.
            if shortened && chunks.peek().is_none() {
                break;
            }
            chunk.invalid().iter().try_for_each(|byte| write!(f, "\\x{byte:02x}"))?;
        }
        if shortened { write!(f, "… ({} bytes)", self.bytes.len()) } else { Ok(()) }
    }
}

fn escape_text(text: &str, quoted: bool, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let mut plain = 0;
    for (at, character) in text.char_indices() {
        if is_safe(character) && !(quoted && character == '"') {
            continue;
        }
        f.write_str(text.get(plain..at).unwrap_or_default())?;
        if character.is_ascii() {
            write!(f, "{}", character.escape_default())?;
        } else {
            write!(f, "{}", character.escape_unicode())?;
        }
        plain = at + character.len_utf8();
    }
    f.write_str(text.get(plain..).unwrap_or_default())
}

/// Whether a character shows as itself: no control character (C0, DEL, C1), no line or paragraph separator,
/// nothing invisible that changes direction or joins, and not what the escapes themselves are made of.
fn is_safe(character: char) -> bool {
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
    fn plain_text_shows_as_itself() {
        assert_eq!(escaped("Hola, señor ≤ 5 €".as_bytes()).to_string(), "Hola, señor ≤ 5 €");
    }

    #[test]
    fn what_could_forge_a_line_or_move_the_cursor_is_escaped() {
        let hostile = "a\nb\r\x1b[2J\x7f\u{9b}1A\u{202e}x\u{2066}y\u{2028}z\0\\";
        let shown = r#"a\nb\r\u{1b}[2J\u{7f}\u{9b}1A\u{202e}x\u{2066}y\u{2028}z\u{0}\\"#;
        assert_eq!(escaped(hostile.as_bytes()).to_string(), shown);
    }

    #[test]
    fn a_key_cannot_end_its_quotes() {
        assert_eq!(Key(Some(b"a\" name=b")).to_string(), r#""a\" name=b""#);
        assert_eq!(Key(None).to_string(), "none");
    }

    #[test]
    fn bytes_that_are_no_utf_8_are_shown_in_hexadecimal() {
        assert_eq!(escaped(b"a\xff\xc3b").to_string(), r"a\xff\xc3b");
    }

    #[test]
    fn a_long_payload_is_cut_between_characters_and_its_length_told() {
        let long = "x".repeat(511) + "é" + "tail";
        assert_eq!(escaped(long.as_bytes()).to_string(), "x".repeat(511) + "… (517 bytes)");
        assert_eq!(escaped_whole(long.as_bytes()).to_string(), long);
    }

    #[test]
    fn a_log_file_that_cannot_be_opened_is_named() {
        let settings = LogSettings { file: "/nowhere/at/all.log".to_owned(), ..LogSettings::default() };
        let error = start(&settings).unwrap_err().to_string();
        assert!(error.starts_with("the log file /nowhere/at/all.log cannot be opened"), "{error}");
    }
}
