//! Produce: what is stored, what is refused, and what the client is told.

use std::io::Write;

use bytes::Bytes;
use kafka_protocol::messages::{
    FetchRequest, InitProducerIdRequest, ProduceResponse, ProducerId, TransactionalId,
};
use kafka_protocol::protocol::Decodable;

use super::Fixture;
use super::client::{Client, batch, batch_of, fetch, produce, text, values};
use crate::settings::MAX_BATCH_BYTES;
use protocol::compression::Compression;
use protocol::error_code::ErrorCode;

fn refusal(client: &mut Client, records: Option<Bytes>) -> (ErrorCode, String) {
    let mut answer = client.call(9, &produce(1, "t", 0, records));
    let partition = answer.responses.remove(0).partition_responses.remove(0);
    assert_eq!(partition.base_offset, -1);
    (ErrorCode(partition.error_code), partition.error_message.unwrap().to_string())
}

#[test]
fn batches_of_every_codec_are_stored_and_come_back_as_they_were() {
    let broker = Fixture::new();
    let mut client = broker.client();
    client.create_topic("t");
    let codecs =
        [Compression::None, Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd];
    for (index, codec) in codecs.into_iter().enumerate() {
        let sent = batch_of(&["a", "b"], -1, -1, codec);
        let stored = client.produce("t", 0, sent.clone());
        assert_eq!((stored.error_code, stored.base_offset), (0, index as i64 * 2));
        assert_eq!((stored.log_append_time_ms, stored.log_start_offset), (-1, 0));
        let fetched = client.fetch("t", 0, index as i64 * 2);
        let records = fetched.records.unwrap();
        // The broker sets base offset and leader epoch, and nothing else.
        assert_eq!(records[..8], (index as i64 * 2).to_be_bytes());
        assert_eq!(records[12..16], [0; 4]);
        assert_eq!((&records[8..12], &records[16..]), (&sent[8..12], &sent[16..]), "{codec:?}");
    }
}

#[test]
fn records_that_consumers_could_not_read_are_refused_with_a_reason() {
    let broker = Fixture::new();
    let mut client = broker.client();
    client.create_topic("t");
    let mut damaged = batch(&["a"]).to_vec();
    *damaged.last_mut().unwrap() ^= 1;
    let two = [batch(&["a"]), batch(&["b"])].concat();
    let large = "x".repeat(MAX_BATCH_BYTES);
    for (records, code, reason) in [
        (None, ErrorCode::INVALID_RECORD, "without a record batch"),
        (Some(Bytes::new()), ErrorCode::INVALID_RECORD, "without a record batch"),
        (Some(damaged.into()), ErrorCode::CORRUPT_MESSAGE, "checksum"),
        (Some(two.into()), ErrorCode::INVALID_RECORD, "after the one record batch"),
        (Some(batch(&["a"]).slice(..65)), ErrorCode::CORRUPT_MESSAGE, "cut short"),
        (Some(Bytes::from_static(b"what")), ErrorCode::CORRUPT_MESSAGE, "cut short"),
        (Some(batch(&[&large])), ErrorCode::MESSAGE_TOO_LARGE, "1114124 at most"),
    ] {
        let (refused, why) = refusal(&mut client, records);
        assert_eq!(refused, code, "{why}");
        assert!(why.contains(reason), "{why}");
    }
    assert_eq!(client.fetch("t", 0, 0).high_watermark, 0);
    assert_eq!(client.produce("t", 0, batch(&["still here"])).error_code, 0);
}

#[test]
fn a_partition_that_there_is_not_and_acks_that_there_are_not_are_refused() {
    let broker = Fixture::new();
    let mut client = broker.client();
    client.create_topic("t");
    for (topic, partition) in [("t", 2), ("t", -1), ("t", i32::MAX), ("none", 0), ("", 0)] {
        let stored = client.produce(topic, partition, batch(&["a"]));
        assert_eq!(
            ErrorCode(stored.error_code),
            ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
            "{topic} {partition}"
        );
    }
    let answer = client.call(9, &produce(2, "t", 0, Some(batch(&["a"]))));
    let partition = &answer.responses[0].partition_responses[0];
    assert_eq!(ErrorCode(partition.error_code), ErrorCode::INVALID_REQUIRED_ACKS);
    assert_eq!(client.fetch("t", 0, 0).high_watermark, 0);
}

#[test]
fn zstd_in_a_version_that_does_not_know_it_is_refused() {
    let broker = Fixture::new();
    let mut client = broker.client();
    client.create_topic("t");
    let zstd = batch_of(&["a"], -1, -1, Compression::Zstd);
    let refused = client.produce_as(6, "t", 0, zstd.clone());
    assert_eq!(ErrorCode(refused.error_code), ErrorCode::UNSUPPORTED_COMPRESSION_TYPE);
    assert_eq!(client.produce_as(7, "t", 0, zstd).error_code, 0);
}

#[test]
fn acks_0_has_no_answer_and_its_failure_closes_the_connection() {
    let broker = Fixture::new();
    let mut client = broker.client();
    client.create_topic("t");
    client.send(9, &produce(0, "t", 0, Some(batch(&["silent"]))));
    // The next answer on this connection is the next request's.
    assert_eq!(values(&client.fetch("t", 0, 0)), [(0, "silent".to_owned())]);
    client.send(9, &produce(0, "t", 77, Some(batch(&["lost"]))));
    client.expect_closed();
}

#[test]
fn a_batch_sent_twice_by_an_idempotent_producer_is_stored_once() {
    let broker = Fixture::new();
    let mut client = broker.client();
    client.create_topic("t");
    let id = client.call(4, &new_producer()).producer_id.0;
    let another = client.call(4, &new_producer()).producer_id.0;
    assert_ne!(id, another);
    for _ in 0..3 {
        let stored = client.produce("t", 0, batch_of(&["a", "b"], id, 0, Compression::None));
        assert_eq!((stored.error_code, stored.base_offset), (0, 0));
    }
    let gap = client.produce("t", 0, batch_of(&["d"], id, 3, Compression::None));
    assert_eq!(ErrorCode(gap.error_code), ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER);
    let next = client.produce("t", 0, batch_of(&["c"], id, 2, Compression::None));
    assert_eq!((next.error_code, next.base_offset), (0, 2));
    assert_eq!(client.fetch("t", 0, 0).high_watermark, 3);
}

pub fn new_producer() -> InitProducerIdRequest {
    InitProducerIdRequest::default()
        .with_transactional_id(None)
        .with_transaction_timeout_ms(1000)
        .with_producer_id(ProducerId(-1))
        .with_producer_epoch(-1)
}

#[test]
fn transactions_are_refused_clearly() {
    let broker = Fixture::new();
    let mut client = broker.client();
    client.create_topic("t");
    let id = Some(TransactionalId(text("tx")));
    let refused = client.call(4, &new_producer().with_transactional_id(id.clone()));
    assert_eq!(ErrorCode(refused.error_code), ErrorCode::TRANSACTIONAL_ID_AUTHORIZATION_FAILED);
    let request = produce(-1, "t", 0, Some(batch(&["a"]))).with_transactional_id(id);
    let answer = client.call(9, &request);
    let partition = &answer.responses[0].partition_responses[0];
    assert_eq!(ErrorCode(partition.error_code), ErrorCode::TRANSACTIONAL_ID_AUTHORIZATION_FAILED);
    assert!(partition.error_message.as_ref().unwrap().contains("no transactions"));
}

/// The answer to one of several requests that were sent ahead: code and base offset.
fn outcome(client: &mut Client) -> (ErrorCode, i64) {
    let mut frame = client.frame().unwrap().slice(5..);
    let answer = ProduceResponse::decode(&mut frame, 9).unwrap();
    let partition = &answer.responses[0].partition_responses[0];
    (ErrorCode(partition.error_code), partition.base_offset)
}

#[test]
fn requests_sent_ahead_are_stored_in_their_order_and_answered_each_for_itself() {
    let broker = Fixture::new();
    let mut client = broker.client();
    client.create_topic("t");
    let id = client.call(4, &new_producer()).producer_id.0;
    let numbered = |sequence, value: &str| Some(batch_of(&[value], id, sequence, Compression::None));
    client.send(9, &produce(-1, "t", 0, numbered(0, "a")));
    client.send(9, &produce(-1, "none", 0, numbered(0, "b")));
    client.send(9, &produce(0, "t", 0, numbered(1, "b")));
    client.send(9, &produce(1, "t", 0, numbered(3, "too early")));
    client.send(9, &produce(-1, "t", 0, numbered(0, "a")));
    client.send(9, &produce(-1, "t", 0, Some(batch(&[&"x".repeat(500_000)]))));
    for sequence in 2..40 {
        client.send(9, &produce(-1, "t", 0, numbered(sequence, "c")));
    }
    // Whoever asks after them is told of them.
    client.send(12, &fetch(&[("t", 0, 39)]));
    assert_eq!(outcome(&mut client), (ErrorCode::NONE, 0));
    assert_eq!(outcome(&mut client), (ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, -1));
    assert_eq!(outcome(&mut client), (ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER, -1));
    assert_eq!(outcome(&mut client), (ErrorCode::NONE, 0));
    for offset in 2..41 {
        assert_eq!(outcome(&mut client), (ErrorCode::NONE, offset));
    }
    let fetched = client.receive::<FetchRequest>(12);
    assert_eq!(fetched.responses[0].partitions[0].high_watermark, 41);
}

#[test]
fn requests_before_one_that_is_none_are_answered_before_the_connection_closes() {
    let broker = Fixture::new();
    let mut client = broker.client();
    client.create_topic("t");
    for value in ["a", "b"] {
        client.send(9, &produce(-1, "t", 0, Some(batch(&[value]))));
    }
    client.stream.write_all(&(-1_i32).to_be_bytes()).unwrap();
    assert_eq!(outcome(&mut client), (ErrorCode::NONE, 0));
    assert_eq!(outcome(&mut client), (ErrorCode::NONE, 1));
    client.expect_closed();
}
