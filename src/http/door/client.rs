//! One client's connection: what it has sent, what it is owed, and by when something has to happen.
//!
//! A connection serves one request at a time. While that one is being answered nothing more is read from it,
//! so a client that pipelines costs no more memory than one that waits.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use super::chunks::Chunks;
use super::head::{self, Framing, Head, Scan};
use super::ledger::{Entry, Ledger};
use super::limits::{
    DRAIN_BYTES, DRAIN_FOR, HEARTBEAT_EVERY, Limits, READS_IN_A_ROW, STREAM_OUT_BYTES, UNCOUNTED_BYTES,
};
use super::output::{DateLine, Frame, Output};
use super::transport::{Got, Transport};
use crate::http::answer::{Answer, Refusal};
use crate::http::guard::Guard;
use crate::http::tickets::Opening;
use crate::request_id::RequestId;

const CUT_SHORT: Refusal = Refusal::new(400, "cut_short", "The request ended before it was whole.");
const NO_ROOM: Refusal =
    Refusal::new(503, "overloaded", "Too many large bodies are under way; the message was not stored.");
const NOT_TLS: Refusal = Refusal::new(400, "not_tls", "This address speaks HTTPS alone.");
/// The head took longer than `head_timeout_ms`.
pub(super) const SLOW_HEAD: Refusal = Refusal::new(
    408,
    "slow_head",
    "The head of the request did not come within `producer_api.head_timeout_ms`.",
);
/// The body took longer than `body_timeout_ms`.
pub(super) const SLOW_BODY: Refusal =
    Refusal::new(408, "slow_body", "The body did not come within `producer_api.body_timeout_ms`.");

/// What a connection is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Waiting for a request, or for the rest of its head.
    Head,
    /// Reading a body.
    Body,
    /// The request is whole and its answer awaited.
    Waiting,
    /// Writing an answer.
    Answering,
    /// Writing an answer that goes on until one side ends it.
    Streaming,
    /// The last answer is out; what the client still sends is thrown away until it hangs up.
    Draining,
}

/// What the connection wants from the door next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing, until an event or an answer comes.
    Wait,
    /// To go on after the others had their turn.
    Again,
    /// A request is whole: bring it to the handlers.
    Forward,
    /// A step of a TLS handshake, when its turn comes.
    Handshake,
    /// The request must be refused.
    Refuse(Refusal),
    /// The client's TLS breaks the rules.
    BadTls,
    /// The connection is done with.
    Close,
}

/// What a connection needs from the door to take a step.
pub(super) struct Turn<'a> {
    /// The time of this round.
    pub(super) now: Instant,
    /// The limits.
    pub(super) limits: &'a Limits,
    /// Who decides whether a request may go on.
    pub(super) guard: &'a Guard,
    /// Where reads go first.
    pub(super) scratch: &'a mut [u8],
    /// What is left of the budget for bodies.
    pub(super) budget: &'a mut usize,
    /// Where requests are noted.
    pub(super) ledger: &'a mut Ledger,
    /// The door takes no new requests.
    pub(super) stopping: bool,
    /// A step of a TLS handshake may be taken.
    pub(super) permit: bool,
}

/// A whole request, as it goes to the handlers.
pub(super) struct Whole<'a> {
    /// The method.
    pub(super) method: &'a [u8],
    /// Path and query.
    pub(super) target: &'a [u8],
    /// What the body is said to be; empty if that is not said.
    pub(super) content_type: &'a [u8],
    /// The versions of the answer that the client has; empty if it says of none.
    pub(super) if_none_match: &'a [u8],
    /// The body.
    pub(super) body: &'a [u8],
    /// Who sent it.
    pub(super) client: &'a str,
}

impl<'a> Whole<'a> {
    /// A request of nobody's, without headers.
    pub(super) fn bare(method: &'a [u8], target: &'a [u8], body: &'a [u8]) -> Whole<'a> {
        Whole { method, target, content_type: b"", if_none_match: b"", body, client: "-" }
    }
}

/// A client's connection.
pub(super) struct Client {
    /// The socket.
    pub(super) transport: Transport,
    /// What it is doing.
    pub(super) phase: Phase,
    /// By when this phase has to end.
    pub(super) deadline: Instant,
    /// How the answer to the request in hand is framed.
    pub(super) frame: Frame,
    /// Whether the request in hand may have an effect (`POST`).
    pub(super) has_effect: bool,
    /// Where it comes from.
    pub(super) address: String,
    /// What is noted of the request in hand.
    pub(super) entry: Entry,
    /// Waits for a permit to take a step of its TLS handshake.
    in_line: bool,
    ended: bool,
    broken: bool,
    input: Vec<u8>,
    scan: Scan,
    request: Option<Head>,
    chunks: Chunks,
    body: Vec<u8>,
    charged: usize,
    drained: usize,
    output: Output,
    /// Tells whoever feeds the stream that this client is still there.
    presence: Option<Arc<()>>,
}

impl Client {
    /// A connection just accepted.
    pub(super) fn new(transport: Transport, address: SocketAddr, now: Instant, deadline: Instant) -> Client {
        Client {
            transport,
            phase: Phase::Head,
            deadline,
            frame: Frame { head_only: false, close: false, chunks: false, request: RequestId::default() },
            has_effect: false,
            address: address.to_string(),
            entry: Entry::new(now),
            in_line: false,
            ended: false,
            broken: false,
            input: Vec::new(),
            scan: Scan::default(),
            request: None,
            chunks: Chunks::new(),
            body: Vec::new(),
            charged: 0,
            drained: 0,
            output: Output::default(),
            presence: None,
        }
    }

    /// Notes what the socket is ready for.
    pub(super) fn note(&mut self, event: &mio::event::Event) {
        self.transport.note(event);
        self.broken |= event.is_error() || event.is_write_closed();
    }

    /// Whether nothing of a request has come.
    pub(super) fn is_idle(&self) -> bool {
        self.phase == Phase::Head && matches!(self.input.as_slice(), b"" | b"\r")
    }

    /// Forgets the empty lines that some clients send after a request (RFC 9112 §2.2): nobody has asked for
    /// anything by them. Nothing of the next request may have been looked at yet.
    fn skip_empty_lines(&mut self) {
        let lines = self.input.chunks_exact(2).take_while(|pair| pair == b"\r\n").count();
        self.input.drain(..2 * lines);
    }

    /// Leaves the line of those who wait for a permit; tells whether it was in it.
    pub(super) fn leave_line(&mut self) -> bool {
        std::mem::take(&mut self.in_line)
    }

    /// Whether its request awaits an answer.
    pub(super) fn is_waiting(&self) -> bool {
        self.phase == Phase::Waiting
    }

    /// Does whatever can be done now.
    pub(super) fn step(&mut self, turn: &mut Turn<'_>) -> Step {
        let mut reads = 0;
        loop {
            if self.broken {
                return Step::Close;
            }
            if self.phase == Phase::Streaming {
                return self.step_stream(turn.stopping);
            }
            match self.flush() {
                Ok(true) => {}
                Ok(false) if self.phase == Phase::Answering => return Step::Wait,
                Ok(false) => {} // an interim answer; the client goes on sending in any case
                Err(_) => return Step::Close,
            }
            let refused = match self.phase {
                Phase::Waiting | Phase::Streaming => return Step::Wait,
                Phase::Answering => {
                    self.answered(turn);
                    continue;
                }
                Phase::Head => self.read_head(turn),
                Phase::Body => self.read_body(turn),
                Phase::Draining => Ok(self.drained > DRAIN_BYTES),
            };
            match (refused, self.phase) {
                (Err(refusal), _) => return Step::Refuse(refusal),
                (Ok(true), Phase::Draining) => return Step::Close,
                (Ok(true), Phase::Waiting) => return Step::Forward,
                (Ok(true), _) => continue,
                (Ok(false), _) => {}
            }
            if turn.stopping && self.is_idle() {
                return Step::Close;
            }
            if reads == READS_IN_A_ROW {
                return Step::Again;
            }
            reads += 1;
            match self.fill(turn) {
                Got::Bytes(_) | Got::Progress => {}
                Got::Handshake if !std::mem::replace(&mut self.in_line, true) => return Step::Handshake,
                Got::Nothing | Got::Handshake => return Step::Wait,
                Got::Broken => return Step::Close,
                Got::NotTls => return Step::Refuse(NOT_TLS),
                Got::BadTls => return Step::BadTls,
                Got::Ended if self.phase == Phase::Draining || self.is_idle() => return Step::Close,
                Got::Ended => return Step::Refuse(CUT_SHORT),
            }
        }
    }

    /// Writes what there is to be written. `Ok(true)`: all of it; `Ok(false)`: the socket is full.
    fn flush(&mut self) -> io::Result<bool> {
        Ok(self.output.flush(&mut self.transport)? && self.transport.finish()?)
    }

    /// Writes what there is of a stream, unless that ends now.
    fn step_stream(&mut self, stopping: bool) -> Step {
        if stopping {
            self.end_stream();
            return Step::Close;
        }
        match self.flush() {
            // Who is behind a stream and sends no more has left: nobody reads events otherwise.
            Ok(_) if !self.transport.is_hung_up() => Step::Wait,
            _ => Step::Close,
        }
    }

    /// Looks for a head in the input; `Ok(true)`: the phase has changed.
    fn read_head(&mut self, turn: &mut Turn<'_>) -> Result<bool, Refusal> {
        if self.is_idle() {
            return Ok(false);
        }
        let Some(head) = head::take(&self.input, &mut self.scan, turn.limits.max_body_bytes, turn.guard)?
        else {
            return Ok(false);
        };
        let method = self.input.get(head.method.clone()).unwrap_or_default();
        self.has_effect = head::has_effect(method);
        self.frame = Frame {
            head_only: method == b"HEAD",
            close: head.close,
            chunks: !head.is_1_0,
            request: turn.ledger.id(),
        };
        let target = self.input.get(head.target.clone()).unwrap_or_default();
        turn.ledger.asked(&mut self.entry, method, target);
        if head.expects_continue && head.framing != Framing::Length(0) && self.input.len() == head.length {
            self.output.push_continue();
        }
        self.chunks = Chunks::new();
        self.request = Some(head);
        self.phase = Phase::Body;
        self.deadline = turn.now + turn.limits.body_timeout;
        Ok(true)
    }

    /// Takes what there is of the body; `Ok(true)`: it is whole, and the phase has changed.
    fn read_body(&mut self, turn: &mut Turn<'_>) -> Result<bool, Refusal> {
        let Some(head) = &self.request else { return Err(CUT_SHORT) };
        let whole = match head.framing {
            Framing::Length(length) => self.input.len() - head.length >= length,
            Framing::Chunked => {
                let coded = self.input.get(head.length..).unwrap_or_default();
                let used = self.chunks.take(coded, &mut self.body, turn.limits.max_body_bytes)?;
                self.input.drain(head.length..head.length + used);
                self.chunks.is_done()
            }
        };
        if whole {
            self.phase = Phase::Waiting;
        } else {
            self.charge(turn.budget)?;
        }
        Ok(whole)
    }

    /// Takes what this connection holds out of the budget for all.
    fn charge(&mut self, budget: &mut usize) -> Result<(), Refusal> {
        let more = (self.input.len() + self.body.len()).saturating_sub(UNCOUNTED_BYTES + self.charged);
        if more > *budget {
            return Err(NO_ROOM);
        }
        *budget -= more;
        self.charged += more;
        Ok(())
    }

    /// Gives back what was charged.
    pub(super) fn release(&mut self, budget: &mut usize) {
        *budget += std::mem::take(&mut self.charged);
    }

    /// Reads once.
    fn fill(&mut self, turn: &mut Turn<'_>) -> Got {
        if self.ended {
            return Got::Ended;
        }
        let shaking_hands = self.transport.is_handshaking();
        let got = self.transport.read(turn.scratch, turn.permit);
        match got {
            Got::Bytes(count) => self.keep(turn.scratch.get(..count).unwrap_or_default(), turn),
            Got::Ended => self.ended = true,
            Got::Progress if shaking_hands => {
                turn.permit = false;
                if !self.transport.is_handshaking() {
                    self.deadline = turn.now + turn.limits.idle_timeout;
                }
            }
            _ => {}
        }
        got
    }

    fn keep(&mut self, data: &[u8], turn: &Turn<'_>) {
        if self.phase == Phase::Draining {
            self.drained += data.len();
            return;
        }
        let was_idle = self.is_idle();
        self.input.extend_from_slice(data);
        if was_idle {
            self.skip_empty_lines();
            if !self.is_idle() {
                self.deadline = turn.now + turn.limits.head_timeout;
                self.entry = Entry::new(turn.now);
            }
        }
    }

    /// The request that is whole.
    pub(super) fn whole(&self) -> Option<Whole<'_>> {
        let head = self.request.as_ref()?;
        let body = match head.framing {
            Framing::Length(length) => self.input.get(head.length..head.length + length)?,
            Framing::Chunked => &self.body,
        };
        let method = self.input.get(head.method.clone())?;
        let target = self.input.get(head.target.clone())?;
        let value = |place: &Option<std::ops::Range<usize>>| {
            place.clone().and_then(|place| self.input.get(place)).unwrap_or_default()
        };
        let (content_type, if_none_match) = (value(&head.content_type), value(&head.if_none_match));
        Some(Whole { method, target, content_type, if_none_match, body, client: &self.address })
    }

    /// Forgets the request's bytes: the handlers have them. What was charged stays so until the answer is
    /// out, which may be as long as the request was.
    pub(super) fn handed_over(&mut self) {
        let Some(head) = self.request.take() else { return };
        let length = match head.framing {
            Framing::Length(length) => head.length + length,
            Framing::Chunked => head.length,
        };
        self.entry.bytes = length + self.body.len();
        self.input.drain(..length.min(self.input.len()));
        if self.input.is_empty() {
            self.input.shrink_to(1024);
        } else if self.input.capacity() > UNCOUNTED_BYTES {
            self.input.shrink_to_fit(); // the beginning of the next request must not hold this one's memory
        }
        self.body = Vec::new();
        self.scan = Scan::default();
    }

    /// Puts in an answer of ours; `close`: the connection ends with it in any case.
    pub(super) fn answer(&mut self, answer: Answer, close: bool, by: Instant, date: &mut DateLine) {
        self.begin_answer(close, by);
        self.output.push_answer(answer, self.frame, date);
    }

    /// Begins an answer, whose bytes then go into the output that is returned.
    pub(super) fn begin_answer(&mut self, close: bool, by: Instant) -> (&mut Output, Frame) {
        self.frame.close |= close;
        self.phase = Phase::Answering;
        self.deadline = by;
        (&mut self.output, self.frame)
    }

    /// Begins an answer that goes on; to a `HEAD` it is over with its head.
    pub(super) fn open_stream(&mut self, opening: Opening, by: Instant, now: Instant, date: &mut DateLine) {
        let (output, frame) = self.begin_answer(true, by);
        output.push_stream_head(&opening.headers, frame, date);
        if !frame.head_only {
            self.phase = Phase::Streaming;
            self.deadline = now + HEARTBEAT_EVERY;
            self.presence = Some(opening.presence);
        }
    }

    /// Puts in more of a stream; `false`: the client is so far behind that it has to go.
    pub(super) fn stream_more(&mut self, bytes: &[u8]) -> bool {
        if !bytes.is_empty() {
            self.output.push_stream(bytes, self.frame);
        }
        self.output.waiting() <= STREAM_OUT_BYTES
    }

    /// Says that the stream is still there; `false`: what was to be written before the last time is not out.
    pub(super) fn heartbeat(&mut self, now: Instant) -> bool {
        let keeps_up = self.output.is_empty();
        self.output.push_stream(b":\n\n", self.frame);
        self.deadline = now + HEARTBEAT_EVERY;
        keeps_up
    }

    /// Ends a stream, as far as the socket takes it: nobody waits for who is behind.
    pub(super) fn end_stream(&mut self) {
        self.output.push_stream(b"", self.frame);
        if let Err(error) = self.flush() {
            log::debug!("a stream's client was gone before its end: {error}");
        }
    }

    /// Notes in `ledger` that the request in hand is refused, and gives it up: its rest will be thrown away.
    pub(super) fn refused(&mut self, ledger: &mut Ledger) {
        if self.phase == Phase::Head {
            // What the frame says is of the request before.
            self.frame = Frame { head_only: false, request: ledger.id(), ..self.frame };
            ledger.unreadable(&mut self.entry, &self.input);
        }
        self.entry.bytes = self.input.len() + self.body.len();
        self.forget_request();
    }

    fn forget_request(&mut self) {
        self.request = None;
        self.input = Vec::new();
        self.body = Vec::new();
    }

    /// Closes the sending side, and has the rest read away: closing with unread input would make the kernel reset
    /// the connection and the client lose the answer (RFC 9112 §9.6).
    pub(super) fn drain(&mut self, now: Instant) {
        self.forget_request();
        self.phase = Phase::Draining;
        self.deadline = now + DRAIN_FOR;
        if self.transport.end().is_err() {
            self.broken = true;
        }
    }

    /// The answer is out: on to the next request, or to the end.
    fn answered(&mut self, turn: &mut Turn<'_>) {
        self.release(turn.budget);
        if self.frame.close {
            return self.drain(turn.now);
        }
        self.phase = Phase::Head;
        self.skip_empty_lines();
        let limits = turn.limits;
        self.entry = Entry::new(turn.now);
        self.deadline = turn.now + if self.is_idle() { limits.idle_timeout } else { limits.head_timeout };
    }
}

#[cfg(test)]
mod tests {
    use mio::net::TcpStream;

    use super::*;

    fn client() -> Client {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let stream = std::net::TcpStream::connect(address).unwrap();
        stream.set_nonblocking(true).unwrap();
        let transport = Transport::new(TcpStream::from_std(stream), None);
        Client::new(transport, address, Instant::now(), Instant::now())
    }

    #[test]
    fn a_large_request_leaves_no_memory_behind_though_the_next_has_begun() {
        let mut client = client();
        let head = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n";
        client.input.extend_from_slice(head);
        client.input.resize(head.len() + 1_000_000, b'x');
        client.input.extend_from_slice(b"POST /next");
        client.request = head::take(&client.input, &mut client.scan, 1_000_000, &Guard::default()).unwrap();
        client.handed_over();
        assert_eq!(client.input, b"POST /next");
        assert!(client.input.capacity() <= UNCOUNTED_BYTES, "{} bytes", client.input.capacity());
    }
}
