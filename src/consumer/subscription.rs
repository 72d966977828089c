//! Which topics a consumer consumes: some that are named, or all that a pattern matches.

use std::fmt;
use std::sync::Arc;

use client::group_member::{TopicFilter, TopicSelection};
use regex_lite::Regex;

use crate::dead_letters::source_topic;

/// The topics of a consumer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subscription {
    /// These, each once and one at least.
    Topics(Vec<String>),
    /// All that this matches, as they come and go.
    Pattern(TopicPattern),
}

impl Subscription {
    /// The topics that are named.
    pub fn named(&self) -> &[String] {
        match self {
            Subscription::Topics(topics) => topics,
            Subscription::Pattern(_) => &[],
        }
    }

    /// The one topic, if it is one.
    pub fn single(&self) -> Option<&str> {
        match self.named() {
            [topic] => Some(topic),
            _ => None,
        }
    }

    /// Whether this topic is one of them.
    pub fn has(&self, topic: &str) -> bool {
        match self {
            Subscription::Topics(topics) => topics.iter().any(|named| named == topic),
            Subscription::Pattern(pattern) => pattern.chooses(topic),
        }
    }

    /// It as a member of a group takes it.
    pub fn selection(&self) -> TopicSelection {
        match self {
            Subscription::Topics(topics) => TopicSelection::named(topics.iter().cloned()),
            Subscription::Pattern(pattern) => {
                TopicSelection { filter: Some(Arc::new(pattern.clone())), ..TopicSelection::default() }
            }
        }
    }
}

impl fmt::Display for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Subscription::Topics(topics) => f.write_str(&topics.join(", ")),
            Subscription::Pattern(pattern) => f.write_str(pattern.0.as_str()),
        }
    }
}

/// A regular expression for names of topics, which begins with `^`, as librdkafka has it. It matches from a
/// name's beginning, whatever alternatives it has, but need not match to its end.
#[derive(Debug, Clone)]
pub struct TopicPattern(Regex);

/// The most bytes of a topic's name whose dead letters can have a topic, too.
const LONGEST: usize = 245;

impl TopicPattern {
    /// A pattern.
    ///
    /// # Errors
    /// It is no regular expression.
    pub fn new(text: &str) -> Result<TopicPattern, String> {
        Regex::new(text).map(TopicPattern).map_err(|error| error.to_string())
    }
}

impl PartialEq for TopicPattern {
    fn eq(&self, other: &TopicPattern) -> bool {
        self.0.as_str() == other.0.as_str()
    }
}

impl Eq for TopicPattern {}

impl TopicFilter for TopicPattern {
    /// Internal topics (`__...`) are left out, and so is the topic for the dead letters of one that matches.
    fn chooses(&self, topic: &str) -> bool {
        // The first match is the leftmost one.
        let matches = |topic: &str| self.0.find(topic).is_some_and(|found| found.start() == 0);
        let is_for_dead_letters = source_topic(topic).is_some_and(matches);
        topic.len() <= LONGEST && !topic.starts_with("__") && !is_for_dead_letters && matches(topic)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen<'a>(pattern: &str, topics: &[&'a str]) -> Vec<&'a str> {
        let subscription = Subscription::Pattern(TopicPattern::new(pattern).unwrap());
        topics.iter().copied().filter(|topic| subscription.has(topic)).collect()
    }

    #[test]
    fn a_pattern_matches_from_the_beginning_of_a_name() {
        let topics = ["orders", "orders-eu", "old-orders"];
        assert_eq!(chosen("^orders", &topics), ["orders", "orders-eu"]);
        assert_eq!(chosen("^orders$", &topics), ["orders"]);
        assert_eq!(chosen("^(old|new)-", &topics), ["old-orders"]);
        let bills = ["orders-eu", "bills", "old-bills"];
        assert_eq!(chosen("^orders|bills", &bills), ["orders-eu", "bills"], "so does each alternative");
        assert!(TopicPattern::new("^(").is_err());
    }

    #[test]
    fn what_is_internal_and_the_dead_letters_of_what_matches_are_left_out() {
        let long = "a".repeat(246);
        let topics = ["a", "a-dlt", "a-dlt-dlt", "__consumer_offsets", "__a", &long];
        assert_eq!(chosen("^.*", &topics), ["a"]);
        assert_eq!(chosen("^.*-dlt$", &topics), ["a-dlt"], "of no topic that matches");
    }
}
