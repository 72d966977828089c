//! The threads that look into topics.

use std::sync::Arc;
use std::time::{Duration, Instant};

use net::sync::Worker;

use super::source::MessageSource;
use crate::error::Result;
use crate::http::api::worker_pool::{Purpose, WorkerPool};
use crate::http::responder::Responder;
use crate::http::response::{ErrorResponse, Response};

/// The time from the end of a look to its response.
const MARGIN: Duration = Duration::from_millis(500);

const LOOKS: Purpose = Purpose {
    name: "http-looks",
    // Each may hold tens of megabytes, and take a processor.
    threads: 2,
    most_waiting: 8,
    longest: Duration::from_secs(4),
    least: MARGIN,
    only_looks: true,
    busy: ErrorResponse::new(503, "busy", "As many look into topics as can be served; try again soon."),
    failed: ErrorResponse::new(500, "internal", "The server has failed; nothing was changed."),
};

/// What a look answers; it ends by the time that it is given.
pub(super) type Look = Box<dyn FnOnce(&dyn MessageSource, Instant) -> Response + Send>;

/// The queue of the threads.
pub(crate) struct LookQueue {
    pool: WorkerPool,
    source: Arc<dyn MessageSource>,
}

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
        let (pool, threads) = WorkerPool::start(LOOKS)?;
        Ok((LookQueue { pool, source: Arc::clone(&source) }, LookWorkers { source, _threads: threads }))
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
        let source = Arc::clone(&self.source);
        self.pool.submit(Box::new(move |end| look(source.as_ref(), end)), deadline, responder)
    }
}
