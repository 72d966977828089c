//! Handler programs that are kept: the examples in four languages, and what becomes of a message whose
//! program ends, is silent or has to stop.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::assistant::Record;
use crate::support::kafka::Kafka;
use crate::support::program::{Program, Start, WAITING};
use crate::support::watchdog::Folder;
use crate::support::{EMBEDDED, NEWEST, PATIENCE, eventually, run_on, unique};

run_on! {
    mod kafka_4_3 on NEWEST {
        the_example_in_python_handles_messages,
        one_that_dies_or_is_silent_fails_its_message_alone,
    }
    mod embedded on EMBEDDED {
        the_example_in_sh_handles_messages,
        the_example_in_python_handles_messages,
        the_example_for_node_handles_messages_where_node_is_found,
        the_example_in_go_handles_messages_where_go_is_found,
        one_that_dies_or_is_silent_fails_its_message_alone,
        a_stop_waits_for_its_answer_and_ends_it_and_it_knows_no_secret,
        one_whose_consumer_is_killed_ends_when_it_is_done_with_its_message,
    }
}

struct Scene {
    kafka: &'static Kafka,
    topic: String,
    group: String,
    folder: Folder,
}

impl Scene {
    fn new(version: &'static str) -> Scene {
        let (kafka, topic, group) = (Kafka::shared(version), unique("pedidos"), unique("grupo"));
        kafka.assistant().create_topic(&topic, 1, 1, &[]);
        Scene { kafka, topic, group, folder: Folder::new("kept-handler") }
    }

    fn consumer(&self, command: &[&str]) -> Start {
        let start = Program::consumer_start(self.kafka, "consumer1", &self.topic, &self.group);
        let start = start.set("consumer.handler", &serde_json::to_string(command).unwrap());
        start.set("consumer.handler_mode", "lines").set("retry.max_attempts", "1")
    }

    fn put(&self, value: &str) {
        self.kafka.assistant().put(&self.topic, 0, None, Some(value.as_bytes()));
    }

    fn wait_for_commits(&self) {
        self.kafka.assistant().wait_for_commits(&self.group, &self.topic);
    }

    fn dead_letters(&self) -> Vec<Record> {
        self.kafka.assistant().read(&format!("{}-dlt", self.topic), false)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

fn cause(letter: &Record) -> &str {
    std::str::from_utf8(letter.header("kafka_dlt-exception-message").unwrap_or_default()).unwrap()
}

fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/handlers").join(name)
}

/// The command of a tool that the check does not install; where it is not found, the test's output says so.
pub fn found(tool: &'static str, version: &str) -> Option<Command> {
    let is_found = Command::new(tool).arg(version).output().is_ok_and(|output| output.status.success());
    if !is_found {
        eprintln!("not run: there is no {tool}");
    }
    is_found.then(|| Command::new(tool))
}

/// An example handles an order, fails at what is none, and handles the next one.
fn handles_messages(version: &'static str, handler: &Path) {
    let scene = Scene::new(version);
    for value in ["{\"id\":1}", "{\"no\":\"\u{2028}\",\n\"x\":\"\\\"\"}", "{\"id\":\n3}"] {
        scene.put(value);
    }
    let consumer = scene.consumer(&[handler.to_str().unwrap()]).start();
    scene.wait_for_commits();
    consumer.wait_for_log(&["order", "1"], PATIENCE);
    consumer.wait_for_log(&["order", "3"], PATIENCE);
    let letters = scene.dead_letters();
    assert_eq!(letters.len(), 1, "{:?}", consumer.log());
    assert!(cause(&letters[0]).contains("id") && !cause(&letters[0]).contains("handler"), "{letters:?}");
    assert_eq!(consumer.lines(), [WAITING], "answers are not printed");
}

fn the_example_in_sh_handles_messages(version: &'static str) {
    handles_messages(version, &example("handler.sh"));
}

fn the_example_in_python_handles_messages(version: &'static str) {
    handles_messages(version, &example("handler.py"));
}

fn the_example_for_node_handles_messages_where_node_is_found(version: &'static str) {
    if found("node", "--version").is_some() {
        handles_messages(version, &example("handler.js"));
    }
}

fn the_example_in_go_handles_messages_where_go_is_found(version: &'static str) {
    let folder = Folder::new("handler-in-go");
    if let Some(program) = built_by_go(&example("handler.go"), &folder) {
        handles_messages(version, &program);
    }
}

/// A program in Go, built into a folder; none where there is no Go.
pub fn built_by_go(source: &Path, folder: &Folder) -> Option<PathBuf> {
    let mut go = found("go", "version")?;
    let program = folder.path().join("program");
    go.arg("build").arg("-o").arg(&program).arg(source);
    // Nothing is fetched, no C is compiled, and its standard library is compiled once.
    let cache = Path::new(env!("CARGO_TARGET_TMPDIR")).join("go");
    go.env("GOPROXY", "off").env("GOTOOLCHAIN", "local").env("GOCACHE", cache).env("CGO_ENABLED", "0");
    let built = go.current_dir(folder.path()).output().expect("go");
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    Some(program)
}

fn one_that_dies_or_is_silent_fails_its_message_alone(version: &'static str) {
    let scene = Scene::new(version);
    for value in ["1", "\"die\"", "\"hang\"", "\"shout\"", "\"later\"", "6"] {
        scene.put(value);
    }
    let script = r#"
        echo $$ >> "$1/started"
        while read -r line; do
            id=${line#*'"id":"'}
            id=${id%%'"'*}
            case $line in
            *'"die"'*) exit 3 ;;
            *'"hang"'*) sleep 600 ;;
            *'"shout"'*) echo hola ;;
            *'"later"'*) printf '{"id":"%s","ok":false,"dead":true,"error":"never"}\n' "$id" ;;
            *) printf '{"id":"%s","ok":true}\n' "$id" ;;
            esac
        done"#;
    let folder = scene.folder.path().display().to_string();
    let start = scene.consumer(&["sh", "-c", script, "sh", &folder]);
    let consumer = start.set("consumer.handler_timeout_ms", "2000").start();
    scene.wait_for_commits();
    let letters = scene.dead_letters();
    let causes: Vec<&str> = letters.iter().map(cause).collect();
    assert_eq!(causes[0], "the handler ended with exit status: 3 before it answered");
    assert_eq!(causes[1], "the handler gave no answer for 2000 ms and was killed");
    assert!(causes[2].contains("what is no answer") && causes[2].ends_with(": hola"), "{causes:?}");
    assert_eq!(causes[3..], ["never"]);
    let started = fs::read_to_string(scene.file("started")).unwrap();
    assert_eq!(started.lines().count(), 4, "{:?}", consumer.log());
}

/// A variable with a secret.
const SECRET: &str = "POINT_TO_POINT__PRODUCER_API__TOKEN";

/// Answers the first message when the file `go` is there, and says when its input ends.
const ONCE: &str = r#"
    read -r line
    echo $$ > "$1/process"
    env > "$1/environment"
    echo > "$1/begun"
    until test -e "$1/go"; do sleep 0.05; done
    echo '{"id":"1","ok":true}'
    read -r line || echo > "$1/ended""#;

impl Scene {
    fn wait_for_file(&self, name: &str) {
        eventually(&format!("there is {name}"), PATIENCE, || self.file(name).exists().then_some(()));
    }

    /// A consumer whose handler has a message, and [waits](ONCE) to answer it.
    fn at_work(&self) -> Program {
        self.put("1");
        let folder = self.folder.path().display().to_string();
        let start = self.consumer(&["sh", "-c", ONCE, "sh", &folder]);
        let consumer = start.environment(SECRET, &"s".repeat(40)).start();
        self.wait_for_file("begun");
        consumer
    }
}

fn a_stop_waits_for_its_answer_and_ends_it_and_it_knows_no_secret(version: &'static str) {
    let scene = Scene::new(version);
    let mut consumer = scene.at_work();
    consumer.signal("TERM");
    fs::write(scene.file("go"), "").unwrap();
    assert_eq!(consumer.wait(PATIENCE), Some(0), "{:?}", consumer.log());
    scene.wait_for_file("ended");
    scene.wait_for_commits();
    let environment = fs::read_to_string(scene.file("environment")).unwrap();
    assert!(environment.contains("PATH=") && !environment.contains(SECRET), "{environment}");
}

fn one_whose_consumer_is_killed_ends_when_it_is_done_with_its_message(version: &'static str) {
    let scene = Scene::new(version);
    let mut consumer = scene.at_work();
    consumer.signal("KILL");
    consumer.wait(PATIENCE);
    let process = fs::read_to_string(scene.file("process")).unwrap();
    let process = Path::new("/proc").join(process.trim());
    assert!(process.exists());
    fs::write(scene.file("go"), "").unwrap();
    // Nobody reads its answer, and its input has ended.
    eventually("it has ended", PATIENCE, || (!process.exists()).then_some(()));
    let committed = scene.kafka.assistant().committed(&scene.group, &scene.topic);
    assert!(committed.values().all(|offset| *offset == 0), "{committed:?}");
}
