//! `point-to-point peek`: it shows what is in a topic, without a group, and says what is wrong with what it
//! was asked for.

use std::process::Command;

use serde_json::{Value, json};

use crate::support::assistant::{Header, Record};
use crate::support::kafka::Kafka;
use crate::support::ports::free_port;
use crate::support::program::{Program, Start, binary};
use crate::support::watchdog::Folder;
use crate::support::{EMBEDDED, NEWEST, PATIENCE, run_on, unique};

run_on! {
    mod kafka_4_3 on NEWEST {
        the_newest_of_all_partitions_are_shown_in_the_order_of_time,
        a_look_begins_at_an_offset_a_time_or_a_key,
        whatever_a_message_is_made_of_is_shown,
        what_is_removed_is_passed_over,
        the_markers_of_transactions_are_no_messages,
        messages_larger_than_the_share_of_their_partition_come_in_their_turn,
        what_comes_is_followed_until_a_stop,
        a_reader_that_has_enough_ends_it_without_a_word,
        what_is_not_there_is_told_with_what_is,
    }
    mod embedded on EMBEDDED {
        the_newest_of_all_partitions_are_shown_in_the_order_of_time,
        a_look_begins_at_an_offset_a_time_or_a_key,
        whatever_a_message_is_made_of_is_shown,
        what_is_removed_is_passed_over,
        messages_larger_than_the_share_of_their_partition_come_in_their_turn,
        what_comes_is_followed_until_a_stop,
        a_reader_that_has_enough_ends_it_without_a_word,
        what_is_not_there_is_told_with_what_is,
        following_outlasts_an_outage as HEAVY,
        where_nobody_serves_the_broker_its_topics_can_be_seen_all_the_same,
    }
}

/// What a program that has ended printed.
struct Ended {
    code: Option<i32>,
    lines: Vec<String>,
    log: Vec<String>,
}

impl Ended {
    fn of(mut program: Program) -> Ended {
        let code = program.wait(PATIENCE);
        program.wait_for_outputs();
        Ended { code, lines: program.lines(), log: program.log() }
    }

    /// The only line of a failure.
    fn complaint(&self) -> &str {
        assert_eq!((self.code, self.lines.len(), self.log.len()), (Some(1), 0, 1), "{:?}", self.log);
        &self.log[0]
    }
}

fn start(kafka: &Kafka, words: &[&str]) -> Start {
    let command = Command::new(binary("point-to-point"));
    Start::command("peek", command).arguments(&["peek"]).arguments(words).on(kafka)
}

/// What is shown, with no word on standard error.
fn shown(kafka: &Kafka, words: &[&str]) -> Vec<String> {
    let ended = Ended::of(start(kafka, words).start());
    assert_eq!((ended.code, ended.log.len()), (Some(0), 0), "{words:?}: {:?}", ended.log);
    ended.lines
}

/// What is shown as JSON.
fn objects(kafka: &Kafka, words: &[&str]) -> Vec<Value> {
    let lines = shown(kafka, &[words, &["--json"]].concat());
    lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The partitions and offsets of what is shown.
fn places(kafka: &Kafka, words: &[&str]) -> Vec<(i64, i64)> {
    let place = |object: Value| (object["partition"].as_i64().unwrap(), object["offset"].as_i64().unwrap());
    objects(kafka, words).into_iter().map(place).collect()
}

fn place(record: &Record) -> (i64, i64) {
    (record.partition.into(), record.offset)
}

/// All records of a topic in the order of time.
fn in_time(kafka: &Kafka, topic: &str) -> Vec<Record> {
    let mut records = kafka.assistant().read(topic, false);
    records.sort_by_key(|record| (record.timestamp, record.partition, record.offset));
    records
}

/// A topic of three partitions with 15 messages.
fn topic_with_messages(kafka: &Kafka) -> String {
    let topic = unique("pedidos");
    kafka.assistant().create_topic(&topic, 3, 1, &[]);
    for id in 0..15 {
        let (key, value) = (format!("k{}", id % 2), format!("{{\"id\":{id}}}"));
        // Partition 2 has most of them.
        let partition = [0, 1, 2, 2, 2][id % 5];
        kafka.assistant().put(&topic, partition, Some(key.as_bytes()), Some(value.as_bytes()));
    }
    topic
}

fn the_newest_of_all_partitions_are_shown_in_the_order_of_time(version: &'static str) {
    let kafka = Kafka::shared(version);
    let topic = topic_with_messages(kafka);
    let all: Vec<_> = in_time(kafka, &topic).iter().map(place).collect();
    assert_eq!(places(kafka, &[&topic]), all[5..]);
    for last in [0, 1, 4, 15, 1_000_000] {
        let found = places(kafka, &[&topic, "--last", &last.to_string()]);
        assert_eq!(found, all[all.len().saturating_sub(last)..], "{last}");
    }
    let of_two: Vec<_> = all.iter().copied().filter(|(partition, _)| *partition == 2).collect();
    assert_eq!(places(kafka, &[&topic, "--partition", "2", "--last", "2"]), of_two[7..]);
    // The topic of the settings, in rows.
    let rows = shown(kafka, &["--last", "2", "--set", &format!("kafka.topic={topic}")]);
    assert_eq!(rows.len(), 3, "{rows:?}");
    let words: Vec<&str> = rows[0].split_whitespace().collect();
    assert_eq!(words, ["PARTITION", "OFFSET", "TIME", "KEY", "HEADERS", "VALUE"]);
    let words: Vec<&str> = rows[2].split_whitespace().collect();
    assert_eq!(words[..2], ["2", "8"]);
    assert_eq!(words[3..], ["\"k0\"", "-", "{\"id\":14}"]);
    assert!(words[2].ends_with('Z') && words[2].contains('T'), "{rows:?}");
    assert_eq!(shown(kafka, &[&topic, "--last", "0"]), ["no messages"]);
}

fn a_look_begins_at_an_offset_a_time_or_a_key(version: &'static str) {
    let kafka = Kafka::shared(version);
    let topic = topic_with_messages(kafka);
    let records = in_time(kafka, &topic);
    let from = |first: i64| (first..9).map(|offset| (2, offset)).collect::<Vec<_>>();
    let at = |words: &[&str]| places(kafka, &[&[&topic, "--partition", "2", "--offset"], words].concat());
    assert_eq!(at(&["0"]), from(0));
    assert_eq!(at(&["7"]), from(7));
    assert_eq!(at(&["4", "--max", "1"]), [(2, 4)]);
    let of_key: Vec<_> =
        records.iter().filter(|record| record.key.as_deref() == Some(b"k1")).map(place).collect();
    assert_eq!(of_key.len(), 7);
    assert_eq!(places(kafka, &[&topic, "--key", "k1"]), of_key);
    let last = places(kafka, &[&topic, "--key", "k1", "--last", "4"]);
    assert_eq!(last.len(), 2, "of the last four: {last:?}");
    assert_eq!(last, of_key[5..]);
    let all: Vec<_> = records.iter().map(place).collect();
    assert_eq!(places(kafka, &[&topic, "--from", "1h"]), all);
    assert_eq!(shown(kafka, &[&topic, "--from", "2100-01-01"]), ["no message fits"]);
    assert_eq!(shown(kafka, &[&topic, "--key", "k"]), ["no message fits"]);
    assert_eq!(shown(kafka, &[&topic, "--key", "k", "--json"]), [""; 0]);
}

fn whatever_a_message_is_made_of_is_shown(version: &'static str) {
    let kafka = Kafka::shared(version);
    let topic = unique("pedidos");
    kafka.assistant().create_topic(&topic, 1, 1, &[]);
    let headers: [Header; 3] = [
        ("a".to_owned(), Some(b"b".to_vec())),
        ("bytes".to_owned(), Some(vec![0xff])),
        ("none".to_owned(), None),
    ];
    let put = |key, value: Option<&[u8]>| kafka.assistant().put(&topic, 0, key, value);
    kafka.assistant().put_with(&topic, 0, Some(b"k"), Some(b"{\"a\": 1}"), &headers);
    put(Some(&[0xfe]), Some(b"hola\x1b[2J"));
    put(None, None);
    let long = "x".repeat(600);
    put(None, Some(long.as_bytes()));
    put(None, Some(&[0xff, 0]));

    let found = objects(kafka, &[&topic]);
    assert_eq!(found.len(), 5);
    for (offset, object) in found.iter().enumerate() {
        assert_eq!(object["topic"], topic.as_str());
        assert_eq!(object["offset"], offset);
        assert!(object["timestamp"].as_i64().unwrap() > 1_700_000_000_000, "{object}");
    }
    let three = json!([
        { "name": "a", "value": "b" },
        { "name": "bytes", "base64": "/w==" },
        { "name": "none", "value": null },
    ]);
    assert_eq!((&found[0]["key"], &found[0]["headers"]), (&json!("k"), &three));
    assert_eq!((&found[0]["encoding"], &found[0]["value"]), (&json!("json"), &json!({ "a": 1 })));
    assert_eq!((&found[1]["key_base64"], found[1].get("key")), (&json!("/g=="), None));
    assert_eq!((&found[1]["encoding"], &found[1]["value"]), (&json!("text"), &json!("hola\u{1b}[2J")));
    assert_eq!((&found[2]["key"], &found[2]["value"]), (&Value::Null, &Value::Null));
    assert_eq!(found[3]["value"], long.as_str());
    assert_eq!((&found[4]["encoding"], &found[4]["value"]), (&json!("base64"), &json!("/wA=")));

    let rows = shown(kafka, &[&topic]);
    assert_eq!(rows.len(), 6);
    assert!(rows[1].contains("  \"k\"     a=\"b\" bytes=\"\\xff\" none=null  {\"a\": 1}"), "{rows:?}");
    assert!(rows[2].contains("  \"\\xfe\"  -") && rows[2].ends_with("  hola\\u{1b}[2J"), "{rows:?}");
    assert!(rows[3].ends_with("  -"), "{rows:?}");
    assert!(rows[4].ends_with(&format!("  {}… (600 bytes)", "x".repeat(512))), "{rows:?}");
    assert!(rows[5].ends_with("  \\xff\\u{0}"), "{rows:?}");
    assert!(shown(kafka, &[&topic, "--full"])[4].ends_with(&format!("  {long}")));
}

fn what_is_removed_is_passed_over(version: &'static str) {
    let kafka = Kafka::shared(version);
    let topic = unique("pedidos");
    kafka.assistant().create_topic(&topic, 2, 1, &[]);
    kafka.assistant().produce(&topic, "none", 0, "%d", 10);
    kafka.assistant().produce(&topic, "none", 1, "%d", 3);
    kafka.assistant().trim(&topic, 0, 7);
    kafka.assistant().trim(&topic, 1, 3);
    assert_eq!(places(kafka, &[&topic]), [(0, 7), (0, 8), (0, 9)]);
    assert_eq!(places(kafka, &[&topic, "--last", "1000000"]).len(), 3);
    assert_eq!(shown(kafka, &[&topic, "--partition", "1"]), ["no messages"]);
    let ended = Ended::of(start(kafka, &[&topic, "--partition", "0", "--offset", "6"]).start());
    let expected =
        format!("there is nothing at offset 6: it has the offsets 7 to 9 (topic {topic}, partition 0)");
    assert!(ended.complaint().ends_with(&expected), "{:?}", ended.log);
}

fn the_markers_of_transactions_are_no_messages(version: &'static str) {
    let kafka = Kafka::shared(version);
    let topic = unique("pedidos");
    kafka.assistant().create_topic(&topic, 1, 1, &[]);
    for _ in 0..6 {
        kafka.assistant().transaction(&topic, 0, true, "{\"id\":%d}", 1);
    }
    // A message and a marker each, the last one a marker: the offsets are twice as many as the messages.
    assert_eq!(places(kafka, &[&topic, "--last", "4"]), [(0, 4), (0, 6), (0, 8), (0, 10)]);
    assert_eq!(places(kafka, &[&topic]).len(), 6);
    assert_eq!(shown(kafka, &[&topic, "--partition", "0", "--offset", "11"]), ["no messages"]);
}

/// With forty partitions the share of one is less than such a message.
fn messages_larger_than_the_share_of_their_partition_come_in_their_turn(version: &'static str) {
    let kafka = Kafka::shared(version);
    let topic = unique("pedidos");
    kafka.assistant().create_topic(&topic, 40, 1, &[]);
    let large = "x".repeat(900_000);
    for partition in (0..40).rev() {
        kafka.assistant().put(&topic, partition, None, Some(large.as_bytes()));
    }
    kafka.assistant().put(&topic, 7, None, Some(b"small"));
    let expected: Vec<_> = in_time(kafka, &topic).iter().map(place).collect();
    let found = objects(kafka, &[&topic, "--last", "100"]);
    let place = |object: &Value| (object["partition"].as_i64().unwrap(), object["offset"].as_i64().unwrap());
    assert_eq!(found.iter().map(place).collect::<Vec<_>>(), expected);
    let whole = found.iter().filter(|object| object["value"] == large.as_str());
    assert_eq!(whole.count(), 40);
}

fn what_comes_is_followed_until_a_stop(version: &'static str) {
    let kafka = Kafka::shared(version);
    let topic = unique("pedidos");
    kafka.assistant().create_topic(&topic, 3, 1, &[]);
    let put = |partition, key: &[u8], value: &[u8]| {
        kafka.assistant().put(&topic, partition, Some(key), Some(value));
    };
    put(0, b"k", b"1");
    put(1, b"k", b"2");
    let follow = |words: &[&str]| {
        let words = [&[topic.as_str(), "--json", "--follow"], words].concat();
        let program = start(kafka, &words).start();
        program.wait_for_lines(1, PATIENCE);
        program
    };
    let mut all = follow(&["--last", "1"]);
    let mut by_key = follow(&["--key", "k", "--partition", "1"]);
    let mut three = follow(&["--last", "2", "--max", "3"]);
    put(2, b"other", b"3");
    put(1, b"k", b"4");
    put(1, b"other", b"5");
    all.wait_for_lines(4, PATIENCE);
    by_key.wait_for_lines(2, PATIENCE);
    assert_eq!(three.wait(PATIENCE), Some(0), "three are enough");
    all.stop();
    by_key.stop();
    for (program, mut expected) in [(all, vec![2, 3, 4, 5]), (by_key, vec![2, 4]), (three, vec![1, 2, 3])] {
        program.wait_for_outputs();
        let value = |line: &String| serde_json::from_str::<Value>(line).unwrap()["value"].as_i64().unwrap();
        let mut found: Vec<i64> = program.lines().iter().map(value).collect();
        found.sort_unstable();
        // Which of several partitions comes first is open.
        if expected.len() == 3 && found.last() == Some(&4) {
            expected[2] = 4;
        }
        assert_eq!((found, program.log()), (expected, Vec::new()));
    }
}

/// Nothing more comes, so that no write tells that the reader has gone.
fn a_reader_that_has_enough_ends_it_without_a_word(version: &'static str) {
    let kafka = Kafka::shared(version);
    let topic = unique("pedidos");
    kafka.assistant().create_topic(&topic, 1, 1, &[]);
    kafka.assistant().produce(&topic, "none", 0, "%d", 1);
    // The reader's exit code is that of the whole, so that the program's own goes to standard error.
    let read_by = |words: &[&str], reader: &str| {
        let script = format!("{{ \"$@\"; echo \"code $?\" >&2; }} | {reader}");
        let ended = Ended::of(start(kafka, words).by(&script).start());
        assert_eq!((ended.code, ended.log), (Some(0), vec!["code 0".to_owned()]));
        ended.lines
    };
    let lines = read_by(&[&topic, "--json", "--follow"], "head -n 1");
    assert!(lines.len() == 1 && lines[0].ends_with("\"value\":0}"), "{lines:?}");
    // Much more is to be printed than a pipe holds.
    kafka.assistant().produce(&topic, "none", 0, &"x".repeat(10_000), 50);
    assert_eq!(read_by(&[&topic, "--last", "100", "--json"], "true"), [""; 0]);
}

fn what_is_not_there_is_told_with_what_is(version: &'static str) {
    let kafka = Kafka::shared(version);
    let topic = unique("pedidos");
    kafka.assistant().create_topic(&topic, 3, 1, &[]);
    kafka.assistant().produce(&topic, "none", 0, "%d", 5);
    let complaint = |words: &[&str]| Ended::of(start(kafka, words).start()).complaint().to_owned();
    let nowhere = unique("nowhere");
    let said = complaint(&[&nowhere]);
    assert!(said.contains(&format!("there is no topic {nowhere} at {}", kafka.bootstrap())), "{said}");
    let said = complaint(&[&topic, "--partition", "3"]);
    assert!(said.contains(&format!("there is no partition 3: the topic {topic} has 0 to 2")), "{said}");
    for offset in ["5", "6"] {
        let said = complaint(&[&topic, "--partition", "0", "--offset", offset]);
        let what = format!("there is nothing at offset {offset}: it has the offsets 0 to 4");
        assert!(said.contains(&what) && said.contains(&topic), "{said}");
        assert_eq!(said.contains("--follow"), offset == "5", "{said}");
    }
    let said = complaint(&[&topic, "--partition", "1", "--offset", "1"]);
    assert!(said.contains("it has no messages now"), "{said}");
    let nobody = format!("kafka.bootstrap_servers=127.0.0.1:{}", free_port());
    let said = Ended::of(start(kafka, &[&topic]).arguments(&["--set", &nobody]).start());
    let address = nobody.split_once('=').unwrap().1;
    let what = format!("the topic {topic} at {address} cannot be read: broker {address} cannot be reached");
    assert!(said.complaint().contains(&what), "{:?}", said.log);
}

fn following_outlasts_an_outage(version: &'static str) {
    let kafka = Kafka::start(version, 1);
    let topic = unique("pedidos");
    kafka.assistant().create_topic(&topic, 1, 1, &[]);
    kafka.assistant().produce(&topic, "none", 0, "%d", 1);
    let mut program = start(&kafka, &[&topic, "--json", "--follow"]).start();
    program.wait_for_lines(1, PATIENCE);
    kafka.kill_node(0);
    program.wait_for_log(&["cannot be read at present", "still trying"], PATIENCE);
    kafka.start_node(0);
    program.wait_for_log(&["is read on"], PATIENCE);
    kafka.assistant().put(&topic, 0, None, Some(b"7"));
    program.wait_for_lines(2, PATIENCE);
    program.stop();
    assert!(program.lines()[1].ends_with("\"value\":7}"), "{:?}", program.lines());
    assert_eq!(program.log().len(), 2, "once each: {:?}", program.log());
}

fn where_nobody_serves_the_broker_its_topics_can_be_seen_all_the_same(_: &'static str) {
    let folder = Folder::new("alone");
    let data = folder.path().join("data").display().to_string();
    let listen = format!("127.0.0.1:{}", free_port());
    let at = |start: Start| {
        let start = start.set("embedded.listen", &listen).set("embedded.data_dir", &data);
        start.set("log.file", "").set("kafka.bootstrap_servers", "[]")
    };
    let run = |words: &[&str]| {
        let command = Command::new(binary("point-to-point"));
        Ended::of(at(Start::command("peek", command).arguments(words)).start())
    };
    let nothing = run(&["peek"]);
    assert!(nothing.complaint().contains("nothing is stored yet"));
    let mut producer = at(Start::program("producer")).with_input().start();
    producer.write_line("{\"id\":1}");
    producer.close_input();
    assert_eq!(producer.wait(PATIENCE), Some(0));
    let found = run(&["peek"]);
    assert_eq!((found.code, found.lines.len()), (Some(0), 2), "{:?}", found.log);
    assert!(found.lines[1].ends_with("  {\"id\":1}"), "{:?}", found.lines);
    let status = run(&["status"]);
    assert!(!status.lines.iter().any(|line| line.starts_with("GROUP")), "{:?}", status.lines);
}
