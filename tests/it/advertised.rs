//! The address that the embedded broker tells its clients (`embedded.advertised`): clients of others follow
//! it through a mapped port, our own programs keep to `embedded.listen`.

use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use crate::support::ports::free_port;
use crate::support::program::{Program, Start, WAITING};
use crate::support::watchdog::Folder;
use crate::support::{PATIENCE, eventually, my_turn};

/// A mapped port: what connects to it is connected to the broker. It ends when dropped.
struct MappedPort {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
}

impl MappedPort {
    fn open(port: u16, broker: SocketAddr) -> MappedPort {
        let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
        let address = listener.local_addr().unwrap();
        let (connections, stop) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let (counted, stopped) = (connections.clone(), stop.clone());
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                if stopped.load(Ordering::Relaxed) {
                    return;
                }
                counted.fetch_add(1, Ordering::Relaxed);
                let server = TcpStream::connect(broker).unwrap();
                pass_on(client.try_clone().unwrap(), server.try_clone().unwrap());
                pass_on(server, client);
            }
        });
        MappedPort { address, connections, stop }
    }
}

impl Drop for MappedPort {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(self.address);
    }
}

/// Passes bytes on until one side closes.
fn pass_on(mut from: TcpStream, mut to: TcpStream) {
    thread::spawn(move || {
        let _ = io::copy(&mut from, &mut to);
        let _ = to.shutdown(Shutdown::Both);
    });
}

/// `kcat` with these arguments.
fn kcat(broker: SocketAddr, arguments: &[&str]) -> Start {
    let mut command = Command::new("kcat");
    command.args(["-b", &broker.to_string()]).args(arguments);
    Start::command("kcat", command)
}

/// One of our programs on the embedded broker of a folder.
fn own(name: &str, listen: SocketAddr, data: &Path) -> Start {
    Start::program(name)
        .set("embedded.listen", &listen.to_string())
        .set("embedded.data_dir", &data.display().to_string())
}

#[test]
fn our_own_programs_reach_a_broker_whose_advertised_address_they_cannot_reach() {
    let _turn = my_turn();
    let folder = Folder::new("advertised");
    let listen = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let advertised = format!("localhost:{}", free_port());
    let start = |name: &str| own(name, listen, folder.path()).set("embedded.advertised", &advertised);
    let mut endpoint = Program::producer_with(start("producer_api"));
    // Another process, once with the setting and once without it.
    let consumer = own("consumer1", listen, folder.path()).start();
    let standby = start("consumer2").start();
    for program in [&consumer, &standby] {
        program.wait_for_line(WAITING, PATIENCE);
    }
    assert_eq!(endpoint.post("/enviar", "1").status, 200);
    let received = || consumer.received_count() + standby.received_count();
    eventually("the message is printed", PATIENCE, || (received() == 1).then_some(()));
    // Where the holder ends, a standby serves at the same address, and the consumers go on.
    endpoint.stop();
    let endpoint = Program::producer_with(start("producer_api"));
    assert_eq!(endpoint.post("/enviar", "2").status, 200);
    eventually("the second message is printed", PATIENCE, || (received() == 2).then_some(()));
}

#[test]
fn a_client_follows_the_advertised_address_through_a_mapped_port() {
    let _turn = my_turn();
    let folder = Folder::new("advertised");
    let listen = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let port = free_port();
    let start = |name: &str| {
        own(name, listen, folder.path()).set("embedded.advertised", &format!("localhost:{port}"))
    };
    let endpoint = Program::producer_with(start("producer_api"));
    assert_eq!(endpoint.post("/enviar", "\"first\"").status, 200);
    let mut listing = kcat(listen, &["-L", "-J"]).start();
    assert_eq!(listing.wait(PATIENCE), Some(0));
    listing.wait_for_outputs();
    assert!(listing.lines().join("").contains(&format!("\"localhost:{port}\"")), "{:?}", listing.lines());

    let mapped = MappedPort::open(port, listen);
    let mut producer = kcat(mapped.address, &["-P", "-t", "mi-topico"]).with_input().start();
    producer.write_line("\"second\"");
    producer.close_input();
    assert_eq!(producer.wait(PATIENCE), Some(0));
    // A group: its coordinator is found there, too. The first connection is the bootstrap, which goes around.
    let before = mapped.connections.load(Ordering::Relaxed);
    let group = ["-u", "-X", "auto.offset.reset=earliest", "-G", "grupo", "mi-topico"];
    let consumer = kcat(listen, &group).start();
    consumer.wait_for_lines(2, PATIENCE);
    let mut lines = consumer.lines();
    lines.sort();
    assert_eq!(lines, ["\"first\"", "\"second\""]);
    assert!(mapped.connections.load(Ordering::Relaxed) > before);

    drop(consumer);

    // Our own programs do not come that way.
    let passed = mapped.connections.load(Ordering::Relaxed);
    let own_consumer = start("consumer1").start();
    own_consumer.wait_for_messages(2, PATIENCE);
    assert_eq!(endpoint.post("/enviar", "\"third\"").status, 200);
    own_consumer.wait_for_messages(3, PATIENCE);
    assert_eq!(mapped.connections.load(Ordering::Relaxed), passed);
}
