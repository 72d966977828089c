//! Requests on their way to the handlers, and answers on their way back.

use super::client::Phase;
use super::event_loop::{EventLoop, UPSTREAM};
use super::limits::{ANSWER_GRACE, READS_IN_A_ROW};
use super::relay::{self, Relayed};
use super::slots::{Early, Place};
use crate::http::answer::Answer;
use crate::http::tickets::{HELD_STATUS, Visit};

impl EventLoop {
    /// Sees to it that there is a connection to the handlers, or that nobody waits for one in vain.
    pub(super) fn connect_upstream(&mut self) {
        if self.upstream.is_dumb(self.now) {
            self.lose_upstream("it does not answer");
        }
        if let Err(error) = self.upstream.connect(self.poll.registry(), UPSTREAM, self.now) {
            log::debug!("the handlers cannot be reached: {error}");
            self.troubles.upstream_lost += 1;
            for visit in self.upstream.give_up_waiting() {
                self.fail(visit, false);
            }
        }
    }

    /// Gives a whole request its place in the queue to the handlers.
    pub(super) fn forward(&mut self, index: usize) {
        let deadline = self.now + self.limits.answer_timeout + ANSWER_GRACE;
        let Some(slot) = self.slots.get(index) else { return };
        let turn = slot.begin(deadline);
        let Some(client) = &mut slot.client else { return };
        client.deadline = deadline;
        self.upstream.enqueue(Visit { slot: index, turn, request: client.frame.request });
    }

    /// Sends what waits, as far as there is room: one write for all of it.
    pub(super) fn pump(&mut self) {
        loop {
            while let Some(visit) = self.upstream.next() {
                let Some(slot) = self.slots.visited(visit) else { continue };
                let (Some(client), Some(exchange)) = (&mut slot.client, &mut slot.exchange) else { continue };
                if let Some(request) = client.whole() {
                    self.upstream.send(visit, client.frame.head_only, &request);
                    exchange.place = Place::Sent(None);
                }
                client.handed_over();
            }
            if let Err(error) = self.upstream.flush() {
                return self.lose_upstream(&error.to_string());
            }
            if !self.upstream.has_work() {
                return;
            }
        }
    }

    /// Reads the handlers' answers and brings each to its client.
    pub(super) fn relay_answers(&mut self) {
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
                let Some(head_only) = self.upstream.due() else { break !rest.is_empty() };
                match relay::take(rest, head_only) {
                    Ok(None) => break false,
                    Err(relay::NotAnAnswer) => break true,
                    Ok(Some(answer)) => {
                        used += answer.used;
                        if let Some(visit) = self.upstream.answered() {
                            self.relayed(visit, &answer);
                        }
                    }
                }
            };
            self.upstream.put_back(input, used);
            if lost {
                return self.lose_upstream("its answers are out of step");
            }
        }
    }

    /// An answer of the handlers.
    fn relayed(&mut self, visit: Visit, answer: &Relayed<'_>) {
        let (by, stopping) = (self.now + self.limits.body_timeout, self.is_stopping());
        let Some(slot) = self.slots.visited(visit) else { return };
        if answer.status == HELD_STATUS {
            let Some(exchange) = &mut slot.exchange else { return };
            match std::mem::replace(&mut exchange.place, Place::Held) {
                Place::Sent(Some(Early::Answer(answer))) => self.finish(visit, answer),
                Place::Sent(Some(Early::Over)) => self.slots.end_exchange(visit.slot),
                _ => {}
            }
            return;
        }
        if let Some(client) = slot.client.as_mut().filter(|client| client.is_waiting()) {
            let noted = (client.address.as_str(), &client.entry);
            self.ledger.answered(noted, (answer.status, answer.length), client.frame, self.now);
            let (output, frame) = client.begin_answer(stopping, by);
            let headers = |out: &mut Vec<u8>| out.extend_from_slice(&answer.headers);
            output.push_head(answer.status, headers, answer.length, frame, &mut self.date);
            output.push_body(answer.body);
        }
        self.slots.end_exchange(visit.slot);
        self.advance(visit.slot);
    }

    /// A ticket has been filled in: before or after the handlers' own answer has come.
    pub(super) fn filled_in(&mut self, visit: Visit, answer: Answer) {
        let Some(exchange) = self.slots.visited(visit).and_then(|slot| slot.exchange.as_mut()) else {
            return;
        };
        match &mut exchange.place {
            Place::Held => self.finish(visit, answer),
            Place::Sent(early) => *early = Some(Early::Answer(answer)),
            Place::Queued => {}
        }
    }

    /// Ends an exchange with an answer.
    fn finish(&mut self, visit: Visit, answer: Answer) {
        self.answer(visit.slot, answer, false);
        self.slots.end_exchange(visit.slot);
        self.advance(visit.slot);
    }

    fn answer(&mut self, index: usize, answer: Answer, close: bool) {
        let by = self.now + self.limits.body_timeout;
        let close = close || self.is_stopping();
        if let Some(client) = self.slots.client(index).filter(|client| client.is_waiting()) {
            let noted = (client.address.as_str(), &client.entry);
            self.ledger.answered(noted, (answer.status, answer.body.len()), client.frame, self.now);
            client.answer(answer, close, by, &mut self.date);
        }
    }

    /// An answer has not come in time, though whoever owed it had a second more than it needed. If the
    /// handlers have not answered either, the place stays taken until they have.
    pub(super) fn overdue(&mut self, index: usize) {
        let Some(slot) = self.slots.get(index) else { return };
        let (Some(client), Some(exchange)) = (&slot.client, &mut slot.exchange) else { return };
        let (queued, held) = (exchange.place == Place::Queued, exchange.place == Place::Held);
        let early = match &mut exchange.place {
            Place::Sent(early) => early.take(),
            _ => None,
        };
        let answer = match early {
            Some(Early::Answer(answer)) => answer,
            _ if client.has_effect && !queued => unknown(),
            _ => not_stored(),
        };
        self.troubles.unanswered += 1;
        self.answer(index, answer, true);
        if queued || held {
            self.slots.end_exchange(index);
        }
        self.advance(index);
    }

    /// The connection to the handlers is lost: what was under way on it gets its honest answer.
    fn lose_upstream(&mut self, why: &str) {
        log::debug!("the connection to the handlers is lost: {why}");
        self.troubles.upstream_lost += 1;
        for (visit, written) in self.upstream.give_up(self.poll.registry(), self.now) {
            self.fail(visit, written);
        }
    }

    /// Answers a request that the handlers will not answer any more; `written`: they may have seen it whole.
    fn fail(&mut self, visit: Visit, written: bool) {
        let Some(slot) = self.slots.visited(visit) else { return };
        let streams = slot.client.as_ref().is_some_and(|client| client.phase == Phase::Streaming);
        let has_effect = slot.client.as_ref().is_some_and(|client| client.has_effect);
        let early = match slot.exchange.take().map(|exchange| exchange.place) {
            Some(Place::Sent(early)) => early,
            _ => None,
        };
        self.troubles.unanswered += u64::from(early.is_none() && !streams);
        match early {
            Some(Early::Answer(answer)) => self.finish(visit, answer),
            _ if streams => self.hang_up(visit.slot),
            Some(Early::Over) => self.slots.end_exchange(visit.slot),
            None if has_effect && written => self.finish(visit, unknown()),
            None => self.finish(visit, not_stored()),
        }
    }
}

fn not_stored() -> Answer {
    Answer::error(503, "unavailable", "The request could not be handled in time; the message was not stored.")
}

fn unknown() -> Answer {
    Answer::error(504, "unknown", "No answer came in time; the message may or may not be stored.")
}
