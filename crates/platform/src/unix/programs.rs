//! Where the program of a command line is, and whether the system starts it.

use std::ffi::OsStr;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// The number of first bytes that tell a binary from a script.
const BEGINNING: u64 = 256;

/// The path of a program that can be run: `program` is a path, or a name in one of the folders of `PATH`.
pub fn find(program: &str) -> Option<PathBuf> {
    let is_program = |path: &PathBuf| {
        path.metadata().is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
    };
    if program.contains('/') {
        return Some(PathBuf::from(program)).filter(is_program);
    }
    let path = std::env::var_os("PATH");
    let folders = std::env::split_paths(path.as_deref().unwrap_or(OsStr::new("/bin:/usr/bin")));
    folders.into_iter().map(|folder| folder.join(program)).find(is_program)
}

/// What a file lacks that the system is to start, if it lacks something: the end of a sentence about it.
pub fn lack(path: &Path) -> Option<&'static str> {
    is_text_alone(path).then_some("has to begin with a line like #!/bin/sh")
}

/// Whether the file is a script without `#!`. A shell would run it, but the system does not start it.
/// Binaries have a NUL in their first bytes.
fn is_text_alone(path: &Path) -> bool {
    let mut beginning = Vec::new();
    let read = File::open(path).and_then(|file| file.take(BEGINNING).read_to_end(&mut beginning));
    // A file that cannot be read may be executable all the same.
    read.is_ok() && !beginning.starts_with(b"#!") && !beginning.contains(&0)
}
