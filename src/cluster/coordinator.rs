//! A group's coordinator: classic group membership (KIP-394 member ids) and committed offsets.
//!
//! One [`Coordinator`] is one purpose with a connection of its own: membership must not wait behind commits, nor
//! commits behind a JoinGroup that takes as long as the slowest member.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use kafka_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use kafka_protocol::messages::leave_group_request::MemberIdentity;
use kafka_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use kafka_protocol::messages::offset_fetch_request::OffsetFetchRequestTopic;
use kafka_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use kafka_protocol::messages::{
    FindCoordinatorRequest, GroupId, HeartbeatRequest, JoinGroupRequest, JoinGroupResponse,
    LeaveGroupRequest, OffsetCommitRequest, OffsetFetchRequest, SyncGroupRequest,
};
use kafka_protocol::protocol::{Request, StrBytes};

use super::assignor::Partitions;
use super::connection::Connection;
use super::error::{Error, Result};
use super::metadata::{Cluster, topic_name};
use super::{Backoff, READ_MARGIN};
use crate::protocol::assignment::{Assignment, Subscription};
use crate::protocol::error_code::ErrorCode;

const PROTOCOL_TYPE: &str = "consumer";
const ASSIGNOR: &str = "range";

/// Who a member is in the generation it belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Membership {
    /// The id that the coordinator gave.
    pub member_id: String,
    /// The group's generation; -1 for who is no member.
    pub generation: i32,
}

impl Membership {
    /// The identity of a client that commits without being a member.
    pub fn none() -> Membership {
        Membership { member_id: String::new(), generation: -1 }
    }
}

/// A completed JoinGroup.
#[derive(Debug)]
pub struct Joined {
    /// Id and generation.
    pub membership: Membership,
    /// For the member that has to assign: the topics of every member.
    pub to_assign: Option<BTreeMap<String, BTreeSet<String>>>,
}

/// An offset to commit: topic, partition, the offset of the next record to handle, and a note of the committer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commit {
    /// The topic's name.
    pub topic: String,
    /// The partition's number.
    pub partition: i32,
    /// The offset of the next record to handle.
    pub offset: i64,
    /// A note kept with the offset.
    pub metadata: String,
}

/// What a group has committed for a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    /// The offset of the next record to handle.
    pub offset: i64,
    /// The note of whoever committed it.
    pub metadata: String,
}

/// One connection to the coordinator of one group, found and found again as needed.
#[derive(Debug)]
pub struct Coordinator {
    cluster: Arc<Cluster>,
    group: String,
    client_id: String,
    connection: Option<Connection>,
}

impl Coordinator {
    /// A coordinator that has not been looked for yet.
    pub fn new(cluster: Arc<Cluster>, group: &str, client_id: &str) -> Coordinator {
        Coordinator { cluster, group: group.to_owned(), client_id: client_id.to_owned(), connection: None }
    }

    /// Joins the group, with `member_id` empty for the first time. Waits as long as the group's rebalance takes:
    /// until `deadline`, or until `proceed` says no. `given` hears the member id as soon as there is one: whoever
    /// has one has to leave, even if joining comes to nothing.
    ///
    /// # Errors
    /// As every call here: [`Error::Refused`] with the group's error code, else what the connection suffered.
    pub fn join(
        &mut self,
        member_id: &str,
        topics: &BTreeSet<String>,
        (session, rebalance): (Duration, Duration),
        deadline: Instant,
        proceed: &mut dyn FnMut() -> bool,
        given: &mut dyn FnMut(&str),
    ) -> Result<Joined> {
        let subscription = Subscription { topics: topics.iter().cloned().collect(), owned: Vec::new() };
        let protocol = JoinGroupRequestProtocol::default()
            .with_name(StrBytes::from_static_str(ASSIGNOR))
            .with_metadata(Bytes::from(subscription.encode()));
        let request = JoinGroupRequest::default()
            .with_group_id(self.group_id())
            .with_session_timeout_ms(millis(session))
            .with_rebalance_timeout_ms(millis(rebalance))
            .with_member_id(string(member_id))
            .with_protocol_type(StrBytes::from_static_str(PROTOCOL_TYPE))
            .with_protocols(vec![protocol]);
        let mut answer = self.call(&request, deadline, proceed)?;
        if ErrorCode(answer.error_code) == ErrorCode::MEMBER_ID_REQUIRED {
            given(&answer.member_id);
            let request = request.with_member_id(answer.member_id.clone());
            answer = self.call(&request, deadline, proceed)?;
        }
        self.check("joining", answer.error_code)?;
        given(&answer.member_id);
        self.joined(answer)
    }

    fn joined(&self, answer: JoinGroupResponse) -> Result<Joined> {
        let leads = answer.leader == answer.member_id;
        let mut to_assign = BTreeMap::new();
        for member in &answer.members {
            let subscription = Subscription::decode(&member.metadata).map_err(|e| {
                log::error!(
                    "group {}: the subscription of {} is malformed: {e}",
                    self.group,
                    member.member_id
                );
                Error::refused(
                    format!("the subscription of {}", member.member_id),
                    ErrorCode::INCONSISTENT_GROUP_PROTOCOL,
                )
            })?;
            to_assign.insert(member.member_id.to_string(), subscription.topics.into_iter().collect());
        }
        let membership =
            Membership { member_id: answer.member_id.to_string(), generation: answer.generation_id };
        Ok(Joined { membership, to_assign: leads.then_some(to_assign) })
    }

    /// Fetches this member's partitions; the leading member brings everybody's.
    ///
    /// # Errors
    /// As [`Coordinator::join`].
    pub fn sync(
        &mut self,
        membership: &Membership,
        assigned: &BTreeMap<String, Partitions>,
        deadline: Instant,
        proceed: &mut dyn FnMut() -> bool,
    ) -> Result<Partitions> {
        let assignment = |(member, partitions): (&String, &Partitions)| {
            let assignment =
                Assignment { partitions: partitions.iter().map(|(t, p)| (t.clone(), p.clone())).collect() };
            SyncGroupRequestAssignment::default()
                .with_member_id(string(member))
                .with_assignment(Bytes::from(assignment.encode()))
        };
        let request = SyncGroupRequest::default()
            .with_group_id(self.group_id())
            .with_generation_id(membership.generation)
            .with_member_id(string(&membership.member_id))
            .with_protocol_type(Some(StrBytes::from_static_str(PROTOCOL_TYPE)))
            .with_protocol_name(Some(StrBytes::from_static_str(ASSIGNOR)))
            .with_assignments(assigned.iter().map(assignment).collect());
        let answer = self.call(&request, deadline, proceed)?;
        self.check("fetching the assignment", answer.error_code)?;
        if answer.assignment.is_empty() {
            return Ok(Partitions::new());
        }
        let assignment = Assignment::decode(&answer.assignment).map_err(|e| {
            log::error!("group {}: the assignment is malformed: {e}", self.group);
            Error::refused("the assignment", ErrorCode::INCONSISTENT_GROUP_PROTOCOL)
        })?;
        Ok(assignment.partitions.into_iter().collect())
    }

    /// Tells the coordinator that the member lives.
    ///
    /// # Errors
    /// As [`Coordinator::join`]; REBALANCE_IN_PROGRESS asks for a new join.
    pub fn heartbeat(&mut self, membership: &Membership, deadline: Instant) -> Result<()> {
        let request = HeartbeatRequest::default()
            .with_group_id(self.group_id())
            .with_generation_id(membership.generation)
            .with_member_id(string(&membership.member_id));
        let answer = self.call_while_running(&request, deadline)?;
        self.check("heartbeat", answer.error_code)
    }

    /// Leaves the group.
    ///
    /// # Errors
    /// As [`Coordinator::join`].
    pub fn leave(&mut self, member_id: &str, deadline: Instant) -> Result<()> {
        let member = MemberIdentity::default().with_member_id(string(member_id));
        let request = LeaveGroupRequest::default().with_group_id(self.group_id()).with_members(vec![member]);
        let answer = self.call(&request, deadline, &mut || true)?;
        self.check("leaving", answer.error_code)?;
        answer.members.iter().try_for_each(|member| self.check("leaving", member.error_code))
    }

    /// Commits offsets; the result of each, in no particular order.
    ///
    /// # Errors
    /// As [`Coordinator::join`], for what concerns the whole request.
    pub fn commit(
        &mut self,
        membership: &Membership,
        commits: &[Commit],
        deadline: Instant,
    ) -> Result<HashMap<(String, i32), ErrorCode>> {
        let mut topics: BTreeMap<&str, Vec<OffsetCommitRequestPartition>> = BTreeMap::new();
        for commit in commits {
            let partition = OffsetCommitRequestPartition::default()
                .with_partition_index(commit.partition)
                .with_committed_offset(commit.offset)
                .with_committed_leader_epoch(-1)
                .with_committed_metadata(Some(string(&commit.metadata)));
            topics.entry(&commit.topic).or_default().push(partition);
        }
        let topic = |(name, partitions)| {
            OffsetCommitRequestTopic::default().with_name(topic_name(name)).with_partitions(partitions)
        };
        let request = OffsetCommitRequest::default()
            .with_group_id(self.group_id())
            .with_generation_id_or_member_epoch(membership.generation)
            .with_member_id(string(&membership.member_id))
            .with_topics(topics.into_iter().map(topic).collect());
        let answer = self.call_while_running(&request, deadline)?;
        let mut results = HashMap::new();
        for topic in &answer.topics {
            for partition in &topic.partitions {
                let code = ErrorCode(partition.error_code);
                self.forget_on(code);
                results.insert((topic.name.to_string(), partition.partition_index), code);
            }
        }
        Ok(results)
    }

    /// The group's committed offsets of `partitions`, `None` where there is none. Waits for transactions that have
    /// offsets pending (KIP-447).
    ///
    /// # Errors
    /// As [`Coordinator::join`]; also when one partition is refused.
    pub fn committed(
        &mut self,
        partitions: &Partitions,
        deadline: Instant,
    ) -> Result<HashMap<(String, i32), Option<i64>>> {
        let committed = self.committed_with_metadata(partitions, deadline)?;
        Ok(committed.into_iter().map(|(place, found)| (place, found.map(|found| found.offset))).collect())
    }

    /// As [`Coordinator::committed`], with the notes of who committed.
    ///
    /// # Errors
    /// As [`Coordinator::committed`].
    pub fn committed_with_metadata(
        &mut self,
        partitions: &Partitions,
        deadline: Instant,
    ) -> Result<HashMap<(String, i32), Option<Committed>>> {
        let topic = |(name, partitions): (&String, &Vec<i32>)| {
            OffsetFetchRequestTopic::default()
                .with_name(topic_name(name))
                .with_partition_indexes(partitions.clone())
        };
        let request = OffsetFetchRequest::default()
            .with_group_id(self.group_id())
            .with_topics(Some(partitions.iter().map(topic).collect()))
            .with_require_stable(true);
        let answer = self.call_while_running(&request, deadline)?;
        self.check("committed offsets", answer.error_code)?;
        let mut offsets = HashMap::new();
        for topic in &answer.topics {
            for partition in &topic.partitions {
                self.check("committed offsets", partition.error_code)?;
                let committed = (partition.committed_offset >= 0).then(|| Committed {
                    offset: partition.committed_offset,
                    metadata: partition.metadata.as_deref().unwrap_or_default().to_owned(),
                });
                offsets.insert((topic.name.to_string(), partition.partition_index), committed);
            }
        }
        Ok(offsets)
    }

    /// As [`Coordinator::committed`], tried again on what may pass until `deadline`.
    ///
    /// # Errors
    /// A refusal for good, or the last trouble at `deadline`.
    pub fn committed_in_time(
        &mut self,
        partitions: &Partitions,
        deadline: Instant,
    ) -> Result<HashMap<(String, i32), Option<i64>>> {
        let mut backoff = Backoff::default();
        loop {
            match self.committed(partitions, self.cluster.deadline(deadline)) {
                Ok(committed) => return Ok(committed),
                Err(error) => {
                    if error.is_lasting() || self.cluster.stopping() || Instant::now() >= deadline {
                        return Err(error);
                    }
                }
            }
            std::thread::sleep(backoff.wait());
        }
    }

    pub(super) fn call_while_running<R: Request>(
        &mut self,
        request: &R,
        deadline: Instant,
    ) -> Result<R::Response> {
        let cluster = self.cluster.clone();
        self.call(request, deadline, &mut || !cluster.stopping())
    }

    fn call<R: Request>(
        &mut self,
        request: &R,
        deadline: Instant,
        proceed: &mut dyn FnMut() -> bool,
    ) -> Result<R::Response> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.find(deadline)?,
        };
        connection.send(request)?;
        let answer = connection.receive::<R>(deadline + READ_MARGIN, proceed)?;
        self.connection = Some(connection);
        Ok(answer)
    }

    fn find(&self, deadline: Instant) -> Result<Connection> {
        let limit = self.cluster.deadline(deadline);
        let request = FindCoordinatorRequest::default().with_key(string(&self.group)).with_key_type(0);
        let answer = self.cluster.connect_any(&self.client_id, limit)?.call(&request, limit)?;
        let what = || format!("looking for the coordinator of group {}", self.group);
        ErrorCode(answer.error_code).ok().map_err(|code| Error::refused(what(), code))?;
        let left = limit.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
        Connection::open(&format!("{}:{}", answer.host, answer.port), &self.client_id, left)
    }

    pub(super) fn check(&mut self, what: &str, code: i16) -> Result<()> {
        let code = ErrorCode(code);
        self.forget_on(code);
        code.ok().map_err(|code| Error::refused(format!("group {}: {what}", self.group), code))
    }

    /// A coordinator that has moved is looked for again.
    fn forget_on(&mut self, code: ErrorCode) {
        if matches!(code, ErrorCode::NOT_COORDINATOR | ErrorCode::COORDINATOR_NOT_AVAILABLE) {
            self.connection = None;
        }
    }

    pub(super) fn group_id(&self) -> GroupId {
        GroupId(string(&self.group))
    }
}

fn string(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

fn millis(duration: Duration) -> i32 {
    i32::try_from(duration.as_millis()).unwrap_or(i32::MAX)
}
