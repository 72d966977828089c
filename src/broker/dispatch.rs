//! One request's way from its bytes to those of its answer.

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::{ApiKey, FetchRequest, ProduceRequest, ResponseHeader};
use kafka_protocol::protocol::{Encodable, HeaderVersion, Request};

use super::budget::Room;
use super::caller::Caller;
use super::groups::Groups;
use super::node::Node;
use super::requests::*;
use super::versions;
use crate::protocol::layout::{self, RequestHeader};

/// What goes back to the client: a whole frame, with its size, and the memory to be held until it is written.
pub type Answer<'n> = (Bytes, Option<Room<'n>>);

/// What becomes of a request.
pub enum Reply<'n> {
    /// Its answer; `None` for one that wants none.
    Now(Option<Answer<'n>>),
    /// It is on its way to the disk: [`finish`] waits for it.
    Later(Later),
}

/// A Produce request on its way to the disk.
pub struct Later {
    version: i16,
    correlation_id: i32,
    wants_answer: bool,
    begun: produce::Begun,
}

/// Why a connection is closed without an answer, in words.
pub type Refused = String;

/// A request whose header is read: everything its handler is given, and its bytes.
struct Call<'n, 'c> {
    node: &'n Node,
    caller: &'c Caller<'c>,
    correlation_id: i32,
    body: Bytes,
}

/// Answers the request in `frame`, whose header is `header`, or begins to. May block for as long as the request
/// says, but not for the disk in a Produce request.
///
/// # Errors
/// What is malformed or not served, or failed without a response that could say so: the connection is to be
/// closed.
pub fn answer<'n>(
    node: &'n Node,
    caller: &Caller<'_>,
    header: &RequestHeader<'_>,
    frame: &Bytes,
) -> Result<Reply<'n>, Refused> {
    let (api_key, version, correlation_id) = (header.api_key, header.version, header.correlation_id);
    let Ok(kind) = ApiKey::try_from(api_key) else {
        return Err(format!("a request of the unknown kind {api_key}"));
    };
    if !versions::is_served(api_key, version) {
        if kind == ApiKey::ApiVersions && version > 0 {
            let table = respond(&api_versions::unsupported_version(), correlation_id, 0)?;
            return Ok(Reply::Now(Some((table, None))));
        }
        return Err(format!("{kind:?} {version} is not served"));
    }
    let body = frame.slice(header.body.min(frame.len())..);
    layout::check_request(api_key, version, &body).map_err(|error| format!("{kind:?} {version}: {error}"))?;
    let _room = match kind {
        // Its records stay in the frame.
        ApiKey::Produce => None,
        _ => {
            let room = node.room_to_decode(body.len(), caller);
            room.ok_or_else(|| format!("no room for its {kind:?} of {} bytes in time", body.len()))?
        }
    };
    let call = Call { node, caller, correlation_id, body };
    let answered = match kind {
        ApiKey::Produce => return call.produce().map(Reply::Later),
        ApiKey::Fetch => call.fetch(),
        ApiKey::ListOffsets => call.answer(list_offsets::answer),
        ApiKey::Metadata => call.answer(metadata::answer),
        ApiKey::ApiVersions => call.answer(api_versions::answer),
        ApiKey::CreateTopics => call.answer(create_topics::answer),
        ApiKey::DeleteTopics => call.answer(delete_topics::answer),
        ApiKey::InitProducerId => call.answer(init_producer_id::answer),
        ApiKey::DescribeConfigs => call.answer(describe_configs::answer),
        ApiKey::DescribeCluster => call.answer(describe_cluster::answer),
        ApiKey::OffsetCommit => call.of_groups(offset_commit::answer),
        ApiKey::OffsetFetch => call.of_groups(offset_fetch::answer),
        ApiKey::FindCoordinator => call.of_groups(find_coordinator::answer),
        ApiKey::JoinGroup => call.of_groups(join_group::answer),
        ApiKey::SyncGroup => call.of_groups(sync_group::answer),
        ApiKey::Heartbeat => call.of_groups(heartbeat::answer),
        ApiKey::LeaveGroup => call.of_groups(leave_group::answer),
        ApiKey::ListGroups => call.of_groups(list_groups::answer),
        ApiKey::DescribeGroups => call.of_groups(describe_groups::answer),
        ApiKey::DeleteGroups => call.of_groups(delete_groups::answer),
        ApiKey::OffsetDelete => call.of_groups(offset_delete::answer),
        other => Err(format!("{other:?} is not served")),
    };
    answered.map(Reply::Now)
}

/// Waits until what a request brought is durable, or refused: its answer, `None` if it wants none.
///
/// # Errors
/// As [`answer`]; also if something failed of a request that wants no answer, whose client learns of it by the
/// end of its connection.
pub fn finish<'n>(node: &'n Node, caller: &Caller<'_>, later: Later) -> Result<Option<Answer<'n>>, Refused> {
    let Later { version, correlation_id, wants_answer, begun } = later;
    let caller = Caller { version, ..*caller };
    let response = begun.finish(&caller);
    if wants_answer {
        return Call { node, caller: &caller, correlation_id, body: Bytes::new() }.finish(&response);
    }
    match produce::failure(&response) {
        Some(code) => Err(format!("Produce with acks=0 failed: {code}")),
        None => Ok(None),
    }
}

impl<'n> Call<'n, '_> {
    fn answer<R: Request>(
        self,
        handler: impl FnOnce(&Node, &Caller<'_>, R) -> R::Response,
    ) -> Result<Option<Answer<'n>>, Refused> {
        let response = handler(self.node, self.caller, self.decode::<R>()?);
        self.finish(&response)
    }

    fn of_groups<R: Request>(
        self,
        handler: impl FnOnce(&Groups, &Caller<'_>, R) -> R::Response,
    ) -> Result<Option<Answer<'n>>, Refused> {
        let response = handler(&self.node.groups, self.caller, self.decode::<R>()?);
        self.finish(&response)
    }

    fn produce(self) -> Result<Later, Refused> {
        let request: ProduceRequest = self.decode()?;
        let wants_answer = request.acks != 0;
        let begun = produce::begin(self.node, self.caller, request);
        Ok(Later { version: self.caller.version, correlation_id: self.correlation_id, wants_answer, begun })
    }

    fn fetch(self) -> Result<Option<Answer<'n>>, Refused> {
        let request: FetchRequest = self.decode()?;
        let (response, room) = fetch::answer(self.node, self.caller, request);
        Ok(Some((self.encode(&response)?, room)))
    }

    fn decode<R: Request>(&self) -> Result<R, Refused> {
        let mut body = self.body.clone();
        R::decode(&mut body, self.caller.version).map_err(|error| format!("a malformed request: {error}"))
    }

    /// The answer without records, once there is room for it.
    fn finish<R: Encodable + HeaderVersion>(&self, response: &R) -> Result<Option<Answer<'n>>, Refused> {
        // What cannot be encoded is reported where it is tried.
        let size = response.compute_size(self.caller.version).unwrap_or_default();
        let room = self.node.room_to_answer(size, self.caller);
        let room = room.ok_or_else(|| format!("no room for its answer of {size} bytes in time"))?;
        Ok(Some((self.encode(response)?, room)))
    }

    fn encode<R: Encodable + HeaderVersion>(&self, response: &R) -> Result<Bytes, Refused> {
        respond(response, self.correlation_id, self.caller.version)
    }
}

/// The frame of a response.
fn respond<R: Encodable + HeaderVersion>(
    response: &R,
    correlation_id: i32,
    version: i16,
) -> Result<Bytes, Refused> {
    let impossible = |error: &dyn std::fmt::Display| {
        log::error!("an answer cannot be encoded in version {version}: {error}");
        format!("its answer cannot be encoded: {error}")
    };
    let size = response.compute_size(version).map_err(|error| impossible(&error))?;
    let mut frame = BytesMut::with_capacity(size + 16);
    frame.extend_from_slice(&[0; 4]);
    let header = ResponseHeader::default().with_correlation_id(correlation_id);
    let encoded = header
        .encode(&mut frame, R::header_version(version))
        .and_then(|()| response.encode(&mut frame, version));
    encoded.map_err(|error| impossible(&error))?;
    let size = i32::try_from(frame.len() - 4).map_err(|error| impossible(&error))?;
    frame[..4].copy_from_slice(&size.to_be_bytes());
    Ok(frame.freeze())
}
