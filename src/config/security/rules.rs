//! The rules between the keys that secure the connections to the brokers.

use super::{OauthSection, SecuritySection};
use crate::config::Settings;
use crate::config::contradiction::{Contradiction, is_loopback};
use crate::config::keys::SASL_PASSWORD;
use client::sasl::Mechanism;

const SECURITY: &str = "kafka.security";
const SERVERS: &str = "kafka.bootstrap_servers";
const MECHANISM: &str = "kafka.sasl_mechanism";
const USERNAME: &str = "kafka.sasl_username";
const PASSWORD_FILE: &str = "kafka.sasl_password_file";
const PERMIT: &str = "kafka.anyone_may_read_the_password";
const TOKEN_FILE: &str = "kafka.oauth_token_file";
const TOKEN_COMMAND: &str = "kafka.oauth_token_command";
const TOKEN_URL: &str = "kafka.oauth_token_url";
const CLIENT_ID: &str = "kafka.oauth_client_id";
const CLIENT_SECRET_FILE: &str = "kafka.oauth_client_secret_file";

/// Checks the rules of `kafka.security`, `kafka.tls_*`, `kafka.sasl_*` and `kafka.oauth_*`.
pub(in crate::config) fn check_security(settings: &Settings) -> Result<(), Contradiction> {
    let security = &settings.kafka.security;
    let protocol = security.protocol;
    let embedded = settings.kafka.bootstrap_servers.is_empty();
    if embedded && (protocol.has_tls() || protocol.has_sasl()) {
        return Err([
            (
                SERVERS,
                format!("must name brokers beside {SECURITY}: the embedded broker has neither TLS nor SASL"),
            ),
            (
                SECURITY,
                format!("must be \"plaintext\" on the embedded broker ({SERVERS} = []), which has no other"),
            ),
        ]);
    }
    if !protocol.has_tls() {
        refuse(tls_keys(security), "has no effect", "must be \"tls\" or \"sasl_tls\"")?;
    }
    check_client_certificate(security)?;
    if !protocol.has_sasl() {
        return refuse(sasl_keys(security), "has no effect", "must be \"sasl_tls\" or \"sasl_plaintext\"");
    }
    match security.sasl.mechanism {
        None => Err(needs((SECURITY, "SASL"), MECHANISM)),
        Some(Mechanism::OAuthBearer) => check_oauth(security),
        Some(_) => check_password(security),
    }?;
    check_readable(settings)
}

/// A key that is set although the protocol makes no use of it.
fn refuse(set: Option<&'static str>, without: &str, wanted: &str) -> Result<(), Contradiction> {
    let Some(key) = set else { return Ok(()) };
    Err([
        (key, format!("{without} unless {SECURITY} says so: it {wanted}")),
        (SECURITY, format!("{wanted} beside {key}, which {without} otherwise")),
    ])
}

fn first_set(keys: &[(&'static str, bool)]) -> Option<&'static str> {
    keys.iter().find(|(_, set)| *set).map(|(key, _)| *key)
}

fn tls_keys(SecuritySection { tls, .. }: &SecuritySection) -> Option<&'static str> {
    first_set(&[
        ("kafka.tls_ca", tls.ca.is_some()),
        ("kafka.tls_certificate", tls.certificate.is_some()),
        ("kafka.tls_key", tls.key.is_some()),
        ("kafka.tls_insecure", tls.insecure),
    ])
}

fn sasl_keys(security: &SecuritySection) -> Option<&'static str> {
    let sasl = &security.sasl;
    first_set(&[(MECHANISM, sasl.mechanism.is_some())])
        .or_else(|| password_keys(security))
        .or_else(|| oauth_keys(&security.oauth))
}

fn password_keys(SecuritySection { sasl, .. }: &SecuritySection) -> Option<&'static str> {
    first_set(&[
        (USERNAME, sasl.username.is_some()),
        (SASL_PASSWORD, sasl.password.is_some()),
        (PASSWORD_FILE, sasl.password_file.is_some()),
    ])
}

fn oauth_keys(oauth: &OauthSection) -> Option<&'static str> {
    first_set(&[
        (TOKEN_FILE, oauth.token_file.is_some()),
        (TOKEN_COMMAND, !oauth.token_command.is_empty()),
        (TOKEN_URL, oauth.token_url.is_some()),
    ])
    .or_else(|| client_keys(oauth))
    .or_else(|| first_set(&[("kafka.oauth_extensions", !oauth.extensions.is_empty())]))
}

/// The keys for client credentials, beside the URL.
fn client_keys(oauth: &OauthSection) -> Option<&'static str> {
    first_set(&[
        (CLIENT_ID, oauth.client_id.is_some()),
        (CLIENT_SECRET_FILE, oauth.client_secret_file.is_some()),
        ("kafka.oauth_scope", oauth.scope.is_some()),
        ("kafka.oauth_audience", oauth.audience.is_some()),
    ])
}

/// `key`, which stands for `what`, needs `other`.
fn needs((key, what): (&'static str, &str), other: &'static str) -> Contradiction {
    [(key, format!("needs {other} for {what}")), (other, format!("must be set beside {key}"))]
}

fn exclude(key: &'static str, other: &'static str, why: &str) -> Contradiction {
    [
        (key, format!("must not be set beside {other}: {why}")),
        (other, format!("must not be set beside {key}: {why}")),
    ]
}

fn check_client_certificate(SecuritySection { tls, .. }: &SecuritySection) -> Result<(), Contradiction> {
    let (certificate, key) = ("kafka.tls_certificate", "kafka.tls_key");
    match (&tls.certificate, &tls.key) {
        (Some(_), None) => Err(needs((certificate, "its private key"), key)),
        (None, Some(_)) => Err(needs((key, "its certificate"), certificate)),
        _ => Ok(()),
    }
}

fn check_password(security: &SecuritySection) -> Result<(), Contradiction> {
    if let Some(key) = oauth_keys(&security.oauth) {
        return Err(exclude(key, MECHANISM, "tokens are for \"OAUTHBEARER\""));
    }
    let sasl = &security.sasl;
    if sasl.username.is_none() {
        return Err(needs((MECHANISM, "the user's name"), USERNAME));
    }
    match (&sasl.password, &sasl.password_file) {
        (Some(_), Some(_)) => {
            Err(exclude(PASSWORD_FILE, SASL_PASSWORD, "only one of them can hold the password"))
        }
        (None, None) => {
            let variable = "POINT_TO_POINT__KAFKA__SASL_PASSWORD";
            Err([
                (
                    MECHANISM,
                    format!("needs a password: set {PASSWORD_FILE}, or the environment variable {variable}"),
                ),
                (
                    PASSWORD_FILE,
                    format!("must be set for {MECHANISM}, or the environment variable {variable}"),
                ),
            ])
        }
        _ => Ok(()),
    }
}

fn check_oauth(security: &SecuritySection) -> Result<(), Contradiction> {
    if let Some(key) = password_keys(security) {
        return Err(exclude(key, MECHANISM, "\"OAUTHBEARER\" takes a token, not a password"));
    }
    let oauth = &security.oauth;
    let ways: Vec<_> = [
        (TOKEN_FILE, oauth.token_file.is_some()),
        (TOKEN_COMMAND, !oauth.token_command.is_empty()),
        (TOKEN_URL, oauth.token_url.is_some()),
    ]
    .into_iter()
    .filter(|(_, set)| *set)
    .map(|(key, _)| key)
    .collect();
    match ways.as_slice() {
        [] => Err([
            (MECHANISM, format!("needs a token: set {TOKEN_FILE}, {TOKEN_COMMAND} or {TOKEN_URL}")),
            (TOKEN_FILE, format!("must be set for {MECHANISM}, or else {TOKEN_COMMAND} or {TOKEN_URL}")),
        ]),
        [TOKEN_URL] if oauth.client_id.is_none() => Err(needs((TOKEN_URL, "the client's name"), CLIENT_ID)),
        [TOKEN_URL] if oauth.client_secret_file.is_none() => {
            Err(needs((TOKEN_URL, "the client's secret"), CLIENT_SECRET_FILE))
        }
        [TOKEN_URL] => Ok(()),
        [_] => match client_keys(oauth) {
            Some(key) => Err(needs((key, "the identity provider"), TOKEN_URL)),
            None => Ok(()),
        },
        [first, second, ..] => Err(exclude(first, second, "a token comes from one place")),
    }
}

/// A password or a token that goes over the network as it is.
fn check_readable(settings: &Settings) -> Result<(), Contradiction> {
    let (kafka, security) = (&settings.kafka, &settings.kafka.security);
    let shown = matches!(security.sasl.mechanism, Some(Mechanism::Plain | Mechanism::OAuthBearer));
    if security.protocol.has_tls() || security.sasl.anyone_may_read || !shown {
        return Ok(());
    }
    let Some(server) = kafka.bootstrap_servers.iter().find(|server| !is_loopback(server)) else {
        return Ok(());
    };
    let why = "the password or token would go over the network unencrypted";
    Err([
        (SECURITY, format!("must be \"sasl_tls\" for {server}: {why}; allow it with {PERMIT} = true")),
        (PERMIT, format!("must be true for {SECURITY} = \"sasl_plaintext\" and {server}: {why}")),
    ])
}
