//! Queues whose endpoint cannot join their group.

use std::process::Command;

use super::scene::{Scene, Worker, messages};
use crate::support::program::Start;
use crate::support::{PATIENCE, eventually};

/// `kcat` shares partitions in a way that our members do not know.
pub fn workers_hear_why_their_group_cannot_be_joined_until_it_can(version: &'static str) {
    let scene = Scene::new(version, 1);
    scene.put(None, "1");
    let mut command = Command::new("kcat");
    command.args(["-E", "-b", &scene.kafka.bootstrap(), "-X", "partition.assignment.strategy=roundrobin"]);
    command.args(["-X", "auto.offset.reset=earliest", "-X", "enable.auto.commit=false"]);
    command.args(["-X", "session.timeout.ms=6000"]);
    command.args(["-u", "-G", &scene.group, &scene.topic]);
    let other = Start::command("kcat", command).start();
    other.wait_for_line("1", PATIENCE);
    let endpoint = scene.endpoint();
    let mut worker = Worker::of(&endpoint);
    let refused = eventually("the worker is told", PATIENCE, || {
        Some(worker.post("/recibir?wait_ms=200", "")).filter(|answer| answer.status != 200)
    });
    assert_eq!(refused.status, 503, "{refused:?}");
    let error = refused.json()["error"].clone();
    assert_eq!(error["code"], "queue_obstacle");
    let message = error["message"].as_str().expect("a message");
    assert!(message.contains("cannot join its group") && message.contains("INCONSISTENT"), "{message}");
    assert!(refused.header("retry-after").is_some(), "{refused:?}");
    drop(other);
    eventually("the message comes once the group can be joined", 2 * PATIENCE, || {
        let answer = worker.post("/recibir?wait_ms=1000", "");
        (answer.status == 200 && messages(&answer).len() == 1).then_some(())
    });
}
