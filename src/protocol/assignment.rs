//! What the members of a consumer group tell each other through the coordinator, which does not read it: the
//! subscription that a member joins with, and the assignment that the leader makes of them.
//!
//! Source: KIP-62 and `ConsumerProtocolSubscription.json`, `ConsumerProtocolAssignment.json` in Kafka's
//! client: a version (2 bytes), then the fields of that version. Newer versions only add fields at the end,
//! so that those of any version are read here as far as they are known (3), as the Java client does. Written
//! is version 1 (KIP-429).

use super::wire::{Malformed, Reader, Writer};

/// Topics, each with some of its partitions.
pub type TopicPartitions = Vec<(String, Vec<i32>)>;

/// What a member wants, and what it has.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Subscription {
    /// The topics that it subscribes to.
    pub topics: Vec<String>,
    /// The partitions that it owned before this rebalance; none before version 1 of the protocol.
    pub owned: TopicPartitions,
}

impl Subscription {
    /// The bytes for JoinGroup.
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::new();
        writer.put_i16(1);
        writer.put_array_len(self.topics.len());
        for topic in &self.topics {
            writer.put_string(topic);
        }
        writer.put_nullable_bytes(None);
        put_topic_partitions(&mut writer, &self.owned);
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
        reader.nullable_bytes()?;
        let owned = if version >= 1 { topic_partitions(&mut reader)? } else { Vec::new() };
        Ok(Subscription { topics, owned })
    }
}

/// What a member gets.
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
    use crate::protocol::testing::Random;
    use bytes::{Bytes, BytesMut};
    use kafka_protocol::messages::consumer_protocol_assignment::TopicPartition as AssignedPartition;
    use kafka_protocol::messages::consumer_protocol_subscription::TopicPartition as OwnedPartition;
    use kafka_protocol::messages::{ConsumerProtocolAssignment, ConsumerProtocolSubscription, TopicName};
    use kafka_protocol::protocol::{Decodable, Encodable, StrBytes};

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
            .with_user_data(Some(Bytes::from_static(b"user")));
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
        let subscription = Subscription { topics: vec!["pedidos".to_owned()], owned: two_topics() };
        let bytes = subscription.encode();
        assert_eq!(Subscription::decode(&bytes).unwrap(), subscription);
        let mut body = Bytes::from(bytes).split_off(2);
        let theirs = ConsumerProtocolSubscription::decode(&mut body, 1).unwrap();
        assert!(body.is_empty() && theirs.user_data.is_none());
        assert_eq!(theirs.owned_partitions[0].partitions, [0, 3]);

        let assignment = Assignment { partitions: two_topics() };
        let bytes = assignment.encode();
        assert_eq!(Assignment::decode(&bytes).unwrap(), assignment);
        let mut body = Bytes::from(bytes).split_off(2);
        let theirs = ConsumerProtocolAssignment::decode(&mut body, 1).unwrap();
        assert!(body.is_empty());
        assert_eq!(theirs.assigned_partitions[0].topic, name("pedidos"));
    }

    #[test]
    fn no_bytes_are_no_partitions() {
        assert_eq!(Assignment::decode(&[]), Ok(Assignment::default()));
        assert!(Subscription::decode(&[]).is_err());
    }

    #[test]
    fn a_negative_version_and_every_truncation_are_refused() {
        assert!(Assignment::decode(&[0xff, 0xff, 0, 0, 0, 0]).is_err());
        let subscription = Subscription { topics: vec!["pedidos".to_owned()], owned: two_topics() }.encode();
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
        for original in [their_subscription(3), their_assignment(3)] {
            for _ in 0..50_000 {
                let damaged = random.damage(&original);
                let _ = Subscription::decode(&damaged);
                let _ = Assignment::decode(&damaged);
            }
        }
    }
}
