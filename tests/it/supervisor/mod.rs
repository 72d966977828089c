//! The default program: one command runs the channel, its children end with it, and a dead or frozen
//! consumer's partitions move at once. And its subcommands.

pub mod channel;
mod output;
mod queued;
mod reader;

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::net::TcpListener;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use crate::support::load::{Load, numbers_of};
use crate::support::ports::free_port;
use crate::support::program::{Program, RECEIVED, Start, WAITING, binary};
use crate::support::watchdog::Folder;
use crate::support::{EMBEDDED, NEWEST, PATIENCE, eventually, my_turn, run_on};
use channel::{
    CONSUMERS, Channel, Frozen, Place, begins, children, ids_of, is_gone, signal, status, wait_until_gone,
};

run_on! {
    mod kafka_4_3 on NEWEST {
        one_command_runs_the_channel_and_each_message_is_printed_once_with_the_consumers_name,
        ctrl_c_and_sigterm_stop_all_of_it_cleanly,
        a_killed_child_is_started_again_and_gets_work,
        the_partitions_of_a_killed_consumer_move_within_a_second,
        pipelined_a_consumer_killed_again_and_again_repeats_the_message_in_hand_alone,
        a_consumer_frozen_for_longer_than_max_processing_ms_is_taken_out_of_the_group_until_it_thaws,
        status_shows_topics_members_and_lag,
        programs_started_by_hand_work_with_the_supervised_ones,
        with_a_handler_both_consumers_run_it_and_show_what_it_prints,
    }
    mod embedded on EMBEDDED {
        one_command_runs_the_channel_and_each_message_is_printed_once_with_the_consumers_name,
        the_children_are_named_on_their_command_lines_and_what_is_secret_is_not,
        ctrl_c_and_sigterm_stop_all_of_it_cleanly,
        children_end_when_their_supervisor_is_killed,
        a_frozen_endpoint_ends_with_its_supervisor,
        a_killed_child_is_started_again_and_gets_work,
        the_partitions_of_a_killed_consumer_move_within_a_second,
        pipelined_a_consumer_killed_again_and_again_repeats_the_message_in_hand_alone,
        a_consumer_frozen_for_longer_than_max_processing_ms_is_taken_out_of_the_group_until_it_thaws,
        a_child_that_cannot_work_with_its_settings_ends_everything_with_2,
        a_second_one_with_the_same_addresses_ends_with_1_and_leaves_the_first_alone,
        a_closed_standard_output_ends_everything_with_1,
        a_blocked_standard_output_holds_up_the_consumers_alone_and_no_stop,
        status_shows_topics_members_and_lag,
        programs_started_by_hand_work_with_the_supervised_ones,
        a_consumer_started_by_hand_takes_the_broker_over_when_the_supervisor_is_killed,
        with_a_handler_both_consumers_run_it_and_show_what_it_prints,
        what_a_kept_handler_logs_is_shown_under_its_consumers_name,
        a_consumer_killed_while_its_handler_works_is_started_again_and_the_message_comes_again,
        a_handler_that_does_not_exist_ends_everything_with_2,
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
    for start in ["producer-api ", "consumer --name consumer1 ", "consumer --name consumer2 "] {
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
        // An impatient user asks twice.
        receivers.push(channel.program.id());
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
        let told = |line: &&String| line.starts_with("point-to-point | ") && line.contains(" stopping; ");
        assert_eq!(channel.program.lines().iter().filter(told).count(), 1, "it is told once");
    }
}

fn children_end_when_their_supervisor_is_killed(version: &'static str) {
    let channel = Channel::start(version);
    let ids = ids_of(&children(channel.program.id()));
    assert_eq!(ids.len(), 3);
    channel.program.signal("KILL");
    wait_until_gone(&ids);
}

fn a_frozen_endpoint_ends_with_its_supervisor(version: &'static str) {
    let channel = Channel::start(version);
    let ids = ids_of(&children(channel.program.id()));
    let frozen = Frozen::new(channel.child("producer-api"));
    channel.program.signal("KILL");
    wait_until_gone(&ids);
    // Nobody is left to be thawed.
    std::mem::forget(frozen);
    TcpListener::bind(channel.program.address()).expect("its port is free");
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
    let endpoint = channel.child("producer-api");
    signal("KILL", &[endpoint]);
    eventually("another endpoint answers", PATIENCE, || {
        let answer =
            crate::support::http::post(channel.program.address(), "/enviar", b"{\"id\":123456}").ok()?;
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

/// How long after its kill the other consumer prints the first message of a partition that was the killed
/// one's.
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

/// The adapter outlives the consumer: it sends what it has accepted.
fn pipelined_a_consumer_killed_again_and_again_repeats_the_message_in_hand_alone(version: &'static str) {
    const KILLS: usize = 4;
    let channel = Channel::start_with(version, |start| start.set("consumer.commit", "pipelined"));
    let printed = || {
        let received = |line: &String| line.split_once(RECEIVED).map(|(_, message)| message.to_owned());
        numbers_of(channel.program.lines().iter().filter_map(received))
    };
    let load = Load::start(channel.program.address(), 8, u64::MAX);
    for kill in 0..KILLS {
        let goal = printed().len() + 150 + 37 * kill;
        eventually("more is printed", PATIENCE, || (printed().len() >= goal).then_some(()));
        let (name, process) = (CONSUMERS[kill % 2], channel.child(CONSUMERS[kill % 2]));
        signal("KILL", &[process]);
        eventually(&format!("another {name} runs"), PATIENCE, || {
            (channel.child(name) != process).then_some(())
        });
    }
    let book = load.finish();
    eventually("all that is stored is printed", PATIENCE, || {
        let printed: BTreeSet<u64> = printed().into_iter().collect();
        book.stored.keys().all(|number| printed.contains(number)).then_some(())
    });
    book.check(&printed(), KILLS);
}

fn a_consumer_frozen_for_longer_than_max_processing_ms_is_taken_out_of_the_group_until_it_thaws(
    version: &'static str,
) {
    let channel = Channel::start_with(version, |start| start.set("consumer.max_processing_ms", "1000"));
    let mut next_id = 0;
    let keys = channel.keys_by_consumer(&mut next_id);
    let frozen = channel.child("consumer1");
    let still = Frozen::new(frozen);
    let id = channel.next(&keys[0], &mut next_id);
    assert_eq!(channel.printer(id), "consumer2");
    channel.place.wait_for_members(&[("consumer2", "4")]);
    drop(still);
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

fn a_second_one_with_the_same_addresses_ends_with_1_and_leaves_the_first_alone(version: &'static str) {
    let channel = Channel::start(version);
    channel.place.wait_for_members(&[("consumer1", "2"), ("consumer2", "2")]);
    let rebalances = || channel.program.lines().iter().filter(|line| line.contains("rebalances")).count();
    let before = rebalances();
    let start = channel.place.program(Start::program("point-to-point"));
    let mut second = start.set("producer_api.listen", &channel.program.address().to_string()).start();
    assert_eq!(second.wait(PATIENCE), Some(1));
    second.wait_for_outputs();
    let lines = second.lines();
    assert!(lines.iter().any(|line| line.contains("Address already in use")), "{lines:?}");
    assert!(!lines.iter().any(|line| line.starts_with("consumer")), "no consumer was started: {lines:?}");
    channel.post("k", 1);
    channel.printer(1);
    assert_eq!(rebalances(), before, "the first one's partitions stay where they are");
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
        let _ = crate::support::http::post(address, "/enviar", b"1");
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
        crate::support::http::post(address, "/enviar", large.as_bytes())
            .ok()
            .filter(|answer| answer.status == 200)
    });
    for _ in 0..20 {
        let answer = crate::support::http::post(address, "/enviar", large.as_bytes()).expect("an answer");
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
        assert!(rows.iter().any(|found| begins(found, row)), "no {row:?} in {printed}");
    }
    assert!(!printed.contains("__consumer_offsets"), "internal topics are not shown");
}

#[test]
fn status_looks_again_when_the_holder_ends_meanwhile() {
    let _turn = my_turn();
    let place = Place::new(EMBEDDED);
    let mut producer = Program::producer_with(place.program(Start::program("producer_api")));
    assert_eq!(producer.post("/enviar", "1").status, 200);
    producer.stop();
    // A holder that takes a question and is gone before it answers: the first connection is only a knock.
    let holder = TcpListener::bind(place.broker_address()).expect("the broker's address");
    let lock = File::open(place.data_dir().join("lock")).expect("the lock of the store");
    lock.lock().expect("it is free");
    let ending = thread::spawn(move || {
        let _knock = holder.accept().expect("a knock");
        let _question = holder.accept().expect("a connection for the question");
        drop(holder);
        lock.unlock().expect("a file that is locked");
    });
    let (rows, printed) = place.status();
    assert!(rows.iter().any(|row| row[0] == place.topic), "{printed}");
    ending.join().expect("both came");
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

/// The setting of a handler that is a shell script, whose `$1` is a folder.
fn handler(start: Start, script: &str, folder: &Folder) -> Start {
    let folder = folder.path().display().to_string();
    let command = serde_json::to_string(&["sh", "-c", script, "sh", &folder]).expect("a list");
    start.set("consumer.handler", &command).set("retry.initial_backoff_ms", "20")
}

fn with_a_handler_both_consumers_run_it_and_show_what_it_prints(version: &'static str) {
    let folder = Folder::new("handler");
    let script = "v=$(cat); echo \"handled $v\"; test \"$v\" != '{\"id\":7}'";
    let channel = Channel::start_with(version, |start| handler(start, script, &folder));
    for id in 0..40 {
        channel.post(&format!("key{id}"), id);
    }
    let count = |channel: &Channel, name: &str, id: u64| {
        let line = format!("{name} | handled {{\"id\":{id}}}");
        channel.program.lines().iter().filter(|shown| **shown == line).count()
    };
    eventually("each message is handled, and the bad one three times", PATIENCE, || {
        let by = |id| CONSUMERS.iter().map(|name| count(&channel, name, id)).sum::<usize>();
        (0..40).all(|id| by(id) == if id == 7 { 3 } else { 1 }).then_some(())
    });
    for name in CONSUMERS {
        assert!((0..40).any(|id| count(&channel, name, id) > 0), "{name} has its share");
    }
    let dead = |line: &&String| line.contains("dead letter: ") && line.contains("-dlt-");
    let find = || channel.program.lines().iter().filter(dead).count();
    eventually("one dead letter is told", PATIENCE, || (find() == 1).then_some(()));
    assert!(
        !channel.program.lines().iter().any(|line| line.contains(RECEIVED)),
        "printing is not the handler"
    );
}

fn what_a_kept_handler_logs_is_shown_under_its_consumers_name(version: &'static str) {
    let handler = concat!("[\"", env!("CARGO_MANIFEST_DIR"), "/examples/handlers/handler.py\"]");
    let kept = |start: Start| start.set("consumer.handler", handler).set("consumer.handler_mode", "lines");
    let channel = Channel::start_with(version, kept);
    for id in 0..20 {
        channel.post(&format!("key{id}"), id);
    }
    let shown = |name: &str, id: u64| channel.program.lines().contains(&format!("{name} | order {id}"));
    eventually("each message is handled", PATIENCE, || {
        let by_one = |id| CONSUMERS.iter().filter(|name| shown(name, id)).count() == 1;
        (0..20).all(by_one).then_some(())
    });
    for name in CONSUMERS {
        assert!((0..20).any(|id| shown(name, id)), "{name} has its share");
    }
    assert!(!channel.program.lines().iter().any(|line| line.contains("\"ok\"")), "answers are not printed");
}

fn a_consumer_killed_while_its_handler_works_is_started_again_and_the_message_comes_again(
    version: &'static str,
) {
    let folder = Folder::new("handler");
    let script =
        "echo $PPID >> $1/begun; while test -d $1 -a ! -e $1/go; do sleep 0.05; done; echo done >> $1/done";
    let channel = Channel::start_with(version, |start| handler(start, script, &folder));
    channel.post("k", 1);
    let begun = |count: usize| {
        eventually(&format!("the handler was started {count} times"), PATIENCE, || {
            let text = fs::read_to_string(folder.path().join("begun")).unwrap_or_default();
            let ids: Vec<u32> = text.lines().filter_map(|line| line.parse().ok()).collect();
            (ids.len() >= count).then_some(ids)
        })
    };
    let victim = begun(1)[0];
    let name = CONSUMERS.into_iter().find(|name| channel.child(name) == victim).expect("its consumer");
    signal("KILL", &[victim]);
    // The first handler still runs, and has the consumer's output.
    begun(2);
    eventually(&format!("another {name} runs"), PATIENCE, || (channel.child(name) != victim).then_some(()));
    fs::write(folder.path().join("go"), "").expect("a file");
    eventually("both handlers end", PATIENCE, || {
        let text = fs::read_to_string(folder.path().join("done")).unwrap_or_default();
        (text.lines().count() == 2).then_some(())
    });
}

fn a_handler_that_does_not_exist_ends_everything_with_2(version: &'static str) {
    let place = Place::new(version);
    let start = place.program(Start::program("point-to-point"));
    let start = start.set("producer_api.listen", &format!("127.0.0.1:{}", free_port()));
    let mut program = start.set("consumer.handler", "[\"./no-such-program\"]").start();
    assert_eq!(program.wait(PATIENCE), Some(2));
    program.wait_for_outputs();
    let told = |line: &String| line.contains("consumer.handler: there is no program \"./no-such-program\"");
    assert!(program.lines().iter().chain(&program.log()).any(told), "{:?}", program.lines());
}
