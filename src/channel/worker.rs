//! The work on one message: handed to the handler until that has done it, tried again after a wait where it
//! has not, and put to the dead letters at last. It waits in place, so that the messages keep their order.

use std::time::{Duration, Instant};

use super::dead_letters::DeadLetters;
use super::handler::{Cause, Failure, Handler};
use super::puller::Received;
use crate::adapter::Endpoint;
use crate::config::{RetrySettings, Settings};
use crate::error::Result;
use crate::logging::Value;
use crate::message;
use crate::metrics::ConsumerMetrics;
use crate::stop::Stop;

/// A handler with what is around it.
pub struct Worker<H> {
    handler: H,
    retry: RetrySettings,
    max_processing: Duration,
    dead_letters: DeadLetters,
    stop: Stop,
    metrics: ConsumerMetrics,
}

/// What became of a message.
#[must_use]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Worked {
    /// It is handled, or stored as a dead letter: its offset may be committed.
    Done,
    /// Neither, as stop was asked or the dead letter could not be stored: its offset must not be committed,
    /// and it has to come again.
    Left,
}

/// What came of all attempts at a message.
enum Attempts {
    Handled,
    Failed(Cause),
    Left,
}

impl<H: Handler> Worker<H> {
    /// A worker for the topic in `settings`, whose dead letters go through the adapter at `endpoint`. `name`
    /// is what Kafka's tools show; `stop` ends its waits.
    pub fn new(settings: &Settings, endpoint: Endpoint, name: &str, stop: Stop, handler: H) -> Worker<H> {
        Worker {
            handler,
            retry: settings.retry.clone(),
            max_processing: settings.consumer.max_processing(),
            dead_letters: DeadLetters::new(settings, endpoint, name, stop.clone()),
            stop,
            metrics: ConsumerMetrics::default(),
        }
    }

    /// Counts what becomes of messages in `metrics`.
    pub fn counted(self, metrics: ConsumerMetrics) -> Worker<H> {
        Worker { metrics, ..self }
    }

    /// Says that the consumer is a member of the group.
    ///
    /// # Errors
    /// Those of [`Handler::joined`].
    pub fn joined(&mut self) -> Result<()> {
        self.handler.joined()
    }

    /// Handles a message, or makes it a dead letter. A message that is no JSON becomes one at once.
    ///
    /// # Errors
    /// When the handler is of no more use; nothing may be committed of the message then.
    pub fn work(&mut self, message: &Received<'_>) -> Result<Worked> {
        let deadline = Instant::now() + self.max_processing;
        let cause = match message::check(message.value.unwrap_or_default()) {
            Ok(()) => match self.attempts(message, deadline)? {
                Attempts::Handled => {
                    self.metrics.handled();
                    return Ok(Worked::Done);
                }
                Attempts::Left => return Ok(Worked::Left),
                Attempts::Failed(cause) => cause,
            },
            Err(error) => {
                log::error!("{error}: {message} value={}", Value(message.value));
                self.handler.not_json(message)?;
                Cause::of(&error)
            }
        };
        if !self.dead_letters.store(message, &cause, deadline) {
            return Ok(Worked::Left);
        }
        self.metrics.dead_lettered();
        Ok(Worked::Done)
    }

    /// Tries until the message is handled, it has failed too often, or it is too late.
    fn attempts(&mut self, message: &Received<'_>, deadline: Instant) -> Result<Attempts> {
        let most = self.retry.max_attempts;
        for attempt in 1..=most {
            let outcome = self.handler.handle(&Received { attempt, ..*message });
            let late = Instant::now() >= deadline;
            if late {
                let limit = self.max_processing.as_millis();
                log::warn!(
                    "the handler took longer than max_processing_ms ({limit} ms), others may have the message by \
                     now: {message}"
                );
            }
            let cause = match outcome {
                Ok(()) => return Ok(Attempts::Handled),
                Err(Failure::Broken(error)) => return Err(error),
                Err(Failure::Interrupted) => return Ok(Attempts::Left),
                Err(Failure::Failed(cause)) => cause,
            };
            self.metrics.attempt_failed();
            let failed = format!("attempt {attempt} of {most} failed: {message}: {cause}");
            if late {
                log::warn!("{failed}; it comes again");
                return Ok(Attempts::Left);
            }
            if attempt == most {
                log::warn!("{failed}; it goes to the dead letters");
                return Ok(Attempts::Failed(cause));
            }
            let wait = self.retry.wait_after(attempt, chance());
            log::warn!("{failed}; trying again in {} ms", wait.as_millis());
            if self.stop.wait_for(wait) {
                break;
            }
            self.metrics.retried();
        }
        Ok(Attempts::Left)
    }
}

/// A number from 0 to 1.
fn chance() -> f64 {
    let mut bytes = [0; 4];
    // Without random numbers the waits differ from nobody's.
    let _ = getrandom::fill(&mut bytes);
    f64::from(u32::from_ne_bytes(bytes)) / f64::from(u32::MAX)
}
