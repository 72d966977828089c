//! The phases of a connection, and the steps in which it is served.

use std::time::Instant;

use super::access_log::AccessLog;
use super::access_policy::AccessPolicy;
use super::limits::Limits;
use crate::http::response::ErrorResponse;

/// 408: the head took longer than `head_timeout_ms`.
pub(super) const SLOW_HEAD: ErrorResponse = ErrorResponse::new(
    408,
    "slow_head",
    "The head of the request did not come within `producer_api.head_timeout_ms`.",
);
/// 408: the body took longer than `body_timeout_ms`.
pub(super) const SLOW_BODY: ErrorResponse =
    ErrorResponse::new(408, "slow_body", "The body did not come within `producer_api.body_timeout_ms`.");

/// 503: the password was not checked in time.
pub(super) const SLOW_CHECK: ErrorResponse = ErrorResponse::new(
    503,
    "slow_check",
    "The password could not be checked in time; the message was not stored.",
);

/// 503: the connection was accepted while no descriptor was left, and its request wants more than to look.
pub(super) const NO_DESCRIPTORS: ErrorResponse = ErrorResponse::new(
    503,
    "no_descriptors",
    "No file descriptors are left for more connections; the message was not stored.",
);

/// The phase of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Waiting for a request, or for the rest of its head.
    Head,
    /// Waiting for the check of a request's password. Nothing is read.
    Authenticating,
    /// Reading a body.
    Body,
    /// Waiting for the response to a whole request.
    AwaitingResponse,
    /// Writing a response.
    Responding,
    /// Writing a stream, until one side ends it.
    Streaming,
    /// The last response is written; further bytes of the client are thrown away until it hangs up.
    Draining,
}

/// The next step of the event loop for a connection.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum NextStep {
    /// Nothing, until an event or a response comes.
    Wait,
    /// Go on after other connections have been served.
    Again,
    /// Have the request's password checked.
    Authenticate,
    /// Forward the whole request to the handlers.
    Forward,
    /// Answer the preflight request of a browser.
    Preflight,
    /// Give a permit for a step of the TLS handshake, in turn.
    Handshake,
    /// Refuse the request.
    Refuse(ErrorResponse),
    /// Count invalid TLS, and drain the connection.
    BadTls,
    /// Close the connection.
    Close,
}

/// The state of the event loop that a connection needs for a step.
pub(super) struct StepContext<'a> {
    /// The time of this round.
    pub(super) now: Instant,
    /// The limits.
    pub(super) limits: &'a Limits,
    /// Decides whether a request is served.
    pub(super) policy: &'a mut AccessPolicy,
    /// The buffer for reads.
    pub(super) scratch: &'a mut [u8],
    /// The rest of the budget for bodies.
    pub(super) budget: &'a mut usize,
    /// The access log.
    pub(super) access_log: &'a mut AccessLog,
    /// The server takes no new requests.
    pub(super) stopping: bool,
    /// A step of a TLS handshake may be taken.
    pub(super) permit: bool,
}
