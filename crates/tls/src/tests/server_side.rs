//! The side of a server: its sessions with clients of this crate, renewal, clients' certificates.

use std::fs::Permissions;
use std::io::{ErrorKind, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::thread;
use std::time::{Duration, Instant};

use testing::certificates::Authority;

use super::support::*;
use crate::{
    Acceptor, AcceptorSettings, Connector, ConnectorSettings, ReceiveError, Session, SettingNames, Stream,
};

const MINUTE: Duration = Duration::from_secs(60);

fn settings(folder: &Folder, identity: &testing::certificates::Identity) -> AcceptorSettings {
    AcceptorSettings {
        certificate: folder.put("cert.pem", &identity.certificate),
        key: folder.put("key.pem", &identity.key),
        client_ca: None,
        protocol: b"http/1.1",
        renewal: MINUTE,
        names: SettingNames::PRODUCER_API,
    }
}

/// A client and its session, with the sockets of both.
struct Met {
    stream: Stream,
    session: Session,
    _socket: TcpStream,
}

/// Connects a client to a session and sends a byte; the error of either side else.
fn meet(connector: &Connector, mut session: Session) -> Result<Met, String> {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::scope(|scope| {
        let client = scope.spawn(move || -> Result<Stream, String> {
            let mut stream = connect(connector, address).map_err(|error| error.to_string())?;
            stream.write_all(b"x").and_then(|()| stream.flush()).map_err(|error| error.to_string())?;
            Ok(stream)
        });
        let (mut socket, _) = listener.accept().unwrap();
        let done = drive(&mut session, &mut socket);
        if done.is_err() {
            socket.shutdown(Shutdown::Write).unwrap();
        }
        let stream = client.join().unwrap()?;
        done.map(|()| Met { stream, session, _socket: socket })
    })
}

/// Receives until there is a byte.
fn drive(session: &mut Session, socket: &mut TcpStream) -> Result<(), String> {
    loop {
        match session.read_decrypted(&mut [0]) {
            Some(0) => return Err("closed".to_owned()),
            Some(_) => return Ok(()),
            None => {}
        }
        match session.receive(socket) {
            Ok(()) => {}
            Err(ReceiveError::Io(error)) if error.kind() == ErrorKind::Interrupted => {}
            Err(ReceiveError::Io(error)) => return Err(error.to_string()),
            Err(ReceiveError::Invalid(why)) => {
                let _ = session.send(socket);
                return Err(why);
            }
        }
        session.send(socket).map_err(|error| error.to_string())?;
    }
}

#[test]
fn a_renewed_certificate_is_used_when_it_is_time_and_both_files_belong_together() {
    let (old, new, folder) = (Authority::new("old"), Authority::new("new"), Folder::new());
    let (first, second) = (old.issue(&["localhost"]), new.issue(&["localhost"]));
    let mut acceptor = Acceptor::new(settings(&folder, &first)).unwrap();
    let (trusts_old, trusts_new) = (Folder::new(), Folder::new());
    let (trusts_old, trusts_new) = (trusting(&old, &trusts_old), trusting(&new, &trusts_new));
    let begun = Instant::now();
    let is_old = |acceptor: &mut Acceptor, after: Duration| {
        let mut session = || acceptor.session(begun + after).unwrap();
        let of_old = meet(&trusts_old, session()).is_ok();
        assert_ne!(of_old, meet(&trusts_new, session()).is_ok());
        of_old
    };
    assert!(is_old(&mut acceptor, Duration::ZERO));
    folder.put("cert.pem", &second.certificate);
    assert!(is_old(&mut acceptor, Duration::ZERO), "it is not time");
    assert!(is_old(&mut acceptor, MINUTE * 2), "the key is missing");
    folder.put("key.pem", &second.key);
    assert!(is_old(&mut acceptor, MINUTE * 2), "it is not time");
    assert!(!is_old(&mut acceptor, MINUTE * 3 + Duration::from_secs(1)));
}

#[test]
fn a_renewed_key_that_others_could_read_is_used_once_its_mode_is_right() {
    let (old, new, folder) = (Authority::new("old"), Authority::new("new"), Folder::new());
    let mut acceptor = Acceptor::new(settings(&folder, &old.issue(&["localhost"]))).unwrap();
    let trusts_new = trusting(&new, &folder);
    let renewed = new.issue(&["localhost"]);
    folder.put("cert.pem", &renewed.certificate);
    let key = folder.put("key.pem", &renewed.key);
    let chmod = |mode| std::fs::set_permissions(&key, Permissions::from_mode(mode)).unwrap();
    let begun = Instant::now();
    let mut serves = |minutes| meet(&trusts_new, acceptor.session(begun + MINUTE * minutes).unwrap()).is_ok();
    chmod(0o644);
    assert!(!serves(2));
    chmod(0o600);
    assert!(serves(4));
}

#[test]
fn a_clients_certificate_is_known_once_it_is_verified_and_none_is_accepted_too() {
    let (authority, clients, folder) = (Authority::new("ours"), Authority::new("clients"), Folder::new());
    let client_ca = Some(folder.put("clients.pem", &clients.pem));
    let settings = settings(&folder, &authority.issue(&["localhost"]));
    let mut acceptor = Acceptor::new(AcceptorSettings { client_ca, ..settings }).unwrap();
    let mut session = || {
        let session = acceptor.session(Instant::now()).unwrap();
        assert_eq!(session.client_certificate(), None);
        session
    };
    let anonymous = meet(&trusting(&authority, &folder), session()).unwrap();
    assert_eq!(anonymous.session.client_certificate(), None);
    assert!(anonymous.session.client_name().is_none());
    let with = |identity: &testing::certificates::Identity| {
        let connector = Connector::new(ConnectorSettings {
            ca: Some(folder.put("ca.pem", &authority.pem)),
            certificate: Some(folder.put("client.pem", &identity.certificate)),
            key: Some(folder.put("client.key", &identity.key)),
            ..ConnectorSettings::default()
        });
        connector.unwrap()
    };
    let known = clients.issue(&["worker"]);
    let connector = with(&known);
    let mut first = meet(&connector, session()).unwrap();
    assert_eq!(first.session.client_certificate(), Some(&known.der[..]));
    assert_eq!(first.session.client_name().as_deref(), Some("worker"));
    // A session that is resumed has it, too. The ticket for that comes after the handshake.
    assert!(!first.stream.is_closed());
    let second = meet(&connector, session()).unwrap();
    assert!(second.stream.is_resumed());
    assert_eq!(second.session.client_certificate(), Some(&known.der[..]));
    assert!(meet(&with(&authority.issue(&["worker"])), session()).is_err());
}

#[test]
fn an_unusable_file_is_refused_with_its_setting() {
    let (authority, folder) = (Authority::new("ours"), Folder::new());
    let settings = settings(&folder, &authority.issue(&["localhost"]));
    let client_ca = Some(folder.put("clients.pem", "nothing"));
    let error = Acceptor::new(AcceptorSettings { client_ca, ..settings }).unwrap_err().to_string();
    assert!(error.starts_with("producer_api.tls_client_ca: "), "{error}");
}
