//! Kafka's command-line tools of two versions: what they print of topics, offsets and groups, and what they
//! change.

use super::client::{Client, Extras};
use crate::support::kafka::Kafka;
use crate::support::program::Program;
use crate::support::tools::{
    ACLS, CONFIGS, DELETE_RECORDS, ELECTIONS, GROUPS, LOG_DIRS, OFFSETS, QUORUM, REASSIGNMENTS, TOPICS,
    TRANSACTIONS, run_version, try_version,
};
use crate::support::watchdog::Folder;
use crate::support::{NEWEST, OLDEST, PATIENCE, eventually, unique};

const TOOLS: [&str; 2] = [NEWEST, OLDEST];

/// Whether a line of what a tool printed is made of these words, among others.
fn has_line(printed: &str, words: &[&str]) -> bool {
    printed.lines().any(|line| {
        let found: Vec<&str> = line.split_whitespace().collect();
        words.iter().all(|word| found.contains(word))
    })
}

pub fn the_topics_tool_creates_lists_describes_and_deletes(version: &'static str) {
    let kafka = Kafka::shared(version);
    for tools in TOOLS {
        let run = |arguments: &[&str]| run_version(tools, kafka, TOPICS, arguments);
        let topic = unique("herramienta");
        let created = run(&["--create", "--topic", &topic, "--partitions", "3", "--replication-factor", "1"]);
        assert!(created.contains(&format!("Created topic {topic}")), "{tools}: {created}");
        assert!(has_line(&run(&["--list"]), &[&topic]), "{tools} lists it");
        let described = run(&["--describe", "--topic", &topic]);
        assert!(has_line(&described, &["PartitionCount:", "3", "ReplicationFactor:", "1"]), "{described}");
        for partition in ["0", "1", "2"] {
            let line = ["Partition:", partition, "Leader:", "1", "Replicas:", "1", "Isr:"];
            assert!(has_line(&described, &line), "{tools}: {described}");
        }
        run(&["--create", "--topic", &topic, "--if-not-exists"]);
        run(&["--delete", "--topic", &topic]);
        eventually("the topic is gone", PATIENCE, || (!has_line(&run(&["--list"]), &[&topic])).then_some(()));
    }
}

pub fn the_tools_alter_topics_and_look_into_them(version: &'static str) {
    let kafka = Kafka::shared(version);
    let folder = Folder::new("recortes");
    for tools in TOOLS {
        let run = |class: &str, arguments: &[&str]| run_version(tools, kafka, class, arguments);
        let topic = unique("ajustes");
        let create = ["--create", "--topic", &topic, "--partitions", "1", "--replication-factor", "1"];
        run(TOPICS, &[&create[..], &["--config", "retention.ms=3600000"]].concat());
        run(TOPICS, &["--alter", "--topic", &topic, "--partitions", "3"]);
        let described = run(TOPICS, &["--describe", "--topic", &topic]);
        assert!(has_line(&described, &["PartitionCount:", "3"]), "{tools}: {described}");
        assert!(described.contains("retention.ms=3600000"), "{tools}: {described}");

        let of_topic = ["--entity-type", "topics", "--entity-name", &topic];
        let alter = |change: &[&str]| run(CONFIGS, &[&["--alter"], &of_topic[..], change].concat());
        let own = || run(CONFIGS, &[&["--describe"], &of_topic[..]].concat());
        alter(&["--add-config", "cleanup.policy=[delete,compact],max.message.bytes=2000"]);
        let set = own();
        for own in ["cleanup.policy=delete,compact ", "max.message.bytes=2000 ", "retention.ms=3600000 "] {
            assert!(set.contains(own), "{tools}: {set}");
        }
        alter(&["--delete-config", "cleanup.policy,retention.ms"]);
        let set = own();
        assert!(!set.contains("cleanup.policy") && !set.contains("3600000"), "{tools}: {set}");

        kafka.assistant().produce(&topic, "none", 0, "%d", 5);
        let cut = folder.path().join(format!("{topic}.json"));
        let until =
            format!(r#"{{"partitions":[{{"topic":"{topic}","partition":0,"offset":3}}],"version":1}}"#);
        std::fs::write(&cut, until).expect("a folder that can be written");
        let deleted = run(DELETE_RECORDS, &["--offset-json-file", &cut.display().to_string()]);
        assert!(has_line(&deleted, &[&format!("{topic}-0"), "low_watermark:", "3"]), "{tools}: {deleted}");
        let earliest = run(OFFSETS, &["--topic", &topic, "--time", "-2"]);
        assert!(has_line(&earliest, &[&format!("{topic}:0:3")]), "{tools}: {earliest}");

        let sizes = run(LOG_DIRS, &["--describe", "--topic-list", &topic]);
        for partition in 0..3 {
            assert!(sizes.contains(&format!("\"{topic}-{partition}\"")), "{tools}: {sizes}");
        }
        let asked = ["describe-producers", "--topic", &topic, "--partition", "0"];
        assert!(run(TRANSACTIONS, &asked).contains("LastSequence"), "{tools}");
    }
}

pub fn the_offsets_tool_finds_ends_and_timestamps(version: &'static str) {
    let kafka = Kafka::shared(version);
    let topic = unique("tiempos");
    kafka.assistant().create_topic(&topic, 1, 1, &[]);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("a clock after 1970");
    let base = now.as_millis() as i64 - 3_600_000;
    // Offsets 0 to 3; the largest timestamp is not the last.
    for after in [0, 1_000, 9_000, 5_000] {
        let extras = Extras { timestamp: Some(base + after), ..Extras::default() };
        Client::Confluent.send(kafka, &topic, extras, &[], &["x".to_owned()]);
    }
    let (exact, between, beyond) =
        ((base + 1_000).to_string(), (base + 1_001).to_string(), (base + 9_001).to_string());
    let cases = [
        ("latest", "4"),
        ("-2", "0"),
        ("-3", "2"),
        (&exact, "1"),
        (&between, "2"),
        // Nothing is as young as that: the tool prints no offset.
        (&beyond, ""),
    ];
    for tools in TOOLS {
        for (time, offset) in cases {
            let printed = run_version(tools, kafka, OFFSETS, &["--topic", &topic, "--time", time]);
            let expected = if offset.is_empty() { String::new() } else { format!("{topic}:0:{offset}") };
            assert_eq!(printed.trim(), expected, "{tools}: --time {time}");
        }
    }
}

/// A group of one consumer that has read and committed everything.
fn group_at_the_end(kafka: &Kafka, topic: &str, group: &str) -> Program {
    let client = Client::Confluent;
    let settings = [("client.id", "worker"), ("auto.commit.interval.ms", "200")];
    let consumer = client.consumer(kafka, topic, group, &settings);
    client.wait_for_records(&consumer, 20);
    kafka.assistant().wait_for_commits(group, topic);
    consumer
}

pub fn the_groups_tool_lists_describes_resets_and_deletes(version: &'static str) {
    let kafka = Kafka::shared(version);
    for tools in TOOLS {
        let run = |arguments: &[&str]| run_version(tools, kafka, GROUPS, arguments);
        let (topic, group) = (unique("mi-topico"), unique("grupo"));
        kafka.assistant().create_topic(&topic, 2, 1, &[]);
        kafka.assistant().produce(&topic, "none", -1, "%d", 20);
        let mut consumer = group_at_the_end(kafka, &topic, &group);
        assert!(has_line(&run(&["--list"]), &[&group]), "{tools} lists it");
        let described = run(&["--describe", "--group", &group]);
        for partition in ["0", "1"] {
            let line = [&group, &topic, partition, "10", "0", "worker"];
            assert!(has_line(&described, &line), "{tools}: {described}");
        }
        let state = run(&["--describe", "--group", &group, "--state"]);
        assert!(has_line(&state, &[&group, "range", "Stable", "1"]), "{tools}: {state}");
        let members = run(&["--describe", "--group", &group, "--members", "--verbose"]);
        assert!(
            has_line(&members, &[&group, "worker", "range", "2"]) || members.contains("worker"),
            "{members}"
        );

        consumer.stop();
        run(&["--reset-offsets", "--group", &group, "--topic", &topic, "--to-offset", "4", "--execute"]);
        assert_eq!(kafka.assistant().committed(&group, &topic), [(0, 4), (1, 4)].into(), "{tools}");
        let described = run(&["--describe", "--group", &group]);
        assert!(has_line(&described, &[&group, &topic, "4", "10", "6", "-"]), "{tools}: {described}");
        run(&[
            "--reset-offsets",
            "--group",
            &group,
            "--topic",
            &format!("{topic}:1"),
            "--to-earliest",
            "--execute",
        ]);
        assert_eq!(kafka.assistant().committed(&group, &topic), [(0, 4), (1, 0)].into(), "{tools}");
        run(&["--delete-offsets", "--group", &group, "--topic", &format!("{topic}:0")]);
        assert_eq!(kafka.assistant().committed(&group, &topic), [(1, 0)].into(), "{tools}");
        run(&["--delete", "--group", &group]);
        assert!(!has_line(&run(&["--list"]), &[&group]), "{tools}: it is gone");
    }
}

/// What there is nothing of, on one node without security: the tools say so, and do not fail.
pub fn the_tools_of_administrators_are_answered(version: &'static str) {
    let kafka = Kafka::shared(version);
    let topic = unique("mi-topico");
    kafka.assistant().create_topic(&topic, 2, 1, &[]);
    kafka.assistant().produce(&topic, "none", 1, "%d", 3);
    let run = |tool: &str, arguments: &[&str]| run_version(NEWEST, kafka, tool, arguments);

    let elected = run(ELECTIONS, &["--election-type", "preferred", "--topic", &topic, "--partition", "1"]);
    assert!(elected.contains(&format!("already elected for partitions {topic}-1")), "{elected}");
    run(ELECTIONS, &["--election-type", "unclean", "--all-topic-partitions"]);
    let moving = run(REASSIGNMENTS, &["--list"]);
    assert!(moving.contains("No partition reassignments found"), "{moving}");
    let quorum = run(QUORUM, &["describe", "--status"]);
    assert!(has_line(&quorum, &["LeaderId:", "1"]) && quorum.contains("\"id\": 1"), "{quorum}");
    let replicas = run(QUORUM, &["describe", "--replication"]);
    assert!(has_line(&replicas, &["1", "Leader"]), "{replicas}");
    let transactions = run(TRANSACTIONS, &["list"]);
    assert!(transactions.contains("TransactionalId"), "{transactions}");
    for (time, offsets) in
        [("earliest-local", Some((0, 0))), ("latest", Some((0, 3))), ("latest-tiered", None)]
    {
        let printed = run(OFFSETS, &["--topic", &topic, "--time", time]);
        let line = |(one, two)| format!("{topic}:0:{one}\n{topic}:1:{two}\n");
        assert_eq!(printed, offsets.map(line).unwrap_or_default(), "{time}");
    }
    for entity in ["users", "clients", "ips"] {
        assert_eq!(run(CONFIGS, &["--entity-type", entity, "--describe"]).trim(), "", "{entity}");
    }
    let (_, refused) = try_version(NEWEST, kafka, ACLS, &["--list"]);
    assert!(refused.contains("No Authorizer is configured"), "{refused}");
}
