//! `[[topics]]`: the topics that are to exist. They stand in the file alone: a variable or an option is one
//! value.

use std::collections::BTreeMap;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::values::{
    MOST_PARTITIONS, SettingValue, Value, number, replication_factor, shown, topic, value_of,
};
use crate::text::closest;

/// The name of the list in the file.
pub(super) const TOPICS: &str = "topics";

/// The most topics that are declared.
const MOST: usize = 1_000;

const KEYS: [&str; 4] = ["name", "partitions", "replication_factor", "config"];

/// A topic that is to exist.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicSection {
    /// Its name.
    pub name: String,
    /// Its partitions; unset: as the brokers have it.
    pub partitions: Option<i32>,
    /// Replicas of each partition; -1: as the brokers have it.
    pub replication_factor: i16,
    /// The configurations that it has of its own.
    pub config: BTreeMap<String, String>,
}

/// What is wrong, and where in the file that stands: at this byte.
pub(super) type Fault = (usize, String);

/// The topics of the file's list.
///
/// # Errors
/// A key or a value that is not legal, or a topic that stands there twice.
pub(super) fn read(list: &Spanned<DeValue<'_>>) -> Result<Vec<TopicSection>, Fault> {
    let at = list.span().start;
    let DeValue::Array(tables) = list.get_ref() else {
        return Err((at, "topics: must be a list of tables, each under [[topics]]".to_owned()));
    };
    let mut topics: Vec<TopicSection> = Vec::new();
    for table in tables.iter() {
        let at = table.span().start;
        let DeValue::Table(keys) = table.get_ref() else {
            return Err((at, "topics: must be a list of tables, each under [[topics]]".to_owned()));
        };
        let topic = section(at, keys)?;
        if topics.iter().any(|other| other.name == topic.name) {
            return Err((at, format!("topics.name: {} stands in another [[topics]], too", topic.name)));
        }
        topics.push(topic);
        if topics.len() > MOST {
            return Err((at, format!("topics: more than {MOST} are too many")));
        }
    }
    Ok(topics)
}

fn section(at: usize, keys: &DeTable<'_>) -> Result<TopicSection, Fault> {
    let mut found = TopicSection {
        name: String::new(),
        partitions: None,
        replication_factor: -1,
        config: BTreeMap::new(),
    };
    for (key, value) in keys {
        let (at, key) = (key.span().start, &**key.get_ref());
        let setting = SettingValue { value: value_of(value), text: None };
        let put = match key {
            "name" => topic(&setting).map(|name| found.name = name),
            "partitions" => number(&setting, 1..=MOST_PARTITIONS).map(|count| found.partitions = Some(count)),
            "replication_factor" => {
                replication_factor(&setting).map(|factor| found.replication_factor = factor)
            }
            "config" => configs(value).map(|configs| found.config = configs),
            other => Err(unknown(other)),
        };
        put.map_err(|sentence| (at, format!("topics.{key}: {sentence}")))?;
    }
    match found.name.is_empty() {
        true => Err((at, "topics.name: each of [[topics]] must have a name".to_owned())),
        false => Ok(found),
    }
}

fn unknown(key: &str) -> String {
    let meant = closest(key, KEYS).map(|word| format!(" (did you mean {word}?)")).unwrap_or_default();
    format!("unknown key{meant}; [[topics]] has {}", KEYS.join(", "))
}

/// A table of configurations: texts, or numbers, true and false without quotes.
fn configs(value: &Spanned<DeValue<'_>>) -> Result<BTreeMap<String, String>, String> {
    let DeValue::Table(table) = value.get_ref() else {
        let example = "must be a table such as { \"retention.ms\" = 86400000 }";
        return Err(format!("{example}, not {}", shown(&value_of(value))));
    };
    let mut configs = BTreeMap::new();
    for (name, value) in table {
        let name = name.get_ref();
        let text = match value_of(value) {
            Value::Text(text) => text,
            Value::Integer(number) => number.to_string(),
            Value::Fraction(number) => number.to_string(),
            Value::Boolean(value) => value.to_string(),
            Value::Other(_) if matches!(value.get_ref(), DeValue::Table(_)) => {
                return Err(format!("{name} must be in quotes, as names with dots are: \"{name}.…\" = …"));
            }
            other => return Err(format!("{name} must be text or a number, not {}", shown(&other))),
        };
        configs.insert(name.to_string(), text);
    }
    Ok(configs)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topics(text: &str) -> Result<Vec<TopicSection>, String> {
        let document = DeTable::parse(text).unwrap();
        let (_, list) = document.get_ref().iter().find(|(key, _)| &**key.get_ref() == TOPICS).unwrap();
        read(list).map_err(|(at, sentence)| format!("{}: {sentence}", &text[at..].lines().next().unwrap()))
    }

    #[test]
    fn a_topic_has_a_name_and_what_is_said_of_it() {
        let text = "[[topics]]\nname = \"audit\"\npartitions = 3\nreplication_factor = 2\n\
                    config = { \"retention.ms\" = -1, \"cleanup.policy\" = \"compact\", \"preallocate\" = true }\n\
                    [[topics]]\nname = \"plain\"\n";
        let configs = [("retention.ms", "-1"), ("cleanup.policy", "compact"), ("preallocate", "true")];
        let audit = TopicSection {
            name: "audit".to_owned(),
            partitions: Some(3),
            replication_factor: 2,
            config: configs.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
        };
        let plain = TopicSection {
            name: "plain".to_owned(),
            partitions: None,
            replication_factor: -1,
            config: BTreeMap::new(),
        };
        assert_eq!(topics(text), Ok(vec![audit, plain]));
    }

    #[test]
    fn what_is_wrong_is_told_with_its_key() {
        let said = |text: &str| topics(text).unwrap_err();
        for (text, part) in [
            ("topics = 1", "must be a list of tables"),
            ("topics = [1]", "must be a list of tables"),
            ("[[topics]]\npartitions = 1", "topics.name: each of [[topics]] must have a name"),
            ("[[topics]]\nname = \"a b\"", "topics.name: must be 1 to 245 letters"),
            ("[[topics]]\nname = \"a\"\npartitions = 0", "topics.partitions: must be a whole number from 1"),
            ("[[topics]]\nname = \"a\"\npartition = 1", "did you mean partitions?"),
            ("[[topics]]\nname = \"a\"\nconfig = 1", "topics.config: must be a table"),
            ("[[topics]]\nname = \"a\"\nconfig.retention.ms = 1", "must be in quotes"),
            ("[[topics]]\nname = \"a\"\n[[topics]]\nname = \"a\"", "stands in another [[topics]], too"),
        ] {
            assert!(said(text).contains(part), "{text}: {}", said(text));
        }
    }
}
