//! Bytes that are no requests: they cost their own connection and nothing more.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use kafka_protocol::messages::delete_topics_request::DeleteTopicState;
use kafka_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use kafka_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use kafka_protocol::messages::offset_fetch_request::OffsetFetchRequestGroup;
use kafka_protocol::messages::{
    ApiVersionsRequest, DeleteTopicsRequest, FindCoordinatorRequest, GroupId, JoinGroupRequest,
    MetadataRequest, OffsetCommitRequest, OffsetFetchRequest, SyncGroupRequest,
};

use super::Fixture;
use super::client::{batch, fetch, fetch_by_id, frame, id, produce, produce_by_id, text, topic_name, values};
use super::produce::new_producer;
use testing::Random;

/// How many damaged requests are sent.
const ROUNDS: usize = 2000;

/// Requests of several kinds, as they go over the wire.
fn samples(topic_id: u128) -> Vec<Vec<u8>> {
    let topics = MetadataRequest::default().with_topics(None);
    vec![
        frame(9, 1, &produce(-1, "fuzzed", 0, Some(batch(&["a", "b"])))),
        frame(3, 1, &produce(1, "fuzzed", 0, Some(batch(&["a", "b"])))),
        frame(12, 1, &fetch(&[("fuzzed", 0, 0), ("none", 1, 5)])),
        frame(4, 1, &fetch(&[("fuzzed", 0, 0)])),
        frame(9, 1, &topics),
        frame(1, 1, &topics),
        frame(3, 1, &ApiVersionsRequest::default()),
        frame(4, 1, &new_producer()),
        frame(7, 1, &join()),
        frame(2, 1, &join()),
        frame(5, 1, &SyncGroupRequest::default().with_group_id(GroupId(text("g")))),
        frame(8, 1, &commit()),
        frame(13, 1, &produce_by_id(produce(-1, "fuzzed", 0, Some(batch(&["a", "b"]))), topic_id)),
        frame(18, 1, &fetch_by_id(fetch(&[("fuzzed", 0, 0)]), topic_id)),
        frame(12, 1, &topics),
        frame(6, 1, &FindCoordinatorRequest::default().with_coordinator_keys(vec![text("g")])),
        frame(9, 1, &join().with_reason(Some(text("why")))),
        frame(9, 1, &offsets_of_groups()),
        frame(6, 1, &delete_by_id(topic_id)),
    ]
}

fn offsets_of_groups() -> OffsetFetchRequest {
    let group = OffsetFetchRequestGroup::default().with_group_id(GroupId(text("g"))).with_topics(None);
    OffsetFetchRequest::default().with_groups(vec![group])
}

fn delete_by_id(topic_id: u128) -> DeleteTopicsRequest {
    // Both are named, so that it is refused until it is damaged.
    let topic = DeleteTopicState::default().with_name(Some(topic_name("fuzzed"))).with_topic_id(id(topic_id));
    DeleteTopicsRequest::default().with_topics(vec![topic])
}

fn join() -> JoinGroupRequest {
    let protocol = JoinGroupRequestProtocol::default().with_name(text("range"));
    JoinGroupRequest::default()
        .with_group_id(GroupId(text("g")))
        .with_session_timeout_ms(10_000)
        .with_rebalance_timeout_ms(10_000)
        .with_protocol_type(text("consumer"))
        .with_protocols(vec![protocol])
}

fn commit() -> OffsetCommitRequest {
    let partition = OffsetCommitRequestPartition::default().with_committed_offset(1);
    let topic =
        OffsetCommitRequestTopic::default().with_name(topic_name("fuzzed")).with_partitions(vec![partition]);
    OffsetCommitRequest::default()
        .with_group_id(GroupId(text("g")))
        .with_generation_id_or_member_epoch(-1)
        .with_topics(vec![topic])
}

/// A damaged request whose size is that of its bytes, so that it is looked into, or is not.
fn damaged(random: &mut Random, samples: &[Vec<u8>]) -> Vec<u8> {
    let sample = &samples[random.below(samples.len())];
    if random.below(8) == 0 {
        return random.damage(sample);
    }
    let body = random.damage(&sample[4..]);
    let size = i32::try_from(body.len()).unwrap();
    [&size.to_be_bytes()[..], &body].concat()
}

#[test]
fn damaged_requests_never_disturb_another_connection() {
    let broker = Fixture::new();
    broker.client().create_topic("fuzzed");
    let samples = samples(broker.client().topic_id("fuzzed"));
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let other = scope.spawn(|| {
            let mut client = broker.client();
            client.create_topic("t");
            let mut count = 0;
            while !over.load(Ordering::Relaxed) || count == 0 {
                let value = format!("v{count}");
                assert_eq!(client.produce("t", 0, batch(&[&value])).base_offset, count);
                assert_eq!(values(&client.fetch("t", 0, count)), [(count, value)]);
                count += 1;
            }
        });
        let workers: Vec<_> = (0..4)
            .map(|seed| {
                let (broker, samples) = (&broker, &samples);
                scope.spawn(move || {
                    let mut random = Random::new(seed);
                    for _ in 0..ROUNDS / 4 {
                        let mut client = broker.client();
                        let _ = client.stream.write_all(&damaged(&mut random, samples));
                        let _ = client.stream.shutdown(Shutdown::Write);
                        client.stream.set_read_timeout(Some(super::PATIENCE)).unwrap();
                        // An answer or none, and then the end: never silence.
                        let mut answer = Vec::new();
                        if let Err(error) = client.stream.read_to_end(&mut answer) {
                            assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "{error}");
                        }
                    }
                })
            })
            .collect();
        for worker in workers {
            worker.join().unwrap();
        }
        over.store(true, Ordering::Relaxed);
        other.join().unwrap();
    });
}

#[test]
fn sizes_that_no_request_has_close_the_connection() {
    let broker = Fixture::new();
    for bytes in [
        &i32::MAX.to_be_bytes()[..],
        &(-1_i32).to_be_bytes(),
        &0_i32.to_be_bytes(),
        b"GET / HTTP/1.1\r\n\r\n",
    ] {
        let mut client = broker.client();
        client.stream.write_all(bytes).unwrap();
        client.expect_closed();
    }
    broker.client().call(3, &ApiVersionsRequest::default());
}

#[test]
fn a_request_in_pieces_is_put_together() {
    let broker = Fixture::new();
    let mut client = broker.client();
    let bytes = frame(3, 7, &ApiVersionsRequest::default());
    for piece in bytes.chunks(5) {
        client.stream.write_all(piece).unwrap();
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(client.frame().unwrap()[..4], 7_i32.to_be_bytes());
}

#[test]
fn requests_sent_without_waiting_are_answered_in_their_order() {
    let broker = Fixture::new();
    let mut client = broker.client();
    let bytes: Vec<u8> = (0..20).flat_map(|id| frame(3, id, &ApiVersionsRequest::default())).collect();
    client.stream.write_all(&bytes).unwrap();
    for id in 0..20_i32 {
        assert_eq!(client.frame().unwrap()[..4], id.to_be_bytes());
    }
}

#[test]
fn a_request_larger_than_most_is_read_whole() {
    let broker = Fixture::new();
    let mut client = broker.client();
    client.create_topic("t");
    let value = "x".repeat(1_000_000);
    for offset in 0..3 {
        assert_eq!(client.produce("t", 0, batch(&[&value])).base_offset, offset);
    }
    assert_eq!(values(&client.fetch("t", 0, 2)), [(2, value)]);
}
