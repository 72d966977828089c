//! The nodes of a real Kafka in KRaft mode, each a broker and a controller.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::java::java;
use super::machine::Machine;
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

/// What a node has beyond the listener that every node has.
#[derive(Debug, Default, Clone)]
pub struct Extras {
    /// Listeners beside the plain one.
    pub listeners: Vec<Listener>,
    /// Lines of its settings.
    pub settings: String,
    /// Options of its virtual machine.
    pub options: Vec<String>,
}

/// A further listener of a node.
#[derive(Debug, Clone)]
pub struct Listener {
    /// Its name in the node's settings.
    pub name: &'static str,
    /// `PLAINTEXT`, `SSL`, `SASL_PLAINTEXT` or `SASL_SSL`.
    pub protocol: &'static str,
    /// Where it listens.
    pub address: String,
    /// What it tells clients about that.
    pub advertised: String,
}

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
    places.iter().map(|place| node(version, place, &places, &Extras::default())).collect()
}

/// The single node of a cluster that has more listeners than one.
pub fn node_with(version: &'static str, folder: &Path, extras: &Extras) -> Node {
    let folder = folder.join("node1");
    let place = Place { id: 1, port: free_port(), controller_port: free_port(), folder };
    node(version, &place, std::slice::from_ref(&place), extras)
}

/// One node, its folder formatted.
fn node(version: &'static str, place: &Place, all: &[Place], extras: &Extras) -> Node {
    let settings = place.folder.join("server.properties");
    let command = {
        let (settings, options) = (settings.clone(), extras.options.clone());
        move || launch(version, &settings, &options)
    };
    let node = Node::new(place.id, place.port, &place.folder, command);
    fs::write(&settings, properties(place, all, extras)).expect("its settings");
    let settings = settings.display().to_string();
    let arguments = ["format", "-t", CLUSTER_ID, "-c", &settings];
    let (status, printed) = Machine::shared(version).run("kafka.tools.StorageTool", &arguments);
    assert_eq!(status, 0, "node {} was not formatted: {printed}", place.id);
    node
}

fn launch(version: &str, settings: &Path, options: &[String]) -> Command {
    let mut command = java(version);
    command.args(options).args([
        "-Dorg.slf4j.simpleLogger.showDateTime=true",
        "-Dorg.slf4j.simpleLogger.dateTimeFormat=HH:mm:ss.SSS",
        "-Dorg.slf4j.simpleLogger.log.org.apache.kafka.common.config=warn",
        "-Dorg.slf4j.simpleLogger.log.kafka.server.KafkaConfig=warn",
        "kafka.Kafka",
    ]);
    command.arg(settings);
    command
}

fn properties(place: &Place, all: &[Place], extras: &Extras) -> String {
    let voters: Vec<String> =
        all.iter().map(|n| format!("{}@127.0.0.1:{}", n.id, n.controller_port)).collect();
    let replicas = all.len().min(3);
    let in_sync = replicas.min(2);
    let own = format!("PLAINTEXT://127.0.0.1:{}", place.port);
    let listed = |what: fn(&Listener) -> String| -> String {
        extras.listeners.iter().map(|listener| format!(",{}", what(listener))).collect()
    };
    format!(
        "{COMMON}node.id={id}\ncontroller.quorum.voters={voters}\nlog.dirs={data}\n\
         listeners={own},CONTROLLER://127.0.0.1:{controller}{listeners}\n\
         advertised.listeners={own}{advertised}\n\
         listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT{protocols}\n\
         inter.broker.listener.name=PLAINTEXT\n{settings}\
         default.replication.factor={replicas}\nmin.insync.replicas={in_sync}\n\
         offsets.topic.replication.factor={replicas}\n\
         transaction.state.log.replication.factor={replicas}\ntransaction.state.log.min.isr={in_sync}\n\
         share.coordinator.state.topic.replication.factor={replicas}\n\
         share.coordinator.state.topic.min.isr={in_sync}\n",
        id = place.id,
        voters = voters.join(","),
        data = place.folder.join("data").display(),
        listeners = listed(|l| format!("{}://{}", l.name, l.address)),
        advertised = listed(|l| format!("{}://{}", l.name, l.advertised)),
        protocols = listed(|l| format!("{}:{}", l.name, l.protocol)),
        settings = extras.settings,
        controller = place.controller_port,
    )
}
