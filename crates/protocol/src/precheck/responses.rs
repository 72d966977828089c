//! The fields of each response, in the versions of it that are asked for.

use super::walk::Field::{Array, Bytes, Fixed, Numbers, Since, Tags, Text, Until};
use super::walk::{Field, Schema, TAGS};
use crate::error_code::ErrorCode;

/// Every response that is asked for, by api key.
pub(super) const RESPONSES: &[Schema] = &[
    Schema { api_key: 0, versions: 7..=7, flexible: 9, fields: PRODUCE },
    Schema { api_key: 1, versions: 11..=13, flexible: 12, fields: FETCH },
    Schema { api_key: 2, versions: 4..=4, flexible: 6, fields: LIST_OFFSETS },
    Schema { api_key: 3, versions: 7..=10, flexible: 9, fields: METADATA },
    Schema { api_key: 8, versions: 7..=7, flexible: 8, fields: OFFSET_COMMIT },
    Schema { api_key: 9, versions: 7..=7, flexible: 6, fields: OFFSET_FETCH },
    Schema { api_key: 10, versions: 3..=3, flexible: 3, fields: FIND_COORDINATOR },
    Schema { api_key: 11, versions: 5..=5, flexible: 6, fields: JOIN_GROUP },
    Schema { api_key: 12, versions: 4..=4, flexible: 4, fields: HEARTBEAT },
    Schema { api_key: 13, versions: 4..=4, flexible: 4, fields: LEAVE_GROUP },
    Schema { api_key: 14, versions: 3..=3, flexible: 4, fields: SYNC_GROUP },
    Schema { api_key: 15, versions: 5..=5, flexible: 5, fields: DESCRIBE_GROUPS },
    Schema { api_key: 16, versions: 4..=4, flexible: 3, fields: LIST_GROUPS },
    Schema { api_key: 17, versions: 1..=1, flexible: i16::MAX, fields: SASL_HANDSHAKE },
    Schema { api_key: 18, versions: 0..=3, flexible: 3, fields: API_VERSIONS },
    Schema { api_key: 19, versions: 6..=6, flexible: 5, fields: CREATE_TOPICS },
    Schema { api_key: 20, versions: 3..=3, flexible: 4, fields: DELETE_TOPICS },
    Schema { api_key: 22, versions: 4..=4, flexible: 2, fields: INIT_PRODUCER_ID },
    Schema { api_key: 32, versions: 4..=4, flexible: 4, fields: DESCRIBE_CONFIGS },
    Schema { api_key: 36, versions: 2..=2, flexible: 2, fields: SASL_AUTHENTICATE },
    Schema { api_key: 37, versions: 0..=0, flexible: 2, fields: CREATE_PARTITIONS },
    Schema { api_key: 44, versions: 0..=0, flexible: 1, fields: INCREMENTAL_ALTER_CONFIGS },
];

/// The schema of the response to request `api_key` of this version, and its own version: the same, but for
/// ApiVersions with error 35, which has version 0 whatever was asked for.
pub(super) fn schema(api_key: i16, version: i16, body: &[u8]) -> Option<(&'static Schema, i16)> {
    let mut schemas = RESPONSES.iter();
    let schema = schemas.find(|schema| schema.api_key == api_key && schema.versions.contains(&version))?;
    let refused = api_key == 18 && body.starts_with(&ErrorCode::UNSUPPORTED_VERSION.0.to_be_bytes());
    Some((schema, if refused { 0 } else { version }))
}

/// Topics (name, partitions), each partition with these fields.
macro_rules! topics {
    ($($partition:expr),+) => {
        Array(&[Text, Array(&[$($partition),+]), TAGS])
    };
}

/// Error, keys (key, first and last version), throttle time; supported features, epoch of the finalized ones,
/// finalized features (name, two versions), whether ZooKeeper is being left.
const API_VERSIONS: &[Field] = &[
    Fixed(2),
    Array(&[Fixed(2 + 2 + 2), TAGS]),
    Since(3, &[Fixed(4)]),
    Tags(&[(0, FEATURES), (1, &[Fixed(8)]), (2, FEATURES), (3, &[Fixed(1)])]),
];

const FEATURES: &[Field] = &[Array(&[Text, Fixed(2 + 2), TAGS])];

/// Error; mechanisms.
const SASL_HANDSHAKE: &[Field] = &[Fixed(2), Array(&[Text])];

/// Error; message; the server's message, the session's lifetime.
const SASL_AUTHENTICATE: &[Field] = &[Fixed(2), Text, Bytes, Fixed(8), TAGS];

/// Topics: partition, error, base offset, append time, log start.
const PRODUCE: &[Field] = &[topics!(Fixed(4 + 2 + 8 + 8 + 8), TAGS), Fixed(4), TAGS];

/// Throttle time, error, session; topics (name or id): partition, error, high watermark, last stable offset,
/// log start; aborted transactions (producer, first offset); preferred replica; records; diverging epoch,
/// current leader, snapshot.
const FETCH: &[Field] = &[
    Fixed(4 + 2 + 4),
    Array(&[
        Until(12, &[Text]),
        Since(13, &[Fixed(16)]),
        Array(&[
            Fixed(4 + 2 + 8 + 8 + 8),
            Array(&[Fixed(8 + 8), TAGS]),
            Fixed(4),
            Bytes,
            Tags(&[(0, &[Fixed(4 + 8), TAGS]), (1, &[Fixed(4 + 4), TAGS]), (2, &[Fixed(8 + 4), TAGS])]),
        ]),
        TAGS,
    ]),
    TAGS,
];

/// Throttle time; topics: partition, error, timestamp, offset, leader epoch.
const LIST_OFFSETS: &[Field] = &[Fixed(4), topics!(Fixed(4 + 2 + 8 + 8 + 4), TAGS), TAGS];

/// Throttle time; brokers (id, host, port, rack); cluster; controller; topics: error, name, id, internal;
/// partitions: error, partition, leader, epoch; replicas, in-sync and offline ones; the user's rights on the
/// topic, and on the cluster.
const METADATA: &[Field] = &[
    Fixed(4),
    Array(&[Fixed(4), Text, Fixed(4), Text, TAGS]),
    Text,
    Fixed(4),
    Array(&[
        Fixed(2),
        Text,
        Since(10, &[Fixed(16)]),
        Fixed(1),
        Array(&[Fixed(2 + 4 + 4 + 4), Numbers(4), Numbers(4), Numbers(4), TAGS]),
        Since(8, &[Fixed(4)]),
        TAGS,
    ]),
    Since(8, &[Fixed(4)]),
    TAGS,
];

/// Throttle time; topics: partition, error.
const OFFSET_COMMIT: &[Field] = &[Fixed(4), topics!(Fixed(4 + 2), TAGS), TAGS];

/// Throttle time; topics: partition, offset, leader epoch, metadata, error; error.
const OFFSET_FETCH: &[Field] = &[Fixed(4), topics!(Fixed(4 + 8 + 4), Text, Fixed(2), TAGS), Fixed(2), TAGS];

/// Throttle time, error; message; node, host, port.
const FIND_COORDINATOR: &[Field] = &[Fixed(4 + 2), Text, Fixed(4), Text, Fixed(4), TAGS];

/// Throttle time, error, generation; protocol, leader, member; members (member, instance, metadata).
const JOIN_GROUP: &[Field] = &[Fixed(4 + 2 + 4), Text, Text, Text, Array(&[Text, Text, Bytes, TAGS]), TAGS];

/// Throttle time, error; assignment.
const SYNC_GROUP: &[Field] = &[Fixed(4 + 2), Bytes, TAGS];

/// Throttle time, error.
const HEARTBEAT: &[Field] = &[Fixed(4 + 2), TAGS];

/// Throttle time, error; members (member, instance, error).
const LEAVE_GROUP: &[Field] = &[Fixed(4 + 2), Array(&[Text, Text, Fixed(2), TAGS]), TAGS];

/// Throttle time; groups: error; group, state, protocol type, protocol; members (member, instance, client,
/// host, metadata, assignment); authorized operations.
const DESCRIBE_GROUPS: &[Field] = &[
    Fixed(4),
    Array(&[
        Fixed(2),
        Text,
        Text,
        Text,
        Text,
        Array(&[Text, Text, Text, Text, Bytes, Bytes, TAGS]),
        Fixed(4),
        TAGS,
    ]),
    TAGS,
];

/// Throttle time, error; groups (group, protocol type, state).
const LIST_GROUPS: &[Field] = &[Fixed(4 + 2), Array(&[Text, Text, Text, TAGS]), TAGS];

/// Throttle time, error, producer id, producer epoch.
const INIT_PRODUCER_ID: &[Field] = &[Fixed(4 + 2 + 8 + 2), TAGS];

/// Throttle time; topics: name, error; message; partitions, replication factor; configs (name, value,
/// read-only, source, sensitive); error of the configs.
const CREATE_TOPICS: &[Field] = &[
    Fixed(4),
    Array(&[
        Text,
        Fixed(2),
        Text,
        Fixed(4 + 2),
        Array(&[Text, Text, Fixed(1 + 1 + 1), TAGS]),
        Tags(&[(0, &[Fixed(2)])]),
    ]),
    TAGS,
];

/// Throttle time; topics: name, error.
const DELETE_TOPICS: &[Field] = &[Fixed(4), Array(&[Text, Fixed(2), TAGS]), TAGS];

/// Throttle time; topics: name, error; message.
const CREATE_PARTITIONS: &[Field] = &[Fixed(4), Array(&[Text, Fixed(2), Text, TAGS]), TAGS];

/// Throttle time; resources: error, message, type, name.
const INCREMENTAL_ALTER_CONFIGS: &[Field] = &[Fixed(4), Array(&[Fixed(2), Text, Fixed(1), Text, TAGS]), TAGS];

/// Throttle time; resources: error, message, type, name; configs (name, value, read-only, source, sensitive;
/// synonyms: name, value, source; type, documentation).
const DESCRIBE_CONFIGS: &[Field] = &[
    Fixed(4),
    Array(&[
        Fixed(2),
        Text,
        Fixed(1),
        Text,
        Array(&[Text, Text, Fixed(1 + 1 + 1), Array(&[Text, Text, Fixed(1), TAGS]), Fixed(1), Text, TAGS]),
        TAGS,
    ]),
    TAGS,
];
