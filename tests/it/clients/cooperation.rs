//! Members of our client that offer `cooperative-sticky` and `range`, in one group with members of others:
//! either leads, and the group agrees on what all offer.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use client::assignor::{self, GroupProtocol, Offer, Partitions};
use client::coordinator::{Coordinator, Membership};
use client::{Cluster, ClusterSettings};
use protocol::compression::Compression;
use protocol::error_code::ErrorCode;

use super::client::{CLIENTS, Client};
use super::groups::{member, revoked};
use crate::support::kafka::Kafka;
use crate::support::{NEWEST, PATIENCE, eventually, unique};

const PARTITIONS: usize = 4;
const BOTH: [(&str, &str); 1] = [("partition.assignment.strategy", "cooperative-sticky")];

/// One generation of a member, as it ended.
#[derive(Debug, Clone)]
struct Generation {
    protocol: GroupProtocol,
    leads: bool,
    owned: Vec<i32>,
    given_up: Vec<i32>,
}

/// A member of ours on a thread of its own, until it is dropped.
struct Ours {
    history: Arc<Mutex<Vec<Generation>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Ours {
    fn start(kafka: &Kafka, topic: &str, group: &str) -> Ours {
        let settings = ClusterSettings {
            bootstrap_servers: kafka.bootstrap().split(',').map(str::to_owned).collect(),
            follows_advertised: true,
            security: Arc::default(),
            request_timeout: PATIENCE,
            delivery_timeout: PATIENCE,
            compression: Compression::None,
            create: Vec::new(),
        };
        let mut life = Life {
            coordinator: Coordinator::new(Arc::new(Cluster::new(settings)), group, "ours"),
            topic: topic.to_owned(),
            id: String::new(),
            owned: BTreeSet::new(),
            generation: None,
        };
        let (history, stop) = (Arc::<Mutex<Vec<Generation>>>::default(), Arc::new(AtomicBool::new(false)));
        let (seen, stopping) = (history.clone(), stop.clone());
        let run = move || life.run(&seen, &stopping);
        let thread = thread::Builder::new().name("ours".to_owned()).spawn(run).unwrap();
        Ours { history, stop, thread: Some(thread) }
    }

    fn history(&self) -> Vec<Generation> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until it owns this many partitions under a protocol.
    fn wait_for(&self, protocol: GroupProtocol, count: usize) -> Generation {
        eventually(&format!("{count} partitions under {protocol:?}"), PATIENCE, || {
            self.history().pop().filter(|last| last.protocol == protocol && last.owned.len() == count)
        })
    }

    fn given_up(&self) -> Vec<i32> {
        self.history().into_iter().flat_map(|generation| generation.given_up).collect()
    }
}

impl Drop for Ours {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let ended = self.thread.take().map(JoinHandle::join);
        assert!(thread::panicking() || matches!(ended, Some(Ok(()))), "the member failed");
    }
}

struct Life {
    coordinator: Coordinator,
    topic: String,
    id: String,
    owned: BTreeSet<i32>,
    generation: Option<i32>,
}

impl Life {
    fn run(&mut self, history: &Mutex<Vec<Generation>>, stop: &AtomicBool) {
        let goes_on = || !stop.load(Ordering::Relaxed);
        let mut settled = None;
        while goes_on() {
            let result = match &settled {
                None => self.join(&mut { goes_on }).map(|(membership, generation)| {
                    // Whoever gave something up joins anew, so that others get it.
                    settled = generation.given_up.is_empty().then_some(membership);
                    history.lock().unwrap_or_else(PoisonError::into_inner).push(generation);
                }),
                Some(membership) => {
                    thread::sleep(Duration::from_millis(200));
                    self.coordinator.heartbeat(membership, Instant::now() + PATIENCE)
                }
            };
            match result {
                Err(error) if error.code() == Some(ErrorCode::REBALANCE_IN_PROGRESS) => settled = None,
                // The first group of a new Kafka waits for its coordinator.
                Err(error) if goes_on() && error.is_lasting() => panic!("{error}"),
                Err(_) => thread::sleep(Duration::from_millis(200)),
                Ok(()) => {}
            }
        }
        let _ = self.coordinator.leave(&self.id, Instant::now() + PATIENCE);
    }

    fn join(&mut self, goes_on: &mut dyn FnMut() -> bool) -> client::Result<(Membership, Generation)> {
        let topics = BTreeSet::from([self.topic.clone()]);
        let owned = Partitions::from([(self.topic.clone(), self.owned.iter().copied().collect())]);
        // What members tell of themselves is nothing to the assignors of others.
        let told = b"of ourselves";
        let offers =
            [Offer::cooperative_sticky(&topics, &owned, self.generation, told), Offer::range(&topics, told)];
        let (id, deadline) = (self.id.clone(), Instant::now() + PATIENCE);
        let timeouts = (Duration::from_secs(10), PATIENCE);
        let mut given = |id: &str| self.id = id.to_owned();
        let joined = self.coordinator.join(&id, &offers, timeouts, deadline, goes_on, &mut given)?;
        if joined.protocol == GroupProtocol::Range {
            self.owned.clear();
        }
        let counts = BTreeMap::from([(self.topic.clone(), PARTITIONS)]);
        let assigned = match (&joined.to_assign, joined.protocol) {
            (None, _) => BTreeMap::new(),
            (Some(members), GroupProtocol::Range) => assignor::range(members, &counts),
            (Some(members), GroupProtocol::CooperativeSticky) => {
                assignor::cooperative_sticky(members, &joined.claims, &counts)
            }
        };
        let mut partitions = self.coordinator.sync(&joined.membership, &assigned, deadline, goes_on)?;
        let new: BTreeSet<i32> = partitions.remove(&self.topic).unwrap_or_default().into_iter().collect();
        let given_up = self.owned.difference(&new).copied().collect();
        (self.owned, self.generation) = (new, Some(joined.membership.generation));
        let (leads, owned) = (joined.to_assign.is_some(), self.owned.iter().copied().collect());
        Ok((joined.membership, Generation { protocol: joined.protocol, leads, owned, given_up }))
    }
}

fn numbers(partitions: &[String]) -> Vec<i32> {
    partitions.iter().filter_map(|partition| partition.rsplit(':').next()?.parse().ok()).collect()
}

fn partitions_of(kafka: &Kafka, group: &str, name: &str) -> Vec<i32> {
    let described = kafka.assistant().group(group);
    let member = described.members.iter().find(|member| member.client_id == name);
    numbers(&member.expect("a member").partitions)
}

pub fn a_member_of_ours_gives_a_foreign_one_its_share_and_keeps_the_rest(version: &'static str) {
    let kafka = Kafka::shared(version);
    for client in CLIENTS {
        let (topic, group) = (unique("cooperativo"), unique("grupo"));
        kafka.assistant().create_topic(&topic, PARTITIONS as u32, 1, &[]);
        let ours = Ours::start(kafka, &topic, &group);
        ours.wait_for(GroupProtocol::CooperativeSticky, 4);
        let theirs = member(client, kafka, (&topic, &group), "theirs", &BOTH);
        kafka.assistant().wait_for_members(&group, &["ours", "theirs"], 2);
        assert!(ours.wait_for(GroupProtocol::CooperativeSticky, 2).leads, "{client:?}");
        assert_eq!(ours.given_up(), partitions_of(kafka, &group, "theirs"), "{client:?}");
        drop(theirs);
        ours.wait_for(GroupProtocol::CooperativeSticky, 4);
    }
}

pub fn a_foreign_member_that_leads_gives_ours_its_share(version: &'static str) {
    let kafka = Kafka::shared(version);
    for client in CLIENTS {
        let (topic, group) = (unique("cooperativo"), unique("grupo"));
        kafka.assistant().create_topic(&topic, PARTITIONS as u32, 1, &[]);
        let theirs = member(client, kafka, (&topic, &group), "theirs", &BOTH);
        kafka.assistant().wait_for_members(&group, &["theirs"], 4);
        let ours = Ours::start(kafka, &topic, &group);
        kafka.assistant().wait_for_members(&group, &["ours", "theirs"], 2);
        let last = ours.wait_for(GroupProtocol::CooperativeSticky, 2);
        assert!(ours.given_up().is_empty(), "{client:?}: {:?}", ours.history());
        assert_eq!(numbers(&revoked(client, &theirs, &topic)), last.owned, "{client:?}");
    }
}

pub fn an_eager_member_turns_the_group_to_range_until_it_leaves(version: &'static str) {
    let kafka = Kafka::shared(version);
    let (topic, group) = (unique("ambos"), unique("grupo"));
    kafka.assistant().create_topic(&topic, PARTITIONS as u32, 1, &[]);
    let ours = Ours::start(kafka, &topic, &group);
    ours.wait_for(GroupProtocol::CooperativeSticky, 4);
    let range = [("partition.assignment.strategy", "org.apache.kafka.clients.consumer.RangeAssignor")];
    let eager = member(Client::Java(NEWEST), kafka, (&topic, &group), "eager", &range);
    kafka.assistant().wait_for_members(&group, &["eager", "ours"], 2);
    let shared = ours.wait_for(GroupProtocol::Range, 2);
    drop(eager);
    let alone = ours.wait_for(GroupProtocol::CooperativeSticky, 4);
    assert!(shared.owned.iter().all(|number| alone.owned.contains(number)));
}

/// Java's default is `range` before `cooperative-sticky`, both of them eagerly. Which of the two the group
/// chooses is its coordinator's affair.
pub fn a_member_of_both_kinds_shares_whatever_the_group_chooses(version: &'static str) {
    let kafka = Kafka::shared(version);
    let (topic, group) = (unique("ambos"), unique("grupo"));
    kafka.assistant().create_topic(&topic, PARTITIONS as u32, 1, &[]);
    let ours = Ours::start(kafka, &topic, &group);
    ours.wait_for(GroupProtocol::CooperativeSticky, 4);
    let theirs = member(Client::Java(NEWEST), kafka, (&topic, &group), "theirs", &[]);
    kafka.assistant().wait_for_members(&group, &["ours", "theirs"], 2);
    eventually("two partitions each", PATIENCE, || ours.history().pop().filter(|last| last.owned.len() == 2));
    drop(theirs);
    ours.wait_for(GroupProtocol::CooperativeSticky, 4);
}
