//! Offsets, groups, times, retention, and the file itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;

use super::super::write_state::Limits;
use super::super::{CommittedOffset, LogBounds, OpenError, Retention, Store};
use super::support::{
    Folder, Standing, append, at, batch, batch_of_times, committed, refusal, sequenced_batch, values,
};
use protocol::error_code::ErrorCode;
use protocol::records::Batches;
use testing::Random;

#[test]
fn committed_offsets_and_groups_are_kept_in_the_order_they_came() {
    let folder = Folder::new();
    let store = folder.open();
    store.create_topic("t", 2, Default::default()).wait().unwrap();
    let commit = |store: &Store, group: &str, partition, offset| {
        store.commit_offsets(group, vec![("t".into(), partition, committed(offset))])
    };
    let pending: Vec<_> = (0..50).map(|offset| commit(&store, "g", 1, offset)).collect();
    pending.into_iter().for_each(|pending| pending.wait().unwrap());
    commit(&store, "gg", 1, 7).wait().unwrap();
    commit(&store, "g", 0, 3).wait().unwrap();
    store.save_group("g", Bytes::from_static(b"state")).wait().unwrap();
    store.save_group("h", Bytes::new()).wait().unwrap();
    let unknown = vec![("t".into(), 0, committed(9)), ("nowhere".into(), 0, committed(9))];
    assert_eq!(store.commit_offsets("g", unknown).wait(), Err(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION));
    let check = |store: &Store| {
        assert_eq!(store.committed("g", "t", 1), Some(committed(49)));
        let all: Vec<(Arc<str>, i32, _)> =
            vec![("t".into(), 0, committed(3)), ("t".into(), 1, committed(49))];
        assert_eq!(store.all_committed("g"), all);
        assert_eq!(store.committed("h", "t", 1), None);
        assert_eq!(store.group("g"), Some(Bytes::from_static(b"state")));
        assert_eq!(store.group("h"), Some(Bytes::new()));
        assert_eq!(store.group("gg"), None);
        assert_eq!(store.group_names(), ["g".into(), "gg".into(), "h".into()]);
    };
    check(&store);
    store.close();
    let store = folder.open();
    check(&store);
    store.delete_offsets("g", vec![("t".into(), 1), ("t".into(), 5)]).wait().unwrap();
    assert_eq!(store.committed("g", "t", 1), None);
    store.delete_group("g").wait().unwrap();
    store.delete_offsets("gg", vec![("t".into(), 1)]).wait().unwrap();
    assert_eq!(store.group_names(), ["h".into()]);
    store.close();
    assert_eq!(folder.open().group_names(), ["h".into()]);
}

#[test]
fn a_deleted_topic_takes_its_offsets_and_batches_with_it() {
    let folder = Folder::new();
    let standing = Standing::open(&folder, Retention::default(), 0);
    let store = &standing.store;
    store.create_topic("t", 1, Default::default()).wait().unwrap();
    store.create_topic("u", 1, Default::default()).wait().unwrap();
    for sequence in 0..2500 {
        append(store, "t", 0, sequenced_batch(&["x"], 1, sequence % 7, 0, (sequence / 7) as i32)).unwrap();
        if sequence > 20 {
            continue;
        }
        store.commit_offsets("g", vec![("t".into(), 0, committed(sequence))]).wait().unwrap();
    }
    append(store, "u", 0, batch(&["kept"], 1)).unwrap();
    store.commit_offsets("g", vec![("u".into(), 0, committed(1))]).wait().unwrap();
    store.delete_topic("t").wait().unwrap();
    assert_eq!(store.all_committed("g"), [("u".into(), 0, committed(1))]);
    store.close();
    let standing = Standing::open(&folder, Retention::default(), 0);
    assert_eq!(values(&standing.store, "u", 0, 0).unwrap(), at(0, &["kept"]));
    assert_eq!(standing.store.all_committed("g"), [("u".into(), 0, committed(1))]);
}

#[test]
fn old_batches_go_and_the_end_of_the_log_stays() {
    let folder = Folder::new();
    let retention = Retention { age: Some(Duration::from_millis(1000)), bytes: None };
    let standing = Standing::open(&folder, retention, 1000);
    let store = &standing.store;
    store.create_topic("t", 1, Default::default()).wait().unwrap();
    for timestamp in [10, 500, 20, 900] {
        append(store, "t", 0, batch(&["x", "y"], timestamp)).unwrap();
    }
    standing.apply_retention();
    assert_eq!(store.bounds("t", 0), Some(LogBounds { log_start_offset: 0, log_end_offset: 8 }));
    standing.now.store(1400, Ordering::Relaxed);
    standing.apply_retention();
    assert_eq!(store.bounds("t", 0), Some(LogBounds { log_start_offset: 2, log_end_offset: 8 }));
    assert_eq!(store.read("t", 0, 1, 1, true), Err(ErrorCode::OFFSET_OUT_OF_RANGE));
    assert_eq!(values(store, "t", 0, 2).unwrap().len(), 6);
    standing.now.store(5000, Ordering::Relaxed);
    standing.apply_retention();
    assert_eq!(store.bounds("t", 0), Some(LogBounds { log_start_offset: 8, log_end_offset: 8 }));
    store.close();
    let store = folder.open();
    assert_eq!(store.bounds("t", 0), Some(LogBounds { log_start_offset: 8, log_end_offset: 8 }));
    let appended = append(&store, "t", 0, batch(&["z"], 1)).unwrap();
    assert_eq!((appended.base_offset, appended.log_start_offset), (8, 8));
}

#[test]
fn a_partition_that_is_too_large_loses_its_oldest_batches_but_never_the_last() {
    let folder = Folder::new();
    let one = batch(&["0123456789"], 1);
    let retention = Retention { age: None, bytes: Some(one.len() as u64 * 3) };
    let standing = Standing::open(&folder, retention, 1000);
    let store = &standing.store;
    store.create_topic("t", 2, Default::default()).wait().unwrap();
    for _ in 0..10 {
        append(store, "t", 0, one.clone()).unwrap();
    }
    let large = batch(&["0123456789".repeat(100).as_str()], 1);
    append(store, "t", 1, large.clone()).unwrap();
    append(store, "t", 1, large).unwrap();
    standing.apply_retention();
    assert_eq!(store.bounds("t", 0), Some(LogBounds { log_start_offset: 7, log_end_offset: 10 }));
    assert_eq!(store.bounds("t", 1), Some(LogBounds { log_start_offset: 1, log_end_offset: 2 }));
}

#[test]
fn producers_that_are_silent_for_a_day_are_forgotten() {
    let folder = Folder::new();
    let standing = Standing::open(&folder, Retention::default(), 0);
    standing.store.create_topic("t", 1, Default::default()).wait().unwrap();
    append(&standing.store, "t", 0, sequenced_batch(&["a"], 1, 5, 0, 0)).unwrap();
    standing.now.store(24 * 3600 * 1000 + 1, Ordering::Relaxed);
    append(&standing.store, "t", 0, sequenced_batch(&["a"], 1, 6, 0, 0)).unwrap();
    standing.apply_retention();
    assert_eq!(append(&standing.store, "t", 0, sequenced_batch(&["b"], 1, 5, 0, 33)).unwrap().base_offset, 2);
    let out_of_order = Err(ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER);
    assert_eq!(append(&standing.store, "t", 0, sequenced_batch(&["b"], 1, 6, 0, 33)), out_of_order);
    standing.store.close();
    let store = folder.open();
    assert_eq!(append(&store, "t", 0, sequenced_batch(&["b"], 1, 6, 0, 33)), out_of_order);
}

#[test]
fn records_are_found_by_their_timestamps() {
    let folder = Folder::new();
    let retention = Retention { age: None, bytes: Some(1) };
    let standing = Standing::open(&folder, retention, 0);
    let store = &standing.store;
    store.create_topic("t", 1, Default::default()).wait().unwrap();
    assert_eq!(store.offset_for_timestamp("t", 0, 0), Ok(None));
    assert_eq!(store.offset_of_max_timestamp("t", 0), Ok(None));
    for timestamp in [100, 300, 200, 300, 50] {
        append(store, "t", 0, batch(&["x", "y"], timestamp)).unwrap();
    }
    let find = |timestamp| store.offset_for_timestamp("t", 0, timestamp).unwrap();
    assert_eq!(find(0), Some((0, 100)));
    assert_eq!(find(100), Some((0, 100)));
    assert_eq!(find(101), Some((2, 300)));
    assert_eq!(find(300), Some((2, 300)));
    assert_eq!(find(301), None);
    assert_eq!(store.offset_of_max_timestamp("t", 0), Ok(Some((2, 300))));
    assert_eq!(store.offset_for_timestamp("t", 1, 0), Err(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION));
    // What is left has smaller timestamps than what is gone.
    standing.apply_retention();
    assert_eq!(store.bounds("t", 0), Some(LogBounds { log_start_offset: 8, log_end_offset: 10 }));
    append(store, "t", 0, batch(&["z"], 60)).unwrap();
    assert_eq!(find(10), Some((8, 50)));
    assert_eq!(find(55), Some((10, 60)));
    assert_eq!(find(61), None);
    assert_eq!(store.offset_of_max_timestamp("t", 0), Ok(Some((10, 60))));
}

#[test]
fn a_record_inside_a_batch_is_found_by_its_own_timestamp() {
    let folder = Folder::new();
    let store = folder.open();
    store.create_topic("t", 1, Default::default()).wait().unwrap();
    append(&store, "t", 0, batch(&["x"], 40)).unwrap();
    append(&store, "t", 0, batch_of_times(&[50, 90, 70, 90])).unwrap();
    append(&store, "t", 0, batch(&["y"], 80)).unwrap();
    let find = |timestamp| store.offset_for_timestamp("t", 0, timestamp).unwrap();
    assert_eq!(find(41), Some((1, 50)));
    assert_eq!(find(60), Some((2, 90)));
    assert_eq!(find(91), None);
    assert_eq!(store.offset_of_max_timestamp("t", 0), Ok(Some((2, 90))));
}

#[test]
fn one_database_is_opened_once_at_a_time() {
    let folder = Folder::new();
    let store = folder.open();
    assert!(matches!(refusal(&folder), OpenError::Locked));
    store.close();
    drop(folder.open());
    drop(folder.open());
}

#[cfg(unix)]
#[test]
fn folder_and_file_are_their_owners_alone_and_a_shared_folder_is_refused() {
    use std::os::unix::fs::PermissionsExt;
    let mode = |path: &std::path::Path| path.metadata().unwrap().permissions().mode() & 0o777;
    let folder = Folder::new();
    std::fs::create_dir(folder.path()).unwrap();
    let widen = || std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    widen();
    folder.open().close();
    assert_eq!((mode(folder.path()), mode(&folder.log())), (0o700, 0o600));
    widen();
    std::fs::set_permissions(folder.log(), std::fs::Permissions::from_mode(0o644)).unwrap();
    folder.open().close();
    assert_eq!((mode(folder.path()), mode(&folder.log())), (0o700, 0o600));
    widen();
    std::fs::write(folder.path().join("notes.txt"), "mine").unwrap();
    let text = refusal(&folder).to_string();
    assert!(text.contains("chmod 700"), "{text}");
    assert_eq!(mode(folder.path()), 0o755);
}

#[test]
fn a_file_that_is_no_segment_is_refused_and_kept() {
    let folder = Folder::new();
    folder.open().close();
    for bytes in [&b"something else"[..], &[b'x'; 9000], &[0, 1], &[0, 0, 0, 0, 7]] {
        std::fs::write(folder.log(), bytes).unwrap();
        assert!(matches!(refusal(&folder), OpenError::Damaged(_)));
        assert_eq!(std::fs::read(folder.log()).unwrap(), bytes);
    }
    // What a crash right after the file was made leaves.
    std::fs::remove_file(folder.path().join("closed")).unwrap();
    std::fs::write(folder.log(), [0; 8192]).unwrap();
    folder.open().create_topic("t", 1, Default::default()).wait().unwrap();
}

#[test]
fn the_file_of_the_former_format_is_refused_with_what_to_do() {
    let folder = Folder::new();
    std::fs::create_dir(folder.path()).unwrap();
    std::fs::write(folder.path().join("point-to-point.redb"), "redb").unwrap();
    let text = refusal(&folder).to_string();
    assert!(text.contains("point-to-point.redb") && text.contains("move the file away"), "{text}");
}

#[test]
fn offsets_and_groups_take_no_more_memory_than_allowed_and_what_is_there_can_be_changed() {
    let folder = Folder::new();
    let limits = || Limits { bytes: 100_000, producers: 10, ..Limits::default() };
    let standing = Standing::with_limits(&folder, Retention::default(), 0, limits());
    let store = &standing.store;
    store.create_topic("t", 1, Default::default()).wait().unwrap();
    let save = |store: &Store, group: &str, bytes| store.save_group(group, vec![1; bytes].into()).wait();
    for group in 0..9 {
        save(store, &group.to_string(), 10_000).unwrap();
    }
    assert_eq!(save(store, "another", 10_000), Err(ErrorCode::POLICY_VIOLATION));
    save(store, "3", 10_000).unwrap();
    assert_eq!(save(store, "3", 20_000), Err(ErrorCode::POLICY_VIOLATION));
    save(store, "3", 5000).unwrap();
    save(store, "another", 5000).unwrap();
    let long = CommittedOffset { metadata: "x".repeat(10_000).into(), ..committed(1) };
    let offsets = vec![("t".into(), 0, long)];
    assert_eq!(store.commit_offsets("g", offsets.clone()).wait(), Err(ErrorCode::POLICY_VIOLATION));
    assert_eq!(store.committed("g", "t", 0), None);
    store.delete_group("5").wait().unwrap();
    store.commit_offsets("g", offsets.clone()).wait().unwrap();
    standing.store.close();
    let standing = Standing::with_limits(&folder, Retention::default(), 0, limits());
    assert_eq!(save(&standing.store, "5", 10_000), Err(ErrorCode::POLICY_VIOLATION));
    standing.store.delete_topic("t").wait().unwrap();
    standing.apply_retention();
    save(&standing.store, "5", 10_000).unwrap();
}

#[test]
fn too_many_producers_make_the_one_that_was_silent_longest_forgotten() {
    let folder = Folder::new();
    let limits = Limits { producers: 10, ..Limits::default() };
    let standing = Standing::with_limits(&folder, Retention::default(), 0, limits);
    standing.store.create_topic("t", 1, Default::default()).wait().unwrap();
    let send = |store: &Store, producer, sequence| {
        append(store, "t", 0, sequenced_batch(&["x"], 1, producer, 0, sequence))
            .map(|appended| appended.base_offset)
    };
    for producer in 0..10 {
        standing.now.store(producer, Ordering::Relaxed);
        send(&standing.store, producer, 0).unwrap();
    }
    standing.now.store(100, Ordering::Relaxed);
    assert_eq!(send(&standing.store, 0, 1), Ok(10));
    assert_eq!(send(&standing.store, 10, 0), Ok(11));
    // It was forgotten: any sequence will do. The others are known.
    assert_eq!(send(&standing.store, 1, 7), Ok(12));
    standing.store.close();
    // By the clock of the test: by that of the system these producers have been silent for decades.
    let standing = Standing::with_limits(&folder, Retention::default(), 100, limits);
    let store = &standing.store;
    assert_eq!(send(store, 0, 1), Ok(10));
    assert_eq!(send(store, 1, 7), Ok(12));
    assert_eq!(send(store, 3, 7), Err(ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER));
    assert_eq!(send(store, 2, 7), Ok(13));
}

#[test]
fn readers_beside_retention_and_deletion_get_what_was_stored_or_an_error_code() {
    let folder = Folder::new();
    let retention = Retention { age: None, bytes: Some(2000) };
    let standing = Standing::open(&folder, retention, 0);
    let store = &standing.store;
    store.create_topic("t", 1, Default::default()).wait().unwrap();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for reader in 0..3 {
            let done = &done;
            scope.spawn(move || {
                let mut random = Random::new(reader);
                while !done.load(Ordering::Relaxed) {
                    let Some(bounds) = store.bounds("t", 0) else { continue };
                    let offset = bounds.log_start_offset + random.below(20) as i64;
                    match store.read("t", 0, offset, 1000, true) {
                        Ok((bytes, _)) => {
                            for batch in Batches::new(&bytes) {
                                let header = batch.unwrap().header;
                                assert_eq!(header.max_timestamp, header.base_offset);
                            }
                        }
                        Err(ErrorCode::OFFSET_OUT_OF_RANGE | ErrorCode::UNKNOWN_TOPIC_OR_PARTITION) => {}
                        Err(code) => panic!("{code} at {offset}"),
                    }
                    match store.offset_for_timestamp("t", 0, offset) {
                        Ok(_) | Err(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION) => {}
                        Err(code) => panic!("{code} at the time {offset}"),
                    }
                }
            });
        }
        for number in 0..300 {
            let offset = store.bounds("t", 0).unwrap().log_end_offset;
            append(store, "t", 0, batch(&["some value"], offset)).unwrap();
            if number % 7 == 0 {
                store.apply_retention_now().wait().unwrap();
            }
            if number % 100 == 99 {
                store.delete_topic("t").wait().unwrap();
                store.create_topic("t", 1, Default::default()).wait().unwrap();
            }
        }
        done.store(true, Ordering::Relaxed);
    });
}
