//! Limits of a client's share of the broker: answers far larger than their requests, and its time.

use std::io::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::offset_fetch_request::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
};
use kafka_protocol::messages::{
    DescribeConfigsRequest, DescribeGroupsRequest, FindCoordinatorRequest, GroupId, ListOffsetsRequest,
    MetadataRequest, OffsetFetchRequest,
};

use super::client::{Client, batch_of, fetch, frame, id, long_fetch, produce, text, topic_name};
use super::{Fixture, Folder, PATIENCE, settings, start};
use crate::dispatch::dispatch;
use crate::free_space::FreeSpace;
use crate::node::Node;
use crate::request_context::RequestContext;
use crate::requests::call::Handled;
use crate::storage::{Retention, Store};
use protocol::compression::Compression;
use protocol::error_code::ErrorCode;
use protocol::precheck::RequestHeader;
use protocol::records::MAX_UNPACKED_BYTES;

#[test]
fn what_is_asked_for_a_thousand_times_is_answered_once() {
    let broker = Fixture::new();
    let mut client = broker.client();
    client.create_topic("t");

    let groups = DescribeGroupsRequest::default().with_groups(vec![GroupId(text("g")); 1000]);
    assert_eq!(client.call(5, &groups).groups.len(), 1);

    let topic = DescribeConfigsResource::default()
        .with_resource_type(2)
        .with_resource_name(text("t"))
        .with_configuration_keys(None);
    let configs = DescribeConfigsRequest::default().with_resources(vec![topic; 1000]);
    assert_eq!(client.call(4, &configs).results.len(), 1);

    let topic = OffsetFetchRequestTopic::default()
        .with_name(topic_name("t"))
        .with_partition_indexes([0, 1].repeat(500));
    let offsets =
        OffsetFetchRequest::default().with_group_id(GroupId(text("g"))).with_topics(Some(vec![topic; 2]));
    let answer = client.call(7, &offsets);
    let counts: Vec<usize> = answer.topics.iter().map(|topic| topic.partitions.len()).collect();
    assert_eq!(counts, [2, 0]);

    let all = OffsetFetchRequestGroup::default().with_group_id(GroupId(text("g"))).with_topics(None);
    let topic = OffsetFetchRequestTopics::default()
        .with_name(topic_name("t"))
        .with_partition_indexes([0, 1].repeat(500));
    let some = all.clone().with_topics(Some(vec![topic]));
    let answer = client
        .call(9, &OffsetFetchRequest::default().with_groups(vec![all.clone(), some.clone(), some, all]));
    let counts: Vec<usize> = answer
        .groups
        .iter()
        .map(|group| group.topics.iter().map(|topic| topic.partitions.len()).sum())
        .collect();
    // Nothing is committed, so that all of it is nothing.
    assert_eq!(counts, [0, 2, 0, 0]);

    let keys = FindCoordinatorRequest::default().with_coordinator_keys(vec![text("g"); 1000]);
    assert_eq!(client.call(4, &keys).coordinators.len(), 1);

    let topic = MetadataRequestTopic::default().with_name(None).with_topic_id(id(client.topic_id("t")));
    let topics = MetadataRequest::default().with_topics(Some(vec![topic; 1000]));
    assert_eq!(client.call(12, &topics).topics.len(), 1);
}

#[test]
fn a_request_for_more_offsets_than_there_can_be_closes_the_connection() {
    let broker = Fixture::new();
    let mut client = broker.client();
    let topic = OffsetFetchRequestTopic::default()
        .with_name(topic_name("t"))
        .with_partition_indexes((0..1_000_000).collect());
    let offsets =
        OffsetFetchRequest::default().with_group_id(GroupId(text("g"))).with_topics(Some(vec![topic]));
    let _ = client.stream.write_all(&frame(7, 1, &offsets));
    client.expect_closed();
}

#[test]
fn a_broker_that_stops_leaves_what_a_client_has_sent_ahead() {
    let folder = Folder::new();
    let broker = start(&folder, "127.0.0.1:0").unwrap();
    let mut client = Client::connect(broker.address());
    client.create_topic("t");
    for _ in 0..20 {
        client.send(12, &long_fetch(("t", 0, 0), PATIENCE * 2, 1));
    }
    broker.stop();
    let answers = std::iter::from_fn(|| client.frame().ok()).count();
    assert!(answers <= 1, "{answers} requests were served by a broker that stops");
}

/// A node without connections, and what is asked of it as if over one whose client has gone.
struct Unconnected {
    node: Node,
    _folder: Folder,
}

impl Unconnected {
    fn new() -> Unconnected {
        let folder = Folder::new();
        let store = Arc::new(Store::open(folder.path(), Retention::default()).unwrap());
        let space = Arc::new(FreeSpace::new(folder.path(), None));
        space.look();
        let node = Node::new(settings(&folder, "127.0.0.1:0"), store, space).unwrap();
        Unconnected { node, _folder: folder }
    }

    fn ask<R: kafka_protocol::protocol::Request>(&self, version: i16, request: &R) -> Result<usize, String> {
        let frame = bytes::Bytes::from(frame(version, 1, request)).slice(4..);
        let header = RequestHeader::read(&frame).unwrap();
        let address = "127.0.0.1:1".parse().unwrap();
        let context = RequestContext {
            connection: 1,
            version,
            client_id: "",
            peer: address,
            advertised: ("127.0.0.1", 1),
            gone: &|| true,
        };
        let answer = match dispatch(&self.node, &context, &header, &frame)? {
            Handled::Answered(response) => response,
            Handled::Pending(pending) => pending.wait(&self.node, &context)?,
        };
        Ok(answer.map_or(0, |(bytes, _)| bytes.len()))
    }
}

#[test]
fn a_large_answer_waits_for_room_and_a_small_one_does_not() {
    let unconnected = Unconnected::new();
    let all = MetadataRequest::default().with_topics(None);
    let soon = Instant::now() + Duration::from_secs(1);
    unconnected.node.store.create_topic("large", 5000, Default::default()).wait().unwrap();
    assert!(unconnected.ask(9, &all).unwrap() > 100_000);
    let taken = unconnected.node.response_budget.take(usize::MAX, soon, &|| true).unwrap();
    let refused = unconnected.ask(9, &all).unwrap_err();
    assert!(refused.contains("no memory for a response"), "{refused}");
    let none = MetadataRequest::default().with_topics(Some(Vec::new()));
    assert!(unconnected.ask(9, &none).is_ok());
    drop(taken);
    assert!(unconnected.ask(9, &all).is_ok());
}

#[test]
fn a_batch_larger_than_most_is_fetched_once_there_is_room() {
    let unconnected = Unconnected::new();
    let node = &unconnected.node;
    let configs = [("max.message.bytes".to_owned(), "5000000".to_owned())].into();
    node.store.create_topic("t", 1, configs).wait().unwrap();
    node.store.create_topic("small", 1, Default::default()).wait().unwrap();
    for (topic, bytes) in [("t", 4_000_000), ("small", 1000)] {
        let value = "x".repeat(bytes);
        let request = produce(-1, topic, 0, Some(batch_of(&[&value], -1, -1, Compression::None)));
        unconnected.ask(9, &request).unwrap();
    }
    let soon = Instant::now() + Duration::from_secs(1);
    let taken = node.record_budget.take(usize::MAX, soon, &|| true).unwrap();
    // Without room the large one is left out, for as long as there is none; others come as ever.
    assert!(unconnected.ask(12, &fetch(&[("t", 0, 0)])).unwrap() < 1000);
    assert!(unconnected.ask(12, &fetch(&[("small", 0, 0)])).unwrap() > 1000);
    drop(taken);
    let all = node.record_budget.take(usize::MAX, soon, &|| true);
    assert!(all.is_some(), "room is not given back");
    drop(all);
    assert!(unconnected.ask(12, &fetch(&[("t", 0, 0)]).with_max_bytes(1)).unwrap() > 4_000_000);
    let all = node.record_budget.take(usize::MAX, Instant::now() + Duration::from_secs(1), &|| true);
    assert!(all.is_some(), "room is not given back");
}

#[test]
fn a_look_up_by_time_waits_for_room_to_unpack() {
    let unconnected = Unconnected::new();
    let node = &unconnected.node;
    node.store.create_topic("t", 1, Default::default()).wait().unwrap();
    let request = produce(-1, "t", 0, Some(batch_of(&["a"], -1, -1, Compression::None)));
    unconnected.ask(9, &request).unwrap();
    let partition = ListOffsetsPartition::default().with_current_leader_epoch(-1).with_timestamp(1);
    let topic = ListOffsetsTopic::default().with_name(topic_name("t")).with_partitions(vec![partition]);
    let request = ListOffsetsRequest::default().with_topics(vec![topic]);
    let local = "127.0.0.1:1".parse().unwrap();
    let context = RequestContext {
        connection: 1,
        version: 7,
        client_id: "",
        peer: local,
        advertised: ("127.0.0.1", 1),
        gone: &|| true,
    };
    let code = || {
        let answer = crate::requests::list_offsets::handle(node, &context, request.clone());
        ErrorCode(answer.topics[0].partitions[0].error_code)
    };
    assert_eq!(code(), ErrorCode::NONE);
    let rooms: Vec<_> = std::iter::from_fn(|| node.reserve_decompression(&context)).collect();
    assert_eq!(rooms.len() * MAX_UNPACKED_BYTES, 256 * 1024 * 1024);
    assert_eq!(code(), ErrorCode::LEADER_NOT_AVAILABLE);
}

#[test]
fn a_large_request_waits_for_room_to_be_taken_apart_and_a_small_one_does_not() {
    let unconnected = Unconnected::new();
    let soon = Instant::now() + Duration::from_secs(1);
    let large = fetch(&vec![("t", 0, 0); 5000]);
    assert!(unconnected.ask(4, &large).is_ok());
    let taken = unconnected.node.request_budget.take(usize::MAX, soon, &|| true).unwrap();
    let refused = unconnected.ask(4, &large).unwrap_err();
    assert!(refused.contains("no memory for Fetch"), "{refused}");
    assert!(unconnected.ask(4, &fetch(&[("t", 0, 0)])).is_ok());
    drop(taken);
    assert!(unconnected.ask(4, &large).is_ok());
}
