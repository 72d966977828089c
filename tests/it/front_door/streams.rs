//! `GET /events`: answers that go on, beside requests that want an end. And the page.

use std::time::Instant;

use point_to_point::config::ProducerApiSettings;

use crate::support::turn::{HEAVY, Turn};

use super::support::{Client, PATIENCE, post, settings, start, until};

const WATCH: &str = "GET /events HTTP/1.1\r\nHost: x\r\n\r\n";

/// A watcher who has been told everything there is.
fn watcher(address: std::net::SocketAddr) -> Client {
    let mut client = Client::connect(address);
    client.send(WATCH);
    client.read_until("event: letters\ndata: []\n\n\r\n");
    client
}

#[test]
fn a_watcher_hears_of_what_is_sent_before_it_came_and_after() {
    let (server, _channel) = start(&settings());
    let mut sender = Client::connect(server.address());
    assert_eq!(sender.ask(post("?key=k1", r#"{"id":1}"#)).status, 200);
    let mut client = Client::connect(server.address());
    client.send(WATCH);
    let head = client.read_until("\r\n\r\n");
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    for line in ["Content-Type: text/event-stream\r\n", "Transfer-Encoding: chunked\r\n"] {
        assert!(head.contains(line), "{head}");
    }
    assert!(!head.contains("Content-Length"), "{head}");
    let mut told = String::new();
    // In any order.
    while ![r#"{\"id\":1}"#, "\"k1\"", "event: group", "event: letters\ndata: []"]
        .iter()
        .all(|text| told.contains(text))
    {
        told += &client.read_until("\n\n");
    }
    assert_eq!(sender.ask(post("", "[\"<b>\\n\"]")).status, 200);
    client.read_until("event: sent\ndata: [{\"topic\":\"mi-topico\",\"partition\":3,\"offset\":1,");
    client.read_until(r#"[\"<b>\\n\"]"#);
}

#[test]
fn in_http_1_0_a_stream_has_no_chunks_and_head_has_no_stream() {
    let (server, _channel) = start(&settings());
    let mut old = Client::connect(server.address());
    old.send("GET /events HTTP/1.0\r\n\r\n");
    let head = old.read_until("\r\n\r\n");
    assert!(!head.contains("chunked") && head.contains("Connection: close"), "{head}");
    assert_eq!(old.read_until("\n\n"), "event: sent\ndata: []\n\n");
    let mut client = Client::connect(server.address());
    let answer = {
        client.send("HEAD /events HTTP/1.1\r\nHost: x\r\n\r\n");
        client.answer_to(true)
    };
    assert!(answer.head.contains("text/event-stream"), "{}", answer.head);
    assert!(client.is_closed());
}

#[test]
fn sixty_four_watch_and_no_more_until_one_leaves() {
    let (server, _channel) = start(&settings());
    let mut watchers: Vec<Client> = (0..64).map(|_| watcher(server.address())).collect();
    let answer = Client::connect(server.address()).ask(WATCH);
    assert_eq!((answer.status, answer.code().as_str()), (503, "too_many_watchers"));
    assert!(answer.head.contains("Retry-After"));
    watchers.pop();
    let mut next = None;
    until("there is room for another", || {
        let mut client = Client::connect(server.address());
        client.send(WATCH);
        let is_in = client.read_until("\r\n\r\n").starts_with("HTTP/1.1 200");
        next = is_in.then_some(client);
        is_in
    });
    // Leaving without a word, and by closing one side, make room as well.
    next.expect("a watcher").half_close();
    watchers.pop().expect("a watcher").reset();
    until("there is room for two", || {
        let mut two = [Client::connect(server.address()), Client::connect(server.address())];
        two.each_mut().iter_mut().all(|client| {
            client.send(WATCH);
            client.read_until("\r\n\r\n").starts_with("HTTP/1.1 200")
        })
    });
}

#[test]
fn watchers_who_do_not_read_are_dropped_and_cost_good_clients_nothing() {
    let _turn = Turn::wait(HEAVY);
    let (server, channel) = start(&ProducerApiSettings { max_connections: 300, ..settings() });
    let mut slow: Vec<Client> = (0..63).map(|_| Client::connect_narrow(server.address())).collect();
    for client in &mut slow {
        client.send(WATCH);
    }
    let mut good = watcher(server.address());
    let mut sender = Client::connect(server.address());
    // Control characters are told six times as long as they are.
    let request = post(&format!("?key={}", "%01".repeat(240)), "1");
    let mut sent = 0;
    let deadline = Instant::now() + PATIENCE;
    while slow.iter_mut().any(|client| !client.was_dropped()) {
        assert!(Instant::now() < deadline, "some are still there after {sent} messages");
        for _ in 0..50 {
            assert_eq!(sender.ask(&request).status, 200);
            sent += 1;
        }
        good.read_until(&format!("\"offset\":{},", sent - 1));
    }
    assert_eq!(channel.taken().len(), sent);
    watcher(server.address());
}

#[test]
fn a_stop_ends_streams_at_once_and_finishes_requests() {
    let (server, channel) = start(&settings());
    let mut watchers: Vec<Client> = (0..10).map(|_| watcher(server.address())).collect();
    let mut narrow = Client::connect_narrow(server.address());
    narrow.send(WATCH);
    let mut open = Client::connect(server.address());
    open.send(post("?key=held", "1"));
    until("the message is with the channel", || channel.held() == 1);
    let stopping = std::thread::spawn(move || server.stop(Instant::now() + PATIENCE));
    for client in &mut watchers {
        client.read_until("0\r\n\r\n");
        assert!(client.is_closed());
    }
    assert!(!stopping.is_finished(), "a request is open");
    channel.release();
    assert_eq!(open.answer().status, 200);
    stopping.join().unwrap();
}

#[test]
fn dead_letters_are_replayed_and_discarded_by_name() {
    dead_letters_are_settled_by_name("replay");
    dead_letters_are_settled_by_name("discard");
}

fn dead_letters_are_settled_by_name(action: &str) {
    let (server, _channel) = start(&settings());
    let settle = |body: &str| {
        let head =
            format!("POST /dead-letters/{action} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json");
        Client::connect(server.address())
            .ask(format!("{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len()))
    };
    let answer = settle(r#"{"letters":["0:1"]}"#);
    assert_eq!(
        (answer.status, answer.body.as_str()),
        (200, r#"{"letters":[{"error":null,"letter":"0:1"}]}"#)
    );
    let answer = settle(r#"{"letters":["9:1","0:2"]}"#);
    assert_eq!(answer.status, 207);
    assert!(answer.body.contains("it is not there"), "{}", answer.body);
    assert_eq!(settle("").code(), "bad_json");
    for body in ["{}", r#"{"letters":[]}"#, r#"{"letters":["-"]}"#] {
        let answer = settle(body);
        assert_eq!((answer.status, answer.code().as_str()), (400, "bad_letters"), "{body}");
    }
    let unknown = settle(r#"{"letters":["0:1"],"pratition":0}"#);
    assert_eq!((unknown.status, unknown.code().as_str()), (400, "bad_letters"));
    assert!(
        unknown.body.contains(r#"The body has \"pratition\"; it may have letters alone."#),
        "{}",
        unknown.body
    );
}

#[test]
fn dead_letters_are_looked_for_with_the_conditions_that_are_known() {
    let (server, _channel) = start(&settings());
    let ask = |query: &str| {
        Client::connect(server.address()).ask(format!("GET /dead-letters{query} HTTP/1.1\r\nHost: x\r\n\r\n"))
    };
    let none = r#"{"letters":[],"fit":0,"looked_at":0,"open":0,"complete":true,"trouble":null}"#;
    for query in ["", "?text=no%20stock&max=100", "?error=a&key=b&group=c&partition=3&since=2h"] {
        let answer = ask(query);
        assert_eq!((answer.status, answer.body.as_str()), (200, none), "{query}");
    }
    for (query, code) in
        [("?txt=a", "unknown_parameter"), ("?max=101", "bad_parameter"), ("?since=x", "bad_parameter")]
    {
        let answer = ask(query);
        assert_eq!((answer.status, answer.code().as_str()), (400, code), "{query}");
    }
}

#[test]
fn who_watches_gets_the_history_first() {
    let (server, _channel) = start(&settings());
    let mut client = Client::connect(server.address());
    client.send("GET /events HTTP/1.1\r\nHost: x\r\n\r\n");
    client.read_until("event: history\ndata: {\"since\":");
    client.read_until("\"interval\":10000,\"samples\":[");
}

#[test]
fn the_page_is_guarded_by_its_headers_and_not_sent_twice() {
    let (server, _channel) = start(&settings());
    let mut client = Client::connect(server.address());
    for (path, kind) in
        [("/", "text/html"), ("/page/style.css", "text/css"), ("/page/script.js", "text/javascript")]
    {
        let answer = client.ask(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n"));
        assert_eq!(answer.status, 200);
        let policy = "Content-Security-Policy: default-src 'none'; script-src 'self'; style-src 'self'; ";
        for line in [policy, "X-Content-Type-Options: nosniff\r\n", "Referrer-Policy: no-referrer\r\n"] {
            assert!(answer.head.contains(line), "{}", answer.head);
        }
        assert!(answer.head.contains(&format!("Content-Type: {kind}; charset=utf-8\r\n")));
        let tag = answer.head.split_once("ETag: ").unwrap().1.split_once("\r\n").unwrap().0;
        for (known, status) in [(tag, 304), (&*format!("\"x\", W/{tag}"), 304), ("\"x\"", 200)] {
            let again =
                client.ask(format!("GET {path} HTTP/1.1\r\nHost: x\r\nIf-None-Match: {known}\r\n\r\n"));
            assert_eq!(again.status, status, "{known}");
        }
        client.send(format!("HEAD {path} HTTP/1.1\r\nHost: x\r\n\r\n"));
        assert!(client.answer_to(true).head.contains(&format!("Content-Length: {}\r\n", answer.body.len())));
        assert_eq!(client.ask(post("", "1").replace("/enviar", path)).status, 405);
    }
}

#[test]
fn a_page_of_another_site_can_send_nothing() {
    let (server, channel) = start(&settings());
    for headers in ["Origin: http://evil.example\r\n", "Origin: null\r\n", "Sec-Fetch-Site: cross-site\r\n"] {
        for path in ["/enviar", "/dead-letters/replay", "/dead-letters/discard", "/nowhere"] {
            let request = post("", "1").replace("/enviar", path).replace("Host:", &format!("{headers}Host:"));
            let answer = Client::connect(server.address()).ask(request);
            assert_eq!((answer.status, answer.code().as_str()), (403, "cross_site"), "{headers}{path}");
        }
    }
    assert!(channel.taken().is_empty());
    let own = post("", "1").replace("Host:", "Origin: http://x\r\nSec-Fetch-Site: same-origin\r\nHost:");
    assert_eq!(Client::connect(server.address()).ask(own).status, 200);
}

#[test]
fn a_name_of_another_site_that_points_here_is_refused() {
    let (server, channel) = start(&settings());
    for (host, refused) in [("evil.example:5000", true), ("localhost:5000", false), ("127.0.0.1", false)] {
        let own = |request: &str| format!("{request} HTTP/1.1\r\nHost: {host}\r\nOrigin: http://{host}\r\n");
        for request in [own("GET /healthz") + "\r\n", own("POST /enviar") + "Content-Length: 1\r\n\r\n1"] {
            let answer = Client::connect(server.address()).ask(&request);
            assert_eq!(answer.status, if refused { 403 } else { 200 }, "{request}");
            assert!(!refused || answer.code() == "foreign_name", "{}", answer.body);
        }
    }
    assert_eq!(channel.taken().len(), 2);
}
