//! Changes of configurations: what AlterConfigs and IncrementalAlterConfigs have in common.
//!
//! The order of the checks is Kafka's: the resource once and each configuration once, a value where there
//! has to be one, the kind and the name of the resource, the configurations, and last whether the topic is
//! there.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::{BROKER, Refusal, TOPIC, refused_by_store};
use crate::node::{NODE_ID, Node};
use crate::request_context::RequestContext;
use crate::topic_config::{self, Kind};
use net::sync::lock;
use protocol::error_code::ErrorCode;
use protocol::topic_name;

/// What becomes of a configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// It gets the value.
    Set,
    /// It gets the broker's value again.
    Delete,
    /// The elements of the value are added to the list.
    Append,
    /// The elements of the value are removed from the list.
    Subtract,
}

/// The change of one configuration.
pub struct Change<'r> {
    /// Its name.
    pub name: &'r str,
    /// What becomes of it; `None` for an operation that is not known.
    pub operation: Option<Operation>,
    /// The value of the request.
    pub value: Option<&'r str>,
}

/// The changes of one topic or node.
pub struct Resource<'r> {
    /// The resource type.
    pub kind: i8,
    /// Its name.
    pub name: &'r str,
    /// The changes.
    pub changes: Vec<Change<'r>>,
}

/// Alters resources, each for itself: its changes are made all or none. With `replace`, configurations that
/// are not named get the broker's value again; with `validate_only`, nothing is changed. A change without an
/// error is durable.
pub fn alter(
    node: &Node,
    context: &RequestContext<'_>,
    resources: &[Resource<'_>],
    replace: bool,
    validate_only: bool,
) -> Vec<Result<(), Refusal>> {
    let mut named: HashMap<(i8, &str), usize> = HashMap::new();
    for resource in resources {
        *named.entry((resource.kind, resource.name)).or_default() += 1;
    }
    let each = resources.iter().map(|resource| {
        if named.get(&(resource.kind, resource.name)) != Some(&1) {
            return invalid("the request names this resource more than once");
        }
        check_changes(&resource.changes)?;
        match resource.kind {
            TOPIC => alter_topic(node, context, resource, replace, validate_only),
            BROKER => alter_broker(resource),
            other => invalid(format!("resources of type {other} have no configuration here")),
        }
    });
    each.collect()
}

fn invalid<T>(why: impl Into<String>) -> Result<T, Refusal> {
    Err((ErrorCode::INVALID_REQUEST, why.into()))
}

fn check_changes(changes: &[Change<'_>]) -> Result<(), Refusal> {
    let mut seen = HashSet::new();
    for Change { name, operation, value } in changes {
        if !seen.insert(name) {
            return invalid(format!("the request names {name} more than once"));
        }
        match operation {
            None => return invalid(format!("{name}: an operation that is not known")),
            Some(Operation::Delete) => {}
            Some(_) if value.is_none() => return invalid(format!("{name}: null is no value")),
            Some(_) => {}
        }
    }
    Ok(())
}

/// The node's configurations are its settings.
fn alter_broker(resource: &Resource<'_>) -> Result<(), Refusal> {
    if !resource.name.is_empty() && resource.name != NODE_ID.to_string() {
        return invalid(format!("there is no node {:?}, only node {NODE_ID}", resource.name));
    }
    if resource.changes.is_empty() {
        return Ok(());
    }
    let names: Vec<&str> = resource.changes.iter().map(|change| change.name).collect();
    invalid(format!("{}: the embedded broker takes this from its settings alone", names.join(", ")))
}

fn alter_topic(
    node: &Node,
    context: &RequestContext<'_>,
    resource: &Resource<'_>,
    replace: bool,
    validate_only: bool,
) -> Result<(), Refusal> {
    let name = resource.name;
    if name.is_empty() {
        return invalid("there are no configurations of all topics together");
    }
    topic_name::check(name).map_err(|why| (ErrorCode::INVALID_TOPIC_EXCEPTION, why.to_owned()))?;
    // What a list becomes depends on what it is, so there is one change at a time.
    let _alone = lock(&node.config_changes);
    let topic = node.store.topic(name);
    let before = topic.as_ref().map(|topic| (*topic.configs).clone()).unwrap_or_default();
    let after = changed(node, &before, &resource.changes, replace);
    let after = after.map_err(|why| (ErrorCode::INVALID_CONFIG, why))?;
    if topic.is_none() {
        return Err((ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, format!("there is no topic {name}")));
    }
    if validate_only || after == before {
        return Ok(());
    }
    let after = after.into_iter().map(|(name, value)| (name, Some(value))).collect();
    node.store.alter_topic(name, after, true).wait().map_err(|code| refused_by_store(name, code))?;
    log::info!("the configurations of topic {name} are altered, as {} asks", context.peer);
    Ok(())
}

/// The configurations after the changes.
fn changed(
    node: &Node,
    before: &BTreeMap<String, String>,
    changes: &[Change<'_>],
    replace: bool,
) -> Result<BTreeMap<String, String>, String> {
    let mut configs = if replace { BTreeMap::new() } else { before.clone() };
    for Change { name, operation, value } in changes {
        let value = value.unwrap_or_default();
        let value = match operation {
            Some(Operation::Set) => topic_config::normal_form(name, value)?,
            Some(operation @ (Operation::Append | Operation::Subtract)) => {
                let list = changed_list(node, &configs, name, value, *operation)?;
                topic_config::normal_form(name, &list)?
            }
            Some(Operation::Delete) | None => {
                configs.remove(*name);
                continue;
            }
        };
        configs.insert((*name).to_owned(), value);
    }
    topic_config::check_together(&configs)?;
    Ok(configs)
}

fn changed_list(
    node: &Node,
    configs: &BTreeMap<String, String>,
    name: &str,
    value: &str,
    operation: Operation,
) -> Result<String, String> {
    let definition = topic_config::definition(name).filter(|definition| definition.kind == Kind::List);
    let definition = definition.ok_or_else(|| format!("{name} is no list that could grow or shrink"))?;
    let default;
    let list = match configs.get(name) {
        Some(list) => list,
        None => {
            default = topic_config::default_of(definition, &node.settings).0;
            &default
        }
    };
    let (mut list, value) = (topic_config::elements(list), topic_config::elements(value));
    match operation {
        Operation::Subtract => list.retain(|element| !value.contains(element)),
        _ => list.extend(value),
    }
    Ok(list.join(","))
}
