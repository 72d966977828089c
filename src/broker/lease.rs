//! Who serves: the process that holds the lock of the database. The others stand by and try for it, and take
//! over database and address when the holder ends, in whatever way.

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::BrokerSettings;
use super::error::Error;
use super::serving::Serving;
use super::storage::{OpenError, Retention, Store};
use crate::net::lock;
use crate::stop::Stop;

/// How often a process that stands by tries for the lock, and looks for the holder at its start.
const TRY_EVERY: Duration = Duration::from_millis(50);

/// How long the port of a holder that has just ended may still be taken.
const PORT_LINGERS: Duration = Duration::from_secs(5);

/// How long a holder may take until it serves.
const HOLDER_APPEARS: Duration = Duration::from_secs(10);

/// How long a connection to the holder may take.
const KNOCK: Duration = Duration::from_millis(500);

/// The wait after a take-over that failed.
const PAUSE: Duration = Duration::from_secs(1);

/// The file beside the database that tells where it is served.
const ADDRESS_FILE: &str = "address";

/// One process's part in serving a database.
pub struct Lease {
    settings: BrokerSettings,
    /// What `embedded.listen` stands for.
    addresses: Vec<SocketAddr>,
    stop: Stop,
    state: Mutex<State>,
}

enum State {
    /// Another process serves.
    StandingBy,
    /// This one does.
    Serving(Serving),
    /// This one had the lock, but could not serve.
    Failed(Error),
}

impl Lease {
    /// Nothing is tried yet.
    ///
    /// # Errors
    /// [`Error::Listen`] for a name without an address.
    pub fn new(settings: BrokerSettings) -> Result<Lease, Error> {
        let unknown = |source| Error::Listen { listen: settings.listen.clone(), source };
        let addresses = settings.listen.to_socket_addrs().map_err(unknown)?.collect();
        Ok(Lease { settings, addresses, stop: Stop::new(), state: Mutex::new(State::StandingBy) })
    }

    /// Tries for the lock, and serves if it is free: then the address. `port_lingers` is how long the port
    /// may be taken.
    ///
    /// # Errors
    /// See [`Error`]; the lock is free again.
    pub fn try_to_serve(&self, port_lingers: Duration) -> Result<Option<SocketAddr>, Error> {
        let settings = &self.settings;
        let retention = Retention { age: settings.retention, bytes: settings.retention_bytes };
        let data_dir = || settings.data_dir.clone();
        let store = match Store::open(&settings.data_dir, retention) {
            Ok(store) => store,
            Err(OpenError::Locked) => return Ok(None),
            Err(OpenError::Damaged(reason)) => return Err(Error::Damaged { data_dir: data_dir(), reason }),
            Err(OpenError::Io(reason)) => return Err(Error::Io { data_dir: data_dir(), reason }),
        };
        let socket = match self.bind(port_lingers) {
            Ok(socket) => socket,
            Err(source) => {
                store.close();
                return Err(Error::Listen { listen: settings.listen.clone(), source });
            }
        };
        let serving = Serving::start(settings, store, socket)?;
        let address = serving.address();
        self.publish(address);
        *lock(&self.state) = State::Serving(serving);
        Ok(Some(address))
    }

    fn bind(&self, port_lingers: Duration) -> io::Result<TcpListener> {
        let deadline = Instant::now() + port_lingers;
        loop {
            match listen(&self.addresses) {
                Err(error) if error.kind() == io::ErrorKind::AddrInUse && Instant::now() < deadline => {
                    if self.stop.wait_for(TRY_EVERY) {
                        return Err(error);
                    }
                }
                bound => return bound,
            }
        }
    }

    /// Tries for the lock again and again until it is had, or the wish to stop; the work of a thread of its
    /// own.
    pub fn stand_by(&self) {
        while !self.stop.wait_for(TRY_EVERY) {
            match self.try_to_serve(PORT_LINGERS) {
                Ok(None) => {}
                Ok(Some(address)) => {
                    return log::info!("broker: the holder has ended; this process takes over at {address}");
                }
                Err(error) => {
                    log::error!("broker: cannot take over: {error}");
                    let hopeless = matches!(error, Error::Damaged { .. });
                    *lock(&self.state) = State::Failed(error);
                    if hopeless || self.stop.wait_for(PAUSE) {
                        return;
                    }
                }
            }
        }
    }

    /// Waits, beside [`Lease::stand_by`], until somebody serves: the address.
    ///
    /// # Errors
    /// [`Error::Elsewhere`], [`Error::Silent`], and what stood in the way of serving ourselves.
    pub fn await_service(&self) -> Result<SocketAddr, Error> {
        let deadline = Instant::now() + HOLDER_APPEARS;
        let (data_dir, listen) = (&self.settings.data_dir, &self.settings.listen);
        loop {
            if let Some(outcome) = self.outcome() {
                return outcome;
            }
            if let Some(holder) = self.published().filter(answers) {
                if self.is_ours(holder) {
                    return Ok(holder);
                }
                let (data_dir, listen) = (data_dir.clone(), listen.clone());
                return Err(Error::Elsewhere { data_dir, holder, listen });
            }
            if Instant::now() >= deadline {
                return Err(Error::Silent { data_dir: data_dir.clone(), listen: listen.clone() });
            }
            self.stop.wait_for(TRY_EVERY);
        }
    }

    /// What became of standing by, if it is over.
    fn outcome(&self) -> Option<Result<SocketAddr, Error>> {
        let mut state = lock(&self.state);
        match std::mem::replace(&mut *state, State::StandingBy) {
            State::StandingBy => None,
            State::Failed(error) => Some(Err(error)),
            State::Serving(serving) => {
                let address = serving.address();
                *state = State::Serving(serving);
                Some(Ok(address))
            }
        }
    }

    /// Whether this process serves.
    pub fn is_serving(&self) -> bool {
        matches!(*lock(&self.state), State::Serving(_))
    }

    /// Ends [`Lease::stand_by`].
    pub fn ask_to_stop(&self) {
        self.stop.ask();
    }

    /// Stops serving, if this process does; nothing is tried any more.
    pub fn stop_serving(&self) {
        let state = std::mem::replace(&mut *lock(&self.state), State::StandingBy);
        if let State::Serving(serving) = state {
            serving.stop();
        }
    }

    /// Whether a process that listens on `holder` is set as we are. Our port 0 stands for any.
    fn is_ours(&self, holder: SocketAddr) -> bool {
        let same = |ours: &SocketAddr| ours.ip() == holder.ip() && (ours.port() == 0 || *ours == holder);
        self.addresses.iter().any(same)
    }

    fn address_file(&self) -> PathBuf {
        self.settings.data_dir.join(ADDRESS_FILE)
    }

    /// Tells the processes that stand by where we serve.
    fn publish(&self, address: SocketAddr) {
        if self.published() == Some(address) {
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

    /// Where the last holder said that it serves.
    fn published(&self) -> Option<SocketAddr> {
        std::fs::read_to_string(self.address_file()).ok()?.trim().parse().ok()
    }
}

/// Listens on the first address that this machine has. One that is taken is not passed over for the next, of
/// `localhost` for example: those who know it would go on to whoever has it.
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

/// Whether somebody accepts connections there. A socket may have been connected to itself, which proves
/// nothing.
fn answers(address: &SocketAddr) -> bool {
    let connected = TcpStream::connect_timeout(address, KNOCK);
    connected
        .is_ok_and(|stream| matches!((stream.local_addr(), stream.peer_addr()), (Ok(a), Ok(b)) if a != b))
}

#[cfg(test)]
mod tests {
    use super::*;

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
