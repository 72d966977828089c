//! The tokens of OAUTHBEARER: where they come from, and how long they are kept.
//!
//! All connections of a process share one token. It is fetched by a thread of its own, one at a time, while
//! those who need it wait as long as they can. A token that is still valid is used even where no newer one
//! can be had: an identity provider that is down stops no one before its tokens have expired.

mod command;
mod endpoint;
mod fetched;
mod http;
mod jwt;
#[cfg(test)]
mod tests;
mod url;

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use net::backoff::Backoff;
use net::stop::Stop;
use net::sync::{Condvar, Mutex, MutexGuard, Worker, lock, wait_timeout};

pub use endpoint::ClientCredentials;

use self::fetched::Fetched;
use super::secret::{Secret, SecretSource};

/// The longest that one fetch may take.
const FETCH_LIMIT: Duration = Duration::from_secs(10);
/// How long a newer token is awaited while the present one is still valid.
const RENEWAL_WAIT: Duration = Duration::from_secs(1);
/// A refused token is fetched anew no more often than this.
const LEAST_AGE: Duration = Duration::from_secs(5);

/// Where tokens come from.
#[derive(Debug)]
pub enum TokenSource {
    /// A file that another program renews; it is read at each authentication.
    File(PathBuf),
    /// A program and its arguments, without a shell; it prints one token.
    Command(Vec<String>),
    /// Client credentials at an identity provider (KIP-768).
    Endpoint(ClientCredentials),
}

/// Why there is no token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenError {
    /// A sentence that names the source. It has no part of a token or a secret.
    pub message: String,
    /// Whether there may be one later without anyone changing a setting.
    pub may_pass: bool,
}

impl TokenError {
    fn passing(message: String) -> TokenError {
        TokenError { message, may_pass: true }
    }

    fn lasting(message: String) -> TokenError {
        TokenError { message, may_pass: false }
    }
}

impl fmt::Display for TokenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl fmt::Display for TokenSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TokenSource::File(path) => write!(f, "the token file {}", path.display()),
            TokenSource::Command(words) => {
                write!(f, "the token command {}", words.first().map_or("", String::as_str))
            }
            TokenSource::Endpoint(endpoint) => write!(f, "the token endpoint {}", endpoint.url()),
        }
    }
}

impl TokenSource {
    /// A new token, before `deadline` and the `stop` of the thread.
    fn fetch(&self, deadline: Instant, stop: &Stop) -> Result<Fetched, TokenError> {
        let fetched = match self {
            TokenSource::File(path) => SecretSource::File(path.clone())
                .read()
                .map(|token| Fetched::new(token, None))
                .map_err(|error| TokenError { message: error.message, may_pass: !error.is_refused }),
            TokenSource::Command(words) => command::run(words, deadline, stop),
            TokenSource::Endpoint(endpoint) => endpoint.fetch(deadline, stop),
        };
        fetched.map_err(|error| TokenError { message: format!("no token from {self}: {error}"), ..error })
    }
}

/// The tokens of one source.
#[derive(Debug)]
pub struct Tokens {
    source: Arc<TokenSource>,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    held: Option<Fetched>,
    failure: Option<TokenError>,
    /// No fetch begins before.
    next_fetch: Instant,
    backoff: Backoff,
    fetching: Option<Worker>,
}

impl Default for State {
    fn default() -> State {
        State {
            held: None,
            failure: None,
            next_fetch: Instant::now(),
            backoff: Backoff::new(Duration::from_millis(500), Duration::from_secs(10)),
            fetching: None,
        }
    }
}

impl Tokens {
    /// Tokens of `source`; none is fetched yet.
    pub fn new(source: TokenSource) -> Tokens {
        Tokens { source: Arc::new(source), shared: Arc::default() }
    }

    /// A token that is valid now, by `deadline`.
    ///
    /// # Errors
    /// Why there is none.
    pub fn get(&self, deadline: Instant) -> Result<Secret, TokenError> {
        if let TokenSource::File(_) = *self.source {
            return self.source.fetch(deadline, &Stop::new()).map(|fetched| fetched.token);
        }
        let renewal_end = deadline.min(Instant::now() + RENEWAL_WAIT);
        let mut state = lock(&self.shared.state);
        loop {
            let now = Instant::now();
            let valid = state.held.as_ref().filter(|held| held.is_valid(now));
            if let Some(fresh) = valid.filter(|held| held.is_fresh(now)) {
                return Ok(fresh.token.clone());
            }
            let valid = valid.map(|held| held.token.clone());
            if state.fetching.is_none() && now >= state.next_fetch {
                self.start_fetch(&mut state)?;
            }
            let end = if valid.is_some() { renewal_end } else { deadline };
            if state.fetching.is_none() || now >= end {
                return valid.ok_or_else(|| self.absence(&state));
            }
            state = wait_timeout(&self.shared.changed, state, end.saturating_duration_since(now));
        }
    }

    /// A broker has refused `token`: unless it is new, another one is fetched.
    pub fn refused(&self, token: &Secret) {
        let mut state = lock(&self.shared.state);
        let now = Instant::now();
        if state.held.as_ref().is_some_and(|held| held.token == *token && held.age(now) >= LEAST_AGE) {
            state.held = None;
        }
    }

    fn absence(&self, state: &MutexGuard<'_, State>) -> TokenError {
        let slow = || TokenError::passing(format!("no token from {} yet: it has not answered", self.source));
        state.failure.clone().unwrap_or_else(slow)
    }

    /// Starts the thread that fetches. It ends within [`FETCH_LIMIT`], or when the last of these tokens is
    /// dropped.
    fn start_fetch(&self, state: &mut MutexGuard<'_, State>) -> Result<(), TokenError> {
        let source = self.source.clone();
        let shared = Arc::downgrade(&self.shared);
        let worker = Worker::start("oauth-token", move |stop| {
            let outcome = source.fetch(Instant::now() + FETCH_LIMIT, stop);
            put(&shared, outcome);
        });
        let failed = |error| TokenError::passing(format!("no token: the system gives no thread: {error}"));
        state.fetching = Some(worker.map_err(failed)?);
        Ok(())
    }
}

/// Keeps the outcome of a fetch and wakes those who wait for it.
fn put(shared: &Weak<Shared>, outcome: Result<Fetched, TokenError>) {
    let Some(shared) = shared.upgrade() else { return };
    let mut news = None;
    let mut state = lock(&shared.state);
    match outcome {
        Ok(fetched) => {
            state.backoff.reset();
            state.held = Some(fetched);
            state.failure = None;
        }
        Err(error) => {
            // Told once for each reason: it is tried again and again. Where there is no token, whoever asks
            // for one tells it.
            let is_news = state.held.is_some() && state.failure.as_ref() != Some(&error);
            news = is_news.then(|| error.clone());
            state.next_fetch = Instant::now() + state.backoff.next_wait();
            state.failure = Some(error);
        }
    }
    let worker = state.fetching.take();
    shared.changed.notify_all();
    drop(state);
    if let Some(error) = news {
        log::warn!("{error}");
    }
    // The end of this very thread: its destructor does not wait for itself.
    drop(worker);
}
