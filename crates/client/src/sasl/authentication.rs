//! The exchange with a broker: SaslHandshake, then SaslAuthenticate until both sides are content.

use std::time::Instant;

use bytes::Bytes;
use kafka_protocol::messages::{
    ApiKey, SaslAuthenticateRequest, SaslAuthenticateResponse, SaslHandshakeRequest,
};
use kafka_protocol::protocol::StrBytes;

use super::failure::{Failure, quoted};
use super::scram::ClientFirst;
use super::secret::Secret;
use super::session::Session;
use super::{Credentials, Kind, oauth_bearer, plain};
use crate::connection::Connection;
use crate::error::{Error, Result};
use crate::versioned_request::VersionedRequest;
use protocol::error_code::ErrorCode;

/// The most mechanisms of a broker that an error names.
const MOST_NAMED: usize = 20;

impl VersionedRequest for SaslHandshakeRequest {
    const API: ApiKey = ApiKey::SaslHandshake;
    const VERSION: i16 = 1;
    const MAX_RESPONSE: usize = 64 * 1024;
}

impl VersionedRequest for SaslAuthenticateRequest {
    const API: ApiKey = ApiKey::SaslAuthenticate;
    const VERSION: i16 = 2;
    const MAX_RESPONSE: usize = 64 * 1024;
}

/// What a mechanism needs, read before anything is written: where it cannot be had, the connection stays as
/// it is.
pub(crate) struct Prepared<'a>(Ready<'a>);

enum Ready<'a> {
    Plain(Vec<u8>),
    Scram(ClientFirst, Secret, &'a super::SaltedPassword),
    OAuthBearer(Vec<u8>, Secret, &'a super::Tokens),
}

impl Credentials {
    /// Reads the secrets; a token is awaited until `deadline`.
    pub(crate) fn prepare(&self, deadline: Instant) -> Result<Prepared<'_>, Failure> {
        let read =
            |source: &super::SecretSource| source.read().map_err(|error| Failure::Credentials(error.message));
        let ready = match &self.0 {
            Kind::Plain(password) => {
                plain::message(&password.username, &read(&password.password)?).map(Ready::Plain)
            }
            Kind::Scram(hash, password, salted) => {
                let nonce =
                    net::random::hex::<16>().map_err(|error| Failure::Credentials(error.to_string()))?;
                let first = ClientFirst::new(*hash, &password.username, nonce)?;
                Ok(Ready::Scram(first, read(&password.password)?, salted))
            }
            Kind::OAuthBearer(tokens, extensions) => {
                let token = tokens.get(deadline)?;
                let message = oauth_bearer::message(&token, extensions)?;
                Ok(Ready::OAuthBearer(message, token, tokens))
            }
        };
        ready.map(Prepared)
    }

    /// Authenticates `connection`, for the first time or anew. The session that begins, if it ends.
    pub(crate) fn authenticate(
        &self,
        Prepared(ready): Prepared<'_>,
        connection: &mut Connection,
        deadline: Instant,
    ) -> Result<Option<Session>> {
        let mut exchange = Exchange { credentials: self, connection, deadline };
        exchange.agree()?;
        match ready {
            Ready::Plain(message) => exchange.step(message).map(|(_, session)| session),
            Ready::Scram(first, password, salted) => {
                let (answer, _) = exchange.step(first.message())?;
                let last = first.answer(&answer, &password, salted);
                let last = last.map_err(|failure| exchange.failed(failure))?;
                let (answer, session) = exchange.step(last.message())?;
                last.verify(&answer).map_err(|failure| exchange.failed(failure))?;
                Ok(session)
            }
            Ready::OAuthBearer(message, token, tokens) => {
                let outcome = exchange.show_token(message);
                if matches!(outcome, Err(Error::Authentication { failure: Failure::Refused(_), .. })) {
                    tokens.refused(&token);
                }
                outcome
            }
        }
    }
}

struct Exchange<'a> {
    credentials: &'a Credentials,
    connection: &'a mut Connection,
    deadline: Instant,
}

impl Exchange<'_> {
    fn failed(&self, failure: Failure) -> Error {
        let broker = self.connection.address().to_owned();
        Error::Authentication { broker, mechanism: self.credentials.mechanism(), failure }
    }

    /// Agrees on the mechanism.
    fn agree(&mut self) -> Result<()> {
        let mechanism = StrBytes::from_static_str(self.credentials.mechanism().name());
        let request = SaslHandshakeRequest::default().with_mechanism(mechanism);
        let answer = self.connection.call_unauthenticated(&request, self.deadline)?;
        match ErrorCode(answer.error_code) {
            ErrorCode::NONE => Ok(()),
            ErrorCode::UNSUPPORTED_SASL_MECHANISM => {
                let named = answer.mechanisms.iter().take(MOST_NAMED);
                Err(self.failed(Failure::NotOffered { offered: named.map(|name| quoted(name)).collect() }))
            }
            // A listener of Kafka's without SASL says that the request is not one of its state.
            ErrorCode::ILLEGAL_SASL_STATE | ErrorCode::UNSUPPORTED_VERSION => {
                Err(self.failed(Failure::NoSasl))
            }
            code => Err(Error::refused(self.connection.context::<SaslHandshakeRequest>(), code)),
        }
    }

    /// Sends one message of the mechanism. The broker's answer to it, and the session that begins if this was
    /// the last one.
    fn step(&mut self, message: Vec<u8>) -> Result<(Bytes, Option<Session>)> {
        let sent = Instant::now();
        let request = SaslAuthenticateRequest::default().with_auth_bytes(Bytes::from(message));
        let answer = self.connection.call_unauthenticated(&request, self.deadline)?;
        let session = Session::of(&answer, sent);
        let SaslAuthenticateResponse { error_code, error_message, auth_bytes, .. } = answer;
        match ErrorCode(error_code) {
            ErrorCode::NONE => Ok((auth_bytes, session)),
            ErrorCode::SASL_AUTHENTICATION_FAILED => {
                let message = error_message.as_deref().map(quoted).unwrap_or_default();
                Err(self.failed(Failure::Refused(message)))
            }
            code => Err(Error::refused(self.connection.context::<SaslAuthenticateRequest>(), code)),
        }
    }

    /// Shows the token. An error of the server has to be acknowledged; then the broker refuses in its own
    /// words.
    fn show_token(&mut self, message: Vec<u8>) -> Result<Option<Session>> {
        let (answer, session) = self.step(message)?;
        let Some(error) = oauth_bearer::server_error(&answer) else { return Ok(session) };
        match self.step(oauth_bearer::ACKNOWLEDGED.to_vec()) {
            Err(refused @ Error::Authentication { failure: Failure::Refused(_), .. }) => Err(refused),
            _ => Err(self.failed(Failure::Refused(error))),
        }
    }
}
