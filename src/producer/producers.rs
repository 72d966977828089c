//! Producers for any topic: one for each, started when it is first needed.

use net::sync::{Mutex, MutexGuard};
use std::sync::{Arc, PoisonError};
use std::time::Instant;

use super::{DeliveryCallback, Limits, Producer, ProducerRecord, ProducerSettings, SubmitError};
use adapter::Endpoint;

/// The most topics besides the channel's own that have a producer at a time. Each has two threads and, while
/// requests stay out for long, up to three more.
const MAX_PRODUCERS: usize = 32;

/// Takes records for any topic. The channel's own topic has the producer that this was made with. The others
/// share limits of their own, `queue_messages` and `queue_bytes` once more, so that they cannot
/// fill the channel's accumulator.
///
/// With too many topics the producer that was not used for longest is closed, if all of its records have
/// their reports.
pub struct Producers {
    own: Producer,
    settings: ProducerSettings,
    endpoint: Endpoint,
    name: String,
    limits: Arc<Limits>,
    state: Mutex<OpenProducers>,
}

#[derive(Default)]
struct OpenProducers {
    /// In the order of their last use.
    producers: Vec<Producer>,
    closing: bool,
}

impl Producers {
    /// Only `own` at first. The others count in its metrics and have its
    /// [`StoreFailureCheck`](super::StoreFailureCheck). Kafka's tools show `name`.
    pub fn new(own: Producer, settings: &ProducerSettings, endpoint: Endpoint, name: &str) -> Producers {
        Producers {
            limits: Limits::of(settings, own.metrics().clone(), own.store_check().clone()),
            own,
            settings: settings.clone(),
            endpoint,
            name: name.to_owned(),
            state: Mutex::default(),
        }
    }

    /// Takes messages for `topic`, which exists, in their order. Each `done` is called exactly once if and
    /// only if its message was taken. Behind the first one for which there is no room none is taken.
    ///
    /// The results are in the order of the messages; see [`SubmitError`] for what they say.
    pub fn submit(
        &self,
        topic: &str,
        messages: Vec<(ProducerRecord, DeliveryCallback)>,
    ) -> Vec<Result<(), SubmitError>> {
        if topic == self.own.topic() {
            return submit_to(&self.own, messages);
        }
        // Under the lock until all are taken, so that no other thread ends the producer meanwhile.
        let mut state = self.lock();
        match self.producer(&mut state, topic) {
            Ok(producer) => submit_to(producer, messages),
            Err(refused) => messages.iter().map(|_| Err(refused)).collect(),
        }
    }

    /// Takes no new message, and finishes the open ones, as [`Producer::close`] does; the channel's own
    /// producer is not closed.
    pub fn close(&self, deadline: Instant) {
        let mut state = self.lock();
        state.closing = true;
        let mut producers = std::mem::take(&mut state.producers);
        drop(state);
        producers.retain(|producer| !producer.retire());
        for producer in producers {
            producer.close(deadline);
        }
    }

    fn producer<'a>(&self, state: &'a mut OpenProducers, topic: &str) -> Result<&'a Producer, SubmitError> {
        if state.closing {
            return Err(SubmitError::Closed);
        }
        let producer = match state.producers.iter().position(|producer| producer.topic() == topic) {
            Some(at) => state.producers.remove(at),
            None => self.start(state, topic)?,
        };
        state.producers.push(producer);
        state.producers.last().ok_or(SubmitError::Closed)
    }

    fn start(&self, state: &mut OpenProducers, topic: &str) -> Result<Producer, SubmitError> {
        if state.producers.len() >= MAX_PRODUCERS {
            let idle = state.producers.iter().position(Producer::retire).ok_or(SubmitError::QueueFull)?;
            let producer = state.producers.remove(idle);
            log::debug!("closing the idle producer of {} to make room for {topic}", producer.topic());
        }
        let started =
            Producer::sharing(&self.settings, topic, self.endpoint.clone(), &self.name, &self.limits);
        started.map_err(|error| {
            log::warn!("topic {topic}: {error}");
            SubmitError::NoThread
        })
    }

    fn lock(&self) -> MutexGuard<'_, OpenProducers> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn submit_to(
    producer: &Producer,
    messages: Vec<(ProducerRecord, DeliveryCallback)>,
) -> Vec<Result<(), SubmitError>> {
    let mut full = None;
    let submit = |(message, done): (ProducerRecord, DeliveryCallback)| {
        let result = full.map_or_else(|| producer.submit(message, done), Err);
        full = result.err().filter(|error| !matches!(error, SubmitError::TooLarge { .. }));
        result
    };
    messages.into_iter().map(submit).collect()
}
