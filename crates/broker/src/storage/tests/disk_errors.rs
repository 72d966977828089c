//! A disk that refuses to write, to sync, to read, or is full: nothing is acknowledged that is not stored,
//! everything that was is there after opening again.

use super::super::{OpenError, Retention, Store, recovery};
use super::crash::{agreement, open_disk, opened, send_again};
use super::model::{Changes, Model, Op};
use super::simulated_disk::{Disk, Image, Trouble};
use super::support::{Folder, append, batch, values};
use protocol::error_code::ErrorCode;
use testing::Random;

/// The acknowledged content of a failed store, and the changes without a known result.
#[derive(Default)]
struct Failed {
    acknowledged: Model,
    unknown: Vec<Op>,
    /// The store says that none of them is stored.
    certain: bool,
}

/// Makes changes, several at a time, until one fails or `count` are made; then everything fails, without
/// another try.
fn until_failure(disk: &Disk, store: &Store, seed: u64, count: usize) -> Failed {
    let mut changes = Changes::new(seed);
    let mut failed = Failed::default();
    for _ in 0..count {
        let ops: Vec<Op> = (0..3).map(|_| changes.next()).collect();
        let waiting: Vec<_> = ops.iter().map(|op| op.submit(store)).collect();
        for (op, pending) in ops.into_iter().zip(waiting) {
            match pending.wait() {
                // ApplyRetention does not wait for its turn.
                Ok(_) if failed.unknown.is_empty() || matches!(op, Op::ApplyRetention) => {
                    failed.acknowledged.apply(&op);
                }
                Ok(_) => panic!("{op:?} was acknowledged after a failure"),
                Err(ErrorCode::KAFKA_STORAGE_ERROR) => failed.unknown.push(op),
                Err(code) => panic!("{op:?}: {code}"),
            }
        }
        if !failed.unknown.is_empty() {
            break;
        }
    }
    if !failed.unknown.is_empty() {
        let asked = disk.asked();
        assert_eq!(store.new_producer_id().wait(), Err(ErrorCode::KAFKA_STORAGE_ERROR));
        let failure = store.failure().expect("a reason");
        assert!(!failure.damaged && store.failure_stop().is_asked(), "{failure:?}");
        failed.certain = !failure.in_doubt;
        store.close();
        assert_eq!(disk.asked(), asked, "the disk was asked again after it had refused");
    }
    store.close();
    failed
}

/// Opens what is left and compares it with what is known.
fn check(image: Image, failed: &Failed) {
    let store = open_disk(&Disk::new(image), Retention::default()).unwrap();
    let (mut model, unknown) =
        agreement(&store, failed.acknowledged.clone(), failed.unknown.clone()).unwrap();
    if failed.certain {
        assert_eq!(unknown.len(), failed.unknown.len(), "what was certainly not stored is there");
    }
    send_again(&store, &mut model, &unknown);
}

#[test]
fn a_refused_write_sync_or_length_fails_the_store_for_good_and_loses_nothing() {
    let disk = Disk::default();
    let store = open_disk(&disk, Retention::default()).unwrap();
    until_failure(&disk, &store, 5, 60);
    let mut random = Random::new(5);
    let (mut refused_to_open, mut failed_stores, mut certain) = (0, 0, 0);
    for step in 0..disk.asked() {
        let disk = Disk::with(Image::default(), Trouble { refused_step: Some(step), ..Trouble::default() });
        let failed = match open_disk(&disk, Retention::default()) {
            Ok(store) => until_failure(&disk, &store, 5, 60),
            Err(error @ OpenError::Io { .. }) => {
                let text = error.to_string();
                assert!(text.contains("the disk is broken"), "{text}");
                refused_to_open += 1;
                Failed::default()
            }
            Err(error) => panic!("step {step}: {error}"),
        };
        failed_stores += usize::from(!failed.unknown.is_empty());
        certain += usize::from(failed.certain);
        // The process dies and the system goes on; or the system goes down too.
        check(disk.live(), &failed);
        check(disk.crashed(disk.steps(), &mut random), &failed);
    }
    assert!(refused_to_open > 5 && failed_stores > 50, "{refused_to_open}, {failed_stores}");
    assert!(certain > failed_stores / 2 && certain < failed_stores, "{certain} of {failed_stores}");
}

#[test]
fn a_full_disk_fails_the_store_and_with_more_room_it_serves_again() {
    let mut random = Random::new(6);
    for seed in 0..30 {
        let room = 40_000 + random.below(1_500_000);
        let disk = Disk::with(Image::default(), Trouble { room: Some(room), ..Trouble::default() });
        let failed = match open_disk(&disk, Retention::default()) {
            Ok(store) => until_failure(&disk, &store, seed, 2000),
            Err(OpenError::Io { .. }) => Failed::default(),
            Err(error) => panic!("seed {seed}: {error}"),
        };
        assert!(!failed.unknown.is_empty() || room < 100_000, "seed {seed}: the disk did not get full");
        // Without more room everything is still served, if it opens at all.
        let full = Disk::with(disk.live(), Trouble { room: Some(room), ..Trouble::default() });
        match open_disk(&full, Retention::default()) {
            Ok(store) => {
                agreement(&store, failed.acknowledged.clone(), failed.unknown.clone()).unwrap();
            }
            Err(OpenError::Io { .. }) => {}
            Err(error) => panic!("seed {seed}: {error}"),
        }
        check(full.live(), &failed);
        check(disk.crashed(disk.steps(), &mut random), &failed);
    }
}

#[test]
fn a_refused_read_is_an_error_and_the_store_says_so() {
    let disk = Disk::default();
    let store = open_disk(&disk, Retention::default()).unwrap();
    let known = until_failure(&disk, &store, 8, 60).acknowledged;
    let whole = Disk::new(disk.live());
    let store = open_disk(&whole, Retention::default()).unwrap();
    assert_eq!(known.difference(&store), None);
    let mut failed_stores = 0;
    for read in 0..whole.reads() {
        let disk = Disk::with(disk.live(), Trouble { refused_read: Some(read), ..Trouble::default() });
        let store = match open_disk(&disk, Retention::default()) {
            Ok(store) => store,
            Err(OpenError::Io { .. }) => continue,
            Err(error) => panic!("read {read}: {error}"),
        };
        let difference = known.difference(&store).expect("a read was refused");
        assert!(difference.contains("KAFKA_STORAGE_ERROR"), "{difference}");
        assert!(store.has_failed());
        assert_eq!(store.new_producer_id().wait(), Err(ErrorCode::KAFKA_STORAGE_ERROR));
        failed_stores += 1;
    }
    assert!(failed_stores > 0);
}

#[test]
fn a_store_is_opened_anew_with_all_that_it_had_and_not_with_a_page_that_is_another() {
    let folder = Folder::new();
    let store = folder.open();
    store.create_topic("t", 1, Default::default()).wait().unwrap();
    for round in 0..20 {
        append(&store, "t", 0, batch(&[&"x".repeat(10_000)], round)).unwrap();
    }
    store.close();
    let reopen = || Store::open_checked(folder.path(), Retention::default());
    let store = reopen().unwrap();
    assert_eq!(values(&store, "t", 0, 0).unwrap().len(), 20);
    append(&store, "t", 0, batch(&["after"], 21)).unwrap();
    assert!(matches!(reopen().err(), Some(OpenError::Locked)));
    store.close();
    // A batch in the middle: an opening that reads what it needs alone does not notice.
    let log = folder.log();
    let bytes = std::fs::read(&log).unwrap();
    let place = bytes.windows(64).position(|window| window == [b'x'; 64]).unwrap();
    let mut damaged = bytes;
    damaged[place] ^= 1;
    std::fs::write(&log, damaged).unwrap();
    assert!(matches!(reopen().err(), Some(OpenError::Damaged(_))));
}

#[test]
fn a_store_without_room_for_a_message_is_not_opened_anew() {
    let disk = Disk::default();
    let store = open_disk(&disk, Retention::default()).unwrap();
    until_failure(&disk, &store, 3, 8);
    for (room, opens) in [(disk.live().used(), false), (disk.live().used() + 3_000_000, true)] {
        let disk = Disk::with(disk.live(), Trouble { room: Some(room), ..Trouble::default() });
        let proven = recovery::prove_writable(opened(&disk).unwrap(), &Retention::default(), 0);
        assert_eq!(proven.is_ok(), opens, "{proven:?}");
    }
}

#[test]
fn an_error_of_the_process_is_told_from_one_of_the_disk() {
    const NO_DESCRIPTORS: i32 = platform::descriptors::NONE_LEFT[1];
    const READ_ONLY: i32 = 30;
    let of = |code| OpenError::io_at("the file", std::io::Error::from_raw_os_error(code));
    assert!(of(NO_DESCRIPTORS).is_of_this_process());
    assert!(OpenError::io(std::io::Error::from(std::io::ErrorKind::PermissionDenied)).is_of_this_process());
    assert!(!of(READ_ONLY).is_of_this_process());
    assert!(!OpenError::io(std::io::Error::from(std::io::ErrorKind::StorageFull)).is_of_this_process());
    assert!(!OpenError::Locked.is_of_this_process());
}
