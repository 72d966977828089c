//! The result of a handler: a response now, or one that its [`Responder`](super::responder::Responder) sends
//! later.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::response::Response;

/// A handler's answer to a request.
pub(crate) enum Reply {
    /// With this response.
    Immediate(Response),
    /// Later, through the request's responder.
    Deferred,
}

impl Reply {
    /// Runs a handler; a panic becomes a 500.
    pub(crate) fn of(handler: impl FnOnce() -> Reply) -> Reply {
        catch_unwind(AssertUnwindSafe(handler)).unwrap_or_else(|_| {
            log::error!("a handler has failed; see the message on standard error");
            let sentence = "The server has failed; the message may or may not be stored.";
            Reply::Immediate(Response::error(500, "internal", sentence))
        })
    }

    /// Deferred if the request was taken, else the response to its refusal.
    pub(crate) fn deferred(taken: Result<(), Response>) -> Reply {
        taken.map_or_else(Reply::Immediate, |()| Reply::Deferred)
    }
}
