//! The requests, a file for each: the handler from a typed request to a typed response. `table` has the
//! versions of all.

pub mod alter_configs;
pub mod alter_partition_reassignments;
pub mod alter_user_scram_credentials;
pub mod api_versions;
pub mod call;
mod config_changes;
pub mod create_acls;
pub mod create_partitions;
pub mod create_topics;
pub mod delete_acls;
pub mod delete_groups;
pub mod delete_records;
pub mod delete_topics;
pub mod describe_acls;
pub mod describe_client_quotas;
pub mod describe_cluster;
pub mod describe_configs;
pub mod describe_groups;
pub mod describe_log_dirs;
pub mod describe_producers;
pub mod describe_quorum;
pub mod describe_topic_partitions;
pub mod describe_transactions;
pub mod describe_user_scram_credentials;
pub mod elect_leaders;
pub mod fetch;
pub mod find_coordinator;
pub mod heartbeat;
pub mod incremental_alter_configs;
pub mod init_producer_id;
pub mod join_group;
pub mod leave_group;
pub mod list_groups;
pub mod list_offsets;
pub mod list_partition_reassignments;
pub mod list_transactions;
pub mod metadata;
pub mod offset_commit;
pub mod offset_delete;
pub mod offset_fetch;
pub mod offset_for_leader_epoch;
pub mod produce;
mod produce_batch;
pub mod sync_group;
pub mod table;

use std::collections::HashSet;
use std::hash::Hash;

use kafka_protocol::protocol::StrBytes;

use super::node::{LEADER_EPOCH, Node};
use super::storage::MAX_PARTITIONS;
use protocol::error_code::ErrorCode;
use protocol::topic_name;

/// The authorized operations of a response to a request that does not ask for them.
const NO_OPERATIONS: i32 = i32::MIN;

/// Why the requests about ACLs are refused.
const NO_AUTHORIZER: &str = "No Authorizer is configured";

/// The longest error message to a client, and the longest text of a client in a log line, in characters.
const BRIEF: usize = 500;

/// Why a part of a request is refused.
type Refusal = (ErrorCode, String);

/// The resource types of configurations that are served.
const TOPIC: i8 = 2;
const BROKER: i8 = 4;

/// Refuses the names of Kafka's own topics. Whoever writes to one means state that is not kept there.
fn check_not_internal(name: &str) -> Result<(), Refusal> {
    if !topic_name::is_internal(name) {
        return Ok(());
    }
    let why = format!(
        "{name} is a topic of Kafka itself: the embedded broker keeps such state elsewhere, and lets nobody \
         create it or write to it"
    );
    Err((ErrorCode::INVALID_TOPIC_EXCEPTION, why))
}

/// Refuses names that no new topic may have beside those that are there, as Kafka does.
fn check_new_name(node: &Node, name: &str) -> Result<(), Refusal> {
    check_not_internal(name)?;
    let Some(known) = node.store.colliding(name) else { return Ok(()) };
    let why = format!("{name} collides with topic {known}: in Kafka's metrics '.' and '_' are the same");
    Err((ErrorCode::INVALID_TOPIC_EXCEPTION, why))
}

/// The store's refusal to create or alter a topic.
fn refused_by_store(name: &str, code: ErrorCode) -> Refusal {
    let why = match code {
        ErrorCode::TOPIC_ALREADY_EXISTS => format!("topic {name} exists already"),
        ErrorCode::UNKNOWN_TOPIC_OR_PARTITION => format!("there is no topic {name}"),
        ErrorCode::POLICY_VIOLATION => {
            format!("the embedded broker has {MAX_PARTITIONS} partitions at most, all topics together")
        }
        ErrorCode::KAFKA_STORAGE_ERROR => "the embedded broker cannot store anything; see its log".to_owned(),
        other => other.to_string(),
    };
    (code, why)
}

/// Removes duplicates from a request, so that the size of a response is bounded by what exists.
fn once<T, K: Eq + Hash>(asked: Vec<T>, key: impl Fn(&T) -> K) -> Vec<T> {
    let mut seen = HashSet::new();
    asked.into_iter().filter(|one| seen.insert(key(one))).collect()
}

/// An error message to a client; it may contain names of any length that the client gave.
fn message(why: &str) -> StrBytes {
    text(brief(why))
}

/// The beginning of a long text.
fn brief(text: &str) -> &str {
    text.char_indices().nth(BRIEF).and_then(|(end, _)| text.get(..end)).unwrap_or(text)
}

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

/// A topic's id as `kafka-protocol` has it.
fn topic_id<I: TryFrom<Vec<u8>> + Default>(id: u128) -> I {
    id.to_be_bytes().to_vec().try_into().unwrap_or_default()
}

/// Checks the leader epoch that a client knows; -1 is none (KIP-320).
fn check_leader_epoch(epoch: i32) -> Result<(), ErrorCode> {
    if epoch > LEADER_EPOCH { Err(ErrorCode::UNKNOWN_LEADER_EPOCH) } else { Ok(()) }
}
