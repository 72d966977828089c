//! Records on their way into a topic: sent together, and answered together when the delivery of the last one
//! is known, which is by their deadline.

use std::sync::Arc;

use net::sync::{Mutex, lock};
use serde_json::Value;

use super::errors::{PARTITION_NOT_FOUND, internal_topic, no_broker, partition_not_found, topic_not_found};
use crate::http::api::delivery_status::{self, DeliveryFailure, DeliveryStatus, FailureKind, StoredAt};
use crate::http::api::metadata_cache::{Metadata, MetadataResult, Topic};
use crate::http::responder::Responder;
use crate::http::response::Response;
use crate::http::submit::SubmitTo;
use crate::ids::RequestId;
use crate::logging::NOT_STORED;
use crate::producer::{DeliveryCallback, PartitionChoice, ProducerRecord};

/// Whoever has sent records.
pub(super) struct Sender {
    /// The id of the request.
    pub(super) request: RequestId,
    /// Sends the response; `None` if nobody waits for one.
    pub(super) responder: Option<Responder>,
}

/// Sends the records to a topic whose metadata was asked for; answers now or later. `partition` is the one in
/// the path.
pub(super) fn produce(
    metadata: MetadataResult,
    topics: &dyn SubmitTo,
    name: &str,
    partition: Option<i32>,
    records: Vec<ProducerRecord>,
    sender: Sender,
) {
    match (topic_for(metadata, partition), sender.responder) {
        (Ok(topic), responder) => submit(&topic, topics, name, records, sender.request, responder),
        (Err(refused), Some(responder)) => responder.respond(refused.with_kafka_type()),
        (Err(refused), None) => {
            let why = String::from_utf8_lossy(&refused.body);
            log::info!(target: NOT_STORED, "not stored request={}: {why}", sender.request);
        }
    }
}

/// The topic, if it takes records.
fn topic_for(metadata: MetadataResult, partition: Option<i32>) -> Result<Arc<Topic>, Response> {
    match metadata {
        Ok(Metadata::Topic(Some(topic))) if topic.internal => Err(internal_topic()),
        Ok(Metadata::Topic(Some(topic))) => match partition {
            Some(number) if !topic.has_partition(number) => Err(partition_not_found()),
            _ => Ok(topic),
        },
        Ok(_) => Err(topic_not_found("There is no such topic; nothing was stored.")),
        Err(reason) => Err(no_broker(&format!("Nothing was stored: {reason}."))),
    }
}

fn submit(
    topic: &Topic,
    topics: &dyn SubmitTo,
    name: &str,
    records: Vec<ProducerRecord>,
    request: RequestId,
    responder: Option<Responder>,
) {
    let pending = PendingResponse::of(records.len(), responder);
    let mut indices = Vec::with_capacity(records.len());
    let mut messages: Vec<(ProducerRecord, DeliveryCallback)> = Vec::with_capacity(records.len());
    for (index, record) in records.into_iter().enumerate() {
        match record.partition {
            PartitionChoice::Only(number) if !topic.has_partition(number) => {
                let why = format!("the topic has no partition {number}");
                log::info!(target: NOT_STORED, "not stored request={request}: {why}");
                pending.complete(index, Err(no_partition(number)))
            }
            _ => {
                let (pending, request) = (pending.clone(), request.clone());
                let of_record = Some(request.clone());
                let done = move |delivery| {
                    delivery_status::log_failure(&request, &delivery);
                    pending.complete(index, delivery_status::of(delivery));
                };
                messages.push((ProducerRecord { request: of_record, ..record }, Box::new(done)));
                indices.push(index);
            }
        }
    }
    for (index, result) in indices.into_iter().zip(topics.submit(name, messages)) {
        if let Err(error) = result {
            delivery_status::log_rejected(&request, error);
            pending.complete(index, Err(error.into()));
        }
    }
}

fn no_partition(number: i32) -> DeliveryFailure {
    let sentence = format!("The message was not stored: the topic does not have partition {number}.");
    DeliveryFailure {
        kind: FailureKind::Permanent,
        status: 404,
        number: PARTITION_NOT_FOUND,
        code: "partition_not_found",
        sentence,
    }
}

/// The response to one request, until the status of each of its records is known.
#[derive(Clone)]
struct PendingResponse(Arc<Mutex<PendingState>>);

struct PendingState {
    statuses: Vec<Option<DeliveryStatus>>,
    unknown: usize,
    /// Taken when the response is sent; `None` if nobody waits for one.
    responder: Option<Responder>,
}

impl PendingResponse {
    fn of(records: usize, responder: Option<Responder>) -> PendingResponse {
        let statuses = std::iter::repeat_with(|| None).take(records).collect();
        PendingResponse(Arc::new(Mutex::new(PendingState { statuses, unknown: records, responder })))
    }

    /// Sets the status of one record, each once; the last one sends the response.
    fn complete(&self, index: usize, status: DeliveryStatus) {
        let mut state = lock(&self.0);
        if let Some(known) = state.statuses.get_mut(index) {
            *known = Some(status);
        }
        state.unknown = state.unknown.saturating_sub(1);
        if state.unknown > 0 {
            return;
        }
        let (statuses, responder) = (std::mem::take(&mut state.statuses), state.responder.take());
        drop(state);
        if let Some(responder) = responder {
            let statuses: Vec<DeliveryStatus> = statuses.into_iter().flatten().collect();
            responder.respond(response(&statuses));
        }
    }
}

/// The response to a request with these records, in this order: 200 only if all are stored.
fn response(statuses: &[DeliveryStatus]) -> Response {
    let failures: Vec<&DeliveryFailure> =
        statuses.iter().filter_map(|status| status.as_ref().err()).collect();
    let unknown = failures.iter().filter(|failure| failure.kind == FailureKind::Unknown).count();
    let mixed = failures.len() < statuses.len() || unknown > 0 && unknown < failures.len();
    let mut response = match representative(&failures) {
        None => Response::json(200, b"{}".to_vec()),
        Some(_) if mixed => Response::json(207, b"{}".to_vec()),
        Some(failure) => failure.response(),
    };
    append_statuses(&mut response.body, statuses);
    response.with_kafka_type()
}

/// The failure that stands for all where nothing is stored: a retriable one, else the first.
fn representative<'a>(failures: &[&'a DeliveryFailure]) -> Option<&'a DeliveryFailure> {
    failures.iter().find(|failure| failure.kind == FailureKind::Retriable).or(failures.first()).copied()
}

/// Adds the status of each record to a JSON object.
fn append_statuses(object: &mut Vec<u8>, statuses: &[DeliveryStatus]) {
    object.pop();
    let mut before = if object.len() > 1 { r#","offsets":["# } else { r#""offsets":["# };
    for status in statuses {
        object.extend_from_slice(before.as_bytes());
        object.extend_from_slice(status_json(status).as_bytes());
        before = ",";
    }
    object.extend_from_slice(br#"],"key_schema_id":null,"value_schema_id":null}"#);
}

fn status_json(status: &DeliveryStatus) -> String {
    match status {
        Ok(StoredAt { partition, offset, .. }) => {
            format!(r#"{{"partition":{partition},"offset":{offset},"error_code":null,"error":null}}"#)
        }
        Err(DeliveryFailure { number, sentence, .. }) => {
            // Confluent's clients read `error`, Strimzi's `message`.
            let why = Value::from(sentence.as_str());
            let place = r#""partition":null,"offset":null"#;
            format!(r#"{{{place},"error_code":{number},"error":{why},"message":{why}}}"#)
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn stored(offset: i64) -> DeliveryStatus {
        Ok(StoredAt { topic: "t".into(), partition: 1, offset })
    }

    fn failed(status: u16) -> DeliveryStatus {
        let kind = match status {
            503 => FailureKind::Retriable,
            504 => FailureKind::Unknown,
            _ => FailureKind::Permanent,
        };
        Err(DeliveryFailure {
            kind,
            status,
            number: status.into(),
            code: "code",
            sentence: "Why.".to_owned(),
        })
    }

    #[test]
    fn results_are_in_the_order_of_the_records() {
        let response = response(&[stored(7), failed(413), stored(8)]);
        let expected = json!({
            "offsets": [
                {"partition": 1, "offset": 7, "error_code": null, "error": null},
                {"partition": null, "offset": null, "error_code": 413, "error": "Why.", "message": "Why."},
                {"partition": 1, "offset": 8, "error_code": null, "error": null},
            ],
            "key_schema_id": null, "value_schema_id": null,
        });
        assert_eq!(serde_json::from_slice::<Value>(&response.body).unwrap(), expected);
        assert_eq!(response.status, 207);
        assert_eq!(response.headers, "Content-Type: application/vnd.kafka.v2+json\r\n");
    }

    #[test]
    fn the_response_status_holds_for_all_records() {
        for (statuses, status) in [
            (vec![stored(0), stored(1)], 200),
            (vec![stored(0), failed(503)], 207),
            (vec![stored(0), failed(504)], 207),
            (vec![failed(503), failed(504)], 207),
            (vec![failed(504), failed(504)], 504),
            (vec![failed(413), failed(503)], 503),
            (vec![failed(413), failed(502)], 413),
            (vec![failed(404)], 404),
        ] {
            let response = response(&statuses);
            assert_eq!(response.status, status);
            assert_eq!(response.headers.contains("Retry-After"), status == 503);
            let body: Value = serde_json::from_slice(&response.body).unwrap();
            assert!(body["offsets"].is_array());
            assert_eq!(body["error_code"].is_number() && body["message"].is_string(), status >= 400);
        }
    }
}
