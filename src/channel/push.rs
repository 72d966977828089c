//! Messages pushed to a function, one after the other, and committed automatically.

use std::time::Instant;

use super::puller::{Puller, Received};
use crate::error::Result;

/// Calls `handle` for every message until stop is asked. What was handled is committed each
/// `consumer.auto_commit_interval_ms`, when stop is asked, and before partitions go to another consumer:
/// after a crash what was handled since the last commit comes again, and nothing is committed that was not
/// handled.
///
/// # Errors
/// Those of `handle`, after a commit of what was handled before.
pub fn push(puller: &mut Puller, mut handle: impl FnMut(&Received<'_>) -> Result<()>) -> Result<()> {
    let (interval, wait) = (puller.settings().auto_commit_interval(), puller.settings().fetch_max_wait());
    let mut due = Instant::now() + interval;
    let outcome = loop {
        if puller.stop().is_asked() {
            break Ok(());
        }
        let left = due.saturating_duration_since(Instant::now());
        if let Some(received) = puller.next(if puller.has_marked() { wait.min(left) } else { wait }) {
            match handle(&received) {
                Ok(()) => puller.mark(),
                Err(error) => break Err(error),
            }
        }
        if Instant::now() >= due {
            commit(puller);
            due = Instant::now() + interval;
        }
    };
    commit(puller);
    outcome
}

fn commit(puller: &mut Puller) {
    if let Err(error) = puller.commit_marked() {
        log::warn!("{error}; what was handled since the commit before may come again");
    }
}
