//! A client connection: requests are answered one after another, each response in one write.
//!
//! Pipelined Produce requests share one sync of the disk: all that have arrived are handed to the store, in
//! order, before the first of them is waited for. Any other request begins when all before it are answered.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use kafka_protocol::messages::ApiKey;

use super::dispatch::dispatch;
use super::node::Node;
use super::request_context::RequestContext;
use super::requests::call::{CloseReason, Handled, PendingResponse, ResponseFrame};
use super::settings::MAX_REQUEST_BYTES;
use net::frame::{FrameError, FrameReader, RequestWaits};
use net::gone;
use net::sync::{ByteBudget, Reserved};
use protocol::precheck::RequestHeader;

/// The longest time from the first to the last byte of a request.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// The longest time in which a client takes no byte of its response, as it may be busy with the one before.
const WRITE_TIMEOUT: Duration = Duration::from_secs(120);

/// A connection without requests is closed after this time, as Kafka does (`connections.max.idle.ms`).
const IDLE_TIMEOUT: Duration = Duration::from_secs(600);

/// The waits for the next request.
const WAITS: RequestWaits = RequestWaits { idle: Some(IDLE_TIMEOUT), whole: REQUEST_TIMEOUT };

/// Once the broker stops, a client must take its response within this time.
const STOP_WRITE_TIMEOUT: Duration = Duration::from_secs(1);

/// How often a blocked write checks whether the broker stops.
const STOP_CHECK_INTERVAL: Duration = Duration::from_millis(100);

/// Bytes of requests in memory, over all connections.
const REQUEST_BYTES: usize = 256 * 1024 * 1024;

/// Requests and responses up to this size are not counted.
const UNCOUNTED_BYTES: usize = 64 * 1024;

/// The largest number of Produce requests of one connection that wait for the disk at once.
const MAX_IN_FLIGHT: usize = 16;

/// The state that all connections share.
pub struct ServerState {
    /// The node that answers.
    pub node: Node,
    requests: ByteBudget,
    stopping: AtomicBool,
}

impl ServerState {
    /// The state before the first connection.
    pub fn new(node: Node) -> ServerState {
        ServerState { node, requests: ByteBudget::new(REQUEST_BYTES), stopping: AtomicBool::new(false) }
    }

    /// Ends waits: connections are closed after the request they are at.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    fn stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }
}

/// Serves connection number `id` until either side closes it.
pub fn serve(id: u64, stream: Arc<TcpStream>, shared: &Arc<ServerState>) {
    match Connection::new(id, stream, shared) {
        Ok(mut connection) => connection.run(),
        Err(error) => log::debug!("broker: a connection ended before its first request: {error}"),
    }
    shared.node.groups.connection_closed(id);
}

struct Connection<'s> {
    id: u64,
    stream: Arc<TcpStream>,
    peer: SocketAddr,
    /// The host and port that the client is told to connect to.
    advertised: (String, u16),
    reader: FrameReader,
    /// Requests that wait for the disk, the oldest first, and the memory of their frames.
    in_flight: VecDeque<(PendingResponse, Option<Reserved<'s>>)>,
    shared: &'s ServerState,
}

/// Maps an IPv4-mapped IPv6 address, as of a socket on `[::]`, to IPv4, as clients without IPv6 are told to
/// connect to it.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// The end of a connection.
enum ConnectionEnd {
    /// A client or the network ended it.
    Expected(String),
    /// The broker closes it, with a warning in the log.
    Refused(String),
}

impl<'s> Connection<'s> {
    fn new(id: u64, stream: Arc<TcpStream>, shared: &'s ServerState) -> io::Result<Connection<'s>> {
        stream.set_nodelay(true)?;
        stream.set_write_timeout(Some(STOP_CHECK_INTERVAL))?;
        let (peer, local) = (canonical(stream.peer_addr()?), canonical(stream.local_addr()?));
        let advertised = shared.node.settings.advertised.clone();
        let advertised = advertised.unwrap_or_else(|| (local.ip().to_string(), local.port()));
        Ok(Connection {
            id,
            stream,
            peer,
            advertised,
            reader: FrameReader::default(),
            in_flight: VecDeque::new(),
            shared,
        })
    }

    fn run(&mut self) {
        let mut end = Ok(());
        // Pipelined requests may be buffered even after reading has ended: they must not keep the broker from
        // stopping.
        while end.is_ok() && !self.shared.stopping() {
            end = self.one_request();
        }
        // Requests in flight still get their responses.
        match self.finish(0).and(end) {
            Ok(()) => log::debug!("broker: the connection of {} is closed, as the broker stops", self.peer),
            Err(ConnectionEnd::Expected(why)) => {
                log::debug!("broker: the connection of {} has ended: {why}", self.peer)
            }
            Err(ConnectionEnd::Refused(why)) => {
                log::warn!("broker: {}: {why}; its connection is closed", self.peer)
            }
        }
        let _ = self.stream.shutdown(Shutdown::Both);
    }

    /// Begins the next request, if it has arrived or none is in flight; else finishes the oldest in flight.
    fn one_request(&mut self) -> Result<(), ConnectionEnd> {
        if !self.in_flight.is_empty() && !self.another_has_arrived()? {
            return self.finish(self.in_flight.len() - 1);
        }
        let (frame, reserved) = self.next_frame()?;
        let header = RequestHeader::read(&frame);
        let header =
            header.map_err(|error| ConnectionEnd::Refused(format!("a malformed request: {error}")))?;
        if header.api_key != ApiKey::Produce as i16 {
            self.finish(0)?;
        }
        match self.handle(&header, &frame)? {
            Handled::Answered(response) => self.write(response),
            Handled::Pending(pending) => {
                self.in_flight.push_back((pending, reserved));
                Ok(())
            }
        }
    }

    /// Whether one more request can be begun without waiting for its bytes. A large one may need memory that
    /// requests in flight hold.
    fn another_has_arrived(&mut self) -> Result<bool, ConnectionEnd> {
        if self.in_flight.len() >= MAX_IN_FLIGHT {
            return Ok(false);
        }
        let arrived = self.reader.has_arrived(&self.stream, MAX_REQUEST_BYTES, UNCOUNTED_BYTES);
        arrived.map_err(end)
    }

    /// Answers the requests in flight, the oldest first, until `left` are left.
    fn finish(&mut self, left: usize) -> Result<(), ConnectionEnd> {
        while self.in_flight.len() > left {
            let Some((pending, _reserved)) = self.in_flight.pop_front() else { break };
            let response =
                self.guarded(ApiKey::Produce as i16, "", |node, context| pending.wait(node, context))?;
            self.write(response)?;
        }
        Ok(())
    }

    /// The next request, and the memory that it takes.
    fn next_frame(&mut self) -> Result<(Bytes, Option<Reserved<'s>>), ConnectionEnd> {
        let shared = self.shared;
        let size = self.reader.request_size(&self.stream, MAX_REQUEST_BYTES, WAITS).map_err(end)?;
        let room = if size > UNCOUNTED_BYTES {
            let room = shared.requests.take(size, Instant::now() + REQUEST_TIMEOUT, &|| !shared.stopping());
            let full =
                || ConnectionEnd::Refused(format!("no memory for its request of {size} bytes in time"));
            Some(room.ok_or_else(full)?)
        } else {
            None
        };
        let frame = self.reader.request_body(&self.stream, size, WAITS).map_err(end)?;
        Ok((frame, room))
    }

    fn handle(&self, header: &RequestHeader<'_>, frame: &Bytes) -> Result<Handled<'s>, ConnectionEnd> {
        self.guarded(header.api_key, header.client_id, |node, context| {
            let context = RequestContext { version: header.version, ..*context };
            dispatch(node, &context, header, frame)
        })
    }

    /// Runs a handler; one that panics ends this connection only.
    fn guarded<T>(
        &self,
        api_key: i16,
        client_id: &str,
        work: impl FnOnce(&'s Node, &RequestContext<'_>) -> Result<T, CloseReason>,
    ) -> Result<T, ConnectionEnd> {
        let gone = || self.shared.stopping() || gone(&self.stream);
        let (connection, peer) = (self.id, self.peer);
        let advertised = (self.advertised.0.as_str(), self.advertised.1);
        let context = RequestContext { connection, version: 0, client_id, peer, advertised, gone: &gone };
        let node = &self.shared.node;
        let done = catch_unwind(AssertUnwindSafe(|| work(node, &context))).unwrap_or_else(|_| {
            log::error!("broker: the handler of API key {api_key} panicked at a request of {peer}");
            Err("an internal error of the embedded broker".to_owned())
        });
        done.map_err(ConnectionEnd::Refused)
    }

    fn write(&self, response: Option<ResponseFrame<'s>>) -> Result<(), ConnectionEnd> {
        let Some((bytes, _reserved)) = response else { return Ok(()) };
        self.write_all(&bytes)
            .map_err(|error| ConnectionEnd::Expected(format!("its response cannot be written: {error}")))
    }

    fn write_all(&self, mut bytes: &[u8]) -> io::Result<()> {
        let mut end = Instant::now() + WRITE_TIMEOUT;
        let mut stop_end = None;
        while !bytes.is_empty() {
            match (&*self.stream).write(bytes) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(written) => {
                    bytes = bytes.get(written..).unwrap_or_default();
                    end = Instant::now() + WRITE_TIMEOUT;
                }
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(e) => return Err(e),
            }
            if self.shared.stopping() {
                stop_end.get_or_insert_with(|| Instant::now() + STOP_WRITE_TIMEOUT);
            }
            if !bytes.is_empty() && Instant::now() >= stop_end.unwrap_or(end).min(end) {
                return Err(io::Error::new(ErrorKind::TimedOut, "no byte in time"));
            }
        }
        Ok(())
    }
}

fn end(error: FrameError) -> ConnectionEnd {
    match error {
        FrameError::BadSize { .. } => ConnectionEnd::Refused(format!("{error}: is it a Kafka client?")),
        FrameError::Stalled => {
            ConnectionEnd::Refused(format!("its request was not complete within {REQUEST_TIMEOUT:?}"))
        }
        error => ConnectionEnd::Expected(error.to_string()),
    }
}
