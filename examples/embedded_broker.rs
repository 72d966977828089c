//! A broker for a test: in a temporary folder, at a port that the system chooses, ready in milliseconds, gone
//! in the end. Any Kafka client can use it.

use std::time::Instant;

use point_to_point::{Channel, ProducerRecord, Result};

fn main() -> Result<()> {
    let folder = std::env::temp_dir().join(format!("embedded-broker-{}", std::process::id()));
    let began = Instant::now();
    let channel = Channel::builder().topic("test").data_dir(&folder).any_port().open()?;
    println!("{} is ready after {} ms", channel.bootstrap_servers().join(","), began.elapsed().as_millis());

    let stored = channel.producer()?.send(ProducerRecord::of("1"))?.wait()?;
    assert_eq!((stored.topic.as_str(), stored.offset), ("test", 0));

    drop(channel);
    std::fs::remove_dir_all(&folder).map_err(|e| point_to_point::Error::new("the folder stays").caused_by(e))
}
