//! One connection: its requests are answered one after another, each answer in one write.

use std::io::{self, ErrorKind, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::MAX_REQUEST_BYTES;
use super::budget::{Budget, Room};
use super::caller::Caller;
use super::dispatch::{self, Refused};
use super::node::Node;
use crate::net::frame::{FrameError, FrameReader, READ_SLICE};
use crate::net::gone;
use crate::protocol::layout::RequestHeader;

/// A request that has begun to arrive must be whole within this time.
const STALL: Duration = Duration::from_secs(30);

/// A client may leave its answer untouched for this time, as one does that is busy with the answer before.
const UNTAKEN: Duration = Duration::from_secs(120);

/// A connection without requests is closed after this time, as Kafka does (`connections.max.idle.ms`).
const IDLE: Duration = Duration::from_secs(600);

/// After a wish to stop, an answer must be taken within this time.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Bytes of requests in memory, over all connections, ...
const REQUEST_BYTES: usize = 256 * 1024 * 1024;

/// ... of which those up to this size are not counted.
const SMALL: usize = 64 * 1024;

/// What all connections share.
pub struct Shared {
    /// What requests are answered from.
    pub node: Node,
    requests: Budget,
    stopping: AtomicBool,
}

impl Shared {
    /// Nothing is served yet.
    pub fn new(node: Node) -> Shared {
        Shared { node, requests: Budget::new(REQUEST_BYTES), stopping: AtomicBool::new(false) }
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
pub fn serve(id: u64, stream: TcpStream, shared: &Arc<Shared>) {
    match Connection::new(id, stream, shared) {
        Ok(mut connection) => connection.run(),
        Err(error) => log::debug!("broker: a connection that is gone at once: {error}"),
    }
    shared.node.groups.connection_closed(id);
}

struct Connection<'s> {
    id: u64,
    stream: TcpStream,
    peer: SocketAddr,
    local: SocketAddr,
    reader: FrameReader,
    shared: &'s Shared,
}

/// An IPv4 address as one, also on a socket that serves both (`[::]`): clients without IPv6 are told where to
/// connect.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// Why a connection ends.
enum End {
    /// In the way connections do.
    Usual(String),
    /// It is our doing, and worth a warning.
    Closed(String),
}

impl<'s> Connection<'s> {
    fn new(id: u64, stream: TcpStream, shared: &'s Shared) -> io::Result<Connection<'s>> {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(READ_SLICE))?;
        stream.set_write_timeout(Some(READ_SLICE))?;
        let (peer, local) = (canonical(stream.peer_addr()?), canonical(stream.local_addr()?));
        Ok(Connection { id, stream, peer, local, reader: FrameReader::default(), shared })
    }

    fn run(&mut self) {
        // What a client has sent without waiting can be read even after the end of reading: it must not keep
        // the broker from stopping.
        while !self.shared.stopping() {
            match self.one_request() {
                Ok(()) => {}
                Err(End::Usual(why)) => {
                    log::debug!("broker: {} is gone: {why}", self.peer);
                    break;
                }
                Err(End::Closed(why)) => {
                    log::warn!("broker: {}: {why}; its connection is closed", self.peer);
                    break;
                }
            }
        }
        let _ = self.stream.shutdown(Shutdown::Both);
    }

    fn one_request(&mut self) -> Result<(), End> {
        let (frame, _room) = self.next_frame()?;
        let Some((answer, _room)) = self.handle(&frame).map_err(End::Closed)? else { return Ok(()) };
        self.write(&answer).map_err(|error| End::Usual(format!("it takes no answer: {error}")))
    }

    /// The next request, and the room that it takes.
    fn next_frame(&mut self) -> Result<(Bytes, Option<Room<'s>>), End> {
        let shared = self.shared;
        let began = Instant::now();
        let mut begun = None;
        let mut stalled = false;
        let mut proceed = |mid_frame: bool| {
            stalled = mid_frame && begun.get_or_insert_with(Instant::now).elapsed() > STALL;
            let idle = !mid_frame && began.elapsed() > IDLE;
            !stalled && !idle && !shared.stopping()
        };
        let size = self.reader.size(&self.stream, MAX_REQUEST_BYTES, &mut proceed);
        let room = match size {
            Ok(size) if size > SMALL => {
                let room = shared.requests.take(size, Instant::now() + STALL, &|| !shared.stopping());
                let full = || End::Closed(format!("no room for its request of {size} bytes in time"));
                Some(room.ok_or_else(full)?)
            }
            _ => None,
        };
        let frame = size.and_then(|size| self.reader.body(&self.stream, size, &mut proceed));
        match frame {
            Ok(frame) => Ok((frame, room)),
            Err(FrameError::Stopped) if stalled => {
                Err(End::Closed(format!("its request was not whole within {STALL:?}")))
            }
            Err(error @ FrameError::BadSize { .. }) => Err(End::Closed(format!("{error}: no Kafka client?"))),
            Err(FrameError::Stopped) => Err(End::Usual("idle, or the broker stops".to_owned())),
            Err(error) => Err(End::Usual(error.to_string())),
        }
    }

    /// The answer to a request; a handler that panics costs this connection and nothing more.
    fn handle(&self, frame: &Bytes) -> Result<Option<dispatch::Answer<'s>>, Refused> {
        let header = RequestHeader::read(frame).map_err(|error| format!("a malformed request: {error}"))?;
        let gone = || self.shared.stopping() || gone(&self.stream);
        let caller = Caller {
            connection: self.id,
            version: header.version,
            client_id: header.client_id,
            peer: self.peer,
            local: self.local,
            gone: &gone,
        };
        let answered =
            catch_unwind(AssertUnwindSafe(|| dispatch::answer(&self.shared.node, &caller, &header, frame)));
        answered.unwrap_or_else(|_| {
            let (api_key, version) = (header.api_key, header.version);
            log::error!("broker: request {api_key} {version} of {} made its handler panic", self.peer);
            Err("an error of the embedded broker itself".to_owned())
        })
    }

    fn write(&self, mut bytes: &[u8]) -> io::Result<()> {
        let mut end = Instant::now() + UNTAKEN;
        let mut stop_end = None;
        while !bytes.is_empty() {
            match (&self.stream).write(bytes) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(written) => {
                    bytes = bytes.get(written..).unwrap_or_default();
                    end = Instant::now() + UNTAKEN;
                }
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(e) => return Err(e),
            }
            if self.shared.stopping() {
                stop_end.get_or_insert_with(|| Instant::now() + LAST_WORDS);
            }
            if !bytes.is_empty() && Instant::now() >= stop_end.unwrap_or(end).min(end) {
                return Err(io::Error::new(ErrorKind::TimedOut, "no byte in time"));
            }
        }
        Ok(())
    }
}
