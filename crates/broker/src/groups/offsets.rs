//! Committed offsets of groups: OffsetCommit, OffsetFetch, OffsetDelete.

use std::sync::Arc;

use super::group::{Group, GroupState};
use super::limits::MAX_OFFSET_METADATA;
use super::liveness::MemberIdentity;
use super::{CoordinatorState, GroupCoordinator, store_error};
use crate::request_context::RequestContext;
use crate::storage::{CommittedOffset, Pending};
use protocol::assignment::Subscription;
use protocol::error_code::ErrorCode;

/// The topic and the partition of a committed offset.
pub type OffsetKey = (Arc<str>, i32);

/// The first version of OffsetCommit that tells a group that does not exist from a generation that is over
/// (KIP-848).
const GROUP_NOT_FOUND: i16 = 9;

impl GroupCoordinator {
    /// OffsetCommit: the result for each offset, in order, when those without an error are stored.
    pub fn commit(
        &self,
        group: &str,
        context: &RequestContext<'_>,
        identity: &MemberIdentity,
        generation: i32,
        offsets: &[(OffsetKey, CommittedOffset)],
    ) -> Vec<ErrorCode> {
        let mut codes: Vec<ErrorCode> =
            offsets.iter().map(|((topic, partition), _)| self.shared.known(topic, *partition)).collect();
        if let Err(code) = self.commit_known(group, context, (identity, generation), offsets, &mut codes) {
            codes.iter_mut().filter(|known| known.is_ok()).for_each(|known| *known = code);
        }
        codes
    }

    /// Stores the offsets without an error, after their own checks.
    fn commit_known(
        &self,
        group: &str,
        context: &RequestContext<'_>,
        (identity, generation): (&MemberIdentity, i32),
        offsets: &[(OffsetKey, CommittedOffset)],
        codes: &mut [ErrorCode],
    ) -> Result<(), ErrorCode> {
        if group.is_empty() {
            return Err(ErrorCode::INVALID_GROUP_ID);
        }
        if !codes.iter().any(|code| code.is_ok()) {
            return Ok(());
        }
        let store = &self.shared.store;
        let commit = |group: &mut Group, now| -> Result<Option<Pending<()>>, ErrorCode> {
            group.commit(identity, generation, context.connection, now)?;
            let mut accepted = Vec::new();
            for (((topic, partition), offset), code) in offsets.iter().zip(&mut *codes) {
                if code.is_ok() {
                    *code = check_offset(offset);
                }
                if code.is_ok() {
                    accepted.push((topic.clone(), *partition, offset.clone()));
                }
            }
            // Under the group's lock, so that the commit of a successor is stored later.
            Ok((!accepted.is_empty()).then(|| store.commit_offsets(&group.name, accepted)))
        };
        let applied = self.shared.with_group(group, generation < 0, commit)?;
        let no_group = match context.version {
            ..GROUP_NOT_FOUND => ErrorCode::ILLEGAL_GENERATION,
            _ => ErrorCode::GROUP_ID_NOT_FOUND,
        };
        match applied.ok_or(no_group)?.result? {
            Some(pending) => pending.wait().map_err(store_error),
            None => Ok(()),
        }
    }

    /// OffsetFetch: the committed offset of one partition, in any state of the group.
    pub fn committed(&self, group: &str, topic: &str, partition: i32) -> Option<CommittedOffset> {
        self.shared.store.committed(group, topic, partition)
    }

    /// OffsetFetch: all committed offsets of the group.
    pub fn all_committed(&self, group: &str) -> Vec<(Arc<str>, i32, CommittedOffset)> {
        self.shared.store.all_committed(group)
    }

    /// Checks that this process still is the coordinator.
    ///
    /// # Errors
    /// NOT_COORDINATOR once the broker stops.
    pub fn check_is_coordinator(&self) -> Result<(), ErrorCode> {
        if self.shared.is_stopping() { Err(ErrorCode::NOT_COORDINATOR) } else { Ok(()) }
    }

    /// OffsetDelete: the result for each partition, in order.
    ///
    /// # Errors
    /// GROUP_ID_NOT_FOUND; NON_EMPTY_GROUP for a group with members that are no consumers; errors of the
    /// store.
    pub fn delete_offsets(&self, group: &str, partitions: &[OffsetKey]) -> Result<Vec<ErrorCode>, ErrorCode> {
        let store = &self.shared.store;
        let delete = |group: &mut Group, _| -> Result<(Vec<ErrorCode>, Option<Pending<()>>), ErrorCode> {
            let subscribed = group.subscribed()?;
            let code = |(topic, partition): &OffsetKey| match self.shared.known(topic, *partition) {
                ErrorCode::NONE if subscribed.contains(topic) => ErrorCode::GROUP_SUBSCRIBED_TO_TOPIC,
                code => code,
            };
            let codes: Vec<ErrorCode> = partitions.iter().map(code).collect();
            let free = partitions.iter().zip(&codes).filter(|(_, code)| code.is_ok());
            let free: Vec<OffsetKey> = free.map(|(partition, _)| partition.clone()).collect();
            let pending = (!free.is_empty()).then(|| store.delete_offsets(&group.name, free));
            Ok((codes, pending))
        };
        let applied = self.shared.with_group(group, false, delete)?;
        let (codes, pending) = applied.ok_or(ErrorCode::GROUP_ID_NOT_FOUND)?.result?;
        if let Some(pending) = pending {
            pending.wait().map_err(store_error)?;
        }
        Ok(codes)
    }
}

impl CoordinatorState {
    fn known(&self, topic: &str, partition: i32) -> ErrorCode {
        match self.store.topic(topic) {
            Some(topic) if (0..topic.partitions).contains(&partition) => ErrorCode::NONE,
            _ => ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
        }
    }
}

/// The topics that members subscribe to.
enum Subscribed {
    Topics(Vec<String>),
    /// All topics, as the subscription of a member cannot be decoded.
    Any,
}

impl Subscribed {
    fn contains(&self, topic: &str) -> bool {
        match self {
            Subscribed::Topics(topics) => topics.iter().any(|subscribed| subscribed == topic),
            Subscribed::Any => true,
        }
    }
}

impl Group {
    /// The subscriptions of all members, in all their protocols.
    fn subscribed(&self) -> Result<Subscribed, ErrorCode> {
        let mut topics = Vec::new();
        if self.state != GroupState::Empty && self.protocol_type.as_deref() != Some("consumer") {
            return Err(ErrorCode::NON_EMPTY_GROUP);
        }
        for (_, metadata) in self.members.values().flat_map(|member| &member.protocols) {
            match Subscription::decode(metadata) {
                Ok(subscription) => topics.extend(subscription.topics),
                Err(_) => return Ok(Subscribed::Any),
            }
        }
        Ok(Subscribed::Topics(topics))
    }
}

/// Any offset is taken, also a negative one, as in Kafka: some clients' admins commit -1 or -2, after which
/// consumers begin where their own reset says.
fn check_offset(offset: &CommittedOffset) -> ErrorCode {
    match offset.metadata.len() {
        0..=MAX_OFFSET_METADATA => ErrorCode::NONE,
        _ => ErrorCode::OFFSET_METADATA_TOO_LARGE,
    }
}
