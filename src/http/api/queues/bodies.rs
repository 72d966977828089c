//! The bodies of requests to queues. What is not known is refused, and the answer names what is.

use std::ops::RangeInclusive;
use std::time::Duration;

use serde_json::{Map, Value};

use super::{MOST, QueueAction};
use crate::http::api::query::{Parameters, bad, out_of_range};
use crate::http::queues::LeaseChange;
use crate::http::response::Response;

/// The longest delay of a message that is given back: 30 days, in ms.
const LONGEST_DELAY: u64 = 30 * 24 * 60 * 60 * 1_000;
/// The longest error that a worker can tell, in bytes.
const LONGEST_ERROR: usize = 4_096;
/// The longest name of a group, in characters.
const LONGEST_GROUP: usize = 255;

/// The group that a query names, if it names one.
///
/// # Errors
/// It cannot be a group.
pub(super) fn group_of(parameters: &Parameters) -> Result<Option<String>, Response> {
    let Some(group) = parameters.text("group") else { return Ok(None) };
    let legal = (1..=LONGEST_GROUP).contains(&group.chars().count()) && !group.chars().any(char::is_control);
    let sentence = "`group` must be 1 to 255 characters, none of them a control character.";
    if legal { Ok(Some(group.to_owned())) } else { Err(bad(sentence)) }
}

/// Checks the body of a `receive`.
///
/// # Errors
/// It is neither empty nor `{}`.
pub(super) fn empty_body(body: &[u8]) -> Result<(), Response> {
    let is_empty = body.trim_ascii().is_empty()
        || serde_json::from_slice::<Map<String, Value>>(body).is_ok_and(|object| object.is_empty());
    let sentence = "The parameters of a receive are in its query; its body is empty, or {}.";
    if is_empty { Ok(()) } else { Err(Response::error(400, "bad_body", sentence)) }
}

/// The receipts and the change in a body; `lease` is what a lease may last, in ms.
///
/// # Errors
/// The body is not as it has to be.
pub(super) fn body_of_change(
    action: QueueAction,
    body: &[u8],
    lease: RangeInclusive<u64>,
) -> Result<(Vec<String>, LeaseChange), Response> {
    let known: &[&str] = match action {
        QueueAction::GiveBack => &["receipts", "delay_ms", "error", "dead"],
        QueueAction::Extend => &["receipts", "lease_ms"],
        _ => &["receipts"],
    };
    let wrong = |sentence: &str| Response::error(400, "bad_body", sentence);
    let object: Map<String, Value> = serde_json::from_slice(body)
        .map_err(|_| wrong("The body is not a JSON object like {\"receipts\":[\"…\"]}."))?;
    if let Some(name) = object.keys().find(|name| !known.contains(&name.as_str())) {
        let name = name.chars().take(40).collect::<String>();
        return Err(wrong(&format!("The body has {name:?}; it may have {} alone.", known.join(", "))));
    }
    let number = |name: &str, range: RangeInclusive<u64>| match object.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => match whole(value).filter(|number| range.contains(number)) {
            Some(number) => Ok(Some(number)),
            None => Err(out_of_range(name, &range)),
        },
    };
    let change = match action {
        QueueAction::GiveBack => LeaseChange::GiveBack {
            delay: number("delay_ms", 0..=LONGEST_DELAY)?.map(Duration::from_millis),
            error: error_of(object.get("error"))?,
            dead: match object.get("dead") {
                None | Some(Value::Null) => false,
                Some(Value::Bool(dead)) => *dead,
                Some(_) => return Err(bad("`dead` must be true or false.")),
            },
        },
        QueueAction::Extend => {
            let ms = number("lease_ms", lease.clone())?;
            LeaseChange::Extend(Duration::from_millis(ms.unwrap_or(super::USUAL_LEASE.min(*lease.end()))))
        }
        _ => LeaseChange::Acknowledge,
    };
    Ok((receipts_of(object.get("receipts"))?, change))
}

/// A whole number; `1.0` is one, as in JSON Schema.
fn whole(value: &Value) -> Option<u64> {
    let of_fraction = |number: f64| {
        let is_whole = number.fract() == 0.0 && (0.0..9e15).contains(&number);
        // It has no fraction, and fits.
        is_whole.then_some(number as u64)
    };
    value.as_u64().or_else(|| value.as_f64().and_then(of_fraction))
}

fn receipts_of(value: Option<&Value>) -> Result<Vec<String>, Response> {
    let texts = |list: &Vec<Value>| list.iter().map(|one| one.as_str().map(str::to_owned)).collect();
    let receipts: Option<Vec<String>> = match value {
        Some(Value::String(one)) => Some(vec![one.clone()]),
        Some(Value::Array(list)) if list.len() as u64 <= MOST => texts(list),
        _ => None,
    };
    let sentence = "`receipts` must be one receipt, or a list of 1 to 1000 of them, each as it was received.";
    receipts.filter(|receipts| !receipts.is_empty()).ok_or_else(|| Response::error(400, "bad_body", sentence))
}

fn error_of(value: Option<&Value>) -> Result<Option<String>, Response> {
    match value {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) if text.len() <= LONGEST_ERROR => Ok(Some(text.clone())),
        Some(_) => Err(bad("`error` must be text of at most 4096 bytes.")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_has_a_name_of_some_length() {
        let group = |query: &str| group_of(&Parameters::read(query, &["group"]).unwrap());
        assert_eq!(group("group=a%20b+c").unwrap().as_deref(), Some("a b c"));
        assert_eq!(group("").unwrap(), None);
        for wrong in ["group=", "group=%00", &format!("group={}", "x".repeat(256))] {
            assert_eq!(group(wrong).unwrap_err().status, 400, "{wrong}");
        }
    }

    #[test]
    fn a_receive_has_no_body() {
        for body in ["", " \n", "{}", " { } "] {
            assert!(empty_body(body.as_bytes()).is_ok(), "{body:?}");
        }
        for body in ["[]", "{\"max\":1}", "null", "{", "x"] {
            assert!(empty_body(body.as_bytes()).is_err(), "{body:?}");
        }
    }

    #[test]
    fn a_change_names_one_receipt_or_a_list() {
        let read = |action, body: &str| body_of_change(action, body.as_bytes(), 1_000..=60_000);
        let (receipts, change) = read(QueueAction::Acknowledge, r#"{"receipts":["a","b"]}"#).unwrap();
        assert_eq!((receipts, change), (vec!["a".to_owned(), "b".to_owned()], LeaseChange::Acknowledge));
        assert_eq!(read(QueueAction::Acknowledge, r#"{"receipts":"a"}"#).unwrap().0, ["a"]);
        let body = r#"{"receipts":["a"],"delay_ms":5,"error":"no","dead":true}"#;
        let delay = Some(Duration::from_millis(5));
        let given_back = LeaseChange::GiveBack { delay, error: Some("no".to_owned()), dead: true };
        assert_eq!(read(QueueAction::GiveBack, body).unwrap().1, given_back);
        let extended = read(QueueAction::Extend, r#"{"receipts":["a"],"lease_ms":2000.0}"#).unwrap().1;
        assert_eq!(extended, LeaseChange::Extend(Duration::from_secs(2)));
        for (action, wrong) in [
            (QueueAction::Acknowledge, ""),
            (QueueAction::Acknowledge, "[]"),
            (QueueAction::Acknowledge, r#"{"receipts":[]}"#),
            (QueueAction::Acknowledge, r#"{"receipts":[1]}"#),
            (QueueAction::Acknowledge, r#"{"receipts":["a"],"delay_ms":1}"#),
            (QueueAction::GiveBack, r#"{"receipts":["a"],"delay_ms":-1}"#),
            (QueueAction::GiveBack, r#"{"receipts":["a"],"delay_ms":0.5}"#),
            (QueueAction::GiveBack, r#"{"receipts":["a"],"dead":"yes"}"#),
            (QueueAction::GiveBack, r#"{"receipts":["a"],"error":1}"#),
            (QueueAction::Extend, r#"{"receipts":["a"],"lease_ms":999}"#),
            (QueueAction::Extend, r#"{"receipts":["a"],"lease_ms":60001}"#),
        ] {
            assert_eq!(read(action, wrong).unwrap_err().status, 400, "{wrong}");
        }
        let many = serde_json::json!({"receipts": vec!["a"; 1_001]}).to_string();
        assert!(read(QueueAction::Acknowledge, &many).is_err());
    }
}
