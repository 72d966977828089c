//! The kinds of values that secure the connections to the brokers.

use super::{INSECURE, SecurityProtocol, TokenUrl};
use crate::config::Secret;
use crate::config::values::{SettingValue, Value, quoted, shown, text};
use client::sasl::Mechanism;

/// `kafka.security`, with Kafka's own names, too.
pub(in crate::config) fn protocol(setting: &SettingValue) -> Result<SecurityProtocol, String> {
    let wanted = text(setting)?;
    match wanted.to_ascii_lowercase().as_str() {
        "plaintext" => Ok(SecurityProtocol::Plaintext),
        "tls" | "ssl" => Ok(SecurityProtocol::Tls),
        "sasl_plaintext" => Ok(SecurityProtocol::SaslPlaintext),
        "sasl_tls" | "sasl_ssl" => Ok(SecurityProtocol::SaslTls),
        _ => Err(format!(
            "must be \"plaintext\", \"tls\", \"sasl_plaintext\" or \"sasl_tls\" (Kafka's names PLAINTEXT, SSL, \
             SASL_PLAINTEXT and SASL_SSL are understood, too), not {}",
            quoted(&wanted)
        )),
    }
}

/// `kafka.sasl_mechanism`.
pub(in crate::config) fn mechanism(setting: &SettingValue) -> Result<Mechanism, String> {
    let wanted = text(setting)?;
    wanted.parse().map_err(|_| {
        let names = Mechanism::ALL.map(|mechanism| format!("{:?}", mechanism.name())).join(" or ");
        match wanted.as_str() {
            "AWS_MSK_IAM" => format!(
                "must be {names}; Amazon MSK takes its IAM by OAUTHBEARER, too (docs/kafka-security.md)"
            ),
            _ => format!("must be {names}, not {}", quoted(&wanted)),
        }
    })
}

/// `kafka.tls_insecure`: a sentence, as no switch should turn the check off by accident.
pub(in crate::config) fn insecure(setting: &SettingValue) -> Result<bool, String> {
    match text(setting) {
        Ok(sentence) if sentence == INSECURE => Ok(true),
        _ => Err(format!("must be the sentence {INSECURE:?}, or be left out: then certificates are checked")),
    }
}

/// Text that is not empty and holds no control characters.
pub(in crate::config) fn words(setting: &SettingValue) -> Result<String, String> {
    let words = text(setting)?;
    if !words.is_empty() && words.len() <= 1024 && !words.chars().any(char::is_control) {
        return Ok(words);
    }
    Err(format!("must be 1 to 1024 bytes of text without control characters, not {}", quoted(&words)))
}

/// A password. The error does not show it.
pub(in crate::config) fn password(setting: &SettingValue) -> Result<Secret, String> {
    match text(setting) {
        Ok(password) if !password.is_empty() && password.len() <= 64 * 1024 && !password.contains('\0') => {
            Ok(Secret::new(password))
        }
        _ => {
            Err("must be a text that is neither empty nor longer than 64 KiB (its value is not shown)"
                .to_owned())
        }
    }
}

/// The URL of an identity provider: encrypted, unless it is on this machine. No error quotes it: a misspelt
/// one may hold a password.
pub(in crate::config) fn token_url(setting: &SettingValue) -> Result<TokenUrl, String> {
    let example = "must be an address like \"https://login.example.com/oauth2/token\"";
    let refused = || format!("{example} (its value is not shown)");
    let url = text(setting).map_err(|_| refused())?;
    if url.len() > 2048 || url.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Err(refused());
    }
    let (scheme, rest) = url.split_once("://").ok_or_else(refused)?;
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = match authority.strip_prefix('[').and_then(|inner| inner.split_once(']')) {
        Some((address, _)) => address,
        None => authority.split(':').next().unwrap_or_default(),
    };
    if host.is_empty() || authority.contains('@') {
        return Err(format!("{example}, without a user name or password in it"));
    }
    let loopback = matches!(host, "localhost" | "127.0.0.1" | "::1");
    match scheme.to_ascii_lowercase().as_str() {
        "https" => Ok(TokenUrl(url)),
        "http" if loopback => Ok(TokenUrl(url)),
        "http" => Err(format!("{example}: the client's secret is not sent unencrypted to another host")),
        _ => Err(refused()),
    }
}

/// A list of `name=value`, or one text of them with commas.
pub(in crate::config) fn extensions(setting: &SettingValue) -> Result<Vec<(String, String)>, String> {
    let example =
        "must be a list of name=value, for example [\"logicalCluster=lkc-1\", \"identityPoolId=pool-2\"]";
    let pairs: Vec<String> = match &setting.value {
        Value::Text(list) if list.trim().is_empty() => Vec::new(),
        Value::Text(list) => list.split(',').map(|pair| pair.trim().to_owned()).collect(),
        Value::List(list) => list
            .iter()
            .map(|value| text(&SettingValue { value: value.clone(), text: None }))
            .collect::<Result<_, _>>()
            .map_err(|_| example.to_owned())?,
        other => return Err(format!("{example}, not {}", shown(other))),
    };
    let mut extensions: Vec<(String, String)> = Vec::new();
    for pair in pairs {
        let (name, value) =
            pair.split_once('=').ok_or_else(|| format!("{example}; {} is none", quoted(&pair)))?;
        // RFC 7628 section 3.1: names are letters, values printable.
        let legal_name = !name.is_empty() && name.bytes().all(|c| c.is_ascii_alphabetic()) && name != "auth";
        let legal_value = !value.is_empty() && value.bytes().all(|c| (b' '..=b'~').contains(&c));
        if !legal_name || !legal_value {
            return Err(format!("{example}; {} is none", quoted(&pair)));
        }
        if extensions.iter().any(|(known, _)| known == name) {
            return Err(format!("{example}; {name} is there twice"));
        }
        extensions.push((name.to_owned(), value.to_owned()));
    }
    Ok(extensions)
}
