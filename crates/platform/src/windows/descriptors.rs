//! Handles that are used up.

use std::io;

/// The codes of errors: `ERROR_TOO_MANY_OPEN_FILES`, `ERROR_NO_SYSTEM_RESOURCES`, `WSAEMFILE` and
/// `WSAENOBUFS`.
pub const NONE_LEFT: [i32; 4] = [4, 1450, 10_024, 10_055];
/// A file that every process can open.
pub const ANY_FILE: &str = "NUL";

/// Whether the error says that no handle is left.
pub fn are_used_up(error: &io::Error) -> bool {
    error.raw_os_error().is_some_and(|code| NONE_LEFT.contains(&code))
}
