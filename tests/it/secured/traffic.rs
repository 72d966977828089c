//! Each program sends and consumes ten thousand messages over a secured listener; each kind of listener
//! carries them for the endpoint and two consumers.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::time::Duration;

use super::{all_stored, consumer, joined, post_to};
use crate::clients::client::Client;
use crate::foreign_programs::stage::{Stage, assert_all_once, wait_for_printed};
use crate::support::authority::Authority;
use crate::support::load::{Load, numbers_of};
use crate::support::program::{Program, Start, received_by, wait_for_messages};
use crate::support::secured::{PASSWORD, Secured, USER, Way};
use crate::support::{PATIENCE, eventually, tools, unique};

/// The messages of each test.
const COUNT: u64 = 10_000;

/// Long enough for them through unoptimised programs.
const LONG: Duration = Duration::from_secs(180);

/// What is posted is printed once by two consumers, who share it, and committed: `ways` are those of the
/// endpoint and of each consumer.
fn endpoint_and_two_consumers(kafka: &Secured, ways: [&Way; 3]) {
    let (topic, group) = (unique("seguro"), unique("grupo"));
    let assistant = kafka.kafka.assistant();
    assistant.create_topic(&topic, 4, 1, &[]);
    let [first, second] = [("consumer1", ways[1]), ("consumer2", ways[2])]
        .map(|(name, way)| consumer(way, name, &topic, &group).start());
    let endpoint = post_to(ways[0], &topic);
    assistant.wait_for_members(&group, &["consumer1", "consumer2"], 2);
    let book = Load::start(endpoint.address(), 16, COUNT).wait();
    all_stored(&book, COUNT);
    wait_for_messages(&[&first, &second], COUNT as usize, LONG);
    book.check(&numbers_of(received_by(&[&first, &second])), 0);
    assert!(first.received_count().min(second.received_count()) as u64 >= COUNT / 4, "both have their share");
    assistant.wait_for_commits(&group, &topic);
    let lines = tools::describe_group(&kafka.kafka, &group, &topic);
    for name in ["consumer1", "consumer2"] {
        assert!(
            lines.iter().any(|line| line.client_id == name),
            "Java's tool does not show {name}: {lines:?}"
        );
    }
}

pub fn ten_thousand_messages_over_tls(version: &'static str) {
    let kafka = Secured::shared(version);
    let (newer, older) = (kafka.tls("TLS"), kafka.tls("TLS12"));
    endpoint_and_two_consumers(kafka, [&newer, &older, &newer]);
}

pub fn ten_thousand_messages_over_mutual_tls_with_keys_in_each_form(version: &'static str) {
    let kafka = Secured::shared(version);
    let [first, second, third] = ["rsa.pkcs1", "p256.sec1", "rsa.pkcs8"].map(|key| kafka.mutual_tls(key));
    endpoint_and_two_consumers(kafka, [&first, &second, &third]);
}

pub fn ten_thousand_messages_over_sasl_without_tls(version: &'static str) {
    let kafka = Secured::shared(version);
    let [first, second, third] =
        ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"].map(|mechanism| kafka.sasl("SASL", mechanism));
    endpoint_and_two_consumers(kafka, [&first, &second, &third]);
}

pub fn ten_thousand_messages_over_sasl_with_tls(version: &'static str) {
    let kafka = Secured::shared(version);
    let [first, second, third] =
        ["SCRAM-SHA-512", "PLAIN", "SCRAM-SHA-256"].map(|mechanism| kafka.sasl("SASLTLS", mechanism));
    endpoint_and_two_consumers(kafka, [&first, &second, &third]);
}

pub fn ten_thousand_messages_over_three_kinds_of_listener(version: &'static str) {
    let kafka = Secured::shared(version);
    let (first, second) = (kafka.tls("TLS"), kafka.mutual_tls("rsa.pkcs8"));
    endpoint_and_two_consumers(kafka, [&first, &second, &kafka.sasl("SASL", "SCRAM-SHA-256")]);
}

pub fn ten_thousand_messages_over_three_mechanisms(version: &'static str) {
    let kafka = Secured::shared(version);
    let [first, second, third] =
        ["OAUTHBEARER", "SCRAM-SHA-512", "PLAIN"].map(|mechanism| kafka.sasl("SASLTLS", mechanism));
    endpoint_and_two_consumers(kafka, [&first, &second, &third]);
}

/// One token comes from a file, one from a program, one from the endpoint for client credentials.
pub fn ten_thousand_messages_with_tokens_from_each_source(version: &'static str) {
    let kafka = Secured::shared(version);
    let file = kafka.sasl("SASLTLS", "OAUTHBEARER");
    let printed = serde_json::to_string(&["cat", file.get("kafka.oauth_token_file")]).expect("JSON");
    let program =
        kafka.sasl_as("SASLTLS", "OAUTHBEARER", USER, "").set("kafka.oauth_token_command", &printed);
    let url = Authority::shared().token_url("ok", &unique("seguro"));
    let credentials = kafka.credentials("SASLTLS", &url).set("kafka.oauth_scope", "kafka orders");
    endpoint_and_two_consumers(kafka, [&credentials, &file, &program]);
    let request = Authority::shared().last_request(&url);
    assert_eq!(request["form"]["grant_type"], "client_credentials", "{request}");
    assert_eq!(request["form"]["scope"], "kafka orders", "{request}");
}

/// A topic with [`COUNT`] messages, which the program `producer` has sent.
fn sent_by_the_producer(kafka: &Secured, way: &Way) -> String {
    let topic = unique("seguro");
    kafka.kafka.assistant().create_topic(&topic, 4, 1, &[]);
    let lines = (0..COUNT).fold(String::new(), |mut lines, number| {
        let _ = writeln!(lines, r#"{{"id":{number}}}"#);
        lines
    });
    let file = way.secret_path("lines");
    fs::write(&file, lines).expect("a file");
    let start = way.program(Start::program("producer")).set("kafka.topic", &topic);
    let mut producer = start.arguments(&[&file.display().to_string()]).start();
    assert_eq!(producer.wait(LONG), Some(0));
    producer.wait_for_outputs();
    let sent = producer.lines().iter().filter(|line| line.starts_with("Mensaje enviado")).count();
    assert_eq!(sent as u64, COUNT);
    topic
}

/// Each of the programs reads all that `producer` has sent, each over another listener.
pub fn producer_pull_and_push_carry_ten_thousand_messages(version: &'static str) {
    let kafka = Secured::shared(version);
    let topic = sent_by_the_producer(kafka, &kafka.sasl("SASLTLS", "SCRAM-SHA-512"));
    let url = Authority::shared().token_url("brief", &unique("seguro"));
    let ways = [
        ("consumer_pull", kafka.mutual_tls("p256.pkcs8")),
        ("consumer_push", kafka.credentials("BRIEF", &url)),
    ];
    let consumers = ways.each_ref().map(|(name, way)| consumer(way, name, &topic, &unique("grupo")).start());
    for mut consumer in consumers {
        consumer.wait_for_messages(COUNT as usize, LONG);
        consumer.stop();
        consumer.wait_for_outputs();
        let mut numbers = numbers_of(consumer.received());
        numbers.sort_unstable();
        assert!(numbers.into_iter().eq(0..COUNT), "each once");
    }
}

/// Programs with the `kafka` crate, which knows neither TLS nor SASL, work through `adapter`.
pub fn foreign_programs_carry_ten_thousand_messages_through_the_adapter(version: &'static str) {
    let kafka = Secured::shared(version);
    let way = kafka.sasl("SASLTLS", "SCRAM-SHA-256");
    let stage = Stage::with_adapter(&kafka.kafka, way.program(Start::program("adapter")));
    kafka.kafka.assistant().create_topic(&stage.topic, 4, 1, &[]);
    let consumers = [stage.consumer(&["commit=set"]), stage.consumer(&["commit=set"])];
    stage.wait_for_members(2, 2);
    // Each waits for every answer, so that several are faster.
    let mut producers = [(); 4].map(|()| stage.producer(&[]));
    for (number, producer) in (0..COUNT).zip((0..producers.len()).cycle()) {
        producers[producer].write_line(&number.to_string());
    }
    for producer in &mut producers {
        producer.close_input();
        assert_eq!(producer.wait(LONG), Some(0));
        producer.wait_for_outputs();
        assert!(producer.lines().iter().all(|line| line.starts_with("sent ")), "not all was sent");
    }
    let all = consumers.each_ref();
    wait_for_printed(&all, COUNT as usize);
    assert_all_once(&stage, &all);
    kafka.kafka.assistant().wait_for_commits(&stage.group, &stage.topic);
}

/// The default program hands the password on to its children, whether it stands in a file or in the
/// environment, and to nobody else.
pub fn one_command_runs_the_channel_and_shows_no_secret(version: &'static str) {
    let kafka = Secured::shared(version);
    for in_a_file in [true, false] {
        let (topic, group) = (unique("seguro"), unique("grupo"));
        let way = kafka.sasl("SASLTLS", "SCRAM-SHA-256");
        let way = if in_a_file { way } else { way.without("kafka.sasl_password_file") };
        let mut start = way.program(Start::program("point-to-point"));
        if !in_a_file {
            start = start.environment("POINT_TO_POINT__KAFKA__SASL_PASSWORD", PASSWORD);
        }
        let start = start.set("kafka.topic", &topic).set("consumer.group", &group).set("log.level", "debug");
        let program = Program::producer_with(start);
        kafka.kafka.assistant().wait_for_members(&group, &["consumer1", "consumer2"], 1);
        assert_eq!(program.post("/enviar", r#"{"id":7}"#).status, 200);
        let arguments = arguments_of_all(program.id());
        assert!(arguments.contains("consumer2") && !arguments.contains("secret of"), "{arguments}");
        eventually("it is printed", PATIENCE, || {
            program.lines().iter().find(|line| line.contains(r#"{"id":7}"#)).map(drop)
        });
        let said = [program.lines(), program.log()].concat();
        let told: Vec<_> = said.iter().filter(|line| line.contains("secret of")).collect();
        assert!(told.is_empty(), "{told:?}");
    }
}

/// The command lines of a process and its children.
fn arguments_of_all(process: u32) -> String {
    let children = format!("/proc/{process}/task/{process}/children");
    let mut text = String::new();
    let listed = fs::read_to_string(children).unwrap_or_default();
    for id in listed.split_whitespace().chain([process.to_string().as_str()]) {
        text += &fs::read_to_string(format!("/proc/{id}/cmdline")).unwrap_or_default().replace('\0', " ");
        text.push('\n');
    }
    text
}

/// A group of ours with a member on librdkafka: all three share the topic, each over its own listener.
pub fn a_client_of_others_shares_a_group_with_ours(version: &'static str) {
    let kafka = Secured::shared(version);
    let (topic, group) = (unique("seguro"), unique("grupo"));
    let assistant = kafka.kafka.assistant();
    assistant.create_topic(&topic, 6, 1, &[]);
    let first = joined(consumer(&kafka.tls("TLS"), "consumer1", &topic, &group));
    let second = joined(consumer(&kafka.sasl("SASLTLS", "PLAIN"), "consumer2", &topic, &group));
    let way = kafka.mutual_tls("p256.pkcs8").librdkafka();
    let mut settings: Vec<(&str, &str)> = way.iter().map(|(name, value)| (*name, value.as_str())).collect();
    settings.extend([("client.id", "kcat"), ("partition.assignment.strategy", "range")]);
    let kcat = Client::Kcat.consumer(&kafka.kafka, &topic, &group, &settings);
    assistant.wait_for_members(&group, &["consumer1", "consumer2", "kcat"], 2);
    assistant.produce(&topic, "none", -1, r#"{"id":%d}"#, 600);
    eventually("all is printed", PATIENCE, || {
        let printed = first.received_count() + second.received_count() + kcat.lines().len();
        (printed >= 600).then_some(())
    });
    assert!(first.received_count() > 0 && second.received_count() > 0 && !kcat.lines().is_empty());
}

/// Names with what SCRAM has marks for, and passwords with letters that SASLprep would change: Kafka takes
/// them as they are. Names beyond ASCII it does not know.
pub fn users_and_passwords_of_any_letters_authenticate(version: &'static str) {
    let kafka = Secured::shared(version);
    for (user, password) in [("Juan=a,b c", " contraseña=1, "), ("n,,=2C", "ⅷ ª ﬁn"), ("=", "パスワード")]
    {
        let user = unique(user);
        kafka.add_user(&user, password);
        let (topic, group) = (unique("seguro"), unique("grupo"));
        kafka.kafka.assistant().create_topic(&topic, 1, 1, &[]);
        kafka.allow(&user, "TOPIC", &topic, "READ");
        kafka.allow(&user, "GROUP", &group, "READ");
        for mechanism in ["SCRAM-SHA-256", "SCRAM-SHA-512"] {
            let way = kafka.sasl_as("SASLTLS", mechanism, &user, password);
            joined(consumer(&way, "consumer1", &topic, &group)).stop();
        }
    }
}

/// Handlers and token programs inherit the environment, but no secret in it.
pub fn handlers_and_token_programs_inherit_no_secret(version: &'static str) {
    const SECRETS: [&str; 2] =
        ["POINT_TO_POINT__KAFKA__SASL_PASSWORD", "POINT_TO_POINT__PRODUCER_API__TOKEN"];
    let kafka = Secured::shared(version);
    let (topic, group) = (unique("seguro"), unique("grupo"));
    kafka.kafka.assistant().create_topic(&topic, 1, 1, &[]);
    let command = |script: &str, arguments: &[&str]| {
        serde_json::to_string(&[&["sh", "-c", script, "sh"], arguments].concat()).expect("JSON")
    };
    let inherited = |path: &Path| {
        let text = eventually("a program has run", PATIENCE, || {
            fs::read_to_string(path).ok().filter(|text| text.contains("HARMLESS=yes"))
        });
        assert!(
            !text.contains(PASSWORD)
                && !text.contains("the-secret-of")
                && !SECRETS.iter().any(|name| text.contains(name)),
            "{text}"
        );
    };
    let start = |way: &Way| {
        let start = consumer(way, "consumer1", &topic, &group).environment("HARMLESS", "yes");
        start.environment(SECRETS[1], "the-secret-of-the-endpoint")
    };

    let way = kafka.sasl("SASLTLS", "SCRAM-SHA-256").without("kafka.sasl_password_file");
    let seen = way.secret_path("seen");
    let handler = command("env > $1.new; mv $1.new $1", &[&seen.display().to_string()]);
    let start_handling = start(&way).environment(SECRETS[0], PASSWORD).set("consumer.handler", &handler);
    let handling = joined(start_handling);
    kafka.kafka.assistant().put(&topic, 0, None, Some(br#"{"id":1}"#));
    inherited(&seen);
    drop(handling);

    let way = kafka.sasl("SASLTLS", "OAUTHBEARER");
    let (seen, file) = (way.secret_path("seen"), way.get("kafka.oauth_token_file").to_owned());
    let shown = seen.display().to_string();
    let program = command("env > $1.new; mv $1.new $1; cat $2", &[&shown, &file]);
    let way = way.without("kafka.oauth_token_file").set("kafka.oauth_token_command", &program);
    let _consuming = joined(start(&way));
    inherited(&seen);
}
