//! Groups of other people's consumers: members that share, come, leave, die and rebalance in each way.

use crate::client::{CLIENTS, Client, Record, Settings, wait_for_all};
use crate::support::kafka::Kafka;
use crate::support::program::Program;
use crate::support::{PATIENCE, eventually, unique};

/// A real broker notices a dead member when its session is over, for which it takes 6 s at least. The embedded one goes
/// by the connection: there the session is longer than any test waits.
fn session(kafka: &Kafka) -> &'static str {
    if kafka.is_embedded() { "120000" } else { "6000" }
}

/// A member with this name; it commits often, so that a test can wait for it.
fn member(
    client: Client,
    kafka: &Kafka,
    (topic, group): (&str, &str),
    name: &str,
    more: Settings,
) -> Program {
    let mut settings = vec![
        ("client.id", name),
        ("session.timeout.ms", session(kafka)),
        ("heartbeat.interval.ms", "500"),
        ("auto.commit.interval.ms", "200"),
        ("metadata.max.age.ms", "500"),
    ];
    settings.extend(more);
    client.consumer(kafka, topic, group, &settings)
}

/// Every place once.
fn assert_each_once(records: &[Record], count: usize, what: &str) {
    let mut places: Vec<_> = records.iter().map(|record| (record.partition, record.offset)).collect();
    places.sort_unstable();
    let doubled: Vec<_> = places.windows(2).filter(|pair| pair[0] == pair[1]).take(5).collect();
    assert!(doubled.is_empty(), "{what}: printed twice: {doubled:?}");
    assert_eq!(places.len(), count, "{what}");
}

pub fn a_group_of_two_gets_each_message_once_and_outlives_a_member_that_dies(version: &'static str) {
    let kafka = Kafka::shared(version);
    for client in CLIENTS {
        let (topic, group) = (unique("pares"), unique("grupo"));
        let assistant = kafka.assistant();
        assistant.create_topic(&topic, 4, 1, &[]);
        let victim = member(client, kafka, (&topic, &group), "victim", &[]);
        let survivor = member(client, kafka, (&topic, &group), "survivor", &[]);
        assistant.wait_for_members(&group, &["victim", "survivor"], 2);
        assistant.produce(&topic, "none", -1, "%d", 400);
        let records = wait_for_all(&[(client, &victim), (client, &survivor)], 400);
        assert_each_once(&records, 400, &client.name());
        assert_eq!(survivor.lines().len(), 200, "{client:?}: two partitions of four");
        assistant.wait_for_commits(&group, &topic);

        victim.signal("KILL");
        assistant.wait_for_members(&group, &["survivor"], 4);
        assistant.produce(&topic, "none", -1, "%d", 400);
        let records = wait_for_all(&[(client, &victim), (client, &survivor)], 800);
        assert_each_once(&records, 800, &client.name());

        survivor.signal("TERM");
        eventually("a consumer that ends leaves its group", PATIENCE, || {
            assistant.group(&group).members.is_empty().then_some(())
        });
    }
}

/// One member of each kind; then one leaves and one dies.
fn a_motley_group(version: &'static str, settings: Settings) {
    let kafka = Kafka::shared(version);
    let assistant = kafka.assistant();
    let (topic, group) = (unique("todos"), unique("grupo"));
    assistant.create_topic(&topic, 10, 1, &[]);
    let members: Vec<(Client, Program)> = CLIENTS
        .iter()
        .map(|client| (*client, member(*client, kafka, (&topic, &group), &client.name(), settings)))
        .collect();
    let everyone: Vec<(Client, &Program)> =
        members.iter().map(|(client, program)| (*client, program)).collect();
    let names: Vec<String> = CLIENTS.iter().map(|client| client.name()).collect();
    let mut names: Vec<&str> = names.iter().map(String::as_str).collect();
    assistant.wait_for_members(&group, &names, 2);
    assistant.produce(&topic, "none", -1, "%d", 500);
    assert_each_once(&wait_for_all(&everyone, 500), 500, "all five");
    for (client, program) in &everyone {
        assert_eq!(program.lines().len(), 100, "{client:?}: two partitions of ten");
    }
    assistant.wait_for_commits(&group, &topic);

    for (signal, gone) in [("TERM", "confluent-kafka"), ("KILL", "java-4.3.1")] {
        let (_, program) = everyone.iter().find(|(client, _)| client.name() == gone).expect("a member");
        program.signal(signal);
        names.retain(|name| *name != gone);
        assistant.wait_for_members(&group, &names, 2);
    }
    assistant.produce(&topic, "none", -1, "%d", 500);
    assert_each_once(&wait_for_all(&everyone, 1_000), 1_000, "the three that are left");
}

pub fn clients_of_all_kinds_share_one_group(version: &'static str) {
    a_motley_group(version, &[]);
}

pub fn clients_of_all_kinds_share_one_group_that_rebalances_cooperatively(version: &'static str) {
    a_motley_group(version, &[("partition.assignment.strategy", "cooperative-sticky")]);
}

/// The partitions of a topic that a consumer says were taken from it, each as often as it says so.
fn revoked(client: Client, consumer: &Program, topic: &str) -> Vec<String> {
    let (mark, before) = match client {
        Client::Kcat => ("incremental revoke of", format!("{topic} [")),
        Client::Java(_) => ("Revoke previously", format!("{topic}-")),
        Client::Confluent | Client::KafkaPython => ("revoked", format!("{topic}:")),
    };
    let log = consumer.log();
    let lists = log.iter().filter(|line| line.contains(mark)).flat_map(|line| line.split(&before).skip(1));
    let number = |rest: &str| rest.chars().take_while(char::is_ascii_digit).collect::<String>();
    let mut found: Vec<String> = lists.map(|rest| format!("{topic}:{}", number(rest))).collect();
    found.sort();
    found
}

pub fn a_cooperative_member_keeps_what_it_can(version: &'static str) {
    let kafka = Kafka::shared(version);
    let assistant = kafka.assistant();
    let strategy = [("partition.assignment.strategy", "cooperative-sticky")];
    for client in CLIENTS {
        let (topic, group) = (unique("cooperativo"), unique("grupo"));
        assistant.create_topic(&topic, 4, 1, &[]);
        let first = member(client, kafka, (&topic, &group), "first", &strategy);
        assistant.wait_for_members(&group, &["first"], 4);
        assistant.produce(&topic, "none", -1, "%d", 100);
        client.wait_for_records(&first, 100);
        assistant.wait_for_commits(&group, &topic);
        let second = member(client, kafka, (&topic, &group), "second", &strategy);
        let shared = assistant.wait_for_members(&group, &["first", "second"], 2);
        assistant.produce(&topic, "none", -1, "%d", 100);
        let records = wait_for_all(&[(client, &first), (client, &second)], 200);
        assert_each_once(&records, 200, &client.name());
        let moved =
            &shared.members.iter().find(|member| member.client_id == "second").expect("it").partitions;
        assert_eq!(revoked(client, &first, &topic), *moved, "{client:?} gave up these alone");
    }
}

pub fn a_topic_created_later_is_found_by_a_regular_expression(version: &'static str) {
    let kafka = Kafka::shared(version);
    let assistant = kafka.assistant();
    let prefix = unique("familia");
    let topic = |name: &str| format!("{prefix}.{name}");
    let pattern = format!("^{prefix}\\..*");
    assistant.create_topic(&topic("a"), 1, 1, &[]);
    let readers: Vec<(Client, Program)> = CLIENTS
        .iter()
        .map(|client| (*client, member(*client, kafka, (&pattern, &unique("grupo")), "reader", &[])))
        .collect();
    for (number, name) in ["a", "b"].into_iter().enumerate() {
        if number > 0 {
            assistant.create_topic(&topic(name), 1, 1, &[]);
        }
        assistant.create_topic(&format!("not-{prefix}.{name}"), 1, 1, &[]);
        assistant.put(&format!("not-{prefix}.{name}"), 0, None, Some(b"unwanted"));
        assistant.put(&topic(name), 0, None, Some(name.as_bytes()));
        for (client, reader) in &readers {
            let records = client.wait_for_records(reader, number + 1);
            let mut values: Vec<String> = records.into_iter().filter_map(|record| record.value).collect();
            values.sort();
            assert_eq!(values, ["a", "b"][..=number], "{client:?}");
        }
    }
}
