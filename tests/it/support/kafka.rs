//! The clusters that the tests run against, real Kafkas and the embedded broker alike: processes on ports and
//! in folders of their own.

use std::collections::BTreeSet;
use std::env;
use std::sync::OnceLock;

use super::assistant::Assistant;
use super::machine::PYTHON;
use super::node::Node;
use super::watchdog::Folder;
use super::{EMBEDDED, NEWEST, OLDEST, embedded, kraft};

/// A cluster. Stopped and removed when dropped.
pub struct Kafka {
    version: &'static str,
    nodes: Vec<Node>,
    assistant: OnceLock<Assistant>,
    _folder: Folder,
}

impl Kafka {
    /// Starts a cluster of `nodes` nodes and waits until it serves requests. Of [`EMBEDDED`], these are
    /// processes that share one folder and one address: the first serves, the others stand by.
    pub fn start(version: &'static str, nodes: usize) -> Kafka {
        let kafka = Kafka::stopped(version, nodes);
        if version == EMBEDDED {
            // The first to come is the one that serves.
            (0..nodes).for_each(|node| kafka.start_node(node));
        } else {
            kafka.nodes.iter().for_each(Node::launch);
            kafka.wait_ready();
        }
        kafka
    }

    /// A cluster that has its addresses and folders, but does not run yet.
    pub fn stopped(version: &'static str, nodes: usize) -> Kafka {
        let folder = Folder::new("kafka");
        let nodes = match version {
            EMBEDDED => embedded::nodes(nodes, folder.path(), &[]),
            _ => kraft::nodes(version, nodes, folder.path()),
        };
        Kafka { version, nodes, assistant: OnceLock::new(), _folder: folder }
    }

    /// Starts an embedded broker with further settings, each `key=value`.
    pub fn embedded_with(settings: &'static [&'static str]) -> Kafka {
        let folder = Folder::new("kafka");
        let nodes = embedded::nodes(1, folder.path(), settings);
        let kafka = Kafka { version: EMBEDDED, nodes, assistant: OnceLock::new(), _folder: folder };
        kafka.start_node(0);
        kafka
    }

    /// Starts a node that has more listeners than one; the tests' own clients use the plain one.
    pub fn start_with(version: &'static str, extras: &kraft::Extras) -> Kafka {
        let folder = Folder::new("kafka");
        let nodes = vec![kraft::node_with(version, folder.path(), extras)];
        let kafka = Kafka { version, nodes, assistant: OnceLock::new(), _folder: folder };
        kafka.start_node(0);
        kafka
    }

    /// The single node of a version that all tests share. It runs until the test process ends, so a test
    /// takes topics and groups of its own (see [`super::unique`]) and leaves the node alone.
    pub fn shared(version: &'static str) -> &'static Kafka {
        static NEWEST_ONE: OnceLock<Kafka> = OnceLock::new();
        static OLDEST_ONE: OnceLock<Kafka> = OnceLock::new();
        static EMBEDDED_ONE: OnceLock<Kafka> = OnceLock::new();
        let shared = match version {
            NEWEST => &NEWEST_ONE,
            OLDEST => &OLDEST_ONE,
            EMBEDDED => &EMBEDDED_ONE,
            other => panic!("the tests know no Kafka {other}"),
        };
        shared.get_or_init(|| Kafka::start(version, 1))
    }

    /// Whether it is the embedded broker.
    pub fn is_embedded(&self) -> bool {
        self.version == EMBEDDED
    }

    /// The version of Java's clients and tools that go with it: that of its brokers, the newest for the
    /// embedded one.
    pub fn javas_version(&self) -> &'static str {
        if self.is_embedded() { NEWEST } else { self.version }
    }

    /// The addresses of all nodes, separated by commas.
    pub fn bootstrap(&self) -> String {
        let addresses: Vec<String> = self.ports().iter().map(|port| format!("127.0.0.1:{port}")).collect();
        addresses.join(",")
    }

    /// Java's clients, connected to this cluster; with TEST_WITHOUT_JAVA others for the embedded broker.
    pub fn assistant(&self) -> &Assistant {
        self.assistant.get_or_init(|| {
            let without_java = self.is_embedded() && env::var_os("TEST_WITHOUT_JAVA").is_some();
            let version = if without_java { PYTHON } else { self.javas_version() };
            Assistant::new(version, &self.bootstrap())
        })
    }

    /// Starts node `index` (from 0) again and waits until all running nodes know each other; one of
    /// [`EMBEDDED`], until it serves or stands by.
    pub fn start_node(&self, index: usize) {
        self.nodes[index].launch();
        self.wait_ready();
        if self.is_embedded() {
            self.nodes[index].wait_for_log(&["broker: "]);
        }
    }

    /// As [`Kafka::start_node`], by a shell script (see [`Node::launch_by`]).
    pub fn start_node_by(&self, index: usize, script: &str) {
        self.nodes[index].launch_by(script);
        self.wait_ready();
    }

    /// How many nodes it has, running or not.
    pub fn nodes(&self) -> usize {
        self.nodes.len()
    }

    /// Node `index`.
    pub fn node(&self, index: usize) -> &Node {
        &self.nodes[index]
    }

    /// Stops node `index` in an orderly way: it hands its partitions over first, if there is anybody to take
    /// them.
    pub fn stop_node(&self, index: usize) {
        self.nodes[index].stop();
    }

    /// Kills node `index` as a power cut would.
    pub fn kill_node(&self, index: usize) {
        self.nodes[index].kill();
    }

    /// Stops node `index` in its tracks, with its connections open; [`Kafka::thaw_node`] lets it go on.
    pub fn freeze_node(&self, index: usize) {
        self.nodes[index].signal("STOP");
    }

    /// Lets a frozen node go on.
    pub fn thaw_node(&self, index: usize) {
        self.nodes[index].signal("CONT");
    }

    /// The codecs of the first batches of a partition that the first node leads: 0 none, 1 gzip, 2 snappy, 3
    /// lz4, 4 zstd.
    pub fn codecs(&self, topic: &str, partition: i32) -> Vec<u8> {
        self.nodes[0].codecs(topic, partition)
    }

    /// Waits until every running node answers a request with all running nodes in it.
    fn wait_ready(&self) {
        let running = || self.nodes.iter().filter(|node| node.is_running());
        let brokers = running().map(|node| node.port).collect::<BTreeSet<_>>().len();
        running().for_each(|node| node.wait_ready(brokers));
    }

    fn ports(&self) -> BTreeSet<u16> {
        self.nodes.iter().map(|node| node.port).collect()
    }
}

impl Drop for Kafka {
    fn drop(&mut self) {
        self.assistant.get().into_iter().for_each(Assistant::forget);
    }
}
