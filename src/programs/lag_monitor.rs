//! A consumer's metrics: `/metrics`, `/healthz` and, with a work queue, `/readyz` at
//! `consumer.metrics_listen`, and the thread that looks up the consumer's partitions and their lag.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::adapter_access::AdapterAccess;
use super::channel_monitor::ChannelMonitor;
use super::warnings::Warnings;
use crate::config::Settings;
use crate::consumer::{Standing, Subscription};
use crate::error::{Error, Result};
use crate::http::{HttpServer, Monitoring, Readiness};
use crate::metrics::{ChannelMetrics, ConsumerMetrics, Family, Lags};
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
    /// Where no other process tells of the channel.
    _channel: Option<ChannelMonitor>,
}

impl MetricsEndpoint {
    /// Starts to serve the `metrics` of the consumer `name`, if the settings have an address for them; also
    /// whether it works, where its `standing` is known, and what is wrong besides. A consumer that runs on
    /// its own also tells of the channel, as the endpoint of the default program does.
    ///
    /// # Errors
    /// The address cannot be listened on, or the system has no descriptor or thread left.
    pub(super) fn start(
        adapter: &AdapterAccess,
        settings: &Settings,
        name: &str,
        metrics: &ConsumerMetrics,
        standing: Option<(Standing, Warnings)>,
    ) -> Result<Option<MetricsEndpoint>> {
        let Some(listen) = &settings.consumer.metrics_listen else { return Ok(None) };
        let readiness = standing
            .map(|(standing, warnings)| -> Box<dyn Readiness> { Box::new(Working { standing, warnings }) });
        let channel = ChannelMetrics::default();
        let is_alone = matches!(adapter, AdapterAccess::Own(..));
        let families: &[&dyn Family] = if is_alone { &[metrics, &channel] } else { &[metrics] };
        let monitoring = Monitoring::new(families, readiness);
        let anyone = settings.consumer.anyone_may_scrape;
        let server = HttpServer::start_monitoring("consumer.metrics_listen", listen, anyone, monitoring)?;
        log::info!("metrics at http://{}/metrics", server.address());
        let cluster = adapter.cluster();
        let channel = is_alone.then(|| ChannelMonitor::start(cluster, settings, channel)).transpose()?;
        let monitor = LagMonitor::new(cluster, settings, name, metrics.clone());
        let cluster = monitor.cluster.clone();
        let worker = Worker::start("consumer-lag", move |stop| monitor.run(stop))
            .map_err(|error| Error::new("the thread consumer-lag cannot be started").caused_by(error))?;
        Ok(Some(MetricsEndpoint { _server: server, cluster, _worker: worker, _channel: channel }))
    }
}

/// A consumer is ready while it handles what it gets.
struct Working {
    standing: Standing,
    warnings: Warnings,
}

impl Readiness for Working {
    fn check(&self) -> Result<(), String> {
        self.standing.obstacle().map_or(Ok(()), Err)
    }

    fn warnings(&self) -> Vec<String> {
        self.warnings.current()
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
    topics: Subscription,
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
            topics: settings.kafka.consumed(),
            reset: settings.consumer.auto_offset_reset,
            metrics,
        }
    }

    fn run(&self, end: &Stop) {
        loop {
            match self.look() {
                Ok(lags) => self.metrics.owns(&lags),
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

    /// The partitions of the members with this name by their topics, each with what is still to be handled,
    /// where that is known.
    fn look(&self) -> client::Result<Lags> {
        let deadline = Instant::now() + PATIENCE;
        let group = groups::one(&self.cluster, &self.group, deadline)?;
        let members = group.members.iter().flatten().filter(|member| member.client_id == self.name);
        let places = members.flat_map(|member| &member.partitions);
        let owned: BTreeSet<&TopicPartition> = places.filter(|place| self.topics.has(&place.topic)).collect();
        let topics: BTreeSet<&str> = owned.iter().map(|place| &*place.topic).collect();
        let topics: Vec<&str> = topics.into_iter().collect();
        if !topics.is_empty() {
            self.cluster.refresh(&topics, deadline)?;
        }
        let ends = self.find(owned.iter().copied(), LATEST, deadline);
        let committed = |place: &TopicPartition| Some(group.committed.get(place)?.offset);
        let starts = self.find(owned.iter().copied(), EARLIEST, deadline);
        let lag = |place: &TopicPartition| {
            let (start, end) = (*starts.get(place)?, *ends.get(place)?);
            lag(committed(place), start, end, self.reset)
        };
        let mut lags: Lags = self.topics.named().iter().map(|topic| (topic.clone(), Vec::new())).collect();
        for place in owned {
            lags.entry(place.topic.clone()).or_default().push((place.partition, lag(place)));
        }
        Ok(lags)
    }

    fn find<'a>(
        &self,
        places: impl Iterator<Item = &'a TopicPartition>,
        time: i64,
        deadline: Instant,
    ) -> Offsets {
        let wanted: Vec<_> = places.map(|place| (place.clone(), time)).collect();
        if wanted.is_empty() {
            return Offsets::new();
        }
        offsets::find(&self.cluster, &self.name, &wanted, deadline)
    }
}

/// The messages that are still to be handled; `None` where that is not known before the first commit. What
/// was removed below `start` is none of them.
fn lag(committed: Option<i64>, start: i64, end: i64, reset: OffsetReset) -> Option<i64> {
    let position = match (committed, reset) {
        (Some(committed), _) => committed.max(start),
        (None, OffsetReset::Earliest) => start,
        (None, OffsetReset::Latest) => return None,
    };
    Some(end.saturating_sub(position).max(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_removed_before_it_was_handled_is_no_lag() {
        let (earliest, latest) = (OffsetReset::Earliest, OffsetReset::Latest);
        assert_eq!(lag(Some(4), 0, 10, earliest), Some(6));
        assert_eq!(lag(Some(4), 7, 10, latest), Some(3));
        assert_eq!(lag(Some(4), 10, 10, latest), Some(0));
        assert_eq!(lag(Some(12), 7, 10, latest), Some(0), "another log than that of the commit");
        assert_eq!(lag(None, 7, 10, earliest), Some(3));
        assert_eq!(lag(None, 7, 10, latest), None);
    }
}
