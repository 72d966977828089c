//! Real programs, in sh and Python, that do what the value of a message says.

mod stderr;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc;
use std::thread;
use std::time::Instant;

use super::*;
use crate::consumer::{HandlerMode, Headers};

const PATIENCE: Duration = Duration::from_secs(30);

/// Does what the value of each message says, in its order; a number or text is only answered.
const OBEDIENT: &str = r#"
import json, os, signal, subprocess, sys, time

def say(text):
    sys.stdout.write(text)
    sys.stdout.flush()

def obey(record):
    value = record["value"] if isinstance(record["value"], dict) else {}
    for step, what in value.items():
        if step == "exit": os._exit(what)
        elif step == "signal": os.kill(os.getpid(), what)
        elif step == "sleep": time.sleep(what)
        elif step == "write": say(what)
        elif step == "flood": say("x" * what)
        elif step == "close": os.close(1)
        elif step == "leave": subprocess.Popen(["sleep", str(what)])
        elif step == "complain": print(what, file=sys.stderr, flush=True)
        elif step == "touch": open(what, "w").close()
        elif step == "until":
            while not os.path.exists(what): time.sleep(0.01)
    answer = {"id": record["id"], "ok": True}
    answer.update(value.get("answer", {}))
    if value.get("tell"): answer.update(ok=False, error=eval(value["tell"]))
    if value.get("answer", 0) is not None: say(json.dumps(answer) + value.get("end", "\n"))
    if "then" in value: say(value["then"])
    if "last" in value: os._exit(value["last"])

for line in sys.stdin:
    record = json.loads(line)
    for record in record if isinstance(record, list) else [record]: obey(record)
"#;

fn settings(command: &[&str], timeout_ms: u64, batch: usize) -> ProcessSettings {
    let command = command.iter().map(|&part| part.to_owned()).collect();
    let timeout = Duration::from_millis(timeout_ms);
    ProcessSettings { command, mode: HandlerMode::Lines, workers: 1, batch, timeout }
}

fn obedient(timeout_ms: u64, batch: usize) -> LinesHandler {
    LinesHandler::new(&settings(&["python3", "-c", OBEDIENT], timeout_ms, batch), &Stop::new()).unwrap()
}

fn sh(script: &str) -> LinesHandler {
    LinesHandler::new(&settings(&["sh", "-c", script], 60_000, 1), &Stop::new()).unwrap()
}

fn message(value: &str) -> ConsumerRecord<'_> {
    let (topic, headers) = ("t", Headers::default());
    let (partition, offset, attempt) = (1, 2, 1);
    let value = Some(value.as_bytes());
    ConsumerRecord { topic, partition, offset, key: None, value, timestamp: None, headers, attempt }
}

fn messages<const N: usize>(values: [&str; N]) -> [ConsumerRecord<'_>; N] {
    values.map(message)
}

/// The error with which an attempt failed.
fn failed(outcome: Result<(), Failure>) -> String {
    match outcome {
        Err(Failure::Failed(cause)) => cause.message,
        other => panic!("{other:?}"),
    }
}

fn died(outcome: Result<(), Failure>) -> String {
    match outcome {
        Err(Failure::WorkerDied(cause)) => cause.message,
        other => panic!("{other:?}"),
    }
}

/// What Python makes of an expression about `record` in the handler's process.
fn told(handler: &mut LinesHandler, expression: &str) -> String {
    failed(handler.handle(&message(&format!(r#"{{"tell": "str({expression})"}}"#))))
}

fn process_of(handler: &mut LinesHandler) -> String {
    told(handler, "os.getpid()")
}

fn unique() -> u64 {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).unwrap();
    u64::from_ne_bytes(bytes)
}

fn unique_path() -> PathBuf {
    std::env::temp_dir().join(format!("lines-handler-{:016x}", unique()))
}

fn eventually(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "never: {what}");
        thread::sleep(Duration::from_millis(10));
    }
}

fn is_running(pid: &str) -> bool {
    Path::new("/proc").join(pid).exists()
}

#[test]
fn one_process_handles_one_message_after_the_other() {
    let mut handler = obedient(60_000, 1);
    let process = process_of(&mut handler);
    for value in ["1", "\"dos\"", "null", "[]", "{\n}\r\n"] {
        handler.handle(&message(value)).unwrap();
    }
    assert_eq!(process_of(&mut handler), process);
    let mut other = handler.clone();
    assert_ne!(process_of(&mut other), process, "another value has another process");
    assert_eq!(told(&mut handler, "record['id']"), "8", "no id is used twice");
    assert_eq!(told(&mut handler, "list(record)[:4]"), "['id', 'topic', 'partition', 'offset']");
}

#[test]
fn an_answer_says_what_becomes_of_the_message() {
    let mut handler = obedient(60_000, 1);
    let process = process_of(&mut handler);
    let mut answered = |answer: &str| handler.handle(&message(&format!(r#"{{"answer": {answer}}}"#)));
    answered(r#"{"ok": true, "error": "none"}"#).unwrap();
    assert_eq!(failed(answered(r#"{"ok": false, "error": "no stock"}"#)), "no stock");
    let waits = answered(r#"{"ok": false, "retry_after_ms": 90000}"#);
    assert!(matches!(waits, Err(Failure::FailedFor { wait, .. }) if wait.as_secs() == 90), "{waits:?}");
    let later = answered(r#"{"ok": false, "retry": true, "retry_after_ms": 5}"#);
    let five = Duration::from_millis(5);
    assert!(matches!(later, Err(Failure::TryLater { wait: Some(wait), .. }) if wait == five), "{later:?}");
    let dead = answered(r#"{"ok": false, "dead": true, "error": "never"}"#);
    assert!(matches!(dead, Err(Failure::Dead(cause)) if cause.message == "never"));
    handler.handle(&message(r#"{"end": "\r\n"}"#)).unwrap();
    assert_eq!(process_of(&mut handler), process, "no answer ends the process");
}

#[test]
fn what_is_no_answer_ends_the_process_and_the_next_message_has_a_new_one() {
    let mut handler = obedient(60_000, 1);
    let process = process_of(&mut handler);
    let wrong = [
        (r#"{"write": "hola\n"}"#, "it wrote what is no answer (expected value at line 1 column 1): hola"),
        (r#"{"write": "\n"}"#, "it wrote what is no answer"),
        (r#"{"answer": {"id": "1"}}"#, "it answered to an id that it was not asked for: {\"id\": \"1\""),
        (r#"{"answer": {"id": "99"}}"#, "it answered to an id that it was not asked for"),
        (r#"{"answer": {"id": "+5"}}"#, "it answered to an id that it was not asked for"),
        (r#"{"flood": 65537, "write": "\n"}"#, "it wrote a line of more than 65536 bytes: xxx"),
        (r#"{"flood": 9000000}"#, "it wrote a line of more than 65536 bytes: xxx"),
    ];
    let mut last = process;
    for (value, why) in wrong {
        let error = failed(handler.handle(&message(value)));
        assert!(error.starts_with(&format!("the handler was killed: {why}")), "{value}: {error}");
        assert!(!is_running(&last));
        let next = process_of(&mut handler);
        assert_ne!(std::mem::replace(&mut last, next.clone()), next);
    }
}

#[test]
fn an_answer_may_have_64_kib() {
    let mut handler = obedient(60_000, 1);
    let most = r#"{"tell": "'x' * (65536 - len('{\"id\": \"1\", \"ok\": false, \"error\": \"\"}'))"}"#;
    assert!(failed(handler.handle(&message(most))).len() > 65_000);
    let more = most.replace("65536", "65537");
    assert!(failed(handler.handle(&message(&more))).contains("a line of more than 65536 bytes"));
}

#[test]
fn one_that_is_silent_too_long_is_killed_with_what_it_started() {
    let seconds = 1_000 + unique() % 1_000_000;
    let script = format!(
        r#"while read -r line; do
            case $line in *silent*) sleep {seconds} & sleep {seconds};; esac
            id=${{line#*'"id":"'}} && echo '{{"ok":true,"id":"'${{id%%'"'*}}'"}}'
        done"#
    );
    let settings = settings(&["sh", "-c", &script], 1_000, 1);
    let mut handler = LinesHandler::new(&settings, &Stop::new()).unwrap();
    handler.handle(&message("1")).unwrap();
    let why = "the handler gave no answer for 1000 ms and was killed";
    assert_eq!(failed(handler.handle(&message("\"silent\""))), why);
    eventually("what it started has ended", || {
        let found = Command::new("pgrep").args(["-f", &format!("^sleep {seconds}$")]).output().unwrap();
        found.stdout.is_empty()
    });
    handler.handle(&message("1")).unwrap();
}

#[test]
fn one_that_reads_nothing_is_silent_too() {
    let large = format!("\"{}\"", "x".repeat(1_000_000));
    let settings = settings(&["sleep", "600"], 200, 1);
    let mut handler = LinesHandler::new(&settings, &Stop::new()).unwrap();
    for value in ["1", &large] {
        let why = "the handler gave no answer for 200 ms and was killed";
        assert_eq!(failed(handler.handle(&message(value))), why);
    }
}

#[test]
fn one_that_dies_has_its_exit_status_in_the_failure_and_the_next_message_has_a_new_one() {
    let mut handler = obedient(60_000, 1);
    let end = |how| format!("the handler ended with {how} before it answered");
    assert_eq!(died(handler.handle(&message(r#"{"exit": 3}"#))), end("exit status: 3"));
    assert_eq!(died(handler.handle(&message(r#"{"exit": 0}"#))), end("exit status: 0"));
    assert_eq!(died(handler.handle(&message(r#"{"signal": 9}"#))), end("signal: 9 (SIGKILL)"));
    let later = handler.handle(&message(r#"{"exit": 75}"#));
    let Err(Failure::TryLater { cause, wait: None }) = later else { panic!("{later:?}") };
    assert_eq!(cause.message, end("exit status: 75"));
    let dead = handler.handle(&message(r#"{"exit": 65}"#));
    assert!(matches!(dead, Err(Failure::Dead(_))), "{dead:?}");
    handler.handle(&message("1")).unwrap();
}

#[test]
fn the_end_of_one_is_noticed_while_what_it_started_has_its_output() {
    let mut handler = obedient(60_000, 1);
    let why = "the handler ended with exit status: 3 before it answered";
    assert_eq!(died(handler.handle(&message(r#"{"leave": 20, "exit": 3}"#))), why);
    let closed = failed(handler.handle(&message(r#"{"close": 1, "sleep": 600}"#)));
    assert!(closed.starts_with("the handler closed its standard output"), "{closed}");
}

#[test]
fn what_happens_between_messages_is_no_messages_fault() {
    let mut handler = obedient(60_000, 1);
    let first = process_of(&mut handler);
    // It ends after its answer, ...
    handler.handle(&message(r#"{"last": 1}"#)).unwrap();
    eventually("it has ended", || is_ended(&first));
    handler.handle(&message("1")).unwrap();
    // ... and says more than it was asked.
    let file = unique_path();
    handler.handle(&message(&format!(r#"{{"end": "\nmore\n", "touch": {file:?}}}"#))).unwrap();
    eventually("it wrote", || file.exists());
    let second = process_of(&mut handler);
    assert_ne!(first, second);
    std::fs::remove_file(file).unwrap();
}

/// Whether a child of this process has ended, also if nobody has waited for it.
fn is_ended(pid: &str) -> bool {
    let stat = std::fs::read_to_string(Path::new("/proc").join(pid).join("stat")).unwrap_or_default();
    stat.rsplit(") ").next().is_none_or(|rest| rest.is_empty() || rest.starts_with('Z'))
}

#[test]
fn one_that_cannot_be_started_is_no_messages_fault_and_works_when_it_is_back() {
    let path = unique_path();
    let place = || std::os::unix::fs::symlink("/bin/cat", &path).unwrap();
    place();
    let command = [path.to_str().unwrap()];
    let mut handler = LinesHandler::new(&settings(&command, 60_000, 3), &Stop::new()).unwrap();
    std::fs::remove_file(&path).unwrap();
    for outcome in handler.handle_batch(&messages(["1", "2", "3"])) {
        let Err(Failure::NotStarted(cause)) = outcome else { panic!("{outcome:?}") };
        assert!(cause.message.starts_with("the handler cannot be started: No such file"), "{cause}");
    }
    place();
    // It echoes an array, which is no answer.
    let outcome = handler.handle(&message("1"));
    std::fs::remove_file(&path).unwrap();
    assert!(failed(outcome).contains("it wrote what is no answer"));
}

#[test]
fn a_large_message_arrives_whole_and_beside_answers_that_come_early() {
    let mut handler = obedient(60_000, 1);
    let large = format!(r#"{{"fill": "{}", "tell": "str(len(line))"}}"#, "x".repeat(8_000_000));
    assert!(failed(handler.handle(&message(&large))).parse::<usize>().unwrap() > 8_000_000);
    // This one answers before it has read all.
    let early = sh(r#"dd bs=1000 count=1 2>/dev/null >&2; echo '{"id":"1","ok":true}'; cat >/dev/null"#)
        .handle(&message(&large));
    early.unwrap();
}

#[test]
fn a_batch_is_an_array_and_its_answers_come_in_any_order() {
    let program = r#"
import json, sys
for line in sys.stdin:
    batch = json.loads(line)
    for record in reversed(batch):
        ok = record["value"] != "bad"
        print(json.dumps({"id": record["id"], "ok": ok, "error": str(len(batch))}), flush=True)
"#;
    let settings = settings(&["python3", "-c", program], 60_000, 4);
    let mut handler = LinesHandler::new(&settings, &Stop::new()).unwrap();
    assert_eq!(handler.batch(), 4);
    let mut outcomes = handler.handle_batch(&messages(["1", "\"bad\"", "3"]));
    assert!(outcomes[0].is_ok() && outcomes[2].is_ok(), "{outcomes:?}");
    assert_eq!(failed(outcomes.remove(1)), "3");
    assert_eq!(failed(handler.handle(&message("\"bad\""))), "1", "one message is an array, too");
    assert!(handler.handle_batch(&[]).is_empty());
}

#[test]
fn one_that_dies_in_a_batch_fails_the_message_that_it_was_at() {
    let mut handler = obedient(60_000, 10);
    let not_reached = |outcome: &Result<(), Failure>| {
        matches!(outcome, Err(Failure::TryLater { wait: Some(Duration::ZERO), cause })
            if cause.message == "the handler ended before it came to this message of its batch")
    };
    let killers = [
        (r#"{"exit": 3}"#, "exit status: 3"),
        (r#"{"signal": 9}"#, "signal: 9"),
        (r#"{"write": "hola\n"}"#, "no answer"),
        (r#"{"answer": {"id": "1"}, "end": "\n{\"id\":\"0\",\"ok\":true}\n"}"#, "id"),
    ];
    for (killer, why) in killers {
        let mut outcomes = handler.handle_batch(&messages(["1", killer, "3", "4"]));
        assert!(outcomes[0].is_ok() && outcomes[2..].iter().all(not_reached), "{killer}: {outcomes:?}");
        match outcomes.remove(1) {
            Err(Failure::WorkerDied(cause) | Failure::Failed(cause)) => {
                assert!(cause.message.contains(why), "{cause}");
            }
            other => panic!("{killer}: {other:?}"),
        }
    }
}

#[test]
fn an_id_that_is_answered_twice_ends_the_process() {
    let mut handler = obedient(60_000, 3);
    let twice = r#"{"end": "\n{\"id\":\"1\",\"ok\":true}\n"}"#;
    let mut outcomes = handler.handle_batch(&messages([twice, "2"]));
    assert!(outcomes[0].is_ok());
    let error = failed(outcomes.remove(1));
    assert!(error.starts_with("the handler was killed: it answered to an id twice: "), "{error}");
}

#[test]
fn a_stop_waits_for_the_answer_and_then_for_the_end_of_the_process() {
    let stop = Stop::new();
    let command = settings(&["python3", "-c", OBEDIENT], 60_000, 1);
    let mut handler = LinesHandler::new(&command, &stop).unwrap();
    let (begun, go) = (unique_path(), unique_path());
    let value = format!(r#"{{"touch": {begun:?}, "until": {go:?}}}"#);
    let process = process_of(&mut handler);
    thread::scope(|scope| {
        let working = scope.spawn(|| {
            let outcome = handler.handle(&message(&value));
            drop(handler);
            outcome
        });
        eventually("it has begun", || begun.exists());
        stop.ask();
        std::fs::write(&go, "").unwrap();
        working.join().unwrap().unwrap();
    });
    assert!(!is_running(&process), "it is waited for");
    for file in [begun, go] {
        std::fs::remove_file(file).unwrap();
    }
}

#[test]
fn one_that_does_not_answer_before_the_consumer_has_to_stop_is_interrupted() {
    let stop = Stop::new();
    let signal = StopSignal::of(&stop).unwrap();
    let program = Program::find(program::SETTING, &["sleep", "600"].map(str::to_owned)).unwrap();
    for asked_before in [false, true] {
        let mut process = KeptProcess::start(&program, &HandlerStderr::start().unwrap()).unwrap();
        let (tell, told) = mpsc::channel();
        thread::scope(|scope| {
            scope.spawn(|| {
                let mut limits = Limits::new(&signal, PATIENCE * 2, Duration::from_millis(100));
                let outcome = process.exchange(b"1\n", &mut limits, |_| Ok(true));
                tell.send(matches!(outcome, Err(Trouble::Interrupted))).unwrap();
                process.kill();
            });
            assert!(asked_before || told.recv_timeout(Duration::from_millis(300)).is_err());
            stop.ask();
            assert!(told.recv_timeout(PATIENCE).unwrap());
        });
    }
}

#[test]
fn one_that_does_not_end_when_its_input_does_is_killed_with_what_it_started() {
    let mut handler = sh(r#"read -r line; echo '{"id":"1","ok":true}'; sleep 600 & wait; sleep 600"#);
    handler.handle(&message("1")).unwrap();
    let process = handler.process.as_ref().unwrap().id().to_string();
    let begun = Instant::now();
    drop(handler);
    assert!(begun.elapsed() >= END_GRACE && !is_running(&process));
}

#[test]
fn clones_on_many_threads_have_a_process_each() {
    let echo =
        r#"while read -r line; do id=${line#*'"id":"'}; echo '{"ok":true,"id":"'${id%%'"'*}'"}'; done"#;
    let one = sh(echo);
    let processes: Vec<u32> = thread::scope(|scope| {
        let workers = (0..16).map(|_| {
            let mut handler = one.clone();
            scope.spawn(move || {
                (0..50).for_each(|_| handler.handle(&message("1")).unwrap());
                handler.process.as_ref().unwrap().id()
            })
        });
        let workers: Vec<_> = workers.collect();
        workers.into_iter().map(|worker| worker.join().unwrap()).collect()
    });
    assert_eq!(processes.iter().collect::<std::collections::BTreeSet<_>>().len(), 16);
    assert!(!processes.iter().any(|process| is_running(&process.to_string())), "each is waited for");
}

#[test]
fn a_handler_prints_nothing_but_that_its_consumer_waits() {
    let kept = testing::Kept::default();
    let mut handler = sh(r#"read -r line; echo '{"id":"1","ok":true}'"#).printing_to(kept.clone());
    handler.joined().unwrap();
    handler.handle(&message("1")).unwrap();
    assert_eq!(kept.take(), print_handler::WAITING);
}

/// `cargo test --release --lib lines_handler -- --ignored --nocapture`
#[test]
#[ignore = "a measurement, for a release build"]
fn how_many_messages_a_second_a_handler_without_work_does() {
    let program = r#"
import json, sys
for line in sys.stdin:
    record = json.loads(line)
    print('{"id":"%s","ok":true}' % record["id"], flush=True)
"#;
    let rate = |handler: &mut dyn Handler, count: usize| {
        handler.handle(&message("1")).unwrap();
        let begun = Instant::now();
        for _ in 0..count {
            handler.handle(&message(r#"{"id":1,"contenido":"Hola desde Kafka"}"#)).unwrap();
        }
        count as f64 / begun.elapsed().as_secs_f64()
    };
    // The interpreter itself: a script that looks for it would count for each process.
    let found = Command::new("python3").args(["-c", "import sys; print(sys.executable)"]).output().unwrap();
    let python = String::from_utf8(found.stdout).unwrap();
    let command = |program| settings(&[python.trim(), "-c", program], 60_000, 1);
    let mut kept = LinesHandler::new(&command(program), &Stop::new()).unwrap();
    let each = command("import json, sys; json.load(sys.stdin)");
    let mut each = crate::consumer::process_handler::ProcessHandler::new(&each, Stop::new()).unwrap();
    for _ in 0..3 {
        let (kept, each) = (rate(&mut kept, 50_000), rate(&mut each, 50));
        println!("kept: {kept:.0}/s; a process for each: {each:.0}/s; {:.0} times", kept / each);
    }
}
