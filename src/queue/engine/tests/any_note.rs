//! Notes that can be read, and that no engine has written: an owner goes on from them all the same.

use super::*;
use crate::queue::note::Attempted;
use testing::Random;

/// A number of any size.
fn drawn(random: &mut Random) -> i64 {
    let bits = random.below(62);
    (random.draw() >> (63 - bits).min(63)) as i64
}

fn note(random: &mut Random, next: i64) -> Note {
    let mut note =
        Note { held_by: Some("x".to_owned()), reach: next.saturating_add(drawn(random)), ..Note::default() };
    let mut offset = next;
    for _ in 0..random.below(40) {
        let width = if random.below(3) == 0 { drawn(random) } else { random.below(4) as i64 };
        if random.below(2) == 0 {
            let Some(after) = offset.checked_add(2).and_then(|start| start.checked_add(width)) else { break };
            note.done.push((offset + 1, after));
            offset = after;
        } else {
            let Some(after) = offset.checked_add(1) else { break };
            let attempts = 1 + drawn(random).unsigned_abs() as u32 % (u32::MAX - 1);
            let kills = [0, 1, attempts, attempts - 1][random.below(4)].min(attempts);
            let (in_test, due) = (random.below(4) == 0, drawn(random).unsigned_abs());
            note.attempted.push(Attempted { offset, attempts, kills, in_test, due });
            offset = after;
        }
    }
    note
}

#[test]
fn an_owner_goes_on_from_any_note_that_can_be_read() {
    let mut random = Random::new(12);
    let mut read = 0;
    for _ in 0..5_000 {
        let next = [0, 9, 1 << 40, i64::MAX - 50, i64::MAX][random.below(5)];
        let text = note(&mut random, next).text(next, NOW);
        let text = if random.below(2) == 0 {
            String::from_utf8_lossy(&random.damage(text.as_bytes())).into_owned()
        } else {
            text
        };
        let Ok(note) = Note::read(next, &text) else { continue };
        read += 1;
        let settings = EngineSettings { note_limit: [MIN_LIMIT, 4_096][random.below(2)], ..settings() };
        let mut engine = Engine::new(settings, next, note);
        let mut last = next;
        for _ in 0..60 {
            let offset = engine.position().saturating_add(random.below(3) as i64);
            if offset < i64::MAX {
                let _ = engine.push(offset, None, 1, ());
            }
            engine.try_suspect(NOW);
            if let Some(commit) = engine.commit(NOW) {
                assert!(
                    commit.offset >= last && Note::read(commit.offset, &commit.note).is_ok(),
                    "{}",
                    commit.note
                );
                last = commit.offset;
                engine.committed();
            }
            for lease in receive(&mut engine, 3, NOW) {
                match random.below(3) {
                    0 => assert!(engine.done(lease.id)),
                    1 => _ = engine.fail(lease.id, Failed::WorkerDied, 5, NOW),
                    _ => assert!(engine.release(lease.id, 0, NOW)),
                }
            }
        }
    }
    assert!(read > 2_000, "{read}");
}
