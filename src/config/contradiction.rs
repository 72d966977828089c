//! Keys that contradict each other.

/// Two keys that contradict each other, each with the sentence for an error that names it. The first is named
/// unless the source of the second has the higher rank.
pub(super) type Contradiction = [(&'static str, String); 2];

/// Whether only this machine reaches `host:port`. The only such name is `localhost`.
pub(super) fn is_loopback(address: &str) -> bool {
    match address.parse::<std::net::SocketAddr>() {
        Ok(address) => address.ip().is_loopback(),
        Err(_) => address.rsplit_once(':').is_some_and(|(host, _)| host.eq_ignore_ascii_case("localhost")),
    }
}
