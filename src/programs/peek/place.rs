//! The topic that is looked into, and the offsets of a partition.

use crate::error::Error;
use client::Cluster;

/// The name that Kafka's tools show.
pub const CLIENT_ID: &str = "peek";

/// A topic, and the cluster that has it.
#[derive(Clone, Copy)]
pub struct Place<'a> {
    /// The cluster.
    pub cluster: &'a Cluster,
    /// The topic's name.
    pub topic: &'a str,
}

impl Place<'_> {
    /// The error of a topic that cannot be read.
    pub fn unreadable(&self) -> Error {
        let brokers = self.cluster.settings().bootstrap_servers.join(", ");
        Error::new(format!("the topic {} at {brokers} cannot be read", self.topic)).retriable()
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
