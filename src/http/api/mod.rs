//! The routes of the endpoint, without HTTP's bytes and without `tiny_http`.
//!
//! - [`enviar`] takes a message for the channel's topic, [`rest`] takes records for any topic and describes
//!   the cluster, [`dead_letters`] replays dead letters; [`message_api`] dispatches bodies to the three
//! - [`health`] is `/healthz`, `/readyz` and `/metrics`, [`openapi`] is the description of all routes
//! - [`record_fields`] reads what a request's headers say of its records, [`message_key`] finds the key in
//!   a body, [`content_encoding`] unpacks bodies, [`media_type`] tells them apart
//! - [`query`] reads the parameters of a request, [`json`] and [`uri`] check and decode the rest of it
//! - [`metadata_cache`] asks the cluster about topics and brokers, [`delivery_status`] turns delivery reports
//!   into statuses
//! - [`worker_pool`] has the threads for requests whose answer takes seconds
//!
//! No handler waits: a response that is not known yet is sent later, through the request's
//! [`Responder`](super::responder::Responder).

pub(crate) mod content_encoding;
pub(crate) mod dead_letters;
pub(crate) mod delivery_status;
pub(crate) mod enviar;
pub(crate) mod health;
pub(crate) mod json;
pub(crate) mod letter_search;
pub(crate) mod media_type;
pub(crate) mod message_api;
pub(crate) mod message_key;
pub(crate) mod metadata_cache;
pub(crate) mod openapi;
pub(crate) mod query;
pub(crate) mod queues;
pub(crate) mod record_fields;
pub(crate) mod rest;
pub(crate) mod uri;
pub(crate) mod worker_pool;
