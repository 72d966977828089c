//! The metadata of a cluster: its brokers, its topics, and which node leads which partition.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::metadata_response::MetadataResponseTopic;
use kafka_protocol::messages::{ApiKey, MetadataRequest, MetadataResponse, TopicName};
use kafka_protocol::protocol::StrBytes;

use super::LOOK_UPS;
use super::connection::Connection;
use super::describe::Description;
use super::diagnosis::{closes_at_requests, wants_sasl};
use super::error::{Cause, Error, Result};
use super::reachability::Reachability;
use super::request_context::RequestContext;
use super::settings::ClusterSettings;
use super::topic_id::TopicId;
use super::versioned_request::VersionedRequest;
use net::stop::Stop;
use net::sync::{Condvar, Mutex, MutexGuard, lock, wait_timeout};
use protocol::error_code::ErrorCode;

impl VersionedRequest for MetadataRequest {
    const API: ApiKey = ApiKey::Metadata;
    const VERSION: i16 = 7;
    /// The first that tells the ids of topics (KIP-516).
    const NEWER: Option<i16> = Some(10);
}

/// A topic's partitions are asked for again when what is known is older than this.
const MAX_AGE: Duration = Duration::from_secs(30);
/// The longest wait for news of a topic that is known already.
const RENEWAL: Duration = Duration::from_secs(1);
/// How long a thread waits for another one that asks for metadata before it asks by itself.
const METADATA_TURN: Duration = Duration::from_millis(500);
/// A refresh that ended this recently serves the next caller too.
const FRESH: Duration = Duration::from_millis(50);

/// A topic: partition `i` is led by node `leaders[i]`, or by none (`None`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topic {
    /// Its id; `None` where the brokers know none.
    pub id: Option<TopicId>,
    /// The leading node of each partition, 0..n without gaps.
    pub leaders: Vec<Option<i32>>,
}

#[derive(Debug, Default)]
pub(crate) struct Known {
    /// `host:port` of each node, as the cluster advertises it.
    pub(crate) brokers: HashMap<i32, String>,
    controller: Option<i32>,
    topics: HashMap<String, (Arc<Topic>, Instant)>,
    /// The topics that the user may not see.
    hidden: HashSet<String>,
    /// The refusals for want of a right that were logged.
    pub(crate) refusals: HashSet<String>,
}

/// The connection for metadata, when no thread has taken it, and whether one has.
#[derive(Debug, Default)]
struct MetadataConnection {
    connection: Option<Connection>,
    in_use: bool,
}

/// The state shared by all handles on a cluster.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    known: Mutex<Known>,
    /// Which addresses failed, and why.
    pub(crate) reachability: Mutex<Reachability>,
    /// The most bytes of a batch of each topic, and when that was looked up; `None` where it is not told.
    pub(crate) batch_limits: Mutex<HashMap<String, (Instant, Option<usize>)>>,
    metadata: Mutex<MetadataConnection>,
    /// The metadata connection was given back, or a handle stops.
    metadata_free: Condvar,
}

/// A handle on a cluster, shared by every thread that speaks to it with the same settings.
///
/// A process has one cluster; [`Cluster::share`] makes handles with other settings and an end of their own.
/// They share what is known of the cluster and the connection over which it is asked. One thread at a time
/// asks for metadata; the others wait for it and take over what it has learned. Neither lock is held over
/// I/O, nor while the other is taken.
#[derive(Debug)]
pub struct Cluster {
    pub(crate) shared: Arc<Shared>,
    pub(crate) settings: ClusterSettings,
    stop: Stop,
    /// No broker answered when this handle last looked for one.
    pub(crate) silent: AtomicBool,
    /// How loudly it is said that no broker answers, or one does again.
    pub(crate) outage_level: (log::Level, log::Level),
}

impl Cluster {
    /// A cluster that has not been spoken to yet.
    pub fn new(settings: ClusterSettings) -> Cluster {
        Cluster::over(Arc::default(), settings)
    }

    /// Another handle on the same cluster, with settings and an end of its own.
    #[must_use]
    pub fn share(&self, settings: ClusterSettings) -> Cluster {
        Cluster::over(self.shared.clone(), settings)
    }

    fn over(shared: Arc<Shared>, settings: ClusterSettings) -> Cluster {
        Cluster {
            shared,
            settings,
            stop: Stop::new(),
            silent: AtomicBool::new(false),
            outage_level: (log::Level::Warn, log::Level::Info),
        }
    }

    /// For an observer beside a client that reports the same outages.
    #[must_use]
    pub fn quiet(self) -> Cluster {
        Cluster { outage_level: (log::Level::Debug, log::Level::Debug), ..self }
    }

    /// The settings given to [`Cluster::new`] or [`Cluster::share`].
    pub fn settings(&self) -> &ClusterSettings {
        &self.settings
    }

    /// Tells every wait inside the cluster client to end soon.
    pub fn stop(&self) {
        self.stop.ask();
        // With the lock taken once, no thread is between its look at the stop and its wait.
        drop(lock(&self.shared.metadata));
        self.shared.metadata_free.notify_all();
    }

    /// Whether [`Cluster::stop`] was called.
    pub fn stopping(&self) -> bool {
        self.stop.is_asked()
    }

    /// Waits for `time`, or until [`Cluster::stop`] is called; returns whether it was.
    pub fn pause(&self, time: Duration) -> bool {
        self.stop.wait_for(time)
    }

    /// The topic as it is known now, looked up where it is unknown or known for long; `None` if it does not
    /// exist. What is known for long is better than nothing.
    ///
    /// # Errors
    /// No broker answers until `deadline`, or the user may not see the topic.
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
                let known = self.known();
                if known.hidden.contains(name) {
                    let request = RequestContext::of::<MetadataRequest>().for_topic(name);
                    return Err(Error::refused(request, ErrorCode::TOPIC_AUTHORIZATION_FAILED));
                }
                Ok(known.topics.get(name).map(|(topic, _)| topic.clone()))
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

    /// The id of a topic as it was last heard of.
    pub fn topic_id(&self, topic: &str) -> Option<TopicId> {
        self.cached(topic)?.id
    }

    /// The node that changes topics, as it was last heard of.
    pub(crate) fn controller(&self) -> Result<i32> {
        self.known().controller.ok_or_else(|| self.unreachable(Cause::NoController))
    }

    /// Every topic of the cluster but its internal ones, in order of their names.
    ///
    /// # Errors
    /// No broker answers until `deadline`.
    pub fn all_topics(&self, deadline: Instant) -> Result<Vec<(String, Arc<Topic>)>> {
        let answer = self.metadata_connection(deadline)?.ask(None, deadline)?;
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
        let answer = self.metadata_connection(deadline)?.ask(topics, deadline)?;
        Ok(Description::of(&answer))
    }

    /// Asks the cluster about `topics` again. One refresh of the same topics a moment ago is enough.
    ///
    /// # Errors
    /// No broker answers until `deadline`.
    pub fn refresh(&self, topics: &[&str], deadline: Instant) -> Result<()> {
        let mut connection = self.metadata_connection(deadline)?;
        let fresh =
            |name: &&str| self.known().topics.get(*name).is_some_and(|(_, since)| since.elapsed() < FRESH);
        if !topics.is_empty() && topics.iter().all(fresh) {
            return Ok(());
        }
        connection.ask(Some(topics), deadline).map(drop)
    }

    /// When a call that starts now must have ended: after the request timeout, or at `limit` if that is
    /// earlier.
    pub fn deadline(&self, limit: Instant) -> Instant {
        limit.min(Instant::now() + self.settings.request_timeout)
    }

    /// The address at which a broker is reached that advertises `host` and `port`.
    pub(super) fn address(&self, host: &str, port: i32) -> String {
        let bootstrap = self.settings.bootstrap_servers.first().filter(|_| !self.settings.follows_advertised);
        bootstrap.cloned().unwrap_or_else(|| format!("{host}:{port}"))
    }

    pub(crate) fn learn(&self, answer: &MetadataResponse) {
        let mut known = self.known();
        if !answer.brokers.is_empty() {
            let address = |broker: &kafka_protocol::messages::metadata_response::MetadataResponseBroker| {
                (broker.node_id.0, self.address(&broker.host, broker.port))
            };
            known.brokers = answer.brokers.iter().map(address).collect();
        }
        known.controller = Some(answer.controller_id.0).filter(|&node| node >= 0);
        let now = Instant::now();
        for topic in &answer.topics {
            let Some(name) = &topic.name else { continue };
            if ErrorCode(topic.error_code) == ErrorCode::TOPIC_AUTHORIZATION_FAILED {
                known.hidden.insert(name.to_string());
            } else {
                known.hidden.remove(name.as_str());
            }
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
        drop(known);
        lock(&self.shared.reachability).keep(&self.addresses());
    }

    /// The metadata connection, as soon as no other thread uses it. A thread that uses it for long may have
    /// met a broker that does not answer, and perhaps it has more time than this one: then this one opens a
    /// connection of its own.
    pub(crate) fn metadata_connection(&self, deadline: Instant) -> Result<MetadataInUse<'_>> {
        let turn = deadline.min(Instant::now() + METADATA_TURN);
        let mut metadata = lock(&self.shared.metadata);
        while metadata.in_use {
            let left = turn.saturating_duration_since(Instant::now());
            if self.stopping() {
                return Err(Error::Cancelled);
            }
            if left.is_zero() {
                return Ok(MetadataInUse { cluster: self, connection: None, shared: false });
            }
            metadata = wait_timeout(&self.shared.metadata_free, metadata, left);
        }
        metadata.in_use = true;
        Ok(MetadataInUse { cluster: self, connection: metadata.connection.take(), shared: true })
    }

    pub(crate) fn known(&self) -> MutexGuard<'_, Known> {
        lock(&self.shared.known)
    }
}

/// The metadata connection in the hands of one thread; given back when dropped.
pub(crate) struct MetadataInUse<'a> {
    cluster: &'a Cluster,
    connection: Option<Connection>,
    /// It is the one that other threads wait for.
    shared: bool,
}

impl MetadataInUse<'_> {
    /// Asks for these topics, or for all of them, over the connection or a new one, and notes the answer.
    fn ask(&mut self, topics: Option<&[&str]>, deadline: Instant) -> Result<MetadataResponse> {
        self.ask_with(&metadata_request(topics), deadline)
    }

    pub(crate) fn ask_with(
        &mut self,
        request: &MetadataRequest,
        deadline: Instant,
    ) -> Result<MetadataResponse> {
        let cluster = self.cluster;
        let mut tries = 0;
        let mut closed_at_once = 0;
        let answer = loop {
            tries += 1;
            let mut connection = match self.connection.take().and_then(Connection::if_open) {
                Some(connection) => connection,
                None => cluster.connect_any(LOOK_UPS, deadline)?,
            };
            let limit = cluster.deadline(deadline);
            let answer = connection
                .send(request)
                .and_then(|()| connection.receive::<MetadataRequest>(limit, &mut || !cluster.stopping()));
            match answer {
                Ok(answer) => {
                    cluster.heard(connection.address());
                    self.connection = Some(connection);
                    break answer;
                }
                Err(error) => {
                    closed_at_once += u32::from(closes_at_requests(&error));
                    if tries == 2 || cluster.stopping() || Instant::now() >= deadline {
                        return Err(match closed_at_once {
                            2 => wants_sasl(error, connection.address()),
                            _ => error,
                        });
                    }
                    log::debug!("metadata: {error}; trying another connection");
                }
            }
        };
        cluster.learn(&answer);
        Ok(answer)
    }
}

impl Drop for MetadataInUse<'_> {
    fn drop(&mut self) {
        if !self.shared {
            return;
        }
        let mut metadata = lock(&self.cluster.shared.metadata);
        metadata.connection = self.connection.take();
        metadata.in_use = false;
        self.cluster.shared.metadata_free.notify_one();
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
    Some(Topic { id: TopicId::of(topic.topic_id.as_u128()), leaders })
}

/// The question for these topics, or for all of them, which creates none.
pub(crate) fn metadata_request(topics: Option<&[&str]>) -> MetadataRequest {
    let names = topics.map(|topics| {
        let topic = |name: &&str| MetadataRequestTopic::default().with_name(Some(topic_name(name)));
        topics.iter().map(topic).collect()
    });
    MetadataRequest::default().with_topics(names).with_allow_auto_topic_creation(false)
}

/// A topic's name as the protocol's messages want it.
pub fn topic_name(name: &str) -> TopicName {
    TopicName(StrBytes::from_string(name.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::compression::Compression;

    fn settings() -> ClusterSettings {
        ClusterSettings {
            bootstrap_servers: Vec::new(),
            security: Arc::default(),
            request_timeout: Duration::from_secs(30),
            delivery_timeout: Duration::from_secs(30),
            compression: Compression::None,
            create: Vec::new(),
            follows_advertised: true,
        }
    }

    #[test]
    fn a_broker_is_reached_where_it_advertises_itself_or_at_the_bootstrap_server() {
        let cluster = Cluster::new(settings());
        assert_eq!(cluster.address("broker.example", 19_092), "broker.example:19092");
        let bootstrap_servers = vec!["127.0.0.1:9092".to_owned()];
        let embedded = ClusterSettings { bootstrap_servers, follows_advertised: false, ..settings() };
        assert_eq!(cluster.share(embedded).address("broker.example", 19_092), "127.0.0.1:9092");
    }

    #[test]
    fn a_handle_ends_by_itself_and_knows_what_the_others_know() {
        let cluster = Cluster::new(settings());
        let other = cluster.share(settings());
        let topic = Arc::new(Topic { id: None, leaders: vec![Some(7)] });
        cluster.known().topics.insert("pedidos".to_owned(), (topic, Instant::now()));
        assert_eq!(other.leader("pedidos", 0), Some(7));
        other.stop();
        assert!(other.pause(Duration::from_secs(60)) && !cluster.stopping());
    }

    #[test]
    fn a_thread_that_waits_for_metadata_hears_the_stop_and_else_asks_by_itself() {
        let cluster = Cluster::new(settings());
        let deadline = Instant::now() + Duration::from_secs(60);
        let in_use = cluster.metadata_connection(deadline).unwrap();
        assert!(in_use.shared && !cluster.metadata_connection(deadline).unwrap().shared);
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| cluster.metadata_connection(deadline).map(|found| found.shared));
            drop(in_use);
            // Whether it has waited or not, the connection is free by now.
            assert!(waiting.join().unwrap().unwrap());
        });
        let _in_use = cluster.metadata_connection(deadline).unwrap();
        cluster.stop();
        assert!(matches!(cluster.metadata_connection(deadline), Err(Error::Cancelled)));
    }
}
