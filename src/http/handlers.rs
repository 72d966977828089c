//! `tiny_http` behind the front door: on a Unix-domain socket that nobody else finds, with one thread for all
//! handlers.
//!
//! One thread, because answers on a connection must leave in the order of its requests: a second thread with
//! the next answer would only wait for the first. It never waits for the channel, see [`super::tickets`].

#[cfg(not(unix))]
compile_error!(
    "the front door reaches its handlers over a Unix-domain socket, which this system does not have"
);

use std::fs::DirBuilder;
use std::io::{self, Write};
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tiny_http::{Header, Request, Response, Server};

use super::answer::Answer;
use super::door;
use super::routes::{Reply, Routes};
use crate::error::{Error, Result};

/// What a handler answers whose client gets its answer by ticket: [`super::tickets::HELD_STATUS`] and nothing
/// else.
const HELD: &[u8] = b"HTTP/1.1 299 Held\r\nContent-Length: 0\r\n\r\n";

/// `tiny_http` and its handlers' thread.
pub(super) struct Handlers {
    server: Arc<Server>,
    stopping: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
    directory: PrivateDirectory,
    secret: Arc<str>,
}

impl Handlers {
    /// Starts `tiny_http` in a directory of its own.
    ///
    /// # Errors
    /// There is no place for the socket, or no thread.
    pub(super) fn start(routes: Routes) -> Result<Handlers> {
        let failed = |error: io::Error| Error::new("the HTTP handlers cannot be set up").caused_by(error);
        let directory = PrivateDirectory::create()?;
        let listener = UnixListener::bind(directory.socket()).map_err(failed)?;
        let server = Server::from_listener(listener, None)
            .map_err(|error| Error::new("tiny_http cannot be started").caused_by(error))?;
        let server = Arc::new(server);
        let stopping = Arc::new(AtomicBool::new(false));
        let secret = routes.secret();
        let (its_server, its_stopping) = (Arc::clone(&server), Arc::clone(&stopping));
        let thread = thread::Builder::new()
            .name("http-handlers".to_owned())
            .spawn(move || serve(&its_server, &its_stopping, &routes))
            .map_err(failed)?;
        Ok(Handlers { server, stopping, thread: Some(thread), directory, secret })
    }

    /// The way in for the door.
    pub(super) fn entrance(&self) -> door::Entrance {
        door::Entrance { path: self.directory.socket(), secret: Arc::clone(&self.secret) }
    }

    /// Ends the thread; the door must be closed before.
    pub(super) fn stop(&mut self) {
        self.stopping.store(true, Ordering::SeqCst);
        self.server.unblock();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            log::error!("the HTTP handlers' thread had failed");
        }
    }
}

impl Drop for Handlers {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Answers requests until told to stop. Answers that only say `held` go out together, as soon as no request
/// waits, and so does what was logged of them.
fn serve(server: &Server, stopping: &AtomicBool, routes: &Routes) {
    let mut unsent: Option<Box<dyn Write + Send>> = None;
    loop {
        let request = match server.try_recv() {
            Ok(Some(request)) => Ok(request),
            Ok(None) => {
                if let Some(Err(error)) = unsent.take().map(|mut writer| writer.flush()) {
                    log::debug!("answers could not be sent to the front door: {error}");
                }
                log::logger().flush();
                if stopping.load(Ordering::SeqCst) {
                    return;
                }
                server.recv()
            }
            Err(error) => Err(error),
        };
        match request {
            Ok(request) => unsent = answer(request, routes, unsent),
            Err(_) if stopping.load(Ordering::SeqCst) => return,
            Err(error) => log::error!("tiny_http takes no more connections: {error}"),
        }
    }
}

/// Answers one request; what is written but not yet sent is in the writer that is returned.
fn answer(
    mut request: Request,
    routes: &Routes,
    unsent: Option<Box<dyn Write + Send>>,
) -> Option<Box<dyn Write + Send>> {
    let reply = Reply::of(|| routes.reply(&mut request));
    drop(unsent); // only now may the next answer be written
    let result = match reply {
        Reply::Later => {
            let mut writer = request.into_writer();
            match writer.write_all(HELD) {
                Ok(()) => return Some(writer),
                Err(error) => Err(error),
            }
        }
        Reply::Now(answer) => request.respond(response(answer)),
    };
    if let Err(error) = result {
        log::debug!("an answer could not be sent to the front door: {error}");
    }
    None
}

/// An answer in the form of `tiny_http`; never chunked, so that the door sees its length.
fn response(answer: Answer) -> Response<io::Cursor<Vec<u8>>> {
    let headers = answer.headers.lines().filter_map(|line| line.parse::<Header>().ok());
    let response = Response::from_data(answer.body).with_status_code(answer.status);
    headers.fold(response.with_chunked_threshold(usize::MAX), Response::with_header)
}

/// A word of 32 random hexadecimal digits.
///
/// # Errors
/// The system has no randomness.
pub(super) fn random_word() -> Result<String> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)
        .map_err(|error| Error::new(format!("the system gives no random bytes: {error}")))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// A directory for this user alone, removed in the end.
struct PrivateDirectory(PathBuf);

/// What the names of these directories begin with.
const DIRECTORY_PREFIX: &str = "point-to-point-";

/// A directory younger than this may not have its socket yet.
const SETTLED: Duration = Duration::from_secs(60);

impl PrivateDirectory {
    /// In the system's directory for temporary files.
    fn create() -> Result<PrivateDirectory> {
        let temporary = std::env::temp_dir();
        remove_left_behind(&temporary);
        let path = temporary.join(format!("{DIRECTORY_PREFIX}{}", random_word()?));
        DirBuilder::new().mode(0o700).create(&path).map_err(|error| {
            Error::new(format!("cannot create {} for the HTTP handlers' socket", path.display()))
                .caused_by(error)
        })?;
        Ok(PrivateDirectory(path))
    }

    fn socket(&self) -> PathBuf {
        socket_in(&self.0)
    }
}

fn socket_in(directory: &Path) -> PathBuf {
    directory.join("http")
}

/// Removes the directories of endpoints that were killed: those on whose socket nobody listens any more.
fn remove_left_behind(temporary: &Path) {
    for entry in std::fs::read_dir(temporary).into_iter().flatten().flatten() {
        let ours = entry.file_name().to_str().is_some_and(|name| name.starts_with(DIRECTORY_PREFIX));
        let age = || entry.metadata().ok()?.modified().ok()?.elapsed().ok();
        if !ours || age().is_none_or(|age| age < SETTLED) {
            continue;
        }
        let knocked = UnixStream::connect(socket_in(&entry.path()));
        if knocked.is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused) {
            // Another endpoint may be faster.
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
    fn what_a_killed_endpoint_left_behind_is_removed_and_what_is_in_use_is_not() {
        let temporary = PrivateDirectory::create().unwrap();
        let long_ago = FileTimes::new().set_modified(SystemTime::now() - 2 * SETTLED);
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
