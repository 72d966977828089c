//! Fetch and ListOffsets: what comes, how much of it, and when.

use std::time::{Duration, Instant};

use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::{BrokerId, FetchRequest, ListOffsetsRequest};

use super::client::{Client, batch, fetch, long_fetch, topic_name, values};
use super::{Fixture, PATIENCE};
use protocol::error_code::ErrorCode;

fn owned(expected: &[(i64, &str)]) -> Vec<(i64, String)> {
    expected.iter().map(|(offset, value)| (*offset, (*value).to_owned())).collect()
}

#[test]
fn a_fetch_that_waits_is_answered_when_a_record_arrives() {
    let broker = Fixture::new();
    let (mut producer, mut consumer) = (broker.client(), broker.client());
    producer.create_topic("t");
    consumer.send(12, &long_fetch(("t", 1, 0), PATIENCE * 2, 1));
    // Another partition's records are not its own.
    producer.produce("t", 0, batch(&["elsewhere"]));
    producer.produce("t", 1, batch(&["a"]));
    let mut answer = consumer.receive::<FetchRequest>(12);
    assert_eq!(values(&answer.responses.remove(0).partitions[0]), owned(&[(0, "a")]));
}

#[test]
fn a_fetch_waits_for_its_least_bytes_and_no_longer_than_it_says() {
    let broker = Fixture::new();
    let (mut producer, mut consumer) = (broker.client(), broker.client());
    producer.create_topic("t");
    let one = batch(&["a"]);
    let least = i32::try_from(one.len() + 1).unwrap();
    consumer.send(12, &long_fetch(("t", 0, 0), PATIENCE * 2, least));
    producer.produce("t", 0, one);
    producer.produce("t", 0, batch(&["b"]));
    let mut answer = consumer.receive::<FetchRequest>(12);
    assert_eq!(values(&answer.responses.remove(0).partitions[0]), owned(&[(0, "a"), (1, "b")]));

    let wait = Duration::from_millis(300);
    let asked = Instant::now();
    let mut answer = consumer.call(12, &long_fetch(("t", 0, 1), wait, i32::MAX));
    assert!(asked.elapsed() >= wait, "it was answered too early");
    assert_eq!(values(&answer.responses.remove(0).partitions[0]), owned(&[(1, "b")]));
}

#[test]
fn the_first_batch_comes_whole_and_the_others_within_the_most_bytes() {
    let broker = Fixture::new();
    let mut client = broker.client();
    client.create_topic("t");
    for value in ["a", "b", "c"] {
        client.produce("t", 0, batch(&[value]));
        client.produce("t", 1, batch(&[value]));
    }
    let size = i32::try_from(batch(&["a"]).len()).unwrap();
    let both = [("t", 0, 0), ("t", 1, 0)];
    let mut counts = |max_bytes: i32, max_partition: i32| {
        let mut request = fetch(&both).with_max_bytes(max_bytes);
        request.topics.iter_mut().for_each(|topic| topic.partitions[0].partition_max_bytes = max_partition);
        let answer = client.call(12, &request);
        answer.responses.iter().map(|topic| values(&topic.partitions[0]).len()).collect::<Vec<_>>()
    };
    assert_eq!(counts(i32::MAX, i32::MAX), [3, 3]);
    assert_eq!(counts(1, i32::MAX), [1, 0]);
    assert_eq!(counts(i32::MAX, 1), [1, 0]);
    assert_eq!(counts(4 * size, i32::MAX), [3, 1]);
    assert_eq!(counts(i32::MAX, 2 * size + 1), [2, 2]);
    assert_eq!(counts(0, 0), [1, 0]);
    assert_eq!(counts(-1, -1), [1, 0]);
}

#[test]
fn an_error_in_a_partition_is_answered_at_once() {
    let broker = Fixture::new();
    let mut client = broker.client();
    client.create_topic("t");
    client.produce("t", 0, batch(&["a"]));
    for (position, code) in [
        (("t", 0, 2), ErrorCode::OFFSET_OUT_OF_RANGE),
        (("t", 0, -1), ErrorCode::OFFSET_OUT_OF_RANGE),
        (("t", 9, 0), ErrorCode::UNKNOWN_TOPIC_OR_PARTITION),
        (("none", 0, 0), ErrorCode::UNKNOWN_TOPIC_OR_PARTITION),
    ] {
        let asked = Instant::now();
        let answer = client.call(12, &long_fetch(position, PATIENCE * 2, 1));
        assert!(asked.elapsed() < PATIENCE, "the answer waited: {position:?}");
        assert_eq!(ErrorCode(answer.responses[0].partitions[0].error_code), code, "{position:?}");
    }
    let mut request = fetch(&[("t", 0, 0)]);
    request.topics[0].partitions[0].current_leader_epoch = 1;
    let answer = client.call(12, &request);
    assert_eq!(ErrorCode(answer.responses[0].partitions[0].error_code), ErrorCode::UNKNOWN_LEADER_EPOCH);
}

#[test]
fn there_are_no_fetch_sessions() {
    let broker = Fixture::new();
    let mut client = broker.client();
    client.create_topic("t");
    client.produce("t", 0, batch(&["a"]));
    // A client that asks for a session gets a whole answer without one.
    let answer = client.call(12, &fetch(&[("t", 0, 0)]).with_session_epoch(0));
    assert_eq!((answer.error_code, answer.session_id), (0, 0));
    assert_eq!(values(&answer.responses[0].partitions[0]), owned(&[(0, "a")]));
    let answer = client.call(12, &fetch(&[("t", 0, 0)]).with_session_id(5).with_session_epoch(1));
    assert_eq!(ErrorCode(answer.error_code), ErrorCode::FETCH_SESSION_ID_NOT_FOUND);
    assert!(answer.responses.is_empty());
}

#[test]
fn a_fetch_whose_client_has_left_ends() {
    let mut broker = Fixture::new();
    let mut client = broker.client();
    client.create_topic("t");
    client.send(12, &long_fetch(("t", 0, 0), PATIENCE * 10, 1));
    drop(client);
    // Stopping waits for requests in hand, so it would wait for this one.
    broker.broker.take().unwrap().stop();
}

fn offset(client: &mut Client, partition: i32, timestamp: i64, epoch: i32) -> (ErrorCode, i64, i64) {
    let partition = ListOffsetsPartition::default()
        .with_partition_index(partition)
        .with_current_leader_epoch(epoch)
        .with_timestamp(timestamp);
    let topic = ListOffsetsTopic::default().with_name(topic_name("t")).with_partitions(vec![partition]);
    let request = ListOffsetsRequest::default().with_replica_id(BrokerId(-1)).with_topics(vec![topic]);
    let answer = client.call(7, &request);
    let partition = &answer.topics[0].partitions[0];
    (ErrorCode(partition.error_code), partition.offset, partition.timestamp)
}

#[test]
fn offsets_are_found_at_both_ends_and_by_time() {
    const TIME: i64 = 1_700_000_000_000;
    let broker = Fixture::new();
    let mut client = broker.client();
    client.create_topic("t");
    for _ in 0..2 {
        client.produce("t", 0, batch(&["a", "b"]));
    }
    let ok = ErrorCode::NONE;
    assert_eq!(offset(&mut client, 0, -1, -1), (ok, 4, -1));
    assert_eq!(offset(&mut client, 0, -2, -1), (ok, 0, -1));
    assert_eq!(offset(&mut client, 0, TIME, 0), (ok, 0, TIME));
    assert_eq!(offset(&mut client, 0, TIME + 1, -1), (ok, -1, -1));
    let (code, found, timestamp) = offset(&mut client, 0, -3, -1);
    assert_eq!((code, timestamp), (ok, TIME));
    assert!((0..4).contains(&found));
    assert_eq!(offset(&mut client, 1, -1, -1), (ok, 0, -1));
    assert_eq!(offset(&mut client, 1, -3, -1), (ok, -1, -1));
    assert_eq!(offset(&mut client, 0, -1, 1).0, ErrorCode::UNKNOWN_LEADER_EPOCH);
    assert_eq!(offset(&mut client, 5, -1, -1).0, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
    assert_eq!(offset(&mut client, 0, -9, -1).0, ErrorCode::UNSUPPORTED_VERSION);
}
