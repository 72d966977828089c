//! What the threads of the watch have in common: who wants to watch, and what was sent.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::sent::{Ring, Sent};
use crate::http::tickets::{Stream, Ticket};

/// The header lines of a stream of events (the HTML Standard, "Server-sent events").
const HEADERS: &str = "Content-Type: text/event-stream\r\nCache-Control: no-store\r\n\
                       X-Content-Type-Options: nosniff\r\n";

/// Shared by handlers, senders and the watching thread; one lock, under which nobody waits.
pub(super) struct Feed {
    state: Mutex<State>,
    news: Condvar,
    most: usize,
}

#[derive(Default)]
struct State {
    ring: Ring,
    /// Watchers whose stream is about to begin.
    joining: usize,
    newcomers: Vec<Stream>,
    /// Watchers whom the thread has taken over.
    watchers: usize,
    /// The last change that the thread has told of.
    told: u64,
    look_at_once: bool,
    stopping: bool,
}

/// Why the watching thread goes on.
pub(super) struct Round {
    /// Who came.
    pub(super) newcomers: Vec<Stream>,
    /// What was sent or committed since the last round, ...
    pub(super) sent: Vec<Sent>,
    /// ... up to this change.
    pub(super) changes: u64,
    /// It is time to look at the cluster.
    pub(super) look: bool,
    /// Somebody has asked for that.
    pub(super) at_once: bool,
}

/// When the watching thread wants to go on without being called.
pub(super) struct Plan {
    /// Whether anybody watches.
    pub(super) watchers: usize,
    /// The last change that it has told of.
    pub(super) told: u64,
    /// Changes are told no earlier than this.
    pub(super) tell_at: Instant,
    /// The next look at the cluster.
    pub(super) look_at: Instant,
}

impl Feed {
    /// For `most` watchers at a time.
    pub(super) fn new(most: usize) -> Feed {
        Feed { state: Mutex::default(), news: Condvar::new(), most }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins a stream for a watcher.
    ///
    /// # Errors
    /// The ticket, if there are too many.
    pub(super) fn join(&self, ticket: Ticket) -> Result<(), Ticket> {
        let mut state = self.lock();
        if state.joining + state.newcomers.len() + state.watchers >= self.most {
            return Err(ticket);
        }
        state.joining += 1;
        drop(state); // to begin a stream takes another lock
        let stream = ticket.open(HEADERS);
        let mut state = self.lock();
        state.joining -= 1;
        state.newcomers.push(stream);
        drop(state);
        self.news.notify_all();
        Ok(())
    }

    /// Changes what is known of the messages.
    pub(super) fn note(&self, change: impl FnOnce(&mut Ring)) {
        let mut state = self.lock();
        // Who is about to tell of a change tells of the further ones as well.
        let first = state.watchers > 0 && state.ring.changes() <= state.told;
        change(&mut state.ring);
        drop(state);
        if first {
            self.news.notify_all();
        }
    }

    /// Asks for a look at the cluster now.
    pub(super) fn look_at_once(&self) {
        self.lock().look_at_once = true;
        self.news.notify_all();
    }

    /// Ends the watching thread.
    pub(super) fn stop(&self) {
        self.lock().stopping = true;
        self.news.notify_all();
    }

    /// For the watching thread: waits for the next round; `None`: it has to end.
    pub(super) fn wait(&self, plan: &Plan) -> Option<Round> {
        let mut state = self.lock();
        state.watchers = plan.watchers;
        state.told = plan.told;
        loop {
            if state.stopping {
                return None;
            }
            let changed = state.ring.changes() > plan.told;
            let due = if changed { plan.look_at.min(plan.tell_at) } else { plan.look_at };
            let left = due.saturating_duration_since(Instant::now());
            let watched = plan.watchers > 0;
            if !state.newcomers.is_empty() || (watched && (left.is_zero() || state.look_at_once)) {
                let look = watched && Instant::now() >= plan.look_at;
                let newcomers = std::mem::take(&mut state.newcomers);
                state.watchers += newcomers.len();
                let at_once = std::mem::take(&mut state.look_at_once);
                return Some(Round {
                    look: at_once || look || !watched,
                    at_once,
                    sent: state.ring.changed(plan.told),
                    changes: state.ring.changes(),
                    newcomers,
                });
            }
            state = if watched {
                self.news.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0
            } else {
                self.news.wait(state).unwrap_or_else(PoisonError::into_inner)
            };
        }
    }

    /// Everything that is remembered of what was sent.
    pub(super) fn all_sent(&self) -> Vec<Sent> {
        self.lock().ring.changed(0)
    }
}
