//! Looks things up through the crate's bare client, one command a line:
//!
//! - `look`: prints `earliest P:O,...`, `latest P:O,...` and `committed P:O,...`, then `done`;
//! - `commit P OFFSET`: commits for the group, then prints `done`.
//!
//! A failed command prints `error: why` instead of `done`. Arguments: `address`, `topic`, `group`.

use std::io::{self, BufRead};

use foreign::Arguments;
use kafka::Result;
use kafka::client::{FetchOffset, GroupOffsetStorage, KafkaClient};
use kafka::error::Error;

fn print(name: &str, mut offsets: Vec<(i32, i64)>) {
    offsets.sort_unstable();
    let words: Vec<String> =
        offsets.iter().map(|(partition, offset)| format!("{partition}:{offset}")).collect();
    println!("{name} {}", words.join(","));
}

fn look(client: &mut KafkaClient, topic: &str, group: &str) -> Result<()> {
    client.load_metadata_all()?;
    for (name, which) in [("earliest", FetchOffset::Earliest), ("latest", FetchOffset::Latest)] {
        let mut found = client.fetch_offsets(&[topic], which)?;
        let offsets = found.remove(topic).unwrap_or_default();
        print(name, offsets.iter().map(|offset| (offset.partition, offset.offset)).collect());
    }
    let committed = client.fetch_group_topic_offset(group, topic)?;
    print("committed", committed.iter().map(|offset| (offset.partition, offset.offset)).collect());
    Ok(())
}

fn execute(client: &mut KafkaClient, line: &str, topic: &str, group: &str) -> Result<()> {
    let words: Vec<&str> = line.split(' ').collect();
    match words[..] {
        ["look"] => look(client, topic, group),
        ["commit", partition, offset] => {
            let (Ok(partition), Ok(offset)) = (partition.parse(), offset.parse()) else {
                return Err(Error::CodecError);
            };
            client.load_metadata_all()?;
            client.commit_offset(group, topic, partition, offset)
        }
        _ => Err(Error::CodecError),
    }
}

fn main() {
    let arguments = Arguments::from_command_line();
    let (topic, group) = (arguments.required("topic"), arguments.required("group"));
    let mut client = KafkaClient::new(vec![arguments.required("address")]);
    client.set_group_offset_storage(Some(GroupOffsetStorage::Kafka));
    for line in io::stdin().lock().lines().map_while(io::Result::ok) {
        match execute(&mut client, &line, &topic, &group) {
            Ok(()) => println!("done"),
            Err(error) => println!("error: {error}"),
        }
    }
}
