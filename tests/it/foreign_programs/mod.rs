//! Programs of strangers, which depend on the `kafka` crate alone and leave the client id empty
//! (tests/foreign), run against the program `adapter`, on real Kafkas and on the embedded broker; each hole
//! of that crate is driven on purpose.

pub mod stage;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::support::kafka::Kafka;
use crate::support::program::Program;
use crate::support::{EMBEDDED, NEWEST, OLDEST, PATIENCE, eventually, run_on};
use stage::{Stage, assert_all_once, errors, places, printed, wait_for_printed};

run_on! {
    mod kafka_4_3 on NEWEST {
        a_group_that_commits_each_message_gets_each_once_through_three_rebalances,
        a_group_that_commits_each_polled_set_gets_each_once_through_three_rebalances,
        a_killed_consumer_gives_up_its_partitions_at_once,
        a_frozen_consumer_loses_its_partitions_and_cannot_commit_when_it_thaws,
        a_monitor_sees_the_offsets_and_never_joins,
        a_tool_commits_for_a_group_that_nobody_is_in,
        consumers_without_a_group_each_get_everything,
        a_producer_stores_what_it_says_with_each_of_its_codecs,
        a_late_answer_never_acknowledges_the_next_message,
        a_partition_that_loses_its_leader_costs_the_others_nothing as HEAVY,
        a_partition_without_leader_does_not_keep_a_consumer_from_starting as HEAVY,
        control_batches_of_transactions_are_stepped_over,
        gaps_of_compaction_are_stepped_over,
        messages_larger_than_the_fetch_size_arrive,
        null_and_empty_values_arrive_as_messages,
        a_topic_created_later_is_found_by_those_who_wait_for_it,
        an_offset_committed_at_the_first_message_skips_nothing,
        a_consumer_that_reconnects_after_idling_stays_the_member_it_was as HEAVY,
        a_consumer_that_idles_before_its_first_poll_becomes_a_member,
        two_consumers_that_reconnect_after_idling_still_get_each_message_once as HEAVY,
    }
    mod kafka_3_9 on OLDEST {
        a_group_that_commits_each_message_gets_each_once_through_three_rebalances,
        a_producer_stores_what_it_says_with_each_of_its_codecs,
    }
    mod embedded on EMBEDDED {
        a_group_that_commits_each_message_gets_each_once_through_three_rebalances,
        a_group_that_commits_each_polled_set_gets_each_once_through_three_rebalances,
        a_killed_consumer_gives_up_its_partitions_at_once,
        a_frozen_consumer_loses_its_partitions_and_cannot_commit_when_it_thaws,
        a_monitor_sees_the_offsets_and_never_joins,
        a_tool_commits_for_a_group_that_nobody_is_in,
        consumers_without_a_group_each_get_everything,
        a_producer_stores_what_it_says_with_each_of_its_codecs,
        a_late_answer_never_acknowledges_the_next_message,
        messages_larger_than_the_fetch_size_arrive,
        null_and_empty_values_arrive_as_messages,
        a_topic_created_later_is_found_by_those_who_wait_for_it,
        a_consumer_that_reconnects_after_idling_stays_the_member_it_was as HEAVY,
        a_consumer_that_idles_before_its_first_poll_becomes_a_member,
        two_consumers_that_reconnect_after_idling_still_get_each_message_once as HEAVY,
    }
}

fn two_consumers_through_three_rebalances(version: &'static str, commit: &str) {
    let kafka = Kafka::shared(version);
    let stage = Stage::with_partitions(kafka, 4);
    let commit = format!("commit={commit}");
    let first = stage.consumer(&[&commit, "work_ms=2"]);
    stage.wait_for_members(1, 4);
    stage.feed("a", 400);
    wait_for_printed(&[&first], 50);
    let second = stage.consumer(&[&commit, "work_ms=2"]);
    stage.wait_for_members(2, 2);
    stage.feed("b", 400);
    second.wait_for_lines(50, PATIENCE);
    let mut third = stage.consumer(&[&commit, "work_ms=2"]);
    stage.wait_for_members(3, 1);
    stage.feed("c", 400);
    third.wait_for_lines(30, PATIENCE);
    third.close_input();
    assert_eq!(third.wait(PATIENCE), Some(0));
    stage.wait_for_members(2, 2);
    stage.feed("d", 400);
    wait_for_printed(&[&first, &second, &third], 1_600);
    kafka.assistant().wait_for_commits(&stage.group, &stage.topic);
    assert_all_once(&stage, &[&first, &second, &third]);
    assert!(first.lines().len() >= 300 && second.lines().len() >= 200, "both worked");
}

fn a_group_that_commits_each_message_gets_each_once_through_three_rebalances(version: &'static str) {
    two_consumers_through_three_rebalances(version, "message");
}

fn a_group_that_commits_each_polled_set_gets_each_once_through_three_rebalances(version: &'static str) {
    two_consumers_through_three_rebalances(version, "set");
}

fn a_killed_consumer_gives_up_its_partitions_at_once(version: &'static str) {
    let stage = Stage::with_partitions(Kafka::shared(version), 4);
    let (victim, survivor) = (stage.consumer(&[]), stage.consumer(&[]));
    stage.wait_for_members(2, 2);
    stage.feed("a", 100);
    wait_for_printed(&[&victim, &survivor], 100);
    victim.signal("KILL");
    // The session lasts five minutes, patience one: the end of the connection is what counts.
    stage.wait_for_members(1, 4);
    stage.feed("b", 100);
    wait_for_printed(&[&victim, &survivor], 200);
    stage.kafka.assistant().wait_for_commits(&stage.group, &stage.topic);
    assert!(printed(&[&victim, &survivor]) <= 201, "one message at most is printed twice");
}

fn a_frozen_consumer_loses_its_partitions_and_cannot_commit_when_it_thaws(version: &'static str) {
    let kafka = Kafka::shared(version);
    let stage = Stage::with_settings(kafka, &[("consumer.max_processing_ms", "10000")]);
    kafka.assistant().create_topic(&stage.topic, 2, 1, &[]);
    let (frozen, other) = (stage.consumer(&["work_ms=20"]), stage.consumer(&["work_ms=20"]));
    stage.wait_for_members(2, 1);
    stage.feed("a", 400);
    frozen.wait_for_lines(20, PATIENCE);
    frozen.signal("STOP");
    stage.wait_for_members(1, 2);
    eventually("the other prints what is left", PATIENCE, || {
        let distinct: BTreeSet<_> = places(&[&frozen, &other]).into_iter().collect();
        (distinct.len() == 400).then_some(())
    });
    kafka.assistant().wait_for_commits(&stage.group, &stage.topic);
    let ends = kafka.assistant().committed(&stage.group, &stage.topic);
    frozen.signal("CONT");
    stage.wait_for_members(2, 1);
    assert_eq!(kafka.assistant().committed(&stage.group, &stage.topic), ends, "the late commit was refused");
    stage.feed("b", 100);
    eventually("everything is printed", PATIENCE, || {
        let distinct: BTreeSet<_> = places(&[&frozen, &other]).into_iter().collect();
        (distinct.len() == 500).then_some(())
    });
    assert!(printed(&[&frozen, &other]) <= 501, "only the message in hand is printed twice");
}

fn a_monitor_sees_the_offsets_and_never_joins(version: &'static str) {
    let kafka = Kafka::shared(version);
    let stage = Stage::with_partitions(kafka, 2);
    let consumer = stage.consumer(&[]);
    stage.wait_for_members(1, 2);
    for _ in 0..5 {
        kafka.assistant().put(&stage.topic, 0, None, Some(b"x"));
    }
    kafka.assistant().put(&stage.topic, 1, None, Some(b"y"));
    wait_for_printed(&[&consumer], 6);
    stage.committed_is(&[(0, 5), (1, 1)]);
    let mut monitor = stage.monitor();
    for round in 1..=5 {
        monitor.write_line("look");
        monitor.wait_for_lines(round * 4, PATIENCE);
        let lines = monitor.lines();
        assert_eq!(
            lines[lines.len() - 4..],
            ["earliest 0:0,1:0", "latest 0:5,1:1", "committed 0:5,1:1", "done"]
        );
    }
    stage.wait_for_members(1, 2);
    assert_eq!(errors(&[&consumer]), Vec::<String>::new(), "the monitor disturbs nobody");
}

fn a_tool_commits_for_a_group_that_nobody_is_in(version: &'static str) {
    let kafka = Kafka::shared(version);
    let stage = Stage::with_partitions(kafka, 1);
    for _ in 0..5 {
        kafka.assistant().put(&stage.topic, 0, None, Some(b"x"));
    }
    let mut monitor = stage.monitor();
    monitor.write_line("commit 0 3");
    monitor.wait_for_line("done", PATIENCE);
    stage.committed_is(&[(0, 3)]);
    assert!(kafka.assistant().group(&stage.group).members.is_empty());
    let consumer = stage.consumer(&[]);
    wait_for_printed(&[&consumer], 2);
    stage.committed_is(&[(0, 5)]);
    assert_eq!(places(&[&consumer]), [(0, 3, "x".to_owned()), (0, 4, "x".to_owned())]);
}

fn consumers_without_a_group_each_get_everything(version: &'static str) {
    let stage = Stage::with_partitions(Kafka::shared(version), 2);
    let readers =
        [stage.start("foreign_consumer", &[]).start(), stage.start("foreign_consumer", &[]).start()];
    stage.feed("a", 300);
    for reader in &readers {
        reader.wait_for_lines(300, PATIENCE);
        assert_all_once(&stage, &[reader]);
    }
}

fn a_producer_stores_what_it_says_with_each_of_its_codecs(version: &'static str) {
    let stage = Stage::with_partitions(Kafka::shared(version), 3);
    for compression in ["none", "gzip", "snappy"] {
        let mut producer = stage.producer(&[&format!("compression={compression}")]);
        for number in 0..50 {
            producer.write_line(&format!("{compression} {number} {}", "relleno ".repeat(20)));
        }
        producer.close_input();
        assert_eq!(producer.wait(PATIENCE), Some(0));
        producer.wait_for_outputs();
        assert!(producer.lines().iter().all(|line| line.starts_with("sent ")), "{:?}", producer.lines());
    }
    let consumer = stage.consumer(&[]);
    wait_for_printed(&[&consumer], 150);
    assert_all_once(&stage, &[&consumer]);
    let distinct: BTreeSet<String> = places(&[&consumer]).into_iter().map(|(_, _, value)| value).collect();
    assert_eq!(distinct.len(), 150, "each line once");
}

/// The crate takes whatever answer comes next for its own: an answer that is late becomes the false
/// acknowledgement of the next message.
fn a_late_answer_never_acknowledges_the_next_message(version: &'static str) {
    let kafka = Kafka::start(version, 1);
    let settings = [("kafka.delivery_timeout_ms", "5000"), ("kafka.request_timeout_ms", "2000")];
    let stage = Stage::with_settings(&kafka, &settings);
    kafka.assistant().create_topic(&stage.topic, 1, 1, &[]);
    let mut producer = stage.producer(&["partition=0", "ack_ms=2000"]);
    producer.write_line("before");
    producer.wait_for_line("sent before", PATIENCE);
    kafka.freeze_node(0);
    producer.write_line("during");
    // Well inside the 120 s after which the crate gives up by itself.
    producer.wait_for_line("failed during", PATIENCE);
    kafka.thaw_node(0);
    eventually("a message is stored again", PATIENCE, || {
        let count = producer.lines().len();
        producer.write_line(&format!("after {count}"));
        producer.wait_for_lines(count + 1, PATIENCE);
        producer.lines()[count].starts_with("sent").then_some(())
    });
    producer.write_line("last");
    producer.wait_for_line("sent last", PATIENCE);
    let records = kafka.assistant().read(&stage.topic, false);
    let stored: Vec<String> =
        records.into_iter().map(|r| String::from_utf8(r.value.unwrap_or_default()).expect("UTF-8")).collect();
    let mut times: BTreeMap<&str, usize> = BTreeMap::new();
    stored.iter().for_each(|value| *times.entry(value).or_default() += 1);
    for value in producer.lines().iter().filter_map(|line| line.strip_prefix("sent ")) {
        assert_eq!(times.get(value), Some(&1), "{value:?} was acknowledged: {stored:?}");
    }
    assert_eq!(stored.last().map(String::as_str), Some("last"));
}

/// Three nodes, a topic with an unreplicated partition on each, one node killed: a consumer that was there
/// before (`early`) or comes meanwhile gets all that the living partitions hold, and the rest when the node
/// is back.
fn a_partition_loses_its_leader(version: &'static str, early: bool) {
    let kafka = Kafka::start(version, 3);
    let stage = Stage::with_settings(&kafka, &[]);
    let assistant = kafka.assistant();
    assistant.create_topic(&stage.topic, 3, 1, &["min.insync.replicas=1"]);
    let gone = assistant.leader(&stage.topic, 0).expect("a leader");
    let on_gone = |partition: &i32| assistant.leader(&stage.topic, *partition) == Some(gone);
    let (absent, present): (Vec<i32>, Vec<i32>) = (0..3).partition(on_gone);
    assert!(!present.is_empty(), "the partitions are on several nodes");
    let feed = |round: &str, partitions: &[i32]| {
        for partition in partitions {
            assistant.produce(&stage.topic, "none", *partition, &format!("{round}:%d"), 100);
        }
    };
    let distinct = |consumer: &Program| places(&[consumer]).into_iter().collect::<BTreeSet<_>>();

    let before = early.then(|| stage.consumer(&["work_ms=2"]));
    feed("a", &[0, 1, 2]);
    if let Some(consumer) = &before {
        wait_for_printed(&[consumer], 150);
    }
    kafka.kill_node(gone - 1);
    feed("b", &present);
    let consumer = before.unwrap_or_else(|| stage.consumer(&["work_ms=2"]));
    eventually("what the living partitions hold is printed", Duration::from_secs(120), || {
        let of_living = distinct(&consumer).iter().filter(|place| present.contains(&place.0)).count();
        (of_living == 200 * present.len()).then_some(())
    });
    kafka.start_node(gone - 1);
    feed("c", &absent);
    eventually("everything is printed", Duration::from_secs(120), || {
        (distinct(&consumer).len() == 200 * (present.len() + absent.len())).then_some(())
    });
}

/// The crate moves its offsets past the data that stands beside another partition's error, and never gives it
/// out.
fn a_partition_that_loses_its_leader_costs_the_others_nothing(version: &'static str) {
    a_partition_loses_its_leader(version, true);
}

/// The crate never asks for a partition that had no leader when it looked, and wants the offsets of all at
/// its start.
fn a_partition_without_leader_does_not_keep_a_consumer_from_starting(version: &'static str) {
    a_partition_loses_its_leader(version, false);
}

fn control_batches_of_transactions_are_stepped_over(version: &'static str) {
    let kafka = Kafka::shared(version);
    let stage = Stage::with_partitions(kafka, 1);
    let assistant = kafka.assistant();
    let consumer = stage.consumer(&["fetch_bytes=200"]);
    stage.wait_for_members(1, 1);
    for round in 0..3 {
        assistant.transaction(&stage.topic, 0, true, &format!("committed {round}:%d"), 5);
        assistant.transaction(&stage.topic, 0, false, &format!("aborted {round}:%d"), 5);
    }
    // The partition ends with a control batch: its end is above the last message for good.
    let of_committed = |consumer: &Program| {
        places(&[consumer]).iter().filter(|(_, _, value)| value.starts_with("committed")).count()
    };
    eventually("what was committed is printed", PATIENCE, || (of_committed(&consumer) == 15).then_some(()));
    let late = stage.start("foreign_consumer", &["group=otro", "fetch_bytes=200"]).start();
    eventually("what was committed is printed", PATIENCE, || (of_committed(&late) == 15).then_some(()));
    assistant.put(&stage.topic, 0, None, Some(b"end"));
    for consumer in [&consumer, &late] {
        eventually("what comes after is printed", PATIENCE, || {
            places(&[consumer]).last().is_some_and(|(_, _, value)| value == "end").then_some(())
        });
        assert_eq!(of_committed(consumer), 15, "each once");
        assert_eq!(errors(&[consumer]), Vec::<String>::new());
    }
}

fn gaps_of_compaction_are_stepped_over(version: &'static str) {
    let kafka = Kafka::shared(version);
    let stage = Stage::with_settings(kafka, &[]);
    let assistant = kafka.assistant();
    let settings = ["cleanup.policy=compact", "segment.ms=100", "min.cleanable.dirty.ratio=0.01"];
    assistant.create_topic(&stage.topic, 1, 1, &settings);
    let mut written = 0;
    let kept = eventually("compaction leaves gaps", PATIENCE, || {
        for _ in 0..10 {
            let key = format!("k{}", written % 5);
            assistant.put(&stage.topic, 0, Some(key.as_bytes()), Some(written.to_string().as_bytes()));
            written += 1;
        }
        Some(assistant.read(&stage.topic, false)).filter(|records| records.len() + 20 < written)
    });
    assert!(kept.len() >= 5);
    let consumer = stage.consumer(&["fetch_bytes=100"]);
    let last = assistant.end_offsets(&stage.topic).expect("a topic")[&0];
    stage.committed_is(&[(0, last)]);
    let offsets: Vec<i64> = places(&[&consumer]).iter().map(|(_, offset, _)| *offset).collect();
    assert!(offsets.is_sorted(), "in order: {offsets:?}");
    let offsets: BTreeSet<i64> = offsets.into_iter().collect();
    // Compaction may go on in the meantime; what is left in the end was there for the consumer.
    let left: Vec<i64> = assistant.read(&stage.topic, false).iter().map(|record| record.offset).collect();
    assert!(left.iter().all(|offset| offsets.contains(offset)), "{left:?} of {offsets:?}");
    assert_eq!(errors(&[&consumer]), Vec::<String>::new());
}

fn messages_larger_than_the_fetch_size_arrive(version: &'static str) {
    let kafka = Kafka::shared(version);
    let stage = Stage::with_partitions(kafka, 2);
    for size in [10, 300_000, 10, 900_000, 10] {
        for partition in 0..2 {
            kafka.assistant().put(&stage.topic, partition, None, Some("g".repeat(size).as_bytes()));
        }
    }
    let consumer = stage.consumer(&["fetch_bytes=1000", "retry_bytes=1000"]);
    wait_for_printed(&[&consumer], 10);
    kafka.assistant().wait_for_commits(&stage.group, &stage.topic);
    assert_all_once(&stage, &[&consumer]);
    assert_eq!(errors(&[&consumer]), Vec::<String>::new());
}

fn null_and_empty_values_arrive_as_messages(version: &'static str) {
    let kafka = Kafka::shared(version);
    let stage = Stage::with_partitions(kafka, 1);
    let consumer = stage.consumer(&[]);
    let mut producer = stage.producer(&["partition=0"]);
    kafka.assistant().put(&stage.topic, 0, Some(b"k"), None);
    kafka.assistant().put(&stage.topic, 0, None, Some(b""));
    producer.write_line("");
    producer.wait_for_line("sent ", PATIENCE);
    kafka.assistant().put(&stage.topic, 0, None, Some(b"end"));
    wait_for_printed(&[&consumer], 4);
    stage.committed_is(&[(0, 4)]);
    let empty = String::new;
    assert_eq!(
        places(&[&consumer]),
        [(0, 0, empty()), (0, 1, empty()), (0, 2, empty()), (0, 3, "end".to_owned())]
    );
}

fn a_topic_created_later_is_found_by_those_who_wait_for_it(version: &'static str) {
    let kafka = Kafka::shared(version);
    let stage = Stage::with_settings(kafka, &[]);
    let consumer = stage.consumer(&[]);
    let mut producer = stage.producer(&["partition=1", "ack_ms=1000"]);
    producer.write_line("too early");
    producer.wait_for_line("failed too early", PATIENCE);
    consumer.wait_for_log(&["error"], PATIENCE);
    kafka.assistant().create_topic(&stage.topic, 2, 1, &[]);
    let mut sent = 0;
    eventually("a message is sent", PATIENCE, || {
        let count = producer.lines().len();
        producer.write_line("in time");
        producer.wait_for_lines(count + 1, PATIENCE);
        sent += usize::from(producer.lines()[count] == "sent in time");
        (sent > 0).then_some(())
    });
    wait_for_printed(&[&consumer], 1);
    assert_all_once(&stage, &[&consumer]);
    assert_eq!(places(&[&consumer])[0], (1, 0, "in time".to_owned()));
}

/// A committed offset that equals the first offset sends the crate to its fallback; with its default,
/// `Latest`, it skips everything.
fn an_offset_committed_at_the_first_message_skips_nothing(version: &'static str) {
    let kafka = Kafka::shared(version);
    let stage = Stage::with_partitions(kafka, 1);
    let consumer = stage.consumer(&[]);
    kafka.assistant().produce(&stage.topic, "none", 0, "%d", 10);
    stage.committed_is(&[(0, 10)]);
    drop(consumer);
    eventually("the group is empty", PATIENCE, || {
        kafka.assistant().group(&stage.group).members.is_empty().then_some(())
    });
    let mut monitor = stage.monitor();
    monitor.write_line("commit 0 5");
    monitor.wait_for_line("done", PATIENCE);
    kafka.assistant().trim(&stage.topic, 0, 5);
    let consumer = stage.consumer(&["fallback=latest"]);
    wait_for_printed(&[&consumer], 5);
    stage.committed_is(&[(0, 10)]);
    assert_eq!(places(&[&consumer])[0], (0, 5, "5".to_owned()));
    assert_eq!(printed(&[&consumer]), 5);
}

/// The crate drops a connection that was idle and opens another, with the same empty client id.
fn a_consumer_that_reconnects_after_idling_stays_the_member_it_was(version: &'static str) {
    let stage = Stage::with_partitions(Kafka::shared(version), 2);
    let consumer = stage.consumer(&["idle_ms=250", "pause_ms=500"]);
    stage.wait_for_members(1, 2);
    for round in 0..5 {
        stage.feed(&format!("r{round}"), 20);
        wait_for_printed(&[&consumer], (round + 1) * 20);
        stage.wait_for_members(1, 2);
    }
    stage.kafka.assistant().wait_for_commits(&stage.group, &stage.topic);
    assert_all_once(&stage, &[&consumer]);
    assert_eq!(errors(&[&consumer]), Vec::<String>::new(), "the reconnection goes unnoticed");
}

/// The connection of the look-ups is gone when the first fetch comes on another.
fn a_consumer_that_idles_before_its_first_poll_becomes_a_member(version: &'static str) {
    let stage = Stage::with_partitions(Kafka::shared(version), 2);
    let consumer = stage.consumer(&["idle_ms=250", "first_pause_ms=600"]);
    stage.feed("a", 20);
    wait_for_printed(&[&consumer], 20);
    stage.wait_for_members(1, 2);
    stage.kafka.assistant().wait_for_commits(&stage.group, &stage.topic);
    assert_all_once(&stage, &[&consumer]);
}

/// Two members that both linger cannot be told apart by an empty client id: an error is right, plain data
/// would not be.
fn two_consumers_that_reconnect_after_idling_still_get_each_message_once(version: &'static str) {
    let stage = Stage::with_partitions(Kafka::shared(version), 4);
    let first = stage.consumer(&["idle_ms=250", "pause_ms=500"]);
    let second = stage.consumer(&["idle_ms=250", "pause_ms=620"]);
    for round in 0..5 {
        stage.feed(&format!("r{round}"), 40);
        wait_for_printed(&[&first, &second], (round + 1) * 40);
    }
    stage.kafka.assistant().wait_for_commits(&stage.group, &stage.topic);
    assert_all_once(&stage, &[&first, &second]);
}
