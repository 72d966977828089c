//! SyncGroup: the leader sends the assignment, which is stored before any member gets its part.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;

use super::group::{Group, GroupState, Operation, Save, SyncAnswer};
use super::member::OperationId;
use protocol::error_code::ErrorCode;

/// A SyncGroup request.
#[derive(Debug, Clone)]
pub struct SyncRequest {
    /// The member's generation.
    pub generation: i32,
    /// The member's id.
    pub member_id: Arc<str>,
    /// The instance id of a static member.
    pub instance: Option<Arc<str>>,
    /// The protocol type, from version 5 on.
    pub protocol_type: Option<Arc<str>>,
    /// The chosen protocol, from version 5 on.
    pub protocol: Option<Arc<str>>,
    /// From the leader: the assignment of each member.
    pub assignments: HashMap<Arc<str>, Bytes>,
    /// The number of its connection.
    pub connection: u64,
}

impl Group {
    /// Handles a SyncGroup request: answers at once in a stable group, else delays it until the leader's
    /// assignment is stored.
    pub fn sync(&mut self, sync: SyncRequest, now: Instant) -> Operation<SyncAnswer> {
        if let Err(code) = self.check_sync(&sync) {
            return Operation::Completed(SyncAnswer::refused(code));
        }
        let Some(member) = self.members.get_mut(&sync.member_id) else {
            return Operation::Completed(SyncAnswer::refused(ErrorCode::UNKNOWN_MEMBER_ID));
        };
        member.renew_session(sync.connection, now);
        member.synced = true;
        if self.state == GroupState::Stable {
            let assignment = member.assignment.clone();
            return Operation::Completed(self.synced_answer(assignment));
        }
        let operation = self.new_operation();
        let before =
            self.members.get_mut(&sync.member_id).and_then(|member| member.syncing.replace(operation));
        self.answer_sync(before, SyncAnswer::refused(ErrorCode::REBALANCE_IN_PROGRESS));
        if self.leader.as_ref() == Some(&sync.member_id) && !self.storing {
            self.assign(sync.assignments);
        }
        Operation::Delayed(operation)
    }

    fn check_sync(&self, sync: &SyncRequest) -> Result<(), ErrorCode> {
        let differs = |given: &Option<Arc<str>>, ours: &Option<Arc<str>>| given.is_some() && given != ours;
        self.validate_in(sync.generation, &sync.member_id, sync.instance.as_deref())?;
        if differs(&sync.protocol_type, &self.protocol_type) || differs(&sync.protocol, &self.protocol) {
            return Err(ErrorCode::INCONSISTENT_GROUP_PROTOCOL);
        }
        match self.state {
            GroupState::CompletingRebalance | GroupState::Stable => Ok(()),
            GroupState::PreparingRebalance => Err(ErrorCode::REBALANCE_IN_PROGRESS),
            GroupState::Empty | GroupState::Dead => Err(ErrorCode::UNKNOWN_MEMBER_ID),
        }
    }

    /// Keeps the leader's assignment; members get it after [`Group::stored`]. A member without a part gets
    /// none.
    fn assign(&mut self, mut assignments: HashMap<Arc<str>, Bytes>) {
        for (id, member) in &mut self.members {
            member.assignment = assignments.remove(id).unwrap_or_default();
        }
        self.recount();
        self.storing = true;
        self.save = Some(Save::Assignment(self.generation));
    }

    /// The result of storing the assignment of `generation`. Ignored if the group has moved on.
    pub fn stored(&mut self, generation: i32, stored: Result<(), ErrorCode>, now: Instant) {
        if self.state != GroupState::CompletingRebalance || self.generation != generation || !self.storing {
            return;
        }
        self.storing = false;
        if let Err(code) = stored {
            log::warn!(
                "group {}: the assignment of generation {generation} is not stored: {code}",
                self.name
            );
            self.drop_assignments(code, now);
            self.rebalance(now, "the assignment could not be stored");
            return;
        }
        self.state = GroupState::Stable;
        let mut waiting = Vec::new();
        for member in self.members.values_mut() {
            if let Some(operation) = member.syncing.take() {
                member.expires = now + member.session_timeout;
                waiting.push((operation, member.assignment.clone()));
            }
        }
        for (operation, assignment) in waiting {
            let answer = self.synced_answer(assignment);
            self.answer_sync(Some(operation), answer);
        }
    }

    fn synced_answer(&self, assignment: Bytes) -> SyncAnswer {
        SyncAnswer {
            code: ErrorCode::NONE,
            protocol_type: self.protocol_type.clone(),
            protocol: self.protocol.clone(),
            assignment,
        }
    }

    /// Withdraws a SyncGroup whose client has disconnected.
    pub fn withdraw_sync(&mut self, operation: OperationId, now: Instant) {
        self.take_synced(operation);
        for member in self.members.values_mut().filter(|member| member.syncing == Some(operation)) {
            member.syncing = None;
            member.expires = now + member.session_timeout;
            member.connection_lost(now);
        }
    }
}
