//! The id of a request: its answer carries it, and every log line about what it asked for.

use std::fmt;
use std::sync::Arc;

use crate::error::{Error, Result};

/// The longest id that is taken from a client, in bytes.
const LONGEST: usize = 128;

/// Names one request: by the id that its client gave it, or by one of ours.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RequestId(Arc<str>);

impl RequestId {
    /// The id that a client gives, if it is of sane shape: up to 128 letters, digits and `._:/+=@-`, so that
    /// it can stand in a header and in a line of the log.
    pub fn given(value: &[u8]) -> Option<RequestId> {
        let legal = |byte: &u8| byte.is_ascii_alphanumeric() || b"._:/+=@-".contains(byte);
        let text = std::str::from_utf8(value).ok()?;
        (matches!(value.len(), 1..=LONGEST) && value.iter().all(legal)).then(|| RequestId(text.into()))
    }

    /// Its text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Gives each request an id, where its client gives none. The first part, 16 hexadecimal digits, is random
/// for each endpoint, so that ids of two runs do not meet and nobody can guess another's; the second counts.
#[derive(Debug)]
pub struct RequestIds {
    endpoint: u64,
    number: u64,
}

impl RequestIds {
    /// Those of one endpoint.
    ///
    /// # Errors
    /// The system has no randomness.
    pub fn new() -> Result<RequestIds> {
        let bytes = net::random::bytes().map_err(|error| Error::new(error.to_string()))?;
        Ok(RequestIds { endpoint: u64::from_ne_bytes(bytes), number: 0 })
    }

    /// The next request's.
    pub fn make(&mut self) -> RequestId {
        self.number = self.number.wrapping_add(1);
        RequestId(format!("{:016x}-{}", self.endpoint, self.number).into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_ids_are_alike_and_each_is_of_the_shape_that_is_taken() {
        let (mut ids, mut others) = (RequestIds::new().unwrap(), RequestIds::new().unwrap());
        let (first, second, other) = (ids.make(), ids.make(), others.make());
        assert!(first != second && first != other);
        assert_eq!(RequestId::given(first.as_str().as_bytes()), Some(first));
    }

    #[test]
    fn an_id_of_sane_shape_is_taken_and_no_other() {
        let longest = "a".repeat(LONGEST);
        for id in ["x", "4bf92f35-77b3:4da6/a+3=@.c_e", &longest] {
            assert_eq!(RequestId::given(id.as_bytes()).map(|id| id.to_string()).as_deref(), Some(id));
        }
        let longer = "a".repeat(LONGEST + 1);
        for id in ["", " ", "a b", "a,b", "a\"b", "a;b", "a\nb", "\u{1b}[2J", "{id}", "a\\b", "ñ", &longer] {
            assert_eq!(RequestId::given(id.as_bytes()), None, "{id:?}");
        }
        assert_eq!(RequestId::given(b"\xff"), None);
    }
}
