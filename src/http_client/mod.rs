//! What the HTTP client is made with wherever the project sends requests.
//!
//! - [`connector`]: connections, with TLS or without, whose errors name their phase
//! - [`address`]: which addresses are of the local network

mod address;
mod connector;

use std::fmt::Write;

pub use connector::{Connect, Failed, LONGEST_HEAD, Lookup};

/// Bytes as text in which those that are not plain are percent-encoded (RFC 3986 §2.1).
pub fn percent_encoded(bytes: &[u8], is_plain: impl Fn(u8) -> bool) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len()), |mut text, &byte| {
        if is_plain(byte) {
            text.push(char::from(byte));
        } else {
            // Writing to a text does not fail.
            let _ = write!(text, "%{byte:02X}");
        }
        text
    })
}
