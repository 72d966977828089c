//! Signals that ask a program to stop.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use net::stop::Stop;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

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
    let mut first = None;
    ctrlc::set_handler(move || match first {
        None => {
            first = Some(Instant::now());
            if !asked.is_asked() {
                asked.ask();
                log::info!("stopping; a second Ctrl-C or signal ends this at once");
            }
        }
        Some(at) if at.elapsed() < ONE_WISH => {}
        Some(_) => end_at_once(&asked),
    })
    .map_err(|e| Error::new("signals cannot be handled").caused_by(e))?;
    Ok(stop)
}

/// Ends the process, whatever its threads do.
fn end_at_once(stop: &Stop) -> ! {
    IS_HURRIED.store(true, Ordering::Relaxed);
    // Neither the log nor the exit may hold this up; both can, where an output stands still.
    let killer = || {
        thread::sleep(KILL_AFTER);
        let _ = kill(Pid::this(), Signal::SIGKILL);
    };
    let _ = thread::Builder::new().name("kill".to_owned()).spawn(killer);
    stop.hurry();
    let before_the_log = Instant::now();
    log::warn!("ending at once: what is not stored, answered or committed yet stays so");
    thread::sleep(LAST_MOMENT.saturating_sub(before_the_log.elapsed()));
    log::logger().flush();
    std::process::exit(1)
}
