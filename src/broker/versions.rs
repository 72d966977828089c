//! The versions that ApiVersions offers. What can be read can be served: the table is that of
//! [`layout::served_requests`].

use std::ops::RangeInclusive;

use kafka_protocol::messages::ApiKey;

use crate::protocol::layout;

/// Every kind of request that is served and the versions offered of it, in the order of the keys.
///
/// Produce is offered from 0 on although 3 is the first with record batches, as librdkafka compresses only
/// where it sees 0; Kafka 4 does the same (KIP-896).
pub fn offered() -> impl Iterator<Item = (i16, RangeInclusive<i16>)> {
    layout::served_requests().map(|(api_key, versions)| match api_key {
        key if key == ApiKey::Produce as i16 => (api_key, 0..=*versions.end()),
        _ => (api_key, versions),
    })
}

/// Whether a request of this kind and version is served.
pub fn is_served(api_key: i16, version: i16) -> bool {
    layout::request_versions(api_key).is_some_and(|versions| versions.contains(&version))
}
