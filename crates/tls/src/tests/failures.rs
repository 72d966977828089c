//! Handshakes that fail for a reason that the error tells.

use std::io::{Read, Write};
use std::net::SocketAddr;

use testing::certificates::Authority;

use super::support::*;
use crate::{CertificateProblem, ConnectError, Connector, ConnectorSettings};

/// What is wrong with a server's certificate for `localhost`.
fn problem(identity: testing::certificates::Identity, connector: &Connector) -> (CertificateProblem, String) {
    let mut seen = None;
    for versions in [TLS12, TLS13] {
        let address = echo(&ServerSide { versions, ..ServerSide::new(identity.clone()) });
        let error = connect(connector, address).unwrap_err();
        assert!(error.is_lasting() && !error.may_be_plain(), "{error}");
        let text = error.to_string();
        let ConnectError::ServerCertificate { problem, .. } = error else { panic!("{error}") };
        seen = Some((problem, text));
    }
    seen.unwrap()
}

#[test]
fn a_certificate_of_an_unknown_authority_is_refused_with_the_setting_for_it() {
    let (authority, folder) = (Authority::new("ours"), Folder::new());
    let stranger = Authority::new("theirs").issue(&["localhost"]);
    let (problem, text) = problem(stranger, &trusting(&authority, &folder));
    assert_eq!(problem, CertificateProblem::UnknownIssuer);
    assert!(text.contains("unknown authority") && text.contains("kafka.tls_ca"), "{text}");
}

#[test]
fn a_certificate_out_of_its_time_is_refused_with_its_time() {
    let (authority, folder) = (Authority::new("ours"), Folder::new());
    let connector = trusting(&authority, &folder);
    let (expired, text) = problem(authority.issue_valid(&["localhost"], (-9, -2)), &connector);
    assert!(matches!(expired, CertificateProblem::Expired { end: Some(_) }), "{expired:?}");
    assert!(text.contains("expired on ") && text.contains("the clock here says"), "{text}");
    let (early, text) = problem(authority.issue_valid(&["localhost"], (2, 9)), &connector);
    assert!(matches!(early, CertificateProblem::NotYetValid { start: Some(_) }), "{early:?}");
    assert!(text.contains("is valid from "), "{text}");
}

#[test]
fn a_certificate_for_other_names_is_refused_with_its_names() {
    let (authority, folder) = (Authority::new("ours"), Folder::new());
    let connector = trusting(&authority, &folder);
    let (_, text) = problem(authority.issue(&["*.kafka.example", "b-1", "10.0.0.3", "::1"]), &connector);
    let wanted = "the server's certificate is not for localhost, but for *.kafka.example, b-1, 10.0.0.3, ";
    assert!(text.starts_with(wanted) && !text.contains('('), "{text}");
    let (_, text) = problem(authority.issue(&[]), &connector);
    assert_eq!(text, "the server's certificate is for no name (subjectAltName), so not for localhost");
    let many: Vec<String> = (0..30).map(|index| format!("b-{index}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let (_, text) = problem(authority.issue(&many), &connector);
    assert!(text.ends_with("b-9 and 20 more"), "{text}");
}

#[test]
fn a_name_that_no_certificate_can_have_is_refused() {
    let (authority, folder) = (Authority::new("ours"), Folder::new());
    let address = echo(&ServerSide::new(authority.issue(&["localhost"])));
    let error = connect_as(&trusting(&authority, &folder), address, "not a name").unwrap_err();
    assert!(matches!(error, ConnectError::BadServerName(_)) && error.is_lasting(), "{error}");
}

#[test]
fn a_server_without_a_common_version_or_cipher_is_told() {
    let (authority, folder) = (Authority::new("ours"), Folder::new());
    let connector = trusting(&authority, &folder);
    // The alerts handshake_failure and protocol_version, and a server's hello of TLS 1.1.
    let hello_of_tls_11 = {
        let mut body = vec![3, 2];
        body.extend_from_slice(&[7; 32]);
        body.extend_from_slice(&[0, 0xc0, 0x2f, 0, 0, 0]);
        let mut record = vec![22, 3, 2, 0, body.len() as u8 + 4, 2, 0, 0, body.len() as u8];
        record.extend_from_slice(&body);
        record
    };
    for answer in [vec![21, 3, 3, 0, 2, 2, 40], vec![21, 3, 3, 0, 2, 2, 70], hello_of_tls_11] {
        let address = answering(answer.clone());
        let error = connect(&connector, address).unwrap_err();
        assert!(
            matches!(error, ConnectError::NothingInCommon(_)) && error.is_lasting(),
            "{answer:?} {error}"
        );
    }
}

#[test]
fn alerts_are_told_with_their_names_and_whether_they_last() {
    let (authority, folder) = (Authority::new("ours"), Folder::new());
    let connector = trusting(&authority, &folder);
    for (alert, name, lasts) in [
        (80, "internal_error, 80", false),
        (90, "user_canceled, 90", false),
        (112, "unrecognised_name, 112", true),
        (49, "access_denied, 49", true),
    ] {
        let error = connect(&connector, answering(vec![21, 3, 3, 0, 2, 2, alert])).unwrap_err();
        assert!(matches!(error, ConnectError::Alert { .. }), "{error:?}");
        assert_eq!((error.to_string().ends_with(name), error.is_lasting()), (true, lasts), "{error}");
    }
}

/// A server that answers the first bytes of each connection so.
pub(super) fn answering(answer: Vec<u8>) -> SocketAddr {
    server(move |mut socket| {
        let _asked = socket.read(&mut [0; 4096]);
        let _answered = socket.write_all(&answer);
        let _held = socket.read(&mut [0; 64]); // until the client has read it
    })
}

/// The error of a connection whose server refuses the client after the client's handshake.
fn refusal(connector: &Connector, address: SocketAddr) -> ConnectError {
    let mut stream = match connect(connector, address) {
        Ok(stream) => stream,
        Err(error) => return error, // TLS 1.2
    };
    // The server may be gone before the request is written.
    let failed = stream.write_all(b"hola").and_then(|()| stream.flush());
    let failed = failed.and_then(|()| stream.read(&mut [0; 4]).map(drop)).unwrap_err();
    assert!(ConnectError::within(&failed).is_some(), "{failed:?}");
    *failed.into_inner().unwrap().downcast().unwrap()
}

#[test]
fn a_server_that_wants_a_client_certificate_or_another_one_is_told() {
    let (authority, clients, folder) = (Authority::new("ours"), Authority::new("clients"), Folder::new());
    let without = trusting(&authority, &folder);
    let with = |identity: testing::certificates::Identity| {
        Connector::new(ConnectorSettings {
            ca: Some(folder.put("ca.pem", &authority.pem)),
            certificate: Some(folder.put("client.pem", &identity.certificate)),
            key: Some(folder.put("client.key", &identity.key)),
            ..ConnectorSettings::default()
        })
        .unwrap()
    };
    for versions in [TLS12, TLS13] {
        let client_ca = Some(clients.pem.clone());
        let address = echo(&ServerSide { versions, client_ca, identity: authority.issue(&["localhost"]) });
        let wanted = refusal(&without, address);
        assert!(matches!(wanted, ConnectError::ClientCertificateWanted(_)), "{wanted:?}");
        assert!(wanted.is_lasting() && wanted.to_string().contains("kafka.tls_certificate"), "{wanted}");
        for (identity, alert) in [
            (authority.issue(&["worker"]), "unknown_ca, 48"),
            (clients.issue_valid(&["worker"], (-9, -2)), "certificate_expired, 45"),
        ] {
            let refused = refusal(&with(identity), address);
            assert!(matches!(refused, ConnectError::ClientCertificateRefused { .. }), "{refused:?}");
            assert!(refused.is_lasting() && refused.to_string().contains(alert), "{refused}");
        }
        assert!(echoes(&mut connect(&with(clients.issue(&["worker"])), address).unwrap(), "hola"));
    }
}

#[test]
fn settings_whose_files_cannot_be_used_are_refused_with_their_names() {
    let (authority, folder) = (Authority::new("ours"), Folder::new());
    let (one, other) = (authority.issue(&["a"]), authority.issue(&["b"]));
    let certificate = folder.put("client.pem", &one.certificate);
    let key = folder.put("client.key", &one.key);
    let refused = |settings: ConnectorSettings| Connector::new(settings).unwrap_err().to_string();
    let with = |certificate: &std::path::Path, key: &std::path::Path| ConnectorSettings {
        certificate: Some(certificate.to_owned()),
        key: Some(key.to_owned()),
        ..ConnectorSettings::default()
    };
    let ca = |text: &str| ConnectorSettings {
        ca: Some(folder.put("other.pem", text)),
        ..ConnectorSettings::default()
    };
    let line = refused(ca("nothing"));
    assert!(line.starts_with("kafka.tls_ca: ") && line.contains("there is no certificate in it"), "{line}");
    let half = one.certificate.split_at(300).0;
    assert!(refused(ca(half)).starts_with("kafka.tls_ca: "));
    let line = refused(with(&certificate, &folder.put("other.key", &other.key)));
    assert!(line.starts_with("kafka.tls_certificate: ") && line.contains("with kafka.tls_key"), "{line}");
    let line = refused(with(&certificate, &certificate));
    assert!(line.starts_with("kafka.tls_key: ") && line.contains("no private key in it"), "{line}");
    let line = refused(with(&folder.path().join("absent"), &key));
    assert!(line.starts_with("kafka.tls_certificate: ") && line.contains("absent"), "{line}");
    let line = refused(ConnectorSettings { key: None, ..with(&certificate, &key) });
    assert_eq!(line, "kafka.tls_certificate: needs kafka.tls_key");
    let open = folder.put("open.key", &one.key);
    std::fs::set_permissions(&open, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    let line = refused(with(&certificate, &open));
    assert!(line.starts_with("kafka.tls_key: ") && line.contains("chmod 600"), "{line}");
    assert!(!line.contains("PRIVATE"), "{line}");
}
