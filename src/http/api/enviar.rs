//! `POST /enviar`: a JSON body of any shape becomes one message.

use std::time::Instant;

use super::delivery_status::{self, DeliveryFailure, StoredAt};
use super::json::{self, MAX_DEPTH};
use crate::http::reply::Reply;
use crate::http::responder::Responder;
use crate::http::response::Response;
use crate::http::submit::Submit;
use crate::producer::{DeliveryReport, ProducerRecord};

/// Checks the body and hands it to the producer, byte for byte as it was posted; the delivery report answers
/// through `responder`.
pub(crate) fn post(
    value: Vec<u8>,
    key: Option<Vec<u8>>,
    channel: &dyn Submit,
    deadline: Instant,
    responder: Responder,
) -> Reply {
    if let Err(refused) = json::check_body(&value, MAX_DEPTH) {
        return Reply::Immediate(refused);
    }
    let data = beginning(&value);
    let request = responder.request();
    let message = ProducerRecord { request: Some(request), ..ProducerRecord::new(key, value, deadline) };
    let done = Box::new(move |delivery| {
        delivery_status::log_failure(request, &delivery);
        responder.respond(response(data, delivery));
    });
    match channel.submit(message, done) {
        Ok(()) => Reply::Deferred,
        Err(error) => {
            delivery_status::log_rejected(request, error);
            Reply::Immediate(DeliveryFailure::from(error).response())
        }
    }
}

/// The response to a stored message up to its topic, so that little is left to do when that is known.
fn beginning(data: &[u8]) -> Vec<u8> {
    let start = br#"{"mensaje":"Mensaje enviado","data":"#;
    let mut body = Vec::with_capacity(start.len() + data.len() + 128);
    body.extend_from_slice(start);
    body.extend_from_slice(data);
    body
}

/// The response to a message with this delivery report.
fn response(mut data: Vec<u8>, delivery: DeliveryReport) -> Response {
    match delivery_status::of(delivery) {
        Ok(StoredAt { topic, partition, offset }) => {
            let topic = serde_json::Value::from(&*topic);
            let stored_at = format!(r#","topic":{topic},"partition":{partition},"offset":{offset}}}"#);
            data.extend_from_slice(stored_at.as_bytes());
            Response::json(200, data)
        }
        Err(failure) => failure.response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stored_message_is_answered_with_itself_and_its_place() {
        let delivery = DeliveryReport::Stored { topic: "mi-topico".into(), partition: 2, offset: 41 };
        let response = response(beginning(b"{\"id\":1 }\n"), delivery);
        let expected = concat!(
            "{\"mensaje\":\"Mensaje enviado\",\"data\":{\"id\":1 }\n,",
            "\"topic\":\"mi-topico\",\"partition\":2,\"offset\":41}"
        );
        assert_eq!((response.status, String::from_utf8(response.body).unwrap().as_str()), (200, expected));
    }
}
