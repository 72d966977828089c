//! The fields of each response, in the one version of it that is asked for.

use super::Field::{self, Array, Bytes, Fixed, Numbers, OldArray, Tags};
use crate::protocol::error_code::ErrorCode;

/// Tagged fields of which the decoder knows none.
const TAGS: Field = Tags(&[]);

/// The version of the response to request `api_key`, and its fields; `body` tells which of two ApiVersions
/// has.
pub(super) fn fields(api_key: i16, body: &[u8]) -> Option<(i16, &'static [Field])> {
    Some(match api_key {
        0 => (9, PRODUCE_9),
        1 => (12, FETCH_12),
        2 => (6, LIST_OFFSETS_6),
        3 => (9, METADATA_9),
        8 => (8, OFFSET_COMMIT_8),
        9 => (7, OFFSET_FETCH_7),
        10 => (3, FIND_COORDINATOR_3),
        11 => (7, JOIN_GROUP_7),
        12 => (4, HEARTBEAT_4),
        13 => (4, LEAVE_GROUP_4),
        14 => (5, SYNC_GROUP_5),
        18 if body.starts_with(&ErrorCode::UNSUPPORTED_VERSION.0.to_be_bytes()) => (0, API_VERSIONS_0),
        18 => (3, API_VERSIONS_3),
        19 => (7, CREATE_TOPICS_7),
        22 => (4, INIT_PRODUCER_ID_4),
        _ => return None,
    })
}

/// Topics (name, partitions), each partition with these fields.
macro_rules! topics {
    ($($partition:expr),+) => {
        Array(&[Bytes, Array(&[$($partition),+]), TAGS])
    };
}

/// Error, keys (key, first and last version).
const API_VERSIONS_0: &[Field] = &[Fixed(2), OldArray(&[Fixed(2 + 2 + 2)])];

/// Error, keys, throttle time; supported features, epoch of the finalized ones, finalized features (name, two
/// versions), whether ZooKeeper is being left.
const API_VERSIONS_3: &[Field] = &[
    Fixed(2),
    Array(&[Fixed(2 + 2 + 2), TAGS]),
    Fixed(4),
    Tags(&[(0, FEATURES), (1, &[Fixed(8)]), (2, FEATURES), (3, &[Fixed(1)])]),
];

const FEATURES: &[Field] = &[Array(&[Bytes, Fixed(2 + 2), TAGS])];

/// Topics: partition, error, base offset, append time, log start; record errors (index, message); message.
const PRODUCE_9: &[Field] =
    &[topics!(Fixed(4 + 2 + 8 + 8 + 8), Array(&[Fixed(4), Bytes, TAGS]), Bytes, TAGS), Fixed(4), TAGS];

/// Throttle time, error, session; topics: partition, error, high watermark, last stable offset, log start;
/// aborted transactions (producer, first offset); preferred replica; records; diverging epoch, current
/// leader, snapshot.
const FETCH_12: &[Field] = &[
    Fixed(4 + 2 + 4),
    topics!(
        Fixed(4 + 2 + 8 + 8 + 8),
        Array(&[Fixed(8 + 8), TAGS]),
        Fixed(4),
        Bytes,
        Tags(&[(0, &[Fixed(4 + 8), TAGS]), (1, &[Fixed(4 + 4), TAGS]), (2, &[Fixed(8 + 4), TAGS])])
    ),
    TAGS,
];

/// Throttle time; topics: partition, error, timestamp, offset, leader epoch.
const LIST_OFFSETS_6: &[Field] = &[Fixed(4), topics!(Fixed(4 + 2 + 8 + 8 + 4), TAGS), TAGS];

/// Throttle time; brokers (id, host, port, rack); cluster; controller; topics: error, name, internal;
/// partitions: error, partition, leader, epoch; replicas, in-sync and offline ones; authorized operations,
/// twice.
const METADATA_9: &[Field] = &[
    Fixed(4),
    Array(&[Fixed(4), Bytes, Fixed(4), Bytes, TAGS]),
    Bytes,
    Fixed(4),
    Array(&[
        Fixed(2),
        Bytes,
        Fixed(1),
        Array(&[Fixed(2 + 4 + 4 + 4), Numbers(4), Numbers(4), Numbers(4), TAGS]),
        Fixed(4),
        TAGS,
    ]),
    Fixed(4),
    TAGS,
];

/// Throttle time; topics: partition, error.
const OFFSET_COMMIT_8: &[Field] = &[Fixed(4), topics!(Fixed(4 + 2), TAGS), TAGS];

/// Throttle time; topics: partition, offset, leader epoch, metadata, error; error.
const OFFSET_FETCH_7: &[Field] =
    &[Fixed(4), topics!(Fixed(4 + 8 + 4), Bytes, Fixed(2), TAGS), Fixed(2), TAGS];

/// Throttle time, error; message; node, host, port.
const FIND_COORDINATOR_3: &[Field] = &[Fixed(4 + 2), Bytes, Fixed(4), Bytes, Fixed(4), TAGS];

/// Throttle time, error, generation; protocol type, protocol, leader, member; members (member, instance,
/// metadata).
const JOIN_GROUP_7: &[Field] =
    &[Fixed(4 + 2 + 4), Bytes, Bytes, Bytes, Bytes, Array(&[Bytes, Bytes, Bytes, TAGS]), TAGS];

/// Throttle time, error; protocol type, protocol, assignment.
const SYNC_GROUP_5: &[Field] = &[Fixed(4 + 2), Bytes, Bytes, Bytes, TAGS];

/// Throttle time, error.
const HEARTBEAT_4: &[Field] = &[Fixed(4 + 2), TAGS];

/// Throttle time, error; members (member, instance, error).
const LEAVE_GROUP_4: &[Field] = &[Fixed(4 + 2), Array(&[Bytes, Bytes, Fixed(2), TAGS]), TAGS];

/// Throttle time, error, producer id, producer epoch.
const INIT_PRODUCER_ID_4: &[Field] = &[Fixed(4 + 2 + 8 + 2), TAGS];

/// Throttle time; topics: name, id, error; message; partitions, replication factor; configs (name, value,
/// read-only, source, sensitive); error of the configs.
const CREATE_TOPICS_7: &[Field] = &[
    Fixed(4),
    Array(&[
        Bytes,
        Fixed(16 + 2),
        Bytes,
        Fixed(4 + 2),
        Array(&[Bytes, Bytes, Fixed(1 + 1 + 1), TAGS]),
        Tags(&[(0, &[Fixed(2)])]),
    ]),
    TAGS,
];
