//! Every key of the settings: where it goes and which values are legal.

use super::values::{
    Given, api_token, boolean, choice, command, file, folder, fraction, group, limit, listen,
    listen_at_a_port, number, replication_factor, servers, text, token, topic,
};
use super::{AutoOffsetReset, Commit, Compression, MAX_BODY_BYTES, Settings};

/// Checks a value and puts it into its field; the error says what is legal.
pub(super) type Put = fn(&mut Settings, &Given) -> Result<(), String>;

const MINUTE: u64 = 60_000;

/// The key whose value is taken from the environment alone: a command line is there for all to see, and a settings
/// file often, too.
pub(super) const API_TOKEN: &str = "producer_api.token";

/// All keys by their full name, in the order of `config.toml`.
pub(super) const KEYS: &[(&str, Put)] = &[
    ("kafka.bootstrap_servers", |s, v| put(&mut s.kafka.bootstrap_servers, servers(v))),
    ("kafka.topic", |s, v| put(&mut s.kafka.topic, topic(v))),
    ("kafka.create_topic", |s, v| put(&mut s.kafka.create_topic, boolean(v))),
    ("kafka.partitions", |s, v| put(&mut s.kafka.partitions, number(v, 1..=10_000))),
    ("kafka.replication_factor", |s, v| put(&mut s.kafka.replication_factor, replication_factor(v))),
    ("kafka.request_timeout_ms", |s, v| put(&mut s.kafka.request_timeout_ms, number(v, 100..=100_000))),
    // The kafka crate waits 120 s for an answer, no more and no less.
    ("kafka.delivery_timeout_ms", |s, v| put(&mut s.kafka.delivery_timeout_ms, number(v, 100..=100_000))),
    ("kafka.compression", |s, v| put(&mut s.kafka.compression, choice(v, COMPRESSIONS))),
    ("embedded.listen", |s, v| put(&mut s.embedded.listen, listen_at_a_port(v))),
    ("embedded.anyone_may_connect", |s, v| put(&mut s.embedded.anyone_may_connect, boolean(v))),
    ("embedded.data_dir", |s, v| put(&mut s.embedded.data_dir, folder(v))),
    ("embedded.retention_ms", |s, v| put(&mut s.embedded.retention_ms, limit(v, "for ever"))),
    ("embedded.retention_bytes", |s, v| put(&mut s.embedded.retention_bytes, limit(v, "no limit"))),
    ("embedded.auto_create_topics", |s, v| put(&mut s.embedded.auto_create_topics, boolean(v))),
    ("producer_api.listen", |s, v| put(&mut s.producer_api.listen, listen(v))),
    ("producer_api.answer_timeout_ms", |s, v| {
        put(&mut s.producer_api.answer_timeout_ms, number(v, 2_000..=100_000))
    }),
    ("producer_api.max_body_bytes", |s, v| {
        put(&mut s.producer_api.max_body_bytes, number(v, 1..=MAX_BODY_BYTES))
    }),
    ("producer_api.head_timeout_ms", |s, v| {
        put(&mut s.producer_api.head_timeout_ms, number(v, 100..=10 * MINUTE))
    }),
    ("producer_api.body_timeout_ms", |s, v| {
        put(&mut s.producer_api.body_timeout_ms, number(v, 100..=10 * MINUTE))
    }),
    ("producer_api.idle_timeout_ms", |s, v| {
        put(&mut s.producer_api.idle_timeout_ms, number(v, 100..=60 * MINUTE))
    }),
    ("producer_api.max_connections", |s, v| put(&mut s.producer_api.max_connections, number(v, 1..=65_536))),
    ("producer_api.queue_messages", |s, v| {
        put(&mut s.producer_api.queue_messages, number(v, 1..=10_000_000))
    }),
    ("producer_api.queue_bytes", |s, v| put(&mut s.producer_api.queue_bytes, number(v, 1_024..=1 << 40))),
    (API_TOKEN, |s, v| put(&mut s.producer_api.token, api_token(v).map(Some))),
    ("producer_api.token_file", |s, v| put(&mut s.producer_api.token_file, file(v).map(Some))),
    ("producer_api.tls_certificate", |s, v| put(&mut s.producer_api.tls_certificate, file(v).map(Some))),
    ("producer_api.tls_key", |s, v| put(&mut s.producer_api.tls_key, file(v).map(Some))),
    ("producer_api.anyone_may_send", |s, v| put(&mut s.producer_api.anyone_may_send, boolean(v))),
    ("producer_api.access_log", |s, v| put(&mut s.producer_api.access_log, boolean(v))),
    ("consumer.group", |s, v| put(&mut s.consumer.group, group(v).map(Some))),
    ("consumer.auto_offset_reset", |s, v| put(&mut s.consumer.auto_offset_reset, choice(v, RESETS))),
    ("consumer.session_timeout_ms", |s, v| {
        put(&mut s.consumer.session_timeout_ms, number(v, 1_000..=30 * MINUTE))
    }),
    ("consumer.heartbeat_interval_ms", |s, v| {
        put(&mut s.consumer.heartbeat_interval_ms, number(v, 10..=MINUTE).map(Some))
    }),
    ("consumer.max_processing_ms", |s, v| {
        put(&mut s.consumer.max_processing_ms, number(v, 1_000..=24 * 60 * MINUTE))
    }),
    ("consumer.fetch_min_bytes", |s, v| put(&mut s.consumer.fetch_min_bytes, number(v, 1..=50_000_000))),
    ("consumer.fetch_max_wait_ms", |s, v| put(&mut s.consumer.fetch_max_wait_ms, number(v, 1..=30_000))),
    ("consumer.fetch_max_bytes_per_partition", |s, v| {
        put(&mut s.consumer.fetch_max_bytes_per_partition, number(v, 1_024..=64 << 20))
    }),
    ("consumer.commit", |s, v| put(&mut s.consumer.commit, choice(v, COMMITS))),
    ("consumer.auto_commit_interval_ms", |s, v| {
        put(&mut s.consumer.auto_commit_interval_ms, number(v, 1..=24 * 60 * MINUTE))
    }),
    ("consumer.handler", |s, v| put(&mut s.consumer.handler, command(v))),
    ("consumer.handler_timeout_ms", |s, v| {
        put(&mut s.consumer.handler_timeout_ms, number(v, 1..=24 * 60 * MINUTE))
    }),
    ("consumer.metrics_listen", |s, v| put(&mut s.consumer.metrics_listen, listen(v).map(Some))),
    ("retry.max_attempts", |s, v| put(&mut s.retry.max_attempts, number(v, 1..=100))),
    ("retry.initial_backoff_ms", |s, v| put(&mut s.retry.initial_backoff_ms, number(v, 0..=60 * MINUTE))),
    ("retry.multiplier", |s, v| put(&mut s.retry.multiplier, fraction(v, 1.0..=100.0))),
    ("retry.max_backoff_ms", |s, v| put(&mut s.retry.max_backoff_ms, number(v, 0..=60 * MINUTE))),
    ("retry.jitter", |s, v| put(&mut s.retry.jitter, fraction(v, 0.0..=1.0))),
    ("adapter.listen", |s, v| put(&mut s.adapter.listen, listen(v))),
    ("adapter.token", |s, v| put(&mut s.adapter.token, token(v).map(Some))),
    ("log.level", |s, v| put(&mut s.log.level, choice(v, LEVELS))),
    ("log.file", |s, v| put(&mut s.log.file, text(v))),
];

const COMPRESSIONS: &[(&str, Compression)] = &[
    ("none", Compression::None),
    ("gzip", Compression::Gzip),
    ("snappy", Compression::Snappy),
    ("lz4", Compression::Lz4),
    ("zstd", Compression::Zstd),
];

const RESETS: &[(&str, AutoOffsetReset)] =
    &[("earliest", AutoOffsetReset::Earliest), ("latest", AutoOffsetReset::Latest)];

const COMMITS: &[(&str, Commit)] =
    &[("message", Commit::Message), ("pipelined", Commit::Pipelined), ("poll", Commit::Poll)];

const LEVELS: &[(&str, log::LevelFilter)] = &[
    ("off", log::LevelFilter::Off),
    ("error", log::LevelFilter::Error),
    ("warn", log::LevelFilter::Warn),
    ("info", log::LevelFilter::Info),
    ("debug", log::LevelFilter::Debug),
    ("trace", log::LevelFilter::Trace),
];

fn put<T>(field: &mut T, value: Result<T, String>) -> Result<(), String> {
    *field = value?;
    Ok(())
}
