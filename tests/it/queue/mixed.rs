//! Members of ours in one group with Java's consumers, which know nothing of notes.

use std::collections::BTreeMap;

use super::history::Place;
use super::load::{Keys, Load, OF_A_KILL, Plan};
use super::scene::Scene;
use crate::clients::client::Client;
use crate::clients::groups::member;
use crate::support::kafka::Kafka;
use crate::support::program::Program;
use crate::support::size::sized;
use crate::support::{EMBEDDED, NEWEST, PATIENCE, eventually, run_on};

run_on! {
    mod kafka_4_3 on NEWEST {
        beside_javas_range_consumer_little_is_done_again as HEAVY,
        beside_javas_sticky_consumer_little_is_done_again as HEAVY,
        beside_javas_cooperative_consumer_little_is_done_again as HEAVY,
        java_ignores_the_note_and_ours_goes_on_where_java_has_committed as HEAVY,
    }
    mod embedded on EMBEDDED {
        beside_javas_range_consumer_little_is_done_again as HEAVY,
        beside_javas_cooperative_consumer_little_is_done_again as HEAVY,
        java_ignores_the_note_and_ours_goes_on_where_java_has_committed as HEAVY,
    }
}

const JAVA: Client = Client::Java(NEWEST);
const RANGE: &str = "org.apache.kafka.clients.consumer.RangeAssignor";
/// With this one alone a member has nothing in common with ours.
const STICKY: &str =
    "org.apache.kafka.clients.consumer.StickyAssignor,org.apache.kafka.clients.consumer.RangeAssignor";

/// Stores messages while few are left, until it is so.
fn busy_until<T>(
    load: &mut Load<'_>,
    javas: &[Program],
    what: &str,
    mut is_so: impl FnMut(&Load<'_>) -> Option<T>,
) -> T {
    eventually(what, PATIENCE, || {
        load.history.read();
        let seen = load.history.successes + javas.iter().map(|java| java.lines().len()).sum::<usize>();
        if seen + 500 > load.stored {
            load.store(500);
        }
        is_so(load)
    })
}

/// A Java consumer comes and goes while messages are handled. Gives how often messages were handled again.
fn java_comes_and_goes(version: &'static str, strategy: &str, rounds: usize) -> usize {
    let kafka = Kafka::shared(version);
    let plan = Plan { work_ms: 40, ..Plan::of(500, Keys::Even) };
    let mut load = Load::new(kafka, 1, plan);
    let mut ours = load.consumer("consumer1");
    let mut javas: Vec<Program> = Vec::new();
    let shared = |load: &Load<'_>, names: &[&str]| {
        kafka.assistant().group(&load.scene.group).is_shared_by(names, 4 / names.len()).then_some(())
    };
    for _ in 0..rounds {
        let settings = [("partition.assignment.strategy", strategy)];
        let java = member(JAVA, kafka, (&load.scene.topic, &load.scene.group), "java", &settings);
        javas.push(java);
        busy_until(&mut load, &javas, "Java has its share", |load| shared(load, &["consumer1", "java"]));
        let java = &javas[javas.len() - 1];
        let (printed, handled) = (java.lines().len(), load.history.successes);
        busy_until(&mut load, &javas, "both go on", |load| {
            let java = &javas[javas.len() - 1];
            (java.lines().len() > printed + 100 && load.history.successes > handled + 100).then_some(())
        });
        javas[javas.len() - 1].signal("TERM");
        busy_until(&mut load, &javas, "ours has all again", |load| shared(load, &["consumer1"]));
        let handled = load.history.successes;
        busy_until(&mut load, &javas, "ours goes on", |load| {
            (load.history.successes > handled + 100).then_some(())
        });
    }
    load.scene.wait_for_commits();
    ours.stop();
    load.history.read();
    let mut times: BTreeMap<Place, usize> = BTreeMap::new();
    for (place, message) in &load.history.messages {
        *times.entry(*place).or_default() += message.successes;
    }
    for java in &javas {
        java.wait_for_outputs();
        for record in JAVA.records(java) {
            *times.entry((record.partition, record.offset)).or_default() += 1;
        }
    }
    assert!(times.values().all(|count| *count > 0));
    assert_eq!(times.len(), load.stored, "each was handled by somebody");
    assert!(load.scene.dead_places().is_empty());
    let again = times.values().sum::<usize>() - times.len();
    println!("{again} of {} were handled again in {rounds} rounds", times.len());
    again
}

/// Our consumer's group cannot be cooperative with it: what is in hand when it comes is taken away, and it
/// does what was done above the lowest of these again.
fn beside_javas_range_consumer_little_is_done_again(version: &'static str) {
    let rounds = sized(2, 10);
    let again = java_comes_and_goes(version, RANGE, rounds);
    assert!(again <= rounds * OF_A_KILL, "{again} of {} allowed", rounds * OF_A_KILL);
}

fn beside_javas_sticky_consumer_little_is_done_again(version: &'static str) {
    let rounds = sized(1, 10);
    let again = java_comes_and_goes(version, STICKY, rounds);
    assert!(again <= rounds * OF_A_KILL, "{again} of {} allowed", rounds * OF_A_KILL);
}

/// What is in hand is finished first. But a message whose key was in hand has not begun, and Java does what was
/// done above it again.
fn beside_javas_cooperative_consumer_little_is_done_again(version: &'static str) {
    let rounds = sized(2, 10);
    let again = java_comes_and_goes(version, "cooperative-sticky", rounds);
    assert!(again <= rounds * OF_A_KILL, "{again} of {} allowed", rounds * OF_A_KILL);
}

/// One message waits, and those above it are done. Java does these again, and loses none.
fn java_ignores_the_note_and_ours_goes_on_where_java_has_committed(version: &'static str) {
    const WAITS: i64 = 3;
    let scene = Scene::new(version, 1);
    let produce = |count| scene.kafka.assistant().produce(&scene.topic, "none", 0, "%d", count);
    produce(20);
    let script = format!("begin $1; [ $POINT_TO_POINT_OFFSET -ne {WAITS} ]");
    let start = || {
        let start = scene.consumer(&script).set("retry.initial_backoff_ms", "600000");
        start.set("retry.max_backoff_ms", "600000").start()
    };
    let mut ours = start();
    let waits = || scene.note().filter(|note| note.done == [(WAITS + 1, 20)] && note.attempted.len() == 1);
    eventually("all but one are done", PATIENCE, waits);
    ours.stop();
    assert_eq!(scene.commit().map(|(next, _)| next), Some(WAITS));

    let mut java = member(JAVA, scene.kafka, (&scene.topic, &scene.group), "java", &[]);
    let records = JAVA.wait_for_records(&java, 20 - WAITS as usize);
    scene.wait_for_commits();
    java.signal("TERM");
    java.wait(PATIENCE);
    java.wait_for_outputs();
    assert!(records.iter().map(|record| record.offset).eq(WAITS..20), "{records:?}");
    assert_eq!(JAVA.records(&java).len(), records.len());
    assert_eq!(scene.commit(), Some((20, String::new())), "its commit is without a note");

    let mut ours = start();
    produce(5);
    scene.wait_for_commits();
    let (_, text) = scene.commit().expect("a commit");
    assert!(text.starts_with("q1 held=consumer1"), "{text}");
    ours.stop();
    assert_eq!(scene.commit(), Some((25, "q1 clean".to_owned())));
    assert!(scene.begun().into_iter().eq((0..25).map(|offset| (offset, 1))), "{:?}", scene.begun());
}
