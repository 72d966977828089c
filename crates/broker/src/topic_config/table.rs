//! The table of all configurations of topics.

/// The type of a configuration value, as in DescribeConfigs (KIP-569).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i8)]
pub enum Kind {
    /// `true` or `false`.
    Boolean = 1,
    /// A text.
    Text = 2,
    /// 32 bits.
    Int = 3,
    /// 64 bits.
    Long = 5,
    /// A floating-point number.
    Double = 6,
    /// Texts separated by commas.
    List = 7,
}

/// The values that are allowed.
#[derive(Debug, Clone, Copy)]
enum Allowed {
    /// All of the type.
    Any,
    /// Numbers from this one on.
    From(i64),
    /// Numbers from the first to the second.
    Within(i64, i64),
    /// As [`Allowed::Within`], and -1.
    WithinOrMinusOne(i64, i64),
    /// From 0 to 1.
    Ratio,
    /// One of these texts; in a list, only these texts.
    Of(&'static [&'static str]),
    /// `*`, or partitions and brokers, each pair as `partition:broker`.
    Replicas,
}

/// A configuration of topics.
#[derive(Debug)]
pub struct Definition {
    /// Its name.
    pub name: &'static str,
    /// Its type.
    pub kind: Kind,
    /// The value where none is set.
    pub default: &'static str,
    /// The broker's configuration that gives the value to topics that set none.
    pub broker_name: Option<&'static str>,
    allowed: Allowed,
}

const fn row(
    name: &'static str,
    kind: Kind,
    default: &'static str,
    allowed: Allowed,
    broker_name: Option<&'static str>,
) -> Definition {
    Definition { name, kind, default, broker_name, allowed }
}

use Allowed::{Any, From, Of, Ratio, Replicas, Within, WithinOrMinusOne};
use Kind::{Boolean, Double, Int, List, Long, Text};

const CODECS: Allowed = Of(&["uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"]);
const POLICIES: Allowed = Of(&["compact", "delete"]);
const TIMESTAMPS: Allowed = Of(&["CreateTime", "LogAppendTime"]);
const MAX: &str = "9223372036854775807";

/// All configurations of topics in Kafka 4.3, by name. Defaults are Kafka's, except that every message is
/// flushed here, and for those that [`super::default_of`] takes from settings and limits.
pub static TABLE: [Definition; 33] = [
    row("cleanup.policy", List, "delete", POLICIES, Some("log.cleanup.policy")),
    row("compression.gzip.level", Int, "-1", WithinOrMinusOne(1, 9), Some("compression.gzip.level")),
    row("compression.lz4.level", Int, "9", Within(1, 17), Some("compression.lz4.level")),
    row("compression.type", Text, "producer", CODECS, Some("compression.type")),
    row("compression.zstd.level", Int, "3", Within(-131_072, 22), Some("compression.zstd.level")),
    row("delete.retention.ms", Long, "86400000", From(0), Some("log.cleaner.delete.retention.ms")),
    row("file.delete.delay.ms", Long, "60000", From(0), Some("log.segment.delete.delay.ms")),
    row("flush.messages", Long, "1", From(1), Some("log.flush.interval.messages")),
    row("flush.ms", Long, MAX, From(0), None),
    row("follower.replication.throttled.replicas", List, "", Replicas, None),
    row("index.interval.bytes", Int, "4096", From(0), Some("log.index.interval.bytes")),
    row("leader.replication.throttled.replicas", List, "", Replicas, None),
    row("local.retention.bytes", Long, "-2", From(-2), Some("log.local.retention.bytes")),
    row("local.retention.ms", Long, "-2", From(-2), Some("log.local.retention.ms")),
    row("max.compaction.lag.ms", Long, MAX, From(1), Some("log.cleaner.max.compaction.lag.ms")),
    row("max.message.bytes", Int, "", From(0), Some("message.max.bytes")),
    row(
        "message.timestamp.after.max.ms",
        Long,
        "3600000",
        From(0),
        Some("log.message.timestamp.after.max.ms"),
    ),
    row("message.timestamp.before.max.ms", Long, MAX, From(0), Some("log.message.timestamp.before.max.ms")),
    row("message.timestamp.type", Text, "CreateTime", TIMESTAMPS, Some("log.message.timestamp.type")),
    row("min.cleanable.dirty.ratio", Double, "0.5", Ratio, Some("log.cleaner.min.cleanable.ratio")),
    row("min.compaction.lag.ms", Long, "0", From(0), Some("log.cleaner.min.compaction.lag.ms")),
    row("min.insync.replicas", Int, "1", From(1), Some("min.insync.replicas")),
    row("preallocate", Boolean, "false", Any, Some("log.preallocate")),
    row("remote.log.copy.disable", Boolean, "false", Any, None),
    row("remote.log.delete.on.disable", Boolean, "false", Any, None),
    row("remote.storage.enable", Boolean, "false", Any, None),
    row("retention.bytes", Long, "", Any, Some("log.retention.bytes")),
    row("retention.ms", Long, "", From(-1), Some("log.retention.ms")),
    row("segment.bytes", Int, "1073741824", From(1_048_576), Some("log.segment.bytes")),
    row("segment.index.bytes", Int, "10485760", From(4), Some("log.index.size.max.bytes")),
    row("segment.jitter.ms", Long, "0", From(0), None),
    row("segment.ms", Long, "604800000", From(1), None),
    row("unclean.leader.election.enable", Boolean, "false", Any, Some("unclean.leader.election.enable")),
];

impl Definition {
    /// The value without what says nothing: spaces around it, leading zeros, upper case in booleans, elements
    /// of a list that come twice.
    ///
    /// # Errors
    /// Why it is not allowed.
    pub fn normal_form(&self, value: &str) -> Result<String, String> {
        let value = value.trim();
        match self.kind {
            Boolean => match value.to_ascii_lowercase() {
                value if matches!(value.as_str(), "true" | "false") => Ok(value),
                _ => Err("either true or false".to_owned()),
            },
            Int => {
                let number: i32 = value.parse().map_err(|_| "not a number of 32 bits".to_owned())?;
                self.check_number(number.into()).map(|()| number.to_string())
            }
            Long => {
                let number: i64 = value.parse().map_err(|_| "not a number of 64 bits".to_owned())?;
                self.check_number(number).map(|()| number.to_string())
            }
            Double => match value.parse::<f64>() {
                Ok(number) if (0.0..=1.0).contains(&number) => Ok(format!("{number:?}")),
                _ => Err("not a number from 0 to 1".to_owned()),
            },
            Text => self.check_text(value).map(|()| value.to_owned()),
            List => {
                let elements = elements(value);
                elements.iter().try_for_each(|element| self.check_text(element))?;
                if matches!(self.allowed, Replicas) && elements.len() > 1 && elements.contains(&"*") {
                    return Err("* stands alone".to_owned());
                }
                Ok(elements.join(","))
            }
        }
    }

    fn check_number(&self, number: i64) -> Result<(), String> {
        match self.allowed {
            From(least) if number < least => Err(format!("at least {least}")),
            Within(least, most) if !(least..=most).contains(&number) => {
                Err(format!("from {least} to {most}"))
            }
            WithinOrMinusOne(least, most) if number != -1 && !(least..=most).contains(&number) => {
                Err(format!("from {least} to {most}, or -1"))
            }
            _ => Ok(()),
        }
    }

    fn check_text(&self, value: &str) -> Result<(), String> {
        let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        match self.allowed {
            Of(texts) if !texts.contains(&value) => Err(format!("one of {}", texts.join(", "))),
            Replicas if value != "*" => match value.split_once(':') {
                Some((partition, broker)) if is_number(partition) && is_number(broker) => Ok(()),
                _ => Err("either * or a list of PARTITION:BROKER".to_owned()),
            },
            _ => Ok(()),
        }
    }
}

/// The elements of a list, each once.
pub fn elements(list: &str) -> Vec<&str> {
    let mut elements = Vec::new();
    for element in list.split(',').map(str::trim).filter(|_| !list.trim().is_empty()) {
        if !elements.contains(&element) {
            elements.push(element);
        }
    }
    elements
}
