//! Configurations of the node, by Kafka's names; they come from the settings, and no request changes them.

use std::path::PathBuf;

use super::node::NODE_ID;
use super::settings::{BrokerSettings, MAX_REQUEST_BYTES};
use super::topic_config::{Entry, Kind, Source, Synonym, TABLE, default_of};

/// The configurations of the node: its own, and what it gives to topics that set none. `advertised` is the
/// host and port that the client is told.
pub fn of_node(settings: &BrokerSettings, advertised: (&str, u16)) -> Vec<Entry> {
    let (host, port) = advertised;
    let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
    let own = [
        set("advertised.listeners", Kind::List, format!("PLAINTEXT://{host}:{port}")),
        set("auto.create.topics.enable", Kind::Boolean, settings.auto_create_topics),
        fixed("broker.id", Kind::Int, NODE_ID),
        fixed("default.replication.factor", Kind::Int, 1),
        fixed("delete.topic.enable", Kind::Boolean, true),
        set("group.initial.rebalance.delay.ms", Kind::Int, settings.initial_rebalance_delay.as_millis()),
        set("listeners", Kind::List, format!("PLAINTEXT://{}", settings.listen)),
        set("log.dirs", Kind::List, log_dir(settings).display()),
        fixed("node.id", Kind::Int, NODE_ID),
        set("num.partitions", Kind::Int, settings.partitions),
        fixed("socket.request.max.bytes", Kind::Int, MAX_REQUEST_BYTES),
    ];
    let of_topics = TABLE.iter().filter_map(|definition| {
        let (value, source) = default_of(definition, settings);
        Some(entry(definition.broker_name?, definition.kind, value, source))
    });
    let mut entries: Vec<Entry> = own.into_iter().chain(of_topics).collect();
    entries.sort_by_key(|entry| entry.name);
    entries
}

/// The one log directory.
pub fn log_dir(settings: &BrokerSettings) -> PathBuf {
    std::path::absolute(&settings.data_dir).unwrap_or_else(|_| settings.data_dir.clone())
}

fn set(name: &'static str, kind: Kind, value: impl ToString) -> Entry {
    entry(name, kind, value.to_string(), Source::Broker)
}

fn fixed(name: &'static str, kind: Kind, value: impl ToString) -> Entry {
    entry(name, kind, value.to_string(), Source::Default)
}

fn entry(name: &'static str, kind: Kind, value: String, source: Source) -> Entry {
    let synonyms = vec![Synonym { name, value: value.clone(), source }];
    Entry { name, kind, value, source, read_only: true, synonyms }
}
