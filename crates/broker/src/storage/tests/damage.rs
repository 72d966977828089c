//! Flipped bytes: a database is refused, or what is damaged is an error, or everything is as it was stored.

use super::super::{OpenError, Retention, Store};
use super::crash::open_disk;
use super::model::{Changes, Model};
use super::simulated_disk::{Disk, Image};
use super::support::{append, batch};
use protocol::error_code::ErrorCode;
use testing::Random;

/// The results of opening and reading damaged databases.
#[derive(Default, Debug)]
struct Outcomes {
    refused: usize,
    errors: usize,
    right: usize,
}

/// A database with a bit of everything, closed in order or not.
fn database(seed: u64, closed: bool) -> (Image, Model) {
    let disk = Disk::default();
    let store = open_disk(&disk, Retention::default()).unwrap();
    let mut changes = Changes::new(seed);
    for _ in 0..150 {
        let op = changes.next();
        op.submit(&store).wait().unwrap();
    }
    let open = disk.live();
    store.close();
    (if closed { disk.live() } else { open }, changes.ahead)
}

/// Changes some bytes, most of them where something is.
fn damage(image: &Image, random: &mut Random) -> Image {
    let mut damaged = image.clone();
    let pages = image.used_pages();
    for _ in 0..=random.below(3) {
        let page = match random.below(4) {
            0 => random.below(usize::try_from(image.len()).unwrap() / 4096),
            // The header, the checksums, the first pages: small and important.
            1 => pages[random.below(pages.len().min(12))],
            _ => pages[random.below(pages.len())],
        };
        let at = (page * 4096 + random.below(4096)) as u64;
        let mut byte = [0];
        image.read(at, &mut byte).unwrap();
        damaged.write(at, &[byte[0] ^ (1 << random.below(8))]);
    }
    damaged
}

/// Reads everything; whether all of it could be read. What was read was right.
fn read_all(store: &Store, model: &Model, seed: u64) -> bool {
    match model.difference(store) {
        None => true,
        Some(difference) => {
            let is_error =
                ["CORRUPT_MESSAGE", "KAFKA_STORAGE_ERROR"].iter().any(|code| difference.contains(code));
            assert!(is_error, "seed {seed}: served wrong: {difference}");
            // The other logs are served, or refused.
            for (topic, logs) in &model.topics {
                for partition in (0..).take(logs.len()) {
                    let mut only = Model::default();
                    only.topics.insert(topic, logs.clone());
                    let read = store.read(
                        topic,
                        partition,
                        store.bounds(topic, partition).unwrap().log_start_offset,
                        1,
                        true,
                    );
                    let _ = read.map_err(|code| {
                        assert!([ErrorCode::CORRUPT_MESSAGE, ErrorCode::KAFKA_STORAGE_ERROR].contains(&code));
                    });
                }
            }
            false
        }
    }
}

fn try_damaged(image: Image, model: &Model, seed: u64, outcomes: &mut Outcomes) {
    let disk = Disk::new(image);
    let store = match open_disk(&disk, Retention::default()) {
        Ok(store) => store,
        Err(OpenError::Damaged(_)) => {
            outcomes.refused += 1;
            return;
        }
        Err(error) => panic!("seed {seed}: {error}"),
    };
    if read_all(&store, model, seed) {
        outcomes.right += 1;
    } else {
        outcomes.errors += 1;
    }
    // What is stored now is there afterwards, or was not acknowledged.
    let mut stored = Vec::new();
    for (topic, logs) in &model.topics {
        for partition in (0..).take(logs.len()) {
            match append(&store, topic, partition, batch(&["after"], 1)) {
                Ok(appended) => stored.push((*topic, partition, appended.base_offset)),
                Err(ErrorCode::KAFKA_STORAGE_ERROR) => {}
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
fn a_database_with_flipped_bytes_is_refused_or_detected_and_never_served_wrong() {
    let mut outcomes = Outcomes::default();
    for base in 0..4 {
        let (image, model) = database(base, base % 2 == 0);
        for seed in 0..100 {
            let mut random = Random::new(base << 32 | seed);
            try_damaged(damage(&image, &mut random), &model, base << 32 | seed, &mut outcomes);
        }
    }
    assert!(outcomes.refused > 20 && outcomes.errors > 20 && outcomes.right > 20, "{outcomes:?}");
}

#[test]
fn damage_in_one_batch_leaves_the_rest_readable_and_writable() {
    let disk = Disk::default();
    let store = open_disk(&disk, Retention::default()).unwrap();
    store.create_topic("t", 2).wait().unwrap();
    // So large that each has pages of its own.
    let large = ["aaaaa", "bbbbb", "ccccc", "ddddd", "eeeee"].map(|five| five.repeat(4000));
    for (value, partition) in large.iter().zip([0, 1, 0, 1, 0]) {
        append(&store, "t", partition, batch(&[value], 1)).unwrap();
    }
    let size = batch(&[&large[0]], 1).len();
    store.close();
    let mut image = disk.live();
    let mut bytes = vec![0; usize::try_from(image.len()).unwrap()];
    image.read(0, &mut bytes).unwrap();
    let place = bytes.windows(20).rposition(|window| window == [b'c'; 20]).unwrap();
    image.write(place as u64, b"X");
    let store = open_disk(&Disk::new(image), Retention::default()).unwrap();
    assert_eq!(store.read("t", 0, 1, 1, true), Err(ErrorCode::CORRUPT_MESSAGE));
    let read = |partition, offset| store.read("t", partition, offset, 1 << 20, true).unwrap().0.len();
    assert_eq!((read(0, 0), read(0, 2), read(1, 0)), (size, size, 2 * size));
    assert!(!store.has_failed());
    assert_eq!(append(&store, "t", 1, batch(&["d"], 1)).unwrap().base_offset, 2);
}

#[test]
fn a_file_that_was_cut_short_is_refused() {
    let (image, _) = database(9, true);
    for length in [1, 511, 4096, image.len() / 2, image.len() - 4096, image.len() - 1] {
        let mut cut = image.clone();
        cut.set_len(length);
        let refusal = open_disk(&Disk::new(cut), Retention::default()).map(|_| ()).unwrap_err();
        assert!(matches!(refusal, OpenError::Damaged(_)), "{length}: {refusal}");
    }
}
