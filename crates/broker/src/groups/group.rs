//! The state machine of one group, from one generation to the next.
//!
//! Kafka's classic protocol, as its `GroupCoordinator` has it (KIP-62, KIP-345, KIP-394): members join, the
//! leader gets the metadata of all members and sends the assignment, each member gets its part. Nothing here
//! does I/O, waits or reads a clock: the coordinator does, and passes the answers of [`Group::take_joined`]
//! and [`Group::take_synced`] to the delayed operations.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::initial_rebalance::InitialRebalance;
use super::member::{ConnectionState, Member, OperationId, Protocol};
use protocol::error_code::ErrorCode;

/// The state of a group, as in Kafka's classic protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GroupState {
    /// No members; there may be committed offsets.
    Empty,
    /// Waiting for all members to join again.
    PreparingRebalance,
    /// All have joined; waiting for the leader's assignment.
    CompletingRebalance,
    /// Each member can get its assignment.
    Stable,
    /// Deleted.
    Dead,
}

impl GroupState {
    /// The name in Kafka's protocol.
    pub fn name(self) -> &'static str {
        match self {
            GroupState::Empty => "Empty",
            GroupState::PreparingRebalance => "PreparingRebalance",
            GroupState::CompletingRebalance => "CompletingRebalance",
            GroupState::Stable => "Stable",
            GroupState::Dead => "Dead",
        }
    }
}

/// The result of an operation: its answer, or the id of a delayed operation.
#[derive(Debug, PartialEq, Eq)]
pub enum Operation<T> {
    /// The answer.
    Completed(T),
    /// The answer comes when other members have acted.
    Delayed(OperationId),
}

/// A member in the leader's answer to JoinGroup.
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
    /// NONE, or the error.
    pub code: ErrorCode,
    /// The member's id.
    pub member_id: Arc<str>,
    /// The generation, -1 with an error.
    pub generation: i32,
    /// The protocol type: `consumer`, `connect`, …
    pub protocol_type: Option<Arc<str>>,
    /// The protocol that was chosen.
    pub protocol: Option<Arc<str>>,
    /// The leader's member id.
    pub leader: Arc<str>,
    /// All members, for the leader only.
    pub members: Vec<JoinedMember>,
    /// Whether the leader must not compute an assignment, as the group has one (KIP-814).
    pub skip_assignment: bool,
}

impl JoinAnswer {
    /// An answer with an error.
    pub fn refused(code: ErrorCode, member_id: &str) -> JoinAnswer {
        JoinAnswer {
            code,
            member_id: member_id.into(),
            generation: -1,
            protocol_type: None,
            protocol: None,
            leader: "".into(),
            members: Vec::new(),
            skip_assignment: false,
        }
    }
}

/// The answer to SyncGroup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyncAnswer {
    /// NONE, or the error.
    pub code: ErrorCode,
    /// The protocol type: `consumer`, `connect`, …
    pub protocol_type: Option<Arc<str>>,
    /// The protocol that was chosen.
    pub protocol: Option<Arc<str>>,
    /// The member's assignment.
    pub assignment: Bytes,
}

impl SyncAnswer {
    /// An answer with an error.
    pub fn refused(code: ErrorCode) -> SyncAnswer {
        SyncAnswer { code, protocol_type: None, protocol: None, assignment: Bytes::new() }
    }
}

/// A member id that was given out, and with which its member has not joined yet (KIP-394).
#[derive(Debug)]
pub struct PendingMember {
    pub(super) connection_state: ConnectionState,
    pub(super) expires: Instant,
}

impl PendingMember {
    pub(super) fn deadline(&self) -> Instant {
        match self.connection_state {
            ConnectionState::Lost(until) => until.min(self.expires),
            _ => self.expires,
        }
    }
}

/// A write of the group that precedes the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Save {
    /// The group as it is.
    State,
    /// The leader's assignment for this generation; its result goes to [`Group::stored`].
    Assignment(i32),
}

/// A group: its state, generation and members, and the answers that delayed operations wait for.
#[derive(Debug)]
pub struct Group {
    /// Its id.
    pub name: Arc<str>,
    pub(super) state: GroupState,
    pub(super) generation: i32,
    pub(super) protocol_type: Option<Arc<str>>,
    pub(super) protocol: Option<Arc<str>>,
    pub(super) leader: Option<Arc<str>>,
    pub(super) members: BTreeMap<Arc<str>, Member>,
    /// Member ids of static members, by instance id.
    pub(super) instances: BTreeMap<Arc<str>, Arc<str>>,
    pub(super) pending: BTreeMap<Arc<str>, PendingMember>,
    /// When members that have not joined again are removed.
    pub(super) rebalance_deadline: Option<Instant>,
    /// How long the first rebalance of the empty group waits for more members.
    pub(super) initial_delay: Duration,
    /// The initial rebalance that is under way.
    pub(super) initial: Option<InitialRebalance>,
    /// When members that have not sent SyncGroup are removed.
    pub(super) sync_deadline: Option<Instant>,
    /// The leader's assignment is on its way to the disk.
    pub(super) storing: bool,
    /// The last request to the empty group.
    pub(super) idle_since: Instant,
    /// Bytes of the members' metadata and assignments.
    pub(super) bytes: usize,
    pub(super) save: Option<Save>,
    last_operation: OperationId,
    pub(super) joined: HashMap<OperationId, JoinAnswer>,
    pub(super) synced: HashMap<OperationId, SyncAnswer>,
}

impl Group {
    /// A group that has had no member yet.
    pub fn new(name: Arc<str>, now: Instant) -> Group {
        Group {
            name,
            state: GroupState::Empty,
            generation: 0,
            protocol_type: None,
            protocol: None,
            leader: None,
            members: BTreeMap::new(),
            instances: BTreeMap::new(),
            pending: BTreeMap::new(),
            rebalance_deadline: None,
            initial_delay: Duration::ZERO,
            initial: None,
            sync_deadline: None,
            storing: false,
            idle_since: now,
            bytes: 0,
            save: None,
            last_operation: 0,
            joined: HashMap::new(),
            synced: HashMap::new(),
        }
    }

    /// Lets the first rebalance of the empty group wait for more members
    /// (`group.initial.rebalance.delay.ms`); zero lets it complete at once.
    pub fn with_initial_delay(mut self, delay: Duration) -> Group {
        self.initial_delay = delay;
        self
    }

    /// Its state.
    pub fn state(&self) -> GroupState {
        self.state
    }

    /// Bytes held for the members.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Marks the group as deleted.
    pub fn mark_dead(&mut self) {
        self.state = GroupState::Dead;
    }

    /// The write that is due, before the next change of the group.
    pub fn take_save(&mut self) -> Option<Save> {
        self.save.take()
    }

    /// The answer to a waiting JoinGroup.
    pub fn take_joined(&mut self, operation: OperationId) -> Option<JoinAnswer> {
        self.joined.remove(&operation)
    }

    /// The answer to a waiting SyncGroup.
    pub fn take_synced(&mut self, operation: OperationId) -> Option<SyncAnswer> {
        self.synced.remove(&operation)
    }

    /// Whether an answer waits for its delayed operation.
    pub fn has_answers(&self) -> bool {
        !self.joined.is_empty() || !self.synced.is_empty()
    }

    pub(super) fn new_operation(&mut self) -> OperationId {
        self.last_operation += 1;
        self.last_operation
    }

    pub(super) fn answer_join(&mut self, operation: Option<OperationId>, answer: JoinAnswer) {
        if let Some(operation) = operation {
            self.joined.insert(operation, answer);
        }
    }

    pub(super) fn answer_sync(&mut self, operation: Option<OperationId>, answer: SyncAnswer) {
        if let Some(operation) = operation {
            self.synced.insert(operation, answer);
        }
    }

    /// Checks that `member_id`, with its instance id, is a member.
    ///
    /// # Errors
    /// UNKNOWN_MEMBER_ID; FENCED_INSTANCE_ID if another process has joined with this instance id.
    pub(super) fn validate(&self, member_id: &str, instance: Option<&str>) -> Result<(), ErrorCode> {
        if let Some(instance) = instance {
            let current = self.instances.get(instance).ok_or(ErrorCode::UNKNOWN_MEMBER_ID)?;
            if **current != *member_id {
                // The id that a member got just before a failover may not have been stored. Such a member is
                // asked to join again; FENCED_INSTANCE_ID, which ends a client for good, would be wrong.
                let heard_since_load =
                    self.members.get(current).is_some_and(|member| member.heard_since_load);
                return Err(if heard_since_load {
                    ErrorCode::FENCED_INSTANCE_ID
                } else {
                    ErrorCode::UNKNOWN_MEMBER_ID
                });
            }
        }
        if self.members.contains_key(member_id) { Ok(()) } else { Err(ErrorCode::UNKNOWN_MEMBER_ID) }
    }

    /// [`Group::validate`] for a request of one generation.
    ///
    /// # Errors
    /// The errors of [`Group::validate`]; ILLEGAL_GENERATION for another generation than the current one.
    pub(super) fn validate_in(
        &self,
        generation: i32,
        member_id: &str,
        instance: Option<&str>,
    ) -> Result<(), ErrorCode> {
        self.validate(member_id, instance)?;
        if generation == self.generation { Ok(()) } else { Err(ErrorCode::ILLEGAL_GENERATION) }
    }

    /// Whether all members support one of these protocols.
    pub(super) fn supports(&self, protocol_type: &str, protocols: &[Protocol]) -> bool {
        if protocol_type.is_empty() || protocols.is_empty() {
            return false;
        }
        let all_can = |name: &str| self.members.values().all(|member| member.metadata(name).is_some());
        self.members.is_empty()
            || self.protocol_type.as_deref() == Some(protocol_type)
                && protocols.iter().any(|(name, _)| all_can(name))
    }

    /// The protocol with the most votes: each member votes for the first of its own that all members support.
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

    pub(super) fn longest_rebalance(&self) -> Duration {
        self.members.values().map(|member| member.rebalance_timeout).max().unwrap_or_default()
    }

    /// Starts a rebalance unless one runs, and completes it if no member is missing. That of an empty group
    /// waits for more members if it is to.
    pub(super) fn rebalance(&mut self, now: Instant, why: &str) {
        match self.state {
            GroupState::Empty => {
                self.prepare(now, why);
                self.begin_initial(now);
            }
            GroupState::CompletingRebalance | GroupState::Stable => {
                self.prepare(now, why);
                self.try_complete(now);
            }
            GroupState::PreparingRebalance => self.try_complete(now),
            GroupState::Dead => {}
        }
    }

    fn prepare(&mut self, now: Instant, why: &str) {
        log::debug!("group {}: generation {} ends: {why}", self.name, self.generation);
        if self.state == GroupState::CompletingRebalance {
            self.drop_assignments(ErrorCode::REBALANCE_IN_PROGRESS, now);
        }
        self.state = GroupState::PreparingRebalance;
        self.rebalance_deadline = Some(now + self.longest_rebalance());
        self.sync_deadline = None;
        self.storing = false;
    }

    /// Drops the leader's assignment, and answers the members that wait for it.
    pub(super) fn drop_assignments(&mut self, code: ErrorCode, now: Instant) {
        let mut waiting = Vec::new();
        for member in self.members.values_mut() {
            member.assignment = Bytes::new();
            if let Some(operation) = member.syncing.take() {
                member.expires = now + member.session_timeout;
                waiting.push(operation);
            }
        }
        for operation in waiting {
            self.answer_sync(Some(operation), SyncAnswer::refused(code));
        }
        self.recount();
    }

    pub(super) fn try_complete(&mut self, now: Instant) {
        let all = self.members.values().all(|member| member.joining.is_some()) && self.initial.is_none();
        if self.state == GroupState::PreparingRebalance && all && self.pending.is_empty() {
            self.complete(now);
        }
    }

    /// Completes the rebalance with the members that have joined. Dynamic members that have not joined are
    /// removed, static ones stay.
    pub(super) fn complete(&mut self, now: Instant) {
        self.initial = None;
        let missing = |member: &Member| member.joining.is_none() && member.instance.is_none();
        let late: Vec<Arc<str>> =
            self.members.iter().filter(|(_, m)| missing(m)).map(|(id, _)| id.clone()).collect();
        for id in late {
            log::info!("group {}: {id} is removed: it did not join again in time", self.name);
            self.forget(&id);
        }
        if !self.members.is_empty() && !self.elect() {
            log::warn!("group {}: no member has joined again yet; the rebalance goes on", self.name);
            self.rebalance_deadline = Some(now + self.longest_rebalance().max(Duration::from_secs(1)));
            return;
        }
        self.rebalance_deadline = None;
        self.generation = self.generation.checked_add(1).unwrap_or(1);
        if self.members.is_empty() {
            log::info!("group {}: generation {} has no members", self.name, self.generation);
            self.state = GroupState::Empty;
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
        self.state = GroupState::CompletingRebalance;
        self.sync_deadline = Some(now + self.longest_rebalance());
        let ids: Vec<Arc<str>> = self.members.keys().cloned().collect();
        for id in ids {
            let answer = self.joined_answer(&id);
            let Some(member) = self.members.get_mut(&id) else { continue };
            member.assignment = Bytes::new();
            member.synced = false;
            member.expires = now + member.session_timeout;
            let operation = member.joining.take();
            self.answer_join(operation, answer);
        }
        self.recount();
    }

    /// Elects a leader among the members that have joined; false if none has.
    fn elect(&mut self) -> bool {
        let joined = |id: &Arc<str>| self.members.get(id).is_some_and(|member| member.joining.is_some());
        if !self.leader.as_ref().is_some_and(joined) {
            let Some(id) = self.members.keys().find(|id| joined(id)) else { return false };
            self.leader = Some(id.clone());
        }
        true
    }

    /// The answer to JoinGroup for one member; the leader's lists all members.
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
            skip_assignment: false,
        }
    }

    /// Removes a member; its delayed operations are answered with UNKNOWN_MEMBER_ID.
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

    /// Removes a member, and starts a rebalance, or completes one that waited for it.
    pub(super) fn remove(&mut self, id: &str, now: Instant, why: &str) {
        log::info!("group {}: {id} is removed: {why}", self.name);
        self.forget(id);
        self.rebalance(now, why);
    }
}
