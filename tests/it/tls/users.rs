//! Users with a client certificate.

use std::net::{SocketAddr, TcpStream};
use std::time::Instant;

use point_to_point::config::ProducerApiSettings;
use point_to_point::users::Right;
use testing::certificates::{Authority, Identity, put};
use tls::{Connector, ConnectorSettings, Stream};

use crate::front_door::support::{self as door, Answer, PATIENCE, post, start, until};
use crate::front_door::users::UsersFile;
use crate::support::http::RawClient;
use crate::support::watchdog::Folder;

/// A client that trusts `ca` and shows a certificate, or none.
fn connect(
    address: SocketAddr,
    folder: &Folder,
    ca: &Authority,
    shows: Option<&Identity>,
) -> RawClient<Stream> {
    let file = |name: &str, text: &str| put(folder.path(), name, text);
    let connector = Connector::new(ConnectorSettings {
        ca: Some(file("ca.pem", &ca.pem)),
        certificate: shows.map(|identity| file("client.pem", &identity.certificate)),
        key: shows.map(|identity| file("client-key.pem", &identity.key)),
        ..ConnectorSettings::default()
    });
    let socket = TcpStream::connect(address).expect("it listens");
    let stream = connector.expect("good settings").connect(socket, "localhost", Instant::now() + PATIENCE);
    RawClient::new(stream.unwrap_or_else(|error| panic!("a handshake: {error}")))
}

fn ask(client: &mut RawClient<Stream>, request: &str) -> Answer {
    use std::io::Write;
    client.stream.write_all(request.as_bytes()).expect("it reads");
    client.read_answer().expect("an answer").into()
}

#[test]
fn a_certificate_tells_its_one_user_and_only_one_that_is_to_have_a_certificate() {
    let (folder, file) = (Folder::new("certificates"), UsersFile::new());
    let (servers, clients) = (Authority::new("servers"), Authority::new("clients"));
    let identity = servers.issue(&["localhost"]);
    file.add_with_certificate("tienda.example.org", &[Right::Send]);
    file.add_with_certificate("lector", &[Right::Read]);
    let token = file.add("otro", &[Right::Send], &[], None);
    let settings = ProducerApiSettings {
        tls_certificate: Some(put(folder.path(), "cert.pem", &identity.certificate)),
        tls_key: Some(put(folder.path(), "key.pem", &identity.key)),
        tls_client_ca: Some(put(folder.path(), "clients.pem", &clients.pem)),
        users_file: Some(file.path()),
        ..door::settings()
    };
    let (server, channel) = start(&settings);
    let address = server.address();
    let send = post("", "{}");
    for (names, status, code) in [
        (&["tienda.example.org"][..], 200, ""),
        (&["tienda.example.org", "lector"], 200, ""),
        (&["machine-7", "tienda.example.org"], 401, "unauthorized"),
        (&["lector", "tienda.example.org"], 403, "missing_right"),
        (&["", "tienda.example.org"], 200, ""),
        (&["", "tienda.example.org", "lector"], 401, "unauthorized"),
        (&["otro"], 401, "unauthorized"),
        (&["nobody"], 401, "unauthorized"),
    ] {
        let shown = match names {
            ["", names @ ..] => clients.issue_without_common_name(names),
            names => clients.issue(names),
        };
        let mut client = connect(address, &folder, &servers, Some(&shown));
        let answer = ask(&mut client, &send);
        assert_eq!(answer.status, status, "{names:?}: {}", answer.body);
        assert!(status == 200 || answer.code() == code, "{names:?}: {}", answer.body);
        if status == 200 {
            assert_eq!(ask(&mut client, &send).status, 200, "the connection goes on");
        }
    }
    assert_eq!(ask(&mut connect(address, &folder, &servers, None), &send).status, 401);
    // `Authorization` goes before the certificate.
    let shown = clients.issue(&["lector"]);
    let with = |value: &str| send.replacen("Host:", &format!("Authorization: {value}\r\nHost:"), 1);
    let mut client = connect(address, &folder, &servers, Some(&shown));
    assert_eq!(ask(&mut client, &with(&token)).status, 200);
    assert_eq!(ask(&mut client, &with("Bearer wrong")).status, 401);
    assert_eq!(channel.taken().len(), 7, "two of each good certificate, and one with the token");
    file.remove("tienda.example.org");
    let removed = clients.issue(&["tienda.example.org"]);
    until("the removed user is refused", || {
        ask(&mut connect(address, &folder, &servers, Some(&removed)), &send).status == 401
    });
}
