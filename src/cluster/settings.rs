//! How a cluster is reached, and what may be created there.

use std::time::Duration;

use crate::config::{KafkaSettings, Settings};
use crate::protocol::compression::Compression;

/// How to reach a cluster and what is asked of it.
#[derive(Debug, Clone)]
pub struct ClusterSettings {
    /// `host:port` of brokers to ask first, in order.
    pub bootstrap_servers: Vec<String>,
    /// The longest wait for one answer, and for one connection.
    pub request_timeout: Duration,
    /// How long producing is retried once a batch may have reached a broker.
    pub delivery_timeout: Duration,
    /// The codec of the batches that are produced.
    pub compression: Compression,
    /// The topics that are created when they are missing.
    pub create: Vec<TopicCreation>,
}

/// A topic to create when it does not exist.
#[derive(Debug, Clone)]
pub struct TopicCreation {
    /// The topic's name.
    pub name: String,
    /// The number of its partitions, ...
    pub partitions: i32,
    /// ... unless this other topic exists: then it has as many as that one. Such a topic is created only for who asks
    /// for it by its name.
    pub beside: Option<String>,
    /// Its replication factor; -1 takes the broker's default.
    pub replication_factor: i16,
}

impl ClusterSettings {
    /// As a program's settings say; no topic is created.
    pub fn of(settings: &Settings) -> ClusterSettings {
        ClusterSettings {
            bootstrap_servers: settings.brokers(),
            request_timeout: settings.kafka.request_timeout(),
            delivery_timeout: settings.kafka.delivery_timeout(),
            compression: settings.kafka.compression,
            create: Vec::new(),
        }
    }
}

impl TopicCreation {
    /// The channel's topic, if it may be created.
    pub fn of(kafka: &KafkaSettings) -> Option<TopicCreation> {
        kafka.create_topic.then(|| TopicCreation {
            name: kafka.topic.clone(),
            partitions: kafka.partitions,
            beside: None,
            replication_factor: kafka.replication_factor,
        })
    }
}
