//! The producer's endpoint over HTTP: the Channel Adapter between a `POST` and the channel.
//!
//! Clients meet the front `door`; whole, valid requests go on over a private connection to `tiny_http`
//! (`handlers`), whose one thread picks a handler (`routes`). `enviar` hands the message to the channel
//! and a ticket (`tickets`) to the door, so that nobody waits behind a message that waits for its
//! partition. `monitoring` is answered by the handlers' thread itself, so it waits for nothing.

mod answer;
mod descriptors;
mod door;
mod enviar;
mod handlers;
mod json;
mod monitoring;
mod query;
mod routes;
mod tickets;

use std::net::{SocketAddr, ToSocketAddrs};
use std::time::Instant;

use crate::channel::sender::{Done, Outgoing, Sender, SubmitError};
use crate::config::ProducerApiSettings;
use crate::error::{Error, Result};
use crate::request_id::RequestIds;
pub use door::ANSWER_GRACE;
use door::{Door, Ledger, Limits};
use handlers::Handlers;
pub use monitoring::{Monitoring, Readiness};
use routes::Routes;

/// What the endpoint needs of the channel: somebody who takes messages.
pub trait Submit: Send + 'static {
    /// Takes a message without blocking. `done` is called exactly once, from any thread, if and only if this
    /// returns `Ok`, and by the message's deadline.
    ///
    /// # Errors
    /// The message was not taken and is certainly not stored.
    fn submit(&self, message: Outgoing, done: Done) -> Result<(), SubmitError>;
}

impl Submit for Sender {
    fn submit(&self, message: Outgoing, done: Done) -> Result<(), SubmitError> {
        Sender::submit(self, message, done)
    }
}

/// What stands behind the endpoint.
pub struct Backing {
    /// Takes what is posted to `/enviar`.
    pub channel: Box<dyn Submit>,
}

/// Connections that an endpoint has at a time which only tells of its program.
const MONITORING_CONNECTIONS: usize = 64;

/// The running endpoint. Dropped without [`HttpServer::stop`], it ends at once.
pub struct HttpServer {
    door: Door,
    handlers: Handlers,
}

impl HttpServer {
    /// Starts the endpoint at `settings.listen`; `monitoring` is what the program tells of itself there.
    ///
    /// # Errors
    /// The address is not one, or is taken; there is no place for the private socket; the system has no
    /// descriptor or thread left.
    pub fn start(
        settings: &ProducerApiSettings,
        backing: Backing,
        monitoring: Monitoring,
    ) -> Result<HttpServer> {
        HttpServer::open("producer_api.listen", settings, Some(backing), monitoring)
    }

    /// Starts an endpoint at `listen`, which the setting `key` says, that has only what `monitoring` tells.
    ///
    /// # Errors
    /// As [`HttpServer::start`].
    pub fn start_monitoring(key: &str, listen: &str, monitoring: Monitoring) -> Result<HttpServer> {
        let settings = ProducerApiSettings {
            listen: listen.to_owned(),
            max_connections: MONITORING_CONNECTIONS,
            ..ProducerApiSettings::default()
        };
        HttpServer::open(key, &settings, None, monitoring)
    }

    fn open(
        key: &str,
        settings: &ProducerApiSettings,
        backing: Option<Backing>,
        monitoring: Monitoring,
    ) -> Result<HttpServer> {
        let address = resolve(key, &settings.listen)?;
        let (mailbox, poll) = tickets::mailbox(door::WAKER)
            .map_err(|error| Error::new("the front door cannot be set up").caused_by(error))?;
        let secret = handlers::random_word()?.into();
        let ledger = Ledger::new(RequestIds::new()?, settings.access_log, monitoring.http.clone());
        let backing = backing.map(|backing| (backing, settings.answer_timeout()));
        let routes = Routes::new(secret, mailbox.clone(), monitoring, backing);
        let handlers = Handlers::start(routes)?;
        let door = Door::open(address, (limits(settings), ledger), handlers.entrance(), mailbox, poll);
        let door =
            door.map_err(|error| Error::new(format!("cannot listen on {address} ({key})")).caused_by(error))?;
        Ok(HttpServer { door, handlers })
    }

    /// Where it listens: with port 0 in the settings, the port that the system chose.
    pub fn address(&self) -> SocketAddr {
        self.door.address()
    }

    /// Takes no new connection and no new request, finishes the open ones until `deadline`, and ends its
    /// threads. The channel must go on meanwhile: it is what finishes them. A request that is whole has its
    /// answer by [`ANSWER_GRACE`] after the channel's deadline for its message; what is still open at
    /// `deadline` is answered 503 if it certainly was not stored, else 504.
    pub fn stop(mut self, deadline: Instant) {
        self.close(deadline);
    }

    fn close(&mut self, deadline: Instant) {
        self.door.close(deadline);
        self.handlers.stop();
    }
}

impl Drop for HttpServer {
    fn drop(&mut self) {
        self.close(Instant::now());
    }
}

fn resolve(key: &str, listen: &str) -> Result<SocketAddr> {
    let what = || format!("{key}: `{listen}` is not an address like 127.0.0.1:5000");
    let mut addresses = listen.to_socket_addrs().map_err(|error| Error::new(what()).caused_by(error))?;
    addresses.next().ok_or_else(|| Error::new(what()))
}

fn limits(settings: &ProducerApiSettings) -> Limits {
    Limits {
        max_connections: descriptors::affordable(settings.max_connections),
        max_body_bytes: settings.max_body_bytes,
        head_timeout: settings.head_timeout(),
        body_timeout: settings.body_timeout(),
        idle_timeout: settings.idle_timeout(),
        answer_timeout: settings.answer_timeout(),
    }
}
