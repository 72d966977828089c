//! Signs of life of members: heartbeats, commits, leaving and lost connections. Sessions that end without any
//! are in `session_expiry`.

use std::sync::Arc;
use std::time::Instant;

use super::GroupCoordinator;
use super::group::{Group, GroupState, Save};
use super::limits::{DISCONNECT_GRACE, check_group_id};
use super::member::ConnectionState;
use crate::request_context::RequestContext;
use net::own_connections;
use protocol::error_code::ErrorCode;

/// The member that a request names.
#[derive(Debug, Clone)]
pub struct MemberIdentity {
    /// The member's id.
    pub member_id: Arc<str>,
    /// The instance id of a static member.
    pub instance: Option<Arc<str>>,
}

impl GroupCoordinator {
    /// Handles a Heartbeat request.
    ///
    /// # Errors
    /// As [`Group::heartbeat`]; NOT_COORDINATOR once the broker stops.
    pub fn heartbeat(
        &self,
        group: &str,
        context: &RequestContext<'_>,
        identity: &MemberIdentity,
        generation: i32,
    ) -> Result<(), ErrorCode> {
        check_group_id(group)?;
        let connection = context.connection;
        let host_process = own_connections::is_ours(&context.peer).then(own_connections::process);
        let beat = |group: &mut Group, now| {
            group.heartbeat(identity, generation, connection, now)?;
            group.note_host_process(&identity.member_id, host_process);
            Ok(())
        };
        self.shared.with_group(group, false, beat)?.ok_or(ErrorCode::UNKNOWN_MEMBER_ID)?.result
    }

    /// Handles a LeaveGroup request: returns the result for each member once the changed group is stored.
    ///
    /// # Errors
    /// NOT_COORDINATOR once the broker stops, COORDINATOR_NOT_AVAILABLE if it could not be stored.
    pub fn leave(&self, group: &str, members: &[MemberIdentity]) -> Result<Vec<ErrorCode>, ErrorCode> {
        check_group_id(group)?;
        let leave = |group: &mut Group, now| {
            members
                .iter()
                .map(|identity| group.leave(identity, now).err().unwrap_or(ErrorCode::NONE))
                .collect()
        };
        let Some(applied) = self.shared.with_group(group, false, leave)? else {
            return Ok(vec![ErrorCode::UNKNOWN_MEMBER_ID; members.len()]);
        };
        self.shared.await_save(&applied.entry, applied.pending_save)?;
        Ok(applied.result)
    }
}

impl Group {
    /// Applies a heartbeat of a member.
    ///
    /// # Errors
    /// REBALANCE_IN_PROGRESS, after which the member joins again; UNKNOWN_MEMBER_ID, FENCED_INSTANCE_ID,
    /// ILLEGAL_GENERATION.
    pub fn heartbeat(
        &mut self,
        identity: &MemberIdentity,
        generation: i32,
        connection: u64,
        now: Instant,
    ) -> Result<(), ErrorCode> {
        self.validate_in(generation, &identity.member_id, identity.instance.as_deref())?;
        let member = self.members.get_mut(&identity.member_id).ok_or(ErrorCode::UNKNOWN_MEMBER_ID)?;
        member.renew_session(connection, now);
        match self.state {
            GroupState::Stable | GroupState::CompletingRebalance => Ok(()),
            GroupState::PreparingRebalance => Err(ErrorCode::REBALANCE_IN_PROGRESS),
            GroupState::Empty | GroupState::Dead => Err(ErrorCode::UNKNOWN_MEMBER_ID),
        }
    }

    /// Stores the process in which a member runs, if that is the serving process; it changes by a failover.
    pub fn note_host_process(&mut self, member_id: &str, host_process: Option<u64>) {
        let member = self.members.get_mut(member_id).filter(|member| member.host_process != host_process);
        if self.state == GroupState::Stable
            && let Some(member) = member
        {
            member.host_process = host_process;
            self.save = Some(Save::State);
        }
    }

    /// Checks whether a commit may be stored now. A generation below 0 means a client that is no member: it
    /// may commit to a group without members.
    ///
    /// # Errors
    /// UNKNOWN_MEMBER_ID, FENCED_INSTANCE_ID, ILLEGAL_GENERATION; REBALANCE_IN_PROGRESS between joining and
    /// assignment.
    pub fn commit(
        &mut self,
        identity: &MemberIdentity,
        generation: i32,
        connection: u64,
        now: Instant,
    ) -> Result<(), ErrorCode> {
        if generation < 0 && self.state == GroupState::Empty {
            self.idle_since = now;
            return Ok(());
        }
        self.validate_in(generation, &identity.member_id, identity.instance.as_deref())?;
        if !matches!(self.state, GroupState::Stable | GroupState::PreparingRebalance) {
            return Err(ErrorCode::REBALANCE_IN_PROGRESS);
        }
        if let Some(member) = self.members.get_mut(&identity.member_id) {
            member.renew_session_on_commit(connection, now);
        }
        Ok(())
    }

    /// Removes a member that leaves. Without a member id, an administrator removes a static member.
    ///
    /// # Errors
    /// UNKNOWN_MEMBER_ID, FENCED_INSTANCE_ID.
    pub fn leave(&mut self, identity: &MemberIdentity, now: Instant) -> Result<(), ErrorCode> {
        let id = if identity.member_id.is_empty() {
            let current = identity.instance.as_ref().and_then(|instance| self.instances.get(instance));
            current.cloned().ok_or(ErrorCode::UNKNOWN_MEMBER_ID)?
        } else if self.pending.remove(&identity.member_id).is_some() {
            self.try_complete(now);
            return Ok(());
        } else {
            self.validate(&identity.member_id, identity.instance.as_deref())?;
            identity.member_id.clone()
        };
        self.remove(&id, now, "it leaves");
        Ok(())
    }

    /// A connection is lost: its dynamic members are removed after a grace period, unless they come back.
    /// Returns whether it had members.
    pub fn connection_closed(&mut self, connection: u64, now: Instant) -> bool {
        let mut lost = false;
        for member in
            self.members.values_mut().filter(|m| m.connection_state == ConnectionState::Connected(connection))
        {
            member.connection_lost(now);
            lost = true;
        }
        for pending in
            self.pending.values_mut().filter(|p| p.connection_state == ConnectionState::Connected(connection))
        {
            pending.connection_state = ConnectionState::Lost(now + DISCONNECT_GRACE);
            lost = true;
        }
        lost
    }
}
