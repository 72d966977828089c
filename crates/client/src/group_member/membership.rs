//! The member's life in its group: joining, heartbeats, rebalances, leaving.
//!
//! A rebalance without a failure makes no duplicate: when a heartbeat says that one has begun, nothing more
//! is served, the messages that were served may still be committed, and only when every commit has arrived
//! the member joins anew.

mod adopt;
mod starts;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::thread::{Scope, scope};
use std::time::{Duration, Instant};

use super::join_refusals::JoinRefusals;
use super::leave::{leave_at, reason_to_leave};
use super::state::{EndReason, Phase, State};
use super::{ClientKind, Member, pipeline, prefetch};
use crate::assignor::{self, Assignor, GroupProtocol, Offer, Partitions};
use crate::coordinator::{Coordinator, Joined, Membership};
use net::backoff::Backoff;
use protocol::TopicPartition;
use protocol::error_code::ErrorCode;

/// How long it may take to ask for partitions or committed offsets before the member joins anew.
const RESOLVE: Duration = Duration::from_secs(5);
/// How often the member that assigns looks whether a topic has got more partitions.
const PARTITION_CHECK: Duration = Duration::from_secs(30);
/// How often a member that does not name its topics looks which there are.
const TOPIC_CHECK: Duration = Duration::from_secs(30);

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
    /// When to look again for topics.
    topics_at: Instant,
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
        topics_at: now,
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
        member.look_up_topics(Instant::now() + RESOLVE)?;
        self.topics_at = Instant::now() + TOPIC_CHECK;
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
        let (topics, user_data) = (&self.member.topics(), &self.member.settings.user_data);
        let mut offers = Vec::new();
        if self.member.spec.kind == ClientKind::Reader {
            let owned: Vec<TopicPartition> = self.member.state().owned.keys().cloned().collect();
            let generation = self.claimed_in.or((old.generation >= 0).then_some(old.generation));
            let owned = assignor::by_topic(&owned);
            offers.push(Offer::cooperative_sticky(topics, &owned, generation, user_data));
        }
        offers.push(Offer::range(topics, user_data));
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
        if topics.len() > 1 {
            // In one request; what it brings no news of is asked for below.
            let names: Vec<&str> = topics.iter().map(String::as_str).collect();
            if let Err(error) = cluster.refresh(&names, cluster.deadline(Instant::now() + RESOLVE)) {
                log::debug!("{}: {error}", self.member.spec.name);
            }
        }
        let mut counts = BTreeMap::new();
        for name in topics {
            if let Some(topic) = cluster.topic(name, cluster.deadline(Instant::now() + RESOLVE))? {
                counts.insert(name.clone(), topic.leaders.len());
            }
        }
        Ok(counts)
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
                self.look_for_topics();
                self.decide_starts();
            }
            Err(error) => match error.code() {
                Some(ErrorCode::REBALANCE_IN_PROGRESS) => {
                    member.state().confirmed = Some(sent);
                    self.decide_anew();
                    if phase == Phase::Stable {
                        let mut state = member.state();
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

    /// Joins anew when there are other topics to consume than those that it has joined with.
    fn look_for_topics(&mut self) {
        let now = Instant::now();
        if self.member.spec.topics.filter.is_none() || now < self.topics_at {
            return;
        }
        self.topics_at = now + TOPIC_CHECK;
        if self.member.has_other_topics(now + RESOLVE) {
            log::info!("{}: there are other topics to consume", self.member.spec.name);
            self.member.state().rebalance();
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
