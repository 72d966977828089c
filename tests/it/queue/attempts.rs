//! Attempts are counted in what is committed: they go on where they were, whoever ends in between.

use super::scene::{Scene, place, reason};
use crate::support::program::{Program, Start, WAITING};
use crate::support::{EMBEDDED, NEWEST, OLDEST, PATIENCE, eventually, run_on};

run_on! {
    mod kafka_4_3 on NEWEST {
        attempts_go_on_after_kill_9_and_the_key_keeps_its_order,
        attempts_go_on_after_a_rebalance_and_after_a_stop,
        killed_at_any_moment_a_message_has_no_more_attempts_than_it_may,
        a_message_that_kills_its_consumer_is_a_dead_letter_and_its_neighbours_are_not,
    }
    mod kafka_3_9 on OLDEST {
        attempts_go_on_after_a_rebalance_and_after_a_stop,
    }
    mod embedded on EMBEDDED {
        attempts_go_on_after_kill_9_and_the_key_keeps_its_order,
        attempts_go_on_after_a_rebalance_and_after_a_stop,
        killed_at_any_moment_a_message_has_no_more_attempts_than_it_may,
        a_message_that_kills_its_consumer_is_a_dead_letter_and_its_neighbours_are_not,
        where_attempts_are_endless_five_killed_consumers_are_enough,
    }
}

/// A killed consumer's partitions are another's after so long.
const SESSION_MS: &str = "6000";

/// A consumer that is soon missed, and tries a message again after so long.
fn waits(start: Start, ms: &str) -> Start {
    let start = start.set("retry.initial_backoff_ms", ms).set("retry.multiplier", "1");
    start.set("retry.jitter", "0").set("consumer.session_timeout_ms", SESSION_MS)
}

fn kill(mut consumer: Program) {
    consumer.signal("KILL");
    assert_eq!(consumer.wait(PATIENCE), None, "it ends by the signal");
}

/// Killed while the message waits, twice.
fn attempts_go_on_after_kill_9_and_the_key_keeps_its_order(version: &'static str) {
    let scene = Scene::new(version, 1);
    for value in ["\"bad\"", "1"] {
        scene.put(0, Some("k"), value);
    }
    let start = || waits(scene.consumer("begin $1; ! grep -q bad"), "3000").start();
    for attempt in 1..=2 {
        let consumer = start();
        scene.wait_for_attempts(0, attempt);
        kill(consumer);
        assert_eq!(scene.begun().len(), attempt as usize, "{:?}", scene.begun());
    }
    let _last = start();
    scene.wait_for_commits();
    assert_eq!(scene.begun(), [(0, 1), (0, 2), (0, 3), (1, 1)]);
    assert_eq!(scene.dead_places(), [(0, 0)].into());
}

fn attempts_go_on_after_a_rebalance_and_after_a_stop(version: &'static str) {
    let scene = Scene::new(version, 1);
    for value in ["\"bad\"", "1"] {
        scene.put(0, Some("k"), value);
    }
    let script = "begin $1; echo $2 >>$1/names; ! grep -q bad";
    let start = |name| waits(scene.named(name, script), "2000").set("retry.max_attempts", "4").start();
    let mut first = start("consumer1");
    scene.wait_for_begun(1);
    let mut second = start("consumer2");
    second.wait_for_line(WAITING, PATIENCE);
    first.stop();
    scene.wait_for_begun(2);
    second.stop();
    let _third = start("consumer3");
    scene.wait_for_commits();
    assert_eq!(
        scene.lines("names").last().map(String::as_str),
        Some("consumer3"),
        "it went from hand to hand"
    );
    assert_eq!(scene.begun(), [(0, 1), (0, 2), (0, 3), (0, 4), (1, 1)]);
    assert_eq!(scene.dead_places(), [(0, 0)].into());
}

/// Killed after so many runs have begun: the attempt in hand then is all that can be repeated of a message.
fn killed_at_any_moment_a_message_has_no_more_attempts_than_it_may(version: &'static str) {
    const MESSAGES: i64 = 8;
    const ATTEMPTS: u32 = 4;
    let scene = Scene::new(version, 1);
    for number in 0..MESSAGES {
        scene.put(0, Some(&format!("key{}", number % 4)), &number.to_string());
    }
    let start = || {
        let start =
            waits(scene.consumer("begin $1; sleep 0.1; exit 1"), "500").set("consumer.concurrency", "4");
        start.set("retry.max_attempts", &ATTEMPTS.to_string()).start()
    };
    let mut kills = 0;
    for runs in [5, 17] {
        let consumer = start();
        scene.wait_for_begun(runs);
        kill(consumer);
        kills += 1;
    }
    let _last = start();
    scene.wait_for_commits();
    let begun = scene.begun();
    for offset in 0..MESSAGES {
        let at = |(_, attempt): &(i64, u32)| *attempt;
        let attempts: Vec<u32> = begun.iter().filter(|(place, _)| *place == offset).map(at).collect();
        assert!(attempts.is_sorted(), "attempts at {offset} never go down: {attempts:?}");
        assert!(attempts.last() <= Some(&ATTEMPTS), "{offset}: {attempts:?}");
        assert!(attempts.len() <= ATTEMPTS as usize + kills, "{offset}: {attempts:?}");
    }
    assert_eq!(scene.dead_places(), (0..MESSAGES).map(|offset| (0, offset)).collect());
}

/// The message that kills.
const KILLER_AT: i64 = 3;

/// Eight are in hand when one of them kills the consumer. Those beside it wait until it is dead.
const KILLER: &str = r#"
begin $1; v=$(cat)
case $v in
    *killer*) [ -e $1/killed ] || gate $1 8; kill -9 $PPID; : >$1/killed ;;
    *) wait_for $1 killed ;;
esac
"#;

/// Eight messages of which one kills its consumers, until all is done: gives how many it killed.
fn kills_of(scene: &Scene<'_>, max_attempts: u32, session_ms: &str, most: usize) -> usize {
    for offset in 0..8 {
        scene.put(0, None, if offset == KILLER_AT { "\"killer\"" } else { "1" });
    }
    for kills in 0..=most {
        let start = waits(scene.consumer(KILLER), "20").set("consumer.concurrency", "8");
        let start = start.set("retry.max_attempts", &max_attempts.to_string());
        let mut consumer = start.set("consumer.session_timeout_ms", session_ms).start();
        let ended = eventually("it is killed, or all is done", PATIENCE, || {
            let over = scene.committed().get(&0) == Some(&8);
            consumer.exit_status().map(Some).or(over.then_some(None))
        });
        if ended.is_none() {
            let places: Vec<_> = scene.dead_letters().iter().map(place).collect();
            assert_eq!(places, [(0, KILLER_AT)], "its neighbours are not");
            return kills;
        }
    }
    panic!("more than {most} kills: {:?}", scene.begun());
}

fn a_message_that_kills_its_consumer_is_a_dead_letter_and_its_neighbours_are_not(version: &'static str) {
    const ATTEMPTS: u32 = 2;
    let scene = Scene::new(version, 1);
    // The first time nobody can know which it was.
    let kills = kills_of(&scene, ATTEMPTS, SESSION_MS, ATTEMPTS as usize + 1);
    assert_eq!(kills, ATTEMPTS as usize + 1);
    let letter = &scene.dead_letters()[0];
    assert!(reason(letter).contains("the death of"), "it says what it did: {}", reason(letter));
    assert_eq!(letter.header("kafka_dlt-attempts"), Some(&b"2"[..]));
    assert_eq!(letter.header("kafka_dlt-kills"), Some(&b"2"[..]));
    let attempts_at = |offset| {
        let begun = scene.begun().into_iter();
        begun.filter(|(at, _)| *at == offset).map(|(_, attempt)| attempt).collect::<Vec<_>>()
    };
    assert_eq!(attempts_at(KILLER_AT), [1, 1, 2], "the first death is not counted");
    for offset in (0..8).filter(|offset| *offset != KILLER_AT) {
        // In hand when the consumer died for the first time, and then alone: a trial's attempt is committed
        // before it begins, with the end of the one before.
        assert_eq!(attempts_at(offset), [1, 1], "{offset} lost no attempt");
    }
}

fn where_attempts_are_endless_five_killed_consumers_are_enough(version: &'static str) {
    let scene = Scene::new(version, 1);
    let kills = kills_of(&scene, 0, "2000", 5 + 1);
    assert!(kills >= 5, "{kills} kills");
    assert_eq!(scene.dead_letters()[0].header("kafka_dlt-kills"), Some(&b"5"[..]));
}
