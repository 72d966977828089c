//! What README.md tells a newcomer to do works from its words.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::support::ports::free_port;
use crate::support::program::{Start, binary};
use crate::support::watchdog::Folder;
use crate::support::{PATIENCE, eventually, turn};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Whether a document says these words, however its lines are broken.
fn says(document: &str, words: &str) -> bool {
    let text = fs::read_to_string(root().join(document)).expect(document);
    text.split_whitespace().collect::<Vec<_>>().join(" ").contains(words)
}

fn manifests(folder: &Path, found: &mut Vec<String>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if path.is_dir() && !name.starts_with('.') && !["target", "data"].contains(&name) {
            manifests(&path, found);
        } else if name == "Cargo.toml" {
            found.push(path.display().to_string());
        }
    }
}

/// Cargo looks at all packages of a repository, and asks for a name where several have programs.
#[test]
fn one_package_of_the_repository_has_programs_so_that_cargo_install_needs_no_name() {
    assert!(says("README.md", "cargo install --git URL --locked"));
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["metadata", "--no-deps", "--locked", "--offline", "--format-version", "1"]);
    let output = cargo.current_dir(root()).output().expect("cargo");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let packages = metadata["packages"].as_array().expect("packages");
    let has_programs = |package: &&Value| {
        let targets = package["targets"].as_array().expect("targets");
        targets
            .iter()
            .any(|target| target["kind"].as_array().is_some_and(|kinds| kinds.contains(&"bin".into())))
    };
    let with_programs: Vec<&Value> =
        packages.iter().filter(has_programs).map(|package| &package["name"]).collect();
    assert_eq!(with_programs, [&Value::from("point-to-point")]);
    let mut all = Vec::new();
    manifests(root(), &mut all);
    let mut known: Vec<&str> = packages.iter().filter_map(|one| one["manifest_path"].as_str()).collect();
    all.sort();
    known.sort();
    assert_eq!(all, known, "a package outside of the workspace has to be looked at, too");
}

/// The handler and the orders of README.md and docs/producer.md, run in the repository's folder.
#[test]
fn the_handler_and_the_orders_that_the_documents_name_are_there_and_work() {
    let _turn = turn::Turn::wait(turn::HEAVY);
    let handler = r#"consumer.handler=["./examples/handle-order"]"#;
    assert!(says("README.md", &format!("--set '{handler}' --set consumer.concurrency=64")));
    assert!(says("docs/producer.md", "cargo run --bin producer -- examples/orders.jsonl"));
    let folder = Folder::new("first-steps");
    let (data, broker) = (folder.path().join("data"), format!("127.0.0.1:{}", free_port()));
    // As a user in that folder starts it, but for what has to be a test's own.
    let start = |name: &str| {
        let command = Command::new(binary(name));
        Start::command(name, command)
            .set("log.file", "")
            .set("embedded.data_dir", &data.display().to_string())
            .set("embedded.listen", &broker)
    };
    let in_root = format!("cd '{}' && exec \"$@\"", root().display());
    let listen = format!("127.0.0.1:{}", free_port());
    let channel = start("point-to-point").set("producer_api.listen", &listen);
    let mut channel =
        channel.arguments(&["--set", handler, "--set", "consumer.concurrency=64"]).by(&in_root).start();
    channel.wait_for_line("curl", PATIENCE);
    let mut producer = start("producer").arguments(&["examples/orders.jsonl"]).by(&in_root).start();
    assert_eq!(producer.wait(PATIENCE), Some(0));
    let orders = fs::read_to_string(root().join("examples/orders.jsonl")).expect("the orders");
    assert!(orders.lines().count() >= 10);
    for order in orders.lines() {
        let order: Value = serde_json::from_str(order).expect("JSON");
        let handled = format!(" | order {} is handled", order["id"]);
        eventually(&handled, PATIENCE, || {
            channel.lines().iter().any(|line| line.contains(&handled)).then_some(())
        });
    }
    channel.stop();
}

/// What stands in commands and settings with `./` before it is a file of the repository.
#[test]
fn every_program_that_a_document_starts_with_a_dot_is_there() {
    let documents = fs::read_dir(root().join("docs")).expect("documents").filter_map(|entry| {
        let path = entry.expect("an entry").path();
        path.extension().is_some_and(|extension| extension == "md").then_some(path)
    });
    let mut missing = Vec::new();
    for document in documents.chain([root().join("README.md"), root().join("config.toml")]) {
        let text = fs::read_to_string(&document).expect("a document");
        for after in text.split("\"./").skip(1) {
            let name = after.split('"').next().unwrap_or_default();
            if !root().join(name).is_file() {
                missing.push(format!("{}: ./{name}", document.display()));
            }
        }
    }
    assert!(missing.is_empty(), "no such file: {missing:?}");
}
