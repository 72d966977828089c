//! The adapter (a Channel Adapter): looks like a small old Kafka to the `kafka` crate, and is a modern client
//! of the real cluster, with real consumer groups.
//!
//! - [`dispatch`]: a connection's requests, answered one by one; [`session`]: the state of the connection
//! - [`client_id`]: the options of a connection
//! - `metadata`, `produce`, `fetch`, `offsets`, `commit`: the crate's seven requests
//! - [`plain`]: fetching without a group; with one, [`client::group_member`] fetches
//! - [`members`], [`offset_fetches`]: the members of connections, and clients that come back over a new one
//!
//! The wire is the only interface between a program and the adapter, so it makes no difference whether the
//! adapter runs in the program's process or in another.

pub mod client_id;
mod commit;
mod dispatch;
mod fetch;
mod format;
mod members;
mod metadata;
mod offset_fetches;
mod offsets;
mod plain;
mod produce;
mod session;

use std::fmt;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::{Duration, Instant};

use client::group_member::{FLUSH, GroupSettings};
use client::topics_on_demand::TopicsOnDemand;
use client::{Cluster, ClusterSettings};
use client_id::ClientId;
use members::Members;
use net::listener::Listener;
use net::sync::Mutex;
use offset_fetches::OffsetFetches;

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
        /// The error of the operating system.
        source: std::io::Error,
    },
    /// The operating system gave no random bytes for the token, or no thread.
    System(std::io::Error),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Listen { address, source } => {
                write!(f, "adapter.listen: cannot listen on {address}: {source}")
            }
            Error::System(source) => write!(f, "the adapter cannot start: {source}"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Listen { source, .. } | Error::System(source) => Some(source),
        }
    }
}

/// The settings of an adapter.
#[derive(Clone)]
pub struct AdapterSettings {
    /// `host:port` to listen on.
    pub listen: String,
    /// The clients that are served.
    pub access: Access,
    /// The cluster that stands behind it.
    pub cluster: ClusterSettings,
    /// The topics that `kafka.create_topic = false` keeps from being created.
    pub kept_from_creation: Vec<String>,
    /// How the consumers' members behave.
    pub group: GroupSettings,
}

/// The clients that are served.
#[derive(Clone)]
pub enum Access {
    /// Clients with a token that is made at the start.
    Random,
    /// A client with this token; with `None` every client that can connect.
    Given(Option<String>),
}

/// The state shared by all connections.
struct Shared {
    token: Option<String>,
    cluster: Arc<Cluster>,
    group: GroupSettings,
    members: Members,
    offset_fetches: OffsetFetches,
    /// What brokers create for programs of others.
    on_demand: TopicsOnDemand,
    kept_from_creation: Vec<String>,
    /// When a topic was last looked up in an outage without hurry.
    patient_look_up: Mutex<Option<Instant>>,
}

/// A running adapter.
pub struct Adapter {
    shared: Arc<Shared>,
    address: SocketAddr,
    /// There until the adapter is dropped.
    listener: Option<Listener>,
}

impl Adapter {
    /// Listens and starts serving, with a handle of its own on `cluster`. No broker is needed for that: while
    /// there is none, requests get error codes.
    ///
    /// # Errors
    /// The address cannot be listened on, or the system gives no random bytes or threads.
    pub fn start_sharing(cluster: &Cluster, settings: AdapterSettings) -> Result<Adapter, Error> {
        let token = match settings.access {
            Access::Random => Some(net::random::hex::<16>().map_err(Error::System)?),
            Access::Given(token) => token,
        };
        let shared = Arc::new(Shared {
            token,
            cluster: Arc::new(cluster.share(ClusterSettings {
                delivery_timeout: settings.cluster.delivery_timeout.min(MAX_DELIVERY),
                ..settings.cluster
            })),
            group: settings.group,
            members: Members::default(),
            offset_fetches: OffsetFetches::default(),
            on_demand: TopicsOnDemand::default(),
            kept_from_creation: settings.kept_from_creation,
            patient_look_up: Mutex::default(),
        });
        let listen = |source| Error::Listen { address: settings.listen.clone(), source };
        let socket = TcpListener::bind(&settings.listen).map_err(listen)?;
        let served = shared.clone();
        let serve = move |id, stream| dispatch::serve(id, stream, &served);
        let listener = Listener::start("adapter", socket, serve).map_err(Error::System)?;
        Ok(Adapter { shared, address: listener.address(), listener: Some(listener) })
    }

    /// A program of ours with this name has ended: its members leave their groups at once, instead of waiting
    /// for it to come back over another connection.
    pub fn program_ended(&self, name: &str) {
        self.shared.members.program_ended(name);
    }

    /// The address and the token with which clients reach the adapter.
    pub fn endpoint(&self) -> Endpoint {
        Endpoint { address: self.address, token: self.shared.token.clone() }
    }

    /// Stops, as dropping it does: commits on their way arrive, members leave their groups, connections are
    /// closed, threads have ended when this returns.
    pub fn stop(self) {
        drop(self);
    }
}

impl Drop for Adapter {
    fn drop(&mut self) {
        let Some(listener) = self.listener.take() else { return };
        self.shared.members.flush(Instant::now() + FLUSH);
        self.shared.cluster.stop();
        self.shared.members.wake();
        listener.stop();
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

    /// The client id for a client that uses the `kafka` crate as it is.
    pub fn client_id(&self, name: &str) -> String {
        ClientId { name: name.to_owned(), token: self.token.clone(), ..ClientId::default() }.text()
    }

    /// The client id of one of our own producers: its messages are envelopes.
    pub fn producer_client_id(&self, name: &str) -> String {
        let token = self.token.clone();
        ClientId { name: name.to_owned(), token, envelope: true, ..ClientId::default() }.text()
    }

    /// The client id of one of our own consumers: a member from its OffsetFetch on, which gets envelopes.
    /// `session` stays the same over the consumers that one consumer loop builds one after the other, and
    /// belongs to no other. The commits of a `pipelined` one are answered before Kafka has them.
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
