//! A program that uses the `kafka` crate as its documentation says, on a Kafka of today: the adapter is its
//! broker.

use kafka::client::{FetchOffset, GroupOffsetStorage, KafkaClient, RequiredAcks};
use kafka::consumer::Consumer;
use kafka::producer::{Producer, Record};
use point_to_point::Channel;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let channel = Channel::builder().topic("orders").environment().open()?;
    let adapter = channel.adapter();
    let client = || -> kafka::Result<KafkaClient> {
        let mut client = KafkaClient::new(vec![adapter.address()]);
        client.set_client_id(adapter.client_id("kafka-crate"));
        client.load_metadata(&["orders"])?;
        Ok(client)
    };

    let mut producer = Producer::from_client(client()?).with_required_acks(RequiredAcks::All).create()?;
    producer.send(&Record::from_value("orders", r#"{"id":2}"#))?;

    let mut consumer = Consumer::from_client(client()?)
        .with_topic("orders".to_owned())
        .with_group("shipping".to_owned())
        .with_fallback_offset(FetchOffset::Earliest)
        .with_offset_storage(Some(GroupOffsetStorage::Kafka))
        .create()?;
    let mut handled = 0;
    while handled == 0 {
        for set in consumer.poll()?.iter() {
            handled += set.messages().len();
            for message in set.messages() {
                println!("offset {}: {}", message.offset, String::from_utf8_lossy(message.value));
            }
            consumer.consume_messageset(set)?;
        }
        consumer.commit_consumed()?;
    }
    Ok(())
}
