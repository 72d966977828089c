//! Why a client has no TLS connection to a server, and whether waiting can help.

use std::fmt;
use std::io;
use std::time::SystemTime;

use crate::settings::{SettingNames, SettingsError};

/// The most names of a certificate that an error lists.
const MAX_NAMES: usize = 10;

/// Why there is no TLS connection.
///
/// A server may refuse a client's certificate only when the handshake is complete for the client (TLS 1.3).
/// Then the first read fails, with this as the inner error: [`ConnectError::within`].
#[derive(Debug)]
pub enum ConnectError {
    /// The socket failed.
    Io(io::Error),
    /// The handshake was not complete in time.
    TimedOut,
    /// The server closed the connection instead of an answer, as a Kafka listener without TLS does.
    Unanswered,
    /// The server closed the connection within the handshake.
    Cut,
    /// The server's answer is not TLS.
    NotTls {
        /// How the answer begins.
        received: Vec<u8>,
    },
    /// The name of the server can be in no certificate.
    BadServerName(String),
    /// The system has no authorities.
    NoRoots {
        /// Where there should be some, or why they cannot be read.
        detail: String,
        /// The names of the settings.
        names: SettingNames,
    },
    /// The server's certificate is not accepted.
    ServerCertificate {
        /// What is wrong with it.
        problem: CertificateProblem,
        /// The names of the settings.
        names: SettingNames,
    },
    /// The server wants a client certificate, and none is set.
    ClientCertificateWanted(SettingNames),
    /// The server refuses the client's certificate.
    ClientCertificateRefused {
        /// The server's alert.
        alert: String,
        /// The names of the settings.
        names: SettingNames,
    },
    /// There is no version or cipher that both sides know.
    NothingInCommon(String),
    /// The server ended the handshake or the connection with an alert.
    Alert {
        /// The server's alert.
        alert: String,
        /// The alert says that the server does not have the requested name, or other settings are needed.
        lasting: bool,
    },
    /// The server's TLS is invalid.
    Invalid(String),
    /// The settings cannot be used.
    Settings(SettingsError),
}

/// What is wrong with a server's certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CertificateProblem {
    /// None of the known authorities has issued it.
    UnknownIssuer,
    /// It is no longer valid.
    Expired {
        /// Its end, if it is known.
        end: Option<SystemTime>,
    },
    /// It is not valid yet.
    NotYetValid {
        /// Its start, if it is known.
        start: Option<SystemTime>,
    },
    /// It is for other names.
    OtherName {
        /// The name that was asked for.
        wanted: String,
        /// The names that it is for.
        names: Vec<String>,
    },
    /// Its authority has revoked it.
    Revoked,
    /// It cannot be used for another reason.
    Bad(String),
}

impl ConnectError {
    /// The error that `error`, which a [`Stream`](crate::Stream) gave, carries.
    pub fn within(error: &io::Error) -> Option<&ConnectError> {
        error.get_ref().and_then(|inner| inner.downcast_ref())
    }

    /// Whether the same connection will not succeed later, as long as nobody changes settings, certificates
    /// or clocks.
    pub fn is_lasting(&self) -> bool {
        match self {
            ConnectError::Io(_)
            | ConnectError::TimedOut
            | ConnectError::Unanswered
            | ConnectError::Cut
            | ConnectError::Invalid(_) => false,
            ConnectError::Alert { lasting, .. } => *lasting,
            ConnectError::NotTls { .. }
            | ConnectError::BadServerName(_)
            | ConnectError::NoRoots { .. }
            | ConnectError::ServerCertificate { .. }
            | ConnectError::ClientCertificateWanted(_)
            | ConnectError::ClientCertificateRefused { .. }
            | ConnectError::NothingInCommon(_)
            | ConnectError::Settings(_) => true,
        }
    }

    /// Whether the port may be one without TLS: the server showed no sign of TLS.
    pub fn may_be_plain(&self) -> bool {
        matches!(self, ConnectError::Unanswered | ConnectError::NotTls { .. })
    }
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ConnectError::Io(error) => write!(f, "{error}"),
            ConnectError::TimedOut => write!(f, "the TLS handshake was not complete in time"),
            ConnectError::Unanswered => write!(
                f,
                "the server closed the connection without an answer to the TLS handshake, as a listener \
                 without TLS does"
            ),
            ConnectError::Cut => write!(f, "the server closed the connection within the TLS handshake"),
            ConnectError::NotTls { received } => write!(
                f,
                "the server does not speak TLS: its answer to the handshake begins with \"{}\"",
                received.escape_ascii()
            ),
            ConnectError::BadServerName(name) => {
                write!(f, "`{name}` is neither a host name nor an IP address, so no certificate is for it")
            }
            ConnectError::NoRoots { detail, names } => write!(
                f,
                "this system has no certificates of authorities ({detail}); {} names a file with those that \
                 are to be trusted",
                names.ca
            ),
            ConnectError::ServerCertificate { problem, names } => problem.write(names, f),
            ConnectError::ClientCertificateWanted(names) => write!(
                f,
                "the server wants a client certificate: set {} and {}",
                names.certificate, names.key
            ),
            ConnectError::ClientCertificateRefused { alert, names } => {
                write!(f, "the server refuses the client certificate of {} ({alert})", names.certificate)
            }
            ConnectError::NothingInCommon(detail) => write!(
                f,
                "the server knows no TLS version and cipher of this client's, which are TLS 1.2 and 1.3 with \
                 ECDHE and AES-GCM or ChaCha20-Poly1305 ({detail})"
            ),
            ConnectError::Alert { alert, .. } => write!(f, "the server ended TLS with the alert {alert}"),
            ConnectError::Invalid(detail) => write!(f, "the server's TLS is invalid: {detail}"),
            ConnectError::Settings(error) => write!(f, "{error}"),
        }
    }
}

impl std::error::Error for ConnectError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            ConnectError::Io(error) => Some(error),
            ConnectError::Settings(error) => Some(error),
            _ => None,
        }
    }
}

impl From<io::Error> for ConnectError {
    fn from(error: io::Error) -> ConnectError {
        ConnectError::Io(error)
    }
}

impl CertificateProblem {
    fn write(&self, settings: &SettingNames, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let date = |time: &SystemTime| httpdate::fmt_http_date(*time);
        let now = || date(&SystemTime::now());
        match self {
            CertificateProblem::UnknownIssuer => write!(
                f,
                "the server's certificate is from an unknown authority: {} has to name the file with the \
                 certificate of its authority",
                settings.ca
            ),
            CertificateProblem::Expired { end: Some(end) } => {
                write!(f, "the server's certificate expired on {}; the clock here says {}", date(end), now())
            }
            CertificateProblem::Expired { end: None } => write!(f, "the server's certificate has expired"),
            CertificateProblem::NotYetValid { start: Some(start) } => write!(
                f,
                "the server's certificate is valid from {} on; the clock here says {}",
                date(start),
                now()
            ),
            CertificateProblem::NotYetValid { start: None } => {
                write!(f, "the server's certificate is not valid yet")
            }
            CertificateProblem::OtherName { wanted, names } if names.is_empty() => {
                write!(f, "the server's certificate is for no name (subjectAltName), so not for {wanted}")
            }
            CertificateProblem::OtherName { wanted, names } => {
                let listed: Vec<&str> = names.iter().take(MAX_NAMES).map(String::as_str).collect();
                let more = names.len() - listed.len();
                write!(f, "the server's certificate is not for {wanted}, but for {}", listed.join(", "))?;
                if more > 0 { write!(f, " and {more} more") } else { Ok(()) }
            }
            CertificateProblem::Revoked => write!(f, "the server's certificate is revoked"),
            CertificateProblem::Bad(detail) => {
                write!(f, "the server's certificate cannot be used: {detail}")
            }
        }
    }
}
