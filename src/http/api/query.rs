//! The parameters in the query of a request. What is not known is refused, and the answer names what is.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use super::uri;
use crate::http::response::Response;
use crate::text::{beginning, closest};

/// The most bytes of an unknown parameter's name that an answer shows.
const SHOWN: usize = 40;

/// 400: a parameter with a value that it cannot have.
pub(super) fn bad(sentence: &str) -> Response {
    Response::error(400, "bad_parameter", sentence)
}

/// 400: a parameter that is no whole number within `range`.
pub(super) fn out_of_range(name: &str, range: &RangeInclusive<u64>) -> Response {
    bad(&format!("`{name}` must be a whole number from {} to {}.", range.start(), range.end()))
}

/// 400: a parameter that the path does not take.
fn unknown(name: &str, known: &[&str]) -> Response {
    let takes = match known {
        [] => "This path takes no parameters".to_owned(),
        [one] => format!("This path takes the parameter {one} alone"),
        more => format!("This path takes the parameters {} alone", more.join(", ")),
    };
    let meant = closest(name, known.iter().copied()).map(|name| format!(" (did you mean {name}?)"));
    let name = beginning(name, SHOWN);
    let sentence = format!("{takes}; `{name}` is none of them{}.", meant.unwrap_or_default());
    Response::error(400, "unknown_parameter", &sentence)
}

/// The parameters of a query.
#[derive(Debug)]
pub(crate) struct Parameters(BTreeMap<String, String>);

impl Parameters {
    /// Reads a query.
    ///
    /// # Errors
    /// It has a parameter that is not `known`, one twice, or one that is not percent-encoded UTF-8.
    pub(crate) fn read(query: &str, known: &[&str]) -> Result<Parameters, Response> {
        let mut found = BTreeMap::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            if !known.contains(&name) {
                return Err(unknown(name, known));
            }
            let value = uri::form_value(value);
            let value = value
                .ok_or_else(|| bad(&format!("`{name}` is not percent-encoded UTF-8 (RFC 3986 §2.1).")))?;
            if found.insert(name.to_owned(), value).is_some() {
                return Err(bad(&format!("The query has `{name}` more than once.")));
            }
        }
        Ok(Parameters(found))
    }

    /// The text of a parameter, if it is there.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// A message's key, if it is there; an empty one is none.
    pub(crate) fn key(&self) -> Option<Vec<u8>> {
        self.text("key").filter(|key| !key.is_empty()).map(|key| key.as_bytes().to_vec())
    }

    /// A whole number within `range`, if it is there.
    ///
    /// # Errors
    /// It is something else.
    pub(crate) fn number(&self, name: &str, range: RangeInclusive<u64>) -> Result<Option<u64>, Response> {
        let Some(text) = self.text(name) else { return Ok(None) };
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let number = text.parse().ok().filter(|number| digits && range.contains(number));
        number.map(Some).ok_or_else(|| out_of_range(name, &range))
    }

    /// The one of `choices` that is named, if one is.
    ///
    /// # Errors
    /// It is something else.
    pub(crate) fn choice<T: Copy>(&self, name: &str, choices: &[(&str, T)]) -> Result<Option<T>, Response> {
        let Some(text) = self.text(name) else { return Ok(None) };
        let chosen = choices.iter().find(|(word, _)| *word == text).map(|(_, choice)| *choice);
        chosen.map(Some).ok_or_else(|| {
            let words: Vec<&str> = choices.iter().map(|(word, _)| *word).collect();
            bad(&format!("`{name}` must be {}.", words.join(" or ")))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_read_and_what_is_not_known_is_named() {
        let read = |query: &str| Parameters::read(query, &["key", "max"]);
        let found = read("key=a%20b+c%26%2B&max=7").unwrap();
        assert_eq!((found.text("key"), found.key()), (Some("a b c&+"), Some(b"a b c&+".to_vec())));
        assert_eq!(found.number("max", 1..=10).unwrap(), Some(7));
        assert_eq!(read("").unwrap().number("max", 1..=10).unwrap(), None);
        for (query, key) in
            [("key=%C3%B1", Some("ñ")), ("key=a=b", Some("a=b")), ("key=", None), ("key", None)]
        {
            assert_eq!(read(query).unwrap().key(), key.map(|key| key.as_bytes().to_vec()), "{query:?}");
        }
        for wrong in ["maximum=1", "max=1&max=2", "max=%", "x", "key=%2", "key=%GG", "key=%FF", "key&key"] {
            assert_eq!(read(wrong).unwrap_err().status, 400, "{wrong}");
        }
        for wrong in ["0", "11", "-1", "+1", "", "1.0", "x", "99999999999999999999"] {
            assert!(read(&format!("max={wrong}")).unwrap().number("max", 1..=10).is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_unknown_parameter_is_named_with_the_one_that_was_meant() {
        let sentence = |known: &[&str]| {
            let body = Parameters::read("kye=a", known).unwrap_err().body;
            let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
            body["message"].as_str().unwrap().to_owned()
        };
        let meant =
            "This path takes the parameters key, max alone; `kye` is none of them (did you mean key?).";
        assert_eq!(sentence(&["key", "max"]), meant);
        assert_eq!(sentence(&[]), "This path takes no parameters; `kye` is none of them.");
    }

    #[test]
    fn a_choice_is_one_of_its_words() {
        let choice = |query| {
            Parameters::read(query, &["async"]).unwrap().choice("async", &[("true", 1), ("false", 2)])
        };
        assert_eq!((choice("async=true").unwrap(), choice("").unwrap()), (Some(1), None));
        assert_eq!(choice("async=wrong").unwrap_err().status, 400);
    }
}
