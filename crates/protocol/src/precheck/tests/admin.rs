//! The requests of admin clients, as `requests` has the others.

use super::requests::{filled_and_default, only_if, tags, twice};
use super::*;

pub(super) fn offset_for_leader_epoch(version: i16) -> Vec<Sample> {
    use offset_for_leader_epoch_request::{OffsetForLeaderPartition, OffsetForLeaderTopic};
    let flexible = version >= 4;
    let partition = OffsetForLeaderPartition::default()
        .with_current_leader_epoch(5)
        .with_leader_epoch(4)
        .with_unknown_tagged_fields(tags(flexible));
    let topic = OffsetForLeaderTopic::default()
        .with_topic(topic_name())
        .with_partitions(twice(partition))
        .with_unknown_tagged_fields(tags(flexible));
    let request = OffsetForLeaderEpochRequest::default()
        .with_topics(twice(topic))
        .with_unknown_tagged_fields(tags(flexible));
    filled_and_default!(23, version, OffsetForLeaderEpochRequest, request)
}

pub(super) fn describe_acls(version: i16) -> Vec<Sample> {
    let request = DescribeAclsRequest::default()
        .with_resource_name_filter(Some(text("pedidos")))
        .with_principal_filter(Some(text("User:ana")))
        .with_host_filter(Some(text("*")))
        .with_unknown_tagged_fields(tags(version >= 2));
    filled_and_default!(29, version, DescribeAclsRequest, request)
}

pub(super) fn create_acls(version: i16) -> Vec<Sample> {
    let creation = create_acls_request::AclCreation::default()
        .with_resource_name(text("pedidos"))
        .with_principal(text("User:ana"))
        .with_host(text("*"))
        .with_unknown_tagged_fields(tags(version >= 2));
    let request = CreateAclsRequest::default()
        .with_creations(twice(creation))
        .with_unknown_tagged_fields(tags(version >= 2));
    filled_and_default!(30, version, CreateAclsRequest, request)
}

pub(super) fn delete_acls(version: i16) -> Vec<Sample> {
    let filter = delete_acls_request::DeleteAclsFilter::default()
        .with_resource_name_filter(Some(text("pedidos")))
        .with_principal_filter(None)
        .with_host_filter(Some(text("*")))
        .with_unknown_tagged_fields(tags(version >= 2));
    let request = DeleteAclsRequest::default()
        .with_filters(twice(filter))
        .with_unknown_tagged_fields(tags(version >= 2));
    filled_and_default!(31, version, DeleteAclsRequest, request)
}

pub(super) fn elect_leaders(version: i16) -> Vec<Sample> {
    let topic = elect_leaders_request::TopicPartitions::default()
        .with_topic(topic_name())
        .with_partitions(vec![0, 1, 2])
        .with_unknown_tagged_fields(tags(version >= 2));
    let request = ElectLeadersRequest::default()
        .with_election_type(only_if(version >= 1, 1))
        .with_topic_partitions(Some(twice(topic)))
        .with_unknown_tagged_fields(tags(version >= 2));
    let all = ElectLeadersRequest::default().with_topic_partitions(None);
    let mut samples = filled_and_default!(43, version, ElectLeadersRequest, request);
    samples.push(sample!(Request, 43, version, ElectLeadersRequest, all));
    samples
}

pub(super) fn alter_partition_reassignments(version: i16) -> Vec<Sample> {
    use alter_partition_reassignments_request::{ReassignablePartition, ReassignableTopic};
    let partition = ReassignablePartition::default()
        .with_replicas(Some(vec![BrokerId(1), BrokerId(2)]))
        .with_unknown_tagged_fields(unknown());
    let cancelled = partition.clone().with_replicas(None);
    let topic = ReassignableTopic::default()
        .with_name(topic_name())
        .with_partitions(vec![cancelled, partition])
        .with_unknown_tagged_fields(unknown());
    let request = AlterPartitionReassignmentsRequest::default()
        .with_allow_replication_factor_change(version < 1)
        .with_topics(twice(topic))
        .with_unknown_tagged_fields(unknown());
    filled_and_default!(45, version, AlterPartitionReassignmentsRequest, request)
}

pub(super) fn list_partition_reassignments(version: i16) -> Vec<Sample> {
    let topic = list_partition_reassignments_request::ListPartitionReassignmentsTopics::default()
        .with_name(topic_name())
        .with_partition_indexes(vec![0, 1, 2])
        .with_unknown_tagged_fields(unknown());
    let request = ListPartitionReassignmentsRequest::default()
        .with_topics(Some(twice(topic)))
        .with_unknown_tagged_fields(unknown());
    filled_and_default!(46, version, ListPartitionReassignmentsRequest, request)
}

pub(super) fn describe_client_quotas(version: i16) -> Vec<Sample> {
    let component = describe_client_quotas_request::ComponentData::default()
        .with_entity_type(text("user"))
        .with_match(Some(text("ana")))
        .with_unknown_tagged_fields(tags(version >= 1));
    let request = DescribeClientQuotasRequest::default()
        .with_components(twice(component))
        .with_strict(true)
        .with_unknown_tagged_fields(tags(version >= 1));
    filled_and_default!(48, version, DescribeClientQuotasRequest, request)
}

pub(super) fn describe_user_scram_credentials(version: i16) -> Vec<Sample> {
    let user = describe_user_scram_credentials_request::UserName::default()
        .with_name(text("ana"))
        .with_unknown_tagged_fields(unknown());
    let request = DescribeUserScramCredentialsRequest::default()
        .with_users(Some(twice(user)))
        .with_unknown_tagged_fields(unknown());
    filled_and_default!(50, version, DescribeUserScramCredentialsRequest, request)
}

pub(super) fn alter_user_scram_credentials(version: i16) -> Vec<Sample> {
    use alter_user_scram_credentials_request::{ScramCredentialDeletion, ScramCredentialUpsertion};
    let deletion = ScramCredentialDeletion::default()
        .with_name(text("ana"))
        .with_mechanism(1)
        .with_unknown_tagged_fields(unknown());
    let upsertion = ScramCredentialUpsertion::default()
        .with_name(text("ana"))
        .with_iterations(4096)
        .with_salt(Bytes::from_static(b"salt"))
        .with_salted_password(Bytes::from_static(b"salted password"))
        .with_unknown_tagged_fields(unknown());
    let request = AlterUserScramCredentialsRequest::default()
        .with_deletions(twice(deletion))
        .with_upsertions(twice(upsertion))
        .with_unknown_tagged_fields(unknown());
    filled_and_default!(51, version, AlterUserScramCredentialsRequest, request)
}

pub(super) fn describe_quorum(version: i16) -> Vec<Sample> {
    let partition = describe_quorum_request::PartitionData::default().with_unknown_tagged_fields(unknown());
    let topic = describe_quorum_request::TopicData::default()
        .with_topic_name(topic_name())
        .with_partitions(twice(partition))
        .with_unknown_tagged_fields(unknown());
    let request =
        DescribeQuorumRequest::default().with_topics(twice(topic)).with_unknown_tagged_fields(unknown());
    filled_and_default!(55, version, DescribeQuorumRequest, request)
}

pub(super) fn describe_transactions(version: i16) -> Vec<Sample> {
    let request = DescribeTransactionsRequest::default()
        .with_transactional_ids(twice(TransactionalId(text("transaction"))))
        .with_unknown_tagged_fields(unknown());
    filled_and_default!(65, version, DescribeTransactionsRequest, request)
}

pub(super) fn list_transactions(version: i16) -> Vec<Sample> {
    let request = ListTransactionsRequest::default()
        .with_state_filters(twice(text("Ongoing")))
        .with_producer_id_filters(twice(ProducerId(4)))
        .with_duration_filter(if version >= 1 { 1000 } else { -1 })
        .with_transactional_id_pattern((version >= 2).then(|| text("a.*")))
        .with_unknown_tagged_fields(unknown());
    filled_and_default!(66, version, ListTransactionsRequest, request)
}

pub(super) fn describe_topic_partitions(version: i16) -> Vec<Sample> {
    use describe_topic_partitions_request::{Cursor, TopicRequest};
    let topic = TopicRequest::default().with_name(topic_name()).with_unknown_tagged_fields(unknown());
    let cursor = Cursor::default().with_topic_name(topic_name()).with_unknown_tagged_fields(unknown());
    let request = DescribeTopicPartitionsRequest::default()
        .with_topics(twice(topic))
        .with_cursor(Some(cursor))
        .with_unknown_tagged_fields(unknown());
    filled_and_default!(75, version, DescribeTopicPartitionsRequest, request)
}
