//! How a cluster is reached, and what may be created there.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::security::Security;
use protocol::compression::Compression;

/// How to reach a cluster and what is asked of it.
#[derive(Debug, Clone)]
pub struct ClusterSettings {
    /// `host:port` of brokers to ask first, in order.
    pub bootstrap_servers: Vec<String>,
    /// Whether brokers are reached at the addresses that they advertise. The embedded broker, which is one
    /// node, is reached at the bootstrap server: what it advertises may be reachable from elsewhere alone.
    pub follows_advertised: bool,
    /// How each connection is secured; what it keeps (tokens, sessions) is shared by all of them.
    pub security: Arc<Security>,
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
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicCreation {
    /// The topic's name.
    pub name: String,
    /// The number of its partitions, ...
    pub partitions: i32,
    /// ... unless this other topic exists: then it has as many as that one. Such a topic is created only for
    /// a client that asks for it by its name.
    pub beside: Option<String>,
    /// Its replication factor; -1 takes the broker's default.
    pub replication_factor: i16,
    /// The configurations that it has of its own.
    pub configs: BTreeMap<String, String>,
}
