//! Producers that record the messages that they have stored, for the dashboard.

use std::sync::Arc;

use super::feed::Feed;
use super::recent_messages::{Prefix, SentMessage};
use crate::http::submit::{Submit, SubmitTo};
use crate::producer::{DeliveryCallback, ProducerRecord, SubmitError};

/// A producer whose stored messages are added to the feed.
pub(super) struct RecordingSink<P> {
    /// The producer that takes the messages.
    pub(super) producer: P,
    /// The feed that gets them.
    pub(super) feed: Arc<Feed>,
}

impl Submit for RecordingSink<Box<dyn Submit>> {
    fn submit(&self, message: ProducerRecord, done: DeliveryCallback) -> Result<(), SubmitError> {
        let done = self.recording(&message, done);
        self.producer.submit(message, done)
    }
}

impl SubmitTo for RecordingSink<Arc<dyn SubmitTo>> {
    fn submit(
        &self,
        topic: &str,
        messages: Vec<(ProducerRecord, DeliveryCallback)>,
    ) -> Vec<Result<(), SubmitError>> {
        let recording = |(message, done)| {
            let done = self.recording(&message, done);
            (message, done)
        };
        self.producer.submit(topic, messages.into_iter().map(recording).collect())
    }
}

impl<P> RecordingSink<P> {
    /// A callback that calls `done`, and adds `message` to the feed if it is stored.
    fn recording(&self, message: &ProducerRecord, done: DeliveryCallback) -> DeliveryCallback {
        let prefixes = Prefix::of_message(message);
        let feed = Arc::clone(&self.feed);
        Box::new(move |delivery| {
            let stored = SentMessage::stored(prefixes, &delivery);
            done(delivery);
            if let Some(message) = stored {
                feed.update(|recent| recent.add(message));
            }
        })
    }
}
