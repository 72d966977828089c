//! The settings of consumers, and of the messages that the endpoint hands out.

use std::path::PathBuf;
use std::time::Duration;

use crate::consumer::{CommitMode, HandlerMode, Order, Payload};
use client::group_member::OffsetReset;

/// `[consumer]`: the group and its members.
#[derive(Debug, Clone, PartialEq)]
pub struct ConsumerSection {
    /// The group whose members share the messages; unset: each program's own default, see
    /// [`ConsumerSection::group`].
    pub group: Option<String>,
    /// Where a partition starts for which the group has committed nothing.
    pub auto_offset_reset: OffsetReset,
    /// The time without a heartbeat after which the coordinator expels a member.
    pub session_timeout_ms: u64,
    /// Time between heartbeats; unset: a tenth of the session timeout, at most 500.
    pub heartbeat_interval_ms: Option<u64>,
    /// The time limit for one message: after it a consumer that prints leaves the group, and with a work
    /// queue the attempt has failed.
    pub max_processing_ms: u64,
    /// A fetch is answered as soon as this many bytes are there.
    pub fetch_min_bytes: i32,
    /// A fetch without enough bytes is answered after this time.
    pub fetch_max_wait_ms: u64,
    /// Bytes fetched from one partition at a time.
    pub fetch_max_bytes_per_partition: i32,
    /// When offsets are committed.
    pub commit: CommitMode,
    /// How often a consumer that commits automatically does so.
    pub auto_commit_interval_ms: u64,
    /// Messages that one consumer works on at a time.
    pub concurrency: u32,
    /// Which messages wait for one another.
    pub order: Order,
    /// The bytes of messages that a consumer with a work queue keeps in memory.
    pub buffer_bytes: usize,
    /// Which messages are handed to handlers, and are done when they are printed.
    pub payload: Payload,
    /// So many failed attempts in a row pause the consumer; 0: none do.
    pub circuit_failures: u32,
    /// The program, with its arguments, that handles each message; none: it is printed.
    pub handler: Vec<String>,
    /// Whether that program is started for each message, or kept.
    pub handler_mode: HandlerMode,
    /// How many of a kept program run at a time; unset: as many as `concurrency` says.
    pub handler_processes: Option<u32>,
    /// Messages that a kept program gets in one line; 1: each in a line of its own.
    pub handler_batch: usize,
    /// How long that program, or the target of a push, may take over one message.
    pub handler_timeout_ms: u64,
    /// The URL that messages are sent to, and how.
    pub push: PushSection,
    /// Address and port of a consumer's metrics; unset: they are not served.
    pub metrics_listen: Option<String>,
    /// They may be served at an address that other machines reach.
    pub anyone_may_scrape: bool,
}

/// The keys of `[consumer]` that begin with `push_`: messages are sent to a URL instead of a program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PushSection {
    /// The URL; unset: there is none.
    pub url: Option<String>,
    /// `ce-source`; unset: `/topics/` and the topic.
    pub source: Option<String>,
    /// `ce-type`.
    pub kind: String,
    /// The file of the secrets that requests are signed with.
    pub secret_file: Option<PathBuf>,
    /// Statuses beside 410 with which a message is a dead letter at once.
    pub dead_statuses: Vec<u16>,
    /// The URL may be of the local network.
    pub private: bool,
    /// Authorities, in PEM, that are trusted beside those of the system.
    pub tls_ca: Option<PathBuf>,
    /// The longest look-up of the host, and the longest time until there is a connection.
    pub connect_timeout_ms: u64,
    /// The longest sending of a request.
    pub send_timeout_ms: u64,
}

/// `[queue]`: the messages that the endpoint hands out over HTTP.
#[derive(Debug, Clone, PartialEq)]
pub struct QueueSection {
    /// Which messages wait for one another.
    pub order: Order,
    /// The most messages that workers have at a time.
    pub max_leases: usize,
    /// The most pairs of topic and group.
    pub max_queues: usize,
    /// The time without a request after which a group is left.
    pub idle_ms: u64,
}

/// `[retry]`: how often, and after which waits, a message is tried that could not be handled.
#[derive(Debug, Clone, PartialEq)]
pub struct RetrySection {
    /// Attempts at a message, the first one counted; then it goes to the dead letters. 0: for ever.
    pub max_attempts: u32,
    /// The wait after the first attempt.
    pub initial_backoff_ms: u64,
    /// The factor from each wait to the next.
    pub multiplier: f64,
    /// The longest wait.
    pub max_backoff_ms: u64,
    /// Each wait is made longer or shorter at random by up to this share of it.
    pub jitter: f64,
}

impl Default for ConsumerSection {
    fn default() -> Self {
        ConsumerSection {
            group: None,
            auto_offset_reset: OffsetReset::Earliest,
            session_timeout_ms: 10_000,
            heartbeat_interval_ms: None,
            max_processing_ms: 300_000,
            fetch_min_bytes: 1,
            fetch_max_wait_ms: 500,
            fetch_max_bytes_per_partition: 1_048_576,
            commit: CommitMode::Message,
            auto_commit_interval_ms: 5_000,
            concurrency: 1,
            order: Order::Key,
            buffer_bytes: 32 << 20,
            payload: Payload::Json,
            circuit_failures: 0,
            handler: Vec::new(),
            handler_mode: HandlerMode::Process,
            handler_processes: None,
            handler_batch: 1,
            handler_timeout_ms: 60_000,
            push: PushSection::default(),
            metrics_listen: None,
            anyone_may_scrape: false,
        }
    }
}

impl Default for PushSection {
    fn default() -> Self {
        PushSection {
            url: None,
            source: None,
            kind: "point-to-point.message".to_owned(),
            secret_file: None,
            dead_statuses: Vec::new(),
            private: true,
            tls_ca: None,
            connect_timeout_ms: 5_000,
            send_timeout_ms: 10_000,
        }
    }
}

impl Default for QueueSection {
    fn default() -> Self {
        QueueSection { order: Order::Key, max_leases: 10_000, max_queues: 32, idle_ms: 60_000 }
    }
}

impl Default for RetrySection {
    fn default() -> Self {
        RetrySection {
            max_attempts: 3,
            initial_backoff_ms: 1_000,
            multiplier: 2.0,
            max_backoff_ms: 30_000,
            jitter: 0.2,
        }
    }
}

impl ConsumerSection {
    /// The group where none is set.
    pub const DEFAULT_GROUP: &str = "grupo-consumidores";

    /// `group`, or [`ConsumerSection::DEFAULT_GROUP`].
    pub fn group(&self) -> &str {
        self.group.as_deref().unwrap_or(ConsumerSection::DEFAULT_GROUP)
    }

    /// `session_timeout_ms`.
    pub fn session_timeout(&self) -> Duration {
        Duration::from_millis(self.session_timeout_ms)
    }

    /// `heartbeat_interval_ms`, or its default, which depends on the session timeout.
    pub fn heartbeat_interval(&self) -> Duration {
        let unset = (self.session_timeout_ms / 10).clamp(1, 500);
        Duration::from_millis(self.heartbeat_interval_ms.unwrap_or(unset))
    }

    /// `max_processing_ms`.
    pub fn max_processing(&self) -> Duration {
        Duration::from_millis(self.max_processing_ms)
    }

    /// `fetch_max_wait_ms`.
    pub fn fetch_max_wait(&self) -> Duration {
        Duration::from_millis(self.fetch_max_wait_ms)
    }

    /// `auto_commit_interval_ms`; at most a quarter of `max_processing_ms`, as a consumer that handles one
    /// message after the other is heard of by its commits.
    pub fn auto_commit_interval(&self) -> Duration {
        Duration::from_millis(self.auto_commit_interval_ms).min(self.max_processing() / 4)
    }

    /// Whether messages are handled by a program or a URL; otherwise they are printed.
    pub fn has_handler(&self) -> bool {
        !self.handler.is_empty() || self.push.url.is_some()
    }

    /// `handler_timeout_ms`.
    pub fn handler_timeout(&self) -> Duration {
        Duration::from_millis(self.handler_timeout_ms)
    }
}
