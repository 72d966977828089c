//! The settings of an endpoint.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use super::constant_time::MAX_WORD_BYTES;

/// The longest token that clients may have to send, in bytes.
pub const MAX_TOKEN_BYTES: usize = MAX_WORD_BYTES;

/// The sentence that tells which tokens are legal.
pub const LEGAL_TOKEN: &str = "must be 16 to 256 visible ASCII characters without spaces (its value is not \
    shown); for example what `openssl rand -hex 32` prints";

/// Checks that `token` may be the token of an endpoint: it travels in a header, and must not be easy to
/// guess.
///
/// # Errors
/// A sentence that tells which tokens are legal, without the token.
pub fn check_token(token: &str) -> Result<(), &'static str> {
    let legal = matches!(token.len(), 16..=MAX_TOKEN_BYTES) && token.bytes().all(|b| b.is_ascii_graphic());
    if legal { Ok(()) } else { Err(LEGAL_TOKEN) }
}

/// The token of an endpoint; `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct AccessToken(String);

impl AccessToken {
    /// Keeps `token` from being shown by accident.
    pub fn new(token: impl Into<String>) -> AccessToken {
        AccessToken(token.into())
    }

    /// The token itself.
    pub(super) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for AccessToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// The settings of an endpoint: its address, limits, deadlines, and protection.
#[derive(Debug, Clone, PartialEq)]
pub struct EndpointSettings {
    /// Address and port to listen on; port 0: the system chooses.
    pub listen: String,
    /// From a whole request to its response.
    pub answer_timeout: Duration,
    /// The largest body, in bytes.
    pub max_body_bytes: usize,
    /// From the first byte of a request to the end of its head.
    pub head_timeout: Duration,
    /// From the end of the head to the end of the body, and for writing a response.
    pub body_timeout: Duration,
    /// The time without a request after which a connection is closed.
    pub idle_timeout: Duration,
    /// The most connections at a time; fewer where the process may not open so many files.
    pub max_connections: usize,
    /// The bytes of records that may wait for the metadata of their topic.
    pub max_pending_bytes: usize,
    /// The token that clients must send as `Authorization: Bearer`; without it and `token_file` there is
    /// none.
    pub token: Option<AccessToken>,
    /// The file that holds the token instead.
    pub token_file: Option<PathBuf>,
    /// The file of users, each of whom has a token, a password or a client certificate, and rights.
    pub users_file: Option<PathBuf>,
    /// The channel's topic, to which `/enviar` sends.
    pub topic: String,
    /// The channel's consumers take any value, not JSON alone.
    pub any_payload: bool,
    /// Where the key of a message for the channel stands in its body, as a JSON Pointer.
    pub key_pointer: Option<String>,
    /// The group where a request to a queue names none.
    pub group: String,
    /// The longest time that a worker can have for a message.
    pub longest_lease: Duration,
    /// The certificate chain in PEM; with `tls_key` the endpoint speaks TLS.
    pub tls_certificate: Option<PathBuf>,
    /// The certificate's private key in PEM.
    pub tls_key: Option<PathBuf>,
    /// The authorities whose certificates clients may show, in PEM.
    pub tls_client_ca: Option<PathBuf>,
    /// The time after which the files of TLS are looked at again: renewed ones are used.
    pub tls_renewal: Duration,
    /// Other machines may reach the endpoint without both token and TLS.
    pub anyone_may_send: bool,
    /// The origins of other sites whose pages may use the endpoint, each as a browser writes it.
    pub allowed_origins: Vec<String>,
    /// Each answered request is logged.
    pub access_log: bool,
}

impl Default for EndpointSettings {
    fn default() -> EndpointSettings {
        EndpointSettings {
            listen: "127.0.0.1:5000".to_owned(),
            answer_timeout: Duration::from_secs(10),
            max_body_bytes: 1024 * 1024,
            head_timeout: Duration::from_secs(5),
            body_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(60),
            max_connections: 4096,
            max_pending_bytes: 64 * 1024 * 1024,
            token: None,
            token_file: None,
            users_file: None,
            topic: "mi-topico".to_owned(),
            any_payload: false,
            key_pointer: None,
            group: "grupo-consumidores".to_owned(),
            longest_lease: Duration::from_secs(300),
            tls_certificate: None,
            tls_key: None,
            tls_client_ca: None,
            tls_renewal: Duration::from_secs(60),
            anyone_may_send: false,
            allowed_origins: Vec::new(),
            access_log: false,
        }
    }
}
