//! Messages pushed to a handler, one after the other, and committed automatically.

use super::handler::Handler;
use super::puller::Puller;
use super::receiver::work;
use super::worker::Worker;
use crate::error::Result;

/// Has every message handled until stop is asked. What was handled is committed each
/// `consumer.auto_commit_interval_ms`, when stop is asked, and before partitions go to another consumer:
/// after a crash what was handled since the last commit comes again, and nothing is committed that was not
/// handled.
///
/// # Errors
/// When the handler is of no more use, after a commit of what was handled before.
pub fn push(puller: &mut Puller, worker: &mut Worker<impl Handler>) -> Result<()> {
    work(puller, worker, puller.settings().auto_commit_interval(), |_| false)
}
