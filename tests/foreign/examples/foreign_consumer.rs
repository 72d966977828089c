//! Prints `partition offset value` for every message of a topic, then consumes and commits it; a group-less
//! one only prints. After an error it says so on standard error and builds its consumer anew, as the crate
//! demands after any failed call. Ends after the message in hand when its standard input closes.
//!
//! Arguments: `address`, `topic`; optional `group`, `commit` (`message`, the default, or `set`: after each
//! polled set), `fallback` (`earliest`, the default, or `latest`), `idle_ms` (the connection's idle timeout),
//! `pause_ms` (a pause before each poll but the first), `first_pause_ms` (one before the first), `work_ms` (a
//! pause before each print), `fetch_bytes` and `retry_bytes` (the crate's two limits for a partition).

use std::io::{self, BufRead};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use foreign::Arguments;
use kafka::Result;
use kafka::consumer::{Consumer, FetchOffset, GroupOffsetStorage, MessageSets};

fn connect(arguments: &Arguments) -> Result<Consumer> {
    let fallback =
        if arguments.get("fallback") == Some("latest") { FetchOffset::Latest } else { FetchOffset::Earliest };
    let mut builder = Consumer::from_hosts(vec![arguments.required("address")])
        .with_topic(arguments.required("topic"))
        .with_fallback_offset(fallback);
    if let Some(group) = arguments.get("group") {
        builder = builder.with_group(group.to_owned()).with_offset_storage(Some(GroupOffsetStorage::Kafka));
    }
    if let Some(idle) = arguments.milliseconds("idle_ms") {
        builder = builder.with_connection_idle_timeout(idle);
    }
    if let Some(bytes) = arguments.number("fetch_bytes") {
        builder = builder.with_fetch_max_bytes_per_partition(bytes);
    }
    if let Some(bytes) = arguments.number("retry_bytes") {
        builder = builder.with_retry_max_bytes_limit(bytes);
    }
    builder.create()
}

/// Handles one polled set; with the standard input closed it stops after the message in hand.
fn handle(
    consumer: &mut Consumer,
    sets: &MessageSets,
    arguments: &Arguments,
    stop: &AtomicBool,
) -> Result<()> {
    let (topic, each) = (arguments.required("topic"), arguments.get("commit") != Some("set"));
    let (work, grouped) = (arguments.milliseconds("work_ms"), arguments.get("group").is_some());
    for set in sets.iter() {
        for message in set.messages() {
            work.into_iter().for_each(thread::sleep);
            println!("{} {} {}", set.partition(), message.offset, String::from_utf8_lossy(message.value));
            if grouped && each {
                consumer.consume_message(&topic, set.partition(), message.offset)?;
                consumer.commit_consumed()?;
                if stop.load(Ordering::Relaxed) {
                    return Ok(());
                }
            }
        }
        if grouped && !each {
            consumer.consume_messageset(set)?;
        }
    }
    if grouped && !each { consumer.commit_consumed() } else { Ok(()) }
}

fn run(arguments: &Arguments, stop: &AtomicBool) -> Result<()> {
    let mut consumer = connect(arguments)?;
    eprintln!("ready");
    arguments.milliseconds("first_pause_ms").into_iter().for_each(thread::sleep);
    while !stop.load(Ordering::Relaxed) {
        let sets = consumer.poll()?;
        handle(&mut consumer, &sets, arguments, stop)?;
        arguments.milliseconds("pause_ms").into_iter().for_each(thread::sleep);
    }
    Ok(())
}

fn main() {
    let arguments = Arguments::from_command_line();
    let stop = Arc::new(AtomicBool::new(false));
    let input_closed = Arc::clone(&stop);
    thread::spawn(move || {
        io::stdin().lock().lines().for_each(drop);
        input_closed.store(true, Ordering::Relaxed);
    });
    while !stop.load(Ordering::Relaxed) {
        if let Err(error) = run(&arguments, &stop) {
            eprintln!("error: {error}");
            thread::sleep(Duration::from_millis(100));
        }
    }
}
