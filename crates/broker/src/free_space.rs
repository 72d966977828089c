//! The room on the file system of the database: records are refused before it is used up, so that what is
//! small, such as commits, and what writes files anew to give room back still finds some.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use net::sync::{Mutex, lock};

/// What is kept free at most where `embedded.min_free_bytes` is not set, ...
const USUAL_MIN: u64 = 64 * 1024 * 1024;
/// ... and the part of the file system that it is at most: one of so many.
const USUAL_PART: u64 = 20;

/// The shortest time between two lines of the log about a want of room.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// What a file system says of itself, in bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Space {
    /// What programs without privileges can still take.
    pub(crate) free: u64,
    pub(crate) size: u64,
}

/// Reads the space of a file system; `None` if that is not known.
type Reading = Box<dyn Fn(&Path) -> Option<Space> + Send + Sync>;

/// Watches the room on the file system of a database.
pub struct FreeSpace {
    data_dir: PathBuf,
    min_free_bytes: Option<u64>,
    read: Reading,
    state: Mutex<SpaceState>,
}

#[derive(Debug, Default)]
struct SpaceState {
    /// Bytes of records that may be taken until it has to be looked again.
    left: u64,
    /// Why no records are taken.
    refusal: Option<String>,
    /// When a want of room was last logged, and whether its end is still to be.
    told: Option<Instant>,
    is_told: bool,
}

impl FreeSpace {
    /// The watch over the file system of `data_dir`, which was not looked at yet. `None` for what is kept
    /// free: the smaller of 64 MiB and a twentieth of the file system.
    pub fn new(data_dir: &Path, min_free_bytes: Option<u64>) -> FreeSpace {
        FreeSpace::reading(data_dir, min_free_bytes, Box::new(space_of))
    }

    pub(crate) fn reading(data_dir: &Path, min_free_bytes: Option<u64>, read: Reading) -> FreeSpace {
        FreeSpace { data_dir: data_dir.to_owned(), min_free_bytes, read, state: Mutex::default() }
    }

    /// Looks at the file system. Returns why no records are taken, a sentence without its full stop, and logs
    /// when that begins and ends. Where the space is not known, records are taken.
    pub fn look(&self) -> Option<String> {
        let space = (self.read)(&self.data_dir);
        let mut state = lock(&self.state);
        (state.left, state.refusal) = match space {
            None => (u64::MAX, None),
            Some(space) => {
                let min = self.min_free_bytes.unwrap_or(USUAL_MIN.min(space.size / USUAL_PART));
                let is_short = space.free < min;
                let refusal = is_short.then(|| self.refusal(space.free, min));
                (space.free.saturating_sub(min), refusal)
            }
        };
        state.tell(Instant::now());
        state.refusal.clone()
    }

    /// Takes room for records of so many bytes. Returns why they are refused if there is none, as
    /// [`FreeSpace::look`] does; that ends with the next look.
    ///
    /// It looks by itself when as much was taken as was free at the last look: a fast disk is filled within a
    /// second.
    pub(crate) fn take(&self, bytes: usize) -> Option<String> {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        let mut state = lock(&self.state);
        if state.refusal.is_some() {
            return state.refusal.clone();
        }
        if let Some(left) = state.left.checked_sub(bytes) {
            state.left = left;
            return None;
        }
        drop(state);
        let refusal = self.look();
        let mut state = lock(&self.state);
        state.left = state.left.saturating_sub(bytes);
        refusal
    }

    /// Why no records are taken, as of the last look.
    pub(super) fn last_refusal(&self) -> Option<String> {
        lock(&self.state).refusal.clone()
    }

    fn refusal(&self, free: u64, min: u64) -> String {
        format!(
            "the embedded broker takes no messages: the file system of {} has {free} bytes left, fewer than \
             embedded.min_free_bytes = {min}: make room on it, or set fewer",
            self.data_dir.display()
        )
    }
}

impl SpaceState {
    /// Logs that there is a want of room, or room again, not too often.
    fn tell(&mut self, now: Instant) {
        match &self.refusal {
            None if std::mem::take(&mut self.is_told) => {
                log::info!("broker: there is room again: messages are taken");
            }
            Some(why) if !self.is_told && self.told.is_none_or(|at| now - at >= TELL_EVERY) => {
                log::error!("broker: {why}");
                (self.told, self.is_told) = (Some(now), true);
            }
            _ => {}
        }
    }
}

impl fmt::Debug for FreeSpace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FreeSpace").field("data_dir", &self.data_dir).finish_non_exhaustive()
    }
}

/// The space of the file system of `folder`. Some file systems do not tell theirs, and say zero.
pub(crate) fn space_of(folder: &Path) -> Option<Space> {
    let found = platform::disks::space(folder);
    let found = found.inspect_err(|error| log::debug!("broker: {}: {error}", folder.display())).ok()?;
    (found.size > 0).then_some(Space { free: found.free, size: found.size })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    const MIB: u64 = 1024 * 1024;

    /// A file system of which a test says what it tells.
    fn watch(min: Option<u64>, free: u64, size: u64) -> (FreeSpace, Arc<Mutex<Option<Space>>>) {
        let space = Arc::new(Mutex::new(Some(Space { free, size })));
        let told = space.clone();
        let read = Box::new(move |_: &Path| *lock(&told));
        (FreeSpace::reading(Path::new("/data"), min, read), space)
    }

    fn set_free(space: &Mutex<Option<Space>>, bytes: u64) {
        lock(space).as_mut().unwrap().free = bytes;
    }

    #[test]
    fn a_look_finds_a_want_of_room_and_its_end() {
        let (watch, space) = watch(Some(1000), 999, 1 << 40);
        let why = watch.look().unwrap();
        for part in ["/data has 999 bytes left", "embedded.min_free_bytes = 1000"] {
            assert!(why.contains(part), "{why}");
        }
        assert_eq!(watch.take(1), Some(why.clone()));
        assert_eq!(watch.last_refusal(), Some(why));
        set_free(&space, 1000);
        assert!(watch.take(1).is_some(), "only a look ends it");
        assert_eq!((watch.look(), watch.take(1), watch.last_refusal()), (None, None, None));
    }

    #[test]
    fn what_is_kept_free_is_the_smaller_of_64_mib_and_a_twentieth_unless_it_is_set() {
        for (set, size, min) in [
            (None, 16 * MIB, 16 * MIB / 20),
            (None, 1280 * MIB, 64 * MIB),
            (None, 1 << 50, 64 * MIB),
            (Some(5), 1 << 50, 5),
            (Some(1 << 51), 1 << 50, 1 << 51),
        ] {
            assert!(watch(set, min - 1, size).0.look().is_some(), "{set:?} of {size}");
            assert_eq!(watch(set, min, size).0.look(), None, "{set:?} of {size}");
        }
    }

    #[test]
    fn a_full_file_system_and_one_that_tells_nothing_are_no_want_of_room_where_that_is_off_or_unknown() {
        let (off, _) = watch(Some(0), 0, 1 << 30);
        assert_eq!((off.look(), off.take(usize::MAX)), (None, None));
        let (unknown, space) = watch(None, 0, 1 << 30);
        assert!(unknown.look().is_some());
        *lock(&space) = None;
        assert_eq!((unknown.look(), unknown.take(usize::MAX)), (None, None));
    }

    #[test]
    fn what_is_taken_between_two_looks_is_counted() {
        let (watch, space) = watch(Some(1000), 1500, 1 << 30);
        watch.look();
        set_free(&space, 1200);
        assert_eq!(watch.take(500), None, "as much as was free");
        assert_eq!(watch.take(100), None, "200 are free");
        assert_eq!(watch.take(100), None);
        set_free(&space, 999);
        assert!(watch.take(1).unwrap().contains("999 bytes left"));
    }

    #[test]
    fn a_want_of_room_that_comes_and_goes_is_told_once_in_a_while() {
        let start = Instant::now();
        let mut state = SpaceState::default();
        let mut is_told = |refusal: Option<&str>, after: Duration| {
            state.refusal = refusal.map(str::to_owned);
            state.tell(start + after);
            state.is_told
        };
        assert!(is_told(Some("none"), Duration::ZERO));
        assert!(!is_told(None, TELL_EVERY / 4));
        assert!(!is_told(Some("none"), TELL_EVERY / 2));
        assert!(is_told(Some("none"), TELL_EVERY));
    }

    #[cfg(unix)]
    #[test]
    fn the_file_system_of_a_folder_tells_its_space_and_a_folder_that_is_not_there_nothing() {
        let space = space_of(&std::env::temp_dir()).unwrap();
        assert!(space.size > 0 && space.free <= space.size, "{space:?}");
        assert!(space_of(Path::new("/not/there")).is_none());
    }
}
