//! What was acknowledged outlives the embedded broker: its holder killed under load with another process
//! standing by, a disk that is full, and a big database.

use std::env;
use std::fs;
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::java::java;
use crate::support::kafka::Kafka;
use crate::support::load::{Book, Load, RECOVERY};
use crate::support::ports::free_port;
use crate::support::program::{Program, Start};
use crate::support::watchdog::Folder;
use crate::support::{EMBEDDED, NEWEST, PATIENCE, eventually, run_on, unique};

run_on! {
    mod embedded on EMBEDDED {
        a_holder_killed_again_and_again_under_load_loses_and_doubles_nothing as HEAVY,
        a_full_disk_is_refused_and_said_and_everything_is_there_once_there_is_room as HEAVY,
        a_big_database_is_served_at_once_after_a_kill as HEAVY,
        a_folder_that_is_moved_under_its_broker_is_noticed_and_nothing_is_taken_until_one_is_there,
    }
}

/// How long a hand-over, or a start, may take.
const A_SECOND: Duration = Duration::from_secs(1);

/// The time until the broker answers.
fn time_to_an_answer(kafka: &Kafka) -> Duration {
    let since = Instant::now();
    while !kafka.node(0).answers() {
        assert!(since.elapsed() < PATIENCE, "no answer within {PATIENCE:?}");
        thread::sleep(Duration::from_millis(2));
    }
    since.elapsed()
}

/// A figure, which `./test.sh long` asks for with a machine to itself (TEST_FIGURES): one round may be held
/// up there, but not half of them.
fn assert_median_below_a_second(what: &str, mut times: Vec<Duration>) {
    times.sort();
    println!("{what}: {times:?}");
    let asked = env::var_os("TEST_FIGURES").is_some();
    assert!(!asked || times[times.len() / 2] < A_SECOND, "{what} takes too long: {times:?}");
}

fn a_holder_killed_again_and_again_under_load_loses_and_doubles_nothing(version: &'static str) {
    let kafka = Kafka::start(version, 2);
    let (topic, group) = (unique("mi-topico"), unique("grupo"));
    let producer = Program::producer(&kafka, &topic);
    let first = Program::consumer(&kafka, "consumer1", &topic, &group);
    let second = Program::consumer(&kafka, "consumer2", &topic, &group);
    kafka.assistant().wait_for_members(&group, &["consumer1", "consumer2"], 2);
    let load = Load::start(producer.address(), 16, u64::MAX);
    let (mut answered, mut stored) = (Vec::new(), Vec::new());
    for round in 0..20 {
        load.wait_for_progress(100);
        let holder = round % 2;
        let since = Instant::now();
        kafka.kill_node(holder);
        answered.push(time_to_an_answer(&kafka));
        load.wait_for_progress(1);
        stored.push(since.elapsed());
        kafka.start_node(holder);
    }
    load.wait_for_progress(100);
    let book = load.finish();
    println!("{} stored, {} refused, {} unknown", book.stored.len(), book.refused.len(), book.unknown.len());
    book.check_topic(&kafka, &topic);
    // The members outlive the holder: nobody rebalances, and nothing is printed twice.
    book.check_consumers(&[&first, &second], 0);
    kafka.assistant().wait_for_commits(&group, &topic);
    assert_median_below_a_second("from the kill to an answer", answered);
    assert_median_below_a_second("from the kill to a stored message", stored);
}

/// A limit on the size of its files is what a process without rights can have for a full disk: writes beyond
/// it fail. 512-byte blocks, so 16 MiB; the signal that would end the process is ignored.
const SMALL_DISK: &str = r#"trap '' XFSZ; ulimit -f 32768; exec "$@""#;

/// Posts messages of 100 kB until `enough` says so of the book.
fn fill(producer: &Program, book: &mut Book, enough: impl Fn(&Book) -> bool) {
    let filler = "x".repeat(100_000);
    while !enough(book) {
        assert!(book.total() < 1_000, "the disk does not get full");
        let number = book.total() as u64;
        let answer = producer.post("/enviar", &format!(r#"{{"id":{number},"contenido":"{filler}"}}"#));
        book.note(number, &answer);
        assert!(book.odd.is_empty(), "{:?}", book.odd);
    }
}

fn a_full_disk_is_refused_and_said_and_everything_is_there_once_there_is_room(version: &'static str) {
    let kafka = Kafka::stopped(version, 1);
    kafka.start_node_by(0, SMALL_DISK);
    let topic = unique("mi-topico");
    let start = Start::program("producer_api").on(&kafka).set("kafka.topic", &topic);
    let start = start.set("producer_api.answer_timeout_ms", "2000").set("kafka.request_timeout_ms", "2000");
    let producer = Program::producer_with(start.set("kafka.delivery_timeout_ms", "3000"));
    let mut book = Book::default();
    fill(&producer, &mut book, |book| book.stored.len() < book.total());
    let stored = book.stored.len();
    assert!(stored > 10, "{stored} stored before the disk was full");
    let sent = book.total();
    fill(&producer, &mut book, |book| book.total() == sent + 5);
    assert_eq!(book.stored.len(), stored, "a broker that has failed acknowledges nothing");
    let said = kafka.node(0).wait_for_log(&["ERROR"]);
    assert!(said.contains("make room"), "it says what happened and what to do: {said}");
    kafka.stop_node(0);

    kafka.start_node(0);
    eventually("it serves again", RECOVERY, || {
        let sent = book.total();
        fill(&producer, &mut book, |book| book.total() == sent + 1);
        (book.stored.len() > stored).then_some(())
    });
    println!("{} stored, {} refused, {} unknown", book.stored.len(), book.refused.len(), book.unknown.len());
    book.check_topic(&kafka, &topic);
}

/// How much is stored in the normal run; `BIG_DATABASE_MIB=5000` makes it five gigabytes.
fn big() -> u64 {
    let asked = env::var("BIG_DATABASE_MIB").ok();
    asked.map_or(300, |text| text.parse().expect("BIG_DATABASE_MIB is a number of MiB"))
}

/// Java's performance tool sends so many MiB, in messages of 10 kB.
fn pour(kafka: &Kafka, topic: &str, mebibytes: u64) {
    let mut command = java(NEWEST);
    command.args(["org.apache.kafka.tools.ProducerPerformance", "--topic", topic, "--throughput", "-1"]);
    command.args(["--record-size", "10240", "--num-records", &(mebibytes * 1024 / 10).to_string()]);
    command.args(["--command-property", &format!("bootstrap.servers={}", kafka.bootstrap())]);
    let output = command.stdin(Stdio::null()).output().expect("the tool");
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{printed}{}", String::from_utf8_lossy(&output.stderr));
}

fn a_big_database_is_served_at_once_after_a_kill(version: &'static str) {
    let kafka = Kafka::start(version, 1);
    let (topic, full) = (unique("mi-topico"), unique("lleno"));
    kafka.assistant().create_topic(&full, 4, 1, &[]);
    pour(&kafka, &full, big());
    let ends = kafka.assistant().end_offsets(&full);
    let producer = Program::producer(&kafka, &topic);
    let load = Load::start(producer.address(), 16, u64::MAX);
    let mut answered = Vec::new();
    for _ in 0..5 {
        load.wait_for_progress(100);
        kafka.kill_node(0);
        kafka.node(0).launch();
        answered.push(time_to_an_answer(&kafka));
    }
    load.wait_for_progress(100);
    let book = load.finish();
    book.check_topic(&kafka, &topic);
    assert_eq!(kafka.assistant().end_offsets(&full), ends, "what was there before is still there");
    assert_median_below_a_second(&format!("from the start to an answer with {} MiB", big()), answered);
}

/// The folder is moved, and put back, or lost: an empty one is put in its place.
fn outlast_a_moved_folder(is_lost: bool) {
    let folder = Folder::new("moved");
    let (data, away) = (folder.path().join("data"), folder.path().join("away"));
    let start = Start::program("producer_api").set("embedded.listen", &format!("127.0.0.1:{}", free_port()));
    let start = start.set("embedded.data_dir", &data.display().to_string()).set("kafka.partitions", "1");
    let program = Program::producer_with(start);
    let mut stored = 0;
    let mut post = || {
        let answer = program.post("/enviar", "1");
        stored += i64::from(answer.status == 200);
        (answer.status, String::from_utf8_lossy(&answer.body).into_owned(), stored)
    };
    eventually("a post is stored", PATIENCE, || (post().0 == 200).then_some(()));
    fs::rename(&data, &away).expect("it can be moved");
    let (_, refused, _) =
        eventually("a post is refused", PATIENCE, || Some(post()).filter(|(code, ..)| *code == 503));
    assert!(refused.contains("store_failed") && refused.contains("was removed or moved"), "{refused}");
    program.wait_for_log(&["ERROR", "its folder was removed or moved"], PATIENCE);
    assert_eq!(post().0, 503);
    if is_lost {
        fs::create_dir(&data).expect("an empty one");
    } else {
        fs::rename(&away, &data).expect("back");
    }
    let (_, answer, stored) =
        eventually("a post is stored again", PATIENCE, || Some(post()).filter(|(code, ..)| *code == 200));
    let answer: Value = serde_json::from_str(&answer).expect("JSON");
    let offset = if is_lost { 0 } else { stored - 1 };
    assert_eq!(answer["offset"], offset, "{stored} were acknowledged");
}

fn a_folder_that_is_moved_under_its_broker_is_noticed_and_nothing_is_taken_until_one_is_there(
    _: &'static str,
) {
    outlast_a_moved_folder(false);
    outlast_a_moved_folder(true);
}
