//! Free ports on loopback.

pub use testing::free_port;
