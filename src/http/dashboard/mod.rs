//! The dashboard: the page for browsers, and `GET /events`, which sends it the recent messages, the group
//! with its members and lag, the queues that workers receive from, and the dead letters as server-sent events
//! (the HTML Standard, "Server-sent events").
//!
//! - [`page`] is HTML, style and script
//! - [`recording_sink`] adds the stored messages to [`recent_messages`]
//! - [`feed`] is the state that handlers, producers and the dashboard's thread share
//! - [`history`] is what the charts show, at the times of [`sample_clock`]
//! - [`source`] is the interface to the cluster
//! - [`broadcaster`] is the thread that sends events to the viewers
//!
//! The cluster is described once a second while there are viewers, and otherwise every ten seconds, for the
//! charts alone. A new viewer gets everything first, then the changes.

mod broadcaster;
mod feed;
mod history;
pub(crate) mod page;
mod recent_messages;
mod recording_sink;
mod sample_clock;
mod source;

use std::sync::Arc;

use net::sync::Worker;

use super::submit::{Submit, SubmitTo};
use crate::error::{Error, Result};
use broadcaster::Broadcaster;
use feed::Feed;
pub(crate) use feed::FeedHandle;
use recording_sink::RecordingSink;
pub use source::{
    AttemptedState, DashboardSource, DeadLetterView, DeadLettersView, Excerpt, GroupState, LeaseState,
    LeasedQueueState, MemberState, MessagePlace, PartitionState, QueueState, Settled,
};

/// The most viewers at a time.
const MAX_VIEWERS: usize = 64;

/// The dashboard's thread, which does little while there are no viewers. It has ended when this is dropped.
pub(crate) struct Dashboard {
    feed: Arc<Feed>,
    source: Arc<dyn DashboardSource>,
    _thread: Worker,
}

impl Dashboard {
    /// Starts the thread, which asks `source` for the channel with this `topic`. The server has
    /// `max_connections`; a quarter of them may be
    /// viewers, so that streams leave room for requests.
    ///
    /// # Errors
    /// The system gives no thread.
    pub(crate) fn start(
        source: Arc<dyn DashboardSource>,
        topic: &str,
        max_connections: usize,
    ) -> Result<Dashboard> {
        let feed = Arc::new(Feed::new((max_connections / 4).clamp(1, MAX_VIEWERS)));
        let broadcaster = Broadcaster::new(Arc::clone(&feed), Arc::clone(&source), topic);
        let thread = Worker::start("http-dashboard", move |_| broadcaster.run())
            .map_err(|error| Error::new("the dashboard's thread cannot be started").caused_by(error))?;
        Ok(Dashboard { feed, source, _thread: thread })
    }

    /// The handlers' access to it.
    pub(crate) fn feed(&self) -> FeedHandle {
        self.feed.handle()
    }

    /// The same producer, whose stored messages the dashboard shows.
    pub(crate) fn record(&self, producer: Box<dyn Submit>) -> Box<dyn Submit> {
        Box::new(RecordingSink { producer, feed: Arc::clone(&self.feed) })
    }

    /// Records as [`Dashboard::record`] does, for the producer to any topic.
    pub(crate) fn record_topics(&self, producer: Arc<dyn SubmitTo>) -> Arc<dyn SubmitTo> {
        Arc::new(RecordingSink { producer, feed: Arc::clone(&self.feed) })
    }
}

/// Gives up the requests to the cluster; the thread then ends.
impl Drop for Dashboard {
    fn drop(&mut self) {
        self.feed.stop();
        self.source.stop();
    }
}
