//! Messages of any topic, for the endpoint: searched, and read one by one.

use std::time::{Duration, Instant};

use crate::config::Settings;
use crate::http::{
    Excerpt, HeaderView, MessageSearch, MessageView, NoMessages, PlaceOfMessage, SearchFrom,
    SearchedMessages, SearchedPartition,
};
use crate::record_json;
use crate::topic_reader::{Direction, Lane, NoRange, PartitionRange, Place, Reader, Search};
use client::{Cluster, Error, LOOK_UPS, in_time};
use protocol::error_code::ErrorCode;
use protocol::records::Record;

/// The longest wait for a broker that tells of a topic.
const TOPIC_TIMEOUT: Duration = Duration::from_secs(2);
/// The headers of a message in a list.
const MOST_HEADERS: usize = 8;

/// A client of the cluster with connections of its own.
pub struct MessageSource {
    cluster: Cluster,
}

impl MessageSource {
    /// The messages of the cluster of these settings. It connects at the first look.
    pub fn new(cluster: &Cluster, settings: &Settings) -> MessageSource {
        MessageSource { cluster: cluster.share(settings.cluster()).quiet() }
    }

    /// A topic as it is now: what was known of it before may be another one of the same name.
    fn place<'a>(&'a self, topic: &'a str, deadline: Instant) -> Result<Place<'a>, NoMessages> {
        let place = Place { cluster: &self.cluster, topic, client_id: LOOK_UPS, deadline: Some(deadline) };
        let limit = place.within(TOPIC_TIMEOUT);
        let asked =
            in_time(&self.cluster, limit, || self.cluster.refresh(&[topic], self.cluster.deadline(limit)));
        asked.map_err(refusal).map(|()| place)
    }
}

impl crate::http::MessageSource for MessageSource {
    fn search(&self, search: &MessageSearch, deadline: Instant) -> Result<SearchedMessages, NoMessages> {
        let place = self.place(&search.topic, deadline)?;
        let (logs, away) = place.logs_led(search.partition)?;
        let (ranges, left) = ranges(&place, search, logs.clone(), away.is_some())?;
        let direction = direction(search.from);
        let fits = Filter::of(search);
        let found = Search::new(direction, ranges, search.max).run(&place, |partition, record| {
            fits.admits(record).then(|| {
                let view = view(partition, record);
                let bytes = bytes_of_view(&view);
                (view, bytes)
            })
        });
        if let (true, Some(error), None) = (found.found.is_empty(), &found.trouble, &away) {
            return Err(refusal(error.clone()));
        }
        Ok(SearchedMessages {
            topic: search.topic.clone(),
            messages: found.found.into_iter().map(|found| found.item).collect(),
            searched: found.messages,
            complete: found.is_complete && away.is_none(),
            trouble: found.trouble.or(away).as_ref().map(words),
            partitions: found.lanes.iter().filter_map(|lane| looked_at(lane, &logs)).collect(),
            next: next(&found.lanes, &left),
        })
    }

    fn message(
        &self,
        asked: &PlaceOfMessage,
        is_text: bool,
        most_bytes: usize,
        deadline: Instant,
    ) -> Result<Vec<u8>, NoMessages> {
        let PlaceOfMessage { ref topic, partition, offset } = *asked;
        let place = self.place(topic, deadline)?;
        let log = place.logs(Some(partition))?.into_iter().next().ok_or(NoMessages::NoPartition)?;
        let there = (log.start..log.end).contains(&offset);
        if !there {
            return Err(NoMessages::NoMessage(outside(&log, offset)));
        }
        let range = PartitionRange { partition, start: offset, end: offset.saturating_add(1) };
        let mut reader = Reader::new(place, vec![range], |_, record| {
            let bytes = bytes_of(record);
            if bytes > most_bytes {
                return Some((Err(NoMessages::TooLarge(bytes)), 0));
            }
            let mut object = Vec::with_capacity(bytes.saturating_add(256));
            match is_text {
                true => record_json::write_stored_as_text(&mut object, topic, partition, record),
                false => record_json::write_stored(&mut object, topic, partition, record),
            }
            Some((Ok(object), 0))
        });
        let found = reader.next().map_err(refusal)?.map(|found| found.item);
        found.unwrap_or_else(|| Err(NoMessages::NoMessage(outside(&log, offset))))
    }

    fn stop(&self) {
        self.cluster.stop();
    }
}

/// Which of the messages are meant.
struct Filter<'a> {
    key: Option<&'a [u8]>,
    /// In small letters, as far as they are ASCII.
    text: Option<String>,
    since: i64,
}

impl<'a> Filter<'a> {
    fn of(search: &'a MessageSearch) -> Filter<'a> {
        let since = if let SearchFrom::Time(time) = search.from { time } else { i64::MIN };
        Filter {
            key: search.key.as_deref(),
            text: search.text.as_deref().map(str::to_ascii_lowercase),
            since,
        }
    }

    fn admits(&self, record: &Record<'_>) -> bool {
        let has = |text: &String| {
            let parts = [record.key, record.value].into_iter().flatten();
            parts.into_iter().any(|part| contains(part, text))
                || record.headers.iter().any(|(_, value)| value.is_some_and(|value| contains(value, text)))
        };
        // Its time may be before that of the message before it.
        record.timestamp >= self.since
            && self.key.is_none_or(|key| record.key == Some(key))
            && self.text.as_ref().is_none_or(has)
    }
}

/// Whether `text`, in small letters, is in `bytes`; letters of ASCII are the same in either case. It takes a
/// time that grows with the bytes alone.
fn contains(bytes: &[u8], text: &str) -> bool {
    String::from_utf8_lossy(bytes).to_ascii_lowercase().contains(text)
}

fn direction(from: SearchFrom) -> Direction {
    match from {
        SearchFrom::Newest => Direction::Newest,
        SearchFrom::Oldest | SearchFrom::Time(_) | SearchFrom::Offset(_) => Direction::Oldest,
    }
}

/// A partition, and the offset at which a search goes on.
type At = (i32, i64);

/// What of the logs is to be searched, and where to go on in partitions whose logs are not known now, if
/// `some_are_away`.
fn ranges(
    place: &Place<'_>,
    search: &MessageSearch,
    logs: Vec<PartitionRange>,
    some_are_away: bool,
) -> Result<(Vec<PartitionRange>, Vec<At>), NoMessages> {
    let Some(at) = &search.at else {
        let ranges = match search.from {
            SearchFrom::Newest | SearchFrom::Oldest => logs,
            SearchFrom::Time(time) => place.since(logs, time).map_err(refusal)?,
            SearchFrom::Offset(offset) => logs.iter().map(|log| begun(log, offset)).collect(),
        };
        return Ok((ranges, Vec::new()));
    };
    let (mut ranges, mut left) = (Vec::new(), Vec::new());
    for (partition, offset) in at {
        match logs.iter().find(|log| log.partition == *partition) {
            Some(log) if direction(search.from) == Direction::Newest => {
                ranges.push(PartitionRange { end: (*offset).clamp(log.start, log.end), ..log.clone() });
            }
            Some(log) => ranges.push(begun(log, *offset)),
            None if some_are_away => left.push((*partition, *offset)),
            None => return Err(NoMessages::NoPartition),
        }
    }
    Ok((ranges, left))
}

fn begun(log: &PartitionRange, offset: i64) -> PartitionRange {
    PartitionRange { start: offset.clamp(log.start, log.end), ..log.clone() }
}

fn looked_at(lane: &Lane, logs: &[PartitionRange]) -> Option<SearchedPartition> {
    let log = logs.iter().find(|log| log.partition == lane.partition)?;
    Some(SearchedPartition {
        partition: lane.partition,
        beginning_offset: log.start,
        end_offset: log.end,
        from: lane.from,
        to: lane.to,
    })
}

fn next(lanes: &[Lane], left: &[At]) -> Option<String> {
    let open = lanes.iter().filter_map(|lane| Some((lane.partition, lane.next?)));
    let places: Vec<String> =
        open.chain(left.iter().copied()).map(|(partition, at)| format!("{partition}:{at}")).collect();
    (!places.is_empty()).then(|| places.join(","))
}

fn view(partition: i32, record: &Record<'_>) -> MessageView {
    let header = |(name, value): (std::borrow::Cow<'_, str>, Option<&[u8]>)| HeaderView {
        name: Excerpt::of(name.as_bytes()),
        value: value.map(Excerpt::of),
    };
    MessageView {
        partition,
        offset: record.offset,
        timestamp: record.content().timestamp,
        key: record.key.map(Excerpt::of),
        value: record.value.map(Excerpt::of),
        headers: record.headers.iter().take(MOST_HEADERS).map(header).collect(),
        more_headers: record.headers.len().saturating_sub(MOST_HEADERS),
    }
}

/// The bytes that a view takes in memory.
fn bytes_of_view(view: &MessageView) -> usize {
    let text = |part: &Option<Excerpt>| part.as_ref().map_or(0, |part| part.text.capacity());
    let header =
        |header: &HeaderView| size_of::<HeaderView>() + header.name.text.capacity() + text(&header.value);
    size_of::<MessageView>()
        + text(&view.key)
        + text(&view.value)
        + view.headers.iter().map(header).sum::<usize>()
}

/// What a header takes in JSON besides its name and its value.
const AROUND_HEADER: usize = 32;

/// About the bytes that a record takes as JSON, where no character is escaped.
fn bytes_of(record: &Record<'_>) -> usize {
    let length = |bytes: Option<&[u8]>| bytes.map_or(0, <[u8]>::len);
    let headers = record.headers.iter().map(|(name, value)| AROUND_HEADER + name.len() + length(value));
    headers.fold(length(record.key) + length(record.value), usize::saturating_add)
}

/// Why there is no message at an offset.
fn outside(log: &PartitionRange, offset: i64) -> String {
    let PartitionRange { start, end, .. } = *log;
    if offset < start {
        return format!(
            "The message at offset {offset} was removed: the partition begins at offset {start}."
        );
    }
    if offset >= end {
        return format!("There is no message at offset {offset} yet: the next one gets offset {end}.");
    }
    format!(
        "There is no message at offset {offset}: it was compacted away, or is the marker of a transaction."
    )
}

impl From<NoRange> for NoMessages {
    fn from(why: NoRange) -> NoMessages {
        match why {
            NoRange::Topic => NoMessages::NoTopic,
            NoRange::Partition { .. } => NoMessages::NoPartition,
            NoRange::Offset { .. } => NoMessages::NoMessage(format!("There is no such message: {why}.")),
            NoRange::Unanswered(error) => refusal(error),
        }
    }
}

/// What is wrong, as a part of a sentence.
fn words(error: &Error) -> String {
    match error {
        Error::Refused { request, code: ErrorCode::CORRUPT_MESSAGE } => {
            let partition = request.partition.unwrap_or_default();
            format!("a batch of partition {partition} is damaged, or in a format from before Kafka 0.11")
        }
        error => error.to_string(),
    }
}

fn refusal(error: Error) -> NoMessages {
    match error.code() {
        Some(code) if code.is_authorization() => NoMessages::Forbidden(error.to_string()),
        Some(ErrorCode::CORRUPT_MESSAGE) => NoMessages::Damaged(words(&error)),
        Some(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION) => NoMessages::NoTopic,
        _ => NoMessages::Unanswered(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::records::{Headers, OwnHeaders};

    fn search() -> MessageSearch {
        let (topic, from, at) = ("t".to_owned(), SearchFrom::Newest, None);
        MessageSearch { topic, from, at, partition: None, key: None, text: None, max: 10 }
    }

    fn record<'a>(key: Option<&'a [u8]>, value: Option<&'a [u8]>, headers: Headers<'a>) -> Record<'a> {
        Record { offset: 7, timestamp: 1_000, key, value, headers }
    }

    #[test]
    fn a_text_is_found_in_key_value_and_headers_in_either_case_of_ascii() {
        let headers = OwnHeaders::new([("nombre", Some(&b"Cabecera"[..])), ("nulo", None)]);
        let record = record(Some(b"Clave-7"), Some("{\"año\":\"ÑU\"}".as_bytes()), headers.borrowed());
        let admits = |text: &str| {
            let search = MessageSearch { text: Some(text.to_owned()), ..search() };
            Filter::of(&search).admits(&record)
        };
        for text in ["clave", "E-7", "cabecera", "ÑU", "\"AñO\":", "}"] {
            assert!(admits(text), "{text}");
        }
        for text in ["nombre", "ñu", "clave-77", "Clave-7{"] {
            assert!(!admits(text), "{text}");
        }
        let none = Record { headers: Headers::default(), key: None, value: None, ..record };
        assert!(!Filter::of(&MessageSearch { text: Some("a".to_owned()), ..search() }).admits(&none));
    }

    #[test]
    fn a_key_fits_to_the_byte_and_a_time_of_the_message_itself() {
        let record = record(Some(b"k"), None, Headers::default());
        let key = |key: &[u8]| MessageSearch { key: Some(key.to_vec()), ..search() };
        assert!(Filter::of(&key(b"k")).admits(&record));
        assert!(!Filter::of(&key(b"K")).admits(&record) && !Filter::of(&key(b"kk")).admits(&record));
        let since = |time| MessageSearch { from: SearchFrom::Time(time), ..search() };
        assert!(Filter::of(&since(1_000)).admits(&record) && !Filter::of(&since(1_001)).admits(&record));
    }

    #[test]
    fn of_many_headers_the_first_are_listed_and_the_others_counted() {
        let many = OwnHeaders::new((0..5_000).map(|_| ("n", Some(&b"v"[..]))));
        let view = view(3, &record(None, Some(b"x"), many.borrowed()));
        assert_eq!((view.headers.len(), view.more_headers, view.partition), (8, 4_992, 3));
        assert_eq!(bytes_of(&record(Some(b"key"), Some(b"x"), many.borrowed())), 170_004);
        assert!(bytes_of_view(&view) > 8 * 2 + size_of::<MessageView>());
    }

    #[test]
    fn why_there_is_no_message_depends_on_where_it_would_be() {
        let log = PartitionRange { partition: 0, start: 10, end: 42 };
        for (offset, part) in [(9, "was removed"), (42, "yet"), (41, "compacted away")] {
            assert!(outside(&log, offset).contains(part), "{offset}");
        }
        assert_eq!(begun(&log, 3), log);
        assert_eq!(begun(&log, 99).start, 42);
    }

    #[test]
    fn the_next_look_goes_on_in_the_partitions_that_are_left() {
        let lane = |partition, next| Lane { partition, from: 0, to: 9, next };
        assert_eq!(
            next(&[lane(0, None), lane(1, Some(7)), lane(4, Some(0))], &[(2, 5)]).as_deref(),
            Some("1:7,4:0,2:5")
        );
        assert_eq!(next(&[lane(0, None)], &[]), None);
    }
}
