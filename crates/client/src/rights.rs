//! Whether the user has the rights that a program needs, as far as a broker says so without anything being
//! sent or consumed; and refusals for want of a right, each logged once.

use std::time::{Duration, Instant};

use kafka_protocol::messages::FindCoordinatorRequest;
use kafka_protocol::protocol::StrBytes;

use super::LOOK_UPS;
use super::authorization::MissingRight;
use super::error::Error;
use super::fetch::{self, Fetched, Position};
use super::metadata::{Cluster, metadata_request};
use super::producer::new_identity;
use protocol::TopicPartition;
use protocol::error_code::ErrorCode;

/// The most refusals that are kept in mind, so that each is logged once.
const MOST_TOLD: usize = 100;

/// What a program is about to do with topics.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Intent {
    /// The topic that it sends to.
    pub sends_to: Option<String>,
    /// The topics that it consumes, as far as it names them.
    pub consumes: Vec<String>,
    /// The group in which it does.
    pub group: Option<String>,
}

impl Cluster {
    /// The right that `intent` needs and the user does not have; `None` if there is none, or the brokers do
    /// not say within `patience`. Nobody is asked before a broker has answered once.
    pub fn missing_right(&self, intent: &Intent, patience: Duration) -> Option<MissingRight> {
        if self.nodes().is_empty() {
            return None;
        }
        let deadline = Instant::now() + patience;
        let mut connection = self.connect_any(LOOK_UPS, deadline).ok()?;
        let topics: Vec<&str> = intent.sends_to.iter().chain(&intent.consumes).map(String::as_str).collect();
        let answer = connection.call(&metadata_request(Some(&topics)), deadline).ok()?;
        let hidden = |topic: &&str| {
            let mut found = answer.topics.iter();
            let found = found.find(|found| found.name.as_ref().is_some_and(|name| name.as_str() == *topic));
            found.is_some_and(|found| ErrorCode(found.error_code) == ErrorCode::TOPIC_AUTHORIZATION_FAILED)
        };
        if let Some(topic) = topics.iter().find(|topic| hidden(topic)) {
            // Both rights include the one to see it.
            let sends = intent.sends_to.as_deref() == Some(topic);
            return Some(MissingRight::on_topic(if sends { "Write" } else { "Read" }, topic));
        }
        if let Some(topic) = &intent.sends_to {
            // Whoever may write to any topic gets a producer id (KIP-679).
            let answer = connection.call(&new_identity(), deadline).ok()?;
            if ErrorCode(answer.error_code) == ErrorCode::CLUSTER_AUTHORIZATION_FAILED {
                return Some(MissingRight::on_topic("Write", topic));
            }
        }
        let group = intent.group.as_ref()?;
        // Asked for what is not there yet, a broker refuses or sends no record, whether it leads or not.
        let nowhere = |topic: &String| Position::new(&TopicPartition::new(topic.as_str(), 0), i64::MAX, 1);
        let nowhere: Vec<Position> = intent.consumes.iter().map(nowhere).collect();
        if !nowhere.is_empty() {
            fetch::ask(&mut connection, &nowhere, Duration::ZERO).ok()?;
            let fetched = fetch::answer(&mut connection, &nowhere, deadline, &mut || true).ok()?;
            let is_refused = |found: &&Fetched| found.error == ErrorCode::TOPIC_AUTHORIZATION_FAILED;
            if let Some(refused) = fetched.iter().find(is_refused) {
                return Some(MissingRight::on_topic("Read", &refused.topic));
            }
        }
        let request =
            FindCoordinatorRequest::default().with_key(StrBytes::from_string(group.clone())).with_key_type(0);
        let answer = connection.call(&request, deadline).ok()?;
        let refused = ErrorCode(answer.error_code) == ErrorCode::GROUP_AUTHORIZATION_FAILED;
        refused.then(|| MissingRight::on_group("Read", group))
    }

    /// Logs `error`: what a broker refused for good as a warning, once, else for those who look closely.
    pub fn tell_refusal(&self, error: &Error) {
        let is_news = error.is_lasting() && {
            let told = &mut self.known().refusals;
            told.len() < MOST_TOLD && told.insert(error.to_string())
        };
        log::log!(if is_news { log::Level::Warn } else { log::Level::Debug }, "{error}");
    }
}
