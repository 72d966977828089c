//! Kafka's own command-line tools, run within the virtual machine of their version (see [`super::machine`]):
//! they are for the tests that promise something about what a user sees with them; everything else asks the
//! [`super::assistant`].

use super::kafka::Kafka;
use super::machine::Machine;

/// `kafka-topics`.
pub const TOPICS: &str = "org.apache.kafka.tools.TopicCommand";
/// `kafka-configs`.
pub const CONFIGS: &str = "kafka.admin.ConfigCommand";
/// `kafka-delete-records`.
pub const DELETE_RECORDS: &str = "org.apache.kafka.tools.DeleteRecordsCommand";
/// `kafka-log-dirs`.
pub const LOG_DIRS: &str = "org.apache.kafka.tools.LogDirsCommand";
/// `kafka-transactions`.
pub const TRANSACTIONS: &str = "org.apache.kafka.tools.TransactionsCommand";
/// `kafka-consumer-groups`.
pub const GROUPS: &str = "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand";
/// `kafka-get-offsets`.
pub const OFFSETS: &str = "org.apache.kafka.tools.GetOffsetShell";

/// `kafka-leader-election`.
pub const ELECTIONS: &str = "org.apache.kafka.tools.LeaderElectionCommand";
/// `kafka-reassign-partitions`.
pub const REASSIGNMENTS: &str = "org.apache.kafka.tools.reassign.ReassignPartitionsCommand";
/// `kafka-metadata-quorum`.
pub const QUORUM: &str = "org.apache.kafka.tools.MetadataQuorumCommand";
/// `kafka-acls`.
pub const ACLS: &str = "org.apache.kafka.tools.AclCommand";

/// Runs a tool of the cluster's version.
fn run(kafka: &Kafka, class: &str, arguments: &[&str]) -> String {
    run_version(kafka.javas_version(), kafka, class, arguments)
}

/// Runs a tool of a version to its end and gives what it printed; it must succeed.
pub fn run_version(version: &str, kafka: &Kafka, class: &str, arguments: &[&str]) -> String {
    let (status, printed) = try_version(version, kafka, class, arguments);
    assert_eq!(status, 0, "{class} {arguments:?}: {printed}");
    printed
}

/// Runs a tool of a version to its end and gives its exit status and what it printed.
pub fn try_version(version: &str, kafka: &Kafka, class: &str, arguments: &[&str]) -> (i32, String) {
    let bootstrap = kafka.bootstrap();
    let arguments = [&["--bootstrap-server", bootstrap.as_str()], arguments].concat();
    Machine::shared(version).run(class, &arguments)
}

/// One line of `kafka-consumer-groups --describe`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupLine {
    /// The partition of the line.
    pub partition: i32,
    /// What the group has committed, `None` where the tool prints a dash.
    pub committed: Option<i64>,
    /// The partition's end.
    pub end: i64,
    /// The member's name, `-` without a member.
    pub client_id: String,
}

/// `kafka-consumer-groups --describe --group GROUP`, the lines of one topic.
pub fn describe_group(kafka: &Kafka, group: &str, topic: &str) -> Vec<GroupLine> {
    let printed = run(kafka, GROUPS, &["--describe", "--group", group]);
    // GROUP TOPIC PARTITION [LEADER-EPOCH] CURRENT-OFFSET LOG-END-OFFSET LAG CONSUMER-ID HOST CLIENT-ID
    let header: Vec<&str> = printed
        .lines()
        .find(|line| line.contains("CURRENT-OFFSET"))
        .unwrap_or_default()
        .split_whitespace()
        .collect();
    let column = |name: &str| header.iter().position(|title| *title == name);
    let parse = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let word = |name: &str| column(name).and_then(|at| words.get(at).copied());
        (word("TOPIC") == Some(topic)).then(|| GroupLine {
            partition: word("PARTITION").and_then(|w| w.parse().ok()).expect("a partition"),
            committed: word("CURRENT-OFFSET").and_then(|w| w.parse().ok()),
            end: word("LOG-END-OFFSET").and_then(|w| w.parse().ok()).expect("an end offset"),
            client_id: word("CLIENT-ID").unwrap_or("-").to_owned(),
        })
    };
    let mut lines: Vec<GroupLine> = printed.lines().filter_map(parse).collect();
    lines.sort_by_key(|line| line.partition);
    lines
}

/// `kafka-get-offsets --topic TOPIC`: the end of each partition, summed up.
pub fn messages_in(kafka: &Kafka, topic: &str) -> i64 {
    let printed = run(kafka, OFFSETS, &["--topic", topic]);
    // topic:partition:offset
    printed.lines().filter_map(|line| line.rsplit(':').next()?.trim().parse::<i64>().ok()).sum()
}
