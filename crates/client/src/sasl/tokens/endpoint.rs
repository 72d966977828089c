//! Client credentials at an identity provider: the grant of RFC 6749, section 4.4, as KIP-768 has it.

use std::io;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use super::TokenError;
use super::fetched::Fetched;
use super::http::{self, Answer};
use super::url::Url;
use crate::sasl::failure::quoted;
use crate::sasl::secret::{Secret, SecretSource};
use net::backoff::Backoff;
use net::frame::READ_SLICE;
use net::stop::Stop;

/// The longest that one try may take; another one has to have its time, too.
const TRY_LIMIT: Duration = Duration::from_secs(5);

/// The most tries of one fetch: then its error is told, and another fetch comes later.
const MAX_TRIES: usize = 4;

/// A client's credentials at an identity provider.
#[derive(Debug)]
pub struct ClientCredentials {
    url: Url,
    tls: Option<tls::Connector>,
    client_id: String,
    secret: SecretSource,
    scope: Option<String>,
    audience: Option<String>,
}

impl ClientCredentials {
    /// The credentials `client_id` and `secret` at `url`. `tls` is needed for an `https` address.
    ///
    /// # Errors
    /// A sentence about the address: it is none, or `http` and not of this computer, so that anyone on the
    /// way could read the secret.
    pub fn new(
        url: &str,
        tls: Option<tls::Connector>,
        client_id: String,
        secret: SecretSource,
    ) -> Result<ClientCredentials, String> {
        let url = Url::read(url)?;
        if !url.is_https && !url.is_local() {
            return Err("an address with http:// is taken for this computer only: use https://".to_owned());
        }
        if url.is_https && tls.is_none() {
            return Err("an address with https:// needs TLS, which this build does not have".to_owned());
        }
        if client_id.is_empty() || client_id.contains([':', '\r', '\n']) {
            return Err("the client id is empty, or has a colon or a line end".to_owned());
        }
        Ok(ClientCredentials { url, tls, client_id, secret, scope: None, audience: None })
    }

    /// Asks for tokens of this scope.
    #[must_use]
    pub fn with_scope(self, scope: Option<String>) -> ClientCredentials {
        ClientCredentials { scope, ..self }
    }

    /// Asks for tokens for this audience.
    #[must_use]
    pub fn with_audience(self, audience: Option<String>) -> ClientCredentials {
        ClientCredentials { audience, ..self }
    }

    /// The address without its query.
    pub(super) fn url(&self) -> String {
        self.url.to_string()
    }

    /// A new token. What may pass is tried again, a few times, until `deadline` or the `stop`.
    pub(super) fn fetch(&self, deadline: Instant, stop: &Stop) -> Result<Fetched, TokenError> {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(1));
        let mut tries = 0;
        loop {
            tries += 1;
            let end = deadline.min(Instant::now() + TRY_LIMIT);
            let outcome = self.try_once(end, stop);
            let wait = backoff.next_wait();
            match outcome {
                Err(error) if error.may_pass && tries < MAX_TRIES && Instant::now() + wait < deadline => {
                    if stop.wait_for(wait) {
                        return Err(error);
                    }
                }
                outcome => return outcome,
            }
        }
    }

    fn try_once(&self, deadline: Instant, stop: &Stop) -> Result<Fetched, TokenError> {
        let secret =
            self.secret.read().map_err(|error| TokenError::lasting(format!("the secret: {error}")))?;
        let passing = |error: io::Error| TokenError::passing(error.to_string());
        let socket = connect(&self.url.authority(), deadline).map_err(passing)?;
        let request = self.request(&secret);
        let answer = match (&self.tls, self.url.is_https) {
            (Some(tls), true) => {
                let mut stream = tls.connect(socket, &self.url.host, deadline).map_err(|error| {
                    TokenError { may_pass: !error.is_lasting(), message: error.to_string() }
                })?;
                http::exchange(&mut stream, &request, deadline, stop)
            }
            (None, true) => return Err(TokenError::lasting("this build has no TLS".to_owned())),
            (_, false) => {
                let mut socket = socket;
                http::exchange(&mut socket, &request, deadline, stop)
            }
        };
        token(&answer.map_err(passing)?)
    }

    /// Id and secret go as Kafka's Java client sends them: not encoded for a form before base64.
    fn request(&self, secret: &Secret) -> Vec<u8> {
        let pair = [self.client_id.as_bytes(), b":", secret.expose()].concat();
        let mut form = "grant_type=client_credentials".to_owned();
        for (name, value) in [("scope", &self.scope), ("audience", &self.audience)] {
            if let Some(value) = value {
                form.push_str(&format!("&{name}={}", form_encoded(value)));
            }
        }
        format!(
            "POST {} HTTP/1.1\r\nHost: {}\r\nAuthorization: Basic {}\r\nAccept: application/json\r\n\
             Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\
             User-Agent: point-to-point/{}\r\nConnection: close\r\n\r\n{form}",
            self.url.target,
            self.url.authority(),
            STANDARD.encode(pair),
            form.len(),
            env!("CARGO_PKG_VERSION"),
        )
        .into_bytes()
    }
}

/// A socket whose reads and writes return every [`READ_SLICE`].
fn connect(authority: &str, deadline: Instant) -> io::Result<TcpStream> {
    let socket = net::connect::connect(authority, deadline).map_err(io::Error::other)?;
    socket.set_nodelay(true)?;
    socket.set_read_timeout(Some(READ_SLICE))?;
    socket.set_write_timeout(Some(READ_SLICE))?;
    Ok(socket)
}

/// `text` as a value of a form.
fn form_encoded(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        match byte {
            b' ' => encoded.push('+'),
            _ if byte.is_ascii_alphanumeric() || b"-._*".contains(&byte) => encoded.push(char::from(byte)),
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

/// A successful answer of RFC 6749, section 5.1.
#[derive(Deserialize)]
struct Granted {
    access_token: String,
    expires_in: Option<serde_json::Value>,
}

/// A refusal of RFC 6749, section 5.2.
#[derive(Deserialize)]
struct RefusedGrant {
    error: String,
    error_description: Option<String>,
}

fn token(answer: &Answer) -> Result<Fetched, TokenError> {
    if answer.status != 200 {
        return Err(refusal(answer));
    }
    let granted = serde_json::from_slice(&answer.body);
    let Granted { access_token, expires_in } =
        granted.map_err(|_| TokenError::passing("its answer has no access_token".to_owned()))?;
    if access_token.trim().is_empty() {
        return Err(TokenError::passing("its access_token is empty".to_owned()));
    }
    // A number, or a number as text, as some providers have it.
    let seconds = expires_in.and_then(|value| value.as_f64().or_else(|| value.as_str()?.parse().ok()));
    let life = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    Ok(Fetched::new(Secret::new(access_token.trim()), life))
}

fn refusal(answer: &Answer) -> TokenError {
    let status = answer.status;
    let why = match serde_json::from_slice(&answer.body) {
        Ok(RefusedGrant { error, error_description: Some(description) }) => format!("{error}: {description}"),
        Ok(RefusedGrant { error, error_description: None }) => error,
        Err(_) => String::new(),
    };
    let why = quoted(&why);
    let message = match why.as_str() {
        "" => format!("it answers with status {status}"),
        why => format!("it answers with status {status}: {why}"),
    };
    let may_pass = matches!(status, 408 | 425 | 429) || status >= 500;
    TokenError { message, may_pass }
}
