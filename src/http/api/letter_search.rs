//! `GET /dead-letters`: looks for dead letters, on a thread of its own.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::{Duration, Instant};

use net::sync::Worker;

use super::query::{Parameters, bad};
use crate::dead_letters::{DeadLetterFilter, filter};
use crate::error::{Error, Result};
use crate::http::dashboard::DashboardSource;
use crate::http::reply::Reply;
use crate::http::responder::Responder;
use crate::http::response::Response;

const PARAMETERS: [&str; 7] = ["text", "error", "key", "group", "partition", "since", "max"];

/// The letters in an answer, unless the request asks for another number.
const USUAL_LETTERS: usize = 20;
/// The most letters in one answer.
const MOST_LETTERS: u64 = 100;
/// The searches that may wait for the one under way.
const WAITING: usize = 8;
/// The longest search.
const PATIENCE: Duration = Duration::from_secs(3);

struct Search {
    filter: DeadLetterFilter,
    most: usize,
    /// Later nobody waits for the answer.
    deadline: Instant,
    responder: Responder,
}

/// The queue of the one thread that looks for letters; the thread ends when this is dropped.
pub(crate) struct SearchQueue {
    searches: SyncSender<Search>,
}

impl SearchQueue {
    /// Starts the thread, which asks `source`.
    ///
    /// # Errors
    /// The system gives no thread.
    pub(crate) fn start(source: Arc<dyn DashboardSource>) -> Result<(SearchQueue, Worker)> {
        let (searches, received) = sync_channel(WAITING);
        let thread =
            Worker::start("http-letters", move |_| serve(&received, source.as_ref())).map_err(|error| {
                Error::new("the thread that looks for dead letters cannot start").caused_by(error)
            })?;
        Ok((SearchQueue { searches }, thread))
    }

    /// Looks for the letters that `query` asks for; the response comes within `answer_timeout`.
    pub(crate) fn get(&self, query: &str, answer_timeout: Duration, responder: Responder) -> Reply {
        let asked = asked(query).and_then(|(filter, most)| {
            let deadline = Instant::now() + answer_timeout / 2;
            let search = Search { filter, most, deadline, responder };
            self.searches.try_send(search).map_err(|error| match error {
                TrySendError::Full(_) => busy(),
                TrySendError::Disconnected(_) => Response::error(503, "closing", "The server stops."),
            })
        });
        Reply::deferred(asked)
    }
}

fn busy() -> Response {
    Response::error(503, "busy", "Others look for dead letters; ask again.")
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

fn serve(searches: &Receiver<Search>, source: &dyn DashboardSource) {
    for search in searches {
        if search.responder.client_has_left() {
            continue;
        }
        let now = Instant::now();
        let response = if search.deadline <= now {
            busy()
        } else {
            let deadline = search.deadline.min(now + PATIENCE);
            match source.dead_letters(&search.filter, search.most, deadline) {
                Ok(found) => Response::json(200, serde_json::to_vec(&found).unwrap_or_default()),
                Err(error) => {
                    Response::error(503, "not_read", &format!("The dead letters cannot be read: {error}."))
                }
            }
        };
        search.responder.respond(response);
    }
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
