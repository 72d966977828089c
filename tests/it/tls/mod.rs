//! HTTPS: good clients, slow and broken ones, crowds of handshakes.
//!
//! cert.pem and key.pem say how they were made. They are copied for each test, as a key has to be its owner's
//! alone.

mod client;
mod users;

use std::fs::{self, Permissions};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use point_to_point::config::{ProducerApiSettings, Secret};
use point_to_point::http::HttpServer;
use rustls::version::{TLS12, TLS13};
use testing::certificates::{Authority, put};
use tls::{Connector, ConnectorSettings};

use crate::front_door::support as door;
use crate::front_door::support::{Channel, backing, endpoint_of, monitoring, post, start};
use crate::support::ports::free_port;
use crate::support::program::{Program, RECEIVED, Start, binary};
use crate::support::turn::{HEAVY, Turn};
use crate::support::watchdog::Folder;
use crate::support::{PATIENCE, eventually, my_turn};
use client::{Client, client_hello, is_closed, plain};

/// Puts a file of tests/tls into a folder, for its owner alone.
fn copied(folder: &Folder, name: &str) -> std::path::PathBuf {
    let path = folder.path().join(name);
    fs::copy(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/tls").join(name), &path).expect("a copy");
    fs::set_permissions(&path, Permissions::from_mode(0o600)).expect("its mode");
    path
}

/// Settings for an endpoint that speaks TLS.
fn settings(folder: &Folder) -> ProducerApiSettings {
    ProducerApiSettings {
        tls_certificate: Some(copied(folder, "cert.pem")),
        tls_key: Some(copied(folder, "key.pem")),
        ..door::settings()
    }
}

/// A program whose endpoint speaks TLS, with an embedded broker of its own.
fn program(name: &str, folder: &Folder) -> Start {
    Start::program(name)
        .set("embedded.listen", &format!("127.0.0.1:{}", free_port()))
        .set("embedded.data_dir", &folder.path().join("data").display().to_string())
        .set("producer_api.tls_certificate", &copied(folder, "cert.pem").display().to_string())
        .set("producer_api.tls_key", &copied(folder, "key.pem").display().to_string())
}

/// An endpoint in this process that speaks TLS.
fn serve(change: impl FnOnce(&mut ProducerApiSettings)) -> (HttpServer, Channel) {
    let folder = Folder::new("tls");
    let mut settings = settings(&folder);
    change(&mut settings);
    start(&settings)
}

/// Why an endpoint with these settings does not start.
fn refused(settings: &ProducerApiSettings) -> String {
    let channel = Channel::new();
    let error =
        HttpServer::start(&endpoint_of(settings), backing(Box::new(channel.clone()), &channel), monitoring())
            .err();
    let error = error.expect("these settings must be refused");
    assert!(error.is_about_settings(), "{error}");
    error.to_string()
}

#[test]
fn a_message_posted_by_openssl_over_either_version_is_stored_and_printed() {
    let _turn = my_turn();
    let folder = Folder::new("programs");
    let token = folder.path().join("token");
    fs::write(&token, "0123456789abcdef\n").expect("a file");
    fs::set_permissions(&token, Permissions::from_mode(0o600)).expect("its mode");
    let port = free_port();
    let start = program("point-to-point", &folder)
        .set("producer_api.listen", &format!("0.0.0.0:{port}"))
        .set("producer_api.token_file", &token.display().to_string());
    let mut program = start.start();
    program.wait_for_line("curl -X POST https://", PATIENCE);
    for version in ["TLSv1_2", "TLSv1_3"] {
        let mut python = Command::new("python3");
        python.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/tls/post.py"));
        python.args([
            folder.path().join("cert.pem").display().to_string(),
            port.to_string(),
            version.to_owned(),
        ]);
        let output = python.output().expect("python3 runs");
        assert_eq!(String::from_utf8_lossy(&output.stdout), "401 200 200\n", "{output:?}");
    }
    eventually("all four are printed", PATIENCE, || {
        let lines = program.lines();
        (lines.iter().filter(|line| line.contains(RECEIVED)).count() == 4).then_some(())
    });
    program.stop();
}

#[test]
fn large_and_small_requests_go_over_one_connection_byte_for_byte() {
    let (server, channel) = serve(|_| {});
    assert!(server.url().starts_with("https://"));
    for version in [&TLS12, &TLS13] {
        let mut client = Client::connect(server.address(), version);
        let large = format!("\"{}\"", "ñ0123456789".repeat(80_000));
        for body in ["1", &large, "[2]", &large] {
            let answer = client.ask(&post("", body));
            assert_eq!(answer.status, 200);
            assert!(answer.body.contains(body));
            assert_eq!(channel.taken().last().map(Vec::as_slice), Some(body.as_bytes()));
        }
    }
}

#[test]
fn requests_that_come_in_one_record_or_across_many_are_all_answered() {
    let (server, channel) = serve(|_| {});
    let mut client = Client::connect(server.address(), &TLS13);
    // All of it is decrypted at once, and the socket has nothing more to tell.
    client.send(post("", "1").repeat(100).as_bytes());
    for _ in 0..100 {
        assert_eq!(client.answer().status, 200);
    }
    for byte in post("", "2").bytes() {
        client.send(&[byte]);
    }
    assert_eq!(client.answer().status, 200);
    assert_eq!(channel.taken().len(), 101);
}

#[test]
fn a_crowd_of_unfinished_handshakes_keeps_nobody_from_service_and_is_closed_in_time() {
    let _turn = Turn::wait(HEAVY);
    let folder = Folder::new("crowd");
    // In a process of its own, so that neither it nor the crowd runs out of descriptors.
    let server =
        Program::producer_with(program("producer_api", &folder).set("producer_api.head_timeout_ms", "15000"));
    let hello = client_hello();
    let mut kept = Client::connect(server.address(), &TLS13);
    let mut crowd: Vec<TcpStream> = (0..500).map(|_| plain(server.address())).collect();
    for (number, stream) in crowd.iter_mut().enumerate() {
        // Nothing, a part of a hello, or a whole one whose answer is never read.
        let part = hello.len() * (number % 3) / 2;
        stream.write_all(&hello[..part]).expect("room for a hello");
    }
    for number in 0..20 {
        assert_eq!(kept.ask(&post("", "1")).status, 200, "{number}");
        assert_eq!(Client::connect(server.address(), &TLS13).ask(&post("", "2")).status, 200, "{number}");
    }
    assert!(crowd.into_iter().all(is_closed));
    assert_eq!(kept.ask(&post("", "1")).status, 200, "who has shaken hands may be idle for longer");
}

#[test]
fn many_clients_that_shake_hands_at_once_are_all_served() {
    let _turn = Turn::wait(HEAVY);
    let (server, channel) = serve(|settings| settings.head_timeout_ms = 60_000);
    let mut crowd: Vec<Client> = (0..200).map(|_| Client::begin(server.address(), &TLS13)).collect();
    for client in &mut crowd {
        client.say_hello();
    }
    for client in &mut crowd {
        assert_eq!(client.ask(&post("", "1")).status, 200);
    }
    assert_eq!(channel.taken().len(), 200);
}

#[test]
fn a_handshake_byte_by_byte_is_closed_when_its_time_is_up() {
    let (server, _channel) = serve(|settings| settings.head_timeout_ms = 300);
    let mut stream = plain(server.address());
    stream.set_read_timeout(Some(std::time::Duration::from_millis(20))).expect("a limit");
    let deadline = Instant::now() + PATIENCE;
    // A record of 16 KiB that never gets whole.
    let mut bytes = [22, 3, 1, 0x40, 0].into_iter().chain(std::iter::repeat(1));
    while Instant::now() < deadline {
        let byte = bytes.next().expect("there is always one more");
        if stream.write_all(&[byte]).is_err() || matches!(stream.read(&mut [0]), Ok(0)) {
            return;
        }
    }
    panic!("it is still open");
}

#[test]
fn what_is_no_tls_is_told_so_in_plain_text() {
    let (server, channel) = serve(|_| {});
    for request in [post("", "1").as_str(), "\x01\x02\x03\x04 garbage \x7f", "\n"] {
        let mut client = door::Client::connect(server.address());
        let answer = client.ask(request);
        assert_eq!((answer.status, answer.code().as_str()), (400, "not_tls"), "{request:?}");
        assert!(client.is_closed());
    }
    assert!(channel.taken().is_empty());
}

#[test]
fn broken_tls_closes_its_own_connection_alone() {
    let (server, channel) = serve(|_| {});
    let mut good = Client::connect(server.address(), &TLS13);
    let hello = client_hello();
    let mut seed = 1_u64;
    for round in 0..300 {
        let mut bytes = hello.clone();
        for _ in 0..=round % 4 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let place = 1 + (seed >> 33) as usize % (bytes.len() - 1);
            bytes[place] ^= (seed >> 24) as u8 | 1;
        }
        let mut stream = plain(server.address());
        stream.write_all(&bytes).expect("room for a hello");
        stream.shutdown(Shutdown::Write).expect("a connection");
        assert!(is_closed(stream));
        assert_eq!(good.ask(&post("", "1")).status, 200);
    }
    // Encrypted records that are none.
    let mut client = Client::connect(server.address(), &TLS13);
    client.write_raw(&[23, 3, 3, 0, 40]);
    client.write_raw(&[7; 40]);
    assert!(!client.ends_cleanly(), "an alert, and no answer");
    assert_eq!(channel.taken().len(), 300);
}

#[test]
fn a_body_cut_short_within_tls_is_never_published() {
    let (server, channel) = serve(|_| {});
    let request = post("", "[1,2,3,4]");
    for cut in 1..9 {
        for clean in [true, false] {
            let mut client = Client::connect(server.address(), &TLS13);
            client.send(&request.as_bytes()[..request.len() - cut]);
            if clean {
                client.end();
                assert_eq!(client.answer().code(), "cut_short");
            } else {
                client.cut();
            }
        }
    }
    assert_eq!(Client::connect(server.address(), &TLS13).ask(&post("", "1")).status, 200);
    assert_eq!(channel.taken().len(), 1);
}

#[test]
fn a_stream_of_events_comes_through_tls_and_ends_cleanly_at_a_stop() {
    let (server, _channel) = serve(|_| {});
    let mut watchers: Vec<Client> = [&TLS12, &TLS13].map(|v| Client::connect(server.address(), v)).into();
    for client in &mut watchers {
        client.send(b"GET /events HTTP/1.1\r\nHost: x\r\n\r\n");
        client.read_until("event: letters\n");
    }
    let body = format!("\"{}\"", "x".repeat(200));
    for _ in 0..100 {
        assert_eq!(Client::connect(server.address(), &TLS13).ask(&post("", &body)).status, 200);
    }
    for client in &mut watchers {
        client.read_until("\"offset\":99,");
    }
    server.stop(Instant::now() + PATIENCE);
    for client in &mut watchers {
        client.read_until("\r\n0\r\n\r\n");
        assert!(client.ends_cleanly());
    }
}

#[test]
fn who_has_ended_its_side_still_gets_its_answer_and_a_clean_end() {
    let (server, channel) = serve(|_| {});
    for version in [&TLS12, &TLS13] {
        let mut client = Client::connect(server.address(), version);
        client.send(post("?key=held", "1").as_bytes());
        client.end();
        door::until("it is held", || channel.held() == 1);
        channel.release();
        assert_eq!(client.answer().status, 200);
        assert!(client.ends_cleanly());
    }
}

#[test]
fn idle_clients_and_those_of_a_server_that_stops_are_told_goodbye() {
    let (server, _channel) = serve(|settings| settings.idle_timeout_ms = 2_000);
    let mut idle = Client::connect(server.address(), &TLS13);
    assert_eq!(idle.ask(&post("", "1")).status, 200);
    assert!(idle.ends_cleanly());
    let (server, _channel) = serve(|_| {});
    let mut client = Client::connect(server.address(), &TLS13);
    assert_eq!(client.ask(&post("", "1")).status, 200);
    server.stop(Instant::now() + PATIENCE);
    assert!(client.ends_cleanly());
}

#[test]
fn an_answer_that_its_client_reads_late_comes_whole() {
    let (server, _channel) = serve(|_| {});
    let body = format!("\"{}\"", "x".repeat(900_000));
    let mut lazy: Vec<Client> = (0..8).map(|_| Client::connect(server.address(), &TLS13)).collect();
    for client in &mut lazy {
        client.send(post("", &body).as_bytes());
    }
    // Their answers do not fit into the sockets; meanwhile others are served.
    let mut other = Client::connect(server.address(), &TLS13);
    for _ in 0..50 {
        assert_eq!(other.ask(&post("", "1")).status, 200);
    }
    for client in &mut lazy {
        assert!(client.answer().body.contains(&body));
        assert_eq!(client.ask(&post("", "1")).status, 200);
    }
}

#[test]
fn certificates_and_keys_that_cannot_be_used_are_refused_with_their_file() {
    let folder = Folder::new("files");
    let good = settings(&folder);
    let (certificate, key) = (good.tls_certificate.clone(), good.tls_key.clone());
    let other = Some(copied(&folder, "other-key.pem"));
    let line = refused(&ProducerApiSettings { tls_key: other, ..good.clone() });
    assert!(line.contains("cert.pem with producer_api.tls_key") && line.contains("other-key.pem"), "{line}");
    let line = refused(&ProducerApiSettings { tls_key: certificate.clone(), ..good.clone() });
    assert!(line.contains("producer_api.tls_key: ") && line.contains("no private key in it"), "{line}");
    let line = refused(&ProducerApiSettings { tls_certificate: key.clone(), ..good.clone() });
    assert!(line.contains("no certificate in it"), "{line}");
    let absent = Some(folder.path().join("absent.pem"));
    let line = refused(&ProducerApiSettings { tls_certificate: absent, ..good.clone() });
    assert!(line.contains("absent.pem"), "{line}");
    let line = refused(&ProducerApiSettings { tls_key: None, ..good.clone() });
    assert!(line.contains("must be set together"), "{line}");
    fs::set_permissions(key.expect("a key"), Permissions::from_mode(0o640)).expect("its mode");
    assert!(refused(&good).contains("chmod 600"));
}

#[test]
fn other_machines_are_let_in_with_tls_and_a_token_alone() {
    let folder = Folder::new("open");
    let open = ProducerApiSettings { listen: "0.0.0.0:0".to_owned(), ..settings(&folder) };
    assert!(refused(&open).contains("can be reached from elsewhere"));
    let token = Some(Secret::new("0123456789abcdef"));
    let (server, _channel) = start(&ProducerApiSettings { token, ..open });
    let address = std::net::SocketAddr::from(([127, 0, 0, 1], server.address().port()));
    let mut client = Client::connect(address, &TLS13);
    assert_eq!(client.ask(&post("", "1")).status, 401);
}

#[test]
fn a_renewed_certificate_is_shown_to_new_connections_once_both_files_are_there() {
    let folder = Folder::new("renewal");
    let mut settings = endpoint_of(&settings(&folder));
    settings.tls_renewal = Duration::from_millis(20);
    let channel = Channel::new();
    let backing = backing(Box::new(channel.clone()), &channel);
    let server = HttpServer::start(&settings, backing, monitoring()).expect("a server");
    let authority = Authority::new("new");
    let renewed = authority.issue(&["localhost"]);
    let trusts = |authority: &str| {
        let ca = Some(put(folder.path(), "ca.pem", authority));
        let connector = Connector::new(ConnectorSettings { ca, ..ConnectorSettings::default() });
        let deadline = Instant::now() + PATIENCE;
        connector.expect("a connector").connect(plain(server.address()), "localhost", deadline).is_ok()
    };
    let old = fs::read_to_string(folder.path().join("cert.pem")).expect("a certificate");
    assert!(trusts(&old) && !trusts(&authority.pem));
    put(folder.path(), "cert.pem", &renewed.certificate);
    let mut kept = Client::connect(server.address(), &TLS13);
    put(folder.path(), "key.pem", &renewed.key);
    eventually("the new certificate is shown", PATIENCE, || trusts(&authority.pem).then_some(()));
    assert!(!trusts(&old));
    assert_eq!(kept.ask(&post("", "1")).status, 200);
}

#[test]
#[cfg(debug_assertions)] // a release build of graviola knows no such variable
fn a_processor_without_what_tls_needs_is_told_at_the_start() {
    let folder = Folder::new("processor");
    let mut program = Command::new(binary("producer_api"));
    program.current_dir(folder.path()).env("GRAVIOLA_CPU_DISABLE_aes", "1");
    for (key, file) in [("tls_certificate", "cert.pem"), ("tls_key", "key.pem")] {
        program.arg("--set").arg(format!("producer_api.{key}={}", copied(&folder, file).display()));
    }
    let output = program.output().expect("a program");
    let printed = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{printed}");
    assert!(printed.contains("producer_api.tls_certificate: TLS needs a processor with AES"), "{printed}");
}
