//! The headers of a dead letter, by the convention of Spring Kafka (the `DLT_` constants of
//! its `KafkaHeaders`).

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
/// The prefix of these headers, and of those that other programs write by the same convention. A replayed
/// message does not carry them.
pub const PREFIX: &str = "kafka_dlt-";

/// The number of replays of the message, decimal. It stays with the message, also when that becomes a dead
/// letter again.
pub const REPLAYS: &str = "point-to-point-replays";
