//! The settings of both sides, and the error of settings that cannot be used.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// The names of the settings, for sentences to their user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SettingNames {
    /// The setting of the file of authorities.
    pub ca: &'static str,
    /// The setting of the file of the own certificate.
    pub certificate: &'static str,
    /// The setting of the file of its key.
    pub key: &'static str,
}

impl SettingNames {
    /// The settings of connections to brokers.
    pub const KAFKA: SettingNames =
        SettingNames { ca: "kafka.tls_ca", certificate: "kafka.tls_certificate", key: "kafka.tls_key" };

    /// The settings of the HTTP endpoint.
    pub const PRODUCER_API: SettingNames = SettingNames {
        ca: "producer_api.tls_client_ca",
        certificate: "producer_api.tls_certificate",
        key: "producer_api.tls_key",
    };
}

/// The settings of a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectorSettings {
    /// The authorities that may have issued a server's certificate, in PEM; `None`: those of the system.
    pub ca: Option<PathBuf>,
    /// Whether the authorities of the system are trusted beside those of `ca`.
    pub system_too: bool,
    /// The client's own certificate and those between it and its authority, in PEM.
    pub certificate: Option<PathBuf>,
    /// Its private key in PEM (PKCS#8, PKCS#1 or SEC1), which its owner alone can read.
    pub key: Option<PathBuf>,
    /// Servers' certificates are not checked: whoever is between can read and change everything.
    pub insecure: bool,
    /// The names of these settings.
    pub names: SettingNames,
}

impl Default for ConnectorSettings {
    fn default() -> ConnectorSettings {
        ConnectorSettings {
            ca: None,
            system_too: false,
            certificate: None,
            key: None,
            insecure: false,
            names: SettingNames::KAFKA,
        }
    }
}

/// The settings of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AcceptorSettings {
    /// The server's certificate and those between it and its authority, in PEM.
    pub certificate: PathBuf,
    /// Its private key in PEM (PKCS#8, PKCS#1 or SEC1), which its owner alone can read.
    pub key: PathBuf,
    /// The authorities that may have issued a client's certificate, in PEM. A client without a certificate is
    /// accepted, too; one whose certificate is not theirs is not.
    pub client_ca: Option<PathBuf>,
    /// The protocol that is spoken over TLS (ALPN).
    pub protocol: &'static [u8],
    /// The time after which the files are looked at again.
    pub renewal: Duration,
    /// The names of these settings.
    pub names: SettingNames,
}

/// Settings that cannot be used: a sentence that begins with the setting's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingsError(String);

impl SettingsError {
    pub(crate) fn new(setting: &str, why: impl fmt::Display) -> SettingsError {
        SettingsError(format!("{setting}: {why}"))
    }
}

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for SettingsError {}
