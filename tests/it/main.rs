//! The programs as users run them, on real Kafkas and on the embedded broker. One module a subject; a table
//! at its top says which of its tests run on which broker.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests may stop at what they did not expect"
)]

mod administration;
mod advertised;
mod answers;
mod causes;
mod channel;
mod clients;
mod codecs;
mod commit_modes;
mod dead_letters;
mod delivery;
mod delivery_failures;
mod docs;
mod documents;
mod durability;
mod envelope;
mod examples;
mod first_steps;
mod foreign_programs;
mod front_door;
mod full_disk;
mod guard;
mod guests;
mod harness;
mod hostile;
mod inputs;
mod kept_handlers;
mod leases;
mod logs;
mod looks;
mod metrics;
mod monitoring_files;
mod openapi;
mod outage;
mod packaging;
mod page;
mod peek;
mod positions;
mod programs;
mod pull_and_push;
mod push;
mod queue;
mod queue_by_hand;
mod removed;
mod rest;
mod roles;
mod rooms;
mod secured;
mod sending;
mod service_manager;
mod shortages;
mod sizes;
mod stopping;
mod supervisor;
mod support;
mod tls;
mod users;
