//! The table of configurations, and what is in effect.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use super::effective::CleanupPolicy;
use super::*;
use protocol::compression::Compression;

fn settings() -> BrokerSettings {
    BrokerSettings {
        initial_rebalance_delay: Duration::ZERO,
        listen: "127.0.0.1:0".to_owned(),
        advertised: None,
        data_dir: PathBuf::from("data"),
        retention: Some(Duration::from_secs(60)),
        retention_bytes: None,
        min_free_bytes: None,
        auto_create_topics: true,
        partitions: 1,
    }
}

fn configs(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn every_default_is_an_allowed_value_in_normal_form_and_the_names_are_in_order() {
    for entry in of_topic(&settings(), &BTreeMap::new()) {
        assert_eq!(normal_form(entry.name, &entry.value).as_ref(), Ok(&entry.value), "{}", entry.name);
    }
    assert!(TABLE.is_sorted_by_key(|definition| definition.name));
}

/// What Kafka 4.3.1 answers to CreateTopics with each of these.
#[test]
fn values_are_taken_and_refused_as_kafka_does() {
    let taken = [
        ("cleanup.policy", "compact", "compact"),
        ("cleanup.policy", " delete , compact ", "delete,compact"),
        ("cleanup.policy", "compact,compact", "compact"),
        ("cleanup.policy", "", ""),
        ("retention.ms", "-1", "-1"),
        ("retention.ms", "9223372036854775807", "9223372036854775807"),
        ("retention.ms", " 5 ", "5"),
        ("retention.bytes", "-5", "-5"),
        ("max.message.bytes", "0", "0"),
        ("compression.type", "uncompressed", "uncompressed"),
        ("compression.gzip.level", "-1", "-1"),
        ("min.insync.replicas", "5", "5"),
        ("min.cleanable.dirty.ratio", "0.25", "0.25"),
        ("min.cleanable.dirty.ratio", "1", "1.0"),
        ("preallocate", "TRUE", "true"),
        ("segment.ms", "1", "1"),
        ("follower.replication.throttled.replicas", "*", "*"),
        ("leader.replication.throttled.replicas", "0:1,1:2", "0:1,1:2"),
        ("local.retention.ms", "-2", "-2"),
        ("remote.storage.enable", "false", "false"),
    ];
    for (name, value, normal) in taken {
        assert_eq!(normal_form(name, value).as_deref(), Ok(normal), "{name}={value}");
    }
    let refused = [
        ("cleanup.policy", "none"),
        ("cleanup.policy", "compact,"),
        ("retention.ms", "-2"),
        ("retention.ms", "9223372036854775808"),
        ("retention.ms", ""),
        ("max.message.bytes", "-1"),
        ("max.message.bytes", "2147483648"),
        ("compression.type", "bogus"),
        ("compression.gzip.level", "0"),
        ("compression.gzip.level", "10"),
        ("compression.zstd.level", "-131073"),
        ("compression.zstd.level", "23"),
        ("compression.lz4.level", "0"),
        ("compression.lz4.level", "18"),
        ("message.timestamp.type", "logappendtime"),
        ("message.timestamp.before.max.ms", "-1"),
        ("message.timestamp.after.max.ms", "-1"),
        ("min.insync.replicas", "0"),
        ("min.cleanable.dirty.ratio", "1.1"),
        ("min.cleanable.dirty.ratio", "NaN"),
        ("preallocate", "yes"),
        ("segment.bytes", "1048575"),
        ("segment.ms", "0"),
        ("segment.jitter.ms", "-1"),
        ("segment.index.bytes", "3"),
        ("index.interval.bytes", "-1"),
        ("flush.messages", "0"),
        ("flush.ms", "-1"),
        ("delete.retention.ms", "-1"),
        ("file.delete.delay.ms", "-1"),
        ("max.compaction.lag.ms", "0"),
        ("min.compaction.lag.ms", "-1"),
        ("follower.replication.throttled.replicas", "x"),
        ("follower.replication.throttled.replicas", "*,0:1"),
        ("local.retention.ms", "-3"),
        ("message.format.version", "3.0"),
        ("message.downconversion.enable", "true"),
        ("no.such", "1"),
    ];
    for (name, value) in refused {
        let why = normal_form(name, value).unwrap_err();
        assert!(why.starts_with(name), "{why}");
    }
    let long = "0:1,".repeat(MAX_VALUE_BYTES / 4) + "0:1";
    assert!(normal_form("leader.replication.throttled.replicas", &long).unwrap_err().contains("at most"));
}

#[test]
fn configurations_that_contradict_each_other_are_refused() {
    let lags = |min, max| {
        check_together(&configs(&[("min.compaction.lag.ms", min), ("max.compaction.lag.ms", max)]))
    };
    assert!(lags("100", "50").unwrap_err().contains("min.compaction.lag.ms"));
    assert_eq!(lags("50", "50"), Ok(()));
    assert!(check_together(&configs(&[("remote.storage.enable", "true")])).is_err());
    assert_eq!(check_together(&configs(&[("remote.storage.enable", "false")])), Ok(()));
}

#[test]
fn a_value_comes_from_the_topic_or_the_settings_or_is_kafkas() {
    let entries = of_topic(&settings(), &configs(&[("retention.ms", "7")]));
    let find = |name: &str| entries.iter().find(|entry| entry.name == name).unwrap();
    let own = find("retention.ms");
    assert_eq!((own.value.as_str(), own.source, own.read_only), ("7", Source::Topic, false));
    let synonym = |name, value: &str, source| Synonym { name, value: value.to_owned(), source };
    let expected =
        [synonym("retention.ms", "7", Source::Topic), synonym("log.retention.ms", "60000", Source::Broker)];
    assert_eq!(own.synonyms, expected);
    let general = of_topic(&settings(), &BTreeMap::new());
    let general = general.iter().find(|entry| entry.name == "retention.ms").unwrap();
    assert_eq!((general.value.as_str(), general.source), ("60000", Source::Broker));
    assert_eq!(
        (find("retention.bytes").value.as_str(), find("retention.bytes").source),
        ("-1", Source::Default)
    );
    assert_eq!(find("segment.ms").synonyms, []);
}

#[test]
fn what_is_in_effect_is_the_topics_own_or_the_brokers_or_kafkas() {
    let defaults = Defaults { retention: Some(Duration::from_secs(1)), retention_bytes: Some(77) };
    let config = TopicConfig::new(&BTreeMap::new(), &defaults);
    assert_eq!((config.retention_ms, config.retention_bytes), (Some(1000), Some(77)));
    assert_eq!(config.cleanup, CleanupPolicy { delete: true, compact: false });
    assert_eq!((config.max_message_bytes, config.compression), (MAX_BATCH_BYTES, None));
    assert_eq!((config.timestamp_before_max_ms, config.timestamp_after_max_ms), (i64::MAX, 3_600_000));
    assert_eq!((config.min_compaction_lag_ms, config.max_compaction_lag_ms), (0, i64::MAX));
    assert_eq!((config.delete_retention_ms, config.min_cleanable_dirty_ratio), (86_400_000, 0.5));
    assert!(!config.log_append_time);
    let own = configs(&[
        ("cleanup.policy", "compact,delete"),
        ("retention.ms", "-1"),
        ("retention.bytes", "-1"),
        ("max.message.bytes", "100"),
        ("message.timestamp.type", "LogAppendTime"),
        ("compression.type", "lz4"),
        ("min.cleanable.dirty.ratio", "0.25"),
    ]);
    let config = TopicConfig::new(&own, &defaults);
    assert_eq!((config.retention_ms, config.retention_bytes), (None, None));
    assert_eq!(config.cleanup, CleanupPolicy { delete: true, compact: true });
    assert_eq!((config.max_message_bytes, config.compression), (100, Some(Compression::Lz4)));
    assert!(config.log_append_time && config.min_cleanable_dirty_ratio == 0.25);
    let largest = TopicConfig::new(&configs(&[("retention.ms", "9223372036854775807")]), &defaults);
    assert_eq!(largest.retention_ms, Some(i64::MAX));
    let neither = TopicConfig::new(&configs(&[("cleanup.policy", "")]), &defaults);
    assert_eq!(neither.cleanup, CleanupPolicy { delete: false, compact: false });
}
