//! Produce to topics with configurations of their own.

use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use kafka_protocol::messages::produce_response::PartitionProduceResponse;

use super::Fixture;
use super::client::{Client, batch, batch_of, produce, values};
use super::configs::{TOPIC, incremental};
use protocol::compression::Compression;
use protocol::error_code::ErrorCode;
use protocol::records::{Batch, Batches, Content, encode_batch};

fn now() -> i64 {
    i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
}

/// A batch of records with these keys and timestamps.
fn records(records: &[(Option<&str>, i64)]) -> Bytes {
    let content = |(key, timestamp): &(Option<&'static str>, i64)| Content {
        timestamp: Some(*timestamp),
        key: key.map(str::as_bytes),
        value: Some(&b"v"[..]),
        ..Content::default()
    };
    let records: Vec<(Option<&'static str>, i64)> =
        records.iter().map(|(key, timestamp)| (key.map(|_| "k"), *timestamp)).collect();
    encode_batch(records.iter().map(content), 0, -1, -1, -1, Compression::None).unwrap().into()
}

fn stored(client: &mut Client, topic: &str) -> Vec<Batch> {
    let records = client.fetch(topic, 0, 0).records.unwrap();
    Batches::new(&records).map(|batch| batch.unwrap()).collect()
}

fn code(response: &PartitionProduceResponse) -> ErrorCode {
    ErrorCode(response.error_code)
}

#[test]
fn a_batch_may_be_as_large_as_its_topic_says() {
    let broker = Fixture::new();
    let mut client = broker.client();
    let one = batch(&["x"]);
    let size = one.len().to_string();
    client.create_with("t", &[("max.message.bytes", &size)]);
    assert_eq!(code(&client.produce("t", 0, one)), ErrorCode::NONE);
    let refused = client.produce("t", 0, batch(&["xy"]));
    assert_eq!(code(&refused), ErrorCode::MESSAGE_TOO_LARGE);
    assert!(refused.error_message.unwrap().contains(&size));
    // Also when the topic's codec makes it larger.
    let packed = batch_of(&["x".repeat(1000).as_str()], -1, -1, Compression::Gzip);
    let configs = [("max.message.bytes", "500"), ("compression.type", "uncompressed")];
    client.create_with("unpacked", &configs);
    assert!(packed.len() < 500);
    assert_eq!(code(&client.produce("unpacked", 0, packed)), ErrorCode::MESSAGE_TOO_LARGE);
    // An alteration holds for the next batch; larger than the broker's own limit is allowed.
    let change = (TOPIC, "t", "max.message.bytes", 0, Some("3000000"));
    assert_eq!(client.call(1, &incremental(&[change])).responses[0].error_code, 0);
    assert_eq!(code(&client.produce("t", 0, batch(&["x".repeat(2_000_000).as_str()]))), ErrorCode::NONE);
    assert_eq!(client.fetch("t", 0, 1).records.unwrap().len() / 2_000_000, 1);
}

#[test]
fn a_compacted_topic_takes_records_with_keys_alone_and_names_the_others() {
    let broker = Fixture::new();
    let mut client = broker.client();
    for policy in ["compact", "delete,compact"] {
        client.create_with(policy.split(',').next().unwrap(), &[("cleanup.policy", policy)]);
    }
    for topic in ["compact", "delete"] {
        let refused = client.produce(topic, 0, records(&[(Some("k"), 1), (None, 1), (None, 1)]));
        assert_eq!((code(&refused), refused.base_offset), (ErrorCode::INVALID_RECORD, -1));
        let named: Vec<_> = refused.record_errors.iter().map(|error| error.batch_index).collect();
        assert_eq!(named, [1, 2]);
        assert!(
            refused.record_errors[0].batch_index_error_message.as_ref().unwrap().contains("without a key")
        );
        assert!(refused.error_message.unwrap().contains("without a key"));
        assert_eq!(code(&client.produce_as(7, topic, 0, records(&[(None, 1)]))), ErrorCode::INVALID_RECORD);
        assert_eq!(client.produce(topic, 0, records(&[(Some("k"), 1)])).base_offset, 0);
    }
}

#[test]
fn no_more_than_a_hundred_refused_records_of_a_batch_are_named() {
    let broker = Fixture::new();
    let mut client = broker.client();
    client.create_with("t", &[("cleanup.policy", "compact")]);
    let refused = client.produce("t", 0, records(&[(None, 1); 1000]));
    assert_eq!(refused.record_errors.len(), 100);
    assert!(refused.error_message.unwrap().contains("999 more"));
}

#[test]
fn records_of_a_time_too_far_from_now_are_refused() {
    let broker = Fixture::new();
    let mut client = broker.client();
    const HOUR: i64 = 3_600_000;
    client.create_topic("t");
    client.create_with("recent", &[("message.timestamp.before.max.ms", "3600000")]);
    client.create_with("any", &[("message.timestamp.after.max.ms", "9223372036854775807")]);
    let mut send = |topic: &str, after: i64| {
        let answer = client.produce(topic, 0, records(&[(None, now()), (None, now() + after)]));
        let named: Vec<_> = answer.record_errors.iter().map(|error| error.batch_index).collect();
        assert_eq!(named.is_empty(), answer.error_code == 0);
        assert!(named.is_empty() || named == [1], "{named:?}");
        code(&answer)
    };
    let invalid = ErrorCode::INVALID_TIMESTAMP;
    // Kafka's default: at most an hour ahead, and as old as they want to be.
    assert_eq!((send("t", 2 * HOUR), send("t", HOUR / 2)), (invalid, ErrorCode::NONE));
    assert_eq!(send("t", -50 * 365 * 24 * HOUR), ErrorCode::NONE);
    assert_eq!((send("recent", -2 * HOUR), send("recent", -HOUR / 2)), (invalid, ErrorCode::NONE));
    assert_eq!(send("any", 1000 * HOUR), ErrorCode::NONE);
    // No time is no wrong time; a wrong time decides beside a missing key.
    assert_eq!(code(&client.produce("recent", 0, records(&[(None, -1)]))), ErrorCode::NONE);
    client.create_with("both", &[("cleanup.policy", "compact")]);
    let both = client.produce("both", 0, records(&[(None, 1), (Some("k"), now() + 2 * HOUR)]));
    assert_eq!((code(&both), both.record_errors.len()), (invalid, 2));
}

#[test]
fn a_topic_may_give_records_the_time_of_their_append() {
    let broker = Fixture::new();
    let mut client = broker.client();
    client.create_with("t", &[("message.timestamp.type", "LogAppendTime")]);
    let before = now();
    for (index, codec) in [Compression::None, Compression::Zstd].into_iter().enumerate() {
        let answer = client.produce("t", 0, batch_of(&["a", "b"], -1, -1, codec));
        assert_eq!(answer.error_code, 0);
        let time = answer.log_append_time_ms;
        assert!((before..=now()).contains(&time), "{time}");
        let stored = stored(&mut client, "t").remove(index);
        assert!(stored.header.is_log_append_time());
        assert_eq!((stored.header.attributes & 7, stored.header.max_timestamp), (codec as i16, time));
        let records = stored.unpack(1 << 20).unwrap();
        assert!(records.iter().all(|record| record.unwrap().timestamp == time));
    }
    // Whatever time a producer gives.
    let future = records(&[(None, now() + 1_000_000_000)]);
    assert_eq!(code(&client.produce("t", 0, future)), ErrorCode::NONE);
    let mut claims = batch(&["x"]).to_vec();
    claims[22] |= 8;
    let crc = crc32c::crc32c(&claims[21..]).to_be_bytes();
    claims[17..21].copy_from_slice(&crc);
    assert_eq!(code(&client.produce("t", 0, claims.into())), ErrorCode::INVALID_TIMESTAMP);
}

#[test]
fn a_topic_may_have_its_batches_packed_by_one_codec() {
    let broker = Fixture::new();
    let mut client = broker.client();
    let codecs = [
        ("uncompressed", Compression::None),
        ("gzip", Compression::Gzip),
        ("snappy", Compression::Snappy),
        ("lz4", Compression::Lz4),
        ("zstd", Compression::Zstd),
    ];
    for (name, codec) in codecs {
        client.create_with(name, &[("compression.type", name)]);
        for (index, (_, sent)) in codecs.into_iter().enumerate() {
            let answer = client.produce(name, 0, batch_of(&["a", "b"], 7, index as i32 * 2, sent));
            assert_eq!((answer.error_code, answer.base_offset), (0, index as i64 * 2));
        }
        for batch in stored(&mut client, name) {
            assert_eq!(batch.header.attributes & 7, codec as i16, "{name}");
        }
        let values: Vec<String> =
            values(&client.fetch(name, 0, 0)).into_iter().map(|(_, value)| value).collect();
        assert_eq!(values.concat(), "ab".repeat(5));
        // A batch that is sent again is still known as the producer's.
        let again = client.produce(name, 0, batch_of(&["a", "b"], 7, 8, Compression::None));
        assert_eq!((again.error_code, again.base_offset), (0, 8));
    }
}

/// Kafka 4 asks for no more in-sync replicas than a topic has replicas: one.
#[test]
fn more_in_sync_replicas_than_there_are_replicas_are_not_asked_for() {
    let broker = Fixture::new();
    let mut client = broker.client();
    client.create_with("t", &[("min.insync.replicas", "5")]);
    let answer = client.call(9, &produce(-1, "t", 0, Some(batch(&["x"]))));
    assert_eq!(answer.responses[0].partition_responses[0].error_code, 0);
}
