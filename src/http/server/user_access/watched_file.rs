//! The file of users, looked at once a second.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use platform::files::{self, Stamp};

use crate::error::Result;
use crate::users::{self, Users};

/// The interval between two looks.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The file of users.
pub(super) struct WatchedFile {
    path: PathBuf,
    seen: Option<Stamp>,
    /// The error of the last look, which the log has already.
    trouble: Option<String>,
    next_look: Instant,
}

impl WatchedFile {
    /// Reads the file for the first time.
    ///
    /// # Errors
    /// It cannot be used.
    pub(super) fn open(path: &Path) -> Result<(WatchedFile, Users)> {
        let seen = files::stamp(path);
        let users = users::load(path)?;
        let next_look = Instant::now() + LOOK_EVERY;
        Ok((WatchedFile { path: path.to_owned(), seen, trouble: None, next_look }, users))
    }

    /// The time of the next look.
    pub(super) fn next_look(&self) -> Instant {
        self.next_look
    }

    /// Looks at the file if it is time; returns the users if it has changed. A file that cannot be used
    /// changes nothing, and is one error in the log: users that were removed meanwhile keep their access.
    pub(super) fn look(&mut self, now: Instant) -> Option<Users> {
        if now < self.next_look {
            return None;
        }
        self.next_look = now + LOOK_EVERY;
        // Taken before the file is read: the next look sees a change meanwhile.
        let stamp = files::stamp(&self.path);
        if stamp.is_some() && stamp == self.seen {
            return None;
        }
        self.seen = stamp;
        match users::load(&self.path) {
            Ok(users) => {
                self.trouble = None;
                log::info!("the users have changed; there are {} now", users.len());
                Some(users)
            }
            Err(error) => {
                let trouble = error.to_string();
                if self.trouble.as_ref() != Some(&trouble) {
                    log::error!("the users stay as they were: {trouble}");
                    self.trouble = Some(trouble);
                }
                None
            }
        }
    }
}
