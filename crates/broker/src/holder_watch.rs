//! The watch over the process that serves: what keeps it from its work, or will, is logged, and told to other
//! processes, also while no client asks for anything.

use std::fs::File;
use std::path::Path;
use std::time::{Duration, SystemTime};

use net::descriptors::ShortageWatch;
use net::stop::Stop;

use super::failure_notice::{FailureNotice, dated, write_text};
use super::free_space::FreeSpace;

/// The interval of looks.
const INTERVAL: Duration = Duration::from_secs(1);

/// The watch of a process that serves.
pub(super) struct HolderWatch<'a> {
    /// The notice of a failure, which shows whether the disk takes writes.
    failure: FailureNotice,
    warning: OpenNotice,
    refusal: OpenNotice,
    descriptors: ShortageWatch,
    space: &'a FreeSpace,
    /// What was logged of the disk.
    disk: Option<String>,
}

impl<'a> HolderWatch<'a> {
    /// Begins with no warning, whatever the process that served before has left, and with what was found last
    /// of the space.
    pub(super) fn start(folder: &Path, space: &'a FreeSpace) -> HolderWatch<'a> {
        let mut watch = HolderWatch {
            failure: FailureNotice::of(folder),
            warning: OpenNotice::of(&FailureNotice::warning(folder)),
            refusal: OpenNotice::of(&FailureNotice::refusal(folder)),
            descriptors: ShortageWatch::default(),
            space,
            disk: None,
        };
        watch.warning.tell(None);
        watch.refusal.tell(space.last_refusal().as_deref());
        watch
    }

    /// Looks once a second, with `look_at_folder` as well, until the store fails or a stop is asked.
    pub(super) fn run(mut self, ended: &Stop, look_at_folder: &dyn Fn()) {
        while !ended.wait_for(INTERVAL) {
            look_at_folder();
            let shortage = self.descriptors.look();
            if shortage.is_none() {
                self.look_at_the_disk();
            }
            let warning = shortage.map(|what| format!("the process that serves the embedded broker: {what}"));
            self.warning.tell(warning.as_deref());
            self.refusal.tell(self.space.look().as_deref());
        }
        self.warning.tell(None);
        self.refusal.tell(None);
    }

    /// Logs that the disk takes no writes: the store itself learns it with the next message.
    fn look_at_the_disk(&mut self) {
        let found = self.failure.disk_failure();
        if found != self.disk {
            match &found {
                Some(what) => log::error!("broker: nothing can be stored: {what}"),
                None => log::info!("broker: the disk takes writes again"),
            }
            self.disk = found;
        }
    }
}

/// A notice for other processes, opened while there are descriptors.
struct OpenNotice {
    file: Option<File>,
    /// Whether something may stand there.
    is_told: bool,
}

impl OpenNotice {
    fn of(notice: &FailureNotice) -> OpenNotice {
        let opened = notice.open();
        let opened = opened.inspect_err(|error| log::debug!("broker: no notice can be written: {error}"));
        OpenNotice { file: opened.ok(), is_told: true } // by the process that served before
    }

    /// Writes it anew at each look, as others believe it only for a while; the want of one once.
    fn tell(&mut self, what: Option<&str>) {
        if what.is_none() && !self.is_told {
            return;
        }
        let text = what.map(|what| dated(what, SystemTime::now()));
        let Some(file) = &mut self.file else { return };
        match write_text(file, text.as_deref().unwrap_or_default()) {
            Ok(()) => self.is_told = what.is_some(),
            Err(error) => log::debug!("broker: no notice can be written: {error}"),
        }
    }
}
