//! The REST API on real brokers: records in every format, what is refused, what becomes of a request whose
//! records fare differently or whose broker is gone, and what is said of topics and brokers.

use std::thread;

use crate::support::assistant::{Header, Record};
use crate::support::http::{Answer, Connection};
use crate::support::kafka::Kafka;
use crate::support::kraft::Extras;
use crate::support::program::{Program, Start};
use crate::support::{EMBEDDED, NEWEST, PATIENCE, eventually, run_on, unique};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

run_on! {
    mod kafka_4_3 on NEWEST {
        records_of_each_format_arrive_byte_for_byte,
        a_key_lands_where_java_puts_the_same_bytes,
        the_channels_own_topic_is_made_for_the_first_record,
        what_is_refused_is_not_stored,
        what_the_channels_consumers_do_not_take_is_refused_when_it_is_sent,
        a_text_key_beside_a_json_value_lands_where_the_channels_own_route_puts_it,
        records_that_nobody_waits_for_are_answered_204_and_stored,
        offsets_and_configurations_are_told,
        probes_made_for_other_proxies_are_answered,
        results_are_in_the_order_of_the_records_and_a_mix_is_no_success,
        many_records_of_one_request_keep_their_order,
        more_topics_than_there_are_senders_lose_nothing as HEAVY,
        answers_stay_true_while_the_broker_is_away as HEAVY,
        a_frozen_broker_makes_answers_unknown_but_never_false,
        topics_partitions_and_brokers_are_told,
        kafkas_own_topics_are_not_listed_and_take_no_records,
        kafkas_own_topics_take_no_records_where_they_are_not_there,
    }
    mod embedded on EMBEDDED {
        records_of_each_format_arrive_byte_for_byte,
        a_key_lands_where_java_puts_the_same_bytes,
        the_channels_own_topic_is_made_for_the_first_record,
        what_is_refused_is_not_stored,
        what_the_channels_consumers_do_not_take_is_refused_when_it_is_sent,
        a_text_key_beside_a_json_value_lands_where_the_channels_own_route_puts_it,
        records_that_nobody_waits_for_are_answered_204_and_stored,
        offsets_and_configurations_are_told,
        probes_made_for_other_proxies_are_answered,
        results_are_in_the_order_of_the_records_and_a_mix_is_no_success,
        many_records_of_one_request_keep_their_order,
        more_topics_than_there_are_senders_lose_nothing as HEAVY,
        answers_stay_true_while_the_broker_is_away as HEAVY,
        a_frozen_broker_makes_answers_unknown_but_never_false,
        topics_partitions_and_brokers_are_told,
        kafkas_own_topics_take_no_records_where_they_are_not_there,
    }
}

const JSON: &str = "application/vnd.kafka.json.v2+json";
const BINARY: &str = "application/vnd.kafka.binary.v2+json";
const TEXT: &str = "application/vnd.kafka.text.v2+json";
const ANSWER: &str = "application/vnd.kafka.v2+json";

/// Partition and offset.
type Place = (i32, i64);
/// A key or a value.
type Bytes = Option<Vec<u8>>;

fn ask(program: &Program, method: &str, path: &str, content_type: &str, body: &str) -> Answer {
    let mut connection = Connection::open(program.address()).expect("a connection");
    let kind =
        if content_type.is_empty() { String::new() } else { format!("Content-Type: {content_type}\r\n") };
    let head = format!("{method} {path} HTTP/1.1\r\nHost: x\r\n{kind}Content-Length: {}\r\n\r\n", body.len());
    connection.send(format!("{head}{body}").as_bytes());
    connection.answer().unwrap_or_else(|error| panic!("{method} {path}: {error}"))
}

fn post(program: &Program, topic: &str, content_type: &str, body: &str) -> Answer {
    ask(program, "POST", &format!("/topics/{topic}"), content_type, body)
}

fn get(program: &Program, path: &str) -> Answer {
    ask(program, "GET", path, "", "")
}

/// The places of records that are all stored.
fn places(answer: &Answer) -> Vec<Place> {
    assert_eq!((answer.status, answer.header("content-type")), (200, Some(ANSWER)), "{answer:?}");
    let json = answer.json();
    assert_eq!((&json["key_schema_id"], &json["value_schema_id"]), (&Value::Null, &Value::Null));
    let number = |value: &Value| value.as_i64().unwrap_or_else(|| panic!("{json}"));
    let offsets = json["offsets"].as_array().expect("offsets");
    offsets.iter().map(|place| (number(&place["partition"]) as i32, number(&place["offset"]))).collect()
}

/// Creates a topic and waits until all know it.
fn create(kafka: &Kafka, program: &Program, topic: &str, partitions: u32) {
    kafka.assistant().create_topic(topic, partitions, 1, &[]);
    eventually(&format!("{topic} is known"), PATIENCE, || {
        let known = get(program, &format!("/topics/{topic}")).status == 200;
        (known && kafka.assistant().try_ask(&["read", topic, "read_uncommitted"]).is_ok()).then_some(())
    });
}

/// A topic of the test, and a `producer_api` whose own topic is another one.
fn stage(version: &'static str, partitions: u32) -> (&'static Kafka, Program, String) {
    let kafka = Kafka::shared(version);
    let (program, topic) = stage_on(kafka, partitions);
    (kafka, program, topic)
}

fn stage_on(kafka: &Kafka, partitions: u32) -> (Program, String) {
    let topic = unique("pedidos");
    let program = Program::producer(kafka, &unique("mi-topico"));
    create(kafka, &program, &topic, partitions);
    (program, topic)
}

fn record_at(records: &[Record], place: Place) -> &Record {
    records
        .iter()
        .find(|r| (r.partition, r.offset) == place)
        .unwrap_or_else(|| panic!("nothing at {place:?}"))
}

fn records_of_each_format_arrive_byte_for_byte(version: &'static str) {
    let (kafka, program, topic) = stage(version, 4);
    let values =
        ["null", "0", "-1.50e3", "true", "false", "\"\\u00e9 \u{f1}\"", "[1, {\"b\":1,\"b\":2} ]", "{ }"];
    let mut expected: Vec<(Place, Bytes, Bytes)> = Vec::new();
    let as_bytes = |json: &str| Some(json.as_bytes().to_vec()).filter(|bytes| bytes != b"null");
    for kind in [JSON, "application/json", "Application/JSON; charset=UTF-8"] {
        let records: Vec<String> =
            values.iter().map(|value| format!("{{\"value\" : {value} ,\"key\": {value}}}")).collect();
        let answer = post(&program, &topic, kind, &format!("{{\"records\":[{}]}}", records.join(" , ")));
        let bytes = values.iter().map(|value| as_bytes(value));
        expected.extend(places(&answer).into_iter().zip(bytes).map(|(p, value)| (p, value.clone(), value)));
    }
    let any = [None, Some(vec![]), Some((0..=255).collect::<Vec<u8>>())];
    let shown = |bytes: &Option<Vec<u8>>| bytes.as_ref().map(|bytes| STANDARD.encode(bytes));
    let records: Vec<Value> = any.iter().map(|v| json!({"key": shown(v), "value": shown(v)})).collect();
    let answer = post(&program, &topic, BINARY, &json!({"records": records}).to_string());
    expected.extend(places(&answer).into_iter().zip(&any).map(|(p, v)| (p, v.clone(), v.clone())));
    let text = "línea 1\nlínea \"2\"\u{0}";
    let answer = post(
        &program,
        &topic,
        TEXT,
        &json!({"records": [{"key": "", "value": text}, {"value": null}]}).to_string(),
    );
    let fates = [(Some(vec![]), Some(text.as_bytes().to_vec())), (None, None)];
    expected.extend(places(&answer).into_iter().zip(fates).map(|(p, (key, value))| (p, key, value)));
    let stored = kafka.assistant().read(&topic, false);
    assert_eq!(stored.len(), expected.len());
    for (place, key, value) in &expected {
        let record = record_at(&stored, *place);
        assert_eq!((&record.key, &record.value), (key, value), "{place:?}");
    }

    let headers = json!([
        {"key": "a", "value": "AP8="}, {"key": "a", "value": null}, {"key": "ñ", "value": ""},
    ]);
    let extras = json!({"value": 1, "headers": headers, "timestamp": 1_700_000_000_123_i64, "partition": 2});
    let answer = post(&program, &topic, JSON, &json!({"records": [extras]}).to_string());
    let path = format!("{topic}/partitions/3");
    let there =
        post(&program, &path, JSON, r#"{"records":[{"value":1},{"key":"k","value":null,"partition":null}]}"#);
    let stored = kafka.assistant().read(&topic, false);
    let record = record_at(&stored, places(&answer)[0]);
    let expected: Vec<Header> = vec![
        ("a".to_owned(), Some(vec![0, 255])),
        ("a".to_owned(), None),
        ("ñ".to_owned(), Some(Vec::new())),
    ];
    assert_eq!((&record.headers, record.timestamp, record.partition), (&expected, 1_700_000_000_123, 2));
    assert!(places(&there).iter().all(|(partition, _)| *partition == 3));
    assert_eq!(record_at(&stored, places(&there)[1]).key.as_deref(), Some(&b"\"k\""[..]));
}

fn a_key_lands_where_java_puts_the_same_bytes(version: &'static str) {
    let (kafka, program, topic) = stage(version, 7);
    for key in ["a", "cliente-1", "pedido 77", "ñandú"] {
        for (kind, bytes) in [(TEXT, key.to_owned()), (JSON, format!("\"{key}\""))] {
            let body = json!({"records": [{"key": key, "value": "1"}]}).to_string();
            let (partition, _) = places(&post(&program, &topic, kind, &body))[0];
            let javas = kafka.assistant().put(&topic, -1, Some(bytes.as_bytes()), Some(b"2"));
            assert_eq!(partition, javas.0, "{kind}: {key:?}");
        }
    }
}

#[test]
fn where_brokers_create_no_topics_one_that_does_not_exist_is_404_and_is_not_made() {
    refuse_a_topic_that_does_not_exist(Kafka::shared(NEWEST));
    refuse_a_topic_that_does_not_exist(&Kafka::embedded_with(&["embedded.auto_create_topics=false"]));
}

fn refuse_a_topic_that_does_not_exist(kafka: &Kafka) {
    let (program, topic) = stage_on(kafka, 1);
    let missing = unique("no-hay");
    for _ in 0..3 {
        let answers = [
            post(&program, &missing, JSON, r#"{"records":[{"value":1}]}"#),
            post(&program, &format!("{missing}/partitions/0"), JSON, r#"{"records":[{"value":1}]}"#),
            get(&program, &format!("/topics/{missing}")),
            get(&program, &format!("/topics/{missing}/partitions")),
            get(&program, &format!("/topics/{missing}/partitions/0")),
            get(&program, "/topics/a%20b"),
            post(&program, "%2e%2e", JSON, r#"{"records":[{"value":1}]}"#),
        ];
        for answer in answers {
            assert_eq!((answer.status, &answer.json()["error_code"]), (404, &json!(40401)), "{answer:?}");
            assert!(answer.json()["message"].is_string());
        }
    }
    let other = post(&program, &format!("{topic}/partitions/1"), JSON, r#"{"records":[{"value":1}]}"#);
    assert_eq!((other.status, &other.json()["error_code"]), (404, &json!(40402)), "{other:?}");
    let names = get(&program, "/topics").json();
    let has = |name: &str| names.as_array().expect("names").contains(&json!(name));
    assert!(has(&topic) && !has(&missing), "{names}");
}

/// A POST names a new topic where the brokers create topics for every client.
fn post_to_a_new_topic(kafka: &Kafka) {
    let program = Program::producer(kafka, &unique("mi-topico"));
    let (new, looked_at) = (unique("nuevo"), unique("mirado"));
    assert_eq!(get(&program, &format!("/topics/{looked_at}")).status, 404);
    let stored = places(&post(&program, &new, JSON, r#"{"records":[{"value":1},{"value":2}]}"#));
    assert_eq!((stored.len(), kafka.assistant().read(&new, false).len()), (2, 2));
    let missing = format!("{}/partitions/99", unique("nuevo"));
    assert_eq!(post(&program, &missing, JSON, r#"{"records":[{"value":1}]}"#).status, 404);
    let names = get(&program, "/topics").json();
    let has = |name: &str| names.as_array().expect("names").contains(&json!(name));
    assert!(has(&new) && !has(&looked_at), "a GET creates nothing: {names}");
}

#[test]
fn a_topic_with_other_partitions_than_are_set_is_told_of_once_and_stays_as_it_is() {
    let kafka = Kafka::shared(EMBEDDED);
    let topic = unique("particiones");
    let producer = |partitions: &[&str]| {
        let start = Start::program("producer_api").on(kafka).set("kafka.topic", &topic);
        let start = partitions.iter().fold(start, |start, number| start.set("kafka.partitions", number));
        let program = Program::producer_with(start);
        program.wait_for_log(&["ready: messages for topic"], PATIENCE);
        program
    };
    let warns =
        |program: &Program| program.log().iter().filter(|line| line.contains("kafka.partitions is")).count();
    assert_eq!(warns(&producer(&["2"])), 0, "it was created so");
    assert_eq!(warns(&producer(&[])), 0, "none are asked for");
    let other = producer(&["8"]);
    let warned = other
        .wait_for_log(&["WARN", "has 2 partitions", "kafka.partitions is 8", "--partitions 8"], PATIENCE);
    assert!(warned.contains(&topic), "{warned}");
    let told =
        Connection::open(other.address()).expect("a connection").get(&format!("/topics/{topic}/partitions"));
    assert_eq!(told.expect("an answer").json().as_array().map(Vec::len), Some(2));
    assert_eq!(warns(&other), 1);
}

#[test]
fn the_embedded_broker_creates_a_new_topic_for_its_first_record() {
    post_to_a_new_topic(Kafka::shared(EMBEDDED));
}

#[test]
fn a_broker_that_creates_topics_does_so_for_the_first_record() {
    let settings = "auto.create.topics.enable=true\nnum.partitions=3\n".to_owned();
    post_to_a_new_topic(&Kafka::start_with(NEWEST, &Extras { settings, ..Extras::default() }));
}

fn the_channels_own_topic_is_made_for_the_first_record(version: &'static str) {
    let kafka = Kafka::shared(version);
    let own = unique("mi-topico");
    let program = Program::producer(kafka, &own);
    let first = places(&post(&program, &own, JSON, r#"{"records":[{"value":1,"partition":3}]}"#));
    assert_eq!(first, [(3, 0)]);
    let answer = program.post("/enviar", "2").json();
    let records = kafka.assistant().read(&own, false);
    assert_eq!((records.len(), &answer["topic"]), (2, &json!(own)));
}

fn a_text_key_beside_a_json_value_lands_where_the_channels_own_route_puts_it(version: &'static str) {
    let (kafka, program, topic) = stage(version, 7);
    for key in ["a", "cliente-1", "ñandú"] {
        let body = json!({"records": [{"key": key, "value": {"id": 1}}]}).to_string();
        let place = places(&post(&program, &format!("{topic}?key_format=text"), JSON, &body))[0];
        let javas = kafka.assistant().put(&topic, -1, Some(key.as_bytes()), Some(b"2"));
        assert_eq!(place.0, javas.0, "{key:?}");
        let stored = kafka.assistant().read(&topic, false);
        let record = record_at(&stored, place);
        assert_eq!(record.key.as_deref(), Some(key.as_bytes()));
        assert_eq!(record.value.as_deref(), Some(&br#"{"id":1}"#[..]));
        let quoted = places(&post(&program, &format!("{topic}?key_format=json"), JSON, &body))[0];
        let stored = kafka.assistant().read(&topic, false);
        assert_eq!(record_at(&stored, quoted).key.as_deref(), Some(format!("\"{key}\"").as_bytes()));
    }
}

fn records_that_nobody_waits_for_are_answered_204_and_stored(version: &'static str) {
    let (kafka, program, topic) = stage(version, 2);
    let body = json!({"records": (0..100).map(|id| json!({"value": id})).collect::<Vec<_>>()}).to_string();
    let answer = post(&program, &format!("{topic}?async=true"), JSON, &body);
    assert_eq!((answer.status, answer.body.len()), (204, 0), "{answer:?}");
    eventually("all are stored", PATIENCE, || {
        (kafka.assistant().read(&topic, false).len() == 100).then_some(())
    });
    let refused = post(&program, &format!("{topic}?async=true"), JSON, "{");
    assert_eq!(refused.status, 400, "what can be told at once is told");
    assert_eq!(
        places(&post(&program, &format!("{topic}?async=false"), JSON, r#"{"records":[{"value":1}]}"#)).len(),
        1
    );
}

fn offsets_and_configurations_are_told(version: &'static str) {
    let (_, program, topic) = stage(version, 2);
    let path = |rest: &str| format!("/topics/{topic}{rest}");
    let empty = json!({"beginning_offset": 0, "end_offset": 0});
    assert_eq!(get(&program, &path("/partitions/1/offsets")).json(), empty);
    let body = r#"{"records":[{"value":1,"partition":0},{"value":2,"partition":0}]}"#;
    assert_eq!(places(&post(&program, &topic, JSON, body)), [(0, 0), (0, 1)]);
    let told = get(&program, &path("/partitions/0/offsets")).json();
    assert_eq!(told, json!({"beginning_offset": 0, "end_offset": 2}));
    for (path, status, code) in [
        (path("/partitions/2/offsets"), 404, 40402),
        (path("/partitions/foo/offsets"), 404, 40402),
        ("/topics/no-hay/partitions/0/offsets".to_owned(), 404, 40401),
    ] {
        let answer = get(&program, &path);
        assert_eq!((answer.status, &answer.json()["error_code"]), (status, &json!(code)), "{answer:?}");
    }
    let configs = get(&program, &path("")).json()["configs"].clone();
    assert!(configs["retention.ms"].is_string() && configs["cleanup.policy"] == "delete", "{configs}");
}

fn probes_made_for_other_proxies_are_answered(version: &'static str) {
    let (_, program, _) = stage(version, 1);
    eventually("it is ready", PATIENCE, || (get(&program, "/ready").status == 204).then_some(()));
    assert_eq!(get(&program, "/healthy").status, 204);
    assert!(get(&program, "/_health").json()["process_uptime_sec"].is_u64());
}

fn what_the_channels_consumers_do_not_take_is_refused_when_it_is_sent(version: &'static str) {
    let kafka = Kafka::shared(version);
    let channel = unique("mi-topico");
    let program = Program::producer(kafka, &channel);
    for (kind, record) in [
        (JSON, r#"{"key":"k","value":null}"#),
        (TEXT, r#"{"value":"hola"}"#),
        (TEXT, r#"{"value":""}"#),
        (BINARY, r#"{"value":"AP8="}"#),
    ] {
        let answer =
            post(&program, &channel, kind, &format!(r#"{{"records":[{{"value":"MQ=="}},{record}]}}"#));
        let sentence = answer.json()["message"].as_str().unwrap_or_default().to_owned();
        // "MQ==" is base64 for a number, JSON in quotes, and no JSON as text.
        let index = if kind == TEXT { 0 } else { 1 };
        assert!(
            answer.status == 422 && sentence.contains(&format!("records[{index}] is not JSON")),
            "{sentence}"
        );
    }
    assert_eq!(places(&post(&program, &channel, TEXT, r#"{"records":[{"value":"{\"id\":1}"}]}"#)).len(), 1);
    assert_eq!(kafka.assistant().read(&channel, false).len(), 1);
    let start = Start::program("producer_api").on(kafka).set("kafka.topic", &channel);
    let program = Program::producer_with(start.set("consumer.payload", "any"));
    assert_eq!(places(&post(&program, &channel, JSON, r#"{"records":[{"key":"k","value":null}]}"#)).len(), 1);
}

fn what_is_refused_is_not_stored(version: &'static str) {
    let (kafka, program, topic) = stage(version, 1);
    let good = r#"{"records":[{"value":1}]}"#;
    let deep = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    let value = |value: &str| format!("{{\"records\":[{{\"value\":2}},{{\"value\":{value}}}]}}");
    let many = format!("{{\"records\":[{}]}}", vec![r#"{"value":1}"#; 10_001].join(","));
    for (status, kind, body) in [
        (400, "", good),
        (400, "application/x-www-form-urlencoded", good),
        (400, "application/vnd.kafka.avro.v2+json", good),
        (400, "text/plain", good),
        (400, JSON, ""),
        (400, JSON, "{\"records\":[{\"value\":1}]"),
        (400, JSON, &value("1e999")),
        (400, JSON, &value("\"\\ud800\"")),
        (400, JSON, &value(&deep(65))),
        (422, JSON, "{}"),
        (400, JSON, "[1]"),
        (422, JSON, r#"{"records":[]}"#),
        (400, JSON, r#"{"records":{"value":1}}"#),
        (400, JSON, r#"{"records":[{"value":1}],"records":[]}"#),
        (400, JSON, r#"{"records":[{"value":1},{"valor":1}]}"#),
        (400, JSON, r#"{"records":[{"value":1},7]}"#),
        (400, JSON, r#"{"records":[{"value":1},{"key":"a typing error may have hidden the value"}]}"#),
        (400, JSON, r#"{"records":[{"value":1},{"value":1,"partition":-1}]}"#),
        (422, JSON, r#"{"records":[{"value":1}],"value_schema_id":1}"#),
        (400, BINARY, &value("\"no base64\"")),
        (400, BINARY, &value("1")),
        (400, TEXT, &value("1")),
        (413, JSON, &many),
    ] {
        let answer = post(&program, &topic, kind, body);
        assert_eq!(answer.status, status, "{kind} {body:.100}: {answer:?}");
        let json = answer.json();
        assert_eq!(json["error_code"], status, "{json}");
        assert!(json["message"].as_str().is_some_and(|sentence| sentence.ends_with('.')), "{json}");
    }
    let twice = format!("{topic}/partitions/0");
    let answer = post(&program, &twice, JSON, r#"{"records":[{"value":1},{"value":2,"partition":0}]}"#);
    assert_eq!(answer.status, 400, "{answer:?}");
    for path in [format!("{topic}/partitions/-1"), format!("{topic}/partitions/karel")] {
        assert_eq!(post(&program, &path, JSON, good).status, 400, "{path}");
    }
    for query in ["async=wrong", "key_format=binary", "acks=0", "async=true&async=true"] {
        let answer = post(&program, &format!("{topic}?{query}"), JSON, good);
        assert_eq!(answer.status, 400, "{query}: {answer:?}");
    }
    let answer = post(&program, &format!("{topic}?key_format=text"), TEXT, r#"{"records":[{"value":"1"}]}"#);
    assert_eq!(answer.status, 400, "a format of keys goes with values in JSON: {answer:?}");
    for (method, path, allowed) in [
        ("DELETE", format!("/topics/{topic}"), "GET, HEAD, POST"),
        ("POST", "/topics".to_owned(), "GET, HEAD"),
        ("PUT", "/brokers".to_owned(), "GET, HEAD"),
    ] {
        let answer = ask(&program, method, &path, JSON, good);
        assert_eq!((answer.status, answer.header("allow")), (405, Some(allowed)));
    }
    assert!(kafka.assistant().read(&topic, false).is_empty());
    assert_eq!(places(&post(&program, &topic, JSON, &value(&deep(64)))), [(0, 0), (0, 1)]);
}

fn results_are_in_the_order_of_the_records_and_a_mix_is_no_success(version: &'static str) {
    let kafka = Kafka::shared(version);
    let topic = unique("pedidos");
    let start = Start::program("producer_api").on(kafka).set("kafka.topic", &unique("mi-topico"));
    let program = Program::producer_with(start.set("producer_api.max_body_bytes", "8000000"));
    create(kafka, &program, &topic, 2);
    // More than any broker here takes by default.
    let large = "x".repeat(1_120_000);
    let body = json!({"records": [
        {"value": "a", "partition": 1}, {"value": large}, {"value": "b", "partition": 1},
        {"value": "c", "partition": 2}, {"value": "d", "partition": 0},
    ]});
    let answer = post(&program, &topic, TEXT, &body.to_string());
    let json = answer.json();
    assert_eq!((answer.status, answer.header("content-type")), (207, Some(ANSWER)), "{json}");
    let offsets = json["offsets"].as_array().expect("offsets");
    assert_eq!(offsets.len(), 5);
    for (at, partition, offset) in [(0, 1, 0), (2, 1, 1), (4, 0, 0)] {
        let stored = json!({"partition": partition, "offset": offset, "error_code": null, "error": null});
        assert_eq!(offsets[at], stored);
    }
    for (at, code) in [(1, 413), (3, 40402)] {
        let failed = &offsets[at];
        assert_eq!(failed["error_code"], code, "{json}");
        assert!(failed["error"].is_string() && failed["error"] == failed["message"], "{json}");
        assert_eq!((&failed["partition"], &failed["offset"]), (&Value::Null, &Value::Null), "{json}");
    }
    for (record, status, code) in
        [(json!({"value": large}), 413, 413), (json!({"value": "c", "partition": 2}), 404, 40402)]
    {
        let answer = post(&program, &topic, TEXT, &json!({"records": [record, record]}).to_string());
        let json = answer.json();
        assert_eq!((answer.status, &json["error_code"]), (status, &json!(code)), "{json}");
        assert_eq!(json["offsets"].as_array().map(Vec::len), Some(2), "{json}");
    }
    let enviar = program.post("/enviar", &format!("\"{large}\""));
    assert_eq!((enviar.status, enviar.json()["error"]["code"].as_str()), (413, Some("too_large")));
    assert_eq!(kafka.assistant().read(&topic, false).len(), 3);
}

fn many_records_of_one_request_keep_their_order(version: &'static str) {
    let (kafka, program, topic) = stage(version, 2);
    let records: Vec<Value> =
        (0..5_000).map(|id| json!({"key": format!("k{}", id % 10), "value": id})).collect();
    let stored = places(&post(&program, &topic, JSON, &json!({"records": records}).to_string()));
    let read = kafka.assistant().read(&topic, false);
    assert_eq!((stored.len(), read.len()), (5_000, 5_000));
    for (id, place) in stored.iter().enumerate() {
        assert_eq!(record_at_sorted(&read, *place).value.as_deref(), Some(id.to_string().as_bytes()));
    }
    for partition in 0..2 {
        let offsets: Vec<i64> = stored.iter().filter(|p| p.0 == partition).map(|p| p.1).collect();
        assert!(offsets.is_sorted(), "records with one key are stored in their order");
    }
}

/// As [`record_at`], in records by place.
fn record_at_sorted(records: &[Record], place: Place) -> &Record {
    let at = records.binary_search_by_key(&place, |record| (record.partition, record.offset));
    &records[at.unwrap_or_else(|_| panic!("nothing at {place:?}"))]
}

fn more_topics_than_there_are_senders_lose_nothing(version: &'static str) {
    let kafka = Kafka::shared(version);
    let program = Program::producer(kafka, &unique("mi-topico"));
    let topics: Vec<String> = (0..40).map(|_| unique("muchos")).collect();
    topics.iter().for_each(|topic| create(kafka, &program, topic, 1));
    let (program, topics) = (&program, &topics);
    thread::scope(|scope| {
        for client in 0..4 {
            scope.spawn(move || {
                for round in 0..3 {
                    for topic in topics {
                        let body =
                            json!({"records": [{"value": [client, round]}, {"value": [client, round]}]});
                        places(&post(program, topic, JSON, &body.to_string()));
                    }
                }
            });
        }
    });
    for topic in topics {
        assert_eq!(kafka.assistant().read(topic, false).len(), 24, "{topic}");
    }
}

/// What became of numbered records, two in each request, as the answers had it.
struct Book {
    stored: Vec<u64>,
    refused: Vec<u64>,
    unknown: Vec<u64>,
}

impl Book {
    fn new() -> Book {
        Book { stored: Vec::new(), refused: Vec::new(), unknown: Vec::new() }
    }

    /// Posts two records and gives the status.
    fn post(&mut self, program: &Program, topic: &str) -> u16 {
        let first = (self.stored.len() + self.refused.len() + self.unknown.len()) as u64;
        let ids = [first, first + 1];
        let body = json!({"records": ids.map(|id| json!({"value": id}))});
        let answer = post(program, topic, JSON, &body.to_string());
        let json = answer.json();
        for (index, id) in ids.into_iter().enumerate() {
            let fate = match json["offsets"].as_array() {
                Some(offsets) => &offsets[index],
                None => &json,
            };
            match fate["error_code"].as_u64() {
                None if fate["offset"].is_i64() => self.stored.push(id),
                Some(503) => self.refused.push(id),
                Some(504) => self.unknown.push(id),
                _ => panic!("{json}"),
            }
        }
        if answer.status == 503 {
            assert_eq!(answer.header("retry-after"), Some("1"), "{answer:?}");
        }
        assert!([200, 207, 503, 504].contains(&answer.status), "{answer:?}");
        answer.status
    }

    fn check(&self, kafka: &Kafka, topic: &str) {
        let records = kafka.assistant().read(topic, false);
        let id = |record: &Record| -> u64 {
            let value = record.value.as_deref().expect("a value");
            String::from_utf8_lossy(value).parse().expect("a number")
        };
        let mut there: Vec<u64> = records.iter().map(id).collect();
        there.sort_unstable();
        let count = there.len();
        there.dedup();
        assert_eq!(there.len(), count, "nothing is stored twice");
        assert!(self.stored.iter().all(|id| there.contains(id)), "what was stored is there");
        assert!(self.refused.iter().all(|id| !there.contains(id)), "what was refused is not");
        println!(
            "{} stored, {} refused, {} unknown",
            self.stored.len(),
            self.refused.len(),
            self.unknown.len()
        );
    }
}

/// A cluster of the test's own, with a topic and a `producer_api` that answers within two seconds.
fn own_stage(version: &'static str) -> (Kafka, Program, String) {
    let kafka = Kafka::start(version, 1);
    let topic = unique("pedidos");
    let start = Start::program("producer_api").on(&kafka).set("kafka.topic", &unique("mi-topico"));
    let program = Program::producer_with(start.set("producer_api.answer_timeout_ms", "2000"));
    create(&kafka, &program, &topic, 2);
    (kafka, program, topic)
}

fn answers_stay_true_while_the_broker_is_away(version: &'static str) {
    let (kafka, program, topic) = own_stage(version);
    let mut book = Book::new();
    let patience = 4 * PATIENCE;
    for _ in 0..2 {
        eventually("records are stored", patience, || (book.post(&program, &topic) == 200).then_some(()));
        kafka.kill_node(0);
        for _ in 0..3 {
            eventually("records are refused", PATIENCE, || {
                (book.post(&program, &topic) == 503).then_some(())
            });
        }
        assert_eq!(get(&program, "/brokers").status, 503);
        assert_eq!(get(&program, "/topics").status, 503);
        kafka.start_node(0);
    }
    eventually("records are stored", patience, || (book.post(&program, &topic) == 200).then_some(()));
    book.check(&kafka, &topic);
}

fn a_frozen_broker_makes_answers_unknown_but_never_false(version: &'static str) {
    let (kafka, program, topic) = own_stage(version);
    let mut book = Book::new();
    eventually("records are stored", 4 * PATIENCE, || (book.post(&program, &topic) == 200).then_some(()));
    // Known to exist a moment ago, the topic is sent to.
    kafka.freeze_node(0);
    assert!(book.post(&program, &topic) != 200);
    for _ in 0..3 {
        assert_eq!(book.post(&program, &topic), 503, "the cluster does not say that the topic is there");
    }
    kafka.thaw_node(0);
    eventually("records are stored", 4 * PATIENCE, || (book.post(&program, &topic) == 200).then_some(()));
    book.check(&kafka, &topic);
}

fn topics_partitions_and_brokers_are_told(version: &'static str) {
    let (_, program, topic) = stage(version, 3);
    let brokers = get(&program, "/brokers");
    assert_eq!((brokers.status, brokers.header("content-type")), (200, Some(ANSWER)));
    assert_eq!(brokers.json(), json!({"brokers": [1]}));
    let partition = |number: i32| {
        let replica = json!({"broker": 1, "leader": true, "in_sync": true});
        json!({"partition": number, "leader": 1, "replicas": [replica]})
    };
    let all = [0, 1, 2].map(partition);
    for (path, expected) in [
        (format!("/topics/{topic}/partitions"), json!(all)),
        (format!("/topics/{topic}/partitions/2"), partition(2)),
    ] {
        let answer = get(&program, &path);
        assert_eq!((answer.status, answer.header("content-type")), (200, Some(ANSWER)));
        assert_eq!(answer.json(), expected);
    }
    let described = get(&program, &format!("/topics/{topic}")).json();
    assert_eq!((&described["name"], &described["partitions"]), (&json!(topic), &json!(all)));
    for number in ["3", "-1", "x", "99999999999"] {
        let answer = get(&program, &format!("/topics/{topic}/partitions/{number}"));
        assert_eq!((answer.status, &answer.json()["error_code"]), (404, &json!(40402)));
    }
    let names = get(&program, "/topics").json();
    let names: Vec<&str> = names.as_array().expect("names").iter().filter_map(Value::as_str).collect();
    assert!(names.is_sorted() && names.contains(&topic.as_str()), "{names:?}");
}

fn kafkas_own_topics_are_not_listed_and_take_no_records(version: &'static str) {
    let (kafka, program, topic) = stage(version, 1);
    let _consumer = Program::consumer(kafka, "consumer1", &topic, &unique("grupo"));
    let own = "__consumer_offsets";
    let answer = post(&program, own, JSON, r#"{"records":[{"value":1}]}"#);
    assert_eq!((answer.status, &answer.json()["error_code"]), (403, &json!(40301)), "{answer:?}");
    assert!(!get(&program, "/topics").json().as_array().expect("names").contains(&json!(own)));
    assert_eq!(get(&program, &format!("/topics/{own}")).status, 200);
}

fn kafkas_own_topics_take_no_records_where_they_are_not_there(version: &'static str) {
    let (_, program, _) = stage(version, 1);
    let own = "__transaction_state";
    for query in ["", "?async=true"] {
        let answer = post(&program, &format!("{own}{query}"), JSON, r#"{"records":[{"value":1}]}"#);
        assert_eq!((answer.status, &answer.json()["error_code"]), (403, &json!(40301)), "{answer:?}");
    }
    if version == EMBEDDED {
        assert_eq!(get(&program, &format!("/topics/{own}")).status, 404, "no topic is created");
    }
}
