//! The log: standard error and a file, through `simplelog`.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};

use log::{LevelFilter, Log, Metadata, Record};
use simplelog::{CombinedLogger, Config, ConfigBuilder, LevelPadding, SharedLogger, WriteLogger};
use time::macros::format_description;

use crate::error::{Error, Result};
use crate::text::escape;

/// The target of lines that come in bursts, one for each message of a batch: they are written when whoever
/// logs them flushes the log, so that a burst costs one write.
pub const BURST: &str = concat!(env!("CARGO_CRATE_NAME"), "::burst");

/// What the log targets of our own crates start with.
const OURS: [&str; 6] = [env!("CARGO_CRATE_NAME"), "adapter", "broker", "client", "net", "protocol"];

/// `[log]`: what is logged, and where besides standard error.
#[derive(Debug, Clone, PartialEq)]
pub struct LogSettings {
    /// The most talkative level that is logged.
    pub level: log::LevelFilter,
    /// The file to append to; empty: none.
    pub file: String,
}

impl Default for LogSettings {
    fn default() -> Self {
        LogSettings { level: log::LevelFilter::Info, file: "point-to-point.log".to_owned() }
    }
}

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
            let path = escape(path.as_bytes());
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
    let mut format = line_format();
    OURS.iter().for_each(|target| {
        format.add_filter_allow_str(target);
    });
    format.build()
}

fn lines_of_others() -> Config {
    let mut format = line_format();
    format.set_target_level(LevelFilter::Error);
    OURS.iter().for_each(|target| {
        format.add_filter_ignore_str(target);
    });
    format.build()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_file_that_cannot_be_opened_is_named() {
        let settings = LogSettings { file: "/nowhere/at/all.log".to_owned(), ..LogSettings::default() };
        let error = start(&settings).unwrap_err().to_string();
        assert!(error.starts_with("the log file /nowhere/at/all.log cannot be opened"), "{error}");
    }
}
