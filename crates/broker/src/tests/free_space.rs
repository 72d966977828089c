//! A file system with less room than is to be kept free: no records are taken, and all else goes on.

use std::path::Path;
use std::time::{Duration, Instant};

use kafka_protocol::messages::CreateTopicsRequest;
use kafka_protocol::messages::create_topics_request::CreatableTopic;

use super::client::{Client, batch, produce, topic_name, values};
use super::groups::commit;
use super::{Broker, BrokerSettings, Folder, PATIENCE, settings, start};
use crate::failure_notice::FailureNotice;
use protocol::error_code::ErrorCode;

/// More than any file system has left.
const TOO_MUCH: u64 = u64::MAX;

fn start_with(folder: &Folder, min_free_bytes: u64) -> Broker {
    let min_free_bytes = Some(min_free_bytes);
    Broker::start(BrokerSettings { min_free_bytes, ..settings(folder, "127.0.0.1:0") }).unwrap()
}

/// Waits until this is so of the notice for other processes.
fn wait_for_notice(folder: &Path, is_right: impl Fn(&FailureNotice) -> bool) {
    let notice = FailureNotice::refusal(folder);
    let deadline = Instant::now() + PATIENCE;
    while !is_right(&notice) {
        assert!(Instant::now() < deadline, "{:?}", notice.read());
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn records_are_refused_with_the_reason_and_all_else_goes_on() {
    let folder = Folder::new();
    let broker = start(&folder, "127.0.0.1:0").unwrap();
    let mut client = Client::connect(broker.address());
    client.create_topic("t");
    assert_eq!(client.produce("t", 0, batch(&["a"])).error_code, 0);
    broker.stop();

    let broker = start_with(&folder, TOO_MUCH);
    let mut client = Client::connect(broker.address());
    let refused = client.produce("t", 0, batch(&["b"]));
    // By this code clients know that nothing is stored.
    assert_eq!(ErrorCode(refused.error_code), ErrorCode::NOT_ENOUGH_REPLICAS);
    let why = refused.error_message.unwrap().to_string();
    let whose = format!("the file system of {} has ", folder.path().display());
    assert!(why.contains(&whose) && why.contains("embedded.min_free_bytes = 18446744073709551615"), "{why}");
    assert_eq!(values(&client.fetch("t", 0, 0)), [(0, "a".to_owned())]);
    assert_eq!(commit(&mut client, 2, "g", -1, 1), ErrorCode::NONE);
    client.create_topic("another");
    client.delete_topic("another");
    wait_for_notice(folder.path(), |notice| notice.read_recent().is_some_and(|told| told.contains(&whose)));
    broker.stop();
    assert_eq!(FailureNotice::refusal(folder.path()).read().unwrap(), None, "who stops takes its word back");

    let broker = start_with(&folder, 0);
    let mut client = Client::connect(broker.address());
    let stored = client.produce("t", 0, batch(&["c"]));
    assert_eq!((stored.error_code, stored.base_offset), (0, 1));
    broker.stop();
}

#[test]
fn a_record_that_is_none_and_a_topic_that_is_not_there_are_told_before_the_want_of_room() {
    let folder = Folder::new();
    let broker = start_with(&folder, TOO_MUCH);
    let mut client = Client::connect(broker.address());
    let topic = CreatableTopic::default()
        .with_name(topic_name("t"))
        .with_num_partitions(1)
        .with_replication_factor(1);
    let created = client.call(7, &CreateTopicsRequest::default().with_topics(vec![topic]));
    assert_eq!(created.topics[0].error_code, 0);
    for (topic, records, code) in [
        ("none", Some(batch(&["a"])), ErrorCode::UNKNOWN_TOPIC_OR_PARTITION),
        ("t", None, ErrorCode::INVALID_RECORD),
        ("t", Some(batch(&["a"])), ErrorCode::NOT_ENOUGH_REPLICAS),
    ] {
        let answer = client.call(9, &produce(1, topic, 0, records));
        assert_eq!(ErrorCode(answer.responses[0].partition_responses[0].error_code), code);
    }
    broker.stop();
}

#[test]
fn what_an_ended_process_has_told_is_taken_back_by_the_next_one() {
    let folder = Folder::new();
    start(&folder, "127.0.0.1:0").unwrap().stop();
    let notice = FailureNotice::refusal(folder.path());
    notice.set("4102444800 there was no room").unwrap(); // a time that is yet to come
    let broker = start_with(&folder, 0);
    wait_for_notice(folder.path(), |notice| notice.read().unwrap().is_none());
    broker.stop();
}
