//! Messages that are pushed to a URL: what a request says, what answers mean, and how many are on their way.

mod target;

use std::io::Write;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use testing::certificates::{Authority, put};

use crate::support::assistant::Record;
use crate::support::kafka::Kafka;
use crate::support::metrics::get;
use crate::support::ports::free_port;
use crate::support::program::{Program, Start, WAITING};
use crate::support::python::python;
use crate::support::watchdog::Folder;
use crate::support::{EMBEDDED, NEWEST, PATIENCE, eventually, run_on, unique};
use target::{Body, Reply, Request, Target};

run_on! {
    mod kafka_4_3 on NEWEST {
        each_message_is_posted_with_what_belongs_to_it,
        answers_decide_what_becomes_of_a_message,
        a_target_that_refuses_all_gets_few_and_all_again_when_it_is_back,
    }
    mod embedded on EMBEDDED {
        each_message_is_posted_with_what_belongs_to_it,
        a_receiver_verifies_the_signature_with_svix,
        answers_decide_what_becomes_of_a_message,
        a_target_that_is_away_costs_no_message_an_attempt,
        a_target_that_does_not_answer_has_failed_and_the_phase_is_named,
        long_fields_are_sent_up_to_the_limit_and_a_long_head_of_an_answer_is_read,
        the_status_counts_where_the_body_is_cut_or_stuck,
        connections_are_kept_and_each_key_is_in_order,
        a_target_that_refuses_all_gets_few_and_all_again_when_it_is_back,
        an_address_of_the_local_network_is_refused_where_that_is_set,
        a_certificate_is_checked,
        any_payload_is_posted_as_it_is,
    }
}

struct Scene {
    kafka: &'static Kafka,
    topic: String,
    group: String,
    folder: Folder,
}

impl Scene {
    fn new(version: &'static str) -> Scene {
        let (kafka, topic, group) = (Kafka::shared(version), unique("avisos"), unique("grupo"));
        kafka.assistant().create_topic(&topic, 1, 1, &[]);
        Scene { kafka, topic, group, folder: Folder::new("push") }
    }

    fn consumer(&self, url: &str) -> Start {
        let start = Program::consumer_start(self.kafka, "consumer1", &self.topic, &self.group);
        start.set("consumer.push_url", url).set("retry.initial_backoff_ms", "20")
    }

    fn put(&self, key: Option<&str>, value: &str) {
        self.kafka.assistant().put(&self.topic, 0, key.map(str::as_bytes), Some(value.as_bytes()));
    }

    fn produce(&self, count: usize) {
        self.kafka.assistant().produce(&self.topic, "none", -1, "%d", count);
    }

    fn wait_for_commits(&self) {
        self.kafka.assistant().wait_for_commits(&self.group, &self.topic);
    }

    /// Whether no message has become a dead letter.
    fn has_no_dead_letters(&self) -> bool {
        self.kafka.assistant().is_empty(&format!("{}-dlt", self.topic))
    }

    /// The values of the dead letters, with their reasons.
    fn dead_letters(&self) -> Vec<(Option<String>, String)> {
        let letters = self.kafka.assistant().read(&format!("{}-dlt", self.topic), false);
        let text = |letter: &Record, name: &str| {
            String::from_utf8(letter.header(name).unwrap_or_default().to_vec()).expect("text")
        };
        let told = |letter: &Record| {
            let value = letter.value.clone().map(|value| String::from_utf8(value).expect("text"));
            (value, text(letter, "kafka_dlt-exception-message"))
        };
        letters.iter().map(told).collect()
    }
}

/// Waits until a consumer's /readyz says why it is not ready.
fn wait_for_obstacle(metrics: &str, why: &str) {
    eventually(&format!("/readyz says {why}"), PATIENCE, || {
        let answer = get(metrics.parse().unwrap(), "/readyz");
        (answer.status == 503 && String::from_utf8_lossy(&answer.body).contains(why)).then_some(())
    });
}

fn each_message_is_posted_with_what_belongs_to_it(version: &'static str) {
    let scene = Scene::new(version);
    let target = Target::start(|_| Reply::status(204));
    let headers = [("traceparent", "00-1"), ("nota", "ñ")]
        .map(|(name, value)| (name.to_owned(), Some(value.as_bytes().to_vec())));
    let assistant = scene.kafka.assistant();
    assistant.put_with(&scene.topic, 0, Some(b"k 1"), Some(b"{\"id\": 1}"), &headers);
    let start = scene.consumer(&target.url("/hook?a=1")).set("consumer.push_source", "//shop/orders");
    let mut consumer = start.set("consumer.push_type", "order.created").start();
    scene.wait_for_commits();
    let request = target.wait_for(1).remove(0);
    let place = format!("{}:0:0", scene.topic);
    let said = [
        ("ce-specversion", "1.0"),
        ("ce-id", place.as_str()),
        ("ce-source", "//shop/orders"),
        ("ce-type", "order.created"),
        ("ce-partitionkey", "k%201"),
        ("content-type", "application/json"),
        ("x-kafka-topic", scene.topic.as_str()),
        ("x-kafka-partition", "0"),
        ("x-kafka-offset", "0"),
        ("x-kafka-attempt", "1"),
        ("x-kafka-key", "k%201"),
        ("x-kafka-header-traceparent", "00-1"),
        ("x-kafka-header-nota", "%C3%B1"),
    ];
    for (name, value) in said {
        assert_eq!(request.field(name), Some(value), "{name} of {request:?}");
    }
    assert_eq!(request.line, "POST /hook?a=1 HTTP/1.1");
    assert_eq!(request.body, b"{\"id\": 1}");
    assert!(request.field("ce-time").is_some_and(|time| time.ends_with('Z')), "{request:?}");
    assert_eq!(request.field("webhook-id"), None, "nothing is signed without a secret");
    assert_eq!(consumer.lines(), [WAITING]);
    consumer.stop();
    assert_eq!(target.requests().len(), 1, "once");
}

fn a_receiver_verifies_the_signature_with_svix(version: &'static str) {
    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    let scene = Scene::new(version);
    let target = Target::start(|_| Reply::status(200));
    scene.put(None, "{\"id\":1,\"name\":\"ñandú\"}");
    let secret = put(scene.folder.path(), "secret", SECRET);
    let start = scene.consumer(&target.url("/"));
    let _consumer = start.set("consumer.push_secret_file", secret.to_str().unwrap()).start();
    let request = target.wait_for(1).remove(0);
    assert_eq!(request.field("webhook-id"), Some(format!("{}:0:0", scene.topic).as_str()));
    assert!(verifies(SECRET, &request), "{request:?}");
    let mut changed = request.clone();
    changed.body[7] = b'2';
    assert!(!verifies(SECRET, &changed));
    assert!(!verifies("whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", &request));
}

/// Whether Svix's library takes a request for one that was signed with a secret.
fn verifies(secret: &str, request: &Request) -> bool {
    let names = ["webhook-id", "webhook-timestamp", "webhook-signature"];
    let fields: Value =
        names.map(|name| (name, request.field(name).unwrap_or_default())).into_iter().collect();
    let asked = json!({ "secret": secret, "fields": fields, "body": String::from_utf8_lossy(&request.body) });
    let mut checker =
        python("verify_webhook.py").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    checker.stdin.take().unwrap().write_all(asked.to_string().as_bytes()).unwrap();
    let output = checker.wait_with_output().unwrap();
    match output.stdout.trim_ascii() {
        b"verified" => true,
        b"refused" => false,
        other => panic!("{}", String::from_utf8_lossy(other)),
    }
}

fn answers_decide_what_becomes_of_a_message(version: &'static str) {
    let scene = Scene::new(version);
    let times = AtomicUsize::new(0);
    // The first answers to each value; then 200.
    let target = Target::start(move |request| {
        let answers: &[u16] = match request.body.as_slice() {
            b"0" => &[500, 302],
            b"1" => &[410],
            b"2" => &[422],
            b"3" => &[404, 404, 404],
            b"4" => &[429, 503, 429, 503, 429],
            _ => &[408],
        };
        let round = request.field("x-kafka-attempt").unwrap().parse::<usize>().unwrap() - 1;
        // 429 and 503 are no attempts: every second request is taken.
        if request.body == b"4" {
            let time = times.fetch_add(1, Ordering::SeqCst);
            return Reply::status(answers.get(time).copied().unwrap_or(200));
        }
        let fields = if request.body == b"5" { "Retry-After: 0\r\n" } else { "Location: /elsewhere\r\n" };
        Reply { fields: fields.to_owned(), ..Reply::status(answers.get(round).copied().unwrap_or(200)) }
    });
    for value in ["0", "1", "2", "3", "4", "5"] {
        scene.put(Some(value), value);
    }
    let start = scene.consumer(&target.url("/")).set("consumer.push_dead_statuses", "[422]");
    let consumer = start.set("consumer.concurrency", "8").start();
    scene.wait_for_commits();
    let mut attempts = target.attempts();
    attempts.sort_unstable();
    let mut expected = vec![(0, 1), (0, 2), (0, 3), (1, 1), (2, 1), (3, 1), (3, 2), (3, 3), (5, 1), (5, 2)];
    expected.extend([(4, 1); 6]);
    expected.sort_unstable();
    assert_eq!(attempts, expected);
    let mut letters = scene.dead_letters();
    letters.sort_unstable();
    let told = |value: &str, why: &str| (Some(value.to_owned()), format!("the target answered {why}: so"));
    let expected = [told("1", "410 Gone"), told("2", "422 Unprocessable Entity"), told("3", "404 Not Found")];
    assert_eq!(letters, expected);
    consumer.wait_for_log(&["302 Found", "a redirect (to /elsewhere) is not followed"], PATIENCE);
    assert!(target.requests().iter().all(|request| request.line.starts_with("POST / ")));
}

fn a_target_that_is_away_costs_no_message_an_attempt(version: &'static str) {
    let scene = Scene::new(version);
    let (target, metrics) = (format!("127.0.0.1:{}", free_port()), format!("127.0.0.1:{}", free_port()));
    scene.produce(20);
    let start = scene.consumer(&format!("http://{target}/")).set("consumer.metrics_listen", &metrics);
    let consumer = start.set("consumer.concurrency", "4").start();
    consumer.wait_for_log(&["pauses", "no connection to the target: connecting: ", "refused"], PATIENCE);
    wait_for_obstacle(&metrics, "no connection to the target");
    let target = Target::start_at(&target, |_| Reply::status(200));
    scene.wait_for_commits();
    assert!(target.attempts().iter().all(|(_, attempt)| *attempt == 1), "{:?}", target.attempts());
    assert!(scene.has_no_dead_letters());
    consumer.wait_for_log(&["goes on"], PATIENCE);
}

fn a_target_that_does_not_answer_has_failed_and_the_phase_is_named(version: &'static str) {
    let scene = Scene::new(version);
    let target = Target::start(|request| Reply {
        after: if request.attempt() == 1 { Duration::from_secs(60) } else { Duration::ZERO },
        ..Reply::status(200)
    });
    scene.put(None, "1");
    let consumer = scene.consumer(&target.url("/")).set("consumer.handler_timeout_ms", "2000").start();
    consumer.wait_for_log(&["attempt 1 of 3 failed", "waiting for the answer: not done within"], PATIENCE);
    scene.wait_for_commits();
    assert_eq!(target.attempts(), [(0, 1), (0, 2)]);
}

fn long_fields_are_sent_up_to_the_limit_and_a_long_head_of_an_answer_is_read(version: &'static str) {
    let scene = Scene::new(version);
    // All of the answer's head are nearly 64 KiB.
    let filler = format!("X-Filler: {}\r\n", "f".repeat(64 * 1024 - 200));
    let target = Target::start(move |_| Reply { fields: filler.clone(), ..Reply::status(200) });
    let lengths = [7_000, 8 * 1024, 60 * 1024, 64 * 1024, 10];
    for (value, length) in (0..).zip(lengths) {
        let headers = [("nota".to_owned(), Some(vec![b'n'; length]))];
        let value = format!("{value}");
        scene.kafka.assistant().put_with(&scene.topic, 0, None, Some(value.as_bytes()), &headers);
    }
    let _consumer = scene.consumer(&target.url("/")).start();
    scene.wait_for_commits();
    let sent = |request: &Request| request.field("x-kafka-header-nota").map(str::len);
    let sent: Vec<Option<usize>> = target.requests().iter().map(sent).collect();
    assert_eq!(sent, [7_000, 8 * 1024, 60 * 1024, 10].map(Some));
    assert!(target.requests().iter().all(|request| request.attempt() == 1), "{:?}", target.attempts());
    let why = "its headers are too long for a request".to_owned();
    assert_eq!(scene.dead_letters(), [(Some("3".to_owned()), why)]);
}

fn the_status_counts_where_the_body_is_cut_or_stuck(version: &'static str) {
    let scene = Scene::new(version);
    let target = Target::start(|request| {
        let (status, body) = match request.body.as_slice() {
            b"0" => (200, Body::Cut),
            b"1" => (410, Body::Cut),
            b"2" => (200, Body::Stuck),
            _ => (200, Body::Whole),
        };
        Reply { body, ..Reply::status(status) }
    });
    for value in ["0", "1", "2", "3"] {
        scene.put(None, value);
    }
    let start = scene.consumer(&target.url("/")).set("consumer.handler_timeout_ms", "2000");
    let _consumer = start.start();
    scene.wait_for_commits();
    assert_eq!(target.attempts(), [(0, 1), (1, 1), (2, 1), (3, 1)]);
    let why = "the target answered 410 Gone: so".to_owned();
    assert_eq!(scene.dead_letters(), [(Some("1".to_owned()), why)]);
}

fn connections_are_kept_and_each_key_is_in_order(version: &'static str) {
    const MESSAGES: usize = 300;
    let scene = Scene::new(version);
    let target = Target::start(|request| Reply {
        after: Duration::from_millis(request.offset().unsigned_abs() % 5),
        ..Reply::status(200)
    });
    for number in 0..MESSAGES {
        scene.put(Some(&format!("key {}", number % 7)), &number.to_string());
    }
    let _consumer = scene.consumer(&target.url("/")).set("consumer.concurrency", "32").start();
    scene.wait_for_commits();
    let requests = target.requests();
    assert_eq!(requests.len(), MESSAGES);
    for key in 0..7 {
        let key = format!("key%20{key}");
        let of_key = requests.iter().filter(|request| request.field("x-kafka-key") == Some(&key));
        let offsets: Vec<i64> = of_key.map(Request::offset).collect();
        assert!(offsets.is_sorted() && !offsets.is_empty(), "{offsets:?}");
    }
    let connections = target.connections();
    assert!(connections <= 32, "{connections} connections for {MESSAGES} messages");
}

fn a_target_that_refuses_all_gets_few_and_all_again_when_it_is_back(version: &'static str) {
    const MOST: usize = 64;
    let scene = Scene::new(version);
    let refuses = Arc::new(AtomicBool::new(false));
    let answer = refuses.clone();
    let target = Target::start(move |_| Reply {
        after: Duration::from_millis(20),
        ..Reply::status(if answer.load(Ordering::SeqCst) { 503 } else { 200 })
    });
    scene.produce(50_000);
    let metrics = format!("127.0.0.1:{}", free_port());
    let start = scene.consumer(&target.url("/")).set("consumer.concurrency", &MOST.to_string());
    let start = start.set("consumer.metrics_listen", &metrics).set("retry.initial_backoff_ms", "1000");
    let _consumer = start.start();
    let is_full = || (target.in_flight() >= MOST * 3 / 4).then_some(());
    eventually("many are on their way", PATIENCE, is_full);
    refuses.store(true, Ordering::SeqCst);
    wait_for_obstacle(&metrics, "503 Service Unavailable");
    let seen = target.requests().len();
    eventually("some more are tried", PATIENCE, || {
        assert!(target.in_flight() <= 4, "{} are on their way", target.in_flight());
        (target.requests().len() > seen).then_some(())
    });
    refuses.store(false, Ordering::SeqCst);
    eventually("many are on their way again", PATIENCE, is_full);
    assert!(target.requests().iter().all(|request| request.attempt() == 1), "503 is no attempt");
    assert!(scene.has_no_dead_letters());
}

fn an_address_of_the_local_network_is_refused_where_that_is_set(version: &'static str) {
    let scene = Scene::new(version);
    let target = Target::start(|_| Reply::status(200));
    scene.put(None, "1");
    let url = format!("http://localhost:{}/", target.address().port());
    let consumer = scene.consumer(&url).set("consumer.push_private", "false").start();
    let why = ["pauses", "127.0.0.1", "is of the local network, and consumer.push_private is false"];
    consumer.wait_for_log(&why, PATIENCE);
    assert_eq!(target.connections(), 0);
}

fn a_certificate_is_checked(version: &'static str) {
    let scene = Scene::new(version);
    let authority = Authority::new("push");
    let target = Target::with_tls(&authority.issue(&["localhost"]), |_| Reply::status(200));
    let port = target.address().port();
    scene.put(None, "1");
    let ca = put(scene.folder.path(), "ca.pem", &authority.pem);
    let start = |host: &str| {
        let start = scene.consumer(&format!("https://{host}:{port}/"));
        start.set("consumer.push_tls_ca", ca.to_str().unwrap())
    };
    let mut other = start("127.0.0.1").start();
    other.wait_for_log(&["pauses", "agreeing on TLS", "127.0.0.1"], PATIENCE);
    other.stop();
    let mut stranger = scene.consumer(&format!("https://localhost:{port}/")).start();
    stranger.wait_for_log(&["pauses", "agreeing on TLS", "authority"], PATIENCE);
    stranger.stop();
    assert!(target.requests().is_empty());
    let _consumer = start("localhost").start();
    scene.wait_for_commits();
    assert_eq!(target.requests().len(), 1);
}

fn any_payload_is_posted_as_it_is(version: &'static str) {
    let scene = Scene::new(version);
    let target = Target::start(|_| Reply::status(200));
    let assistant = scene.kafka.assistant();
    for value in [None, Some(&b""[..]), Some(b"\xff\x00"), Some(b"null")] {
        assistant.put(&scene.topic, 0, Some(b"k"), value);
    }
    let _consumer = scene.consumer(&target.url("/")).set("consumer.payload", "any").start();
    scene.wait_for_commits();
    let told = |request: &Request| {
        let field = |name: &str| request.field(name).map(str::to_owned);
        (request.body.clone(), field("content-type").unwrap(), field("x-kafka-null"))
    };
    let bytes = "application/octet-stream".to_owned();
    let expected = [
        (Vec::new(), bytes.clone(), Some("true".to_owned())),
        (Vec::new(), bytes.clone(), None),
        (b"\xff\x00".to_vec(), bytes, None),
        (b"null".to_vec(), "application/json".to_owned(), None),
    ];
    assert_eq!(target.requests().iter().map(told).collect::<Vec<_>>(), expected);
}
