//! A consumer's loop on a thread of its own, so that a stop does not have to wait for the crate's answer from
//! Kafka.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::Consumer;
use super::in_hand::InHand;
use crate::error::{Error, Result};
use net::stop::Stop;

/// Asked to stop, a consumer gets so long to come back from Kafka, besides a fetch's wait where that is not
/// longer, ...
const IDLE_GRACE: Duration = Duration::from_millis(500);
/// ... and so long to finish the message in hand and commit what it has handled.
pub const BUSY_GRACE: Duration = Duration::from_secs(10);

/// A consumer on its thread.
pub struct ConsumerHandle {
    stop: Stop,
    /// `None`: it has something in hand at any time, and tells itself what.
    in_hand: Option<Arc<InHand>>,
    idle_grace: Duration,
    ended: mpsc::Receiver<Result<()>>,
    thread: Option<JoinHandle<()>>,
}

impl ConsumerHandle {
    /// Runs `body` with `consumer` on a thread of its own. When it ends, for whatever reason, it asks to
    /// stop.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub fn start(
        mut consumer: Consumer,
        body: impl FnOnce(&mut Consumer) -> Result<()> + Send + 'static,
    ) -> Result<ConsumerHandle> {
        let (name, stop, in_hand) =
            (consumer.name().to_owned(), consumer.stop().clone(), consumer.in_hand().clone());
        let idle_grace = idle_grace(consumer.settings().fetch_max_wait);
        ConsumerHandle::run(&name, stop, Some(in_hand), idle_grace, move || body(&mut consumer))
    }

    /// The same for a consumer that has something in hand at any time.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub fn start_busy(
        name: &str,
        stop: Stop,
        body: impl FnOnce() -> Result<()> + Send + 'static,
    ) -> Result<ConsumerHandle> {
        ConsumerHandle::run(name, stop, None, IDLE_GRACE, body)
    }

    fn run(
        name: &str,
        stop: Stop,
        in_hand: Option<Arc<InHand>>,
        idle_grace: Duration,
        body: impl FnOnce() -> Result<()> + Send + 'static,
    ) -> Result<ConsumerHandle> {
        let (tell, ended) = mpsc::channel();
        let (asked, name) = (stop.clone(), name.to_owned());
        let body = move || {
            let outcome = catch_unwind(AssertUnwindSafe(body));
            log::info!("{name} stopped");
            let panicked = |_| Err(Error::new("the consumer panicked; standard error says where"));
            // Nobody listens any more once the grace is over.
            let _ = tell.send(outcome.unwrap_or_else(panicked));
            asked.ask();
        };
        let thread = thread::Builder::new().name("consumer".to_owned()).spawn(body);
        let thread =
            thread.map_err(|e| Error::new("the consumer's thread cannot be started").caused_by(e))?;
        Ok(ConsumerHandle { stop, in_hand, idle_grace, ended, thread: Some(thread) })
    }

    /// Waits until the consumer ends. Asked to stop, it has a limited time to finish the message in hand and
    /// commit what it has handled; one that only waits for Kafka is not waited for: it ends when its adapter
    /// does.
    ///
    /// # Errors
    /// Those of its body, and when it panicked.
    pub fn wait(mut self) -> Result<()> {
        self.stop.wait();
        self.finish()
    }

    /// Asks the consumer to stop, without waiting for that.
    pub fn stop(&self) {
        self.stop.ask();
    }

    fn finish(&mut self) -> Result<()> {
        let Some(thread) = self.thread.take() else { return Ok(()) };
        let asked = Instant::now();
        if let Some(age) = self.in_hand.as_ref().and_then(|in_hand| in_hand.since()) {
            let (patience, age) = (BUSY_GRACE.as_secs(), age.as_secs_f32());
            log::info!(
                "waiting up to {patience} s for the message in hand, taken {age:.1} s ago, and its commit"
            );
        }
        let mut outcome = self.ended.recv_timeout(self.idle_grace);
        if matches!(outcome, Err(RecvTimeoutError::Timeout)) && self.is_busy() {
            outcome = self.ended.recv_timeout(BUSY_GRACE.saturating_sub(asked.elapsed()));
        }
        match outcome {
            Ok(outcome) => {
                // The thread has nothing left to do but return.
                let _ = thread.join();
                outcome
            }
            Err(RecvTimeoutError::Disconnected) => Err(Error::new("the consumer's thread is gone")),
            Err(RecvTimeoutError::Timeout) => {
                if self.is_busy() {
                    log::warn!("stopping without the commit of the message in hand, which may come again");
                }
                Ok(())
            }
        }
    }

    fn is_busy(&self) -> bool {
        self.in_hand.as_ref().is_none_or(|in_hand| in_hand.since().is_some())
    }
}

/// Stops the consumer, and waits for that as [`ConsumerHandle::wait`] does.
impl Drop for ConsumerHandle {
    fn drop(&mut self) {
        self.stop.ask();
        if let Err(error) = self.finish() {
            log::error!("{error}");
        }
    }
}

/// Nothing is lost with a fetch that is not waited for, so a long one is not.
fn idle_grace(fetch_max_wait: Duration) -> Duration {
    fetch_max_wait.min(IDLE_GRACE) + IDLE_GRACE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stop_does_not_wait_for_a_long_fetch() {
        assert_eq!(idle_grace(Duration::from_secs(30)), 2 * IDLE_GRACE);
        assert_eq!(idle_grace(Duration::from_millis(10)), Duration::from_millis(10) + IDLE_GRACE);
    }
}
