//! The requests, a file for each: API key, versions, and the handler from a typed request to a typed
//! response.

pub mod api_versions;
pub mod call;
pub mod create_topics;
pub mod delete_groups;
pub mod delete_topics;
pub mod describe_cluster;
pub mod describe_configs;
pub mod describe_groups;
pub mod fetch;
pub mod find_coordinator;
pub mod heartbeat;
pub mod init_producer_id;
pub mod join_group;
pub mod leave_group;
pub mod list_groups;
pub mod list_offsets;
pub mod metadata;
pub mod offset_commit;
pub mod offset_delete;
pub mod offset_fetch;
pub mod produce;
pub mod sync_group;

use std::collections::HashSet;
use std::hash::Hash;

use kafka_protocol::messages::ApiKey;
use kafka_protocol::protocol::StrBytes;

use self::call::Api;
use super::node::LEADER_EPOCH;
use protocol::error_code::ErrorCode;

/// Every request that is served, in the order of the API keys.
pub static APIS: [Api; 21] = [
    produce::API,
    fetch::API,
    list_offsets::API,
    metadata::API,
    offset_commit::API,
    offset_fetch::API,
    find_coordinator::API,
    join_group::API,
    heartbeat::API,
    leave_group::API,
    sync_group::API,
    describe_groups::API,
    list_groups::API,
    api_versions::API,
    create_topics::API,
    delete_topics::API,
    init_producer_id::API,
    describe_configs::API,
    delete_groups::API,
    offset_delete::API,
    describe_cluster::API,
];

/// The authorized operations of a response to a request that does not ask for them.
const NO_OPERATIONS: i32 = i32::MIN;

/// The longest error message to a client, and the longest text of a client in a log line, in characters.
const BRIEF: usize = 500;

/// The registration of a request; `None` if it is not served.
pub fn api(key: ApiKey) -> Option<&'static Api> {
    APIS.iter().find(|api| api.key == key)
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

/// Checks the leader epoch that a client knows; -1 is none (KIP-320).
fn check_leader_epoch(epoch: i32) -> Result<(), ErrorCode> {
    if epoch > LEADER_EPOCH { Err(ErrorCode::UNKNOWN_LEADER_EPOCH) } else { Ok(()) }
}
