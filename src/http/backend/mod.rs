//! The handlers behind `tiny_http`, and the private connection over which the server reaches them. No other
//! folder uses `tiny_http`.
//!
//! `tiny_http` has no limits and no deadlines, and some bytes abort its process, so it gets only requests
//! that the server has read whole, checked, and written anew.
//!
//! - [`upstream`] writes the requests to the private connection, [`relay`] parses the responses
//! - [`private_socket`] is the Unix-domain socket, in a directory of this user's alone
//! - [`handlers`] is `tiny_http` and the one thread that runs all handlers
//! - [`route`] is the table of routes, [`router`] picks the handler, [`demand`] is the right that a route
//!   needs
//! - [`body`] reads bodies, [`large_bodies`] is the thread that parses large ones

mod body;
pub(crate) mod demand;
mod handlers;
mod large_bodies;
mod private_socket;
pub(crate) mod relay;
pub(crate) mod route;
mod router;
pub(crate) mod upstream;

pub(crate) use handlers::Backend;
pub(crate) use private_socket::BackendAddress;
pub(crate) use router::Router;
