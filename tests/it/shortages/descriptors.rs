//! File descriptors that are used up: who is connected is served, and everybody else is told.

use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::{status, try_get, wait_for_readyz, wait_until_all_is_well, watch};
use crate::full_disk::Place;
use crate::supervisor::channel::CONSUMERS;
use crate::support::http::{Connection, post};
use crate::support::kafka::Kafka;
use crate::support::limits::{listening_at, use_up_descriptors};
use crate::support::program::{Program, Start, WAITING};
use crate::support::{EMBEDDED, PATIENCE, eventually, eventually_equal, my_turn, unique};

/// What everybody says.
const NONE_LEFT: &str = "no file descriptors are left";
/// As a sentence begins with it.
const NONE_LEFT_SENTENCE: &str = "No file descriptors are left";

#[test]
fn an_endpoint_without_descriptors_serves_who_is_connected_and_tells_everybody_else() {
    let _turn = my_turn();
    let kafka = Kafka::shared(EMBEDDED);
    let api = Program::producer(kafka, &unique("topic"));
    let mut kept = Connection::open(api.address()).expect("it listens");
    let mut stored = || kept.post("/enviar", br#"{"id":1}"#).expect("an answer").status;
    eventually_equal("a message is stored", &200, &mut stored);
    wait_until_all_is_well(&api);
    let mut viewer = watch(&api);
    let mut looker = Connection::open(api.address()).expect("it listens");
    let crowd = use_up_descriptors(api.id(), api.address(), || {
        let answer = looker.get("/readyz").expect("who is connected is served");
        answer.status == 503
            && answer.json()["message"].as_str().is_some_and(|why| why.starts_with(NONE_LEFT_SENTENCE))
    });
    assert_eq!(stored(), 200, "who is connected is served");
    api.wait_for_log(&["warn", NONE_LEFT], PATIENCE);
    viewer.read_until(NONE_LEFT).expect("the page is told");
    wait_for_readyz(&api, 503, NONE_LEFT_SENTENCE);
    eventually("who comes is told that there is no room", PATIENCE, || {
        let answer = post(api.address(), "/enviar", br#"{"id":2}"#).ok()?;
        let json = answer.json();
        (answer.status == 503 && json["error"]["code"] == "no_descriptors").then_some(())
    });
    let said = status(&[
        ("producer_api.listen", &api.address().to_string()),
        ("kafka.bootstrap_servers", &kafka.bootstrap()),
        ("log.file", ""),
    ]);
    assert!(said.contains("not ready: No file descriptors are left"), "{said}");
    assert_eq!(stored(), 200);
    drop(crowd);
    eventually_equal("who comes is served", &200, || {
        post(api.address(), "/enviar", br#"{"id":3}"#).map_or(0, |answer| answer.status)
    });
    wait_until_all_is_well(&api);
    api.wait_for_log(&["there are file descriptors again"], PATIENCE);
}

#[test]
fn a_crowd_that_says_nothing_does_not_keep_a_probe_from_an_endpoint_without_descriptors() {
    let _turn = my_turn();
    let kafka = Kafka::shared(EMBEDDED);
    let api = Program::producer(kafka, &unique("topic"));
    let mut looker = Connection::open(api.address()).expect("it listens");
    let mut crowd = use_up_descriptors(api.id(), api.address(), || {
        looker.get("/readyz").is_ok_and(|answer| answer.json().to_string().contains(NONE_LEFT_SENTENCE))
    });
    let connect = || TcpStream::connect_timeout(&api.address(), PATIENCE).expect("it listens");
    crowd.extend((0..160).map(|_| connect()));
    let begin = Instant::now();
    let answer = try_get(api.address(), "/readyz");
    println!("answered after {:?}", begin.elapsed());
    assert_eq!(answer.map(|answer| answer.status), Some(503));
    // A hundred and sixty times half a second, four at a time, would be twenty.
    assert!(begin.elapsed() < Duration::from_secs(10), "{:?}", begin.elapsed());
    drop(crowd);
    wait_until_all_is_well(&api);
}

#[test]
fn a_holder_of_the_broker_without_descriptors_goes_on_and_its_endpoint_and_status_tell_it() {
    let _turn = my_turn();
    let place = Place::new();
    let holder = place.program("consumer1").start();
    holder.wait_for_line(WAITING, PATIENCE);
    let api = Program::producer_with(place.program("producer_api"));
    eventually_equal("a message is stored", &200, || api.post("/enviar", r#"{"id":1}"#).status);
    wait_until_all_is_well(&api);
    let mut viewer = watch(&api);
    let crowd = use_up_descriptors(holder.id(), place.address(), || {
        try_get(api.address(), "/readyz").is_some_and(|answer| {
            answer.status == 200 && answer.json()["warnings"].to_string().contains(NONE_LEFT)
        })
    });
    viewer.read_until(NONE_LEFT).expect("the page is told");
    holder.wait_for_log(&["warn", NONE_LEFT], PATIENCE);
    holder.wait_for_log(&["broker: connections cannot be accepted"], PATIENCE);
    assert_eq!(api.post("/enviar", r#"{"id":2}"#).status, 200, "who is connected is served");
    holder.wait_for_messages(2, PATIENCE);
    let (_, said) = place.status();
    assert!(said.contains(NONE_LEFT), "{said}");
    drop(crowd);
    wait_until_all_is_well(&api);
    eventually("status shows the topic", PATIENCE, || {
        let (code, said) = place.status();
        (code == Some(0) && said.contains("mi-topico") && !said.contains(NONE_LEFT)).then_some(())
    });
    let warnings = holder.log().iter().filter(|line| line.contains("cannot be accepted")).count();
    assert!(warnings <= 3, "the log is not flooded: {warnings}");
}

#[test]
fn a_supervisor_without_descriptors_goes_on_and_its_endpoint_tells_it() {
    let _turn = my_turn();
    let kafka = Kafka::shared(EMBEDDED);
    let start = Start::program("point-to-point").on(kafka);
    let start = start.set("kafka.topic", &unique("topic")).set("consumer.group", &unique("group"));
    let program = Program::producer_with(start);
    eventually_equal("a message is stored", &200, || program.post("/enviar", r#"{"id":1}"#).status);
    // Everybody has the connections that he needs.
    wait_until_all_is_well(&program);
    for consumer in CONSUMERS {
        program.wait_for_line(&format!("{consumer} | {WAITING}"), PATIENCE);
    }
    let crowd = use_up_descriptors(program.id(), listening_at(program.id()), || {
        try_get(program.address(), "/readyz").is_some_and(|answer| {
            let said = answer.json()["warnings"].to_string();
            answer.status == 200 && said.contains(&format!("the supervisor: {NONE_LEFT}"))
        })
    });
    eventually("the log tells it", PATIENCE, || {
        let lines = program.lines();
        lines.iter().any(|line| line.contains("adapter: connections cannot be accepted")).then_some(())
    });
    assert_eq!(program.post("/enviar", r#"{"id":2}"#).status, 200, "who is connected is served");
    drop(crowd);
    wait_until_all_is_well(&program);
}
