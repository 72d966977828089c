//! Leases while another endpoint joins their group.

use std::net::SocketAddr;
use std::thread;

use serde_json::json;

use super::scene::{Message, Scene, Worker};
use crate::support::program::Program;
use crate::support::{PATIENCE, eventually};

/// A message in each of two partitions, and a worker at an endpoint of its own that has both.
fn both_held(scene: &Scene<'_>, endpoint: &Program, lease_ms: u64) -> (Worker, Vec<Message>) {
    for partition in 0..2 {
        scene.kafka.assistant().put(&scene.topic, partition, None, Some(b"1"));
    }
    let (mut worker, mut held) = (Worker::of(endpoint), Vec::new());
    eventually("both messages", PATIENCE, || {
        held.extend(worker.receive(&format!("max=2&wait_ms=1000&lease_ms={lease_ms}")));
        (held.len() == 2).then_some(())
    });
    (worker, held)
}

/// Waits at an endpoint for one message.
fn wait_there(address: SocketAddr) -> thread::JoinHandle<Message> {
    thread::spawn(move || Worker::at(address).receive_one())
}

fn wait_for_two_members(scene: &Scene<'_>) {
    eventually("the other endpoint joins", PATIENCE, || {
        (scene.kafka.assistant().group(&scene.group).names().len() == 2).then_some(())
    });
}

pub fn a_rebalance_waits_for_the_leases_and_nothing_is_handed_out_twice(version: &'static str) {
    let scene = Scene::new(version, 2);
    let first = scene.endpoint();
    let (mut worker, held) = both_held(&scene, &first, 300_000);
    let second = scene.endpoint();
    let waiting = wait_there(second.address());
    wait_for_two_members(&scene);
    for message in &held {
        assert_eq!(worker.acknowledge(message), 200, "its lease stands");
    }
    for partition in 0..2 {
        scene.kafka.assistant().put(&scene.topic, partition, None, Some(b"2"));
    }
    let message = waiting.join().expect("a worker");
    assert_eq!(
        (message.value(), message.attempt()),
        (&json!(2), 1),
        "what is acknowledged does not come again"
    );
}

pub fn leases_that_last_longer_than_a_rebalance_waits_end_with_409(version: &'static str) {
    let scene = Scene::new(version, 2);
    let start = || scene.start().set("consumer.max_processing_ms", "4000");
    let first = Program::producer_with(start());
    let (mut worker, held) = both_held(&scene, &first, 4_000);
    let second = Program::producer_with(start());
    let waiting = wait_there(second.address());
    let receipts: Vec<&str> = held.iter().map(Message::receipt).collect();
    eventually("a partition is handed over", PATIENCE, || {
        worker.settle("prorrogar", &receipts, &json!({"lease_ms": 4_000}));
        waiting.is_finished().then_some(())
    });
    let moved = waiting.join().expect("a worker");
    assert_eq!(moved.attempt(), 1, "the rebalance is no attempt");
    for message in &held {
        let expected = if message.place() == moved.place() { 409 } else { 200 };
        assert_eq!(worker.acknowledge(message), expected, "{message:?} beside {moved:?}");
    }
}
