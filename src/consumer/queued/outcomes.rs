//! What becomes of a message that was not handled: another attempt after a wait, a dead letter, or back into
//! the queue.

use std::time::{Duration, Instant};

use net::random::fraction;
use net::sync::MutexGuard;

use super::clock::millis;
use super::item::{Item, LeaseKey, Payload};
use super::shared::{Queue, Shared};
use crate::consumer::handler::{Failure, FailureCause};
use crate::consumer::received;
use crate::consumer::settings::Payload as Accepted;
use crate::dead_letters::Verdict;
use crate::logging::ValueOrLength;
use crate::message;
use crate::metrics::Outcome;
use crate::queue::Engine;
use crate::queue::engine::{Failed, Fate, LeaseId};
use crate::queue::partitions::Handed;

/// The wait after a try to store a dead letter that came to nothing.
const LETTER_WAIT: Duration = Duration::from_secs(2);

/// What ends a lease without an attempt being counted: [`Engine::release`] or [`Engine::excuse`].
type EndsLease = fn(&mut Engine<Payload>, LeaseId, u64, u64) -> bool;

/// The error of an attempt whose worker did not come back in time.
const TOO_LONG: &str = "the handler took longer than max_processing_ms";

/// The reason of a dead letter whose consumer died of the message.
#[derive(Debug)]
struct Killed(u32);

impl std::fmt::Display for Killed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} of the attempts ended with the death of its worker or its consumer", self.0)
    }
}

/// The reason of a dead letter that an administrator asked for.
#[derive(Debug)]
struct PutAside;

impl std::fmt::Display for PutAside {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("put aside by hand")
    }
}

/// The reason of a dead letter of which this consumer knows no error: others have tried it.
#[derive(Debug)]
struct OutOfAttempts;

impl std::fmt::Display for OutOfAttempts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("its attempts were out; its errors are in the log of who attempted it")
    }
}

impl Shared {
    /// Takes note that a message was not handled. What is to be stored as a dead letter now comes back: its
    /// lease stands.
    pub fn not_handled(&self, item: Item, failure: Failure) -> Option<(Item, Verdict)> {
        let mut queue = self.queue();
        let Handed { from, lease } = item.handed;
        if queue.stuck.remove(&item.key()) {
            self.came_too_late(queue, &item, failure);
            return None;
        }
        let is_try = queue.breaker.ends(&item.key());
        let excuses = queue.breaker.excuses();
        if let Some(outcome) = outcome(&failure, excuses) {
            self.metrics.queue().came_back(outcome);
        }
        match failure {
            Failure::Failed(cause) if excuses => {
                self.put_off(queue, item, (cause, None), is_try, Engine::excuse)
            }
            Failure::FailedFor { cause, wait } if excuses => {
                self.put_off(queue, item, (cause, Some(wait)), is_try, Engine::excuse)
            }
            Failure::Failed(cause) => self.failed(queue, item, (cause, None), is_try, Failed::Error),
            Failure::FailedFor { cause, wait } => {
                self.failed(queue, item, (cause, Some(wait)), is_try, Failed::Error)
            }
            Failure::WorkerDied(cause) => self.failed(queue, item, (cause, None), is_try, Failed::WorkerDied),
            Failure::Dead(cause) => {
                let change = queue.breaker.succeeded();
                queue.histories.failed(from, lease.offset, lease.attempt, &cause.message);
                drop(queue);
                self.metrics.attempt_failed();
                self.tell(change);
                log::warn!("attempt {} was the last: {}: {cause}", lease.attempt, self.place(&item));
                self.set_aside(item, cause)
            }
            Failure::TryLater { cause, wait } => {
                self.put_off(queue, item, (cause, wait), is_try, Engine::release)
            }
            Failure::NotStarted(cause) => {
                let change = queue.breaker.not_started(&cause.message, is_try, self.clock.now());
                self.release(queue, &item, Duration::ZERO);
                self.tell(change);
                log::debug!("not attempted: {}: {cause}", self.place(&item));
                None
            }
            Failure::Interrupted => {
                self.release(queue, &item, Duration::ZERO);
                None
            }
            Failure::Broken(error) => {
                queue.failure.get_or_insert(error);
                self.release(queue, &item, Duration::ZERO);
                self.stop.ask();
                None
            }
        }
    }

    /// A worker has come back whose lease ran out: what its attempt came to was counted then.
    fn came_too_late(&self, mut queue: MutexGuard<'_, Queue>, item: &Item, failure: Failure) {
        if let Failure::Broken(error) = failure {
            queue.failure.get_or_insert(error);
            drop(queue);
            return self.stop.ask();
        }
        drop(queue);
        log::warn!("an attempt that took too long has failed: {}: {}", self.place(item), failure.cause());
    }

    /// Tells that a message goes to a handler, and checks that it may.
    ///
    /// # Errors
    /// Why it may not: it is no JSON, and has to be.
    pub fn check(&self, item: &Item) -> Result<(), FailureCause> {
        let record = item.record();
        received::log(&self.name, &record);
        if record.attempt > 1 {
            self.metrics.retried();
        }
        if self.settings.queue.payload == Accepted::Any {
            return Ok(());
        }
        message::check_value(record.value).map_err(|error| {
            log::error!("{error}: {record}{}", ValueOrLength(record.value));
            FailureCause::of(&error)
        })
    }

    /// A message that is not to be attempted again, with what its dead letter says; `None` if that is too late.
    pub fn set_aside(&self, item: Item, cause: FailureCause) -> Option<(Item, Verdict)> {
        let mut queue = self.queue();
        let Handed { from, lease } = item.handed;
        let verdict = queue.verdict(&item, cause, lease.attempt, 0);
        queue.breaker.ends(&item.key());
        let stands = queue.partitions.engine_of(from).is_some_and(|engine| engine.dead(lease.id));
        stands.then(|| {
            queue.storing.insert(item.key());
            (item, verdict)
        })
    }

    /// A message that the engine hands out to be stored as a dead letter.
    pub fn verdict_of(&self, item: &Item) -> Verdict {
        let mut queue = self.queue();
        let Handed { from, lease } = item.handed;
        queue.storing.insert(item.key());
        if let Some(verdict) = queue.histories.verdict(from, lease.offset) {
            return verdict;
        }
        let kills = queue.partitions.engine_of(from).map_or(0, |engine| engine.kills(lease.id));
        let cause = match kills {
            _ if queue.histories.is_put_aside(from, lease.offset) => FailureCause::of(&PutAside),
            0 => FailureCause::of(&OutOfAttempts),
            kills => FailureCause::of(&Killed(kills)),
        };
        queue.verdict(item, cause, lease.attempt, kills)
    }

    /// Stores a message as a dead letter; false if that came to nothing: it comes again after a wait.
    pub fn store(&self, item: &Item, verdict: &Verdict) -> bool {
        let longest = self.settings.dead_letters.delivery_timeout * 2;
        let record = item.record();
        match self.dead_letters.try_to_store(&record, verdict, Instant::now() + longest) {
            Ok(()) => {
                self.metrics.dead_lettered();
                true
            }
            Err(failed) => {
                log::error!("{failed}; trying again in {} ms", LETTER_WAIT.as_millis());
                let mut queue = self.queue();
                let Handed { from, lease } = item.handed;
                queue.histories.not_stored(from, lease.offset, verdict);
                self.release(queue, item, LETTER_WAIT);
                false
            }
        }
    }

    /// Ends leases that ran out: their workers have not come back for `max_processing`.
    pub fn end_overdue(&self) {
        let mut queue = self.queue();
        let now = self.clock.now();
        while let Some((from, id)) = queue.partitions.overdue(now) {
            let is_stored = queue.storing.contains(&LeaseKey { from, id });
            let excuses = queue.breaker.excuses();
            let Some(engine) = queue.partitions.engine_of(from) else { return };
            if is_stored {
                let _ = engine.extend(id, now.saturating_add(millis(self.settings.max_processing)));
                continue;
            }
            let Some(lease) = engine.lease_of(id) else { return };
            let wait = millis(self.settings.retry.wait_after(lease.attempt, chance()));
            if excuses {
                engine.excuse(id, wait, now);
            } else if let Fate::DeadLetter { .. } = engine.fail(id, Failed::Error, wait, now) {
                // Its worker cannot store it: the next one does.
                engine.release(id, 0, now);
            }
            queue.stuck.insert(LeaseKey { from, id });
            queue.histories.failed(from, lease.offset, lease.attempt, TOO_LONG);
            let is_try = queue.breaker.ends(&LeaseKey { from, id });
            let change = queue.breaker.failed(TOO_LONG, is_try, now);
            let topic = queue.partitions.topic_of(from).cloned().unwrap_or_default();
            log::warn!(
                "{TOO_LONG} ({} ms): topic={topic} partition={} offset={}: {}, and the message is tried again beside it",
                self.settings.max_processing.as_millis(),
                from.partition,
                lease.offset,
                if excuses {
                    "no attempt is counted in a pause".to_owned()
                } else {
                    format!("attempt {} has failed", lease.attempt)
                }
            );
            if excuses {
                self.metrics.queue().came_back(Outcome::Later);
            } else {
                self.metrics.attempt_failed();
                self.metrics.queue().came_back(Outcome::Failed);
            }
            self.tell(change);
        }
    }

    /// Gives a message back to be tried again without an attempt being counted.
    fn put_off(
        &self,
        mut queue: MutexGuard<'_, Queue>,
        item: Item,
        (cause, wait): (FailureCause, Option<Duration>),
        is_try: bool,
        ends: EndsLease,
    ) -> Option<(Item, Verdict)> {
        let Handed { from, lease } = item.handed;
        let returns = queue.histories.returned(from, lease.offset);
        let change = queue.breaker.tried_later(&cause.message, is_try, self.clock.now());
        let wait = wait.unwrap_or_else(|| self.settings.retry.wait_after(returns, chance()));
        if self.is_lost_by(&item, wait) {
            drop(queue);
            self.tell(change);
            return self.set_aside(item, cause);
        }
        self.give_back(queue, &item, wait, ends);
        self.tell(change);
        let place = self.place(&item);
        log::warn!("not now, no attempt: {place}: {cause}; trying again in {} ms", wait.as_millis());
        None
    }

    fn failed(
        &self,
        mut queue: MutexGuard<'_, Queue>,
        item: Item,
        (cause, wait): (FailureCause, Option<Duration>),
        is_try: bool,
        how: Failed,
    ) -> Option<(Item, Verdict)> {
        let Handed { from, lease } = item.handed;
        let (now, attempt) = (self.clock.now(), lease.attempt);
        let wait = wait.unwrap_or_else(|| self.settings.retry.wait_after(attempt, chance()));
        queue.histories.failed(from, lease.offset, attempt, &cause.message);
        let change = queue.breaker.failed(&cause.message, is_try, now);
        if self.is_lost_by(&item, wait) {
            drop(queue);
            self.metrics.attempt_failed();
            self.tell(change);
            return self.set_aside(item, cause);
        }
        let engine = queue.partitions.engine_of(from);
        let fate = engine.map_or(Fate::Late, |engine| engine.fail(lease.id, how, millis(wait), now));
        let verdict = match fate {
            Fate::DeadLetter { attempts, kills } => {
                queue.storing.insert(item.key());
                Some(queue.verdict(&item, cause.clone(), attempts, kills))
            }
            Fate::Retried | Fate::Late => None,
        };
        self.due_at(&queue, now.saturating_add(millis(wait)));
        drop(queue);
        self.commit.notify_one();
        self.metrics.attempt_failed();
        self.tell(change);
        let of = match self.settings.retry.max_attempts {
            0 => String::new(),
            most => format!(" of {most}"),
        };
        let then = match fate {
            Fate::DeadLetter { .. } => "it goes to the dead letters".to_owned(),
            Fate::Retried => format!("trying again in {} ms", wait.as_millis()),
            Fate::Late => "that was too late, it comes again".to_owned(),
        };
        log::warn!("attempt {attempt}{of} failed: {}: {cause}; {then}", self.place(&item));
        verdict.map(|verdict| (item, verdict))
    }

    /// Whether the topic may have removed the message when it has waited for so long. It becomes a dead letter
    /// while it is there, then.
    fn is_lost_by(&self, item: &Item, wait: Duration) -> bool {
        let (now, record) = (self.clock.now(), item.record());
        let is_lost = self.retention.is_over(&item.topic, record.timestamp, now.saturating_add(millis(wait)));
        if is_lost {
            log::warn!(
                "{record} would wait for {} ms, which is longer than its topic's retention keeps it: it goes to the \
                 dead letters now",
                wait.as_millis()
            );
        }
        is_lost
    }

    /// Gives a message back that was not attempted.
    fn release(&self, queue: MutexGuard<'_, Queue>, item: &Item, wait: Duration) {
        self.give_back(queue, item, wait, Engine::release);
    }

    fn give_back(&self, mut queue: MutexGuard<'_, Queue>, item: &Item, wait: Duration, ends: EndsLease) {
        let Handed { from, lease } = item.handed;
        let now = self.clock.now();
        queue.storing.remove(&item.key());
        if let Some(engine) = queue.partitions.engine_of(from) {
            ends(engine, lease.id, millis(wait), now);
        }
        self.due_at(&queue, now.saturating_add(millis(wait)));
        drop(queue);
        self.commit.notify_one();
    }

    fn place(&self, item: &Item) -> String {
        item.record().to_string()
    }
}

impl Queue {
    fn verdict(&self, item: &Item, cause: FailureCause, attempts: u32, kills: u32) -> Verdict {
        let Handed { from, lease } = item.handed;
        Verdict { cause, attempts, kills, errors: self.histories.errors(from, lease.offset) }
    }
}

/// How a failure is counted; one that ends the consumer is not.
fn outcome(failure: &Failure, excuses: bool) -> Option<Outcome> {
    match failure {
        Failure::Failed(_) | Failure::FailedFor { .. } if excuses => Some(Outcome::Later),
        Failure::Failed(_) | Failure::FailedFor { .. } => Some(Outcome::Failed),
        Failure::TryLater { .. } => Some(Outcome::Later),
        Failure::Dead(_) => Some(Outcome::Dead),
        Failure::WorkerDied(_) => Some(Outcome::WorkerDied),
        Failure::NotStarted(_) => Some(Outcome::NotStarted),
        Failure::Interrupted => Some(Outcome::Interrupted),
        Failure::Broken(_) => None,
    }
}

/// Without randomness there is no jitter.
fn chance() -> f64 {
    fraction().unwrap_or(0.5)
}
