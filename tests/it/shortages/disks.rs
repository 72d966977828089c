//! Disks that take nothing more, for another reason than want of room.

use std::time::{Duration, Instant};

use super::wait_for_readyz;
use crate::full_disk::{Place, check, wait_for_page};
use crate::support::limits::{FailingWrites, ReadOnly};
use crate::support::load::Load;
use crate::support::program::Program;
use crate::support::{PATIENCE, eventually, eventually_equal, my_turn};

/// What the system says of a read-only disk.
const READ_ONLY: &str = "Read-only file system";

/// A program that lives on where a write goes beyond its limit.
const OUTLIVES_LIMITS: &str = r#"trap '' XFSZ; exec "$@""#;

fn start(place: &Place) -> Program {
    Program::producer_with(place.program("point-to-point").by(OUTLIVES_LIMITS))
}

#[test]
fn a_disk_that_becomes_read_only_is_told_by_everybody_and_messages_are_taken_again_afterwards() {
    let _turn = my_turn();
    let place = Place::new();
    let program = start(&place);
    let folder = place.disk.path().join("data");
    let load = Load::start(program.address(), 8, u64::MAX);
    for _ in 0..2 {
        load.wait_for_progress(100);
        let mark = program.lines().len();
        let read_only = ReadOnly::make(&folder, program.id());
        wait_for_readyz(&program, 503, READ_ONLY);
        eventually("the log tells it", PATIENCE, || {
            program
                .lines()
                .iter()
                .skip(mark)
                .any(|line| line.contains("ERROR") && line.contains(READ_ONLY))
                .then_some(())
        });
        eventually("a message is refused with the reason", PATIENCE, || {
            let answer = program.post("/enviar", r#"{"id":1,"contenido":"refused"}"#);
            let why = answer.json()["message"].as_str().unwrap_or_default().to_owned();
            (answer.status == 503 && why.contains("not stored") && why.contains(READ_ONLY)).then_some(())
        });
        let (_, said) = place.status();
        assert!(said.contains(READ_ONLY), "{said}");
        wait_for_page(&program, READ_ONLY);
        read_only.end();
        load.wait_for_progress(1);
    }
    load.wait_for_progress(100);
    eventually_equal("ready again", &200, || {
        super::try_get(program.address(), "/readyz").map_or(0, |a| a.status)
    });
    check(&load.finish(), &[&program], 4);
}

#[test]
fn a_disk_that_becomes_read_only_is_told_also_while_no_message_comes() {
    let _turn = my_turn();
    let place = Place::new();
    let program = start(&place);
    let folder = place.disk.path().join("data");
    eventually_equal("a message is stored", &200, || program.post("/enviar", r#"{"id":1}"#).status);
    let read_only = ReadOnly::make(&folder, program.id());
    wait_for_readyz(&program, 503, READ_ONLY);
    eventually("the log tells it", PATIENCE, || {
        program.lines().iter().any(|line| line.contains("ERROR") && line.contains(READ_ONLY)).then_some(())
    });
    read_only.end();
    eventually_equal("a message is stored again", &200, || program.post("/enviar", r#"{"id":2}"#).status);
}

#[test]
fn where_all_writes_fail_the_database_is_kept_until_others_can_be_told_and_nothing_is_lost() {
    let _turn = my_turn();
    let place = Place::new();
    let program = start(&place);
    let load = Load::start(program.address(), 8, u64::MAX);
    load.wait_for_progress(100);
    let failing = FailingWrites::of(program.id());
    eventually("the log tells both", PATIENCE, || {
        let lines = program.lines();
        let tells = |words: [&str; 2]| lines.iter().any(|line| words.iter().all(|word| line.contains(word)));
        (tells(["has failed", "File too large"]) && tells(["failure notice", "kept until it can"]))
            .then_some(())
    });
    eventually("not ready", PATIENCE, || {
        super::try_get(program.address(), "/readyz").filter(|answer| answer.status == 503).map(drop)
    });
    failing.end();
    load.wait_for_progress(100);
    check(&load.finish(), &[&program], 4);
}

#[test]
fn where_all_writes_fail_the_endpoint_stays_not_ready_though_nobody_posts() {
    let _turn = my_turn();
    let place = Place::new();
    let program = start(&place);
    eventually_equal("a message is stored", &200, || program.post("/enviar", r#"{"id":1}"#).status);
    let failing = FailingWrites::of(program.id());
    eventually("a message is refused", PATIENCE, || {
        (program.post("/enviar", r#"{"id":2}"#).status != 200).then_some(())
    });
    wait_for_readyz(&program, 503, "");
    // Longer than refused messages are remembered, and than what a probe has found.
    let end = Instant::now() + Duration::from_secs(9);
    let mut last = String::new();
    while Instant::now() < end {
        let answer = super::try_get(program.address(), "/readyz").expect("an answer");
        assert_eq!(answer.status, 503, "{answer:?}");
        last = answer.json().to_string();
        std::thread::sleep(Duration::from_millis(100));
    }
    assert!(last.contains("KAFKA_STORAGE_ERROR"), "{last}");
    failing.end();
    eventually_equal("a message is stored again", &200, || program.post("/enviar", r#"{"id":3}"#).status);
}
