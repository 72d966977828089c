//! One forward: the request to the endpoint that gave receipts, and what its answer means.

use std::io::Read;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use net::sync::{Mutex, lock};
use serde_json::{Value, json};
use ureq::Agent;
use ureq::http::Request;

use crate::config::ProducerApiSettings;
use crate::http::{ChangeRequest, FORWARDED, LeaseChange, ReceiptOutcome};
use crate::http_client::{self, Lookup, percent_encoded};
use crate::programs::endpoint_client;
use crate::text::beginning;

/// The most idle connections to all endpoints, and to one.
const IDLE_CONNECTIONS: usize = 32;
const IDLE_OF_ONE: usize = 16;
/// An idle connection is kept no longer.
const LONGEST_IDLE: Duration = Duration::from_secs(30);
/// The longest answer, in bytes: it repeats each receipt.
const LONGEST_ANSWER: u64 = 8 << 20;
/// So much of another endpoint's words is told, in bytes.
const TOLD: usize = 400;

/// Sends requests to other endpoints, which have the same scheme as this one.
pub struct Forward {
    scheme: &'static str,
    /// The file of the endpoint's certificate.
    certificate: Option<PathBuf>,
    idle: Duration,
    agent: Mutex<Option<Agent>>,
    own_address: OnceLock<Option<String>>,
}

/// What is sent, and where.
pub struct Target<'a> {
    /// The `host:port` of the endpoint.
    pub address: &'a str,
    /// The receipts that it gave.
    pub receipts: &'a [String],
    /// What is asked.
    pub request: &'a ChangeRequest,
}

impl Forward {
    /// As an endpoint with these settings.
    pub fn new(settings: &ProducerApiSettings) -> Forward {
        let certificate = settings.tls_certificate.clone();
        Forward {
            scheme: endpoint_client::scheme(certificate.as_deref()),
            certificate,
            // The other endpoint must not be the first to close it.
            idle: LONGEST_IDLE.min(settings.idle_timeout() / 2),
            agent: Mutex::default(),
            own_address: OnceLock::new(),
        }
    }

    /// This endpoint is reached at `address`.
    pub fn set_own_address(&self, address: Option<String>) {
        // It is told once.
        let _ = self.own_address.set(address);
    }

    /// Sends a request; gives the outcomes of its receipts, in their order, by `deadline`.
    pub fn send(&self, target: &Target<'_>, deadline: Instant) -> Vec<ReceiptOutcome> {
        let all = |outcome: ReceiptOutcome| vec![outcome; target.receipts.len()];
        if self.own_address.get().is_some_and(|own| own.as_deref() == Some(target.address)) {
            return all(not_there(target.address));
        }
        let agent = match self.agent() {
            Ok(agent) => agent,
            Err(why) => return all(ReceiptOutcome::Unavailable(why)),
        };
        match self.exchange(&agent, target, deadline) {
            Ok((status, body)) => outcomes(target, status, &body),
            Err(why) => all(ReceiptOutcome::Unanswered(format!(
                "the endpoint that gave it, {}, does not answer: {why}",
                target.address
            ))),
        }
    }

    /// Status and body of the answer; else why there is none.
    fn exchange(
        &self,
        agent: &Agent,
        target: &Target<'_>,
        deadline: Instant,
    ) -> Result<(u16, Vec<u8>), String> {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err("it took too long to find it".to_owned());
        }
        let Target { address, receipts, request } = target;
        let url = format!("{}://{address}{}", self.scheme, path(request));
        let mut message =
            Request::post(url).header("content-type", "application/json").header(FORWARDED, "1");
        if let Some(authorization) = &request.caller.authorization {
            message = message.header("authorization", authorization);
        }
        let message = message.body(body(receipts, &request.change)).map_err(|error| error.to_string())?;
        let message = agent.configure_request(message).timeout_global(Some(left)).build();
        let response = agent.run(message).map_err(|error| error.to_string())?;
        let status = response.status().as_u16();
        let mut body = Vec::new();
        let read = response.into_body().into_reader().take(LONGEST_ANSWER).read_to_end(&mut body);
        read.map(|_| (status, body)).map_err(|error| error.to_string())
    }

    fn agent(&self) -> Result<Agent, String> {
        let mut agent = lock(&self.agent);
        if let Some(agent) = agent.as_ref() {
            return Ok(agent.clone());
        }
        let connect = endpoint_client::connect(self.certificate.as_deref())?;
        let config = http_client::config()
            .accept("application/json")
            .max_idle_connections(IDLE_CONNECTIONS)
            .max_idle_connections_per_host(IDLE_OF_ONE)
            .max_idle_age(self.idle)
            .build();
        Ok(agent.insert(Agent::with_parts(config, connect, Lookup::new(true))).clone())
    }
}

/// The path of a request, with its query.
fn path(request: &ChangeRequest) -> String {
    let encoded = |text: &str| {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~');
        percent_encoded(text.as_bytes(), is_plain)
    };
    let action = match request.change {
        LeaseChange::Acknowledge => "ack",
        LeaseChange::GiveBack { .. } => "nack",
        LeaseChange::Extend(_) => "extend",
    };
    let group = request.group.as_deref().map(|group| format!("?group={}", encoded(group)));
    format!("/queues/{}/{action}{}", encoded(&request.topic), group.unwrap_or_default())
}

fn body(receipts: &[String], change: &LeaseChange) -> Vec<u8> {
    let ms = |time: &Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    let body = match change {
        LeaseChange::Acknowledge => json!({ "receipts": receipts }),
        LeaseChange::GiveBack { delay, error, dead } => json!({
            "receipts": receipts, "delay_ms": delay.as_ref().map(ms), "error": error, "dead": dead,
        }),
        LeaseChange::Extend(lease) => json!({ "receipts": receipts, "lease_ms": ms(lease) }),
    };
    body.to_string().into_bytes()
}

/// What is said where somebody else answers at the address of an endpoint.
fn not_there(address: &str) -> ReceiptOutcome {
    ReceiptOutcome::Unanswered(format!(
        "at {address} is not the endpoint that gave it: either that one has ended, or its setting \
         producer_api.advertised names another's address"
    ))
}

/// The outcome where an endpoint refuses, for this reason.
fn refused(status: u16, why: String) -> ReceiptOutcome {
    match status {
        401 | 403 | 429 => ReceiptOutcome::Refused(status, why),
        400..500 | 503 => ReceiptOutcome::Unavailable(why),
        _ => ReceiptOutcome::Unanswered(why),
    }
}

/// The outcomes in an answer.
fn outcomes(target: &Target<'_>, status: u16, body: &[u8]) -> Vec<ReceiptOutcome> {
    let Target { address, receipts, .. } = target;
    let answer: Value = serde_json::from_slice(body).unwrap_or_default();
    let Some(results) = answer.get("results").and_then(Value::as_array) else {
        let outcome = match text(answer.pointer("/error/message")) {
            Some(why) => refused(status, format!("the endpoint that gave it, {address}: {why}")),
            None => {
                ReceiptOutcome::Unanswered(format!("{address} answers with {status}, and is no endpoint"))
            }
        };
        return vec![outcome; receipts.len()];
    };
    let said =
        |(receipt, result): (&String, &Value)| result.get("receipt").and_then(Value::as_str) == Some(receipt);
    if results.len() != receipts.len() || !receipts.iter().zip(results).all(said) {
        let why = format!("{address} answers for other receipts");
        return vec![ReceiptOutcome::Unanswered(why); receipts.len()];
    }
    results.iter().map(|result| outcome(address, result)).collect()
}

/// What is said of one receipt.
fn outcome(address: &str, result: &Value) -> ReceiptOutcome {
    let status = result.get("status").and_then(Value::as_u64).and_then(|status| u16::try_from(status).ok());
    match status {
        Some(200) => ReceiptOutcome::Done,
        Some(404) => ReceiptOutcome::Unknown,
        Some(409) => ReceiptOutcome::Late,
        Some(421) => not_there(address),
        Some(status) => refused(status, text(result.get("error")).unwrap_or_default()),
        None => ReceiptOutcome::Unanswered(format!("{address} answers without a status")),
    }
}

/// The beginning of another endpoint's words.
fn text(value: Option<&Value>) -> Option<String> {
    value.and_then(Value::as_str).map(|text| beginning(text, TOLD).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::Caller;

    fn request(topic: &str, group: Option<&str>, change: LeaseChange) -> ChangeRequest {
        let group = group.map(str::to_owned);
        let (receipts, caller) = (Vec::new(), Caller::default());
        ChangeRequest { topic: topic.to_owned(), group, receipts, change, caller }
    }

    #[test]
    fn a_forward_says_what_the_request_said() {
        let delay = Some(Duration::from_millis(7));
        let back = LeaseChange::GiveBack { delay, error: Some("no".to_owned()), dead: false };
        let receipts = ["r".to_owned()];
        for (change, expected_path, expected_body) in [
            (LeaseChange::Acknowledge, "/queues/a.b/ack", r#"{"receipts":["r"]}"#),
            (back, "/queues/a.b/nack", r#"{"dead":false,"delay_ms":7,"error":"no","receipts":["r"]}"#),
            (
                LeaseChange::Extend(Duration::from_secs(2)),
                "/queues/a.b/extend",
                r#"{"lease_ms":2000,"receipts":["r"]}"#,
            ),
        ] {
            let said: Value = serde_json::from_slice(&body(&receipts, &change)).unwrap();
            assert_eq!(said, serde_json::from_str::<Value>(expected_body).unwrap());
            assert_eq!(path(&request("a.b", None, change)), expected_path);
        }
        let limited = request("a", Some("g &/ñ"), LeaseChange::Acknowledge);
        assert_eq!(path(&limited), "/queues/a/ack?group=g%20%26%2F%C3%B1");
    }

    #[test]
    fn an_answer_counts_where_it_is_one_for_these_receipts() {
        let request = request("t", None, LeaseChange::Acknowledge);
        let receipts = ["a".to_owned(), "b".to_owned()];
        let target = Target { address: "x:1", receipts: &receipts, request: &request };
        let result =
            |receipt: &str, status: u16| json!({"receipt": receipt, "status": status, "error": "why"});
        let of = |status, body: Value| outcomes(&target, status, body.to_string().as_bytes());
        let both = |one, other| of(207, json!({"results": [result("a", one), result("b", other)]}));
        assert_eq!(both(200, 409), [ReceiptOutcome::Done, ReceiptOutcome::Late]);
        assert_eq!(both(404, 503), [ReceiptOutcome::Unknown, ReceiptOutcome::Unavailable("why".to_owned())]);
        let is_unanswered = |outcome: &ReceiptOutcome| matches!(outcome, ReceiptOutcome::Unanswered(_));
        for wrong in [
            both(421, 504),
            both(500, 299),
            of(200, json!({"results": [result("b", 200), result("a", 200)]})),
            of(200, json!({"results": [result("a", 200)]})),
            of(200, json!({"results": [{}, {}]})),
            of(200, json!({})),
            of(302, json!({"error": {"message": "elsewhere"}})),
            outcomes(&target, 200, b"<html>"),
        ] {
            assert!(wrong.iter().all(is_unanswered), "{wrong:?}");
        }
        let denied = of(403, json!({"error": {"code": "missing_right", "message": "No."}}));
        let why = "the endpoint that gave it, x:1: No.".to_owned();
        assert_eq!(denied, vec![ReceiptOutcome::Refused(403, why); 2]);
        let other = of(413, json!({"error": {"code": "body_too_large", "message": "No."}}));
        assert!(other.iter().all(|outcome| matches!(outcome, ReceiptOutcome::Unavailable(_))), "{other:?}");
    }
}
