//! The front door and the handlers behind it, over real sockets: good requests, hostile ones, and crowds.

mod answers;
mod connections;
mod crowds;
mod guarded;
mod malformed;
mod monitoring;
mod streams;
mod support;
