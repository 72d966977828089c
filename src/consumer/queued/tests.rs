//! What the queue makes of outcomes, without a group: one partition, whose messages are handed out by hand.

use std::time::Duration;

use adapter::Endpoint;
use client::group_member::RecordSink;
use client::group_member::reader::OwnedRecord;
use net::stop::Stop;
use protocol::TopicPartition;
use protocol::records::Record;

use super::breaker::Why;
use super::item::Item;
use super::shared::Shared;
use super::standing::Standing;
use crate::config::Settings;
use crate::consumer::handler::{Failure, FailureCause};
use crate::dead_letters::DeadLetterStore;
use crate::metrics::{ConsumerMetrics, Exposition};
use crate::queue::note::Note;
use crate::queue::partitions::Ownership;
use crate::queue::{Engine, EngineSettings, Order};
use crate::record::Headers;

struct Place {
    shared: Shared,
    from: Ownership,
    metrics: ConsumerMetrics,
}

impl Place {
    /// A partition with so many messages, all of which may be handed out.
    fn new(circuit_failures: u32, lease_time: u64, messages: i64) -> Place {
        let mut settings = Settings::default().consumer_settings();
        settings.queue.circuit_failures = circuit_failures;
        settings.retry.initial_backoff = Duration::ZERO;
        let (stop, metrics) = (Stop::new(), ConsumerMetrics::default());
        let nobody = Endpoint::from_line("127.0.0.1:1 ").unwrap();
        let letters = DeadLetterStore::new(&settings.dead_letters, nobody, "c", stop.clone());
        let told = (metrics.clone(), Standing::default());
        let shared = Shared::new("c", &settings, (8, 8), letters, stop, told, None);
        let engine = EngineSettings {
            owner: "c".to_owned(),
            order: Order::Key,
            max_attempts: settings.retry.max_attempts,
            lease_time,
            keep_waiting: 10_000,
            concurrency: 8,
            note_limit: super::NOTE_LIMIT,
            suspects: true,
            burst: 256,
        };
        let mut queue = shared.queue();
        let from = queue.partitions.own("t", 0, Engine::new(engine, 0, Note::default()));
        let partition = TopicPartition::new("t", 0);
        queue.spans.insert(partition.clone(), (1, from));
        queue.announced = true;
        drop(queue);
        let record = |offset| {
            let (key, value, headers) = (None, Some(&b"1"[..]), Headers::default());
            OwnedRecord::of(&Record { offset, timestamp: 0, key, value, headers })
        };
        shared.take(&partition, 1, (0..messages).map(record).collect(), messages);
        let place = Place { shared, from, metrics };
        place.commit();
        place
    }

    fn commit(&self) {
        let mut queue = self.shared.queue();
        assert_eq!(queue.partitions.commits(self.shared.clock.now(), |_| true).len(), 1);
        queue.partitions.engine_of(self.from).unwrap().committed();
    }

    /// Waits for up to so many messages.
    fn next(&self, max: usize) -> Vec<Item> {
        let mut items = Vec::new();
        assert!(self.shared.next(0, &mut Vec::new(), max, &mut items));
        items
    }

    fn fails(&self, item: Item, failure: fn(FailureCause) -> Failure) {
        assert!(self.shared.not_handled(item, failure(FailureCause::of(&"down"))).is_none());
    }

    /// The attempts that are counted of each open message.
    fn attempts(&self) -> Vec<u32> {
        let mut queue = self.shared.queue();
        queue.partitions.engine_of(self.from).unwrap().open().map(|message| message.attempts).collect()
    }

    fn why(&self) -> Option<Why> {
        self.shared.queue().breaker.why()
    }

    /// The attempts that failed, and the messages that came back with these outcomes, as the metrics tell.
    fn counted<const N: usize>(&self, outcomes: [&str; N]) -> (u64, [u64; N]) {
        let text = Exposition::of(&[&self.metrics]).text().unwrap();
        let value = |name: &str| {
            let name = format!("point_to_point_consumer_{name} ");
            text.lines().find_map(|line| line.strip_prefix(&name)?.parse().ok()).unwrap_or(0)
        };
        let outcome = |outcome| value(&format!("outcomes_total{{outcome=\"{outcome}\"}}"));
        (value("attempts_failed_total"), outcomes.map(outcome))
    }
}

#[test]
fn in_a_pause_for_failures_they_cost_no_attempt_and_a_death_does() {
    let place = Place::new(2, 60_000, 4);
    let [first, second, third, fourth] = place.next(8).try_into().unwrap();
    place.fails(first, Failure::Failed);
    assert_eq!(place.why(), None);
    place.fails(second, Failure::Failed);
    assert_eq!(place.why(), Some(Why::Failures));
    // These were in hand.
    place.fails(third, |cause| Failure::FailedFor { cause, wait: Duration::ZERO });
    place.fails(fourth, Failure::WorkerDied);
    assert_eq!(place.attempts(), [1, 1, 0, 1]);
    place.commit();
    let counted = || place.counted(["failed", "later", "worker_died"]);
    assert_eq!(counted(), (3, [2, 1, 1]));
    // A cut-off try says nothing: the next one follows at once, and takes the next message.
    for offset in [0, 1, 2, 3, 0] {
        let [tried] = place.next(8).try_into().unwrap();
        assert_eq!((tried.handed.lease.offset, place.shared.queue().breaker.due()), (offset, None));
        assert!(place.shared.not_handled(tried, Failure::Interrupted).is_none());
    }
    let [tried] = place.next(8).try_into().unwrap();
    let due = place.shared.clock.now();
    place.fails(tried, Failure::Failed);
    assert!(place.shared.queue().breaker.due().unwrap() > due);
    assert_eq!((place.attempts(), counted()), (vec![1, 1, 0, 1], (3, [2, 2, 1])));
    let [tried] = place.next(8).try_into().unwrap();
    place.shared.done(&mut vec![tried]);
    assert_eq!((place.why(), place.attempts().len()), (None, 3));
}

#[test]
fn what_took_too_long_is_counted_once() {
    let place = Place::new(2, 0, 2);
    let [late] = place.next(1).try_into().unwrap();
    place.shared.end_overdue();
    place.fails(late, Failure::Failed);
    assert_eq!((place.counted(["failed", "handled"]), place.why()), ((1, [1, 0]), None));
    let [late] = place.next(1).try_into().unwrap();
    assert_eq!(late.handed.lease.offset, 1, "the attempt before is not committed");
    place.shared.end_overdue();
    assert_eq!((place.counted(["failed"]), place.why()), ((2, [2]), Some(Why::Failures)));
    place.shared.done(&mut vec![late]);
    assert_eq!(place.counted(["failed", "handled"]), (2, [2, 0]));
    assert_eq!(place.why(), None, "what it needs is there");
    assert!(place.shared.queue().stuck.is_empty());
}
