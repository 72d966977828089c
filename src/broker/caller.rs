//! Who asks: what a request's handler knows of the connection and of the request's header.

use std::net::SocketAddr;

/// The sender of one request.
#[derive(Clone, Copy)]
pub struct Caller<'a> {
    /// The connection's number: no two connections of one broker have the same.
    pub connection: u64,
    /// The version of the request, and so of its answer.
    pub version: i16,
    /// The client id of the request's header; empty where it is null.
    pub client_id: &'a str,
    /// The client's address.
    pub peer: SocketAddr,
    /// The address that the client connected to, at which it can also reach us again.
    pub local: SocketAddr,
    /// Whether the client has closed the connection, or the broker stops: asked every now and then by a handler that
    /// waits.
    pub gone: &'a dyn Fn() -> bool,
}
