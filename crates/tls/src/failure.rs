//! What an error of rustls means to a client.

use std::time::{Duration, SystemTime};

use rustls::pki_types::UnixTime;
use rustls::{AlertDescription, CertificateError, Error, InconsistentKeys, PeerIncompatible};

use crate::connect_error::{CertificateProblem, ConnectError};
use crate::settings::{SettingNames, SettingsError};

/// What a connection knows of its handshake when it fails.
#[derive(Debug, Clone)]
pub(crate) struct Handshake {
    /// The name that the server's certificate has to be for.
    pub(crate) host: String,
    /// The client has a certificate.
    pub(crate) has_certificate: bool,
    /// The server has asked for a client certificate.
    pub(crate) asked: bool,
    /// The names of the settings.
    pub(crate) names: SettingNames,
}

impl Handshake {
    /// The client's error for one of rustls.
    pub(crate) fn failure(&self, error: Error) -> ConnectError {
        let names = self.names;
        match error {
            Error::InvalidCertificate(error) => {
                ConnectError::ServerCertificate { problem: self.problem(error), names }
            }
            Error::NoCertificatesPresented => ConnectError::ServerCertificate {
                problem: CertificateProblem::Bad("the server shows none".to_owned()),
                names,
            },
            Error::AlertReceived(alert) => self.alert(alert),
            Error::PeerIncompatible(detail) => incompatible(&detail),
            Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => ConnectError::Settings(
                SettingsError::new(names.certificate, format_args!("does not belong to {}", names.key)),
            ),
            error => ConnectError::Invalid(error.to_string()),
        }
    }

    fn problem(&self, error: CertificateError) -> CertificateProblem {
        match error {
            CertificateError::UnknownIssuer => CertificateProblem::UnknownIssuer,
            CertificateError::Expired => CertificateProblem::Expired { end: None },
            CertificateError::ExpiredContext { not_after, .. } => {
                CertificateProblem::Expired { end: system_time(not_after) }
            }
            CertificateError::NotValidYet => CertificateProblem::NotYetValid { start: None },
            CertificateError::NotValidYetContext { not_before, .. } => {
                CertificateProblem::NotYetValid { start: system_time(not_before) }
            }
            CertificateError::NotValidForName => {
                CertificateProblem::OtherName { wanted: self.host.clone(), names: Vec::new() }
            }
            CertificateError::NotValidForNameContext { presented, .. } => {
                let names = presented.iter().map(|name| inner_name(name).to_owned()).collect();
                CertificateProblem::OtherName { wanted: self.host.clone(), names }
            }
            CertificateError::Revoked => CertificateProblem::Revoked,
            error => CertificateProblem::Bad(error.to_string()),
        }
    }

    fn alert(&self, alert: AlertDescription) -> ConnectError {
        use AlertDescription as A;
        let names = self.names;
        let text = described(alert);
        match alert {
            // What a server says that misses a certificate differs: this one is TLS 1.3's, ...
            A::CertificateRequired => ConnectError::ClientCertificateWanted(names),
            // ... and these come from OpenSSL and Java with TLS 1.2, or from older Java with TLS 1.3.
            A::HandshakeFailure | A::BadCertificate | A::NoCertificate | A::CertificateUnknown
                if self.asked && !self.has_certificate =>
            {
                ConnectError::ClientCertificateWanted(names)
            }
            A::BadCertificate
            | A::UnsupportedCertificate
            | A::CertificateRevoked
            | A::CertificateExpired
            | A::CertificateUnknown
            | A::UnknownCA
            | A::AccessDenied
            | A::DecryptError
                if self.asked && self.has_certificate =>
            {
                ConnectError::ClientCertificateRefused { alert: text, names }
            }
            A::HandshakeFailure | A::ProtocolVersion | A::InsufficientSecurity => {
                ConnectError::NothingInCommon(format!("alert {text}"))
            }
            A::UnrecognisedName | A::AccessDenied | A::NoApplicationProtocol => {
                ConnectError::Alert { alert: text, lasting: true }
            }
            _ => ConnectError::Alert { alert: text, lasting: false },
        }
    }
}

fn incompatible(detail: &PeerIncompatible) -> ConnectError {
    let why = match detail {
        PeerIncompatible::ServerDoesNotSupportTls12Or13 => "it speaks neither of these versions".to_owned(),
        detail => format!("{detail:?}"),
    };
    ConnectError::NothingInCommon(why)
}

/// An alert with its number, which is the same in all languages.
fn described(alert: AlertDescription) -> String {
    let name = format!("{alert:?}");
    let mut words = String::with_capacity(name.len() + 8);
    let mut after_lower = false;
    for letter in name.chars() {
        if letter.is_ascii_uppercase() && after_lower {
            words.push('_');
        }
        after_lower = letter.is_ascii_lowercase();
        words.push(letter.to_ascii_lowercase());
    }
    format!("{words}, {}", u8::from(alert))
}

/// `kafka.example` of `DnsName("kafka.example")`, `127.0.0.1` of `IpAddress(127.0.0.1)`.
fn inner_name(presented: &str) -> &str {
    let inner = presented.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')'));
    inner.unwrap_or(presented).trim_matches('"')
}

/// The time, if it can be written as a date: certificates know no year above 9999.
fn system_time(time: UnixTime) -> Option<SystemTime> {
    const YEAR_10000: u64 = 253_402_300_800;
    let seconds = Some(time.as_secs()).filter(|&seconds| seconds < YEAR_10000)?;
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds))
}
