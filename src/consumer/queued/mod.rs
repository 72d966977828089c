//! A consumer with a work queue: many messages under way at a time, in order by key, with attempts that
//! survive crashes and waits that hold up nobody.
//!
//! Its group member is in this process ([`client::group_member::reader`]): the `kafka` crate can neither read
//! ahead of its commits nor say anything with them. Threads:
//!
//! - the consumer's own, [`owner`]: follows the member, hands over, and tells what it sees ([`gauges`],
//!   [`standing`]);
//! - the member's, which push what they fetch into [`shared`];
//! - [`commits`]: one commit at a time;
//! - [`refetch`]: records whose bytes were dropped, and how long the topic keeps them ([`retention`]);
//! - [`wishes`]: what an administrator asks about messages that wait;
//! - the [`workers`], each with a handler of its own; [`outcomes`] has what a failure makes of a message, with
//!   [`breaker`] for the pauses and [`histories`] for what dead letters say. Or they are elsewhere, and get
//!   their messages with [leases](leasing).

mod breaker;
mod clock;
mod commits;
mod gauges;
mod histories;
mod item;
pub mod leases;
pub mod leasing;
mod outcomes;
mod owner;
mod refetch;
mod retention;
mod shared;
mod standing;
#[cfg(test)]
mod tests;
mod wishes;
mod workers;

use std::sync::Arc;
use std::thread::{self, Scope};
use std::time::Duration;

use adapter::Endpoint;
use client::Cluster;
use client::group_member::Member;
use net::pulse::Pulse;
use net::stop::Stop;

use super::push_handler::window::Window;
use super::{ConsumerHandle, ConsumerSettings, Handler};
use crate::dead_letters::DeadLetterStore;
use crate::error::{Error, Result};
use crate::metrics::ConsumerMetrics;
use owner::{End, Owner};
use shared::Shared;
pub use standing::Standing;

/// How long handlers may take to end when there is nothing more for them.
const LAST_WORKERS: Duration = Duration::from_secs(3);

/// The most characters of a note: what brokers take unless they are configured otherwise, without the id of
/// the topic that stands behind it.
const NOTE_LIMIT: usize = 4_096 - client::topic_id::LENGTH;

/// A consumer of the group with a work queue.
pub struct QueueConsumer {
    settings: ConsumerSettings,
    cluster: Arc<Cluster>,
    endpoint: Endpoint,
    name: String,
    stop: Stop,
    metrics: ConsumerMetrics,
    standing: Standing,
    window: Option<Window>,
    on_member: OnMember,
    pulse: Pulse,
}

/// Hears the id that the consumer has in its group, each time it gets one.
pub type OnMember = Box<dyn Fn(&str) + Send + Sync>;

impl QueueConsumer {
    /// A consumer called `name` of the group and topics in `settings`, which reaches the brokers by
    /// `cluster`; dead letters go through the adapter at `endpoint`.
    pub fn new(
        settings: &ConsumerSettings,
        cluster: Cluster,
        endpoint: Endpoint,
        name: &str,
        stop: Stop,
    ) -> QueueConsumer {
        QueueConsumer {
            settings: settings.clone(),
            cluster: Arc::new(cluster),
            endpoint,
            name: name.to_owned(),
            stop,
            metrics: ConsumerMetrics::default(),
            standing: Standing::default(),
            window: None,
            on_member: Box::new(|_| {}),
            pulse: Pulse::default(),
        }
    }

    /// Counts what it does in `metrics`.
    pub fn counted(self, metrics: ConsumerMetrics) -> QueueConsumer {
        QueueConsumer { metrics, ..self }
    }

    /// Tells in `standing` whether it works.
    pub fn watched(self, standing: Standing) -> QueueConsumer {
        QueueConsumer { standing, ..self }
    }

    /// Has no more messages in hand than `window` lets it.
    pub fn limited_by(self, window: Window) -> QueueConsumer {
        QueueConsumer { window: Some(window), ..self }
    }

    /// Tells `on_member` which member of its group it is.
    pub fn telling(self, on_member: OnMember) -> QueueConsumer {
        QueueConsumer { on_member, ..self }
    }

    /// Shows by `pulse` that it goes on.
    pub fn beating(self, pulse: Pulse) -> QueueConsumer {
        QueueConsumer { pulse, ..self }
    }

    /// Receives on threads of its own until stop is asked, and hands each message to one of `handlers`, which
    /// work beside each other.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn start<H: Handler + Send + 'static>(self, handlers: Vec<H>) -> Result<ConsumerHandle> {
        let QueueConsumer {
            settings,
            cluster,
            endpoint,
            name,
            stop,
            metrics,
            standing,
            window,
            on_member,
            pulse,
        } = self;
        let letters = DeadLetterStore::new(&settings.dead_letters, endpoint, &name, stop.clone());
        let letters = letters.creating(cluster.clone());
        let in_hand = handlers.iter().map(|handler| handler.batch().max(1)).sum();
        let workers = (handlers.len(), in_hand);
        metrics.queue().begin();
        let told = (metrics, standing);
        let shared = Arc::new(Shared::new(&name, &settings, workers, letters, stop.clone(), told, window));
        let unstarted = shared.clone();
        let started = handlers.into_iter().enumerate().try_for_each(|(index, mut handler)| {
            let shared = shared.clone();
            // A handler may not come back, so its thread is waited for, but not for ever.
            let worker = thread::Builder::new().name(format!("work-{index}")).spawn(move || {
                workers::work(&shared, index, &mut handler);
                // A handler may have something to end.
                drop(handler);
                shared.worker_ended();
            });
            worker.map(drop).map_err(|error| no_thread("worker", error))
        });
        started
            .and_then(|()| {
                let told = (on_member, pulse);
                ConsumerHandle::start_busy(&name, stop, move || consume(&shared, &cluster, &told))
            })
            .inspect_err(|_| drop(unstarted.close()))
    }
}

/// One membership after the other, until stop is asked.
fn consume(shared: &Arc<Shared>, cluster: &Arc<Cluster>, told: &(OnMember, Pulse)) -> Result<()> {
    let outcome = loop {
        match membership(shared, cluster, told) {
            Ok(End::Left) if !shared.stop.is_asked() => shared.wait_for_a_worker(&told.1),
            Ok(_) => break Ok(()),
            Err(error) => break Err(error),
        }
    };
    let failure = shared.queue().failure.take();
    let outcome = failure.map_or(outcome, Err);
    shared.standing.end(outcome.as_ref().err());
    let failure = shared.close();
    shared.wait_for_workers(LAST_WORKERS);
    cluster.stop();
    outcome.and(failure.map_or(Ok(()), Err))
}

fn membership(
    shared: &Arc<Shared>,
    cluster: &Arc<Cluster>,
    (on_member, pulse): &(OnMember, Pulse),
) -> Result<End> {
    let settings = &shared.settings;
    let member = Member::reader(
        &shared.name,
        &settings.group,
        settings.topics.selection(),
        settings.queue.membership.clone(),
        cluster.clone(),
        shared.clone(),
    );
    let waker = member.clone();
    let _hook = shared.stop.on_ask(move || waker.wake());
    thread::scope(|threads| {
        let started = start_threads(threads, shared, cluster, &member);
        let end = match &started {
            Ok(()) => Owner::new(shared, &member, on_member, pulse).run(),
            Err(_) => {
                member.abandon();
                End::Stopped
            }
        };
        shared.end_membership();
        started.map(|()| end)
    })
}

fn start_threads<'scope>(
    threads: &'scope Scope<'scope, '_>,
    shared: &'scope Arc<Shared>,
    cluster: &'scope Arc<Cluster>,
    member: &Arc<Member>,
) -> Result<()> {
    let (running, committing) = (member.clone(), member.clone());
    let name = &shared.name;
    // A thread that comes late has to see that its membership is over.
    let membership = shared.queue().memberships;
    let start = |name: String, body: Box<dyn FnOnce() + Send + 'scope>| {
        let started = thread::Builder::new().name(name).spawn_scoped(threads, body);
        started.map(drop).map_err(|error| no_thread("consumer", error))
    };
    start(format!("member-{name}"), Box::new(move || running.run(&|| {})))?;
    start(format!("commits-{name}"), Box::new(move || commits::run(shared, &committing, membership)))?;
    start(format!("refetch-{name}"), Box::new(move || refetch::run(shared, cluster, membership)))?;
    start(format!("wishes-{name}"), Box::new(move || wishes::run(shared, cluster, membership)))
}

impl Shared {
    /// Lets the workers end; gives why the handler is of no more use.
    fn close(&self) -> Option<Error> {
        let mut queue = self.queue();
        queue.closed = true;
        let failure = queue.failure.take();
        drop(queue);
        self.wake_all();
        failure
    }

    /// Forgets all that was owned, so that the threads of a membership end.
    fn end_membership(&self) {
        let mut queue = self.queue();
        for (_, from) in std::mem::take(&mut queue.spans).into_values() {
            queue.partitions.forget(from);
        }
        queue.leases.keep(|_| false);
        queue.memberships += 1;
        drop(queue);
        self.wake_all();
    }

    /// Waits until a worker has come back that was at a message for too long, or stop is asked.
    fn wait_for_a_worker(&self, pulse: &Pulse) {
        while self.is_stuck() && !self.stop.wait_for(Duration::from_millis(100)) {
            pulse.beat();
        }
    }
}

fn no_thread(which: &str, error: std::io::Error) -> Error {
    Error::new(format!("no thread for the {which}")).caused_by(error)
}
