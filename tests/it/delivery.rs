//! The program `producer`: every line that it reads has one report, and the reports are true, also through
//! outages.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

use crate::support::kafka::Kafka;
use crate::support::load::RECOVERY;
use crate::support::ports::free_port;
use crate::support::program::{Program, Start, binary};
use crate::support::watchdog::Folder;
use crate::support::{EMBEDDED, NEWEST, PATIENCE, eventually, my_turn, run_on, unique};

run_on! {
    mod kafka_4_3 on NEWEST {
        every_line_of_a_file_is_stored_where_its_report_says,
        lines_of_standard_input_are_reported_while_it_is_open,
        generated_messages_are_as_many_as_asked_for,
        a_line_that_cannot_be_sent_is_reported_with_its_number_and_the_others_are_stored,
        an_outage_in_the_middle_costs_nothing_and_doubles_nothing,
        a_broker_away_for_longer_than_the_delivery_timeout_leaves_honest_reports,
    }
    mod embedded on EMBEDDED {
        every_line_of_a_file_is_stored_where_its_report_says,
        lines_of_standard_input_are_reported_while_it_is_open,
        generated_messages_are_as_many_as_asked_for,
        on_a_terminal_ten_messages_are_generated,
        a_line_that_cannot_be_sent_is_reported_with_its_number_and_the_others_are_stored,
        an_outage_in_the_middle_costs_nothing_and_doubles_nothing,
        a_broker_away_for_longer_than_the_delivery_timeout_leaves_honest_reports,
        what_was_taken_up_before_ctrl_c_is_delivered,
        without_a_reader_of_the_reports_it_stops,
    }
}

const DELIVERED: &str = "Mensaje enviado: ";

fn producer(kafka: &Kafka, topic: &str) -> Start {
    Start::program("producer").on(kafka).set("kafka.topic", topic)
}

fn numbered(number: u64) -> String {
    format!(r#"{{"id":{number},"contenido":"Hola desde Kafka"}}"#)
}

/// What was printed about each line: the place of one that was delivered, else what `stored` says.
#[derive(Debug, Default)]
struct Reports {
    delivered: BTreeMap<u64, (i32, i64)>,
    failed: BTreeMap<u64, String>,
}

impl Reports {
    /// Reads all that was printed; no line has two reports.
    fn of(program: &Program) -> Reports {
        program.wait_for_outputs();
        let mut reports = Reports::default();
        for report in program.lines() {
            let (delivered, fields) = match report.strip_prefix(DELIVERED) {
                Some(fields) => (true, fields),
                None => (false, report.strip_prefix("error: ").expect("a report")),
            };
            let field = |name: &str| {
                let found =
                    fields.split([' ', ':']).find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
                found.unwrap_or_else(|| panic!("no {name} in {report:?}"))
            };
            let number = |name: &str| field(name).parse::<i64>().expect("a number");
            let line = number("line") as u64;
            let again = if delivered {
                reports.delivered.insert(line, (number("partition") as i32, number("offset"))).is_some()
            } else {
                reports.failed.insert(line, field("stored").to_owned()).is_some()
            };
            assert!(!again, "line {line} was reported twice");
        }
        assert!(!reports.delivered.keys().any(|line| reports.failed.contains_key(line)));
        reports
    }

    /// Reads the topic with Java's client: each delivered line is where its report says and nowhere else,
    /// none is there that is reported as not stored. `value` is what a line holds.
    fn check(&self, kafka: &Kafka, topic: &str, value: impl Fn(u64) -> String) {
        let mut places: BTreeMap<Vec<u8>, Vec<(i32, i64)>> = BTreeMap::new();
        for record in kafka.assistant().read(topic, false) {
            places
                .entry(record.value.unwrap_or_default())
                .or_default()
                .push((record.partition, record.offset));
        }
        for (line, place) in &self.delivered {
            let found = places.remove(value(*line).as_bytes()).unwrap_or_default();
            assert_eq!(found, [*place], "line {line}");
        }
        for (line, stored) in &self.failed {
            let found = places.remove(value(*line).as_bytes()).unwrap_or_default();
            assert!(stored == "unknown" || found.is_empty(), "line {line} is stored: {found:?}");
        }
        assert!(places.is_empty(), "stored and never sent: {places:?}");
    }
}

fn every_line_of_a_file_is_stored_where_its_report_says(version: &'static str) {
    let kafka = Kafka::shared(version);
    let (topic, folder) = (unique("mi-topico"), Folder::new("file"));
    let path = folder.path().join("lines.jsonl");
    let mut text: String = (1..=500).map(|line| numbered(line) + "\n").collect();
    text.push_str("\n  \r\n");
    text.push_str(&(numbered(503) + "\r\n" + &numbered(504)));
    fs::write(&path, text).expect("a file");
    let mut program = producer(kafka, &topic).arguments(&[path.to_str().expect("UTF-8")]).start();
    assert_eq!(program.wait(PATIENCE), Some(0));
    let reports = Reports::of(&program);
    let expected: Vec<u64> = (1..=500).chain([503, 504]).collect();
    assert_eq!(reports.delivered.keys().copied().collect::<Vec<_>>(), expected);
    reports.check(kafka, &topic, numbered);
    program.wait_for_log(&["all were delivered", "502 delivered"], PATIENCE);
    let sent =
        program.log().iter().filter(|line| line.contains("sent ") && line.contains("name=producer")).count();
    assert_eq!(sent, 502, "each is in the log too");
}

fn lines_of_standard_input_are_reported_while_it_is_open(version: &'static str) {
    let kafka = Kafka::shared(version);
    let topic = unique("mi-topico");
    let mut program = producer(kafka, &topic).with_input().start();
    for line in 1..=3 {
        program.write_line(&numbered(line));
        program.wait_for_line(&format!("{DELIVERED}line={line} topic={topic} partition="), PATIENCE);
    }
    program.wait_for_log(&["3 messages read: 3 delivered", "0 on their way"], PATIENCE);
    program.close_input();
    assert_eq!(program.wait(PATIENCE), Some(0));
    Reports::of(&program).check(kafka, &topic, numbered);
}

/// With a queue of ten, so that reading has to wait for room again and again.
fn generated_messages_are_as_many_as_asked_for(version: &'static str) {
    let kafka = Kafka::shared(version);
    let topic = unique("mi-topico");
    let start = producer(kafka, &topic).set("producer_api.queue_messages", "10");
    let mut program = start.arguments(&["--count", "205"]).start();
    assert_eq!(program.wait(PATIENCE), Some(0));
    let reports = Reports::of(&program);
    assert_eq!(reports.delivered.len(), 205);
    reports.check(kafka, &topic, numbered);
}

fn on_a_terminal_ten_messages_are_generated(version: &'static str) {
    let kafka = Kafka::shared(version);
    let topic = unique("mi-topico");
    let (program, bootstrap) = (binary("producer"), kafka.bootstrap());
    let line = format!(
        "'{program}' --set kafka.bootstrap_servers={bootstrap} --set kafka.topic={topic} --set log.file="
    );
    let mut command = Command::new("script");
    command.args(["--quiet", "--return", "--command", &line, "/dev/null"]);
    let mut program = Start::command("terminal", command).start();
    assert_eq!(program.wait(PATIENCE), Some(0));
    program.wait_for_outputs();
    // A line of progress may have stood where a report stands.
    let shown =
        |line: &String| line.rsplit("\u{1b}[K").next().is_some_and(|text| text.starts_with(DELIVERED));
    assert_eq!(program.lines().iter().filter(|line| shown(line)).count(), 10);
    assert_eq!(kafka.assistant().read(&topic, false).len(), 10);
}

fn a_line_that_cannot_be_sent_is_reported_with_its_number_and_the_others_are_stored(version: &'static str) {
    let kafka = Kafka::shared(version);
    let (topic, folder) = (unique("mi-topico"), Folder::new("bad"));
    let path = folder.path().join("lines.jsonl");
    let mut text = b"1\n{\"id\":2\n3\n\"\xff\"\n{} {}\n".to_vec();
    text.resize(text.len() + 3_000_000, b'1');
    text.extend_from_slice(b"\n7\n");
    fs::write(&path, text).expect("a file");
    let mut program = producer(kafka, &topic).arguments(&[path.to_str().expect("UTF-8")]).start();
    assert_eq!(program.wait(PATIENCE), Some(1));
    let reports = Reports::of(&program);
    assert_eq!(reports.delivered.keys().copied().collect::<Vec<_>>(), [1, 3, 7]);
    let failed: Vec<_> = reports.failed.iter().map(|(line, stored)| (*line, stored.as_str())).collect();
    assert_eq!(failed, [(2, "no"), (4, "no"), (5, "no"), (6, "no")]);
    reports.check(kafka, &topic, |line| line.to_string());
    program
        .wait_for_log(&["not all were delivered", "3 delivered, 4 not stored, 0 of unknown fate"], PATIENCE);
}

fn an_outage_in_the_middle_costs_nothing_and_doubles_nothing(version: &'static str) {
    let kafka = Kafka::start(version, 1);
    let topic = unique("mi-topico");
    let start = producer(&kafka, &topic).set("kafka.delivery_timeout_ms", "100000");
    let mut program = start.with_input().start();
    let mut lines = 0;
    let mut write = |program: &mut Program, count| {
        (lines + 1..=lines + count).for_each(|line| program.write_line(&numbered(line)));
        lines += count;
        lines as usize
    };
    for kill in [true, false] {
        let written = write(&mut program, 2_000);
        // Some of the lines before are on their way when it goes.
        program.wait_for_lines(written - 1_990, RECOVERY);
        if kill {
            kafka.kill_node(0)
        } else {
            kafka.stop_node(0)
        }
        write(&mut program, 500);
        let told = || program.log().iter().filter(|line| line.contains("nothing was delivered for")).count();
        let before = told();
        eventually("it says that messages wait", PATIENCE, || (told() > before).then_some(()));
        kafka.start_node(0);
    }
    let written = write(&mut program, 500);
    program.close_input();
    assert_eq!(program.wait(RECOVERY), Some(0));
    let reports = Reports::of(&program);
    assert_eq!(reports.delivered.len(), written);
    reports.check(&kafka, &topic, numbered);
    program.wait_for_log(&["delivered again after"], PATIENCE);
}

fn a_broker_away_for_longer_than_the_delivery_timeout_leaves_honest_reports(version: &'static str) {
    let kafka = Kafka::start(version, 1);
    let topic = unique("mi-topico");
    let start = producer(&kafka, &topic).set("kafka.request_timeout_ms", "1000");
    let mut program = start.set("kafka.delivery_timeout_ms", "5000").with_input().start();
    (1..=100).for_each(|line| program.write_line(&numbered(line)));
    program.wait_for_lines(100, PATIENCE);
    kafka.kill_node(0);
    (101..=150).for_each(|line| program.write_line(&numbered(line)));
    program.close_input();
    assert_eq!(program.wait(PATIENCE), Some(1));
    let reports = Reports::of(&program);
    assert_eq!((reports.delivered.len(), reports.failed.len()), (100, 50));
    let unknown = reports.failed.values().filter(|stored| *stored == "unknown").count();
    let counts = format!("100 delivered, {} not stored, {unknown} of unknown fate", 50 - unknown);
    program.wait_for_log(&["not all were delivered", "up to line 150", &counts], PATIENCE);
    kafka.start_node(0);
    reports.check(&kafka, &topic, numbered);
}

fn what_was_taken_up_before_ctrl_c_is_delivered(version: &'static str) {
    let kafka = Kafka::shared(version);
    let topic = unique("mi-topico");
    let mut program = producer(kafka, &topic).with_input().start();
    (1..=100).for_each(|line| program.write_line(&numbered(line)));
    program.wait_for_lines(1, PATIENCE);
    program.signal("INT");
    assert_eq!(program.wait(PATIENCE), Some(1), "the input had not ended");
    let reports = Reports::of(&program);
    assert!(reports.failed.is_empty(), "{reports:?}");
    let count = reports.delivered.len();
    assert!(reports.delivered.keys().copied().eq(1..=count as u64), "no line is left out");
    reports.check(kafka, &topic, numbered);
    let counts = format!("up to line {count}: {count} delivered, 0 not stored");
    program.wait_for_log(&["stopped before the end of the input", &counts], PATIENCE);
}

fn without_a_reader_of_the_reports_it_stops(version: &'static str) {
    let kafka = Kafka::shared(version);
    let mut program = producer(kafka, &unique("mi-topico")).with_input().held().start();
    program.close_output();
    program.write_line("1");
    assert_eq!(program.wait(PATIENCE), Some(1));
    program.wait_for_log(&["1 delivered", "standard output is broken"], PATIENCE);
}

#[test]
fn without_a_broker_ctrl_c_ends_it_and_says_that_nothing_is_stored() {
    let _turn = my_turn();
    let start =
        Start::program("producer").set("kafka.bootstrap_servers", &format!("127.0.0.1:{}", free_port()));
    let mut program = start.with_input().start();
    (1..=3).for_each(|line| program.write_line(&numbered(line)));
    program.wait_for_log(&["nothing was delivered for", "3 messages wait"], PATIENCE);
    program.signal("TERM");
    program.wait_for_log(&["3 messages on their way"], PATIENCE);
    assert_eq!(program.wait(PATIENCE), Some(1));
    program.wait_for_outputs();
    let reports = Reports::of(&program);
    assert_eq!(reports.failed.values().map(String::as_str).collect::<Vec<_>>(), ["no", "no", "no"]);
    program.wait_for_log(&["0 delivered, 3 not stored, 0 of unknown fate"], PATIENCE);
}

#[test]
fn a_file_that_is_not_there_or_two_sources_end_with_2() {
    let folder = Folder::new("usage");
    for arguments in [&["missing.jsonl"][..], &["--count", "0"], &["--count", "1", "missing.jsonl"]] {
        let output = Command::new(binary("producer")).args(arguments).current_dir(folder.path()).output();
        let output = output.expect("it runs");
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert_eq!(String::from_utf8_lossy(&output.stderr).lines().count(), 1, "{arguments:?}");
    }
}
