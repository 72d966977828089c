//! The side of a server: makes the TLS of accepted connections.

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use rustls::crypto::CryptoProvider;
use rustls::server::{NoClientAuth, WebPkiClientVerifier};
use rustls::sign::SingleCertAndKey;
use rustls::{ServerConfig, ServerConnection};

use crate::files::{Stamps, authorities, identity};
use crate::provider::provider;
use crate::session::Session;
use crate::settings::{AcceptorSettings, SettingsError};

/// Makes the TLS of accepted connections: certificate, key, versions and protocols.
pub struct Acceptor {
    settings: AcceptorSettings,
    provider: Arc<CryptoProvider>,
    config: Arc<ServerConfig>,
    stamps: Stamps,
    /// When the files are looked at again.
    look_at: Instant,
}

impl Acceptor {
    /// Reads the files of the settings.
    ///
    /// # Errors
    /// A file cannot be read or used, others than its owner may read the key, certificate and key do not
    /// belong together, or the processor lacks instructions that TLS needs.
    pub fn new(settings: AcceptorSettings) -> Result<Acceptor, SettingsError> {
        let provider = provider().map_err(|why| SettingsError::new(settings.names.certificate, why))?;
        let stamps = Stamps::of(paths(&settings));
        let config = config(&settings, &provider)?;
        let look_at = Instant::now() + settings.renewal;
        Ok(Acceptor { settings, provider, config, stamps, look_at })
    }

    /// The TLS of a connection that is accepted `now`. Looks at the files first, if it is time, and uses
    /// renewed ones that belong together.
    ///
    /// # Errors
    /// The settings do not allow it.
    pub fn session(&mut self, now: Instant) -> io::Result<Session> {
        if now >= self.look_at {
            self.look_at = now + self.settings.renewal;
            self.renew();
        }
        ServerConnection::new(Arc::clone(&self.config)).map(Session::new).map_err(io::Error::other)
    }

    /// Reads the files again if they were renewed. Files that cannot be used are reported once: until they
    /// change again, the old ones stay.
    fn renew(&mut self) {
        let stamps = Stamps::of(paths(&self.settings));
        if stamps == self.stamps {
            return;
        }
        self.stamps = stamps;
        let certificate = self.settings.names.certificate;
        match config(&self.settings, &self.provider) {
            Ok(config) => {
                log::info!("the renewed certificate of {certificate} is in use");
                self.config = config;
            }
            Err(error) => log::warn!("a renewed certificate cannot be used, the old one stays: {error}"),
        }
    }
}

impl fmt::Debug for Acceptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Acceptor").field(&self.settings).finish()
    }
}

fn config(
    settings: &AcceptorSettings,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<ServerConfig>, SettingsError> {
    let names = &settings.names;
    let identity = identity(&settings.certificate, &settings.key, names, provider)?;
    let verifier = match &settings.client_ca {
        None => Arc::new(NoClientAuth),
        Some(path) => {
            let roots = authorities(path, names.ca)?;
            let builder = WebPkiClientVerifier::builder_with_provider(roots, Arc::clone(provider));
            let verifier = builder.allow_unauthenticated().build();
            verifier.map_err(|error| SettingsError::new(names.ca, error))?
        }
    };
    let builder = ServerConfig::builder_with_provider(Arc::clone(provider));
    let builder = builder
        .with_safe_default_protocol_versions()
        .map_err(|error| SettingsError::new(names.certificate, error))?;
    let mut config = builder
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(identity)));
    config.alpn_protocols = vec![settings.protocol.to_vec()];
    Ok(Arc::new(config))
}

/// The files of these settings.
fn paths(settings: &AcceptorSettings) -> impl Iterator<Item = &Path> {
    [&settings.certificate, &settings.key].into_iter().chain(&settings.client_ca).map(|path| path.as_path())
}
