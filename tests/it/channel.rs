//! The channel whole: what is posted over HTTP is printed by exactly one consumer of the group and then
//! committed, on real Kafkas and on the embedded broker, with the real programs as processes; also while
//! consumers come, go, die and freeze.

use std::process::Command;
use std::thread;
use std::time::Duration;

use crate::support::java::java;
use crate::support::kafka::Kafka;
use crate::support::load::{Load, number_of, numbers_of};
use crate::support::program::{Program, RECEIVED, Start, WAITING, received_by, wait_for_messages};
use crate::support::{EMBEDDED, NEWEST, OLDEST, PATIENCE, eventually, run_on, tools, unique};

run_on! {
    mod kafka_4_3 on NEWEST {
        ten_thousand_messages_reach_two_consumers_exactly_once as HEAVY,
        a_consumer_that_joins_and_leaves_mid_stream_costs_and_repeats_nothing as HEAVY,
        a_consumer_killed_mid_stream_loses_nothing_and_repeats_one_message_at_most as HEAVY,
        a_frozen_consumer_cannot_commit_when_it_thaws,
        a_restarted_consumer_goes_on_at_the_committed_offset,
        a_java_console_consumer_in_the_group_shares_the_partitions,
        a_message_is_committed_before_the_next_one_is_printed,
        what_was_posted_is_stored_and_printed_byte_for_byte,
        a_key_lands_in_the_partition_that_java_chooses,
        a_message_that_is_no_json_is_reported_escaped_and_committed,
        every_message_sent_and_received_is_logged_with_its_place_and_key,
        a_member_without_partitions_says_so,
        messages_with_one_key_keep_their_order,
    }
    mod kafka_3_9 on OLDEST {
        two_thousand_messages_reach_two_consumers_exactly_once,
        a_java_console_consumer_in_the_group_shares_the_partitions,
        a_message_is_committed_before_the_next_one_is_printed,
    }
    mod embedded on EMBEDDED {
        ten_thousand_messages_reach_two_consumers_exactly_once as HEAVY,
        a_consumer_that_joins_and_leaves_mid_stream_costs_and_repeats_nothing as HEAVY,
        a_consumer_killed_mid_stream_loses_nothing_and_repeats_one_message_at_most as HEAVY,
        a_frozen_consumer_cannot_commit_when_it_thaws,
        a_restarted_consumer_goes_on_at_the_committed_offset,
        a_java_console_consumer_in_the_group_shares_the_partitions,
        a_message_is_committed_before_the_next_one_is_printed,
        what_was_posted_is_stored_and_printed_byte_for_byte,
        a_key_lands_in_the_partition_that_java_chooses,
        a_message_that_is_no_json_is_reported_escaped_and_committed,
        every_message_sent_and_received_is_logged_with_its_place_and_key,
        a_member_without_partitions_says_so,
        messages_with_one_key_keep_their_order,
    }
}

/// Long enough for thousands of messages through unoptimised programs.
const LONG: Duration = Duration::from_secs(180);

/// A JSON message of this size at least.
fn message(id: u64, size: usize) -> Vec<u8> {
    format!(r#"{{"id":{id},"contenido":"{}"}}"#, "x".repeat(size)).into_bytes()
}

fn two_consumers_get_each_message_once(version: &'static str, count: u64) {
    let kafka = Kafka::shared(version);
    let (topic, group) = (unique("mi-topico"), unique("grupo"));
    let producer = Program::producer(kafka, &topic);
    let mut consumers = [
        Program::consumer(kafka, "consumer1", &topic, &group),
        Program::consumer(kafka, "consumer2", &topic, &group),
    ];
    kafka.assistant().wait_for_members(&group, &["consumer1", "consumer2"], 2);

    let book = Load::start(producer.address(), 16, count).wait();
    assert_eq!(book.stored.len() as u64, count, "not all were stored: {:?}", book.odd.first());
    let [first, second] = &consumers;
    wait_for_messages(&[first, second], count as usize, LONG);
    book.check(&numbers_of(received_by(&[first, second])), 0);
    for consumer in &consumers {
        let share = consumer.received_count() as u64;
        assert!(share >= count / 4, "a consumer got {share} of {count}");
    }

    kafka.assistant().wait_for_commits(&group, &topic);
    let lines = tools::describe_group(kafka, &group, &topic);
    assert_eq!(lines.len(), 4, "{lines:?}");
    assert!(lines.iter().all(|line| line.committed == Some(line.end)), "{lines:?}");
    for name in ["consumer1", "consumer2"] {
        assert!(
            lines.iter().any(|line| line.client_id == name),
            "Kafka's tool does not show {name}: {lines:?}"
        );
    }
    consumers.iter_mut().for_each(Program::stop);
    assert_eq!(
        kafka.assistant().group(&group).names(),
        Vec::<&str>::new(),
        "a stopped consumer leaves its group"
    );
}

fn ten_thousand_messages_reach_two_consumers_exactly_once(version: &'static str) {
    two_consumers_get_each_message_once(version, 10_000);
}

fn two_thousand_messages_reach_two_consumers_exactly_once(version: &'static str) {
    two_consumers_get_each_message_once(version, 2_000);
}

fn a_consumer_that_joins_and_leaves_mid_stream_costs_and_repeats_nothing(version: &'static str) {
    let kafka = Kafka::shared(version);
    let (topic, group) = (unique("mi-topico"), unique("grupo"));
    let producer = Program::producer(kafka, &topic);
    let first = Program::consumer(kafka, "consumer1", &topic, &group);
    let second = Program::consumer(kafka, "consumer2", &topic, &group);
    kafka.assistant().wait_for_members(&group, &["consumer1", "consumer2"], 2);

    let load = Load::start(producer.address(), 8, u64::MAX);
    wait_for_messages(&[&first, &second], 200, PATIENCE);
    let mut third = Program::consumer(kafka, "consumer3", &topic, &group);
    third.wait_for_messages(50, PATIENCE);
    kafka.assistant().wait_for_members(&group, &["consumer1", "consumer2", "consumer3"], 1);
    third.stop();
    let so_far = first.received_count() + second.received_count();
    wait_for_messages(&[&first, &second], so_far + 200, PATIENCE);
    let book = load.finish();

    let everyone = [&first, &second, &third];
    wait_for_messages(&everyone, book.stored.len(), LONG);
    kafka.assistant().wait_for_commits(&group, &topic);
    book.check(&numbers_of(received_by(&everyone)), 0);
    assert_eq!(book.total(), book.stored.len(), "every message was stored");
}

fn a_consumer_killed_mid_stream_loses_nothing_and_repeats_one_message_at_most(version: &'static str) {
    let kafka = Kafka::shared(version);
    let (topic, group) = (unique("mi-topico"), unique("grupo"));
    let producer = Program::producer(kafka, &topic);
    let quick = |name| {
        let start = Program::consumer_start(kafka, name, &topic, &group);
        let consumer = start.set("consumer.session_timeout_ms", "6000").start();
        consumer.wait_for_line(WAITING, PATIENCE);
        consumer
    };
    let (mut victim, survivor) = (quick("consumer1"), quick("consumer2"));
    kafka.assistant().wait_for_members(&group, &["consumer1", "consumer2"], 2);

    let load = Load::start(producer.address(), 8, u64::MAX);
    victim.wait_for_messages(200, PATIENCE);
    victim.signal("KILL");
    assert_eq!(victim.wait(PATIENCE), None, "it ends by the signal");
    kafka.assistant().wait_for_members(&group, &["consumer2"], 4);
    let so_far = survivor.received_count();
    survivor.wait_for_messages(so_far + 200, PATIENCE);
    let book = load.finish();

    victim.wait_for_outputs();
    eventually("the survivor prints what the victim did not", LONG, || {
        let printed = numbers_of(received_by(&[&victim, &survivor]));
        let distinct: std::collections::BTreeSet<u64> = printed.into_iter().collect();
        (distinct.len() >= book.stored.len()).then_some(())
    });
    kafka.assistant().wait_for_commits(&group, &topic);
    book.check(&numbers_of(received_by(&[&victim, &survivor])), 1);
}

/// The consumer stands still in the middle of a print (the reader of its output holds it) and is then frozen,
/// so that the message in hand, and the commit that follows it, are known exactly.
fn a_frozen_consumer_cannot_commit_when_it_thaws(version: &'static str) {
    let kafka = Kafka::shared(version);
    let (topic, group) = (unique("mi-topico"), unique("grupo"));
    let assistant = kafka.assistant();
    assistant.create_topic(&topic, 2, 1, &[]);
    let start = |name| {
        Program::consumer_start(kafka, name, &topic, &group).set("consumer.session_timeout_ms", "6000")
    };
    let mut frozen = start("consumer1").held().start();
    let other = start("consumer2").start();
    let members = assistant.wait_for_members(&group, &["consumer1", "consumer2"], 1).members;
    let of_frozen =
        members[0].partitions[0].rsplit(':').next().and_then(|p| p.parse().ok()).expect("a partition");

    assistant.put(&topic, of_frozen, None, Some(&message(0, 10)));
    assistant.put(&topic, of_frozen, None, Some(&message(1, 200_000)));
    for id in 2..20 {
        assistant.put(&topic, of_frozen, None, Some(&message(id, 10)));
    }
    eventually("the first message is committed", PATIENCE, || {
        (assistant.committed(&group, &topic).get(&of_frozen) == Some(&1)).then_some(())
    });
    frozen.signal("STOP");
    assistant.wait_for_members(&group, &["consumer2"], 2);
    other.wait_for_messages(19, PATIENCE);
    assistant.wait_for_commits(&group, &topic);

    frozen.signal("CONT");
    frozen.release();
    frozen.wait_for_messages(2, PATIENCE);
    assistant.wait_for_members(&group, &["consumer1", "consumer2"], 1);
    assert_eq!(assistant.committed(&group, &topic).get(&of_frozen), Some(&20), "the late commit was refused");

    for id in 20..40 {
        assistant.put(&topic, (id % 2) as i32, None, Some(&message(id, 10)));
    }
    wait_for_messages(&[&frozen, &other], 41, PATIENCE);
    assistant.wait_for_commits(&group, &topic);
    let mut printed = numbers_of(received_by(&[&frozen, &other]));
    printed.sort_unstable();
    let mut expected: Vec<u64> = (0..40).chain([1]).collect();
    expected.sort_unstable();
    assert_eq!(printed, expected, "only the message in hand is printed twice");
}

fn a_restarted_consumer_goes_on_at_the_committed_offset(version: &'static str) {
    let kafka = Kafka::shared(version);
    let (topic, group) = (unique("mi-topico"), unique("grupo"));
    let producer = Program::producer(kafka, &topic);
    for round in 0..3_u64 {
        for id in 0..10 {
            assert_eq!(producer.post("/enviar", &format!(r#"{{"id":{}}}"#, round * 10 + id)).status, 200);
        }
        let mut consumer = Program::consumer(kafka, "consumer1", &topic, &group);
        consumer.wait_for_messages(10, PATIENCE);
        kafka.assistant().wait_for_commits(&group, &topic);
        consumer.stop();
        consumer.wait_for_outputs();
        let mut printed = numbers_of(consumer.received());
        printed.sort_unstable();
        assert_eq!(printed, (round * 10..round * 10 + 10).collect::<Vec<_>>());
    }
}

fn a_java_console_consumer_in_the_group_shares_the_partitions(version: &'static str) {
    let kafka = Kafka::shared(version);
    let (topic, group) = (unique("mi-topico"), unique("grupo"));
    let producer = Program::producer(kafka, &topic);
    let ours = Program::consumer(kafka, "consumer1", &topic, &group);
    let mut command: Command = java(kafka.javas_version());
    command.arg("-Dorg.slf4j.simpleLogger.defaultLogLevel=error");
    command.arg("org.apache.kafka.tools.consumer.ConsoleConsumer");
    command.args([
        "--bootstrap-server",
        &kafka.bootstrap(),
        "--topic",
        &topic,
        "--group",
        &group,
        "--from-beginning",
    ]);
    let mut java = Start::command("console-consumer", command).start();
    kafka.assistant().wait_for_members(&group, &["console-consumer", "consumer1"], 2);

    let book = Load::start(producer.address(), 8, 1_000).wait();
    eventually("both together print all", LONG, || {
        (ours.received_count() + java.lines().len() >= book.stored.len()).then_some(())
    });
    assert!(ours.received_count() >= 250 && java.lines().len() >= 250, "each has its share");
    java.signal("TERM");
    java.wait(PATIENCE);
    kafka.assistant().wait_for_members(&group, &["consumer1"], 4);
    for id in 1_000..1_100 {
        assert_eq!(producer.post("/enviar", &format!(r#"{{"id":{id}}}"#)).status, 200);
    }
    wait_for_messages(&[&ours], 1_100 - java.lines().len(), PATIENCE);
    kafka.assistant().wait_for_commits(&group, &topic);
    let mut printed = numbers_of(ours.received());
    printed.extend(numbers_of(java.lines()));
    printed.sort_unstable();
    assert_eq!(printed, (0..1_100).collect::<Vec<_>>(), "each message once");
}

fn a_message_is_committed_before_the_next_one_is_printed(version: &'static str) {
    let kafka = Kafka::shared(version);
    let (topic, group) = (unique("mi-topico"), unique("grupo"));
    let assistant = kafka.assistant();
    assistant.create_topic(&topic, 1, 1, &[]);
    for (id, size) in [(0, 10), (1, 200_000), (2, 10)] {
        assistant.put(&topic, 0, None, Some(&message(id, size)));
    }
    // Its second print fills the pipe and stands still.
    let mut consumer = Program::consumer_start(kafka, "consumer1", &topic, &group).held().start();
    eventually("the first message is committed", PATIENCE, || {
        (assistant.committed(&group, &topic).get(&0) == Some(&1)).then_some(())
    });
    let lines = tools::describe_group(kafka, &group, &topic);
    assert_eq!((lines[0].committed, lines[0].end), (Some(1), 3), "{lines:?}");
    consumer.release();
    consumer.wait_for_messages(3, PATIENCE);
    assistant.wait_for_commits(&group, &topic);
    assert_eq!(numbers_of(consumer.received()), [0, 1, 2]);
}

fn what_was_posted_is_stored_and_printed_byte_for_byte(version: &'static str) {
    let kafka = Kafka::shared(version);
    let (topic, group) = (unique("mi-topico"), unique("grupo"));
    let producer = Program::producer(kafka, &topic);
    let bodies = [
        r#"{"id":1,"contenido":"Hola desde Kafka"}"#,
        r#"{"b":1.0,"a":12345678901234567890.10,"a":[true,null,"\u00e9 \ud83d\ude00 é😀"]}"#,
        "7",
        r#""texto""#,
    ];
    let mut answers = Vec::new();
    for body in bodies {
        let answer = producer.post("/enviar", body);
        assert_eq!(answer.status, 200, "{answer:?}");
        let text = String::from_utf8(answer.body.clone()).expect("UTF-8");
        assert!(text.contains(body), "the answer repeats the body as it came: {text}");
        let json = answer.json();
        assert_eq!(json["mensaje"], "Mensaje enviado");
        assert_eq!(json["topic"], topic.as_str());
        answers.push((
            json["partition"].as_i64().expect("a partition"),
            json["offset"].as_i64().expect("an offset"),
        ));
    }
    let records = kafka.assistant().read(&topic, false);
    for (body, place) in bodies.iter().zip(&answers) {
        let at_place =
            records.iter().find(|r| (i64::from(r.partition), r.offset) == *place).expect("a record there");
        assert_eq!(at_place.value.as_deref(), Some(body.as_bytes()));
    }
    let consumer = Program::consumer(kafka, "consumer1", &topic, &group);
    consumer.wait_for_messages(bodies.len(), PATIENCE);
    let mut printed = consumer.received();
    printed.sort_unstable();
    let mut expected = bodies.to_vec();
    expected.sort_unstable();
    assert_eq!(printed, expected);
}

fn a_key_lands_in_the_partition_that_java_chooses(version: &'static str) {
    let kafka = Kafka::shared(version);
    let topic = unique("mi-topico");
    let producer = Program::producer(kafka, &topic);
    // The first post creates the topic.
    assert_eq!(producer.post("/enviar", "0").status, 200);
    for key in ["a", "cliente-1", "cliente-2", "pedido 77", "ñandú", "0123456789abcdef"] {
        let escaped: String = key.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let answer = producer.post(&format!("/enviar?key={escaped}"), "1");
        assert_eq!(answer.status, 200, "{answer:?}");
        let (javas_choice, _) = kafka.assistant().put(&topic, -1, Some(key.as_bytes()), Some(b"2"));
        assert_eq!(answer.json()["partition"], javas_choice, "key {key:?}");
    }
}

fn a_message_that_is_no_json_is_reported_escaped_and_committed(version: &'static str) {
    let kafka = Kafka::shared(version);
    let (topic, group) = (unique("mi-topico"), unique("grupo"));
    kafka.assistant().create_topic(&topic, 1, 1, &[]);
    kafka.assistant().put(&topic, 0, None, Some(b"\x1b[31mrojo\nMensaje recibido: 5\xff"));
    kafka.assistant().put(&topic, 0, None, Some(b"{\"id\":1}"));
    let consumer = Program::consumer(kafka, "consumer1", &topic, &group);
    consumer.wait_for_line(&format!("{RECEIVED}{{\"id\":1}}"), PATIENCE);
    kafka.assistant().wait_for_commits(&group, &topic);
    consumer.wait_for_log(&["error", &topic, "0"], PATIENCE);
    for line in consumer.lines().iter().chain(&consumer.log()) {
        assert!(!line.contains('\x1b'), "a control character got through: {line:?}");
    }
    assert!(!consumer.lines().contains(&format!("{RECEIVED}5")), "a payload forged a line");
}

fn every_message_sent_and_received_is_logged_with_its_place_and_key(version: &'static str) {
    let kafka = Kafka::shared(version);
    let (topic, group) = (unique("mi-topico"), unique("grupo"));
    let producer = Program::producer(kafka, &topic);
    let answer = producer.post("/enviar?key=clave7", r#"{"id":1}"#);
    let partition = answer.json()["partition"].to_string();
    let consumer = Program::consumer(kafka, "trabajador", &topic, &group);
    consumer.wait_for_messages(1, PATIENCE);
    producer.wait_for_log(&[&topic, &partition, "clave7"], PATIENCE);
    consumer.wait_for_log(&[&topic, &partition, "clave7", "trabajador"], PATIENCE);
}

fn a_member_without_partitions_says_so(version: &'static str) {
    let kafka = Kafka::shared(version);
    let (topic, group) = (unique("mi-topico"), unique("grupo"));
    kafka.assistant().create_topic(&topic, 1, 1, &[]);
    let first = Program::consumer(kafka, "consumer1", &topic, &group);
    let second = Program::consumer(kafka, "consumer2", &topic, &group);
    eventually("one of two members of a one-partition topic says that it has none", PATIENCE, || {
        let says_so = |line: &String| line.contains("no partition") || line.contains("without partition");
        [&first, &second].iter().any(|consumer| consumer.log().iter().any(says_so)).then_some(())
    });
    kafka.assistant().put(&topic, 0, None, Some(&message(1, 0)));
    wait_for_messages(&[&first, &second], 1, PATIENCE);
}

fn messages_with_one_key_keep_their_order(version: &'static str) {
    let kafka = Kafka::shared(version);
    let (topic, group) = (unique("mi-topico"), unique("grupo"));
    let producer = Program::producer(kafka, &topic);
    let address = producer.address();
    // Each client posts one after another; what it has got an answer for comes before what it posts next.
    let clients: Vec<_> = (0..4_u64)
        .map(|client| {
            thread::spawn(move || {
                let mut connection = crate::support::http::Connection::open(address).expect("a connection");
                for number in 0..100 {
                    let body = format!(r#"{{"id":{}}}"#, client * 1_000 + number);
                    let answer = connection
                        .post(&format!("/enviar?key=k{client}"), body.as_bytes())
                        .expect("an answer");
                    assert_eq!(answer.status, 200, "{answer:?}");
                }
            })
        })
        .collect();
    clients.into_iter().for_each(|client| client.join().expect("a client"));
    let consumer = Program::consumer(kafka, "consumer1", &topic, &group);
    consumer.wait_for_messages(400, LONG);
    for client in 0..4_u64 {
        let all = consumer.received();
        let of_client =
            all.iter().map(|m| number_of(m)).filter(|id| id / 1_000 == client).map(|id| id % 1_000);
        assert_eq!(of_client.collect::<Vec<_>>(), (0..100).collect::<Vec<_>>());
    }
}
