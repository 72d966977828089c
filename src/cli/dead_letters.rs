//! The options that choose dead letters.

// The types have no doc comments: clap would show them as the description of the program.
#![allow(missing_docs)]

use clap::builder::NonEmptyStringValueParser;
use clap::{Args, value_parser};

use crate::config::{self, Subscription};
use crate::dead_letters::{DeadLetterFilter, DeadLetterId, dead_letter_topic, filter, source_of_any};
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
    #[arg(long, value_parser = NonEmptyStringValueParser::new())]
    group: Option<String>,
    /// Only letters with this text in value, key, error, standard error or topic, in capitals or not
    #[arg(long, value_name = "TEXT")]
    text: Option<String>,
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
            text: self.text.clone(),
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
    /// The letters in this topic, as orders.DLT of other programs; those that do not say where they came from
    /// came from --topic, or, without it, from the topic of that name without its end
    #[arg(long, value_name = "NAME", value_parser = config::check_topic)]
    dlt: Option<String>,
}

/// The topics whose dead letters are meant.
#[derive(Debug)]
pub enum LetterTopics<'a> {
    /// These.
    Named(Vec<LetterTopic>),
    /// Those of all topics that a pattern matches.
    Matching(&'a Subscription),
}

/// A topic with dead letters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LetterTopic {
    /// The topic that they came from, unless a letter says otherwise.
    pub source: String,
    /// The topic in which they are.
    pub topic: String,
}

impl LetterTopic {
    /// That of the letters that came from a topic.
    pub fn of(source: &str) -> LetterTopic {
        LetterTopic { source: source.to_owned(), topic: dead_letter_topic(source) }
    }
}

impl DeadLetterTopics {
    /// Whether topics are named by options, and not by the settings.
    pub fn are_given(&self) -> bool {
        self.dlt.is_some() || !self.topic.is_empty()
    }

    /// The topics with the letters, each once: those named, else those of the topics that are consumed.
    ///
    /// # Errors
    /// With --dlt it is open where letters came from that do not say it.
    pub fn or<'a>(&self, consumed: &'a Subscription) -> Result<LetterTopics<'a>> {
        if let Some(dlt) = &self.dlt {
            return self.only(dlt).map(|topic| LetterTopics::Named(vec![topic]));
        }
        let mut topics: Vec<LetterTopic> = Vec::new();
        let named = if self.topic.is_empty() { consumed.named() } else { self.topic.as_slice() };
        for topic in named.iter().map(|topic| LetterTopic::of(topic)) {
            if !topics.contains(&topic) {
                topics.push(topic);
            }
        }
        Ok(if topics.is_empty() { LetterTopics::Matching(consumed) } else { LetterTopics::Named(topics) })
    }

    /// The topic that --dlt names.
    fn only(&self, dlt: &str) -> Result<LetterTopic> {
        let source = match self.topic.as_slice() {
            [] => source_of_any(dlt).ok_or_else(|| {
                format!("where do the letters in {dlt} come from that do not say it? name that with --topic")
            }),
            [topic] => Ok(topic.as_str()),
            _ => Err("--dlt names one topic, so that --topic can name one only".to_owned()),
        };
        let source = source.map_err(|what| Error::new(what).about_settings())?.to_owned();
        Ok(LetterTopic { source, topic: dlt.to_owned() })
    }
}

/// # Errors
/// A letter is named, and it is open of which of several topics it is.
pub fn check_names(topics: &[LetterTopic], mut ids: impl Iterator<Item = DeadLetterId>) -> Result<()> {
    match ids.next() {
        Some(id) if topics.len() > 1 => {
            let what = format!("{id} may be a letter of each of the topics: name letters of one topic only");
            Err(Error::new(what).about_settings())
        }
        _ => Ok(()),
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

#[cfg(test)]
mod tests {
    use super::*;

    fn named(topic: &[&str], dlt: Option<&str>) -> Result<Vec<LetterTopic>, String> {
        let topic = topic.iter().map(|&topic| topic.to_owned()).collect();
        let topics = DeadLetterTopics { topic, dlt: dlt.map(str::to_owned) };
        match topics.or(&Subscription::Topics(vec!["a".to_owned(), "b".to_owned()])) {
            Ok(LetterTopics::Named(topics)) => Ok(topics),
            Ok(other) => panic!("{other:?}"),
            Err(error) => Err(error.to_string()),
        }
    }

    fn letters(source: &str, topic: &str) -> LetterTopic {
        LetterTopic { source: source.to_owned(), topic: topic.to_owned() }
    }

    #[test]
    fn letters_are_those_of_the_named_topics_or_of_the_consumed_ones() {
        assert_eq!(named(&[], None), Ok(vec![letters("a", "a-dlt"), letters("b", "b-dlt")]));
        assert_eq!(named(&["c", "c"], None), Ok(vec![letters("c", "c-dlt")]));
    }

    #[test]
    fn a_topic_of_letters_may_have_any_name() {
        assert_eq!(named(&[], Some("orders.DLT")), Ok(vec![letters("orders", "orders.DLT")]));
        assert_eq!(named(&[], Some("orders-dlt")), Ok(vec![letters("orders", "orders-dlt")]));
        assert_eq!(named(&["orders"], Some("failed")), Ok(vec![letters("orders", "failed")]));
        for (topics, dlt) in [(&[][..], "failed"), (&[], ".DLT"), (&["a", "b"], "a.DLT")] {
            assert!(named(topics, Some(dlt)).unwrap_err().contains("--topic"), "{dlt}");
        }
    }
}
