//! A client's connection: the bytes that have come, the response that is being written, and the deadline of
//! its phase.
//!
//! A connection serves one request at a time. Nothing is read from it while that request is being answered,
//! so a client that pipelines needs no more memory than one that waits.

mod streaming;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::access_log::{AccessLog, LogEntry};
use super::access_policy::{Access, AccessPolicy, is_look};
use super::chunks::ChunkedDecoder;
use super::connection_step::{NO_DESCRIPTORS, NextStep, Phase, StepContext};
use super::head::{self, Head, HeadScan};
use super::head_fields::BodyFraming;
use super::limits::{DRAIN_BYTES, DRAIN_FOR, Limits, READS_IN_A_ROW, UNCOUNTED_BYTES};
use super::read_result::ReadResult;
use super::response_writer::{DateHeader, ResponseFraming, ResponseWriter};
use super::transport::Transport;
use super::user_access::{Credentials, MAX_CHECK};
use crate::http::backend::route::{asked_wait, changes_leases};
use crate::http::backend::upstream::UpstreamRequest;
use crate::http::response::{ErrorResponse, Response};
use crate::users::User;

const CUT_SHORT: ErrorResponse =
    ErrorResponse::new(400, "cut_short", "The request ended before it was whole.");
const NO_ROOM: ErrorResponse =
    ErrorResponse::new(503, "overloaded", "Too many large bodies are under way; the message was not stored.");
const NOT_TLS: ErrorResponse = ErrorResponse::new(400, "not_tls", "This address speaks HTTPS alone.");

/// A client's connection.
pub(super) struct Connection {
    /// The socket.
    pub(super) transport: Transport,
    /// Its phase.
    pub(super) phase: Phase,
    /// The deadline of its phase.
    pub(super) deadline: Instant,
    /// The end of a connection that was accepted while no descriptor was left.
    pub(super) guest_until: Option<Instant>,
    /// Something has come from the client.
    pub(super) was_heard: bool,
    /// The framing of the response to the current request.
    pub(super) framing: ResponseFraming,
    /// Whether the current request may have an effect (`POST`).
    pub(super) has_effect: bool,
    /// The address of the client.
    pub(super) address: String,
    /// The current request, for the access log.
    pub(super) log_entry: LogEntry,
    ip: IpAddr,
    /// The name in the client's verified certificate.
    certificate_name: Option<String>,
    /// The password of the current request, which is to be checked.
    unchecked: Option<Credentials>,
    /// The number of the check that the current request waits for.
    check: Option<u64>,
    /// It waits for a permit for a step of its TLS handshake.
    awaits_permit: bool,
    ended: bool,
    broken: bool,
    input: Vec<u8>,
    scan: HeadScan,
    request: Option<Head>,
    chunks: ChunkedDecoder,
    body: Vec<u8>,
    charged: usize,
    drained: usize,
    writer: ResponseWriter,
    /// Tells the sender of the stream that the client is connected.
    alive: Option<Arc<()>>,
}

impl Connection {
    /// An accepted connection.
    pub(super) fn new(
        transport: Transport,
        address: SocketAddr,
        now: Instant,
        deadline: Instant,
    ) -> Connection {
        Connection {
            transport,
            phase: Phase::Head,
            deadline,
            guest_until: None,
            was_heard: false,
            framing: ResponseFraming { head_only: false, close: false, chunked: false },
            has_effect: false,
            address: address.to_string(),
            log_entry: LogEntry::new(now),
            ip: address.ip(),
            certificate_name: None,
            unchecked: None,
            check: None,
            awaits_permit: false,
            ended: false,
            broken: false,
            input: Vec::new(),
            scan: HeadScan::default(),
            request: None,
            chunks: ChunkedDecoder::new(),
            body: Vec::new(),
            charged: 0,
            drained: 0,
            writer: ResponseWriter::default(),
            alive: None,
        }
    }

    /// Stores the readiness that an event reports.
    pub(super) fn note(&mut self, event: &mio::event::Event) {
        self.transport.note(event);
        self.broken |= event.is_error() || event.is_write_closed();
    }

    /// Whether no byte of a request has come.
    pub(super) fn is_idle(&self) -> bool {
        self.phase == Phase::Head && matches!(self.input.as_slice(), b"" | b"\r")
    }

    /// Drops the empty lines that some clients send after a request (RFC 9112 §2.2): they are no request. The
    /// next request must not have been scanned yet.
    fn skip_empty_lines(&mut self) {
        let lines = self.input.chunks_exact(2).take_while(|pair| pair == b"\r\n").count();
        self.input.drain(..2 * lines);
    }

    /// Ends the wait for a permit; returns whether it waited.
    pub(super) fn take_permit_wait(&mut self) -> bool {
        std::mem::take(&mut self.awaits_permit)
    }

    /// Whether the client has closed its connection, or its half of it.
    pub(super) fn has_left(&self) -> bool {
        self.broken || self.transport.is_hung_up()
    }

    /// Whether its request waits for a response.
    pub(super) fn is_waiting(&self) -> bool {
        self.phase == Phase::AwaitingResponse
    }

    /// Whether a request is being read, handled or answered.
    pub(super) fn has_request(&self) -> bool {
        match self.phase {
            Phase::Head => !self.is_idle(),
            Phase::Authenticating | Phase::Body | Phase::AwaitingResponse | Phase::Responding => true,
            Phase::Streaming | Phase::Draining => false,
        }
    }

    /// Does everything that can be done now.
    pub(super) fn step(&mut self, context: &mut StepContext<'_>) -> NextStep {
        let mut reads = 0;
        loop {
            if self.broken {
                return NextStep::Close;
            }
            if self.phase == Phase::Streaming {
                return self.step_stream(context.stopping);
            }
            match self.flush() {
                Ok(true) => {}
                Ok(false) if self.phase == Phase::Responding => return NextStep::Wait,
                Ok(false) => {} // an interim response; the client goes on sending in any case
                Err(_) => return NextStep::Close,
            }
            let progress = match self.phase {
                Phase::Authenticating | Phase::AwaitingResponse | Phase::Streaming => {
                    return NextStep::Wait;
                }
                Phase::Responding => {
                    self.response_written(context);
                    continue;
                }
                Phase::Head => self.read_head(context),
                Phase::Body => self.read_body(context),
                Phase::Draining => Ok(self.drained > DRAIN_BYTES),
            };
            match (progress, self.phase) {
                (Err(error), _) => return NextStep::Refuse(error),
                (Ok(true), Phase::Draining) => return NextStep::Close,
                (Ok(true), Phase::Authenticating) => return NextStep::Authenticate,
                (Ok(true), Phase::AwaitingResponse) if self.is_preflight() => return NextStep::Preflight,
                (Ok(true), Phase::AwaitingResponse) => return NextStep::Forward,
                (Ok(true), _) => continue,
                (Ok(false), _) => {}
            }
            if context.stopping && self.is_idle() {
                return NextStep::Close;
            }
            if reads == READS_IN_A_ROW {
                return NextStep::Again;
            }
            reads += 1;
            match self.fill(context) {
                ReadResult::Bytes(_) | ReadResult::Progress => {}
                ReadResult::NeedsPermit if !std::mem::replace(&mut self.awaits_permit, true) => {
                    return NextStep::Handshake;
                }
                ReadResult::WouldBlock | ReadResult::NeedsPermit => return NextStep::Wait,
                ReadResult::Broken => return NextStep::Close,
                ReadResult::NotTls => return NextStep::Refuse(NOT_TLS),
                ReadResult::BadTls => return NextStep::BadTls,
                ReadResult::Eof if self.phase == Phase::Draining || self.is_idle() => return NextStep::Close,
                ReadResult::Eof => return NextStep::Refuse(CUT_SHORT),
            }
        }
    }

    /// Writes as much as the socket takes. `Ok(true)`: all bytes; `Ok(false)`: the socket is full.
    fn flush(&mut self) -> io::Result<bool> {
        Ok(self.writer.flush(&mut self.transport)? && self.transport.finish()?)
    }

    /// Parses the head in the input; `Ok(true)`: the phase has changed.
    fn read_head(&mut self, context: &mut StepContext<'_>) -> Result<bool, ErrorResponse> {
        if self.is_idle() {
            return Ok(false);
        }
        let (max_body, name) = (context.limits.max_body_bytes, self.certificate_name.as_deref());
        let Some(mut head) = head::parse(&self.input, &mut self.scan, max_body, context.policy, name)? else {
            return Ok(false);
        };
        let method = self.input.get(head.method.clone()).unwrap_or_default();
        self.has_effect = head::has_effect(method);
        self.framing = ResponseFraming {
            head_only: method == b"HEAD",
            close: head.close || self.guest_until.is_some(),
            chunked: !head.is_1_0,
        };
        let target = self.input.get(head.target.clone()).unwrap_or_default();
        context.access_log.head_read(&mut self.log_entry, method, target);
        let id = head.request_id.take().unwrap_or_else(|| context.access_log.next_id());
        self.log_entry.request = id.clone();
        self.writer.set_request(id);
        self.chunks = ChunkedDecoder::new();
        self.writer.set_cross_origin(head.cross_origin.clone());
        let access = std::mem::replace(&mut head.access, Access::Known(None));
        let asks_too_much = self.guest_until.is_some() && !is_look(method, target);
        self.request = Some(head);
        if asks_too_much {
            self.phase = Phase::Body;
            return Err(NO_DESCRIPTORS);
        }
        match access {
            Access::Known(user) => self.admit(user, context.policy, context.now, context.limits)?,
            Access::Unchecked(credentials) => {
                self.unchecked = Some(credentials);
                self.phase = Phase::Authenticating;
                self.deadline = context.now + MAX_CHECK;
            }
        }
        Ok(true)
    }

    /// Goes on to the body of a request that `user` sends.
    ///
    /// # Errors
    /// 403: the user lacks a right for it.
    pub(super) fn admit(
        &mut self,
        user: Option<Arc<User>>,
        policy: &AccessPolicy,
        now: Instant,
        limits: &Limits,
    ) -> Result<(), ErrorResponse> {
        self.phase = Phase::Body;
        self.deadline = now + limits.body_timeout;
        self.log_entry.user = user;
        let Some(head) = &self.request else { return Err(CUT_SHORT) };
        let method = self.input.get(head.method.clone()).unwrap_or_default();
        let target = self.input.get(head.target.clone()).unwrap_or_default();
        policy.permit(self.log_entry.user.as_deref(), method, target)?;
        if head.expects_continue && head.framing != BodyFraming::Length(0) && self.input.len() == head.length
        {
            self.writer.push_continue();
        }
        Ok(())
    }

    /// The address of the client without its port.
    pub(super) fn ip(&self) -> IpAddr {
        self.ip
    }

    /// Takes the password of the current request, which waits for check number `check` then.
    pub(super) fn begin_check(&mut self, check: u64) -> Option<Credentials> {
        self.check = Some(check);
        self.unchecked.take()
    }

    /// Whether the current request has waited for check number `check`; it does no more.
    pub(super) fn end_check(&mut self, check: u64) -> bool {
        self.check.take_if(|waits_for| *waits_for == check).is_some()
    }

    /// Reads the body in the input; `Ok(true)`: it is whole, and the phase has changed.
    fn read_body(&mut self, context: &mut StepContext<'_>) -> Result<bool, ErrorResponse> {
        let Some(head) = &self.request else { return Err(CUT_SHORT) };
        let whole = match head.framing {
            BodyFraming::Length(length) => self.input.len() - head.length >= length,
            BodyFraming::Chunked => {
                let coded = self.input.get(head.length..).unwrap_or_default();
                let used = self.chunks.decode(coded, &mut self.body, context.limits.max_body_bytes)?;
                self.input.drain(head.length..head.length + used);
                self.chunks.is_done()
            }
        };
        if whole {
            self.phase = Phase::AwaitingResponse;
        } else {
            self.charge(context.budget)?;
        }
        Ok(whole)
    }

    /// Charges the bytes that this connection holds to the budget for all connections.
    fn charge(&mut self, budget: &mut usize) -> Result<(), ErrorResponse> {
        let more = (self.input.len() + self.body.len()).saturating_sub(UNCOUNTED_BYTES + self.charged);
        if more > *budget {
            return Err(NO_ROOM);
        }
        *budget -= more;
        self.charged += more;
        Ok(())
    }

    /// Gives the charged bytes back to the budget.
    pub(super) fn release(&mut self, budget: &mut usize) {
        *budget += std::mem::take(&mut self.charged);
    }

    /// Reads once.
    fn fill(&mut self, context: &mut StepContext<'_>) -> ReadResult {
        if self.ended {
            return ReadResult::Eof;
        }
        let was_handshaking = self.transport.is_handshaking();
        let result = self.transport.read(context.scratch, context.permit);
        self.was_heard |= matches!(result, ReadResult::Bytes(_) | ReadResult::Progress);
        match result {
            ReadResult::Bytes(count) => self.keep(context.scratch.get(..count).unwrap_or_default(), context),
            ReadResult::Eof => self.ended = true,
            ReadResult::Progress if was_handshaking => {
                context.permit = false;
                if !self.transport.is_handshaking() {
                    self.certificate_name = self.transport.client_name();
                    self.deadline = context.now + context.limits.idle_timeout;
                }
            }
            _ => {}
        }
        result
    }

    fn keep(&mut self, data: &[u8], context: &StepContext<'_>) {
        if self.phase == Phase::Draining {
            self.drained += data.len();
            return;
        }
        let was_idle = self.is_idle();
        self.input.extend_from_slice(data);
        if was_idle {
            self.skip_empty_lines();
            if !self.is_idle() {
                self.deadline = context.now + context.limits.head_timeout;
                self.log_entry = LogEntry::new(context.now);
            }
        }
    }

    /// Whether the request is a preflight, which no handler sees.
    fn is_preflight(&self) -> bool {
        self.request.as_ref().is_some_and(|head| head.is_preflight)
    }

    /// The whole request.
    pub(super) fn whole_request(&self) -> Option<UpstreamRequest<'_>> {
        let head = self.request.as_ref()?;
        let body = match head.framing {
            BodyFraming::Length(length) => self.input.get(head.length..head.length + length)?,
            BodyFraming::Chunked => &self.body,
        };
        let method = self.input.get(head.method.clone())?;
        let target = self.input.get(head.target.clone())?;
        let value = |range: &Option<Range<usize>>| {
            range.clone().and_then(|range| self.input.get(range)).unwrap_or_default()
        };
        let pair = |(name, value): &(Range<usize>, Range<usize>)| {
            Some((self.input.get(name.clone())?, self.input.get(value.clone())?))
        };
        let (content_type, if_none_match) = (value(&head.content_type), value(&head.if_none_match));
        Some(UpstreamRequest {
            method,
            target,
            content_type,
            if_none_match,
            authorization: if changes_leases(target) { value(&head.authorization) } else { b"" },
            handed_on: head.handed_on.iter().filter_map(pair).collect(),
            body,
            id: self.log_entry.request.as_str(),
            client: &self.address,
        })
    }

    /// How long the request may wait besides the usual time for a response.
    pub(super) fn asked_wait(&self) -> Duration {
        let target = self.request.as_ref().and_then(|head| self.input.get(head.target.clone()));
        asked_wait(target.unwrap_or_default())
    }

    /// Drops the bytes of the request: they have been forwarded. They stay charged until the response is
    /// written, which may be as long as the request was.
    pub(super) fn request_forwarded(&mut self) {
        let Some(head) = self.request.take() else { return };
        let length = match head.framing {
            BodyFraming::Length(length) => head.length + length,
            BodyFraming::Chunked => head.length,
        };
        self.log_entry.bytes = length + self.body.len();
        self.input.drain(..length.min(self.input.len()));
        if self.input.is_empty() {
            self.input.shrink_to(1024);
        } else if self.input.capacity() > UNCOUNTED_BYTES {
            self.input.shrink_to_fit(); // the beginning of the next request must not hold this one's memory
        }
        self.body = Vec::new();
        self.scan = HeadScan::default();
    }

    /// Adds a response; `close`: the connection ends with it in any case.
    pub(super) fn respond(&mut self, response: Response, close: bool, by: Instant, date: &mut DateHeader) {
        self.begin_response(close, by);
        self.writer.push_response(response, self.framing, date);
    }

    /// Logs and counts the response to the current request; `length` is that of its body.
    pub(super) fn log_response(&self, access_log: &mut AccessLog, status: u16, length: usize, now: Instant) {
        access_log.responded(&self.address, &self.log_entry, status, length, self.framing, now);
    }

    /// Begins a response, whose bytes then go into the writer that is returned.
    pub(super) fn begin_response(
        &mut self,
        close: bool,
        by: Instant,
    ) -> (&mut ResponseWriter, ResponseFraming) {
        self.framing.close |= close;
        self.phase = Phase::Responding;
        self.deadline = by;
        (&mut self.writer, self.framing)
    }

    /// Drops the current request, which is refused: its rest will be thrown away.
    pub(super) fn request_refused(&mut self, access_log: &mut AccessLog, policy: &AccessPolicy) {
        if self.phase == Phase::Head {
            self.writer.set_cross_origin(policy.origins.lines_of_refused(&self.input));
            // The framing is that of the request before.
            self.framing = ResponseFraming { head_only: false, ..self.framing };
            access_log.head_unreadable(&mut self.log_entry, &self.input);
            let id = head::id_of_refused(&self.input).unwrap_or_else(|| access_log.next_id());
            self.log_entry.request = id.clone();
            self.writer.set_request(id);
        }
        self.log_entry.bytes = self.input.len() + self.body.len();
        self.drop_request();
    }

    fn drop_request(&mut self) {
        self.request = None;
        self.unchecked = None;
        self.check = None;
        self.input = Vec::new();
        self.body = Vec::new();
    }

    /// Closes the sending side, and has the rest read and thrown away: closing with unread input would make
    /// the kernel reset the connection, and the client lose the response (RFC 9112 §9.6).
    pub(super) fn drain(&mut self, now: Instant) {
        self.drop_request();
        self.phase = Phase::Draining;
        self.deadline = now + DRAIN_FOR;
        if self.transport.end().is_err() {
            self.broken = true;
        }
    }

    /// The response is written: goes on to the next request, or to the end.
    fn response_written(&mut self, context: &mut StepContext<'_>) {
        self.release(context.budget);
        if self.framing.close {
            return self.drain(context.now);
        }
        self.phase = Phase::Head;
        self.skip_empty_lines();
        let limits = context.limits;
        self.log_entry = LogEntry::new(context.now);
        self.deadline = context.now + if self.is_idle() { limits.idle_timeout } else { limits.head_timeout };
    }
}

#[cfg(test)]
mod tests {
    use mio::net::TcpStream;

    use super::*;

    fn connection() -> Connection {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let stream = std::net::TcpStream::connect(address).unwrap();
        stream.set_nonblocking(true).unwrap();
        let transport = Transport::new(TcpStream::from_std(stream), None);
        Connection::new(transport, address, Instant::now(), Instant::now())
    }

    #[test]
    fn the_memory_of_a_large_request_is_freed_though_the_next_has_begun() {
        let mut connection = connection();
        let head = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n";
        connection.input.extend_from_slice(head);
        connection.input.resize(head.len() + 1_000_000, b'x');
        connection.input.extend_from_slice(b"POST /next");
        connection.request = head::parse(
            &connection.input,
            &mut connection.scan,
            1_000_000,
            &mut AccessPolicy::default(),
            None,
        )
        .unwrap();
        connection.request_forwarded();
        assert_eq!(connection.input, b"POST /next");
        assert!(connection.input.capacity() <= UNCOUNTED_BYTES, "{} bytes", connection.input.capacity());
    }
}
