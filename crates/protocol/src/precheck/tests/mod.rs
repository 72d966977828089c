//! Every schema against what `kafka-protocol` encodes and decodes.

mod admin;
mod requests;
mod responses;

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::*;
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, StrBytes};

use super::walk::{ELEMENT_BYTES, Field, Walker};
use super::{RequestHeader, *};
use crate::wire::Writer;
use testing::Random;

/// Which of the two tables a sample is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Request,
    Response,
}

/// A message that was encoded, and how to decode it.
struct Sample {
    kind: Kind,
    api_key: i16,
    version: i16,
    /// The version of the request: another one where ApiVersions is refused.
    asked: i16,
    body: Vec<u8>,
    /// How many bytes are left after decoding in that version; none if the decoder refuses them.
    decode: fn(&mut Bytes, i16) -> Option<usize>,
    /// Of the message's header.
    header_version: i16,
}

impl Sample {
    fn check(&self, body: &[u8]) -> Result<i16, Malformed> {
        match self.kind {
            Kind::Request => check_request(self.api_key, self.version, body).map(|()| self.version),
            Kind::Response => check_response(self.api_key, self.asked, body),
        }
    }

    /// How many bytes are the message.
    fn walked(&self, body: &[u8], version: i16) -> usize {
        let schema = match self.kind {
            Kind::Request => self.schema(),
            Kind::Response => super::responses::schema(self.api_key, self.asked, body).unwrap().0,
        };
        schema.check(version, body, usize::MAX).unwrap().position()
    }

    fn schema(&self) -> &'static Schema {
        match self.kind {
            Kind::Request => request(self.api_key).unwrap(),
            Kind::Response => super::responses::schema(self.api_key, self.asked, &self.body).unwrap().0,
        }
    }

    fn name(&self) -> String {
        format!("{:?} {} version {}", self.kind, self.api_key, self.version)
    }
}

fn text(text: &'static str) -> StrBytes {
    StrBytes::from_static_str(text)
}

fn topic_name() -> TopicName {
    TopicName(text("pedidos"))
}

/// Encodes `$message` as version `$version` of the request or response `$key`.
macro_rules! sample {
    ($kind:ident, $key:expr, $version:expr, $type:ty, $message:expr) => {{
        let mut body = BytesMut::new();
        let message: $type = $message;
        message.encode(&mut body, $version).unwrap();
        Sample {
            kind: Kind::$kind,
            api_key: $key,
            version: $version,
            asked: if $key == 18 && $version == 0 { 3 } else { $version },
            body: body.to_vec(),
            decode: |body, version| <$type>::decode(body, version).ok().map(|_| body.len()),
            header_version: <$type>::header_version($version),
        }
    }};
}
use sample;

/// Tags that no decoder knows.
fn unknown() -> std::collections::BTreeMap<i32, Bytes> {
    [(40, Bytes::from_static(b"what")), (41, Bytes::new())].into()
}

fn samples() -> Vec<Sample> {
    let mut samples = requests::samples();
    samples.extend(responses::samples());
    samples
}

#[test]
fn every_message_that_is_served_or_asked_for_passes() {
    for sample in samples() {
        assert_eq!(sample.check(&sample.body), Ok(sample.version), "{}", sample.name());
        let decoded = (sample.decode)(&mut Bytes::from(sample.body.clone()), sample.version);
        assert_eq!(decoded, Some(0), "{}", sample.name());
    }
}

#[test]
fn every_truncation_is_refused() {
    for sample in samples() {
        for end in 0..sample.body.len() {
            assert!(sample.check(&sample.body[..end]).is_err(), "{end} bytes of {}", sample.name());
        }
    }
}

#[test]
fn bytes_after_the_end_are_refused_in_a_response_and_let_pass_in_a_request() {
    for sample in samples() {
        let longer = [&sample.body[..], &[0]].concat();
        let passes = matches!(sample.kind, Kind::Request);
        assert_eq!(sample.check(&longer).is_ok(), passes, "{} and a byte", sample.name());
    }
}

/// Where lengths and counts stand in a body that passes, and how many bytes each takes.
fn lengths(
    walker: &Walker,
    reader: &mut Reader<'_>,
    fields: &'static [Field],
    found: &mut Vec<(usize, usize)>,
) {
    for field in fields {
        let start = reader.position();
        match field {
            Field::Fixed(bytes) => drop(reader.take(*bytes).unwrap()),
            Field::Nullable(fields) => {
                if reader.i8().unwrap() == 1 {
                    lengths(walker, reader, fields, found);
                }
            }
            Field::Since(..) | Field::Until(..) => lengths(walker, reader, walker.versioned(field), found),
            Field::Text | Field::Bytes | Field::Numbers(_) | Field::Array(_) => {
                let length = walker.length(reader, field).unwrap();
                found.push((start, reader.position() - start));
                match field {
                    Field::Array(element) => {
                        (0..length).for_each(|_| lengths(walker, reader, element, found))
                    }
                    Field::Numbers(width) => drop(reader.take(length * width).unwrap()),
                    _ => drop(reader.take(length).unwrap()),
                }
            }
            Field::Tags(_) if !walker.flexible => {}
            Field::Tags(known) => {
                let count = reader.unsigned_varint().unwrap();
                found.push((start, reader.position() - start));
                for _ in 0..count {
                    let tag = reader.unsigned_varint().unwrap();
                    let start = reader.position();
                    let size = reader.unsigned_varint().unwrap() as usize;
                    found.push((start, reader.position() - start));
                    match known.iter().find(|(number, _)| *number == tag) {
                        Some((_, fields)) => lengths(walker, reader, fields, found),
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
    for sample in samples() {
        let schema = sample.schema();
        let flexible = sample.version >= schema.flexible;
        let walker = Walker { version: sample.version, flexible, budget: 0 };
        let (mut found, mut reader) = (Vec::new(), Reader::new(&sample.body));
        lengths(&walker, &mut reader, schema.fields, &mut found);
        assert!(reader.is_empty(), "{}", sample.name());
        for (at, bytes) in found {
            let mut inflated = sample.body.clone();
            match (flexible, bytes) {
                (true, _) => drop(inflated.splice(at..at + bytes, [0xff, 0xff, 0xff, 0xff, 0x0f])),
                (false, 2) => drop(inflated.splice(at..at + 2, [0x7f, 0xff])),
                (false, _) => drop(inflated.splice(at..at + 4, [0x7f, 0xff, 0xff, 0xff])),
            }
            let error = sample.check(&inflated).unwrap_err();
            assert!(error.at >= at && error.at <= at + 5, "{error} for byte {at} of {}", sample.name());
            inflated_lengths += 1;
        }
    }
    assert!(inflated_lengths > 1_400, "{inflated_lengths}");
}

#[test]
fn a_negative_length_other_than_that_of_null_is_refused() {
    // Metadata 1: the number of topics.
    assert_eq!(check_request(3, 1, &(-1_i32).to_be_bytes()), Ok(()));
    let error = check_request(3, 1, &(-2_i32).to_be_bytes()).unwrap_err();
    assert_eq!(error.what, "a negative length");
    // FindCoordinator 0: the key.
    let error = check_request(10, 0, &(-2_i16).to_be_bytes()).unwrap_err();
    assert_eq!(error.what, "a negative length");
}

#[test]
fn a_known_tag_must_have_the_size_of_its_fields() {
    // An answer to CreateTopics with one topic, which has the tag "error of the configs".
    let with_tag = |size: u8, value: &[u8]| {
        let mut writer = Writer::new();
        writer.put_raw(&[0; 4]);
        writer.put_raw(&[2, 2, b't']);
        writer.put_raw(&[0; 2 + 1 + 4 + 2 + 1]);
        writer.put_raw(&[1, 0, size]);
        writer.put_raw(value);
        writer.put_raw(&[0]);
        writer.into_vec()
    };
    assert_eq!(check_response(19, 6, &with_tag(2, &[0; 2])), Ok(6));
    assert!(check_response(19, 6, &with_tag(1, &[0; 2])).is_err());
    assert!(check_response(19, 6, &with_tag(3, &[0; 3])).is_err());
}

#[test]
fn more_elements_than_the_budget_are_refused() {
    let count = |count: usize| {
        let length = count + 1;
        [length as u8 | 0x80, (length >> 7) as u8 | 0x80, (length >> 14) as u8]
    };
    let keys = |keys: usize| [&[0, 0][..], &count(keys), &vec![0; keys * 7], &[0; 5]].concat();
    let allowed = RESPONSE_BUDGET / ELEMENT_BYTES;
    assert_eq!(check_response(18, 3, &keys(allowed)), Ok(3));
    let error = check_response(18, 3, &keys(allowed + 1)).unwrap_err();
    assert_eq!((error.what, error.at), ("more elements than a message may have", 5));

    let groups = |groups: usize| [&count(groups)[..], &vec![1; groups], &[0]].concat();
    let allowed = REQUEST_BUDGET / ELEMENT_BYTES;
    assert_eq!(check_request(42, 2, &groups(allowed)), Ok(()));
    assert_eq!(check_request(42, 2, &groups(allowed + 1)).unwrap_err().at, 3);
}

#[test]
fn record_data_counts_for_nothing() {
    let records = Bytes::from(vec![7; REQUEST_BUDGET * 2]);
    let partition = produce_request::PartitionProduceData::default().with_records(Some(records));
    let topic = produce_request::TopicProduceData::default().with_partition_data(vec![partition]);
    for version in 3..=13 {
        let mut body = BytesMut::new();
        let request = ProduceRequest::default().with_topic_data(vec![topic.clone()]);
        request.encode(&mut body, version).unwrap();
        assert_eq!(check_request(0, version, &body), Ok(()));
    }
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
        size_of::<produce_request::TopicProduceData>(),
        size_of::<produce_request::PartitionProduceData>(),
        size_of::<fetch_request::FetchTopic>(),
        size_of::<fetch_request::FetchPartition>(),
        size_of::<fetch_request::ForgottenTopic>(),
        size_of::<metadata_request::MetadataRequestTopic>(),
        size_of::<offset_commit_request::OffsetCommitRequestTopic>(),
        size_of::<offset_commit_request::OffsetCommitRequestPartition>(),
        size_of::<offset_fetch_request::OffsetFetchRequestTopic>(),
        size_of::<offset_fetch_request::OffsetFetchRequestGroup>(),
        size_of::<offset_fetch_request::OffsetFetchRequestTopics>(),
        size_of::<delete_topics_request::DeleteTopicState>(),
        size_of::<join_group_request::JoinGroupRequestProtocol>(),
        size_of::<leave_group_request::MemberIdentity>(),
        size_of::<sync_group_request::SyncGroupRequestAssignment>(),
        size_of::<create_topics_request::CreatableTopic>(),
        size_of::<create_topics_request::CreatableReplicaAssignment>(),
        size_of::<create_topics_request::CreatableTopicConfig>(),
        size_of::<describe_configs_request::DescribeConfigsResource>(),
        size_of::<offset_for_leader_epoch_request::OffsetForLeaderTopic>(),
        size_of::<offset_for_leader_epoch_request::OffsetForLeaderPartition>(),
        size_of::<create_acls_request::AclCreation>(),
        size_of::<delete_acls_request::DeleteAclsFilter>(),
        size_of::<elect_leaders_request::TopicPartitions>(),
        size_of::<elect_leaders_response::PartitionResult>(),
        size_of::<alter_partition_reassignments_request::ReassignableTopic>(),
        size_of::<alter_partition_reassignments_request::ReassignablePartition>(),
        size_of::<alter_partition_reassignments_response::ReassignablePartitionResponse>(),
        size_of::<list_partition_reassignments_request::ListPartitionReassignmentsTopics>(),
        size_of::<describe_client_quotas_request::ComponentData>(),
        size_of::<describe_user_scram_credentials_request::UserName>(),
        size_of::<alter_user_scram_credentials_request::ScramCredentialDeletion>(),
        size_of::<alter_user_scram_credentials_request::ScramCredentialUpsertion>(),
        size_of::<describe_quorum_request::TopicData>(),
        size_of::<describe_quorum_response::PartitionData>(),
        size_of::<describe_topic_partitions_request::TopicRequest>(),
        size_of::<describe_topic_partitions_response::DescribeTopicPartitionsResponseTopic>(),
        size_of::<delete_records_request::DeleteRecordsTopic>(),
        size_of::<delete_records_request::DeleteRecordsPartition>(),
        size_of::<alter_configs_request::AlterConfigsResource>(),
        size_of::<alter_configs_request::AlterableConfig>(),
        size_of::<describe_log_dirs_request::DescribableLogDirTopic>(),
        size_of::<create_partitions_request::CreatePartitionsTopic>(),
        size_of::<create_partitions_request::CreatePartitionsAssignment>(),
        size_of::<incremental_alter_configs_request::AlterConfigsResource>(),
        size_of::<incremental_alter_configs_request::AlterableConfig>(),
        size_of::<describe_producers_request::TopicRequest>(),
    ];
    assert!(largest.into_iter().all(|size| size <= ELEMENT_BYTES), "{largest:?}");
}

#[test]
fn what_is_not_served_or_never_asked_for_is_refused() {
    for api_key in [-1, 4, 17, 24, 68, i16::MAX] {
        assert!(check_response(api_key, 0, &[0; 64]).is_err());
        assert_eq!(check_request(api_key, 0, &[0; 64]).unwrap_err().what, "a request that is not served");
        assert_eq!(request_versions(api_key), None);
    }
    for (api_key, versions) in served_requests() {
        assert_eq!(request_versions(api_key), Some(versions.clone()));
        for version in [-1, versions.start() - 1, versions.end() + 1, i16::MAX] {
            let error = check_request(api_key, version, &[0; 64]).unwrap_err();
            assert_eq!(error.what, "a version of this request that is not served");
        }
    }
}

#[test]
fn the_versions_served_are_versions_that_the_decoders_know() {
    for (api_key, versions) in served_requests() {
        let known = ApiKey::try_from(api_key).unwrap().valid_versions();
        assert!(known.min <= *versions.start() && *versions.end() <= known.max, "{api_key}");
    }
}

#[test]
fn the_body_of_every_request_is_found_behind_its_header() {
    for sample in samples().into_iter().filter(|sample| sample.kind == Kind::Request) {
        for client_id in [Some(text("señal")), None] {
            let mut header = kafka_protocol::messages::RequestHeader::default()
                .with_request_api_key(sample.api_key)
                .with_request_api_version(sample.version)
                .with_correlation_id(77)
                .with_client_id(client_id.clone());
            if sample.header_version == 2 {
                header = header.with_unknown_tagged_fields(unknown());
            }
            let mut frame = BytesMut::new();
            header.encode(&mut frame, sample.header_version).unwrap();
            let body = frame.len();
            frame.extend_from_slice(&sample.body);
            let read = RequestHeader::read(&frame).unwrap();
            let client_id = client_id.as_deref().unwrap_or_default();
            let expected = RequestHeader {
                api_key: sample.api_key,
                version: sample.version,
                correlation_id: 77,
                client_id,
                body,
            };
            assert_eq!(read, expected, "{}", sample.name());
            for end in 0..body {
                assert!(RequestHeader::read(&frame[..end]).is_err(), "{end} bytes of {}", sample.name());
            }
        }
    }
}

#[test]
fn the_header_of_a_request_that_is_not_served_is_read_up_to_its_client_id() {
    // ApiVersions 9 is flexible all the same; 999 is unknown, and so is whether it has tagged fields.
    let frame = [0, 18, 0, 9, 0, 0, 0, 1, 0, 1, b'c', 0, 1, 2];
    let header = RequestHeader::read(&frame).unwrap();
    assert_eq!((header.api_key, header.version, header.client_id, header.body), (18, 9, "c", 12));
    let frame = [3, 0xe7, 0, 9, 0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff];
    let header = RequestHeader::read(&frame).unwrap();
    assert_eq!((header.api_key, header.correlation_id, header.client_id, header.body), (999, 1, "", 10));
}

#[test]
fn a_header_does_not_believe_its_lengths() {
    let header = |rest: &[u8]| [&[0, 18, 0, 3, 0, 0, 0, 1][..], rest].concat();
    for rest in [
        &[0x7f, 0xff, b'c', 0][..],
        &[0xff, 0xfe, 0],
        &[0, 1, 0xff, 0],
        &[0, 1, b'c', 0xff, 0xff, 0xff, 0xff, 0x0f],
        &[0, 1, b'c', 1, 0, 0xff, 0xff, 0xff, 0xff, 0x0f],
    ] {
        assert!(RequestHeader::read(&header(rest)).is_err(), "{rest:?}");
    }
    // 1,000 tagged fields: nobody sends them.
    let many = [&[0, 1, b'c', 0xe8, 0x07][..], &[0; 2_000]].concat();
    let error = RequestHeader::read(&header(&many)).unwrap_err();
    assert_eq!(error.what, "more elements than a message may have");
}

/// Decodes what passes after damage; the number of bodies that did.
fn decode_after_damage(rounds: usize) -> usize {
    let mut random = Random::new(0x1a_0075);
    let samples = samples();
    let mut passed = 0;
    for _ in 0..rounds {
        let sample = &samples[random.below(samples.len())];
        let damaged = random.damage(&sample.body);
        if let Ok(version) = sample.check(&damaged) {
            passed += 1;
            let walked = sample.walked(&damaged, version);
            // It may still refuse a text that is not UTF-8 or a null where none may be.
            let left = (sample.decode)(&mut Bytes::from(damaged.clone()), version);
            let read = left.map(|left| damaged.len() - left);
            assert!(
                read.is_none_or(|read| read == walked),
                "{read:?} bytes of {}, not {walked}",
                sample.name()
            );
        }
    }
    passed
}

#[test]
fn what_passes_after_damage_is_decoded_without_panic() {
    let passed = decode_after_damage(400_000);
    assert!(passed > 20_000, "{passed} of the damaged messages reached the decoder");
}

/// Run by the test below, in a process that cannot have much memory.
#[test]
#[ignore = "only under a limit"]
fn decode_under_a_limit() {
    assert!(decode_after_damage(100_000) > 5_000);
}

/// A count that is allocated for unseen ends the process; here already one beyond the limit does.
#[cfg(target_os = "linux")]
#[test]
fn what_passes_after_damage_is_decoded_in_little_memory() {
    let test = concat!(module_path!(), "::decode_under_a_limit");
    let (_, test) = test.split_once("::").unwrap();
    let script = format!(
        "ulimit -v {} && exec \"$0\" --exact {test} --ignored --test-threads=1",
        RESPONSE_BUDGET * 4 / 1024
    );
    let test_program = std::env::current_exe().unwrap();
    let run = std::process::Command::new("sh").arg("-c").arg(script).arg(test_program).output().unwrap();
    let printed = String::from_utf8_lossy(&run.stdout);
    assert!(run.status.success() && printed.contains("1 passed"), "{run:?}");
}
