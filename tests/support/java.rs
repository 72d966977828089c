//! Java with the jars of Kafka, which test.sh fetches: brokers, clients and tools.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Small and quick to start: the tests need no peak throughput from it.
const JVM: [&str; 5] =
    ["-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto", "-Djava.awt.headless=true"];

/// The folder with the jars of a version, put there by test.sh.
fn jars(version: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(".kafka").join(version);
    assert!(folder.join(".complete").exists(), "no Kafka {version} in {}: run ./test.sh", folder.display());
    folder
}

/// A command that starts a virtual machine on the jars of a version.
pub fn java(version: &str) -> Command {
    let mut command = Command::new("java");
    command.args(JVM).arg("-cp").arg(jars(version).join("*"));
    command
}
