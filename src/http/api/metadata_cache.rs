//! Topics and brokers of the cluster, asked for by a thread of its own, so that the handlers' one thread
//! never waits for a broker. Results are kept for a moment: a flood of requests is no flood to Kafka.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use net::sync::{Condvar, Mutex, Worker, lock};

use crate::error::{Error, Result};

/// The age up to which a result is used again.
const FRESH: Duration = Duration::from_secs(1);

/// The most requests that wait.
const MAX_PENDING: usize = 256;

/// The most results that are kept.
const MAX_CACHED: usize = 1_024;

/// Describes the cluster; each call waits for a broker. A topic that is asked for is not created, except the
/// channel's own where the settings say so.
pub trait TopicDirectory: Send + Sync + 'static {
    /// The names of all topics except Kafka's internal ones, in order.
    ///
    /// # Errors
    /// No broker answers until `deadline`.
    fn topics(&self, deadline: Instant) -> Result<Vec<String>>;

    /// The topic of this name; `None` if it does not exist.
    ///
    /// # Errors
    /// No broker answers until `deadline`.
    fn topic(&self, name: &str, deadline: Instant) -> Result<Option<Topic>>;

    /// As [`TopicDirectory::topic`], for a topic that records are to be sent to: brokers that create topics
    /// for every client create it.
    ///
    /// # Errors
    /// No broker answers until `deadline`.
    fn topic_for_records(&self, name: &str, deadline: Instant) -> Result<Option<Topic>>;

    /// The configurations of a topic, by name; none where they may not be read.
    ///
    /// # Errors
    /// No broker answers until `deadline`.
    fn configs(&self, topic: &str, deadline: Instant) -> Result<BTreeMap<String, String>>;

    /// The offsets of a partition.
    ///
    /// # Errors
    /// No broker answers until `deadline`, or no node leads the partition.
    fn offsets(&self, topic: &str, partition: i32, deadline: Instant) -> Result<PartitionOffsets>;

    /// The ids of all brokers, in order.
    ///
    /// # Errors
    /// No broker answers until `deadline`.
    fn brokers(&self, deadline: Instant) -> Result<Vec<i32>>;

    /// Makes the call under way end soon.
    fn stop(&self) {}
}

/// A topic of the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topic {
    /// It is one of Kafka's internal topics.
    pub internal: bool,
    /// Its partitions, by number.
    pub partitions: Vec<Partition>,
}

impl Topic {
    /// Whether it has the partition of this number.
    pub(crate) fn has_partition(&self, number: i32) -> bool {
        self.partitions.iter().any(|partition| partition.number == number)
    }
}

/// A partition of a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partition {
    /// Its number.
    pub number: i32,
    /// The id of its leader, if it has one.
    pub leader: Option<i32>,
    /// The ids of its replicas.
    pub replicas: Vec<i32>,
    /// The ids of its in-sync replicas.
    pub in_sync: Vec<i32>,
}

/// The offsets of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartitionOffsets {
    /// The first one that is there.
    pub beginning: i64,
    /// The one after the last.
    pub end: i64,
}

/// A request to the cluster.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum MetadataRequest {
    /// [`TopicDirectory::topics`].
    Topics,
    /// [`TopicDirectory::topic`].
    Topic(String),
    /// [`TopicDirectory::topic_for_records`].
    TopicForRecords(String),
    /// [`TopicDirectory::topic`] and its [`TopicDirectory::configs`].
    TopicWithConfigs(String),
    /// [`TopicDirectory::offsets`] of a partition that exists.
    Offsets(String, i32),
    /// [`TopicDirectory::brokers`].
    Brokers,
}

/// The cluster's answer to a request.
#[derive(Debug, Clone)]
pub(crate) enum Metadata {
    /// To [`MetadataRequest::Topics`].
    Topics(Arc<Vec<String>>),
    /// To [`MetadataRequest::Topic`] and [`MetadataRequest::TopicForRecords`].
    Topic(Option<Arc<Topic>>),
    /// To [`MetadataRequest::TopicWithConfigs`].
    TopicWithConfigs(Option<Arc<(Topic, BTreeMap<String, String>)>>),
    /// To [`MetadataRequest::Offsets`], with the topic; no offsets if it does not have the partition.
    Offsets(Option<Arc<Topic>>, Option<PartitionOffsets>),
    /// To [`MetadataRequest::Brokers`].
    Brokers(Arc<Vec<i32>>),
}

/// The cluster's answer, or a part of a sentence with the reason for which there is none.
pub(crate) type MetadataResult = Result<Metadata, Arc<str>>;

/// Called with the result; it must be quick. It is dropped without a call if the endpoint stops.
pub(crate) type MetadataCallback = Box<dyn FnOnce(MetadataResult) + Send>;

/// Too many requests wait already.
#[derive(Debug)]
pub(crate) struct TooManyPending;

struct PendingRequest {
    request: MetadataRequest,
    bytes: usize,
    deadline: Instant,
    callback: MetadataCallback,
}

#[derive(Default)]
struct CacheState {
    pending: VecDeque<PendingRequest>,
    /// The bytes that wait with all pending requests.
    pending_bytes: usize,
    cached: HashMap<MetadataRequest, (Instant, MetadataResult)>,
    stopping: bool,
}

/// The results that are fresh, and the requests that wait for the thread.
pub(crate) struct MetadataCache {
    state: Mutex<CacheState>,
    work: Condvar,
    max_pending_bytes: usize,
}

/// The thread that asks the cluster. It has ended when this is dropped.
pub(crate) struct MetadataWorker {
    cache: Arc<MetadataCache>,
    directory: Arc<dyn TopicDirectory>,
    _thread: Worker,
}

impl MetadataWorker {
    /// Starts the thread, which asks `directory`. At most `max_pending_bytes` wait with the pending requests
    /// together, or with a single larger one.
    ///
    /// # Errors
    /// The system gives no thread.
    pub(crate) fn start(
        directory: Box<dyn TopicDirectory>,
        max_pending_bytes: usize,
    ) -> Result<MetadataWorker> {
        let cache = MetadataCache { state: Mutex::default(), work: Condvar::new(), max_pending_bytes };
        let (cache, directory) = (Arc::new(cache), Arc::<dyn TopicDirectory>::from(directory));
        let (its_cache, its_directory) = (Arc::clone(&cache), Arc::clone(&directory));
        let thread = Worker::start("http-metadata", move |_| its_cache.run(its_directory.as_ref()))
            .map_err(|error| Error::new("the thread for cluster metadata cannot start").caused_by(error))?;
        Ok(MetadataWorker { cache, directory, _thread: thread })
    }

    /// The cache that the thread fills.
    pub(crate) fn cache(&self) -> Arc<MetadataCache> {
        Arc::clone(&self.cache)
    }
}

/// Drops the pending requests, and gives up the one under way; the thread then ends.
impl Drop for MetadataWorker {
    fn drop(&mut self) {
        self.cache.stop();
        self.directory.stop();
    }
}

impl MetadataCache {
    /// Calls `callback` with the result: at once on this thread if it is cached, else later on the cache's
    /// thread; with an error if no broker has answered by `deadline`. `bytes` is the size of the request's
    /// body, which waits with it.
    ///
    /// # Errors
    /// Too many requests or bytes wait; the callback is dropped.
    pub(crate) fn get(
        &self,
        request: MetadataRequest,
        bytes: usize,
        deadline: Instant,
        callback: MetadataCallback,
    ) -> Result<(), TooManyPending> {
        let mut state = lock(&self.state);
        if let Some(result) = state.fresh(&request) {
            drop(state);
            callback(result);
            return Ok(());
        }
        let sum = state.pending_bytes.saturating_add(bytes);
        let too_large = !state.pending.is_empty() && sum > self.max_pending_bytes;
        if state.stopping || too_large || state.pending.len() >= MAX_PENDING {
            return Err(TooManyPending);
        }
        state.pending_bytes = sum;
        state.pending.push_back(PendingRequest { request, bytes, deadline, callback });
        drop(state);
        self.work.notify_one();
        Ok(())
    }

    fn stop(&self) {
        let mut state = lock(&self.state);
        state.stopping = true;
        let dropped = std::mem::take(&mut state.pending);
        state.pending_bytes = 0;
        drop(state);
        drop(dropped); // callbacks hold locks of their own
        self.work.notify_one();
    }

    fn run(&self, directory: &dyn TopicDirectory) {
        while let Some(pending) = self.next() {
            let done = catch_unwind(AssertUnwindSafe(|| {
                let result = self.fetch(directory, &pending.request, pending.deadline);
                (pending.callback)(result);
            }));
            if done.is_err() {
                log::error!("a metadata request has failed; see the message on standard error");
            }
        }
    }

    fn next(&self) -> Option<PendingRequest> {
        let idle = |state: &mut CacheState| state.pending.is_empty() && !state.stopping;
        let state = self.work.wait_while(lock(&self.state), idle);
        let mut state = state.unwrap_or_else(PoisonError::into_inner);
        let pending = state.pending.pop_front()?;
        state.pending_bytes -= pending.bytes;
        Some(pending)
    }

    fn fetch(
        &self,
        directory: &dyn TopicDirectory,
        request: &MetadataRequest,
        deadline: Instant,
    ) -> MetadataResult {
        if let Some(result) = lock(&self.state).fresh(request) {
            return result;
        }
        if Instant::now() >= deadline {
            return Err("no broker has answered in time".into());
        }
        let result = ask(directory, request, deadline);
        let result = result.map_err(|error| Arc::from(error.to_string()));
        lock(&self.state).keep(request.clone(), result.clone());
        result
    }
}

/// Asks the cluster.
fn ask(directory: &dyn TopicDirectory, request: &MetadataRequest, deadline: Instant) -> Result<Metadata> {
    Ok(match request {
        MetadataRequest::Topics => Metadata::Topics(Arc::new(directory.topics(deadline)?)),
        MetadataRequest::Topic(name) => Metadata::Topic(directory.topic(name, deadline)?.map(Arc::new)),
        MetadataRequest::TopicForRecords(name) => {
            Metadata::Topic(directory.topic_for_records(name, deadline)?.map(Arc::new))
        }
        MetadataRequest::TopicWithConfigs(name) => {
            let with_configs = |topic| Ok(Arc::new((topic, directory.configs(name, deadline)?)));
            Metadata::TopicWithConfigs(directory.topic(name, deadline)?.map(with_configs).transpose()?)
        }
        MetadataRequest::Offsets(name, partition) => {
            let topic = directory.topic(name, deadline)?.map(Arc::new);
            let there = topic.as_ref().is_some_and(|topic| topic.has_partition(*partition));
            let offsets = there.then(|| directory.offsets(name, *partition, deadline)).transpose()?;
            Metadata::Offsets(topic, offsets)
        }
        MetadataRequest::Brokers => Metadata::Brokers(Arc::new(directory.brokers(deadline)?)),
    })
}

impl CacheState {
    fn fresh(&self, request: &MetadataRequest) -> Option<MetadataResult> {
        let (since, result) = self.cached.get(request)?;
        (since.elapsed() < FRESH).then(|| result.clone())
    }

    fn keep(&mut self, request: MetadataRequest, result: MetadataResult) {
        if self.cached.len() >= MAX_CACHED {
            self.cached.retain(|_, (since, _)| since.elapsed() < FRESH);
        }
        if self.cached.len() >= MAX_CACHED {
            self.cached.clear();
        }
        self.cached.insert(request, (Instant::now(), result));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc::{self, Receiver, Sender};

    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    /// Answers after a word on `go_on`; counts the calls.
    struct Slow {
        asked: Arc<AtomicUsize>,
        begun: Sender<()>,
        go_on: Mutex<Receiver<()>>,
    }

    impl TopicDirectory for Slow {
        fn topics(&self, _: Instant) -> Result<Vec<String>> {
            panic!("on purpose");
        }

        fn topic(&self, name: &str, _: Instant) -> Result<Option<Topic>> {
            self.asked.fetch_add(1, Ordering::SeqCst);
            self.begun.send(()).unwrap();
            lock(&self.go_on).recv().unwrap();
            if name == "silent" {
                return Err(Error::new("no broker"));
            }
            Ok((name == "there").then(|| Topic { internal: false, partitions: Vec::new() }))
        }

        fn topic_for_records(&self, name: &str, deadline: Instant) -> Result<Option<Topic>> {
            self.topic(name, deadline)
        }

        fn configs(&self, _: &str, _: Instant) -> Result<BTreeMap<String, String>> {
            Ok(BTreeMap::new())
        }

        fn offsets(&self, _: &str, _: i32, _: Instant) -> Result<PartitionOffsets> {
            Ok(PartitionOffsets { beginning: 0, end: 1 })
        }

        fn brokers(&self, _: Instant) -> Result<Vec<i32>> {
            Ok(vec![1])
        }
    }

    struct Bench {
        asked: Arc<AtomicUsize>,
        begun: Receiver<()>,
        go_on: Sender<()>,
        tell: Sender<MetadataResult>,
        results: Receiver<MetadataResult>,
        /// Dropped last: its thread may wait for `go_on`.
        worker: MetadataWorker,
    }

    fn bench() -> Bench {
        let asked = Arc::new(AtomicUsize::new(0));
        let ((begin, begun), (go_on, gone_on), (tell, results)) =
            (mpsc::channel(), mpsc::channel(), mpsc::channel());
        let slow = Slow { asked: asked.clone(), begun: begin, go_on: Mutex::new(gone_on) };
        let worker = MetadataWorker::start(Box::new(slow), 100).unwrap();
        Bench { asked, begun, go_on, tell, results, worker }
    }

    impl Bench {
        fn ask(&self, request: MetadataRequest, bytes: usize, time: Duration) -> Result<(), TooManyPending> {
            let tell = self.tell.clone();
            let callback = Box::new(move |result| drop(tell.send(result)));
            self.worker.cache.get(request, bytes, Instant::now() + time, callback)
        }

        fn topic(&self, name: &str) {
            self.ask(MetadataRequest::Topic(name.to_owned()), 0, LONG).unwrap();
        }
    }

    #[test]
    fn equal_requests_are_sent_once() {
        let bench = bench();
        (0..100).for_each(|_| bench.topic("there"));
        bench.begun.recv_timeout(LONG).unwrap();
        bench.go_on.send(()).unwrap();
        for _ in 0..100 {
            assert!(matches!(bench.results.recv_timeout(LONG), Ok(Ok(Metadata::Topic(Some(_))))));
        }
        assert_eq!(bench.asked.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn a_late_or_failed_request_has_a_reason() {
        let bench = bench();
        bench.topic("silent");
        bench.begun.recv_timeout(LONG).unwrap();
        bench.ask(MetadataRequest::Brokers, 0, Duration::ZERO).unwrap();
        bench.go_on.send(()).unwrap();
        for reason in ["no broker", "no broker has answered in time"] {
            let found = bench.results.recv_timeout(LONG).unwrap();
            assert_eq!(found.err().as_deref(), Some(reason));
        }
        bench.topic("other");
        bench.begun.recv_timeout(LONG).unwrap();
        bench.go_on.send(()).unwrap();
        assert!(matches!(bench.results.recv_timeout(LONG), Ok(Ok(Metadata::Topic(None)))));
    }

    #[test]
    fn pending_requests_are_limited_in_number_and_bytes() {
        let bench = bench();
        bench.topic("there");
        bench.begun.recv_timeout(LONG).unwrap();
        bench.ask(MetadataRequest::Brokers, 1_000, LONG).unwrap();
        assert!(bench.ask(MetadataRequest::Brokers, 1, LONG).is_err(), "a single one may be larger");
        for _ in 1..MAX_PENDING {
            bench.ask(MetadataRequest::Topics, 0, LONG).err();
        }
        bench.go_on.send(()).unwrap();
        bench.results.recv_timeout(LONG).unwrap().unwrap();
        bench.results.recv_timeout(LONG).unwrap().unwrap();
        assert!(lock(&bench.worker.cache.state).pending_bytes == 0);
    }

    #[test]
    fn the_thread_survives_a_panic() {
        let bench = bench();
        bench.ask(MetadataRequest::Topics, 0, LONG).unwrap();
        bench.ask(MetadataRequest::Brokers, 0, LONG).unwrap();
        assert!(matches!(bench.results.recv_timeout(LONG), Ok(Ok(Metadata::Brokers(_)))));
        bench.worker.cache.stop();
        assert!(bench.ask(MetadataRequest::Topics, 0, LONG).is_err());
    }
}
