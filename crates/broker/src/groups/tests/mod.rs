//! Tests of the coordinator: the state of a group with a time of its own, and the real thing on a real store.

mod coordinator;
mod fixture;
mod initial_rebalance;
mod liveness;
mod offsets;
mod randomized;
mod rebalance;
mod reload;
mod static_members;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::group::{Group, JoinAnswer, Operation, Save, SyncAnswer};
use super::join::JoinRequest;
use super::liveness::MemberIdentity;
use super::member::OperationId;
use super::snapshot;
use super::sync::SyncRequest;
use protocol::error_code::ErrorCode;

/// The session timeout of all members here; a rebalance waits three times as long.
const SESSION: Duration = Duration::from_secs(10);

/// A group with a time that only the test moves, and a disk that stores what the test lets it store.
struct Sim {
    group: Group,
    now: Instant,
    ids: u32,
    /// The state stored last.
    disk: Option<Bytes>,
}

/// A request to join, of a consumer with the metadata `metadata` for `range`.
fn joining(member_id: &str, metadata: &str) -> JoinRequest {
    JoinRequest {
        member_id: member_id.into(),
        new_member_id: "".into(),
        instance: None,
        client_id: "test".into(),
        host: "/127.0.0.1".into(),
        host_process: None,
        session_timeout: SESSION,
        rebalance_timeout: SESSION * 3,
        protocol_type: "consumer".into(),
        protocols: vec![("range".into(), Bytes::copy_from_slice(metadata.as_bytes()))],
        requires_member_id: false,
        can_skip_assignment: false,
        connection: 1,
    }
}

fn identity(member_id: &str) -> MemberIdentity {
    MemberIdentity { member_id: member_id.into(), instance: None }
}

fn syncing(member_id: &str, generation: i32, parts: &[(&str, &str)]) -> SyncRequest {
    let part = |(id, part): &(&str, &str)| (Arc::from(*id), Bytes::copy_from_slice(part.as_bytes()));
    SyncRequest {
        generation,
        member_id: member_id.into(),
        instance: None,
        protocol_type: None,
        protocol: None,
        assignments: parts.iter().map(part).collect::<HashMap<_, _>>(),
        connection: 1,
    }
}

impl Sim {
    fn new() -> Sim {
        let now = Instant::now();
        Sim { group: Group::new("pedidos".into(), now), now, ids: 0, disk: None }
    }

    /// Time goes on; what is due happens.
    fn pass(&mut self, time: Duration) {
        self.now += time;
        self.group.expire(self.now);
        self.store(true);
    }

    /// Stores what is to be stored.
    fn store(&mut self, works: bool) {
        let Some(save) = self.group.take_save() else { return };
        if works {
            self.disk = Some(snapshot::encode(&self.group));
        }
        if let Save::Assignment(generation) = save {
            let stored = if works { Ok(()) } else { Err(ErrorCode::COORDINATOR_NOT_AVAILABLE) };
            self.group.stored(generation, stored, self.now);
        }
    }

    fn start_join(&mut self, mut join: JoinRequest) -> Operation<JoinAnswer> {
        self.ids += 1;
        join.new_member_id = format!("m{}", self.ids).into();
        let step = self.group.join(join, self.now);
        self.store(true);
        step
    }

    /// Joins, with the answer at once.
    fn join(&mut self, join: JoinRequest) -> JoinAnswer {
        match self.start_join(join) {
            Operation::Completed(answer) => answer,
            Operation::Delayed(operation) => self.joined(operation).expect("an answer at once"),
        }
    }

    /// Joins, and waits.
    fn join_waiting(&mut self, join: JoinRequest) -> OperationId {
        match self.start_join(join) {
            Operation::Delayed(operation) if self.group.joined.contains_key(&operation) => {
                panic!("answered at once")
            }
            Operation::Delayed(operation) => operation,
            Operation::Completed(answer) => panic!("answered at once: {answer:?}"),
        }
    }

    fn joined(&mut self, operation: OperationId) -> Option<JoinAnswer> {
        self.group.take_joined(operation)
    }

    fn start_sync(&mut self, sync: SyncRequest) -> Operation<SyncAnswer> {
        let step = self.group.sync(sync, self.now);
        self.store(true);
        step
    }

    fn sync(&mut self, sync: SyncRequest) -> SyncAnswer {
        match self.start_sync(sync) {
            Operation::Completed(answer) => answer,
            Operation::Delayed(operation) => self.synced(operation).expect("an answer at once"),
        }
    }

    fn sync_waiting(&mut self, sync: SyncRequest) -> OperationId {
        match self.start_sync(sync) {
            Operation::Delayed(operation) if self.group.synced.contains_key(&operation) => {
                panic!("answered at once")
            }
            Operation::Delayed(operation) => operation,
            Operation::Completed(answer) => panic!("answered at once: {answer:?}"),
        }
    }

    fn synced(&mut self, operation: OperationId) -> Option<SyncAnswer> {
        self.group.take_synced(operation)
    }

    fn heartbeat(&mut self, member_id: &str, generation: i32) -> ErrorCode {
        let result = self.group.heartbeat(&identity(member_id), generation, 1, self.now);
        result.err().unwrap_or(ErrorCode::NONE)
    }

    fn commit(&mut self, member_id: &str, generation: i32) -> ErrorCode {
        let result = self.group.commit(&identity(member_id), generation, 1, self.now);
        result.err().unwrap_or(ErrorCode::NONE)
    }

    fn leave(&mut self, member_id: &str) -> ErrorCode {
        let result = self.group.leave(&identity(member_id), self.now);
        self.store(true);
        result.err().unwrap_or(ErrorCode::NONE)
    }

    /// Loads the group as the next holder of the store does.
    fn reload(&mut self) {
        let name = self.group.name.clone();
        self.group = match &self.disk {
            Some(state) => snapshot::decode(&name, state, self.now).unwrap(),
            None => Group::new(name, self.now),
        };
    }

    /// A stable group of one member, its id and generation.
    fn with_one() -> (Sim, Arc<str>, i32) {
        let mut sim = Sim::new();
        let joined = sim.join(joining("", "a"));
        let (id, generation) = (joined.member_id, joined.generation);
        let synced = sim.sync(syncing(&id, generation, &[(&id, "all")]));
        assert_eq!(synced.code, ErrorCode::NONE);
        (sim, id, generation)
    }

    /// A stable group of two members, the leader first, and its generation.
    fn with_two() -> (Sim, Arc<str>, Arc<str>, i32) {
        let (mut sim, one, _) = Sim::with_one();
        let second = sim.join_waiting(joining("", "b"));
        let first = sim.join(joining(&one, "a"));
        let second = sim.joined(second).unwrap();
        let (two, generation) = (second.member_id, first.generation);
        let waiting = sim.sync_waiting(syncing(&two, generation, &[]));
        sim.sync(syncing(&one, generation, &[(&one, "left"), (&two, "right")]));
        assert_eq!(sim.synced(waiting).unwrap().assignment, "right");
        (sim, one, two, generation)
    }
}
