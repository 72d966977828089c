//! Files that hold secrets: they are refused if others than their owner can read them.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use platform::files;

/// The largest file with one secret, in bytes.
const MAX_BYTES: u64 = 64 * 1024;

/// Why the file of a secret is not used. Holds no bytes of the file.
#[derive(Debug)]
pub struct SecretFileError {
    sentence: String,
    cause: Option<io::Error>,
}

impl SecretFileError {
    /// Whether the file is there and is refused for what it is: its kind, its mode or its size.
    pub fn is_refusal(&self) -> bool {
        self.cause.is_none()
    }
}

impl fmt::Display for SecretFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.cause {
            Some(cause) => write!(f, "{}: {cause}", self.sentence),
            None => f.write_str(&self.sentence),
        }
    }
}

impl std::error::Error for SecretFileError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.cause.as_ref().map(|cause| cause as _)
    }
}

/// The bytes of the file at `path`.
///
/// # Errors
/// The file cannot be read, is not a regular file, is readable by others than its owner, or has over 64 KiB.
/// The error names the file and holds no bytes of it.
pub fn read(path: &Path) -> Result<Vec<u8>, SecretFileError> {
    read_up_to(path, MAX_BYTES)
}

/// The bytes of the file at `path`, `max_bytes` at most.
///
/// # Errors
/// As [`read`], with the other limit.
pub fn read_up_to(path: &Path, max_bytes: u64) -> Result<Vec<u8>, SecretFileError> {
    let shown = path.display();
    let refused = |why: String| SecretFileError { sentence: format!("{shown} {why}"), cause: None };
    let unreadable = |error| SecretFileError { cause: Some(error), ..refused("cannot be read".to_owned()) };
    // Checked before the file is opened: opening a pipe may wait for ever.
    if !fs::metadata(path).map_err(unreadable)?.is_file() {
        return Err(refused("is not a regular file".to_owned()));
    }
    let file = File::open(path).map_err(unreadable)?;
    if let Some(mode) = files::mode_for_others(&file.metadata().map_err(unreadable)?) {
        return Err(refused(format!(
            "may be read by others than its owner (mode {mode:03o}): chmod 600 {shown}"
        )));
    }
    let mut bytes = Vec::new();
    file.take(max_bytes + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > max_bytes {
        return Err(refused(format!("has more than {max_bytes} bytes")));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::path::PathBuf;

    use super::*;

    /// A file of the test's own, removed in the end.
    struct Temporary(PathBuf);

    impl Temporary {
        fn new(name: &str, bytes: &[u8], mode: u32) -> Temporary {
            let path = std::env::temp_dir().join(format!("secret-file-{name}-{}", std::process::id()));
            fs::write(&path, bytes).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            Temporary(path)
        }
    }

    impl Drop for Temporary {
        fn drop(&mut self) {
            let _removed = fs::remove_file(&self.0);
        }
    }

    #[test]
    fn a_file_is_read_only_if_no_one_else_can_read_it() {
        for mode in [0o600, 0o400] {
            let file = Temporary::new("owner", b"bytes", mode);
            assert_eq!(read(&file.0).unwrap(), b"bytes");
        }
        for mode in [0o640, 0o604, 0o620, 0o601, 0o666] {
            let file = Temporary::new("others", b"bytes", mode);
            let line = read(&file.0).unwrap_err().to_string();
            let shown = file.0.display();
            assert!(line.starts_with(&format!("{shown} may be read by others")), "{line}");
            assert!(line.contains(&format!("mode {mode:03o}")), "{line}");
            assert!(line.ends_with(&format!("chmod 600 {shown}")) && !line.contains("bytes"), "{line}");
        }
    }

    #[test]
    fn an_absent_irregular_or_large_file_is_refused() {
        let line = |path: &Path| read(path).unwrap_err().to_string();
        assert!(line(Path::new("/nowhere/at/all")).starts_with("/nowhere/at/all cannot be read: "));
        assert_eq!(line(Path::new("/")), "/ is not a regular file");
        assert_eq!(line(Path::new("/dev/null")), "/dev/null is not a regular file");
        let large = Temporary::new("large", &vec![b'x'; MAX_BYTES as usize + 1], 0o600);
        assert!(line(&large.0).ends_with("has more than 65536 bytes"));
    }
}
