//! The state of a group member: all that its threads share under one lock.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Instant;

use super::owned_partition::OwnedPartition;
use crate::coordinator::Membership;
use crate::error::Error;
use protocol::TopicPartition;
use protocol::error_code::ErrorCode;

/// Where a member stands in the life cycle of its group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Not in a generation: to join, or joining.
    Joining,
    /// In a generation that stands.
    Stable,
    /// A rebalance has begun; the client may still commit what it has been served.
    Draining,
    /// Out of the group for good.
    Ended,
}

/// Why a member has left its group, or was put out of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndReason {
    /// The cluster client was told to stop.
    Stopping,
    /// The client's connection is closed, and the client has not reconnected.
    Disconnected,
    /// The client needs the member no longer.
    Abandoned,
    /// The client has exceeded max_processing_ms.
    MaxProcessingExceeded,
    /// Another member leads the group, and this one had to lead or to give up.
    NotLeader,
    /// The coordinator has put the member out: another may have its place.
    Expelled,
}

impl fmt::Display for EndReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            EndReason::Stopping => "the cluster client stops",
            EndReason::Disconnected => "its client has disconnected",
            EndReason::Abandoned => "it is no longer needed",
            EndReason::MaxProcessingExceeded => "its client has exceeded max_processing_ms",
            EndReason::NotLeader => "another member leads the group",
            EndReason::Expelled => "the coordinator no longer knows the member",
        })
    }
}

/// Whether a connection of the client is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Attachment {
    /// This connection is served.
    Attached(u64),
    /// The client's connection has been closed, and it may come back over another one.
    Detached {
        /// When the connection was closed.
        since: Instant,
    },
    /// The client has ended and will not come back.
    Abandoned,
}

/// Whether the client waits for the member, or the member for the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Activity {
    /// A request of the client is being answered.
    Serving,
    /// The client processes what it got.
    Processing {
        /// When its last request was answered.
        since: Instant,
    },
}

/// The deliveries to the client since it began at the committed offsets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Delivery {
    /// Nothing: every position is the committed one.
    None,
    /// Messages that the client is through with.
    Processed,
    /// Messages that the client may still commit, or has not come back from.
    Uncommitted,
}

/// The state of the commits on their way, besides their offsets, which the partitions have.
#[derive(Debug, Default)]
pub(super) struct Pipeline {
    /// Why accepted commits did not arrive, until the client has been told.
    pub failed: Option<ErrorCode>,
    /// Somebody waits for commits to arrive.
    pub awaited: bool,
    /// The member is about to leave: a commit is answered only when Kafka has it.
    pub closing: bool,
}

/// The state shared by the threads of a member.
#[derive(Debug)]
pub(super) struct State {
    pub phase: Phase,
    pub membership: Membership,
    /// The topics that it joins with, where they had to be looked up.
    pub topics: Option<BTreeSet<String>>,
    /// When the request was sent by which the coordinator last confirmed the membership.
    pub confirmed: Option<Instant>,
    /// Why the member ends or has ended.
    pub end: Option<EndReason>,
    /// Counts the changes of what is owned: a cooperating client that began in another epoch has to begin
    /// anew.
    pub epoch: u64,
    pub owned: BTreeMap<TopicPartition, OwnedPartition>,
    /// The last generation shared its partitions out cooperatively (KIP-429): they are kept over a join.
    pub is_cooperative: bool,
    pub attachment: Attachment,
    pub activity: Activity,
    pub delivery: Delivery,
    /// No heartbeat came through for the session timeout: others may own the partitions by now, so nothing is
    /// served until the coordinator has confirmed the membership.
    pub heartbeat_expired: bool,
    /// The next heartbeat is due now rather than at its interval.
    pub heartbeat_now: bool,
    /// Why joining fails, for clients that wait for it.
    pub join_error: Option<Error>,
    /// A prefetch thread waits until something has been served.
    pub waits_for_room: bool,
    /// Changes with the positions to fetch from: a fetch that waits for records of the old ones is given up.
    pub fetch_epoch: u64,
    /// The epoch in which it was checked that the client asks for all that the member owns.
    pub seen_epoch: Option<u64>,
    /// The offsets that the client was about to ask for when the member ended.
    pub last_positions: BTreeMap<TopicPartition, i64>,
    /// The leaders that a prefetch thread runs for.
    pub fetching: BTreeSet<i32>,
    /// Commits that are on their way.
    pub pipeline: Pipeline,
}

impl State {
    /// The state of a member that has yet to join, for the client at the end of `connection`.
    pub fn new(connection: u64) -> State {
        State {
            phase: Phase::Joining,
            membership: Membership::none(),
            topics: None,
            confirmed: None,
            end: None,
            epoch: 0,
            owned: BTreeMap::new(),
            is_cooperative: false,
            attachment: Attachment::Attached(connection),
            activity: Activity::Processing { since: Instant::now() },
            delivery: Delivery::None,
            heartbeat_expired: false,
            heartbeat_now: false,
            join_error: None,
            waits_for_room: false,
            fetch_epoch: 0,
            seen_epoch: None,
            last_positions: BTreeMap::new(),
            fetching: BTreeSet::new(),
            pipeline: Pipeline::default(),
        }
    }

    /// Whether the member has left its group or was put out of it.
    pub fn has_ended(&self) -> bool {
        self.phase == Phase::Ended
    }

    /// Why joining fails, unless that is in the course of every rebalance.
    pub fn told_join_error(&self) -> Option<&Error> {
        let passing =
            [ErrorCode::ILLEGAL_GENERATION, ErrorCode::UNKNOWN_MEMBER_ID, ErrorCode::REBALANCE_IN_PROGRESS];
        let is_passing = |error: &Error| error.code().is_some_and(|code| passing.contains(&code));
        self.join_error.as_ref().filter(|error| !is_passing(error))
    }

    /// Why joining fails for good.
    pub fn lasting_join_error(&self) -> Option<&Error> {
        self.told_join_error().filter(|error| error.is_lasting())
    }

    /// Whether a rebalance has to wait for the client.
    pub fn has_uncommitted(&self) -> bool {
        self.delivery == Delivery::Uncommitted
    }

    /// Takes note that the client is through with what it was served; returns whether it was not before.
    pub fn processed(&mut self) -> bool {
        let uncommitted = self.has_uncommitted();
        if uncommitted {
            self.delivery = Delivery::Processed;
        }
        uncommitted
    }

    /// The next generation begins: at once where partitions are kept over a join, else when the client has
    /// committed what it has.
    pub fn rebalance(&mut self) {
        if self.phase == Phase::Stable {
            self.phase = if self.is_cooperative { Phase::Joining } else { Phase::Draining };
        }
    }

    /// Whether partitions are owned for which the next generation has another owner.
    pub fn has_revoked(&self) -> bool {
        self.owned.values().any(|owned| owned.is_revoked)
    }

    /// Takes note that the last request has been answered.
    pub fn answered(&mut self) {
        self.activity = Activity::Processing { since: Instant::now() };
    }

    /// All partitions are lost, for example because the coordinator no longer knows the member.
    pub fn lose_everything(&mut self) {
        self.owned.clear();
        self.is_cooperative = false;
        self.processed();
        self.heartbeat_expired = false;
        self.epoch += 1;
    }
}
