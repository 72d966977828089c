//! What could not be handled: listed, shown, sent back to where it came from, or dropped.

use std::io::{self, Write};

use time::OffsetDateTime;
use time::macros::format_description;

use super::base;
use super::table::Table;
use crate::broker::Broker;
use crate::channel::dead_letters::{Action, Letter, Missing, Office, Order, Outcome, Summary};
use crate::cli::{Given, Program, ProgramOption};
use crate::config::{LogSettings, Settings};
use crate::error::{Error, Result};
use crate::logging::{self, Key, escaped, escaped_beginning, escaped_whole};

/// `dead-letters`.
pub const PROGRAM: Program = Program {
    name: "dead-letters",
    about: "Lists, shows, replays or discards the messages that could not be handled",
    options: &[],
    subcommands: &[LIST, SHOW, REPLAY, DISCARD],
    run: |_| Err(Error::new("what shall be done? list, show, replay or discard; see --help").about_settings()),
};

const LIST: Program = Program {
    name: "list",
    about: "Lists the dead letters that are neither replayed nor discarded, the oldest first, or those that are chosen",
    options: &[ProgramOption::Letters],
    subcommands: &[],
    run: list,
};

const SHOW: Program = Program {
    name: "show",
    about: "Shows all of a dead letter: where it came from, what went wrong, its headers and its value",
    options: &[ProgramOption::LetterNames],
    subcommands: &[],
    run: show,
};

const REPLAY: Program = Program {
    name: "replay",
    about: "Sends the dead letters, or those that are chosen, to the topic and partition that they came from",
    options: &[ProgramOption::Letters],
    subcommands: &[],
    run: |given| settle(given, Action::Replay),
};

const DISCARD: Program = Program {
    name: "discard",
    about: "Takes the dead letters that are chosen for done with, and sends them nowhere",
    options: &[ProgramOption::Letters, ProgramOption::AllLetters],
    subcommands: &[],
    run: |given| settle(given, Action::Discard),
};

/// The rows that are aligned and printed together.
const ROWS: usize = 100;
/// The bytes that a row shows of an error, and of a value.
const SHOWN_BYTES: usize = 60;

fn list(given: &Given) -> Result<()> {
    let asked = &given.letters;
    let letters = |office: &Office| {
        let most = asked.max.map_or(usize::MAX, |max| usize::try_from(max).unwrap_or(usize::MAX));
        let mut table = Table::default();
        let mut rows = vec![
            ["LETTER", "TIME", "FROM", "GROUP", "REPLAYS", "ERROR", "VALUE"].map(str::to_owned).to_vec(),
        ];
        let mut any = false;
        for letter in office.letters(&asked.filter, None)?.take(most) {
            any = true;
            match letter {
                Ok(letter) => rows.push(row(&letter, &given.settings.kafka.topic)),
                Err(error) => {
                    print(&table.text(&rows));
                    return Err(error);
                }
            }
            if rows.len() >= ROWS && !print(&table.text(&std::mem::take(&mut rows))) {
                return Ok(());
            }
        }
        print(&match any {
            true => table.text(&rows),
            false if asked.filter.is_everything() => "no dead letters\n".to_owned(),
            false => "no dead letter fits\n".to_owned(),
        });
        Ok(())
    };
    looking(&given.settings, letters)
}

fn row(letter: &Letter, source: &str) -> Vec<String> {
    let text = |text: Option<&str>| {
        text.map_or_else(none, |text| escaped_beginning(text.as_bytes(), SHOWN_BYTES).to_string())
    };
    let from = letter.partition().zip(letter.offset()).map(|(partition, offset)| match letter.topic() {
        Some(topic) if topic != source => format!("{}:{partition}:{offset}", escaped(topic.as_bytes())),
        _ => format!("{partition}:{offset}"),
    });
    let exception = letter.exception();
    // The last part of a path, in Rust or in Java.
    let exception = exception.as_deref().and_then(|path| path.rsplit([':', '.']).next());
    let error = match (exception, letter.message()) {
        (Some(exception), Some(message)) => Some(format!("{exception}: {message}")),
        (exception, message) => exception.map(str::to_owned).or(message.map(|message| message.into_owned())),
    };
    vec![
        letter.name.to_string(),
        time(letter.timestamp),
        from.unwrap_or_else(none),
        text(letter.group().as_deref()),
        letter.replays().to_string(),
        text(error.as_deref()),
        letter.value.as_ref().map_or_else(none, |value| escaped_beginning(value, SHOWN_BYTES).to_string()),
    ]
}

fn show(given: &Given) -> Result<()> {
    looking(&given.settings, |office| {
        let mut missing = Vec::new();
        for name in &given.letters.filter.names {
            match office.find(*name, None)? {
                Some((letter, settled)) => {
                    print(&everything(&letter, settled, office.topic()));
                }
                None => missing.push(name.to_string()),
            }
        }
        match missing.is_empty() {
            true => Ok(()),
            false => Err(Error::new(format!("there is no dead letter {}", missing.join(", ")))),
        }
    })
}

/// A letter with all that it says; its value comes last.
fn everything(letter: &Letter, settled: bool, topic: &str) -> String {
    let text = |text: Option<&str>| text.map_or_else(none, |text| escaped_whole(text.as_bytes()).to_string());
    let number = |number: Option<i64>| number.map_or_else(none, |number| number.to_string());
    let from = format!(
        "topic={} partition={} offset={} time={}",
        text(letter.topic().as_deref()),
        number(letter.partition().map(i64::from)),
        number(letter.offset()),
        time(letter.original_timestamp())
    );
    let mut lines = vec![
        ("letter", format!("{} of {topic}", letter.name)),
        ("time", time(letter.timestamp)),
        ("settled", if settled { "yes" } else { "no" }.to_owned()),
        ("from", from),
        ("group", text(letter.group().as_deref())),
        ("replays", letter.replays().to_string()),
        ("exception", text(letter.exception().as_deref())),
        ("message", text(letter.message().as_deref())),
        ("key", Key(letter.key.as_deref()).to_string()),
    ];
    for (name, value) in letter.headers.borrowed().iter() {
        let value = value.map_or_else(|| "null".to_owned(), |value| format!("\"{}\"", escaped_whole(value)));
        lines.push(("header", format!("{}={value}", escaped_whole(name.as_bytes()))));
    }
    let value = letter.value.as_deref();
    lines.push(("value", value.map_or_else(|| "null".to_owned(), |value| escaped_whole(value).to_string())));
    lines.iter().map(|(name, text)| format!("{name:9}  {text}\n")).collect::<String>() + "\n"
}

/// Looks at letters: what is printed is all that there is to say, so there is no log.
fn looking(settings: &Settings, look: impl FnOnce(&Office) -> Result<()>) -> Result<()> {
    let level = settings.log.level.min(log::LevelFilter::Error);
    logging::start(&LogSettings { level, file: String::new() })?;
    with_office(settings, look)
}

/// With the embedded broker where that is the one: served here, if nobody else does.
fn with_office<T>(settings: &Settings, work: impl FnOnce(&Office) -> Result<T>) -> Result<T> {
    base::is_served(settings)?;
    let broker = base::start_broker(settings)?;
    let outcome = work(&Office::new(settings));
    broker.into_iter().for_each(Broker::stop);
    outcome
}

fn settle(given: &Given, action: Action) -> Result<()> {
    let asked = &given.letters;
    if action == Action::Discard && asked.filter.is_everything() && !asked.all {
        let what = "which letters? name them, choose some (see --help), or give --all for every one";
        return Err(Error::new(what).about_settings());
    }
    let stop = given.begin()?;
    let order = Order { filter: asked.filter.clone(), max: asked.max, deadline: None };
    let summary = with_office(&given.settings, |office| {
        // Whoever has seen enough may close the pipe; the work goes on.
        office.settle(action, &order, &stop, &mut |letter, outcome| {
            print(&told(letter, outcome));
        })
    })?;
    print(&summed_up(action, &summary));
    match summary.stopped {
        Some(why) => Err(Error::new("it ended early").caused_by(why)),
        None if summary.is_complete() => Ok(()),
        None => Err(Error::new("not all that was asked is done")),
    }
}

fn told(letter: &Letter, outcome: &Outcome) -> String {
    let name = letter.name;
    match outcome {
        Outcome::Replayed { topic, partition, offset } => {
            let topic = escaped(topic.as_bytes());
            format!("replayed: letter={name} topic={topic} partition={partition} offset={offset}\n")
        }
        Outcome::Discarded => format!("discarded: letter={name}\n"),
        Outcome::Failed { reason, .. } => format!("failed: letter={name}: {}\n", escaped(reason.as_bytes())),
        Outcome::Unknown { reason } => {
            format!("unknown: letter={name} may be replayed: {}\n", escaped(reason.as_bytes()))
        }
    }
}

fn summed_up(action: Action, summary: &Summary) -> String {
    let mut text = String::new();
    for (name, missing) in &summary.missing {
        text += &match missing {
            Missing::Settled => format!("missing: letter={name}: it is replayed or discarded already\n"),
            Missing::NotThere => format!("missing: letter={name}: there is none that fits\n"),
        };
    }
    let Summary { done, failed, unknown, left, .. } = summary;
    text += &match action {
        Action::Replay => format!("replayed {done}, failed {failed}"),
        Action::Discard => format!("discarded {done}"),
    };
    if *unknown > 0 {
        text += &format!(", unknown {unknown}");
    }
    text + &format!(", left {left}\n")
}

/// Whether somebody still reads what is printed.
fn print(text: &str) -> bool {
    let mut output = io::stdout().lock();
    output.write_all(text.as_bytes()).and_then(|()| output.flush()).is_ok()
}

/// A time, UTC.
fn time(timestamp: Option<i64>) -> String {
    let format = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");
    let text = timestamp.and_then(|ms| {
        let time = OffsetDateTime::from_unix_timestamp_nanos(i128::from(ms) * 1_000_000).ok()?;
        time.format(format).ok()
    });
    text.or_else(|| timestamp.map(|ms| ms.to_string())).unwrap_or_else(none)
}

fn none() -> String {
    "-".to_owned()
}
