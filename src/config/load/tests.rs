use std::path::PathBuf;
use std::time::Duration;

use super::*;
use crate::config::{Compression, check_consumer_name};
use client::group_member::OffsetReset;

/// Reads `text` as the settings file `point.toml` and gives the error's line without the folder.
pub(super) fn read(text: &str, variables: &[(&str, &str)], overrides: &[&str]) -> Result<Settings, String> {
    let folder = Folder::new();
    let path = folder.0.join("point.toml");
    std::fs::write(&path, text).unwrap();
    let variables = variables.iter().map(|(name, value)| (OsString::from(name), OsString::from(value)));
    let overrides: Vec<String> = overrides.iter().map(|s| (*s).to_owned()).collect();
    load_from(Some(&path), variables, &overrides)
        .map_err(|e| e.to_string().replace(&format!("{}/", folder.0.display()), ""))
}

pub(super) fn error(text: &str, variables: &[(&str, &str)], overrides: &[&str]) -> String {
    let error = read(text, variables, overrides).expect_err("these settings must be refused");
    assert!(!error.contains('\n'), "more than one line: {error}");
    error
}

pub(super) struct Folder(pub(super) PathBuf);

impl Folder {
    pub(super) fn new() -> Folder {
        let mut unique = [0; 8];
        getrandom::fill(&mut unique).unwrap();
        let name = format!("point-to-point-config-{:x}", u64::from_ne_bytes(unique));
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path).unwrap();
        Folder(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn the_shipped_file_has_every_key_and_only_defaults() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("config.toml");
    let settings = load_from(Some(&path), std::iter::empty(), &[]).unwrap();
    assert_eq!(settings, Settings::default());
    let text = std::fs::read_to_string(path).unwrap();
    let mut section = "";
    let mut listed = Vec::new();
    for line in text.lines() {
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            section = name;
        }
        // What is unset by default stands there as a comment.
        let key = line.strip_prefix("# ").unwrap_or(line).split_once(" = ").map(|(key, _)| key);
        listed.extend(key.map(|key| format!("{section}.{key}")));
    }
    let keys: Vec<_> = KEYS.iter().map(|(key, _)| *key).collect();
    assert_eq!(listed, keys);
}

#[test]
fn the_environment_wins_over_the_file_and_the_command_line_over_both() {
    let file = "[kafka]\ntopic = \"a\"\npartitions = 1\n[consumer]\ngroup = \"a\"\n";
    let variables =
        [("POINT_TO_POINT__KAFKA__TOPIC", "b"), ("POINT_TO_POINT__KAFKA__PARTITIONS", "2"), ("HOME", "/")];
    let settings = read(file, &variables, &["kafka.partitions=3"]).unwrap();
    assert_eq!(settings.consumer.group(), "a");
    assert_eq!(settings.kafka.topic, "b");
    assert_eq!(settings.kafka.partitions, Some(3));
}

#[test]
fn an_override_that_is_no_toml_is_text() {
    let overrides =
        ["kafka.topic=2024", "kafka.bootstrap_servers=a:1, b:2", "log.file=", "kafka.compression=lz4"];
    let settings = read("", &[], &overrides).unwrap();
    assert_eq!(settings.kafka.topic, "2024");
    assert_eq!(settings.kafka.bootstrap_servers, ["a:1", "b:2"]);
    assert_eq!(settings.log.file, "");
    assert_eq!(settings.kafka.compression, Compression::Lz4);
    let settings = read("", &[], &["kafka.topic=\"x\"", "consumer.auto_offset_reset=latest"]).unwrap();
    assert_eq!(settings.kafka.topic, "x");
    assert_eq!(settings.consumer.auto_offset_reset, OffsetReset::Latest);
}

#[test]
fn an_unknown_key_or_section_is_refused_with_its_place() {
    let line = "point.toml line 3: kafka.topci: unknown key (did you mean topic?); [kafka] has bootstrap_servers, topic, ";
    assert!(error("# names\n[kafka]\ntopci = \"x\"\n", &[], &[]).starts_with(line));
    let line = "point.toml line 2: kafkaa: unknown section (did you mean kafka?); the sections are kafka, embedded, producer, \
                producer_api, consumer, queue, retry, adapter, log";
    assert_eq!(error("\n[kafkaa]\ntopic = \"x\"\n", &[], &[]), line);
    let line = "point.toml line 1: topic: belongs under one of the sections kafka, embedded, ";
    assert!(error("topic = \"x\"\n", &[], &[]).starts_with(line));
    let line =
        "environment variable POINT_TO_POINT__KAFKA__TOPCI: kafka.topci: unknown key (did you mean topic?);";
    assert!(error("", &[("POINT_TO_POINT__KAFKA__TOPCI", "x")], &[]).starts_with(line));
    assert!(error("", &[], &["kafka.topci=x"]).starts_with("--set: kafka.topci: unknown key (did"));
    assert!(error("", &[], &["topci=x"]).starts_with("--set: topci: unknown section;"));
    assert_eq!(error("", &[], &["kafka.topic"]), "--set kafka.topic: must be section.key=value");
}

#[test]
fn a_value_of_the_wrong_type_or_out_of_range_is_refused_with_its_place() {
    let refused = [
        (
            "[kafka]\npartitions = \"4\"",
            "line 2: kafka.partitions: must be a whole number from 1 to 10000, not \"4\"",
        ),
        (
            "[kafka]\npartitions = 0",
            "line 2: kafka.partitions: must be a whole number from 1 to 10000, not 0",
        ),
        ("[kafka]\npartitions = 1.5", "must be a whole number from 1 to 10000, not 1.5"),
        ("[kafka]\nreplication_factor = 0", "from 1 to 1000, not 0; or -1 for the broker's default"),
        ("[kafka]\ncreate_topic = 1", "line 2: kafka.create_topic: must be true or false, not 1"),
        ("[kafka]\ntopic = 5", "line 2: kafka.topic: must be text in quotes, not 5"),
        (
            "[kafka]\ncompression = \"rar\"",
            "must be \"none\" or \"gzip\" or \"snappy\" or \"lz4\" or \"zstd\", not \"rar\"",
        ),
        ("[log]\nlevel = \"loud\"", "line 2: log.level: must be \"off\" or"),
        (
            "[consumer]\ncommit = \"often\"",
            "line 2: consumer.commit: must be \"message\" or \"pipelined\" or \"poll\", not \"often\"",
        ),
        ("[consumer]\nsession_timeout_ms = 5", "from 1000 to 1800000, not 5"),
        ("[producer_api]\nanswer_timeout_ms = 1999", "from 2000 to 100000, not 1999"),
        ("[producer_api]\nmax_body_bytes = 67108865", "from 1 to 67108864, not 67108865"),
    ];
    for (text, line) in refused {
        let error = error(text, &[], &[]);
        assert!(error.starts_with("point.toml line 2: ") && error.contains(line), "{error}");
    }
}

#[test]
fn addresses_must_be_host_and_port() {
    for servers in
        ["", "localhost", "localhost:0", "localhost:70000", ":9092", "a b:1", "::1:9092", "a:1,,b:2"]
    {
        let error = error("", &[], &[&format!("kafka.bootstrap_servers={servers}")]);
        assert!(error.contains("must be one or more host:port"), "{servers}: {error}");
    }
    assert!(error("[kafka]\nbootstrap_servers = [1]", &[], &[]).contains("line 2: kafka.bootstrap_servers"));
    let settings =
        read("", &[], &["kafka.bootstrap_servers=[::1]:9092", "producer_api.listen=localhost:0"]).unwrap();
    assert_eq!(settings.kafka.bootstrap_servers, ["[::1]:9092"]);
    let settings = read("", &[], &["kafka.bootstrap_servers=localhost:9094,9095, 9096"]).unwrap();
    assert_eq!(settings.kafka.bootstrap_servers, ["localhost:9094", "localhost:9095", "localhost:9096"]);
    assert!(error("", &[], &["adapter.listen=19092"]).contains("adapter.listen: must be address:port"));
}

#[test]
fn without_other_brokers_the_embedded_one_is_asked() {
    let defaults = read("", &[], &[]).unwrap();
    assert_eq!(defaults.embedded_broker(), Some(&defaults.embedded));
    assert_eq!(defaults.brokers(), ["127.0.0.1:9092"]);
    let named = read("[kafka]\nbootstrap_servers = [\"a:1\", \"b:2\"]", &[], &[]).unwrap();
    assert_eq!((named.embedded_broker(), named.brokers()), (None, vec!["a:1".to_owned(), "b:2".to_owned()]));
    let back = read("[kafka]\nbootstrap_servers = \"a:1\"", &[], &["kafka.bootstrap_servers=[]"]).unwrap();
    assert!(back.embedded_broker().is_some());
    // A variable that is empty by mistake must not move the messages into a database of their own.
    let empty = ("POINT_TO_POINT__KAFKA__BOOTSTRAP_SERVERS", "");
    assert!(error("", &[empty], &[]).contains("or [] for the embedded broker"));
}

#[test]
fn the_embedded_broker_listens_beyond_this_machine_only_where_that_is_said_in_words() {
    for listen in ["0.0.0.0:9092", "192.168.1.7:9092", "[::]:9092", "broker.example:9092"] {
        let setting = format!("embedded.listen={listen}");
        let refused = error("", &[], &[&setting]);
        assert!(
            refused.starts_with(&format!("--set: embedded.listen: {listen} can be reached")),
            "{refused}"
        );
        assert!(refused.contains("no passwords") && refused.contains("read and write everything"));
        assert!(read("", &[], &[&setting, "embedded.anyone_may_connect=true"]).is_ok());
    }
    for listen in ["127.0.0.1:1", "127.8.0.1:1", "[::1]:1", "localhost:1"] {
        assert!(read("", &[], &[&format!("embedded.listen={listen}")]).is_ok(), "{listen}");
    }
    let file = "[embedded]\nlisten = \"0.0.0.0:9092\"\n";
    let refused = error(file, &[], &["embedded.anyone_may_connect=false"]);
    assert!(refused.starts_with("--set: embedded.anyone_may_connect: must be true"), "{refused}");
    assert!(error("", &[], &["embedded.listen=127.0.0.1:0"]).contains("a port that others can find"));
}

#[test]
fn programs_reach_an_embedded_broker_that_listens_everywhere_over_loopback() {
    for (listen, address) in
        [("0.0.0.0:7", "127.0.0.1:7"), ("[::]:7", "[::1]:7"), ("localhost:7", "localhost:7")]
    {
        let overrides = [&format!("embedded.listen={listen}"), "embedded.anyone_may_connect=true"];
        assert_eq!(read("", &[], &overrides).unwrap().brokers(), [address]);
    }
}

#[test]
fn the_advertised_address_is_one_that_clients_can_connect_to() {
    assert_eq!(read("", &[], &[]).unwrap().embedded.advertised, None);
    for (address, host, port) in [
        ("broker.example:19092", "broker.example", 19_092),
        ("localhost:1", "localhost", 1),
        ("[2001:db8::1]:65535", "2001:db8::1", 65_535),
    ] {
        let settings = read("", &[], &[&format!("embedded.advertised={address}")]).unwrap();
        assert_eq!(settings.embedded.advertised, Some((host.to_owned(), port)));
        // Our own programs keep to the address that the broker listens on.
        assert_eq!(settings.brokers(), ["127.0.0.1:9092"]);
        assert!(!settings.cluster().follows_advertised);
    }
    let long = format!("{}:1", "a".repeat(256));
    for wrong in ["broker.example", "", ":9092", "a:0", "a:65536", "::1:9092", "http://a:1", "a:1,b:2", &long]
    {
        let refused = error("", &[], &[&format!("embedded.advertised={wrong}")]);
        let start = "--set: embedded.advertised: must be host:port that clients can connect to";
        assert!(refused.starts_with(start), "{wrong}: {refused}");
    }
    assert!(error("", &[], &["embedded.advertised=a:0"]).contains("a port from 1 to 65535"));
    for all in ["0.0.0.0:9092", "[::]:9092"] {
        let refused = error("", &[], &[&format!("embedded.advertised={all}")]);
        assert!(refused.contains("means all addresses of a machine"), "{refused}");
    }
    assert!(read("", &[], &["kafka.bootstrap_servers=a:1"]).unwrap().cluster().follows_advertised);
}

#[test]
fn an_endpoint_advertises_a_host_and_a_port() {
    let advertised = |set: &[&str]| read("", &[], set).unwrap().producer_api.advertised;
    assert_eq!(advertised(&[]), None);
    let address = advertised(&["producer_api.advertised=endpoint-1.example:5000"]);
    assert_eq!(address, Some(("endpoint-1.example".to_owned(), 5_000)));
    for wrong in ["endpoint-1.example", "a:0", "http://a:1", "0.0.0.0:5000", "[::]:5000"] {
        let refused = error("", &[], &[&format!("producer_api.advertised={wrong}")]);
        assert!(
            refused.starts_with("--set: producer_api.advertised: must be host:port"),
            "{wrong}: {refused}"
        );
    }
}

#[test]
fn an_allowed_origin_is_one_that_a_browser_can_send() {
    let list =
        r#"["http://localhost:4200","https://app.example","https://[::1]:8443","capacitor://localhost"]"#;
    let settings = read("", &[], &[&format!("producer_api.allowed_origins={list}")]).unwrap();
    let origins = &settings.producer_api.allowed_origins;
    assert_eq!((origins.len(), origins[2].as_str()), (4, "https://[::1]:8443"));
    assert_eq!(settings.endpoint().allowed_origins, *origins);
    let variable = ("POINT_TO_POINT__PRODUCER_API__ALLOWED_ORIGINS", "http://a:1, http://b:2");
    assert_eq!(
        read("", &[variable], &[]).unwrap().producer_api.allowed_origins,
        ["http://a:1", "http://b:2"]
    );
    assert_eq!(read("", &[], &[]).unwrap().producer_api.allowed_origins, [""; 0]);
    for (wrong, fault) in [
        ("*", "has a wildcard"),
        ("https://*.example", "has a wildcard"),
        ("", "has no scheme"),
        ("null", "has no scheme"),
        ("localhost:4200", "has no scheme"),
        ("://a", "has no scheme"),
        ("https://App.example", "has upper case"),
        ("HTTPS://a", "has upper case"),
        ("https://a/", "has a path or a slash at its end"),
        ("https://a/b", "has a path"),
        ("https://a?b", "has a path"),
        ("https://u@a", "names a user"),
        ("https://", "has no host"),
        ("https://a b", "has no host"),
        ("https://\u{e4}.example", "has no host"),
        ("https://[::1", "has no host"),
        ("https://a:", "has no port"),
        ("https://a:0", "has no port"),
        ("https://a:+1", "has no port"),
        ("https://a:65536", "has no port"),
        ("https://a:443", "own port, which browsers leave out"),
        ("http://a:80", "own port, which browsers leave out"),
    ] {
        let text = format!("[producer_api]\nallowed_origins = [{wrong:?}]\n");
        let refused = error(&text, &[], &[]);
        let start =
            "point.toml line 2: producer_api.allowed_origins: must be a list of origins, for example [\"";
        assert!(refused.starts_with(start) && refused.contains(fault), "{wrong}: {refused}");
    }
    assert!(error("[producer_api]\nallowed_origins = [1]", &[], &[]).contains("must be a list of origins"));
    assert!(error("[producer_api]\nallowed_origins = true", &[], &[]).contains("must be a list of origins"));
}

#[test]
fn the_embedded_broker_has_one_replica_of_everything() {
    for (factor, fits) in [("-1", true), ("1", true), ("3", false)] {
        let setting = format!("kafka.replication_factor={factor}");
        assert_eq!(read("", &[], &[&setting]).is_ok(), fits);
        assert!(read("", &[], &[&setting, "kafka.bootstrap_servers=a:1"]).is_ok());
    }
    let refused = error("[kafka]\nreplication_factor = 3", &[], &[]);
    assert!(refused.starts_with("point.toml line 2: kafka.replication_factor: must be 1 or -1"), "{refused}");
}

#[test]
fn an_empty_group_may_be_made_to_wait_for_more_members() {
    let delay = |overrides: &[&str]| {
        read("", &[], overrides).unwrap().broker().map(|broker| broker.initial_rebalance_delay)
    };
    assert_eq!(delay(&[]), Some(Duration::ZERO));
    assert_eq!(delay(&["embedded.initial_rebalance_delay_ms=3000"]), Some(Duration::from_secs(3)));
    for wrong in ["-1", "300001", "3s"] {
        let error = error("", &[], &[&format!("embedded.initial_rebalance_delay_ms={wrong}")]);
        assert!(
            error.contains("initial_rebalance_delay_ms: must be a whole number from 0 to 300000"),
            "{error}"
        );
    }
}

#[test]
fn retention_is_a_number_or_none_and_what_is_kept_free_a_number() {
    let settings = read("", &[], &["embedded.retention_ms=-1", "embedded.retention_bytes=5"]).unwrap();
    assert_eq!((settings.embedded.retention(), settings.embedded.retention_bytes()), (None, Some(5)));
    for wrong in ["0", "-2", "a week", "1.5"] {
        let error = error("", &[], &[&format!("embedded.retention_ms={wrong}")]);
        assert!(error.contains("embedded.retention_ms: must be a whole number from 1 on, or -1 (for ever)"));
    }
    for (text, bytes) in [("0", 0), ("1152921504606846976", 1 << 60)] {
        let settings = read("", &[], &[&format!("embedded.min_free_bytes={text}")]).unwrap();
        assert_eq!(settings.broker().unwrap().min_free_bytes, Some(bytes));
    }
    for wrong in ["-1", "64M", "1.5", "1152921504606846977"] {
        let error = error("", &[], &[&format!("embedded.min_free_bytes={wrong}")]);
        assert!(error.contains("embedded.min_free_bytes: must be a whole number from 0 to"), "{error}");
    }
    assert!(error("", &[], &["embedded.data_dir="]).contains("must be the path of a folder"));
}

#[test]
fn names_must_be_legal_for_kafka() {
    for topic in ["", ".", "..", "a b", "a/b", "ñ", &"x".repeat(246)] {
        assert!(error("", &[], &[&format!("kafka.topic={topic}")]).contains("kafka.topic: must be 1 to 245"));
    }
    for group in ["", "  ", "a\u{7}"] {
        let error = error("", &[], &[&format!("consumer.group={group}")]);
        assert!(error.contains("consumer.group: must be"), "{error}");
    }
    assert_eq!(check_consumer_name("worker-1.a_b"), Ok(()));
    for name in ["", "a b", "a?b=1", "a&b", &"x".repeat(101)] {
        assert!(check_consumer_name(name).is_err());
    }
}

#[test]
fn settings_that_contradict_each_other_are_refused_with_the_place_of_the_one_to_blame() {
    let file = "[consumer]\nsession_timeout_ms = 6000\nheartbeat_interval_ms = 6000\n";
    let line = "point.toml line 3: consumer.heartbeat_interval_ms: must be less than \
                consumer.session_timeout_ms (6000)";
    assert_eq!(error(file, &[], &[]), line);
    let line = "--set: kafka.delivery_timeout_ms: must be at least kafka.request_timeout_ms (30000)";
    assert_eq!(error("", &[], &["kafka.delivery_timeout_ms=200"]), line);
    let file = "[kafka]\nrequest_timeout_ms = 90000\n";
    let line =
        "point.toml line 2: kafka.request_timeout_ms: must be at most kafka.delivery_timeout_ms (60000)";
    assert_eq!(error(file, &[], &[]), line, "the other one is a default");
    let file = "[consumer]\nheartbeat_interval_ms = 6000\n";
    let line = "--set: consumer.session_timeout_ms: must be more than consumer.heartbeat_interval_ms (6000)";
    assert_eq!(error(file, &[], &["consumer.session_timeout_ms=6000"]), line);
}

#[test]
fn a_share_may_be_a_whole_number_or_have_a_fraction() {
    let settings = read("[retry]\nmultiplier = 3\njitter = 0.5\n", &[], &[]).unwrap();
    assert_eq!((settings.retry.multiplier, settings.retry.jitter), (3.0, 0.5));
    assert_eq!(read("", &[], &["retry.multiplier=\"1.5\""]).unwrap().retry.multiplier, 1.5);
    for wrong in ["nan", "inf", "-1", "0.9", "100.1", "twice", "true"] {
        let error = error("", &[], &[&format!("retry.multiplier={wrong}")]);
        assert!(error.contains("retry.multiplier: must be a number from 1 to 100, not "), "{error}");
    }
}

#[test]
fn a_setting_is_read_under_its_former_name_and_refused_under_both() {
    let settings = read("[producer_api]\nqueue_messages = 7\n", &[], &["producer_api.queue_bytes=2000000"]);
    let producer = settings.unwrap().producer;
    assert_eq!((producer.queue_messages, producer.queue_bytes), (7, 2_000_000));
    let both = error("[producer_api]\nqueue_messages = 7\n", &[], &["producer.queue_messages=8"]);
    let line = "--set: producer.queue_messages: producer_api.queue_messages is set, too (point.toml line 2), and both \
                name one setting: remove the one in [producer_api]";
    assert_eq!(both, line);
    let wrong = error("", &[], &["producer_api.queue_messages=0"]);
    assert!(wrong.starts_with("--set: producer_api.queue_messages: must be"), "{wrong}");
}

#[test]
fn numbers_of_variables_and_options_may_have_spaces_and_quotes_around_them() {
    let partitions = ("POINT_TO_POINT__KAFKA__PARTITIONS", " 7\n");
    let overrides = [
        "producer_api.max_connections=\"12\"",
        "kafka.replication_factor=' -1 '",
        "kafka.create_topic= false ",
    ];
    let settings = read("", &[partitions], &overrides).unwrap();
    assert_eq!((settings.kafka.partitions, settings.producer_api.max_connections), (Some(7), 12));
    assert_eq!((settings.kafka.replication_factor, settings.kafka.create_topic), (-1, false));
    assert!(error("", &[], &["kafka.partitions=\"seven\""]).ends_with("not \"seven\""));
}

#[test]
fn unset_the_heartbeat_is_a_tenth_of_the_session_at_most_half_a_second() {
    let interval = |session: &str| {
        let settings = read("", &[], &[&format!("consumer.session_timeout_ms={session}")]).unwrap();
        settings.consumer.heartbeat_interval().as_millis()
    };
    assert_eq!(interval("45000"), 500);
    assert_eq!(interval("3000"), 300);
}

#[test]
fn broken_toml_is_refused_in_one_line_with_its_line() {
    let error = error("[kafka]\ntopic = \"x\n", &[], &[]);
    assert!(error.starts_with("point.toml line 2: "), "{error}");
}

#[test]
fn a_named_file_must_exist() {
    let error = load_from(Some(Path::new("/nowhere/point.toml")), std::iter::empty(), &[]).unwrap_err();
    assert!(error.to_string().starts_with("the settings file /nowhere/point.toml cannot be read"), "{error}");
}

#[test]
fn metrics_are_told_beyond_loopback_only_where_anyone_may_scrape() {
    let settings = load_from(None, std::iter::empty(), &["consumer.metrics_listen=localhost:0".to_owned()]);
    assert_eq!(settings.unwrap().consumer.metrics_listen.as_deref(), Some("localhost:0"));
    let everywhere = "consumer.metrics_listen=0.0.0.0:9100";
    let line = "--set: consumer.metrics_listen: 0.0.0.0:9100 can be reached from elsewhere: metrics have no password, so \
                whoever reaches them sees topics and loads; allow it with consumer.anyone_may_scrape = true";
    assert_eq!(error("", &[], &[everywhere]), line);
    let refused =
        error("[consumer]\nmetrics_listen = \"[::]:0\"\n", &[], &["consumer.anyone_may_scrape=false"]);
    assert!(
        refused.starts_with("--set: consumer.anyone_may_scrape: must be true for consumer."),
        "{refused}"
    );
    assert!(read("", &[], &[everywhere, "consumer.anyone_may_scrape=true"]).is_ok());
}

#[test]
fn a_token_is_never_shown() {
    let settings = read("", &[("POINT_TO_POINT__ADAPTER__TOKEN", "s3cret")], &[]).unwrap();
    assert_eq!(settings.adapter.token.as_ref().unwrap().expose(), "s3cret");
    assert!(!format!("{settings:?}").contains("s3cret"));
    assert!(!error("", &[], &["adapter.token=s3cret!"]).contains("s3cret"));
    for wrong in ["[\"s3cret\"]", "53", "1979-05-27", "{ s3cret = 1 }"] {
        let error = error(&format!("[adapter]\ntoken = {wrong}"), &[], &[]);
        assert_eq!(
            error,
            "point.toml line 2: adapter.token: must be a text of 1 to 200 letters, digits, '.', '_' or '-' \
             (its value is not shown)"
        );
    }
}

const API_TOKEN_VARIABLE: &str = "POINT_TO_POINT__PRODUCER_API__TOKEN";

#[test]
fn the_endpoints_token_comes_from_the_environment_alone_and_is_never_shown() {
    let settings = read("", &[(API_TOKEN_VARIABLE, "s3cret-s3cret-s3")], &[]).unwrap();
    assert_eq!(settings.producer_api.token.as_ref().unwrap().expose(), "s3cret-s3cret-s3");
    assert!(!format!("{settings:?}").contains("s3cret"));
    // Its quotes belong to it.
    for token in ["'s3cret-s3cret-s3'", "\"s3cret-s3cret-s3\""] {
        let settings = read("", &[(API_TOKEN_VARIABLE, token)], &[]).unwrap();
        assert_eq!(settings.producer_api.token.as_ref().unwrap().expose(), token);
    }
    let option = error("", &[], &["producer_api.token=s3cret-s3cret-s3"]);
    let file = error("[producer_api]\ntoken = \"s3cret-s3cret-s3\"\n", &[], &[]);
    for (error, place) in [(option, "--set: "), (file, "point.toml line 2: ")] {
        assert!(error.starts_with(&format!("{place}producer_api.token: is not taken from here")), "{error}");
        assert!(error.contains(API_TOKEN_VARIABLE) && error.contains("producer_api.token_file"), "{error}");
        assert!(!error.contains("s3cret"), "{error}");
    }
    for wrong in
        ["s3cret-s3cret-s", "s3cret s3cret s3cret", "s3cret-ñ-s3cret-s3cret", "", &"s3cret".repeat(50)]
    {
        let error = error("", &[(API_TOKEN_VARIABLE, wrong)], &[]);
        assert!(error.contains("must be 16 to 256 visible ASCII characters"), "{error}");
        assert!(!error.contains("s3cret"), "{error}");
    }
}

#[test]
fn a_token_has_one_place_and_tls_both_its_files() {
    let file = "[producer_api]\ntoken_file = \"t\"\n";
    let line = "environment variable POINT_TO_POINT__PRODUCER_API__TOKEN: producer_api.token: must not be set beside \
                producer_api.token_file: only one of them can hold the token";
    assert_eq!(error(file, &[(API_TOKEN_VARIABLE, "0123456789abcdef")], &[]), line);
    let certificate = error("", &[], &["producer_api.tls_certificate=a"]);
    assert!(certificate.starts_with("--set: producer_api.tls_certificate: needs producer_api.tls_key"));
    let key = error("", &[], &["producer_api.tls_key=a"]);
    assert!(key.starts_with("--set: producer_api.tls_key: needs producer_api.tls_certificate"));
    let client_ca = error("", &[], &["producer_api.tls_client_ca=a"]);
    assert!(
        client_ca.starts_with("--set: producer_api.tls_client_ca: needs producer_api.tls_certificate and")
    );
    let both = ["producer_api.tls_key=a", "producer_api.tls_certificate=a"];
    assert!(read("", &[], &both).is_ok());
    let with_clients = [both[0], both[1], "producer_api.tls_client_ca=a"];
    let without_users = error("[producer_api]\ntoken_file = \"t\"\n", &[], &with_clients);
    assert!(without_users.starts_with("--set: producer_api.tls_client_ca: needs producer_api.users_file: "));
    assert!(read("[producer_api]\nusers_file = \"u\"\n", &[], &with_clients).is_ok());
    assert!(error("", &[], &["producer_api.token_file="]).contains("must be the path of a file, not \"\""));
}
