//! Handshakes and streams over real sockets, against servers of `rustls` and against bytes.

mod failures;
mod hostile;
mod probe;
mod renewal;
mod server_side;
mod streams;
mod support;
mod system;
