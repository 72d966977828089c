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
use super::{Submit, body, query};

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
enum Route<'a> {
    /// `/enviar`
    Enviar,
    /// `/` and what belongs to it
    Page(File),
    /// `/events`
    Events,
    /// `/dead-letters/replay`
    Replay,
    /// The REST API.
    Rest(Place<'a>),
}

impl<'a> Route<'a> {
    /// What is at a path.
    fn at(path: &'a str) -> Option<Route<'a>> {
        match path {
            "/enviar" => Some(Route::Enviar),
            "/events" => Some(Route::Events),
            "/dead-letters/replay" => Some(Route::Replay),
            path => File::at(path).map(Route::Page).or_else(|| Place::at(path).map(Route::Rest)),
        }
    }

    /// The methods that it takes, as `Allow` lists them.
    fn methods(self) -> &'static str {
        match self {
            Route::Enviar | Route::Replay => "POST",
            Route::Page(_) | Route::Events => "GET, HEAD",
            Route::Rest(place) => place.methods(),
        }
    }
}

/// What the handlers work with.
pub(super) struct Routes {
    secret: Arc<str>,
    mailbox: Arc<Mailbox>,
    services: Services,
    answer_timeout: Duration,
}

/// Who does what is asked for.
pub(super) struct Services {
    /// Takes messages.
    pub(super) channel: Box<dyn Submit>,
    /// Takes records for any topic, and tells of the cluster.
    pub(super) rest: Rest,
    /// Shows what happens.
    pub(super) watch: Entry,
    /// Replays dead letters.
    pub(super) replays: Replays,
}

impl Routes {
    /// Handlers that answer only those who know `secret`, and have the work done by `services`, which
    /// have `answer_timeout` for each request.
    pub(super) fn new(
        secret: Arc<str>,
        mailbox: Arc<Mailbox>,
        services: Services,
        answer_timeout: Duration,
    ) -> Routes {
        Routes { secret, mailbox, services, answer_timeout }
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
        let reply = self.route(request, visit);
        if let Reply::Now(answer) = &reply
            && log::log_enabled!(log::Level::Debug)
        {
            log::debug!("{} of {} was answered {}", request.method(), client_of(request), answer.status);
        }
        reply
    }

    fn route(&self, request: &mut Request, visit: Visit) -> Reply {
        let url = request.url().to_owned();
        let (path, query) = query::split(&url);
        let Some(route) = Route::at(path) else {
            return Reply::Now(Answer::error(404, "not_found", "There is nothing at this path."));
        };
        match (route, request.method()) {
            (Route::Enviar, Method::Post) => match query::parameter(query, "key") {
                Ok(key) => {
                    let ticket = Ticket::new(&self.mailbox, visit);
                    enviar::post(request, key, self.services.channel.as_ref(), self.answer_timeout, ticket)
                }
                Err(refusal) => Reply::Now(refusal.answer()),
            },
            (Route::Page(file), Method::Get | Method::Head) => Reply::Now(file.answer(request)),
            (Route::Events, Method::Get | Method::Head) => {
                match self.services.watch.join(Ticket::new(&self.mailbox, visit)) {
                    Ok(()) => Reply::Later,
                    Err(_too_many) => Reply::Now(TOO_MANY_WATCHERS.answer()),
                }
            }
            (Route::Replay, Method::Post) => self.replay(request, visit),
            (Route::Rest(place), method) if allows(place.methods(), method) => {
                self.services.rest.reply(request, place, Ticket::new(&self.mailbox, visit))
            }
            (route, _) => Reply::Now(Answer::method_not_allowed(route.methods())),
        }
    }

    fn replay(&self, request: &mut Request, visit: Visit) -> Reply {
        let body = match body::read(request) {
            Ok(body) => body,
            Err(refused) => return Reply::Now(refused),
        };
        let ticket = Ticket::new(&self.mailbox, visit);
        match self.services.replays.post(&body, self.answer_timeout, ticket) {
            Ok(()) => Reply::Later,
            Err(answer) => Reply::Now(answer),
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

/// What the door says about a request: the secret, the visit, the client's address.
fn door_words(request: &Request) -> Option<impl Iterator<Item = &str>> {
    let header = request.headers().iter().find(|header| header.field.equiv(DOOR_HEADER))?;
    Some(header.value.as_str().split(' '))
}

/// The address of the client, for the log.
fn client_of(request: &Request) -> &str {
    door_words(request).and_then(|mut words| words.nth(2)).unwrap_or("nobody")
}
