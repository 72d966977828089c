//! `list` and `show`.

use super::{looking, print};
use crate::cli::{DeadLetterChoice, DeadLetterIds, DeadLetterTopics, Invocation};
use crate::dead_letters::DeadLetter;
use crate::error::{Error, Result};
use crate::programs::table::{Table, none, time};
use crate::text::{Key, escape, escape_beginning, escape_whole};

/// The rows that are aligned and printed together.
const ROWS: usize = 100;
/// The bytes that a row shows of an error, and of a value.
const SHOWN_BYTES: usize = 60;

/// Prints the letters that are chosen: topic after topic, of each the oldest first.
pub fn list(invocation: &Invocation, topics: &DeadLetterTopics, choice: &DeadLetterChoice) -> Result<()> {
    let filter = choice.filter();
    let consumed = invocation.settings.kafka.consumed();
    let topics = topics.or(&consumed, filter.ids.iter().copied())?;
    looking(&invocation.settings, &topics, |browsers| {
        let most = choice.max.map_or(usize::MAX, |max| usize::try_from(max).unwrap_or(usize::MAX));
        let mut table = Table::default();
        let mut rows = vec![
            ["LETTER", "TIME", "FROM", "GROUP", "REPLAYS", "ERROR", "VALUE"].map(str::to_owned).to_vec(),
        ];
        let mut any = false;
        let letters = browsers.iter().flat_map(|browser| {
            let (found, failed) = match browser.letters(&filter, None) {
                Ok(found) => (Some(found), None),
                Err(error) => (None, Some(Err(error))),
            };
            found.into_iter().flatten().chain(failed).map(move |letter| (browser.source(), letter))
        });
        // With several topics each letter names its own.
        let own = (browsers.len() == 1).then_some(()).and(topics.first().copied());
        for (source, letter) in letters.take(most) {
            match letter {
                Ok(letter) => rows.push(row(&letter, source, own)),
                Err(error) => {
                    if any {
                        print(&table.text(&rows));
                    }
                    return Err(error);
                }
            }
            any = true;
            if rows.len() >= ROWS && !print(&table.text(&std::mem::take(&mut rows))) {
                return Ok(());
            }
        }
        print(&match any {
            true => table.text(&rows),
            false if filter.is_everything() => "no dead letters\n".to_owned(),
            false => "no dead letter fits\n".to_owned(),
        });
        Ok(())
    })
}

/// The row of a letter that came from `source`, unless it says otherwise. The topic `own` is not named.
fn row(letter: &DeadLetter, source: &str, own: Option<&str>) -> Vec<String> {
    let text = |text: Option<&str>| {
        text.map_or_else(none, |text| escape_beginning(text.as_bytes(), SHOWN_BYTES).to_string())
    };
    let place = letter.partition().zip(letter.offset());
    let place = place.map_or_else(none, |(partition, offset)| format!("{partition}:{offset}"));
    let topic = letter.topic().unwrap_or(source.into());
    let from = match own {
        Some(own) if topic == own || place == none() => place,
        _ => format!("{}:{place}", escape(topic.as_bytes())),
    };
    let exception = letter.exception();
    // The last part of a path, in Rust or in Java.
    let exception = exception.as_deref().and_then(|path| path.rsplit([':', '.']).next());
    let error = match (exception, letter.message()) {
        (Some(exception), Some(message)) => Some(format!("{exception}: {message}")),
        (exception, message) => exception.map(str::to_owned).or(message.map(|message| message.into_owned())),
    };
    vec![
        letter.id.to_string(),
        time(letter.timestamp),
        from,
        text(letter.group().as_deref()),
        letter.replays().to_string(),
        text(error.as_deref()),
        letter.value.as_ref().map_or_else(none, |value| escape_beginning(value, SHOWN_BYTES).to_string()),
    ]
}

/// Prints all of the letters that are named.
pub fn show(invocation: &Invocation, topics: &DeadLetterTopics, ids: &DeadLetterIds) -> Result<()> {
    let consumed = invocation.settings.kafka.consumed();
    let topics = topics.or(&consumed, ids.letters.iter().copied())?;
    looking(&invocation.settings, &topics, |browsers| {
        let mut missing = Vec::new();
        let Some(browser) = browsers.first() else { return Ok(()) };
        for name in &ids.letters {
            match browser.find(*name, None)? {
                Some((letter, settled)) => {
                    print(&everything(&letter, settled, browser.topic()));
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

/// All fields of a letter; its value comes last.
fn everything(letter: &DeadLetter, settled: bool, topic: &str) -> String {
    let text = |text: Option<&str>| text.map_or_else(none, |text| escape_whole(text.as_bytes()).to_string());
    let number = |number: Option<i64>| number.map_or_else(none, |number| number.to_string());
    let from = format!(
        "topic={} partition={} offset={} time={}",
        text(letter.topic().as_deref()),
        number(letter.partition().map(i64::from)),
        number(letter.offset()),
        time(letter.original_timestamp())
    );
    let mut lines = vec![
        ("letter", format!("{} of {topic}", letter.id)),
        ("time", time(letter.timestamp)),
        ("settled", if settled { "yes" } else { "no" }.to_owned()),
        ("from", from),
        ("group", text(letter.group().as_deref())),
        ("replays", letter.replays().to_string()),
        ("exception", text(letter.exception().as_deref())),
        ("message", text(letter.message().as_deref())),
        ("attempts", number(letter.attempts().map(i64::from))),
        ("deaths", letter.kills().to_string()),
    ];
    let errors = letter.errors();
    lines.extend(errors.iter().map(|error| ("error", escape_whole(error.as_bytes()).to_string())));
    lines.push(("key", Key(letter.key.as_deref()).to_string()));
    for (name, value) in letter.headers.borrowed().iter() {
        let value = value.map_or_else(|| "null".to_owned(), |value| format!("\"{}\"", escape_whole(value)));
        lines.push(("header", format!("{}={value}", escape_whole(name.as_bytes()))));
    }
    let value = letter.value.as_deref();
    lines.push(("value", value.map_or_else(|| "null".to_owned(), |value| escape_whole(value).to_string())));
    lines.iter().map(|(name, text)| format!("{name:9}  {text}\n")).collect::<String>() + "\n"
}
