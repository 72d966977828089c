//! How large a message may be: `producer_api.max_body_bytes` and the topic's own `max.message.bytes` decide,
//! and a message that is larger is refused with the limit that it is over.

use crate::support::kafka::Kafka;
use crate::support::program::{Program, RECEIVED, Start, WAITING};
use crate::support::{EMBEDDED, NEWEST, PATIENCE, run_on, unique};

run_on! {
    mod kafka_4_3 on NEWEST {
        a_topic_that_takes_large_messages_gets_them_and_one_that_takes_small_ones_says_so,
        compressed_and_many_together_messages_are_as_large_as_the_topic_says,
    }
    mod embedded on EMBEDDED {
        what_the_embedded_broker_takes_at_most_is_told,
    }
}

/// The same, with bytes that no codec makes much fewer.
fn dense_body(bytes: usize, seed: u64) -> String {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let letter = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        char::from(
            b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_"[(state >> 32) as usize % 64],
        )
    };
    format!("\"{}\"", (0..bytes - 2).map(letter).collect::<String>())
}

/// A body of JSON with so many bytes.
fn body(bytes: usize) -> String {
    format!("\"{}\"", "x".repeat(bytes - 2))
}

fn endpoint(kafka: &Kafka, topic: &str, max_body_bytes: usize) -> Start {
    let start = Start::program("producer_api").on(kafka).set("kafka.topic", topic);
    start.set("producer_api.max_body_bytes", &max_body_bytes.to_string())
}

/// Posts a message that is larger than a limit.
fn is_refused(api: &Program, bytes: usize, words: &[&str]) {
    let answer = api.post("/enviar", &body(bytes));
    let json = answer.json();
    let sentence = json["message"].as_str().unwrap_or_default();
    assert_eq!(answer.status, 413, "{bytes}: {sentence}");
    assert!(words.iter().all(|word| sentence.contains(word)), "{bytes}: {sentence}");
}

fn a_topic_that_takes_large_messages_gets_them_and_one_that_takes_small_ones_says_so(version: &'static str) {
    let kafka = Kafka::shared(version);
    let (large, small) = (unique("grande"), unique("pequeno"));
    kafka.assistant().create_topic(&large, 1, 1, &["max.message.bytes=5000000"]);
    kafka.assistant().create_topic(&small, 1, 1, &["max.message.bytes=2000"]);

    let api = Program::producer_with(endpoint(kafka, &large, 8_000_000));
    let consumer = Program::consumer(kafka, "consumer1", &large, &unique("grupo"));
    for bytes in [10, 1_100_000, 4_900_000, 10] {
        let answer = api.post("/enviar", &body(bytes));
        assert_eq!(answer.status, 200, "{bytes} bytes: {}", String::from_utf8_lossy(&answer.body).len());
    }
    is_refused(&api, 5_000_000, &[&large, "5000000", "max.message.bytes"]);
    is_refused(&api, 7_999_999, &[&large, "5000000", "max.message.bytes"]);
    consumer.wait_for_line(WAITING, PATIENCE);
    consumer.wait_for_messages(4, PATIENCE);
    let lengths: Vec<usize> = consumer.received().iter().map(String::len).collect();
    assert_eq!(lengths, [10, 1_100_000, 4_900_000, 10], "{RECEIVED}");

    let api = Program::producer_with(endpoint(kafka, &small, 8_000_000));
    assert_eq!(api.post("/enviar", &body(1_900)).status, 200);
    is_refused(&api, 2_000, &[&small, "2000", "max.message.bytes"]);
    is_refused(&api, 3_000_000, &[&small, "2000", "max.message.bytes"]);
    assert_eq!(kafka.assistant().read(&small, false).len(), 1);
}

fn compressed_and_many_together_messages_are_as_large_as_the_topic_says(version: &'static str) {
    let kafka = Kafka::shared(version);
    let topic = unique("comprimido");
    kafka.assistant().create_topic(&topic, 1, 1, &["max.message.bytes=3000"]);
    let api = Program::producer_with(endpoint(kafka, &topic, 2_000_000).set("kafka.compression", "gzip"));
    // What goes to the broker counts, which is small.
    assert_eq!(api.post("/enviar", &body(500_000)).status, 200);
    let lines: Vec<String> = (0..100).map(|seed| dense_body(1_000, seed + 1)).collect();
    let records: Vec<String> = lines.iter().map(|line| format!(r#"{{"value":{line}}}"#)).collect();
    let request = format!(r#"{{"records":[{}]}}"#, records.join(","));
    let answer = api.post(&format!("/topics/{topic}"), &request);
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(kafka.assistant().read(&topic, false).len(), 101);
}

fn what_the_embedded_broker_takes_at_most_is_told(version: &'static str) {
    let kafka = Kafka::shared(version);
    let topic = unique("mi-topico");
    let start = endpoint(kafka, &topic, 67_108_864).set("producer.queue_bytes", "200000000");
    let api = Program::producer_with(start);
    assert_eq!(api.post("/enviar", &body(1_100_000)).status, 200);
    for bytes in [1_200_000, 67_108_864] {
        is_refused(&api, bytes, &[&topic, "1114124", "max.message.bytes"]);
    }
    assert_eq!(api.post("/enviar", &body(10)).status, 200);
    assert_eq!(kafka.assistant().read(&topic, false).len(), 2);
}
