//! Where the endpoints are that hold the leases of a group: what its members tell of themselves, as the
//! group's coordinator passes it on.
//!
//! A coordinator tells it while a group is stable. Between two assignments what was told before stands for
//! the members that are still there.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use client::Cluster;
use client::describe::groups::{self, Group};
use net::sync::{Condvar, Mutex, MutexGuard, lock, wait_timeout};

use super::advertised::Told;
use super::receipt::EndpointId;

/// An address that was told so long ago is asked for again.
const LIFE: Duration = Duration::from_secs(10);
/// The pause between two looks at a group that is not stable.
const PAUSE: Duration = Duration::from_millis(100);
/// The most groups whose members are remembered.
const MOST_GROUPS: usize = 64;

/// What is known of an endpoint.
#[derive(Debug, PartialEq, Eq)]
pub enum Found {
    /// It is reached at this `host:port`.
    At(String),
    /// It is a member of the group, and tells no address that can be used.
    Untold,
    /// It is no member of the group, which is stable without it, or has none.
    Gone,
    /// It could not be found out, for this reason.
    Unknown(String),
}

/// The members of groups, each as they were looked up last.
pub struct Holders {
    cluster: Arc<Cluster>,
    groups: Mutex<HashMap<String, Known>>,
    looked: Condvar,
}

/// What is known of a group.
#[derive(Default)]
struct Known {
    holders: HashMap<EndpointId, Holder>,
    /// When the last look began that saw all members.
    whole_since: Option<Instant>,
    /// When the last look began, unless a forward has failed since.
    since: Option<Instant>,
    is_looking: bool,
}

/// An endpoint's member.
struct Holder {
    member: String,
    address: Option<String>,
}

impl Holders {
    /// Of the groups of a cluster.
    pub fn new(cluster: Cluster) -> Holders {
        Holders { cluster: Arc::new(cluster), groups: Mutex::default(), looked: Condvar::new() }
    }

    /// Where the endpoint is, asked at `now`; the answer is there by `deadline`, about.
    pub fn find(&self, group: &str, endpoint: EndpointId, now: Instant, deadline: Instant) -> Found {
        let mut known = forget_oldest(lock(&self.groups), group);
        loop {
            let of_group = known.entry(group.to_owned()).or_default();
            let is_fresh = of_group.since.is_some_and(|since| since >= now || since.elapsed() < LIFE);
            let holder = of_group.holders.get(&endpoint);
            if let Some(holder) = holder.filter(|_| is_fresh) {
                return holder.address.clone().map_or(Found::Untold, Found::At);
            }
            if holder.is_none() && of_group.whole_since.is_some_and(|since| since >= now) {
                return Found::Gone;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Found::Unknown(format!("the group {group} is between two assignments"));
            }
            if of_group.is_looking {
                known = wait_timeout(&self.looked, known, left);
                continue;
            }
            let again = of_group.since.filter(|since| *since >= now);
            if again.is_some_and(|since| since.elapsed() < PAUSE) {
                known = wait_timeout(&self.looked, known, PAUSE.min(left));
                continue;
            }
            of_group.is_looking = true;
            drop(known);
            let begun = Instant::now();
            let seen = groups::members_of(&self.cluster, group, deadline);
            known = lock(&self.groups);
            if let Some(of_group) = known.get_mut(group) {
                of_group.is_looking = false;
                if let Ok(seen) = &seen {
                    of_group.learn(seen, begun);
                }
            }
            self.looked.notify_all();
            if let Err(error) = seen {
                self.cluster.tell_refusal(&error);
                return Found::Unknown(format!("the members of {group} are not known: {error}"));
            }
        }
    }

    /// A holder of this group was not where it was said to be: the group is looked at again for the next one.
    pub fn doubt(&self, group: &str) {
        if let Some(known) = lock(&self.groups).get_mut(group) {
            known.since = None;
        }
    }

    /// Lets looks under way end.
    pub fn stop(&self) {
        self.cluster.stop();
    }
}

/// Makes room for a group.
fn forget_oldest<'a>(
    mut known: MutexGuard<'a, HashMap<String, Known>>,
    group: &str,
) -> MutexGuard<'a, HashMap<String, Known>> {
    if known.len() >= MOST_GROUPS && !known.contains_key(group) {
        let others = known.iter().filter(|(_, known)| !known.is_looking);
        let oldest = others.min_by_key(|(_, known)| known.since).map(|(name, _)| name.clone());
        oldest.map(|name| known.remove(&name));
    }
    known
}

impl Known {
    /// Takes over what a look that began at `begun` has seen.
    fn learn(&mut self, group: &Group, begun: Instant) {
        self.since = Some(begun);
        let Some(members) = &group.members else { return };
        let is_whole = group.is_stable() || members.is_empty();
        if is_whole {
            self.whole_since = Some(begun);
            self.holders.clear();
        } else {
            self.holders.retain(|_, holder| members.iter().any(|member| member.member_id == holder.member));
        }
        for member in members {
            let Some(Told { endpoint, address }) = Told::decode(&member.user_data) else { continue };
            let holder = Holder { member: member.member_id.clone(), address };
            match self.holders.get_mut(&endpoint) {
                // One of them is no endpoint, and it is not known which.
                Some(other) if other.address != holder.address => other.address = None,
                Some(_) => {}
                None => drop(self.holders.insert(endpoint, holder)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use client::describe::groups::Member;

    use super::*;

    const ONE: EndpointId = [1; 8];

    fn member(id: &str, endpoint: EndpointId, address: &str) -> Member {
        let told = Told { endpoint, address: Some(address.to_owned()) };
        let user_data = told.encode();
        let (client_id, host) = ("producer_api".to_owned(), "127.0.0.1".to_owned());
        Member { client_id, member_id: id.to_owned(), host, partitions: BTreeSet::new(), user_data }
    }

    fn group(state: &str, members: Option<Vec<Member>>) -> Group {
        Group { name: "g".to_owned(), state: state.to_owned(), members, committed: BTreeMap::new() }
    }

    fn address(known: &Known) -> Option<Option<String>> {
        known.holders.get(&ONE).map(|holder| holder.address.clone())
    }

    #[test]
    fn between_two_assignments_an_address_stands_for_as_long_as_its_member_is_there() {
        let mut known = Known::default();
        let now = Instant::now();
        known.learn(&group("Stable", Some(vec![member("m", ONE, "a:1")])), now);
        let mute = |id: &str| Member { user_data: Vec::new(), ..member(id, ONE, "") };
        known.learn(&group("PreparingRebalance", Some(vec![mute("m"), mute("n")])), now);
        assert_eq!(address(&known), Some(Some("a:1".to_owned())));
        known.learn(&group("PreparingRebalance", Some(vec![mute("n")])), now);
        assert_eq!(address(&known), None);
    }

    #[test]
    fn a_stable_group_tells_who_is_gone_and_one_between_two_assignments_does_not() {
        let mut known = Known::default();
        let now = Instant::now();
        for (state, members, is_whole) in [
            ("PreparingRebalance", Some(vec![member("m", ONE, "")]), false),
            // Members of the protocol of KIP-848.
            ("Stable", None, false),
            ("Stable", Some(vec![member("m", [2; 8], "b:1")]), true),
            ("Dead", Some(vec![]), true),
        ] {
            known.whole_since = None;
            known.learn(&group(state, members), now);
            assert_eq!(known.whole_since.is_some(), is_whole, "{state}");
        }
    }

    #[test]
    fn two_members_that_claim_to_be_one_endpoint_are_not_believed() {
        let mut known = Known::default();
        let both = vec![member("m", ONE, "a:1"), member("n", ONE, "b:1")];
        known.learn(&group("Stable", Some(both)), Instant::now());
        assert_eq!(address(&known), Some(None));
        let again = vec![member("m", ONE, "a:1"), member("n", ONE, "a:1")];
        known.learn(&group("Stable", Some(again)), Instant::now());
        assert_eq!(address(&known), Some(Some("a:1".to_owned())));
    }
}
