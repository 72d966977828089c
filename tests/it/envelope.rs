//! What a record says, key, headers, timestamp and null included, comes through our own sender and consumer
//! as it is, while a program that knows nothing of envelopes sees plain messages.

use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use crate::support::kafka::Kafka;
use crate::support::watchdog::Folder;
use crate::support::{EMBEDDED, NEWEST, OLDEST, PATIENCE, run_on, unique};
use adapter::Adapter;
use broker::{Broker, BrokerSettings};
use client::fetch::{self, Position};
use client::producer::{Batch, Outcome, Producer as ClientProducer};
use client::{Cluster, ClusterSettings};
use kafka::client::{FetchGroupOffset, FetchPartition, KafkaClient, ProduceMessage, RequiredAcks};
use kafka::consumer::{Consumer as KafkaConsumer, GroupOffsetStorage};
use kafka::error::KafkaCode;
use net::stop::Stop;
use point_to_point::config::Settings;
use point_to_point::consumer::{Consumer, ConsumerRecord};
use point_to_point::producer::{
    DeliveryReport, MAX_MESSAGE_BYTES, PartitionChoice, Producer, ProducerRecord, SubmitError,
};
use protocol::TopicPartition;
use protocol::records::{Batches, Content, OwnHeaders};

run_on! {
    mod kafka_4_3 on NEWEST {
        what_is_sent_is_stored_and_received_as_it_is,
        what_any_kafka_client_stored_is_received_as_it_is,
        a_message_at_the_limit_passes_with_its_headers_and_a_larger_one_is_not_taken,
        a_message_of_headers_alone_at_the_limit_passes_however_many_they_are,
        of_many_messages_only_those_that_the_topic_refuses_fail,
        dead_letters_get_a_topic_with_as_many_partitions_once_somebody_asks_for_it,
    }
    mod kafka_3_9 on OLDEST {
        what_is_sent_is_stored_and_received_as_it_is,
        of_many_messages_only_those_that_the_topic_refuses_fail,
    }
    mod embedded on EMBEDDED {
        what_is_sent_is_stored_and_received_as_it_is,
        what_any_kafka_client_stored_is_received_as_it_is,
        a_message_at_the_limit_passes_with_its_headers_and_a_larger_one_is_not_taken,
        a_message_of_headers_alone_at_the_limit_passes_however_many_they_are,
        dead_letters_get_a_topic_with_as_many_partitions_once_somebody_asks_for_it,
        without_create_topic_no_topic_for_dead_letters_is_made,
        without_a_time_of_its_own_a_message_has_the_time_at_which_it_was_sent,
        a_program_that_does_not_ask_for_envelopes_sees_plain_messages,
        a_program_gets_envelopes_if_it_asks_for_them_but_not_from_a_member_made_for_plain_messages,
        what_is_no_envelope_is_refused_and_the_rest_of_the_call_is_stored,
    }
}

const TIME: i64 = 1_700_000_000_123;

/// The bytes of a message that fits a topic's `max.message.bytes` as Kafka sets it, with what is stored
/// beside.
const FITS: usize = 1_040_000;

type Headers = Vec<(String, Option<Vec<u8>>)>;

/// What a record says, and its place.
#[derive(Debug, Clone, PartialEq)]
struct Said {
    place: (i32, i64),
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    headers: Headers,
    timestamp: Option<i64>,
}

impl Said {
    fn new(partition: i32, offset: i64, content: Content<'_>) -> Said {
        Said {
            place: (partition, offset),
            key: content.key.map(<[u8]>::to_vec),
            value: content.value.map(<[u8]>::to_vec),
            headers: content
                .headers
                .iter()
                .map(|(name, value)| (name.into_owned(), value.map(<[u8]>::to_vec)))
                .collect(),
            timestamp: content.timestamp,
        }
    }
}

/// A topic, and an adapter in this process that lets everybody in; the embedded broker is in this process,
/// too.
struct Stage {
    topic: String,
    settings: Settings,
    adapter: Option<Adapter>,
    broker: Option<Broker>,
    _folder: Folder,
}

impl Stage {
    fn new(version: &'static str, partitions: i32) -> Stage {
        let folder = Folder::new("envelope");
        let broker = (version == EMBEDDED).then(|| {
            Broker::start(BrokerSettings {
                listen: "127.0.0.1:0".to_owned(),
                advertised: None,
                data_dir: folder.path().to_owned(),
                retention: None,
                retention_bytes: None,
                min_free_bytes: None,
                auto_create_topics: false,
                partitions: 1,
                initial_rebalance_delay: Duration::ZERO,
            })
            .unwrap()
        });
        let mut settings = Settings::default();
        settings.kafka.bootstrap_servers = match &broker {
            Some(broker) => vec![broker.address().to_string()],
            None => vec![Kafka::shared(version).bootstrap()],
        };
        let topic = unique("pedidos");
        settings.kafka.topic = topic.clone();
        settings.kafka.partitions = Some(partitions);
        settings.adapter.listen = "127.0.0.1:0".to_owned();
        let adapter = Some(
            Adapter::start_sharing(&Cluster::new(settings.cluster()), settings.adapter_for_others()).unwrap(),
        );
        Stage { topic, settings, adapter, broker, _folder: folder }
    }

    fn adapter(&self) -> &Adapter {
        self.adapter.as_ref().unwrap()
    }

    fn sender(&self, topic: &str) -> Producer {
        Producer::start(&self.settings.producer_settings(), topic, self.adapter().endpoint(), "test").unwrap()
    }

    /// A client of the crate with this client id.
    fn foreign(&self, id: &str) -> KafkaClient {
        let mut client = KafkaClient::new(vec![self.adapter().endpoint().address()]);
        client.set_client_id(id.to_owned());
        client.load_metadata(&[&self.topic]).unwrap();
        client
    }

    /// Stores records as any Kafka client would, past the adapter.
    fn store(&self, partition: i32, records: Vec<Content<'_>>) {
        let batch = Batch { topic: &self.topic, partition, records };
        let outcome = ClientProducer::new(self.cluster(), "java").produce(&[batch], PATIENCE).remove(0);
        assert!(matches!(outcome, Outcome::Stored(_)), "{outcome:?}");
    }

    fn cluster(&self) -> Arc<Cluster> {
        Arc::new(Cluster::new(ClusterSettings {
            bootstrap_servers: self.settings.brokers(),
            follows_advertised: true,
            security: Arc::default(),
            request_timeout: PATIENCE,
            delivery_timeout: PATIENCE,
            compression: self.settings.kafka.compression,
            create: Vec::new(),
        }))
    }

    /// The partitions of a topic; 0 where there is none.
    fn partitions(&self, topic: &str) -> usize {
        let topic = self.cluster().topic(topic, Instant::now() + PATIENCE).unwrap();
        topic.map_or(0, |topic| topic.leaders.len())
    }

    /// The records of a partition as the log has them.
    fn stored(&self, topic: &str, partition: i32) -> Vec<Said> {
        let cluster = self.cluster();
        let deadline = Instant::now() + PATIENCE;
        cluster.topic(topic, deadline).unwrap();
        let leader = cluster.leader(topic, partition).unwrap();
        let mut connection = cluster.connect(leader, "test", deadline).unwrap();
        let positions = [Position::new(&TopicPartition::new(topic, partition), 0, 16 << 20)];
        fetch::ask(&mut connection, &positions, Duration::ZERO).unwrap();
        let fetched = fetch::answer(&mut connection, &positions, deadline, &mut || true).unwrap().remove(0);
        let mut said = Vec::new();
        for batch in Batches::new(&fetched.records) {
            for record in &batch.unwrap().unpack(16 << 20).unwrap() {
                let record = record.unwrap();
                said.push(Said::new(partition, record.offset, record.content()));
            }
        }
        said
    }

    /// What a consumer of ours gets until it has `count` messages, in the order of their places.
    fn received(&self, count: usize) -> Vec<Said> {
        let mut settings = self.settings.clone();
        settings.consumer.group = Some(unique("grupo"));
        let endpoint = self.adapter().endpoint();
        let mut consumer =
            Consumer::new(&settings.consumer_settings(), endpoint, "consumer1", Stop::new()).unwrap();
        let deadline = Instant::now() + PATIENCE;
        let mut seen = Vec::new();
        while seen.len() < count {
            assert!(Instant::now() < deadline, "only {seen:?}");
            let Some(message) = consumer.next(Duration::from_millis(500)) else { continue };
            let ConsumerRecord { partition, offset, key, value, timestamp, headers, .. } = message;
            seen.push(Said::new(partition, offset, Content { timestamp, key, value, headers }));
            consumer.commit().unwrap();
        }
        seen.sort_by_key(|said: &Said| said.place);
        seen
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.adapter.take().into_iter().for_each(Adapter::stop);
        self.broker.take().into_iter().for_each(Broker::stop);
    }
}

/// A message for partition 0 that says nothing yet.
fn outgoing() -> ProducerRecord {
    let message = ProducerRecord::new(None, Vec::new(), Instant::now() + PATIENCE);
    ProducerRecord { value: None, partition: PartitionChoice::Preferred(0), ..message }
}

/// Submits them all at once, and gives what became of each.
fn send(sender: &Producer, messages: Vec<ProducerRecord>) -> Vec<DeliveryReport> {
    let (tell, told) = mpsc::channel();
    let count = messages.len();
    for (index, message) in messages.into_iter().enumerate() {
        let tell = tell.clone();
        sender.submit(message, Box::new(move |delivery| tell.send((index, delivery)).unwrap())).unwrap();
    }
    let mut told: Vec<_> = (0..count).map(|_| told.recv_timeout(2 * PATIENCE).unwrap()).collect();
    told.sort_by_key(|(index, _)| *index);
    told.into_iter().map(|(_, delivery)| delivery).collect()
}

fn place(delivery: &DeliveryReport) -> (i32, i64) {
    match delivery {
        DeliveryReport::Stored { partition, offset, .. } => (*partition, *offset),
        other => panic!("{other:?}"),
    }
}

/// Headers in an order that no map has, with a name that comes twice, null, empty and binary values.
fn headers() -> Headers {
    let header = |(name, value): (&str, Option<&[u8]>)| (name.to_owned(), value.map(<[u8]>::to_vec));
    let headers: [(&str, Option<&[u8]>); 6] = [
        ("z", Some(b"1")),
        ("a", None),
        ("z", Some(b"2")),
        ("", Some(b"")),
        ("señal", Some(&[0, 255, 10])),
        ("long", Some(&[7; 300])),
    ];
    headers.map(header).to_vec()
}

/// Every combination of a key, a value and headers that may be there, be empty or be null.
fn combinations() -> Vec<ProducerRecord> {
    let fields = [None, Some(Vec::new()), Some(b"\xff\0 bytes".to_vec())];
    let mut messages = Vec::new();
    for (number, key) in fields.iter().enumerate() {
        for value in &fields {
            for headers in [Vec::new(), headers()] {
                let timestamp = Some(TIME - number as i64);
                messages.push(ProducerRecord {
                    key: key.clone(),
                    value: value.clone(),
                    headers,
                    timestamp,
                    ..outgoing()
                });
            }
        }
    }
    messages
}

fn said(message: &ProducerRecord, place: (i32, i64)) -> Said {
    Said {
        place,
        key: message.key.clone(),
        value: message.value.clone(),
        headers: message.headers.clone(),
        timestamp: message.timestamp,
    }
}

fn what_is_sent_is_stored_and_received_as_it_is(version: &'static str) {
    let stage = Stage::new(version, 2);
    let sender = stage.sender(&stage.topic);
    let (first, again) = (combinations(), combinations());
    let deliveries = send(&sender, again);
    let expected: Vec<Said> =
        first.iter().zip(&deliveries).map(|(message, delivery)| said(message, place(delivery))).collect();
    assert!((0..).zip(&expected).all(|(offset, said)| said.place == (0, offset)), "one batch, in order");
    assert_eq!(stage.stored(&stage.topic, 0), expected);
    assert_eq!(stage.received(expected.len()), expected);
    sender.close(Instant::now());
}

fn without_a_time_of_its_own_a_message_has_the_time_at_which_it_was_sent(version: &'static str) {
    let stage = Stage::new(version, 1);
    let sender = stage.sender(&stage.topic);
    let now = || std::time::UNIX_EPOCH.elapsed().unwrap().as_millis() as i64;
    let before = now();
    send(&sender, vec![outgoing(), ProducerRecord { timestamp: Some(-1), ..outgoing() }]);
    let span = before..=now();
    let received = stage.received(2);
    assert!(received.iter().all(|said| said.timestamp.is_some_and(|time| span.contains(&time))), "{span:?}");
    sender.close(Instant::now());
}

fn what_any_kafka_client_stored_is_received_as_it_is(version: &'static str) {
    let stage = Stage::new(version, 1);
    stage.foreign("anybody");
    let headers: Vec<_> = headers();
    let headers = OwnHeaders::new(headers.iter().map(|(name, value)| (name.as_str(), value.as_deref())));
    let with = |timestamp, key, value| Content { timestamp, key, value, headers: headers.borrowed() };
    let records = vec![
        with(Some(TIME), Some(&b"k"[..]), Some(&b"v"[..])),
        with(Some(TIME + 7), Some(b""), None),
        Content { headers: Default::default(), ..with(Some(0), None, Some(b"")) },
    ];
    stage.store(0, records.clone());
    let expected: Vec<Said> =
        (0..).zip(records).map(|(offset, content)| Said::new(0, offset, content)).collect();
    assert_eq!(stage.received(3), expected);
}

fn a_program_that_does_not_ask_for_envelopes_sees_plain_messages(version: &'static str) {
    let stage = Stage::new(version, 1);
    let sender = stage.sender(&stage.topic);
    let message = ProducerRecord {
        key: Some(b"k".to_vec()),
        value: Some(b"{}".to_vec()),
        headers: headers(),
        timestamp: Some(TIME),
        ..outgoing()
    };
    send(&sender, vec![message]);
    sender.close(Instant::now());
    let plain = |key: &[u8], value: &[u8]| assert_eq!((key, value), (&b"k"[..], &b"{}"[..]));

    let mut alone = stage.foreign("alone");
    let fetched = alone.fetch_messages([FetchPartition::new(&stage.topic, 0, 0)]).unwrap();
    let message = &fetched[0].topics()[0].partitions()[0].data().unwrap().messages()[0];
    plain(message.key, message.value);

    let mut member = KafkaConsumer::from_client(stage.foreign("member"))
        .with_topic(stage.topic.clone())
        .with_group(unique("grupo"))
        .with_fallback_offset(kafka::client::FetchOffset::Earliest)
        .with_offset_storage(Some(GroupOffsetStorage::Kafka))
        .create()
        .unwrap();
    let polled = crate::support::eventually("a message for the member of a group", PATIENCE, || {
        Some(member.poll().unwrap()).filter(|polled| !polled.is_empty())
    });
    let set = polled.iter().next().unwrap();
    plain(set.messages()[0].key, set.messages()[0].value);
}

fn a_program_gets_envelopes_if_it_asks_for_them_but_not_from_a_member_made_for_plain_messages(
    version: &'static str,
) {
    let stage = Stage::new(version, 1);
    stage.foreign("anybody");
    let content = Content { timestamp: Some(7), ..Content::from((None, Some(&b"v"[..]))) };
    stage.store(0, vec![content]);
    let fetch = |client: &mut KafkaClient| {
        let fetched = client.fetch_messages([FetchPartition::new(&stage.topic, 0, 0)]).unwrap().remove(0);
        match fetched.topics()[0].partitions()[0].data() {
            Ok(data) => Ok(data.messages().first().map(|message| message.value.to_vec())),
            Err(error) => Err(error.to_string()),
        }
    };
    let envelope = vec![1, 0, 0, 0, 0, 0, 0, 0, 7, 1, 2, b'v', 0];
    assert_eq!(fetch(&mut stage.foreign("alone?envelope=1")), Ok(Some(envelope.clone())));
    for (id, other, value) in
        [("one?envelope=1", "one", envelope), ("other", "other?envelope=1", b"v".to_vec())]
    {
        let mut member = stage.foreign(id);
        member.set_group_offset_storage(Some(GroupOffsetStorage::Kafka));
        let place = FetchGroupOffset::new(&stage.topic, 0);
        member.fetch_group_offsets(&unique("grupo"), [place]).unwrap();
        let first = crate::support::eventually("a message for the member of a group", PATIENCE, || {
            fetch(&mut member).unwrap()
        });
        assert_eq!(first, value);
        member.set_client_id(other.to_owned());
        let refused = fetch(&mut member).unwrap_err();
        assert!(refused.contains("UnknownMemberId"), "{refused}");
    }
}

fn what_is_no_envelope_is_refused_and_the_rest_of_the_call_is_stored(version: &'static str) {
    let stage = Stage::new(version, 2);
    let mut client = stage.foreign("broken?envelope=1");
    let good = [1, 0, 0, 0, 0, 0, 0, 0, 7, 1, 2, b'v', 0];
    let messages = [
        ProduceMessage::new(&stage.topic, 0, None, Some(&good[..])),
        ProduceMessage::new(&stage.topic, 1, None, Some(&good[..])),
        ProduceMessage::new(&stage.topic, 1, Some(b"key"), Some(b"{}")),
    ];
    let confirms = client.produce_messages(RequiredAcks::All, PATIENCE, messages).unwrap();
    let mut outcomes: Vec<_> =
        confirms[0].partition_confirms.iter().map(|confirm| (confirm.partition, confirm.offset)).collect();
    outcomes.sort_by_key(|(partition, _)| *partition);
    assert_eq!(outcomes, [(0, Ok(0)), (1, Err(KafkaCode::CorruptMessage))]);
    let content = Content { timestamp: Some(7), ..Content::from((None, Some(&b"v"[..]))) };
    assert_eq!(stage.stored(&stage.topic, 0), [Said::new(0, 0, content)]);
    assert!(stage.stored(&stage.topic, 1).is_empty());
}

fn a_message_at_the_limit_passes_with_its_headers_and_a_larger_one_is_not_taken(version: &'static str) {
    let stage = Stage::new(version, 1);
    let sender = stage.sender(&stage.topic);
    let of_size = |bytes: usize| {
        let (name, header) = ("trace".to_owned(), vec![7; 1000]);
        let value = vec![b'x'; bytes - 1000 - "trace".len() - 10 - "key".len()];
        let (key, headers) = (Some(b"key".to_vec()), vec![(name, Some(header))]);
        ProducerRecord { key, value: Some(value), headers, timestamp: Some(TIME), ..outgoing() }
    };
    let most = of_size(FITS);
    let small = || ProducerRecord { timestamp: Some(TIME), ..outgoing() };
    let expected =
        [said(&small(), (0, 0)), said(&most, (0, 1)), said(&of_size(20_000), (0, 2)), said(&small(), (0, 3))];
    let limit = stage.settings.producer.queue_bytes.min(MAX_MESSAGE_BYTES);
    let refused = sender.submit(of_size(limit + 1), Box::new(|_| ()));
    assert_eq!(refused, Err(SubmitError::TooLarge { limit }));
    send(&sender, vec![small(), most, of_size(20_000), small()]);
    sender.close(Instant::now());
    assert!(stage.received(4) == expected, "what is received differs from what was sent");
}

fn a_message_of_headers_alone_at_the_limit_passes_however_many_they_are(version: &'static str) {
    let stage = Stage::new(version, 1);
    let sender = stage.sender(&stage.topic);
    let (each, value) = ("h".to_owned(), Some(vec![1]));
    let headers: Headers = vec![(each, value); FITS / 12];
    let message = || ProducerRecord { headers: headers.clone(), timestamp: Some(TIME), ..outgoing() };
    send(&sender, vec![message(), message()]);
    sender.close(Instant::now());
    let expected = [said(&message(), (0, 0)), said(&message(), (0, 1))];
    assert!(stage.received(2) == expected, "what is received differs from what was sent");
}

fn of_many_messages_only_those_that_the_topic_refuses_fail(version: &'static str) {
    let stage = Stage::new(version, 1);
    // The broker refuses times that are more than an hour ahead.
    let limits = ["max.message.bytes=5000", "message.timestamp.after.max.ms=3600000"];
    Kafka::shared(version).assistant().create_topic(&stage.topic, 1, 1, &limits);
    let sender = stage.sender(&stage.topic);
    let good =
        || ProducerRecord { timestamp: Some(TIME), headers: vec![("h".to_owned(), None)], ..outgoing() };
    let mut messages: Vec<ProducerRecord> = (0..30).map(|_| good()).collect();
    messages[7].headers = vec![("large".to_owned(), Some(vec![7; 6000]))];
    messages[20].timestamp = Some(TIME * 2);
    let deliveries = send(&sender, messages);
    sender.close(Instant::now());
    let refused: Vec<_> = (0..)
        .zip(&deliveries)
        .filter_map(|(index, delivery)| match delivery {
            DeliveryReport::NotStored { kind, retry, .. } => Some((index, kind.code(), *retry)),
            _ => None,
        })
        .collect();
    assert_eq!(refused, [(7, "too_large", false), (20, "refused", false)]);
    let stored = deliveries.iter().enumerate().filter(|(index, _)| ![7, 20].contains(index));
    assert!((0..).zip(stored).all(|(offset, (_, delivery))| place(delivery) == (0, offset)), "in order");
    assert_eq!(stage.stored(&stage.topic, 0).len(), 28);
}

fn dead_letters_get_a_topic_with_as_many_partitions_once_somebody_asks_for_it(version: &'static str) {
    let mut stage = Stage::new(version, 3);
    stage.foreign("anybody").load_metadata_all().unwrap();
    let dead_letters = format!("{}-dlt", stage.settings.kafka.topic);
    assert_eq!(
        (dead_letters.clone(), stage.partitions(&stage.topic), stage.partitions(&dead_letters)),
        (format!("{}-dlt", stage.topic), 3, 0)
    );
    // Another adapter, whose settings have another number.
    stage.settings.kafka.partitions = Some(5);
    let other = Adapter::start_sharing(&Cluster::new(stage.settings.cluster()), stage.settings.own_adapter())
        .unwrap();
    let sender =
        Producer::start(&stage.settings.producer_settings(), &dead_letters, other.endpoint(), "test")
            .unwrap();
    let to = |partition| ProducerRecord { key: Some(b"k".to_vec()), partition, ..outgoing() };
    let each = [0, 1, 2, 3].map(PartitionChoice::Preferred).into_iter().chain([PartitionChoice::ByKey]);
    let deliveries = send(&sender, each.map(to).collect());
    let partitions: Vec<i32> = deliveries.iter().map(|delivery| place(delivery).0).collect();
    assert_eq!(partitions[..3], [0, 1, 2]);
    assert_eq!(partitions[3], partitions[4], "as the key says where there is no such partition");
    assert_eq!(stage.partitions(&dead_letters), 3);
    sender.close(Instant::now());
    other.stop();
}

fn without_create_topic_no_topic_for_dead_letters_is_made(version: &'static str) {
    let mut stage = Stage::new(version, 1);
    stage.settings.kafka.create_topic = false;
    let other = Adapter::start_sharing(&Cluster::new(stage.settings.cluster()), stage.settings.own_adapter())
        .unwrap();
    let dead_letters = format!("{}-dlt", stage.settings.kafka.topic);
    let sender =
        Producer::start(&stage.settings.producer_settings(), &dead_letters, other.endpoint(), "test")
            .unwrap();
    let message = ProducerRecord { deadline: Instant::now() + Duration::from_secs(1), ..outgoing() };
    let deliveries = send(&sender, vec![message]);
    assert!(matches!(deliveries[0], DeliveryReport::NotStored { retry: true, .. }), "{deliveries:?}");
    assert_eq!(stage.partitions(&dead_letters), 0);
    sender.close(Instant::now());
    other.stop();
}
