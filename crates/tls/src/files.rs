//! Files of certificates and keys, and how it is noticed that they were renewed.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

use net::secret_file;
use platform::files::{self, Stamp};
use rustls::RootCertStore;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

use crate::settings::{SettingNames, SettingsError};

/// The largest file of certificates, in bytes.
const MAX_CERTIFICATES: u64 = 4 * 1024 * 1024;

/// The state of some files, of which some may be missing. A renewal changes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stamps(Vec<Option<Stamp>>);

impl Stamps {
    /// The state of these files now.
    pub(crate) fn of<'a>(paths: impl IntoIterator<Item = &'a Path>) -> Stamps {
        Stamps(paths.into_iter().map(files::stamp).collect())
    }
}

/// The authorities in the file at `path`, which `setting` names.
///
/// # Errors
/// The file cannot be read, or holds no certificate, or one that cannot be an authority's.
pub(crate) fn authorities(path: &Path, setting: &str) -> Result<Arc<RootCertStore>, SettingsError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path, setting)? {
        roots.add(certificate).map_err(|error| {
            SettingsError::new(
                setting,
                format_args!("{}: a certificate cannot be used: {error}", path.display()),
            )
        })?;
    }
    Ok(Arc::new(roots))
}

/// The certificate and key in two files, which belong together.
///
/// # Errors
/// A file cannot be read or used, others than its owner may read the key, or the two do not belong together.
pub(crate) fn identity(
    certificate: &Path,
    key: &Path,
    names: &SettingNames,
    provider: &CryptoProvider,
) -> Result<Arc<CertifiedKey>, SettingsError> {
    let (chain_file, key_file) = (certificate.display(), key.display());
    let chain = certificates(certificate, names.certificate)?;
    let bytes = secret_file::read(key).map_err(|error| SettingsError::new(names.key, error))?;
    // The error of a key that cannot be read might quote it.
    let key = PrivateKeyDer::from_pem_slice(&bytes).map_err(|_| {
        let why = format!("{key_file}: there is no private key in it (PEM, without a password)");
        SettingsError::new(names.key, why)
    })?;
    let identity = CertifiedKey::from_der(chain, key, provider).map_err(|error| {
        let why = format!("{chain_file} with {} {key_file}: {error}", names.key);
        SettingsError::new(names.certificate, why)
    })?;
    Ok(Arc::new(identity))
}

/// The certificates in a file: at least one.
fn certificates(path: &Path, setting: &str) -> Result<Vec<CertificateDer<'static>>, SettingsError> {
    let shown = path.display();
    let unusable =
        |error: &dyn std::fmt::Display| SettingsError::new(setting, format_args!("{shown}: {error}"));
    let certificates = read_certificates(path).map_err(|error| unusable(&error))?;
    if certificates.is_empty() {
        return Err(unusable(&"there is no certificate in it (PEM, BEGIN CERTIFICATE)"));
    }
    Ok(certificates)
}

fn read_certificates(path: &Path) -> io::Result<Vec<CertificateDer<'static>>> {
    // Checked before the file is opened: opening a pipe may wait for ever.
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    let mut bytes = Vec::new();
    File::open(path)?.take(MAX_CERTIFICATES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_CERTIFICATES {
        return Err(io::Error::other(format!("it has more than {MAX_CERTIFICATES} bytes")));
    }
    CertificateDer::pem_slice_iter(&bytes).collect::<Result<_, _>>().map_err(io::Error::other)
}
