//! Who may use the endpoint: what its address demands of the settings, and the token that clients have to show.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use subtle::ConstantTimeEq;

use super::answer::Refusal;
use super::private_file;
use crate::config::{MAX_TOKEN_BYTES, ProducerApiSettings, Secret, check_token};
use crate::error::{Error, Result};

const UNAUTHORIZED: Refusal = Refusal::new(
    401,
    "unauthorized",
    "This endpoint wants its token: `Authorization: Bearer` and the token that it was given.",
);

/// What may be read without the token: whether the endpoint is well, what it offers, and the page, which asks its
/// user for the token.
const OPEN: [&[u8]; 6] =
    [b"/", b"/page/style.css", b"/page/script.js", b"/healthz", b"/readyz", b"/openapi.json"];

/// A page can be open under its own site's name and yet reach this machine, if that site lets its name point here (DNS
/// rebinding); for the browser they are one site then. What it cannot do is to ask for another name.
const FOREIGN_NAME: Refusal = Refusal::new(
    403,
    "foreign_name",
    "Without a token this endpoint answers to IP addresses, to localhost and to the name in `producer_api.listen`, not to \
     other sites' names; if it is meant to, set a token, or `producer_api.anyone_may_send = true`.",
);

/// Names under these belong to no site of the internet (RFC 6761 §6.3; ICANN reserved `internal` in 2024).
const PRIVATE_SUFFIXES: [&[u8]; 2] = [b".localhost", b".internal"];

/// Decides who is let in, by what stands in the head of the request. The default one lets everybody in.
#[derive(Default)]
pub(crate) struct Guard {
    token: Option<Secret>,
    /// It has to be asked for by a name of this machine's; this one is in the settings.
    own_name: Option<String>,
}

impl Guard {
    /// The guard that the settings ask for; `tls` says whether clients have to speak it.
    ///
    /// # Errors
    /// Others can reach `address`, which takes a token and TLS, or `anyone_may_send`; or the file with the token
    /// cannot be used.
    pub(super) fn new(settings: &ProducerApiSettings, address: SocketAddr, tls: bool) -> Result<Guard> {
        let token = match &settings.token_file {
            Some(file) => Some(token_in(file)?),
            None => settings.token.clone(),
        };
        let guarded = token.is_some() && tls;
        if guarded || settings.anyone_may_send || address.ip().is_loopback() {
            // A rebound name has no certificate of ours, and its page no token.
            let trusts_names = tls || token.is_some() || settings.anyone_may_send;
            let own_name = (!trusts_names).then(|| settings.listen.clone());
            return Ok(Guard { token, own_name });
        }
        let error = format!(
            "producer_api.listen: {address} can be reached from elsewhere, which takes a token (producer_api.token_file, \
             or the environment variable POINT_TO_POINT__PRODUCER_API__TOKEN) and TLS (producer_api.tls_certificate and \
             producer_api.tls_key); or producer_api.anyone_may_send = true, if that is so"
        );
        Err(Error::new(error).about_settings())
    }

    /// Whether a request that was sent to `host` may go on.
    ///
    /// # Errors
    /// 403: it was sent to a name that may be another site's.
    pub(crate) fn check_host(&self, host: &[u8]) -> Result<(), Refusal> {
        let Some(own) = &self.own_name else { return Ok(()) };
        let (name, own) = (without_port(host), without_port(own.as_bytes()));
        if is_this_machines(name) || name.eq_ignore_ascii_case(own) { Ok(()) } else { Err(FOREIGN_NAME) }
    }

    /// Whether a request may go on. `target` is its path and query, `authorization` the header of that name.
    ///
    /// # Errors
    /// 401: it takes the token, and does not show it.
    pub(crate) fn check(
        &self,
        method: &str,
        target: &[u8],
        authorization: Option<&[u8]>,
    ) -> Result<(), Refusal> {
        let Some(token) = &self.token else { return Ok(()) };
        let shown = authorization.and_then(bearer);
        if shown.is_some_and(|shown| same(shown, token.expose().as_bytes())) || is_open(method, target) {
            return Ok(());
        }
        Err(UNAUTHORIZED)
    }
}

/// The host of `host:port`; an IPv6 address keeps its brackets.
fn without_port(host: &[u8]) -> &[u8] {
    let end = if host.starts_with(b"[") { None } else { host.iter().position(|&byte| byte == b':') };
    host.get(..end.unwrap_or(host.len())).unwrap_or_default()
}

/// Whether no site of the internet can have this name: it is an address, or has no dot, or a private suffix.
fn is_this_machines(name: &[u8]) -> bool {
    let name = name.strip_suffix(b".").unwrap_or(name);
    let is_under = |suffix: &&[u8]| {
        let at = name.len().saturating_sub(suffix.len());
        name.get(at..).is_some_and(|end| end.eq_ignore_ascii_case(suffix))
    };
    let is_address = || str::from_utf8(name).is_ok_and(|name| name.parse::<Ipv4Addr>().is_ok());
    name.starts_with(b"[") || !name.contains(&b'.') || PRIVATE_SUFFIXES.iter().any(is_under) || is_address()
}

/// The token in a file, without the end of its line.
fn token_in(file: &Path) -> Result<Secret> {
    const KEY: &str = "producer_api.token_file";
    let bytes = private_file::read(file, KEY)?;
    let text = String::from_utf8(bytes).unwrap_or_default();
    let token = text.trim_end_matches(['\r', '\n']);
    check_token(token).map(|()| Secret::new(token)).map_err(|sentence| {
        Error::new(format!("{KEY}: what is in {} {sentence}", file.display())).about_settings()
    })
}

/// What follows `Bearer` (RFC 6750 §2.1, RFC 9110 §11.4: the word in any case).
fn bearer(authorization: &[u8]) -> Option<&[u8]> {
    let (scheme, rest) = authorization.split_at_checked(b"Bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"Bearer ").then(|| rest.trim_ascii())
}

fn is_open(method: &str, target: &[u8]) -> bool {
    let path = target.split(|&byte| byte == b'?').next().unwrap_or_default();
    let path = if path.is_empty() { b"/" } else { path };
    matches!(method, "GET" | "HEAD") && OPEN.contains(&path)
}

/// Whether two words are the same, found out in a time that tells nothing of either: it is the same for all. Words
/// are no longer than a token may be and have no NUL in them.
pub(super) fn same(one: &[u8], other: &[u8]) -> bool {
    let padded = |word: &[u8]| {
        let mut bytes = [0; MAX_TOKEN_BYTES];
        bytes.get_mut(..word.len()).map(|start| start.copy_from_slice(word)).map(|()| bytes)
    };
    let (Some(one), Some(other)) = (padded(one), padded(other)) else { return false };
    one.ct_eq(&other).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "0123456789abcdef";

    fn settings() -> ProducerApiSettings {
        ProducerApiSettings::default()
    }

    fn guarded() -> ProducerApiSettings {
        ProducerApiSettings { token: Some(Secret::new(TOKEN)), ..settings() }
    }

    fn opens(settings: &ProducerApiSettings, address: &str, tls: bool) -> bool {
        Guard::new(settings, address.parse().unwrap(), tls).is_ok()
    }

    #[test]
    fn an_address_that_others_reach_takes_a_token_and_tls_or_a_word() {
        for address in ["127.0.0.1:5000", "127.1.2.3:0", "[::1]:5000"] {
            assert!(opens(&settings(), address, false) && opens(&guarded(), address, false), "{address}");
        }
        for address in ["0.0.0.0:5000", "192.168.1.1:5000", "[::]:5000", "[2001:db8::1]:5000"] {
            assert!(!opens(&settings(), address, false) && !opens(&settings(), address, true), "{address}");
            assert!(!opens(&guarded(), address, false) && opens(&guarded(), address, true), "{address}");
            assert!(opens(&ProducerApiSettings { anyone_may_send: true, ..settings() }, address, false));
        }
        let error = Guard::new(&settings(), "0.0.0.0:5000".parse().unwrap(), false).err().unwrap();
        assert!(error.is_about_settings(), "{error}");
    }

    #[test]
    fn only_the_right_token_opens_and_its_scheme_is_any_case() {
        let guard = Guard::new(&guarded(), "127.0.0.1:0".parse().unwrap(), false).unwrap();
        let check = |shown: Option<&str>| guard.check("POST", b"/enviar", shown.map(str::as_bytes));
        for right in ["Bearer 0123456789abcdef", "bearer   0123456789abcdef", "BEARER 0123456789abcdef "] {
            assert_eq!(check(Some(right)), Ok(()), "{right}");
        }
        let long = format!("Bearer {}", "x".repeat(10_000));
        for wrong in [
            "",
            "Bearer",
            "Bearer ",
            "Bearer 0123456789abcde",
            "Bearer 0123456789abcdeg",
            "Bearer 0123456789abcdef0",
            "Bearer 0123456789ABCDEF",
            "Bearer 0123456789abcdef 0123456789abcdef",
            "Basic 0123456789abcdef",
            "0123456789abcdef",
            "Bearer\t0123456789abcdef",
            &long,
        ] {
            assert_eq!(check(Some(wrong)), Err(UNAUTHORIZED), "{wrong}");
        }
        assert_eq!(check(None), Err(UNAUTHORIZED));
    }

    #[test]
    fn health_and_the_page_are_open_for_reading_and_nothing_else_is() {
        let guard = Guard::new(&guarded(), "127.0.0.1:0".parse().unwrap(), false).unwrap();
        let is_open = |method, target: &str| guard.check(method, target.as_bytes(), None).is_ok();
        for target in ["/", "", "?a", "/healthz", "/readyz?verbose", "/openapi.json", "/page/style.css"] {
            assert!(is_open("GET", target) && is_open("HEAD", target), "{target:?}");
            assert!(!is_open("POST", target) && !is_open("get", target), "{target:?}");
        }
        for target in
            ["/enviar", "/metrics", "//", "/healthz/", "/HEALTHZ", "/%68ealthz", "/page/", "/events", "*"]
        {
            assert!(!is_open("GET", target), "{target:?}");
        }
    }

    #[test]
    fn without_a_token_everything_is_open() {
        let guard = Guard::new(&settings(), "127.0.0.1:0".parse().unwrap(), false).unwrap();
        assert_eq!(guard.check("POST", b"/enviar", None), Ok(()));
        assert_eq!(guard.check("POST", b"/enviar", Some(b"Bearer anything")), Ok(()));
    }

    #[test]
    fn on_loopback_without_a_token_other_sites_names_are_refused() {
        let guard = |settings: &ProducerApiSettings, tls| {
            Guard::new(settings, "127.0.0.1:5000".parse().unwrap(), tls).unwrap()
        };
        let named = ProducerApiSettings { listen: "Queue.example.org:5000".to_owned(), ..settings() };
        let (bare, named) = (guard(&settings(), false), guard(&named, false));
        for host in [
            "127.0.0.1:5000",
            "127.0.0.1",
            "192.168.1.1:80",
            "[::1]:5000",
            "localhost:5000",
            "LOCALHOST.",
            "queue.localhost:5000",
            "host.docker.internal:5000",
            "queue:5000",
            "",
        ] {
            assert_eq!(bare.check_host(host.as_bytes()), Ok(()), "{host}");
        }
        for host in [
            "evil.example:5000",
            "evil.example",
            "127.0.0.1.evil.example",
            "x.localhost.example",
            "a.b.:5",
            "1.2.3",
        ] {
            assert_eq!(bare.check_host(host.as_bytes()), Err(FOREIGN_NAME), "{host}");
        }
        assert_eq!(named.check_host(b"queue.example.org:5000"), Ok(()));
        assert_eq!(named.check_host(b"example.org:5000"), Err(FOREIGN_NAME));
        let open = ProducerApiSettings { anyone_may_send: true, ..settings() };
        for guard in [guard(&guarded(), false), guard(&settings(), true), guard(&open, false)] {
            assert_eq!(guard.check_host(b"queue.example:5000"), Ok(()));
        }
    }

    #[test]
    fn words_are_the_same_only_if_all_their_bytes_are() {
        assert!(same(b"", b"") && same(b"a", b"a"));
        assert!(!same(b"a", b"") && !same(b"a", b"b") && !same(b"a", b"ab"));
        let longest = [b'x'; MAX_TOKEN_BYTES];
        assert!(same(&longest, &longest) && !same(&longest, &longest[1..]));
        assert!(!same(&[b'x'; MAX_TOKEN_BYTES + 1], &[b'x'; MAX_TOKEN_BYTES + 1]));
    }
}
