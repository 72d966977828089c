//! Receipts that are shown to another endpoint than the one that gave them.

use std::net::{SocketAddr, TcpStream};
use std::time::Instant;

use point_to_point::users::Right;
use serde_json::{Value, json};
use testing::certificates::{Authority, put};
use tls::{Connector, ConnectorSettings, Stream};

use super::scene::{Message, Scene, Worker, messages};
use crate::front_door::users::UsersFile;
use crate::support::http::{Answer, Connection, RawClient};
use crate::support::program::{Program, Start};
use crate::support::watchdog::Folder;
use crate::support::{EMBEDDED, NEWEST, PATIENCE, eventually, run_on};

run_on! {
    mod kafka_4_3 on NEWEST {
        what_one_endpoint_gave_is_ended_through_another,
        a_list_of_receipts_of_several_endpoints_is_answered_in_its_order,
        receipts_of_a_killed_endpoint_are_late_once_others_have_its_messages,
    }
    mod embedded on EMBEDDED {
        what_one_endpoint_gave_is_ended_through_another,
        a_list_of_receipts_of_several_endpoints_is_answered_in_its_order,
        receipts_of_a_killed_endpoint_are_late_once_others_have_its_messages,
        receipts_of_an_endpoint_that_has_left_are_late,
        a_frozen_endpoint_is_a_time_out_and_what_was_said_comes_true_afterwards,
        what_was_forwarded_goes_no_further,
        an_address_that_is_wrong_is_told_and_changes_nothing,
        users_act_at_each_endpoint_with_their_own_rights,
        receipts_are_forwarded_over_tls_to_whom_the_certificate_names,
    }
}

/// The status of each receipt.
fn statuses(answer: &Answer) -> Vec<i64> {
    let answer = answer.json();
    let results = answer["results"].as_array().unwrap_or_else(|| panic!("no results: {answer}"));
    results.iter().map(|result| result["status"].as_i64().expect("a status")).collect()
}

/// What is said of the only receipt.
fn error(answer: &Answer) -> String {
    answer.json()["results"][0]["error"].as_str().unwrap_or_default().to_owned()
}

fn receive(worker: &mut Worker, count: usize) -> Vec<Message> {
    let mut received = Vec::new();
    eventually(&format!("{count} messages"), PATIENCE, || {
        received.extend(worker.receive(&format!("max={}&wait_ms=1000", count - received.len())));
        (received.len() >= count).then_some(())
    });
    received
}

fn what_one_endpoint_gave_is_ended_through_another(version: &'static str) {
    let scene = Scene::new(version, 1);
    scene.produce(3);
    let (one, other) = (scene.endpoint(), scene.endpoint());
    let (mut near, mut far) = (Worker::of(&one), Worker::of(&other));
    let received = receive(&mut near, 3);
    let answer = far.settle("confirmar", &[received[0].receipt()], &json!({}));
    let result = json!({"receipt": received[0].receipt(), "status": 200, "error": null});
    assert_eq!((answer.status, answer.json()), (200, json!({ "results": [result] })));
    let committed = scene.kafka.assistant().committed(&scene.group, &scene.topic);
    assert_eq!(committed.get(&0), Some(&1), "it was committed before the answer");
    assert_eq!(far.acknowledge(&received[0]), 200, "the same again is the same");
    assert_eq!(far.give_back(&received[0], &json!({})), 409, "but it cannot be given back any more");
    let why = json!({"error": "not here", "delay_ms": 0});
    assert_eq!(far.give_back(&received[1], &why), 200);
    let again = near.receive_one();
    assert_eq!((again.place(), again.attempt()), (received[1].place(), 2));
    let longer = far.settle("prorrogar", &[received[2].receipt()], &json!({"lease_ms": 60_000}));
    assert_eq!(longer.status, 200, "{longer:?}");
    // A worker names the topic, the group, both, or none of them.
    let body = json!({"receipts": [again.receipt()]}).to_string();
    let path = format!("/queues/{}/ack?group={}", scene.topic, scene.group);
    assert_eq!(far.post(&path, &body).status, 200);
    assert_eq!(far.post("/confirmar?group=other", &body).status, 404, "it is another group's");
    assert_eq!(far.give_back(&received[2], &json!({"dead": true})), 200);
    scene.wait_for_commits();
    assert_eq!(scene.dead_letters().len(), 1);
}

fn a_list_of_receipts_of_several_endpoints_is_answered_in_its_order(version: &'static str) {
    let scene = Scene::new(version, 2);
    let (one, other) = (scene.endpoint(), scene.endpoint());
    let (mut near, mut far) = (Worker::of(&one), Worker::of(&other));
    assert!(near.receive("").is_empty() && far.receive("").is_empty());
    scene.kafka.assistant().wait_for_members(&scene.group, &["producer_api"; 2], 1);
    for partition in [0, 0, 0, 1, 1, 1] {
        scene.kafka.assistant().put(&scene.topic, partition, None, Some(b"1"));
    }
    let (ours, theirs) = (receive(&mut near, 3), receive(&mut far, 3));
    let mut made_up = theirs[0].receipt().to_owned();
    made_up.replace_range(made_up.len() - 4.., "AAAA");
    let mixed = [ours[0].receipt(), made_up.as_str(), theirs[0].receipt(), "no receipt", ours[1].receipt()];
    let answer = near.settle("confirmar", &mixed, &json!({}));
    assert_eq!((answer.status, statuses(&answer)), (207, vec![200, 404, 200, 404, 200]));
    let receipts: Vec<String> = answer.json()["results"]
        .as_array()
        .unwrap()
        .iter()
        .map(|result| result["receipt"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(receipts, mixed);
    // A third one has given none of them.
    let third = scene.endpoint();
    let mut all: Vec<&str> = ours[2..].iter().chain(&theirs[1..]).map(Message::receipt).collect();
    all.extend([ours[0].receipt(), theirs[0].receipt()]);
    let answer = Worker::of(&third).settle("confirmar", &all, &json!({}));
    assert_eq!((answer.status, statuses(&answer)), (200, vec![200; all.len()]));
    let late = near.settle("devolver", &[ours[0].receipt(), theirs[0].receipt()], &json!({}));
    assert_eq!((late.status, statuses(&late)), (409, vec![409, 409]));
}

fn receipts_of_a_killed_endpoint_are_late_once_others_have_its_messages(version: &'static str) {
    let scene = Scene::new(version, 1);
    scene.produce(2);
    let start = || scene.start().set("consumer.session_timeout_ms", "6000");
    let (one, other) = (Program::producer_with(start()), Program::producer_with(start()));
    let received = receive(&mut Worker::of(&one), 2);
    let mut far = Worker::of(&other);
    assert_eq!(far.acknowledge(&received[0]), 200);
    one.signal("KILL");
    let mut before = 0;
    eventually("it is gone", PATIENCE, || match far.acknowledge(&received[1]) {
        409 => Some(()),
        status => {
            assert_eq!(status, 504, "its member is there, and does not answer");
            before += 1;
            None
        }
    });
    assert!(before > 0, "it was said to be gone while its member was there");
    let again = far.receive_one();
    assert_eq!((again.place(), again.attempt()), (received[1].place(), 1));
    assert_eq!(far.acknowledge(&received[1]), 409, "the old receipt is nothing to the new lease");
    assert_eq!(far.acknowledge(&again), 200);
    scene.wait_for_commits();
}

fn receipts_of_an_endpoint_that_has_left_are_late(version: &'static str) {
    let scene = Scene::new(version, 1);
    scene.produce(1);
    let (mut one, other) = (scene.endpoint(), scene.endpoint());
    let message = Worker::of(&one).receive_one();
    one.stop();
    let mut far = Worker::of(&other);
    assert_eq!(far.acknowledge(&message), 409);
    let again = far.receive_one();
    assert_eq!((again.place(), again.attempt()), (message.place(), 1));
}

fn a_frozen_endpoint_is_a_time_out_and_what_was_said_comes_true_afterwards(version: &'static str) {
    let scene = Scene::new(version, 1);
    scene.produce(2);
    let start = || scene.start().set("consumer.session_timeout_ms", "30000");
    let (one, other) = (Program::producer_with(start()), Program::producer_with(start()));
    let received = receive(&mut Worker::of(&one), 2);
    let mut far = Worker::of(&other);
    // There is a connection already, and an address that is known.
    assert_eq!(far.acknowledge(&received[0]), 200);
    one.signal("STOP");
    let answer = far.settle("confirmar", &[received[1].receipt()], &json!({}));
    assert_eq!((answer.status, statuses(&answer)), (504, vec![504]));
    assert!(error(&answer).contains(&one.address().to_string()), "{}", error(&answer));
    one.signal("CONT");
    // It has the request, and does what it says.
    scene.wait_for_commits();
    assert_eq!(far.acknowledge(&received[1]), 200);
}

fn what_was_forwarded_goes_no_further(version: &'static str) {
    let scene = Scene::new(version, 1);
    scene.produce(1);
    let (one, other) = (scene.endpoint(), scene.endpoint());
    let message = Worker::of(&one).receive_one();
    let body = json!({"receipts": [message.receipt()]}).to_string();
    let marked = |endpoint: &Program| {
        let mut connection = Connection::open(endpoint.address()).unwrap();
        connection.post_with("/confirmar", "Point-To-Point-Forwarded: 1\r\n", body.as_bytes()).unwrap()
    };
    let answer = marked(&other);
    assert_eq!((answer.status, statuses(&answer)), (421, vec![421]));
    assert_eq!(
        scene.kafka.assistant().committed(&scene.group, &scene.topic).get(&0).copied().unwrap_or(0),
        0
    );
    let answer = marked(&one);
    assert_eq!((answer.status, statuses(&answer)), (200, vec![200]), "the one that gave it needs no other");
}

fn an_address_that_is_wrong_is_told_and_changes_nothing(version: &'static str) {
    let scene = Scene::new(version, 1);
    scene.produce(1);
    let (other, third) = (scene.endpoint(), scene.endpoint());
    // The address of the one that is asked, and that of one that is a stranger to the receipt.
    for wrong in [other.address(), third.address()] {
        let start = scene.start().set("producer_api.advertised", &wrong.to_string());
        let mut one = Program::producer_with(start);
        let message = Worker::of(&one).receive_one();
        let answer = Worker::of(&other).settle("confirmar", &[message.receipt()], &json!({}));
        assert_eq!((answer.status, statuses(&answer)), (504, vec![504]));
        let why = error(&answer);
        assert!(why.contains("producer_api.advertised") && why.contains(&wrong.to_string()), "{why}");
        let longer = Worker::of(&one).settle("prorrogar", &[message.receipt()], &json!({}));
        assert_eq!(longer.status, 200, "the lease is as it was");
        one.stop();
    }
    let start = scene.start().set("producer_api.anyone_may_send", "true");
    let one = Program::producer_with_at(start, "0.0.0.0");
    let message = Worker::of(&one).receive_one();
    one.wait_for_log(&["WARN", "producer_api.advertised"], PATIENCE);
    let answer = Worker::of(&other).settle("confirmar", &[message.receipt()], &json!({}));
    assert_eq!((answer.status, statuses(&answer)), (503, vec![503]));
    assert!(error(&answer).contains("producer_api.advertised"), "{}", error(&answer));
    assert_eq!(Worker::of(&one).acknowledge(&message), 200);
}

fn users_act_at_each_endpoint_with_their_own_rights(version: &'static str) {
    let scene = Scene::new(version, 1);
    scene.produce(1);
    let (at_one, at_other) = (UsersFile::new(), UsersFile::new());
    let start = |file: &UsersFile| {
        Program::producer_with(
            scene.start().set("producer_api.users_file", &file.path().display().to_string()),
        )
    };
    let ana = at_one.add("ana", &[Right::Receive], &[], Some("una contraseña larga"));
    let known_there_alone = at_other.add("bea", &[Right::Receive], &[], None);
    let may_only_send = at_other.add("leo", &[Right::Send], &[], None);
    // They share the file of users, but for those two.
    let entries = std::fs::read_to_string(at_one.path()).unwrap();
    let shared = std::fs::read_to_string(at_other.path()).unwrap() + &entries;
    crate::support::authority::write_secret(&at_other.path(), &shared);
    let (one, other) = (start(&at_one), start(&at_other));
    let ask = |endpoint: &Program, path: &str, authorization: &str, body: &str| {
        let line = if authorization.is_empty() {
            String::new()
        } else {
            format!("Authorization: {authorization}\r\n")
        };
        let mut connection = Connection::open(endpoint.address()).unwrap();
        connection.post_with(path, &line, body.as_bytes()).unwrap()
    };
    let received = messages(&ask(&one, "/recibir?wait_ms=60000", &ana, ""));
    let body = json!({"receipts": [received[0].receipt()]}).to_string();
    let refused = |authorization: &str| ask(&other, "/confirmar", authorization, &body);
    assert_eq!(refused("").status, 401);
    let denied = refused(&may_only_send);
    assert_eq!((denied.status, &denied.json()["error"]["code"]), (403, &json!("missing_right")));
    // The endpoint that gave it does not know her, and nobody else's name is shown to it.
    let stranger = refused(&known_there_alone);
    assert_eq!((stranger.status, statuses(&stranger)), (401, vec![401]), "{stranger:?}");
    assert!(error(&stranger).contains(&one.address().to_string()), "{}", error(&stranger));
    let committed = || scene.kafka.assistant().committed(&scene.group, &scene.topic);
    assert_eq!(committed().get(&0).copied().unwrap_or(0), 0);
    let answer = ask(&other, "/confirmar", &ana, &body);
    assert_eq!((answer.status, statuses(&answer)), (200, vec![200]));
    assert_eq!(committed().get(&0), Some(&1));
    let basic = {
        use base64::Engine;
        let words = base64::engine::general_purpose::STANDARD.encode("ana:una contraseña larga");
        format!("Basic {words}")
    };
    assert_eq!(ask(&other, "/confirmar", &basic, &body).status, 200, "a password goes along as well");
}

/// A worker that speaks TLS.
struct Secure(RawClient<Stream>);

impl Secure {
    fn at(address: SocketAddr, connector: &Connector) -> Secure {
        let socket = TcpStream::connect(address).expect("it listens");
        socket.set_read_timeout(Some(PATIENCE)).expect("a limit");
        let stream = connector.connect(socket, "localhost", Instant::now() + PATIENCE);
        Secure(RawClient::new(stream.unwrap_or_else(|error| panic!("a handshake: {error}"))))
    }

    fn post(&mut self, path: &str, body: &Value) -> Answer {
        use std::io::Write;
        let body = body.to_string();
        let head =
            format!("POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n", body.len());
        self.0.stream.write_all((head + &body).as_bytes()).expect("it reads");
        self.0.read_answer().expect("an answer")
    }
}

fn receipts_are_forwarded_over_tls_to_whom_the_certificate_names(version: &'static str) {
    let scene = Scene::new(version, 1);
    scene.produce(2);
    let (folder, authority) = (Folder::new("forwarding"), Authority::new("endpoints"));
    let ca = put(folder.path(), "ca.pem", &authority.pem);
    let start = |name: &str, names: &[&str]| -> Start {
        let identity = authority.issue(names);
        let chain = format!("{}{}", identity.certificate, authority.pem);
        let file = |kind: &str, text: &str| {
            put(folder.path(), &format!("{name}-{kind}.pem"), text).display().to_string()
        };
        scene
            .start()
            .set("producer_api.tls_certificate", &file("chain", &chain))
            .set("producer_api.tls_key", &file("key", &identity.key))
    };
    let connector = Connector::new(ConnectorSettings { ca: Some(ca), ..ConnectorSettings::default() });
    let connector = connector.expect("good settings");
    // The one is reached by its address, which its certificate has, and by a name, which it has not.
    let names = ["localhost", "127.0.0.1"];
    let one = Program::producer_with(start("one", &names));
    let other = Program::producer_with(start("other", &names));
    let mut far = Secure::at(other.address(), &connector);
    let mut near = Secure::at(one.address(), &connector);
    let message = messages(&near.post("/recibir?wait_ms=60000", &json!({}))).remove(0);
    let answer = far.post("/confirmar", &json!({"receipts": [message.receipt()]}));
    assert_eq!((answer.status, statuses(&answer)), (200, vec![200]), "{answer:?}");
    drop((near, one));
    let one = Program::producer_with(start("one", &["localhost"]));
    let mut near = Secure::at(one.address(), &connector);
    let message = messages(&near.post("/recibir?wait_ms=60000", &json!({}))).remove(0);
    let answer = far.post("/confirmar", &json!({"receipts": [message.receipt()]}));
    assert_eq!((answer.status, statuses(&answer)), (504, vec![504]), "{answer:?}");
    assert!(error(&answer).contains("certificate"), "{}", error(&answer));
    let answer = near.post("/confirmar", &json!({"receipts": [message.receipt()]}));
    assert_eq!(answer.status, 200);
}
