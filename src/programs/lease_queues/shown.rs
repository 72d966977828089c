//! What is shown of the open queues, on the page and by the metrics.

use crate::consumer::leases::Item;
use crate::consumer::leasing::LeaseLook;
use crate::http::{Excerpt, LeaseState, LeasedQueueState, QueueName};
use crate::metrics::LeasedQueue;

/// The largest number of queues that the page shows.
pub const MAX_QUEUES: usize = 100;
/// The largest number of leases that the page lists of a queue, ...
const MAX_LEASES: usize = 20;
/// ... and of all of them, as they go to each viewer with every change.
const MAX_LEASES_IN_ALL: usize = 200;

/// How many leases are listed of each of so many queues.
pub fn most_leases(queues: usize) -> usize {
    (MAX_LEASES_IN_ALL / queues.clamp(1, MAX_QUEUES)).min(MAX_LEASES)
}

/// A queue as the metrics have it.
pub fn metrics(name: QueueName, look: LeaseLook) -> LeasedQueue {
    let LeaseLook { queue: look, receiving, counts, .. } = look;
    LeasedQueue { topic: name.topic, group: name.group, look, receiving, counts }
}

/// A queue as the page shows it.
pub fn state(name: QueueName, look: &LeaseLook) -> LeasedQueueState {
    LeasedQueueState {
        topic: name.topic,
        group: name.group,
        open: look.queue.open,
        leased: look.queue.leased,
        waiting: look.queue.waiting,
        oldest: look.oldest.map(ms),
        receiving: look.receiving,
        obstacle: look.obstacle.clone(),
        leases: look.leases.iter().map(|(until, item)| lease(*until, item)).collect(),
        unlisted: look.given.saturating_sub(look.leases.len()),
    }
}

fn lease(until: u64, item: &Item) -> LeaseState {
    LeaseState {
        partition: item.handed.from.partition,
        offset: item.handed.lease.offset,
        key: item.record.content().key.map(Excerpt::of),
        attempt: item.handed.lease.attempt,
        until: ms(until),
    }
}

fn ms(since_1970: u64) -> i64 {
    i64::try_from(since_1970).unwrap_or(i64::MAX)
}
