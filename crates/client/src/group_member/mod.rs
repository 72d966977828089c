//! The group member behind a consumer: it joins, heartbeats and fetches ahead while the client handles
//! messages, and decides what is served and what may be committed.
//!
//! Threads: one [`membership`] thread, one [`prefetch`] thread for each leader, one [`pipeline`] thread where
//! commits are pipelined, and the thread of the client's connection, which calls the methods here. All meet
//! in [`Member::state`]; none does I/O while it holds that lock. Lock order: `committer` before `state`.
//!
//! A part of this process can be a member, too: to be the only one of its group (see [`holder`]), or to read
//! records itself and to commit them with notes (see [`reader`]).

mod batches;
mod commit;
mod holder;
mod join_refusals;
mod leave;
mod membership;
mod owned_partition;
mod pipeline;
mod prefetch;
pub mod reader;
mod recreated;
mod serve;
mod state;
mod topics;

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub use batches::convert;
pub use holder::Standing;
pub use owned_partition::Chunk;
pub use pipeline::FLUSH;
pub use reader::RecordSink;
pub use serve::{Ask, Served};
pub use state::EndReason;
pub use topics::{TopicFilter, TopicSelection};

use crate::Cluster;
use crate::assignor::{Assignor, by_topic};
use crate::coordinator::{Commit, Committed, Coordinator};
use crate::error::Error;
use net::sync::{Condvar, Mutex, MutexGuard, lock, wait_timeout};
use owned_partition::OwnedPartition;
use protocol::TopicPartition;
use protocol::error_code::ErrorCode;
use protocol::records::Record;
use state::{Activity, Attachment, Delivery, Phase, State};

/// How long a member outlives its connection: the `kafka` crate closes and reopens an idle one, and our own
/// consumers come back at once after a rebalance.
pub const LINGER: Duration = Duration::from_millis(300);

/// How long after the end of its connection a client is waited for whose member had ended before.
const CLIENT_RETURN: Duration = Duration::from_secs(10);

/// How often a wait that nothing else ends looks whether the cluster client stops.
const STOP_CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// The connection of members that have none to the adapter.
const NO_CONNECTION: u64 = 0;

/// The code for a client that still asks a member that has ended.
const ENDED: ErrorCode = ErrorCode::UNKNOWN_MEMBER_ID;

/// Where a partition without a committed offset starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OffsetReset {
    /// At its oldest record.
    Earliest,
    /// After its newest record.
    Latest,
}

/// How members behave in their groups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupSettings {
    /// Without a heartbeat for this long the coordinator takes a member for dead.
    pub session_timeout: Duration,
    /// The time between two heartbeats.
    pub heartbeat_interval: Duration,
    /// A client that asks for nothing for this long is taken for frozen, and a rebalance waits this long for
    /// it.
    pub max_processing: Duration,
    /// Where a partition without a committed offset starts.
    pub offset_reset: OffsetReset,
    /// What members tell of themselves to whoever describes their group; empty: nothing.
    pub user_data: Vec<u8>,
}

/// The kind of client that a member serves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClientKind {
    /// A consumer of ours, known by its session: it is told of rebalances and builds its consumer anew.
    Cooperating(String),
    /// Any client with the `kafka` crate: it sees an error only where no other answer is true.
    Plain,
    /// A part of this process: it asks for nothing, and the member stays until it is abandoned.
    Holder,
    /// A part of this process that gets the records of its partitions as they come, and commits them.
    Reader,
}

/// What becomes of the records that are fetched.
#[derive(Debug, Clone)]
pub enum Records {
    /// Nothing is fetched.
    NotFetched,
    /// They are translated ahead into the format of the client's records, and wait until it asks.
    Translated(RecordFormat),
    /// They are handed to the reader at once.
    Handed(Arc<dyn RecordSink>),
}

/// How a record becomes a part of what a member serves.
#[derive(Clone, Copy)]
pub struct RecordFormat {
    /// The name, which no other format has.
    pub name: &'static str,
    /// Appends one record.
    pub append: fn(&mut Vec<u8>, &Record<'_>),
}

impl PartialEq for RecordFormat {
    fn eq(&self, other: &RecordFormat) -> bool {
        self.name == other.name
    }
}

impl fmt::Debug for RecordFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// The fixed parameters of a member.
#[derive(Debug, Clone)]
pub struct MemberSpec {
    /// The name that Kafka's tools show.
    pub name: String,
    /// The group.
    pub group: String,
    /// The topics it consumes.
    pub topics: TopicSelection,
    /// The kind of client that it serves.
    pub kind: ClientKind,
    /// How the partitions are shared out if the member leads.
    pub assignor: Assignor,
    /// What becomes of the records that are fetched.
    pub records: Records,
    /// Whether its commits are answered before Kafka has them; of cooperating clients alone.
    pub pipelined: bool,
}

impl MemberSpec {
    /// The format of the client's records, if they are translated.
    pub fn format(&self) -> Option<RecordFormat> {
        match &self.records {
            Records::Translated(format) => Some(*format),
            Records::NotFetched | Records::Handed(_) => None,
        }
    }
}

/// A member of a group.
#[derive(Debug)]
pub struct Member {
    spec: MemberSpec,
    settings: GroupSettings,
    cluster: Arc<Cluster>,
    state: Mutex<State>,
    changed: Condvar,
    /// The member has ended.
    has_ended: Condvar,
    /// A commit was accepted, or the member has ended.
    accepted: Condvar,
    committer: Mutex<Coordinator>,
}

impl Member {
    /// A member for the client at the end of `connection`. Its threads are started by [`Member::run`].
    pub fn new(
        spec: MemberSpec,
        settings: GroupSettings,
        cluster: Arc<Cluster>,
        connection: u64,
    ) -> Arc<Member> {
        let committer = Mutex::new(Coordinator::new(cluster.clone(), &spec.group, &spec.name));
        Arc::new(Member {
            spec,
            settings,
            cluster,
            state: Mutex::new(State::new(connection)),
            changed: Condvar::new(),
            has_ended: Condvar::new(),
            accepted: Condvar::new(),
            committer,
        })
    }

    /// Runs the member until it has left its group, which `left` hears at once; returns when all its threads
    /// have ended.
    pub fn run(self: &Arc<Member>, left: &dyn Fn()) {
        membership::run(self, left);
    }

    /// The fixed parameters of the member.
    pub fn spec(&self) -> &MemberSpec {
        &self.spec
    }

    /// Whether the member has left its group or was put out of it.
    pub fn ended(&self) -> bool {
        self.state().has_ended()
    }

    /// Heartbeats as soon as may be, to hear of a rebalance now.
    pub fn heartbeat_soon(&self) {
        self.state().heartbeat_now = true;
        self.changed.notify_all();
    }

    /// Hands the member to connection `id`; false if it has ended.
    pub fn attach(&self, id: u64) -> bool {
        let mut state = self.state();
        if state.has_ended() || state.attachment == Attachment::Abandoned {
            return false;
        }
        state.attachment = Attachment::Attached(id);
        if state.activity != Activity::Serving {
            state.answered();
        }
        self.changed.notify_all();
        true
    }

    /// Connection `id` is gone: the member lingers for [`LINGER`], then leaves.
    pub fn detach(&self, id: u64) {
        let mut state = self.state();
        if state.attachment == Attachment::Attached(id) {
            state.attachment = Attachment::Detached { since: Instant::now() };
            self.changed.notify_all();
        }
    }

    /// Its client has ended for good: the member leaves without lingering.
    pub fn abandon(&self) {
        self.state().attachment = Attachment::Abandoned;
        self.changed.notify_all();
    }

    /// Whether no connection is served.
    pub fn is_unattended(&self) -> bool {
        !matches!(self.state().attachment, Attachment::Attached(_))
    }

    /// Whether a living member has no connection.
    pub fn lingers(&self) -> bool {
        let state = self.state();
        matches!(state.attachment, Attachment::Detached { .. }) && !state.has_ended()
    }

    /// Whether a client whose connection is new and which asks for these offsets can be the one that this
    /// member served before.
    pub fn fits(&self, name: &str, asked: &[(TopicPartition, i64)]) -> bool {
        let topics: BTreeSet<&str> = asked.iter().map(|(key, _)| key.topic.as_str()).collect();
        let same_topics = self.spec.topics.named.iter().map(String::as_str).eq(topics);
        if self.spec.kind != ClientKind::Plain || self.spec.name != name || !same_topics {
            return false;
        }
        let state = self.state();
        asked.iter().all(|(key, offset)| {
            let left = state.last_positions.get(key).is_none_or(|left| left == offset);
            left && state.owned.get(key).is_none_or(|owned| owned.may_be_asked(*offset))
        })
    }

    /// Whether the member has ended though its client may still be there.
    pub fn client_may_return(&self) -> bool {
        let state = self.state();
        let there = match state.attachment {
            Attachment::Attached(_) => true,
            Attachment::Detached { since } => since.elapsed() < CLIENT_RETURN,
            Attachment::Abandoned => false,
        };
        state.has_ended() && self.spec.kind == ClientKind::Plain && there
    }

    /// Whether every one of these commits is one that this member would let through.
    pub fn admits(&self, commits: &[Commit]) -> bool {
        let state = self.state();
        commits.iter().all(|commit| {
            let owned = state.owned.get(&commit.topic_partition());
            owned.is_some_and(|owned| owned.admits(commit.offset))
        })
    }

    /// Makes the member ready for a cooperating client that begins anew: waits until the assignment is there
    /// and no commit is on its way, sets every position to what is committed, and gives the epoch.
    ///
    /// # Errors
    /// The code for the client: what joining fails of at `deadline`, REQUEST_TIMED_OUT, or why the member
    /// ended.
    pub fn begin(&self, deadline: Instant) -> Result<u64, ErrorCode> {
        self.state().activity = Activity::Serving;
        let epoch = self.begin_at_committed(deadline);
        self.state().answered();
        epoch
    }

    fn begin_at_committed(&self, deadline: Instant) -> Result<u64, ErrorCode> {
        let mut backoff = crate::backoff();
        loop {
            let (epoch, rewind) = self.wait_stable(deadline)?;
            if rewind.is_empty() {
                return Ok(epoch);
            }
            let partitions = by_topic(&rewind);
            let committed = lock(&self.committer).committed(&partitions, self.cluster.deadline(deadline));
            match committed {
                Ok(committed) => {
                    if self.rewind(epoch, &committed) {
                        return Ok(epoch);
                    }
                }
                Err(error) if Instant::now() >= deadline => {
                    log::warn!("{}: {error}", self.spec.name);
                    return Err(ErrorCode::REQUEST_TIMED_OUT);
                }
                Err(error) => {
                    log::debug!("{}: {error}", self.spec.name);
                    self.cluster.pause(backoff.next_wait());
                }
            }
        }
    }

    /// Where a cooperating client that has begun starts in each owned partition.
    pub fn positions(&self) -> HashMap<TopicPartition, i64> {
        self.state().owned.iter().map(|(key, owned)| (key.clone(), owned.position())).collect()
    }

    /// The epoch of a stable assignment, and the partitions whose positions have moved since they were set.
    fn wait_stable(&self, deadline: Instant) -> Result<(u64, Vec<TopicPartition>), ErrorCode> {
        let mut state = self.state();
        // Whoever begins anew has nothing uncommitted.
        state.processed();
        self.changed.notify_all();
        loop {
            match state.phase {
                Phase::Stable if state.ahead_by() == 0 => {
                    // What did not arrive comes again: there is nothing left to tell.
                    state.pipeline.failed = None;
                    let rewind = if state.delivery != Delivery::None {
                        state.owned.keys().cloned().collect()
                    } else {
                        Vec::new()
                    };
                    return Ok((state.epoch, rewind));
                }
                Phase::Ended => return Err(ENDED),
                Phase::Stable | Phase::Joining | Phase::Draining => {}
            }
            let now = Instant::now();
            if now >= deadline || self.cluster.stopping() {
                // Retriable codes are for the adapter: on some of them the crate would ask again by itself.
                let lasting = state.join_error.as_ref().filter(|error| error.is_lasting());
                return Err(lasting.and_then(Error::code).unwrap_or(ErrorCode::REQUEST_TIMED_OUT));
            }
            state.pipeline.awaited = true;
            state = self.wait(state, deadline - now);
        }
    }

    fn rewind(&self, epoch: u64, committed: &HashMap<TopicPartition, Option<Committed>>) -> bool {
        let mut state = self.state();
        if state.epoch != epoch || state.phase != Phase::Stable {
            return false;
        }
        for (key, owned) in &mut state.owned {
            owned.rewind(committed.get(key).cloned().flatten());
        }
        state.delivery = Delivery::None;
        state.fetch_epoch += 1;
        self.changed.notify_all();
        true
    }

    fn fetches(&self) -> bool {
        !matches!(self.spec.records, Records::NotFetched)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Waits until the state has changed, for `time` at most. The end of the cluster client is not told to
    /// every member, so it is looked for in between.
    fn wait<'a>(&self, state: MutexGuard<'a, State>, time: Duration) -> MutexGuard<'a, State> {
        wait_timeout(&self.changed, state, time.min(STOP_CHECK_INTERVAL))
    }

    /// Waits for `time`, or until the member has ended.
    fn pause(&self, time: Duration) {
        let deadline = Instant::now() + time;
        let mut state = self.state();
        while !state.has_ended() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            state = wait_timeout(&self.has_ended, state, left);
        }
    }
}
