//! What differs between Unix and Windows, with one interface: all else is written once. The two folders have
//! the same modules; a difference that users see is in `docs/building.md`.
//!
//! - [`pipes`]: the ends of pipes to other programs, which never wait, and the wait for several of them
//! - [`outputs`]: standard output and standard error, as they are shared with other programs
//! - [`processes`]: a program that is killed with all that it started, and the end of this process
//! - [`programs`]: where the program of a command line is, and whether the system starts it
//! - [`link`]: the connection between a supervisor and its child
//! - [`files`]: who may read a file, which file it is, and reads and writes at a position
//! - [`disks`]: the space of a disk, and how it refuses
//! - [`sockets`]: how their readiness and their end are told
//! - [`terminal`]: a terminal that shows nothing
//! - [`descriptors`]: the error that says that none is left
//! - [`paths`]: a path as bytes

#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

#[cfg(unix)]
pub use unix::{
    descriptors, disks, files, link, outputs, paths, pipes, processes, programs, sockets, terminal,
};
#[cfg(windows)]
pub use windows::{
    descriptors, disks, files, link, outputs, paths, pipes, processes, programs, sockets, terminal,
};

#[cfg(not(any(unix, windows)))]
compile_error!("this system is neither a Unix nor Windows");

#[cfg(test)]
mod tests;
