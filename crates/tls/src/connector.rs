//! The side of a client: makes TLS connections to servers.

use std::fmt;
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use net::sync::{Mutex, lock};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::ServerName;
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, ClientConnection, RootCertStore};

use crate::connect_error::ConnectError;
use crate::failure::Handshake;
use crate::files::{Stamps, authorities, identity};
use crate::provider::provider;
use crate::roots;
use crate::settings::{ConnectorSettings, SettingsError};
use crate::stream::Stream;
use crate::verifiers::{ClientIdentity, Unverified};

/// Makes TLS connections to servers. Clones share sessions to resume, and the files as they were last read.
#[derive(Clone)]
pub struct Connector(Arc<Inner>);

struct Inner {
    settings: ConnectorSettings,
    provider: Arc<CryptoProvider>,
    current: Mutex<Current>,
}

/// The files as they were last read.
struct Current {
    stamps: Stamps,
    files: Files,
    /// Made of `files` at the first connection: the system's authorities take some time to load.
    config: Option<Arc<ClientConfig>>,
}

/// What is in the files.
struct Files {
    ca: Option<Arc<RootCertStore>>,
    identity: Option<Arc<CertifiedKey>>,
}

impl Connector {
    /// Reads the files of the settings.
    ///
    /// # Errors
    /// A file cannot be read or used, others than its owner may read the key, certificate and key do not
    /// belong together or one of them is missing, or the processor lacks instructions that TLS needs.
    pub fn new(settings: ConnectorSettings) -> Result<Connector, SettingsError> {
        let provider = provider().map_err(|why| SettingsError::new(settings.names.ca, why))?;
        let stamps = Stamps::of(paths(&settings));
        let files = Files::read(&settings, &provider)?;
        let current = Mutex::new(Current { stamps, files, config: None });
        Ok(Connector(Arc::new(Inner { settings, provider, current })))
    }

    /// Makes a TLS connection over `socket` to the server `host`: a name, or an IP address. The socket
    /// blocks; its timeouts are the same afterwards, and it sends without delay.
    ///
    /// Files that were renewed are read first. Files that cannot be used leave the old ones in place.
    ///
    /// # Errors
    /// The handshake fails, or is not complete at `deadline`.
    pub fn connect(&self, socket: TcpStream, host: &str, deadline: Instant) -> Result<Stream, ConnectError> {
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let name = ServerName::try_from(bare.to_owned());
        let name = name.map_err(|_| ConnectError::BadServerName(host.to_owned()))?;
        let Inner { settings, provider, current } = &*self.0;
        let (config, has_certificate) = {
            let mut current = lock(current);
            current.renew(settings, provider);
            (current.config(settings, provider)?, current.files.identity.is_some())
        };
        let handshake =
            Handshake { host: bare.to_owned(), has_certificate, asked: false, names: settings.names };
        let session = ClientConnection::new(config, name).map_err(|error| handshake.failure(error))?;
        Stream::connect(socket, session, handshake, deadline)
    }
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Connector").field(&self.0.settings).finish()
    }
}

impl Current {
    /// Reads the files again if they were renewed. Files that cannot be used are reported once: until they
    /// change again, the old ones stay.
    fn renew(&mut self, settings: &ConnectorSettings, provider: &CryptoProvider) {
        let stamps = Stamps::of(paths(settings));
        if stamps == self.stamps {
            return;
        }
        self.stamps = stamps;
        match Files::read(settings, provider) {
            Ok(files) => {
                log::info!("the renewed certificates of {} are in use", named(settings));
                self.files = files;
                self.config = None;
            }
            Err(error) => log::warn!("renewed certificates cannot be used, the old ones stay: {error}"),
        }
    }

    fn config(
        &mut self,
        settings: &ConnectorSettings,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Arc<ClientConfig>, ConnectError> {
        if let Some(config) = &self.config {
            return Ok(Arc::clone(config));
        }
        let config = Arc::new(self.files.config(settings, provider)?);
        self.config = Some(Arc::clone(&config));
        Ok(config)
    }
}

impl Files {
    fn read(settings: &ConnectorSettings, provider: &CryptoProvider) -> Result<Files, SettingsError> {
        let names = &settings.names;
        let ca = settings.ca.as_ref().map(|path| authorities(path, names.ca)).transpose()?;
        let identity = match (&settings.certificate, &settings.key) {
            (None, None) => None,
            (Some(certificate), Some(key)) => Some(identity(certificate, key, names, provider)?),
            (Some(_), None) => {
                return Err(SettingsError::new(names.certificate, format_args!("needs {}", names.key)));
            }
            (None, Some(_)) => {
                return Err(SettingsError::new(names.key, format_args!("needs {}", names.certificate)));
            }
        };
        Ok(Files { ca, identity })
    }

    fn config(
        &self,
        settings: &ConnectorSettings,
        provider: &Arc<CryptoProvider>,
    ) -> Result<ClientConfig, ConnectError> {
        let invalid = |error: rustls::Error| ConnectError::Invalid(error.to_string());
        let builder = ClientConfig::builder_with_provider(Arc::clone(provider));
        let builder = builder.with_safe_default_protocol_versions().map_err(invalid)?;
        let verifier = self.verifier(settings, provider)?;
        let identity = Arc::new(ClientIdentity(self.identity.clone()));
        let builder = builder.dangerous().with_custom_certificate_verifier(verifier);
        Ok(builder.with_client_cert_resolver(identity))
    }

    fn verifier(
        &self,
        settings: &ConnectorSettings,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Arc<dyn ServerCertVerifier>, ConnectError> {
        if settings.insecure {
            return Ok(Arc::new(Unverified(provider.signature_verification_algorithms)));
        }
        let names = settings.names;
        let roots = match &self.ca {
            Some(roots) if settings.system_too => with_system(roots),
            Some(roots) => Arc::clone(roots),
            None => roots::system().map_err(|detail| ConnectError::NoRoots { detail, names })?,
        };
        let verifier = WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(provider)).build();
        Ok(verifier.map_err(|error| SettingsError::new(names.ca, error)).map_err(ConnectError::Settings)?)
    }
}

/// These authorities and those of the system, if it has any.
fn with_system(roots: &RootCertStore) -> Arc<RootCertStore> {
    let mut all = roots.clone();
    match roots::system() {
        Ok(system) => all.roots.extend(system.roots.iter().cloned()),
        Err(detail) => log::debug!("the system has no certificates of authorities ({detail})"),
    }
    Arc::new(all)
}

/// The files of these settings.
fn paths(settings: &ConnectorSettings) -> impl Iterator<Item = &Path> {
    let files = [&settings.ca, &settings.certificate, &settings.key];
    files.into_iter().flatten().map(|path| path.as_path())
}

/// The names of the settings that name a file.
fn named(settings: &ConnectorSettings) -> String {
    let names = settings.names;
    let files = [
        (names.ca, settings.ca.is_some()),
        (names.certificate, settings.certificate.is_some()),
        (names.key, settings.key.is_some()),
    ];
    let set: Vec<&str> = files.iter().filter(|(_, is_set)| *is_set).map(|(name, _)| *name).collect();
    set.join(", ")
}
