//! `cargo test --release --lib queue:: -- --ignored --nocapture` measures the engine alone.

use std::collections::VecDeque;
use std::time::Instant;

use super::*;
use testing::Random;

/// The weights of `count` keys by Zipf's law, added up.
fn zipf(count: usize) -> Vec<f64> {
    let weights = (1..=count).map(|rank| 1.0 / rank as f64);
    let add = |sum: &mut f64, weight: f64| {
        *sum += weight;
        Some(*sum)
    };
    weights.scan(0.0, add).collect()
}

fn run(name: &str, order: Order, messages: usize, leased: usize, mut key: impl FnMut(usize) -> u32) {
    let keys: Vec<u32> = (0..messages).map(&mut key).collect();
    let mut random = Random::new(1);
    let mut engine: Engine<u64> =
        Engine::new(EngineSettings { order, concurrency: leased as u32, ..settings() }, 0, Note::default());
    let (mut hand, mut leases, mut pushed, mut done) = (VecDeque::new(), Vec::new(), 0, 0);
    let (mut commits, mut longest) = (0, 0);
    let began = Instant::now();
    while done < messages {
        while pushed < messages && engine.open_count() < 4_096 && engine.room(1) > 0 {
            let key = format_key(keys[pushed]);
            let _ = engine.push(pushed as i64, Some(&key), 100, pushed as u64);
            pushed += 1;
        }
        leases.clear();
        engine.receive(leased - hand.len(), NOW, &mut leases);
        hand.extend(leases.iter().map(|lease| lease.id));
        // A commit for each 256 outcomes is one for each quarter of a millisecond here.
        for _ in 0..64.min(hand.len()) {
            let at = random.below(hand.len());
            done += usize::from(engine.done(hand.swap_remove_back(at).unwrap()));
        }
        if done / 256 > commits || engine.pause() == Some(Pause::Commit) {
            commits = done / 256;
            if let Some(commit) = engine.commit(NOW) {
                longest = longest.max(commit.note.len());
                engine.committed();
            }
        }
    }
    let took = began.elapsed();
    println!(
        "{name}: {:.2} M messages/s, longest note {longest} characters",
        messages as f64 / took.as_secs_f64() / 1e6
    );
    assert_eq!(engine.lowest(), messages as i64);
}

/// How many messages of an empty partition can be in hand at a time.
fn most_in_hand() -> usize {
    let mut engine = started(EngineSettings { concurrency: 5_000, ..settings() });
    push(&mut engine, 0..5_000, None);
    receive(&mut engine, 5_000, NOW).len()
}

fn format_key(key: u32) -> [u8; 12] {
    let mut text = *b"customer0000";
    text[8..].copy_from_slice(&key.to_be_bytes());
    text
}

#[test]
#[ignore = "a measurement"]
fn messages_through_the_engine_alone() {
    println!("a note of 4,096 characters lets {} be in hand", most_in_hand());
    let mut random = Random::new(5);
    let messages = if cfg!(debug_assertions) { 100_000 } else { 4_000_000 };
    run("256 leased, 10,000 keys", Order::Key, messages, 256, |_| random.below(10_000) as u32);
    run("1,024 leased, 10,000 keys", Order::Key, messages, 1_024, |_| random.below(10_000) as u32);
    run("256 leased, no order", Order::None, messages, 256, |_| 0);
    run("order of the partition", Order::Partition, messages, 256, |_| 0);
    let weights = zipf(10_000);
    let all = weights.last().copied().unwrap();
    run("256 leased, Zipf(1.0) keys", Order::Key, messages, 256, |_| {
        let drawn = random.draw() as f64 / u64::MAX as f64 * all;
        weights.partition_point(|sum| *sum < drawn) as u32
    });
}
