//! The lock of a replay or discard: a member that leads the group whose offsets keep the progress. Kafka
//! itself refuses commits of others meanwhile.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::error::{Error, Result};
use client::coordinator::Commit;
use client::group_member::{EndReason, GroupSettings, Member, OffsetReset, Standing};
use client::{Cluster, RequestContext};
use net::sync::Worker;

/// The longest time between two heartbeats.
const HEARTBEAT: Duration = Duration::from_millis(500);
/// The longest time to join beyond the session timeout: a broker lets a new group wait for members (three
/// seconds, as Kafka comes).
const JOIN_MARGIN: Duration = Duration::from_secs(15);
/// A wait that is longer than this is logged.
const SILENCE: Duration = Duration::from_secs(4);

/// The holder as a member of the group.
#[derive(Debug, Clone)]
pub struct LockSettings {
    /// The group.
    pub group: String,
    /// The topic of the dead letters.
    pub topic: String,
    /// The name that Kafka's tools show.
    pub client_id: String,
    /// Another member may take the lock after this time without a heartbeat.
    pub session: Duration,
}

/// The lock. Released when dropped.
pub struct ReplayLock {
    settings: LockSettings,
    member: Arc<Member>,
    _life: Worker,
}

impl ReplayLock {
    /// Takes the lock. If its last holder died, this waits until the coordinator notices: a session at most.
    ///
    /// # Errors
    /// Another replay or discard has the lock; no coordinator answers in time; the cluster was stopped.
    pub fn take(cluster: &Arc<Cluster>, settings: LockSettings) -> Result<ReplayLock> {
        let LockSettings { group, topic, client_id, session } = &settings;
        let group_settings = GroupSettings {
            session_timeout: *session,
            heartbeat_interval: HEARTBEAT.min(*session / 10),
            max_processing: *session,
            offset_reset: OffsetReset::Earliest,
            user_data: Vec::new(),
        };
        let member = Member::holder(client_id, group, topic, group_settings, cluster.clone());
        let life = member.clone();
        let life = Worker::start("dead-letters-hold", move |_| life.run(&|| {})).map_err(|error| {
            Error::new("the thread dead-letters-hold cannot be started").retriable().caused_by(error)
        })?;
        let lock = ReplayLock { settings, member, _life: life };
        lock.wait_to_lead()?;
        Ok(lock)
    }

    fn wait_to_lead(&self) -> Result<()> {
        let LockSettings { group, session, .. } = &self.settings;
        let began = Instant::now();
        let mut standing = self.member.standing(*session, began + SILENCE);
        if matches!(standing, Standing::Unconfirmed(None)) && began.elapsed() >= SILENCE {
            let most = session.as_millis();
            log::info!("waiting for the group {group}: a replay that was killed keeps it for {most} ms");
        }
        if matches!(standing, Standing::Unconfirmed(_)) {
            standing = self.member.standing(*session, began + *session + JOIN_MARGIN);
        }
        let not_joined = || Error::new(format!("group {group} cannot be joined")).retriable();
        match standing {
            Standing::Confirmed => Ok(()),
            Standing::Ended(EndReason::NotLeader) => {
                let what = "another replay or discard is running; try again when it has ended";
                Err(Error::new(what).retriable())
            }
            Standing::Ended(reason) => Err(not_joined().caused_by(reason.to_string())),
            Standing::Unconfirmed(Some(error)) => Err(not_joined().caused_by(error)),
            Standing::Unconfirmed(None) => {
                Err(not_joined().caused_by("another replay or discard is running"))
            }
        }
    }

    /// Waits until it is certain that no other replay or discard has the lock.
    ///
    /// # Errors
    /// Another may have the lock by now; the coordinator does not confirm it until `deadline`.
    pub fn confirm(&self, deadline: Instant) -> Result<()> {
        // Less than a session, for what is sent now is on its way for a while.
        match self.member.standing(self.settings.session / 2, deadline) {
            Standing::Confirmed => Ok(()),
            Standing::Ended(reason @ (EndReason::NotLeader | EndReason::Expelled)) => {
                let what = "another may be settling dead letters by now";
                Err(Error::new(what).caused_by(reason.to_string()))
            }
            Standing::Ended(_) | Standing::Unconfirmed(_) => {
                Err(Error::new("the group's coordinator does not answer").retriable())
            }
        }
    }

    /// Commits as the holder, and tries again on what may pass until `deadline`.
    ///
    /// # Errors
    /// The lock is lost, or nothing was committed in time.
    pub fn commit(&self, commits: &[Commit], deadline: Instant) -> Result<()> {
        let codes = self.member.commit_as_member(commits, deadline);
        let Some(code) = codes.into_iter().find(|code| !code.is_ok()) else { return Ok(()) };
        let refusal = client::Error::refused(RequestContext::offset_commit(&self.settings.group), code);
        Err(Error::new("the last letters are not noted as settled, and may come again").caused_by(refusal))
    }
}

impl Drop for ReplayLock {
    fn drop(&mut self) {
        self.member.abandon();
    }
}
