//! Consumers with a work queue under the default program. Each is a group member in its own process, so that
//! nobody but the supervisor can take a killed one out of its group.

use std::fs;
use std::time::{Duration, Instant};

use super::channel::{Channel, signal};
use super::handler;
use crate::support::watchdog::Folder;
use crate::support::{EMBEDDED, NEWEST, PATIENCE, eventually, run_on};

run_on! {
    mod kafka_4_3 on NEWEST {
        the_partitions_of_a_killed_queue_consumer_move_long_before_its_session_ends,
    }
    mod embedded on EMBEDDED {
        the_partitions_of_a_killed_queue_consumer_move_long_before_its_session_ends,
    }
}

/// A killed member stays in its group for so long, unless somebody takes it out.
const SESSION_MS: &str = "30000";

/// Too soon for the end of a session.
const SOON: Duration = Duration::from_secs(10);

/// Writes down the consumer's process and the message.
const SCRIPT: &str = r#"v=$(cat); echo "$PPID $v" >>"$1/handled""#;

/// Waits until message `id` is handled; gives the process of the consumer that did it.
fn handled_by(folder: &Folder, id: u64, patience: Duration) -> u32 {
    let message = format!("{{\"id\":{id}}}");
    eventually(&format!("message {id} is handled"), patience, || {
        let text = fs::read_to_string(folder.path().join("handled")).unwrap_or_default();
        let mut runs = text.lines().filter_map(|line| line.split_once(' '));
        let (process, _) = runs.find(|(_, handled)| *handled == message)?;
        process.parse().ok()
    })
}

fn the_partitions_of_a_killed_queue_consumer_move_long_before_its_session_ends(version: &'static str) {
    let folder = Folder::new("handled");
    let channel = Channel::start_with(version, |start| {
        handler(start, SCRIPT, &folder).set("consumer.session_timeout_ms", SESSION_MS)
    });
    let mut next_id = 0;
    let keys = channel.one_key_each_partition(&mut next_id);
    channel.place.wait_for_members(&[("consumer1", "2"), ("consumer2", "2")]);
    let victim = channel.child("consumer1");
    let owners: Vec<u32> =
        keys.iter().map(|key| handled_by(&folder, channel.next(key, &mut next_id), PATIENCE)).collect();
    assert_eq!(owners.iter().filter(|owner| **owner == victim).count(), 2, "{victim} of {owners:?}");
    let killed = Instant::now();
    signal("KILL", &[victim]);
    for key in &keys {
        let id = channel.next(key, &mut next_id);
        let process = handled_by(&folder, id, SOON.saturating_sub(killed.elapsed()));
        assert_ne!(process, victim);
    }
    println!("from kill -9 to messages of all partitions: {:?}", killed.elapsed());
}
