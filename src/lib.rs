//! A point-to-point channel on Apache Kafka: `POST` a message and exactly one worker of the group gets it.
//!
//! Layers, each knowing only the next: [`http`] → [`channel`] → (the `kafka` crate, over a socket) →
//! [`adapter`] → [`cluster`] → (a socket) → Kafka, or the embedded [`broker`]. [`protocol`] is bytes without I/O and
//! depends on nothing here. What they count is in [`metrics`]. [`programs`] puts them together; [`supervisor`] runs
//! programs as child processes.

pub mod adapter;
pub mod broker;
pub mod channel;
pub mod cli;
pub mod cluster;
pub mod config;
pub mod error;
pub mod http;
pub mod logging;
pub mod message;
pub mod metrics;
mod net;
pub mod programs;
pub mod protocol;
pub mod request_id;
pub mod stop;
pub mod supervisor;
