//! `POST /enviar`: a JSON body of any shape becomes one message.

use std::time::Instant;

use super::Submit;
use super::answer::Answer;
use super::body;
use super::json::MAX_DEPTH;
use super::outcome::{self, Failure, Stored};
use super::routes::Reply;
use super::tickets::Ticket;
use crate::channel::sender::{Delivery, Outgoing};

/// Checks the body and hands it to the channel, byte for byte as it was posted; the channel's outcome fills
/// in `ticket`.
pub(super) fn post(
    value: Vec<u8>,
    key: Option<Vec<u8>>,
    channel: &dyn Submit,
    deadline: Instant,
    ticket: Ticket,
) -> Reply {
    if let Err(refused) = body::check(&value, MAX_DEPTH) {
        return Reply::Now(refused);
    }
    let data = beginning(&value);
    let request = ticket.request();
    let message = Outgoing { request: Some(request), ..Outgoing::new(key, value, deadline) };
    let done = Box::new(move |delivery| {
        outcome::log_failure(request, &delivery);
        ticket.answer(answer(data, delivery));
    });
    match channel.submit(message, done) {
        Ok(()) => Reply::Later,
        Err(error) => {
            outcome::log_not_taken(request, error);
            Reply::Now(Failure::from(error).answer())
        }
    }
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
fn answer(mut data: Vec<u8>, delivery: Delivery) -> Answer {
    match outcome::of(delivery) {
        Ok(Stored { topic, partition, offset }) => {
            let topic = serde_json::Value::from(&*topic);
            let place = format!(r#","topic":{topic},"partition":{partition},"offset":{offset}}}"#);
            data.extend_from_slice(place.as_bytes());
            Answer::json(200, data)
        }
        Err(failure) => failure.answer(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stored_message_is_answered_with_itself_and_its_place() {
        let delivery = Delivery::Stored { topic: "mi-topico".into(), partition: 2, offset: 41 };
        let answer = answer(beginning(b"{\"id\":1 }\n"), delivery);
        let expected = concat!(
            "{\"mensaje\":\"Mensaje enviado\",\"data\":{\"id\":1 }\n,",
            "\"topic\":\"mi-topico\",\"partition\":2,\"offset\":41}"
        );
        assert_eq!((answer.status, String::from_utf8(answer.body).unwrap().as_str()), (200, expected));
    }
}
