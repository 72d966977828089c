//! What is committed beside the offset, as Kafka's own clients see it.

use super::scene::Scene;
use crate::support::kafka::Kafka;
use crate::support::kraft::Extras;
use crate::support::program::Start;
use crate::support::{EMBEDDED, NEWEST, OLDEST, PATIENCE, eventually, run_on};

run_on! {
    mod kafka_4_3 on NEWEST {
        what_is_committed_says_who_holds_the_partition_what_is_done_and_what_was_attempted,
        after_a_clean_stop_the_note_says_so_and_nothing_else,
        where_a_broker_takes_less_metadata_notes_are_kept_shorter_and_all_is_handled_once as HEAVY,
        where_a_broker_takes_too_little_metadata_the_consumer_ends_with_a_sentence as HEAVY,
    }
    mod kafka_3_9 on OLDEST {
        after_a_clean_stop_the_note_says_so_and_nothing_else,
    }
    mod embedded on EMBEDDED {
        what_is_committed_says_who_holds_the_partition_what_is_done_and_what_was_attempted,
        after_a_clean_stop_the_note_says_so_and_nothing_else,
        commit_modes_belong_to_printing_and_are_refused_with_a_work_queue,
    }
}

fn what_is_committed_says_who_holds_the_partition_what_is_done_and_what_was_attempted(version: &'static str) {
    let scene = Scene::new(version, 1);
    scene.put(0, Some("bad"), "0");
    for number in 1..5 {
        scene.put(0, None, &number.to_string());
    }
    let script = "begin $1; [ $POINT_TO_POINT_OFFSET -gt 0 ]";
    let start = scene.consumer(script).set("retry.initial_backoff_ms", "600000");
    let mut consumer = start.set("retry.max_backoff_ms", "600000").start();
    let done = [(1, 5)];
    let text = eventually("all but the first are done", PATIENCE, || {
        let note = scene.note()?;
        (note.done == done && note.attempted.len() == 1).then(|| scene.commit())?
    });
    assert_eq!(text.0, 0);
    assert!(text.1.starts_with("q1 held=consumer1 ") && text.1.contains(" done=4:"), "{text:?}");
    consumer.stop();
    let (next, text) = scene.commit().expect("a commit");
    assert!(next == 0 && text.starts_with("q1 clean "), "{next} {text}");
    let note = scene.note().expect("a note");
    assert_eq!((note.held_by, note.reach), (None, 0), "nothing is in hand");
    assert_eq!(note.done, done);
    let attempted: Vec<_> = note.attempted.iter().map(|message| (message.offset, message.attempts)).collect();
    assert_eq!(attempted, [(0, 1)]);
}

fn after_a_clean_stop_the_note_says_so_and_nothing_else(version: &'static str) {
    let scene = Scene::new(version, 1);
    scene.produce(20);
    let start = scene.consumer("begin $1").set("consumer.concurrency", "4");
    let mut consumer = start.start();
    scene.wait_for_commits();
    let (_, text) = scene.commit().expect("a commit");
    assert!(text.starts_with("q1 held=consumer1"), "{text}");
    consumer.stop();
    assert_eq!(scene.commit(), Some((20, "q1 clean".to_owned())));
}

/// A broker of its own that takes so many characters of metadata with a commit.
fn that_takes(version: &'static str, characters: usize) -> Kafka {
    let settings = format!("offset.metadata.max.bytes={characters}\n");
    Kafka::start_with(version, &Extras { settings, ..Extras::default() })
}

/// The first attempts at every second message fail, which makes the note long.
fn every_second_fails(scene: &Scene<'_>, count: i64, wait_ms: &str) -> Start {
    scene.produce(count as usize);
    let script = r#"
        begin $1
        [ $POINT_TO_POINT_ATTEMPT -gt 1 -o $((POINT_TO_POINT_OFFSET % 2)) = 1 ] || exit 1
        end $1"#;
    let start = scene.consumer(script).set("consumer.concurrency", "8").set("retry.jitter", "0");
    start.set("retry.initial_backoff_ms", wait_ms).set("retry.max_backoff_ms", wait_ms)
}

fn where_a_broker_takes_less_metadata_notes_are_kept_shorter_and_all_is_handled_once(version: &'static str) {
    const MOST: usize = 512;
    const MESSAGES: i64 = 240;
    let kafka = that_takes(version, MOST);
    let scene = Scene::on(&kafka, 1, &[]);
    let mut consumer = every_second_fails(&scene, MESSAGES, "4000").start();
    consumer.wait_for_log(&["offset.metadata.max.bytes", "notes are kept shorter"], PATIENCE);
    eventually("a note says what is done and attempted", PATIENCE, || {
        let (_, text) = scene.commit()?;
        assert!(text.len() <= MOST, "{text}");
        (text.contains(" done=") && text.contains(" attempts=")).then_some(())
    });
    scene.wait_for_commits();
    consumer.stop();
    consumer.wait_for_outputs();
    let told = consumer.log().iter().filter(|line| line.contains("notes are kept shorter")).count();
    assert_eq!(told, 1, "no further note was too long");
    assert_eq!(scene.commit(), Some((MESSAGES, "q1 clean".to_owned())));
    let mut ended: Vec<_> = scene.runs().into_iter().filter(|run| !run.begins).collect();
    ended.sort_by_key(|run| run.offset);
    let each = (0..MESSAGES).map(|offset| (offset, if offset % 2 == 1 { 1 } else { 2 }));
    assert!(ended.iter().map(|run| (run.offset, run.attempt)).eq(each), "{ended:?}");
    assert!(scene.dead_places().is_empty());
}

fn where_a_broker_takes_too_little_metadata_the_consumer_ends_with_a_sentence(version: &'static str) {
    let kafka = that_takes(version, 120);
    let scene = Scene::on(&kafka, 1, &[]);
    let mut consumer = every_second_fails(&scene, 240, "600000").start();
    assert_eq!(consumer.wait(PATIENCE), Some(1));
    consumer.wait_for_outputs();
    let log = consumer.log();
    let said = log.last().expect("a line");
    assert!(said.contains("offset.metadata.max.bytes has to be at least 256"), "{log:?}");
    // What was committed before stands.
    let (next, text) = scene.commit().expect("a commit");
    assert!(next == 0 && text.len() <= 120, "{next} {text}");
}

fn commit_modes_belong_to_printing_and_are_refused_with_a_work_queue(version: &'static str) {
    let scene = Scene::new(version, 1);
    for mode in ["pipelined", "poll"] {
        let many = scene.printing("consumer1").set("consumer.concurrency", "2");
        for (start, with) in [(scene.consumer("exit 0"), "a handler"), (many, "more than one message")] {
            let mut consumer = start.set("consumer.commit", mode).start();
            assert_eq!(consumer.wait(PATIENCE), Some(2), "{mode} with {with}");
            consumer.wait_for_outputs();
            let said = |line: &String| {
                line.contains("consumer.commit: must be \"message\" with ") && line.contains(with)
            };
            assert!(consumer.log().iter().any(said), "{:?}", consumer.log());
        }
    }
    assert_eq!(scene.commit(), None);
}
