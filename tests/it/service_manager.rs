//! What the programs tell a service manager, as systemd hears it with `Type=notify`: the test has the socket.
//!
//! The watchdog's time is short here, so that a silence is soon one.

#![cfg(target_os = "linux")]

use std::cell::RefCell;
use std::fs;
use std::io::ErrorKind;
use std::net::TcpStream;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::supervisor::channel::{CONSUMERS, Frozen, Place, children};
use crate::support::kafka::Kafka;
use crate::support::ports::free_port;
use crate::support::program::{Program, Start, WAITING, binary};
use crate::support::{EMBEDDED, PATIENCE, eventually, my_turn, turn, unique};

/// The time of the watchdog.
const WATCHDOG: Duration = Duration::from_secs(4);

/// How a read ends that heard nothing: its time is over, or a signal came.
const NOTHING_YET: [ErrorKind; 3] = [ErrorKind::WouldBlock, ErrorKind::TimedOut, ErrorKind::Interrupted];

/// The service manager: the socket that it gives to a program.
struct Manager {
    name: String,
    socket: UnixDatagram,
    /// All that was heard.
    heard: RefCell<Vec<String>>,
}

impl Manager {
    fn new() -> Manager {
        let name = unique(&format!("point-to-point-{}", std::process::id()));
        let address = SocketAddr::from_abstract_name(&name).expect("an abstract name");
        let socket = UnixDatagram::bind_addr(&address).expect("a socket");
        Manager { name, socket, heard: RefCell::default() }
    }

    /// The program, started as this manager starts it.
    fn start(&self, start: Start) -> Start {
        let start = start.environment("NOTIFY_SOCKET", &format!("@{}", self.name));
        start.environment("WATCHDOG_USEC", &WATCHDOG.as_micros().to_string())
    }

    /// The next message within this time.
    fn next(&self, patience: Duration) -> Option<String> {
        let deadline = Instant::now() + patience;
        let mut bytes = [0; 4096];
        let length = loop {
            let left = deadline.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())?;
            self.socket.set_read_timeout(Some(left)).expect("a timeout");
            match self.socket.recv(&mut bytes) {
                Ok(length) => break length,
                Err(error) => assert!(NOTHING_YET.contains(&error.kind()), "{error}"),
            }
        };
        let message = String::from_utf8(bytes[..length].to_vec()).expect("text");
        self.heard.borrow_mut().push(message.clone());
        Some(message)
    }

    /// Waits for a message with a line that begins so, and gives the message.
    fn wait_for(&self, line: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.next(deadline.saturating_duration_since(Instant::now())) {
                Some(message) if message.lines().any(|told| told.starts_with(line)) => return message,
                Some(_) => {}
                None => panic!("the manager heard no {line}: {:?}", self.heard.borrow()),
            }
        }
    }

    /// Waits for a status that begins so, unless it was heard already: it may come before the readiness.
    fn wait_for_status(&self, status: &str) {
        let line = format!("STATUS={status}");
        let was_heard = self.heard.borrow().iter().any(|message| message.contains(&line));
        if !was_heard {
            self.wait_for(&line);
        }
    }

    /// Waits for so many signs of life.
    fn wait_for_life(&self, count: usize) {
        (0..count).for_each(|_| _ = self.wait_for("WATCHDOG=1"));
    }

    /// Waits until there is no sign of life for the whole time of the watchdog: systemd restarts it then.
    fn wait_for_silence(&self) {
        let deadline = Instant::now() + PATIENCE;
        let mut last = Instant::now();
        while last.elapsed() < WATCHDOG {
            assert!(Instant::now() < deadline, "the signs of life go on");
            let left = WATCHDOG.saturating_sub(last.elapsed());
            if self.next(left).is_some_and(|message| message.contains("WATCHDOG=1")) {
                last = Instant::now();
            }
        }
    }
}

/// The default program under a manager, ready.
fn channel(manager: &Manager) -> (Program, Place) {
    let place = Place::new(EMBEDDED);
    let start = manager.start(place.program(Start::program("point-to-point")));
    let address = format!("127.0.0.1:{}", free_port());
    let program = start.set("producer_api.listen", &address).start();
    manager.wait_for("READY=1");
    manager.wait_for_status("starting");
    TcpStream::connect(&address).expect("what is ready can be connected to");
    (program, place)
}

fn child(program: &Program, name: &str) -> u32 {
    eventually(&format!("{name} runs"), PATIENCE, || {
        let named = |(_, words): &(u32, Vec<String>)| words.iter().any(|word| word == name);
        children(program.id()).into_iter().find(named).map(|(id, _)| id)
    })
}

/// The manager hears that it stops, and that the stop may take its time.
fn stops(manager: &Manager, program: &mut Program, seconds: u64) {
    program.signal("TERM");
    let stopping = manager.wait_for("STOPPING=1");
    let longer = stopping.lines().find_map(|line| line.strip_prefix("EXTEND_TIMEOUT_USEC="));
    let longer: u64 = longer.and_then(|time| time.parse().ok()).expect("a time");
    assert!(longer >= seconds * 1_000_000, "{stopping}");
    assert_eq!(program.wait(PATIENCE), Some(0));
}

#[test]
fn the_default_program_tells_of_its_start_its_life_and_its_stop_and_its_children_know_of_no_manager() {
    let _turn = turn::Turn::wait(turn::HEAVY);
    let manager = Manager::new();
    let (mut program, _place) = channel(&manager);
    manager.wait_for_status("messages for topic");
    manager.wait_for_life(3);
    for name in CONSUMERS.iter().chain(&["producer-api"]) {
        let environment =
            fs::read(format!("/proc/{}/environ", child(&program, name))).expect("its environment");
        let environment = String::from_utf8_lossy(&environment);
        assert!(!environment.contains("NOTIFY_SOCKET") && !environment.contains("WATCHDOG"), "{environment}");
    }
    stops(&manager, &mut program, 10);
}

#[test]
fn the_signs_of_life_end_while_the_endpoint_is_frozen_and_not_while_a_consumer_is() {
    let _turn = turn::Turn::wait(turn::HEAVY);
    let manager = Manager::new();
    let (mut program, _place) = channel(&manager);
    let frozen = Frozen::new(child(&program, "consumer1"));
    manager.wait_for_life(8);
    drop(frozen);
    let frozen = Frozen::new(child(&program, "producer-api"));
    manager.wait_for_silence();
    drop(frozen);
    manager.wait_for_life(2);
    stops(&manager, &mut program, 10);
}

#[test]
fn an_endpoint_whose_kafka_is_away_is_started_and_alive_and_says_what_it_waits_for() {
    let _turn = my_turn();
    let manager = Manager::new();
    let away = format!("127.0.0.1:{}", free_port());
    let start = manager.start(Start::program("producer_api")).set("kafka.bootstrap_servers", &away);
    let start = start.set("producer_api.drain_ms", "1000");
    let mut endpoint = start.set("producer_api.listen", "127.0.0.1:0").start();
    manager.wait_for("READY=1");
    manager.wait_for_status("not ready: ");
    manager.wait_for_life(3);
    stops(&manager, &mut endpoint, 11);
}

#[test]
fn a_consumer_and_an_adapter_say_why_no_broker_can_be_reached_and_that_one_can_again() {
    let _turn = my_turn();
    let kafka = Kafka::start(EMBEDDED, 1);
    let managers = [Manager::new(), Manager::new()];
    let [of_consumer, of_adapter] = &managers;
    let (topic, group) = (unique("pedidos"), unique("grupo"));
    let consumer = of_consumer.start(Program::consumer_start(&kafka, "consumer1", &topic, &group)).start();
    let adapter = Start::program("adapter").on(&kafka).set("adapter.listen", "127.0.0.1:0");
    let adapter = of_adapter.start(adapter).start();
    consumer.wait_for_line(WAITING, PATIENCE);
    let both = |what: [&str; 2]| {
        for (manager, what) in managers.iter().zip(what) {
            manager.wait_for(&format!("STATUS={what}"));
        }
    };
    both(["consuming as consumer1 of ", "listening on "]);
    kafka.kill_node(0);
    both(["not ready: no broker can be reached: "; 2]);
    kafka.start_node(0);
    both(["consuming as consumer1 of ", "listening on "]);
    drop((consumer, adapter));
}

#[test]
fn consumers_of_either_kind_tell_of_their_life_and_their_handlers_know_of_no_manager() {
    let _turn = my_turn();
    let place = Place::new(EMBEDDED);
    let handler = r#"consumer.handler=["sh", "-c", "echo \"[$NOTIFY_SOCKET$WATCHDOG_USEC]\""]"#;
    for further in [&[][..], &["--set", handler]] {
        let manager = Manager::new();
        let command = Start::command("consumer", Command::new(binary("point-to-point")));
        let command = place.program(command.arguments(&["consumer", "--name", "c1"]).set("log.file", ""));
        let mut consumer = manager.start(command.arguments(further)).start();
        manager.wait_for("READY=1");
        manager.wait_for_status("consuming as c1");
        // Twice consumer.max_processing_ms, for which its loop may stand still.
        manager.wait_for("WATCHDOG_USEC=600000000");
        manager.wait_for_life(3);
        if !further.is_empty() {
            let settings: Vec<String> = place.settings().flat_map(|set| ["--set".to_owned(), set]).collect();
            let settings: Vec<&str> = settings.iter().map(String::as_str).collect();
            let producer = Start::program("producer").arguments(&settings).with_input();
            let mut producer = producer.start();
            producer.write_line(r#"{"id":1}"#);
            producer.close_input();
            assert_eq!(producer.wait(PATIENCE), Some(0), "{:?}", producer.log());
            consumer.wait_for_line("[]", PATIENCE);
        }
        stops(&manager, &mut consumer, 10);
    }
}
