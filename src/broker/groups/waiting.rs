//! JoinGroup and SyncGroup, which wait for other members; the other requests of a member.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::group::{Group, JoinAnswer, Step, SyncAnswer};
use super::join::Join;
use super::limits::{MAX_BYTES, MAX_MEMBER_BYTES, MAX_TEXT, SESSION_TIMEOUTS, SLICE};
use super::member::{Ticket, protocols_bytes};
use super::presence::Identity;
use super::sync::Sync;
use super::{Acted, Groups, Shared, Slot};
use crate::broker::caller::Caller;
use crate::net::lock;
use crate::net::own;
use crate::protocol::error_code::ErrorCode;

/// A rebalance waits at least this long for a member, whatever it asks for.
const SHORTEST_REBALANCE: Duration = Duration::from_millis(100);

impl Groups {
    /// JoinGroup: waits until the members of the group have joined, in the thread of the caller.
    pub fn join(&self, group: &str, caller: &Caller<'_>, mut join: Join) -> JoinAnswer {
        let member_id = join.member_id.clone();
        join.rebalance_timeout = join.rebalance_timeout.max(SHORTEST_REBALANCE);
        let answer = self.shared.check_join(group, &join).and_then(|()| {
            let create = join.member_id.is_empty();
            let Some(acted) = self.shared.act(group, create, |group, now| group.join(join, now))? else {
                return Err(ErrorCode::UNKNOWN_MEMBER_ID);
            };
            self.shared.answered(acted, caller, Group::take_joined, Group::withdraw_join)
        });
        answer.unwrap_or_else(|code| JoinAnswer::refused(code, &member_id))
    }

    /// SyncGroup: waits until the leader's assignment is stored, in the thread of the caller.
    pub fn sync(&self, group: &str, caller: &Caller<'_>, sync: Sync) -> SyncAnswer {
        let answer = self.shared.check_sync(group, &sync).and_then(|()| {
            let Some(acted) = self.shared.act(group, false, |group, now| group.sync(sync, now))? else {
                return Err(ErrorCode::UNKNOWN_MEMBER_ID);
            };
            self.shared.answered(acted, caller, Group::take_synced, Group::withdraw_sync)
        });
        answer.unwrap_or_else(SyncAnswer::refused)
    }

    /// Heartbeat.
    ///
    /// # Errors
    /// As [`Group::heartbeat`]; NOT_COORDINATOR once the broker stops.
    pub fn heartbeat(
        &self,
        group: &str,
        caller: &Caller<'_>,
        who: &Identity,
        generation: i32,
    ) -> Result<(), ErrorCode> {
        check_name(group)?;
        let connection = caller.connection;
        let home = own::is_ours(&caller.peer).then(own::process);
        let beat = |group: &mut Group, now| {
            group.heartbeat(who, generation, connection, now)?;
            group.lives_in(&who.member_id, home);
            Ok(())
        };
        self.shared.act(group, false, beat)?.ok_or(ErrorCode::UNKNOWN_MEMBER_ID)?.result
    }

    /// LeaveGroup: what became of each member, when the departure is stored as far as it has to be.
    ///
    /// # Errors
    /// NOT_COORDINATOR once the broker stops, COORDINATOR_NOT_AVAILABLE if it could not be stored.
    pub fn leave(&self, group: &str, members: &[Identity]) -> Result<Vec<ErrorCode>, ErrorCode> {
        check_name(group)?;
        let leave = |group: &mut Group, now| {
            members.iter().map(|who| group.leave(who, now).err().unwrap_or(ErrorCode::NONE)).collect()
        };
        let Some(acted) = self.shared.act(group, false, leave)? else {
            return Ok(vec![ErrorCode::UNKNOWN_MEMBER_ID; members.len()]);
        };
        self.shared.finish(&acted.slot, acted.saving)?;
        Ok(acted.result)
    }
}

/// Members need a group with a name.
fn check_name(group: &str) -> Result<(), ErrorCode> {
    let fits = !group.is_empty() && group.len() <= MAX_TEXT;
    if fits { Ok(()) } else { Err(ErrorCode::INVALID_GROUP_ID) }
}

impl Shared {
    fn check_join(&self, group: &str, join: &Join) -> Result<(), ErrorCode> {
        let texts = [&join.member_id, &join.fresh_id, &join.protocol_type].into_iter();
        let names = join.protocols.iter().map(|(name, _)| name);
        let bytes = protocols_bytes(&join.protocols);
        check_name(group)?;
        if !SESSION_TIMEOUTS.contains(&join.session_timeout) {
            Err(ErrorCode::INVALID_SESSION_TIMEOUT)
        } else if texts.chain(names).chain(&join.instance).any(|text| text.len() > MAX_TEXT) {
            Err(ErrorCode::INVALID_REQUEST)
        } else if self.store.has_failed() {
            // No assignment could be stored: a rebalance would only take from members what they have.
            Err(ErrorCode::COORDINATOR_NOT_AVAILABLE)
        } else {
            self.check_room(group, bytes, bytes)
        }
    }

    fn check_sync(&self, group: &str, sync: &Sync) -> Result<(), ErrorCode> {
        check_name(group)?;
        let sizes = sync.assignments.values().map(|assignment| assignment.len());
        let largest = sizes.clone().max().unwrap_or_default();
        self.check_room(&sync.member_id, largest, sizes.sum())
    }

    fn check_room(&self, who: &str, largest: usize, sum: usize) -> Result<(), ErrorCode> {
        if largest > MAX_MEMBER_BYTES {
            Err(ErrorCode::MESSAGE_TOO_LARGE)
        } else if self.bytes.load(Ordering::Relaxed).saturating_add(sum) > MAX_BYTES {
            log::warn!("{who}: refused, the members of all groups hold {MAX_BYTES} bytes already");
            Err(ErrorCode::GROUP_MAX_SIZE_REACHED)
        } else {
            Ok(())
        }
    }

    /// The answer of a step: at once when what it changed is stored, or awaited.
    ///
    /// # Errors
    /// Those of [`Shared::finish`] and [`Shared::wait`].
    fn answered<T>(
        &self,
        acted: Acted<Step<T>>,
        caller: &Caller<'_>,
        take: fn(&mut Group, Ticket) -> Option<T>,
        withdraw: fn(&mut Group, Ticket, Instant),
    ) -> Result<T, ErrorCode> {
        let stored = self.finish(&acted.slot, acted.saving);
        match acted.result {
            Step::Done(answer) => stored.map(|()| answer),
            Step::Wait(ticket) => self.wait(
                &acted.slot,
                caller,
                |group| take(group, ticket),
                |group, now| withdraw(group, ticket, now),
            ),
        }
    }

    /// Waits for an answer; `withdraw` is told when the caller is gone.
    ///
    /// # Errors
    /// NOT_COORDINATOR: the broker stops, or nobody is there to read it.
    fn wait<T>(
        &self,
        slot: &Slot,
        caller: &Caller<'_>,
        take: impl Fn(&mut Group) -> Option<T>,
        withdraw: impl FnOnce(&mut Group, Instant),
    ) -> Result<T, ErrorCode> {
        let mut asked = Instant::now();
        let mut group = lock(&slot.group);
        loop {
            if let Some(answer) = take(&mut group) {
                return Ok(answer);
            }
            if self.is_stopping() {
                return Err(ErrorCode::NOT_COORDINATOR);
            }
            group = slot.changed.wait_timeout(group, SLICE).unwrap_or_else(PoisonError::into_inner).0;
            if asked.elapsed() < SLICE {
                continue;
            }
            drop(group);
            let gone = (caller.gone)();
            asked = Instant::now();
            group = lock(&slot.group);
            if gone && !self.is_stopping() {
                // Nothing comes of it that anybody would wait to see stored.
                let _saving = self.change(slot, &mut group, withdraw).1;
                return Err(ErrorCode::NOT_COORDINATOR);
            }
        }
    }
}
