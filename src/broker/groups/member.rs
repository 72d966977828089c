//! A member of a group: what it joined with, and what the coordinator knows of its life.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::limits::GRACE;

/// A request that waits for its answer; no two of one group have the same number.
pub type Ticket = u64;

/// Where a member was last heard of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Link {
    /// Not known, as after a hand-over, or of no importance: only the session timeout counts.
    Unknown,
    /// Over this connection.
    Connected(u64),
    /// Over a connection that is gone; the member goes too at that time.
    Lost(Instant),
}

/// One of the ways of assigning partitions that a member can do: name and metadata (for consumers the
/// subscription).
pub type Protocol = (Arc<str>, Bytes);

/// A member of a group.
#[derive(Debug, Clone)]
pub struct Member {
    /// The instance id, by which a static member keeps its place when its process starts anew.
    pub instance: Option<Arc<str>>,
    /// The client id of its requests.
    pub client_id: Arc<str>,
    /// Its address, as Kafka shows it: `/127.0.0.1`.
    pub host: Arc<str>,
    /// The process that serves (`net::own::process`), if the member lives in it.
    pub home: Option<u64>,
    /// How long it may be silent.
    pub session_timeout: Duration,
    /// How long a rebalance waits for it.
    pub rebalance_timeout: Duration,
    /// What it can do, the preferred first.
    pub protocols: Vec<Protocol>,
    /// What the leader assigned to it in this generation.
    pub assignment: Bytes,
    /// Where it was last heard of.
    pub link: Link,
    /// Whether it was heard of since this process serves.
    pub heard: bool,
    /// When its session ends.
    pub expires: Instant,
    /// Its waiting JoinGroup.
    pub joining: Option<Ticket>,
    /// Its waiting SyncGroup.
    pub syncing: Option<Ticket>,
    /// Whether its SyncGroup of this generation has come.
    pub synced: bool,
}

impl Member {
    /// Heard of over `connection`: its session begins anew.
    pub fn hear(&mut self, connection: u64, now: Instant) {
        self.link = Link::Connected(connection);
        self.stay(now);
    }

    /// Heard of in a commit, for which some clients have a connection of their own: the connection of its
    /// heartbeats counts as long as it stands.
    pub fn hear_commit(&mut self, connection: u64, now: Instant) {
        if matches!(self.link, Link::Lost(_)) {
            self.link = Link::Connected(connection);
        }
        self.stay(now);
    }

    /// Its connection is gone: a dynamic member has a moment to come back, a static one its session.
    pub fn lose(&mut self, now: Instant) {
        self.link = if self.instance.is_none() { Link::Lost(now + GRACE) } else { Link::Unknown };
    }

    fn stay(&mut self, now: Instant) {
        self.heard = true;
        self.expires = now + self.session_timeout;
    }

    /// When it is to be removed, if nothing is heard of it; never while a request of it waits.
    pub fn deadline(&self) -> Option<Instant> {
        if self.joining.is_some() || self.syncing.is_some() {
            return None;
        }
        match self.link {
            Link::Lost(until) => Some(until.min(self.expires)),
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

/// Bytes that a member's protocols take, with some for each beside its text.
pub fn protocols_bytes(protocols: &[Protocol]) -> usize {
    protocols.iter().map(|(name, metadata)| name.len() + metadata.len() + 64).sum()
}
