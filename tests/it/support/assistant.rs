//! Java's own clients and tools in long-lived virtual machines (tests/kafka/Assistant.java), one for each
//! version, which all tests of a run share: the second opinion on what our programs wrote, and the source of
//! what they cannot write themselves.

use std::collections::BTreeMap;

use super::machine::{Lines, Machine};
use super::{PATIENCE, eventually, eventually_equal};

/// Offsets by partition.
pub type Offsets = BTreeMap<i32, i64>;

/// One record as Java read it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Its partition.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
    /// Its key, `None` for null.
    pub key: Option<Vec<u8>>,
    /// Its value, `None` for null.
    pub value: Option<Vec<u8>>,
    /// Its time, ms since 1970.
    pub timestamp: i64,
    /// Its headers, in their order.
    pub headers: Vec<Header>,
}

impl Record {
    /// The value of the last header of this name.
    pub fn header(&self, name: &str) -> Option<&[u8]> {
        self.headers.iter().rev().find(|(found, _)| found == name)?.1.as_deref()
    }
}

/// A header's name and value, `None` for null.
pub type Header = (String, Option<Vec<u8>>);

/// One member as the group coordinator lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// What Kafka's tools show as its name.
    pub client_id: String,
    /// What the coordinator calls it.
    pub id: String,
    /// `topic:partition` of all that it owns.
    pub partitions: Vec<String>,
}

/// A group as its coordinator describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// `STABLE`, `EMPTY`, ... in Java's spelling, lower case.
    pub state: String,
    /// Its members, by client id.
    pub members: Vec<Member>,
}

impl Group {
    /// The members' client ids in order.
    pub fn names(&self) -> Vec<&str> {
        self.members.iter().map(|member| member.client_id.as_str()).collect()
    }

    /// Whether these are its members, no rebalance is under way, and each owns `each` partitions at least.
    pub fn is_shared_by(&self, names: &[&str], each: usize) -> bool {
        let mut names = names.to_vec();
        names.sort_unstable();
        self.state == "stable"
            && self.names() == names
            && self.members.iter().all(|m| m.partitions.len() >= each)
    }
}

/// The clients of one version, connected to one cluster.
pub struct Assistant {
    machine: &'static Machine,
    bootstrap: String,
}

/// The note in the metadata beside an offset, without the id of the topic.
pub fn note_in(metadata: &str) -> &str {
    let (note, last) = metadata.rsplit_once(' ').unwrap_or(("", metadata));
    if last.starts_with("topic-id=") { note } else { metadata }
}

impl Assistant {
    /// The clients of a version for a cluster; the first command connects them.
    pub fn new(version: &str, bootstrap: &str) -> Assistant {
        Assistant { machine: Machine::shared(version), bootstrap: bootstrap.to_owned() }
    }

    /// One command; the words of each line of the answer, or what went wrong.
    pub fn try_ask(&self, words: &[&str]) -> Result<Lines, String> {
        self.machine.ask(&self.bootstrap, words)
    }

    /// Closes its connections: the cluster is gone.
    pub fn forget(&self) {
        self.machine.tell(&self.bootstrap, &["forget"]);
    }

    /// One command that must succeed.
    pub fn ask(&self, words: &[&str]) -> Lines {
        self.try_ask(words).unwrap_or_else(|error| panic!("{words:?}: {error}"))
    }

    /// Creates a topic; `settings` are `key=value`.
    pub fn create_topic(&self, topic: &str, partitions: u32, replicas: u32, settings: &[&str]) {
        let (partitions, replicas) = (partitions.to_string(), replicas.to_string());
        let mut words = vec!["create", topic, &partitions, &replicas];
        words.extend(settings);
        self.ask(&words);
    }

    /// Changes settings of a topic, each `key=value`.
    pub fn configure(&self, topic: &str, settings: &[&str]) {
        let mut words = vec!["configure", topic];
        words.extend(settings);
        self.ask(&words);
    }

    /// The next offset of each partition, or nothing while the topic is unknown.
    pub fn end_offsets(&self, topic: &str) -> Option<Offsets> {
        let lines = self.try_ask(&["ends", topic]).ok()?;
        Some(lines.iter().map(|words| (number(&words[0]) as i32, number(&words[2]))).collect())
    }

    /// What a group has committed in a topic.
    pub fn committed(&self, group: &str, topic: &str) -> Offsets {
        let lines = self.ask(&["committed", group]);
        let of_topic = lines.iter().filter(|words| words[0] == topic);
        of_topic.map(|words| (number(&words[1]) as i32, number(&words[2]))).collect()
    }

    /// What a group has committed in a partition, with the note beside the offset.
    pub fn commit_of(&self, group: &str, topic: &str, partition: i32) -> Option<(i64, String)> {
        let lines = self.ask(&["notes", group]);
        let found = lines.iter().find(|words| words[0] == topic && number(&words[1]) as i32 == partition)?;
        Some((number(&found[2]), note_in(&found[3]).to_owned()))
    }

    /// The group as its coordinator sees it; a group that was never there is `dead` and empty.
    pub fn group(&self, group: &str) -> Group {
        let lines = self.ask(&["members", group]);
        let state = lines[0][0].to_lowercase();
        let mut members: Vec<Member> = lines[1..]
            .iter()
            .map(|words| Member {
                client_id: words[0].clone(),
                id: words[1].clone(),
                partitions: words[2].split(',').filter(|p| !p.is_empty()).map(str::to_owned).collect(),
            })
            .collect();
        members.sort_by(|a, b| a.client_id.cmp(&b.client_id));
        Group { state, members }
    }

    /// Waits until these are the group's members and each owns `each` partitions at least.
    pub fn wait_for_members(&self, group: &str, names: &[&str], each: usize) -> Group {
        eventually(&format!("{names:?} share the group {group}"), PATIENCE, || {
            Some(self.group(group)).filter(|group| group.is_shared_by(names, each))
        })
    }

    /// Waits until the group has committed everything that the topic holds.
    pub fn wait_for_commits(&self, group: &str, topic: &str) {
        let ends = self.end_offsets(topic).expect("a topic");
        let with_messages: Offsets = ends.into_iter().filter(|(_, end)| *end > 0).collect();
        eventually_equal(&format!("{group} has committed the end of {topic}"), &with_messages, || {
            let committed = self.committed(group, topic);
            committed.into_iter().filter(|(_, offset)| *offset > 0).collect()
        });
    }

    /// The node id of a partition's leader, from 1 on; `None` while it has none.
    pub fn leader(&self, topic: &str, partition: i32) -> Option<usize> {
        // A node that was just asked to create it may know it before the others do.
        let words = ["leader", topic, &partition.to_string()];
        let lines = eventually(&format!("{topic} is known"), PATIENCE, || self.try_ask(&words).ok());
        usize::try_from(number(&lines[0][0])).ok()
    }

    /// Sends `count` values, the template with `%d` replaced by 0, 1, ..., compressed with `codec`; partition
    /// -1 spreads them evenly over all partitions.
    pub fn produce(&self, topic: &str, codec: &str, partition: i32, template: &str, count: usize) {
        self.ask(&["produce", topic, codec, &partition.to_string(), template, &count.to_string()]);
    }

    /// One transaction of `count` values (see [`Assistant::produce`]), which ends with a control batch.
    pub fn transaction(&self, topic: &str, partition: i32, commit: bool, template: &str, count: usize) {
        let end = if commit { "commit" } else { "abort" };
        self.ask(&["transaction", topic, &partition.to_string(), end, template, &count.to_string()]);
    }

    /// Sends one record as it is; gives its partition and offset.
    pub fn put(&self, topic: &str, partition: i32, key: Option<&[u8]>, value: Option<&[u8]>) -> (i32, i64) {
        self.put_with(topic, partition, key, value, &[])
    }

    /// Whether a topic has no record, or is not there.
    pub fn is_empty(&self, topic: &str) -> bool {
        self.end_offsets(topic).is_none_or(|ends| ends.values().all(|end| *end == 0))
    }

    /// Sends one record with headers; gives its partition and offset.
    pub fn put_with(
        &self,
        topic: &str,
        partition: i32,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[Header],
    ) -> (i32, i64) {
        let mut words = vec![
            "put".to_owned(),
            topic.to_owned(),
            partition.to_string(),
            hexadecimal(key),
            hexadecimal(value),
        ];
        for (name, value) in headers {
            words.extend([name.clone(), hexadecimal(value.as_deref())]);
        }
        let lines = self.ask(&words.iter().map(String::as_str).collect::<Vec<_>>());
        (number(&lines[0][0]) as i32, number(&lines[0][1]))
    }

    /// Deletes the records of a partition that come before an offset.
    pub fn trim(&self, topic: &str, partition: i32, before: i64) {
        self.ask(&["trim", topic, &partition.to_string(), &before.to_string()]);
    }

    /// All records of a topic; with `committed_only` without those of aborted transactions.
    pub fn read(&self, topic: &str, committed_only: bool) -> Vec<Record> {
        let isolation = if committed_only { "read_committed" } else { "read_uncommitted" };
        let lines = self.ask(&["read", topic, isolation]);
        let mut records: Vec<Record> = lines
            .iter()
            .map(|words| Record {
                partition: number(&words[0]) as i32,
                offset: number(&words[1]),
                key: bytes(&words[2]),
                value: bytes(&words[3]),
                timestamp: number(&words[4]),
                headers: words[5..].chunks_exact(2).map(|pair| (pair[0].clone(), bytes(&pair[1]))).collect(),
            })
            .collect();
        records.sort_by_key(|record| (record.partition, record.offset));
        records
    }
}

fn number(word: &str) -> i64 {
    word.parse().unwrap_or_else(|_| panic!("no number: {word}"))
}

fn hexadecimal(bytes: Option<&[u8]>) -> String {
    match bytes {
        None => "-".to_owned(),
        Some(bytes) => bytes.iter().map(|byte| format!("{byte:02x}")).collect(),
    }
}

fn bytes(word: &str) -> Option<Vec<u8>> {
    let byte = |at| u8::from_str_radix(&word[at..at + 2], 16).expect("hexadecimal");
    (word != "-").then(|| (0..word.len()).step_by(2).map(byte).collect())
}
