//! The coordinator on a real store, and clients that ask it with typed requests.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{Scope, ScopedJoinHandle};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use kafka_protocol::messages::leave_group_request::MemberIdentity;
use kafka_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use kafka_protocol::messages::offset_fetch_request::OffsetFetchRequestTopic;
use kafka_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use kafka_protocol::messages::*;
use kafka_protocol::protocol::{Encodable, StrBytes};

use crate::groups::GroupCoordinator;
use crate::request_context::RequestContext;
use crate::requests::*;
use crate::storage::{Retention, Store};
use protocol::assignment::Subscription;
use protocol::error_code::ErrorCode;

pub(super) const TOPIC: &str = "pedidos";
pub(super) const GROUP: &str = "workers";
/// Far longer than anything here takes.
pub(super) const DEADLINE: Duration = Duration::from_secs(30);

/// A folder that goes away with the test.
pub(super) struct Folder(PathBuf);

impl Folder {
    pub(super) fn new() -> Folder {
        let unique = net::random::hex::<8>().unwrap();
        Folder(std::env::temp_dir().join(format!("broker-groups-{unique}")))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A coordinator with its store, and the folder for the next holder.
pub(super) struct Broker {
    pub(super) groups: GroupCoordinator,
    pub(super) store: Arc<Store>,
    pub(super) folder: Arc<Folder>,
}

impl Broker {
    pub(super) fn new() -> Broker {
        let broker = Broker::open(Arc::new(Folder::new()));
        broker.store.create_topic(TOPIC, 4, Default::default()).wait().unwrap();
        broker
    }

    pub(super) fn open(folder: Arc<Folder>) -> Broker {
        Broker::open_with(folder, Duration::ZERO)
    }

    /// A coordinator whose empty groups wait so long for more members.
    pub(super) fn open_with(folder: Arc<Folder>, initial_delay: Duration) -> Broker {
        let store = Arc::new(Store::open(&folder.0, Retention::default()).unwrap());
        let groups = GroupCoordinator::start(store.clone(), initial_delay).unwrap();
        Broker { groups, store, folder }
    }

    /// The next holder, after this one has stopped in order.
    pub(super) fn hand_over(self) -> Broker {
        self.groups.stop();
        self.store.close();
        Broker::open(self.folder.clone())
    }

    pub(super) fn client(&self, connection: u64) -> Client<'_> {
        Client {
            broker: self,
            connection,
            gone: AtomicBool::new(false),
            session: 20_000,
            rebalance: 60_000,
            instance: None,
            member: Membership::default(),
        }
    }

    pub(super) fn state(&self, group: &str) -> String {
        let request = DescribeGroupsRequest::default().with_groups(vec![GroupId(text(group))]);
        let described = self.client(0).call(5, describe_groups::handle, request);
        described.groups[0].group_state.to_string()
    }

    pub(super) fn members(&self) -> usize {
        self.groups.describe(GROUP).map_or(0, |group| group.members.len())
    }

    pub(super) fn wait_for_state(&self, state: &str) {
        let deadline = Instant::now() + DEADLINE;
        while self.state(GROUP) != state {
            assert!(Instant::now() < deadline, "{} instead of {state}", self.state(GROUP));
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

#[derive(Default, Clone)]
pub(super) struct Membership {
    pub(super) id: String,
    pub(super) generation: i32,
    pub(super) leads: bool,
    pub(super) members: Vec<StrBytes>,
}

/// A consumer with one connection.
pub(super) struct Client<'b> {
    pub(super) broker: &'b Broker,
    pub(super) connection: u64,
    pub(super) gone: AtomicBool,
    pub(super) session: i32,
    pub(super) rebalance: i32,
    pub(super) instance: Option<&'static str>,
    pub(super) member: Membership,
}

impl Client<'_> {
    /// Asks, and sees that the answer can be encoded.
    pub(super) fn call<Q, A: Encodable>(
        &self,
        version: i16,
        answer: impl FnOnce(&GroupCoordinator, &RequestContext<'_>, Q) -> A,
        request: Q,
    ) -> A {
        let gone = || self.gone.load(Ordering::SeqCst);
        let context = RequestContext {
            connection: self.connection,
            version,
            client_id: "consumer-1",
            peer: SocketAddr::from(([127, 0, 0, 1], 40_000)),
            advertised: ("127.0.0.1", 9092),
            gone: &gone,
        };
        let answer = answer(&self.broker.groups, &context, request);
        answer.encode(&mut BytesMut::new(), version).unwrap();
        answer
    }

    pub(super) fn join(&mut self, version: i16) -> ErrorCode {
        let subscription = Subscription { topics: vec![TOPIC.to_owned()], ..Subscription::default() };
        let protocol = JoinGroupRequestProtocol::default()
            .with_name(text("range"))
            .with_metadata(Bytes::from(subscription.encode()));
        let request = JoinGroupRequest::default()
            .with_group_id(GroupId(text(GROUP)))
            .with_session_timeout_ms(self.session)
            .with_rebalance_timeout_ms(self.rebalance)
            .with_member_id(text(&self.member.id))
            .with_group_instance_id(self.instance.map(text))
            .with_protocol_type(text("consumer"))
            .with_protocols(vec![protocol]);
        let answer = self.call(version, join_group::handle, request);
        if !answer.member_id.is_empty() {
            self.member.id = answer.member_id.to_string();
        }
        if answer.error_code == 0 {
            self.member.generation = answer.generation_id;
            self.member.leads = answer.leader == answer.member_id;
            self.member.members = answer.members.into_iter().map(|member| member.member_id).collect();
        }
        match ErrorCode(answer.error_code) {
            ErrorCode::MEMBER_ID_REQUIRED => self.join(version),
            code => code,
        }
    }

    pub(super) fn sync(&mut self, version: i16) -> Result<Bytes, ErrorCode> {
        let part = |id: &StrBytes| {
            SyncGroupRequestAssignment::default()
                .with_member_id(id.clone())
                .with_assignment(Bytes::from(format!("part of {id}")))
        };
        let mut request = SyncGroupRequest::default()
            .with_group_id(GroupId(text(GROUP)))
            .with_generation_id(self.member.generation)
            .with_member_id(text(&self.member.id))
            .with_group_instance_id(self.instance.filter(|_| version >= 3).map(text))
            .with_assignments(self.member.members.iter().map(part).collect());
        if version >= 5 {
            request =
                request.with_protocol_type(Some(text("consumer"))).with_protocol_name(Some(text("range")));
        }
        let answer = self.call(version, sync_group::handle, request);
        ErrorCode(answer.error_code).ok().map(|()| answer.assignment)
    }

    /// Joins until there is a generation that lasts long enough to get a part of it.
    pub(super) fn become_member(&mut self) {
        let deadline = Instant::now() + DEADLINE;
        loop {
            assert!(Instant::now() < deadline, "{} is no member in time", self.connection);
            let code = self.join(7);
            if code.is_ok() {
                if self.sync(5).is_ok_and(|part| part == format!("part of {}", self.member.id)) {
                    return;
                }
            } else if code == ErrorCode::UNKNOWN_MEMBER_ID {
                self.member.id.clear();
            }
        }
    }

    pub(super) fn heartbeat(&self) -> ErrorCode {
        let request = HeartbeatRequest::default()
            .with_group_id(GroupId(text(GROUP)))
            .with_generation_id(self.member.generation)
            .with_member_id(text(&self.member.id))
            .with_group_instance_id(self.instance.map(text));
        ErrorCode(self.call(4, heartbeat::handle, request).error_code)
    }

    /// Keeps its place: heartbeats, and joins again when asked to, until `done`.
    pub(super) fn stay_until(&mut self, done: &AtomicBool) {
        let deadline = Instant::now() + DEADLINE;
        while !done.load(Ordering::SeqCst) && Instant::now() < deadline {
            if !self.heartbeat().is_ok() {
                self.become_member();
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub(super) fn commit(&self, partition: i32, offset: i64) -> ErrorCode {
        self.commit_with(TOPIC, partition, offset, "", 8)
    }

    pub(super) fn commit_with(
        &self,
        topic: &str,
        partition: i32,
        offset: i64,
        note: &str,
        version: i16,
    ) -> ErrorCode {
        let partition = OffsetCommitRequestPartition::default()
            .with_partition_index(partition)
            .with_committed_offset(offset)
            .with_committed_metadata(Some(text(note)));
        let topic = OffsetCommitRequestTopic::default()
            .with_name(TopicName(text(topic)))
            .with_partitions(vec![partition]);
        let request = OffsetCommitRequest::default()
            .with_group_id(GroupId(text(GROUP)))
            .with_generation_id_or_member_epoch(if self.member.id.is_empty() {
                -1
            } else {
                self.member.generation
            })
            .with_member_id(text(&self.member.id))
            .with_topics(vec![topic]);
        let answer = self.call(version, offset_commit::handle, request);
        ErrorCode(answer.topics[0].partitions[0].error_code)
    }

    pub(super) fn committed(&self, partition: i32) -> i64 {
        let topic = OffsetFetchRequestTopic::default()
            .with_name(TopicName(text(TOPIC)))
            .with_partition_indexes(vec![partition]);
        let request =
            OffsetFetchRequest::default().with_group_id(GroupId(text(GROUP))).with_topics(Some(vec![topic]));
        let answer = self.call(7, offset_fetch::handle, request);
        assert_eq!(answer.error_code, 0);
        answer.topics[0].partitions[0].committed_offset
    }

    pub(super) fn leave(&self) -> ErrorCode {
        let member = MemberIdentity::default().with_member_id(text(&self.member.id));
        let request =
            LeaveGroupRequest::default().with_group_id(GroupId(text(GROUP))).with_members(vec![member]);
        let answer = self.call(4, leave_group::handle, request);
        assert_eq!(answer.error_code, 0);
        ErrorCode(answer.members[0].error_code)
    }
}

pub(super) fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

/// Joins in a thread of its own, and waits there.
pub(super) fn join_in_a_thread<'scope>(
    threads: &'scope Scope<'scope, '_>,
    mut client: Client<'scope>,
) -> ScopedJoinHandle<'scope, (Client<'scope>, ErrorCode)> {
    threads.spawn(move || {
        let code = client.join(7);
        (client, code)
    })
}
