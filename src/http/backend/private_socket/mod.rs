//! The private connection between the server and its handlers: a Unix-domain socket in a folder that only
//! this user can enter, or, on Windows, a port of loopback that knows who is allowed by the secret alone.

#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

use std::sync::Arc;

#[cfg(unix)]
pub(crate) use unix::{PrivateListener, Socket, Stream, connect};
#[cfg(windows)]
pub(crate) use windows::{PrivateListener, Socket, Stream, connect};

/// The address of the handlers, and the secret that proves a request to be the server's.
pub(crate) struct BackendAddress {
    /// Where the handlers listen.
    pub(crate) socket: Socket,
    /// The secret.
    pub(crate) secret: Arc<str>,
}
