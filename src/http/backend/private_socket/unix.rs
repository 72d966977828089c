//! The Unix-domain socket of the handlers, in a directory that only this user can enter.

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::error::{Error, Result};

/// Where the handlers listen.
pub(crate) type Socket = PathBuf;
/// The server's end of the connection.
pub(crate) type Stream = mio::net::UnixStream;

/// The socket of the handlers. It and its directory are removed on drop.
pub(crate) struct PrivateListener(PrivateDirectory);

/// A directory that only this user can enter, removed on drop.
struct PrivateDirectory(PathBuf);

/// The beginning of the names of these directories.
const DIRECTORY_PREFIX: &str = "point-to-point-";

/// A directory younger than this may not have its socket yet.
const MIN_AGE: Duration = Duration::from_secs(60);

impl PrivateListener {
    /// Listens in a directory of its own, for `tiny_http`.
    ///
    /// # Errors
    /// The socket cannot be created.
    pub(crate) fn open() -> Result<(PrivateListener, UnixListener)> {
        let failed = |error: io::Error| Error::new("the HTTP handlers cannot be set up").caused_by(error);
        let directory = PrivateDirectory::create()?;
        let listener = UnixListener::bind(socket_in(&directory.0)).map_err(failed)?;
        Ok((PrivateListener(directory), listener))
    }

    /// The path of the socket.
    pub(crate) fn socket(&self) -> Socket {
        socket_in(&self.0.0)
    }
}

/// Connects to the handlers.
///
/// # Errors
/// Nobody listens, or the system's.
pub(crate) fn connect(socket: &Socket) -> io::Result<Stream> {
    Stream::connect(socket)
}

impl PrivateDirectory {
    /// Creates a directory of a random name in the system's directory for temporary files.
    ///
    /// # Errors
    /// The directory cannot be created, or the system gives no random bytes.
    fn create() -> Result<PrivateDirectory> {
        let temporary = std::env::temp_dir();
        remove_left_behind(&temporary);
        let path = temporary.join(format!("{DIRECTORY_PREFIX}{}", random_name()?));
        DirBuilder::new().mode(0o700).create(&path).map_err(|error| {
            Error::new(format!("cannot create {} for the HTTP handlers' socket", path.display()))
                .caused_by(error)
        })?;
        Ok(PrivateDirectory(path))
    }
}

fn random_name() -> Result<String> {
    net::random::hex::<16>().map_err(|error| Error::new("no name for a private directory").caused_by(error))
}

fn socket_in(directory: &Path) -> PathBuf {
    directory.join("http")
}

/// Removes the directories of killed endpoints: those on whose socket no process listens.
fn remove_left_behind(temporary: &Path) {
    for entry in std::fs::read_dir(temporary).into_iter().flatten().flatten() {
        let ours = entry.file_name().to_str().is_some_and(|name| name.starts_with(DIRECTORY_PREFIX));
        let age = || entry.metadata().ok()?.modified().ok()?.elapsed().ok();
        if !ours || age().is_none_or(|age| age < MIN_AGE) {
            continue;
        }
        let probe = UnixStream::connect(socket_in(&entry.path()));
        if probe.is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused) {
            // Another endpoint may remove it at the same time.
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

impl Drop for PrivateDirectory {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            log::warn!("cannot remove {}: {error}", self.0.display());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File, FileTimes};
    use std::time::SystemTime;

    use super::*;

    #[test]
    fn the_directory_of_a_killed_endpoint_is_removed_and_one_in_use_is_not() {
        let temporary = PrivateDirectory::create().unwrap();
        let long_ago = FileTimes::new().set_modified(SystemTime::now() - 2 * MIN_AGE);
        let endpoint = |name: &str| {
            let path = temporary.0.join(name);
            fs::create_dir(&path).unwrap();
            let listener = UnixListener::bind(socket_in(&path)).unwrap();
            File::open(&path).unwrap().set_times(long_ago).unwrap();
            (path, listener)
        };
        let (running, _listener) = endpoint("point-to-point-running");
        let (other, listener) = endpoint("another-program");
        drop(listener);
        let (killed, listener) = endpoint("point-to-point-killed");
        drop(listener);
        remove_left_behind(&temporary.0);
        assert!(running.exists() && other.exists() && !killed.exists());
    }
}
