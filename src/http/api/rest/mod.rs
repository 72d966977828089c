//! The Kafka REST API, version 2, as far as REST proxies agree about it: records for any topic, and
//! descriptions of topics and brokers.
//!
//! [`records`] parses a body in one of the [`media`] types; [`produce`] sends the records and answers when
//! the delivery of each is known; [`metadata`] describes the cluster;
//! [`messages`] looks into topics. Nothing here waits: the cluster is
//! asked through the [metadata cache](super::metadata_cache), and the response is sent through the request's
//! responder.

mod errors;
mod media;
pub(crate) mod messages;
mod metadata;
mod path;
mod produce;
mod records;
mod route;

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::metadata_cache::{MetadataCache, MetadataRequest};
use super::query::Parameters;
use super::record_fields::RecordFields;
use crate::http::reply::Reply;
use crate::http::responder::Responder;
use crate::http::response::Response;
use crate::http::submit::SubmitTo;
use crate::producer::ProducerRecord;
use errors::{busy, internal_topic};
use media::{Encoding, Format};
pub(crate) use path::topic_of;
use produce::Sender;
use protocol::topic_name;
pub(crate) use records::MAX_RECORDS;
pub(crate) use route::RestRoute;

/// The longest wait for the metadata of a topic; half of the time for a response, if that is less.
const METADATA_TIMEOUT: Duration = Duration::from_secs(5);

/// The values of the parameter that says whether nobody waits.
const ASYNC: &[(&str, bool)] = &[("true", true), ("false", false)];

/// The handlers of the REST API.
pub(crate) struct RestApi {
    /// Takes records.
    pub(crate) topics: Arc<dyn SubmitTo>,
    /// Describes the cluster.
    pub(crate) metadata: Arc<MetadataCache>,
    /// The channel's topic, where its consumers take JSON alone.
    pub(crate) json_topic: Option<String>,
    /// The time from a whole request to its response.
    pub(crate) answer_timeout: Duration,
}

/// The destination and format of the records in a body, as far as the head of the request tells them.
pub(crate) struct RecordTarget {
    topic: String,
    partition: Option<i32>,
    content: Content,
    /// What each record has of the request's headers.
    fields: RecordFields,
    /// Nobody waits for what becomes of the records.
    is_async: bool,
}

/// What a body holds.
enum Content {
    /// Records in JSON.
    Records(Encoding),
    /// The value of one record, with this key.
    Value(Option<Vec<u8>>),
}

/// Where records go.
struct Destination {
    topic: String,
    /// The partition in the path.
    partition: Option<i32>,
    is_async: bool,
}

impl RecordTarget {
    /// The target of a `POST` to `route` with this `Content-Type` and query.
    ///
    /// # Errors
    /// The response to a request that has no target.
    pub(crate) fn of(
        content_type: Option<&str>,
        route: RestRoute<'_>,
        query: &str,
        fields: RecordFields,
    ) -> Result<RecordTarget, Response> {
        let (topic, partition) = match route {
            RestRoute::Raw(topic) => {
                return RecordTarget::raw(topic, query, fields).map_err(Response::with_kafka_type);
            }
            RestRoute::Topic(topic) => (topic, None),
            RestRoute::Partition(topic, number) => (topic, Some(number)),
            other => return Err(Response::method_not_allowed(other.methods())),
        };
        let checked = || {
            let format = content_type.and_then(media::format_of).ok_or_else(media::unsupported)?;
            let partition = partition.map(path::partition_to_send_to).transpose()?;
            let parameters = Parameters::read(query, &["key_format", "async"])?;
            let key_format =
                parameters.choice("key_format", &[("json", Format::Json), ("text", Format::Text)])?;
            if key_format.is_some() && format != Format::Json {
                let sentence =
                    "`key_format` goes with values in JSON; keys of other types are as the values.";
                return Err(Response::error(400, "bad_parameter", sentence));
            }
            let is_async = parameters.choice("async", ASYNC)?;
            Ok(RecordTarget {
                topic: topic_of(topic)?,
                partition,
                content: Content::Records(Encoding { keys: key_format.unwrap_or(format), values: format }),
                fields,
                is_async: is_async.unwrap_or(false),
            })
        };
        checked().map_err(Response::with_kafka_type)
    }

    /// The target of a body that is one record's value.
    fn raw(topic: &str, query: &str, fields: RecordFields) -> Result<RecordTarget, Response> {
        let parameters = Parameters::read(query, &["key", "async"])?;
        let is_async = parameters.choice("async", ASYNC)?.unwrap_or(false);
        let key = fields.key(parameters.key())?;
        Ok(RecordTarget {
            topic: topic_of(topic)?,
            partition: None,
            content: Content::Value(key),
            fields,
            is_async,
        })
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
        body: Vec<u8>,
        deadline: Instant,
        responder: Responder,
    ) -> Reply {
        let RecordTarget { topic, partition, content, fields, is_async } = target;
        let parsed = match content {
            Content::Records(encoding) => records::parse_body(&body, encoding, partition, deadline),
            Content::Value(key) => Ok(vec![ProducerRecord::new(key, body, deadline)]),
        };
        let checked = parsed.and_then(|records| {
            let is_json_topic = self.json_topic.as_ref().is_some_and(|channel| *channel == topic);
            if is_json_topic { records::only_json(records) } else { Ok(records) }
        });
        let with_fields = checked.and_then(|mut records| {
            fields.check_copies(records.len())?;
            records.iter_mut().for_each(|record| record.headers.extend_from_slice(&fields.headers));
            Ok(records)
        });
        let of = Destination { topic, partition, is_async };
        self.send(of, with_fields, deadline, responder)
    }

    /// Sends records to a topic; their delivery is to be known by `deadline`.
    pub(crate) fn send_to(
        &self,
        topic: &str,
        records: Vec<ProducerRecord>,
        deadline: Instant,
        responder: Responder,
    ) -> Reply {
        let of = Destination { topic: topic.to_owned(), partition: None, is_async: false };
        self.send(of, Ok(records), deadline, responder)
    }

    fn send(
        &self,
        destination: Destination,
        records: Result<Vec<ProducerRecord>, Response>,
        deadline: Instant,
        responder: Responder,
    ) -> Reply {
        let Destination { topic, partition, is_async } = destination;
        let taken = records.and_then(|records| {
            // Before anybody is asked: brokers would create such a topic that is not there yet, or deny it.
            if topic_name::is_internal(&topic) {
                return Err(internal_topic());
            }
            let bytes = records.iter().map(ProducerRecord::bytes).sum();
            let topics = Arc::clone(&self.topics);
            let request = MetadataRequest::TopicForRecords(topic.clone());
            let sender = Sender { request: responder.request(), responder: (!is_async).then_some(responder) };
            let callback = Box::new(move |result| {
                produce::produce(result, topics.as_ref(), &topic, partition, records, sender);
            });
            let by = self.metadata_deadline().min(deadline);
            self.metadata.get(request, bytes, by, callback).map_err(|_| busy())
        });
        match taken {
            Ok(()) if is_async => Reply::Immediate(Response::empty(204)),
            taken => Reply::deferred(taken.map_err(Response::with_kafka_type)),
        }
    }

    fn metadata_deadline(&self) -> Instant {
        Instant::now() + METADATA_TIMEOUT.min(self.answer_timeout / 2)
    }
}
