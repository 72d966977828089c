//! What may have killed the owner before, and what comes of it.

use std::collections::BTreeSet;

use super::*;

/// Owners that end as soon as they are handed the message at `killer`, until all of 20 messages are done;
/// gives the number of owners. Each message but the killer is handled, and none of them is attempted in vain.
fn owners_until_done(killer: i64, key: impl Fn(i64) -> Option<&'static [u8]>) -> u32 {
    let settings = EngineSettings { max_attempts: 0, ..settings() };
    let (mut next, mut note) = (0, String::new());
    let mut done = BTreeSet::new();
    'owners: for owners in 1..20 {
        let mut engine = restarted(settings.clone(), next, &note);
        for offset in next..20 {
            let _ = engine.push(offset, key(offset), 10, ());
        }
        loop {
            if !engine.try_suspect(NOW) && !engine.is_trying_suspect() {
                engine.release_followers();
            }
            if let Some(commit) = engine.commit(NOW) {
                engine.committed();
                (next, note) = (commit.offset, commit.note);
            }
            let leases = receive(&mut engine, 4, NOW);
            if leases.is_empty() && next == 20 {
                assert_eq!(done, BTreeSet::from_iter(0..20));
                return owners;
            }
            if leases.iter().any(|lease| lease.offset == killer && lease.task == Task::Handle) {
                continue 'owners;
            }
            for lease in leases {
                assert_eq!(lease.task == Task::StoreDeadLetter, lease.offset == killer);
                assert!(lease.offset == killer || lease.attempt == 1, "{lease:?}");
                assert!(engine.done(lease.id));
                done.insert(lease.offset);
            }
        }
    }
    panic!("no end: {next} {note}");
}

#[test]
fn a_killer_becomes_a_dead_letter_and_its_neighbours_lose_nothing() {
    assert_eq!(owners_until_done(5, |_| None), 2 + MAX_KILLS, "the first death finds no suspect");
}

#[test]
fn a_killer_in_the_middle_of_its_keys_messages_becomes_a_dead_letter_too() {
    for killer in 1..20 {
        let owners = owners_until_done(killer, |_| Some(b"key"));
        assert!((2 + MAX_KILLS..=3 + MAX_KILLS).contains(&owners), "{owners} owners for {killer}");
    }
}

#[test]
fn suspects_are_tried_one_by_one_each_with_its_attempt_committed_before() {
    let mut engine = restarted(settings(), 0, "q1 held=consumer2 reach=3 done=1:AQE");
    for offset in 0..5 {
        let _ = engine.push(offset, None, 10, ());
    }
    assert_eq!(offsets(&receive(&mut engine, 9, NOW)), [3, 4], "the others go on beside them");
    assert_eq!(engine.suspect_count(), 2);
    assert!(engine.try_suspect(NOW) && engine.is_trying_suspect() && !engine.try_suspect(NOW));
    assert!(receive(&mut engine, 9, NOW).is_empty());
    let (_, note) = commit(&mut engine);
    assert!(Note::read(0, &note).unwrap().attempted[0].in_test, "{note}");
    let lease = receive(&mut engine, 9, NOW)[0];
    assert_eq!((lease.offset, lease.attempt), (0, 1));
    assert_eq!(engine.fail(lease.id, Failed::Error, 10, NOW), Fate::Retried);
    assert_eq!((engine.suspect_count(), engine.is_trying_suspect()), (1, false));
    let again = receive(&mut engine, 9, NOW + 10)[0];
    assert_eq!((again.offset, again.attempt), (0, 2), "its consumer has survived it");
    engine.hand_over();
    assert!(engine.release(again.id, 0, NOW));
    for lease in engine.open().filter(|open| matches!(open.state, OpenState::Leased(_))).collect::<Vec<_>>() {
        assert!(lease.offset > 2);
    }
}

#[test]
fn a_suspect_that_was_not_tried_stays_one_for_the_next_owner() {
    let mut engine = restarted(settings(), 0, "q1 held=consumer2 reach=3");
    push(&mut engine, 0..5, None);
    assert!(engine.try_suspect(NOW));
    engine.hand_over();
    let (next, note) = commit(&mut engine);
    assert_eq!((next, note.as_str()), (0, "q1 clean reach=3"));
}

#[test]
fn of_a_keys_messages_one_is_tried_and_the_others_follow_without_trials() {
    const MESSAGES: i64 = 1_000;
    let mut engine = restarted(EngineSettings { burst: 10, ..settings() }, 0, "q1 held=consumer2 reach=1000");
    push(&mut engine, 0..MESSAGES, Some(b"key"));
    let (mut trials, mut done, mut commits) = (0, 0, 0);
    while done < MESSAGES {
        match engine.try_suspect(NOW) {
            true => trials += 1,
            false => engine.release_followers(),
        }
        if engine.waits_for_commit() && engine.commit(NOW).is_some() {
            engine.committed();
            commits += 1;
        }
        for lease in receive(&mut engine, 9, NOW) {
            assert_eq!(lease.offset, done);
            assert!(engine.done(lease.id));
            done += 1;
        }
    }
    assert_eq!((trials, engine.suspect_count()), (1, 0));
    // One of the trial, one for each follower, and one for each ten that come after them.
    assert!((100..=120).contains(&commits), "{commits}");
}

#[test]
fn a_follower_waits_for_the_commit_of_the_one_before_it_and_for_the_trials() {
    let mut engine = restarted(settings(), 0, "q1 held=consumer2 reach=4");
    push(&mut engine, 0..2, Some(b"key"));
    push(&mut engine, 2..4, None);
    assert!(engine.try_suspect(NOW));
    commit(&mut engine);
    let first = receive(&mut engine, 9, NOW)[0];
    assert_eq!(first.offset, 0);
    assert!(engine.done(first.id));
    assert!(engine.try_suspect(NOW));
    commit(&mut engine);
    let second = receive(&mut engine, 9, NOW);
    assert_eq!(offsets(&second), [2], "the end of 0 is committed, but 2 is being tried");
    assert!(engine.done(second[0].id));
    assert!(engine.try_suspect(NOW));
    commit(&mut engine);
    let third = receive(&mut engine, 9, NOW)[0];
    assert_eq!(third.offset, 3);
    assert!(engine.done(third.id) && !engine.try_suspect(NOW));
    engine.release_followers();
    assert_eq!(offsets(&receive(&mut engine, 9, NOW)), [1]);
}

#[test]
fn no_more_of_a_keys_messages_than_a_burst_are_handed_out_beyond_what_is_committed() {
    let mut engine = started(EngineSettings { burst: 3, ..settings() });
    let mut next = 0;
    let mut handle = |engine: &mut Engine<()>, keep: bool| {
        let mut count = 0;
        loop {
            if keep {
                push(engine, next..next + 1, Some(b"key"));
                next += 1;
            }
            let leases = receive(engine, 9, NOW);
            let Some(lease) = leases.first() else { return count };
            assert!(engine.done(lease.id));
            count += 1;
        }
    };
    assert_eq!(handle(&mut engine, true), 3, "though the line was empty each time");
    commit(&mut engine);
    assert_eq!(handle(&mut engine, true), 3);
    let _ = engine.commit(NOW).expect("something to commit");
    engine.not_committed();
    assert_eq!(handle(&mut engine, true), 0, "the commit may not have arrived");
    commit(&mut engine);
    assert_eq!(handle(&mut engine, false), 3);
}

#[test]
fn a_follower_that_is_put_aside_when_it_is_released_is_handed_out_once() {
    let mut engine = restarted(settings(), 0, "q1 held=consumer2 reach=4");
    push(&mut engine, 0..2, Some(b"a"));
    push(&mut engine, 2..4, Some(b"b"));
    for first in [0, 2] {
        assert!(engine.try_suspect(NOW));
        commit(&mut engine);
        let lease = receive(&mut engine, 1, NOW)[0];
        assert_eq!(lease.offset, first);
        assert!(engine.done(lease.id));
    }
    commit(&mut engine);
    assert!(receive(&mut engine, 9, NOW).is_empty(), "they wait for the trials");
    engine.release_followers();
    assert!(engine.put_aside(1) && engine.put_aside(3));
    let leases = receive(&mut engine, 9, NOW);
    assert_eq!(offsets(&leases), [1, 3]);
    assert!(leases.iter().all(|lease| lease.task == Task::StoreDeadLetter));
    for lease in leases {
        assert!(engine.done(lease.id));
    }
    assert!(receive(&mut engine, 9, NOW).is_empty());
    assert_eq!((engine.open_count(), engine.leased_count(), engine.suspect_count()), (0, 0, 0));
}
