//! Delayed operations: JoinGroup and SyncGroup wait for other members, on the thread of their connection.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::group::{Group, JoinAnswer, Operation, SyncAnswer};
use super::join::JoinRequest;
use super::limits::{
    CONNECTION_CHECK_INTERVAL, MAX_MEMBER_BYTES, MAX_NAME_BYTES, MAX_TOTAL_BYTES, SESSION_TIMEOUTS,
    check_group_id,
};
use super::member::{OperationId, protocols_bytes};
use super::sync::SyncRequest;
use super::{Applied, CoordinatorState, GroupCoordinator, GroupEntry};
use crate::request_context::RequestContext;
use net::sync::{lock, wait_timeout};
use protocol::error_code::ErrorCode;

/// The shortest rebalance timeout: shorter ones are raised to it.
const SHORTEST_REBALANCE: Duration = Duration::from_millis(100);

impl GroupCoordinator {
    /// Handles a JoinGroup request: delays it, on the thread of its connection, until the members of the
    /// group have joined.
    pub fn join(&self, group: &str, context: &RequestContext<'_>, mut join: JoinRequest) -> JoinAnswer {
        let member_id = join.member_id.clone();
        join.rebalance_timeout = join.rebalance_timeout.max(SHORTEST_REBALANCE);
        let answer = self.shared.check_join(group, &join).and_then(|()| {
            let create = join.member_id.is_empty();
            let Some(applied) = self.shared.with_group(group, create, |group, now| group.join(join, now))?
            else {
                return Err(ErrorCode::UNKNOWN_MEMBER_ID);
            };
            self.shared.complete(applied, context, Group::take_joined, Group::withdraw_join)
        });
        answer.unwrap_or_else(|code| JoinAnswer::refused(code, &member_id))
    }

    /// Handles a SyncGroup request: answers at once in a stable group, else delays it, on the thread of its
    /// connection, until the leader's assignment is stored.
    pub fn sync(&self, group: &str, context: &RequestContext<'_>, sync: SyncRequest) -> SyncAnswer {
        let answer = self.shared.check_sync(group, &sync).and_then(|()| {
            let Some(applied) = self.shared.with_group(group, false, |group, now| group.sync(sync, now))?
            else {
                return Err(ErrorCode::UNKNOWN_MEMBER_ID);
            };
            self.shared.complete(applied, context, Group::take_synced, Group::withdraw_sync)
        });
        answer.unwrap_or_else(SyncAnswer::refused)
    }
}

impl CoordinatorState {
    fn check_join(&self, group: &str, join: &JoinRequest) -> Result<(), ErrorCode> {
        let texts = [&join.member_id, &join.new_member_id, &join.protocol_type].into_iter();
        let names = join.protocols.iter().map(|(name, _)| name);
        let bytes = protocols_bytes(&join.protocols);
        check_group_id(group)?;
        if !SESSION_TIMEOUTS.contains(&join.session_timeout) {
            Err(ErrorCode::INVALID_SESSION_TIMEOUT)
        } else if texts.chain(names).chain(&join.instance).any(|text| text.len() > MAX_NAME_BYTES) {
            Err(ErrorCode::INVALID_REQUEST)
        } else if self.store.has_failed() {
            // No assignment could be stored: a rebalance would only revoke the partitions of members.
            Err(ErrorCode::COORDINATOR_NOT_AVAILABLE)
        } else {
            self.check_member_bytes(group, bytes, bytes)
        }
    }

    fn check_sync(&self, group: &str, sync: &SyncRequest) -> Result<(), ErrorCode> {
        check_group_id(group)?;
        let sizes = sync.assignments.values().map(|assignment| assignment.len());
        let largest = sizes.clone().max().unwrap_or_default();
        self.check_member_bytes(&sync.member_id, largest, sizes.sum())
    }

    fn check_member_bytes(&self, requester: &str, largest: usize, sum: usize) -> Result<(), ErrorCode> {
        if largest > MAX_MEMBER_BYTES {
            Err(ErrorCode::MESSAGE_TOO_LARGE)
        } else if self.bytes.load(Ordering::Relaxed).saturating_add(sum) > MAX_TOTAL_BYTES {
            log::warn!(
                "{requester}: refused, the members of all groups hold {MAX_TOTAL_BYTES} bytes already"
            );
            Err(ErrorCode::GROUP_MAX_SIZE_REACHED)
        } else {
            Ok(())
        }
    }

    /// The answer of an operation, once its change is stored, or once other members have completed it.
    ///
    /// # Errors
    /// The errors of [`CoordinatorState::await_save`] and [`CoordinatorState::wait_for_answer`].
    fn complete<T>(
        &self,
        applied: Applied<Operation<T>>,
        context: &RequestContext<'_>,
        take: fn(&mut Group, OperationId) -> Option<T>,
        withdraw: fn(&mut Group, OperationId, Instant),
    ) -> Result<T, ErrorCode> {
        let stored = self.await_save(&applied.entry, applied.pending_save);
        match applied.result {
            Operation::Completed(answer) => stored.map(|()| answer),
            Operation::Delayed(operation) => self.wait_for_answer(
                &applied.entry,
                context,
                |group| take(group, operation),
                |group, now| withdraw(group, operation, now),
            ),
        }
    }

    /// Waits for an answer; calls `withdraw` when the client has disconnected.
    ///
    /// # Errors
    /// NOT_COORDINATOR: the broker stops, or the client has disconnected.
    fn wait_for_answer<T>(
        &self,
        entry: &GroupEntry,
        context: &RequestContext<'_>,
        take: impl Fn(&mut Group) -> Option<T>,
        withdraw: impl FnOnce(&mut Group, Instant),
    ) -> Result<T, ErrorCode> {
        let mut last_checked = Instant::now();
        let mut group = lock(&entry.group);
        loop {
            if let Some(answer) = take(&mut group) {
                return Ok(answer);
            }
            if self.is_stopping() {
                return Err(ErrorCode::NOT_COORDINATOR);
            }
            group = wait_timeout(&entry.changed, group, CONNECTION_CHECK_INTERVAL);
            if last_checked.elapsed() < CONNECTION_CHECK_INTERVAL {
                continue;
            }
            drop(group);
            let gone = (context.gone)();
            last_checked = Instant::now();
            group = lock(&entry.group);
            if gone && !self.is_stopping() {
                // No client waits for this write.
                let _pending_save = self.with_locked_group(entry, &mut group, withdraw).1;
                return Err(ErrorCode::NOT_COORDINATOR);
            }
        }
    }
}
