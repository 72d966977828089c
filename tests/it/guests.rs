//! The `kafka` crate itself as a guest of the program `adapter`: what a look-up creates, and when a group is
//! free again after its last consumer has gone. Much of it is what that crate's own tests expect.

use std::time::Duration;

use kafka::client::{FetchOffset, KafkaClient};
use kafka::consumer::{Consumer, GroupOffsetStorage};
use kafka::producer::{Producer, Record, RequiredAcks};

use crate::support::kafka::Kafka;
use crate::support::kraft::Extras;
use crate::support::program::{Program, Start};
use crate::support::{EMBEDDED, NEWEST, PATIENCE, eventually, run_on, unique};

run_on! {
    mod kafka_4_3 on NEWEST {
        a_look_up_of_all_topics_creates_none_and_one_by_name_the_configured_one,
        a_commit_right_after_the_last_consumer_has_gone_is_taken,
    }
    mod embedded on EMBEDDED {
        a_look_up_of_all_topics_creates_none_and_one_by_name_the_configured_one,
        a_commit_right_after_the_last_consumer_has_gone_is_taken,
    }
}

/// An adapter before the cluster, with a topic of its own in its settings, which is returned.
fn adapter(kafka: &Kafka) -> (Program, String) {
    let topic = unique("propio");
    let start = Start::program("adapter").on(kafka).set("kafka.topic", &topic);
    (Program::adapter_with(start), topic)
}

/// A client that has looked nothing up yet.
fn client(adapter: &Program) -> KafkaClient {
    let mut client = KafkaClient::new(vec![adapter.address().to_string()]);
    client.set_group_offset_storage(Some(GroupOffsetStorage::Kafka));
    client
}

fn partitions(client: &KafkaClient, topic: &str) -> usize {
    client.topics().partitions(topic).map_or(0, |partitions| partitions.len())
}

fn a_look_up_of_all_topics_creates_none_and_one_by_name_the_configured_one(version: &'static str) {
    let kafka = Kafka::shared(version);
    let (adapter, topic) = adapter(kafka);
    let mut client = client(&adapter);
    client.load_metadata_all().unwrap();
    assert_eq!((partitions(&client, &topic), kafka.assistant().end_offsets(&topic)), (0, None));
    client.load_metadata(&[&topic]).unwrap();
    assert_eq!(partitions(&client, &topic), 4, "as kafka.create_topic says");
}

#[test]
fn the_embedded_broker_creates_a_topic_that_a_program_behind_the_adapter_names() {
    a_named_topic_is_created(Kafka::shared(EMBEDDED), 4);
}

#[test]
fn brokers_that_create_topics_do_so_for_a_program_behind_the_adapter() {
    let settings = "auto.create.topics.enable=true\nnum.partitions=3\n".to_owned();
    a_named_topic_is_created(&Kafka::start_with(NEWEST, &Extras { settings, ..Extras::default() }), 3);
}

fn a_named_topic_is_created(kafka: &Kafka, expected: usize) {
    let (adapter, _) = adapter(kafka);
    let mut client = client(&adapter);
    let topic = unique("nuevo");
    // A broker answers before the topic has leaders.
    eventually("the topic is there", PATIENCE, || {
        client.load_metadata(&[&topic]).unwrap();
        (partitions(&client, &topic) == expected).then_some(())
    });
    let mut producer = Producer::from_client(client).with_required_acks(RequiredAcks::All).create().unwrap();
    producer.send(&Record::from_value(&topic, "hola").with_partition(0)).unwrap();
    assert_eq!(kafka.assistant().read(&topic, false).len(), 1);
}

#[test]
fn where_brokers_create_no_topics_one_that_a_program_names_stays_unknown() {
    let embedded = Kafka::embedded_with(&["embedded.auto_create_topics=false"]);
    for kafka in [Kafka::shared(NEWEST), &embedded] {
        let (adapter, _) = adapter(kafka);
        let mut client = client(&adapter);
        let topic = unique("ausente");
        for _ in 0..3 {
            client.load_metadata(&[&topic]).unwrap();
            assert_eq!(partitions(&client, &topic), 0);
        }
        assert_eq!(kafka.assistant().end_offsets(&topic), None);
    }
}

/// The crate's own tests begin so: each sets the group's offsets from outside of it, just after the consumer
/// of the one before was dropped.
fn a_commit_right_after_the_last_consumer_has_gone_is_taken(version: &'static str) {
    let kafka = Kafka::shared(version);
    let (adapter, topic) = adapter(kafka);
    let group = unique("grupo");
    kafka.assistant().create_topic(&topic, 2, 1, &[]);
    for partition in 0..2 {
        kafka.assistant().produce(&topic, "none", partition, "%d", 10);
    }
    for round in 0..3 {
        let mut outsider = client(&adapter);
        outsider.load_metadata_all().unwrap();
        for end in outsider.fetch_offsets(&[&topic], FetchOffset::Latest).unwrap().remove(&topic).unwrap() {
            let committed = outsider.commit_offset(&group, &topic, end.partition, end.offset - round);
            committed.unwrap_or_else(|error| panic!("round {round}, partition {}: {error}", end.partition));
        }
        let mut consumer = Consumer::from_client(outsider)
            .with_topic(topic.clone())
            .with_group(group.clone())
            .with_fallback_offset(FetchOffset::Latest)
            .with_offset_storage(Some(GroupOffsetStorage::Kafka))
            .with_fetch_max_wait_time(Duration::from_millis(100))
            .create()
            .unwrap();
        eventually("it is a member", PATIENCE, || {
            consumer.poll().unwrap();
            (kafka.assistant().group(&group).members.len() == 1).then_some(())
        });
    }
}
