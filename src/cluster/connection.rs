//! One connection to one broker: negotiated, one request at a time, every wait with a deadline.
//!
//! Each request is spoken in one fixed version that Kafka 2.8 to 4.x all understand. ApiVersions (KIP-35) proves at
//! the start that the broker is one of them; a broker that is not gets an error that says so.

use std::io::{ErrorKind, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::{
    ApiKey, ApiVersionsRequest, ApiVersionsResponse, RequestHeader, ResponseHeader,
};
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, Request, StrBytes};

use super::error::{Error, Result};
use crate::net::frame::{FrameError, FrameReader, READ_SLICE};
use crate::net::own::Own;
use crate::protocol::layout;

/// The largest answer accepted, in bytes: a fetch of our largest size plus one largest record batch.
const MAX_RESPONSE: usize = 128 * 1024 * 1024;

/// How long a broker may take none of a request's bytes, ...
const SEND_STALL: Duration = Duration::from_secs(5);
/// ... and how long it may take to take them all.
const SEND_LIMIT: Duration = Duration::from_secs(15);

const CLIENT_SOFTWARE: &str = "point-to-point";

/// The requests this client makes and the one version it speaks of each.
const VERSIONS: [(ApiKey, i16); 15] = [
    (ApiKey::Produce, 9),
    (ApiKey::Fetch, 12),
    (ApiKey::ListOffsets, 6),
    (ApiKey::Metadata, 9),
    (ApiKey::OffsetCommit, 8),
    (ApiKey::OffsetFetch, 7),
    (ApiKey::FindCoordinator, 3),
    (ApiKey::JoinGroup, 7),
    (ApiKey::Heartbeat, 4),
    (ApiKey::LeaveGroup, 4),
    (ApiKey::SyncGroup, 5),
    (ApiKey::DescribeGroups, 5),
    (ApiKey::ListGroups, 4),
    (ApiKey::InitProducerId, 4),
    (ApiKey::CreateTopics, 7),
];

fn version_of(api_key: i16) -> i16 {
    VERSIONS.iter().find(|(key, _)| *key as i16 == api_key).map_or(3, |(_, version)| *version)
}

/// A connection to one broker. After any error it is of no more use: drop it and open another.
#[derive(Debug)]
pub struct Connection {
    _own: Own,
    stream: TcpStream,
    reader: FrameReader,
    address: String,
    client_id: StrBytes,
    correlation: i32,
}

impl Connection {
    /// Connects to `address` (`host:port`), each of its addresses in turn, and checks the broker's versions.
    ///
    /// # Errors
    /// [`Error::Unreachable`] without a connection or an answer within `timeout`; [`Error::Unsupported`] for a broker
    /// outside Kafka 2.8 to 4.x.
    pub fn open(address: &str, client_id: &str, timeout: Duration) -> Result<Connection> {
        let unreachable = |reason: String| Error::Unreachable { address: address.to_owned(), reason };
        let deadline = Instant::now() + timeout;
        let stream = connect(address, deadline).map_err(&unreachable)?;
        let prepare = || -> std::io::Result<()> {
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(READ_SLICE))?;
            stream.set_write_timeout(Some(READ_SLICE))
        };
        prepare().map_err(|e| unreachable(e.to_string()))?;
        let mut connection = Connection {
            _own: Own::note(&stream),
            stream,
            reader: FrameReader::default(),
            address: address.to_owned(),
            client_id: StrBytes::from_string(client_id.to_owned()),
            correlation: 0,
        };
        connection.check_versions(deadline).map_err(|error| match error {
            Error::Lost { reason, .. } => unreachable(reason),
            other => other,
        })?;
        Ok(connection)
    }

    /// `host:port` of the broker.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Whether the broker has closed the connection, as one that restarts does: nothing should be written to it.
    pub fn is_closed(&self) -> bool {
        if self.stream.set_nonblocking(true).is_err() {
            return true;
        }
        let seen = self.stream.peek(&mut [0]);
        let blocking = self.stream.set_nonblocking(false);
        blocking.is_err() || !matches!(seen, Err(e) if e.kind() == ErrorKind::WouldBlock)
    }

    /// Sends `request` and waits for its answer until `deadline`.
    ///
    /// # Errors
    /// [`Error::Lost`] when the connection fails, the deadline passes, or the answer is malformed.
    pub fn call<R: Request>(&mut self, request: &R, deadline: Instant) -> Result<R::Response> {
        self.send(request)?;
        self.receive::<R>(deadline, &mut || true)
    }

    /// Writes `request` whole; its answer is then fetched with [`Connection::receive`]. One request at a time.
    ///
    /// # Errors
    /// [`Error::Lost`] when the socket fails: a part may have been written.
    pub fn send<R: Request>(&mut self, request: &R) -> Result<()> {
        let version = version_of(R::KEY);
        self.correlation = self.correlation.wrapping_add(1);
        let header = RequestHeader::default()
            .with_request_api_key(R::KEY)
            .with_request_api_version(version)
            .with_correlation_id(self.correlation)
            .with_client_id(Some(self.client_id.clone()));
        let size = request.compute_size(version).unwrap_or(0);
        let mut frame = BytesMut::with_capacity(size + 64);
        frame.extend_from_slice(&[0; 4]);
        let encoded = header
            .encode(&mut frame, R::header_version(version))
            .and_then(|()| request.encode(&mut frame, version));
        encoded.map_err(|e| self.lost(format!("a request that cannot be encoded: {e}")))?;
        let size =
            i32::try_from(frame.len() - 4).map_err(|_| self.lost("a request over 2 GiB".to_owned()))?;
        frame[..4].copy_from_slice(&size.to_be_bytes());
        self.write(&frame).map_err(|e| self.lost(e.to_string()))
    }

    fn write(&self, mut bytes: &[u8]) -> std::io::Result<()> {
        let last = Instant::now() + SEND_LIMIT;
        let mut deadline = Instant::now() + SEND_STALL;
        while !bytes.is_empty() {
            match (&self.stream).write(bytes) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(written) => {
                    bytes = &bytes[written..];
                    deadline = last.min(Instant::now() + SEND_STALL);
                }
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(e) => return Err(e),
            }
            if Instant::now() >= deadline && !bytes.is_empty() {
                return Err(std::io::Error::new(ErrorKind::TimedOut, "the broker takes no bytes"));
            }
        }
        Ok(())
    }

    /// The answer to the request sent last. `proceed` is asked every [`READ_SLICE`]; its `false` gives the call up.
    ///
    /// # Errors
    /// [`Error::Lost`] when the connection fails, `deadline` passes or the answer is malformed, [`Error::Cancelled`]
    /// when `proceed` said no.
    pub fn receive<R: Request>(
        &mut self,
        deadline: Instant,
        proceed: &mut dyn FnMut() -> bool,
    ) -> Result<R::Response> {
        let mut cancelled = false;
        let frame = self.reader.next(&self.stream, MAX_RESPONSE, &mut |_| {
            cancelled = !proceed();
            !cancelled && Instant::now() < deadline
        });
        let frame = frame.map_err(|error| match error {
            FrameError::Stopped if cancelled => Error::Cancelled,
            other => self.lost(other.to_string()),
        })?;
        self.decode::<R>(frame)
    }

    fn decode<R: Request>(&self, mut frame: Bytes) -> Result<R::Response> {
        let version = version_of(R::KEY);
        let malformed = |e: &dyn std::fmt::Display| self.lost(format!("an answer that is malformed: {e}"));
        let header_version = R::Response::header_version(version);
        let header = ResponseHeader::decode(&mut frame, header_version).map_err(|e| malformed(&e))?;
        if header.correlation_id != self.correlation {
            return Err(malformed(&"its correlation id is another request's"));
        }
        let version = layout::check_response(R::KEY, &frame).map_err(|e| malformed(&e))?;
        R::Response::decode(&mut frame, version).map_err(|e| malformed(&e))
    }

    fn check_versions(&mut self, deadline: Instant) -> Result<()> {
        let request = ApiVersionsRequest::default()
            .with_client_software_name(StrBytes::from_static_str(CLIENT_SOFTWARE))
            .with_client_software_version(StrBytes::from_static_str(env!("CARGO_PKG_VERSION")));
        let offered: ApiVersionsResponse = self.call(&request, deadline)?;
        let unsupported = |reason: String| Error::Unsupported { address: self.address.clone(), reason };
        if offered.error_code != 0 {
            return Err(unsupported(format!("it answers ApiVersions 3 with error {}", offered.error_code)));
        }
        for (key, version) in VERSIONS {
            let range = offered.api_keys.iter().find(|offer| offer.api_key == key as i16);
            match range {
                Some(r) if (r.min_version..=r.max_version).contains(&version) => {}
                Some(r) => {
                    let (min, max) = (r.min_version, r.max_version);
                    return Err(unsupported(format!(
                        "{key:?} {version} is needed, {min} to {max} are offered"
                    )));
                }
                None => return Err(unsupported(format!("{key:?} is not offered"))),
            }
        }
        Ok(())
    }

    fn lost(&self, reason: String) -> Error {
        Error::Lost { address: self.address.clone(), reason }
    }
}

fn connect(address: &str, deadline: Instant) -> std::result::Result<TcpStream, String> {
    let mut last = "the name has no address".to_owned();
    for candidate in address.to_socket_addrs().map_err(|e| e.to_string())? {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(format!("no connection in time; before: {last}"));
        }
        match TcpStream::connect_timeout(&candidate, left) {
            Ok(stream) => return Ok(stream),
            Err(e) => last = e.to_string(),
        }
    }
    Err(last)
}
