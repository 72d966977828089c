//! Workers that receive messages over HTTP, with leases: order, leases that run out, what is given back, and
//! endpoints that stop or die.

mod chaos;
mod forwarding;
mod rebalance;
pub mod scene;
mod shown;
mod unserved;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::kept_handlers::{built_by_go, found};
use crate::support::http::{Connection, post};
use crate::support::program::{Program, Start};
use crate::support::watchdog::Folder;
use crate::support::{EMBEDDED, NEWEST, PATIENCE, eventually, run_on};
use rebalance::{
    a_rebalance_waits_for_the_leases_and_nothing_is_handed_out_twice,
    leases_that_last_longer_than_a_rebalance_waits_end_with_409,
};
use scene::{Message, Scene, Worker, messages};
use shown::{
    a_scrape_tells_what_workers_have_and_did_of_each_open_queue, what_is_no_json_is_told_as_no_workers,
};
use unserved::workers_hear_why_their_group_cannot_be_joined_until_it_can;

run_on! {
    mod kafka_4_3 on NEWEST {
        a_message_is_received_once_and_acknowledged_when_it_is_committed,
        a_lease_that_runs_out_gives_the_message_to_another_and_the_late_answer_changes_nothing,
        leases_of_a_killed_endpoint_come_to_another_one_without_an_attempt,
        a_rebalance_waits_for_the_leases_and_nothing_is_handed_out_twice,
        leases_that_last_longer_than_a_rebalance_waits_end_with_409,
        a_dead_letter_of_any_topic_goes_to_its_own,
        messages_of_kafkas_own_topics_are_not_handed_out,
        a_scrape_tells_what_workers_have_and_did_of_each_open_queue,
        workers_hear_why_their_group_cannot_be_joined_until_it_can,
        many_workers_get_each_message_once_and_each_key_in_order as HEAVY,
    }
    mod embedded on EMBEDDED {
        a_message_is_received_once_and_acknowledged_when_it_is_committed,
        messages_of_a_key_come_one_after_the_other,
        a_lease_that_runs_out_gives_the_message_to_another_and_the_late_answer_changes_nothing,
        a_lease_can_be_extended,
        a_worker_that_leaves_while_it_waits_gets_no_message_and_costs_no_attempt,
        what_is_given_back_is_tried_again_and_becomes_a_dead_letter,
        a_receive_waits_for_a_message_longer_than_answers_may_take,
        requests_that_are_wrong_are_refused_with_what_is_known,
        receipts_of_others_and_made_up_ones_change_nothing,
        the_worker_in_sh_handles_messages,
        the_worker_in_python_handles_messages,
        the_worker_for_node_handles_messages_where_node_is_found,
        the_worker_in_go_handles_messages_where_go_is_found,
        what_is_no_json_becomes_a_dead_letter_or_is_received_in_base64,
        any_topic_and_group_can_be_received_from_up_to_the_limits,
        a_dead_letter_of_any_topic_goes_to_its_own,
        a_group_is_left_when_nobody_receives,
        a_scrape_tells_what_workers_have_and_did_of_each_open_queue,
        workers_hear_why_their_group_cannot_be_joined_until_it_can,
        what_is_no_json_is_told_as_no_workers,
        a_stop_answers_who_waits_and_gives_leases_back_without_an_attempt,
        leases_of_a_killed_endpoint_come_to_another_one_without_an_attempt,
        a_rebalance_waits_for_the_leases_and_nothing_is_handed_out_twice,
        leases_that_last_longer_than_a_rebalance_waits_end_with_409,
        many_workers_get_each_message_once_and_each_key_in_order as HEAVY,
    }
}

fn a_message_is_received_once_and_acknowledged_when_it_is_committed(version: &'static str) {
    let scene = Scene::new(version, 1);
    let endpoint = scene.endpoint();
    let mut worker = Worker::of(&endpoint);
    assert_eq!(endpoint.post("/enviar?key=k1", "{\"id\": 1}").status, 200);
    let message = worker.receive_one();
    let fields: Vec<&String> = message.0.as_object().unwrap().keys().collect();
    assert_eq!(fields.len(), 10, "{fields:?}");
    assert_eq!(message.0["topic"], json!(scene.topic));
    assert_eq!((message.place(), message.attempt()), ((0, 0), 1));
    let said = [("key", json!("k1")), ("encoding", json!("json")), ("value", json!({"id": 1}))];
    for (name, value) in said {
        assert_eq!(message.0[name], value, "{name}");
    }
    assert!(worker.receive("").is_empty(), "it is handed out once");
    let answer = worker.settle("confirmar", &[message.receipt()], &json!({}));
    let result = json!({"receipt": message.receipt(), "status": 200, "error": null});
    assert_eq!((answer.status, answer.json()), (200, json!({ "results": [result] })));
    let committed = scene.kafka.assistant().committed(&scene.group, &scene.topic);
    assert_eq!(committed.get(&0), Some(&1), "it was committed before the answer");
    assert_eq!(worker.acknowledge(&message), 200, "the same again is the same");
    assert_eq!(worker.give_back(&message, &json!({})), 409, "but it cannot be given back any more");
    assert!(worker.receive("wait_ms=300").is_empty());
}

fn messages_of_a_key_come_one_after_the_other(version: &'static str) {
    let scene = Scene::new(version, 1);
    for (key, value) in [(Some("a"), "0"), (Some("a"), "1"), (Some("b"), "2"), (None, "3"), (None, "4")] {
        scene.put(key, value);
    }
    let endpoint = scene.endpoint();
    let mut worker = Worker::of(&endpoint);
    let mut received = Vec::new();
    eventually("all but the second of a key", PATIENCE, || {
        received.extend(worker.receive("max=10&wait_ms=1000"));
        (received.len() >= 4).then_some(())
    });
    let values: Vec<i64> = received.iter().map(|message| message.value().as_i64().unwrap()).collect();
    assert_eq!(values, [0, 2, 3, 4]);
    assert!(worker.receive("max=10&wait_ms=200").is_empty());
    assert_eq!(worker.give_back(&received[0], &json!({"delay_ms": 0})), 200);
    let again = worker.receive_one();
    assert_eq!(
        (again.value(), again.attempt()),
        (&json!(0), 2),
        "the failed one comes before those behind it"
    );
    assert_eq!(worker.acknowledge(&again), 200);
    let next = worker.receive_one();
    assert_eq!(next.value(), &json!(1));
    let rest: Vec<&str> = received[1..].iter().chain([&next]).map(Message::receipt).collect();
    assert_eq!(worker.settle("confirmar", &rest, &json!({})).status, 200);
    scene.wait_for_commits();
}

fn a_lease_that_runs_out_gives_the_message_to_another_and_the_late_answer_changes_nothing(
    version: &'static str,
) {
    let scene = Scene::new(version, 1);
    scene.put(Some("k"), "1");
    let endpoint = scene.endpoint();
    let (mut slow, mut other) = (Worker::of(&endpoint), Worker::of(&endpoint));
    let mut late = slow.receive("wait_ms=60000&lease_ms=1000");
    let late = late.remove(0);
    let again = other.receive_one();
    assert_eq!((again.place(), again.attempt()), (late.place(), 2));
    for action in ["confirmar", "devolver", "prorrogar"] {
        let answer = slow.settle(action, &[late.receipt()], &json!({}));
        assert_eq!(answer.status, 409, "{action}: {answer:?}");
    }
    let both = slow.settle("confirmar", &[late.receipt(), again.receipt()], &json!({}));
    assert_eq!(both.status, 207, "{both:?}");
    let statuses: Vec<i64> = both.json()["results"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["status"].as_i64().unwrap())
        .collect();
    assert_eq!(statuses, [409, 200]);
    scene.wait_for_commits();
    assert!(scene.has_no_dead_letters());
}

fn a_lease_can_be_extended(version: &'static str) {
    let scene = Scene::new(version, 1);
    scene.put(None, "1");
    let endpoint = scene.endpoint();
    let mut worker = Worker::of(&endpoint);
    let message = worker.receive("wait_ms=60000&lease_ms=1000").remove(0);
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_millis(2_500) {
        let answer = worker.settle("prorrogar", &[message.receipt()], &json!({"lease_ms": 60_000}));
        assert_eq!(answer.status, 200, "{answer:?}");
        assert!(worker.receive("wait_ms=300").is_empty(), "nobody else gets it");
    }
    assert_eq!(worker.acknowledge(&message), 200);
}

fn what_is_given_back_is_tried_again_and_becomes_a_dead_letter(version: &'static str) {
    let scene = Scene::new(version, 1);
    for value in ["\"retried\"", "\"dead\""] {
        scene.put(None, value);
    }
    let endpoint = scene.endpoint();
    let mut worker = Worker::of(&endpoint);
    let mut attempts = Vec::new();
    // Three attempts at the one; the other is dead at once.
    while attempts.len() < 4 {
        let message = worker.receive_one();
        let is_dead = message.value() == &json!("dead");
        let why = json!({"error": format!("no {}", attempts.len()), "dead": is_dead});
        assert_eq!(worker.give_back(&message, &why), 200);
        attempts.push((message.value().clone(), message.attempt()));
    }
    scene.wait_for_commits();
    let mut of_one: Vec<u64> =
        attempts.iter().filter(|(value, _)| value == "retried").map(|(_, attempt)| *attempt).collect();
    of_one.sort_unstable();
    assert_eq!(of_one, [1, 2, 3]);
    let letters = scene.dead_letters();
    assert_eq!(letters.len(), 2);
    for letter in &letters {
        let why = String::from_utf8_lossy(letter.header("kafka_dlt-exception-message").unwrap_or_default());
        assert!(why.starts_with("no "), "{why}");
    }
    assert!(worker.receive("wait_ms=200").is_empty());
}

fn a_receive_waits_for_a_message_longer_than_answers_may_take(version: &'static str) {
    let scene = Scene::new(version, 1);
    let endpoint = Program::producer_with(scene.start().set("producer_api.answer_timeout_ms", "2000"));
    let mut worker = Worker::of(&endpoint);
    let begun = Instant::now();
    assert!(worker.receive("wait_ms=4000").is_empty());
    assert!(begun.elapsed() >= Duration::from_secs(4));
    let address = endpoint.address();
    let waiting = thread::spawn(move || Worker::at(address).receive_one());
    // It waits, or comes later: either way it gets the message.
    assert_eq!(endpoint.post("/enviar", "7").status, 200);
    assert_eq!(waiting.join().unwrap().value(), &json!(7));
}

fn a_worker_that_leaves_while_it_waits_gets_no_message_and_costs_no_attempt(version: &'static str) {
    let scene = Scene::new(version, 1);
    let endpoint = Program::producer_with(scene.start().set("retry.max_attempts", "1"));
    let waiting = |count: usize| {
        let metrics = Connection::open(endpoint.address()).and_then(|mut client| client.get("/metrics"));
        let text = String::from_utf8(metrics.expect("metrics").body).expect("text");
        let told = |line: &&str| line.contains("receives_waiting{") && line.ends_with(&format!(" {count}"));
        text.lines().find(told).map(drop)
    };
    let request =
        "POST /recibir?wait_ms=60000&lease_ms=300000 HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n";
    let leaving: Vec<Connection> = (0..8)
        .map(|_| {
            let mut connection = Connection::open(endpoint.address()).expect("a connection");
            connection.send(request.as_bytes());
            connection
        })
        .collect();
    eventually("they wait", PATIENCE, || waiting(8));
    drop(leaving);
    scene.put(None, "7");
    let mut worker = Worker::of(&endpoint);
    let message = worker.receive_one();
    assert_eq!((message.value(), message.attempt()), (&json!(7), 1));
    assert_eq!(worker.acknowledge(&message), 200);
    eventually("none of them waits any more", PATIENCE, || waiting(0));
    assert!(scene.has_no_dead_letters());
}

fn requests_that_are_wrong_are_refused_with_what_is_known(version: &'static str) {
    let scene = Scene::new(version, 1);
    let endpoint = scene.endpoint();
    let mut worker = Worker::of(&endpoint);
    let receipt = "{\"receipts\":[\"x\"]}";
    for (path, body, status, said) in [
        ("/recibir?maximum=1", "", 400, "group, max, wait_ms, lease_ms"),
        ("/recibir?max=0", "", 400, "1 to 1000"),
        ("/recibir?max=1001", "", 400, "1 to 1000"),
        ("/recibir?wait_ms=60001", "", 400, "0 to 60000"),
        ("/recibir?lease_ms=999", "", 400, "1000 to 300000"),
        ("/recibir?max=1&max=2", "", 400, "more than once"),
        ("/recibir?group=", "", 400, "group"),
        ("/recibir", "{\"max\":1}", 400, "query"),
        ("/confirmar?max=1", receipt, 400, "group"),
        ("/confirmar", "", 400, "receipts"),
        ("/confirmar", "{\"receipts\":[]}", 400, "1 to 1000"),
        ("/confirmar", "{\"receipts\":[\"x\"],\"dead\":true}", 400, "dead"),
        ("/confirmar", receipt, 404, "no such receipt"),
        ("/devolver", "{\"receipts\":[\"x\"],\"delay_ms\":-1}", 400, "delay_ms"),
        ("/prorrogar", "{\"receipts\":[\"x\"],\"lease_ms\":1}", 400, "lease_ms"),
        ("/queues/no-existe/receive", "", 404, "no such topic"),
        ("/queues/..%2F/receive", "", 404, "topic"),
    ] {
        let answer = worker.post(path, body);
        let shown = String::from_utf8_lossy(&answer.body);
        assert_eq!(answer.status, status, "{path}: {shown}");
        assert!(shown.contains(said), "{path}: {shown}");
    }
    let none = scene.kafka.assistant().end_offsets("no-existe");
    assert_eq!(none, None, "a receive creates no topic");
}

fn messages_of_kafkas_own_topics_are_not_handed_out(version: &'static str) {
    let scene = Scene::new(version, 1);
    // A group that has committed: there is such a topic.
    scene.put(None, "1");
    let endpoint = scene.endpoint();
    let mut worker = Worker::of(&endpoint);
    let message = worker.receive_one();
    assert_eq!(worker.acknowledge(&message), 200);
    let answer = worker.post("/queues/__consumer_offsets/receive", "");
    assert_eq!((answer.status, &answer.json()["error"]["code"]), (403, &json!("internal_topic")));
}

fn receipts_of_others_and_made_up_ones_change_nothing(version: &'static str) {
    let (scene, other) = (Scene::new(version, 1), Scene::new(version, 1));
    scene.put(None, "1");
    let (endpoint, elsewhere) = (scene.endpoint(), other.endpoint());
    let mut worker = Worker::of(&endpoint);
    let message = worker.receive_one();
    let receipt = message.receipt();
    let body = json!({ "receipts": [receipt] }).to_string();
    let of_topic = format!("/queues/{}/ack", other.topic);
    assert_eq!(worker.post(&of_topic, &body).status, 404, "it is another topic's");
    assert_eq!(worker.post("/confirmar?group=other", &body).status, 404, "it is another group's");
    let path = "/confirmar";
    assert_eq!(post(elsewhere.address(), path, body.as_bytes()).unwrap().status, 404, "or there");
    for at in 0..receipt.len() {
        let changed: String = receipt
            .char_indices()
            .map(|(index, letter)| if index == at { if letter == 'A' { 'B' } else { 'A' } } else { letter })
            .collect();
        let status = worker.settle("confirmar", &[&changed], &json!({})).status;
        assert!([404, 409].contains(&status), "{changed}: {status}");
    }
    assert_eq!(worker.acknowledge(&message), 200);
}

fn what_is_no_json_becomes_a_dead_letter_or_is_received_in_base64(version: &'static str) {
    let scene = Scene::new(version, 1);
    for value in ["no JSON", "1"] {
        scene.put(None, value);
    }
    let endpoint = scene.endpoint();
    let mut worker = Worker::of(&endpoint);
    let message = worker.receive_one();
    assert_eq!(message.value(), &json!(1));
    assert_eq!(worker.acknowledge(&message), 200);
    scene.wait_for_commits();
    assert_eq!(scene.dead_letters().len(), 1);
    drop(endpoint);
    let any = Scene::new(version, 1);
    any.kafka.assistant().put(&any.topic, 0, Some(b"\xff"), Some(b"no JSON"));
    any.kafka.assistant().put(&any.topic, 0, Some(b"k"), None);
    let endpoint = Program::producer_with(any.start().set("consumer.payload", "any"));
    let mut worker = Worker::of(&endpoint);
    let (bytes, null) = (worker.receive_one(), worker.receive_one());
    assert_eq!((&bytes.0["encoding"], bytes.value()), (&json!("base64"), &json!("bm8gSlNPTg==")));
    assert_eq!(bytes.0["key_base64"], json!("/w=="));
    assert_eq!((&null.0["encoding"], null.value()), (&json!("null"), &json!(null)));
}

/// A worker of the examples handles two orders, and gives back what is none until it is a dead letter.
fn handles_orders(version: &'static str, command: Command) {
    let scene = Scene::new(version, 1);
    for value in ["{\"id\":1}", "{\"no\":2}", "{\"id\":3}"] {
        scene.put(None, value);
    }
    let endpoint = scene.endpoint();
    let mut command = command;
    command.arg(format!("http://{}", endpoint.address()));
    let worker = Start::command("worker", command).start();
    scene.wait_for_commits();
    assert_eq!(scene.dead_letters().len(), 1, "{:?} {:?}", worker.lines(), worker.log());
    for order in ["1", "3"] {
        eventually(&format!("it tells of order {order}"), PATIENCE, || {
            worker.lines().iter().any(|line| line.contains(order)).then_some(())
        });
    }
}

fn the_worker_in_sh_handles_messages(version: &'static str) {
    handles_orders(version, Command::new(worker_of("worker.sh")));
}

fn the_worker_in_python_handles_messages(version: &'static str) {
    handles_orders(version, Command::new(worker_of("worker.py")));
}

fn the_worker_for_node_handles_messages_where_node_is_found(version: &'static str) {
    if found("node", "--version").is_some() {
        handles_orders(version, Command::new(worker_of("worker.js")));
    }
}

fn the_worker_in_go_handles_messages_where_go_is_found(version: &'static str) {
    let folder = Folder::new("worker-in-go");
    if let Some(program) = built_by_go(&worker_of("worker.go"), &folder) {
        handles_orders(version, Command::new(program));
    }
}

fn worker_of(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/workers").join(name)
}

fn any_topic_and_group_can_be_received_from_up_to_the_limits(version: &'static str) {
    let (scene, other) = (Scene::new(version, 1), Scene::new(version, 1));
    for value in ["1", "2", "3"] {
        other.put(None, value);
    }
    let start = scene.start().set("queue.max_queues", "2").set("queue.max_leases", "3");
    let endpoint = Program::producer_with(start);
    let mut worker = Worker::of(&endpoint);
    let mut from = |group: &str, max: u32| {
        let path = format!("/queues/{}/receive?group={group}&max={max}&wait_ms=60000", other.topic);
        worker.post(&path, "{}")
    };
    let first = messages(&from("uno", 1));
    assert_eq!(first.len(), 1);
    let second = messages(&from("dos", 1));
    assert_eq!(first[0].place(), second[0].place(), "each group gets all");
    let third = from("tres", 1);
    assert_eq!((third.status, &third.json()["error"]["code"]), (503, &json!("too_many_queues")));
    let last = messages(&from("uno", 10));
    assert_eq!(last.len(), 1, "as many as the limit lets");
    let full = from("uno", 1);
    assert_eq!((full.status, &full.json()["error"]["code"]), (503, &json!("too_many_leases")));
    let counts = endpoint_get(&endpoint, &format!("/queues/{}?group=uno", other.topic));
    assert_eq!(counts["leased"], json!(2), "{counts}");
    assert_eq!((&counts["open"], &counts["receiving"]), (&json!(3), &json!(true)), "{counts}");
}

fn a_dead_letter_of_any_topic_goes_to_its_own(version: &'static str) {
    let (scene, other) = (Scene::new(version, 1), Scene::new(version, 1));
    other.put(None, "1");
    let endpoint = scene.endpoint();
    let mut worker = Worker::of(&endpoint);
    let path = |action: &str| format!("/queues/{}/{action}?group={}", other.topic, other.group);
    let received = messages(&worker.post(&format!("{}&wait_ms=60000", path("receive")), ""));
    let body = json!({"receipts": received[0].receipt(), "dead": true, "error": "no"}).to_string();
    assert_eq!(worker.post(&path("nack"), &body).status, 200);
    other.wait_for_commits();
    assert_eq!(other.dead_letters().len(), 1);
    assert!(scene.has_no_dead_letters());
}

fn endpoint_get(endpoint: &Program, path: &str) -> serde_json::Value {
    let mut connection = crate::support::http::Connection::open(endpoint.address()).unwrap();
    let answer = connection.get(path).unwrap();
    assert_eq!(answer.status, 200, "{path}");
    answer.json()
}

fn a_group_is_left_when_nobody_receives(version: &'static str) {
    let scene = Scene::new(version, 1);
    scene.put(None, "1");
    let endpoint = Program::producer_with(scene.start().set("queue.idle_ms", "1000"));
    let mut worker = Worker::of(&endpoint);
    let message = worker.receive_one();
    let members = || scene.kafka.assistant().group(&scene.group).names().len();
    assert_eq!(members(), 1);
    thread::sleep(Duration::from_millis(1_500));
    assert_eq!(members(), 1, "a message is handed out");
    assert_eq!(worker.acknowledge(&message), 200);
    eventually("it leaves", PATIENCE, || (members() == 0).then_some(()));
    assert_eq!(worker.acknowledge(&message), 409, "what it gave is forgotten");
    scene.put(None, "2");
    assert_eq!(worker.receive_one().value(), &json!(2), "and it comes back");
}

fn a_stop_answers_who_waits_and_gives_leases_back_without_an_attempt(version: &'static str) {
    let scene = Scene::new(version, 1);
    scene.put(Some("k"), "1");
    let mut endpoint = scene.endpoint();
    let mut worker = Worker::of(&endpoint);
    let message = worker.receive_one();
    let address = endpoint.address();
    let waiting = thread::spawn(move || Worker::at(address).receive("wait_ms=60000").len());
    eventually("it waits", PATIENCE, || {
        let counts = endpoint_get(&endpoint, &format!("/queues/{}", scene.topic));
        (counts["leased"] == json!(1)).then_some(())
    });
    let begun = Instant::now();
    endpoint.stop();
    assert_eq!(waiting.join().unwrap(), 0);
    assert!(begun.elapsed() < Duration::from_secs(30), "it did not wait for the minute");
    let next = scene.endpoint();
    let mut worker = Worker::of(&next);
    assert_eq!(worker.acknowledge(&message), 409);
    let again = worker.receive_one();
    assert_eq!((again.place(), again.attempt()), (message.place(), 1));
    assert_eq!(worker.acknowledge(&again), 200);
}

fn leases_of_a_killed_endpoint_come_to_another_one_without_an_attempt(version: &'static str) {
    const MESSAGES: usize = 20;
    let scene = Scene::new(version, 1);
    scene.produce(MESSAGES);
    let start = || scene.start().set("consumer.session_timeout_ms", "6000");
    let first = Program::producer_with(start());
    let mut worker = Worker::of(&first);
    let mut held = Vec::new();
    eventually("ten messages", PATIENCE, || {
        held.extend(worker.receive("max=10&wait_ms=1000"));
        (held.len() >= 10).then_some(())
    });
    assert_eq!(worker.acknowledge(&held[0]), 200);
    first.signal("KILL");
    let second = Program::producer_with(start());
    let mut worker = Worker::of(&second);
    let mut seen = BTreeMap::new();
    while seen.len() < MESSAGES - 1 {
        let received = worker.receive("max=100&wait_ms=60000");
        assert!(!received.is_empty(), "{} came", seen.len());
        for message in received {
            assert_eq!(message.attempt(), 1, "{message:?}");
            assert_eq!(worker.acknowledge(&message), 200);
            assert_eq!(seen.insert(message.place(), ()), None, "twice: {message:?}");
        }
    }
    assert!(!seen.contains_key(&held[0].place()), "what was acknowledged does not come again");
    scene.wait_for_commits();
}

fn many_workers_get_each_message_once_and_each_key_in_order(version: &'static str) {
    const MESSAGES: usize = 1_000;
    const WORKERS: usize = 32;
    let scene = Scene::new(version, 4);
    let assistant = scene.kafka.assistant();
    let endpoint = scene.endpoint();
    for number in 0..MESSAGES {
        let key = format!("key-{}", number % 97);
        assistant.put(
            &scene.topic,
            (number % 97 % 4) as i32,
            Some(key.as_bytes()),
            Some(number.to_string().as_bytes()),
        );
    }
    let handled = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for index in 0..WORKERS {
            let (handled, address) = (&handled, endpoint.address());
            scope.spawn(move || {
                let mut worker = Worker::at(address);
                while handled.lock().unwrap().len() < MESSAGES {
                    let received = worker.receive(&format!("max={}&wait_ms=200", 1 + index % 10));
                    for message in &received {
                        handled.lock().unwrap().push(message.clone());
                    }
                    let receipts: Vec<&str> = received.iter().map(Message::receipt).collect();
                    if !receipts.is_empty() {
                        assert_eq!(worker.settle("confirmar", &receipts, &json!({})).status, 200);
                    }
                }
            });
        }
    });
    let handled = handled.into_inner().unwrap();
    let mut by_key: BTreeMap<String, Vec<i64>> = BTreeMap::new();
    for message in &handled {
        assert_eq!(message.attempt(), 1);
        let key = message.0["key"].as_str().unwrap().to_owned();
        by_key.entry(key).or_default().push(message.value().as_i64().unwrap());
    }
    assert_eq!(handled.len(), MESSAGES, "each once");
    for (key, values) in by_key {
        assert!(values.is_sorted_by(|one, next| one < next), "{key}: {values:?}");
    }
    scene.wait_for_commits();
}
