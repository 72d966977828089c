//! A listening socket: accepts connections, each of which gets a thread of its own.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::descriptors::{Reserve, are_used_up};
use crate::stop::Stop;
use crate::sync::{Mutex, Worker, lock};

/// The address at which a client on this machine reaches a listener on `address`: loopback instead of an
/// unspecified address.
pub fn connectable(mut address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    address
}

/// The most connections at once; one more is closed at once.
const MAX_CONNECTIONS: usize = 1024;
/// The wait after a failed accept, for example with no descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// The shortest time between two warnings of failed accepts.
const WARN_EVERY: Duration = Duration::from_secs(10);

/// How long a listener that stops tries to wake its acceptor.
const WAKE_TIMEOUT: Duration = Duration::from_secs(1);

/// A connection's socket and its thread.
type Connection = (Arc<TcpStream>, Worker);

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
    stop: Stop,
    open: Arc<Open>,
    /// Not a [`Worker`]: it waits for a connection, not for its stop, and is left behind if none can be made.
    acceptor: JoinHandle<()>,
    /// For the connection that wakes the acceptor.
    reserve: Reserve,
}

impl Listener {
    /// Accepts what comes to `socket`; `serve` runs for each connection, on its own thread, with a number
    /// that no other connection of this listener has. Threads and log lines carry `name`.
    ///
    /// # Errors
    /// The socket has no address, or the system gives no thread.
    pub fn start(
        name: &'static str,
        socket: TcpListener,
        serve: impl Fn(u64, Arc<TcpStream>) + Send + Sync + 'static,
    ) -> io::Result<Listener> {
        let address = socket.local_addr()?;
        let stop = Stop::new();
        let open = Arc::new(Open::default());
        let acceptor =
            Acceptor { name, socket, stop: stop.clone(), open: open.clone(), serve: Arc::new(serve) };
        let acceptor =
            std::thread::Builder::new().name(format!("{name}-accept")).spawn(move || acceptor.run())?;
        Ok(Listener { name, address, stop, open, acceptor, reserve: Reserve::of(1) })
    }

    /// The address listened on, with its real port.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Closes the socket and, for reading, all connections; their threads have ended when this returns.
    pub fn stop(mut self) {
        self.stop.ask();
        let accepting = self.wake().is_err() || self.acceptor.join().is_err();
        if accepting {
            log::error!("{}: the accept thread did not end well", self.name);
        }
        let connections: Vec<_> = lock(&self.open.connections).drain().collect();
        for (_, (stream, _)) in &connections {
            let _ = stream.shutdown(Shutdown::Read);
        }
        connections.into_iter().for_each(|(_, (_, worker))| worker.join());
    }

    /// Wakes the acceptor by a connection of our own, also where no other descriptor is left.
    fn wake(&mut self) -> io::Result<()> {
        let address = connectable(self.address);
        let deadline = Instant::now() + WAKE_TIMEOUT;
        loop {
            match TcpStream::connect_timeout(&address, WAKE_TIMEOUT) {
                // One that failed to accept meanwhile needs no waking.
                _ if self.acceptor.is_finished() => return Ok(()),
                Ok(_) => return Ok(()),
                Err(error) if Instant::now() >= deadline => return Err(error),
                Err(error) => {
                    if !(are_used_up(&error) && self.reserve.release()) {
                        std::thread::sleep(ACCEPT_PAUSE);
                    }
                }
            }
        }
    }
}

/// The state of the accept thread.
struct Acceptor<Serve> {
    name: &'static str,
    socket: TcpListener,
    stop: Stop,
    open: Arc<Open>,
    serve: Arc<Serve>,
}

impl<Serve: Fn(u64, Arc<TcpStream>) + Send + Sync + 'static> Acceptor<Serve> {
    fn run(self) {
        let mut next_id = 0;
        let mut failures = AcceptFailures::default();
        loop {
            let accepted = self.socket.accept();
            if self.stop.is_asked() {
                return;
            }
            reap(&self.open);
            match accepted {
                Ok((stream, peer)) => {
                    failures.end(self.name);
                    next_id += 1;
                    if let Err(error) = self.hand_over(stream, next_id) {
                        log::warn!("{}: connection from {peer}: {error}", self.name);
                    }
                }
                Err(error) => {
                    failures.note(self.name, &error, Instant::now());
                    self.stop.wait_for(ACCEPT_PAUSE);
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
        let worker = Worker::start(&format!("{}-{id}", self.name), move |_| {
            let _ended = Ended { id, open };
            serve(id, stream);
        })?;
        connections.insert(id, (ours, worker));
        Ok(())
    }
}

/// Failed accepts, of which one line in a while is logged: there are twenty a second as long as one waits.
#[derive(Default)]
struct AcceptFailures {
    /// When the last one was logged.
    warned: Option<Instant>,
    /// Whether a logged one was the last thing that was told.
    is_told: bool,
}

impl AcceptFailures {
    /// Logs a failure, if that is due; returns whether it is.
    fn note(&mut self, name: &str, error: &io::Error, now: Instant) -> bool {
        let is_due = self.warned.is_none_or(|at| now.saturating_duration_since(at) >= WARN_EVERY);
        if is_due {
            let wait = match are_used_up(error) {
                true => "; who connects waits until there is a descriptor (ulimit -n)",
                false => "",
            };
            log::warn!("{name}: connections cannot be accepted: {error}{wait}");
            (self.warned, self.is_told) = (Some(now), true);
        }
        is_due
    }

    /// A connection was accepted.
    fn end(&mut self, name: &str) {
        if std::mem::take(&mut self.is_told) {
            log::info!("{name}: connections are accepted again");
        }
    }
}

/// Reports, when its thread ends in whatever way, that the thread can be joined.
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
        if let Some((_, worker)) = ended {
            worker.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::sync::Weak;

    #[test]
    fn failures_to_accept_are_logged_once_in_a_while() {
        let (mut failures, start) = (AcceptFailures::default(), Instant::now());
        let error = io::Error::from_raw_os_error(platform::descriptors::NONE_LEFT[1]);
        assert!(failures.note("test", &error, start));
        failures.end("test");
        assert!(!failures.note("test", &error, start + WARN_EVERY / 2));
        assert!(failures.note("test", &error, start + WARN_EVERY));
    }

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
