//! `POST /enviar`: a JSON body of any shape becomes one message of the channel; lines of JSON become one
//! each.

use std::time::Instant;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::delivery_status::{self, DeliveryFailure, StoredAt};
use super::json::{self, MAX_DEPTH};
use super::media_type;
use super::message_key::key_in;
use super::query::Parameters;
use super::record_fields::RecordFields;
use super::rest::MAX_RECORDS;
use crate::http::reply::Reply;
use crate::http::responder::Responder;
use crate::http::response::Response;
use crate::http::submit::Submit;
use crate::producer::{DeliveryReport, ProducerRecord};

/// What the head of a request says of the message in its body.
pub(crate) struct ChannelTarget {
    /// The key that the request names, and the headers of the record.
    fields: RecordFields,
    /// Each line of the body is a message.
    pub(crate) is_lines: bool,
}

impl ChannelTarget {
    /// The target of a request with this query.
    ///
    /// # Errors
    /// 400: a parameter that is not known, or a second key.
    pub(crate) fn of(
        query: &str,
        content_type: Option<&str>,
        fields: RecordFields,
    ) -> Result<ChannelTarget, Response> {
        let key = fields.key(Parameters::read(query, &["key"])?.key())?;
        let fields = RecordFields { key, ..fields };
        let is_lines = content_type.is_some_and(|value| media_type::is(value, media_type::JSON_LINES));
        Ok(ChannelTarget { fields, is_lines })
    }
}

/// The channel's own route.
pub(crate) struct ChannelApi {
    /// Takes the messages.
    pub(crate) channel: Box<dyn Submit>,
    /// The channel's topic.
    pub(crate) topic: String,
    /// Its consumers take any bytes.
    pub(crate) any_payload: bool,
    /// Where a body has its message's key, if the request names none.
    pub(crate) key_pointer: Option<String>,
}

impl ChannelApi {
    /// Checks the body and hands it to the producer, byte for byte as it was posted; the delivery report
    /// answers through `responder`.
    pub(crate) fn post(
        &self,
        value: Vec<u8>,
        target: ChannelTarget,
        deadline: Instant,
        responder: Responder,
    ) -> Reply {
        match self.record(&value, target.fields.key) {
            Ok((key, data)) => {
                let record = ProducerRecord {
                    headers: target.fields.headers,
                    ..ProducerRecord::new(key, value, deadline)
                };
                self.submit(record, data, responder)
            }
            Err(refused) => Reply::Immediate(refused),
        }
    }

    /// The key of a message, and the response to it up to its topic.
    fn record(&self, value: &[u8], key: Option<Vec<u8>>) -> Result<(Option<Vec<u8>>, Vec<u8>), Response> {
        let data = match json::check_body(value, MAX_DEPTH) {
            Ok(()) => beginning(value, ""),
            Err(_) if self.any_payload => {
                beginning(format!("\"{}\"", STANDARD.encode(value)).as_bytes(), r#","encoding":"base64""#)
            }
            Err(refused) => return Err(refused),
        };
        Ok((self.key(key, value)?, data))
    }

    fn key(&self, named: Option<Vec<u8>>, value: &[u8]) -> Result<Option<Vec<u8>>, Response> {
        match (named, &self.key_pointer) {
            (None, Some(pointer)) => key_in(value, pointer).map(Some),
            (named, _) => Ok(named),
        }
    }

    fn submit(&self, record: ProducerRecord, data: Vec<u8>, responder: Responder) -> Reply {
        let request = responder.request();
        let of_record = Some(request.clone());
        let done = Box::new(move |delivery| {
            delivery_status::log_failure(&responder.request(), &delivery);
            responder.respond(response(data, delivery));
        });
        match self.channel.submit(ProducerRecord { request: of_record, ..record }, done) {
            Ok(()) => Reply::Deferred,
            Err(error) => {
                delivery_status::log_rejected(&request, error);
                Reply::Immediate(DeliveryFailure::from(error).response())
            }
        }
    }

    /// The messages in the lines of a body; empty lines are none.
    ///
    /// # Errors
    /// 400 for a line that is not JSON, or for no line at all; 413 for too many.
    pub(crate) fn lines(
        &self,
        body: &[u8],
        target: &ChannelTarget,
        deadline: Instant,
    ) -> Result<Vec<ProducerRecord>, Response> {
        let lines = body.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).enumerate();
        let lines: Vec<(usize, &[u8])> =
            lines.filter(|(_, line)| !line.is_empty()).take(MAX_RECORDS + 1).collect();
        match lines.len() {
            0 => return Err(Response::error(400, "bad_json", "The body has no line with a message.")),
            count if count > MAX_RECORDS => {
                let sentence = format!("A request may have {MAX_RECORDS} lines at most; nothing was stored.");
                return Err(Response::error(413, "too_many_records", &sentence));
            }
            count => target.fields.check_copies(count)?,
        }
        let record = |(index, line): (usize, &[u8])| {
            let number = index + 1;
            json::check_line(line, MAX_DEPTH, number)?;
            let key = self.key(target.fields.key.clone(), line)?;
            let record = ProducerRecord::new(key, line.to_vec(), deadline);
            Ok(ProducerRecord { headers: target.fields.headers.clone(), ..record })
        };
        lines.into_iter().map(record).collect()
    }
}

/// The response to a stored message up to its topic, so that little is left to do when that is known. `data`
/// is JSON; `more` are further members.
fn beginning(data: &[u8], more: &str) -> Vec<u8> {
    let start = br#"{"mensaje":"Mensaje enviado","data":"#;
    let mut body = Vec::with_capacity(start.len() + data.len() + 128);
    body.extend_from_slice(start);
    body.extend_from_slice(data);
    body.extend_from_slice(more.as_bytes());
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
        let response = response(beginning(b"{\"id\":1 }\n", ""), delivery);
        let expected = concat!(
            "{\"mensaje\":\"Mensaje enviado\",\"data\":{\"id\":1 }\n,",
            "\"topic\":\"mi-topico\",\"partition\":2,\"offset\":41}"
        );
        assert_eq!((response.status, String::from_utf8(response.body).unwrap().as_str()), (200, expected));
    }
}
