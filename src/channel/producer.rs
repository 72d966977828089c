//! A producer of the channel, with delivery reports.

use std::sync::mpsc;
use std::time::{Duration, Instant};

use super::Channel;
use crate::error::{Error, Result, Stored};
use crate::producer::{self, DeliveryReport, ProducerRecord, SubmitError};

/// The name that Kafka's tools show.
const NAME: &str = "producer";

/// How long [`Producer::close`] waits for open records.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(10);

/// Sends records to the channel's topic, `acks=all`, in batches, each key in order. A clone is another handle
/// on the same producer; with the last one dropped its threads end, and records still open are reported as
/// unknown.
#[derive(Clone)]
pub struct Producer {
    producer: producer::Producer,
    _channel: Channel,
}

/// Where a record is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordMetadata {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// The offset.
    pub offset: i64,
}

/// A record that was taken, and whose delivery report is still to come.
pub struct PendingDelivery(mpsc::Receiver<DeliveryReport>);

impl Producer {
    pub(super) fn start(channel: Channel) -> Result<Producer> {
        let settings = channel.shared.settings.producer_settings();
        let endpoint = channel.adapter();
        let producer = producer::Producer::start(&settings, channel.topic(), endpoint, NAME)?;
        Ok(Producer { producer, _channel: channel })
    }

    /// Takes a record and gives back a handle on its delivery; records of other threads go in the same batch.
    ///
    /// # Errors
    /// The record was not taken, and is not stored. The source is a [`SubmitError`]: retriable are a full
    /// queue (10,000 records or 64 MiB, `producer.queue_messages` and `producer.queue_bytes`) and a system
    /// without threads; lasting are a closed producer and a record that has, with key and headers, more bytes
    /// than the queue holds.
    pub fn send(&self, record: ProducerRecord) -> Result<PendingDelivery> {
        let (tell, report) = mpsc::channel();
        self.send_with(record, move |delivery| drop(tell.send(delivery)))?;
        Ok(PendingDelivery(report))
    }

    /// Takes a record; `callback` is called once with its delivery report, on a thread of the producer, and
    /// has to be quick.
    ///
    /// # Errors
    /// As [`Producer::send`]; `callback` is not called then.
    pub fn send_with(
        &self,
        record: ProducerRecord,
        callback: impl FnOnce(DeliveryReport) + Send + 'static,
    ) -> Result<()> {
        self.producer.submit(record, Box::new(callback)).map_err(|error| {
            let lasting = matches!(error, SubmitError::Closed | SubmitError::TooLarge { .. });
            let not_sent = Error::new("the record was not sent").caused_by(error).stored(Stored::No);
            if lasting { not_sent } else { not_sent.retriable() }
        })
    }

    /// Takes no new record, also from other clones, and waits for the open ones, ten seconds at most. A
    /// record that is still open then is reported as not stored if it still waited, else as unknown.
    pub fn close(self) {
        self.producer.close(Instant::now() + CLOSE_TIMEOUT);
    }
}

impl PendingDelivery {
    /// Waits for the delivery report, which comes by the record's deadline.
    ///
    /// # Errors
    /// The record is not stored, or that is not known: see [`Error::is_stored`]. The source of an error that
    /// says not stored is a [`NotStoredKind`](crate::NotStoredKind).
    pub fn wait(self) -> Result<RecordMetadata> {
        match self.0.recv() {
            Ok(DeliveryReport::Stored { topic, partition, offset }) => {
                Ok(RecordMetadata { topic: topic.to_string(), partition, offset })
            }
            Ok(DeliveryReport::NotStored { kind, reason, retry }) => {
                let error = Error::new(reason).caused_by(kind).stored(Stored::No);
                Err(if retry { error.retriable() } else { error })
            }
            Ok(DeliveryReport::Unknown { reason }) => Err(Error::new(reason).stored(Stored::Unknown)),
            Err(mpsc::RecvError) => Err(Error::new("the producer is gone").stored(Stored::Unknown)),
        }
    }
}
