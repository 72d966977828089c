//! `POST /enviar`: a JSON body of any shape becomes one message.

use std::time::{Duration, Instant};

use tiny_http::Request;

use super::Submit;
use super::answer::Answer;
use super::json::{self, Refused};
use super::routes::Reply;
use super::tickets::Ticket;
use crate::channel::sender::{Delivery, Outgoing, SubmitError};
use crate::logging::BURST;
use crate::request_id::RequestId;

/// Checks the body and hands it to the channel, byte for byte as it was posted; the channel's outcome fills
/// in `ticket`.
pub(super) fn post(
    request: &mut Request,
    key: Option<Vec<u8>>,
    channel: &dyn Submit,
    answer_timeout: Duration,
    ticket: Ticket,
) -> Reply {
    let Some(value) = read_body(request) else {
        return Reply::Now(Answer::error(400, "cut_short", "The request ended before it was whole."));
    };
    match json::check(&value) {
        Ok(()) => {}
        Err(Refused::NotJson(why)) => return Reply::Now(Answer::error(400, "bad_json", &why)),
        Err(Refused::OverLimits(why)) => return Reply::Now(Answer::error(400, "json_limits", &why)),
    }
    let data = beginning(&value);
    let request = ticket.request();
    let deadline = Instant::now() + answer_timeout;
    let message = Outgoing { request: Some(request), ..Outgoing::new(key, value, deadline) };
    let done = Box::new(move |delivery| {
        log_failure(request, &delivery);
        ticket.answer(outcome(data, delivery));
    });
    match channel.submit(message, done) {
        Ok(()) => Reply::Later,
        Err(error) => {
            log::info!(target: BURST, "not stored request={request}: {error}");
            Reply::Now(not_taken(error))
        }
    }
}

/// One line for a message that is not stored, or not for sure; one that is has its line from the sender.
fn log_failure(request: RequestId, delivery: &Delivery) {
    match delivery {
        Delivery::Stored { .. } => {}
        Delivery::NotStored { code, reason, .. } => {
            log::info!(target: BURST, "not stored request={request} code={code}: {reason}");
        }
        Delivery::Unknown { reason } => {
            log::info!(target: BURST, "fate unknown request={request}: {reason}");
        }
    }
}

/// The whole body, or `None` if the connection ended within it (`tiny_http` reports that as the body's end).
fn read_body(request: &mut Request) -> Option<Vec<u8>> {
    let length = request.body_length()?;
    let mut body = Vec::with_capacity(length);
    request.as_reader().read_to_end(&mut body).ok()?;
    (body.len() == length).then_some(body)
}

/// The success answer up to where the message is stored, so that little is left to do when that is known.
fn beginning(data: &[u8]) -> Vec<u8> {
    let start = br#"{"mensaje":"Mensaje enviado","data":"#;
    let mut body = Vec::with_capacity(start.len() + data.len() + 128);
    body.extend_from_slice(start);
    body.extend_from_slice(data);
    body
}

/// The answer to a message whose fate is known, or known to be unknown.
fn outcome(mut data: Vec<u8>, delivery: Delivery) -> Answer {
    match delivery {
        Delivery::Stored { topic, partition, offset } => {
            let topic = serde_json::Value::from(&*topic);
            let place = format!(r#","topic":{topic},"partition":{partition},"offset":{offset}}}"#);
            data.extend_from_slice(place.as_bytes());
            Answer::json(200, data)
        }
        Delivery::NotStored { code, reason, retry } => {
            let status = match code {
                _ if retry => 503,
                "too_large" => 413,
                _ => 502,
            };
            Answer::error(status, code, &format!("The message was not stored: {reason}."))
        }
        Delivery::Unknown { reason } => {
            Answer::error(504, "unknown", &format!("The message may or may not be stored: {reason}."))
        }
    }
}

/// The answer to a message that the channel did not take.
fn not_taken(error: SubmitError) -> Answer {
    let (status, code) = match error {
        SubmitError::QueueFull => (503, "queue_full"),
        SubmitError::Closed => (503, "closing"),
        SubmitError::TooLarge { .. } => (413, "too_large"),
    };
    Answer::error(status, code, &format!("The message was not stored: {error}."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stored_message_is_answered_with_itself_and_its_place() {
        let delivery = Delivery::Stored { topic: "mi-topico".into(), partition: 2, offset: 41 };
        let answer = outcome(beginning(b"{\"id\":1 }\n"), delivery);
        let expected = concat!(
            "{\"mensaje\":\"Mensaje enviado\",\"data\":{\"id\":1 }\n,",
            "\"topic\":\"mi-topico\",\"partition\":2,\"offset\":41}"
        );
        assert_eq!((answer.status, String::from_utf8(answer.body).unwrap().as_str()), (200, expected));
    }

    #[test]
    fn each_fate_has_its_status() {
        let not_stored = |code, retry| Delivery::NotStored { code, reason: "x".to_owned(), retry };
        for (delivery, status) in [
            (not_stored("no_leader", true), 503),
            (not_stored("too_large", false), 413),
            (not_stored("refused", false), 502),
            (Delivery::Unknown { reason: "x".to_owned() }, 504),
        ] {
            let answer = outcome(beginning(b"1"), delivery);
            assert_eq!(answer.status, status);
            assert!(serde_json::from_slice::<serde_json::Value>(&answer.body).is_ok());
        }
        assert_eq!(not_taken(SubmitError::QueueFull).status, 503);
        assert_eq!(not_taken(SubmitError::Closed).status, 503);
        assert_eq!(not_taken(SubmitError::TooLarge { limit: 1 }).status, 413);
    }
}
