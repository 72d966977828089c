//! The places of the door: a client's connection each, and the request of it that is on its way.

use std::time::Instant;

use super::client::Client;
use crate::http::answer::Answer;
use crate::http::tickets::Visit;

/// Where a request is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Still with its client.
    Queued,
    /// With the handlers, who have not answered. What came of its ticket may be known already.
    Sent(Option<Early>),
    /// The handlers have given it a ticket, which is not filled in yet.
    Held,
}

/// What came of a ticket before the handlers said that there is one.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Early {
    /// Its answer.
    Answer(Answer),
    /// A stream, which is over.
    Over,
}

/// A request on its way.
#[derive(Debug)]
pub(super) struct Exchange {
    /// Where it is.
    pub(super) place: Place,
    /// When its place is cleared if its ticket is never filled in.
    pub(super) give_up: Instant,
}

/// A place. It is free when it has neither client nor exchange: a client that leaves in mid-request keeps its
/// place until the answer has come and been thrown away, so that nobody can have more under way than there
/// are places.
#[derive(Default)]
pub(super) struct Slot {
    /// Who is there.
    pub(super) client: Option<Client>,
    /// What is under way.
    pub(super) exchange: Option<Exchange>,
    turn: u32,
    free: bool,
}

impl Slot {
    /// Begins an exchange and returns its turn.
    pub(super) fn begin(&mut self, give_up: Instant) -> u32 {
        self.turn = self.turn.wrapping_add(1);
        self.exchange = Some(Exchange { place: Place::Queued, give_up });
        self.turn
    }
}

/// All places, up to a limit.
pub(super) struct Slots {
    slots: Vec<Slot>,
    free: Vec<usize>,
    limit: usize,
}

impl Slots {
    /// No places yet, and `limit` at most.
    pub(super) fn new(limit: usize) -> Slots {
        Slots { slots: Vec::new(), free: Vec::new(), limit }
    }

    /// Whether there is no room for another client.
    pub(super) fn are_full(&self) -> bool {
        self.free.is_empty() && self.slots.len() >= self.limit
    }

    /// Whether every place is free.
    pub(super) fn are_free(&self) -> bool {
        self.free.len() == self.slots.len()
    }

    /// Every place there has been; some may be free.
    pub(super) fn indices(&self) -> std::ops::Range<usize> {
        0..self.slots.len()
    }

    /// The place that the next client gets.
    pub(super) fn next(&mut self) -> usize {
        if self.free.is_empty() {
            self.slots.push(Slot { free: true, ..Slot::default() });
            self.free.push(self.slots.len() - 1);
        }
        self.free.last().copied().unwrap_or_default()
    }

    /// Puts a client into the place that [`Slots::next`] named.
    pub(super) fn fill(&mut self, client: Client) {
        if let Some(slot) = self.free.pop().and_then(|index| self.slots.get_mut(index)) {
            slot.free = false;
            slot.client = Some(client);
        }
    }

    /// A place.
    pub(super) fn get(&mut self, index: usize) -> Option<&mut Slot> {
        self.slots.get_mut(index)
    }

    /// The client in a place.
    pub(super) fn client(&mut self, index: usize) -> Option<&mut Client> {
        self.get(index)?.client.as_mut()
    }

    /// The place of a visit, if that visit's exchange is still under way.
    pub(super) fn visited(&mut self, visit: Visit) -> Option<&mut Slot> {
        self.get(visit.slot).filter(|slot| slot.turn == visit.turn && slot.exchange.is_some())
    }

    /// Ends a place's exchange as soon as the handlers owe no answer to it: its stream is over.
    pub(super) fn end_stream(&mut self, index: usize) {
        match self.get(index).and_then(|slot| slot.exchange.as_mut()) {
            Some(Exchange { place: place @ Place::Sent(_), .. }) => *place = Place::Sent(Some(Early::Over)),
            _ => self.end_exchange(index),
        }
    }

    /// Ends a place's exchange, if there is one.
    pub(super) fn end_exchange(&mut self, index: usize) {
        if let Some(slot) = self.slots.get_mut(index) {
            slot.exchange = None;
        }
        self.free_if_empty(index);
    }

    /// Notes that a place is free, if it is.
    pub(super) fn free_if_empty(&mut self, index: usize) {
        if let Some(slot) = self.slots.get_mut(index)
            && slot.client.is_none()
            && slot.exchange.is_none()
            && !slot.free
        {
            slot.free = true;
            self.free.push(index);
        }
    }
}
