//! The producer's endpoint over HTTP: the Channel Adapter between a `POST` and the channel.
//!
//! Clients meet the front `door`; whole, valid requests go on over a private connection to `tiny_http`
//! (`handlers`), whose one thread picks a handler (`routes`). `enviar` hands the message to the channel
//! and a ticket (`tickets`) to the door, so that nobody waits behind a message that waits for its
//! partition. `rest` does so with records for any topic; what has to be asked of the cluster for that is asked
//! by a thread of its own (`look_ups`). `page` is what a browser shows, `watch` what it is told while it does.
//! `monitoring` is answered by the handlers' thread itself, so it waits for nothing; what would keep that
//! thread busy for long is done by another (`large_bodies`).

mod answer;
mod body;
mod descriptors;
mod door;
mod enviar;
mod fixed;
mod guard;
mod handlers;
mod json;
mod large_bodies;
mod look_ups;
mod monitoring;
mod openapi;
mod outcome;
mod page;
mod private_file;
mod query;
mod rest;
mod routes;
mod tickets;
mod watch;

use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Instant;

use crate::channel::sender::{Done, Outgoing, Sender, SubmitError};
use crate::channel::senders::Senders;
use crate::config::{self, ProducerApiSettings};
use crate::error::{Error, Result};
use crate::request_id::RequestIds;
pub use door::ANSWER_GRACE;
use door::{Acceptor, Door, Gate, Ledger, Limits};
use guard::Guard;
use handlers::Handlers;
use look_ups::LookUps;
pub use look_ups::{Directory, Partition, Topic};
pub use monitoring::{Monitoring, Readiness};
use rest::Rest;
use routes::{Desk, Routes};
pub use watch::{DeadLetter, Excerpt, GroupState, MemberState, Onlooker, PartitionState, Replayed};
use watch::{Replays, Watch};

/// What the endpoint needs of the channel: somebody who takes messages.
pub trait Submit: Send + Sync + 'static {
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

/// Somebody who takes messages for any topic.
pub trait SubmitTo: Send + Sync + 'static {
    /// Takes messages for a topic that exists, without blocking. Each `done` is called exactly once, from any
    /// thread, if and only if its message was taken, and by the message's deadline. One result for each
    /// message; a message that was not taken is certainly not stored.
    fn submit(&self, topic: &str, messages: Vec<(Outgoing, Done)>) -> Vec<Result<(), SubmitError>>;
}

impl SubmitTo for Senders {
    fn submit(&self, topic: &str, messages: Vec<(Outgoing, Done)>) -> Vec<Result<(), SubmitError>> {
        Senders::submit(self, topic, messages)
    }
}

/// What stands behind the endpoint.
pub struct Backing {
    /// Takes what is posted to `/enviar`.
    pub channel: Box<dyn Submit>,
    /// Takes what is posted to `/topics/{topic}`.
    pub topics: Arc<dyn SubmitTo>,
    /// Knows what there is in the cluster.
    pub directory: Box<dyn Directory>,
    /// Sees what the page shows.
    pub onlooker: Arc<dyn Onlooker>,
}

/// Connections that an endpoint has at a time which only tells of its program.
const MONITORING_CONNECTIONS: usize = 64;

/// The running endpoint. Dropped without [`HttpServer::stop`], it ends at once.
pub struct HttpServer {
    door: Door,
    handlers: Handlers,
    _aides: Option<Aides>,
    scheme: &'static str,
}

/// The threads besides the door's and the handlers' of an endpoint that takes messages.
struct Aides {
    look_ups: Arc<LookUps>,
    watch: Watch,
    replays: Option<JoinHandle<()>>,
}

impl Aides {
    /// Starts them for `backing`, and gives those who take messages with it.
    fn start(settings: &ProducerApiSettings, limits: &Limits, backing: Backing) -> Result<(Aides, Desk)> {
        let Backing { channel, topics, directory, onlooker } = backing;
        let watch = Watch::start(Arc::clone(&onlooker), limits.max_connections)?;
        let (replays, replaying) = Replays::start(onlooker, watch.entry())?;
        let look_ups = LookUps::start(directory, settings.queue_bytes)?;
        let (answer_timeout, topics) = (settings.answer_timeout(), watch.noted_topics(topics));
        let rest = Rest { topics, look_ups: Arc::clone(&look_ups), answer_timeout };
        let channel = watch.noted(channel);
        let desk = Desk { channel, rest, watch: watch.entry(), replays, answer_timeout };
        Ok((Aides { look_ups, watch, replays: Some(replaying) }, desk))
    }
}

/// Ends them; the [`Desk`] must be gone before.
impl Drop for Aides {
    fn drop(&mut self) {
        self.look_ups.stop();
        self.watch.stop();
        if let Some(thread) = self.replays.take()
            && thread.join().is_err()
        {
            log::error!("the thread that replays dead letters had failed");
        }
    }
}

impl HttpServer {
    /// Starts the endpoint at `settings.listen`; `monitoring` is what the program tells of itself there.
    ///
    /// # Errors
    /// The address is not one, is taken, or can be reached by others without being guarded; a file of the
    /// token or of TLS cannot be used; there is no place for the private socket; the system has no
    /// descriptor or thread left.
    pub fn start(
        settings: &ProducerApiSettings,
        backing: Backing,
        monitoring: Monitoring,
    ) -> Result<HttpServer> {
        let limits = limits(settings);
        let (aides, desk) = Aides::start(settings, &limits, backing)?;
        let mut server = HttpServer::open("producer_api.listen", (settings, limits), Some(desk), monitoring)?;
        server._aides = Some(aides);
        Ok(server)
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
        HttpServer::open(key, (&settings, limits(&settings)), None, monitoring)
    }

    fn open(
        key: &str,
        (settings, limits): (&ProducerApiSettings, Limits),
        desk: Option<Desk>,
        monitoring: Monitoring,
    ) -> Result<HttpServer> {
        let address = resolve(key, &settings.listen)?;
        let tls = tls(settings)?;
        let guard = Guard::new(settings, address, tls.is_some())?;
        let scheme = if tls.is_some() { "https" } else { "http" };
        let gate = Gate { guard, tls };
        let (mailbox, poll) = tickets::mailbox(door::WAKER)
            .map_err(|error| Error::new("the front door cannot be set up").caused_by(error))?;
        let secret = handlers::random_word()?.into();
        let ledger = Ledger::new(RequestIds::new()?, settings.access_log, monitoring.http.clone());
        let handlers = Handlers::start(Routes::new(secret, mailbox.clone(), monitoring, desk)?)?;
        let door = Door::open(address, (limits, ledger), gate, handlers.entrance(), mailbox, poll);
        let what = || format!("cannot listen on {address} ({key})");
        let door = door.map_err(|error| Error::new(what()).caused_by(error))?;
        Ok(HttpServer { door, handlers, _aides: None, scheme })
    }

    /// Where it listens: with port 0 in the settings, the port that the system chose.
    pub fn address(&self) -> SocketAddr {
        self.door.address()
    }

    /// Where its clients find it: `http://127.0.0.1:5000`, or `https:` if they have to speak TLS.
    pub fn url(&self) -> String {
        format!("{}://{}/", self.scheme, config::connectable(self.address()))
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

/// What clients have to speak TLS with, if they do.
fn tls(settings: &ProducerApiSettings) -> Result<Option<Acceptor>> {
    match (&settings.tls_certificate, &settings.tls_key) {
        (None, None) => Ok(None),
        (Some(certificate), Some(key)) => Acceptor::load(certificate, key).map(Some),
        _ => {
            let what = "producer_api.tls_certificate and producer_api.tls_key must be set together";
            Err(Error::new(what).about_settings())
        }
    }
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
