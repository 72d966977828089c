//! CreatePartitions, DeleteRecords, DescribeLogDirs and DescribeProducers.

use kafka_protocol::messages::create_partitions_request::{
    CreatePartitionsAssignment, CreatePartitionsTopic,
};
use kafka_protocol::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
use kafka_protocol::messages::describe_log_dirs_request::DescribableLogDirTopic;
use kafka_protocol::messages::describe_log_dirs_response::DescribeLogDirsResult;
use kafka_protocol::messages::describe_producers_request::TopicRequest;
use kafka_protocol::messages::{
    BrokerId, CreatePartitionsRequest, DeleteRecordsRequest, DescribeLogDirsRequest,
    DescribeProducersRequest, MetadataRequest,
};

use super::Fixture;
use super::client::{Client, batch, batch_of, topic_name, values};
use protocol::compression::Compression;
use protocol::error_code::ErrorCode;

/// A request for a topic, with the nodes of each new partition.
pub fn create_partitions(topic: &str, count: i32, assignments: Option<&[&[i32]]>) -> CreatePartitionsRequest {
    let assignment = |nodes: &&[i32]| {
        let nodes = nodes.iter().map(|node| BrokerId(*node)).collect();
        CreatePartitionsAssignment::default().with_broker_ids(nodes)
    };
    let topic = CreatePartitionsTopic::default()
        .with_name(topic_name(topic))
        .with_count(count)
        .with_assignments(assignments.map(|assignments| assignments.iter().map(assignment).collect()));
    CreatePartitionsRequest::default().with_topics(vec![topic])
}

/// A request for partitions of a topic, each with the offset before which records go.
pub fn delete_records(topic: &str, partitions: &[(i32, i64)]) -> DeleteRecordsRequest {
    let partition = |(index, offset): &(i32, i64)| {
        DeleteRecordsPartition::default().with_partition_index(*index).with_offset(*offset)
    };
    let topic = DeleteRecordsTopic::default()
        .with_name(topic_name(topic))
        .with_partitions(partitions.iter().map(partition).collect());
    DeleteRecordsRequest::default().with_topics(vec![topic]).with_timeout_ms(10_000)
}

pub fn log_dirs(topics: Option<&[(&str, &[i32])]>) -> DescribeLogDirsRequest {
    let topic = |(topic, partitions): &(&str, &[i32])| {
        DescribableLogDirTopic::default().with_topic(topic_name(topic)).with_partitions(partitions.to_vec())
    };
    DescribeLogDirsRequest::default().with_topics(topics.map(|topics| topics.iter().map(topic).collect()))
}

pub fn producers(topic: &str, partitions: &[i32]) -> DescribeProducersRequest {
    let topic =
        TopicRequest::default().with_name(topic_name(topic)).with_partition_indexes(partitions.to_vec());
    DescribeProducersRequest::default().with_topics(vec![topic])
}

fn grow(client: &mut Client, request: &CreatePartitionsRequest) -> ErrorCode {
    let answer = client.call(3, request);
    let result = &answer.results[0];
    assert_eq!(result.error_message.is_some(), result.error_code != 0);
    ErrorCode(result.error_code)
}

fn partitions(client: &mut Client, topic: &str) -> usize {
    let answer = client.call(9, &MetadataRequest::default().with_topics(None));
    let name = |name: &Option<kafka_protocol::messages::TopicName>| name.as_ref().unwrap().to_string();
    answer.topics.iter().find(|found| name(&found.name) == topic).unwrap().partitions.len()
}

#[test]
fn a_topic_gets_more_partitions_and_serves_them() {
    let broker = Fixture::new();
    let mut client = broker.client();
    client.create_topic("t");
    assert_eq!(grow(&mut client, &create_partitions("t", 5, None).with_validate_only(true)), ErrorCode::NONE);
    assert_eq!(partitions(&mut client, "t"), 2);
    assert_eq!(grow(&mut client, &create_partitions("t", 3, None)), ErrorCode::NONE);
    assert_eq!(partitions(&mut client, "t"), 3);
    assert_eq!(client.produce("t", 2, batch(&["x"])).base_offset, 0);
    assert_eq!(values(&client.fetch("t", 2, 0)), [(0, "x".to_owned())]);
    assert_eq!(grow(&mut client, &create_partitions("t", 5, Some(&[&[1], &[1]]))), ErrorCode::NONE);
    assert_eq!(partitions(&mut client, "t"), 5);
}

#[test]
fn partitions_that_cannot_be_created_are_refused_as_in_kafka() {
    let broker = Fixture::new();
    let mut client = broker.client();
    client.create_topic("t");
    for count in [2, 1, 0, -5] {
        assert_eq!(grow(&mut client, &create_partitions("t", count, None)), ErrorCode::INVALID_PARTITIONS);
    }
    for name in ["none", "no/name"] {
        let unknown = ErrorCode::UNKNOWN_TOPIC_OR_PARTITION;
        assert_eq!(grow(&mut client, &create_partitions(name, 5, None)), unknown);
    }
    let refused: [&[&[i32]]; 6] = [&[], &[&[1], &[1]], &[&[2]], &[&[]], &[&[1, 1]], &[&[1, 2]]];
    for assignments in refused {
        let code = grow(&mut client, &create_partitions("t", 3, Some(assignments)));
        assert_eq!(code, ErrorCode::INVALID_REPLICA_ASSIGNMENT, "{assignments:?}");
    }
    assert_eq!(grow(&mut client, &create_partitions("t", 20_000, None)), ErrorCode::POLICY_VIOLATION);
    let mut twice = create_partitions("t", 3, None);
    twice.topics.push(twice.topics[0].clone());
    let codes: Vec<_> =
        client.call(0, &twice).results.iter().map(|result| ErrorCode(result.error_code)).collect();
    assert_eq!(codes, [ErrorCode::INVALID_REQUEST]);
    assert_eq!(partitions(&mut client, "t"), 2);
}

#[test]
fn records_are_deleted_up_to_an_offset_and_the_rest_is_served() {
    let broker = Fixture::new();
    let mut client = broker.client();
    client.create_topic("t");
    client.produce("t", 0, batch(&["a", "b", "c"]));
    client.produce("t", 0, batch(&["d"]));
    let mut delete = |index, offset| {
        let answer = client.call(2, &delete_records("t", &[(index, offset)]));
        let result = &answer.topics[0].partitions[0];
        (ErrorCode(result.error_code), result.low_watermark)
    };
    assert_eq!(delete(0, 2), (ErrorCode::NONE, 2));
    assert_eq!(delete(0, 1), (ErrorCode::NONE, 2));
    assert_eq!(delete(0, 5), (ErrorCode::OFFSET_OUT_OF_RANGE, -1));
    assert_eq!(delete(0, -2), (ErrorCode::OFFSET_OUT_OF_RANGE, -1));
    assert_eq!(delete(7, 0), (ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, -1));
    assert_eq!(ErrorCode(client.fetch("t", 0, 1).error_code), ErrorCode::OFFSET_OUT_OF_RANGE);
    // The batch comes whole; its first records are below the log start offset, and clients skip them.
    let fetched = client.fetch("t", 0, 2);
    assert_eq!(fetched.log_start_offset, 2);
    assert_eq!(values(&fetched).len(), 4);
    let answer = client.call(0, &delete_records("t", &[(0, -1), (0, 0), (1, -1)]));
    let results: Vec<_> = answer.topics[0]
        .partitions
        .iter()
        .map(|one| (one.partition_index, one.error_code, one.low_watermark))
        .collect();
    assert_eq!(results, [(0, 0, 4), (1, 0, 0)]);
    assert_eq!(client.fetch("t", 0, 4).log_start_offset, 4);
    assert_eq!(client.produce("t", 0, batch(&["e"])).base_offset, 4);
}

#[test]
fn records_of_a_topic_that_is_only_compacted_are_not_deleted() {
    let broker = Fixture::new();
    let mut client = broker.client();
    for (policy, code) in [
        ("compact", ErrorCode::POLICY_VIOLATION),
        ("", ErrorCode::POLICY_VIOLATION),
        ("compact,delete", ErrorCode::NONE),
    ] {
        let name = format!("t-{}", policy.len());
        client.create_with(&name, &[("cleanup.policy", policy)]);
        let answer = client.call(2, &delete_records(&name, &[(0, 0)]));
        assert_eq!(ErrorCode(answer.topics[0].partitions[0].error_code), code, "{policy}");
    }
}

fn sizes(result: &DescribeLogDirsResult) -> Vec<(String, Vec<(i32, i64)>)> {
    let topic = |topic: &kafka_protocol::messages::describe_log_dirs_response::DescribeLogDirsTopic| {
        let sizes = topic.partitions.iter().map(|one| (one.partition_index, one.partition_size));
        (topic.name.to_string(), sizes.collect())
    };
    result.topics.iter().map(topic).collect()
}

#[test]
fn the_data_folder_is_described_with_sizes_and_volume() {
    let broker = Fixture::new();
    let mut client = broker.client();
    client.create_topic("a");
    client.create_topic("b");
    let stored = batch(&["x"]);
    let size = stored.len() as i64;
    client.produce("a", 1, stored.clone());
    client.produce("a", 1, stored);
    let answer = client.call(4, &log_dirs(None));
    let [result] = answer.results.as_slice() else { panic!("{answer:?}") };
    assert_eq!((answer.error_code, result.error_code), (0, 0));
    assert_eq!(result.log_dir.as_str(), broker._folder.path().to_str().unwrap());
    let a = ("a".to_owned(), vec![(0, 0), (1, 2 * size)]);
    assert_eq!(sizes(result), [a, ("b".to_owned(), vec![(0, 0), (1, 0)])]);
    assert!(result.usable_bytes > 0 && result.total_bytes >= result.usable_bytes);
    let partition = &result.topics[0].partitions[0];
    assert_eq!((partition.offset_lag, partition.is_future_key), (0, false));
    // What is not there is left out; what is asked for twice comes once.
    let some: [(&str, &[i32]); 4] = [("a", &[1, 1, 9]), ("b", &[9]), ("none", &[0]), ("a", &[0])];
    let answer = client.call(1, &log_dirs(Some(&some)));
    assert_eq!(sizes(&answer.results[0]), [("a".to_owned(), vec![(1, 2 * size)])]);
    // As in Kafka, an empty list asks for nothing.
    assert_eq!(sizes(&client.call(3, &log_dirs(Some(&[]))).results[0]), []);
}

#[test]
fn idempotent_producers_of_a_partition_are_described() {
    let broker = Fixture::new();
    let mut client = broker.client();
    client.create_topic("t");
    client.produce("t", 0, batch_of(&["a", "b"], 5, 0, Compression::None));
    client.produce("t", 0, batch_of(&["c"], 5, 2, Compression::None));
    client.produce("t", 0, batch_of(&["d"], 4, 0, Compression::None));
    client.produce("t", 0, batch(&["e"]));
    let answer = client.call(0, &producers("t", &[0, 1, 9]));
    let [first, second, none] = answer.topics[0].partitions.as_slice() else { panic!("{answer:?}") };
    let rows: Vec<_> = first
        .active_producers
        .iter()
        .map(|one| (one.producer_id.0, one.producer_epoch, one.last_sequence, one.current_txn_start_offset))
        .collect();
    assert_eq!((first.error_code, rows), (0, vec![(4, 0, 0, -1), (5, 0, 2, -1)]));
    assert!(first.active_producers.iter().all(|one| one.last_timestamp > 0 && one.coordinator_epoch == -1));
    assert_eq!((second.error_code, second.active_producers.len()), (0, 0));
    assert_eq!(ErrorCode(none.error_code), ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
    assert!(none.error_message.is_some());
}
