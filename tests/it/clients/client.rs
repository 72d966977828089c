//! The clients of others behind one face: how each is started, fed and read.

use std::process::Command;

use crate::support::java::java;
use crate::support::kafka::Kafka;
use crate::support::program::{Program, Start};
use crate::support::python::python;
use crate::support::{NEWEST, OLDEST, PATIENCE, eventually};

/// A client that others wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Client {
    /// `kcat`, on librdkafka.
    Kcat,
    /// Java's console producer and consumer of a version.
    Java(&'static str),
    /// confluent-kafka for Python, on librdkafka (tests/it/clients/drive_confluent.py).
    Confluent,
    /// kafka-python (tests/it/clients/drive_kafka_python.py).
    KafkaPython,
}

use Client::{Confluent, Java, KafkaPython, Kcat};

/// All of them.
pub const CLIENTS: [Client; 5] = [Kcat, Java(NEWEST), Java(OLDEST), Confluent, KafkaPython];

/// Settings with Java's names.
pub type Settings<'a> = &'a [(&'a str, &'a str)];

/// A header: name and value, `None` for null.
pub type Header = (String, Option<String>);

/// What all messages of one producer have beside their values.
#[derive(Default, Clone, Copy)]
pub struct Extras<'a> {
    /// The key.
    pub key: Option<&'a str>,
    /// The headers, in order.
    pub headers: &'a [(&'a str, Option<&'a str>)],
    /// The timestamp in milliseconds; the client's clock without. Only the Python clients can choose it.
    pub timestamp: Option<i64>,
}

impl Extras<'_> {
    /// The headers as a consumer reads them.
    pub fn as_read(&self) -> Vec<Header> {
        let owned = |(name, value): &(&str, Option<&str>)| ((*name).to_owned(), value.map(str::to_owned));
        self.headers.iter().map(owned).collect()
    }
}

/// One message as a client printed it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Record {
    /// Its partition.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
    /// Its timestamp in milliseconds.
    pub timestamp: i64,
    /// Its headers, in order.
    pub headers: Vec<Header>,
    /// Its key.
    pub key: Option<String>,
    /// Its value.
    pub value: Option<String>,
}

/// A producer that sends each line it is given as one message.
pub struct Producer {
    program: Program,
    prefix: String,
}

impl Producer {
    /// Sends one value.
    pub fn send(&mut self, value: &str) {
        let line = format!("{}{value}", self.prefix);
        self.program.write_line(&line);
    }

    /// Ends it; everything is acknowledged then.
    pub fn finish(mut self) {
        self.program.close_input();
        assert_eq!(self.program.wait(PATIENCE), Some(0), "not all was acknowledged");
    }
}

impl Client {
    /// What it goes by in names of topics and groups, and as a client id.
    pub fn name(self) -> String {
        match self {
            Kcat => "kcat".to_owned(),
            Java(version) => format!("java-{version}"),
            Confluent => "confluent-kafka".to_owned(),
            KafkaPython => "kafka-python".to_owned(),
        }
    }

    /// Sends these values, and waits until they are acknowledged.
    pub fn send(self, kafka: &Kafka, topic: &str, extras: Extras, settings: Settings, values: &[String]) {
        let mut producer = self.producer(kafka, topic, extras, settings);
        values.iter().for_each(|value| producer.send(value));
        producer.finish();
    }

    /// Starts a producer.
    pub fn producer(self, kafka: &Kafka, topic: &str, extras: Extras, settings: Settings) -> Producer {
        let (mut command, mut prefix) = (self.command("produce", kafka), String::new());
        match self {
            Kcat => {
                command.args(["-P", "-t", topic]);
                command.args(extras.key.into_iter().flat_map(|key| ["-k", key]));
                for (name, value) in extras.headers {
                    command.arg("-H").arg(assignment(name, *value));
                }
            }
            Java(version) => {
                command.args(["--topic", topic]);
                let reader = if version == OLDEST { "--property" } else { "--reader-property" };
                for property in ["parse.key=true", "parse.headers=true", "null.marker=NULL"] {
                    command.args([reader, property]);
                }
                prefix = javas_prefix(extras);
            }
            Confluent | KafkaPython => {
                command.arg(topic);
                command.args(extras.key.map(|key| format!("key={key}")));
                command.args(extras.timestamp.map(|time| format!("timestamp={time}")));
                for (name, value) in extras.headers {
                    command.arg(format!("header={}", assignment(name, *value)));
                }
            }
        }
        self.configure(&mut command, true, settings);
        Producer { program: Start::command(&self.name(), command).with_input().start(), prefix }
    }

    /// Starts a member of a group that subscribes to a topic, or to all topics that a regular expression
    /// (`^...`) fits, from their beginning.
    pub fn consumer(self, kafka: &Kafka, topic: &str, group: &str, settings: Settings) -> Program {
        let mut command = self.command("consume", kafka);
        match self {
            Kcat => {
                command.args(["-u", "-Z", "-f", "%p\\t%o\\t%T\\t%h\\t%k\\t%s\\n"]);
                self.configure(&mut command, false, &[("auto.offset.reset", "earliest")]);
                self.configure(&mut command, false, settings);
                command.args(["-G", group, topic]);
            }
            Java(version) => {
                let subscription = if topic.starts_with('^') { "--include" } else { "--topic" };
                command.args([subscription, topic, "--group", group, "--from-beginning"]);
                let formatter = if version == OLDEST { "--property" } else { "--formatter-property" };
                for name in ["partition", "offset", "timestamp", "headers", "key"] {
                    command.args([formatter, &format!("print.{name}=true")]);
                }
                command.args([formatter, "null.literal=NULL"]);
                self.configure(&mut command, false, settings);
            }
            Confluent | KafkaPython => {
                command.arg(topic);
                let common = [("group.id", group), ("auto.offset.reset", "earliest")];
                self.configure(&mut command, false, &common);
                self.configure(&mut command, false, settings);
            }
        }
        Start::command(&self.name(), command).start()
    }

    /// What a consumer of this kind has printed so far.
    pub fn records(self, consumer: &Program) -> Vec<Record> {
        consumer.lines().iter().map(|line| self.record(line)).collect()
    }

    /// Waits until a consumer of this kind has printed `count` messages; gives all, in the order of their
    /// places.
    pub fn wait_for_records(self, consumer: &Program, count: usize) -> Vec<Record> {
        consumer.wait_for_lines(count, PATIENCE);
        let mut records = self.records(consumer);
        records.sort();
        records
    }

    /// Tries to start a transaction; gives what the client says of it.
    pub fn transact(self, kafka: &Kafka, topic: &str) -> String {
        assert!(matches!(self, Confluent | KafkaPython), "{self:?} has no tool for that");
        let mut command = self.command("transact", kafka);
        command.arg(topic);
        self.configure(&mut command, true, &[("transactional.id", "t")]);
        let mut program = Start::command(&self.name(), command).start();
        program.wait(PATIENCE);
        program.wait_for_outputs();
        program.lines().join("\n")
    }

    /// The program with the address of the brokers.
    fn command(self, what: &str, kafka: &Kafka) -> Command {
        match self {
            Kcat => {
                let mut command = Command::new("kcat");
                // Without -E the first lost connection ends it.
                command.args(["-E", "-b", &kafka.bootstrap()]);
                command
            }
            Java(version) => {
                let mut command = java(version);
                command.args(QUIET);
                command.arg(match (what, version) {
                    ("consume", _) => "org.apache.kafka.tools.consumer.ConsoleConsumer",
                    (_, OLDEST) => "kafka.tools.ConsoleProducer",
                    _ => "org.apache.kafka.tools.ConsoleProducer",
                });
                command.args(["--bootstrap-server", &kafka.bootstrap()]);
                command
            }
            Confluent => driver("drive_confluent.py", what, kafka),
            KafkaPython => driver("drive_kafka_python.py", what, kafka),
        }
    }

    fn configure(self, command: &mut Command, producer: bool, settings: Settings) {
        for (name, value) in settings {
            match self {
                Kcat if *name == "metadata.max.age.ms" => {
                    command.arg("-X").arg(format!("topic.metadata.refresh.interval.ms={value}"));
                }
                Kcat if *name == "bootstrap.servers" => {
                    command.args(["-b", value]);
                }
                Kcat => {
                    command.arg("-X").arg(format!("{name}={value}"));
                }
                // The console producer overrules the property of this name.
                Java(_) if *name == "compression.type" => {
                    command.args(["--compression-codec", value]);
                }
                Java(version) => {
                    let option = match (version, producer) {
                        (OLDEST, true) => "--producer-property",
                        (OLDEST, false) => "--consumer-property",
                        _ => "--command-property",
                    };
                    let value = if *value == "cooperative-sticky" { COOPERATIVE } else { value };
                    command.arg(option).arg(format!("{name}={value}"));
                }
                Confluent | KafkaPython => {
                    command.arg(format!("{name}={value}"));
                }
            }
        }
    }

    /// `partition offset timestamp headers key value`; Java's console consumer puts names before the first
    /// three.
    fn record(self, line: &str) -> Record {
        let parts: Vec<&str> = line.splitn(6, '\t').collect();
        let not_null = |text: &str| (text != "NULL").then(|| text.to_owned());
        let number = |text: &str| -> i64 {
            let digits = text.rsplit(':').next().unwrap_or_default();
            digits.parse().unwrap_or_else(|_| panic!("{self:?} printed no message: {line:?}"))
        };
        let [first, second, third, headers, key, value] = parts[..] else {
            panic!("{self:?} printed no message: {line:?}")
        };
        let java = matches!(self, Java(_));
        let (partition, offset, timestamp) =
            if java { (second, third, first) } else { (first, second, third) };
        let headers = if headers == "NO_HEADERS" { "" } else { headers };
        let header = |pair: &str| {
            let (name, value) = pair.split_once(if java { ':' } else { '=' }).unwrap_or((pair, "NULL"));
            (name.to_owned(), not_null(value))
        };
        Record {
            partition: number(partition) as i32,
            offset: number(offset),
            timestamp: number(timestamp),
            headers: headers.split(',').filter(|pair| !pair.is_empty()).map(header).collect(),
            key: not_null(key),
            value: not_null(value),
        }
    }
}

const COOPERATIVE: &str = "org.apache.kafka.clients.consumer.CooperativeStickyAssignor";

/// Errors, and what becomes of the partitions of a member.
const QUIET: [&str; 3] = [
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=error",
    "-Dorg.slf4j.simpleLogger.log.org.apache.kafka.clients.consumer.internals.ConsumerCoordinator=info",
    "-Dorg.slf4j.simpleLogger.log.org.apache.kafka.clients.consumer.internals.ConsumerRebalanceListenerInvoker=info",
];

/// `name=value`; the name alone stands for null.
fn assignment(name: &str, value: Option<&str>) -> String {
    value.map_or(name.to_owned(), |value| format!("{name}={value}"))
}

/// What the console producer reads before each value: the headers and the key.
fn javas_prefix(extras: Extras) -> String {
    let pair = |(name, value): &(&str, Option<&str>)| format!("{name}:{}", value.unwrap_or("NULL"));
    let headers: Vec<String> = extras.headers.iter().map(pair).collect();
    let headers = if headers.is_empty() { "NULL".to_owned() } else { headers.join(",") };
    format!("{headers}\t{}\t", extras.key.unwrap_or("NULL"))
}

/// One of the drivers, which speak the same.
fn driver(script: &str, what: &str, kafka: &Kafka) -> Command {
    let mut command = python(script);
    command.args([what, &kafka.bootstrap()]);
    command
}

/// Waits until these consumers together have printed `count` messages; gives all, in the order of their
/// places.
pub fn wait_for_all(consumers: &[(Client, &Program)], count: usize) -> Vec<Record> {
    eventually(&format!("{count} messages are printed"), PATIENCE, || {
        let lines: usize = consumers.iter().map(|(_, consumer)| consumer.lines().len()).sum();
        (lines >= count).then_some(())
    });
    let mut records: Vec<Record> =
        consumers.iter().flat_map(|(client, consumer)| client.records(consumer)).collect();
    records.sort();
    records
}
