//! Tries in a pause: each message that is ready has its turn, and a failure costs none an attempt.

use super::*;

/// The offsets of so many tries, each of which fails.
fn tries(engine: &mut Engine<()>, count: usize) -> Vec<i64> {
    let tried = |engine: &mut Engine<()>| {
        let lease = engine.receive_try(NOW).expect("one is ready");
        assert_eq!(lease.attempt, 1);
        assert!(engine.excuse(lease.id, 0, NOW) && !engine.excuse(lease.id, 0, NOW));
        lease.offset
    };
    (0..count).map(|_| tried(engine)).collect()
}

#[test]
fn all_that_is_ready_is_tried_in_turn_and_no_attempt_is_counted() {
    let mut engine = started(settings());
    push(&mut engine, 0..2, Some(b"a"));
    push(&mut engine, 2..5, None);
    assert_eq!(tries(&mut engine, 6), [0, 2, 3, 4, 0, 2], "1 is behind 0");
    let lease = engine.receive_try(NOW).unwrap();
    assert_eq!(lease.offset, 3);
    assert!(engine.done(lease.id));
    let rest = receive(&mut engine, 9, NOW);
    assert_eq!(offsets(&rest), [0, 2, 4], "the lowest first, as ever");
    assert!(rest.iter().all(|lease| lease.attempt == 1));
    assert_eq!(engine.receive_try(NOW), None);
    assert_eq!(engine.attempted, 0);
}

#[test]
fn a_try_waits_for_a_commit_as_any_message_and_the_next_one_goes_on_from_there() {
    let mut engine = started(EngineSettings { concurrency: 1, ..settings() });
    push(&mut engine, 0..9, None);
    let mut tried = Vec::new();
    while tried.len() < 9 {
        match engine.receive_try(NOW) {
            Some(lease) => {
                assert!(engine.excuse(lease.id, 1_000, NOW));
                tried.push(lease.offset);
            }
            None => {
                assert_eq!(engine.pause(), Some(Pause::Commit));
                commit(&mut engine);
            }
        }
    }
    assert_eq!(tried, Vec::from_iter(0..9));
    engine.hand_over();
    assert_eq!((engine.receive_try(NOW + 1_000), engine.pause()), (None, Some(Pause::HandOver)));
}

#[test]
fn a_suspect_that_is_excused_has_no_attempt_and_is_none_any_more() {
    let mut engine = restarted(settings(), 0, "q1 held=consumer2 reach=1");
    push(&mut engine, 0..2, None);
    assert!(engine.try_suspect(NOW));
    commit(&mut engine);
    let lease = engine.receive_try(NOW).unwrap();
    assert_eq!((lease.offset, lease.attempt, engine.suspect_count()), (0, 1, 1));
    assert!(engine.excuse(lease.id, 0, NOW));
    assert_eq!((engine.suspect_count(), engine.is_trying_suspect(), engine.attempted), (0, false, 0));
    let (_, note) = commit(&mut engine);
    assert!(!note.contains("attempts="), "{note}");
    assert_eq!(tries(&mut engine, 3), [1, 0, 1]);
}
