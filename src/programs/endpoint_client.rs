//! How the endpoint with these settings is reached, and others that have the same.

use std::path::Path;

use crate::http_client::Connect;

/// The scheme of an endpoint, which has this certificate if it speaks TLS.
pub(super) fn scheme(certificate: Option<&Path>) -> &'static str {
    if certificate.is_some() { "https" } else { "http" }
}

/// Connections to it. Whoever issued its certificate is trusted beside the system's authorities: others may have
/// one of the same issuer.
///
/// # Errors
/// The certificate cannot be used; a sentence.
pub(super) fn connect(certificate: Option<&Path>) -> Result<Connect, String> {
    let connector = |certificate: &Path| {
        let names =
            tls::SettingNames { ca: "producer_api.tls_certificate", ..tls::SettingNames::PRODUCER_API };
        let ca = Some(certificate.to_owned());
        let wanted = tls::ConnectorSettings { ca, system_too: true, names, ..Default::default() };
        tls::Connector::new(wanted).map_err(|error| error.to_string())
    };
    Ok(Connect { tls: certificate.map(connector).transpose()? })
}
