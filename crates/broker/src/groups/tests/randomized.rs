//! Random orders of everything that can happen, crashes included, and what must hold in all of them.

use std::collections::{BTreeMap, VecDeque};

use super::*;
use crate::groups::group::GroupState;
use testing::Random;

/// A client: a member as far as it knows.
#[derive(Default)]
struct Client {
    id: String,
    generation: i32,
    leader: bool,
    /// The members that it has to assign to, as leader.
    members: Vec<Arc<str>>,
    joining: Option<OperationId>,
    syncing: Option<OperationId>,
    instance: Option<Arc<str>>,
    connection: u64,
}

/// A write that was handed to the store.
enum Write {
    Group { state: Bytes, assignment_of: Option<i32> },
    Commit { generation: i32 },
}

struct World {
    random: Random,
    initial_delay: Duration,
    group: Group,
    now: Instant,
    clients: Vec<Client>,
    ids: u32,
    connections: u64,
    /// Handed to the store, not yet durable.
    writes: VecDeque<Write>,
    disk: Option<Bytes>,
    /// The parts of the assignment that is in force, by member, for each generation that was given out.
    given: BTreeMap<i32, BTreeMap<Arc<str>, Bytes>>,
    seen: Seen,
}

/// How often what the test is about has happened.
#[derive(Default)]
struct Seen {
    stable: usize,
    commits: usize,
    fenced: usize,
    crashes: usize,
    expired: usize,
}

impl World {
    fn new(seed: u64) -> World {
        let now = Instant::now();
        let mut random = Random::new(seed);
        let mut clients: Vec<Client> = (0..2 + random.below(3)).map(|_| Client::default()).collect();
        for (index, client) in clients.iter_mut().enumerate() {
            client.instance = (random.below(4) == 0).then(|| format!("i{index}").into());
        }
        // Half of the worlds begin without delay, the others with one of up to 16 s.
        let initial_delay = match random.below(2) {
            0 => Duration::ZERO,
            _ => Duration::from_millis(1 << random.below(15)),
        };
        World {
            random,
            initial_delay,
            group: Group::new("pedidos".into(), now).with_initial_delay(initial_delay),
            now,
            clients,
            ids: 0,
            connections: 0,
            writes: VecDeque::new(),
            disk: None,
            given: BTreeMap::new(),
            seen: Seen::default(),
        }
    }

    fn step(&mut self) {
        let index = self.random.below(self.clients.len());
        match self.random.below(40) {
            0..=9 => self.join(index),
            10..=17 => self.sync(index),
            18..=20 => self.heartbeat(index),
            21..=27 => self.commit(index),
            28 => self.leave(index),
            29 => self.disconnect(index),
            30..=36 => self.flush(),
            37 => self.fail(),
            38 => {
                let before = self.group.members.len();
                self.now += Duration::from_millis(1 << self.random.below(15));
                self.group.expire(self.now);
                self.seen.expired += before.saturating_sub(self.group.members.len());
            }
            _ if self.random.below(4) == 0 => self.crash(),
            _ => {}
        }
        self.hand_over_writes();
        self.collect();
        self.check();
    }

    fn join(&mut self, index: usize) {
        let client = &mut self.clients[index];
        if client.joining.is_some() || client.syncing.is_some() {
            return;
        }
        self.ids += 1;
        self.connections += u64::from(client.connection == 0);
        if client.connection == 0 {
            client.connection = self.connections;
        }
        // A process that starts anew has forgotten its id.
        if self.random.below(6) == 0 {
            client.id.clear();
        }
        let join = JoinRequest {
            new_member_id: format!("c{index}-{}", self.ids).into(),
            instance: client.instance.clone(),
            requires_member_id: self.random.below(2) == 0 && client.instance.is_none(),
            can_skip_assignment: self.random.below(2) == 0,
            connection: client.connection,
            ..joining(&client.id, ["a", "b"][self.random.below(2)])
        };
        match self.group.join(join, self.now) {
            Operation::Completed(answer) => self.joined(index, answer),
            Operation::Delayed(operation) => self.clients[index].joining = Some(operation),
        }
    }

    fn joined(&mut self, index: usize, answer: JoinAnswer) {
        let client = &mut self.clients[index];
        client.joining = None;
        match answer.code {
            ErrorCode::NONE => {
                assert_eq!(answer.generation, self.group.generation, "an answer of another generation");
                let leads = answer.leader == answer.member_id;
                assert!(leads || (answer.members.is_empty() && !answer.skip_assignment));
                client.leader = leads && !answer.skip_assignment;
                client.id = answer.member_id.to_string();
                client.generation = answer.generation;
                client.members = answer.members.into_iter().map(|member| member.id).collect();
            }
            ErrorCode::MEMBER_ID_REQUIRED => client.id = answer.member_id.to_string(),
            ErrorCode::UNKNOWN_MEMBER_ID | ErrorCode::FENCED_INSTANCE_ID => client.id.clear(),
            ErrorCode::REBALANCE_IN_PROGRESS => {}
            code => panic!("{code} to a join"),
        }
    }

    fn sync(&mut self, index: usize) {
        let client = &mut self.clients[index];
        if client.joining.is_some() || client.syncing.is_some() || client.id.is_empty() {
            return;
        }
        let mut sync = syncing(&client.id, client.generation, &[]);
        sync.connection = client.connection;
        if client.leader {
            let salt = self.random.draw();
            let part = |id: &Arc<str>| (id.clone(), Bytes::from(format!("{id} {salt}")));
            sync.assignments = client.members.iter().map(part).collect();
        }
        match self.group.sync(sync, self.now) {
            Operation::Completed(answer) => self.synced(index, answer),
            Operation::Delayed(operation) => client.syncing = Some(operation),
        }
    }

    fn synced(&mut self, index: usize, answer: SyncAnswer) {
        let client = &mut self.clients[index];
        client.syncing = None;
        match answer.code {
            ErrorCode::NONE => {
                let given = &self.given[&client.generation];
                let part = given.get(&*client.id).expect("a part for each member");
                assert_eq!(answer.assignment, part, "not what the leader has assigned");
                self.seen.stable += 1;
            }
            ErrorCode::UNKNOWN_MEMBER_ID | ErrorCode::FENCED_INSTANCE_ID => client.id.clear(),
            ErrorCode::REBALANCE_IN_PROGRESS
            | ErrorCode::ILLEGAL_GENERATION
            | ErrorCode::COORDINATOR_NOT_AVAILABLE => {}
            code => panic!("{code} to a sync"),
        }
    }

    fn heartbeat(&mut self, index: usize) {
        let client = &self.clients[index];
        let identity =
            MemberIdentity { member_id: client.id.as_str().into(), instance: client.instance.clone() };
        let _ = self.group.heartbeat(&identity, client.generation, client.connection, self.now);
    }

    /// A commit, perhaps by somebody who has lost its partitions and does not know.
    fn commit(&mut self, index: usize) {
        let client = &self.clients[index];
        let identity =
            MemberIdentity { member_id: client.id.as_str().into(), instance: client.instance.clone() };
        let back = i32::try_from(self.random.below(3) / 2).unwrap();
        let generation = client.generation - back;
        let accepted = self.group.commit(&identity, generation, client.connection, self.now).is_ok();
        let newest = self.given.keys().next_back().copied().unwrap_or_default();
        if generation >= 0 && accepted {
            assert!(generation >= newest, "a commit of {generation} although {newest} was given out");
            self.writes.push_back(Write::Commit { generation });
            self.seen.commits += 1;
        } else if generation < newest {
            self.seen.fenced += 1;
        }
    }

    fn leave(&mut self, index: usize) {
        let client = &mut self.clients[index];
        let identity =
            MemberIdentity { member_id: client.id.as_str().into(), instance: client.instance.clone() };
        if !client.id.is_empty() && self.group.leave(&identity, self.now).is_ok() {
            client.generation = 0;
        }
    }

    fn disconnect(&mut self, index: usize) {
        let client = &mut self.clients[index];
        if let Some(operation) = client.joining.take() {
            self.group.withdraw_join(operation, self.now);
        }
        if let Some(operation) = client.syncing.take() {
            self.group.withdraw_sync(operation, self.now);
        }
        self.group.connection_closed(client.connection, self.now);
        client.connection = 0;
    }

    fn hand_over_writes(&mut self) {
        if let Some(save) = self.group.take_save() {
            let assignment_of = match save {
                Save::Assignment(generation) => Some(generation),
                Save::State => None,
            };
            self.writes.push_back(Write::Group { state: snapshot::encode(&self.group), assignment_of });
        }
    }

    /// The oldest write becomes durable.
    fn flush(&mut self) {
        match self.writes.pop_front() {
            Some(Write::Group { state, assignment_of }) => {
                self.disk = Some(state);
                if let Some(generation) = assignment_of {
                    let before = self.group.state();
                    self.group.stored(generation, Ok(()), self.now);
                    if before != GroupState::Stable && self.group.state() == GroupState::Stable {
                        let parts = self.group.members.iter();
                        let parts = parts.map(|(id, member)| (id.clone(), member.assignment.clone()));
                        let twice = self.given.insert(generation, parts.collect());
                        assert!(twice.is_none(), "generation {generation} was assigned twice");
                    }
                }
            }
            Some(Write::Commit { generation }) => {
                let newest = self.given.keys().next_back().copied().unwrap_or_default();
                assert!(
                    generation >= newest,
                    "a fenced member's commit after its successor has its partitions"
                );
            }
            None => {}
        }
    }

    /// The oldest write fails, and with it, as in the real store, all later ones: none becomes durable.
    fn fail(&mut self) {
        if self.random.below(4) > 0 {
            return;
        }
        for write in std::mem::take(&mut self.writes) {
            if let Write::Group { assignment_of: Some(generation), .. } = write {
                self.group.stored(generation, Err(ErrorCode::COORDINATOR_NOT_AVAILABLE), self.now);
            }
        }
    }

    /// The process dies; another one goes on with what is durable.
    fn crash(&mut self) {
        self.seen.crashes += 1;
        self.writes.clear();
        let name = self.group.name.clone();
        let group = match &self.disk {
            Some(state) => snapshot::decode(&name, state, self.now).unwrap(),
            None => Group::new(name, self.now),
        };
        self.group = group.with_initial_delay(self.initial_delay);
        for client in &mut self.clients {
            client.joining = None;
            client.syncing = None;
            client.connection = 0;
        }
        // A static member may have got a new id that was stored without a new assignment.
        if self.group.state() == GroupState::Stable {
            let parts = self.group.members.iter().map(|(id, member)| (id.clone(), member.assignment.clone()));
            self.given.insert(self.group.generation, parts.collect());
        }
    }

    fn collect(&mut self) {
        for index in 0..self.clients.len() {
            if let Some(answer) =
                self.clients[index].joining.and_then(|operation| self.group.take_joined(operation))
            {
                self.joined(index, answer);
            }
            if let Some(answer) =
                self.clients[index].syncing.and_then(|operation| self.group.take_synced(operation))
            {
                self.synced(index, answer);
            }
        }
        // A static member that takes its place again has its predecessor's part.
        if self.group.state() == GroupState::Stable {
            let given = self.given.entry(self.group.generation).or_default();
            for (id, member) in &self.group.members {
                given.entry(id.clone()).or_insert_with(|| member.assignment.clone());
            }
        }
    }

    fn check(&self) {
        let group = &self.group;
        let members = &group.members;
        assert_eq!(group.bytes, members.values().map(|member| member.bytes()).sum::<usize>());
        let instances =
            members.iter().filter_map(|(id, member)| Some((member.instance.clone()?, id.clone())));
        assert_eq!(instances.collect::<BTreeMap<_, _>>(), group.instances);
        let newest = self.given.keys().next_back().copied().unwrap_or_default();
        assert!(group.generation >= newest, "generation {} after {newest}", group.generation);
        match group.state {
            GroupState::Empty => assert!(members.is_empty() && !group.storing),
            GroupState::Stable => assert!(!members.is_empty() && group.protocol.is_some() && !group.storing),
            GroupState::CompletingRebalance => {
                assert!(group.leader.as_ref().is_some_and(|id| members.contains_key(id)))
            }
            GroupState::PreparingRebalance => {
                assert!(group.rebalance_deadline.is_some() && !group.storing);
                let missing = members.values().any(|member| member.joining.is_none());
                let waits = missing || !group.pending.is_empty() || group.initial.is_some();
                assert!(waits, "nobody is missing, and nothing goes on");
            }
            GroupState::Dead => panic!("nobody deletes it"),
        }
        assert!(group.initial.is_none() || group.state == GroupState::PreparingRebalance);
        for member in members.values() {
            assert!(group.state == GroupState::PreparingRebalance || member.joining.is_none());
            assert!(group.state == GroupState::CompletingRebalance || member.syncing.is_none());
        }
    }
}

#[test]
fn in_any_order_of_events_one_assignment_a_generation_and_no_commit_of_who_lost_its_partitions() {
    let mut seen = Seen::default();
    for seed in 0..400 {
        let mut world = World::new(seed);
        for step in 0..1_500 {
            let run = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| world.step()));
            if let Err(panic) = run {
                eprintln!("seed {seed}, step {step}");
                std::panic::resume_unwind(panic);
            }
        }
        seen.stable += world.seen.stable;
        seen.commits += world.seen.commits;
        seen.fenced += world.seen.fenced;
        seen.crashes += world.seen.crashes;
        seen.expired += world.seen.expired;
    }
    for (what, times) in [
        ("assignments", seen.stable),
        ("commits", seen.commits),
        ("fenced commits", seen.fenced),
        ("crashes", seen.crashes),
        ("members that expired", seen.expired),
    ] {
        assert!(times > 1_000, "only {times} {what}");
    }
}
