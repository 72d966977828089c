//! The member's life in its group: joining, heartbeats, rebalances, leaving.
//!
//! A rebalance without a failure makes no duplicate: when a heartbeat says that one has begun, nothing more
//! is served, the messages that were served may still be committed, and only when every commit has arrived
//! the member joins anew.

mod starts;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::thread::{Scope, scope};
use std::time::{Duration, Instant};

use super::join_refusals::JoinRefusals;
use super::leave::{leave_at, reason_to_leave};
use super::state::{Delivery, EndReason, Phase, State};
use super::{ClientKind, Member, OwnedPartition, pipeline, prefetch};
use crate::assignor::{self, Assignor, GroupProtocol, Offer, Partitions};
use crate::coordinator::{Coordinator, Joined, Membership};
use net::backoff::Backoff;
use protocol::TopicPartition;
use protocol::error_code::ErrorCode;

/// How long finding out the committed offsets of new partitions may take before the member joins anew.
const RESOLVE: Duration = Duration::from_secs(5);
/// How often the member that assigns looks whether a topic has got more partitions.
const PARTITION_CHECK: Duration = Duration::from_secs(30);

/// The next action of the membership thread.
enum Step {
    Join,
    Heartbeat,
    Leave(EndReason),
}

struct AssignedBy {
    topics: BTreeSet<String>,
    counts: BTreeMap<String, usize>,
    check_at: Instant,
}

struct Life<'a> {
    member: &'a Arc<Member>,
    coordinator: Coordinator,
    next_heartbeat: Instant,
    retry_at: Instant,
    backoff: Backoff,
    refusals: JoinRefusals,
    /// A generation may have gone by in which others had this member's partitions.
    missed_generation: bool,
    /// The last generation in whose join it said what it owns, and that was shared out cooperatively:
    /// nobody else has got that in it, even if the assignment did not arrive. Unset where it has its
    /// assignment.
    claimed_in: Option<i32>,
    /// For the member that assigns: what it assigned by, and when to look again.
    assigned_by: Option<AssignedBy>,
    /// When to try again to decide where partitions start.
    decide_at: Instant,
    /// The last assignment was empty.
    stands_by: bool,
}

/// Runs `member` until it has left; tells so before its threads have ended.
pub fn run(member: &Arc<Member>, left: &dyn Fn()) {
    let now = Instant::now();
    let spec = &member.spec;
    let mut life = Life {
        member,
        coordinator: Coordinator::new(member.cluster.clone(), &spec.group, &spec.name),
        next_heartbeat: now,
        retry_at: now,
        backoff: crate::backoff(),
        refusals: JoinRefusals::new(),
        missed_generation: false,
        claimed_in: None,
        assigned_by: None,
        decide_at: now,
        stands_by: false,
    };
    scope(|threads| {
        if member.fetches() {
            life.spawn(threads, format!("leaders-{}", spec.name), || prefetch::follow_leaders(member));
        }
        if spec.pipelined && !life.spawn(threads, format!("commits-{}", spec.name), || pipeline::run(member))
        {
            member.abandon();
        }
        loop {
            match life.next_step() {
                Step::Join => life.join(),
                Step::Heartbeat => life.heartbeat(),
                Step::Leave(why) => {
                    life.leave(why);
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
            if let Some(why) = reason_to_leave(member, &state) {
                return Step::Leave(why);
            }
            let due = match state.phase {
                Phase::Joining => self.retry_at,
                Phase::Draining if !state.has_uncommitted() && state.ahead_by() == 0 => return Step::Join,
                _ if state.heartbeat_now => return Step::Heartbeat,
                _ => self.next_heartbeat,
            };
            let now = Instant::now();
            if now >= due {
                return if state.phase == Phase::Joining { Step::Join } else { Step::Heartbeat };
            }
            let due = leave_at(member, &state).map_or(due, |at| at.min(due));
            state = member.wait(state, due.saturating_duration_since(now));
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
            Ok(()) => {
                self.backoff.reset();
                self.refusals.joined();
            }
            Err(error) => self.join_failed(&error),
        }
    }

    fn try_join(&mut self, old: &Membership) -> crate::Result<()> {
        let member = self.member;
        let settings = &member.settings;
        let timeouts = (settings.session_timeout, settings.max_processing);
        let deadline = Instant::now() + settings.max_processing + settings.session_timeout;
        let mut proceed = || reason_to_leave(member, &member.state()).is_none();
        let offers = self.offers(old);
        // The id must be known at once, so that the member can leave whatever happens next.
        let mut given = |id: &str| {
            let mut state = member.state();
            // What is kept is committed with the old generation until there is a new one.
            if !(state.is_cooperative && state.membership.member_id == id) {
                state.membership = Membership { member_id: id.to_owned(), generation: -1 };
            }
        };
        let joined =
            self.coordinator.join(&old.member_id, &offers, timeouts, deadline, &mut proceed, &mut given)?;
        if joined.protocol == GroupProtocol::Range {
            // Whoever is assigned what was kept has it as soon as the leader has answered.
            self.stop_keeping();
        }
        let Some(assigned) = self.assign(&joined)? else { return Ok(()) };
        let membership = joined.membership;
        let before = self.claimed_in.unwrap_or(old.generation);
        let kept = membership.member_id == old.member_id && membership.generation == before + 1;
        self.missed_generation |= !kept;
        let is_claimed = joined.protocol == GroupProtocol::CooperativeSticky && !self.missed_generation;
        self.claimed_in = is_claimed.then_some(membership.generation);
        let deadline = member.cluster.deadline(Instant::now() + settings.max_processing);
        let sent = Instant::now();
        let partitions = self.coordinator.sync(&membership, &assigned, deadline, &mut proceed)?;
        member.state().confirmed = Some(sent);
        self.adopt(membership, joined.protocol, partitions)
    }

    /// What the member offers: a reader keeps what it owns over a join, where all members do so.
    fn offers(&self, old: &Membership) -> Vec<Offer> {
        let topics = &self.member.spec.topics;
        let mut offers = Vec::new();
        if self.member.spec.kind == ClientKind::Reader {
            let owned: Vec<TopicPartition> = self.member.state().owned.keys().cloned().collect();
            let generation = self.claimed_in.or((old.generation >= 0).then_some(old.generation));
            offers.push(Offer::cooperative_sticky(topics, &assignor::by_topic(&owned), generation));
        }
        offers.push(Offer::range(topics));
        offers
    }

    /// Nothing more is kept until the next assignment is there: no commit goes out before it, and the reader
    /// hands nothing out.
    fn stop_keeping(&self) {
        self.member.state().is_cooperative = false;
        self.member.changed.notify_all();
    }

    /// The assignment of every member, if it falls to this one; `None` when the member gives up.
    fn assign(&mut self, joined: &Joined) -> crate::Result<Option<BTreeMap<String, Partitions>>> {
        let assignor = self.member.spec.assignor;
        let Some(subscriptions) = &joined.to_assign else {
            self.assigned_by = None;
            if assignor == Assignor::OnlyLeader {
                self.member.state().end = Some(EndReason::NotLeader);
                return Ok(None);
            }
            return Ok(Some(BTreeMap::new()));
        };
        let topics: BTreeSet<String> = subscriptions.values().flatten().cloned().collect();
        let counts = self.count_partitions(&topics)?;
        let assigned = match assignor {
            Assignor::Range if joined.protocol == GroupProtocol::CooperativeSticky => {
                assignor::cooperative_sticky(subscriptions, &joined.claims, &counts)
            }
            Assignor::Range => assignor::range(subscriptions, &counts),
            Assignor::OnlyLeader => {
                assignor::only_leader(&joined.membership.member_id, subscriptions, &counts)
            }
        };
        let check_at = Instant::now() + PARTITION_CHECK;
        self.assigned_by = Some(AssignedBy { topics, counts, check_at });
        Ok(Some(assigned))
    }

    fn count_partitions(&self, topics: &BTreeSet<String>) -> crate::Result<BTreeMap<String, usize>> {
        let cluster = &self.member.cluster;
        let mut counts = BTreeMap::new();
        for name in topics {
            if let Some(topic) = cluster.topic(name, cluster.deadline(Instant::now() + RESOLVE))? {
                counts.insert(name.clone(), topic.leaders.len());
            }
        }
        Ok(counts)
    }

    /// Takes the new assignment over: partitions kept go on, new ones start at the committed offset. After a
    /// missed generation a partition counts as kept if the committed offset is still the one that was left.
    fn adopt(
        &mut self,
        membership: Membership,
        protocol: GroupProtocol,
        partitions: Partitions,
    ) -> crate::Result<()> {
        let owned: BTreeSet<TopicPartition> = partitions
            .iter()
            .filter(|_| self.member.fetches())
            .flat_map(|(topic, numbers)| numbers.iter().map(move |p| TopicPartition::new(topic, *p)))
            .collect();
        let (missed, generation) = (self.missed_generation, membership.generation);
        let open: Vec<TopicPartition> = {
            let state = self.member.state();
            owned.iter().filter(|key| missed || !state.owned.contains_key(*key)).cloned().collect()
        };
        let resolved = self.resolve(&open)?;
        let cluster = &self.member.cluster;
        if owned.iter().any(|key| cluster.leader(&key.topic, key.partition).is_none()) {
            // A client that begins now must hear of all its partitions.
            prefetch::refresh_leaders(self.member);
        }
        let is_cooperative = protocol == GroupProtocol::CooperativeSticky;
        let has_dropped = self.take_over(&owned, resolved, membership, is_cooperative && !missed);
        self.missed_generation = false;
        self.claimed_in = None;
        self.member.state().is_cooperative = is_cooperative;
        self.decide_at = Instant::now();
        self.decide_starts();
        {
            let mut state = self.member.state();
            // What was claimed and is given up goes to nobody before the next generation.
            let joins_anew = is_cooperative && has_dropped;
            state.phase = if joins_anew { Phase::Joining } else { Phase::Stable };
            state.join_error = None;
            state.heartbeat_now = false;
            state.heartbeat_expired = false;
        }
        self.retry_at = Instant::now();
        self.next_heartbeat = Instant::now() + self.member.settings.heartbeat_interval;
        self.member.changed.notify_all();
        let (name, group) = (&self.member.spec.name, &self.member.spec.group);
        log::info!("{name} is a member of {group}, generation {generation}: {}", list(&partitions));
        // Shared out cooperatively, what moves comes with the next generation.
        let stands_by = partitions.is_empty() && (!is_cooperative || self.stands_by);
        if stands_by {
            log::warn!(
                "{name} has no partition: {group} has more members than its topics have partitions, so it only \
                 stands by; more partitions would give it work"
            );
        }
        self.stands_by = partitions.is_empty();
        Ok(())
    }

    /// The partitions that the member owns from now on: those that it keeps, and `resolved` of those that are
    /// new. The others are gone, or, where it `finishes` them, stay until what is in hand is done. Gives
    /// whether any was owned until now and is gone.
    fn take_over(
        &self,
        owned: &BTreeSet<TopicPartition>,
        mut resolved: Vec<(TopicPartition, OwnedPartition)>,
        membership: Membership,
        finishes: bool,
    ) -> bool {
        let mut state = self.member.state();
        resolved.retain(|(key, new)| {
            let same = |old: &OwnedPartition| old.floor == new.floor && old.metadata == new.metadata;
            state.owned.get(key).is_none_or(|old| old.floor.is_none() || !same(old))
        });
        let before = state.owned.len();
        for (key, partition) in &mut state.owned {
            partition.is_revoked = !owned.contains(key);
        }
        state.owned.retain(|_, partition| finishes || !partition.is_revoked);
        let has_dropped = state.owned.len() != before;
        if has_dropped || state.has_revoked() || !resolved.is_empty() {
            state.epoch += 1;
        }
        state.owned.extend(resolved);
        if self.member.spec.kind == ClientKind::Reader {
            // The next rebalance waits until the reader has handed them over.
            state.delivery = Delivery::Uncommitted;
        }
        state.fetch_epoch += 1;
        state.membership = membership;
        has_dropped
    }

    /// Newly owned partitions, at their committed offsets or undecided.
    fn resolve(&mut self, new: &[TopicPartition]) -> crate::Result<Vec<(TopicPartition, OwnedPartition)>> {
        if new.is_empty() {
            return Ok(Vec::new());
        }
        let partitions = assignor::by_topic(new);
        let committed = self.coordinator.committed_in_time(&partitions, Instant::now() + RESOLVE)?;
        let by_policy = matches!(self.member.spec.kind, ClientKind::Cooperating(_) | ClientKind::Reader);
        let owned = |key: &TopicPartition| {
            (key.clone(), OwnedPartition::new(committed.get(key).cloned().flatten(), by_policy))
        };
        Ok(new.iter().map(owned).collect())
    }

    fn join_failed(&mut self, error: &crate::Error) {
        let member = self.member;
        let (name, group) = (&member.spec.name, &member.spec.group);
        let code = error.code();
        let mut state = member.state();
        state.join_error = Some(error.clone());
        match code {
            Some(ErrorCode::UNKNOWN_MEMBER_ID | ErrorCode::FENCED_INSTANCE_ID) => {
                self.forgotten(&mut state);
                self.claimed_in = None;
                self.retry_at = Instant::now();
            }
            Some(ErrorCode::REBALANCE_IN_PROGRESS | ErrorCode::ILLEGAL_GENERATION) => {
                self.retry_at = Instant::now();
            }
            _ if error.is_lasting() => {
                drop(state);
                let (wait, is_news) = self.refusals.refused(error.to_string());
                let level = if is_news { log::Level::Error } else { log::Level::Debug };
                log::log!(
                    level,
                    "{name} cannot join {group}: {error}; trying again in {} ms, then ever more rarely",
                    wait.as_millis()
                );
                self.retry_at = Instant::now() + wait;
            }
            _ => {
                let session = member.settings.session_timeout;
                // What is kept over a join may be another's by now.
                state.heartbeat_expired |=
                    state.is_cooperative && state.confirmed.is_none_or(|sent| sent.elapsed() >= session);
                drop(state);
                // Whether the coordinator counted this join is not known.
                self.missed_generation = true;
                let wait = self.backoff.next_wait();
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
            state.heartbeat_now = false;
            (state.membership.clone(), state.phase)
        };
        let interval = member.settings.heartbeat_interval;
        let limit = Instant::now() + member.settings.session_timeout;
        // The answer may be read late, so it confirms the membership as of now.
        let sent = Instant::now();
        let result = self.coordinator.heartbeat(&membership, limit);
        self.next_heartbeat = Instant::now() + interval;
        let (name, group) = (&member.spec.name, &member.spec.group);
        match result {
            Ok(()) => {
                self.backoff.reset();
                let mut state = member.state();
                state.confirmed = Some(sent);
                let expired = std::mem::take(&mut state.heartbeat_expired);
                drop(state);
                if expired {
                    log::info!("{name}: {group} answers again; its partitions were kept");
                }
                self.look_for_partitions();
                self.decide_starts();
            }
            Err(error) => match error.code() {
                Some(ErrorCode::REBALANCE_IN_PROGRESS) => {
                    let mut state = member.state();
                    state.confirmed = Some(sent);
                    if phase == Phase::Stable {
                        state.rebalance();
                        drop(state);
                        log::info!("{name}: {group} rebalances");
                    }
                }
                Some(ErrorCode::ILLEGAL_GENERATION) => self.expelled("its generation is over", false),
                Some(ErrorCode::UNKNOWN_MEMBER_ID | ErrorCode::FENCED_INSTANCE_ID) => {
                    self.expelled("the coordinator no longer knows it", true);
                }
                _ => {
                    log::debug!("{name}: heartbeat: {error}");
                    let mut state = member.state();
                    let session = member.settings.session_timeout;
                    let silent = state.confirmed.is_none_or(|sent| sent.elapsed() >= session);
                    let told = silent && std::mem::replace(&mut state.heartbeat_expired, true);
                    drop(state);
                    if silent && !told {
                        log::warn!(
                            "{name}: no heartbeat came through for the session timeout: {error}; waiting"
                        );
                    }
                    self.next_heartbeat = Instant::now() + self.backoff.next_wait().min(interval);
                }
            },
        }
        member.changed.notify_all();
    }

    fn expelled(&mut self, why: &str, forgotten: bool) {
        let member = self.member;
        let mut state = member.state();
        if forgotten {
            self.forgotten(&mut state);
        } else {
            state.lose_everything();
        }
        state.phase = Phase::Joining;
        self.retry_at = Instant::now();
        let then = if state.end.is_some() { "" } else { "; joining again" };
        drop(state);
        log::warn!("{} has lost its partitions in {}: {why}{then}", member.spec.name, member.spec.group);
    }

    /// The coordinator has put the member out. Another can have led since, so an only leader ends.
    fn forgotten(&self, state: &mut State) {
        state.membership = Membership::none();
        state.lose_everything();
        if self.member.spec.assignor == Assignor::OnlyLeader && state.confirmed.is_some() {
            state.end = Some(EndReason::Expelled);
        }
    }

    /// Joins anew when a topic has other partitions than were assigned.
    fn look_for_partitions(&mut self) {
        let Some(by) = self.assigned_by.as_mut().filter(|by| Instant::now() >= by.check_at) else { return };
        by.check_at = Instant::now() + PARTITION_CHECK;
        let (topics, before) = (by.topics.clone(), by.counts.clone());
        let changed = self.count_partitions(&topics).is_ok_and(|now| now != before);
        let mut state = self.member.state();
        if changed && state.phase == Phase::Stable {
            log::info!("{}: the number of partitions has changed", self.member.spec.name);
            state.rebalance();
        }
    }

    fn leave(&mut self, why: EndReason) {
        let member = self.member;
        member.flush_to_leave();
        let member_id = {
            let mut state = member.state();
            let left = state.owned.iter().filter_map(|(key, owned)| Some((key.clone(), owned.expected()?)));
            state.last_positions = left.collect();
            state.lose_everything();
            state.phase = Phase::Ended;
            state.end = Some(why);
            std::mem::take(&mut state.membership.member_id)
        };
        member.changed.notify_all();
        member.has_ended.notify_all();
        member.accepted.notify_all();
        let (name, group) = (&member.spec.name, &member.spec.group);
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
            let name = format!("fetch-{}-{leader}", member.spec.name);
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
            log::error!("{}: no thread: {error}", self.member.spec.name);
        }
        spawned.is_ok()
    }
}

fn list(partitions: &Partitions) -> String {
    if partitions.is_empty() {
        return "no partition".to_owned();
    }
    let topic = |(topic, numbers): (&String, &Vec<i32>)| format!("{topic} {numbers:?}");
    partitions.iter().map(topic).collect::<Vec<_>>().join(", ")
}
