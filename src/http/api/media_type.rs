//! Media types by their names.

/// Lines of JSON (ndjson).
pub(crate) const JSON_LINES: &str = "application/x-ndjson";
/// A CloudEvent in structured mode.
pub(crate) const CLOUD_EVENT: &str = "application/cloudevents+json";

/// Whether a `Content-Type` has this name; parameters and case do not matter.
pub(crate) fn is(content_type: &str, name: &str) -> bool {
    name_of(content_type).eq_ignore_ascii_case(name)
}

/// The name in a `Content-Type`, without parameters.
pub(crate) fn name_of(content_type: &str) -> &str {
    content_type.split(';').next().unwrap_or_default().trim()
}
