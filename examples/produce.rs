//! Sends one message and says where it is stored.

use point_to_point::{Channel, ProducerRecord, Result};

fn main() -> Result<()> {
    let channel = Channel::builder().topic("orders").environment().open()?;
    let producer = channel.producer()?;
    let order = ProducerRecord::of(r#"{"id":1}"#).with_key("customer-7").with_header("source", "shop");
    let stored = producer.send(order)?.wait()?;
    println!("stored at {}-{}, offset {}", stored.topic, stored.partition, stored.offset);
    Ok(())
}
