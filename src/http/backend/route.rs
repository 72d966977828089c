//! The table of routes: paths, their methods, and their templates for metrics.

use std::time::Duration;

use crate::http::api::queues::{self, QueueAction, QueueRoute};
use crate::http::api::rest::RestRoute;
use crate::http::api::uri;
use crate::http::dashboard::page::PageFile;

/// A route of the endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Route<'a> {
    /// `/enviar`
    Enviar,
    /// `/openapi.json`
    OpenApi,
    /// `/` and the files that it loads
    Page(PageFile),
    /// `/events`
    Events,
    /// `/dead-letters`
    Letters,
    /// `/dead-letters/replay`
    Replay,
    /// `/dead-letters/discard`
    Discard,
    /// `/healthz`
    Health,
    /// `/readyz`
    Readiness,
    /// `/healthy`, as Strimzi's bridge has it
    ProxyHealth,
    /// `/ready`, as Strimzi's bridge has it
    ProxyReadiness,
    /// `/_health`, as Karapace has it
    Uptime,
    /// `/metrics`
    Metrics,
    /// The REST API.
    Rest(RestRoute<'a>),
    /// The queues.
    Queue(QueueRoute<'a>),
}

/// The [`template`] of a path without a route.
pub(crate) const NO_ROUTE: &str = "none";

/// The template of the route of a target. Their number is fixed, so a template can be a label of a metric.
pub(crate) fn template(target: &[u8]) -> &'static str {
    let target = str::from_utf8(target).unwrap_or_default();
    Route::at(uri::split(target).0).map_or(NO_ROUTE, Route::template)
}

/// How long the request to a target may wait besides the usual time for a response: what a `receive` asks for.
pub(crate) fn asked_wait(target: &[u8]) -> Duration {
    let (path, query) = uri::split(str::from_utf8(target).unwrap_or_default());
    match QueueRoute::at(path).map(QueueRoute::action) {
        Some(QueueAction::Receive) => queues::asked_wait(query),
        _ => Duration::ZERO,
    }
}

/// Whether a request to a target changes leases, which another endpoint may have to do: its handler gets the
/// `Authorization` of the request.
pub(crate) fn changes_leases(target: &[u8]) -> bool {
    let path = uri::split(str::from_utf8(target).unwrap_or_default()).0;
    QueueRoute::at(path).is_some_and(|route| route.action().changes_leases())
}

impl<'a> Route<'a> {
    /// The route of a path.
    pub(crate) fn at(path: &'a str) -> Option<Route<'a>> {
        match path {
            "/enviar" => Some(Route::Enviar),
            "/openapi.json" => Some(Route::OpenApi),
            "/events" => Some(Route::Events),
            "/dead-letters" => Some(Route::Letters),
            "/dead-letters/replay" => Some(Route::Replay),
            "/dead-letters/discard" => Some(Route::Discard),
            "/healthz" => Some(Route::Health),
            "/healthy" => Some(Route::ProxyHealth),
            "/ready" => Some(Route::ProxyReadiness),
            "/_health" => Some(Route::Uptime),
            "/readyz" => Some(Route::Readiness),
            "/metrics" => Some(Route::Metrics),
            path => PageFile::at(path)
                .map(Route::Page)
                .or_else(|| RestRoute::at(path).map(Route::Rest))
                .or_else(|| QueueRoute::at(path).map(Route::Queue)),
        }
    }

    /// Its methods, as in an `Allow` header.
    pub(crate) fn methods(self) -> &'static str {
        match self {
            Route::Enviar | Route::Replay | Route::Discard => "POST",
            Route::Health | Route::Readiness | Route::Metrics | Route::OpenApi => "GET, HEAD",
            Route::ProxyHealth | Route::ProxyReadiness | Route::Uptime => "GET, HEAD",
            Route::Page(_) | Route::Events | Route::Letters => "GET, HEAD",
            Route::Rest(place) => place.methods(),
            Route::Queue(place) => place.methods(),
        }
    }

    /// Its path with a name in braces for each variable segment.
    pub(crate) fn template(self) -> &'static str {
        match self {
            Route::Enviar => "/enviar",
            Route::OpenApi => "/openapi.json",
            Route::Health => "/healthz",
            Route::Readiness => "/readyz",
            Route::ProxyHealth => "/healthy",
            Route::ProxyReadiness => "/ready",
            Route::Uptime => "/_health",
            Route::Metrics => "/metrics",
            Route::Page(file) => file.path(),
            Route::Events => "/events",
            Route::Letters => "/dead-letters",
            Route::Replay => "/dead-letters/replay",
            Route::Discard => "/dead-letters/discard",
            Route::Rest(place) => place.template(),
            Route::Queue(place) => place.template(),
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::*;
    use crate::http::api::openapi::DOCUMENT;

    /// Every route: with a new one this does not build until it is listed.
    pub(in super::super) fn every_route() -> Vec<Route<'static>> {
        let (topic, partition) = ("{topic}", "{partition}");
        let files = [PageFile::Index, PageFile::Style, PageFile::Script].map(Route::Page);
        let places = [
            RestRoute::Topics,
            RestRoute::Topic(topic),
            RestRoute::Partitions(topic),
            RestRoute::Partition(topic, partition),
            RestRoute::Offsets(topic, partition),
            RestRoute::Messages(topic),
            RestRoute::Message(topic, partition, "{offset}"),
            RestRoute::Raw(topic),
            RestRoute::Brokers,
        ];
        let actions =
            [QueueAction::Receive, QueueAction::Acknowledge, QueueAction::GiveBack, QueueAction::Extend];
        let queues = actions.into_iter().flat_map(|action| {
            [QueueRoute::Of(topic, action), QueueRoute::OfChannel(action)].map(Route::Queue)
        });
        let state = Route::Queue(QueueRoute::Of(topic, QueueAction::State));
        let monitoring = [Route::Health, Route::Readiness, Route::Metrics, Route::OpenApi];
        let mut routes = vec![Route::Enviar, Route::Events];
        routes.extend([Route::Letters, Route::Replay, Route::Discard]);
        routes.extend(monitoring);
        routes.extend([Route::ProxyHealth, Route::ProxyReadiness, Route::Uptime]);
        routes.extend(files.into_iter().chain(places.map(Route::Rest)));
        routes.extend(queues.chain([state]));
        for route in &routes {
            match route {
                Route::Enviar | Route::Events => {}
                Route::Letters | Route::Replay | Route::Discard => {}
                Route::Health | Route::Readiness | Route::Metrics | Route::OpenApi => {}
                Route::ProxyHealth | Route::ProxyReadiness | Route::Uptime => {}
                Route::Page(PageFile::Index | PageFile::Style | PageFile::Script) => {}
                Route::Rest(RestRoute::Topics | RestRoute::Topic(_) | RestRoute::Partitions(_)) => {}
                Route::Rest(
                    RestRoute::Partition(..)
                    | RestRoute::Offsets(..)
                    | RestRoute::Messages(_)
                    | RestRoute::Message(..)
                    | RestRoute::Raw(_)
                    | RestRoute::Brokers,
                ) => {}
                Route::Queue(QueueRoute::Of(..) | QueueRoute::OfChannel(_)) => {}
            }
        }
        routes
    }

    #[test]
    fn the_openapi_document_names_the_paths_and_methods_that_exist_and_no_others() {
        let document: Value = serde_json::from_str(DOCUMENT).unwrap();
        let mut left = every_route();
        for (path, item) in document["paths"].as_object().unwrap() {
            let route = Route::at(path).unwrap_or_else(|| panic!("there is no route {path}"));
            assert_eq!(route.template(), path);
            let methods: BTreeSet<&str> = route.methods().split(", ").collect();
            let named = item.as_object().unwrap().keys().filter(|key| *key != "parameters");
            let named: BTreeSet<String> = named.map(|method| method.to_uppercase()).collect();
            assert_eq!(named.iter().map(String::as_str).collect::<BTreeSet<_>>(), methods, "{path}");
            left.retain(|other| other.template() != path);
        }
        assert!(left.is_empty(), "not in the document: {left:?}");
    }
}
