//! Whether a message can be stored now: a thread looks every second, and `/readyz` tells what it saw last.

use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::channel::sender::Sender;
use crate::cluster::offsets::{self, LATEST};
use crate::cluster::{Cluster, ClusterSettings, TopicCreation};
use crate::config::Settings;
use crate::error::{Error, Result};
use crate::http::Readiness;
use crate::stop::Stop;

/// The pause between two looks.
const EVERY: Duration = Duration::from_secs(1);
/// How long one look may wait for answers.
const PATIENCE: Duration = Duration::from_secs(2);
/// What was seen longer ago says nothing of now: a look and its pause, and a while.
const STALE: Duration = Duration::from_secs(6);

/// What the looks share with who asks.
struct Seen {
    last: Mutex<(Instant, Result<(), String>)>,
    /// Nobody asks any more.
    end: Stop,
}

/// The answer to `/readyz` of the producer's endpoint. The looks end when it is dropped.
pub struct CanStore {
    seen: Arc<Seen>,
    sender: Sender,
    stop: Stop,
}

impl CanStore {
    /// Starts to look whether the topic in `settings` takes messages. Not ready either while the queue of
    /// `sender` is full, and once `stop` is asked.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn start(settings: &Settings, sender: Sender, stop: Stop) -> Result<CanStore> {
        let first = (Instant::now(), Err("No broker was asked yet.".to_owned()));
        let seen = Arc::new(Seen { last: Mutex::new(first), end: Stop::new() });
        let prober = Prober::new(settings);
        let its = seen.clone();
        thread::Builder::new()
            .name("readiness".to_owned())
            .spawn(move || prober.run(&its))
            .map_err(|error| Error::new("no thread to look whether brokers answer").caused_by(error))?;
        Ok(CanStore { seen, sender, stop })
    }
}

impl Readiness for CanStore {
    fn check(&self) -> Result<(), String> {
        if self.stop.is_asked() {
            return Err("The program is stopping.".to_owned());
        }
        let (when, outcome) = self.seen.last.lock().unwrap_or_else(PoisonError::into_inner).clone();
        outcome?;
        if when.elapsed() > STALE {
            return Err("The brokers have not answered for seconds.".to_owned());
        }
        if self.sender.is_full() {
            return Err("Too many messages are waiting to be stored.".to_owned());
        }
        Ok(())
    }
}

impl Drop for CanStore {
    fn drop(&mut self) {
        self.seen.end.ask();
    }
}

/// Who looks.
struct Prober {
    cluster: Cluster,
    topic: String,
    /// How the topic is made where it is missing, if it may be: the sender asks for it only when a message
    /// comes, and none may come before this is ready.
    creation: Option<TopicCreation>,
}

impl Prober {
    fn new(settings: &Settings) -> Prober {
        let kafka = &settings.kafka;
        let cluster = Cluster::new(ClusterSettings {
            request_timeout: kafka.request_timeout().min(PATIENCE),
            ..ClusterSettings::of(settings)
        });
        let cluster = cluster.quiet();
        Prober { cluster, topic: kafka.topic.clone(), creation: TopicCreation::of(kafka) }
    }

    fn run(&self, seen: &Seen) {
        loop {
            let outcome = self.look();
            let mut last = seen.last.lock().unwrap_or_else(PoisonError::into_inner);
            if outcome.is_ok() != last.1.is_ok() {
                match &outcome {
                    Ok(()) => log::info!("ready: messages for topic {} can be stored", self.topic),
                    Err(reason) => log::debug!("not ready: {reason}"),
                }
            }
            *last = (Instant::now(), outcome);
            drop(last);
            if seen.end.wait_for(EVERY) {
                return;
            }
        }
    }

    /// Whether at least one partition of the topic has a leader that answers: a message without a key goes
    /// there.
    fn look(&self) -> Result<(), String> {
        let (topic, deadline) = (&self.topic, Instant::now() + PATIENCE);
        let refreshed = self.cluster.refresh(&[topic], deadline);
        refreshed.map_err(|error| format!("No broker answers: {error}."))?;
        if let Some(creation) = self.creation.as_ref().filter(|_| self.cluster.cached(topic).is_none()) {
            let created = self.cluster.create_missing(creation, deadline);
            created.map_err(|error| format!("Topic {topic} cannot be created: {error}."))?;
        }
        let known = self.cluster.cached(topic).ok_or_else(|| format!("There is no topic {topic}."))?;
        let partitions = (0..).zip(&known.leaders);
        let wanted: Vec<_> = partitions.map(|(partition, _)| (topic.clone(), partition, LATEST)).collect();
        if offsets::find(&self.cluster, "producer_api", &wanted, deadline).is_empty() {
            return Err(format!("No partition of topic {topic} has a leader that answers."));
        }
        Ok(())
    }
}
