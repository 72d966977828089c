//! Tools for the tests of several crates: seeded chance, free ports, certificates, an output that is kept.

#![allow(clippy::indexing_slicing, clippy::panic, reason = "tests may stop at what they did not expect")]

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
pub mod certificates;
mod kept;
mod ports;
mod random;

pub use kept::Kept;
pub use ports::free_port;
pub use random::Random;
