//! What the endpoint makes of a broker's answers to Produce that come late, wrong or in part: the broker has
//! stored the message in each case, and the client is told no lie and stores it no second time. And in which
//! order `producer`, which sends at least once, sends again.

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
        what_got_no_answer_is_sent_again_before_the_next_of_its_key,
    }
    mod embedded on EMBEDDED {
        a_message_that_was_stored_and_answered_not_leader_is_stored_once_and_acknowledged,
        silence_is_answered_unknown_and_the_message_is_stored_once,
        an_answer_cut_short_is_never_taken_for_success,
        what_got_no_answer_is_sent_again_before_the_next_of_its_key,
    }
}

const PRODUCE: i16 = 0;
const NOT_LEADER_OR_FOLLOWER: i16 = 6;
const OUT_OF_ORDER_SEQUENCE_NUMBER: i16 = 45;

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

/// The same answer with this error code for each partition.
fn with_code<const CODE: i16>(request: Request, answer: &[u8]) -> Vec<u8> {
    let header_version = ApiKey::Produce.response_header_version(request.version);
    let mut rest = answer;
    let header = ResponseHeader::decode(&mut rest, header_version).expect("a header");
    let mut response = ProduceResponse::decode(&mut rest, request.version).expect("an answer to Produce");
    for partition in response.responses.iter_mut().flat_map(|topic| &mut topic.partition_responses) {
        assert_eq!(partition.error_code, 0, "the broker has stored it");
        partition.error_code = CODE;
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
        if scripted { Reply::Edited(with_code::<NOT_LEADER_OR_FOLLOWER>) } else { Reply::Pass }
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

/// The leader gives its place up after it has stored a batch, and the next one knows nothing of it: whether
/// it is stored is unknown.
fn what_got_no_answer_is_sent_again_before_the_next_of_its_key(version: &'static str) {
    let (kafka, topic, answered) = (Kafka::shared(version), unique("mi-topico"), AtomicUsize::new(0));
    let broker = Scripted::before(&kafka.bootstrap(), move |request| {
        let before =
            if request.key == PRODUCE { answered.fetch_add(1, Ordering::Relaxed) } else { usize::MAX };
        match before {
            0 => Reply::Edited(with_code::<NOT_LEADER_OR_FOLLOWER>),
            1 => Reply::Edited(with_code::<OUT_OF_ORDER_SEQUENCE_NUMBER>),
            _ => Reply::Pass,
        }
    });
    let start = Start::program("producer").set("kafka.bootstrap_servers", &broker.bootstrap());
    let start = start.set("kafka.topic", &topic).arguments(&["--key-separator", ":"]);
    let mut program = start.with_input().start();
    (1..=3).for_each(|line| program.write_line(&format!("k:{line}")));
    program.wait_for_log(&["no answer came, is sent again"], PATIENCE);
    (4..=6).for_each(|line| program.write_line(&format!("k:{line}")));
    program.wait_for_lines(6, PATIENCE);
    program.close_input();
    assert_eq!(program.wait(PATIENCE), Some(0));
    program.wait_for_outputs();
    assert!(
        program.lines().iter().all(|line| line.starts_with("Mensaje enviado: ")),
        "{:?}",
        program.lines()
    );
    let mut records = kafka.assistant().read(&topic, false);
    records.sort_by_key(|record| record.offset);
    let stored: Vec<u8> =
        records.iter().map(|record| record.value.as_ref().expect("a value")[0] - b'0').collect();
    // The batch of which nothing was known is stored twice.
    let twice = stored.len() - 6;
    assert!((1..=3).contains(&twice), "{stored:?}");
    assert_eq!(stored, (1..=twice as u8).chain(1..=6).collect::<Vec<_>>());
}
