//! What good requests are answered, and that nobody waits for somebody else's message.

use std::time::{Duration, Instant};

use adapter::Adapter;
use client::Cluster;
use point_to_point::config::{ProducerApiSettings, Settings};
use point_to_point::http::HttpServer;
use point_to_point::producer::Producer;

use super::support::{Channel, Client, PATIENCE, backing, monitoring, post, settings, start, until};

#[test]
fn a_message_is_stored_as_posted_and_answered_with_its_place() {
    let (server, channel) = start(&settings());
    let body = " {\"id\":1,\"contenido\":\"Hola \\u00f1 ñ\",\"id\":1}\r\n";
    let answer = Client::connect(server.address()).ask(post("?key=a%20b", body));
    assert_eq!(answer.status, 200);
    assert!(answer.head.contains("\r\nContent-Type: application/json\r\n"), "{}", answer.head);
    assert!(answer.head.contains("\r\nDate: "), "{}", answer.head);
    let expected = format!(
        r#"{{"mensaje":"Mensaje enviado","data":{body},"topic":"mi-topico","partition":3,"offset":0}}"#
    );
    assert_eq!(answer.body, expected);
    assert_eq!(channel.taken(), [body.as_bytes()]);
}

#[test]
fn what_can_be_got_can_be_asked_for_its_head_alone() {
    let (server, _channel) = start(&settings());
    let mut client = Client::connect(server.address());
    for (path, status) in
        [("/topics", 200), ("/brokers", 200), ("/topics/a", 404), ("/topics/a/partitions", 404)]
    {
        let ask = |method: &str| format!("{method} {path} HTTP/1.1\r\nHost: x\r\n\r\n");
        let whole = client.ask(ask("GET"));
        assert_eq!(whole.status, status, "{path}: {}", whole.body);
        client.send(ask("HEAD"));
        let head = client.answer_to(true);
        let lines = |head: &str| -> Vec<String> {
            let its_own = |line: &&str| line.starts_with("Date: ") || line.starts_with("X-Request-Id: ");
            head.lines().filter(|line| !its_own(line)).map(str::to_owned).collect()
        };
        assert_eq!(lines(&head.head), lines(&whole.head), "{path}");
    }
    let answer = client.ask("DELETE /topics/a HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_eq!(answer.status, 405);
    assert!(answer.head.contains("\r\nAllow: GET, HEAD, POST\r\n"), "{}", answer.head);
}

#[test]
fn each_fate_of_a_message_has_its_status() {
    let (server, _channel) = start(&settings());
    let mut client = Client::connect(server.address());
    for (key, status, code) in [
        ("no+broker", 503, "no_broker"),
        ("full", 503, "queue_full"),
        ("refused", 502, "refused"),
        ("unknown", 504, "unknown"),
    ] {
        let answer = client.ask(post(&format!("?key={key}"), "{}"));
        assert_eq!((answer.status, answer.code().as_str()), (status, code));
        assert_eq!(answer.head.contains("\r\nRetry-After: 1\r\n"), status == 503, "{}", answer.head);
    }
    assert_eq!(client.ask(post("", "{}")).status, 200, "the connection has stayed open");
}

#[test]
fn a_message_that_waits_holds_up_nobody_else() {
    let (server, channel) = start(&settings());
    let mut stuck: Vec<Client> = (0..20).map(|_| Client::connect(server.address())).collect();
    for client in &mut stuck {
        client.send(post("?key=held", "{}"));
    }
    until("all are held", || channel.held() == 20);
    let mut other = Client::connect(server.address());
    for _ in 0..100 {
        assert_eq!(other.ask(post("", "1")).status, 200);
        assert_eq!(other.ask("GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n").status, 404);
    }
    channel.release();
    for client in &mut stuck {
        assert_eq!(client.answer().status, 200);
    }
}

#[test]
fn a_message_without_any_outcome_is_answered_as_unknown_in_the_end() {
    let brief = ProducerApiSettings { answer_timeout_ms: 100, ..settings() };
    let (server, channel) = start(&brief);
    let mut client = Client::connect(server.address());
    let answer = client.ask(post("?key=held", "{}"));
    assert_eq!((answer.status, answer.code().as_str()), (504, "unknown"));
    assert!(client.is_closed());
    channel.release(); // too late: that answer must reach nobody
    let mut next = Client::connect(server.address());
    assert_eq!(next.ask("GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n").status, 404);
}

#[test]
fn other_paths_and_methods_are_answered_at_once() {
    let (server, channel) = start(&settings());
    let mut client = Client::connect(server.address());
    assert_eq!(client.ask("GET /enviar2 HTTP/1.1\r\nHost: x\r\n\r\n").code(), "not_found");
    for method in ["GET", "PUT", "DELETE", "BREW"] {
        let request = format!("{method} /enviar HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{{}}");
        let answer = client.ask(request);
        assert_eq!((answer.status, answer.code().as_str()), (405, "method_not_allowed"));
        assert!(answer.head.contains("\r\nAllow: POST\r\n"), "{}", answer.head);
    }
    client.send("HEAD /enviar HTTP/1.1\r\nHost: x\r\n\r\n");
    let answer = client.answer_to(true);
    assert_eq!(answer.status, 405);
    assert!(!answer.head.contains("Content-Length: 0"), "{}", answer.head);
    assert_eq!(client.ask("GET http://x/nothing HTTP/1.1\r\nHost: x\r\n\r\n").status, 404);
    assert_eq!(channel.taken().len(), 0);
}

#[test]
fn a_body_that_is_no_json_is_refused_and_the_connection_goes_on() {
    let (server, channel) = start(&settings());
    let mut client = Client::connect(server.address());
    for body in ["", "hola", "{", "{}{}", "\u{feff}{}", "{\"a\":}"] {
        let answer = client.ask(post("", body));
        assert_eq!((answer.status, answer.code().as_str()), (400, "bad_json"), "{body:?}");
    }
    let deep = format!("{}{}", "[".repeat(65), "]".repeat(65));
    for body in ["\"\\ud800\"", "1e999", deep.as_str()] {
        let answer = client.ask(post("", body));
        assert_eq!((answer.status, answer.code().as_str()), (400, "json_limits"), "{body:?}");
    }
    let mut raw = b"POST /enviar HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\n".to_vec();
    raw.extend_from_slice(b"\"\xff\"");
    assert_eq!(client.ask(raw).code(), "bad_json");
    for query in ["?key=%", "?key=%zz", "?key=%ff", "?key=a&key=b"] {
        assert_eq!(client.ask(post(query, "{}")).code(), "bad_parameter");
    }
    assert_eq!(channel.taken().len(), 0);
    assert_eq!(client.ask(post("?key=", "{}")).status, 200);
}

#[test]
fn a_handler_that_fails_ends_neither_its_thread_nor_its_client() {
    let (server, _channel) = start(&settings());
    let mut client = Client::connect(server.address());
    assert_eq!(client.ask(post("?key=panic", "{}")).code(), "internal");
    assert_eq!(client.ask(post("", "{}")).status, 200);
}

#[test]
fn a_stop_finishes_what_is_open_and_takes_nothing_new() {
    let (server, channel) = start(&settings());
    let address = server.address();
    let mut idle = Client::connect(address);
    assert_eq!(idle.ask(post("", "1")).status, 200);
    let mut half = Client::connect(address);
    let request = post("", "3");
    half.send(&request[..request.len() - 1]);
    let mut open = Client::connect(address);
    open.send(post("?key=held", "2"));
    until("it is held", || channel.held() == 1);
    let stopping = std::thread::spawn(move || server.stop(Instant::now() + PATIENCE));
    assert!(idle.is_closed(), "an idle connection is closed at once");
    until("nobody listens any more", || std::net::TcpStream::connect(address).is_err());
    half.send(&request[request.len() - 1..]);
    channel.release();
    for client in [&mut open, &mut half] {
        let answer = client.answer();
        assert_eq!(answer.status, 200);
        assert!(answer.head.contains("\r\nConnection: close\r\n"), "{}", answer.head);
        assert!(client.is_closed());
    }
    drop((open, half, idle));
    stopping.join().unwrap();
    assert_eq!(channel.taken(), [b"1", b"2", b"3"]);
}

#[test]
fn a_stop_does_not_wait_beyond_its_deadline_and_answers_who_still_waits() {
    let (server, channel) = start(&settings());
    let [mut open, mut head, mut body] = [(); 3].map(|()| Client::connect(server.address()));
    head.send("POST /enviar HTTP/1.1\r\nHost:");
    body.send("POST /enviar HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{");
    open.send(post("?key=held", "{}"));
    until("it is held", || channel.held() == 1);
    server.stop(Instant::now() + Duration::from_millis(50));
    let answer = open.answer();
    assert_eq!((answer.status, answer.code().as_str()), (504, "unknown"));
    for client in [&mut head, &mut body] {
        let answer = client.answer();
        assert_eq!((answer.status, answer.code().as_str()), (503, "closing"));
        assert!(client.is_closed());
    }
    assert!(open.is_closed());
    assert_eq!(channel.taken().len(), 1);
}

#[test]
fn without_a_broker_every_message_is_answered_as_not_stored() {
    let mut settings = Settings { producer_api: settings(), ..Settings::default() };
    settings.producer_api.answer_timeout_ms = 500;
    settings.kafka.bootstrap_servers = vec!["127.0.0.1:1".to_owned()];
    let adapter = Adapter::start_sharing(&Cluster::new(settings.cluster()), settings.own_adapter()).unwrap();
    let sender =
        Producer::start(&settings.producer_settings(), &settings.kafka.topic, adapter.endpoint(), "test")
            .unwrap();
    let backing = backing(Box::new(sender.clone()), &Channel::new());
    let server = HttpServer::start(&settings.endpoint(), backing, monitoring()).unwrap();
    let mut clients: Vec<Client> = (0..100).map(|_| Client::connect(server.address())).collect();
    for client in &mut clients {
        client.send(post("", "{\"id\":1}"));
    }
    for client in &mut clients {
        let answer = client.answer();
        assert_eq!(answer.status, 503, "{}", answer.body);
        assert!(answer.head.contains("\r\nRetry-After: 1\r\n"), "{}", answer.head);
        assert!(!answer.code().is_empty());
    }
    server.stop(Instant::now() + PATIENCE);
    sender.close(Instant::now());
    adapter.stop();
}
