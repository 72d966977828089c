//! A path as bytes, and back: its UTF-16, which need not be valid, in little-endian order.

use std::ffi::{OsStr, OsString};
use std::os::windows::ffi::{OsStrExt, OsStringExt};

/// The bytes of a path.
pub fn to_bytes(path: &OsStr) -> Vec<u8> {
    path.encode_wide().flat_map(u16::to_le_bytes).collect()
}

/// The path of which [`to_bytes`] has made these bytes; `None` for other bytes.
pub fn from_bytes(bytes: Vec<u8>) -> Option<OsString> {
    let (units, []) = bytes.as_chunks::<2>() else { return None };
    let wide: Vec<u16> = units.iter().map(|unit| u16::from_le_bytes(*unit)).collect();
    Some(OsString::from_wide(&wide))
}
