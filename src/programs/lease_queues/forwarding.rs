//! Receipts that other endpoints have given go on to them, by threads that each wait for one answer at a
//! time.
//!
//! A part of a request, the receipts of one endpoint and group, has [`PATIENCE`] from the arrival of the
//! request on. Threads are started as they are needed, up to [`MOST_THREADS`]; an endpoint that does not
//! answer holds up half of them at most.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use net::sync::{Condvar, Mutex, Worker, lock, wait_timeout};

use super::forward::{Forward, Target};
use super::holders::{Found, Holders};
use super::receipt::EndpointId;
use crate::http::{ChangeRequest, ReceiptOutcome};

/// How long the endpoint that gave a receipt has for its answer.
const PATIENCE: Duration = Duration::from_secs(2);
/// The most forwards under way, and the most to one endpoint.
const MOST_THREADS: usize = 32;
const MOST_OF_ONE: usize = MOST_THREADS / 2;
/// The most parts that wait for a thread.
const MOST_WAITING: usize = 1_024;
/// A thread without work looks this often whether it is asked to end.
const NAP: Duration = Duration::from_secs(1);

/// The receipts of a request that one endpoint gave.
pub struct Part {
    /// The endpoint.
    pub holder: EndpointId,
    /// The group in which it is a member.
    pub group: String,
    /// The receipts.
    pub receipts: Vec<String>,
    /// What is asked.
    pub request: Arc<ChangeRequest>,
    /// When it was asked.
    pub since: Instant,
    /// Hears the outcomes, in the order of the receipts, from any thread.
    pub reply: Box<dyn FnOnce(Vec<ReceiptOutcome>) + Send>,
}

impl Part {
    fn answer(self, outcome: &ReceiptOutcome) {
        (self.reply)(vec![outcome.clone(); self.receipts.len()]);
    }
}

/// Forwards parts of requests. Those under way have ended when this is dropped.
pub struct Forwarding {
    shared: Arc<Shared>,
    threads: Mutex<Vec<Worker>>,
}

struct Shared {
    holders: Holders,
    forward: Forward,
    state: Mutex<State>,
    work: Condvar,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Part>,
    under_way: HashMap<EndpointId, usize>,
    resting: usize,
    closing: bool,
}

impl Forwarding {
    /// To the endpoints that `holders` knows.
    pub fn new(holders: Holders, forward: Forward) -> Forwarding {
        let shared = Shared { holders, forward, state: Mutex::default(), work: Condvar::new() };
        Forwarding { shared: Arc::new(shared), threads: Mutex::default() }
    }

    /// This endpoint is reached at `address`, to which nothing is forwarded.
    pub fn set_own_address(&self, address: Option<String>) {
        self.shared.forward.set_own_address(address);
    }

    /// Forwards a part, soon.
    pub fn submit(&self, part: Part) {
        let mut threads = lock(&self.threads);
        let mut state = lock(&self.shared.state);
        let refusal = if state.closing {
            Some("this endpoint stops")
        } else if state.waiting.len() >= MOST_WAITING {
            Some("as many receipts of other endpoints wait to be forwarded as may")
        } else {
            None
        };
        if let Some(why) = refusal {
            drop(state);
            return part.answer(&ReceiptOutcome::Unavailable(why.to_owned()));
        }
        state.waiting.push_back(part);
        let is_short = state.resting < state.waiting.len() && threads.len() < MOST_THREADS;
        drop(state);
        if is_short {
            let shared = self.shared.clone();
            match Worker::start(&format!("forward-{}", threads.len()), move |_| shared.work()) {
                Ok(thread) => threads.push(thread),
                Err(error) => {
                    log::error!("no thread for forwarding: {error}");
                    if threads.is_empty() {
                        self.shared.refuse_waiting("this endpoint has no thread to forward it");
                    }
                }
            }
        }
        self.shared.work.notify_one();
    }

    /// Answers the parts that wait, and lets the threads end.
    pub fn close(&self) {
        lock(&self.shared.state).closing = true;
        self.shared.holders.stop();
        self.shared.refuse_waiting("this endpoint stops");
        self.shared.work.notify_all();
    }
}

impl Drop for Forwarding {
    fn drop(&mut self) {
        self.close();
        lock(&self.threads).drain(..).for_each(Worker::join);
    }
}

impl Shared {
    fn refuse_waiting(&self, why: &str) {
        let waiting = std::mem::take(&mut lock(&self.state).waiting);
        waiting.into_iter().for_each(|part| part.answer(&ReceiptOutcome::Unavailable(why.to_owned())));
    }

    /// Forwards one part after the other, until the endpoint stops.
    fn work(&self) {
        let mut state = lock(&self.state);
        while !state.closing {
            let Some(part) = state.take() else {
                state.resting += 1;
                state = wait_timeout(&self.work, state, NAP);
                state.resting -= 1;
                continue;
            };
            drop(state);
            let holder = part.holder;
            self.forward(part);
            state = lock(&self.state);
            state.end(holder);
        }
    }

    fn forward(&self, part: Part) {
        let deadline = part.since + PATIENCE;
        let outcome = match self.holders.find(&part.group, part.holder, part.since, deadline) {
            Found::Gone => ReceiptOutcome::Late,
            Found::Unknown(why) => ReceiptOutcome::Unavailable(why),
            Found::Untold => ReceiptOutcome::Unavailable(UNTOLD.to_owned()),
            Found::At(address) => {
                let target = Target { address: &address, receipts: &part.receipts, request: &part.request };
                let outcomes = self.forward.send(&target, deadline);
                if outcomes.iter().any(|outcome| matches!(outcome, ReceiptOutcome::Unanswered(_))) {
                    self.holders.doubt(&part.group);
                }
                return (part.reply)(outcomes);
            }
        };
        part.answer(&outcome);
    }
}

/// What is said of an endpoint without an address.
const UNTOLD: &str = "the endpoint that gave it tells no address, or one that cannot be used: its setting \
    producer_api.advertised has to name one";

impl State {
    /// The next part whose endpoint has not as many under way as it may.
    fn take(&mut self) -> Option<Part> {
        let may = |part: &Part| self.under_way.get(&part.holder).is_none_or(|count| *count < MOST_OF_ONE);
        let at = self.waiting.iter().position(may)?;
        let part = self.waiting.remove(at)?;
        *self.under_way.entry(part.holder).or_default() += 1;
        Some(part)
    }

    fn end(&mut self, holder: EndpointId) {
        if let Some(count) = self.under_way.get_mut(&holder) {
            *count -= 1;
            if *count == 0 {
                self.under_way.remove(&holder);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::{Caller, LeaseChange};

    fn part(holder: EndpointId) -> Part {
        let request = ChangeRequest {
            topic: "t".to_owned(),
            group: None,
            receipts: Vec::new(),
            change: LeaseChange::Acknowledge,
            caller: Caller::default(),
        };
        let (group, receipts, request) = ("g".to_owned(), Vec::new(), Arc::new(request));
        Part { holder, group, receipts, request, since: Instant::now(), reply: Box::new(|_| {}) }
    }

    #[test]
    fn an_endpoint_that_does_not_answer_leaves_threads_to_the_others() {
        let mut state = State::default();
        state.waiting.extend((0..MOST_THREADS).map(|_| part([1; 8])));
        state.waiting.push_back(part([2; 8]));
        for _ in 0..MOST_OF_ONE {
            assert_eq!(state.take().map(|part| part.holder), Some([1; 8]));
        }
        assert_eq!(state.take().map(|part| part.holder), Some([2; 8]));
        assert!(state.take().is_none());
        state.end([1; 8]);
        assert_eq!(state.take().map(|part| part.holder), Some([1; 8]));
    }
}
