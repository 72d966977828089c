//! The server's one thread: waits for sockets, responses and deadlines, and serves each connection in turn.
//!
//! Sockets are registered once, edge-triggered, for reading and writing; the readiness that an event reports
//! is kept with its connection until a read or write finds the socket empty or full. So a request needs no
//! call to change a registration, and a connection that is not to be read (its request is being answered)
//! does not wake the thread.

use std::collections::VecDeque;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::event::Event;
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use net::descriptors::{Reserve, are_used_up};
use net::pulse::Pulse;

use super::access_log::AccessLog;
use super::access_policy::AccessPolicy;
use super::connection::Connection;
use super::connection_step::{NextStep, Phase, SLOW_BODY, SLOW_CHECK, SLOW_HEAD, StepContext};
use super::connections::{Connections, ExchangeStage};
use super::cors;
use super::limits::{
    ACCEPT_PAUSE, ACCEPTS_IN_A_ROW, GUEST_SILENCE, GUESTS, HANDSHAKES_IN_A_ROW, Limits, READ_BYTES,
    SWEEP_EVERY,
};
use super::log_throttle::LogThrottle;
use super::response_writer::DateHeader;
use super::setup::{ServerParts, WAKER};
use super::tls::TlsAcceptor;
use super::transport::Transport;
use crate::http::backend::BackendAddress;
use crate::http::backend::upstream::Upstream;
use crate::http::responder::{RequestToken, ResponseEvent, ResponseQueue};
use crate::http::response::ErrorResponse;

const LISTENER: Token = Token(1);
pub(super) const UPSTREAM: Token = Token(2);
/// The token of the connection at index 0; the others follow.
const FIRST_CONNECTION: usize = 3;

const CLOSING: ErrorResponse = ErrorResponse::new(
    503,
    "closing",
    "The server stopped before the request was whole; the message was not stored.",
);

/// The most events of one poll.
const MAX_EVENTS: usize = 1024;

/// The state of the server, owned by its thread.
pub(super) struct EventLoop {
    pub(super) poll: Poll,
    pub(super) listener: Option<mio::net::TcpListener>,
    pub(super) limits: Limits,
    pub(super) policy: AccessPolicy,
    /// The number of the last check of a password.
    pub(super) next_check: u64,
    tls: Option<TlsAcceptor>,
    pub(super) responses: Arc<ResponseQueue>,
    pub(super) connections: Connections,
    pub(super) upstream: Upstream,
    pub(super) scratch: Vec<u8>,
    pub(super) budget: usize,
    pub(super) now: Instant,
    pub(super) date: DateHeader,
    pub(super) problems: LogThrottle,
    pub(super) access_log: AccessLog,
    /// Connections that have more to read than one turn allows.
    again: Vec<usize>,
    /// Connections that wait for a permit for a step of their TLS handshake, in order.
    handshakes: VecDeque<usize>,
    pub(super) acceptable: bool,
    accept_after: Option<Instant>,
    /// Since when no descriptor was left, at every try to accept.
    pub(super) short_since: Option<Instant>,
    /// The descriptors for guests.
    pub(super) reserve: Reserve,
    /// They are left to the connection to the handlers, which is being made.
    pub(super) is_reserve_lent: bool,
    /// The guests that are connected.
    pub(super) guests: usize,
    next_sweep: Instant,
    stop_at: Option<Instant>,
    pulse: Pulse,
}

impl EventLoop {
    /// An event loop that accepts from `listener`; it does not run yet.
    ///
    /// # Errors
    /// The listener cannot be registered.
    pub(super) fn new(
        listener: TcpListener,
        parts: ServerParts,
        backend: BackendAddress,
    ) -> io::Result<EventLoop> {
        let ServerParts { limits, access_log, policy, tls, responses, poll, pulse, .. } = parts;
        let mut listener = mio::net::TcpListener::from_std(listener);
        poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
        let now = Instant::now();
        Ok(EventLoop {
            poll,
            listener: Some(listener),
            connections: Connections::new(limits.max_connections),
            upstream: Upstream::new(backend),
            scratch: vec![0; READ_BYTES],
            budget: limits.body_budget(),
            limits,
            policy,
            next_check: 0,
            tls,
            responses,
            now,
            date: DateHeader::new(),
            problems: LogThrottle::default(),
            access_log,
            again: Vec::new(),
            handshakes: VecDeque::new(),
            acceptable: false,
            accept_after: None,
            short_since: None,
            reserve: Reserve::of(GUESTS),
            is_reserve_lent: false,
            guests: 0,
            next_sweep: now + SWEEP_EVERY,
            stop_at: None,
            pulse,
        })
    }

    /// Runs until stopped.
    pub(super) fn run(mut self) {
        let mut events = Events::with_capacity(MAX_EVENTS);
        let (mut responses, mut checked) = (Vec::new(), Vec::new());
        loop {
            self.pulse.beat();
            self.connect_upstream();
            let timeout = self.timeout();
            if let Err(error) = self.poll.poll(&mut events, timeout)
                && error.kind() != io::ErrorKind::Interrupted
            {
                log::error!("the HTTP server cannot wait for its sockets: {error}");
                std::thread::sleep(ACCEPT_PAUSE); // never a busy loop, and never the end
            }
            self.now = Instant::now();
            self.date.update(self.now);
            self.continue_reading();
            for event in &events {
                self.note(event);
            }
            self.permit_handshakes();
            // Before a loss of the handlers is noticed, so that known responses are sent.
            self.collect_responses(&mut responses);
            self.collect_checks(&mut checked);
            self.relay_responses();
            self.sweep();
            self.accept();
            self.forward_requests();
            self.problems.report_if_due(self.now);
            self.access_log.flush();
            if self.stop_at.is_some_and(|at| self.now >= at || !self.has_connections()) {
                return self.answer_open_requests();
            }
        }
    }

    /// Serves the connections that had more to read than one turn allowed.
    fn continue_reading(&mut self) {
        let mut again = std::mem::take(&mut self.again);
        again.sort_unstable();
        again.dedup();
        for index in again {
            self.advance(index);
        }
    }

    /// Permits a step of a TLS handshake to the connections that have waited longest for it. A step may take
    /// a millisecond of computing, so there are a few in each round: many handshakes must not delay other
    /// connections.
    fn permit_handshakes(&mut self) {
        let mut steps = 0;
        while steps < HANDSHAKES_IN_A_ROW
            && let Some(index) = self.handshakes.pop_front()
        {
            // The connection that waited at this index may be closed.
            if self.connections.get(index).is_some_and(Connection::take_permit_wait) {
                self.advance_with(index, true);
                steps += 1;
            }
        }
    }

    /// Whether new requests are refused.
    pub(super) fn is_stopping(&self) -> bool {
        self.stop_at.is_some()
    }

    /// The time to sleep: none if there is something to do.
    fn timeout(&mut self) -> Option<Duration> {
        let accepts = self.can_accept() && self.accept_after.is_none();
        let reads = !self.again.is_empty() || !self.handshakes.is_empty() || self.upstream.is_readable();
        if accepts || reads || !self.responses.fall_asleep() {
            return Some(Duration::ZERO);
        }
        let sweep = (!self.connections.are_free()).then_some(self.next_sweep);
        let timers =
            [sweep, self.accept_after, self.upstream.timer(), self.stop_at, self.problems.due_at(self.now)];
        let first = timers.into_iter().flatten().min()?;
        Some(first.saturating_duration_since(Instant::now()))
    }

    fn note(&mut self, event: &Event) {
        match event.token() {
            WAKER => {}
            LISTENER => self.acceptable = true,
            UPSTREAM => self.upstream.note(event),
            Token(token) => {
                // An event of a connection that was closed in this round may reach the next one at its index,
                // which then tries its socket once in vain.
                let index = token - FIRST_CONNECTION;
                if let Some(connection) = self.connections.get(index) {
                    connection.note(event);
                    self.note_departure(index);
                    self.advance(index);
                }
            }
        }
    }

    /// Serves a connection as far as possible now.
    pub(super) fn advance(&mut self, index: usize) {
        self.advance_with(index, false);
    }

    /// Advances as [`EventLoop::advance`] does, with a `permit` for a step of a TLS handshake.
    fn advance_with(&mut self, index: usize, mut permit: bool) {
        loop {
            let Some(connection) = self.connections.get(index) else { return };
            let mut context = StepContext {
                now: self.now,
                limits: &self.limits,
                policy: &mut self.policy,
                scratch: &mut self.scratch,
                budget: &mut self.budget,
                access_log: &mut self.access_log,
                stopping: self.stop_at.is_some(),
                permit: std::mem::take(&mut permit),
            };
            match connection.step(&mut context) {
                NextStep::Wait => return,
                NextStep::Again => return self.again.push(index),
                NextStep::Handshake => return self.handshakes.push_back(index),
                NextStep::BadTls => {
                    self.problems.bad_tls += 1;
                    connection.drain(self.now);
                }
                NextStep::Forward => return self.forward(index),
                NextStep::Authenticate => match self.begin_check(index) {
                    Ok(()) => return,
                    Err(error) => self.refuse_counted(index, error),
                },
                NextStep::Preflight => {
                    connection.request_forwarded();
                    self.respond(index, cors::preflight(), false);
                }
                NextStep::Refuse(error) => self.refuse_counted(index, error),
                NextStep::Close => return self.hang_up(index),
            }
        }
    }

    /// Refuses a request as [`EventLoop::refuse`] does, and counts it as a problem.
    pub(super) fn refuse_counted(&mut self, index: usize, error: ErrorResponse) {
        match error.status {
            401 | 429 => self.problems.unauthorized += 1,
            _ => self.problems.malformed += 1,
        }
        self.refuse(index, error);
    }

    /// Answers a request that is refused; the response ends its connection.
    fn refuse(&mut self, index: usize, error: ErrorResponse) {
        let by = self.now + self.limits.body_timeout;
        self.access_log.metrics().refused(error.code);
        if let Some(connection) = self.connections.get(index) {
            connection.request_refused(&mut self.access_log, &self.policy);
            let response = self.policy.refusal(error);
            connection.log_response(&mut self.access_log, response.status, response.body.len(), self.now);
            connection.respond(response, true, by, &mut self.date);
        }
    }

    /// Tells the responder of a request that its client has closed its connection, or its half of it.
    pub(super) fn note_departure(&mut self, index: usize) {
        if let Some(slot) = self.connections.slot(index).filter(|slot| slot.client_has_left()) {
            self.responses.client_left(slot.token(index));
        }
    }

    /// Closes a connection. Its slot stays taken while the handlers have its request.
    pub(super) fn hang_up(&mut self, index: usize) {
        self.note_departure(index);
        let Some(slot) = self.connections.slot(index) else { return };
        let is_stream =
            slot.connection.as_ref().is_some_and(|connection| connection.phase == Phase::Streaming);
        let mut was_guest = false;
        if let Some(mut connection) = slot.connection.take() {
            was_guest = connection.guest_until.is_some();
            connection.release(&mut self.budget);
            self.access_log.metrics().disconnected();
            connection.transport.notify_close();
            if let Err(error) = self.poll.registry().deregister(&mut connection.transport.socket) {
                log::debug!("a client's socket could not be deregistered: {error}");
            }
        }
        if slot.exchange.as_ref().is_some_and(|exchange| exchange.stage == ExchangeStage::Queued) {
            slot.exchange = None; // the handlers have not seen it
        }
        if is_stream {
            self.connections.end_stream(index);
        }
        self.connections.free_if_empty(index);
        if was_guest {
            self.guests -= 1;
            self.refill_reserve();
        }
        self.accept_after = None; // there is a descriptor again
    }

    /// Takes the responses and streams of other threads out of the queue.
    fn collect_responses(&mut self, responses: &mut Vec<(RequestToken, ResponseEvent)>) {
        let stop_at = self.responses.collect(responses);
        for (token, event) in responses.drain(..) {
            match event {
                ResponseEvent::Response(response) => self.responded(token, response),
                ResponseEvent::StreamStart(head) => self.open_stream(token, head),
                ResponseEvent::StreamData(bytes) => self.stream_data(token, &bytes),
                ResponseEvent::StreamEnd => self.end_stream(token),
            }
        }
        if self.stop_at.is_none() && stop_at.is_some() {
            self.stop_at = stop_at;
            self.tell_what_is_waited_for();
            self.acceptable = false;
            if let Some(mut listener) = self.listener.take()
                && let Err(error) = self.poll.registry().deregister(&mut listener)
            {
                log::debug!("the listener could not be deregistered: {error}");
            }
            for index in self.connections.indices() {
                self.advance(index);
            }
        }
    }

    fn tell_what_is_waited_for(&mut self) {
        let open = self.connections.indices().filter_map(|index| {
            let connection = self.connections.get(index)?;
            connection.has_request().then(|| connection.log_entry.age(self.now))
        });
        let ages: Vec<Duration> = open.collect();
        if let (Some(oldest), Some(until)) = (ages.iter().max(), self.stop_at) {
            let patience = until.saturating_duration_since(self.now).as_secs_f32();
            let (count, oldest) = (ages.len(), oldest.as_secs_f32());
            let requests = if count == 1 { "request" } else { "requests" };
            log::info!(
                "waiting up to {patience:.1} s for {count} {requests} in hand; \
                 the oldest came {oldest:.1} s ago"
            );
        }
    }

    /// At the end: answers every request that is open.
    fn answer_open_requests(&mut self) {
        for index in self.connections.indices() {
            match self.connections.get(index).map(|connection| (connection.phase, connection.is_idle())) {
                Some((Phase::AwaitingResponse, _)) => self.overdue(index),
                Some((Phase::Head, false) | (Phase::Authenticating | Phase::Body, _)) => {
                    self.refuse(index, CLOSING);
                    self.advance(index);
                }
                _ => {}
            }
        }
        self.problems.report_if_due(self.now);
        self.access_log.flush();
    }

    fn has_connections(&mut self) -> bool {
        self.connections.indices().any(|index| self.connections.get(index).is_some())
    }

    /// Whether a connection waits and may be accepted. While there is no connection to the handlers none is:
    /// it could not be served, and must not take the descriptor that the connection to the handlers needs.
    fn can_accept(&self) -> bool {
        self.acceptable && !self.connections.are_full() && self.upstream.is_verified()
    }

    /// Accepts connections, as far as there are slots.
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
                    self.short_since = None;
                    self.add_connection(stream, address, None);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.acceptable = false;
                    self.refill_reserve(); // nobody waits for these descriptors
                }
                Err(error) if concerns_one_connection(&error) => {}
                Err(error) if are_used_up(&error) && self.accept_guest() => {}
                Err(_) => {
                    self.problems.not_accepted += 1;
                    self.access_log.metrics().refused("not_accepted");
                    let pause = if self.guests > 0 { GUEST_SILENCE } else { ACCEPT_PAUSE };
                    self.accept_after = Some(self.now + pause);
                    return;
                }
            }
        }
    }

    /// Serves a connection; one of a guest until then at the latest.
    pub(super) fn add_connection(
        &mut self,
        socket: TcpStream,
        address: SocketAddr,
        guest_until: Option<Instant>,
    ) {
        let now = self.now;
        let (session, patience) = match self.tls.as_mut().map(|tls| tls.session(now)) {
            None => (None, self.limits.idle_timeout),
            Some(Ok(session)) => (Some(session), self.limits.head_timeout),
            Some(Err(error)) => return log::error!("a TLS session cannot be created: {error}"),
        };
        let mut connection =
            Connection::new(Transport::new(socket, session), address, self.now, self.now + patience);
        connection.guest_until = guest_until;
        let socket = &mut connection.transport.socket;
        let index = self.connections.next_index();
        let token = Token(index + FIRST_CONNECTION);
        let ready = socket.set_nodelay(true).and_then(|()| {
            let both = Interest::READABLE | Interest::WRITABLE;
            self.poll.registry().register(socket, token, both)
        });
        match ready {
            Ok(()) => {
                self.access_log.metrics().connected();
                self.guests += usize::from(guest_until.is_some());
                self.connections.insert(connection);
            }
            Err(error) => log::debug!("a connection was lost before it was served: {error}"),
        }
    }

    /// Checks all deadlines, once in an interval.
    fn sweep(&mut self) {
        if self.now < self.next_sweep {
            return;
        }
        self.next_sweep = self.now + SWEEP_EVERY;
        for index in self.connections.indices() {
            let Some(slot) = self.connections.slot(index) else { continue };
            match (&slot.connection, &slot.exchange) {
                (Some(connection), _) if connection.guest_until.is_some_and(|until| until <= self.now) => {
                    self.hang_up(index)
                }
                (Some(connection), _) if connection.deadline <= self.now => {
                    let (phase, idle) = (connection.phase, connection.is_idle());
                    self.expire(index, phase, idle);
                }
                (None, Some(exchange))
                    if exchange.stage == ExchangeStage::Deferred && exchange.give_up_at <= self.now =>
                {
                    self.connections.end_exchange(index);
                }
                _ => {}
            }
        }
    }

    /// The deadline of a connection's phase has passed.
    fn expire(&mut self, index: usize, phase: Phase, idle: bool) {
        match phase {
            Phase::AwaitingResponse => return self.overdue(index),
            Phase::Streaming => return self.heartbeat(index),
            Phase::Responding | Phase::Draining => return self.hang_up(index),
            Phase::Head if idle => {
                let connection = self.connections.get(index);
                let is_handshaking =
                    connection.is_some_and(|connection| connection.transport.is_handshaking());
                self.problems.bad_tls += u64::from(is_handshaking);
                return self.hang_up(index);
            }
            Phase::Head => self.refuse(index, SLOW_HEAD),
            Phase::Authenticating => self.refuse(index, SLOW_CHECK),
            Phase::Body => self.refuse(index, SLOW_BODY),
        }
        self.problems.slow += 1;
        self.advance(index);
    }
}

/// Whether accepting failed because of this one connection; the next one may be fine.
fn concerns_one_connection(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::Interrupted)
}
