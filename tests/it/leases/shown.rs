//! What the endpoint's metrics tell of the queues that workers receive from.

use std::thread;

use serde_json::json;

use super::scene::{Message, Scene, Worker};
use crate::support::metrics::Scrape;
use crate::support::program::Program;
use crate::support::{PATIENCE, eventually, eventually_equal};

/// The metrics of one queue.
struct Told {
    scrape: Scrape,
    labels: [(&'static str, String); 2],
}

impl Told {
    fn of(endpoint: &Program, scene: &Scene, group: &str) -> Told {
        let labels = [("topic", scene.topic.clone()), ("group", group.to_owned())];
        Told { scrape: Scrape::of(endpoint.address()), labels }
    }

    fn value_with(&self, name: &str, beside: &[(&str, &str)]) -> f64 {
        let labels = self.labels.iter().map(|(name, value)| (*name, value.as_str()));
        let labels: Vec<(&str, &str)> = labels.chain(beside.iter().copied()).collect();
        self.scrape.value(&format!("point_to_point_consumer_{name}"), &labels)
    }

    fn values<const N: usize>(&self, names: [&str; N]) -> [f64; N] {
        names.map(|name| self.value_with(name, &[]))
    }

    fn ended<const N: usize>(&self, outcomes: [&str; N]) -> [f64; N] {
        outcomes.map(|outcome| self.value_with("leases_ended_total", &[("outcome", outcome)]))
    }

    /// What is told of all queues together.
    fn of_all<const N: usize>(&self, names: [&str; N]) -> [f64; N] {
        names.map(|name| self.scrape.value(&format!("point_to_point_consumer_{name}"), &[]))
    }
}

const MESSAGES: [&str; 3] = ["messages_open", "messages_leased", "messages_waiting"];
const ENDS: [&str; 5] = ["acknowledged", "given_back", "run_out", "lost", "not_json"];
const ALL: [&str; 4] = ["queues", "queues_limit", "leases", "leases_limit"];

/// Receives until there are so many messages.
fn received(worker: &mut Worker, count: usize, query: &str) -> Vec<Message> {
    let mut messages = Vec::new();
    eventually("so many messages", PATIENCE, || {
        let query = format!("max={}&wait_ms=1000&{query}", count - messages.len());
        messages.extend(worker.receive(&query));
        (messages.len() == count).then_some(())
    });
    messages
}

pub fn a_scrape_tells_what_workers_have_and_did_of_each_open_queue(version: &'static str) {
    let scene = Scene::new(version, 1);
    let start = scene.start().set("queue.idle_ms", "1000").set("queue.max_queues", "7");
    let endpoint = Program::producer_with(start.set("queue.max_leases", "50"));
    let told = || Told::of(&endpoint, &scene, &scene.group);
    assert_eq!(told().of_all(ALL), [0.0, 7.0, 0.0, 50.0]);
    (0..5).for_each(|value| scene.put(None, &value.to_string()));
    let mut worker = Worker::of(&endpoint);
    let four = received(&mut worker, 4, "");
    eventually_equal("all are open, and four in hand", &[5.0, 4.0, 0.0], || told().values(MESSAGES));
    assert!(told().values(["oldest_open_message_age_seconds"])[0] > 0.0);

    assert_eq!(worker.acknowledge(&four[0]), 200);
    assert_eq!(worker.give_back(&four[1], &json!({"delay_ms": 600_000})), 200);
    assert_eq!(worker.settle("prorrogar", &[four[2].receipt()], &json!({})).status, 200);
    let silent = received(&mut worker, 1, "lease_ms=1000");
    eventually_equal("its lease runs out", &[1.0, 1.0, 1.0, 0.0, 0.0], || told().ended(ENDS));
    let again = received(&mut worker, 1, "");
    assert_eq!((again[0].place(), again[0].attempt()), (silent[0].place(), 2));
    assert_eq!(worker.acknowledge(&silent[0]), 409, "what is late counts for nothing");
    let told_now = told();
    assert_eq!(told_now.values(MESSAGES), [4.0, 3.0, 1.0]);
    assert_eq!(told_now.values(["leases_given_total", "leases_extended_total"]), [6.0, 1.0]);
    assert_eq!(told_now.ended(ENDS), [1.0, 1.0, 1.0, 0.0, 0.0]);
    assert_eq!(told_now.of_all(ALL), [1.0, 7.0, 3.0, 50.0]);

    thread::scope(|scope| {
        let waits = scope.spawn(|| Worker::of(&endpoint).receive_one());
        eventually_equal("a worker waits", &[1.0], || told().values(["receives_waiting"]));
        scene.put(None, "5");
        let message = waits.join().expect("a message");
        assert_eq!(worker.acknowledge(&message), 200);
    });
    assert_eq!(told().values(["receives_waiting"]), [0.0]);
    let other = received(&mut worker, 1, "group=otra");
    assert_eq!(Told::of(&endpoint, &scene, "otra").values(["leases_given_total"]), [1.0]);
    assert_eq!(told().of_all(ALL), [2.0, 7.0, 4.0, 50.0]);

    // What is closed is not told any more.
    for message in [&four[2], &four[3], &again[0], &other[0]] {
        assert_eq!(worker.acknowledge(message), 200);
    }
    eventually_equal("both queues are closed", &[0.0, 7.0, 0.0, 50.0], || told().of_all(ALL));
    assert!(told().scrape.values("point_to_point_consumer_messages_open").is_empty());
}

pub fn what_is_no_json_is_told_as_no_workers(version: &'static str) {
    let scene = Scene::new(version, 1);
    let endpoint = scene.endpoint();
    scene.put(None, "{");
    scene.put(None, "1");
    let mut worker = Worker::of(&endpoint);
    let message = worker.receive_one();
    let told = || Told::of(&endpoint, &scene, &scene.group);
    assert_eq!(told().values(["leases_given_total"]), [2.0]);
    assert_eq!(told().ended(ENDS), [0.0, 0.0, 0.0, 0.0, 1.0]);
    assert_eq!(told().of_all(["leases"]), [1.0]);
    assert_eq!(worker.acknowledge(&message), 200);
}
