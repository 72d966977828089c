//! Failover between processes: the process that holds the database's lock serves, the others stand by.
//!
//! A standby process tries for the lock, and takes over database and address when the holder ends. A holder
//! whose store fails releases both and stands by; the first process that can reopen the store serves it.

use net::sync::{Mutex, lock};
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use super::error::Error;
use super::failure_notice::FailureNotice;
use super::free_space::FreeSpace;
use super::holder_watch::HolderWatch;
use super::server::BrokerServer;
use super::settings::BrokerSettings;
use super::storage::{Failure, OpenError, Retention, Store, names};
use net::backoff::Backoff;
use net::listener::connectable;
use net::stop::Stop;

/// How often a standby process tries for the lock, and looks for the holder at its start.
const LOCK_RETRY_INTERVAL: Duration = Duration::from_millis(50);

/// How long the port of a holder that has just ended may still be in use.
const PORT_RELEASE_TIMEOUT: Duration = Duration::from_secs(5);

/// How long the holder of the lock may take until it serves.
const HOLDER_START_TIMEOUT: Duration = Duration::from_secs(10);

/// The longest wait for a connection to the holder.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(500);

/// The first wait after a failed store or a failed takeover; waits double.
const FIRST_RETRY_WAIT: Duration = Duration::from_millis(250);
/// The longest wait: a store takes messages again within ten seconds of there being room on the disk.
const LONGEST_RETRY_WAIT: Duration = Duration::from_secs(5);

/// The longest wait before a notice that could not be written is tried again.
const LONGEST_NOTICE_WAIT: Duration = Duration::from_secs(1);

/// A store that was served for this long has recovered: waits begin anew after its next failure.
const STABLE_AFTER: Duration = Duration::from_secs(30);

/// This process's part in serving a database.
pub struct Failover {
    settings: BrokerSettings,
    /// The addresses of `embedded.listen`.
    addresses: Vec<SocketAddr>,
    /// The address at which this process has served, and will serve again, also with port 0.
    served_at: OnceLock<SocketAddr>,
    notice: FailureNotice,
    free_space: Arc<FreeSpace>,
    /// The store has failed, as far as this process has seen, since it was last opened with all checks,
    /// whatever the notice says now.
    has_failed: AtomicBool,
    stop: Stop,
    state: Mutex<FailoverState>,
}

enum FailoverState {
    /// Another process serves.
    StandingBy,
    /// This process serves.
    Serving(BrokerServer),
    /// This process had the lock, but could not serve.
    Failed(Error),
}

impl Failover {
    /// Resolves the address; tries for nothing yet.
    ///
    /// # Errors
    /// [`Error::Listen`] for a name without an address.
    pub fn new(settings: BrokerSettings) -> Result<Failover, Error> {
        let unknown = |source| Error::Listen { listen: settings.listen.clone(), source };
        let addresses = settings.listen.to_socket_addrs().map_err(unknown)?.collect();
        let notice = FailureNotice::of(&settings.data_dir);
        let free_space = Arc::new(FreeSpace::new(&settings.data_dir, settings.min_free_bytes));
        Ok(Failover {
            settings,
            addresses,
            served_at: OnceLock::new(),
            notice,
            free_space,
            has_failed: AtomicBool::new(false),
            stop: Stop::new(),
            state: Mutex::new(FailoverState::StandingBy),
        })
    }

    /// Tries for the lock, and serves if it is free; returns the address then. The port may be in use for
    /// `port_timeout`.
    ///
    /// # Errors
    /// See [`Error`]; the lock is free again.
    pub fn try_to_serve(&self, port_timeout: Duration) -> Result<Option<SocketAddr>, Error> {
        let settings = &self.settings;
        let Some(store) = self.open()? else { return Ok(None) };
        let socket = match self.bind(port_timeout) {
            Ok(socket) => socket,
            Err(source) => {
                store.close();
                return Err(Error::Listen { listen: settings.listen.clone(), source });
            }
        };
        self.free_space.look();
        let serving = BrokerServer::start(settings, store, self.free_space.clone(), socket)?;
        let address = serving.address();
        self.publish_address(address);
        if let Err(error) = self.notice.clear() {
            serving.stop(|failure| self.note_failure(&failure));
            let source = OpenError::io_at("the failure notice", error).into();
            return Err(Error::Io { data_dir: settings.data_dir.clone(), source });
        }
        self.has_failed.store(false, Ordering::Relaxed);
        let _ = self.served_at.set(address);
        *lock(&self.state) = FailoverState::Serving(serving);
        Ok(Some(address))
    }

    /// Opens the store if no other process has it; with all checks if it has failed before.
    fn open(&self) -> Result<Option<Store>, Error> {
        let settings = &self.settings;
        let retention = Retention { age: settings.retention, bytes: settings.retention_bytes };
        let data_dir = settings.data_dir.clone();
        let notice = self.notice.read();
        if matches!(notice, Ok(Some(_))) {
            self.has_failed.store(true, Ordering::Relaxed);
        }
        let has_failed = self.has_failed.load(Ordering::Relaxed);
        // A notice that cannot be read is no word that all is well.
        let opened = match has_failed || notice.is_err() {
            false => Store::open(&settings.data_dir, retention),
            true => Store::open_checked(&settings.data_dir, retention),
        };
        let opened = opened.and_then(|store| {
            let prepared = self.notice.prepare();
            prepared.map(|()| store).map_err(|error| OpenError::io_at("the failure notice", error))
        });
        match opened {
            Ok(store) => Ok(Some(store)),
            Err(OpenError::Locked) => Ok(None),
            Err(OpenError::Damaged(reason)) => {
                if has_failed {
                    self.write_failure_notice(&reason);
                }
                Err(Error::Damaged { data_dir, reason })
            }
            // Nothing of it may be written into the folder of others.
            Err(error @ OpenError::Foreign(_)) => Err(Error::Io { data_dir, source: error.into() }),
            Err(error @ OpenError::Io { .. }) => {
                // What is wrong with this process alone is no failure of a store that another one may serve;
                // and of a disk that takes no notice the others learn by themselves.
                if !error.is_of_this_process() {
                    self.has_failed.store(true, Ordering::Relaxed);
                    if self.notice.disk_failure().is_none() {
                        self.write_failure_notice(&error.to_string());
                    }
                }
                let source = error.into();
                Err(if has_failed {
                    Error::StoreFailed { data_dir, source }
                } else {
                    Error::Io { data_dir, source }
                })
            }
        }
    }

    /// Tells the other processes why nothing can be stored.
    fn write_failure_notice(&self, reason: &str) {
        if let Err(error) = self.notice.set(reason) {
            let folder = self.settings.data_dir.display();
            log::warn!("broker: {folder}: the failure notice for other processes cannot be written: {error}");
        }
    }

    /// Keeps in mind, and tells the other processes, that the served store has failed. One that is damaged
    /// finds that out by itself.
    fn note_failure(&self, failure: &Failure) {
        if !failure.damaged {
            self.has_failed.store(true, Ordering::Relaxed);
            self.write_failure_notice(&failure.reason);
        }
    }

    fn bind(&self, port_timeout: Duration) -> io::Result<TcpListener> {
        let deadline = Instant::now() + port_timeout;
        let addresses = self.served_at.get().map_or(self.addresses.as_slice(), std::slice::from_ref);
        loop {
            match listen(addresses) {
                Err(error) if error.kind() == io::ErrorKind::AddrInUse && Instant::now() < deadline => {
                    if self.stop.wait_for(LOCK_RETRY_INTERVAL) {
                        return Err(error);
                    }
                }
                bound => return bound,
            }
        }
    }

    /// Serves and stands by, in turns, until the stop: the body of the failover thread.
    pub fn run(&self) {
        let mut backoff = Backoff::new(FIRST_RETRY_WAIT, LONGEST_RETRY_WAIT);
        let mut said = String::new();
        let mut wait = LOCK_RETRY_INTERVAL;
        loop {
            if let Some(ended) = self.failure_stop() {
                let since = Instant::now();
                // A later call of `ask_to_stop` finds that this process serves, and asks `ended`, too.
                if !self.stop.is_asked() {
                    let watch = HolderWatch::start(&self.settings.data_dir, &self.free_space);
                    watch.run(&ended, &|| self.look_at_folder());
                }
                if self.stop.is_asked() || !self.tell_failure() || !self.release_failed_store() {
                    return;
                }
                if since.elapsed() >= STABLE_AFTER {
                    backoff.reset();
                }
                wait = backoff.next_wait();
            }
            if self.stop.wait_for(wait) {
                return;
            }
            wait = match self.try_to_serve(PORT_RELEASE_TIMEOUT) {
                Ok(None) => LOCK_RETRY_INTERVAL,
                Ok(Some(address)) => {
                    log::info!("broker: the former holder has ended; this process takes over at {address}");
                    said.clear();
                    continue;
                }
                Err(error) => {
                    let text = error.to_string();
                    let level = if text == said { log::Level::Debug } else { log::Level::Error };
                    log::log!(level, "broker: cannot take over: {text}");
                    said = text;
                    let is_permanent = matches!(error, Error::Damaged { .. });
                    *lock(&self.state) = FailoverState::Failed(error);
                    if is_permanent {
                        return;
                    }
                    backoff.next_wait()
                }
            };
        }
    }

    fn look_at_folder(&self) {
        if let FailoverState::Serving(serving) = &*lock(&self.state) {
            serving.look_at_folder();
        }
    }

    /// A stop that is asked when the served store fails; `None` if this process does not serve.
    fn failure_stop(&self) -> Option<Stop> {
        match &*lock(&self.state) {
            FailoverState::Serving(serving) => Some(serving.failure_stop()),
            _ => None,
        }
    }

    /// Tells the other processes why the store has failed, however long that takes: without the notice the
    /// next one would open the database without its checks, so it is not released before. False if it is
    /// kept, because it is damaged, or because a stop is asked, which tries once more.
    fn tell_failure(&self) -> bool {
        let reason = match &*lock(&self.state) {
            FailoverState::Serving(serving) => match serving.failure() {
                // Its undamaged parts can be read, and reopening does not help.
                Some(failure) if failure.damaged => return false,
                Some(failure) => failure.reason,
                None => return false,
            },
            _ => return true,
        };
        self.has_failed.store(true, Ordering::Relaxed);
        let mut backoff = Backoff::new(FIRST_RETRY_WAIT, LONGEST_NOTICE_WAIT);
        let mut is_said = false;
        while let Err(error) = self.notice.set(&reason) {
            if !std::mem::replace(&mut is_said, true) {
                log::error!(
                    "broker: {}: the failure notice for other processes cannot be written: {error}; the \
                     database is kept until it can",
                    self.settings.data_dir.display()
                );
            }
            if self.stop.wait_for(backoff.next_wait()) {
                return false;
            }
        }
        true
    }

    /// Stops serving a failed store, so that it can be reopened; false if this process does not serve.
    fn release_failed_store(&self) -> bool {
        let serving = std::mem::replace(&mut *lock(&self.state), FailoverState::StandingBy);
        let FailoverState::Serving(serving) = serving else { return false };
        serving.stop(|failure| self.note_failure(&failure));
        log::warn!(
            "broker: the failed database and its port are released; this process stands by to reopen it"
        );
        true
    }

    /// Waits, beside [`Failover::run`], until a process serves; returns its address.
    ///
    /// # Errors
    /// [`Error::ServedElsewhere`], [`Error::HolderUnresponsive`], [`Error::StoreFailed`], and the errors of
    /// [`Failover::try_to_serve`].
    pub fn wait_until_served(&self) -> Result<SocketAddr, Error> {
        let deadline = Instant::now() + HOLDER_START_TIMEOUT;
        let (data_dir, listen) = (&self.settings.data_dir, &self.settings.listen);
        loop {
            if let Some(startup_result) = self.startup_result() {
                return startup_result;
            }
            if let Some(holder) = self.published_address().filter(accepts_connections) {
                if self.is_configured_address(holder) {
                    return Ok(holder);
                }
                let (data_dir, listen) = (data_dir.clone(), listen.clone());
                return Err(Error::ServedElsewhere { data_dir, holder, listen });
            }
            if Instant::now() >= deadline {
                let (data_dir, listen) = (data_dir.clone(), listen.clone());
                return Err(match self.notice.read() {
                    Ok(Some(reason)) => Error::StoreFailed { data_dir, source: reason.into() },
                    _ => Error::HolderUnresponsive { data_dir, listen },
                });
            }
            self.stop.wait_for(LOCK_RETRY_INTERVAL);
        }
    }

    /// Whether a process has the store open, and serves it where clients with these settings connect. Of a
    /// folder that this user may not look into it is believed.
    pub fn is_served(&self) -> bool {
        let is_ours = |holder: SocketAddr| {
            let reaches = |ours: &SocketAddr| holder.ip().is_unspecified() || connectable(*ours) == holder;
            self.addresses.iter().any(|ours| ours.port() == holder.port() && reaches(ours))
        };
        match Store::is_open(&self.settings.data_dir) {
            Ok(is_open) => is_open && self.published_address().is_some_and(is_ours),
            Err(error) => error.kind() == io::ErrorKind::PermissionDenied,
        }
    }

    /// The result of a takeover by this process, if there was one.
    fn startup_result(&self) -> Option<Result<SocketAddr, Error>> {
        let mut state = lock(&self.state);
        match std::mem::replace(&mut *state, FailoverState::StandingBy) {
            FailoverState::StandingBy => None,
            FailoverState::Failed(error) => Some(Err(error)),
            FailoverState::Serving(serving) => {
                let address = serving.address();
                *state = FailoverState::Serving(serving);
                Some(Ok(address))
            }
        }
    }

    /// Whether this process serves.
    pub fn is_serving(&self) -> bool {
        matches!(*lock(&self.state), FailoverState::Serving(_))
    }

    /// The stop of serving and standing by.
    pub fn stop(&self) -> Stop {
        self.stop.clone()
    }

    /// Ends [`Failover::run`].
    pub fn ask_to_stop(&self) {
        self.stop.ask();
        if let Some(ended) = self.failure_stop() {
            ended.ask();
        }
    }

    /// Stops serving, if this process serves.
    pub fn stop_serving(&self) {
        let state = std::mem::replace(&mut *lock(&self.state), FailoverState::StandingBy);
        if let FailoverState::Serving(serving) = state {
            serving.stop(|failure| self.note_failure(&failure));
        }
    }

    /// Whether `holder` is the address of these settings. Port 0 in the settings matches any port.
    fn is_configured_address(&self, holder: SocketAddr) -> bool {
        let same = |ours: &SocketAddr| ours.ip() == holder.ip() && (ours.port() == 0 || *ours == holder);
        self.addresses.iter().any(same)
    }

    fn address_file(&self) -> PathBuf {
        self.settings.data_dir.join(names::ADDRESS)
    }

    /// Writes the address of this process for the standby processes.
    fn publish_address(&self, address: SocketAddr) {
        if self.published_address() == Some(address) {
            return;
        }
        let file = self.address_file();
        if let Err(error) = std::fs::write(&file, format!("{address}\n")) {
            log::warn!(
                "broker: {}: {error}; processes that start later may not find this one",
                file.display()
            );
        }
    }

    /// The address that the last holder has written.
    fn published_address(&self) -> Option<SocketAddr> {
        std::fs::read_to_string(self.address_file()).ok()?.trim().parse().ok()
    }
}

/// Listens on the first address of this machine. An address in use is an error, not passed over for the next
/// one (of `localhost`, for example): clients would reach the program that uses it.
fn listen(addresses: &[SocketAddr]) -> io::Result<TcpListener> {
    let mut refused = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for address in addresses {
        match TcpListener::bind(address) {
            Err(error) if error.kind() != io::ErrorKind::AddrInUse => refused = error,
            bound => return bound,
        }
    }
    Err(refused)
}

/// Whether a process accepts connections there. A socket that is connected to itself proves nothing.
fn accepts_connections(address: &SocketAddr) -> bool {
    let connected = TcpStream::connect_timeout(address, CONNECT_TIMEOUT);
    connected
        .is_ok_and(|stream| matches!((stream.local_addr(), stream.peer_addr()), (Ok(a), Ok(b)) if a != b))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::{Folder, settings};

    #[test]
    #[cfg_attr(windows, ignore = "a folder in place of a file is another error there")]
    fn a_process_that_has_seen_a_failure_opens_checked_until_a_clear_has_reached_the_disk() {
        let folder = Folder::new();
        let failover = Failover::new(settings(&folder, "127.0.0.1:0")).unwrap();
        let has_failed = || failover.has_failed.load(Ordering::Relaxed);
        failover.try_to_serve(Duration::ZERO).unwrap().expect("nobody else serves");
        assert!(!has_failed());
        failover.stop_serving();
        let notice = folder.path().join("failure");
        std::fs::remove_file(&notice).unwrap();
        std::fs::create_dir(&notice).unwrap();
        assert!(failover.try_to_serve(Duration::ZERO).is_err(), "the notice cannot be read");
        assert!(has_failed());
        std::fs::remove_dir(&notice).unwrap();
        failover.try_to_serve(Duration::ZERO).unwrap().expect("nobody else serves");
        assert!(!has_failed());
        failover.stop_serving();
    }

    #[test]
    fn a_failure_is_told_also_by_a_process_that_stops() {
        let folder = Folder::new();
        let failover = Failover::new(settings(&folder, "127.0.0.1:0")).unwrap();
        std::fs::create_dir_all(folder.path()).unwrap();
        let failure = |damaged| Failure { reason: "no room".to_owned(), damaged, in_doubt: false };
        failover.note_failure(&failure(true));
        assert_eq!(failover.notice.read().unwrap(), None);
        failover.note_failure(&failure(false));
        assert_eq!(failover.notice.read().unwrap().as_deref(), Some("no room"));
        assert!(failover.has_failed.load(Ordering::Relaxed));
    }

    #[test]
    fn an_address_that_is_taken_is_not_passed_over_and_one_that_is_not_ours_is() {
        let other = TcpListener::bind("127.0.0.1:0").unwrap();
        let taken = other.local_addr().unwrap();
        let free: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let foreign: SocketAddr = "192.0.2.1:0".parse().unwrap();
        assert_eq!(listen(&[taken, free]).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        assert!(listen(&[foreign, free]).is_ok());
        assert_eq!(listen(&[foreign]).unwrap_err().kind(), io::ErrorKind::AddrNotAvailable);
    }
}
