//! The program of a handler: looked for once, started as often as it is needed, and ended with all that it
//! started.

use std::ffi::OsStr;
use std::fs::File;
use std::io::Read;
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use super::handler::{Failure, FailureCause};
use crate::error::{Error, Result};
use net::{secret_variables, service_manager};

/// `EX_TEMPFAIL` of BSD's sysexits.h: it was not the message's fault.
const TRY_LATER: i32 = 75;
/// `EX_DATAERR` of BSD's sysexits.h: no attempt at this message can succeed.
pub const DEAD: i32 = 65;

/// The key of the program that handles messages.
pub const SETTING: &str = "consumer.handler";

/// The number of first bytes that tell a binary from a script.
const BEGINNING: u64 = 256;

/// A program that gets messages.
pub struct Program {
    name: String,
    arguments: Vec<String>,
}

impl Program {
    /// The program and its arguments, which `setting` names.
    ///
    /// # Errors
    /// There is no such program: it would fail at every message.
    pub fn find(setting: &str, command: &[String]) -> Result<Program> {
        let (name, arguments) = command
            .split_first()
            .ok_or_else(|| Error::new(format!("{setting} names no program")).about_settings())?;
        let refused = |what: String| Err(Error::new(format!("{setting}: {what}")).about_settings());
        let Some(path) = find(name) else {
            return refused(format!("there is no program {name:?} that can be run"));
        };
        if is_text_alone(&path) {
            return refused(format!("{} has to begin with a line like #!/bin/sh", path.display()));
        }
        Ok(Program { name: name.clone(), arguments: arguments.to_vec() })
    }

    /// The command that starts it, with a pipe for its input and without the variables that hold secrets.
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.name);
        secret_variables::withhold(&mut command);
        service_manager::withhold(&mut command);
        command.args(&self.arguments).stdin(Stdio::piped());
        // A process group of its own protects the program from Ctrl-C, and lets it be killed with its own
        // children.
        command.process_group(0);
        command
    }
}

/// What the end of a program with this status means for its message, if it is not `otherwise`.
pub fn failure(
    status: ExitStatus,
    cause: FailureCause,
    otherwise: impl FnOnce(FailureCause) -> Failure,
) -> Failure {
    match status.code() {
        Some(TRY_LATER) => Failure::TryLater { cause, wait: None },
        Some(DEAD) => Failure::Dead(cause),
        _ => otherwise(cause),
    }
}

/// Kills a program and all of its group, and waits for it.
pub fn kill(child: &mut Child) {
    if let Ok(group) = i32::try_from(child.id()) {
        // Before the wait for it, no other process can have its id.
        let _ = killpg(Pid::from_raw(group), Signal::SIGKILL);
    }
    if let Err(error) = child.kill().and_then(|()| child.wait()) {
        log::error!("the handler cannot be ended: {error}");
    }
}

/// Whether the reader of an output of this process, which programs share, is gone.
pub fn is_unread(output: &impl AsFd) -> bool {
    let mut outputs = [PollFd::new(output.as_fd(), PollFlags::empty())];
    let gone = PollFlags::POLLERR | PollFlags::POLLHUP;
    poll(&mut outputs, PollTimeout::ZERO).is_ok()
        && outputs.iter().any(|output| output.revents().is_some_and(|found| found.intersects(gone)))
}

/// The path of a program: `program` is a path, or a name in one of the folders of `PATH`.
fn find(program: &str) -> Option<PathBuf> {
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

/// Whether the file is a script without `#!`. A shell would run it, but the system does not start it.
/// Binaries have a NUL in their first bytes.
fn is_text_alone(path: &Path) -> bool {
    let mut beginning = Vec::new();
    let read = File::open(path).and_then(|file| file.take(BEGINNING).read_to_end(&mut beginning));
    // A file that cannot be read may be executable all the same.
    read.is_ok() && !beginning.starts_with(b"#!") && !beginning.contains(&0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_cannot_be_run_is_an_error_at_once() {
        let no_program = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
        for program in ["no-such-program", "./no-such-program", "/", no_program, ""] {
            let Err(error) = Program::find(SETTING, &[program.to_owned()]) else { panic!("{program:?}") };
            assert!(error.is_about_settings(), "{error}");
        }
        assert!(Program::find(SETTING, &[]).is_err());
    }

    #[test]
    fn a_script_that_does_not_say_what_runs_it_is_refused_at_once() {
        let mut unique = [0; 8];
        getrandom::fill(&mut unique).unwrap();
        let path = std::env::temp_dir().join(format!("handler-{:016x}", u64::from_ne_bytes(unique)));
        let of = |script: &str| {
            std::fs::write(&path, script).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
            Program::find(SETTING, &[path.to_str().unwrap().to_owned()])
        };
        let (without, empty, with) = (of("exit 0\n"), of(""), of("#!/bin/sh\nexit 0\n"));
        std::fs::remove_file(&path).unwrap();
        for refused in [without, empty] {
            let Err(error) = refused else { panic!("it must be refused") };
            assert!(error.is_about_settings() && error.to_string().contains("#!/bin/sh"), "{error}");
        }
        assert!(with.is_ok());
    }
}
