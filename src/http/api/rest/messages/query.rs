//! What the query of a request says of the messages that are meant.

use std::collections::BTreeSet;

use super::source::{MessageSearch, SearchFrom};
use crate::dead_letters::filter;
use crate::http::api::query::{Parameters, bad};
use crate::http::response::Response;

/// The most messages in an answer.
const MOST: u64 = 200;
/// As many unless something else is asked for.
const USUAL: u64 = 50;
/// The longest text that is looked for, in bytes.
const LONGEST_TEXT: usize = 500;
/// The largest partition and offset.
const LARGEST_PARTITION: u64 = i32::MAX as u64;
const LARGEST_OFFSET: u64 = i64::MAX as u64;

/// The parameters of a search.
const KNOWN: [&str; 7] = ["from", "offset", "partition", "at", "key", "text", "max"];

/// The search that a query describes.
///
/// # Errors
/// The response to a query that describes none.
pub(super) fn search(topic: String, query: &str) -> Result<MessageSearch, Response> {
    let parameters = Parameters::read(query, &KNOWN)?;
    let partition = parameters.number("partition", 0..=LARGEST_PARTITION)?;
    let offset = parameters.number("offset", 0..=LARGEST_OFFSET)?;
    let from = match (parameters.text("from"), offset) {
        (Some(_), Some(_)) => return Err(bad("A search begins by `from` or by `offset`, not by both.")),
        (None, Some(_)) if partition.is_none() => {
            return Err(bad("`offset` goes with `partition`: each partition has offsets of its own."));
        }
        (None, Some(offset)) => SearchFrom::Offset(i64::try_from(offset).unwrap_or(i64::MAX)),
        (None | Some("newest"), None) => SearchFrom::Newest,
        (Some("oldest"), None) => SearchFrom::Oldest,
        (Some(time), None) => SearchFrom::Time(filter::since(time).map_err(|_| bad_from())?),
    };
    let max = parameters.number("max", 1..=MOST)?.unwrap_or(USUAL);
    let text = parameters.text("text").filter(|text| !text.is_empty());
    if text.is_some_and(|text| text.len() > LONGEST_TEXT) {
        return Err(bad("`text` may have 500 bytes at most."));
    }
    Ok(MessageSearch {
        topic,
        from,
        at: parameters.text("at").map(places).transpose()?,
        partition: partition.and_then(|number| i32::try_from(number).ok()),
        key: parameters.key(),
        text: text.map(str::to_owned),
        max: usize::try_from(max).unwrap_or(usize::MAX),
    })
}

fn bad_from() -> Response {
    bad("`from` must be newest, oldest, a time such as 2026-05-01T10:00:00Z or 2026-05-01, or so long ago: \
         90s, 30m, 12h, 7d.")
}

/// `0:17,1:40`: an offset of each partition.
fn places(text: &str) -> Result<Vec<(i32, i64)>, Response> {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let place = |text: &str| {
        let (partition, offset) = text.split_once(':').filter(|(a, b)| digits(a) && digits(b))?;
        Some((partition.parse().ok()?, offset.parse().ok()?))
    };
    let places: Option<Vec<(i32, i64)>> = text.split(',').map(place).collect();
    let is_once = |places: &Vec<(i32, i64)>| {
        places.iter().map(|(partition, _)| partition).collect::<BTreeSet<_>>().len() == places.len()
    };
    places.filter(is_once).ok_or_else(|| bad("`at` must be what `next` of an earlier answer was."))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(query: &str) -> Result<MessageSearch, u16> {
        search("t".to_owned(), query).map_err(|response| response.status)
    }

    #[test]
    fn a_search_begins_where_the_query_says() {
        for (query, from, partition) in [
            ("", SearchFrom::Newest, None),
            ("from=newest", SearchFrom::Newest, None),
            ("from=oldest&partition=3", SearchFrom::Oldest, Some(3)),
            ("from=1970-01-02", SearchFrom::Time(86_400_000), None),
            ("from=1970-01-01T00%3A00%3A01Z", SearchFrom::Time(1_000), None),
            ("partition=0&offset=7", SearchFrom::Offset(7), Some(0)),
        ] {
            let found = read(query).unwrap();
            assert_eq!((found.from, found.partition, found.max), (from, partition, 50), "{query}");
        }
        let found = read("key=k%26&text=Hola&max=200&at=0:17,12:0").unwrap();
        assert_eq!((found.key.as_deref(), found.text.as_deref()), (Some(&b"k&"[..]), Some("Hola")));
        assert_eq!((found.max, found.at), (200, Some(vec![(0, 17), (12, 0)])));
        let none = read("key=&text=").unwrap();
        assert_eq!((none.key, none.text), (None, None));
    }

    #[test]
    fn what_is_no_search_is_refused() {
        for query in [
            "from=yesterday",
            "from=",
            "offset=1",
            "offset=1&partition=0&from=oldest",
            "partition=-1",
            "partition=2147483648",
            "partition=0&offset=9223372036854775808",
            "max=0",
            "max=201",
            "at=",
            "at=0",
            "at=0:1,",
            "at=0:-1",
            "at=0:1,0:2",
            "at=0:99999999999999999999",
            "last=3",
        ] {
            assert_eq!(read(query), Err(400), "{query}");
        }
        let text = |length: usize| read(&format!("text={}", "a".repeat(length)));
        assert_eq!((text(500).map(drop), text(501).map(drop)), (Ok(()), Err(400)));
    }
}
