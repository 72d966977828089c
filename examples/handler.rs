//! A handler that fails at some messages: they are tried again, and then stored as dead letters.

use std::fmt;

use point_to_point::{Channel, ConsumerRecord, Result, signals};

/// Its name stands in the dead letter's headers.
#[derive(Debug)]
struct Unpaid(String);

impl fmt::Display for Unpaid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "nobody paid for {}", self.0)
    }
}

fn main() -> Result<()> {
    let channel = Channel::builder()
        .topic("orders")
        .set("retry.max_attempts", "2")
        .set("retry.initial_backoff_ms", "100")
        .environment()
        .open()?;
    let handler = |record: &ConsumerRecord<'_>| {
        println!("attempt {} at offset {}: {}", record.attempt, record.offset, record.text());
        let paid = record.headers.iter().any(|(name, _)| name == "paid");
        if paid { Ok(()) } else { Err(Unpaid(record.text().into_owned())) }
    };
    channel.consumer("billing").name("handler").stop(signals::stop()?).start(handler)?.wait()
}
