//! SyncGroup: the leader brings the assignment, which is stored before anybody gets it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;

use super::group::{Group, Save, State, Step, SyncAnswer};
use super::member::Ticket;
use crate::protocol::error_code::ErrorCode;

/// A request for a member's assignment.
#[derive(Debug, Clone)]
pub struct Sync {
    /// The generation that it joined.
    pub generation: i32,
    /// The member's id.
    pub member_id: Arc<str>,
    /// The instance id of a static member.
    pub instance: Option<Arc<str>>,
    /// The kind of group it takes this one for, if it says so.
    pub protocol_type: Option<Arc<str>>,
    /// The protocol that it was told, if it says so.
    pub protocol: Option<Arc<str>>,
    /// From the leader: the part of each member.
    pub assignments: HashMap<Arc<str>, Bytes>,
    /// The connection that it comes over.
    pub connection: u64,
}

impl Group {
    /// SyncGroup.
    pub fn sync(&mut self, sync: Sync, now: Instant) -> Step<SyncAnswer> {
        if let Err(code) = self.check_sync(&sync) {
            return Step::Done(SyncAnswer::refused(code));
        }
        let Some(member) = self.members.get_mut(&sync.member_id) else {
            return Step::Done(SyncAnswer::refused(ErrorCode::UNKNOWN_MEMBER_ID));
        };
        member.hear(sync.connection, now);
        member.synced = true;
        if self.state == State::Stable {
            let assignment = member.assignment.clone();
            return Step::Done(self.synced_answer(assignment));
        }
        let ticket = self.new_ticket();
        let before = self.members.get_mut(&sync.member_id).and_then(|member| member.syncing.replace(ticket));
        self.answer_sync(before, SyncAnswer::refused(ErrorCode::REBALANCE_IN_PROGRESS));
        if self.leader.as_ref() == Some(&sync.member_id) && !self.storing {
            self.assign(sync.assignments);
        }
        Step::Wait(ticket)
    }

    fn check_sync(&self, sync: &Sync) -> Result<(), ErrorCode> {
        let differs = |given: &Option<Arc<str>>, ours: &Option<Arc<str>>| given.is_some() && given != ours;
        self.validate_in(sync.generation, &sync.member_id, sync.instance.as_deref())?;
        if differs(&sync.protocol_type, &self.protocol_type) || differs(&sync.protocol, &self.protocol) {
            return Err(ErrorCode::INCONSISTENT_GROUP_PROTOCOL);
        }
        match self.state {
            State::CompletingRebalance | State::Stable => Ok(()),
            State::PreparingRebalance => Err(ErrorCode::REBALANCE_IN_PROGRESS),
            State::Empty | State::Dead => Err(ErrorCode::UNKNOWN_MEMBER_ID),
        }
    }

    /// Notes the leader's assignment; nobody gets it before [`Group::stored`]. Members left out get nothing.
    fn assign(&mut self, mut assignments: HashMap<Arc<str>, Bytes>) {
        for (id, member) in &mut self.members {
            member.assignment = assignments.remove(id).unwrap_or_default();
        }
        self.recount();
        self.storing = true;
        self.save = Some(Save::Assignment(self.generation));
    }

    /// The assignment of `generation` is stored, or why it could not be. Says nothing to a group that has
    /// gone on since.
    pub fn stored(&mut self, generation: i32, stored: Result<(), ErrorCode>, now: Instant) {
        if self.state != State::CompletingRebalance || self.generation != generation || !self.storing {
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
        self.state = State::Stable;
        let mut waiting = Vec::new();
        for member in self.members.values_mut() {
            if let Some(ticket) = member.syncing.take() {
                member.expires = now + member.session_timeout;
                waiting.push((ticket, member.assignment.clone()));
            }
        }
        for (ticket, assignment) in waiting {
            let answer = self.synced_answer(assignment);
            self.answer_sync(Some(ticket), answer);
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

    /// A SyncGroup whose caller is gone is no longer waited for.
    pub fn withdraw_sync(&mut self, ticket: Ticket, now: Instant) {
        self.take_synced(ticket);
        for member in self.members.values_mut().filter(|member| member.syncing == Some(ticket)) {
            member.syncing = None;
            member.expires = now + member.session_timeout;
            member.lose(now);
        }
    }
}
