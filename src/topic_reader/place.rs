//! The topic that is looked into, and the offsets of a partition.

use std::time::{Duration, Instant};

use crate::error::Error;
use client::Cluster;

/// A topic, and the cluster that has it.
#[derive(Clone, Copy)]
pub struct Place<'a> {
    /// The cluster.
    pub cluster: &'a Cluster,
    /// The topic's name.
    pub topic: &'a str,
    /// The name that Kafka's tools show.
    pub client_id: &'a str,
    /// The end of all waits, if they have one.
    pub deadline: Option<Instant>,
}

impl Place<'_> {
    /// The error of a topic that cannot be read.
    pub fn unreadable(&self) -> Error {
        let brokers = self.cluster.settings().bootstrap_servers.join(", ");
        Error::new(format!("the topic {} at {brokers} cannot be read", self.topic)).retriable()
    }

    /// The end of a wait of so long.
    pub fn within(&self, patience: Duration) -> Instant {
        let limit = Instant::now() + patience;
        self.deadline.map_or(limit, |deadline| deadline.min(limit))
    }

    /// Whether the deadline has passed.
    pub fn is_late(&self) -> bool {
        self.deadline.is_some_and(|deadline| Instant::now() >= deadline)
    }
}

/// The offsets of a partition that are looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionRange {
    /// The partition.
    pub partition: i32,
    /// The first offset.
    pub start: i64,
    /// The offset at which the look ends.
    pub end: i64,
}
