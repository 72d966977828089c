//! Accepts the programs' connections; each gets a thread and a [`Session`].

use std::collections::HashMap;
use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use super::session::Session;
use super::{Error, Shared, dispatch};
use crate::cluster::metadata::lock;

/// The most connections at once; one more is closed at once.
const MAX_CONNECTIONS: usize = 1024;
/// The wait after a failed accept, for example with no descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// The open connections and their threads.
#[derive(Default)]
struct Open {
    connections: Mutex<HashMap<u64, (TcpStream, JoinHandle<()>)>>,
    /// Ids of connections that have ended and whose threads are to be joined.
    ended: Mutex<Vec<u64>>,
}

/// A listening socket and the threads behind it.
pub struct Listener {
    address: SocketAddr,
    stopping: Arc<AtomicBool>,
    open: Arc<Open>,
    acceptor: JoinHandle<()>,
}

impl Listener {
    /// Listens on `address` (`host:port`).
    ///
    /// # Errors
    /// [`Error::Listen`], [`Error::System`] without a thread.
    pub fn start(address: &str, shared: Arc<Shared>) -> Result<Listener, Error> {
        let failed = |source| Error::Listen { address: address.to_owned(), source };
        let socket = TcpListener::bind(address).map_err(failed)?;
        let local = socket.local_addr().map_err(failed)?;
        let stopping = Arc::new(AtomicBool::new(false));
        let open = Arc::new(Open::default());
        let acceptor = {
            let (stopping, open) = (stopping.clone(), open.clone());
            std::thread::Builder::new()
                .name("adapter-accept".to_owned())
                .spawn(move || accept(&socket, &shared, &stopping, &open))
                .map_err(|e| Error::System(e.to_string()))?
        };
        Ok(Listener { address: local, stopping, open, acceptor })
    }

    /// The address listened on, with its real port.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Closes the socket and all connections; their threads have ended when this returns.
    pub fn stop(self) {
        self.stopping.store(true, Ordering::Relaxed);
        // A connection of our own wakes the acceptor.
        let mut wake = self.address;
        if wake.ip().is_unspecified() {
            wake.set_ip(std::net::Ipv4Addr::LOCALHOST.into());
        }
        let woken = TcpStream::connect_timeout(&wake, Duration::from_secs(1));
        let accepting = woken.is_err() || self.acceptor.join().is_err();
        if accepting {
            log::error!("the adapter's accept thread did not end well");
        }
        let connections: Vec<_> = lock(&self.open.connections).drain().collect();
        for (_, (stream, _)) in &connections {
            let _ = stream.shutdown(Shutdown::Read);
        }
        for (_, (_, thread)) in connections {
            let _ = thread.join();
        }
    }
}

fn accept(socket: &TcpListener, shared: &Arc<Shared>, stopping: &AtomicBool, open: &Arc<Open>) {
    let mut next_id = 0;
    loop {
        let accepted = socket.accept();
        if stopping.load(Ordering::Relaxed) {
            return;
        }
        reap(open);
        match accepted {
            Ok((stream, peer)) => {
                next_id += 1;
                if let Err(error) = serve(stream, next_id, shared, open) {
                    log::warn!("adapter: connection from {peer}: {error}");
                }
            }
            Err(error) => {
                log::warn!("adapter: accepting: {error}");
                std::thread::sleep(ACCEPT_PAUSE);
            }
        }
    }
}

fn serve(stream: TcpStream, id: u64, shared: &Arc<Shared>, open: &Arc<Open>) -> io::Result<()> {
    let mut connections = lock(&open.connections);
    if connections.len() >= MAX_CONNECTIONS {
        return Err(io::Error::other(format!("closed: {MAX_CONNECTIONS} connections are open already")));
    }
    let ours = stream.try_clone()?;
    let session = Session::new(id, stream, shared.clone())?;
    let ended = open.clone();
    let thread = std::thread::Builder::new().name(format!("adapter-{id}")).spawn(move || {
        dispatch::serve(session);
        lock(&ended.ended).push(id);
    })?;
    connections.insert(id, (ours, thread));
    Ok(())
}

/// Joins the threads of connections that have ended.
fn reap(open: &Open) {
    for id in std::mem::take(&mut *lock(&open.ended)) {
        let ended = lock(&open.connections).remove(&id);
        if let Some((_, thread)) = ended {
            let _ = thread.join();
        }
    }
}
