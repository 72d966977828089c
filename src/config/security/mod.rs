//! `kafka.security` and the keys beside it: how connections to the brokers are secured.

mod rules;
mod secure;
pub(super) mod values;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

pub(super) use rules::check_security;
pub(super) use secure::secure;

use super::Secret;
use client::Security;
use client::sasl::Mechanism;

/// What has to be written to do without the check of the brokers' certificates.
pub(in crate::config) const INSECURE: &str = "I accept that anyone may read and change my messages";

/// The protocol of the brokers' listener (Kafka's `security.protocol`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SecurityProtocol {
    /// Neither encryption nor a password (`PLAINTEXT`).
    #[default]
    Plaintext,
    /// TLS (`SSL`).
    Tls,
    /// A password or token, unencrypted (`SASL_PLAINTEXT`).
    SaslPlaintext,
    /// A password or token over TLS (`SASL_SSL`).
    SaslTls,
}

impl SecurityProtocol {
    /// Whether connections are encrypted.
    pub fn has_tls(self) -> bool {
        matches!(self, SecurityProtocol::Tls | SecurityProtocol::SaslTls)
    }

    /// Whether a client has to authenticate by SASL.
    pub fn has_sasl(self) -> bool {
        matches!(self, SecurityProtocol::SaslPlaintext | SecurityProtocol::SaslTls)
    }
}

/// The keys of `[kafka]` that secure connections to the brokers. The loading of the settings sets them, as
/// what follows from them (certificates, tokens) is made there once.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct SecuritySection {
    pub(in crate::config) protocol: SecurityProtocol,
    pub(in crate::config) tls: TlsSection,
    pub(in crate::config) sasl: SaslSection,
    pub(in crate::config) oauth: OauthSection,
    pub(in crate::config) secured: Secured,
}

impl SecuritySection {
    /// What everybody who reads the log should know of it.
    pub fn warning(&self) -> Option<&'static str> {
        (self.protocol.has_tls() && self.tls.insecure).then_some(
            "kafka.tls_insecure: certificates of the brokers are not checked: anyone on the way can read and \
             change messages and passwords",
        )
    }
}

/// `kafka.tls_*`.
#[derive(Debug, Clone, PartialEq, Default)]
pub(in crate::config) struct TlsSection {
    pub(in crate::config) ca: Option<PathBuf>,
    pub(in crate::config) certificate: Option<PathBuf>,
    pub(in crate::config) key: Option<PathBuf>,
    pub(in crate::config) insecure: bool,
}

/// `kafka.sasl_*`.
#[derive(Debug, Clone, PartialEq, Default)]
pub(in crate::config) struct SaslSection {
    pub(in crate::config) mechanism: Option<Mechanism>,
    pub(super) username: Option<String>,
    pub(in crate::config) password: Option<Secret>,
    pub(in crate::config) password_file: Option<PathBuf>,
    /// A password or token may be sent unencrypted to another host.
    pub(in crate::config) anyone_may_read: bool,
}

/// `kafka.oauth_*`.
#[derive(Debug, Clone, PartialEq, Default)]
pub(in crate::config) struct OauthSection {
    pub(in crate::config) token_file: Option<PathBuf>,
    pub(in crate::config) token_command: Vec<String>,
    pub(in crate::config) token_url: Option<TokenUrl>,
    pub(in crate::config) client_id: Option<String>,
    pub(in crate::config) client_secret_file: Option<PathBuf>,
    pub(in crate::config) scope: Option<String>,
    pub(in crate::config) audience: Option<String>,
    pub(in crate::config) extensions: Vec<(String, String)>,
}

/// The URL of an identity provider. `Debug` shows neither its query nor anything before its host.
#[derive(Clone, PartialEq)]
pub(in crate::config) struct TokenUrl(pub(in crate::config) String);

impl fmt::Debug for TokenUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = self.0.split(['?', '#']).next().unwrap_or_default();
        match shown.split_once("://") {
            Some((scheme, rest)) if !rest.contains('@') => write!(f, "TokenUrl({scheme}://{rest})"),
            _ => f.write_str("TokenUrl"),
        }
    }
}

/// What follows from a [`SecuritySection`], made once for all connections of a process: they share
/// certificates, sessions and tokens.
#[derive(Clone, Default)]
pub(in crate::config) struct Secured(pub(in crate::config) Arc<Security>);

impl fmt::Debug for Secured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secured")
    }
}

/// It follows from the section, which is compared already.
impl PartialEq for Secured {
    fn eq(&self, _: &Secured) -> bool {
        true
    }
}
