//! Which messages handlers get: JSON alone, or all as they are.

use std::fs;

use super::scene::Scene;
use crate::support::program::{Start, WAITING};
use crate::support::{EMBEDDED, NEWEST, eventually_equal, run_on, unique};

run_on! {
    mod kafka_4_3 on NEWEST {
        handlers_get_what_is_no_json_only_where_any_payload_is_asked_for,
        without_a_handler_any_payload_is_printed_and_done,
    }
    mod embedded on EMBEDDED {
        handlers_get_what_is_no_json_only_where_any_payload_is_asked_for,
        without_a_handler_any_payload_is_printed_and_done,
    }
}

/// A tombstone, an empty value, text, bytes, and JSON.
const VALUES: [Option<&[u8]>; 5] =
    [None, Some(b""), Some("señal, no JSON\n".as_bytes()), Some(b"\xff\0\xfe"), Some(b"{ \"a\": 1 }\n")];

fn handlers_get_what_is_no_json_only_where_any_payload_is_asked_for(version: &'static str) {
    let scene = Scene::new(version, 1);
    for value in VALUES {
        scene.kafka.assistant().put(&scene.topic, 0, Some(b"k"), value);
    }
    let script = "begin $1; cat >$1/$POINT_TO_POINT_OFFSET; echo \"${POINT_TO_POINT_NULL-none}\" >>$1/nulls";
    let mut any = scene.consumer(script).set("consumer.payload", "any").start();
    scene.wait_for_commits();
    any.stop();
    let got = |offset: usize| fs::read(scene.file(&offset.to_string())).expect("it was handled");
    for (offset, value) in VALUES.iter().enumerate() {
        assert_eq!(got(offset), value.unwrap_or_default(), "{offset}");
    }
    // Null is told apart from empty.
    assert_eq!(scene.lines("nulls"), ["1", "none", "none", "none", "none"]);
    assert!(scene.dead_places().is_empty());

    let handled = scene.begun().len();
    let group = unique("grupo");
    let _json = scene.consumer(script).set("consumer.group", &group).start();
    scene.kafka.assistant().wait_for_commits(&group, &scene.topic);
    assert_eq!(scene.begun()[handled..], [(4, 1)], "the others are dead letters at once");
    eventually_equal("so they are", &4, || scene.dead_letters().len());
    let letters = scene.dead_letters();
    for (letter, value) in letters.iter().zip(VALUES) {
        assert_eq!(letter.value.as_deref(), value);
    }
}

/// By the work queue, and by each of the loops that print one message at a time.
fn without_a_handler_any_payload_is_printed_and_done(version: &'static str) {
    let scene = Scene::new(version, 1);
    for value in VALUES {
        scene.kafka.assistant().put(&scene.topic, 0, Some(b"k"), value);
    }
    for (name, concurrency) in
        [("consumer1", "4"), ("consumer1", "1"), ("consumer_pull", "1"), ("consumer_push", "1")]
    {
        let group = unique("grupo");
        let start = Start::program(name).on(scene.kafka).set("kafka.topic", &scene.topic);
        let start = start.set("consumer.group", &group).set("consumer.concurrency", concurrency);
        let mut consumer =
            start.set("consumer.payload", "any").set("consumer.auto_commit_interval_ms", "100").start();
        scene.kafka.assistant().wait_for_commits(&group, &scene.topic);
        consumer.stop();
        consumer.wait_for_outputs();
        let marked = |text: &str| format!("Mensaje recibido (no es JSON): {text}");
        let expected = [
            WAITING.to_owned(),
            marked(""),
            marked(""),
            marked("señal, no JSON\\n"),
            marked("\\xff\\u{0}\\xfe"),
            "Mensaje recibido: {\"a\":1}".to_owned(),
        ];
        assert_eq!(consumer.lines(), expected, "{name} with {concurrency} at a time");
    }
    assert!(scene.dead_places().is_empty());
}
