//! Flipped bytes and lost files: a store is refused, or what is damaged is an error, or everything is as it
//! was stored.

use super::super::{OpenError, Retention, Store};
use super::crash::open_disk;
use super::model::{Changes, Model, Op};
use super::simulated_disk::{Disk, Image};
use super::support::{append, batch};
use protocol::error_code::ErrorCode;
use testing::Random;

/// The results of opening and reading damaged stores.
#[derive(Default, Debug)]
struct Outcomes {
    refused: usize,
    errors: usize,
    right: usize,
    /// Without the last change, which is taken for one that a crash has cut off.
    cut: usize,
}

/// What was stored: with the last change and without it.
struct Known {
    all: Model,
    but_last: Model,
}

/// A store with a bit of everything, closed in order or not.
fn stored(seed: u64, closed: bool) -> (Image, Known) {
    let disk = Disk::default();
    let store = open_disk(&disk, Retention::default()).unwrap();
    let mut changes = Changes::new(seed);
    let mut but_last = Model::default();
    for _ in 0..150 {
        let before = changes.ahead.clone();
        let op = changes.next();
        op.submit(&store).wait().unwrap();
        // This one changes nothing on the disk.
        if !matches!(op, Op::ApplyRetention) && before != changes.ahead {
            but_last = before;
        }
    }
    let open = disk.live();
    store.close();
    (if closed { disk.live() } else { open }, Known { all: changes.ahead, but_last })
}

/// Changes some bytes, where something is.
fn damage(image: &Image, random: &mut Random) -> Image {
    let mut damaged = image.clone();
    let names = image.names();
    for _ in 0..=random.below(3) {
        let name = &names[random.below(names.len())];
        let file = image.file(name);
        let pages = file.used_pages();
        let page = match random.below(3) {
            // The header: small and important.
            0 => pages[0],
            _ => pages[random.below(pages.len())],
        };
        let within = random.below(4096.min(usize::try_from(file.len()).unwrap() - page * 4096));
        let at = (page * 4096 + within) as u64;
        let mut byte = [0];
        file.read(at, &mut byte).unwrap();
        damaged.file_mut(name).write(at, &[byte[0] ^ (1 << random.below(8))]);
    }
    damaged
}

/// Takes note of what can be read; what is read is right.
fn read_all(store: &Store, known: &Known, closed: bool, seed: u64, outcomes: &mut Outcomes) {
    let Some(difference) = known.all.difference(store) else {
        outcomes.right += 1;
        return;
    };
    let is_error = ["CORRUPT_MESSAGE", "KAFKA_STORAGE_ERROR"].iter().any(|code| difference.contains(code));
    if !is_error {
        let cut = known.but_last.difference(store);
        let is_cut = cut.as_ref().is_none_or(|cut| cut.contains("CORRUPT_MESSAGE"));
        assert!(!closed && is_cut, "seed {seed}: served wrong: {difference}; or: {cut:?}");
        outcomes.cut += 1;
        return;
    }
    // The other logs are served, or refused.
    for (topic, logs) in &known.all.topics {
        for partition in (0..).take(logs.len()) {
            let start = store.bounds(topic, partition).unwrap().log_start_offset;
            let _ = store.read(topic, partition, start, 1, true).map_err(|code| {
                assert!([ErrorCode::CORRUPT_MESSAGE, ErrorCode::KAFKA_STORAGE_ERROR].contains(&code));
            });
        }
    }
    outcomes.errors += 1;
}

fn try_damaged(image: Image, known: &Known, closed: bool, seed: u64, outcomes: &mut Outcomes) {
    let disk = Disk::new(image);
    let store = match open_disk(&disk, Retention::default()) {
        Ok(store) => store,
        Err(OpenError::Damaged(_)) => {
            outcomes.refused += 1;
            return;
        }
        Err(error) => panic!("seed {seed}: {error}"),
    };
    read_all(&store, known, closed, seed, outcomes);
    // What is stored now is there afterwards, or was not acknowledged.
    let mut stored = Vec::new();
    for (topic, logs) in &known.all.topics {
        for partition in (0..).take(logs.len()) {
            match append(&store, topic, partition, batch(&["after"], 1)) {
                Ok(appended) => stored.push((*topic, partition, appended.base_offset)),
                Err(ErrorCode::KAFKA_STORAGE_ERROR) => {}
                // The topic's creation was the last change.
                Err(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION) if !closed => {}
                Err(code) => panic!("seed {seed}: {code}"),
            }
        }
    }
    store.close();
    let Ok(store) = open_disk(&disk, Retention::default()) else { return };
    for (topic, partition, offset) in stored {
        match store.read(topic, partition, offset, 1, true) {
            Ok((bytes, _)) => assert_eq!(bytes[16..], batch(&["after"], 1)[16..], "seed {seed}"),
            Err(code) => assert_eq!(code, ErrorCode::CORRUPT_MESSAGE, "seed {seed}"),
        }
    }
}

#[test]
fn a_store_with_flipped_bytes_is_refused_or_detected_and_never_served_wrong() {
    let mut outcomes = Outcomes::default();
    for base in 0..4 {
        let closed = base % 2 == 0;
        let (image, known) = stored(base, closed);
        for seed in 0..100 {
            let seed = base << 32 | seed;
            try_damaged(damage(&image, &mut Random::new(seed)), &known, closed, seed, &mut outcomes);
        }
    }
    assert!(outcomes.refused > 20 && outcomes.errors > 20 && outcomes.right > 20, "{outcomes:?}");
}

#[test]
fn damage_in_one_batch_leaves_the_rest_readable_and_writable() {
    let disk = Disk::default();
    let store = open_disk(&disk, Retention::default()).unwrap();
    store.create_topic("t", 2, Default::default()).wait().unwrap();
    let large = ["aaaaa", "bbbbb", "ccccc", "ddddd", "eeeee"].map(|five| five.repeat(4000));
    for (value, partition) in large.iter().zip([0, 1, 0, 1, 0]) {
        append(&store, "t", partition, batch(&[value], 1)).unwrap();
    }
    let size = batch(&[&large[0]], 1).len();
    // The segment that they are in is not the last: it is read by its index, not replayed.
    append(&store, "t", 1, batch(&[&"f".repeat(60_000)], 1)).unwrap();
    append(&store, "t", 1, batch(&["g"], 1)).unwrap();
    store.close();
    let mut image = disk.live();
    let name = "00000000000000000001.0.log";
    let mut bytes = vec![0; usize::try_from(image.file(name).len()).unwrap()];
    image.file(name).read(0, &mut bytes).unwrap();
    let place = bytes.windows(20).rposition(|window| window == [b'c'; 20]).unwrap();
    image.file_mut(name).write(place as u64, b"X");
    let store = open_disk(&Disk::new(image), Retention::default()).unwrap();
    assert_eq!(store.read("t", 0, 1, 1, true), Err(ErrorCode::CORRUPT_MESSAGE));
    let read = |partition, offset| store.read("t", partition, offset, 50_000, true).unwrap().0.len();
    assert_eq!((read(0, 0), read(0, 2), read(1, 0)), (size, size, 2 * size));
    assert!(!store.has_failed());
    assert_eq!(append(&store, "t", 1, batch(&["d"], 1)).unwrap().base_offset, 4);
}

#[test]
fn a_file_that_was_cut_short_or_lost_is_noticed() {
    let (image, known) = stored(9, true);
    let mut refused = 0;
    for name in image.names() {
        let length = image.file(&name).len();
        for length in [0, 1, length / 2, length.saturating_sub(1)] {
            let mut cut = image.clone();
            cut.file_mut(&name).set_len(length);
            refused += check(cut, &known, &format!("{name} of {length} bytes"));
        }
        // Without the note of its end, nothing tells that the store was closed.
        if name != "closed" {
            let mut without = image.clone();
            without.remove(&name);
            refused += check(without, &known, &format!("without {name}"));
        }
    }
    assert!(refused > 20, "{refused}");
}

/// Refused, or as it was: an index is made anew.
fn check(image: Image, known: &Known, what: &str) -> usize {
    match open_disk(&Disk::new(image), Retention::default()) {
        Err(OpenError::Damaged(_)) => 1,
        Err(error) => panic!("{what}: {error}"),
        Ok(store) => {
            assert!(what.contains(".index"), "{what} is not noticed");
            assert_eq!(known.all.difference(&store), None, "{what}");
            0
        }
    }
}
