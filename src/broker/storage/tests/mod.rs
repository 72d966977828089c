//! Tests of the store.

mod appending;
mod crash;
mod damage;
mod disk;
mod faults;
mod keeping;
mod model;
mod support;
