//! `GET /healthz`, `/readyz` and `/metrics`: answered at once from what is known, whatever else waits.

use super::answer::Answer;
use crate::metrics::{Exposition, Family, HttpMetrics, MEDIA_TYPE};

/// Whether a program can do its work now.
pub trait Readiness: Send {
    /// At once, from what was found out last.
    ///
    /// # Errors
    /// One sentence that says why it cannot.
    fn check(&self) -> Result<(), String>;
}

/// What a program tells of itself.
pub struct Monitoring {
    /// Where its endpoint counts.
    pub(super) http: HttpMetrics,
    exposition: Exposition,
    readiness: Option<Box<dyn Readiness>>,
}

impl Monitoring {
    /// Shows the metrics of the endpoint and those in `families`, and answers `/readyz` if there is a
    /// `readiness` to ask.
    pub fn new(families: &[&dyn Family], readiness: Option<Box<dyn Readiness>>) -> Monitoring {
        let http = HttpMetrics::default();
        let mut all: Vec<&dyn Family> = vec![&http];
        all.extend(families);
        let exposition = Exposition::of(&all);
        Monitoring { http, exposition, readiness }
    }

    /// Whether there is a `/readyz`.
    pub(super) fn knows_readiness(&self) -> bool {
        self.readiness.is_some()
    }

    /// `/readyz`: 200 if messages can be stored now, else 503 with the reason.
    pub(super) fn ready(&self) -> Answer {
        match self.readiness.as_ref().map_or(Ok(()), |readiness| readiness.check()) {
            Ok(()) => status("ready"),
            Err(reason) => Answer::error(503, "not_ready", &reason),
        }
    }

    /// `/metrics`.
    pub(super) fn metrics(&self) -> Answer {
        match self.exposition.text() {
            Ok(text) => Answer::of_type(200, MEDIA_TYPE, text.into_bytes()),
            Err(error) => {
                log::error!("the metrics cannot be written: {error}");
                Answer::error(500, "internal", "The metrics cannot be written.")
            }
        }
    }
}

/// `/healthz`: the process answers.
pub(super) fn healthy() -> Answer {
    status("ok")
}

fn status(word: &str) -> Answer {
    Answer::json(200, format!(r#"{{"status":"{word}"}}"#).into_bytes())
}
