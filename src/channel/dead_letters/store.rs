//! Storing dead letters, one at a time: each is acknowledged before the next one comes.

use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use super::{
    CONSUMER_GROUP, EXCEPTION_FQCN, EXCEPTION_MESSAGE, ORIGINAL_OFFSET, ORIGINAL_PARTITION,
    ORIGINAL_TIMESTAMP, ORIGINAL_TOPIC,
};
use crate::adapter::Endpoint;
use crate::channel::handler::Cause;
use crate::channel::puller::Received;
use crate::channel::sender::{Delivery, Outgoing, Place, Sender};
use crate::config::Settings;
use crate::error::Result;
use crate::stop::Stop;

/// The bytes of an error's message that are kept.
const LONGEST_MESSAGE: usize = 1_000;

/// The wait after the first failure to store a dead letter; doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// A try has so long at least: the sender gives up at once what has less than three seconds.
const SHORTEST_TRY: Duration = Duration::from_secs(5);
/// A try has so much longer than the cluster's delivery timeout, which settles whether it is stored.
const MARGIN: Duration = Duration::from_secs(5);
/// When stop is asked, a try has so long left.
const STOP_PATIENCE: Duration = Duration::from_secs(3);
/// A try that takes longer than this is told.
const SILENCE: Duration = Duration::from_secs(2);
/// It is looked so often meanwhile whether stop is asked.
const LOOK: Duration = Duration::from_millis(50);

/// Stores dead letters and waits for each until it is acknowledged.
pub struct DeadLetters {
    settings: Settings,
    endpoint: Endpoint,
    name: String,
    topic: String,
    stop: Stop,
    /// Made for the first dead letter.
    sender: Option<Sender>,
}

impl DeadLetters {
    /// Those of the topic in `settings`. Their topic is made with the first of them, if it is to be made at
    /// all (`kafka.create_topic`). `name` is what Kafka's tools show.
    pub fn new(settings: &Settings, endpoint: Endpoint, name: &str, stop: Stop) -> DeadLetters {
        DeadLetters {
            topic: settings.kafka.dead_letter_topic(),
            settings: settings.clone(),
            endpoint,
            name: name.to_owned(),
            stop,
            sender: None,
        }
    }

    /// Stores a message as a dead letter: tries until it is acknowledged by all in-sync replicas, `deadline`
    /// has come or stop is asked; a last try may take a few seconds more. True only if it is stored. After a
    /// try without an answer it may be stored twice.
    pub fn store(&mut self, message: &Received<'_>, cause: &Cause, deadline: Instant) -> bool {
        let mut pause = FIRST_PAUSE;
        loop {
            let reason = match self.attempt(message, cause, deadline) {
                Ok(Delivery::Stored { topic, partition, offset }) => {
                    log::error!(
                        "dead letter: {message} is now at offset {offset} of {topic}-{partition}: {cause}"
                    );
                    return true;
                }
                Ok(Delivery::NotStored { code: "too_large", reason, .. }) => {
                    format!("{reason}: raise its max.message.bytes")
                }
                Ok(Delivery::NotStored { reason, .. }) => reason,
                Ok(Delivery::Unknown { reason }) => format!("whether it is stored is unknown: {reason}"),
                Err(error) => error.to_string(),
            };
            let failed =
                format!("no dead letter yet: {message} cannot be stored in {}: {reason}", self.topic);
            if self.stop.is_asked() || Instant::now() + pause >= deadline {
                log::error!("{failed}; it is not committed and comes again");
                return false;
            }
            log::error!("{failed}; trying again in {} ms", pause.as_millis());
            self.stop.wait_for(pause);
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// One try, until its outcome is known or its time is up.
    fn attempt(&mut self, message: &Received<'_>, cause: &Cause, deadline: Instant) -> Result<Delivery> {
        let sender = self.sender()?;
        let (tell, told) = mpsc::channel();
        let now = Instant::now();
        let longest = self.settings.kafka.delivery_timeout() + MARGIN;
        let deadline = deadline.clamp(now + SHORTEST_TRY, now + longest);
        let letter = self.letter(message, cause, deadline);
        let not_stored = |reason| Delivery::NotStored { code: "refused", reason, retry: true };
        if let Err(refused) = sender.submit(letter, Box::new(move |delivery| drop(tell.send(delivery)))) {
            return Ok(not_stored(refused.to_string()));
        }
        Ok(self.outcome(message, &told))
    }

    /// Waits for what becomes of a message; the sender says so by its deadline.
    fn outcome(&self, message: &Received<'_>, told: &mpsc::Receiver<Delivery>) -> Delivery {
        let began = Instant::now();
        let (mut said, mut end) = (false, None);
        loop {
            match told.recv_timeout(LOOK) {
                Ok(delivery) => return delivery,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return unknown("the sender is gone"),
            }
            let now = Instant::now();
            if self.stop.is_asked() && now >= *end.get_or_insert(now + STOP_PATIENCE) {
                return unknown("the program is stopping");
            }
            if now - began >= SILENCE && !std::mem::replace(&mut said, true) {
                log::warn!("no dead letter yet: {message} waits for {}", self.topic);
            }
        }
    }

    fn sender(&mut self) -> Result<Sender> {
        if let Some(sender) = &self.sender {
            return Ok(sender.clone());
        }
        let sender = Sender::unlimited(&self.settings, &self.topic, self.endpoint.clone(), &self.name)?;
        Ok(self.sender.insert(sender).clone())
    }

    /// The message with its own key, value and headers, and those that say what happened. It goes to the
    /// partition with the same number; where there is none, its key decides.
    fn letter(&self, message: &Received<'_>, cause: &Cause, deadline: Instant) -> Outgoing {
        let own = message.headers.iter();
        let mut headers: Vec<_> =
            own.map(|(name, value)| (name.into_owned(), value.map(<[u8]>::to_vec))).collect();
        let mut add = |name: &str, value: &[u8]| headers.push((name.to_owned(), Some(value.to_vec())));
        add(ORIGINAL_TOPIC, message.topic.as_bytes());
        add(ORIGINAL_PARTITION, &message.partition.to_be_bytes());
        add(ORIGINAL_OFFSET, &message.offset.to_be_bytes());
        if let Some(timestamp) = message.timestamp {
            add(ORIGINAL_TIMESTAMP, &timestamp.to_be_bytes());
        }
        add(CONSUMER_GROUP, self.settings.consumer.group().as_bytes());
        add(EXCEPTION_FQCN, cause.kind.as_bytes());
        add(EXCEPTION_MESSAGE, beginning(&cause.message, LONGEST_MESSAGE).as_bytes());
        Outgoing {
            key: message.key.map(<[u8]>::to_vec),
            value: message.value.map(<[u8]>::to_vec),
            headers,
            timestamp: None,
            place: Place::Rather(message.partition),
            deadline,
            request: None,
        }
    }
}

impl Drop for DeadLetters {
    fn drop(&mut self) {
        if let Some(sender) = &self.sender {
            sender.close(Instant::now());
        }
    }
}

fn unknown(reason: &str) -> Delivery {
    Delivery::Unknown { reason: reason.to_owned() }
}

/// The text's beginning, of so many bytes at most.
fn beginning(text: &str, bytes: usize) -> &str {
    let end = (0..=bytes.min(text.len())).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    text.get(..end).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_message_is_cut_between_characters() {
        assert_eq!(beginning("señal", 3), "se");
        assert_eq!(beginning("señal", 4), "señ");
        assert_eq!(beginning("señal", 100), "señal");
        assert_eq!(beginning("", 5), "");
    }
}
