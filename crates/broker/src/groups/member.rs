//! A member of a group: its protocols, its connection and its session.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::limits::DISCONNECT_GRACE;

/// The id of a delayed operation, unique in its group.
pub type OperationId = u64;

/// The connection of a member's last request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConnectionState {
    /// Not known, as after a failover, or not relevant: only the session timeout counts.
    Unknown,
    /// Open.
    Connected(u64),
    /// Lost; the member is removed at this time.
    Lost(Instant),
}

/// A protocol that a member supports: name and metadata (for consumers assignor and subscription).
pub type Protocol = (Arc<str>, Bytes);

/// A member of a group.
#[derive(Debug, Clone)]
pub struct Member {
    /// The instance id, by which a restarted process is the same static member.
    pub instance: Option<Arc<str>>,
    /// The client id of its requests.
    pub client_id: Arc<str>,
    /// Its address, as Kafka shows it: `/127.0.0.1`.
    pub host: Arc<str>,
    /// The serving process (`net::own_connections::process`), if the member runs in it.
    pub host_process: Option<u64>,
    /// The session timeout.
    pub session_timeout: Duration,
    /// The rebalance timeout.
    pub rebalance_timeout: Duration,
    /// The supported protocols, the preferred one first.
    pub protocols: Vec<Protocol>,
    /// Its assignment in this generation.
    pub assignment: Bytes,
    /// Where it was last heard of.
    pub connection_state: ConnectionState,
    /// Whether it has sent a request since this process serves.
    pub heard_since_load: bool,
    /// When its session ends.
    pub expires: Instant,
    /// Its delayed JoinGroup.
    pub joining: Option<OperationId>,
    /// Its delayed SyncGroup.
    pub syncing: Option<OperationId>,
    /// Whether it has sent SyncGroup in this generation.
    pub synced: bool,
}

impl Member {
    /// Renews the session by a request over `connection`.
    pub fn renew_session(&mut self, connection: u64, now: Instant) {
        self.connection_state = ConnectionState::Connected(connection);
        self.stay(now);
    }

    /// Renews the session by a commit. Some clients commit over a connection of its own, so the connection of
    /// the heartbeats stays the member's as long as it is open.
    pub fn renew_session_on_commit(&mut self, connection: u64, now: Instant) {
        if matches!(self.connection_state, ConnectionState::Lost(_)) {
            self.connection_state = ConnectionState::Connected(connection);
        }
        self.stay(now);
    }

    /// The connection is lost: a dynamic member has a grace period to come back, a static one its session.
    pub fn connection_lost(&mut self, now: Instant) {
        self.connection_state = if self.instance.is_none() {
            ConnectionState::Lost(now + DISCONNECT_GRACE)
        } else {
            ConnectionState::Unknown
        };
    }

    fn stay(&mut self, now: Instant) {
        self.heard_since_load = true;
        self.expires = now + self.session_timeout;
    }

    /// When the member is removed without another request; `None` while an operation of it is delayed.
    pub fn deadline(&self) -> Option<Instant> {
        if self.joining.is_some() || self.syncing.is_some() {
            return None;
        }
        match self.connection_state {
            ConnectionState::Lost(until) => Some(until.min(self.expires)),
            _ => Some(self.expires),
        }
    }

    /// The metadata for one protocol.
    pub fn metadata(&self, protocol: &str) -> Option<&Bytes> {
        self.protocols.iter().find(|(name, _)| **name == *protocol).map(|(_, metadata)| metadata)
    }

    /// Bytes held for it.
    pub fn bytes(&self) -> usize {
        protocols_bytes(&self.protocols) + self.assignment.len()
    }
}

/// Bytes of a member's protocols, with a fixed overhead for each.
pub fn protocols_bytes(protocols: &[Protocol]) -> usize {
    protocols.iter().map(|(name, metadata)| name.len() + metadata.len() + 64).sum()
}
