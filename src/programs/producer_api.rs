//! The HTTP endpoint: it stores posted messages in the topic, or in the topic that a request names.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use super::adapter_access::AdapterAccess;
use super::channel_monitor::ChannelMonitor;
use super::dashboard_source::DashboardSource;
use super::lease_queues::LeaseQueues;
use super::message_source::MessageSource;
use super::readiness::CanStore;
use super::service::Service;
use super::topic_directory::ClusterTopicDirectory;
use super::warnings::Warnings;
use crate::cli::{Invocation, Program, SettingsOptions};
use crate::error::Result;
use crate::http::{ANSWER_GRACE, HttpServer, Monitoring, Services};
use crate::metrics::{ChannelMetrics, Family, ProducerMetrics};
use crate::producer::Producers;
use crate::producer::{Producer, StoreFailureCheck};
use crate::supervisor::parent_link;
use clap::Args;

/// The client id, which Kafka's tools show.
const NAME: &str = "producer_api";

/// The command line.
#[derive(Debug, Args)]
#[command(about = "Stores what is posted to /enviar in the topic, and to /topics/NAME in that one")]
pub struct Arguments {
    #[command(flatten)]
    settings: SettingsOptions,
    #[arg(long, hide = true)]
    supervised: bool,
}

impl Program for Arguments {
    fn settings(&self) -> &SettingsOptions {
        &self.settings
    }

    fn is_supervised(&self) -> bool {
        self.supervised
    }

    fn run(&self, invocation: &Invocation) -> Result<()> {
        run(invocation)
    }
}

fn run(invocation: &Invocation) -> Result<()> {
    let stop = invocation.begin()?;
    let settings = &invocation.settings;
    // The server has answered every accepted message by then.
    let patience = settings.producer_api.answer_timeout() + ANSWER_GRACE;
    let service = Service::begin(invocation, &stop, settings.producer_api.drain() + patience);
    let adapter = AdapterAccess::find(invocation, &settings.intent(true, None), &stop)?;
    let metrics = ProducerMetrics::default();
    let (topic, endpoint) = (&settings.kafka.topic, adapter.endpoint());
    let limits = settings.producer_settings();
    let store = settings.store_failure();
    let cluster = adapter.cluster().share(settings.cluster());
    let outage = move || {
        let since = cluster.outage()?;
        cluster.trouble().map(|error| (since, error.to_string()))
    };
    let obstacle = StoreFailureCheck::new(move || store.obstacle()).with_outages(outage);
    let sender = Producer::start_counted(&limits, topic, endpoint, NAME, metrics.clone(), obstacle);
    let outcome = sender.and_then(|sender| {
        let topics = Arc::new(Producers::new(sender.clone(), &limits, adapter.endpoint(), NAME));
        let queues = LeaseQueues::start(settings, adapter.cluster(), adapter.endpoint(), NAME)?;
        let queues = Arc::new(queues);
        let warnings = Warnings::new(settings, &adapter);
        let services = Services {
            channel: Box::new(sender.clone()),
            topics: topics.clone(),
            directory: Box::new(ClusterTopicDirectory::new(adapter.cluster(), settings)),
            messages: Arc::new(MessageSource::new(adapter.cluster(), settings)),
            dashboard: Arc::new(DashboardSource::new(
                adapter.cluster(),
                settings,
                queues.clone(),
                warnings.clone(),
            )),
            queues: queues.clone(),
        };
        let channel = ChannelMetrics::default();
        let _monitor = ChannelMonitor::start(adapter.cluster(), settings, channel.clone())?;
        let told = (stop.clone(), service.teller());
        let ready = CanStore::start(adapter.cluster(), settings, sender.clone(), warnings, told);
        let server = ready.and_then(|ready| {
            let families: [&dyn Family; 3] = [&metrics, &channel, &queues.metrics()];
            let monitoring = Monitoring::new(&families, Some(Box::new(ready))).beating(adapter.pulse());
            HttpServer::start(&settings.endpoint(), services, monitoring)
        });
        let outcome = server.and_then(|server| {
            log::info!("listening on {}; a page for browsers is at {}", server.address(), server.url());
            if invocation.supervised {
                parent_link::send_ready(server.address());
            }
            service.ready();
            let _watchdog = service.watch(&adapter.pulse())?;
            stop.wait();
            drain(settings.producer_api.drain(), &adapter);
            queues.close();
            server.stop(Instant::now() + if adapter.is_lost() { Duration::ZERO } else { patience });
            Ok(())
        });
        topics.close(Instant::now());
        sender.close(Instant::now());
        outcome
    });
    adapter.stop();
    outcome
}

/// Goes on serving for a while, so that a balancer, which learns of the stop by `/readyz`, sends nothing more
/// here when the endpoint stops listening.
fn drain(time: Duration, adapter: &AdapterAccess) {
    if time.is_zero() || adapter.is_lost() {
        return;
    }
    let patience = time.as_secs_f32();
    log::info!("draining for {patience} s: /readyz is 503, all other requests are served as before");
    thread::sleep(time);
}
