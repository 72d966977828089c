//! Signals that ask a program to stop.

use net::stop::Stop;

use crate::error::{Error, Result};

/// A stop that Ctrl-C, SIGTERM or SIGHUP asks for.
///
/// # Errors
/// When the handler cannot be installed, as there can be only one.
pub fn stop() -> Result<Stop> {
    let stop = Stop::new();
    let asked = stop.clone();
    ctrlc::set_handler(move || {
        if !asked.is_asked() {
            asked.ask();
            log::info!("stopping");
        }
    })
    .map_err(|e| Error::new("signals cannot be handled").caused_by(e))?;
    Ok(stop)
}
