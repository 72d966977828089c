//! Threads for requests whose answer takes seconds, in which the handlers' one thread would answer no other
//! request.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::{Duration, Instant};

use net::sync::{Mutex, Worker, lock};

use crate::error::{Error, Result};
use crate::http::held::ResponseBudget;
use crate::http::responder::Responder;
use crate::http::response::{ErrorResponse, Response};

/// The bytes of a pool's responses that are not written yet, as their clients may read slowly.
const RESPONSE_BYTES: usize = 64 * 1024 * 1024;

/// What a pool is for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Purpose {
    /// The name of its threads.
    pub(super) name: &'static str,
    /// How many there are.
    pub(super) threads: usize,
    /// The most requests that wait for one.
    pub(super) most_waiting: usize,
    /// The longest that a job may take.
    pub(super) longest: Duration,
    /// The least time for which a job is begun.
    pub(super) least: Duration,
    /// A job changes nothing: it is not begun once its client has left.
    pub(super) only_looks: bool,
    /// The response where too many wait, or the job would come too late.
    pub(super) busy: ErrorResponse,
    /// The response where the job panics.
    pub(super) failed: ErrorResponse,
}

/// Makes the response to a request; it ends by the time that it is given.
pub(super) type Job = Box<dyn FnOnce(Instant) -> Response + Send>;

struct WaitingJob {
    job: Job,
    /// Its end, however late it begins.
    deadline: Instant,
    responder: Responder,
}

/// The queue of a pool's threads, which end when this is dropped.
pub(super) struct WorkerPool {
    purpose: Purpose,
    queue: SyncSender<WaitingJob>,
}

impl WorkerPool {
    /// Starts the threads.
    ///
    /// # Errors
    /// The system gives no thread.
    pub(super) fn start(purpose: Purpose) -> Result<(WorkerPool, Vec<Worker>)> {
        let (queue, received) = sync_channel(purpose.most_waiting);
        let shared = Arc::new((Mutex::new(received), ResponseBudget::new(RESPONSE_BYTES)));
        let start = |number| {
            let shared = Arc::clone(&shared);
            let name = format!("{}-{number}", purpose.name);
            Worker::start(&name, move |_| serve(&purpose, &shared.0, &shared.1))
                .map_err(|error| Error::new(format!("the thread {name} cannot be started")).caused_by(error))
        };
        let threads = (0..purpose.threads).map(start).collect::<Result<Vec<Worker>>>()?;
        Ok((WorkerPool { purpose, queue }, threads))
    }

    /// Has a job done; its response comes about `deadline` at the latest.
    ///
    /// # Errors
    /// 503: too many wait.
    pub(super) fn submit(&self, job: Job, deadline: Instant, responder: Responder) -> Result<(), Response> {
        self.queue.try_send(WaitingJob { job, deadline, responder }).map_err(|error| match error {
            TrySendError::Full(_) => self.purpose.busy.response(),
            TrySendError::Disconnected(_) => Response::error(503, "closing", "The server stops."),
        })
    }
}

fn serve(purpose: &Purpose, queue: &Mutex<Receiver<WaitingJob>>, budget: &ResponseBudget) {
    loop {
        // The other threads wait for their turn at the queue.
        let Ok(WaitingJob { job, deadline, responder }) = lock(queue).recv() else { return };
        if purpose.only_looks && responder.client_has_left() {
            continue;
        }
        let begun = Instant::now();
        let response = if deadline.saturating_duration_since(begun) < purpose.least {
            purpose.busy.response()
        } else {
            let end = begun.checked_add(purpose.longest).map_or(deadline, |longest| longest.min(deadline));
            catch_unwind(AssertUnwindSafe(|| job(end))).unwrap_or_else(|_| {
                log::error!("{}: a request has failed; see the message on standard error", purpose.name);
                purpose.failed.response()
            })
        };
        responder.respond(match budget.take(response.body.len()) {
            None if purpose.only_looks => purpose.busy.response(),
            held => Response { held, ..response },
        });
        log::logger().flush();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::responder::{RequestToken, ResponseEvent, ResponseQueue, response_queue};
    use crate::ids::RequestId;

    const LOOKS: Purpose = Purpose {
        name: "looks",
        threads: 1,
        most_waiting: 8,
        longest: Duration::from_secs(4),
        least: Duration::from_secs(1),
        only_looks: true,
        busy: ErrorResponse::new(503, "busy", "Others are served."),
        failed: ErrorResponse::new(500, "internal", "It has failed."),
    };

    fn token(sequence: u32) -> RequestToken {
        RequestToken { connection: 0, sequence }
    }

    fn submit(pool: &WorkerPool, responses: &Arc<ResponseQueue>, sequence: u32, seconds: u64, job: Job) {
        let responder = Responder::new(responses, token(sequence), RequestId::default());
        pool.submit(job, Instant::now() + Duration::from_secs(seconds), responder).unwrap();
    }

    /// The numbers of requests with the statuses of their responses, once there are so many.
    fn statuses(responses: &ResponseQueue, poll: &mut mio::Poll, count: usize) -> Vec<(u32, u16)> {
        let (mut statuses, mut events) = (Vec::new(), Vec::new());
        while statuses.len() < count {
            if responses.fall_asleep() {
                poll.poll(&mut mio::Events::with_capacity(8), None).unwrap();
            }
            responses.collect(&mut events);
            statuses.extend(events.drain(..).map(|(token, event)| match event {
                ResponseEvent::Response(response) => (token.sequence, response.status),
                other => panic!("{other:?}"),
            }));
        }
        statuses
    }

    #[test]
    fn a_job_has_its_time_and_one_that_comes_too_late_or_panics_is_answered() {
        let (responses, mut poll) = response_queue(mio::Token(0)).unwrap();
        let (pool, _threads) = WorkerPool::start(LOOKS).unwrap();
        let done = |end: Instant| {
            let left = end.saturating_duration_since(Instant::now()).as_secs();
            Response::json(if left <= 4 { 200 } else { 500 }, Vec::new())
        };
        submit(&pool, &responses, 0, 60, Box::new(|_| panic!("on purpose")));
        submit(&pool, &responses, 1, 0, Box::new(|_| panic!("it is too late")));
        submit(&pool, &responses, 2, 60, Box::new(done));
        assert_eq!(statuses(&responses, &mut poll, 3), [(0, 500), (1, 503), (2, 200)]);
        drop(pool);
    }

    #[test]
    fn what_changes_something_is_done_although_its_client_has_left() {
        let (responses, mut poll) = response_queue(mio::Token(0)).unwrap();
        let done = || -> Job { Box::new(|_| Response::json(200, Vec::new())) };
        let (looks, looking) = WorkerPool::start(LOOKS).unwrap();
        responses.client_left(token(0));
        submit(&looks, &responses, 0, 60, done());
        drop((looks, looking));
        let (changes, _changing) = WorkerPool::start(Purpose { only_looks: false, ..LOOKS }).unwrap();
        responses.client_left(token(1));
        submit(&changes, &responses, 1, 60, done());
        assert_eq!(statuses(&responses, &mut poll, 1), [(1, 200)]);
        drop(changes);
    }
}
