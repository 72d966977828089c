//! Files that are renewed while a client uses them.

use testing::certificates::Authority;

use super::support::*;
use crate::{Connector, ConnectorSettings};

#[test]
fn a_renewed_authority_is_used_for_the_next_connection() {
    let (old, new, folder) = (Authority::new("old"), Authority::new("new"), Folder::new());
    let connector = trusting(&old, &folder);
    let address_of = |authority: &Authority| echo(&ServerSide::new(authority.issue(&["localhost"])));
    let (of_old, of_new) = (address_of(&old), address_of(&new));
    assert!(connect(&connector, of_old).is_ok());
    assert!(connect(&connector, of_new).is_err());
    folder.put("ca.pem", &new.pem);
    assert!(connect(&connector, of_old).is_err());
    assert!(connect(&connector, of_new).is_ok());
    // Both may be in the file.
    folder.put("ca.pem", &format!("{}{}", new.pem, old.pem));
    assert!(connect(&connector, of_old).is_ok());
    assert!(connect(&connector, of_new).is_ok());
}

#[test]
fn a_renewal_that_is_half_written_or_broken_leaves_the_old_files_in_use_until_it_is_whole() {
    let (authority, clients, folder) = (Authority::new("ours"), Authority::new("clients"), Folder::new());
    let others = Authority::new("others");
    let side = |clients: &Authority| ServerSide {
        versions: TLS13,
        client_ca: Some(clients.pem.clone()),
        identity: authority.issue(&["localhost"]),
    };
    let (for_old, for_new) = (echo(&side(&clients)), echo(&side(&others)));
    let (old, new) = (clients.issue(&["worker"]), others.issue(&["worker"]));
    let connector = Connector::new(ConnectorSettings {
        ca: Some(folder.put("ca.pem", &authority.pem)),
        certificate: Some(folder.put("client.pem", &old.certificate)),
        key: Some(folder.put("client.key", &old.key)),
        ..ConnectorSettings::default()
    });
    let connector = connector.unwrap();
    let serves = |address| {
        let Ok(mut stream) = connect(&connector, address) else { return false };
        let asked = std::io::Write::write_all(&mut stream, b"hola");
        let answered = asked.and_then(|()| std::io::Read::read_exact(&mut stream, &mut [0; 4]));
        answered.is_ok()
    };
    assert!(serves(for_old) && !serves(for_new));
    // The certificate is new, the key is not yet.
    folder.put("client.pem", &new.certificate);
    assert!(serves(for_old) && !serves(for_new));
    folder.put("client.key", new.key.split_at(60).0);
    assert!(serves(for_old) && !serves(for_new));
    std::fs::remove_file(folder.path().join("client.key")).unwrap();
    assert!(serves(for_old) && !serves(for_new));
    folder.put("client.key", &new.key);
    assert!(serves(for_new) && !serves(for_old));
}
