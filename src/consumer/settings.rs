//! The settings of a consumer and its handlers.

use std::time::Duration;

use super::Subscription;
use crate::dead_letters::StoreSettings;
use crate::queue::Order;
use client::group_member::GroupSettings;

/// A member of a group, and what happens to its messages.
#[derive(Debug, Clone, PartialEq)]
pub struct ConsumerSettings {
    /// The topics.
    pub topics: Subscription,
    /// The group whose members share the messages.
    pub group: String,
    /// When offsets are committed.
    pub commit: CommitMode,
    /// The time between two commits of [`push`](super::push).
    pub auto_commit_interval: Duration,
    /// The longest printing of one message before its consumer is taken for frozen, and the longest attempt at
    /// one with a work queue.
    pub max_processing: Duration,
    /// A fetch is answered as soon as this many bytes are there.
    pub fetch_min_bytes: i32,
    /// A fetch without enough bytes is answered after this time.
    pub fetch_max_wait: Duration,
    /// Bytes fetched from one partition at a time.
    pub fetch_max_bytes_per_partition: i32,
    /// Attempts at a message.
    pub retry: RetrySettings,
    /// The work queue, where there is one.
    pub queue: QueueSettings,
    /// The store of messages whose handling failed for good.
    pub dead_letters: StoreSettings,
}

/// When offsets are committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CommitMode {
    /// After each message, waiting for Kafka's answer.
    Message,
    /// After each message, without waiting for Kafka's answer; the commits behind one that is under way
    /// become one.
    Pipelined,
    /// Once for all messages of a poll.
    Poll,
}

/// A consumer's work queue.
#[derive(Debug, Clone, PartialEq)]
pub struct QueueSettings {
    /// How it behaves in its group.
    pub membership: GroupSettings,
    /// Messages under way at a time.
    pub concurrency: u32,
    /// Which messages wait for one another.
    pub order: Order,
    /// The most bytes of messages in memory, about.
    pub buffer_bytes: usize,
    /// Which messages are handed to handlers, and are done when they are printed.
    pub payload: Payload,
    /// So many failed attempts in a row pause the consumer; 0: none do.
    pub circuit_failures: u32,
}

/// Which messages are handed to handlers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Payload {
    /// Those that are one JSON value; others become dead letters.
    Json,
    /// All.
    Any,
}

/// Whether a handler program is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HandlerMode {
    /// It is started for each message.
    Process,
    /// It is kept, and gets a line of JSON for each message.
    Lines,
}

/// A program that handles messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProcessSettings {
    /// The program and its arguments.
    pub command: Vec<String>,
    /// Whether it is kept.
    pub mode: HandlerMode,
    /// How many run at a time.
    pub workers: u32,
    /// The most messages that a kept program gets in one line.
    pub batch: usize,
    /// The longest handling of one message before the program is killed.
    pub timeout: Duration,
}

impl ProcessSettings {
    /// A program that is started for each message.
    pub fn for_each_message(command: Vec<String>, timeout: Duration) -> ProcessSettings {
        ProcessSettings { command, mode: HandlerMode::Process, workers: 1, batch: 1, timeout }
    }
}

/// The attempts at a message, and the waits between them.
#[derive(Debug, Clone, PartialEq)]
pub struct RetrySettings {
    /// Attempts at a message, the first one counted; 0: for ever.
    pub max_attempts: u32,
    /// The wait after the first attempt.
    pub initial_backoff: Duration,
    /// Each further wait is this many times the one before.
    pub multiplier: f64,
    /// The longest wait, without the jitter.
    pub max_backoff: Duration,
    /// Each wait is longer or shorter by up to this share of it, by chance.
    pub jitter: f64,
}

impl RetrySettings {
    /// The wait after attempt number `attempt`, from 1 on; `chance`, from 0 to 1, chooses it within the
    /// jitter.
    pub fn wait_after(&self, attempt: u32, chance: f64) -> Duration {
        let exponent = i32::try_from(attempt.saturating_sub(1)).unwrap_or(i32::MAX);
        let wait = self.initial_backoff.as_secs_f64() * self.multiplier.powi(exponent);
        let share = 1.0 + self.jitter * (2.0 * chance - 1.0);
        Duration::from_secs_f64(wait.min(self.max_backoff.as_secs_f64()) * share)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_up_to_their_limit_and_differ_by_the_jitter() {
        let retry = RetrySettings {
            max_attempts: 8,
            initial_backoff: Duration::from_secs(1),
            multiplier: 2.0,
            max_backoff: Duration::from_secs(30),
            jitter: 0.5,
        };
        let waits =
            |chance| (1..8).map(|attempt| retry.wait_after(attempt, chance).as_millis()).collect::<Vec<_>>();
        assert_eq!(waits(0.5), [1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000]);
        assert_eq!((waits(0.0)[0], waits(1.0)[0]), (500, 1_500));
        assert_eq!(retry.wait_after(u32::MAX, 1.0).as_millis(), 45_000);
    }
}
