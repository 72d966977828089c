//! Session expiry: members that have been silent for too long, or whose connection is lost, leave their
//! group.

use std::sync::Arc;
use std::time::Instant;

use super::group::{Group, GroupState};
use super::limits::EMPTY_GROUP_RETENTION;
use super::member::{ConnectionState, Member};

impl Group {
    /// Removes members and pending members whose session has ended, and ends rebalances whose time is over.
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
            // The removal of one member may have begun a generation that renewed the session of the next.
            let Some(member) = self.members.get(&id).filter(|member| overdue(member)) else { continue };
            let lost = matches!(member.connection_state, ConnectionState::Lost(until) if until <= now);
            self.remove(
                &id,
                now,
                if lost { "its connection is gone" } else { "it has been silent for too long" },
            );
        }
        if self.rebalance_deadline.is_some_and(|deadline| deadline <= now) && !self.prolong_initial(now) {
            self.complete(now);
        }
        if self.sync_deadline.is_some_and(|deadline| deadline <= now) {
            self.remove_unsynced(now);
        }
    }

    /// Lets the initial rebalance go on if members have joined meanwhile; false if it is to complete.
    fn prolong_initial(&mut self, now: Instant) -> bool {
        let delay = self.initial_delay;
        let wait = self.initial.as_mut().and_then(|initial| initial.next_wait(delay));
        if let Some(wait) = wait {
            self.rebalance_deadline = Some(now + wait);
        }
        wait.is_some()
    }

    fn remove_unsynced(&mut self, now: Instant) {
        self.sync_deadline = None;
        let unsynced = self.members.iter().filter(|(_, member)| !member.synced);
        let ids: Vec<Arc<str>> = unsynced.map(|(id, _)| id.clone()).collect();
        for id in &ids {
            log::info!("group {}: {id} is removed: it did not send SyncGroup in time", self.name);
            self.forget(id);
        }
        if !ids.is_empty() {
            self.rebalance(now, "members have not asked for their assignment");
        }
    }

    /// The next time at which [`Group::expire`] has something to do, if nothing happens before.
    pub fn next_deadline(&self) -> Option<Instant> {
        let members = self.members.values().filter_map(Member::deadline);
        let pending = self.pending.values().map(|pending| pending.deadline());
        let sync = self.sync_deadline.filter(|_| self.members.values().any(|member| !member.synced));
        let idle = (self.state == GroupState::Empty && self.pending.is_empty())
            .then(|| self.idle_since + EMPTY_GROUP_RETENTION);
        members.chain(pending).chain(self.rebalance_deadline).chain(sync).chain(idle).min()
    }

    /// Whether the group has had neither members nor commits for so long that it may be removed, if it has no
    /// committed offsets.
    pub fn is_idle(&self, now: Instant) -> bool {
        self.state == GroupState::Empty
            && self.pending.is_empty()
            && self.idle_since + EMPTY_GROUP_RETENTION <= now
    }

    /// Postpones the removal of the empty group.
    pub fn keep(&mut self, now: Instant) {
        self.idle_since = now;
    }
}
