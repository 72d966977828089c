//! The watch over the process that serves: what keeps it from its work, or will, is logged, and told to other
//! processes, also while no client asks for anything.

use std::fs::File;
use std::path::Path;
use std::time::{Duration, SystemTime};

use net::descriptors::ShortageWatch;
use net::stop::Stop;

use super::failure_notice::{FailureNotice, dated, write_text};

/// The interval of looks.
const INTERVAL: Duration = Duration::from_secs(1);

/// The watch of a process that serves.
pub(super) struct HolderWatch {
    /// The notice of a failure, which shows whether the disk takes writes.
    failure: FailureNotice,
    /// The warning for other processes, opened while there are descriptors.
    warning: Option<File>,
    descriptors: ShortageWatch,
    /// Whether a warning may stand there.
    is_told: bool,
    /// What was logged of the disk.
    disk: Option<String>,
}

impl HolderWatch {
    /// Begins with no warning, whatever the process that served before has left.
    pub(super) fn start(folder: &Path) -> HolderWatch {
        let opened = FailureNotice::warning(folder).open();
        let warning = opened.inspect_err(|error| log::debug!("broker: no warning can be written: {error}"));
        let mut watch = HolderWatch {
            failure: FailureNotice::of(folder),
            warning: warning.ok(),
            descriptors: ShortageWatch::default(),
            is_told: true, // by the process that served before
            disk: None,
        };
        watch.tell(None);
        watch
    }

    /// Looks once a second until the store fails or a stop is asked.
    pub(super) fn run(mut self, ended: &Stop) {
        while !ended.wait_for(INTERVAL) {
            let shortage = self.descriptors.look();
            if shortage.is_none() {
                self.look_at_the_disk();
            }
            self.tell(shortage.as_deref());
        }
        self.tell(None);
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

    /// Writes a warning anew at each look, as others believe it only for a while; the want of one once.
    fn tell(&mut self, warning: Option<&str>) {
        if warning.is_none() && !self.is_told {
            return;
        }
        let text = warning.map(|what| {
            dated(&format!("the process that serves the embedded broker: {what}"), SystemTime::now())
        });
        let Some(file) = &mut self.warning else { return };
        match write_text(file, text.as_deref().unwrap_or_default()) {
            Ok(()) => self.is_told = warning.is_some(),
            Err(error) => log::debug!("broker: no warning can be written: {error}"),
        }
    }
}
