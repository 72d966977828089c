//! Brokers that are not there, restart, die or freeze under load: every answer stays true, nothing is lost,
//! nothing is stored twice.

use crate::support::kafka::Kafka;
use crate::support::load::{Load, RECOVERY, numbers_of};
use crate::support::program::{Program, Start, WAITING};
use crate::support::{EMBEDDED, NEWEST, OLDEST, PATIENCE, eventually, run_on, unique};

run_on! {
    mod kafka_4_3 on NEWEST {
        without_a_broker_each_of_100_posts_is_refused_and_nothing_appears_later as HEAVY,
        a_broker_that_restarts_under_load_loses_and_doubles_nothing as HEAVY,
        a_broker_away_again_and_again_for_longer_than_the_answer_timeout_keeps_every_answer_true as HEAVY,
        the_leader_killed_under_load_loses_and_doubles_nothing as HEAVY,
        a_frozen_broker_makes_answers_unknown_but_never_false as HEAVY,
    }
    mod kafka_3_9 on OLDEST {
        a_broker_that_restarts_under_load_loses_and_doubles_nothing as HEAVY,
    }
    mod embedded on EMBEDDED {
        without_a_broker_each_of_100_posts_is_refused_and_nothing_appears_later as HEAVY,
        a_broker_that_restarts_under_load_loses_and_doubles_nothing as HEAVY,
        a_broker_away_again_and_again_for_longer_than_the_answer_timeout_keeps_every_answer_true as HEAVY,
        a_frozen_broker_makes_answers_unknown_but_never_false as HEAVY,
    }
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
    eventually("the producer recovers by itself", RECOVERY, || {
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
    let book = load.outlast_a_stop_and_a_kill(&kafka);
    println!("{} stored, {} refused, {} unknown", book.stored.len(), book.refused.len(), book.unknown.len());
    book.check_topic(&kafka, &topic);
    book.check_consumers(&[&first, &second], 2);
    kafka.assistant().wait_for_commits(&group, &topic);
}

/// The broker is away for longer than a client waits for its answer: messages are refused in between, and
/// those that were on their way when it left are stored once at most. A leader that stops in an orderly way
/// may append a batch and then answer that it is no leader.
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
        load.wait_for_progress(300);
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
    load.wait_for_progress(300);
    let book = load.finish();
    println!("{} stored, {} refused, {} unknown", book.stored.len(), book.refused.len(), book.unknown.len());
    book.check_topic(&kafka, &topic);
    book.check_consumers(&[&consumer], 4);
}

fn the_leader_killed_under_load_loses_and_doubles_nothing(version: &'static str) {
    let kafka = Kafka::start(version, 3);
    let (topic, group) = (unique("mi-topico"), unique("grupo"));
    let producer = Program::producer(&kafka, &topic);
    let first = Program::consumer(&kafka, "consumer1", &topic, &group);
    let second = Program::consumer(&kafka, "consumer2", &topic, &group);
    let load = Load::start(producer.address(), 16, u64::MAX);
    load.wait_for_progress(300);
    let leader = kafka.assistant().leader(&topic, 0).expect("a leader");
    kafka.kill_node(leader - 1);
    eventually("another leader", PATIENCE, || {
        kafka.assistant().leader(&topic, 0).filter(|node| *node != leader)
    });
    load.wait_for_progress(300);
    kafka.start_node(leader - 1);
    load.wait_for_progress(300);
    let book = load.finish();
    println!("{} stored, {} refused, {} unknown", book.stored.len(), book.refused.len(), book.unknown.len());
    book.check_topic(&kafka, &topic);
    book.check_consumers(&[&first, &second], 2);
    kafka.assistant().wait_for_commits(&group, &topic);
}

fn a_frozen_broker_makes_answers_unknown_but_never_false(version: &'static str) {
    let kafka = Kafka::start(version, 1);
    let topic = unique("mi-topico");
    let start = Start::program("producer_api").on(&kafka).set("kafka.topic", &topic);
    let producer = Program::producer_with(start.set("producer_api.answer_timeout_ms", "2000"));
    let load = Load::start(producer.address(), 16, u64::MAX);
    load.wait_for_progress(300);
    kafka.freeze_node(0);
    // What was on its way to the broker when it froze is the only thing that may be unknown.
    eventually("a message whose bytes were on their way is unknown", PATIENCE, || {
        (!load.so_far().unknown.is_empty()).then_some(())
    });
    kafka.thaw_node(0);
    load.wait_for_progress(300);
    let book = load.finish();
    println!("{} stored, {} refused, {} unknown", book.stored.len(), book.refused.len(), book.unknown.len());
    book.check_topic(&kafka, &topic);
}
