//! The logger: which lines go where, and what a line looks like.

use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};

use log::{LevelFilter, Log, Metadata, Record};
use net::sync::{Mutex, lock};
use simplelog::{Config, ConfigBuilder, LevelPadding, SharedLogger, WriteLogger};
use time::macros::format_description;

use super::json::JsonLine;
use super::{BURST, LogFormat, MESSAGE, MESSAGE_BURST, NOT_STORED};
use crate::text::one_line;

/// What the log targets of our own crates start with.
const OURS: [&str; 6] = [env!("CARGO_CRATE_NAME"), "adapter", "broker", "client", "net", "protocol"];

/// A burst is written when it has grown to this.
const BURST_BYTES: usize = 32 * 1024;

/// Where lines go.
pub type Places = Vec<Box<dyn Write + Send>>;

/// The logger of a program. A line is made once, also where it goes to several places.
pub struct Logger {
    level: LevelFilter,
    lines: Lines,
    of_messages: Option<Lines>,
    /// Whether lines about messages are left out.
    without_messages: Option<&'static AtomicBool>,
}

enum Lines {
    Text { ours: Box<WriteLogger<Sink>>, of_others: Box<WriteLogger<Sink>> },
    Json { name: String, sink: Mutex<Sink> },
}

impl Logger {
    /// Writes the lines of the program called `name` to `places`, but those about single messages to
    /// `of_messages`, if there are any.
    pub fn new(
        (level, format): (LevelFilter, LogFormat),
        name: &str,
        places: impl Fn() -> Places,
        of_messages: impl Fn() -> Places,
    ) -> Logger {
        let has_messages = !of_messages().is_empty();
        let of_messages = has_messages.then(|| Lines::new(format, name, of_messages));
        Logger { level, lines: Lines::new(format, name, places), of_messages, without_messages: None }
    }

    /// Leaves lines about messages out, once `is_so`.
    pub fn leaving_out_messages_if(self, is_so: Option<&'static AtomicBool>) -> Logger {
        Logger { without_messages: is_so, ..self }
    }

    fn of_messages(&self) -> Option<&Lines> {
        let is_left_out = self.without_messages.is_some_and(|flag| flag.load(Ordering::Relaxed));
        self.of_messages.as_ref().filter(|_| !is_left_out)
    }
}

impl Lines {
    fn new(format: LogFormat, name: &str, places: impl Fn() -> Places) -> Lines {
        let sink = || Sink { places: places(), lines: Vec::new() };
        match format {
            LogFormat::Text => {
                let logger = |target| WriteLogger::new(LevelFilter::Trace, text_line(target), sink());
                Lines::Text { ours: logger(LevelFilter::Debug), of_others: logger(LevelFilter::Error) }
            }
            LogFormat::Json => Lines::Json { name: name.to_owned(), sink: Mutex::new(sink()) },
        }
    }

    fn log(&self, record: &Record<'_>) {
        let target = record.target();
        match self {
            Lines::Text { ours, of_others } => {
                let logger = if is_ours(target) { ours } else { of_others };
                let text = record.args().to_string();
                let text = one_line(&text);
                let mut line = Record::builder();
                line.level(record.level()).target(target);
                logger.log(&line.args(format_args!("{text}")).build());
            }
            Lines::Json { name, sink } => {
                let is_members = matches!(target, MESSAGE | MESSAGE_BURST);
                let line = JsonLine::of(record, name, is_members, !is_ours(target));
                // A line that cannot be written is told of by its place, or by nobody.
                let _ = lock(sink).write_all(line.as_bytes());
            }
        }
    }

    fn flush(&self) {
        match self {
            Lines::Text { ours, of_others } => {
                ours.flush();
                of_others.flush();
            }
            Lines::Json { sink, .. } => _ = lock(sink).flush(),
        }
    }
}

impl Log for Logger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        let of_others = self.level.min(LevelFilter::Warn);
        metadata.level() <= if is_ours(metadata.target()) { self.level } else { of_others }
    }

    fn log(&self, record: &Record<'_>) {
        let target = record.target();
        if !self.enabled(record.metadata()) {
            return;
        }
        let lines = if is_message(target) { self.of_messages() } else { Some(&self.lines) };
        let Some(lines) = lines else { return };
        lines.log(record);
        if !matches!(target, BURST | MESSAGE_BURST | NOT_STORED) {
            self.flush();
        }
    }

    fn flush(&self) {
        self.of_messages.iter().for_each(Lines::flush);
        self.lines.flush();
    }
}

impl SharedLogger for Logger {
    fn level(&self) -> LevelFilter {
        self.level
    }

    fn config(&self) -> Option<&Config> {
        None
    }

    fn as_log(self: Box<Self>) -> Box<dyn Log> {
        self
    }
}

fn is_ours(target: &str) -> bool {
    OURS.iter().any(|ours| target.starts_with(ours))
}

fn is_message(target: &str) -> bool {
    matches!(target, MESSAGE | MESSAGE_BURST | NOT_STORED)
}

/// The look of a line of text; `target`: the most talkative level whose lines name their target.
fn text_line(target: LevelFilter) -> Config {
    let mut builder = ConfigBuilder::new();
    builder
        .set_time_format_custom(format_description!(
            "[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z"
        ))
        .set_level_padding(LevelPadding::Right)
        .set_thread_level(LevelFilter::Off)
        .set_location_level(LevelFilter::Off)
        .set_target_level(target);
    builder.build()
}

/// Collects lines. Only whole lines are written, each in one call with its neighbours, so that several
/// programs can append to one file.
struct Sink {
    places: Places,
    lines: Vec<u8>,
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.lines.extend_from_slice(bytes);
        if self.lines.len() >= BURST_BYTES && self.lines.ends_with(b"\n") {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.lines.is_empty() {
            return Ok(());
        }
        // A terminal that is gone must not cost us the file.
        let written: Vec<_> = self.places.iter_mut().map(|place| place.write_all(&self.lines)).collect();
        self.lines.clear();
        written.into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use log::Level;
    use testing::Kept;

    use super::*;

    /// What is written of these lines (level, target, text), with those about messages where they are wanted.
    fn written(format: LogFormat, with_messages: bool, lines: &[(Level, &str, &str)]) -> Vec<String> {
        let kept = Kept::default();
        let place = || -> Places { vec![Box::new(kept.clone())] };
        let of_messages = || if with_messages { place() } else { Vec::new() };
        let logger = Logger::new((LevelFilter::Info, format), "prueba", place, of_messages);
        for (level, target, text) in lines {
            let mut line = Record::builder();
            line.level(*level).target(target);
            logger.log(&line.args(format_args!("{text}")).build());
        }
        logger.flush();
        kept.take_text().lines().map(str::to_owned).collect()
    }

    #[test]
    fn lines_about_single_messages_go_where_they_are_wanted() {
        let lines = [
            (Level::Info, "client::member", "joined"),
            (Level::Info, MESSAGE, "a"),
            (Level::Info, MESSAGE_BURST, "b"),
        ];
        assert_eq!(written(LogFormat::Text, false, &lines).len(), 1);
        let all = written(LogFormat::Text, true, &lines);
        assert_eq!(all.len(), 3);
        assert!(all[0].ends_with("Z [INFO ] joined"), "{all:?}");
    }

    #[test]
    fn of_other_crates_warnings_are_shown_with_their_name_and_nothing_below() {
        let lines = [(Level::Info, "kafka::client", "token"), (Level::Warn, "kafka::client", "odd")];
        let shown = written(LogFormat::Text, true, &lines);
        assert!(shown.len() == 1 && shown[0].ends_with("Z [WARN ] kafka::client: odd"), "{shown:?}");
        let own = [(Level::Debug, "client::member", "no")];
        assert!(written(LogFormat::Text, true, &own).is_empty());
    }

    #[test]
    fn nothing_in_a_text_can_begin_a_line_or_move_the_cursor() {
        let hostile = "a\n2026-01-01T00:00:00.000Z [INFO ] forged\r\u{1b}[2J\u{202e}\"\\";
        let lines = [(Level::Error, "client", hostile), (Level::Error, "kafka", hostile)];
        for format in [LogFormat::Text, LogFormat::Json] {
            let shown = written(format, true, &lines);
            assert_eq!(shown.len(), 2, "{shown:?}");
            for line in shown {
                assert!(!line.contains(['\r', '\u{1b}', '\u{202e}']), "{line:?}");
            }
        }
    }

    #[test]
    fn each_line_of_json_is_an_object_with_all_of_the_text_in_it() {
        let hostile = "a\nb\t\u{7}\u{1F600}\u{85}\"\\ ñ \u{feff}";
        let shown =
            written(LogFormat::Json, true, &[(Level::Warn, "kafka::x", hostile), (Level::Info, "net", "n")]);
        let read = |line: &String| serde_json::from_str::<serde_json::Value>(line).unwrap();
        let (first, second) = (read(&shown[0]), read(&shown[1]));
        assert_eq!((&first["message"], &first["level"]), (&hostile.into(), &"WARN".into()));
        assert_eq!((&first["name"], &first["target"]), (&"prueba".into(), &"kafka::x".into()));
        assert_eq!((second["message"].as_str(), second.get("target")), (Some("n"), None));
        assert!(first["time"].as_str().is_some_and(|time| time.ends_with('Z')), "{first}");
    }
}
