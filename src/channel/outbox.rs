//! Sending at least once: what the sender gives back for now is submitted again, until it is stored or its
//! time is up.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::sender::{Delivery, Outgoing, Sender, SubmitError};

/// Before a message is submitted again.
const PAUSE: Duration = Duration::from_millis(500);

/// With less left than this a message is not tried again: the sender would give it up at once.
const LAST_TRY: Duration = Duration::from_millis(2_500);

/// Is called from a thread of the sender with a message's number and what became of one try; must be quick,
/// and see to it that [`Outbox::settle`] hears of it.
pub type Told = Arc<dyn Fn(u64, Delivery) + Send + Sync>;

/// Messages on their way, each with a number of the caller's. One whose fate is unknown is sent again as
/// well: it may then be stored twice.
pub struct Outbox {
    sender: Sender,
    told: Told,
    timeout: Duration,
    open: HashMap<u64, Open>,
    again: VecDeque<(Instant, u64)>,
}

struct Open {
    value: Vec<u8>,
    deadline: Instant,
    /// A try ended without an answer.
    in_doubt: bool,
}

/// A message that reached its fate.
#[derive(Debug)]
pub struct Settled {
    /// Its bytes.
    pub value: Vec<u8>,
    /// The fate of all tries together.
    pub delivery: Delivery,
}

impl Outbox {
    /// An outbox that tries each message for `timeout`.
    pub fn new(sender: Sender, timeout: Duration, told: Told) -> Outbox {
        Outbox { sender, told, timeout, open: HashMap::new(), again: VecDeque::new() }
    }

    /// Messages whose fate is open.
    pub fn open(&self) -> usize {
        self.open.len()
    }

    /// Sends a message under a number that no open one has.
    pub fn send(&mut self, number: u64, value: Vec<u8>) {
        let now = Instant::now();
        self.open.insert(number, Open { value, deadline: now + self.timeout, in_doubt: false });
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
    pub fn settle(&mut self, number: u64, delivery: Delivery) -> Option<Settled> {
        let now = Instant::now();
        let open = self.open.get_mut(&number)?;
        if open.goes_again(now, &delivery) {
            self.again.push_back((now + PAUSE, number));
            return None;
        }
        self.open.remove(&number).map(|open| open.settled(delivery))
    }

    /// Takes no further message, and lets those under way end by `deadline`, as [`Sender::close`] does.
    pub fn close(&mut self, deadline: Instant) {
        self.again.clear();
        for open in self.open.values_mut() {
            open.deadline = deadline;
        }
        self.sender.close(deadline);
    }

    /// After [`Outbox::close`] and the calls that came of it: what was waiting to be tried again.
    pub fn leave(&mut self) -> Vec<(u64, Settled)> {
        let given_up = || Delivery::NotStored {
            code: "closing",
            reason: "the program is stopping".to_owned(),
            retry: true,
        };
        self.open.drain().map(|(number, open)| (number, open.settled(given_up()))).collect()
    }

    fn submit(&mut self, now: Instant, number: u64) {
        let Some(open) = self.open.get(&number) else { return };
        let message = Outgoing::new(None, open.value.clone(), open.deadline);
        let told = self.told.clone();
        let refused = match self.sender.submit(message, Box::new(move |delivery| told(number, delivery))) {
            Ok(()) => return,
            Err(SubmitError::QueueFull) => return self.again.push_back((now + PAUSE, number)),
            Err(refused) => refused,
        };
        let reason = refused.to_string();
        (self.told)(number, Delivery::NotStored { code: "refused", reason, retry: false });
    }
}

impl Open {
    fn goes_again(&mut self, now: Instant, delivery: &Delivery) -> bool {
        let worth_it = match delivery {
            Delivery::Stored { .. } => false,
            Delivery::NotStored { retry, .. } => *retry,
            Delivery::Unknown { .. } => {
                self.in_doubt = true;
                true
            }
        };
        worth_it && now + LAST_TRY < self.deadline
    }

    fn settled(self, delivery: Delivery) -> Settled {
        let delivery = match delivery {
            Delivery::NotStored { reason, .. } if self.in_doubt => Delivery::Unknown {
                reason: format!("no answer came when it was sent before; the last try: {reason}"),
            },
            other => other,
        };
        Settled { value: self.value, delivery }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(left: Duration) -> Open {
        Open { value: Vec::new(), deadline: Instant::now() + left, in_doubt: false }
    }

    fn not_stored(retry: bool) -> Delivery {
        Delivery::NotStored { code: "refused", reason: "why".to_owned(), retry }
    }

    fn unknown() -> Delivery {
        Delivery::Unknown { reason: "why".to_owned() }
    }

    #[test]
    fn what_may_pass_is_tried_again_while_there_is_time() {
        let (now, long, short) = (Instant::now(), Duration::from_secs(60), Duration::from_secs(1));
        let stored = Delivery::Stored { topic: "t".into(), partition: 0, offset: 0 };
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
        assert!(matches!(message.settled(not_stored(false)).delivery, Delivery::Unknown { .. }));
        let message = open(Duration::from_secs(60));
        assert_eq!(message.settled(not_stored(false)).delivery, not_stored(false));
    }
}
