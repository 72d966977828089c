//! The queues whose messages the endpoint hands out over HTTP. Each is a member of its group while somebody
//! receives from it.
//!
//! - [`receipt`]: what a worker shows to end a lease
//! - [`collected`]: the outcomes of one request
//! - [`advertised`]: the address that an endpoint tells to the others of a group; [`holders`] looks it up
//! - [`forwarding`]: receipts of other endpoints go to them; [`forward`] is one request

mod advertised;
mod collected;
mod forward;
mod forwarding;
mod holders;
mod receipt;
mod shown;

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use adapter::Endpoint;
use client::Cluster;
use net::sync::{Mutex, Worker, lock};

use crate::config::Settings;
use crate::consumer::leases::{Item, LeaseKey, LeaseLimit, Receiver, Settled};
use crate::consumer::leasing::{GivenBack, LeaseLook, LeaseQueue};
use crate::error::{Error, Result};
use crate::http::{
    Ask, ChangeRequest, LeaseChange, LeasedQueueState, OnChanged, QueueCounts, QueueName, QueueRefusal,
    Queues, ReceiptOutcome, WaitingWorker,
};
use crate::metrics::{LeaseMetrics, LeasedQueues};
use crate::record_json;
use advertised::Told;
use collected::Collected;
use forward::Forward;
use forwarding::{Forwarding, Part};
use holders::Holders;
use receipt::{EndpointId, Receipt, Receipts};

/// The most endpoints and groups of the receipts of one request.
const MOST_HOLDERS: usize = 64;

/// How often it is looked for queues that nobody receives from.
const INTERVAL: Duration = Duration::from_secs(1);

/// The queues of an endpoint. They end when this is dropped.
pub struct LeaseQueues {
    shared: Arc<Shared>,
    forwarding: Forwarding,
    _sweeper: Worker,
}

struct Shared {
    settings: Settings,
    cluster: Cluster,
    endpoint: Endpoint,
    name: String,
    receipts: Receipts,
    /// What the members of its queues tell of this endpoint.
    told: OnceLock<Told>,
    limit: LeaseLimit,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    open: HashMap<QueueName, Open>,
    /// Those that could not go on, until the sweeper has dropped them: they have to leave their groups.
    ended: Vec<Open>,
    /// The number of the last queue that was opened.
    last: u64,
    closing: bool,
}

struct Open {
    queue: Arc<LeaseQueue>,
    number: u64,
    used: Instant,
}

impl LeaseQueues {
    /// The queues of an endpoint that is called `name` in its groups; dead letters go through the adapter at
    /// `endpoint`.
    ///
    /// # Errors
    /// The system gives no thread, or no random bytes.
    pub fn start(
        settings: &Settings,
        cluster: &Cluster,
        endpoint: Endpoint,
        name: &str,
    ) -> Result<LeaseQueues> {
        let shared = Arc::new(Shared {
            settings: settings.clone(),
            cluster: cluster.share(settings.consuming_cluster()),
            endpoint,
            name: name.to_owned(),
            receipts: Receipts::new()?,
            told: OnceLock::new(),
            limit: LeaseLimit::new(settings.queue.max_leases),
            state: Mutex::default(),
        });
        let swept = shared.clone();
        let sweeper = Worker::start("queues", move |stop| {
            while !stop.wait_for(INTERVAL) {
                swept.close_idle();
            }
        });
        let failed = |error| Error::new("the thread of the queues cannot start").caused_by(error);
        let holders = Holders::new(cluster.share(settings.cluster()).quiet());
        let forwarding = Forwarding::new(holders, Forward::new(&settings.producer_api));
        Ok(LeaseQueues { shared, forwarding, _sweeper: sweeper.map_err(failed)? })
    }

    /// Answers those that wait for messages, and lets all queues leave their groups.
    pub fn close(&self) {
        let open = {
            let mut state = lock(&self.shared.state);
            state.closing = true;
            std::mem::take(&mut state.open)
        };
        let queues: Vec<Arc<LeaseQueue>> = open.into_values().map(|open| open.queue).collect();
        queues.iter().for_each(|queue| queue.begin_to_end());
        self.forwarding.close();
    }

    /// The open queues as the page shows them.
    pub fn shown(&self) -> Vec<LeasedQueueState> {
        let looks = self.shared.look(shown::most_leases);
        looks.into_iter().take(shown::MAX_QUEUES).map(|(name, look)| shown::state(name, &look)).collect()
    }

    /// The metrics of the open queues.
    pub fn metrics(&self) -> LeaseMetrics {
        let shared = self.shared.clone();
        LeaseMetrics::new(move || LeasedQueues {
            queues: shared.look(|_| 0).into_iter().map(|(name, look)| shown::metrics(name, look)).collect(),
            queues_limit: shared.settings.queue.max_queues,
            leases: shared.limit.given(),
            leases_limit: shared.limit.most,
        })
    }
}

impl Drop for LeaseQueues {
    fn drop(&mut self) {
        self.close();
    }
}

impl Shared {
    /// The queue of this name, which is opened if it is not.
    fn queue(&self, name: &QueueName) -> Result<(Arc<LeaseQueue>, u64), QueueRefusal> {
        let mut state = lock(&self.state);
        if state.closing {
            return Err(QueueRefusal::Closing);
        }
        if state.open.get(name).is_some_and(|open| open.queue.has_ended()) {
            let ended = state.open.remove(name);
            state.ended.extend(ended);
        }
        if let Some(open) = state.open.get_mut(name) {
            open.used = Instant::now();
            return Ok((open.queue.clone(), open.number));
        }
        if state.open.len() >= self.settings.queue.max_queues {
            return Err(QueueRefusal::TooManyQueues);
        }
        let mut settings = self.settings.queue_settings(&name.topic, &name.group);
        settings.queue.membership.user_data = self.told.get().map(Told::encode).unwrap_or_default();
        let cluster = self.cluster.share(self.settings.consuming_cluster());
        let (endpoint, limit) = (self.endpoint.clone(), self.limit.clone());
        let queue = LeaseQueue::start(&settings, cluster, endpoint, &self.name, limit);
        let queue = Arc::new(queue.map_err(|error| QueueRefusal::Failed(error.to_string()))?);
        state.last += 1;
        let number = state.last;
        log::info!("messages of {} are handed out as {}", name.topic, name.group);
        if self.told.get().is_some_and(|told| told.address.is_none()) {
            log::warn!(
                "no other endpoint of {} can be shown receipts of this one: producer_api.advertised does not say \
                 where it is reached",
                name.group
            );
        }
        state.open.insert(name.clone(), Open { queue: queue.clone(), number, used: Instant::now() });
        Ok((queue, number))
    }

    /// The open queues, each with up to `most` leases for so many queues, in the order of their names. It is
    /// looked at them with the lock held: who had a queue of its own for that might be the last to have it,
    /// and would then wait until it has left its group.
    fn look(&self, most: impl FnOnce(usize) -> usize) -> Vec<(QueueName, LeaseLook)> {
        let state = lock(&self.state);
        let most = most(state.open.len());
        let look = |(name, open): (&QueueName, &Open)| (name.clone(), open.queue.look(most));
        let mut looks: Vec<_> = state.open.iter().map(look).collect();
        drop(state);
        looks.sort_by(|(one, _), (other, _)| (&one.topic, &one.group).cmp(&(&other.topic, &other.group)));
        looks
    }

    /// The open queue of this number, if it is one of this topic, and of this group.
    fn queue_of(&self, number: u64, topic: &str, group: Option<&str>) -> Option<Option<Arc<LeaseQueue>>> {
        let mut state = lock(&self.state);
        let last = state.last;
        let Some((name, open)) = state.open.iter_mut().find(|(_, open)| open.number == number) else {
            // It was closed since.
            return (number <= last).then_some(None);
        };
        if name.topic != topic || group.is_some_and(|group| group != name.group) {
            return None;
        }
        open.used = Instant::now();
        Some(Some(open.queue.clone()))
    }

    fn close_idle(&self) {
        let idle = Duration::from_millis(self.settings.queue.idle_ms);
        let mut state = lock(&self.state);
        let is_idle = |open: &Open| open.used.elapsed() >= idle && open.queue.is_idle();
        let names: Vec<QueueName> =
            state.open.iter().filter(|(_, open)| is_idle(open)).map(|(name, _)| name.clone()).collect();
        let mut closed = std::mem::take(&mut state.ended);
        closed.extend(names.iter().filter_map(|name| state.open.remove(name)));
        drop(state);
        for name in names {
            log::info!("nobody receives messages of {} as {}: the group is left", name.topic, name.group);
        }
        drop(closed);
    }

    /// The message as workers get it, with its receipt.
    fn message(&self, group: &str, number: u64, item: &Item) -> Vec<u8> {
        let mut json = Vec::new();
        let receipt = self.receipts.make(number, group, item.key());
        record_json::write_with(&mut json, ("receipt", &receipt), &item.record());
        json
    }

    /// Sorts receipts by who has to be asked.
    fn sorted(&self, request: &ChangeRequest) -> Sorted {
        let mut sorted = Sorted::default();
        for (index, receipt) in request.receipts.iter().enumerate() {
            let outcome = match self.receipts.read(receipt) {
                Some(Receipt::Own(number, key)) => {
                    match self.queue_of(number, &request.topic, request.group.as_deref()) {
                        Some(Some(queue)) => {
                            let (_, keys) = sorted.own.entry(number).or_insert_with(|| (queue, Vec::new()));
                            keys.push((index, key));
                            ReceiptOutcome::Late
                        }
                        Some(None) => ReceiptOutcome::Late,
                        None => ReceiptOutcome::Unknown,
                    }
                }
                Some(Receipt::Foreign(..)) if request.caller.is_forwarded => ReceiptOutcome::Elsewhere,
                Some(Receipt::Foreign(holder, group)) => sorted.foreign(index, holder, group),
                None => ReceiptOutcome::Unknown,
            };
            sorted.outcomes.push(outcome);
        }
        sorted
    }
}

/// A queue, and leases of it, each with the place of its receipt.
type OfQueue = (Arc<LeaseQueue>, Vec<(usize, LeaseKey)>);

/// The receipts of a request, each with its place, and the outcomes as far as they are known.
#[derive(Default)]
struct Sorted {
    outcomes: Vec<ReceiptOutcome>,
    /// Leases of this endpoint by the number of their queue.
    own: BTreeMap<u64, OfQueue>,
    /// Those of other endpoints.
    others: BTreeMap<(EndpointId, String), Vec<usize>>,
}

impl Sorted {
    /// Notes a receipt of another endpoint; gives its outcome as long as nothing else is known.
    fn foreign(&mut self, index: usize, holder: EndpointId, group: String) -> ReceiptOutcome {
        let holder = (holder, group);
        if self.others.len() >= MOST_HOLDERS && !self.others.contains_key(&holder) {
            let why = format!("a request may have receipts of {MOST_HOLDERS} other endpoints");
            return ReceiptOutcome::Unavailable(why);
        }
        self.others.entry(holder).or_default().push(index);
        ReceiptOutcome::Late
    }

    /// Changes leases of this endpoint in a way that needs no commit.
    fn change_own(&mut self, change: &LeaseChange) {
        for (queue, places) in std::mem::take(&mut self.own).into_values() {
            for (index, key) in places {
                let outcome = outcome_of(changed(&queue, key, change));
                self.outcomes.get_mut(index).into_iter().for_each(|known| *known = outcome.clone());
            }
        }
    }
}

fn outcome_of(settled: Settled) -> ReceiptOutcome {
    match settled {
        Settled::Done => ReceiptOutcome::Done,
        Settled::Late => ReceiptOutcome::Late,
    }
}

/// A worker that waits for messages of a queue.
struct WorkerOf {
    shared: Arc<Shared>,
    group: String,
    /// The number of the queue.
    number: u64,
    worker: Box<dyn WaitingWorker>,
}

impl Receiver for WorkerOf {
    fn has_left(&self) -> bool {
        self.worker.has_left()
    }

    fn give(self: Box<Self>, items: Vec<Item>) -> bool {
        let WorkerOf { shared, group, number, worker } = *self;
        let messages = items.iter().map(|item| shared.message(&group, number, item)).collect();
        worker.answer(Ok(messages))
    }

    fn refuse(self: Box<Self>, why: String) {
        let _ = self.worker.answer(Err(QueueRefusal::Obstacle(why)));
    }
}

impl Queues for LeaseQueues {
    fn listens_at(&self, address: SocketAddr) {
        let address = advertised::address_of(&self.shared.settings.producer_api, address);
        let told = Told { endpoint: self.shared.receipts.endpoint(), address: address.clone() };
        // It is told once.
        let _ = self.shared.told.set(told);
        self.forwarding.set_own_address(address);
    }

    fn is_open(&self, queue: &QueueName) -> bool {
        lock(&self.shared.state).open.contains_key(queue)
    }

    fn receive(&self, name: &QueueName, ask: Ask, worker: Box<dyn WaitingWorker>) {
        let opened = match self.shared.queue(name) {
            Ok(_) if self.shared.limit.left() == 0 => Err(QueueRefusal::TooManyLeases),
            opened => opened,
        };
        match opened {
            Ok((queue, number)) => {
                let (shared, group) = (self.shared.clone(), name.group.clone());
                let worker = Box::new(WorkerOf { shared, group, number, worker });
                queue.receive(ask.max, ask.lease, ask.wait, worker);
            }
            Err(refusal) => _ = worker.answer(Err(refusal)),
        }
    }

    fn change(&self, request: ChangeRequest, reply: OnChanged) {
        let since = Instant::now();
        let mut sorted = self.shared.sorted(&request);
        if !matches!(request.change, LeaseChange::Acknowledge) {
            sorted.change_own(&request.change);
        }
        let Sorted { outcomes, own, others } = sorted;
        let missing = own.len() + others.len();
        if missing == 0 {
            return reply(outcomes);
        }
        let collected = Collected::new(outcomes, missing, reply);
        for (queue, places) in own.into_values() {
            let (places, keys): (Vec<usize>, Vec<LeaseKey>) = places.into_iter().unzip();
            let collected = collected.clone();
            let settled = move |settled: Vec<Settled>| {
                collected.add(&places, settled.into_iter().map(outcome_of).collect());
            };
            queue.acknowledge(&keys, Box::new(settled));
        }
        let request = Arc::new(request);
        for ((holder, group), places) in others {
            let receipts = places.iter().filter_map(|index| request.receipts.get(*index)).cloned().collect();
            let (request, collected) = (request.clone(), collected.clone());
            let reply = Box::new(move |outcomes| collected.add(&places, outcomes));
            self.forwarding.submit(Part { holder, group, receipts, request, since, reply });
        }
    }

    fn counts(&self, queue: &QueueName) -> Option<QueueCounts> {
        let look = lock(&self.shared.state).open.get(queue)?.queue.look(0);
        Some(QueueCounts {
            open: look.queue.open,
            leased: look.queue.leased,
            waiting: look.queue.waiting,
            oldest_seconds: look.queue.oldest_seconds,
            obstacle: look.obstacle,
        })
    }
}

fn changed(queue: &LeaseQueue, key: LeaseKey, change: &LeaseChange) -> Settled {
    match change {
        LeaseChange::Extend(lease) => queue.extend(key, *lease),
        LeaseChange::GiveBack { delay, error, dead } => {
            queue.give_back(key, &GivenBack { delay: *delay, error: error.clone(), dead: *dead })
        }
        LeaseChange::Acknowledge => Settled::Late,
    }
}
