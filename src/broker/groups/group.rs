//! The state of one group, and how it gets from one generation to the next.
//!
//! Kafka's classic protocol, as its `GroupCoordinator` has it (KIP-62, KIP-345, KIP-394): members join, one
//! of them leads, gets everybody's metadata and brings the assignment, everybody gets its own part. Nothing
//! here does I/O, waits or asks for the time: the caller does, and gives the answers of
//! [`Group::take_joined`] and [`Group::take_synced`] to those who wait for them.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::member::{Link, Member, Protocol, Ticket};
use crate::protocol::error_code::ErrorCode;

/// Where a group stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// No members; perhaps committed offsets.
    Empty,
    /// Waiting for all members to join again.
    PreparingRebalance,
    /// All have joined; waiting for the leader's assignment.
    CompletingRebalance,
    /// Everybody can have its assignment.
    Stable,
    /// Deleted.
    Dead,
}

impl State {
    /// The name that Kafka's tools know.
    pub fn name(self) -> &'static str {
        match self {
            State::Empty => "Empty",
            State::PreparingRebalance => "PreparingRebalance",
            State::CompletingRebalance => "CompletingRebalance",
            State::Stable => "Stable",
            State::Dead => "Dead",
        }
    }
}

/// What a request gets: its answer, or the ticket to ask for it by.
#[derive(Debug, PartialEq, Eq)]
pub enum Step<T> {
    /// The answer.
    Done(T),
    /// The answer comes later.
    Wait(Ticket),
}

/// A member as the leader sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JoinedMember {
    /// Its id.
    pub id: Arc<str>,
    /// Its instance id.
    pub instance: Option<Arc<str>>,
    /// Its metadata for the protocol that was chosen.
    pub metadata: Bytes,
}

/// The answer to JoinGroup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JoinAnswer {
    /// NONE, or why not.
    pub code: ErrorCode,
    /// The member's id.
    pub member_id: Arc<str>,
    /// The generation, -1 with an error.
    pub generation: i32,
    /// What kind of group it is.
    pub protocol_type: Option<Arc<str>>,
    /// The protocol that was chosen.
    pub protocol: Option<Arc<str>>,
    /// The leader's member id.
    pub leader: Arc<str>,
    /// All members, for the leader only.
    pub members: Vec<JoinedMember>,
}

impl JoinAnswer {
    /// A refusal.
    pub fn refused(code: ErrorCode, member_id: &str) -> JoinAnswer {
        JoinAnswer {
            code,
            member_id: member_id.into(),
            generation: -1,
            protocol_type: None,
            protocol: None,
            leader: "".into(),
            members: Vec::new(),
        }
    }
}

/// The answer to SyncGroup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyncAnswer {
    /// NONE, or why not.
    pub code: ErrorCode,
    /// What kind of group it is.
    pub protocol_type: Option<Arc<str>>,
    /// The protocol that was chosen.
    pub protocol: Option<Arc<str>>,
    /// What the leader assigned to the member.
    pub assignment: Bytes,
}

impl SyncAnswer {
    /// A refusal.
    pub fn refused(code: ErrorCode) -> SyncAnswer {
        SyncAnswer { code, protocol_type: None, protocol: None, assignment: Bytes::new() }
    }
}

/// An id that was given to a member that has not joined with it yet (KIP-394).
#[derive(Debug)]
pub struct PendingMember {
    pub(super) link: Link,
    pub(super) expires: Instant,
}

impl PendingMember {
    pub(super) fn deadline(&self) -> Instant {
        match self.link {
            Link::Lost(until) => until.min(self.expires),
            _ => self.expires,
        }
    }
}

/// What is to be stored before an answer goes out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Save {
    /// The state as it is.
    State,
    /// The leader's assignment for this generation: [`Group::stored`] has to be told.
    Assignment(i32),
}

/// One group.
#[derive(Debug)]
pub struct Group {
    /// Its id.
    pub name: Arc<str>,
    pub(super) state: State,
    pub(super) generation: i32,
    pub(super) protocol_type: Option<Arc<str>>,
    pub(super) protocol: Option<Arc<str>>,
    pub(super) leader: Option<Arc<str>>,
    pub(super) members: BTreeMap<Arc<str>, Member>,
    /// Member ids of static members, by instance id.
    pub(super) instances: BTreeMap<Arc<str>, Arc<str>>,
    pub(super) pending: BTreeMap<Arc<str>, PendingMember>,
    /// When those who have not joined again are left behind.
    pub(super) rebalance_deadline: Option<Instant>,
    /// When those who have not sent SyncGroup are removed.
    pub(super) sync_deadline: Option<Instant>,
    /// The leader's assignment is on its way to the disk.
    pub(super) storing: bool,
    /// Since when nobody has asked anything of the empty group.
    pub(super) idle_since: Instant,
    /// Bytes that members joined with and were assigned.
    pub(super) bytes: usize,
    pub(super) save: Option<Save>,
    last_ticket: Ticket,
    pub(super) joined: HashMap<Ticket, JoinAnswer>,
    pub(super) synced: HashMap<Ticket, SyncAnswer>,
}

impl Group {
    /// A group that has had no member yet.
    pub fn new(name: Arc<str>, now: Instant) -> Group {
        Group {
            name,
            state: State::Empty,
            generation: 0,
            protocol_type: None,
            protocol: None,
            leader: None,
            members: BTreeMap::new(),
            instances: BTreeMap::new(),
            pending: BTreeMap::new(),
            rebalance_deadline: None,
            sync_deadline: None,
            storing: false,
            idle_since: now,
            bytes: 0,
            save: None,
            last_ticket: 0,
            joined: HashMap::new(),
            synced: HashMap::new(),
        }
    }

    /// Where it stands.
    pub fn state(&self) -> State {
        self.state
    }

    /// Bytes held for the members.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Ends the group.
    pub fn kill(&mut self) {
        self.state = State::Dead;
    }

    /// What has to be stored now, before anything else happens to the group.
    pub fn take_save(&mut self) -> Option<Save> {
        self.save.take()
    }

    /// The answer to a waiting JoinGroup.
    pub fn take_joined(&mut self, ticket: Ticket) -> Option<JoinAnswer> {
        self.joined.remove(&ticket)
    }

    /// The answer to a waiting SyncGroup.
    pub fn take_synced(&mut self, ticket: Ticket) -> Option<SyncAnswer> {
        self.synced.remove(&ticket)
    }

    /// Whether somebody's answer waits to be taken.
    pub fn has_answers(&self) -> bool {
        !self.joined.is_empty() || !self.synced.is_empty()
    }

    pub(super) fn new_ticket(&mut self) -> Ticket {
        self.last_ticket += 1;
        self.last_ticket
    }

    pub(super) fn answer_join(&mut self, ticket: Option<Ticket>, answer: JoinAnswer) {
        if let Some(ticket) = ticket {
            self.joined.insert(ticket, answer);
        }
    }

    pub(super) fn answer_sync(&mut self, ticket: Option<Ticket>, answer: SyncAnswer) {
        if let Some(ticket) = ticket {
            self.synced.insert(ticket, answer);
        }
    }

    /// Whether `member_id`, with the instance id it gives, is a member.
    ///
    /// # Errors
    /// UNKNOWN_MEMBER_ID, FENCED_INSTANCE_ID if another process has taken the instance's place.
    pub(super) fn validate(&self, member_id: &str, instance: Option<&str>) -> Result<(), ErrorCode> {
        if let Some(instance) = instance {
            let current = self.instances.get(instance).ok_or(ErrorCode::UNKNOWN_MEMBER_ID)?;
            if **current != *member_id {
                // The id that a member got just before a hand-over may not have been stored. Then it is asked
                // to take its place again; nobody is told to end for good on the word of an old record.
                let heard = self.members.get(current).is_some_and(|member| member.heard);
                return Err(if heard { ErrorCode::FENCED_INSTANCE_ID } else { ErrorCode::UNKNOWN_MEMBER_ID });
            }
        }
        if self.members.contains_key(member_id) { Ok(()) } else { Err(ErrorCode::UNKNOWN_MEMBER_ID) }
    }

    /// [`Group::validate`] for a request of one generation.
    ///
    /// # Errors
    /// Those of [`Group::validate`]; ILLEGAL_GENERATION for another generation than today's.
    pub(super) fn validate_in(
        &self,
        generation: i32,
        member_id: &str,
        instance: Option<&str>,
    ) -> Result<(), ErrorCode> {
        self.validate(member_id, instance)?;
        if generation == self.generation { Ok(()) } else { Err(ErrorCode::ILLEGAL_GENERATION) }
    }

    /// Whether all members could do with one of these protocols.
    pub(super) fn supports(&self, protocol_type: &str, protocols: &[Protocol]) -> bool {
        if protocol_type.is_empty() || protocols.is_empty() {
            return false;
        }
        let all_can = |name: &str| self.members.values().all(|member| member.metadata(name).is_some());
        self.members.is_empty()
            || self.protocol_type.as_deref() == Some(protocol_type)
                && protocols.iter().any(|(name, _)| all_can(name))
    }

    /// The protocol with the most votes: each member votes for the first of its own that all can do.
    pub(super) fn choose_protocol(&self) -> Option<Arc<str>> {
        let all_can = |name: &str| self.members.values().all(|member| member.metadata(name).is_some());
        let mut votes: HashMap<&str, usize> = HashMap::new();
        for member in self.members.values() {
            if let Some((name, _)) = member.protocols.iter().find(|(name, _)| all_can(name)) {
                *votes.entry(name).or_default() += 1;
            }
        }
        let leader =
            self.leader.as_ref().and_then(|id| self.members.get(id)).or(self.members.values().next())?;
        let mut best: Option<(&Arc<str>, usize)> = None;
        for (name, _) in &leader.protocols {
            let count = votes.get(&**name).copied().unwrap_or_default();
            if count > best.map_or(0, |(_, most)| most) {
                best = Some((name, count));
            }
        }
        best.map(|(name, _)| name.clone())
    }

    pub(super) fn recount(&mut self) {
        self.bytes = self.members.values().map(Member::bytes).sum();
    }

    fn longest_rebalance(&self) -> Duration {
        self.members.values().map(|member| member.rebalance_timeout).max().unwrap_or_default()
    }

    /// Starts a rebalance where there is none yet, and completes it if nobody is missing. The first member of
    /// a group does not wait for others.
    pub(super) fn rebalance(&mut self, now: Instant, why: &str) {
        match self.state {
            State::Empty => {
                self.prepare(now, why);
                self.complete(now);
            }
            State::CompletingRebalance | State::Stable => {
                self.prepare(now, why);
                self.try_complete(now);
            }
            State::PreparingRebalance => self.try_complete(now),
            State::Dead => {}
        }
    }

    fn prepare(&mut self, now: Instant, why: &str) {
        log::debug!("group {}: generation {} ends: {why}", self.name, self.generation);
        if self.state == State::CompletingRebalance {
            self.drop_assignments(ErrorCode::REBALANCE_IN_PROGRESS, now);
        }
        self.state = State::PreparingRebalance;
        self.rebalance_deadline = Some(now + self.longest_rebalance());
        self.sync_deadline = None;
        self.storing = false;
    }

    /// Takes back what the leader assigned, and answers those who wait for it.
    pub(super) fn drop_assignments(&mut self, code: ErrorCode, now: Instant) {
        let mut waiting = Vec::new();
        for member in self.members.values_mut() {
            member.assignment = Bytes::new();
            if let Some(ticket) = member.syncing.take() {
                member.expires = now + member.session_timeout;
                waiting.push(ticket);
            }
        }
        for ticket in waiting {
            self.answer_sync(Some(ticket), SyncAnswer::refused(code));
        }
        self.recount();
    }

    pub(super) fn try_complete(&mut self, now: Instant) {
        let all = self.members.values().all(|member| member.joining.is_some());
        if self.state == State::PreparingRebalance && all && self.pending.is_empty() {
            self.complete(now);
        }
    }

    /// Ends the joining with whoever is there: dynamic members that have not come are out, static ones keep
    /// their place.
    pub(super) fn complete(&mut self, now: Instant) {
        let missing = |member: &Member| member.joining.is_none() && member.instance.is_none();
        let late: Vec<Arc<str>> =
            self.members.iter().filter(|(_, m)| missing(m)).map(|(id, _)| id.clone()).collect();
        for id in late {
            log::info!("group {}: {id} did not join again in time, and is out", self.name);
            self.forget(&id);
        }
        if !self.members.is_empty() && !self.elect() {
            log::warn!("group {}: no member has joined again; waiting on", self.name);
            self.rebalance_deadline = Some(now + self.longest_rebalance().max(Duration::from_secs(1)));
            return;
        }
        self.rebalance_deadline = None;
        self.generation = self.generation.checked_add(1).unwrap_or(1);
        if self.members.is_empty() {
            log::info!("group {}: generation {} has no members", self.name, self.generation);
            self.state = State::Empty;
            self.protocol = None;
            self.leader = None;
            self.idle_since = now;
            self.save = Some(Save::State);
        } else {
            self.begin_generation(now);
        }
    }

    fn begin_generation(&mut self, now: Instant) {
        log::info!("group {}: generation {} with {} members", self.name, self.generation, self.members.len());
        self.protocol = self.choose_protocol();
        self.state = State::CompletingRebalance;
        self.sync_deadline = Some(now + self.longest_rebalance());
        let ids: Vec<Arc<str>> = self.members.keys().cloned().collect();
        for id in ids {
            let answer = self.joined_answer(&id);
            let Some(member) = self.members.get_mut(&id) else { continue };
            member.assignment = Bytes::new();
            member.synced = false;
            member.expires = now + member.session_timeout;
            let ticket = member.joining.take();
            self.answer_join(ticket, answer);
        }
        self.recount();
    }

    /// Makes a member the leader that has joined; false if there is none.
    fn elect(&mut self) -> bool {
        let joined = |id: &Arc<str>| self.members.get(id).is_some_and(|member| member.joining.is_some());
        if !self.leader.as_ref().is_some_and(joined) {
            let Some(id) = self.members.keys().find(|id| joined(id)) else { return false };
            self.leader = Some(id.clone());
        }
        true
    }

    /// What a member hears of the generation that it belongs to; the leader hears of all members.
    pub(super) fn joined_answer(&self, member_id: &Arc<str>) -> JoinAnswer {
        let leads = self.leader.as_ref() == Some(member_id);
        let protocol = self.protocol.clone().unwrap_or_default();
        let described = |(id, member): (&Arc<str>, &Member)| JoinedMember {
            id: id.clone(),
            instance: member.instance.clone(),
            metadata: member.metadata(&protocol).cloned().unwrap_or_default(),
        };
        JoinAnswer {
            code: ErrorCode::NONE,
            member_id: member_id.clone(),
            generation: self.generation,
            protocol_type: self.protocol_type.clone(),
            protocol: self.protocol.clone(),
            leader: self.leader.clone().unwrap_or_default(),
            members: if leads { self.members.iter().map(described).collect() } else { Vec::new() },
        }
    }

    /// Takes a member out; whoever waits for it hears that it is none.
    pub(super) fn forget(&mut self, id: &str) {
        let Some(member) = self.members.remove(id) else { return };
        if let Some(instance) = &member.instance {
            self.instances.remove(instance);
        }
        self.answer_join(member.joining, JoinAnswer::refused(ErrorCode::UNKNOWN_MEMBER_ID, ""));
        self.answer_sync(member.syncing, SyncAnswer::refused(ErrorCode::UNKNOWN_MEMBER_ID));
        if self.leader.as_deref() == Some(id) {
            self.leader = self.members.keys().next().cloned();
        }
        self.recount();
    }

    /// Takes a member out, which starts a rebalance, or lets one go on that waited for it.
    pub(super) fn remove(&mut self, id: &str, now: Instant, why: &str) {
        log::info!("group {}: {id} is out: {why}", self.name);
        self.forget(id);
        self.rebalance(now, why);
    }
}
