//! The topic and the partition that a path names.

use super::errors::{bad_partition, bad_path, message_not_found, partition_not_found, topic_not_found};
use crate::http::api::uri;
use crate::http::response::Response;
use protocol::topic_name;

/// The topic that a segment of a path names.
///
/// # Errors
/// The response to a segment that is not encoded well or is no legal name.
pub(crate) fn topic_of(segment: &str) -> Result<String, Response> {
    let name = uri::segment(segment).ok_or_else(bad_path)?;
    let illegal = |why| topic_not_found(&format!("There cannot be such a topic: {why}."));
    topic_name::check(&name).map_err(illegal)?;
    Ok(name)
}

/// The partition that a segment of a path names.
///
/// # Errors
/// The response to a segment that is no partition number.
pub(super) fn partition_of(segment: &str) -> Result<i32, Response> {
    let digits = !segment.is_empty() && segment.bytes().all(|byte| byte.is_ascii_digit());
    segment.parse().ok().filter(|_| digits).ok_or_else(partition_not_found)
}

/// The offset that a segment of a path names.
///
/// # Errors
/// The response to a segment that is no offset.
pub(super) fn offset_of(segment: &str) -> Result<i64, Response> {
    let digits = !segment.is_empty() && segment.bytes().all(|byte| byte.is_ascii_digit());
    let offset = segment.parse().ok().filter(|_| digits);
    offset.ok_or_else(|| message_not_found("The offset is no number from 0 to 9223372036854775807."))
}

/// The partition that the path of records names.
///
/// # Errors
/// The response to a segment that is no partition number: a request that is wrong, not a partition that is
/// missing.
pub(super) fn partition_to_send_to(segment: &str) -> Result<i32, Response> {
    partition_of(segment).map_err(|_| bad_partition())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn illegal_names_and_numbers_are_refused() {
        assert_eq!(topic_of("mi%2Dtopico"), Ok("mi-topico".to_owned()));
        for (part, status) in [("%", 400), ("%ff", 400), ("..", 404), ("a%2Fb", 404), ("a+b", 404)] {
            assert_eq!(topic_of(part).unwrap_err().status, status, "{part:?}");
        }
        assert_eq!(partition_of("007"), Ok(7));
        for part in ["", "-1", "+1", "a", "1.0", "2147483648"] {
            assert_eq!(partition_of(part).unwrap_err().status, 404, "{part:?}");
            assert_eq!(partition_to_send_to(part).unwrap_err().status, 400, "{part:?}");
        }
    }
}
