//! What the programs tell of themselves: metrics that equal what was done, readiness that follows the
//! brokers, and log lines that can be found by the id of a request.

use std::net::SocketAddr;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::Value;

use crate::support::http::{Answer, Connection};
use crate::support::kafka::Kafka;
use crate::support::metrics::{Scrape, get};
use crate::support::ports::free_port;
use crate::support::program::{Program, Start, WAITING};
use crate::support::watchdog::Folder;
use crate::support::{EMBEDDED, NEWEST, PATIENCE, eventually, eventually_equal, run_on, unique};

run_on! {
    mod kafka_4_3 on NEWEST {
        a_scrape_of_the_endpoint_equals_what_was_done,
        the_endpoint_is_ready_exactly_while_the_broker_answers,
        the_endpoint_is_not_ready_without_its_topic,
        the_endpoint_is_not_ready_while_too_few_replicas_are_in_sync,
        a_consumer_counts_what_became_of_its_messages,
        consumers_tell_their_partitions_lag_and_rebalances,
        the_log_and_the_dead_letters_are_told_as_they_are,
        what_was_removed_before_it_was_handled_is_no_lag,
    }
    mod embedded on EMBEDDED {
        a_scrape_of_the_endpoint_equals_what_was_done,
        the_endpoint_is_ready_exactly_while_the_broker_answers,
        the_endpoint_is_not_ready_without_its_topic,
        a_consumer_counts_what_became_of_its_messages,
        consumers_tell_their_partitions_lag_and_rebalances,
        the_access_log_shows_each_request_in_one_line_whatever_it_asks_for,
        the_consumers_of_the_default_program_have_ports_of_their_own,
        the_log_and_the_dead_letters_are_told_as_they_are,
        what_was_removed_before_it_was_handled_is_no_lag,
        the_status_is_shown_again_until_it_is_stopped,
        metrics_are_told_beyond_loopback_where_anyone_may_scrape,
    }
}

fn id_of(answer: &Answer) -> String {
    answer.header("x-request-id").expect("every answer has an id").to_owned()
}

/// A consumer whose metrics are told, and where.
fn consumer(
    kafka: &Kafka,
    name: &str,
    topic: &str,
    group: &str,
    with: &[(&str, &str)],
) -> (Program, SocketAddr) {
    let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let start = Program::consumer_start(kafka, name, topic, group);
    let start = start.set("consumer.metrics_listen", &address.to_string());
    let consumer = with.iter().fold(start, |start, (key, value)| start.set(key, value)).start();
    consumer.wait_for_line(WAITING, PATIENCE);
    (consumer, address)
}

fn a_scrape_of_the_endpoint_equals_what_was_done(version: &'static str) {
    let kafka = Kafka::shared(version);
    let topic = unique("contados");
    let api = Program::producer(kafka, &topic);
    for number in 0..12 {
        let answer = api.post("/enviar?key=a", &format!("{{\"id\":{number}}}"));
        assert_eq!(answer.status, 200);
        let request = format!("request={}", id_of(&answer));
        api.wait_for_log(&["sent topic=", &request, &format!(" offset={number} ")], PATIENCE);
    }
    assert_eq!(api.post("/enviar", "{").status, 400);
    assert_eq!(api.post("/enviar/../etc", "1").status, 404);
    let scrape = Scrape::of(api.address());
    let requests = |route, method, status| {
        let labels = [("route", route), ("method", method), ("status", status)];
        scrape.value("point_to_point_http_requests_total", &labels)
    };
    assert_eq!(requests("/enviar", "POST", "200"), 12.0);
    assert_eq!(requests("/enviar", "POST", "400"), 1.0);
    assert_eq!(requests("none", "POST", "404"), 1.0);
    let of_enviar = [("route", "/enviar")];
    assert_eq!(scrape.value("point_to_point_http_request_duration_seconds_count", &of_enviar), 13.0);
    let messages = |outcome| scrape.value("point_to_point_messages_total", &[("outcome", outcome)]);
    assert_eq!(["stored", "not_stored", "unknown", "not_taken"].map(messages), [12.0, 0.0, 0.0, 0.0]);
    let value = |name| scrape.value(name, &[]);
    assert_eq!(value("point_to_point_batch_messages_sum"), 12.0);
    assert_eq!(value("point_to_point_batch_messages_count"), 12.0, "they were posted one after the other");
    assert_eq!(value("point_to_point_queue_messages"), 0.0);
    assert_eq!(value("point_to_point_queue_bytes"), 0.0);
    assert_eq!(value("point_to_point_queue_messages_limit"), 20_000.0, "for all topics together");
    assert_eq!(value("point_to_point_http_connections"), 1.0, "that of the scrape");
    assert_eq!(scrape.types["point_to_point_http_request_duration_seconds"], "histogram");
}

fn the_endpoint_is_ready_exactly_while_the_broker_answers(version: &'static str) {
    let kafka = Kafka::start(version, 1);
    let api = Program::producer_with(
        Start::program("producer_api").on(&kafka).set("producer_api.answer_timeout_ms", "5000"),
    );
    let ready = || get(api.address(), "/readyz").status;
    eventually_equal("ready with a broker", &200, ready);
    assert_eq!(api.post("/enviar", "1").status, 200, "ready means that messages are stored");
    kafka.stop_node(0);
    eventually_equal("not ready without a broker", &503, ready);
    let answer = get(api.address(), "/readyz");
    assert_eq!(answer.header("retry-after"), Some("1"));
    assert_eq!(answer.json()["error"]["code"], "not_ready");
    assert_eq!(get(api.address(), "/healthz").json()["status"], "ok");
    let refused = api.post("/enviar", "2");
    assert_eq!(refused.status, 503);
    api.wait_for_log(&["not stored", &format!("request={}", id_of(&refused))], PATIENCE);
    let scrape = Scrape::of(api.address());
    assert_eq!(scrape.value("point_to_point_messages_total", &[("outcome", "not_stored")]), 1.0);
    kafka.start_node(0);
    eventually_equal("ready with the broker again", &200, ready);
    assert_eq!(api.post("/enviar", "3").status, 200);
    kafka.freeze_node(0);
    eventually_equal("not ready with a broker that does not answer", &503, ready);
    kafka.thaw_node(0);
    eventually_equal("ready once it answers", &200, ready);
}

fn the_endpoint_is_not_ready_without_its_topic(version: &'static str) {
    let kafka = Kafka::shared(version);
    let topic = unique("ausente");
    let start = Start::program("producer_api").on(kafka).set("kafka.topic", &topic);
    let api = Program::producer_with(start.set("kafka.create_topic", "false"));
    let reason = format!("There is no topic {topic}.");
    eventually("the topic is missed", PATIENCE, || {
        let answer = get(api.address(), "/readyz");
        (answer.status == 503 && answer.json()["message"] == reason.as_str()).then_some(())
    });
    kafka.assistant().create_topic(&topic, 1, 1, &[]);
    eventually_equal("ready with the topic", &200, || get(api.address(), "/readyz").status);
}

fn the_endpoint_is_not_ready_while_too_few_replicas_are_in_sync(version: &'static str) {
    let kafka = Kafka::start(version, 3);
    let topic = unique("replicado");
    let needs = |replicas: u32| format!("min.insync.replicas={replicas}");
    kafka.assistant().create_topic(&topic, 2, 3, &[&needs(3)]);
    let start = Start::program("producer_api").on(&kafka).set("kafka.topic", &topic);
    let api = Program::producer_with(start.set("producer_api.answer_timeout_ms", "3000"));
    let ready = || get(api.address(), "/readyz");
    eventually_equal("ready with all replicas", &200, || ready().status);
    assert_eq!(api.post("/enviar", "1").status, 200, "ready means that messages are stored");
    kafka.kill_node(2);
    let reason = format!("Topic {topic} needs 3 replicas in sync (min.insync.replicas)");
    eventually("too few replicas are missed", PATIENCE, || {
        let answer = ready();
        let said = answer.json()["message"].as_str().unwrap_or_default().starts_with(&reason);
        (answer.status == 503 && said).then_some(())
    });
    let refused = api.post("/enviar", "2");
    assert_eq!(refused.status, 503, "not ready means that messages are not stored");
    let why = String::from_utf8_lossy(&refused.body).into_owned();
    assert!(why.contains("replicas in sync"), "{why}");
    kafka.assistant().configure(&topic, &[&needs(2)]);
    eventually_equal("ready with replicas enough", &200, || ready().status);
    assert_eq!(api.post("/enviar", "3").status, 200, "ready means that messages are stored");
}

fn a_consumer_counts_what_became_of_its_messages(version: &'static str) {
    let kafka = Kafka::shared(version);
    let (topic, group) = (unique("tratados"), unique("grupo"));
    kafka.assistant().create_topic(&topic, 1, 1, &[]);
    let put = |value: &str| kafka.assistant().put(&topic, 0, None, Some(value.as_bytes()));
    let handler = r#"["sh", "-c", "case $(cat) in *good*) ;; *second*) [ $POINT_TO_POINT_ATTEMPT = 2 ];; *) exit 1;; esac"]"#;
    let with = [("consumer.handler", handler), ("retry.initial_backoff_ms", "10")];
    let (consumer, address) = consumer(kafka, "consumer1", &topic, &group, &with);
    for value in ["\"good\"", "\"good\"", "\"second\"", "\"bad\"", "not json", "\"good\""] {
        put(value);
    }
    let counts = || {
        let scrape = Scrape::of(address);
        let value = |name: &str| scrape.value(&format!("point_to_point_consumer_{name}"), &[]);
        [
            value("messages_handled_total"),
            value("attempts_failed_total"),
            value("retries_total"),
            value("messages_dead_lettered_total"),
            value("commits_failed_total"),
        ]
    };
    // Handled: three good ones and the second. Failed: one of the second, three of the bad.
    eventually_equal("what became of six messages", &[4.0, 4.0, 3.0, 2.0, 0.0], counts);
    // One commit has all that is done since the last.
    let commits = || Scrape::of(address).value("point_to_point_consumer_commit_duration_seconds_count", &[]);
    eventually_equal("there were commits", &true, || commits() >= 1.0);
    assert_eq!(get(address, "/healthz").status, 200);
    drop(consumer);
}

fn consumers_tell_their_partitions_lag_and_rebalances(version: &'static str) {
    let kafka = Kafka::shared(version);
    let (topic, group) = (unique("repartidos"), unique("grupo"));
    kafka.assistant().create_topic(&topic, 4, 1, &[]);
    let held = [("consumer.handler", r#"["sleep", "50"]"#), ("retry.max_attempts", "1")];
    let (first, at_first) = consumer(kafka, "primero", &topic, &group, &held);
    for partition in 0..4 {
        for _ in 0..3 {
            kafka.assistant().put(&topic, partition, None, Some(b"1"));
        }
    }
    let owned =
        |address| Scrape::of(address).value("point_to_point_consumer_partitions", &[("topic", &topic)]);
    let lags = |address| {
        let mut lags = Scrape::of(address).values("point_to_point_consumer_lag");
        lags.sort_by(f64::total_cmp);
        lags
    };
    let rebalances = |address| Scrape::of(address).value("point_to_point_consumer_rebalances_total", &[]);
    eventually_equal("it owns all", &4.0, || owned(at_first));
    eventually_equal("it has all before it, those in hand included", &vec![3.0; 4], || lags(at_first));
    assert_eq!(rebalances(at_first), 0.0);
    drop(first);
    let (_again, at_again) = consumer(kafka, "primero", &topic, &group, &[]);
    eventually_equal("all is handled", &vec![0.0; 4], || lags(at_again));
    let (mut other, at_other) = consumer(kafka, "segundo", &topic, &group, &[]);
    eventually_equal("the second has its share", &2.0, || owned(at_other));
    eventually_equal("the first has what is left", &2.0, || owned(at_again));
    assert_eq!(rebalances(at_again), 1.0);
    other.stop();
    eventually_equal("the first has all again", &4.0, || owned(at_again));
    assert_eq!(rebalances(at_again), 2.0);
}

fn the_log_and_the_dead_letters_are_told_as_they_are(version: &'static str) {
    let kafka = Kafka::shared(version);
    let topic = unique("medido");
    let (letters, assistant) = (format!("{topic}-dlt"), kafka.assistant());
    assistant.create_topic(&topic, 2, 1, &[]);
    let api = Program::producer(kafka, &topic);
    let log = || {
        let scrape = Scrape::of(api.address());
        let value =
            |name: &str, labels: &[(&str, &str)]| scrape.value(&format!("point_to_point_{name}"), labels);
        let offset = |name, partition| value(name, &[("topic", &topic), ("partition", partition)]);
        [
            offset("log_start_offset", "0"),
            offset("log_end_offset", "0"),
            offset("log_start_offset", "1"),
            offset("log_end_offset", "1"),
            value("dead_letters", &[("topic", &letters)]),
        ]
    };
    for _ in 0..5 {
        assistant.put(&topic, 1, None, Some(b"1"));
    }
    eventually_equal("five messages", &[0.0, 0.0, 0.0, 5.0, 0.0], log);
    assistant.trim(&topic, 1, 3);
    assistant.create_topic(&letters, 2, 1, &[]);
    for partition in [0, 1, 1] {
        assistant.put(&letters, partition, None, Some(b"2"));
    }
    eventually_equal("two messages and three letters", &[0.0, 0.0, 3.0, 5.0, 3.0], log);
    let scrape = Scrape::of(api.address());
    assert!(scrape.values("point_to_point_store_failed").is_empty(), "other brokers are named");
}

#[test]
fn the_store_of_the_embedded_broker_is_told_by_the_endpoint_of_the_default_program() {
    let folder = Folder::new("store-metrics");
    let data = folder.path().join("data");
    let start = |with: &[(&str, &str)]| {
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let start = Start::program("point-to-point").set("producer_api.listen", &address.to_string());
        let start = start.set("embedded.listen", &format!("127.0.0.1:{}", free_port()));
        let start = start.set("embedded.data_dir", &data.display().to_string());
        let program = with.iter().fold(start, |start, (key, value)| start.set(key, value)).start();
        eventually("it listens", PATIENCE, || Connection::open(address).ok());
        (address, program)
    };
    let store = |address, name: &str| {
        let values = Scrape::of(address).values(&format!("point_to_point_store_{name}"));
        assert!(values.len() <= 1, "{values:?}");
        values.first().copied()
    };
    let (address, program) = start(&[]);
    eventually_equal("messages are taken", &Some(0.0), || store(address, "failed"));
    assert!(store(address, "bytes").is_some_and(|bytes| bytes > 0.0));
    assert!(store(address, "free_bytes").is_some_and(|bytes| bytes > 0.0));
    drop(program);
    let (address, _program) = start(&[("embedded.min_free_bytes", "1152921504606846976")]);
    eventually_equal("none is taken", &Some(1.0), || store(address, "failed"));
}

#[test]
fn what_is_known_of_the_process_is_told_by_the_usual_names() {
    let api = Program::producer_with(Start::program("producer_api").on(Kafka::shared(EMBEDDED)));
    let first = Scrape::of(api.address());
    let value = |name| first.value(name, &[]);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs_f64();
    let started = value("process_start_time_seconds");
    assert!(started > now - 600.0 && started < now + 2.0, "{started} at {now}");
    assert!(value("process_resident_memory_bytes") > 1e6);
    assert!(value("process_threads") > 3.0);
    assert!(value("process_max_fds") > value("process_open_fds"));
    assert_eq!(first.types["process_cpu_seconds"], "counter");
    assert_eq!(first.value("point_to_point_build_info", &[("version", env!("CARGO_PKG_VERSION"))]), 1.0);
    let open_now = || Scrape::of(api.address()).value("process_open_fds", &[]);
    // Beside those of its clients it opens and closes some of its own.
    eventually("the descriptors of five clients are seen", PATIENCE, || {
        let clients = (0..5).map(|_| Connection::open(api.address()).expect("it listens"));
        let clients = clients.collect::<Vec<_>>();
        let with_clients = open_now();
        drop(clients);
        (with_clients >= open_now() + 5.0).then_some(())
    });
    let cpu = || Scrape::of(api.address()).value("process_cpu_seconds_total", &[]);
    let before = cpu();
    eventually("answers take processor time", PATIENCE, || (cpu() > before).then_some(()));
}

fn what_was_removed_before_it_was_handled_is_no_lag(version: &'static str) {
    let kafka = Kafka::shared(version);
    let (topic, group, assistant) = (unique("borrado"), unique("grupo"), kafka.assistant());
    assistant.create_topic(&topic, 1, 1, &[]);
    let put = |count| (0..count).for_each(|_| _ = assistant.put(&topic, 0, None, Some(b"1")));
    put(4);
    let (mut first, _) = consumer(kafka, "primero", &topic, &group, &[]);
    assistant.wait_for_commits(&group, &topic);
    first.stop();
    put(6);
    assistant.trim(&topic, 0, 7);
    let status = Start::program("point-to-point").on(kafka).arguments(&["status", "--json"]).start();
    let line = status.wait_for_line("{\"", PATIENCE);
    let shown: Value = serde_json::from_str(&line).expect("JSON");
    let of_group = shown["groups"].as_array().expect("groups").iter().find(|seen| seen["group"] == group);
    let progress = &of_group.expect("the group")["partitions"][0];
    let numbers = ["committed", "start", "end", "lag"].map(|name| progress[name].as_i64());
    assert_eq!(numbers, [Some(4), Some(7), Some(10), Some(3)]);
    let held = [("consumer.handler", r#"["sleep", "50"]"#), ("retry.max_attempts", "1")];
    let (_again, address) = consumer(kafka, "primero", &topic, &group, &held);
    eventually_equal("what is left", &vec![3.0], || {
        Scrape::of(address).values("point_to_point_consumer_lag")
    });
}

fn the_status_is_shown_again_until_it_is_stopped(version: &'static str) {
    let kafka = Kafka::shared(version);
    let topic = unique("mirado");
    kafka.assistant().create_topic(&topic, 1, 1, &[]);
    let watch = |words: &[&str]| Start::program("point-to-point").on(kafka).arguments(words).start();
    let mut program = watch(&["status", "--watch", "1", "--json"]);
    let ends = || {
        let looks = program.lines();
        let looks = looks.iter().map(|line| serde_json::from_str::<Value>(line).expect("a line is JSON"));
        let of_topic = looks.flat_map(|look| look["partitions"].as_array().expect("partitions").clone());
        of_topic.filter(|seen| seen["topic"] == topic).map(|seen| seen["end"].as_i64()).collect::<Vec<_>>()
    };
    eventually("it is seen empty, twice", PATIENCE, || (ends().len() >= 2).then_some(()));
    kafka.assistant().put(&topic, 0, None, Some(b"1"));
    eventually("the message is seen", PATIENCE, || (ends().last() == Some(&Some(1))).then_some(()));
    assert_eq!(ends().first(), Some(&Some(0)));
    program.stop();
    let mut program = watch(&["status", "--watch"]);
    eventually("the table is seen twice", PATIENCE, || {
        let tables = program.lines().iter().filter(|line| line.starts_with("TOPIC ")).count();
        (tables >= 2).then_some(())
    });
    program.stop();
}

fn the_access_log_shows_each_request_in_one_line_whatever_it_asks_for(version: &'static str) {
    let kafka = Kafka::shared(version);
    let start = Start::program("producer_api").on(kafka).set("kafka.topic", &unique("visto"));
    let mut api = Program::producer_with(start.set("producer_api.access_log", "true"));
    let answered = |request: &[u8]| {
        let mut connection = Connection::open(api.address()).expect("it listens");
        connection.send(request);
        connection.half_close();
        let answer = connection.answer().expect("an answer");
        assert!(connection.is_closed());
        (answer.status.to_string(), id_of(&answer))
    };
    let long = format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", "x".repeat(7000));
    let mut ids = Vec::new();
    for (request, status, shown) in [
        (
            &b"POST /enviar?key=a HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\n1"[..],
            "200",
            "POST /enviar?key=a",
        ),
        (b"GET /%0a%1b[2J\\n HTTP/1.1\r\nHost: x\r\n\r\n", "404", r"GET /%0a%1b[2J\\n"),
        (
            b"GET /\x1b[2J\xff\xe2\x80\xae HTTP/1.1\r\nHost: x\r\n\r\n",
            "400",
            r"GET /\u{1b}[2J\xff\u{202e} HTTP/1.1",
        ),
        (b"GET /a\rinjected=1 HTTP/1.1\r\nHost: x\r\n\r\n", "400", r"GET /a\rinjected=1 HTTP/1.1"),
        (long.as_bytes(), "404", "GET /xxx"),
    ] {
        let (was, id) = answered(request);
        assert_eq!(was, status, "{shown}");
        let line = api.wait_for_log(&["answered status=", &id], PATIENCE);
        let end = format!(": {shown}");
        assert!(line.contains(&format!(" status={status} ")) && line.contains(&end), "{line}");
        assert!(
            line.contains(" client=127.0.0.1:") && line.contains(" request_bytes=") && line.len() < 500,
            "{line}"
        );
        assert!(line.chars().all(|shown| !shown.is_control()), "{line:?}");
        ids.push(id);
    }
    api.stop();
    api.wait_for_outputs();
    let lines = api.log().into_iter().filter(|line| line.contains("] answered status="));
    let shown: Vec<String> = lines.collect();
    assert_eq!(shown.len(), ids.len(), "one line each: {shown:#?}");
}

fn the_consumers_of_the_default_program_have_ports_of_their_own(version: &'static str) {
    let kafka = Kafka::shared(version);
    let topic = unique("supervisado");
    let start = Start::program("point-to-point").on(kafka).set("kafka.topic", &topic);
    let start = start.set("consumer.group", &unique("grupo")).set("producer_api.listen", "127.0.0.1:0");
    let program = start.set("consumer.metrics_listen", "127.0.0.1:0").start();
    let told = |name: &str| {
        let start = format!("{name} | ");
        let find = || {
            let lines = program.lines();
            let line =
                lines.iter().find(|line| line.starts_with(&start) && line.contains("metrics at http://"))?;
            line.split_once("http://")?.1.strip_suffix("/metrics")?.parse::<SocketAddr>().ok()
        };
        eventually(&format!("{name} says where its metrics are"), PATIENCE, find)
    };
    for address in ["consumer1", "consumer2"].map(told) {
        eventually_equal("it owns its share", &2.0, || {
            Scrape::of(address).value("point_to_point_consumer_partitions", &[("topic", &topic)])
        });
    }
}

fn metrics_are_told_beyond_loopback_where_anyone_may_scrape(version: &'static str) {
    let kafka = Kafka::shared(version);
    let (topic, group) = (unique("abierto"), unique("grupo"));
    let port = free_port();
    let start = Program::consumer_start(kafka, "consumer1", &topic, &group);
    let start = start.set("consumer.metrics_listen", &format!("0.0.0.0:{port}"));
    let _consumer = start.set("consumer.anyone_may_scrape", "true").start();
    let mut connection = eventually("it listens", PATIENCE, || {
        Connection::open(SocketAddr::from(([127, 0, 0, 1], port))).ok()
    });
    // As a scraper asks that knows the machine by a name.
    connection.send(b"GET /metrics HTTP/1.1\r\nHost: consumers.example.com:9100\r\n\r\n");
    let answer = connection.answer().expect("an answer");
    assert_eq!(answer.status, 200);
    assert!(String::from_utf8_lossy(&answer.body).contains("point_to_point_consumer_messages_handled_total"));
}
