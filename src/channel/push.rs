//! Messages pushed to a handler, one after the other, and committed automatically.

use std::time::Instant;

use super::handler::Handler;
use super::puller::Puller;
use super::worker::{Worked, Worker};
use crate::error::Result;

/// Has every message handled until stop is asked. What was handled is committed each
/// `consumer.auto_commit_interval_ms`, when stop is asked, and before partitions go to another consumer:
/// after a crash what was handled since the last commit comes again, and nothing is committed that was not
/// handled.
///
/// # Errors
/// When the handler is of no more use, after a commit of what was handled before.
pub fn push(puller: &mut Puller, worker: &mut Worker<impl Handler>) -> Result<()> {
    if puller.join() {
        worker.joined()?;
    }
    let (interval, wait) = (puller.settings().auto_commit_interval(), puller.settings().fetch_max_wait());
    let mut due = Instant::now() + interval;
    let outcome = loop {
        if puller.stop().is_asked() {
            break Ok(());
        }
        let left = due.saturating_duration_since(Instant::now());
        if let Some(received) = puller.next(if puller.has_marked() { wait.min(left) } else { wait }) {
            match worker.work(&received) {
                Ok(Worked::Done) => puller.mark(),
                Ok(Worked::Left) => puller.give_back(),
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
