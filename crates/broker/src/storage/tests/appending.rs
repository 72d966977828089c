//! Topics, batches and producers.

use std::time::{Duration, Instant};

use super::super::{Append, LogBounds, MAX_PARTITIONS, Store};
use super::support::{Folder, append, at, batch, sequenced_batch, values};
use protocol::compression::Compression;
use protocol::error_code::ErrorCode;
use protocol::records::encode_batch;

#[test]
fn what_was_appended_is_read_with_its_offsets_also_after_opening_again() {
    let folder = Folder::new();
    let store = folder.open();
    let topic = store.create_topic("letters", 2, Default::default()).wait().unwrap();
    assert_eq!(store.topic("letters"), Some(topic.clone()));
    let first = append(&store, "letters", 1, batch(&["a", "b"], 100)).unwrap();
    let second = append(&store, "letters", 1, batch(&["c"], 90)).unwrap();
    assert_eq!((first.base_offset, second.base_offset, second.log_start_offset), (0, 2, 0));
    let check = |store: &Store| {
        assert_eq!(values(store, "letters", 1, 0).unwrap(), at(0, &["a", "b", "c"]));
        assert_eq!(values(store, "letters", 1, 1).unwrap(), at(1, &["b", "c"]));
        assert_eq!(values(store, "letters", 0, 0).unwrap(), []);
        assert_eq!(store.bounds("letters", 1), Some(LogBounds { log_start_offset: 0, log_end_offset: 3 }));
        assert_eq!(store.topics(), std::slice::from_ref(&topic));
    };
    check(&store);
    let id = store.cluster_id();
    assert_eq!(id.len(), 22);
    store.close();
    let store = folder.open();
    check(&store);
    assert_eq!(store.cluster_id(), id);
    assert_eq!(append(&store, "letters", 1, batch(&["d"], 1)).unwrap().base_offset, 3);
}

#[test]
fn a_batch_is_served_as_it_came_but_for_its_offset_and_leader_epoch() {
    let folder = Folder::new();
    let store = folder.open();
    store.create_topic("t", 1, Default::default()).wait().unwrap();
    append(&store, "t", 0, batch(&["x"], 5)).unwrap();
    let records = [(Some(&b"key"[..]), Some(&b"value"[..])), (None, None)];
    let sent = encode_batch(records, 77, 9, 2, 0, Compression::Zstd).unwrap();
    append(&store, "t", 0, sent.clone().into()).unwrap();
    let (read, _) = store.read("t", 0, 2, 1, true).unwrap();
    assert_eq!(read[..8], 1i64.to_be_bytes());
    assert_eq!(read[8..12], sent[8..12]);
    assert_eq!(read[12..16], [0; 4]);
    assert_eq!(read[16..], sent[16..]);
}

#[test]
fn a_read_takes_whole_batches_up_to_its_size_and_the_first_whatever_its_size() {
    let folder = Folder::new();
    let store = folder.open();
    store.create_topic("t", 1, Default::default()).wait().unwrap();
    let one = batch(&["0123456789"], 5);
    for _ in 0..20 {
        append(&store, "t", 0, one.clone()).unwrap();
    }
    let read = |offset, max, at_least_one| store.read("t", 0, offset, max, at_least_one).unwrap().0.len();
    assert_eq!(read(0, one.len() * 3, true), one.len() * 3);
    assert_eq!(read(3, one.len() * 3 + 1, false), one.len() * 3);
    assert_eq!(read(3, one.len() - 1, false), 0);
    assert_eq!(read(3, 0, true), one.len());
    assert_eq!(read(18, 1 << 20, true), one.len() * 2);
    assert_eq!(read(20, 1 << 20, true), 0);
    let error = |topic, partition, offset| store.read(topic, partition, offset, 1, true).unwrap_err();
    assert_eq!(error("t", 0, 21), ErrorCode::OFFSET_OUT_OF_RANGE);
    assert_eq!(error("t", 0, -1), ErrorCode::OFFSET_OUT_OF_RANGE);
    assert_eq!(error("t", 1, 0), ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
    assert_eq!(error("u", 0, 0), ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
}

#[test]
fn batches_of_one_request_are_answered_one_by_one_in_order() {
    let folder = Folder::new();
    let store = folder.open();
    store.create_topic("t", 2, Default::default()).wait().unwrap();
    let to = |topic: &str, partition, batch| Append { topic: topic.into(), partition, batch };
    let mut torn = batch(&["torn"], 1).to_vec();
    torn[70] ^= 1;
    let two = [batch(&["1"], 1), batch(&["2"], 1)].concat();
    let answers = store.append(vec![
        to("t", 0, batch(&["a"], 1)),
        to("nowhere", 0, batch(&["b"], 1)),
        to("t", 0, torn.into()),
        to("t", 2, batch(&["c"], 1)),
        to("t", 0, two.into()),
        to("t", 0, "no batch".into()),
        to("t", 0, batch(&["d"], 1)),
        to("t", 1, batch(&["e"], 1)),
    ]);
    let answers: Vec<_> =
        answers.into_iter().map(|answer| answer.wait().map(|appended| appended.base_offset)).collect();
    let unknown = Err(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
    let (corrupt, invalid) = (Err(ErrorCode::CORRUPT_MESSAGE), Err(ErrorCode::INVALID_RECORD));
    assert_eq!(answers, [Ok(0), unknown, corrupt, unknown, invalid, invalid, Ok(1), Ok(0)]);
    assert_eq!(values(&store, "t", 0, 0).unwrap(), at(0, &["a", "d"]));
}

#[test]
fn a_producers_repeated_batch_is_stored_once_also_within_one_transaction_and_after_opening_again() {
    let folder = Folder::new();
    let store = folder.open();
    store.create_topic("t", 1, Default::default()).wait().unwrap();
    assert_eq!(store.new_producer_id().wait(), Ok(0));
    assert_eq!(store.new_producer_id().wait(), Ok(1));
    let send = |store: &Store, batches: Vec<bytes::Bytes>| -> Vec<Result<i64, ErrorCode>> {
        let batches = batches.into_iter().map(|batch| Append { topic: "t".into(), partition: 0, batch });
        let answers = store.append(batches.collect());
        answers.into_iter().map(|answer| answer.wait().map(|appended| appended.base_offset)).collect()
    };
    let (a, b) = (sequenced_batch(&["a1", "a2"], 1, 1, 0, 0), sequenced_batch(&["b"], 1, 1, 0, 2));
    let answers = send(&store, vec![a.clone(), b.clone(), a.clone(), sequenced_batch(&["x"], 1, 1, 0, 4)]);
    assert_eq!(answers, [Ok(0), Ok(2), Ok(0), Err(ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER)]);
    store.close();
    let store = folder.open();
    assert_eq!(send(&store, vec![b.clone(), a]), [Ok(2), Ok(0)]);
    assert_eq!(
        send(&store, vec![sequenced_batch(&["c"], 1, 1, 1, 0), b]),
        [Ok(3), Err(ErrorCode::INVALID_PRODUCER_EPOCH)]
    );
    assert_eq!(values(&store, "t", 0, 0).unwrap(), at(0, &["a1", "a2", "b", "c"]));
    assert_eq!(store.new_producer_id().wait(), Ok(2));
}

#[test]
fn topics_are_limited_and_a_name_used_again_is_a_new_topic() {
    let folder = Folder::new();
    let store = folder.open();
    let create = |name, partitions| {
        store.create_topic(name, partitions, Default::default()).wait().map(|topic| topic.id)
    };
    let first = create("t", 3).unwrap();
    assert_eq!(create("t", 3), Err(ErrorCode::TOPIC_ALREADY_EXISTS));
    assert_eq!(create("u", 0), Err(ErrorCode::INVALID_PARTITIONS));
    assert_eq!(create("u", -1), Err(ErrorCode::INVALID_PARTITIONS));
    assert_eq!(create("u", i32::try_from(MAX_PARTITIONS).unwrap()), Err(ErrorCode::POLICY_VIOLATION));
    append(&store, "t", 2, batch(&["old"], 1)).unwrap();
    store.delete_topic("t").wait().unwrap();
    assert_eq!(store.delete_topic("t").wait(), Err(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION));
    assert_eq!(store.bounds("t", 2), None);
    assert_ne!(create("t", 3).unwrap(), first);
    assert_eq!(values(&store, "t", 2, 0).unwrap(), []);
    store.close();
    let store = folder.open();
    assert_eq!(append(&store, "t", 2, batch(&["new"], 1)).unwrap().base_offset, 0);
    assert_eq!(values(&store, "t", 2, 0).unwrap(), at(0, &["new"]));
}

#[test]
fn a_wait_for_the_log_ends_with_an_append_and_with_the_store() {
    let folder = Folder::new();
    let store = folder.open();
    store.create_topic("t", 1, Default::default()).wait().unwrap();
    let far = Instant::now() + Duration::from_secs(60);
    let logs = || vec![("t".into(), 0)];
    std::thread::scope(|scope| {
        let watch = store.fetch_waiter(logs());
        assert!(!watch.wait(Instant::now()));
        let waiting = scope.spawn(move || watch.wait(far));
        append(&store, "t", 0, batch(&["x"], 1)).unwrap();
        assert!(waiting.join().unwrap());
        let watch = store.fetch_waiter(logs());
        let waiting = scope.spawn(move || watch.wait(far));
        store.close();
        assert!(waiting.join().unwrap());
    });
    assert_eq!(append(&store, "t", 0, batch(&["x"], 1)), Err(ErrorCode::KAFKA_STORAGE_ERROR));
    assert_eq!(store.read("t", 0, 0, 1, true), Err(ErrorCode::KAFKA_STORAGE_ERROR));
}

#[test]
fn many_threads_appending_at_once_lose_nothing_and_keep_their_order() {
    let folder = Folder::new();
    let store = folder.open();
    store.create_topic("t", 2, Default::default()).wait().unwrap();
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let store = &store;
            scope.spawn(move || {
                for number in 0..25 {
                    let value = format!("{thread}-{number:02}");
                    append(store, "t", thread % 2, batch(&[&value], 1)).unwrap();
                }
            });
        }
    });
    for partition in 0..2 {
        let mut stored: Vec<String> =
            values(&store, "t", partition, 0).unwrap().into_iter().map(|(_, value)| value).collect();
        stored.sort_by_key(|value| value[..1].to_owned());
        let expected: Vec<String> = (0..8)
            .filter(|thread| thread % 2 == partition)
            .flat_map(|thread| (0..25).map(move |number| format!("{thread}-{number:02}")))
            .collect();
        assert_eq!(stored, expected);
    }
}
