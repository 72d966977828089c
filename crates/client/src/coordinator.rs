//! A group's coordinator: classic group membership (KIP-394 member ids) and committed offsets.
//!
//! Each [`Coordinator`] serves a single purpose over its own connection: membership must not wait behind
//! commits, nor commits behind a JoinGroup that takes as long as the slowest member.
//!
//! Source: the Kafka protocol guide, "JoinGroup" to "OffsetFetch"; KIP-394 (member ids), KIP-447 (pending
//! offsets).

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
    ApiKey, FindCoordinatorRequest, GroupId, HeartbeatRequest, JoinGroupRequest, JoinGroupResponse,
    LeaveGroupRequest, OffsetCommitRequest, OffsetFetchRequest, SyncGroupRequest,
};
use kafka_protocol::protocol::StrBytes;

use super::READ_MARGIN;
use super::assignor::{Claim, GroupProtocol, Offer, Partitions};
use super::connection::Connection;
use super::error::{Error, Result};
use super::metadata::{Cluster, topic_name};
use super::request_context::RequestContext;
use super::topic_id::{TopicId, TopicIds, with_id, without_id};
use super::versioned_request::VersionedRequest;
use protocol::TopicPartition;
use protocol::assignment::{Assignment, Subscription};
use protocol::error_code::ErrorCode;

impl VersionedRequest for OffsetCommitRequest {
    const API: ApiKey = ApiKey::OffsetCommit;
    const VERSION: i16 = 7;
}

impl VersionedRequest for OffsetFetchRequest {
    const API: ApiKey = ApiKey::OffsetFetch;
    const VERSION: i16 = 7;
}

impl VersionedRequest for FindCoordinatorRequest {
    const API: ApiKey = ApiKey::FindCoordinator;
    const VERSION: i16 = 3;
}

impl VersionedRequest for JoinGroupRequest {
    const API: ApiKey = ApiKey::JoinGroup;
    const VERSION: i16 = 5;
}

impl VersionedRequest for HeartbeatRequest {
    const API: ApiKey = ApiKey::Heartbeat;
    const VERSION: i16 = 4;
}

impl VersionedRequest for LeaveGroupRequest {
    const API: ApiKey = ApiKey::LeaveGroup;
    const VERSION: i16 = 4;
}

impl VersionedRequest for SyncGroupRequest {
    const API: ApiKey = ApiKey::SyncGroup;
    const VERSION: i16 = 3;
}

const PROTOCOL_TYPE: &str = "consumer";

/// The identity of a member in its generation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Membership {
    /// The id that the coordinator gave.
    pub member_id: String,
    /// The group's generation; -1 for a client that is no member.
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
    /// The protocol that the group chose of those that all its members offer.
    pub protocol: GroupProtocol,
    /// For the member that has to assign: the topics of every member.
    pub to_assign: Option<BTreeMap<String, BTreeSet<String>>>,
    /// For the member that has to assign: what every member says it owns.
    pub claims: BTreeMap<String, Claim>,
}

impl RequestContext {
    /// An OffsetCommit of this group.
    pub fn offset_commit(group: &str) -> RequestContext {
        RequestContext::of::<OffsetCommitRequest>().for_group(group)
    }
}

/// An offset to commit: topic, partition, the offset of the next record to handle, and a note of the
/// committer.
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

impl Commit {
    /// The partition that the offset belongs to.
    pub fn topic_partition(&self) -> TopicPartition {
        TopicPartition::new(self.topic.as_str(), self.partition)
    }
}

/// The committed offset of a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    /// The offset of the next record to handle.
    pub offset: i64,
    /// The note of the client that committed it.
    pub metadata: String,
    /// The topic that it belongs to, where that was noted: one that has the name now may be another.
    pub topic_id: Option<TopicId>,
}

impl Committed {
    /// An offset with the metadata that was committed beside it.
    pub fn new(offset: i64, metadata: &str) -> Committed {
        let (note, topic_id) = without_id(metadata);
        Committed { offset, metadata: note.to_owned(), topic_id }
    }
}

/// A connection to the coordinator of a group, which is looked up anew as needed.
#[derive(Debug)]
pub struct Coordinator {
    cluster: Arc<Cluster>,
    group: String,
    client_id: String,
    looks_on: bool,
    connection: Option<Connection>,
}

impl Coordinator {
    /// A coordinator that has not been looked for yet.
    pub fn new(cluster: Arc<Cluster>, group: &str, client_id: &str) -> Coordinator {
        let (group, client_id) = (group.to_owned(), client_id.to_owned());
        Coordinator { cluster, group, client_id, looks_on: false, connection: None }
    }

    /// The same for a client that neither joins the group nor commits.
    pub fn looking_on(cluster: Arc<Cluster>, group: &str, client_id: &str) -> Coordinator {
        Coordinator { looks_on: true, ..Coordinator::new(cluster, group, client_id) }
    }

    /// Joins the group, with `member_id` empty for the first time. Waits as long as the group's rebalance
    /// takes: until `deadline`, or until `proceed` says no. `offers` are the protocols that the member can
    /// follow, the one it likes best first. `given` hears the member id as soon as there is one: a client
    /// that has one has to leave, even if joining comes to nothing.
    ///
    /// # Errors
    /// As every call here: [`Error::Refused`] with the group's error code, else what the connection suffered.
    pub fn join(
        &mut self,
        member_id: &str,
        offers: &[Offer],
        (session, rebalance): (Duration, Duration),
        deadline: Instant,
        proceed: &mut dyn FnMut() -> bool,
        given: &mut dyn FnMut(&str),
    ) -> Result<Joined> {
        let protocol = |offer: &Offer| {
            JoinGroupRequestProtocol::default()
                .with_name(StrBytes::from_static_str(offer.protocol.name()))
                .with_metadata(Bytes::from(offer.subscription.encode()))
        };
        let request = JoinGroupRequest::default()
            .with_group_id(self.group_id())
            .with_session_timeout_ms(millis(session))
            .with_rebalance_timeout_ms(millis(rebalance))
            .with_member_id(string(member_id))
            .with_protocol_type(StrBytes::from_static_str(PROTOCOL_TYPE))
            .with_protocols(offers.iter().map(protocol).collect());
        let mut answer = self.call(&request, deadline, proceed)?;
        if ErrorCode(answer.error_code) == ErrorCode::MEMBER_ID_REQUIRED {
            given(&answer.member_id);
            let request = request.with_member_id(answer.member_id.clone());
            answer = self.call(&request, deadline, proceed)?;
        }
        self.check::<JoinGroupRequest>(answer.error_code)?;
        given(&answer.member_id);
        self.joined(answer, offers)
    }

    fn joined(&self, answer: JoinGroupResponse, offers: &[Offer]) -> Result<Joined> {
        let chosen = answer.protocol_name.as_deref().unwrap_or_default();
        let offered = offers.iter().map(|offer| offer.protocol).find(|protocol| protocol.name() == chosen);
        let protocol = offered.ok_or_else(|| {
            log::error!("group {}: it chose the protocol '{chosen}', which was not offered", self.group);
            Error::refused(self.context::<JoinGroupRequest>(), ErrorCode::INCONSISTENT_GROUP_PROTOCOL)
        })?;
        let leads = answer.leader == answer.member_id;
        let (mut to_assign, mut claims) = (BTreeMap::new(), BTreeMap::new());
        for member in &answer.members {
            let subscription = Subscription::decode(&member.metadata).map_err(|e| {
                log::error!(
                    "group {}: the subscription of {} is malformed: {e}",
                    self.group,
                    member.member_id
                );
                let request = self.context::<JoinGroupRequest>();
                Error::refused(request, ErrorCode::INCONSISTENT_GROUP_PROTOCOL)
            })?;
            let Subscription { topics, owned, generation, .. } = subscription;
            to_assign.insert(member.member_id.to_string(), topics.into_iter().collect());
            let owned = owned.into_iter().flat_map(|(topic, numbers)| {
                numbers.into_iter().map(move |number| TopicPartition::new(topic.as_str(), number))
            });
            claims.insert(member.member_id.to_string(), Claim { owned: owned.collect(), generation });
        }
        let membership =
            Membership { member_id: answer.member_id.to_string(), generation: answer.generation_id };
        Ok(Joined { membership, protocol, to_assign: leads.then_some(to_assign), claims })
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
            .with_assignments(assigned.iter().map(assignment).collect());
        let answer = self.call(&request, deadline, proceed)?;
        self.check::<SyncGroupRequest>(answer.error_code)?;
        if answer.assignment.is_empty() {
            return Ok(Partitions::new());
        }
        let assignment = Assignment::decode(&answer.assignment).map_err(|e| {
            log::error!("group {}: the assignment is malformed: {e}", self.group);
            Error::refused(self.context::<SyncGroupRequest>(), ErrorCode::INCONSISTENT_GROUP_PROTOCOL)
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
        self.check::<HeartbeatRequest>(answer.error_code)
    }

    /// Leaves the group.
    ///
    /// # Errors
    /// As [`Coordinator::join`].
    pub fn leave(&mut self, member_id: &str, deadline: Instant) -> Result<()> {
        let member = MemberIdentity::default().with_member_id(string(member_id));
        let request = LeaveGroupRequest::default().with_group_id(self.group_id()).with_members(vec![member]);
        let answer = self.call(&request, deadline, &mut || true)?;
        self.check::<LeaveGroupRequest>(answer.error_code)?;
        answer.members.iter().try_for_each(|member| self.check::<LeaveGroupRequest>(member.error_code))
    }

    /// Commits offsets, with the ids of their topics where they are given and the brokers take metadata of
    /// that length; the result of each, in no particular order.
    ///
    /// # Errors
    /// As [`Coordinator::join`], for what concerns the whole request.
    pub fn commit(
        &mut self,
        membership: &Membership,
        commits: &[Commit],
        ids: &TopicIds,
        deadline: Instant,
    ) -> Result<HashMap<TopicPartition, ErrorCode>> {
        let mut topics: BTreeMap<&str, Vec<OffsetCommitRequestPartition>> = BTreeMap::new();
        for commit in commits {
            let id = ids.get(&commit.topic_partition()).copied();
            let partition = OffsetCommitRequestPartition::default()
                .with_partition_index(commit.partition)
                .with_committed_offset(commit.offset)
                .with_committed_leader_epoch(-1)
                .with_committed_metadata(Some(string(&with_id(&commit.metadata, id))));
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
                results.insert(TopicPartition::new(topic.name.as_str(), partition.partition_index), code);
            }
        }
        // The note matters more than the id beside it.
        let is_too_long = |commit: &&Commit| {
            let key = commit.topic_partition();
            results.get(&key) == Some(&ErrorCode::OFFSET_METADATA_TOO_LARGE) && ids.contains_key(&key)
        };
        let without: Vec<Commit> = commits.iter().filter(is_too_long).cloned().collect();
        if !without.is_empty() {
            results.extend(self.commit(membership, &without, &TopicIds::new(), deadline)?);
        }
        Ok(results)
    }

    /// What the group has committed of `partitions`, `None` where that is nothing. Waits for transactions
    /// that have offsets pending (KIP-447).
    ///
    /// # Errors
    /// As [`Coordinator::join`]; also when one partition is refused.
    pub fn committed(
        &mut self,
        partitions: &Partitions,
        deadline: Instant,
    ) -> Result<HashMap<TopicPartition, Option<Committed>>> {
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
        self.check::<OffsetFetchRequest>(answer.error_code)?;
        let mut offsets = HashMap::new();
        for topic in &answer.topics {
            for partition in &topic.partitions {
                self.check::<OffsetFetchRequest>(partition.error_code)?;
                let committed = (partition.committed_offset >= 0).then(|| {
                    Committed::new(
                        partition.committed_offset,
                        partition.metadata.as_deref().unwrap_or_default(),
                    )
                });
                offsets
                    .insert(TopicPartition::new(topic.name.as_str(), partition.partition_index), committed);
            }
        }
        Ok(offsets)
    }

    /// As [`Coordinator::committed`], tried again on what may pass until `deadline`.
    ///
    /// # Errors
    /// A refusal for good, or the last error at `deadline`.
    pub fn committed_in_time(
        &mut self,
        partitions: &Partitions,
        deadline: Instant,
    ) -> Result<HashMap<TopicPartition, Option<Committed>>> {
        let mut backoff = crate::backoff();
        loop {
            match self.committed(partitions, self.cluster.deadline(deadline)) {
                Ok(committed) => return Ok(committed),
                Err(error) => {
                    if error.is_lasting() || self.cluster.stopping() || Instant::now() >= deadline {
                        return Err(error);
                    }
                }
            }
            self.cluster.pause(backoff.next_wait());
        }
    }

    pub(super) fn call_while_running<R: VersionedRequest>(
        &mut self,
        request: &R,
        deadline: Instant,
    ) -> Result<R::Response> {
        let cluster = self.cluster.clone();
        self.call(request, deadline, &mut || !cluster.stopping())
    }

    fn call<R: VersionedRequest>(
        &mut self,
        request: &R,
        deadline: Instant,
        proceed: &mut dyn FnMut() -> bool,
    ) -> Result<R::Response> {
        let mut connection = match self.connection.take().and_then(Connection::if_open) {
            Some(connection) => connection,
            None => self.find(deadline)?,
        };
        let sent = connection.send(request);
        let answer = sent.and_then(|()| connection.receive::<R>(deadline + READ_MARGIN, proceed));
        let answer = answer.map_err(|error| error.about(|request| request.for_group(&self.group)))?;
        self.connection = Some(connection);
        Ok(answer)
    }

    fn find(&self, deadline: Instant) -> Result<Connection> {
        let limit = self.cluster.deadline(deadline);
        let request = FindCoordinatorRequest::default().with_key(string(&self.group)).with_key_type(0);
        let answer = self.cluster.connect_any(&self.client_id, limit)?.call(&request, limit)?;
        let refused = |code| Error::refused(self.context::<FindCoordinatorRequest>(), code);
        ErrorCode(answer.error_code).ok().map_err(refused)?;
        let address = self.cluster.address(&answer.host, answer.port);
        self.cluster.connect_to(
            &address,
            &self.client_id,
            limit.max(Instant::now() + Duration::from_millis(1)),
        )
    }

    pub(super) fn check<R: VersionedRequest>(&mut self, code: i16) -> Result<()> {
        let code = ErrorCode(code);
        self.forget_on(code);
        code.ok().map_err(|code| Error::refused(self.context::<R>(), code))
    }

    /// A request of this kind for the group.
    pub(super) fn context<R: VersionedRequest>(&self) -> RequestContext {
        RequestContext::of::<R>().for_group(&self.group).looking_on(self.looks_on)
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
