//! A consumer of the channel, whose handler is a closure.

use super::Channel;
use crate::consumer::{ConsumerHandle, Handler, QueueConsumer};
use crate::error::{Error, Result};
use net::stop::Stop;

/// A consumer that is to be started.
pub struct ConsumerBuilder {
    channel: Channel,
    group: String,
    name: String,
    stop: Stop,
}

impl ConsumerBuilder {
    pub(super) fn new(channel: Channel, group: &str) -> ConsumerBuilder {
        let (group, name) = (group.to_owned(), "consumer".to_owned());
        ConsumerBuilder { channel, group, name, stop: Stop::new() }
    }

    /// The name that Kafka's tools show; `consumer` if none is given.
    #[must_use]
    pub fn name(self, name: &str) -> ConsumerBuilder {
        ConsumerBuilder { name: name.to_owned(), ..self }
    }

    /// A stop that ends the consumer when it is asked, such as that of [`signals`](crate::signals::stop).
    #[must_use]
    pub fn stop(self, stop: Stop) -> ConsumerBuilder {
        ConsumerBuilder { stop, ..self }
    }

    /// Consumes on a thread of its own: `handler` gets each message, one after the other, and the message is
    /// committed when it returns `Ok`. A message that it fails at is tried again, three times in all unless
    /// `[retry]` in the settings says otherwise, and then stored as a dead letter; one that is not JSON is
    /// stored there at once (`consumer.payload`). While it waits for its next attempt, the messages of other
    /// keys go on. The consumer waits for brokers that are not there, and follows the group's changes.
    ///
    /// # Errors
    /// The system gives no thread; `consumer.concurrency` is more than one: see
    /// [`ConsumerBuilder::start_concurrently`]; or `consumer.commit` is not `"message"`.
    pub fn start(self, handler: impl Handler + Send + 'static) -> Result<Consumer> {
        let concurrency = self.channel.shared.settings.consumer.concurrency;
        if concurrency > 1 {
            let error = format!(
                "consumer.concurrency is {concurrency}, but `start` works on one message at a time; \
                 `start_concurrently` works on many"
            );
            return Err(Error::new(error).about_settings());
        }
        self.start_workers(vec![handler])
    }

    /// As [`ConsumerBuilder::start`], but with as many messages under way at a time as `consumer.concurrency`
    /// says, each at a clone of `handler` on a thread of its own. Messages with one key still come one after
    /// the other, unless `consumer.order` says otherwise.
    ///
    /// # Errors
    /// The system gives no thread, or `consumer.commit` is not `"message"`.
    pub fn start_concurrently(self, handler: impl Handler + Clone + Send + 'static) -> Result<Consumer> {
        let concurrency = self.channel.shared.settings.consumer.concurrency;
        let handlers = (0..concurrency).map(|_| handler.clone()).collect();
        self.start_workers(handlers)
    }

    fn start_workers<H: Handler + Send + 'static>(self, handlers: Vec<H>) -> Result<Consumer> {
        let ConsumerBuilder { channel, group, name, stop } = self;
        let mut settings = channel.shared.settings.clone();
        settings
            .consumer
            .check_commit_with_a_handler()
            .map_err(|error| Error::new(error).about_settings())?;
        settings.consumer.group = Some(group);
        let cluster = channel.shared.runtime.cluster().share(channel.consuming_cluster(&settings));
        let consumer =
            QueueConsumer::new(&settings.consumer_settings(), cluster, channel.adapter(), &name, stop);
        Ok(Consumer { handle: consumer.start(handlers)?, _channel: channel })
    }
}

/// A member of the group at work. Dropped, it stops: it finishes and commits the message in hand, which takes
/// ten seconds at most, and leaves its group.
pub struct Consumer {
    // Dropped before the channel that it consumes from.
    handle: ConsumerHandle,
    _channel: Channel,
}

impl Consumer {
    /// Waits until the consumer ends, because its stop was asked or its handler returned
    /// [`Failure::Broken`](crate::Failure::Broken).
    ///
    /// # Errors
    /// The handler returned [`Failure::Broken`](crate::Failure::Broken).
    pub fn wait(self) -> Result<()> {
        let Consumer { handle, _channel } = self;
        handle.wait()
    }

    /// Stops the consumer, as dropping it does.
    ///
    /// # Errors
    /// The handler returned [`Failure::Broken`](crate::Failure::Broken).
    pub fn stop(self) -> Result<()> {
        self.handle.stop();
        self.wait()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::ConsumerRecord;

    /// A consumer of brokers that are not there.
    fn consumer(key: &str, value: &str) -> ConsumerBuilder {
        let channel = Channel::builder().bootstrap_servers("127.0.0.1:1").set(key, value);
        channel.open().unwrap().consumer("g")
    }

    fn handler(_: &ConsumerRecord<'_>) -> Result<(), Error> {
        Ok(())
    }

    #[test]
    fn only_where_each_message_is_committed_a_closure_handles_it() {
        let refused = "consumer.commit: must be \"message\" with a handler: the work queue commits by itself";
        for mode in ["\"pipelined\"", "\"poll\""] {
            let start = || consumer("consumer.commit", mode);
            for started in [start().start(handler), start().start_concurrently(handler)] {
                assert_eq!(started.err().map(|error| error.to_string()).as_deref(), Some(refused));
            }
        }
        assert!(consumer("consumer.commit", "\"message\"").start(handler).is_ok());
    }

    #[test]
    fn one_message_at_a_time_is_not_what_a_concurrency_of_two_asks_for() {
        let error = consumer("consumer.concurrency", "2").start(handler).err().unwrap();
        assert!(error.to_string().contains("`start_concurrently` works on many"), "{error}");
    }
}
