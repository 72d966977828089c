//! What a cluster consists of: its brokers, its topics, and who leads which partition.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, TryLockError};
use std::time::{Duration, Instant};

use kafka_protocol::messages::create_topics_request::CreatableTopic;
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::metadata_response::MetadataResponseTopic;
use kafka_protocol::messages::{CreateTopicsRequest, MetadataRequest, MetadataResponse, TopicName};
use kafka_protocol::protocol::StrBytes;

use super::connection::Connection;
use super::description::Description;
use super::error::{Error, Result};
use super::settings::{ClusterSettings, TopicCreation};
use crate::net::lock;
use crate::protocol::error_code::ErrorCode;

/// A topic's partitions are asked for again when what is known is older than this.
const MAX_AGE: Duration = Duration::from_secs(30);
/// The longest wait for news of a topic that is known already.
const RENEWAL: Duration = Duration::from_secs(1);
/// The pause before the metadata connection is looked for again while another thread uses it.
const LINK_PAUSE: Duration = Duration::from_millis(2);
/// A refresh that ended this recently serves the next caller too.
const FRESH: Duration = Duration::from_millis(50);

/// One topic: partition `i` is led by node `leaders[i]`, or by none (`None`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topic {
    /// The leading node of each partition, 0..n without gaps.
    pub leaders: Vec<Option<i32>>,
}

#[derive(Debug, Default)]
struct Known {
    brokers: HashMap<i32, String>,
    controller: Option<i32>,
    topics: HashMap<String, (Arc<Topic>, Instant)>,
    /// No broker answered when one was last looked for.
    silent: bool,
    /// When an address could not be reached.
    failed: HashMap<String, Instant>,
}

/// A cluster, shared by every thread that speaks to it. Locks: `link` before `known`, both only in this file.
#[derive(Debug)]
pub struct Cluster {
    settings: ClusterSettings,
    known: Mutex<Known>,
    /// The connection for metadata; whoever refreshes holds it.
    link: Mutex<Option<Connection>>,
    stopping: AtomicBool,
    /// How loudly it is said that no broker answers, or one does again.
    outage_level: (log::Level, log::Level),
}

impl Cluster {
    /// A cluster that has not been spoken to yet.
    pub fn new(settings: ClusterSettings) -> Cluster {
        Cluster {
            settings,
            known: Mutex::default(),
            link: Mutex::default(),
            stopping: AtomicBool::new(false),
            outage_level: (log::Level::Warn, log::Level::Info),
        }
    }

    /// For an onlooker beside a client that tells of the same outages.
    pub fn quiet(self) -> Cluster {
        Cluster { outage_level: (log::Level::Debug, log::Level::Debug), ..self }
    }

    /// The settings given to [`Cluster::new`].
    pub fn settings(&self) -> &ClusterSettings {
        &self.settings
    }

    /// Tells every wait inside the cluster client to end soon.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    /// Whether [`Cluster::stop`] was called.
    pub fn stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    /// The topic as it is known now, looked up where it is unknown or known for long; `None` if it does not exist.
    /// What is known for long is better than nothing.
    ///
    /// # Errors
    /// No broker answers until `deadline`.
    pub fn topic(&self, name: &str, deadline: Instant) -> Result<Option<Arc<Topic>>> {
        let known = self.known().topics.get(name).cloned();
        match known {
            Some((topic, since)) if since.elapsed() < MAX_AGE => Ok(Some(topic)),
            Some((topic, _)) => match self.refresh(&[name], deadline.min(Instant::now() + RENEWAL)) {
                Ok(()) => Ok(self.cached(name)),
                Err(error) => {
                    log::debug!("topic {name}: {error}");
                    Ok(Some(topic))
                }
            },
            None => {
                self.refresh(&[name], deadline)?;
                Ok(self.cached(name))
            }
        }
    }

    /// The topic as it was last heard of.
    pub fn cached(&self, name: &str) -> Option<Arc<Topic>> {
        self.known().topics.get(name).map(|(topic, _)| topic.clone())
    }

    /// The nodes that were heard of last.
    pub fn nodes(&self) -> Vec<i32> {
        let mut nodes: Vec<i32> = self.known().brokers.keys().copied().collect();
        nodes.sort_unstable();
        nodes
    }

    /// The leader of a partition as it was last heard of.
    pub fn leader(&self, topic: &str, partition: i32) -> Option<i32> {
        let topic = self.cached(topic)?;
        *topic.leaders.get(usize::try_from(partition).ok()?)?
    }

    /// Every topic of the cluster but its internal ones, in order of their names.
    ///
    /// # Errors
    /// No broker answers until `deadline`.
    pub fn all_topics(&self, deadline: Instant) -> Result<Vec<(String, Arc<Topic>)>> {
        let mut link = self.link(deadline)?;
        let answer = self.ask(&mut link, None, deadline)?;
        drop(link);
        let mut topics: Vec<_> = answer
            .topics
            .iter()
            .filter(|topic| !topic.is_internal)
            .filter_map(|topic| Some((topic.name.as_ref()?.to_string(), Arc::new(leaders(topic)?))))
            .collect();
        topics.sort_by(|a, b| a.0.cmp(&b.0));
        Ok(topics)
    }

    /// The brokers and these topics, or all of them, as the cluster describes them now.
    ///
    /// # Errors
    /// No broker answers until `deadline`.
    pub fn describe(&self, topics: Option<&[&str]>, deadline: Instant) -> Result<Description> {
        let mut link = self.link(deadline)?;
        self.ask(&mut link, topics, deadline).map(|answer| Description::of(&answer))
    }

    /// Asks the cluster about `topics` again. One refresh of the same topics a moment ago is enough.
    ///
    /// # Errors
    /// No broker answers until `deadline`.
    pub fn refresh(&self, topics: &[&str], deadline: Instant) -> Result<()> {
        let mut link = self.link(deadline)?;
        let fresh =
            |name: &&str| self.known().topics.get(*name).is_some_and(|(_, since)| since.elapsed() < FRESH);
        if !topics.is_empty() && topics.iter().all(fresh) {
            return Ok(());
        }
        self.ask(&mut link, Some(topics), deadline).map(drop)
    }

    /// Creates a topic, such as those of [`ClusterSettings::create`], if the cluster does not have it.
    ///
    /// # Errors
    /// No broker answers until `deadline`, or the cluster refuses (its code says why).
    pub fn create_missing(&self, create: &TopicCreation, deadline: Instant) -> Result<()> {
        if self.cached(&create.name).is_some() || self.topic(&create.name, deadline)?.is_some() {
            return Ok(());
        }
        let beside = match &create.beside {
            Some(other) => self.topic(other, deadline)?,
            None => None,
        };
        let partitions =
            beside.map_or(create.partitions, |other| i32::try_from(other.leaders.len()).unwrap_or(i32::MAX));
        let controller = self.known().controller;
        let node = controller.ok_or_else(|| self.unreachable("the cluster has no controller now"))?;
        let topic = CreatableTopic::default()
            .with_name(topic_name(&create.name))
            .with_num_partitions(partitions)
            .with_replication_factor(create.replication_factor);
        let timeout = self.settings.request_timeout.as_millis().min(i32::MAX as u128) as i32;
        let request = CreateTopicsRequest::default().with_topics(vec![topic]).with_timeout_ms(timeout);
        let answer = self.connect(node, "point-to-point", deadline)?.call(&request, deadline)?;
        for result in &answer.topics {
            match ErrorCode(result.error_code) {
                ErrorCode::NONE => {
                    log::info!("created topic {} with {partitions} partitions", create.name);
                }
                ErrorCode::TOPIC_ALREADY_EXISTS => {}
                code => return Err(Error::refused(format!("creating topic {}", create.name), code)),
            }
        }
        self.refresh(&[&create.name], deadline)
    }

    /// Opens a connection to a node by its id.
    ///
    /// # Errors
    /// [`Error::Unreachable`]; also when the node is unknown.
    pub fn connect(&self, node: i32, client_id: &str, deadline: Instant) -> Result<Connection> {
        let address = self.known().brokers.get(&node).cloned();
        let address = address.ok_or_else(|| self.unreachable(&format!("node {node} is not known")))?;
        Connection::open(&address, client_id, self.time_left(deadline)?)
    }

    /// Opens a connection to whichever broker answers first.
    ///
    /// # Errors
    /// [`Error::Unreachable`] when none does.
    pub fn connect_any(&self, client_id: &str, deadline: Instant) -> Result<Connection> {
        let candidates = self.candidates();
        let mut reasons = Vec::new();
        for (index, address) in candidates.iter().enumerate() {
            let share = self.time_left(deadline)? / u32::try_from(candidates.len() - index).unwrap_or(1);
            match Connection::open(address, client_id, share) {
                Ok(connection) => {
                    let mut known = self.known();
                    known.failed.remove(address);
                    if std::mem::take(&mut known.silent) {
                        log::log!(self.outage_level.1, "{address} answers");
                    }
                    return Ok(connection);
                }
                Err(unsupported @ Error::Unsupported { .. }) => return Err(unsupported),
                Err(error) => {
                    self.known().failed.insert(address.clone(), Instant::now());
                    reasons.push(match error {
                        Error::Unreachable { reason, .. } => format!("{address}: {reason}"),
                        other => other.to_string(),
                    });
                }
            }
        }
        let reasons = reasons.join("; ");
        if !std::mem::replace(&mut self.known().silent, true) {
            log::log!(self.outage_level.0, "no broker answers, trying until one does: {reasons}");
        }
        Err(Error::Unreachable { address: "any broker".to_owned(), reason: reasons })
    }

    /// All addresses known; those that failed longest ago, or never, come first.
    fn candidates(&self) -> Vec<String> {
        let known = self.known();
        let mut candidates: Vec<String> = known.brokers.values().cloned().collect();
        for bootstrap in &self.settings.bootstrap_servers {
            if !candidates.contains(bootstrap) {
                candidates.push(bootstrap.clone());
            }
        }
        candidates.sort_by_key(|address| known.failed.get(address).copied());
        candidates
    }

    /// When a call that starts now must have ended: after the request timeout, or at `limit` if that is earlier.
    pub fn deadline(&self, limit: Instant) -> Instant {
        limit.min(Instant::now() + self.settings.request_timeout)
    }

    fn ask(
        &self,
        link: &mut Option<Connection>,
        topics: Option<&[&str]>,
        deadline: Instant,
    ) -> Result<MetadataResponse> {
        let names = topics.map(|topics| {
            let topic = |name: &&str| MetadataRequestTopic::default().with_name(Some(topic_name(name)));
            topics.iter().map(topic).collect()
        });
        let request = MetadataRequest::default().with_topics(names).with_allow_auto_topic_creation(false);
        let mut tries = 0;
        let answer = loop {
            tries += 1;
            let mut connection = match link.take() {
                Some(connection) => connection,
                None => self.connect_any("point-to-point", deadline)?,
            };
            match connection.call(&request, self.deadline(deadline)) {
                Ok(answer) => {
                    *link = Some(connection);
                    break answer;
                }
                Err(error) if tries == 2 || Instant::now() >= deadline => return Err(error),
                Err(error) => log::debug!("metadata: {error}; trying another connection"),
            }
        };
        self.learn(&answer);
        Ok(answer)
    }

    fn learn(&self, answer: &MetadataResponse) {
        let mut known = self.known();
        if !answer.brokers.is_empty() {
            let address = |broker: &kafka_protocol::messages::metadata_response::MetadataResponseBroker| {
                (broker.node_id.0, format!("{}:{}", broker.host, broker.port))
            };
            known.brokers = answer.brokers.iter().map(address).collect();
        }
        known.controller = Some(answer.controller_id.0).filter(|&node| node >= 0);
        let now = Instant::now();
        for topic in &answer.topics {
            let Some(name) = &topic.name else { continue };
            match leaders(topic) {
                Some(leaders) => {
                    known.topics.insert(name.to_string(), (Arc::new(leaders), now));
                }
                None if ErrorCode(topic.error_code) == ErrorCode::UNKNOWN_TOPIC_OR_PARTITION => {
                    known.topics.remove(name.as_str());
                }
                None => {}
            }
        }
    }

    fn time_left(&self, deadline: Instant) -> Result<Duration> {
        let left = deadline.saturating_duration_since(Instant::now()).min(self.settings.request_timeout);
        if left.is_zero() { Err(self.unreachable("no time left")) } else { Ok(left) }
    }

    fn unreachable(&self, reason: &str) -> Error {
        Error::Unreachable { address: self.settings.bootstrap_servers.join(","), reason: reason.to_owned() }
    }

    /// The metadata connection, once nobody else uses it.
    fn link(&self, deadline: Instant) -> Result<MutexGuard<'_, Option<Connection>>> {
        loop {
            match self.link.try_lock() {
                Ok(link) => return Ok(link),
                Err(TryLockError::Poisoned(poisoned)) => return Ok(poisoned.into_inner()),
                Err(TryLockError::WouldBlock) if Instant::now() >= deadline => {
                    return Err(self.unreachable("others wait for metadata, too"));
                }
                Err(TryLockError::WouldBlock) => std::thread::sleep(LINK_PAUSE),
            }
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        lock(&self.known)
    }
}

/// A topic's leaders; `None` while the cluster cannot list its partitions as 0..n.
fn leaders(topic: &MetadataResponseTopic) -> Option<Topic> {
    if topic.partitions.is_empty() || ErrorCode(topic.error_code) == ErrorCode::UNKNOWN_TOPIC_OR_PARTITION {
        return None;
    }
    let mut leaders = vec![None; topic.partitions.len()];
    for partition in &topic.partitions {
        let slot = leaders.get_mut(usize::try_from(partition.partition_index).ok()?)?;
        *slot = Some(partition.leader_id.0).filter(|&node| node >= 0);
    }
    Some(Topic { leaders })
}

/// A topic's name as the protocol's messages want it.
pub fn topic_name(name: &str) -> TopicName {
    TopicName(StrBytes::from_string(name.to_owned()))
}
