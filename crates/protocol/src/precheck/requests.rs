//! The fields of each request, over the versions of it that are served.

use super::walk::Field::{Array, Bytes, Fixed, Nullable, Numbers, Since, Tags, Text, Until};
use super::walk::{Field, Schema, TAGS};

/// The first flexible version of a request that has none.
const NEVER: i16 = i16::MAX;

/// Every request that is served, by api key.
pub(super) const REQUESTS: &[Schema] = &[
    Schema { api_key: 0, versions: 3..=13, flexible: 9, fields: PRODUCE },
    Schema { api_key: 1, versions: 4..=18, flexible: 12, fields: FETCH },
    Schema { api_key: 2, versions: 1..=10, flexible: 6, fields: LIST_OFFSETS },
    Schema { api_key: 3, versions: 0..=13, flexible: 9, fields: METADATA },
    Schema { api_key: 8, versions: 2..=9, flexible: 8, fields: OFFSET_COMMIT },
    Schema { api_key: 9, versions: 1..=9, flexible: 6, fields: OFFSET_FETCH },
    Schema { api_key: 10, versions: 0..=6, flexible: 3, fields: FIND_COORDINATOR },
    Schema { api_key: 11, versions: 0..=9, flexible: 6, fields: JOIN_GROUP },
    Schema { api_key: 12, versions: 0..=4, flexible: 4, fields: HEARTBEAT },
    Schema { api_key: 13, versions: 0..=5, flexible: 4, fields: LEAVE_GROUP },
    Schema { api_key: 14, versions: 0..=5, flexible: 4, fields: SYNC_GROUP },
    Schema { api_key: 15, versions: 0..=6, flexible: 5, fields: DESCRIBE_GROUPS },
    Schema { api_key: 16, versions: 0..=5, flexible: 3, fields: LIST_GROUPS },
    Schema { api_key: 18, versions: 0..=4, flexible: 3, fields: API_VERSIONS },
    Schema { api_key: 19, versions: 2..=7, flexible: 5, fields: CREATE_TOPICS },
    Schema { api_key: 20, versions: 1..=6, flexible: 4, fields: DELETE_TOPICS },
    Schema { api_key: 21, versions: 0..=2, flexible: 2, fields: DELETE_RECORDS },
    Schema { api_key: 22, versions: 0..=5, flexible: 2, fields: INIT_PRODUCER_ID },
    Schema { api_key: 23, versions: 2..=4, flexible: 4, fields: OFFSET_FOR_LEADER_EPOCH },
    Schema { api_key: 29, versions: 1..=3, flexible: 2, fields: DESCRIBE_ACLS },
    Schema { api_key: 30, versions: 1..=3, flexible: 2, fields: CREATE_ACLS },
    Schema { api_key: 31, versions: 1..=3, flexible: 2, fields: DELETE_ACLS },
    Schema { api_key: 32, versions: 1..=4, flexible: 4, fields: DESCRIBE_CONFIGS },
    Schema { api_key: 33, versions: 0..=2, flexible: 2, fields: ALTER_CONFIGS },
    Schema { api_key: 35, versions: 1..=4, flexible: 2, fields: DESCRIBE_LOG_DIRS },
    Schema { api_key: 37, versions: 0..=3, flexible: 2, fields: CREATE_PARTITIONS },
    Schema { api_key: 42, versions: 0..=2, flexible: 2, fields: DELETE_GROUPS },
    Schema { api_key: 43, versions: 0..=2, flexible: 2, fields: ELECT_LEADERS },
    Schema { api_key: 44, versions: 0..=1, flexible: 1, fields: INCREMENTAL_ALTER_CONFIGS },
    Schema { api_key: 45, versions: 0..=1, flexible: 0, fields: ALTER_PARTITION_REASSIGNMENTS },
    Schema { api_key: 46, versions: 0..=0, flexible: 0, fields: LIST_PARTITION_REASSIGNMENTS },
    Schema { api_key: 47, versions: 0..=0, flexible: NEVER, fields: OFFSET_DELETE },
    Schema { api_key: 48, versions: 0..=1, flexible: 1, fields: DESCRIBE_CLIENT_QUOTAS },
    Schema { api_key: 50, versions: 0..=0, flexible: 0, fields: DESCRIBE_USER_SCRAM_CREDENTIALS },
    Schema { api_key: 51, versions: 0..=0, flexible: 0, fields: ALTER_USER_SCRAM_CREDENTIALS },
    Schema { api_key: 55, versions: 0..=2, flexible: 0, fields: DESCRIBE_QUORUM },
    Schema { api_key: 60, versions: 0..=2, flexible: 0, fields: DESCRIBE_CLUSTER },
    Schema { api_key: 61, versions: 0..=0, flexible: 0, fields: DESCRIBE_PRODUCERS },
    Schema { api_key: 65, versions: 0..=0, flexible: 0, fields: DESCRIBE_TRANSACTIONS },
    Schema { api_key: 66, versions: 0..=2, flexible: 0, fields: LIST_TRANSACTIONS },
    Schema { api_key: 75, versions: 0..=0, flexible: 0, fields: DESCRIBE_TOPIC_PARTITIONS },
];

/// The id of a topic.
const ID: Field = Fixed(16);

/// Transactional id; acks, timeout; topics (name, later id), partitions: partition, records.
const PRODUCE: &[Field] = &[
    Text,
    Fixed(2 + 4),
    Array(&[Until(12, &[Text]), Since(13, &[ID]), Array(&[Fixed(4), Bytes, TAGS]), TAGS]),
    TAGS,
];

/// Replica, longest wait, least and most bytes, isolation level; session and its epoch; topics (name),
/// partitions: partition, leader epoch, offset, epoch of the last record, log start, most bytes; forgotten
/// topics (name, partitions); rack. A topic's name is later its id. The tags are the cluster id and the
/// replica (id, epoch), and, in a partition, the replica's folder and high watermark.
const FETCH: &[Field] = &[
    Until(14, &[Fixed(4)]),
    Fixed(4 + 4 + 4 + 1),
    Since(7, &[Fixed(4 + 4)]),
    Array(&[
        Until(12, &[Text]),
        Since(13, &[ID]),
        Array(&[
            Fixed(4),
            Since(9, &[Fixed(4)]),
            Fixed(8),
            Since(12, &[Fixed(4)]),
            Since(5, &[Fixed(8)]),
            Fixed(4),
            Tags(&[(0, &[ID]), (1, &[Fixed(8)])]),
        ]),
        TAGS,
    ]),
    Since(7, &[Array(&[Until(12, &[Text]), Since(13, &[ID]), Numbers(4), TAGS])]),
    Since(11, &[Text]),
    Tags(&[(0, &[Text]), (1, &[Fixed(4 + 8), TAGS])]),
];

/// Replica, isolation level; topics (name), partitions: partition, leader epoch, timestamp; timeout.
const LIST_OFFSETS: &[Field] = &[
    Fixed(4),
    Since(2, &[Fixed(1)]),
    Array(&[Text, Array(&[Fixed(4), Since(4, &[Fixed(4)]), Fixed(8), TAGS]), TAGS]),
    Since(10, &[Fixed(4)]),
    TAGS,
];

/// Topics (id, name); whether they may be created; whether the operations on the cluster and on topics are
/// asked for.
const METADATA: &[Field] = &[
    Array(&[Since(10, &[ID]), Text, TAGS]),
    Since(4, &[Fixed(1)]),
    Since(8, &[Until(10, &[Fixed(1)]), Fixed(1)]),
    TAGS,
];

/// Group, generation, member, instance; retention time; topics (name), partitions: partition, offset, leader
/// epoch, metadata.
const OFFSET_COMMIT: &[Field] = &[
    Text,
    Fixed(4),
    Text,
    Since(7, &[Text]),
    Until(4, &[Fixed(8)]),
    Array(&[Text, Array(&[Fixed(4 + 8), Since(6, &[Fixed(4)]), Text, TAGS]), TAGS]),
    TAGS,
];

/// The group, later groups (group, member, member epoch) and topics (name), partitions of each; whether the
/// offsets must be stable. A partition counts as an element: its part of the answer is far larger than its
/// number.
const OFFSET_FETCH: &[Field] = &[
    Until(7, &[Text, OFFSET_FETCH_TOPICS]),
    Since(8, &[Array(&[Text, Since(9, &[Text, Fixed(4)]), OFFSET_FETCH_TOPICS, TAGS])]),
    Since(7, &[Fixed(1)]),
    TAGS,
];
const OFFSET_FETCH_TOPICS: Field = Array(&[Text, Array(&[Fixed(4)]), TAGS]);

/// Key and what it is of, later keys.
const FIND_COORDINATOR: &[Field] =
    &[Until(3, &[Text]), Since(1, &[Fixed(1)]), Since(4, &[Array(&[Text])]), TAGS];

/// Group, session timeout, rebalance timeout, member, instance; protocol type, protocols (name, metadata);
/// reason.
const JOIN_GROUP: &[Field] = &[
    Text,
    Fixed(4),
    Since(1, &[Fixed(4)]),
    Text,
    Since(5, &[Text]),
    Text,
    Array(&[Text, Bytes, TAGS]),
    Since(8, &[Text]),
    TAGS,
];

/// Group, generation, member, instance.
const HEARTBEAT: &[Field] = &[Text, Fixed(4), Text, Since(3, &[Text]), TAGS];

/// Group; the member, later members (member, instance, reason).
const LEAVE_GROUP: &[Field] =
    &[Text, Until(2, &[Text]), Since(3, &[Array(&[Text, Text, Since(5, &[Text]), TAGS])]), TAGS];

/// Group, generation, member, instance; protocol type, protocol; assignments (member, assignment).
const SYNC_GROUP: &[Field] =
    &[Text, Fixed(4), Text, Since(3, &[Text]), Since(5, &[Text, Text]), Array(&[Text, Bytes, TAGS]), TAGS];

/// Groups; whether the operations on them are asked for.
const DESCRIBE_GROUPS: &[Field] = &[Array(&[Text]), Since(3, &[Fixed(1)]), TAGS];

/// States; types.
const LIST_GROUPS: &[Field] = &[Since(4, &[Array(&[Text])]), Since(5, &[Array(&[Text])]), TAGS];

/// The client's software and its version.
const API_VERSIONS: &[Field] = &[Since(3, &[Text, Text]), TAGS];

/// Topics: name, partitions, replication factor; assignments (partition, brokers); configs (name, value);
/// timeout, whether it is only to be tried.
const CREATE_TOPICS: &[Field] = &[
    Array(&[Text, Fixed(4 + 2), Array(&[Fixed(4), Numbers(4), TAGS]), Array(&[Text, Text, TAGS]), TAGS]),
    Fixed(4 + 1),
    TAGS,
];

/// Names, later topics (name, id); timeout.
const DELETE_TOPICS: &[Field] =
    &[Until(5, &[Array(&[Text])]), Since(6, &[Array(&[Text, ID, TAGS])]), Fixed(4), TAGS];

/// Topics (name), partitions: partition, offset; timeout.
const DELETE_RECORDS: &[Field] = &[Array(&[Text, Array(&[Fixed(4 + 8), TAGS]), TAGS]), Fixed(4), TAGS];

/// Transactional id, timeout; producer id and epoch.
const INIT_PRODUCER_ID: &[Field] = &[Text, Fixed(4), Since(3, &[Fixed(8 + 2)]), TAGS];

/// Resources: type, name, keys of the configs; whether synonyms and documentation are asked for.
const DESCRIBE_CONFIGS: &[Field] =
    &[Array(&[Fixed(1), Text, Array(&[Text]), TAGS]), Fixed(1), Since(3, &[Fixed(1)]), TAGS];

/// Resources: type, name, configs (name, value); whether it is only to be tried.
const ALTER_CONFIGS: &[Field] = &[Array(&[Fixed(1), Text, Array(&[Text, Text, TAGS]), TAGS]), Fixed(1), TAGS];

/// Topics (name), partitions. A partition counts as an element: its part of the answer is far larger than its
/// number.
const DESCRIBE_LOG_DIRS: &[Field] = &[Array(&[Text, Array(&[Fixed(4)]), TAGS]), TAGS];

/// Topics: name, number of partitions, assignments (brokers); timeout, whether it is only to be tried.
const CREATE_PARTITIONS: &[Field] =
    &[Array(&[Text, Fixed(4), Array(&[Numbers(4), TAGS]), TAGS]), Fixed(4 + 1), TAGS];

/// Groups.
const DELETE_GROUPS: &[Field] = &[Array(&[Text]), TAGS];

/// Resources: type, name, configs (name, operation, value); whether it is only to be tried.
const INCREMENTAL_ALTER_CONFIGS: &[Field] =
    &[Array(&[Fixed(1), Text, Array(&[Text, Fixed(1), Text, TAGS]), TAGS]), Fixed(1), TAGS];

/// Group; topics (name), partitions.
const OFFSET_DELETE: &[Field] = &[Text, Array(&[Text, Array(&[Fixed(4)])])];

/// Whether the operations on the cluster are asked for; which endpoints are; whether fenced brokers are.
const DESCRIBE_CLUSTER: &[Field] = &[Fixed(1), Since(1, &[Fixed(1)]), Since(2, &[Fixed(1)]), TAGS];

/// Replica; topics (name), partitions: partition, the epoch that the client knows, the one that it asks for.
const OFFSET_FOR_LEADER_EPOCH: &[Field] =
    &[Since(3, &[Fixed(4)]), Array(&[Text, Array(&[Fixed(4 + 4 + 4), TAGS]), TAGS]), TAGS];

/// A filter of ACLs: type, name and pattern of the resource; principal, host, operation, permission.
const DESCRIBE_ACLS: &[Field] = &[Fixed(1), Text, Fixed(1), Text, Text, Fixed(1 + 1), TAGS];

/// ACLs: type, name and pattern of the resource; principal, host, operation, permission.
const CREATE_ACLS: &[Field] = &[Array(DESCRIBE_ACLS), TAGS];

/// Filters.
const DELETE_ACLS: &[Field] = &[Array(DESCRIBE_ACLS), TAGS];

/// Election type; topics (name, partitions); timeout. A partition counts as an element, as in OffsetFetch.
const ELECT_LEADERS: &[Field] =
    &[Since(1, &[Fixed(1)]), Array(&[Text, Array(&[Fixed(4)]), TAGS]), Fixed(4), TAGS];

/// Timeout, whether the number of replicas may change; topics (name), partitions: partition, replicas.
const ALTER_PARTITION_REASSIGNMENTS: &[Field] =
    &[Fixed(4), Since(1, &[Fixed(1)]), Array(&[Text, Array(&[Fixed(4), Numbers(4), TAGS]), TAGS]), TAGS];

/// Timeout; topics (name, partitions).
const LIST_PARTITION_REASSIGNMENTS: &[Field] = &[Fixed(4), Array(&[Text, Numbers(4), TAGS]), TAGS];

/// The filter: type of the entity, kind of the match, name; whether it is strict.
const DESCRIBE_CLIENT_QUOTAS: &[Field] = &[Array(&[Text, Fixed(1), Text, TAGS]), Fixed(1), TAGS];

/// Users.
const DESCRIBE_USER_SCRAM_CREDENTIALS: &[Field] = &[Array(&[Text, TAGS]), TAGS];

/// Deletions: user, mechanism; upsertions: user, mechanism, iterations, salt, salted password.
const ALTER_USER_SCRAM_CREDENTIALS: &[Field] =
    &[Array(&[Text, Fixed(1), TAGS]), Array(&[Text, Fixed(1 + 4), Bytes, Bytes, TAGS]), TAGS];

/// Topics (name), partitions.
const DESCRIBE_QUORUM: &[Field] = &[Array(&[Text, Array(&[Fixed(4), TAGS]), TAGS]), TAGS];

/// Transactional ids.
const DESCRIBE_TRANSACTIONS: &[Field] = &[Array(&[Text]), TAGS];

/// States, producer ids, duration, pattern of transactional ids.
const LIST_TRANSACTIONS: &[Field] =
    &[Array(&[Text]), Numbers(8), Since(1, &[Fixed(8)]), Since(2, &[Text]), TAGS];

/// Topics (name); the most partitions of the answer; the cursor: topic, partition.
const DESCRIBE_TOPIC_PARTITIONS: &[Field] =
    &[Array(&[Text, TAGS]), Fixed(4), Nullable(&[Text, Fixed(4), TAGS]), TAGS];

/// Topics (name), partitions, each counted as an element.
const DESCRIBE_PRODUCERS: &[Field] = &[Array(&[Text, Array(&[Fixed(4)]), TAGS]), TAGS];
