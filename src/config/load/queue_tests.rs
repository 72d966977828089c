//! The rules of handlers, of their retries and of the work queue.

use super::tests::{error, read};
use crate::consumer::{HandlerMode, Order, Payload, Subscription};

#[test]
fn a_handler_is_a_program_with_its_arguments() {
    let settings = read("", &[], &["consumer.handler=[\"./handle\", \"-v\", \"\"]"]).unwrap();
    assert_eq!(settings.consumer.handler, ["./handle", "-v", ""]);
    for wrong in ["./handle", "[\"\"]", "[1]", "[[\"a\"]]", "[\"a\", \"\\u0000\"]"] {
        let error = error("", &[], &[&format!("consumer.handler={wrong}")]);
        assert!(error.contains("consumer.handler: must be a list of texts, the program and"), "{error}");
    }
}

#[test]
fn a_handlers_time_limit_must_fit_into_max_processing_ms() {
    let handler = "consumer.handler=[\"true\"]";
    assert!(read("", &[], &[handler]).is_ok());
    assert!(read("", &[], &["consumer.handler_timeout_ms=300000"]).is_ok(), "there is no handler");
    assert!(read("", &[], &[handler, "consumer.handler_timeout_ms=225000"]).is_ok());
    let why = "a quarter of it is kept for the dead letter and the commit";
    let long = error("", &[], &[handler, "consumer.handler_timeout_ms=225001"]);
    let line = "--set: consumer.handler_timeout_ms: is too long for consumer.max_processing_ms (300000)";
    assert_eq!(long, format!("{line}: {why}"));
    let file = "[consumer]\nhandler_timeout_ms = 90000\n";
    let short = error(file, &[], &[handler, "consumer.max_processing_ms=119999"]);
    let line =
        "--set: consumer.max_processing_ms: must be at least 120000 for consumer.handler_timeout_ms = 90000";
    assert_eq!(short, format!("{line}: {why}"));
    assert!(read(file, &[], &[handler, "consumer.max_processing_ms=120000"]).is_ok());
}

#[test]
fn waits_may_be_days_and_attempts_endless() {
    let days = ["retry.initial_backoff_ms=86400000", "retry.max_backoff_ms=2592000000"];
    let settings = read("", &[], &[days[0], days[1], "consumer.handler=[\"true\"]", "retry.max_attempts=0"]);
    let retry = settings.unwrap().retry;
    assert_eq!((retry.max_attempts, retry.max_backoff_ms), (0, 30 * 24 * 3_600_000));
    let order = error("", &[], &["retry.initial_backoff_ms=2000", "retry.max_backoff_ms=1000"]);
    assert_eq!(order, "--set: retry.max_backoff_ms: must be at least retry.initial_backoff_ms (2000)");
    for key in ["initial_backoff_ms", "max_backoff_ms"] {
        let refused = error("", &[], &[&format!("retry.{key}=2592000001")]);
        let line = format!("--set: retry.{key}: must be a whole number from 0 to 2592000000, not 2592000001");
        assert_eq!(refused, line);
    }
    for wrong in ["-1", "1000001", "for ever"] {
        let refused = error("", &[], &[&format!("retry.max_attempts={wrong}")]);
        assert!(refused.starts_with("--set: retry.max_attempts: must be a whole number from 0 to 1000000"));
    }
}

#[test]
fn the_work_queues_numbers_have_their_ranges() {
    let lines = ["consumer.handler=[\"true\"]", "consumer.handler_mode=lines"];
    for (key, least, most) in [
        ("concurrency", 1_i64, 4_096),
        ("buffer_bytes", 1 << 20, 1 << 40),
        ("circuit_failures", 0, 1_000_000),
        ("handler_processes", 1, 4_096),
        ("handler_batch", 1, 1_000),
    ] {
        for number in [least, most] {
            let set = format!("consumer.{key}={number}");
            assert!(read("", &[], &[&set, lines[0], lines[1]]).is_ok(), "{set}");
        }
        for number in [least - 1, most + 1] {
            let refused = error("", &[], &[&format!("consumer.{key}={number}"), lines[0], lines[1]]);
            let must = format!("must be a whole number from {least} to {most}, not {number}");
            assert_eq!(refused, format!("--set: consumer.{key}: {must}"));
        }
    }
}

#[test]
fn the_work_queues_choices_have_their_names() {
    let orders = [("key", Order::Key), ("none", Order::None), ("partition", Order::Partition)];
    for (name, order) in orders {
        let settings = read("", &[], &[&format!("consumer.order={name}")]).unwrap();
        assert_eq!(settings.consumer_settings().queue.order, order);
    }
    for (name, payload) in [("json", Payload::Json), ("any", Payload::Any)] {
        let settings = read("", &[], &[&format!("consumer.payload={name}")]).unwrap();
        assert_eq!(settings.consumer_settings().queue.payload, payload);
    }
    for (key, names) in [
        ("order", "\"key\" or \"none\" or \"partition\""),
        ("payload", "\"json\" or \"any\""),
        ("handler_mode", "\"process\" or \"lines\""),
    ] {
        let refused = error(&format!("[consumer]\n{key} = \"some\"\n"), &[], &[]);
        assert_eq!(refused, format!("point.toml line 2: consumer.{key}: must be {names}, not \"some\""));
    }
}

#[test]
fn a_work_queue_commits_by_itself() {
    for mode in ["pipelined", "poll"] {
        let commit = format!("consumer.commit={mode}");
        assert!(read("", &[], &[&commit]).is_ok(), "one message at a time is printed");
        for (setting, with) in [
            ("consumer.handler=[\"true\"]", "a handler (consumer.handler)"),
            ("consumer.concurrency=2", "more than one message at a time (consumer.concurrency)"),
        ] {
            assert!(read("", &[], &[setting, "consumer.commit=message"]).is_ok());
            let line = format!("must be \"message\" with {with}: the work queue commits by itself");
            assert_eq!(error("", &[], &[setting, &commit]), format!("--set: consumer.commit: {line}"));
            let file = format!("[consumer]\ncommit = {mode:?}\n");
            let key = setting.split('=').next().unwrap();
            let line = "needs consumer.commit = \"message\": the work queue commits by itself";
            assert_eq!(error(&file, &[], &[setting]), format!("--set: {key}: {line}"));
        }
    }
}

#[test]
fn what_belongs_to_kept_handlers_is_refused_without_them() {
    let (handler, lines) = ("consumer.handler=[\"true\"]", "consumer.handler_mode=lines");
    let without = error("", &[], &[lines]);
    let line = "--set: consumer.handler_mode: needs consumer.handler, the program that is kept";
    assert_eq!(without, line);
    let file = "[consumer]\nhandler_mode = \"lines\"\n";
    let none = error(file, &[], &["consumer.handler=[]"]);
    assert_eq!(none, "--set: consumer.handler: must be set for consumer.handler_mode = \"lines\"");
    for setting in ["consumer.handler_processes=2", "consumer.handler_batch=2"] {
        assert!(read("", &[], &[handler, lines, setting]).is_ok());
        let key = setting.split('=').next().unwrap();
        let line = "needs consumer.handler_mode = \"lines\": with \"process\" each message has a process";
        assert_eq!(error("", &[], &[handler, setting]), format!("--set: {key}: {line}"));
    }
}

#[test]
fn unset_so_many_kept_handlers_run_as_messages_are_under_way() {
    let processes = |more: &[&str]| {
        let lines = ["consumer.handler=[\"true\"]", "consumer.handler_mode=lines", "consumer.concurrency=16"];
        let settings = read("", &[], &[&lines, more].concat()).unwrap();
        settings.process_settings().map(|kept| (kept.mode, kept.workers, kept.batch))
    };
    assert_eq!(processes(&[]), Some((HandlerMode::Lines, 16, 1)));
    let more = ["consumer.handler_processes=4", "consumer.handler_batch=10"];
    assert_eq!(processes(&more), Some((HandlerMode::Lines, 4, 10)));
    assert_eq!(read("", &[], &[]).unwrap().process_settings(), None);
}

fn consumed(set: &[&str]) -> Subscription {
    read("", &[], set).unwrap().kafka.consumed()
}

#[test]
fn consumers_have_the_topics_that_are_named_or_else_the_channels() {
    assert_eq!(consumed(&[]).to_string(), "mi-topico");
    assert_eq!(consumed(&["kafka.topic=a"]).single(), Some("a"));
    assert_eq!(consumed(&["kafka.topics=[]", "kafka.topic=a"]).single(), Some("a"));
    for set in ["kafka.topics=[\"a\", \"b\", \"a\"]", "kafka.topics=a, b"] {
        assert_eq!(consumed(&[set]).named(), ["a", "b"], "{set}");
    }
    let settings = read("[kafka]\ntopics = [\"a\", \"b\"]\n", &[], &[]).unwrap();
    assert!(settings.has_work_queue() && !read("", &[], &["kafka.topics=a"]).unwrap().has_work_queue());
    let created: Vec<String> =
        settings.consuming_cluster().create.into_iter().map(|create| create.name).collect();
    assert_eq!(created, ["mi-topico", "mi-topico-dlt", "a", "a-dlt", "b", "b-dlt"]);
    for wrong in ["[\"a/b\"]", "[1]", "a b", "[\"\"]"] {
        let refused = error("", &[], &[&format!("kafka.topics={wrong}")]);
        assert!(refused.contains("kafka.topics: "), "{refused}");
    }
}

#[test]
fn a_pattern_begins_with_a_circumflex_and_stands_alone() {
    let pattern = consumed(&["kafka.topics=^orders-"]);
    assert!(pattern.has("orders-eu") && !pattern.has("orders") && pattern.named().is_empty());
    assert!(read("[kafka]\ntopics = \"^a\"\n", &[], &[]).unwrap().has_work_queue());
    let refused = error("", &[], &["kafka.topics=[\"a\", \"^b\"]"]);
    assert!(refused.ends_with("; a pattern (\"^b\") stands alone"), "{refused}");
    let refused = error("", &[], &["kafka.topics=^("]);
    assert!(refused.contains("kafka.topics: \"^(\" is no regular expression: "), "{refused}");
}

#[test]
fn what_is_sent_to_a_topic_that_is_set_reaches_its_consumers() {
    let why = "what is sent to it would reach no consumer";
    let refused = error("[kafka]\ntopic = \"c\"\n", &[], &["kafka.topics=a, b"]);
    assert_eq!(refused, format!("--set: kafka.topics: has no c (kafka.topic): {why}"));
    let refused = error("[kafka]\ntopics = \"^a\"\n", &[], &["kafka.topic=c"]);
    assert_eq!(refused, format!("--set: kafka.topic: must be one of kafka.topics (^a): {why}"));
    assert!(read("", &[], &["kafka.topics=a, b", "kafka.topic=b"]).is_ok());
    let refused = error("", &[], &["kafka.topics=a, b", "consumer.commit=poll"]);
    assert!(refused.contains("must be \"message\" with more than one topic (kafka.topics)"), "{refused}");
}
