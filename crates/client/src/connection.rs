//! A connection to a broker: negotiated, one request at a time, every wait with a deadline.
//!
//! Each request is spoken in one fixed version that Kafka 2.8 to 4.x all understand, the lowest one that has
//! what is needed, as other programs that speak Kafka's protocol lag behind. ApiVersions (KIP-35) proves at
//! the start that the broker is one of them; a broker that is not gets an error that says so. Two requests
//! are spoken in a newer version where the broker offers it: those that know topics by their ids (KIP-516).

use std::io::{ErrorKind, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::{
    ApiKey, ApiVersionsRequest, ApiVersionsResponse, CreatePartitionsRequest, CreateTopicsRequest,
    DeleteTopicsRequest, DescribeConfigsRequest, DescribeGroupsRequest, FetchRequest, FindCoordinatorRequest,
    HeartbeatRequest, IncrementalAlterConfigsRequest, InitProducerIdRequest, JoinGroupRequest,
    LeaveGroupRequest, ListGroupsRequest, ListOffsetsRequest, MetadataRequest, OffsetCommitRequest,
    OffsetFetchRequest, ProduceRequest, RequestHeader, ResponseHeader, SaslAuthenticateRequest,
    SaslHandshakeRequest, SyncGroupRequest,
};
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, StrBytes};

use super::error::{Cause, Error, Result};
use super::request_context::RequestContext;
use super::sasl::session::Session;
use super::sasl::{Credentials, Failure};
use super::security::Security;
use super::transport::Transport;
use super::versioned_request::VersionedRequest;
use net::connect::connect;
use net::frame::{FrameError, FrameReader};
use protocol::precheck;

/// How long a broker may take none of a request's bytes, ...
const SEND_STALL: Duration = Duration::from_secs(5);
/// ... and how long it may take to take them all.
const SEND_LIMIT: Duration = Duration::from_secs(15);

/// How long a broker may take to authenticate a connection anew.
const RENEWAL_LIMIT: Duration = Duration::from_secs(10);

/// The bytes of a frame that hold its size.
const SIZE_BYTES: usize = 4;

const CLIENT_SOFTWARE: &str = "point-to-point";

impl VersionedRequest for ApiVersionsRequest {
    const API: ApiKey = ApiKey::ApiVersions;
    const VERSION: i16 = 3;
}

const fn required<R: VersionedRequest>() -> (ApiKey, i16) {
    (R::API, R::VERSION)
}

/// The requests that a broker has to offer.
const REQUIRED: [(ApiKey, i16); 14] = [
    required::<ProduceRequest>(),
    required::<FetchRequest>(),
    required::<ListOffsetsRequest>(),
    required::<MetadataRequest>(),
    required::<OffsetCommitRequest>(),
    required::<OffsetFetchRequest>(),
    required::<FindCoordinatorRequest>(),
    required::<JoinGroupRequest>(),
    required::<HeartbeatRequest>(),
    required::<LeaveGroupRequest>(),
    required::<SyncGroupRequest>(),
    required::<DescribeGroupsRequest>(),
    required::<InitProducerIdRequest>(),
    required::<CreateTopicsRequest>(),
];

/// The requests that only an observer or an administrator makes: a broker is asked for them where they are
/// needed.
const FURTHER: [(ApiKey, i16); 5] = [
    required::<ListGroupsRequest>(),
    required::<DescribeConfigsRequest>(),
    required::<DeleteTopicsRequest>(),
    required::<CreatePartitionsRequest>(),
    required::<IncrementalAlterConfigsRequest>(),
];

const fn newer<R: VersionedRequest>() -> (ApiKey, Option<i16>) {
    (R::API, R::NEWER)
}

/// The requests that have a newer version.
const NEWER: [(ApiKey, Option<i16>); 2] = [newer::<FetchRequest>(), newer::<MetadataRequest>()];

/// The requests that a broker has to offer, too, where this client authenticates.
const REQUIRED_FOR_SASL: [(ApiKey, i16); 2] =
    [required::<SaslHandshakeRequest>(), required::<SaslAuthenticateRequest>()];

/// A connection to one broker. After any error it is of no more use: drop it and open another.
#[derive(Debug)]
pub struct Connection {
    transport: Transport,
    reader: FrameReader,
    address: String,
    client_id: StrBytes,
    correlation: i32,
    /// Who this client is to the broker, and until when the broker takes that for granted; none where it does
    /// for as long as the connection lasts.
    credentials: Option<Arc<Credentials>>,
    session: Option<Session>,
    /// Whether the credentials may go to another host unencrypted.
    may_be_read: bool,
    /// Open, and no request of a caller's has been answered yet.
    is_new: bool,
    /// The versions that the broker offers of each of [`FURTHER`].
    further: [Option<(i16, i16)>; FURTHER.len()],
    /// The newer versions of [`NEWER`] that the broker offers.
    newer: [Option<i16>; NEWER.len()],
    /// The version of the request that was sent last.
    sent: i16,
}

impl Connection {
    /// Connects to `address` (`host:port`), each of its addresses in turn, secures the connection, checks the
    /// broker's versions, and authenticates.
    ///
    /// # Errors
    /// [`Error::Unreachable`] without a connection or an answer within `timeout`; [`Error::Unsupported`] for
    /// a broker outside Kafka 2.8 to 4.x; [`Error::Authentication`].
    pub fn open(
        address: &str,
        client_id: &str,
        security: &Security,
        timeout: Duration,
    ) -> Result<Connection> {
        let unreachable = |cause: Cause| Error::Unreachable { broker: address.to_owned(), cause };
        let deadline = Instant::now() + timeout;
        let stream = connect(address, deadline).map_err(|error| unreachable(error.into()))?;
        let transport = Transport::secure(stream, address, security, deadline).map_err(unreachable)?;
        let mut connection = Connection {
            transport,
            reader: FrameReader::default(),
            address: address.to_owned(),
            client_id: StrBytes::from_string(client_id.to_owned()),
            correlation: 0,
            credentials: security.sasl.clone(),
            session: None,
            may_be_read: security.anyone_may_read,
            is_new: false,
            further: [None; FURTHER.len()],
            newer: [None; NEWER.len()],
            sent: 0,
        };
        let opened = connection.check_versions(deadline).and_then(|()| connection.authenticate(deadline));
        opened.map_err(|error| error.before_sending(address))?;
        connection.is_new = true;
        Ok(connection)
    }

    /// `host:port` of the broker.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Whether the broker has closed the connection, as one that restarts does, or will close it at the next
    /// request, as at the end of a session: nothing should be written to it.
    pub fn is_closed(&mut self) -> bool {
        self.session.is_some_and(|session| session.is_over(Instant::now())) || self.transport.is_closed()
    }

    /// This connection, unless it [is closed](Connection::is_closed).
    pub fn if_open(mut self) -> Option<Connection> {
        (!self.is_closed()).then_some(self)
    }

    /// Authenticates, if this client has credentials.
    fn authenticate(&mut self, deadline: Instant) -> Result<()> {
        let Some(credentials) = self.credentials.clone() else { return Ok(()) };
        let failed = |failure| self.failed_authentication(&credentials, failure);
        if credentials.are_readable() && !self.may_be_read && self.transport.is_readable_by_others() {
            return Err(failed(Failure::Unencrypted));
        }
        let prepared = credentials.prepare(deadline).map_err(failed)?;
        let session = credentials.authenticate(prepared, self, deadline);
        self.session = session.map_err(|error| error.of_authentication(&self.address))?;
        Ok(())
    }

    /// Authenticates anew (KIP-368) before a request, once the session nears its end. Where there is no token
    /// now, the session is used as long as it lasts.
    fn renew_session(&mut self) -> Result<()> {
        let now = Instant::now();
        let Some(session) = self.session else { return Ok(()) };
        if session.is_over(now) {
            return Err(Error::Unreachable { broker: self.address.clone(), cause: Cause::SessionOver });
        }
        let Some(credentials) = self.credentials.clone().filter(|_| session.is_due(now)) else {
            return Ok(());
        };
        let prepared = match credentials.prepare(session.latest_token(now)) {
            Ok(prepared) => prepared,
            Err(failure) => {
                log::debug!("{}; its session goes on", self.failed_authentication(&credentials, failure));
                self.session = Some(session.postponed(Instant::now()));
                return Ok(());
            }
        };
        log::debug!("broker {}: the session nears its end; authenticating anew", self.address);
        let renewed = credentials.authenticate(prepared, self, Instant::now() + RENEWAL_LIMIT);
        self.session = renewed.map_err(|error| error.of_authentication(&self.address))?;
        Ok(())
    }

    fn failed_authentication(&self, credentials: &Credentials, failure: Failure) -> Error {
        Error::Authentication { broker: self.address.clone(), mechanism: credentials.mechanism(), failure }
    }

    /// Sends `request` and waits for its answer until `deadline`.
    ///
    /// # Errors
    /// [`Error::Lost`] when the connection fails, the deadline passes, or the answer is malformed.
    pub fn call<R: VersionedRequest>(&mut self, request: &R, deadline: Instant) -> Result<R::Response> {
        self.send(request)?;
        self.receive::<R>(deadline, &mut || true)
    }

    /// Writes `request` whole; its answer is then fetched with [`Connection::receive`]. One request at a
    /// time. Before it, the connection is authenticated anew if that is due.
    ///
    /// # Errors
    /// [`Error::Lost`] when the socket fails: a part may have been written. [`Error::Unreachable`] or
    /// [`Error::Authentication`] when the connection could not be authenticated anew: nothing was written.
    pub fn send<R: VersionedRequest>(&mut self, request: &R) -> Result<()> {
        self.send_in(self.newer::<R>().unwrap_or(R::VERSION), request)
    }

    /// As [`Connection::send`], in the version that every broker offers or in the
    /// [newer](Connection::newer) one.
    pub(crate) fn send_in<R: VersionedRequest>(&mut self, version: i16, request: &R) -> Result<()> {
        self.renew_session()?;
        self.send_as_it_is(version, request)
    }

    /// The newer version of this request, if there is one and the broker offers it.
    pub(crate) fn newer<R: VersionedRequest>(&self) -> Option<i16> {
        let mut offers = NEWER.iter().zip(self.newer);
        offers.find(|((api, _), _)| *api == R::API).and_then(|(_, version)| version)
    }

    /// As [`Connection::call`], for the requests that authenticate.
    pub(crate) fn call_unauthenticated<R: VersionedRequest>(
        &mut self,
        request: &R,
        deadline: Instant,
    ) -> Result<R::Response> {
        self.send_as_it_is(R::VERSION, request)?;
        self.receive::<R>(deadline, &mut || true)
    }

    fn send_as_it_is<R: VersionedRequest>(&mut self, version: i16, request: &R) -> Result<()> {
        self.sent = version;
        self.correlation = self.correlation.wrapping_add(1);
        let header = RequestHeader::default()
            .with_request_api_key(R::KEY)
            .with_request_api_version(version)
            .with_correlation_id(self.correlation)
            .with_client_id(Some(self.client_id.clone()));
        let size = request.compute_size(version).unwrap_or(0);
        let mut frame = BytesMut::with_capacity(size + 64);
        frame.extend_from_slice(&[0; SIZE_BYTES]);
        let encoded = header
            .encode(&mut frame, R::header_version(version))
            .and_then(|()| request.encode(&mut frame, version));
        encoded.map_err(|error| self.lost::<R>(Cause::Encoding(Arc::from(error.into_boxed_dyn_error()))))?;
        let size = frame.len().saturating_sub(SIZE_BYTES);
        let size = i32::try_from(size).map_err(|_| self.lost::<R>(Cause::TooLarge(size)))?;
        if let Some(prefix) = frame.first_chunk_mut() {
            *prefix = size.to_be_bytes();
        }
        self.write(&frame).map_err(|error| self.lost::<R>(error.into()))
    }

    fn write(&mut self, mut bytes: &[u8]) -> std::io::Result<()> {
        let last = Instant::now() + SEND_LIMIT;
        let mut deadline = Instant::now() + SEND_STALL;
        loop {
            let done = match bytes {
                // TLS may hold bytes that the socket did not take yet.
                [] => self.transport.flush().map(|()| None),
                bytes => self.transport.write(bytes).map(Some),
            };
            match done {
                Ok(None) => return Ok(()),
                Ok(Some(0)) => return Err(ErrorKind::WriteZero.into()),
                Ok(Some(written)) => {
                    bytes = bytes.get(written..).unwrap_or_default();
                    deadline = last.min(Instant::now() + SEND_STALL);
                    if bytes.is_empty() {
                        continue;
                    }
                }
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(e) => return Err(e),
            }
            if Instant::now() >= deadline {
                return Err(std::io::Error::new(
                    ErrorKind::TimedOut,
                    "the broker takes no bytes of the request",
                ));
            }
        }
    }

    /// The answer to the request sent last. `proceed` is asked every [`READ_SLICE`](net::frame::READ_SLICE);
    /// its `false` gives the call up.
    ///
    /// # Errors
    /// [`Error::Lost`] when the connection fails, `deadline` passes or the answer is malformed,
    /// [`Error::Cancelled`] when `proceed` said no.
    pub fn receive<R: VersionedRequest>(
        &mut self,
        deadline: Instant,
        proceed: &mut dyn FnMut() -> bool,
    ) -> Result<R::Response> {
        let mut cancelled = false;
        let frame = self.reader.next(&mut self.transport, R::MAX_RESPONSE, &mut || {
            cancelled = !proceed();
            !cancelled && Instant::now() < deadline
        });
        let frame = frame.map_err(|error| match error {
            FrameError::Stopped if cancelled => Error::Cancelled,
            FrameError::Closed if self.is_new && self.credentials.is_none() => {
                self.lost::<R>(Cause::ClosedWithoutSasl)
            }
            FrameError::Io(error) => self.lost::<R>(error.into()),
            other => self.lost::<R>(Cause::Frame(Arc::new(other))),
        })?;
        self.is_new = false;
        self.decode::<R>(frame)
    }

    fn decode<R: VersionedRequest>(&self, mut frame: Bytes) -> Result<R::Response> {
        let malformed = |error: Box<dyn std::error::Error + Send + Sync>| {
            self.lost::<R>(Cause::Malformed(Arc::from(error)))
        };
        let header_version = R::Response::header_version(self.sent);
        let header = ResponseHeader::decode(&mut frame, header_version);
        let header = header.map_err(|error| malformed(error.into_boxed_dyn_error()))?;
        if header.correlation_id != self.correlation {
            return Err(self.lost::<R>(Cause::WrongCorrelationId(header.correlation_id)));
        }
        let version = precheck::check_response(R::KEY, self.sent, &frame);
        let version = version.map_err(|error| malformed(error.into()))?;
        let response = R::Response::decode(&mut frame, version);
        response.map_err(|error| malformed(error.into_boxed_dyn_error()))
    }

    fn check_versions(&mut self, deadline: Instant) -> Result<()> {
        let request = ApiVersionsRequest::default()
            .with_client_software_name(StrBytes::from_static_str(CLIENT_SOFTWARE))
            .with_client_software_version(StrBytes::from_static_str(env!("CARGO_PKG_VERSION")));
        let offered: ApiVersionsResponse = self.call_unauthenticated(&request, deadline)?;
        let range = |api: ApiKey| {
            let offer = offered.api_keys.iter().find(|offer| offer.api_key == api as i16);
            offer.map(|offer| (offer.min_version, offer.max_version))
        };
        if offered.error_code != 0 {
            // A broker that does not know this version of ApiVersions says so, and which ones it knows
            // (KIP-511).
            let api = ApiVersionsRequest::API;
            return Err(self.unsupported(api, ApiVersionsRequest::VERSION, range(api)));
        }
        let credentials = self.credentials.as_ref();
        let sasl = REQUIRED_FOR_SASL.iter().filter_map(|&required| Some((required, credentials?)));
        for ((api, version), credentials) in sasl {
            match range(api) {
                None => return Err(self.failed_authentication(credentials, Failure::NoSasl)),
                range => self.check_version(api, version, range)?,
            }
        }
        for (api, version) in REQUIRED {
            self.check_version(api, version, range(api))?;
        }
        self.further = FURTHER.map(|(api, _)| range(api));
        self.newer = NEWER.map(|(api, version)| {
            version.filter(|version| range(api).is_some_and(|(min, max)| (min..=max).contains(version)))
        });
        Ok(())
    }

    /// Whether the broker offers a request, one of [`FURTHER`], as this client speaks it.
    ///
    /// # Errors
    /// [`Error::Unsupported`].
    pub(crate) fn check_offers<R: VersionedRequest>(&self) -> Result<()> {
        let mut offers = FURTHER.iter().zip(self.further);
        let offered = offers.find(|((api, _), _)| *api == R::API).and_then(|(_, offered)| offered);
        self.check_version(R::API, R::VERSION, offered)
    }

    fn check_version(&self, api: ApiKey, version: i16, offered: Option<(i16, i16)>) -> Result<()> {
        match offered {
            Some((min, max)) if (min..=max).contains(&version) => Ok(()),
            offered => Err(self.unsupported(api, version, offered)),
        }
    }

    fn unsupported(&self, api: ApiKey, version: i16, offered: Option<(i16, i16)>) -> Error {
        Error::Unsupported { broker: self.address.clone(), api, version, offered }
    }

    fn lost<R: VersionedRequest>(&self, cause: Cause) -> Error {
        Error::Lost { request: self.context::<R>(), cause }
    }

    #[cfg(test)]
    pub(crate) fn change_session(&mut self, change: impl FnOnce(Session) -> Session) {
        self.session = self.session.map(change);
    }

    /// A request of this kind to this broker.
    pub(crate) fn context<R: VersionedRequest>(&self) -> RequestContext {
        RequestContext::of::<R>().to_broker(&self.address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys<R: VersionedRequest>() -> (i16, i16) {
        (R::KEY, R::API as i16)
    }

    #[test]
    fn every_request_is_named_by_its_own_key() {
        let pairs = [
            keys::<ApiVersionsRequest>(),
            keys::<ProduceRequest>(),
            keys::<FetchRequest>(),
            keys::<ListOffsetsRequest>(),
            keys::<MetadataRequest>(),
            keys::<OffsetCommitRequest>(),
            keys::<OffsetFetchRequest>(),
            keys::<FindCoordinatorRequest>(),
            keys::<JoinGroupRequest>(),
            keys::<HeartbeatRequest>(),
            keys::<LeaveGroupRequest>(),
            keys::<SyncGroupRequest>(),
            keys::<DescribeGroupsRequest>(),
            keys::<ListGroupsRequest>(),
            keys::<InitProducerIdRequest>(),
            keys::<CreateTopicsRequest>(),
            keys::<SaslHandshakeRequest>(),
            keys::<SaslAuthenticateRequest>(),
            keys::<DescribeConfigsRequest>(),
            keys::<DeleteTopicsRequest>(),
            keys::<CreatePartitionsRequest>(),
            keys::<IncrementalAlterConfigsRequest>(),
        ];
        assert!(pairs.iter().all(|(key, api)| key == api), "{pairs:?}");
        assert_eq!(pairs.len(), REQUIRED.len() + REQUIRED_FOR_SASL.len() + FURTHER.len() + 1);
    }

    #[test]
    fn the_precheck_knows_the_version_of_every_request() {
        let newer = NEWER.map(|(api, version)| (api, version.unwrap()));
        for (api, version) in REQUIRED.into_iter().chain(newer) {
            let versions = precheck::request_versions(api as i16).unwrap();
            assert!(versions.contains(&version), "{api:?} {version}");
        }
    }
}
