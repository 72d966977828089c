//! The names under which an administrator asks for messages of a work queue.

use std::fmt;
use std::str::FromStr;

use crate::config::{Subscription, check_topic};
use crate::error::{Error, Result};
use protocol::TopicPartition;

/// The name of a message: its partition and offset, and its topic, which may be left out where there is one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageName {
    topic: Option<String>,
    partition: i32,
    offset: i64,
}

/// A message.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Message {
    pub place: TopicPartition,
    pub offset: i64,
    /// Its name is with the topic.
    pub with_topic: bool,
}

impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let TopicPartition { topic, partition } = &self.place;
        if self.with_topic {
            write!(f, "{topic}:")?;
        }
        write!(f, "{partition}:{}", self.offset)
    }
}

impl MessageName {
    /// The message of this name.
    ///
    /// # Errors
    /// It may be of each of several topics.
    pub fn of(&self, topics: &Subscription) -> Result<Message> {
        let MessageName { topic, partition, offset } = self;
        let named = topic.as_deref().or_else(|| topics.single());
        let named = named.ok_or_else(|| {
            let name = format!("{partition}:{offset}");
            let what = format!("{name} may be a message of each of the topics: name it <topic>:{name}");
            Error::new(what).about_settings()
        })?;
        let place = TopicPartition::new(named, *partition);
        Ok(Message { place, offset: *offset, with_topic: topic.is_some() })
    }
}

impl FromStr for MessageName {
    type Err = String;

    fn from_str(text: &str) -> Result<MessageName, String> {
        let parts: Vec<&str> = text.split(':').collect();
        let (topic, partition, offset) = match parts[..] {
            [partition, offset] => (None, partition, offset),
            [topic, partition, offset] => (Some(check_topic(topic)?), partition, offset),
            _ => (None, "", ""),
        };
        let numbers = partition.parse().ok().zip(offset.parse().ok());
        let name = numbers.map(|(partition, offset)| MessageName { topic, partition, offset });
        let name = name.filter(|name| name.partition >= 0 && name.offset >= 0);
        name.ok_or_else(|| {
            "a message's name is <partition>:<offset> or <topic>:<partition>:<offset>, as in 0:17".to_owned()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAME: MessageName = MessageName { topic: None, partition: 1, offset: 17 };

    #[test]
    fn a_name_is_two_numbers_and_perhaps_a_topic() {
        let only = Subscription::Topics(vec!["t".to_owned()]);
        assert_eq!("1:17".parse(), Ok(NAME));
        assert_eq!(NAME.of(&only).unwrap().to_string(), "1:17");
        let full: MessageName = "t:1:17".parse().unwrap();
        for text in ["", "1", "1:", ":1", "-1:2", "1:-2", ":2:3", "t:2:3:4", "x:1", "t:x:1", "t u:2:3"] {
            assert!(text.parse::<MessageName>().is_err(), "{text}");
        }
        let several = Subscription::Topics(vec!["t".to_owned(), "u".to_owned()]);
        let found = full.of(&several).unwrap();
        assert_eq!((found.to_string().as_str(), found.place), ("t:1:17", TopicPartition::new("t", 1)));
        let error = NAME.of(&several).unwrap_err().to_string();
        assert!(error.contains("name it <topic>:1:17"), "{error}");
    }
}
