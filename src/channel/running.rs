//! A consumer's loop on a thread of its own, so that a stop need not wait for what the crate waits for.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::puller::Puller;
use crate::error::{Error, Result};
use crate::stop::Stop;

/// Asked to stop, a consumer gets so long to come back from Kafka, besides a fetch's wait where that is not
/// longer, ...
const IDLE_GRACE: Duration = Duration::from_millis(500);
/// ... and so long to finish the message in hand and commit what it has handled.
pub const BUSY_GRACE: Duration = Duration::from_secs(10);
/// While it has, this often it is looked whether it is still busy.
const LOOK: Duration = Duration::from_millis(50);

/// A consumer on its thread.
pub struct Running {
    stop: Stop,
    busy: Arc<AtomicBool>,
    idle_grace: Duration,
    ended: mpsc::Receiver<Result<()>>,
    thread: JoinHandle<()>,
}

impl Running {
    /// Runs `body` with `puller` on a thread of its own. When it ends, for whatever reason, it asks to stop.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub fn start(
        mut puller: Puller,
        body: impl FnOnce(&mut Puller) -> Result<()> + Send + 'static,
    ) -> Result<Running> {
        let (stop, busy) = (puller.stop().clone(), puller.busy().clone());
        let idle_grace = idle_grace(puller.settings().fetch_max_wait());
        let (tell, ended) = mpsc::channel();
        let asked = stop.clone();
        let body = move || {
            let outcome = catch_unwind(AssertUnwindSafe(|| body(&mut puller)));
            log::info!("{} stopped", puller.name());
            let panicked = |_| Err(Error::new("the receiver panicked; standard error says where"));
            // Nobody listens any more once the grace is over.
            let _ = tell.send(outcome.unwrap_or_else(panicked));
            asked.ask();
        };
        let thread = thread::Builder::new().name("receiver".to_owned()).spawn(body);
        let thread =
            thread.map_err(|e| Error::new("the receiver's thread cannot be started").caused_by(e))?;
        Ok(Running { stop, busy, idle_grace, ended, thread })
    }

    /// Waits until the consumer ends. Asked to stop, it has a limited time to finish the message in hand and
    /// commit what it has handled; one that only waits for Kafka is not waited for: it ends when its adapter
    /// does.
    ///
    /// # Errors
    /// Those of its body, and when it panicked.
    pub fn wait(self) -> Result<()> {
        self.stop.wait();
        let asked = Instant::now();
        loop {
            match self.ended.recv_timeout(LOOK) {
                Ok(outcome) => {
                    // It has nothing left to do but return.
                    let _ = self.thread.join();
                    return outcome;
                }
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(Error::new("the receiver's thread is gone"));
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
            let busy = self.busy.load(Ordering::Acquire);
            if asked.elapsed() < if busy { BUSY_GRACE } else { self.idle_grace } {
                continue;
            }
            if busy {
                log::warn!("stopping without the commit of what was in hand, which may come again");
            }
            return Ok(());
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
