//! What keys demand of each other.

use std::fmt::Display;

use super::keys::API_TOKEN;
use super::{ProducerApiSettings, Settings};

/// Two keys that contradict each other: each as the one to blame, with the sentence. Where both are as much
/// to blame it is the first.
pub(super) type Contradiction = [(&'static str, String); 2];

/// What pairs of keys demand of each other.
pub(super) fn check_together(settings: &Settings) -> Result<(), Contradiction> {
    let (kafka, api, consumer) = (&settings.kafka, &settings.producer_api, &settings.consumer);
    check_embedded(settings)?;
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
    if api.max_body_bytes > api.queue_bytes {
        let (body, queue) = ("producer_api.max_body_bytes", "producer_api.queue_bytes");
        return Err(out_of_order((body, api.max_body_bytes), (queue, api.queue_bytes)));
    }
    check_guard(api)?;
    check_metrics(settings)?;
    let retry = &settings.retry;
    if retry.initial_backoff_ms > retry.max_backoff_ms {
        let (initial, most) = ("retry.initial_backoff_ms", "retry.max_backoff_ms");
        return Err(out_of_order((initial, retry.initial_backoff_ms), (most, retry.max_backoff_ms)));
    }
    check_handler(settings)
}

/// What goes together, or not, at the endpoint's door. Whether it has to be guarded at all is decided where it
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
        _ => Ok(()),
    }
}

/// All attempts at a message end before its consumer is taken for frozen, and the rest of that time is enough
/// to store a dead letter.
fn check_handler(settings: &Settings) -> Result<(), Contradiction> {
    let (consumer, retry) = (&settings.consumer, &settings.retry);
    if consumer.handler.is_empty() {
        return Ok(());
    }
    let (limit, most) = ("consumer.handler_timeout_ms", "consumer.max_processing_ms");
    let attempts = consumer.handler_timeout() * retry.max_attempts;
    let waits = retry.longest_waits();
    let needed = (attempts + waits).as_millis() * 4 / 3;
    if needed <= consumer.max_processing().as_millis() {
        return Ok(());
    }
    let why = format!(
        "one message may take {} attempts of {} ms and waits of {} ms ([retry]), and a quarter is kept for the dead \
         letter",
        retry.max_attempts,
        consumer.handler_timeout_ms,
        waits.as_millis()
    );
    Err([
        (most, format!("must be at least {needed}: {why}")),
        (limit, format!("is too long for {most} ({}): {why}", consumer.max_processing_ms)),
    ])
}

/// Metrics tell topics and loads to whoever asks for them.
fn check_metrics(settings: &Settings) -> Result<(), Contradiction> {
    match &settings.consumer.metrics_listen {
        Some(address) if !is_loopback(address) => {
            let sentence = format!("{address} can be reached from elsewhere; it must be on loopback");
            Err([("consumer.metrics_listen", sentence.clone()), ("consumer.metrics_listen", sentence)])
        }
        _ => Ok(()),
    }
}

/// What the embedded broker demands.
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

/// Whether only this machine reaches `host:port`. Of names, only `localhost` is known for that.
fn is_loopback(address: &str) -> bool {
    match address.parse::<std::net::SocketAddr>() {
        Ok(address) => address.ip().is_loopback(),
        Err(_) => address.rsplit_once(':').is_some_and(|(host, _)| host.eq_ignore_ascii_case("localhost")),
    }
}

/// `low` is more than `high`.
fn out_of_order<T: Display>(low: (&'static str, T), high: (&'static str, T)) -> Contradiction {
    [
        (high.0, format!("must be at least {} ({})", low.0, low.1)),
        (low.0, format!("must be at most {} ({})", high.0, high.1)),
    ]
}
