//! What handler programs write on standard error: it goes where the consumer logs, and the last of it into
//! the dead letter.

use super::{Ended, Scene};
use crate::support::assistant::Record;
use crate::support::kafka::Kafka;
use crate::support::program::{Program, Start};
use crate::support::{EMBEDDED, NEWEST, PATIENCE, run_on};

run_on! {
    mod kafka_4_3 on NEWEST {
        a_letter_has_the_last_that_the_handler_wrote_on_standard_error,
        a_letter_that_is_too_large_with_it_is_stored_without_it,
        of_a_batch_the_letter_says_that_what_was_written_may_be_about_others,
    }
    mod embedded on EMBEDDED {
        a_letter_has_the_last_that_the_handler_wrote_on_standard_error,
        of_a_batch_the_letter_says_that_what_was_written_may_be_about_others,
    }
}

const STDERR: &str = "kafka_dlt-handler-stderr";
const STDERR_MESSAGES: &str = "kafka_dlt-handler-stderr-messages";

fn consumer(scene: &Scene<'_>, command: &[&str]) -> Start {
    let start = Program::consumer_start(scene.kafka, "consumer1", &scene.topic, &scene.group);
    let start = start.set("consumer.handler", &serde_json::to_string(command).unwrap());
    start.set("retry.initial_backoff_ms", "20")
}

/// The letters, once all messages are done.
fn letters(scene: &Scene<'_>) -> Vec<Record> {
    scene.wait_for_commits();
    scene.kafka.assistant().read(&scene.dead(), false)
}

fn a_letter_has_the_last_that_the_handler_wrote_on_standard_error(version: &'static str) {
    let scene = Scene::new(Kafka::shared(version), 1);
    scene.kafka.assistant().put(&scene.topic, 0, None, Some(b"1"));
    let script = "head -c 9000 /dev/zero | tr '\\0' x >&2; printf '\\n\\033[1mno stock, attempt %s\\n' \
                  $POINT_TO_POINT_ATTEMPT >&2; exit 1";
    let start = consumer(&scene, &["sh", "-c", script]).set("retry.max_attempts", "2");
    let consumer = start.start();
    let letters = letters(&scene);
    assert_eq!(letters.len(), 1);
    let stderr = letters[0].header(STDERR).expect("what it wrote");
    assert_eq!(stderr.len(), 4_096);
    assert!(stderr.ends_with(b"xx\n\x1b[1mno stock, attempt 2\n"), "{:?}", String::from_utf8_lossy(stderr));
    assert_eq!(letters[0].header(STDERR_MESSAGES), None);
    // It goes where it went before, too.
    for attempt in ["1", "2"] {
        consumer.wait_for_log(&[&format!("no stock, attempt {attempt}")], PATIENCE);
    }
    assert!(consumer.log().iter().any(|line| line.len() == 9_000 && line.chars().all(|c| c == 'x')));

    let list = scene.run(&["list"]);
    let row = list.lines.last().expect("a letter");
    assert!(row.contains("exit status: 1; stderr: \\u{1b}[1mno stock, attempt 2 "), "{row}");
    let show = scene.run(&["show", "0:0"]).lines;
    let shown: Vec<&String> = show.iter().filter(|line| line.starts_with("stderr ")).collect();
    assert_eq!(shown.len(), 2, "{show:?}");
    assert_eq!(shown[1], "stderr     \\u{1b}[1mno stock, attempt 2");
    // No message of it has what the handler wrote.
    scene.well();
    let again = Ended::of(scene.start(&["replay"]).start());
    assert_eq!(again.last(), "replayed 1, failed 0, left 0");
    let replayed = scene.messages().pop().expect("the message");
    assert_eq!((replayed.header(STDERR), replayed.header("point-to-point-replays")), (None, Some(&b"1"[..])));
}

fn a_letter_that_is_too_large_with_it_is_stored_without_it(version: &'static str) {
    let scene = Scene::new(Kafka::shared(version), 1);
    let assistant = scene.kafka.assistant();
    assistant.create_topic(&scene.dead(), 1, 1, &["max.message.bytes=3000"]);
    assistant.put(&scene.topic, 0, None, Some(b"1"));
    // Bytes that do not become fewer by compression.
    let script = "head -c 4096 /dev/urandom | od -An -tx1 -v >&2; exit 65";
    let _consumer = consumer(&scene, &["sh", "-c", script]).start();
    let letters = letters(&scene);
    assert_eq!((letters.len(), letters[0].header(STDERR)), (1, None));
    assert!(letters[0].header("kafka_dlt-exception-message").is_some());
}

/// The handler dies of the first message while it has two.
fn of_a_batch_the_letter_says_that_what_was_written_may_be_about_others(version: &'static str) {
    let scene = Scene::new(Kafka::shared(version), 1);
    for value in ["1", "2"] {
        scene.kafka.assistant().put(&scene.topic, 0, None, Some(value.as_bytes()));
    }
    let start = consumer(&scene, &["sh", "-c", "read line; echo out of paper >&2; exit 3"]);
    let start = start.set("consumer.handler_mode", "lines").set("consumer.handler_batch", "2");
    let _consumer = start.set("retry.max_attempts", "1").start();
    let letters = letters(&scene);
    let told: Vec<_> =
        letters.iter().map(|letter| (letter.header(STDERR), letter.header(STDERR_MESSAGES))).collect();
    let wrote = Some(&b"out of paper\n"[..]);
    assert_eq!(told, [(wrote, Some(&b"2"[..])), (wrote, None)]);
    let show = scene.run(&["show", "0:0"]).lines;
    let shown: Vec<&String> = show.iter().filter(|line| line.starts_with("stderr ")).collect();
    let several = "stderr     (written while the handler had 2 messages at once)";
    assert_eq!(shown, [several, "stderr     out of paper"]);
}
