//! What the HTTP client is made with wherever the project sends requests.
//!
//! - [`connector`]: connections, with TLS or without, whose errors name their phase
//! - [`address`]: which addresses are of the local network
//! - [`config`]: what all clients have in common

mod address;
mod connector;

use std::fmt::Write;

use ureq::Agent;
use ureq::config::ConfigBuilder;
use ureq::typestate::AgentScope;

pub use connector::{Connect, Failed, LONGEST_HEAD, Lookup};

/// What every client of the project has: it follows no redirect, asks no proxy, takes any status for an
/// answer, and wants bodies as they are.
pub fn config() -> ConfigBuilder<AgentScope> {
    Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .proxy(None)
        .user_agent(concat!("point-to-point/", env!("CARGO_PKG_VERSION")))
        .accept_encoding("identity")
}

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
