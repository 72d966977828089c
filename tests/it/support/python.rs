//! Python with the clients that test.sh fetches.

use std::path::Path;
use std::process::Command;

/// A command that runs a script of tests/it/clients.
pub fn python(script: &str) -> Command {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let interpreter = root.join(".clients/venv/bin/python");
    assert!(interpreter.exists(), "no {}: run ./test.sh", interpreter.display());
    let mut command = Command::new(interpreter);
    // No compiled scripts beside the sources.
    command.arg("-B").arg(root.join("tests/it/clients").join(script));
    command
}
