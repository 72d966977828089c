//! A broker on a folder of its own, asked over real sockets by a client that speaks every version.

mod admin;
mod alterations;
mod client;
mod cluster;
mod configs;
mod conformance;
mod failover;
mod fetch;
mod free_space;
mod groups;
mod limits;
mod malformed;
mod offsets;
mod produce;
mod produce_configs;
mod topic_ids;
mod topics;
mod versions;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use super::{Broker, BrokerSettings, Error};
use client::Client;

/// How long a thing may take that is merely slow on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// A folder that goes with the test.
pub struct Folder(PathBuf);

impl Folder {
    pub fn new() -> Folder {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("broker-{}-{number}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        Folder(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

pub fn settings(folder: &Folder, listen: &str) -> BrokerSettings {
    BrokerSettings {
        listen: listen.to_owned(),
        advertised: None,
        data_dir: folder.path().to_owned(),
        retention: None,
        retention_bytes: None,
        min_free_bytes: None,
        auto_create_topics: true,
        partitions: 2,
        initial_rebalance_delay: Duration::ZERO,
    }
}

fn start(folder: &Folder, listen: &str) -> Result<Broker, Error> {
    Broker::start(settings(folder, listen))
}

/// A broker that serves, its folder, and what stops it.
struct Fixture {
    broker: Option<Broker>,
    _folder: Folder,
}

impl Fixture {
    fn new() -> Fixture {
        let folder = Folder::new();
        let broker = start(&folder, "127.0.0.1:0").unwrap();
        Fixture { broker: Some(broker), _folder: folder }
    }

    fn client(&self) -> Client {
        Client::connect(self.broker.as_ref().unwrap().address())
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        if let Some(broker) = self.broker.take() {
            broker.stop();
        }
    }
}
