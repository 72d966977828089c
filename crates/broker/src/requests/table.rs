//! The table of the requests that are served: versions and handler of each, in the order of the API keys.
//!
//! The versions are those that Kafka 4.3.1 offers (`kafka-broker-api-versions.sh`); where it has later ones,
//! the comment says so.

use kafka_protocol::messages::ApiKey;

use super::call::Api;
use super::*;

/// Every request that is served.
pub static APIS: [Api; 41] = [
    // Versions 3–13. Record batches of format 2 came with v3 (KIP-98), zstd with v7 (KIP-110), error
    // messages with v8 (KIP-467), the flexible encoding with v9 (KIP-482), the new leader beside
    // NOT_LEADER_OR_FOLLOWER with v10 (KIP-951; one node never says that), TRANSACTION_ABORTABLE with v11 and
    // transactions without AddPartitionsToTxn with v12 (KIP-890), topic ids in place of names with v13
    // (KIP-516). ApiVersions advertises v0 and later, as librdkafka compresses only where it sees v0; Kafka 4
    // does the same (KIP-896).
    Api::new(ApiKey::Produce, 3..=13, produce::handle).advertised_from(0),
    // Versions 4–18. Record batches of format 2 came with v4 (KIP-98), the log start offset with v5
    // (KIP-107), fetch sessions with v7 (KIP-227; none is ever opened), leader epochs with v9 (KIP-320),
    // the flexible encoding with v12 (KIP-482), topic ids in place of names with v13 (KIP-516), the state of
    // a replica with v15 (KIP-903), the new leader beside NOT_LEADER_OR_FOLLOWER with v16 (KIP-951; one node
    // never says that), the folder of a replica with v17 (KIP-853), its high watermark with v18 (KIP-1166).
    Api::new(ApiKey::Fetch, 4..=18, fetch::handle),
    // Versions 1–10. Leader epochs came with v4 (KIP-320), the flexible encoding with v6 (KIP-482), the
    // offset of the largest timestamp with v7 (KIP-734), those of tiered storage with v8 and v9 (KIP-405,
    // KIP-1005), the timeout of the look-up in it with v10 (KIP-1075). v11 (KIP-1023) is not decoded.
    Api::new(ApiKey::ListOffsets, 1..=10, |call| call.with_node(list_offsets::handle)).note(
        "without tiered storage: its earliest local offset is the earliest, its latest tiered one is none",
    ),
    // Versions 0–13. The choice to create no topics came with v4, leader epochs with v7 (KIP-320),
    // authorized operations with v8 (KIP-430), the flexible encoding with v9 (KIP-482), topic ids in the
    // response with v10, and in the request with v12 (KIP-516), an error of the whole request with v13
    // (KIP-1102).
    Api::new(ApiKey::Metadata, 0..=13, |call| call.with_node(metadata::handle)),
    // Versions 2–9. The retention time went with v5 (KIP-211), leader epochs came with v6 (KIP-320),
    // static members with v7 (KIP-345), the flexible encoding with v8 (KIP-482), GROUP_ID_NOT_FOUND with v9
    // (KIP-848). Kafka 4.3.1 has v10, with topic ids, which `kafka-protocol` 0.18 does not decode.
    Api::new(ApiKey::OffsetCommit, 2..=9, |call| call.with_groups(offset_commit::handle)),
    // Versions 1–9. The null list for all topics and the error of the whole request came with v2 (KIP-88),
    // leader epochs with v5 (KIP-320), the flexible encoding with v6 (KIP-482), stable offsets with v7
    // (KIP-447), several groups with v8 (KIP-709), member and member epoch with v9 (KIP-848; without a
    // meaning for the groups that there are). Kafka 4.3.1 has v10, with topic ids, which `kafka-protocol`
    // 0.18 does not decode.
    Api::new(ApiKey::OffsetFetch, 1..=9, |call| call.with_groups(offset_fetch::handle)),
    // Versions 0–6. The key type came with v1 (KIP-98), the flexible encoding with v3 (KIP-482), several keys
    // with v4 (KIP-699), TRANSACTION_ABORTABLE with v5 (KIP-890), share groups with v6 (KIP-932; refused).
    Api::new(ApiKey::FindCoordinator, 0..=6, |call| call.with_groups(find_coordinator::handle)),
    // Versions 0–9. The rebalance timeout came with v1 (KIP-62), the member id before the first join with
    // v4 (KIP-394), static members with v5 (KIP-345), the flexible encoding with v6 (KIP-482), the
    // protocol type with v7 (KIP-559), the reason with v8 (KIP-800), a leader that computes no
    // assignment with v9 (KIP-814).
    Api::new(ApiKey::JoinGroup, 0..=9, |call| call.with_groups(join_group::handle)),
    // Versions 0–4. Static members came with v3 (KIP-345), the flexible encoding with v4 (KIP-482).
    Api::new(ApiKey::Heartbeat, 0..=4, |call| call.with_groups(heartbeat::handle)),
    // Versions 0–5. Several members in one request came with v3 (KIP-345), the flexible encoding with v4
    // (KIP-482), the reason with v5 (KIP-800).
    Api::new(ApiKey::LeaveGroup, 0..=5, |call| call.with_groups(leave_group::handle)),
    // Versions 0–5. Static members came with v3 (KIP-345), the flexible encoding with v4 (KIP-482),
    // protocol and protocol type with v5 (KIP-559).
    Api::new(ApiKey::SyncGroup, 0..=5, |call| call.with_groups(sync_group::handle)),
    // Versions 0–6. Authorized operations came with v3 (KIP-430), static members with v4 (KIP-345), the
    // flexible encoding with v5 (KIP-482), GROUP_ID_NOT_FOUND with v6 (KIP-1043).
    Api::new(ApiKey::DescribeGroups, 0..=6, |call| call.with_groups(describe_groups::handle)),
    // Versions 0–5. The flexible encoding came with v3 (KIP-482), the filter by states with v4 (KIP-518), the
    // one by types with v5 (KIP-848).
    Api::new(ApiKey::ListGroups, 0..=5, |call| call.with_groups(list_groups::handle))
        .note("every group is of the type `classic`"),
    // Versions 0–4. The name of the client's software came with v3 (KIP-511).
    Api::new(ApiKey::ApiVersions, 0..=4, |call| call.with_node(api_versions::handle)),
    // Versions 2–7. The broker's defaults (-1) came with v4 (KIP-464), configurations in the response and
    // the flexible encoding with v5 (KIP-525, KIP-482), topic ids in the response with v7 (KIP-516).
    Api::new(ApiKey::CreateTopics, 2..=7, |call| call.with_node(create_topics::handle)),
    // Versions 1–6. The flexible encoding came with v4 (KIP-482), error messages with v5 (KIP-599), topic ids
    // with v6 (KIP-516).
    Api::new(ApiKey::DeleteTopics, 1..=6, |call| call.with_node(delete_topics::handle)),
    // Versions 0–2 (KIP-107). The flexible encoding came with v2 (KIP-482).
    Api::new(ApiKey::DeleteRecords, 0..=2, |call| call.with_node(delete_records::handle)),
    // Versions 0–5. The flexible encoding came with v2 (KIP-482), the producer's last id and epoch with v3
    // (KIP-360), PRODUCER_FENCED with v4 (KIP-588), TRANSACTION_ABORTABLE with v5 (KIP-890). Kafka 4.3.1 has
    // v6 (KIP-939) where versions that are not released are switched on.
    Api::new(ApiKey::InitProducerId, 0..=5, |call| call.with_node(init_producer_id::handle)),
    // Versions 2–4. The epoch that the client knows came with v2 (KIP-320), the replica id with v3, the
    // flexible encoding with v4 (KIP-482).
    Api::new(ApiKey::OffsetForLeaderEpoch, 2..=4, |call| call.with_node(offset_for_leader_epoch::handle))
        .note("the leader epoch is always 0"),
    // Versions 1–3 of the three. Patterns came with v1 (KIP-290), the flexible encoding with v2 (KIP-482),
    // users as a type of resource with v3 (KIP-373).
    Api::new(ApiKey::DescribeAcls, 1..=3, |call| call.with_node(describe_acls::handle))
        .note("`SECURITY_DISABLED`, as without an authorizer"),
    Api::new(ApiKey::CreateAcls, 1..=3, |call| call.with_node(create_acls::handle))
        .note("`SECURITY_DISABLED`, as without an authorizer"),
    Api::new(ApiKey::DeleteAcls, 1..=3, |call| call.with_node(delete_acls::handle))
        .note("`SECURITY_DISABLED`, as without an authorizer"),
    // Versions 1–4. Sources and synonyms came with v1 (KIP-226), types and documentation with v3
    // (KIP-569), the flexible encoding with v4 (KIP-482).
    Api::new(ApiKey::DescribeConfigs, 1..=4, describe_configs::handle),
    // Versions 0–2 (KIP-133). The flexible encoding came with v2 (KIP-482).
    Api::new(ApiKey::AlterConfigs, 0..=2, |call| call.with_node(alter_configs::handle)),
    // Versions 1–4 (KIP-113). The flexible encoding came with v2 (KIP-482), the error of the whole request
    // with v3 (KIP-784), the bytes of the volume with v4 (KIP-827).
    Api::new(ApiKey::DescribeLogDirs, 1..=4, |call| call.with_node(describe_log_dirs::handle)),
    // Versions 0–3 (KIP-195). The flexible encoding came with v2 (KIP-482), THROTTLING_QUOTA_EXCEEDED with v3
    // (KIP-599).
    Api::new(ApiKey::CreatePartitions, 0..=3, |call| call.with_node(create_partitions::handle)),
    // Versions 0–2 (KIP-229). The flexible encoding came with v2 (KIP-482).
    Api::new(ApiKey::DeleteGroups, 0..=2, |call| call.with_groups(delete_groups::handle)),
    // Versions 0–2 (KIP-183). The election type came with v1 (KIP-460), the flexible encoding with v2
    // (KIP-482).
    Api::new(ApiKey::ElectLeaders, 0..=2, |call| call.with_node(elect_leaders::handle))
        .note("`ELECTION_NOT_NEEDED`: the one node leads every partition"),
    // Versions 0–1 (KIP-339). The flexible encoding came with v1 (KIP-482).
    Api::new(ApiKey::IncrementalAlterConfigs, 0..=1, |call| {
        call.with_node(incremental_alter_configs::handle)
    }),
    // Versions 0–1 (KIP-455). Whether the number of replicas may change came with v1 (KIP-860).
    Api::new(ApiKey::AlterPartitionReassignments, 0..=1, |call| {
        call.with_node(alter_partition_reassignments::handle)
    })
    .note("only to the one node"),
    // Version 0 (KIP-455).
    Api::new(ApiKey::ListPartitionReassignments, 0..=0, |call| {
        call.with_node(list_partition_reassignments::handle)
    })
    .note("none"),
    // Version 0 (KIP-496).
    Api::new(ApiKey::OffsetDelete, 0..=0, |call| call.with_groups(offset_delete::handle)),
    // Versions 0–1 (KIP-546). The flexible encoding came with v1 (KIP-482).
    Api::new(ApiKey::DescribeClientQuotas, 0..=1, |call| call.with_node(describe_client_quotas::handle))
        .note("none"),
    // Version 0 of both (KIP-554).
    Api::new(ApiKey::DescribeUserScramCredentials, 0..=0, |call| {
        call.with_node(describe_user_scram_credentials::handle)
    })
    .note("no user has any"),
    Api::new(ApiKey::AlterUserScramCredentials, 0..=0, |call| {
        call.with_node(alter_user_scram_credentials::handle)
    })
    .note("refused for each user: `UNSUPPORTED_SASL_MECHANISM`"),
    // Versions 0–2 (KIP-595). The times of replicas came with v1 (KIP-836), nodes and error messages with v2
    // (KIP-853).
    Api::new(ApiKey::DescribeQuorum, 0..=2, |call| call.with_node(describe_quorum::handle))
        .note("one voter; there is no log of metadata, so its offsets are 0"),
    // Versions 0–2 (KIP-700). The endpoint type came with v1 (KIP-919), fenced brokers with v2 (KIP-1073;
    // there are none).
    Api::new(ApiKey::DescribeCluster, 0..=2, |call| call.with_node(describe_cluster::handle)),
    // Version 0 (KIP-664).
    Api::new(ApiKey::DescribeProducers, 0..=0, |call| call.with_node(describe_producers::handle)),
    // Version 0 (KIP-664).
    Api::new(ApiKey::DescribeTransactions, 0..=0, |call| call.with_node(describe_transactions::handle))
        .note("`TRANSACTIONAL_ID_NOT_FOUND`"),
    // Versions 0–2 (KIP-664). The filter by duration came with v1 (KIP-994), the one by a pattern with v2
    // (KIP-1152).
    Api::new(ApiKey::ListTransactions, 0..=2, |call| call.with_node(list_transactions::handle)).note("none"),
    // Version 0 (KIP-966).
    Api::new(ApiKey::DescribeTopicPartitions, 0..=0, |call| {
        call.with_node(describe_topic_partitions::handle)
    })
    .note("at most 2000 partitions an answer"),
];

/// The registration of a request; `None` if it is not served.
pub fn api(key: ApiKey) -> Option<&'static Api> {
    APIS.iter().find(|api| api.key == key)
}
