//! The door's one thread: waits for sockets, answers and deadlines, and gives each connection its turn.
//!
//! Sockets are registered once, edge-triggered, for reading and writing; what an event reported stays noted
//! with its connection until a read or write meets an empty or full socket. So a request costs no call to
//! change a registration, and a connection that is not to be read (its request is being answered) does not
//! wake the thread.

use std::collections::VecDeque;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::event::Event;
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

use super::client::{Client, Phase, SLOW_BODY, SLOW_HEAD, Step, Turn};
use super::ledger::Ledger;
use super::limits::{ACCEPT_PAUSE, ACCEPTS_IN_A_ROW, HANDSHAKES_IN_A_ROW, Limits, READ_BYTES, SWEEP_EVERY};
use super::output::DateLine;
use super::slots::{Place, Slots};
use super::tls::Acceptor;
use super::transport::Transport;
use super::troubles::Troubles;
use super::upstream::Upstream;
use super::{Entrance, Gate};
use crate::http::answer::Refusal;
use crate::http::tickets::{Mail, Mailbox, Visit};

/// The waker's token; see [`crate::http::tickets::mailbox`].
pub(crate) const WAKER: Token = Token(0);
const LISTENER: Token = Token(1);
pub(super) const UPSTREAM: Token = Token(2);
/// The token of the first place; the others follow.
const FIRST_CLIENT: usize = 3;

const CLOSING: Refusal = Refusal::new(
    503,
    "closing",
    "The server stopped before the request was whole; the message was not stored.",
);

/// Events taken from the system in one call.
const EVENTS: usize = 1024;

/// The door's state, all of it owned by its thread.
pub(super) struct EventLoop {
    pub(super) poll: Poll,
    listener: Option<mio::net::TcpListener>,
    pub(super) limits: Limits,
    gate: Gate,
    pub(super) mailbox: Arc<Mailbox>,
    pub(super) slots: Slots,
    pub(super) upstream: Upstream,
    pub(super) scratch: Vec<u8>,
    pub(super) budget: usize,
    pub(super) now: Instant,
    pub(super) date: DateLine,
    pub(super) troubles: Troubles,
    pub(super) ledger: Ledger,
    /// Connections that have more to read than one turn allows.
    again: Vec<usize>,
    /// Clients that wait for their next step in a TLS handshake, in their order.
    handshakes: VecDeque<usize>,
    acceptable: bool,
    accept_after: Option<Instant>,
    next_sweep: Instant,
    stop_at: Option<Instant>,
}

impl EventLoop {
    /// Everything in its place, nothing running yet.
    pub(super) fn new(
        listener: TcpListener,
        (limits, ledger): (Limits, Ledger),
        gate: Gate,
        entrance: Entrance,
        mailbox: Arc<Mailbox>,
        poll: Poll,
    ) -> io::Result<EventLoop> {
        let mut listener = mio::net::TcpListener::from_std(listener);
        poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
        let now = Instant::now();
        Ok(EventLoop {
            poll,
            listener: Some(listener),
            slots: Slots::new(limits.max_connections),
            upstream: Upstream::new(entrance.path, entrance.secret),
            scratch: vec![0; READ_BYTES],
            budget: limits.body_budget(),
            limits,
            gate,
            mailbox,
            now,
            date: DateLine::new(),
            troubles: Troubles::default(),
            ledger,
            again: Vec::new(),
            handshakes: VecDeque::new(),
            acceptable: false,
            accept_after: None,
            next_sweep: now + SWEEP_EVERY,
            stop_at: None,
        })
    }

    /// Runs until stopped.
    pub(super) fn run(mut self) {
        let mut events = Events::with_capacity(EVENTS);
        let mut mail = Vec::new();
        loop {
            self.connect_upstream();
            let timeout = self.timeout();
            if let Err(error) = self.poll.poll(&mut events, timeout)
                && error.kind() != io::ErrorKind::Interrupted
            {
                log::error!("the front door cannot wait for its sockets: {error}");
                std::thread::sleep(ACCEPT_PAUSE); // never a busy loop, and never the end
            }
            self.now = Instant::now();
            self.date.update(self.now);
            self.go_on();
            for event in &events {
                self.note(event);
            }
            self.shake_hands();
            self.collect(&mut mail); // before a loss is noticed, so that what is known is said
            self.relay_answers();
            self.sweep();
            self.accept();
            self.pump();
            self.troubles.report(self.now);
            self.ledger.write();
            if self.stop_at.is_some_and(|at| self.now >= at || !self.serves_anybody()) {
                return self.answer_the_rest();
            }
        }
    }

    /// Gives those their next turn who had more to read than one turn allowed.
    fn go_on(&mut self) {
        let mut again = std::mem::take(&mut self.again);
        again.sort_unstable();
        again.dedup();
        for index in again {
            self.advance(index);
        }
    }

    /// Lets those take a step in their TLS handshake who have waited longest for it. It may cost a millisecond of
    /// computing, so it is a few at a time: a crowd that shakes hands must not keep the others waiting.
    fn shake_hands(&mut self) {
        let mut steps = 0;
        while steps < HANDSHAKES_IN_A_ROW
            && let Some(index) = self.handshakes.pop_front()
        {
            // Who waited in this place may be gone.
            if self.slots.client(index).is_some_and(Client::leave_line) {
                self.advance_with(index, true);
                steps += 1;
            }
        }
    }

    /// Whether new requests are refused.
    pub(super) fn is_stopping(&self) -> bool {
        self.stop_at.is_some()
    }

    /// How long to sleep: not at all if there is something to do.
    fn timeout(&mut self) -> Option<Duration> {
        let accepts = self.can_accept() && self.accept_after.is_none();
        let reads = !self.again.is_empty() || !self.handshakes.is_empty() || self.upstream.is_readable();
        if accepts || reads || !self.mailbox.fall_asleep() {
            return Some(Duration::ZERO);
        }
        let sweep = (!self.slots.are_free()).then_some(self.next_sweep);
        let timers =
            [sweep, self.accept_after, self.upstream.timer(), self.stop_at, self.troubles.due(self.now)];
        let first = timers.into_iter().flatten().min()?;
        Some(first.saturating_duration_since(Instant::now()))
    }

    fn note(&mut self, event: &Event) {
        match event.token() {
            WAKER => {}
            LISTENER => self.acceptable = true,
            UPSTREAM => self.upstream.note(event),
            Token(token) => {
                // An event of a connection that was closed in this round may reach the next one in its place:
                // all that does is to make it try its socket once in vain.
                let index = token - FIRST_CLIENT;
                if let Some(client) = self.slots.client(index) {
                    client.note(event);
                    self.advance(index);
                }
            }
        }
    }

    /// Lets a connection do what it can.
    pub(super) fn advance(&mut self, index: usize) {
        self.advance_with(index, false);
    }

    /// As [`EventLoop::advance`], with a `permit` for a step of a TLS handshake.
    fn advance_with(&mut self, index: usize, mut permit: bool) {
        loop {
            let Some(client) = self.slots.client(index) else { return };
            let mut turn = Turn {
                now: self.now,
                limits: &self.limits,
                guard: &self.gate.guard,
                scratch: &mut self.scratch,
                budget: &mut self.budget,
                ledger: &mut self.ledger,
                stopping: self.stop_at.is_some(),
                permit: std::mem::take(&mut permit),
            };
            match client.step(&mut turn) {
                Step::Wait => return,
                Step::Again => return self.again.push(index),
                Step::Handshake => return self.handshakes.push_back(index),
                Step::BadTls => {
                    self.troubles.bad_tls += 1;
                    client.drain(self.now);
                }
                Step::Forward => return self.forward(index),
                Step::Refuse(refusal) => {
                    match refusal.status {
                        401 => self.troubles.unauthorized += 1,
                        _ => self.troubles.malformed += 1,
                    }
                    self.refuse(index, refusal);
                }
                Step::Close => return self.hang_up(index),
            }
        }
    }

    /// Puts in the answer to a request that is refused; it ends its connection.
    fn refuse(&mut self, index: usize, refusal: Refusal) {
        let by = self.now + self.limits.body_timeout;
        self.ledger.metrics().refused(refusal.code);
        if let Some(client) = self.slots.client(index) {
            client.refused(&mut self.ledger);
            let (answer, noted) = (refusal.answer(), (client.address.as_str(), &client.entry));
            self.ledger.answered(noted, (answer.status, answer.body.len()), client.frame, self.now);
            client.answer(answer, true, by, &mut self.date);
        }
    }

    /// Closes a connection. Its place stays taken while the handlers have its request.
    pub(super) fn hang_up(&mut self, index: usize) {
        let Some(slot) = self.slots.get(index) else { return };
        let streams = slot.client.as_ref().is_some_and(|client| client.phase == Phase::Streaming);
        if let Some(mut client) = slot.client.take() {
            client.release(&mut self.budget);
            self.ledger.metrics().disconnected();
            client.transport.leave();
            if let Err(error) = self.poll.registry().deregister(&mut client.transport.socket) {
                log::debug!("a client's socket could not be deregistered: {error}");
            }
        }
        if slot.exchange.as_ref().is_some_and(|exchange| exchange.place == Place::Queued) {
            slot.exchange = None; // nobody has seen it
        }
        if streams {
            self.slots.end_stream(index);
        }
        self.slots.free_if_empty(index);
        self.accept_after = None; // there is a descriptor again
    }

    /// Takes filled-in tickets, and what is to be streamed, out of the mailbox.
    fn collect(&mut self, mail: &mut Vec<(Visit, Mail)>) {
        let stop_at = self.mailbox.collect(mail);
        for (visit, mail) in mail.drain(..) {
            match mail {
                Mail::Answer(answer) => self.filled_in(visit, answer),
                Mail::Open(opening) => self.open_stream(visit, opening),
                Mail::More(bytes) => self.stream_more(visit, &bytes),
                Mail::End => self.end_stream(visit),
            }
        }
        if self.stop_at.is_none() && stop_at.is_some() {
            self.stop_at = stop_at;
            self.acceptable = false;
            if let Some(mut listener) = self.listener.take()
                && let Err(error) = self.poll.registry().deregister(&mut listener)
            {
                log::debug!("the listener could not be deregistered: {error}");
            }
            for index in self.slots.indices() {
                self.advance(index);
            }
        }
    }

    /// At the end: an honest answer for everybody who has asked for something.
    fn answer_the_rest(&mut self) {
        for index in self.slots.indices() {
            match self.slots.client(index).map(|client| (client.phase, client.is_idle())) {
                Some((Phase::Waiting, _)) => self.overdue(index),
                Some((Phase::Head, false) | (Phase::Body, _)) => {
                    self.refuse(index, CLOSING);
                    self.advance(index);
                }
                _ => {}
            }
        }
        self.troubles.report(self.now);
        self.ledger.write();
    }

    fn serves_anybody(&mut self) -> bool {
        self.slots.indices().any(|index| self.slots.client(index).is_some())
    }

    /// Whether somebody waits to be let in and may be. While there is no connection to the handlers nobody
    /// is: they could not be served, and must not take the descriptors that the next connection needs.
    fn can_accept(&self) -> bool {
        self.acceptable && !self.slots.are_full() && self.upstream.is_proved()
    }

    /// Accepts who waits, as far as there is room.
    fn accept(&mut self) {
        if self.accept_after.is_some_and(|at| self.now < at) {
            return;
        }
        self.accept_after = None;
        for _ in 0..ACCEPTS_IN_A_ROW {
            if !self.can_accept() {
                return;
            }
            let Some(listener) = &self.listener else { return };
            match listener.accept() {
                Ok((stream, address)) => {
                    self.let_in(stream, address);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.acceptable = false,
                Err(error) if is_one_connections_own(&error) => {}
                Err(_) => {
                    self.troubles.not_accepted += 1;
                    self.ledger.metrics().refused("not_accepted");
                    self.accept_after = Some(self.now + ACCEPT_PAUSE);
                    return;
                }
            }
        }
    }

    fn let_in(&mut self, socket: TcpStream, address: SocketAddr) {
        let (session, patience) = match self.gate.tls.as_ref().map(Acceptor::session) {
            None => (None, self.limits.idle_timeout),
            Some(Ok(session)) => (Some(session), self.limits.head_timeout),
            Some(Err(error)) => return log::error!("a connection gets no TLS: {error}"),
        };
        let mut client = Client::new(Transport::new(socket, session), address, self.now, self.now + patience);
        let socket = &mut client.transport.socket;
        let index = self.slots.next();
        let token = Token(index + FIRST_CLIENT);
        let ready = socket.set_nodelay(true).and_then(|()| {
            let both = Interest::READABLE | Interest::WRITABLE;
            self.poll.registry().register(socket, token, both)
        });
        match ready {
            Ok(()) => {
                self.ledger.metrics().connected();
                self.slots.fill(client);
            }
            Err(error) => log::debug!("a connection was lost before it was served: {error}"),
        }
    }

    /// Looks at all deadlines, now and then.
    fn sweep(&mut self) {
        if self.now < self.next_sweep {
            return;
        }
        self.next_sweep = self.now + SWEEP_EVERY;
        for index in self.slots.indices() {
            let Some(slot) = self.slots.get(index) else { continue };
            match (&slot.client, &slot.exchange) {
                (Some(client), _) if client.deadline <= self.now => {
                    let (phase, idle) = (client.phase, client.is_idle());
                    self.expire(index, phase, idle);
                }
                (None, Some(exchange)) if exchange.place == Place::Held && exchange.give_up <= self.now => {
                    self.slots.end_exchange(index);
                }
                _ => {}
            }
        }
    }

    /// A connection's time is up.
    fn expire(&mut self, index: usize, phase: Phase, idle: bool) {
        match phase {
            Phase::Waiting => return self.overdue(index),
            Phase::Streaming => return self.heartbeat(index),
            Phase::Answering | Phase::Draining => return self.hang_up(index),
            Phase::Head if idle => {
                let client = self.slots.client(index);
                let shaking_hands = client.is_some_and(|client| client.transport.is_handshaking());
                self.troubles.bad_tls += u64::from(shaking_hands);
                return self.hang_up(index);
            }
            Phase::Head => self.refuse(index, SLOW_HEAD),
            Phase::Body => self.refuse(index, SLOW_BODY),
        }
        self.troubles.slow += 1;
        self.advance(index);
    }
}

/// Whether accepting failed because that very connection was gone; the next may be fine.
fn is_one_connections_own(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::Interrupted)
}
