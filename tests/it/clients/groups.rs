//! Groups of other people's consumers: members that share, come, leave, die and rebalance in each way.

use super::client::{CLIENTS, Client, Record, Settings, wait_for_all};
use crate::support::kafka::Kafka;
use crate::support::program::Program;
use crate::support::{NEWEST, PATIENCE, eventually, unique};

/// A real broker notices a dead member when its session is over, for which it takes 6 s at least. The
/// embedded one goes by the connection: there the session is longer than any test waits.
fn session(kafka: &Kafka) -> &'static str {
    if kafka.is_embedded() { "120000" } else { "6000" }
}

/// A member with this name; it commits often, so that a test can wait for it.
pub fn member(
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
        ("reconnect.backoff.max.ms", "500"),
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

/// A topic of ten partitions, and a group with one member of each kind that has read and committed 500
/// messages.
struct Motley {
    topic: String,
    group: String,
    members: Vec<(Client, Program)>,
}

impl Motley {
    fn start(kafka: &Kafka, settings: Settings) -> Motley {
        let (topic, group) = (unique("todos"), unique("grupo"));
        kafka.assistant().create_topic(&topic, 10, 1, &[]);
        let start =
            |client: &Client| (*client, member(*client, kafka, (&topic, &group), &client.name(), settings));
        let members = CLIENTS.iter().map(start).collect();
        let motley = Motley { topic, group, members };
        motley.wait_for_members(kafka, &[]);
        kafka.assistant().produce(&motley.topic, "none", -1, "%d", 500);
        motley.assert_each_once(500);
        for (client, program) in &motley.members {
            assert_eq!(program.lines().len(), 100, "{client:?}: two partitions of ten");
        }
        kafka.assistant().wait_for_commits(&motley.group, &motley.topic);
        motley
    }

    fn wait_for_members(&self, kafka: &Kafka, without: &[&str]) {
        let names: Vec<String> = CLIENTS.iter().map(|client| client.name()).collect();
        let mut names: Vec<&str> = names.iter().map(String::as_str).collect();
        names.retain(|name| !without.contains(name));
        kafka.assistant().wait_for_members(&self.group, &names, 2);
    }

    fn assert_each_once(&self, count: usize) {
        let all: Vec<_> = self.members.iter().map(|(client, program)| (*client, program)).collect();
        assert_each_once(&wait_for_all(&all, count), count, "all together");
    }
}

/// One leaves and one dies.
fn a_motley_group(version: &'static str, settings: Settings) {
    let kafka = Kafka::shared(version);
    let motley = Motley::start(kafka, settings);
    let mut gone = Vec::new();
    for (signal, name) in [("TERM", "confluent-kafka"), ("KILL", "java-4.3.1")] {
        let (_, program) = motley.members.iter().find(|(client, _)| client.name() == name).expect("a member");
        program.signal(signal);
        gone.push(name);
        motley.wait_for_members(kafka, &gone);
    }
    kafka.assistant().produce(&motley.topic, "none", -1, "%d", 500);
    motley.assert_each_once(1_000);
}

pub fn clients_of_all_kinds_share_one_group(version: &'static str) {
    a_motley_group(version, &[]);
}

pub fn clients_of_all_kinds_share_one_group_that_rebalances_cooperatively(version: &'static str) {
    a_motley_group(version, &[("partition.assignment.strategy", "cooperative-sticky")]);
}

/// Members and generation outlive the broker that dies, so that nobody has to begin anew.
pub fn clients_of_all_kinds_live_through_hand_overs_without_a_duplicate(version: &'static str) {
    let kafka = Kafka::start(version, 2);
    let motley = Motley::start(&kafka, &[]);
    for round in 0..6 {
        kafka.kill_node(round % 2);
        kafka.assistant().produce(&motley.topic, "none", -1, "%d", 100);
        motley.assert_each_once(600 + 100 * round);
        motley.wait_for_members(&kafka, &[]);
        kafka.start_node(round % 2);
    }
}

/// The embedded broker has the group protocol that all clients know, not the one of KIP-848.
pub fn a_member_of_the_new_group_protocol_is_told_to_use_the_classic_one(version: &'static str) {
    let kafka = Kafka::shared(version);
    let (topic, group) = (unique("nuevo"), unique("grupo"));
    kafka.assistant().create_topic(&topic, 1, 1, &[]);
    let settings = [("group.protocol", "consumer")];
    let mut consumer = Client::Java(NEWEST).consumer(kafka, &topic, &group, &settings);
    consumer.wait(PATIENCE);
    consumer.wait_for_log(&["group.protocol=classic"], PATIENCE);
}

/// The partitions of a topic that a consumer says were taken from it, each as often as it says so.
pub fn revoked(client: Client, consumer: &Program, topic: &str) -> Vec<String> {
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

/// On a broker of its own: kafka-python looks at all topics anew whenever one is created.
pub fn a_topic_created_later_is_found_by_a_regular_expression(version: &'static str) {
    let kafka = Kafka::start(version, 1);
    let assistant = kafka.assistant();
    let prefix = unique("familia");
    let topic = |name: &str| format!("{prefix}.{name}");
    let pattern = format!("^{prefix}\\..*");
    assistant.create_topic(&topic("a"), 1, 1, &[]);
    let readers: Vec<(Client, Program)> = CLIENTS
        .iter()
        .map(|client| (*client, member(*client, &kafka, (&pattern, &unique("grupo")), "reader", &[])))
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
