//! The log: what is in it of each message, what lines look like, and what becomes of its file.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Read;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::supervisor::channel::{Channel, Place};
use crate::support::kafka::Kafka;
use crate::support::ports::free_port;
use crate::support::program::{Program, RECEIVED, Start, binary};
use crate::support::watchdog::{Folder, Guarded};
use crate::support::{EMBEDDED, PATIENCE, eventually, run_on, unique};

run_on! {
    mod embedded on EMBEDDED {
        each_message_has_a_line_for_sent_and_one_for_received_in_the_file_and_one_on_the_terminal,
        on_a_terminal_a_message_is_one_line_also_without_a_file,
        values_are_shown_only_where_they_are_asked_for,
        as_json_every_line_is_an_object_whatever_keys_and_values_are,
        all_programs_of_one_file_set_it_aside_together_and_lose_no_line,
        a_file_that_was_moved_away_is_made_anew_within_a_second_and_sighup_is_a_clean_stop,
    }
}

/// A folder for log files, and the path of one.
fn place() -> (Folder, PathBuf) {
    let folder = Folder::new("log");
    let file = folder.path().join("all.log");
    (folder, file)
}

/// The lines of all files in a folder.
fn lines_in(folder: &Path) -> Vec<String> {
    let files = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("a file").path());
    let text = files.map(|file| fs::read_to_string(file).unwrap_or_default());
    text.flat_map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>()).collect()
}

fn about<'a>(lines: &'a [String], what: &str) -> Vec<&'a String> {
    lines.iter().filter(|line| line.contains(what)).collect()
}

/// The default program after `count` messages that were all received, stopped again.
fn after_messages(channel: &mut Channel, folder: &Path, count: u64, received: &str) -> Vec<String> {
    for id in 0..count {
        channel.post(&format!("key{}", id % 7), id);
    }
    eventually("all are received", PATIENCE, || {
        (about(&lines_in(folder), received).len() as u64 >= count).then_some(())
    });
    channel.program.stop();
    lines_in(folder)
}

fn each_message_has_a_line_for_sent_and_one_for_received_in_the_file_and_one_on_the_terminal(
    version: &'static str,
) {
    let (folder, file) = place();
    let mut channel =
        Channel::start_with(version, |start| start.set("log.file", file.to_str().expect("a path")));
    let lines = after_messages(&mut channel, folder.path(), 40, " received ");
    for (what, name) in [(" sent ", "name=producer_api request="), (" received ", "name=consumer")] {
        let found = about(&lines, what);
        let places: BTreeSet<&str> = found.iter().filter_map(|line| line.split(" key=").next()).collect();
        assert_eq!((found.len(), places.len()), (40, 40), "each once, with its place: {found:?}");
        for line in found {
            let parts = [" topic=", " partition=", " offset=", " key=\"key", " length=", name];
            assert!(parts.iter().all(|part| line.contains(part)), "{line}");
            assert!(!line.contains("{\"id\":"), "no value: {line}");
        }
    }
    channel.program.wait_for_outputs();
    let shown = channel.program.lines();
    assert_eq!(shown.iter().filter(|line| line.contains(RECEIVED)).count(), 40);
    for line in shown.iter().chain(&channel.program.log()) {
        assert!(!line.contains(" sent ") && !line.contains(" received "), "{line}");
    }
}

fn on_a_terminal_a_message_is_one_line_also_without_a_file(version: &'static str) {
    let place = Place::new(version);
    let listen = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let terminal = nix::pty::openpty(None, None).expect("a terminal");
    let mut command = Command::new(binary("point-to-point"));
    let settings = place.settings().chain([format!("producer_api.listen={listen}"), "log.file=".to_owned()]);
    settings.for_each(|setting| _ = command.args(["--set", &setting]));
    let out = || Stdio::from(terminal.slave.try_clone().expect("a descriptor"));
    command.stdin(Stdio::null()).stdout(out()).stderr(out()).env("TERM", "dumb");
    let _program = Guarded::spawn(&mut command);
    drop(command);
    let shown = Arc::new(Mutex::new(String::new()));
    let (mut screen, seen) = (File::from(terminal.master), shown.clone());
    thread::spawn(move || {
        let mut bytes = [0; 4096];
        while let Ok(count @ 1..) = screen.read(&mut bytes) {
            seen.lock().expect("a lock").push_str(&String::from_utf8_lossy(&bytes[..count]));
        }
    });
    let lines = || shown.lock().expect("a lock").lines().map(str::to_owned).collect::<Vec<String>>();
    eventually("all is ready", PATIENCE, || {
        (about(&lines(), "Esperando mensajes...").len() == 2).then_some(())
    });
    for id in 0..20 {
        let answer = crate::support::http::post(listen, "/enviar", format!("{{\"id\":{id}}}").as_bytes());
        assert_eq!(answer.expect("an answer").status, 200);
    }
    eventually("all are printed", PATIENCE, || (about(&lines(), RECEIVED).len() == 20).then_some(()));
    let more: Vec<String> =
        lines().into_iter().filter(|line| line.contains(" sent ") || line.contains(" received ")).collect();
    assert!(more.is_empty(), "{more:?}");
}

fn values_are_shown_only_where_they_are_asked_for(version: &'static str) {
    let kafka = Kafka::shared(version);
    for (values, is_shown) in [("false", false), ("true", true)] {
        let (topic, group, (_folder, file)) = (unique("callado"), unique("grupo"), place());
        kafka.assistant().create_topic(&topic, 1, 1, &[]);
        let file = file.to_str().expect("a path");
        let with = |start: Start| start.set("log.file", file).set("log.values", values);
        let api = Start::program("producer_api").on(kafka).set("kafka.topic", &topic);
        let api = Program::producer_with(with(api));
        assert_eq!(api.post("/enviar", r#"{"clave":"secreto"}"#).status, 200);
        kafka.assistant().put(&topic, 0, None, Some(b"secreto, no JSON"));
        let consumer = with(Program::consumer_start(kafka, "consumer1", &topic, &group)).start();
        consumer.wait_for_messages(1, PATIENCE);
        consumer.wait_for_log(&["error", "not JSON", &topic], PATIENCE);
        kafka.assistant().wait_for_commits(&group, &topic);
        let log = fs::read_to_string(file).expect("a log");
        let sent = format!("sent topic={topic} partition=0 offset=0 key=none length=19 name=producer_api");
        assert!(log.contains(&sent), "{log}");
        let lines = log.lines().filter(|line| line.contains("secreto")).count();
        // Sent, received twice, no JSON, and the dead letter.
        assert_eq!(lines, if is_shown { 5 } else { 0 }, "{log}");
    }
}

fn as_json_every_line_is_an_object_whatever_keys_and_values_are(version: &'static str) {
    let (folder, file) = place();
    let mut channel = Channel::start_with(version, |start| {
        start
            .set("log.file", file.to_str().expect("a path"))
            .set("log.format", "json")
            .set("log.values", "true")
    });
    for key in ["a%22%2C%22b", "%0A%7B%7D", "%5C%5Cu0000%00", "%1B%5B2J", "%E2%80%AE", "plain"] {
        let answer = channel.program.post(&format!("/enviar?key={key}"), "{\"contenido\":\"\\u0007\\n ñ\"}");
        assert_eq!(answer.status, 200, "{key}: {answer:?}");
    }
    eventually("all are received", PATIENCE, || {
        (about(&lines_in(folder.path()), "\"message\":\"received\"").len() >= 6).then_some(())
    });
    channel.program.stop();
    let read = |line: &String| -> Value {
        assert!(!line.contains(['\u{1b}', '\u{202e}']), "{line:?}");
        serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))
    };
    let lines: Vec<Value> = lines_in(folder.path()).iter().map(read).collect();
    let names: BTreeSet<&str> = lines.iter().filter_map(|line| line["name"].as_str()).collect();
    assert_eq!(names, BTreeSet::from(["consumer1", "consumer2", "point-to-point", "producer_api"]));
    assert!(lines.iter().all(|line| line["time"].is_string() && line["level"].is_string()));
    let sent = lines.iter().filter(|line| line["message"] == "sent");
    let keys: BTreeSet<&str> = sent.filter_map(|line| line["key"].as_str()).collect();
    let expected = ["a\",\"b", "\n{}", "\\\\u0000\0", "\u{1b}[2J", "\u{202e}", "plain"];
    assert_eq!(keys, BTreeSet::from(expected));
    channel.program.wait_for_outputs();
    let shown = channel.program.lines();
    let json: Vec<Value> = shown.iter().filter(|line| line.starts_with('{')).map(read).collect();
    assert!(json.iter().any(|line| line["name"] == "producer_api"), "{shown:?}");
    assert!(json.iter().all(|line| line["message"] != "sent" && line["message"] != "received"), "{shown:?}");
    assert!(!shown.iter().any(|line| line.contains("| {\"time\"")), "no prefix before an object: {shown:?}");
}

fn all_programs_of_one_file_set_it_aside_together_and_lose_no_line(version: &'static str) {
    const MESSAGES: u64 = 300;
    let (folder, file) = place();
    let mut channel = Channel::start_with(version, |start| {
        start
            .set("log.file", file.to_str().expect("a path"))
            .set("log.max_bytes", "8000")
            .set("log.files", "100")
    });
    let lines = after_messages(&mut channel, folder.path(), MESSAGES, " received ");
    for what in [" sent ", " received "] {
        let found = about(&lines, what);
        let distinct: BTreeSet<&str> = found.iter().filter_map(|line| line.split(" key=").next()).collect();
        assert_eq!((found.len() as u64, distinct.len() as u64), (MESSAGES, MESSAGES), "{what}");
    }
    assert!(lines.iter().all(|line| line.starts_with("20")), "every line is whole");
    let sizes: Vec<u64> = fs::read_dir(folder.path())
        .expect("a folder")
        .map(|entry| entry.expect("a file").metadata().expect("its size").len())
        .collect();
    assert!(sizes.len() > 5 && sizes.iter().all(|size| *size < 12_000), "{sizes:?}");
}

fn a_file_that_was_moved_away_is_made_anew_within_a_second_and_sighup_is_a_clean_stop(version: &'static str) {
    let (folder, file) = place();
    let kafka = Kafka::shared(version);
    let start = Start::program("producer_api").on(kafka).set("kafka.topic", &unique("movido"));
    let mut api = Program::producer_with(start.set("log.file", file.to_str().expect("a path")));
    assert_eq!(api.post("/enviar", "1").status, 200);
    eventually("it is logged", PATIENCE, || {
        (about(&lines_in(folder.path()), " sent ").len() == 1).then_some(())
    });
    let moved = folder.path().join("moved.log");
    fs::rename(&file, &moved).expect("it can be moved");
    let since = Instant::now();
    eventually("it is made anew, though nothing is written", PATIENCE, || file.exists().then_some(()));
    // A second, and what a busy machine adds.
    assert!(since.elapsed() < Duration::from_secs(2), "it took {:?}", since.elapsed());
    assert_eq!(api.post("/enviar", "2").status, 200);
    let sent = |file: &Path| fs::read_to_string(file).unwrap_or_default().matches(" sent ").count();
    eventually("the next line is in the new one", PATIENCE, || (sent(&file) == 1).then_some(()));
    assert_eq!(sent(&moved), 1);
    api.signal("HUP");
    assert_eq!(api.wait(PATIENCE), Some(0));
}
