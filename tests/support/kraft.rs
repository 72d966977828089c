//! The nodes of a real Kafka in KRaft mode, each a broker and a controller.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::java::java;
use super::node::Node;
use super::ports::free_port;

/// Any 16 bytes in URL-safe base64 are a cluster's id.
const CLUSTER_ID: &str = "cG9pbnQtdG8tcG9pbnQtMQ";

/// Settings of every node. Short waits where Kafka's defaults suit a data centre; everything else as shipped.
const COMMON: &str = "\
process.roles=broker,controller
controller.listener.names=CONTROLLER
auto.create.topics.enable=false
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=6000
broker.session.timeout.ms=6000
broker.heartbeat.interval.ms=1000
offsets.topic.num.partitions=5
transaction.state.log.num.partitions=5
log.cleaner.backoff.ms=500
num.network.threads=2
num.io.threads=4
";

struct Place {
    id: usize,
    port: u16,
    controller_port: u16,
    folder: PathBuf,
}

/// The nodes of a cluster of this version, with their folders formatted.
pub fn nodes(version: &'static str, count: usize, folder: &Path) -> Vec<Node> {
    let place = |id| Place {
        id,
        port: free_port(),
        controller_port: free_port(),
        folder: folder.join(format!("node{id}")),
    };
    let places: Vec<Place> = (1..=count).map(place).collect();
    let nodes: Vec<Node> = places.iter().map(|place| node(version, place, &places)).collect();
    let formatting: Vec<_> = nodes
        .iter()
        .zip(&places)
        .map(|(node, place)| {
            let mut command = java(version);
            command.args(["kafka.tools.StorageTool", "format", "-t", CLUSTER_ID, "-c"]);
            command.arg(place.folder.join("server.properties"));
            node.spawn(command)
        })
        .collect();
    for (node, mut process) in nodes.iter().zip(formatting) {
        let status = process.child().wait().expect("the status of the storage tool");
        assert!(status.success(), "node {} was not formatted: {}", node.id, node.log_tail());
    }
    nodes
}

fn node(version: &'static str, place: &Place, all: &[Place]) -> Node {
    let settings = place.folder.join("server.properties");
    let command = {
        let settings = settings.clone();
        move || launch(version, &settings)
    };
    let node = Node::new(place.id, place.port, &place.folder, command);
    fs::write(settings, properties(place, all)).expect("its settings");
    node
}

fn launch(version: &str, settings: &Path) -> Command {
    let mut command = java(version);
    command.args([
        "-Dorg.slf4j.simpleLogger.showDateTime=true",
        "-Dorg.slf4j.simpleLogger.dateTimeFormat=HH:mm:ss.SSS",
        "-Dorg.slf4j.simpleLogger.log.org.apache.kafka.common.config=warn",
        "-Dorg.slf4j.simpleLogger.log.kafka.server.KafkaConfig=warn",
        "kafka.Kafka",
    ]);
    command.arg(settings);
    command
}

fn properties(place: &Place, all: &[Place]) -> String {
    let voters: Vec<String> =
        all.iter().map(|n| format!("{}@127.0.0.1:{}", n.id, n.controller_port)).collect();
    let replicas = all.len().min(3);
    let in_sync = replicas.min(2);
    format!(
        "{COMMON}node.id={id}\ncontroller.quorum.voters={voters}\nlog.dirs={data}\n\
         listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}\n\
         default.replication.factor={replicas}\nmin.insync.replicas={in_sync}\n\
         offsets.topic.replication.factor={replicas}\n\
         transaction.state.log.replication.factor={replicas}\ntransaction.state.log.min.isr={in_sync}\n\
         share.coordinator.state.topic.replication.factor={replicas}\n\
         share.coordinator.state.topic.min.isr={in_sync}\n",
        id = place.id,
        voters = voters.join(","),
        data = place.folder.join("data").display(),
        port = place.port,
        controller = place.controller_port,
    )
}
