//! A message that waits for its next attempt holds up its key alone.

use super::scene::{Scene, most_at_a_time, place};
use crate::support::kafka::Kafka;
use crate::support::program::{Program, Start, WAITING};
use crate::support::{EMBEDDED, NEWEST, OLDEST, PATIENCE, eventually, run_on};

run_on! {
    mod kafka_4_3 on NEWEST {
        a_message_that_fails_holds_up_its_key_alone,
        a_long_line_behind_a_message_that_waits_holds_up_nobody_else,
        without_an_order_no_message_waits_for_anothers_next_attempt,
        by_partition_all_of_it_waits_for_the_next_attempt,
        a_key_keeps_its_order_over_attempts_with_many_under_way,
        a_message_that_waits_for_long_delays_neither_a_stop_nor_a_rebalance,
        a_message_that_waits_for_longer_than_its_topic_keeps_it_is_a_dead_letter_in_time,
        a_message_of_a_topic_that_is_only_compacted_may_wait_for_longer,
    }
    mod kafka_3_9 on OLDEST {
        a_message_that_fails_holds_up_its_key_alone,
        a_message_that_waits_for_longer_than_its_topic_keeps_it_is_a_dead_letter_in_time,
        a_message_of_a_topic_that_is_only_compacted_may_wait_for_longer,
    }
    mod embedded on EMBEDDED {
        a_message_that_fails_holds_up_its_key_alone,
        a_long_line_behind_a_message_that_waits_holds_up_nobody_else,
        without_an_order_no_message_waits_for_anothers_next_attempt,
        by_partition_all_of_it_waits_for_the_next_attempt,
        a_key_keeps_its_order_over_attempts_with_many_under_way,
        a_message_that_waits_for_long_delays_neither_a_stop_nor_a_rebalance,
        a_message_that_waits_for_longer_than_its_topic_keeps_it_is_a_dead_letter_in_time,
    }
}

/// Longer than it takes to handle some messages, however busy the machine is.
const WAIT_MS: &str = "5000";

/// Longer than a test may take.
const LONG_MS: &str = "600000";

/// Every wait is this long.
fn waits(start: Start, ms: &str) -> Start {
    start.set("retry.initial_backoff_ms", ms).set("retry.max_backoff_ms", ms).set("retry.jitter", "0")
}

/// One key's first message succeeds with its second attempt, the other's is a dead letter then.
fn a_message_that_fails_holds_up_its_key_alone(version: &'static str) {
    let scene = Scene::new(version, 1);
    let late = [scene.put(0, Some("late"), "0"), scene.put(0, Some("late"), "1")];
    let dead = [scene.put(0, Some("dead"), "\"bad\""), scene.put(0, Some("dead"), "3")];
    let others = [scene.put(0, None, "4"), scene.put(0, Some("other"), "5"), scene.put(0, None, "6")];
    let script = r#"
        begin $1; v=$(cat)
        case $POINT_TO_POINT_OFFSET.$POINT_TO_POINT_ATTEMPT.$v in 0.1.*|*bad*) exit 1;; esac"#;
    let consumer = waits(scene.consumer(script), WAIT_MS).set("retry.max_attempts", "2").start();
    scene.wait_for_commits();
    let begun = scene.begun();
    let at_once = [late[0], dead[0], others[0], others[1], others[2]].map(|offset| (offset, 1));
    assert_eq!(begun[..5], at_once, "those behind wait, and no other does: {begun:?}");
    let of = |offsets: [i64; 2]| begun.iter().copied().filter(move |(offset, _)| offsets.contains(offset));
    assert!(of(late).eq([(late[0], 1), (late[0], 2), (late[1], 1)]), "{begun:?}");
    assert!(of(dead).eq([(dead[0], 1), (dead[0], 2), (dead[1], 1)]), "{begun:?}");
    assert_eq!(begun.len(), 9);
    assert_eq!(scene.dead_places(), [(0, dead[0])].into());
    consumer.wait_for_log(&["attempt 2 of 2 failed", "offset=2"], PATIENCE);
}

/// Far more messages than are under way lie between the one that waits and those that need not.
fn a_long_line_behind_a_message_that_waits_holds_up_nobody_else(version: &'static str) {
    const LINE: i64 = 300;
    let scene = Scene::new(version, 1);
    (0..LINE).for_each(|number| _ = scene.put(0, Some("k"), &number.to_string()));
    let others = [scene.put(0, None, "1"), scene.put(0, Some("other"), "2")];
    let _consumer = waits(scene.consumer("begin $1; [ $POINT_TO_POINT_OFFSET -gt 0 ]"), LONG_MS).start();
    scene.wait_for_begun(3);
    assert_eq!(scene.begun(), [(0, 1), (others[0], 1), (others[1], 1)]);
}

/// The first message of the key fails for long, and one message is under way at a time.
fn first_fails(version: &'static str, order: &str) -> (Scene<'static>, Program) {
    let scene = Scene::new(version, 2);
    for number in 0..3 {
        scene.put(0, Some("k"), &number.to_string());
    }
    scene.put(0, None, "3");
    let script = "begin $1; [ $POINT_TO_POINT_OFFSET -gt 0 -o $POINT_TO_POINT_PARTITION -gt 0 ]";
    let consumer = waits(scene.consumer(script), LONG_MS).set("consumer.order", order).start();
    scene.wait_for_attempts(0, 1);
    (scene, consumer)
}

fn without_an_order_no_message_waits_for_anothers_next_attempt(version: &'static str) {
    let (scene, mut consumer) = first_fails(version, "none");
    scene.wait_for_begun(4);
    assert_eq!(scene.begun(), [(0, 1), (1, 1), (2, 1), (3, 1)]);
    consumer.stop();
    let note = scene.note().expect("a note");
    assert_eq!(scene.commit().map(|(next, _)| next), Some(0), "it is open");
    assert_eq!((note.done, note.attempted.len()), (vec![(1, 4)], 1));
}

fn by_partition_all_of_it_waits_for_the_next_attempt(version: &'static str) {
    let (scene, mut consumer) = first_fails(version, "partition");
    // What comes later in another partition goes on, and nothing else has.
    scene.put(1, Some("k"), "4");
    eventually("the other partition goes on", PATIENCE, || {
        scene.committed().get(&1).filter(|next| **next == 1).map(|_| ())
    });
    consumer.stop();
    let begun: Vec<(i32, i64)> = scene.runs().iter().map(|run| (run.partition, run.offset)).collect();
    assert_eq!(begun, [(0, 0), (1, 0)]);
}

/// Each first attempt fails.
fn a_key_keeps_its_order_over_attempts_with_many_under_way(version: &'static str) {
    let scene = Scene::new(version, 2);
    for number in 0..24 {
        let key = number % 6;
        scene.put(key % 2, Some(&format!("key{key}")), &number.to_string());
    }
    let script = "begin $1; end $1; [ $POINT_TO_POINT_ATTEMPT -gt 1 ]";
    let start = scene.consumer(script).set("consumer.concurrency", "8");
    let _consumer = start.set("retry.initial_backoff_ms", "20").start();
    scene.wait_for_commits();
    let runs = scene.runs();
    for key in (0..6).map(|key| format!("key{key}")) {
        let of_key: Vec<_> = runs.iter().filter(|run| run.key.as_ref() == Some(&key)).cloned().collect();
        assert_eq!(most_at_a_time(&of_key, |_| Some(())), 1, "{key}: {of_key:?}");
        let begun: Vec<_> = of_key.iter().filter(|run| run.begins).collect();
        let mut in_order = begun.clone();
        in_order.sort_by_key(|run| (run.offset, run.attempt));
        assert_eq!(begun, in_order, "{key}");
        assert_eq!(begun.len(), 8, "four messages, two attempts at each");
    }
    assert!(scene.dead_places().is_empty());
}

fn a_message_that_waits_for_long_delays_neither_a_stop_nor_a_rebalance(version: &'static str) {
    let scene = Scene::new(version, 2);
    (0..2).for_each(|partition| _ = scene.put(partition, Some("k"), "1"));
    let script = "begin $1; exit 1";
    let start = |name| waits(scene.named(name, script), LONG_MS).start();
    let mut first = start("consumer1");
    scene.wait_for_begun(2);
    scene.wait_for_attempts(0, 1);
    let mut second = start("consumer2");
    second.wait_for_line(WAITING, PATIENCE);
    scene.kafka.assistant().wait_for_members(&scene.group, &["consumer1", "consumer2"], 1);
    first.stop();
    scene.kafka.assistant().wait_for_members(&scene.group, &["consumer2"], 2);
    scene.put(0, Some("other"), "2");
    scene.wait_for_begun(3);
    second.stop();
    assert_eq!(scene.begun(), [(0, 1), (0, 1), (1, 1)], "what waits goes on waiting");
    let none = scene.committed().into_iter().all(|(_, offset)| offset == 0);
    assert!(none && scene.dead_places().is_empty());
    let attempted = scene.note().expect("a note").attempted;
    assert_eq!(attempted.iter().map(|message| message.offset).collect::<Vec<_>>(), [0, 1]);
}

/// The embedded broker has one retention for all topics.
fn a_message_that_waits_for_longer_than_its_topic_keeps_it_is_a_dead_letter_in_time(version: &'static str) {
    const KEPT_MS: i64 = 40_000;
    let own;
    let kafka = if version == EMBEDDED {
        own = Kafka::embedded_with(&["embedded.retention_ms=40000"]);
        &own
    } else {
        Kafka::shared(version)
    };
    let scene = Scene::on(kafka, 1, &[&format!("retention.ms={KEPT_MS}")]);
    let script = "begin $1; [ $POINT_TO_POINT_OFFSET -gt 0 ]";
    let consumer = waits(scene.consumer(script), LONG_MS).set("log.level", "debug").start();
    consumer.wait_for_log(&["keeps its messages for 40000 ms"], PATIENCE);
    scene.put(0, Some("k"), "0");
    scene.put(0, Some("other"), "1");
    scene.wait_for_commits();
    assert_eq!(scene.begun(), [(0, 1), (1, 1)]);
    let letters = scene.dead_letters();
    assert_eq!(letters.iter().map(place).collect::<Vec<_>>(), [(0, 0)]);
    let stored = scene.kafka.assistant().read(&scene.topic, false);
    let waited = letters[0].timestamp - stored[0].timestamp;
    assert!((0..KEPT_MS).contains(&waited), "after {waited} ms");
    assert_eq!(letters[0].value, stored[0].value);
    consumer.wait_for_log(&["warn", "offset=0", "retention"], PATIENCE);
}

/// Its retention.ms does not apply there.
fn a_message_of_a_topic_that_is_only_compacted_may_wait_for_longer(version: &'static str) {
    let scene = Scene::with_settings(version, 1, &["cleanup.policy=compact", "retention.ms=1000"]);
    let script = "begin $1; [ $POINT_TO_POINT_ATTEMPT -gt 1 ]";
    let consumer = waits(scene.consumer(script), WAIT_MS).set("log.level", "debug").start();
    consumer.wait_for_log(&["keeps its messages for ever"], PATIENCE);
    scene.put(0, Some("k"), "0");
    scene.wait_for_commits();
    assert_eq!(scene.begun(), [(0, 1), (0, 2)]);
    assert!(scene.dead_places().is_empty());
}
