//! Sends each line of its standard input as one message and prints `sent LINE` or `failed LINE: why`.
//!
//! Arguments: `address`, `topic`; optional `partition` (else the crate's partitioner chooses), `compression`
//! (`gzip`, `snappy`), `idle_ms` (the connection's idle timeout) and `ack_ms` (how long the broker may take).

use std::io::{self, BufRead};
use std::thread;
use std::time::Duration;

use foreign::Arguments;
use kafka::client::Compression;
use kafka::producer::{Producer, Record, RequiredAcks};

fn connect(arguments: &Arguments) -> Producer {
    loop {
        let mut builder =
            Producer::from_hosts(vec![arguments.required("address")]).with_required_acks(RequiredAcks::All);
        if let Some(wait) = arguments.milliseconds("ack_ms") {
            builder = builder.with_ack_timeout(wait);
        }
        if let Some(idle) = arguments.milliseconds("idle_ms") {
            builder = builder.with_connection_idle_timeout(idle);
        }
        builder = builder.with_compression(match arguments.get("compression") {
            Some("gzip") => Compression::GZIP,
            Some("snappy") => Compression::SNAPPY,
            _ => Compression::NONE,
        });
        match builder.create() {
            Ok(producer) => return producer,
            Err(error) => eprintln!("error: create: {error}"),
        }
        thread::sleep(Duration::from_millis(200));
    }
}

fn main() {
    let arguments = Arguments::from_command_line();
    let (topic, partition) = (arguments.required("topic"), arguments.number("partition").unwrap_or(-1));
    let mut producer = connect(&arguments);
    for line in io::stdin().lock().lines().map_while(Result::ok) {
        let record = Record::from_value(&topic, line.as_bytes()).with_partition(partition);
        match producer.send(&record) {
            Ok(()) => println!("sent {line}"),
            Err(error) => {
                println!("failed {line}: {error}");
                producer = connect(&arguments);
            }
        }
    }
}
