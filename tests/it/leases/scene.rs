//! A topic, and workers that receive its messages over HTTP.

use std::net::SocketAddr;

use serde_json::{Value, json};

use crate::support::assistant::Record;
use crate::support::http::{Answer, Connection};
use crate::support::kafka::Kafka;
use crate::support::program::{Program, Start};
use crate::support::unique;

/// A topic with a group.
pub struct Scene<'a> {
    pub kafka: &'a Kafka,
    pub topic: String,
    pub group: String,
}

impl Scene<'static> {
    pub fn new(version: &'static str, partitions: u32) -> Scene<'static> {
        Scene::on(Kafka::shared(version), partitions, 1)
    }
}

impl<'a> Scene<'a> {
    /// On a cluster of the test's own.
    pub fn on(kafka: &'a Kafka, partitions: u32, replicas: u32) -> Scene<'a> {
        let (topic, group) = (unique("turnos"), unique("grupo"));
        kafka.assistant().create_topic(&topic, partitions, replicas, &[]);
        Scene { kafka, topic, group }
    }

    /// How to start an endpoint for the topic and the group.
    pub fn start(&self) -> Start {
        let start = Start::program("producer_api").on(self.kafka).set("kafka.topic", &self.topic);
        start.set("consumer.group", &self.group).set("retry.initial_backoff_ms", "20")
    }

    pub fn endpoint(&self) -> Program {
        Program::producer_with(self.start())
    }

    pub fn put(&self, key: Option<&str>, value: &str) {
        self.kafka.assistant().put(&self.topic, 0, key.map(str::as_bytes), Some(value.as_bytes()));
    }

    pub fn produce(&self, count: usize) {
        self.kafka.assistant().produce(&self.topic, "none", -1, "%d", count);
    }

    pub fn wait_for_commits(&self) {
        self.kafka.assistant().wait_for_commits(&self.group, &self.topic);
    }

    /// Whether no message has become a dead letter.
    pub fn has_no_dead_letters(&self) -> bool {
        self.kafka.assistant().is_empty(&format!("{}-dlt", self.topic))
    }

    pub fn dead_letters(&self) -> Vec<Record> {
        self.kafka.assistant().read(&format!("{}-dlt", self.topic), false)
    }
}

/// A message that was received.
#[derive(Debug, Clone)]
pub struct Message(pub Value);

impl Message {
    pub fn receipt(&self) -> &str {
        self.0["receipt"].as_str().expect("a receipt")
    }

    pub fn value(&self) -> &Value {
        &self.0["value"]
    }

    pub fn attempt(&self) -> u64 {
        self.0["attempt"].as_u64().expect("an attempt")
    }

    pub fn place(&self) -> (i64, i64) {
        let number = |name: &str| self.0[name].as_i64().expect("a number");
        (number("partition"), number("offset"))
    }
}

/// A worker with a connection of its own.
pub struct Worker {
    connection: Connection,
}

impl Worker {
    pub fn at(address: SocketAddr) -> Worker {
        Worker { connection: Connection::open(address).expect("a connection") }
    }

    pub fn of(endpoint: &Program) -> Worker {
        Worker::at(endpoint.address())
    }

    pub fn post(&mut self, path: &str, body: &str) -> Answer {
        self.connection.post(path, body.as_bytes()).unwrap_or_else(|error| panic!("POST {path}: {error}"))
    }

    /// Receives with this query; the answer has to be 200.
    pub fn receive(&mut self, query: &str) -> Vec<Message> {
        let answer = self.post(&format!("/recibir?{query}"), "");
        assert_eq!(answer.status, 200, "{answer:?}");
        messages(&answer)
    }

    /// Receives until there is a message.
    pub fn receive_one(&mut self) -> Message {
        let mut received = self.receive("wait_ms=60000");
        assert_eq!(received.len(), 1, "no message came");
        received.remove(0)
    }

    /// What is answered to `action` (`confirmar`, ...) with these receipts and this beside them.
    pub fn settle(&mut self, action: &str, receipts: &[&str], beside: &Value) -> Answer {
        let mut body = json!({ "receipts": receipts });
        for (name, value) in beside.as_object().into_iter().flatten() {
            body[name] = value.clone();
        }
        self.post(&format!("/{action}"), &body.to_string())
    }

    pub fn acknowledge(&mut self, message: &Message) -> u16 {
        self.settle("confirmar", &[message.receipt()], &json!({})).status
    }

    pub fn give_back(&mut self, message: &Message, beside: &Value) -> u16 {
        self.settle("devolver", &[message.receipt()], beside).status
    }
}

/// The messages in an answer.
pub fn messages(answer: &Answer) -> Vec<Message> {
    answer.json()["messages"].as_array().expect("messages").iter().cloned().map(Message).collect()
}
