//! The cryptography, where the processor can run it.

use std::sync::Arc;

use rustls::crypto::CryptoProvider;

/// Why there is no cryptography.
const NOT_ABLE: &str = "TLS needs a processor with AES, AVX2, BMI1, ADX and PCLMULQDQ, or one of ARM with AES, \
    PMULL and SHA2";

/// The cryptography.
///
/// # Errors
/// A sentence: the processor lacks instructions. Without this check graviola would panic.
pub(crate) fn provider() -> Result<Arc<CryptoProvider>, &'static str> {
    if graviola::util::is_cpu_supported() {
        Ok(Arc::new(rustls_graviola::default_provider()))
    } else {
        Err(NOT_ABLE)
    }
}
