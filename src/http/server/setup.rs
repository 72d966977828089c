//! The parts of a server, made from the settings of its endpoint.

use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;

use mio::Token;
use net::pulse::Pulse;

use super::access_log::AccessLog;
use super::access_policy::AccessPolicy;
use super::fd_limit;
use super::limits::Limits;
use super::tls::TlsAcceptor;
use super::user_access::UserAccess;
use crate::error::{Error, Result};
use crate::http::responder::{ResponseQueue, response_queue};
use crate::http::settings::EndpointSettings;
use crate::ids::RequestIds;
use crate::metrics::HttpMetrics;

/// The token of the waker in the server's poll.
pub(super) const WAKER: Token = Token(0);

/// The parts of which a server is made.
pub(crate) struct ServerParts {
    /// The address to listen on.
    pub(crate) address: SocketAddr,
    /// The limits.
    pub(super) limits: Limits,
    /// Logs and counts the requests.
    pub(super) access_log: AccessLog,
    /// Decides which requests are served.
    pub(super) policy: AccessPolicy,
    /// Clients have to speak TLS.
    pub(crate) tls: Option<TlsAcceptor>,
    /// The responses of other threads.
    pub(crate) responses: Arc<ResponseQueue>,
    /// The poll that `responses` wakes.
    pub(super) poll: mio::Poll,
    /// Beats while the server's loop goes round.
    pub(super) pulse: Pulse,
}

impl ServerParts {
    /// The parts for these settings, whose address stands at `key`.
    ///
    /// # Errors
    /// The address is invalid, or can be reached by other machines without protection; a file of the token or
    /// of TLS cannot be used; the system gives no descriptor.
    pub(crate) fn prepare(
        key: &str,
        settings: &EndpointSettings,
        limits: Limits,
        metrics: HttpMetrics,
    ) -> Result<ServerParts> {
        let address = resolve(key, &settings.listen)?;
        let tls = TlsAcceptor::of(settings)?;
        let policy = AccessPolicy::new(settings, address, tls.is_some())?;
        let (responses, poll) = response_queue(WAKER)
            .map_err(|error| Error::new("the HTTP server cannot be set up").caused_by(error))?;
        let users = settings.users_file.as_deref();
        let users = users.map(|file| UserAccess::start(file, &settings.topic, Arc::clone(&responses)));
        let policy = policy.with_users(users.transpose()?);
        let access_log = AccessLog::new(RequestIds::new()?, settings.access_log, metrics);
        let pulse = Pulse::default();
        Ok(ServerParts { address, limits, access_log, policy, tls, responses, poll, pulse })
    }

    /// The same for a server whose loop has this `pulse`.
    pub(crate) fn beating(self, pulse: Pulse) -> ServerParts {
        let responses = Arc::clone(&self.responses);
        pulse.woken_by(move || responses.wake());
        ServerParts { pulse, ..self }
    }
}

impl Limits {
    /// The limits of these settings. `max_connections` is lower where the process may not open so many files.
    pub(crate) fn of(settings: &EndpointSettings) -> Limits {
        Limits {
            max_connections: fd_limit::max_connections(settings.max_connections),
            max_body_bytes: settings.max_body_bytes,
            head_timeout: settings.head_timeout,
            body_timeout: settings.body_timeout,
            idle_timeout: settings.idle_timeout,
            answer_timeout: settings.answer_timeout,
        }
    }
}

fn resolve(key: &str, listen: &str) -> Result<SocketAddr> {
    let failed = || format!("{key}: `{listen}` is not an address like 127.0.0.1:5000");
    let mut addresses = listen.to_socket_addrs().map_err(|error| Error::new(failed()).caused_by(error))?;
    addresses.next().ok_or_else(|| Error::new(failed()))
}
