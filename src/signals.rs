//! Signals that ask a program to stop.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Sender};
use std::thread;
use std::time::{Duration, Instant};

use net::stop::Stop;
use platform::processes;

use crate::error::{Error, Result};

/// What sends signals may send one wish as several: to the process and to its group, or SIGHUP beside
/// SIGTERM. A signal that comes so soon after the first is no second wish.
const ONE_WISH: Duration = Duration::from_millis(150);
/// The time in which handlers and child processes are ended after the second wish.
const LAST_MOMENT: Duration = Duration::from_millis(450);
/// A process that then cannot even exit, as an output stands still, is killed so long after the second wish.
const KILL_AFTER: Duration = Duration::from_millis(800);

/// Whether the second wish has come.
static IS_HURRIED: AtomicBool = AtomicBool::new(false);

/// Whether a second signal has come, so that this is no clean stop.
pub(crate) fn is_hurried() -> bool {
    IS_HURRIED.load(Ordering::Relaxed)
}

/// A stop that Ctrl-C, SIGTERM or SIGHUP asks for. A second signal ends the process within a second, with
/// exit code 1, whatever it waits for: what is not stored, answered or committed by then is not. (Where an
/// output stands still, so that it cannot exit, it is killed by SIGKILL.)
///
/// # Errors
/// When the handler cannot be installed, as there can be only one.
pub fn stop() -> Result<Stop> {
    let stop = Stop::new();
    let asked = stop.clone();
    let helpers = Helpers::start().map_err(not_handled)?;
    let mut first = None;
    ctrlc::set_handler(move || match first {
        None => {
            if !asked.is_asked() {
                asked.ask();
                helpers.log(log::Level::Info, "stopping; a second Ctrl-C or signal ends this at once");
            }
            first = Some(Instant::now());
        }
        Some(at) if at.elapsed() < ONE_WISH => {}
        Some(_) => helpers.end_at_once(&asked),
    })
    .map_err(not_handled)?;
    Ok(stop)
}

fn not_handled(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::new("signals cannot be handled").caused_by(error)
}

/// Threads that wait for signals, so that the thread which hears them waits for nothing: neither the log nor
/// the exit, which both stand still where an output does.
struct Helpers {
    log: Sender<(log::Level, &'static str)>,
    kill: Sender<()>,
}

impl Helpers {
    /// # Errors
    /// The system gives no thread.
    fn start() -> io::Result<Helpers> {
        let (log, lines) = mpsc::channel::<(log::Level, &str)>();
        let thread = thread::Builder::new().name("signals".to_owned());
        thread.spawn(move || lines.iter().for_each(|(level, line)| log::log!(level, "{line}")))?;
        let (kill, wishes) = mpsc::channel();
        thread::Builder::new().name("kill".to_owned()).spawn(move || {
            if wishes.recv().is_ok() {
                thread::sleep(KILL_AFTER);
                processes::kill_this();
            }
        })?;
        Ok(Helpers { log, kill })
    }

    fn log(&self, level: log::Level, line: &'static str) {
        // The thread is there as long as the process.
        let _ = self.log.send((level, line));
    }

    /// Ends the process, whatever its threads do.
    fn end_at_once(&self, stop: &Stop) -> ! {
        let _ = self.kill.send(());
        IS_HURRIED.store(true, Ordering::Relaxed);
        stop.hurry();
        self.log(log::Level::Warn, "ending at once: what is not stored, answered or committed yet stays so");
        thread::sleep(LAST_MOMENT);
        log::logger().flush();
        std::process::exit(1)
    }
}
