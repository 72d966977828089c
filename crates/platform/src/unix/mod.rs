//! The systems with POSIX.

pub mod descriptors;
pub mod disks;
pub mod files;
pub mod link;
pub mod outputs;
pub mod paths;
pub mod pipes;
mod poll_time;
pub mod processes;
pub mod programs;
pub mod sockets;
pub mod terminal;
