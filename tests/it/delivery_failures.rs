//! Handlers, retries and dead letters: what a handler is given, what becomes of a message that it cannot
//! handle, and that a dead letter is stored before its source offset is committed, whatever dies when.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use crate::support::assistant::{Header, Record};
use crate::support::kafka::Kafka;
use crate::support::program::{Program, RECEIVED, Start, WAITING};
use crate::support::watchdog::Folder;
use crate::support::{EMBEDDED, NEWEST, PATIENCE, eventually, eventually_equal, run_on, unique};
use point_to_point::{Channel, ConsumerRecord};

run_on! {
    mod kafka_4_3 on NEWEST {
        a_handler_gets_the_payload_on_its_input_and_the_rest_in_its_environment,
        a_message_that_fails_is_tried_in_order_and_then_a_dead_letter,
        what_is_no_json_is_a_dead_letter_without_retries,
        a_handler_that_takes_too_long_is_killed_and_has_failed,
        a_message_at_the_limit_reaches_a_handler_and_the_dead_letters,
        a_dead_letter_too_large_for_its_topic_waits_until_the_topic_takes_it,
        a_stop_ends_the_wait_for_the_next_attempt_and_the_message_comes_again,
        a_stop_waits_for_the_handler_at_work,
        where_nobody_reads_what_a_handler_prints_no_message_becomes_a_dead_letter,
        heartbeats_go_on_while_a_message_is_tried_again,
        without_a_broker_a_dead_letter_waits_and_is_stored_when_it_is_back,
        an_offset_is_not_committed_before_its_dead_letter_is_stored,
        a_consumer_killed_over_its_dead_letters_loses_none_and_none_is_skipped,
        a_consumer_over_a_message_for_too_long_is_replaced_and_cannot_commit_it,
        all_programs_that_consume_use_the_handler,
        any_function_is_a_handler,
    }
    mod embedded on EMBEDDED {
        a_handler_gets_the_payload_on_its_input_and_the_rest_in_its_environment,
        a_message_that_fails_is_tried_in_order_and_then_a_dead_letter,
        what_is_no_json_is_a_dead_letter_without_retries,
        a_handler_that_takes_too_long_is_killed_and_has_failed,
        a_message_at_the_limit_reaches_a_handler_and_the_dead_letters,
        a_stop_ends_the_wait_for_the_next_attempt_and_the_message_comes_again,
        a_stop_waits_for_the_handler_at_work,
        where_nobody_reads_what_a_handler_prints_no_message_becomes_a_dead_letter,
        heartbeats_go_on_while_a_message_is_tried_again,
        without_a_broker_a_dead_letter_waits_and_is_stored_when_it_is_back,
        an_offset_is_not_committed_before_its_dead_letter_is_stored,
        a_consumer_killed_over_its_dead_letters_loses_none_and_none_is_skipped,
        a_consumer_over_a_message_for_too_long_is_replaced_and_cannot_commit_it,
        all_programs_that_consume_use_the_handler,
        any_function_is_a_handler,
        a_handler_that_does_not_exist_is_a_wrong_setting,
    }
}

/// What Java, and Spring with it, finds in a dead letter.
const PLACE: [&str; 5] = [
    "kafka_dlt-original-topic",
    "kafka_dlt-original-partition",
    "kafka_dlt-original-offset",
    "kafka_dlt-original-timestamp",
    "kafka_dlt-original-consumer-group",
];

/// A topic with a group, and a folder for what handlers write.
struct Scene<'a> {
    kafka: &'a Kafka,
    topic: String,
    group: String,
    folder: Folder,
}

impl Scene<'_> {
    fn new(kafka: &Kafka, partitions: u32) -> Scene<'_> {
        let (topic, group) = (unique("pedidos"), unique("grupo"));
        kafka.assistant().create_topic(&topic, partitions, 1, &[]);
        Scene { kafka, topic, group, folder: Folder::new("handler") }
    }

    /// A consumer whose handler is this shell script; `$1` is the scene's folder.
    fn consumer(&self, script: &str) -> Start {
        self.handled(Program::consumer_start(self.kafka, "consumer1", &self.topic, &self.group), script)
    }

    fn handled(&self, start: Start, script: &str) -> Start {
        let folder = self.folder.path().display().to_string();
        let command = serde_json::to_string(&["sh", "-c", script, "sh", &folder]).unwrap();
        start.set("consumer.handler", &command).set("retry.initial_backoff_ms", "20")
    }

    /// All with one key, so that each comes when the one before it is done or a dead letter.
    fn put(&self, partition: i32, value: &str) {
        self.kafka.assistant().put(&self.topic, partition, Some(b"k"), Some(value.as_bytes()));
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn lines(&self, name: &str) -> Vec<String> {
        lines(&self.file(name))
    }

    fn wait_for_lines(&self, name: &str, count: usize) {
        eventually(&format!("{name} has {count} lines"), PATIENCE, || {
            (self.lines(name).len() >= count).then_some(())
        });
    }

    fn wait_for_commits(&self) {
        self.kafka.assistant().wait_for_commits(&self.group, &self.topic);
    }

    fn dead_letter_topic(&self) -> String {
        format!("{}-dlt", self.topic)
    }

    /// The dead letters as Java reads them; none where there is no topic for them.
    fn dead_letters(&self) -> Vec<Record> {
        let (assistant, topic) = (self.kafka.assistant(), self.dead_letter_topic());
        let topics = assistant.ask(&["topics"]);
        if topics.iter().any(|words| words[0] == topic) { assistant.read(&topic, false) } else { Vec::new() }
    }

    fn wait_for_dead_letters(&self, count: usize) -> Vec<Record> {
        eventually(&format!("{count} dead letters"), PATIENCE, || {
            Some(self.dead_letters()).filter(|letters| letters.len() >= count)
        })
    }

    fn committed(&self) -> BTreeMap<i32, i64> {
        self.kafka.assistant().committed(&self.group, &self.topic)
    }
}

fn lines(path: &Path) -> Vec<String> {
    fs::read_to_string(path).unwrap_or_default().lines().map(str::to_owned).collect()
}

fn text<'a>(record: &'a Record, header: &str) -> &'a str {
    std::str::from_utf8(record.header(header).unwrap_or_default()).expect("UTF-8")
}

/// Where a dead letter comes from: its partition and its offset.
fn origin(letter: &Record) -> (i32, i64) {
    let partition = letter.header(PLACE[1]).expect("a partition").try_into().expect("4 bytes");
    let offset = letter.header(PLACE[2]).expect("an offset").try_into().expect("8 bytes");
    (i32::from_be_bytes(partition), i64::from_be_bytes(offset))
}

fn a_handler_gets_the_payload_on_its_input_and_the_rest_in_its_environment(version: &'static str) {
    let scene = Scene::new(Kafka::shared(version), 1);
    let assistant = scene.kafka.assistant();
    let headers: [Header; 4] = [
        ("a".to_owned(), Some(b"uno \"dos\"\nY=1".to_vec())),
        ("nada".to_owned(), None),
        ("a".to_owned(), Some(vec![0xff, 0])),
        ("vacío".to_owned(), Some(Vec::new())),
    ];
    let value = "{\"contenido\": \"señal\\n\",\n \"id\": 1}\n";
    assistant.put_with(&scene.topic, 0, Some("clave ñ".as_bytes()), Some(value.as_bytes()), &headers);
    assistant.put(&scene.topic, 0, Some(&[0xfe, 0]), Some(b"2"));
    assistant.put(&scene.topic, 0, None, Some(b"3"));
    let script = "cat > $1/$POINT_TO_POINT_OFFSET.body; env -0 > $1/$POINT_TO_POINT_OFFSET.env";
    let consumer = scene.consumer(script).start();
    scene.wait_for_commits();

    assert_eq!(fs::read(scene.file("0.body")).unwrap(), value.as_bytes());
    let environment = |offset: usize| -> BTreeMap<String, String> {
        let bytes = fs::read(scene.file(&format!("{offset}.env"))).unwrap();
        let text = String::from_utf8(bytes).unwrap();
        let pairs = text.split('\0').filter_map(|pair| pair.split_once('='));
        pairs
            .filter_map(|(name, value)| {
                Some((name.strip_prefix("POINT_TO_POINT_")?.to_owned(), value.to_owned()))
            })
            .collect()
    };
    let stored = assistant.read(&scene.topic, false);
    let expected = |offset: usize, headers: &str, key: Option<(&str, &str)>| -> BTreeMap<String, String> {
        let (offset, timestamp) = (offset.to_string(), stored[offset].timestamp.to_string());
        let fixed = [
            ("TOPIC", scene.topic.as_str()),
            ("PARTITION", "0"),
            ("OFFSET", &offset),
            ("ATTEMPT", "1"),
            ("TIMESTAMP", &timestamp),
            ("HEADERS", headers),
        ];
        fixed.into_iter().chain(key).map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    };
    let json = r#"[{"name":"a","value":"uno \"dos\"\nY=1"},{"name":"nada","value":null},{"base64":"/wA=","name":"a"},{"name":"vacío","value":""}]"#;
    assert_eq!(environment(0), expected(0, json, Some(("KEY", "clave ñ"))));
    assert_eq!(environment(1), expected(1, "[]", Some(("KEY_BASE64", "/gA="))));
    assert_eq!(environment(2), expected(2, "[]", None));
    assert_eq!(consumer.lines(), [WAITING], "printing is not the handler");
    consumer.wait_for_log(&["received", &scene.topic, "offset=2"], PATIENCE);
}

fn a_message_that_fails_is_tried_in_order_and_then_a_dead_letter(version: &'static str) {
    let scene = Scene::new(Kafka::shared(version), 3);
    let assistant = scene.kafka.assistant();
    let own: [Header; 2] = [("h".to_owned(), Some(vec![0, 0xff])), ("n".to_owned(), None)];
    scene.put(2, "{\"id\":0}");
    let (key, value) = (&b"\xffk"[..], &b"{ \"bad\": 1 }"[..]);
    assistant.put_with(&scene.topic, 2, Some(key), Some(value), &own);
    assistant.put(&scene.topic, 2, Some(key), Some(b"{\"id\":2}"));
    let script = "echo $POINT_TO_POINT_OFFSET $POINT_TO_POINT_ATTEMPT >> $1/tried; ! grep -q bad";
    let consumer = scene.consumer(script).start();
    scene.wait_for_commits();
    assert_eq!(scene.lines("tried"), ["0 1", "1 1", "1 2", "1 3", "2 1"]);

    let letters = scene.dead_letters();
    assert_eq!(letters.len(), 1);
    let letter = &letters[0];
    assert_eq!(
        (letter.partition, letter.key.as_deref(), letter.value.as_deref()),
        (2, Some(key), Some(value))
    );
    let original = &assistant.read(&scene.topic, false)[1];
    let why = "the handler ended with exit status: 1";
    let expected = [
        own[0].clone(),
        own[1].clone(),
        (PLACE[0].to_owned(), Some(scene.topic.clone().into_bytes())),
        (PLACE[1].to_owned(), Some(2_i32.to_be_bytes().to_vec())),
        (PLACE[2].to_owned(), Some(1_i64.to_be_bytes().to_vec())),
        (PLACE[3].to_owned(), Some(original.timestamp.to_be_bytes().to_vec())),
        (PLACE[4].to_owned(), Some(scene.group.clone().into_bytes())),
        (
            "kafka_dlt-exception-fqcn".to_owned(),
            Some(b"point_to_point::consumer::process_handler::HandlerFailed".to_vec()),
        ),
        ("kafka_dlt-exception-message".to_owned(), Some(why.as_bytes().to_vec())),
        ("kafka_dlt-attempts".to_owned(), Some(b"3".to_vec())),
        ("kafka_dlt-errors".to_owned(), Some(format!("1: {why}\n2: {why}\n3: {why}").into_bytes())),
    ];
    assert_eq!(letter.headers, expected);
    let partitions = assistant.end_offsets(&scene.dead_letter_topic()).expect("its topic").len();
    assert_eq!(partitions, 3, "as many as the topic has");

    let place = format!("topic={} partition=2 offset=1", scene.topic);
    for (attempt, then) in [(1, "trying again in "), (2, "trying again in "), (3, "dead letters")] {
        let attempt = format!("attempt {attempt} of 3 failed: {place}");
        consumer.wait_for_log(&[&attempt, "exit status: 1", then], PATIENCE);
    }
    let now_at = format!("offset 0 of {}-2", scene.dead_letter_topic());
    consumer.wait_for_log(&["error", "dead letter", &place, &now_at], PATIENCE);
}

fn what_is_no_json_is_a_dead_letter_without_retries(version: &'static str) {
    let scene = Scene::new(Kafka::shared(version), 1);
    let assistant = scene.kafka.assistant();
    let bad: [Option<&[u8]>; 3] = [Some(b"hola \xff"), None, Some(b"{} {}")];
    for value in bad {
        assistant.put(&scene.topic, 0, Some(b"k"), value);
    }
    scene.put(0, "{\"id\":1}");
    let mut printing = Program::consumer(scene.kafka, "consumer1", &scene.topic, &scene.group);
    printing.wait_for_messages(1, PATIENCE);
    scene.wait_for_commits();
    printing.stop();
    printing.wait_for_outputs();
    let marked = |line: &&str| line.starts_with("Mensaje recibido (no es JSON): ");
    let printed = printing.lines();
    assert_eq!(printed.iter().map(String::as_str).filter(marked).count(), 3, "{printed:?}");

    let check = |letters: &[Record]| {
        for (offset, (letter, value)) in (0..).zip(letters.iter().zip(bad)) {
            assert_eq!((letter.key.as_deref(), letter.value.as_deref()), (Some(&b"k"[..]), value));
            assert_eq!(origin(letter), (0, offset));
            assert_eq!(text(letter, "kafka_dlt-exception-fqcn"), "point_to_point::message::NotJson");
            assert!(text(letter, "kafka_dlt-exception-message").starts_with("not JSON: "));
        }
    };
    let letters = scene.dead_letters();
    assert_eq!(letters.len(), 3);
    check(&letters);

    // A group of its own with a handler, which is not called for them.
    let script = "echo $POINT_TO_POINT_OFFSET >> $1/tried";
    let handling = scene.consumer(script).set("consumer.group", &unique("grupo")).start();
    let letters = scene.wait_for_dead_letters(6);
    scene.wait_for_lines("tried", 1);
    assert_eq!(scene.lines("tried"), ["3"]);
    check(&letters[3..]);
    assert_eq!(handling.lines(), [WAITING]);
}

fn a_handler_that_takes_too_long_is_killed_and_has_failed(version: &'static str) {
    let scene = Scene::new(Kafka::shared(version), 1);
    scene.put(0, "{\"slow\":1}");
    scene.put(0, "2");
    let script = "echo $POINT_TO_POINT_OFFSET $POINT_TO_POINT_ATTEMPT >> $1/tried; if grep -q slow; then sleep 600; fi";
    let start = scene.consumer(script).set("consumer.handler_timeout_ms", "500");
    let consumer = start.set("retry.max_attempts", "2").start();
    scene.wait_for_commits();
    assert_eq!(scene.lines("tried"), ["0 1", "0 2", "1 1"]);
    let letters = scene.dead_letters();
    assert_eq!(letters.len(), 1);
    let why = "the handler took longer than 500 ms and was killed";
    assert_eq!(text(&letters[0], "kafka_dlt-exception-message"), why);
    consumer.wait_for_log(&["attempt 1 of 2 failed", why], PATIENCE);
}

fn a_message_at_the_limit_reaches_a_handler_and_the_dead_letters(version: &'static str) {
    let scene = Scene::new(Kafka::shared(version), 1);
    let largest = format!("\"{}\"", "x".repeat(1_040_000 - 2));
    for _ in 0..2 {
        scene.kafka.assistant().put(&scene.topic, 0, None, Some(largest.as_bytes()));
    }
    // The first is not read at all, of the second a little.
    let script = "case $POINT_TO_POINT_OFFSET in 0) exec <&-; exit 0;; *) head -c 10; exit 1;; esac";
    let start = scene.consumer(script).set("retry.max_attempts", "1");
    let _consumer =
        start.set("producer_api.max_body_bytes", "1").set("producer_api.queue_bytes", "1024").start();
    scene.wait_for_commits();
    let letters = scene.dead_letters();
    assert_eq!(letters.iter().map(origin).collect::<Vec<_>>(), [(0, 1)]);
    assert!(letters[0].value.as_deref() == Some(largest.as_bytes()), "the same value");
}

fn a_dead_letter_too_large_for_its_topic_waits_until_the_topic_takes_it(version: &'static str) {
    let scene = Scene::new(Kafka::shared(version), 1);
    let (assistant, letters) = (scene.kafka.assistant(), scene.dead_letter_topic());
    assistant.create_topic(&letters, 1, 1, &["max.message.bytes=1000"]);
    scene.put(0, &format!("\"{}\"", "x".repeat(900)));
    let consumer = scene.consumer("exit 1").set("retry.max_attempts", "1").start();
    consumer.wait_for_log(&["no dead letter yet", "offset=0", "raise its max.message.bytes"], PATIENCE);
    assert_eq!(scene.committed().get(&0).copied().unwrap_or(0), 0);
    assistant.ask(&["configure", &letters, "max.message.bytes=10000"]);
    scene.wait_for_commits();
    assert_eq!(scene.dead_letters().iter().map(origin).collect::<Vec<_>>(), [(0, 0)]);
}

fn a_stop_ends_the_wait_for_the_next_attempt_and_the_message_comes_again(version: &'static str) {
    let scene = Scene::new(Kafka::shared(version), 1);
    scene.put(0, "1");
    let script = "echo $POINT_TO_POINT_ATTEMPT >> $1/tried; test -e $1/well";
    let start = scene.consumer(script).set("retry.max_attempts", "2");
    let mut consumer = start.set("retry.initial_backoff_ms", "10000").set("retry.jitter", "0").start();
    consumer.wait_for_log(&["attempt 1 of 2 failed"], PATIENCE);
    // It would wait for much longer than a stop takes.
    consumer.stop();
    assert_eq!(scene.lines("tried"), ["1"]);
    assert_eq!((scene.committed().get(&0).copied().unwrap_or(0), scene.dead_letters().len()), (0, 0));

    fs::write(scene.file("well"), "").unwrap();
    let _again = scene.consumer(script).start();
    scene.wait_for_commits();
    assert_eq!(scene.lines("tried"), ["1", "2"], "attempts are counted in what is committed");
}

fn a_stop_waits_for_the_handler_at_work(version: &'static str) {
    let scene = Scene::new(Kafka::shared(version), 1);
    scene.put(0, "1");
    scene.put(0, "2");
    let script =
        "echo begun >> $1/tried; while test -d $1 -a ! -e $1/go; do sleep 0.05; done; echo done >> $1/tried";
    let mut consumer = scene.consumer(script).start();
    scene.wait_for_lines("tried", 1);
    consumer.signal("TERM");
    consumer.wait_for_log(&["stopping"], PATIENCE);
    fs::write(scene.file("go"), "").unwrap();
    assert_eq!(consumer.wait(PATIENCE), Some(0));
    assert_eq!(scene.lines("tried"), ["begun", "done"], "and no further message");
    assert_eq!(scene.committed().get(&0), Some(&1));
}

fn where_nobody_reads_what_a_handler_prints_no_message_becomes_a_dead_letter(version: &'static str) {
    let scene = Scene::new(Kafka::shared(version), 1);
    let script = "while test -d $1 -a ! -e $1/go; do sleep 0.05; done; echo handled";
    let start = || scene.consumer(script).set("retry.max_attempts", "1");
    scene.put(0, "1");
    let mut consumer = start().held().start();
    consumer.wait_for_log(&["received", "offset=0"], PATIENCE);
    consumer.close_output();
    fs::write(scene.file("go"), "").unwrap();
    consumer.wait_for_log(&["standard output is broken, the message is not committed", "offset 0"], PATIENCE);
    assert_eq!(consumer.wait(PATIENCE), Some(1));
    let again = start().start();
    again.wait_for_line("handled", PATIENCE);
    scene.wait_for_commits();
    assert!(scene.dead_letters().is_empty());
}

fn heartbeats_go_on_while_a_message_is_tried_again(version: &'static str) {
    let scene = Scene::new(Kafka::shared(version), 1);
    scene.put(0, "1");
    let script = "test $POINT_TO_POINT_ATTEMPT = 2";
    // The wait is longer than the session.
    let start = scene.consumer(script).set("consumer.session_timeout_ms", "6000").set("retry.jitter", "0");
    let mut consumer = start.set("retry.initial_backoff_ms", "8000").start();
    scene.wait_for_commits();
    consumer.stop();
    consumer.wait_for_outputs();
    let joined = consumer.log().iter().filter(|line| line.contains("is a member of")).count();
    assert_eq!((joined, scene.dead_letters().len()), (1, 0));
}

fn without_a_broker_a_dead_letter_waits_and_is_stored_when_it_is_back(version: &'static str) {
    let kafka = Kafka::start(version, 1);
    let scene = Scene::new(&kafka, 1);
    scene.put(0, "1");
    scene.put(0, "2");
    let script = "echo $POINT_TO_POINT_OFFSET >> $1/tried; while test -d $1 -a ! -e $1/go; do sleep 0.05; done; exit 1";
    let consumer = scene.consumer(script).set("retry.max_attempts", "1").start();
    scene.wait_for_lines("tried", 1);
    kafka.kill_node(0);
    fs::write(scene.file("go"), "").unwrap();
    consumer.wait_for_log(&["no dead letter yet", "offset=0"], PATIENCE);
    kafka.start_node(0);
    scene.wait_for_commits();
    let mut origins: Vec<_> = scene.dead_letters().iter().map(origin).collect();
    origins.dedup();
    assert_eq!(origins, [(0, 0), (0, 1)]);
}

fn an_offset_is_not_committed_before_its_dead_letter_is_stored(version: &'static str) {
    let kafka = Kafka::start(version, 1);
    let scene = Scene::new(&kafka, 1);
    scene.put(0, "1");
    let script = "echo x >> $1/tried; while test -d $1 -a ! -e $1/go; do sleep 0.05; done; exit 1";
    let mut consumer = scene.consumer(script).set("retry.max_attempts", "1").start();
    scene.wait_for_lines("tried", 1);
    kafka.stop_node(0);
    fs::write(scene.file("go"), "").unwrap();
    consumer.wait_for_log(&["no dead letter yet"], PATIENCE);
    consumer.stop();
    kafka.start_node(0);
    assert_eq!((scene.committed().get(&0).copied().unwrap_or(0), scene.dead_letters().len()), (0, 0));
    let _again = scene.consumer("echo well >> $1/handled").start();
    scene.wait_for_commits();
    assert_eq!(scene.lines("handled"), ["well"]);
}

/// Killed as soon as the next dead letter is seen: before, within or after the commit of its source offset.
fn a_consumer_killed_over_its_dead_letters_loses_none_and_none_is_skipped(version: &'static str) {
    const MESSAGES: i64 = 6;
    let scene = Scene::new(Kafka::shared(version), 1);
    for number in 0..MESSAGES {
        scene.put(0, &number.to_string());
    }
    let mut kills = 0;
    while scene.committed().get(&0) != Some(&MESSAGES) {
        let before = scene.dead_letters().len();
        let start = scene.consumer("exit 1").set("retry.max_attempts", "2");
        let mut consumer = start.set("consumer.session_timeout_ms", "6000").start();
        eventually("the next dead letter, or all is committed", PATIENCE, || {
            let over = scene.committed().get(&0) == Some(&MESSAGES);
            (over || scene.dead_letters().len() > before).then_some(())
        });
        consumer.signal("KILL");
        consumer.wait(PATIENCE);
        kills += 1;
        let committed = scene.committed().get(&0).copied().unwrap_or(0);
        let stored: Vec<i64> = scene.dead_letters().iter().map(|letter| origin(letter).1).collect();
        assert!((0..committed).all(|offset| stored.contains(&offset)), "{committed}: {stored:?}");
    }
    let letters = scene.dead_letters().len() as i64;
    assert!(letters <= MESSAGES + kills, "{letters} dead letters after {kills} kills");
}

/// The reader of its output holds it in the middle of a print.
fn a_consumer_over_a_message_for_too_long_is_replaced_and_cannot_commit_it(version: &'static str) {
    for mode in ["message", "pipelined", "poll"] {
        let scene = Scene::new(Kafka::shared(version), 1);
        let large = format!("\"{}\"", "x".repeat(200_000));
        scene.put(0, &large);
        let start = |name| {
            let start = Program::consumer_start(scene.kafka, name, &scene.topic, &scene.group);
            start.set("consumer.commit", mode).set("consumer.max_processing_ms", "2000")
        };
        let mut slow = start("consumer1").held().start();
        slow.wait_for_log(&["received", "offset=0"], PATIENCE);
        slow.wait_for_log(&["has not polled for max_processing_ms (2000 ms)"], PATIENCE);
        let other = start("consumer2").start();
        other.wait_for_messages(1, PATIENCE);
        scene.wait_for_commits();
        scene.put(0, "2");
        slow.release();
        slow.wait_for_log(&["took longer than max_processing_ms", "offset=0"], PATIENCE);
        slow.wait_for_log(&["the commit was refused", "belongs to another"], PATIENCE);
        other.wait_for_messages(2, PATIENCE);
        scene.wait_for_commits();
    }
}

fn all_programs_that_consume_use_the_handler(version: &'static str) {
    let scene = Scene::new(Kafka::shared(version), 1);
    scene.put(0, "1");
    scene.put(0, "\"bad\"");
    scene.put(0, "3");
    for (number, program) in (1..).zip(["consumer_pull", "consumer_push"]) {
        let group = unique("grupo");
        let start = Start::program(program).on(scene.kafka).set("kafka.topic", &scene.topic);
        let script = format!("echo $POINT_TO_POINT_OFFSET >> $1/{program}; ! grep -q bad");
        let start =
            scene.handled(start, &script).set("retry.max_attempts", "2").set("consumer.group", &group);
        let mut consumer = start.start();
        scene.wait_for_lines(program, 4);
        let letters = scene.wait_for_dead_letters(number);
        consumer.stop();
        assert_eq!(scene.lines(program), ["0", "1", "1", "2"]);
        assert_eq!(text(&letters[number - 1], PLACE[4]), group);
        assert_eq!(scene.kafka.assistant().committed(&group, &scene.topic).get(&0), Some(&3));
        assert!(
            consumer.received().is_empty() && !consumer.lines().iter().any(|line| line.contains(RECEIVED))
        );
    }
}

fn any_function_is_a_handler(version: &'static str) {
    let scene = Scene::new(Kafka::shared(version), 1);
    for value in ["1", "\"x\"", "3", "[]"] {
        scene.put(0, value);
    }
    let channel = Channel::builder().topic(&scene.topic).bootstrap_servers(&scene.kafka.bootstrap());
    let channel = channel.set("retry.initial_backoff_ms", "20").open().unwrap();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let numbers = seen.clone();
    let handler = move |message: &ConsumerRecord<'_>| -> Result<(), serde_json::Error> {
        numbers.lock().unwrap().push((message.offset, message.attempt));
        assert_ne!(message.value, Some(&b"[]"[..]), "a list");
        serde_json::from_slice::<u64>(message.value.unwrap_or_default()).map(|_| ())
    };
    let running = channel.consumer(&scene.group).name("biblioteca").start(handler).unwrap();
    scene.wait_for_commits();
    running.stop().unwrap();
    assert_eq!(*seen.lock().unwrap(), [(0, 1), (1, 1), (1, 2), (1, 3), (2, 1), (3, 1), (3, 2), (3, 3)]);
    let letters = scene.dead_letters();
    assert_eq!(letters.iter().map(origin).collect::<Vec<_>>(), [(0, 1), (0, 3)]);
    assert_eq!(text(&letters[0], "kafka_dlt-exception-fqcn"), "serde_json::error::Error");
    assert!(text(&letters[1], "kafka_dlt-exception-message").starts_with("the handler panicked: "));
}

fn a_handler_that_does_not_exist_is_a_wrong_setting(version: &'static str) {
    let scene = Scene::new(Kafka::shared(version), 1);
    let start = Program::consumer_start(scene.kafka, "consumer1", &scene.topic, &scene.group);
    let mut consumer = start.set("consumer.handler", "[\"./no-such-program\"]").start();
    assert_eq!(consumer.wait(PATIENCE), Some(2));
    consumer.wait_for_outputs();
    eventually_equal("its only line", &true, || {
        consumer
            .log()
            .iter()
            .any(|line| line.contains("consumer.handler") && line.contains("./no-such-program"))
    });
}
