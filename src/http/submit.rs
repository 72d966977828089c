//! The producer interfaces that the endpoint needs: one for the channel's topic, one for any topic.

use crate::producer::{DeliveryCallback, Producer, ProducerRecord, Producers, SubmitError};

/// Takes messages for the channel's topic.
pub trait Submit: Send + Sync + 'static {
    /// Takes a message without blocking. `done` is called exactly once, from any thread, if and only if this
    /// returns `Ok`, and by the message's deadline.
    ///
    /// # Errors
    /// The message was not taken and is certainly not stored.
    fn submit(&self, message: ProducerRecord, done: DeliveryCallback) -> Result<(), SubmitError>;
}

impl Submit for Producer {
    fn submit(&self, message: ProducerRecord, done: DeliveryCallback) -> Result<(), SubmitError> {
        Producer::submit(self, message, done)
    }
}

/// Takes messages for any topic.
pub trait SubmitTo: Send + Sync + 'static {
    /// Takes messages for a topic that exists, without blocking. Each `done` is called exactly once, from any
    /// thread, if and only if its message was taken, and by the message's deadline. The results are in the
    /// order of the messages; a message that was not taken is certainly not stored.
    fn submit(
        &self,
        topic: &str,
        messages: Vec<(ProducerRecord, DeliveryCallback)>,
    ) -> Vec<Result<(), SubmitError>>;
}

impl SubmitTo for Producers {
    fn submit(
        &self,
        topic: &str,
        messages: Vec<(ProducerRecord, DeliveryCallback)>,
    ) -> Vec<Result<(), SubmitError>> {
        Producers::submit(self, topic, messages)
    }
}
