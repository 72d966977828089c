//! Who is there: heartbeats, commits as signs of life, leaving, lost connections and timeouts.

use std::sync::Arc;
use std::time::Instant;

use super::group::{Group, Save, State};
use super::limits::{GRACE, IDLE};
use super::member::{Link, Member};
use crate::protocol::error_code::ErrorCode;

/// A member as a request names it.
#[derive(Debug, Clone)]
pub struct Identity {
    /// The member's id.
    pub member_id: Arc<str>,
    /// The instance id of a static member.
    pub instance: Option<Arc<str>>,
}

impl Group {
    /// Heartbeat.
    ///
    /// # Errors
    /// REBALANCE_IN_PROGRESS asks for a new join; UNKNOWN_MEMBER_ID, FENCED_INSTANCE_ID, ILLEGAL_GENERATION.
    pub fn heartbeat(
        &mut self,
        who: &Identity,
        generation: i32,
        connection: u64,
        now: Instant,
    ) -> Result<(), ErrorCode> {
        self.validate_in(generation, &who.member_id, who.instance.as_deref())?;
        let member = self.members.get_mut(&who.member_id).ok_or(ErrorCode::UNKNOWN_MEMBER_ID)?;
        member.hear(connection, now);
        match self.state {
            State::Stable | State::CompletingRebalance => Ok(()),
            State::PreparingRebalance => Err(ErrorCode::REBALANCE_IN_PROGRESS),
            State::Empty | State::Dead => Err(ErrorCode::UNKNOWN_MEMBER_ID),
        }
    }

    /// Notes the process in which a member lives, if it is the one that serves: another than before after a
    /// hand-over.
    pub fn lives_in(&mut self, member_id: &str, home: Option<u64>) {
        let member = self.members.get_mut(member_id).filter(|member| member.home != home);
        if self.state == State::Stable
            && let Some(member) = member
        {
            member.home = home;
            self.save = Some(Save::State);
        }
    }

    /// Whether a commit may be stored now. A generation below 0 is that of a client which is no member: it
    /// may commit to a group without members.
    ///
    /// # Errors
    /// UNKNOWN_MEMBER_ID, FENCED_INSTANCE_ID, ILLEGAL_GENERATION; REBALANCE_IN_PROGRESS between joining and
    /// assignment.
    pub fn commit(
        &mut self,
        who: &Identity,
        generation: i32,
        connection: u64,
        now: Instant,
    ) -> Result<(), ErrorCode> {
        if generation < 0 && self.state == State::Empty {
            self.idle_since = now;
            return Ok(());
        }
        self.validate_in(generation, &who.member_id, who.instance.as_deref())?;
        if !matches!(self.state, State::Stable | State::PreparingRebalance) {
            return Err(ErrorCode::REBALANCE_IN_PROGRESS);
        }
        if let Some(member) = self.members.get_mut(&who.member_id) {
            member.hear_commit(connection, now);
        }
        Ok(())
    }

    /// LeaveGroup, for one member. Without a member id it is an instance that an administrator takes out.
    ///
    /// # Errors
    /// UNKNOWN_MEMBER_ID, FENCED_INSTANCE_ID.
    pub fn leave(&mut self, who: &Identity, now: Instant) -> Result<(), ErrorCode> {
        let id = if who.member_id.is_empty() {
            let current = who.instance.as_ref().and_then(|instance| self.instances.get(instance));
            current.cloned().ok_or(ErrorCode::UNKNOWN_MEMBER_ID)?
        } else if self.pending.remove(&who.member_id).is_some() {
            self.try_complete(now);
            return Ok(());
        } else {
            self.validate(&who.member_id, who.instance.as_deref())?;
            who.member_id.clone()
        };
        self.remove(&id, now, "it leaves");
        Ok(())
    }

    /// A connection is gone: dynamic members that were last heard of over it have a moment to come back.
    /// Tells whether there were any.
    pub fn connection_closed(&mut self, connection: u64, now: Instant) -> bool {
        let mut lost = false;
        for member in self.members.values_mut().filter(|m| m.link == Link::Connected(connection)) {
            member.lose(now);
            lost = true;
        }
        for pending in self.pending.values_mut().filter(|p| p.link == Link::Connected(connection)) {
            pending.link = Link::Lost(now + GRACE);
            lost = true;
        }
        lost
    }

    /// Does everything whose time has come.
    pub fn expire(&mut self, now: Instant) {
        let pending = self.pending.len();
        self.pending.retain(|_, pending| pending.deadline() > now);
        if self.pending.len() < pending {
            self.try_complete(now);
        }
        let overdue = |member: &Member| member.deadline().is_some_and(|deadline| deadline <= now);
        let silent: Vec<Arc<str>> =
            self.members.iter().filter(|(_, m)| overdue(m)).map(|(id, _)| id.clone()).collect();
        for id in silent {
            // The end of one may have begun a generation in which the next is heard again.
            let Some(member) = self.members.get(&id).filter(|member| overdue(member)) else { continue };
            let lost = matches!(member.link, Link::Lost(until) if until <= now);
            self.remove(
                &id,
                now,
                if lost { "its connection is gone" } else { "it has been silent for too long" },
            );
        }
        if self.rebalance_deadline.is_some_and(|deadline| deadline <= now) {
            self.complete(now);
        }
        if self.sync_deadline.is_some_and(|deadline| deadline <= now) {
            self.remove_unsynced(now);
        }
    }

    fn remove_unsynced(&mut self, now: Instant) {
        self.sync_deadline = None;
        let unsynced = self.members.iter().filter(|(_, member)| !member.synced);
        let ids: Vec<Arc<str>> = unsynced.map(|(id, _)| id.clone()).collect();
        for id in &ids {
            log::info!("group {}: {id} has joined but did not ask for its assignment, and is out", self.name);
            self.forget(id);
        }
        if !ids.is_empty() {
            self.rebalance(now, "members have not asked for their assignment");
        }
    }

    /// When [`Group::expire`] has something to do, if nothing happens before.
    pub fn next_deadline(&self) -> Option<Instant> {
        let members = self.members.values().filter_map(Member::deadline);
        let pending = self.pending.values().map(|pending| pending.deadline());
        let sync = self.sync_deadline.filter(|_| self.members.values().any(|member| !member.synced));
        let idle = (self.state == State::Empty && self.pending.is_empty()).then(|| self.idle_since + IDLE);
        members.chain(pending).chain(self.rebalance_deadline).chain(sync).chain(idle).min()
    }

    /// Whether the group has had no members and no commits for so long that it may be forgotten if it has no
    /// offsets.
    pub fn is_idle(&self, now: Instant) -> bool {
        self.state == State::Empty && self.pending.is_empty() && self.idle_since + IDLE <= now
    }

    /// Looks again later whether the group may be forgotten.
    pub fn keep(&mut self, now: Instant) {
        self.idle_since = now;
    }
}
