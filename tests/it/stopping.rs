//! How programs stop: what they say they wait for, how long the endpoint drains, and that a second signal
//! ends them within a second, whatever they wait for, without anything that was acknowledged being lost.

use std::thread;
use std::time::{Duration, Instant};

use crate::queue::scene::Scene;
use crate::supervisor::channel::{Channel, children, ids_of, signal, wait_until_gone};
use crate::support::kafka::Kafka;
use crate::support::metrics::get;
use crate::support::program::{Program, Start};
use crate::support::{EMBEDDED, PATIENCE, eventually, eventually_equal, run_on, unique};

run_on! {
    mod embedded on EMBEDDED {
        the_endpoint_drains_before_it_stops_and_serves_new_connections_meanwhile,
        the_endpoint_of_the_default_program_drains_and_is_waited_for,
        a_second_signal_ends_a_consumer_and_its_handler_and_the_message_comes_again,
        a_second_signal_ends_a_consumer_that_cannot_print,
        a_second_signal_ends_the_endpoint_without_a_word_to_who_waits,
        a_second_ctrl_c_ends_all_of_the_default_program,
    }
}

/// How long a program may take that ends at once: a second, and what a busy machine adds.
const AT_ONCE: Duration = Duration::from_secs(2);

/// Sends a program that is stopping further signals until it ends; gives its exit code. The first ones may
/// still be taken for the wish before.
fn end_at_once(program: &mut Program, mut send: impl FnMut(&Program)) -> Option<i32> {
    let began = Instant::now();
    let status = eventually("it ends at once", PATIENCE, || {
        send(program);
        program.exit_status()
    });
    assert!(began.elapsed() < AT_ONCE, "it took {:?}", began.elapsed());
    status.code()
}

fn the_endpoint_drains_before_it_stops_and_serves_new_connections_meanwhile(version: &'static str) {
    let kafka = Kafka::shared(version);
    let start = Start::program("producer_api").on(kafka).set("kafka.topic", &unique("drenado"));
    let mut api = Program::producer_with(start.set("producer_api.drain_ms", "3000"));
    let ready = || get(api.address(), "/readyz").status;
    eventually_equal("it is ready", &200, ready);
    let asked = Instant::now();
    api.signal("TERM");
    api.wait_for_log(&["draining for 3 s"], PATIENCE);
    assert_eq!(ready(), 503);
    assert_eq!(get(api.address(), "/readyz").json()["message"], "The program is stopping.");
    assert_eq!(api.post("/enviar", "1").status, 200, "a new connection is served");
    assert_eq!(api.wait(PATIENCE), Some(0));
    assert!(asked.elapsed() >= Duration::from_secs(3), "it stopped after {:?}", asked.elapsed());
}

fn the_endpoint_of_the_default_program_drains_and_is_waited_for(version: &'static str) {
    let mut channel = Channel::start_with(version, |start| start.set("producer_api.drain_ms", "2000"));
    channel.program.signal("TERM");
    let said = |words: &str| channel.program.lines().iter().any(|line| line.contains(words));
    eventually("it drains", PATIENCE, || said("draining for 2 s").then_some(()));
    assert!(said("s for producer_api, consumer1, consumer2"), "{:?}", channel.program.lines());
    assert_eq!(get(channel.program.address(), "/readyz").status, 503);
    channel.post("k", 1);
    assert_eq!(channel.program.wait(PATIENCE), Some(0));
    channel.program.wait_for_outputs();
    let killed = channel.program.lines().into_iter().find(|line| line.contains("killing it"));
    assert_eq!(killed, None);
}

fn a_second_signal_ends_a_consumer_and_its_handler_and_the_message_comes_again(version: &'static str) {
    let scene = Scene::new(version, 1);
    let script = "begin $1; wait_for $1 go; end $1";
    let mut consumer = scene.consumer(script).start();
    scene.put(0, None, "1");
    scene.wait_for_begun(1);
    consumer.signal("TERM");
    consumer.wait_for_log(&["waiting up to", "for 1 message in hand", "s ago: topic=", "offset=0"], PATIENCE);
    assert_eq!(end_at_once(&mut consumer, |consumer| consumer.signal("TERM")), Some(1));
    scene.touch("go");
    let _next = scene.consumer(script).start();
    scene.wait_for_commits();
    let ended = scene.runs().iter().filter(|run| !run.begins).count();
    assert_eq!((scene.begun().len(), ended), (2, 1), "the first handler was ended: {:?}", scene.runs());
}

fn a_second_signal_ends_a_consumer_that_cannot_print(version: &'static str) {
    let scene = Scene::new(version, 1);
    let api = Program::producer(scene.kafka, &scene.topic);
    // More than a pipe holds.
    let long = format!("\"{}\"", "x".repeat(300_000));
    assert_eq!(api.post("/enviar", &long).status, 200);
    let mut consumer = scene.printing("consumer1").held().start();
    consumer.wait_for_log(&["received topic=", "offset=0", "length=300002"], PATIENCE);
    consumer.signal("INT");
    consumer.wait_for_log(&["waiting up to 10 s for the message in hand, taken", "s ago"], PATIENCE);
    assert_eq!(end_at_once(&mut consumer, |consumer| consumer.signal("INT")), Some(1));
}

fn a_second_signal_ends_the_endpoint_without_a_word_to_who_waits(version: &'static str) {
    let kafka = Kafka::start(version, 1);
    let mut api = Program::producer(&kafka, &unique("impaciente"));
    let address = api.address();
    assert_eq!(api.post("/enviar", "1").status, 200);
    kafka.freeze_node(0);
    let waiting = thread::spawn(move || crate::support::http::post(address, "/enviar", b"2"));
    eventually("the message waits", PATIENCE, || {
        let metrics = String::from_utf8_lossy(&get(address, "/metrics").body).into_owned();
        metrics.contains("point_to_point_queue_messages 1").then_some(())
    });
    api.signal("TERM");
    api.wait_for_log(&["waiting up to", "s for 1 request in hand; the oldest came"], PATIENCE);
    assert_eq!(end_at_once(&mut api, |api| api.signal("TERM")), Some(1));
    assert!(waiting.join().expect("a thread").is_err(), "nothing is said of what is not known");
    kafka.thaw_node(0);
}

fn a_second_ctrl_c_ends_all_of_the_default_program(version: &'static str) {
    // Ctrl-C reaches the whole group of processes, a signal from elsewhere the supervisor alone.
    for everybody in [true, false] {
        let handler = r#"consumer.handler=["sh","-c","sleep 600"]"#;
        let mut channel = Channel::start_with(version, |start| start.arguments(&["--set", handler]));
        channel.post("k", 1);
        let own = ids_of(&children(channel.program.id()));
        let handlers = eventually("the handler works", PATIENCE, || {
            let ids: Vec<u32> = own.iter().flat_map(|id| ids_of(&children(*id))).collect();
            (!ids.is_empty()).then_some(ids)
        });
        let receivers: Vec<u32> =
            [channel.program.id()].into_iter().chain(own.iter().copied().filter(|_| everybody)).collect();
        signal("INT", &receivers);
        eventually("it says what it waits for", PATIENCE, || {
            let lines = channel.program.lines();
            let said = |words: &str| lines.iter().any(|line| line.contains(words));
            (said("s for producer_api, consumer1, consumer2") && said("for 1 message in hand")).then_some(())
        });
        let code = end_at_once(&mut channel.program, |_| signal("INT", &receivers));
        assert_eq!(code, Some(1), "everybody: {everybody}");
        wait_until_gone(&own);
        wait_until_gone(&handlers);
    }
}
