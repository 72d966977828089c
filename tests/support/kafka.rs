//! Real Kafka clusters in KRaft mode: processes on ports and in folders of their own.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use super::assistant::Assistant;
use super::ports::free_port;
use super::watchdog::{Folder, Guarded};
use super::{NEWEST, OLDEST, PATIENCE, eventually, tail};

/// Any 16 bytes in URL-safe base64 are a cluster's id.
const CLUSTER_ID: &str = "cG9pbnQtdG8tcG9pbnQtMQ";

/// Small and quick to start: the tests need no peak throughput from the brokers.
const JVM: [&str; 5] =
    ["-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto", "-Djava.awt.headless=true"];

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

struct Node {
    id: usize,
    port: u16,
    controller_port: u16,
    folder: PathBuf,
    process: Mutex<Option<Guarded>>,
}

/// A cluster of nodes, each a broker and a controller. Stopped and removed when dropped.
pub struct Kafka {
    version: &'static str,
    nodes: Vec<Node>,
    assistant: OnceLock<Assistant>,
    _folder: Folder,
}

/// The folder with the jars of a version, put there by test.sh.
fn jars(version: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(".kafka").join(version);
    assert!(folder.join(".complete").exists(), "no Kafka {version} in {}: run ./test.sh", folder.display());
    folder
}

/// A command that starts a virtual machine on the jars of a version.
pub fn java(version: &str) -> Command {
    let mut command = Command::new("java");
    command.args(JVM).arg("-cp").arg(jars(version).join("*"));
    command
}

impl Kafka {
    /// Starts a cluster of `nodes` nodes and waits until it serves requests.
    pub fn start(version: &'static str, nodes: usize) -> Kafka {
        let kafka = Kafka::stopped(version, nodes);
        for node in 0..nodes {
            kafka.launch(node);
        }
        kafka.wait_ready();
        kafka
    }

    /// A cluster that has its addresses and folders, but does not run yet.
    pub fn stopped(version: &'static str, nodes: usize) -> Kafka {
        let folder = Folder::new("kafka");
        let nodes = (0..nodes)
            .map(|index| Node {
                id: index + 1,
                port: free_port(),
                controller_port: free_port(),
                folder: folder.path().join(format!("node{}", index + 1)),
                process: Mutex::new(None),
            })
            .collect();
        let kafka = Kafka { version, nodes, assistant: OnceLock::new(), _folder: folder };
        kafka.format();
        kafka
    }

    /// The single node of a version that the tests of one binary share. It runs until the test process ends, so a test
    /// takes topics and groups of its own (see [`super::unique`]) and leaves the node alone.
    pub fn shared(version: &'static str) -> &'static Kafka {
        static NEWEST_ONE: OnceLock<Kafka> = OnceLock::new();
        static OLDEST_ONE: OnceLock<Kafka> = OnceLock::new();
        let shared = match version {
            NEWEST => &NEWEST_ONE,
            OLDEST => &OLDEST_ONE,
            other => panic!("the tests know no Kafka {other}"),
        };
        shared.get_or_init(|| Kafka::start(version, 1))
    }

    /// The version of its brokers.
    pub fn version(&self) -> &'static str {
        self.version
    }

    /// The addresses of all nodes, separated by commas.
    pub fn bootstrap(&self) -> String {
        let addresses: Vec<String> =
            self.nodes.iter().map(|node| format!("127.0.0.1:{}", node.port)).collect();
        addresses.join(",")
    }

    /// Java's clients, connected to this cluster.
    pub fn assistant(&self) -> &Assistant {
        self.assistant.get_or_init(|| Assistant::start(self.version, &self.bootstrap()))
    }

    /// Starts node `index` (from 0) again and waits until all running nodes know each other.
    pub fn start_node(&self, index: usize) {
        self.launch(index);
        self.wait_ready();
    }

    /// Stops node `index` in an orderly way: it hands its partitions over first, if there is anybody to take them.
    pub fn stop_node(&self, index: usize) {
        let Some(mut process) = self.nodes[index].process().take() else { return };
        process.signal("TERM");
        eventually("a Kafka node stops", PATIENCE, || process.child().try_wait().expect("its status"));
    }

    /// Kills node `index` as a power cut would.
    pub fn kill_node(&self, index: usize) {
        if let Some(mut process) = self.nodes[index].process().take() {
            process.kill();
        }
    }

    /// Stops node `index` in its tracks, with its connections open; [`Kafka::thaw_node`] lets it go on.
    pub fn freeze_node(&self, index: usize) {
        self.nodes[index].process().as_ref().expect("a running node").signal("STOP");
    }

    /// Lets a frozen node go on.
    pub fn thaw_node(&self, index: usize) {
        self.nodes[index].process().as_ref().expect("a running node").signal("CONT");
    }

    /// The codec of the first batch that the first node has stored of a partition, as in the batch's attributes:
    /// 0 none, 1 gzip, 2 snappy, 3 lz4, 4 zstd.
    pub fn first_codec(&self, topic: &str, partition: i32) -> u8 {
        let segment = format!("data/{topic}-{partition}/00000000000000000000.log");
        let bytes =
            fs::read(self.nodes[0].folder.join(&segment)).unwrap_or_else(|e| panic!("{segment}: {e}"));
        // Base offset 8, length 4, leader epoch 4, magic 1, checksum 4, then the attributes' two bytes.
        bytes.get(22).unwrap_or_else(|| panic!("{segment} is empty")) & 7
    }

    fn format(&self) {
        let formatting: Vec<(&Node, Guarded)> =
            self.nodes.iter().map(|node| (node, self.format_node(node))).collect();
        for (node, mut process) in formatting {
            let status = process.child().wait().expect("the status of the storage tool");
            assert!(status.success(), "node {} was not formatted: {}", node.id, node.log_tail());
        }
    }

    fn format_node(&self, node: &Node) -> Guarded {
        fs::create_dir_all(&node.folder).expect("a folder for a Kafka node");
        fs::write(node.folder.join("server.properties"), self.properties(node)).expect("its settings");
        let mut command = java(self.version);
        command.args(["kafka.tools.StorageTool", "format", "-t", CLUSTER_ID, "-c"]);
        command.arg(node.folder.join("server.properties"));
        Guarded::spawn(command.stdin(Stdio::null()).stdout(node.log()).stderr(node.log()))
    }

    fn properties(&self, node: &Node) -> String {
        let voters: Vec<String> =
            self.nodes.iter().map(|n| format!("{}@127.0.0.1:{}", n.id, n.controller_port)).collect();
        let replicas = self.nodes.len().min(3);
        let in_sync = replicas.min(2);
        format!(
            "{COMMON}node.id={id}\ncontroller.quorum.voters={voters}\nlog.dirs={data}\n\
             listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}\n\
             default.replication.factor={replicas}\nmin.insync.replicas={in_sync}\n\
             offsets.topic.replication.factor={replicas}\n\
             transaction.state.log.replication.factor={replicas}\ntransaction.state.log.min.isr={in_sync}\n\
             share.coordinator.state.topic.replication.factor={replicas}\n\
             share.coordinator.state.topic.min.isr={in_sync}\n",
            id = node.id,
            voters = voters.join(","),
            data = node.folder.join("data").display(),
            port = node.port,
            controller = node.controller_port,
        )
    }

    fn launch(&self, index: usize) {
        let node = &self.nodes[index];
        let mut process = node.process();
        assert!(process.is_none(), "node {} runs already", node.id);
        let mut command = java(self.version);
        command.args([
            "-Dorg.slf4j.simpleLogger.showDateTime=true",
            "-Dorg.slf4j.simpleLogger.dateTimeFormat=HH:mm:ss.SSS",
            "-Dorg.slf4j.simpleLogger.log.org.apache.kafka.common.config=warn",
            "-Dorg.slf4j.simpleLogger.log.kafka.server.KafkaConfig=warn",
            "kafka.Kafka",
        ]);
        command.arg(node.folder.join("server.properties"));
        command.stdin(Stdio::null()).stdout(node.log()).stderr(node.log());
        *process = Some(Guarded::spawn(&mut command));
    }

    /// Waits until every running node answers a request with all running nodes in it.
    fn wait_ready(&self) {
        let running = self.nodes.iter().filter(|node| node.process().is_some()).count();
        for node in self.nodes.iter().filter(|node| node.process().is_some()) {
            eventually("a Kafka node answers", Duration::from_secs(90), || {
                let status =
                    node.process().as_mut().and_then(|process| process.child().try_wait().ok().flatten());
                if let Some(status) = status {
                    panic!("Kafka node {} ended with {status}:\n{}", node.id, node.log_tail());
                }
                (brokers_known_to(node.port).ok()? >= running).then_some(())
            });
        }
    }
}

impl Drop for Kafka {
    fn drop(&mut self) {
        for node in &self.nodes {
            if let Some(mut process) = node.process().take() {
                process.kill();
            }
            if std::thread::panicking() {
                eprintln!("--- Kafka node {}:\n{}", node.id, node.log_tail());
            }
        }
    }
}

impl Node {
    fn process(&self) -> MutexGuard<'_, Option<Guarded>> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn log(&self) -> File {
        let path = self.folder.join("node.log");
        File::options().create(true).append(true).open(path).expect("a log file for a Kafka node")
    }

    fn log_tail(&self) -> String {
        tail(&fs::read_to_string(self.folder.join("node.log")).unwrap_or_default(), 15)
    }
}

/// How many brokers a node counts among the living: Metadata, version 1, with no topics asked for.
fn brokers_known_to(port: u16) -> io::Result<usize> {
    let address = format!("127.0.0.1:{port}").parse().map_err(io::Error::other)?;
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(2))?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    // Size; Metadata (3), version 1, correlation id 7, null client id; an empty array of topics.
    stream.write_all(&[0, 0, 0, 14, 0, 3, 0, 1, 0, 0, 0, 7, 0xff, 0xff, 0, 0, 0, 0])?;
    // Size, correlation id, the number of brokers.
    let mut head = [0; 12];
    stream.read_exact(&mut head)?;
    Ok(u32::from_be_bytes([head[8], head[9], head[10], head[11]]) as usize)
}
