//! What a request asks of whom, for errors.

use std::fmt;

use kafka_protocol::messages::ApiKey;

use protocol::TopicPartition;

/// The request that failed, and its topic, partition or group where it concerns only one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestContext {
    /// The request's name.
    pub api: ApiKey,
    /// Its version.
    pub version: i16,
    /// `host:port` of the broker that was asked.
    pub broker: Option<String>,
    /// The topic.
    pub topic: Option<String>,
    /// The partition of the topic.
    pub partition: Option<i32>,
    /// The consumer group.
    pub group: Option<String>,
    /// The client only looks on the group: it neither joins it nor commits.
    pub looks_on: bool,
    /// What the broker said beside the code with which it refused.
    pub said: Option<Box<Said>>,
}

/// The words of a broker, without control characters. Boxed where it is kept: few errors have any.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said(String);

impl RequestContext {
    /// The request went to this broker.
    #[must_use]
    pub fn to_broker(self, broker: &str) -> RequestContext {
        RequestContext { broker: Some(broker.to_owned()), ..self }
    }

    /// The request is about this topic.
    #[must_use]
    pub fn for_topic(self, topic: &str) -> RequestContext {
        RequestContext { topic: Some(topic.to_owned()), ..self }
    }

    /// The request is about this partition.
    #[must_use]
    pub fn for_partition(self, partition: &TopicPartition) -> RequestContext {
        RequestContext { partition: Some(partition.partition), ..self.for_topic(&partition.topic) }
    }

    /// The request is about this consumer group.
    #[must_use]
    pub fn for_group(self, group: &str) -> RequestContext {
        RequestContext { group: Some(group.to_owned()), ..self }
    }

    /// The broker refused with these words.
    #[must_use]
    pub fn answered(self, said: Option<&str>) -> RequestContext {
        let said = said.filter(|said| !said.is_empty());
        let said = said.map(|said| Box::new(Said(said.escape_debug().to_string())));
        RequestContext { said, ..self }
    }

    /// Whether the client only looks on the group.
    #[must_use]
    pub fn looking_on(self, looks_on: bool) -> RequestContext {
        RequestContext { looks_on, ..self }
    }
}

impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for RequestContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} v{}", self.api, self.version)?;
        if let Some(broker) = &self.broker {
            write!(f, " to broker {broker}")?;
        }
        match (&self.topic, self.partition) {
            (Some(topic), Some(partition)) => write!(f, " for {topic}-{partition}")?,
            (Some(topic), None) => write!(f, " for topic {topic}")?,
            (None, _) => {}
        }
        match &self.group {
            Some(group) => write!(f, " for group {group}"),
            None => Ok(()),
        }
    }
}
