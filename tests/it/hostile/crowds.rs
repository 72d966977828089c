//! Thousands of connections, and few descriptors.

use std::process::Command;
use std::thread;

use super::Scene;
use super::rows;
use crate::support::EMBEDDED;
use crate::support::http::Connection;
use crate::support::kafka::Kafka;
use crate::support::turn::{HEAVY, Turn};

/// Connections that are idle or slow.
const CROWD: usize = 2_000;
/// Threads that the server may have, and its memory in kB: what it has without a crowd, and some for each
/// client.
const MOST_THREADS: usize = 28;
const MOST_MEMORY: usize = 200_000;

#[test]
fn two_thousand_idle_and_slow_connections_keep_nobody_from_service() {
    let _turn = Turn::wait(HEAVY);
    // In a process of its own, as that many connections are more than this one may have open.
    let script = "ulimit -n 8192 && exec \"$0\" --exact hostile::crowds::two_thousand_connections --ignored --nocapture";
    let output =
        Command::new("sh").args(["-c", script]).arg(std::env::current_exe().unwrap()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
#[ignore = "a part of another test, in a process of its own"]
fn two_thousand_connections() {
    let kafka = Kafka::start(EMBEDDED, 1);
    let scene = Scene::start(&kafka, |start| start);
    let load = scene.good_traffic(4);
    let request = rows::post("/enviar", br#"{"id":1000000}"#);
    let mut crowd: Vec<Connection> = (0..CROWD)
        .map(|number| {
            let mut connection = Connection::open(scene.producer.address()).expect("the server accepts");
            // Every other one is idle, the others have begun.
            if number % 2 == 0 {
                connection.send(&request[..number / 2 % request.len()]);
            }
            connection
        })
        .collect();
    load.wait_for_progress(500);
    let (threads, memory) = (scene.usage("Threads"), scene.usage("VmHWM"));
    assert!(threads <= MOST_THREADS && memory <= MOST_MEMORY, "{threads} threads, {memory} kB");
    for (number, connection) in crowd.iter_mut().enumerate().skip(1).step_by(2) {
        connection.send(b"GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n");
        assert_eq!(connection.answer().expect("an answer").status, 404, "{number}");
    }
    drop(crowd);
    scene.check(&load.finish());
}

#[test]
fn with_64_descriptors_everybody_is_served_as_soon_as_there_is_room() {
    let _turn = Turn::wait(HEAVY);
    let kafka = Kafka::shared(EMBEDDED);
    let scene = Scene::start(kafka, |start| start.by(r#"ulimit -n 64 && exec "$@""#));
    thread::scope(|scope| {
        for client in 0..300 {
            let scene = &scene;
            scope.spawn(move || {
                let mut connection = Connection::open(scene.producer.address()).expect("accepted");
                let answer = connection.post("/enviar", format!("{{\"id\":{client}}}").as_bytes());
                assert_eq!(answer.expect("an answer").status, 200);
            });
        }
    });
    scene.consumer.wait_for_messages(300, crate::support::PATIENCE);
}
