//! Topics that brokers create for every client that asks for them by name (`auto.create.topics.enable`).

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::LOOK_UPS;
use super::configs;
use super::describe::{Description, TopicDescription};
use super::error::{Error, Result};
use super::metadata::{Cluster, metadata_request};
use net::sync::{Mutex, lock};
use protocol::topic_name;

/// The brokers' configuration that lets every client create topics, and how long its value is believed.
const AUTO_CREATE: &str = "auto.create.topics.enable";
const CONFIG_AGE: Duration = Duration::from_secs(60);
/// How long it is believed that nobody tells it now.
const SILENCE_AGE: Duration = Duration::from_secs(1);
/// The longest wait for that value.
const CONFIG_TIMEOUT: Duration = Duration::from_secs(1);
/// How long brokers have to create a topic where they tell that they do so, and where they tell nothing.
const CREATION_TIMEOUT: Duration = Duration::from_secs(3);
const TRIAL: Duration = Duration::from_millis(500);
/// How often brokers are asked for a topic that they may be creating.
const CREATION_PAUSE: Duration = Duration::from_millis(25);
/// So long a topic that was not created is not asked for again, and so many of them are remembered.
const NOT_CREATED_AGE: Duration = Duration::from_secs(30);
const MOST_NOT_CREATED: usize = 1_024;

/// Asks brokers for topics that are not there, and remembers what they do not create: waiting for each again
/// would hold up the look-ups of others. Two locks, each alone, neither held over I/O.
#[derive(Debug)]
pub struct TopicsOnDemand {
    /// How long brokers have to create a topic where they tell that they do so.
    wait: Duration,
    /// Whether the brokers create topics for every client, if they tell, and until when that is believed.
    creates: Mutex<Option<(Option<bool>, Instant)>>,
    /// The topics that the brokers were asked for and did not create, and when.
    not_created: Mutex<HashMap<String, Instant>>,
}

impl Default for TopicsOnDemand {
    fn default() -> TopicsOnDemand {
        TopicsOnDemand::waiting(CREATION_TIMEOUT)
    }
}

impl TopicsOnDemand {
    /// Brokers that tell that they create topics have so long for each.
    pub fn waiting(wait: Duration) -> TopicsOnDemand {
        TopicsOnDemand { wait, creates: Mutex::default(), not_created: Mutex::default() }
    }

    /// A topic that the cluster was just found not to have, if the brokers create it now.
    ///
    /// # Errors
    /// As [`Cluster::describe_or_create`].
    pub fn find(&self, cluster: &Cluster, name: &str, deadline: Instant) -> Result<Option<TopicDescription>> {
        let lately = lock(&self.not_created).get(name).is_some_and(|at| at.elapsed() < NOT_CREATED_AGE);
        if lately || topic_name::check(name).is_err() {
            return Ok(None);
        }
        let wait = match self.brokers_create(cluster, deadline) {
            Some(true) => self.wait,
            Some(false) => return Ok(None),
            None => TRIAL,
        };
        let found = cluster.describe_or_create(name, wait, deadline)?;
        if found.is_none() {
            let mut not_created = lock(&self.not_created);
            if not_created.len() >= MOST_NOT_CREATED {
                not_created.clear();
            }
            not_created.insert(name.to_owned(), Instant::now());
        }
        Ok(found)
    }

    /// Whether the brokers create topics for every client; `None` where it may not be read: then asking them
    /// for a topic shows it.
    fn brokers_create(&self, cluster: &Cluster, deadline: Instant) -> Option<bool> {
        if let Some((creates, until)) = *lock(&self.creates)
            && Instant::now() < until
        {
            return creates;
        }
        let deadline = deadline.min(Instant::now() + CONFIG_TIMEOUT);
        let node =
            cluster.describe(Some(&[]), deadline).ok().and_then(|found| found.brokers.first().copied());
        let told = node.map(|node| configs::of_broker(cluster, LOOK_UPS, node, AUTO_CREATE, deadline));
        let is_answer =
            told.as_ref().is_some_and(|told| told.as_ref().map_or_else(Error::is_lasting, |_| true));
        let age = if is_answer { CONFIG_AGE } else { SILENCE_AGE };
        let creates = told.and_then(Result::ok).flatten().map(|told| told != "false");
        *lock(&self.creates) = Some((creates, Instant::now() + age));
        creates
    }
}

impl Cluster {
    /// A topic as the cluster describes it now. Where it is not there, the brokers are asked to create it, as
    /// they do for every client if `auto.create.topics.enable` is set; `None` if they do not within `wait`.
    /// (They answer first, and create the topic then.)
    ///
    /// # Errors
    /// No broker answers until `deadline`, the topic has no leaders by then, or the brokers refuse.
    pub fn describe_or_create(
        &self,
        topic: &str,
        wait: Duration,
        deadline: Instant,
    ) -> Result<Option<TopicDescription>> {
        let found = self.describe(Some(&[topic]), deadline)?.topic(topic);
        if !matches!(found, Ok(None)) {
            return found;
        }
        let request = metadata_request(Some(&[topic])).with_allow_auto_topic_creation(true);
        let answer = self.metadata_connection(deadline)?.ask_with(&request, deadline)?;
        let mut found = Description::of(&answer).topic(topic);
        if found.as_ref().is_err_and(Error::is_lasting) {
            return found;
        }
        let limit = deadline.min(Instant::now() + wait);
        let is_whole = |found: &Result<Option<TopicDescription>>| {
            let leads = |topic: &TopicDescription| {
                topic.partitions.iter().all(|partition| partition.leader.is_some())
            };
            found.as_ref().is_ok_and(|topic| topic.as_ref().is_some_and(leads))
        };
        while !is_whole(&found) && Instant::now() < limit && !self.stopping() {
            self.pause(CREATION_PAUSE);
            found = self.describe(Some(&[topic]), deadline)?.topic(topic);
        }
        found
    }
}
