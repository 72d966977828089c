//! TLS 1.2 and 1.3 for both sides of a connection: `rustls` with the cryptography of `graviola`, no C.
//!
//! - [`Connector`]: the side of a client, on a blocking socket; [`Stream`] is its connection
//! - [`Acceptor`]: the side of a server, on sockets that never block; [`Session`] is the TLS of a connection
//! - [`ConnectError`]: why a client has no TLS, and whether waiting can help
//! - [`speaks_tls`]: asks a port whether it wants TLS
//!
//! Files of certificates and keys that are renewed are used without a restart. The cryptography is there for
//! x86-64 and aarch64; in a build for another processor [`Connector::new`] and [`Acceptor::new`] refuse.

mod connect_error;
mod probe;
mod receive_error;
mod settings;

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
mod acceptor;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
mod certificate_name;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
mod connector;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
mod failure;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
mod files;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
mod provider;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
mod roots;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
mod session;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
mod stream;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
mod verifiers;

#[cfg(any(test, not(any(target_arch = "x86_64", target_arch = "aarch64"))))]
#[cfg_attr(test, allow(dead_code, reason = "a test compiles it on every processor"))]
mod absent;

#[cfg(test)]
mod tests;

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
pub use absent::{Acceptor, Connector, Session, Stream};
pub use connect_error::{CertificateProblem, ConnectError};
pub use probe::speaks_tls;
pub use receive_error::ReceiveError;
pub use settings::{AcceptorSettings, ConnectorSettings, SettingNames, SettingsError};
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
pub use {acceptor::Acceptor, connector::Connector, session::Session, stream::Stream};
