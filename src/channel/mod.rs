//! The library's face: a channel with its producers and consumers, everything in this process.
//!
//! A [`Channel`] reads neither files nor the environment and installs no signal handler unless it is asked
//! to. Without named brokers it brings the embedded one along. Channel, producers and consumers share one
//! embedded broker and one way to the cluster; the last of them that is dropped stops both.

mod builder;
mod consumer;
mod producer;

use std::sync::Arc;

pub use builder::ChannelBuilder;
pub use consumer::{Consumer, ConsumerBuilder};
pub use producer::{PendingDelivery, Producer, RecordMetadata};

use crate::config::Settings;
use crate::dead_letters::DeadLetterBrowser;
use crate::error::Result;
use crate::runtime::Runtime;
use client::ClusterSettings;

/// A point-to-point channel: one topic, whose messages each go to one consumer of a group. A clone is another
/// handle on the same channel.
#[derive(Clone)]
pub struct Channel {
    shared: Arc<Shared>,
}

struct Shared {
    settings: Settings,
    runtime: Runtime,
}

impl Channel {
    /// A channel with the defaults of `config.toml`, which the builder changes.
    pub fn builder() -> ChannelBuilder {
        ChannelBuilder::default()
    }

    /// Starts what the settings ask for: the embedded broker, if no other is named, and the way to it.
    fn open(settings: Settings) -> Result<Channel> {
        let runtime = Runtime::start(settings.own_runtime())?;
        Ok(Channel { shared: Arc::new(Shared { settings, runtime }) })
    }

    /// The topic that carries the messages.
    pub fn topic(&self) -> &str {
        &self.shared.settings.kafka.topic
    }

    /// `host:port` of the brokers, for other clients of Kafka: those named, or the embedded one.
    pub fn bootstrap_servers(&self) -> &[String] {
        &self.shared.runtime.cluster().settings().bootstrap_servers
    }

    /// A producer for the topic. Kafka's tools show it as `producer`.
    ///
    /// # Errors
    /// The system gives no threads.
    pub fn producer(&self) -> Result<Producer> {
        Producer::start(self.clone())
    }

    /// A consumer of a group, which begins with [`ConsumerBuilder::start`]. The consumers of one group share
    /// the messages; each group gets all of them. A group that has committed nothing begins at the oldest
    /// message (`consumer.auto_offset_reset`); a consumer that is silent for ten seconds is replaced
    /// (`consumer.session_timeout_ms`), and so is one all of whose handlers have been at a message for five
    /// minutes (`consumer.max_processing_ms`).
    pub fn consumer(&self, group: &str) -> ConsumerBuilder {
        ConsumerBuilder::new(self.clone(), group)
    }

    /// As a consumer reaches the brokers: where the embedded one listens on a port that the system chose, that
    /// is not what the settings say.
    fn consuming_cluster(&self, settings: &Settings) -> ClusterSettings {
        let bootstrap_servers = self.bootstrap_servers().to_vec();
        ClusterSettings { bootstrap_servers, ..settings.consuming_cluster() }
    }

    /// The messages that no attempt could handle, in the topic `<topic>-dlt`: to be read, sent back or
    /// discarded.
    pub fn dead_letters(&self) -> DeadLetterBrowser {
        let browser = DeadLetterBrowser::new(&self.shared.settings.dead_letter_browser());
        browser.on(self.shared.runtime.cluster())
    }

    /// Where a program that uses the `kafka` crate reaches the adapter of this channel.
    pub fn adapter(&self) -> adapter::Endpoint {
        self.shared.runtime.adapter().endpoint()
    }
}
