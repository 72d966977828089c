//! `GET /openapi.json`: the routes of this endpoint, for programs (OpenAPI 3.1.0).
//!
//! The document is written by hand. The tests of `backend::route` compare its paths with the routes;
//! `tests/it/openapi` compares it with the responses.

use crate::http::response::Response;
use crate::http::static_files;

/// The document.
pub(crate) const DOCUMENT: &str = include_str!("openapi.json");

/// The response with the document, or 304 if `if_none_match` names its version.
pub(crate) fn respond(if_none_match: Option<&str>) -> Response {
    static_files::respond(if_none_match, "application/json", DOCUMENT, "")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::Value;

    use super::*;

    #[test]
    fn every_reference_is_defined_and_every_definition_is_referred_to() {
        let document: Value = serde_json::from_str(DOCUMENT).unwrap();
        let mut referred: BTreeMap<&str, usize> = BTreeMap::new();
        let mut open = vec![&document];
        while let Some(value) = open.pop() {
            match value {
                Value::Object(members) => {
                    if let Some(place) = members.get("$ref") {
                        *referred.entry(place.as_str().unwrap()).or_default() += 1;
                    }
                    open.extend(members.values());
                }
                Value::Array(values) => open.extend(values),
                _ => {}
            }
        }
        for place in referred.keys() {
            assert!(document.pointer(place.trim_start_matches('#')).is_some(), "{place} is not there");
        }
        for kind in ["parameters", "headers", "responses", "schemas"] {
            for name in document["components"][kind].as_object().unwrap().keys() {
                // 405 is the answer to methods that a path does not have, so no operation has it.
                let used = referred.contains_key(&*format!("#/components/{kind}/{name}"));
                assert!(used || name == "MethodNotAllowed", "{kind} {name} is of no use");
            }
        }
    }
}
