//! The messages between members of a consumer group, which the coordinator passes on without reading them:
//! the subscription with which a member joins, and the assignment that the leader makes of all subscriptions.
//!
//! Source: KIP-62 and `ConsumerProtocolSubscription.json`, `ConsumerProtocolAssignment.json` in Kafka's
//! client: a version (2 bytes), then the fields of that version. Newer versions only add fields at the end,
//! so that those of any version are read here as far as they are known (3), as the Java client does. Version
//! 1 added the owned partitions (KIP-429), 2 the generation (KIP-792), 3 the rack (KIP-881).
//!
//! Before version 2 the sticky assignors say their generation in the user data, which belong to the assignor:
//! Java's `CooperativeStickyAssignor` writes those four bytes alone, librdkafka's `cooperative-sticky` its
//! partitions and then the generation, in every version. Both are read; Java's are written.
//!
//! What a member tells of itself beside that follows in the user data, after the generation (-1 where there
//! is none) and [`MARK`]. Java's sticky assignor reads the four bytes before it, `range` and librdkafka read
//! none.

use super::wire::{Malformed, Reader, Writer};

/// Topics, each with some of its partitions.
pub type TopicPartitions = Vec<(String, Vec<i32>)>;

/// The generation of a member that has none.
const NO_GENERATION: i32 = -1;

/// What stands before a member's own words in the user data. It is no length of a topic's name, which is what
/// librdkafka has there.
const MARK: [u8; 4] = [0xff, 0xff, b'p', b'p'];

/// The subscription of a member, with the partitions that it owns.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Subscription {
    /// The topics that it subscribes to.
    pub topics: Vec<String>,
    /// The partitions that it owned before this rebalance; none before version 1 of the protocol.
    pub owned: TopicPartitions,
    /// The last generation of which it has an assignment, for members that say it. Before version 2 it is
    /// what the user data mean to a sticky assignor: only those assignors may believe it.
    pub generation: Option<i32>,
    /// What the member tells of itself beside the protocol, as members of this project do; empty: nothing.
    pub user_data: Vec<u8>,
}

impl Subscription {
    /// The bytes for JoinGroup, in version 3 and without a rack. Without user data of its own they are, with
    /// a generation, what Java's `CooperativeStickyAssignor` sends, without one what its `RangeAssignor`
    /// sends.
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::new();
        writer.put_i16(3);
        writer.put_array_len(self.topics.len());
        for topic in &self.topics {
            writer.put_string(topic);
        }
        let generation = self.generation.unwrap_or(NO_GENERATION);
        let mut user_data = generation.to_be_bytes().to_vec();
        if !self.user_data.is_empty() {
            user_data.extend_from_slice(&MARK);
            user_data.extend_from_slice(&self.user_data);
        }
        let is_told = self.generation.is_some() || !self.user_data.is_empty();
        writer.put_nullable_bytes(is_told.then_some(user_data.as_slice()));
        put_topic_partitions(&mut writer, &self.owned);
        writer.put_i32(generation);
        // A null string: no rack.
        writer.put_i16(-1);
        writer.into_vec()
    }

    /// Reads what any member joined with.
    ///
    /// # Errors
    /// [`Malformed`] for anything else.
    pub fn decode(bytes: &[u8]) -> Result<Subscription, Malformed> {
        let mut reader = Reader::new(bytes);
        let version = version(&mut reader)?;
        let count = reader.array_len(2)?;
        let topics = (0..count).map(|_| reader.string().map(str::to_owned)).collect::<Result<_, _>>()?;
        let user_data = reader.nullable_bytes()?.unwrap_or_default();
        let owned = if version >= 1 { topic_partitions(&mut reader)? } else { Vec::new() };
        let field = if version >= 2 { reader.i32()? } else { NO_GENERATION };
        if version >= 3 {
            reader.nullable_string()?;
        }
        let (of_assignor, own) = split_user_data(user_data);
        let generation = known(field).or_else(|| generation_of(of_assignor));
        Ok(Subscription { topics, owned, generation, user_data: own.to_vec() })
    }
}

fn known(generation: i32) -> Option<i32> {
    (generation >= 0).then_some(generation)
}

/// The user data of the assignor, and those that the member has added.
fn split_user_data(user_data: &[u8]) -> (&[u8], &[u8]) {
    let own = user_data.split_at_checked(4).and_then(|(generation, rest)| {
        let own = rest.strip_prefix(&MARK)?;
        Some((generation, own))
    });
    own.unwrap_or((user_data, &[]))
}

/// The generation in the user data of a sticky assignor; none in those of any other.
fn generation_of(user_data: &[u8]) -> Option<i32> {
    let mut reader = Reader::new(user_data);
    if user_data.len() > 4 {
        topic_partitions(&mut reader).ok()?;
    }
    let generation = reader.i32().ok()?;
    if reader.is_empty() { known(generation) } else { None }
}

/// The assignment of a member.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Assignment {
    /// Its partitions.
    pub partitions: TopicPartitions,
}

impl Assignment {
    /// The bytes for SyncGroup.
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::new();
        writer.put_i16(1);
        put_topic_partitions(&mut writer, &self.partitions);
        writer.put_nullable_bytes(None);
        writer.into_vec()
    }

    /// Reads what the leader assigned. No bytes at all are no partitions: so the coordinator answers a member
    /// that the leader left out.
    ///
    /// # Errors
    /// [`Malformed`] for anything else.
    pub fn decode(bytes: &[u8]) -> Result<Assignment, Malformed> {
        if bytes.is_empty() {
            return Ok(Assignment::default());
        }
        let mut reader = Reader::new(bytes);
        version(&mut reader)?;
        let partitions = topic_partitions(&mut reader)?;
        reader.nullable_bytes()?;
        Ok(Assignment { partitions })
    }
}

fn version(reader: &mut Reader<'_>) -> Result<i16, Malformed> {
    match reader.i16()? {
        version @ 0.. => Ok(version),
        _ => Err(reader.malformed("a negative version of the consumer protocol")),
    }
}

fn put_topic_partitions(writer: &mut Writer, topics: &TopicPartitions) {
    writer.put_array_len(topics.len());
    for (topic, partitions) in topics {
        writer.put_string(topic);
        writer.put_array_len(partitions.len());
        for partition in partitions {
            writer.put_i32(*partition);
        }
    }
}

fn topic_partitions(reader: &mut Reader<'_>) -> Result<TopicPartitions, Malformed> {
    let topics = reader.array_len(6)?;
    (0..topics)
        .map(|_| {
            let topic = reader.string()?.to_owned();
            let partitions = reader.array_len(4)?;
            Ok((topic, (0..partitions).map(|_| reader.i32()).collect::<Result<_, _>>()?))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::{Bytes, BytesMut};
    use kafka_protocol::messages::consumer_protocol_assignment::TopicPartition as AssignedPartition;
    use kafka_protocol::messages::consumer_protocol_subscription::TopicPartition as OwnedPartition;
    use kafka_protocol::messages::{ConsumerProtocolAssignment, ConsumerProtocolSubscription, TopicName};
    use kafka_protocol::protocol::{Decodable, Encodable, StrBytes};
    use testing::Random;

    fn two_topics() -> TopicPartitions {
        vec![("pedidos".to_owned(), vec![0, 3]), ("otros".to_owned(), vec![])]
    }

    fn name(topic: &str) -> TopicName {
        TopicName(StrBytes::from_string(topic.to_owned()))
    }

    fn theirs(version: i16, message: &impl Encodable) -> Vec<u8> {
        let mut bytes = BytesMut::new();
        message.encode(&mut bytes, version).unwrap();
        [&version.to_be_bytes(), &bytes[..]].concat()
    }

    fn their_subscription(version: i16) -> Vec<u8> {
        let owned = |(topic, partitions): (String, Vec<i32>)| {
            OwnedPartition::default().with_topic(name(&topic)).with_partitions(partitions)
        };
        let mut subscription = ConsumerProtocolSubscription::default()
            .with_topics(vec![StrBytes::from_static_str("pedidos"), StrBytes::from_static_str("otros")])
            .with_user_data(Some(Bytes::from_static(b"other")));
        if version >= 1 {
            subscription = subscription.with_owned_partitions(two_topics().into_iter().map(owned).collect());
        }
        if version >= 2 {
            subscription = subscription.with_generation_id(7);
        }
        if version >= 3 {
            subscription = subscription.with_rack_id(Some(StrBytes::from_static_str("rack")));
        }
        theirs(version, &subscription)
    }

    fn of_generation(generation: Option<i32>) -> Subscription {
        let topics = vec!["pedidos".to_owned()];
        Subscription { topics, owned: two_topics(), generation, user_data: Vec::new() }
    }

    /// What librdkafka's `cooperative-sticky` sends of a member in generation 7: the generation is in the
    /// user data alone, after the partitions.
    fn librdkafka_subscription(owned: &TopicPartitions) -> Vec<u8> {
        let mut user_data = Writer::new();
        put_topic_partitions(&mut user_data, owned);
        user_data.put_i32(7);
        let mut bytes = Writer::new();
        bytes.put_i16(3);
        bytes.put_array_len(0);
        bytes.put_bytes(user_data.as_slice());
        put_topic_partitions(&mut bytes, owned);
        bytes.put_i32(NO_GENERATION);
        bytes.put_i16(-1);
        bytes.into_vec()
    }

    fn their_assignment(version: i16) -> Vec<u8> {
        let assigned = |(topic, partitions): (String, Vec<i32>)| {
            AssignedPartition::default().with_topic(name(&topic)).with_partitions(partitions)
        };
        let partitions = two_topics().into_iter().map(assigned).collect();
        theirs(version, &ConsumerProtocolAssignment::default().with_assigned_partitions(partitions))
    }

    #[test]
    fn subscriptions_of_every_version_are_read() {
        for version in 0..=3 {
            let read = Subscription::decode(&their_subscription(version)).unwrap();
            assert_eq!(read.topics, ["pedidos", "otros"]);
            assert_eq!(read.owned, if version == 0 { Vec::new() } else { two_topics() });
            assert_eq!(read.generation, (version >= 2).then_some(7));
        }
    }

    #[test]
    fn assignments_of_every_version_are_read() {
        for version in 0..=3 {
            assert_eq!(Assignment::decode(&their_assignment(version)).unwrap().partitions, two_topics());
        }
    }

    #[test]
    fn a_later_version_is_read_as_far_as_it_is_known() {
        let mut later = their_subscription(3);
        later[1] = 9;
        later.extend_from_slice(b"fields to come");
        assert_eq!(Subscription::decode(&later).unwrap().owned, two_topics());
    }

    #[test]
    fn another_implementation_reads_what_is_written() {
        let subscription = of_generation(Some(7));
        let bytes = subscription.encode();
        assert_eq!(Subscription::decode(&bytes).unwrap(), subscription);
        let mut body = Bytes::from(bytes).split_off(2);
        let theirs = ConsumerProtocolSubscription::decode(&mut body, 3).unwrap();
        assert!(body.is_empty() && theirs.rack_id.is_none());
        assert_eq!((theirs.generation_id, theirs.user_data.as_deref()), (7, Some(&[0, 0, 0, 7][..])));
        assert_eq!(theirs.owned_partitions[0].partitions, [0, 3]);

        let assignment = Assignment { partitions: two_topics() };
        let bytes = assignment.encode();
        assert_eq!(Assignment::decode(&bytes).unwrap(), assignment);
        let mut body = Bytes::from(bytes).split_off(2);
        let theirs = ConsumerProtocolAssignment::decode(&mut body, 1).unwrap();
        assert!(body.is_empty());
        assert_eq!(theirs.assigned_partitions[0].topic, name("pedidos"));
    }

    /// The subscriptions of Java's 4.3.1 (`ConsumerProtocol.serializeSubscription`) to `otros` and `pedidos`,
    /// in generation 7 with `otros` 1 and `pedidos` 0 and 3, or before its first generation.
    mod java {
        pub const COOPERATIVE_V0: &str = "00000000000200056f74726f73000770656469646f730000000400000007";
        pub const COOPERATIVE_V1: &str = "\
            00010000000200056f74726f73000770656469646f7300000004000000070000000200056f74726f73000000\
            0100000001000770656469646f73000000020000000000000003";
        pub const COOPERATIVE_V3: &str = "\
            00030000000200056f74726f73000770656469646f7300000004000000070000000200056f74726f73000000\
            0100000001000770656469646f7300000002000000000000000300000007ffff";
        pub const COOPERATIVE_V3_WITH_RACK: &str = "\
            00030000000200056f74726f73000770656469646f7300000004000000070000000200056f74726f73000000\
            0100000001000770656469646f730000000200000000000000030000000700027231";
        pub const NEW_COOPERATIVE_V3: &str = "\
            00030000000200056f74726f73000770656469646f7300000004ffffffff00000000ffffffffffff";
        pub const RANGE_V3: &str = "00030000000200056f74726f73000770656469646f73ffffffff00000000ffffffffffff";
        /// The assignment of the same partitions, `pedidos` first.
        pub const ASSIGNMENT_V1: &str = "\
            000100000002000770656469646f7300000002000000000000000300056f74726f730000000100000001ffff\
            ffff";
    }

    fn bytes_of(hex: &str) -> Vec<u8> {
        (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
    }

    fn as_java(generation: Option<i32>) -> Subscription {
        let owned = vec![("otros".to_owned(), vec![1]), ("pedidos".to_owned(), vec![0, 3])];
        let topics = vec!["otros".to_owned(), "pedidos".to_owned()];
        let owned = generation.map(|_| owned).unwrap_or_default();
        Subscription { topics, owned, generation, user_data: Vec::new() }
    }

    #[test]
    fn the_bytes_are_those_of_java() {
        assert_eq!(as_java(Some(7)).encode(), bytes_of(java::COOPERATIVE_V3));
        assert_eq!(as_java(None).encode(), bytes_of(java::RANGE_V3));
        let assignment = Assignment { partitions: as_java(Some(7)).owned.into_iter().rev().collect() };
        assert_eq!(assignment.encode(), bytes_of(java::ASSIGNMENT_V1));
    }

    #[test]
    fn what_java_sends_is_read_with_its_generation() {
        let vectors = [java::COOPERATIVE_V1, java::COOPERATIVE_V3, java::COOPERATIVE_V3_WITH_RACK];
        for vector in vectors {
            assert_eq!(Subscription::decode(&bytes_of(vector)), Ok(as_java(Some(7))));
        }
        for vector in [java::NEW_COOPERATIVE_V3, java::RANGE_V3] {
            assert_eq!(Subscription::decode(&bytes_of(vector)), Ok(as_java(None)));
        }
        let old = Subscription { owned: Vec::new(), ..as_java(Some(7)) };
        assert_eq!(Subscription::decode(&bytes_of(java::COOPERATIVE_V0)), Ok(old));
    }

    #[test]
    fn the_generation_of_librdkafka_is_read_after_its_partitions() {
        for owned in [two_topics(), Vec::new()] {
            let read = Subscription::decode(&librdkafka_subscription(&owned)).unwrap();
            assert_eq!((read.generation, read.owned), (Some(7), owned));
        }
    }

    #[test]
    fn user_data_of_other_assignors_are_no_generation() {
        for user_data in [&b""[..], b"abc", b"user data", &[0xff; 4], &[0, 0, 0, 0, 0, 0, 0, 7, 1]] {
            let theirs_with = ConsumerProtocolSubscription::default()
                .with_user_data(Some(Bytes::copy_from_slice(user_data)));
            assert_eq!(Subscription::decode(&theirs(1, &theirs_with)), Ok(Subscription::default()));
        }
    }

    #[test]
    fn what_a_member_tells_of_itself_stands_after_the_generation_that_others_read() {
        for generation in [Some(7), None] {
            let told = Subscription { user_data: b"here".to_vec(), ..of_generation(generation) };
            let bytes = told.encode();
            assert_eq!(Subscription::decode(&bytes), Ok(told));
            let theirs =
                ConsumerProtocolSubscription::decode(&mut Bytes::from(bytes).split_off(2), 3).unwrap();
            let user_data = theirs.user_data.unwrap();
            assert_eq!(user_data[..4], generation.unwrap_or(NO_GENERATION).to_be_bytes());
            assert_eq!(user_data[8..], *b"here");
        }
        // Before version 2 the generation is in the user data alone.
        let user_data = [&7_i32.to_be_bytes()[..], &MARK, b"here"].concat();
        let old = ConsumerProtocolSubscription::default().with_user_data(Some(user_data.into()));
        let read = Subscription::decode(&theirs(1, &old)).unwrap();
        assert_eq!((read.generation, read.user_data.as_slice()), (Some(7), &b"here"[..]));
    }

    #[test]
    fn no_bytes_are_no_partitions() {
        assert_eq!(Assignment::decode(&[]), Ok(Assignment::default()));
        assert!(Subscription::decode(&[]).is_err());
    }

    #[test]
    fn a_negative_version_and_every_truncation_are_refused() {
        assert!(Assignment::decode(&[0xff, 0xff, 0, 0, 0, 0]).is_err());
        let subscription = of_generation(Some(7)).encode();
        let assignment = Assignment { partitions: two_topics() }.encode();
        for end in 0..subscription.len() {
            assert!(Subscription::decode(&subscription[..end]).is_err(), "{end} bytes");
        }
        for end in 1..assignment.len() {
            assert!(Assignment::decode(&assignment[..end]).is_err(), "{end} bytes");
        }
    }

    #[test]
    fn damaged_bytes_never_panic() {
        let mut random = Random::new(3);
        let librdkafka = librdkafka_subscription(&two_topics());
        for original in [their_subscription(3), their_assignment(3), librdkafka] {
            for _ in 0..50_000 {
                let damaged = random.damage(&original);
                let _ = Subscription::decode(&damaged);
                let _ = Assignment::decode(&damaged);
            }
        }
    }
}
