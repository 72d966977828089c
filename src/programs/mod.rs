//! The programs, for the binaries and for the subcommands of the default program.
//!
//! - [`adapter_access`]: access to the adapter, in the own process or in the supervisor
//! - [`producer_api`], [`consumer`], [`adapter`]: the three roles
//! - [`topic_directory`]: the topics of the cluster, for `producer_api`
//! - [`message_source`]: the messages of any topic, for the endpoint
//! - [`dashboard_source`]: the state of the cluster, for the endpoint's page
//! - [`producer`]: sends lines and reports each delivery
//! - [`consumer_pull`], [`consumer_push`]: two other ways to consume
//! - [`lease_queues`]: the messages that the endpoint hands out
//! - [`readiness`]: whether messages can be stored now; [`service`]: what systemd, or the supervisor, is told
//! - [`lag_monitor`]: a consumer's metrics and their endpoint;
//!   [`channel_monitor`]: those of topic, dead letters and store
//! - [`warnings`]: what is wrong and keeps no message from being stored or handled
//! - [`endpoint_word`]: what the endpoint says of itself, for `status`
//! - [`health`]: whether the endpoint is alive
//! - [`endpoint_client`]: how the endpoint, and others like it, are reached
//! - [`supervise`]: the default program, which runs the others
//! - [`status`]: tables of topics, groups and lag; [`status_json`]: the same as JSON;
//!   [`open_messages`]: the tables of work queues
//! - [`peek`]: looks into a topic without a group
//! - [`queue`]: lists the waiting messages, attempts them now, puts them aside
//! - [`dead_letters`]: lists, shows, replays and discards dead letters
//! - [`groups`]: lists and describes consumer groups, resets what they have committed
//! - [`topics`]: creates, alters, deletes, lists and describes topics
//! - [`administration`]: how these commands reach the cluster, and what they say of names
//! - [`users`]: adds, removes and lists the users of the endpoint; [`password_input`] reads a password
//! - [`table`]: the text tables of these

pub mod adapter;
pub mod adapter_access;
mod administration;
mod channel_monitor;
pub mod consumer;
pub mod consumer_pull;
pub mod consumer_push;
pub mod dashboard_source;
pub mod dead_letters;
mod endpoint_client;
mod endpoint_word;
pub mod groups;
pub mod health;
mod lag_monitor;
mod lease_queues;
mod message_name;
mod message_source;
mod open_messages;
mod password_input;
pub mod peek;
pub mod producer;
pub mod producer_api;
pub mod queue;
pub mod readiness;
pub mod service;
pub mod status;
mod status_json;
pub mod supervise;
pub mod table;
pub mod topic_directory;
pub mod topics;
pub mod users;
pub mod warnings;
