//! A client that speaks any version of any request.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::fetch_response::PartitionData;
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::produce_response::PartitionProduceResponse;
use kafka_protocol::messages::*;
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, Request, StrBytes};

use super::PATIENCE;
use net::frame::{FrameReader, READ_SLICE};
use protocol::compression::Compression;
use protocol::records::{self, Batches};

pub fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

pub fn topic_name(name: &str) -> TopicName {
    TopicName(text(name))
}

/// A topic's id as `kafka-protocol` has it.
pub fn id<I: TryFrom<Vec<u8>> + Default>(id: u128) -> I {
    I::try_from(id.to_be_bytes().to_vec()).unwrap_or_default()
}

pub struct Client {
    pub stream: TcpStream,
    reader: FrameReader,
    correlation_id: i32,
}

impl Client {
    pub fn connect(address: SocketAddr) -> Client {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(READ_SLICE)).unwrap();
        Client { stream, reader: FrameReader::default(), correlation_id: 7000 }
    }

    /// Sends the request and decodes the whole of its answer.
    pub fn call<R: Request>(&mut self, version: i16, request: &R) -> R::Response {
        self.send(version, request);
        self.receive::<R>(version)
    }

    pub fn send<R: Request>(&mut self, version: i16, request: &R) {
        self.correlation_id += 1;
        let bytes = frame(version, self.correlation_id, request);
        self.stream.write_all(&bytes).unwrap();
    }

    pub fn receive<R: Request>(&mut self, version: i16) -> R::Response {
        let mut frame = self.frame().unwrap_or_else(|error| panic!("{} {version}: {error}", R::KEY));
        let header = ResponseHeader::decode(&mut frame, R::Response::header_version(version)).unwrap();
        assert_eq!(header.correlation_id, self.correlation_id);
        let response = R::Response::decode(&mut frame, version).unwrap();
        assert!(frame.is_empty(), "{} {version}: bytes after the answer", R::KEY);
        response
    }

    /// The next frame without its size.
    pub fn frame(&mut self) -> Result<Bytes, String> {
        let deadline = Instant::now() + PATIENCE;
        let frame = self.reader.next(&self.stream, i32::MAX as usize, &mut || Instant::now() < deadline);
        frame.map_err(|error| error.to_string())
    }

    /// Waits until the broker has closed the connection, and fails if it answers or does not.
    pub fn expect_closed(&mut self) {
        self.stream.set_read_timeout(Some(PATIENCE)).unwrap();
        match self.stream.read(&mut [0; 1]) {
            Ok(0) => {}
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => {}
            other => panic!("not closed: {other:?}"),
        }
    }

    /// Has a topic created by asking for it.
    pub fn create_topic(&mut self, name: &str) {
        let topic = MetadataRequestTopic::default().with_name(Some(topic_name(name)));
        let request =
            MetadataRequest::default().with_topics(Some(vec![topic])).with_allow_auto_topic_creation(true);
        let answer = self.call(9, &request);
        assert_eq!(answer.topics[0].error_code, 0, "{name}");
    }

    /// The id of a topic that is there.
    pub fn topic_id(&mut self, name: &str) -> u128 {
        let topic = MetadataRequestTopic::default().with_name(Some(topic_name(name)));
        let answer = self.call(12, &MetadataRequest::default().with_topics(Some(vec![topic])));
        assert_eq!(answer.topics[0].error_code, 0, "{name}");
        answer.topics[0].topic_id.as_u128()
    }

    pub fn delete_topic(&mut self, name: &str) {
        let names = vec![topic_name(name)];
        let answer = self.call(5, &DeleteTopicsRequest::default().with_topic_names(names));
        assert_eq!(answer.responses[0].error_code, 0, "{name}");
    }

    /// Creates a topic of one partition with configurations of its own.
    pub fn create_with(&mut self, name: &str, configs: &[(&str, &str)]) {
        let config = |(name, value): &(&str, &str)| {
            CreatableTopicConfig::default().with_name(text(name)).with_value(Some(text(value)))
        };
        let topic = CreatableTopic::default()
            .with_name(topic_name(name))
            .with_num_partitions(1)
            .with_replication_factor(1)
            .with_configs(configs.iter().map(config).collect());
        let answer = self.call(7, &CreateTopicsRequest::default().with_topics(vec![topic]));
        assert_eq!(answer.topics[0].error_code, 0, "{:?}", answer.topics[0].error_message);
    }

    pub fn produce(&mut self, topic: &str, partition: i32, batch: Bytes) -> PartitionProduceResponse {
        self.produce_as(9, topic, partition, batch)
    }

    pub fn produce_as(
        &mut self,
        version: i16,
        topic: &str,
        partition: i32,
        batch: Bytes,
    ) -> PartitionProduceResponse {
        let mut answer = self.call(version, &produce(-1, topic, partition, Some(batch)));
        assert_eq!(answer.responses[0].name.as_str(), topic);
        answer.responses.remove(0).partition_responses.remove(0)
    }

    /// Everything that one partition answers to a fetch without waiting.
    pub fn fetch(&mut self, topic: &str, partition: i32, offset: i64) -> PartitionData {
        let mut answer = self.call(12, &fetch(&[(topic, partition, offset)]));
        assert_eq!(answer.error_code, 0);
        answer.responses.remove(0).partitions.remove(0)
    }
}

/// The request as it goes over the wire.
pub fn frame<R: Request>(version: i16, correlation_id: i32, request: &R) -> Vec<u8> {
    let header = RequestHeader::default()
        .with_request_api_key(R::KEY)
        .with_request_api_version(version)
        .with_correlation_id(correlation_id)
        .with_client_id(Some(text("test")));
    let mut bytes = BytesMut::from(&[0; 4][..]);
    header.encode(&mut bytes, R::header_version(version)).unwrap();
    request.encode(&mut bytes, version).unwrap_or_else(|error| panic!("{} {version}: {error}", R::KEY));
    let size = i32::try_from(bytes.len() - 4).unwrap();
    bytes[..4].copy_from_slice(&size.to_be_bytes());
    bytes.to_vec()
}

pub fn produce(acks: i16, topic: &str, partition: i32, batch: Option<Bytes>) -> ProduceRequest {
    let partition = PartitionProduceData::default().with_index(partition).with_records(batch);
    let topic = TopicProduceData::default().with_name(topic_name(topic)).with_partition_data(vec![partition]);
    ProduceRequest::default()
        .with_transactional_id(None)
        .with_acks(acks)
        .with_timeout_ms(1000)
        .with_topic_data(vec![topic])
}

/// A batch of these values without keys, all of one time.
pub fn batch(values: &[&str]) -> Bytes {
    batch_of(values, -1, -1, Compression::None)
}

pub fn batch_of(values: &[&str], producer_id: i64, sequence: i32, codec: Compression) -> Bytes {
    let records = values.iter().map(|value| (None, Some(value.as_bytes())));
    let epoch = if producer_id < 0 { -1 } else { 0 };
    records::encode_batch(records, 1_700_000_000_000, producer_id, epoch, sequence, codec).unwrap().into()
}

/// A fetch without waiting that asks each partition for as much as there is.
pub fn fetch(positions: &[(&str, i32, i64)]) -> FetchRequest {
    let topic = |(topic, partition, offset): &(&str, i32, i64)| {
        let partition = FetchPartition::default()
            .with_partition(*partition)
            .with_current_leader_epoch(-1)
            .with_fetch_offset(*offset)
            .with_last_fetched_epoch(-1)
            .with_log_start_offset(-1)
            .with_partition_max_bytes(i32::MAX);
        FetchTopic::default().with_topic(topic_name(topic)).with_partitions(vec![partition])
    };
    FetchRequest::default()
        .with_replica_id(BrokerId(-1))
        .with_max_wait_ms(0)
        .with_min_bytes(1)
        .with_max_bytes(i32::MAX)
        .with_session_epoch(-1)
        .with_topics(positions.iter().map(topic).collect())
}

/// The same request as of a version that names topics by ids.
pub fn produce_by_id(request: ProduceRequest, topic_id: u128) -> ProduceRequest {
    let topics = request.topic_data.iter().cloned();
    let topics = topics.map(|topic| topic.with_name(topic_name("")).with_topic_id(id(topic_id)));
    let topics = topics.collect();
    request.with_topic_data(topics)
}

/// The same request as of a version that names topics by ids.
pub fn fetch_by_id(request: FetchRequest, topic_id: u128) -> FetchRequest {
    let topics = request.topics.iter().cloned();
    let topics = topics.map(|topic| topic.with_topic(topic_name("")).with_topic_id(id(topic_id)));
    let topics = topics.collect();
    request.with_topics(topics)
}

/// A fetch that waits.
pub fn long_fetch(position: (&str, i32, i64), wait: Duration, min_bytes: i32) -> FetchRequest {
    fetch(&[position]).with_max_wait_ms(wait.as_millis() as i32).with_min_bytes(min_bytes)
}

/// Offsets and values of what a fetch brought.
pub fn values(data: &PartitionData) -> Vec<(i64, String)> {
    let records = data.records.clone().unwrap_or_default();
    let mut values = Vec::new();
    for batch in Batches::new(&records) {
        let unpacked = batch.unwrap().unpack(1 << 20).unwrap();
        for record in &unpacked {
            let record = record.unwrap();
            values.push((record.offset, String::from_utf8_lossy(record.value.unwrap()).into_owned()));
        }
    }
    values
}
