//! Connections that are made: versions, names, keys, resumption, bytes in both directions, ends.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use rustls::ServerConnection;
use testing::certificates::Authority;

use super::support::*;
use crate::{Connector, ConnectorSettings};

#[test]
fn either_version_carries_bytes_to_names_and_addresses() {
    let (authority, folder) = (Authority::new("ours"), Folder::new());
    let connector = trusting(&authority, &folder);
    for (versions, named) in [(TLS12, "TLS 1.2"), (TLS13, "TLS 1.3"), (ALL_VERSIONS, "TLS 1.3")] {
        let identity = authority.issue(&["localhost", "*.kafka.example", "127.0.0.1", "::1"]);
        let address = echo(&ServerSide { versions, ..ServerSide::new(identity) });
        for host in ["localhost", "LocalHost", "b-1.kafka.example", "127.0.0.1", "::1", "[::1]"] {
            let mut stream = connect_as(&connector, address, host).unwrap();
            assert_eq!(stream.version(), named);
            assert!(echoes(&mut stream, "hola"), "{host}");
        }
    }
}

#[test]
fn the_own_certificate_is_shown_with_a_key_in_any_of_three_forms() {
    let (authority, clients, folder) = (Authority::new("ours"), Authority::new("clients"), Folder::new());
    let ca = Some(folder.put("ca.pem", &authority.pem));
    let (curve, rsa) = (clients.issue(&["worker"]), clients.issue_rsa(&["worker"]));
    let keys = [
        (&curve.certificate, &curve.key, "BEGIN PRIVATE KEY"),
        (&curve.certificate, curve.sec1.as_ref().unwrap(), "BEGIN EC PRIVATE KEY"),
        (&rsa.certificate, &rsa.key, "BEGIN RSA PRIVATE KEY"),
    ];
    for versions in [TLS12, TLS13] {
        let client_ca = Some(clients.pem.clone());
        let address =
            echo(&ServerSide { versions, client_ca, identity: authority.issue_rsa(&["localhost"]) });
        for (certificate, key, form) in keys {
            assert!(key.contains(form), "{key}");
            let connector = Connector::new(ConnectorSettings {
                ca: ca.clone(),
                certificate: Some(folder.put("client.pem", certificate)),
                key: Some(folder.put("client.key", key)),
                ..ConnectorSettings::default()
            });
            let mut stream = connect(&connector.unwrap(), address).unwrap();
            assert!(echoes(&mut stream, "hola"), "{form}");
        }
    }
}

#[test]
fn a_later_connection_resumes_the_session_of_an_earlier_one() {
    let (authority, folder) = (Authority::new("ours"), Folder::new());
    let connector = trusting(&authority, &folder);
    for versions in [TLS12, TLS13] {
        let address = echo(&ServerSide { versions, ..ServerSide::new(authority.issue(&["localhost"])) });
        let mut first = connect(&connector, address).unwrap();
        // A ticket comes after the handshake, and is taken along with other bytes.
        assert!(echoes(&mut first, "hola") && !first.is_resumed());
        drop(first);
        let mut second = connect(&connector.clone(), address).unwrap();
        assert!(echoes(&mut second, "hola") && second.is_resumed(), "{}", second.version());
    }
}

#[test]
fn insecure_settings_accept_any_certificate() {
    let folder = Folder::new();
    let insecure =
        Connector::new(ConnectorSettings { insecure: true, ..ConnectorSettings::default() }).unwrap();
    let identity = Authority::new("unknown").issue_valid(&["elsewhere"], (-9, -2));
    for versions in [TLS12, TLS13] {
        let side = ServerSide { versions, client_ca: None, identity: identity.clone() };
        let mut stream = connect(&insecure, echo(&side)).unwrap();
        assert!(echoes(&mut stream, "hola"));
    }
    drop(folder);
}

/// A connection whose other end `serve` has.
fn connected(serve: impl FnOnce(ServerConnection, TcpStream) + Send + 'static) -> crate::Stream {
    let (authority, folder) = (Authority::new("ours"), Folder::new());
    let connector = trusting(&authority, &folder);
    let (address, _thread) = one(&ServerSide::new(authority.issue(&["localhost"])), serve);
    connect(&connector, address).unwrap()
}

#[test]
fn a_megabyte_goes_through_in_both_directions_while_the_socket_is_often_full() {
    let mut stream = connected(|mut session, mut socket| {
        let mut all = rustls::Stream::new(&mut session, &mut socket);
        let mut bytes = vec![0; 3 << 20];
        all.read_exact(&mut bytes).unwrap();
        all.write_all(&bytes).unwrap();
        all.flush().unwrap();
        let _held = all.read(&mut [0]); // until the client has everything
    });
    stream.socket().set_read_timeout(Some(Duration::from_millis(20))).unwrap();
    stream.socket().set_write_timeout(Some(Duration::from_millis(20))).unwrap();
    let sent: Vec<u8> = (0..3 << 20).map(|index: u32| (index % 251) as u8).collect();
    let deadline = Instant::now() + PATIENCE;
    let waits = |error: &std::io::Error| {
        assert!(Instant::now() < deadline, "it does not come");
        matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
    };
    let mut rest = &sent[..];
    while !rest.is_empty() {
        match stream.write(rest) {
            Ok(count) => rest = &rest[count..],
            Err(error) => assert!(waits(&error), "{error}"),
        }
    }
    while let Err(error) = stream.flush() {
        assert!(waits(&error), "{error}");
    }
    let mut back = vec![0; sent.len()];
    let mut have = 0;
    while have < back.len() {
        match stream.read(&mut back[have..]) {
            Ok(count) => have += count,
            Err(error) => assert!(waits(&error), "{error}"),
        }
    }
    assert!(back == sent);
}

#[test]
fn a_read_that_times_out_can_be_repeated() {
    let (go, wait) = mpsc::channel();
    let mut stream = connected(move |mut session, mut socket| {
        wait.recv().unwrap();
        let mut record = Vec::new();
        session.writer().write_all(b"hola").unwrap();
        session.write_tls(&mut record).unwrap();
        // Half a record, and the rest when the client has waited for it.
        let (start, end) = record.split_at(record.len() / 2);
        socket.write_all(start).unwrap();
        wait.recv().unwrap();
        socket.write_all(end).unwrap();
    });
    stream.socket().set_read_timeout(Some(Duration::from_millis(10))).unwrap();
    let times_out = |stream: &mut crate::Stream| {
        let error = stream.read(&mut [0; 9]).unwrap_err();
        matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
    };
    assert!(times_out(&mut stream));
    go.send(()).unwrap();
    assert!(times_out(&mut stream));
    go.send(()).unwrap();
    let mut back = [0; 9];
    let deadline = Instant::now() + PATIENCE;
    let count = loop {
        match stream.read(&mut back) {
            Ok(count) => break count,
            Err(error) => assert!(Instant::now() < deadline, "{error}"),
        }
    };
    assert_eq!(&back[..count], b"hola");
    // The server is gone without close_notify.
    eventually(|| matches!(stream.read(&mut back), Ok(0)));
}

#[test]
fn an_open_connection_with_tickets_to_read_is_not_closed_and_one_that_ends_is() {
    for with_notify in [true, false] {
        let (go, wait) = mpsc::channel::<()>();
        let mut stream = connected(move |mut session, mut socket| {
            // The tickets of TLS 1.3 are written by now.
            let _told = wait.recv();
            if with_notify {
                session.send_close_notify();
                session.write_tls(&mut socket).unwrap();
                let _held = socket.read(&mut [0]);
            }
        });
        eventually(|| stream.socket().peek(&mut [0]).is_ok_and(|count| count > 0) && !stream.is_closed());
        assert!(!stream.is_closed() && !stream.is_closed());
        drop(go);
        eventually(|| stream.is_closed());
        assert!(matches!(stream.read(&mut [0]), Ok(0)), "{with_notify}");
    }
}

#[test]
fn bytes_that_nobody_asked_for_count_as_closed_and_can_still_be_read() {
    let mut stream = connected(|mut session, mut socket| {
        session.writer().write_all(b"hola").unwrap();
        session.write_tls(&mut socket).unwrap();
        let _held = socket.read(&mut [0]);
    });
    eventually(|| stream.is_closed());
    let mut bytes = [0; 4];
    stream.read_exact(&mut bytes).unwrap();
    assert_eq!(&bytes, b"hola");
}

#[test]
fn a_dropped_connection_says_that_it_ends() {
    let (told, wait) = mpsc::channel();
    let stream = connected(move |mut session, mut socket| {
        let end = rustls::Stream::new(&mut session, &mut socket).read(&mut [0]);
        told.send(end.map_err(|error| error.kind())).unwrap();
    });
    drop(stream);
    assert_eq!(wait.recv_timeout(PATIENCE).unwrap(), Ok(0));
}

#[test]
fn the_timeouts_of_the_socket_are_as_they_were() {
    let (authority, folder) = (Authority::new("ours"), Folder::new());
    let connector = trusting(&authority, &folder);
    let address = echo(&ServerSide::new(authority.issue(&["localhost"])));
    let socket = TcpStream::connect(address).unwrap();
    let slice = Some(Duration::from_millis(200));
    socket.set_read_timeout(slice).unwrap();
    socket.set_write_timeout(slice).unwrap();
    let stream = connector.connect(socket, "localhost", Instant::now() + PATIENCE).unwrap();
    let socket = stream.socket();
    assert_eq!((socket.read_timeout().unwrap(), socket.write_timeout().unwrap()), (slice, slice));
}
