//! The HTTP endpoint: the Channel Adapter between a `POST` and the channel.
//!
//! Clients connect to the [`server`], which reads whole and valid requests and forwards
//! them over a private connection to the [`backend`]: `tiny_http`, whose one thread runs the handlers of
//! [`api`] and [`dashboard`]. No handler waits for a broker: a response that is not known yet is sent later
//! through a [`responder`].
//!
//! A file may import from its own folder and from the ones below it in this order:
//!
//! 1. this file
//! 2. `server`: connections, TLS, heads and bodies, limits, the access policy, the access log
//! 3. `backend`: `tiny_http`, the private connection to it, routes and router
//! 4. `api`: the handlers of all routes but the dashboard's
//! 5. `dashboard`: the page, and the events that it shows
//! 6. the files of this folder: `handed_on`, `held`, `responder`, `reply`, `response`, `submit`, `queues`,
//!    `settings`, `static_files`, `constant_time`, `decimal`

mod api;
mod backend;
mod constant_time;
mod dashboard;
mod decimal;
mod handed_on;
mod held;
mod queues;
mod reply;
mod responder;
mod response;
mod server;
mod settings;
mod static_files;
mod submit;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use net::sync::Worker;

use crate::error::{Error, Result};
use api::dead_letters::ReplayQueue;
use api::enviar::ChannelApi;
pub use api::health::{Monitoring, Readiness};
use api::letter_search::SearchQueue;
use api::message_api::MessageApi;
use api::metadata_cache::MetadataWorker;
pub use api::metadata_cache::{Partition, PartitionOffsets, Topic, TopicDirectory};
use api::queues::QueueApi;
use api::rest::RestApi;
pub use api::rest::messages::{
    HeaderView, MessageSearch, MessageSource, MessageView, NoMessages, PlaceOfMessage, SearchFrom,
    SearchedMessages, SearchedPartition,
};
use api::rest::messages::{LookWorkers, MessagesApi};
use backend::{Backend, Router};
use dashboard::Dashboard;
pub use dashboard::{
    AttemptedState, DashboardSource, DeadLetterView, DeadLettersView, Excerpt, GroupState, LeaseState,
    LeasedQueueState, MemberState, MessagePlace, PartitionState, QueueState, Settled,
};
pub use queues::{
    Ask, Caller, ChangeRequest, FORWARDED, LeaseChange, OnChanged, QueueCounts, QueueName, QueueRefusal,
    Queues, ReceiptOutcome, WaitingWorker,
};
pub use server::ANSWER_GRACE;
use server::{Limits, Server, ServerParts};
pub use settings::{AccessToken, EndpointSettings, LEGAL_TOKEN, check_token};
pub use submit::{Submit, SubmitTo};

/// The services that an endpoint for messages needs.
pub struct Services {
    /// Takes the messages of `/enviar`.
    pub channel: Box<dyn Submit>,
    /// Takes the records of `/topics/{topic}`.
    pub topics: Arc<dyn SubmitTo>,
    /// Describes topics and brokers.
    pub directory: Box<dyn TopicDirectory>,
    /// Reads the messages of any topic.
    pub messages: Arc<dyn MessageSource>,
    /// Describes the consumer group and its dead letters.
    pub dashboard: Arc<dyn DashboardSource>,
    /// Hands messages out.
    pub queues: Arc<dyn Queues>,
}

/// The most connections of an endpoint for metrics alone.
const MONITORING_CONNECTIONS: usize = 64;

/// The running endpoint. Dropped without [`HttpServer::stop`], it ends at once.
pub struct HttpServer {
    server: Server,
    backend: Backend,
    _workers: Option<Workers>,
    scheme: &'static str,
}

/// The threads of an endpoint for messages besides those of server and backend. They are stopped in this
/// order, after the backend: the dashboard's end gives up a replay or a search under way.
struct Workers {
    _metadata: MetadataWorker,
    _looks: LookWorkers,
    _dashboard: Dashboard,
    _replay: Vec<Worker>,
    _search: Vec<Worker>,
}

impl Workers {
    /// Starts the threads, and makes the handlers that use them.
    fn start(
        settings: &EndpointSettings,
        limits: &Limits,
        services: Services,
    ) -> Result<(Workers, MessageApi)> {
        let Services { channel, topics, directory, messages, dashboard: source, queues } = services;
        let dashboard = Dashboard::start(Arc::clone(&source), &settings.topic, limits.max_connections)?;
        let (replays, replay) = ReplayQueue::start(Arc::clone(&source), dashboard.feed())?;
        let (searches, search) = SearchQueue::start(source)?;
        let metadata = MetadataWorker::start(directory, settings.max_pending_bytes)?;
        let (looks, look_workers) = LookWorkers::start(messages)?;
        let answer_timeout = settings.answer_timeout;
        let messages = MessagesApi { looks, answer_timeout };
        let topics = dashboard.record_topics(topics);
        let EndpointSettings { any_payload, key_pointer, max_body_bytes, .. } = settings.clone();
        let json_topic = (!any_payload).then(|| settings.topic.clone());
        let rest = RestApi { topics, metadata: metadata.cache(), json_topic, answer_timeout };
        let channel = dashboard.record(channel);
        let (topic, group) = (settings.topic.clone(), settings.group.clone());
        let longest_lease = settings.longest_lease;
        let queues =
            QueueApi { queues, metadata: metadata.cache(), topic, group, longest_lease, answer_timeout };
        let channel = ChannelApi { channel, topic: settings.topic.clone(), any_payload, key_pointer };
        let feed = dashboard.feed();
        let api = MessageApi {
            channel,
            rest,
            messages,
            queues,
            feed,
            replays,
            searches,
            answer_timeout,
            max_body_bytes,
        };
        let workers = Workers {
            _metadata: metadata,
            _looks: look_workers,
            _dashboard: dashboard,
            _replay: replay,
            _search: search,
        };
        Ok((workers, api))
    }
}

impl HttpServer {
    /// Starts an endpoint for messages at `settings.listen`, which also exposes `monitoring`.
    ///
    /// # Errors
    /// The address is invalid, is in use, or can be reached by other machines without protection; a file of
    /// the token or of TLS cannot be used; the private socket cannot be created; the system gives no
    /// descriptor or thread.
    pub fn start(
        settings: &EndpointSettings,
        services: Services,
        monitoring: Monitoring,
    ) -> Result<HttpServer> {
        let limits = Limits::of(settings);
        let (workers, api) = Workers::start(settings, &limits, services)?;
        let mut server = HttpServer::open("producer_api.listen", settings, limits, Some(api), monitoring)?;
        server._workers = Some(workers);
        Ok(server)
    }

    /// Starts an endpoint that only exposes `monitoring`, at the address `listen` of the setting `key`,
    /// which other machines may reach if `anyone_may_scrape`.
    ///
    /// # Errors
    /// The errors of [`HttpServer::start`].
    pub fn start_monitoring(
        key: &str,
        listen: &str,
        anyone_may_scrape: bool,
        monitoring: Monitoring,
    ) -> Result<HttpServer> {
        let settings = EndpointSettings {
            listen: listen.to_owned(),
            anyone_may_send: anyone_may_scrape,
            max_connections: MONITORING_CONNECTIONS,
            ..EndpointSettings::default()
        };
        HttpServer::open(key, &settings, Limits::of(&settings), None, monitoring)
    }

    fn open(
        key: &str,
        settings: &EndpointSettings,
        limits: Limits,
        api: Option<MessageApi>,
        monitoring: Monitoring,
    ) -> Result<HttpServer> {
        let parts = ServerParts::prepare(key, settings, limits, monitoring.http.clone())?;
        let parts = parts.beating(monitoring.pulse.clone());
        let scheme = if parts.tls.is_some() { "https" } else { "http" };
        if let Some(api) = &api {
            api.queues.queues.listens_at(parts.address);
        }
        let secret = net::random::hex::<16>()
            .map_err(|error| Error::new("no secret for the HTTP handlers").caused_by(error))?;
        let router = Router::new(secret.into(), Arc::clone(&parts.responses), monitoring, api)?;
        let backend = Backend::start(router)?;
        let address = parts.address;
        let server = Server::open(parts, backend.address());
        let failed = || format!("cannot listen on {address} ({key})");
        let server = server.map_err(|error| Error::new(failed()).caused_by(error))?;
        Ok(HttpServer { server, backend, _workers: None, scheme })
    }

    /// The address on which it listens: with port 0 in the settings, the port that the system chose.
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// The URL for clients on this machine: `http://127.0.0.1:5000/`, or `https:` if they have to speak TLS.
    pub fn url(&self) -> String {
        format!("{}://{}/", self.scheme, net::listener::connectable(self.address()))
    }

    /// Takes no new connection and no new request, finishes the open ones until `deadline`, and ends its
    /// threads. The channel must run meanwhile: it finishes them. A whole request has its response by
    /// [`ANSWER_GRACE`] after the deadline of its message; a request that is open at `deadline` is answered
    /// 503 if its message is certainly not stored, else 504.
    pub fn stop(mut self, deadline: Instant) {
        self.close(deadline);
    }

    fn close(&mut self, deadline: Instant) {
        self.server.close(deadline);
        self.backend.stop();
    }
}

impl Drop for HttpServer {
    fn drop(&mut self) {
        self.close(Instant::now());
    }
}
