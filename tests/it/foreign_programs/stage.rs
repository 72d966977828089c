//! The foreign programs before an adapter, and what they print.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use crate::support::assistant::Offsets;
use crate::support::kafka::Kafka;
use crate::support::program::{Program, Start};
use crate::support::{PATIENCE, eventually, eventually_equal, unique};

/// A session so long that only the end of a connection can be the reason why a member is gone.
const FIVE_MINUTES: &str = "300000";

/// Builds the foreign programs, once; gives the path of one of them.
fn foreign(name: &str) -> PathBuf {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    let folder = FOLDER.get_or_init(|| {
        let mut cargo = Command::new(env!("CARGO"));
        // As the tests were built, so that no dependency is built anew.
        cargo.args(["build", "--locked", "--workspace", "--examples", "--message-format", "json"]);
        let output = cargo.current_dir(env!("CARGO_MANIFEST_DIR")).output().expect("cargo");
        let report = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{report}{}", String::from_utf8_lossy(&output.stderr));
        let executable = |line: &str| -> Option<PathBuf> {
            let message: serde_json::Value = serde_json::from_str(line).ok()?;
            let is_ours = message["target"]["name"].as_str()?.starts_with("foreign_");
            Some(PathBuf::from(message["executable"].as_str()?)).filter(|_| is_ours)
        };
        let built = report.lines().find_map(executable).expect("cargo names what it built");
        built.parent().expect("a folder").to_owned()
    });
    folder.join(name)
}

/// One adapter on a cluster, a topic, and a group.
pub struct Stage<'a> {
    pub kafka: &'a Kafka,
    pub adapter: Program,
    pub topic: String,
    pub group: String,
}

impl<'a> Stage<'a> {
    /// The topic exists, with these partitions on the single node.
    pub fn with_partitions(kafka: &'a Kafka, partitions: u32) -> Stage<'a> {
        let stage = Stage::with_settings(kafka, &[]);
        kafka.assistant().create_topic(&stage.topic, partitions, 1, &[]);
        stage
    }

    /// An adapter with further settings; the topic is the test's to create.
    pub fn with_settings(kafka: &'a Kafka, settings: &[(&str, &str)]) -> Stage<'a> {
        let start = Start::program("adapter").on(kafka);
        Stage::with_adapter(kafka, settings.iter().fold(start, |start, (key, value)| start.set(key, value)))
    }

    /// An adapter that goes its own way to the cluster; the topic is the test's to create.
    pub fn with_adapter(kafka: &'a Kafka, start: Start) -> Stage<'a> {
        let adapter = Program::adapter_with(start.set("consumer.session_timeout_ms", FIVE_MINUTES));
        Stage { kafka, adapter, topic: unique("ajeno"), group: unique("grupo") }
    }

    pub fn start(&self, program: &str, arguments: &[&str]) -> Start {
        let mut command = Command::new(foreign(program));
        command.arg(format!("address={}", self.adapter.address())).arg(format!("topic={}", self.topic));
        command.args(arguments);
        Start::command(program, command).with_input()
    }

    /// A consumer of the group.
    pub fn consumer(&self, arguments: &[&str]) -> Program {
        self.start("foreign_consumer", &[&format!("group={}", self.group)]).arguments(arguments).start()
    }

    pub fn producer(&self, arguments: &[&str]) -> Program {
        self.start("foreign_producer", arguments).start()
    }

    pub fn monitor(&self) -> Program {
        self.start("foreign_monitor", &[&format!("group={}", self.group)]).start()
    }

    /// Waits until the group has `members` members and each owns `each` partitions at least.
    pub fn wait_for_members(&self, members: usize, each: usize) {
        eventually(&format!("{members} members share the group"), PATIENCE, || {
            let group = self.kafka.assistant().group(&self.group);
            let all_own = group.members.iter().all(|member| member.partitions.len() >= each);
            (group.state == "stable" && group.members.len() == members && all_own).then_some(())
        });
    }

    /// Sends values `round:N` spread over the partitions, through Java.
    pub fn feed(&self, round: &str, count: usize) {
        self.kafka.assistant().produce(&self.topic, "none", -1, &format!("{round}:%d"), count);
    }

    pub fn committed_is(&self, expected: &[(i32, i64)]) {
        let expected: Offsets = expected.iter().copied().collect();
        let ask = || self.kafka.assistant().committed(&self.group, &self.topic);
        eventually_equal("the committed offsets", &expected, ask);
    }
}

/// One printed line: partition, offset, value.
fn place(line: &str) -> (i32, i64, String) {
    let mut words = line.splitn(3, ' ');
    let number = |word: Option<&str>| word.and_then(|w| w.parse::<i64>().ok());
    let (partition, offset) = (number(words.next()), number(words.next()));
    let (Some(partition), Some(offset)) = (partition, offset) else {
        panic!("not a printed message: {line:?}")
    };
    (partition as i32, offset, words.next().unwrap_or_default().to_owned())
}

pub fn places(consumers: &[&Program]) -> Vec<(i32, i64, String)> {
    consumers.iter().flat_map(|consumer| consumer.lines()).map(|line| place(&line)).collect()
}

pub fn printed(consumers: &[&Program]) -> usize {
    consumers.iter().map(|consumer| consumer.lines().len()).sum()
}

pub fn wait_for_printed(consumers: &[&Program], count: usize) {
    eventually(&format!("{count} messages are printed"), Duration::from_secs(120), || {
        (printed(consumers) >= count).then_some(())
    });
}

/// How many errors the crate's users have seen.
pub fn errors(consumers: &[&Program]) -> Vec<String> {
    consumers.iter().flat_map(|consumer| consumer.log()).filter(|line| line.starts_with("error")).collect()
}

/// Every message of the topic was printed once, with Java's client as the witness.
pub fn assert_all_once(stage: &Stage, consumers: &[&Program]) {
    let mut found = places(consumers);
    found.sort();
    let expected: Vec<(i32, i64, String)> = stage
        .kafka
        .assistant()
        .read(&stage.topic, false)
        .into_iter()
        .map(|r| {
            (r.partition, r.offset, String::from_utf8_lossy(r.value.as_deref().unwrap_or(b"")).into_owned())
        })
        .collect();
    if found != expected {
        let (found_set, expected_set): (BTreeSet<_>, BTreeSet<_>) =
            (found.iter().collect(), expected.iter().collect());
        let lost: Vec<_> = expected_set.difference(&found_set).take(5).collect();
        let mut seen = BTreeSet::new();
        let again: Vec<_> = found.iter().filter(|place| !seen.insert(*place)).take(5).collect();
        panic!("{} printed of {}; lost {lost:?} ..., again {again:?} ...", found.len(), expected.len());
    }
}
