//! The receiver: hands each message to a handler and commits it before the next.

use super::puller::{Puller, Received};
use super::running::Running;
use crate::adapter::Endpoint;
use crate::config::Settings;
use crate::error::Result;
use crate::stop::Stop;

/// What is done with messages.
pub trait Handler {
    /// Called once, when the receiver is a member of the group for the first time.
    ///
    /// # Errors
    /// An error ends the receiver.
    fn joined(&mut self) -> Result<()>;

    /// Handles one message, which is committed afterwards.
    ///
    /// # Errors
    /// An error ends the receiver; the message is not committed.
    fn handle(&mut self, message: &Received<'_>) -> Result<()>;
}

/// A consumer of the group.
pub struct Receiver {
    puller: Puller,
}

impl Receiver {
    /// A receiver called `name` of the group and topic in `settings`, behind the adapter at `endpoint`.
    ///
    /// # Errors
    /// When the system has no random numbers to name the session with.
    pub fn new(settings: &Settings, endpoint: Endpoint, name: &str, stop: Stop) -> Result<Receiver> {
        Puller::new(settings, endpoint, name, stop).map(|puller| Receiver { puller })
    }

    /// Receives on a thread of its own until stop is asked: waits for brokers that are not there, follows the
    /// group's changes. An error of `handler` ends it.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub fn start(self, mut handler: impl Handler + Send + 'static) -> Result<Running> {
        Running::start(self.puller, move |puller| receive(puller, &mut handler))
    }
}

fn receive(puller: &mut Puller, handler: &mut impl Handler) -> Result<()> {
    if puller.join() {
        handler.joined()?;
    }
    let wait = puller.settings().fetch_max_wait();
    while !puller.stop().is_asked() {
        let Some(received) = puller.next(wait) else { continue };
        handler.handle(&received)?;
        if let Err(error) = puller.commit() {
            log::warn!("{error}; it may come again");
        }
    }
    Ok(())
}
