//! Files of the settings that hold secrets.

use std::path::Path;

use net::secret_file;

use crate::error::{Error, Result};

/// The bytes of the file at `path`, which the setting `key` names.
///
/// # Errors
/// Others than its owner can read the file, or it cannot be used: [`secret_file::read`]. The error holds no
/// bytes of the file.
pub(super) fn read(path: &Path, key: &str) -> Result<Vec<u8>> {
    secret_file::read(path).map_err(|error| Error::new(format!("{key}: {error}")).about_settings())
}
