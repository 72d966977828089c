//! One program has all roles: each is a subcommand of `point-to-point`, and the same as its own program.

use std::process::Command;

use crate::support::kafka::Kafka;
use crate::support::program::{Program, Start, WAITING, binary};
use crate::support::{EMBEDDED, NEWEST, PATIENCE, eventually, run_on, unique};

run_on! {
    mod kafka_4_3 on NEWEST {
        a_message_goes_through_every_role_of_the_one_program as HEAVY,
    }
    mod embedded on EMBEDDED {
        a_message_goes_through_every_role_of_the_one_program as HEAVY,
    }
}

/// Each role's subcommand and its program.
const ROLES: [(&str, &str); 6] = [
    ("producer-api", "producer_api"),
    ("producer", "producer"),
    ("consumer", "consumer1"),
    ("consumer-pull", "consumer_pull"),
    ("consumer-push", "consumer_push"),
    ("adapter", "adapter"),
];

/// The role in its folder, without a log file.
fn role(name: &str) -> Start {
    let one = Command::new(binary("point-to-point"));
    Start::command(name, one).arguments(&[name]).set("log.file", "")
}

/// What `--help` says without the line of usage, which has the program's name, and `--version`.
fn help(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(binary(program)).args(arguments).arg("--help").output().expect(program);
    assert_eq!(output.status.code(), Some(0), "{program} {arguments:?}");
    let text = String::from_utf8(output.stdout).expect("text");
    let kept = |line: &&str| !line.starts_with("Usage:") && !line.contains("--version");
    // With one option less, the column of the explanations may be another.
    let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    text.lines().filter(kept).map(words).collect::<Vec<_>>().join("\n")
}

#[test]
fn each_role_is_a_subcommand_with_the_options_of_its_program() {
    for (subcommand, program) in ROLES {
        assert_eq!(help("point-to-point", &[subcommand]), help(program, &[]), "{subcommand}");
        // The program's name will do as well.
        if program != "consumer1" {
            assert_eq!(help("point-to-point", &[program]), help(program, &[]), "{program}");
        }
    }
}

#[test]
fn a_role_is_stopped_cleanly_and_has_the_exit_codes_of_its_program() {
    for (subcommand, program) in ROLES.into_iter().filter(|(name, _)| *name != "producer") {
        let mut wrong = role(subcommand).set("kafka.nonsense", "1").start();
        assert_eq!(wrong.wait(PATIENCE), Some(2), "{subcommand}");
        let name = if subcommand == "consumer" { subcommand } else { program };
        wrong.wait_for_log(&[&format!("{name}: "), "kafka.nonsense"], PATIENCE);
        let start = role(subcommand).set("kafka.bootstrap_servers", "127.0.0.1:1");
        let mut running =
            start.set("producer_api.listen", "127.0.0.1:0").set("adapter.listen", "127.0.0.1:0").start();
        eventually(&format!("{subcommand} says something"), PATIENCE, || {
            (!running.log().is_empty() || !running.lines().is_empty()).then_some(())
        });
        running.signal("TERM");
        assert_eq!(running.wait(PATIENCE), Some(0), "{subcommand}");
    }
}

fn a_message_goes_through_every_role_of_the_one_program(version: &'static str) {
    let (kafka, topic) = (Kafka::shared(version), unique("papeles"));
    let on_topic = |name: &str| role(name).on(kafka).set("kafka.topic", &topic);
    let endpoint = Program::producer_with(on_topic("producer-api"));
    assert_eq!(endpoint.post("/enviar", r#"{"by":"HTTP"}"#).status, 200);
    let mut producer = on_topic("producer").with_input().start();
    producer.write_line(r#"{"by":"producer"}"#);
    producer.close_input();
    assert_eq!(producer.wait(PATIENCE), Some(0));
    // Each way to consume has a group of its own, named as by its program.
    for name in ["consumer", "consumer-pull", "consumer-push"] {
        let group = unique("grupo");
        let mut consumer = on_topic(name).set("consumer.group", &group).start();
        consumer.wait_for_line(WAITING, PATIENCE);
        consumer.wait_for_messages(2, PATIENCE);
        let mut received = consumer.received();
        received.sort();
        assert_eq!(received, [r#"{"by":"HTTP"}"#, r#"{"by":"producer"}"#], "{name}");
        kafka.assistant().wait_for_members(&group, &[&name.replace('-', "_")], 4);
        consumer.stop();
    }
    let adapter = Program::adapter_with(on_topic("adapter"));
    adapter.wait_for_log(&["adapter listening on"], PATIENCE);
}
