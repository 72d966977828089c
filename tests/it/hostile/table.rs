//! Status for status, each a thousand times.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use super::Scene;
use super::rows::{self, End, LIMIT, Row};
use crate::support::http::{Answer, Connection};
use crate::support::kafka::Kafka;
use crate::support::load::numbers_of;
use crate::support::turn::{HEAVY, Turn};
use crate::support::{EMBEDDED, PATIENCE, eventually};

/// How often each row is tried.
const TIMES: usize = 1_000;

/// Checks what all error answers have in common.
fn check_error(answer: &Answer, row: &str) {
    let error = &answer.json()["error"];
    let (code, message) = (error["code"].as_str().unwrap_or_default(), error["message"].as_str());
    assert!(!code.is_empty() && message.is_some_and(|message| message.ends_with('.')), "{row}: {answer:?}");
    let names = answer.headers.iter().map(|(name, _)| name.as_str());
    let odd: Vec<_> = names.filter(|name| *name == "set-cookie").collect();
    assert!(odd.is_empty(), "{row}: a client's bytes are in {answer:?}");
    assert_eq!(answer.header("allow").is_some(), answer.status == 405, "{row}");
    assert_eq!(answer.header("retry-after").is_some(), answer.status == 503, "{row}");
}

/// Tries one row on a connection, which is opened anew where the last row has ended it.
fn attempt(address: SocketAddr, kept: &mut Option<Connection>, row: &Row) {
    let shown = String::from_utf8_lossy(&row.bytes[..row.bytes.len().min(120)]).into_owned();
    let mut connection =
        kept.take().unwrap_or_else(|| Connection::open(address).expect("the server accepts"));
    connection.send(&row.bytes);
    if row.end == End::CutShort {
        connection.half_close();
    }
    let answer = connection.answer().unwrap_or_else(|error| panic!("{shown:?}: {error}"));
    assert_eq!(answer.status, row.status, "{shown:?} was answered {answer:?}");
    check_error(&answer, &shown);
    let closes = answer.header("connection") == Some("close");
    assert_eq!(closes, row.end != End::Kept, "{shown:?}: {answer:?}");
    if !closes {
        *kept = Some(connection);
    }
}

#[test]
fn each_row_of_the_table_a_thousand_times_beside_good_traffic() {
    let _turn = Turn::wait(HEAVY);
    let kafka = Kafka::shared(EMBEDDED);
    let scene = Scene::start(kafka, |start| start.set("producer_api.max_body_bytes", &LIMIT.to_string()));
    let load = scene.good_traffic(4);
    let (rows, next) = (rows::all(), AtomicUsize::new(0));
    let address = scene.producer.address();
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut kept = None;
                while let Some(round) = Some(next.fetch_add(1, Ordering::Relaxed)).filter(|n| *n < TIMES) {
                    for row in rows.iter().cycle().skip(round % rows.len()).take(rows.len()) {
                        attempt(address, &mut kept, row);
                    }
                }
            });
        }
    });
    scene.check(&load.finish());
}

#[test]
fn a_thousand_slow_heads_and_a_thousand_slow_bodies_beside_good_traffic() {
    let _turn = Turn::wait(HEAVY);
    let kafka = Kafka::shared(EMBEDDED);
    let brief = [("producer_api.head_timeout_ms", "3000"), ("producer_api.body_timeout_ms", "3000")];
    let scene =
        Scene::start(kafka, |start| brief.iter().fold(start, |start, (key, value)| start.set(key, value)));
    let load = scene.good_traffic(4);
    let beginnings = [
        ("POST /enviar HTTP/1.1\r\nHost: x\r\nConten", "slow_head"),
        ("POST /enviar HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{", "slow_body"),
    ];
    // In portions, as a test process may have no more than 1,024 files open.
    for _ in 0..5 {
        let slow = beginnings.iter().flat_map(|(bytes, code)| std::iter::repeat_n((*bytes, *code), 200));
        let slow: Vec<_> = slow
            .map(|(bytes, code)| {
                let mut connection = Connection::open(scene.producer.address()).expect("the server accepts");
                connection.send(bytes.as_bytes());
                (connection, code)
            })
            .collect();
        for (mut connection, code) in slow {
            let answer = connection.answer().expect("an answer");
            assert_eq!((answer.status, answer.json()["error"]["code"].as_str()), (408, Some(code)));
        }
    }
    scene.check(&load.finish());
}

#[test]
fn a_thousand_messages_for_a_broker_that_does_not_answer_are_503_or_504_as_is_true() {
    let _turn = Turn::wait(HEAVY);
    let kafka = Kafka::start(EMBEDDED, 1);
    let few = [("producer_api.queue_messages", "20"), ("producer_api.answer_timeout_ms", "2000")];
    let scene =
        Scene::start(&kafka, |start| few.iter().fold(start, |start, (key, value)| start.set(key, value)));
    let address = scene.producer.address();
    assert_eq!(scene.producer.post("/enviar", r#"{"id":1}"#).status, 200);
    kafka.freeze_node(0);
    let mut connections: Vec<_> = (0..200).map(|_| Connection::open(address).expect("accepted")).collect();
    let mut fates: BTreeMap<u16, BTreeSet<u64>> = BTreeMap::new();
    for round in 0..5 {
        let ids = round * 1_000 + 10..;
        for (id, connection) in ids.clone().zip(&mut connections) {
            connection.send(&rows::post("/enviar", format!("{{\"id\":{id}}}").as_bytes()));
        }
        for (id, connection) in ids.zip(&mut connections) {
            let answer = connection.answer().expect("an answer");
            check_error(&answer, "a message for nobody");
            fates.entry(answer.status).or_default().insert(id);
            if answer.header("connection") == Some("close") {
                *connection = Connection::open(address).expect("accepted");
            }
        }
    }
    let (refused, unknown) = (fates.remove(&503).unwrap_or_default(), fates.remove(&504).unwrap_or_default());
    assert!(fates.is_empty() && refused.len() >= 900, "{} refused, others: {fates:?}", refused.len());
    kafka.thaw_node(0);
    eventually("messages are stored again", PATIENCE, || {
        (scene.producer.post("/enviar", r#"{"id":2}"#).status == 200).then_some(())
    });
    kafka.assistant().wait_for_commits(&scene.group, &scene.topic);
    let printed: BTreeSet<u64> = numbers_of(scene.consumer.received()).into_iter().collect();
    let strangers: Vec<_> = printed.iter().filter(|id| **id > 2 && !unknown.contains(id)).collect();
    assert!(strangers.is_empty(), "answered 503, and yet printed: {strangers:?}");
    assert!(printed.contains(&1) && printed.contains(&2), "{printed:?}");
}

#[test]
fn what_clients_send_stands_escaped_in_the_log_on_one_line() {
    let _turn = Turn::wait(HEAVY);
    let kafka = Kafka::shared(EMBEDDED);
    let scene = Scene::start(kafka, |start| start.set("log.level", "debug"));
    let target = "/enviar?key=%0a%1b%5b31mFAKE%20ERROR%0d%0a";
    assert_eq!(scene.producer.post(target, r#"{"id":0,"x":"\u001b"}"#).status, 200);
    scene.producer.wait_for_log(&["FAKE ERROR"], PATIENCE);
    let log = scene.producer.log();
    let raw: Vec<_> = log.iter().filter(|line| line.contains(['\u{1b}', '\r'])).collect();
    assert!(raw.is_empty() && !log.iter().any(|line| line.starts_with("FAKE")), "{raw:?}");
}
