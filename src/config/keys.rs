//! Every key of the settings: where it goes and which values are legal.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::path::PathBuf;

use super::{AutoOffsetReset, Commit, Compression, MAX_BODY_BYTES, ProducerApiSettings, Secret, Settings};

/// A value as a source gave it.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    Text(String),
    Integer(i64),
    Fraction(f64),
    Boolean(bool),
    List(Vec<Value>),
    /// Of a kind that no key takes (a date, a table, ...).
    Other(&'static str),
}

/// A value with the text it was parsed from, where the source is a variable or an option: a key that takes
/// text takes that, so that a topic may be called `2024`.
pub(super) struct Given {
    pub(super) value: Value,
    pub(super) raw: Option<String>,
}

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

fn put<T>(field: &mut T, value: Result<T, String>) -> Result<(), String> {
    *field = value?;
    Ok(())
}

fn text(given: &Given) -> Result<String, String> {
    match (&given.value, &given.raw) {
        (Value::Text(text), _) | (_, Some(text)) => Ok(text.clone()),
        (other, None) => Err(format!("must be text in quotes, not {}", shown(other))),
    }
}

fn boolean(given: &Given) -> Result<bool, String> {
    match &given.value {
        Value::Boolean(value) => Ok(*value),
        other => Err(format!("must be true or false, not {}", shown(other))),
    }
}

fn number<T>(given: &Given, range: RangeInclusive<T>) -> Result<T, String>
where
    T: TryFrom<i64> + PartialOrd + Display,
{
    match integer(given).and_then(|number| T::try_from(number).ok()) {
        Some(number) if range.contains(&number) => Ok(number),
        _ => {
            let (low, high) = (range.start(), range.end());
            Err(format!("must be a whole number from {low} to {high}, not {}", shown(&given.value)))
        }
    }
}

fn fraction(given: &Given, range: RangeInclusive<f64>) -> Result<f64, String> {
    let number = match (&given.value, &given.raw) {
        (Value::Fraction(number), _) => Some(*number),
        // Every whole number that is legal is one that f64 has.
        (Value::Integer(number), _) => Some(*number as f64),
        (Value::Text(text), Some(_)) => text.trim().parse().ok(),
        _ => None,
    };
    number.filter(|number| range.contains(number)).ok_or_else(|| {
        let (low, high) = (range.start(), range.end());
        format!("must be a number from {low} to {high}, not {}", shown(&given.value))
    })
}

/// A whole number. A variable or an option may have it in quotes: those of a shell that it went through, say.
fn integer(given: &Given) -> Option<i64> {
    match (&given.value, &given.raw) {
        (Value::Integer(number), _) => Some(*number),
        (Value::Text(text), Some(_)) => text.trim().parse().ok(),
        _ => None,
    }
}

fn replication_factor(given: &Given) -> Result<i16, String> {
    match integer(given) {
        Some(-1) => Ok(-1),
        _ => {
            number(given, 1..=1_000).map_err(|sentence| format!("{sentence}; or -1 for the broker's default"))
        }
    }
}

/// A whole number from 1 on, or -1 for what `without` says.
fn limit(given: &Given, without: &str) -> Result<i64, String> {
    match integer(given) {
        Some(number) if number == -1 || number >= 1 => Ok(number),
        _ => Err(format!("must be a whole number from 1 on, or -1 ({without}), not {}", shown(&given.value))),
    }
}

fn folder(given: &Given) -> Result<PathBuf, String> {
    let folder = text(given)?;
    if folder.is_empty() || folder.contains('\0') {
        return Err(format!("must be the path of a folder, not {}", quoted(&folder)));
    }
    Ok(PathBuf::from(folder))
}

fn file(given: &Given) -> Result<PathBuf, String> {
    let file = text(given)?;
    if file.is_empty() || file.contains('\0') {
        return Err(format!("must be the path of a file, not {}", quoted(&file)));
    }
    Ok(PathBuf::from(file))
}

/// A program with its arguments.
fn command(given: &Given) -> Result<Vec<String>, String> {
    let example = "a list of texts, the program and its arguments, for example [\"./handle\", \"-v\"]";
    let Value::List(list) = &given.value else {
        return Err(format!("must be {example}, or [] for none, not {}", shown(&given.value)));
    };
    let texts = list.iter().map(|value| text(&Given { value: value.clone(), raw: None }));
    let texts: Vec<String> = texts.collect::<Result<_, _>>().map_err(|_| format!("must be {example}"))?;
    if texts.first().is_some_and(String::is_empty) || texts.iter().any(|text| text.contains('\0')) {
        return Err(format!("must be {example}; an empty program or a NUL byte is none"));
    }
    Ok(texts)
}

fn choice<T: Copy>(given: &Given, choices: &[(&str, T)]) -> Result<T, String> {
    let wanted = text(given)?;
    let found = choices.iter().find(|(name, _)| *name == wanted);
    found.map(|(_, choice)| *choice).ok_or_else(|| {
        let names: Vec<_> = choices.iter().map(|(name, _)| format!("{name:?}")).collect();
        format!("must be {}, not {wanted:?}", names.join(" or "))
    })
}

fn servers(given: &Given) -> Result<Vec<String>, String> {
    let example = "one or more host:port, for example [\"localhost:9092\"], or [] for the embedded broker";
    let texts: Vec<String> = match &given.value {
        Value::Text(list) => spelled_out(list),
        Value::List(list) => list
            .iter()
            .map(|value| text(&Given { value: value.clone(), raw: None }))
            .collect::<Result<_, _>>()
            .map_err(|_| format!("must be {example}"))?,
        other => return Err(format!("must be {example}, not {}", shown(other))),
    };
    for server in &texts {
        if !matches!(port_of(server), Some(1..)) {
            return Err(format!("must be {example}; {server:?} is none"));
        }
    }
    Ok(texts)
}

/// A list with commas; a port alone is on the host before it, so that `localhost:9094,9095` names two
/// brokers.
fn spelled_out(list: &str) -> Vec<String> {
    let mut servers: Vec<String> = Vec::new();
    for server in list.split(',').map(str::trim) {
        let port_alone = !server.is_empty() && server.bytes().all(|byte| byte.is_ascii_digit());
        match servers.last().and_then(|before| before.rsplit_once(':')) {
            Some((host, _)) if port_alone => servers.push(format!("{host}:{server}")),
            _ => servers.push(server.to_owned()),
        }
    }
    servers
}

fn listen(given: &Given) -> Result<String, String> {
    let address = text(given)?;
    match port_of(&address) {
        Some(_) => Ok(address),
        None => Err(format!("must be address:port, for example \"127.0.0.1:5000\", not {address:?}")),
    }
}

/// As [`listen`], for what others have to find: the system must not choose the port.
fn listen_at_a_port(given: &Given) -> Result<String, String> {
    let address = listen(given)?;
    match port_of(&address) {
        Some(0) => Err(format!("must have a port that others can find, not {address:?}")),
        _ => Ok(address),
    }
}

/// The port of `host:port`, where the host is a name, an IPv4 address or an IPv6 address in brackets.
fn port_of(address: &str) -> Option<u16> {
    let (host, port) = address.rsplit_once(':')?;
    let host_is_legal = match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(inner) => inner.parse::<std::net::Ipv6Addr>().is_ok(),
        None => {
            !host.is_empty()
                && host.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_'))
        }
    };
    let digits = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    (host_is_legal && digits).then(|| port.parse().ok())?
}

/// Kafka's own rule for topic names (org.apache.kafka.common.internals.Topic), which allows 249 characters;
/// the topic for dead letters has four more.
fn topic(given: &Given) -> Result<String, String> {
    let topic = text(given)?;
    if is_word(&topic, 245) && topic != "." && topic != ".." {
        return Ok(topic);
    }
    Err(format!(
        "must be 1 to 245 letters, digits, '.', '_' or '-', and not '.' or '..'; not {}",
        quoted(&topic)
    ))
}

fn group(given: &Given) -> Result<String, String> {
    let group = text(given)?;
    if !group.trim().is_empty() && group.len() <= 255 && !group.chars().any(char::is_control) {
        return Ok(group);
    }
    Err(format!("must be 1 to 255 bytes of text without control characters, not {}", quoted(&group)))
}

/// The error does not show the token. Its characters are those that need no escaping in a client id.
fn token(given: &Given) -> Result<Secret, String> {
    match text(given) {
        Ok(token) if is_word(&token, 200) => Ok(Secret::new(token)),
        _ => {
            Err("must be a text of 1 to 200 letters, digits, '.', '_' or '-' (its value is not shown)"
                .to_owned())
        }
    }
}

/// The error does not show the token.
fn api_token(given: &Given) -> Result<Secret, String> {
    let token = text(given).map_err(|_| WHAT_A_TOKEN_IS.to_owned())?;
    check_token(&token).map(|()| Secret::new(token)).map_err(str::to_owned)
}

/// Whether `token` may be what the endpoint's clients have to show. It travels in a header and should not be one that
/// can be guessed.
///
/// # Errors
/// A sentence that says what is legal, without the token.
pub fn check_token(token: &str) -> Result<(), &'static str> {
    let legal = matches!(token.len(), 16..=MAX_TOKEN_BYTES) && token.bytes().all(|b| b.is_ascii_graphic());
    if legal { Ok(()) } else { Err(WHAT_A_TOKEN_IS) }
}

const WHAT_A_TOKEN_IS: &str = "must be 16 to 256 visible ASCII characters without spaces (its value is not shown); for example what `openssl \
     rand -hex 32` prints";

/// The longest token that a client of the endpoint may have to show, in bytes.
pub const MAX_TOKEN_BYTES: usize = 256;

/// Whether `name` may be the name of a consumer: it becomes the first part of its client id.
///
/// # Errors
/// A sentence that says what is legal.
pub fn check_consumer_name(name: &str) -> Result<(), String> {
    if is_word(name, 100) {
        return Ok(());
    }
    Err(format!("must be 1 to 100 letters, digits, '.', '_' or '-', not {}", quoted(name)))
}

fn is_word(text: &str, longest: usize) -> bool {
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    !text.is_empty() && text.len() <= longest && text.chars().all(legal)
}

fn quoted(text: &str) -> String {
    if text.len() <= 60 { format!("{text:?}") } else { format!("a text of {} bytes", text.len()) }
}

fn shown(value: &Value) -> String {
    match value {
        Value::Text(text) => quoted(text),
        Value::Integer(number) => number.to_string(),
        Value::Boolean(value) => value.to_string(),
        Value::Fraction(number) => format!("{number:?}"),
        Value::List(_) => "a list".to_owned(),
        Value::Other(kind) => (*kind).to_owned(),
    }
}
