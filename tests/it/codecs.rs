//! Compression in both directions: what our producer writes with each codec, Java reads, and what Java writes
//! with each codec, our consumer prints.

use crate::support::kafka::Kafka;
use crate::support::program::{Program, Start};
use crate::support::{EMBEDDED, NEWEST, OLDEST, PATIENCE, run_on, unique};

run_on! {
    mod kafka_4_3 on NEWEST {
        java_reads_every_codec_that_we_write,
        we_print_every_codec_that_java_writes,
    }
    mod kafka_3_9 on OLDEST {
        java_reads_every_codec_that_we_write,
        we_print_every_codec_that_java_writes,
    }
    mod embedded on EMBEDDED {
        java_reads_every_codec_that_we_write,
        we_print_every_codec_that_java_writes,
    }
}

/// The codecs with their numbers in a batch's attributes.
const CODECS: [(&str, u8); 5] = [("none", 0), ("gzip", 1), ("snappy", 2), ("lz4", 3), ("zstd", 4)];

fn java_reads_every_codec_that_we_write(version: &'static str) {
    let kafka = Kafka::shared(version);
    for (codec, number) in CODECS {
        let topic = unique(codec);
        let start = Start::program("producer_api").on(kafka).set("kafka.topic", &topic);
        let producer =
            Program::producer_with(start.set("kafka.compression", codec).set("kafka.partitions", "1"));
        // From a few bytes to more than the block of any codec.
        let bodies: Vec<String> = [1, 100, 70_000, 300_000]
            .iter()
            .map(|size| format!(r#"{{"t":"{}"}}"#, "abc1".repeat(size / 4)))
            .collect();
        for body in &bodies {
            let answer = producer.post("/enviar", body);
            assert_eq!(answer.status, 200, "{codec}: {}", String::from_utf8_lossy(&answer.body));
        }
        let values: Vec<String> = kafka
            .assistant()
            .read(&topic, false)
            .into_iter()
            .map(|record| String::from_utf8(record.value.unwrap_or_default()).expect("UTF-8"))
            .collect();
        assert!(values == bodies, "{codec}: what Java reads differs from what was posted");
        let stored = kafka.codecs(&topic, 0);
        assert!(stored.iter().all(|code| *code == number), "stored as {codec}: {stored:?}");
    }
}

fn we_print_every_codec_that_java_writes(version: &'static str) {
    let kafka = Kafka::shared(version);
    let topic = unique("javas");
    kafka.assistant().create_topic(&topic, 1, 1, &[]);
    for (codec, _) in CODECS {
        let filler = "relleno ".repeat(50);
        kafka.assistant().produce(
            &topic,
            codec,
            0,
            &format!(r#"{{"c":"{codec}","n":%d,"f":"{filler}"}}"#),
            200,
        );
    }
    let consumer = Program::consumer(kafka, "consumer1", &topic, &unique("grupo"));
    consumer.wait_for_messages(200 * CODECS.len(), PATIENCE);
    let messages: Vec<serde_json::Value> =
        consumer.received().iter().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let place =
        |message: &serde_json::Value| (message["c"].as_str().map(str::to_owned), message["n"].as_u64());
    let expected: Vec<_> =
        CODECS.iter().flat_map(|(codec, _)| (0..200).map(|n| (Some((*codec).to_owned()), Some(n)))).collect();
    assert_eq!(messages.iter().map(place).collect::<Vec<_>>(), expected);
}
