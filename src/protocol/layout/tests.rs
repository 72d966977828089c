//! Every layout against what `kafka-protocol` encodes and decodes.

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::*;
use kafka_protocol::protocol::{Decodable, Encodable, StrBytes};

use super::*;
use crate::protocol::testing::Random;
use crate::protocol::wire::Writer;

/// A response that was encoded, and how to decode it.
struct Sample {
    api_key: i16,
    body: Vec<u8>,
    version: i16,
    decode: fn(&mut Bytes, i16) -> bool,
}

fn text(text: &'static str) -> StrBytes {
    StrBytes::from_static_str(text)
}

fn topic_name() -> TopicName {
    TopicName(text("pedidos"))
}

/// Encodes `$message` as version `$version` of response `$key`.
macro_rules! sample {
    ($key:expr, $version:expr, $type:ty, $message:expr) => {{
        let mut body = BytesMut::new();
        let message: $type = $message;
        message.encode(&mut body, $version).unwrap();
        let decode = |body: &mut Bytes, version| <$type>::decode(body, version).is_ok() && body.is_empty();
        Sample { api_key: $key, body: body.to_vec(), version: $version, decode }
    }};
}

/// Tags that no decoder knows.
fn unknown() -> std::collections::BTreeMap<i32, Bytes> {
    [(40, Bytes::from_static(b"what")), (41, Bytes::new())].into()
}

fn api_versions() -> [Sample; 2] {
    use api_versions_response::{ApiVersion, FinalizedFeatureKey, SupportedFeatureKey};
    let key = |key| ApiVersion::default().with_api_key(key).with_max_version(9);
    let supported = SupportedFeatureKey::default().with_name(text("metadata.version"));
    let finalized = FinalizedFeatureKey::default().with_name(text("metadata.version"));
    let modern = ApiVersionsResponse::default()
        .with_api_keys(vec![key(0), key(1).with_unknown_tagged_fields(unknown())])
        .with_supported_features(vec![supported.clone(), supported])
        .with_finalized_features_epoch(77)
        .with_finalized_features(vec![finalized])
        .with_zk_migration_ready(true)
        .with_unknown_tagged_fields(unknown());
    let refused = ApiVersionsResponse::default().with_error_code(35).with_api_keys(vec![key(18)]);
    [sample!(18, 3, ApiVersionsResponse, modern), sample!(18, 0, ApiVersionsResponse, refused)]
}

fn produce() -> Sample {
    use produce_response::{BatchIndexAndErrorMessage, PartitionProduceResponse, TopicProduceResponse};
    let record = BatchIndexAndErrorMessage::default().with_batch_index_error_message(Some(text("bad")));
    let partition = PartitionProduceResponse::default()
        .with_index(3)
        .with_record_errors(vec![record, BatchIndexAndErrorMessage::default()])
        .with_error_message(Some(text("refused")))
        .with_unknown_tagged_fields(unknown());
    let topic = TopicProduceResponse::default()
        .with_name(topic_name())
        .with_partition_responses(vec![partition, PartitionProduceResponse::default()]);
    sample!(0, 9, ProduceResponse, ProduceResponse::default().with_responses(vec![topic]))
}

fn fetch() -> Sample {
    use fetch_response::*;
    let aborted = AbortedTransaction::default().with_first_offset(6);
    let partition = PartitionData::default()
        .with_partition_index(1)
        .with_aborted_transactions(Some(vec![aborted.clone(), aborted]))
        .with_records(Some(Bytes::from_static(b"not looked into")))
        .with_diverging_epoch(EpochEndOffset::default().with_epoch(4))
        .with_current_leader(LeaderIdAndEpoch::default().with_leader_epoch(5))
        .with_snapshot_id(SnapshotId::default().with_epoch(6))
        .with_unknown_tagged_fields(unknown());
    let empty = PartitionData::default().with_aborted_transactions(None).with_records(None);
    let topic =
        FetchableTopicResponse::default().with_topic(topic_name()).with_partitions(vec![partition, empty]);
    sample!(1, 12, FetchResponse, FetchResponse::default().with_responses(vec![topic]))
}

fn list_offsets() -> Sample {
    use list_offsets_response::{ListOffsetsPartitionResponse, ListOffsetsTopicResponse};
    let partition = ListOffsetsPartitionResponse::default().with_offset(9);
    let topic = ListOffsetsTopicResponse::default()
        .with_name(topic_name())
        .with_partitions(vec![partition.clone(), partition]);
    sample!(2, 6, ListOffsetsResponse, ListOffsetsResponse::default().with_topics(vec![topic]))
}

fn metadata() -> Sample {
    use metadata_response::{MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic};
    let broker = MetadataResponseBroker::default().with_host(text("host")).with_rack(Some(text("rack")));
    let ids = |ids: &[i32]| ids.iter().copied().map(BrokerId).collect::<Vec<_>>();
    let partition = MetadataResponsePartition::default()
        .with_replica_nodes(ids(&[1, 2, 3]))
        .with_isr_nodes(ids(&[1, 2]))
        .with_offline_replicas(ids(&[3]));
    let topic = MetadataResponseTopic::default()
        .with_name(Some(topic_name()))
        .with_partitions(vec![partition, MetadataResponsePartition::default()]);
    let message = MetadataResponse::default()
        .with_brokers(vec![broker, MetadataResponseBroker::default()])
        .with_cluster_id(Some(text("cluster")))
        .with_topics(vec![topic])
        .with_unknown_tagged_fields(unknown());
    sample!(3, 9, MetadataResponse, message)
}

fn offsets() -> [Sample; 2] {
    use offset_commit_response::{OffsetCommitResponsePartition, OffsetCommitResponseTopic};
    use offset_fetch_response::{OffsetFetchResponsePartition, OffsetFetchResponseTopic};
    let fetched = OffsetFetchResponsePartition::default().with_metadata(Some(text("note")));
    let without = OffsetFetchResponsePartition::default().with_metadata(None);
    let topic =
        OffsetFetchResponseTopic::default().with_name(topic_name()).with_partitions(vec![fetched, without]);
    let fetch = OffsetFetchResponse::default().with_topics(vec![topic]);
    let committed = OffsetCommitResponsePartition::default().with_error_code(22);
    let topic = OffsetCommitResponseTopic::default()
        .with_name(topic_name())
        .with_partitions(vec![committed.clone(), committed]);
    let commit = OffsetCommitResponse::default().with_topics(vec![topic]);
    [sample!(9, 7, OffsetFetchResponse, fetch), sample!(8, 8, OffsetCommitResponse, commit)]
}

fn groups() -> [Sample; 5] {
    use join_group_response::JoinGroupResponseMember;
    use leave_group_response::MemberResponse;
    let find =
        FindCoordinatorResponse::default().with_error_message(Some(text("no"))).with_host(text("host"));
    let member = JoinGroupResponseMember::default()
        .with_member_id(text("member"))
        .with_group_instance_id(Some(text("instance")))
        .with_metadata(Bytes::from_static(b"subscription"));
    let join = JoinGroupResponse::default()
        .with_protocol_type(Some(text("consumer")))
        .with_protocol_name(Some(text("range")))
        .with_leader(text("leader"))
        .with_member_id(text("member"))
        .with_members(vec![member, JoinGroupResponseMember::default()]);
    let sync = SyncGroupResponse::default()
        .with_protocol_name(Some(text("range")))
        .with_assignment(Bytes::from_static(b"assignment"));
    let left = MemberResponse::default().with_member_id(text("member"));
    let leave = LeaveGroupResponse::default().with_members(vec![left]);
    let heartbeat = HeartbeatResponse::default().with_unknown_tagged_fields(unknown());
    [
        sample!(10, 3, FindCoordinatorResponse, find),
        sample!(11, 7, JoinGroupResponse, join),
        sample!(12, 4, HeartbeatResponse, heartbeat),
        sample!(13, 4, LeaveGroupResponse, leave),
        sample!(14, 5, SyncGroupResponse, sync),
    ]
}

fn others() -> [Sample; 2] {
    use create_topics_response::{CreatableTopicConfigs, CreatableTopicResult};
    let config = CreatableTopicConfigs::default().with_name(text("retention.ms")).with_value(Some(text("1")));
    let topic = CreatableTopicResult::default()
        .with_name(topic_name())
        .with_error_message(Some(text("exists")))
        .with_configs(Some(vec![config.clone(), config]))
        .with_topic_config_error_code(29);
    let create = CreateTopicsResponse::default().with_topics(vec![topic, CreatableTopicResult::default()]);
    let init = InitProducerIdResponse::default().with_producer_epoch(3);
    [sample!(19, 7, CreateTopicsResponse, create), sample!(22, 4, InitProducerIdResponse, init)]
}

fn samples() -> Vec<Sample> {
    let mut samples = vec![produce(), fetch(), list_offsets(), metadata()];
    samples.extend(api_versions());
    samples.extend(offsets());
    samples.extend(groups());
    samples.extend(others());
    samples
}

#[test]
fn every_response_that_is_asked_for_passes() {
    for Sample { api_key, body, version, decode } in samples() {
        assert_eq!(check_response(api_key, &body), Ok(version), "response {api_key}");
        assert!(decode(&mut Bytes::from(body), version));
    }
}

#[test]
fn every_truncation_and_every_addition_is_refused() {
    for Sample { api_key, mut body, .. } in samples() {
        for end in 0..body.len() {
            assert!(check_response(api_key, &body[..end]).is_err(), "{end} bytes of response {api_key}");
        }
        body.push(0);
        assert!(check_response(api_key, &body).is_err(), "response {api_key} and a byte");
    }
}

/// Where lengths and counts stand in a body that passes; each takes one byte in the samples, but four in an
/// old array.
fn lengths(reader: &mut Reader<'_>, fields: &'static [Field], found: &mut Vec<usize>) {
    for field in fields {
        let at = reader.position();
        if !matches!(field, Field::Fixed(_)) {
            found.push(at);
        }
        match field {
            Field::Fixed(bytes) => drop(reader.take(*bytes).unwrap()),
            Field::Bytes => {
                let length = compact_length(reader).unwrap();
                reader.take(length).unwrap();
            }
            Field::Numbers(width) => {
                let count = compact_length(reader).unwrap();
                reader.take(count * width).unwrap();
            }
            Field::Array(element) => {
                (0..compact_length(reader).unwrap()).for_each(|_| lengths(reader, element, found));
            }
            Field::OldArray(element) => {
                (0..reader.array_len(1).unwrap()).for_each(|_| lengths(reader, element, found));
            }
            Field::Tags(known) => {
                for _ in 0..reader.unsigned_varint().unwrap() {
                    let tag = reader.unsigned_varint().unwrap();
                    found.push(reader.position());
                    let size = reader.unsigned_varint().unwrap() as usize;
                    match known.iter().find(|(number, _)| *number == tag) {
                        Some((_, fields)) => lengths(reader, fields, found),
                        None => drop(reader.take(size).unwrap()),
                    }
                }
            }
        }
    }
}

#[test]
fn every_inflated_length_is_refused() {
    let mut inflated_lengths = 0;
    for Sample { api_key, body, version, .. } in samples() {
        let mut found = Vec::new();
        let mut reader = Reader::new(&body);
        let (_, fields) = responses::fields(api_key, &body).unwrap();
        lengths(&mut reader, fields, &mut found);
        assert!(reader.is_empty());
        for at in found {
            let mut inflated = body.clone();
            if (api_key, version) == (18, 0) {
                inflated[at] = 0x7f;
            } else {
                inflated.splice(at..=at, [0xff, 0xff, 0xff, 0xff, 0x0f]);
            }
            assert!(check_response(api_key, &inflated).is_err(), "byte {at} of response {api_key}");
            inflated_lengths += 1;
        }
    }
    assert!(inflated_lengths > 150, "{inflated_lengths}");
}

#[test]
fn a_known_tag_must_have_the_size_of_its_fields() {
    // An empty Fetch answer but for one partition with the tag "current leader".
    let with_tag = |size: u8, value: &[u8]| {
        let mut writer = Writer::new();
        writer.put_raw(&[0; 10]);
        writer.put_raw(&[2, 2, b't', 2]);
        writer.put_raw(&[0; 30]);
        writer.put_raw(&[1, 0, 0, 0, 0, 1, 1, 1, size]);
        writer.put_raw(value);
        writer.put_raw(&[0, 0]);
        writer.into_vec()
    };
    assert_eq!(check_response(1, &with_tag(9, &[0; 9])), Ok(12));
    assert!(check_response(1, &with_tag(8, &[0; 9])).is_err());
    assert!(check_response(1, &with_tag(10, &[0; 10])).is_err());
}

#[test]
fn more_elements_than_the_budget_are_refused() {
    let keys = |count: u32| {
        let mut writer = Writer::new();
        writer.put_i16(0);
        let length = count + 1;
        writer.put_raw(&[length as u8 | 0x80, (length >> 7) as u8 | 0x80, (length >> 14) as u8]);
        writer.put_raw(&vec![0; count as usize * 7]);
        writer.put_i32(0);
        writer.put_i8(0);
        writer.into_vec()
    };
    let allowed = (BUDGET_BYTES / ELEMENT_BYTES) as u32;
    assert_eq!(check_response(18, &keys(allowed)), Ok(3));
    let error = check_response(18, &keys(allowed + 1)).unwrap_err();
    assert_eq!(error.what, "more elements than an answer may have");
}

#[test]
fn what_an_element_takes_in_memory_is_not_underestimated() {
    let largest = [
        size_of::<fetch_response::PartitionData>(),
        size_of::<fetch_response::FetchableTopicResponse>(),
        size_of::<produce_response::PartitionProduceResponse>(),
        size_of::<metadata_response::MetadataResponseTopic>(),
        size_of::<metadata_response::MetadataResponsePartition>(),
        size_of::<metadata_response::MetadataResponseBroker>(),
        size_of::<create_topics_response::CreatableTopicResult>(),
        size_of::<create_topics_response::CreatableTopicConfigs>(),
        size_of::<join_group_response::JoinGroupResponseMember>(),
        size_of::<api_versions_response::ApiVersion>(),
    ];
    assert!(largest.into_iter().all(|size| size <= ELEMENT_BYTES), "{largest:?}");
}

#[test]
fn a_response_that_is_never_asked_for_is_refused() {
    for api_key in [-1, 4, 15, 20, 68] {
        assert!(check_response(api_key, &[0; 64]).is_err());
    }
}

#[test]
fn what_passes_after_damage_is_decoded_without_panic() {
    let mut random = Random::new(0x1a_0075);
    let samples = samples();
    let mut passed = 0;
    for _ in 0..200_000 {
        let sample = &samples[random.below(samples.len())];
        let damaged = random.damage(&sample.body);
        if let Ok(version) = check_response(sample.api_key, &damaged) {
            passed += 1;
            // It may still refuse a text that is not UTF-8 or a null where none may be.
            let _ = (sample.decode)(&mut Bytes::from(damaged), version);
        }
    }
    assert!(passed > 10_000, "{passed} of the damaged responses reached the decoder");
}
