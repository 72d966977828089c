//! The engine alone; [`model`] has it go through random lives and compares it with what was told.

mod any_note;
mod model;
mod room;
mod speed;
mod suspects;
mod tries;

use super::*;

const NOW: u64 = 1_764_396_000_000;

fn settings() -> EngineSettings {
    EngineSettings {
        owner: "consumer1".to_owned(),
        order: Order::Key,
        max_attempts: 3,
        lease_time: 60_000,
        keep_waiting: 5_000,
        concurrency: 64,
        note_limit: 4_096,
        suspects: true,
        burst: 256,
    }
}

/// An engine for a partition without commits, which may hand out.
fn started(settings: EngineSettings) -> Engine<()> {
    restarted(settings, 0, "")
}

/// An engine that goes on from a commit.
fn restarted(settings: EngineSettings, next: i64, note: &str) -> Engine<()> {
    let mut engine = Engine::new(settings, next, Note::read(next, note).unwrap());
    commit(&mut engine);
    engine
}

fn commit(engine: &mut Engine<()>) -> (i64, String) {
    let commit = engine.commit(NOW).expect("something to commit");
    engine.committed();
    assert!(commit.whole);
    (commit.offset, commit.note)
}

fn push(engine: &mut Engine<()>, offsets: std::ops::Range<i64>, key: Option<&[u8]>) {
    for offset in offsets {
        assert_eq!(engine.push(offset, key, 100, ()), Pushed::Open);
    }
}

fn receive(engine: &mut Engine<()>, max: usize, now: u64) -> Vec<Lease> {
    let mut leases = Vec::new();
    engine.receive(max, now, &mut leases);
    leases
}

fn offsets(leases: &[Lease]) -> Vec<i64> {
    leases.iter().map(|lease| lease.offset).collect()
}

#[test]
fn nothing_is_handed_out_before_a_commit_says_who_holds_the_partition() {
    let mut engine = Engine::new(settings(), 7, Note::read(7, "").unwrap());
    push(&mut engine, 7..9, None);
    assert!(receive(&mut engine, 9, NOW).is_empty());
    assert_eq!(engine.pause(), Some(Pause::Commit));
    assert_eq!(commit(&mut engine), (7, "q1 held=consumer1 reach=71".to_owned()));
    assert_eq!(offsets(&receive(&mut engine, 9, NOW)), [7, 8]);
    assert!(engine.commit(NOW).is_none(), "nothing has changed");
}

#[test]
fn messages_of_one_key_go_one_after_the_other_and_the_others_beside_them() {
    let mut engine = started(settings());
    push(&mut engine, 0..2, Some(b"a"));
    push(&mut engine, 2..4, Some(b"b"));
    push(&mut engine, 4..6, None);
    let leases = receive(&mut engine, 9, NOW);
    assert_eq!(offsets(&leases), [0, 2, 4, 5]);
    assert_eq!(engine.fail(leases[0].id, Failed::Error, 1_000, NOW), Fate::Retried);
    assert!(engine.done(leases[1].id) && engine.done(leases[3].id));
    assert_eq!(offsets(&receive(&mut engine, 9, NOW)), [3], "1 waits for the retry of 0");
    assert_eq!(
        commit(&mut engine),
        (0, format!("q1 held=consumer1 reach=70 done=2:AgECAQ attempts=1@{NOW}:AQPo"))
    );
    assert_eq!(engine.next_due(), Some(NOW + 1_000));
    let again = receive(&mut engine, 9, NOW + 1_000);
    assert_eq!((offsets(&again), again[0].attempt), (vec![0], 2));
    assert!(engine.done(again[0].id));
    assert_eq!(offsets(&receive(&mut engine, 9, NOW)), [1]);
}

#[test]
fn a_message_far_behind_a_line_that_waits_is_handed_out() {
    let mut engine = started(EngineSettings { concurrency: 1, ..settings() });
    push(&mut engine, 0..1_000, Some(b"a"));
    push(&mut engine, 1_000..1_002, None);
    let first = receive(&mut engine, 1, NOW);
    assert_eq!(offsets(&first), [0]);
    assert_eq!(engine.fail(first[0].id, Failed::Error, 1_000_000, NOW), Fate::Retried);
    assert!(receive(&mut engine, 9, NOW).is_empty(), "they are above the reach");
    assert_eq!(engine.pause(), Some(Pause::Commit));
    commit(&mut engine);
    assert_eq!(offsets(&receive(&mut engine, 9, NOW)), [1_000, 1_001]);
    assert_eq!(engine.commit(NOW), None, "nothing has changed");
}

#[test]
fn with_the_order_of_the_partition_one_is_in_hand_and_with_none_all_are() {
    for (order, handed_out) in [(Order::Partition, 1), (Order::None, 5)] {
        let mut engine = started(EngineSettings { order, ..settings() });
        push(&mut engine, 0..5, Some(b"a"));
        assert_eq!(receive(&mut engine, 9, NOW).len(), handed_out);
    }
}

#[test]
fn a_lease_that_ran_out_is_an_attempt_and_its_late_answer_says_nothing() {
    let mut engine = started(settings());
    push(&mut engine, 0..2, None);
    let leases = receive(&mut engine, 9, NOW);
    assert!(engine.extend(leases[0].id, NOW + 70_000));
    assert_eq!(engine.overdue(NOW + 59_999), None);
    let late = engine.overdue(NOW + 60_000).unwrap();
    assert_eq!(late, leases[1].id);
    assert_eq!(engine.fail(late, Failed::Error, 0, NOW + 60_000), Fate::Retried);
    assert_eq!(engine.overdue(NOW + 60_000), None, "the other one was extended");
    assert!(!engine.done(late) && engine.payload(late).is_none());
    assert_eq!(engine.fail(late, Failed::Error, 0, NOW), Fate::Late);
    commit(&mut engine);
    let again = receive(&mut engine, 9, NOW + 60_000);
    assert_eq!((again[0].offset, again[0].attempt), (1, 2));
    assert!(!engine.done(late) && engine.done(again[0].id));
}

#[test]
fn a_failed_attempt_is_committed_before_the_next_one_begins() {
    let mut engine = started(settings());
    push(&mut engine, 0..2, None);
    let leases = receive(&mut engine, 2, NOW);
    assert!(engine.done(leases[1].id));
    let on_its_way = engine.commit(NOW).unwrap();
    assert_eq!(engine.fail(leases[0].id, Failed::Error, 0, NOW), Fate::Retried);
    assert!(receive(&mut engine, 1, NOW).is_empty());
    engine.committed();
    assert!(!on_its_way.note.contains("attempts="));
    assert!(receive(&mut engine, 1, NOW).is_empty(), "that commit does not have it");
    assert!(engine.retry_now(0));
    assert!(receive(&mut engine, 1, NOW).is_empty(), "nor is it tried by hand");
    assert!(engine.commit(NOW).unwrap().note.contains("attempts=1@"));
    engine.not_committed();
    assert!(receive(&mut engine, 1, NOW).is_empty());
    commit(&mut engine);
    let again = receive(&mut engine, 2, NOW);
    assert_eq!((again.len(), again[0].attempt), (1, 2));
}

#[test]
fn a_message_whose_attempts_are_out_is_stored_before_it_is_done() {
    let mut engine = started(settings());
    push(&mut engine, 0..1, None);
    for attempt in 1..3 {
        let lease = receive(&mut engine, 1, NOW)[0];
        assert_eq!(lease.attempt, attempt);
        assert_eq!(engine.fail(lease.id, Failed::Error, 0, NOW), Fate::Retried);
        assert!(receive(&mut engine, 1, NOW).is_empty(), "it is not committed");
        commit(&mut engine);
    }
    let lease = receive(&mut engine, 1, NOW)[0];
    assert_eq!(engine.fail(lease.id, Failed::WorkerDied, 0, NOW), Fate::DeadLetter { attempts: 3, kills: 1 });
    assert!(engine.release(lease.id, 50, NOW), "it could not be stored");
    let (next, note) = commit(&mut engine);
    assert!(receive(&mut engine, 1, NOW).is_empty());
    let lease = receive(&mut engine, 1, NOW + 50)[0];
    assert_eq!((lease.task, lease.attempt), (Task::StoreDeadLetter, 3));
    // Nor does the next owner attempt it again.
    let mut engine = restarted(settings(), next, &note);
    push(&mut engine, 0..1, None);
    let lease = receive(&mut engine, 1, NOW + 50)[0];
    assert_eq!((lease.task, lease.attempt), (Task::StoreDeadLetter, 3));
    assert!(engine.done(lease.id));
    assert_eq!(commit(&mut engine).0, 1);
}

#[test]
fn a_message_that_is_never_to_be_attempted_again_and_one_that_is_at_no_fault() {
    let mut engine = started(settings());
    push(&mut engine, 0..2, None);
    let leases = receive(&mut engine, 9, NOW);
    assert!(engine.dead(leases[0].id) && engine.done(leases[0].id));
    assert!(engine.release(leases[1].id, 500, NOW));
    let again = receive(&mut engine, 9, NOW + 500);
    assert_eq!((again[0].offset, again[0].attempt, again[0].task), (1, 1, Task::Handle));
}

#[test]
fn attempts_and_waits_and_what_is_done_come_back_from_the_note() {
    let mut engine = started(EngineSettings { max_attempts: 0, ..settings() });
    push(&mut engine, 0..6, None);
    let leases = receive(&mut engine, 9, NOW);
    assert!(engine.done(leases[2].id) && engine.done(leases[5].id));
    let days = 3 * 86_400_000;
    assert_eq!(engine.fail(leases[3].id, Failed::Error, days, NOW), Fate::Retried);
    engine.hand_over();
    assert!(
        engine.commit(NOW).is_some_and(|commit| commit.note.starts_with("q1 held=")),
        "others are in hand"
    );
    engine.committed();
    for lease in [leases[0], leases[1], leases[4]] {
        assert!(engine.release(lease.id, 0, NOW));
    }
    let (next, note) = commit(&mut engine);
    assert!(engine.is_handed_over() && note.starts_with("q1 clean done=2:") && engine.commit(NOW).is_none());
    let mut engine = restarted(EngineSettings { max_attempts: 0, ..settings() }, next, &note);
    for offset in [0, 1, 2, 3, 4, 5, 6] {
        let known = engine.push(offset, None, 10, ());
        assert_eq!(known == Pushed::Known, [2, 5].contains(&offset), "{offset}");
    }
    assert_eq!(offsets(&receive(&mut engine, 9, NOW)), [0, 1, 4, 6]);
    let due = engine.open().find(|message| message.offset == 3).unwrap();
    let OpenState::Waiting(until) = due.state else { panic!("{due:?}") };
    assert!(until >= NOW + days && until < NOW + days + days / 1_000);
    assert!(receive(&mut engine, 9, until).is_empty());
    assert_eq!(engine.next_wanted(), Some(3));
    engine.fetched_again(3, 10, ());
    let lease = receive(&mut engine, 9, until)[0];
    assert_eq!((lease.offset, lease.attempt), (3, 2));
}

#[test]
fn what_waits_long_and_what_is_behind_it_has_no_bytes_until_its_time() {
    let mut engine = started(EngineSettings { keep_waiting: 1_000, ..settings() });
    push(&mut engine, 0..3, Some(b"a"));
    push(&mut engine, 3..4, Some(b"b"));
    let lease = receive(&mut engine, 1, NOW)[0];
    assert_eq!(engine.fail(lease.id, Failed::Error, 60_000, NOW), Fate::Retried);
    commit(&mut engine);
    push(&mut engine, 4..5, Some(b"a"));
    assert_eq!(engine.payload_bytes, 100, "of the other key alone");
    assert!(!engine.wants_fetch());
    assert_eq!(offsets(&receive(&mut engine, 9, NOW + 60_000)), [3]);
    let wanted: Vec<i64> = std::iter::from_fn(|| engine.next_wanted()).collect();
    assert_eq!(wanted, [0, 1, 2, 4]);
    engine.not_fetched(2);
    assert_eq!(engine.next_wanted(), Some(2));
    for offset in [4, 0] {
        engine.fetched_again(offset, 70, ());
    }
    assert!(!engine.vanished(1) && !engine.vanished(99), "not its turn yet");
    let lease = receive(&mut engine, 9, NOW + 60_000)[0];
    assert_eq!((lease.offset, lease.attempt), (0, 2));
    assert!(engine.done(lease.id));
    assert_eq!(engine.next_wanted(), Some(1));
    assert!(engine.vanished(1));
    engine.fetched_again(2, 70, ());
    assert_eq!(offsets(&receive(&mut engine, 9, NOW + 60_000)), [2]);
    assert_eq!(engine.lowest(), 2);
}

#[test]
fn where_there_is_no_room_the_lowest_open_message_alone_is_fetched_again() {
    let mut engine = started(EngineSettings { keep_waiting: 1_000, ..settings() });
    push(&mut engine, 0..3, None);
    for lease in receive(&mut engine, 9, NOW) {
        assert_eq!(engine.fail(lease.id, Failed::Error, 60_000, NOW), Fate::Retried);
    }
    commit(&mut engine);
    assert!(receive(&mut engine, 9, NOW + 60_000).is_empty());
    assert_eq!([engine.lowest_wanted(), engine.lowest_wanted()], [Some(0), None]);
    engine.fetched_again(0, 70, ());
    let lease = receive(&mut engine, 9, NOW + 60_000)[0];
    assert!(engine.done(lease.id));
    assert_eq!([engine.lowest_wanted(), engine.lowest_wanted()], [Some(1), None]);
    assert_eq!(engine.next_wanted(), Some(2));
}

#[test]
fn what_comes_behind_a_message_that_is_fetched_again_has_no_bytes() {
    let mut engine = started(EngineSettings { keep_waiting: 1_000, ..settings() });
    push(&mut engine, 0..1, Some(b"a"));
    let lease = receive(&mut engine, 1, NOW)[0];
    assert_eq!(engine.fail(lease.id, Failed::Error, 60_000, NOW), Fate::Retried);
    commit(&mut engine);
    assert!(receive(&mut engine, 9, NOW + 60_000).is_empty() && engine.wants_fetch());
    push(&mut engine, 1..2, Some(b"a"));
    assert_eq!(engine.payload_bytes, 0);
}

#[test]
fn a_long_wait_that_a_note_tells_of_has_no_bytes() {
    let mut engine = started(EngineSettings { keep_waiting: 1_000, ..settings() });
    push(&mut engine, 0..1, Some(b"a"));
    push(&mut engine, 1..2, Some(b"b"));
    for (lease, wait) in receive(&mut engine, 9, NOW).into_iter().zip([60_000, 500]) {
        assert_eq!(engine.fail(lease.id, Failed::Error, wait, NOW), Fate::Retried);
    }
    let (next, note) = commit(&mut engine);
    let mut engine = restarted(EngineSettings { keep_waiting: 1_000, ..settings() }, next, &note);
    push(&mut engine, 0..1, Some(b"a"));
    push(&mut engine, 1..2, Some(b"b"));
    push(&mut engine, 2..3, Some(b"a"));
    assert_eq!(engine.payload_bytes, 100, "of the one that waits for a moment alone");
}

#[test]
fn offsets_without_records_are_settled_with_the_next_message() {
    let mut engine = started(settings());
    for offset in [3, 5, 7, 9] {
        assert_eq!(engine.push(offset, None, 10, ()), Pushed::Open);
    }
    engine.skip_to(20);
    let leases = receive(&mut engine, 9, NOW);
    assert!(engine.done(leases[1].id) && engine.done(leases[2].id));
    let (next, note) = commit(&mut engine);
    assert_eq!((next, Note::read(next, &note).unwrap().done), (3, vec![(4, 8)]));
    assert!(engine.done(leases[0].id));
    assert_eq!(commit(&mut engine).0, 9);
    assert!(engine.done(leases[3].id));
    assert_eq!(commit(&mut engine).0, 20);
}

#[test]
fn a_message_that_vanished_in_between_makes_the_note_no_longer() {
    let mut engine = started(EngineSettings { keep_waiting: 0, ..settings() });
    push(&mut engine, 0..4, None);
    let leases = receive(&mut engine, 9, NOW);
    assert!(engine.release(leases[1].id, 10, NOW) && engine.release(leases[3].id, 10, NOW));
    assert!(receive(&mut engine, 9, NOW + 10).is_empty());
    while let Some(offset) = engine.next_wanted() {
        assert!(engine.vanished(offset));
    }
    push(&mut engine, 4..5, None);
    assert_eq!(engine.slots.ranges(), 0);
    let last = receive(&mut engine, 9, NOW)[0];
    assert!(engine.done(last.id));
    let (next, note) = commit(&mut engine);
    assert_eq!((next, Note::read(next, &note).unwrap().done), (0, vec![(3, 5)]));
    assert!(engine.done(leases[0].id));
    assert_eq!(engine.lowest(), 2);
    assert!(engine.done(leases[2].id));
    assert_eq!((engine.lowest(), engine.touched_open, engine.open_count()), (5, 0, 0));
}

#[test]
fn a_broken_downstream_fills_the_note_and_the_lowest_message_still_goes() {
    let mut engine = started(EngineSettings { max_attempts: 0, note_limit: 600, ..settings() });
    let mut handed_out = 0;
    for offset in 0.. {
        if engine.room(1_000) == 0 {
            break;
        }
        push(&mut engine, offset..offset + 1, None);
        while let [lease] = receive(&mut engine, 1, NOW)[..] {
            handed_out += 1;
            assert_eq!(engine.fail(lease.id, Failed::Error, 3_600_000, NOW), Fate::Retried);
        }
        let (next, note) = commit(&mut engine);
        assert!(next == 0 && note.len() <= 600);
    }
    assert!(handed_out > 80 && handed_out < 120, "{handed_out}");
    push(&mut engine, handed_out..handed_out + 9, None);
    assert!(receive(&mut engine, 9, NOW).is_empty());
    assert_eq!(engine.pause(), Some(Pause::Note));
    assert!(engine.retry_now(1) && !engine.retry_now(1) && engine.put_aside(0) && !engine.put_aside(999));
    while let Some(offset) = engine.next_wanted() {
        engine.fetched_again(offset, 10, ());
    }
    let leases = receive(&mut engine, 2, NOW);
    assert_eq!((leases[0].offset, leases[0].task), (0, Task::StoreDeadLetter));
}

#[test]
fn a_stuck_message_costs_a_few_characters_and_no_memory_however_many_pass_it() {
    let mut engine = started(settings());
    push(&mut engine, 0..1, None);
    let stuck = receive(&mut engine, 1, NOW)[0];
    for offset in 1..50_000 {
        push(&mut engine, offset..offset + 1, None);
        let lease = loop {
            match receive(&mut engine, 1, NOW)[..] {
                [lease] => break lease,
                _ => _ = commit(&mut engine),
            }
        };
        assert!(engine.done(lease.id));
    }
    let (next, note) = commit(&mut engine);
    assert!(next == 0 && note.len() < 60, "{note}");
    assert!(engine.open_count() == 1 && engine.bytes() < 1_000);
    assert!(engine.done(stuck.id));
    assert_eq!(commit(&mut engine).0, 50_000);
}

#[test]
fn a_lower_limit_leaves_out_what_is_done_and_says_so() {
    let mut engine = started(EngineSettings { concurrency: 2_000, ..settings() });
    push(&mut engine, 0..600, None);
    for lease in receive(&mut engine, 600, NOW).iter().filter(|lease| lease.offset % 2 == 1) {
        assert!(engine.done(lease.id));
    }
    engine.limit_note(300);
    let commit = engine.commit(NOW).unwrap();
    assert!(!commit.whole && commit.note.len() <= 300);
    engine.not_committed();
    assert_eq!(engine.commit(NOW), Some(commit));
    engine.committed();
    push(&mut engine, 600..601, None);
    assert!(receive(&mut engine, 1, NOW).is_empty());
    assert_eq!(engine.pause(), Some(Pause::Note));
}

#[test]
fn a_partition_that_stays_goes_on_after_a_commit_that_says_who_holds_it() {
    let mut engine = started(settings());
    push(&mut engine, 0..3, None);
    let lease = receive(&mut engine, 1, NOW)[0];
    engine.hand_over();
    assert!(receive(&mut engine, 1, NOW).is_empty() && engine.room(9) == 0);
    assert_eq!(engine.pause(), Some(Pause::HandOver));
    assert!(engine.done(lease.id));
    assert_eq!(commit(&mut engine), (1, "q1 clean".to_owned()));
    assert!(engine.is_handed_over());
    engine.resume();
    assert!(receive(&mut engine, 1, NOW).is_empty() && !engine.is_handed_over());
    assert!(commit(&mut engine).1.starts_with("q1 held=consumer1 "));
    assert_eq!(offsets(&receive(&mut engine, 1, NOW)), [1]);
}

#[test]
fn the_note_says_that_its_owner_pauses_until_it_goes_on() {
    let mut engine = started(settings());
    push(&mut engine, 0..2, None);
    assert_eq!(engine.first_open(), Some((0, Some(&()))));
    engine.set_paused(false);
    assert_eq!(engine.commit(NOW), None, "nothing has changed");
    for paused in [true, false] {
        engine.set_paused(paused);
        let (next, note) = commit(&mut engine);
        assert_eq!(Note::read(next, &note).unwrap().paused, paused, "{note}");
    }
    engine.set_paused(true);
    engine.hand_over();
    let (_, note) = commit(&mut engine);
    assert!(note.starts_with("q1 clean") && !note.contains("paused"), "{note}");
}
