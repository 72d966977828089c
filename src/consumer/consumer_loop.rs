//! The loops of consumers that print one message at a time: they commit it before the next, or all that was
//! polled together before the next poll, or at intervals.

use std::time::{Duration, Instant};

use super::printing::{Printed, Printing};
use super::{CommitMode, Consumer};
use crate::error::Result;

/// Pulls messages one by one until stop is asked, and commits as `consumer.commit` says: each when it is
/// printed, with or without waiting for Kafka's answer, or all that was polled together, at least each
/// quarter of `max_processing_ms`, as a consumer is heard of by its commits.
///
/// # Errors
/// When standard output is broken, after a commit of what was handled before.
pub fn receive(consumer: &mut Consumer, printing: &mut Printing) -> Result<()> {
    if consumer.settings().commit == CommitMode::Pipelined {
        consumer.pipeline_commits();
    }
    let interval = match consumer.settings().commit {
        CommitMode::Message | CommitMode::Pipelined => Duration::ZERO,
        CommitMode::Poll => consumer.settings().max_processing / 4,
    };
    work(consumer, printing, interval, |consumer| !consumer.has_polled())
}

/// Prints messages until stop is asked; commits what is printed each `interval`, when it is `due` after
/// a message, and at the end.
///
/// # Errors
/// When standard output is broken.
pub(super) fn work(
    consumer: &mut Consumer,
    printing: &mut Printing,
    interval: Duration,
    due: impl Fn(&Consumer) -> bool,
) -> Result<()> {
    if consumer.join() {
        printing.joined()?;
    }
    let wait = consumer.settings().fetch_max_wait;
    let mut next_commit = Instant::now() + interval;
    let outcome = loop {
        if consumer.stop().is_asked() {
            break Ok(());
        }
        let left = next_commit.saturating_duration_since(Instant::now());
        let received = consumer.next(if consumer.has_marked() { wait.min(left) } else { wait });
        let came = received.is_some();
        match received.map(|received| printing.print(&received)) {
            Some(Ok(Printed::Finished)) => consumer.mark(),
            Some(Ok(Printed::Unfinished)) => consumer.give_back(),
            Some(Err(error)) => break Err(error),
            None => {}
        }
        if Instant::now() >= next_commit || came && due(consumer) {
            commit(consumer);
            next_commit = Instant::now() + interval;
        }
    };
    commit(consumer);
    outcome
}

/// Prints every message until stop is asked. Printed messages are committed each
/// `consumer.auto_commit_interval_ms`, when stop is asked, and before partitions go to another consumer:
/// after a crash what was printed since the last commit comes again, and nothing is committed that was not
/// printed.
///
/// # Errors
/// When standard output is broken, after a commit of what was handled before.
pub fn push(consumer: &mut Consumer, printing: &mut Printing) -> Result<()> {
    work(consumer, printing, consumer.settings().auto_commit_interval, |_| false)
}

fn commit(consumer: &mut Consumer) {
    if let Err(error) = consumer.commit_marked() {
        log::warn!("{error}; what was handled since the commit before may come again");
    }
}
