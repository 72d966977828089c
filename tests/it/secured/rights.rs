//! ACLs: with the rights that docs/kafka-security.md lists each program does its work, and without one of
//! them it says which.

use super::refusals::{ends_with_one_sentence, readiness};
use super::{consumer, joined, post_to};
use crate::foreign_programs::stage::Stage;
use crate::leases::scene::messages;
use crate::support::metrics::get;
use crate::support::ports::free_port;
use crate::support::program::{Program, Start, WAITING};
use crate::support::secured::{PASSWORD, Secured, Way};
use crate::support::{PATIENCE, eventually, unique};

/// A right: an operation on a kind of resource.
pub(super) type Right = (&'static str, Resource, &'static str);

/// What a right is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Resource {
    Topic,
    DeadLetters,
    Group,
    Settled,
}

use Resource::{DeadLetters, Group, Settled, Topic};

const SEND: &[Right] = &[("TOPIC", Topic, "WRITE")];
const CONSUME: &[Right] = &[("TOPIC", Topic, "READ"), ("GROUP", Group, "READ")];
const BOTH: &[Right] = &[SEND[0], CONSUME[0], CONSUME[1]];
const SET_ASIDE: &[Right] = &[("TOPIC", DeadLetters, "WRITE"), ("TOPIC", DeadLetters, "CREATE")];
const LOOK: &[Right] = &[("TOPIC", Topic, "DESCRIBE"), ("GROUP", Group, "DESCRIBE")];
const LIST: &[Right] = &[("TOPIC", DeadLetters, "READ"), ("GROUP", Settled, "DESCRIBE")];
const DISCARD: &[Right] = &[("TOPIC", DeadLetters, "READ"), ("GROUP", Settled, "READ")];
const REPLAY: &[Right] =
    &[("TOPIC", DeadLetters, "READ"), ("GROUP", Settled, "READ"), ("TOPIC", Topic, "WRITE")];

/// A user with certain rights, a topic and a group.
pub(super) struct Stranger<'a> {
    pub(super) kafka: &'a Secured,
    user: String,
    way: Way,
    pub(super) topic: String,
    pub(super) group: String,
}

impl<'a> Stranger<'a> {
    /// Somebody without any right; the topic has two partitions.
    fn new(kafka: &'a Secured) -> Stranger<'a> {
        let stranger = Stranger::without_topic(kafka);
        kafka.kafka.assistant().create_topic(&stranger.topic, 2, 1, &[]);
        stranger
    }

    pub(super) fn without_topic(kafka: &'a Secured) -> Stranger<'a> {
        Stranger::of(kafka, unique("seguro"), unique("grupo"))
    }

    fn of(kafka: &'a Secured, topic: String, group: String) -> Stranger<'a> {
        let user = unique("usuario");
        kafka.add_user(&user, PASSWORD);
        let way = kafka.sasl_as("SASLTLS", "SCRAM-SHA-256", &user, PASSWORD);
        Stranger { kafka, user, way, topic, group }
    }

    /// The same topic and group, but another user, without rights.
    pub(super) fn another(&self) -> Stranger<'a> {
        Stranger::of(self.kafka, self.topic.clone(), self.group.clone())
    }

    pub(super) fn with(self, rights: &[Right]) -> Stranger<'a> {
        rights.iter().for_each(|right| self.allow(*right));
        self
    }

    pub(super) fn name(&self, resource: Resource) -> String {
        match resource {
            Topic => self.topic.clone(),
            DeadLetters => format!("{}-dlt", self.topic),
            Group => self.group.clone(),
            Settled => format!("{}-dlt-settled", self.topic),
        }
    }

    fn allow(&self, (kind, resource, operation): Right) {
        self.kafka.allow(&self.user, kind, &self.name(resource), operation);
    }

    fn forbid(&self, (kind, resource, operation): Right) {
        self.kafka.forbid(&self.user, kind, &self.name(resource), operation);
    }

    pub(super) fn start(&self, name: &str) -> Start {
        consumer(&self.way, name, &self.topic, &self.group)
    }

    /// Sends one message as the user who may do everything.
    pub(super) fn put(&self, value: &str) {
        self.kafka.kafka.assistant().put(&self.topic, 0, None, Some(value.as_bytes()));
    }

    /// A subcommand of the default program, run to its end: its exit code and what it printed.
    pub(super) fn run(&self, words: &[&str]) -> (Option<i32>, String) {
        let mut program = self.start("point-to-point").arguments(words).start();
        let code = program.wait(PATIENCE);
        program.wait_for_outputs();
        (code, [program.lines(), program.log()].concat().join("\n"))
    }
}

pub fn senders_need_to_write_to_the_topic_alone(version: &'static str) {
    let stranger = Stranger::new(Secured::shared(version)).with(SEND);
    let mut producer = stranger.start("producer").arguments(&["--count", "100"]).start();
    assert_eq!(producer.wait(PATIENCE), Some(0));
    let endpoint = post_to(&stranger.way, &stranger.topic);
    assert_eq!(endpoint.post("/enviar", r#"{"id":1}"#).status, 200);
    eventually("it is ready", PATIENCE, || (readiness(&endpoint).0 == 200).then_some(()));
}

pub fn a_sender_that_may_create_the_topic_creates_it(version: &'static str) {
    let stranger = Stranger::without_topic(Secured::shared(version)).with(SEND);
    stranger.allow(("TOPIC", Topic, "CREATE"));
    let mut producer = stranger.start("producer").arguments(&["--count", "10"]).start();
    assert_eq!(producer.wait(PATIENCE), Some(0));
}

pub fn consumers_need_to_read_the_topic_and_the_group(version: &'static str) {
    let kafka = Secured::shared(version);
    for name in ["consumer1", "consumer_pull", "consumer_push"] {
        let stranger = Stranger::new(kafka).with(CONSUME);
        let mut program = joined(stranger.start(name));
        stranger.put(r#"{"id":1}"#);
        program.wait_for_messages(1, PATIENCE);
        kafka.kafka.assistant().wait_for_commits(&stranger.group, &stranger.topic);
        program.stop();
    }
}

pub fn dead_letters_need_the_rights_of_their_topic_and_group(version: &'static str) {
    let kafka = Secured::shared(version);
    let reader = Stranger::new(kafka).with(CONSUME).with(SET_ASIDE);
    let start = reader.start("consumer1").set("consumer.handler", r#"["false"]"#);
    let program = joined(start.set("retry.max_attempts", "1"));
    reader.put(r#"{"id":1}"#);
    reader.put(r#"{"id":2}"#);
    program.wait_for_log(&["dead letter", "offset=1 is now"], PATIENCE);
    let (code, printed) = reader.another().with(LIST).run(&["dead-letters", "list"]);
    assert!(code == Some(0) && printed.contains("0:1"), "{printed}");
    let (code, printed) = reader.another().with(DISCARD).run(&["dead-letters", "discard", "0:0"]);
    assert_eq!(code, Some(0), "{printed}");
    drop(program);
    let (code, printed) = reader.another().with(REPLAY).run(&["dead-letters", "replay"]);
    assert_eq!(code, Some(0), "{printed}");
}

pub fn status_shows_what_it_may_describe(version: &'static str) {
    let kafka = Secured::shared(version);
    let reader = Stranger::new(kafka).with(CONSUME);
    let _program = joined(reader.start("consumer1"));
    let (code, printed) = reader.another().with(LOOK).run(&["status"]);
    assert_eq!(code, Some(0), "{printed}");
    assert!(printed.contains(&reader.topic) && printed.contains("consumer1"), "{printed}");
}

pub fn an_adapter_needs_what_its_clients_do(version: &'static str) {
    let kafka = Secured::shared(version);
    let stranger = Stranger::without_topic(kafka);
    let stage = Stage::with_adapter(&kafka.kafka, stranger.way.program(Start::program("adapter")));
    kafka.kafka.assistant().create_topic(&stage.topic, 2, 1, &[]);
    let of_the_stage = Stranger { topic: stage.topic.clone(), group: stage.group.clone(), ..stranger };
    let _granted = of_the_stage.with(SEND).with(CONSUME);
    let consumer = stage.consumer(&[]);
    stage.wait_for_members(1, 2);
    let mut producer = stage.producer(&[]);
    producer.write_line("hola");
    producer.wait_for_line("sent hola", PATIENCE);
    consumer.wait_for_lines(1, PATIENCE);
    kafka.kafka.assistant().wait_for_commits(&stage.group, &stage.topic);
}

/// A way that a program may be started, the rights that it needs, and one of them.
type Case = (&'static str, &'static [Right], Right);

pub fn a_missing_right_ends_a_program_at_its_start_and_is_named(version: &'static str) {
    let kafka = Secured::shared(version);
    let cases: [Case; 9] = [
        ("producer", SEND, SEND[0]),
        ("producer_api", SEND, SEND[0]),
        ("consumer1", CONSUME, CONSUME[0]),
        ("consumer2", CONSUME, CONSUME[1]),
        ("consumer_pull", CONSUME, CONSUME[0]),
        ("consumer_push", CONSUME, CONSUME[1]),
        ("point-to-point", BOTH, BOTH[0]),
        ("point-to-point", BOTH, BOTH[1]),
        ("point-to-point", BOTH, BOTH[2]),
    ];
    for (name, rights, missing) in cases {
        let others: Vec<Right> = rights.iter().copied().filter(|right| *right != missing).collect();
        let stranger = Stranger::new(kafka).with(&others);
        let start = match name {
            "producer" => stranger.start(name).arguments(&["--count", "1"]),
            "producer_api" | "point-to-point" => {
                stranger.start(name).set("producer_api.listen", &format!("127.0.0.1:{}", free_port()))
            }
            _ => stranger.start(name),
        };
        let words = [stranger.name(missing.1), format!("an ACL for {}", missing.2)];
        ends_with_one_sentence(&format!("{name} without {missing:?}"), &mut start.start(), &words);
    }
}

/// What only shows when it is tried is waited for, said once, and goes on when the right is there.
pub fn a_right_to_create_the_topic_that_is_missing_is_named_once_and_waited_for(version: &'static str) {
    let stranger = Stranger::without_topic(Secured::shared(version)).with(SEND);
    let mut producer = stranger.start("producer").arguments(&["--count", "10"]).start();
    let line = producer.wait_for_log(&["an ACL for Create", &stranger.topic], PATIENCE);
    stranger.allow(("TOPIC", Topic, "CREATE"));
    assert_eq!(producer.wait(PATIENCE), Some(0));
    producer.wait_for_outputs();
    // What was refused, and what that means for the messages, each once.
    let log = producer.log();
    let named = log.iter().filter(|said| said.contains("an ACL for Create"));
    let (waits, refused): (Vec<_>, Vec<_>) = named.partition(|said| said.contains("trying until it works"));
    assert_eq!((refused.len(), waits.len()), (1, 1), "once: {line}");
}

/// One that is taken away while the program runs: the broker refuses what is sent, and the program goes on
/// once it is back.
pub fn a_right_that_is_taken_away_and_given_back_costs_no_restart(version: &'static str) {
    let kafka = Secured::shared(version);
    let stranger = Stranger::new(kafka).with(SEND);
    let endpoint = post_to(&stranger.way, &stranger.topic);
    let mut posted = Vec::new();
    let mut post = || {
        let message = format!(r#"{{"id":{}}}"#, posted.len());
        let answer = endpoint.post("/enviar", &message);
        posted.push((message.into_bytes(), answer.status));
        answer
    };
    assert_eq!(post().status, 200);
    stranger.forbid(SEND[0]);
    // Brokers follow the controller: what they take in between is stored.
    let refused =
        eventually("posts are refused", PATIENCE, || Some(post()).filter(|answer| answer.status != 200));
    assert!(String::from_utf8_lossy(&refused.body).contains("an ACL for Write"), "{refused:?}");
    assert_eq!(refused.status, 502, "it was sent and is not stored: {refused:?}");
    eventually("it is not ready, and says why", PATIENCE, || {
        let (status, reason) = readiness(&endpoint);
        (status == 503 && reason.contains("TOPIC_AUTHORIZATION_FAILED")).then_some(())
    });
    stranger.allow(SEND[0]);
    eventually("posts are stored again", PATIENCE, || (post().status == 200).then_some(()));
    eventually("it is ready again", PATIENCE, || (readiness(&endpoint).0 == 200).then_some(()));
    let stored = kafka.kafka.assistant().read(&stranger.topic, false);
    for (message, status) in posted {
        let count = stored.iter().filter(|record| record.value.as_ref() == Some(&message)).count();
        // What may be stored or not gets 504.
        assert!(status == 504 || count == usize::from(status == 200), "stored {count} times, got {status}");
    }
}

/// The right to look on the group is enough for the question at the start, but not for joining: that is tried
/// ever more rarely, named once, and done once the right is there.
pub fn a_right_to_the_group_that_is_missing_is_named_once_and_waited_for(version: &'static str) {
    let stranger = Stranger::new(Secured::shared(version)).with(&CONSUME[..1]).with(&LOOK[1..]);
    let program = stranger.start("consumer1").set("log.level", "debug").start();
    let tries = || {
        let log = program.log();
        log.into_iter().filter(|line| line.contains("cannot join")).collect::<Vec<_>>()
    };
    eventually("it is tried again", PATIENCE, || (tries().len() >= 3).then_some(()));
    stranger.allow(CONSUME[1]);
    program.wait_for_line(WAITING, PATIENCE);
    let right = format!("an ACL for Read on group {}", stranger.group);
    assert!(tries().iter().all(|line| line.contains(&right)), "{:#?}", tries());
    let told = tries().iter().filter(|line| line.contains("[ERROR]")).count();
    assert_eq!(told, 1, "{:#?}", tries());
}

/// A consumer with a work queue does without it, says once what is missing, and asks again.
pub fn a_right_to_read_how_long_a_topic_keeps_its_messages_is_named_once_and_asked_for_again(
    version: &'static str,
) {
    let stranger = Stranger::new(Secured::shared(version)).with(CONSUME);
    let start = stranger.start("consumer1").set("consumer.handler", r#"["true"]"#);
    let program = joined(start.set("log.level", "debug"));
    let asked = |program: &Program| {
        let log = program.log();
        log.into_iter().filter(|line| line.contains("messages cannot be read")).collect::<Vec<_>>()
    };
    eventually("it is asked for again", PATIENCE, || (asked(&program).len() >= 3).then_some(()));
    stranger.allow(("TOPIC", Topic, "DESCRIBE_CONFIGS"));
    program.wait_for_log(&[&stranger.topic, "keeps its messages for"], PATIENCE);
    let right = format!("an ACL for DescribeConfigs on topic {}", stranger.topic);
    assert!(asked(&program).iter().all(|line| line.contains(&right)), "{:#?}", asked(&program));
    let told = asked(&program).iter().filter(|line| line.contains("[WARN ")).count();
    assert_eq!(told, 1, "{:#?}", asked(&program));
}

/// Whoever may write to a topic may not look into it for that.
pub fn looks_into_a_topic_need_to_read_it(version: &'static str) {
    let stranger = Stranger::new(Secured::shared(version));
    stranger.put(r#"{"id":1}"#);
    let looked_by = |rights: &[Right], path: &str| {
        let start = stranger.another().with(rights).start("producer_api");
        let program = Program::producer_with(start.set("producer_api.listen", "127.0.0.1:0"));
        get(program.address(), &format!("/topics/{}/{path}", stranger.topic))
    };
    for path in ["messages", "partitions/0/messages/0"] {
        let refused = looked_by(SEND, path);
        let body = String::from_utf8_lossy(&refused.body);
        let right = format!("an ACL for Read on topic {}", stranger.topic);
        assert!(refused.status == 403 && body.contains("not_authorized"), "{body}");
        assert!(body.contains(&right), "{body}");
        assert_eq!(looked_by(&[SEND[0], ("TOPIC", Topic, "READ")], path).status, 200);
    }
}

/// An endpoint that may look at the group and not join it tells its workers so; one that may not even look
/// cannot find who has given a receipt, and says so.
pub fn workers_hear_what_their_endpoint_may_not_do(version: &'static str) {
    let stranger = Stranger::new(Secured::shared(version)).with(&CONSUME[..1]).with(&LOOK[1..]);
    let endpoint_of = |stranger: &Stranger<'_>| {
        let start = stranger.start("producer_api").set("producer_api.listen", "127.0.0.1:0");
        Program::producer_with(start)
    };
    stranger.put(r#"{"id":1}"#);
    let joining = endpoint_of(&stranger.another().with(SEND).with(CONSUME).with(SET_ASIDE));
    let message = eventually("a message", PATIENCE, || {
        let answer = joining.post("/recibir?wait_ms=1000", "");
        messages(&answer).pop()
    });
    let receipts = serde_json::json!({ "receipts": [message.receipt()] }).to_string();
    let alone = endpoint_of(&stranger.another().with(SEND));
    let refused = alone.post("/confirmar", &receipts);
    assert_eq!(refused.status, 503, "{refused:?}");
    let right = format!("an ACL for Describe on group {}", stranger.group);
    assert!(String::from_utf8_lossy(&refused.body).contains(&right), "{refused:?}");
    assert_eq!(joining.post("/confirmar", &receipts).status, 200);
    drop(joining);

    let waiting = endpoint_of(&stranger.with(SEND));
    let refused = eventually("the worker is told", PATIENCE, || {
        Some(waiting.post("/recibir?wait_ms=200", "")).filter(|answer| answer.status != 200)
    });
    assert_eq!(refused.status, 503, "{refused:?}");
    assert!(String::from_utf8_lossy(&refused.body).contains("an ACL for Read on group"), "{refused:?}");
}
