//! How many messages are under way at a time, and which wait for one another.

use super::scene::{Run, Scene, most_at_a_time};
use crate::support::program::{WAITING, wait_for_messages};
use crate::support::{EMBEDDED, NEWEST, OLDEST, PATIENCE, run_on};

run_on! {
    mod kafka_4_3 on NEWEST {
        so_many_messages_are_under_way_as_concurrency_says_and_no_more,
        unless_set_one_message_is_under_way_at_a_time,
        by_key_those_of_one_key_come_one_after_the_other_and_all_others_beside_them,
        by_partition_those_of_one_partition_come_one_after_the_other,
        without_an_order_those_of_one_key_are_under_way_at_a_time,
        printing_many_at_a_time_prints_each_message_once,
    }
    mod kafka_3_9 on OLDEST {
        so_many_messages_are_under_way_as_concurrency_says_and_no_more,
        by_key_those_of_one_key_come_one_after_the_other_and_all_others_beside_them,
    }
    mod embedded on EMBEDDED {
        so_many_messages_are_under_way_as_concurrency_says_and_no_more,
        unless_set_one_message_is_under_way_at_a_time,
        by_key_those_of_one_key_come_one_after_the_other_and_all_others_beside_them,
        by_partition_those_of_one_partition_come_one_after_the_other,
        without_an_order_those_of_one_key_are_under_way_at_a_time,
        printing_many_at_a_time_prints_each_message_once,
    }
}

/// The most runs at a time of all.
fn most(runs: &[Run]) -> usize {
    most_at_a_time(runs, |_| Some(()))
}

/// The offsets of the runs that fit, in the order of their beginnings.
fn offsets(runs: &[Run], fits: impl Fn(&Run) -> bool) -> Vec<i64> {
    runs.iter().filter(|run| run.begins && fits(run)).map(|run| run.offset).collect()
}

fn so_many_messages_are_under_way_as_concurrency_says_and_no_more(version: &'static str) {
    let scene = Scene::new(version, 4);
    for number in 0..40 {
        scene.put(number % 4, Some(&format!("key{number}")), &number.to_string());
    }
    // None of the first eight ends before all of them have begun.
    let script = "begin $1; gate $1 8; sleep 0.2; end $1";
    let _consumer = scene.consumer(script).set("consumer.concurrency", "8").start();
    scene.wait_for_commits();
    let runs = scene.runs();
    assert_eq!(most(&runs), 8);
    assert_eq!(offsets(&runs, |_| true).len(), 40);
}

fn unless_set_one_message_is_under_way_at_a_time(version: &'static str) {
    let scene = Scene::new(version, 4);
    scene.produce(20);
    let _consumer = scene.consumer("begin $1; sleep 0.05; end $1").start();
    scene.wait_for_commits();
    let runs = scene.runs();
    assert_eq!((most(&runs), offsets(&runs, |_| true).len()), (1, 20));
}

/// The first of each of four keys, and four without a key, are all that can be in hand at first.
fn by_key_those_of_one_key_come_one_after_the_other_and_all_others_beside_them(version: &'static str) {
    let scene = Scene::new(version, 1);
    for number in 0..20 {
        scene.put(0, Some(&format!("key{}", number % 4)), &number.to_string());
    }
    for number in 20..24 {
        scene.put(0, None, &number.to_string());
    }
    let script = "begin $1; gate $1 8; sleep 0.05; end $1";
    let _consumer = scene.consumer(script).set("consumer.concurrency", "16").start();
    scene.wait_for_commits();
    let runs = scene.runs();
    assert_eq!(most_at_a_time(&runs, |run| run.key.clone()), 1);
    assert_eq!(most(&runs), 8);
    for key in 0..4 {
        let name = format!("key{key}");
        let in_order: Vec<i64> = (0..5).map(|nth| nth * 4 + key).collect();
        assert_eq!(offsets(&runs, |run| run.key.as_ref() == Some(&name)), in_order, "{name}");
    }
}

fn by_partition_those_of_one_partition_come_one_after_the_other(version: &'static str) {
    let scene = Scene::new(version, 4);
    for number in 0..20 {
        let key = (number % 3 > 0).then(|| format!("key{number}"));
        scene.put(number % 4, key.as_deref(), &number.to_string());
    }
    let script = "begin $1; gate $1 4; sleep 0.05; end $1";
    let start = scene.consumer(script).set("consumer.concurrency", "8");
    let _consumer = start.set("consumer.order", "partition").start();
    scene.wait_for_commits();
    let runs = scene.runs();
    assert_eq!((most_at_a_time(&runs, |run| Some(run.partition)), most(&runs)), (1, 4));
    for partition in 0..4 {
        assert_eq!(offsets(&runs, |run| run.partition == partition), [0, 1, 2, 3, 4], "{partition}");
    }
}

fn without_an_order_those_of_one_key_are_under_way_at_a_time(version: &'static str) {
    let scene = Scene::new(version, 1);
    for number in 0..8 {
        scene.put(0, Some("k"), &number.to_string());
    }
    let script = "begin $1; gate $1 4; end $1";
    let start = scene.consumer(script).set("consumer.concurrency", "4");
    let _consumer = start.set("consumer.order", "none").start();
    scene.wait_for_commits();
    assert_eq!(most_at_a_time(&scene.runs(), |run| run.key.clone()), 4);
}

fn printing_many_at_a_time_prints_each_message_once(version: &'static str) {
    const MESSAGES: usize = 400;
    let scene = Scene::new(version, 4);
    scene.produce(MESSAGES);
    let mut consumer = scene.printing("consumer1").set("consumer.concurrency", "8").start();
    consumer.wait_for_line(WAITING, PATIENCE);
    wait_for_messages(&[&consumer], MESSAGES, PATIENCE);
    scene.wait_for_commits();
    consumer.stop();
    consumer.wait_for_outputs();
    let mut printed: Vec<usize> = consumer.received().iter().filter_map(|text| text.parse().ok()).collect();
    printed.sort_unstable();
    assert_eq!(printed, (0..MESSAGES).collect::<Vec<_>>());
}
