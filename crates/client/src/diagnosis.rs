//! What a listener wants that does not answer as expected: TLS, no TLS, or SASL.
//!
//! A listener with TLS closes the connection of a client without, a listener without closes that of a client
//! with it, and a listener with SASL answers ApiVersions alone. All of them look like a broker that is just
//! stopping; so the port is asked once more in the other way, and only its answer counts. An HTTP server
//! tells itself by how its answer begins.

use std::io::ErrorKind;
use std::time::Duration;

use super::connection::Connection;
use super::error::{Cause, Error, Result};
use super::security::Security;
use net::frame::FrameError;

/// How long a port may take to answer in the other way.
const PATIENCE: Duration = Duration::from_secs(1);

/// Opens a connection, as [`Connection::open`] does, and looks into a failure.
///
/// # Errors
/// As [`Connection::open`], with the cause [`Cause::WantsTls`], [`Cause::SpeaksNoTls`] or
/// [`Cause::SpeaksHttp`] where that is certain.
pub(crate) fn open(
    address: &str,
    client_id: &str,
    security: &Security,
    timeout: Duration,
) -> Result<Connection> {
    let failed = |error: Error| {
        let Error::Unreachable { cause, .. } = &error else { return error };
        let found = match (&security.tls, cause) {
            (_, Cause::Frame(reason)) if reason.is_http_answer() => Some(Cause::SpeaksHttp),
            (None, cause) if closes_or_garbles(cause) => {
                let ask = || tls::speaks_tls(address, PATIENCE);
                security.probes.answers(address, ask).then_some(Cause::WantsTls)
            }
            (Some(_), Cause::Tls(reason)) if reason.may_be_plain() => {
                let ask = || speaks_plain(address, client_id);
                security.probes.answers(address, ask).then_some(Cause::SpeaksNoTls)
            }
            _ => None,
        };
        match found {
            Some(cause) => Error::Unreachable { broker: address.to_owned(), cause },
            None => error,
        }
    };
    Connection::open(address, client_id, security, timeout).map_err(failed)
}

/// Whether a broker answers without TLS.
fn speaks_plain(address: &str, client_id: &str) -> bool {
    matches!(
        Connection::open(address, client_id, &Security::default(), PATIENCE),
        Ok(_) | Err(Error::Unsupported { .. })
    )
}

/// Whether the answer to ApiVersions was the end of the connection, or bytes that no Kafka sends.
fn closes_or_garbles(cause: &Cause) -> bool {
    match cause {
        Cause::Frame(error) => {
            matches!(**error, FrameError::Closed | FrameError::Cut | FrameError::BadSize { .. })
        }
        Cause::Io(error) => is_end(error.kind()),
        Cause::Malformed(_) | Cause::WrongCorrelationId(_) => true,
        _ => false,
    }
}

fn is_end(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted | ErrorKind::BrokenPipe)
}

/// Whether a broker that had answered ApiVersions closed the connection at the next request, as Kafka does
/// before a client has authenticated.
pub(crate) fn closes_at_requests(error: &Error) -> bool {
    matches!(error, Error::Lost { cause: Cause::ClosedWithoutSasl, .. })
}

/// The error of a broker that has closed the connection at the first request after ApiVersions, and again.
pub(crate) fn wants_sasl(error: Error, address: &str) -> Error {
    if closes_at_requests(&error) {
        return Error::Unreachable { broker: address.to_owned(), cause: Cause::WantsSasl };
    }
    error
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::thread;

    use super::*;

    /// A port that answers each connection's first bytes with `answer` and closes it; ends with the test.
    fn port(answer: &'static [u8]) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        thread::spawn(move || {
            for socket in listener.incoming() {
                let mut socket = socket.unwrap();
                let _ = socket.read(&mut [0; 1024]);
                let _ = socket.write_all(answer);
            }
        });
        address
    }

    fn opened(address: &str, security: &Security) -> Error {
        open(address, "test", security, Duration::from_secs(10)).expect_err("nobody speaks Kafka there")
    }

    #[test]
    fn a_port_that_answers_with_an_alert_wants_tls_and_one_that_closes_may_be_stopping() {
        const ALERT: &[u8] = b"\x15\x03\x03\x00\x02\x02\x46";
        let security = Security::default();
        let error = opened(&port(ALERT), &security);
        assert!(matches!(error, Error::Unreachable { cause: Cause::WantsTls, .. }), "{error}");
        assert!(error.needs_mending() && error.to_string().contains("kafka.security"), "{error}");
        let error = opened(&port(b""), &security);
        assert!(!error.needs_mending(), "{error}");
        let error = opened(&port(b"HTTP/1.1 400 Bad Request\r\n\r\n"), &security);
        assert!(error.needs_mending() && error.to_string().contains("an HTTP server answers"), "{error}");
        let error = opened(&port(b"SSH-2.0-OpenSSH\r\n"), &security);
        assert!(!error.needs_mending(), "{error}");
    }
}
