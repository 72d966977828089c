//! A log file whose disk is full.

use std::fs;

use super::{status, wait_for_readyz, wait_until_all_is_well, watch};
use crate::support::kafka::Kafka;
use crate::support::program::{Program, Start};
use crate::support::small_disk::SmallDisk;
use crate::support::{EMBEDDED, PATIENCE, eventually, eventually_equal, my_turn, unique};

#[test]
fn a_log_file_without_room_is_told_once_costs_nothing_and_is_written_again_when_there_is_room() {
    let _turn = my_turn();
    let kafka = Kafka::shared(EMBEDDED);
    let disk = SmallDisk::new(1);
    let file = disk.path().join("some.log");
    let path = file.to_str().expect("a path");
    let start = Start::program("producer_api").on(kafka).set("kafka.topic", &unique("topic"));
    let api = Program::producer_with(start.set("log.file", path).set("log.level", "debug"));
    let mut number = 0;
    let mut stored = || {
        number += 1;
        api.post("/enviar", &format!("{{\"id\":{number}}}")).status
    };
    eventually_equal("a message is stored", &200, &mut stored);
    let mut viewer = watch(&api);
    disk.fill();
    for _ in 0..100 {
        assert_eq!(stored(), 200, "the program goes on");
    }
    let told = format!("the log file {path} cannot be written: No space left on device");
    wait_for_readyz(&api, 200, &told);
    viewer.read_until(&told).expect("the page is told");
    api.wait_for_log(&[&told, "goes on without it"], PATIENCE);
    let said = status(&[
        ("producer_api.listen", &api.address().to_string()),
        ("kafka.bootstrap_servers", &kafka.bootstrap()),
        ("log.file", path),
    ]);
    assert!(said.contains(&format!("warning: the log file {path} cannot be written")), "{said}");
    disk.empty();
    eventually("it is written again", PATIENCE, || {
        stored();
        let text = fs::read_to_string(&file).expect("the log file");
        text.lines().any(|line| line.contains("can be written again") && line.contains(path)).then_some(())
    });
    wait_until_all_is_well(&api);
    api.wait_for_log(&["can be written again"], PATIENCE);
    let times = |what: &str| api.log().iter().filter(|line| line.contains(what)).count();
    assert_eq!((times("goes on without it"), times("can be written again")), (1, 1));
}
