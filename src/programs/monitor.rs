//! What a consumer tells of itself: `/metrics` and `/healthz` at `consumer.metrics_listen`, and the thread that
//! finds out which partitions it owns and how far behind it is there.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use crate::cluster::groups;
use crate::cluster::offsets::{self, EARLIEST, LATEST, Offsets};
use crate::cluster::{Cluster, ClusterSettings};
use crate::config::{AutoOffsetReset, Settings};
use crate::error::{Error, Result};
use crate::http::{HttpServer, Monitoring};
use crate::metrics::ConsumerMetrics;
use crate::stop::Stop;

/// The pause between two looks at the group.
const EVERY: Duration = Duration::from_secs(3);
/// How long one look may wait for answers.
const PATIENCE: Duration = Duration::from_secs(3);

/// The endpoint and the thread; both end when it is dropped.
pub(super) struct Monitor {
    _server: HttpServer,
    end: Stop,
}

impl Monitor {
    /// Starts to tell what the consumer `name` counts in `metrics`, if that is asked for.
    ///
    /// # Errors
    /// The address cannot be listened on, or the system has no descriptor or thread left.
    pub(super) fn start(
        settings: &Settings,
        name: &str,
        metrics: &ConsumerMetrics,
    ) -> Result<Option<Monitor>> {
        let Some(listen) = &settings.consumer.metrics_listen else { return Ok(None) };
        let monitoring = Monitoring::new(&[metrics], None);
        let server = HttpServer::start_monitoring("consumer.metrics_listen", listen, monitoring)?;
        log::info!("metrics at http://{}/metrics", server.address());
        let end = Stop::new();
        let onlooker = Onlooker::new(settings, name, metrics.clone());
        let ended = end.clone();
        thread::Builder::new()
            .name("consumer-lag".to_owned())
            .spawn(move || onlooker.run(&ended))
            .map_err(|error| Error::new("no thread to look at the group").caused_by(error))?;
        Ok(Some(Monitor { _server: server, end }))
    }
}

impl Drop for Monitor {
    fn drop(&mut self) {
        self.end.ask();
    }
}

/// Looks at the group from outside, as the consumer itself does not know which partitions its adapter serves.
struct Onlooker {
    cluster: Arc<Cluster>,
    name: String,
    group: String,
    topic: String,
    reset: AutoOffsetReset,
    metrics: ConsumerMetrics,
}

impl Onlooker {
    fn new(settings: &Settings, name: &str, metrics: ConsumerMetrics) -> Onlooker {
        let cluster = Cluster::new(ClusterSettings {
            request_timeout: settings.kafka.request_timeout().min(PATIENCE),
            ..ClusterSettings::of(settings)
        });
        Onlooker {
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
            if end.wait_for(EVERY) {
                return;
            }
        }
    }

    /// The partitions of the members with this name, each with what is still to be handled, where that is
    /// known.
    fn look(&self) -> crate::cluster::Result<Vec<(i32, Option<i64>)>> {
        let deadline = Instant::now() + PATIENCE;
        self.cluster.refresh(&[&self.topic], deadline)?;
        let group = groups::one(&self.cluster, &self.group, deadline)?;
        let members = group.members.iter().flatten().filter(|member| member.client_id == self.name);
        let places = members.flat_map(|member| &member.partitions).filter(|(topic, _)| *topic == self.topic);
        let owned: Vec<i32> = places.map(|(_, partition)| *partition).collect();
        let ends = self.find(&owned, LATEST, deadline);
        let committed = |partition: i32| group.committed.get(&(self.topic.clone(), partition)).copied();
        let fresh: Vec<i32> = owned.iter().copied().filter(|p| committed(*p).is_none()).collect();
        let starts = match self.reset {
            AutoOffsetReset::Earliest if !fresh.is_empty() => self.find(&fresh, EARLIEST, deadline),
            _ => Offsets::new(),
        };
        let lag = |partition: i32| {
            let place = (self.topic.clone(), partition);
            let position = committed(partition).or_else(|| starts.get(&place).copied())?;
            Some((ends.get(&place)? - position).max(0))
        };
        Ok(owned.into_iter().map(|partition| (partition, lag(partition))).collect())
    }

    fn find(&self, partitions: &[i32], time: i64, deadline: Instant) -> Offsets {
        let wanted: Vec<_> =
            partitions.iter().map(|partition| (self.topic.clone(), *partition, time)).collect();
        offsets::find(&self.cluster, &self.name, &wanted, deadline)
    }
}
