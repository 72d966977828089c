//! What the endpoint makes of a broker's answers to Produce that come late, wrong or in part: the broker has
//! stored the message in each case, and the client is told no lie and stores it no second time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use kafka_protocol::messages::{ApiKey, ProduceResponse, ResponseHeader};
use kafka_protocol::protocol::{Decodable, Encodable};

use crate::support::kafka::Kafka;
use crate::support::load::numbers_of;
use crate::support::program::{Program, Start};
use crate::support::scripted::{Reply, Request, Scripted};
use crate::support::{EMBEDDED, NEWEST, PATIENCE, eventually, run_on, unique};

run_on! {
    mod kafka_4_3 on NEWEST {
        a_message_that_was_stored_and_answered_not_leader_is_stored_once_and_acknowledged,
        silence_is_answered_unknown_and_the_message_is_stored_once,
        an_answer_cut_short_is_never_taken_for_success,
    }
    mod embedded on EMBEDDED {
        a_message_that_was_stored_and_answered_not_leader_is_stored_once_and_acknowledged,
        silence_is_answered_unknown_and_the_message_is_stored_once,
        an_answer_cut_short_is_never_taken_for_success,
    }
}

const PRODUCE: i16 = 0;
const NOT_LEADER_OR_FOLLOWER: i16 = 6;

/// An endpoint before a scripted broker, and a consumer before the real one, in a topic of one partition.
struct Scene {
    producer: Program,
    consumer: Program,
    _broker: Scripted,
}

impl Scene {
    fn new(version: &'static str, script: impl Fn(Request) -> Reply + Send + Sync + 'static) -> Scene {
        let kafka = Kafka::shared(version);
        let (topic, group) = (unique("mi-topico"), unique("grupo"));
        let broker = Scripted::before(&kafka.bootstrap(), script);
        let start = Start::program("producer_api").set("kafka.bootstrap_servers", &broker.bootstrap());
        let start = start.set("kafka.topic", &topic).set("kafka.partitions", "1");
        let start = start.set("kafka.request_timeout_ms", "1000").set("kafka.delivery_timeout_ms", "60000");
        let producer = Program::producer_with(start.set("producer_api.answer_timeout_ms", "3000"));
        let consumer = Program::consumer(kafka, "consumer1", &topic, &group);
        Scene { producer, consumer, _broker: broker }
    }

    fn post(&self, id: u64) -> u16 {
        self.producer.post("/enviar", &format!(r#"{{"id":{id}}}"#)).status
    }

    /// Posts a last message, and checks that these and it are all that is stored.
    fn holds(&self, expected: &[u64]) {
        let last = 1_000_000;
        eventually("the last message is stored", PATIENCE, || (self.post(last) == 200).then_some(()));
        self.consumer.wait_for_messages(expected.len() + 1, PATIENCE);
        let stored = numbers_of(self.consumer.received());
        assert_eq!(stored, [expected, &[last]].concat());
    }
}

/// The same answer with another error code for each partition.
fn not_leader(request: Request, answer: &[u8]) -> Vec<u8> {
    let header_version = ApiKey::Produce.response_header_version(request.version);
    let mut rest = answer;
    let header = ResponseHeader::decode(&mut rest, header_version).expect("a header");
    let mut response = ProduceResponse::decode(&mut rest, request.version).expect("an answer to Produce");
    for partition in response.responses.iter_mut().flat_map(|topic| &mut topic.partition_responses) {
        assert_eq!(partition.error_code, 0, "the broker has stored it");
        partition.error_code = NOT_LEADER_OR_FOLLOWER;
        partition.base_offset = -1;
    }
    let mut bytes = Vec::new();
    header.encode(&mut bytes, header_version).expect("room");
    response.encode(&mut bytes, request.version).expect("room");
    bytes
}

/// A leader that gives up its place while the followers have the batch already answers so.
fn a_message_that_was_stored_and_answered_not_leader_is_stored_once_and_acknowledged(version: &'static str) {
    let left = AtomicUsize::new(3);
    let scene = Scene::new(version, move |request| {
        let one_less = |left: usize| left.checked_sub(1);
        let scripted = request.key == PRODUCE
            && left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less).is_ok();
        if scripted { Reply::Edited(not_leader) } else { Reply::Pass }
    });
    assert_eq!(scene.post(1), 200);
    scene.holds(&[1]);
}

/// An endpoint whose broker answers no Produce as it should, until the flag is cleared.
fn disturbed(
    version: &'static str,
    reply: impl Fn() -> Reply + Send + Sync + 'static,
) -> (Scene, Arc<AtomicBool>) {
    let on = Arc::new(AtomicBool::new(true));
    let is_on = Arc::clone(&on);
    let scene = Scene::new(version, move |request| {
        let scripted = request.key == PRODUCE && is_on.load(Ordering::Relaxed);
        if scripted { reply() } else { Reply::Pass }
    });
    (scene, on)
}

fn silence_is_answered_unknown_and_the_message_is_stored_once(version: &'static str) {
    let (scene, silent) = disturbed(version, || Reply::Silence);
    assert_eq!(scene.post(1), 504);
    silent.store(false, Ordering::Relaxed);
    scene.holds(&[1]);
}

fn an_answer_cut_short_is_never_taken_for_success(version: &'static str) {
    // Within the size, the header, the topic's name; and all but the last byte.
    for count in [0, 3, 6, 15, usize::MAX] {
        let (scene, cuts) = disturbed(version, move || Reply::Cut(count));
        assert_eq!(scene.post(1), 504, "after {count} bytes");
        cuts.store(false, Ordering::Relaxed);
        scene.holds(&[1]);
    }
}
