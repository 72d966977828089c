//! Tickets: how an answer that is not known yet finds its client.
//!
//! The handlers sit behind one connection on which answers leave in the order of the requests, so a handler
//! that waited for the cluster would hold up everybody behind it. Instead it answers at once with
//! [`HELD_STATUS`], and the door keeps the client until the [`Ticket`] is filled in, by whichever thread
//! learns the outcome. A ticket may also become a [`Stream`]: an answer that has no end of its own.

use std::borrow::Cow;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
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

/// What a ticket's holder has for its client.
#[derive(Debug)]
pub(crate) enum Mail {
    /// The whole answer.
    Answer(Answer),
    /// The head of an answer that goes on until its stream or its client ends.
    Open(Opening),
    /// More of that answer.
    More(Arc<[u8]>),
    /// The end of it.
    End,
}

/// What a stream begins with.
#[derive(Debug)]
pub(crate) struct Opening {
    /// Whole header lines, each with its CRLF.
    pub(crate) headers: Cow<'static, str>,
    /// Kept as long as the client is there.
    pub(crate) presence: Arc<()>,
}

/// What other threads leave for the door's thread.
pub(crate) struct Mailbox {
    state: Mutex<State>,
    waker: mio::Waker,
}

#[derive(Default)]
struct State {
    mail: Vec<(Visit, Mail)>,
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

    fn post(&self, visit: Visit, mail: Mail) {
        self.leave(|state| state.mail.push((visit, mail)));
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

    /// For the owner: moves everything to `mail`, which must be empty, and says whether and until when to
    /// stop.
    pub(crate) fn collect(&self, mail: &mut Vec<(Visit, Mail)>) -> Option<Instant> {
        let mut state = self.lock();
        state.asleep = false;
        state.news = false;
        std::mem::swap(&mut state.mail, mail);
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
        self.mailbox.post(self.visit, Mail::Answer(answer));
    }

    /// Begins an answer of status 200 that has no end of its own. `headers` are whole lines.
    pub(crate) fn open(self, headers: impl Into<Cow<'static, str>>) -> Stream {
        let (presence, headers) = (Arc::new(()), headers.into());
        let client = Arc::downgrade(&presence);
        self.mailbox.post(self.visit, Mail::Open(Opening { headers, presence }));
        Stream { mailbox: self.mailbox, visit: self.visit, client }
    }
}

/// An answer that goes on. Dropped, it ends.
pub(crate) struct Stream {
    mailbox: Arc<Mailbox>,
    visit: Visit,
    /// Alive as long as the client is.
    client: Weak<()>,
}

impl Stream {
    /// Sends more of it, without waiting. The door drops a client that lets too much of it lie.
    pub(crate) fn push(&self, bytes: Arc<[u8]>) {
        self.mailbox.post(self.visit, Mail::More(bytes));
    }

    /// Whether the client has left, or was dropped.
    pub(crate) fn is_over(&self) -> bool {
        self.client.strong_count() == 0
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        if !self.is_over() {
            self.mailbox.post(self.visit, Mail::End);
        }
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
        let mut mail = Vec::new();
        assert_eq!(mailbox.collect(&mut mail), None);
        let turns: Vec<u32> = mail.iter().map(|(visit, _)| visit.turn).collect();
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
    fn a_stream_is_over_when_its_client_has_left() {
        let (mailbox, _poll) = mailbox(mio::Token(0)).unwrap();
        let stream = Ticket::new(&mailbox, Visit { slot: 1, turn: 1, ..Visit::default() }).open("");
        let mut mail = Vec::new();
        mailbox.collect(&mut mail);
        assert!(!stream.is_over());
        mail.clear();
        assert!(stream.is_over());
        drop(stream);
        mailbox.collect(&mut mail);
        assert!(mail.is_empty(), "nobody is left to hear of its end: {mail:?}");
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
