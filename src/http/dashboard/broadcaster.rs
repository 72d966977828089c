//! The dashboard's thread: describes the cluster while there are viewers, and sends them every change. It
//! takes the samples for the charts, with and without viewers.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::feed::{Feed, FeedUpdate, WaitPlan};
use super::history::{History, SAMPLE_INTERVAL};
use super::sample_clock::SampleClock;
use super::source::{DashboardSource, GroupState};
use crate::dead_letters::DeadLetterFilter;
use crate::error::Result;
use crate::http::responder::ResponseStream;

/// The pause between two descriptions of the cluster.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// The time that the group, or the dead letters, may take to be described.
const POLL_TIMEOUT: Duration = Duration::from_millis(1500);

/// The shortest pause between two events with recent messages.
const SEND_INTERVAL: Duration = Duration::from_millis(100);

/// The number of dead letters that are shown.
const SHOWN_LETTERS: usize = 20;

/// The pause between two reads of the dead letters: they may be large, and all that are shown are read anew.
const LETTERS_INTERVAL: Duration = Duration::from_secs(3);

/// The state of the dashboard's thread.
pub(super) struct Broadcaster {
    feed: Arc<Feed>,
    source: Arc<dyn DashboardSource>,
    viewers: Vec<ResponseStream>,
    /// The last change of the recent messages that the viewers have.
    sent_changes: u64,
    last: LastEvents,
    history: History,
    sample_clock: SampleClock,
    /// The time of the next read of the dead letters.
    letters_at: Instant,
}

/// The last description of the cluster, as events; forgotten when the last viewer leaves.
#[derive(Default)]
struct LastEvents {
    group: Option<GroupState>,
    group_event: Option<Arc<[u8]>>,
    queues_event: Option<Arc<[u8]>>,
    warnings_event: Option<Arc<[u8]>>,
    letters_event: Option<Arc<[u8]>>,
    open_letters_event: Option<Arc<[u8]>>,
    letters_trouble_event: Option<Arc<[u8]>>,
}

impl Broadcaster {
    /// A thread without viewers, for the channel with this topic.
    pub(super) fn new(feed: Arc<Feed>, source: Arc<dyn DashboardSource>, topic: &str) -> Broadcaster {
        Broadcaster {
            feed,
            source,
            viewers: Vec::new(),
            sent_changes: 0,
            last: LastEvents::default(),
            history: History::new(topic),
            sample_clock: SampleClock::new(),
            letters_at: Instant::now(),
        }
    }

    /// Serves the viewers until the feed is stopped.
    pub(super) fn run(mut self) {
        let mut send_at = Instant::now();
        let (mut poll_at, mut sample_at) = (send_at, send_at);
        loop {
            let (viewers, sent_changes) = (self.viewers.len(), self.sent_changes);
            let plan = WaitPlan { viewers, sent_changes, send_at, poll_at, sample_at };
            let Some(update) = self.feed.wait(&plan) else { return };
            if !update.sent.is_empty() {
                send_at = Instant::now() + SEND_INTERVAL;
            }
            let (poll, sample) = (update.poll, update.sample);
            if update.refresh {
                self.letters_at = Instant::now();
            }
            self.send_messages(update);
            if poll {
                self.poll_cluster(sample);
                poll_at = Instant::now() + POLL_INTERVAL;
            } else if sample {
                let group = self.describe_group();
                self.take_sample(group.as_ref().ok());
            }
            if sample {
                // In step, unless a look took too long.
                sample_at = (sample_at + SAMPLE_INTERVAL).max(Instant::now());
            }
            self.viewers.retain(|viewer| !viewer.is_closed());
            if self.viewers.is_empty() {
                self.last = LastEvents::default();
                self.letters_at = Instant::now();
            }
        }
    }

    /// Sends the changed messages to all viewers, and everything to new ones.
    fn send_messages(&mut self, update: FeedUpdate) {
        if !update.sent.is_empty() {
            self.broadcast(&event("sent", &update.sent));
        }
        self.sent_changes = update.changes;
        if update.newcomers.is_empty() {
            return;
        }
        let everything = event("sent", &self.feed.recent());
        for newcomer in update.newcomers {
            let LastEvents { group_event, queues_event, warnings_event, .. } = &self.last;
            let LastEvents { letters_event, open_letters_event, letters_trouble_event, .. } = &self.last;
            let of_letters = [letters_trouble_event, open_letters_event, letters_event];
            let last = [warnings_event, group_event, queues_event].into_iter().chain(of_letters);
            newcomer.push(Arc::clone(&everything));
            newcomer.push(event("history", &self.history));
            last.flatten().for_each(|event| newcomer.push(Arc::clone(event)));
            self.viewers.push(newcomer);
        }
    }

    fn describe_group(&self) -> Result<GroupState> {
        self.source.group(Instant::now() + POLL_TIMEOUT)
    }

    /// Adds a sample, with the group if the cluster was seen, and sends it.
    fn take_sample(&mut self, group: Option<&GroupState>) {
        let sample = self.history.add(self.sample_clock.now(), self.feed.stored(), group);
        if self.viewers.is_empty() {
            return;
        }
        // Where the clock was set back, the viewers have to forget what they have.
        let begins = self.history.begins();
        self.broadcast(&if begins { event("history", &self.history) } else { event("sample", &sample) });
    }

    /// Describes the cluster, and sends the events that differ from the last ones, and a sample if it is time
    /// for one.
    fn poll_cluster(&mut self, sample: bool) {
        let warnings = event("warnings", &self.source.warnings());
        self.send_if_changed(warnings, |last| &mut last.warnings_event);
        let queues = event("queues", &self.source.leased_queues());
        self.send_if_changed(queues, |last| &mut last.queues_event);
        let group = self.describe_group();
        if sample {
            self.take_sample(group.as_ref().ok());
        }
        let reached = group.is_ok();
        let group_event = match group {
            Ok(group) => {
                self.feed.update(|recent| recent.note_passed(self.last.group.as_ref(), &group));
                self.decide_passed();
                let group_event = event("group", &group);
                self.last.group = Some(group);
                group_event
            }
            Err(error) => {
                self.last.group = None;
                event("trouble", &error.to_string())
            }
        };
        self.send_if_changed(group_event, |last| &mut last.group_event);
        if reached && Instant::now() >= self.letters_at {
            let everything = DeadLetterFilter::default();
            match self.source.dead_letters(&everything, SHOWN_LETTERS, Instant::now() + POLL_TIMEOUT) {
                Ok(found) => {
                    let trouble = event("letters_trouble", &found.trouble);
                    self.send_if_changed(trouble, |last| &mut last.letters_trouble_event);
                    let open = event("open_letters", &found.open);
                    self.send_if_changed(open, |last| &mut last.open_letters_event);
                    self.send_if_changed(event("letters", &found.letters), |last| &mut last.letters_event);
                }
                Err(error) => log::debug!("the dead letters cannot be shown: {error}"),
            }
            self.letters_at = Instant::now() + LETTERS_INTERVAL;
        }
    }

    /// Finds out which of the messages that the group is done with are dead letters. They were stored before
    /// their offsets were committed.
    fn decide_passed(&self) {
        let (passed, since) = self.feed.undecided();
        if passed.is_empty() {
            return;
        }
        let since = i64::try_from(since).unwrap_or(i64::MAX);
        let letters = self.source.letters_of(&passed, since, Instant::now() + POLL_TIMEOUT);
        if !letters.is_empty() {
            self.feed.update(|recent| recent.decide(&letters));
        }
    }

    fn send_if_changed(
        &mut self,
        event: Arc<[u8]>,
        last: impl FnOnce(&mut LastEvents) -> &mut Option<Arc<[u8]>>,
    ) {
        let last = last(&mut self.last);
        if last.as_ref() != Some(&event) {
            *last = Some(Arc::clone(&event));
            self.broadcast(&event);
        }
    }

    fn broadcast(&self, event: &Arc<[u8]>) {
        self.viewers.iter().for_each(|viewer| viewer.push(Arc::clone(event)));
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
