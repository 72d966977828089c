//! The adapter as a program of its own, for other programs that use the `kafka` crate.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::service::Service;
use crate::cli::{Invocation, Program, SettingsOptions};
use crate::error::{Error, Result};
use crate::runtime::Runtime;
use clap::Args;
use client::Cluster;
use net::pulse::Pulse;
use net::stop::Stop;
use net::sync::Worker;

/// The pause between two looks whether a broker answers.
const WATCH_INTERVAL: Duration = Duration::from_secs(5);

/// The command line.
#[derive(Debug, Args)]
#[command(about = "Lets programs with the kafka crate use a Kafka of today, as members of groups")]
pub struct Arguments {
    #[command(flatten)]
    settings: SettingsOptions,
}

impl Program for Arguments {
    fn settings(&self) -> &SettingsOptions {
        &self.settings
    }

    fn run(&self, invocation: &Invocation) -> Result<()> {
        run(invocation)
    }
}

fn run(invocation: &Invocation) -> Result<()> {
    let stop = invocation.begin()?;
    let settings = &invocation.settings;
    let service = Service::begin(invocation, &stop, Duration::ZERO);
    let runtime = Runtime::start(settings.shared_runtime())?;
    let cluster = runtime.cluster();
    let settings = client::ClusterSettings {
        bootstrap_servers: cluster.settings().bootstrap_servers.clone(),
        ..settings.cluster()
    };
    let watched = Arc::new(cluster.share(settings));
    let pulse = Pulse::default();
    let watch = Watch::start(watched, pulse.clone())?;
    let address = runtime.adapter().endpoint().address();
    log::info!("adapter listening on {address}");
    service.ready();
    let _status = service.tell(format!("listening on {address}"), cluster)?;
    let _watchdog = service.watch(&pulse)?;
    stop.wait();
    drop(watch);
    runtime.stop();
    Ok(())
}

/// Asks the cluster now and then: that no broker answers is to be in the log before a client needs one, and
/// when none asks for anything. The cluster's client says so once, and when one answers again.
struct Watch {
    cluster: Arc<Cluster>,
    _worker: Worker,
}

impl Watch {
    fn start(cluster: Arc<Cluster>, pulse: Pulse) -> Result<Watch> {
        let watched = cluster.clone();
        let watch = move |stop: &Stop| loop {
            pulse.beat();
            let deadline = watched.deadline(Instant::now() + WATCH_INTERVAL);
            if let Err(error) = watched.describe(Some(&[]), deadline) {
                log::debug!("no news of the cluster: {error}");
            }
            if stop.wait_for(WATCH_INTERVAL) {
                return;
            }
        };
        let worker = Worker::start("cluster-watch", watch)
            .map_err(|error| Error::new("the thread cluster-watch cannot be started").caused_by(error))?;
        Ok(Watch { cluster, _worker: worker })
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.cluster.stop();
    }
}
