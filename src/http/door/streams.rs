//! Answers that go on: their bytes come through the mailbox, and a client that does not read them is dropped.
//!
//! While it streams, a connection has no deadline but the next heartbeat; it is no open request either, so a stop
//! ends it at once. The place of its request is held as for any ticket, and given back when its client leaves.

use super::client::Phase;
use super::event_loop::EventLoop;
use crate::http::tickets::{Opening, Visit};

impl EventLoop {
    /// Begins a stream, before or after the handlers have said that the answer comes by ticket. If the client has
    /// left meanwhile, or only wants the head, dropping `opening` says so.
    pub(super) fn open_stream(&mut self, visit: Visit, opening: Opening) {
        let (now, by) = (self.now, self.now + self.limits.body_timeout);
        let Some(slot) = self.slots.visited(visit) else { return };
        if let Some(client) = slot.client.as_mut().filter(|client| client.is_waiting()) {
            let noted = (client.address.as_str(), &client.entry);
            self.ledger.answered(noted, (200, 0), client.frame, now);
            client.open_stream(opening, by, now, &mut self.date);
        }
        if slot.client.as_ref().is_none_or(|client| client.phase != Phase::Streaming) {
            self.slots.end_stream(visit.slot);
        }
        self.advance(visit.slot);
    }

    /// Brings more of a stream to its client.
    pub(super) fn stream_more(&mut self, visit: Visit, bytes: &[u8]) {
        let Some(client) = self.slots.visited(visit).and_then(|slot| slot.client.as_mut()) else { return };
        if client.phase != Phase::Streaming {
            return;
        }
        if client.stream_more(bytes) { self.advance(visit.slot) } else { self.drop_slow(visit.slot) }
    }

    /// Ends a stream.
    pub(super) fn end_stream(&mut self, visit: Visit) {
        let Some(client) = self.slots.visited(visit).and_then(|slot| slot.client.as_mut()) else { return };
        if client.phase == Phase::Streaming {
            client.end_stream();
            self.hang_up(visit.slot);
        }
    }

    /// Writes to a stream so that both sides notice when the other is gone.
    pub(super) fn heartbeat(&mut self, index: usize) {
        let now = self.now;
        match self.slots.client(index).map(|client| client.heartbeat(now)) {
            Some(true) => self.advance(index),
            Some(false) => self.drop_slow(index),
            None => {}
        }
    }

    fn drop_slow(&mut self, index: usize) {
        self.troubles.slow_readers += 1;
        self.hang_up(index);
    }
}
