//! The headers of a dead letter, by the convention of Spring Kafka (the `DLT_` constants of
//! its `KafkaHeaders`).

use std::borrow::Cow;

/// The topic that the message came from, UTF-8.
pub const ORIGINAL_TOPIC: &str = "kafka_dlt-original-topic";
/// Its partition: 4 bytes, big-endian.
pub const ORIGINAL_PARTITION: &str = "kafka_dlt-original-partition";
/// Its offset: 8 bytes, big-endian.
pub const ORIGINAL_OFFSET: &str = "kafka_dlt-original-offset";
/// Its timestamp: 8 bytes, big-endian; missing if it had none.
pub const ORIGINAL_TIMESTAMP: &str = "kafka_dlt-original-timestamp";
/// The group that could not handle it, UTF-8.
pub const CONSUMER_GROUP: &str = "kafka_dlt-original-consumer-group";
/// The full name of the error's type.
pub const EXCEPTION_FQCN: &str = "kafka_dlt-exception-fqcn";
/// The text of the error, UTF-8.
pub const EXCEPTION_MESSAGE: &str = "kafka_dlt-exception-message";
/// The number of attempts at the message, decimal.
pub const ATTEMPTS: &str = "kafka_dlt-attempts";
/// How many of them its worker, or its consumer, did not survive, decimal; missing if there were none.
pub const KILLS: &str = "kafka_dlt-kills";
/// The errors of the attempts that are known, UTF-8, a line each: the number of the attempt, `: ` and the
/// beginning of the error's text.
pub const ERRORS: &str = "kafka_dlt-errors";
/// The last that the handler program wrote on standard error in the last attempt, any bytes.
pub const STDERR: &str = "kafka_dlt-handler-stderr";
/// How many messages the program had at once meanwhile, decimal; missing if this was the only one.
pub const STDERR_MESSAGES: &str = "kafka_dlt-handler-stderr-messages";
/// The prefix of these headers, and of those that other programs write by the same convention. A replayed
/// message does not carry them.
pub const PREFIX: &str = "kafka_dlt-";

/// The number of replays of the message, decimal. It stays with the message, also when that becomes a dead
/// letter again.
pub const REPLAYS: &str = "point-to-point-replays";

/// The headers that Spring Kafka writes as big-endian numbers: those of its dead letters and of its retry
/// topics (`KafkaHeaders`, `RetryTopicHeaders`).
const NUMBERS: [&str; 10] = [
    ORIGINAL_PARTITION,
    ORIGINAL_OFFSET,
    ORIGINAL_TIMESTAMP,
    "kafka_original-partition",
    "kafka_original-offset",
    "kafka_original-timestamp",
    "kafka_deliveryAttempt",
    "retry_topic-attempts",
    "retry_topic-original-timestamp",
    "retry_topic-backoff-timestamp",
];

/// The most digits of a number of 64 bits.
const MOST_DIGITS: usize = 19;

/// The number that these bytes are: decimal, as some programs write it, or of four or eight bytes, big-endian
/// with a sign, as Spring does. No log is so long that its numbers would look like text.
pub fn number(bytes: &[u8]) -> Option<i64> {
    if let Some(text) = digits(bytes) {
        return text.parse().ok();
    }
    match bytes {
        _ if is_text(bytes) => None,
        [_, _, _, _] | [_, _, _, _, _, _, _, _] => big_endian(bytes),
        _ => None,
    }
}

/// A big-endian number with a sign, of as many bytes as it needs: Java's `BigInteger` writes it so.
fn big_endian(bytes: &[u8]) -> Option<i64> {
    let fill = if bytes.first()? & 0x80 == 0 { 0 } else { 0xff };
    let mut whole = [fill; size_of::<i64>()];
    let missing = whole.len().checked_sub(bytes.len())?;
    whole.get_mut(missing..)?.copy_from_slice(bytes);
    Some(i64::from_be_bytes(whole))
}

fn is_text(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| matches!(byte, b' '..=b'~'))
}

fn digits(bytes: &[u8]) -> Option<&str> {
    let is_decimal = (1..=MOST_DIGITS).contains(&bytes.len()) && bytes.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(bytes).ok().filter(|_| is_decimal)
}

/// The value of a header in words, where it is one of those that are binary numbers.
pub fn as_number<'a>(name: &str, value: &'a [u8]) -> Option<Cow<'a, str>> {
    if !NUMBERS.contains(&name) {
        return None;
    }
    // Digits are shown as they are: with the zeros that they begin with.
    if let Some(text) = digits(value) {
        return Some(Cow::Borrowed(text));
    }
    big_endian(value).filter(|_| !is_text(value)).map(|number| Cow::Owned(number.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_binary_or_decimal() {
        assert_eq!(number(&7_i32.to_be_bytes()), Some(7));
        assert_eq!(number(&i64::MAX.to_be_bytes()), Some(i64::MAX));
        assert_eq!(number(&(-1_i64).to_be_bytes()), Some(-1));
        for (text, found) in [("1", 1), ("1234", 1_234), ("12345678", 12_345_678), ("007", 7)] {
            assert_eq!(number(text.as_bytes()), Some(found), "{text}");
        }
        for wrong in [&b""[..], b"none", b"-1", b"no place", &[1; 5], &[1; 9], b"99999999999999999999"] {
            assert_eq!(number(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn only_the_headers_that_are_numbers_are_shown_as_such() {
        let shown = |name, value: &'static [u8]| as_number(name, value).map(Cow::into_owned);
        assert_eq!(shown(ORIGINAL_PARTITION, &[0, 0, 0, 2]).as_deref(), Some("2"));
        assert_eq!(shown("retry_topic-attempts", &[0, 0, 0, 3]).as_deref(), Some("3"));
        // As Java's BigInteger.valueOf(1_700_000_000_000).toByteArray().
        let time = &[0x01, 0x8b, 0xcf, 0xe5, 0x68, 0x00];
        assert_eq!(shown("retry_topic-original-timestamp", time).as_deref(), Some("1700000000000"));
        assert_eq!(shown(ORIGINAL_OFFSET, b"007").as_deref(), Some("007"));
        assert_eq!(shown("own", &[0, 0, 0, 2]), None);
        assert_eq!(shown(ORIGINAL_OFFSET, b"none"), None);
    }
}
