//! The harness itself: a broker of each kind starts, serves Java's clients and tools, and ends.

use crate::support::kafka::Kafka;
use crate::support::{EMBEDDED, NEWEST, OLDEST, run_on, tools, unique};

run_on! {
    mod kafka_4_3 on NEWEST {
        java_reads_what_java_writes,
        three_nodes_elect_another_leader_when_one_is_killed as HEAVY,
    }
    mod kafka_3_9 on OLDEST {
        java_reads_what_java_writes,
    }
    mod embedded on EMBEDDED {
        java_reads_what_java_writes,
    }
}

/// What Java writes with each codec, Java reads, and Kafka's tool counts.
fn java_reads_what_java_writes(version: &'static str) {
    let kafka = Kafka::shared(version);
    let topic = unique("harness");
    let assistant = kafka.assistant();
    assistant.create_topic(&topic, 2, 1, &[]);
    assistant.produce(&topic, "zstd", 0, "a%d", 10);
    assistant.put(&topic, 1, None, Some(b""));
    assistant.put(&topic, 1, Some(b"k"), None);
    let records = assistant.read(&topic, false);
    assert_eq!(records.len(), 12);
    assert_eq!(records[0].value.as_deref(), Some(&b"a0"[..]));
    assert_eq!((records[10].key.as_deref(), records[10].value.as_deref()), (None, Some(&b""[..])));
    assert_eq!((records[11].key.as_deref(), records[11].value.as_deref()), (Some(&b"k"[..]), None));
    assert_eq!(kafka.codecs(&topic, 0).first(), Some(&4));
    assert_eq!(assistant.end_offsets(&topic), Some([(0, 10), (1, 2)].into()));
    assert_eq!(assistant.committed("nobody", &topic), [].into());
    assert_eq!(assistant.group("nobody").state, "dead");
    assert_eq!(tools::messages_in(kafka, &topic), 12);
}

fn three_nodes_elect_another_leader_when_one_is_killed(version: &'static str) {
    let kafka = Kafka::start(version, 3);
    let topic = unique("harness");
    kafka.assistant().create_topic(&topic, 1, 3, &[]);
    let first = kafka.assistant().leader(&topic, 0).expect("a leader");
    kafka.kill_node(first - 1);
    crate::support::eventually("another leader", crate::support::PATIENCE, || {
        kafka.assistant().leader(&topic, 0).filter(|leader| *leader != first)
    });
    kafka.start_node(first - 1);
    kafka.assistant().put(&topic, 0, None, Some(b"still here"));
    kafka.stop_node(first - 1);
}
