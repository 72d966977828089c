//! A consumer's metrics: `/metrics`, `/healthz` and, with a work queue, `/readyz` at
//! `consumer.metrics_listen`, and the thread that looks up the consumer's partitions and their lag.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::config::Settings;
use crate::consumer::Standing;
use crate::error::{Error, Result};
use crate::http::{HttpServer, Monitoring, Readiness};
use crate::metrics::ConsumerMetrics;
use client::describe::groups;
use client::group_member::OffsetReset;
use client::offsets::{self, EARLIEST, LATEST, Offsets};
use client::{Cluster, ClusterSettings};
use net::stop::Stop;
use net::sync::Worker;
use protocol::TopicPartition;

/// The pause between two descriptions of the group.
const INTERVAL: Duration = Duration::from_secs(3);
/// The time limit for one description of the group.
const PATIENCE: Duration = Duration::from_secs(3);

/// The endpoint and the thread. Both end on drop.
pub(super) struct MetricsEndpoint {
    _server: HttpServer,
    cluster: Arc<Cluster>,
    _worker: Worker,
}

impl MetricsEndpoint {
    /// Starts to serve the `metrics` of the consumer `name`, if the settings have an address for them; also
    /// whether it works, where its `standing` is known.
    ///
    /// # Errors
    /// The address cannot be listened on, or the system has no descriptor or thread left.
    pub(super) fn start(
        cluster: &Cluster,
        settings: &Settings,
        name: &str,
        metrics: &ConsumerMetrics,
        standing: Option<Standing>,
    ) -> Result<Option<MetricsEndpoint>> {
        let Some(listen) = &settings.consumer.metrics_listen else { return Ok(None) };
        let readiness = standing.map(|standing| -> Box<dyn Readiness> { Box::new(Working(standing)) });
        let monitoring = Monitoring::new(&[metrics], readiness);
        let server = HttpServer::start_monitoring("consumer.metrics_listen", listen, monitoring)?;
        log::info!("metrics at http://{}/metrics", server.address());
        let monitor = LagMonitor::new(cluster, settings, name, metrics.clone());
        let cluster = monitor.cluster.clone();
        let worker = Worker::start("consumer-lag", move |stop| monitor.run(stop))
            .map_err(|error| Error::new("the thread consumer-lag cannot be started").caused_by(error))?;
        Ok(Some(MetricsEndpoint { _server: server, cluster, _worker: worker }))
    }
}

/// A consumer is ready while it handles what it gets.
struct Working(Standing);

impl Readiness for Working {
    fn check(&self) -> Result<(), String> {
        self.0.obstacle().map_or(Ok(()), Err)
    }
}

impl Drop for MetricsEndpoint {
    fn drop(&mut self) {
        self.cluster.stop();
    }
}

/// Describes the group at its coordinator: the consumer does not know which partitions its adapter serves.
struct LagMonitor {
    cluster: Arc<Cluster>,
    name: String,
    group: String,
    topic: String,
    reset: OffsetReset,
    metrics: ConsumerMetrics,
}

impl LagMonitor {
    fn new(cluster: &Cluster, settings: &Settings, name: &str, metrics: ConsumerMetrics) -> LagMonitor {
        let cluster = cluster.share(ClusterSettings {
            request_timeout: settings.kafka.request_timeout().min(PATIENCE),
            ..settings.cluster()
        });
        LagMonitor {
            cluster: Arc::new(cluster.quiet()),
            name: name.to_owned(),
            group: settings.consumer.group().to_owned(),
            topic: settings.kafka.topic.clone(),
            reset: settings.consumer.auto_offset_reset,
            metrics,
        }
    }

    fn run(&self, end: &Stop) {
        loop {
            match self.look() {
                Ok(lags) => self.metrics.owns(&self.topic, &lags),
                Err(error) => {
                    log::debug!("what {} owns is not known: {error}", self.name);
                    self.metrics.owns_nobody_knows_what();
                }
            }
            if end.wait_for(INTERVAL) {
                return;
            }
        }
    }

    /// The partitions of the members with this name, each with what is still to be handled, where that is
    /// known.
    fn look(&self) -> client::Result<Vec<(i32, Option<i64>)>> {
        let deadline = Instant::now() + PATIENCE;
        self.cluster.refresh(&[&self.topic], deadline)?;
        let group = groups::one(&self.cluster, &self.group, deadline)?;
        let members = group.members.iter().flatten().filter(|member| member.client_id == self.name);
        let places = members.flat_map(|member| &member.partitions).filter(|place| place.topic == self.topic);
        let owned: Vec<i32> = places.map(|place| place.partition).collect();
        let ends = self.find(&owned, LATEST, deadline);
        let committed =
            |partition: i32| Some(group.committed.get(&TopicPartition::new(&self.topic, partition))?.offset);
        let fresh: Vec<i32> = owned.iter().copied().filter(|p| committed(*p).is_none()).collect();
        let starts = match self.reset {
            OffsetReset::Earliest if !fresh.is_empty() => self.find(&fresh, EARLIEST, deadline),
            _ => Offsets::new(),
        };
        let lag = |partition: i32| {
            let place = TopicPartition::new(&self.topic, partition);
            let position = committed(partition).or_else(|| starts.get(&place).copied())?;
            Some((ends.get(&place)? - position).max(0))
        };
        Ok(owned.into_iter().map(|partition| (partition, lag(partition))).collect())
    }

    fn find(&self, partitions: &[i32], time: i64, deadline: Instant) -> Offsets {
        let wanted: Vec<_> =
            partitions.iter().map(|&partition| (TopicPartition::new(&self.topic, partition), time)).collect();
        offsets::find(&self.cluster, &self.name, &wanted, deadline)
    }
}
