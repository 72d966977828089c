//! A connection whose response is a stream without an end of its own.

use std::time::Instant;

use super::Connection;
use crate::http::responder::StreamHead;
use crate::http::server::connection_step::{NextStep, Phase};
use crate::http::server::limits::{HEARTBEAT_EVERY, STREAM_OUT_BYTES};
use crate::http::server::response_writer::DateHeader;

impl Connection {
    /// Writes the bytes of a stream, unless it ends now.
    pub(super) fn step_stream(&mut self, stopping: bool) -> NextStep {
        if stopping {
            self.end_stream();
            return NextStep::Close;
        }
        match self.flush() {
            // A viewer that has closed its sending side has left.
            Ok(_) if !self.transport.is_hung_up() => NextStep::Wait,
            _ => NextStep::Close,
        }
    }

    /// Begins a stream; the response to a `HEAD` ends with its head.
    pub(in crate::http::server) fn open_stream(
        &mut self,
        head: StreamHead,
        by: Instant,
        now: Instant,
        date: &mut DateHeader,
    ) {
        let (writer, framing) = self.begin_response(true, by);
        writer.push_stream_head(&head.headers, framing, date);
        if !framing.head_only {
            self.phase = Phase::Streaming;
            self.deadline = now + HEARTBEAT_EVERY;
            self.alive = Some(head.alive);
        }
    }

    /// Adds more of a stream; `false`: too many bytes wait for the client to read.
    pub(in crate::http::server) fn stream_data(&mut self, bytes: &[u8]) -> bool {
        if !bytes.is_empty() {
            self.writer.push_stream(bytes, self.framing);
        }
        self.writer.waiting() <= STREAM_OUT_BYTES
    }

    /// Adds a heartbeat to a stream; `false`: earlier bytes are not written yet.
    pub(in crate::http::server) fn heartbeat(&mut self, now: Instant) -> bool {
        let keeps_up = self.writer.is_empty();
        self.writer.push_stream(b":\n\n", self.framing);
        self.deadline = now + HEARTBEAT_EVERY;
        keeps_up
    }

    /// Ends a stream, as far as the socket takes it; a slow client is not waited for.
    pub(in crate::http::server) fn end_stream(&mut self) {
        self.writer.push_stream(b"", self.framing);
        if let Err(error) = self.flush() {
            log::debug!("a stream's client was gone before its end: {error}");
        }
    }
}
