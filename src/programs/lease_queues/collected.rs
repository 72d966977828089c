//! The outcomes of one request, which come from several queues and endpoints.

use std::sync::Arc;

use net::sync::{Mutex, lock};

use crate::http::{OnChanged, ReceiptOutcome};

/// Outcomes that come in parts. The last part sends them all.
#[derive(Clone)]
pub struct Collected(Arc<Mutex<State>>);

struct State {
    outcomes: Vec<ReceiptOutcome>,
    missing: usize,
    reply: Option<OnChanged>,
}

impl Collected {
    /// Of outcomes that stand as they are but for those of `missing` parts, which are at least one.
    pub fn new(outcomes: Vec<ReceiptOutcome>, missing: usize, reply: OnChanged) -> Collected {
        Collected(Arc::new(Mutex::new(State { outcomes, missing, reply: Some(reply) })))
    }

    /// Takes the outcomes of one part, whose places among all are `places`.
    pub fn add(&self, places: &[usize], outcomes: Vec<ReceiptOutcome>) {
        let mut state = lock(&self.0);
        for (place, outcome) in places.iter().zip(outcomes) {
            state.outcomes.get_mut(*place).into_iter().for_each(|known| *known = outcome.clone());
        }
        state.missing = state.missing.saturating_sub(1);
        if state.missing > 0 {
            return;
        }
        let (reply, outcomes) = (state.reply.take(), std::mem::take(&mut state.outcomes));
        drop(state);
        if let Some(reply) = reply {
            reply(outcomes);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    #[test]
    fn the_outcomes_are_in_the_order_of_the_request_whichever_part_comes_first() {
        let (told, heard) = channel();
        let reply = Box::new(move |outcomes| told.send(outcomes).unwrap());
        let collected = Collected::new(vec![ReceiptOutcome::Unknown; 4], 2, reply);
        collected.add(&[3, 1], vec![ReceiptOutcome::Done, ReceiptOutcome::Late]);
        assert!(heard.try_recv().is_err());
        collected.add(&[0], vec![ReceiptOutcome::Elsewhere]);
        let expected =
            [ReceiptOutcome::Elsewhere, ReceiptOutcome::Late, ReceiptOutcome::Unknown, ReceiptOutcome::Done];
        assert_eq!(heard.try_recv().unwrap(), expected);
    }
}
