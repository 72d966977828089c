//! What the endpoint tells of itself: ids, the access log, health and metrics. They are answered whatever
//! else waits.

use std::collections::BTreeSet;
use std::sync::{Mutex, mpsc};
use std::time::Instant;

use point_to_point::http::{HttpServer, Monitoring, Submit};
use point_to_point::producer::{DeliveryCallback, ProducerRecord, SubmitError};

use super::support::{
    Answer, Channel, Client, PATIENCE, backing, endpoint_of, monitoring, post, settings, start, until,
};

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n")
}

fn id_of(answer: &Answer) -> String {
    let ids: Vec<&str> = answer.head.lines().filter_map(|line| line.strip_prefix("X-Request-Id: ")).collect();
    assert_eq!(ids.len(), 1, "{}", answer.head);
    ids[0].to_owned()
}

/// The value of a metric with its labels, as the endpoint shows it.
fn metric(text: &str, name: &str) -> Option<f64> {
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok())
}

#[test]
fn every_answer_has_an_id_of_its_own_where_its_client_gives_none() {
    let (server, _channel) = start(&settings());
    let mut ids = BTreeSet::new();
    let odd = "POST /enviar HTTP/1.1\r\nHost: x\r\nX-Request-Id: mi ne\r\nContent-Length: 1\r\n\r\n1";
    for (request, status) in [
        (post("", "1"), 200),
        (odd.to_owned(), 200),
        (post("?key=unknown", "1"), 504),
        (post("?key=full", "1"), 503),
        (post("", "{"), 400),
        (get("/nowhere"), 404),
        (get("/enviar"), 405),
        (get("/healthz"), 200),
        ("GET / HTTP/1.1\r\n\r\n".to_owned(), 400),
        ("nonsense\r\n\r\n".to_owned(), 400),
        (format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(10_000)), 414),
    ] {
        let answer = Client::connect(server.address()).ask(&request);
        assert_eq!(answer.status, status, "{}", answer.body);
        ids.insert(id_of(&answer));
    }
    assert_eq!(ids.len(), 11);
    let unguessable: BTreeSet<&str> = ids.iter().filter_map(|id| Some(id.split_once('-')?.0)).collect();
    assert_eq!(unguessable.len(), 1);
    assert!(unguessable.iter().all(|word| word.len() == 16));
}

#[test]
fn an_id_of_sane_shape_that_the_client_gives_is_the_requests_and_no_other() {
    let (server, _channel) = start(&settings());
    let mut client = Client::connect(server.address());
    let with =
        |headers: &str| format!("POST /enviar HTTP/1.1\r\nHost: x\r\n{headers}Content-Length: 1\r\n\r\n");
    let longest = "a".repeat(128);
    for id in ["mine", "Root=1-67891233-abcdef012345678912345678", "a:b/c+d=e@f.g_h", &longest] {
        let answer = client.ask(format!("{}1", with(&format!("x-request-id:  {id} \r\n"))));
        assert_eq!((answer.status, id_of(&answer).as_str()), (200, id));
    }
    let ours = |answer: &Answer| {
        let id = id_of(answer);
        let (endpoint, number) = id.split_once('-').expect("one of ours");
        assert!(endpoint.len() == 16 && number.parse::<u64>().is_ok(), "{id}");
    };
    for id in ["", "a b", "a,b", "a\"b", "{a}", "caf\u{e9}", &format!("{longest}a")] {
        ours(&client.ask(format!("{}1", with(&format!("X-Request-Id: {id}\r\n")))));
    }
    ours(&client.ask(format!("{}1", with("X-Request-Id: one\r\nX-Request-Id: two\r\n"))));
    ours(&client.ask(format!("{}1", with(""))));
    // Also where the request is refused before a handler sees it, and where its head cannot be read.
    let refused = client.ask("POST /enviar HTTP/1.1\r\nHost: x\r\nX-Request-Id: mine\r\n\r\n");
    assert_eq!((refused.status, id_of(&refused).as_str()), (411, "mine"));
    let unread =
        Client::connect(server.address()).ask("POST /enviar HTTP/1.1\r\nX-Request-Id: mine\r\nA\r\n\r\n");
    assert_eq!(unread.status, 400);
    ours(&unread);
}

#[test]
fn a_message_that_waits_holds_up_neither_health_nor_metrics() {
    let (server, channel) = start(&settings());
    let mut waiting: Vec<Client> = (0..20).map(|_| Client::connect(server.address())).collect();
    for client in &mut waiting {
        client.send(post("?key=held", "1"));
    }
    until("20 messages wait", || channel.held() == 20);
    let mut client = Client::connect(server.address());
    for (path, media_type) in [
        ("/healthz", "application/json"),
        ("/readyz", "application/json"),
        ("/metrics", "application/openmetrics-text; version=1.0.0; charset=utf-8"),
    ] {
        let answer = client.ask(get(path));
        assert_eq!(answer.status, 200, "{path}");
        assert!(answer.head.contains(&format!("Content-Type: {media_type}\r\n")), "{}", answer.head);
        client.send(format!("HEAD {path} HTTP/1.1\r\nHost: x\r\n\r\n"));
        assert_eq!(client.answer_to(true).status, 200, "{path}");
        let refused = client.ask(format!("DELETE {path} HTTP/1.1\r\nHost: x\r\n\r\n"));
        assert!(refused.status == 405 && refused.head.contains("Allow: GET, HEAD\r\n"), "{}", refused.head);
    }
    channel.release();
    for client in &mut waiting {
        assert_eq!(client.answer().status, 200);
    }
}

#[test]
fn metrics_count_what_was_answered_and_refused_under_few_names() {
    let (server, _channel) = start(&settings());
    let mut client = Client::connect(server.address());
    for number in 0..5 {
        assert_eq!(client.ask(post("?key=a", "1")).status, 200);
        assert_eq!(client.ask(get(&format!("/nowhere/{number}"))).status, 404);
    }
    assert_eq!(client.ask(post("?key=unknown", "1")).status, 504);
    assert_eq!(client.ask("BREW /enviar HTTP/1.1\r\nHost: x\r\n\r\n").status, 405);
    for _ in 0..3 {
        let mut hostile = Client::connect(server.address());
        assert_eq!(hostile.ask("GET /secret HTTP/1.1\r\n\r\n").status, 400);
        assert!(hostile.is_closed());
    }
    let _idle = Client::connect(server.address()).ask(get("/healthz"));
    until("what left is seen to have left", || {
        let text = client.ask(get("/metrics")).body;
        metric(&text, "point_to_point_http_connections") == Some(1.0)
    });
    let text = client.ask(get("/metrics")).body;
    let requests = |labels: &str| metric(&text, &format!("point_to_point_http_requests_total{{{labels}}}"));
    assert_eq!(requests(r#"route="/enviar",method="POST",status="200""#), Some(5.0));
    assert_eq!(requests(r#"route="/enviar",method="POST",status="504""#), Some(1.0));
    assert_eq!(requests(r#"route="/enviar",method="other",status="405""#), Some(1.0));
    assert_eq!(requests(r#"route="none",method="GET",status="404""#), Some(5.0));
    assert_eq!(requests(r#"route="none",method="other",status="400""#), Some(3.0));
    let timed = r#"point_to_point_http_request_duration_seconds_count{route="/enviar"}"#;
    assert_eq!(metric(&text, timed), Some(7.0));
    assert_eq!(metric(&text, r#"point_to_point_http_refused_total{reason="bad_host"}"#), Some(3.0));
    assert!(!text.contains("nowhere") && !text.contains("secret"), "{text}");
}

#[test]
fn an_endpoint_for_monitoring_alone_has_no_other_routes() {
    let monitoring = Monitoring::new(&[], None);
    let start = |listen, monitoring| {
        HttpServer::start_monitoring("consumer.metrics_listen", listen, false, monitoring)
    };
    let server = start("127.0.0.1:0", monitoring).unwrap();
    let mut client = Client::connect(server.address());
    for (request, status) in [
        (get("/healthz"), 200),
        (get("/metrics"), 200),
        (get("/readyz"), 404),
        (post("", "1"), 404),
        (get("/enviar"), 404),
        (post("", "1").replace("/enviar", "/metrics"), 405),
    ] {
        assert_eq!(client.ask(&request).status, status, "{request:?}");
    }
    let taken = server.address().to_string();
    let again = start(&taken, Monitoring::new(&[], None));
    let error = again.err().expect("the address is taken").to_string();
    assert!(error.contains(&format!("cannot listen on {taken} (consumer.metrics_listen)")), "{error}");
    server.stop(Instant::now() + PATIENCE);
}

/// A channel that keeps who hands over a large message until it is let go, as it might take long to look
/// through.
struct Busy {
    channel: Channel,
    begun: mpsc::Sender<()>,
    go_on: Mutex<mpsc::Receiver<()>>,
}

impl Submit for Busy {
    fn submit(&self, message: ProducerRecord, done: DeliveryCallback) -> Result<(), SubmitError> {
        if message.value.as_ref().is_some_and(|value| value.len() > 100_000) {
            self.begun.send(()).unwrap();
            self.go_on.lock().unwrap().recv_timeout(PATIENCE).unwrap();
        }
        self.channel.submit(message, done)
    }
}

#[test]
fn a_large_body_that_is_looked_through_holds_up_nobody() {
    let channel = Channel::new();
    let ((begin, begun), (go_on, gone_on)) = (mpsc::channel(), mpsc::channel());
    let busy = Busy { channel: channel.clone(), begun: begin, go_on: Mutex::new(gone_on) };
    let server =
        HttpServer::start(&endpoint_of(&settings()), backing(Box::new(busy), &channel), monitoring())
            .unwrap();
    let mut client = Client::connect(server.address());
    let large = format!("\"{}\"", "x".repeat(500_000));
    client.send(post("", &large));
    begun.recv_timeout(PATIENCE).unwrap();
    for request in [get("/healthz"), get("/readyz"), get("/metrics"), post("", "1")] {
        assert_eq!(Client::connect(server.address()).ask(&request).status, 200, "{request}");
    }
    go_on.send(()).unwrap();
    assert_eq!(client.answer().status, 200);
    let less = format!("\"{}\"", "x".repeat(80_000));
    for (query, body, status) in
        [("", &less[1..], 400), ("?key=full", &less, 503), ("?key=panic", &less, 500)]
    {
        assert_eq!(client.ask(post(query, body)).status, status, "{query}");
    }
    assert_eq!(channel.taken(), [b"1".to_vec(), large.into_bytes()]);
}
