//! Topics that are altered, and records that are deleted on demand.

use std::collections::BTreeMap;
use std::time::Duration;

use super::super::{ActiveProducer, LogBounds, MAX_PARTITIONS, Retention, Store};
use super::support::{Folder, Standing, append, at, batch, batch_of_times, sequenced_batch, values};
use protocol::error_code::ErrorCode;

fn configs(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn alter(store: &Store, changed: &[(&str, Option<&str>)], replace: bool) -> BTreeMap<String, String> {
    let changed = changed.iter().map(|(name, value)| ((*name).to_owned(), value.map(str::to_owned)));
    let topic = store.alter_topic("t", changed.collect(), replace).wait().unwrap();
    assert_eq!(store.topic("t"), Some(topic.clone()));
    (*topic.configs).clone()
}

#[test]
fn a_topic_keeps_its_configurations_and_partitions_also_after_opening_again() {
    let folder = Folder::new();
    let store = folder.open();
    let created = store.create_topic("t", 1, configs(&[("a", "1"), ("b", "")])).wait().unwrap();
    store.create_topic("u", 1, BTreeMap::new()).wait().unwrap();
    assert_eq!(*created.configs, configs(&[("a", "1"), ("b", "")]));
    assert_eq!(store.topic_by_id(created.id), Some(created.clone()));
    assert_eq!(store.topic_by_id(created.id ^ 1), None);
    let altered = alter(&store, &[("a", Some("2")), ("b", None), ("none", None), ("c", Some("3"))], false);
    assert_eq!(altered, configs(&[("a", "2"), ("c", "3")]));
    let check = |store: &Store, expected: &[(&str, &str)], partitions| {
        let topic = store.topic("t").unwrap();
        assert_eq!((topic.id, &*topic.configs), (created.id, &configs(expected)));
        assert_eq!((topic.partitions, store.topic_by_id(created.id)), (partitions, Some(topic)));
        assert_eq!(*store.topic("u").unwrap().configs, BTreeMap::new());
    };
    assert_eq!(store.create_partitions("t", 3).wait().unwrap().partitions, 3);
    append(&store, "t", 2, batch(&["x"], 1)).unwrap();
    check(&store, &[("a", "2"), ("c", "3")], 3);
    store.close();
    let store = folder.open();
    check(&store, &[("a", "2"), ("c", "3")], 3);
    assert_eq!(values(&store, "t", 2, 0).unwrap(), at(0, &["x"]));
    assert_eq!(alter(&store, &[("d", Some("4"))], true), configs(&[("d", "4")]));
    store.close();
    let store = folder.open();
    check(&store, &[("d", "4")], 3);
    assert_eq!(alter(&store, &[], true), BTreeMap::new());
    store.delete_topic("t").wait().unwrap();
    assert_eq!(store.topic_by_id(created.id), None);
    store.create_topic("t", 1, BTreeMap::new()).wait().unwrap();
    store.close();
    assert_eq!(*folder.open().topic("t").unwrap().configs, BTreeMap::new());
}

#[test]
fn partitions_only_grow_and_only_as_far_as_all_topics_have_room() {
    let folder = Folder::new();
    let store = folder.open();
    store.create_topic("t", 2, BTreeMap::new()).wait().unwrap();
    let grow = |name, count| store.create_partitions(name, count).wait().map(|topic| topic.partitions);
    assert_eq!(grow("none", 3), Err(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION));
    for count in [-1, 0, 1, 2] {
        assert_eq!(grow("t", count), Err(ErrorCode::INVALID_PARTITIONS));
    }
    for count in [MAX_PARTITIONS as i32 + 1, i32::MAX] {
        assert_eq!(grow("t", count), Err(ErrorCode::POLICY_VIOLATION));
    }
    assert_eq!(store.topic("t").unwrap().partitions, 2);
    assert_eq!(grow("t", 3), Ok(3));
    let alter = store.alter_topic("none", Vec::new(), false).wait();
    assert_eq!(alter, Err(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION));
}

#[test]
fn records_are_deleted_up_to_an_offset_also_within_a_batch() {
    let folder = Folder::new();
    let one = batch(&["a", "b", "c"], 5);
    let retention = Retention { age: None, bytes: Some(2 * one.len() as u64) };
    let standing = Standing::open(&folder, retention, 1000);
    let store = &standing.store;
    store.create_topic("t", 1, BTreeMap::new()).wait().unwrap();
    for _ in 0..3 {
        append(store, "t", 0, one.clone()).unwrap();
    }
    let delete = |before| store.delete_records("t", 0, before).wait();
    let bounds = |start, end| Some(LogBounds { log_start_offset: start, log_end_offset: end });
    assert_eq!(store.partition_bytes("t", 0), Some(3 * one.len() as u64));
    assert_eq!(store.partition_bytes("t", 1), None);
    assert_eq!(store.delete_records("t", 1, 0).wait(), Err(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION));
    for beyond in [10, -2] {
        assert_eq!(delete(beyond), Err(ErrorCode::OFFSET_OUT_OF_RANGE));
    }
    assert_eq!(delete(4), Ok(4));
    assert_eq!(delete(2), Ok(4));
    assert_eq!(store.bounds("t", 0), bounds(4, 9));
    assert_eq!(store.partition_bytes("t", 0), Some(2 * one.len() as u64));
    assert_eq!(store.read("t", 0, 3, 1000, true), Err(ErrorCode::OFFSET_OUT_OF_RANGE));
    assert_eq!(store.read("t", 0, 4, 1000, true).unwrap().0.len(), 2 * one.len());
    assert_eq!(store.offset_for_timestamp("t", 0, 0), Ok(Some((4, 5))));
    append(store, "t", 0, one.clone()).unwrap();
    // Retention goes on with a log that begins within a batch.
    standing.apply_retention();
    assert_eq!(store.bounds("t", 0), bounds(6, 12));
    assert_eq!(delete(7), Ok(7));
    store.close();
    let store = folder.open();
    assert_eq!(store.bounds("t", 0), bounds(7, 12));
    assert_eq!(store.delete_records("t", 0, -1).wait(), Ok(12));
    assert_eq!((store.bounds("t", 0), store.partition_bytes("t", 0)), (bounds(12, 12), Some(0)));
    append(&store, "t", 0, batch_of_times(&[7, 8])).unwrap();
    assert_eq!(store.offset_of_max_timestamp("t", 0), Ok(Some((13, 8))));
}

#[test]
fn a_topics_own_retention_comes_before_that_of_the_store() {
    let folder = Folder::new();
    let retention = Retention { age: Some(Duration::from_millis(100)), bytes: None };
    let standing = Standing::open(&folder, retention, 1000);
    let store = &standing.store;
    let size = batch(&["a"], 0).len().to_string();
    for (name, own, start) in [
        ("none", &[][..], 2),
        ("for-ever", &[("retention.ms", "-1")], 0),
        ("largest", &[("retention.ms", "9223372036854775807")], 0),
        ("longer", &[("retention.ms", "600")], 1),
        ("by-size", &[("retention.ms", "-1"), ("retention.bytes", &size)], 1),
        ("compacted", &[("cleanup.policy", "compact")], 0),
        ("both", &[("cleanup.policy", "compact,delete")], 2),
    ] {
        store.create_topic(name, 1, configs(own)).wait().unwrap();
        for time in [300, 500] {
            append(store, name, 0, batch(&["a"], time)).unwrap();
        }
        standing.apply_retention();
        assert_eq!(store.bounds(name, 0).unwrap().log_start_offset, start, "{name}");
    }
    // An alteration holds for what is there.
    store.alter_topic("for-ever", Vec::new(), true).wait().unwrap();
    standing.apply_retention();
    assert_eq!(store.bounds("for-ever", 0).unwrap().log_start_offset, 2);
}

#[test]
fn the_producers_of_a_partition_are_those_that_wrote_to_it() {
    let folder = Folder::new();
    let standing = Standing::open(&folder, Retention::default(), 77);
    let store = &standing.store;
    store.create_topic("t", 2, BTreeMap::new()).wait().unwrap();
    append(store, "t", 0, sequenced_batch(&["a", "b"], 1, 5, 3, 0)).unwrap();
    append(store, "t", 0, batch(&["c"], 1)).unwrap();
    append(store, "t", 1, sequenced_batch(&["a"], 1, 6, 0, 0)).unwrap();
    let producer = ActiveProducer { id: 5, epoch: 3, last_sequence: 1, last_timestamp: 77 };
    assert_eq!(store.producers("t", 0).wait(), Ok(vec![producer]));
    assert_eq!(store.producers("t", 2).wait(), Err(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION));
}
