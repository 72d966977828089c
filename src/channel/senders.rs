//! Senders for any topic: one for each that is sent to, started when it is first needed.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::sender::{Done, Outgoing, Room, Sender, SubmitError};
use crate::adapter::Endpoint;
use crate::config::Settings;

/// The most topics besides the channel's own that have a sender at a time. Each has two threads and, while
/// calls stay out for long, up to three more.
const MAX_SENDERS: usize = 32;

/// Takes messages for any topic. The channel's own topic has the sender that this was made with. The others
/// share limits of their own, `producer_api.queue_messages` and `.queue_bytes` once more, so that they cannot
/// fill the channel's queue.
///
/// With too many topics the sender that was not used for longest is ended, if all of its messages have their
/// answers.
pub struct Senders {
    own: Sender,
    settings: Settings,
    endpoint: Endpoint,
    name: String,
    room: Arc<Room>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The one that was used last comes last.
    senders: Vec<Sender>,
    closing: bool,
}

impl Senders {
    /// None but `own` yet, in whose metrics all of them count. `name` is what Kafka's tools show.
    pub fn new(own: Sender, settings: &Settings, endpoint: Endpoint, name: &str) -> Senders {
        Senders {
            room: Room::of(&settings.producer_api, own.metrics().clone()),
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
    pub fn submit(&self, topic: &str, messages: Vec<(Outgoing, Done)>) -> Vec<Result<(), SubmitError>> {
        if topic == self.own.topic() {
            return submit_to(&self.own, messages);
        }
        // Under the lock until all are taken: nobody ends the sender between.
        let mut state = self.lock();
        match self.sender(&mut state, topic) {
            Ok(sender) => submit_to(sender, messages),
            Err(refused) => messages.iter().map(|_| Err(refused)).collect(),
        }
    }

    /// Takes no new message, and finishes the open ones, as [`Sender::close`] does; the channel's own sender
    /// is not closed.
    pub fn close(&self, deadline: Instant) {
        let mut state = self.lock();
        state.closing = true;
        let mut senders = std::mem::take(&mut state.senders);
        drop(state);
        senders.retain(|sender| !sender.retire());
        for sender in senders {
            sender.close(deadline);
        }
    }

    fn sender<'a>(&self, state: &'a mut State, topic: &str) -> Result<&'a Sender, SubmitError> {
        if state.closing {
            return Err(SubmitError::Closed);
        }
        let sender = match state.senders.iter().position(|sender| sender.topic() == topic) {
            Some(at) => state.senders.remove(at),
            None => self.start(state, topic)?,
        };
        state.senders.push(sender);
        state.senders.last().ok_or(SubmitError::Closed)
    }

    fn start(&self, state: &mut State, topic: &str) -> Result<Sender, SubmitError> {
        if state.senders.len() >= MAX_SENDERS {
            let idle = state.senders.iter().position(Sender::retire).ok_or(SubmitError::QueueFull)?;
            let sender = state.senders.remove(idle);
            log::debug!("the sender for {} makes room for that for {topic}", sender.topic());
        }
        let started = Sender::sharing(&self.settings, topic, self.endpoint.clone(), &self.name, &self.room);
        started.map_err(|error| {
            log::warn!("topic {topic}: {error}");
            SubmitError::NoThread
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn submit_to(sender: &Sender, messages: Vec<(Outgoing, Done)>) -> Vec<Result<(), SubmitError>> {
    let mut full = None;
    let submit = |(message, done): (Outgoing, Done)| {
        let result = full.map_or_else(|| sender.submit(message, done), Err);
        full = result.err().filter(|error| !matches!(error, SubmitError::TooLarge { .. }));
        result
    };
    messages.into_iter().map(submit).collect()
}
