//! The settings of a channel.

use std::path::{Path, PathBuf};

use super::Channel;
use crate::config;
use crate::error::{Error, Result};

/// Collects the settings of a [`Channel`]. They are checked when it is opened.
#[derive(Debug, Clone, Default)]
pub struct ChannelBuilder {
    file: Option<PathBuf>,
    environment: bool,
    any_port: bool,
    settings: Vec<String>,
}

impl ChannelBuilder {
    /// The topic that carries the messages; `mi-topico` if none is named. It is created where it is missing.
    #[must_use]
    pub fn topic(self, topic: &str) -> ChannelBuilder {
        self.text("kafka.topic", topic)
    }

    /// Brokers to ask first, `host:port`, with commas between them. Without them the channel brings its own,
    /// at `127.0.0.1:9092`.
    #[must_use]
    pub fn bootstrap_servers(self, servers: &str) -> ChannelBuilder {
        self.text("kafka.bootstrap_servers", servers)
    }

    /// The folder of the embedded broker's database, made where it is missing; `data` in the working
    /// directory if none is named.
    #[must_use]
    pub fn data_dir(self, folder: impl AsRef<Path>) -> ChannelBuilder {
        let folder = folder.as_ref().display().to_string();
        self.text("embedded.data_dir", &folder)
    }

    /// Where the embedded broker listens, `host:port`. All processes with one folder have to agree on it.
    #[must_use]
    pub fn listen(self, address: &str) -> ChannelBuilder {
        ChannelBuilder { any_port: false, ..self.text("embedded.listen", address) }
    }

    /// The embedded broker listens on loopback at a port that the system chooses, for tests: other processes
    /// find it by [`Channel::bootstrap_servers`] alone.
    #[must_use]
    pub fn any_port(self) -> ChannelBuilder {
        ChannelBuilder { any_port: true, ..self }
    }

    /// Any setting, by its name in `config.toml` and a value in TOML: `.set("retry.max_attempts", "5")`.
    #[must_use]
    pub fn set(mut self, key: &str, value: &str) -> ChannelBuilder {
        self.settings.push(format!("{key}={value}"));
        self
    }

    /// Reads a settings file first; what the builder sets goes over it.
    #[must_use]
    pub fn settings_file(self, file: impl Into<PathBuf>) -> ChannelBuilder {
        ChannelBuilder { file: Some(file.into()), ..self }
    }

    /// Reads the environment (`POINT_TO_POINT__SECTION__KEY`); what the builder sets goes over it.
    #[must_use]
    pub fn environment(self) -> ChannelBuilder {
        ChannelBuilder { environment: true, ..self }
    }

    /// Opens the channel. A Kafka cluster need not be there yet.
    ///
    /// # Errors
    /// A setting is not legal, or the embedded broker cannot open its database or listen.
    pub fn open(&self) -> Result<Channel> {
        let mut settings = config::load_sources(self.file.as_deref(), self.environment, &self.settings)
            .map_err(|error| Error::new("the channel's settings").about_settings().caused_by(error))?;
        if self.any_port {
            settings.embedded.listen = "127.0.0.1:0".to_owned();
        }
        Channel::open(settings)
    }

    /// Sets a text, whatever it looks like.
    fn text(self, key: &str, text: &str) -> ChannelBuilder {
        let quoted = toml::Value::String(text.to_owned()).to_string();
        self.set(key, &quoted)
    }
}
