//! Errors of calls to a Kafka cluster: what was asked of which broker, and what went wrong.

use std::fmt;
use std::io;
use std::sync::Arc;

use kafka_protocol::messages::ApiKey;

use super::authorization::MissingRight;
use super::request_context::RequestContext;
use super::sasl::{Failure, Mechanism, Shown};
use net::frame::FrameError;
use protocol::error_code::ErrorCode;
use tls::ConnectError;

/// The result of a call to the cluster.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A failed call. The variants tell whether the request may have had an effect: see [`Error::maybe_sent`].
#[derive(Debug, Clone)]
pub enum Error {
    /// No connection could be made, or it failed before the first byte of the request was written.
    Unreachable {
        /// `host:port` of the broker, or all bootstrap servers.
        broker: String,
        /// Why not.
        cause: Cause,
    },
    /// None of the known brokers could be reached.
    NoBroker {
        /// Each broker that was tried, and why it could not be reached.
        tried: Vec<Error>,
    },
    /// The connection failed, or its deadline passed, after bytes of the request may have been written.
    Lost {
        /// The request.
        request: RequestContext,
        /// The cause of the failure.
        cause: Cause,
    },
    /// The broker does not serve the version of a request that this client speaks.
    Unsupported {
        /// `host:port` of the broker.
        broker: String,
        /// The request.
        api: ApiKey,
        /// The version of it that this client speaks.
        version: i16,
        /// The lowest and highest version that the broker offers, if it knows the request.
        offered: Option<(i16, i16)>,
    },
    /// The broker refused the request with an error code of the protocol.
    Refused {
        /// The request.
        request: RequestContext,
        /// The protocol's error code.
        code: ErrorCode,
    },
    /// The broker and this client did not come to terms on who this client is. Nothing of the call's own
    /// request was written.
    Authentication {
        /// `host:port` of the broker.
        broker: String,
        /// The mechanism.
        mechanism: Mechanism,
        /// Why not.
        failure: Failure,
    },
    /// The owner of the call withdrew it, for example because the process stops.
    Cancelled,
}

/// Why a broker could not be reached, or a request got no answer.
#[derive(Debug, Clone)]
pub enum Cause {
    /// The operating system's error.
    Io(Arc<io::Error>),
    /// The connection has no TLS, or the broker ended it with a reason.
    Tls(Arc<ConnectError>),
    /// The listener answers to TLS alone.
    WantsTls,
    /// The listener answers without TLS alone.
    SpeaksNoTls,
    /// The listener closes the connection of a client that does not authenticate.
    WantsSasl,
    /// An HTTP server listens there.
    SpeaksHttp,
    /// No frame came, or none that is one.
    Frame(Arc<FrameError>),
    /// The address is one that the cluster names, not the settings.
    Advertised(Arc<Cause>),
    /// The deadline passed before the call began.
    NoTimeLeft,
    /// The broker's host name has no address.
    NoAddress,
    /// The metadata name no broker with this node id.
    UnknownNode(i32),
    /// The metadata name no controller.
    NoController,
    /// The request cannot be encoded.
    Encoding(Arc<dyn std::error::Error + Send + Sync>),
    /// The request has more bytes than a frame can have.
    TooLarge(usize),
    /// The answer cannot be decoded.
    Malformed(Arc<dyn std::error::Error + Send + Sync>),
    /// The answer is another request's.
    WrongCorrelationId(i32),
    /// A request that has to come before the call's own failed.
    Request(Arc<Error>),
    /// The authentication of this connection is no longer valid: a new connection is needed.
    SessionOver,
    /// The broker answered ApiVersions and closed the connection at the first request after it, as a listener
    /// with SASL does to a client without.
    ClosedWithoutSasl,
}

impl Error {
    /// A refusal of `request` with `code`.
    pub fn refused(request: RequestContext, code: ErrorCode) -> Error {
        Error::Refused { request, code }
    }

    /// Whether the cluster may have acted on the request: the answer did not arrive, or could not be read.
    pub fn maybe_sent(&self) -> bool {
        matches!(self, Error::Lost { .. } | Error::Cancelled)
    }

    /// The protocol's error code, where the broker gave one.
    pub fn code(&self) -> Option<ErrorCode> {
        match self {
            Error::Refused { code, .. } => Some(*code),
            _ => None,
        }
    }

    /// Whether the broker refused for good: the same request will not succeed later.
    pub fn is_lasting(&self) -> bool {
        self.code().is_some_and(|code| !code.is_retriable())
    }

    /// Whether waiting alone does not help: a setting, a right or a version has to change first.
    pub fn needs_mending(&self) -> bool {
        match self {
            Error::Unsupported { .. } => true,
            Error::NoBroker { tried } => !tried.is_empty() && tried.iter().all(Error::needs_mending),
            Error::Refused { code, .. } => code.is_authorization(),
            Error::Unreachable { cause, .. } | Error::Lost { cause, .. } => cause.needs_mending(),
            Error::Authentication { failure, .. } => !failure.may_pass(),
            Error::Cancelled => false,
        }
    }

    /// The same error of a broker whose address the settings do not name.
    pub(crate) fn advertised(self) -> Error {
        match self {
            Error::Unreachable { broker, cause } => {
                Error::Unreachable { broker, cause: Cause::Advertised(Arc::new(cause)) }
            }
            error => error,
        }
    }

    /// The same error, with a context that says more of the request.
    #[must_use]
    pub(crate) fn about(mut self, add: impl FnOnce(RequestContext) -> RequestContext) -> Error {
        if let Error::Lost { request, .. } | Error::Refused { request, .. } = &mut self {
            *request = add(request.clone());
        }
        self
    }

    /// The same failure of a request that authenticates, before any byte of the call's own request was
    /// written.
    pub(crate) fn of_authentication(self, broker: &str) -> Error {
        match self {
            Error::Authentication { .. } => self,
            error => Error::Unreachable { broker: broker.to_owned(), cause: Cause::Request(Arc::new(error)) },
        }
    }

    /// The same failure before any byte of the call's own request was written.
    pub(crate) fn before_sending(self, broker: &str) -> Error {
        match self {
            Error::Lost { cause, .. } => Error::Unreachable { broker: broker.to_owned(), cause },
            error => error,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Unreachable { broker, cause } => write!(f, "broker {broker} cannot be reached: {cause}"),
            Error::NoBroker { tried } if tried.is_empty() => write!(f, "no broker is known"),
            Error::NoBroker { tried } => {
                for (index, error) in tried.iter().enumerate() {
                    write!(f, "{}{error}", if index == 0 { "" } else { "; " })?;
                }
                Ok(())
            }
            Error::Lost { request, cause } => write!(f, "{request} got no answer: {cause}"),
            Error::Unsupported { broker, api, version, offered } => {
                write!(f, "broker {broker} does not support {api:?} v{version} (")?;
                match offered {
                    Some((min, max)) => write!(f, "it offers {min}–{max}); ")?,
                    None => write!(f, "it does not offer {api:?}); ")?,
                }
                match offered {
                    Some((min, _)) if version < min => write!(f, "Kafka 2.8 to 4.x is required"),
                    _ => write!(f, "Kafka 2.8 or newer is required"),
                }
            }
            Error::Refused { request, code } => {
                write!(f, "{request} was refused: {} ({})", code.name(), code.0)?;
                if let Some(said) = &request.said {
                    write!(f, ": {said}")?;
                }
                match MissingRight::of(request, *code) {
                    Some(right) => write!(f, ": {right}"),
                    None => Ok(()),
                }
            }
            Error::Authentication { broker, mechanism, failure } => {
                write!(f, "authentication at broker {broker} failed: {}", Shown(*mechanism, failure))
            }
            Error::Cancelled => write!(f, "the request was cancelled"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Unreachable { cause, .. } | Error::Lost { cause, .. } => cause.source(),
            Error::NoBroker { tried } => tried.last().and_then(std::error::Error::source),
            Error::Unsupported { .. }
            | Error::Refused { .. }
            | Error::Authentication { .. }
            | Error::Cancelled => None,
        }
    }
}

impl Cause {
    fn needs_mending(&self) -> bool {
        match self {
            Cause::WantsTls | Cause::SpeaksNoTls | Cause::WantsSasl | Cause::SpeaksHttp => true,
            Cause::Tls(error) => error.is_lasting(),
            Cause::Advertised(cause) => cause.needs_mending(),
            _ => false,
        }
    }

    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Cause::Io(error) => Some(&**error),
            Cause::Tls(error) => Some(&**error),
            Cause::Frame(error) => Some(&**error),
            Cause::Encoding(error) | Cause::Malformed(error) => Some(&**error),
            Cause::Request(error) => Some(&**error),
            Cause::Advertised(cause) => cause.source(),
            Cause::WantsTls
            | Cause::SpeaksNoTls
            | Cause::WantsSasl
            | Cause::SpeaksHttp
            | Cause::NoTimeLeft
            | Cause::NoAddress
            | Cause::UnknownNode(_)
            | Cause::NoController
            | Cause::SessionOver
            | Cause::ClosedWithoutSasl
            | Cause::TooLarge(_)
            | Cause::WrongCorrelationId(_) => None,
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Cause::Io(error) => write!(f, "{error}"),
            Cause::Tls(error) => write!(f, "{error}"),
            Cause::WantsTls => {
                write!(f, "the listener speaks TLS: kafka.security has to be \"tls\" or \"sasl_tls\"")
            }
            Cause::SpeaksNoTls => write!(
                f,
                "the listener speaks no TLS: kafka.security has to be \"plaintext\" or \"sasl_plaintext\", or another \
                 port is the one with TLS"
            ),
            Cause::WantsSasl => write!(
                f,
                "the listener closes the connection before a client has authenticated: it wants SASL (kafka.security \
                 = \"sasl_tls\" or \"sasl_plaintext\", and kafka.sasl_mechanism)"
            ),
            Cause::SpeaksHttp => write!(
                f,
                "an HTTP server answers there (its answer begins with \"HTTP\"): kafka.bootstrap_servers has \
                 to name a broker's port"
            ),
            Cause::Frame(error) => write!(f, "{error}"),
            Cause::Advertised(cause) => {
                write!(f, "{cause} (the cluster itself names this address: advertised.listeners)")
            }
            Cause::NoTimeLeft => write!(f, "no time was left for the call"),
            Cause::NoAddress => write!(f, "the host name has no address"),
            Cause::UnknownNode(node) => write!(f, "the cluster names no broker with node id {node}"),
            Cause::NoController => write!(f, "the cluster names no controller now"),
            Cause::Encoding(error) => write!(f, "the request cannot be encoded: {error}"),
            Cause::TooLarge(size) => write!(f, "the request has {size} bytes; at most 2 GiB can be sent"),
            Cause::Malformed(error) => write!(f, "the answer is malformed: {error}"),
            Cause::WrongCorrelationId(id) => {
                write!(f, "the answer is to another request (correlation id {id})")
            }
            Cause::Request(error) => write!(f, "{error}"),
            Cause::ClosedWithoutSasl => write!(
                f,
                "the broker closed the connection at the first request, as a listener that wants SASL does"
            ),
            Cause::SessionOver => write!(f, "the authenticated session of this connection is over"),
        }
    }
}

impl From<net::connect::ConnectError> for Cause {
    fn from(error: net::connect::ConnectError) -> Cause {
        match error {
            net::connect::ConnectError::Io(error) => error.into(),
            net::connect::ConnectError::NoAddress => Cause::NoAddress,
            net::connect::ConnectError::NoTimeLeft => Cause::NoTimeLeft,
        }
    }
}

impl From<io::Error> for Cause {
    fn from(error: io::Error) -> Cause {
        match error.downcast::<ConnectError>() {
            Ok(error) => error.into(),
            Err(error) => Cause::Io(Arc::new(error)),
        }
    }
}

impl From<ConnectError> for Cause {
    fn from(error: ConnectError) -> Cause {
        match error {
            ConnectError::Io(error) => Cause::Io(Arc::new(error)),
            error => Cause::Tls(Arc::new(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use kafka_protocol::messages::{FetchRequest, HeartbeatRequest};

    use super::*;
    use protocol::TopicPartition;

    #[test]
    fn an_error_says_what_was_asked_of_whom() {
        let partition = TopicPartition::new("pedidos", 3);
        let fetch = RequestContext::of::<FetchRequest>().to_broker("a:9092").for_partition(&partition);
        let error = Error::refused(fetch, ErrorCode::NOT_LEADER_OR_FOLLOWER);
        assert_eq!(
            error.to_string(),
            "Fetch v11 to broker a:9092 for pedidos-3 was refused: NOT_LEADER_OR_FOLLOWER (6)"
        );
        let heartbeat = RequestContext::of::<HeartbeatRequest>().for_group("workers");
        let lost = Error::Lost { request: heartbeat, cause: io::Error::other("gone").into() };
        assert_eq!(lost.to_string(), "Heartbeat v4 for group workers got no answer: gone");
        assert!(lost.source().unwrap().is::<io::Error>());
    }

    #[test]
    fn a_broker_that_is_too_old_or_too_new_is_told_from_one_that_is_away() {
        let unsupported = |version, offered| {
            let broker = "10.0.0.3:9092".to_owned();
            Error::Unsupported { broker, api: ApiKey::Produce, version, offered }.to_string()
        };
        let name = "broker 10.0.0.3:9092 does not support Produce v7 ";
        assert_eq!(
            unsupported(7, Some((0, 6))),
            format!("{name}(it offers 0–6); Kafka 2.8 or newer is required")
        );
        assert_eq!(
            unsupported(7, Some((10, 13))),
            format!("{name}(it offers 10–13); Kafka 2.8 to 4.x is required")
        );
        assert_eq!(
            unsupported(7, None),
            format!("{name}(it does not offer Produce); Kafka 2.8 or newer is required")
        );
    }
}
