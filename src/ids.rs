//! The id of a request: its answer carries it, and every log line about what it asked for.

use std::fmt;
use std::num::ParseIntError;
use std::str::FromStr;

use crate::error::{Error, Result};

/// Names one request. The first part, 16 hexadecimal digits, is random for each endpoint, so that ids of two
/// runs do not meet and nobody can guess another's; the second counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RequestId {
    endpoint: u64,
    number: u64,
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}-{}", self.endpoint, self.number)
    }
}

impl FromStr for RequestId {
    type Err = ParseIntError;

    fn from_str(text: &str) -> Result<RequestId, ParseIntError> {
        let (endpoint, number) = text.split_once('-').unwrap_or((text, ""));
        Ok(RequestId { endpoint: u64::from_str_radix(endpoint, 16)?, number: number.parse()? })
    }
}

/// Gives each request its id.
#[derive(Debug)]
pub struct RequestIds(RequestId);

impl RequestIds {
    /// Those of one endpoint.
    ///
    /// # Errors
    /// The system has no randomness.
    pub fn new() -> Result<RequestIds> {
        let bytes = net::random::bytes().map_err(|error| Error::new(error.to_string()))?;
        Ok(RequestIds(RequestId { endpoint: u64::from_ne_bytes(bytes), number: 0 }))
    }

    /// The next request's.
    pub fn make(&mut self) -> RequestId {
        self.0.number = self.0.number.wrapping_add(1);
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_survives_its_way_as_text_and_no_two_are_alike() {
        let (mut ids, mut others) = (RequestIds::new().unwrap(), RequestIds::new().unwrap());
        let (first, second, other) = (ids.make(), ids.make(), others.make());
        assert!(first != second && first != other);
        assert_eq!(first.to_string().parse(), Ok(first));
        for text in ["", "-", "1", "1-", "-1", "g-1", "1-2-3"] {
            assert!(text.parse::<RequestId>().is_err(), "{text:?}");
        }
    }
}
