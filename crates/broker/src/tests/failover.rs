//! Several processes on one database: one serves, the others take over.

use std::error::Error as _;
use std::net::{SocketAddr, TcpListener};
use std::time::{Duration, Instant};

use kafka_protocol::messages::MetadataRequest;

use super::client::{Client, batch_of, long_fetch, values};
use super::produce::new_producer;
use super::{Folder, PATIENCE, settings, start};
use crate::{Broker, BrokerSettings, Error};
use protocol::compression::Compression;

fn fixed_address() -> String {
    format!("127.0.0.1:{}", testing::free_port())
}

fn eventually(what: &str, mut ask: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !ask() {
        assert!(Instant::now() < deadline, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn who_stands_by_takes_over_with_all_data_when_the_holder_stops() {
    let folder = Folder::new();
    let listen = fixed_address();
    let holder = start(&folder, &listen).unwrap();
    let standby = start(&folder, &listen).unwrap();
    assert!(holder.is_serving() && !standby.is_serving());
    assert_eq!(holder.address(), standby.address());
    let mut client = Client::connect(standby.address());
    client.create_topic("t");
    let id = client.call(4, &new_producer()).producer_id.0;
    let first = batch_of(&["a", "b"], id, 0, Compression::None);
    assert_eq!(client.produce("t", 0, first.clone()).base_offset, 0);

    holder.stop();
    client.expect_closed();
    eventually("the standby serves", || standby.is_serving());
    let mut client = Client::connect(standby.address());
    // The answer to the first try may have been lost with the holder.
    assert_eq!(client.produce("t", 0, first).base_offset, 0);
    let second = batch_of(&["c"], id, 2, Compression::None);
    assert_eq!(client.produce("t", 0, second).base_offset, 2);
    let stored: Vec<String> = values(&client.fetch("t", 0, 0)).into_iter().map(|(_, value)| value).collect();
    assert_eq!(stored, ["a", "b", "c"]);
    assert_ne!(client.call(4, &new_producer()).producer_id.0, id);
    standby.stop();
}

#[test]
fn a_database_that_was_served_before_is_served_again_elsewhere() {
    let folder = Folder::new();
    let broker = start(&folder, "127.0.0.1:0").unwrap();
    Client::connect(broker.address()).create_topic("t");
    broker.stop();
    let broker = start(&folder, "127.0.0.1:0").unwrap();
    assert_eq!(Client::connect(broker.address()).fetch("t", 0, 0).error_code, 0);
    broker.stop();
}

#[test]
fn a_standby_that_stops_leaves_the_holder_alone() {
    let folder = Folder::new();
    let listen = fixed_address();
    let holder = start(&folder, &listen).unwrap();
    start(&folder, &listen).unwrap().stop();
    Client::connect(holder.address()).create_topic("t");
    assert!(holder.is_serving());
    holder.stop();
}

#[test]
fn a_port_that_is_taken_is_an_error_that_names_it_and_the_setting() {
    let folder = Folder::new();
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = other.local_addr().unwrap().to_string();
    let error = start(&folder, &listen).err().unwrap();
    assert!(matches!(error, Error::Listen { .. }), "{error}");
    let words = error.to_string();
    assert!(words.contains("embedded.listen") && words.contains(&listen), "{words}");
    // The database is free for another try.
    start(&folder, "127.0.0.1:0").unwrap().stop();
}

#[cfg(unix)]
#[test]
fn nothing_is_written_into_a_folder_of_others_and_each_try_says_why() {
    use std::os::unix::fs::PermissionsExt;
    let folder = Folder::new();
    let widen = || std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let names = || {
        let entries = std::fs::read_dir(folder.path()).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect::<Vec<_>>()
    };
    for (file, why) in
        [("notes.txt", "it holds more than the database"), ("point-to-point.redb", "the format")]
    {
        std::fs::create_dir(folder.path()).unwrap();
        std::fs::write(folder.path().join(file), "x").unwrap();
        widen();
        for _ in 0..2 {
            let error = start(&folder, "127.0.0.1:0").err().unwrap();
            assert!(matches!(error, Error::Io { .. }) && error.to_string().contains(why), "{error}");
            assert_eq!(names(), [file]);
        }
        // What an older version has left of its refusal is no word of a failure either.
        std::fs::write(folder.path().join("failure"), "no room").unwrap();
        let error = start(&folder, "127.0.0.1:0").err().unwrap().to_string();
        assert!(error.contains(why) && !error.contains("reopened"), "{error}");
        std::fs::remove_dir_all(folder.path()).unwrap();
    }
}

#[cfg(unix)]
#[test]
fn a_folder_that_others_may_enter_is_made_private_whatever_its_processes_have_left_there() {
    use std::os::unix::fs::PermissionsExt;
    let folder = Folder::new();
    for name in ["", "failure", "refusal", "warning", "address"] {
        start(&folder, "127.0.0.1:0").unwrap().stop();
        if !name.is_empty() {
            let made = std::fs::OpenOptions::new().create(true).append(true).open(folder.path().join(name));
            made.unwrap();
        }
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        start(&folder, "127.0.0.1:0").unwrap().stop();
        assert_eq!(folder.path().metadata().unwrap().permissions().mode() & 0o777, 0o700);
    }
}

#[test]
fn what_listens_is_told_from_the_process_that_serves_the_store() {
    let (folder, other) = (Folder::new(), Folder::new());
    let listen = fixed_address();
    let holder = start(&folder, &listen).unwrap();
    let is_served = |folder: &Folder, listen: &str| Broker::is_served(&settings(folder, listen));
    assert!(is_served(&folder, &listen).unwrap());
    assert!(!is_served(&folder, &fixed_address()).unwrap(), "it listens elsewhere");
    let words = is_served(&other, &listen).unwrap_err().to_string();
    assert!(words.contains("another program listens on") && words.contains(&listen), "{words}");
    assert!(!other.path().exists());
    start(&other, "127.0.0.1:0").unwrap().stop();
    assert!(!is_served(&other, &listen).unwrap());
    let refused = start(&other, &listen).err().unwrap().to_string();
    assert_eq!(refused, words);
    holder.stop();
    assert!(!is_served(&folder, &listen).unwrap(), "its address stands there still");
    let everywhere = listen.replace("127.0.0.1", "0.0.0.0");
    let holder = start(&folder, &everywhere).unwrap();
    assert!(is_served(&folder, &listen).unwrap() && is_served(&folder, &everywhere).unwrap());
    holder.stop();
}

#[test]
#[cfg_attr(windows, ignore = "[::] is IPv6 alone there")]
fn a_client_is_told_an_address_of_the_family_that_it_used() {
    let folder = Folder::new();
    // Where there is no IPv6 there is nothing to tell apart.
    if TcpListener::bind("[::1]:0").is_err() {
        return;
    }
    let broker = start(&folder, "[::]:0").unwrap();
    let port = broker.address().port();
    for ip in ["127.0.0.1", "::1"] {
        let mut client = Client::connect(SocketAddr::new(ip.parse().unwrap(), port));
        let answer = client.call(9, &MetadataRequest::default().with_topics(Some(Vec::new())));
        assert_eq!((answer.brokers[0].host.as_str(), answer.brokers[0].port), (ip, i32::from(port)));
    }
    broker.stop();
}

#[test]
fn a_holder_that_listens_elsewhere_is_an_error_that_names_both_addresses() {
    let folder = Folder::new();
    let holder = start(&folder, &fixed_address()).unwrap();
    let listen = fixed_address();
    let error = start(&folder, &listen).err().unwrap();
    assert!(matches!(error, Error::ServedElsewhere { .. }), "{error}");
    let words = error.to_string();
    assert!(words.contains(&listen) && words.contains(&holder.address().to_string()), "{words}");
    holder.stop();
}

#[test]
fn a_store_that_is_none_is_an_error_that_says_what_to_do() {
    let folder = Folder::new();
    start(&folder, "127.0.0.1:0").unwrap().stop();
    let log = std::fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.extension().is_some_and(|extension| extension == "log"))
        .unwrap();
    std::fs::write(log, vec![0x5a; 1 << 20]).unwrap();
    let error = start(&folder, "127.0.0.1:0").err().unwrap();
    assert!(matches!(error, Error::Damaged { .. }), "{error}");
    let words = error.to_string();
    assert!(words.contains("embedded.data_dir") && words.contains("damaged"), "{words}");
}

#[test]
#[cfg_attr(windows, ignore = "the error is another there")]
fn a_folder_that_cannot_be_opened_is_an_error_with_the_error_of_the_system_as_its_cause() {
    let folder = Folder::new();
    std::fs::create_dir_all(folder.path()).unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    let data_dir = file.join("data");
    let error = Broker::start(BrokerSettings { data_dir, ..settings(&folder, "127.0.0.1:0") }).err().unwrap();
    assert!(matches!(error, Error::Io { .. }), "{error}");
    assert!(error.to_string().contains("cannot create the folder"), "{error}");
    let mut causes = std::iter::successors(error.source(), |&cause| cause.source());
    let kind = causes.find_map(|cause| cause.downcast_ref::<std::io::Error>()).map(std::io::Error::kind);
    assert_eq!(kind, Some(std::io::ErrorKind::NotADirectory));
}

#[test]
fn a_broker_stops_while_clients_wait() {
    let folder = Folder::new();
    let broker = start(&folder, "127.0.0.1:0").unwrap();
    let mut clients: Vec<Client> = (0..8).map(|_| Client::connect(broker.address())).collect();
    clients[0].create_topic("t");
    for client in &mut clients {
        client.send(12, &long_fetch(("t", 0, 0), PATIENCE * 2, 1));
    }
    let asked = Instant::now();
    broker.stop();
    assert!(asked.elapsed() < PATIENCE, "it waited for its clients");
    start(&folder, "127.0.0.1:0").unwrap().stop();
}

#[test]
fn a_name_without_an_address_is_an_error() {
    let folder = Folder::new();
    let error = start(&folder, "no-such-host.invalid:9092").err().unwrap();
    assert!(error.to_string().contains("no-such-host.invalid:9092"), "{error}");
}
