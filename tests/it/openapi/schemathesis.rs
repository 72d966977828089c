//! schemathesis, which others wrote, makes requests from the document, good and bad ones, and compares the
//! answers with it.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use super::DOCUMENT;
use super::endpoint::Endpoint;
use crate::support::program::Start;
use crate::support::turn::{HEAVY, Turn};

/// Longer than it ever takes.
const PATIENCE: Duration = Duration::from_secs(600);

/// Operations that `schemathesis.toml` leaves out.
const LEFT_OUT: usize = 1;

fn operations(document: &Value) -> usize {
    let items = document["paths"].as_object().expect("paths").values();
    items
        .map(|item| item.as_object().expect("a path").keys().filter(|key| *key != "parameters").count())
        .sum()
}

#[test]
fn every_answer_is_as_the_document_says() {
    let _turn = Turn::wait(HEAVY);
    let endpoint = Endpoint::start();
    let operations = operations(&serde_json::from_str(DOCUMENT).expect("JSON"));
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let program = root.join(".clients/venv/bin/st");
    assert!(program.exists(), "no {}: run ./test.sh", program.display());
    let mut command = Command::new(program);
    command
        .arg("--config-file")
        .arg(root.join("tests/it/openapi/schemathesis.toml"))
        .arg("run")
        // From the endpoint it would leave out the route of the document itself.
        .arg(root.join("src/http/api/openapi.json"))
        .arg(format!("--url=http://{}", endpoint.program.address()))
        .arg("--no-color");
    let mut run = Start::command("schemathesis", command).start();
    let status = run.wait(PATIENCE);
    run.wait_for_outputs();
    let report: Vec<String> = run.lines().iter().map(|line| line.chars().take(1_000).collect()).collect();
    assert_eq!(status, Some(0), "{}", report.join("\n"));
    let tested = format!("Tested: {}", operations - LEFT_OUT);
    assert!(report.iter().any(|line| line.trim() == tested), "not {tested}:\n{}", report.join("\n"));
}
