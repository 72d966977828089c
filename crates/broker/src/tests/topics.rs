//! Metadata, CreateTopics, DeleteTopics and DescribeCluster.

use kafka_protocol::messages::create_partitions_request::CreatePartitionsTopic;
use kafka_protocol::messages::create_topics_request::{CreatableReplicaAssignment, CreatableTopic};
use kafka_protocol::messages::create_topics_response::CreatableTopicResult;
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::metadata_response::MetadataResponseTopic;
use kafka_protocol::messages::{
    BrokerId, CreatePartitionsRequest, CreateTopicsRequest, DeleteTopicsRequest, DescribeClusterRequest,
    FindCoordinatorRequest, MetadataRequest,
};

use super::client::{Client, batch, text, topic_name};
use super::{Fixture, Folder, settings};
use crate::Broker;
use protocol::error_code::ErrorCode;

fn metadata(
    client: &mut Client,
    version: i16,
    names: Option<&[&str]>,
    create: bool,
) -> Vec<MetadataResponseTopic> {
    let topic = |name: &&str| MetadataRequestTopic::default().with_name(Some(topic_name(name)));
    let request = MetadataRequest::default()
        .with_topics(names.map(|names| names.iter().map(topic).collect()))
        .with_allow_auto_topic_creation(create);
    client.call(version, &request).topics
}

fn described(topics: &[MetadataResponseTopic]) -> Vec<(String, i16, usize)> {
    let row = |topic: &MetadataResponseTopic| {
        (topic.name.as_ref().unwrap().to_string(), topic.error_code, topic.partitions.len())
    };
    topics.iter().map(row).collect()
}

fn row(name: &str, code: ErrorCode, partitions: usize) -> (String, i16, usize) {
    (name.to_owned(), code.0, partitions)
}

#[test]
fn metadata_creates_the_topics_it_is_allowed_to() {
    let broker = Fixture::new();
    let mut client = broker.client();
    let unknown = ErrorCode::UNKNOWN_TOPIC_OR_PARTITION;
    assert_eq!(described(&metadata(&mut client, 9, Some(&["a"]), false)), [row("a", unknown, 0)]);
    let asked = metadata(&mut client, 9, Some(&["a", "b", "a", "not/legal", ""]), true);
    let invalid = ErrorCode::INVALID_TOPIC_EXCEPTION;
    let ok = ErrorCode::NONE;
    // What is asked for twice is answered once, as in Kafka.
    let expected = [row("a", ok, 2), row("b", ok, 2), row("not/legal", invalid, 0), row("", invalid, 0)];
    assert_eq!(described(&asked), expected);
    let partition = &asked[0].partitions[1];
    assert_eq!((partition.partition_index, partition.leader_id, partition.leader_epoch), (1, BrokerId(1), 0));
    assert_eq!((&partition.replica_nodes, &partition.isr_nodes), (&vec![BrokerId(1)], &vec![BrokerId(1)]));
    // Before version 4 nobody can forbid it.
    assert_eq!(described(&metadata(&mut client, 1, Some(&["c"]), true)), [row("c", ok, 2)]);
    let all = [row("a", ok, 2), row("b", ok, 2), row("c", ok, 2)];
    assert_eq!(described(&metadata(&mut client, 9, None, true)), all);
    assert_eq!(described(&metadata(&mut client, 1, Some(&[]), true)), []);
    assert_eq!(described(&metadata(&mut client, 0, Some(&[]), true)), all);
}

#[test]
fn metadata_creates_nothing_where_the_settings_forbid_it() {
    let folder = Folder::new();
    let settings = settings(&folder, "127.0.0.1:0");
    let broker = Broker::start(crate::BrokerSettings { auto_create_topics: false, ..settings }).unwrap();
    let mut client = Client::connect(broker.address());
    let unknown = ErrorCode::UNKNOWN_TOPIC_OR_PARTITION;
    for version in [1, 9] {
        assert_eq!(described(&metadata(&mut client, version, Some(&["a"]), true)), [row("a", unknown, 0)]);
    }
    broker.stop();
}

#[test]
fn clients_are_told_the_address_that_they_came_over() {
    let broker = Fixture::new();
    let mut client = broker.client();
    let address = client.stream.peer_addr().unwrap();
    let answer = client.call(9, &MetadataRequest::default().with_topics(Some(Vec::new())));
    let node = &answer.brokers[0];
    assert_eq!((node.node_id, node.port), (BrokerId(1), i32::from(address.port())));
    assert_eq!(node.host.as_str(), address.ip().to_string());
    assert_eq!(answer.controller_id, BrokerId(1));
    let cluster = client.call(1, &DescribeClusterRequest::default().with_endpoint_type(1));
    assert_eq!((cluster.error_code, cluster.brokers.len()), (0, 1));
    assert_eq!((cluster.brokers[0].host.as_str(), cluster.brokers[0].port), (node.host.as_str(), node.port));
    assert_eq!(Some(cluster.cluster_id), answer.cluster_id);
    let refused = client.call(1, &DescribeClusterRequest::default().with_endpoint_type(2));
    assert_eq!(ErrorCode(refused.error_code), ErrorCode::MISMATCHED_ENDPOINT_TYPE);
}

#[test]
fn clients_are_told_the_advertised_address_where_one_is_set() {
    for host in ["broker.example", "::1"] {
        let folder = Folder::new();
        let advertised = Some((host.to_owned(), 19_092));
        let settings = crate::BrokerSettings { advertised, ..settings(&folder, "127.0.0.1:0") };
        let broker = Broker::start(settings).unwrap();
        let mut client = Client::connect(broker.address());
        for version in [0, 1, 9] {
            let answer = client.call(version, &MetadataRequest::default().with_topics(Some(Vec::new())));
            let node = &answer.brokers[0];
            assert_eq!((node.host.as_str(), node.port), (host, 19_092), "Metadata {version}");
        }
        let cluster = client.call(1, &DescribeClusterRequest::default().with_endpoint_type(1));
        assert_eq!((cluster.brokers[0].host.as_str(), cluster.brokers[0].port), (host, 19_092));
        let key = FindCoordinatorRequest::default().with_key(text("g"));
        let coordinator = client.call(3, &key);
        assert_eq!((coordinator.host.as_str(), coordinator.port), (host, 19_092));
        broker.stop();
    }
}

fn topic(name: &str, partitions: i32, replicas: i16) -> CreatableTopic {
    CreatableTopic::default()
        .with_name(topic_name(name))
        .with_num_partitions(partitions)
        .with_replication_factor(replicas)
}

fn create(
    client: &mut Client,
    topics: Vec<CreatableTopic>,
    validate_only: bool,
) -> Vec<CreatableTopicResult> {
    let request = CreateTopicsRequest::default().with_topics(topics).with_validate_only(validate_only);
    client.call(7, &request).topics
}

fn created(client: &mut Client, topic: CreatableTopic) -> ErrorCode {
    ErrorCode(create(client, vec![topic], false)[0].error_code)
}

#[test]
fn topics_are_created_as_asked_for_or_refused_with_a_reason() {
    let broker = Fixture::new();
    let mut client = broker.client();
    let results = create(&mut client, vec![topic("a", 3, 1), topic("b", -1, -1), topic("c", 0, 1)], false);
    assert_eq!((results[0].error_code, results[0].num_partitions, results[0].replication_factor), (0, 3, 1));
    assert_eq!((results[1].error_code, results[1].num_partitions), (0, 2));
    assert_eq!(ErrorCode(results[2].error_code), ErrorCode::INVALID_PARTITIONS);
    assert!(!results[0].topic_id.is_nil() && results[0].topic_id != results[1].topic_id);
    assert!(
        results[0].configs.as_ref().unwrap().iter().any(|config| config.name.as_str() == "cleanup.policy")
    );

    assert_eq!(created(&mut client, topic("a", 3, 1)), ErrorCode::TOPIC_ALREADY_EXISTS);
    assert_eq!(created(&mut client, topic("x", 1, 2)), ErrorCode::INVALID_REPLICATION_FACTOR);
    assert_eq!(created(&mut client, topic("x", 1, 0)), ErrorCode::INVALID_REPLICATION_FACTOR);
    assert_eq!(created(&mut client, topic("x", -2, 1)), ErrorCode::INVALID_PARTITIONS);
    assert_eq!(created(&mut client, topic("x y", 1, 1)), ErrorCode::INVALID_TOPIC_EXCEPTION);
    let twice = create(&mut client, vec![topic("x", 1, 1), topic("y", 1, 1), topic("x", 1, 1)], false);
    let codes: Vec<_> = twice.iter().map(|result| ErrorCode(result.error_code)).collect();
    assert_eq!(codes, [ErrorCode::INVALID_REQUEST, ErrorCode::NONE, ErrorCode::INVALID_REQUEST]);
}

#[test]
fn who_asks_for_too_many_partitions_is_told_how_many_there_may_be() {
    let broker = Fixture::new();
    let mut client = broker.client();
    let most = "10000 partitions at most, all topics together";
    client.create_topic("a");
    let refused = create(&mut client, vec![topic("big", 10_000, 1)], false).remove(0);
    assert_eq!(ErrorCode(refused.error_code), ErrorCode::POLICY_VIOLATION);
    assert!(refused.error_message.unwrap().contains(most));
    let more =
        CreatePartitionsTopic::default().with_name(topic_name("a")).with_count(10_001).with_assignments(None);
    let answer = client.call(3, &CreatePartitionsRequest::default().with_topics(vec![more]));
    assert_eq!(ErrorCode(answer.results[0].error_code), ErrorCode::POLICY_VIOLATION);
    assert!(answer.results[0].error_message.as_ref().unwrap().contains(most));
}

#[test]
fn kafkas_own_topics_are_neither_created_nor_written_to() {
    let broker = Fixture::new();
    let mut client = broker.client();
    let (invalid, unknown) = (ErrorCode::INVALID_TOPIC_EXCEPTION, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
    for name in ["__consumer_offsets", "__transaction_state", "__share_group_state"] {
        for validate_only in [true, false] {
            let result = create(&mut client, vec![topic(name, 1, 1)], validate_only).remove(0);
            assert_eq!(ErrorCode(result.error_code), invalid, "{name}");
            let why = result.error_message.unwrap();
            assert!(why.contains("a topic of Kafka itself"), "{why}");
        }
        for (version, create, code) in [(9, true, invalid), (1, true, invalid), (9, false, unknown)] {
            let asked = metadata(&mut client, version, Some(&[name]), create);
            assert_eq!(described(&asked), [row(name, code, 0)], "Metadata {version}");
        }
        let refused = client.produce(name, 0, batch(&["a"]));
        assert_eq!(ErrorCode(refused.error_code), invalid, "{name}");
        assert!(refused.error_message.unwrap().contains("a topic of Kafka itself"));
    }
    assert_eq!(created(&mut client, topic("__mine", 1, 1)), ErrorCode::NONE);
    assert_eq!(described(&metadata(&mut client, 9, None, true)), [row("__mine", ErrorCode::NONE, 1)]);
}

#[test]
fn names_that_differ_in_points_and_underscores_alone_are_refused_as_in_kafka() {
    let broker = Fixture::new();
    let mut client = broker.client();
    let (invalid, unknown) = (ErrorCode::INVALID_TOPIC_EXCEPTION, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
    client.create_topic("orders.a");
    for validate_only in [true, false] {
        let result = create(&mut client, vec![topic("orders_a", 1, 1)], validate_only).remove(0);
        assert_eq!(ErrorCode(result.error_code), invalid);
        let why = result.error_message.unwrap();
        assert!(why.contains("orders_a collides with topic orders.a"), "{why}");
    }
    for (create, code) in [(true, invalid), (false, unknown)] {
        let asked = metadata(&mut client, 9, Some(&["orders_a"]), create);
        assert_eq!(described(&asked), [row("orders_a", code, 0)]);
    }
    assert_eq!(created(&mut client, topic("orders.a", 1, 1)), ErrorCode::TOPIC_ALREADY_EXISTS);
    assert_eq!(created(&mut client, topic("orders-a", 1, 1)), ErrorCode::NONE);
    client.delete_topic("orders.a");
    assert_eq!(created(&mut client, topic("orders_a", 1, 1)), ErrorCode::NONE);
}

#[test]
fn a_request_that_only_validates_creates_nothing() {
    let broker = Fixture::new();
    let mut client = broker.client();
    assert_eq!(create(&mut client, vec![topic("a", 3, 1)], true)[0].error_code, 0);
    assert_eq!(described(&metadata(&mut client, 9, None, false)), []);
    assert_eq!(created(&mut client, topic("a", 3, 1)), ErrorCode::NONE);
    let again = create(&mut client, vec![topic("a", 3, 1)], true);
    assert_eq!(ErrorCode(again[0].error_code), ErrorCode::TOPIC_ALREADY_EXISTS);
}

#[test]
fn assignments_may_name_our_node_alone() {
    let broker = Fixture::new();
    let mut client = broker.client();
    let assigned = |partitions: &[(i32, i32)]| {
        let assignment = |(partition, node): &(i32, i32)| {
            CreatableReplicaAssignment::default()
                .with_partition_index(*partition)
                .with_broker_ids(vec![BrokerId(*node)])
        };
        topic("a", -1, -1).with_assignments(partitions.iter().map(assignment).collect())
    };
    let refused = ErrorCode::INVALID_REPLICA_ASSIGNMENT;
    assert_eq!(created(&mut client, assigned(&[(0, 2)])), refused);
    assert_eq!(created(&mut client, assigned(&[(0, 1), (2, 1)])), refused);
    assert_eq!(created(&mut client, assigned(&[(0, 1), (0, 1)])), refused);
    assert_eq!(created(&mut client, assigned(&[(0, 1)]).with_num_partitions(1)), ErrorCode::INVALID_REQUEST);
    assert_eq!(created(&mut client, assigned(&[(1, 1), (0, 1)])), ErrorCode::NONE);
    assert_eq!(described(&metadata(&mut client, 9, None, false)), [row("a", ErrorCode::NONE, 2)]);
}

#[test]
fn a_deleted_topic_is_gone_and_comes_back_empty() {
    let broker = Fixture::new();
    let mut client = broker.client();
    client.create_topic("a");
    client.produce("a", 0, batch(&["old"]));
    let names = vec![topic_name("a"), topic_name("none")];
    let answer = client.call(5, &DeleteTopicsRequest::default().with_topic_names(names));
    let codes: Vec<_> = answer.responses.iter().map(|result| ErrorCode(result.error_code)).collect();
    assert_eq!(codes, [ErrorCode::NONE, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION]);
    assert_eq!(ErrorCode(client.fetch("a", 0, 0).error_code), ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
    client.create_topic("a");
    assert_eq!(client.fetch("a", 0, 0).high_watermark, 0);
    assert_eq!(client.produce("a", 0, batch(&["new"])).base_offset, 0);
}
