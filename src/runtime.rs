//! What a program or a library user stands on: the embedded broker, if no other is named, and an adapter.

use std::io;
use std::net::{TcpStream, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::error::{Error, Result};
use adapter::{Adapter, AdapterSettings};
use broker::{Broker, BrokerSettings, FailureNotice};
use client::declared_topics::DeclaredTopics;
use client::rights::Intent;
use client::{Cluster, ClusterSettings};
use net::descriptors;
use net::sync::{Mutex, Worker, lock};

/// How long a connection to the embedded broker's address may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// How long the brokers have to say that they cannot be used; what takes longer may be worth waiting for.
const FIRST_CONTACT: Duration = Duration::from_secs(4);

/// How long the brokers have to say whether a right is missing.
const RIGHTS: Duration = Duration::from_secs(2);

/// What a [`Runtime`] starts.
pub struct RuntimeSettings {
    /// The embedded broker; `None` where another broker is named.
    pub broker: Option<BrokerSettings>,
    /// How the cluster is reached. Where the embedded broker listens on a port that the system chooses, its
    /// address takes the place of the bootstrap servers.
    pub cluster: ClusterSettings,
    /// The adapter.
    pub adapter: AdapterSettings,
    /// The topics that are to exist; they are looked after while other things begin.
    pub topics: DeclaredTopics,
}

/// The embedded broker, if no other is named, the cluster and the adapter of this process. Dropped, it stops
/// the adapter, whose members leave their groups, and then the broker.
pub struct Runtime {
    _topics: Option<TopicsAtStart>,
    adapter: Adapter,
    cluster: Cluster,
    // Dropped last: members leave their groups at it.
    broker: Option<Broker>,
}

impl Runtime {
    /// Starts broker and adapter.
    ///
    /// # Errors
    /// The embedded broker cannot open its database or listen, the brokers named instead cannot be used with
    /// these settings however long one waits, or the adapter cannot listen.
    pub fn start(settings: RuntimeSettings) -> Result<Runtime> {
        let RuntimeSettings { broker, mut cluster, mut adapter, topics } = settings;
        let any_port = broker.as_ref().is_some_and(|broker| broker.listen.ends_with(":0"));
        let broker = broker.map(start_broker).transpose()?;
        if let Some(broker) = broker.as_ref().filter(|_| any_port) {
            let address = net::listener::connectable(broker.address()).to_string();
            cluster.bootstrap_servers = vec![address.clone()];
            adapter.cluster.bootstrap_servers = vec![address];
        }
        let cluster = Cluster::new(cluster);
        if broker.is_none() {
            cluster
                .first_contact(FIRST_CONTACT)
                .map_err(|error| Error::new("no broker can be used").caused_by(error))?;
        }
        let adapter = Adapter::start_sharing(&cluster, adapter)
            .map_err(|error| Error::new("the adapter cannot be started").caused_by(error))?;
        let topics = TopicsAtStart::begin(&cluster, topics)?;
        Ok(Runtime { _topics: topics, adapter, cluster, broker })
    }

    /// Asks the brokers whether the user may do what `intent` says. The embedded broker knows no users.
    ///
    /// # Errors
    /// A right is missing.
    pub fn check_rights(&self, intent: &Intent) -> Result<()> {
        let missing = match self.broker {
            Some(_) => None,
            None => self.cluster.missing_right(intent, RIGHTS),
        };
        missing.map_or(Ok(()), |right| Err(Error::new(format!("{}: {right}", right.code()))))
    }

    /// The adapter.
    pub fn adapter(&self) -> &Adapter {
        &self.adapter
    }

    /// The cluster that the adapter speaks to.
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// Stops it, as dropping it does.
    pub fn stop(self) {
        drop(self);
    }
}

/// The thread that looks after the topics of the settings; ended when dropped.
struct TopicsAtStart {
    cluster: Arc<Cluster>,
    _thread: Worker,
}

impl TopicsAtStart {
    fn begin(cluster: &Cluster, topics: DeclaredTopics) -> Result<Option<TopicsAtStart>> {
        if topics.topics.is_empty() {
            return Ok(None);
        }
        let cluster = Arc::new(cluster.share(cluster.settings().clone()).quiet());
        let own = cluster.clone();
        let thread = Worker::start("topics", move |_| topics.establish(&own))
            .map_err(|error| Error::new("the thread topics cannot be started").caused_by(error))?;
        Ok(Some(TopicsAtStart { cluster, _thread: thread }))
    }
}

impl Drop for TopicsAtStart {
    fn drop(&mut self) {
        self.cluster.stop();
    }
}

/// Starts the embedded broker: it serves, or stands by while another process does.
///
/// # Errors
/// Its database cannot be opened, or it cannot listen.
pub fn start_broker(settings: BrokerSettings) -> Result<Broker> {
    Broker::start(settings).map_err(not_started)
}

fn not_started(error: broker::Error) -> Error {
    Error::new("the embedded broker cannot be started").caused_by(error)
}

/// Whether a command needs what is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Store {
    /// It looks at it or changes it.
    Needed,
    /// It begins one, if there is none.
    Begun,
}

/// Whether a process serves the embedded broker of `settings`. If not, whoever starts it finds what is
/// stored, or is told that another program listens at its address.
///
/// # Errors
/// What listens at the address cannot be this broker: it has no folder. Or nobody listens, there is no folder
/// either, and one is needed.
pub fn is_served(settings: &BrokerSettings, store: Store) -> Result<bool> {
    let (listen, data_dir) = (&settings.listen, &settings.data_dir);
    let addresses = listen.to_socket_addrs().into_iter().flatten().map(net::listener::connectable);
    if addresses.into_iter().any(|address| TcpStream::connect_timeout(&address, CONNECT_TIMEOUT).is_ok()) {
        return Broker::is_served(settings).map_err(not_started);
    }
    if store == Store::Begun || data_dir.exists() {
        return Ok(false);
    }
    let what = "nothing is stored yet: nobody serves";
    Err(Error::new(format!("{what} {listen}, and there is no folder {}", data_dir.display())))
}

/// Starts the embedded broker for a command, if no process serves it.
///
/// # Errors
/// As [`is_served`] and [`start_broker`]: another program's broker is never used in its place.
pub fn serve_if_unserved(settings: BrokerSettings, store: Store) -> Result<Option<Broker>> {
    match is_served(&settings, store)? {
        true => Ok(None),
        false => start_broker(settings).map(Some),
    }
}

/// What is wrong with the embedded broker, if it is the one to use.
#[derive(Debug, Clone)]
pub struct StoreFailure(Option<Notices>);

/// What was read last of a failure.
type LastRead = Arc<Mutex<Option<String>>>;

#[derive(Debug, Clone)]
struct Notices {
    folder: PathBuf,
    failure: FailureNotice,
    /// Holds good while this process has no descriptor to look again.
    last_failure: LastRead,
    refusal: FailureNotice,
    warning: FailureNotice,
}

impl StoreFailure {
    /// That of the database in `data_dir`; `None` where another broker is named.
    pub fn of(data_dir: Option<&Path>) -> StoreFailure {
        let notices = |folder: &Path| Notices {
            folder: folder.to_owned(),
            failure: FailureNotice::of(folder),
            last_failure: LastRead::default(),
            refusal: FailureNotice::refusal(folder),
            warning: FailureNotice::warning(folder),
        };
        StoreFailure(data_dir.map(notices))
    }

    /// Why nothing can be stored, a sentence without its full stop; `None` while the store is served, or was
    /// when it was served last, on a disk that takes writes, in a folder that is still there. Who may not look
    /// into the folder has to ask the broker.
    pub fn read(&self) -> Option<String> {
        let Notices { folder, failure, last_failure, .. } = self.0.as_ref()?;
        let read = match failure.disk_failure() {
            Some(broken) => Some(broken),
            None => match failure.read() {
                Ok(Some(reason)) => Some(format!(
                    "the store of the embedded broker has failed, and is not opened anew yet: {reason}"
                )),
                Ok(None) if matches!(folder.try_exists(), Ok(false)) => Some(format!(
                    "the folder of the embedded broker, {}, was removed or moved: put it back, or start again \
                     with an empty one",
                    folder.display()
                )),
                Ok(None) => None,
                Err(error) if descriptors::are_used_up(&error) => return lock(last_failure).clone(),
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => None,
                Err(error) => Some(format!(
                    "whether the store of the embedded broker has failed is unknown, its notice cannot be \
                     read: {error}"
                )),
            },
        };
        lock(last_failure).clone_from(&read);
        read
    }

    /// Why the process that serves takes no messages at present, although the store has not failed, and
    /// serves all other requests; a sentence without its full stop.
    pub fn refusal(&self) -> Option<String> {
        self.0.as_ref()?.refusal.read_recent()
    }

    /// Why no message can be stored, whether the store has failed or not.
    pub fn obstacle(&self) -> Option<String> {
        self.read().or_else(|| self.refusal())
    }

    /// What is wrong with the process that serves, which stores all the same.
    pub fn warning(&self) -> Option<String> {
        self.0.as_ref()?.warning.read_recent()
    }
}
