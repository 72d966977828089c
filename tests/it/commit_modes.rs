//! When offsets are committed, and what a consumer that is killed repeats because of it.

use std::collections::BTreeSet;
use std::ops::Range;
use std::thread;

use crate::support::kafka::Kafka;
use crate::support::load::{Load, RECOVERY, numbers_of};
use crate::support::program::{Program, Start, WAITING, received_by, wait_for_messages};
use crate::support::{EMBEDDED, NEWEST, PATIENCE, eventually, run_on, unique};

run_on! {
    mod kafka_4_3 on NEWEST {
        killed_in_the_middle_of_a_poll_it_repeats_the_poll_or_one_message,
        killed_again_and_again_each_mode_loses_nothing_and_repeats_no_more_than_it_says as HEAVY,
        frozen_for_longer_than_its_session_it_cannot_commit_in_any_mode,
        pipelined_rebalances_and_stops_under_load_repeat_nothing as HEAVY,
        pipelined_a_broker_that_restarts_costs_nothing_and_repeats_no_more_than_was_on_its_way as HEAVY,
        pipelined_ahead_of_a_broker_that_stands_still_it_handles_a_hundred_messages_and_no_more,
    }
    mod embedded on EMBEDDED {
        killed_in_the_middle_of_a_poll_it_repeats_the_poll_or_one_message,
        a_stop_in_the_middle_of_a_poll_commits_what_is_handled,
        killed_again_and_again_each_mode_loses_nothing_and_repeats_no_more_than_it_says as HEAVY,
        frozen_for_longer_than_its_session_it_cannot_commit_in_any_mode,
        pipelined_rebalances_and_stops_under_load_repeat_nothing as HEAVY,
        pipelined_a_broker_that_restarts_costs_nothing_and_repeats_no_more_than_was_on_its_way as HEAVY,
        pipelined_ahead_of_a_broker_that_stands_still_it_handles_a_hundred_messages_and_no_more,
    }
}

/// What may be on its way to Kafka in mode `pipelined`, and the message in hand.
const PIPELINED: usize = 100 + 1;

/// The messages of one partition, which one poll brings.
const MESSAGES: u64 = 40;

/// The message over which the consumer is killed, or stopped. It is larger than its pipe, whose reader holds
/// it in the middle of the print.
const LAST: u64 = 5;

/// Stores numbered messages in one partition, number `large` with 200,000 bytes.
fn put_numbered(kafka: &Kafka, topic: &str, count: u64, large: u64) {
    for number in 0..count {
        let filler = "x".repeat(if number == large { 200_000 } else { 0 });
        let value = format!(r#"{{"id":{number},"contenido":"{filler}"}}"#);
        kafka.assistant().put(topic, 0, None, Some(value.as_bytes()));
    }
}

/// The numbers of the messages that a consumer printed whole.
fn printed(consumer: &Program) -> Vec<u64> {
    let whole = |text: &String| serde_json::from_str::<serde_json::Value>(text).is_ok();
    numbers_of(consumer.received().iter().filter(|text| whole(text)))
}

/// What is printed, run for run, where the first ends over [`LAST`] by `signal`.
fn printed_by_both(kafka: &Kafka, mode: &str, signal: &str) -> (Vec<u64>, Vec<u64>) {
    let (topic, group) = (unique("pedidos"), unique("grupo"));
    kafka.assistant().create_topic(&topic, 1, 1, &[]);
    put_numbered(kafka, &topic, MESSAGES, LAST);
    let start = || {
        let start = Program::consumer_start(kafka, "consumer1", &topic, &group).set("consumer.commit", mode);
        start.set("consumer.session_timeout_ms", "6000")
    };
    let mut first = start().held().start();
    first.wait_for_log(&["received", &format!("offset={LAST}")], PATIENCE);
    first.signal(signal);
    if signal == "TERM" {
        first.wait_for_log(&["stopping"], PATIENCE);
        first.release();
        assert_eq!(first.wait(PATIENCE), Some(0));
    } else {
        assert_eq!(first.wait(PATIENCE), None);
        first.release();
    }
    first.wait_for_outputs();
    let mut second = start().start();
    eventually("all messages are printed", PATIENCE, || {
        printed(&second).ends_with(&[MESSAGES - 1]).then_some(())
    });
    kafka.assistant().wait_for_commits(&group, &topic);
    second.stop();
    (printed(&first), printed(&second))
}

fn numbers(range: Range<u64>) -> Vec<u64> {
    range.collect()
}

fn killed_in_the_middle_of_a_poll_it_repeats_the_poll_or_one_message(version: &'static str) {
    let kafka = Kafka::shared(version);
    for (mode, goes_on_at) in [("poll", 0), ("message", LAST)] {
        let (first, second) = printed_by_both(kafka, mode, "KILL");
        assert_eq!(first, numbers(0..LAST), "{mode}");
        assert_eq!(second, numbers(goes_on_at..MESSAGES), "{mode}");
    }
}

fn a_stop_in_the_middle_of_a_poll_commits_what_is_handled(version: &'static str) {
    let (first, second) = printed_by_both(Kafka::shared(version), "poll", "TERM");
    assert!(first.len() as u64 > LAST, "{first:?}");
    assert_eq!([first, second].concat(), numbers(0..MESSAGES));
}

/// Where the random numbers begin that say after how many messages a consumer is killed.
const SEED: u64 = 20_261_121;

/// How often each consumer is killed.
const KILLS: usize = 4;

/// A consumer of a group of its own that commits in one mode, and is killed again and again.
struct Killed<'a> {
    kafka: &'a Kafka,
    topic: &'a str,
    group: String,
    mode: &'static str,
    random: u64,
}

impl Killed<'_> {
    const PARTITIONS: usize = 2;
    const MESSAGES: usize = 6000;
    const FETCH_BYTES: usize = 4096;
    const TEMPLATE: &'static str = r#"{"id":%d,"contenido":"Hola desde Kafka"}"#;

    fn start(&self) -> Program {
        let start = Program::consumer_start(self.kafka, "consumer1", self.topic, &self.group);
        start
            .set("consumer.commit", self.mode)
            .set("consumer.session_timeout_ms", "6000")
            .set("consumer.fetch_max_bytes_per_partition", &Self::FETCH_BYTES.to_string())
            .start()
    }

    /// How many messages come again after a kill, at most.
    fn bound(&self) -> usize {
        match self.mode {
            "message" => 1,
            "pipelined" => PIPELINED,
            // In the crate's format a message has 26 bytes more than its value.
            "poll" => Self::PARTITIONS * (Self::FETCH_BYTES / (Self::TEMPLATE.len() - 1 + 26)),
            other => panic!("no mode {other}"),
        }
    }

    /// From 1 to 400 (xorshift).
    fn next_point(&mut self) -> usize {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        (self.random % 400) as usize + 1
    }

    fn run(mut self) {
        let mut handled = BTreeSet::new();
        for kill in 0..=KILLS {
            let point = self.next_point();
            let mut consumer = self.start();
            if kill < KILLS {
                consumer.wait_for_messages(point, PATIENCE);
                consumer.signal("KILL");
                assert_eq!(consumer.wait(PATIENCE), None, "it ends by the signal");
            } else {
                eventually("all messages are printed", RECOVERY, || {
                    let printed = numbers_of(consumer.received());
                    let all = handled.len() + printed.iter().filter(|n| !handled.contains(*n)).count();
                    (all == Self::MESSAGES).then_some(())
                });
                self.kafka.assistant().wait_for_commits(&self.group, self.topic);
                consumer.stop();
            }
            consumer.wait_for_outputs();
            self.check(kill, point, &mut handled, &numbers_of(consumer.received()));
        }
    }

    fn check(&self, kill: usize, point: usize, handled: &mut BTreeSet<u64>, printed: &[u64]) {
        let place = format!("{}, seed {SEED}, after {kill} kills, the next after {point}", self.mode);
        let own: BTreeSet<u64> = printed.iter().copied().collect();
        assert_eq!(own.len(), printed.len(), "{place}: one consumer prints nothing twice");
        let again = own.intersection(handled).count();
        println!("{place}: {} printed, {again} of them again", printed.len());
        let bound = if kill == 0 { 0 } else { self.bound() };
        assert!(again <= bound, "{place}: {again} printed again, {bound} allowed");
        handled.extend(own);
    }
}

/// The three consumers run at the same time: after each kill they wait until the group has noticed.
fn killed_again_and_again_each_mode_loses_nothing_and_repeats_no_more_than_it_says(version: &'static str) {
    let kafka = Kafka::shared(version);
    let topic = unique("pedidos");
    kafka.assistant().create_topic(&topic, Killed::PARTITIONS as u32, 1, &[]);
    kafka.assistant().produce(&topic, "none", -1, Killed::TEMPLATE, Killed::MESSAGES);
    thread::scope(|scope| {
        for (random, mode) in (SEED..).zip(["message", "pipelined", "poll"]) {
            let killed = Killed { kafka, topic: &topic, group: unique("grupo"), mode, random };
            scope.spawn(|| killed.run());
        }
    });
}

/// The reader of its output holds it in the middle of the first message, until another has the partition.
fn frozen_for_longer_than_its_session_it_cannot_commit_in_any_mode(version: &'static str) {
    let kafka = Kafka::shared(version);
    for mode in ["message", "pipelined", "poll"] {
        let (topic, group) = (unique("pedidos"), unique("grupo"));
        kafka.assistant().create_topic(&topic, 1, 1, &[]);
        let large = format!(r#"{{"id":0,"contenido":"{}"}}"#, "x".repeat(200_000));
        kafka.assistant().put(&topic, 0, None, Some(large.as_bytes()));
        kafka.assistant().produce(&topic, "none", 0, r#"{"id":1%d}"#, 300);
        let start = |name| {
            let start = Program::consumer_start(kafka, name, &topic, &group);
            start.set("consumer.commit", mode).set("consumer.session_timeout_ms", "6000")
        };
        let mut frozen = start("consumer1").held().start();
        frozen.wait_for_log(&["received", "offset=0"], PATIENCE);
        frozen.signal("STOP");
        let other = start("consumer2").start();
        other.wait_for_messages(301, PATIENCE);
        kafka.assistant().wait_for_commits(&group, &topic);
        frozen.signal("CONT");
        frozen.release();
        frozen.wait_for_messages(1, PATIENCE);
        kafka.assistant().wait_for_members(&group, &["consumer1", "consumer2"], 0);
        let committed = kafka.assistant().committed(&group, &topic);
        assert_eq!(committed.get(&0), Some(&301), "{mode}: the late commit was refused");
        let again = frozen.received_count();
        assert!(mode == "poll" || again <= PIPELINED, "{mode}: {again} handled by both");
        assert!(mode != "message" || again == 1, "{mode}: {again} handled by both");
    }
}

fn pipelined(kafka: &Kafka, name: &str, topic: &str, group: &str) -> Start {
    Program::consumer_start(kafka, name, topic, group).set("consumer.commit", "pipelined")
}

fn started(start: Start) -> Program {
    let consumer = start.start();
    consumer.wait_for_line(WAITING, PATIENCE);
    consumer
}

fn pipelined_rebalances_and_stops_under_load_repeat_nothing(version: &'static str) {
    let kafka = Kafka::shared(version);
    let (topic, group) = (unique("mi-topico"), unique("grupo"));
    let producer = Program::producer(kafka, &topic);
    let start = |name| started(pipelined(kafka, name, &topic, &group));
    let mut consumers = vec![start("consumer1")];
    let load = Load::start(producer.address(), 8, u64::MAX);
    consumers[0].wait_for_messages(200, PATIENCE);
    for round in 0..3 {
        let joining = start("consumer2");
        joining.wait_for_messages(100, PATIENCE);
        consumers.push(joining);
        // In turn the one that came first and the one that came last: the other takes over.
        let (at, stays) = if round % 2 == 0 { (round, round + 1) } else { (round + 1, round) };
        consumers[at].stop();
        consumers[at].wait_for_outputs();
        let so_far = consumers[stays].received_count();
        consumers[stays].wait_for_messages(so_far + 100, PATIENCE);
        consumers.swap(at, round);
    }
    let book = load.finish();
    let everyone: Vec<&Program> = consumers.iter().collect();
    wait_for_messages(&everyone, book.stored.len(), RECOVERY);
    kafka.assistant().wait_for_commits(&group, &topic);
    book.check(&numbers_of(received_by(&everyone)), 0);
    assert_eq!(book.total(), book.stored.len(), "every message was stored");
}

fn pipelined_a_broker_that_restarts_costs_nothing_and_repeats_no_more_than_was_on_its_way(
    version: &'static str,
) {
    let kafka = Kafka::start(version, 1);
    let (topic, group) = (unique("mi-topico"), unique("grupo"));
    let producer = Program::producer(&kafka, &topic);
    let consumers = ["consumer1", "consumer2"].map(|name| started(pipelined(&kafka, name, &topic, &group)));
    let load = Load::start(producer.address(), 16, u64::MAX);
    let book = load.outlast_a_stop_and_a_kill(&kafka);
    book.check_topic(&kafka, &topic);
    book.check_consumers(&[&consumers[0], &consumers[1]], 2 * PIPELINED);
    kafka.assistant().wait_for_commits(&group, &topic);
}

/// The reader of its output holds it in the middle of number 10, until the broker stands still.
fn pipelined_ahead_of_a_broker_that_stands_still_it_handles_a_hundred_messages_and_no_more(
    version: &'static str,
) {
    const WAITS_AT: u64 = 10;
    const AHEAD: u64 = WAITS_AT + PIPELINED as u64;
    const COUNT: u64 = 400;
    let kafka = Kafka::start(version, 1);
    let (topic, group) = (unique("pedidos"), unique("grupo"));
    kafka.assistant().create_topic(&topic, 1, 1, &[]);
    put_numbered(&kafka, &topic, COUNT, WAITS_AT);
    let start = || {
        let start = pipelined(&kafka, "consumer1", &topic, &group);
        start.set("consumer.session_timeout_ms", "6000")
    };
    let mut first = start().held().start();
    first.wait_for_log(&["received", &format!("offset={WAITS_AT}")], PATIENCE);
    eventually("all before it is committed", PATIENCE, || {
        (kafka.assistant().committed(&group, &topic).get(&0) == Some(&(WAITS_AT as i64))).then_some(())
    });
    kafka.freeze_node(0);
    first.release();
    eventually("it goes on", PATIENCE, || (printed(&first).len() as u64 >= AHEAD).then_some(()));
    first.signal("KILL");
    first.wait(PATIENCE);
    first.wait_for_outputs();
    assert_eq!(printed(&first), numbers(0..AHEAD));
    kafka.thaw_node(0);
    let mut second = start().start();
    eventually("all messages are printed", RECOVERY, || {
        printed(&second).ends_with(&[COUNT - 1]).then_some(())
    });
    kafka.assistant().wait_for_commits(&group, &topic);
    second.stop();
    let second = printed(&second);
    // The commit that was sent while the broker stood still may have arrived.
    let from = second.first().copied().unwrap_or_default();
    assert!((WAITS_AT..=AHEAD).contains(&from), "it goes on at {from}");
    assert_eq!(second, numbers(from..COUNT));
}
