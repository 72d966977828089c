//! Passwords and tokens: shown to nobody, and read anew from their file each time they are needed.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use net::secret_file;

/// The bytes of a password or a token. Neither `Debug` nor an error shows them.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Arc<[u8]>);

impl Secret {
    /// Keeps `bytes` to itself.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Secret {
        Secret(Arc::from(bytes.into()))
    }

    /// The bytes, for the one place that needs them.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// Why there is no secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnreadableSecret {
    /// A sentence about the file, without a byte of it.
    pub message: String,
    /// Whether the file is there and is refused for its kind, its mode or its size. One that is absent or
    /// empty may be written later.
    pub is_refused: bool,
}

impl fmt::Display for UnreadableSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// Where a secret comes from.
#[derive(Debug, Clone)]
pub enum SecretSource {
    /// The secret itself, as from an environment variable.
    Given(Secret),
    /// A file that its owner alone can read. It is read each time the secret is needed, so that a changed
    /// file counts from the next connection on.
    File(PathBuf),
}

impl SecretSource {
    /// The secret as it is now.
    ///
    /// # Errors
    /// A sentence about the file, without a byte of it: it cannot be read, is empty, is not a regular file,
    /// has over 64 KiB, or may be read by others than its owner.
    pub fn read(&self) -> Result<Secret, UnreadableSecret> {
        match self {
            SecretSource::Given(secret) => Ok(secret.clone()),
            SecretSource::File(path) => read_file(path),
        }
    }
}

/// The secret in the file at `path`. One line end at its end is no part of it.
fn read_file(path: &Path) -> Result<Secret, UnreadableSecret> {
    let bytes = secret_file::read(path)
        .map_err(|error| UnreadableSecret { message: error.to_string(), is_refused: error.is_refusal() })?;
    match without_line_end(&bytes) {
        [] => Err(UnreadableSecret { message: format!("{} is empty", path.display()), is_refused: false }),
        secret => Ok(Secret::new(secret)),
    }
}

/// `bytes` without one line end at their end.
fn without_line_end(bytes: &[u8]) -> &[u8] {
    let bytes = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    bytes.strip_suffix(b"\r").unwrap_or(bytes)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::tests::Temporary;
    use super::*;

    #[test]
    fn a_secret_is_not_shown() {
        let source = SecretSource::Given(Secret::new("hunter2"));
        assert_eq!(format!("{source:?}"), "Given(Secret)");
        assert_eq!(source.read().unwrap().expose(), b"hunter2");
    }

    #[test]
    fn one_line_end_is_no_part_of_a_secret_and_a_changed_file_counts() {
        let file = Temporary::file("line-end", b"", 0o600);
        let source = SecretSource::File(file.path());
        let pairs: [(&[u8], &[u8]); 4] =
            [(b"one\n", b"one"), (b"two\r\n", b"two"), (b"three\n\n", b"three\n"), (b" four ", b" four ")];
        for (bytes, secret) in pairs {
            fs::write(file.path(), bytes).unwrap();
            assert_eq!(source.read().unwrap().expose(), secret);
        }
        fs::write(file.path(), b"\n").unwrap();
        assert!(source.read().unwrap_err().message.ends_with("is empty"));
    }

    #[test]
    fn a_file_that_others_can_read_is_refused_without_a_byte_of_it() {
        let file = Temporary::file("others", b"hunter2", 0o644);
        let error = SecretSource::File(file.path()).read().unwrap_err();
        assert!(error.is_refused);
        let error = error.message;
        assert!(error.contains("mode 644") && !error.contains("hunter2"), "{error}");
    }
}
