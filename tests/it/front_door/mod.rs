//! The front door and the handlers behind it, over real sockets: good requests, hostile ones, and crowds.

mod answers;
mod connections;
mod cors;
mod crowds;
mod guarded;
mod malformed;
mod monitoring;
mod streams;
pub mod support;
pub mod users;
