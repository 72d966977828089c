//! ACLs: `topics` and `groups` do their work with the rights that docs/kafka-security.md lists, and name the
//! one that is missing.

use super::rights::{Resource, Right, Stranger};
use crate::support::PATIENCE;
use crate::support::program::Program;
use crate::support::secured::Secured;

const DESCRIBE: Right = ("TOPIC", Resource::Topic, "DESCRIBE");
const READ_TOPIC: Right = ("TOPIC", Resource::Topic, "READ");
const READ_GROUP: Right = ("GROUP", Resource::Group, "READ");

const fn of_topic(operation: &'static str) -> Right {
    ("TOPIC", Resource::Topic, operation)
}

/// What a command prints, which works with these rights; without the last one it fails and names it.
fn works_with(stranger: &Stranger<'_>, rights: &[Right], words: &[&str]) -> String {
    let (last, others) = rights.split_last().expect("a right");
    let (code, printed) = stranger.another().with(others).run(words);
    assert_eq!(code, Some(1), "{words:?} without {last:?}: {printed}");
    let name = stranger.name(last.1);
    // Brokers do not tell of what may not be described.
    let is_named = printed.contains("_AUTHORIZATION_FAILED") || printed.contains("there is no ");
    assert!(is_named && printed.contains(&name), "{words:?} without {last:?}: {printed}");
    let (code, printed) = stranger.another().with(rights).run(words);
    assert_eq!(code, Some(0), "{words:?} with {rights:?}: {printed}");
    printed
}

pub fn topics_and_groups_are_administered_with_the_rights_of_the_documents(version: &'static str) {
    let stranger = Stranger::without_topic(Secured::shared(version));
    let (topic, group) = (stranger.topic.clone(), stranger.group.clone());
    works_with(&stranger, &[of_topic("CREATE")], &["topics", "create", &topic, "--partitions", "2"]);
    let described = works_with(&stranger, &[DESCRIBE], &["topics", "describe", &topic]);
    let has = |text: &str| described.contains(text);
    assert!(has("IN-SYNC") && has("are not told") && has("an ACL for DescribeConfigs"), "{described}");
    let grow = ["topics", "alter", &topic, "--partitions", "3"];
    works_with(&stranger, &[DESCRIBE, of_topic("ALTER")], &grow);
    let configure = ["topics", "alter", &topic, "--topic-config", "retention.ms=86400000"];
    works_with(&stranger, &[DESCRIBE, of_topic("ALTER_CONFIGS")], &configure);
    let rights = [DESCRIBE, of_topic("DESCRIBE_CONFIGS")];
    let (code, described) = stranger.another().with(&rights).run(&["topics", "describe", &topic]);
    assert!(code == Some(0) && described.contains("retention.ms"), "{described}");

    a_member_leaves_a_commit(&stranger);
    let shown = [DESCRIBE, ("GROUP", Resource::Group, "DESCRIBE")];
    let described = works_with(&stranger, &[shown[0], shown[1]], &["groups", "describe", &group]);
    assert!(described.contains(&topic), "{described}");
    let reset = ["groups", "reset", "--group", &group, "--topic", &topic, "--to-earliest", "--execute"];
    works_with(&stranger, &[READ_TOPIC, READ_GROUP], &reset);
    let committed = stranger.kafka.kafka.assistant().committed(&group, &topic);
    assert!(committed.values().all(|offset| *offset == 0), "{committed:?}");

    works_with(&stranger, &[DESCRIBE, of_topic("DELETE")], &["topics", "delete", &topic]);
}

fn a_member_leaves_a_commit(stranger: &Stranger<'_>) {
    let reader = stranger.another().with(&[READ_TOPIC, READ_GROUP]);
    let mut program: Program = super::joined(reader.start("consumer1"));
    stranger.put(r#"{"id":1}"#);
    program.wait_for_messages(1, PATIENCE);
    stranger.kafka.kafka.assistant().wait_for_commits(&stranger.group, &stranger.topic);
    program.stop();
}
