//! Why a message cannot be stored, or nothing can be reached: the cause that was seen is told in answers, in
//! the log and by `/readyz`, and in an outage that is known nobody waits long to hear of it.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::thread;
use std::time::{Duration, Instant};

use crate::support::http::Answer;
use crate::support::kafka::Kafka;
use crate::support::metrics::{Scrape, get};
use crate::support::ports::free_port;
use crate::support::program::{Program, Start};
use crate::support::{EMBEDDED, NEWEST, PATIENCE, eventually, run_on, unique};

run_on! {
    mod kafka_4_3 on NEWEST {
        why_a_record_is_refused_is_told_in_kafkas_words,
        a_refused_creation_of_the_topic_is_told,
        a_topic_that_is_missing_and_may_not_be_created_is_told,
        once_an_outage_is_known_a_post_hears_of_it_within_a_second as HEAVY,
        a_message_in_doubt_keeps_no_later_post_from_its_quick_answer as HEAVY,
        an_adapter_that_cannot_reach_its_cluster_warns as HEAVY,
    }
    mod embedded on EMBEDDED {
        a_refused_creation_of_the_topic_is_told,
        a_topic_that_is_missing_and_may_not_be_created_is_told,
        once_an_outage_is_known_a_post_hears_of_it_within_a_second as HEAVY,
        a_message_in_doubt_keeps_no_later_post_from_its_quick_answer as HEAVY,
        an_adapter_that_cannot_reach_its_cluster_warns,
    }
}

const A_SECOND: Duration = Duration::from_secs(1);

fn message(answer: &Answer) -> String {
    answer.json()["message"].as_str().unwrap_or_else(|| panic!("{answer:?}")).to_owned()
}

/// The status, the code, and the sentence of an error.
fn error(answer: &Answer) -> (u16, String, String) {
    let code = answer.json()["error"]["code"].as_str().unwrap_or_default().to_owned();
    (answer.status, code, message(answer))
}

fn why_a_record_is_refused_is_told_in_kafkas_words(version: &'static str) {
    let kafka = Kafka::shared(version);
    let topic = unique("compacto");
    kafka.assistant().create_topic(&topic, 1, 1, &["cleanup.policy=compact"]);
    let api = Program::producer(kafka, &topic);
    let refused = api.post("/enviar", "1");
    let (status, code, sentence) = error(&refused);
    assert_eq!((status, code.as_str()), (502, "refused"), "{sentence}");
    assert!(sentence.contains("INVALID_RECORD (87)") && sentence.contains("key"), "{sentence}");
    assert!(!sentence.to_lowercase().contains("corrupt"), "{sentence}");
    api.wait_for_log(&["WARN", "refused topic=", "INVALID_RECORD (87)"], PATIENCE);
    assert_eq!(api.post("/enviar?key=k", "1").status, 200);
}

/// An endpoint whose topic is not there and is not created, and what it answers to a message.
fn without_a_topic(kafka: &Kafka, topic: &str, key: &str, value: &str) -> (Program, Answer) {
    let start = Start::program("producer_api").on(kafka).set("kafka.topic", topic).set(key, value);
    let api = Program::producer_with(start.set("producer_api.answer_timeout_ms", "2000"));
    let answer = api.post("/enviar", "1");
    (api, answer)
}

fn a_refused_creation_of_the_topic_is_told(version: &'static str) {
    let kafka = Kafka::shared(version);
    let topic = unique("replicado");
    let (api, answer) = without_a_topic(kafka, &topic, "kafka.replication_factor", "3");
    let (status, code, sentence) = error(&answer);
    assert_eq!((status, code.as_str()), (503, "no_topic"), "{sentence}");
    let words = [topic.as_str(), "cannot be created", "INVALID_REPLICATION_FACTOR"];
    assert!(words.iter().all(|word| sentence.contains(word)), "{sentence}");
    api.wait_for_log(&[&["WARN"], &words[..]].concat(), PATIENCE);
    eventually("the endpoint is not ready, and says why", PATIENCE, || {
        let ready = get(api.address(), "/readyz");
        let says = words.iter().all(|word| message(&ready).contains(word));
        (ready.status == 503 && says).then_some(())
    });
    let start = Program::consumer_start(kafka, "consumer1", &topic, &unique("grupo"));
    let consumer = start.set("kafka.replication_factor", "3").start();
    consumer.wait_for_log(&[&["WARN"], &words[..]].concat(), PATIENCE);
}

fn a_topic_that_is_missing_and_may_not_be_created_is_told(version: &'static str) {
    let kafka = Kafka::shared(version);
    let topic = unique("ausente");
    let (api, answer) = without_a_topic(kafka, &topic, "kafka.create_topic", "false");
    let (status, code, sentence) = error(&answer);
    assert_eq!((status, code.as_str()), (503, "no_topic"), "{sentence}");
    let why = format!("there is no topic {topic}");
    assert!(sentence.contains(&why) && sentence.contains("kafka.create_topic"), "{sentence}");
    api.wait_for_log(&["WARN", &why, "kafka.create_topic"], PATIENCE);
    let start = Program::consumer_start(kafka, "consumer1", &topic, &unique("grupo"));
    let consumer = start.set("kafka.create_topic", "false").start();
    consumer.wait_for_log(&["WARN", &why], PATIENCE);
    let start = Program::consumer_start(kafka, "consumer1", &topic, &unique("grupo"));
    let queue = start.set("kafka.create_topic", "false").set("consumer.concurrency", "4").start();
    queue.wait_for_log(&["WARN", "has no partition", &why], PATIENCE);
    kafka.assistant().create_topic(&topic, 1, 1, &[]);
    eventually("a message is stored", PATIENCE, || (api.post("/enviar", "1").status == 200).then_some(()));
}

/// A server that answers whatever comes as HTTP servers do; it ends with the test process.
fn http_server() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for mut socket in listener.incoming().map_while(Result::ok) {
            let _ = socket.read(&mut [0; 1024]);
            let _ = socket.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
        }
    });
    address
}

#[test]
fn an_http_server_in_place_of_a_broker_is_named_and_so_is_an_http_client_at_the_adapter() {
    let server = http_server().to_string();
    for name in ["consumer1", "producer_api"] {
        let start = Start::program(name).set("kafka.bootstrap_servers", &server);
        let mut program = start.set("producer_api.listen", "127.0.0.1:0").start();
        assert_eq!(program.wait(PATIENCE), Some(1), "waiting does not help");
        program.wait_for_outputs();
        let said = program.log().join("\n");
        assert!(said.contains("an HTTP server answers there") && said.contains(&server), "{said}");
    }
    // Beside a broker that may come, it is waited for that one.
    let nobody = format!("127.0.0.1:{}", free_port());
    let start = Start::program("adapter").set("kafka.bootstrap_servers", &format!("{nobody},{server}"));
    let adapter = Program::adapter_with(start);
    adapter.wait_for_log(&["WARN", "no broker answers", &nobody, "an HTTP server answers there"], PATIENCE);
    let _ = crate::support::http::post(adapter.address(), "/enviar", b"1");
    adapter.wait_for_log(&["WARN", "an HTTP client speaks there"], PATIENCE);
}

fn an_adapter_that_cannot_reach_its_cluster_warns(version: &'static str) {
    let kafka = Kafka::stopped(version, 1);
    let adapter = Program::adapter_with(Start::program("adapter").on(&kafka));
    adapter.wait_for_log(&["WARN", "no broker answers", &kafka.bootstrap()], PATIENCE);
    kafka.start_node(0);
    adapter.wait_for_log(&["INFO", &kafka.bootstrap(), "answers"], PATIENCE);
}

fn timed(api: &Program) -> (Answer, Duration) {
    let began = Instant::now();
    (api.post("/enviar", "1"), began.elapsed())
}

/// What comes as the outage begins is stored if it ends in time; what comes once it is known is refused at
/// once; and as soon as it is over, messages are stored again.
fn once_an_outage_is_known_a_post_hears_of_it_within_a_second(version: &'static str) {
    let kafka = Kafka::start(version, 1);
    let topic = unique("mi-topico");
    let api = Program::producer_with(Start::program("producer_api").on(&kafka).set("kafka.topic", &topic));
    assert_eq!(timed(&api).0.status, 200);
    kafka.kill_node(0);
    let (answer, waited) = timed(&api);
    assert_eq!(answer.status, 503, "{answer:?}");
    assert!(waited > 5 * A_SECOND, "it was waited for the end of the outage, for {waited:?}");
    for _ in 0..3 {
        let (answer, waited) = timed(&api);
        let (status, code, sentence) = error(&answer);
        assert_eq!((status, code.as_str()), (503, "no_broker"), "{sentence}");
        assert!(sentence.contains(&kafka.bootstrap()), "{sentence}");
        assert!(waited < A_SECOND, "it is known: {waited:?}");
    }
    let rest = format!("/topics/{topic}");
    let began = Instant::now();
    let answer = api.post(&rest, r#"{"records":[{"value":1}]}"#);
    assert!(answer.status == 503 && began.elapsed() < 3 * A_SECOND, "{answer:?} {:?}", began.elapsed());
    kafka.start_node(0);
    eventually("messages are stored again", PATIENCE, || {
        let (answer, waited) = timed(&api);
        let quick = answer.status == 503 && waited < 2 * A_SECOND;
        assert!(answer.status == 200 || quick, "{answer:?} after {waited:?}");
        (answer.status == 200).then_some(())
    });
    assert_eq!(kafka.assistant().read(&topic, false).len(), 2, "what was refused is not stored");
    if version == EMBEDDED {
        // It is back within a second.
        kafka.kill_node(0);
        thread::scope(|threads| {
            let waits = || Scrape::of(api.address()).value("point_to_point_queue_messages", &[]) == 1.0;
            let posted = threads.spawn(|| api.post("/enviar", "1").status);
            eventually("the message waits", PATIENCE, || waits().then_some(()));
            kafka.start_node(0);
            assert_eq!(posted.join().unwrap(), 200, "an outage that has just begun is ridden out");
        });
    }
}

/// A broker that is frozen, or then killed, with a message on its way holds the only connection of a topic
/// with one partition: what waits behind it is told all the same, and stored once the broker is back.
fn a_message_in_doubt_keeps_no_later_post_from_its_quick_answer(version: &'static str) {
    for kills in [false, true] {
        let kafka = Kafka::start(version, 1);
        let topic = unique("mi-topico");
        kafka.assistant().create_topic(&topic, 1, 1, &[]);
        let start = Start::program("producer_api").on(&kafka).set("kafka.topic", &topic);
        let api = Program::producer_with(start.set("producer_api.answer_timeout_ms", "6000"));
        assert_eq!(timed(&api).0.status, 200);
        kafka.freeze_node(0);
        let doubtful = timed(&api).0;
        assert_eq!(doubtful.status, 504, "its bytes were on their way: {doubtful:?}");
        if kills {
            kafka.kill_node(0);
        }
        eventually("a post hears of the outage within a second", PATIENCE, || {
            let (answer, waited) = timed(&api);
            assert_eq!(answer.status, 503, "{answer:?}");
            (waited < A_SECOND).then_some(())
        });
        for _ in 0..3 {
            let (answer, waited) = timed(&api);
            let (status, code, sentence) = error(&answer);
            assert_eq!((status, code.as_str()), (503, "no_broker"), "{sentence}");
            assert!(sentence.contains(&kafka.bootstrap()) && waited < A_SECOND, "{sentence} {waited:?}");
        }
        let began = Instant::now();
        let rest = api.post(&format!("/topics/{topic}"), r#"{"records":[{"value":1}]}"#);
        assert!(rest.status == 503 && began.elapsed() < 2 * A_SECOND, "{rest:?} {:?}", began.elapsed());
        if kills {
            kafka.start_node(0);
        } else {
            kafka.thaw_node(0);
        }
        eventually("messages are stored again", PATIENCE, || (timed(&api).0.status == 200).then_some(()));
    }
}
