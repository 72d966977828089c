//! A broker some of whose answers are a script's: a proxy before a real one. What a client asks is passed on,
//! and what the broker answers as well, unless the script says something else of the answer; so the broker
//! has done what it was asked, and the client cannot know.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

/// The keys of requests whose answers name brokers.
const METADATA: i16 = 3;
const FIND_COORDINATOR: i16 = 10;

/// A request, as far as a script has to know it.
#[derive(Debug, Clone, Copy)]
pub struct Request {
    /// Its key: 0 is Produce.
    pub key: i16,
    /// Its version.
    pub version: i16,
}

/// What becomes of the broker's answer.
pub enum Reply {
    /// The client gets it.
    Pass,
    /// The client gets what this makes of it, the bytes after the size.
    Edited(fn(Request, &[u8]) -> Vec<u8>),
    /// The client gets so many of its bytes, the size included, and then the end of the connection.
    Cut(usize),
    /// The client gets nothing; the connection stays open.
    Silence,
}

type Script = dyn Fn(Request) -> Reply + Send + Sync;

/// The proxy; it ends when dropped.
pub struct Scripted {
    address: SocketAddr,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

struct Shared {
    broker: SocketAddr,
    own_port: u16,
    script: Box<Script>,
    stopped: AtomicBool,
    open: Mutex<Vec<TcpStream>>,
}

impl Scripted {
    /// A proxy before the broker at this address, the only one of its cluster.
    pub fn before(broker: &str, script: impl Fn(Request) -> Reply + Send + Sync + 'static) -> Scripted {
        let broker = broker.parse().expect("the address of one broker");
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let shared = Arc::new(Shared {
            broker,
            own_port: address.port(),
            script: Box::new(script),
            stopped: AtomicBool::new(false),
            open: Mutex::default(),
        });
        let accepting = Arc::clone(&shared);
        let acceptor = thread::spawn(move || accept(&listener, &accepting));
        Scripted { address, shared, acceptor: Some(acceptor) }
    }

    /// Where it listens.
    pub fn bootstrap(&self) -> String {
        self.address.to_string()
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::Relaxed);
        // Wakes the acceptor, which ends the connections.
        let _listens_no_more = TcpStream::connect(self.address);
        let _panicked = self.acceptor.take().map(JoinHandle::join);
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    let mut served = Vec::new();
    for client in listener.incoming().map_while(Result::ok) {
        if shared.stopped.load(Ordering::Relaxed) {
            break;
        }
        let shared = Arc::clone(shared);
        served.push(thread::spawn(move || _ = shared.serve(client)));
    }
    for stream in shared.open.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
        let _closed = stream.shutdown(Shutdown::Both);
    }
    served.into_iter().for_each(|thread| _ = thread.join());
}

impl Shared {
    /// One connection, until either side ends it.
    fn serve(&self, mut client: TcpStream) -> io::Result<()> {
        let mut broker = TcpStream::connect(self.broker)?;
        for stream in [&client, &broker] {
            stream.set_nodelay(true)?;
            self.open.lock().unwrap_or_else(PoisonError::into_inner).push(stream.try_clone()?);
        }
        let result = self.exchange(&mut client, &mut broker);
        let _closed = (client.shutdown(Shutdown::Both), broker.shutdown(Shutdown::Both));
        result
    }

    fn exchange(&self, client: &mut TcpStream, broker: &mut TcpStream) -> io::Result<()> {
        loop {
            let request = read_frame(client)?;
            broker.write_all(&framed(&request))?;
            let [k0, k1, v0, v1, ..] = request[..] else { return Err(io::ErrorKind::InvalidData.into()) };
            let request =
                Request { key: i16::from_be_bytes([k0, k1]), version: i16::from_be_bytes([v0, v1]) };
            let mut answer = read_frame(broker)?;
            if [METADATA, FIND_COORDINATOR].contains(&request.key) {
                self.point_here(&mut answer);
            }
            match (self.script)(request) {
                Reply::Pass => client.write_all(&framed(&answer))?,
                Reply::Edited(edit) => client.write_all(&framed(&edit(request, &answer)))?,
                Reply::Cut(count) => {
                    let whole = framed(&answer);
                    return client.write_all(&whole[..count.min(whole.len() - 1)]);
                }
                Reply::Silence => io::copy(client, &mut io::sink()).map(drop)?,
            }
        }
    }

    /// Puts the proxy's port in place of the broker's: in every version the port follows the host.
    fn point_here(&self, answer: &mut [u8]) {
        let named = |port: u16| [b"127.0.0.1", &u32::from(port).to_be_bytes()[..]].concat();
        let (from, to) = (named(self.broker.port()), named(self.own_port));
        let mut at = 0;
        while let Some(window) = answer.get_mut(at..at + from.len()) {
            if window == from {
                window.copy_from_slice(&to);
            }
            at += 1;
        }
    }
}

/// The bytes of a request or an answer after its size.
fn read_frame(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut size = [0; 4];
    stream.read_exact(&mut size)?;
    let mut bytes = vec![0; u32::from_be_bytes(size) as usize];
    stream.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn framed(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u32).to_be_bytes()[..], bytes].concat()
}
