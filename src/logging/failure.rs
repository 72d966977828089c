//! What is known of a log file that cannot be written, as its disk is full or broken: why, and how many lines
//! are not in it. It costs the program nothing else.

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use net::sync::{Mutex, lock};
use platform::disks;

use crate::text::escape;

/// The failure of the log file of this process; the log is the process's, too.
static FAILURE: LazyLock<Mutex<Option<Failure>>> = LazyLock::new(Mutex::default);

/// Lines that could not be written to a file, and why.
struct Failure {
    path: PathBuf,
    what: String,
    lost: usize,
}

/// Why the log file of this process cannot be written now, if it is so: a sentence without its full stop.
pub fn failure() -> Option<String> {
    lock(&FAILURE).as_ref().map(|failure| failure.what.clone())
}

/// Why another program could write nothing to the log file at `path`, as far as its disk tells: it is full or
/// read-only. A sentence without its full stop.
pub fn disk_trouble(path: &str) -> Option<String> {
    let disk = disks::space(Path::new(path)).ok().filter(|_| !path.is_empty())?;
    let why = match disk.free {
        _ if disk.is_read_only => "its disk is read-only",
        0 if disk.size > 0 => "no room is left on its disk",
        _ => return None,
    };
    Some(cannot_be_written(Path::new(path), &why))
}

fn cannot_be_written(path: &Path, why: &dyn std::fmt::Display) -> String {
    format!("the log file {} cannot be written: {why}", escape(path.as_os_str().as_encoded_bytes()))
}

/// So many lines could not be written to the file at `path`; gives what is to be told of it, the first time.
pub(super) fn begins(path: &Path, why: &dyn std::fmt::Display, lost: usize) -> Option<String> {
    let mut failure = lock(&FAILURE);
    if let Some(known) = failure.as_mut().filter(|known| known.path == path) {
        known.lost += lost;
        return None;
    }
    let what = cannot_be_written(path, why);
    let news = format!("{what}; the program goes on without it");
    *failure = Some(Failure { path: path.to_owned(), what, lost });
    Some(news)
}

/// The file at `path` was written; gives what is to be told of it, if it could not be before.
pub(super) fn ends(path: &Path) -> Option<String> {
    let Failure { lost, .. } = lock(&FAILURE).take_if(|known| known.path == path)?;
    let path = escape(path.as_os_str().as_encoded_bytes());
    Some(format!("the log file {path} can be written again; {lost} lines are not in it"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_on_a_disk_with_room_and_one_that_is_not_there_are_no_trouble() {
        for path in [concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"), "/nowhere/at/all.log", ""] {
            assert_eq!(disk_trouble(path), None, "{path}");
        }
    }
}
