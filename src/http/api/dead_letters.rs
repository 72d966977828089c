//! `POST /dead-letters/replay` sends dead letters back to the topic that they came from, `POST
//! /dead-letters/discard` takes them for done with.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use net::sync::Worker;
use serde_json::{Map, Value, json};

use super::worker_pool::{Purpose, WorkerPool};
use crate::dead_letters::{DeadLetterId, ReplayAction};
use crate::error::{Error, Result};
use crate::http::dashboard::{DashboardSource, FeedHandle, Settled};
use crate::http::responder::Responder;
use crate::http::response::{ErrorResponse, Response};

/// The most letters in one request.
const MAX_LETTERS: usize = 100;

/// The time that a replay or a discard may take after its deadline to finish the current letter, less the
/// server's grace for the response.
const MARGIN: Duration = Duration::from_millis(2500);

/// The only field of a body.
const LETTERS: &str = "letters";
/// The most characters of another field's name that an answer shows.
const SHOWN: usize = 40;

const REPLAYS: Purpose = Purpose {
    name: "http-replay",
    threads: 1,
    // One request may wait while another is under way.
    most_waiting: 1,
    longest: Duration::MAX,
    least: Duration::from_millis(1),
    only_looks: false,
    busy: ErrorResponse::new(
        503,
        "busy",
        "Other dead letters are being replayed or discarded; nothing was done.",
    ),
    failed: ErrorResponse::new(500, "internal", "The server has failed; some of it may have been done."),
};

/// The queue of the one thread that replays and discards; the thread ends when this is dropped.
pub(crate) struct ReplayQueue {
    pool: WorkerPool,
    source: Arc<dyn DashboardSource>,
    feed: FeedHandle,
}

impl ReplayQueue {
    /// Starts the thread, which settles letters through `source` and then refreshes the dashboard.
    ///
    /// # Errors
    /// The system gives no thread.
    pub(crate) fn start(
        source: Arc<dyn DashboardSource>,
        feed: FeedHandle,
    ) -> Result<(ReplayQueue, Vec<Worker>)> {
        let (pool, threads) = WorkerPool::start(REPLAYS)?;
        Ok((ReplayQueue { pool, source, feed }, threads))
    }

    /// Replays or discards the letters that `body` names; the response comes within `answer_timeout`.
    ///
    /// # Errors
    /// The response to a body that names none, or to a request for which there is no room.
    pub(crate) fn post(
        &self,
        action: ReplayAction,
        body: &[u8],
        answer_timeout: Duration,
        responder: Responder,
    ) -> Result<(), Response> {
        let letters = names(body).map_err(|sentence| Response::error(400, "bad_letters", &sentence))?;
        let deadline = Instant::now() + answer_timeout.saturating_sub(MARGIN).max(answer_timeout / 2);
        let (source, feed) = (Arc::clone(&self.source), self.feed.clone());
        let settle = move |end| {
            let response = match source.settle(action, &letters, end) {
                Ok(settled) => response_of(&settled),
                Err(error) => nothing_done(action, &error),
            };
            feed.refresh();
            response
        };
        self.pool.submit(Box::new(settle), deadline, responder)
    }
}

/// The names of the letters in a body, without duplicates.
///
/// # Errors
/// The sentence about a body that has none, too many, or another field: a condition that is misspelt, or that
/// only other ways to choose letters have, must not go unnoticed.
fn names(body: &[u8]) -> Result<Vec<DeadLetterId>, String> {
    let unlike = || {
        "The body is not like {\"letters\":[\"0:17\"]}: one to a hundred dead letters, each `partition:offset`."
            .to_owned()
    };
    let object: Map<String, Value> = serde_json::from_slice(body).map_err(|_| unlike())?;
    if let Some(name) = object.keys().find(|name| *name != LETTERS) {
        let name = name.chars().take(SHOWN).collect::<String>();
        return Err(format!("The body has {name:?}; it may have {LETTERS} alone."));
    }
    let letters = object.get(LETTERS).and_then(Value::as_array);
    let letters = letters.filter(|letters| (1..=MAX_LETTERS).contains(&letters.len())).ok_or_else(unlike)?;
    let names: Option<BTreeSet<DeadLetterId>> =
        letters.iter().map(|letter| letter.as_str()?.parse().ok()).collect();
    names.map(|names| names.into_iter().collect()).ok_or_else(unlike)
}

fn nothing_done(action: ReplayAction, error: &Error) -> Response {
    let (code, done) = match action {
        ReplayAction::Replay => ("not_replayed", "replayed"),
        ReplayAction::Discard => ("not_discarded", "discarded"),
    };
    Response::error(503, code, &format!("No dead letter was {done}: {error}."))
}

/// 200 if all letters are settled, else 207.
fn response_of(settled: &[Settled]) -> Response {
    let status = if settled.iter().all(|letter| letter.error.is_none()) { 200 } else { 207 };
    Response::json(status, json!({"letters": settled}).to_string().into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_are_named_once_each() {
        let found = names(br#"{"letters":["1:7","0:3","1:7"]}"#).unwrap();
        assert_eq!(found.iter().map(ToString::to_string).collect::<Vec<_>>(), ["0:3", "1:7"]);
        let many = json!({"letters": (0..101).map(|offset| format!("0:{offset}")).collect::<Vec<_>>()});
        for body in ["", "[]", "{}", r#"{"letters":[]}"#, r#"{"letters":["x"]}"#, r#"{"letters":[1]}"#] {
            assert!(names(body.as_bytes()).is_err_and(|why| why.contains("not like")), "{body}");
        }
        assert!(names(many.to_string().as_bytes()).is_err());
        let many_times = json!({"letters": vec!["0:0"; 101]});
        assert!(names(many_times.to_string().as_bytes()).is_err(), "duplicates count");
    }

    #[test]
    fn a_field_that_is_not_known_is_named() {
        for body in [r#"{"letters":["0:3"],"pratition":1}"#, r#"{"pratition":1}"#] {
            let why = names(body.as_bytes()).unwrap_err();
            assert_eq!(why, "The body has \"pratition\"; it may have letters alone.");
        }
        let long = json!({"x".repeat(1_000): 1}).to_string();
        assert!(names(long.as_bytes()).unwrap_err().len() < 100);
    }
}
