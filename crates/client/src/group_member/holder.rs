//! Members that a part of this process holds for itself, to be the only one that does something: such a
//! member leads its group and is given every partition ([`Assignor::OnlyLeader`]), or it ends. A coordinator
//! keeps its leader as long as that one lives, so leading is exclusive.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::state::EndReason;
use super::{ClientKind, GroupSettings, Member, MemberSpec, NO_CONNECTION, Records, TopicSelection};
use crate::Cluster;
use crate::assignor::Assignor;
use crate::error::Error;

/// Whether a membership stands.
#[derive(Debug)]
pub enum Standing {
    /// The coordinator has confirmed it lately.
    Confirmed,
    /// It is not known, with what joining fails of.
    Unconfirmed(Option<Error>),
    /// It is over.
    Ended(EndReason),
}

impl Member {
    /// A member that leads `group` or ends. It fetches nothing, and stays until [`Member::abandon`]. Its
    /// threads are started by [`Member::run`].
    pub fn holder(
        name: &str,
        group: &str,
        topic: &str,
        settings: GroupSettings,
        cluster: Arc<Cluster>,
    ) -> Arc<Member> {
        let spec = MemberSpec {
            name: name.to_owned(),
            group: group.to_owned(),
            topics: TopicSelection::named([topic.to_owned()]),
            kind: ClientKind::Holder,
            assignor: Assignor::OnlyLeader,
            records: Records::NotFetched,
            pipelined: false,
        };
        Member::new(spec, settings, cluster, NO_CONNECTION)
    }

    /// Waits until the coordinator has confirmed the membership by a request that was sent less than `age`
    /// ago, until the member ends, or until joining fails for good; until `deadline` at most.
    pub fn standing(&self, age: Duration, deadline: Instant) -> Standing {
        let mut state = self.state();
        loop {
            if let Some(end) = state.end {
                return Standing::Ended(end);
            }
            if state.confirmed.is_some_and(|sent| sent.elapsed() < age) {
                return Standing::Confirmed;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || self.cluster.stopping() || state.lasting_join_error().is_some() {
                return Standing::Unconfirmed(state.join_error.clone());
            }
            state = self.wait(state, left);
        }
    }
}
