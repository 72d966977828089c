//! Origins of pages, as browsers write them (Fetch Standard, §3.1): `http://localhost:4200`.

use super::values::{SettingValue, Value, is_host, quoted, shown, text};

const EXAMPLE: &str = "must be a list of origins, for example [\"http://localhost:4200\"], or [] for none";

/// A list of origins. A text is one with commas.
pub(super) fn origins(setting: &SettingValue) -> Result<Vec<String>, String> {
    let origins: Vec<String> = match &setting.value {
        Value::Text(list) => list.split(',').map(|origin| origin.trim().to_owned()).collect(),
        Value::List(list) => list
            .iter()
            .map(|value| text(&SettingValue { value: value.clone(), text: None }))
            .collect::<Result<_, _>>()
            .map_err(|_| EXAMPLE.to_owned())?,
        other => return Err(format!("{EXAMPLE}, not {}", shown(other))),
    };
    for origin in &origins {
        check(origin).map_err(|fault| format!("{EXAMPLE}; {} {fault}", quoted(origin)))?;
    }
    Ok(origins)
}

/// Checks that a browser can send this as the origin of a page; else it would be allowed in vain.
///
/// # Errors
/// What is wrong with it.
fn check(origin: &str) -> Result<(), &'static str> {
    if origin.contains('*') {
        return Err("has a wildcard: each origin has to be named");
    }
    let Some((scheme, authority)) = origin.split_once("://") else {
        return Err("has no scheme, such as https://");
    };
    if origin.chars().any(|c| c.is_ascii_uppercase()) {
        return Err("has upper case: browsers send lower case");
    }
    if authority.contains(['/', '?', '#']) {
        return Err("has a path or a slash at its end: an origin ends with the host or the port");
    }
    if authority.contains('@') {
        return Err("names a user: an origin does not");
    }
    let is_legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '.' | '-');
    if !scheme.starts_with(|c: char| c.is_ascii_alphabetic()) || !scheme.chars().all(is_legal) {
        return Err("has no scheme, such as https://");
    }
    check_authority(scheme, authority)
}

fn check_authority(scheme: &str, authority: &str) -> Result<(), &'static str> {
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (authority, None),
    };
    if !is_host(host) {
        return Err("has no host of ASCII letters, digits, '.', '-' or '_', or an IPv6 address in brackets");
    }
    let Some(port) = port else { return Ok(()) };
    let number = port.parse::<u16>().ok().filter(|number| *number > 0 && number.to_string() == port);
    match (number, scheme) {
        (None, _) => Err("has no port from 1 to 65535"),
        (Some(80), "http") | (Some(443), "https") => {
            Err("names its scheme's own port, which browsers leave out")
        }
        _ => Ok(()),
    }
}
