//! `GET /openapi.json`: what this endpoint offers, for programs (OpenAPI 3.1.0). The document is written by hand; that
//! it names the very routes there are is tested here, that answers are as it says in `tests/openapi`.

use tiny_http::Request;

use super::answer::Answer;
use super::fixed;

const DOCUMENT: &str = include_str!("openapi.json");

/// The document.
pub(super) fn answer(request: &Request) -> Answer {
    fixed::answer(request, "application/json", DOCUMENT, "")
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use serde_json::Value;

    use super::super::page::File;
    use super::super::rest::Place;
    use super::super::routes::Route;
    use super::*;

    fn document() -> Value {
        serde_json::from_str(DOCUMENT).unwrap()
    }

    /// Every route there is: with a new one this does not build until it is listed.
    fn every_route() -> Vec<Route<'static>> {
        let (topic, partition) = ("{topic}", "{partition}");
        let files = [File::Index, File::Style, File::Script].map(Route::Page);
        let places = [
            Place::Topics,
            Place::Topic(topic),
            Place::Partitions(topic),
            Place::Partition(topic, partition),
            Place::Brokers,
        ];
        let told = [Route::Health, Route::Readiness, Route::Metrics, Route::OpenApi];
        let mut routes = vec![Route::Enviar, Route::Events, Route::Replay];
        routes.extend(told);
        routes.extend(files.into_iter().chain(places.map(Route::Rest)));
        for route in &routes {
            match route {
                Route::Enviar | Route::Events | Route::Replay => {}
                Route::Health | Route::Readiness | Route::Metrics | Route::OpenApi => {}
                Route::Page(File::Index | File::Style | File::Script) => {}
                Route::Rest(Place::Topics | Place::Topic(_) | Place::Partitions(_)) => {}
                Route::Rest(Place::Partition(..) | Place::Brokers) => {}
            }
        }
        routes
    }

    #[test]
    fn it_names_the_paths_and_methods_that_there_are_and_no_others() {
        let document = document();
        let mut left = every_route();
        for (path, item) in document["paths"].as_object().unwrap() {
            let route = Route::at(path).unwrap_or_else(|| panic!("there is no route {path}"));
            assert_eq!(route.template(), path);
            let methods: BTreeSet<&str> = route.methods().split(", ").collect();
            let named = item.as_object().unwrap().keys().filter(|key| *key != "parameters");
            let named: BTreeSet<String> = named.map(|method| method.to_uppercase()).collect();
            assert_eq!(named.iter().map(String::as_str).collect::<BTreeSet<_>>(), methods, "{path}");
            left.retain(|other| other.template() != path);
        }
        assert!(left.is_empty(), "not in the document: {left:?}");
    }

    #[test]
    fn whatever_it_refers_to_is_there_and_nothing_is_there_in_vain() {
        let document = document();
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
