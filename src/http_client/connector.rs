//! The connections of the HTTP client: each of their errors names the phase in which it happened.

use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, LazyBuffers, NextTimeout, Transport,
};

use super::address::is_private;

/// The longest head of an answer, in bytes.
pub const LONGEST_HEAD: usize = 64 * 1024;
/// The input of a connection whose answer has not fitted what it began with.
const LARGE_INPUT: usize = LONGEST_HEAD + 1024;

/// A part of an exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Looking up the host's addresses.
    LookUp,
    /// Connecting to one of them.
    Connect,
    /// Agreeing on TLS.
    Tls,
    /// Sending the request.
    Send,
    /// Waiting for the answer, and receiving it.
    Answer,
}

impl Phase {
    /// Whether the target cannot have got anything of the request in it.
    pub fn is_before_the_request(self) -> bool {
        matches!(self, Phase::LookUp | Phase::Connect | Phase::Tls)
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Phase::LookUp => "looking up the host",
            Phase::Connect => "connecting",
            Phase::Tls => "agreeing on TLS",
            Phase::Send => "sending the request",
            Phase::Answer => "waiting for the answer",
        })
    }
}

/// An error with its phase, within an [`io::Error`].
#[derive(Debug)]
pub struct Failed {
    /// Where it happened.
    pub phase: Phase,
    why: String,
}

impl Failed {
    /// The phase and reason of an error of the client, if it has them.
    pub fn within(error: &ureq::Error) -> Option<&Failed> {
        match error {
            ureq::Error::Io(error) => error.get_ref()?.downcast_ref(),
            _ => None,
        }
    }
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.phase, self.why)
    }
}

impl std::error::Error for Failed {}

fn failed(phase: Phase, why: impl fmt::Display) -> ureq::Error {
    ureq::Error::Io(io::Error::other(Failed { phase, why: why.to_string() }))
}

/// The error of a call that its socket gave up; `limit` is how long it had.
fn io_failed(phase: Phase, error: &io::Error, limit: Option<Duration>) -> ureq::Error {
    match limit {
        Some(limit) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
            failed(phase, format!("not done within {} ms", limit.as_millis()))
        }
        _ => failed(phase, error),
    }
}

/// How long a call may take, if there is a limit.
fn limit(timeout: NextTimeout) -> Option<Duration> {
    timeout.not_zero().map(|left| *left)
}

/// Looks up hosts, and gives no address of the local network where that is refused.
#[derive(Debug)]
pub struct Lookup {
    resolver: DefaultResolver,
    private: bool,
}

impl Lookup {
    /// Gives addresses of the local network, too, if they are `private`.
    pub fn new(private: bool) -> Lookup {
        Lookup { resolver: DefaultResolver::default(), private }
    }
}

impl Resolver for Lookup {
    fn resolve(
        &self,
        uri: &Uri,
        config: &Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let found = self.resolver.resolve(uri, config, timeout).map_err(|error| match error {
            ureq::Error::Io(error) => failed(Phase::LookUp, error),
            ureq::Error::Timeout(_) => io_failed(Phase::LookUp, &ErrorKind::TimedOut.into(), limit(timeout)),
            other => failed(Phase::LookUp, other),
        })?;
        let mut allowed = self.empty();
        for address in found.iter().filter(|address| self.private || !is_private(address.ip())) {
            allowed.push(*address);
        }
        if allowed.is_empty() {
            let all: Vec<String> = found.iter().map(|address| address.ip().to_string()).collect();
            let why =
                format!("{} is of the local network, and consumer.push_private is false", all.join(", "));
            return Err(failed(Phase::LookUp, why));
        }
        Ok(allowed)
    }
}

/// Makes connections, with TLS for `https`.
#[derive(Clone)]
pub struct Connect {
    /// Where TLS is used.
    pub tls: Option<tls::Connector>,
}

impl fmt::Debug for Connect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connect").finish_non_exhaustive()
    }
}

impl Connector for Connect {
    type Out = Connection;

    fn connect(&self, details: &ConnectionDetails, _: Option<()>) -> Result<Option<Connection>, ureq::Error> {
        let limit = limit(details.timeout).unwrap_or(Duration::MAX);
        let deadline = Instant::now().checked_add(limit);
        let socket = connect_to(&details.addrs, deadline, limit)?;
        let socket = match &self.tls {
            Some(tls) if details.needs_tls() => {
                let host = details.uri.host().unwrap_or_default();
                let host = host.trim_start_matches('[').trim_end_matches(']');
                let deadline = deadline.unwrap_or_else(|| Instant::now() + Duration::from_secs(60));
                let stream =
                    tls.connect(socket, host, deadline).map_err(|error| failed(Phase::Tls, error))?;
                Socket::Tls(Box::new(stream))
            }
            _ if details.needs_tls() => return Err(failed(Phase::Tls, "this build has no TLS")),
            _ => Socket::Plain(socket),
        };
        let config = details.config;
        let buffers = LazyBuffers::new(config.input_buffer_size(), config.output_buffer_size());
        Ok(Some(Connection { socket, buffers }))
    }
}

/// The first of the addresses that answers. Each has its share of the time that is left.
fn connect_to(
    addresses: &[SocketAddr],
    deadline: Option<Instant>,
    limit: Duration,
) -> Result<TcpStream, ureq::Error> {
    let mut last = failed(Phase::Connect, "the host name has no address");
    for (index, address) in addresses.iter().enumerate() {
        let left = deadline.map_or(limit, |deadline| deadline.saturating_duration_since(Instant::now()));
        let share = left / u32::try_from(addresses.len() - index).unwrap_or(1);
        if share.is_zero() {
            break;
        }
        match TcpStream::connect_timeout(address, share) {
            Ok(socket) => {
                socket.set_nodelay(true).map_err(|error| failed(Phase::Connect, error))?;
                return Ok(socket);
            }
            Err(error) => {
                let error = io_failed(Phase::Connect, &error, Some(limit));
                let why = Failed::within(&error).map_or_else(String::new, |failed| failed.why.clone());
                last = failed(Phase::Connect, format!("{address}: {why}"));
            }
        }
    }
    Err(last)
}

/// A connection to the target.
pub struct Connection {
    socket: Socket,
    buffers: LazyBuffers,
}

enum Socket {
    Plain(TcpStream),
    Tls(Box<tls::Stream>),
}

impl Socket {
    fn tcp(&self) -> &TcpStream {
        match self {
            Socket::Plain(socket) => socket,
            Socket::Tls(stream) => stream.socket(),
        }
    }
}

impl Read for Socket {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Socket::Plain(socket) => socket.read(into),
            Socket::Tls(stream) => stream.read(into),
        }
    }
}

impl Write for Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Socket::Plain(socket) => socket.write(bytes),
            Socket::Tls(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Socket::Plain(socket) => socket.flush(),
            Socket::Tls(stream) => stream.flush(),
        }
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("socket", self.socket.tcp()).finish_non_exhaustive()
    }
}

impl Connection {
    /// Writes all of `amount` bytes of the buffer until `deadline`. A single write may take less.
    fn write(&mut self, amount: usize, deadline: Option<Instant>) -> io::Result<()> {
        let mut unsent = self.buffers.output().get(..amount).unwrap_or_default();
        let mut is_flushed = false;
        while !is_flushed {
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            if left.is_some_and(|left| left.is_zero()) {
                return Err(ErrorKind::TimedOut.into());
            }
            self.socket.tcp().set_write_timeout(left)?;
            let done = match unsent {
                [] => self.socket.flush().map(|()| is_flushed = true),
                bytes => {
                    self.socket.write(bytes).map(|count| unsent = bytes.get(count..).unwrap_or_default())
                }
            };
            match done {
                Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    /// Makes room for input behind what is there, once, where there is none. Nothing waits to be sent then.
    fn make_room(&mut self) {
        let seen = self.buffers.input().len();
        if seen >= LARGE_INPUT || !self.buffers.input_append_buf().is_empty() {
            return;
        }
        let mut larger = LazyBuffers::new(LARGE_INPUT, self.buffers.output().len());
        if let Some(begin) = larger.input_append_buf().get_mut(..seen) {
            begin.copy_from_slice(self.buffers.input());
            larger.input_appended(seen);
            self.buffers = larger;
        }
    }
}

impl Transport for Connection {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), ureq::Error> {
        let limit = limit(timeout);
        let deadline = limit.and_then(|limit| Instant::now().checked_add(limit));
        self.write(amount, deadline).map_err(|error| io_failed(Phase::Send, &error, limit))
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, ureq::Error> {
        let limit = limit(timeout);
        let failed = |error: io::Error| io_failed(Phase::Answer, &error, limit);
        self.socket.tcp().set_read_timeout(limit).map_err(failed)?;
        self.make_room();
        let amount = loop {
            match self.socket.read(self.buffers.input_append_buf()) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                read => break read.map_err(failed)?,
            }
        };
        self.buffers.input_appended(amount);
        Ok(amount > 0)
    }

    fn is_open(&mut self) -> bool {
        match &mut self.socket {
            Socket::Plain(socket) => !net::gone(socket),
            Socket::Tls(stream) => !stream.is_closed(),
        }
    }

    fn is_tls(&self) -> bool {
        matches!(self.socket, Socket::Tls(_))
    }
}
