//! The system's authorities. A process has one set of them, so the test runs itself anew.

use std::process::Command;

use testing::certificates::Authority;

use super::support::*;
use crate::{ConnectError, Connector, ConnectorSettings};

/// Names the address of a server to connect to.
const ADDRESS: &str = "TLS_TEST_ADDRESS";

/// Connects with the system's authorities: the error, if there is one.
fn connects_as_a_process_with(variables: &[(&str, &str)]) -> String {
    let mut test = Command::new(std::env::current_exe().unwrap());
    test.args([
        "--exact",
        "--nocapture",
        "tests::system::the_authorities_are_the_systems_where_none_are_set",
    ]);
    let output = test.env_remove("SSL_CERT_DIR").envs(variables.iter().copied()).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn the_authorities_are_the_systems_where_none_are_set() {
    if let Ok(address) = std::env::var(ADDRESS) {
        let connector = Connector::new(ConnectorSettings::default()).unwrap();
        return match connect(&connector, address.parse().unwrap()) {
            Ok(_) => println!("connected"),
            Err(error) => println!("{error}: {}", matches!(error, ConnectError::NoRoots { .. })),
        };
    }
    let (authority, folder) = (Authority::new("ours"), Folder::new());
    let address = echo(&ServerSide::new(authority.issue(&["localhost"]))).to_string();
    let file = folder.put("ca.pem", &authority.pem);
    let with = |file: &str| connects_as_a_process_with(&[(ADDRESS, &address), ("SSL_CERT_FILE", file)]);
    let printed = with(&file.display().to_string());
    assert!(printed.contains("connected"), "{printed}");
    let printed = with("/dev/null");
    assert!(
        printed.contains("no certificates of authorities") && printed.contains("kafka.tls_ca"),
        "{printed}"
    );
    assert!(printed.contains(": true"), "{printed}");
}
