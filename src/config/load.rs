//! The loading of settings: the command line overrides the environment, which overrides the file.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use toml::de::{DeTable, DeValue};

use super::Settings;
use super::keys::{FORMER_KEYS, KEYS, Put, SECRETS};
use super::security::{Secured, secure};
use super::together::check_together;
use super::topic_sections::{self, TOPICS};
use super::values::{SettingValue, Value, value_of};
use crate::text::{closest, escape_whole};

/// The file that is read when none is named and it exists.
const DEFAULT_FILE: &str = "config.toml";

/// The prefix of environment variables for settings: `POINT_TO_POINT__SECTION__KEY`.
const VARIABLE_PREFIX: &str = "POINT_TO_POINT__";

/// An error in the settings: one line with the source of the value (the file's line, the variable, the
/// option), the key, and the legal values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError(String);

impl ConfigError {
    fn new(text: impl fmt::Display) -> ConfigError {
        // Debug quoting has already escaped values. Other outside text, such as a key, must not break the
        // line.
        let text = text.to_string();
        if text.chars().any(char::is_control) {
            return ConfigError(escape_whole(text.as_bytes()).to_string());
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

/// Loads the settings of this process. `overrides` (`section.key=value`) override the environment, which
/// overrides `file` (or `config.toml` in the working directory where it exists), which overrides the
/// defaults. A variable or override that does not parse as TOML is text.
///
/// # Errors
/// `file` cannot be read, a key or section is unknown, or a value is not legal.
pub fn load(file: Option<&Path>, overrides: &[String]) -> Result<Settings, ConfigError> {
    let default = Path::new(DEFAULT_FILE);
    let file = file.or_else(|| default.exists().then_some(default));
    load_from(file, std::env::vars_os(), overrides)
}

/// Loads the settings for a user of the library. `overrides` (`section.key=value`) override the environment,
/// which is read only if `environment` is set, and which overrides `file`, which overrides the defaults.
///
/// # Errors
/// As [`load`].
pub fn load_sources(
    file: Option<&Path>,
    environment: bool,
    overrides: &[String],
) -> Result<Settings, ConfigError> {
    let variables = environment.then(std::env::vars_os).into_iter().flatten();
    load_from(file, variables, overrides)
}

fn load_from(
    file: Option<&Path>,
    variables: impl Iterator<Item = (OsString, OsString)>,
    overrides: &[String],
) -> Result<Settings, ConfigError> {
    let mut reader = Reader::default();
    if let Some(path) = file {
        reader.take_file(path)?;
    }
    reader.take_variables(variables)?;
    for setting in overrides {
        reader.take_override(setting)?;
    }
    reader.finish()
}

/// The source of a value.
enum Origin {
    Line(String, usize),
    Variable(String),
    Override,
    Default,
}

impl Origin {
    /// The rank: a source overrides those of lower rank.
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

#[derive(Default)]
struct Reader {
    settings: Settings,
    /// The last source of each key, for errors of the final check.
    origins: HashMap<&'static str, Origin>,
    /// For keys with a former name: the name that was used, and its source.
    spelled: HashMap<&'static str, (String, String)>,
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
            if &**section == TOPICS {
                self.settings.topics = topic_sections::read(value).map_err(|(place, sentence)| {
                    ConfigError::new(format_args!("{}: {sentence}", at(place)))
                })?;
                continue;
            }
            let DeValue::Table(keys) = value.get_ref() else {
                let help = format!("belongs under one of the sections {}", sections().join(", "));
                return Err(ConfigError::new(format_args!("{origin}: {section}: {help}")));
            };
            if !sections().contains(&&**section) {
                return Err(unknown(&origin, section));
            }
            for (key, value) in keys {
                let setting = SettingValue { value: value_of(value), text: None };
                self.put(&format!("{section}.{}", key.get_ref()), &setting, at(key.span().start))?;
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
            self.put(&key, &of_variable(&key, value), origin)?;
        }
        Ok(())
    }

    fn take_override(&mut self, assignment: &str) -> Result<(), ConfigError> {
        let Some((key, value)) = assignment.split_once('=') else {
            // Only characters of a key are shown: after a typing error the rest could be a secret.
            let key: String = assignment
                .chars()
                .take_while(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_'))
                .collect();
            return Err(ConfigError::new(format_args!("--set {key}: must be section.key=value")));
        };
        self.put(key.trim(), &parsed(value.to_owned()), Origin::Override)
    }

    fn put(&mut self, key: &str, setting: &SettingValue, origin: Origin) -> Result<(), ConfigError> {
        let former = FORMER_KEYS.iter().find(|(former, _)| *former == key);
        let today = former.map_or(key, |(_, today)| today);
        let Some((name, put)) = KEYS.iter().find(|(name, _)| *name == today) else {
            return Err(unknown(&origin, key));
        };
        self.check_spelling(name, key, &origin)?;
        if let Some((secret, file)) = SECRETS.iter().find(|(secret, _)| secret == name)
            && !matches!(origin, Origin::Variable(_))
        {
            return Err(only_from_the_environment(&origin, secret, file));
        }
        let put: &Put = put;
        put(&mut self.settings, setting)
            .map_err(|sentence| ConfigError::new(format_args!("{origin}: {key}: {sentence}")))?;
        self.origins.insert(name, origin);
        Ok(())
    }

    /// # Errors
    /// The key `name` was set before under its other name.
    fn check_spelling(
        &mut self,
        name: &'static str,
        spelled: &str,
        origin: &Origin,
    ) -> Result<(), ConfigError> {
        if !FORMER_KEYS.iter().any(|(_, today)| *today == name) {
            return Ok(());
        }
        let used = (spelled.to_owned(), origin.to_string());
        match self.spelled.insert(name, used) {
            Some((other, place)) if other != spelled => Err(ConfigError::new(format_args!(
                "{origin}: {spelled}: {other} is set, too ({place}), and both name one setting: remove the one in \
                 [producer_api]"
            ))),
            _ => Ok(()),
        }
    }

    /// Checks the rules between keys. The error names the key whose source has the higher rank.
    fn finish(mut self) -> Result<Settings, ConfigError> {
        let origin = |key: &str| self.origins.get(key).unwrap_or(&Origin::Default);
        check_together(&self.settings).map_err(|[first, second]| {
            let second_is_later = origin(second.0).rank() > origin(first.0).rank();
            let (key, sentence) = if second_is_later { second } else { first };
            ConfigError::new(format_args!("{}: {key}: {sentence}", origin(key)))
        })?;
        let secured = secure(&self.settings.kafka.security).map_err(|sentence| {
            let key = sentence.split(':').next().unwrap_or_default();
            ConfigError::new(format_args!("{}: {sentence}", origin(key)))
        })?;
        self.settings.kafka.security.secured = Secured(Arc::new(secured));
        Ok(self.settings)
    }
}

/// The error for a secret in a place that other users can read.
fn only_from_the_environment(origin: &Origin, secret: &str, file: &str) -> ConfigError {
    let variable = secret.to_ascii_uppercase().replacen('.', "__", 1);
    ConfigError::new(format_args!(
        "{origin}: {secret}: is not taken from here, where others may read it: set the environment variable \
         {VARIABLE_PREFIX}{variable}, or {file} to a file that you alone can read"
    ))
}

fn unknown(origin: &Origin, key: &str) -> ConfigError {
    let (section, word) = key.split_once('.').unwrap_or((key, ""));
    let meant = |word, known: &[&'static str]| {
        closest(word, known.iter().copied())
            .map(|word| format!(" (did you mean {word}?)"))
            .unwrap_or_default()
    };
    let in_section: Vec<&str> = KEYS
        .iter()
        .filter_map(|(name, _)| name.split_once('.'))
        .filter(|(of, _)| *of == section)
        .map(|(_, name)| name)
        .collect();
    if in_section.is_empty() {
        let (meant, all) = (meant(section, &sections()), sections().join(", "));
        return ConfigError::new(format_args!(
            "{origin}: {key}: unknown section{meant}; the sections are {all}"
        ));
    }
    let (meant, all) = (meant(word, &in_section), in_section.join(", "));
    ConfigError::new(format_args!("{origin}: {key}: unknown key{meant}; [{section}] has {all}"))
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
/// The value of a variable. That of a secret is its text to the letter: quotes belong to it.
fn of_variable(key: &str, text: String) -> SettingValue {
    match SECRETS.iter().any(|(secret, _)| *secret == key) {
        true => SettingValue { value: Value::Text(text), text: None },
        false => parsed(text),
    }
}

fn parsed(text: String) -> SettingValue {
    let value = DeValue::parse(text.trim()).ok().map(|value| value_of(&value));
    SettingValue { value: value.unwrap_or_else(|| Value::Text(text.clone())), text: Some(text) }
}

#[cfg(test)]
mod queue_tests;
#[cfg(test)]
mod security_tests;
#[cfg(test)]
mod tests;
