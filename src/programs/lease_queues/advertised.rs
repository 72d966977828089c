//! The address under which other endpoints of a group reach this one. Its member in the group tells it to
//! whoever describes the group, in its user data: a version (1 byte), the endpoint's id (8 bytes), and
//! `host:port` as text, which is empty where there is no address to tell.

use std::net::{IpAddr, SocketAddr};

use super::receipt::EndpointId;
use crate::config::{ProducerApiSettings, port_of};

/// The version of the form.
const VERSION: u8 = 1;
/// The longest `host:port`, in bytes.
const LONGEST: usize = 300;

/// What a member tells of its endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// Which endpoint it is.
    pub endpoint: EndpointId,
    /// Its `host:port`; `None`: it tells none, or none that can be connected to.
    pub address: Option<String>,
}

impl Told {
    /// The user data of a member.
    pub fn encode(&self) -> Vec<u8> {
        let address = self.address.as_deref().unwrap_or_default();
        [&[VERSION][..], &self.endpoint, address.as_bytes()].concat()
    }

    /// Reads the user data of any member; `None`: it is no endpoint's.
    pub fn decode(bytes: &[u8]) -> Option<Told> {
        let rest = bytes.strip_prefix(&[VERSION])?;
        let (endpoint, address) = rest.split_first_chunk()?;
        let address = str::from_utf8(address).ok().filter(|address| can_be_connected_to(address));
        Some(Told { endpoint: *endpoint, address: address.map(str::to_owned) })
    }
}

/// Whoever may join the group can tell any address: nothing but `host:port` gets into a URL.
fn can_be_connected_to(address: &str) -> bool {
    let host = address.rsplit_once(':').map_or("", |(host, _)| host).trim_matches(['[', ']']);
    let is_unspecified = host.parse::<IpAddr>().is_ok_and(|address| address.is_unspecified());
    address.len() <= LONGEST && port_of(address).is_some_and(|port| port > 0) && !is_unspecified
}

/// The `host:port` of an endpoint with these settings that listens at `address`; `None` where the settings
/// name none, and it listens at all addresses of its machine, which is none itself.
pub fn address_of(settings: &ProducerApiSettings, address: SocketAddr) -> Option<String> {
    if let Some((host, port)) = &settings.advertised {
        let is_v6 = host.contains(':');
        return Some(if is_v6 { format!("[{host}]:{port}") } else { format!("{host}:{port}") });
    }
    let host = settings.listen.rsplit_once(':').map_or("", |(host, _)| host);
    (!address.ip().is_unspecified()).then(|| format!("{host}:{}", address.port()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(address: &str) -> Option<String> {
        let told = Told { endpoint: [7; 8], address: Some(address.to_owned()) };
        let read = Told::decode(&told.encode()).unwrap();
        assert_eq!(read.endpoint, told.endpoint);
        read.address
    }

    #[test]
    fn an_address_is_read_as_it_was_told_and_nothing_else_is_one() {
        for address in ["127.0.0.1:5000", "a-b_c.example:1", "[::1]:65535"] {
            assert_eq!(told(address).as_deref(), Some(address));
        }
        let long = format!("{}:1", "a".repeat(LONGEST));
        for wrong in [
            "",
            "a",
            ":1",
            "a:",
            "a:0",
            "a:65536",
            "a:1/x",
            "u@a:1",
            "a b:1",
            "a\r\n:1",
            "::1:1",
            "0.0.0.0:1",
            "[::]:1",
            "é:1",
            "http://a:1",
            "a?:1",
            "a#:1",
            &long,
        ] {
            assert_eq!(told(wrong), None, "{wrong:?}");
        }
        for bytes in [&b""[..], &[VERSION], &[VERSION, 1, 2, 3], &[2; 20]] {
            assert_eq!(Told::decode(bytes), None);
        }
    }

    #[test]
    fn the_own_address_is_the_advertised_one_or_where_it_listens() {
        let of = |listen: &str, advertised: Option<(&str, u16)>, address: &str| {
            let advertised = advertised.map(|(host, port)| (host.to_owned(), port));
            let settings =
                ProducerApiSettings { listen: listen.to_owned(), advertised, ..Default::default() };
            address_of(&settings, address.parse().unwrap())
        };
        assert_eq!(of("localhost:0", None, "127.0.0.1:41").as_deref(), Some("localhost:41"));
        assert_eq!(of("[::1]:5000", None, "[::1]:5000").as_deref(), Some("[::1]:5000"));
        assert_eq!(of("0.0.0.0:5000", None, "0.0.0.0:5000"), None);
        assert_eq!(of("0.0.0.0:5000", Some(("a.b", 1)), "0.0.0.0:5000").as_deref(), Some("a.b:1"));
        assert_eq!(
            of("127.0.0.1:1", Some(("2001:db8::1", 2)), "127.0.0.1:1").as_deref(),
            Some("[2001:db8::1]:2")
        );
    }
}
