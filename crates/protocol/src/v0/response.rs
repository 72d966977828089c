//! Responses for the `kafka` crate: each encoder makes one whole frame, the four bytes of its size in front,
//! for one `write_all`.
//!
//! The crate walks an answer without looking twice: an answer names only topics and partitions that were
//! asked for, and a produce answer names each of them. To our own clients it may have
//! [remarks](super::remark) beside them.

use crate::error_code::ErrorCode;
use crate::wire::Writer;

/// A broker in a metadata answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broker<'a> {
    /// Its id.
    pub node_id: i32,
    /// The host to connect to. The crate compares it as text with that of the coordinator.
    pub host: &'a str,
    /// The port to connect to.
    pub port: u16,
}

/// A topic in a metadata answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicMetadata<'a> {
    /// Why the topic cannot be told of, or none.
    pub error: ErrorCode,
    /// Its name.
    pub name: &'a str,
    /// Its partitions; the crate wants them numbered from 0 without a gap.
    pub partitions: Vec<PartitionMetadata>,
}

/// A partition in a metadata answer. Its leader is told as the only replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartitionMetadata {
    /// Why there is no leader, or none.
    pub error: ErrorCode,
    /// The partition.
    pub partition: i32,
    /// The id of the broker that leads it; -1 for nobody.
    pub leader: i32,
}

/// The result of producing to a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Produced {
    /// The partition.
    pub partition: i32,
    /// Why they were not stored, or none.
    pub error: ErrorCode,
    /// The offset of the first of them; -1 with an error.
    pub base_offset: i64,
}

/// The result of fetching from a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched<B> {
    /// The partition.
    pub partition: i32,
    /// Why it could not be read, or none.
    pub error: ErrorCode,
    /// The end of what may be read; with an empty set not above the offset that was asked for, or the crate
    /// takes the message there for too large.
    pub high_watermark: i64,
    /// A message set in format 0, made with [`super::message_set::append`].
    pub message_set: B,
}

/// An offset of one partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListedOffset {
    /// The partition.
    pub partition: i32,
    /// Why there is no offset, or none.
    pub error: ErrorCode,
    /// The offset, if there is one.
    pub offset: Option<i64>,
}

/// The committed offset of one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommittedOffset<'a> {
    /// The partition.
    pub partition: i32,
    /// The offset; -1 where none is committed.
    pub offset: i64,
    /// The metadata committed with it.
    pub metadata: &'a str,
    /// Why it cannot be told, or none.
    pub error: ErrorCode,
}

/// The result of a commit for a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Committed {
    /// The partition.
    pub partition: i32,
    /// Why it was refused, or none.
    pub error: ErrorCode,
}

/// The answer to Metadata 0.
pub fn metadata(correlation_id: i32, brokers: &[Broker<'_>], topics: &[TopicMetadata<'_>]) -> Vec<u8> {
    let mut frame = Frame::new(correlation_id, 0);
    frame.array(brokers, |writer, broker| {
        writer.put_i32(broker.node_id);
        writer.put_string(broker.host);
        writer.put_i32(i32::from(broker.port));
    });
    frame.array(topics, |writer, topic| {
        writer.put_i16(topic.error.0);
        writer.put_string(topic.name);
        writer.put_array_len(topic.partitions.len());
        for partition in &topic.partitions {
            put_partition_metadata(writer, *partition);
        }
    });
    frame.finish()
}

fn put_partition_metadata(writer: &mut Writer, partition: PartitionMetadata) {
    writer.put_i16(partition.error.0);
    writer.put_i32(partition.partition);
    writer.put_i32(partition.leader);
    for _ in ["replicas", "in-sync replicas"] {
        if partition.leader < 0 {
            writer.put_array_len(0);
        } else {
            writer.put_array_len(1);
            writer.put_i32(partition.leader);
        }
    }
}

/// The answer to Produce 0, for a request whose `acks` is not 0.
pub fn produce<S: AsRef<str>>(correlation_id: i32, topics: &[(S, Vec<Produced>)]) -> Vec<u8> {
    let mut frame = Frame::new(correlation_id, 0);
    frame.topics(topics, |writer, produced| {
        writer.put_i32(produced.partition);
        writer.put_i16(produced.error.0);
        writer.put_i64(produced.base_offset);
    });
    frame.finish()
}

/// The answer to Fetch 0.
pub fn fetch<S: AsRef<str>, B: AsRef<[u8]>>(correlation_id: i32, topics: &[(S, Vec<Fetched<B>>)]) -> Vec<u8> {
    let partitions = topics.iter().flat_map(|(_, partitions)| partitions);
    let sets: usize = partitions.map(|fetched| fetched.message_set.as_ref().len() + 18).sum();
    let mut frame = Frame::new(correlation_id, sets + topics.len() * 64);
    frame.topics(topics, |writer, fetched| {
        writer.put_i32(fetched.partition);
        writer.put_i16(fetched.error.0);
        writer.put_i64(fetched.high_watermark);
        writer.put_bytes(fetched.message_set.as_ref());
    });
    frame.finish()
}

/// The answer to ListOffsets 0.
pub fn list_offsets<S: AsRef<str>>(correlation_id: i32, topics: &[(S, Vec<ListedOffset>)]) -> Vec<u8> {
    let mut frame = Frame::new(correlation_id, 0);
    frame.topics(topics, |writer, listed| {
        writer.put_i32(listed.partition);
        writer.put_i16(listed.error.0);
        writer.put_array_len(usize::from(listed.offset.is_some()));
        if let Some(offset) = listed.offset {
            writer.put_i64(offset);
        }
    });
    frame.finish()
}

/// The answer to GroupCoordinator 0. With an error the broker's id is -1, the host empty and the port 0.
pub fn group_coordinator(correlation_id: i32, coordinator: Result<Broker<'_>, ErrorCode>) -> Vec<u8> {
    let (error, broker) = match coordinator {
        Ok(broker) => (ErrorCode::NONE, broker),
        Err(error) => (error, Broker { node_id: -1, host: "", port: 0 }),
    };
    let mut frame = Frame::new(correlation_id, 0);
    frame.writer.put_i16(error.0);
    frame.writer.put_i32(broker.node_id);
    frame.writer.put_string(broker.host);
    frame.writer.put_i32(i32::from(broker.port));
    frame.finish()
}

/// The answer to OffsetFetch 0 and 1.
pub fn offset_fetch<S: AsRef<str>>(correlation_id: i32, topics: &[(S, Vec<CommittedOffset<'_>>)]) -> Vec<u8> {
    let mut frame = Frame::new(correlation_id, 0);
    frame.topics(topics, |writer, committed| {
        writer.put_i32(committed.partition);
        writer.put_i64(committed.offset);
        writer.put_string(committed.metadata);
        writer.put_i16(committed.error.0);
    });
    frame.finish()
}

/// The answer to OffsetCommit 0, 1 and 2.
pub fn offset_commit<S: AsRef<str>>(correlation_id: i32, topics: &[(S, Vec<Committed>)]) -> Vec<u8> {
    let mut frame = Frame::new(correlation_id, 0);
    frame.topics(topics, |writer, committed| {
        writer.put_i32(committed.partition);
        writer.put_i16(committed.error.0);
    });
    frame.finish()
}

/// A response in the making.
struct Frame {
    writer: Writer,
}

impl Frame {
    fn new(correlation_id: i32, capacity: usize) -> Frame {
        let mut writer = Writer::with_capacity(capacity + 256);
        writer.put_i32(0);
        writer.put_i32(correlation_id);
        Frame { writer }
    }

    fn array<T>(&mut self, elements: &[T], put: impl Fn(&mut Writer, &T)) {
        self.writer.put_array_len(elements.len());
        for element in elements {
            put(&mut self.writer, element);
        }
    }

    fn topics<S: AsRef<str>, P>(&mut self, topics: &[(S, Vec<P>)], put: impl Fn(&mut Writer, &P)) {
        self.writer.put_array_len(topics.len());
        for (name, partitions) in topics {
            self.writer.put_string(name.as_ref());
            self.array(partitions, &put);
        }
    }

    fn finish(mut self) -> Vec<u8> {
        let size = self.writer.position() - 4;
        self.writer.patch_i32(0, i32::try_from(size).unwrap_or(i32::MAX));
        self.writer.into_vec()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_starts_with_its_size_and_correlation_id() {
        let topics = [("t", vec![Committed { partition: 2, error: ErrorCode::ILLEGAL_GENERATION }])];
        let expected = [0, 0, 0, 21, 0, 0, 0, 9, 0, 0, 0, 1, 0, 1, b't', 0, 0, 0, 1, 0, 0, 0, 2, 0, 22];
        assert_eq!(offset_commit(9, &topics), expected);
    }

    #[test]
    fn a_partition_without_leader_has_no_replicas() {
        let error = ErrorCode::LEADER_NOT_AVAILABLE;
        let partitions = vec![PartitionMetadata { error, partition: 0, leader: -1 }];
        let frame = metadata(1, &[], &[TopicMetadata { error: ErrorCode::NONE, name: "", partitions }]);
        let tail = [0, 0, 0, 1, 0, 5, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0];
        assert!(frame.ends_with(&tail), "{frame:?}");
    }
}
