//! Tests of the store.

mod appending;
mod keeping;
mod support;
