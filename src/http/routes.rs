//! Which handler answers which request.

use std::sync::Arc;
use std::time::Duration;

use tiny_http::{Method, Request};

use super::answer::Answer;
use super::door::DOOR_HEADER;
use super::enviar;
use super::tickets::{Mailbox, Ticket, Visit};
use super::{Backing, Monitoring, monitoring, query};

/// How a request is answered.
pub(super) enum Reply {
    /// With this.
    Now(Answer),
    /// By its ticket.
    Later,
}

/// What the endpoint has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Route {
    /// `/enviar`
    Enviar,
    /// `/healthz`
    Health,
    /// `/readyz`
    Readiness,
    /// `/metrics`
    Metrics,
}

/// The [`template`] of a path at which there is nothing.
pub(super) const NO_ROUTE: &str = "none";

/// The template of the route that a target asks for, of which there are few, whatever clients ask for.
pub(super) fn template(target: &[u8]) -> &'static str {
    let target = str::from_utf8(target).unwrap_or_default();
    Route::at(query::split(target).0).map_or(NO_ROUTE, Route::template)
}

impl Route {
    /// What is at a path.
    fn at(path: &str) -> Option<Route> {
        match path {
            "/enviar" => Some(Route::Enviar),
            "/healthz" => Some(Route::Health),
            "/readyz" => Some(Route::Readiness),
            "/metrics" => Some(Route::Metrics),
            _ => None,
        }
    }

    /// The methods that it takes, as `Allow` lists them.
    fn methods(self) -> &'static str {
        match self {
            Route::Enviar => "POST",
            Route::Health | Route::Readiness | Route::Metrics => "GET, HEAD",
        }
    }

    /// Its path, with a name in braces for each part that clients choose.
    fn template(self) -> &'static str {
        match self {
            Route::Enviar => "/enviar",
            Route::Health => "/healthz",
            Route::Readiness => "/readyz",
            Route::Metrics => "/metrics",
        }
    }
}

/// What the handlers work with.
pub(super) struct Routes {
    secret: Arc<str>,
    mailbox: Arc<Mailbox>,
    monitoring: Monitoring,
    backing: Option<(Backing, Duration)>,
}

impl Routes {
    /// Handlers that answer only those who know `secret`. They tell what `monitoring` says and, unless there
    /// is no `backing`, have its routes, too; that has the time given beside it for each message.
    pub(super) fn new(
        secret: Arc<str>,
        mailbox: Arc<Mailbox>,
        monitoring: Monitoring,
        backing: Option<(Backing, Duration)>,
    ) -> Routes {
        Routes { secret, mailbox, monitoring, backing }
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
        let (path, query) = query::split(request.url());
        match (Route::at(path), &self.backing, request.method()) {
            (Some(route), _, Method::Get | Method::Head) if route.methods() == "GET, HEAD" => {
                Reply::Now(self.told(route))
            }
            (Some(Route::Enviar), Some((backing, answer_timeout)), Method::Post) => {
                match query::parameter(query, "key") {
                    Ok(key) => {
                        let ticket = Ticket::new(&self.mailbox, visit);
                        enviar::post(request, key, backing.channel.as_ref(), *answer_timeout, ticket)
                    }
                    Err(refusal) => Reply::Now(refusal.answer()),
                }
            }
            (Some(Route::Enviar), None, _) | (None, _, _) => Reply::Now(not_found()),
            (Some(route), _, _) => Reply::Now(Answer::method_not_allowed(route.methods())),
        }
    }

    /// What the program tells of itself.
    fn told(&self, route: Route) -> Answer {
        match route {
            Route::Health => monitoring::healthy(),
            Route::Readiness if self.monitoring.knows_readiness() => self.monitoring.ready(),
            Route::Metrics => self.monitoring.metrics(),
            Route::Readiness | Route::Enviar => not_found(),
        }
    }

    /// The visit, if the request came through the door.
    fn let_in(&self, request: &Request) -> Option<Visit> {
        let mut words = door_words(request)?;
        let secret = words.next().filter(|word| same(word.as_bytes(), self.secret.as_bytes()));
        secret.and_then(|_| words.next()?.parse().ok())
    }
}

fn not_found() -> Answer {
    Answer::error(404, "not_found", "There is nothing at this path.")
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

/// Compares without telling by its duration how far two words agree.
fn same(one: &[u8], other: &[u8]) -> bool {
    one.len() == other.len()
        && one.iter().zip(other).fold(0, |differences, (a, b)| differences | (a ^ b)) == 0
}
