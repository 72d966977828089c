//! Handlers of the library, closures and implementations of `Handler`: clones at work on many messages, what
//! they can say of one, and what becomes of one over which they take too long.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use point_to_point::{Channel, ConsumerRecord, Failure, FailureCause, Handler};

use super::scene::{Scene, reason};
use crate::support::{EMBEDDED, NEWEST, PATIENCE, eventually, log, run_on};

run_on! {
    mod kafka_4_3 on NEWEST {
        clones_of_a_closure_work_on_so_many_messages_at_a_time_as_concurrency_says,
        an_implementation_can_say_not_now_never_and_when,
        what_takes_too_long_is_attempted_beside_it_and_its_late_outcome_says_nothing,
        a_worker_held_up_over_many_messages_is_one_and_the_others_go_on,
        where_every_worker_is_held_up_the_consumer_leaves_until_one_is_free,
    }
    mod embedded on EMBEDDED {
        clones_of_a_closure_work_on_so_many_messages_at_a_time_as_concurrency_says,
        an_implementation_can_say_not_now_never_and_when,
        what_takes_too_long_is_attempted_beside_it_and_its_late_outcome_says_nothing,
        a_worker_held_up_over_many_messages_is_one_and_the_others_go_on,
        where_every_worker_is_held_up_the_consumer_leaves_until_one_is_free,
    }
}

/// What handlers have begun and ended, and a gate that they can wait at.
#[derive(Default)]
struct Book {
    pages: Mutex<Pages>,
    changed: Condvar,
}

#[derive(Default)]
struct Pages {
    /// The offset and the attempt of each run, in the order of their beginnings.
    begun: Vec<(i64, u32)>,
    running: usize,
    /// The most that were running at a time.
    most: usize,
    is_open: bool,
}

impl Book {
    fn pages(&self) -> MutexGuard<'_, Pages> {
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A run begins; gives how many have begun at this message.
    fn begin(&self, record: &ConsumerRecord<'_>) -> usize {
        let mut pages = self.pages();
        pages.begun.push((record.offset, record.attempt));
        pages.running += 1;
        pages.most = pages.most.max(pages.running);
        let runs = pages.begun.iter().filter(|(offset, _)| *offset == record.offset).count();
        drop(pages);
        self.changed.notify_all();
        runs
    }

    fn end(&self) {
        self.pages().running -= 1;
    }

    fn wait_until(&self, what: &str, is_so: impl Fn(&Pages) -> bool) {
        let waits = |pages: &mut Pages| !is_so(pages);
        let waited = self.changed.wait_timeout_while(self.pages(), PATIENCE, waits);
        let (pages, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
        drop(pages);
        assert!(!timeout.timed_out(), "not within {PATIENCE:?}: {what}");
    }

    fn open(&self) {
        self.pages().is_open = true;
        self.changed.notify_all();
    }

    fn wait_at_the_gate(&self) {
        self.wait_until("the gate is open", |pages| pages.is_open);
    }

    fn begun(&self) -> Vec<(i64, u32)> {
        self.pages().begun.clone()
    }
}

fn channel(scene: &Scene<'_>, settings: &[(&str, &str)]) -> Channel {
    let builder = Channel::builder().topic(&scene.topic).bootstrap_servers(&scene.kafka.bootstrap());
    let builder = builder.set("retry.initial_backoff_ms", "20");
    settings.iter().fold(builder, |builder, (key, value)| builder.set(key, value)).open().expect("a channel")
}

/// Nobody's first message of four ends before all have begun.
fn clones_of_a_closure_work_on_so_many_messages_at_a_time_as_concurrency_says(version: &'static str) {
    let scene = Scene::new(version, 2);
    for number in 0..20 {
        scene.put(number % 2, Some(&format!("key{}", number % 10)), &number.to_string());
    }
    let book = Arc::new(Book::default());
    // Each clone has a count of its own.
    let (pages, mut mine) = (book.clone(), 0_u64);
    let handler = move |record: &ConsumerRecord<'_>| {
        mine += 1;
        pages.begin(record);
        pages.wait_until("four have begun", |pages| pages.begun.len() >= 4);
        pages.end();
        if mine > 20 { Err("more than there are") } else { Ok(()) }
    };
    let channel = channel(&scene, &[("consumer.concurrency", "4")]);
    let consumer = channel.consumer(&scene.group).start_concurrently(handler).expect("a consumer");
    scene.wait_for_commits();
    consumer.stop().expect("a clean stop");
    assert_eq!(book.pages().most, 4);
    let mut begun = book.begun();
    begun.sort_unstable();
    assert_eq!(begun, (0..20).map(|number| (number / 2, 1)).collect::<Vec<_>>(), "each once");
    assert_eq!(scene.commit(), Some((10, "q1 clean".to_owned())));
}

/// The waits that a handler asks for; those of the settings are longer than the test.
const SHORT: Duration = Duration::from_millis(20);

/// Says of each message what its offset asks for.
#[derive(Clone)]
struct Shop(Arc<Book>);

impl Handler for Shop {
    fn handle(&mut self, record: &ConsumerRecord<'_>) -> Result<(), Failure> {
        let runs = self.0.begin(record);
        self.0.end();
        let cause = |why| FailureCause::of(&why);
        match (record.offset, runs) {
            (0, ..=5) => Err(Failure::TryLater { cause: cause("it is closed"), wait: Some(SHORT) }),
            (1, _) => Err(Failure::Dead(cause("nobody sells that"))),
            (2, 1) => Err(Failure::FailedFor { cause: cause("sold out"), wait: SHORT }),
            _ => Ok(()),
        }
    }
}

fn an_implementation_can_say_not_now_never_and_when(version: &'static str) {
    let scene = Scene::new(version, 1);
    for number in 0..4 {
        scene.put(0, Some(&format!("key{number}")), &number.to_string());
    }
    let book = Arc::new(Book::default());
    let long = [("retry.initial_backoff_ms", "600000"), ("retry.max_backoff_ms", "600000")];
    let settings = [long[0], long[1], ("retry.max_attempts", "2"), ("consumer.concurrency", "4")];
    let channel = channel(&scene, &settings);
    let shop = Shop(book.clone());
    let consumer = channel.consumer(&scene.group).start_concurrently(shop).expect("a consumer");
    scene.wait_for_commits();
    consumer.stop().expect("a clean stop");
    let begun = book.begun();
    let at = |offset| begun.iter().filter(move |(at, _)| *at == offset).map(|(_, attempt)| *attempt);
    assert!(at(0).eq([1; 6]), "not now costs no attempt: {begun:?}");
    assert!(at(1).eq([1]) && at(2).eq([1, 2]) && at(3).eq([1]), "{begun:?}");
    let letters = scene.dead_letters();
    assert_eq!(letters.iter().map(reason).collect::<Vec<_>>(), ["nobody sells that"]);
}

/// The shortest `consumer.max_processing_ms`.
const TOO_LONG_MS: (&str, &str) = ("consumer.max_processing_ms", "1000");

/// A closure that waits at the gate with its first attempt at the first message, and then fails or does not.
fn held(book: Arc<Book>, fails: bool) -> impl FnMut(&ConsumerRecord<'_>) -> Result<(), &'static str> + Clone {
    move |record| {
        let is_first = (record.partition, record.offset, book.begin(record)) == (0, 0, 1);
        if is_first {
            book.wait_at_the_gate();
        }
        book.end();
        if is_first && fails { Err("too late anyway") } else { Ok(()) }
    }
}

fn what_takes_too_long_is_attempted_beside_it_and_its_late_outcome_says_nothing(version: &'static str) {
    log::keep();
    for (fails, told) in [(false, "handled too late"), (true, "took too long has failed")] {
        let scene = Scene::new(version, 1);
        for key in ["k", "k", "other"] {
            scene.put(0, Some(key), "1");
        }
        let book = Arc::new(Book::default());
        let channel = channel(&scene, &[("consumer.concurrency", "2"), TOO_LONG_MS]);
        let consumer = channel.consumer(&scene.group).start_concurrently(held(book.clone(), fails));
        let consumer = consumer.expect("a consumer");
        // The second attempt is done while the first one goes on.
        scene.wait_for_commits();
        let of_key = |begun: &[(i64, u32)]| -> Vec<_> {
            begun.iter().copied().filter(|(offset, _)| *offset != 2).collect()
        };
        assert_eq!(of_key(&book.begun()), [(0, 1), (0, 2), (1, 1)]);
        let place = format!("topic={} partition=0 offset=0", scene.topic);
        log::wait_for(&["took longer than max_processing_ms (1000 ms)", &place]);
        book.open();
        log::wait_for(&[told, &place]);
        scene.put(0, Some("k"), "1");
        scene.wait_for_commits();
        consumer.stop().expect("a clean stop");
        assert_eq!(of_key(&book.begun()), [(0, 1), (0, 2), (1, 1), (3, 1)]);
        assert_eq!(scene.commit(), Some((4, "q1 clean".to_owned())));
        assert!(scene.dead_places().is_empty());
    }
}

/// Takes several messages at a time, and waits at the gate with the first ones.
#[derive(Clone)]
struct Batches(Arc<Book>);

impl Handler for Batches {
    fn batch(&self) -> usize {
        4
    }

    fn handle(&mut self, record: &ConsumerRecord<'_>) -> Result<(), Failure> {
        self.handle_batch(std::slice::from_ref(record)).pop().unwrap_or(Ok(()))
    }

    fn handle_batch(&mut self, records: &[ConsumerRecord<'_>]) -> Vec<Result<(), Failure>> {
        let runs: Vec<usize> = records.iter().map(|record| self.0.begin(record)).collect();
        if records[0].offset == 0 && runs[0] == 1 {
            self.0.wait_at_the_gate();
        }
        records.iter().for_each(|_| self.0.end());
        records.iter().map(|_| Ok(())).collect()
    }
}

fn a_worker_held_up_over_many_messages_is_one_and_the_others_go_on(version: &'static str) {
    let scene = Scene::new(version, 1);
    for number in 0..8 {
        scene.put(0, None, &number.to_string());
    }
    let book = Arc::new(Book::default());
    let channel = channel(&scene, &[("consumer.concurrency", "2"), TOO_LONG_MS]);
    let consumer = channel.consumer(&scene.group).name("one").start_concurrently(Batches(book.clone()));
    let consumer = consumer.expect("a consumer");
    scene.wait_for_commits();
    scene.put(0, None, "8");
    scene.wait_for_commits();
    assert!(!book.pages().is_open && book.begun().contains(&(0, 2)), "{:?}", book.begun());
    assert_eq!(scene.kafka.assistant().group(&scene.group).names(), ["one"]);
    book.open();
    consumer.stop().expect("a clean stop");
    assert_eq!(scene.commit(), Some((9, "q1 clean".to_owned())));
}

fn where_every_worker_is_held_up_the_consumer_leaves_until_one_is_free(version: &'static str) {
    log::keep();
    let scene = Scene::new(version, 2);
    scene.put(0, None, "1");
    let book = Arc::new(Book::default());
    let channel = channel(&scene, &[TOO_LONG_MS]);
    let consumer = channel.consumer(&scene.group).name("held").start(held(book.clone(), false));
    let consumer = consumer.expect("a consumer");
    book.wait_until("it has begun", |pages| !pages.begun.is_empty());
    let members = || scene.kafka.assistant().group(&scene.group);
    eventually("it has left", PATIENCE, || members().names().is_empty().then_some(()));
    let (next, note) = scene.commit().expect("a commit");
    assert!(next == 0 && note.starts_with("q1 clean attempts=1@"), "{next} {note}");

    let mut other = scene.named("consumer2", "begin $1").start();
    scene.wait_for_commits();
    assert_eq!(scene.begun(), [(0, 2)], "the attempt that took too long has counted");
    assert_eq!(members().names(), ["consumer2"]);
    book.open();
    log::wait_for(&["handled too late", &format!("topic={} partition=0 offset=0", scene.topic)]);
    scene.kafka.assistant().wait_for_members(&scene.group, &["consumer2", "held"], 1);
    assert_eq!(scene.committed().get(&0), Some(&1));
    for partition in 0..2 {
        scene.put(partition, None, "2");
    }
    scene.wait_for_commits();
    consumer.stop().expect("a clean stop");
    other.stop();
    assert_eq!((book.begun().len(), scene.begun().len()), (2, 2), "each has handled one of the last two");
    assert!(scene.dead_places().is_empty());
}
