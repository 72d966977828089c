//! The private connection to the handlers: requests go out pipelined, answers come back in the same order.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use mio::net::UnixStream;
use mio::{Interest, Registry, Token};

use super::client::Whole;
use super::limits::{PROVE_WITHIN, RECONNECT_PAUSE, UPSTREAM_OUT_BYTES};
use super::output::decimal;
use crate::http::tickets::Visit;

/// The header by which the handlers know that a request came through the door, and whose it is: the secret,
/// the visit with the request's id, the client's address.
pub(crate) const DOOR_HEADER: &str = "X-Door";

/// A request that the handlers have to answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct InFlight {
    /// Whose it is; `None`: the request that proves the connection.
    pub(super) visit: Option<Visit>,
    /// It is a `HEAD`.
    pub(super) head_only: bool,
    /// Bytes of this connection up to its end.
    end: u64,
}

/// One connection.
struct Link {
    stream: UnixStream,
    out: Vec<u8>,
    written: usize,
    /// Bytes written before those in `out`.
    sent: u64,
    input: Vec<u8>,
    in_flight: VecDeque<InFlight>,
    proved: bool,
    since: Instant,
    readable: bool,
    hung_up: bool,
}

/// The connection to the handlers, made anew when it breaks, and the requests that wait for it.
pub(super) struct Upstream {
    path: PathBuf,
    secret: Arc<str>,
    link: Option<Link>,
    retry_at: Option<Instant>,
    waiting: VecDeque<Visit>,
}

impl Upstream {
    /// Not connected yet.
    pub(super) fn new(path: PathBuf, secret: Arc<str>) -> Upstream {
        Upstream { path, secret, link: None, retry_at: None, waiting: VecDeque::new() }
    }

    /// Connects if there is no connection and the pause after the last one is over.
    ///
    /// # Errors
    /// The handlers cannot be reached; the next try is after a pause.
    pub(super) fn connect(&mut self, registry: &Registry, token: Token, now: Instant) -> io::Result<()> {
        if self.link.is_some() || self.retry_at.is_some_and(|at| now < at) {
            return Ok(());
        }
        self.retry_at = Some(now + RECONNECT_PAUSE);
        let mut stream = UnixStream::connect(&self.path)?;
        registry.register(&mut stream, token, Interest::READABLE | Interest::WRITABLE)?;
        let mut link = Link::new(stream, now);
        let proof = Whole::bare(b"HEAD", b"/", &[]);
        link.push(None, true, &self.secret, &proof);
        self.link = Some(link);
        Ok(())
    }

    /// When something has to be done about the connection itself.
    pub(super) fn timer(&self) -> Option<Instant> {
        match &self.link {
            None => self.retry_at,
            Some(link) if !link.proved => Some(link.since + PROVE_WITHIN),
            Some(_) => None,
        }
    }

    /// Whether the connection has not answered its first request in time.
    pub(super) fn is_dumb(&self, now: Instant) -> bool {
        self.link.as_ref().is_some_and(|link| !link.proved && now >= link.since + PROVE_WITHIN)
    }

    /// Whether there is a connection that works.
    pub(super) fn is_proved(&self) -> bool {
        self.link.as_ref().is_some_and(|link| link.proved)
    }

    /// Whether there may be bytes to read.
    pub(super) fn is_readable(&self) -> bool {
        self.link.as_ref().is_some_and(|link| link.readable)
    }

    /// Notes what the socket is ready for.
    pub(super) fn note(&mut self, event: &mio::event::Event) {
        if let Some(link) = &mut self.link {
            link.hung_up |= event.is_read_closed() || event.is_error();
            link.readable |= event.is_readable() || link.hung_up;
        }
    }

    /// Lets a request wait for its turn.
    pub(super) fn enqueue(&mut self, visit: Visit) {
        self.waiting.push_back(visit);
    }

    /// The request that can be sent now, if any.
    pub(super) fn next(&mut self) -> Option<Visit> {
        if self.has_work() { self.waiting.pop_front() } else { None }
    }

    /// Whether a request waits that could be sent now.
    pub(super) fn has_work(&self) -> bool {
        let room = |link: &Link| link.proved && link.out.len() - link.written < UPSTREAM_OUT_BYTES;
        !self.waiting.is_empty() && self.link.as_ref().is_some_and(room)
    }

    /// All requests that wait, given up because there is no connection.
    pub(super) fn give_up_waiting(&mut self) -> VecDeque<Visit> {
        std::mem::take(&mut self.waiting)
    }

    /// Puts a request in.
    pub(super) fn send(&mut self, visit: Visit, head_only: bool, request: &Whole<'_>) {
        if let Some(link) = &mut self.link {
            link.push(Some(visit), head_only, &self.secret, request);
        }
    }

    /// Writes as much as the socket takes.
    ///
    /// # Errors
    /// The connection is broken.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.link.as_mut().map_or(Ok(()), Link::flush)
    }

    /// Reads once. `Ok(true)`: there were bytes.
    ///
    /// # Errors
    /// The connection is broken or has ended.
    pub(super) fn read(&mut self, scratch: &mut [u8]) -> io::Result<bool> {
        self.link.as_mut().map_or(Ok(false), |link| link.read(scratch))
    }

    /// Takes out what has been read, to be given back with [`Upstream::put_back`].
    pub(super) fn take_input(&mut self) -> Vec<u8> {
        self.link.as_mut().map(|link| std::mem::take(&mut link.input)).unwrap_or_default()
    }

    /// Gives back what [`Upstream::take_input`] took, but for its first `used` bytes.
    pub(super) fn put_back(&mut self, mut input: Vec<u8>, used: usize) {
        if let Some(link) = &mut self.link {
            input.drain(..used.min(input.len()));
            link.input = input;
        }
    }

    /// Whether the request that is to be answered next is a `HEAD`; `None` if no answer is due.
    pub(super) fn due(&self) -> Option<bool> {
        self.link.as_ref()?.in_flight.front().map(|request| request.head_only)
    }

    /// Notes that the next answer has come, and says to whom; `None` if it was the connection's proof.
    pub(super) fn answered(&mut self) -> Option<Visit> {
        let link = self.link.as_mut()?;
        let request = link.in_flight.pop_front()?;
        link.proved = true;
        request.visit
    }

    /// Gives the connection up. Returns the requests that were under way, each with whether all its bytes
    /// were written: handlers do not act upon anything less.
    pub(super) fn give_up(&mut self, registry: &Registry, now: Instant) -> Vec<(Visit, bool)> {
        let Some(mut link) = self.link.take() else { return Vec::new() };
        if let Err(error) = registry.deregister(&mut link.stream) {
            log::debug!("a private connection could not be deregistered: {error}");
        }
        self.retry_at = Some(now + RECONNECT_PAUSE);
        let written = link.sent + link.written as u64;
        let requests = link.in_flight.into_iter();
        requests.filter_map(|request| Some((request.visit?, request.end <= written))).collect()
    }
}

impl Link {
    fn new(stream: UnixStream, now: Instant) -> Link {
        Link {
            stream,
            out: Vec::new(),
            written: 0,
            sent: 0,
            input: Vec::new(),
            in_flight: VecDeque::new(),
            proved: false,
            since: now,
            readable: false,
            hung_up: false,
        }
    }

    fn push(&mut self, visit: Option<Visit>, head_only: bool, secret: &str, request: &Whole<'_>) {
        let Visit { slot, turn, request: id } = visit.unwrap_or_default();
        let (slot_digits, turn_digits, length_digits) = (&mut [0; 20], &mut [0; 20], &mut [0; 20]);
        let slash: &[u8] = if matches!(request.target, [b'/', ..] | b"*") { b"" } else { b"/" };
        let id = id.to_string();
        for part in [
            request.method,
            b" ",
            slash,
            request.target,
            b" HTTP/1.1\r\n",
            DOOR_HEADER.as_bytes(),
            b": ",
            secret.as_bytes(),
            b" ",
            decimal(slot, slot_digits),
            b".",
            decimal(turn as usize, turn_digits),
            b".",
            id.as_bytes(),
            b" ",
            request.client.as_bytes(),
            if request.content_type.is_empty() { b"" } else { b"\r\nContent-Type: " },
            request.content_type,
            if request.if_none_match.is_empty() { b"" } else { b"\r\nIf-None-Match: " },
            request.if_none_match,
            b"\r\nContent-Length: ",
            decimal(request.body.len(), length_digits),
            b"\r\n\r\n",
            request.body,
        ] {
            self.out.extend_from_slice(part);
        }
        let end = self.sent + self.out.len() as u64;
        self.in_flight.push_back(InFlight { visit, head_only, end });
    }

    fn flush(&mut self) -> io::Result<()> {
        while let Some(rest) = self.out.get(self.written..).filter(|rest| !rest.is_empty()) {
            match self.stream.write(rest) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => self.written += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        // Also when the socket is full: under load `out` may never be empty.
        self.sent += self.written as u64;
        self.out.drain(..self.written);
        self.written = 0;
        if self.out.is_empty() {
            self.out.shrink_to(2 * UPSTREAM_OUT_BYTES);
        }
        Ok(())
    }

    fn read(&mut self, scratch: &mut [u8]) -> io::Result<bool> {
        if !self.readable {
            return Ok(false);
        }
        match self.stream.read(scratch) {
            Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => {
                self.readable = count == scratch.len() || self.hung_up;
                self.input.extend_from_slice(scratch.get(..count).unwrap_or_default());
                Ok(true)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.readable = false;
                Ok(false)
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(true),
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_leaves_the_memory_though_the_socket_is_always_full() {
        let (stream, mut handlers) = UnixStream::pair().unwrap();
        let mut link = Link::new(stream, Instant::now());
        let body = vec![b'x'; 50_000];
        let (mut scratch, mut taken) = (vec![0; 40_000], 0);
        for turn in 0..1000 {
            if link.out.len() < UPSTREAM_OUT_BYTES {
                let request = Whole::bare(b"POST", b"/", &body);
                link.push(Some(Visit { turn, ..Visit::default() }), false, "secret", &request);
            }
            link.flush().unwrap();
            assert!(!link.out.is_empty() || turn < 100, "the socket is to be full");
            assert!(link.out.len() <= UPSTREAM_OUT_BYTES + 51_000, "{} bytes are held", link.out.len());
            assert_eq!(link.sent + link.out.len() as u64, link.in_flight.back().unwrap().end);
            taken += handlers.read(&mut scratch).unwrap();
        }
        assert!(taken > 10 * UPSTREAM_OUT_BYTES);
    }
}
