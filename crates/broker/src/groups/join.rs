//! JoinGroup: new members, members that join again, and static members that replace their predecessor.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::group::{Group, GroupState, JoinAnswer, Operation, PendingMember, Save, SyncAnswer};
use super::initial_rebalance::InitialRebalance;
use super::limits::MAX_MEMBERS;
use super::member::{ConnectionState, Member, OperationId, Protocol};
use protocol::error_code::ErrorCode;

/// A JoinGroup request.
#[derive(Debug, Clone)]
pub struct JoinRequest {
    /// The member id; empty before the first join.
    pub member_id: Arc<str>,
    /// The id that a member without one is given.
    pub new_member_id: Arc<str>,
    /// The instance id of a static member.
    pub instance: Option<Arc<str>>,
    /// The client id of the request.
    pub client_id: Arc<str>,
    /// The client's address, as Kafka shows it.
    pub host: Arc<str>,
    /// The serving process, if the member runs in it.
    pub host_process: Option<u64>,
    /// The session timeout.
    pub session_timeout: Duration,
    /// The rebalance timeout.
    pub rebalance_timeout: Duration,
    /// The protocol type: `consumer`, `connect`, …
    pub protocol_type: Arc<str>,
    /// The supported protocols, the preferred one first.
    pub protocols: Vec<Protocol>,
    /// Whether a dynamic member has to join again with the id that it is given (KIP-394).
    pub requires_member_id: bool,
    /// Whether a leader can be told to compute no assignment (KIP-814).
    pub can_skip_assignment: bool,
    /// The number of its connection.
    pub connection: u64,
}

impl JoinRequest {
    fn member(self, operation: OperationId, now: Instant) -> Member {
        Member {
            instance: self.instance,
            client_id: self.client_id,
            host: self.host,
            host_process: self.host_process,
            session_timeout: self.session_timeout,
            rebalance_timeout: self.rebalance_timeout,
            protocols: self.protocols,
            assignment: Bytes::new(),
            connection_state: ConnectionState::Connected(self.connection),
            heard_since_load: true,
            expires: now + self.session_timeout,
            joining: Some(operation),
            syncing: None,
            synced: false,
        }
    }
}

impl Group {
    /// Handles a JoinGroup request: delays it until the rebalance completes, unless it is refused or repeats
    /// the join of the current generation.
    pub fn join(&mut self, join: JoinRequest, now: Instant) -> Operation<JoinAnswer> {
        self.idle_since = now;
        let refused = |code| Operation::Completed(JoinAnswer::refused(code, &join.member_id));
        if self.is_full(&join) {
            return refused(ErrorCode::GROUP_MAX_SIZE_REACHED);
        }
        if !self.supports(&join.protocol_type, &join.protocols) {
            return refused(ErrorCode::INCONSISTENT_GROUP_PROTOCOL);
        }
        if join.member_id.is_empty() {
            return self.join_anew(join, now);
        }
        if join.instance.is_none() && self.pending.contains_key(&join.member_id) {
            let id = join.member_id.clone();
            return self.add(id, join, now);
        }
        if let Err(code) = self.validate(&join.member_id, join.instance.as_deref()) {
            return refused(code);
        }
        self.join_again(join, now)
    }

    fn is_full(&self, join: &JoinRequest) -> bool {
        let known = self.members.contains_key(&join.member_id)
            || self.pending.contains_key(&join.member_id)
            || join.instance.as_ref().is_some_and(|instance| self.instances.contains_key(instance));
        !known && (self.members.len() >= MAX_MEMBERS || self.pending.len() >= MAX_MEMBERS)
    }

    fn join_anew(&mut self, join: JoinRequest, now: Instant) -> Operation<JoinAnswer> {
        let id = join.new_member_id.clone();
        if let Some(instance) = &join.instance {
            return match self.instances.get(instance).cloned() {
                Some(old) => self.replace(&old, join, now),
                None => self.add(id, join, now),
            };
        }
        if !join.requires_member_id {
            return self.add(id, join, now);
        }
        let pending = PendingMember {
            connection_state: ConnectionState::Connected(join.connection),
            expires: now + join.session_timeout,
        };
        self.pending.insert(id.clone(), pending);
        Operation::Completed(JoinAnswer::refused(ErrorCode::MEMBER_ID_REQUIRED, &id))
    }

    fn add(&mut self, id: Arc<str>, join: JoinRequest, now: Instant) -> Operation<JoinAnswer> {
        if self.members.is_empty() {
            self.protocol_type = Some(join.protocol_type.clone());
        }
        self.pending.remove(&id);
        if let Some(instance) = &join.instance {
            self.instances.insert(instance.clone(), id.clone());
        }
        let operation = self.new_operation();
        self.members.insert(id.clone(), join.member(operation, now));
        self.leader.get_or_insert(id);
        self.recount();
        if let Some(initial) = &mut self.initial {
            initial.note_join();
        }
        self.rebalance(now, "a member joins");
        Operation::Delayed(operation)
    }

    /// Begins the first rebalance of the empty group, once its first member is in it.
    pub(super) fn begin_initial(&mut self, now: Instant) {
        let delay = self.initial_delay;
        if delay.is_zero() {
            return self.complete(now);
        }
        self.initial = Some(InitialRebalance::new(delay, self.longest_rebalance()));
        self.rebalance_deadline = Some(now + delay);
    }

    fn join_again(&mut self, join: JoinRequest, now: Instant) -> Operation<JoinAnswer> {
        let id = join.member_id.clone();
        let leads = self.leader.as_ref() == Some(&id);
        let same = self.members.get(&id).is_some_and(|member| member.protocols == join.protocols);
        let known = match self.state {
            // Its first answer may have been lost.
            GroupState::CompletingRebalance => same,
            // The leader asks for a rebalance by joining, for changes that its metadata does not show.
            GroupState::Stable => same && !leads,
            GroupState::PreparingRebalance => false,
            GroupState::Empty | GroupState::Dead => {
                return Operation::Completed(JoinAnswer::refused(ErrorCode::UNKNOWN_MEMBER_ID, &id));
            }
        };
        if known {
            let connection = join.connection;
            if let Some(member) = self.members.get_mut(&id) {
                member.renew_session(connection, now);
            }
            return Operation::Completed(self.joined_answer(&id));
        }
        let operation = self.update(&id, join, now);
        self.rebalance(now, "a member joins again");
        Operation::Delayed(operation)
    }

    /// A restarted process with the same instance id replaces its predecessor, which is fenced.
    fn replace(&mut self, old: &Arc<str>, join: JoinRequest, now: Instant) -> Operation<JoinAnswer> {
        let id = join.new_member_id.clone();
        let leader = self.leader.clone().unwrap_or_default();
        log::info!("group {}: {id} replaces {old}", self.name);
        let Some(mut member) = self.members.remove(old) else {
            return Operation::Completed(JoinAnswer::refused(ErrorCode::UNKNOWN_MEMBER_ID, ""));
        };
        let fenced = ErrorCode::FENCED_INSTANCE_ID;
        self.answer_join(member.joining.take(), JoinAnswer::refused(fenced, old));
        self.answer_sync(member.syncing.take(), SyncAnswer::refused(fenced));
        if let Some(instance) = &join.instance {
            self.instances.insert(instance.clone(), id.clone());
        }
        if self.leader.as_ref() == Some(old) {
            self.leader = Some(id.clone());
        }
        self.members.insert(id.clone(), member);
        let can_skip_assignment = join.can_skip_assignment;
        let operation = self.update(&id, join, now);
        if self.state == GroupState::Stable && self.choose_protocol() == self.protocol {
            self.save = Some(Save::State);
            if let Some(member) = self.members.get_mut(&id) {
                member.joining = None;
            }
            let answer = self.joined_answer(&id);
            // The member does not compute an assignment that the stable group would not use: it is told so,
            // or the answer names the former leader.
            return Operation::Completed(match can_skip_assignment {
                true => JoinAnswer { skip_assignment: answer.leader == id, ..answer },
                false => JoinAnswer { leader, members: Vec::new(), ..answer },
            });
        }
        self.rebalance(now, "a static member takes its place again");
        Operation::Delayed(operation)
    }

    /// Updates a member from its new request.
    fn update(&mut self, id: &Arc<str>, join: JoinRequest, now: Instant) -> OperationId {
        let operation = self.new_operation();
        let mut before = None;
        if let Some(member) = self.members.get_mut(id) {
            before = member.joining.replace(operation);
            member.client_id = join.client_id;
            member.host = join.host;
            member.session_timeout = join.session_timeout;
            member.rebalance_timeout = join.rebalance_timeout;
            member.protocols = join.protocols;
            member.renew_session(join.connection, now);
        }
        self.answer_join(before, JoinAnswer::refused(ErrorCode::REBALANCE_IN_PROGRESS, id));
        self.recount();
        operation
    }

    /// Withdraws a JoinGroup whose client has disconnected.
    pub fn withdraw_join(&mut self, operation: OperationId, now: Instant) {
        self.take_joined(operation);
        for member in self.members.values_mut().filter(|member| member.joining == Some(operation)) {
            member.joining = None;
            member.expires = now + member.session_timeout;
            member.connection_lost(now);
        }
    }
}
