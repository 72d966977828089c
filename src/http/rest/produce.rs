//! Records on their way into a topic: submitted together, and answered together when the fate of the last one
//! is known, which is by their deadline.

use std::sync::{Arc, Mutex, PoisonError};

use serde_json::Value;

use super::{NO_PARTITION, no_partition, no_topic};
use crate::channel::sender::{Done, Outgoing, Place};
use crate::http::SubmitTo;
use crate::http::answer::Answer;
use crate::http::look_ups::{Found, Known, Topic};
use crate::http::outcome::{self, Failure, Stored, UNKNOWN};
use crate::http::tickets::Ticket;

/// Submits the records to a topic that was looked up; fills in `ticket` now or later. `partition` is the one
/// in the path.
pub(super) fn produce(
    found: Found,
    topics: &dyn SubmitTo,
    name: &str,
    partition: Option<i32>,
    records: Vec<Outgoing>,
    ticket: Ticket,
) {
    match topic_for(found, partition) {
        Err(refused) => ticket.answer(refused.for_kafka()),
        Ok(topic) => submit(&topic, topics, name, records, ticket),
    }
}

/// The topic, if it takes records.
fn topic_for(found: Found, partition: Option<i32>) -> Result<Arc<Topic>, Answer> {
    match found {
        Ok(Known::Topic(Some(topic))) if topic.internal => {
            let sentence = "This topic is Kafka's own; nothing was stored.";
            Err(Answer::error_numbered(403, 40301, "internal_topic", sentence))
        }
        Ok(Known::Topic(Some(topic))) => match partition {
            Some(number) if !topic.has(number) => Err(no_partition()),
            _ => Ok(topic),
        },
        Ok(_) => Err(no_topic("There is no such topic; nothing was stored.")),
        Err(reason) => Err(Answer::error(503, "no_broker", &format!("Nothing was stored: {reason}."))),
    }
}

fn submit(topic: &Topic, topics: &dyn SubmitTo, name: &str, records: Vec<Outgoing>, ticket: Ticket) {
    let request = ticket.request();
    let tally = Tally::of(records.len(), ticket);
    let mut indices = Vec::with_capacity(records.len());
    let mut messages: Vec<(Outgoing, Done)> = Vec::with_capacity(records.len());
    for (index, record) in records.into_iter().enumerate() {
        match record.place {
            Place::Only(number) if !topic.has(number) => tally.settle(index, Err(not_there(number))),
            _ => {
                let tally = tally.clone();
                let done = move |delivery| {
                    outcome::log_failure(request, &delivery);
                    tally.settle(index, outcome::of(delivery));
                };
                messages.push((Outgoing { request: Some(request), ..record }, Box::new(done)));
                indices.push(index);
            }
        }
    }
    for (index, result) in indices.into_iter().zip(topics.submit(name, messages)) {
        if let Err(error) = result {
            outcome::log_not_taken(request, error);
            tally.settle(index, Err(error.into()));
        }
    }
}

fn not_there(number: i32) -> Failure {
    let sentence = format!("The message was not stored: the topic does not have partition {number}.");
    Failure { status: 404, number: NO_PARTITION, code: "partition_not_found", sentence }
}

type Fate = Result<Stored, Failure>;

/// What is known of the records of one request.
#[derive(Clone)]
struct Tally(Arc<Mutex<Open>>);

struct Open {
    fates: Vec<Option<Fate>>,
    open: usize,
    /// Until it is filled in.
    ticket: Option<Ticket>,
}

impl Tally {
    fn of(records: usize, ticket: Ticket) -> Tally {
        let fates = std::iter::repeat_with(|| None).take(records).collect();
        Tally(Arc::new(Mutex::new(Open { fates, open: records, ticket: Some(ticket) })))
    }

    /// Takes note of the fate of one record, each once; the last one fills in the ticket.
    fn settle(&self, index: usize, fate: Fate) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(place) = state.fates.get_mut(index) {
            *place = Some(fate);
        }
        state.open = state.open.saturating_sub(1);
        if state.open > 0 {
            return;
        }
        let (fates, ticket) = (std::mem::take(&mut state.fates), state.ticket.take());
        drop(state);
        if let Some(ticket) = ticket {
            let fates: Vec<Fate> = fates.into_iter().flatten().collect();
            ticket.answer(answer(&fates));
        }
    }
}

/// The answer to a request with these records, in this order: 200 only if all are stored.
fn answer(fates: &[Fate]) -> Answer {
    let failures: Vec<&Failure> = fates.iter().filter_map(|fate| fate.as_ref().err()).collect();
    let unknown = failures.iter().filter(|failure| failure.status == UNKNOWN).count();
    let mixed = failures.len() < fates.len() || unknown > 0 && unknown < failures.len();
    let mut answer = match blamed(&failures) {
        None => Answer::json(200, b"{}".to_vec()),
        Some(_) if mixed => Answer::json(207, b"{}".to_vec()),
        Some(failure) => failure.answer(),
    };
    extend(&mut answer.body, fates);
    answer.for_kafka()
}

/// The failure that stands for all where nothing is stored: one that may not happen again, else the first.
fn blamed<'a>(failures: &[&'a Failure]) -> Option<&'a Failure> {
    failures.iter().find(|failure| failure.status == 503).or(failures.first()).copied()
}

/// Adds what became of each record to a JSON object.
fn extend(object: &mut Vec<u8>, fates: &[Fate]) {
    object.pop();
    let mut before = if object.len() > 1 { r#","offsets":["# } else { r#""offsets":["# };
    for fate in fates {
        object.extend_from_slice(before.as_bytes());
        object.extend_from_slice(shown(fate).as_bytes());
        before = ",";
    }
    object.extend_from_slice(br#"],"key_schema_id":null,"value_schema_id":null}"#);
}

fn shown(fate: &Fate) -> String {
    match fate {
        Ok(Stored { partition, offset, .. }) => format!(r#"{{"partition":{partition},"offset":{offset}}}"#),
        Err(failure) => {
            let sentence = Value::from(failure.sentence.as_str());
            format!(r#"{{"error_code":{},"error":{sentence}}}"#, failure.number)
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn stored(offset: i64) -> Fate {
        Ok(Stored { topic: "t".into(), partition: 1, offset })
    }

    fn failed(status: u16) -> Fate {
        Err(Failure { status, number: status.into(), code: "code", sentence: "Why.".to_owned() })
    }

    #[test]
    fn results_are_in_the_order_of_the_records() {
        let answer = answer(&[stored(7), failed(413), stored(8)]);
        let expected = json!({
            "offsets": [
                {"partition": 1, "offset": 7},
                {"error_code": 413, "error": "Why."},
                {"partition": 1, "offset": 8},
            ],
            "key_schema_id": null, "value_schema_id": null,
        });
        assert_eq!(serde_json::from_slice::<Value>(&answer.body).unwrap(), expected);
        assert_eq!(answer.status, 207);
        assert_eq!(answer.headers, "Content-Type: application/vnd.kafka.v2+json\r\n");
    }

    #[test]
    fn the_status_says_what_is_true_of_all_records() {
        for (fates, status) in [
            (vec![stored(0), stored(1)], 200),
            (vec![stored(0), failed(503)], 207),
            (vec![stored(0), failed(504)], 207),
            (vec![failed(503), failed(504)], 207),
            (vec![failed(504), failed(504)], 504),
            (vec![failed(413), failed(503)], 503),
            (vec![failed(413), failed(502)], 413),
            (vec![failed(404)], 404),
        ] {
            let answer = answer(&fates);
            assert_eq!(answer.status, status);
            assert_eq!(answer.headers.contains("Retry-After"), status == 503);
            let body: Value = serde_json::from_slice(&answer.body).unwrap();
            assert!(body["offsets"].is_array());
            assert_eq!(body["error_code"].is_number() && body["message"].is_string(), status >= 400);
        }
    }
}
