//! Ports for servers that a test stops and starts again on the same address.
//!
//! They are taken below the range from which the system serves outgoing connections (32768 on Linux): the
//! system may give a port of that range to any client while its server is down, and a client that connects to
//! it again and again can even connect to itself.

use std::net::{Ipv4Addr, TcpListener};
use std::sync::atomic::{AtomicU32, Ordering};

const FIRST: u32 = 20_000;
const COUNT: u32 = 10_000;

/// A port of the loopback address that nobody listens on; no two calls in this process give the same one.
pub fn free_port() -> u16 {
    static STEP: AtomicU32 = AtomicU32::new(0);
    // Test processes that run at the same time begin at different places.
    let start = std::process::id().wrapping_mul(37);
    for _ in 0..COUNT {
        let step = STEP.fetch_add(1, Ordering::Relaxed);
        let port = (FIRST + start.wrapping_add(step) % COUNT) as u16;
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
    panic!("no free port from {FIRST} on");
}
