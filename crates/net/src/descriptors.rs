//! File descriptors that are used up: how that is told from other errors, and one that is kept for it.

use std::fs::File;
use std::io;
use std::time::{Duration, Instant};

use platform::descriptors::ANY_FILE;
pub use platform::descriptors::are_used_up;

/// The shortest time between two lines of the log about a shortage.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// Whether so many can be opened now.
pub fn are_spare(count: usize) -> bool {
    let opened: io::Result<Vec<File>> = (0..count).map(|_| File::open(ANY_FILE)).collect();
    opened.is_ok()
}

/// A sentence without its full stop where this process cannot open anything now.
pub fn shortage() -> Option<String> {
    let error = File::open(ANY_FILE).err().filter(are_used_up)?;
    Some(format!(
        "no file descriptors are left for new connections and files: {error}: close connections, or raise \
         the limit (ulimit -n)"
    ))
}

/// Looks whether descriptors are left, and says in the log when there are none, and when there are some
/// again.
#[derive(Debug, Default)]
pub struct ShortageWatch {
    told: Option<Instant>,
    is_told: bool,
}

impl ShortageWatch {
    /// What [`shortage`] says now.
    pub fn look(&mut self) -> Option<String> {
        let shortage = shortage();
        self.tell(shortage.as_deref(), Instant::now());
        shortage
    }

    fn tell(&mut self, shortage: Option<&str>, now: Instant) {
        match shortage {
            None if std::mem::take(&mut self.is_told) => log::info!("there are file descriptors again"),
            Some(what) if !self.is_told && self.told.is_none_or(|at| now - at >= TELL_EVERY) => {
                log::warn!("{what}");
                (self.told, self.is_told) = (Some(now), true);
            }
            _ => {}
        }
    }
}

/// Descriptors that are kept for the moment when no others are left.
#[derive(Debug)]
pub struct Reserve {
    files: Vec<File>,
    size: usize,
}

impl Reserve {
    /// A reserve of so many, as far as there are any.
    pub fn of(size: usize) -> Reserve {
        let mut reserve = Reserve { files: Vec::with_capacity(size), size };
        reserve.refill();
        reserve
    }

    /// Takes those that are missing, as far as there are any.
    pub fn refill(&mut self) {
        self.refill_except(0);
    }

    /// As [`Reserve::refill`], without so many that are in use.
    pub fn refill_except(&mut self, in_use: usize) {
        while self.files.len() + in_use < self.size {
            match File::open(ANY_FILE) {
                Ok(file) => self.files.push(file),
                Err(_) => return,
            }
        }
    }

    /// Gives one back to the system; false if there was none.
    pub fn release(&mut self) -> bool {
        self.files.pop().is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_used_up_descriptors_are_told_from_others() {
        assert!(platform::descriptors::NONE_LEFT.map(io::Error::from_raw_os_error).iter().all(are_used_up));
        assert!(!are_used_up(&io::Error::from_raw_os_error(2)));
        assert!(!are_used_up(&io::ErrorKind::StorageFull.into()));
        assert_eq!(shortage(), None);
        assert!(are_spare(2));
    }

    #[test]
    fn a_shortage_that_comes_and_goes_is_told_once_in_a_while() {
        let (mut watch, start) = (ShortageWatch::default(), Instant::now());
        let mut is_told_at = |shortage, after| {
            watch.tell(shortage, start + after);
            watch.is_told
        };
        assert!(is_told_at(Some("none left"), Duration::ZERO));
        assert!(!is_told_at(None, TELL_EVERY / 4));
        assert!(!is_told_at(Some("none left"), TELL_EVERY / 2));
        assert!(is_told_at(Some("none left"), TELL_EVERY));
    }

    #[test]
    fn what_was_released_is_taken_into_reserve_again() {
        let mut reserve = Reserve::of(2);
        assert!(reserve.release() && reserve.release() && !reserve.release());
        reserve.refill_except(1);
        assert!(reserve.release() && !reserve.release());
        reserve.refill();
        assert!(reserve.release() && reserve.release() && !reserve.release());
    }
}
