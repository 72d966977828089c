//! How connections to the brokers are secured.

use std::sync::Arc;

use super::probes::Probes;
use super::sasl::Credentials;

/// How every connection to a cluster is secured: in plain, by default.
#[derive(Debug, Default)]
pub struct Security {
    /// TLS; without it nothing is encrypted.
    pub tls: Option<tls::Connector>,
    /// Who this client is to the brokers, where they ask for SASL.
    pub sasl: Option<Arc<Credentials>>,
    /// Whether a password or token may go to another host unencrypted.
    pub(crate) anyone_may_read: bool,
    pub(crate) probes: Probes,
}

impl Security {
    /// Connections with this TLS and these credentials, each where there are any.
    pub fn new(tls: Option<tls::Connector>, sasl: Option<Arc<Credentials>>) -> Security {
        Security { tls, sasl, ..Security::default() }
    }

    /// The same; a password or token may go to another host unencrypted if `anyone_may_read`.
    #[must_use]
    pub fn with_readable_secrets(self, anyone_may_read: bool) -> Security {
        Security { anyone_may_read, ..self }
    }
}
