//! Sending at least once: a record that the producer gives up for now is submitted again, until it is stored
//! or its time is up.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{DeliveryReport, NotStoredKind, Producer, ProducerRecord, SubmitError};
use net::backoff::jittered;

/// The longest pause before a record is submitted again.
const PAUSE: Duration = Duration::from_millis(500);

/// With less left than this a message is not tried again: the producer would give it up at once.
const LAST_TRY: Duration = Duration::from_millis(2_500);

/// Called from a thread of the producer with a record's number and the delivery report of one try. It must be
/// quick, and pass both on to the thread that calls [`RetryingProducer::complete`].
pub type DeliveryHandler = Arc<dyn Fn(u64, DeliveryReport) + Send + Sync>;

/// Messages on their way, each with a number of the caller's. One whose fate is unknown is sent again as
/// well: it may then be stored twice.
pub struct RetryingProducer {
    producer: Producer,
    on_delivery: DeliveryHandler,
    timeout: Duration,
    open: HashMap<u64, Open>,
    again: VecDeque<(Instant, u64)>,
}

struct Open {
    /// Its deadline is that of all tries together.
    record: ProducerRecord,
    /// A try ended without an answer.
    in_doubt: bool,
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
    /// A retrying producer that tries each message for `timeout`.
    pub fn new(producer: Producer, timeout: Duration, on_delivery: DeliveryHandler) -> RetryingProducer {
        RetryingProducer { producer, on_delivery, timeout, open: HashMap::new(), again: VecDeque::new() }
    }

    /// Messages whose fate is open.
    pub fn open(&self) -> usize {
        self.open.len()
    }

    /// Sends a message under a number that no open one has. Its deadline is set anew.
    pub fn send(&mut self, number: u64, record: ProducerRecord) {
        let now = Instant::now();
        let record = ProducerRecord { deadline: now + self.timeout, ..record };
        self.open.insert(number, Open { record, in_doubt: false });
        self.submit(now, number);
    }

    /// Submits again what it is time for.
    pub fn send_again(&mut self) {
        let now = Instant::now();
        while self.again.front().is_some_and(|(due, _)| *due <= now) {
            if let Some((_, number)) = self.again.pop_front() {
                self.submit(now, number);
            }
        }
    }

    /// Takes note of what became of a try; `None` if the message is tried again.
    pub fn complete(&mut self, number: u64, delivery: DeliveryReport) -> Option<Completed> {
        let now = Instant::now();
        let open = self.open.get_mut(&number)?;
        if open.goes_again(now, &delivery) {
            self.submit_later(now, number);
            return None;
        }
        self.open.remove(&number).map(|open| open.completed(delivery))
    }

    /// Takes no further message, and lets those under way end by `deadline`, as [`Producer::close`] does.
    pub fn close(&mut self, deadline: Instant) {
        self.again.clear();
        for open in self.open.values_mut() {
            open.record.deadline = deadline;
        }
        self.producer.close(deadline);
    }

    /// After [`RetryingProducer::close`] and the calls that came of it: what was waiting to be tried again.
    pub fn leave(&mut self) -> Vec<(u64, Completed)> {
        let given_up = || DeliveryReport::NotStored {
            kind: NotStoredKind::Closing,
            reason: "the program is stopping".to_owned(),
            retry: true,
        };
        self.open.drain().map(|(number, open)| (number, open.completed(given_up()))).collect()
    }

    /// Submits a record again after a pause, in the order of these calls.
    fn submit_later(&mut self, now: Instant, number: u64) {
        let last = self.again.back().map_or(now, |(due, _)| *due);
        self.again.push_back((last.max(now + jittered(PAUSE)), number));
    }

    fn submit(&mut self, now: Instant, number: u64) {
        let Some(open) = self.open.get(&number) else { return };
        let (record, on_delivery) = (open.record.clone(), self.on_delivery.clone());
        let refused =
            match self.producer.submit(record, Box::new(move |delivery| on_delivery(number, delivery))) {
                Ok(()) => return,
                Err(SubmitError::QueueFull) => return self.submit_later(now, number),
                Err(refused) => refused,
            };
        let reason = refused.to_string();
        (self.on_delivery)(
            number,
            DeliveryReport::NotStored { kind: NotStoredKind::Refused, reason, retry: false },
        );
    }
}

impl Open {
    fn goes_again(&mut self, now: Instant, delivery: &DeliveryReport) -> bool {
        let worth_it = match delivery {
            DeliveryReport::Stored { .. } => false,
            DeliveryReport::NotStored { retry, .. } => *retry,
            DeliveryReport::Unknown { .. } => {
                self.in_doubt = true;
                true
            }
        };
        worth_it && now + LAST_TRY < self.record.deadline
    }

    fn completed(self, delivery: DeliveryReport) -> Completed {
        let delivery = match delivery {
            DeliveryReport::NotStored { reason, .. } if self.in_doubt => DeliveryReport::Unknown {
                reason: format!("no answer came when it was sent before; the last try: {reason}"),
            },
            other => other,
        };
        Completed { bytes: self.record.bytes(), delivery }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(left: Duration) -> Open {
        Open { record: ProducerRecord::new(None, Vec::new(), Instant::now() + left), in_doubt: false }
    }

    fn not_stored(retry: bool) -> DeliveryReport {
        DeliveryReport::NotStored { kind: NotStoredKind::Refused, reason: "why".to_owned(), retry }
    }

    fn unknown() -> DeliveryReport {
        DeliveryReport::Unknown { reason: "why".to_owned() }
    }

    #[test]
    fn what_may_pass_is_tried_again_while_there_is_time() {
        let (now, long, short) = (Instant::now(), Duration::from_secs(60), Duration::from_secs(1));
        let stored = DeliveryReport::Stored { topic: "t".into(), partition: 0, offset: 0 };
        assert!(!open(long).goes_again(now, &stored));
        assert!(!open(long).goes_again(now, &not_stored(false)));
        assert!(open(long).goes_again(now, &not_stored(true)));
        assert!(open(long).goes_again(now, &unknown()));
        assert!(!open(short).goes_again(now, &not_stored(true)));
        assert!(!open(short).goes_again(now, &unknown()));
    }

    #[test]
    fn after_one_try_without_an_answer_a_later_refusal_is_no_definite_answer() {
        let mut message = open(Duration::from_secs(60));
        message.goes_again(Instant::now(), &unknown());
        assert!(matches!(message.completed(not_stored(false)).delivery, DeliveryReport::Unknown { .. }));
        let message = open(Duration::from_secs(60));
        assert_eq!(message.completed(not_stored(false)).delivery, not_stored(false));
    }
}
