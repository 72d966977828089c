//! The settings of dead letters: for a consumer that stores them, and for the administrator's tool.

use std::time::Duration;

use crate::producer::ProducerSettings;
use client::{ClusterSettings, TopicCreation};

/// What is behind a topic's name in the name of the topic for its dead letters.
const SUFFIX: &str = "-dlt";

/// The topic for the dead letters of a topic.
pub fn dead_letter_topic(source: &str) -> String {
    format!("{source}{SUFFIX}")
}

/// The same in the older versions of Spring Kafka, and in programs that follow them.
const OLDER_SUFFIX: &str = ".DLT";

/// The topic whose dead letters are in this one, by its name as this or another program gives it; `None` if
/// it is no such name.
pub fn source_of_any(topic: &str) -> Option<&str> {
    let source = topic.strip_suffix(SUFFIX).or_else(|| topic.strip_suffix(OLDER_SUFFIX));
    source.filter(|source| !source.is_empty())
}

/// The topic whose dead letters are in this one; `None` if its name is not that of such a topic.
pub fn source_topic(topic: &str) -> Option<&str> {
    topic.strip_suffix(SUFFIX)
}

/// The settings of a consumer that stores dead letters.
#[derive(Debug, Clone, PartialEq)]
pub struct StoreSettings {
    /// How a topic for dead letters is created, if it may be, but for its name and what it is beside.
    pub creation: Option<TopicCreation>,
    /// Those that are created otherwise.
    pub declared: Vec<TopicCreation>,
    /// The consumer's group, which a header of each dead letter names.
    pub group: String,
    /// `kafka.delivery_timeout_ms`: after it a record is stored, or it is not, or that is unknown.
    pub delivery_timeout: Duration,
    /// The producer that stores them; its limits do not apply.
    pub producer: ProducerSettings,
}

impl StoreSettings {
    /// How the topic for the dead letters of `source` is created, if it may be.
    pub fn letter_topic_creation(&self, source: &str) -> Option<TopicCreation> {
        let (name, usual) = (dead_letter_topic(source), self.creation.as_ref()?);
        let declared = self.declared.iter().find(|creation| creation.name == name);
        Some(declared.cloned().unwrap_or_else(|| TopicCreation {
            name,
            beside: Some(source.to_owned()),
            ..usual.clone()
        }))
    }
}

/// The settings of the administrator's tool: the topics, and how dead letters are replayed.
#[derive(Debug, Clone)]
pub struct BrowserSettings {
    /// The cluster.
    pub cluster: ClusterSettings,
    /// The topic that they came from.
    pub source: String,
    /// The topic in which they are.
    pub topic: String,
    /// After so much silence of a replay another one may start.
    pub session_timeout: Duration,
}
