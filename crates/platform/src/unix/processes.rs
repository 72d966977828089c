//! A program that is killed with all that it started, and the end of this process.

use std::io;
use std::ops::{Deref, DerefMut};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;

/// A program in a group of its own, which holds what it starts, too.
#[derive(Debug)]
pub struct GroupChild(Child);

impl GroupChild {
    /// Starts the program. The group protects it from Ctrl-C.
    ///
    /// # Errors
    /// The system's.
    pub fn spawn(command: &mut Command) -> io::Result<GroupChild> {
        command.process_group(0).spawn().map(GroupChild)
    }

    /// Kills the program and all of its group. It is not waited for.
    pub fn kill_group(&mut self) {
        if let Ok(group) = i32::try_from(self.0.id()) {
            // A group lives on under this id as long as one of its processes does, and the program until it
            // was waited for; no other can have it.
            let _gone = killpg(Pid::from_raw(group), Signal::SIGKILL);
        }
    }
}

impl Deref for GroupChild {
    type Target = Child;

    fn deref(&self) -> &Child {
        &self.0
    }
}

impl DerefMut for GroupChild {
    fn deref_mut(&mut self) -> &mut Child {
        &mut self.0
    }
}

/// Kills this process, whatever its threads wait for.
pub fn kill_this() {
    let _ = kill(Pid::this(), Signal::SIGKILL);
}

/// Has the system continue this process when its parent dies: one that is frozen (SIGSTOP) could not end
/// itself. The thread that asks has to live on; a process that runs is not disturbed. Linux alone can do so.
///
/// # Errors
/// The system's.
pub fn thaw_at_the_end_of_the_parent() -> io::Result<()> {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    nix::sys::prctl::set_pdeathsig(Signal::SIGCONT)?;
    Ok(())
}
