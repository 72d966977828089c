//! What admin clients ask about leaders, replicas, the quorum and the partitions of topics.

use std::ops::RangeInclusive;

use kafka_protocol::messages::alter_partition_reassignments_request::{
    ReassignablePartition, ReassignableTopic,
};
use kafka_protocol::messages::create_topics_request::CreatableTopic;
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::describe_quorum_request::{PartitionData, TopicData};
use kafka_protocol::messages::describe_topic_partitions_request::{Cursor, TopicRequest};
use kafka_protocol::messages::elect_leaders_request::TopicPartitions;
use kafka_protocol::messages::list_partition_reassignments_request::ListPartitionReassignmentsTopics;
use kafka_protocol::messages::offset_for_leader_epoch_request::{
    OffsetForLeaderPartition, OffsetForLeaderTopic,
};
use kafka_protocol::messages::*;

use super::Fixture;
use super::client::{Client, batch, text, topic_name};
use super::versions::each;
use protocol::error_code::ErrorCode;

/// Asks in each version, for the test of all requests.
pub fn ask_cluster(client: &mut Client, api_key: ApiKey, versions: RangeInclusive<i16>) {
    match api_key {
        ApiKey::OffsetForLeaderEpoch => each(client, versions, |_| epochs(&[("t", 0, -1, 0)])),
        ApiKey::ElectLeaders => each(client, versions, |_| elect(Some(&[("t", &[0, 9]), ("none", &[0])]))),
        ApiKey::AlterPartitionReassignments => {
            each(client, versions, |_| {
                reassign(&[("t", 0, Some(&[1])), ("t", 1, Some(&[2])), ("t", 0, None)])
            });
        }
        ApiKey::ListPartitionReassignments => each(client, versions, |_| reassignments(&["t", "none"])),
        ApiKey::DescribeQuorum => {
            each(client, versions.clone(), |_| quorum(&[("__cluster_metadata", &[0])]));
            each(client, versions, |_| quorum(&[("t", &[0, 1])]));
        }
        ApiKey::DescribeTopicPartitions => {
            each(client, versions, |_| partitions(&["t", "none"], 1, None));
        }
        other => panic!("{other:?} is served, but not asked here"),
    }
}

/// For each partition the epoch that the client knows and the one whose end it asks for.
fn epochs(asked: &[(&str, i32, i32, i32)]) -> OffsetForLeaderEpochRequest {
    let topic = |(topic, partition, current, epoch): &(&str, i32, i32, i32)| {
        let partition = OffsetForLeaderPartition::default()
            .with_partition(*partition)
            .with_current_leader_epoch(*current)
            .with_leader_epoch(*epoch);
        OffsetForLeaderTopic::default().with_topic(topic_name(topic)).with_partitions(vec![partition])
    };
    OffsetForLeaderEpochRequest::default()
        .with_replica_id(BrokerId(-2))
        .with_topics(asked.iter().map(topic).collect())
}

fn elect(asked: Option<&[(&str, &[i32])]>) -> ElectLeadersRequest {
    let topic = |(topic, partitions): &(&str, &[i32])| {
        TopicPartitions::default().with_topic(topic_name(topic)).with_partitions(partitions.to_vec())
    };
    let asked = asked.map(|topics| topics.iter().map(topic).collect());
    ElectLeadersRequest::default().with_topic_partitions(asked)
}

fn reassign(asked: &[(&str, i32, Option<&[i32]>)]) -> AlterPartitionReassignmentsRequest {
    let topic = |(topic, partition, replicas): &(&str, i32, Option<&[i32]>)| {
        let replicas = replicas.map(|replicas| replicas.iter().map(|id| BrokerId(*id)).collect());
        let partition =
            ReassignablePartition::default().with_partition_index(*partition).with_replicas(replicas);
        ReassignableTopic::default().with_name(topic_name(topic)).with_partitions(vec![partition])
    };
    AlterPartitionReassignmentsRequest::default().with_topics(asked.iter().map(topic).collect())
}

fn reassignments(topics: &[&str]) -> ListPartitionReassignmentsRequest {
    let topic = |name: &&str| {
        ListPartitionReassignmentsTopics::default()
            .with_name(topic_name(name))
            .with_partition_indexes(vec![0, 1])
    };
    ListPartitionReassignmentsRequest::default().with_topics(Some(topics.iter().map(topic).collect()))
}

fn quorum(asked: &[(&str, &[i32])]) -> DescribeQuorumRequest {
    let partition = |index: &i32| PartitionData::default().with_partition_index(*index);
    let topic = |(topic, partitions): &(&str, &[i32])| {
        TopicData::default()
            .with_topic_name(topic_name(topic))
            .with_partitions(partitions.iter().map(partition).collect())
    };
    DescribeQuorumRequest::default().with_topics(asked.iter().map(topic).collect())
}

fn partitions(topics: &[&str], limit: i32, cursor: Option<(&str, i32)>) -> DescribeTopicPartitionsRequest {
    let topic = |name: &&str| TopicRequest::default().with_name(topic_name(name));
    let cursor = cursor.map(|(topic, index)| {
        Cursor::default().with_topic_name(topic_name(topic)).with_partition_index(index)
    });
    DescribeTopicPartitionsRequest::default()
        .with_topics(topics.iter().map(topic).collect())
        .with_response_partition_limit(limit)
        .with_cursor(cursor)
}

/// Creates topics with so many partitions.
fn create(client: &mut Client, topics: &[(&str, i32)]) {
    let topic = |(name, partitions): &(&str, i32)| {
        CreatableTopic::default()
            .with_name(topic_name(name))
            .with_num_partitions(*partitions)
            .with_replication_factor(1)
    };
    let request = CreateTopicsRequest::default().with_topics(topics.iter().map(topic).collect());
    let answer = client.call(7, &request);
    assert!(answer.topics.iter().all(|topic| topic.error_code == 0), "{answer:?}");
}

#[test]
fn the_one_epoch_ends_at_the_end_of_the_log() {
    let broker = Fixture::new();
    let mut client = broker.client();
    client.create_topic("t");
    client.produce("t", 0, batch(&["a", "b", "c"]));
    let asked = [
        ("t", 0, -1, 0),
        ("t", 0, 0, 0),
        ("t", 1, -1, 0),
        ("t", 0, -1, 5),
        ("t", 0, -1, -1),
        ("t", 0, 7, 0),
        ("t", 2, -1, 0),
        ("t", -1, -1, 0),
        ("none", 0, -1, 0),
    ];
    let answer = client.call(4, &epochs(&asked));
    let ends = answer.topics.iter().flat_map(|topic| &topic.partitions);
    let ends: Vec<_> =
        ends.map(|end| (ErrorCode(end.error_code), end.leader_epoch, end.end_offset)).collect();
    let (unknown, none) = (ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, ErrorCode::NONE);
    let expected = [
        (none, 0, 3),
        (none, 0, 3),
        (none, 0, 0),
        (none, -1, -1),
        (none, -1, -1),
        (ErrorCode::UNKNOWN_LEADER_EPOCH, -1, -1),
        (unknown, -1, -1),
        (unknown, -1, -1),
        (unknown, -1, -1),
    ];
    assert_eq!(ends, expected);
}

#[test]
fn no_leader_has_to_be_elected() {
    let broker = Fixture::new();
    let mut client = broker.client();
    client.create_topic("t");
    let asked: &[(&str, &[i32])] = &[("t", &[0, 9, 0, -1]), ("none", &[0])];
    for election_type in [0, 1] {
        let answer = client.call(2, &elect(Some(asked)).with_election_type(election_type));
        assert_eq!(answer.error_code, 0);
        let results: Vec<_> = answer
            .replica_election_results
            .iter()
            .flat_map(|topic| topic.partition_result.iter().map(|one| (&**topic.topic, one)))
            .map(|(topic, one)| (topic, one.partition_id, ErrorCode(one.error_code)))
            .collect();
        let expected = [
            ("t", 0, ErrorCode::ELECTION_NOT_NEEDED),
            ("t", 9, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION),
            ("t", -1, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION),
            ("none", 0, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION),
        ];
        assert_eq!(results, expected, "type {election_type}");
    }
    let answer = client.call(2, &elect(Some(asked)).with_election_type(9));
    assert_eq!(ErrorCode(answer.error_code), ErrorCode::INVALID_REQUEST);
    let first = &answer.replica_election_results[0].partition_result[0];
    assert_eq!(ErrorCode(first.error_code), ErrorCode::INVALID_REQUEST);
}

#[test]
fn an_election_in_all_topics_lists_them_without_partitions() {
    let broker = Fixture::new();
    let mut client = broker.client();
    client.create_topic("t");
    client.create_topic("u");
    for version in 0..=2 {
        let answer = client.call(version, &elect(None));
        let results = answer.replica_election_results.iter();
        let results: Vec<_> = results.map(|one| (&**one.topic, one.partition_result.len())).collect();
        assert_eq!(results, [("t", 0), ("u", 0)]);
    }
}

#[test]
fn a_partition_can_only_be_assigned_to_the_one_node() {
    let broker = Fixture::new();
    let mut client = broker.client();
    client.create_topic("t");
    let asked: [(&str, i32, Option<&[i32]>); 10] = [
        ("t", 0, Some(&[1])),
        ("t", 1, Some(&[2])),
        ("t", 1, Some(&[1, 1])),
        ("t", 1, Some(&[1, 2])),
        ("t", 1, Some(&[])),
        ("t", 1, Some(&[-1])),
        ("t", 0, None),
        ("t", 9, Some(&[1])),
        ("t", 9, None),
        ("none", 0, Some(&[1])),
    ];
    let answer = client.call(1, &reassign(&asked).with_allow_replication_factor_change(false));
    assert_eq!((answer.error_code, answer.error_message), (0, None));
    assert!(!answer.allow_replication_factor_change);
    let codes = answer.responses.iter().flat_map(|topic| &topic.partitions);
    let codes: Vec<_> = codes.map(|one| ErrorCode(one.error_code)).collect();
    let (invalid, unknown) = (ErrorCode::INVALID_REPLICA_ASSIGNMENT, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
    let cancelled = ErrorCode::NO_REASSIGNMENT_IN_PROGRESS;
    let expected =
        [ErrorCode::NONE, invalid, invalid, invalid, invalid, invalid, cancelled, unknown, unknown, unknown];
    assert_eq!(codes, expected);
    let why = answer.responses[1].partitions[0].error_message.clone().unwrap();
    assert_eq!(&*why, "there is no node 2, only node 1");
}

#[test]
fn no_partition_moves() {
    let broker = Fixture::new();
    let mut client = broker.client();
    client.create_topic("t");
    let all = ListPartitionReassignmentsRequest::default().with_topics(None);
    for request in [all, reassignments(&["t", "none"])] {
        let answer = client.call(0, &request);
        assert_eq!((answer.error_code, answer.error_message, answer.topics), (0, None, Vec::new()));
    }
}

#[test]
fn the_quorum_has_one_voter() {
    let broker = Fixture::new();
    let mut client = broker.client();
    let answer = client.call(2, &quorum(&[("__cluster_metadata", &[0])]));
    let partition = &answer.topics[0].partitions[0];
    assert_eq!((answer.error_code, partition.error_code, partition.leader_id.0), (0, 0, 1));
    let voters: Vec<_> = partition.current_voters.iter().map(|voter| voter.replica_id.0).collect();
    assert_eq!((voters, partition.observers.len()), (vec![1], 0));
    assert!(partition.current_voters[0].last_caught_up_timestamp > 1_700_000_000_000);
    assert_eq!((answer.nodes.len(), answer.nodes[0].node_id.0), (1, 1));
    let port = answer.nodes[0].listeners[0].port;
    assert_eq!(port, broker.broker.as_ref().unwrap().address().port());
    // Anything else, also beside it, has none.
    let others: [&[(&str, &[i32])]; 3] =
        [&[("t", &[0])], &[("__cluster_metadata", &[0, 1])], &[("__cluster_metadata", &[0]), ("t", &[0])]];
    for asked in others {
        let answer = client.call(2, &quorum(asked));
        let unknown = ErrorCode::UNKNOWN_TOPIC_OR_PARTITION;
        let mut partitions = answer.topics.iter().flat_map(|topic| &topic.partitions);
        assert!(partitions.all(|partition| ErrorCode(partition.error_code) == unknown));
        assert_eq!((answer.error_code, answer.nodes.len()), (0, 0));
    }
}

/// Topics with their error and partitions, and the cursor.
type Described = (Vec<(String, ErrorCode, Vec<i32>)>, Option<(String, i32)>);

fn describe(client: &mut Client, request: &DescribeTopicPartitionsRequest) -> Described {
    let answer = client.call(0, request);
    let topics = answer.topics.iter().map(|topic| {
        let indexes = topic.partitions.iter().map(|partition| partition.partition_index);
        (topic.name.as_ref().unwrap().to_string(), ErrorCode(topic.error_code), indexes.collect())
    });
    let next = answer.next_cursor.as_ref().map(|next| (next.topic_name.to_string(), next.partition_index));
    (topics.collect(), next)
}

fn found(name: &str, partitions: RangeInclusive<i32>) -> (String, ErrorCode, Vec<i32>) {
    (name.to_owned(), ErrorCode::NONE, partitions.collect())
}

fn unknown(name: &str) -> (String, ErrorCode, Vec<i32>) {
    (name.to_owned(), ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, Vec::new())
}

#[test]
fn topics_are_described_by_name_up_to_the_limit() {
    let broker = Fixture::new();
    let mut client = broker.client();
    create(&mut client, &[("t", 3), ("u", 2), ("v", 1)]);
    let names = ["v", "t", "u", "nope", "zz", "t"];
    let (t, next) = (|to| found("t", 0..=to), |name: &str, index| Some((name.to_owned(), index)));
    let expected: [(i32, Described); 8] = [
        (-5, (vec![unknown("nope"), t(0)], next("t", 1))),
        (0, (vec![unknown("nope"), t(0)], next("t", 1))),
        (1, (vec![unknown("nope"), t(0)], next("t", 1))),
        (3, (vec![unknown("nope"), t(2)], next("u", 0))),
        (4, (vec![unknown("nope"), t(2), found("u", 0..=0)], next("u", 1))),
        (5, (vec![unknown("nope"), t(2), found("u", 0..=1)], next("v", 0))),
        (6, (vec![unknown("nope"), t(2), found("u", 0..=1), found("v", 0..=0)], next("zz", 0))),
        (7, (vec![unknown("nope"), t(2), found("u", 0..=1), found("v", 0..=0), unknown("zz")], None)),
    ];
    for (limit, expected) in expected {
        assert_eq!(describe(&mut client, &partitions(&names, limit, None)), expected, "limit {limit}");
    }
    let (topics, _) = describe(&mut client, &partitions(&["b/d", ""], 9, None));
    let illegal = |name: &str| (name.to_owned(), ErrorCode::INVALID_TOPIC_EXCEPTION, Vec::new());
    assert_eq!(topics, [illegal(""), illegal("b/d")]);
}

#[test]
fn a_cursor_goes_on_where_the_answer_before_ended() {
    let broker = Fixture::new();
    let mut client = broker.client();
    create(&mut client, &[("t", 3), ("u", 2), ("v", 1)]);
    for asked in [&["v", "t", "u"][..], &[]] {
        let (mut seen, mut cursor, mut answers) = (Vec::new(), None, 0);
        loop {
            let at = cursor.as_ref().map(|(name, index): &(String, i32)| (name.as_str(), *index));
            let (topics, next) = describe(&mut client, &partitions(asked, 2, at));
            let indexes = |(name, _, indexes): (String, ErrorCode, Vec<i32>)| {
                indexes.into_iter().map(move |index| (name.clone(), index)).collect::<Vec<_>>()
            };
            seen.extend(topics.into_iter().flat_map(indexes));
            answers += 1;
            cursor = next;
            if cursor.is_none() {
                break;
            }
        }
        let seen: Vec<_> = seen.iter().map(|(name, index)| (name.as_str(), *index)).collect();
        assert_eq!(seen, [("t", 0), ("t", 1), ("t", 2), ("u", 0), ("u", 1), ("v", 0)]);
        assert_eq!(answers, 3);
    }
}

#[test]
fn a_cursor_has_to_fit_the_topics() {
    let broker = Fixture::new();
    let mut client = broker.client();
    create(&mut client, &[("t", 3), ("u", 2)]);
    let asked = ["t", "u", "nope"];
    // Beyond the last partition, at a topic that is not there, and among all topics at one that is gone.
    let (topics, next) = describe(&mut client, &partitions(&asked, 9, Some(("t", 99))));
    assert_eq!((topics, next), (vec![("t".to_owned(), ErrorCode::NONE, vec![]), found("u", 0..=1)], None));
    let (topics, _) = describe(&mut client, &partitions(&asked, 9, Some(("nope", 1))));
    assert_eq!(topics, [unknown("nope"), found("t", 0..=2), found("u", 0..=1)]);
    assert_eq!(describe(&mut client, &partitions(&[], 9, Some(("tz", 1)))).0, [found("u", 0..=1)]);
    // At a topic that is not asked for, and before the first partition.
    for cursor in [("tz", 0), ("zz", 0), ("t", -1)] {
        let (topics, next) = describe(&mut client, &partitions(&asked, 9, Some(cursor)));
        assert!(topics.iter().all(|(_, code, _)| *code == ErrorCode::INVALID_REQUEST), "{topics:?}");
        assert_eq!((topics.len(), next), (3, None));
    }
}

#[test]
fn a_described_topic_has_its_id_its_leader_and_its_replica() {
    let broker = Fixture::new();
    let mut client = broker.client();
    let topic = CreatableTopic::default()
        .with_name(topic_name("t"))
        .with_num_partitions(1)
        .with_replication_factor(1);
    let created = client.call(7, &CreateTopicsRequest::default().with_topics(vec![topic]));
    let answer = client.call(0, &partitions(&[], 9, None));
    assert_eq!(answer.topics[0].topic_id, created.topics[0].topic_id);
    assert!(!answer.topics[0].is_internal);
    let partition = &answer.topics[0].partitions[0];
    assert_eq!((partition.leader_id.0, partition.leader_epoch), (1, 0));
    assert_eq!((&partition.replica_nodes, &partition.isr_nodes), (&vec![BrokerId(1)], &vec![BrokerId(1)]));
}

#[test]
fn the_delay_of_first_rebalances_is_among_the_configs_of_the_broker() {
    let broker = Fixture::new();
    let name = "group.initial.rebalance.delay.ms";
    let resource = DescribeConfigsResource::default()
        .with_resource_type(4)
        .with_resource_name(text("1"))
        .with_configuration_keys(Some(vec![text(name)]));
    let answer = broker.client().call(4, &DescribeConfigsRequest::default().with_resources(vec![resource]));
    let configs = answer.results[0].configs.iter();
    let configs: Vec<_> = configs.map(|one| (&*one.name, one.value.as_deref())).collect();
    assert_eq!(configs, [(name, Some("0"))]);
}

#[test]
fn an_answer_has_at_most_2000_partitions() {
    let broker = Fixture::new();
    let mut client = broker.client();
    create(&mut client, &[("a", 999), ("b", 999), ("c", 999)]);
    let (topics, next) = describe(&mut client, &partitions(&[], i32::MAX, None));
    let described: usize = topics.iter().map(|(_, _, partitions)| partitions.len()).sum();
    assert_eq!((described, next), (2000, Some(("c".to_owned(), 2))));
}

#[test]
fn a_request_for_more_partitions_than_a_message_may_have_closes_the_connection() {
    let broker = Fixture::new();
    let mut client = broker.client();
    let many: Vec<i32> = (0..40_000).collect();
    client.send(2, &elect(Some(&[("t", &many)])));
    client.expect_closed();
    assert_eq!(broker.client().call(2, &elect(Some(&[]))).error_code, 0, "others are served");
}
