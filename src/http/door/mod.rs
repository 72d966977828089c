//! The front door before `tiny_http`: one thread that accepts the clients' connections under limits and
//! deadlines, reads whole and valid requests, and brings them over one private connection to the handlers.
//!
//! `tiny_http` alone has no limits and no deadlines, and some bytes abort its process; so none but ours reach
//! it. A request's way:
//!
//! 1. [`client`] reads it over a plain socket or TLS ([`transport`]), [`head`] and [`chunks`] check it; what
//!    breaks a rule, is sent by another site's page ([`site`]), or does not show the token
//!    ([`crate::http::guard`]), is answered here.
//! 2. [`upstream`] pipelines it to the handlers, with a head of our own making.
//! 3. [`relay`] takes the handlers' answers, which come in the same order. An answer "by ticket" leaves the
//!    client in its place ([`slots`]) until the ticket is filled in ([`crate::http::tickets`]).
//! 4. [`output`] frames the answer for the client, [`ledger`] counts it and shows it in the access log.
//!
//! A ticket may become an answer that goes on ([`streams`]).
//!
//! [`event_loop`] waits for sockets and deadlines, [`exchanges`] moves requests and answers between the two
//! sides.

mod chunks;
mod client;
mod event_loop;
mod exchanges;
mod head;
mod ledger;
mod limits;
mod output;
mod relay;
mod site;
mod slots;
mod streams;
#[cfg(feature = "tls")]
mod tls;
#[cfg(not(feature = "tls"))]
#[path = "without_tls.rs"]
mod tls;
mod transport;
mod troubles;
mod upstream;

#[cfg(test)]
mod tests;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Instant;

use socket2::{Domain, Protocol, Socket, Type};

pub(crate) use event_loop::WAKER;
pub(crate) use ledger::Ledger;
pub use limits::ANSWER_GRACE;
pub(crate) use limits::Limits;
pub(crate) use tls::Acceptor;
pub(crate) use upstream::DOOR_HEADER;

use super::guard::Guard;
use super::tickets::Mailbox;
use event_loop::EventLoop;

/// The running front door.
pub(crate) struct Door {
    address: SocketAddr,
    mailbox: Arc<Mailbox>,
    thread: Option<JoinHandle<()>>,
}

/// Who is let in, and how.
pub(crate) struct Gate {
    /// Decides by a request's head.
    pub(crate) guard: Guard,
    /// Clients have to speak TLS.
    pub(crate) tls: Option<Acceptor>,
}

/// The way from the door to the handlers.
pub(crate) struct Entrance {
    /// The handlers' Unix-domain socket.
    pub(crate) path: PathBuf,
    /// What the door has to say there to be let in.
    pub(crate) secret: Arc<str>,
}

impl Door {
    /// Opens the door at `address` for the handlers behind `entrance` to those whom `gate` lets in; requests
    /// are noted in `ledger`.
    ///
    /// # Errors
    /// The address cannot be listened on, or the system has no descriptor or thread for it.
    pub(crate) fn open(
        address: SocketAddr,
        (limits, ledger): (Limits, Ledger),
        gate: Gate,
        entrance: Entrance,
        mailbox: Arc<Mailbox>,
        poll: mio::Poll,
    ) -> io::Result<Door> {
        let listener = listen(address)?;
        let address = listener.local_addr()?;
        let noted = (limits, ledger);
        let event_loop = EventLoop::new(listener, noted, gate, entrance, Arc::clone(&mailbox), poll)?;
        let thread = thread::Builder::new().name("http-door".to_owned()).spawn(move || event_loop.run())?;
        Ok(Door { address, mailbox, thread: Some(thread) })
    }

    /// Where clients connect.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Takes no new connection and no new request, finishes the open ones until `deadline`, and ends.
    pub(crate) fn close(&mut self, deadline: Instant) {
        self.mailbox.stop(deadline);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            log::error!("the front door's thread had failed");
        }
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
