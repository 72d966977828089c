//! Which handler answers which request.

use std::sync::Arc;
use std::time::Duration;

use tiny_http::{Method, Request};

use super::answer::{Answer, Refusal};
use super::door::DOOR_HEADER;
use super::enviar;
use super::guard::same;
use super::page::File;
use super::rest::{Place, Rest};
use super::tickets::{Mailbox, Ticket, Visit};
use super::watch::{Entry, Replays};
use super::{Monitoring, Submit, body, monitoring, openapi, query};

const TOO_MANY_WATCHERS: Refusal = Refusal::new(
    503,
    "too_many_watchers",
    "As many watch as can be served; nothing is wrong with the channel.",
);

/// How a request is answered.
pub(super) enum Reply {
    /// With this.
    Now(Answer),
    /// By its ticket.
    Later,
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
    desk: Option<Desk>,
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
    fn replay(&self, request: &mut Request, ticket: Ticket) -> Reply {
        let body = match body::read(request) {
            Ok(body) => body,
            Err(refused) => return Reply::Now(refused),
        };
        match self.replays.post(&body, self.answer_timeout, ticket) {
            Ok(()) => Reply::Later,
            Err(answer) => Reply::Now(answer),
        }
    }
}

impl Routes {
    /// Handlers that answer only those who know `secret`. They tell what `monitoring` says and, with a
    /// `desk`, take messages, too.
    pub(super) fn new(
        secret: Arc<str>,
        mailbox: Arc<Mailbox>,
        monitoring: Monitoring,
        desk: Option<Desk>,
    ) -> Routes {
        Routes { secret, mailbox, monitoring, desk }
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
        let ticket = Ticket::new(&self.mailbox, visit);
        match (route, &self.desk) {
            (Route::Metrics, _) => Reply::Now(self.monitoring.metrics()),
            (Route::Readiness, _) => Reply::Now(self.monitoring.ready()),
            (Route::OpenApi, _) => Reply::Now(openapi::answer(request)),
            (Route::Page(file), _) => Reply::Now(file.answer(request)),
            (Route::Enviar, Some(desk)) => match query::parameter(query, "key") {
                Ok(key) => enviar::post(request, key, desk.channel.as_ref(), desk.answer_timeout, ticket),
                Err(refusal) => Reply::Now(refusal.answer()),
            },
            (Route::Events, Some(desk)) => match desk.watch.join(ticket) {
                Ok(()) => Reply::Later,
                Err(_too_many) => Reply::Now(TOO_MANY_WATCHERS.answer()),
            },
            (Route::Replay, Some(desk)) => desk.replay(request, ticket),
            (Route::Rest(place), Some(desk)) => desk.rest.reply(request, place, ticket),
            (Route::Health, _) | (_, None) => Reply::Now(monitoring::healthy()),
        }
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
