//! Tickets: how an answer that is not known yet finds its client.
//!
//! The handlers sit behind one connection on which answers leave in the order of the requests, so a handler
//! that waited for the cluster would hold up everybody behind it. Instead it answers at once with
//! [`HELD_STATUS`], and the door keeps the client until the [`Ticket`] is filled in, by whichever thread
//! learns the outcome.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::answer::Answer;
use crate::request_id::RequestId;

/// The status by which a handler tells the door, and only the door, that the answer comes by ticket.
pub(crate) const HELD_STATUS: u16 = 299;

/// One request of one client: a place among the door's connections, and how many requests it had before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Visit {
    /// The connection's place.
    pub(crate) slot: usize,
    /// Which of the requests in that place; an answer to an earlier one is thrown away.
    pub(crate) turn: u32,
    /// The request's id.
    pub(crate) request: RequestId,
}

impl std::fmt::Display for Visit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}.{}", self.slot, self.turn, self.request)
    }
}

impl std::str::FromStr for Visit {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Visit, Self::Err> {
        let (slot, rest) = text.split_once('.').unwrap_or((text, ""));
        let (turn, request) = rest.split_once('.').unwrap_or((rest, ""));
        Ok(Visit { slot: slot.parse()?, turn: turn.parse()?, request: request.parse()? })
    }
}

/// What other threads leave for the door's thread.
pub(crate) struct Mailbox {
    state: Mutex<State>,
    waker: mio::Waker,
}

#[derive(Default)]
struct State {
    answers: Vec<(Visit, Answer)>,
    stop_at: Option<Instant>,
    /// Something was left that the owner has not collected.
    news: bool,
    asleep: bool,
}

impl Mailbox {
    /// An empty mailbox that wakes its owner through `waker`.
    pub(crate) fn new(waker: mio::Waker) -> Mailbox {
        Mailbox { state: Mutex::default(), waker }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the contents, and wakes the owner if it sleeps: once for a burst.
    fn leave(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.lock();
        change(&mut state);
        state.news = true;
        let wake = std::mem::take(&mut state.asleep);
        drop(state);
        if wake && let Err(error) = self.waker.wake() {
            log::error!("the front door cannot be woken: {error}");
        }
    }

    /// Asks the door to finish its open requests until `deadline`, and to end then.
    pub(crate) fn stop(&self, deadline: Instant) {
        self.leave(|state| state.stop_at = Some(deadline));
    }

    /// For the owner, before it sleeps: whether there is nothing to do. From then on it is woken.
    pub(crate) fn fall_asleep(&self) -> bool {
        let mut state = self.lock();
        state.asleep = !state.news;
        state.asleep
    }

    /// For the owner: moves all answers to `answers`, which must be empty, and says whether and until when to
    /// stop.
    pub(crate) fn collect(&self, answers: &mut Vec<(Visit, Answer)>) -> Option<Instant> {
        let mut state = self.lock();
        state.asleep = false;
        state.news = false;
        std::mem::swap(&mut state.answers, answers);
        state.stop_at
    }
}

/// The right to answer one request later, once.
pub(crate) struct Ticket {
    mailbox: Arc<Mailbox>,
    visit: Visit,
}

impl Ticket {
    /// The ticket for a visit.
    pub(crate) fn new(mailbox: &Arc<Mailbox>, visit: Visit) -> Ticket {
        Ticket { mailbox: Arc::clone(mailbox), visit }
    }

    /// The id of the request.
    pub(crate) fn request(&self) -> RequestId {
        self.visit.request
    }

    /// Answers. If the client has gone meanwhile, the answer is thrown away.
    pub(crate) fn answer(self, answer: Answer) {
        let visit = self.visit;
        self.mailbox.leave(|state| state.answers.push((visit, answer)));
    }
}

/// A mailbox whose owner is the returned poll.
///
/// # Errors
/// The system cannot give the descriptors for it.
pub(crate) fn mailbox(token: mio::Token) -> io::Result<(Arc<Mailbox>, mio::Poll)> {
    let poll = mio::Poll::new()?;
    let waker = mio::Waker::new(poll.registry(), token)?;
    Ok((Arc::new(Mailbox::new(waker)), poll))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_burst_wakes_its_owner_once_and_loses_nothing() {
        let (mailbox, mut poll) = mailbox(mio::Token(0)).unwrap();
        assert!(mailbox.fall_asleep());
        for turn in 0..3 {
            Ticket::new(&mailbox, Visit { slot: 1, turn, ..Visit::default() })
                .answer(Answer::json(200, Vec::new()));
        }
        let mut events = mio::Events::with_capacity(8);
        poll.poll(&mut events, Some(Duration::from_secs(10))).unwrap();
        assert_eq!(events.iter().count(), 1);
        assert!(!mailbox.fall_asleep(), "with answers in it, the owner does not sleep");
        let mut answers = Vec::new();
        assert_eq!(mailbox.collect(&mut answers), None);
        let turns: Vec<u32> = answers.iter().map(|(visit, _)| visit.turn).collect();
        assert_eq!(turns, [0, 1, 2]);
    }

    #[test]
    fn a_stop_that_comes_before_sleep_is_not_slept_over() {
        let (mailbox, _poll) = mailbox(mio::Token(0)).unwrap();
        let deadline = Instant::now();
        mailbox.stop(deadline);
        assert!(!mailbox.fall_asleep());
        assert_eq!(mailbox.collect(&mut Vec::new()), Some(deadline));
        assert!(mailbox.fall_asleep());
    }

    #[test]
    fn a_visit_survives_its_way_through_a_header() {
        let visit = Visit { slot: 17, turn: u32::MAX, request: "ff-7".parse().unwrap() };
        assert_eq!(visit.to_string().parse(), Ok(visit));
        for text in ["", "1", "1.", ".1", "a.b", "1.2", "1.2.3", "1.2.3.4"] {
            assert!(text.parse::<Visit>().is_err(), "{text:?}");
        }
    }
}
