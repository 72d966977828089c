//! Disk that is given back, and compaction.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use super::super::write_state::Limits;
use super::super::{LogBounds, Retention, Store};
use super::crash::opened;
use super::simulated_disk::{Disk, Image, Trouble};
use super::support::{Folder, Standing, append, at, batch, batch_of_times, values};
use protocol::compression::Compression;
use protocol::error_code::ErrorCode;
use protocol::records::{Batches, encode_batch};

/// A store on a disk in memory, with small segments, and a clock that stands.
struct OnDisk {
    disk: Disk,
    store: Store,
    now: Arc<AtomicI64>,
}

impl OnDisk {
    fn open(image: Image, retention: Retention) -> OnDisk {
        let disk = Disk::new(image);
        let now = Arc::new(AtomicI64::new(1000));
        let clock = now.clone();
        let clock = Arc::new(move || clock.load(Ordering::Relaxed));
        let store = Store::start(opened(&disk).unwrap(), "disk".into(), retention, clock, None).unwrap();
        OnDisk { disk, store, now }
    }

    fn again(self, retention: Retention) -> OnDisk {
        self.store.close();
        OnDisk::open(self.disk.live(), retention)
    }

    fn apply_retention(&self) {
        while self.store.apply_retention_now().wait().unwrap() {}
    }

    fn logs(&self) -> Vec<String> {
        self.disk.live().names().into_iter().filter(|name| name.ends_with(".log")).collect()
    }
}

fn configs(set: &[(&str, &str)]) -> BTreeMap<String, String> {
    set.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn keyed(key: &str, value: Option<&str>, timestamp: i64) -> bytes::Bytes {
    let record = (Some(key.as_bytes()), value.map(str::as_bytes));
    encode_batch([record], timestamp, -1, -1, -1, Compression::None).unwrap().into()
}

/// The offsets and values of what a log holds, with its gaps.
fn with_gaps(store: &Store, topic: &str, from: i64) -> Vec<(i64, Option<String>)> {
    let (mut offset, mut found) = (from, Vec::new());
    loop {
        let (bytes, _) = store.read(topic, 0, offset, 10_000, true).unwrap();
        if bytes.is_empty() {
            return found;
        }
        for batch in Batches::new(&bytes) {
            let batch = batch.unwrap();
            for record in &batch.unpack(1 << 20).unwrap() {
                let record = record.unwrap();
                let value = record.value.map(|value| String::from_utf8(value.to_vec()).unwrap());
                found.push((record.offset, value));
            }
            offset = batch.header.last_offset() + 1;
        }
    }
}

#[test]
fn a_deleted_topic_gives_its_disk_back_while_the_store_runs_and_the_other_topics_stay() {
    let on_disk = OnDisk::open(Image::default(), Retention::default());
    let store = &on_disk.store;
    for topic in ["gone", "kept"] {
        store.create_topic(topic, 1, Default::default()).wait().unwrap();
    }
    let large = "x".repeat(20_000);
    let mut kept = Vec::new();
    for number in 0..60 {
        append(store, "gone", 0, batch(&[&large], number)).unwrap();
        let value = format!("{number}");
        append(store, "kept", 0, batch(&[&value], number)).unwrap();
        kept.push(value);
    }
    let kept: Vec<&str> = kept.iter().map(String::as_str).collect();
    let before = on_disk.disk.live().used();
    store.delete_topic("gone").wait().unwrap();
    on_disk.apply_retention();
    on_disk.apply_retention();
    let after = on_disk.disk.live().used();
    assert!(before > 1_200_000 && after < 300_000, "{before}, {after}, {:?}", on_disk.logs());
    assert!(on_disk.logs().iter().any(|name| name.contains(".1.log")), "{:?}", on_disk.logs());
    assert_eq!(values(store, "kept", 0, 0).unwrap(), at(0, &kept));
    let on_disk = on_disk.again(Retention::default());
    assert_eq!(values(&on_disk.store, "kept", 0, 0).unwrap(), at(0, &kept));
    // The index of a rewritten segment can be made anew, too.
    on_disk.store.close();
    let mut image = on_disk.disk.live();
    for name in image.names().into_iter().filter(|name| name.ends_with(".index")) {
        image.remove(&name);
    }
    let on_disk = OnDisk::open(image, Retention::default());
    assert_eq!(values(&on_disk.store, "kept", 0, 30).unwrap(), at(30, &kept[30..]));
}

#[test]
fn removed_records_give_their_segments_back_and_the_log_begins_where_it_was_told() {
    let on_disk = OnDisk::open(Image::default(), Retention::default());
    let store = &on_disk.store;
    store.create_topic("t", 1, Default::default()).wait().unwrap();
    let large = "x".repeat(20_000);
    for number in 0..40 {
        append(store, "t", 0, batch(&[&large, "end"], number)).unwrap();
    }
    let delete = |before| store.delete_records("t", 0, before).wait();
    assert_eq!(delete(81), Err(ErrorCode::OFFSET_OUT_OF_RANGE));
    assert_eq!(delete(-2), Err(ErrorCode::OFFSET_OUT_OF_RANGE));
    assert_eq!(store.delete_records("u", 0, 1).wait(), Err(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION));
    let files = on_disk.logs().len();
    // In the middle of a batch.
    assert_eq!((delete(61), delete(10)), (Ok(61), Ok(61)));
    on_disk.apply_retention();
    assert!(on_disk.logs().len() + 5 < files, "{files}, {:?}", on_disk.logs());
    let bounds = LogBounds { log_start_offset: 61, log_end_offset: 80 };
    assert_eq!(store.bounds("t", 0), Some(bounds));
    assert_eq!(store.read("t", 0, 60, 1, true), Err(ErrorCode::OFFSET_OUT_OF_RANGE));
    assert_eq!(values(store, "t", 0, 61).unwrap().len(), 19);
    assert_eq!(store.offset_for_timestamp("t", 0, 0), Ok(Some((61, 30))));
    let on_disk = on_disk.again(Retention::default());
    let store = &on_disk.store;
    assert_eq!(store.bounds("t", 0), Some(bounds));
    assert_eq!(values(store, "t", 0, 61).unwrap().len(), 19);
    assert_eq!(store.delete_records("t", 0, -1).wait(), Ok(80));
    assert_eq!(store.partition_bytes("t", 0), Some(0));
    assert_eq!(append(store, "t", 0, batch(&["on"], 1)).unwrap().base_offset, 80);
}

#[test]
fn a_topics_own_retention_goes_before_that_of_the_settings() {
    let retention = Retention { age: Some(Duration::from_millis(500)), bytes: None };
    let on_disk = OnDisk::open(Image::default(), retention);
    let store = &on_disk.store;
    let topics = [
        ("default", configs(&[])),
        ("longer", configs(&[("retention.ms", "2000")])),
        ("for ever", configs(&[("retention.ms", "-1")])),
        ("longest", configs(&[("retention.ms", "9223372036854775807")])),
        ("smaller", configs(&[("retention.ms", "-1"), ("retention.bytes", "1")])),
        ("compacted", configs(&[("cleanup.policy", "compact")])),
    ];
    for (topic, configs) in topics {
        store.create_topic(topic, 1, configs).wait().unwrap();
        for timestamp in [1, 900] {
            append(store, topic, 0, batch(&["x"], timestamp)).unwrap();
        }
    }
    on_disk.apply_retention();
    let starts = |store: &Store| {
        let topics = ["default", "longer", "for ever", "longest", "smaller", "compacted"];
        topics.map(|topic| store.bounds(topic, 0).unwrap().log_start_offset)
    };
    assert_eq!(starts(store), [1, 0, 0, 0, 1, 0]);
    store.alter_topic("longer", vec![("retention.ms".into(), Some("10".into()))], false).wait().unwrap();
    on_disk.apply_retention();
    let on_disk = on_disk.again(retention);
    assert_eq!(starts(&on_disk.store), [1, 2, 0, 0, 1, 0]);
}

#[test]
fn compaction_keeps_the_last_record_of_each_key_with_its_offset() {
    let on_disk = OnDisk::open(Image::default(), Retention::default());
    let store = &on_disk.store;
    let compacted =
        configs(&[("cleanup.policy", "compact"), ("segment.bytes", "1"), ("delete.retention.ms", "100")]);
    store.create_topic("t", 1, compacted).wait().unwrap();
    store.create_topic("u", 1, Default::default()).wait().unwrap();
    for number in 0..20 {
        append(store, "t", 0, keyed(&format!("k{}", number % 3), Some(&format!("{number}")), 950)).unwrap();
        append(store, "u", 0, batch(&["kept"], 1)).unwrap();
    }
    append(store, "t", 0, keyed("k0", None, 950)).unwrap();
    append(store, "t", 0, batch(&["without a key"], 950)).unwrap();
    on_disk.apply_retention();
    let is = |offset: i64, value: &str| (offset, Some(value.to_owned()));
    // The tombstone stays for a while, so that consumers can see it.
    // So does the last record, by which readers come to the end of the log, although it has no key.
    let last = is(21, "without a key");
    assert_eq!(with_gaps(store, "t", 0), [is(17, "17"), is(19, "19"), (20, None), last]);
    assert_eq!(store.bounds("t", 0), Some(LogBounds { log_start_offset: 0, log_end_offset: 22 }));
    assert_eq!(values(store, "u", 0, 0).unwrap().len(), 20);
    // Compacted again, with what came meanwhile.
    on_disk.now.store(2000, Ordering::Relaxed);
    for number in 22..30 {
        append(store, "t", 0, keyed("k1", Some(&format!("{number}")), 2000)).unwrap();
    }
    on_disk.apply_retention();
    let expected = [is(17, "17"), is(29, "29")];
    assert_eq!(with_gaps(store, "t", 0), expected);
    assert_eq!(with_gaps(store, "t", 18), expected[1..]);
    assert_eq!(store.offset_for_timestamp("t", 0, 1500), Ok(Some((29, 2000))));
    let on_disk = on_disk.again(Retention::default());
    assert_eq!(with_gaps(&on_disk.store, "t", 0), expected);
    assert_eq!(append(&on_disk.store, "t", 0, keyed("k1", Some("next"), 1)).unwrap().base_offset, 30);
}

#[test]
fn compaction_waits_for_its_ratio_and_its_lag() {
    let on_disk = OnDisk::open(Image::default(), Retention::default());
    let store = &on_disk.store;
    let set = |more: &[(&str, &str)]| {
        let mut set = configs(&[("cleanup.policy", "compact,delete"), ("segment.bytes", "1")]);
        set.extend(configs(more));
        set
    };
    store.create_topic("lag", 1, set(&[("min.compaction.lag.ms", "500")])).wait().unwrap();
    store.create_topic("ratio", 1, set(&[("min.cleanable.dirty.ratio", "0.9")])).wait().unwrap();
    let due = [("min.cleanable.dirty.ratio", "0.9"), ("max.compaction.lag.ms", "500")];
    store.create_topic("due", 1, set(&due)).wait().unwrap();
    let send = |timestamp| {
        for topic in ["lag", "ratio", "due"] {
            for value in ["a", "b"] {
                append(store, topic, 0, keyed("k", Some(value), timestamp)).unwrap();
            }
        }
    };
    let counts = || ["lag", "ratio", "due"].map(|topic| with_gaps(store, topic, 0).len());
    send(900);
    on_disk.apply_retention();
    assert_eq!(counts(), [2, 1, 1]);
    on_disk.now.store(1600, Ordering::Relaxed);
    send(1550);
    on_disk.apply_retention();
    // Of "ratio" and "due", two of three are new.
    assert_eq!(counts(), [3, 3, 3]);
    on_disk.now.store(2100, Ordering::Relaxed);
    on_disk.apply_retention();
    assert_eq!(counts(), [1, 3, 1]);
}

#[test]
fn readers_beside_rewriting_get_what_was_stored() {
    let folder = Folder::new();
    let limits = Limits { segment_bytes: 20_000, ..Limits::default() };
    let standing = Standing::with_limits(&folder, Retention::default(), 1000, limits);
    let store = &standing.store;
    store.create_topic("kept", 1, Default::default()).wait().unwrap();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    let read = values(store, "kept", 0, 0).unwrap();
                    assert!(
                        (0..)
                            .zip(&read)
                            .all(|(at, (offset, value))| at == *offset && *value == at.to_string())
                    );
                }
            });
        }
        for round in 0..20 {
            store.create_topic("gone", 1, Default::default()).wait().unwrap();
            for number in 0..10 {
                append(store, "gone", 0, batch(&[&"x".repeat(5000)], 1)).unwrap();
                append(store, "kept", 0, batch(&[&(round * 10 + number).to_string()], 1)).unwrap();
            }
            store.delete_topic("gone").wait().unwrap();
            standing.apply_retention();
        }
        done.store(true, Ordering::Relaxed);
    });
    assert_eq!(values(store, "kept", 0, 0).unwrap().len(), 200);
    store.close();
    assert_eq!(values(&folder.open(), "kept", 0, 0).unwrap().len(), 200);
}

#[test]
fn a_log_that_lost_its_start_is_rewritten_once_and_keeps_its_size() {
    let on_disk = OnDisk::open(Image::default(), Retention::default());
    let store = &on_disk.store;
    store.create_topic("t", 1, Default::default()).wait().unwrap();
    store.create_topic("u", 1, Default::default()).wait().unwrap();
    let large = "x".repeat(5000);
    for number in 0..60 {
        append(store, "t", 0, batch(&[&large], number)).unwrap();
    }
    // Of the segment in which the log begins now, little is kept.
    let size = batch(&[&large], 1).len() as u64;
    let first = i64::try_from(60_000 / size).unwrap();
    assert_eq!(store.delete_records("t", 0, first).wait(), Ok(first));
    for _ in 0..4 {
        on_disk.apply_retention();
    }
    let generations: Vec<String> =
        on_disk.logs().into_iter().filter(|name| !name.contains(".0.log")).collect();
    assert!(
        generations.iter().all(|name| name.contains(".1.log")) && generations.len() <= 1,
        "{generations:?}"
    );
    assert_eq!(store.partition_bytes("t", 0), Some((60 - first as u64) * size));
    let on_disk = on_disk.again(Retention::default());
    assert_eq!(on_disk.store.partition_bytes("t", 0), Some((60 - first as u64) * size));
    assert_eq!(values(&on_disk.store, "t", 0, first).unwrap().len(), 60 - first as usize);
}

#[test]
fn a_rewrite_without_room_is_put_off_and_what_is_removed_makes_room() {
    let on_disk = OnDisk::open(Image::default(), Retention::default());
    let store = &on_disk.store;
    for topic in ["gone", "kept"] {
        store.create_topic(topic, 1, Default::default()).wait().unwrap();
    }
    for number in 0..40 {
        append(store, "gone", 0, batch(&[&"x".repeat(20_000)], number)).unwrap();
        append(store, "kept", 0, batch(&["y"], number)).unwrap();
    }
    store.delete_topic("gone").wait().unwrap();
    let room = on_disk.disk.live().used();
    on_disk.disk.set_trouble(Trouble { room: Some(room), ..Trouble::default() });
    on_disk.apply_retention();
    assert!(!store.has_failed());
    assert!(on_disk.logs().iter().all(|name| name.contains(".0.log")), "{:?}", on_disk.logs());
    assert_eq!(values(store, "kept", 0, 0).unwrap().len(), 40);
    on_disk.disk.set_trouble(Trouble::default());
    on_disk.apply_retention();
    assert!(on_disk.disk.live().used() < room / 3);
    assert_eq!(values(store, "kept", 0, 0).unwrap().len(), 40);
}

#[test]
fn a_segment_for_which_there_are_no_descriptors_is_begun_later() {
    let on_disk = OnDisk::open(Image::default(), Retention::default());
    let store = &on_disk.store;
    store.create_topic("t", 1, Default::default()).wait().unwrap();
    let large = "x".repeat(61_000);
    append(store, "t", 0, batch(&[&large], 1)).unwrap();
    // Each step of the next segment's creation: create, write, sync, sync of the folder.
    for step in 0..4 {
        let asked = on_disk.disk.asked() + step;
        on_disk.disk.set_trouble(Trouble { without_descriptors: Some(asked), ..Trouble::default() });
        append(store, "t", 0, batch(&["in the former segment"], 1)).unwrap();
        assert_eq!((on_disk.logs().len(), store.has_failed()), (1, false), "{step}");
    }
    on_disk.disk.set_trouble(Trouble::default());
    append(store, "t", 0, batch(&["in the next one"], 1)).unwrap();
    assert_eq!(on_disk.logs().len(), 2);
    let on_disk = on_disk.again(Retention::default());
    assert_eq!(values(&on_disk.store, "t", 0, 0).unwrap().len(), 6);
}

#[test]
fn a_damaged_index_is_made_anew_from_its_segment() {
    let on_disk = OnDisk::open(Image::default(), Retention::default());
    for topic in ["t", "u"] {
        on_disk.store.create_topic(topic, 1, Default::default()).wait().unwrap();
    }
    for number in 0..30 {
        append(&on_disk.store, "t", 0, batch(&[&"x".repeat(5000)], number)).unwrap();
        append(&on_disk.store, "u", 0, batch(&[&number.to_string()], number)).unwrap();
    }
    on_disk.store.close();
    let mut image = on_disk.disk.live();
    let name = "00000000000000000001.0.index";
    let length = image.file(name).len();
    let mut byte = [0];
    image.file(name).read(length - 20, &mut byte).unwrap();
    image.file_mut(name).write(length - 20, &[byte[0] ^ 1]);
    let retention = Retention { age: None, bytes: Some(1_000_000) };
    let on_disk = OnDisk::open(image, retention);
    for topic in ["t", "u"] {
        assert_eq!(values(&on_disk.store, topic, 0, 0).unwrap().len(), 30, "{topic}");
    }
    on_disk.apply_retention();
    let on_disk = on_disk.again(retention);
    let mut repaired = [0];
    on_disk.disk.live().file(name).read(length - 20, &mut repaired).unwrap();
    assert_eq!(repaired, byte);
    assert_eq!(values(&on_disk.store, "u", 0, 0).unwrap().len(), 30);
}

#[test]
fn the_largest_timestamp_is_found_behind_deleted_records() {
    let on_disk = OnDisk::open(Image::default(), Retention::default());
    let store = &on_disk.store;
    store.create_topic("t", 1, Default::default()).wait().unwrap();
    append(store, "t", 0, batch_of_times(&[100, 50])).unwrap();
    append(store, "t", 0, batch(&["x"], 60)).unwrap();
    append(store, "t", 0, batch(&["y"], 40)).unwrap();
    assert_eq!(store.offset_of_max_timestamp("t", 0), Ok(Some((0, 100))));
    store.delete_records("t", 0, 1).wait().unwrap();
    assert_eq!(store.offset_of_max_timestamp("t", 0), Ok(Some((2, 60))));
    store.delete_records("t", 0, 3).wait().unwrap();
    assert_eq!(store.offset_of_max_timestamp("t", 0), Ok(Some((3, 40))));
}
