//! The exchanges: requests on their way to the handlers, and responses on their way back.

use std::time::Duration;

use super::connection::Connection;
use super::connection_step::Phase;
use super::connections::{EarlyResponse, ExchangeStage};
use super::event_loop::{EventLoop, UPSTREAM};
use super::limits::{ANSWER_GRACE, READS_IN_A_ROW};
use crate::http::backend::relay::{self, BackendResponse};
use crate::http::responder::{DEFERRED_STATUS, RequestToken};
use crate::http::response::Response;

impl EventLoop {
    /// Connects to the handlers if there is no connection; if that fails, answers the requests that wait for
    /// one.
    pub(super) fn connect_upstream(&mut self) {
        if self.upstream.is_unresponsive(self.now) {
            self.lose_upstream("it does not answer");
        }
        if self.upstream.is_due(self.now) {
            // Until the handlers have taken their end: without a descriptor their listener would end for
            // good.
            while self.reserve.release() {}
            self.is_reserve_lent = true;
        }
        if let Err(error) = self.upstream.connect(self.poll.registry(), UPSTREAM, self.now) {
            log::debug!("the handlers cannot be reached: {error}");
            self.problems.upstream_lost += 1;
            for token in self.upstream.take_waiting() {
                self.fail(token, false);
            }
        }
        if self.is_reserve_lent && (self.upstream.is_verified() || !self.upstream.is_connected()) {
            self.is_reserve_lent = false;
            self.refill_reserve();
        }
    }

    /// Queues a whole request for the handlers.
    pub(super) fn forward(&mut self, index: usize) {
        let Some(slot) = self.connections.slot(index) else { return };
        let wait = slot.connection.as_ref().map_or(Duration::ZERO, Connection::asked_wait);
        let deadline = self.now + wait + self.limits.answer_timeout + ANSWER_GRACE;
        let sequence = slot.begin(deadline);
        let Some(connection) = &mut slot.connection else { return };
        connection.deadline = deadline;
        self.upstream.enqueue(RequestToken { connection: index, sequence });
    }

    /// Sends the queued requests, as far as there is room, with one write.
    pub(super) fn forward_requests(&mut self) {
        loop {
            while let Some(token) = self.upstream.next() {
                let Some(slot) = self.connections.exchange_of(token) else { continue };
                let (Some(connection), Some(exchange)) = (&mut slot.connection, &mut slot.exchange) else {
                    continue;
                };
                if let Some(request) = connection.whole_request() {
                    self.upstream.send(token, connection.framing.head_only, &request);
                    exchange.stage = ExchangeStage::Forwarded(None);
                }
                connection.request_forwarded();
                self.note_departure(token.connection);
            }
            if let Err(error) = self.upstream.flush() {
                return self.lose_upstream(&error.to_string());
            }
            if !self.upstream.has_work() {
                return;
            }
        }
    }

    /// Reads the handlers' responses and sends each to its client.
    pub(super) fn relay_responses(&mut self) {
        for _ in 0..READS_IN_A_ROW {
            match self.upstream.read(&mut self.scratch) {
                Ok(true) => {}
                Ok(false) => return,
                Err(error) => return self.lose_upstream(&error.to_string()),
            }
            let input = self.upstream.take_input();
            let mut used = 0;
            let lost = loop {
                let rest = input.get(used..).unwrap_or_default();
                let Some(head_only) = self.upstream.next_is_head() else { break !rest.is_empty() };
                match relay::parse(rest, head_only) {
                    Ok(None) => break false,
                    Err(relay::OutOfStep) => break true,
                    Ok(Some(response)) => {
                        used += response.used;
                        if let Some(token) = self.upstream.response_received() {
                            self.relay(token, &response);
                        }
                    }
                }
            };
            self.upstream.put_back(input, used);
            if lost {
                return self.lose_upstream("its responses are out of step");
            }
        }
    }

    /// Handles one response of the handlers.
    fn relay(&mut self, token: RequestToken, response: &BackendResponse<'_>) {
        let (by, stopping) = (self.now + self.limits.body_timeout, self.is_stopping());
        let Some(slot) = self.connections.exchange_of(token) else { return };
        if response.status == DEFERRED_STATUS {
            let Some(exchange) = &mut slot.exchange else { return };
            match std::mem::replace(&mut exchange.stage, ExchangeStage::Deferred) {
                ExchangeStage::Forwarded(Some(EarlyResponse::Response(response))) => {
                    self.finish(token, response)
                }
                ExchangeStage::Forwarded(Some(EarlyResponse::StreamEnded)) => {
                    self.connections.end_exchange(token.connection)
                }
                _ => {}
            }
            return;
        }
        if let Some(connection) = slot.connection.as_mut().filter(|connection| connection.is_waiting()) {
            connection.log_response(&mut self.access_log, response.status, response.length, self.now);
            let (writer, framing) = connection.begin_response(stopping, by);
            let headers = |out: &mut Vec<u8>| out.extend_from_slice(&response.headers);
            writer.push_head(response.status, headers, response.length, framing, &mut self.date);
            writer.push_body(response.body);
        }
        self.responses.forget_client(token);
        self.connections.end_exchange(token.connection);
        self.advance(token.connection);
    }

    /// Takes the response of a responder, before or after the handlers' deferred reply has come.
    pub(super) fn responded(&mut self, token: RequestToken, response: Response) {
        let Some(exchange) = self.connections.exchange_of(token).and_then(|slot| slot.exchange.as_mut())
        else {
            return;
        };
        match &mut exchange.stage {
            ExchangeStage::Deferred => self.finish(token, response),
            ExchangeStage::Forwarded(early) => *early = Some(EarlyResponse::Response(response)),
            ExchangeStage::Queued => {}
        }
    }

    /// Ends an exchange with a response.
    fn finish(&mut self, token: RequestToken, response: Response) {
        self.responses.forget_client(token);
        self.respond(token.connection, response, false);
        self.connections.end_exchange(token.connection);
        self.advance(token.connection);
    }

    /// Answers the request of a connection that waits for a response.
    pub(super) fn respond(&mut self, index: usize, response: Response, close: bool) {
        let by = self.now + self.limits.body_timeout;
        let close = close || self.is_stopping();
        if let Some(connection) = self.connections.get(index).filter(|connection| connection.is_waiting()) {
            connection.log_response(&mut self.access_log, response.status, response.body.len(), self.now);
            connection.respond(response, close, by, &mut self.date);
        }
    }

    /// Answers a request whose response has not come in time, although the grace has passed. If the handlers
    /// have not replied either, its slot stays taken until they have.
    pub(super) fn overdue(&mut self, index: usize) {
        let Some(slot) = self.connections.slot(index) else { return };
        let token = slot.token(index);
        let (Some(connection), Some(exchange)) = (&slot.connection, &mut slot.exchange) else { return };
        let (queued, deferred) =
            (exchange.stage == ExchangeStage::Queued, exchange.stage == ExchangeStage::Deferred);
        let early = match &mut exchange.stage {
            ExchangeStage::Forwarded(early) => early.take(),
            _ => None,
        };
        let response = match early {
            Some(EarlyResponse::Response(response)) => response,
            _ if connection.has_effect && !queued => unknown(),
            _ => not_stored(),
        };
        self.problems.unanswered += 1;
        if !queued {
            // Whoever has the responder is to know that nobody hears it any more.
            self.responses.client_left(token);
        }
        self.respond(index, response, true);
        if queued || deferred {
            self.connections.end_exchange(index);
        }
        self.advance(index);
    }

    /// Closes the connection to the handlers, and answers the requests that were in flight on it.
    fn lose_upstream(&mut self, why: &str) {
        log::debug!("the connection to the handlers is lost: {why}");
        self.problems.upstream_lost += 1;
        for (token, written) in self.upstream.close(self.poll.registry(), self.now) {
            self.fail(token, written);
        }
    }

    /// Answers a request that the handlers will not answer; `written`: they may have seen all of it.
    fn fail(&mut self, token: RequestToken, written: bool) {
        self.responses.forget_client(token);
        let Some(slot) = self.connections.exchange_of(token) else { return };
        let is_stream =
            slot.connection.as_ref().is_some_and(|connection| connection.phase == Phase::Streaming);
        let has_effect = slot.connection.as_ref().is_some_and(|connection| connection.has_effect);
        let early = match slot.exchange.take().map(|exchange| exchange.stage) {
            Some(ExchangeStage::Forwarded(early)) => early,
            _ => None,
        };
        self.problems.unanswered += u64::from(early.is_none() && !is_stream);
        match early {
            Some(EarlyResponse::Response(response)) => self.finish(token, response),
            _ if is_stream => self.hang_up(token.connection),
            Some(EarlyResponse::StreamEnded) => self.connections.end_exchange(token.connection),
            None if has_effect && written => self.finish(token, unknown()),
            None => self.finish(token, not_stored()),
        }
    }
}

fn not_stored() -> Response {
    Response::error(
        503,
        "unavailable",
        "The request could not be handled in time; the message was not stored.",
    )
}

fn unknown() -> Response {
    Response::error(504, "unknown", "No answer came; the message may or may not be stored.")
}
