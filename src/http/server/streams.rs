//! Streamed responses: their bytes come through the response queue, and a client that reads too slowly is
//! dropped.
//!
//! While it streams, a connection has no deadline but the next heartbeat. A stream is no open request, so a
//! stop ends it at once. The slot of its request is kept as for any deferred reply, and freed when its client
//! leaves.

use super::connection_step::Phase;
use super::event_loop::EventLoop;
use crate::http::responder::{RequestToken, StreamHead};

impl EventLoop {
    /// Begins a stream, before or after the handlers' deferred reply has come. If the client has left
    /// meanwhile, is no user any more, or wants the head alone, dropping `head` closes the stream.
    pub(super) fn open_stream(&mut self, token: RequestToken, head: StreamHead) {
        let (now, by) = (self.now, self.now + self.limits.body_timeout);
        let Some(slot) = self.connections.exchange_of(token) else { return };
        if let Some(connection) = slot.connection.as_mut().filter(|connection| connection.is_waiting()) {
            let user = connection.log_entry.user.as_ref();
            if user.is_some_and(|user| !self.policy.still_has(user)) {
                // It was removed or changed while the handlers had the request.
                let refusal = self.policy.refusal(self.policy.unauthorized());
                connection.log_response(&mut self.access_log, refusal.status, refusal.body.len(), now);
                connection.respond(refusal, true, by, &mut self.date);
            } else {
                connection.log_response(&mut self.access_log, 200, 0, now);
                connection.open_stream(head, by, now, &mut self.date);
            }
        }
        if slot.connection.as_ref().is_none_or(|connection| connection.phase != Phase::Streaming) {
            self.connections.end_stream(token.connection);
        }
        self.advance(token.connection);
    }

    /// Sends more of a stream to its client.
    pub(super) fn stream_data(&mut self, token: RequestToken, bytes: &[u8]) {
        let Some(connection) = self.connections.exchange_of(token).and_then(|slot| slot.connection.as_mut())
        else {
            return;
        };
        if connection.phase != Phase::Streaming {
            return;
        }
        if connection.stream_data(bytes) {
            self.advance(token.connection)
        } else {
            self.drop_slow(token.connection)
        }
    }

    /// Ends a stream.
    pub(super) fn end_stream(&mut self, token: RequestToken) {
        let Some(connection) = self.connections.exchange_of(token).and_then(|slot| slot.connection.as_mut())
        else {
            return;
        };
        if connection.phase == Phase::Streaming {
            connection.end_stream();
            self.hang_up(token.connection);
        }
    }

    /// Writes a heartbeat to a stream, so that each side notices when the other is gone.
    pub(super) fn heartbeat(&mut self, index: usize) {
        let now = self.now;
        match self.connections.get(index).map(|connection| connection.heartbeat(now)) {
            Some(true) => self.advance(index),
            Some(false) => self.drop_slow(index),
            None => {}
        }
    }

    fn drop_slow(&mut self, index: usize) {
        self.problems.slow_readers += 1;
        self.hang_up(index);
    }
}
