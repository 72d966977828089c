//! A filled-in response of each kind, as `kafka-protocol` encodes it.

use super::*;

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
    [
        sample!(Response, 18, 3, ApiVersionsResponse, modern),
        sample!(Response, 18, 0, ApiVersionsResponse, refused),
    ]
}

fn produce() -> Sample {
    use produce_response::{PartitionProduceResponse, TopicProduceResponse};
    let partition = PartitionProduceResponse::default().with_index(3).with_base_offset(7);
    let topic = TopicProduceResponse::default()
        .with_name(topic_name())
        .with_partition_responses(vec![partition, PartitionProduceResponse::default()]);
    sample!(Response, 0, 7, ProduceResponse, ProduceResponse::default().with_responses(vec![topic]))
}

fn fetch() -> [Sample; 3] {
    use fetch_response::*;
    let aborted = AbortedTransaction::default().with_first_offset(6);
    let partition = PartitionData::default()
        .with_partition_index(1)
        .with_aborted_transactions(Some(vec![aborted.clone(), aborted]))
        .with_preferred_read_replica(BrokerId(5))
        .with_records(Some(Bytes::from_static(b"not looked into")));
    let empty = PartitionData::default().with_aborted_transactions(None).with_records(None);
    let topics = |topic: FetchableTopicResponse, partition| {
        let partitions = vec![partition, empty.clone()];
        FetchResponse::default().with_responses(vec![topic.with_partitions(partitions)])
    };
    let named = || FetchableTopicResponse::default().with_topic(topic_name());
    let id = vec![7_u8; 16].try_into().unwrap_or_default();
    let by_id = FetchableTopicResponse::default().with_topic_id(id);
    let moved = partition
        .clone()
        .with_diverging_epoch(EpochEndOffset::default().with_end_offset(3))
        .with_current_leader(LeaderIdAndEpoch::default().with_leader_id(BrokerId(2)))
        .with_snapshot_id(SnapshotId::default().with_end_offset(4))
        .with_unknown_tagged_fields(unknown());
    [
        sample!(Response, 1, 11, FetchResponse, topics(named(), partition.clone())),
        sample!(Response, 1, 12, FetchResponse, topics(named(), partition)),
        sample!(Response, 1, 13, FetchResponse, topics(by_id, moved)),
    ]
}

fn list_offsets() -> Sample {
    use list_offsets_response::{ListOffsetsPartitionResponse, ListOffsetsTopicResponse};
    let partition = ListOffsetsPartitionResponse::default().with_offset(9);
    let topic = ListOffsetsTopicResponse::default()
        .with_name(topic_name())
        .with_partitions(vec![partition.clone(), partition]);
    sample!(Response, 2, 4, ListOffsetsResponse, ListOffsetsResponse::default().with_topics(vec![topic]))
}

fn metadata() -> [Sample; 4] {
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
        .with_topics(vec![topic]);
    let id = vec![7_u8; 16].try_into().unwrap_or_default();
    let topics = message.topics.iter().cloned().map(|topic| topic.with_topic_id(id)).collect();
    let with_ids = message.clone().with_topics(topics);
    [
        sample!(Response, 3, 7, MetadataResponse, message.clone()),
        sample!(Response, 3, 8, MetadataResponse, message.clone()),
        sample!(Response, 3, 9, MetadataResponse, message),
        sample!(Response, 3, 10, MetadataResponse, with_ids),
    ]
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
    [
        sample!(Response, 9, 7, OffsetFetchResponse, fetch),
        sample!(Response, 8, 7, OffsetCommitResponse, commit),
    ]
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
        .with_protocol_name(Some(text("range")))
        .with_leader(text("leader"))
        .with_member_id(text("member"))
        .with_members(vec![member, JoinGroupResponseMember::default()]);
    let sync = SyncGroupResponse::default().with_assignment(Bytes::from_static(b"assignment"));
    let left = MemberResponse::default().with_member_id(text("member"));
    let leave = LeaveGroupResponse::default().with_members(vec![left]);
    let heartbeat = HeartbeatResponse::default().with_unknown_tagged_fields(unknown());
    [
        sample!(Response, 10, 3, FindCoordinatorResponse, find),
        sample!(Response, 11, 5, JoinGroupResponse, join),
        sample!(Response, 12, 4, HeartbeatResponse, heartbeat),
        sample!(Response, 13, 4, LeaveGroupResponse, leave),
        sample!(Response, 14, 3, SyncGroupResponse, sync),
    ]
}

fn descriptions() -> [Sample; 2] {
    use describe_groups_response::{DescribedGroup, DescribedGroupMember};
    use list_groups_response::ListedGroup;
    let group_id = || GroupId(text("group"));
    let member = DescribedGroupMember::default()
        .with_member_id(text("member"))
        .with_group_instance_id(Some(text("instance")))
        .with_client_id(text("client"))
        .with_client_host(text("/127.0.0.1"))
        .with_member_metadata(Bytes::from_static(b"subscription"))
        .with_member_assignment(Bytes::from_static(b"assignment"))
        .with_unknown_tagged_fields(unknown());
    let group = DescribedGroup::default()
        .with_group_id(group_id())
        .with_group_state(text("Stable"))
        .with_protocol_type(text("consumer"))
        .with_protocol_data(text("range"))
        .with_members(vec![member, DescribedGroupMember::default()]);
    let described = DescribeGroupsResponse::default().with_groups(vec![group, DescribedGroup::default()]);
    let group = ListedGroup::default()
        .with_group_id(group_id())
        .with_protocol_type(text("consumer"))
        .with_group_state(text("Empty"));
    let listed = ListGroupsResponse::default().with_groups(vec![group, ListedGroup::default()]);
    [
        sample!(Response, 15, 5, DescribeGroupsResponse, described),
        sample!(Response, 16, 4, ListGroupsResponse, listed),
    ]
}

fn others() -> [Sample; 3] {
    use create_topics_response::{CreatableTopicConfigs, CreatableTopicResult};
    use describe_configs_response::{
        DescribeConfigsResourceResult, DescribeConfigsResult, DescribeConfigsSynonym,
    };
    let config = CreatableTopicConfigs::default().with_name(text("retention.ms")).with_value(Some(text("1")));
    let topic = CreatableTopicResult::default()
        .with_name(topic_name())
        .with_error_message(Some(text("exists")))
        .with_configs(Some(vec![config.clone(), config]))
        .with_topic_config_error_code(29);
    let create = CreateTopicsResponse::default().with_topics(vec![topic, CreatableTopicResult::default()]);
    let init = InitProducerIdResponse::default().with_producer_epoch(3);
    let synonym = DescribeConfigsSynonym::default().with_name(text("a")).with_value(Some(text("1")));
    let config = DescribeConfigsResourceResult::default()
        .with_name(text("retention.ms"))
        .with_value(Some(text("1")))
        .with_synonyms(vec![synonym, DescribeConfigsSynonym::default()])
        .with_documentation(Some(text("how long")));
    let result = DescribeConfigsResult::default()
        .with_error_message(Some(text("none")))
        .with_resource_name(text("t"))
        .with_configs(vec![config, DescribeConfigsResourceResult::default()]);
    let configs =
        DescribeConfigsResponse::default().with_results(vec![result, DescribeConfigsResult::default()]);
    [
        sample!(Response, 19, 6, CreateTopicsResponse, create),
        sample!(Response, 22, 4, InitProducerIdResponse, init),
        sample!(Response, 32, 4, DescribeConfigsResponse, configs),
    ]
}

fn changes() -> [Sample; 3] {
    use create_partitions_response::CreatePartitionsTopicResult;
    use delete_topics_response::DeletableTopicResult;
    use incremental_alter_configs_response::AlterConfigsResourceResponse;
    let deleted = DeletableTopicResult::default().with_name(Some(topic_name())).with_error_code(3);
    let deleted = DeleteTopicsResponse::default().with_responses(vec![deleted.clone(), deleted]);
    let grown = CreatePartitionsTopicResult::default()
        .with_name(topic_name())
        .with_error_code(37)
        .with_error_message(Some(text("fewer")));
    let grown = CreatePartitionsResponse::default()
        .with_results(vec![grown, CreatePartitionsTopicResult::default().with_error_message(None)]);
    let altered = AlterConfigsResourceResponse::default()
        .with_error_message(Some(text("none")))
        .with_resource_name(text("t"));
    let altered = IncrementalAlterConfigsResponse::default()
        .with_responses(vec![altered, AlterConfigsResourceResponse::default()]);
    [
        sample!(Response, 20, 3, DeleteTopicsResponse, deleted),
        sample!(Response, 37, 0, CreatePartitionsResponse, grown),
        sample!(Response, 44, 0, IncrementalAlterConfigsResponse, altered),
    ]
}

fn sasl() -> [Sample; 2] {
    let handshake = SaslHandshakeResponse::default()
        .with_error_code(33)
        .with_mechanisms(vec![text("PLAIN"), text("SCRAM-SHA-256")]);
    let authenticate = SaslAuthenticateResponse::default()
        .with_error_message(Some(text("no such user")))
        .with_auth_bytes(Bytes::from_static(b"v=proof"))
        .with_session_lifetime_ms(5000)
        .with_unknown_tagged_fields(unknown());
    [
        sample!(Response, 17, 1, SaslHandshakeResponse, handshake),
        sample!(Response, 36, 2, SaslAuthenticateResponse, authenticate),
    ]
}

pub(super) fn samples() -> Vec<Sample> {
    let mut samples = vec![produce(), list_offsets()];
    samples.extend(fetch());
    samples.extend(metadata());
    samples.extend(api_versions());
    samples.extend(offsets());
    samples.extend(groups());
    samples.extend(descriptions());
    samples.extend(others());
    samples.extend(changes());
    samples.extend(sasl());
    samples
}
