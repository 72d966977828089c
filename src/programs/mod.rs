//! What each program does, for the binaries and for the subcommands of the default program.
//!
//! - [`base`]: what a program stands on: the embedded broker, the adapter
//! - [`producer_api`], [`consumer`], [`adapter`]: the three roles
//! - [`directory`]: what `producer_api` is told of the cluster
//! - [`onlooker`]: what the endpoint's page shows
//! - [`producer`]: sends lines and reports each delivery
//! - [`consumer_pull`], [`consumer_push`]: two other ways to consume
//! - [`readiness`]: whether messages can be stored now; `monitor`: what a consumer tells of itself
//! - [`supervise`]: the default program, which runs the others
//! - [`status`]: what is in the cluster
//! - [`dead_letters`]: what could not be handled: shown, replayed, discarded
//! - [`table`]: how both show rows

pub mod adapter;
pub mod base;
pub mod consumer;
pub mod consumer_pull;
pub mod consumer_push;
pub mod dead_letters;
pub mod directory;
mod monitor;
pub mod onlooker;
pub mod producer;
pub mod producer_api;
pub mod readiness;
pub mod status;
pub mod supervise;
pub mod table;
