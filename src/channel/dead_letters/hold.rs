//! The right to settle dead letters, which one at a time has: the one member that leads the group that keeps what
//! is settled. A thread keeps it, and what others commit in the meantime is refused by Kafka itself.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::cluster::assignor::Partitions;
use crate::cluster::coordinator::{Commit, Coordinator, Membership};
use crate::cluster::{self, Backoff, Cluster};
use crate::error::{Error, Result};
use crate::net::lock;
use crate::protocol::error_code::ErrorCode;

/// The longest time between two heartbeats.
const HEARTBEAT: Duration = Duration::from_millis(500);
/// How much longer than a session joining may take: a broker lets a new group wait for members (three seconds, as
/// Kafka comes).
const JOIN_MARGIN: Duration = Duration::from_secs(15);
/// Waiting for longer than this is told.
const SILENCE: Duration = Duration::from_secs(4);
/// How long leaving may take; who has not left is put out after the session.
const LEAVE: Duration = Duration::from_secs(2);
/// How often it is looked whether the coordinator has confirmed the membership.
const LOOK: Duration = Duration::from_millis(50);

/// What a holder is to Kafka.
#[derive(Debug, Clone)]
pub struct Role {
    /// The group.
    pub group: String,
    /// The topic of the dead letters, ...
    pub topic: String,
    /// ... and how many partitions it has.
    pub partitions: usize,
    /// The name that Kafka's tools show.
    pub client_id: String,
    /// After so much silence another may have the right.
    pub session: Duration,
}

/// The right. Given back when dropped.
pub struct Hold {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    cluster: Arc<Cluster>,
    role: Role,
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    membership: Membership,
    /// When the coordinator last confirmed it.
    confirmed: Instant,
    /// Why it is over.
    lost: Option<String>,
    ended: bool,
}

impl Hold {
    /// Takes the right. If the one who had it died, this waits until the coordinator notices: a session at most.
    ///
    /// # Errors
    /// Another has it; no coordinator answers in time; the cluster was told to stop.
    pub fn take(cluster: &Arc<Cluster>, role: Role) -> Result<Hold> {
        let mut keeper = Keeper { coordinator: coordinator(cluster, &role), cluster: cluster.clone(), role };
        let mut member_id = String::new();
        let joined = keeper.join_in_time(&mut member_id);
        let failed = |what: String| Error::new(what).retriable();
        let membership = match joined {
            Ok(Some(membership)) => membership,
            other => {
                keeper.leave(&member_id);
                return Err(match other {
                    Err(error) => {
                        failed(format!("no place in the group {}", keeper.role.group)).caused_by(error)
                    }
                    Ok(_) => {
                        failed("another replay or discard is running; try again when it has ended".to_owned())
                    }
                });
            }
        };
        let state = State { membership, confirmed: Instant::now(), lost: None, ended: false };
        let shared = Arc::new(Shared {
            cluster: cluster.clone(),
            role: keeper.role.clone(),
            state: Mutex::new(state),
            changed: Condvar::new(),
        });
        let kept = shared.clone();
        let thread = std::thread::Builder::new().name("dead-letters-hold".to_owned());
        let thread = thread.spawn(move || keeper.keep(&kept));
        let thread =
            thread.map_err(|error| failed("a thread cannot be started".to_owned()).caused_by(error))?;
        Ok(Hold { shared, thread: Some(thread) })
    }

    /// Waits until it is certain that no other has the right.
    ///
    /// # Errors
    /// Another may have it by now; the coordinator does not confirm it until `deadline`.
    pub fn confirm(&self, deadline: Instant) -> Result<()> {
        loop {
            let state = lock(&self.shared.state);
            if let Some(why) = &state.lost {
                return Err(Error::new("another may be settling dead letters by now").caused_by(why.clone()));
            }
            // Less than a session, for what is sent now is on its way for a while.
            if state.confirmed.elapsed() < self.shared.role.session / 2 {
                return Ok(());
            }
            drop(state);
            if self.shared.cluster.stopping() || Instant::now() >= deadline {
                return Err(Error::new("the group's coordinator does not answer").retriable());
            }
            std::thread::sleep(LOOK);
        }
    }

    /// Commits as the holder, and tries again on what may pass until `deadline`.
    ///
    /// # Errors
    /// The right is lost, or nothing was committed in time.
    pub fn commit(&self, coordinator: &mut Coordinator, commits: &[Commit], deadline: Instant) -> Result<()> {
        let mut backoff = Backoff::default();
        loop {
            let membership = lock(&self.shared.state).membership.clone();
            let codes = coordinator.commit(&membership, commits, deadline);
            let trouble = match codes {
                Ok(codes) => {
                    let group = &self.shared.role.group;
                    let refused = codes.into_values().find(|code| !code.is_ok());
                    match refused {
                        None => return Ok(()),
                        Some(code) => cluster::Error::refused(format!("group {group}: committing"), code),
                    }
                }
                Err(error) => error,
            };
            // A generation that ended may be followed by the next one of the same holder.
            let again = passes(&trouble) || trouble.code() == Some(ErrorCode::ILLEGAL_GENERATION);
            let over = self.shared.cluster.stopping() || Instant::now() >= deadline;
            if !again || over || lock(&self.shared.state).lost.is_some() {
                return Err(Error::new("the last letters are not noted as settled, and may come again")
                    .caused_by(trouble));
            }
            std::thread::sleep(backoff.wait());
        }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        lock(&self.shared.state).ended = true;
        self.shared.changed.notify_all();
        if let Some(thread) = self.thread.take() {
            // A panic was told where it happened.
            let _ = thread.join();
        }
    }
}

/// A coordinator of the role's group.
pub fn coordinator(cluster: &Arc<Cluster>, role: &Role) -> Coordinator {
    Coordinator::new(cluster.clone(), &role.group, &role.client_id)
}

/// Whether the same may succeed when it is tried again.
fn passes(error: &cluster::Error) -> bool {
    !error.is_lasting() || error.code() == Some(ErrorCode::REBALANCE_IN_PROGRESS)
}

/// Whether joining may succeed when it is tried again: also with another member id, or in another generation.
fn may_join(error: &cluster::Error) -> bool {
    passes(error)
        || matches!(error.code(), Some(ErrorCode::UNKNOWN_MEMBER_ID | ErrorCode::ILLEGAL_GENERATION))
}

/// Who keeps the right.
struct Keeper {
    coordinator: Coordinator,
    cluster: Arc<Cluster>,
    role: Role,
}

impl Keeper {
    /// As [`Keeper::join`], tried again on what may pass.
    fn join_in_time(&mut self, member_id: &mut String) -> cluster::Result<Option<Membership>> {
        let began = Instant::now();
        let deadline = began + self.role.session + JOIN_MARGIN;
        let (group, session) = (self.role.group.clone(), self.role.session);
        let mut said = false;
        let mut proceed = || {
            if began.elapsed() >= SILENCE && !std::mem::replace(&mut said, true) {
                let most = session.as_millis();
                log::info!("waiting for the group {group}: a replay that was killed keeps it for {most} ms");
            }
            true
        };
        let mut backoff = Backoff::default();
        loop {
            match self.join(member_id, deadline, &mut proceed) {
                Err(error) if may_join(&error) && !self.cluster.stopping() && Instant::now() < deadline => {
                    log::debug!("group {}: {error}", self.role.group);
                    if error.code() == Some(ErrorCode::UNKNOWN_MEMBER_ID) {
                        member_id.clear();
                    }
                    std::thread::sleep(backoff.wait());
                }
                outcome => return outcome,
            }
        }
    }

    /// Joins the group; `None` if somebody else leads it.
    fn join(
        &mut self,
        member_id: &mut String,
        deadline: Instant,
        proceed: &mut dyn FnMut() -> bool,
    ) -> cluster::Result<Option<Membership>> {
        let role = &self.role;
        let (topics, cluster) = (BTreeSet::from([role.topic.clone()]), self.cluster.clone());
        let mut proceed = || proceed() && !cluster.stopping();
        let old = member_id.clone();
        let timeouts = (role.session, role.session);
        let joined = self.coordinator.join(&old, &topics, timeouts, deadline, &mut proceed, &mut |id| {
            id.clone_into(member_id);
        })?;
        let Some(members) = &joined.to_assign else { return Ok(None) };
        let everything = (0..role.partitions).filter_map(|number| i32::try_from(number).ok()).collect();
        let mut assigned: BTreeMap<String, Partitions> =
            members.keys().map(|member| (member.clone(), Partitions::new())).collect();
        let own = Partitions::from([(role.topic.clone(), everything)]);
        assigned.insert(joined.membership.member_id.clone(), own);
        self.coordinator.sync(&joined.membership, &assigned, deadline, &mut proceed)?;
        Ok(Some(joined.membership))
    }

    fn leave(&mut self, member_id: &str) {
        if member_id.is_empty() {
            return;
        }
        if let Err(error) = self.coordinator.leave(member_id, Instant::now() + LEAVE) {
            log::debug!("leaving the group {}: {error}", self.role.group);
        }
    }

    /// Heartbeats, and joins again when others come or go, until the right is given back or lost.
    fn keep(mut self, shared: &Shared) {
        let interval = HEARTBEAT.min(self.role.session / 10);
        let mut backoff = Backoff::default();
        let mut wait = interval;
        loop {
            let state = lock(&shared.state);
            let waited = shared.changed.wait_timeout_while(state, wait, |state| !state.ended);
            let state = waited.unwrap_or_else(std::sync::PoisonError::into_inner).0;
            let membership = state.membership.clone();
            if state.ended {
                drop(state);
                return self.leave(&membership.member_id);
            }
            drop(state);
            match self.beat(&membership, shared) {
                Ok(next) => {
                    let mut state = lock(&shared.state);
                    (state.membership, state.confirmed) = (next, Instant::now());
                    (backoff, wait) = (Backoff::default(), interval);
                }
                Err(error) if error.code() == Some(ErrorCode::UNKNOWN_MEMBER_ID) => {
                    lock(&shared.state).lost = Some(error.to_string());
                    return;
                }
                Err(error) => {
                    log::debug!("group {}: {error}", self.role.group);
                    wait = backoff.wait().min(interval);
                }
            }
        }
    }

    /// One heartbeat, and a join where it asks for one. Who is known by its id has led the group all along; and one
    /// that came to lead it meanwhile means that this one was put out.
    fn beat(&mut self, membership: &Membership, shared: &Shared) -> cluster::Result<Membership> {
        let limit = Instant::now() + self.role.session;
        match self.coordinator.heartbeat(membership, limit) {
            Ok(()) => return Ok(membership.clone()),
            Err(error) => match error.code() {
                Some(ErrorCode::REBALANCE_IN_PROGRESS | ErrorCode::ILLEGAL_GENERATION) => {}
                _ => return Err(error),
            },
        }
        let mut member_id = membership.member_id.clone();
        let joined = self.join(&mut member_id, limit, &mut || !lock(&shared.state).ended)?;
        joined.ok_or_else(|| {
            let what = format!("group {}: another member leads it", self.role.group);
            self.leave(&member_id);
            cluster::Error::refused(what, ErrorCode::UNKNOWN_MEMBER_ID)
        })
    }
}
