//! Prints the messages that this member of the group gets, until Ctrl-C.

use point_to_point::{Channel, ConsumerRecord, Result, signals};

fn main() -> Result<()> {
    let channel = Channel::builder().topic("orders").environment().open()?;
    let consumer =
        channel.consumer("billing").stop(signals::stop()?).start(|record: &ConsumerRecord<'_>| {
            println!("attempt {}: {}", record.attempt, record.text());
            Ok::<(), std::io::Error>(())
        })?;
    consumer.wait()
}
