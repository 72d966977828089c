//! Readiness: whether a message can be stored now. A thread probes the brokers every second, and `/readyz`
//! returns the last result.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::service::Teller;
use super::warnings::Warnings;
use crate::config::Settings;
use crate::error::{Error, Result};
use crate::http::Readiness;
use crate::producer::Producer;
use crate::runtime::StoreFailure;
use client::configs;
use client::describe::{PartitionDescription, TopicDescription};
use client::offsets::{self, LATEST};
use client::{Cluster, ClusterSettings, TopicCreation};
use net::descriptors::{self, ShortageWatch};
use net::stop::Stop;
use net::sync::{Mutex, Worker, lock};
use protocol::TopicPartition;

/// The pause between two probes.
const INTERVAL: Duration = Duration::from_secs(1);
/// The time limit for one probe.
const PROBE_TIMEOUT: Duration = Duration::from_secs(2);
/// The age from which a result is not used any more: longer than a probe and its pause.
const STALE: Duration = Duration::from_secs(6);

/// The age from which the topic's configuration is read again.
const CONFIG_AGE: Duration = Duration::from_secs(5);
/// The topic configuration for the number of replicas that must have a message before it is acknowledged.
const MIN_IN_SYNC: &str = "min.insync.replicas";
/// The client id of the probes.
const NAME: &str = "producer_api";

/// When the last probe ended, and whether messages can be stored.
type Probe = (Instant, Result<(), String>);

/// The answer to `/readyz` of the producer's endpoint. The probes end on drop.
pub struct CanStore {
    last: Arc<Mutex<Probe>>,
    producer: Producer,
    stop: Stop,
    cluster: Arc<Cluster>,
    warnings: Warnings,
    _worker: Worker,
}

impl CanStore {
    /// Starts to probe whether the topic in `settings` takes messages; what it finds goes to `teller`, too.
    /// Not ready either while the queue of `producer` is full, and once `stop` is asked.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn start(
        cluster: &Cluster,
        settings: &Settings,
        producer: Producer,
        warnings: Warnings,
        (stop, teller): (Stop, Teller),
    ) -> Result<CanStore> {
        let first = (Instant::now(), Err("No broker was asked yet.".to_owned()));
        let last = Arc::new(Mutex::new(first));
        let mut prober = Prober::new(cluster, settings, teller);
        let (own_cluster, shared) = (prober.cluster.clone(), last.clone());
        let worker = Worker::start("readiness", move |stop| prober.run(&shared, stop))
            .map_err(|error| Error::new("the thread readiness cannot be started").caused_by(error))?;
        Ok(CanStore { last, producer, stop, cluster: own_cluster, warnings, _worker: worker })
    }
}

impl Readiness for CanStore {
    fn check(&self) -> Result<(), String> {
        if self.stop.is_asked() {
            return Err("The program is stopping.".to_owned());
        }
        // Clients that come now have to wait for others to go, or are refused.
        if let Some(shortage) = descriptors::shortage() {
            return Err(sentence(&shortage));
        }
        let (when, outcome) = lock(&self.last).clone();
        outcome?;
        if when.elapsed() > STALE {
            return Err("The brokers have not answered for seconds.".to_owned());
        }
        if let Some(reason) = self.producer.last_refusal() {
            return Err(format!("The last message could not be stored: {reason}."));
        }
        if self.producer.is_full() {
            return Err("Too many messages are waiting to be stored.".to_owned());
        }
        Ok(())
    }

    fn warnings(&self) -> Vec<String> {
        self.warnings.current()
    }
}

impl Drop for CanStore {
    fn drop(&mut self) {
        self.cluster.stop();
    }
}

/// Probes the brokers.
struct Prober {
    cluster: Arc<Cluster>,
    topic: String,
    /// How the topic is made where it is missing, if it may be: the producer asks for it only when a message
    /// comes, and none may come before this is ready.
    creation: Option<TopicCreation>,
    store: StoreFailure,
    /// `min.insync.replicas` of the topic, where it may be read, and when that was tried.
    needed: Option<(Instant, Option<usize>)>,
    /// `kafka.partitions`, where it is set, until it was compared with the topic's.
    wanted_partitions: Option<i32>,
    descriptors: ShortageWatch,
    teller: Teller,
}

impl Prober {
    fn new(cluster: &Cluster, settings: &Settings, teller: Teller) -> Prober {
        let kafka = &settings.kafka;
        let cluster = cluster.share(ClusterSettings {
            request_timeout: kafka.request_timeout().min(PROBE_TIMEOUT),
            ..settings.cluster()
        });
        let cluster = Arc::new(cluster.quiet());
        let (creation, store) = (settings.topic_creation(), settings.store_failure());
        let wanted_partitions = settings.wanted_partitions();
        Prober {
            cluster,
            topic: kafka.topic.clone(),
            creation,
            store,
            needed: None,
            wanted_partitions,
            descriptors: ShortageWatch::default(),
            teller,
        }
    }

    fn run(&mut self, shared: &Mutex<Probe>, stop: &Stop) {
        loop {
            let outcome = self.probe();
            // Whoever hears of it may be slow, and `/readyz` waits for nobody.
            let (_, before) = std::mem::replace(&mut *lock(shared), (Instant::now(), outcome.clone()));
            if outcome.is_ok() != before.is_ok() {
                match &outcome {
                    Ok(()) => log::info!("ready: messages for topic {} can be stored", self.topic),
                    Err(reason) => log::debug!("not ready: {reason}"),
                }
            }
            if outcome != before && !stop.is_asked() {
                self.tell(&outcome);
            }
            if stop.wait_for(INTERVAL) {
                return;
            }
        }
    }

    fn tell(&self, outcome: &Result<(), String>) {
        match outcome {
            Ok(()) => self.teller.status(&format!("messages for topic {} are stored", self.topic)),
            Err(reason) => self.teller.status(&format!("not ready: {reason}")),
        }
    }

    /// Whether at least one partition of the topic has a leader that answers, and as many replicas in sync as
    /// it needs: a message without a key goes there.
    fn probe(&mut self) -> Result<(), String> {
        if let Some(shortage) = self.descriptors.look() {
            return Err(sentence(&shortage));
        }
        if let Some(obstacle) = self.store.obstacle() {
            return Err(sentence(&obstacle));
        }
        let deadline = Instant::now() + PROBE_TIMEOUT;
        let described = self.describe(deadline)?;
        self.compare_partitions(described.partitions.len());
        let partitions = described.partitions.iter();
        let wanted: Vec<_> = partitions
            .map(|partition| (TopicPartition::new(&self.topic, partition.number), LATEST))
            .collect();
        let (found, error) = offsets::try_find(&self.cluster, NAME, &wanted, deadline);
        if found.is_empty() {
            let trouble = self.cluster.trouble().map(|error| error.to_string());
            let why = trouble.or_else(|| Some(error?.to_string()));
            let why = why.map(|why| format!(": {why}")).unwrap_or_default();
            return Err(format!("No partition of topic {} has a leader that answers{why}.", self.topic));
        }
        let Some(needed) = self.needed(deadline) else { return Ok(()) };
        let answering = |partition: &&PartitionDescription| {
            found.contains_key(&TopicPartition::new(&self.topic, partition.number))
        };
        let mut answering = described.partitions.iter().filter(answering);
        if answering.all(|partition| lacks_replicas(partition, needed)) {
            return Err(format!(
                "Topic {} needs {needed} replicas in sync (min.insync.replicas), and no partition has them.",
                self.topic
            ));
        }
        Ok(())
    }

    /// Warns once if the topic has another number of partitions than is wanted: keys move to other partitions
    /// when it grows, so nothing grows by itself.
    fn compare_partitions(&mut self, found: usize) {
        let Some(wanted) = self.wanted_partitions.take() else { return };
        if usize::try_from(wanted).is_ok_and(|wanted| wanted != found) {
            let topic = &self.topic;
            log::warn!(
                "topic {topic} has {found} partitions, and kafka.partitions is {wanted}, which counts only when the topic \
                 is created; `point-to-point topics alter {topic} --partitions {wanted}` \
                 gives it more (keys move to other partitions then; none can be taken away)"
            );
        }
    }

    /// The topic, which is created where it may be.
    fn describe(&self, deadline: Instant) -> Result<TopicDescription, String> {
        let topic = &self.topic;
        let silent = |error: client::Error| format!("No broker answers: {error}.");
        let described = || -> Result<Option<TopicDescription>, String> {
            let description = self.cluster.describe(Some(&[topic]), deadline).map_err(silent)?;
            description.topic(topic).map_err(|error| format!("Topic {topic} cannot be seen: {error}."))
        };
        let mut found = described()?;
        if let Some(creation) = self.creation.as_ref().filter(|_| found.is_none()) {
            let created = self.cluster.create_missing(creation, deadline);
            created.map_err(|error| format!("Topic {topic} cannot be created: {error}."))?;
            found = described()?;
        }
        found.ok_or_else(|| format!("There is no topic {topic}."))
    }

    /// How many replicas in sync a partition needs to take a message. Where that may not be read, only the
    /// answer to a message tells, see [`Producer::last_refusal`].
    fn needed(&mut self, deadline: Instant) -> Option<usize> {
        match self.needed {
            Some((read, needed)) if read.elapsed() < CONFIG_AGE => needed,
            _ => {
                let read = configs::of_topic(&self.cluster, NAME, &self.topic, [MIN_IN_SYNC], deadline);
                let read = read.inspect_err(|error| log::debug!("{MIN_IN_SYNC} cannot be read: {error}"));
                let needed = read.ok().and_then(|[value]| value?.parse().ok());
                self.needed = Some((Instant::now(), needed));
                needed
            }
        }
    }
}

/// Whether a partition has fewer replicas in sync than it needs. Where there are not so many at all, it
/// depends on the version of Kafka whether all of them are enough: only the answer to a message tells.
fn lacks_replicas(partition: &PartitionDescription, needed: usize) -> bool {
    partition.in_sync.len() < needed.min(partition.replicas.len())
}

/// A sentence of its own.
fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().map(|letter| letter.to_uppercase().to_string()).unwrap_or_default();
    format!("{first}{}.", letters.as_str())
}
