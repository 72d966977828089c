//! The access policy: the settings that an address requires, and the token that clients must send.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use super::cors::AllowedOrigins;
use super::secret_file;
use super::user_access::{CheckedPassword, Credentials, Sender, UserAccess, Waiter, bearer};
use crate::dead_letters::source_topic;
use crate::error::{Error, Result};
use crate::http::backend::demand::{Demand, demand};
use crate::http::constant_time::equal;
use crate::http::response::{ErrorResponse, Response};
use crate::http::settings::{AccessToken, EndpointSettings, check_token};
use crate::users::{Right, User};

const UNAUTHORIZED: ErrorResponse = ErrorResponse::new(
    401,
    "unauthorized",
    "This endpoint wants its token: `Authorization: Bearer` and the token that it was given.",
);

const NO_USER: ErrorResponse = ErrorResponse::new(
    401,
    "unauthorized",
    "This endpoint wants to know its user: `Authorization: Bearer` and a token, `Authorization: Basic` with name and \
     password, or a client certificate.",
);

/// The header line that names the authentication scheme of passwords (RFC 7617 §2).
const BASIC: &str = "WWW-Authenticate: Basic realm=\"point-to-point\", charset=\"UTF-8\"\r\n";

const MAY_NOT_SEND: ErrorResponse =
    ErrorResponse::new(403, "missing_right", "This takes the right `send`, which this user does not have.");
const MAY_NOT_RECEIVE: ErrorResponse = ErrorResponse::new(
    403,
    "missing_right",
    "This takes the right `receive`, which this user does not have.",
);
const MAY_NOT_READ: ErrorResponse =
    ErrorResponse::new(403, "missing_right", "This takes the right `read`, which this user does not have.");
const IS_NO_ADMIN: ErrorResponse =
    ErrorResponse::new(403, "missing_right", "This takes the right `admin`, which this user does not have.");
const OTHER_TOPIC: ErrorResponse = ErrorResponse::new(
    403,
    "topic_not_allowed",
    "This user may not use this topic: `point-to-point users list` shows the topics of each user.",
);

/// The paths that may be read without the token: health, the description of the routes, and the page, which
/// asks its user for the token.
const PUBLIC_PATHS: [&[u8]; 9] = [
    b"/",
    b"/page/style.css",
    b"/page/script.js",
    b"/healthz",
    b"/readyz",
    b"/healthy",
    b"/ready",
    b"/_health",
    b"/openapi.json",
];

/// The refusal of a request to the name of another site. That site may let its name point to this machine
/// (DNS rebinding); for a browser its page and this endpoint are one site then. The page cannot send another
/// name.
const FOREIGN_NAME: ErrorResponse = ErrorResponse::new(
    403,
    "foreign_name",
    "Without a token this endpoint answers to IP addresses, to localhost and to the name in `producer_api.listen`, not \
     to other sites' names; if it is meant to, set a token, or `producer_api.anyone_may_send = true`.",
);

/// The suffixes of names that no site of the internet has (RFC 6761 §6.3; ICANN reserved `internal` in 2024).
const PRIVATE_SUFFIXES: [&[u8]; 2] = [b".localhost", b".internal"];

/// Whether a request is served, as far as its head tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Access {
    /// It is, unless this user lacks a right. No user: the path is public, the endpoint asks for no token, or
    /// the request has the endpoint's own.
    Known(Option<Arc<User>>),
    /// Not before this password is checked.
    Unchecked(Credentials),
}

/// Decides by the head of a request whether it is served. The default policy serves every request.
#[derive(Default)]
pub(crate) struct AccessPolicy {
    token: Option<AccessToken>,
    users: Option<UserAccess>,
    /// Requests must name this machine in `Host`, or the name that the settings listen on: this one.
    own_name: Option<String>,
    /// The origins of other sites whose pages are served.
    pub(super) origins: AllowedOrigins,
}

impl AccessPolicy {
    /// The policy of these settings; `tls`: clients have to speak TLS.
    ///
    /// # Errors
    /// Other machines can reach `address`, which requires a token and TLS, or `anyone_may_send`; or the file
    /// with the token cannot be used.
    pub(super) fn new(settings: &EndpointSettings, address: SocketAddr, tls: bool) -> Result<AccessPolicy> {
        let token = match &settings.token_file {
            Some(file) => Some(token_in(file)?),
            None => settings.token.clone(),
        };
        let has_senders = token.is_some() || settings.users_file.is_some();
        let guarded = has_senders && tls;
        if guarded || settings.anyone_may_send || address.ip().is_loopback() {
            // A page under a rebound name has neither the certificate of this endpoint nor the token.
            let trusts_names = tls || has_senders || settings.anyone_may_send;
            let own_name = (!trusts_names).then(|| settings.listen.clone());
            let origins = AllowedOrigins::new(&settings.allowed_origins);
            return Ok(AccessPolicy { token, users: None, own_name, origins });
        }
        let error = format!(
            "producer_api.listen: {address} can be reached from elsewhere, which takes a token \
             (producer_api.token_file, or the environment variable POINT_TO_POINT__PRODUCER_API__TOKEN) or users \
             (producer_api.users_file), and TLS \
             (producer_api.tls_certificate and producer_api.tls_key); or producer_api.anyone_may_send = true, if that is so"
        );
        Err(Error::new(error).about_settings())
    }

    /// Checks the `Host` of a request.
    ///
    /// # Errors
    /// 403: the name may be another site's.
    pub(super) fn check_host(&self, host: &[u8]) -> Result<(), ErrorResponse> {
        let Some(own) = &self.own_name else { return Ok(()) };
        let (name, own) = (without_port(host), without_port(own.as_bytes()));
        if is_local_name(name) || name.eq_ignore_ascii_case(own) { Ok(()) } else { Err(FOREIGN_NAME) }
    }

    /// The same policy with users.
    pub(super) fn with_users(self, users: Option<UserAccess>) -> AccessPolicy {
        AccessPolicy { users, ..self }
    }

    /// Finds the sender of a request. `target` is its path and query, `authorization` the header of that
    /// name, `certificate_name` is the name in the client's verified certificate.
    ///
    /// # Errors
    /// 401: the path requires a token or a user, and the request has none.
    pub(super) fn identify(
        &mut self,
        method: &str,
        target: &[u8],
        authorization: Option<&[u8]>,
        certificate_name: Option<&str>,
    ) -> Result<Access, ErrorResponse> {
        if self.token.is_none() && self.users.is_none() || is_public(method, target) {
            return Ok(Access::Known(None));
        }
        if let (Some(token), Some(sent)) = (&self.token, authorization.and_then(bearer))
            && equal(sent, token.expose().as_bytes())
        {
            return Ok(Access::Known(None));
        }
        match self.users.as_mut().map(|users| users.sender(authorization, certificate_name)) {
            Some(Sender::User(user)) => Ok(Access::Known(Some(user))),
            Some(Sender::Unchecked(credentials)) => Ok(Access::Unchecked(credentials)),
            Some(Sender::Nobody) | None => Err(self.unauthorized()),
        }
    }

    /// Checks the rights of the user that sends a request.
    ///
    /// # Errors
    /// 403: the user lacks a right, or the topic is none of its own.
    pub(super) fn permit(
        &self,
        user: Option<&User>,
        method: &[u8],
        target: &[u8],
    ) -> Result<(), ErrorResponse> {
        let (Some(user), Some(users)) = (user, &self.users) else { return Ok(()) };
        let method = str::from_utf8(method).unwrap_or_default();
        let Some(demand) = demand(method, with_path(target)) else { return Ok(()) };
        if !user.has(demand.right()) {
            return Err(match demand.right() {
                Right::Send => MAY_NOT_SEND,
                Right::Receive => MAY_NOT_RECEIVE,
                Right::Read => MAY_NOT_READ,
                Right::Admin => IS_NO_ADMIN,
            });
        }
        let channel = users.channel_topic();
        let may_use = match &demand {
            Demand::Right(_) => true,
            Demand::SendToChannel | Demand::ReceiveFromChannel => user.may_use(channel, channel),
            Demand::SendTo(topic) | Demand::ReceiveFrom(topic) => user.may_use(topic, channel),
            Demand::ReadFrom(topic) => {
                let source = source_topic(topic).unwrap_or(topic);
                user.may_use(topic, channel) || user.may_use(source, channel)
            }
        };
        if may_use { Ok(()) } else { Err(OTHER_TOPIC) }
    }

    /// 401: nobody is known to have sent the request.
    pub(super) fn unauthorized(&self) -> ErrorResponse {
        if self.users.is_some() { NO_USER } else { UNAUTHORIZED }
    }

    /// The response to a request that is refused; a 401 names every scheme that may be used.
    pub(super) fn refusal(&self, error: ErrorResponse) -> Response {
        let takes_passwords = self.users.as_ref().is_some_and(UserAccess::take_passwords);
        let response = error.response();
        if error.status == 401 && takes_passwords { response.with(BASIC) } else { response }
    }

    /// Has a password checked for `waiter`.
    ///
    /// # Errors
    /// 429 or 503: too many wait already.
    pub(super) fn check(
        &self,
        credentials: Credentials,
        address: IpAddr,
        waiter: Waiter,
        now: Instant,
    ) -> Result<(), ErrorResponse> {
        match &self.users {
            Some(users) => users.check(credentials, address.into(), waiter, now),
            None => Err(self.unauthorized()),
        }
    }

    /// Takes the passwords that were checked since the last call; returns whether the users have changed.
    pub(super) fn take_news(&mut self, checked: &mut Vec<CheckedPassword>) -> bool {
        self.users.as_mut().is_some_and(|users| users.take_news(checked))
    }

    /// Whether `user` is still a user, and unchanged.
    pub(super) fn still_has(&self, user: &User) -> bool {
        self.users.as_ref().is_some_and(|users| users.still_have(user))
    }
}

/// The host of `host:port`; an IPv6 address keeps its brackets.
fn without_port(host: &[u8]) -> &[u8] {
    let end = if host.starts_with(b"[") { None } else { host.iter().position(|&byte| byte == b':') };
    host.get(..end.unwrap_or(host.len())).unwrap_or_default()
}

/// Whether no site of the internet can have this name: it is an address, has no dot, or has a private suffix.
fn is_local_name(name: &[u8]) -> bool {
    let name = name.strip_suffix(b".").unwrap_or(name);
    let is_under = |suffix: &&[u8]| {
        let at = name.len().saturating_sub(suffix.len());
        name.get(at..).is_some_and(|end| end.eq_ignore_ascii_case(suffix))
    };
    let is_address = || str::from_utf8(name).is_ok_and(|name| name.parse::<Ipv4Addr>().is_ok());
    name.starts_with(b"[") || !name.contains(&b'.') || PRIVATE_SUFFIXES.iter().any(is_under) || is_address()
}

/// The token in a file, without the line end.
fn token_in(file: &Path) -> Result<AccessToken> {
    const KEY: &str = "producer_api.token_file";
    let bytes = secret_file::read(file, KEY)?;
    let text = String::from_utf8(bytes).unwrap_or_default();
    let token = text.trim_end_matches(['\r', '\n']);
    check_token(token).map(|()| AccessToken::new(token)).map_err(|sentence| {
        Error::new(format!("{KEY}: what is in {} {sentence}", file.display())).about_settings()
    })
}

/// Whether a request only looks, and is answered from what is known.
pub(super) fn is_look(method: &[u8], target: &[u8]) -> bool {
    let is_metrics = method == b"GET" && target == b"/metrics";
    is_metrics || str::from_utf8(method).is_ok_and(|method| is_public(method, target))
}

fn is_public(method: &str, target: &[u8]) -> bool {
    let path = with_path(target).split(|&byte| byte == b'?').next().unwrap_or_default();
    matches!(method, "GET" | "HEAD") && PUBLIC_PATHS.contains(&path)
}

/// A target that begins with its query, or is empty, has the path `/`, to which no right belongs.
fn with_path(target: &[u8]) -> &[u8] {
    if matches!(target, [] | [b'?', ..]) { b"/" } else { target }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "0123456789abcdef";

    fn settings() -> EndpointSettings {
        EndpointSettings::default()
    }

    fn guarded() -> EndpointSettings {
        EndpointSettings { token: Some(AccessToken::new(TOKEN)), ..settings() }
    }

    fn opens(settings: &EndpointSettings, address: &str, tls: bool) -> bool {
        AccessPolicy::new(settings, address.parse().unwrap(), tls).is_ok()
    }

    #[test]
    fn an_address_that_others_reach_requires_a_token_and_tls_or_anyone_may_send() {
        for address in ["127.0.0.1:5000", "127.1.2.3:0", "[::1]:5000"] {
            assert!(opens(&settings(), address, false) && opens(&guarded(), address, false), "{address}");
        }
        for address in ["0.0.0.0:5000", "192.168.1.1:5000", "[::]:5000", "[2001:db8::1]:5000"] {
            assert!(!opens(&settings(), address, false) && !opens(&settings(), address, true), "{address}");
            assert!(!opens(&guarded(), address, false) && opens(&guarded(), address, true), "{address}");
            assert!(opens(&EndpointSettings { anyone_may_send: true, ..settings() }, address, false));
        }
        let error = AccessPolicy::new(&settings(), "0.0.0.0:5000".parse().unwrap(), false).err().unwrap();
        assert!(error.is_about_settings(), "{error}");
    }

    #[test]
    fn only_the_right_token_is_accepted_and_its_scheme_in_any_case() {
        let mut policy = AccessPolicy::new(&guarded(), "127.0.0.1:0".parse().unwrap(), false).unwrap();
        let mut check =
            |shown: Option<&str>| policy.identify("POST", b"/enviar", shown.map(str::as_bytes), None);
        for right in ["Bearer 0123456789abcdef", "bearer   0123456789abcdef", "BEARER 0123456789abcdef "] {
            assert_eq!(check(Some(right)), Ok(Access::Known(None)), "{right}");
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
    fn only_health_and_the_page_are_public() {
        let mut policy = AccessPolicy::new(&guarded(), "127.0.0.1:0".parse().unwrap(), false).unwrap();
        let mut is_public =
            |method, target: &str| policy.identify(method, target.as_bytes(), None, None).is_ok();
        for target in
            ["/", "", "?a", "/healthz", "/readyz?verbose", "/ready", "/openapi.json", "/page/style.css"]
        {
            assert!(is_public("GET", target) && is_public("HEAD", target), "{target:?}");
            assert!(!is_public("POST", target) && !is_public("get", target), "{target:?}");
        }
        for target in
            ["/enviar", "/metrics", "//", "/healthz/", "/HEALTHZ", "/%68ealthz", "/page/", "/events", "*"]
        {
            assert!(!is_public("GET", target), "{target:?}");
        }
    }

    #[test]
    fn health_metrics_and_the_page_are_looks() {
        for target in ["/readyz", "/healthz", "/metrics", "/"] {
            assert!(is_look(b"GET", target.as_bytes()), "{target}");
        }
        for (method, target) in
            [("POST", "/enviar"), ("GET", "/events"), ("GET", "/topics"), ("POST", "/readyz")]
        {
            assert!(!is_look(method.as_bytes(), target.as_bytes()), "{method} {target}");
        }
    }

    #[test]
    fn without_a_token_every_request_is_served() {
        let mut policy = AccessPolicy::new(&settings(), "127.0.0.1:0".parse().unwrap(), false).unwrap();
        for authorization in [None, Some(&b"Bearer anything"[..]), Some(b"Basic YTpi")] {
            let access = policy.identify("POST", b"/enviar", authorization, None);
            assert_eq!(access, Ok(Access::Known(None)));
        }
    }

    #[test]
    fn on_loopback_without_a_token_other_sites_names_are_refused() {
        let policy = |settings: &EndpointSettings, tls| {
            AccessPolicy::new(settings, "127.0.0.1:5000".parse().unwrap(), tls).unwrap()
        };
        let named = EndpointSettings { listen: "Queue.example.org:5000".to_owned(), ..settings() };
        let (bare, named) = (policy(&settings(), false), policy(&named, false));
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
        let open = EndpointSettings { anyone_may_send: true, ..settings() };
        for policy in [policy(&guarded(), false), policy(&settings(), true), policy(&open, false)] {
            assert_eq!(policy.check_host(b"queue.example:5000"), Ok(()));
        }
    }
}
