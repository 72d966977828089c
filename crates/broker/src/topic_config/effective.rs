//! The configurations of a topic that have an effect, typed.

use std::collections::BTreeMap;
use std::str::FromStr;
use std::time::Duration;

use super::table::elements;
use crate::settings::{BrokerSettings, MAX_BATCH_BYTES};
use protocol::compression::Compression;

/// What the broker's settings give to topics that set nothing of their own.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Defaults {
    /// `retention.ms`; `None` is without limit.
    pub retention: Option<Duration>,
    /// `retention.bytes`; `None` is without limit.
    pub retention_bytes: Option<u64>,
}

impl From<&BrokerSettings> for Defaults {
    fn from(settings: &BrokerSettings) -> Defaults {
        Defaults { retention: settings.retention, retention_bytes: settings.retention_bytes }
    }
}

/// What becomes of old records. With neither, all are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CleanupPolicy {
    /// They are deleted by age and size.
    pub delete: bool,
    /// The last record of each key is kept.
    pub compact: bool,
}

/// The configurations of a topic in effect.
#[derive(Debug, Clone, PartialEq)]
pub struct TopicConfig {
    /// `cleanup.policy`.
    pub cleanup: CleanupPolicy,
    /// `retention.ms`; `None` is without limit.
    pub retention_ms: Option<i64>,
    /// `retention.bytes` of a partition; `None` is without limit.
    pub retention_bytes: Option<u64>,
    /// `max.message.bytes`: the largest record batch.
    pub max_message_bytes: usize,
    /// Whether `message.timestamp.type` is LogAppendTime (KIP-32).
    pub log_append_time: bool,
    /// `message.timestamp.before.max.ms` (KIP-937).
    pub timestamp_before_max_ms: i64,
    /// `message.timestamp.after.max.ms` (KIP-937).
    pub timestamp_after_max_ms: i64,
    /// `compression.type`; `None` keeps the producer's.
    pub compression: Option<Compression>,
    /// `delete.retention.ms`: how long compaction keeps tombstones.
    pub delete_retention_ms: i64,
    /// `min.compaction.lag.ms` (KIP-58).
    pub min_compaction_lag_ms: i64,
    /// `max.compaction.lag.ms` (KIP-354).
    pub max_compaction_lag_ms: i64,
    /// `min.cleanable.dirty.ratio`.
    pub min_cleanable_dirty_ratio: f64,
    /// `segment.ms`: after so long a segment ends, so that it can be compacted.
    pub segment_ms: i64,
    /// `segment.bytes`, likewise.
    pub segment_bytes: u64,
}

impl TopicConfig {
    /// The configurations of a topic that has set `configs`, whose values have been checked.
    pub fn new(configs: &BTreeMap<String, String>, defaults: &Defaults) -> TopicConfig {
        let policy = configs.get("cleanup.policy").map_or("delete", String::as_str);
        let policies = elements(policy);
        let default_age =
            defaults.retention.map_or(-1, |age| i64::try_from(age.as_millis()).unwrap_or(i64::MAX));
        let default_bytes =
            defaults.retention_bytes.map_or(-1, |bytes| i64::try_from(bytes).unwrap_or(i64::MAX));
        let text = |name| configs.get(name).map(String::as_str);
        TopicConfig {
            cleanup: CleanupPolicy {
                delete: policies.contains(&"delete"),
                compact: policies.contains(&"compact"),
            },
            retention_ms: Some(number(configs, "retention.ms", default_age)).filter(|age| *age >= 0),
            retention_bytes: u64::try_from(number(configs, "retention.bytes", default_bytes)).ok(),
            max_message_bytes: number(configs, "max.message.bytes", MAX_BATCH_BYTES),
            log_append_time: text("message.timestamp.type") == Some("LogAppendTime"),
            timestamp_before_max_ms: number(configs, "message.timestamp.before.max.ms", i64::MAX),
            timestamp_after_max_ms: number(configs, "message.timestamp.after.max.ms", 3_600_000),
            compression: text("compression.type").and_then(codec),
            delete_retention_ms: number(configs, "delete.retention.ms", 86_400_000),
            min_compaction_lag_ms: number(configs, "min.compaction.lag.ms", 0),
            max_compaction_lag_ms: number(configs, "max.compaction.lag.ms", i64::MAX),
            min_cleanable_dirty_ratio: number(configs, "min.cleanable.dirty.ratio", 0.5),
            segment_ms: number(configs, "segment.ms", 604_800_000),
            segment_bytes: number(configs, "segment.bytes", 1 << 30),
        }
    }
}

fn number<T: FromStr>(configs: &BTreeMap<String, String>, name: &str, default: T) -> T {
    configs.get(name).and_then(|value| value.parse().ok()).unwrap_or(default)
}

fn codec(name: &str) -> Option<Compression> {
    match name {
        "uncompressed" => Some(Compression::None),
        "gzip" => Some(Compression::Gzip),
        "snappy" => Some(Compression::Snappy),
        "lz4" => Some(Compression::Lz4),
        "zstd" => Some(Compression::Zstd),
        _ => None,
    }
}
