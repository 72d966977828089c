//! The thread that keeps the engines in line with what the group member owns, and hands over.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use client::group_member::Member;
use client::group_member::reader::{ReaderPhase, Span, View};
use net::pulse::Pulse;
use protocol::TopicPartition;

use super::OnMember;
use super::clock::millis;
use super::shared::{Queue, Shared};
use crate::consumer::BUSY_GRACE;
use crate::queue::note::Note;
use crate::queue::{Engine, EngineSettings};

/// How often it is looked whether a lease has run out.
const INTERVAL: Duration = Duration::from_millis(500);
/// A message that waits longer than this does not keep its bytes.
const KEEP_WAITING: Duration = Duration::from_secs(10);
/// The most messages of a key that are handed out beyond what is committed: far more than are handled in the
/// time of a commit, and few enough to commit each on its own after a crash.
const BURST: u32 = 256;
/// Of the time that a stop may take, so much is for leaving the group.
const LEAVING: Duration = Duration::from_millis(700);
/// The time for the last commits, after the last message in hand.
const LAST_COMMITS: Duration = Duration::from_secs(2);

/// Why a membership is over.
#[derive(Debug, PartialEq, Eq)]
pub enum End {
    /// The consumer stops.
    Stopped,
    /// The member has left or was put out; another one may begin.
    Left,
}

/// A membership, from the member's start to its end.
pub struct Owner<'a> {
    shared: &'a Arc<Shared>,
    member: &'a Arc<Member>,
    /// The rebalance that is going on: its generation, and when it was seen.
    rebalance: Option<(i32, Instant)>,
    /// When the consumer was asked to stop, or could not work any more.
    leaving: Option<Instant>,
    epoch: u64,
    on_member: &'a OnMember,
    pulse: &'a Pulse,
    /// The id that was told last.
    told: String,
}

impl<'a> Owner<'a> {
    pub fn new(
        shared: &'a Arc<Shared>,
        member: &'a Arc<Member>,
        on_member: &'a OnMember,
        pulse: &'a Pulse,
    ) -> Owner<'a> {
        let told = String::new();
        Owner { shared, member, rebalance: None, leaving: None, epoch: 0, on_member, pulse, told }
    }

    /// Follows the member until it ends, which it does when the consumer stops.
    pub fn run(&mut self) -> End {
        let mut view = self.member.look();
        loop {
            self.pulse.beat();
            if self.shared.has_workers {
                self.shared.end_overdue();
            } else {
                self.shared.answer_acknowledged();
            }
            let stops = self.shared.stop.is_asked();
            let leaves = stops || self.shared.is_stuck();
            if leaves && self.leaving.is_none() {
                self.leaving = Some(Instant::now());
                if stops && self.shared.has_workers {
                    self.tell_what_is_waited_for();
                }
            }
            let is_handed_over = self.follow(&view);
            self.shared.look(&view);
            if let ReaderPhase::Ended(_) = view.phase {
                return if stops { End::Stopped } else { End::Left };
            }
            if let Some(since) = self.leaving {
                let limit = if stops { BUSY_GRACE - LEAVING } else { LAST_COMMITS };
                if is_handed_over || since.elapsed() >= limit {
                    self.leave(stops, is_handed_over);
                }
            } else if let Some((generation, since)) = self.rebalance {
                let late = since.elapsed() >= self.shared.settings.max_processing.mul_f64(0.875);
                if late && !is_handed_over {
                    log::warn!(
                        "{}: the rebalance goes on without the end of what is in hand, which others may get, too",
                        self.shared.name
                    );
                }
                if is_handed_over || late {
                    self.member.handed_over(generation);
                }
            }
            view = self.member.look_after(INTERVAL);
        }
    }

    fn tell_what_is_waited_for(&self) {
        let mut queue = self.shared.queue();
        let count = queue.partitions.leased_count();
        let lease_time = self.shared.settings.max_processing;
        let oldest = queue.oldest_in_hand(self.shared.clock.now(), lease_time);
        drop(queue);
        let Some((age, topic, partition, offset)) = oldest else { return };
        let (patience, age) = ((BUSY_GRACE - LEAVING).as_secs_f32(), age.as_secs_f32());
        let messages = if count == 1 { "message" } else { "messages" };
        log::info!(
            "waiting up to {patience} s for {count} {messages} in hand; the oldest was taken {age:.1} s ago: \
             topic={topic} partition={partition} offset={offset}"
        );
    }

    fn leave(&mut self, stops: bool, is_handed_over: bool) {
        if !is_handed_over && stops {
            log::warn!("stopping without the commit of what is in hand, which may come again");
        }
        if stops {
            self.member.abandon();
        } else {
            self.member.expire();
        }
    }

    /// Brings the engines in line with what the member owns; gives whether all is handed over that has to be.
    fn follow(&mut self, view: &View) -> bool {
        if !view.member_id.is_empty() && view.member_id != self.told {
            (self.on_member)(&view.member_id);
            self.told.clone_from(&view.member_id);
        }
        if view.epoch != self.epoch {
            if self.epoch > 0 {
                self.shared.metrics.rebalanced();
            }
            self.epoch = view.epoch;
        }
        let moves = view.phase == ReaderPhase::Rebalancing || view.has_revoked;
        self.rebalance = match self.rebalance {
            Some((generation, since)) if moves && generation == view.generation => Some((generation, since)),
            _ => moves.then(|| (view.generation, Instant::now())),
        };
        let goes_on = view.phase == ReaderPhase::Stable && self.leaving.is_none();
        let mut queue = self.shared.queue();
        (queue.in_doubt, queue.sure_until) = (view.is_in_doubt, view.sure_until);
        let pauses = queue.breaker.reason().is_some();
        if view.phase == ReaderPhase::Stable && !std::mem::replace(&mut queue.joined, true) {
            // One of those that wait has to say so.
            self.shared.wake_all();
        }
        self.own(&mut queue, &view.spans);
        queue.hands_over = moves || !goes_on;
        let is_without_notes = queue.is_without_notes;
        let mut is_handed_over = true;
        for span in &view.spans {
            let Some((_, from)) = queue.spans.get(&span.partition).copied() else { continue };
            let Some(engine) = queue.partitions.engine_of(from) else { continue };
            engine.set_paused(pauses);
            if goes_on && !span.is_revoked {
                engine.resume();
            } else {
                engine.hand_over();
                let is_idle = is_without_notes && engine.leased_count() == 0;
                is_handed_over &= is_idle || engine.is_handed_over();
            }
        }
        self.shared.commit.notify_one();
        self.shared.wake(&queue, 1);
        is_handed_over
    }

    /// Forgets what is not owned any more, and begins with what is new.
    fn own(&self, queue: &mut Queue, spans: &[Span]) {
        let numbers: BTreeMap<&TopicPartition, u64> =
            spans.iter().map(|span| (&span.partition, span.number)).collect();
        let mut gone = Vec::new();
        queue.spans.retain(|place, (number, from)| {
            let is_owned = numbers.get(place) == Some(number);
            if !is_owned {
                gone.push(*from);
            }
            is_owned
        });
        gone.iter().for_each(|from| queue.partitions.forget(*from));
        let before = queue.spans.len();
        for span in spans {
            let place = &span.partition;
            if !queue.spans.contains_key(place) {
                let engine = self.engine(span, queue.note_limit);
                let ownership = queue.partitions.own(&place.topic, place.partition, engine);
                queue.spans.insert(place.clone(), (span.number, ownership));
            }
        }
        if !gone.is_empty() || queue.spans.len() != before {
            let live: Vec<_> = queue.spans.values().map(|(_, ownership)| *ownership).collect();
            self.shared.retention.keep(queue.partitions.topics());
            queue.histories.keep(|from| live.contains(&from));
            queue.breaker.keep(|key| live.contains(&key.from));
            queue.leases.keep(|from| live.contains(&from));
        }
    }

    fn engine(&self, span: &Span, note_limit: usize) -> Engine<super::item::Payload> {
        let settings = &self.shared.settings;
        let note = Note::read(span.start, &span.metadata).unwrap_or_else(|why| {
            if !span.metadata.is_empty() {
                log::warn!("{}: {why}; what is above offset {} comes again", span.partition, span.start);
            }
            Note::default()
        });
        let engine = EngineSettings {
            owner: self.shared.name.clone(),
            order: settings.queue.order,
            max_attempts: settings.retry.max_attempts,
            lease_time: millis(settings.max_processing),
            keep_waiting: millis(KEEP_WAITING),
            concurrency: self.shared.in_hand,
            note_limit,
            suspects: self.shared.has_workers,
            burst: BURST,
        };
        Engine::new(engine, span.start, note)
    }
}

impl Shared {
    /// Whether every worker is at messages for too long.
    pub fn is_stuck(&self) -> bool {
        self.queue().is_stuck()
    }
}
