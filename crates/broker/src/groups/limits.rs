//! Limits of one group and of all groups together.

use std::time::Duration;

use protocol::error_code::ErrorCode;

/// All groups: members that would create one more are refused with POLICY_VIOLATION.
pub const MAX_GROUPS: usize = 10_000;
/// Members of a group, and as many pending member ids: GROUP_MAX_SIZE_REACHED.
pub const MAX_MEMBERS: usize = 1_000;
/// Bytes of one member's metadata, or of its assignment: MESSAGE_TOO_LARGE.
pub const MAX_MEMBER_BYTES: usize = 1024 * 1024;
/// Bytes of metadata and assignments of all members: GROUP_MAX_SIZE_REACHED.
pub const MAX_TOTAL_BYTES: usize = 64 * 1024 * 1024;
/// Bytes of a group id, an instance id, a protocol's name: INVALID_GROUP_ID, INVALID_REQUEST.
pub const MAX_NAME_BYTES: usize = 1_024;
/// Characters of a client id that are kept.
pub const MAX_CLIENT_ID: usize = 255;
/// Bytes of the metadata of a committed offset (`offset.metadata.max.bytes`): OFFSET_METADATA_TOO_LARGE.
pub const MAX_OFFSET_METADATA: usize = 4_096;

/// The session timeouts that are accepted; others are refused with INVALID_SESSION_TIMEOUT.
pub const SESSION_TIMEOUTS: std::ops::RangeInclusive<Duration> =
    Duration::from_millis(100)..=Duration::from_secs(30 * 60);
/// How long a dynamic member stays in its group after its connection is lost.
pub const DISCONNECT_GRACE: Duration = Duration::from_millis(500);
/// How often a delayed operation checks whether its client is still connected.
pub const CONNECTION_CHECK_INTERVAL: Duration = Duration::from_millis(100);
/// How long an empty group without committed offsets is kept.
pub const EMPTY_GROUP_RETENTION: Duration = Duration::from_secs(10 * 60);

/// Checks the group id of a request by a member.
///
/// # Errors
/// INVALID_GROUP_ID for an empty or too long one.
pub fn check_group_id(group: &str) -> Result<(), ErrorCode> {
    let fits = !group.is_empty() && group.len() <= MAX_NAME_BYTES;
    if fits { Ok(()) } else { Err(ErrorCode::INVALID_GROUP_ID) }
}
