//! The names that a topic may have, as Kafka has them.

/// The longest name, in bytes.
const MAX_BYTES: usize = 249;

/// The topics in which Kafka keeps its own state. Clients do not write to them.
///
/// Source: `Topic.INTERNAL_TOPICS` of Kafka's Java client.
const INTERNAL: [&str; 3] = ["__consumer_offsets", "__transaction_state", "__share_group_state"];

/// Whether the name is that of one of Kafka's own topics.
pub fn is_internal(name: &str) -> bool {
    INTERNAL.contains(&name)
}

/// Whether two names differ in `.` and `_` alone. Kafka's brokers have one name for both in their metrics.
///
/// Source: `Topic.hasCollision` of Kafka's Java client.
pub fn collide(one: &str, other: &str) -> bool {
    let unified = |byte: u8| if byte == b'.' { b'_' } else { byte };
    one != other && one.bytes().map(unified).eq(other.bytes().map(unified))
}

/// Checks a name.
///
/// # Errors
/// A description of the first broken rule.
pub fn check(name: &str) -> Result<(), &'static str> {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    match name {
        "" => Err("a topic needs a name"),
        "." | ".." => Err("a topic cannot be named '.' or '..'"),
        _ if name.len() > MAX_BYTES => Err("a topic's name has 249 characters at most"),
        _ if !name.bytes().all(legal) => {
            Err("a topic's name consists of ASCII letters and digits, '.', '_' and '-'")
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_that_kafka_accepts() {
        let longest = "a".repeat(249);
        for name in ["a", "mi-topico", "A.b_c-9", "...", &longest] {
            assert_eq!(check(name), Ok(()), "{name}");
        }
        let too_long = "a".repeat(250);
        for name in ["", ".", "..", "a b", "a/b", "señal", "a\n", "a:b", &too_long] {
            assert!(check(name).is_err(), "{name}");
        }
    }

    #[test]
    fn names_that_differ_in_points_and_underscores_alone_collide() {
        assert!(collide("a.b", "a_b") && collide("a_b", "a.b") && collide("a.b_c", "a_b.c"));
        for (one, other) in [("a.b", "a.b"), ("a.b", "a-b"), ("a.b", "a_bc"), ("a.b", "ab"), ("a", "b")] {
            assert!(!collide(one, other), "{one} {other}");
        }
    }

    #[test]
    fn kafkas_own_topics_are_known_by_their_whole_names() {
        assert!(is_internal("__consumer_offsets") && is_internal("__transaction_state"));
        for name in ["__consumer_offsets2", "_consumer_offsets", "__mine", "__CONSUMER_OFFSETS"] {
            assert!(!is_internal(name), "{name}");
        }
    }
}
