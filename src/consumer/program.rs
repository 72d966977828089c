//! The program of a handler: looked for once, started as often as it is needed, and ended with all that it
//! started.

use std::process::{Command, ExitStatus, Stdio};

use platform::processes::GroupChild;
use platform::programs;

use super::handler::{Failure, FailureCause};
use crate::error::{Error, Result};
use net::{secret_variables, service_manager};

/// `EX_TEMPFAIL` of BSD's sysexits.h: it was not the message's fault.
const TRY_LATER: i32 = 75;
/// `EX_DATAERR` of BSD's sysexits.h: no attempt at this message can succeed.
pub const DEAD: i32 = 65;

/// The key of the program that handles messages.
pub const SETTING: &str = "consumer.handler";

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
        let Some(path) = programs::find(name) else {
            return refused(format!("there is no program {name:?} that can be run"));
        };
        if let Some(lack) = programs::lack(&path) {
            return refused(format!("{} {lack}", path.display()));
        }
        Ok(Program { name: name.clone(), arguments: arguments.to_vec() })
    }

    /// The command that starts it, with a pipe for its input and without the variables that hold secrets. It
    /// is for [`GroupChild::spawn`], so that it can be killed with what it starts.
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.name);
        secret_variables::withhold(&mut command);
        service_manager::withhold(&mut command);
        command.args(&self.arguments).stdin(Stdio::piped());
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
pub fn kill(child: &mut GroupChild) {
    child.kill_group();
    if let Err(error) = child.kill().and_then(|()| child.wait()) {
        log::error!("the handler cannot be ended: {error}");
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

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
