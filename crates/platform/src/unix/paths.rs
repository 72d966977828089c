//! A path as bytes, and back.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

/// The bytes of a path.
pub fn to_bytes(path: &OsStr) -> Vec<u8> {
    path.as_bytes().to_vec()
}

/// The path of which [`to_bytes`] has made these bytes; `None` for other bytes.
pub fn from_bytes(bytes: Vec<u8>) -> Option<OsString> {
    Some(OsString::from_vec(bytes))
}
