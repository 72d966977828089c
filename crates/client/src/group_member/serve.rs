//! Serving a client's fetches from what was fetched ahead.

use std::time::{Duration, Instant};

use super::state::{Activity, Delivery, Phase, State};
use super::{ClientKind, ENDED, Member, OwnedPartition};
use crate::coordinator::Commit;
use crate::error::Error;
use protocol::TopicPartition;
use protocol::error_code::ErrorCode;

/// How often a waiting fetch looks whether its client is still connected.
const CLIENT_CHECK_INTERVAL: Duration = Duration::from_millis(100);

/// A client's request for a partition.
#[derive(Debug, Clone)]
pub struct Ask {
    /// The topic's name.
    pub topic: String,
    /// The partition's number.
    pub partition: i32,
    /// The first offset wanted.
    pub offset: i64,
    /// The most bytes wanted; one message comes even when it is larger.
    pub max_bytes: usize,
}

impl Ask {
    /// The partition that is asked for.
    pub fn topic_partition(&self) -> TopicPartition {
        TopicPartition::new(self.topic.as_str(), self.partition)
    }
}

/// The answer for a partition; answers are in the order of the requests.
#[derive(Debug)]
pub struct Served {
    /// Format 0 messages.
    pub messages: Vec<u8>,
    /// The high watermark; for an empty set never above the offset asked for, which the crate takes for an
    /// error.
    pub high_watermark: i64,
    /// The code of a partition that cannot be served.
    pub error: ErrorCode,
}

impl Served {
    /// The answer where there is nothing to serve.
    pub fn nothing(ask: &Ask) -> Served {
        Served { messages: Vec::new(), high_watermark: ask.offset, error: ErrorCode::NONE }
    }
}

impl Member {
    /// Answers a fetch: waits up to `wait` until `min_bytes` are there. `epoch` is where a cooperating client
    /// began; `gone` says whether the client has closed its connection.
    ///
    /// # Errors
    /// A code for all partitions: REBALANCE_IN_PROGRESS for a cooperating client that has to begin anew, or
    /// why the member has ended.
    pub fn serve(
        &self,
        epoch: u64,
        asks: &[Ask],
        min_bytes: usize,
        wait: Duration,
        gone: &mut dyn FnMut() -> bool,
    ) -> Result<Vec<Served>, ErrorCode> {
        let deadline = Instant::now() + wait;
        let mut state = self.state();
        state.activity = Activity::Serving;
        // Its next fetch says that a client is through with what it had. A cooperating one may still commit
        // that, so a rebalance waits: it is told of it, and commits or begins anew.
        let own = matches!(self.spec.kind, ClientKind::Cooperating(_));
        if own && state.awaits_commits() {
            state.delivery = Delivery::Uncommitted;
        } else if state.processed() && state.phase != Phase::Stable {
            self.changed.notify_all();
        }
        let result = loop {
            if let Err(code) = self.may_serve(&mut state, epoch, asks) {
                break Err(code);
            }
            if state.phase == Phase::Stable && !state.heartbeat_expired {
                match state.note_asks(asks) {
                    Ok(starts) if starts.is_empty() => {}
                    Ok(starts) => {
                        drop(state);
                        let stored = self.commit_starts(starts);
                        state = self.state();
                        if stored {
                            continue;
                        }
                        state = self.wait(state, CLIENT_CHECK_INTERVAL);
                        if Instant::now() >= deadline || gone() {
                            break Ok(asks.iter().map(Served::nothing).collect());
                        }
                        continue;
                    }
                    Err((failed, code)) => break Ok(refused(asks, failed, code)),
                }
                if Instant::now() >= deadline || state.is_enough(asks, min_bytes) {
                    break Ok(state.take(asks));
                }
            } else if Instant::now() >= deadline {
                break Ok(asks.iter().map(Served::nothing).collect());
            }
            let left = deadline.saturating_duration_since(Instant::now());
            state = self.wait(state, left.min(CLIENT_CHECK_INTERVAL));
            if gone() {
                break Ok(asks.iter().map(Served::nothing).collect());
            }
        };
        state.answered();
        if std::mem::take(&mut state.waits_for_room) {
            self.changed.notify_all();
        }
        result
    }

    fn may_serve(&self, state: &mut State, epoch: u64, asks: &[Ask]) -> Result<(), ErrorCode> {
        state.pipeline.failed.take().map_or(Ok(()), Err)?;
        let own = matches!(self.spec.kind, ClientKind::Cooperating(_));
        match state.phase {
            Phase::Ended => return Err(ENDED),
            Phase::Draining | Phase::Joining if own => return Err(ErrorCode::REBALANCE_IN_PROGRESS),
            Phase::Joining => return state.lasting_join_error().and_then(Error::code).map_or(Ok(()), Err),
            Phase::Stable if own && state.epoch != epoch => return Err(ErrorCode::REBALANCE_IN_PROGRESS),
            Phase::Stable | Phase::Draining => {}
        }
        if state.seen_epoch.replace(state.epoch) == Some(state.epoch) || state.owns_only(asks) {
            return Ok(());
        }
        // The topic has got partitions that the client does not know of: no member would handle them.
        log::warn!(
            "{} owns partitions that its client does not ask for; it has to begin anew",
            self.spec.name
        );
        Err(ErrorCode::REBALANCE_IN_PROGRESS)
    }

    /// Makes the start that a client chose for a partition without a committed offset the group's: the
    /// member that gets the partition next goes on there, instead of at what is the latest offset by then.
    /// Starts that Kafka did not store are undecided again. Returns whether all are stored.
    fn commit_starts(&self, starts: Vec<Commit>) -> bool {
        let deadline = Instant::now() + self.settings.heartbeat_interval.max(Duration::from_secs(2));
        let results = self.commit_as_member(&starts, deadline);
        let stored = results.iter().all(|code| code.is_ok());
        for (commit, code) in starts.iter().zip(results) {
            let mut state = self.state();
            state.fetch_epoch += 1;
            if !code.is_ok() {
                let owned = state.owned.get_mut(&commit.topic_partition());
                let began = |owned: &&mut OwnedPartition| {
                    owned.floor == Some(commit.offset) && owned.ceiling == commit.offset
                };
                if let Some(owned) = owned.filter(began) {
                    owned.undecide();
                }
                log::warn!(
                    "{}: the start of {}-{} at {} could not be committed: {code}",
                    self.spec.name,
                    commit.topic,
                    commit.partition,
                    commit.offset
                );
            }
        }
        stored
    }
}

impl State {
    fn owns_only(&self, asks: &[Ask]) -> bool {
        let asked = |key: &TopicPartition| {
            asks.iter().any(|ask| ask.topic == key.topic && ask.partition == key.partition)
        };
        self.owned.keys().all(asked)
    }

    /// Tells the partitions what is asked; gives the starts that the client chose by it.
    fn note_asks(&mut self, asks: &[Ask]) -> Result<Vec<Commit>, (usize, ErrorCode)> {
        let mut starts = Vec::new();
        for (index, ask) in asks.iter().enumerate() {
            let Some(owned) = self.owned.get_mut(&ask.topic_partition()) else { continue };
            let undecided = owned.floor.is_none();
            if let Err(code) = owned.ask(ask.offset) {
                self.undecide(&starts);
                return Err((index, code));
            }
            if undecided && owned.floor.is_some() {
                starts.push(Commit {
                    topic: ask.topic.clone(),
                    partition: ask.partition,
                    offset: ask.offset,
                    metadata: String::new(),
                });
            }
        }
        Ok(starts)
    }

    fn undecide(&mut self, starts: &[Commit]) {
        for start in starts {
            if let Some(owned) = self.owned.get_mut(&start.topic_partition()) {
                owned.undecide();
            }
        }
    }

    /// Whether something was served that the client has not committed.
    fn awaits_commits(&self) -> bool {
        self.owned.values().any(OwnedPartition::awaits_commit)
    }

    fn is_enough(&self, asks: &[Ask], min_bytes: usize) -> bool {
        let mut ready = 0;
        for ask in asks {
            let Some(owned) = self.owned.get(&ask.topic_partition()) else { continue };
            if owned.buffered >= ask.max_bytes.max(1) {
                return true;
            }
            ready += owned.buffered;
        }
        ready > 0 && ready >= min_bytes
    }

    fn take(&mut self, asks: &[Ask]) -> Vec<Served> {
        let mut served = Vec::with_capacity(asks.len());
        for ask in asks {
            let mut answer = Served::nothing(ask);
            if let Some(owned) = self.owned.get_mut(&ask.topic_partition())
                && owned.serve(ask.max_bytes, &mut answer.messages)
            {
                answer.high_watermark = owned.high_watermark;
                self.delivery = Delivery::Uncommitted;
            }
            served.push(answer);
        }
        served
    }
}

/// The error of a partition, and nothing for the others: the crate would move past data that comes beside an
/// error.
fn refused(asks: &[Ask], failed: usize, code: ErrorCode) -> Vec<Served> {
    let mut answers: Vec<Served> = asks.iter().map(Served::nothing).collect();
    if let Some(answer) = answers.get_mut(failed) {
        answer.error = code;
    }
    answers
}
