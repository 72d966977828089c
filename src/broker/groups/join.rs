//! JoinGroup: new members, members that come again, and static members that take their old place.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::group::{Group, JoinAnswer, PendingMember, Save, State, Step, SyncAnswer};
use super::limits::MAX_MEMBERS;
use super::member::{Link, Member, Protocol, Ticket};
use crate::protocol::error_code::ErrorCode;

/// A request to join.
#[derive(Debug, Clone)]
pub struct Join {
    /// The member's id; empty for who has none yet.
    pub member_id: Arc<str>,
    /// The id to give to who has none.
    pub fresh_id: Arc<str>,
    /// The instance id of a static member.
    pub instance: Option<Arc<str>>,
    /// The client id of the request.
    pub client_id: Arc<str>,
    /// The client's address, as Kafka shows it.
    pub host: Arc<str>,
    /// The process that serves, if the member lives in it.
    pub home: Option<u64>,
    /// How long it may be silent.
    pub session_timeout: Duration,
    /// How long a rebalance waits for it.
    pub rebalance_timeout: Duration,
    /// The kind of group: `consumer`, `connect`, …
    pub protocol_type: Arc<str>,
    /// What it can do, the preferred first.
    pub protocols: Vec<Protocol>,
    /// Whether a dynamic member has to come again with the id it gets (KIP-394).
    pub id_first: bool,
    /// The connection that it comes over.
    pub connection: u64,
}

impl Join {
    fn member(self, ticket: Ticket, now: Instant) -> Member {
        Member {
            instance: self.instance,
            client_id: self.client_id,
            host: self.host,
            home: self.home,
            session_timeout: self.session_timeout,
            rebalance_timeout: self.rebalance_timeout,
            protocols: self.protocols,
            assignment: Bytes::new(),
            link: Link::Connected(self.connection),
            heard: true,
            expires: now + self.session_timeout,
            joining: Some(ticket),
            syncing: None,
            synced: false,
        }
    }
}

impl Group {
    /// JoinGroup.
    pub fn join(&mut self, join: Join, now: Instant) -> Step<JoinAnswer> {
        self.idle_since = now;
        let refused = |code| Step::Done(JoinAnswer::refused(code, &join.member_id));
        if self.is_full(&join) {
            return refused(ErrorCode::GROUP_MAX_SIZE_REACHED);
        }
        if !self.supports(&join.protocol_type, &join.protocols) {
            return refused(ErrorCode::INCONSISTENT_GROUP_PROTOCOL);
        }
        if join.member_id.is_empty() {
            return self.join_anew(join, now);
        }
        if join.instance.is_none() && self.pending.contains_key(&join.member_id) {
            let id = join.member_id.clone();
            return self.add(id, join, now);
        }
        if let Err(code) = self.validate(&join.member_id, join.instance.as_deref()) {
            return refused(code);
        }
        self.join_again(join, now)
    }

    fn is_full(&self, join: &Join) -> bool {
        let known = self.members.contains_key(&join.member_id)
            || self.pending.contains_key(&join.member_id)
            || join.instance.as_ref().is_some_and(|instance| self.instances.contains_key(instance));
        !known && (self.members.len() >= MAX_MEMBERS || self.pending.len() >= MAX_MEMBERS)
    }

    fn join_anew(&mut self, join: Join, now: Instant) -> Step<JoinAnswer> {
        let id = join.fresh_id.clone();
        if let Some(instance) = &join.instance {
            return match self.instances.get(instance).cloned() {
                Some(old) => self.replace(&old, join, now),
                None => self.add(id, join, now),
            };
        }
        if !join.id_first {
            return self.add(id, join, now);
        }
        let pending =
            PendingMember { link: Link::Connected(join.connection), expires: now + join.session_timeout };
        self.pending.insert(id.clone(), pending);
        Step::Done(JoinAnswer::refused(ErrorCode::MEMBER_ID_REQUIRED, &id))
    }

    fn add(&mut self, id: Arc<str>, join: Join, now: Instant) -> Step<JoinAnswer> {
        if self.members.is_empty() {
            self.protocol_type = Some(join.protocol_type.clone());
        }
        self.pending.remove(&id);
        if let Some(instance) = &join.instance {
            self.instances.insert(instance.clone(), id.clone());
        }
        let ticket = self.new_ticket();
        self.members.insert(id.clone(), join.member(ticket, now));
        self.leader.get_or_insert(id);
        self.recount();
        self.rebalance(now, "a member joins");
        Step::Wait(ticket)
    }

    fn join_again(&mut self, join: Join, now: Instant) -> Step<JoinAnswer> {
        let id = join.member_id.clone();
        let leads = self.leader.as_ref() == Some(&id);
        let same = self.members.get(&id).is_some_and(|member| member.protocols == join.protocols);
        let known = match self.state {
            // Its first answer may have been lost.
            State::CompletingRebalance => same,
            // The leader asks for a rebalance by joining; it knows of changes that no metadata shows.
            State::Stable => same && !leads,
            State::PreparingRebalance => false,
            State::Empty | State::Dead => {
                return Step::Done(JoinAnswer::refused(ErrorCode::UNKNOWN_MEMBER_ID, &id));
            }
        };
        if known {
            let connection = join.connection;
            if let Some(member) = self.members.get_mut(&id) {
                member.hear(connection, now);
            }
            return Step::Done(self.joined_answer(&id));
        }
        let ticket = self.update(&id, join, now);
        self.rebalance(now, "a member joins again");
        Step::Wait(ticket)
    }

    /// A process that has started anew takes the place of its predecessor; who still acts for that one is
    /// fenced.
    fn replace(&mut self, old: &Arc<str>, join: Join, now: Instant) -> Step<JoinAnswer> {
        let id = join.fresh_id.clone();
        let leader = self.leader.clone().unwrap_or_default();
        log::info!("group {}: {id} takes the place of {old}", self.name);
        let Some(mut member) = self.members.remove(old) else {
            return Step::Done(JoinAnswer::refused(ErrorCode::UNKNOWN_MEMBER_ID, ""));
        };
        let fenced = ErrorCode::FENCED_INSTANCE_ID;
        self.answer_join(member.joining.take(), JoinAnswer::refused(fenced, old));
        self.answer_sync(member.syncing.take(), SyncAnswer::refused(fenced));
        if let Some(instance) = &join.instance {
            self.instances.insert(instance.clone(), id.clone());
        }
        if self.leader.as_ref() == Some(old) {
            self.leader = Some(id.clone());
        }
        self.members.insert(id.clone(), member);
        let ticket = self.update(&id, join, now);
        if self.state == State::Stable && self.choose_protocol() == self.protocol {
            self.save = Some(Save::State);
            if let Some(member) = self.members.get_mut(&id) {
                member.joining = None;
            }
            // It hears the leader's id of before, so that it makes no assignment: that would not be asked of
            // it now.
            return Step::Done(JoinAnswer { leader, members: Vec::new(), ..self.joined_answer(&id) });
        }
        self.rebalance(now, "a static member takes its place again");
        Step::Wait(ticket)
    }

    /// Takes over what a member joins with now.
    fn update(&mut self, id: &Arc<str>, join: Join, now: Instant) -> Ticket {
        let ticket = self.new_ticket();
        let mut before = None;
        if let Some(member) = self.members.get_mut(id) {
            before = member.joining.replace(ticket);
            member.client_id = join.client_id;
            member.host = join.host;
            member.session_timeout = join.session_timeout;
            member.rebalance_timeout = join.rebalance_timeout;
            member.protocols = join.protocols;
            member.hear(join.connection, now);
        }
        self.answer_join(before, JoinAnswer::refused(ErrorCode::REBALANCE_IN_PROGRESS, id));
        self.recount();
        ticket
    }

    /// A JoinGroup whose caller is gone no longer counts.
    pub fn withdraw_join(&mut self, ticket: Ticket, now: Instant) {
        self.take_joined(ticket);
        for member in self.members.values_mut().filter(|member| member.joining == Some(ticket)) {
            member.joining = None;
            member.expires = now + member.session_timeout;
            member.lose(now);
        }
    }
}
