//! The default program: one command runs the channel, its children end with it, and a dead or frozen consumer's
//! partitions move at once. And its subcommands.

mod channel;
#[path = "../support/mod.rs"]
mod support;

use std::fs;
use std::net::TcpListener;
use std::process::Command;
use std::time::{Duration, Instant};

use channel::{CONSUMERS, Channel, Place, children, ids_of, is_gone, signal, status, wait_until_gone};
use support::ports::free_port;
use support::program::{Program, RECEIVED, Start, WAITING, binary};
use support::watchdog::Folder;
use support::{EMBEDDED, NEWEST, PATIENCE, eventually, my_turn, run_on};

run_on! {
    mod kafka_4_3 on NEWEST {
        one_command_runs_the_channel_and_each_message_is_printed_once_with_the_consumers_name,
        ctrl_c_and_sigterm_stop_all_of_it_cleanly,
        a_killed_child_is_started_again_and_gets_work,
        the_partitions_of_a_killed_consumer_move_within_a_second,
        a_consumer_frozen_for_longer_than_max_processing_ms_is_taken_out_of_the_group_until_it_thaws,
        status_shows_topics_members_and_lag,
        programs_started_by_hand_work_with_the_supervised_ones,
    }
    mod embedded on EMBEDDED {
        one_command_runs_the_channel_and_each_message_is_printed_once_with_the_consumers_name,
        the_children_are_named_on_their_command_lines_and_what_is_secret_is_not,
        ctrl_c_and_sigterm_stop_all_of_it_cleanly,
        children_end_when_their_supervisor_is_killed,
        a_killed_child_is_started_again_and_gets_work,
        the_partitions_of_a_killed_consumer_move_within_a_second,
        a_consumer_frozen_for_longer_than_max_processing_ms_is_taken_out_of_the_group_until_it_thaws,
        a_child_that_cannot_work_with_its_settings_ends_everything_with_2,
        a_closed_standard_output_ends_everything_with_1,
        a_blocked_standard_output_holds_up_the_consumers_alone_and_no_stop,
        status_shows_topics_members_and_lag,
        programs_started_by_hand_work_with_the_supervised_ones,
        a_consumer_started_by_hand_takes_the_broker_over_when_the_supervisor_is_killed,
    }
}

fn one_command_runs_the_channel_and_each_message_is_printed_once_with_the_consumers_name(
    version: &'static str,
) {
    let folder = Folder::new("log");
    let file = folder.path().join("all.log");
    let log_file = file.to_str().expect("a path");
    let channel = Channel::start_with(version, |start| start.set("log.file", log_file));
    let address = channel.program.address();
    let body = r#"{"contenido":"hola"}"#;
    let curl =
        format!("curl -X POST http://{address}/enviar -H 'Content-Type: application/json' -d '{body}'");
    assert_eq!(channel.program.wait_for_line("curl", PATIENCE), curl);
    assert_eq!(channel.program.post("/enviar", body).status, 200);
    for id in 0..40 {
        channel.post(&format!("key{id}"), id);
    }
    let printers: Vec<&str> = (0..40).map(|id| channel.printer(id)).collect();
    assert!(CONSUMERS.iter().all(|name| printers.contains(name)), "both have their share: {printers:?}");
    let lines = channel.program.lines();
    let received = lines.iter().filter(|line| line.contains(&format!(" | {RECEIVED}"))).count();
    assert_eq!(received, 41, "each message once");
    let names = ["point-to-point", "producer_api", "consumer1", "consumer2"];
    for line in lines.iter().filter(|line| **line != curl) {
        let name = line.split_once(" | ").map(|(name, _)| name);
        assert!(name.is_some_and(|name| names.contains(&name)), "no name before {line:?}");
        assert!(!line.contains('\u{1b}'), "colours in what is no terminal: {line:?}");
    }
    let log = fs::read_to_string(&file).expect("the log file of all of them");
    let shown =
        lines.iter().filter_map(|line| line.split_once(" | ")).filter(|(_, line)| line.contains("[INFO ]"));
    for (name, line) in shown {
        assert_eq!(log.lines().filter(|logged| *logged == line).count(), 1, "{name}: {line}");
    }
}

fn the_children_are_named_on_their_command_lines_and_what_is_secret_is_not(version: &'static str) {
    let channel = Channel::start(version);
    let children = children(channel.program.id());
    let lines: Vec<String> = children.iter().map(|(_, words)| words[1..].join(" ")).collect();
    assert_eq!(lines.len(), 3, "{lines:?}");
    for start in ["producer_api ", "consumer --name consumer1 ", "consumer --name consumer2 "] {
        assert!(lines.iter().any(|line| line.starts_with(start)), "no {start:?} in {lines:?}");
    }
    for line in lines {
        assert!(line.contains(&format!("kafka.topic={}", channel.place.topic)), "settings reach it: {line}");
        assert!(!line.contains("token") && !line.contains(":0"), "{line}");
    }
}

fn ctrl_c_and_sigterm_stop_all_of_it_cleanly(version: &'static str) {
    // Ctrl-C reaches the whole group of processes, a signal from elsewhere the supervisor alone.
    for (name, everybody) in [("INT", true), ("INT", false), ("TERM", false)] {
        let mut channel = Channel::start(version);
        channel.post("k", 1);
        channel.printer(1);
        let ids = ids_of(&children(channel.program.id()));
        assert_eq!(ids.len(), 3);
        let mut receivers = vec![channel.program.id()];
        receivers.extend(ids.iter().filter(|_| everybody));
        signal(name, &receivers);
        assert_eq!(channel.program.wait(PATIENCE), Some(0), "SIG{name} to {receivers:?}");
        assert!(ids.iter().all(|id| is_gone(*id)), "it waits for its children");
        let (rows, printed) = channel.place.status();
        let left = [&*channel.place.group, "Empty", "-", "-", "-"];
        assert!(rows.iter().any(|row| *row == left), "the members have left: {printed}");
        channel.program.wait_for_outputs();
        let restarts =
            channel.program.lines().iter().filter(|line| line.contains("starting it again")).count();
        assert_eq!(restarts, 0, "{:?}", channel.program.lines());
    }
}

fn children_end_when_their_supervisor_is_killed(version: &'static str) {
    let channel = Channel::start(version);
    let ids = ids_of(&children(channel.program.id()));
    assert_eq!(ids.len(), 3);
    channel.program.signal("KILL");
    wait_until_gone(&ids);
}

fn a_killed_child_is_started_again_and_gets_work(version: &'static str) {
    let channel = Channel::start(version);
    let mut next_id = 0;
    for name in CONSUMERS {
        let before = channel.child(name);
        signal("KILL", &[before]);
        channel.program.wait_for_line(&format!("point-to-point | {}", log_of_end(&channel, name)), PATIENCE);
        eventually(&format!("another {name} runs"), PATIENCE, || {
            (channel.child(name) != before).then_some(())
        });
        channel.keys_by_consumer(&mut next_id);
    }
    let endpoint = channel.child("producer_api");
    signal("KILL", &[endpoint]);
    eventually("another endpoint answers", PATIENCE, || {
        let answer = support::http::post(channel.program.address(), "/enviar", b"{\"id\":123456}").ok()?;
        (answer.status == 200).then_some(())
    });
    channel.printer(123_456);
    let curls = channel.program.lines().iter().filter(|line| line.starts_with("curl")).count();
    assert_eq!(curls, 1, "the same address is told once");
}

/// The supervisor's log line, without its name, about the end of a child.
fn log_of_end(channel: &Channel, name: &str) -> String {
    eventually(&format!("the end of {name} is logged"), PATIENCE, || {
        let lines = channel.program.lines();
        let told = |line: &&String| line.contains(&format!("{name} ended (")) && line.contains("SIGKILL");
        lines.iter().find(told).and_then(|line| line.strip_prefix("point-to-point | ")).map(str::to_owned)
    })
}

/// How long after its kill the other consumer prints the first message of a partition that was the killed one's.
fn takeover(channel: &Channel, victim: usize, next_id: &mut u64) -> Duration {
    let keys = channel.keys_by_consumer(next_id);
    let (name, survivor) = (CONSUMERS[victim], CONSUMERS[1 - victim]);
    let process = channel.child(name);
    let begin = Instant::now();
    signal("KILL", &[process]);
    let id = channel.next(&keys[victim], next_id);
    let line = format!("{survivor} | {RECEIVED}{{\"id\":{id}}}");
    channel.program.wait_for_line(&line, PATIENCE);
    let took = begin.elapsed();
    assert_eq!(channel.printers(id), [survivor]);
    eventually(&format!("another {name} runs"), PATIENCE, || (channel.child(name) != process).then_some(()));
    took
}

fn the_partitions_of_a_killed_consumer_move_within_a_second(version: &'static str) {
    let channel = Channel::start(version);
    let mut next_id = 0;
    let times: Vec<Duration> = (0..5).map(|round| takeover(&channel, round % 2, &mut next_id)).collect();
    println!("from kill -9 to the survivor's first message of a taken-over partition: {times:?}");
    let best = times.iter().min().expect("a round");
    assert!(*best < Duration::from_secs(1), "{times:?}");
}

fn a_consumer_frozen_for_longer_than_max_processing_ms_is_taken_out_of_the_group_until_it_thaws(
    version: &'static str,
) {
    let channel = Channel::start_with(version, |start| start.set("consumer.max_processing_ms", "1000"));
    let mut next_id = 0;
    let keys = channel.keys_by_consumer(&mut next_id);
    let frozen = channel.child("consumer1");
    signal("STOP", &[frozen]);
    let id = channel.next(&keys[0], &mut next_id);
    assert_eq!(channel.printer(id), "consumer2");
    channel.place.wait_for_members(&[("consumer2", "4")]);
    signal("CONT", &[frozen]);
    channel.place.wait_for_members(&[("consumer1", "2"), ("consumer2", "2")]);
    channel.keys_by_consumer(&mut next_id);
    assert_eq!(channel.child("consumer1"), frozen, "it was not started again");
}

fn a_child_that_cannot_work_with_its_settings_ends_everything_with_2(version: &'static str) {
    let folder = Folder::new("settings");
    let file = folder.path().join("mine.toml");
    fs::write(&file, "[log]\nlevel = \"info\"\n").expect("a file");
    let mut channel =
        Channel::start_with(version, |start| start.arguments(&["--config", file.to_str().expect("a path")]));
    let ids = ids_of(&children(channel.program.id()));
    fs::write(&file, "[log]\nlevel = \"loud\"\n").expect("a file");
    signal("KILL", &[channel.child("consumer1")]);
    assert_eq!(channel.program.wait(PATIENCE), Some(2));
    wait_until_gone(&ids);
    channel.program.wait_for_outputs();
    let lines = channel.program.lines();
    let why = lines.iter().find(|line| line.starts_with("consumer1 | ") && line.contains("log.level"));
    assert!(why.is_some_and(|line| line.contains("mine.toml line 2")), "{lines:?}");
    channel.program.wait_for_log(&["consumer1", "settings"], PATIENCE);
}

#[test]
fn an_endpoint_that_cannot_listen_ends_everything_with_1() {
    let _turn = my_turn();
    let holder = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = holder.local_addr().expect("its address").to_string();
    let place = Place::new(EMBEDDED);
    let start = place.program(Start::program("point-to-point"));
    let mut program = start.set("producer_api.listen", &address).start();
    assert_eq!(program.wait(PATIENCE), Some(1));
    program.wait_for_outputs();
    let lines = program.lines();
    let why = |line: &&String| line.starts_with("producer_api | ") && line.contains(&address);
    assert!(lines.iter().any(|line| why(&line)), "{lines:?}");
}

fn a_closed_standard_output_ends_everything_with_1(version: &'static str) {
    let address = format!("127.0.0.1:{}", free_port());
    let place = Place::new(version);
    let start = place.program(Start::program("point-to-point"));
    let mut program = start.set("producer_api.listen", &address).held().start();
    let address = address.parse().expect("an address");
    let running = || Some(ids_of(&children(program.id()))).filter(|ids| ids.len() == 3);
    let ids = eventually("the children run", PATIENCE, running);
    program.close_output();
    // What it prints next tells it; all that it prints by itself may have been printed before.
    eventually("it ends", PATIENCE, || {
        let _ = support::http::post(address, "/enviar", b"1");
        program.exit_status()
    });
    assert_eq!(program.wait(PATIENCE), Some(1));
    wait_until_gone(&ids);
    program.wait_for_log(&["standard output is broken"], PATIENCE);
}

fn a_blocked_standard_output_holds_up_the_consumers_alone_and_no_stop(version: &'static str) {
    let place = Place::new(version);
    let address = format!("127.0.0.1:{}", free_port());
    let start = place.program(Start::program("point-to-point"));
    let mut program = start.set("producer_api.listen", &address).held().start();
    let address = address.parse().expect("an address");
    let large = format!("\"{}\"", "x".repeat(300_000));
    eventually("messages are stored", PATIENCE, || {
        support::http::post(address, "/enviar", large.as_bytes()).ok().filter(|answer| answer.status == 200)
    });
    for _ in 0..20 {
        let answer = support::http::post(address, "/enviar", large.as_bytes()).expect("an answer");
        assert_eq!(answer.status, 200, "the endpoint goes on");
    }
    let ids = ids_of(&children(program.id()));
    program.signal("TERM");
    assert_eq!(program.wait(PATIENCE), Some(0));
    wait_until_gone(&ids);
}

fn status_shows_topics_members_and_lag(version: &'static str) {
    let mut channel = Channel::start(version);
    let partition = channel.post("k", 0).to_string();
    let owner = channel.printer(0);
    let (topic, group) = (channel.place.topic.clone(), channel.place.group.clone());
    channel.place.wait_for_members(&[("consumer1", "2"), ("consumer2", "2")]);
    channel
        .place
        .wait_for_status(&[&[&topic, &partition, "1"], &[&group, &topic, &partition, "1", "1", "0", owner]]);
    channel.program.stop();

    let mut producer = Program::producer_with(channel.place.program(Start::program("producer_api")));
    assert_eq!(producer.post("/enviar?key=k", "1").status, 200);
    producer.stop();
    // Nobody serves an embedded broker any more: status opens the database itself.
    let (rows, printed) = channel.place.status();
    for row in [&[&*group, "Empty", "-", "-", "-"][..], &[&group, &topic, &partition, "1", "2", "1", "-"]] {
        assert!(rows.iter().any(|found| found == row), "no {row:?} in {printed}");
    }
    assert!(!printed.contains("__consumer_offsets"), "internal topics are not shown");
}

#[test]
fn status_without_a_broker_says_so_and_ends_with_1() {
    let nobody = format!("127.0.0.1:{}", free_port());
    let (code, printed, log) = status(&["status", "--set", &format!("kafka.bootstrap_servers={nobody}")]);
    assert_eq!((code, printed.as_str()), (Some(1), ""), "{log}");
    assert!(log.contains(&nobody) && log.lines().count() == 1, "{log}");
    // Nor does it make a database where nothing was stored yet.
    let (code, printed, log) = status(&["status", "--set", &format!("embedded.listen={nobody}")]);
    assert_eq!((code, printed.as_str()), (Some(1), ""), "{log}");
    assert!(log.contains("nothing is stored yet") && log.contains(&nobody), "{log}");
}

fn programs_started_by_hand_work_with_the_supervised_ones(version: &'static str) {
    let channel = Channel::start(version);
    let mut third = channel.place.subcommand(&["consumer", "--name", "consumer3"]).start();
    third.wait_for_line(WAITING, PATIENCE);
    channel.place.wait_for_members(&[("consumer1", "2"), ("consumer2", "1"), ("consumer3", "1")]);
    let mut endpoint = Program::producer_with(channel.place.subcommand(&["producer_api"]));
    for id in 0..40 {
        assert_eq!(endpoint.post(&format!("/enviar?key=key{id}"), &format!("{{\"id\":{id}}}")).status, 200);
    }
    third.wait_for_messages(1, PATIENCE);
    endpoint.stop();
    assert!(endpoint.lines().is_empty(), "nothing for a supervisor is printed");
    third.stop();
    channel.place.wait_for_members(&[("consumer1", "2"), ("consumer2", "2")]);
}

fn a_consumer_started_by_hand_takes_the_broker_over_when_the_supervisor_is_killed(version: &'static str) {
    let channel = Channel::start(version);
    let third = channel.place.subcommand(&["consumer", "--name", "consumer3"]).start();
    third.wait_for_line(WAITING, PATIENCE);
    channel.program.signal("KILL");
    channel.place.wait_for_members(&[("consumer3", "4")]);
    let endpoint = Program::producer_with(channel.place.subcommand(&["producer_api"]));
    for id in 0..8 {
        assert_eq!(endpoint.post("/enviar", &format!("{{\"id\":{id}}}")).status, 200);
    }
    third.wait_for_messages(8, PATIENCE);
}

#[test]
fn supervised_is_for_the_supervisor_alone() {
    for word in [None, Some("what?")] {
        let mut command = Command::new(binary("point-to-point"));
        command.args(["consumer", "--supervised", "--set", "log.file="]);
        let mut program = Start::command("alone", command).with_input().start();
        match word {
            Some(word) => program.write_line(word),
            None => program.close_input(),
        }
        assert!(program.wait(PATIENCE).is_some_and(|code| code != 0), "{word:?}");
        program.wait_for_log(&["supervisor"], PATIENCE);
    }
}
