//! The `kafka` crate itself against this layer: its real requests are decoded here, and it reads what is
//! encoded here.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use kafka::client::{
    CommitOffset, Compression, FetchOffset, FetchPartition, GroupOffsetStorage, KafkaClient,
};
use kafka::consumer::Consumer;
use kafka::producer::{Producer, Record, RequiredAcks};

use super::message_set;
use super::request::{self, Header, Request, Topics};
use super::response::{self, Broker, Committed, CommittedOffset, Fetched, ListedOffset, Produced};
use super::response::{PartitionMetadata, TopicMetadata};
use crate::error_code::ErrorCode;

const TOPIC: &str = "pedidos";
const PARTITIONS: i32 = 3;
const REFUSED_PARTITION: i32 = 2;

type Message = (Option<Vec<u8>>, Option<Vec<u8>>);

/// The store of the little server.
#[derive(Default)]
struct Store {
    log: Vec<Vec<Message>>,
    committed: Vec<(i64, String)>,
    headers: Vec<Header>,
    commits: Vec<(i16, String, i32, String)>,
}

/// A server on loopback that speaks through this layer alone.
struct Server {
    address: SocketAddr,
    store: Arc<Mutex<Store>>,
    stopping: Arc<AtomicBool>,
    acceptor: Option<JoinHandle<()>>,
}

impl Server {
    fn start() -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let store = Arc::new(Mutex::new(Store {
            log: vec![Vec::new(); PARTITIONS as usize],
            committed: vec![(-1, String::new()); PARTITIONS as usize],
            ..Store::default()
        }));
        let stopping = Arc::new(AtomicBool::new(false));
        let (for_thread, stop) = (store.clone(), stopping.clone());
        let acceptor = std::thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                if stop.load(Ordering::SeqCst) {
                    return;
                }
                let store = for_thread.clone();
                std::thread::spawn(move || serve(stream, address, &store));
            }
        });
        Server { address, store, stopping, acceptor: Some(acceptor) }
    }

    fn client(&self) -> KafkaClient {
        let mut client = KafkaClient::new(vec![self.address.to_string()]);
        client.set_client_id("probe?token=x".to_owned());
        client.load_metadata_all().unwrap();
        client
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
    }
}

/// Serves one connection until the crate closes it.
fn serve(mut stream: TcpStream, address: SocketAddr, store: &Mutex<Store>) {
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    stream.set_nodelay(true).unwrap();
    loop {
        let mut size = [0; 4];
        if stream.read_exact(&mut size).is_err() {
            return;
        }
        let mut frame = vec![0; u32::from_be_bytes(size) as usize];
        stream.read_exact(&mut frame).unwrap();
        let (header, request) = request::decode(&frame).unwrap();
        let mut store = store.lock().unwrap();
        store.headers.push(header.clone());
        if let Some(answer) = answer(header.correlation_id, request, address, &mut store) {
            stream.write_all(&answer).unwrap();
        }
    }
}

fn answer(id: i32, request: Request<'_>, address: SocketAddr, store: &mut Store) -> Option<Vec<u8>> {
    let host = address.ip().to_string();
    let broker = Broker { node_id: 1, host: &host, port: address.port() };
    Some(match request {
        Request::Metadata { .. } => {
            let partition = |partition| PartitionMetadata { error: ErrorCode::NONE, partition, leader: 1 };
            let partitions = (0..PARTITIONS).map(partition).collect();
            let topic = TopicMetadata { error: ErrorCode::NONE, name: TOPIC, partitions };
            response::metadata(id, &[broker], &[topic])
        }
        Request::Produce { acks, topics, .. } => {
            let stored = each(topics, |produced| {
                let log = &mut store.log[produced.partition as usize];
                let base_offset = log.len() as i64;
                for message in message_set::decode(produced.message_set).unwrap() {
                    log.push((message.key.map(Into::into), message.value.map(Into::into)));
                }
                Produced { partition: produced.partition, error: ErrorCode::NONE, base_offset }
            });
            return (acks != 0).then(|| response::produce(id, &stored));
        }
        Request::Fetch { topics, .. } => response::fetch(id, &each(topics, |asked| fetched(store, asked))),
        Request::ListOffsets { topics } => {
            let listed = each(topics, |asked| {
                let end = store.log[asked.partition as usize].len() as i64;
                let offset = Some(if asked.time == -2 { 0 } else { end });
                ListedOffset { partition: asked.partition, error: ErrorCode::NONE, offset }
            });
            response::list_offsets(id, &listed)
        }
        Request::GroupCoordinator { .. } => response::group_coordinator(id, Ok(broker)),
        Request::OffsetFetch { topics, .. } => {
            let committed: Vec<(i64, String)> = store.committed.clone();
            let topics: Vec<(String, Vec<CommittedOffset<'_>>)> = each(topics, |partition| {
                let (offset, metadata) = &committed[partition as usize];
                CommittedOffset { partition, offset: *offset, metadata, error: ErrorCode::NONE }
            });
            response::offset_fetch(id, &topics)
        }
        Request::OffsetCommit { version, group, generation, member, topics } => {
            store.commits.push((version, group, generation, member));
            let topics = each(topics, |commit| {
                let refused = commit.partition == REFUSED_PARTITION;
                let error = if refused { ErrorCode::ILLEGAL_GENERATION } else { ErrorCode::NONE };
                store.committed[commit.partition as usize] = (commit.offset, commit.metadata);
                Committed { partition: commit.partition, error }
            });
            response::offset_commit(id, &topics)
        }
    })
}

fn each<P, Q>(topics: Topics<P>, mut answer: impl FnMut(P) -> Q) -> Topics<Q> {
    topics.into_iter().map(|(name, asked)| (name, asked.into_iter().map(&mut answer).collect())).collect()
}

fn fetched(store: &Store, asked: request::FetchPartition) -> Fetched<Vec<u8>> {
    let log = &store.log[asked.partition as usize];
    let mut message_set = Vec::new();
    for (offset, (key, value)) in log.iter().enumerate().skip(asked.offset as usize) {
        message_set::append(&mut message_set, offset as i64, key.as_deref(), value.as_deref());
    }
    let high_watermark = log.len() as i64;
    Fetched { partition: asked.partition, error: ErrorCode::NONE, high_watermark, message_set }
}

fn consume_all(server: &Server, wanted: usize) -> Vec<(i32, i64, Vec<u8>, Vec<u8>)> {
    let mut consumer = Consumer::from_client(server.client())
        .with_topic(TOPIC.to_owned())
        .with_group("grupo".to_owned())
        .with_fallback_offset(FetchOffset::Earliest)
        .with_offset_storage(Some(GroupOffsetStorage::Kafka))
        .create()
        .unwrap();
    let mut all = Vec::new();
    while all.len() < wanted {
        for set in consumer.poll().unwrap().iter() {
            for message in set.messages() {
                all.push((set.partition(), message.offset, message.key.to_vec(), message.value.to_vec()));
            }
            consumer.consume_messageset(set).unwrap();
        }
    }
    consumer.commit_consumed().unwrap();
    all
}

#[test]
fn the_crate_reads_back_what_it_produced_with_every_codec() {
    for compression in [Compression::NONE, Compression::GZIP, Compression::SNAPPY] {
        let server = Server::start();
        let mut producer = Producer::from_client(server.client())
            .with_compression(compression)
            .with_required_acks(RequiredAcks::All)
            .create()
            .unwrap();
        let texts: Vec<String> = (0..500).map(|n| format!("{{\"id\":{n},\"contenido\":\"Hola\"}}")).collect();
        let record = |text| Record::from_key_value(TOPIC, "llave", text).with_partition(1);
        let records: Vec<Record<'_, &str, &str>> = texts.iter().map(|text| record(text.as_str())).collect();
        let confirms = producer.send_all(&records).unwrap();
        let confirm = &confirms[0].partition_confirms[0];
        assert_eq!((confirm.partition, confirm.offset), (1, Ok(0)));

        let consumed = consume_all(&server, texts.len());
        assert_eq!(consumed.len(), texts.len());
        for (index, (partition, offset, key, value)) in consumed.iter().enumerate() {
            assert_eq!((*partition, *offset), (1, index as i64));
            assert_eq!((key.as_slice(), value.as_slice()), (&b"llave"[..], texts[index].as_bytes()));
        }
        let store = server.store.lock().unwrap();
        assert_eq!(store.committed[1].0, 500);
        assert_eq!(store.commits[0], (1, "grupo".to_owned(), -1, String::new()));
        assert!(store.headers.iter().all(|header| header.client_id == "probe?token=x"));
    }
}

#[test]
fn a_message_without_key_and_an_empty_value_arrive_as_null() {
    let server = Server::start();
    let mut producer = Producer::from_client(server.client()).create().unwrap();
    producer.send(&Record::from_value(TOPIC, "hola").with_partition(0)).unwrap();
    producer.send(&Record::from_key_value(TOPIC, "llave", "").with_partition(0)).unwrap();
    let expected = [(None, Some(b"hola".to_vec())), (Some(b"llave".to_vec()), None)];
    assert_eq!(server.store.lock().unwrap().log[0], expected);
}

#[test]
fn without_acknowledgement_nothing_is_answered() {
    let server = Server::start();
    let mut producer =
        Producer::from_client(server.client()).with_required_acks(RequiredAcks::None).create().unwrap();
    producer.send(&Record::from_value(TOPIC, "hola").with_partition(0)).unwrap();
    let ends = producer.client_mut().fetch_offsets(&[TOPIC], FetchOffset::Latest).unwrap();
    let mut ends: Vec<(i32, i64)> = ends[TOPIC].iter().map(|end| (end.partition, end.offset)).collect();
    ends.sort_unstable();
    assert_eq!(ends, [(0, 1), (1, 0), (2, 0)]);
}

#[test]
fn metadata_and_coordinator_name_the_same_host_so_that_one_connection_serves_both() {
    let server = Server::start();
    let mut client = server.client();
    client.set_group_offset_storage(Some(GroupOffsetStorage::Kafka));
    assert!(client.topics().iter().flat_map(|topic| topic.partitions().iter()).all(|p| p.is_available()));
    let offsets = client.fetch_group_topic_offset("grupo", TOPIC).unwrap();
    assert_eq!(offsets.iter().map(|offset| offset.offset).collect::<Vec<_>>(), [-1, -1, -1]);
}

#[test]
fn both_offset_stores_of_the_crate_commit_and_a_refusal_is_heard() {
    for (storage, version) in [(GroupOffsetStorage::Zookeeper, 0), (GroupOffsetStorage::Kafka, 1)] {
        let server = Server::start();
        let mut client = server.client();
        client.set_group_offset_storage(Some(storage));
        client.commit_offsets("grupo", &[CommitOffset::new(TOPIC, 0, 7)]).unwrap();
        let offsets = client.fetch_group_topic_offset("grupo", TOPIC).unwrap();
        assert!(offsets.iter().any(|offset| (offset.partition, offset.offset) == (0, 7)));
        assert_eq!(server.store.lock().unwrap().commits[0].0, version);
        let refused = client.commit_offset("grupo", TOPIC, REFUSED_PARTITION, 1).unwrap_err();
        assert!(
            matches!(refused, kafka::Error::Kafka(kafka::error::KafkaCode::IllegalGeneration)),
            "{refused:?}"
        );
    }
}

#[test]
fn a_plain_fetch_starts_where_it_asks() {
    let server = Server::start();
    server.store.lock().unwrap().log[0] = (0..10_u8).map(|n| (None, Some(vec![n]))).collect();
    let responses = server.client().fetch_messages(&[FetchPartition::new(TOPIC, 0, 8)]).unwrap();
    let data = responses[0].topics()[0].partitions()[0].data().unwrap();
    assert_eq!(data.highwatermark_offset(), 10);
    assert_eq!(data.messages().iter().map(|message| message.value[0]).collect::<Vec<_>>(), [8, 9]);
}
