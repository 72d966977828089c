//! ListGroups, DescribeGroups, DeleteGroups.

use std::sync::Arc;

use bytes::Bytes;

use super::group::{Group, GroupState};
use super::member::Member;
use super::{GroupCoordinator, store_error};
use net::sync::lock;
use protocol::error_code::ErrorCode;

/// A group in the answer to ListGroups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupListing {
    /// Its id.
    pub group: Arc<str>,
    /// Its protocol type; empty for a group that only has offsets.
    pub protocol_type: Arc<str>,
    /// Its state.
    pub state: GroupState,
}

/// A group in the answer to DescribeGroups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupDescription {
    /// Its state; Dead for a group that does not exist.
    pub state: GroupState,
    /// The protocol type: `consumer`, `connect`, …
    pub protocol_type: Arc<str>,
    /// The protocol that was chosen; empty unless the group is stable.
    pub protocol: Arc<str>,
    /// Its members.
    pub members: Vec<MemberDescription>,
}

/// A member of a described group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberDescription {
    /// Its id.
    pub id: Arc<str>,
    /// Its instance id.
    pub instance: Option<Arc<str>>,
    /// The client id that it joined with.
    pub client_id: Arc<str>,
    /// Its address.
    pub host: Arc<str>,
    /// Its metadata for the protocol that was chosen; empty unless the group is stable.
    pub metadata: Bytes,
    /// Its assignment; empty unless the group is stable.
    pub assignment: Bytes,
}

impl GroupCoordinator {
    /// ListGroups: all groups, by name.
    ///
    /// # Errors
    /// COORDINATOR_NOT_AVAILABLE once the broker stops.
    pub fn list(&self) -> Result<Vec<GroupListing>, ErrorCode> {
        self.check_is_coordinator().map_err(|_| ErrorCode::COORDINATOR_NOT_AVAILABLE)?;
        let listed = |group: &Group| GroupListing {
            group: group.name.clone(),
            protocol_type: group.protocol_type.clone().unwrap_or_default(),
            state: group.state,
        };
        let mut groups: Vec<GroupListing> =
            self.shared.all().iter().map(|entry| listed(&lock(&entry.group))).collect();
        groups.retain(|group| group.state != GroupState::Dead);
        groups.sort_by(|a, b| a.group.cmp(&b.group));
        Ok(groups)
    }

    /// DescribeGroups, for one group.
    ///
    /// # Errors
    /// NOT_COORDINATOR once the broker stops.
    pub fn describe(&self, group: &str) -> Result<GroupDescription, ErrorCode> {
        let described = self.shared.with_group(group, false, |group, _| group.describe())?;
        Ok(described.map_or_else(
            || GroupDescription {
                state: GroupState::Dead,
                protocol_type: "".into(),
                protocol: "".into(),
                members: Vec::new(),
            },
            |applied| applied.result,
        ))
    }

    /// DeleteGroups, for one group: its state and its committed offsets.
    ///
    /// # Errors
    /// GROUP_ID_NOT_FOUND, NON_EMPTY_GROUP; COORDINATOR_NOT_AVAILABLE if it could not be stored,
    /// NOT_COORDINATOR once the broker stops.
    pub fn delete(&self, group: &str) -> Result<(), ErrorCode> {
        let shared = &self.shared;
        let delete = |group: &mut Group, _| {
            if group.state() != GroupState::Empty {
                return Err(ErrorCode::NON_EMPTY_GROUP);
            }
            group.mark_dead();
            lock(&shared.entries).remove(&group.name);
            Ok(shared.store.delete_group(&group.name))
        };
        let applied = shared.with_group(group, false, delete)?.ok_or(ErrorCode::GROUP_ID_NOT_FOUND)?;
        applied.result?.wait().map_err(store_error)
    }
}

impl Group {
    fn describe(&self) -> GroupDescription {
        let stable = self.state == GroupState::Stable;
        let protocol = self.protocol.clone().filter(|_| stable).unwrap_or_default();
        let described = |(id, member): (&Arc<str>, &Member)| MemberDescription {
            id: id.clone(),
            instance: member.instance.clone(),
            client_id: member.client_id.clone(),
            host: member.host.clone(),
            metadata: member.metadata(&protocol).cloned().unwrap_or_default(),
            assignment: if stable { member.assignment.clone() } else { Bytes::new() },
        };
        GroupDescription {
            state: self.state,
            protocol_type: self.protocol_type.clone().unwrap_or_default(),
            members: self.members.iter().map(described).collect(),
            protocol,
        }
    }
}
