//! The members that the adapter runs: new ones, those that linger, and whose program has come back.

use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::member::{LINGER, Member, Program, Role};
use crate::cluster::coordinator::Commit;
use crate::net::lock;

/// All members of the process.
#[derive(Default)]
pub struct Members {
    running: Arc<Mutex<Running>>,
    /// Members that have ended while their programs were there: a foreign one that comes back over a new connection
    /// must not be taken for a client without a group.
    missed: Arc<Mutex<Vec<Arc<Member>>>>,
}

/// The most missed members that are remembered.
const MAX_MISSED: usize = 1024;

type Running = Vec<(Arc<Member>, JoinHandle<()>)>;

impl Members {
    /// Starts `member`'s life in its group.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn start(self: &Members, member: &Arc<Member>) -> std::io::Result<()> {
        let (life, others, missed) = (member.clone(), self.running.clone(), self.missed.clone());
        let name = format!("member-{}", member.role().name);
        let thread = std::thread::Builder::new().name(name).spawn(move || {
            // Leaving starts a rebalance: the others hear of it now rather than at their next heartbeat.
            life.run(&|| poke_group(&others, &life.role().group));
            let mut missed = lock(&missed);
            missed.retain(|member| member.is_missed());
            if !life.is_unattended() && life.is_missed() && missed.len() < MAX_MISSED {
                missed.push(life);
            }
        })?;
        let mut running = lock(&self.running);
        running.retain(|(_, thread)| !thread.is_finished());
        running.push((member.clone(), thread));
        Ok(())
    }

    /// The member of our own program with this session, if it still lives.
    pub fn of_session(&self, group: &str, session: &str) -> Option<Arc<Member>> {
        self.find(|member| {
            let role = member.role();
            role.group == group && role.program == Program::Own(session.to_owned()) && !member.ended()
        })
        .pop()
    }

    /// The lingering member of a foreign program that comes back over a new connection, by what it asks for.
    /// `Err` when more than one fits, or one that another connection holds.
    pub fn returning(
        &self,
        name: &str,
        asked: &[(String, i32, i64)],
    ) -> Result<Option<Arc<Member>>, Unclear> {
        self.lingering(|member| member.fits(name, asked))
    }

    /// The same for a program whose first request is a commit.
    pub fn returning_to_commit(
        &self,
        name: &str,
        group: &str,
        commits: &[Commit],
    ) -> Result<Option<Arc<Member>>, Unclear> {
        self.lingering(|member| {
            let role = member.role();
            role.program == Program::Foreign
                && role.group == group
                && role.name == name
                && member.admits(commits)
        })
    }

    /// What a member was for that ended before its program came back over a new connection.
    pub fn missed(&self, name: &str, asked: &[(String, i32, i64)]) -> Option<Role> {
        let mut missed = lock(&self.missed);
        missed.retain(|member| member.is_missed());
        let index = missed.iter().position(|member| member.fits(name, asked))?;
        Some(missed.remove(index).role().clone())
    }

    /// Whether a member of `group` ended whose program may be the one that now commits over a new connection.
    pub fn misses(&self, name: &str, group: &str) -> bool {
        let mut missed = lock(&self.missed);
        missed.retain(|member| member.is_missed());
        missed.iter().any(|member| member.role().name == name && member.role().group == group)
    }

    /// Lets the members of our own program of this name leave now.
    pub fn program_ended(&self, name: &str) {
        for member in self.find(|member| member.role().name == name && !member.ended()) {
            if matches!(member.role().program, Program::Own(_)) {
                member.abandon();
            }
        }
    }

    /// Waits until the commits of all members have arrived, until `deadline` at most. None is answered any more before
    /// Kafka has it.
    pub fn flush(&self, deadline: Instant) {
        for member in self.find(|member| !member.ended()) {
            member.flush(deadline);
        }
    }

    /// Wakes every member, to see that the adapter stops.
    pub fn wake(&self) {
        lock(&self.running).iter().for_each(|(member, _)| member.poke());
    }

    /// Waits until every member has left.
    pub fn join(&self) {
        let running = std::mem::take(&mut *lock(&self.running));
        for (_, thread) in running {
            let _ = thread.join();
        }
    }

    /// The crate opens its new connection before it closes the old one, so a fitting member may still count as
    /// attached for a moment.
    fn lingering(&self, fits: impl Fn(&Member) -> bool) -> Result<Option<Arc<Member>>, Unclear> {
        let deadline = Instant::now() + LINGER;
        loop {
            let mut fitting = self.find(|member| !member.ended() && fits(member));
            if fitting.is_empty() {
                return Ok(None);
            }
            fitting.retain(|member| member.lingers());
            match fitting.len() {
                0 if Instant::now() >= deadline => return Err(Unclear),
                0 => std::thread::sleep(Duration::from_millis(5)),
                1 => return Ok(fitting.pop()),
                _ => return Err(Unclear),
            }
        }
    }

    fn find(&self, wanted: impl Fn(&Member) -> bool) -> Vec<Arc<Member>> {
        let running = lock(&self.running);
        running.iter().filter(|(member, _)| wanted(member)).map(|(member, _)| member.clone()).collect()
    }
}

fn poke_group(running: &Mutex<Running>, group: &str) {
    for (member, _) in lock(running).iter().filter(|(member, _)| member.role().group == group) {
        member.poke();
    }
}

/// It cannot be told which member or look-up a program comes back to.
#[derive(Debug)]
pub struct Unclear;
