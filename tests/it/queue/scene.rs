//! What the tests of the work queue share: a topic with a group, consumers whose handlers are shell scripts,
//! and what these wrote down.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;

use crate::support::assistant::Record;
use crate::support::kafka::Kafka;
use crate::support::program::{Program, Start};
use crate::support::watchdog::Folder;
use crate::support::{PATIENCE, eventually, unique};
use point_to_point::queue::note::{Attempted, Note};

/// What comes before a script that writes down its runs in the file `log`: [`Run`] reads them. `begin` and
/// `end` are what it calls; `gate N` lets nobody through before N runs have begun; `wait_for NAME` waits for
/// a file. Both end when the folder is gone, as the handler of a killed consumer goes on.
const FUNCTIONS: &str = r#"
run="$POINT_TO_POINT_PARTITION $POINT_TO_POINT_OFFSET $POINT_TO_POINT_ATTEMPT ${POINT_TO_POINT_KEY:--}"
begin() { echo "+ $run" >>"$1/log"; }
end() { echo "- $run" >>"$1/log"; }
gate() { until [ "$(grep -c '^+' "$1/log")" -ge "$2" ]; do [ -d "$1" ] || exit 1; sleep 0.02; done; }
wait_for() { until [ -e "$1/$2" ]; do [ -d "$1" ] || exit 1; sleep 0.02; done; }
"#;

/// A topic with a group, and a folder for what handlers write.
pub struct Scene<'a> {
    pub kafka: &'a Kafka,
    pub topic: String,
    pub group: String,
    folder: Folder,
}

impl Scene<'_> {
    /// A topic on the shared broker of a version.
    pub fn new(version: &'static str, partitions: u32) -> Scene<'static> {
        Scene::with_settings(version, partitions, &[])
    }

    /// The same with settings of the topic, each `key=value`.
    pub fn with_settings(version: &'static str, partitions: u32, settings: &[&str]) -> Scene<'static> {
        Scene::on(Kafka::shared(version), partitions, settings)
    }
}

impl<'a> Scene<'a> {
    /// The same on a cluster; there is a replica on each node.
    pub fn on(kafka: &'a Kafka, partitions: u32, settings: &[&str]) -> Scene<'a> {
        let (topic, group) = (unique("cola"), unique("grupo"));
        let replicas = if kafka.is_embedded() { 1 } else { kafka.nodes() as u32 };
        kafka.assistant().create_topic(&topic, partitions, replicas, settings);
        Scene { kafka, topic, group, folder: Folder::new("queue") }
    }

    /// A consumer without a handler.
    pub fn printing(&self, name: &str) -> Start {
        Program::consumer_start(self.kafka, name, &self.topic, &self.group)
    }

    /// A consumer whose handler is this script; its `$1` is the scene's folder, its `$2` the consumer's name.
    pub fn named(&self, name: &str, script: &str) -> Start {
        let folder = self.folder.path().display().to_string();
        let script = format!("{FUNCTIONS}{script}");
        let command = serde_json::to_string(&["sh", "-c", &script, "sh", &folder, name]).expect("a list");
        self.printing(name).set("consumer.handler", &command)
    }

    /// The same for `consumer1`.
    pub fn consumer(&self, script: &str) -> Start {
        self.named("consumer1", script)
    }

    /// Stores a message; gives its offset.
    pub fn put(&self, partition: i32, key: Option<&str>, value: &str) -> i64 {
        let key = key.map(str::as_bytes);
        self.kafka.assistant().put(&self.topic, partition, key, Some(value.as_bytes())).1
    }

    /// Stores the numbers from 0 on as messages without keys, evenly in all partitions.
    pub fn produce(&self, count: usize) {
        self.kafka.assistant().produce(&self.topic, "none", -1, "%d", count);
    }

    /// A file of the handlers.
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Makes an empty file for the handlers to see.
    pub fn touch(&self, name: &str) {
        fs::write(self.file(name), "").expect("a file");
    }

    /// The lines of a file; none while it is not there.
    pub fn lines(&self, name: &str) -> Vec<String> {
        let text = fs::read_to_string(self.file(name)).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// Waits until a file has so many lines.
    pub fn wait_for_lines(&self, name: &str, count: usize) {
        eventually(&format!("{name} has {count} lines"), PATIENCE, || {
            (self.lines(name).len() >= count).then_some(())
        });
    }

    /// What the handlers began and ended.
    pub fn runs(&self) -> Vec<Run> {
        self.lines("log").iter().map(|line| Run::read(line)).collect()
    }

    /// The offset and the attempt of each run, in the order of their beginnings.
    pub fn begun(&self) -> Vec<(i64, u32)> {
        self.runs().iter().filter(|run| run.begins).map(|run| (run.offset, run.attempt)).collect()
    }

    /// Waits until so many runs have begun.
    pub fn wait_for_begun(&self, count: usize) {
        let enough = || (self.begun().len() >= count).then_some(());
        eventually(&format!("{count} runs have begun"), PATIENCE, enough);
    }

    /// Waits until the group has committed all that the topic holds.
    pub fn wait_for_commits(&self) {
        self.kafka.assistant().wait_for_commits(&self.group, &self.topic);
    }

    /// What the group has committed.
    pub fn committed(&self) -> BTreeMap<i32, i64> {
        self.kafka.assistant().committed(&self.group, &self.topic)
    }

    /// The offset that is committed in the first partition, and the metadata beside it.
    pub fn commit(&self) -> Option<(i64, String)> {
        self.kafka.assistant().commit_of(&self.group, &self.topic, 0)
    }

    /// The note of the first partition.
    pub fn note(&self) -> Option<Note> {
        let (next, text) = self.commit()?;
        Some(Note::read(next, &text).unwrap_or_else(|why| panic!("{next} {text:?}: {why}")))
    }

    /// Waits until it is committed that the message at `offset` has had so many attempts, and is not being
    /// tried.
    pub fn wait_for_attempts(&self, offset: i64, attempts: u32) {
        let fits = |message: &Attempted| {
            message.offset == offset && message.attempts == attempts && !message.in_test
        };
        eventually(&format!("{attempts} attempts at {offset} are committed"), PATIENCE, || {
            self.note().filter(|note| note.attempted.iter().any(fits)).map(|_| ())
        });
    }

    /// The dead letters as Java reads them; none where there is no topic for them.
    pub fn dead_letters(&self) -> Vec<Record> {
        let (assistant, topic) = (self.kafka.assistant(), format!("{}-dlt", self.topic));
        let topics = assistant.ask(&["topics"]);
        if topics.iter().any(|words| words[0] == topic) { assistant.read(&topic, false) } else { Vec::new() }
    }

    /// Where the dead letters came from: their partitions and offsets.
    pub fn dead_places(&self) -> BTreeSet<(i32, i64)> {
        self.dead_letters().iter().map(place).collect()
    }
}

/// Where a dead letter comes from: its partition and its offset.
pub fn place(letter: &Record) -> (i32, i64) {
    let header = |name| letter.header(name).unwrap_or_else(|| panic!("no {name}"));
    let partition = header("kafka_dlt-original-partition").try_into().expect("4 bytes");
    let offset = header("kafka_dlt-original-offset").try_into().expect("8 bytes");
    (i32::from_be_bytes(partition), i64::from_be_bytes(offset))
}

/// Why it is dead.
pub fn reason(letter: &Record) -> String {
    String::from_utf8_lossy(letter.header("kafka_dlt-exception-message").unwrap_or_default()).into_owned()
}

/// The beginning or the end of a handler's run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    pub begins: bool,
    pub partition: i32,
    pub offset: i64,
    pub attempt: u32,
    pub key: Option<String>,
}

impl Run {
    fn read(line: &str) -> Run {
        let words: Vec<&str> = line.split(' ').collect();
        let [sign, partition, offset, attempt, key] = words[..] else { panic!("no run: {line:?}") };
        Run {
            begins: sign == "+",
            partition: partition.parse().expect("a partition"),
            offset: offset.parse().expect("an offset"),
            attempt: attempt.parse().expect("an attempt"),
            key: Some(key).filter(|key| *key != "-").map(str::to_owned),
        }
    }
}

/// The most runs of one class that were under way at a time; those without a class do not count.
pub fn most_at_a_time<C: Ord>(runs: &[Run], class: impl Fn(&Run) -> Option<C>) -> usize {
    let (mut open, mut most) = (BTreeMap::new(), 0);
    for run in runs {
        let Some(class) = class(run) else { continue };
        let count = open.entry(class).or_insert(0_usize);
        *count = if run.begins { *count + 1 } else { *count - 1 };
        most = most.max(*count);
    }
    most
}
