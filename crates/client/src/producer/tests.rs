//! A producer's outcomes for a broker's answers, with a scripted broker: no real one can be made to lose its
//! leadership between an append and its answer just when a test wants it.

use net::sync::{Mutex, lock};
use std::collections::VecDeque;
use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::api_versions_response::ApiVersion;
use kafka_protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_protocol::messages::produce_response::{PartitionProduceResponse, TopicProduceResponse};
use kafka_protocol::messages::{
    ApiKey, ApiVersionsResponse, BrokerId, InitProducerIdResponse, MetadataResponse, ProduceRequest,
    ProduceResponse, ProducerId, RequestHeader, ResponseHeader,
};
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, Message, StrBytes};

use super::*;
use crate::ClusterSettings;
use net::frame::{FrameReader, READ_SLICE};
use protocol::compression::Compression;
use protocol::records::Batches;

const TOPIC: &str = "pedidos";

/// The broker's reaction to a Produce request.
#[derive(Debug, Clone, Copy)]
enum Reaction {
    /// Answers this code and base offset.
    Answer(ErrorCode, i64),
    /// Closes the connection without a word.
    HangUp,
}

/// A broker that leads the one partition of [`TOPIC`]; after its last reaction no node leads it.
struct Scripted {
    port: i32,
    reactions: Mutex<VecDeque<Reaction>>,
    /// Producer id and base sequence of each batch that came.
    came: Mutex<Vec<(i64, i32)>>,
    ids: Mutex<i64>,
}

impl Scripted {
    fn start(reactions: &[Reaction]) -> Arc<Scripted> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let broker = Arc::new(Scripted {
            port: i32::from(listener.local_addr().unwrap().port()),
            reactions: Mutex::new(reactions.iter().copied().collect()),
            came: Mutex::default(),
            ids: Mutex::new(0),
        });
        let serving = broker.clone();
        // Ends with the process: it waits for connections that no longer come.
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let serving = serving.clone();
                thread::spawn(move || serving.serve(&stream));
            }
        });
        broker
    }

    fn cluster(&self) -> Arc<Cluster> {
        Arc::new(Cluster::new(ClusterSettings {
            bootstrap_servers: vec![format!("127.0.0.1:{}", self.port)],
            security: Arc::default(),
            request_timeout: Duration::from_secs(5),
            delivery_timeout: Duration::from_millis(600),
            compression: Compression::None,
            create: Vec::new(),
            follows_advertised: true,
        }))
    }

    /// Produces one record and tells what became of it.
    fn produce(&self, producer: &mut Producer) -> Outcome {
        let batch = Batch { topic: TOPIC, partition: 0, records: vec![(None, Some(b"1".as_slice())).into()] };
        producer.produce(&[batch], Duration::from_millis(300)).remove(0)
    }

    fn serve(&self, stream: &TcpStream) {
        stream.set_read_timeout(Some(READ_SLICE)).unwrap();
        let mut reader = FrameReader::default();
        while let Ok(mut frame) = reader.next(stream, 1 << 20, &mut || true) {
            let key = ApiKey::try_from(i16::from_be_bytes([frame[0], frame[1]])).unwrap();
            let version = i16::from_be_bytes([frame[2], frame[3]]);
            let header = RequestHeader::decode(&mut frame, key.request_header_version(version)).unwrap();
            let id = header.correlation_id;
            let answer = match key {
                ApiKey::ApiVersions => answer(id, version, &versions()),
                ApiKey::Metadata => answer(id, version, &self.metadata()),
                ApiKey::InitProducerId => answer(id, version, &self.next_id()),
                ApiKey::Produce => match self.produced(&mut frame, version) {
                    Some(produced) => answer(id, version, &produced),
                    None => return,
                },
                other => panic!("a request that no producer makes: {other:?}"),
            };
            let mut stream = stream;
            if stream.write_all(&answer).is_err() {
                return;
            }
        }
    }

    fn metadata(&self) -> MetadataResponse {
        let led = !lock(&self.reactions).is_empty();
        let broker = MetadataResponseBroker::default()
            .with_node_id(BrokerId(1))
            .with_host(StrBytes::from_static_str("127.0.0.1"))
            .with_port(self.port);
        let partition =
            MetadataResponsePartition::default().with_leader_id(BrokerId(if led { 1 } else { -1 }));
        let topic = MetadataResponseTopic::default()
            .with_name(Some(topic_name(TOPIC)))
            .with_partitions(vec![partition]);
        MetadataResponse::default().with_brokers(vec![broker]).with_topics(vec![topic])
    }

    fn next_id(&self) -> InitProducerIdResponse {
        let mut ids = lock(&self.ids);
        *ids += 1;
        InitProducerIdResponse::default().with_producer_id(ProducerId(*ids))
    }

    fn produced(&self, frame: &mut Bytes, version: i16) -> Option<ProduceResponse> {
        let request = ProduceRequest::decode(frame, version).unwrap();
        let records = request.topic_data[0].partition_data[0].records.clone().unwrap();
        for batch in Batches::new(&records) {
            let header = batch.unwrap().header;
            lock(&self.came).push((header.producer_id, header.base_sequence));
        }
        let Some(Reaction::Answer(code, offset)) = lock(&self.reactions).pop_front() else { return None };
        let partition = PartitionProduceResponse::default().with_error_code(code.0).with_base_offset(offset);
        let topic = TopicProduceResponse::default()
            .with_name(topic_name(TOPIC))
            .with_partition_responses(vec![partition]);
        Some(ProduceResponse::default().with_responses(vec![topic]))
    }
}

fn versions() -> ApiVersionsResponse {
    let key = |key| ApiVersion::default().with_api_key(key).with_min_version(0).with_max_version(20);
    ApiVersionsResponse::default().with_api_keys((0..60).map(key).collect())
}

fn answer<M: Message + Encodable + HeaderVersion>(id: i32, version: i16, message: &M) -> Vec<u8> {
    let mut frame = BytesMut::new();
    frame.extend_from_slice(&[0; 4]);
    let header = ResponseHeader::default().with_correlation_id(id);
    header.encode(&mut frame, M::header_version(version)).unwrap();
    message.encode(&mut frame, version).unwrap();
    let size = i32::try_from(frame.len() - 4).unwrap();
    frame[..4].copy_from_slice(&size.to_be_bytes());
    frame.to_vec()
}

fn ids(broker: &Scripted) -> Vec<(i64, i32)> {
    lock(&broker.came).clone()
}

#[test]
fn a_batch_that_no_leader_was_there_for_was_never_written() {
    let broker = Scripted::start(&[]);
    let outcome = broker.produce(&mut Producer::new(broker.cluster(), "test"));
    let Outcome::NotWritten(obstacle) = outcome else { panic!("{outcome:?}") };
    assert_eq!(obstacle.code, ErrorCode::LEADER_NOT_AVAILABLE);
    assert_eq!(obstacle.why, "partition 0 of topic pedidos has no leader now");
    assert!(ids(&broker).is_empty());
}

#[test]
fn a_leader_that_lost_its_office_after_the_append_leaves_the_batch_in_doubt() {
    let broker = Scripted::start(&[Reaction::Answer(ErrorCode::NOT_LEADER_OR_FOLLOWER, 7)]);
    let outcome = broker.produce(&mut Producer::new(broker.cluster(), "test"));
    assert!(matches!(outcome, Outcome::Unknown(_)), "{outcome:?}");
}

#[test]
fn a_refusal_of_a_batch_that_may_have_been_stored_before_is_no_definite_answer() {
    let broker = Scripted::start(&[Reaction::HangUp, Reaction::Answer(ErrorCode::MESSAGE_TOO_LARGE, -1)]);
    let outcome = broker.produce(&mut Producer::new(broker.cluster(), "test"));
    assert!(matches!(outcome, Outcome::Unknown(_)), "{outcome:?}");
}

#[test]
fn a_batch_whose_answer_was_lost_is_sent_again_under_the_same_number() {
    let stored = Reaction::Answer(ErrorCode::NONE, 7);
    let broker = Scripted::start(&[Reaction::HangUp, stored, stored, stored]);
    let mut producer = Producer::new(broker.cluster(), "test");
    assert_eq!(broker.produce(&mut producer), Outcome::Stored(7));
    assert_eq!(broker.produce(&mut producer), Outcome::Stored(7));
    assert_eq!(ids(&broker), [(1, 0), (1, 0), (1, 1)]);
}

#[test]
fn after_a_batch_given_up_in_doubt_the_next_has_a_producer_id_of_its_own() {
    let stored = Reaction::Answer(ErrorCode::NONE, 7);
    let broker = Scripted::start(&[Reaction::HangUp]);
    let mut producer = Producer::new(broker.cluster(), "test");
    assert!(matches!(broker.produce(&mut producer), Outcome::Unknown(_)));
    lock(&broker.reactions).extend([stored, stored]);
    assert_eq!(broker.produce(&mut producer), Outcome::Stored(7));
    let mut came = ids(&broker);
    assert_eq!(came.pop(), Some((2, 0)));
    assert!(came.iter().all(|&sent| sent == (1, 0)), "{came:?}");
}

#[test]
fn a_refusal_uses_up_no_sequence_number() {
    let refused = Reaction::Answer(ErrorCode::INVALID_RECORD, -1);
    let stored = Reaction::Answer(ErrorCode::NONE, 7);
    let broker = Scripted::start(&[refused, stored, stored]);
    let mut producer = Producer::new(broker.cluster(), "test");
    let outcome = broker.produce(&mut producer);
    let Outcome::Refused(obstacle) = outcome else { panic!("{outcome:?}") };
    assert_eq!(obstacle.code, ErrorCode::INVALID_RECORD);
    assert!(obstacle.why.starts_with("INVALID_RECORD (87): "), "{}", obstacle.why);
    assert_eq!(broker.produce(&mut producer), Outcome::Stored(7));
    assert_eq!(ids(&broker), [(1, 0), (1, 0)]);
}
