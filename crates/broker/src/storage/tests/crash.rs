//! Crashes at every write, change of length, sync, rename and removal: what was acknowledged is there,
//! nothing is there by halves, and what a producer sends again is stored once.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::super::write_state::Limits;
use super::super::{OpenError, Retention, Store, open};
use super::model::{Changes, Model, Op};
use super::simulated_disk::{Disk, Image};
use testing::Random;

/// Sets the number of seeds, and makes each try every crash there is.
const LONG_RUN: &str = "STORE_CRASH_SEEDS";

/// So small that most workloads have several segments.
const SEGMENT_BYTES: u64 = 60_000;

/// Opens what is on a disk.
pub fn opened(disk: &Disk) -> Result<open::Opened, OpenError> {
    let limits = Limits { segment_bytes: SEGMENT_BYTES, ..Limits::default() };
    open::open_files(disk.files(), open::Check::Used, limits)
}

pub fn open_disk(disk: &Disk, retention: Retention) -> Result<Store, OpenError> {
    let opened = opened(disk)?;
    Store::start(opened, "the test's disk".into(), retention, Arc::new(|| 0), None)
}

/// A change, and the steps of the disk before it was submitted and when it was acknowledged.
struct Made {
    op: Op,
    submitted: usize,
    acknowledged: usize,
}

/// Changes made to one disk from its opening on.
struct Round {
    disk: Disk,
    /// The content of the store at the start.
    before: Model,
    made: Vec<Made>,
}

/// Opens a store on a disk and makes changes, several at a time, and closes it.
fn round(image: Image, before: Model, changes: &mut Changes, retention: Retention, count: usize) -> Round {
    let disk = Disk::new(image);
    let store = open_disk(&disk, retention).unwrap();
    let mut made = Vec::new();
    while made.len() < count {
        let mut waiting = Vec::new();
        for _ in 0..=changes.random.below(4) {
            let op = changes.next();
            let submitted = disk.steps();
            waiting.push((op.submit(&store), op, submitted));
        }
        for (pending, op, submitted) in waiting {
            let result = pending.wait();
            assert!(result.is_ok(), "{op:?}: {result:?}");
            made.push(Made { op, submitted, acknowledged: disk.steps() });
        }
    }
    // What closing writes can be interrupted too.
    store.close();
    Round { disk, before, made }
}

/// Opens what a crash has left: the store, the model it agrees with and the changes it does not hold.
fn recover(
    round: &Round,
    after: usize,
    random: &mut Random,
    retention: Retention,
) -> (Disk, Store, Model, Vec<Op>) {
    let disk = Disk::new(round.disk.crashed(after, random));
    let store = open_disk(&disk, retention).unwrap_or_else(|error| panic!("after {after} steps: {error}"));
    let mut model = round.before.clone();
    let mut unknown = Vec::new();
    for made in round.made.iter().filter(|made| made.submitted <= after) {
        if made.acknowledged <= after {
            model.apply(&made.op);
        } else {
            unknown.push(made.op.clone());
        }
    }
    let (model, unknown) = agreement(&store, model, unknown)
        .unwrap_or_else(|difference| panic!("after {after} of {} steps: {difference}", round.disk.steps()));
    (disk, store, model, unknown)
}

/// The model after those of the unacknowledged changes that the store holds, and the others. Changes take
/// effect in their order, so those that are there are the first.
pub fn agreement(store: &Store, mut model: Model, mut unknown: Vec<Op>) -> Result<(Model, Vec<Op>), String> {
    let mut differences = Vec::new();
    for held in 0..=unknown.len() {
        match model.difference(store) {
            None => return Ok((model, unknown.split_off(held))),
            Some(difference) => differences.push(difference),
        }
        if let Some(op) = unknown.get(held) {
            model.apply(op);
        }
    }
    Err(differences.join("; or: "))
}

/// Sends again what was not acknowledged, twice each; it is stored once.
pub fn send_again(store: &Store, model: &mut Model, unknown: &[Op]) {
    let mut deleted = Vec::new();
    for op in unknown {
        if let Op::Delete(topic) = op {
            // What follows was meant for the next topic of that name.
            deleted.push(*topic);
        }
        let Op::Append { topic, partition, producer, sequence, .. } = op else { continue };
        if deleted.contains(topic)
            || model.topics.get(topic).is_none_or(|logs| logs.len() <= *partition as usize)
        {
            continue;
        }
        let first = op.submit(store).wait().unwrap();
        assert_eq!(op.submit(store).wait(), Ok(first));
        model.apply(op);
        assert_eq!(model.count(topic, *partition, *producer, *sequence), 1);
    }
    assert_eq!(model.difference(store), None);
}

/// Several rounds on one disk, each ended by a crash, with a look at other moments in which it could have
/// come.
fn run(seed: u64, rounds: usize, looks: Option<usize>, count: usize) {
    let mut changes = Changes::new(seed);
    let mut random = Random::new(!seed);
    let bytes = [None, Some(2000), Some(100_000)][random.below(3)];
    let retention = Retention { age: None, bytes };
    let (mut image, mut held) = (Image::default(), Model::default());
    for _ in 0..rounds {
        let round = round(image, held, &mut changes, retention, count);
        if rounds == 1 {
            let kinds = round.disk.kinds();
            assert!(round.disk.steps() >= 200 && kinds.iter().all(|count| *count > 2), "{kinds:?}");
        }
        let moments: BTreeSet<usize> = match looks {
            Some(looks) => (0..looks).map(|_| random.below(round.disk.steps() + 1)).collect(),
            None => (0..=round.disk.steps()).collect(),
        };
        for after in moments {
            let (_, store, mut model, unknown) = recover(&round, after, &mut random, retention);
            send_again(&store, &mut model, &unknown);
        }
        let after = random.below(round.disk.steps() + 1);
        let (disk, store, mut model, unknown) = recover(&round, after, &mut random, retention);
        if random.below(2) == 0 {
            send_again(&store, &mut model, &unknown);
        }
        store.close();
        image = disk.live();
        changes.resume_from(model.clone());
        held = model;
    }
}

fn with_seed(seed: u64, work: impl FnOnce(u64) + std::panic::UnwindSafe) {
    if let Err(panic) = std::panic::catch_unwind(|| work(seed)) {
        eprintln!("this was seed {seed}");
        std::panic::resume_unwind(panic);
    }
}

#[test]
fn a_crash_at_any_step_of_one_workload_loses_nothing_that_was_acknowledged() {
    with_seed(1, |seed| run(seed, 1, None, 250));
}

#[test]
fn crashes_at_chosen_steps_of_many_workloads_lose_nothing_that_was_acknowledged() {
    let long = std::env::var(LONG_RUN).ok().and_then(|seeds| seeds.parse().ok());
    let next = Arc::new(std::sync::atomic::AtomicU64::new(2));
    let last = long.unwrap_or(250) + 2;
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(2, usize::from) {
            let next = next.clone();
            scope.spawn(move || {
                loop {
                    let seed = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    if seed >= last {
                        return;
                    }
                    with_seed(seed, |seed| run(seed, 3, if long.is_some() { None } else { Some(4) }, 12));
                }
            });
        }
    });
}
