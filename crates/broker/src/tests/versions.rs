//! Every request in every version, and those that are not served.

use std::io::Write;
use std::ops::RangeInclusive;

use bytes::{Buf, Bytes};
use kafka_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use kafka_protocol::messages::delete_topics_request::DeleteTopicState;
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use kafka_protocol::messages::leave_group_request::MemberIdentity;
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use kafka_protocol::messages::offset_delete_request::{
    OffsetDeleteRequestPartition, OffsetDeleteRequestTopic,
};
use kafka_protocol::messages::offset_fetch_request::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
};
use kafka_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use kafka_protocol::messages::*;
use kafka_protocol::protocol::{Decodable, Request};

use super::Fixture;
use super::admin::ask_admin;
use super::alterations::{create_partitions, delete_records, log_dirs, producers};
use super::client::{Client, batch, fetch, fetch_by_id, frame, produce, produce_by_id, text, topic_name};
use super::configs::{TOPIC, alter_configs, incremental};
use super::produce::new_producer;
use crate::requests::table::APIS;
use protocol::error_code::ErrorCode;
use protocol::precheck;

/// Asks in each version, and has the whole answer decoded.
pub fn each<R: Request>(client: &mut Client, versions: RangeInclusive<i16>, request: impl Fn(i16) -> R) {
    for version in versions {
        client.call(version, &request(version));
    }
}

fn group() -> GroupId {
    GroupId(text("g"))
}

fn ask(client: &mut Client, api_key: ApiKey, versions: RangeInclusive<i16>) {
    match api_key {
        ApiKey::Produce => {
            let topic_id = client.topic_id("t");
            each(client, versions, |version| match produce(-1, "t", 0, Some(batch(&["a"]))) {
                request if version >= 13 => produce_by_id(request, topic_id),
                request => request,
            });
        }
        ApiKey::Fetch => {
            let topic_id = client.topic_id("t");
            each(client, versions, |version| match fetch(&[("t", 0, 0), ("none", 0, 0)]) {
                request if version >= 13 => fetch_by_id(request, topic_id),
                request => request,
            });
        }
        ApiKey::ListOffsets => each(client, versions, |_| list_offsets()),
        ApiKey::Metadata => each(client, versions, |version| {
            let topic = |name| MetadataRequestTopic::default().with_name(Some(topic_name(name)));
            MetadataRequest::default()
                .with_topics(Some(vec![topic("t"), topic("created"), topic("not/legal")]))
                .with_allow_auto_topic_creation(true)
                .with_include_topic_authorized_operations(version >= 8)
        }),
        ApiKey::ApiVersions => each(client, versions, |_| ApiVersionsRequest::default()),
        ApiKey::InitProducerId => each(client, versions, |_| new_producer()),
        ApiKey::CreateTopics => each(client, versions, create_topics),
        ApiKey::DeleteTopics => each(client, versions, |version| {
            let names = [topic_name("made-2"), topic_name("none")];
            let by_name = |name| DeleteTopicState::default().with_name(Some(name));
            match version {
                ..6 => DeleteTopicsRequest::default().with_topic_names(names.into()),
                _ => DeleteTopicsRequest::default().with_topics(names.map(by_name).into()),
            }
        }),
        ApiKey::DescribeConfigs => each(client, versions, |_| {
            let resource = |kind, name| {
                DescribeConfigsResource::default().with_resource_type(kind).with_resource_name(text(name))
            };
            let all = [(2, "t"), (2, "none"), (4, "1"), (4, ""), (4, "2"), (99, "what")];
            DescribeConfigsRequest::default()
                .with_resources(
                    all.map(|(kind, name)| resource(kind, name).with_configuration_keys(None)).into(),
                )
                .with_include_synonyms(true)
        }),
        ApiKey::DeleteRecords => each(client, versions, |_| delete_records("t", &[(0, 0), (9, 0)])),
        ApiKey::AlterConfigs => each(client, versions, |_| alter_configs(&[("none", "no.such")])),
        ApiKey::IncrementalAlterConfigs => each(client, versions, |_| {
            incremental(&[(TOPIC, "t", "retention.ms", 0, Some("1000")), (TOPIC, "none", "no.such", 9, None)])
        }),
        ApiKey::CreatePartitions => each(client, versions, |_| create_partitions("t", 1, None)),
        ApiKey::DescribeLogDirs => each(client, versions, |_| log_dirs(None)),
        ApiKey::DescribeProducers => each(client, versions, |_| producers("t", &[0, 9])),
        ApiKey::DescribeCluster => each(client, versions, |_| DescribeClusterRequest::default()),
        other => ask_groups(client, other, versions),
    }
}

fn list_offsets() -> ListOffsetsRequest {
    let partition = |time| ListOffsetsPartition::default().with_timestamp(time).with_current_leader_epoch(-1);
    let numbered = |(index, time)| partition(time).with_partition_index(index);
    let times = [(0, -1), (1, -2), (2, -3), (3, 0), (4, -4), (5, -5), (6, -77), (0, -1)];
    let partitions = times.map(numbered).into();
    let topic = ListOffsetsTopic::default().with_name(topic_name("t")).with_partitions(partitions);
    ListOffsetsRequest::default().with_replica_id(BrokerId(-1)).with_topics(vec![topic])
}

fn create_topics(version: i16) -> CreateTopicsRequest {
    let topic = |name: &str| {
        CreatableTopic::default()
            .with_name(topic_name(name))
            .with_num_partitions(1)
            .with_replication_factor(1)
    };
    let config = CreatableTopicConfig::default().with_name(text("no.such")).with_value(None);
    let refused = topic("refused").with_configs(vec![config]);
    CreateTopicsRequest::default().with_topics(vec![topic(&format!("made-{version}")), refused])
}

fn ask_groups(client: &mut Client, api_key: ApiKey, versions: RangeInclusive<i16>) {
    match api_key {
        ApiKey::OffsetCommit => each(client, versions, |_| {
            let partition = OffsetCommitRequestPartition::default().with_committed_leader_epoch(-1);
            let topic = OffsetCommitRequestTopic::default()
                .with_name(topic_name("t"))
                .with_partitions(vec![partition]);
            OffsetCommitRequest::default()
                .with_group_id(group())
                .with_generation_id_or_member_epoch(-1)
                .with_topics(vec![topic])
        }),
        ApiKey::OffsetFetch => each(client, versions, |version| {
            if version >= 8 {
                return offset_fetch_of_groups();
            }
            let topic = OffsetFetchRequestTopic::default()
                .with_name(topic_name("t"))
                .with_partition_indexes(vec![0, 9]);
            OffsetFetchRequest::default().with_group_id(group()).with_topics(Some(vec![topic]))
        }),
        ApiKey::FindCoordinator => {
            each(client, versions, |version| match version {
                ..4 => FindCoordinatorRequest::default().with_key(text("g")),
                _ => FindCoordinatorRequest::default().with_coordinator_keys(vec![text("g"), text("h")]),
            });
        }
        ApiKey::JoinGroup => each(client, versions, |version| {
            let protocol = JoinGroupRequestProtocol::default().with_name(text("range"));
            JoinGroupRequest::default()
                .with_group_id(GroupId(text(&format!("joined-{version}"))))
                .with_session_timeout_ms(10_000)
                .with_rebalance_timeout_ms(10_000)
                .with_protocol_type(text("consumer"))
                .with_protocols(vec![protocol])
        }),
        ApiKey::SyncGroup => each(client, versions, |version| {
            let assignment = SyncGroupRequestAssignment::default().with_member_id(text("m"));
            let flexible = (version >= 5).then(|| text("consumer"));
            SyncGroupRequest::default()
                .with_group_id(group())
                .with_member_id(text("m"))
                .with_protocol_type(flexible.clone())
                .with_protocol_name(flexible)
                .with_assignments(vec![assignment])
        }),
        ApiKey::Heartbeat => each(client, versions, |_| {
            HeartbeatRequest::default().with_group_id(group()).with_member_id(text("m"))
        }),
        ApiKey::LeaveGroup => each(client, versions, |version| {
            let request = LeaveGroupRequest::default().with_group_id(group());
            match version {
                ..3 => request.with_member_id(text("m")),
                _ => request.with_members(vec![MemberIdentity::default().with_member_id(text("m"))]),
            }
        }),
        ApiKey::DescribeGroups => each(client, versions, |_| {
            DescribeGroupsRequest::default().with_groups(vec![group(), GroupId(text("joined-0"))])
        }),
        ApiKey::ListGroups => each(client, versions, |_| ListGroupsRequest::default()),
        ApiKey::DeleteGroups => each(client, versions, |_| {
            DeleteGroupsRequest::default().with_groups_names(vec![group(), GroupId(text("none"))])
        }),
        ApiKey::OffsetDelete => each(client, versions, |_| {
            let partition = OffsetDeleteRequestPartition::default();
            let topic = OffsetDeleteRequestTopic::default()
                .with_name(topic_name("t"))
                .with_partitions(vec![partition]);
            OffsetDeleteRequest::default().with_group_id(group()).with_topics(vec![topic])
        }),
        other => ask_admin(client, other, versions),
    }
}

fn offset_fetch_of_groups() -> OffsetFetchRequest {
    let topic =
        OffsetFetchRequestTopics::default().with_name(topic_name("t")).with_partition_indexes(vec![0, 9]);
    let some = OffsetFetchRequestGroup::default().with_group_id(group()).with_topics(Some(vec![topic]));
    let all = OffsetFetchRequestGroup::default().with_group_id(group()).with_topics(None);
    OffsetFetchRequest::default().with_groups(vec![some, all])
}

#[test]
fn every_request_is_answered_in_every_version() {
    let broker = Fixture::new();
    let mut client = broker.client();
    client.create_topic("t");
    for api in &APIS {
        ask(&mut client, api.key, api.versions.clone());
    }
}

#[test]
fn requests_are_checked_in_the_versions_that_are_served() {
    let checked: Vec<(i16, RangeInclusive<i16>)> = precheck::served_requests().collect();
    let served: Vec<_> = APIS.iter().map(|api| (api.key as i16, api.versions.clone())).collect();
    assert_eq!(checked, served);
}

#[test]
fn api_versions_offers_the_served_versions_and_produce_from_0_on() {
    let broker = Fixture::new();
    let answer = broker.client().call(3, &ApiVersionsRequest::default());
    let offered: Vec<(i16, RangeInclusive<i16>)> =
        answer.api_keys.iter().map(|row| (row.api_key, row.min_version..=row.max_version)).collect();
    let served = APIS.iter().map(|api| match api.key {
        ApiKey::Produce => (api.key as i16, 0..=*api.versions.end()),
        key => (key as i16, api.versions.clone()),
    });
    assert_eq!(offered, served.collect::<Vec<_>>());
    assert!(offered.contains(&(0, 0..=13)) && offered.contains(&(1, 4..=18)));
}

#[test]
fn an_api_versions_request_of_an_unknown_version_is_answered_in_version_0() {
    let broker = Fixture::new();
    let mut client = broker.client();
    for version in [5, 99, i16::MAX, -1, i16::MIN] {
        let mut bytes = frame(4, 31, &ApiVersionsRequest::default());
        bytes[6..8].copy_from_slice(&version.to_be_bytes());
        client.stream.write_all(&bytes).unwrap();
        let mut answer: Bytes = client.frame().unwrap();
        assert_eq!(answer.get_i32(), 31);
        let answer = ApiVersionsResponse::decode(&mut answer, 0).unwrap();
        assert_eq!(ErrorCode(answer.error_code), ErrorCode::UNSUPPORTED_VERSION);
        let offered: Vec<_> =
            answer.api_keys.iter().map(|row| (row.api_key, row.min_version, row.max_version)).collect();
        assert_eq!(offered, [(18, 0, 4)], "the versions of ApiVersions itself");
    }
    // The same connection serves on.
    client.call(3, &ApiVersionsRequest::default());
}

#[test]
fn what_is_not_served_closes_the_connection() {
    let broker = Fixture::new();
    let request = frame(3, 1, &ApiVersionsRequest::default());
    for (api_key, version) in [
        (0, 2),
        (0, 14),
        (1, 19),
        (3, 14),
        (3, -1),
        (17, 0),
        (75, 1),
        (49, 0),
        (64, 0),
        (68, 0),
        (69, 0),
        (71, 0),
        (999, 0),
        (-1, 0),
        (0, i16::MIN),
    ] {
        let (api_key, version): (i16, i16) = (api_key, version);
        let mut bytes = request.clone();
        bytes[4..6].copy_from_slice(&api_key.to_be_bytes());
        bytes[6..8].copy_from_slice(&version.to_be_bytes());
        let mut client = broker.client();
        client.stream.write_all(&bytes).unwrap();
        client.expect_closed();
    }
    broker.client().call(3, &ApiVersionsRequest::default());
}
