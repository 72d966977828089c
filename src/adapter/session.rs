//! One connection of a program: reads its requests and answers each exactly once, in order, in one write.

use std::io::{self, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::client_id::ClientId;
use super::fetch::PlainFetcher;
use super::look_ups::LookUp;
use super::member::Member;
use super::{Shared, commit, fetch, metadata, offsets, produce};
use crate::cluster::frame::{FrameError, FrameReader, READ_SLICE};
use crate::cluster::producing::Producer;
use crate::protocol::error_code::ErrorCode;
use crate::protocol::legacy::request::{self, Request, RequestError};
use crate::protocol::legacy::response;

/// The largest request accepted, in bytes.
const MAX_REQUEST: usize = 64 * 1024 * 1024;
/// A request that has begun to arrive must be whole within this time; an answer must be taken within it.
const STALL: Duration = Duration::from_secs(30);

/// The member that serves this connection.
pub(super) struct Bound {
    /// The member.
    pub member: Arc<Member>,
    /// The member's epoch in which an own program began.
    pub epoch: u64,
}

/// One connection.
pub struct Session {
    pub(super) id: u64,
    pub(super) stream: TcpStream,
    pub(super) local: SocketAddr,
    pub(super) shared: Arc<Shared>,
    pub(super) client: ClientId,
    pub(super) looked_up: Option<LookUp>,
    pub(super) bound: Option<Bound>,
    pub(super) producer: Option<Producer>,
    pub(super) plain: PlainFetcher,
    /// No request has been served yet that tells what the connection is for.
    pub(super) fresh: bool,
}

impl Session {
    /// A session over an accepted connection.
    ///
    /// # Errors
    /// The socket refuses its options.
    pub fn new(id: u64, stream: TcpStream, shared: Arc<Shared>) -> io::Result<Session> {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(READ_SLICE))?;
        stream.set_write_timeout(Some(STALL))?;
        let local = stream.local_addr()?;
        Ok(Session {
            id,
            stream,
            local,
            shared,
            client: ClientId::default(),
            looked_up: None,
            bound: None,
            producer: None,
            plain: PlainFetcher::default(),
            fresh: true,
        })
    }

    /// Serves the connection until either side closes it.
    pub fn run(mut self) {
        let mut reader = FrameReader::default();
        loop {
            let frame = match self.next_frame(&mut reader) {
                Ok(frame) => frame,
                Err(FrameError::Closed | FrameError::Cut | FrameError::Stopped) => return,
                Err(error) => {
                    log::warn!("adapter: a connection of {}: {error}", self.client.shown());
                    return;
                }
            };
            match self.answer(&frame) {
                Ok(Some(answer)) => {
                    if let Err(error) = self.stream.write_all(&answer) {
                        log::debug!("adapter: {} takes no answer: {error}", self.client.shown());
                        return;
                    }
                }
                Ok(None) => {}
                Err(error) => {
                    log::warn!("adapter: {error}; closed: here only the kafka crate's requests are served");
                    return;
                }
            }
        }
    }

    fn next_frame(&self, reader: &mut FrameReader) -> Result<Bytes, FrameError> {
        let mut begun = None;
        reader.next(&self.stream, MAX_REQUEST, &mut |mid_frame| {
            let stalled = mid_frame && begun.get_or_insert_with(Instant::now).elapsed() > STALL;
            !stalled && !self.shared.cluster.stopping()
        })
    }

    /// The answer's frame; none for what wants none.
    fn answer(&mut self, frame: &[u8]) -> Result<Option<Vec<u8>>, RequestError> {
        let (header, request) = request::decode(frame)?;
        if let Some(name) = request.names().find(|name| name.chars().any(char::is_control)) {
            log::warn!("adapter: a topic or group named {name:?}: refused");
            return Ok(refuse(header.correlation_id, &request, self.local));
        }
        self.client = ClientId::parse(&header.client_id);
        let id = header.correlation_id;
        if self.shared.token.is_some() && !self.token_fits() {
            log::warn!("adapter: {} has no valid token: refused", self.client.shown());
            return Ok(refuse(id, &request, self.local));
        }
        let answer = match &request {
            Request::Metadata { topics } => Some(metadata::metadata(self, id, topics)),
            Request::GroupCoordinator { .. } => Some(metadata::group_coordinator(self, id)),
            Request::Produce { acks, timeout_ms, topics } => {
                self.fresh = false;
                let answer = produce::produce(self, id, *timeout_ms, topics);
                (*acks != 0).then_some(answer)
            }
            Request::ListOffsets { topics } => {
                self.fresh = false;
                Some(offsets::list(self, id, topics))
            }
            Request::OffsetFetch { group, topics, .. } => {
                self.fresh = false;
                Some(offsets::committed(self, id, group, topics))
            }
            Request::OffsetCommit { group, topics, .. } => Some(commit::commit(self, id, group, topics)),
            Request::Fetch { max_wait_ms, min_bytes, topics } => {
                Some(fetch::fetch(self, id, *max_wait_ms, *min_bytes, topics))
            }
        };
        Ok(answer)
    }

    /// Binds the connection to `member`; false if that has ended meanwhile.
    pub(super) fn bind(&mut self, member: Arc<Member>) -> bool {
        if self.bound.as_ref().is_some_and(|bound| Arc::ptr_eq(&bound.member, &member)) {
            return !member.ended();
        }
        self.release();
        if !member.attach(self.id) {
            return false;
        }
        self.bound = Some(Bound { member, epoch: 0 });
        true
    }

    /// Lets go of the member, which lingers for a moment.
    pub(super) fn release(&mut self) {
        if let Some(bound) = self.bound.take() {
            bound.member.detach(self.id);
        }
    }

    /// The length is no secret; the comparison takes the same time wherever the texts differ.
    fn token_fits(&self) -> bool {
        let (Some(wanted), Some(given)) = (&self.shared.token, &self.client.token) else { return false };
        let differing = wanted.bytes().zip(given.bytes()).fold(0, |sum, (a, b)| sum | (a ^ b));
        wanted.len() == given.len() && differing == 0
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.release();
        self.shared.look_ups.close(self.id);
        let _ = self.stream.shutdown(Shutdown::Both);
    }
}

/// Whether the program has closed its side of the connection.
pub(super) fn gone(stream: &TcpStream) -> bool {
    if stream.set_nonblocking(true).is_err() {
        return true;
    }
    let seen = stream.peek(&mut [0]);
    let blocking = stream.set_nonblocking(false);
    blocking.is_err()
        || !matches!(&seen, Ok(1..)) && !matches!(&seen, Err(e) if e.kind() == io::ErrorKind::WouldBlock)
}

/// An authorization error for everything that a request names.
fn refuse(id: i32, request: &Request<'_>, local: SocketAddr) -> Option<Vec<u8>> {
    let topic = ErrorCode::TOPIC_AUTHORIZATION_FAILED;
    let group = ErrorCode::GROUP_AUTHORIZATION_FAILED;
    Some(match request {
        Request::Metadata { topics } => metadata::refused(id, local, topics, topic),
        Request::GroupCoordinator { .. } => response::group_coordinator(id, Err(group)),
        Request::Produce { acks: 0, .. } => return None,
        Request::Produce { topics, .. } => produce::refused(id, topics, topic),
        Request::ListOffsets { topics } => offsets::list_refused(id, topics, topic),
        Request::OffsetFetch { topics, .. } => offsets::committed_refused(id, topics, group),
        Request::OffsetCommit { topics, .. } => commit::refused(id, topics, group),
        Request::Fetch { topics, .. } => fetch::refused(id, topics, topic),
    })
}
