//! Servers that are slow, cut off, or speak something else.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::ServerConnection;
use testing::certificates::Authority;

use super::failures::answering;
use super::support::*;
use crate::{ConnectError, Connector};

/// Connects within this time.
fn within(connector: &Connector, address: SocketAddr, time: Duration) -> ConnectError {
    let socket = TcpStream::connect(address).unwrap();
    connector.connect(socket, "localhost", Instant::now() + time).unwrap_err()
}

fn connector() -> Connector {
    let folder = Folder::new();
    trusting(&Authority::new("ours"), &folder)
}

#[test]
fn a_listener_without_tls_that_closes_or_resets_the_connection_may_be_plain() {
    for reads_all in [true, false] {
        // As Kafka: it takes four bytes for a size that is too large, and leaves the rest unread.
        let address = server(move |mut socket| {
            let mut bytes = vec![0; if reads_all { 4096 } else { 4 }];
            let _asked = socket.read(&mut bytes);
        });
        let error = connect(&connector(), address).unwrap_err();
        assert!(matches!(error, ConnectError::Unanswered), "{error:?}");
        assert!(error.may_be_plain() && !error.is_lasting());
    }
}

#[test]
fn an_answer_that_is_not_tls_is_shown() {
    let http = b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec();
    let error = connect(&connector(), answering(http)).unwrap_err();
    assert!(error.may_be_plain() && error.is_lasting(), "{error:?}");
    assert!(error.to_string().ends_with("begins with \"HTTP/1.1 400 Bad Request\""), "{error}");
    let mut random = testing::Random::new(7);
    for _ in 0..50 {
        let garbage: Vec<u8> = (0..200).map(|_| random.below(256) as u8).collect();
        let error = within(&connector(), answering(garbage), PATIENCE);
        assert!(matches!(error, ConnectError::NotTls { .. } | ConnectError::Invalid(_)), "{error:?}");
    }
}

#[test]
fn records_that_hold_garbage_are_invalid_and_a_record_without_end_is_bounded() {
    for answer in [
        [&[22, 3, 3, 0, 100][..], &[0xff; 100]].concat(),
        [&[22, 3, 3, 0xff, 0xff][..], &[2; 100]].concat(),
        // A certificate message of 16 MiB.
        [&[22, 3, 3, 0x40, 0][..], &[11, 0xff, 0xff, 0xff], &[0; 0x3ffc]].concat(),
    ] {
        let error = within(&connector(), answering(answer), PATIENCE);
        assert!(matches!(error, ConnectError::Invalid(_)) && !error.is_lasting(), "{error:?}");
    }
}

#[test]
fn a_silent_server_costs_no_more_than_the_deadline() {
    let address = answering(Vec::new());
    let error = within(&connector(), address, Duration::from_millis(100));
    assert!(matches!(error, ConnectError::TimedOut) && !error.is_lasting(), "{error:?}");
}

/// A server that sends its side of the handshake through `send`.
fn sending(side: &ServerSide, send: impl Fn(&mut TcpStream, &[u8]) + Send + 'static) -> SocketAddr {
    let config = side.config();
    server(move |mut socket| {
        let mut session = ServerConnection::new(Arc::clone(&config)).unwrap();
        while session.is_handshaking() {
            if session.wants_write() {
                let mut bytes = Vec::new();
                session.write_tls(&mut bytes).unwrap();
                send(&mut socket, &bytes);
            } else if !matches!(session.read_tls(&mut socket), Ok(1..))
                || session.process_new_packets().is_err()
            {
                return;
            }
        }
        let _held = socket.read(&mut [0]);
    })
}

#[test]
fn a_server_that_sends_byte_by_byte_is_waited_for_until_the_deadline() {
    let (authority, folder) = (Authority::new("ours"), Folder::new());
    let connector = trusting(&authority, &folder);
    let side = ServerSide::new(authority.issue(&["localhost"]));
    let address = sending(&side, |socket, bytes| {
        socket.set_nodelay(true).unwrap();
        for byte in bytes {
            let _gone = socket.write_all(&[*byte]);
        }
    });
    assert!(connect(&connector, address).is_ok());
    let address = sending(&side, |socket, bytes| {
        for byte in bytes {
            if socket.write_all(&[*byte]).is_err() {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    });
    let begun = Instant::now();
    let error = within(&connector, address, Duration::from_millis(300));
    assert!(matches!(error, ConnectError::TimedOut), "{error:?}");
    assert!(begun.elapsed() < PATIENCE);
}

#[test]
fn a_handshake_that_is_cut_off_anywhere_is_an_error_that_may_heal() {
    let (authority, folder) = (Authority::new("ours"), Folder::new());
    let connector = trusting(&authority, &folder);
    let side = ServerSide::new(authority.issue(&["localhost"]));
    for keep in [1, 5, 6, 40, 90, 130, 200, 400] {
        let address = sending(&side, move |socket, bytes| {
            let _gone = socket.write_all(&bytes[..keep.min(bytes.len())]);
            let _gone = socket.shutdown(Shutdown::Write);
        });
        let error = within(&connector, address, PATIENCE);
        assert!(matches!(error, ConnectError::Cut) && !error.is_lasting(), "{keep}: {error:?}");
    }
}
