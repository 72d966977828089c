//! Brokers that are not there, restart, die or freeze under load: every answer stays true, nothing is lost, nothing is
//! stored twice.

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use support::kafka::Kafka;
use support::load::{Book, Load, numbers_of};
use support::program::{Program, Start, WAITING, received_by};
use support::{EMBEDDED, NEWEST, OLDEST, PATIENCE, eventually, run_on, unique};

run_on! {
    mod kafka_4_3 on NEWEST {
        without_a_broker_each_of_100_posts_is_refused_and_nothing_appears_later,
        a_broker_that_restarts_under_load_loses_and_doubles_nothing,
        a_broker_away_again_and_again_for_longer_than_the_answer_timeout_keeps_every_answer_true,
        the_leader_killed_under_load_loses_and_doubles_nothing,
        a_frozen_broker_makes_answers_unknown_but_never_false,
    }
    mod kafka_3_9 on OLDEST {
        a_broker_that_restarts_under_load_loses_and_doubles_nothing,
    }
    mod embedded on EMBEDDED {
        without_a_broker_each_of_100_posts_is_refused_and_nothing_appears_later,
        a_broker_that_restarts_under_load_loses_and_doubles_nothing,
        a_broker_away_again_and_again_for_longer_than_the_answer_timeout_keeps_every_answer_true,
        a_frozen_broker_makes_answers_unknown_but_never_false,
    }
}

/// A broker that comes back after a kill needs up to half a minute until it takes messages again.
const LONG: Duration = Duration::from_secs(150);

/// Reads the topic with Java's client and checks the answers against what is really stored, duplicates included.
fn check_against_the_topic(kafka: &Kafka, topic: &str, book: &Book) {
    let records = kafka.assistant().read(topic, false);
    let values: Vec<String> = records
        .iter()
        .map(|r| String::from_utf8_lossy(r.value.as_deref().unwrap_or_default()).into_owned())
        .collect();
    let mut places: BTreeMap<u64, Vec<(i32, i64)>> = BTreeMap::new();
    for (record, number) in records.iter().zip(numbers_of(&values)) {
        places.entry(number).or_default().push((record.partition, record.offset));
    }
    let doubled: Vec<_> = places.iter().filter(|(_, places)| places.len() > 1).take(20).collect();
    assert!(doubled.is_empty(), "stored more than once (number, places): {doubled:?}");
    book.check(&numbers_of(&values), 0);
    for (record, number) in records.iter().zip(numbers_of(&values)) {
        if let Some(place) = book.stored.get(&number) {
            assert_eq!(
                *place,
                (record.partition, record.offset),
                "message {number} is not where the answer says"
            );
        }
    }
}

/// Waits until the consumers have printed every stored message, and checks that each outage cost each of them one
/// message printed again at most: the one in hand, whose commit the outage swallowed.
fn check_against_the_consumers(consumers: &[&Program], book: &Book, outages: usize) {
    eventually("all that is stored is printed", LONG, || {
        let printed: BTreeSet<u64> = numbers_of(received_by(consumers)).into_iter().collect();
        book.stored.keys().all(|number| printed.contains(number)).then_some(())
    });
    book.check(&numbers_of(received_by(consumers)), outages * consumers.len());
}

/// Waits until the load has got `count` more messages stored: the channel works (again).
fn wait_for_progress(load: &Load, count: usize) {
    let goal = load.stored() + count;
    eventually(&format!("{count} more messages are stored"), LONG, || (load.stored() >= goal).then_some(()));
}

fn without_a_broker_each_of_100_posts_is_refused_and_nothing_appears_later(version: &'static str) {
    let kafka = Kafka::stopped(version, 1);
    let (topic, group) = (unique("mi-topico"), unique("grupo"));
    let start = Start::program("producer_api").on(&kafka).set("kafka.topic", &topic);
    let producer = Program::producer_with(start.set("producer_api.answer_timeout_ms", "2000"));
    let consumer = Program::consumer_start(&kafka, "consumer1", &topic, &group).start();

    let answer = producer.post("/enviar", r#"{"id":0}"#);
    assert_eq!(answer.status, 503, "{answer:?}");
    assert!(answer.header("retry-after").is_some_and(|value| value.parse::<u32>().is_ok()), "{answer:?}");
    assert!(answer.json().is_object(), "an error is JSON: {answer:?}");
    let refused = Load::start(producer.address(), 20, 100).wait();
    assert_eq!((refused.refused.len(), refused.unknown.len()), (100, 0), "{:?}", refused.odd.first());

    kafka.start_node(0);
    eventually("the producer recovers by itself", LONG, || {
        (producer.post("/enviar", r#"{"id":1000}"#).status == 200).then_some(())
    });
    consumer.wait_for_line(WAITING, PATIENCE);
    consumer.wait_for_messages(1, PATIENCE);
    kafka.assistant().wait_for_commits(&group, &topic);
    assert_eq!(numbers_of(consumer.received()), [1000]);
    assert_eq!(kafka.assistant().read(&topic, false).len(), 1, "nothing that was refused is stored");
}

fn a_broker_that_restarts_under_load_loses_and_doubles_nothing(version: &'static str) {
    let kafka = Kafka::start(version, 1);
    let (topic, group) = (unique("mi-topico"), unique("grupo"));
    let producer = Program::producer(&kafka, &topic);
    let first = Program::consumer(&kafka, "consumer1", &topic, &group);
    let second = Program::consumer(&kafka, "consumer2", &topic, &group);
    let load = Load::start(producer.address(), 16, u64::MAX);
    wait_for_progress(&load, 300);
    kafka.stop_node(0);
    kafka.start_node(0);
    wait_for_progress(&load, 300);
    kafka.kill_node(0);
    kafka.start_node(0);
    wait_for_progress(&load, 300);
    let book = load.finish();
    println!("{} stored, {} refused, {} unknown", book.stored.len(), book.refused.len(), book.unknown.len());
    check_against_the_topic(&kafka, &topic, &book);
    check_against_the_consumers(&[&first, &second], &book, 2);
    kafka.assistant().wait_for_commits(&group, &topic);
}

/// The broker is away for longer than a client waits for its answer: messages are refused in between, and those that
/// were on their way when it left are stored once at most. A leader that stops in an orderly way may append a batch and
/// then answer that it is no leader.
fn a_broker_away_again_and_again_for_longer_than_the_answer_timeout_keeps_every_answer_true(
    version: &'static str,
) {
    let kafka = Kafka::start(version, 1);
    let (topic, group) = (unique("mi-topico"), unique("grupo"));
    let start = Start::program("producer_api").on(&kafka).set("kafka.topic", &topic);
    let producer = Program::producer_with(start.set("producer_api.answer_timeout_ms", "2000"));
    let consumer = Program::consumer(&kafka, "consumer1", &topic, &group);
    let load = Load::start(producer.address(), 16, u64::MAX);
    for round in 0..4 {
        wait_for_progress(&load, 300);
        let refused = load.so_far().refused.len();
        if round % 3 == 0 {
            kafka.kill_node(0)
        } else {
            kafka.stop_node(0)
        }
        eventually("messages are refused", PATIENCE, || {
            (load.so_far().refused.len() >= refused + 20).then_some(())
        });
        kafka.start_node(0);
    }
    wait_for_progress(&load, 300);
    let book = load.finish();
    println!("{} stored, {} refused, {} unknown", book.stored.len(), book.refused.len(), book.unknown.len());
    check_against_the_topic(&kafka, &topic, &book);
    check_against_the_consumers(&[&consumer], &book, 4);
}

fn the_leader_killed_under_load_loses_and_doubles_nothing(version: &'static str) {
    let kafka = Kafka::start(version, 3);
    let (topic, group) = (unique("mi-topico"), unique("grupo"));
    let producer = Program::producer(&kafka, &topic);
    let first = Program::consumer(&kafka, "consumer1", &topic, &group);
    let second = Program::consumer(&kafka, "consumer2", &topic, &group);
    let load = Load::start(producer.address(), 16, u64::MAX);
    wait_for_progress(&load, 300);
    let leader = kafka.assistant().leader(&topic, 0).expect("a leader");
    kafka.kill_node(leader - 1);
    eventually("another leader", PATIENCE, || {
        kafka.assistant().leader(&topic, 0).filter(|node| *node != leader)
    });
    wait_for_progress(&load, 300);
    kafka.start_node(leader - 1);
    wait_for_progress(&load, 300);
    let book = load.finish();
    println!("{} stored, {} refused, {} unknown", book.stored.len(), book.refused.len(), book.unknown.len());
    check_against_the_topic(&kafka, &topic, &book);
    check_against_the_consumers(&[&first, &second], &book, 2);
    kafka.assistant().wait_for_commits(&group, &topic);
}

fn a_frozen_broker_makes_answers_unknown_but_never_false(version: &'static str) {
    let kafka = Kafka::start(version, 1);
    let topic = unique("mi-topico");
    let start = Start::program("producer_api").on(&kafka).set("kafka.topic", &topic);
    let producer = Program::producer_with(start.set("producer_api.answer_timeout_ms", "2000"));
    let load = Load::start(producer.address(), 16, u64::MAX);
    wait_for_progress(&load, 300);
    kafka.freeze_node(0);
    // What was on its way to the broker when it froze is the only thing that may be unknown.
    eventually("a message whose bytes were on their way is unknown", PATIENCE, || {
        (!load.so_far().unknown.is_empty()).then_some(())
    });
    kafka.thaw_node(0);
    wait_for_progress(&load, 300);
    let book = load.finish();
    println!("{} stored, {} refused, {} unknown", book.stored.len(), book.refused.len(), book.unknown.len());
    check_against_the_topic(&kafka, &topic, &book);
}
