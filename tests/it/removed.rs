//! Records that the log has lost before their group handled them: a consumer says so once, and they are no
//! lag.

use crate::support::assistant::Assistant;
use crate::support::kafka::Kafka;
use crate::support::program::{Program, Start, WAITING};
use crate::support::{NEWEST, PATIENCE, eventually, eventually_equal, run_on, unique};

run_on! {
    mod kafka_4_3 on NEWEST {
        what_was_removed_before_it_was_handled_is_told_once_and_is_no_lag,
        what_is_removed_under_a_consumer_at_work_is_no_lag_once_what_it_has_is_handled,
        what_was_done_before_it_was_removed_is_not_told,
    }
}

/// The lines that tell of removed messages.
fn told(consumer: &Program) -> Vec<String> {
    consumer.log().into_iter().filter(|line| line.contains("removed before group")).collect()
}

fn wait_for_commit(assistant: &Assistant, (group, topic): (&str, &str), partition: i32, offset: i64) {
    eventually_equal(&format!("{group} has committed {offset}"), &Some(offset), || {
        assistant.committed(group, topic).get(&partition).copied()
    });
}

/// All that is left of the log is its end.
fn what_was_removed_before_it_was_handled_is_told_once_and_is_no_lag(version: &'static str) {
    let kafka = Kafka::shared(version);
    let assistant = kafka.assistant();
    let modes = [
        ("consumer.commit", "message"),
        ("consumer.commit", "poll"),
        ("consumer.commit", "pipelined"),
        ("consumer.handler", "[\"true\"]"),
    ];
    for (key, value) in modes {
        let (topic, group) = (unique("mi-topico"), unique("grupo"));
        assistant.create_topic(&topic, 2, 1, &[]);
        let start = || Program::consumer_start(kafka, "consumer1", &topic, &group).set(key, value);
        assistant.produce(&topic, "none", 0, "%d", 10);
        let mut first = start().start();
        wait_for_commit(assistant, (&group, &topic), 0, 10);
        first.stop();
        assert!(told(&first).is_empty(), "{:?}", told(&first));
        assistant.produce(&topic, "none", 0, "1%d", 7);
        assistant.trim(&topic, 0, 17);

        let mut second = start().start();
        let words = ["warn", &format!("{group} handled them: 7 messages of {topic}-0, offsets 10 to 16 ")];
        second.wait_for_log(&words, PATIENCE);
        wait_for_commit(assistant, (&group, &topic), 0, 17);
        second.stop();
        assert_eq!(told(&second).len(), 1, "{value}: {:?}", told(&second));

        let third = start().start();
        assistant.produce(&topic, "none", 0, "2%d", 1);
        wait_for_commit(assistant, (&group, &topic), 0, 18);
        assert!(told(&third).is_empty(), "{value}: {:?}", told(&third));
    }
}

/// The consumer has a message in hand, whose output nobody reads, and others in memory, while all are
/// removed.
fn what_is_removed_under_a_consumer_at_work_is_no_lag_once_what_it_has_is_handled(version: &'static str) {
    const MESSAGES: i64 = 31;
    let kafka = Kafka::shared(version);
    let assistant = kafka.assistant();
    let (topic, group) = (unique("mi-topico"), unique("grupo"));
    assistant.create_topic(&topic, 1, 1, &[]);
    // One is more than a pipe holds, and all are more than is fetched ahead.
    let large = format!("\"{}\"", "x".repeat(200_000));
    for _ in 0..MESSAGES {
        assistant.put(&topic, 0, None, Some(large.as_bytes()));
    }
    let mut consumer = Program::consumer_start(kafka, "consumer1", &topic, &group).held().start();
    consumer.wait_for_log(&["received", "offset=0"], PATIENCE);
    assistant.trim(&topic, 0, MESSAGES);
    consumer.release();
    let line = consumer.wait_for_log(&["warn", "removed before group", &format!("{topic}-0")], PATIENCE);
    wait_for_commit(assistant, (&group, &topic), 0, MESSAGES);
    consumer.stop();
    consumer.wait_for_outputs();
    let gone: usize = {
        let words: Vec<&str> = line.split_whitespace().collect();
        let place = words.iter().position(|word| word.starts_with("message")).expect("a number of messages");
        words[place - 1].parse().expect("a number")
    };
    assert_eq!(consumer.received_count() + gone, MESSAGES as usize, "{line}");
    assert_eq!(told(&consumer).len(), 1, "{:?}", told(&consumer));
}

/// A message that waits holds up the committed offset, and what is behind it is done.
fn what_was_done_before_it_was_removed_is_not_told(version: &'static str) {
    let kafka = Kafka::shared(version);
    let assistant = kafka.assistant();
    let (topic, group) = (unique("mi-topico"), unique("grupo"));
    assistant.create_topic(&topic, 1, 1, &[]);
    let handler = "[\"sh\", \"-c\", \"test $POINT_TO_POINT_OFFSET -gt 0\"]";
    let start = || -> Start {
        let start = Program::consumer_start(kafka, "consumer1", &topic, &group);
        let start = start.set("consumer.handler", handler).set("retry.initial_backoff_ms", "600000");
        start.set("retry.max_backoff_ms", "600000").set("consumer.concurrency", "4")
    };
    assistant.produce(&topic, "none", 0, "%d", 10);
    let mut first = start().start();
    eventually("the note says what is done", PATIENCE, || {
        let (offset, note) = assistant.commit_of(&group, &topic, 0)?;
        (offset == 0 && note.contains("done=9:")).then_some(())
    });
    first.stop();
    assistant.trim(&topic, 0, 10);
    let mut second = start().start();
    second.wait_for_line(WAITING, PATIENCE);
    second.wait_for_log(&["warn", &format!("1 message of {topic}-0, offsets 0 to 9 ")], PATIENCE);
    wait_for_commit(assistant, (&group, &topic), 0, 10);
    second.stop();
}
