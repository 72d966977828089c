//! Stops, rebalances and kills with many messages in hand.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::scene::Scene;
use crate::support::program::{Program, WAITING};
use crate::support::scripted::{Reply, Request, Scripted};
use crate::support::{EMBEDDED, NEWEST, OLDEST, PATIENCE, eventually, run_on};

run_on! {
    mod kafka_4_3 on NEWEST {
        a_stop_waits_for_all_that_is_in_hand_and_begins_nothing_more,
        stops_and_rebalances_under_load_lose_and_repeat_nothing as HEAVY,
        killed_under_load_it_loses_nothing_and_repeats_no_more_than_was_in_hand as HEAVY,
        frozen_for_longer_than_its_session_it_cannot_commit_when_it_thaws,
        after_an_assignment_that_did_not_arrive_every_partition_has_an_owner,
        a_rebalance_that_overtakes_an_assignment_repeats_nothing as HEAVY,
    }
    mod kafka_3_9 on OLDEST {
        stops_and_rebalances_under_load_lose_and_repeat_nothing as HEAVY,
    }
    mod embedded on EMBEDDED {
        a_stop_waits_for_all_that_is_in_hand_and_begins_nothing_more,
        stops_and_rebalances_under_load_lose_and_repeat_nothing as HEAVY,
        killed_under_load_it_loses_nothing_and_repeats_no_more_than_was_in_hand as HEAVY,
        frozen_for_longer_than_its_session_it_cannot_commit_when_it_thaws,
        after_an_assignment_that_did_not_arrive_every_partition_has_an_owner,
        a_rebalance_that_overtakes_an_assignment_repeats_nothing as HEAVY,
    }
}

const CONCURRENCY: usize = 16;

/// What may finish while a commit is on its way and in the one before it, beside what is in hand.
const DURING_A_COMMIT: usize = 4 * CONCURRENCY;

const MESSAGES: usize = 2_000;
const PARTITIONS: u32 = 4;

/// Writes the message down as done in the file `done`, for each consumer in one of its name, too. It is empty
/// where the consumer was killed before it had written it.
const SCRIPT: &str = r#"
read -r v; [ -n "$v" ] || exit 1
sleep 0.05
echo $v >>$1/$2; echo $v >>$1/done
"#;

/// Messages in all partitions, and a consumer's start.
fn load(version: &'static str) -> (Scene<'static>, impl Fn(&Scene<'_>, &str) -> Program) {
    let scene = Scene::new(version, PARTITIONS);
    scene.produce(MESSAGES);
    let start = |scene: &Scene<'_>, name: &str| {
        let start = scene.named(name, SCRIPT).set("consumer.concurrency", &CONCURRENCY.to_string());
        let consumer = start.set("consumer.session_timeout_ms", "6000").start();
        consumer.wait_for_line(WAITING, PATIENCE);
        consumer
    };
    (scene, start)
}

/// The numbers of the messages that are done, in order, repeated ones included.
fn done(scene: &Scene<'_>) -> Vec<usize> {
    let mut done: Vec<usize> =
        scene.lines("done").iter().map(|line| line.parse().expect("a number")).collect();
    done.sort_unstable();
    done
}

fn a_stop_waits_for_all_that_is_in_hand_and_begins_nothing_more(version: &'static str) {
    let scene = Scene::new(version, 1);
    scene.produce(8);
    let script = "begin $1; wait_for $1 go; end $1";
    let mut consumer = scene.consumer(script).set("consumer.concurrency", "4").start();
    scene.wait_for_begun(4);
    consumer.signal("TERM");
    consumer.wait_for_log(&["stopping"], PATIENCE);
    scene.touch("go");
    assert_eq!(consumer.wait(PATIENCE), Some(0));
    assert_eq!(scene.begun().len(), 4, "{:?}", scene.begun());
    assert_eq!(scene.runs().iter().filter(|run| !run.begins).count(), 4);
    assert_eq!(scene.commit(), Some((4, "q1 clean".to_owned())));
}

fn stops_and_rebalances_under_load_lose_and_repeat_nothing(version: &'static str) {
    let (scene, start) = load(version);
    let mut first = start(&scene, "consumer1");
    scene.wait_for_lines("consumer1", 100);
    let mut second = start(&scene, "consumer2");
    scene.wait_for_lines("consumer2", 100);
    second.stop();
    let so_far = scene.lines("consumer1").len();
    scene.wait_for_lines("consumer1", so_far + 50);
    first.stop();
    assert!(done(&scene).len() < MESSAGES, "the load lasts");
    let mut last = start(&scene, "consumer1");
    scene.wait_for_commits();
    last.stop();
    assert_eq!(done(&scene), (0..MESSAGES).collect::<Vec<_>>());
    assert!(scene.dead_places().is_empty());
}

fn killed_under_load_it_loses_nothing_and_repeats_no_more_than_was_in_hand(version: &'static str) {
    let (scene, start) = load(version);
    let mut kills = 0;
    for count in [150, 500] {
        let mut consumer = start(&scene, "consumer1");
        scene.wait_for_lines("done", count);
        consumer.signal("KILL");
        assert_eq!(consumer.wait(PATIENCE), None, "it ends by the signal");
        kills += 1;
    }
    let mut last = start(&scene, "consumer1");
    eventually("all is done", PATIENCE, || {
        let distinct: BTreeSet<usize> = done(&scene).into_iter().collect();
        (distinct.len() == MESSAGES).then_some(())
    });
    scene.wait_for_commits();
    last.stop();
    // Those whose consumer was killed go on, and write their line like the others.
    let again = done(&scene).len() - MESSAGES;
    let bound = kills * (CONCURRENCY + DURING_A_COMMIT);
    println!("{again} of {MESSAGES} came again after {kills} kills, {bound} allowed");
    assert!(again <= bound, "{again} came again, {bound} allowed");
    assert!(scene.dead_places().is_empty());
}

/// It thaws with two messages done that others have done since.
fn frozen_for_longer_than_its_session_it_cannot_commit_when_it_thaws(version: &'static str) {
    const COUNT: i64 = 6;
    let scene = Scene::new(version, 1);
    for number in 0..COUNT {
        scene.put(0, None, &number.to_string());
    }
    let script = "begin $1; [ $2 != consumer1 ] || wait_for $1 go; echo $POINT_TO_POINT_OFFSET >>$1/$2";
    let start = |name| {
        let start = scene.named(name, script).set("consumer.concurrency", "2");
        start.set("consumer.session_timeout_ms", "6000").start()
    };
    let mut frozen = start("consumer1");
    scene.wait_for_begun(2);
    frozen.signal("STOP");
    let mut other = start("consumer2");
    scene.wait_for_commits();
    assert_eq!(scene.lines("consumer2").len(), COUNT as usize);
    scene.touch("go");
    scene.wait_for_lines("consumer1", 2);
    frozen.signal("CONT");
    eventually("it is a member again", PATIENCE, || {
        let (next, note) = scene.commit()?;
        assert!(next == COUNT && note.starts_with("q1 held=consumer2"), "{next} {note}");
        let group = scene.kafka.assistant().group(&scene.group);
        group.is_shared_by(&["consumer1", "consumer2"], 0).then_some(())
    });
    scene.put(0, None, "6");
    scene.wait_for_commits();
    frozen.stop();
    other.stop();
    assert_eq!(scene.lines("consumer1").len(), 2, "it began nothing that was others' by then");
    let (next, note) = scene.commit().expect("a commit");
    assert!(next == COUNT + 1 && note.starts_with("q1 clean"), "{next} {note}");
    assert!(scene.dead_places().is_empty());
}

const SYNC_GROUP: i16 = 14;

/// A third member joins before the second generation's assignment is fetched, as the broker would put it.
fn a_rebalance_that_overtakes_an_assignment_repeats_nothing(version: &'static str) {
    /// The same answer with REBALANCE_IN_PROGRESS.
    fn overtaken(_: Request, answer: &[u8]) -> Vec<u8> {
        let mut answer = answer.to_vec();
        // Behind the correlation id and the throttle time.
        answer[8..10].copy_from_slice(&27_i16.to_be_bytes());
        answer
    }
    let scene = Scene::new(version, PARTITIONS);
    scene.produce(MESSAGES);
    let syncs = AtomicUsize::new(0);
    let broker = Scripted::before(&scene.kafka.bootstrap(), move |request| {
        let is_second = request.key == SYNC_GROUP && syncs.fetch_add(1, Ordering::Relaxed) == 1;
        if is_second { Reply::Edited(overtaken) } else { Reply::Pass }
    });
    let start = |name: &str| scene.named(name, SCRIPT).set("consumer.concurrency", &CONCURRENCY.to_string());
    let mut first = start("consumer1").set("kafka.bootstrap_servers", &broker.bootstrap()).start();
    scene.wait_for_lines("consumer1", 100);
    let mut second = start("consumer2").start();
    scene.wait_for_lines("consumer2", 100);
    first.wait_for_log(&["generation 3"], PATIENCE);
    scene.wait_for_commits();
    first.stop();
    second.stop();
    assert_eq!(done(&scene), (0..MESSAGES).collect::<Vec<_>>());
}

/// The answer with the assignment of the second generation does not come through: the member joins once more
/// with all that it had, of which it is to give a part up.
fn after_an_assignment_that_did_not_arrive_every_partition_has_an_owner(version: &'static str) {
    let scene = Scene::new(version, PARTITIONS);
    let syncs = AtomicUsize::new(0);
    let broker = Scripted::before(&scene.kafka.bootstrap(), move |request| {
        let is_second = request.key == SYNC_GROUP && syncs.fetch_add(1, Ordering::Relaxed) == 1;
        if is_second { Reply::Cut(0) } else { Reply::Pass }
    });
    let script = "begin $1; end $1";
    let first = scene.consumer(script).set("kafka.bootstrap_servers", &broker.bootstrap()).start();
    first.wait_for_line(WAITING, PATIENCE);
    let second = scene.named("consumer2", script).start();
    second.wait_for_line(WAITING, PATIENCE);
    // The rebalances are over when the second one gets messages, or none is going to.
    first.wait_for_log(&["generation 3"], PATIENCE);
    scene.produce(40);
    scene.wait_for_commits();
    assert_eq!(scene.begun().len(), 40);
}
