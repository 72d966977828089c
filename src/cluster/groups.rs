//! The groups of a cluster as an onlooker sees them: which there are, who is in them, what they have committed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use kafka_protocol::messages::describe_groups_response::DescribedGroupMember;
use kafka_protocol::messages::{DescribeGroupsRequest, ListGroupsRequest, OffsetFetchRequest};

use super::coordinator::Coordinator;
use super::error::{Error, Result};
use super::metadata::Cluster;
use super::offsets::Offsets;
use super::{READ_MARGIN, in_time};
use crate::protocol::assignment::Assignment;
use crate::protocol::error_code::ErrorCode;

/// The client id of who looks on.
const ONLOOKER: &str = "point-to-point";

/// The state that a coordinator gives to a group that it cannot describe: one that is not there, or whose members use
/// the protocol of KIP-848.
const DEAD: &str = "Dead";

/// One group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// Its name.
    pub name: String,
    /// Its state in the coordinator's words: `Stable`, `Empty`, ...
    pub state: String,
    /// Its members, by client id and then member id; `None` where the coordinator does not tell: they use a newer
    /// protocol than the classic one.
    pub members: Option<Vec<Member>>,
    /// The next offset to handle, by topic and partition, where one is committed.
    pub committed: BTreeMap<(String, i32), i64>,
}

/// One member of a group.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Member {
    /// Its client's name.
    pub client_id: String,
    /// The id that the coordinator gave it.
    pub member_id: String,
    /// The address it connects from.
    pub host: String,
    /// What it owns.
    pub partitions: BTreeSet<(String, i32)>,
}

/// How far a group is with one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress<'a> {
    /// Topic and partition.
    pub place: &'a (String, i32),
    /// The next offset to handle, if one is committed.
    pub committed: Option<i64>,
    /// The offset after the last record, if it is known.
    pub end: Option<i64>,
    /// How much there is between the two, where both are known.
    pub lag: Option<i64>,
    /// The member that owns it.
    pub owner: Option<&'a Member>,
}

impl Group {
    /// What it has still to handle of `others` and of every partition that a member owns or something is committed
    /// of, in order.
    pub fn progress<'a>(
        &'a self,
        others: impl IntoIterator<Item = &'a (String, i32)>,
        ends: &Offsets,
    ) -> Vec<Progress<'a>> {
        let members = || self.members.iter().flatten();
        let owned = members().flat_map(|member| &member.partitions);
        let places: BTreeSet<&(String, i32)> = owned.chain(self.committed.keys()).chain(others).collect();
        let progress = |place| {
            let (committed, end) = (self.committed.get(place).copied(), ends.get(place).copied());
            let lag = committed.zip(end).map(|(committed, end)| (end - committed).max(0));
            let owner = members().find(|member| member.partitions.contains(place));
            Progress { place, committed, end, lag, owner }
        };
        places.into_iter().map(progress).collect()
    }
}

/// All groups of the cluster, by name.
///
/// # Errors
/// A broker does not answer until `deadline`, or refuses.
pub fn all(cluster: &Arc<Cluster>, deadline: Instant) -> Result<Vec<Group>> {
    let mut states: BTreeMap<String, String> = BTreeMap::new();
    for node in cluster.nodes() {
        states.extend(in_time(cluster, deadline, || listed_by(cluster, node, deadline))?);
    }
    states.into_iter().map(|(name, state)| seen(cluster, &name, || Ok(Some(state)), deadline)).collect()
}

/// The group `name`, whether it is there or not.
///
/// # Errors
/// As [`all`].
pub fn one(cluster: &Arc<Cluster>, name: &str, deadline: Instant) -> Result<Group> {
    let listed = || {
        for node in cluster.nodes() {
            let groups = in_time(cluster, deadline, || listed_by(cluster, node, deadline))?;
            if let Some((_, state)) = groups.into_iter().find(|(listed, _)| listed == name) {
                return Ok(Some(state));
            }
        }
        Ok(None)
    };
    seen(cluster, name, listed, deadline)
}

/// A group as its coordinator tells of it; `listed` says in which state it is listed, if at all.
fn seen(
    cluster: &Arc<Cluster>,
    name: &str,
    listed: impl FnOnce() -> Result<Option<String>>,
    deadline: Instant,
) -> Result<Group> {
    let mut coordinator = Coordinator::new(cluster.clone(), name, ONLOOKER);
    let mut group = in_time(cluster, deadline, || coordinator.described(name, deadline))?;
    if group.state == DEAD
        && let Some(state) = listed()?.filter(|state| state != DEAD)
    {
        (group.state, group.members) = (state, None);
    }
    group.committed = in_time(cluster, deadline, || coordinator.all_committed(deadline))?;
    Ok(group)
}

/// The groups that a node coordinates, with their states.
fn listed_by(cluster: &Cluster, node: i32, deadline: Instant) -> Result<Vec<(String, String)>> {
    let limit = cluster.deadline(deadline);
    let mut connection = cluster.connect(node, ONLOOKER, limit)?;
    let answer = connection.call(&ListGroupsRequest::default(), limit + READ_MARGIN)?;
    let what = || format!("the groups of node {node}");
    ErrorCode(answer.error_code).ok().map_err(|code| Error::refused(what(), code))?;
    let names = answer.groups.iter();
    Ok(names.map(|group| (group.group_id.to_string(), group.group_state.to_string())).collect())
}

impl Coordinator {
    /// The group `name`, which is this coordinator's, without what it has committed.
    fn described(&mut self, name: &str, deadline: Instant) -> Result<Group> {
        let request = DescribeGroupsRequest::default().with_groups(vec![self.group_id()]);
        let answer = self.call_while_running(&request, deadline)?;
        let Some(group) = answer.groups.into_iter().next() else {
            return Err(Error::refused(format!("group {name}"), ErrorCode::UNKNOWN_SERVER_ERROR));
        };
        self.check("describing it", group.error_code)?;
        let mut members: Vec<Member> = group.members.iter().map(member).collect();
        members.sort();
        let state = group.group_state.to_string();
        Ok(Group { name: name.to_owned(), state, members: Some(members), committed: BTreeMap::new() })
    }

    /// Everything that the group has committed.
    fn all_committed(&mut self, deadline: Instant) -> Result<BTreeMap<(String, i32), i64>> {
        let request = OffsetFetchRequest::default().with_group_id(self.group_id()).with_topics(None);
        let answer = self.call_while_running(&request, deadline)?;
        self.check("committed offsets", answer.error_code)?;
        let mut committed = BTreeMap::new();
        for topic in &answer.topics {
            for partition in &topic.partitions {
                self.check("committed offsets", partition.error_code)?;
                if partition.committed_offset >= 0 {
                    let place = (topic.name.to_string(), partition.partition_index);
                    committed.insert(place, partition.committed_offset);
                }
            }
        }
        Ok(committed)
    }
}

fn member(member: &DescribedGroupMember) -> Member {
    // Who has no assignment yet, or one of another kind of group, owns no partition.
    let assignment = Assignment::decode(&member.member_assignment).unwrap_or_default();
    let partitions = assignment.partitions.into_iter();
    Member {
        client_id: member.client_id.to_string(),
        member_id: member.member_id.to_string(),
        host: member.client_host.trim_start_matches('/').to_owned(),
        partitions: partitions
            .flat_map(|(topic, ids)| ids.into_iter().map(move |id| (topic.clone(), id)))
            .collect(),
    }
}
