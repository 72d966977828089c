//! Configurations of topics, by Kafka's names.
//!
//! - `table`: all that Kafka 4.3 knows, with type, default and allowed values
//! - `effective`: those that have an effect here, typed
//!
//! A topic's own configurations are kept by the store, in Kafka's normal form. What has no meaning on one
//! node with one log is kept and shown, and has no effect. Sources: Kafka's "Topic Configs" documentation,
//! and DescribeConfigs (KIP-133, KIP-226, KIP-569).

mod effective;
mod table;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

pub use effective::{Defaults, TopicConfig};
pub use table::{Definition, Kind, TABLE, elements};

use super::settings::{BrokerSettings, MAX_BATCH_BYTES};

/// The largest value, in bytes. Kafka takes 32,767; here it bounds the memory of all topics, and what is
/// longer than this has no meaning for one node.
const MAX_VALUE_BYTES: usize = 4096;

/// Where a value comes from, as in DescribeConfigs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i8)]
pub enum Source {
    /// Set for this topic (DYNAMIC_TOPIC_CONFIG).
    Topic = 1,
    /// Set for the broker (STATIC_BROKER_CONFIG).
    Broker = 4,
    /// Nothing is set (DEFAULT_CONFIG).
    Default = 5,
}

/// A value and where it comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Synonym {
    /// The name under which it is set.
    pub name: &'static str,
    /// The value.
    pub value: String,
    /// Where it comes from.
    pub source: Source,
}

/// A configuration in effect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its name in Kafka.
    pub name: &'static str,
    /// Its type.
    pub kind: Kind,
    /// The value in effect.
    pub value: String,
    /// Where it comes from.
    pub source: Source,
    /// Whether no request can change it.
    pub read_only: bool,
    /// All values, the one in effect first.
    pub synonyms: Vec<Synonym>,
}

/// The configurations of a topic that has set `configs`, in the order of their names.
pub fn of_topic(settings: &BrokerSettings, configs: &BTreeMap<String, String>) -> Vec<Entry> {
    TABLE.iter().map(|definition| entry(definition, settings, configs.get(definition.name))).collect()
}

fn entry(definition: &'static Definition, settings: &BrokerSettings, set: Option<&String>) -> Entry {
    let Definition { name, kind, broker_name, .. } = *definition;
    let (default, source) = default_of(definition, settings);
    let own = set.map(|value| Synonym { name, value: value.clone(), source: Source::Topic });
    let general = broker_name.map(|name| Synonym { name, value: default.clone(), source });
    Entry {
        name,
        kind,
        value: set.cloned().unwrap_or(default),
        source: if set.is_some() { Source::Topic } else { source },
        read_only: false,
        synonyms: own.into_iter().chain(general).collect(),
    }
}

/// The value for topics that set none, and whether the settings give it.
pub fn default_of(definition: &Definition, settings: &BrokerSettings) -> (String, Source) {
    match definition.name {
        "max.message.bytes" => (MAX_BATCH_BYTES.to_string(), Source::Default),
        "retention.ms" => {
            let age = settings.retention.map(|age| age.as_millis().to_string());
            (age.unwrap_or_else(|| "-1".to_owned()), Source::Broker)
        }
        "retention.bytes" => match settings.retention_bytes {
            Some(bytes) => (bytes.to_string(), Source::Broker),
            None => ("-1".to_owned(), Source::Default),
        },
        _ => (definition.default.to_owned(), Source::Default),
    }
}

/// The definition of this name.
pub fn definition(name: &str) -> Option<&'static Definition> {
    TABLE.iter().find(|definition| definition.name == name)
}

/// Checks a value, and gives it in Kafka's normal form.
///
/// # Errors
/// Why it is refused (INVALID_CONFIG): the name is unknown, or the value is not allowed.
pub fn normal_form(name: &str, value: &str) -> Result<String, String> {
    let definition =
        definition(name).ok_or_else(|| format!("{name}: there is no such configuration of topics"))?;
    if value.len() > MAX_VALUE_BYTES {
        return Err(format!("{name}: a value of {} bytes, {MAX_VALUE_BYTES} at most", value.len()));
    }
    definition.normal_form(value).map_err(|why| format!("{name}={value}: {why}"))
}

/// Checks the configurations of a topic, each of which is allowed, together.
///
/// # Errors
/// Why they are refused (INVALID_CONFIG).
pub fn check_together(configs: &BTreeMap<String, String>) -> Result<(), String> {
    let config = TopicConfig::new(configs, &Defaults::default());
    let (min, max) = (config.min_compaction_lag_ms, config.max_compaction_lag_ms);
    if min > max {
        return Err(format!("min.compaction.lag.ms={min} is above max.compaction.lag.ms={max}"));
    }
    if configs.get("remote.storage.enable").is_some_and(|value| value == "true") {
        return Err("remote.storage.enable=true: the embedded broker has no tiered storage".to_owned());
    }
    Ok(())
}
