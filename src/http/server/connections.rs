//! The table of connections: each slot has a connection and the exchange of its current request.

use std::time::Instant;

use super::connection::Connection;
use crate::http::responder::RequestToken;
use crate::http::response::Response;

/// The stage of a request on its way.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum ExchangeStage {
    /// It waits with its connection.
    Queued,
    /// The handlers have it and have not replied. Its responder may have been used already.
    Forwarded(Option<EarlyResponse>),
    /// The handlers have deferred it, and its responder has not been used.
    Deferred,
}

/// The use of a responder before the handlers have replied.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum EarlyResponse {
    /// The response.
    Response(Response),
    /// A stream, which has ended.
    StreamEnded,
}

/// A request on its way to a response.
#[derive(Debug)]
pub(super) struct Exchange {
    /// Its stage.
    pub(super) stage: ExchangeStage,
    /// The time at which its slot is freed though its responder was never used.
    pub(super) give_up_at: Instant,
}

/// A slot of the table. It is free when it has neither connection nor exchange: a client that leaves during a
/// request keeps its slot until the response has come and been dropped, so that there are never more requests
/// under way than slots.
#[derive(Default)]
pub(super) struct ConnectionSlot {
    /// The connection.
    pub(super) connection: Option<Connection>,
    /// The exchange of its current request.
    pub(super) exchange: Option<Exchange>,
    sequence: u32,
    free: bool,
}

impl ConnectionSlot {
    /// Begins an exchange, and returns its number.
    pub(super) fn begin(&mut self, give_up_at: Instant) -> u32 {
        self.sequence = self.sequence.wrapping_add(1);
        self.exchange = Some(Exchange { stage: ExchangeStage::Queued, give_up_at });
        self.sequence
    }

    /// The token of the current request, whose slot is at `index`.
    pub(super) fn token(&self, index: usize) -> RequestToken {
        RequestToken { connection: index, sequence: self.sequence }
    }

    /// Whether the handlers have to answer the current request, and its client has left.
    pub(super) fn client_has_left(&self) -> bool {
        let left = |connection: &Connection| connection.is_waiting() && connection.has_left();
        let has_left = self.connection.as_ref().is_some_and(left);
        let asked = self.exchange.as_ref().is_some_and(|exchange| exchange.stage != ExchangeStage::Queued);
        has_left && asked
    }
}

/// All slots, up to a limit.
pub(super) struct Connections {
    slots: Vec<ConnectionSlot>,
    free: Vec<usize>,
    limit: usize,
}

impl Connections {
    /// No slots yet, and `limit` at most.
    pub(super) fn new(limit: usize) -> Connections {
        Connections { slots: Vec::new(), free: Vec::new(), limit }
    }

    /// Whether there is no slot for another connection.
    pub(super) fn are_full(&self) -> bool {
        self.free.is_empty() && self.slots.len() >= self.limit
    }

    /// Whether every slot is free.
    pub(super) fn are_free(&self) -> bool {
        self.free.len() == self.slots.len()
    }

    /// The indices of all slots; some may be free.
    pub(super) fn indices(&self) -> std::ops::Range<usize> {
        0..self.slots.len()
    }

    /// The index of the slot for the next connection.
    pub(super) fn next_index(&mut self) -> usize {
        if self.free.is_empty() {
            self.slots.push(ConnectionSlot { free: true, ..ConnectionSlot::default() });
            self.free.push(self.slots.len() - 1);
        }
        self.free.last().copied().unwrap_or_default()
    }

    /// Puts a connection into the slot of [`Connections::next_index`].
    pub(super) fn insert(&mut self, connection: Connection) {
        if let Some(slot) = self.free.pop().and_then(|index| self.slots.get_mut(index)) {
            slot.free = false;
            slot.connection = Some(connection);
        }
    }

    /// The slot at an index.
    pub(super) fn slot(&mut self, index: usize) -> Option<&mut ConnectionSlot> {
        self.slots.get_mut(index)
    }

    /// The connection at an index.
    pub(super) fn get(&mut self, index: usize) -> Option<&mut Connection> {
        self.slot(index)?.connection.as_mut()
    }

    /// The slot of a request, if its exchange is still under way.
    pub(super) fn exchange_of(&mut self, token: RequestToken) -> Option<&mut ConnectionSlot> {
        self.slot(token.connection).filter(|slot| slot.sequence == token.sequence && slot.exchange.is_some())
    }

    /// Ends the exchange of a closed stream once the handlers have replied to it.
    pub(super) fn end_stream(&mut self, index: usize) {
        match self.slot(index).and_then(|slot| slot.exchange.as_mut()) {
            Some(Exchange { stage: stage @ ExchangeStage::Forwarded(_), .. }) => {
                *stage = ExchangeStage::Forwarded(Some(EarlyResponse::StreamEnded))
            }
            _ => self.end_exchange(index),
        }
    }

    /// Ends the exchange at an index, if there is one.
    pub(super) fn end_exchange(&mut self, index: usize) {
        if let Some(slot) = self.slots.get_mut(index) {
            slot.exchange = None;
        }
        self.free_if_empty(index);
    }

    /// Frees the slot at an index if it is empty.
    pub(super) fn free_if_empty(&mut self, index: usize) {
        if let Some(slot) = self.slots.get_mut(index)
            && slot.connection.is_none()
            && slot.exchange.is_none()
            && !slot.free
        {
            slot.free = true;
            self.free.push(index);
        }
    }
}
