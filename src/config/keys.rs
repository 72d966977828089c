//! The table of all keys of the settings: each with its field and its legal values.

use super::origins::origins;
use super::security::values::{extensions, insecure, mechanism, password, protocol, token_url, words};
use super::values::{
    MOST_PARTITIONS, SettingValue, api_token, boolean, choice, command, file, folder, fraction, group,
    host_and_port, limit, listen, listen_at_a_port, number, pointer, push_url, replication_factor, servers,
    statuses, text, token, topic, topics, visible,
};
use super::{MAX_BODY_BYTES, Settings};
use crate::consumer::{CommitMode, HandlerMode, Order, Payload};
use crate::logging::LogFormat;
use client::group_member::OffsetReset;
use protocol::compression::Compression;

/// Checks a value and puts it into its field. The error names the legal values.
pub(super) type Put = fn(&mut Settings, &SettingValue) -> Result<(), String>;

const MINUTE: u64 = 60_000;
const DAY: u64 = 24 * 60 * MINUTE;

/// The endpoint's token.
pub(super) const API_TOKEN: &str = "producer_api.token";

/// The password for the brokers.
pub(super) const SASL_PASSWORD: &str = "kafka.sasl_password";

/// Keys whose values are taken from the environment alone, as other users can read a command line, and often
/// a settings file, too; each with the key that names a file instead.
pub(super) const SECRETS: &[(&str, &str)] =
    &[(API_TOKEN, "producer_api.token_file"), (SASL_PASSWORD, "kafka.sasl_password_file")];

/// All keys by their full name, in the order of `config.toml`.
pub(super) const KEYS: &[(&str, Put)] = &[
    ("kafka.bootstrap_servers", |s, v| put(&mut s.kafka.bootstrap_servers, servers(v))),
    ("kafka.topic", |s, v| put(&mut s.kafka.topic, topic(v))),
    ("kafka.topics", |s, v| put(&mut s.kafka.topics, topics(v))),
    ("kafka.create_topic", |s, v| put(&mut s.kafka.create_topic, boolean(v))),
    ("kafka.partitions", |s, v| put(&mut s.kafka.partitions, number(v, 1..=MOST_PARTITIONS).map(Some))),
    ("kafka.replication_factor", |s, v| put(&mut s.kafka.replication_factor, replication_factor(v))),
    ("kafka.request_timeout_ms", |s, v| put(&mut s.kafka.request_timeout_ms, number(v, 100..=100_000))),
    // The kafka crate's timeout for an answer is always 120 s.
    ("kafka.delivery_timeout_ms", |s, v| put(&mut s.kafka.delivery_timeout_ms, number(v, 100..=100_000))),
    ("kafka.compression", |s, v| put(&mut s.kafka.compression, choice(v, COMPRESSIONS))),
    ("kafka.security", |s, v| put(&mut s.kafka.security.protocol, protocol(v))),
    ("kafka.tls_ca", |s, v| put(&mut s.kafka.security.tls.ca, file(v).map(Some))),
    ("kafka.tls_certificate", |s, v| put(&mut s.kafka.security.tls.certificate, file(v).map(Some))),
    ("kafka.tls_key", |s, v| put(&mut s.kafka.security.tls.key, file(v).map(Some))),
    ("kafka.tls_insecure", |s, v| put(&mut s.kafka.security.tls.insecure, insecure(v))),
    ("kafka.sasl_mechanism", |s, v| put(&mut s.kafka.security.sasl.mechanism, mechanism(v).map(Some))),
    ("kafka.sasl_username", |s, v| put(&mut s.kafka.security.sasl.username, words(v).map(Some))),
    (SASL_PASSWORD, |s, v| put(&mut s.kafka.security.sasl.password, password(v).map(Some))),
    ("kafka.sasl_password_file", |s, v| put(&mut s.kafka.security.sasl.password_file, file(v).map(Some))),
    ("kafka.anyone_may_read_the_password", |s, v| {
        put(&mut s.kafka.security.sasl.anyone_may_read, boolean(v))
    }),
    ("kafka.oauth_token_file", |s, v| put(&mut s.kafka.security.oauth.token_file, file(v).map(Some))),
    ("kafka.oauth_token_command", |s, v| put(&mut s.kafka.security.oauth.token_command, command(v))),
    ("kafka.oauth_token_url", |s, v| put(&mut s.kafka.security.oauth.token_url, token_url(v).map(Some))),
    ("kafka.oauth_client_id", |s, v| put(&mut s.kafka.security.oauth.client_id, words(v).map(Some))),
    ("kafka.oauth_client_secret_file", |s, v| {
        put(&mut s.kafka.security.oauth.client_secret_file, file(v).map(Some))
    }),
    ("kafka.oauth_scope", |s, v| put(&mut s.kafka.security.oauth.scope, words(v).map(Some))),
    ("kafka.oauth_audience", |s, v| put(&mut s.kafka.security.oauth.audience, words(v).map(Some))),
    ("kafka.oauth_extensions", |s, v| put(&mut s.kafka.security.oauth.extensions, extensions(v))),
    ("embedded.listen", |s, v| put(&mut s.embedded.listen, listen_at_a_port(v))),
    ("embedded.advertised", |s, v| put(&mut s.embedded.advertised, host_and_port(v).map(Some))),
    ("embedded.anyone_may_connect", |s, v| put(&mut s.embedded.anyone_may_connect, boolean(v))),
    ("embedded.data_dir", |s, v| put(&mut s.embedded.data_dir, folder(v))),
    ("embedded.retention_ms", |s, v| put(&mut s.embedded.retention_ms, limit(v, "for ever"))),
    ("embedded.retention_bytes", |s, v| put(&mut s.embedded.retention_bytes, limit(v, "no limit"))),
    ("embedded.min_free_bytes", |s, v| put(&mut s.embedded.min_free_bytes, number(v, 0..=1 << 60).map(Some))),
    ("embedded.auto_create_topics", |s, v| put(&mut s.embedded.auto_create_topics, boolean(v))),
    ("embedded.initial_rebalance_delay_ms", |s, v| {
        put(&mut s.embedded.initial_rebalance_delay_ms, number(v, 0..=300_000))
    }),
    ("producer.queue_messages", |s, v| put(&mut s.producer.queue_messages, number(v, 1..=10_000_000))),
    ("producer.queue_bytes", |s, v| put(&mut s.producer.queue_bytes, number(v, 1_024..=1 << 40))),
    ("producer_api.listen", |s, v| put(&mut s.producer_api.listen, listen(v))),
    ("producer_api.advertised", |s, v| put(&mut s.producer_api.advertised, host_and_port(v).map(Some))),
    ("producer_api.key", |s, v| put(&mut s.producer_api.key, pointer(v).map(Some))),
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
    ("producer_api.drain_ms", |s, v| put(&mut s.producer_api.drain_ms, number(v, 0..=10 * MINUTE))),
    ("producer_api.max_connections", |s, v| put(&mut s.producer_api.max_connections, number(v, 1..=65_536))),
    (API_TOKEN, |s, v| put(&mut s.producer_api.token, api_token(v).map(Some))),
    ("producer_api.token_file", |s, v| put(&mut s.producer_api.token_file, file(v).map(Some))),
    ("producer_api.users_file", |s, v| put(&mut s.producer_api.users_file, file(v).map(Some))),
    ("producer_api.tls_certificate", |s, v| put(&mut s.producer_api.tls_certificate, file(v).map(Some))),
    ("producer_api.tls_key", |s, v| put(&mut s.producer_api.tls_key, file(v).map(Some))),
    ("producer_api.tls_client_ca", |s, v| put(&mut s.producer_api.tls_client_ca, file(v).map(Some))),
    ("producer_api.anyone_may_send", |s, v| put(&mut s.producer_api.anyone_may_send, boolean(v))),
    ("producer_api.allowed_origins", |s, v| put(&mut s.producer_api.allowed_origins, origins(v))),
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
    ("consumer.concurrency", |s, v| put(&mut s.consumer.concurrency, number(v, 1..=4_096))),
    ("consumer.order", |s, v| put(&mut s.consumer.order, choice(v, ORDERS))),
    ("consumer.buffer_bytes", |s, v| put(&mut s.consumer.buffer_bytes, number(v, 1 << 20..=1 << 40))),
    ("consumer.payload", |s, v| put(&mut s.consumer.payload, choice(v, PAYLOADS))),
    ("consumer.circuit_failures", |s, v| put(&mut s.consumer.circuit_failures, number(v, 0..=1_000_000))),
    ("consumer.handler", |s, v| put(&mut s.consumer.handler, command(v))),
    ("consumer.handler_mode", |s, v| put(&mut s.consumer.handler_mode, choice(v, HANDLER_MODES))),
    ("consumer.handler_processes", |s, v| {
        put(&mut s.consumer.handler_processes, number(v, 1..=4_096).map(Some))
    }),
    ("consumer.handler_batch", |s, v| put(&mut s.consumer.handler_batch, number(v, 1..=1_000))),
    ("consumer.handler_timeout_ms", |s, v| {
        put(&mut s.consumer.handler_timeout_ms, number(v, 1..=24 * 60 * MINUTE))
    }),
    ("consumer.push_url", |s, v| put(&mut s.consumer.push.url, push_url(v).map(Some))),
    ("consumer.push_source", |s, v| put(&mut s.consumer.push.source, visible(v).map(Some))),
    ("consumer.push_type", |s, v| put(&mut s.consumer.push.kind, visible(v))),
    ("consumer.push_secret_file", |s, v| put(&mut s.consumer.push.secret_file, file(v).map(Some))),
    ("consumer.push_dead_statuses", |s, v| put(&mut s.consumer.push.dead_statuses, statuses(v))),
    ("consumer.push_private", |s, v| put(&mut s.consumer.push.private, boolean(v))),
    ("consumer.push_tls_ca", |s, v| put(&mut s.consumer.push.tls_ca, file(v).map(Some))),
    ("consumer.push_connect_timeout_ms", |s, v| {
        put(&mut s.consumer.push.connect_timeout_ms, number(v, 100..=10 * MINUTE))
    }),
    ("consumer.push_send_timeout_ms", |s, v| {
        put(&mut s.consumer.push.send_timeout_ms, number(v, 100..=10 * MINUTE))
    }),
    ("consumer.metrics_listen", |s, v| put(&mut s.consumer.metrics_listen, listen(v).map(Some))),
    ("consumer.anyone_may_scrape", |s, v| put(&mut s.consumer.anyone_may_scrape, boolean(v))),
    ("queue.order", |s, v| put(&mut s.queue.order, choice(v, LEASE_ORDERS))),
    ("queue.max_leases", |s, v| put(&mut s.queue.max_leases, number(v, 1..=1_000_000))),
    ("queue.max_queues", |s, v| put(&mut s.queue.max_queues, number(v, 1..=1_000))),
    ("queue.idle_ms", |s, v| put(&mut s.queue.idle_ms, number(v, 1_000..=24 * 60 * MINUTE))),
    ("retry.max_attempts", |s, v| put(&mut s.retry.max_attempts, number(v, 0..=1_000_000))),
    ("retry.initial_backoff_ms", |s, v| put(&mut s.retry.initial_backoff_ms, number(v, 0..=30 * DAY))),
    ("retry.multiplier", |s, v| put(&mut s.retry.multiplier, fraction(v, 1.0..=100.0))),
    ("retry.max_backoff_ms", |s, v| put(&mut s.retry.max_backoff_ms, number(v, 0..=30 * DAY))),
    ("retry.jitter", |s, v| put(&mut s.retry.jitter, fraction(v, 0.0..=1.0))),
    ("adapter.listen", |s, v| put(&mut s.adapter.listen, listen(v))),
    ("adapter.token", |s, v| put(&mut s.adapter.token, token(v).map(Some))),
    ("log.level", |s, v| put(&mut s.log.level, choice(v, LEVELS))),
    ("log.format", |s, v| put(&mut s.log.format, choice(v, FORMATS))),
    ("log.values", |s, v| put(&mut s.log.values, boolean(v))),
    ("log.file", |s, v| put(&mut s.log.file, text(v))),
    ("log.max_bytes", |s, v| put(&mut s.log.max_bytes, number(v, 0..=1 << 40))),
    ("log.files", |s, v| put(&mut s.log.files, number(v, 1..=1_000))),
];

/// Former names of keys, each with the current name.
pub(super) const FORMER_KEYS: &[(&str, &str)] = &[
    ("producer_api.queue_messages", "producer.queue_messages"),
    ("producer_api.queue_bytes", "producer.queue_bytes"),
];

const COMPRESSIONS: &[(&str, Compression)] = &[
    ("none", Compression::None),
    ("gzip", Compression::Gzip),
    ("snappy", Compression::Snappy),
    ("lz4", Compression::Lz4),
    ("zstd", Compression::Zstd),
];

const RESETS: &[(&str, OffsetReset)] =
    &[("earliest", OffsetReset::Earliest), ("latest", OffsetReset::Latest)];

const COMMITS: &[(&str, CommitMode)] =
    &[("message", CommitMode::Message), ("pipelined", CommitMode::Pipelined), ("poll", CommitMode::Poll)];

const ORDERS: &[(&str, Order)] =
    &[("key", Order::Key), ("none", Order::None), ("partition", Order::Partition)];

const LEASE_ORDERS: &[(&str, Order)] = &[("key", Order::Key), ("none", Order::None)];

const PAYLOADS: &[(&str, Payload)] = &[("json", Payload::Json), ("any", Payload::Any)];

const HANDLER_MODES: &[(&str, HandlerMode)] =
    &[("process", HandlerMode::Process), ("lines", HandlerMode::Lines)];

const FORMATS: &[(&str, LogFormat)] = &[("text", LogFormat::Text), ("json", LogFormat::Json)];

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
