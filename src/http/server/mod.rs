//! The HTTP server before `tiny_http`: one thread that accepts connections under limits and deadlines, reads
//! whole and valid requests, and forwards them over one private connection to the handlers.
//!
//! The way of a request:
//!
//! 1. [`connection`] reads it over a plain socket or TLS ([`transport`]), [`head`] and [`chunks`] check it; a
//!    request that breaks a rule, comes from a page of another site ([`origin`], [`cors`]), or lacks the
//!    token ([`access_policy`]), is refused here.
//! 2. [`upstream`](super::backend::upstream) pipelines it to the handlers, with a new head.
//! 3. [`relay`](super::backend::relay) parses the handlers' replies, which come in the same order. A deferred
//!    reply keeps the request in its slot ([`connections`]) until its [responder](super::responder) is used.
//! 4. [`response_writer`] frames the response for the client, [`access_log`] counts and logs it.
//!
//! A responder can also open a stream ([`streams`]). Where there are users, a request whose password is not
//! known to be right waits ([`authentication`]) until a thread has checked it ([`user_access`]).
//!
//! Where no descriptor is left, new connections are [`guests`].
//!
//! [`event_loop`] waits for sockets and deadlines, [`exchanges`] moves requests and responses between the two
//! sides, [`setup`] makes the parts of a server from its settings.

mod access_log;
mod access_policy;
mod authentication;
mod chunks;
mod connection;
mod connection_step;
mod connections;
mod cors;
mod event_loop;
mod exchanges;
mod fd_limit;
mod guests;
mod head;
mod head_fields;
mod limits;
mod log_throttle;
mod origin;
mod read_result;
mod response_writer;
mod secret_file;
mod setup;
mod streams;
mod tls;
mod transport;
mod user_access;

#[cfg(test)]
mod tests;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Instant;

use net::sync::Worker;
use socket2::{Domain, Protocol, Socket, Type};

use super::backend::BackendAddress;
use super::responder::ResponseQueue;
use event_loop::EventLoop;
pub use limits::ANSWER_GRACE;
pub(crate) use limits::Limits;
pub(crate) use setup::ServerParts;

/// The running server.
pub(crate) struct Server {
    address: SocketAddr,
    responses: Arc<ResponseQueue>,
    thread: Option<Worker>,
}

impl Server {
    /// Opens a server for the handlers at `backend`.
    ///
    /// # Errors
    /// The address cannot be listened on, or the system gives no descriptor or thread.
    pub(crate) fn open(parts: ServerParts, backend: BackendAddress) -> io::Result<Server> {
        let listener = listen(parts.address)?;
        let address = listener.local_addr()?;
        let responses = Arc::clone(&parts.responses);
        let event_loop = EventLoop::new(listener, parts, backend)?;
        let thread = Worker::start("http-server", move |_| event_loop.run())?;
        Ok(Server { address, responses, thread: Some(thread) })
    }

    /// The address for clients.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Takes no new connection and no new request, finishes the open ones until `deadline`, and ends.
    pub(crate) fn close(&mut self, deadline: Instant) {
        self.responses.stop(deadline);
        if let Some(thread) = self.thread.take() {
            thread.join();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.close(Instant::now());
    }
}
/// A listener with room for a burst of clients.
fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?; // a port whose old connections still linger can be taken at once
    socket.bind(&address.into())?;
    socket.listen(limits::BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}
