//! `GET /dead-letters`: looks for dead letters, on a thread of its own.

use std::sync::Arc;
use std::time::{Duration, Instant};

use net::sync::Worker;

use super::query::{Parameters, bad};
use super::worker_pool::{Purpose, WorkerPool};
use crate::dead_letters::{DeadLetterFilter, filter};
use crate::error::Result;
use crate::http::dashboard::DashboardSource;
use crate::http::reply::Reply;
use crate::http::responder::Responder;
use crate::http::response::{ErrorResponse, Response};

const PARAMETERS: [&str; 7] = ["text", "error", "key", "group", "partition", "since", "max"];

/// The letters in an answer, unless the request asks for another number.
const USUAL_LETTERS: usize = 20;
/// The most letters in one answer.
const MOST_LETTERS: u64 = 100;
const SEARCHES: Purpose = Purpose {
    name: "http-letters",
    threads: 1,
    most_waiting: 8,
    longest: Duration::from_secs(3),
    least: Duration::from_millis(1),
    only_looks: true,
    busy: ErrorResponse::new(503, "busy", "Others look for dead letters; ask again."),
    failed: ErrorResponse::new(500, "internal", "The server has failed; nothing was changed."),
};

/// The queue of the one thread that looks for letters; the thread ends when this is dropped.
pub(crate) struct SearchQueue {
    pool: WorkerPool,
    source: Arc<dyn DashboardSource>,
}

impl SearchQueue {
    /// Starts the thread, which asks `source`.
    ///
    /// # Errors
    /// The system gives no thread.
    pub(crate) fn start(source: Arc<dyn DashboardSource>) -> Result<(SearchQueue, Vec<Worker>)> {
        let (pool, threads) = WorkerPool::start(SEARCHES)?;
        Ok((SearchQueue { pool, source }, threads))
    }

    /// Looks for the letters that `query` asks for; the response comes within `answer_timeout`.
    pub(crate) fn get(&self, query: &str, answer_timeout: Duration, responder: Responder) -> Reply {
        let asked = asked(query).and_then(|(filter, most)| {
            let source = Arc::clone(&self.source);
            let search = move |end| match source.dead_letters(&filter, most, end) {
                Ok(found) => Response::json(200, serde_json::to_vec(&found).unwrap_or_default()),
                Err(error) => {
                    Response::error(503, "not_read", &format!("The dead letters cannot be read: {error}."))
                }
            };
            self.pool.submit(Box::new(search), Instant::now() + answer_timeout / 2, responder)
        });
        Reply::deferred(asked)
    }
}

/// The filter of a query, and the most letters that it wants.
///
/// # Errors
/// The response to a query that cannot be read.
fn asked(query: &str) -> Result<(DeadLetterFilter, usize), Response> {
    let parameters = Parameters::read(query, &PARAMETERS)?;
    let text = |name| parameters.text(name).filter(|text| !text.is_empty()).map(str::to_owned);
    let partition = parameters.number("partition", 0..=u64::from(i32::MAX.unsigned_abs()))?;
    let since = parameters.text("since").map(filter::since).transpose();
    let most = parameters.number("max", 1..=MOST_LETTERS)?;
    let filter = DeadLetterFilter {
        text: text("text"),
        error: text("error"),
        group: text("group"),
        key: parameters.key(),
        partition: partition.and_then(|partition| i32::try_from(partition).ok()),
        since: since.map_err(|what| bad(&format!("`since` cannot be read: {what}.")))?,
        ..DeadLetterFilter::default()
    };
    Ok((filter, most.and_then(|most| usize::try_from(most).ok()).unwrap_or(USUAL_LETTERS)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_has_the_conditions_of_the_list() {
        assert_eq!(asked("").unwrap(), (DeadLetterFilter::default(), USUAL_LETTERS));
        assert_eq!(asked("text=").unwrap().0, DeadLetterFilter::default());
        let (filter, most) =
            asked("text=no%20stock&error=E&key=c7&group=g&partition=2&since=1970-01-02&max=100").unwrap();
        let expected = DeadLetterFilter {
            text: Some("no stock".to_owned()),
            error: Some("E".to_owned()),
            key: Some(b"c7".to_vec()),
            group: Some("g".to_owned()),
            partition: Some(2),
            since: Some(86_400_000),
            ..DeadLetterFilter::default()
        };
        assert_eq!((filter, most), (expected, 100));
        for wrong in ["max=0", "max=101", "partition=-1", "partition=2147483648", "since=soon", "txt=a"] {
            assert_eq!(asked(wrong).unwrap_err().status, 400, "{wrong}");
        }
    }
}
