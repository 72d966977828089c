//! What is there for operators, Grafana's dashboard and Prometheus' alerts, names what the programs tell.

use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::Value;

use crate::support::http::Connection;
use crate::support::kafka::Kafka;
use crate::support::metrics::Scrape;
use crate::support::ports::free_port;
use crate::support::program::{Program, Start};
use crate::support::python::python;
use crate::support::watchdog::Folder;
use crate::support::{EMBEDDED, PATIENCE, eventually, unique};

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging").join(name)
}

fn dashboard() -> Value {
    let text = fs::read_to_string(path("grafana/point-to-point.json")).expect("the dashboard");
    serde_json::from_str(&text).expect("JSON")
}

/// The rules of the one group of alerts.
fn rules() -> Vec<Value> {
    let file = fs::File::open(path("prometheus/alerts.yml")).expect("the alerts");
    let mut command = python("read_yaml.py");
    let output = command.stdin(Stdio::from(file)).output().expect("Python runs");
    let read: Value = serde_json::from_slice(&output.stdout).expect("what the script prints");
    read["groups"][0]["rules"].as_array().expect("rules").clone()
}

/// The texts of all members with this name.
fn members<'a>(value: &'a Value, name: &str, found: &mut Vec<&'a str>) {
    match value {
        Value::Object(object) => {
            found.extend(object.get(name).and_then(Value::as_str));
            object.values().for_each(|value| members(value, name, found));
        }
        Value::Array(array) => array.iter().for_each(|value| members(value, name, found)),
        _ => {}
    }
}

/// The names of metrics of ours, and of those that every process has, in an expression.
fn named(expression: &str) -> impl Iterator<Item = &str> {
    let words = expression.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.filter(|word| word.starts_with("point_to_point_") || word.starts_with("process_"))
}

/// The names of the samples that a scrape may have.
fn told(scrape: &Scrape) -> BTreeSet<String> {
    let names = |(name, kind): (&String, &String)| -> Vec<String> {
        let endings: &[&str] = match kind.as_str() {
            "counter" => &["_total"],
            "histogram" => &["_bucket", "_sum", "_count"],
            "info" => &["_info"],
            "gauge" => &[""],
            other => panic!("{name} is of type {other}"),
        };
        endings.iter().map(|ending| format!("{name}{ending}")).collect()
    };
    scrape.types.iter().flat_map(names).collect()
}

/// What an endpoint that serves its own broker tells of the store.
fn told_of_a_store() -> BTreeSet<String> {
    let folder = Folder::new("told");
    let start = Start::program("producer_api").set("embedded.listen", &format!("127.0.0.1:{}", free_port()));
    let start = start.set("embedded.data_dir", &folder.path().join("data").display().to_string());
    let api = Program::producer_with(start);
    eventually("the store is looked at", PATIENCE, || {
        Some(told(&Scrape::of(api.address()))).filter(|told| told.contains("point_to_point_store_failed"))
    })
}

/// What an endpoint tells that stores, refuses, and is refused.
fn told_of_posts(kafka: &Kafka, topic: &str) -> BTreeSet<String> {
    kafka.assistant().create_topic(topic, 1, 1, &["max.message.bytes=200"]);
    let api = Program::producer(kafka, topic);
    assert_eq!(api.post("/enviar", "1").status, 200);
    let large = api.post("/enviar", &"1".repeat(1_000)).status;
    assert!(large >= 400, "{large}");
    let mut connection = Connection::open(api.address()).expect("it listens");
    connection.send(b"GET /healthz HTTP/1.1\r\nHost: another.example.com\r\n\r\n");
    assert_eq!(connection.answer().expect("an answer").status, 403);
    told(&Scrape::of(api.address()))
}

/// What a consumer tells whose handler fails until nothing is handed out.
fn told_of_a_pause(kafka: &Kafka, topic: &str) -> BTreeSet<String> {
    let metrics = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let start = Program::consumer_start(kafka, "consumer1", topic, &unique("grupo"));
    let start = start.set("consumer.handler", r#"["false"]"#).set("consumer.circuit_failures", "1");
    let _consumer = start.set("consumer.metrics_listen", &metrics.to_string()).start();
    eventually("it listens", PATIENCE, || Connection::open(metrics).ok());
    eventually("it pauses, and its lag is known", PATIENCE, || {
        let of_a_pause = ["point_to_point_consumer_paused", "point_to_point_consumer_lag"];
        let is_told = |told: &BTreeSet<String>| of_a_pause.iter().all(|name| told.contains(*name));
        Some(told(&Scrape::of(metrics))).filter(is_told)
    })
}

#[test]
fn the_dashboard_and_the_alerts_name_nothing_that_the_programs_do_not_tell() {
    let (kafka, topic) = (Kafka::shared(EMBEDDED), unique("contado"));
    let mut told = told_of_posts(kafka, &topic);
    told.append(&mut told_of_a_pause(kafka, &topic));
    told.append(&mut told_of_a_store());
    let (dashboard, rules) = (dashboard(), Value::Array(rules()));
    let mut expressions = Vec::new();
    members(&dashboard, "expr", &mut expressions);
    members(&dashboard, "definition", &mut expressions);
    assert!(expressions.len() > 30, "{expressions:?}");
    members(&rules, "expr", &mut expressions);
    let named: BTreeSet<&str> = expressions.iter().flat_map(|expression| named(expression)).collect();
    assert!(named.len() > 25, "{named:?}");
    let unknown: Vec<_> = named.iter().filter(|name| !told.contains(**name)).collect();
    assert!(unknown.is_empty(), "{unknown:?} are not among {told:?}");
}

#[test]
fn every_alert_says_how_bad_it_is_and_what_is_wrong() {
    let rules = rules();
    let names: BTreeSet<&str> = rules.iter().filter_map(|rule| rule["alert"].as_str()).collect();
    assert_eq!(names.len(), rules.len(), "each has a name of its own");
    for rule in &rules {
        let severity = rule["labels"]["severity"].as_str();
        assert!(matches!(severity, Some("critical" | "warning")), "{rule}");
        assert!(rule["annotations"]["summary"].as_str().is_some_and(|text| text.len() > 10), "{rule}");
        assert!(rule["expr"].as_str().is_some_and(|text| !text.is_empty()), "{rule}");
    }
}

#[test]
fn every_panel_of_the_dashboard_has_its_own_place_and_asks_the_chosen_source() {
    let dashboard = dashboard();
    let panels = dashboard["panels"].as_array().expect("panels");
    let mut cells = BTreeSet::new();
    let mut ids = BTreeSet::new();
    for panel in panels {
        let title = &panel["title"];
        assert!(ids.insert(panel["id"].as_u64().expect("a number")), "{title}");
        let at = ["x", "y", "w", "h"].map(|name| panel["gridPos"][name].as_u64().expect("a number"));
        let [x, y, width, height] = at;
        assert!(x + width <= 24, "{title}");
        for cell in (x..x + width).flat_map(|x| (y..y + height).map(move |y| (x, y))) {
            assert!(cells.insert(cell), "{title} lies on another one");
        }
        if panel["type"] != "row" {
            let targets = panel["targets"].as_array().expect("targets");
            assert!(!targets.is_empty(), "{title}");
            assert!(targets.iter().all(|target| target["datasource"]["uid"] == "${datasource}"), "{title}");
        }
    }
}
