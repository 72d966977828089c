//! Which handler answers which request.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tiny_http::{Method, Request};

use super::answer::{Answer, Refusal};
use super::door::DOOR_HEADER;
use super::enviar;
use super::guard::same;
use super::json::MAX_DEPTH;
use super::large_bodies::LargeBodies;
use super::page::File;
use super::rest::{Place, Rest, Target};
use super::tickets::{Mailbox, Ticket, Visit};
use super::watch::{Entry, Replays};
use super::{Monitoring, Submit, body, large_bodies, monitoring, openapi, query};

const TOO_MANY_WATCHERS: Refusal = Refusal::new(
    503,
    "too_many_watchers",
    "As many watch as can be served; nothing is wrong with the channel.",
);

const LONG_ORDER: Refusal =
    Refusal::new(413, "body_too_large", "The names of a hundred dead letters take less than 64 KiB.");

/// How a request is answered.
pub(super) enum Reply {
    /// With this.
    Now(Answer),
    /// By its ticket.
    Later,
}

impl Reply {
    /// What `work` replies, or 500 if it fails.
    pub(super) fn of(work: impl FnOnce() -> Reply) -> Reply {
        catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| {
            log::error!("a handler has failed; see the message on standard error");
            let sentence = "The server has failed; the message may or may not be stored.";
            Reply::Now(Answer::error(500, "internal", sentence))
        })
    }

    /// By ticket, or with the answer that there is at once.
    pub(super) fn later(taken: Result<(), Answer>) -> Reply {
        taken.map_or_else(Reply::Now, |()| Reply::Later)
    }
}

/// What a body is for, as far as the head of its request says it.
enum Purpose {
    /// A message of the channel, with this key.
    Message(Option<Vec<u8>>),
    /// Records.
    Records(Target),
    /// Names of dead letters.
    Replay,
}

impl Purpose {
    /// What the body of a request to `route` is for.
    ///
    /// # Errors
    /// The answer to a request that can have none.
    fn of(request: &Request, route: Route<'_>, query: &str) -> Result<Purpose, Answer> {
        match route {
            Route::Rest(place) => Target::of(request, place).map(Purpose::Records),
            Route::Replay => Ok(Purpose::Replay),
            _ => query::parameter(query, "key").map(Purpose::Message).map_err(|refusal| refusal.answer()),
        }
    }
}

/// What the endpoint has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Route<'a> {
    /// `/enviar`
    Enviar,
    /// `/openapi.json`
    OpenApi,
    /// `/` and what belongs to it
    Page(File),
    /// `/events`
    Events,
    /// `/dead-letters/replay`
    Replay,
    /// `/healthz`
    Health,
    /// `/readyz`
    Readiness,
    /// `/metrics`
    Metrics,
    /// The REST API.
    Rest(Place<'a>),
}

/// The [`template`] of a path at which there is nothing.
pub(super) const NO_ROUTE: &str = "none";

/// The template of the route that a target asks for, of which there are few, whatever clients ask for.
pub(super) fn template(target: &[u8]) -> &'static str {
    let target = str::from_utf8(target).unwrap_or_default();
    Route::at(query::split(target).0).map_or(NO_ROUTE, Route::template)
}

impl<'a> Route<'a> {
    /// What is at a path.
    pub(super) fn at(path: &'a str) -> Option<Route<'a>> {
        match path {
            "/enviar" => Some(Route::Enviar),
            "/openapi.json" => Some(Route::OpenApi),
            "/events" => Some(Route::Events),
            "/dead-letters/replay" => Some(Route::Replay),
            "/healthz" => Some(Route::Health),
            "/readyz" => Some(Route::Readiness),
            "/metrics" => Some(Route::Metrics),
            path => File::at(path).map(Route::Page).or_else(|| Place::at(path).map(Route::Rest)),
        }
    }

    /// The methods that it takes, as `Allow` lists them.
    pub(super) fn methods(self) -> &'static str {
        match self {
            Route::Enviar | Route::Replay => "POST",
            Route::Health | Route::Readiness | Route::Metrics | Route::OpenApi => "GET, HEAD",
            Route::Page(_) | Route::Events => "GET, HEAD",
            Route::Rest(place) => place.methods(),
        }
    }

    /// Its path, with a name in braces for each part that clients choose.
    pub(super) fn template(self) -> &'static str {
        match self {
            Route::Enviar => "/enviar",
            Route::OpenApi => "/openapi.json",
            Route::Health => "/healthz",
            Route::Readiness => "/readyz",
            Route::Metrics => "/metrics",
            Route::Page(file) => file.path(),
            Route::Events => "/events",
            Route::Replay => "/dead-letters/replay",
            Route::Rest(place) => place.template(),
        }
    }
}

/// What the handlers work with.
pub(super) struct Routes {
    secret: Arc<str>,
    mailbox: Arc<Mailbox>,
    monitoring: Monitoring,
    desk: Option<(Arc<Desk>, LargeBodies)>,
}

/// Who takes messages.
pub(super) struct Desk {
    /// Those of `/enviar`.
    pub(super) channel: Box<dyn Submit>,
    /// Those for any topic.
    pub(super) rest: Rest,
    /// What is shown while it happens.
    pub(super) watch: Entry,
    /// Those who replay dead letters.
    pub(super) replays: Replays,
    /// How long each may take.
    pub(super) answer_timeout: Duration,
}

impl Desk {
    /// Takes a body, whose fate is to be known by `deadline`.
    fn take(&self, purpose: Purpose, body: Vec<u8>, deadline: Instant, ticket: Ticket) -> Reply {
        match purpose {
            Purpose::Message(key) => enviar::post(body, key, self.channel.as_ref(), deadline, ticket),
            Purpose::Records(target) => self.rest.post(target, &body, deadline, ticket),
            Purpose::Replay => {
                let checked = body::check(&body, MAX_DEPTH);
                Reply::later(checked.and_then(|()| self.replays.post(&body, self.answer_timeout, ticket)))
            }
        }
    }
}

impl Routes {
    /// Handlers that answer only those who know `secret`. They tell what `monitoring` says and, with a
    /// `desk`, take messages, too.
    ///
    /// # Errors
    /// The system has no thread left.
    pub(super) fn new(
        secret: Arc<str>,
        mailbox: Arc<Mailbox>,
        monitoring: Monitoring,
        desk: Option<Desk>,
    ) -> crate::error::Result<Routes> {
        let staffed = |desk| LargeBodies::start(&mailbox).map(|bodies| (Arc::new(desk), bodies));
        let desk = desk.map(staffed).transpose()?;
        Ok(Routes { secret, mailbox, monitoring, desk })
    }

    /// What the door has to know.
    pub(super) fn secret(&self) -> Arc<str> {
        Arc::clone(&self.secret)
    }

    /// Answers a request, or sees to it that its ticket will be filled in.
    pub(super) fn reply(&self, request: &mut Request) -> Reply {
        let Some(visit) = self.let_in(request) else {
            return Reply::Now(Answer::error(403, "forbidden", "This socket is the front door's alone."));
        };
        let id = visit.request;
        let reply = self.route(request, visit);
        if let Reply::Now(answer) = &reply
            && log::log_enabled!(log::Level::Debug)
        {
            let (method, client) = (request.method(), client_of(request));
            log::debug!("{method} of {client} was answered {}: request={id}", answer.status);
        }
        reply
    }

    fn route(&self, request: &mut Request, visit: Visit) -> Reply {
        let url = request.url().to_owned();
        let (path, query) = query::split(&url);
        let Some(route) = Route::at(path).filter(|route| self.has(*route)) else {
            return Reply::Now(Answer::error(404, "not_found", "There is nothing at this path."));
        };
        if !allows(route.methods(), request.method()) {
            return Reply::Now(Answer::method_not_allowed(route.methods()));
        }
        let ticket = || Ticket::new(&self.mailbox, visit);
        match (route, &self.desk) {
            (Route::Metrics, _) => Reply::Now(self.monitoring.metrics()),
            (Route::Readiness, _) => Reply::Now(self.monitoring.ready()),
            (Route::OpenApi, _) => Reply::Now(openapi::answer(request)),
            (Route::Page(file), _) => Reply::Now(file.answer(request)),
            (Route::Health, _) | (_, None) => Reply::Now(monitoring::healthy()),
            (Route::Events, Some((desk, _))) => {
                Reply::later(desk.watch.join(ticket()).map_err(|_| TOO_MANY_WATCHERS.answer()))
            }
            (Route::Rest(place), Some((desk, _))) if *request.method() != Method::Post => {
                desk.rest.get(place, ticket())
            }
            (_, Some((desk, bodies))) => {
                let purpose = Purpose::of(request, route, query);
                let taken = purpose.and_then(|purpose| self.take(desk, bodies, purpose, request, visit));
                taken.unwrap_or_else(Reply::Now)
            }
        }
    }

    /// Takes the body of a request.
    fn take(
        &self,
        desk: &Arc<Desk>,
        bodies: &LargeBodies,
        purpose: Purpose,
        request: &mut Request,
        visit: Visit,
    ) -> Result<Reply, Answer> {
        let deadline = Instant::now() + desk.answer_timeout;
        let body = body::read(request)?;
        if !large_bodies::is_large(body.len()) {
            return Ok(desk.take(purpose, body, deadline, Ticket::new(&self.mailbox, visit)));
        }
        if matches!(purpose, Purpose::Replay) {
            return Err(LONG_ORDER.answer());
        }
        let desk = Arc::clone(desk);
        bodies.hand_on(visit, deadline, move |ticket| desk.take(purpose, body, deadline, ticket))?;
        Ok(Reply::Later)
    }

    /// Whether this program has the route.
    fn has(&self, route: Route<'_>) -> bool {
        match route {
            Route::Health | Route::Metrics => true,
            Route::Readiness => self.monitoring.knows_readiness(),
            _ => self.desk.is_some(),
        }
    }

    /// The visit, if the request came through the door.
    fn let_in(&self, request: &Request) -> Option<Visit> {
        let mut words = door_words(request)?;
        let secret = words.next().filter(|word| same(word.as_bytes(), self.secret.as_bytes()));
        secret.and_then(|_| words.next()?.parse().ok())
    }
}

/// Whether a list as `Allow` has it names a method.
fn allows(methods: &str, method: &Method) -> bool {
    methods.split(", ").any(|name| name == method.as_str())
}

/// What the door says about a request: the secret, the visit with the request's id, the client's address.
fn door_words(request: &Request) -> Option<impl Iterator<Item = &str>> {
    let header = request.headers().iter().find(|header| header.field.equiv(DOOR_HEADER))?;
    Some(header.value.as_str().split(' '))
}

/// The address of the client, for the log.
fn client_of(request: &Request) -> &str {
    door_words(request).and_then(|mut words| words.nth(2)).unwrap_or("nobody")
}
