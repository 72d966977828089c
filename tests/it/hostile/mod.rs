//! The real `producer_api` under hostile input: every row of the table of statuses a thousand times,
//! thousands of connections, few descriptors. Beside it goes good traffic, which must not see one error.

mod crowds;
mod rows;
mod table;

use crate::support::kafka::Kafka;
use crate::support::load::{Book, Load};
use crate::support::program::{Program, Start};
use crate::support::unique;

/// A server with a consumer behind it.
struct Scene {
    topic: String,
    group: String,
    producer: Program,
    consumer: Program,
}

impl Scene {
    /// `adjust` adds to how the server is started.
    fn start(kafka: &Kafka, adjust: impl FnOnce(Start) -> Start) -> Scene {
        let (topic, group) = (unique("hostile"), unique("grupo"));
        let start =
            Start::program("producer_api").on(kafka).set("kafka.topic", &topic).set("log.level", "warn");
        let producer = Program::producer_with(adjust(start));
        let consumer = Program::consumer(kafka, "consumer1", &topic, &group);
        Scene { topic, group, producer, consumer }
    }

    /// Good traffic on so many connections.
    fn good_traffic(&self, connections: usize) -> Load {
        Load::start(self.producer.address(), connections, u64::MAX)
    }

    /// The good traffic has seen no error, and what is consumed is its messages, each once, and nothing else.
    fn check(&self, book: &Book) {
        assert_eq!((book.refused.len(), book.unknown.len()), (0, 0), "good traffic was harmed");
        assert!(!book.stored.is_empty());
        book.check_consumers(&[&self.consumer], 0);
    }

    /// A line of `/proc/PID/status` of the server, as a number: `Threads`, `VmHWM` (kB).
    fn usage(&self, name: &str) -> usize {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.producer.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).unwrap();
        line.split_whitespace().next().unwrap().parse().unwrap()
    }
}
