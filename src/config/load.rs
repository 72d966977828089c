//! Reading the settings: the file, over it the environment, over that the command line.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fmt;
use std::path::Path;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::Settings;
use super::keys::{API_TOKEN, KEYS, Put};
use super::together::check_together;
use super::values::{Given, Value};
use crate::logging::escaped_whole;

/// The file that is read when none is named and it exists.
const DEFAULT_FILE: &str = "config.toml";

/// What the names of our environment variables start with: `POINT_TO_POINT__SECTION__KEY`.
const VARIABLE_PREFIX: &str = "POINT_TO_POINT__";

/// What is said of a secret in a place where others can read it.
const ONLY_FROM_THE_ENVIRONMENT: &str = "is not taken from here, where others may read it: set the environment variable \
     POINT_TO_POINT__PRODUCER_API__TOKEN, or producer_api.token_file to a file that you alone can read";

/// Settings that cannot be used: one line that names where the value came from (the file's line, the
/// variable, the option), the key, and what would be right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError(String);

impl ConfigError {
    fn new(text: impl fmt::Display) -> ConfigError {
        // Debug quoting has already escaped values; this keeps what else came from outside on one line.
        let text = text.to_string();
        if text.chars().any(char::is_control) {
            return ConfigError(escaped_whole(text.as_bytes()).to_string());
        }
        ConfigError(text)
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ConfigError {}

/// Reads the settings of this process: the defaults, over them `file` (or `config.toml` in the working
/// directory where it exists), over it the environment, over that `overrides` (`section.key=value`). A value
/// of the latter two that does not parse as TOML is text.
///
/// # Errors
/// When `file` cannot be read, a key or section is unknown, or a value is not legal.
pub fn load(file: Option<&Path>, overrides: &[String]) -> Result<Settings, ConfigError> {
    load_from(file, std::env::vars_os(), overrides)
}

fn load_from(
    file: Option<&Path>,
    variables: impl Iterator<Item = (OsString, OsString)>,
    overrides: &[String],
) -> Result<Settings, ConfigError> {
    let mut reader = Reader { settings: Settings::default(), origins: HashMap::new() };
    match file {
        Some(path) => reader.take_file(path)?,
        None if Path::new(DEFAULT_FILE).exists() => reader.take_file(Path::new(DEFAULT_FILE))?,
        None => {}
    }
    reader.take_variables(variables)?;
    for given in overrides {
        reader.take_override(given)?;
    }
    reader.finish()
}

/// Where a value came from.
enum Origin {
    Line(String, usize),
    Variable(String),
    Override,
    Default,
}

impl Origin {
    /// What comes over what.
    fn rank(&self) -> u8 {
        match self {
            Origin::Default => 0,
            Origin::Line(..) => 1,
            Origin::Variable(_) => 2,
            Origin::Override => 3,
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Line(file, line) => write!(f, "{file} line {line}"),
            Origin::Variable(name) => write!(f, "environment variable {name}"),
            Origin::Override => f.write_str("--set"),
            Origin::Default => f.write_str("default"),
        }
    }
}

struct Reader {
    settings: Settings,
    /// Who gave each key last, for what is checked at the end.
    origins: HashMap<&'static str, Origin>,
}

impl Reader {
    fn take_file(&mut self, path: &Path) -> Result<(), ConfigError> {
        let name = path.display().to_string();
        let text = std::fs::read_to_string(path)
            .map_err(|e| ConfigError::new(format_args!("the settings file {name} cannot be read: {e}")))?;
        let at = |offset: usize| Origin::Line(name.clone(), line_of(&text, offset));
        let document = DeTable::parse(&text).map_err(|e| {
            let origin = at(e.span().map_or(0, |span| span.start));
            ConfigError::new(format_args!("{origin}: {}", e.message().replace('\n', ", ")))
        })?;
        for (section, value) in document.get_ref() {
            let origin = at(section.span().start);
            let section = section.get_ref();
            let DeValue::Table(keys) = value.get_ref() else {
                let help = format!("belongs under one of the sections {}", sections().join(", "));
                return Err(ConfigError::new(format_args!("{origin}: {section}: {help}")));
            };
            if !sections().contains(&&**section) {
                return Err(unknown(&origin, section));
            }
            for (key, value) in keys {
                let given = Given { value: value_of(value), raw: None };
                self.put(&format!("{section}.{}", key.get_ref()), &given, at(key.span().start))?;
            }
        }
        Ok(())
    }

    fn take_variables(
        &mut self,
        variables: impl Iterator<Item = (OsString, OsString)>,
    ) -> Result<(), ConfigError> {
        let mut ours: Vec<(String, OsString)> = variables
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value)))
            .filter(|(name, _)| name.starts_with(VARIABLE_PREFIX))
            .collect();
        ours.sort();
        for (name, value) in ours {
            let key = name.get(VARIABLE_PREFIX.len()..).unwrap_or_default();
            let key = key.replacen("__", ".", 1).to_ascii_lowercase();
            let origin = Origin::Variable(name);
            let Ok(value) = value.into_string() else {
                return Err(ConfigError::new(format_args!("{origin}: {key}: must be UTF-8")));
            };
            self.put(&key, &parsed(value), origin)?;
        }
        Ok(())
    }

    fn take_override(&mut self, given: &str) -> Result<(), ConfigError> {
        let Some((key, value)) = given.split_once('=') else {
            // Only what can be a key is shown: the rest could be a secret behind a slip of the finger.
            let key: String =
                given.chars().take_while(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_')).collect();
            return Err(ConfigError::new(format_args!("--set {key}: must be section.key=value")));
        };
        self.put(key.trim(), &parsed(value.to_owned()), Origin::Override)
    }

    fn put(&mut self, key: &str, given: &Given, origin: Origin) -> Result<(), ConfigError> {
        let Some((name, put)) = KEYS.iter().find(|(name, _)| *name == key) else {
            return Err(unknown(&origin, key));
        };
        if *name == API_TOKEN && !matches!(origin, Origin::Variable(_)) {
            return Err(ConfigError::new(format_args!("{origin}: {name}: {ONLY_FROM_THE_ENVIRONMENT}")));
        }
        let put: &Put = put;
        put(&mut self.settings, given)
            .map_err(|sentence| ConfigError::new(format_args!("{origin}: {name}: {sentence}")))?;
        self.origins.insert(name, origin);
        Ok(())
    }

    /// Checks what keys demand of each other. To blame is the one that was given last: over a default, over
    /// what the file says.
    fn finish(self) -> Result<Settings, ConfigError> {
        check_together(&self.settings).map_err(|[first, second]| {
            let origin = |key| self.origins.get(key).unwrap_or(&Origin::Default);
            let second_is_later = origin(second.0).rank() > origin(first.0).rank();
            let (key, sentence) = if second_is_later { second } else { first };
            ConfigError::new(format_args!("{}: {key}: {sentence}", origin(key)))
        })?;
        Ok(self.settings)
    }
}

fn unknown(origin: &Origin, key: &str) -> ConfigError {
    let section = key.split('.').next().unwrap_or_default();
    let in_section: Vec<&str> = KEYS
        .iter()
        .filter_map(|(name, _)| name.split_once('.'))
        .filter(|(of, _)| *of == section)
        .map(|(_, name)| name)
        .collect();
    if in_section.is_empty() {
        let all = sections().join(", ");
        return ConfigError::new(format_args!("{origin}: {key}: unknown section; the sections are {all}"));
    }
    let all = in_section.join(", ");
    ConfigError::new(format_args!("{origin}: {key}: unknown key; [{section}] has {all}"))
}

fn sections() -> Vec<&'static str> {
    let mut sections: Vec<_> = KEYS.iter().filter_map(|(name, _)| Some(name.split_once('.')?.0)).collect();
    sections.dedup();
    sections
}

fn line_of(text: &str, offset: usize) -> usize {
    1 + text.bytes().take(offset).filter(|byte| *byte == b'\n').count()
}

/// A value of a variable or an option: TOML, with white space around it or without, or else text.
fn parsed(raw: String) -> Given {
    let value = DeValue::parse(raw.trim()).ok().map(|value| value_of(&value));
    Given { value: value.unwrap_or_else(|| Value::Text(raw.clone())), raw: Some(raw) }
}

fn value_of(value: &Spanned<DeValue<'_>>) -> Value {
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

#[cfg(test)]
mod tests;
