//! The Kafka REST API, version 2, as far as REST proxies agree about it: records for any topic, and
//! descriptions of topics and brokers.
//!
//! [`records`] parses a body in one of the [`media`] types; [`produce`] sends the records and answers when
//! the delivery of each is known; [`metadata`] describes the cluster. Nothing here waits: the cluster is
//! asked through the [metadata cache](super::metadata_cache), and the response is sent through the request's
//! responder.

mod errors;
mod media;
mod metadata;
mod path;
mod produce;
mod records;
mod route;

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::metadata_cache::{MetadataCache, MetadataRequest};
use crate::http::reply::Reply;
use crate::http::responder::Responder;
use crate::http::response::Response;
use crate::http::submit::SubmitTo;
use crate::producer::ProducerRecord;
use errors::busy;
use media::Format;
use path::partition_of;
pub(crate) use path::topic_of;
pub(crate) use route::RestRoute;

/// The longest wait for the metadata of a topic; half of the time for a response, if that is less.
const METADATA_TIMEOUT: Duration = Duration::from_secs(5);

/// The handlers of the REST API.
pub(crate) struct RestApi {
    /// Takes records.
    pub(crate) topics: Arc<dyn SubmitTo>,
    /// Describes the cluster.
    pub(crate) metadata: Arc<MetadataCache>,
    /// The time from a whole request to its response.
    pub(crate) answer_timeout: Duration,
}

/// The destination and format of the records in a body, as far as the head of the request tells them.
pub(crate) struct RecordTarget {
    topic: String,
    partition: Option<i32>,
    format: Format,
}

impl RecordTarget {
    /// The target of a `POST` to `route` with this `Content-Type`.
    ///
    /// # Errors
    /// The response to a request that has no target.
    pub(crate) fn of(content_type: Option<&str>, route: RestRoute<'_>) -> Result<RecordTarget, Response> {
        let (topic, partition) = match route {
            RestRoute::Topic(topic) => (topic, None),
            RestRoute::Partition(topic, number) => (topic, Some(number)),
            other => return Err(Response::method_not_allowed(other.methods())),
        };
        let checked = || {
            let format = content_type.and_then(media::format_of).ok_or_else(media::unsupported)?;
            let partition = partition.map(partition_of).transpose()?;
            Ok(RecordTarget { topic: topic_of(topic)?, partition, format })
        };
        checked().map_err(Response::with_kafka_type)
    }
}

impl RestApi {
    /// Describes a part of the cluster.
    pub(crate) fn get(&self, route: RestRoute<'_>, responder: Responder) -> Reply {
        let asked = metadata::request(route).and_then(|(request, view)| {
            let callback =
                Box::new(move |result| responder.respond(metadata::response(result, view).with_kafka_type()));
            self.metadata.get(request, 0, self.metadata_deadline(), callback).map_err(|_| busy())
        });
        Reply::deferred(asked.map_err(Response::with_kafka_type))
    }

    /// Takes the records in `body`; their delivery is to be known by `deadline`.
    pub(crate) fn post(
        &self,
        target: RecordTarget,
        body: &[u8],
        deadline: Instant,
        responder: Responder,
    ) -> Reply {
        let RecordTarget { topic, partition, format } = target;
        let taken = records::parse_body(body, format, partition, deadline).and_then(|records| {
            let bytes = records.iter().map(ProducerRecord::bytes).sum();
            let topics = Arc::clone(&self.topics);
            let request = MetadataRequest::Topic(topic.clone());
            let callback = Box::new(move |result| {
                produce::produce(result, topics.as_ref(), &topic, partition, records, responder);
            });
            let by = self.metadata_deadline().min(deadline);
            self.metadata.get(request, bytes, by, callback).map_err(|_| busy())
        });
        Reply::deferred(taken.map_err(Response::with_kafka_type))
    }

    fn metadata_deadline(&self) -> Instant {
        Instant::now() + METADATA_TIMEOUT.min(self.answer_timeout / 2)
    }
}
