//! The Kafka REST API, version 2, as far as REST proxies agree about it: records for any topic, and what
//! topics and brokers there are.
//!
//! [`records`] reads a body in one of the [`media`] types; [`produce`] submits the records and answers when
//! the fate of each is known; [`metadata`] answers questions about the cluster. Nothing here waits: what has
//! to be asked of the cluster goes to [`super::look_ups`], and the answer comes by ticket.

mod media;
mod metadata;
mod produce;
mod records;

use std::sync::Arc;
use std::time::{Duration, Instant};

use tiny_http::Request;

use super::SubmitTo;
use super::answer::Answer;
use super::look_ups::{LookUps, Question};
use super::query;
use super::routes::Reply;
use super::tickets::Ticket;
use crate::channel::sender::Outgoing;
use crate::protocol::topic_name;
use media::Format;

/// The longest wait for what the cluster knows of a topic; half of the time for an answer, if that is less.
const LOOK_UP: Duration = Duration::from_secs(5);

/// A place of this API. Topic and partition are as they stand in the path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place<'a> {
    /// `/topics`
    Topics,
    /// `/topics/{topic}`
    Topic(&'a str),
    /// `/topics/{topic}/partitions`
    Partitions(&'a str),
    /// `/topics/{topic}/partitions/{partition}`
    Partition(&'a str, &'a str),
    /// `/brokers`
    Brokers,
}

impl<'a> Place<'a> {
    /// What is at a path.
    pub(super) fn at(path: &'a str) -> Option<Place<'a>> {
        let mut steps = path.strip_prefix('/')?.split('/');
        let place = match (steps.next()?, steps.next(), steps.next(), steps.next()) {
            ("brokers", None, None, None) => Place::Brokers,
            ("topics", None, None, None) => Place::Topics,
            ("topics", Some(topic), None, None) => Place::Topic(topic),
            ("topics", Some(topic), Some("partitions"), None) => Place::Partitions(topic),
            ("topics", Some(topic), Some("partitions"), Some(number)) => Place::Partition(topic, number),
            _ => return None,
        };
        let named = !matches!(place, Place::Topic("") | Place::Partitions("") | Place::Partition("", _));
        (named && steps.next().is_none()).then_some(place)
    }

    /// Its path, with a name in braces for each part that clients choose.
    pub(super) fn template(self) -> &'static str {
        match self {
            Place::Topics => "/topics",
            Place::Topic(_) => "/topics/{topic}",
            Place::Partitions(_) => "/topics/{topic}/partitions",
            Place::Partition(..) => "/topics/{topic}/partitions/{partition}",
            Place::Brokers => "/brokers",
        }
    }

    /// The methods that it takes, as `Allow` lists them.
    pub(super) fn methods(self) -> &'static str {
        match self {
            Place::Topic(_) | Place::Partition(..) => "GET, HEAD, POST",
            Place::Topics | Place::Partitions(_) | Place::Brokers => "GET, HEAD",
        }
    }
}

/// What the API works with.
pub(super) struct Rest {
    /// Takes records.
    pub(super) topics: Arc<dyn SubmitTo>,
    /// Knows the cluster.
    pub(super) look_ups: Arc<LookUps>,
    /// How long an answer may take.
    pub(super) answer_timeout: Duration,
}

/// Where records go, as far as the head of their request says it.
pub(super) struct Target {
    topic: String,
    partition: Option<i32>,
    format: Format,
}

impl Target {
    /// Where the records of a request to `place` go.
    ///
    /// # Errors
    /// The answer to a request that can have none.
    pub(super) fn of(request: &Request, place: Place<'_>) -> Result<Target, Answer> {
        let (topic, partition) = match place {
            Place::Topic(topic) => (topic, None),
            Place::Partition(topic, number) => (topic, Some(number)),
            other => return Err(Answer::method_not_allowed(other.methods())),
        };
        let checked = || {
            let format = media::format_of(request).ok_or_else(media::unsupported)?;
            let partition = partition.map(partition_number).transpose()?;
            Ok(Target { topic: topic_called(topic)?, partition, format })
        };
        checked().map_err(Answer::for_kafka)
    }
}

impl Rest {
    /// Answers a question, or sees to it that its ticket will be filled in.
    pub(super) fn get(&self, place: Place<'_>, ticket: Ticket) -> Reply {
        let asked = metadata::question(place).and_then(|(question, show)| {
            let then = Box::new(move |found| ticket.answer(metadata::answer(found, show).for_kafka()));
            self.look_ups.ask(question, 0, self.look_up_deadline(), then).map_err(|_| busy())
        });
        Reply::later(asked.map_err(Answer::for_kafka))
    }

    /// Takes the records in `body`, whose fate is to be known by `deadline`; the ticket will be filled in, unless
    /// there is an answer at once.
    pub(super) fn post(&self, target: Target, body: &[u8], deadline: Instant, ticket: Ticket) -> Reply {
        let Target { topic, partition, format } = target;
        let taken = records::read(body, format, partition, deadline).and_then(|records| {
            let weight = records.iter().map(Outgoing::bytes).sum();
            let topics = Arc::clone(&self.topics);
            let question = Question::Topic(topic.clone());
            let then = Box::new(move |found| {
                produce::produce(found, topics.as_ref(), &topic, partition, records, ticket);
            });
            let by = self.look_up_deadline().min(deadline);
            self.look_ups.ask(question, weight, by, then).map_err(|_| busy())
        });
        Reply::later(taken.map_err(Answer::for_kafka))
    }

    fn look_up_deadline(&self) -> Instant {
        Instant::now() + LOOK_UP.min(self.answer_timeout / 2)
    }
}

fn busy() -> Answer {
    Answer::error(503, "queue_full", "Too many requests wait for the cluster; nothing was stored.")
}

/// The topic that a part of a path names.
fn topic_called(part: &str) -> Result<String, Answer> {
    let name = query::part(part).ok_or_else(|| {
        Answer::error(400, "bad_path", "The topic is not percent-encoded UTF-8 (RFC 3986 §2.1).")
    })?;
    topic_name::check(&name).map_err(|why| no_topic(&format!("There cannot be such a topic: {why}.")))?;
    Ok(name)
}

/// The partition that a part of a path names.
fn partition_number(part: &str) -> Result<i32, Answer> {
    let digits = !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    part.parse().ok().filter(|_| digits).ok_or_else(no_partition)
}

fn no_topic(sentence: &str) -> Answer {
    Answer::error_numbered(404, 40401, "topic_not_found", sentence)
}

fn no_partition() -> Answer {
    Answer::error_numbered(
        404,
        NO_PARTITION,
        "partition_not_found",
        "The topic does not have this partition.",
    )
}

/// The error code of REST proxies for a partition that its topic does not have.
const NO_PARTITION: u32 = 40402;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_path_has_its_place() {
        for (path, place) in [
            ("/topics", Some(Place::Topics)),
            ("/topics/a%20b", Some(Place::Topic("a%20b"))),
            ("/topics/a/partitions", Some(Place::Partitions("a"))),
            ("/topics/a/partitions/0", Some(Place::Partition("a", "0"))),
            ("/brokers", Some(Place::Brokers)),
            ("/topics/", None),
            ("/topics//partitions", None),
            ("/topics/a/", None),
            ("/topics/a/records", None),
            ("/topics/a/partitions/0/1", None),
            ("/brokers/1", None),
            ("topics", None),
            ("/", None),
        ] {
            assert_eq!(Place::at(path), place, "{path:?}");
        }
    }

    #[test]
    fn names_and_numbers_are_those_that_there_may_be() {
        assert_eq!(topic_called("mi%2Dtopico"), Ok("mi-topico".to_owned()));
        for (part, status) in [("%", 400), ("%ff", 400), ("..", 404), ("a%2Fb", 404), ("a+b", 404)] {
            assert_eq!(topic_called(part).unwrap_err().status, status, "{part:?}");
        }
        assert_eq!(partition_number("007"), Ok(7));
        for part in ["", "-1", "+1", "a", "1.0", "2147483648"] {
            assert_eq!(partition_number(part).unwrap_err().status, 404, "{part:?}");
        }
    }
}
