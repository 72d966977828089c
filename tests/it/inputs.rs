//! What senders beside the body's JSON can give: headers and keys of the request, compressed bodies, lines,
//! and bytes.

use std::io::Write;

use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};
use serde_json::{Value, json};

use crate::support::assistant::Record;
use crate::support::http::{Answer, Connection};
use crate::support::kafka::Kafka;
use crate::support::program::{Program, Start};
use crate::support::{EMBEDDED, NEWEST, PATIENCE, run_on, unique};

run_on! {
    mod kafka_4_3 on NEWEST {
        headers_of_the_request_become_headers_of_the_record_and_reach_its_handler,
        lines_of_json_are_a_message_each,
    }
    mod embedded on EMBEDDED {
        headers_of_the_request_become_headers_of_the_record_and_reach_its_handler,
        lines_of_json_are_a_message_each,
        a_key_may_stand_in_a_header_or_in_the_body,
        compressed_bodies_are_unpacked_up_to_the_limit,
        any_bytes_go_into_any_topic_and_into_a_channel_that_takes_them,
    }
}

struct Scene {
    kafka: &'static Kafka,
    topic: String,
    program: Program,
}

impl Scene {
    fn new(version: &'static str, settings: &[(&str, &str)]) -> Scene {
        let (kafka, topic) = (Kafka::shared(version), unique("entrada"));
        let start = Start::program("producer_api").on(kafka).set("kafka.topic", &topic);
        let start = settings.iter().fold(start, |start, (key, value)| start.set(key, value));
        Scene { kafka, topic, program: Program::producer_with(start) }
    }

    /// Posts with these header lines, each with its CRLF; there is no `Content-Type` beside them.
    fn post(&self, path: &str, lines: &str, body: &[u8]) -> Answer {
        let mut connection = Connection::open(self.program.address()).expect("a connection");
        let head =
            format!("POST {path} HTTP/1.1\r\nHost: x\r\n{lines}Content-Length: {}\r\n\r\n", body.len());
        connection.send(&[head.as_bytes(), body].concat());
        connection.answer().unwrap_or_else(|error| panic!("POST {path}: {error}"))
    }

    fn records(&self) -> Vec<Record> {
        self.kafka.assistant().read(&self.topic, false)
    }
}

fn code(answer: &Answer) -> (u16, String) {
    (answer.status, answer.json()["error"]["code"].as_str().unwrap_or_default().to_owned())
}

fn headers_of_the_request_become_headers_of_the_record_and_reach_its_handler(version: &'static str) {
    let scene = Scene::new(version, &[]);
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let lines = format!(
        "traceparent: {trace}\r\nCe-Id: 7\r\nce-subject: a%20\u{25}C3%B1\r\nX-Kafka-Header-Origen: web\r\n\
         Cookie: secret\r\nContent-Type: application/json\r\n"
    );
    assert_eq!(scene.post("/enviar?key=k", &lines, b"1").status, 200);
    let path = format!("/topics/{}", scene.topic);
    let with_own = br#"{"records":[{"value":2,"headers":[{"key":"a","value":"Yg=="}]}]}"#;
    assert_eq!(scene.post(&path, &lines, with_own).status, 200);
    let header = |name: &str, value: &str| (name.to_owned(), Some(value.as_bytes().to_vec()));
    let expected = vec![
        header("traceparent", trace),
        header("ce_id", "7"),
        header("ce_subject", "a ñ"),
        header("Origen", "web"),
        header("content-type", "application/json"),
    ];
    for record in scene.records() {
        let own: Vec<_> =
            (record.value.as_deref() == Some(b"2")).then(|| header("a", "b")).into_iter().collect();
        assert_eq!(record.headers, [own, expected.clone()].concat());
    }
    let start = Program::consumer_start(scene.kafka, "consumer1", &scene.topic, &unique("grupo"));
    let handler = r#"["sh", "-c", "echo \"$POINT_TO_POINT_HEADERS\""]"#;
    let consumer = start.set("consumer.handler", handler).start();
    consumer.wait_for_lines(2, PATIENCE);
    assert!(consumer.lines().iter().any(|line| line.contains("traceparent")), "{:?}", consumer.lines());
    for (lines, code_of) in [
        ("X-Kafka-Header-a: \u{e9}\r\n", "bad_header_value"),
        ("ce-id: %\r\n", "bad_event"),
        ("X-Key: \u{f1}\r\n", "bad_header_value"),
    ] {
        assert_eq!(code(&scene.post("/enviar", lines, b"1")), (400, code_of.to_owned()), "{lines}");
    }
    let event = br#"{"specversion":"1.0","id":"1","source":"/s","type":"t"}"#;
    assert_eq!(scene.post("/enviar", "Content-Type: application/cloudevents+json\r\n", event).status, 200);
    let stored = scene.records();
    let whole = stored
        .iter()
        .find(|record| record.value.as_deref() == Some(event))
        .expect("the event as it was sent");
    assert_eq!(whole.headers, [header("content-type", "application/cloudevents+json")]);
}

fn lines_of_json_are_a_message_each(version: &'static str) {
    let scene = Scene::new(version, &[]);
    let ndjson = "Content-Type: application/x-ndjson; charset=utf-8\r\n";
    let answer = scene.post("/enviar?key=k", ndjson, b"{\"id\":1}\n\n [2] \r\n\"3\"");
    let offsets = answer.json()["offsets"].as_array().cloned().unwrap_or_default();
    assert_eq!((answer.status, offsets.len()), (200, 3), "{answer:?}");
    assert!(offsets.iter().all(|place| place["offset"].is_i64() && place["error"].is_null()));
    let stored = scene.records();
    let values: Vec<_> = stored.iter().map(|record| record.value.as_deref().unwrap_or_default()).collect();
    assert_eq!(values, [&b"{\"id\":1}"[..], b"[2]", b"\"3\""], "of one key, in their order");
    let wrong = scene.post("/enviar", ndjson, b"1\n{\n3");
    assert_eq!(code(&wrong), (400, "bad_json".to_owned()));
    assert!(wrong.json()["message"].as_str().is_some_and(|why| why.starts_with("Line 2: ")), "{wrong:?}");
    assert_eq!(code(&scene.post("/enviar", ndjson, b"\n \n")), (400, "bad_json".to_owned()));
    assert_eq!(scene.post("/enviar", ndjson, &b"1\n".repeat(10_001)).status, 413);
    assert_eq!(scene.records().len(), 3, "what is refused is not stored, not a line of it");
}

fn a_key_may_stand_in_a_header_or_in_the_body(version: &'static str) {
    let scene = Scene::new(version, &[("producer_api.key", "\"/orderId\"")]);
    let ndjson = "Content-Type: application/x-ndjson\r\n";
    for (path, lines, body) in [
        ("/enviar", "", r#"{"orderId":"c1"}"#),
        ("/enviar", "X-Key: c2\r\n", r#"{"id":2}"#),
        ("/enviar?key=c3", "", r#"{"id":3}"#),
        ("/enviar", ndjson, "{\"orderId\":40}\n{\"orderId\":\"c5\"}"),
    ] {
        assert_eq!(scene.post(path, lines, body.as_bytes()).status, 200, "{path} {lines} {body}");
    }
    let stored = scene.records();
    let mut keys: Vec<_> =
        stored.iter().map(|r| String::from_utf8(r.key.clone().expect("a key")).expect("text")).collect();
    keys.sort();
    assert_eq!(keys, ["40", "c1", "c2", "c3", "c5"]);
    for record in &stored {
        let javas = scene.kafka.assistant().put(&scene.topic, -1, record.key.as_deref(), Some(b"0"));
        assert_eq!(record.partition, javas.0, "where Java puts the key");
    }
    for (path, lines, body, code_of) in [
        ("/enviar", "", r#"{"id":1}"#, "no_key"),
        ("/enviar", "", "7", "no_key"),
        ("/enviar?key=a", "X-Key: a\r\n", "{}", "bad_key"),
        ("/enviar?kye=a", "", "{}", "unknown_parameter"),
    ] {
        assert_eq!(
            code(&scene.post(path, lines, body.as_bytes())),
            (400, code_of.to_owned()),
            "{path} {body}"
        );
    }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).expect("memory");
    encoder.finish().expect("memory")
}

fn compressed_bodies_are_unpacked_up_to_the_limit(version: &'static str) {
    let scene = Scene::new(version, &[("producer_api.max_body_bytes", "200000")]);
    let mut deflate = ZlibEncoder::new(Vec::new(), Compression::default());
    deflate.write_all(b"{\"id\":2}").expect("memory");
    let deflated = deflate.finish().expect("memory");
    assert_eq!(scene.post("/enviar", "Content-Encoding: gzip\r\n", &gzip(b"{\"id\":1}")).status, 200);
    assert_eq!(scene.post("/enviar", "Content-Encoding: deflate\r\n", &deflated).status, 200);
    let path = format!("/topics/{}", scene.topic);
    let records = "Content-Encoding: gzip\r\nContent-Type: application/vnd.kafka.json.v2+json\r\n";
    assert_eq!(scene.post(&path, records, &gzip(br#"{"records":[{"value":3}]}"#)).status, 200);
    let bomb = gzip(&b"0".repeat(50_000_000));
    assert!(bomb.len() < 100_000);
    let bomb = scene.post("/enviar", "Content-Encoding: gzip\r\n", &bomb);
    assert_eq!(code(&bomb), (413, "body_too_large".to_owned()));
    let broken = scene.post("/enviar", "Content-Encoding: gzip\r\n", b"{}");
    assert_eq!(code(&broken), (400, "bad_content_encoding".to_owned()));
    let unknown = scene.post("/enviar", "Content-Encoding: br\r\n", b"{}");
    assert_eq!(code(&unknown), (415, "content_encoding".to_owned()));
    assert_eq!(scene.records().len(), 3);
}

fn any_bytes_go_into_any_topic_and_into_a_channel_that_takes_them(version: &'static str) {
    let scene = Scene::new(version, &[]);
    let bytes: Vec<u8> = (0..=255).collect();
    let other = unique("bytes");
    scene.kafka.assistant().create_topic(&other, 3, 1, &[]);
    let stored = |answer: &Answer| answer.json()["offsets"][0]["offset"].is_i64();
    let answer = scene.post(&format!("/topics/{other}/raw?key=k"), "traceparent: 00-a-b-01\r\n", &bytes);
    assert!(answer.status == 200 && stored(&answer), "{answer:?}");
    assert_eq!(scene.post(&format!("/topics/{other}/raw?async=true"), "X-Key: k\r\n", b"").status, 204);
    crate::support::eventually("both are stored", PATIENCE, || {
        (scene.kafka.assistant().read(&other, false).len() == 2).then_some(())
    });
    let records = scene.kafka.assistant().read(&other, false);
    let first = records.iter().find(|record| record.value.as_deref() == Some(&bytes)).expect("the bytes");
    assert_eq!((first.key.as_deref(), first.headers.len()), (Some(&b"k"[..]), 1));
    let own = format!("/topics/{}/raw", scene.topic);
    assert_eq!(scene.post(&own, "", b"hola").status, 422, "the channel takes JSON alone");
    assert_eq!(scene.post(&own, "", b"{\"id\":1}").status, 200);
    assert_eq!(code(&scene.post("/enviar", "", b"hola")), (400, "bad_json".to_owned()));

    let scene = Scene::new(version, &[("consumer.payload", "any")]);
    let answer = scene.post("/enviar", "", b"hola");
    let shown: Value = answer.json();
    assert_eq!(
        (answer.status, &shown["data"], &shown["encoding"]),
        (200, &json!("aG9sYQ=="), &json!("base64"))
    );
    assert_eq!(scene.post("/enviar", "", b"{\"id\":1}").json()["data"], json!({"id": 1}));
    let values: Vec<_> = scene.records().into_iter().filter_map(|record| record.value).collect();
    assert!(values.contains(&b"hola".to_vec()));
}
