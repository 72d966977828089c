//! What cannot heal by waiting ends a program at its start, with one sentence that says what it is.

use std::time::Duration;

use super::{consumer, joined, post_to};
use crate::support::authority::Authority;
use crate::support::http::Connection;
use crate::support::ports::free_port;
use crate::support::program::{Program, Start, WAITING};
use crate::support::secured::{PASSWORD, Secured, USER, Way};
use crate::support::{PATIENCE, eventually, unique};

/// A program says so within five seconds; a machine under load gets the same again.
const SOON: Duration = Duration::from_secs(10);

/// A wrong way, and the words that the sentence has.
struct Row(&'static str, Way, Vec<String>);

fn row(name: &'static str, way: Way, words: &[&str]) -> Row {
    Row(name, way, words.iter().map(|word| (*word).to_owned()).collect())
}

/// What is wrong with who asks.
fn wrong_identities(kafka: &Secured) -> Vec<Row> {
    let authority = Authority::shared();
    let stranger = |mechanism| kafka.sasl_as("SASLTLS", mechanism, "nadie", "no password");
    let wrong = |mechanism| kafka.sasl_as("SASLTLS", mechanism, USER, "wrong");
    let address = kafka.address("SASLTLS");
    let late = kafka.sasl_as("SASLTLS", "OAUTHBEARER", USER, "").token(&authority.token(USER, -600));
    let endpoint = |mode| kafka.credentials("SASLTLS", &authority.token_url(mode, &unique("seguro")));
    let file = |name: &str| authority.file(name).display().to_string();
    let intruder = kafka.tls("MTLS").set("kafka.tls_certificate", &file("intruder.crt"));
    vec![
        row("wrong password, PLAIN", wrong("PLAIN"), &[&address, "PLAIN", "credentials"]),
        row("wrong password, SCRAM", wrong("SCRAM-SHA-256"), &[&address, "SCRAM-SHA-256", "credentials"]),
        row("unknown user, PLAIN", stranger("PLAIN"), &[&address, "credentials"]),
        row("unknown user, SCRAM", stranger("SCRAM-SHA-512"), &[&address, "credentials"]),
        row("a token past its time", late, &["token"]),
        row("an endpoint that refuses", endpoint("refuse"), &["invalid_client"]),
        row("no certificate", kafka.tls("MTLS"), &[&kafka.address("MTLS"), "kafka.tls_certificate"]),
        row(
            "a certificate of another authority",
            intruder.set("kafka.tls_key", &file("intruder.pkcs8")),
            &[&kafka.address("MTLS"), "certificate"],
        ),
    ]
}

/// What is wrong with who is asked, or with how.
fn wrong_listeners(kafka: &Secured) -> Vec<Row> {
    let stranger = Authority::shared().file("stranger.pem").display().to_string();
    let (plain, tls) = (kafka.kafka.bootstrap(), kafka.address("TLS"));
    let (sasl, both, scram) = (kafka.address("SASL"), kafka.address("SASLTLS"), kafka.address("SCRAM"));
    let in_plain = |address: &str| Way::new(address, "plaintext");
    let ca = Authority::shared().file("ca.pem").display().to_string();
    let in_tls = |address: &str| Way::new(address, "tls").set("kafka.tls_ca", &ca);
    let encrypted = |address: &str| kafka.sasl("SASLTLS", "PLAIN").set("kafka.bootstrap_servers", address);
    let unencrypted = |address: &str| kafka.sasl("SASL", "PLAIN").set("kafka.bootstrap_servers", address);
    vec![
        row("unknown authority", kafka.tls("TLS").set("kafka.tls_ca", &stranger), &[&tls, "kafka.tls_ca"]),
        row("unknown certificate", kafka.tls("UNKNOWN"), &["kafka.tls_ca"]),
        row("another name", kafka.tls("OTHERNAME"), &["kafka.example.com", "localhost"]),
        row("out of date", kafka.tls("EXPIRED"), &["certificate", "expired"]),
        row("TLS asked in plain", in_plain(&tls), &[&tls, "TLS", "kafka.security"]),
        row("SASL_TLS asked in plain", in_plain(&both), &[&both, "TLS", "kafka.security"]),
        row("SASL_TLS asked in SASL", unencrypted(&both), &[&both, "TLS", "kafka.security"]),
        row("plain asked in TLS", in_tls(&plain), &[&plain, "kafka.security"]),
        row("SASL asked in SASL_TLS", encrypted(&sasl), &[&sasl, "kafka.security"]),
        row("SASL asked in plain", in_plain(&sasl), &[&sasl, "SASL", "kafka.security"]),
        row("SASL_TLS asked in TLS", in_tls(&both), &[&both, "SASL", "kafka.security"]),
        row("plain asked in SASL", unencrypted(&plain), &[&plain, "SASL"]),
        row(
            "mechanism not offered",
            unencrypted(&scram),
            &[&scram, "PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"],
        ),
    ]
}

/// The program ends with 1 and one line, which has these words.
pub fn ends_with_one_sentence(what: &str, program: &mut Program, words: &[String]) {
    assert_eq!(program.wait(SOON), Some(1), "{what}");
    program.wait_for_outputs();
    let log = program.log();
    let [sentence] = &log[..] else { panic!("{what}: {} lines: {log:#?}", log.len()) };
    let lower = sentence.to_lowercase();
    let missing: Vec<_> = words.iter().filter(|word| !lower.contains(&word.to_lowercase())).collect();
    assert!(missing.is_empty(), "{what}: no {missing:?} in: {sentence}");
}

/// A consumer and the endpoint end at each of these.
fn end_at_the_start(rows: Vec<Row>) {
    for Row(what, way, words) in rows {
        let (topic, group) = (unique("seguro"), unique("grupo"));
        let endpoint = way.program(Start::program("producer_api")).set("kafka.topic", &topic);
        let listen = format!("127.0.0.1:{}", free_port());
        let mut programs = [
            consumer(&way, "consumer1", &topic, &group).start(),
            endpoint.set("producer_api.listen", &listen).start(),
        ];
        for program in &mut programs {
            ends_with_one_sentence(what, program, &words);
        }
    }
}

pub fn a_wrong_identity_ends_a_program_at_its_start_with_one_sentence(version: &'static str) {
    end_at_the_start(wrong_identities(Secured::shared(version)));
}

pub fn a_wrong_listener_ends_a_program_at_its_start_with_one_sentence(version: &'static str) {
    end_at_the_start(wrong_listeners(Secured::shared(version)));
}

pub fn every_program_ends_at_a_wrong_password_with_one_sentence(version: &'static str) {
    let kafka = Secured::shared(version);
    let way = kafka.sasl_as("SASLTLS", "SCRAM-SHA-256", USER, "wrong");
    let words = [kafka.address("SASLTLS"), "SCRAM-SHA-256".to_owned()];
    let (topic, group) = (unique("seguro"), unique("grupo"));
    let listen = || format!("127.0.0.1:{}", free_port());
    let start = |name: &str| consumer(&way, name, &topic, &group);
    let starts = [
        ("producer", start("producer").arguments(&["--count", "1"])),
        ("consumer2", start("consumer2")),
        ("consumer_pull", start("consumer_pull")),
        ("consumer_push", start("consumer_push")),
        ("adapter", start("adapter").set("adapter.listen", &listen())),
        ("point-to-point", start("point-to-point").set("producer_api.listen", &listen())),
        ("status", start("point-to-point").arguments(&["status"])),
        ("dead-letters", start("point-to-point").arguments(&["dead-letters", "list"])),
    ];
    for (name, start) in starts {
        ends_with_one_sentence(name, &mut start.start(), &words);
    }
}

/// A token endpoint that cannot give a token now is asked again, and its answer is in the log.
pub fn a_token_endpoint_that_fails_is_asked_until_it_answers(version: &'static str) {
    let kafka = Secured::shared(version);
    let started = ["rarely", "cut", "html", "empty", "huge"].map(|mode| {
        let url = Authority::shared().token_url(mode, &unique("seguro"));
        let way = kafka.credentials("SASLTLS", &url);
        (url, consumer(&way, "consumer1", &unique("seguro"), &unique("grupo")).start())
    });
    for (url, program) in &started {
        if !url.contains("rarely") {
            program.wait_for_log(&["no token", url], PATIENCE);
        }
        eventually("it is asked again", PATIENCE, || (Authority::shared().requests(url) >= 3).then_some(()));
    }
    started[0].1.wait_for_line(WAITING, PATIENCE);
}

/// An address that the broker advertises and nobody serves is waited for, and named.
pub fn an_advertised_address_that_nobody_serves_is_named(version: &'static str) {
    let kafka = Secured::shared(version);
    let way = Way::new(&kafka.address("NOWHERE"), "plaintext");
    let program = consumer(&way, "consumer1", &unique("seguro"), &unique("grupo")).start();
    program.wait_for_log(&[&kafka.advertised("NOWHERE"), "advertise"], PATIENCE);
}

/// The status and the body of a request for `/readyz`.
pub fn readiness(endpoint: &Program) -> (u16, String) {
    let answer = Connection::open(endpoint.address()).and_then(|mut open| open.get("/readyz"));
    let answer = answer.expect("an answer");
    (answer.status, String::from_utf8_lossy(&answer.body).into_owned())
}

/// With a password that is changed on the brokers while programs run, posts get 503 and the log says it
/// once; with the old one back they go on.
pub fn a_password_changed_under_running_programs_is_said_once_and_healed(version: &'static str) {
    let kafka = Secured::shared(version);
    let (topic, group, user) = (unique("seguro"), unique("grupo"), unique("usuario"));
    kafka.add_user(&user, PASSWORD);
    kafka.kafka.assistant().create_topic(&topic, 2, 1, &[]);
    for [kind, name, operation] in [
        ["TOPIC", &topic, "READ"],
        ["TOPIC", &topic, "WRITE"],
        ["GROUP", &group, "READ"],
        ["GROUP", &group, "DESCRIBE"],
    ] {
        kafka.allow(&user, kind, name, operation);
    }
    let way = kafka.sasl_as("BRIEF", "SCRAM-SHA-256", &user, PASSWORD);
    let reader = joined(consumer(&way, "consumer1", &topic, &group));
    let endpoint = post_to(&way, &topic);
    assert_eq!(endpoint.post("/enviar", r#"{"id":1}"#).status, 200);
    kafka.add_user(&user, "another password");
    eventually("posts are refused, and the answer says why", PATIENCE, || {
        let answer = endpoint.post("/enviar", r#"{"id":2}"#);
        let reason = String::from_utf8_lossy(&answer.body).into_owned();
        (answer.status == 503 && reason.contains("SCRAM-SHA-256") && !reason.contains(PASSWORD)).then_some(())
    });
    endpoint.wait_for_log(&["no_broker", "SCRAM-SHA-256"], PATIENCE);
    eventually("it is not ready, and says why", PATIENCE, || {
        let (status, reason) = readiness(&endpoint);
        (status == 503 && reason.contains("SCRAM-SHA-256")).then_some(())
    });
    let says = |line: &&String| line.contains("SCRAM-SHA-256") && line.contains("trying until");
    let sentences = |program: &Program| program.log().iter().filter(says).count();
    eventually("the consumer says it", PATIENCE, || (sentences(&reader) > 0).then_some(()));
    kafka.add_user(&user, PASSWORD);
    eventually("posts are stored again", PATIENCE, || {
        (endpoint.post("/enviar", r#"{"id":3}"#).status == 200).then_some(())
    });
    eventually("the consumer goes on", PATIENCE, || {
        reader.received().iter().any(|message| message.contains(r#""id":3"#)).then_some(())
    });
    assert_eq!((sentences(&endpoint), sentences(&reader)), (1, 1), "each says it once");
}
