//! What a group, and all groups together, may hold.

use std::time::Duration;

/// Groups in all: members that would make one more are refused with POLICY_VIOLATION.
pub const MAX_GROUPS: usize = 10_000;
/// Members of a group, and as many ids that were given and not yet joined with: GROUP_MAX_SIZE_REACHED.
pub const MAX_MEMBERS: usize = 1_000;
/// Bytes that one member joins with, or is assigned: MESSAGE_TOO_LARGE.
pub const MAX_MEMBER_BYTES: usize = 1024 * 1024;
/// Bytes that all members joined with and were assigned: GROUP_MAX_SIZE_REACHED.
pub const MAX_BYTES: usize = 64 * 1024 * 1024;
/// Bytes of a group id, an instance id, a protocol's name: INVALID_GROUP_ID, INVALID_REQUEST.
pub const MAX_TEXT: usize = 1_024;
/// Characters of a client id that are kept.
pub const MAX_CLIENT_ID: usize = 255;
/// Bytes of the note of a committed offset (Kafka's `offset.metadata.max.bytes`): OFFSET_METADATA_TOO_LARGE.
pub const MAX_OFFSET_METADATA: usize = 4_096;

/// The session timeouts that are accepted; others are refused with INVALID_SESSION_TIMEOUT.
pub const SESSION_TIMEOUTS: std::ops::RangeInclusive<Duration> =
    Duration::from_millis(100)..=Duration::from_secs(30 * 60);
/// How long a dynamic member stays whose connection is gone.
pub const GRACE: Duration = Duration::from_millis(500);
/// How long a waiting handler sleeps before it asks whether its caller is still there.
pub const SLICE: Duration = Duration::from_millis(100);
/// How long an empty group without committed offsets is kept.
pub const IDLE: Duration = Duration::from_secs(10 * 60);
