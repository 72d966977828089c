//! The adapter (a Channel Adapter): looks like a small old Kafka to the `kafka` crate, and is a modern client of the
//! real cluster, with real consumer groups.
//!
//! - [`dispatch`]: a connection's requests, answered one by one; [`session`]: what is known of the connection
//! - [`client_id`]: what a connection wants
//! - `metadata`, `produce`, `fetch`, `offsets`, `commit`: the crate's seven requests
//! - [`member`]: the group member behind a consumer; [`plain`]: fetching without a group
//! - [`members`], [`look_ups`]: who is there, and who comes back over a new connection
//!
//! The wire is the only interface between a program and the adapter, so it makes no difference whether the adapter
//! runs in the program's process or in another.

pub mod client_id;
mod commit;
mod dispatch;
mod fetch;
mod look_ups;
pub mod member;
mod members;
mod metadata;
mod offsets;
mod plain;
mod produce;
mod session;

use std::fmt;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::cluster::{Cluster, ClusterSettings, TopicCreation};
use crate::config;
use crate::net::listener::Listener;
use client_id::ClientId;
use look_ups::LookUps;
use member::{FLUSH, GroupSettings, OffsetReset};
use members::Members;

/// The node id under which the adapter presents itself, as the only broker.
const NODE_ID: i32 = 1;

/// Producing is given up in good time before the `kafka` crate's fixed 120 s are over.
const MAX_DELIVERY: Duration = Duration::from_secs(100);

/// Why the adapter cannot start.
#[derive(Debug)]
pub enum Error {
    /// The address cannot be listened on.
    Listen {
        /// The address of the settings.
        address: String,
        /// The operating system's words.
        source: std::io::Error,
    },
    /// The operating system gave no random bytes for the token, or no thread.
    System(String),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Listen { address, source } => {
                write!(f, "adapter.listen: cannot listen on {address}: {source}")
            }
            Error::System(reason) => write!(f, "the adapter cannot start: {reason}"),
        }
    }
}

impl std::error::Error for Error {}

/// What an adapter serves and how.
#[derive(Clone)]
pub struct AdapterSettings {
    listen: String,
    access: Access,
    cluster: ClusterSettings,
    group: GroupSettings,
}

#[derive(Clone)]
enum Access {
    /// A token made at the start, for this process alone.
    Random,
    /// The token of the settings; `None` lets everybody in who can connect.
    Given(Option<String>),
}

impl AdapterSettings {
    /// An adapter inside this process: loopback, any port, a random token.
    pub fn in_process(settings: &config::Settings) -> AdapterSettings {
        AdapterSettings {
            listen: "127.0.0.1:0".to_owned(),
            access: Access::Random,
            ..AdapterSettings::stand_alone(settings)
        }
    }

    /// The adapter as a program of its own: `[adapter] listen` and `token`.
    pub fn stand_alone(settings: &config::Settings) -> AdapterSettings {
        AdapterSettings {
            listen: settings.adapter.listen.clone(),
            access: Access::Given(settings.adapter.token.as_ref().map(|token| token.expose().to_owned())),
            cluster: cluster_settings(settings),
            group: group_settings(&settings.consumer),
        }
    }
}

fn cluster_settings(settings: &config::Settings) -> ClusterSettings {
    let kafka = &settings.kafka;
    let both = |topic: TopicCreation| {
        let (name, beside) = (kafka.dead_letter_topic(), Some(kafka.topic.clone()));
        [topic.clone(), TopicCreation { name, beside, ..topic }]
    };
    ClusterSettings {
        delivery_timeout: kafka.delivery_timeout().min(MAX_DELIVERY),
        create: TopicCreation::of(kafka).into_iter().flat_map(both).collect(),
        ..ClusterSettings::of(settings)
    }
}

fn group_settings(consumer: &config::ConsumerSettings) -> GroupSettings {
    GroupSettings {
        session_timeout: consumer.session_timeout(),
        heartbeat_interval: consumer.heartbeat_interval(),
        max_processing: consumer.max_processing(),
        offset_reset: match consumer.auto_offset_reset {
            config::AutoOffsetReset::Earliest => OffsetReset::Earliest,
            config::AutoOffsetReset::Latest => OffsetReset::Latest,
        },
    }
}

/// What all connections share.
struct Shared {
    token: Option<String>,
    cluster: Arc<Cluster>,
    group: GroupSettings,
    members: Members,
    look_ups: LookUps,
}

/// A running adapter.
pub struct Adapter {
    shared: Arc<Shared>,
    listener: Listener,
}

impl Adapter {
    /// Listens and starts serving. No broker is needed for that: while there is none, requests get error codes.
    ///
    /// # Errors
    /// The address cannot be listened on, or the system gives no random bytes or threads.
    pub fn start(settings: AdapterSettings) -> Result<Adapter, Error> {
        let token = match settings.access {
            Access::Random => Some(random_token()?),
            Access::Given(token) => token,
        };
        let shared = Arc::new(Shared {
            token,
            cluster: Arc::new(Cluster::new(settings.cluster)),
            group: settings.group,
            members: Members::default(),
            look_ups: LookUps::default(),
        });
        let listen = |source| Error::Listen { address: settings.listen.clone(), source };
        let socket = TcpListener::bind(&settings.listen).map_err(listen)?;
        let served = shared.clone();
        let serve = move |id, stream| dispatch::serve(id, stream, &served);
        let listener = Listener::start("adapter", socket, serve).map_err(|e| Error::System(e.to_string()))?;
        Ok(Adapter { shared, listener })
    }

    /// A program of ours with this name has ended: its members leave their groups at once, instead of waiting
    /// for it to come back over another connection.
    pub fn program_ended(&self, name: &str) {
        self.shared.members.program_ended(name);
    }

    /// How programs reach the adapter.
    pub fn endpoint(&self) -> Endpoint {
        Endpoint { address: self.listener.address(), token: self.shared.token.clone() }
    }

    /// Stops: commits on their way arrive, members leave their groups, connections are closed, threads have ended when
    /// this returns.
    pub fn stop(self) {
        self.shared.members.flush(Instant::now() + FLUSH);
        self.shared.cluster.stop();
        self.shared.members.wake();
        self.listener.stop();
        self.shared.members.join();
    }
}

/// Where an adapter listens, and the token it wants.
#[derive(Clone)]
pub struct Endpoint {
    address: SocketAddr,
    token: Option<String>,
}

impl Endpoint {
    /// `host:port`, for `KafkaClient::new`.
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// The endpoint in one line of text, for another process; it holds the token.
    pub fn to_line(&self) -> String {
        format!("{} {}", self.address, self.token.as_deref().unwrap_or_default())
    }

    /// The endpoint that [`Endpoint::to_line`] gave; `None` for another text.
    pub fn from_line(line: &str) -> Option<Endpoint> {
        let (address, token) = line.split_once(' ')?;
        let token = Some(token.to_owned()).filter(|token| !token.is_empty());
        Some(Endpoint { address: address.parse().ok()?, token })
    }

    /// The client id of one of our own producers: its messages are envelopes.
    pub fn producer_client_id(&self, name: &str) -> String {
        let token = self.token.clone();
        ClientId { name: name.to_owned(), token, envelope: true, ..ClientId::default() }.text()
    }

    /// The client id of one of our own consumers: a member from its look-up of offsets on, which gets envelopes.
    /// `session` stays the same over the consumers that one receiver builds one after the other, and belongs to no
    /// other receiver. The commits of a `pipelined` one are answered before Kafka has them.
    pub fn consumer_client_id(&self, name: &str, session: &str, pipelined: bool) -> String {
        let token = self.token.clone();
        let (name, session) = (name.to_owned(), session.to_owned());
        ClientId { name, token, member: true, session, envelope: true, pipelined }.text()
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint").field("address", &self.address).finish_non_exhaustive()
    }
}

fn random_token() -> Result<String, Error> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|e| Error::System(format!("no random bytes: {e}")))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
