//! The configuration of topics and of the node, by Kafka's names: what is in effect, none of which a request
//! can change.

use super::node::NODE_ID;
use super::{BrokerSettings, MAX_BATCH_BYTES, MAX_REQUEST_BYTES};

/// The type of a value, as DescribeConfigs has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i8)]
pub enum Kind {
    /// `true` or `false`.
    Boolean = 1,
    /// A text.
    Text = 2,
    /// 32 bits.
    Int = 3,
    /// 64 bits.
    Long = 5,
    /// Texts with commas between them.
    List = 7,
}

/// One value in effect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Kafka's name of it.
    pub name: &'static str,
    /// The value.
    pub value: String,
    /// Its type.
    pub kind: Kind,
    /// Whether it comes from our settings; else it is as Kafka has it, or cannot be otherwise.
    pub from_settings: bool,
}

impl Entry {
    /// Where the value comes from, as DescribeConfigs has it: STATIC_BROKER_CONFIG or DEFAULT_CONFIG.
    pub fn source(&self) -> i8 {
        if self.from_settings { 4 } else { 5 }
    }
}

fn fixed(name: &'static str, kind: Kind, value: impl ToString) -> Entry {
    Entry { name, value: value.to_string(), kind, from_settings: false }
}

fn set(name: &'static str, kind: Kind, value: impl ToString) -> Entry {
    Entry { from_settings: true, ..fixed(name, kind, value) }
}

/// A limit, of which -1 means none.
fn limit<T: ToString>(name: &'static str, value: Option<T>) -> Entry {
    match value {
        Some(value) => set(name, Kind::Long, value),
        None => fixed(name, Kind::Long, -1),
    }
}

/// What is in effect for every topic.
pub fn of_topics(settings: &BrokerSettings) -> Vec<Entry> {
    vec![
        fixed("cleanup.policy", Kind::List, "delete"),
        fixed("compression.type", Kind::Text, "producer"),
        fixed("flush.messages", Kind::Long, 1),
        fixed("max.message.bytes", Kind::Int, MAX_BATCH_BYTES),
        fixed("message.timestamp.type", Kind::Text, "CreateTime"),
        fixed("min.insync.replicas", Kind::Int, 1),
        limit("retention.bytes", settings.retention_bytes),
        limit("retention.ms", settings.retention.map(|age| age.as_millis())),
        fixed("unclean.leader.election.enable", Kind::Boolean, false),
    ]
}

/// What is in effect for the node.
pub fn of_node(settings: &BrokerSettings) -> Vec<Entry> {
    vec![
        set("auto.create.topics.enable", Kind::Boolean, settings.auto_create_topics),
        fixed("broker.id", Kind::Int, NODE_ID),
        fixed("compression.type", Kind::Text, "producer"),
        fixed("default.replication.factor", Kind::Int, 1),
        set("listeners", Kind::List, format!("PLAINTEXT://{}", settings.listen)),
        fixed("log.cleanup.policy", Kind::List, "delete"),
        set("log.dirs", Kind::Text, settings.data_dir.display()),
        fixed("log.message.timestamp.type", Kind::Text, "CreateTime"),
        limit("log.retention.bytes", settings.retention_bytes),
        limit("log.retention.ms", settings.retention.map(|age| age.as_millis())),
        fixed("message.max.bytes", Kind::Int, MAX_BATCH_BYTES),
        fixed("min.insync.replicas", Kind::Int, 1),
        fixed("node.id", Kind::Int, NODE_ID),
        set("num.partitions", Kind::Int, settings.partitions),
        fixed("socket.request.max.bytes", Kind::Int, MAX_REQUEST_BYTES),
    ]
}
