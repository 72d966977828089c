//! Whether the user has the rights that a program needs, as far as a broker says so without anything being
//! sent or consumed; and refusals for want of a right, each logged once.

use std::time::{Duration, Instant};

use kafka_protocol::messages::FindCoordinatorRequest;
use kafka_protocol::protocol::StrBytes;

use super::authorization::MissingRight;
use super::error::Error;
use super::fetch::{self, Position};
use super::metadata::{Cluster, metadata_request};
use super::producer::new_identity;
use protocol::error_code::ErrorCode;

/// The client id of the question.
const NAME: &str = "point-to-point";

/// The most refusals that are kept in mind, so that each is logged once.
const MOST_TOLD: usize = 100;

/// What a program is about to do with a topic.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Intent {
    /// The topic.
    pub topic: String,
    /// It sends to it.
    pub sends: bool,
    /// The group in which it consumes it, if it does.
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
        let mut connection = self.connect_any(NAME, deadline).ok()?;
        let answer = connection.call(&metadata_request(Some(&[&intent.topic])), deadline).ok()?;
        let code = answer.topics.first().map(|topic| ErrorCode(topic.error_code))?;
        if code == ErrorCode::TOPIC_AUTHORIZATION_FAILED {
            // Both rights include the one to see it.
            return Some(MissingRight::on_topic(if intent.sends { "Write" } else { "Read" }, &intent.topic));
        }
        if intent.sends {
            // Whoever may write to any topic gets a producer id (KIP-679).
            let answer = connection.call(&new_identity(), deadline).ok()?;
            if ErrorCode(answer.error_code) == ErrorCode::CLUSTER_AUTHORIZATION_FAILED {
                return Some(MissingRight::on_topic("Write", &intent.topic));
            }
        }
        let group = intent.group.as_ref()?;
        // Asked for what is not there yet, a broker refuses or sends no record, whether it leads or not.
        let nowhere = Position { topic: intent.topic.clone(), partition: 0, offset: i64::MAX, max_bytes: 1 };
        fetch::ask(&mut connection, &[nowhere], Duration::ZERO).ok()?;
        let fetched = fetch::answer(&mut connection, deadline, &mut || true).ok()?;
        if fetched.iter().any(|partition| partition.error == ErrorCode::TOPIC_AUTHORIZATION_FAILED) {
            return Some(MissingRight::on_topic("Read", &intent.topic));
        }
        let request =
            FindCoordinatorRequest::default().with_key(StrBytes::from_string(group.clone())).with_key_type(0);
        let answer = connection.call(&request, deadline).ok()?;
        let refused = ErrorCode(answer.error_code) == ErrorCode::GROUP_AUTHORIZATION_FAILED;
        refused.then(|| MissingRight::on_group("Read", group))
    }

    /// Logs `error`: where a right is missing as a warning, once, else for those who look closely.
    pub fn tell_refusal(&self, error: &Error) {
        let is_news = error.code().is_some_and(ErrorCode::is_authorization) && {
            let told = &mut self.known().refusals;
            told.len() < MOST_TOLD && told.insert(error.to_string())
        };
        log::log!(if is_news { log::Level::Warn } else { log::Level::Debug }, "{error}");
    }
}
