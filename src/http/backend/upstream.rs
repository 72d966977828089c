//! The private connection to the handlers: requests are pipelined, responses come back in the same order.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::time::{Duration, Instant};

use mio::{Interest, Registry, Token};
use net::descriptors;
use platform::sockets::A_SHORT_READ_TAKES_ALL;

use super::private_socket::{self, BackendAddress, Stream};
use crate::http::decimal::decimal;
use crate::http::responder::RequestToken;

/// The header that proves a request to be the server's: the secret, the request's token, its id, the client's
/// address.
pub(super) const PRIVATE_HEADER: &str = "X-Door";

/// Once this many bytes wait to be written to the handlers, further requests wait with their clients.
const MAX_OUT_BYTES: usize = 256 * 1024;

/// The time in which a new connection must answer its first request.
const VERIFY_TIMEOUT: Duration = Duration::from_secs(2);

/// The descriptors of a connection: both of its ends are in this process.
const ENDS: usize = 2;

/// The pause after a lost connection.
const RECONNECT_PAUSE: Duration = Duration::from_millis(100);

/// A whole request, as it is written to the handlers.
pub(crate) struct UpstreamRequest<'a> {
    /// The method.
    pub(crate) method: &'a [u8],
    /// Path and query.
    pub(crate) target: &'a [u8],
    /// The value of `Content-Type`; empty if there is none.
    pub(crate) content_type: &'a [u8],
    /// The value of `If-None-Match`; empty if there is none.
    pub(crate) if_none_match: &'a [u8],
    /// The value of `Authorization`; empty if there is none, or its handler does not need it.
    pub(crate) authorization: &'a [u8],
    /// The names and values of what else its handler needs.
    pub(crate) handed_on: Vec<(&'a [u8], &'a [u8])>,
    /// The body.
    pub(crate) body: &'a [u8],
    /// Its id.
    pub(crate) id: &'a str,
    /// The address of the client.
    pub(crate) client: &'a str,
}

impl<'a> UpstreamRequest<'a> {
    /// A request of no client, without headers.
    fn bare(method: &'a [u8], target: &'a [u8], body: &'a [u8]) -> UpstreamRequest<'a> {
        UpstreamRequest {
            method,
            target,
            content_type: b"",
            if_none_match: b"",
            authorization: b"",
            handed_on: Vec::new(),
            body,
            id: "-",
            client: "-",
        }
    }
}

/// A request that the handlers have not answered.
#[derive(Debug, PartialEq, Eq)]
struct InFlightRequest {
    /// Its token; `None`: the request that verifies the connection.
    token: Option<RequestToken>,
    /// It is a `HEAD`.
    head_only: bool,
    /// The bytes of this connection up to its end.
    end: u64,
}

/// A connection to the handlers.
struct Link {
    stream: Stream,
    out: Vec<u8>,
    written: usize,
    /// Bytes written before those in `out`.
    sent: u64,
    input: Vec<u8>,
    in_flight: VecDeque<InFlightRequest>,
    verified: bool,
    since: Instant,
    readable: bool,
    hung_up: bool,
}

/// The connection to the handlers, reopened when it breaks, and the requests that wait for it.
pub(crate) struct Upstream {
    address: BackendAddress,
    link: Option<Link>,
    retry_at: Option<Instant>,
    waiting: VecDeque<RequestToken>,
}

impl Upstream {
    /// For the handlers at `address`; there is no connection yet.
    pub(crate) fn new(address: BackendAddress) -> Upstream {
        Upstream { address, link: None, retry_at: None, waiting: VecDeque::new() }
    }

    /// Connects if there is no connection and the pause after the last one is over.
    ///
    /// # Errors
    /// The handlers cannot be reached; the next try is after a pause.
    pub(crate) fn connect(&mut self, registry: &Registry, token: Token, now: Instant) -> io::Result<()> {
        if !self.is_due(now) {
            return Ok(());
        }
        self.retry_at = Some(now + RECONNECT_PAUSE);
        if !descriptors::are_spare(ENDS) {
            return Err(io::Error::other("no file descriptors are left for it"));
        }
        let mut stream = private_socket::connect(&self.address.socket)?;
        registry.register(&mut stream, token, Interest::READABLE | Interest::WRITABLE)?;
        let mut link = Link::new(stream, now);
        let first = UpstreamRequest::bare(b"HEAD", b"/", &[]);
        link.push(None, true, &self.address.secret, &first);
        self.link = Some(link);
        Ok(())
    }

    /// Whether there is no connection, and [`Upstream::connect`] will try to make one.
    pub(crate) fn is_due(&self, now: Instant) -> bool {
        self.link.is_none() && self.retry_at.is_none_or(|at| now >= at)
    }

    /// The time of the next action on the connection itself.
    pub(crate) fn timer(&self) -> Option<Instant> {
        match &self.link {
            None => self.retry_at,
            Some(link) if !link.verified => Some(link.since + VERIFY_TIMEOUT),
            Some(_) => None,
        }
    }

    /// Whether the connection has not answered its first request in time.
    pub(crate) fn is_unresponsive(&self, now: Instant) -> bool {
        self.link.as_ref().is_some_and(|link| !link.verified && now >= link.since + VERIFY_TIMEOUT)
    }

    /// Whether there is a connection, or one is being made.
    pub(crate) fn is_connected(&self) -> bool {
        self.link.is_some()
    }

    /// Whether there is a connection that has answered a request.
    pub(crate) fn is_verified(&self) -> bool {
        self.link.as_ref().is_some_and(|link| link.verified)
    }

    /// Whether there may be bytes to read.
    pub(crate) fn is_readable(&self) -> bool {
        self.link.as_ref().is_some_and(|link| link.readable)
    }

    /// Stores the readiness that an event reports.
    pub(crate) fn note(&mut self, event: &mio::event::Event) {
        if let Some(link) = &mut self.link {
            link.hung_up |= event.is_read_closed() || event.is_error();
            link.readable |= event.is_readable() || link.hung_up;
        }
    }

    /// Queues a request.
    pub(crate) fn enqueue(&mut self, token: RequestToken) {
        self.waiting.push_back(token);
    }

    /// Takes the next request that can be sent now.
    pub(crate) fn next(&mut self) -> Option<RequestToken> {
        if self.has_work() { self.waiting.pop_front() } else { None }
    }

    /// Whether a queued request could be sent now.
    pub(crate) fn has_work(&self) -> bool {
        let room = |link: &Link| link.verified && link.out.len() - link.written < MAX_OUT_BYTES;
        !self.waiting.is_empty() && self.link.as_ref().is_some_and(room)
    }

    /// Takes all queued requests: there is no connection for them.
    pub(crate) fn take_waiting(&mut self) -> VecDeque<RequestToken> {
        std::mem::take(&mut self.waiting)
    }

    /// Appends a request to the bytes to be written.
    pub(crate) fn send(&mut self, token: RequestToken, head_only: bool, request: &UpstreamRequest<'_>) {
        if let Some(link) = &mut self.link {
            link.push(Some(token), head_only, &self.address.secret, request);
        }
    }

    /// Writes as much as the socket takes.
    ///
    /// # Errors
    /// The connection is broken.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        self.link.as_mut().map_or(Ok(()), Link::flush)
    }

    /// Reads once. `Ok(true)`: there were bytes.
    ///
    /// # Errors
    /// The connection is broken or has ended.
    pub(crate) fn read(&mut self, scratch: &mut [u8]) -> io::Result<bool> {
        self.link.as_mut().map_or(Ok(false), |link| link.read(scratch))
    }

    /// Takes the bytes that have been read, to be given back with [`Upstream::put_back`].
    pub(crate) fn take_input(&mut self) -> Vec<u8> {
        self.link.as_mut().map(|link| std::mem::take(&mut link.input)).unwrap_or_default()
    }

    /// Gives back the bytes of [`Upstream::take_input`], without the first `used`.
    pub(crate) fn put_back(&mut self, mut input: Vec<u8>, used: usize) {
        if let Some(link) = &mut self.link {
            input.drain(..used.min(input.len()));
            link.input = input;
        }
    }

    /// Whether the next response is to a `HEAD`; `None` if no response is due.
    pub(crate) fn next_is_head(&self) -> Option<bool> {
        self.link.as_ref()?.in_flight.front().map(|request| request.head_only)
    }

    /// Counts the next response as received, and returns its request; `None` if that verified the connection.
    pub(crate) fn response_received(&mut self) -> Option<RequestToken> {
        let link = self.link.as_mut()?;
        let request = link.in_flight.pop_front()?;
        link.verified = true;
        request.token
    }

    /// Closes the connection. Returns the requests in flight, each with whether all its bytes were written:
    /// handlers do not act upon anything less.
    pub(crate) fn close(&mut self, registry: &Registry, now: Instant) -> Vec<(RequestToken, bool)> {
        let Some(mut link) = self.link.take() else { return Vec::new() };
        if let Err(error) = registry.deregister(&mut link.stream) {
            log::debug!("a private connection could not be deregistered: {error}");
        }
        self.retry_at = Some(now + RECONNECT_PAUSE);
        let written = link.sent + link.written as u64;
        let requests = link.in_flight.into_iter();
        requests.filter_map(|request| Some((request.token?, request.end <= written))).collect()
    }
}

impl Link {
    fn new(stream: Stream, now: Instant) -> Link {
        Link {
            stream,
            out: Vec::new(),
            written: 0,
            sent: 0,
            input: Vec::new(),
            in_flight: VecDeque::new(),
            verified: false,
            since: now,
            readable: false,
            hung_up: false,
        }
    }

    fn push(
        &mut self,
        token: Option<RequestToken>,
        head_only: bool,
        secret: &str,
        request: &UpstreamRequest<'_>,
    ) {
        let RequestToken { connection, sequence } = token.unwrap_or_default();
        let (connection_digits, sequence_digits, length_digits) = (&mut [0; 20], &mut [0; 20], &mut [0; 20]);
        let slash: &[u8] = if matches!(request.target, [b'/', ..] | b"*") { b"" } else { b"/" };
        for part in [
            request.method,
            b" ",
            slash,
            request.target,
            b" HTTP/1.1\r\n",
            PRIVATE_HEADER.as_bytes(),
            b": ",
            secret.as_bytes(),
            b" ",
            decimal(connection, connection_digits),
            b".",
            decimal(sequence as usize, sequence_digits),
            b" ",
            request.id.as_bytes(),
            b" ",
            request.client.as_bytes(),
            if request.content_type.is_empty() { b"" } else { b"\r\nContent-Type: " },
            request.content_type,
            if request.if_none_match.is_empty() { b"" } else { b"\r\nIf-None-Match: " },
            request.if_none_match,
            if request.authorization.is_empty() { b"" } else { b"\r\nAuthorization: " },
            request.authorization,
            b"\r\nContent-Length: ",
            decimal(request.body.len(), length_digits),
        ] {
            self.out.extend_from_slice(part);
        }
        for (name, value) in &request.handed_on {
            for part in [b"\r\n".as_slice(), *name, b": ".as_slice(), *value] {
                self.out.extend_from_slice(part);
            }
        }
        self.out.extend_from_slice(b"\r\n\r\n");
        self.out.extend_from_slice(request.body);
        let end = self.sent + self.out.len() as u64;
        self.in_flight.push_back(InFlightRequest { token, head_only, end });
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
            self.out.shrink_to(2 * MAX_OUT_BYTES);
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
                self.readable = count == scratch.len() || self.hung_up || !A_SHORT_READ_TAKES_ALL;
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
    fn written_bytes_leave_the_memory_also_while_the_socket_is_full() {
        let (stream, mut handlers) = Stream::pair().unwrap();
        let mut link = Link::new(stream, Instant::now());
        let body = vec![b'x'; 50_000];
        let (mut scratch, mut taken) = (vec![0; 40_000], 0);
        for sequence in 0..1000 {
            if link.out.len() < MAX_OUT_BYTES {
                let request = UpstreamRequest::bare(b"POST", b"/", &body);
                link.push(Some(RequestToken { connection: 0, sequence }), false, "secret", &request);
            }
            link.flush().unwrap();
            assert!(!link.out.is_empty() || sequence < 100, "the socket is to be full");
            assert!(link.out.len() <= MAX_OUT_BYTES + 51_000, "{} bytes are held", link.out.len());
            assert_eq!(link.sent + link.out.len() as u64, link.in_flight.back().unwrap().end);
            taken += handlers.read(&mut scratch).unwrap();
        }
        assert!(taken > 10 * MAX_OUT_BYTES);
    }
}
