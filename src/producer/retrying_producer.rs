//! Sending at least once, with a number for each record: one that the producer has no room for yet waits
//! here, and the others behind it. The tries of each are the producer's own ([`Producer::at_least_once`]).

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{DeliveryReport, NotStoredKind, Producer, ProducerRecord, SubmitError};

/// Called from a thread of the producer with a record's number and its delivery report. It must be quick, and
/// pass both on to the thread that calls [`RetryingProducer::complete`].
pub type DeliveryHandler = Arc<dyn Fn(u64, DeliveryReport) + Send + Sync>;

/// Messages on their way, each with a number of the caller's. One whose fate is unknown is sent again as
/// well: it may then be stored twice.
pub struct RetryingProducer {
    producer: Producer,
    on_delivery: DeliveryHandler,
    timeout: Duration,
    /// What each open one weighs.
    open: HashMap<u64, usize>,
    /// Those that the producer has no room for yet, in order.
    waiting: VecDeque<(u64, ProducerRecord)>,
}

/// A message that reached its fate.
#[derive(Debug)]
pub struct Completed {
    /// What it weighed ([`ProducerRecord::bytes`]).
    pub bytes: usize,
    /// The fate of all tries together.
    pub delivery: DeliveryReport,
}

impl RetryingProducer {
    /// A retrying producer that tries each message for `timeout`. `producer` has to be one of
    /// [`Producer::at_least_once`].
    pub fn new(producer: Producer, timeout: Duration, on_delivery: DeliveryHandler) -> RetryingProducer {
        RetryingProducer { producer, on_delivery, timeout, open: HashMap::new(), waiting: VecDeque::new() }
    }

    /// Messages whose fate is open.
    pub fn open(&self) -> usize {
        self.open.len()
    }

    /// Sends a message under a number that no open one has. Its deadline is set anew.
    pub fn send(&mut self, number: u64, record: ProducerRecord) {
        let record = ProducerRecord { deadline: Instant::now() + self.timeout, ..record };
        self.open.insert(number, record.bytes());
        self.waiting.push_back((number, record));
        self.send_waiting();
    }

    /// Hands the producer what it has room for by now.
    pub fn send_waiting(&mut self) {
        while let Some((number, record)) = self.waiting.pop_front() {
            let on_delivery = self.on_delivery.clone();
            let submitted =
                self.producer.submit(record.clone(), Box::new(move |delivery| on_delivery(number, delivery)));
            match submitted {
                Ok(()) => {}
                Err(SubmitError::QueueFull) if Instant::now() < record.deadline => {
                    self.waiting.push_front((number, record));
                    return;
                }
                Err(refused) => {
                    let (kind, reason) = (NotStoredKind::Refused, refused.to_string());
                    (self.on_delivery)(number, DeliveryReport::NotStored { kind, reason, retry: false });
                }
            }
        }
    }

    /// Takes note of what became of a message; `None` if no open one has this number.
    pub fn complete(&mut self, number: u64, delivery: DeliveryReport) -> Option<Completed> {
        self.open.remove(&number).map(|bytes| Completed { bytes, delivery })
    }

    /// Takes no further message, and lets those under way end by `deadline`, as [`Producer::close`] does.
    pub fn close(&mut self, deadline: Instant) {
        self.producer.close(deadline);
    }

    /// After [`RetryingProducer::close`] and the calls that came of it: what the producer had no room for.
    pub fn leave(&mut self) -> Vec<(u64, Completed)> {
        let given_up = || DeliveryReport::NotStored {
            kind: NotStoredKind::Closing,
            reason: "the program is stopping".to_owned(),
            retry: true,
        };
        self.waiting.clear();
        self.open.drain().map(|(number, bytes)| (number, Completed { bytes, delivery: given_up() })).collect()
    }
}
