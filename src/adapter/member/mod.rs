//! The group member behind a consumer: it joins, heartbeats and fetches ahead while the program handles messages,
//! and decides what is served and what may be committed.
//!
//! Threads: one [`membership`] thread, one [`prefetch`] thread for each leader, one [`pipeline`] thread where commits
//! are pipelined, and the thread of the program's connection, which calls the methods here. All meet in [`Member::state`]; none does
//! I/O while it holds that lock.
//! Lock order: `committer` before `state`.

mod commit;
mod membership;
mod pipeline;
mod prefetch;
mod serve;
mod span;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

pub use pipeline::FLUSH;
pub use prefetch::convert;
pub use serve::{Ask, Served};
pub use span::Chunk;

use crate::cluster::Cluster;
use crate::cluster::coordinator::{Commit, Coordinator, Membership};
use crate::net::lock;
use crate::protocol::error_code::ErrorCode;
use pipeline::Pipeline;
use span::Span;

/// How long a member outlives its connection: the `kafka` crate closes and reopens an idle one, and our own
/// consumers come back at once after a rebalance.
pub const LINGER: Duration = Duration::from_millis(300);

/// How long after the end of its connection a program is waited for whose member had ended before.
const MISSED: Duration = Duration::from_secs(10);

/// Where a partition without a committed offset starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OffsetReset {
    /// At its oldest record.
    Earliest,
    /// After its newest record.
    Latest,
}

/// How members behave in their groups.
#[derive(Debug, Clone)]
pub struct GroupSettings {
    /// Without a heartbeat for this long the coordinator takes a member for dead.
    pub session_timeout: Duration,
    /// The time between two heartbeats.
    pub heartbeat_interval: Duration,
    /// A program that asks for nothing for this long is taken for frozen, and a rebalance waits this long for it.
    pub max_processing: Duration,
    /// Where a partition without a committed offset starts.
    pub offset_reset: OffsetReset,
}

/// Whose consumer a member serves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Program {
    /// One of our own, known by its session: it is told of rebalances and builds its consumer anew.
    Own(String),
    /// Any program with the `kafka` crate: it sees an error only where the truth demands one.
    Foreign,
}

/// What a member is for; it does not change.
#[derive(Debug, Clone)]
pub struct Role {
    /// The name that Kafka's tools show.
    pub name: String,
    /// The group.
    pub group: String,
    /// The topics it consumes.
    pub topics: BTreeSet<String>,
    /// Whose consumer it serves.
    pub program: Program,
    /// Whether that gets [envelopes](crate::protocol::envelope): records are translated before it asks for them.
    pub envelope: bool,
    /// Whether its commits are answered before Kafka has them; of our own programs alone.
    pub pipelined: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Not in a generation: to join, or joining.
    Joining,
    /// In a generation that stands.
    Stable,
    /// A rebalance has begun; the message in hand is still waited for.
    Draining(Instant),
    /// Out of the group for good, with the code for who still asks.
    Ended(ErrorCode),
}

#[derive(Debug)]
struct State {
    phase: Phase,
    membership: Membership,
    /// Counts the changes of what is owned: an own program that began in another epoch has to begin anew.
    epoch: u64,
    owned: BTreeMap<(String, i32), Span>,
    /// The connection served, and since when there is none.
    attached: Option<u64>,
    detached_at: Instant,
    /// The program is known to have ended.
    abandoned: bool,
    /// A request of the program is being answered.
    busy: bool,
    last_seen: Instant,
    /// Messages were served that the program has not come back from, or that an own one may still commit.
    in_hand: bool,
    /// Something was served since positions were last set to what is committed.
    moved: bool,
    /// No heartbeat came through for the session timeout: others may own the partitions by now, so nothing is served
    /// until the coordinator has confirmed the membership.
    cut_off: bool,
    /// Heartbeat now rather than at the next interval.
    poked: bool,
    /// Why joining fails, for programs that wait for it.
    trouble: Option<ErrorCode>,
    /// A prefetch thread waits until something has been served.
    out_of_room: bool,
    /// Changes with the positions to fetch from: a fetch that waits for records of the old ones is given up.
    arrangement: u64,
    /// The epoch in which it was looked whether the program asks for all that the member owns.
    told: Option<u64>,
    /// What the program was about to ask for when the member ended.
    left: BTreeMap<(String, i32), i64>,
    /// The leaders that a prefetch thread runs for.
    fetching: BTreeSet<i32>,
    /// Commits that are on their way.
    pipeline: Pipeline,
}

/// A member of a group.
#[derive(Debug)]
pub struct Member {
    role: Role,
    settings: GroupSettings,
    cluster: Arc<Cluster>,
    state: Mutex<State>,
    changed: Condvar,
    /// A commit was accepted, or the member has ended.
    accepted: Condvar,
    committer: Mutex<Coordinator>,
}

impl Member {
    /// A member for the program at the end of connection `attached`. Its threads are started by [`Member::run`].
    pub fn new(role: Role, settings: GroupSettings, cluster: Arc<Cluster>, attached: u64) -> Arc<Member> {
        let now = Instant::now();
        let state = State {
            phase: Phase::Joining,
            membership: Membership::none(),
            epoch: 0,
            owned: BTreeMap::new(),
            attached: Some(attached),
            detached_at: now,
            abandoned: false,
            busy: false,
            last_seen: now,
            in_hand: false,
            moved: false,
            cut_off: false,
            poked: false,
            trouble: None,
            out_of_room: false,
            arrangement: 0,
            told: None,
            left: BTreeMap::new(),
            fetching: BTreeSet::new(),
            pipeline: Pipeline::default(),
        };
        let committer = Mutex::new(Coordinator::new(cluster.clone(), &role.group, &role.name));
        Arc::new(Member {
            role,
            settings,
            cluster,
            state: Mutex::new(state),
            changed: Condvar::new(),
            accepted: Condvar::new(),
            committer,
        })
    }

    /// Runs the member until it has left its group, which `left` hears at once; returns when all its threads have
    /// ended.
    pub fn run(self: &Arc<Member>, left: &dyn Fn()) {
        membership::run(self, left);
    }

    /// What the member is for.
    pub fn role(&self) -> &Role {
        &self.role
    }

    /// Whether the member has left its group or was put out of it.
    pub fn ended(&self) -> bool {
        matches!(self.state().phase, Phase::Ended(_))
    }

    /// Heartbeats as soon as may be, to hear of a rebalance now.
    pub fn poke(&self) {
        self.state().poked = true;
        self.changed.notify_all();
    }

    /// Hands the member to connection `id`; false if it has ended.
    pub fn attach(&self, id: u64) -> bool {
        let mut state = self.state();
        if matches!(state.phase, Phase::Ended(_)) {
            return false;
        }
        state.attached = Some(id);
        state.last_seen = Instant::now();
        self.changed.notify_all();
        true
    }

    /// Connection `id` is gone: the member lingers for [`LINGER`], then leaves.
    pub fn detach(&self, id: u64) {
        let mut state = self.state();
        if state.attached == Some(id) {
            state.attached = None;
            state.detached_at = Instant::now();
            self.changed.notify_all();
        }
    }

    /// The program has ended for good: the member leaves without lingering.
    pub fn abandon(&self) {
        self.state().abandoned = true;
        self.changed.notify_all();
    }

    /// Whether no connection is served.
    pub fn is_unattended(&self) -> bool {
        self.state().attached.is_none()
    }

    /// Whether nobody is attached to a member that lives.
    pub fn lingers(&self) -> bool {
        let state = self.state();
        state.attached.is_none() && !matches!(state.phase, Phase::Ended(_))
    }

    /// Whether a program whose connection is new and which asks for these offsets can be the one that this member
    /// served before.
    pub fn fits(&self, name: &str, asked: &[(String, i32, i64)]) -> bool {
        let topics: BTreeSet<&str> = asked.iter().map(|(topic, _, _)| topic.as_str()).collect();
        let same_topics = self.role.topics.iter().map(String::as_str).eq(topics);
        if self.role.program != Program::Foreign || self.role.name != name || !same_topics {
            return false;
        }
        let state = self.state();
        asked.iter().all(|(topic, partition, offset)| {
            let key = (topic.clone(), *partition);
            let left = state.left.get(&key).is_none_or(|left| left == offset);
            left && state.owned.get(&key).is_none_or(|span| span.may_be_asked(*offset))
        })
    }

    /// Whether the member has ended though its program may still be there.
    pub fn is_missed(&self) -> bool {
        let state = self.state();
        let there = state.attached.is_some() || state.detached_at.elapsed() < MISSED;
        matches!(state.phase, Phase::Ended(_)) && self.role.program == Program::Foreign && there
    }

    /// Whether every one of these commits is one that this member would let through.
    pub fn admits(&self, commits: &[Commit]) -> bool {
        let state = self.state();
        commits.iter().all(|commit| {
            let span = state.owned.get(&(commit.topic.clone(), commit.partition));
            span.is_some_and(|span| span.admits(commit.offset))
        })
    }

    /// Makes the member ready for an own program that begins anew: waits until the assignment is there and no commit is
    /// on its way, sets every position to what is committed, and gives the epoch.
    ///
    /// # Errors
    /// The code for the program: what joining fails of at `deadline`, REQUEST_TIMED_OUT, or why the member ended.
    pub fn begin(&self, deadline: Instant) -> Result<u64, ErrorCode> {
        loop {
            let (epoch, rewind) = self.wait_stable(deadline)?;
            if rewind.is_empty() {
                return Ok(epoch);
            }
            let mut partitions: BTreeMap<String, Vec<i32>> = BTreeMap::new();
            for (topic, partition) in rewind {
                partitions.entry(topic).or_default().push(partition);
            }
            let committed = lock(&self.committer).committed(&partitions, self.cluster.deadline(deadline));
            match committed {
                Ok(committed) => {
                    if self.rewind(epoch, &committed) {
                        return Ok(epoch);
                    }
                }
                Err(error) if Instant::now() >= deadline => {
                    log::warn!("{}: {error}", self.role.name);
                    return Err(ErrorCode::REQUEST_TIMED_OUT);
                }
                Err(error) => {
                    log::debug!("{}: {error}", self.role.name);
                    std::thread::sleep(Duration::from_millis(50));
                }
            }
        }
    }

    /// Where an own program that has begun starts in each owned partition.
    pub fn positions(&self) -> HashMap<(String, i32), i64> {
        self.state().owned.iter().map(|(key, span)| (key.clone(), span.position())).collect()
    }

    /// The epoch of a stable assignment, and the partitions whose positions have moved since they were set.
    fn wait_stable(&self, deadline: Instant) -> Result<(u64, Vec<(String, i32)>), ErrorCode> {
        let mut state = self.state();
        // Whoever begins anew has nothing in hand.
        state.in_hand = false;
        self.changed.notify_all();
        loop {
            state.last_seen = Instant::now();
            match state.phase {
                Phase::Stable if state.ahead_by() == 0 => {
                    // What did not arrive comes again: there is nothing left to tell.
                    state.pipeline.failed = None;
                    let rewind = if state.moved { state.owned.keys().cloned().collect() } else { Vec::new() };
                    return Ok((state.epoch, rewind));
                }
                Phase::Ended(code) => return Err(code),
                Phase::Stable | Phase::Joining | Phase::Draining(_) => {}
            }
            let now = Instant::now();
            if now >= deadline || self.cluster.stopping() {
                // Retriable codes are for the adapter: on some of them the crate would ask again by itself.
                let lasting = state.trouble.filter(|code| !code.is_retriable());
                return Err(lasting.unwrap_or(ErrorCode::REQUEST_TIMED_OUT));
            }
            state = self.wait(state, (deadline - now).min(Duration::from_millis(100)));
        }
    }

    fn rewind(&self, epoch: u64, committed: &HashMap<(String, i32), Option<i64>>) -> bool {
        let mut state = self.state();
        if state.epoch != epoch || state.phase != Phase::Stable {
            return false;
        }
        for (key, span) in &mut state.owned {
            span.rewind(committed.get(key).copied().flatten());
        }
        state.moved = false;
        state.arrangement += 1;
        self.changed.notify_all();
        true
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>, time: Duration) -> MutexGuard<'a, State> {
        match self.changed.wait_timeout(state, time) {
            Ok((state, _)) => state,
            Err(poisoned) => poisoned.into_inner().0,
        }
    }
}
