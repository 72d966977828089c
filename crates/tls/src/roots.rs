//! The authorities that the system trusts.

use std::sync::{Arc, OnceLock};

use rustls::RootCertStore;
use rustls_native_certs::CertificateResult;

/// Loaded once in a process: there are hundreds of them.
static SYSTEM: OnceLock<Arc<RootCertStore>> = OnceLock::new();

/// The authorities of the system: its store, or the files that `SSL_CERT_FILE` and `SSL_CERT_DIR` name.
///
/// # Errors
/// There are none; the error tells where they should be.
pub(crate) fn system() -> Result<Arc<RootCertStore>, String> {
    if let Some(roots) = SYSTEM.get() {
        return Ok(Arc::clone(roots));
    }
    let found = bundle().unwrap_or_else(rustls_native_certs::load_native_certs);
    let mut roots = RootCertStore::empty();
    let (_, unusable) = roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        let cause = found.errors.first().map(ToString::to_string);
        return Err(cause.unwrap_or_else(|| "its store of certificates was not found".to_owned()));
    }
    log::debug!("the system trusts {} authorities; {unusable} more cannot be used", roots.len());
    let roots = Arc::new(roots);
    // Another thread may have been quicker.
    Ok(Arc::clone(SYSTEM.get_or_init(|| roots)))
}

/// The system's file of all its authorities, if there is one that can be used: one file is read in a
/// twentieth of the time that the folder with the same ones, a file for each, takes.
#[cfg(all(unix, not(target_os = "macos")))]
fn bundle() -> Option<CertificateResult> {
    // What the variables name is used as it is.
    if [openssl_probe::ENV_CERT_FILE, openssl_probe::ENV_CERT_DIR]
        .iter()
        .any(|it| std::env::var_os(it).is_some())
    {
        return None;
    }
    let file = openssl_probe::probe().cert_file?;
    let found = rustls_native_certs::load_certs_from_paths(Some(&file), None);
    Some(found).filter(|found| !found.certs.is_empty())
}

/// There is none: the system has its own store.
#[cfg(not(all(unix, not(target_os = "macos"))))]
fn bundle() -> Option<CertificateResult> {
    None
}
