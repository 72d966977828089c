//! A listening socket: accepts connections, each of which gets a thread of its own.

use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use super::lock;

/// The most connections at once; one more is closed at once.
const MAX_CONNECTIONS: usize = 1024;
/// The wait after a failed accept, for example with no descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A connection's socket and its thread.
type Connection = (Arc<TcpStream>, JoinHandle<()>);

/// The open connections and their threads.
#[derive(Default)]
struct Open {
    connections: Mutex<HashMap<u64, Connection>>,
    /// Ids of connections that have ended and whose threads are to be joined.
    ended: Mutex<Vec<u64>>,
}

/// A listening socket and the threads behind it.
pub struct Listener {
    name: &'static str,
    address: SocketAddr,
    stopping: Arc<AtomicBool>,
    open: Arc<Open>,
    acceptor: JoinHandle<()>,
}

impl Listener {
    /// Accepts what comes to `socket`; `serve` runs for each connection, on its own thread, with a number that no
    /// other connection of this listener has. Threads and log lines carry `name`.
    ///
    /// # Errors
    /// The socket has no address, or the system gives no thread.
    pub fn start(
        name: &'static str,
        socket: TcpListener,
        serve: impl Fn(u64, Arc<TcpStream>) + Send + Sync + 'static,
    ) -> io::Result<Listener> {
        let address = socket.local_addr()?;
        let stopping = Arc::new(AtomicBool::new(false));
        let open = Arc::new(Open::default());
        let acceptor =
            Acceptor { name, socket, stopping: stopping.clone(), open: open.clone(), serve: Arc::new(serve) };
        let acceptor =
            std::thread::Builder::new().name(format!("{name}-accept")).spawn(move || acceptor.run())?;
        Ok(Listener { name, address, stopping, open, acceptor })
    }

    /// The address listened on, with its real port.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Closes the socket and, for reading, all connections; their threads have ended when this returns.
    pub fn stop(self) {
        self.stopping.store(true, Ordering::Relaxed);
        // A connection of our own wakes the acceptor.
        let mut wake = self.address;
        if wake.ip().is_unspecified() {
            wake.set_ip(match wake {
                SocketAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
                SocketAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
            });
        }
        let woken = TcpStream::connect_timeout(&wake, Duration::from_secs(1));
        let accepting = woken.is_err() || self.acceptor.join().is_err();
        if accepting {
            log::error!("{}: the accept thread did not end well", self.name);
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

/// What the accept thread works with.
struct Acceptor<Serve> {
    name: &'static str,
    socket: TcpListener,
    stopping: Arc<AtomicBool>,
    open: Arc<Open>,
    serve: Arc<Serve>,
}

impl<Serve: Fn(u64, Arc<TcpStream>) + Send + Sync + 'static> Acceptor<Serve> {
    fn run(self) {
        let mut next_id = 0;
        loop {
            let accepted = self.socket.accept();
            if self.stopping.load(Ordering::Relaxed) {
                return;
            }
            reap(&self.open);
            match accepted {
                Ok((stream, peer)) => {
                    next_id += 1;
                    if let Err(error) = self.hand_over(stream, next_id) {
                        log::warn!("{}: connection from {peer}: {error}", self.name);
                    }
                }
                Err(error) => {
                    log::warn!("{}: accepting: {error}", self.name);
                    std::thread::sleep(ACCEPT_PAUSE);
                }
            }
        }
    }

    fn hand_over(&self, stream: TcpStream, id: u64) -> io::Result<()> {
        let mut connections = lock(&self.open.connections);
        if connections.len() >= MAX_CONNECTIONS {
            return Err(io::Error::other(format!("closed: {MAX_CONNECTIONS} connections are open already")));
        }
        // Shared, not cloned: a connection costs the process one descriptor.
        let stream = Arc::new(stream);
        let ours = stream.clone();
        let (serve, open) = (self.serve.clone(), self.open.clone());
        let thread = std::thread::Builder::new().name(format!("{}-{id}", self.name)).spawn(move || {
            let _ended = Ended { id, open };
            serve(id, stream);
        })?;
        connections.insert(id, (ours, thread));
        Ok(())
    }
}

/// Tells, when its thread ends in whatever way, that the thread can be joined.
struct Ended {
    id: u64,
    open: Arc<Open>,
}

impl Drop for Ended {
    fn drop(&mut self) {
        lock(&self.open.ended).push(self.id);
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::sync::Weak;

    #[test]
    fn a_connection_has_one_descriptor_which_goes_with_it() {
        let seen: Arc<Mutex<Vec<Weak<TcpStream>>>> = Arc::default();
        let noted = seen.clone();
        let serve = move |_, stream: Arc<TcpStream>| {
            lock(&noted).push(Arc::downgrade(&stream));
            let _ = (&*stream).write_all(b"x");
            let _ = (&*stream).read(&mut [0]);
        };
        let listener = Listener::start("test", TcpListener::bind("127.0.0.1:0").unwrap(), serve).unwrap();
        let mut client = TcpStream::connect(listener.address()).unwrap();
        client.read_exact(&mut [0]).unwrap();
        let held = lock(&seen)[0].strong_count();
        assert_eq!(held, 2, "its thread has it, and the listener");
        listener.stop();
        assert_eq!(lock(&seen)[0].strong_count(), 0);
    }
}
