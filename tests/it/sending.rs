//! What `producer` makes of its input: keys, headers, text, files and kcat's JSON; and what it shows on a
//! terminal meanwhile.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::support::assistant::Record;
use crate::support::kafka::Kafka;
use crate::support::ports::free_port;
use crate::support::program::{Program, Start, binary};
use crate::support::watchdog::Folder;
use crate::support::{EMBEDDED, NEWEST, PATIENCE, my_turn, run_on, unique};

run_on! {
    mod kafka_4_3 on NEWEST {
        each_line_is_split_into_key_and_value_and_has_the_headers,
        what_kcat_prints_as_json_is_sent_as_it_was,
    }
    mod embedded on EMBEDDED {
        each_line_is_split_into_key_and_value_and_has_the_headers,
        text_is_sent_as_it_is_and_the_log_says_what_consumers_make_of_it,
        each_file_is_one_message_and_is_named_in_its_report,
        what_kcat_prints_as_json_is_sent_as_it_was,
        an_envelope_that_cannot_be_sent_is_reported_with_its_line,
        no_more_are_sent_a_second_than_asked_for_and_the_last_line_tells_how_many_were,
        programs_that_send_a_line_each_do_not_all_begin_with_one_partition,
        on_a_terminal_a_line_shows_progress_below_all_others,
        on_a_terminal_messages_are_typed_where_arguments_say_what_becomes_of_them,
    }
}

struct Scene {
    kafka: &'static Kafka,
    topic: String,
    folder: Folder,
}

impl Scene {
    fn new(version: &'static str) -> Scene {
        let (kafka, topic) = (Kafka::shared(version), unique("envio"));
        // One partition, so that records are read in the order in which they were sent.
        kafka.assistant().create_topic(&topic, 1, 1, &[]);
        Scene { kafka, topic, folder: Folder::new("sending") }
    }

    /// A file in the scene's folder.
    fn file(&self, name: &str, bytes: impl AsRef<[u8]>) -> String {
        let path = self.folder.path().join(name);
        fs::write(&path, bytes).expect("a file");
        path.to_str().expect("UTF-8").to_owned()
    }

    fn start(&self, arguments: &[&str]) -> Start {
        Start::program("producer").on(self.kafka).set("kafka.topic", &self.topic).arguments(arguments)
    }

    /// Sends with these arguments to the end, and expects this exit code.
    fn send(&self, arguments: &[&str], code: i32) -> Program {
        let mut program = self.start(arguments).start();
        assert_eq!(program.wait(PATIENCE), Some(code), "{arguments:?}");
        program.wait_for_outputs();
        program
    }

    fn records(&self) -> Vec<Record> {
        let mut records = self.kafka.assistant().read(&self.topic, false);
        records.sort_by_key(|record| record.offset);
        records
    }
}

/// Key and value as text.
fn texts(records: &[Record]) -> Vec<(Option<String>, Option<String>)> {
    let text = |bytes: &Option<Vec<u8>>| bytes.clone().map(|bytes| String::from_utf8(bytes).expect("UTF-8"));
    records.iter().map(|record| (text(&record.key), text(&record.value))).collect()
}

fn pair(key: Option<&str>, value: Option<&str>) -> (Option<String>, Option<String>) {
    (key.map(str::to_owned), value.map(str::to_owned))
}

fn each_line_is_split_into_key_and_value_and_has_the_headers(version: &'static str) {
    let scene = Scene::new(version);
    let lines = "ana:{\"id\":1}\n\n{\"id\":2}\nana:{\"id\":3,\"at\":\"10:30\"}\nsolo\n:4\n";
    let arguments = ["--key-separator", ":", "--header", "source=shop", "--header", "source=a=b"];
    let program = scene.send(&[&arguments[..], &[&scene.file("lines", lines)]].concat(), 1);
    let refused: Vec<String> =
        program.lines().into_iter().filter(|line| line.starts_with("error: ")).collect();
    assert_eq!(refused.len(), 2, "{refused:?}");
    assert!(refused[0].starts_with("error: line=3 ") && refused[0].contains("stored=no: not JSON"));
    assert!(refused[1].starts_with("error: line=5 ") && refused[1].contains("stored=no: no key:"));
    let records = scene.records();
    let expected = [
        pair(Some("ana"), Some("{\"id\":1}")),
        pair(Some("ana"), Some("{\"id\":3,\"at\":\"10:30\"}")),
        pair(Some(""), Some("4")),
    ];
    assert_eq!(texts(&records), expected);
    let header = |value: &str| ("source".to_owned(), Some(value.as_bytes().to_vec()));
    assert!(records.iter().all(|record| record.headers == [header("shop"), header("a=b")]), "{records:?}");
    let keyed = unique("clave");
    scene.kafka.assistant().create_topic(&keyed, 7, 1, &[]);
    let file = scene.file("keyed", "customer-7\t{}\n");
    let tab = ["--key-separator", r"\t", "--set", &format!("kafka.topic={keyed}"), &file];
    scene.send(&tab, 0);
    let ours = scene.kafka.assistant().read(&keyed, false)[0].partition;
    let java = scene.kafka.assistant().put(&keyed, -1, Some(b"customer-7"), Some(b"0"));
    assert_eq!(ours, java.0, "where Java puts the key");
}

fn text_is_sent_as_it_is_and_the_log_says_what_consumers_make_of_it(version: &'static str) {
    let scene = Scene::new(version);
    let file = scene.file("text", b"hola, \xc2\xa1mundo!\r\n\n  \n{\"id\":\ncaf\xe9\n");
    let program = scene.send(&["--text", &file], 1);
    let expected = ["hola, ¡mundo!", "  ", "{\"id\":"].map(|value| pair(None, Some(value)));
    assert_eq!(texts(&scene.records()), expected);
    let refused = program.lines().into_iter().find(|line| line.starts_with("error: ")).expect("a refusal");
    assert!(refused.starts_with("error: line=5 ") && refused.contains("not text in UTF-8"), "{refused}");
    program.wait_for_log(&["WARN", "consumer.payload", "dead letter"], PATIENCE);
    let any = scene.send(&["--text", "--set", "consumer.payload=any", &scene.file("more", "hola\n")], 0);
    assert!(!any.log().iter().any(|line| line.contains("consumer.payload")), "{:?}", any.log());
}

fn each_file_is_one_message_and_is_named_in_its_report(version: &'static str) {
    let scene = Scene::new(version);
    let [pretty, text, large, second] = [
        scene.file("pretty.json", "{\n  \"id\": 1\n}\n"),
        scene.file("a text.txt", "hola"),
        scene.file("large.json", "1".repeat(2_000_000)),
        scene.file("second.json", "[2]"),
    ];
    let missing = scene.folder.path().join("missing.json").display().to_string();
    let files = ["--header", "a=b", "--file-per-message", &pretty, &missing, &text, &large, &second];
    let program = scene.send(&files, 1);
    let mut lines = program.lines();
    let topic = &scene.topic;
    for (file, offset) in [(&pretty, 0), (&second, 1)] {
        let report = format!("Mensaje enviado: file=\"{file}\" topic={topic} partition=0 offset={offset}");
        let count = lines.len();
        lines.retain(|line| *line != report);
        assert_eq!(count - lines.len(), 1, "{report:?} in {lines:?}");
    }
    for (file, why) in [(&missing, "cannot be opened"), (&text, "not JSON"), (&large, "max.message.bytes")] {
        let begins = format!("error: file=\"{file}\" topic={topic} stored=no: ");
        assert!(lines.iter().any(|line| line.starts_with(&begins) && line.contains(why)), "{lines:?}");
    }
    program.wait_for_log(&["5 files read: 2 delivered, 3 not stored"], PATIENCE);
    let expected = ["{\n  \"id\": 1\n}\n", "[2]"].map(|value| pair(None, Some(value)));
    assert_eq!(texts(&scene.records()), expected);
    scene.send(&["--text", "--file-per-message", &text], 0);
    assert_eq!(texts(&scene.records())[2], pair(None, Some("hola")));
}

/// kcat reads a topic, and `producer` sends what it prints to another one.
fn what_kcat_prints_as_json_is_sent_as_it_was(version: &'static str) {
    let scene = Scene::new(version);
    let from = unique("origen");
    let assistant = scene.kafka.assistant();
    assistant.create_topic(&from, 1, 1, &[]);
    let headers = [
        ("a".to_owned(), Some("x\"\n".as_bytes().to_vec())),
        ("a".to_owned(), None),
        ("\u{f1}".to_owned(), Some(b"".to_vec())),
    ];
    assistant.put_with(
        &from,
        0,
        Some(b"k\t1"),
        Some("{\"n\": 1.0, \"t\":\"\u{2028}é\\n\"}".as_bytes()),
        &headers,
    );
    assistant.put(&from, 0, None, Some(b"[]"));
    assistant.put(&from, 0, Some(b""), None);
    let mut kcat = Command::new("kcat");
    kcat.args(["-b", &scene.kafka.bootstrap(), "-C", "-t", &from, "-J", "-e", "-q", "-o", "beginning"]);
    let printed = kcat.output().expect("kcat runs");
    assert!(printed.status.success(), "{}", String::from_utf8_lossy(&printed.stderr));
    let file = scene.file("kcat.jsonl", &printed.stdout);
    let program = scene.send(&["--envelope", &file], 0);
    program.wait_for_log(&["WARN", "null values", "consumer.payload"], PATIENCE);
    // Messages without a key have no order.
    let parts = |records: Vec<Record>| {
        let parts = records.into_iter().map(|record| (record.key, record.value, record.headers));
        parts.collect::<BTreeSet<_>>()
    };
    let (before, after) = (parts(assistant.read(&from, false)), parts(scene.records()));
    assert_eq!((after.len(), &after), (3, &before));
}

fn an_envelope_that_cannot_be_sent_is_reported_with_its_line(version: &'static str) {
    let scene = Scene::new(version);
    let long = format!("{{\"key\":\"k\",\"payload\":\"[{}]\"}}", "\\u0020".repeat(1_000_000));
    let lines = [
        r#"{"key":"k"}"#,
        r#"{"payload":"hola"}"#,
        r#"{"payload":"1","value":"2"}"#,
        long.as_str(),
        "{\"payload\":\"[\u{0020}]\",\"ts\":1}",
    ];
    let file = scene.file("envelopes", lines.join("\n"));
    let program = scene.send(&["--envelope", &file], 1);
    for (line, why) in [(1, "missing field `payload`"), (2, "not JSON"), (3, "unknown field `value`")] {
        let begins = format!("error: line={line} topic={} stored=no: ", scene.topic);
        let found = program.lines().into_iter().any(|line| line.starts_with(&begins) && line.contains(why));
        assert!(found, "{why}: {:?}", program.lines());
    }
    let lengths: Vec<_> = scene.records().iter().map(|record| record.value.as_ref().map(Vec::len)).collect();
    assert_eq!(lengths, [Some(1_000_002), Some(3)], "a line may be longer than its message");
    scene.send(&["--envelope", "--text", &scene.file("text", r#"{"payload":"hola"}"#)], 0);
    assert_eq!(texts(&scene.records())[2], pair(None, Some("hola")));
}

fn no_more_are_sent_a_second_than_asked_for_and_the_last_line_tells_how_many_were(version: &'static str) {
    let scene = Scene::new(version);
    let began = Instant::now();
    let program = scene.send(&["--count", "41", "--rate", "20"], 0);
    assert!(began.elapsed() >= Duration::from_secs(2), "after {:?}", began.elapsed());
    let last = program.wait_for_log(&["all were delivered", "41 delivered", "messages/s"], PATIENCE);
    let rate: u64 = last
        .split(' ')
        .zip(last.split(' ').skip(1))
        .find_map(|(number, unit)| unit.starts_with("messages/s").then(|| number.parse().expect("a number")))
        .expect("a rate");
    // The first one may be counted late, where the machine is busy.
    assert!((1..=200).contains(&rate), "{last}");
    assert!(!program.log().iter().any(|line| line.contains('\u{1b}')), "no progress where no terminal is");
}

fn on_a_terminal_a_line_shows_progress_below_all_others(version: &'static str) {
    let scene = Scene::new(version);
    let (program, bootstrap) = (binary("producer"), scene.kafka.bootstrap());
    let line = format!(
        "'{program}' --count 30 --rate 5 --set kafka.bootstrap_servers={bootstrap} --set kafka.topic={} \
         --set log.file=",
        scene.topic
    );
    let mut command = Command::new("script");
    command.args(["--quiet", "--return", "--command", &line, "/dev/null"]).env("TERM", "xterm");
    let mut terminal = Start::command("terminal", command).start();
    assert_eq!(terminal.wait(PATIENCE), Some(0));
    terminal.wait_for_outputs();
    let screen = terminal.lines();
    // What a line shows in the end stands behind the last time that it was cleared.
    let shown: Vec<&str> =
        screen.iter().map(|line| line.rsplit("\u{1b}[K").next().unwrap_or_default()).collect();
    let reports = shown.iter().filter(|line| line.starts_with("Mensaje enviado: line=")).count();
    assert_eq!(reports, 30, "{shown:?}");
    assert!(!shown.iter().any(|line| line.contains(" sent, ")), "no progress stays: {shown:?}");
    let progress: Vec<&str> = screen
        .iter()
        .flat_map(|line| line.split("\r\u{1b}[K"))
        .filter(|text| text.contains(" sent, "))
        .collect();
    let numbers =
        |text: &str| -> Vec<u64> { text.split([' ', '/']).filter_map(|word| word.parse().ok()).collect() };
    assert!(progress.iter().all(|text| text.ends_with("/s") && numbers(text).len() == 4), "{progress:?}");
    let last = numbers(progress.last().expect("progress"));
    assert_eq!(last[..3], [30, 30, 0], "the last one tells all: {progress:?}");
    // Six seconds went by.
    assert!(!shown.iter().any(|line| line.contains("on their way")), "the log tells none: {shown:?}");
}

fn on_a_terminal_messages_are_typed_where_arguments_say_what_becomes_of_them(version: &'static str) {
    let scene = Scene::new(version);
    let (program, bootstrap) = (binary("producer"), scene.kafka.bootstrap());
    for (argument, value) in [("--header a=b", "1"), ("--rate 9", "2"), ("--text", "3")] {
        let line = format!(
            "'{program}' {argument} --set kafka.bootstrap_servers={bootstrap} --set kafka.topic={} \
             --set log.file=",
            scene.topic
        );
        let mut command = Command::new("script");
        command.args(["--quiet", "--return", "--command", &line, "/dev/null"]).env("TERM", "xterm");
        let mut terminal = Start::command("terminal", command).with_input().start();
        terminal.write_line(value);
        terminal.wait_for_line("Mensaje enviado: line=1 ", PATIENCE);
        terminal.close_input();
        assert_eq!(terminal.wait(PATIENCE), Some(0), "{argument}");
        terminal.wait_for_outputs();
        assert!(terminal.lines().iter().any(|line| line.contains("--count N")), "{:?}", terminal.lines());
    }
    let expected = ["1", "2", "3"].map(|value| pair(None, Some(value)));
    assert_eq!(texts(&scene.records()), expected, "and none is generated");
}

/// With 100 partitions one run in 10^10 finds all six in one by chance.
fn programs_that_send_a_line_each_do_not_all_begin_with_one_partition(version: &'static str) {
    let scene = Scene::new(version);
    let topic = unique("suelto");
    scene.kafka.assistant().create_topic(&topic, 100, 1, &[]);
    let arguments = ["--set", &format!("kafka.topic={topic}"), &scene.file("line", "1\n")];
    for _ in 0..6 {
        scene.send(&arguments, 0);
    }
    let records = scene.kafka.assistant().read(&topic, false);
    let partitions: BTreeSet<i32> = records.iter().map(|record| record.partition).collect();
    assert_eq!(records.len(), 6);
    assert!(partitions.len() > 1, "{partitions:?}");
}

/// At the rate there would be twice as many when it is told first.
#[test]
fn at_a_rate_no_more_than_those_of_a_second_wait_through_an_outage() {
    let _turn = my_turn();
    let bootstrap = format!("127.0.0.1:{}", free_port());
    let start = Start::program("producer").set("kafka.bootstrap_servers", &bootstrap);
    let mut program = start.arguments(&["--count", "1000", "--rate", "20"]).start();
    program.wait_for_log(&["nothing was delivered for", ": 20 messages wait"], PATIENCE);
    program.signal("TERM");
    assert_eq!(program.wait(PATIENCE), Some(1));
}

#[test]
fn options_that_contradict_end_with_2() {
    let folder = Folder::new("contradictions");
    fs::write(folder.path().join("a"), "1\n").expect("a file");
    for words in [
        "--file-per-message a --count 1",
        "a --file-per-message a",
        "--file-per-message a --envelope",
        "--file-per-message a --key-separator :",
        "--envelope --key-separator : a",
        "--count 1 --text",
        "--count 1 --envelope",
        "--count 1 --key-separator :",
        "--header name a",
        "--rate 0 a",
    ] {
        let output =
            Command::new(binary("producer")).args(words.split(' ')).current_dir(folder.path()).output();
        let output = output.expect("it runs");
        assert_eq!(output.status.code(), Some(2), "{words}");
        assert_eq!(String::from_utf8_lossy(&output.stderr).lines().count(), 1, "{words}");
    }
}
