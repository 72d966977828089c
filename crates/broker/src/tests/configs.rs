//! Configurations of topics and of the node: CreateTopics, DescribeConfigs, AlterConfigs and
//! IncrementalAlterConfigs.

use std::collections::BTreeMap;

use kafka_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use kafka_protocol::messages::create_topics_response::CreatableTopicResult;
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::describe_configs_response::DescribeConfigsResult;
use kafka_protocol::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use kafka_protocol::messages::{
    AlterConfigsRequest, CreateTopicsRequest, DescribeConfigsRequest, IncrementalAlterConfigsRequest,
    alter_configs_request,
};

use super::client::{Client, text, topic_name};
use super::{Fixture, Folder, settings};
use crate::{Broker, BrokerSettings};
use protocol::error_code::ErrorCode;

pub const TOPIC: i8 = 2;
const BROKER: i8 = 4;
const SET: i8 = 0;
const DELETE: i8 = 1;
const APPEND: i8 = 2;
const SUBTRACT: i8 = 3;

fn topic(name: &str, configs: &[(&str, Option<&str>)]) -> CreatableTopic {
    let config = |(name, value): &(&str, Option<&str>)| {
        CreatableTopicConfig::default().with_name(text(name)).with_value(value.map(text))
    };
    CreatableTopic::default()
        .with_name(topic_name(name))
        .with_num_partitions(1)
        .with_replication_factor(1)
        .with_configs(configs.iter().map(config).collect())
}

fn create(client: &mut Client, topic: CreatableTopic, validate_only: bool) -> CreatableTopicResult {
    let request = CreateTopicsRequest::default().with_topics(vec![topic]).with_validate_only(validate_only);
    client.call(7, &request).topics.remove(0)
}

fn describe(client: &mut Client, kind: i8, name: &str, keys: Option<&[&str]>) -> DescribeConfigsResult {
    let resource = DescribeConfigsResource::default()
        .with_resource_type(kind)
        .with_resource_name(text(name))
        .with_configuration_keys(keys.map(|keys| keys.iter().map(|key| text(key)).collect()));
    let request =
        DescribeConfigsRequest::default().with_resources(vec![resource]).with_include_synonyms(true);
    client.call(4, &request).results.remove(0)
}

/// The configurations that a topic has set for itself.
fn own(client: &mut Client, name: &str) -> BTreeMap<String, String> {
    let described = describe(client, TOPIC, name, None);
    assert_eq!(described.error_code, 0);
    let own = described.configs.into_iter().filter(|config| config.config_source == 1);
    own.map(|config| (config.name.to_string(), config.value.unwrap().to_string())).collect()
}

fn expected(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// A change: kind and name of the resource, configuration, operation, value.
type Change<'a> = (i8, &'a str, &'a str, i8, Option<&'a str>);

/// A request with a resource for each change.
pub fn incremental(changes: &[Change<'_>]) -> IncrementalAlterConfigsRequest {
    let resource = |(kind, resource, name, operation, value): &Change<'_>| {
        let config = AlterableConfig::default()
            .with_name(text(name))
            .with_config_operation(*operation)
            .with_value(value.map(text));
        AlterConfigsResource::default()
            .with_resource_type(*kind)
            .with_resource_name(text(resource))
            .with_configs(vec![config])
    };
    IncrementalAlterConfigsRequest::default().with_resources(changes.iter().map(resource).collect())
}

/// A request that gives each topic this one configuration, with the value 1000.
pub fn alter_configs(topics: &[(&str, &str)]) -> AlterConfigsRequest {
    let resource = |(topic, name): &(&str, &str)| {
        let config = alter_configs_request::AlterableConfig::default()
            .with_name(text(name))
            .with_value(Some(text("1000")));
        alter_configs_request::AlterConfigsResource::default()
            .with_resource_type(TOPIC)
            .with_resource_name(text(topic))
            .with_configs(vec![config])
    };
    AlterConfigsRequest::default().with_resources(topics.iter().map(resource).collect())
}

fn alter(client: &mut Client, change: Change<'_>) -> ErrorCode {
    let answer = client.call(1, &incremental(&[change]));
    let result = &answer.responses[0];
    assert_eq!((result.resource_type, result.resource_name.as_str()), (change.0, change.1));
    assert_eq!(result.error_message.is_some(), result.error_code != 0);
    ErrorCode(result.error_code)
}

#[test]
fn a_topic_is_created_with_its_own_configurations_and_keeps_them() {
    let folder = Folder::new();
    let broker = Broker::start(settings(&folder, "127.0.0.1:0")).unwrap();
    let mut client = Client::connect(broker.address());
    let asked =
        topic("t", &[("retention.ms", Some(" 3600000")), ("cleanup.policy", Some("compact,compact"))]);
    let only_checked = create(&mut client, asked.clone(), true);
    assert_eq!(only_checked.error_code, 0);
    assert_eq!(
        ErrorCode(describe(&mut client, TOPIC, "t", None).error_code),
        ErrorCode::UNKNOWN_TOPIC_OR_PARTITION
    );
    let created = create(&mut client, asked, false);
    for result in [&only_checked, &created] {
        let configs = result.configs.as_ref().unwrap();
        let find = |name: &str| configs.iter().find(|config| config.name.as_str() == name).unwrap();
        let row =
            |name| (find(name).value.as_deref().unwrap(), find(name).config_source, find(name).read_only);
        assert_eq!(row("retention.ms"), ("3600000", 1, false));
        assert_eq!(row("cleanup.policy"), ("compact", 1, false));
        assert_eq!(row("segment.bytes"), ("1073741824", 5, false));
    }
    let set = expected(&[("retention.ms", "3600000"), ("cleanup.policy", "compact")]);
    assert_eq!(own(&mut client, "t"), set);
    broker.stop();
    let broker = Broker::start(settings(&folder, "127.0.0.1:0")).unwrap();
    assert_eq!(own(&mut Client::connect(broker.address()), "t"), set);
    broker.stop();
}

#[test]
fn checks_of_a_topic_to_be_created_come_in_kafkas_order() {
    let broker = Fixture::new();
    let mut client = broker.client();
    client.create_topic("there");
    let bad = [("no.such", Some("1"))];
    let mut code = |topic: CreatableTopic| {
        let result = create(&mut client, topic, false);
        assert!(result.error_message.is_some());
        ErrorCode(result.error_code)
    };
    // An existing topic is told of whatever else is asked for.
    let exists = ErrorCode::TOPIC_ALREADY_EXISTS;
    assert_eq!(code(topic("there", &bad)), exists);
    assert_eq!(code(topic("there", &[("cleanup.policy", Some("compact"))])), exists);
    assert_eq!(code(topic("there", &[]).with_replication_factor(3)), exists);
    assert_eq!(code(topic("there", &[]).with_num_partitions(0)), exists);
    // A wrong configuration comes before a wrong number of partitions or replicas, and after a wrong name.
    assert_eq!(code(topic("x", &bad).with_num_partitions(0)), ErrorCode::INVALID_CONFIG);
    assert_eq!(code(topic("x", &bad).with_replication_factor(3)), ErrorCode::INVALID_CONFIG);
    assert_eq!(code(topic("x y", &bad)), ErrorCode::INVALID_TOPIC_EXCEPTION);
    assert_eq!(code(topic("x", &[("retention.ms", Some("-2"))])), ErrorCode::INVALID_CONFIG);
    assert_eq!(code(topic("x", &[("retention.ms", None)])), ErrorCode::INVALID_CONFIG);
    let twice = [("retention.ms", Some("1")), ("retention.ms", Some("1"))];
    assert_eq!(code(topic("x", &twice)), ErrorCode::INVALID_CONFIG);
    let lags = [("min.compaction.lag.ms", Some("100")), ("max.compaction.lag.ms", Some("50"))];
    assert_eq!(code(topic("x", &lags)), ErrorCode::INVALID_CONFIG);
}

#[test]
fn configurations_are_described_whole_or_by_name_with_types_and_synonyms() {
    let broker = Fixture::new();
    let mut client = broker.client();
    client.create_with("a", &[("retention.ms", "7")]);
    let all = describe(&mut client, TOPIC, "a", None);
    assert_eq!((all.error_code, all.configs.len()), (0, 33));
    assert!(all.configs.iter().all(|config| !config.read_only && !config.is_sensitive));
    let one = describe(&mut client, TOPIC, "a", Some(&["retention.ms", "no.such"]));
    let [config] = one.configs.as_slice() else { panic!("{one:?}") };
    assert_eq!((config.name.as_str(), config.value.as_deref()), ("retention.ms", Some("7")));
    assert_eq!((config.config_source, config.config_type), (1, 5));
    let synonyms: Vec<_> = config
        .synonyms
        .iter()
        .map(|synonym| {
            (synonym.name.to_string(), synonym.value.as_deref().unwrap().to_owned(), synonym.source)
        })
        .collect();
    let row = |name: &str, value: &str, source| (name.to_owned(), value.to_owned(), source);
    assert_eq!(synonyms, [row("retention.ms", "7", 1), row("log.retention.ms", "-1", 4)]);
    let code = |client: &mut Client, kind, name| ErrorCode(describe(client, kind, name, None).error_code);
    assert_eq!(code(&mut client, TOPIC, "none"), ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
    assert_eq!(code(&mut client, TOPIC, "no/name"), ErrorCode::INVALID_TOPIC_EXCEPTION);
    assert_eq!(code(&mut client, BROKER, "2"), ErrorCode::INVALID_REQUEST);
    assert_eq!(code(&mut client, 8, "1"), ErrorCode::INVALID_REQUEST);
}

#[test]
fn the_nodes_configurations_are_read_only_and_name_the_address_that_clients_are_told() {
    for (advertised, listeners) in [
        (None, None),
        (Some(("broker.example".to_owned(), 19_092)), Some("PLAINTEXT://broker.example:19092")),
        (Some(("::1".to_owned(), 19_092)), Some("PLAINTEXT://[::1]:19092")),
    ] {
        let folder = Folder::new();
        let settings = settings(&folder, "127.0.0.1:0");
        let broker =
            Broker::start(BrokerSettings { advertised, retention_bytes: Some(5), ..settings }).unwrap();
        let mut client = Client::connect(broker.address());
        let node = describe(&mut client, BROKER, "1", None);
        assert!(node.configs.iter().all(|config| config.read_only));
        let find = |name: &str| {
            let found: Vec<_> = node.configs.iter().filter(|config| config.name.as_str() == name).collect();
            assert_eq!(found.len(), 1, "{name}");
            (found[0].value.as_deref().unwrap(), found[0].config_source)
        };
        let own = format!("PLAINTEXT://{}", broker.address());
        assert_eq!(find("advertised.listeners"), (listeners.unwrap_or(&own), 4));
        assert_eq!(find("log.retention.bytes"), ("5", 4));
        assert_eq!(find("log.cleaner.min.cleanable.ratio"), ("0.5", 5));
        assert_eq!(find("message.max.bytes"), ("1114124", 5));
        assert_eq!(find("node.id"), ("1", 5));
        assert_eq!(describe(&mut client, BROKER, "", None).configs, []);
        broker.stop();
    }
}

#[test]
fn configurations_are_set_removed_and_lists_grow_and_shrink() {
    let broker = Fixture::new();
    let mut client = broker.client();
    client.create_topic("t");
    let policy = "cleanup.policy";
    let throttled = "leader.replication.throttled.replicas";
    type Step<'a> = (&'a str, i8, Option<&'a str>, &'a [(&'a str, &'a str)]);
    let steps: [Step<'_>; 9] = [
        (policy, APPEND, Some("compact"), &[(policy, "delete,compact")]),
        (policy, APPEND, Some("compact"), &[(policy, "delete,compact")]),
        (policy, SUBTRACT, Some("delete,none"), &[(policy, "compact")]),
        (policy, SUBTRACT, Some("compact"), &[(policy, "")]),
        (policy, DELETE, None, &[]),
        (policy, DELETE, Some("what"), &[]),
        ("no.such", DELETE, None, &[]),
        (throttled, APPEND, Some("0:1"), &[(throttled, "0:1")]),
        ("retention.ms", SET, Some("5"), &[(throttled, "0:1"), ("retention.ms", "5")]),
    ];
    for (name, operation, value, after) in steps {
        assert_eq!(alter(&mut client, (TOPIC, "t", name, operation, value)), ErrorCode::NONE);
        assert_eq!(own(&mut client, "t"), expected(after), "{name} {operation} {value:?}");
    }
    let request = incremental(&[(TOPIC, "t", "retention.ms", SET, Some("6"))]).with_validate_only(true);
    assert_eq!(client.call(1, &request).responses[0].error_code, 0);
    assert_eq!(own(&mut client, "t")["retention.ms"], "5");
}

#[test]
fn a_change_that_is_refused_changes_nothing_and_says_why() {
    let broker = Fixture::new();
    let mut client = broker.client();
    client.create_topic("t");
    for (change, code) in [
        ((TOPIC, "t", "no.such", SET, Some("1")), ErrorCode::INVALID_CONFIG),
        ((TOPIC, "t", "retention.ms", SET, Some("x")), ErrorCode::INVALID_CONFIG),
        ((TOPIC, "t", "retention.ms", APPEND, Some("1")), ErrorCode::INVALID_CONFIG),
        ((TOPIC, "t", "no.such", SUBTRACT, Some("1")), ErrorCode::INVALID_CONFIG),
        ((TOPIC, "t", "cleanup.policy", APPEND, Some("bogus")), ErrorCode::INVALID_CONFIG),
        ((TOPIC, "t", "retention.ms", SET, None), ErrorCode::INVALID_REQUEST),
        ((TOPIC, "t", "retention.ms", 4, Some("1")), ErrorCode::INVALID_REQUEST),
        ((TOPIC, "", "retention.ms", SET, Some("1")), ErrorCode::INVALID_REQUEST),
        ((TOPIC, "no/name", "no.such", SET, Some("1")), ErrorCode::INVALID_TOPIC_EXCEPTION),
        ((TOPIC, "none", "no.such", SET, Some("1")), ErrorCode::INVALID_CONFIG),
        ((TOPIC, "none", "retention.ms", SET, Some("1")), ErrorCode::UNKNOWN_TOPIC_OR_PARTITION),
        ((BROKER, "1", "node.id", SET, Some("2")), ErrorCode::INVALID_REQUEST),
        ((BROKER, "", "log.retention.ms", SET, Some("2")), ErrorCode::INVALID_REQUEST),
        ((BROKER, "2", "log.retention.ms", SET, Some("2")), ErrorCode::INVALID_REQUEST),
        ((8, "1", "root", SET, Some("INFO")), ErrorCode::INVALID_REQUEST),
        ((0, "t", "retention.ms", SET, Some("1")), ErrorCode::INVALID_REQUEST),
    ] {
        assert_eq!(alter(&mut client, change), code, "{change:?}");
    }
    // Two changes of one configuration, one of which would be right; and a resource that comes twice.
    let mut twice = incremental(&[(TOPIC, "t", "retention.ms", SET, Some("1"))]);
    let same = twice.resources[0].configs[0].clone();
    twice.resources[0].configs.push(same);
    assert_eq!(ErrorCode(client.call(1, &twice).responses[0].error_code), ErrorCode::INVALID_REQUEST);
    let set = (TOPIC, "t", "retention.ms", SET, Some("1"));
    let answer = client.call(1, &incremental(&[set, (TOPIC, "none", "retention.ms", SET, Some("1")), set]));
    let codes: Vec<_> = answer.responses.iter().map(|result| ErrorCode(result.error_code)).collect();
    let (invalid, unknown) = (ErrorCode::INVALID_REQUEST, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
    assert_eq!(codes, [invalid, unknown, invalid]);
    // One wrong change keeps the others of its topic from being made.
    let mut mixed = incremental(&[set]);
    let wrong = AlterableConfig::default().with_name(text("retention.bytes")).with_value(Some(text("x")));
    mixed.resources[0].configs.push(wrong);
    assert_eq!(ErrorCode(client.call(0, &mixed).responses[0].error_code), ErrorCode::INVALID_CONFIG);
    assert_eq!(own(&mut client, "t"), BTreeMap::new());
}

#[test]
fn the_older_request_replaces_all_configurations_of_a_topic() {
    let broker = Fixture::new();
    let mut client = broker.client();
    client.create_with("t", &[("retention.bytes", "77"), ("cleanup.policy", "compact")]);
    let request = alter_configs(&[("t", "retention.ms")]);
    let checked = client.call(2, &request.clone().with_validate_only(true));
    assert_eq!(checked.responses[0].error_code, 0);
    assert_eq!(own(&mut client, "t").len(), 2);
    assert_eq!(client.call(2, &request).responses[0].error_code, 0);
    assert_eq!(own(&mut client, "t"), expected(&[("retention.ms", "1000")]));
    let answer = client.call(1, &alter_configs(&[("t", "no.such"), ("none", "retention.ms")]));
    let codes: Vec<_> = answer.responses.iter().map(|result| ErrorCode(result.error_code)).collect();
    assert_eq!(codes, [ErrorCode::INVALID_CONFIG, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION]);
    let mut null = alter_configs(&[("t", "retention.ms")]);
    null.resources[0].configs[0].value = None;
    assert_eq!(ErrorCode(client.call(0, &null).responses[0].error_code), ErrorCode::INVALID_REQUEST);
    assert_eq!(own(&mut client, "t"), expected(&[("retention.ms", "1000")]));
}

#[test]
fn lists_that_grow_at_once_lose_nothing() {
    let broker = Fixture::new();
    broker.client().create_topic("t");
    std::thread::scope(|scope| {
        for broker_id in 0..8 {
            let mut client = broker.client();
            scope.spawn(move || {
                let value = format!("0:{broker_id}");
                let change =
                    (TOPIC, "t", "follower.replication.throttled.replicas", APPEND, Some(value.as_str()));
                assert_eq!(alter(&mut client, change), ErrorCode::NONE);
            });
        }
    });
    let list = &own(&mut broker.client(), "t")["follower.replication.throttled.replicas"];
    assert_eq!(list.split(',').count(), 8, "{list}");
}
