//! The two servers: what they are asked, and what they answer.

use std::ops::Range;

use serde_json::{Value, json};

use super::Outcome;
use super::connection::Connection;

/// Messages in a request to our endpoint, and to SQS, which takes no more.
const MOST_OURS: u64 = 500;
const MOST_SQS: u64 = 10;

/// A message that was received.
pub struct Received {
    pub receipt: String,
    pub number: u64,
}

/// A server with a topic or a queue.
pub enum Kind {
    /// Our endpoint: workers are of the group that is called as the topic.
    Ours { address: String, topic: String },
    /// SQS, in JSON (AWS JSON 1.0).
    Sqs { address: String, url: String },
}

impl Kind {
    /// The server of this kind.
    pub fn of(kind: &str, address: &str, name: &str) -> Outcome<Kind> {
        let address = address.to_owned();
        match kind {
            "ours" => Ok(Kind::Ours { address, topic: name.to_owned() }),
            "sqs" => {
                let mut connection = Connection::open(&address)?;
                let made = sqs(&mut connection, "CreateQueue", &json!({ "QueueName": name }))?;
                let url =
                    made.get("QueueUrl").and_then(Value::as_str).ok_or("a queue without a URL")?.to_owned();
                Ok(Kind::Sqs { address, url })
            }
            _ => Err(format!("{kind} is neither ours nor sqs").into()),
        }
    }

    /// Where it listens.
    pub fn address(&self) -> &str {
        match self {
            Kind::Ours { address, .. } | Kind::Sqs { address, .. } => address,
        }
    }

    /// The most messages of [`Kind::send`].
    pub fn most_sent(&self) -> u64 {
        match self {
            Kind::Ours { .. } => MOST_OURS,
            Kind::Sqs { .. } => MOST_SQS,
        }
    }

    /// Puts messages in.
    pub fn send(&self, connection: &mut Connection, numbers: Range<u64>) -> Outcome<()> {
        match self {
            Kind::Ours { topic, .. } => {
                let records: Vec<Value> = numbers.map(|number| json!({ "value": value(number) })).collect();
                let body = json!({ "records": records }).to_string();
                let answer = connection.post(&format!("/topics/{topic}"), JSON, body.as_bytes())?;
                let answer: Value = serde_json::from_slice(&answer)?;
                let offsets = answer.get("offsets").and_then(Value::as_array);
                let refused = |one: &&Value| !one.get("error_code").is_some_and(Value::is_null);
                match offsets.map(|offsets| offsets.iter().find(refused)) {
                    Some(None) => Ok(()),
                    Some(Some(refused)) => Err(format!("not all were stored: {refused}").into()),
                    None => Err(format!("no offsets: {answer}").into()),
                }
            }
            Kind::Sqs { url, .. } => {
                let body = |number| value(number).to_string();
                let entry = |number: u64| json!({ "Id": number.to_string(), "MessageBody": body(number) });
                let entries: Vec<Value> = numbers.map(entry).collect();
                let sent = json!({ "QueueUrl": url, "Entries": entries });
                none_failed(&sqs(connection, "SendMessageBatch", &sent)?)
            }
        }
    }

    /// Puts one message in, by the way that is meant for one.
    pub fn send_one(&self, connection: &mut Connection, number: u64) -> Outcome<()> {
        match self {
            Kind::Ours { topic, .. } => {
                let body = json!({ "records": [{ "value": value(number) }] }).to_string();
                connection.post(&format!("/topics/{topic}"), JSON, body.as_bytes())?;
            }
            Kind::Sqs { url, .. } => {
                let message = json!({ "QueueUrl": url, "MessageBody": value(number).to_string() });
                sqs(connection, "SendMessage", &message)?;
            }
        }
        Ok(())
    }

    /// Asks for messages, and to wait so many seconds for the first one; [`Kind::received`] has the answer.
    pub fn ask(&self, connection: &mut Connection, most: usize, seconds: u64) -> Outcome<()> {
        match self {
            Kind::Ours { topic, .. } => {
                let wait = 1_000 * seconds;
                let path = format!("/queues/{topic}/receive?group={topic}&max={most}&wait_ms={wait}");
                connection.send(&path, "", b"")?;
            }
            Kind::Sqs { url, .. } => {
                let ask = json!({ "QueueUrl": url, "MaxNumberOfMessages": most, "WaitTimeSeconds": seconds });
                connection.send("/", &target("ReceiveMessage"), ask.to_string().as_bytes())?;
            }
        }
        Ok(())
    }

    /// The messages that were asked for.
    pub fn received(&self, connection: &mut Connection) -> Outcome<Vec<Received>> {
        let answer: Value = serde_json::from_slice(&connection.ok()?)?;
        let (messages, receipt) = match self {
            Kind::Ours { .. } => (answer.get("messages"), "receipt"),
            Kind::Sqs { .. } => (answer.get("Messages"), "ReceiptHandle"),
        };
        let received = |message: &Value| -> Outcome<Received> {
            let number = match self {
                Kind::Ours { .. } => message.pointer("/value/id").and_then(Value::as_u64),
                Kind::Sqs { .. } => {
                    let body = message.get("Body").and_then(Value::as_str).unwrap_or_default();
                    serde_json::from_str::<Value>(body)?.get("id").and_then(Value::as_u64)
                }
            };
            let number = number.ok_or("a message of somebody else")?;
            let receipt =
                message.get(receipt).and_then(Value::as_str).ok_or("a message without a receipt")?.to_owned();
            Ok(Received { receipt, number })
        };
        messages.and_then(Value::as_array).into_iter().flatten().map(received).collect()
    }

    /// Says that messages are handled; all have to be taken as that.
    pub fn acknowledge(&self, connection: &mut Connection, messages: &[Received]) -> Outcome<()> {
        match (self, messages) {
            (Kind::Ours { topic, .. }, _) => {
                let receipts: Vec<&str> = messages.iter().map(|message| message.receipt.as_str()).collect();
                let body = json!({ "receipts": receipts }).to_string();
                connection.post(&format!("/queues/{topic}/ack"), JSON, body.as_bytes())?;
                Ok(())
            }
            (Kind::Sqs { url, .. }, [message]) => {
                let handled = json!({ "QueueUrl": url, "ReceiptHandle": message.receipt });
                sqs(connection, "DeleteMessage", &handled).map(drop)
            }
            (Kind::Sqs { url, .. }, messages) => {
                let id = |message: &Received| message.number.to_string();
                let entry =
                    |message: &Received| json!({ "Id": id(message), "ReceiptHandle": message.receipt });
                let entries: Vec<Value> = messages.iter().map(entry).collect();
                let handled = json!({ "QueueUrl": url, "Entries": entries });
                none_failed(&sqs(connection, "DeleteMessageBatch", &handled)?)
            }
        }
    }
}

const JSON: &str = "Content-Type: application/json\r\n";

/// A message of about a hundred bytes.
fn value(number: u64) -> Value {
    let text = "Hola desde Kafka, este mensaje tiene unos cien bytes, como los de cada dia ....";
    json!({ "id": number, "contenido": text })
}

fn target(action: &str) -> String {
    format!("Content-Type: application/x-amz-json-1.0\r\nX-Amz-Target: AmazonSQS.{action}\r\n")
}

fn sqs(connection: &mut Connection, action: &str, body: &Value) -> Outcome<Value> {
    let answer = connection.post("/", &target(action), body.to_string().as_bytes())?;
    // Deleting one message is answered with nothing.
    Ok(if answer.is_empty() { Value::Null } else { serde_json::from_slice(&answer)? })
}

fn none_failed(answer: &Value) -> Outcome<()> {
    match answer.get("Failed").and_then(Value::as_array) {
        Some(failed) if !failed.is_empty() => Err(format!("not all were taken: {answer}").into()),
        _ => Ok(()),
    }
}
