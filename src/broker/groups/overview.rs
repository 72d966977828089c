//! ListGroups, DescribeGroups, DeleteGroups.

use std::sync::Arc;

use bytes::Bytes;

use super::group::{Group, State};
use super::member::Member;
use super::{Groups, store_error};
use crate::net::lock;
use crate::protocol::error_code::ErrorCode;

/// A group in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its id.
    pub group: Arc<str>,
    /// What kind of group it is; empty for one that only has offsets.
    pub protocol_type: Arc<str>,
    /// Where it stands.
    pub state: State,
}

/// A group with its members.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Described {
    /// Where it stands; Dead for one that there is not.
    pub state: State,
    /// What kind of group it is.
    pub protocol_type: Arc<str>,
    /// The protocol that was chosen; empty unless the group is stable.
    pub protocol: Arc<str>,
    /// Its members.
    pub members: Vec<DescribedMember>,
}

/// A member of a described group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DescribedMember {
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
    /// What it was assigned; empty unless the group is stable.
    pub assignment: Bytes,
}

impl Groups {
    /// ListGroups: all groups, by name.
    ///
    /// # Errors
    /// COORDINATOR_NOT_AVAILABLE once the broker stops.
    pub fn list(&self) -> Result<Vec<Listed>, ErrorCode> {
        self.check_serving().map_err(|_| ErrorCode::COORDINATOR_NOT_AVAILABLE)?;
        let listed = |group: &Group| Listed {
            group: group.name.clone(),
            protocol_type: group.protocol_type.clone().unwrap_or_default(),
            state: group.state,
        };
        let mut groups: Vec<Listed> =
            self.shared.all().iter().map(|slot| listed(&lock(&slot.group))).collect();
        groups.retain(|group| group.state != State::Dead);
        groups.sort_by(|a, b| a.group.cmp(&b.group));
        Ok(groups)
    }

    /// DescribeGroups, for one group.
    ///
    /// # Errors
    /// NOT_COORDINATOR once the broker stops.
    pub fn describe(&self, group: &str) -> Result<Described, ErrorCode> {
        let described = self.shared.act(group, false, |group, _| group.describe())?;
        Ok(described.map_or_else(
            || Described {
                state: State::Dead,
                protocol_type: "".into(),
                protocol: "".into(),
                members: Vec::new(),
            },
            |acted| acted.result,
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
            if group.state() != State::Empty {
                return Err(ErrorCode::NON_EMPTY_GROUP);
            }
            group.kill();
            lock(&shared.slots).remove(&group.name);
            Ok(shared.store.delete_group(&group.name))
        };
        let acted = shared.act(group, false, delete)?.ok_or(ErrorCode::GROUP_ID_NOT_FOUND)?;
        acted.result?.wait().map_err(store_error)
    }
}

impl Group {
    fn describe(&self) -> Described {
        let stable = self.state == State::Stable;
        let protocol = self.protocol.clone().filter(|_| stable).unwrap_or_default();
        let described = |(id, member): (&Arc<str>, &Member)| DescribedMember {
            id: id.clone(),
            instance: member.instance.clone(),
            client_id: member.client_id.clone(),
            host: member.host.clone(),
            metadata: member.metadata(&protocol).cloned().unwrap_or_default(),
            assignment: if stable { member.assignment.clone() } else { Bytes::new() },
        };
        Described {
            state: self.state,
            protocol_type: self.protocol_type.clone().unwrap_or_default(),
            members: self.members.iter().map(described).collect(),
            protocol,
        }
    }
}
