//! Looking into any topic without a group: a search, and one message whole.
//!
//! [`source`] is the interface to the topics, [`query`] reads what is asked for, [`workers`] are the threads
//! that wait for the cluster.

mod query;
mod source;
mod workers;

use std::time::Duration;

use super::errors::{message_not_found, no_broker, partition_not_found, topic_not_found};
use super::path::{offset_of, partition_of, topic_of};
use super::route::RestRoute;
use crate::http::api::query::Parameters;
use crate::http::reply::Reply;
use crate::http::responder::Responder;
use crate::http::response::Response;
pub use source::{
    HeaderView, MessageSearch, MessageSource, MessageView, NoMessages, PlaceOfMessage, SearchFrom,
    SearchedMessages, SearchedPartition,
};
use workers::Look;
pub(crate) use workers::{LookQueue, LookWorkers};

/// The most bytes of a message that is shown whole, with its key and its headers.
const MOST_BYTES: usize = 8 * 1024 * 1024;

/// How a value that is JSON is given: as it is, or as a text.
const FORMATS: &[(&str, bool)] = &[("json", false), ("text", true)];

/// The handlers of looks.
pub(crate) struct MessagesApi {
    /// The threads that look.
    pub(crate) looks: LookQueue,
    /// The time from a whole request to its response.
    pub(crate) answer_timeout: Duration,
}

impl MessagesApi {
    /// Looks for what a request asks for.
    pub(crate) fn get(&self, route: RestRoute<'_>, query: &str, responder: Responder) -> Reply {
        let look = look(route, query);
        let asked = look.and_then(|look| self.looks.submit(look, self.answer_timeout, responder));
        Reply::deferred(asked.map_err(Response::with_kafka_type))
    }
}

/// What is to be done for a request.
///
/// # Errors
/// The response, where it is known without asking the cluster.
fn look(route: RestRoute<'_>, query: &str) -> Result<Look, Response> {
    match route {
        RestRoute::Messages(topic) => {
            let search = query::search(topic_of(topic)?, query)?;
            Ok(Box::new(move |source, deadline| {
                let found = source.search(&search, deadline);
                let found = found.and_then(|found| {
                    serde_json::to_vec(&found).map_err(|error| NoMessages::Damaged(error.to_string()))
                });
                response(found)
            }))
        }
        RestRoute::Message(topic, partition, offset) => {
            let (topic, partition) = (topic_of(topic)?, partition_of(partition)?);
            let place = PlaceOfMessage { topic, partition, offset: offset_of(offset)? };
            let is_text = Parameters::read(query, &["format"])?.choice("format", FORMATS)?.unwrap_or(false);
            Ok(Box::new(move |source, deadline| {
                response(source.message(&place, is_text, MOST_BYTES, deadline))
            }))
        }
        other => Err(Response::method_not_allowed(other.methods())),
    }
}

/// The response with what was found, or with the reason for which there is nothing.
fn response(found: Result<Vec<u8>, NoMessages>) -> Response {
    let response = match found {
        Ok(body) => Response::json(200, body),
        Err(NoMessages::NoTopic) => topic_not_found("There is no such topic."),
        Err(NoMessages::NoPartition) => partition_not_found(),
        Err(NoMessages::NoMessage(sentence)) => message_not_found(&sentence),
        Err(NoMessages::TooLarge(bytes)) => {
            let most = MOST_BYTES / 1024 / 1024;
            let sentence = format!(
                "The message takes {bytes} bytes, and {most} MiB are shown; `point-to-point peek` shows it whole."
            );
            Response::error(422, "message_too_large", &sentence)
        }
        Err(NoMessages::Forbidden(why)) => {
            let sentence = format!("The endpoint may not read this topic at the cluster: {why}.");
            Response::error(403, "not_authorized", &sentence)
        }
        Err(NoMessages::Damaged(why)) => {
            Response::error(502, "damaged", &format!("What is stored there cannot be read: {why}."))
        }
        Err(NoMessages::Unanswered(why)) => no_broker(&format!("The cluster does not answer: {why}.")),
    };
    response.with_kafka_type()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_has_a_status_and_says_what_is_wrong() {
        let word = || "why".to_owned();
        for (reason, status, code) in [
            (NoMessages::NoTopic, 404, 40401),
            (NoMessages::NoPartition, 404, 40402),
            (NoMessages::NoMessage("There is none.".to_owned()), 404, 404),
            (NoMessages::TooLarge(10_000_000), 422, 422),
            (NoMessages::Forbidden(word()), 403, 403),
            (NoMessages::Damaged(word()), 502, 502),
            (NoMessages::Unanswered(word()), 503, 503),
        ] {
            let response = response(Err(reason.clone()));
            let body: serde_json::Value = serde_json::from_slice(&response.body).unwrap();
            assert_eq!((response.status, &body["error_code"]), (status, &code.into()), "{reason:?}");
            assert_eq!(response.headers.contains("Retry-After"), status == 503, "{reason:?}");
        }
    }

    #[test]
    fn what_names_no_message_is_refused_without_a_look() {
        let status = |route, query| look(route, query).map(drop).map_err(|response| response.status);
        assert_eq!(status(RestRoute::Message("t", "0", "17"), "format=text"), Ok(()));
        for (route, query, expected) in [
            (RestRoute::Message("t", "x", "17"), "", 404),
            (RestRoute::Message("t", "0", "-1"), "", 404),
            (RestRoute::Message("t", "0", "9223372036854775808"), "", 404),
            (RestRoute::Message("..", "0", "0"), "", 404),
            (RestRoute::Message("%ff", "0", "0"), "", 400),
            (RestRoute::Message("t", "0", "0"), "format=xml", 400),
            (RestRoute::Message("t", "0", "0"), "max=1", 400),
            (RestRoute::Messages("t"), "max=0", 400),
            (RestRoute::Messages("a b"), "", 404),
            (RestRoute::Topics, "", 405),
        ] {
            assert_eq!(status(route, query), Err(expected), "{route:?} {query}");
        }
    }
}
