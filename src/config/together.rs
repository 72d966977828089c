//! The rules between keys.

use std::fmt::Display;

use super::contradiction::{Contradiction, is_loopback};
use super::keys::API_TOKEN;
use super::security::check_security;
use super::{ConsumerSection, KafkaSettings, ProducerApiSettings, PushSection, Settings};
use crate::consumer::{CommitMode, HandlerMode};

/// Checks all rules between keys.
pub(super) fn check_together(settings: &Settings) -> Result<(), Contradiction> {
    let (kafka, api, consumer) = (&settings.kafka, &settings.producer_api, &settings.consumer);
    check_embedded(settings)?;
    check_security(settings)?;
    if consumer.heartbeat_interval() >= consumer.session_timeout() {
        let (heartbeat, session) = ("consumer.heartbeat_interval_ms", "consumer.session_timeout_ms");
        let interval = consumer.heartbeat_interval().as_millis();
        return Err([
            (heartbeat, format!("must be less than {session} ({})", consumer.session_timeout_ms)),
            (session, format!("must be more than {heartbeat} ({interval})")),
        ]);
    }
    if kafka.request_timeout_ms > kafka.delivery_timeout_ms {
        let (request, delivery) = ("kafka.request_timeout_ms", "kafka.delivery_timeout_ms");
        return Err(out_of_order((request, kafka.request_timeout_ms), (delivery, kafka.delivery_timeout_ms)));
    }
    if api.max_body_bytes > settings.producer.queue_bytes {
        let (body, queue) = ("producer_api.max_body_bytes", "producer.queue_bytes");
        return Err(out_of_order((body, api.max_body_bytes), (queue, settings.producer.queue_bytes)));
    }
    check_topics(settings)?;
    check_guard(api)?;
    check_metrics(settings)?;
    let retry = &settings.retry;
    if retry.initial_backoff_ms > retry.max_backoff_ms {
        let (initial, most) = ("retry.initial_backoff_ms", "retry.max_backoff_ms");
        return Err(out_of_order((initial, retry.initial_backoff_ms), (most, retry.max_backoff_ms)));
    }
    check_push(settings)?;
    check_handler(settings)
}

/// The topics that consumers consume.
const TOPICS: &str = "kafka.topics";

/// What is sent to the channel's topic has to reach its consumers. A topic that is not set is no program's
/// wish.
fn check_topics(settings: &Settings) -> Result<(), Contradiction> {
    let (kafka, topic) = (&settings.kafka, "kafka.topic");
    match &kafka.topics {
        Some(topics) if kafka.topic != KafkaSettings::default().topic && !topics.has(&kafka.topic) => Err([
            (TOPICS, format!("has no {} ({topic}): what is sent to it would reach no consumer", kafka.topic)),
            (
                topic,
                format!("must be one of {TOPICS} ({topics}): what is sent to it would reach no consumer"),
            ),
        ]),
        _ => Ok(()),
    }
}

/// The rules of the endpoint's token and TLS. Whether the endpoint needs them at all is decided when it
/// listens.
fn check_guard(api: &ProducerApiSettings) -> Result<(), Contradiction> {
    let (file, certificate, key) =
        ("producer_api.token_file", "producer_api.tls_certificate", "producer_api.tls_key");
    if api.token.is_some() && api.token_file.is_some() {
        return Err([
            (file, format!("must not be set beside {API_TOKEN}: only one of them can hold the token")),
            (API_TOKEN, format!("must not be set beside {file}: only one of them can hold the token")),
        ]);
    }
    match (&api.tls_certificate, &api.tls_key) {
        (Some(_), None) => {
            let lacks = format!("needs {key}, the file of its private key");
            Err([(certificate, lacks), (key, format!("must be set beside {certificate}"))])
        }
        (None, Some(_)) => {
            let lacks = format!("needs {certificate}, the file of its certificate");
            Err([(key, lacks), (certificate, format!("must be set beside {key}"))])
        }
        (None, None) if api.tls_client_ca.is_some() => {
            let lacks = format!("needs {certificate} and {key}: clients show certificates over TLS alone");
            Err([("producer_api.tls_client_ca", lacks), (certificate, format!("must be set beside {key}"))])
        }
        _ if api.tls_client_ca.is_some() && api.users_file.is_none() => {
            let (authorities, users) = ("producer_api.tls_client_ca", "producer_api.users_file");
            let lacks =
                format!("needs {users}: a certificate tells a user, and keeps nobody out without users");
            Err([(authorities, lacks), (users, format!("must be set beside {authorities}"))])
        }
        _ => Ok(()),
    }
}

/// Why a work queue leaves no choice of `consumer.commit`.
const BY_ITSELF: &str = "the work queue commits by itself";

fn must_be_message(with: &str) -> String {
    format!("must be \"message\" with {with}: {BY_ITSELF}")
}

impl ConsumerSection {
    /// Whether `consumer.commit` goes with the library's handlers, which always have a work queue.
    ///
    /// # Errors
    /// It does not: the sentence of the settings' own check.
    pub fn check_commit_with_a_handler(&self) -> Result<(), String> {
        match self.commit {
            CommitMode::Message => Ok(()),
            _ => Err(format!("consumer.commit: {}", must_be_message("a handler"))),
        }
    }
}

/// A handler has to end before the group expels its consumer, with enough time left to store a dead letter.
/// What belongs to kept handlers, or to printing, is of no use elsewhere.
fn check_handler(settings: &Settings) -> Result<(), Contradiction> {
    let consumer = &settings.consumer;
    let (mode, commit) = ("consumer.handler_mode", "consumer.commit");
    if settings.has_work_queue() && consumer.commit != CommitMode::Message {
        let (with, why) = if !consumer.handler.is_empty() {
            ("consumer.handler", "a handler")
        } else if consumer.push.url.is_some() {
            (PUSH, "a push")
        } else if consumer.concurrency > 1 {
            ("consumer.concurrency", "more than one message at a time")
        } else {
            (TOPICS, "more than one topic")
        };
        return Err([
            (commit, must_be_message(&format!("{why} ({with})"))),
            (with, format!("needs {commit} = \"message\": {BY_ITSELF}")),
        ]);
    }
    if consumer.handler_mode == HandlerMode::Process {
        let kept = [
            ("consumer.handler_batch", consumer.handler_batch > 1),
            ("consumer.handler_processes", consumer.handler_processes.is_some()),
        ];
        if let Some((key, _)) = kept.into_iter().find(|(_, is_set)| *is_set) {
            let needs = format!("needs {mode} = \"lines\": with \"process\" each message has a process");
            return Err([(key, needs), (mode, format!("must be \"lines\" for {key}"))]);
        }
    } else if consumer.handler.is_empty() {
        let handler = "consumer.handler";
        let needs = format!("needs {handler}, the program that is kept");
        return Err([(mode, needs), (handler, format!("must be set for {mode} = \"lines\""))]);
    }
    let (limit, most) = ("consumer.handler_timeout_ms", "consumer.max_processing_ms");
    let needed = consumer.handler_timeout_ms.saturating_mul(4) / 3;
    if !consumer.has_handler() || needed <= consumer.max_processing_ms {
        return Ok(());
    }
    let why = "a quarter of it is kept for the dead letter and the commit";
    Err([
        (most, format!("must be at least {needed} for {limit} = {}: {why}", consumer.handler_timeout_ms)),
        (limit, format!("is too long for {most} ({}): {why}", consumer.max_processing_ms)),
    ])
}

/// The key whose value messages are sent to.
const PUSH: &str = "consumer.push_url";

/// A message goes to a program or to a URL, and what belongs to URLs is of no use without one.
fn check_push(settings: &Settings) -> Result<(), Contradiction> {
    let (consumer, push) = (&settings.consumer, &settings.consumer.push);
    if push.url.is_some() {
        let handler = "consumer.handler";
        let one = "a message goes to a program or to a URL";
        return match consumer.handler.is_empty() {
            true => Ok(()),
            false => Err([
                (PUSH, format!("cannot stand beside {handler}: {one}")),
                (handler, format!("cannot stand beside {PUSH}: {one}")),
            ]),
        };
    }
    let unset = PushSection::default();
    let of_a_push = [
        ("consumer.push_source", push.source != unset.source),
        ("consumer.push_type", push.kind != unset.kind),
        ("consumer.push_secret_file", push.secret_file != unset.secret_file),
        ("consumer.push_dead_statuses", push.dead_statuses != unset.dead_statuses),
        ("consumer.push_private", push.private != unset.private),
        ("consumer.push_tls_ca", push.tls_ca != unset.tls_ca),
        ("consumer.push_connect_timeout_ms", push.connect_timeout_ms != unset.connect_timeout_ms),
        ("consumer.push_send_timeout_ms", push.send_timeout_ms != unset.send_timeout_ms),
    ];
    match of_a_push.into_iter().find(|(_, is_set)| *is_set) {
        Some((key, _)) => Err([
            (key, format!("needs {PUSH}, the URL that messages are sent to")),
            (PUSH, format!("must be set for {key}")),
        ]),
        None => Ok(()),
    }
}

/// Metrics show topics and loads without authentication, so they are served on loopback unless that is meant.
fn check_metrics(settings: &Settings) -> Result<(), Contradiction> {
    let (listen, permit) = ("consumer.metrics_listen", "consumer.anyone_may_scrape");
    match &settings.consumer.metrics_listen {
        Some(address) if !settings.consumer.anyone_may_scrape && !is_loopback(address) => {
            let why = "metrics have no password, so whoever reaches them sees topics and loads";
            Err([
                (
                    listen,
                    format!("{address} can be reached from elsewhere: {why}; allow it with {permit} = true"),
                ),
                (permit, format!("must be true for {listen} = {address:?}, as {why}")),
            ])
        }
        _ => Ok(()),
    }
}

/// The rules of the embedded broker.
fn check_embedded(settings: &Settings) -> Result<(), Contradiction> {
    let (listen, permit) = ("embedded.listen", "embedded.anyone_may_connect");
    let address = &settings.embedded.listen;
    if !settings.embedded.anyone_may_connect && !is_loopback(address) {
        let why = "the broker has no passwords, so whoever reaches it can read and write everything";
        return Err([
            (
                listen,
                format!("{address} can be reached from elsewhere: {why}; allow it with {permit} = true"),
            ),
            (permit, format!("must be true for {listen} = {address:?}, as {why}")),
        ]);
    }
    let factor = settings.kafka.replication_factor;
    if settings.embedded_broker().is_some() && !matches!(factor, -1 | 1) {
        let (replicas, servers) = ("kafka.replication_factor", "kafka.bootstrap_servers");
        return Err([
            (replicas, format!("must be 1 or -1 on the embedded broker ({servers} = []), which is one node")),
            (servers, format!("must name brokers for {replicas} = {factor}: the embedded one is one node")),
        ]);
    }
    Ok(())
}

/// `low` is more than `high`.
fn out_of_order<T: Display>(low: (&'static str, T), high: (&'static str, T)) -> Contradiction {
    [
        (high.0, format!("must be at least {} ({})", low.0, low.1)),
        (low.0, format!("must be at most {} ({})", high.0, high.1)),
    ]
}
