//! The groups of a cluster as an observer sees them: their members and what they have committed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use kafka_protocol::messages::describe_groups_response::DescribedGroupMember;
use kafka_protocol::messages::{ApiKey, DescribeGroupsRequest, ListGroupsRequest, OffsetFetchRequest};

use crate::LOOK_UPS;
use crate::coordinator::{Committed, Coordinator};
use crate::error::{Error, Result};
use crate::metadata::Cluster;
use crate::offsets::Offsets;
use crate::versioned_request::VersionedRequest;
use crate::{READ_MARGIN, in_time};
use protocol::TopicPartition;
use protocol::assignment::{Assignment, Subscription};
use protocol::error_code::ErrorCode;

impl VersionedRequest for DescribeGroupsRequest {
    const API: ApiKey = ApiKey::DescribeGroups;
    const VERSION: i16 = 5;
}

impl VersionedRequest for ListGroupsRequest {
    const API: ApiKey = ApiKey::ListGroups;
    const VERSION: i16 = 4;
}

/// The state that a coordinator gives to a group that it cannot describe: one that is not there, or whose
/// members use the protocol of KIP-848.
const DEAD: &str = "Dead";

/// The state in which members have their assignments, and the coordinator tells what they have joined with.
const STABLE: &str = "Stable";

/// A group with its members and its committed offsets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// Its name.
    pub name: String,
    /// Its state in the coordinator's words: `Stable`, `Empty`, ...
    pub state: String,
    /// Its members, by client id and then member id; `None` where the coordinator does not tell: they use a
    /// newer protocol than the classic one.
    pub members: Option<Vec<Member>>,
    /// The next offset to handle with what was noted beside it, by topic and partition, where one is
    /// committed.
    pub committed: BTreeMap<TopicPartition, Committed>,
}

/// A member of a group.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Member {
    /// Its client's name.
    pub client_id: String,
    /// The id that the coordinator gave it.
    pub member_id: String,
    /// The address it connects from.
    pub host: String,
    /// The partitions that it owns.
    pub partitions: BTreeSet<TopicPartition>,
    /// What it tells of itself ([`GroupSettings::user_data`](crate::group_member::GroupSettings::user_data));
    /// empty while the group is not [stable](Group::is_stable).
    pub user_data: Vec<u8>,
}

/// How far a group is with one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress<'a> {
    /// Topic and partition.
    pub place: &'a TopicPartition,
    /// The next offset to handle, if one is committed.
    pub committed: Option<i64>,
    /// What was noted beside it; empty if nothing was.
    pub metadata: &'a str,
    /// The offset of the first record that is kept, if it is known.
    pub start: Option<i64>,
    /// The offset after the last record, if it is known.
    pub end: Option<i64>,
    /// How much there is from the committed offset to the end, where all three are known and it is not beyond
    /// the end. What was removed below the first record is no part of it: nobody will handle it.
    pub lag: Option<i64>,
    /// The member that owns it.
    pub owner: Option<&'a Member>,
}

impl Group {
    /// Whether the coordinator tells all of its members: it is not between two assignments.
    pub fn is_stable(&self) -> bool {
        self.state == STABLE
    }

    /// The group's progress in `others` and in every partition that a member owns or that has a committed
    /// offset, in order.
    pub fn progress<'a>(
        &'a self,
        others: impl IntoIterator<Item = &'a TopicPartition>,
        starts: &Offsets,
        ends: &Offsets,
    ) -> Vec<Progress<'a>> {
        let members = || self.members.iter().flatten();
        let owned = members().flat_map(|member| &member.partitions);
        let places: BTreeSet<&TopicPartition> = owned.chain(self.committed.keys()).chain(others).collect();
        let progress = |place| {
            let found = self.committed.get(place);
            let metadata = found.map_or("", |found| found.metadata.as_str());
            let (start, end) = (starts.get(place).copied(), ends.get(place).copied());
            let committed = found.map(|found| found.offset);
            let next = committed.zip(start).map(|(committed, start)| committed.max(start));
            let lag = next.zip(end).and_then(|(next, end)| (next <= end).then(|| end.saturating_sub(next)));
            let owner = members().find(|member| member.partitions.contains(place));
            Progress { place, committed, metadata, start, end, lag, owner }
        };
        places.into_iter().map(progress).collect()
    }
}

/// The names of all groups of the cluster, with their states.
///
/// # Errors
/// A broker of the cluster does not answer until `deadline`, or refuses.
pub fn names(cluster: &Cluster, deadline: Instant) -> Result<BTreeMap<String, String>> {
    let mut listed: BTreeMap<i32, Vec<(String, String)>> = BTreeMap::new();
    in_time(cluster, deadline, || {
        for node in cluster.nodes() {
            if listed.contains_key(&node) {
                continue;
            }
            let groups = listed_by(cluster, node, deadline).inspect_err(|_| {
                // It may have died: the others say who is there now.
                let others = cluster.describe(Some(&[]), cluster.deadline(deadline));
                others.err().into_iter().for_each(|error| log::debug!("the brokers: {error}"));
            })?;
            listed.insert(node, groups);
        }
        Ok(())
    })?;
    Ok(listed.into_values().flatten().collect())
}

/// The groups with these names, which are in these states.
///
/// # Errors
/// As [`names`], for any of them.
pub fn these(
    cluster: &Arc<Cluster>,
    names: BTreeMap<String, String>,
    deadline: Instant,
) -> Result<Vec<Group>> {
    names.into_iter().map(|(name, state)| seen(cluster, &name, || Ok(Some(state)), deadline)).collect()
}

/// All groups of the cluster, by name.
///
/// # Errors
/// As [`names`].
pub fn all(cluster: &Arc<Cluster>, deadline: Instant) -> Result<Vec<Group>> {
    these(cluster, names(cluster, deadline)?, deadline)
}

/// The group `name`, whether it is there or not.
///
/// # Errors
/// As [`all`].
pub fn one(cluster: &Arc<Cluster>, name: &str, deadline: Instant) -> Result<Group> {
    seen(cluster, name, || listed(cluster, name, deadline), deadline)
}

/// The group `name` without what it has committed, whether it is there or not.
///
/// # Errors
/// As [`all`].
pub fn members_of(cluster: &Arc<Cluster>, name: &str, deadline: Instant) -> Result<Group> {
    let mut coordinator = Coordinator::looking_on(cluster.clone(), name, LOOK_UPS);
    described(cluster, &mut coordinator, name, || listed(cluster, name, deadline), deadline)
}

/// The state in which the group `name` is listed, if it is.
fn listed(cluster: &Arc<Cluster>, name: &str, deadline: Instant) -> Result<Option<String>> {
    Ok(names(cluster, deadline)?.remove(name))
}

/// A group as its coordinator tells of it; `listed` says in which state it is listed, if at all.
fn seen(
    cluster: &Arc<Cluster>,
    name: &str,
    listed: impl FnOnce() -> Result<Option<String>>,
    deadline: Instant,
) -> Result<Group> {
    let mut coordinator = Coordinator::looking_on(cluster.clone(), name, LOOK_UPS);
    let mut group = described(cluster, &mut coordinator, name, listed, deadline)?;
    group.committed = in_time(cluster, deadline, || coordinator.all_committed(deadline))?;
    Ok(group)
}

/// The same without what it has committed.
fn described(
    cluster: &Cluster,
    coordinator: &mut Coordinator,
    name: &str,
    listed: impl FnOnce() -> Result<Option<String>>,
    deadline: Instant,
) -> Result<Group> {
    let mut group = in_time(cluster, deadline, || coordinator.described(name, deadline))?;
    if group.state == DEAD
        && let Some(state) = listed()?.filter(|state| state != DEAD)
    {
        (group.state, group.members) = (state, None);
    }
    Ok(group)
}

/// The groups that a node coordinates, with their states.
fn listed_by(cluster: &Cluster, node: i32, deadline: Instant) -> Result<Vec<(String, String)>> {
    let limit = cluster.deadline(deadline);
    let mut connection = cluster.connect(node, LOOK_UPS, limit)?;
    connection.check_offers::<ListGroupsRequest>()?;
    let answer = connection.call(&ListGroupsRequest::default(), limit + READ_MARGIN)?;
    let refused = |code| Error::refused(connection.context::<ListGroupsRequest>(), code);
    ErrorCode(answer.error_code).ok().map_err(refused)?;
    let names = answer.groups.iter();
    Ok(names.map(|group| (group.group_id.to_string(), group.group_state.to_string())).collect())
}

impl Coordinator {
    /// The group `name`, which is this coordinator's, without what it has committed.
    fn described(&mut self, name: &str, deadline: Instant) -> Result<Group> {
        let request = DescribeGroupsRequest::default().with_groups(vec![self.group_id()]);
        let answer = self.call_while_running(&request, deadline)?;
        let Some(group) = answer.groups.into_iter().next() else {
            return Err(Error::refused(
                self.context::<DescribeGroupsRequest>(),
                ErrorCode::UNKNOWN_SERVER_ERROR,
            ));
        };
        self.check::<DescribeGroupsRequest>(group.error_code)?;
        let mut members: Vec<Member> = group.members.iter().map(member).collect();
        members.sort();
        let state = group.group_state.to_string();
        Ok(Group { name: name.to_owned(), state, members: Some(members), committed: BTreeMap::new() })
    }

    /// Everything that the group has committed.
    fn all_committed(&mut self, deadline: Instant) -> Result<BTreeMap<TopicPartition, Committed>> {
        let request = OffsetFetchRequest::default().with_group_id(self.group_id()).with_topics(None);
        let answer = self.call_while_running(&request, deadline)?;
        self.check::<OffsetFetchRequest>(answer.error_code)?;
        let mut committed = BTreeMap::new();
        for topic in &answer.topics {
            for partition in &topic.partitions {
                self.check::<OffsetFetchRequest>(partition.error_code)?;
                if partition.committed_offset >= 0 {
                    let place = TopicPartition::new(topic.name.as_str(), partition.partition_index);
                    let metadata = partition.metadata.as_deref().unwrap_or_default();
                    committed.insert(place, Committed::new(partition.committed_offset, metadata));
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
    let subscription = Subscription::decode(&member.member_metadata).unwrap_or_default();
    Member {
        client_id: member.client_id.to_string(),
        member_id: member.member_id.to_string(),
        host: member.client_host.trim_start_matches('/').to_owned(),
        partitions: partitions
            .flat_map(|(topic, ids)| ids.into_iter().map(move |id| TopicPartition::new(topic.as_str(), id)))
            .collect(),
        user_data: subscription.user_data,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lag_counts_what_is_there_and_is_unknown_beyond_the_end() {
        let lag = |offset: i64, start: i64, end: i64| {
            let place = TopicPartition::new("orders", 0);
            let committed = [(place.clone(), Committed::new(offset, ""))].into();
            let (name, state) = ("workers".to_owned(), "Empty".to_owned());
            let group = Group { name, state, members: Some(Vec::new()), committed };
            let (starts, ends) = ([(place.clone(), start)].into(), [(place.clone(), end)].into());
            group.progress([], &starts, &ends)[0].lag
        };
        assert_eq!([lag(3, 0, 8), lag(3, 5, 8), lag(8, 0, 8)], [Some(5), Some(3), Some(0)]);
        assert_eq!(lag(9, 0, 8), None, "the topic was made anew");
    }
}
