//! The endpoint looks into any topic, without a group: searches from either end, page after page, and single
//! messages whole, whatever they are made of.

mod trouble;

use std::io::Write;
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::assistant::{Header, Record};
use crate::support::http::{Answer, Connection, RawClient};
use crate::support::kafka::Kafka;
use crate::support::program::Program;
use crate::support::{EMBEDDED, NEWEST, PATIENCE, eventually, run_on, unique};
use trouble::{
    a_damaged_batch_is_told_and_the_other_partitions_are_shown,
    a_partition_without_a_leader_is_told_and_the_others_are_shown,
    a_search_in_vain_ends_in_time_and_goes_on_where_it_ended, an_outage_is_told_and_passes,
    many_looks_at_once_are_answered_or_told_to_come_back, readers_look_into_their_own_topics_alone,
};

run_on! {
    mod kafka_4_3 on NEWEST {
        pages_hold_every_message_once_from_either_end,
        a_look_begins_at_a_time_or_an_offset,
        a_key_or_a_text_is_found_wherever_it_is,
        whatever_a_message_is_made_of_is_shown_whole,
        what_is_removed_is_told_from_what_is_not_there_yet,
        the_markers_of_transactions_are_no_messages,
        kafkas_own_topics_can_be_looked_into,
        a_partition_without_a_leader_is_told_and_the_others_are_shown,
    }
    mod embedded on EMBEDDED {
        pages_hold_every_message_once_from_either_end,
        a_look_begins_at_a_time_or_an_offset,
        a_key_or_a_text_is_found_wherever_it_is,
        whatever_a_message_is_made_of_is_shown_whole,
        what_is_removed_is_told_from_what_is_not_there_yet,
        what_cannot_be_looked_for_is_refused,
        a_search_in_vain_ends_in_time_and_goes_on_where_it_ended as HEAVY,
        many_looks_at_once_are_answered_or_told_to_come_back as HEAVY,
        an_outage_is_told_and_passes as HEAVY,
        a_damaged_batch_is_told_and_the_other_partitions_are_shown,
        readers_look_into_their_own_topics_alone,
    }
}

const ANSWER: &str = "application/vnd.kafka.v2+json";

fn get(program: &Program, path: &str) -> Answer {
    let mut connection = Connection::open(program.address()).expect("a connection");
    connection.limit(PATIENCE);
    connection.get(path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// What a look finds.
fn found(program: &Program, topic: &str, query: &str) -> Value {
    let path = format!("/topics/{topic}/messages?{query}");
    let answer = get(program, &path);
    assert_eq!((answer.status, answer.header("content-type")), (200, Some(ANSWER)), "{path}: {answer:?}");
    answer.json()
}

fn list(found: &Value) -> &[Value] {
    found["messages"].as_array().expect("messages")
}

fn places(found: &Value) -> Vec<(i64, i64)> {
    let place = |message: &Value| {
        (message["partition"].as_i64().expect("a partition"), message["offset"].as_i64().expect("an offset"))
    };
    list(found).iter().map(place).collect()
}

/// The message at a place of a topic.
fn message(program: &Program, topic: &str, place: &str, query: &str) -> Answer {
    let (partition, offset) = place.split_once(':').expect("a place");
    get(program, &format!("/topics/{topic}/partitions/{partition}/messages/{offset}{query}"))
}

/// The error of an answer: its status, its word, its sentence.
fn refusal(answer: &Answer) -> (u16, String, String) {
    let json = answer.json();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    (answer.status, text(&json["error"]["code"]), text(&json["message"]))
}

fn endpoint(kafka: &Kafka) -> Program {
    Program::producer(kafka, &unique("mi-topico"))
}

fn topic_of(kafka: &Kafka, partitions: u32) -> String {
    let topic = unique("pedidos");
    kafka.assistant().create_topic(&topic, partitions, 1, &[]);
    topic
}

fn in_time(kafka: &Kafka, topic: &str) -> Vec<Record> {
    let mut records = kafka.assistant().read(topic, false);
    records.sort_by_key(|record| (record.timestamp, record.partition, record.offset));
    records
}

fn place(record: &Record) -> (i64, i64) {
    (record.partition.into(), record.offset)
}

fn pages_hold_every_message_once_from_either_end(version: &'static str) {
    let kafka = Kafka::shared(version);
    let (topic, program) = (topic_of(kafka, 3), endpoint(kafka));
    for id in 0..40 {
        // Partition 2 has most of them, and one millisecond has one alone.
        let partition = [0, 1, 2, 2, 2][id % 5];
        kafka.assistant().put(&topic, partition, Some(b"k"), Some(format!("{{\"id\":{id}}}").as_bytes()));
        thread::sleep(Duration::from_millis(2));
    }
    let mut all: Vec<_> = in_time(kafka, &topic).iter().map(place).collect();
    for from in ["oldest", "newest"] {
        if from == "newest" {
            all.reverse();
        }
        let (mut seen, mut query, mut pages) = (Vec::new(), format!("from={from}&max=7"), 0);
        loop {
            let page = found(&program, &topic, &query);
            assert_eq!((&page["complete"], &page["trouble"]), (&json!(true), &Value::Null), "{page}");
            seen.extend(places(&page));
            pages += 1;
            let Some(next) = page["next"].as_str() else { break };
            assert_eq!(list(&page).len(), 7, "{page}");
            query = format!("from={from}&max=7&at={next}");
        }
        assert_eq!((&seen, pages), (&all, 6), "{from}");
    }
    // The newest come first where nothing else is said, and of one partition alone.
    assert_eq!(places(&found(&program, &topic, "max=3")), all[..3]);
    let of_two: Vec<_> = all.iter().copied().filter(|(partition, _)| *partition == 2).collect();
    assert_eq!(places(&found(&program, &topic, "partition=2&max=200")), of_two);
    for path in [format!("/topics/{topic}/messages"), format!("/topics/{topic}/partitions/2/messages/0")] {
        let mut stream = TcpStream::connect(program.address()).expect("a connection");
        stream.set_read_timeout(Some(PATIENCE)).expect("a deadline");
        stream.write_all(format!("HEAD {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).expect("it reads");
        let head = RawClient::new(stream).read_head().expect("a head");
        assert_eq!((head.status, head.header("content-type")), (200, Some(ANSWER)), "{path}");
    }
}

fn a_look_begins_at_a_time_or_an_offset(version: &'static str) {
    let kafka = Kafka::shared(version);
    let (topic, program) = (topic_of(kafka, 2), endpoint(kafka));
    kafka.assistant().produce(&topic, "gzip", 0, "{\"id\":%d}", 30);
    kafka.assistant().produce(&topic, "none", 1, "{\"id\":%d}", 3);
    let at = |query: &str| places(&found(&program, &topic, query));
    let of_zero = |offsets: std::ops::Range<i64>| offsets.map(|offset| (0, offset)).collect::<Vec<_>>();
    assert_eq!(at("partition=0&offset=7&max=5"), of_zero(7..12));
    assert_eq!(at("partition=0&offset=28"), of_zero(28..30));
    let beyond = found(&program, &topic, "partition=0&offset=99");
    assert_eq!((places(&beyond), &beyond["next"]), (Vec::new(), &Value::Null));
    assert_eq!(beyond["partitions"][0]["end_offset"], 30);
    assert_eq!(at("from=1h&max=200").len(), 33);
    assert_eq!(at("from=2100-01-01"), []);
    let second = in_time(kafka, &topic).last().expect("a record").timestamp + 1_500;
    thread::sleep(Duration::from_millis(1_600));
    kafka.assistant().put(&topic, 1, None, Some(b"late"));
    let time = time_text(second);
    assert_eq!(at(&format!("from={time}")), [(1, 3)], "{time}");
}

/// A time as a query has it, to the second below.
fn time_text(ms: i64) -> String {
    let seconds = u64::try_from(ms / 1_000).expect("after 1970");
    let output = std::process::Command::new("date")
        .args(["-u", "-d", &format!("@{seconds}"), "+%Y-%m-%dT%H:%M:%SZ"])
        .output()
        .expect("date");
    String::from_utf8(output.stdout).expect("UTF-8").trim().to_owned()
}

fn a_key_or_a_text_is_found_wherever_it_is(version: &'static str) {
    let kafka = Kafka::shared(version);
    let (topic, program) = (topic_of(kafka, 2), endpoint(kafka));
    kafka.assistant().produce(&topic, "zstd", -1, "{\"id\":%d}", 300);
    let put = |key: Option<&[u8]>, value: Option<&[u8]>, headers: &[Header]| {
        let (partition, offset) = kafka.assistant().put_with(&topic, 1, key, value, headers);
        (i64::from(partition), offset)
    };
    let in_key = put(Some("clave-ñ".as_bytes()), Some(b"{}"), &[]);
    let in_value = put(None, Some(b"\xff\x00 CLAVE \xfe"), &[]);
    let in_header = put(Some(b"a&b c"), None, &[("h".to_owned(), Some(b"la clave".to_vec()))]);
    let nowhere = put(Some(b"k"), None, &[("clave".to_owned(), None)]);
    kafka.assistant().produce(&topic, "zstd", -1, "{\"id\":%d}", 300);
    let at = |query: &str| places(&found(&program, &topic, query));
    assert_eq!(at("text=clave"), [in_header, in_value, in_key]);
    assert_eq!(at("text=clave&from=oldest"), [in_key, in_value, in_header]);
    assert_eq!(at("text=%20Clave%20"), [in_value]);
    assert_eq!(at("text=-%C3%B1"), [in_key]);
    assert_eq!(at("key=a%26b+c"), [in_header]);
    assert_eq!(at("key=k"), [nowhere]);
    assert_eq!(at("key=clave"), []);
    let none = found(&program, &topic, "text=clave&partition=0");
    assert_eq!((places(&none), &none["complete"], &none["next"]), (vec![], &json!(true), &Value::Null));
    assert_eq!(none["searched"], none["partitions"][0]["end_offset"]);
    // Two of three, and then the last one.
    let two = found(&program, &topic, "text=clave&max=2");
    assert_eq!(places(&two), [in_header, in_value]);
    let next = format!("text=clave&max=2&at={}", two["next"].as_str().expect("more"));
    let last = found(&program, &topic, &next);
    assert_eq!((places(&last), &last["next"]), (vec![in_key], &Value::Null));
}

fn whatever_a_message_is_made_of_is_shown_whole(version: &'static str) {
    let kafka = Kafka::shared(version);
    let (topic, program) = (topic_of(kafka, 1), endpoint(kafka));
    let put = |key: Option<&[u8]>, value: Option<&[u8]>, headers: &[Header]| {
        kafka.assistant().put_with(&topic, 0, key, value, headers);
    };
    let few = [
        ("a".to_owned(), Some(b"b".to_vec())),
        ("bytes".to_owned(), Some(vec![0xff])),
        ("a".to_owned(), None),
    ];
    put(Some(b"k"), Some(b"{\"n\": 12345678901234567890.00}"), &few);
    put(Some(&[0xfe]), Some(&[0xff, 0]), &[]);
    put(None, None, &[]);
    let long = format!("<script>{}\u{202e}مرحبا</script>", "x".repeat(900_000));
    put(None, Some(long.as_bytes()), &[]);
    let many: Vec<Header> = (0..3_000).map(|id| (format!("h{id}"), Some(b"v".to_vec()))).collect();
    put(Some(b""), Some(b""), &many);

    let page = found(&program, &topic, "from=oldest");
    let shown = list(&page);
    assert_eq!(shown.len(), 5);
    assert!(page.to_string().len() < 20_000, "excerpts alone");
    assert_eq!(shown[0]["key"], json!({"text": "k", "bytes": 1, "cut": false}));
    assert_eq!(
        shown[0]["headers"][2],
        json!({"name": {"text": "a", "bytes": 1, "cut": false}, "value": null})
    );
    assert_eq!((&shown[2]["key"], &shown[2]["value"]), (&Value::Null, &Value::Null));
    let value = &shown[3]["value"];
    assert_eq!((&value["bytes"], &value["cut"]), (&json!(long.len()), &json!(true)));
    assert_eq!(
        (shown[4]["headers"].as_array().map(Vec::len), &shown[4]["more_headers"]),
        (Some(8), &json!(2_992))
    );

    let whole = |place: &str, query: &str| {
        let answer = message(&program, &topic, place, query);
        assert_eq!((answer.status, answer.header("content-type")), (200, Some(ANSWER)), "{place}");
        (answer.json(), String::from_utf8(answer.body).expect("UTF-8"))
    };
    let (first, text) = whole("0:0", "");
    assert!(text.ends_with(r#""encoding":"json","value":{"n": 12345678901234567890.00}}"#), "{text}");
    assert_eq!(first["topic"], topic.as_str());
    let three = json!([
        {"name": "a", "value": "b"},
        {"name": "bytes", "base64": "/w=="},
        {"name": "a", "value": null},
    ]);
    assert_eq!(first["headers"], three);
    let (as_text, _) = whole("0:0", "?format=text");
    assert_eq!(
        (&as_text["encoding"], &as_text["value"]),
        (&json!("text"), &json!("{\"n\": 12345678901234567890.00}"))
    );
    let (binary, _) = whole("0:1", "?format=text");
    assert_eq!((&binary["key_base64"], &binary["encoding"]), (&json!("/g=="), &json!("base64")));
    assert_eq!(binary["value"], "/wA=");
    assert_eq!(whole("0:2", "").0["encoding"], "null");
    assert_eq!(whole("0:3", "").0["value"], long.as_str());
    assert_eq!(whole("0:4", "").0["headers"].as_array().map(Vec::len), Some(3_000));
}

fn what_is_removed_is_told_from_what_is_not_there_yet(version: &'static str) {
    let kafka = Kafka::shared(version);
    let (topic, program) = (topic_of(kafka, 2), endpoint(kafka));
    kafka.assistant().produce(&topic, "none", 0, "%d", 10);
    kafka.assistant().trim(&topic, 0, 7);
    let page = found(&program, &topic, "from=oldest");
    assert_eq!(places(&page), [(0, 7), (0, 8), (0, 9)]);
    assert_eq!(page["partitions"][0]["beginning_offset"], 7);
    assert_eq!(places(&found(&program, &topic, "partition=0&offset=0")), [(0, 7), (0, 8), (0, 9)]);
    for (place, part) in [
        ("0:6", "was removed: the partition begins at offset 7"),
        ("0:10", "yet: the next one gets offset 10"),
        ("1:0", "yet: the next one gets offset 0"),
    ] {
        let (status, code, sentence) = refusal(&message(&program, &topic, place, ""));
        assert_eq!((status, code.as_str()), (404, "message_not_found"), "{place}");
        assert!(sentence.contains(part), "{place}: {sentence}");
    }
    assert_eq!(message(&program, &topic, "0:7", "").json()["value"], 7);
    // A topic that is gone is gone at once, although it was known.
    let gone = refusal(&get(&program, &format!("/topics/{}/messages", unique("nowhere"))));
    assert_eq!((gone.0, gone.1.as_str()), (404, "topic_not_found"));
    let (status, code, _) = refusal(&message(&program, &topic, "2:0", ""));
    assert_eq!((status, code.as_str()), (404, "partition_not_found"));
    let no_partition = get(&program, &format!("/topics/{topic}/messages?partition=2"));
    assert_eq!((no_partition.status, &no_partition.json()["error_code"]), (404, &json!(40402)));
    assert_eq!(get(&program, &format!("/topics/{topic}/messages?at=7:1")).status, 404);
}

fn the_markers_of_transactions_are_no_messages(version: &'static str) {
    let kafka = Kafka::shared(version);
    let (topic, program) = (topic_of(kafka, 1), endpoint(kafka));
    for _ in 0..3 {
        kafka.assistant().transaction(&topic, 0, true, "{\"id\":%d}", 1);
    }
    let page = found(&program, &topic, "");
    assert_eq!((places(&page), &page["searched"]), (vec![(0, 4), (0, 2), (0, 0)], &json!(3)));
    let (status, code, sentence) = refusal(&message(&program, &topic, "0:1", ""));
    assert_eq!((status, code.as_str()), (404, "message_not_found"));
    assert!(sentence.contains("marker of a transaction"), "{sentence}");
}

fn kafkas_own_topics_can_be_looked_into(version: &'static str) {
    let kafka = Kafka::shared(version);
    let (program, topic) = (endpoint(kafka), unique("mi-topico"));
    // A group's commit makes the topic.
    let consumer = Program::consumer(kafka, "consumer1", &topic, &unique("grupo"));
    consumer.wait_for_line(crate::support::program::WAITING, PATIENCE);
    let page = eventually("there is something in it", PATIENCE, || {
        let answer = get(&program, "/topics/__consumer_offsets/messages?max=5");
        Some(answer.json()).filter(|page| answer.status == 200 && !list(page).is_empty())
    });
    let message = &list(&page)[0];
    let path = format!("{}:{}", message["partition"], message["offset"]);
    assert_eq!(self::message(&program, "__consumer_offsets", &path, "").status, 200);
}

fn what_cannot_be_looked_for_is_refused(version: &'static str) {
    let kafka = Kafka::shared(version);
    let (topic, program) = (topic_of(kafka, 1), endpoint(kafka));
    for (query, part) in [
        ("last=3", "`last` is none of them"),
        ("max=0", "`max` must be"),
        ("max=201", "`max` must be"),
        ("from=yesterday", "`from` must be"),
        ("offset=3", "`offset` goes with `partition`"),
        ("offset=3&partition=0&from=oldest", "not by both"),
        ("partition=x", "`partition` must be"),
        ("at=0", "`at` must be"),
        ("text=%ff", "not percent-encoded UTF-8"),
        ("key=a&key=b", "more than once"),
    ] {
        let answer = get(&program, &format!("/topics/{topic}/messages?{query}"));
        let (status, _, sentence) = refusal(&answer);
        assert!(status == 400 && sentence.contains(part), "{query}: {status} {sentence}");
    }
    for (path, status) in [
        (format!("/topics/{topic}/partitions/0/messages/x"), 404),
        (format!("/topics/{topic}/partitions/0/messages/0?format=xml"), 400),
        (format!("/topics/{topic}/partitions/0/messages"), 404),
        ("/topics/%2e%2e/messages".to_owned(), 404),
        ("/topics/%ff/messages".to_owned(), 400),
    ] {
        assert_eq!(get(&program, &path).status, status, "{path}");
    }
    assert_eq!(program.post(&format!("/topics/{topic}/messages"), "{}").status, 405);
    // An empty topic is no error.
    let page = found(&program, &topic, "");
    assert_eq!((list(&page).len(), &page["complete"], &page["searched"]), (0, &json!(true), &json!(0)));
}
