//! What each program does, for the binaries and for the subcommands of the default program.
//!
//! - [`base`]: what a program stands on: the embedded broker, the adapter
//! - [`producer_api`], [`consumer`], [`adapter`]: the three roles
//! - [`supervise`]: the default program, which runs the others
//! - [`status`]: what is in the cluster

pub mod adapter;
pub mod base;
pub mod consumer;
pub mod producer_api;
pub mod status;
pub mod supervise;
