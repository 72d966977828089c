//! The options that choose dead letters.

// The types have no doc comments: clap would show them as the description of the program.
#![allow(missing_docs)]

use clap::{Args, value_parser};

use crate::config::{self, Subscription};
use crate::dead_letters::{DeadLetterFilter, DeadLetterId, filter};
use crate::error::{Error, Result};

const ID_HELP: &str = "Its name, <partition>:<offset>, as `list` shows it";

#[derive(Debug, Clone, Default, Args)]
pub struct DeadLetterIds {
    #[arg(value_name = "LETTER", required = true, num_args = 1.., help = ID_HELP)]
    pub letters: Vec<DeadLetterId>,
}

#[derive(Debug, Clone, Default, Args)]
pub struct DeadLetterChoice {
    #[arg(value_name = "LETTER", num_args = 1.., help = ID_HELP)]
    letters: Vec<DeadLetterId>,
    /// Only letters from this partition of the original topic
    #[arg(long, value_name = "N", value_parser = value_parser!(i32).range(0..))]
    partition: Option<i32>,
    /// Only letters that this group could not handle
    #[arg(long)]
    group: Option<String>,
    /// Only letters with this text in the error, or in its type
    #[arg(long, value_name = "TEXT")]
    error: Option<String>,
    /// Only letters since 2026-05-01T10:00:00Z, 2026-05-01, or 90s, 30m, 12h, 7d ago
    #[arg(long, value_name = "TIME", value_parser = filter::since)]
    since: Option<i64>,
    /// Only letters with this key
    #[arg(long)]
    key: Option<String>,
    /// So many at most, the oldest first
    #[arg(long, value_name = "N", value_parser = value_parser!(u64).range(1..))]
    pub max: Option<u64>,
}

impl DeadLetterChoice {
    /// The filter for letters that meet all options.
    pub fn filter(&self) -> DeadLetterFilter {
        DeadLetterFilter {
            ids: self.letters.iter().copied().collect(),
            partition: self.partition,
            group: self.group.clone(),
            error: self.error.clone(),
            since: self.since,
            key: self.key.clone().map(String::into_bytes),
        }
    }
}

#[derive(Debug, Clone, Default, Args)]
pub struct DeadLetterTopics {
    /// The letters that came from this topic, not those of kafka.topics, or kafka.topic (repeatable, or with
    /// commas)
    #[arg(long, value_name = "NAME", value_delimiter = ',', value_parser = config::check_topic)]
    topic: Vec<String>,
}

impl DeadLetterTopics {
    /// The topics that the letters came from, each once: those named, else those consumed. `ids` are the
    /// letters that are named.
    ///
    /// # Errors
    /// Letters are named, and it is open of which of several topics; or no topic is named, and the consumed
    /// ones are a pattern.
    pub fn or<'a>(
        &'a self,
        consumed: &'a Subscription,
        ids: impl IntoIterator<Item = DeadLetterId>,
    ) -> Result<Vec<&'a str>> {
        let mut topics: Vec<&str> = Vec::new();
        for topic in &self.topic {
            if !topics.contains(&topic.as_str()) {
                topics.push(topic);
            }
        }
        if topics.is_empty() {
            topics.extend(consumed.named().iter().map(String::as_str));
        }
        if topics.is_empty() {
            let what = format!(
                "the letters of which topic? kafka.topics is a pattern ({consumed}): name it with --topic"
            );
            return Err(Error::new(what).about_settings());
        }
        match ids.into_iter().next() {
            Some(id) if topics.len() > 1 => {
                let what =
                    format!("{id} may be a letter of each of the topics: name letters of one topic only");
                Err(Error::new(what).about_settings())
            }
            _ => Ok(topics),
        }
    }
}

#[derive(Debug, Clone, Default, Args)]
pub struct DeadLetterProgram {
    /// Send what this program prints for each letter: it reads the value on standard input, as a handler
    /// does, and keeps the letter with exit status 65
    #[arg(long, value_name = "PROGRAM")]
    through: Option<String>,
    /// Arguments of the program
    #[arg(last = true, value_name = "ARG", requires = "through")]
    arguments: Vec<String>,
}

impl DeadLetterProgram {
    /// The program and its arguments, if one is named.
    pub fn command(&self) -> Option<Vec<String>> {
        let program = self.through.iter();
        self.through.is_some().then(|| program.chain(&self.arguments).cloned().collect())
    }
}

#[derive(Debug, Clone, Default, Args)]
pub struct AllDeadLetters {
    /// Every dead letter
    #[arg(long)]
    pub all: bool,
}
