//! One connection: its requests are answered one after another, each answer in one write.
//!
//! Produce requests that a client sends without waiting for answers share the disk's time: all that have arrived
//! are handed to the store, in order, before the first of them is waited for. Any other request begins when all
//! before it are answered.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use kafka_protocol::messages::ApiKey;

use super::MAX_REQUEST_BYTES;
use super::budget::{Budget, Room};
use super::caller::Caller;
use super::dispatch::{self, Later, Refused, Reply};
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

/// Produce requests of one connection that may be on their way to the disk at once.
const IN_HAND: usize = 16;

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
pub fn serve(id: u64, stream: Arc<TcpStream>, shared: &Arc<Shared>) {
    match Connection::new(id, stream, shared) {
        Ok(mut connection) => connection.run(),
        Err(error) => log::debug!("broker: a connection that is gone at once: {error}"),
    }
    shared.node.groups.connection_closed(id);
}

struct Connection<'s> {
    id: u64,
    stream: Arc<TcpStream>,
    peer: SocketAddr,
    local: SocketAddr,
    reader: FrameReader,
    /// Requests on their way to the disk, the oldest first, and the room of their frames.
    in_hand: VecDeque<(Later, Option<Room<'s>>)>,
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
    fn new(id: u64, stream: Arc<TcpStream>, shared: &'s Shared) -> io::Result<Connection<'s>> {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(READ_SLICE))?;
        stream.set_write_timeout(Some(READ_SLICE))?;
        let (peer, local) = (canonical(stream.peer_addr()?), canonical(stream.local_addr()?));
        Ok(Connection {
            id,
            stream,
            peer,
            local,
            reader: FrameReader::default(),
            in_hand: VecDeque::new(),
            shared,
        })
    }

    fn run(&mut self) {
        let mut end = Ok(());
        // What a client has sent without waiting can be read even after the end of reading: it must not keep
        // the broker from stopping.
        while end.is_ok() && !self.shared.stopping() {
            end = self.one_request();
        }
        // What came before the end has its answer.
        match self.finish(0).and(end) {
            Ok(()) => log::debug!("broker: {} is left, as the broker stops", self.peer),
            Err(End::Usual(why)) => log::debug!("broker: {} is gone: {why}", self.peer),
            Err(End::Closed(why)) => log::warn!("broker: {}: {why}; its connection is closed", self.peer),
        }
        let _ = self.stream.shutdown(Shutdown::Both);
    }

    /// Begins the next request, if it is there or nothing else is to be done; else finishes the oldest in hand.
    fn one_request(&mut self) -> Result<(), End> {
        if !self.in_hand.is_empty() && !self.another_has_arrived()? {
            return self.finish(self.in_hand.len() - 1);
        }
        let (frame, room) = self.next_frame()?;
        let header = RequestHeader::read(&frame);
        let header = header.map_err(|error| End::Closed(format!("a malformed request: {error}")))?;
        if header.api_key != ApiKey::Produce as i16 {
            self.finish(0)?;
        }
        match self.handle(&header, &frame)? {
            Reply::Now(answer) => self.write(answer),
            Reply::Later(later) => {
                self.in_hand.push_back((later, room));
                Ok(())
            }
        }
    }

    /// Whether one more request can be begun without waiting for its bytes. For a large one there is to be room,
    /// which those in hand may have.
    fn another_has_arrived(&mut self) -> Result<bool, End> {
        if self.in_hand.len() >= IN_HAND {
            return Ok(false);
        }
        let arrived = self.reader.has_arrived(&self.stream, MAX_REQUEST_BYTES, SMALL);
        arrived.map_err(end)
    }

    /// Answers the requests in hand, the oldest first, until `left` are left.
    fn finish(&mut self, left: usize) -> Result<(), End> {
        while self.in_hand.len() > left {
            let Some((later, _room)) = self.in_hand.pop_front() else { break };
            let answer = self
                .guarded(ApiKey::Produce as i16, "", |node, caller| dispatch::finish(node, caller, later))?;
            self.write(answer)?;
        }
        Ok(())
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
            Err(error) => Err(end(error)),
        }
    }

    fn handle(&self, header: &RequestHeader<'_>, frame: &Bytes) -> Result<Reply<'s>, End> {
        self.guarded(header.api_key, header.client_id, |node, caller| {
            let caller = Caller { version: header.version, ..*caller };
            dispatch::answer(node, &caller, header, frame)
        })
    }

    /// Does a part of a request's work; a handler that panics costs this connection and nothing more.
    fn guarded<T>(
        &self,
        api_key: i16,
        client_id: &str,
        work: impl FnOnce(&'s Node, &Caller<'_>) -> Result<T, Refused>,
    ) -> Result<T, End> {
        let gone = || self.shared.stopping() || gone(&self.stream);
        let (connection, peer, local) = (self.id, self.peer, self.local);
        let caller = Caller { connection, version: 0, client_id, peer, local, gone: &gone };
        let node = &self.shared.node;
        let done = catch_unwind(AssertUnwindSafe(|| work(node, &caller))).unwrap_or_else(|_| {
            log::error!("broker: a request of kind {api_key} of {peer} made its handler panic");
            Err("an error of the embedded broker itself".to_owned())
        });
        done.map_err(End::Closed)
    }

    fn write(&self, answer: Option<dispatch::Answer<'s>>) -> Result<(), End> {
        let Some((bytes, _room)) = answer else { return Ok(()) };
        self.write_all(&bytes).map_err(|error| End::Usual(format!("it takes no answer: {error}")))
    }

    fn write_all(&self, mut bytes: &[u8]) -> io::Result<()> {
        let mut end = Instant::now() + UNTAKEN;
        let mut stop_end = None;
        while !bytes.is_empty() {
            match (&*self.stream).write(bytes) {
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

fn end(error: FrameError) -> End {
    match error {
        FrameError::BadSize { .. } => End::Closed(format!("{error}: no Kafka client?")),
        FrameError::Stopped => End::Usual("idle, or the broker stops".to_owned()),
        error => End::Usual(error.to_string()),
    }
}
