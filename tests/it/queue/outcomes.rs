//! How a handler can fail, and what that costs its message.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::scene::{Scene, place, reason};
use crate::support::metrics::Scrape;
use crate::support::ports::free_port;
use crate::support::program::Program;
use crate::support::scripted::{Reply, Scripted};
use crate::support::{EMBEDDED, NEWEST, OLDEST, PATIENCE, eventually, run_on};

run_on! {
    mod kafka_4_3 on NEWEST {
        exit_75_costs_no_attempt_however_often,
        exit_65_makes_a_dead_letter_at_once,
        a_handler_that_vanishes_costs_no_message_an_attempt_and_is_waited_for,
        a_handler_that_is_not_executable_any_more_is_waited_for,
        with_endless_attempts_a_message_is_tried_until_it_succeeds,
        after_failures_in_a_row_the_consumer_pauses_until_one_message_succeeds,
        a_downstream_that_is_away_for_long_makes_no_dead_letters_and_keeps_the_order,
        a_pause_does_not_end_with_a_message_that_no_handler_gets,
        a_dead_letter_that_cannot_be_stored_holds_up_none_of_its_batch,
    }
    mod kafka_3_9 on OLDEST {
        exit_75_costs_no_attempt_however_often,
        exit_65_makes_a_dead_letter_at_once,
    }
    mod embedded on EMBEDDED {
        exit_75_costs_no_attempt_however_often,
        exit_65_makes_a_dead_letter_at_once,
        a_handler_that_vanishes_costs_no_message_an_attempt_and_is_waited_for,
        a_handler_that_is_not_executable_any_more_is_waited_for,
        with_endless_attempts_a_message_is_tried_until_it_succeeds,
        after_failures_in_a_row_the_consumer_pauses_until_one_message_succeeds,
        a_downstream_that_is_away_for_long_makes_no_dead_letters_and_keeps_the_order,
        a_pause_does_not_end_with_a_message_that_no_handler_gets,
        a_dead_letter_that_cannot_be_stored_holds_up_none_of_its_batch,
    }
}

fn exit_75_costs_no_attempt_however_often(version: &'static str) {
    let scene = Scene::new(version, 1);
    scene.put(0, Some("k"), "0");
    scene.put(0, Some("other"), "1");
    let script = "begin $1; [ $POINT_TO_POINT_OFFSET = 1 ] || [ -e $1/well ] || exit 75";
    let start = scene.consumer(script).set("retry.initial_backoff_ms", "20");
    let consumer = start.set("retry.max_attempts", "2").start();
    // More often than there are attempts.
    eventually("it is tried again and again", PATIENCE, || {
        (scene.begun().iter().filter(|(offset, _)| *offset == 0).count() >= 6).then_some(())
    });
    assert!(scene.begun().contains(&(1, 1)), "nobody else waits");
    scene.touch("well");
    scene.wait_for_commits();
    let begun = scene.begun();
    assert!(begun.iter().all(|(_, attempt)| *attempt == 1), "{begun:?}");
    assert!(scene.dead_places().is_empty());
    consumer.wait_for_log(&["offset=0", "exit status: 75"], PATIENCE);
}

fn exit_65_makes_a_dead_letter_at_once(version: &'static str) {
    let scene = Scene::new(version, 1);
    for value in ["\"bad\"", "1"] {
        scene.put(0, Some("k"), value);
    }
    let _consumer = scene.consumer("begin $1; ! grep -q bad || exit 65").start();
    scene.wait_for_commits();
    assert_eq!(scene.begun(), [(0, 1), (1, 1)]);
    let letters = scene.dead_letters();
    assert_eq!(letters.iter().map(place).collect::<Vec<_>>(), [(0, 0)]);
    assert_eq!(reason(&letters[0]), "the handler ended with exit status: 65");
    assert_eq!(letters[0].value.as_deref(), Some(&b"\"bad\""[..]));
}

fn with_endless_attempts_a_message_is_tried_until_it_succeeds(version: &'static str) {
    const TRIES: u32 = 20;
    let scene = Scene::new(version, 1);
    scene.put(0, Some("k"), "0");
    scene.put(0, Some("k"), "1");
    let script = format!("begin $1; [ $POINT_TO_POINT_OFFSET = 1 ] || [ $POINT_TO_POINT_ATTEMPT = {TRIES} ]");
    let start = scene.consumer(&script).set("retry.max_attempts", "0");
    let _consumer = start.set("retry.initial_backoff_ms", "10").set("retry.max_backoff_ms", "20").start();
    scene.wait_for_commits();
    let expected: Vec<_> = (1..=TRIES).map(|attempt| (0, attempt)).chain([(1, 1)]).collect();
    assert_eq!(scene.begun(), expected);
    assert!(scene.dead_places().is_empty());
}

/// What the handler needs is away; when it is back, every message is handled.
fn after_failures_in_a_row_the_consumer_pauses_until_one_message_succeeds(version: &'static str) {
    const MESSAGES: usize = 30;
    let scene = Scene::new(version, 1);
    scene.produce(MESSAGES);
    let start = scene.consumer("begin $1; [ -e $1/well ]").set("consumer.circuit_failures", "2");
    let consumer = start.set("retry.initial_backoff_ms", "20").start();
    consumer.wait_for_log(&["paus", "2"], PATIENCE);
    let begun = scene.begun().len();
    assert!(begun < MESSAGES / 3, "{begun} were tried before it paused");
    scene.touch("well");
    scene.wait_for_commits();
    assert!(scene.dead_places().is_empty(), "{:?}", scene.begun());
}

/// Every message that is handed out fails, those in hand when the pause begins and each try.
fn a_downstream_that_is_away_for_long_makes_no_dead_letters_and_keeps_the_order(version: &'static str) {
    const KEYS: i64 = 3;
    let scene = Scene::new(version, 1);
    for number in 0..4 * KEYS {
        scene.put(0, Some(&format!("key{}", number % KEYS)), &number.to_string());
    }
    let start = scene.consumer(&format!("begin $1; gate $1 {KEYS}; [ -e $1/well ]"));
    let start = start.set("consumer.concurrency", &KEYS.to_string()).set("consumer.circuit_failures", "2");
    let start = start.set("retry.initial_backoff_ms", "20").set("retry.max_backoff_ms", "50");
    let metrics = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
    let consumer = start.set("consumer.metrics_listen", &metrics.to_string()).start();
    consumer.wait_for_log(&["pauses: the handler ended"], PATIENCE);
    // One that was handed out before may begin after that, too.
    scene.wait_for_begun(scene.begun().len() + 1 + KEYS as usize);
    let mut tried: Vec<i64> = scene.begun().iter().rev().take(3).map(|(offset, _)| *offset).collect();
    scene.touch("well");
    scene.wait_for_commits();
    consumer.wait_for_log(&["goes on"], PATIENCE);
    let begun = scene.begun();
    assert!(scene.dead_places().is_empty(), "{begun:?}");
    tried.sort_unstable();
    assert_eq!(tried, [0, 1, 2], "the tries take one message after the other: {begun:?}");
    let attempts: BTreeMap<i64, u32> = begun.iter().copied().collect();
    let counted: u32 = attempts.values().map(|last| last - 1).sum();
    assert_eq!(counted, 2, "those before the pause: {begun:?}");
    for key in 0..KEYS {
        let of_key = begun.iter().map(|(offset, _)| *offset).filter(|offset| offset % KEYS == key);
        assert!(of_key.clone().is_sorted(), "{begun:?}");
        assert_eq!(of_key.collect::<BTreeSet<_>>().len(), 4, "all are handled: {begun:?}");
    }
    let scrape = Scrape::of(metrics);
    let value = |name: &str, labels: &[_]| scrape.value(&format!("point_to_point_consumer_{name}"), labels);
    assert_eq!(value("attempts_failed_total", &[]), 2.0);
    let outcomes = ["failed", "later", "handled"].map(|name| value("outcomes_total", &[("outcome", name)]));
    let handled = 4.0 * KEYS as f64;
    assert_eq!(outcomes, [2.0, begun.len() as f64 - 2.0 - handled, handled]);
}

/// The one message that is let through in a pause becomes a dead letter without the handler's being called.
fn a_pause_does_not_end_with_a_message_that_no_handler_gets(version: &'static str) {
    let scene = Scene::new(version, 1);
    for value in ["0", "1", "this is no JSON", "2"] {
        scene.put(0, None, value);
    }
    let start = scene.consumer("begin $1; [ -e $1/well ]").set("consumer.circuit_failures", "2");
    let consumer = start.set("retry.initial_backoff_ms", "5000").set("retry.max_backoff_ms", "5000").start();
    consumer.wait_for_log(&["paus", "2"], PATIENCE);
    scene.touch("well");
    scene.wait_for_commits();
    assert_eq!(scene.dead_places(), [(0, 2)].into());
}

/// Storing it takes longer than the others' leases.
fn a_dead_letter_that_cannot_be_stored_holds_up_none_of_its_batch(version: &'static str) {
    const PRODUCE: i16 = 0;
    const HANDLER: &str = r#"
import json, sys
for line in sys.stdin:
    for message in json.loads(line):
        with open(sys.argv[1], "a") as log:
            print(message["offset"], message["attempt"], file=log)
        print(json.dumps({"id": message["id"], "ok": True}), flush=True)
"#;
    let scene = Scene::new(version, 1);
    for value in ["this is no JSON", "1", "2"] {
        scene.put(0, None, value);
    }
    let stores = Arc::new(AtomicBool::new(false));
    let is_storing = Arc::clone(&stores);
    let broker = Scripted::before(&scene.kafka.bootstrap(), move |request| {
        let is_lost = request.key == PRODUCE && !is_storing.load(Ordering::Relaxed);
        if is_lost { Reply::Silence } else { Reply::Pass }
    });
    let log = scene.file("handled").display().to_string();
    let command = serde_json::to_string(&["python3", "-c", HANDLER, &log]).expect("a list");
    let start = scene.printing("consumer1").set("consumer.handler", &command);
    let start = start.set("consumer.handler_mode", "lines").set("consumer.handler_batch", "3");
    let start = start.set("consumer.max_processing_ms", "6000").set("consumer.handler_timeout_ms", "4500");
    let start = start.set("kafka.request_timeout_ms", "2000").set("kafka.delivery_timeout_ms", "5000");
    let consumer = start.set("kafka.bootstrap_servers", &broker.bootstrap()).start();
    eventually("the others are done", PATIENCE, || {
        scene.note().filter(|note| note.done == [(1, 3)]).map(|_| ())
    });
    consumer.wait_for_log(&["no dead letter yet", "cannot be stored"], PATIENCE);
    stores.store(true, Ordering::Relaxed);
    scene.wait_for_commits();
    assert_eq!(scene.lines("handled"), ["1 1", "2 1"]);
    assert_eq!(scene.dead_places(), [(0, 0)].into());
    assert!(scene.dead_letters().iter().all(|letter| reason(letter).contains("JSON")), "of all tries");
}

/// A scene with a handler that is a file, and its consumer, which has handled a message.
fn with_a_file(version: &'static str) -> (Scene<'static>, Program) {
    let scene = Scene::new(version, 1);
    let handler = scene.file("handle");
    let log = scene.file("tried").display().to_string();
    let script = format!("#!/bin/sh\necho $POINT_TO_POINT_OFFSET $POINT_TO_POINT_ATTEMPT >>{log}\n");
    fs::write(&handler, script).expect("a file");
    fs::set_permissions(&handler, fs::Permissions::from_mode(0o755)).expect("its mode");
    scene.put(0, None, "0");
    let command = serde_json::to_string(&[handler.display().to_string()]).expect("a list");
    let consumer = scene.printing("consumer1").set("consumer.handler", &command);
    let consumer = consumer.set("retry.initial_backoff_ms", "20").set("retry.max_attempts", "1").start();
    scene.wait_for_commits();
    (scene, consumer)
}

/// Takes the handler away and gives it back: no attempt is lost over it, and the log has it once.
fn is_waited_for(version: &'static str, take_away: fn(&Scene<'_>), give_back: fn(&Scene<'_>)) {
    let (scene, mut consumer) = with_a_file(version);
    take_away(&scene);
    for number in 1..4 {
        scene.put(0, Some(&format!("key{number}")), &number.to_string());
    }
    consumer.wait_for_log(&["the handler cannot be started"], PATIENCE);
    assert_eq!(scene.committed(), [(0, 1)].into());
    give_back(&scene);
    scene.wait_for_commits();
    assert_eq!(scene.lines("tried"), ["0 1", "1 1", "2 1", "3 1"]);
    assert!(scene.dead_places().is_empty());
    consumer.stop();
    consumer.wait_for_outputs();
    let told = |line: &&String| line.contains("the handler cannot be started");
    let log = consumer.log();
    let told: Vec<_> = log.iter().filter(told).collect();
    assert_eq!(told.len(), 1, "{told:?}");
}

fn a_handler_that_vanishes_costs_no_message_an_attempt_and_is_waited_for(version: &'static str) {
    is_waited_for(
        version,
        |scene| fs::rename(scene.file("handle"), scene.file("gone")).expect("it is there"),
        |scene| fs::rename(scene.file("gone"), scene.file("handle")).expect("it is there"),
    );
}

fn a_handler_that_is_not_executable_any_more_is_waited_for(version: &'static str) {
    is_waited_for(version, |scene| set_mode(scene, 0o644), |scene| set_mode(scene, 0o755));
}

fn set_mode(scene: &Scene<'_>, mode: u32) {
    fs::set_permissions(scene.file("handle"), fs::Permissions::from_mode(mode)).expect("it is there");
}
