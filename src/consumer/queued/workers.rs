//! The workers: each hands messages to its own handler, one after the other or a batch at a time.

use super::item::Item;
use super::shared::Shared;
use crate::consumer::handler::{Failure, Handler};
use crate::dead_letters::Verdict;
use crate::error::Error;

/// Works until the queue is closed. The first worker says that the consumer has joined.
pub fn work(shared: &Shared, index: usize, handler: &mut impl Handler) {
    if index == 0 && !announce(shared, handler) {
        return;
    }
    let most = handler.batch().max(1);
    let (mut done, mut items) = (Vec::with_capacity(most), Vec::with_capacity(most));
    while shared.next(index, &mut done, most, &mut items) {
        let (mut batch, mut letters) = (Vec::with_capacity(items.len()), Vec::new());
        for item in items.drain(..) {
            if item.is_letter() {
                let verdict = shared.verdict_of(&item);
                letters.push((item, verdict));
            } else {
                batch.extend(admit(shared, item, handler, &mut letters));
            }
        }
        handle(shared, batch, handler, &mut done, &mut letters);
        // Storing may take minutes, in which the leases of the others would run out.
        for (item, verdict) in letters {
            shared.done(&mut done);
            if shared.store(&item, &verdict) {
                done.push(item);
            }
        }
    }
}

/// A message that is to be stored as a dead letter, with what that says.
type Letter = (Item, Verdict);

/// Waits until the consumer is a member of its group, and lets the handler say so; false when it stops before.
fn announce(shared: &Shared, handler: &mut impl Handler) -> bool {
    if !shared.wait_until_joined() {
        return false;
    }
    let joined = handler.joined();
    let mut queue = shared.queue();
    match joined {
        Ok(()) => queue.announced = true,
        Err(error) => {
            queue.failure.get_or_insert(error);
            shared.stop.ask();
        }
    }
    shared.wake_all();
    true
}

/// A message that may be handed to the handler; one that is no JSON becomes a dead letter, if it has to be.
fn admit(shared: &Shared, item: Item, handler: &mut impl Handler, letters: &mut Vec<Letter>) -> Option<Item> {
    let Err(cause) = shared.check(&item) else { return Some(item) };
    letters.extend(match handler.not_json(&item.record()) {
        Ok(()) => shared.set_aside(item, cause),
        Err(broken) => shared.not_handled(item, Failure::Broken(broken)),
    });
    None
}

fn handle(
    shared: &Shared,
    batch: Vec<Item>,
    handler: &mut impl Handler,
    done: &mut Vec<Item>,
    letters: &mut Vec<Letter>,
) {
    let mut outcomes = match batch.as_slice() {
        [] => return,
        [item] => vec![handler.handle(&item.record())],
        items => {
            let records: Vec<_> = items.iter().map(|item| item.record()).collect();
            handler.handle_batch(&records)
        }
    };
    outcomes.truncate(batch.len());
    let missing = || Err(Failure::Broken(Error::new("the handler gave no outcome for a message")));
    outcomes.resize_with(batch.len(), missing);
    for (item, outcome) in batch.into_iter().zip(outcomes) {
        match outcome {
            Ok(()) => done.push(item),
            Err(failure) => letters.extend(shared.not_handled(item, failure)),
        }
    }
}
