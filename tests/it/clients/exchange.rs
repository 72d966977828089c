//! What one client writes, another reads: codecs, keys, headers, timestamps, producers that try again.

use std::time::{Duration, SystemTime};

use super::client::{CLIENTS, Client, Extras, Record, Settings};
use crate::support::assistant::Assistant;
use crate::support::kafka::Kafka;
use crate::support::{NEWEST, OLDEST, PATIENCE, eventually, unique};

/// The codecs in the order of their numbers in a batch's attributes.
const CODECS: [&str; 5] = ["none", "gzip", "snappy", "lz4", "zstd"];

/// How many messages each client sends with each codec.
const EACH: usize = 10;

/// Milliseconds since 1970, an hour ago: neither the clock of a client nor old enough for any retention.
fn an_hour_ago() -> i64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("a clock after 1970");
    (now - Duration::from_secs(3600)).as_millis() as i64
}

/// Compressible, so that no client prefers to leave it as it is.
fn values(client: Client, codec: &str) -> Vec<String> {
    (0..EACH).map(|n| format!("{} {codec} {n} {}", client.name(), "relleno ".repeat(50))).collect()
}

/// Headers that only a careful client and broker keep: a name twice, an empty value, null. kafka-python
/// refuses to send the last.
fn headers(client: Client) -> Vec<(&'static str, Option<&'static str>)> {
    let all = [("h", Some("1")), ("h", Some("2")), ("empty", Some("")), ("null", None)];
    all.into_iter().filter(|(_, value)| client != Client::KafkaPython || value.is_some()).collect()
}

pub fn what_any_client_writes_any_client_reads_unchanged(version: &'static str) {
    let kafka = Kafka::shared(version);
    let topic = unique("exchange");
    kafka.assistant().create_topic(&topic, 1, 1, &[]);
    let mut expected = Vec::new();
    for client in CLIENTS {
        let (key, headers) = (format!("key of {}", client.name()), headers(client));
        let chooses = matches!(client, Client::Confluent | Client::KafkaPython);
        let timestamp = chooses.then(an_hour_ago);
        let extras = Extras { key: Some(&key), headers: &headers, timestamp };
        for codec in CODECS {
            let values = values(client, codec);
            client.send(kafka, &topic, extras, &[("compression.type", codec)], &values);
            let record = |value| (Some(key.clone()), extras.as_read(), timestamp, Some(value));
            expected.extend(values.into_iter().map(record));
        }
    }
    let mut stored = kafka.codecs(&topic, 0);
    stored.dedup();
    assert_eq!(stored, [0, 1, 2, 3, 4].repeat(CLIENTS.len()), "batches are kept as they came");

    let mut first: Option<Vec<Record>> = None;
    for client in CLIENTS {
        let consumer = client.consumer(kafka, &topic, &unique("grupo"), &[]);
        let records = client.wait_for_records(&consumer, expected.len());
        assert_eq!(records.len(), expected.len(), "{client:?} reads each message once");
        for (record, (key, headers, timestamp, value)) in records.iter().zip(&expected) {
            let read = (&record.key, &record.headers, &record.value);
            assert_eq!(read, (key, headers, value), "{client:?} at offset {}", record.offset);
            assert!(timestamp.is_none_or(|time| time == record.timestamp), "{client:?}: {record:?}");
        }
        // The timestamps that clients took from their clocks are known from the first reader.
        let first = first.get_or_insert_with(|| records.clone());
        assert!(records == *first, "{client:?} reads what the first client read");
    }
}

/// Without these, Java's console producer gives up early.
const PERSISTENT: Settings = &[
    ("enable.idempotence", "true"),
    ("retries", "2147483647"),
    ("request.timeout.ms", "30000"),
    ("reconnect.backoff.max.ms", "500"),
];

pub fn idempotent_producers_store_each_message_once_and_in_order_while_the_broker_dies(
    version: &'static str,
) {
    idempotent_producers(&Kafka::start(version, 1), 2);
}

pub fn idempotent_producers_store_each_message_once_and_in_order_while_holders_die(version: &'static str) {
    idempotent_producers(&Kafka::start(version, 2), 6);
}

/// The nodes are killed in turns, in the order in which they serve.
fn idempotent_producers(kafka: &Kafka, rounds: usize) {
    let topic_of = |client: Client| format!("idempotent-{}", client.name());
    let mut producers: Vec<_> = CLIENTS
        .iter()
        .map(|client| {
            kafka.assistant().create_topic(&topic_of(*client), 1, 1, &[]);
            client.producer(kafka, &topic_of(*client), Extras::default(), PERSISTENT)
        })
        .collect();
    let mut sent = 0;
    let mut send = |count: usize| {
        for producer in &mut producers {
            (sent..sent + count).for_each(|number| producer.send(&number.to_string()));
        }
        sent += count;
        sent
    };
    for round in 0..rounds {
        let (before, node) = (send(0), round % kafka.nodes());
        send(500);
        // Each is in the middle of its work, or just past it.
        eventually("each producer has stored something", PATIENCE, || {
            let end = |client: &Client| Some(kafka.assistant().end_offsets(&topic_of(*client))?[&0]);
            CLIENTS.iter().all(|client| end(client).is_some_and(|end| end > before as i64)).then_some(())
        });
        kafka.kill_node(node);
        send(200);
        kafka.start_node(node);
    }
    let sent = send(300);
    producers.into_iter().for_each(|producer| producer.finish());
    for client in CLIENTS {
        let records = kafka.assistant().read(&topic_of(client), false);
        let values: Vec<String> = records
            .into_iter()
            .map(|r| String::from_utf8(r.value.unwrap_or_default()).expect("UTF-8"))
            .collect();
        let expected: Vec<String> = (0..sent).map(|number| number.to_string()).collect();
        assert!(values == expected, "{client:?}: {} stored of {sent}: {values:?}", values.len());
    }
}

pub fn a_topic_that_nobody_created_is_there_for_whoever_sends_to_it(version: &'static str) {
    let kafka = Kafka::shared(version);
    for client in CLIENTS {
        let topic = unique("nueva");
        client.send(kafka, &topic, Extras::default(), &[], &["hola".to_owned()]);
        let records = kafka.assistant().read(&topic, false);
        assert_eq!(records.len(), 1, "{client:?}");
        let partitions = kafka.assistant().end_offsets(&topic).map(|offsets| offsets.len());
        assert_eq!(partitions, Some(4), "as the setting kafka.partitions says");
    }
}

pub fn a_transactional_producer_is_refused_and_told_so(version: &'static str) {
    let kafka = Kafka::shared(version);
    let topic = unique("transaction");
    kafka.assistant().create_topic(&topic, 1, 1, &[]);
    for client in [Client::Confluent, Client::KafkaPython] {
        let said = client.transact(kafka, &topic);
        assert!(said.starts_with("refused: ") && !said.to_lowercase().contains("time"), "{client:?}: {said}");
    }
    for java in [NEWEST, OLDEST] {
        let assistant = Assistant::new(java, &kafka.bootstrap());
        let said = assistant.try_ask(&["transaction", &topic, "0", "commit", "%d", "1"]);
        let said = said.expect_err("a transaction is refused");
        assert!(!said.to_lowercase().contains("timeout"), "Java {java}: {said}");
    }
    assert_eq!(kafka.assistant().read(&topic, false), [], "nothing of a transaction is stored");
}
