//! File descriptors that are used up.

use std::io;

/// `ENFILE` and `EMFILE`, the same on every Unix: no file can be opened in the system, or in this process.
pub const NONE_LEFT: [i32; 2] = [23, 24];
/// A folder that every process can open, in a root without devices, too.
pub const ANY_FILE: &str = "/";

/// Whether the error says that no descriptor is left.
pub fn are_used_up(error: &io::Error) -> bool {
    error.raw_os_error().is_some_and(|code| NONE_LEFT.contains(&code))
}
