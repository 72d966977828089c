//! The typed settings of all programs, with their defaults. [`load()`] reads them from the file, the
//! environment and the command line; `config.toml` in the repository explains every key.

mod consumer_sections;
mod contradiction;
mod keys;
mod load;
mod origins;
mod security;
mod together;
mod topic_sections;
mod translate;
mod values;

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

pub use consumer_sections::{ConsumerSection, PushSection, QueueSection, RetrySection};
pub use load::{ConfigError, load, load_sources};
pub use security::{SecurityProtocol, SecuritySection};
pub use topic_sections::TopicSection;
pub use values::{MOST_PARTITIONS, check_consumer_name, check_topic, port_of};

pub use crate::consumer::Subscription;
use crate::logging::LogSettings;
use protocol::compression::Compression;

/// The largest `producer_api.max_body_bytes`: a body may hold many messages.
pub(crate) const MAX_BODY_BYTES: usize = 64 << 20;

/// Every setting of every program. Fields are named as the keys of the file; times are in milliseconds there
/// and come as [`Duration`] from the methods.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Settings {
    /// The cluster and the topic.
    pub kafka: KafkaSettings,
    /// The embedded broker.
    pub embedded: EmbeddedSettings,
    /// The producers: the endpoint's and the program's.
    pub producer: ProducerSection,
    /// The HTTP endpoint.
    pub producer_api: ProducerApiSettings,
    /// The consumers.
    pub consumer: ConsumerSection,
    /// The messages that the endpoint hands out.
    pub queue: QueueSection,
    /// What happens to a message that could not be handled.
    pub retry: RetrySection,
    /// The adapter as a program.
    pub adapter: AdapterSettings,
    /// The log.
    pub log: LogSettings,
    /// The topics that are to exist, beside those that `kafka` names.
    pub topics: Vec<TopicSection>,
}

/// `[kafka]`: the cluster and the topic.
#[derive(Debug, Clone, PartialEq)]
pub struct KafkaSettings {
    /// Addresses (`host:port`) of brokers for the first connection. None: the embedded broker.
    pub bootstrap_servers: Vec<String>,
    /// The topic that carries the messages.
    pub topic: String,
    /// The topics that consumers consume; unset: `topic`.
    pub topics: Option<Subscription>,
    /// Whether the first program creates the topic if the cluster does not have it.
    pub create_topic: bool,
    /// Partitions of the topic when we create it; 4 where it is not set.
    pub partitions: Option<i32>,
    /// Replicas of each partition when we create the topic; -1 leaves it to the broker.
    pub replication_factor: i16,
    /// How long one request to a broker may take.
    pub request_timeout_ms: u64,
    /// How long a message whose bytes were sent is tried again, idempotently, before its fate is unknown.
    pub delivery_timeout_ms: u64,
    /// Compression of the batches that go to the cluster.
    pub compression: Compression,
    /// How connections to the brokers are secured.
    pub security: SecuritySection,
}

/// `[embedded]`: the broker inside our own processes, which serves where no other is named.
#[derive(Debug, Clone, PartialEq)]
pub struct EmbeddedSettings {
    /// `host:port` to listen on; the port is never 0.
    pub listen: String,
    /// The host, without brackets, and the port that clients are told to connect to; unset: the address to
    /// which they have connected.
    pub advertised: Option<(String, u16)>,
    /// Whether `listen` may be an address that other machines can reach.
    pub anyone_may_connect: bool,
    /// The folder of the database.
    pub data_dir: PathBuf,
    /// Messages are kept for so long; -1: for ever.
    pub retention_ms: i64,
    /// Bytes kept of each partition; -1: all.
    pub retention_bytes: i64,
    /// Nothing is stored while the file system of `data_dir` has fewer bytes left; unset: the smaller of 64
    /// MiB and a twentieth of the file system.
    pub min_free_bytes: Option<u64>,
    /// Whether a client that asks for a topic that does not exist creates it.
    pub auto_create_topics: bool,
    /// How long the first rebalance of an empty group waits for more members; 0: not at all.
    pub initial_rebalance_delay_ms: u64,
}

/// `[producer]`: how much may wait to be stored.
#[derive(Debug, Clone, PartialEq)]
pub struct ProducerSection {
    /// Messages that may wait to be stored or be under way.
    pub queue_messages: usize,
    /// Bytes (keys and values) that may wait to be stored or be under way.
    pub queue_bytes: usize,
}

/// `[producer_api]`: the HTTP endpoint, its limits and deadlines.
#[derive(Debug, Clone, PartialEq)]
pub struct ProducerApiSettings {
    /// Address and port to listen on.
    pub listen: String,
    /// The host, without brackets, and the port at which other endpoints of a group reach this one; unset:
    /// the address on which it listens.
    pub advertised: Option<(String, u16)>,
    /// Where the key of a message stands in its body, as a JSON Pointer.
    pub key: Option<String>,
    /// From the whole request to its answer; then 503 or 504. With less than 2000, 504 is also the answer to
    /// messages that were never sent.
    pub answer_timeout_ms: u64,
    /// The longest body accepted, in bytes.
    pub max_body_bytes: usize,
    /// From the first byte of a request to the end of its head.
    pub head_timeout_ms: u64,
    /// From the end of the head to the end of the body.
    pub body_timeout_ms: u64,
    /// How long a connection may stay open without a request.
    pub idle_timeout_ms: u64,
    /// How long the endpoint goes on serving when it is asked to stop, while `/readyz` is 503.
    pub drain_ms: u64,
    /// Connections open at a time; fewer where the process may not have so many files open.
    pub max_connections: usize,
    /// The token that a client has to send as `Authorization: Bearer`; unset, and without `token_file`: none.
    pub token: Option<Secret>,
    /// The file that holds the token instead.
    pub token_file: Option<PathBuf>,
    /// The file of the endpoint's users; unset: there are none.
    pub users_file: Option<PathBuf>,
    /// The server's certificate and those between it and the authority, in PEM; with `tls_key` the endpoint
    /// speaks TLS.
    pub tls_certificate: Option<PathBuf>,
    /// The certificate's private key, in PEM.
    pub tls_key: Option<PathBuf>,
    /// The authorities that may have issued clients' certificates, in PEM.
    pub tls_client_ca: Option<PathBuf>,
    /// Whether `listen` may be an address that other machines can reach without both token and TLS.
    pub anyone_may_send: bool,
    /// The origins of other sites whose pages may use the endpoint, each as a browser writes it.
    pub allowed_origins: Vec<String>,
    /// Whether each answered request has its line in the log.
    pub access_log: bool,
}

/// `[adapter]`: the adapter as a program of its own.
#[derive(Debug, Clone, PartialEq)]
pub struct AdapterSettings {
    /// Address and port to listen on.
    pub listen: String,
    /// The token that a client has to know; unset: none.
    pub token: Option<Secret>,
}

/// A setting that must not be shown: neither `Debug` nor an error message has its text.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Keeps `text` from being shown by accident.
    pub fn new(text: impl Into<String>) -> Secret {
        Secret(text.into())
    }

    /// The text itself, for the place that needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

impl Default for KafkaSettings {
    fn default() -> Self {
        KafkaSettings {
            bootstrap_servers: Vec::new(),
            topic: "mi-topico".to_owned(),
            topics: None,
            create_topic: true,
            partitions: None,
            replication_factor: -1,
            request_timeout_ms: 30_000,
            delivery_timeout_ms: 60_000,
            compression: Compression::None,
            security: SecuritySection::default(),
        }
    }
}

impl Default for EmbeddedSettings {
    fn default() -> Self {
        EmbeddedSettings {
            listen: "127.0.0.1:9092".to_owned(),
            advertised: None,
            anyone_may_connect: false,
            data_dir: PathBuf::from("data"),
            retention_ms: 604_800_000,
            retention_bytes: -1,
            min_free_bytes: None,
            auto_create_topics: true,
            initial_rebalance_delay_ms: 0,
        }
    }
}

impl Default for ProducerSection {
    fn default() -> Self {
        ProducerSection { queue_messages: 10_000, queue_bytes: 67_108_864 }
    }
}

impl Default for ProducerApiSettings {
    fn default() -> Self {
        ProducerApiSettings {
            listen: "127.0.0.1:5000".to_owned(),
            advertised: None,
            key: None,
            answer_timeout_ms: 10_000,
            max_body_bytes: 1_048_576,
            head_timeout_ms: 5_000,
            body_timeout_ms: 30_000,
            idle_timeout_ms: 60_000,
            drain_ms: 0,
            max_connections: 4096,
            token: None,
            token_file: None,
            users_file: None,
            tls_certificate: None,
            tls_key: None,
            tls_client_ca: None,
            anyone_may_send: false,
            allowed_origins: Vec::new(),
            access_log: false,
        }
    }
}

impl Default for AdapterSettings {
    fn default() -> Self {
        AdapterSettings { listen: "127.0.0.1:19092".to_owned(), token: None }
    }
}

impl Settings {
    /// Whether messages go over the work queue: those of a handler, of several topics, and where more than
    /// one is under way.
    pub fn has_work_queue(&self) -> bool {
        let consumer = &self.consumer;
        consumer.has_handler() || consumer.concurrency > 1 || self.kafka.consumed().single().is_none()
    }

    /// The embedded broker's settings, if no other broker is named.
    pub fn embedded_broker(&self) -> Option<&EmbeddedSettings> {
        self.kafka.bootstrap_servers.is_empty().then_some(&self.embedded)
    }

    /// Addresses (`host:port`) of brokers to ask first: those named, or the embedded broker's.
    pub fn brokers(&self) -> Vec<String> {
        match self.embedded_broker() {
            Some(embedded) => vec![embedded.address()],
            None => self.kafka.bootstrap_servers.clone(),
        }
    }
}

impl EmbeddedSettings {
    /// `host:port` at which programs on this machine reach the broker.
    pub fn address(&self) -> String {
        match self.listen.parse::<SocketAddr>() {
            Ok(address) => net::listener::connectable(address).to_string(),
            Err(_) => self.listen.clone(),
        }
    }

    /// `retention_ms`; `None` for ever.
    pub fn retention(&self) -> Option<Duration> {
        u64::try_from(self.retention_ms).ok().map(Duration::from_millis)
    }

    /// `retention_bytes`; `None` without a limit.
    pub fn retention_bytes(&self) -> Option<u64> {
        u64::try_from(self.retention_bytes).ok()
    }
}

impl KafkaSettings {
    /// `request_timeout_ms`.
    pub fn request_timeout(&self) -> Duration {
        Duration::from_millis(self.request_timeout_ms)
    }

    /// What consumers consume: `topics`, or the one `topic`.
    pub fn consumed(&self) -> Subscription {
        self.topics.clone().unwrap_or_else(|| Subscription::Topics(vec![self.topic.clone()]))
    }

    /// `delivery_timeout_ms`.
    pub fn delivery_timeout(&self) -> Duration {
        Duration::from_millis(self.delivery_timeout_ms)
    }
}

impl ProducerApiSettings {
    /// `answer_timeout_ms`.
    pub fn answer_timeout(&self) -> Duration {
        Duration::from_millis(self.answer_timeout_ms)
    }

    /// `head_timeout_ms`.
    pub fn head_timeout(&self) -> Duration {
        Duration::from_millis(self.head_timeout_ms)
    }

    /// `body_timeout_ms`.
    pub fn body_timeout(&self) -> Duration {
        Duration::from_millis(self.body_timeout_ms)
    }

    /// `idle_timeout_ms`.
    pub fn idle_timeout(&self) -> Duration {
        Duration::from_millis(self.idle_timeout_ms)
    }

    /// `drain_ms`.
    pub fn drain(&self) -> Duration {
        Duration::from_millis(self.drain_ms)
    }
}
