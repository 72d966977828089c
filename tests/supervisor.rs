//! The default program: one command runs the channel, its children end with it, and a dead or frozen consumer's
//! partitions move at once. And its subcommands.

mod support;

use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use support::kafka::Kafka;
use support::ports::free_port;
use support::program::{Program, RECEIVED, Start, WAITING, binary};
use support::watchdog::Folder;
use support::{NEWEST, PATIENCE, eventually, my_turn, unique};

const CONSUMERS: [&str; 2] = ["consumer1", "consumer2"];

/// The channel on a topic and group of its own, once both consumers are members.
struct Channel {
    program: Program,
    topic: String,
    group: String,
}

impl Channel {
    fn start(kafka: &Kafka) -> Channel {
        Channel::start_with(kafka, |start| start)
    }

    fn start_with(kafka: &Kafka, further: impl FnOnce(Start) -> Start) -> Channel {
        let (topic, group) = (unique("mi-topico"), unique("grupo"));
        let start = Start::program("point-to-point").on(kafka);
        let start = start.set("kafka.topic", &topic).set("consumer.group", &group);
        let channel = Channel { program: Program::producer_with(further(start)), topic, group };
        for name in CONSUMERS {
            channel.program.wait_for_line(&format!("{name} | {WAITING}"), PATIENCE);
        }
        channel
    }

    /// Stores a message with a key; gives its partition.
    fn post(&self, key: &str, id: u64) -> i64 {
        let answer = self.program.post(&format!("/enviar?key={key}"), &format!("{{\"id\":{id}}}"));
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()["partition"].as_i64().expect("a partition")
    }

    /// Who has printed message `id`.
    fn printers(&self, id: u64) -> Vec<&'static str> {
        let lines = self.program.lines();
        let printed = |name: &&str| lines.contains(&format!("{name} | {RECEIVED}{{\"id\":{id}}}"));
        CONSUMERS.into_iter().filter(printed).collect()
    }

    /// Who prints message `id`.
    fn printer(&self, id: u64) -> &'static str {
        eventually(&format!("message {id} is printed"), PATIENCE, || self.printers(id).first().copied())
    }

    /// A key for each consumer whose messages it gets now, found by trying four that lie in partitions of their own.
    fn keys_by_consumer(&self, next_id: &mut u64) -> [String; 2] {
        let keys = self.one_key_each_partition(next_id);
        eventually("both consumers get messages", PATIENCE, || {
            let first = *next_id;
            let ids: Vec<u64> = keys.iter().map(|key| self.next(key, next_id)).collect();
            assert_eq!(ids.first(), Some(&first));
            let printers: Vec<&str> = ids.into_iter().map(|id| self.printer(id)).collect();
            let key_of =
                |name| printers.iter().position(|printer| *printer == name).map(|at| keys[at].clone());
            Some([key_of("consumer1")?, key_of("consumer2")?])
        })
    }

    fn one_key_each_partition(&self, next_id: &mut u64) -> Vec<String> {
        let mut found: Vec<(i64, String)> = Vec::new();
        for number in 0..1000 {
            let key = format!("k{number}");
            *next_id += 1;
            let partition = self.post(&key, *next_id - 1);
            if found.iter().all(|(known, _)| *known != partition) {
                found.push((partition, key));
            }
            if found.len() == 4 {
                return found.into_iter().map(|(_, key)| key).collect();
            }
        }
        panic!("a thousand keys do not reach all four partitions");
    }

    fn next(&self, key: &str, next_id: &mut u64) -> u64 {
        let id = *next_id;
        *next_id += 1;
        self.post(key, id);
        id
    }

    fn child(&self, name: &str) -> u32 {
        eventually(&format!("{name} runs"), PATIENCE, || {
            let named = |(_, words): &(u32, Vec<String>)| words.iter().any(|word| word == name);
            children(self.program.id()).into_iter().find(named).map(|(id, _)| id)
        })
    }
}

/// The child processes of a process, with their command lines.
fn children(parent: u32) -> Vec<(u32, Vec<String>)> {
    let processes = fs::read_dir("/proc").expect("the system's list of processes");
    let ids = processes.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
    let mut children: Vec<(u32, Vec<String>)> = ids
        .filter_map(|id| {
            let status = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
            // PID (COMMAND) STATE PPID; the command may hold anything.
            let mut words = status.rsplit_once(')')?.1.split_whitespace();
            let is_zombie = words.next()? == "Z";
            let is_child = words.next()?.parse() == Ok(parent);
            let line = fs::read(format!("/proc/{id}/cmdline")).ok()?;
            let line = String::from_utf8_lossy(&line);
            let words = line.split('\0').filter(|word| !word.is_empty()).map(str::to_owned);
            (is_child && !is_zombie).then(|| (id, words.collect()))
        })
        .collect();
    children.sort();
    children
}

fn is_gone(id: u32) -> bool {
    fs::read_to_string(format!("/proc/{id}/stat")).ok().is_none_or(|status| {
        status.rsplit_once(')').is_some_and(|(_, rest)| rest.trim_start().starts_with('Z'))
    })
}

fn wait_until_gone(ids: &[u32]) {
    eventually(&format!("the processes {ids:?} have ended"), PATIENCE, || {
        ids.iter().all(|id| is_gone(*id)).then_some(())
    });
}

fn signal(name: &str, ids: &[u32]) {
    let ids: Vec<String> = ids.iter().map(u32::to_string).collect();
    let status = Command::new("sh").args(["-c", &format!("kill -{name} {}", ids.join(" "))]).status();
    assert!(status.is_ok_and(|status| status.success()), "no signal {name} to {ids:?}");
}

fn ids_of(children: &[(u32, Vec<String>)]) -> Vec<u32> {
    children.iter().map(|(id, _)| *id).collect()
}

#[test]
fn one_command_runs_the_channel_and_each_message_is_printed_once_with_the_consumers_name() {
    let _turn = my_turn();
    let folder = Folder::new("log");
    let file = folder.path().join("all.log");
    let log_file = file.to_str().expect("a path");
    let channel = Channel::start_with(Kafka::shared(NEWEST), |start| start.set("log.file", log_file));
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
    Kafka::shared(NEWEST).assistant().wait_for_commits(&channel.group, &channel.topic);
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

#[test]
fn the_children_are_named_on_their_command_lines_and_what_is_secret_is_not() {
    let _turn = my_turn();
    let channel = Channel::start(Kafka::shared(NEWEST));
    let children = children(channel.program.id());
    let lines: Vec<String> = children.iter().map(|(_, words)| words[1..].join(" ")).collect();
    assert_eq!(lines.len(), 3, "{lines:?}");
    for start in ["producer_api ", "consumer --name consumer1 ", "consumer --name consumer2 "] {
        assert!(lines.iter().any(|line| line.starts_with(start)), "no {start:?} in {lines:?}");
    }
    for line in lines {
        assert!(line.contains(&format!("kafka.topic={}", channel.topic)), "settings reach it: {line}");
        assert!(!line.contains("token") && !line.contains(":0"), "{line}");
    }
}

#[test]
fn ctrl_c_and_sigterm_stop_all_of_it_cleanly() {
    let _turn = my_turn();
    // Ctrl-C reaches the whole group of processes, a signal from elsewhere the supervisor alone.
    for (name, everybody) in [("INT", true), ("INT", false), ("TERM", false)] {
        let mut channel = Channel::start(Kafka::shared(NEWEST));
        channel.post("k", 1);
        channel.printer(1);
        let ids = ids_of(&children(channel.program.id()));
        assert_eq!(ids.len(), 3);
        let mut receivers = vec![channel.program.id()];
        receivers.extend(ids.iter().filter(|_| everybody));
        signal(name, &receivers);
        assert_eq!(channel.program.wait(PATIENCE), Some(0), "SIG{name} to {receivers:?}");
        assert!(ids.iter().all(|id| is_gone(*id)), "it waits for its children");
        let group = Kafka::shared(NEWEST).assistant().group(&channel.group);
        assert!(group.members.is_empty(), "the members have left: {group:?}");
        channel.program.wait_for_outputs();
        let restarts =
            channel.program.lines().iter().filter(|line| line.contains("starting it again")).count();
        assert_eq!(restarts, 0, "{:?}", channel.program.lines());
    }
}

#[test]
fn children_end_when_their_supervisor_is_killed() {
    let _turn = my_turn();
    let channel = Channel::start(Kafka::shared(NEWEST));
    let ids = ids_of(&children(channel.program.id()));
    assert_eq!(ids.len(), 3);
    channel.program.signal("KILL");
    wait_until_gone(&ids);
}

#[test]
fn a_killed_child_is_started_again_and_gets_work() {
    let _turn = my_turn();
    let channel = Channel::start(Kafka::shared(NEWEST));
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

#[test]
fn the_partitions_of_a_killed_consumer_move_within_a_second() {
    let _turn = my_turn();
    let channel = Channel::start(Kafka::shared(NEWEST));
    let mut next_id = 0;
    let times: Vec<Duration> = (0..5).map(|round| takeover(&channel, round % 2, &mut next_id)).collect();
    println!("from kill -9 to the survivor's first message of a taken-over partition: {times:?}");
    let best = times.iter().min().expect("a round");
    assert!(*best < Duration::from_secs(1), "{times:?}");
}

#[test]
fn a_consumer_frozen_for_longer_than_max_processing_ms_is_taken_out_of_the_group_until_it_thaws() {
    let _turn = my_turn();
    let kafka = Kafka::shared(NEWEST);
    let channel = Channel::start_with(kafka, |start| start.set("consumer.max_processing_ms", "1000"));
    let mut next_id = 0;
    let keys = channel.keys_by_consumer(&mut next_id);
    let frozen = channel.child("consumer1");
    signal("STOP", &[frozen]);
    let id = channel.next(&keys[0], &mut next_id);
    assert_eq!(channel.printer(id), "consumer2");
    let group = kafka.assistant().group(&channel.group);
    assert_eq!(group.names(), ["consumer2"]);
    signal("CONT", &[frozen]);
    kafka.assistant().wait_for_members(&channel.group, &CONSUMERS, 1);
    channel.keys_by_consumer(&mut next_id);
    assert_eq!(channel.child("consumer1"), frozen, "it was not started again");
}

#[test]
fn a_child_that_cannot_work_with_its_settings_ends_everything_with_2() {
    let _turn = my_turn();
    let folder = Folder::new("settings");
    let file = folder.path().join("mine.toml");
    fs::write(&file, "[log]\nlevel = \"info\"\n").expect("a file");
    let mut channel = Channel::start_with(Kafka::shared(NEWEST), |start| {
        start.arguments(&["--config", file.to_str().expect("a path")])
    });
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
    let holder = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = holder.local_addr().expect("its address").to_string();
    let start = Start::program("point-to-point").on(Kafka::shared(NEWEST));
    let mut program = start.set("producer_api.listen", &address).start();
    assert_eq!(program.wait(PATIENCE), Some(1));
    program.wait_for_outputs();
    let lines = program.lines();
    let why = |line: &&String| line.starts_with("producer_api | ") && line.contains(&address);
    assert!(lines.iter().any(|line| why(&line)), "{lines:?}");
}

#[test]
fn a_closed_standard_output_ends_everything_with_1() {
    let _turn = my_turn();
    let address = format!("127.0.0.1:{}", free_port());
    let start = Start::program("point-to-point").on(Kafka::shared(NEWEST));
    let mut program =
        start.set("producer_api.listen", &address).set("kafka.topic", &unique("t")).held().start();
    let running = || Some(ids_of(&children(program.id()))).filter(|ids| ids.len() == 3);
    let ids = eventually("the children run", PATIENCE, running);
    program.close_output();
    assert_eq!(program.wait(PATIENCE), Some(1));
    wait_until_gone(&ids);
    program.wait_for_log(&["standard output is broken"], PATIENCE);
}

#[test]
fn a_blocked_standard_output_holds_up_the_consumers_alone_and_no_stop() {
    let _turn = my_turn();
    let kafka = Kafka::shared(NEWEST);
    let (topic, group) = (unique("mi-topico"), unique("grupo"));
    let address = format!("127.0.0.1:{}", free_port());
    let start = Start::program("point-to-point").on(kafka).set("producer_api.listen", &address).held();
    let mut program = start.set("kafka.topic", &topic).set("consumer.group", &group).start();
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

/// A subcommand that prints an answer and ends.
fn status(arguments: &[&str]) -> (Option<i32>, String, String) {
    let folder = Folder::new("status");
    let mut command = Command::new(binary("point-to-point"));
    command.args(arguments).current_dir(folder.path()).stdin(Stdio::null());
    let output = command.output().expect("the program");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(fs::read_dir(folder.path()).expect("its folder").next().is_none(), "it leaves nothing behind");
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

#[test]
fn status_shows_topics_members_and_lag() {
    let _turn = my_turn();
    let kafka = Kafka::shared(NEWEST);
    let mut channel = Channel::start(kafka);
    let partition = channel.post("k", 0);
    channel.printer(0);
    kafka.assistant().wait_for_commits(&channel.group, &channel.topic);
    let (topic, group) = (channel.topic.clone(), channel.group.clone());
    let show = || {
        let servers = format!("kafka.bootstrap_servers={}", kafka.bootstrap());
        // Settings may stand on both sides of the subcommand.
        let (code, printed, log) = status(&["--set", &servers, "status", "--set", "log.level=warn"]);
        assert_eq!((code, log.as_str()), (Some(0), ""), "{printed}");
        let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        let ours = printed.lines().filter(|line| line.contains(&topic) || line.contains(&group)).map(words);
        (ours.collect::<Vec<_>>(), printed.clone())
    };
    let has = |rows: &[Vec<String>], row: &[&str]| rows.iter().any(|found| found == row);
    let partition = partition.to_string();
    let (rows, printed) = show();
    assert!(has(&rows, &[&topic, &partition, "1"]), "{printed}");
    for name in CONSUMERS {
        assert!(has(&rows, &[&group, "Stable", name, "127.0.0.1", "2"]), "{printed}");
    }
    let owner = channel.printer(0);
    assert!(has(&rows, &[&group, &topic, &partition, "1", "1", "0", owner]), "{printed}");

    channel.program.stop();
    let start = Start::program("producer_api").on(kafka).set("kafka.topic", &topic);
    let producer = Program::producer_with(start);
    assert_eq!(producer.post("/enviar?key=k", "1").status, 200);
    let (rows, printed) = show();
    assert!(has(&rows, &[&group, "Empty", "-", "-", "-"]), "{printed}");
    assert!(has(&rows, &[&group, &topic, &partition, "1", "2", "1", "-"]), "{printed}");
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

#[test]
fn a_consumer_started_by_hand_joins_the_supervised_ones() {
    let _turn = my_turn();
    let kafka = Kafka::shared(NEWEST);
    let channel = Channel::start(kafka);
    let start = Start::command("consumer3", Command::new(binary("point-to-point")));
    let start = start.arguments(&["consumer", "--name", "consumer3"]).set("log.file", "").on(kafka);
    let mut third = start.set("kafka.topic", &channel.topic).set("consumer.group", &channel.group).start();
    third.wait_for_line(WAITING, PATIENCE);
    kafka.assistant().wait_for_members(&channel.group, &["consumer1", "consumer2", "consumer3"], 1);
    for id in 0..40 {
        channel.post(&format!("key{id}"), id);
    }
    third.wait_for_messages(1, PATIENCE);
    third.stop();
}

#[test]
fn an_endpoint_started_by_hand_serves() {
    let _turn = my_turn();
    let start = Start::command("producer_api", Command::new(binary("point-to-point")));
    let start = start.arguments(&["producer_api"]).set("log.file", "").on(Kafka::shared(NEWEST));
    let mut endpoint = Program::producer_with(start.set("kafka.topic", &unique("mi-topico")));
    assert_eq!(endpoint.post("/enviar", "1").status, 200);
    endpoint.stop();
    assert!(endpoint.lines().is_empty(), "nothing for a supervisor is printed");
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
