//! The address of a token endpoint.

use std::fmt;

/// An `http` or `https` address.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Url {
    pub is_https: bool,
    /// The name or address, an IPv6 one without its brackets.
    pub host: String,
    pub port: u16,
    /// Path and query.
    pub target: String,
}

impl Url {
    /// Reads `text`.
    ///
    /// # Errors
    /// A sentence about what is wrong with it.
    pub fn read(text: &str) -> Result<Url, String> {
        let is_visible = text.bytes().all(|byte| byte.is_ascii_graphic());
        let (scheme, rest) = text.split_once("://").filter(|_| is_visible).ok_or("it is no address")?;
        let is_https = match scheme.to_ascii_lowercase().as_str() {
            "https" => true,
            "http" => false,
            _ => return Err("it begins neither with https:// nor with http://".to_owned()),
        };
        let rest = rest.split('#').next().unwrap_or_default();
        let (authority, target) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        if authority.contains('@') {
            return Err("it has a user name; the client id is a setting of its own".to_owned());
        }
        let (host, port) = split_port(authority).ok_or("its host or port is none")?;
        let port = match port {
            Some(port) => port.parse().map_err(|_| "its port is none")?,
            None if is_https => 443,
            None => 80,
        };
        if host.is_empty() || port == 0 {
            return Err("its host or port is none".to_owned());
        }
        let target = if target.starts_with('/') { target.to_owned() } else { format!("/{target}") };
        Ok(Url { is_https, host: host.to_owned(), port, target })
    }

    /// Whether its host is this computer.
    pub fn is_local(&self) -> bool {
        let is_loopback = self.host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
        is_loopback || self.host.eq_ignore_ascii_case("localhost")
    }

    /// `host:port`, as it is connected to and as the `Host` header has it.
    pub fn authority(&self) -> String {
        match self.host.contains(':') {
            true => format!("[{}]:{}", self.host, self.port),
            false => format!("{}:{}", self.host, self.port),
        }
    }
}

impl fmt::Debug for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Url({self})")
    }
}

impl fmt::Display for Url {
    /// Without the query, which may hold secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.target.split('?').next().unwrap_or_default();
        write!(f, "{}://{}{path}", if self.is_https { "https" } else { "http" }, self.authority())
    }
}

/// Host and port of `authority`; the host of `[::1]:80` is `::1`.
fn split_port(authority: &str) -> Option<(&str, Option<&str>)> {
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => rest.split_once(']')?,
        None => authority.split_at(authority.find(':').unwrap_or(authority.len())),
    };
    match port {
        "" => Some((host, None)),
        port => Some((host, Some(port.strip_prefix(':')?))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_taken_apart() {
        let url = Url::read("https://login.example.com/oauth2/v1/token?tenant=a").unwrap();
        assert_eq!((url.is_https, url.host.as_str(), url.port), (true, "login.example.com", 443));
        assert_eq!(url.target, "/oauth2/v1/token?tenant=a");
        assert_eq!(url.to_string(), "https://login.example.com:443/oauth2/v1/token");
        assert_eq!(format!("{url:?}"), "Url(https://login.example.com:443/oauth2/v1/token)");
        assert!(!url.is_local());
        let url = Url::read("HTTP://[::1]:8080?x").unwrap();
        assert_eq!((url.is_https, url.host.as_str(), url.port), (false, "::1", 8080));
        assert_eq!((url.target.as_str(), url.authority().as_str()), ("/?x", "[::1]:8080"));
        assert!(url.is_local());
        assert!(Url::read("http://localhost").unwrap().is_local());
        assert!(Url::read("http://127.0.0.9:1").unwrap().is_local());
        assert!(!Url::read("http://localhost.example.com").unwrap().is_local());
    }

    #[test]
    fn anything_else_is_refused() {
        let wrong = [
            "",
            "login",
            "ftp://x/",
            "https://",
            "https:///token",
            "https://x:0/",
            "https://x:99999/",
            "https://x:/",
            "https://[::1/",
            "https://a b/",
            "https://user:pw@x/",
            "https://x\r\nHost: y/",
        ];
        for text in wrong {
            assert!(Url::read(text).is_err(), "{text:?}");
        }
    }
}
