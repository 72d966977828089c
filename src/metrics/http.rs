//! The metrics of an HTTP endpoint.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family as ByLabel;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use super::{Family, SECONDS};

/// An answered request.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Answered {
    /// The template of its route, `none` where there is no such route: never a path that a client chose.
    pub route: &'static str,
    /// Its method, `other` for one that no route could have.
    pub method: &'static str,
    /// The status of its answer.
    pub status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Route {
    route: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reason {
    reason: &'static str,
}

/// The metrics of one endpoint.
#[derive(Debug, Clone)]
pub struct HttpMetrics {
    requests: ByLabel<Answered, Counter>,
    durations: ByLabel<Route, Histogram>,
    connections: Gauge,
    refused: ByLabel<Reason, Counter>,
}

impl Default for HttpMetrics {
    fn default() -> HttpMetrics {
        HttpMetrics {
            requests: ByLabel::default(),
            durations: ByLabel::new_with_constructor(|| Histogram::new(SECONDS)),
            connections: Gauge::default(),
            refused: ByLabel::default(),
        }
    }
}

impl HttpMetrics {
    /// A request was answered so long after its first byte had come.
    pub fn answered(&self, answered: &Answered, after: Duration) {
        self.requests.get_or_create(answered).inc();
        self.durations.get_or_create(&Route { route: answered.route }).observe(after.as_secs_f64());
    }

    /// Something was turned away before a handler saw it: a request, or a whole connection.
    pub fn refused(&self, reason: &'static str) {
        self.refused.get_or_create(&Reason { reason }).inc();
    }

    /// A client has come.
    pub fn connected(&self) {
        self.connections.inc();
    }

    /// A client has gone.
    pub fn disconnected(&self) {
        self.connections.dec();
    }
}

impl Family for HttpMetrics {
    fn register(&self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix("http");
        let requests = "Answered requests by route, method and status";
        registry.register("requests", requests, self.requests.clone());
        let durations = "Seconds from a request's first byte to its answer";
        registry.register("request_duration_seconds", durations, self.durations.clone());
        registry.register("connections", "Connections open now", self.connections.clone());
        let refused = "Requests and connections turned away before a handler saw them, by reason";
        registry.register("refused", refused, self.refused.clone());
    }
}
