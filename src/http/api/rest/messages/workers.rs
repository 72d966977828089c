//! The threads that look into topics: a look may take seconds, in which the handlers' one thread would answer
//! no other request.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::{Duration, Instant};

use net::sync::{Mutex, Worker, lock};

use super::source::MessageSource;
use crate::error::{Error, Result};
use crate::http::held::ResponseBudget;
use crate::http::responder::Responder;
use crate::http::response::{ErrorResponse, Response};

/// The looks at a time: each may hold tens of megabytes, and take a processor.
const LOOKS: usize = 2;
/// The most looks that wait.
const MAX_WAITING: usize = 8;
/// The time of a look, unless the whole time for a response is nearly over.
const LOOK_TIME: Duration = Duration::from_secs(4);
/// The time from the end of a look to its response.
const MARGIN: Duration = Duration::from_millis(500);

/// The bytes of all responses that are not written yet, as their clients may read slowly.
const RESPONSE_BYTES: usize = 64 * 1024 * 1024;

const BUSY: ErrorResponse =
    ErrorResponse::new(503, "busy", "As many look into topics as can be served; try again soon.");
const FAILED: ErrorResponse =
    ErrorResponse::new(500, "internal", "The server has failed; nothing was changed.");

/// What a look answers; it ends by the time that it is given.
pub(super) type Look = Box<dyn FnOnce(&dyn MessageSource, Instant) -> Response + Send>;

struct WaitingLook {
    look: Look,
    /// Its end, however late it begins.
    deadline: Instant,
    responder: Responder,
}

/// The queue of the threads; they end when the last one is dropped.
pub(crate) struct LookQueue(SyncSender<WaitingLook>);

/// The threads. Dropped, the looks under way are given up.
pub(crate) struct LookWorkers {
    source: Arc<dyn MessageSource>,
    _threads: Vec<Worker>,
}

impl LookWorkers {
    /// Starts the threads, which look through `source`.
    ///
    /// # Errors
    /// The system gives no thread.
    pub(crate) fn start(source: Arc<dyn MessageSource>) -> Result<(LookQueue, LookWorkers)> {
        let (queue, received) = sync_channel(MAX_WAITING);
        let shared = Arc::new((Mutex::new(received), ResponseBudget::new(RESPONSE_BYTES)));
        let start = |number| {
            let (shared, source) = (Arc::clone(&shared), Arc::clone(&source));
            Worker::start(&format!("http-looks-{number}"), move |_| {
                serve(&shared.0, &shared.1, source.as_ref())
            })
            .map_err(|error| Error::new("the threads for looks cannot start").caused_by(error))
        };
        let threads = (0..LOOKS).map(start).collect::<Result<Vec<Worker>>>()?;
        Ok((LookQueue(queue), LookWorkers { source, _threads: threads }))
    }
}

impl Drop for LookWorkers {
    fn drop(&mut self) {
        self.source.stop();
    }
}

impl LookQueue {
    /// Has a look done; its response comes within `answer_timeout`.
    ///
    /// # Errors
    /// 503: too many wait.
    pub(super) fn submit(
        &self,
        look: Look,
        answer_timeout: Duration,
        responder: Responder,
    ) -> Result<(), Response> {
        let deadline = Instant::now() + answer_timeout.saturating_sub(MARGIN).max(answer_timeout / 2);
        self.0.try_send(WaitingLook { look, deadline, responder }).map_err(|error| match error {
            TrySendError::Full(_) => BUSY.response(),
            TrySendError::Disconnected(_) => Response::error(503, "closing", "The server stops."),
        })
    }
}

fn serve(queue: &Mutex<Receiver<WaitingLook>>, budget: &ResponseBudget, source: &dyn MessageSource) {
    loop {
        // The other threads wait for their turn at the queue.
        let Ok(WaitingLook { look, deadline, responder }) = lock(queue).recv() else { return };
        let begun = Instant::now();
        if responder.client_has_left() {
            continue;
        }
        let response = if deadline.saturating_duration_since(begun) < MARGIN {
            BUSY.response()
        } else {
            let end = deadline.min(begun + LOOK_TIME);
            catch_unwind(AssertUnwindSafe(|| look(source, end))).unwrap_or_else(|_| {
                log::error!("a look into a topic has failed; see the message on standard error");
                FAILED.response()
            })
        };
        responder.respond(match budget.take(response.body.len()) {
            Some(held) => Response { held: Some(held), ..response },
            None => BUSY.response(),
        });
        log::logger().flush();
    }
}
