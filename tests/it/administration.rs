//! Topics and groups are administered from the command line, on a Kafka and on the embedded broker alike.

use std::fs;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::{Value, json};

use crate::clients::client::Client;
use crate::support::kafka::Kafka;
use crate::support::ports::free_port;
use crate::support::program::{Program, Start, binary};
use crate::support::watchdog::Folder;
use crate::support::{EMBEDDED, NEWEST, PATIENCE, eventually, run_on, unique};

run_on! {
    mod kafka_4_3 on NEWEST {
        a_topic_is_created_described_altered_and_deleted,
        what_the_brokers_refuse_is_told_and_changes_nothing,
        a_group_is_reset_once_it_has_no_members,
        a_group_of_kip_848_is_reset_once_it_has_no_members,
        topics_of_the_settings_are_created_by_the_first_program_and_stay_as_they_are,
    }
    mod embedded on EMBEDDED {
        a_topic_is_created_described_altered_and_deleted,
        what_the_brokers_refuse_is_told_and_changes_nothing,
        a_group_is_reset_once_it_has_no_members,
        topics_of_the_settings_are_created_by_the_first_program_and_stay_as_they_are,
        the_first_topic_begins_the_store,
        commands_in_another_folder_than_the_channel_are_refused,
        a_data_folder_of_others_is_refused_and_left_alone,
        a_group_whose_members_were_killed_with_their_broker_is_reset_once_their_sessions_end,
        a_topic_of_the_settings_that_one_node_cannot_have_is_told_once,
    }
}

/// Exit code, standard output and standard error of a command on a cluster.
type Said = (Option<i32>, String, String);

fn said(output: &Output) -> Said {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("UTF-8");
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

fn try_run(kafka: &Kafka, words: &[&str]) -> Said {
    let folder = Folder::new("administration");
    let servers = format!("kafka.bootstrap_servers={}", kafka.bootstrap());
    let mut command = Command::new(binary("point-to-point"));
    command.current_dir(folder.path()).args(words).args(["--set", &servers]);
    said(&command.output().expect("a program that runs"))
}

/// What a command printed, which must succeed and say nothing else.
fn run(kafka: &Kafka, words: &[&str]) -> String {
    let (code, printed, errors) = try_run(kafka, words);
    assert_eq!((code, errors.as_str()), (Some(0), ""), "{words:?}: {printed}");
    printed
}

/// The one line of an error of a command that fails.
fn refused(kafka: &Kafka, words: &[&str]) -> String {
    let (code, printed, errors) = try_run(kafka, words);
    assert_eq!((code, printed.as_str(), errors.lines().count()), (Some(1), "", 1), "{words:?}: {errors}");
    errors
}

fn described(kafka: &Kafka, topic: &str) -> Value {
    serde_json::from_str(&run(kafka, &["topics", "describe", topic, "--json"])).expect("JSON")
}

fn listed(kafka: &Kafka, topic: &str) -> Option<Value> {
    let lines = run(kafka, &["topics", "list", "--json"]);
    let mut topics = lines.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    topics.find(|found| found["name"] == topic)
}

fn a_topic_is_created_described_altered_and_deleted(version: &'static str) {
    let kafka = Kafka::shared(version);
    let topic = unique("pedidos");
    let create = ["topics", "create", &topic, "--partitions", "2", "--topic-config", "retention.ms=86400000"];
    let created = format!("created topic {topic} with 2 partitions, each on 1 broker\n");
    assert_eq!(run(kafka, &create), created);
    kafka.assistant().produce(&topic, "none", 1, "%d", 3);
    let found = described(kafka, &topic);
    assert_eq!(found["configs"], json!({"retention.ms": "86400000"}));
    let bounds =
        |at: usize| (found["partitions"][at]["start"].clone(), found["partitions"][at]["end"].clone());
    assert_eq!((bounds(0), bounds(1)), ((json!(0), json!(0)), (json!(0), json!(3))));
    let all = run(kafka, &["topics", "describe", &topic, "--all-configs"]);
    assert!(all.contains("cleanup.policy") && all.contains("brokers"), "{all}");

    let altered = run(
        kafka,
        &[
            "topics",
            "alter",
            &topic,
            "--partitions",
            "3",
            "--topic-config",
            "max.message.bytes=2000",
            "--delete-config",
            "retention.ms",
        ],
    );
    let expected = format!(
        "topic {topic}: max.message.bytes is 2000 now\n\
         topic {topic}: retention.ms is as the brokers have it now\n\
         topic {topic} has 3 partitions now, 2 before: messages of one key may go to another partition than those \
         before\n"
    );
    assert_eq!(altered, expected);
    let found = eventually("the third partition is known", PATIENCE, || {
        let found = described(kafka, &topic);
        (found["partitions"].as_array().expect("partitions").len() == 3).then_some(found)
    });
    assert_eq!(found["configs"], json!({"max.message.bytes": "2000"}));

    let listed_topic = listed(kafka, &topic).expect("the topic");
    let expected = json!({"name": topic, "partitions": 3, "replication_factor": 1, "internal": false});
    assert_eq!(listed_topic, expected);
    let deleted = format!("deleted topic {topic} with 3 partitions\n");
    assert_eq!(run(kafka, &["topics", "delete", &topic]), deleted);
    assert_eq!(listed(kafka, &topic), None, "a change is seen by the next command");
    let gone = format!("there is no topic {topic}\n");
    assert_eq!(run(kafka, &["topics", "delete", &topic, "--if-exists"]), gone);
}

fn what_the_brokers_refuse_is_told_and_changes_nothing(version: &'static str) {
    let kafka = Kafka::shared(version);
    let topic = unique("facturas");
    let wrong = refused(kafka, &["topics", "create", &topic, "--topic-config", "no.such=1"]);
    assert!(wrong.contains(&format!("topic {topic} cannot be created")), "{wrong}");
    assert!(wrong.contains("INVALID_CONFIG") && wrong.contains("no.such"), "{wrong}");
    let many = refused(kafka, &["topics", "create", &topic, "--replication-factor", "3"]);
    assert!(many.contains("INVALID_REPLICATION_FACTOR"), "{many}");
    assert_eq!(listed(kafka, &topic), None);

    run(kafka, &["topics", "create", &topic, "--partitions", "2"]);
    let again = refused(kafka, &["topics", "create", &topic]);
    assert!(again.contains("is there already"), "{again}");
    let left = run(kafka, &["topics", "create", &topic, "--partitions", "9", "--if-not-exists"]);
    assert_eq!(left, format!("topic {topic} is there already, and stays as it is\n"));
    let fewer =
        refused(kafka, &["topics", "alter", &topic, "--partitions", "1", "--topic-config", "retention.ms=1"]);
    assert!(fewer.contains("they can become more, but never fewer"), "{fewer}");
    let value = refused(kafka, &["topics", "alter", &topic, "--topic-config", "retention.ms=soon"]);
    assert!(value.contains("INVALID_CONFIG"), "{value}");
    let unknown = refused(kafka, &["topics", "alter", &topic, "--delete-config", "retention.mz"]);
    assert!(
        unknown.contains(&format!("topic {topic} cannot have a configuration retention.mz")),
        "{unknown}"
    );
    let found = described(kafka, &topic);
    assert_eq!(
        (found["partitions"].as_array().expect("partitions").len(), &found["configs"]),
        (2, &json!({}))
    );
    let typed = format!("{topic}x");
    let missing = refused(kafka, &["topics", "delete", &topic, &typed]);
    assert!(missing.contains(&format!("there is no topic {typed}, did you mean {topic}?")), "{missing}");
    assert!(listed(kafka, &topic).is_some(), "nothing is deleted where one is missing");
}

fn a_group_is_reset_once_it_has_no_members(version: &'static str) {
    let kafka = Kafka::shared(version);
    let (topic, group) = (unique("pedidos"), unique("grupo"));
    kafka.assistant().create_topic(&topic, 2, 1, &[]);
    kafka.assistant().produce(&topic, "none", 0, "%d", 5);
    kafka.assistant().produce(&topic, "none", 1, "1%d", 5);
    let mut first = Program::consumer(kafka, "consumer1", &topic, &group);
    first.wait_for_messages(10, PATIENCE);
    kafka.assistant().wait_for_commits(&group, &topic);
    let committed = || kafka.assistant().committed(&group, &topic);

    let reset =
        |words: &[&'static str]| [&["groups", "reset", "--group", &group, "--topic", &topic], words].concat();
    let shown = run(kafka, &reset(&["--to-earliest"]));
    assert!(shown.contains("--execute would be refused") && shown.contains("consumer1"), "{shown}");
    let why = refused(kafka, &reset(&["--to-earliest", "--execute"]));
    assert!(why.contains(&format!("group {group} has 1 member (consumer1): stop them first")), "{why}");
    assert_eq!(committed(), [(0, 5), (1, 5)].into());

    first.stop();
    let shown = run(kafka, &reset(&["--to-earliest"]));
    assert!(shown.ends_with("nothing is reset: --execute does it\n"), "{shown}");
    let row = format!("{topic}  0          5          0    -5");
    assert!(shown.lines().any(|line| line == row), "{shown}");
    assert_eq!(committed(), [(0, 5), (1, 5)].into());

    let done = run(kafka, &reset(&["--to-offset", "3", "--execute"]));
    assert!(done.ends_with(&format!("reset 2 partitions of group {group}\n")), "{done}");
    assert_eq!(committed(), [(0, 3), (1, 3)].into());
    run(kafka, &reset(&["--to-time", "1970-01-02T00:00:00Z", "--partition", "0", "--execute"]));
    assert_eq!(committed(), [(0, 0), (1, 3)].into());
    run(kafka, &reset(&["--to-time", "2200-01-01T00:00:00Z", "--execute"]));
    assert_eq!(committed(), [(0, 5), (1, 5)].into(), "behind the last, where there is none since then");
    run(kafka, &reset(&["--to-offset", "99", "--partition", "1", "--execute"]));
    assert_eq!(committed(), [(0, 5), (1, 5)].into(), "an offset that is not there is the nearest one");
    run(kafka, &reset(&["--to-earliest", "--partition", "0", "--execute"]));
    let beyond = refused(kafka, &reset(&["--to-latest", "--partition", "2", "--execute"]));
    assert!(beyond.contains("has no partition 2"), "{beyond}");

    let second = Program::consumer(kafka, "consumer2", &topic, &group);
    second.wait_for_messages(5, PATIENCE);
    kafka.assistant().wait_for_commits(&group, &topic);
    assert_eq!(second.received(), ["0", "1", "2", "3", "4"]);
    the_group_is_shown(kafka, &topic, &group);
    if version == NEWEST {
        let own = refused(kafka, &["topics", "delete", &topic, "__consumer_offsets"]);
        assert!(
            own.contains("__consumer_offsets is one of the brokers' own, and nothing is deleted"),
            "{own}"
        );
        assert!(listed(kafka, &topic).is_some());
    }
}

/// Of such a group the requests that all brokers know tell the name and the state alone.
fn a_group_of_kip_848_is_reset_once_it_has_no_members(version: &'static str) {
    let kafka = Kafka::shared(version);
    let (topic, group) = (unique("pedidos"), unique("grupo"));
    kafka.assistant().create_topic(&topic, 1, 1, &[]);
    kafka.assistant().produce(&topic, "none", 0, "%d", 5);
    let settings = [("group.protocol", "consumer"), ("auto.commit.interval.ms", "200")];
    let mut consumer = Client::Java(NEWEST).consumer(kafka, &topic, &group, &settings);
    kafka.assistant().wait_for_commits(&group, &topic);
    let committed = || kafka.assistant().committed(&group, &topic);

    let reset = ["groups", "reset", "--group", &group, "--topic", &topic, "--to-offset", "2", "--execute"];
    let why = refused(kafka, &reset);
    assert!(why.contains(&format!("nothing is reset: group {group} is Stable")), "{why}");
    assert_eq!(committed(), [(0, 5)].into());
    let described = run(kafka, &["groups", "describe", &group]);
    assert!(described.lines().any(|line| line.split_whitespace().eq([&group, "Stable", "?"])), "{described}");

    consumer.signal("TERM");
    consumer.wait(PATIENCE);
    let done = eventually("the group is empty", PATIENCE, || {
        let (code, printed, _) = try_run(kafka, &reset);
        (code == Some(0)).then_some(printed)
    });
    assert!(done.ends_with(&format!("reset 1 partition of group {group}\n")), "{done}");
    assert_eq!(committed(), [(0, 2)].into());
}

/// The group of one consumer that is at the end.
fn the_group_is_shown(kafka: &Kafka, topic: &str, group: &str) {
    let listed = run(kafka, &["groups", "list", "--json"]);
    let mut groups = listed.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    let found = groups.find(|found| found["group"] == group).expect("the group");
    assert_eq!(found, json!({"group": group, "state": "Stable", "members": 1, "topics": [topic]}));
    let described = run(kafka, &["groups", "describe", group]);
    let words = [group, topic, "1", "5", "5", "0", "consumer2", "127.0.0.1"];
    let has = |line: &str| line.split_whitespace().eq(words);
    assert!(described.lines().any(has), "{described}");
    let missing = refused(kafka, &["groups", "describe", &format!("{group}x")]);
    assert!(missing.contains("there is no group"), "{missing}");
}

fn topics_of_the_settings_are_created_by_the_first_program_and_stay_as_they_are(version: &'static str) {
    let kafka = Kafka::shared(version);
    let (topic, missing) = (unique("audit"), unique("audit"));
    let folder = Folder::new("administration");
    let adapter = |text: &str, create: &str| {
        let file = folder.path().join("topics.toml");
        fs::write(&file, text).expect("a file");
        let start = Start::program("adapter").arguments(&["--config", file.to_str().expect("UTF-8")]);
        let start =
            start.set("kafka.bootstrap_servers", &kafka.bootstrap()).set("kafka.create_topic", create);
        start.set("adapter.listen", "127.0.0.1:0").start()
    };
    let section = |topic: &str, rest: &str| format!("[[topics]]\nname = \"{topic}\"\n{rest}\n");
    let wanted = section(&topic, "partitions = 3\nconfig = { \"retention.ms\" = 86400000 }");
    let mut first = adapter(&wanted, "true");
    eventually("the topic is created", PATIENCE, || listed(kafka, &topic));
    let found = described(kafka, &topic);
    assert_eq!(found["configs"], json!({"retention.ms": "86400000"}));
    assert_eq!(found["partitions"].as_array().expect("partitions").len(), 3);
    first.stop();

    let other = section(&topic, "partitions = 5\nconfig = { \"retention.ms\" = 1000 }");
    let mut second = adapter(&format!("{other}{}", section(&missing, "")), "false");
    for difference in ["the number of partitions is 3, not 5", "retention.ms is 86400000, not 1000"] {
        second.wait_for_log(&["WARN", &topic, difference], PATIENCE);
    }
    second.wait_for_log(&["WARN", &missing, "is not there", "kafka.create_topic is false"], PATIENCE);
    second.stop();
    assert_eq!(described(kafka, &topic), found);
    assert_eq!(listed(kafka, &missing), None);
}

/// No broker comes that takes the other replicas, so nothing is tried again.
fn a_topic_of_the_settings_that_one_node_cannot_have_is_told_once(_: &'static str) {
    let folder = Folder::new("administration");
    let file = folder.path().join("topics.toml");
    let sections = "[[topics]]\nname = \"many\"\nreplication_factor = 3\n[[topics]]\nname = \"one\"\n";
    fs::write(&file, sections).expect("a file");
    let (listen, data) = (format!("127.0.0.1:{}", free_port()), folder.path().join("data"));
    let start = Start::program("adapter").arguments(&["--config", file.to_str().expect("UTF-8")]);
    let start = start.set("kafka.bootstrap_servers", "[]").set("embedded.listen", &listen);
    let start = start.set("embedded.data_dir", &data.display().to_string());
    let mut adapter = start.set("adapter.listen", "127.0.0.1:0").start();
    adapter.wait_for_log(&["ERROR", "many", "cannot be created", "one node"], PATIENCE);
    let listen = format!("embedded.listen={listen}");
    let listed = eventually("the other topic is there", PATIENCE, || {
        let (_, listed, _) = in_folder(folder.path(), &listen, &["topics", "list"]);
        listed.contains("one ").then_some(listed)
    });
    assert!(!listed.contains("many"), "{listed}");
    adapter.stop();
    assert!(!adapter.log().iter().any(|line| line.contains("trying again")), "{:?}", adapter.log());
}

/// Nobody has started the embedded broker yet: a look finds nothing, and a topic is the first thing stored.
fn the_first_topic_begins_the_store(_: &'static str) {
    let folder = Folder::new("administration");
    let listen = format!("embedded.listen=127.0.0.1:{}", free_port());
    let run = |words: &[&str]| in_folder(folder.path(), &listen, words);
    let (code, printed, errors) = run(&["topics", "list"]);
    assert_eq!((code, printed.as_str()), (Some(1), ""));
    assert!(errors.contains("nothing is stored yet"), "{errors}");
    let created = "created topic first with 4 partitions, each on 1 broker\n";
    assert_eq!(run(&["topics", "create", "first"]), (Some(0), created.to_owned(), String::new()));
    let listed = "TOPIC  PARTITIONS  REPLICAS\nfirst  4           1\n";
    assert_eq!(run(&["topics", "list"]), (Some(0), listed.to_owned(), String::new()));
}

/// What listens at the embedded broker's address may be the channel of another folder, or a Kafka.
fn commands_in_another_folder_than_the_channel_are_refused(_: &'static str) {
    let (own, other) = (Folder::new("administration"), Folder::new("administration"));
    let address = format!("127.0.0.1:{}", free_port());
    let listen = format!("embedded.listen={address}");
    let start = Start::program("producer").set("embedded.listen", &address);
    let data = own.path().join("data").display().to_string();
    let start = start.set("embedded.data_dir", &data).set("kafka.bootstrap_servers", "[]").with_input();
    let mut channel = start.start();
    channel.write_line("1");
    eventually("the channel serves", PATIENCE, || TcpStream::connect(&address).ok());
    let here = |words: &[&str]| in_folder(own.path(), &listen, words);
    let topic = ["topics", "describe", "orders", "--json"];
    let created = here(&["topics", "create", "orders"]);
    assert_eq!(created.0, Some(0), "{created:?}");
    let reset = ["groups", "reset", "--group", "g", "--topic", "orders", "--to-earliest", "--execute"];
    let commands: [&[&str]; 12] = [
        &["topics", "create", "other"],
        &["topics", "alter", "orders", "--partitions", "9"],
        &["topics", "delete", "orders"],
        &reset,
        &["topics", "list"],
        &topic,
        &["groups", "list"],
        &["groups", "describe"],
        &["peek", "orders"],
        &["status"],
        &["queue", "list"],
        &["dead-letters", "list"],
    ];
    let before = here(&topic);
    assert_eq!(before.0, Some(0), "{before:?}");
    let refused = |words: &[&str]| {
        let (code, printed, errors) = in_folder(other.path(), &listen, words);
        assert_eq!((code, printed.as_str()), (Some(1), ""), "{words:?}: {errors}");
        let why = format!("another program listens on {address}");
        assert!(errors.contains(&why) && errors.contains("another folder"), "{words:?}: {errors}");
    };
    for words in commands {
        refused(words);
    }
    assert_eq!(fs::read_dir(other.path()).expect("the folder").count(), 0, "nothing is left behind");
    // Nor where the other folder has a store of its own, which nobody serves.
    let elsewhere = format!("embedded.listen=127.0.0.1:{}", free_port());
    let made = in_folder(other.path(), &elsewhere, &["topics", "create", "mine"]);
    assert_eq!(made.0, Some(0), "{made:?}");
    for words in commands {
        refused(words);
    }
    assert_eq!(here(&topic), before);
    let (code, groups, errors) = here(&["groups", "list", "--json"]);
    assert_eq!((code, groups.as_str()), (Some(0), ""), "{errors}");
    channel.close_input();
    assert_eq!(channel.wait(PATIENCE), Some(0));
}

/// Nobody has told the broker that they have ended, it among them: the reset waits for their sessions.
fn a_group_whose_members_were_killed_with_their_broker_is_reset_once_their_sessions_end(_: &'static str) {
    let folder = Folder::new("administration");
    let address = format!("127.0.0.1:{}", free_port());
    let listen = format!("embedded.listen={address}");
    let data = folder.path().join("data").display().to_string();
    let start = Start::program("consumer1").set("embedded.listen", &address).set("embedded.data_dir", &data);
    let start = start.set("kafka.bootstrap_servers", "[]").set("consumer.group", "g");
    let mut consumer = start.set("consumer.session_timeout_ms", "6000").set("kafka.topic", "orders").start();
    let here = |words: &[&str]| in_folder(folder.path(), &listen, words);
    eventually("it is a member", PATIENCE, || {
        here(&["groups", "describe", "g", "--json"]).1.contains("consumer1").then_some(())
    });
    consumer.signal("KILL");
    consumer.wait(PATIENCE);
    let reset = ["groups", "reset", "--group", "g", "--topic", "orders", "--to-latest", "--execute"];
    let (code, printed, errors) = here(&reset);
    assert_eq!(code, Some(0), "{errors}");
    assert!(printed.contains("reset 4 partitions of group g"), "{printed}");
    assert!(errors.contains("group g has 1 member (consumer1)") && errors.contains("waiting"), "{errors}");
}

fn a_data_folder_of_others_is_refused_and_left_alone(_: &'static str) {
    let folder = Folder::new("administration");
    let data = folder.path().join("data");
    fs::create_dir(&data).expect("a folder");
    fs::write(data.join("notes.txt"), "x").expect("a file");
    fs::set_permissions(&data, fs::Permissions::from_mode(0o755)).expect("its mode");
    let listen = format!("embedded.listen=127.0.0.1:{}", free_port());
    for words in [&["status"][..], &["topics", "create", "t"], &["dead-letters", "list"], &["status"]] {
        let (code, printed, errors) = in_folder(folder.path(), &listen, words);
        assert_eq!((code, printed.as_str()), (Some(1), ""), "{words:?}: {errors}");
        assert!(errors.contains("it holds more than the database"), "{words:?}: {errors}");
        let names =
            fs::read_dir(&data).expect("the folder").map(|entry| entry.expect("an entry").file_name());
        assert_eq!(names.collect::<Vec<_>>(), ["notes.txt"], "{words:?}");
    }
}

fn in_folder(folder: &Path, listen: &str, words: &[&str]) -> Said {
    let mut command = Command::new(binary("point-to-point"));
    command.current_dir(folder).args(words).args(["--set", listen]);
    said(&command.output().expect("a program that runs"))
}
