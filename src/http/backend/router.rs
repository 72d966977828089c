//! The router: picks the handler of a request, and reads the request's body for it.

use std::sync::Arc;
use std::time::Instant;

use tiny_http::{Method, Request};

use super::body;
use super::large_bodies::{self, LargeBodyWorker};
use super::route::Route;
use super::upstream::PRIVATE_HEADER;
use crate::http::api::content_encoding::ContentEncoding;
use crate::http::api::enviar::ChannelTarget;
use crate::http::api::health::{self, Monitoring};
use crate::http::api::message_api::{BodyKind, MessageApi};
use crate::http::api::openapi;
use crate::http::api::query::Parameters;
use crate::http::api::record_fields::RecordFields;
use crate::http::api::rest::{RecordTarget, RestRoute};
use crate::http::api::uri;
use crate::http::constant_time::equal;
use crate::http::handed_on::CONTENT_ENCODING;
use crate::http::queues::{Caller, FORWARDED};
use crate::http::reply::Reply;
use crate::http::responder::{RequestToken, Responder, ResponseQueue};
use crate::http::response::{ErrorResponse, Response};
use crate::ids::RequestId;

const TOO_MANY_VIEWERS: ErrorResponse = ErrorResponse::new(
    503,
    "too_many_watchers",
    "As many watch as can be served; nothing is wrong with the channel.",
);

const LARGE_REPLAY: ErrorResponse =
    ErrorResponse::new(413, "body_too_large", "The names of a hundred dead letters take less than 64 KiB.");

/// Picks the handler of each request.
pub(crate) struct Router {
    secret: Arc<str>,
    responses: Arc<ResponseQueue>,
    monitoring: Monitoring,
    messages: Option<(Arc<MessageApi>, LargeBodyWorker)>,
}

impl Router {
    /// A router that answers only requests with `secret`. It serves `monitoring` and, if there is one, `api`.
    ///
    /// # Errors
    /// The system gives no thread.
    pub(crate) fn new(
        secret: Arc<str>,
        responses: Arc<ResponseQueue>,
        monitoring: Monitoring,
        api: Option<MessageApi>,
    ) -> crate::error::Result<Router> {
        let with_worker = |api| LargeBodyWorker::start(&responses).map(|worker| (Arc::new(api), worker));
        let messages = api.map(with_worker).transpose()?;
        Ok(Router { secret, responses, monitoring, messages })
    }

    /// The secret that requests must carry.
    pub(crate) fn secret(&self) -> Arc<str> {
        Arc::clone(&self.secret)
    }

    /// Handles a request.
    pub(super) fn handle(&self, request: &mut Request) -> Reply {
        let Some((token, id)) = self.authenticate(request) else {
            let refused = Response::error(403, "forbidden", "This socket is for the HTTP server alone.");
            return Reply::Immediate(refused);
        };
        let reply = self.dispatch(request, token, &id);
        if let Reply::Immediate(response) = &reply
            && log::log_enabled!(log::Level::Debug)
        {
            let (method, client) = (request.method(), client_of(request));
            log::debug!("{method} of {client} was answered {}: request={id}", response.status);
        }
        reply
    }

    fn dispatch(&self, request: &mut Request, token: RequestToken, id: &RequestId) -> Reply {
        let url = request.url().to_owned();
        let (path, query) = uri::split(&url);
        let Some(route) = Route::at(path).filter(|route| self.has(*route)) else {
            return Reply::Immediate(Response::error(404, "not_found", "There is nothing at this path."));
        };
        if !allows(route.methods(), request.method()) {
            return Reply::Immediate(Response::method_not_allowed(route.methods()));
        }
        let responder = || Responder::new(&self.responses, token, id.clone());
        match (route, &self.messages) {
            (Route::Metrics, _) => Reply::Immediate(self.monitoring.metrics()),
            (Route::Readiness, _) => Reply::Immediate(self.monitoring.ready()),
            (Route::ProxyHealth, _) => Reply::Immediate(Response::empty(204)),
            (Route::ProxyReadiness, _) => Reply::Immediate(self.monitoring.ready_for_proxy()),
            (Route::Uptime, _) => Reply::Immediate(self.monitoring.uptime()),
            (Route::OpenApi, _) => Reply::Immediate(openapi::respond(header(request, "If-None-Match"))),
            (Route::Page(file), _) => Reply::Immediate(file.respond(header(request, "If-None-Match"))),
            (Route::Health, _) | (_, None) => Reply::Immediate(health::healthy()),
            (Route::Events, Some((api, _))) => {
                Reply::deferred(api.feed.join(responder()).map_err(|_| TOO_MANY_VIEWERS.response()))
            }
            (Route::Letters, Some((api, _))) => api.searches.get(query, api.answer_timeout, responder()),
            (Route::Rest(route @ (RestRoute::Messages(_) | RestRoute::Message(..))), Some((api, _))) => {
                api.messages.get(route, query, responder())
            }
            (Route::Rest(route), Some((api, _))) if *request.method() != Method::Post => {
                api.rest.get(route, responder())
            }
            (Route::Queue(route), Some((api, _))) if *request.method() != Method::Post => {
                api.queues.get(route, query, responder())
            }
            (_, Some((api, worker))) => {
                let kind = body_kind(api, request, route, query);
                let posted = kind.and_then(|kind| self.post(api, worker, kind, request, (token, id.clone())));
                posted.unwrap_or_else(Reply::Immediate)
            }
        }
    }

    /// Reads the body of a request, and has it handled: a large one by the worker.
    fn post(
        &self,
        api: &Arc<MessageApi>,
        worker: &LargeBodyWorker,
        kind: BodyKind,
        request: &mut Request,
        (token, id): (RequestToken, RequestId),
    ) -> Result<Reply, Response> {
        let deadline = Instant::now() + api.answer_timeout;
        let encoding = header(request, CONTENT_ENCODING).and_then(ContentEncoding::of);
        let body = body::read(request)?;
        let is_large = large_bodies::is_large(body.len());
        if is_large && matches!(kind, BodyKind::Replay | BodyKind::Discard) {
            return Err(LARGE_REPLAY.response());
        }
        let api = Arc::clone(api);
        match encoding {
            None if !is_large => {
                return Ok(api.post(kind, body, deadline, Responder::new(&self.responses, token, id)));
            }
            None => worker
                .submit((token, id), deadline, move |responder| api.post(kind, body, deadline, responder))?,
            // It may be large when it is unpacked.
            Some(encoding) => worker.submit((token, id), deadline, move |responder| {
                let unpacked = encoding.unpack(&body, api.max_body_bytes);
                unpacked.map_or_else(Reply::Immediate, |body| api.post(kind, body, deadline, responder))
            })?,
        }
        Ok(Reply::Deferred)
    }

    /// Whether this program has the route.
    fn has(&self, route: Route<'_>) -> bool {
        match route {
            Route::Health | Route::Metrics => true,
            Route::Readiness | Route::ProxyReadiness => self.monitoring.has_readiness(),
            _ => self.messages.is_some(),
        }
    }

    /// The token and the id of a request that carries the secret.
    fn authenticate(&self, request: &Request) -> Option<(RequestToken, RequestId)> {
        let mut words = private_words(request)?;
        words.next().filter(|word| equal(word.as_bytes(), self.secret.as_bytes()))?;
        Some((words.next()?.parse().ok()?, RequestId::given(words.next()?.as_bytes())?))
    }
}

/// The meaning of the body of a `POST` to `route`.
///
/// # Errors
/// The response to a request whose head is wrong.
fn body_kind(
    api: &MessageApi,
    request: &Request,
    route: Route<'_>,
    query: &str,
) -> Result<BodyKind, Response> {
    let content_type = header(request, "Content-Type");
    let record_fields = || {
        let headers = request.headers().iter();
        let headers = headers.map(|header| (header.field.as_str().as_str(), header.value.as_str()));
        RecordFields::read(headers, content_type)
    };
    match route {
        Route::Queue(route) => {
            let authorization = header(request, "Authorization").map(str::to_owned);
            let caller = Caller { authorization, is_forwarded: header(request, FORWARDED).is_some() };
            api.queues.request(route, query, caller).map(BodyKind::Queue)
        }
        Route::Rest(route) => {
            RecordTarget::of(content_type, route, query, record_fields()?).map(BodyKind::Records)
        }
        Route::Replay => Parameters::read(query, &[]).map(|_| BodyKind::Replay),
        Route::Discard => Parameters::read(query, &[]).map(|_| BodyKind::Discard),
        _ => ChannelTarget::of(query, content_type, record_fields()?).map(BodyKind::Message),
    }
}

/// Whether the value of an `Allow` header names a method.
fn allows(methods: &str, method: &Method) -> bool {
    methods.split(", ").any(|name| name == method.as_str())
}

/// The value of the first header of this name.
fn header<'a>(request: &'a Request, name: &'static str) -> Option<&'a str> {
    let header = request.headers().iter().find(|header| header.field.equiv(name))?;
    Some(header.value.as_str())
}

/// The words of the private header: the secret, the request's token, its id, the client's address.
fn private_words(request: &Request) -> Option<impl Iterator<Item = &str>> {
    header(request, PRIVATE_HEADER).map(|value| value.split(' '))
}

/// The address of the client, for the log.
fn client_of(request: &Request) -> &str {
    private_words(request).and_then(|mut words| words.nth(3)).unwrap_or("nobody")
}
