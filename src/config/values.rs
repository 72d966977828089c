//! The kinds of values: each function checks one kind, and its error names the legal values.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::path::PathBuf;

use toml::Spanned;
use toml::de::DeValue;

use super::Secret;
use crate::consumer::push_handler::check_url;
use crate::consumer::{Subscription, TopicPattern};
use crate::http::{LEGAL_TOKEN, check_token};

/// The most partitions that a topic is created with.
pub const MOST_PARTITIONS: i32 = 10_000;

/// A value as it was parsed from its source.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    Text(String),
    Integer(i64),
    Fraction(f64),
    Boolean(bool),
    List(Vec<Value>),
    /// Of a kind that no key takes (a date, a table, ...).
    Other(&'static str),
}

/// A value with its unparsed text, if the source is a variable or an option. A key for text takes the
/// unparsed text, so that a topic may be called `2024`.
pub(super) struct SettingValue {
    pub(super) value: Value,
    pub(super) text: Option<String>,
}

/// The value that stands in a file, a variable or an option.
pub(super) fn value_of(value: &Spanned<DeValue<'_>>) -> Value {
    match value.get_ref() {
        DeValue::String(text) => Value::Text(text.clone().into_owned()),
        DeValue::Integer(digits) => match i64::from_str_radix(digits.as_str(), digits.radix()) {
            Ok(number) => Value::Integer(number),
            Err(_) => Value::Other("a number that long"),
        },
        DeValue::Boolean(value) => Value::Boolean(*value),
        DeValue::Array(list) => Value::List(list.iter().map(value_of).collect()),
        DeValue::Float(digits) => match digits.as_str().parse() {
            Ok(number) => Value::Fraction(number),
            Err(_) => Value::Other("such a number"),
        },
        DeValue::Datetime(_) => Value::Other("a date"),
        DeValue::Table(_) => Value::Other("a table"),
    }
}

pub(super) fn text(setting: &SettingValue) -> Result<String, String> {
    match (&setting.value, &setting.text) {
        (Value::Text(text), _) | (_, Some(text)) => Ok(text.clone()),
        (other, None) => Err(format!("must be text in quotes, not {}", shown(other))),
    }
}

/// A JSON Pointer (RFC 6901) to a part of a message.
pub(super) fn pointer(setting: &SettingValue) -> Result<String, String> {
    let text = text(setting)?;
    let legal = |token: &str| !token.replace("~0", "").replace("~1", "").contains('~');
    match text.strip_prefix('/').is_some_and(|tokens| tokens.split('/').all(legal)) {
        true => Ok(text),
        false => {
            Err(format!("must be a JSON Pointer such as \"/orderId\" (RFC 6901), not {}", quoted(&text)))
        }
    }
}

pub(super) fn boolean(setting: &SettingValue) -> Result<bool, String> {
    match &setting.value {
        Value::Boolean(value) => Ok(*value),
        other => Err(format!("must be true or false, not {}", shown(other))),
    }
}

pub(super) fn number<T>(setting: &SettingValue, range: RangeInclusive<T>) -> Result<T, String>
where
    T: TryFrom<i64> + PartialOrd + Display,
{
    match integer(setting).and_then(|number| T::try_from(number).ok()) {
        Some(number) if range.contains(&number) => Ok(number),
        _ => {
            let (low, high) = (range.start(), range.end());
            Err(format!("must be a whole number from {low} to {high}, not {}", shown(&setting.value)))
        }
    }
}

pub(super) fn fraction(setting: &SettingValue, range: RangeInclusive<f64>) -> Result<f64, String> {
    let number = match (&setting.value, &setting.text) {
        (Value::Fraction(number), _) => Some(*number),
        // f64 represents every legal whole number exactly.
        (Value::Integer(number), _) => Some(*number as f64),
        (Value::Text(text), Some(_)) => text.trim().parse().ok(),
        _ => None,
    };
    number.filter(|number| range.contains(number)).ok_or_else(|| {
        let (low, high) = (range.start(), range.end());
        format!("must be a number from {low} to {high}, not {}", shown(&setting.value))
    })
}

/// A whole number. A variable or an option may have quotes around it, as of a shell.
fn integer(setting: &SettingValue) -> Option<i64> {
    match (&setting.value, &setting.text) {
        (Value::Integer(number), _) => Some(*number),
        (Value::Text(text), Some(_)) => text.trim().parse().ok(),
        _ => None,
    }
}

pub(super) fn replication_factor(setting: &SettingValue) -> Result<i16, String> {
    match integer(setting) {
        Some(-1) => Ok(-1),
        _ => number(setting, 1..=1_000)
            .map_err(|sentence| format!("{sentence}; or -1 for the broker's default")),
    }
}

/// A whole number from 1 on, or -1, whose meaning is `without`.
pub(super) fn limit(setting: &SettingValue, without: &str) -> Result<i64, String> {
    match integer(setting) {
        Some(number) if number == -1 || number >= 1 => Ok(number),
        _ => {
            Err(format!("must be a whole number from 1 on, or -1 ({without}), not {}", shown(&setting.value)))
        }
    }
}

pub(super) fn folder(setting: &SettingValue) -> Result<PathBuf, String> {
    let folder = text(setting)?;
    if folder.is_empty() || folder.contains('\0') {
        return Err(format!("must be the path of a folder, not {}", quoted(&folder)));
    }
    Ok(PathBuf::from(folder))
}

pub(super) fn file(setting: &SettingValue) -> Result<PathBuf, String> {
    let file = text(setting)?;
    if file.is_empty() || file.contains('\0') {
        return Err(format!("must be the path of a file, not {}", quoted(&file)));
    }
    Ok(PathBuf::from(file))
}

/// A program with its arguments.
pub(super) fn command(setting: &SettingValue) -> Result<Vec<String>, String> {
    let example = "a list of texts, the program and its arguments, for example [\"./handle\", \"-v\"]";
    let Value::List(list) = &setting.value else {
        return Err(format!("must be {example}, or [] for none, not {}", shown(&setting.value)));
    };
    let texts = list.iter().map(|value| text(&SettingValue { value: value.clone(), text: None }));
    let texts: Vec<String> = texts.collect::<Result<_, _>>().map_err(|_| format!("must be {example}"))?;
    if texts.first().is_some_and(String::is_empty) || texts.iter().any(|text| text.contains('\0')) {
        return Err(format!("must be {example}; an empty program or a NUL byte is none"));
    }
    Ok(texts)
}

/// The URL that messages are sent to. A wrong one is not shown: there may be a password in it.
pub(super) fn push_url(setting: &SettingValue) -> Result<String, String> {
    let url = text(setting)?;
    match check_url(&url) {
        Ok(()) => Ok(url),
        Err(why) => {
            Err(format!("must be a URL that begins with http:// or https://, without a user; this one {why}"))
        }
    }
}

/// Text of visible ASCII characters without blanks, 200 at most.
pub(super) fn visible(setting: &SettingValue) -> Result<String, String> {
    let found = text(setting)?;
    if (1..=200).contains(&found.len()) && found.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Ok(found);
    }
    Err(format!("must be 1 to 200 visible ASCII characters without blanks, not {}", quoted(&found)))
}

/// Statuses of HTTP that say that a message is not handled.
pub(super) fn statuses(setting: &SettingValue) -> Result<Vec<u16>, String> {
    let wrong = || format!("must be a list of statuses from 300 to 599, not {}", shown(&setting.value));
    let Value::List(list) = &setting.value else { return Err(wrong()) };
    let status = |value: &Value| match value {
        Value::Integer(number) => u16::try_from(*number).ok().filter(|status| (300..600).contains(status)),
        _ => None,
    };
    list.iter().map(status).collect::<Option<Vec<u16>>>().ok_or_else(wrong)
}

pub(super) fn choice<T: Copy>(setting: &SettingValue, choices: &[(&str, T)]) -> Result<T, String> {
    let wanted = text(setting)?;
    let found = choices.iter().find(|(name, _)| *name == wanted);
    found.map(|(_, choice)| *choice).ok_or_else(|| {
        let names: Vec<_> = choices.iter().map(|(name, _)| format!("{name:?}")).collect();
        format!("must be {}, not {wanted:?}", names.join(" or "))
    })
}

pub(super) fn servers(setting: &SettingValue) -> Result<Vec<String>, String> {
    let example = "one or more host:port, for example [\"localhost:9092\"], or [] for the embedded broker";
    let texts: Vec<String> = match &setting.value {
        Value::Text(list) => spelled_out(list),
        Value::List(list) => list
            .iter()
            .map(|value| text(&SettingValue { value: value.clone(), text: None }))
            .collect::<Result<_, _>>()
            .map_err(|_| format!("must be {example}"))?,
        other => return Err(format!("must be {example}, not {}", shown(other))),
    };
    for server in &texts {
        if !matches!(port_of(server), Some(1..)) {
            return Err(format!("must be {example}; {server:?} is none"));
        }
    }
    Ok(texts)
}

/// A comma-separated list. A port alone belongs to the host before it, so that `localhost:9094,9095` names
/// two brokers.
fn spelled_out(list: &str) -> Vec<String> {
    let mut servers: Vec<String> = Vec::new();
    for server in list.split(',').map(str::trim) {
        let port_alone = !server.is_empty() && server.bytes().all(|byte| byte.is_ascii_digit());
        match servers.last().and_then(|before| before.rsplit_once(':')) {
            Some((host, _)) if port_alone => servers.push(format!("{host}:{server}")),
            _ => servers.push(server.to_owned()),
        }
    }
    servers
}

pub(super) fn listen(setting: &SettingValue) -> Result<String, String> {
    let address = text(setting)?;
    match port_of(&address) {
        Some(_) => Ok(address),
        None => Err(format!("must be address:port, for example \"127.0.0.1:5000\", not {address:?}")),
    }
}

/// As [`listen`], but without port 0: clients have to know the port.
pub(super) fn listen_at_a_port(setting: &SettingValue) -> Result<String, String> {
    let address = listen(setting)?;
    match port_of(&address) {
        Some(0) => Err(format!("must have a port that others can find, not {address:?}")),
        _ => Ok(address),
    }
}

/// The host, without brackets, and the port of an address that clients can connect to.
pub(super) fn host_and_port(setting: &SettingValue) -> Result<(String, u16), String> {
    let address = text(setting)?;
    let example = "host:port that clients can connect to, for example \"broker.example:9092\" or \
                   \"[2001:db8::1]:9092\"";
    let host = address.rsplit_once(':').map_or("", |(host, _)| host);
    let host = host.trim_matches(['[', ']']);
    match port_of(&address) {
        Some(0) => Err(format!("must be {example}, with a port from 1 to 65535, not {address:?}")),
        Some(_) if host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_unspecified()) => Err(
            format!("must be {example}; {address:?} means all addresses of a machine, and is none itself"),
        ),
        Some(port) if host.len() <= 255 => Ok((host.to_owned(), port)),
        _ => Err(format!("must be {example}, not {}", quoted(&address))),
    }
}

/// The port of `host:port`, where the host is a name, an IPv4 address or an IPv6 address in brackets.
pub fn port_of(address: &str) -> Option<u16> {
    let (host, port) = address.rsplit_once(':')?;
    let digits = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    (is_host(host) && digits).then(|| port.parse().ok())?
}

/// Whether `host` is a name, an IPv4 address or an IPv6 address in brackets.
pub(super) fn is_host(host: &str) -> bool {
    match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(inner) => inner.parse::<std::net::Ipv6Addr>().is_ok(),
        None => {
            let is_legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
            !host.is_empty() && host.chars().all(is_legal)
        }
    }
}

pub(super) fn topic(setting: &SettingValue) -> Result<String, String> {
    check_topic(&text(setting)?)
}

/// The most topics that are named.
const MOST_TOPICS: usize = 1_000;
/// The longest pattern, in bytes.
const LONGEST_PATTERN: usize = 1_000;

/// Names of topics, or a pattern; none where the list is empty.
pub(super) fn topics(setting: &SettingValue) -> Result<Option<Subscription>, String> {
    let example = "names of topics, like [\"orders\", \"bills\"], or a pattern like \"^orders-\"";
    let names: Vec<String> = match &setting.value {
        Value::List(list) => list
            .iter()
            .map(|value| text(&SettingValue { value: value.clone(), text: None }))
            .collect::<Result<_, _>>()
            .map_err(|_| format!("must be {example}"))?,
        _ => {
            let text =
                text(setting).map_err(|_| format!("must be {example}, not {}", shown(&setting.value)))?;
            if text.starts_with('^') {
                return pattern(&text).map(Some);
            }
            text.split(',').map(|name| name.trim().to_owned()).collect()
        }
    };
    if let Some(name) = names.iter().find(|name| name.starts_with('^')) {
        return Err(format!("must be {example}; a pattern ({}) stands alone", quoted(name)));
    }
    let mut topics: Vec<String> = Vec::new();
    for name in &names {
        let topic = check_topic(name).map_err(|sentence| format!("each name {sentence}"))?;
        if !topics.contains(&topic) {
            topics.push(topic);
        }
    }
    match topics.len() {
        0 => Ok(None),
        1..=MOST_TOPICS => Ok(Some(Subscription::Topics(topics))),
        many => Err(format!("must be at most {MOST_TOPICS} names, not {many}")),
    }
}

fn pattern(text: &str) -> Result<Subscription, String> {
    if text.len() > LONGEST_PATTERN {
        return Err(format!("must be a pattern of at most {LONGEST_PATTERN} bytes"));
    }
    let pattern = TopicPattern::new(text);
    pattern
        .map(Subscription::Pattern)
        .map_err(|why| format!("{} is no regular expression: {why}", quoted(text)))
}

/// The name of a topic that may have dead letters, by Kafka's own rule for topic names
/// (org.apache.kafka.common.internals.Topic), which allows 249 characters; the topic for dead letters has
/// four more.
///
/// # Errors
/// It is none.
pub fn check_topic(topic: &str) -> Result<String, String> {
    if is_word(topic, 245) && topic != "." && topic != ".." {
        return Ok(topic.to_owned());
    }
    Err(format!(
        "must be 1 to 245 letters, digits, '.', '_' or '-', and not '.' or '..'; not {}",
        quoted(topic)
    ))
}

pub(super) fn group(setting: &SettingValue) -> Result<String, String> {
    let group = text(setting)?;
    if !group.trim().is_empty() && group.len() <= 255 && !group.chars().any(char::is_control) {
        return Ok(group);
    }
    Err(format!("must be 1 to 255 bytes of text without control characters, not {}", quoted(&group)))
}

/// The error does not show the token. Its characters are those that need no escaping in a client id.
pub(super) fn token(setting: &SettingValue) -> Result<Secret, String> {
    match text(setting) {
        Ok(token) if is_word(&token, 200) => Ok(Secret::new(token)),
        _ => {
            Err("must be a text of 1 to 200 letters, digits, '.', '_' or '-' (its value is not shown)"
                .to_owned())
        }
    }
}

/// A token. The error does not show it.
pub(super) fn api_token(setting: &SettingValue) -> Result<Secret, String> {
    let token = text(setting).map_err(|_| LEGAL_TOKEN.to_owned())?;
    check_token(&token).map(|()| Secret::new(token)).map_err(str::to_owned)
}

/// Whether `name` may be the name of a consumer: it becomes the first part of its client id.
///
/// # Errors
/// A sentence that says what is legal.
pub fn check_consumer_name(name: &str) -> Result<(), String> {
    if is_word(name, 100) {
        return Ok(());
    }
    Err(format!("must be 1 to 100 letters, digits, '.', '_' or '-', not {}", quoted(name)))
}

fn is_word(text: &str, longest: usize) -> bool {
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    !text.is_empty() && text.len() <= longest && text.chars().all(legal)
}

pub(super) fn quoted(text: &str) -> String {
    if text.len() <= 60 { format!("{text:?}") } else { format!("a text of {} bytes", text.len()) }
}

pub(super) fn shown(value: &Value) -> String {
    match value {
        Value::Text(text) => quoted(text),
        Value::Integer(number) => number.to_string(),
        Value::Boolean(value) => value.to_string(),
        Value::Fraction(number) => format!("{number:?}"),
        Value::List(_) => "a list".to_owned(),
        Value::Other(kind) => (*kind).to_owned(),
    }
}
