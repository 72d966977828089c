//! The state that handlers, producers and the dashboard's thread share: new viewers, and the recent messages.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use net::sync::{Condvar, Mutex, lock, wait_timeout};

use super::recent_messages::{RecentMessages, SentMessage};
use super::source::MessagePlace;
use crate::http::responder::{Responder, ResponseStream};

/// The header lines of a stream of events (the HTML Standard, "Server-sent events").
const HEADERS: &str = "Content-Type: text/event-stream\r\nCache-Control: no-store\r\n\
                       X-Content-Type-Options: nosniff\r\n";

/// Shared by handlers, producers and the dashboard's thread. No thread waits for anything else under its
/// lock.
pub(super) struct Feed {
    state: Mutex<FeedState>,
    changed: Condvar,
    max_viewers: usize,
}

#[derive(Default)]
struct FeedState {
    recent: RecentMessages,
    /// Viewers whose stream is being opened.
    joining: usize,
    /// Viewers that the thread has not taken over yet.
    newcomers: Vec<ResponseStream>,
    /// Viewers that the thread has taken over.
    viewers: usize,
    /// The last change that the thread has sent.
    sent_changes: u64,
    refresh: bool,
    stopping: bool,
}

/// The work of the dashboard's thread for one round.
pub(super) struct FeedUpdate {
    /// New viewers.
    pub(super) newcomers: Vec<ResponseStream>,
    /// The messages that were stored or committed since the last round.
    pub(super) sent: Vec<SentMessage>,
    /// The number of the last change in `sent`.
    pub(super) changes: u64,
    /// The cluster is to be described now.
    pub(super) poll: bool,
    /// A handler has asked for that.
    pub(super) refresh: bool,
    /// A sample is to be taken now.
    pub(super) sample: bool,
}

/// The state of the dashboard's thread before it waits.
pub(super) struct WaitPlan {
    /// The number of viewers.
    pub(super) viewers: usize,
    /// The last change that was sent to them.
    pub(super) sent_changes: u64,
    /// Changes are sent no earlier than this.
    pub(super) send_at: Instant,
    /// The time of the next description of the cluster.
    pub(super) poll_at: Instant,
    /// The time of the next sample, whether there are viewers or not.
    pub(super) sample_at: Instant,
}

/// The handlers' access to the feed.
#[derive(Clone)]
pub(crate) struct FeedHandle(Arc<Feed>);

impl FeedHandle {
    /// Opens the stream of a viewer.
    ///
    /// # Errors
    /// The responder, if there are too many viewers.
    pub(crate) fn join(&self, responder: Responder) -> Result<(), Responder> {
        self.0.join(responder)
    }

    /// Has the cluster described now, if there are viewers.
    pub(crate) fn refresh(&self) {
        self.0.refresh();
    }
}

impl Feed {
    /// For `max_viewers` viewers at a time.
    pub(super) fn new(max_viewers: usize) -> Feed {
        Feed { state: Mutex::default(), changed: Condvar::new(), max_viewers }
    }

    /// The handlers' access to it.
    pub(super) fn handle(self: &Arc<Feed>) -> FeedHandle {
        FeedHandle(Arc::clone(self))
    }

    /// Opens the stream of a viewer.
    ///
    /// # Errors
    /// The responder, if there are too many viewers.
    fn join(&self, responder: Responder) -> Result<(), Responder> {
        let mut state = lock(&self.state);
        if state.joining + state.newcomers.len() + state.viewers >= self.max_viewers {
            return Err(responder);
        }
        state.joining += 1;
        drop(state); // opening a stream takes another lock
        let stream = responder.open_stream(HEADERS);
        let mut state = lock(&self.state);
        state.joining -= 1;
        state.newcomers.push(stream);
        drop(state);
        self.changed.notify_all();
        Ok(())
    }

    /// Changes the recent messages.
    pub(super) fn update(&self, change: impl FnOnce(&mut RecentMessages)) {
        let mut state = lock(&self.state);
        // The thread is about to send an earlier change, and will send this one with it.
        let first = state.viewers > 0 && state.recent.changes() <= state.sent_changes;
        change(&mut state.recent);
        drop(state);
        if first {
            self.changed.notify_all();
        }
    }

    /// As [`RecentMessages::undecided`].
    pub(super) fn undecided(&self) -> (BTreeSet<MessagePlace>, u64) {
        lock(&self.state).recent.undecided()
    }

    fn refresh(&self) {
        lock(&self.state).refresh = true;
        self.changed.notify_all();
    }

    /// Ends the dashboard's thread.
    pub(super) fn stop(&self) {
        lock(&self.state).stopping = true;
        self.changed.notify_all();
    }

    /// For the dashboard's thread: waits for the next round; `None`: the thread has to end.
    pub(super) fn wait(&self, plan: &WaitPlan) -> Option<FeedUpdate> {
        let mut state = lock(&self.state);
        state.viewers = plan.viewers;
        state.sent_changes = plan.sent_changes;
        loop {
            if state.stopping {
                return None;
            }
            let changed = state.recent.changes() > plan.sent_changes;
            let viewed = plan.viewers > 0;
            let due = match (viewed, changed) {
                (false, _) => plan.sample_at,
                (true, false) => plan.sample_at.min(plan.poll_at),
                (true, true) => plan.sample_at.min(plan.poll_at).min(plan.send_at),
            };
            let left = due.saturating_duration_since(Instant::now());
            if !state.newcomers.is_empty() || left.is_zero() || (viewed && state.refresh) {
                return Some(state.next_update(plan));
            }
            state = wait_timeout(&self.changed, state, left);
        }
    }

    /// The number of messages that were stored since the start.
    pub(super) fn stored(&self) -> u64 {
        lock(&self.state).recent.added()
    }

    /// All recent messages.
    pub(super) fn recent(&self) -> Vec<SentMessage> {
        lock(&self.state).recent.changed(0)
    }
}

impl FeedState {
    fn next_update(&mut self, plan: &WaitPlan) -> FeedUpdate {
        let now = Instant::now();
        let sample = now >= plan.sample_at;
        let newcomers = std::mem::take(&mut self.newcomers);
        self.viewers += newcomers.len();
        let refresh = std::mem::take(&mut self.refresh);
        FeedUpdate {
            // A sample is taken of what the viewers see.
            poll: self.viewers > 0 && (refresh || sample || now >= plan.poll_at || plan.viewers == 0),
            refresh,
            sample,
            sent: self.recent.changed(plan.sent_changes),
            changes: self.recent.changes(),
            newcomers,
        }
    }
}
