//! Configurations of topics and of the node in effect, by Kafka's names; no request can change them.

use super::node::NODE_ID;
use super::settings::{BrokerSettings, MAX_BATCH_BYTES, MAX_REQUEST_BYTES};

/// The type of a configuration value, as in DescribeConfigs (KIP-569).
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
    /// Texts separated by commas.
    List = 7,
}

/// A configuration in effect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its name in Kafka.
    pub name: &'static str,
    /// The value.
    pub value: String,
    /// Its type.
    pub kind: Kind,
    /// Whether it comes from the settings; else it is Kafka's default, or fixed.
    pub from_settings: bool,
}

impl Entry {
    /// The source of the value, as in DescribeConfigs: STATIC_BROKER_CONFIG or DEFAULT_CONFIG.
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

/// The configurations of every topic.
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

/// The configurations of the node.
pub fn of_node(settings: &BrokerSettings) -> Vec<Entry> {
    let advertised = settings.advertised.as_ref().map(|(host, port)| {
        let host = if host.contains(':') { format!("[{host}]") } else { host.clone() };
        set("advertised.listeners", Kind::List, format!("PLAINTEXT://{host}:{port}"))
    });
    let rest = vec![
        set("auto.create.topics.enable", Kind::Boolean, settings.auto_create_topics),
        fixed("broker.id", Kind::Int, NODE_ID),
        fixed("compression.type", Kind::Text, "producer"),
        fixed("default.replication.factor", Kind::Int, 1),
        set("group.initial.rebalance.delay.ms", Kind::Int, settings.initial_rebalance_delay.as_millis()),
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
    ];
    advertised.into_iter().chain(rest).collect()
}
