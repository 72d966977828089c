//! The Postman collection: each of its requests has the answer that it says.

use std::collections::BTreeSet;
use std::io::Write;
use std::net::{SocketAddr, TcpStream};

use serde_json::Value;

use super::DOCUMENT;
use super::endpoint::Endpoint;
use crate::support::http::RawClient;
use crate::support::{PATIENCE, my_turn};

const COLLECTION: &str = include_str!("../../../docs/point-to-point.postman_collection.json");

/// The requests, whatever folder they are in.
fn requests(item: &Value) -> Vec<&Value> {
    match item["item"].as_array() {
        Some(items) => items.iter().flat_map(requests).collect(),
        None => vec![item],
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text"))
}

/// What stands behind the address in a request's URL.
fn target(item: &Value) -> &str {
    let url = text(&item["request"]["url"]);
    url.strip_prefix("{{address}}").unwrap_or_else(|| panic!("{url} is elsewhere"))
}

/// The text with the values of the collection's variables.
fn filled_in(template: &str, collection: &Value) -> String {
    let variables = collection["variable"].as_array().expect("variables");
    let filled = variables.iter().fold(template.to_owned(), |text_so_far, variable| {
        text_so_far.replace(&format!("{{{{{}}}}}", text(&variable["key"])), text(&variable["value"]))
    });
    assert!(!filled.contains("{{"), "{filled} has a variable that the collection has not");
    filled
}

/// Sends a request and gives status, media type and body; the body of a stream is not waited for.
fn send(address: SocketAddr, item: &Value, collection: &Value) -> (u64, String, Vec<u8>) {
    let request = &item["request"];
    let path = filled_in(target(item), collection);
    let mut head = format!("{} {path} HTTP/1.1\r\nHost: {address}\r\n", text(&request["method"]));
    for header in request["header"].as_array().into_iter().flatten() {
        head += &format!("{}: {}\r\n", text(&header["key"]), text(&header["value"]));
    }
    let body = request["body"]["raw"].as_str().unwrap_or_default();
    head += &format!("Content-Length: {}\r\n\r\n{body}", body.len());
    let mut stream = TcpStream::connect(address).expect("a connection");
    stream.set_read_timeout(Some(PATIENCE)).expect("a deadline");
    stream.write_all(head.as_bytes()).expect("it reads");
    let answer = RawClient::new(stream).read_answer();
    let answer = answer.unwrap_or_else(|error| panic!("no whole answer to {path}: {error}"));
    let media_type = answer.header("content-type").unwrap_or_default().to_owned();
    (answer.status.into(), media_type, answer.body)
}

/// The names of the members of a JSON object; none of anything else.
fn members(body: &[u8]) -> BTreeSet<String> {
    let json: Value = serde_json::from_slice(body).unwrap_or_default();
    json.as_object().map(|object| object.keys().cloned().collect()).unwrap_or_default()
}

#[test]
fn each_request_of_the_collection_has_the_answer_that_it_says() {
    let _turn = my_turn();
    let endpoint = Endpoint::start();
    let collection: Value = serde_json::from_str(COLLECTION).expect("JSON");
    for item in requests(&collection) {
        let name = text(&item["name"]);
        let said = &item["response"][0];
        let (status, media_type, body) = send(endpoint.program.address(), item, &collection);
        let shown = String::from_utf8_lossy(&body);
        assert_eq!(Some(status), said["code"].as_u64(), "{name}: {shown}");
        let said_type = said["header"][0]["value"].as_str().unwrap_or_default();
        assert_eq!(media_type, said_type, "{name}");
        assert_eq!(members(&body), members(text(&said["body"]).as_bytes()), "{name}: {shown}");
        let script = text(&item["event"][0]["script"]["exec"][0]);
        assert!(script.contains(&format!("have.status({status})")), "{name} tests {script}");
    }
}

#[test]
fn the_collection_has_every_path_of_the_document_with_every_method() {
    let collection: Value = serde_json::from_str(COLLECTION).expect("JSON");
    let path_of = |item: &Value| {
        let path = target(item).split('?').next().unwrap_or_default();
        path.replace("{{", "{").replace("}}", "}")
    };
    let here: BTreeSet<(String, String)> = requests(&collection)
        .into_iter()
        .map(|item| (text(&item["request"]["method"]).to_owned(), path_of(item)))
        .filter(|(_, path)| path != "/topics/no-existe")
        .collect();
    let document: Value = serde_json::from_str(DOCUMENT).expect("JSON");
    let methods = |(path, item): (&String, &Value)| -> Vec<(String, String)> {
        let methods = item.as_object().expect("a path").keys();
        let methods = methods.filter(|key| !["parameters", "head"].contains(&key.as_str()));
        methods.map(|method| (method.to_uppercase(), path.clone())).collect()
    };
    let there: BTreeSet<_> = document["paths"].as_object().expect("paths").iter().flat_map(methods).collect();
    assert_eq!(here, there);
}
