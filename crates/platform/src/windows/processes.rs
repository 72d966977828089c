//! A program that is killed with all that it started, and the end of this process.

use std::io;
use std::ops::{Deref, DerefMut};
use std::os::windows::io::AsRawHandle;
use std::os::windows::process::CommandExt;
use std::process::{Child, Command};

use win32job::{ExtendedLimitInfo, Job};

/// `CREATE_NEW_PROCESS_GROUP`: Ctrl-C in the console is not for the new process.
const NEW_GROUP: u32 = 0x200;

/// A program in a job of its own, which holds what it starts, too.
#[derive(Debug)]
pub struct GroupChild {
    child: Child,
    /// `None` once it was killed.
    job: Option<Job>,
}

impl GroupChild {
    /// Starts the program. The group protects it from Ctrl-C. What it starts in its first microseconds,
    /// before it is in its job, is not of the job.
    ///
    /// # Errors
    /// The system's.
    pub fn spawn(command: &mut Command) -> io::Result<GroupChild> {
        let job = Job::create().map_err(io::Error::other)?;
        let mut child = command.creation_flags(NEW_GROUP).spawn()?;
        if let Err(error) = job.assign_process(child.as_raw_handle().addr().cast_signed()) {
            // One that has ended already needs no job.
            if child.try_wait()?.is_none() {
                child.kill()?;
                child.wait()?;
                return Err(io::Error::other(error));
            }
        }
        Ok(GroupChild { child, job: Some(job) })
    }

    /// Kills the program and all of its job. It is not waited for.
    pub fn kill_group(&mut self) {
        // The job is closed, which kills who is in it.
        if let Some(job) = self.job.take()
            && let Err(error) =
                job.set_extended_limit_info(ExtendedLimitInfo::new().limit_kill_on_job_close())
        {
            log::warn!("what a program has started cannot be ended with it: {error}");
        }
        let _gone = self.child.kill();
    }
}

impl Deref for GroupChild {
    type Target = Child;

    fn deref(&self) -> &Child {
        &self.child
    }
}

impl DerefMut for GroupChild {
    fn deref_mut(&mut self) -> &mut Child {
        &mut self.child
    }
}

/// Ends this process, whatever its threads wait for.
pub fn kill_this() {
    std::process::abort();
}

/// On Linux, has the system continue a frozen process when its parent dies. Windows does not freeze
/// processes.
///
/// # Errors
/// None.
pub fn thaw_at_the_end_of_the_parent() -> io::Result<()> {
    Ok(())
}
