//! Requests of each kind as `kafka-protocol` encodes them: in every version one in which all is filled in
//! that the version has, and one in which nothing is.

use super::admin;
use super::*;

/// A filled-in request and a default one.
macro_rules! samples {
    ($key:expr, $version:expr, $type:ty, $filled:expr) => {
        vec![
            sample!(Request, $key, $version, $type, $filled),
            sample!(Request, $key, $version, $type, <$type>::default()),
        ]
    };
}

pub(super) use samples as filled_and_default;

/// `value` if `there`, else the default.
pub(super) fn only_if<T: Default>(there: bool, value: T) -> T {
    if there { value } else { T::default() }
}

/// Tags that no decoder knows, where there are tags at all.
pub(super) fn tags(flexible: bool) -> std::collections::BTreeMap<i32, Bytes> {
    only_if(flexible, unknown())
}

/// Two, so that the second is found only if the first was read to its end.
pub(super) fn twice<T: Clone>(value: T) -> Vec<T> {
    vec![value.clone(), value]
}

/// A topic's id in the versions since `first`.
fn topic_id<I: TryFrom<Vec<u8>> + Default>(version: i16, first: i16) -> I {
    only_if(version >= first, I::try_from((1..=16).collect()).unwrap_or_default())
}

fn group() -> GroupId {
    GroupId(text("grupo"))
}

fn produce(version: i16) -> Vec<Sample> {
    use produce_request::{PartitionProduceData, TopicProduceData};
    let flexible = version >= 9;
    let partition = PartitionProduceData::default()
        .with_index(3)
        .with_records(Some(Bytes::from_static(b"not looked into")))
        .with_unknown_tagged_fields(tags(flexible));
    let topic = TopicProduceData::default()
        .with_name(topic_name())
        .with_topic_id(topic_id(version, 13))
        .with_partition_data(vec![partition.clone(), PartitionProduceData::default(), partition])
        .with_unknown_tagged_fields(tags(flexible));
    let request = ProduceRequest::default()
        .with_transactional_id(Some(TransactionalId(text("transaction"))))
        .with_acks(-1)
        .with_topic_data(twice(topic))
        .with_unknown_tagged_fields(tags(flexible));
    samples!(0, version, ProduceRequest, request)
}

fn fetch(version: i16) -> Vec<Sample> {
    use fetch_request::{FetchPartition, FetchTopic, ForgottenTopic, ReplicaState};
    let flexible = version >= 12;
    let partition = FetchPartition::default()
        .with_current_leader_epoch(if version >= 9 { 5 } else { -1 })
        .with_fetch_offset(77)
        .with_last_fetched_epoch(if version >= 12 { 4 } else { -1 })
        .with_log_start_offset(if version >= 5 { 3 } else { -1 })
        .with_replica_directory_id(topic_id(version, 17))
        .with_high_watermark(if version >= 18 { 78 } else { i64::MAX })
        .with_unknown_tagged_fields(tags(flexible));
    let topic = FetchTopic::default()
        .with_topic(topic_name())
        .with_topic_id(topic_id(version, 13))
        .with_partitions(twice(partition))
        .with_unknown_tagged_fields(tags(flexible));
    let forgotten = ForgottenTopic::default()
        .with_topic(topic_name())
        .with_topic_id(topic_id(version, 13))
        .with_partitions(vec![1, 2, 3])
        .with_unknown_tagged_fields(tags(flexible));
    let replica = ReplicaState::default()
        .with_replica_id(BrokerId(2))
        .with_replica_epoch(3)
        .with_unknown_tagged_fields(tags(flexible));
    let request = FetchRequest::default()
        .with_cluster_id(flexible.then(|| text("cluster")))
        .with_replica_id(BrokerId(if version <= 14 { 2 } else { -1 }))
        .with_replica_state(only_if(version >= 15, replica))
        .with_session_id(only_if(version >= 7, 9))
        .with_session_epoch(if version >= 7 { 2 } else { -1 })
        .with_topics(twice(topic))
        .with_forgotten_topics_data(only_if(version >= 7, twice(forgotten)))
        .with_rack_id(only_if(version >= 11, text("rack")))
        .with_unknown_tagged_fields(tags(flexible));
    samples!(1, version, FetchRequest, request)
}

fn list_offsets(version: i16) -> Vec<Sample> {
    use list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
    let flexible = version >= 6;
    let partition = ListOffsetsPartition::default()
        .with_current_leader_epoch(if version >= 4 { 5 } else { -1 })
        .with_timestamp(-3)
        .with_unknown_tagged_fields(tags(flexible));
    let topic = ListOffsetsTopic::default()
        .with_name(topic_name())
        .with_partitions(twice(partition))
        .with_unknown_tagged_fields(tags(flexible));
    let request = ListOffsetsRequest::default()
        .with_isolation_level(only_if(version >= 2, 1))
        .with_topics(twice(topic))
        .with_timeout_ms(only_if(version >= 10, 1000))
        .with_unknown_tagged_fields(tags(flexible));
    samples!(2, version, ListOffsetsRequest, request)
}

fn metadata(version: i16) -> Vec<Sample> {
    use metadata_request::MetadataRequestTopic;
    let flexible = version >= 9;
    let topic = MetadataRequestTopic::default()
        .with_name(Some(topic_name()))
        .with_unknown_tagged_fields(tags(flexible));
    let by_id = MetadataRequestTopic::default().with_name(None).with_topic_id(topic_id(version, 10));
    let topics = if version >= 10 { vec![topic, by_id.clone(), by_id] } else { twice(topic) };
    let request = MetadataRequest::default()
        .with_topics(Some(topics))
        .with_include_cluster_authorized_operations((8..=10).contains(&version))
        .with_include_topic_authorized_operations(version >= 8)
        .with_unknown_tagged_fields(tags(flexible));
    let all = MetadataRequest::default().with_topics(None);
    let mut samples = samples!(3, version, MetadataRequest, request);
    samples.push(sample!(Request, 3, version, MetadataRequest, all));
    samples
}

fn offset_commit(version: i16) -> Vec<Sample> {
    use offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
    let flexible = version >= 8;
    let partition = OffsetCommitRequestPartition::default()
        .with_committed_offset(77)
        .with_committed_leader_epoch(if version >= 6 { 5 } else { -1 })
        .with_committed_metadata(Some(text("note")))
        .with_unknown_tagged_fields(tags(flexible));
    let without = partition.clone().with_committed_metadata(None);
    let topic = OffsetCommitRequestTopic::default()
        .with_name(topic_name())
        .with_partitions(vec![without, partition])
        .with_unknown_tagged_fields(tags(flexible));
    let request = OffsetCommitRequest::default()
        .with_group_id(group())
        .with_member_id(text("member"))
        .with_group_instance_id((version >= 7).then(|| text("instance")))
        .with_retention_time_ms(if version <= 4 { 60_000 } else { -1 })
        .with_topics(twice(topic))
        .with_unknown_tagged_fields(tags(flexible));
    samples!(8, version, OffsetCommitRequest, request)
}

fn offset_fetch(version: i16) -> Vec<Sample> {
    use offset_fetch_request::OffsetFetchRequestTopic;
    if version >= 8 {
        return offset_fetch_of_groups(version);
    }
    let flexible = version >= 6;
    let topic = OffsetFetchRequestTopic::default()
        .with_name(topic_name())
        .with_partition_indexes(vec![1, 2, 3])
        .with_unknown_tagged_fields(tags(flexible));
    let request = OffsetFetchRequest::default()
        .with_group_id(group())
        .with_topics(Some(twice(topic)))
        .with_require_stable(version >= 7)
        .with_unknown_tagged_fields(tags(flexible));
    let mut samples = samples!(9, version, OffsetFetchRequest, request);
    if version >= 2 {
        let all = OffsetFetchRequest::default().with_topics(None);
        samples.push(sample!(Request, 9, version, OffsetFetchRequest, all));
    }
    samples
}

fn offset_fetch_of_groups(version: i16) -> Vec<Sample> {
    use offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopics};
    let topic = OffsetFetchRequestTopics::default()
        .with_name(topic_name())
        .with_partition_indexes(vec![1, 2, 3])
        .with_unknown_tagged_fields(tags(true));
    let of_topics = OffsetFetchRequestGroup::default()
        .with_group_id(group())
        .with_member_id((version >= 9).then(|| text("member")))
        .with_member_epoch(if version >= 9 { 7 } else { -1 })
        .with_topics(Some(twice(topic)))
        .with_unknown_tagged_fields(tags(true));
    let all = OffsetFetchRequestGroup::default().with_group_id(group()).with_topics(None);
    let request = OffsetFetchRequest::default()
        .with_groups(vec![all, of_topics.clone(), of_topics])
        .with_require_stable(true)
        .with_unknown_tagged_fields(tags(true));
    samples!(9, version, OffsetFetchRequest, request)
}

fn find_coordinator(version: i16) -> Vec<Sample> {
    let request = FindCoordinatorRequest::default()
        .with_key(only_if(version <= 3, text("grupo")))
        .with_coordinator_keys(only_if(version >= 4, vec![text("grupo"), text("otro")]))
        .with_key_type(only_if(version >= 1, 1))
        .with_unknown_tagged_fields(tags(version >= 3));
    samples!(10, version, FindCoordinatorRequest, request)
}

fn join_group(version: i16) -> Vec<Sample> {
    use join_group_request::JoinGroupRequestProtocol;
    let flexible = version >= 6;
    let protocol = JoinGroupRequestProtocol::default()
        .with_name(text("range"))
        .with_metadata(Bytes::from_static(b"subscription"))
        .with_unknown_tagged_fields(tags(flexible));
    let request = JoinGroupRequest::default()
        .with_group_id(group())
        .with_rebalance_timeout_ms(if version >= 1 { 60_000 } else { -1 })
        .with_member_id(text("member"))
        .with_group_instance_id((version >= 5).then(|| text("instance")))
        .with_protocol_type(text("consumer"))
        .with_protocols(twice(protocol))
        .with_reason((version >= 8).then(|| text("reason")))
        .with_unknown_tagged_fields(tags(flexible));
    samples!(11, version, JoinGroupRequest, request)
}

fn heartbeat(version: i16) -> Vec<Sample> {
    let request = HeartbeatRequest::default()
        .with_group_id(group())
        .with_member_id(text("member"))
        .with_group_instance_id((version >= 3).then(|| text("instance")))
        .with_unknown_tagged_fields(tags(version >= 4));
    samples!(12, version, HeartbeatRequest, request)
}

fn leave_group(version: i16) -> Vec<Sample> {
    use leave_group_request::MemberIdentity;
    let member = MemberIdentity::default()
        .with_member_id(only_if(version >= 3, text("member")))
        .with_group_instance_id((version >= 3).then(|| text("instance")))
        .with_reason((version >= 5).then(|| text("reason")))
        .with_unknown_tagged_fields(tags(version >= 4));
    let request = LeaveGroupRequest::default()
        .with_group_id(group())
        .with_member_id(only_if(version <= 2, text("member")))
        .with_members(only_if(version >= 3, twice(member)))
        .with_unknown_tagged_fields(tags(version >= 4));
    samples!(13, version, LeaveGroupRequest, request)
}

fn sync_group(version: i16) -> Vec<Sample> {
    use sync_group_request::SyncGroupRequestAssignment;
    let flexible = version >= 4;
    let assignment = SyncGroupRequestAssignment::default()
        .with_member_id(text("member"))
        .with_assignment(Bytes::from_static(b"assignment"))
        .with_unknown_tagged_fields(tags(flexible));
    let request = SyncGroupRequest::default()
        .with_group_id(group())
        .with_member_id(text("member"))
        .with_group_instance_id((version >= 3).then(|| text("instance")))
        .with_protocol_type((version >= 5).then(|| text("consumer")))
        .with_protocol_name((version >= 5).then(|| text("range")))
        .with_assignments(twice(assignment))
        .with_unknown_tagged_fields(tags(flexible));
    samples!(14, version, SyncGroupRequest, request)
}

fn describe_groups(version: i16) -> Vec<Sample> {
    let request = DescribeGroupsRequest::default()
        .with_groups(twice(group()))
        .with_include_authorized_operations(version >= 3)
        .with_unknown_tagged_fields(tags(version >= 5));
    samples!(15, version, DescribeGroupsRequest, request)
}

fn list_groups(version: i16) -> Vec<Sample> {
    let request = ListGroupsRequest::default()
        .with_states_filter(only_if(version >= 4, twice(text("Stable"))))
        .with_types_filter(only_if(version >= 5, twice(text("classic"))))
        .with_unknown_tagged_fields(tags(version >= 3));
    samples!(16, version, ListGroupsRequest, request)
}

fn api_versions(version: i16) -> Vec<Sample> {
    let request = ApiVersionsRequest::default()
        .with_client_software_name(only_if(version >= 3, text("client")))
        .with_client_software_version(only_if(version >= 3, text("1.2.3")))
        .with_unknown_tagged_fields(tags(version >= 3));
    samples!(18, version, ApiVersionsRequest, request)
}

fn create_topics(version: i16) -> Vec<Sample> {
    use create_topics_request::{CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig};
    let flexible = version >= 5;
    let assignment = CreatableReplicaAssignment::default()
        .with_broker_ids(vec![BrokerId(1), BrokerId(2)])
        .with_unknown_tagged_fields(tags(flexible));
    let config = CreatableTopicConfig::default()
        .with_name(text("retention.ms"))
        .with_unknown_tagged_fields(tags(flexible));
    let other = config.clone().with_value(Some(text("1000")));
    let topic = CreatableTopic::default()
        .with_name(topic_name())
        .with_assignments(twice(assignment))
        .with_configs(vec![config, other])
        .with_unknown_tagged_fields(tags(flexible));
    let request = CreateTopicsRequest::default()
        .with_topics(twice(topic))
        .with_validate_only(true)
        .with_unknown_tagged_fields(tags(flexible));
    samples!(19, version, CreateTopicsRequest, request)
}

fn delete_topics(version: i16) -> Vec<Sample> {
    use delete_topics_request::DeleteTopicState;
    let named =
        DeleteTopicState::default().with_name(Some(topic_name())).with_unknown_tagged_fields(tags(true));
    let by_id = DeleteTopicState::default().with_name(None).with_topic_id(topic_id(version, 6));
    let request = DeleteTopicsRequest::default()
        .with_topics(only_if(version >= 6, vec![named, by_id.clone(), by_id]))
        .with_topic_names(only_if(version <= 5, twice(topic_name())))
        .with_unknown_tagged_fields(tags(version >= 4));
    samples!(20, version, DeleteTopicsRequest, request)
}

fn delete_records(version: i16) -> Vec<Sample> {
    use delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
    let flexible = version >= 2;
    let partition = DeleteRecordsPartition::default()
        .with_partition_index(1)
        .with_offset(-1)
        .with_unknown_tagged_fields(tags(flexible));
    let topic = DeleteRecordsTopic::default()
        .with_name(topic_name())
        .with_partitions(twice(partition))
        .with_unknown_tagged_fields(tags(flexible));
    let request =
        DeleteRecordsRequest::default().with_topics(twice(topic)).with_unknown_tagged_fields(tags(flexible));
    samples!(21, version, DeleteRecordsRequest, request)
}

fn init_producer_id(version: i16) -> Vec<Sample> {
    let request = InitProducerIdRequest::default()
        .with_transactional_id(Some(TransactionalId(text("transaction"))))
        .with_producer_id(ProducerId(if version >= 3 { 4 } else { -1 }))
        .with_producer_epoch(if version >= 3 { 1 } else { -1 })
        .with_unknown_tagged_fields(tags(version >= 2));
    samples!(22, version, InitProducerIdRequest, request)
}

fn describe_configs(version: i16) -> Vec<Sample> {
    use describe_configs_request::DescribeConfigsResource;
    let flexible = version >= 4;
    let resource = DescribeConfigsResource::default()
        .with_resource_type(2)
        .with_resource_name(text("pedidos"))
        .with_configuration_keys(Some(twice(text("retention.ms"))))
        .with_unknown_tagged_fields(tags(flexible));
    let all = resource.clone().with_configuration_keys(None);
    let request = DescribeConfigsRequest::default()
        .with_resources(vec![all, resource])
        .with_include_synonyms(true)
        .with_include_documentation(version >= 3)
        .with_unknown_tagged_fields(tags(flexible));
    samples!(32, version, DescribeConfigsRequest, request)
}

fn alter_configs(version: i16) -> Vec<Sample> {
    use alter_configs_request::{AlterConfigsResource, AlterableConfig};
    let flexible = version >= 2;
    let config = AlterableConfig::default()
        .with_name(text("retention.ms"))
        .with_value(Some(text("1000")))
        .with_unknown_tagged_fields(tags(flexible));
    let null = config.clone().with_value(None);
    let resource = AlterConfigsResource::default()
        .with_resource_type(2)
        .with_resource_name(text("pedidos"))
        .with_configs(vec![config, null])
        .with_unknown_tagged_fields(tags(flexible));
    let request = AlterConfigsRequest::default()
        .with_resources(twice(resource))
        .with_unknown_tagged_fields(tags(flexible));
    samples!(33, version, AlterConfigsRequest, request)
}

fn describe_log_dirs(version: i16) -> Vec<Sample> {
    use describe_log_dirs_request::DescribableLogDirTopic;
    let flexible = version >= 2;
    let topic = DescribableLogDirTopic::default()
        .with_topic(topic_name())
        .with_partitions(vec![0, 7])
        .with_unknown_tagged_fields(tags(flexible));
    let request = DescribeLogDirsRequest::default()
        .with_topics(Some(twice(topic)))
        .with_unknown_tagged_fields(tags(flexible));
    let all = request.clone().with_topics(None);
    let mut samples: Vec<Sample> = samples!(35, version, DescribeLogDirsRequest, request);
    samples.extend(samples!(35, version, DescribeLogDirsRequest, all));
    samples
}

fn create_partitions(version: i16) -> Vec<Sample> {
    use create_partitions_request::{CreatePartitionsAssignment, CreatePartitionsTopic};
    let flexible = version >= 2;
    let assignment = CreatePartitionsAssignment::default()
        .with_broker_ids(vec![BrokerId(1), BrokerId(2)])
        .with_unknown_tagged_fields(tags(flexible));
    let topic = CreatePartitionsTopic::default()
        .with_name(topic_name())
        .with_count(3)
        .with_assignments(Some(twice(assignment)))
        .with_unknown_tagged_fields(tags(flexible));
    let unassigned = topic.clone().with_assignments(None);
    let request = CreatePartitionsRequest::default()
        .with_topics(vec![topic, unassigned])
        .with_unknown_tagged_fields(tags(flexible));
    samples!(37, version, CreatePartitionsRequest, request)
}

fn delete_groups(version: i16) -> Vec<Sample> {
    let request = DeleteGroupsRequest::default()
        .with_groups_names(twice(group()))
        .with_unknown_tagged_fields(tags(version >= 2));
    samples!(42, version, DeleteGroupsRequest, request)
}

fn incremental_alter_configs(version: i16) -> Vec<Sample> {
    use incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
    let flexible = version >= 1;
    let config = AlterableConfig::default()
        .with_name(text("retention.ms"))
        .with_config_operation(2)
        .with_value(Some(text("1000")))
        .with_unknown_tagged_fields(tags(flexible));
    let null = config.clone().with_value(None);
    let resource = AlterConfigsResource::default()
        .with_resource_type(2)
        .with_resource_name(text("pedidos"))
        .with_configs(vec![config, null])
        .with_unknown_tagged_fields(tags(flexible));
    let request = IncrementalAlterConfigsRequest::default()
        .with_resources(twice(resource))
        .with_unknown_tagged_fields(tags(flexible));
    samples!(44, version, IncrementalAlterConfigsRequest, request)
}

fn offset_delete(version: i16) -> Vec<Sample> {
    use offset_delete_request::{OffsetDeleteRequestPartition, OffsetDeleteRequestTopic};
    let partition = OffsetDeleteRequestPartition::default().with_partition_index(3);
    let topic = OffsetDeleteRequestTopic::default().with_name(topic_name()).with_partitions(twice(partition));
    let request = OffsetDeleteRequest::default().with_group_id(group()).with_topics(twice(topic));
    samples!(47, version, OffsetDeleteRequest, request)
}

fn describe_cluster(version: i16) -> Vec<Sample> {
    let request = DescribeClusterRequest::default()
        .with_include_cluster_authorized_operations(true)
        .with_endpoint_type(if version >= 1 { 2 } else { 1 })
        .with_include_fenced_brokers(version >= 2)
        .with_unknown_tagged_fields(unknown());
    samples!(60, version, DescribeClusterRequest, request)
}

fn describe_producers(version: i16) -> Vec<Sample> {
    let topic = describe_producers_request::TopicRequest::default()
        .with_name(topic_name())
        .with_partition_indexes(vec![0, 7])
        .with_unknown_tagged_fields(unknown());
    let request =
        DescribeProducersRequest::default().with_topics(twice(topic)).with_unknown_tagged_fields(unknown());
    samples!(61, version, DescribeProducersRequest, request)
}

const KINDS: [fn(i16) -> Vec<Sample>; 41] = [
    produce,
    fetch,
    list_offsets,
    metadata,
    offset_commit,
    offset_fetch,
    find_coordinator,
    join_group,
    heartbeat,
    leave_group,
    sync_group,
    describe_groups,
    list_groups,
    api_versions,
    create_topics,
    delete_topics,
    delete_records,
    init_producer_id,
    admin::offset_for_leader_epoch,
    admin::describe_acls,
    admin::create_acls,
    admin::delete_acls,
    describe_configs,
    alter_configs,
    describe_log_dirs,
    create_partitions,
    delete_groups,
    admin::elect_leaders,
    incremental_alter_configs,
    admin::alter_partition_reassignments,
    admin::list_partition_reassignments,
    offset_delete,
    admin::describe_client_quotas,
    admin::describe_user_scram_credentials,
    admin::alter_user_scram_credentials,
    admin::describe_quorum,
    describe_cluster,
    describe_producers,
    admin::describe_transactions,
    admin::list_transactions,
    admin::describe_topic_partitions,
];

/// Samples of every request in every version that is served.
pub(super) fn samples() -> Vec<Sample> {
    assert_eq!(KINDS.len(), REQUESTS.len());
    let kinds = KINDS.into_iter().zip(served_requests());
    kinds.flat_map(|(kind, (_, versions))| versions.flat_map(kind)).collect()
}
