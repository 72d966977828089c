//! Who watches `GET /events` sees what was sent and who committed it, the group with its members and lag, and the
//! dead letters, as server-sent events (the HTML Standard, "Server-sent events").
//!
//! - [`sent`] notes what the channel has stored
//! - [`feed`] is what handlers, senders and the one thread of the watch have in common
//! - [`view`] is what there is to see, and who looks
//! - [`replay`] sends dead letters back
//!
//! The cluster is looked at once a second, and only while somebody watches. A watcher who comes gets everything
//! first, then what changes.

mod feed;
mod replay;
mod sent;
mod view;

use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use serde::Serialize;

use super::tickets::{Stream, Ticket};
use super::{Submit, SubmitTo};
use crate::error::{Error, Result};
use feed::{Feed, Plan, Round};
pub(super) use replay::Replays;
use sent::Noted;
pub use view::{DeadLetter, Excerpt, GroupState, MemberState, Onlooker, PartitionState, Replayed};

/// The time between two looks at the cluster.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How long one of the two questions of a look may take.
const LOOK_FOR: Duration = Duration::from_millis(1500);

/// What was sent is told at most this often, all of it at once.
const TELL_EVERY: Duration = Duration::from_millis(100);

/// The most watchers at a time.
const MAX_WATCHERS: usize = 64;

/// How many dead letters are shown.
const LETTERS: usize = 20;

/// The time between two looks at them: they may be large, and all that are shown are read anew.
const LETTERS_EVERY: Duration = Duration::from_secs(3);

/// The watch: a thread that sleeps while nobody watches.
pub(super) struct Watch {
    feed: Arc<Feed>,
    onlooker: Arc<dyn Onlooker>,
    thread: Option<JoinHandle<()>>,
}

/// The way in for a handler.
#[derive(Clone)]
pub(super) struct Entry(Arc<Feed>);

impl Entry {
    /// Begins the stream of a watcher.
    ///
    /// # Errors
    /// The ticket, if there are too many watchers.
    pub(super) fn join(&self, ticket: Ticket) -> Result<(), Ticket> {
        self.0.join(ticket)
    }

    /// Has the cluster looked at now, if anybody watches.
    pub(super) fn look_at_once(&self) {
        self.0.look_at_once();
    }
}

impl Watch {
    /// Starts the thread, which asks `onlooker`, beside a door that serves `connections` at a time: streams do
    /// not take the place of requests.
    ///
    /// # Errors
    /// The system has no thread left.
    pub(super) fn start(onlooker: Arc<dyn Onlooker>, connections: usize) -> Result<Watch> {
        let feed = Arc::new(Feed::new((connections / 4).clamp(1, MAX_WATCHERS)));
        let watching = Watching {
            feed: Arc::clone(&feed),
            onlooker: Arc::clone(&onlooker),
            watchers: Vec::new(),
            told: 0,
            seen: Seen::default(),
            letters_at: Instant::now(),
        };
        let thread = thread::Builder::new()
            .name("http-watch".to_owned())
            .spawn(move || watching.run())
            .map_err(|error| Error::new("no thread for those who watch").caused_by(error))?;
        Ok(Watch { feed, onlooker, thread: Some(thread) })
    }

    /// The way in.
    pub(super) fn entry(&self) -> Entry {
        Entry(Arc::clone(&self.feed))
    }

    /// The channel, noting what it stores.
    pub(super) fn noted(&self, channel: Box<dyn Submit>) -> Box<dyn Submit> {
        Box::new(Noted { channel, feed: Arc::clone(&self.feed) })
    }

    /// As [`Watch::noted`], for those who send to any topic.
    pub(super) fn noted_topics(&self, channel: Arc<dyn SubmitTo>) -> Arc<dyn SubmitTo> {
        Arc::new(Noted { channel, feed: Arc::clone(&self.feed) })
    }

    /// Ends the thread; what it asks the cluster is given up.
    pub(super) fn stop(&mut self) {
        self.feed.stop();
        self.onlooker.stop();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            log::error!("the thread of those who watch had failed");
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.stop();
    }
}

/// The thread's own.
struct Watching {
    feed: Arc<Feed>,
    onlooker: Arc<dyn Onlooker>,
    watchers: Vec<Stream>,
    /// The last change of what was sent that the watchers have been told of.
    told: u64,
    seen: Seen,
    /// The next look at the dead letters.
    letters_at: Instant,
}

/// What the last look has seen, as events; forgotten when nobody watches any more.
#[derive(Default)]
struct Seen {
    group: Option<GroupState>,
    group_event: Option<Arc<[u8]>>,
    letters_event: Option<Arc<[u8]>>,
}

impl Watching {
    fn run(mut self) {
        let mut tell_at = Instant::now();
        let mut look_at = tell_at;
        loop {
            let plan = Plan { watchers: self.watchers.len(), told: self.told, tell_at, look_at };
            let Some(round) = self.feed.wait(&plan) else { return };
            if !round.sent.is_empty() {
                tell_at = Instant::now() + TELL_EVERY;
            }
            let look = round.look;
            if round.at_once {
                self.letters_at = Instant::now();
            }
            self.tell(round);
            if look {
                self.look();
                look_at = Instant::now() + LOOK_EVERY;
            }
            self.watchers.retain(|watcher| !watcher.is_over());
            if self.watchers.is_empty() {
                self.seen = Seen::default();
                self.letters_at = Instant::now();
            }
        }
    }

    /// Tells everybody what was sent, and the newcomers everything.
    fn tell(&mut self, round: Round) {
        if !round.sent.is_empty() {
            self.push(&event("sent", &round.sent));
        }
        self.told = round.changes;
        if round.newcomers.is_empty() {
            return;
        }
        let everything = event("sent", &self.feed.all_sent());
        for newcomer in round.newcomers {
            let seen = [&self.seen.group_event, &self.seen.letters_event];
            newcomer.push(Arc::clone(&everything));
            seen.into_iter().flatten().for_each(|event| newcomer.push(Arc::clone(event)));
            self.watchers.push(newcomer);
        }
    }

    /// Looks at the cluster, and tells what is different from the last look.
    fn look(&mut self) {
        let group = self.onlooker.group(Instant::now() + LOOK_FOR);
        let reached = group.is_ok();
        let shown = match group {
            Ok(group) => {
                self.feed.note(|ring| ring.note_committed(self.seen.group.as_ref(), &group));
                let shown = event("group", &group);
                self.seen.group = Some(group);
                shown
            }
            Err(error) => {
                self.seen.group = None;
                event("trouble", &error.to_string())
            }
        };
        self.show(shown, |seen| &mut seen.group_event);
        if reached && Instant::now() >= self.letters_at {
            match self.onlooker.dead_letters(LETTERS, Instant::now() + LOOK_FOR) {
                Ok(letters) => self.show(event("letters", &letters), |seen| &mut seen.letters_event),
                Err(error) => log::debug!("the dead letters cannot be shown: {error}"),
            }
            self.letters_at = Instant::now() + LETTERS_EVERY;
        }
    }

    fn show(&mut self, event: Arc<[u8]>, place: impl FnOnce(&mut Seen) -> &mut Option<Arc<[u8]>>) {
        let last = place(&mut self.seen);
        if last.as_ref() != Some(&event) {
            *last = Some(Arc::clone(&event));
            self.push(&event);
        }
    }

    fn push(&self, event: &Arc<[u8]>) {
        self.watchers.iter().for_each(|watcher| watcher.push(Arc::clone(event)));
    }
}

/// An event with its data in one line of JSON, in which a line feed is always escaped.
fn event(name: &str, data: &impl Serialize) -> Arc<[u8]> {
    let data = serde_json::to_string(data).unwrap_or_else(|error| {
        log::error!("an event of the kind {name} cannot be written: {error}");
        "null".to_owned()
    });
    format!("event: {name}\ndata: {data}\n\n").into_bytes().into()
}
