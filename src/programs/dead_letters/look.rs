//! `list` and `show`.

use super::{Meant, looking, print};
use crate::cli::{DeadLetterChoice, DeadLetterIds, DeadLetterTopics, Invocation};
use crate::dead_letters::headers::{STDERR, as_number};
use crate::dead_letters::{DeadLetter, DeadLetterBrowser, DeadLetterFilter, ReplayTargets};
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
    let meant = Meant::new(topics, &consumed, filter.ids.iter().copied())?;
    looking(&invocation.settings, &meant, |browsers| {
        // With several topics each letter names its own.
        let own = browsers.first().filter(|_| meant.is_of_one()).map(DeadLetterBrowser::source);
        let mut list = List::new(own, choice.max);
        for browser in browsers {
            let listed = list.add(browser, &filter);
            if !listed.as_ref().is_ok_and(|goes_on| *goes_on) {
                return listed.map(|_| ());
            }
        }
        list.end(filter.is_everything())
    })
}

/// A list that is being printed.
struct List<'a> {
    table: Table,
    rows: Vec<Vec<String>>,
    /// The only topic that the letters came from, unless they say otherwise.
    own: Option<&'a str>,
    listed: u64,
    most: u64,
    /// What is left out of a topic: it hides nothing else, and is told in the end.
    left_out: Option<Error>,
}

impl<'a> List<'a> {
    fn new(own: Option<&'a str>, max: Option<u64>) -> List<'a> {
        let head = ["LETTER", "TIME", "FROM", "GROUP", "REPLAYS", "ERROR", "VALUE"].map(str::to_owned);
        let rows = vec![head.to_vec()];
        List { table: Table::default(), rows, own, listed: 0, most: max.unwrap_or(u64::MAX), left_out: None }
    }

    /// Adds the letters of a topic; false if nobody reads on.
    fn add(&mut self, browser: &DeadLetterBrowser, filter: &DeadLetterFilter) -> Result<bool> {
        if self.listed >= self.most {
            return Ok(true);
        }
        let mut targets = browser.targets(None);
        let mut letters = browser.letters(filter, None).inspect_err(|_| self.break_off())?;
        let left_out = letters.take_left_out();
        self.left_out = match (self.left_out.take(), left_out) {
            (Some(before), Some(error)) => Some(Error::new(format!("{before}; {error}"))),
            (before, error) => before.or(error),
        };
        while self.listed < self.most
            && let Some(letter) = letters.next()
        {
            let letter = letter.inspect_err(|_| self.break_off())?;
            self.rows.push(row(&letter, &mut targets, self.own));
            self.listed += 1;
            if self.rows.len() >= ROWS && !self.print() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Prints what is not printed yet, and returns whether the reader still takes it.
    fn print(&mut self) -> bool {
        print(&self.table.text(&std::mem::take(&mut self.rows)))
    }

    /// Before an error.
    fn break_off(&mut self) {
        if self.listed > 0 {
            self.print();
        }
    }

    /// The end, with what there is to say where every letter is listed, or those that fit are.
    fn end(mut self, everything: bool) -> Result<()> {
        if let Some(error) = self.left_out.take() {
            self.break_off();
            return Err(error);
        }
        match (self.listed, everything) {
            (0, true) => print("no dead letters\n"),
            (0, false) => print("no dead letter fits\n"),
            _ => self.print(),
        };
        Ok(())
    }
}

/// The row of a letter. The topic `own` is not named.
fn row(letter: &DeadLetter, targets: &mut ReplayTargets, own: Option<&str>) -> Vec<String> {
    let text = |text: Option<&str>| {
        text.map_or_else(none, |text| escape_beginning(text.as_bytes(), SHOWN_BYTES).to_string())
    };
    let number = |number: Option<i64>| number.map_or_else(none, |number| number.to_string());
    // A partition that it does not say is the one that a replay would send it to.
    let partition = targets.partition(letter).map(i64::from);
    let place = match (partition, letter.offset()) {
        (None, None) => none(),
        (partition, offset) => format!("{}:{}", number(partition), number(offset)),
    };
    let topic = targets.topic(letter);
    let from = match own {
        Some(own) if topic == own => place,
        _ => format!("{}:{place}", escape(topic.as_bytes())),
    };
    let exception = letter.exception();
    // The last part of a path, in Rust or in Java.
    let exception = exception.as_deref().and_then(|path| path.rsplit([':', '.']).next());
    let error = match (exception, letter.message()) {
        (Some(exception), Some(message)) => Some(format!("{exception}: {message}")),
        (exception, message) => exception.map(str::to_owned).or(message.map(|message| message.into_owned())),
    };
    let stderr = letter.last_stderr_line();
    let stderr = stderr.map(|line| format!("; stderr: {}", escape_beginning(line, SHOWN_BYTES)));
    vec![
        letter.id.to_string(),
        time(letter.timestamp),
        from,
        text(letter.group().as_deref()),
        letter.replays().to_string(),
        text(error.as_deref()) + &stderr.unwrap_or_default(),
        letter.value.as_ref().map_or_else(none, |value| escape_beginning(value, SHOWN_BYTES).to_string()),
    ]
}

/// Prints all of the letters that are named.
pub fn show(invocation: &Invocation, topics: &DeadLetterTopics, ids: &DeadLetterIds) -> Result<()> {
    let consumed = invocation.settings.kafka.consumed();
    let meant = Meant::new(topics, &consumed, ids.letters.iter().copied())?;
    looking(&invocation.settings, &meant, |browsers| {
        let mut missing = Vec::new();
        for name in &ids.letters {
            // Names are those of letters of one topic.
            let Some(browser) = browsers.first() else {
                missing.push(name.to_string());
                continue;
            };
            match browser.find(*name, None)? {
                Some((letter, settled)) => {
                    let mut targets = browser.targets(None);
                    print(&everything(&letter, settled, browser.topic(), &mut targets));
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
fn everything(letter: &DeadLetter, settled: bool, topic: &str, targets: &mut ReplayTargets) -> String {
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
    ];
    if letter.topic().is_none() || letter.partition().is_none() {
        let partition = number(targets.partition(letter).map(i64::from));
        lines.push(("to", format!("topic={} partition={partition}", text(Some(&targets.topic(letter))))));
    }
    lines.extend([
        ("group", text(letter.group().as_deref())),
        ("replays", letter.replays().to_string()),
        ("exception", text(letter.exception().as_deref())),
        ("message", text(letter.message().as_deref())),
        ("attempts", number(letter.attempts().map(i64::from))),
        ("deaths", letter.kills().to_string()),
    ]);
    let errors = letter.errors();
    lines.extend(errors.iter().map(|error| ("error", escape_whole(error.as_bytes()).to_string())));
    lines.extend(stderr(letter).into_iter().map(|line| ("stderr", line)));
    lines.push(("key", Key(letter.key.as_deref()).to_string()));
    for (name, value) in letter.headers.borrowed().iter().filter(|(name, _)| name != STDERR) {
        let value = match value {
            None => "null".to_owned(),
            Some(value) => match as_number(&name, value) {
                Some(number) => number.into_owned(),
                None => format!("\"{}\"", escape_whole(value)),
            },
        };
        lines.push(("header", format!("{}={value}", escape_whole(name.as_bytes()))));
    }
    let value = letter.value.as_deref();
    lines.push(("value", value.map_or_else(|| "null".to_owned(), |value| escape_whole(value).to_string())));
    lines.iter().map(|(name, text)| format!("{name:9}  {text}\n")).collect::<String>() + "\n"
}

/// What the handler wrote on standard error, line by line. Where it had several messages, the first line says
/// so.
fn stderr(letter: &DeadLetter) -> Vec<String> {
    let Some(bytes) = letter.stderr() else { return Vec::new() };
    let several = match letter.stderr_messages() {
        0 | 1 => None,
        messages => Some(format!("(written while the handler had {messages} messages at once)")),
    };
    let lines = bytes.strip_suffix(b"\n").unwrap_or(bytes).split(|byte| *byte == b'\n');
    let lines = lines.map(|line| escape_whole(line.strip_suffix(b"\r").unwrap_or(line)).to_string());
    several.into_iter().chain(lines).collect()
}
