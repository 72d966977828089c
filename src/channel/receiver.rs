//! The receiver: hands each message to a handler and commits it before the next.

use super::handler::Handler;
use super::puller::Puller;
use super::running::Running;
use super::worker::{Worked, Worker};
use crate::adapter::Endpoint;
use crate::config::Settings;
use crate::error::Result;
use crate::stop::Stop;

/// A consumer of the group.
pub struct Receiver {
    puller: Puller,
    settings: Settings,
    endpoint: Endpoint,
}

impl Receiver {
    /// A receiver called `name` of the group and topic in `settings`, behind the adapter at `endpoint`.
    ///
    /// # Errors
    /// When the system has no random numbers to name the session with.
    pub fn new(settings: &Settings, endpoint: Endpoint, name: &str, stop: Stop) -> Result<Receiver> {
        let puller = Puller::new(settings, endpoint.clone(), name, stop)?;
        Ok(Receiver { puller, settings: settings.clone(), endpoint })
    }

    /// Receives on a thread of its own until stop is asked: waits for brokers that are not there, follows the
    /// group's changes. What `handler` cannot handle is tried again and then stored as a dead letter, as
    /// `[retry]` says.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub fn start(self, handler: impl Handler + Send + 'static) -> Result<Running> {
        let Receiver { puller, settings, endpoint } = self;
        let mut worker = Worker::new(&settings, endpoint, puller.name(), puller.stop().clone(), handler);
        Running::start(puller, move |puller| receive(puller, &mut worker))
    }
}

/// Pulls messages one by one and commits each when it is handled, until stop is asked.
///
/// # Errors
/// When the handler is of no more use.
pub fn receive(puller: &mut Puller, worker: &mut Worker<impl Handler>) -> Result<()> {
    if puller.join() {
        worker.joined()?;
    }
    let wait = puller.settings().fetch_max_wait();
    while !puller.stop().is_asked() {
        let Some(received) = puller.next(wait) else { continue };
        if worker.work(&received)? == Worked::Left {
            puller.give_back();
        } else if let Err(error) = puller.commit() {
            log::warn!("{error}; it may come again");
        }
    }
    Ok(())
}
