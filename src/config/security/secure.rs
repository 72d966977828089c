//! What follows from `kafka.security` and the keys beside it: TLS and credentials of the client.

use std::sync::Arc;

use super::{SaslSection, SecuritySection, TlsSection, TokenUrl};
use client::Security;
use client::sasl::tokens::{ClientCredentials, TokenSource, Tokens};
use client::sasl::{Credentials, Extensions, Hash, Mechanism, Password, Secret, SecretSource};
use tls::{Connector, ConnectorSettings, SettingNames};

/// Makes the security of all connections.
///
/// # Errors
/// A sentence that begins with a key: its file cannot be used, or this build or processor has no TLS.
pub(in crate::config) fn secure(section: &SecuritySection) -> Result<Security, String> {
    let tls = match section.protocol.has_tls() {
        true => Some(connector(&section.tls)?),
        false => None,
    };
    let credentials = match section.sasl.mechanism {
        Some(mechanism) if section.protocol.has_sasl() => Some(Arc::new(credentials(mechanism, section)?)),
        _ => None,
    };
    Ok(Security::new(tls, credentials).with_readable_secrets(section.sasl.anyone_may_read))
}

fn connector(section: &TlsSection) -> Result<Connector, String> {
    let settings = ConnectorSettings {
        ca: section.ca.clone(),
        system_too: false,
        certificate: section.certificate.clone(),
        key: section.key.clone(),
        insecure: section.insecure,
        names: SettingNames::KAFKA,
    };
    Connector::new(settings).map_err(|error| error.to_string())
}

fn credentials(mechanism: Mechanism, section: &SecuritySection) -> Result<Credentials, String> {
    Ok(match mechanism {
        Mechanism::Plain => Credentials::plain(password(&section.sasl)?),
        Mechanism::ScramSha256 => Credentials::scram(Hash::Sha256, password(&section.sasl)?),
        Mechanism::ScramSha512 => Credentials::scram(Hash::Sha512, password(&section.sasl)?),
        Mechanism::OAuthBearer => {
            let extensions = Extensions::new(section.oauth.extensions.iter().cloned())
                .map_err(|error| format!("kafka.oauth_extensions: {error}"))?;
            Credentials::oauth_bearer(Tokens::new(token_source(section)?), extensions)
        }
    })
}

fn password(section: &SaslSection) -> Result<Password, String> {
    let password = match (&section.password, &section.password_file) {
        (Some(password), _) => SecretSource::Given(Secret::new(password.expose())),
        (None, Some(file)) => SecretSource::File(file.clone()),
        (None, None) => return Err("kafka.sasl_password_file: must be set".to_owned()),
    };
    checked(&password, "kafka.sasl_password_file")?;
    Ok(Password { username: section.username.clone().unwrap_or_default(), password })
}

fn token_source(SecuritySection { oauth, tls, .. }: &SecuritySection) -> Result<TokenSource, String> {
    if let Some(file) = &oauth.token_file {
        // One that is absent or empty may be written later, as by another container.
        if let Err(error) = SecretSource::File(file.clone()).read()
            && error.is_refused
        {
            return Err(format!("kafka.oauth_token_file: {error}"));
        }
        return Ok(TokenSource::File(file.clone()));
    }
    let Some(TokenUrl(url)) = &oauth.token_url else {
        return Ok(TokenSource::Command(oauth.token_command.clone()));
    };
    let (client, secret) = (oauth.client_id.clone(), oauth.client_secret_file.clone());
    let secret = SecretSource::File(secret.unwrap_or_default());
    checked(&secret, "kafka.oauth_client_secret_file")?;
    // The identity provider may be a public one though the brokers' authority is the company's own.
    let settings = ConnectorSettings { ca: tls.ca.clone(), system_too: true, ..ConnectorSettings::default() };
    let connector = url.starts_with("https").then(|| Connector::new(settings)).transpose();
    let connector = connector.map_err(|error| error.to_string())?;
    let credentials = ClientCredentials::new(url, connector, client.unwrap_or_default(), secret)
        .map_err(|error| format!("kafka.oauth_token_url: {error}"))?;
    let credentials = credentials.with_scope(oauth.scope.clone()).with_audience(oauth.audience.clone());
    Ok(TokenSource::Endpoint(credentials))
}

/// A secret's file that cannot be used is named at the start.
fn checked(secret: &SecretSource, key: &str) -> Result<(), String> {
    secret.read().map(drop).map_err(|error| format!("{key}: {error}"))
}
