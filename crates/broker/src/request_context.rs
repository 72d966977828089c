//! The context of a request: its connection, its client and the fields of its header.

use std::net::SocketAddr;

/// The context of one request.
#[derive(Clone, Copy)]
pub struct RequestContext<'a> {
    /// The connection's number: no two connections of one broker have the same.
    pub connection: u64,
    /// The version of the request and of its response.
    pub version: i16,
    /// The client id of the request's header; empty where it is null.
    pub client_id: &'a str,
    /// The client's address.
    pub peer: SocketAddr,
    /// The host and port at which the client can connect again.
    pub advertised: (&'a str, u16),
    /// Whether the client has closed the connection, or the broker stops: polled by handlers that wait.
    pub gone: &'a dyn Fn() -> bool,
}
