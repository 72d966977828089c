//! Windows, by what is safe in the standard library and in small crates.

pub mod descriptors;
pub mod disks;
pub mod files;
pub mod link;
pub mod outputs;
pub mod paths;
pub mod pipes;
pub mod processes;
pub mod programs;
pub mod sockets;
pub mod terminal;
