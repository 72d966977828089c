//! What a queue consumer takes of its machine, whatever waits for it.

use std::fs;
use std::thread;
use std::time::Duration;

use super::scene::Scene;
use crate::supervisor::channel::children;
use crate::support::{EMBEDDED, NEWEST, PATIENCE, eventually, run_on};

run_on! {
    mod kafka_4_3 on NEWEST {
        memory_threads_and_processes_stay_within_what_the_settings_say as HEAVY,
    }
    mod embedded on EMBEDDED {
        memory_threads_and_processes_stay_within_what_the_settings_say as HEAVY,
    }
}

const CONCURRENCY: usize = 64;
const PARTITIONS: u32 = 4;

/// The least that may be set.
const BUFFER: usize = 1 << 20;

/// All that a consumer takes beside its buffer: its program without optimisation, its threads, and what is
/// being fetched.
const BESIDE: usize = 40 << 20;

/// Threads beside the workers.
const OTHERS: usize = 16;

/// Bytes of a message: few enough that all workers have one while the buffer is full.
const BYTES: usize = 4_096;

/// Messages that are there at first, and those that come while the handlers are held up. In memory they would
/// be twice as much as it may take.
const FIRST: usize = 400;
const MORE: usize = 2 * (BUFFER + BESIDE) / BYTES;

/// Nobody goes on before the file `open` is there, and the first of each partition not before `go` is.
const SCRIPT: &str = r#"
hold() { until [ -e "$1/$2" ]; do [ -d "$1" ] || exit 1; sleep 0.3; done; }
begin $1
hold $1 open
[ $POINT_TO_POINT_OFFSET -gt 0 ] || hold $1 go
end $1
"#;

/// What a process takes: bytes in memory, threads, children.
#[derive(Debug, Default, Clone, Copy)]
struct Taken {
    bytes: usize,
    threads: usize,
    children: usize,
}

impl Taken {
    fn by(process: u32) -> Taken {
        let status = fs::read_to_string(format!("/proc/{process}/status")).expect("it runs");
        let number = |name: &str| -> usize {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("a line");
            line.split_whitespace().next().and_then(|number| number.parse().ok()).expect("a number")
        };
        let children = children(process).len();
        Taken { bytes: number("VmRSS:") * 1_024, threads: number("Threads:"), children }
    }

    fn check(self) -> Taken {
        assert!(self.bytes <= BUFFER + BESIDE, "{self:?}");
        assert!(self.threads <= CONCURRENCY + OTHERS, "{self:?}");
        assert!(self.children <= CONCURRENCY, "{self:?}");
        self
    }
}

fn memory_threads_and_processes_stay_within_what_the_settings_say(version: &'static str) {
    let scene = Scene::new(version, PARTITIONS);
    let template = format!("{{\"id\":%d,\"filler\":\"{}\"}}", "x".repeat(BYTES));
    let store = |count| scene.kafka.assistant().produce(&scene.topic, "none", -1, &template, count);
    store(FIRST);
    let start = scene.consumer(SCRIPT).set("consumer.concurrency", &CONCURRENCY.to_string());
    let start = start.set("consumer.buffer_bytes", &BUFFER.to_string()).set("log.level", "warn");
    let mut consumer = start.start();
    scene.wait_for_begun(CONCURRENCY);
    let held = Taken::by(consumer.id()).check();
    assert_eq!(held.children, CONCURRENCY, "all are at work");
    store(MORE);
    // It would have fetched them by now, if it did.
    for _ in 0..20 {
        Taken::by(consumer.id()).check();
        thread::sleep(Duration::from_millis(100));
    }
    println!("with all workers held up: {held:?}, then {:?}", Taken::by(consumer.id()));
    scene.touch("open");
    eventually("the others go on", PATIENCE, || {
        Taken::by(consumer.id()).check();
        (scene.lines("log").len() > 2 * FIRST).then_some(())
    });
    let note =
        eventually("what is done is noted", PATIENCE, || scene.note().filter(|note| note.done_count() > 50));
    assert_eq!((scene.commit().map(|(next, _)| next), note.done[0].0), (Some(0), 1), "the first is open");
    let (_, text) = scene.commit().expect("a commit");
    println!("then {:?}, a note of {} characters", Taken::by(consumer.id()).check(), text.len());
    scene.touch("go");
    consumer.stop();
}
