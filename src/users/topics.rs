//! The topics that a user may use.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The longest name of a topic in Kafka.
const MAX_CHARACTERS: usize = 249;

/// A topic, or with `*` at the end every topic whose name begins so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TopicPattern(String);

impl TopicPattern {
    /// Whether the topic of this name is meant.
    pub fn matches(&self, topic: &str) -> bool {
        match self.0.strip_suffix('*') {
            Some(prefix) => topic.starts_with(prefix),
            None => topic == self.0,
        }
    }
}

impl FromStr for TopicPattern {
    type Err = String;

    fn from_str(text: &str) -> Result<TopicPattern, String> {
        let name = text.strip_suffix('*').unwrap_or(text);
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        if !text.is_empty() && name.len() <= MAX_CHARACTERS && name.bytes().all(legal) {
            return Ok(TopicPattern(text.to_owned()));
        }
        Err("a topic is a name, or a beginning of names with * behind it: letters, digits and . _ -"
            .to_owned())
    }
}

impl TryFrom<String> for TopicPattern {
    type Error = String;

    fn try_from(text: String) -> Result<TopicPattern, String> {
        text.parse()
    }
}

impl From<TopicPattern> for String {
    fn from(pattern: TopicPattern) -> String {
        pattern.0
    }
}

impl fmt::Display for TopicPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_at_the_end_stands_for_every_end() {
        for (pattern, topic, matches) in [
            ("pedidos", "pedidos", true),
            ("pedidos", "pedidos-1", false),
            ("pedidos*", "pedidos", true),
            ("pedidos*", "pedidos-1", true),
            ("pedidos*", "otros-pedidos", false),
            ("*", "anything", true),
        ] {
            let parsed: TopicPattern = pattern.parse().unwrap();
            assert_eq!(parsed.matches(topic), matches, "{pattern} {topic}");
        }
        for illegal in ["", "a*b", "**", "a b", "é", &"x".repeat(250)] {
            assert!(illegal.parse::<TopicPattern>().is_err(), "{illegal}");
        }
    }
}
