//! Requests of the `kafka` crate, decoded: what it asks, not how it was written.
//!
//! Served are Produce 0, Fetch 0, ListOffsets 0, Metadata 0, OffsetCommit 0 to 2, OffsetFetch 0 and 1 and
//! GroupCoordinator 0. A frame must hold exactly one request; what the decoded request takes in memory is at
//! most a small multiple of the frame.

use std::fmt;

use crate::wire::{Malformed, Reader};

/// The header of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// Which request it is.
    pub api_key: i16,
    /// The version of that request.
    pub api_version: i16,
    /// The number by which the caller knows the answer.
    pub correlation_id: i32,
    /// The client id; null counts as empty.
    pub client_id: String,
}

/// The topics of a request, each with what is asked of its partitions, in the order of the wire.
pub type Topics<P> = Vec<(String, Vec<P>)>;

/// A decoded request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request<'a> {
    /// Which topics there are, and where.
    Metadata {
        /// The topics in question; none means all.
        topics: Vec<String>,
    },
    /// Messages to store.
    Produce {
        /// 0: no answer at all, 1: when the leader has it, -1: when all in-sync replicas have it.
        acks: i16,
        /// How long the acknowledgements may take.
        timeout_ms: i32,
        /// Where to store what.
        topics: Topics<ProducePartition<'a>>,
    },
    /// Messages to read.
    Fetch {
        /// How long to wait for `min_bytes`.
        max_wait_ms: i32,
        /// How many bytes make an answer worth while.
        min_bytes: i32,
        /// Where to read.
        topics: Topics<FetchPartition>,
    },
    /// Where partitions begin and end.
    ListOffsets {
        /// Which partitions.
        topics: Topics<ListOffsetsPartition>,
    },
    /// Where the coordinator of a group is.
    GroupCoordinator {
        /// The group.
        group: String,
    },
    /// The committed offsets of a group.
    OffsetFetch {
        /// 0: of the store that was in ZooKeeper, 1: of Kafka. They differ in the answer for "none": error 3
        /// or offset -1.
        version: i16,
        /// The group.
        group: String,
        /// Which partitions.
        topics: Topics<i32>,
    },
    /// Offsets to commit for a group.
    OffsetCommit {
        /// 0, 1 or 2.
        version: i16,
        /// The group.
        group: String,
        /// The generation of the member; -1 outside the group and in version 0.
        generation: i32,
        /// The member id; empty outside the group and in version 0.
        member: String,
        /// The offsets to commit.
        topics: Topics<CommitPartition>,
    },
}

impl Request<'_> {
    /// The topics and the group that the request names.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        fn of<P>(topics: &Topics<P>) -> Vec<&str> {
            topics.iter().map(|(topic, _)| topic.as_str()).collect()
        }
        let (mut names, group) = match self {
            Request::Metadata { topics } => (topics.iter().map(String::as_str).collect(), None),
            Request::Produce { topics, .. } => (of(topics), None),
            Request::Fetch { topics, .. } => (of(topics), None),
            Request::ListOffsets { topics } => (of(topics), None),
            Request::GroupCoordinator { group } => (Vec::new(), Some(group)),
            Request::OffsetFetch { group, topics, .. } => (of(topics), Some(group)),
            Request::OffsetCommit { group, topics, .. } => (of(topics), Some(group)),
        };
        names.extend(group.map(String::as_str));
        names.into_iter()
    }
}

/// Messages for one partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProducePartition<'a> {
    /// The partition.
    pub partition: i32,
    /// Its messages, for [`super::message_set::decode`].
    pub message_set: &'a [u8],
}

/// Where to read one partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FetchPartition {
    /// The partition.
    pub partition: i32,
    /// The first offset that is wanted.
    pub offset: i64,
    /// How large its message set may be, in bytes.
    pub max_bytes: i32,
}

/// Which offsets of one partition are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListOffsetsPartition {
    /// The partition.
    pub partition: i32,
    /// -1: the end, -2: the beginning, else a time in ms since 1970.
    pub time: i64,
    /// How many offsets may be named; the crate asks for one.
    pub max_offsets: i32,
}

/// An offset to commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommitPartition {
    /// The partition.
    pub partition: i32,
    /// The offset of the next message to read.
    pub offset: i64,
    /// The metadata to keep with it; null counts as empty.
    pub metadata: String,
}

/// Why a frame is no request to serve.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RequestError {
    /// Not even the header could be read: there is no correlation id to answer to.
    Header(Malformed),
    /// Another request, or another version, than those served.
    Unsupported(Header),
    /// The request after this header is damaged.
    Body(Header, Malformed),
}

impl fmt::Display for RequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RequestError::Header(malformed) => write!(f, "request header: {malformed}"),
            RequestError::Unsupported(header) => {
                let Header { api_key, api_version, .. } = header;
                write!(
                    f,
                    "request {api_key} version {api_version} is not one of those that the kafka crate sends"
                )
            }
            RequestError::Body(header, malformed) => {
                write!(f, "request {} version {}: {malformed}", header.api_key, header.api_version)
            }
        }
    }
}

impl std::error::Error for RequestError {}

/// Decodes `frame`, a request without the four bytes of its size.
///
/// # Errors
/// See [`RequestError`].
pub fn decode(frame: &[u8]) -> Result<(Header, Request<'_>), RequestError> {
    let mut reader = Reader::new(frame);
    let header = header(&mut reader).map_err(RequestError::Header)?;
    let request = match (header.api_key, header.api_version) {
        (0, 0) => produce(&mut reader),
        (1, 0) => fetch(&mut reader),
        (2, 0) => list_offsets(&mut reader),
        (3, 0) => metadata(&mut reader),
        (8, version @ 0..=2) => offset_commit(&mut reader, version),
        (9, version @ 0..=1) => offset_fetch(&mut reader, version),
        (10, 0) => reader.string().map(|group| Request::GroupCoordinator { group: group.to_owned() }),
        _ => return Err(RequestError::Unsupported(header)),
    };
    match request {
        Ok(request) if reader.is_empty() => Ok((header, request)),
        Ok(_) => Err(RequestError::Body(header, reader.malformed("bytes after the end of the request"))),
        Err(malformed) => Err(RequestError::Body(header, malformed)),
    }
}

fn header(reader: &mut Reader<'_>) -> Result<Header, Malformed> {
    Ok(Header {
        api_key: reader.i16()?,
        api_version: reader.i16()?,
        correlation_id: reader.i32()?,
        client_id: reader.nullable_string()?.unwrap_or_default().to_owned(),
    })
}

/// An array whose elements take `min_bytes` at least.
fn array<'a, T>(
    reader: &mut Reader<'a>,
    min_bytes: usize,
    mut element: impl FnMut(&mut Reader<'a>) -> Result<T, Malformed>,
) -> Result<Vec<T>, Malformed> {
    let length = reader.array_len(min_bytes)?;
    (0..length).map(|_| element(reader)).collect()
}

/// Topics with their partitions, each of which takes `min_bytes` at least.
fn topics<'a, P>(
    reader: &mut Reader<'a>,
    min_bytes: usize,
    mut partition: impl FnMut(&mut Reader<'a>) -> Result<P, Malformed>,
) -> Result<Topics<P>, Malformed> {
    array(reader, 6, |reader| {
        let name = reader.string()?.to_owned();
        Ok((name, array(reader, min_bytes, &mut partition)?))
    })
}

fn metadata<'a>(reader: &mut Reader<'a>) -> Result<Request<'a>, Malformed> {
    let topics = array(reader, 2, |reader| reader.string().map(str::to_owned))?;
    Ok(Request::Metadata { topics })
}

fn produce<'a>(reader: &mut Reader<'a>) -> Result<Request<'a>, Malformed> {
    let acks = reader.i16()?;
    let timeout_ms = reader.i32()?;
    let topics = topics(reader, 8, |reader| {
        Ok(ProducePartition { partition: reader.i32()?, message_set: reader.bytes()? })
    })?;
    Ok(Request::Produce { acks, timeout_ms, topics })
}

fn fetch<'a>(reader: &mut Reader<'a>) -> Result<Request<'a>, Malformed> {
    replica_id(reader)?;
    let max_wait_ms = reader.i32()?;
    let min_bytes = reader.i32()?;
    let topics = topics(reader, 16, |reader| {
        Ok(FetchPartition { partition: reader.i32()?, offset: reader.i64()?, max_bytes: reader.i32()? })
    })?;
    Ok(Request::Fetch { max_wait_ms, min_bytes, topics })
}

fn list_offsets<'a>(reader: &mut Reader<'a>) -> Result<Request<'a>, Malformed> {
    replica_id(reader)?;
    let topics = topics(reader, 16, |reader| {
        Ok(ListOffsetsPartition { partition: reader.i32()?, time: reader.i64()?, max_offsets: reader.i32()? })
    })?;
    Ok(Request::ListOffsets { topics })
}

/// -1 for a client; a broker's own id means nothing here.
fn replica_id(reader: &mut Reader<'_>) -> Result<(), Malformed> {
    reader.i32().map(drop)
}

fn offset_fetch<'a>(reader: &mut Reader<'a>, version: i16) -> Result<Request<'a>, Malformed> {
    let group = reader.string()?.to_owned();
    let topics = topics(reader, 4, |reader| reader.i32())?;
    Ok(Request::OffsetFetch { version, group, topics })
}

/// Version 1 has a timestamp beside each offset, version 2 a retention time for all; both ask for what Kafka
/// decides itself now.
fn offset_commit<'a>(reader: &mut Reader<'a>, version: i16) -> Result<Request<'a>, Malformed> {
    let group = reader.string()?.to_owned();
    let (generation, member) = match version {
        0 => (-1, String::new()),
        _ => (reader.i32()?, reader.string()?.to_owned()),
    };
    if version == 2 {
        reader.i64()?;
    }
    let topics = topics(reader, 14, |reader| {
        let partition = reader.i32()?;
        let offset = reader.i64()?;
        if version == 1 {
            reader.i64()?;
        }
        let metadata = reader.nullable_string()?.unwrap_or_default().to_owned();
        Ok(CommitPartition { partition, offset, metadata })
    })?;
    Ok(Request::OffsetCommit { version, group, generation, member, topics })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Writer;
    use testing::Random;

    fn frame(api_key: i16, api_version: i16, body: impl FnOnce(&mut Writer)) -> Vec<u8> {
        let mut writer = Writer::new();
        writer.put_i16(api_key);
        writer.put_i16(api_version);
        writer.put_i32(77);
        writer.put_string("someone");
        body(&mut writer);
        writer.into_vec()
    }

    fn commit(version: i16) -> Vec<u8> {
        frame(8, version, |writer| {
            writer.put_string("group");
            if version > 0 {
                writer.put_i32(5);
                writer.put_string("member");
            }
            if version == 2 {
                writer.put_i64(-1);
            }
            writer.put_array_len(1);
            writer.put_string("topic");
            writer.put_array_len(1);
            writer.put_i32(3);
            writer.put_i64(42);
            if version == 1 {
                writer.put_i64(-1);
            }
            writer.put_string("note");
        })
    }

    fn produce_frame() -> Vec<u8> {
        frame(0, 0, |writer| {
            writer.put_i16(-1);
            writer.put_i32(1_000);
            writer.put_array_len(1);
            writer.put_string("topic");
            writer.put_array_len(2);
            for partition in 0..2 {
                writer.put_i32(partition);
                writer.put_bytes(b"any set");
            }
        })
    }

    fn fetch_frame() -> Vec<u8> {
        frame(1, 0, |writer| {
            writer.put_i32(-1);
            writer.put_i32(100);
            writer.put_i32(1);
            writer.put_array_len(1);
            writer.put_string("topic");
            writer.put_array_len(1);
            writer.put_i32(0);
            writer.put_i64(9);
            writer.put_i32(32_768);
        })
    }

    #[test]
    fn a_commit_is_read_in_each_of_its_versions() {
        for version in 0..=2 {
            let frame = commit(version);
            let (header, request) = decode(&frame).unwrap();
            assert_eq!((header.correlation_id, header.client_id.as_str()), (77, "someone"));
            let (generation, member) = if version == 0 { (-1, "") } else { (5, "member") };
            let partition = CommitPartition { partition: 3, offset: 42, metadata: "note".to_owned() };
            let topics = vec![("topic".to_owned(), vec![partition])];
            let (group, member) = ("group".to_owned(), member.to_owned());
            assert_eq!(request, Request::OffsetCommit { version, group, generation, member, topics });
        }
    }

    #[test]
    fn a_message_set_is_handed_on_without_a_copy() {
        let frame = produce_frame();
        let Ok((_, Request::Produce { acks: -1, timeout_ms: 1_000, topics })) = decode(&frame) else {
            panic!("not a Produce request");
        };
        let sets: Vec<_> = topics.iter().flat_map(|(_, partitions)| partitions).collect();
        assert_eq!(sets.len(), 2);
        assert!(sets.iter().all(|set| frame.as_ptr_range().contains(&set.message_set.as_ptr())));
    }

    #[test]
    fn another_request_or_version_keeps_its_correlation_id() {
        for (key, version) in [(18, 0), (18, 3), (0, 9), (3, 1), (9, 2), (8, 3), (-1, 0)] {
            let frame = frame(key, version, |_| ());
            let Err(RequestError::Unsupported(header)) = decode(&frame) else {
                panic!("request {key} version {version} was served");
            };
            assert_eq!((header.correlation_id, header.api_key), (77, key));
        }
    }

    #[test]
    fn every_truncation_is_an_error_and_keeps_the_header_once_it_is_there() {
        for frame in [produce_frame(), fetch_frame(), commit(1), commit(2)] {
            let header_bytes = 2 + 2 + 4 + 2 + "someone".len();
            for end in 0..frame.len() {
                match decode(frame.get(..end).unwrap()) {
                    Err(RequestError::Header(_)) => assert!(end < header_bytes),
                    Err(RequestError::Body(header, _)) => assert_eq!(header.correlation_id, 77),
                    other => panic!("{end} bytes of a frame gave {other:?}"),
                }
            }
            let longer = [frame.as_slice(), &[0]].concat();
            assert!(matches!(decode(&longer), Err(RequestError::Body(..))));
        }
    }

    #[test]
    fn a_huge_array_is_refused_before_anything_is_allocated_for_it() {
        let frame = frame(3, 0, |writer| writer.put_i32(i32::MAX));
        let error = decode(&frame).unwrap_err();
        let text = "request 3 version 0: an array longer than the bytes that are left (at byte 21)";
        assert_eq!(error.to_string(), text);
    }

    #[test]
    fn damaged_frames_never_panic() {
        let mut random = Random::new(1);
        for frame in [produce_frame(), fetch_frame(), commit(0), commit(1), commit(2)] {
            for _ in 0..40_000 {
                let _ = decode(&random.damage(&frame));
            }
        }
    }
}
