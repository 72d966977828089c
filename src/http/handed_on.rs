//! The headers of a request that its handler needs, besides those that the server reads itself.

use super::queues::FORWARDED;

/// The headers that become headers of the record, under their own name: W3C's trace context and baggage.
pub(crate) const TRACE_CONTEXT: [&str; 3] = ["traceparent", "tracestate", "baggage"];
/// The prefix of the attributes of a CloudEvent (CloudEvents' HTTP binding, binary mode).
pub(crate) const CLOUD_EVENT: &str = "ce-";
/// The prefix of headers for the record.
pub(crate) const RECORD_HEADER: &str = "x-kafka-header-";
/// The record's key.
pub(crate) const KEY: &str = "x-key";
/// How the body is compressed.
pub(crate) const CONTENT_ENCODING: &str = "content-encoding";

/// Whether a header is handed on to the handler.
pub(crate) fn is_handed_on(name: &str) -> bool {
    let is = |known: &str| name.eq_ignore_ascii_case(known);
    TRACE_CONTEXT.iter().any(|known| is(known))
        || is(KEY)
        || is(CONTENT_ENCODING)
        || is(FORWARDED)
        || after_prefix(name, CLOUD_EVENT).is_some()
        || after_prefix(name, RECORD_HEADER).is_some()
}

/// What follows `prefix` in a name, where case does not matter; `None` if the name has another beginning, or
/// no end.
pub(crate) fn after_prefix<'a>(name: &'a str, prefix: &str) -> Option<&'a str> {
    let (beginning, rest) = name.split_at_checked(prefix.len())?;
    (beginning.eq_ignore_ascii_case(prefix) && !rest.is_empty()).then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_becomes_of_the_record_is_handed_on_and_nothing_else() {
        for name in ["TraceParent", "tracestate", "baggage", "ce-id", "CE-Type", "X-Kafka-Header-a", "x-key"]
        {
            assert!(is_handed_on(name), "{name}");
        }
        for name in ["ce-", "ce", "x-kafka-header-", "x-keys", "cookie", "trace", "ñ"] {
            assert!(!is_handed_on(name), "{name}");
        }
    }
}
