//! Reads a client's requests and answers each exactly once, in order, in one write.

use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use bytes::Bytes;

use super::Shared;
use super::client_id::ClientId;
use super::session::{STALL, Session};
use super::{commit, fetch, metadata, offsets, produce};
use net::frame::{FrameError, FrameReader, RequestWaits};
use protocol::error_code::ErrorCode;
use protocol::v0::request::{self, Request, RequestError};
use protocol::v0::response;

/// The largest request accepted, in bytes: the largest message that our own producer takes, and what it may
/// send beside it.
const MAX_REQUEST: usize = 80 * 1024 * 1024;

/// A client may keep a connection for as long as it likes between two requests.
const WAITS: RequestWaits = RequestWaits { idle: None, whole: STALL };

/// Serves connection number `id` until either side closes it.
pub fn serve(id: u64, stream: Arc<TcpStream>, shared: &Arc<Shared>) {
    let mut session = match Session::new(id, stream, shared.clone()) {
        Ok(session) => session,
        Err(error) => return log::warn!("adapter: connection {id} cannot be set up: {error}"),
    };
    let mut reader = FrameReader::default();
    // A client may have sent requests that can be read even after the socket was shut down.
    while !shared.cluster.stopping() {
        let frame = match next_frame(&session.stream, &mut reader) {
            Ok(frame) => frame,
            Err(FrameError::Closed | FrameError::Cut) => return,
            Err(error) => {
                log::warn!("adapter: a connection of {}: {error}", session.client.shown());
                return;
            }
        };
        match answer(&mut session, &frame) {
            Ok(Some(answer)) => {
                if let Err(error) = (&*session.stream).write_all(&answer) {
                    log::debug!("adapter: {} takes no answer: {error}", session.client.shown());
                    return;
                }
            }
            Ok(None) => {}
            Err(error) => {
                log::warn!(
                    "adapter: {error}; connection closed: the adapter serves only the seven requests of the \
                     kafka crate"
                );
                return;
            }
        }
    }
}

/// The next request; when the adapter stops, its listener shuts the socket down, which ends the wait.
fn next_frame(stream: &TcpStream, reader: &mut FrameReader) -> Result<Bytes, FrameError> {
    let size = reader.request_size(stream, MAX_REQUEST, WAITS)?;
    reader.request_body(stream, size, WAITS)
}

/// The response frame; `None` for Produce with acks=0.
fn answer(session: &mut Session, frame: &[u8]) -> Result<Option<Vec<u8>>, RequestError> {
    let (header, request) = request::decode(frame)?;
    if let Some(name) = request.names().find(|name| name.chars().any(char::is_control)) {
        log::warn!("adapter: a topic or group named {name:?}: refused");
        return Ok(refuse(header.correlation_id, &request, session.local));
    }
    session.client = ClientId::parse(&header.client_id);
    let id = header.correlation_id;
    if !session.may_enter() {
        log::warn!("adapter: {} has no valid token: refused", session.client.shown());
        return Ok(refuse(id, &request, session.local));
    }
    let answer = match &request {
        Request::Metadata { topics } => Some(metadata::metadata(session, id, topics)),
        Request::GroupCoordinator { .. } => Some(metadata::group_coordinator(session, id)),
        Request::Produce { acks, timeout_ms, topics } => {
            session.fresh = false;
            let answer = produce::produce(session, id, *timeout_ms, topics);
            (*acks != 0).then_some(answer)
        }
        Request::ListOffsets { topics } => Some(offsets::list(session, id, topics)),
        Request::OffsetFetch { group, topics, .. } => {
            session.fresh = false;
            Some(offsets::committed(session, id, group, topics))
        }
        Request::OffsetCommit { group, topics, .. } => Some(commit::commit(session, id, group, topics)),
        Request::Fetch { max_wait_ms, min_bytes, topics } => {
            Some(fetch::fetch(session, id, *max_wait_ms, *min_bytes, topics))
        }
    };
    Ok(answer)
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
