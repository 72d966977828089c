//! Looks that find nothing, too much, a broker that is gone, what is damaged, or what is not theirs.

use std::fs;
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use point_to_point::users::{self, Entry, Right, Token};
use serde_json::json;

use super::{endpoint, found, get, list, message, places, refusal, topic_of};
use crate::support::http::{Answer, Connection};
use crate::support::kafka::Kafka;
use crate::support::ports::free_port;
use crate::support::program::{Program, Start, binary};
use crate::support::watchdog::Folder;
use crate::support::{PATIENCE, eventually, unique};

pub fn a_search_in_vain_ends_in_time_and_goes_on_where_it_ended(version: &'static str) {
    let kafka = Kafka::shared(version);
    let (topic, program) = (topic_of(kafka, 4), endpoint(kafka));
    kafka.assistant().produce(
        &topic,
        "lz4",
        -1,
        &format!("{{\"id\":%d,\"x\":\"{}\"}}", "y".repeat(100)),
        200_000,
    );
    for from in ["newest", "oldest"] {
        let (mut looked_at, mut at) = (0, String::new());
        loop {
            let begun = Instant::now();
            let page = found(&program, &topic, &format!("from={from}&text=nowhere{at}"));
            // Four seconds, and what is under way then; it is a machine with others on it.
            assert!(begun.elapsed() < Duration::from_secs(9), "{:?}", begun.elapsed());
            assert!(list(&page).is_empty() && page["trouble"].is_null(), "{page}");
            let searched = page["searched"].as_u64().expect("a number");
            looked_at += searched;
            assert_eq!(page["complete"], page["next"].is_null(), "{page}");
            let Some(next) = page["next"].as_str() else { break };
            assert!(searched > 0, "it has come further: {page}");
            at = format!("&at={next}");
        }
        assert_eq!(looked_at, 200_000, "{from}");
    }
}

pub fn many_looks_at_once_are_answered_or_told_to_come_back(version: &'static str) {
    let kafka = Kafka::shared(version);
    let (topic, program) = (topic_of(kafka, 1), endpoint(kafka));
    kafka.assistant().produce(&topic, "lz4", 0, &"y".repeat(1_000), 100_000);
    let path = format!("/topics/{topic}/messages?text=nowhere");
    let answers: Vec<Answer> = thread::scope(|scope| {
        let ask = || scope.spawn(|| get(&program, &path));
        let asked: Vec<_> = (0..30).map(|_| ask()).collect();
        // Meanwhile others are served.
        assert_eq!(program.post("/enviar", "{}").status, 200);
        assert_eq!(get(&program, "/healthz").status, 200);
        asked.into_iter().map(|thread| thread.join().expect("an answer")).collect()
    });
    let (served, refused): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.status == 200);
    assert!(!served.is_empty() && !refused.is_empty(), "{} {}", served.len(), refused.len());
    for answer in refused {
        assert_eq!((answer.status, answer.header("retry-after")), (503, Some("1")), "{answer:?}");
        assert_eq!(refusal(answer).1, "busy");
    }
    assert_eq!(get(&program, &format!("/topics/{topic}/messages?max=1")).status, 200);
}

pub fn an_outage_is_told_and_passes(version: &'static str) {
    let kafka = Kafka::start(version, 1);
    let (topic, mut program) = (topic_of(&kafka, 1), endpoint(&kafka));
    kafka.assistant().produce(&topic, "none", 0, "%d", 3);
    assert_eq!(places(&found(&program, &topic, "")).len(), 3);
    kafka.kill_node(0);
    for path in [format!("/topics/{topic}/messages"), format!("/topics/{topic}/partitions/0/messages/0")] {
        let begun = Instant::now();
        let answer = get(&program, &path);
        let (status, code, sentence) = refusal(&answer);
        assert_eq!((status, code.as_str()), (503, "no_broker"), "{sentence}");
        assert!(answer.header("retry-after").is_some() && begun.elapsed() < Duration::from_secs(8));
    }
    kafka.start_node(0);
    eventually("it is served again", PATIENCE, || {
        (get(&program, &format!("/topics/{topic}/messages")).status == 200).then_some(())
    });
    // A stop waits for no look.
    kafka.freeze_node(0);
    let address = program.address();
    let path = format!("/topics/{topic}/messages");
    let looking = thread::spawn(move || Connection::open(address).and_then(|mut open| open.get(&path)));
    program.signal("TERM");
    let begun = Instant::now();
    assert!(program.wait(PATIENCE).is_some());
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    kafka.thaw_node(0);
    let answer = looking.join().expect("a thread");
    assert!(answer.is_err() || answer.is_ok_and(|answer| answer.status == 503));
}

pub fn a_partition_without_a_leader_is_told_and_the_others_are_shown(version: &'static str) {
    let kafka = Kafka::start(version, 3);
    let (topic, program) = (topic_of(&kafka, 3), endpoint(&kafka));
    (0..3).for_each(|partition| kafka.assistant().produce(&topic, "none", partition, "%d", 1));
    assert_eq!(places(&found(&program, &topic, "")).len(), 3);
    let gone = kafka.assistant().leader(&topic, 1).expect("a leader");
    let consumer = Program::consumer(&kafka, "consumer1", &topic, &unique("grupo"));
    consumer.wait_for_messages(3, PATIENCE);
    let servers = format!("kafka.bootstrap_servers={}", kafka.bootstrap());
    let follower = Start::command("peek", Command::new(binary("point-to-point")));
    let follower = follower.arguments(&["peek", &topic, "--follow", "--set", &servers]).start();
    follower.wait_for_lines(4, PATIENCE);
    kafka.kill_node(gone - 1);
    let run = |words: &[&str]| {
        let words = [words, &["--set", &servers]].concat();
        Command::new(binary("point-to-point")).args(words).output().expect("it runs")
    };
    let listed = run(&["groups", "list"]);
    assert_eq!(listed.status.code(), Some(0), "a broker that has died lists no groups: {listed:?}");
    eventually("nobody leads it", PATIENCE, || kafka.assistant().leader(&topic, 1).is_none().then_some(()));

    let page = found(&program, &topic, "");
    let trouble = page["trouble"].as_str().expect("why");
    assert!(trouble.contains(&format!("{topic}-1")) && page["complete"] == false, "{page}");
    assert_eq!(places(&page).len(), 2, "{page}");
    let rest = found(&program, &topic, "at=0:1,1:1&max=1");
    assert_eq!((places(&rest).len(), &rest["next"]), (1, &json!("1:1")), "it goes on where it was");
    let peeked = run(&["peek", &topic]);
    let [output, error] = [peeked.stdout, peeked.stderr].map(|bytes| String::from_utf8(bytes).expect("text"));
    assert_eq!((peeked.status.code(), output.lines().count()), (Some(1), 3), "{output}{error}");
    assert!(error.contains(&format!("{topic}-1")), "{error}");
    consumer.wait_for_log(&["warn", &format!("{topic}-1 has no leader")], PATIENCE);
    kafka.start_node(gone - 1);
    consumer.wait_for_log(&["info", &format!("{topic}-1 has a leader again")], PATIENCE);
    follower.wait_for_log(&[&format!("without a leader, and not read at present: {topic} 1")], PATIENCE);
    follower.wait_for_log(&[&format!("{topic} is read on")], PATIENCE);
    let read_on = follower.log().iter().filter(|line| line.contains("is read on")).count();
    assert_eq!(read_on, 1, "{:?}", follower.log());
}

/// An endpoint with a broker of its own.
fn alone(folder: &Folder) -> Program {
    let start = Start::program("producer_api")
        .set("embedded.listen", &format!("127.0.0.1:{}", free_port()))
        .set("embedded.data_dir", &folder.path().join("data").display().to_string())
        .set("embedded.auto_create_topics", "true");
    Program::producer_with(start)
}

/// The file in a folder that holds these bytes, and where they stand in it.
fn stored(folder: &Path, bytes: &[u8]) -> (PathBuf, u64) {
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(&next).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let held = fs::read(&path).unwrap_or_default();
            if let Some(place) = held.windows(bytes.len()).position(|window| window == bytes) {
                return (path, u64::try_from(place).expect("a place"));
            }
        }
    }
    panic!("nowhere in {}", folder.display());
}

pub fn a_damaged_batch_is_told_and_the_other_partitions_are_shown(_: &'static str) {
    let folder = Folder::new("damaged");
    let program = alone(&folder);
    let topic = "pedidos";
    let send = |value: &str, partition: i32| {
        let records = json!({"records": [{"value": value, "partition": partition}]}).to_string();
        program.post(&format!("/topics/{topic}"), &records).status
    };
    eventually("the topic is made", PATIENCE, || (send("whole", 0) == 200).then_some(()));
    assert_eq!((send("to be damaged", 0), send("whole", 1)), (200, 200));
    let (path, at) = stored(folder.path(), b"to be damaged");
    let mut file = fs::OpenOptions::new().write(true).open(&path).expect("a file");
    file.seek(SeekFrom::Start(at)).expect("a place");
    file.write_all(b"to be mended ").expect("it is written");
    let (status, code, sentence) = refusal(&message(&program, topic, "0:1", ""));
    assert_eq!((status, code.as_str()), (502, "damaged"), "{sentence}");
    assert_eq!(message(&program, topic, "0:0", "").status, 200, "the batch before it is whole");
    let of_zero = get(&program, &format!("/topics/{topic}/messages?partition=0"));
    assert_eq!(of_zero.status, 502, "{of_zero:?}");
    let page = found(&program, topic, "");
    assert_eq!((places(&page), &page["complete"]), (vec![(1, 0)], &json!(false)), "{page}");
    assert!(page["trouble"].as_str().is_some_and(|text| text.contains("partition 0")), "{page}");
}

pub fn readers_look_into_their_own_topics_alone(version: &'static str) {
    let kafka = Kafka::shared(version);
    let folder = Folder::new("readers");
    let file = folder.path().join("users.toml");
    let channel = unique("mi-topico");
    for topic in
        [channel.clone(), format!("{channel}-dlt"), format!("{channel}-otro"), format!("{channel}-dlt-dlt")]
    {
        kafka.assistant().create_topic(&topic, 1, 1, &[]);
    }
    let add = |name: &str, right: Right, topics: &[&str]| {
        let (token, hash) = Token::generate().expect("a token");
        let topics = topics.iter().map(|text| text.parse().expect("a pattern")).collect();
        let entry =
            Entry { rights: [right].into(), topics, token: Some(hash), password: None, certificate: false };
        users::change(&file, |entries| Ok(entries.insert(name.to_owned(), entry))).expect("a file");
        format!("Authorization: Bearer {}\r\n", token.expose())
    };
    let reader = add("lee", Right::Read, &[]);
    let other = add("otra", Right::Read, &[&format!("{channel}-o*")]);
    let sender = add("tienda", Right::Send, &["*"]);
    let admin = add("jefa", Right::Admin, &[]);
    let start = Start::program("producer_api").on(kafka).set("kafka.topic", &channel);
    let program = Program::producer_with(start.set("producer_api.users_file", &file.display().to_string()));
    let status = |who: &str, topic: &str| {
        let mut connection = Connection::open(program.address()).expect("a connection");
        let path = format!("/topics/{topic}/messages");
        connection.request("GET", &path, who, b"").expect("an answer").status
    };
    for (who, suffix, expected) in [
        ("", "", 401),
        (&*reader, "", 200),
        (&*reader, "-dlt", 200),
        (&*reader, "-otro", 403),
        (&*reader, "-dlt-dlt", 403),
        (&*other, "", 403),
        (&*other, "-otro", 200),
        (&*sender, "", 403),
        (&*admin, "-dlt-dlt", 200),
    ] {
        assert_eq!(status(who, &format!("{channel}{suffix}")), expected, "{who:?} {suffix}");
    }
}
