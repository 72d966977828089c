//! Tests of the store.

mod appending;
mod crash;
mod damage;
mod disk_errors;
mod model;
mod reclaiming;
mod retention;
mod simulated_disk;
mod support;
