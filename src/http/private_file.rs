//! Files that hold secrets: read only where their owner alone can.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::error::{Error, Result};

/// The largest of these files, in bytes.
const MAX_BYTES: u64 = 64 * 1024;

/// What is in the file at `path`, which the setting `key` names.
///
/// # Errors
/// It is not there or not readable, is no regular file, is readable by others than its owner, or has over 64 KiB. The
/// error tells nothing of what is in it.
pub(super) fn read(path: &Path, key: &str) -> Result<Vec<u8>> {
    let shown = path.display();
    let refused = |why: String| Error::new(format!("{key}: {shown} {why}")).about_settings();
    let unreadable = |error| refused("cannot be read".to_owned()).caused_by(error);
    // Before it is opened: opening a pipe may wait for ever.
    if !fs::metadata(path).map_err(unreadable)?.is_file() {
        return Err(refused("is not a regular file".to_owned()));
    }
    let file = File::open(path).map_err(unreadable)?;
    let mode = file.metadata().map_err(unreadable)?.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(refused(format!(
            "may be read by others than its owner (mode {mode:03o}): chmod 600 {shown}"
        )));
    }
    let mut bytes = Vec::new();
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(refused(format!("has more than {MAX_BYTES} bytes")));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    /// A file of the test's own, removed in the end.
    struct Temporary(PathBuf);

    impl Temporary {
        fn new(name: &str, bytes: &[u8], mode: u32) -> Temporary {
            let path = std::env::temp_dir().join(format!("private-file-{name}-{}", std::process::id()));
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
    fn a_file_is_read_where_its_owner_alone_can() {
        for mode in [0o600, 0o400] {
            let file = Temporary::new("owner", b"bytes", mode);
            assert_eq!(read(&file.0, "key").unwrap(), b"bytes");
        }
        for mode in [0o640, 0o604, 0o620, 0o601, 0o666] {
            let file = Temporary::new("others", b"bytes", mode);
            let error = read(&file.0, "the.key").unwrap_err();
            let line = error.to_string();
            assert!(line.starts_with("the.key: ") && line.contains(&format!("mode {mode:03o}")), "{line}");
            assert!(line.ends_with(&format!("chmod 600 {}", file.0.display())), "{line}");
            assert!(error.is_about_settings() && !line.contains("bytes"), "{line}");
        }
    }

    #[test]
    fn what_is_no_regular_file_not_there_or_too_large_is_refused() {
        let line = |path: &Path| read(path, "the.key").unwrap_err().to_string();
        assert!(line(Path::new("/nowhere/at/all")).starts_with("the.key: /nowhere/at/all cannot be read: "));
        assert_eq!(line(Path::new("/")), "the.key: / is not a regular file");
        assert_eq!(line(Path::new("/dev/null")), "the.key: /dev/null is not a regular file");
        let large = Temporary::new("large", &vec![b'x'; MAX_BYTES as usize + 1], 0o600);
        assert!(line(&large.0).ends_with("has more than 65536 bytes"));
    }
}
