//! What is committed beside the offset, as Kafka's own clients see it.

use super::scene::Scene;
use crate::support::{EMBEDDED, NEWEST, OLDEST, PATIENCE, eventually, run_on};

run_on! {
    mod kafka_4_3 on NEWEST {
        what_is_committed_says_who_holds_the_partition_what_is_done_and_what_was_attempted,
        after_a_clean_stop_the_note_says_so_and_nothing_else,
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
