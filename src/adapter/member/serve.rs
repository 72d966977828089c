//! Serving a program's fetches from what was fetched ahead.

use std::time::{Duration, Instant};

use super::{Member, Phase, Program, Span, State};
use crate::cluster::coordinator::Commit;
use crate::protocol::error_code::ErrorCode;

/// How often a waiting fetch looks whether its program is still there.
const LOOK: Duration = Duration::from_millis(100);

/// What a program asks of one partition.
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

/// What one partition is answered; in the order of the questions.
#[derive(Debug)]
pub struct Served {
    /// Format 0 messages.
    pub messages: Vec<u8>,
    /// The high watermark; for an empty set never above the offset asked for, which the crate takes for an error.
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
    /// Answers a fetch: waits up to `wait` until `min_bytes` are there. `epoch` is where an own program began;
    /// `gone` says whether the program has closed its connection.
    ///
    /// # Errors
    /// One code for all partitions: REBALANCE_IN_PROGRESS for an own program that has to begin anew, or why the
    /// member has ended.
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
        state.busy = true;
        // Its next fetch says that a program is through with what it had. An own one may still commit that, so a
        // rebalance waits: it is told of it, and commits or begins anew.
        let own = matches!(self.role.program, Program::Own(_));
        let in_hand = own && state.awaits_commits();
        if std::mem::replace(&mut state.in_hand, in_hand) && !in_hand && state.phase != Phase::Stable {
            self.changed.notify_all();
        }
        let result = loop {
            if let Err(code) = self.may_serve(&mut state, epoch, asks) {
                break Err(code);
            }
            if state.phase == Phase::Stable && !state.cut_off {
                match state.note_asks(asks) {
                    Ok(starts) if starts.is_empty() => {}
                    Ok(starts) => {
                        drop(state);
                        let stored = self.commit_starts(starts);
                        state = self.state();
                        if stored {
                            continue;
                        }
                        state = self.wait(state, LOOK);
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
            state = self.wait(state, left.min(LOOK));
            if gone() {
                break Ok(asks.iter().map(Served::nothing).collect());
            }
        };
        state.busy = false;
        state.last_seen = Instant::now();
        if std::mem::take(&mut state.out_of_room) {
            self.changed.notify_all();
        }
        result
    }

    fn may_serve(&self, state: &mut State, epoch: u64, asks: &[Ask]) -> Result<(), ErrorCode> {
        state.pipeline.failed.take().map_or(Ok(()), Err)?;
        let own = matches!(self.role.program, Program::Own(_));
        match state.phase {
            Phase::Ended(code) => return Err(code),
            Phase::Draining(_) | Phase::Joining if own => return Err(ErrorCode::REBALANCE_IN_PROGRESS),
            Phase::Joining => return state.trouble.filter(is_lasting).map_or(Ok(()), Err),
            Phase::Stable if own && state.epoch != epoch => return Err(ErrorCode::REBALANCE_IN_PROGRESS),
            Phase::Stable | Phase::Draining(_) => {}
        }
        if state.told.replace(state.epoch) == Some(state.epoch) || state.owns_only(asks) {
            return Ok(());
        }
        // The topic has got partitions that the program does not know of: nobody would handle them.
        log::warn!(
            "{} owns partitions that its program does not ask for; it has to begin anew",
            self.role.name
        );
        Err(ErrorCode::REBALANCE_IN_PROGRESS)
    }

    /// Makes the start that a program chose for a partition without a committed offset the group's: whoever gets the
    /// partition next goes on there, instead of at what is the latest offset by then. What Kafka did not take is
    /// undecided again; tells whether it took all.
    fn commit_starts(&self, starts: Vec<Commit>) -> bool {
        let deadline = Instant::now() + self.settings.heartbeat_interval.max(Duration::from_secs(2));
        let results = self.commit_as_member(&starts, deadline);
        let stored = results.iter().all(|code| code.is_ok());
        for (commit, code) in starts.iter().zip(results) {
            let mut state = self.state();
            state.arrangement += 1;
            if !code.is_ok() {
                let span = state.owned.get_mut(&(commit.topic.clone(), commit.partition));
                let began =
                    |span: &&mut Span| span.floor == Some(commit.offset) && span.ceiling == commit.offset;
                if let Some(span) = span.filter(began) {
                    span.undecide();
                }
                log::warn!(
                    "{}: the start of {}-{} at {} could not be committed: {code}",
                    self.role.name,
                    commit.topic,
                    commit.partition,
                    commit.offset
                );
            }
        }
        stored
    }
}

fn is_lasting(code: &ErrorCode) -> bool {
    let passing =
        [ErrorCode::ILLEGAL_GENERATION, ErrorCode::UNKNOWN_MEMBER_ID, ErrorCode::REBALANCE_IN_PROGRESS];
    !code.is_retriable() && !passing.contains(code)
}

impl State {
    fn owns_only(&self, asks: &[Ask]) -> bool {
        let asked = |(topic, partition): &(String, i32)| {
            asks.iter().any(|ask| ask.topic == *topic && ask.partition == *partition)
        };
        self.owned.keys().all(asked)
    }

    /// Tells the spans what is asked; gives the starts that the program chose by it.
    fn note_asks(&mut self, asks: &[Ask]) -> Result<Vec<Commit>, (usize, ErrorCode)> {
        let mut starts = Vec::new();
        for (index, ask) in asks.iter().enumerate() {
            let Some(span) = self.owned.get_mut(&(ask.topic.clone(), ask.partition)) else { continue };
            let undecided = span.floor.is_none();
            if let Err(code) = span.ask(ask.offset) {
                self.undecide(&starts);
                return Err((index, code));
            }
            if undecided && span.floor.is_some() {
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
            if let Some(span) = self.owned.get_mut(&(start.topic.clone(), start.partition)) {
                span.undecide();
            }
        }
    }

    /// Whether something was served that the program has not committed.
    fn awaits_commits(&self) -> bool {
        self.owned.values().any(Span::awaits_commit)
    }

    fn is_enough(&self, asks: &[Ask], min_bytes: usize) -> bool {
        let mut ready = 0;
        for ask in asks {
            let Some(span) = self.owned.get(&(ask.topic.clone(), ask.partition)) else { continue };
            if span.buffered >= ask.max_bytes.max(1) {
                return true;
            }
            ready += span.buffered;
        }
        ready > 0 && ready >= min_bytes
    }

    fn take(&mut self, asks: &[Ask]) -> Vec<Served> {
        let mut served = Vec::with_capacity(asks.len());
        for ask in asks {
            let mut answer = Served::nothing(ask);
            if let Some(span) = self.owned.get_mut(&(ask.topic.clone(), ask.partition))
                && span.serve(ask.max_bytes, &mut answer.messages)
            {
                answer.high_watermark = span.high_watermark;
                self.in_hand = true;
                self.moved = true;
            }
            served.push(answer);
        }
        served
    }
}

/// One partition's error, and nothing for the others: the crate would move past data that comes beside an error.
fn refused(asks: &[Ask], failed: usize, code: ErrorCode) -> Vec<Served> {
    let mut answers: Vec<Served> = asks.iter().map(Served::nothing).collect();
    answers[failed].error = code;
    answers
}
