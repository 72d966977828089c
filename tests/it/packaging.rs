//! What `packaging/` tells Kubernetes, containers and services to run is what the programs understand: the
//! real programs are started with those arguments and variables, on ports of the test.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::support::http::{self, Connection};
use crate::support::ports::free_port;
use crate::support::program::{Program, Start, WAITING, binary};
use crate::support::python::python;
use crate::support::watchdog::Folder;
use crate::support::{PATIENCE, eventually, my_turn, turn, unique};

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging").join(name)
}

/// The objects of a manifest.
fn manifest(name: &str) -> Vec<Value> {
    let file = fs::File::open(path("kubernetes").join(name)).expect(name);
    let mut command = python("read_yaml.py");
    let output = command.arg("--all").stdin(Stdio::from(file)).output().expect("Python runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("what the script prints")
}

fn of_kind<'a>(objects: &'a [Value], kind: &str) -> &'a Value {
    objects.iter().find(|object| object["kind"] == kind).unwrap_or_else(|| panic!("no {kind}"))
}

/// What a pod of a workload is to be.
struct Pod {
    spec: Value,
    folder: Folder,
}

impl Pod {
    fn of(workload: &Value) -> Pod {
        Pod { spec: workload["spec"]["template"]["spec"].clone(), folder: Folder::new("pod") }
    }

    fn container(&self) -> &Value {
        &self.spec["containers"][0]
    }

    /// The value of a variable, with those of the fields of the pod.
    fn variable(entry: &Value) -> String {
        match entry["valueFrom"]["fieldRef"]["fieldPath"].as_str() {
            Some("status.podIP") => "127.0.0.1".to_owned(),
            Some("metadata.name") => "point-to-point-0".to_owned(),
            Some(field) => panic!("the test does not know the field {field}"),
            None if entry["valueFrom"]["secretKeyRef"].is_object() => token(),
            None => entry["value"].as_str().expect("a value").to_owned(),
        }
    }

    /// The program as the pod runs it, with `$(NAME)` in place, but in a folder of the test, at a port of it
    /// where the manifest says `port`, and on a broker of its own.
    fn start(&self, port: u16, own: SocketAddr) -> Start {
        let mut known: BTreeMap<String, String> = BTreeMap::new();
        let place = |text: &str, known: &BTreeMap<String, String>| {
            let filled = known
                .iter()
                .fold(text.to_owned(), |text, (name, value)| text.replace(&format!("$({name})"), value));
            filled.replace(&format!(":{port}"), &format!(":{}", own.port()))
        };
        let mut start = Start::command("pod", Command::new(binary("point-to-point")));
        for entry in self.container()["env"].as_array().expect("variables") {
            let name = entry["name"].as_str().expect("a name");
            let value = place(&Pod::variable(entry), &known);
            start = start.environment(name, &value);
            known.insert(name.to_owned(), value);
        }
        let arguments: Vec<String> =
            strings(&self.container()["args"]).map(|text| place(text, &known)).collect();
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let data = self.folder.path().join("data").display().to_string();
        let start = start.arguments(&arguments).set("kafka.bootstrap_servers", "[]");
        let start = start.set("embedded.listen", &format!("127.0.0.1:{}", free_port()));
        start.set("embedded.data_dir", &data).set("kafka.topic", &unique("pod"))
    }

    /// Asks what the probes ask, until it is answered as a kubelet wants it.
    fn wait_for_probes(&self, address: SocketAddr) {
        let probes = ["startupProbe", "livenessProbe", "readinessProbe"];
        let probes = probes.map(|probe| self.container()[probe]["httpGet"]["path"].as_str());
        assert!(probes[1].is_some() && probes[2].is_some(), "{probes:?}");
        for probe in probes.into_iter().flatten() {
            eventually(&format!("{probe} is answered 200"), PATIENCE, || {
                let answer = Connection::open(address).ok()?.get(probe).ok()?;
                (answer.status == 200).then_some(())
            });
        }
    }

    /// The value of a setting among the arguments, in milliseconds.
    fn milliseconds(&self, key: &str, default: u64) -> Duration {
        let sets = strings(&self.container()["args"]);
        let found = sets.filter_map(|text| text.strip_prefix(key)?.strip_prefix('=')?.parse().ok()).next();
        Duration::from_millis(found.unwrap_or(default))
    }

    fn grace(&self) -> Duration {
        Duration::from_secs(self.spec["terminationGracePeriodSeconds"].as_u64().expect("a time"))
    }

    /// Who may do little may also do little wrong.
    fn is_confined(&self) {
        let (pod, container) = (&self.spec["securityContext"], &self.container()["securityContext"]);
        assert_eq!(
            (&pod["runAsNonRoot"], &pod["seccompProfile"]["type"]),
            (&true.into(), &"RuntimeDefault".into())
        );
        assert_eq!(container["readOnlyRootFilesystem"], true);
        assert_eq!(container["allowPrivilegeEscalation"], false);
        assert_eq!(strings(&container["capabilities"]["drop"]).collect::<Vec<_>>(), ["ALL"]);
        assert!(self.container()["resources"]["limits"]["memory"].is_string());
    }
}

fn strings(list: &Value) -> impl Iterator<Item = &str> {
    list.as_array().expect("a list").iter().map(|item| item.as_str().expect("a text"))
}

/// A token in place of the Secret's.
fn token() -> String {
    "0123456789abcdef-of-the-test".to_owned()
}

#[test]
fn with_the_secret_of_kubernetes_as_it_is_no_endpoint_starts() {
    let secret = manifest("token.yaml");
    let token = secret[0]["stringData"]["token"].as_str().expect("a token");
    let start = Start::program("producer_api").environment("POINT_TO_POINT__PRODUCER_API__TOKEN", token);
    let mut program = start.set("producer_api.listen", "127.0.0.1:0").start();
    assert_eq!(program.wait(PATIENCE), Some(2));
    program.wait_for_log(&["POINT_TO_POINT__PRODUCER_API__TOKEN", "16"], PATIENCE);
}

fn address() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], free_port()))
}

/// A workload with the endpoint: it is ready, wants the token, takes a message, and has time for its stop.
fn endpoint_of(name: &str, kind: &str) {
    let _turn = turn::Turn::wait(turn::HEAVY);
    let objects = manifest(name);
    let pod = Pod::of(of_kind(&objects, kind));
    pod.is_confined();
    let address = address();
    let mut program = pod.start(5000, address).set("producer_api.drain_ms", "0").start();
    pod.wait_for_probes(address);
    let body = br#"{"id":1}"#;
    assert_eq!(http::post(address, "/enviar", body).expect("an answer").status, 401);
    let shown = format!("Authorization: Bearer {}\r\n", token());
    let mut connection = Connection::open(address).expect("a connection");
    assert_eq!(connection.post_with("/enviar", &shown, body).expect("an answer").status, 200);
    program.stop();
    let work = pod.milliseconds("producer_api.drain_ms", 0)
        + pod.milliseconds("producer_api.answer_timeout_ms", 10_000);
    assert!(pod.grace() >= work + Duration::from_secs(6), "{:?} for {work:?}", pod.grace());
}

#[test]
fn the_endpoint_of_kubernetes_is_ready_wants_its_token_and_has_time_to_stop() {
    endpoint_of("producer-api.yaml", "Deployment");
}

#[test]
fn the_whole_channel_of_kubernetes_is_ready_wants_its_token_and_has_time_to_stop() {
    endpoint_of("embedded.yaml", "StatefulSet");
}

#[test]
fn the_consumer_of_kubernetes_is_ready_and_has_time_to_stop() {
    let _turn = my_turn();
    let objects = manifest("consumer.yaml");
    let pod = Pod::of(of_kind(&objects, "Deployment"));
    pod.is_confined();
    let address = address();
    let mut program = pod.start(9100, address).start();
    pod.wait_for_probes(address);
    program.stop();
    assert!(pod.grace() >= Duration::from_secs(15), "{:?}", pod.grace());
}

/// The variables that the Containerfile sets.
fn of_the_container() -> BTreeMap<String, String> {
    let text = fs::read_to_string(path("container/Containerfile")).expect("the Containerfile");
    let env = text.split("\nENV ").nth(1).expect("variables");
    let env = env.replace("\\\n", " ");
    let words = env.lines().next().unwrap_or_default().split_whitespace();
    words
        .filter_map(|word| word.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

#[test]
fn the_container_refuses_to_be_open_unless_it_is_told_and_its_health_check_finds_it_at_work() {
    let _turn = turn::Turn::wait(turn::HEAVY);
    let folder = Folder::new("container");
    let (endpoint, broker) = (address(), address().to_string());
    let start = |words: &[&str]| {
        let mut start = Start::command("container", Command::new(binary("point-to-point"))).arguments(words);
        for (name, value) in of_the_container() {
            let value = value.replace(":5000", &format!(":{}", endpoint.port()));
            start = start.environment(
                &name,
                &value.replace("/data", &folder.path().join("data").display().to_string()),
            );
        }
        start.environment("POINT_TO_POINT__EMBEDDED__LISTEN", &broker)
    };
    let mut refused = start(&[]).start();
    assert_ne!(refused.wait(PATIENCE), Some(0));
    refused.wait_for_outputs();
    let said = [refused.lines(), refused.log()].concat().join("\n");
    assert!(said.contains("producer_api.anyone_may_send"), "{said}");
    let open = start(&[]).environment("POINT_TO_POINT__PRODUCER_API__ANYONE_MAY_SEND", "true");
    let mut program = open.start();
    program.wait_for_line(&format!("consumer1 | {WAITING}"), PATIENCE);
    assert_eq!(http::post(endpoint, "/enviar", b"{}").expect("an answer").status, 200);
    let text = fs::read_to_string(path("container/Containerfile")).expect("the Containerfile");
    let check =
        text.lines().find_map(|line| line.split_once(" CMD ").filter(|_| line.starts_with("HEALTHCHECK")));
    let words: Vec<String> = serde_json::from_str(check.expect("a check").1).expect("in exec form");
    let words: Vec<&str> = words.iter().skip(1).map(String::as_str).collect();
    let mut healthy = start(&words).start();
    assert_eq!(healthy.wait(PATIENCE), Some(0), "{:?}", healthy.log());
    program.stop();
    // What was stored is there, and nobody who would serve it.
    let mut away = start(&words).start();
    assert_eq!(away.wait(PATIENCE), Some(1), "{:?}", away.log());
    away.wait_for_log(&["the endpoint at", "does not answer"], PATIENCE);
}

#[test]
fn the_settings_and_the_units_of_the_debian_package_are_understood() {
    let _turn = turn::Turn::wait(turn::HEAVY);
    let settings = path("debian/config.toml").display().to_string();
    let folder = Folder::new("debian");
    for (unit, waiting) in [
        ("point-to-point.service", format!("consumer2 | {WAITING}")),
        ("point-to-point-consumer@.service", WAITING.to_owned()),
    ] {
        let text = fs::read_to_string(path("systemd").join(unit)).expect(unit);
        let line = text.lines().find_map(|line| line.strip_prefix("ExecStart=")).expect("a command");
        let line = line.replace("/etc/point-to-point/config.toml", &settings).replace("%i", "bills");
        let words: Vec<&str> = line.split(' ').collect();
        assert_eq!(words[0], "/usr/bin/point-to-point");
        let command = Start::command("unit", Command::new(binary("point-to-point")));
        let start = command.arguments(&words[1..]).set("producer_api.listen", &address().to_string());
        let start = start.set("embedded.listen", &address().to_string());
        let mut program: Program =
            start.set("embedded.data_dir", &folder.path().join("data").display().to_string()).start();
        program.wait_for_line(&waiting, PATIENCE);
        program.stop();
    }
}
