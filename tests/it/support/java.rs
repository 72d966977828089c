//! Java with the jars of Kafka, which test.sh fetches: brokers, clients and tools.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Small and quick to start: the tests need no peak throughput from it.
const JVM: [&str; 7] = [
    "-Xmx512m",
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-Xshare:auto",
    // An archive that does not fit costs time and nothing else: no word about it among what a tool prints.
    "-Xlog:disable",
    "-Xlog:all=error:stderr",
    "-Djava.awt.headless=true",
];

/// The folder with the jars of a version, put there by test.sh.
fn jars(version: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(".kafka").join(version);
    assert!(folder.join(".complete").exists(), "no Kafka {version} in {}: run ./test.sh", folder.display());
    folder
}

/// A command that starts a virtual machine on the jars of a version. With the archive of classes that test.sh
/// makes (tests/kafka/Archive.java) it starts in half the time.
pub fn java(version: &str) -> Command {
    assert!(
        env::var_os("TEST_WITHOUT_JAVA").is_none(),
        "this test needs Java: leave it out of ./test.sh quick"
    );
    let (jars, mut command) = (jars(version), Command::new("java"));
    let archive = jars.join("classes.jsa");
    if archive.exists() {
        let mut option = OsString::from("-XX:SharedArchiveFile=");
        option.push(archive);
        command.arg(option);
    }
    command.args(JVM).arg("-cp").arg(jars.join("*"));
    command
}
