//! The members that the adapter runs: new ones, those that linger, and those whose client has come back.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use client::coordinator::Commit;
use client::group_member::{ClientKind, LINGER, Member, MemberSpec};
use net::sync::{Condvar, Mutex, Worker, lock, wait_timeout};
use protocol::TopicPartition;

/// All members of the process.
#[derive(Default)]
pub struct Members {
    running: Arc<Mutex<Vec<RunningMember>>>,
    /// Members that have ended while their clients were there: a plain client that comes back over a new
    /// connection must not be taken for a client without a group.
    expelled: Arc<Mutex<Vec<Arc<Member>>>>,
    /// A connection has let go of its member, or a member has ended. Beside `running`.
    released: Arc<Condvar>,
}

/// The most missed members that are remembered.
const MAX_EXPELLED: usize = 1024;

/// A member and the thread of its life in the group.
struct RunningMember {
    member: Arc<Member>,
    /// It is out of its group.
    has_left: Arc<AtomicBool>,
    worker: Worker,
}

impl RunningMember {
    /// Whether it is on its way out of its group, or leaves unless its client comes back in a moment.
    fn is_leaving(&self) -> bool {
        !self.has_left.load(Ordering::Acquire) && (self.member.lingers() || self.member.ended())
    }
}

impl Members {
    /// Starts `member`'s life in its group.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn start(self: &Members, member: &Arc<Member>) -> std::io::Result<()> {
        let (life, others, expelled) = (member.clone(), self.running.clone(), self.expelled.clone());
        let released = self.released.clone();
        let has_left = Arc::new(AtomicBool::new(false));
        let left = has_left.clone();
        let name = format!("member-{}", member.spec().name);
        let worker = Worker::start(&name, move |_| {
            // Leaving starts a rebalance: the others hear of it now rather than at their next heartbeat.
            life.run(&|| {
                heartbeat_group(&others, &life.spec().group);
                left.store(true, Ordering::Release);
                // With the lock taken once, no thread is between its look at the members and its wait.
                drop(lock(&others));
                released.notify_all();
            });
            let mut expelled = lock(&expelled);
            expelled.retain(|member| member.client_may_return());
            if !life.is_unattended() && life.client_may_return() && expelled.len() < MAX_EXPELLED {
                expelled.push(life);
            }
        })?;
        let mut running = lock(&self.running);
        running.retain(|running| !running.worker.is_finished());
        running.push(RunningMember { member: member.clone(), has_left, worker });
        Ok(())
    }

    /// The member of our own consumer with this session, if it still lives.
    pub fn of_session(&self, group: &str, session: &str) -> Option<Arc<Member>> {
        self.find(|member| {
            let spec = member.spec();
            spec.group == group && spec.kind == ClientKind::Cooperating(session.to_owned()) && !member.ended()
        })
        .pop()
    }

    /// The lingering member of a plain client that comes back over a new connection, by what it asks for.
    /// `Err` when more than one fits, or one that another connection holds.
    pub fn returning(
        &self,
        name: &str,
        asked: &[(TopicPartition, i64)],
    ) -> Result<Option<Arc<Member>>, Ambiguous> {
        self.lingering(|member| member.fits(name, asked))
    }

    /// The same for a client whose first request is a commit.
    pub fn returning_to_commit(
        &self,
        name: &str,
        group: &str,
        commits: &[Commit],
    ) -> Result<Option<Arc<Member>>, Ambiguous> {
        self.lingering(|member| {
            let spec = member.spec();
            spec.kind == ClientKind::Plain
                && spec.group == group
                && spec.name == name
                && member.admits(commits)
        })
    }

    /// The spec of a member that ended before its client reconnected.
    pub fn take_expelled(&self, name: &str, asked: &[(TopicPartition, i64)]) -> Option<MemberSpec> {
        let mut expelled = lock(&self.expelled);
        expelled.retain(|member| member.client_may_return());
        let index = expelled.iter().position(|member| member.fits(name, asked))?;
        Some(expelled.remove(index).spec().clone())
    }

    /// Whether a member of `group` ended whose client may be the one that now commits over a new connection.
    pub fn has_expelled(&self, name: &str, group: &str) -> bool {
        let mut expelled = lock(&self.expelled);
        expelled.retain(|member| member.client_may_return());
        expelled.iter().any(|member| member.spec().name == name && member.spec().group == group)
    }

    /// Lets the members of our own program of this name leave now.
    pub fn program_ended(&self, name: &str) {
        for member in self.find(|member| member.spec().name == name && !member.ended()) {
            if matches!(member.spec().kind, ClientKind::Cooperating(_)) {
                member.abandon();
            }
        }
    }

    /// Waits until the commits of all members have arrived, until `deadline` at most. None is answered any
    /// more before Kafka has it.
    pub fn flush(&self, deadline: Instant) {
        for member in self.find(|member| !member.ended()) {
            member.flush(deadline);
        }
    }

    /// Wakes every member, to see that the adapter stops.
    pub fn wake(&self) {
        lock(&self.running).iter().for_each(|running| running.member.heartbeat_soon());
    }

    /// Waits until the members of `group` whose clients have gone are out of it, and those whose clients came
    /// back have them again; until `deadline` at most.
    pub fn wait_for_leaving(&self, group: &str, deadline: Instant) {
        let mut running = lock(&self.running);
        while any_leaves(&running, group) {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            running = wait_timeout(&self.released, running, left);
        }
    }

    /// Whether a member of `group` is on its way out of it.
    pub fn any_leaves(&self, group: &str) -> bool {
        any_leaves(&lock(&self.running), group)
    }

    /// A connection has let go of its member, or has one again: a client that comes back over another
    /// connection can have it, and who waits for members to leave looks again.
    pub fn released(&self) {
        // With the lock taken once, no thread is between its look at the members and its wait.
        drop(lock(&self.running));
        self.released.notify_all();
    }

    /// Waits until every member has left.
    pub fn join(&self) {
        let running = std::mem::take(&mut *lock(&self.running));
        running.into_iter().for_each(|running| running.worker.join());
    }

    /// The crate opens its new connection before it closes the old one, so a fitting member may still count
    /// as attached for a moment.
    fn lingering(&self, fits: impl Fn(&Member) -> bool) -> Result<Option<Arc<Member>>, Ambiguous> {
        let deadline = Instant::now() + LINGER;
        let mut running = lock(&self.running);
        loop {
            let mut fitting = find_in(&running, |member| !member.ended() && fits(member));
            if fitting.is_empty() {
                return Ok(None);
            }
            fitting.retain(|member| member.lingers());
            match fitting.len() {
                0 if Instant::now() >= deadline => return Err(Ambiguous),
                0 => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    running = wait_timeout(&self.released, running, left);
                }
                1 => return Ok(fitting.pop()),
                _ => return Err(Ambiguous),
            }
        }
    }

    fn find(&self, wanted: impl Fn(&Member) -> bool) -> Vec<Arc<Member>> {
        find_in(&lock(&self.running), wanted)
    }
}

fn find_in(running: &[RunningMember], wanted: impl Fn(&Member) -> bool) -> Vec<Arc<Member>> {
    running.iter().map(|running| &running.member).filter(|member| wanted(member)).cloned().collect()
}

fn any_leaves(running: &[RunningMember], group: &str) -> bool {
    running.iter().any(|running| running.member.spec().group == group && running.is_leaving())
}

fn heartbeat_group(running: &Mutex<Vec<RunningMember>>, group: &str) {
    for running in lock(running).iter().filter(|running| running.member.spec().group == group) {
        running.member.heartbeat_soon();
    }
}

/// More than one member or OffsetFetch fits a client that reconnects.
#[derive(Debug)]
pub struct Ambiguous;
