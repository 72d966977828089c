//! Where the program of a command line is, and whether the system starts it.

use std::path::{Path, PathBuf};

/// The extensions of files that the system starts by themselves.
const STARTED: [&str; 4] = ["exe", "com", "bat", "cmd"];

/// The path of a program: `program` is a path, or a name in one of the folders of `PATH`. `.exe` may be left
/// out, other extensions may not, as where it is started ([`std::process::Command`]).
pub fn find(program: &str) -> Option<PathBuf> {
    if program.is_empty() {
        return None;
    }
    let at = |path: PathBuf| {
        let with_extension = path.extension().is_none().then(|| path.with_extension("exe"));
        with_extension.into_iter().chain([path]).find(|path| path.is_file())
    };
    if program.contains(['/', '\\']) {
        return at(PathBuf::from(program));
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).find_map(|folder| at(folder.join(program)))
}

/// What a file lacks that the system is to start, if it lacks something: the end of a sentence about it.
pub fn lack(path: &Path) -> Option<&'static str> {
    let extension = path.extension().unwrap_or_default();
    let is_started = STARTED.iter().any(|known| extension.eq_ignore_ascii_case(known));
    (!is_started).then_some(
        "is no program that Windows starts by itself (.exe, .com, .bat, .cmd): name the one that runs it \
         before it, as in [\"python\", \"handler.py\"]",
    )
}
