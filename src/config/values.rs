//! What a value may be: each function takes one kind, and says in its error what is legal.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::path::PathBuf;

use super::Secret;

/// A value as a source gave it.
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

/// A value with the text it was parsed from, where the source is a variable or an option: a key that takes
/// text takes that, so that a topic may be called `2024`.
pub(super) struct Given {
    pub(super) value: Value,
    pub(super) raw: Option<String>,
}

pub(super) fn text(given: &Given) -> Result<String, String> {
    match (&given.value, &given.raw) {
        (Value::Text(text), _) | (_, Some(text)) => Ok(text.clone()),
        (other, None) => Err(format!("must be text in quotes, not {}", shown(other))),
    }
}

pub(super) fn boolean(given: &Given) -> Result<bool, String> {
    match &given.value {
        Value::Boolean(value) => Ok(*value),
        other => Err(format!("must be true or false, not {}", shown(other))),
    }
}

pub(super) fn number<T>(given: &Given, range: RangeInclusive<T>) -> Result<T, String>
where
    T: TryFrom<i64> + PartialOrd + Display,
{
    match integer(given).and_then(|number| T::try_from(number).ok()) {
        Some(number) if range.contains(&number) => Ok(number),
        _ => {
            let (low, high) = (range.start(), range.end());
            Err(format!("must be a whole number from {low} to {high}, not {}", shown(&given.value)))
        }
    }
}

pub(super) fn fraction(given: &Given, range: RangeInclusive<f64>) -> Result<f64, String> {
    let number = match (&given.value, &given.raw) {
        (Value::Fraction(number), _) => Some(*number),
        // Every whole number that is legal is one that f64 has.
        (Value::Integer(number), _) => Some(*number as f64),
        (Value::Text(text), Some(_)) => text.trim().parse().ok(),
        _ => None,
    };
    number.filter(|number| range.contains(number)).ok_or_else(|| {
        let (low, high) = (range.start(), range.end());
        format!("must be a number from {low} to {high}, not {}", shown(&given.value))
    })
}

/// A whole number. A variable or an option may have it in quotes: those of a shell that it went through, say.
fn integer(given: &Given) -> Option<i64> {
    match (&given.value, &given.raw) {
        (Value::Integer(number), _) => Some(*number),
        (Value::Text(text), Some(_)) => text.trim().parse().ok(),
        _ => None,
    }
}

pub(super) fn replication_factor(given: &Given) -> Result<i16, String> {
    match integer(given) {
        Some(-1) => Ok(-1),
        _ => {
            number(given, 1..=1_000).map_err(|sentence| format!("{sentence}; or -1 for the broker's default"))
        }
    }
}

/// A whole number from 1 on, or -1 for what `without` says.
pub(super) fn limit(given: &Given, without: &str) -> Result<i64, String> {
    match integer(given) {
        Some(number) if number == -1 || number >= 1 => Ok(number),
        _ => Err(format!("must be a whole number from 1 on, or -1 ({without}), not {}", shown(&given.value))),
    }
}

pub(super) fn folder(given: &Given) -> Result<PathBuf, String> {
    let folder = text(given)?;
    if folder.is_empty() || folder.contains('\0') {
        return Err(format!("must be the path of a folder, not {}", quoted(&folder)));
    }
    Ok(PathBuf::from(folder))
}

pub(super) fn file(given: &Given) -> Result<PathBuf, String> {
    let file = text(given)?;
    if file.is_empty() || file.contains('\0') {
        return Err(format!("must be the path of a file, not {}", quoted(&file)));
    }
    Ok(PathBuf::from(file))
}

/// A program with its arguments.
pub(super) fn command(given: &Given) -> Result<Vec<String>, String> {
    let example = "a list of texts, the program and its arguments, for example [\"./handle\", \"-v\"]";
    let Value::List(list) = &given.value else {
        return Err(format!("must be {example}, or [] for none, not {}", shown(&given.value)));
    };
    let texts = list.iter().map(|value| text(&Given { value: value.clone(), raw: None }));
    let texts: Vec<String> = texts.collect::<Result<_, _>>().map_err(|_| format!("must be {example}"))?;
    if texts.first().is_some_and(String::is_empty) || texts.iter().any(|text| text.contains('\0')) {
        return Err(format!("must be {example}; an empty program or a NUL byte is none"));
    }
    Ok(texts)
}

pub(super) fn choice<T: Copy>(given: &Given, choices: &[(&str, T)]) -> Result<T, String> {
    let wanted = text(given)?;
    let found = choices.iter().find(|(name, _)| *name == wanted);
    found.map(|(_, choice)| *choice).ok_or_else(|| {
        let names: Vec<_> = choices.iter().map(|(name, _)| format!("{name:?}")).collect();
        format!("must be {}, not {wanted:?}", names.join(" or "))
    })
}

pub(super) fn servers(given: &Given) -> Result<Vec<String>, String> {
    let example = "one or more host:port, for example [\"localhost:9092\"], or [] for the embedded broker";
    let texts: Vec<String> = match &given.value {
        Value::Text(list) => spelled_out(list),
        Value::List(list) => list
            .iter()
            .map(|value| text(&Given { value: value.clone(), raw: None }))
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

/// A list with commas; a port alone is on the host before it, so that `localhost:9094,9095` names two
/// brokers.
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

pub(super) fn listen(given: &Given) -> Result<String, String> {
    let address = text(given)?;
    match port_of(&address) {
        Some(_) => Ok(address),
        None => Err(format!("must be address:port, for example \"127.0.0.1:5000\", not {address:?}")),
    }
}

/// As [`listen`], for what others have to find: the system must not choose the port.
pub(super) fn listen_at_a_port(given: &Given) -> Result<String, String> {
    let address = listen(given)?;
    match port_of(&address) {
        Some(0) => Err(format!("must have a port that others can find, not {address:?}")),
        _ => Ok(address),
    }
}

/// The port of `host:port`, where the host is a name, an IPv4 address or an IPv6 address in brackets.
fn port_of(address: &str) -> Option<u16> {
    let (host, port) = address.rsplit_once(':')?;
    let host_is_legal = match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(inner) => inner.parse::<std::net::Ipv6Addr>().is_ok(),
        None => {
            !host.is_empty()
                && host.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_'))
        }
    };
    let digits = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    (host_is_legal && digits).then(|| port.parse().ok())?
}

/// Kafka's own rule for topic names (org.apache.kafka.common.internals.Topic), which allows 249 characters;
/// the topic for dead letters has four more.
pub(super) fn topic(given: &Given) -> Result<String, String> {
    let topic = text(given)?;
    if is_word(&topic, 245) && topic != "." && topic != ".." {
        return Ok(topic);
    }
    Err(format!(
        "must be 1 to 245 letters, digits, '.', '_' or '-', and not '.' or '..'; not {}",
        quoted(&topic)
    ))
}

pub(super) fn group(given: &Given) -> Result<String, String> {
    let group = text(given)?;
    if !group.trim().is_empty() && group.len() <= 255 && !group.chars().any(char::is_control) {
        return Ok(group);
    }
    Err(format!("must be 1 to 255 bytes of text without control characters, not {}", quoted(&group)))
}

/// The error does not show the token. Its characters are those that need no escaping in a client id.
pub(super) fn token(given: &Given) -> Result<Secret, String> {
    match text(given) {
        Ok(token) if is_word(&token, 200) => Ok(Secret::new(token)),
        _ => {
            Err("must be a text of 1 to 200 letters, digits, '.', '_' or '-' (its value is not shown)"
                .to_owned())
        }
    }
}

/// The error does not show the token.
pub(super) fn api_token(given: &Given) -> Result<Secret, String> {
    let token = text(given).map_err(|_| WHAT_A_TOKEN_IS.to_owned())?;
    check_token(&token).map(|()| Secret::new(token)).map_err(str::to_owned)
}

/// Whether `token` may be what the endpoint's clients have to show. It travels in a header and should not be one that
/// can be guessed.
///
/// # Errors
/// A sentence that says what is legal, without the token.
pub fn check_token(token: &str) -> Result<(), &'static str> {
    let legal = matches!(token.len(), 16..=MAX_TOKEN_BYTES) && token.bytes().all(|b| b.is_ascii_graphic());
    if legal { Ok(()) } else { Err(WHAT_A_TOKEN_IS) }
}

const WHAT_A_TOKEN_IS: &str = "must be 16 to 256 visible ASCII characters without spaces (its value is not \
    shown); for example what `openssl rand -hex 32` prints";

/// The longest token that a client of the endpoint may have to show, in bytes.
pub const MAX_TOKEN_BYTES: usize = 256;

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

fn quoted(text: &str) -> String {
    if text.len() <= 60 { format!("{text:?}") } else { format!("a text of {} bytes", text.len()) }
}

fn shown(value: &Value) -> String {
    match value {
        Value::Text(text) => quoted(text),
        Value::Integer(number) => number.to_string(),
        Value::Boolean(value) => value.to_string(),
        Value::Fraction(number) => format!("{number:?}"),
        Value::List(_) => "a list".to_owned(),
        Value::Other(kind) => (*kind).to_owned(),
    }
}
