//! The log: standard error and a file, through `simplelog`.
//!
//! - [`logger`]: which lines go where, and what a line looks like; [`json`]: lines of JSON
//! - [`message`]: the line of a single message
//! - [`file`]: the file, its rotation, and its return after it was moved away
//! - [`mod@failure`]: why the file cannot be written

mod failure;
mod file;
mod json;
mod logger;
mod message;

use std::io::{self, IsTerminal, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use simplelog::CombinedLogger;

use crate::error::{Error, Result};
use crate::text::escape;
pub use failure::{disk_trouble, failure};
use file::{LogFile, SharedFile};
pub use json::JSON_START;
use logger::{Logger, Places};
pub use message::{MessageLine, ValueOrLength};
use net::sync::Mutex;

/// The target of lines that come in bursts: they are written when whoever logs them flushes the log, so that
/// a burst costs one write.
pub const BURST: &str = concat!(env!("CARGO_CRATE_NAME"), "::burst");

/// The target of lines in bursts that say why a message was not stored. As all lines about single messages
/// they go to the file alone: on a terminal a message is the one line that is printed.
pub const NOT_STORED: &str = concat!(env!("CARGO_CRATE_NAME"), "::message::not_stored");

/// The targets of a [`MessageLine`], which alone has them: at once, and in a burst.
const MESSAGE: &str = concat!(env!("CARGO_CRATE_NAME"), "::message");
const MESSAGE_BURST: &str = concat!(env!("CARGO_CRATE_NAME"), "::message::burst");

/// Whether lines are JSON, and whether they show the values of messages.
static IS_JSON: AtomicBool = AtomicBool::new(false);
static SHOWS_VALUES: AtomicBool = AtomicBool::new(false);

/// Whether a terminal shows lines that go to standard error.
static IS_ON_TERMINAL: AtomicBool = AtomicBool::new(false);

/// What a line looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// Time, level, and a sentence.
    Text,
    /// A JSON object.
    Json,
}

/// `[log]`: what is logged, and where besides standard error.
#[derive(Debug, Clone, PartialEq)]
pub struct LogSettings {
    /// The most talkative level that is logged.
    pub level: log::LevelFilter,
    /// What a line looks like.
    pub format: LogFormat,
    /// Whether the values of messages are shown.
    pub values: bool,
    /// The file to append to; empty: none.
    pub file: String,
    /// The size from which the file is set aside and a new one begun, in bytes; 0: none.
    pub max_bytes: u64,
    /// How many files that were set aside are kept.
    pub files: u32,
}

impl Default for LogSettings {
    fn default() -> Self {
        LogSettings {
            level: log::LevelFilter::Info,
            format: LogFormat::Text,
            values: false,
            file: "point-to-point.log".to_owned(),
            max_bytes: 100 << 20,
            files: 5,
        }
    }
}

impl LogSettings {
    /// The settings for a program whose output is complete without a log: errors alone, and no file.
    pub fn of_a_look(&self) -> LogSettings {
        let level = self.level.min(log::LevelFilter::Error);
        LogSettings { level, file: String::new(), ..self.clone() }
    }
}

/// Sends the log of the program called `name` to standard error and, unless its name is empty, to the end of
/// `log.file`. Times are UTC, RFC 3339. Of other crates only warnings and errors are shown: below that the
/// `kafka` crate logs whole requests, tokens included.
///
/// # Errors
/// When the file cannot be opened for writing, or a logger is installed already.
pub fn start(settings: &LogSettings, name: &str) -> Result<()> {
    start_on(settings, name, || Box::new(io::stderr()))
}

/// From now on standard error has no lines about single messages: whoever reads it shows them on a terminal.
pub fn shown_on_a_terminal() {
    IS_ON_TERMINAL.store(true, Ordering::Relaxed);
}

/// As [`start`], with another place than standard error. It is given whole lines, one or more in a call.
///
/// # Errors
/// As [`start`].
pub fn start_on(settings: &LogSettings, name: &str, shown: impl Fn() -> Box<dyn Write + Send>) -> Result<()> {
    if io::stderr().is_terminal() {
        shown_on_a_terminal();
    }
    // Where there is no file, and no terminal, this is the place for lines about messages.
    let with_messages = settings.file.is_empty();
    IS_JSON.store(settings.format == LogFormat::Json, Ordering::Relaxed);
    SHOWS_VALUES.store(settings.values, Ordering::Relaxed);
    let file = (!settings.file.is_empty()).then(|| open(settings)).transpose()?;
    let file = || file.iter().map(|file| -> Box<dyn Write + Send> { Box::new(SharedFile(Arc::clone(file))) });
    let places = || -> Places { std::iter::once(shown()).chain(file()).collect() };
    let of_messages = || if with_messages { places() } else { file().collect() };
    let is_on_terminal = with_messages.then_some(&IS_ON_TERMINAL);
    let logger = Logger::new((settings.level, settings.format), name, places, of_messages)
        .leaving_out_messages_if(is_on_terminal);
    CombinedLogger::init(vec![Box::new(logger)])
        .map_err(|e| Error::new("the log cannot be started").caused_by(e))
}

/// # Errors
/// The file cannot be opened, or there is no thread to look after it.
fn open(settings: &LogSettings) -> Result<Arc<Mutex<LogFile>>> {
    let file = LogFile::open(settings.file.as_ref(), settings.max_bytes, settings.files).map_err(|e| {
        let path = escape(settings.file.as_bytes());
        Error::new(format!("the log file {path} cannot be opened for writing (log.file)")).caused_by(e)
    })?;
    let file = Arc::new(Mutex::new(file));
    file::look_after(&file).map_err(|e| Error::new("the thread log-file cannot be started").caused_by(e))?;
    Ok(file)
}

/// Whether lines are JSON.
fn is_json() -> bool {
    IS_JSON.load(Ordering::Relaxed)
}

/// Whether lines show the values of messages.
fn shows_values() -> bool {
    SHOWS_VALUES.load(Ordering::Relaxed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_file_that_cannot_be_opened_is_named() {
        let settings = LogSettings { file: "/nowhere/at/all.log".to_owned(), ..LogSettings::default() };
        let error = start(&settings, "test").unwrap_err().to_string();
        assert!(error.starts_with("the log file /nowhere/at/all.log cannot be opened"), "{error}");
    }
}
