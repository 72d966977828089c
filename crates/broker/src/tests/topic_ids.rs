//! Topic ids (KIP-516): Metadata, Fetch, Produce and DeleteTopics by id.

use std::time::Instant;

use kafka_protocol::messages::delete_topics_request::DeleteTopicState;
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::metadata_response::MetadataResponseTopic;
use kafka_protocol::messages::produce_response::PartitionProduceResponse;
use kafka_protocol::messages::{DeleteTopicsRequest, FetchRequest, MetadataRequest};

use super::client::{
    Client, batch, fetch, fetch_by_id, id, long_fetch, produce, produce_by_id, topic_name, values,
};
use super::{Fixture, Folder, PATIENCE, start};
use crate::storage::{Retention, Store};
use protocol::error_code::ErrorCode;

/// An id that no topic has.
const NOBODYS: u128 = 7;

/// The versions of Fetch that name topics by ids.
const FETCHES: std::ops::RangeInclusive<i16> = 13..=18;

fn asked(name: Option<&str>, topic_id: u128) -> MetadataRequestTopic {
    MetadataRequestTopic::default().with_name(name.map(topic_name)).with_topic_id(id(topic_id))
}

fn metadata(
    client: &mut Client,
    version: i16,
    topics: Vec<MetadataRequestTopic>,
) -> Vec<(ErrorCode, Option<String>, u128, usize)> {
    let request = MetadataRequest::default().with_topics(Some(topics)).with_allow_auto_topic_creation(true);
    let answer = client.call(version, &request);
    let row = |topic: MetadataResponseTopic| {
        let name = topic.name.map(|name| name.to_string());
        (ErrorCode(topic.error_code), name, topic.topic_id.as_u128(), topic.partitions.len())
    };
    answer.topics.into_iter().map(row).collect()
}

/// The code and the values of a fetch from partition 0.
fn fetched(client: &mut Client, version: i16, topic_id: u128) -> (ErrorCode, Vec<(i64, String)>) {
    let answer = client.call(version, &fetch_by_id(fetch(&[("", 0, 0)]), topic_id));
    assert_eq!((answer.error_code, answer.responses.len()), (0, 1));
    let topic = &answer.responses[0];
    assert_eq!((topic.topic.as_str(), topic.topic_id.as_u128()), ("", topic_id));
    assert!(answer.node_endpoints.is_empty());
    (ErrorCode(topic.partitions[0].error_code), values(&topic.partitions[0]))
}

fn produced(client: &mut Client, topic_id: u128, partition: i32) -> PartitionProduceResponse {
    let request = produce_by_id(produce(-1, "", partition, Some(batch(&["by id"]))), topic_id);
    let mut answer = client.call(13, &request);
    let mut topic = answer.responses.remove(0);
    assert_eq!((topic.name.as_str(), topic.topic_id.as_u128()), ("", topic_id));
    topic.partition_responses.remove(0)
}

#[test]
fn metadata_has_topic_ids_from_version_10_on() {
    let broker = Fixture::new();
    let mut client = broker.client();
    client.create_topic("t");
    let topic_id = client.topic_id("t");
    assert_ne!(topic_id, 0);
    for version in 0..=13 {
        let known = if version >= 10 { topic_id } else { 0 };
        let expected = (ErrorCode::NONE, Some("t".to_owned()), known, 2);
        assert_eq!(metadata(&mut client, version, vec![asked(Some("t"), 0)]), [expected], "{version}");
    }
    let created = metadata(&mut client, 13, vec![asked(Some("new"), 0)]);
    let new_id = client.topic_id("new");
    assert_eq!(created, [(ErrorCode::NONE, Some("new".to_owned()), new_id, 2)]);
    assert_ne!(new_id, topic_id);
    let invalid = (ErrorCode::INVALID_TOPIC_EXCEPTION, Some("not/legal".to_owned()), 0, 0);
    assert_eq!(metadata(&mut client, 12, vec![asked(Some("not/legal"), 0)]), [invalid]);
}

#[test]
fn metadata_finds_topics_by_id_from_version_12_on() {
    let broker = Fixture::new();
    let mut client = broker.client();
    client.create_topic("t");
    let topic_id = client.topic_id("t");
    for version in [12, 13] {
        let both = vec![asked(None, NOBODYS), asked(None, topic_id)];
        let known = (ErrorCode::NONE, Some("t".to_owned()), topic_id, 2);
        let unknown = (ErrorCode::UNKNOWN_TOPIC_ID, None, NOBODYS, 0);
        assert_eq!(metadata(&mut client, version, both), [unknown, known.clone()]);
        // Where one topic is asked for by its id, names count for nothing, and create nothing.
        let mixed = vec![asked(Some("other"), 0), asked(Some("another"), topic_id)];
        assert_eq!(metadata(&mut client, version, mixed), [known]);
    }
    let all = client.call(12, &MetadataRequest::default().with_topics(None));
    assert_eq!(all.topics.len(), 1);
}

#[test]
fn metadata_of_topics_without_names_is_refused_before_version_12() {
    let broker = Fixture::new();
    let mut client = broker.client();
    client.create_topic("t");
    let topic_id = client.topic_id("t");
    // In no version without both.
    for version in [10, 11, 12, 13] {
        let request = MetadataRequest::default().with_topics(Some(vec![asked(None, 0), asked(Some("t"), 0)]));
        let answer = client.call(version, &request);
        let code = if version >= 13 { ErrorCode::INVALID_REQUEST } else { ErrorCode::NONE };
        assert_eq!((ErrorCode(answer.error_code), answer.brokers.len()), (code, 0), "{version}");
        let codes: Vec<_> = answer.topics.iter().map(|topic| ErrorCode(topic.error_code)).collect();
        assert_eq!(codes, [ErrorCode::INVALID_REQUEST; 2], "{version}");
    }
    for version in [10, 11] {
        for topic in [asked(None, topic_id), asked(None, 0), asked(Some("t"), topic_id)] {
            let name = topic.name.clone().unwrap_or_default().to_string();
            let asked_id = topic.topic_id.as_u128();
            let refused = (ErrorCode::INVALID_REQUEST, Some(name), asked_id, 0);
            assert_eq!(metadata(&mut client, version, vec![topic]), [refused], "{version}");
        }
    }
}

#[test]
fn records_are_stored_and_fetched_by_topic_id() {
    let broker = Fixture::new();
    let mut client = broker.client();
    client.create_topic("t");
    let topic_id = client.topic_id("t");
    let stored = produced(&mut client, topic_id, 0);
    assert_eq!((stored.error_code, stored.base_offset), (0, 0));
    for version in FETCHES {
        let expected = (ErrorCode::NONE, vec![(0, "by id".to_owned())]);
        assert_eq!(fetched(&mut client, version, topic_id), expected, "{version}");
    }
    for version in [10, 11, 12] {
        assert_eq!(client.produce_as(version, "t", 1, batch(&["by name"])).error_code, 0);
    }
    assert_eq!(
        ErrorCode(produced(&mut client, topic_id, 9).error_code),
        ErrorCode::UNKNOWN_TOPIC_OR_PARTITION
    );
}

#[test]
fn an_id_that_no_topic_has_is_told_at_once() {
    let broker = Fixture::new();
    let mut client = broker.client();
    client.create_topic("t");
    for nobodys in [NOBODYS, 0] {
        for version in FETCHES {
            let asked = Instant::now();
            let answer = client.call(version, &fetch_by_id(long_fetch(("", 0, 0), PATIENCE * 2, 1), nobodys));
            assert!(asked.elapsed() < PATIENCE, "the answer waited");
            let partition = &answer.responses[0].partitions[0];
            assert_eq!(ErrorCode(partition.error_code), ErrorCode::UNKNOWN_TOPIC_ID, "{version}");
            assert_eq!(partition.high_watermark, -1);
        }
        let refused = produced(&mut client, nobodys, 0);
        assert_eq!(ErrorCode(refused.error_code), ErrorCode::UNKNOWN_TOPIC_ID);
        assert_eq!(refused.base_offset, -1);
    }
}

#[test]
fn a_topic_that_is_created_again_has_another_id() {
    let broker = Fixture::new();
    let mut client = broker.client();
    client.create_topic("t");
    client.produce("t", 0, batch(&["old"]));
    let old = client.topic_id("t");
    client.delete_topic("t");
    assert_eq!(fetched(&mut client, 13, old).0, ErrorCode::UNKNOWN_TOPIC_ID);
    client.create_topic("t");
    client.produce("t", 0, batch(&["new"]));
    let new = client.topic_id("t");
    assert_ne!(old, new);
    for version in FETCHES {
        assert_eq!(fetched(&mut client, version, old), (ErrorCode::UNKNOWN_TOPIC_ID, Vec::new()));
        assert_eq!(fetched(&mut client, version, new), (ErrorCode::NONE, vec![(0, "new".to_owned())]));
    }
    assert_eq!(ErrorCode(produced(&mut client, old, 0).error_code), ErrorCode::UNKNOWN_TOPIC_ID);
    let unknown = (ErrorCode::UNKNOWN_TOPIC_ID, None, old, 0);
    assert_eq!(metadata(&mut client, 12, vec![asked(None, old)]), [unknown]);
}

#[test]
fn a_fetch_by_id_that_waits_ends_with_its_topic() {
    let broker = Fixture::new();
    let (mut client, mut consumer) = (broker.client(), broker.client());
    client.create_topic("t");
    let topic_id = client.topic_id("t");
    let request = fetch_by_id(long_fetch(("", 0, 0), PATIENCE * 2, 1), topic_id);
    consumer.send(16, &request);
    client.produce("t", 0, batch(&["a"]));
    let answer = consumer.receive::<FetchRequest>(16);
    assert_eq!(values(&answer.responses[0].partitions[0]), [(0, "a".to_owned())]);

    let mut request = request;
    request.topics[0].partitions[0].fetch_offset = 1;
    consumer.send(16, &request);
    client.delete_topic("t");
    let answer = consumer.receive::<FetchRequest>(16);
    let code = ErrorCode(answer.responses[0].partitions[0].error_code);
    // The second where the deletion, on its own connection, came before the fetch.
    assert!([ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, ErrorCode::UNKNOWN_TOPIC_ID].contains(&code), "{code}");
}

#[test]
fn topics_keep_their_ids_over_a_restart() {
    let folder = Folder::new();
    let broker = start(&folder, "127.0.0.1:0").unwrap();
    let mut client = Client::connect(broker.address());
    client.create_topic("t");
    client.produce("t", 0, batch(&["a"]));
    let topic_id = client.topic_id("t");
    broker.stop();
    let broker = start(&folder, "127.0.0.1:0").unwrap();
    let mut client = Client::connect(broker.address());
    assert_eq!(client.topic_id("t"), topic_id);
    assert_eq!(fetched(&mut client, 13, topic_id).1, [(0, "a".to_owned())]);
    broker.stop();
}

/// What DeleteTopics 6 answers: code, name and id of each, by name and id.
fn deleted(client: &mut Client, topics: &[(Option<&str>, u128)]) -> Vec<(ErrorCode, Option<String>, u128)> {
    let topic = |(name, topic_id): &(Option<&str>, u128)| {
        DeleteTopicState::default().with_name(name.map(topic_name)).with_topic_id(id(*topic_id))
    };
    let request = DeleteTopicsRequest::default()
        .with_topics(topics.iter().map(topic).collect())
        .with_timeout_ms(10_000);
    let answer = client.call(6, &request);
    let mut rows: Vec<_> = answer
        .responses
        .into_iter()
        .map(|result| {
            assert_eq!(result.error_message.is_some(), result.error_code != 0, "{result:?}");
            let name = result.name.map(|name| name.to_string());
            (ErrorCode(result.error_code), name, result.topic_id.as_u128())
        })
        .collect();
    rows.sort_by(|a, b| (&a.1, a.2).cmp(&(&b.1, b.2)));
    rows
}

#[test]
fn topics_are_deleted_by_name_or_by_id() {
    let broker = Fixture::new();
    let mut client = broker.client();
    client.create_topic("a");
    client.create_topic("b");
    let (a, b) = (client.topic_id("a"), client.topic_id("b"));
    let name = |name: &str| Some(name.to_owned());
    let asked = [(Some("a"), 0), (None, b), (None, NOBODYS), (Some("none"), 0)];
    let expected = [
        (ErrorCode::UNKNOWN_TOPIC_ID, None, NOBODYS),
        (ErrorCode::NONE, name("a"), a),
        (ErrorCode::NONE, name("b"), b),
        (ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, name("none"), 0),
    ];
    assert_eq!(deleted(&mut client, &asked), expected);
    let unknown = ErrorCode::UNKNOWN_TOPIC_OR_PARTITION;
    assert_eq!(ErrorCode(client.fetch("a", 0, 0).error_code), unknown);
    assert_eq!(ErrorCode(client.fetch("b", 0, 0).error_code), unknown);
}

#[test]
fn a_deletion_that_is_not_clear_deletes_nothing() {
    let broker = Fixture::new();
    let mut client = broker.client();
    for topic in ["a", "b"] {
        client.create_topic(topic);
    }
    let (a, b) = (client.topic_id("a"), client.topic_id("b"));
    let invalid = ErrorCode::INVALID_REQUEST;
    let name = |name: &str| Some(name.to_owned());
    for (asked, expected) in [
        (vec![(None, 0)], vec![(invalid, None, 0)]),
        (vec![(Some("a"), a)], vec![(invalid, name("a"), a)]),
        (vec![(Some("a"), b)], vec![(invalid, name("a"), b)]),
        (vec![(Some("a"), 0), (Some("a"), 0)], vec![(invalid, name("a"), 0)]),
        (vec![(None, b), (None, b), (None, b)], vec![(invalid, None, b)]),
        (vec![(Some("a"), 0), (None, a)], vec![(invalid, name("a"), a)]),
        (vec![(None, a), (None, a), (Some("a"), 0)], vec![(invalid, None, a), (invalid, name("a"), a)]),
    ] {
        assert_eq!(deleted(&mut client, &asked), expected, "{asked:?}");
    }
    assert_eq!((client.topic_id("a"), client.topic_id("b")), (a, b));
}

#[test]
fn an_old_deletion_that_names_a_topic_twice_deletes_nothing() {
    let broker = Fixture::new();
    let mut client = broker.client();
    client.create_topic("a");
    for version in 1..=5 {
        let names = vec![topic_name("a"), topic_name("a")];
        let answer = client.call(version, &DeleteTopicsRequest::default().with_topic_names(names));
        let codes: Vec<_> = answer.responses.iter().map(|result| ErrorCode(result.error_code)).collect();
        assert_eq!(codes, [ErrorCode::INVALID_REQUEST], "{version}");
    }
    assert_ne!(client.topic_id("a"), 0);
}

#[test]
fn a_topic_is_found_by_its_id_as_long_as_it_is_there_and_deleted_by_it_alone() {
    let folder = Folder::new();
    let store = Store::open(folder.path(), Retention::default()).unwrap();
    let old = store.create_topic("t", 1, Default::default()).wait().unwrap();
    assert_eq!(store.topic_by_id(old.id), Some(old.clone()));
    store.delete_topic("t").wait().unwrap();
    assert_eq!(store.topic_by_id(old.id), None);
    let new = store.create_topic("t", 1, Default::default()).wait().unwrap();
    assert_eq!(store.delete_topic_with_id("t", old.id).wait(), Err(ErrorCode::UNKNOWN_TOPIC_ID));
    assert_eq!(store.topic("t"), Some(new.clone()));
    drop(store);
    let store = Store::open(folder.path(), Retention::default()).unwrap();
    assert_eq!((store.topic_by_id(old.id), store.topic_by_id(new.id)), (None, Some(new.clone())));
    assert_eq!(store.delete_topic_with_id("t", new.id).wait(), Ok(()));
    assert_eq!((store.topic("t"), store.topic_by_id(new.id)), (None, None));
    assert_eq!(store.delete_topic_with_id("t", new.id).wait(), Err(ErrorCode::UNKNOWN_TOPIC_ID));
}
