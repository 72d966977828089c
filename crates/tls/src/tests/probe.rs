//! Asking a port whether it wants TLS.

use std::net::TcpListener;
use std::time::Duration;

use testing::certificates::Authority;

use super::failures::answering;
use super::support::*;
use crate::speaks_tls;

#[test]
fn a_port_with_tls_of_either_version_and_key_is_known() {
    let authority = Authority::new("ours");
    for versions in [TLS12, TLS13, ALL_VERSIONS] {
        for identity in [authority.issue(&["localhost"]), authority.issue_rsa(&["localhost"])] {
            let address = echo(&ServerSide { versions, ..ServerSide::new(identity) });
            assert!(speaks_tls(&address.to_string(), PATIENCE), "{versions:?}");
            assert!(speaks_tls(&format!("localhost:{}", address.port()), PATIENCE), "{versions:?}");
        }
    }
    // An alert is an answer of TLS.
    assert!(speaks_tls(&answering(vec![21, 3, 1, 0, 2, 2, 70]).to_string(), PATIENCE));
}

#[test]
fn a_port_without_tls_and_one_without_an_answer_are_not() {
    let closing = server(drop);
    assert!(!speaks_tls(&closing.to_string(), PATIENCE));
    for answer in
        [&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], &[0, 0, 0, 9, 0, 0, 0, 0], &[22, 3, 3, 0, 9, 1], &[22]]
    {
        let waits = if answer.len() < 6 { Duration::from_millis(100) } else { PATIENCE };
        assert!(!speaks_tls(&answering(answer.to_vec()).to_string(), waits), "{answer:?}");
    }
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    assert!(!speaks_tls(&silent.local_addr().unwrap().to_string(), Duration::from_millis(100)));
    let port = testing::free_port();
    assert!(!speaks_tls(&format!("127.0.0.1:{port}"), PATIENCE));
    assert!(!speaks_tls("nowhere.invalid:9093", PATIENCE));
    assert!(!speaks_tls("no port", PATIENCE));
}
