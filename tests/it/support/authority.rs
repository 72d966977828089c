//! Certificates, and an issuer of OAuth tokens, in a program in Python (tests/it/clients/authority.py).

use std::fs::{self, Permissions};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, ChildStdout, Stdio};
use std::sync::{Mutex, OnceLock, PoisonError};

use super::python::python;
use super::watchdog::{Folder, Guarded};

/// The running program, and the folder with what it has made.
pub struct Authority {
    folder: Folder,
    port: u16,
    pipes: Mutex<(ChildStdin, BufReader<ChildStdout>)>,
    _process: Guarded,
}

impl Authority {
    /// The one that all tests share; it runs until the test process ends.
    pub fn shared() -> &'static Authority {
        static SHARED: OnceLock<Authority> = OnceLock::new();
        SHARED.get_or_init(Authority::start)
    }

    fn start() -> Authority {
        let folder = Folder::new("authority");
        let mut command = python("authority.py");
        command.arg(folder.path()).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = Guarded::spawn(&mut command);
        let input = process.child().stdin.take().expect("its standard input is a pipe");
        let output = process.child().stdout.take().expect("its standard output is a pipe");
        let mut output = BufReader::new(output);
        let port = read_line(&mut output).parse().expect("the port of its endpoint");
        Authority { folder, port, pipes: Mutex::new((input, output)), _process: process }
    }

    /// The path of a file that it has made: see `certificates` in authority.py.
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Makes a new set of certificates, by an authority of its own, in this folder.
    pub fn make_certificates(&self, folder: &Path) {
        self.ask(&["certificates", &folder.display().to_string()]);
    }

    /// A token for this user that ends after so many seconds, or so many ago.
    pub fn token(&self, user: &str, seconds: i64) -> String {
        self.ask(&["token", user, &seconds.to_string()])
    }

    /// The URL of the token endpoint that answers as `mode` says; no other test uses this `name`.
    pub fn token_url(&self, mode: &str, name: &str) -> String {
        format!("https://localhost:{}/token/{mode}/{name}", self.port)
    }

    /// How many requests came for this URL.
    pub fn requests(&self, url: &str) -> usize {
        self.ask(&["count", path_of(url)]).parse().expect("a number")
    }

    /// The last request for this URL: its `headers` and its `form`.
    pub fn last_request(&self, url: &str) -> serde_json::Value {
        serde_json::from_str(&self.ask(&["last", path_of(url)])).expect("JSON")
    }

    fn ask(&self, words: &[&str]) -> String {
        let mut pipes = self.pipes.lock().unwrap_or_else(PoisonError::into_inner);
        let (input, output) = &mut *pipes;
        writeln!(input, "{}", words.join("\t")).expect("the authority reads");
        read_line(output)
    }
}

fn path_of(url: &str) -> &str {
    url.find("/token").map_or(url, |at| &url[at..])
}

fn read_line(output: &mut BufReader<ChildStdout>) -> String {
    let mut line = String::new();
    output.read_line(&mut line).expect("the authority answers");
    line.trim_end().to_owned()
}

/// Writes a file that its owner alone may read, there whole or not at all.
pub fn write_secret(path: &Path, content: &str) {
    let whole = path.with_extension("whole");
    fs::write(&whole, content).expect("a file");
    fs::set_permissions(&whole, Permissions::from_mode(0o600)).expect("its mode");
    fs::rename(whole, path).expect("its name");
}
