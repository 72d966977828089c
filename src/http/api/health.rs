//! `GET /healthz`, `/readyz` and `/metrics`, and the same under the names that REST proxies have: answered at
//! once from known state, also while other requests wait.

use std::time::Instant;

use net::pulse::Pulse;

use crate::http::response::Response;
use crate::metrics::{Exposition, Family, HttpMetrics, MEDIA_TYPE};

/// Whether a program can do its work now.
pub trait Readiness: Send {
    /// The result of the last check, at once.
    ///
    /// # Errors
    /// A sentence with the reason.
    fn check(&self) -> Result<(), String>;

    /// What is wrong besides and does not keep the program from its work: sentences without full stops.
    fn warnings(&self) -> Vec<String> {
        Vec::new()
    }
}

/// The metrics, the readiness and the pulse that a program exposes.
pub struct Monitoring {
    /// The metrics of the endpoint itself.
    pub(crate) http: HttpMetrics,
    /// Of the loop of the endpoint's server.
    pub(crate) pulse: Pulse,
    exposition: Exposition,
    readiness: Option<Box<dyn Readiness>>,
    since: Instant,
}

impl Monitoring {
    /// Exposes the metrics of the endpoint and those in `families`, and answers `/readyz` if there is a
    /// `readiness`.
    pub fn new(families: &[&dyn Family], readiness: Option<Box<dyn Readiness>>) -> Monitoring {
        let http = HttpMetrics::default();
        let mut all: Vec<&dyn Family> = vec![&http];
        all.extend(families);
        let exposition = Exposition::of(&all);
        Monitoring { http, pulse: Pulse::default(), exposition, readiness, since: Instant::now() }
    }

    /// Shows by `pulse` that the endpoint's server goes on.
    pub fn beating(self, pulse: Pulse) -> Monitoring {
        Monitoring { pulse, ..self }
    }

    /// Whether there is a `/readyz`.
    pub(crate) fn has_readiness(&self) -> bool {
        self.readiness.is_some()
    }

    /// `/readyz`: 200 if messages can be stored now, with warnings if there are any, else 503 with the
    /// reason.
    pub(crate) fn ready(&self) -> Response {
        let Some(readiness) = &self.readiness else { return status("ready") };
        if let Err(reason) = readiness.check() {
            return Response::error(503, "not_ready", &reason);
        }
        let warnings = readiness.warnings();
        if warnings.is_empty() {
            return status("ready");
        }
        let body = serde_json::json!({"status": "ready", "warnings": warnings});
        Response::json(200, body.to_string().into_bytes())
    }

    /// `/ready`, for probes made for Strimzi's bridge: 204 if messages can be stored now, else as `/readyz`.
    pub(crate) fn ready_for_proxy(&self) -> Response {
        match self.ready() {
            Response { status: 200, .. } => Response::empty(204),
            not_ready => not_ready,
        }
    }

    /// `/_health`, for probes made for Karapace: the process answers, and since when.
    pub(crate) fn uptime(&self) -> Response {
        let seconds = self.since.elapsed().as_secs();
        Response::json(200, format!(r#"{{"process_uptime_sec":{seconds}}}"#).into_bytes())
    }

    /// `/metrics`.
    pub(crate) fn metrics(&self) -> Response {
        match self.exposition.text() {
            Ok(text) => Response::of_type(200, MEDIA_TYPE, text.into_bytes()),
            Err(error) => {
                log::error!("the metrics cannot be written: {error}");
                Response::error(500, "internal", "The metrics cannot be written.")
            }
        }
    }
}

/// `/healthz`: the process answers.
pub(crate) fn healthy() -> Response {
    status("ok")
}

fn status(word: &str) -> Response {
    Response::json(200, format!(r#"{{"status":"{word}"}}"#).into_bytes())
}
