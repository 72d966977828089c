//! The receiver: hands each message to a handler and commits it before the next, or all that was polled together
//! before the next poll.

use std::time::{Duration, Instant};

use super::handler::Handler;
use super::puller::Puller;
use super::running::Running;
use super::worker::{Worked, Worker};
use crate::adapter::Endpoint;
use crate::config::{Commit, Settings};
use crate::error::Result;
use crate::metrics::ConsumerMetrics;
use crate::stop::Stop;

/// A consumer of the group.
pub struct Receiver {
    puller: Puller,
    settings: Settings,
    endpoint: Endpoint,
    metrics: ConsumerMetrics,
}

impl Receiver {
    /// A receiver called `name` of the group and topic in `settings`, behind the adapter at `endpoint`.
    ///
    /// # Errors
    /// When the system has no random numbers to name the session with.
    pub fn new(settings: &Settings, endpoint: Endpoint, name: &str, stop: Stop) -> Result<Receiver> {
        let puller = Puller::new(settings, endpoint.clone(), name, stop)?;
        Ok(Receiver { puller, settings: settings.clone(), endpoint, metrics: ConsumerMetrics::default() })
    }

    /// Counts what it does in `metrics`.
    pub fn counted(self, metrics: ConsumerMetrics) -> Receiver {
        Receiver { metrics, ..self }
    }

    /// Receives on a thread of its own until stop is asked: waits for brokers that are not there, follows the
    /// group's changes. What `handler` cannot handle is tried again and then stored as a dead letter, as
    /// `[retry]` says.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub fn start(self, handler: impl Handler + Send + 'static) -> Result<Running> {
        let Receiver { puller, settings, endpoint, metrics } = self;
        let puller = puller.counted(metrics.clone());
        let worker = Worker::new(&settings, endpoint, puller.name(), puller.stop().clone(), handler);
        let mut worker = worker.counted(metrics);
        Running::start(puller, move |puller| receive(puller, &mut worker))
    }
}

/// Pulls messages one by one until stop is asked, and commits as `consumer.commit` says: each when it is
/// handled, with or without waiting for Kafka's answer, or all that was polled together, at least each quarter
/// of `max_processing_ms`, as a consumer is heard of by its commits.
///
/// # Errors
/// When the handler is of no more use, after a commit of what was handled before.
pub fn receive(puller: &mut Puller, worker: &mut Worker<impl Handler>) -> Result<()> {
    if puller.settings().commit == Commit::Pipelined {
        puller.pipeline_commits();
    }
    let interval = match puller.settings().commit {
        Commit::Message | Commit::Pipelined => Duration::ZERO,
        Commit::Poll => puller.settings().max_processing() / 4,
    };
    work(puller, worker, interval, |puller| !puller.has_polled())
}

/// Has messages handled until stop is asked; commits what is handled each `interval`, when it is `due` after a
/// message, and at the end.
///
/// # Errors
/// When the handler is of no more use.
pub(super) fn work(
    puller: &mut Puller,
    worker: &mut Worker<impl Handler>,
    interval: Duration,
    due: impl Fn(&Puller) -> bool,
) -> Result<()> {
    if puller.join() {
        worker.joined()?;
    }
    let wait = puller.settings().fetch_max_wait();
    let mut next_commit = Instant::now() + interval;
    let outcome = loop {
        if puller.stop().is_asked() {
            break Ok(());
        }
        let left = next_commit.saturating_duration_since(Instant::now());
        let received = puller.next(if puller.has_marked() { wait.min(left) } else { wait });
        let came = received.is_some();
        match received.map(|received| worker.work(&received)) {
            Some(Ok(Worked::Done)) => puller.mark(),
            Some(Ok(Worked::Left)) => puller.give_back(),
            Some(Err(error)) => break Err(error),
            None => {}
        }
        if Instant::now() >= next_commit || came && due(puller) {
            commit(puller);
            next_commit = Instant::now() + interval;
        }
    };
    commit(puller);
    outcome
}

fn commit(puller: &mut Puller) {
    if let Err(error) = puller.commit_marked() {
        log::warn!("{error}; what was handled since the commit before may come again");
    }
}
