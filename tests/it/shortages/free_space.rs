//! A disk with little room left: messages are refused before there is none, and all else goes on.

use std::time::{Duration, Instant};

use super::{status, try_get, wait_for_readyz, wait_until_all_is_well};
use crate::full_disk::{Place, check, wait_for_page};
use crate::support::http::Answer;
use crate::support::load::Book;
use crate::support::program::{Program, WAITING};
use crate::support::{PATIENCE, eventually, eventually_equal, my_turn};

/// The setting that the reason names.
const SETTING: &str = "embedded.min_free_bytes = 838860: make room";
/// A twentieth of the disk, which is kept free.
const KEPT: u64 = 838_860;
/// What the system says where no room is left at all.
const NO_ROOM: &str = "No space left on device";

fn is_refused_for_want_of_room(answer: &Answer) -> bool {
    let json = answer.json();
    let why = json["message"].as_str().unwrap_or_default();
    answer.status == 503
        && json["error"]["code"] == "store_failed"
        && why.contains("not stored")
        && why.contains(SETTING)
}

#[test]
fn messages_are_refused_while_little_room_is_left_and_what_is_stored_is_read_and_committed() {
    let _turn = my_turn();
    let place = Place::watched();
    let holder = place.program("consumer1").start();
    holder.wait_for_line(WAITING, PATIENCE);
    let api = Program::producer_with(place.program("producer_api"));
    eventually_equal("a message is stored", &200, || api.post("/enviar", r#"{"id":1}"#).status);
    holder.wait_for_messages(1, PATIENCE);

    place.disk.fill_up_to(KEPT - 100_000);
    holder.wait_for_log(&["error", SETTING], PATIENCE);
    let begin = Instant::now();
    let refused = api.post("/enviar", r#"{"id":2}"#);
    println!("refused after {:?}", begin.elapsed());
    assert!(is_refused_for_want_of_room(&refused), "{refused:?}");
    // Far less than the answer timeout.
    assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
    let records = api.post("/topics/mi-topico", r#"{"records":[{"value":{"id":3}}]}"#);
    assert!(records.status == 503 && records.json().to_string().contains(SETTING), "{records:?}");
    wait_for_readyz(&api, 503, SETTING);
    wait_for_page(&api, SETTING);
    let (code, said) = place.status();
    assert!(code == Some(0) && said.contains(SETTING) && said.contains("mi-topico"), "{code:?}: {said}");

    // A group that is new reads what was stored before, and does so once.
    let reader = || place.program("consumer2").set("consumer.group", "nuevo").start();
    let mut first = reader();
    first.wait_for_messages(1, PATIENCE);
    first.stop();
    assert_eq!(first.received(), [r#"{"id":1}"#]);
    let second = reader();
    second.wait_for_line(WAITING, PATIENCE);

    place.disk.empty();
    let begin = Instant::now();
    eventually_equal("a message is stored again", &200, || api.post("/enviar", r#"{"id":4}"#).status);
    println!("stored after {:?}", begin.elapsed());
    holder.wait_for_log(&["info", "there is room again"], PATIENCE);
    second.wait_for_messages(1, PATIENCE);
    holder.wait_for_messages(2, PATIENCE);
    wait_until_all_is_well(&api);
    assert_eq!(second.received(), [r#"{"id":4}"#], "what was read was committed");
    assert_eq!(holder.received(), [r#"{"id":1}"#, r#"{"id":4}"#]);
    let told = holder.log().iter().filter(|line| line.contains(SETTING)).count();
    assert_eq!(told, 1, "{:?}", holder.log());
    assert!(!holder.log().iter().any(|line| line.contains(NO_ROOM)), "{:?}", holder.log());
}

#[test]
fn messages_that_fill_a_disk_leave_room_on_it() {
    let _turn = my_turn();
    let place = Place::watched();
    let program = Program::producer_with(place.program("point-to-point"));
    let filler = "x".repeat(50_000);
    let mut book = Book::default();
    eventually("the disk is as full as it may be", PATIENCE, || {
        let number = book.total() as u64;
        let answer = program.post("/enviar", &format!(r#"{{"id":{number},"contenido":"{filler}"}}"#));
        book.note(number, &answer);
        assert!(answer.status == 200 || is_refused_for_want_of_room(&answer), "{number}: {answer:?}");
        (answer.status == 503).then_some(())
    });
    println!("{} stored, {} bytes are left", book.stored.len(), place.disk.free());
    assert!(book.stored.len() >= 100 && place.disk.free() >= KEPT / 2, "{}", place.disk.free());
    check(&book, &[&program], 0);
    wait_for_readyz(&program, 503, SETTING);
    assert!(!program.lines().iter().any(|line| line.contains(NO_ROOM)), "{:?}", program.lines());
}

#[test]
fn where_no_room_is_enough_the_endpoint_tells_it_from_the_start() {
    let _turn = my_turn();
    let place = Place::watched();
    let least = "1152921504606846976";
    let start = place.program("point-to-point").set("embedded.min_free_bytes", least);
    let program = Program::producer_with(start);
    let why = format!("embedded.min_free_bytes = {least}");
    wait_for_readyz(&program, 503, &why);
    let refused = program.post("/enviar", r#"{"id":1}"#);
    assert!(refused.status == 503 && refused.json().to_string().contains(&why), "{refused:?}");
    let health = try_get(program.address(), "/healthz").map(|answer| answer.status);
    assert_eq!(health, Some(200));
    let said = status(&[
        ("producer_api.listen", &program.address().to_string()),
        ("kafka.bootstrap_servers", &place.address().to_string()),
        ("log.file", ""),
    ]);
    assert!(said.contains("not ready: ") && said.contains(&why), "{said}");
}
