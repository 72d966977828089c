//! The errors of the REST API: statuses, and the codes of REST proxies in their bodies.

use crate::http::response::Response;

/// The error code of REST proxies for a partition that its topic does not have.
pub(super) const PARTITION_NOT_FOUND: u32 = 40402;

/// 400: a topic in the path that is not percent-encoded well.
pub(super) fn bad_path() -> Response {
    Response::error(400, "bad_path", "The topic is not percent-encoded UTF-8 (RFC 3986 §2.1).")
}

/// 400: a partition in the path of records that is no number.
pub(super) fn bad_partition() -> Response {
    Response::error(400, "bad_partition", "The partition in the path is no number from 0 to 2147483647.")
}

/// 403: a topic of Kafka's own, to which nothing is sent.
pub(super) fn internal_topic() -> Response {
    let sentence = "This topic is Kafka's own; nothing was stored.";
    Response::error_numbered(403, 40301, "internal_topic", sentence)
}

/// 404 for a topic.
pub(super) fn topic_not_found(sentence: &str) -> Response {
    Response::error_numbered(404, 40401, "topic_not_found", sentence)
}

/// 404 for a partition.
pub(super) fn partition_not_found() -> Response {
    let sentence = "The topic does not have this partition.";
    Response::error_numbered(404, PARTITION_NOT_FOUND, "partition_not_found", sentence)
}

/// 404: there is no message at this offset.
pub(super) fn message_not_found(sentence: &str) -> Response {
    Response::error(404, "message_not_found", sentence)
}

/// 503: too many requests wait for the cluster.
pub(super) fn busy() -> Response {
    Response::error(503, "queue_full", "Too many requests wait for the cluster; nothing was stored.")
}

/// 503: the metadata of the cluster is not known.
pub(super) fn no_broker(sentence: &str) -> Response {
    Response::error(503, "no_broker", sentence)
}
