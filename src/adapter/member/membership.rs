//! The member's life in its group: joining, heartbeats, rebalances, leaving.
//!
//! A rebalance without a failure makes no duplicate: when a heartbeat says that one has begun, nothing more is served,
//! the message in hand may still be committed, and only when every commit has arrived the member joins anew.

mod starts;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::thread::{Scope, scope};
use std::time::{Duration, Instant};

use super::{LINGER, Member, Phase, Program, Span, pipeline, prefetch};
use crate::cluster::assignor::{self, Partitions};
use crate::cluster::coordinator::{Coordinator, Joined, Membership};
use crate::cluster::{self, Backoff};
use crate::protocol::error_code::ErrorCode;

/// How long finding out the committed offsets of new partitions may take before the member joins anew.
const RESOLVE: Duration = Duration::from_secs(5);
/// How often the member that assigns looks whether a topic has got more partitions.
const PARTITION_CHECK: Duration = Duration::from_secs(30);

/// What to do next.
enum Step {
    Join,
    Heartbeat,
    Leave(ErrorCode, &'static str),
}

struct AssignedBy {
    topics: BTreeSet<String>,
    counts: BTreeMap<String, usize>,
    check_at: Instant,
}

struct Life<'a> {
    member: &'a Arc<Member>,
    coordinator: Coordinator,
    /// When the coordinator last confirmed the membership.
    confirmed: Instant,
    next_heartbeat: Instant,
    retry_at: Instant,
    backoff: Backoff,
    /// A generation may have gone by in which others had this member's partitions.
    missed_generation: bool,
    /// For the member that assigns: what it assigned by, and when to look again.
    assigned_by: Option<AssignedBy>,
    /// When to try again to decide where partitions start.
    decide_at: Instant,
}

/// Runs `member` until it has left; tells so before its threads have ended.
pub fn run(member: &Arc<Member>, left: &dyn Fn()) {
    let now = Instant::now();
    let role = &member.role;
    let mut life = Life {
        member,
        coordinator: Coordinator::new(member.cluster.clone(), &role.group, &role.name),
        confirmed: now,
        next_heartbeat: now,
        retry_at: now,
        backoff: Backoff::default(),
        missed_generation: false,
        assigned_by: None,
        decide_at: now,
    };
    scope(|threads| {
        life.spawn(threads, format!("leaders-{}", role.name), || prefetch::follow_leaders(member));
        if role.pipelined && !life.spawn(threads, format!("commits-{}", role.name), || pipeline::run(member))
        {
            member.abandon();
        }
        loop {
            match life.next_step() {
                Step::Join => life.join(),
                Step::Heartbeat => life.heartbeat(),
                Step::Leave(code, why) => {
                    life.leave(code, why);
                    break left();
                }
            }
            life.start_fetching(threads);
        }
    });
}

impl<'a> Life<'a> {
    /// Waits until something is due.
    fn next_step(&self) -> Step {
        let member = self.member;
        let mut state = member.state();
        loop {
            if let Some((code, why)) = reason_to_leave(member, &state) {
                return Step::Leave(code, why);
            }
            let due = match state.phase {
                Phase::Joining => self.retry_at,
                Phase::Draining(_) if !state.in_hand && state.ahead_by() == 0 => return Step::Join,
                _ if state.poked => return Step::Heartbeat,
                _ => self.next_heartbeat,
            };
            let now = Instant::now();
            if now >= due {
                return if state.phase == Phase::Joining { Step::Join } else { Step::Heartbeat };
            }
            state = member.wait(state, (due - now).min(Duration::from_millis(100)));
        }
    }

    fn join(&mut self) {
        let old = {
            let mut state = self.member.state();
            state.phase = Phase::Joining;
            state.membership.clone()
        };
        self.member.changed.notify_all();
        match self.try_join(&old) {
            Ok(()) => self.backoff = Backoff::default(),
            Err(error) => self.join_failed(&error),
        }
    }

    fn try_join(&mut self, old: &Membership) -> cluster::Result<()> {
        let member = self.member;
        let settings = &member.settings;
        let timeouts = (settings.session_timeout, settings.max_processing);
        let deadline = Instant::now() + settings.max_processing + settings.session_timeout;
        let mut proceed = || reason_to_leave(member, &member.state()).is_none();
        let topics = &member.role.topics;
        // The id must be known at once, so that the member can leave whatever happens next.
        let mut given =
            |id: &str| member.state().membership = Membership { member_id: id.to_owned(), generation: -1 };
        let joined =
            self.coordinator.join(&old.member_id, topics, timeouts, deadline, &mut proceed, &mut given)?;
        let assigned = self.assign(&joined)?;
        let membership = joined.membership;
        let kept = membership.member_id == old.member_id && membership.generation == old.generation + 1;
        self.missed_generation |= !kept;
        let deadline = member.cluster.deadline(Instant::now() + settings.max_processing);
        let partitions = self.coordinator.sync(&membership, &assigned, deadline, &mut proceed)?;
        self.confirmed = Instant::now();
        self.adopt(membership, partitions)
    }

    /// The assignment of every member, if it falls to this one.
    fn assign(&mut self, joined: &Joined) -> cluster::Result<BTreeMap<String, Partitions>> {
        let Some(subscriptions) = &joined.to_assign else {
            self.assigned_by = None;
            return Ok(BTreeMap::new());
        };
        let topics: BTreeSet<String> = subscriptions.values().flatten().cloned().collect();
        let counts = self.count_partitions(&topics)?;
        let assigned = assignor::range(subscriptions, &counts);
        let check_at = Instant::now() + PARTITION_CHECK;
        self.assigned_by = Some(AssignedBy { topics, counts, check_at });
        Ok(assigned)
    }

    fn count_partitions(&self, topics: &BTreeSet<String>) -> cluster::Result<BTreeMap<String, usize>> {
        let cluster = &self.member.cluster;
        let mut counts = BTreeMap::new();
        for name in topics {
            if let Some(topic) = cluster.topic(name, cluster.deadline(Instant::now() + RESOLVE))? {
                counts.insert(name.clone(), topic.leaders.len());
            }
        }
        Ok(counts)
    }

    /// Takes the new assignment over: partitions kept go on, new ones start at the committed offset. After a missed
    /// generation a partition counts as kept if the committed offset is still the one that was left.
    fn adopt(&mut self, membership: Membership, partitions: Partitions) -> cluster::Result<()> {
        let owned: BTreeSet<(String, i32)> = partitions
            .iter()
            .flat_map(|(topic, numbers)| numbers.iter().map(|p| (topic.clone(), *p)))
            .collect();
        let (missed, generation) = (self.missed_generation, membership.generation);
        let open: Vec<(String, i32)> = {
            let state = self.member.state();
            owned.iter().filter(|key| missed || !state.owned.contains_key(*key)).cloned().collect()
        };
        let spans = self.resolve(&open)?;
        let cluster = &self.member.cluster;
        if owned.iter().any(|(topic, partition)| cluster.leader(topic, *partition).is_none()) {
            // A program that begins now must hear of all its partitions.
            prefetch::look_for_leaders(self.member);
        }
        self.missed_generation = false;
        self.take_over(&owned, spans, membership);
        self.decide_at = Instant::now();
        self.decide_starts();
        {
            let mut state = self.member.state();
            state.phase = Phase::Stable;
            state.trouble = None;
            state.poked = false;
        }
        self.next_heartbeat = Instant::now() + self.member.settings.heartbeat_interval;
        self.member.changed.notify_all();
        let (name, group) = (&self.member.role.name, &self.member.role.group);
        log::info!("{name} is a member of {group}, generation {generation}: {}", list(&partitions));
        if owned.is_empty() {
            log::warn!(
                "{name} has no partition: {group} has more members than its topics have partitions, so it only \
                 stands by; more partitions would give it work"
            );
        }
        Ok(())
    }

    /// What the member has from now on: the partitions that it keeps, and `spans` of those that are new.
    fn take_over(
        &self,
        owned: &BTreeSet<(String, i32)>,
        mut spans: Vec<((String, i32), Span)>,
        membership: Membership,
    ) {
        let mut state = self.member.state();
        spans.retain(|(key, span)| {
            state.owned.get(key).is_none_or(|old| old.floor.is_none() || old.floor != span.floor)
        });
        let before = state.owned.len();
        state.owned.retain(|key, _| owned.contains(key));
        if state.owned.len() != before || !spans.is_empty() {
            state.epoch += 1;
        }
        state.owned.extend(spans);
        state.arrangement += 1;
        state.membership = membership;
    }

    /// Spans for newly owned partitions, at their committed offsets or undecided.
    fn resolve(&mut self, new: &[(String, i32)]) -> cluster::Result<Vec<((String, i32), Span)>> {
        if new.is_empty() {
            return Ok(Vec::new());
        }
        let mut partitions = Partitions::new();
        for (topic, partition) in new {
            partitions.entry(topic.clone()).or_default().push(*partition);
        }
        let committed = self.coordinator.committed_in_time(&partitions, Instant::now() + RESOLVE)?;
        let own = matches!(self.member.role.program, Program::Own(_));
        let span = |key: &(String, i32)| (key.clone(), Span::new(committed.get(key).copied().flatten(), own));
        Ok(new.iter().map(span).collect())
    }

    fn join_failed(&mut self, error: &cluster::Error) {
        let member = self.member;
        let (name, group) = (&member.role.name, &member.role.group);
        let code = error.code();
        let mut state = member.state();
        state.trouble = code;
        match code {
            Some(ErrorCode::UNKNOWN_MEMBER_ID | ErrorCode::FENCED_INSTANCE_ID) => {
                state.membership = Membership::none();
                state.lose_everything();
                self.retry_at = Instant::now();
            }
            Some(ErrorCode::REBALANCE_IN_PROGRESS | ErrorCode::ILLEGAL_GENERATION) => {
                self.retry_at = Instant::now();
            }
            _ if error.is_lasting() => {
                drop(state);
                log::error!("{name} cannot join {group}: {error}; trying again in 5 s");
                self.retry_at = Instant::now() + Duration::from_secs(5);
            }
            _ => {
                drop(state);
                // Whether the coordinator counted this join is not known.
                self.missed_generation = true;
                let wait = self.backoff.wait();
                log::debug!("{name} joining {group}: {error}; trying again in {} ms", wait.as_millis());
                self.retry_at = Instant::now() + wait;
            }
        }
        member.changed.notify_all();
    }

    fn heartbeat(&mut self) {
        let member = self.member;
        let (membership, phase) = {
            let mut state = member.state();
            state.poked = false;
            (state.membership.clone(), state.phase)
        };
        let interval = member.settings.heartbeat_interval;
        let limit = Instant::now() + member.settings.session_timeout;
        let result = self.coordinator.heartbeat(&membership, limit);
        self.next_heartbeat = Instant::now() + interval;
        let (name, group) = (&member.role.name, &member.role.group);
        match result {
            Ok(()) => {
                self.confirmed = Instant::now();
                self.backoff = Backoff::default();
                if std::mem::take(&mut member.state().cut_off) {
                    log::info!("{name}: {group} answers again; its partitions were kept");
                }
                self.look_for_partitions();
                self.decide_starts();
            }
            Err(error) => match error.code() {
                Some(ErrorCode::REBALANCE_IN_PROGRESS) => {
                    self.confirmed = Instant::now();
                    if phase == Phase::Stable {
                        log::info!("{name}: {group} rebalances");
                        member.state().phase = Phase::Draining(Instant::now());
                    }
                }
                Some(ErrorCode::ILLEGAL_GENERATION) => self.expelled("its generation is over", false),
                Some(ErrorCode::UNKNOWN_MEMBER_ID | ErrorCode::FENCED_INSTANCE_ID) => {
                    self.expelled("the coordinator no longer knows it", true);
                }
                _ => {
                    log::debug!("{name}: heartbeat: {error}");
                    let silent = self.confirmed.elapsed() >= member.settings.session_timeout;
                    if silent && !std::mem::replace(&mut member.state().cut_off, true) {
                        log::warn!(
                            "{name}: no heartbeat came through for the session timeout: {error}; waiting"
                        );
                    }
                    self.next_heartbeat = Instant::now() + self.backoff.wait().min(interval);
                }
            },
        }
        member.changed.notify_all();
    }

    fn expelled(&mut self, why: &str, forgotten: bool) {
        let member = self.member;
        log::warn!(
            "{} has lost its partitions in {}: {why}; joining again",
            member.role.name,
            member.role.group
        );
        let mut state = member.state();
        if forgotten {
            state.membership = Membership::none();
        }
        state.lose_everything();
        state.phase = Phase::Joining;
        self.retry_at = Instant::now();
    }

    /// Joins anew when a topic has other partitions than were assigned.
    fn look_for_partitions(&mut self) {
        let Some(by) = self.assigned_by.as_mut().filter(|by| Instant::now() >= by.check_at) else { return };
        by.check_at = Instant::now() + PARTITION_CHECK;
        let (topics, before) = (by.topics.clone(), by.counts.clone());
        let changed = self.count_partitions(&topics).is_ok_and(|now| now != before);
        let mut state = self.member.state();
        if changed && state.phase == Phase::Stable {
            log::info!("{}: the number of partitions has changed", self.member.role.name);
            state.phase = Phase::Draining(Instant::now());
        }
    }

    fn leave(&mut self, code: ErrorCode, why: &str) {
        let member = self.member;
        member.flush_to_leave();
        let member_id = {
            let mut state = member.state();
            let left = state.owned.iter().filter_map(|(key, span)| Some((key.clone(), span.expected()?)));
            state.left = left.collect();
            state.lose_everything();
            state.phase = Phase::Ended(code);
            std::mem::take(&mut state.membership.member_id)
        };
        member.changed.notify_all();
        member.accepted.notify_all();
        let (name, group) = (&member.role.name, &member.role.group);
        if member_id.is_empty() {
            return;
        }
        match self.coordinator.leave(&member_id, Instant::now() + Duration::from_secs(2)) {
            Ok(()) => log::info!("{name} has left {group}: {why}"),
            Err(error) => log::warn!("{name} could not leave {group}: {error}"),
        }
    }

    /// A prefetch thread for each leader that has none yet.
    fn start_fetching<'scope>(&self, threads: &'scope Scope<'scope, '_>)
    where
        'a: 'scope,
    {
        for leader in prefetch::missing(self.member) {
            let member = self.member;
            let name = format!("fetch-{}-{leader}", member.role.name);
            if !self.spawn(threads, name, move || prefetch::run(member, leader)) {
                member.state().fetching.remove(&leader);
            }
        }
    }

    fn spawn<'scope>(
        &self,
        threads: &'scope Scope<'scope, '_>,
        name: String,
        body: impl FnOnce() + Send + 'scope,
    ) -> bool {
        let spawned = std::thread::Builder::new().name(name).spawn_scoped(threads, body);
        if let Err(error) = &spawned {
            log::error!("{}: no thread: {error}", self.member.role.name);
        }
        spawned.is_ok()
    }
}

impl super::State {
    fn lose_everything(&mut self) {
        self.owned.clear();
        self.in_hand = false;
        self.cut_off = false;
        self.epoch += 1;
    }
}

fn reason_to_leave(member: &Member, state: &super::State) -> Option<(ErrorCode, &'static str)> {
    let frozen = |since: Instant| since.elapsed() > member.settings.max_processing;
    if member.cluster.stopping() {
        Some((ErrorCode::UNKNOWN_MEMBER_ID, "the adapter stops"))
    } else if state.abandoned || state.attached.is_none() && state.detached_at.elapsed() > LINGER {
        Some((ErrorCode::UNKNOWN_MEMBER_ID, "its program is gone"))
    } else if !state.busy && frozen(state.last_seen) {
        log::warn!(
            "{} has not come back for max_processing_ms ({} ms): it is taken out of {}",
            member.role.name,
            member.settings.max_processing.as_millis(),
            member.role.group
        );
        Some((ErrorCode::UNKNOWN_MEMBER_ID, "its program has taken too long over a message"))
    } else {
        None
    }
}

fn list(partitions: &Partitions) -> String {
    if partitions.is_empty() {
        return "no partition".to_owned();
    }
    let topic = |(topic, numbers): (&String, &Vec<i32>)| format!("{topic} {numbers:?}");
    partitions.iter().map(topic).collect::<Vec<_>>().join(", ")
}
