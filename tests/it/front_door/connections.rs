//! How connections are used: kept, pipelined, half closed, left.

use point_to_point::config::ProducerApiSettings;

use super::support::{Client, post, settings, start, until};

#[test]
fn pipelined_requests_are_answered_in_order() {
    let (server, channel) = start(&settings());
    let mut client = Client::connect(server.address());
    let mut requests = String::new();
    for number in 0..300 {
        requests.push_str(&post("", &number.to_string()));
        requests.push_str("HEAD /enviar HTTP/1.1\r\nHost: x\r\n\r\n");
        requests.push_str("GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n");
    }
    client.send(&requests);
    for number in 0..300 {
        let answer = client.answer();
        assert!(answer.body.contains(&format!("\"data\":{number},")), "{}", answer.body);
        assert_eq!(client.answer_to(true).status, 405);
        assert_eq!(client.answer().status, 404);
    }
    let sent: Vec<Vec<u8>> = (0..300).map(|number| number.to_string().into_bytes()).collect();
    assert_eq!(channel.taken(), sent);
}

#[test]
fn endless_pipelining_does_not_fill_the_memory() {
    let (server, channel) = start(&settings());
    let mut client = Client::connect(server.address());
    client.send(post("?key=held", "{}"));
    until("it is held", || channel.held() == 1);
    // While that one waits nothing more is read, so the sockets' buffers fill up and this client is stopped.
    client.limit_writes();
    let more = post("", "{}").repeat(10_000);
    let mut written = 0;
    while client.try_send(more.as_bytes()) {
        written += more.len();
        assert!(written < 256 << 20, "the server reads on and on");
    }
    channel.release();
    assert_eq!(client.answer().status, 200);
}

#[test]
fn a_client_that_has_closed_its_half_gets_its_answers() {
    let (server, channel) = start(&settings());
    let mut client = Client::connect(server.address());
    client.send(post("?key=held", "1"));
    client.send(post("", "2"));
    client.half_close();
    until("it is held", || channel.held() == 1);
    channel.release();
    assert!(client.answer().body.contains("\"data\":1,"));
    assert!(client.answer().body.contains("\"data\":2,"));
    assert!(client.is_closed());
}

#[test]
fn empty_lines_between_requests_are_no_request() {
    let (server, channel) =
        start(&ProducerApiSettings { head_timeout_ms: 200, idle_timeout_ms: 2000, ..settings() });
    let mut client = Client::connect(server.address());
    client.send("\r\n\r");
    client.send(format!("\n{}\r\n", post("", "1")));
    assert_eq!(client.answer().status, 200);
    client.send("\r\n\r\n\r");
    client.send(format!("\n\r\n{}\r\n\r", post("", "2")));
    assert_eq!(client.answer().status, 200);
    assert!(client.is_closed(), "nothing is asked any more, so nothing is answered");
    assert_eq!(channel.taken(), [b"1", b"2"]);
}

#[test]
fn the_connection_ends_where_the_client_says_so() {
    let (server, _channel) = start(&settings());
    let get = "GET /nothing HTTP/1.1\r\nHost: x\r\n";
    for request in [
        format!("{get}Connection: close\r\n\r\n"),
        format!("{get}Connection: keep-alive, Close\r\n\r\n"),
        "GET /nothing HTTP/1.0\r\n\r\n".to_owned(),
        "GET /nothing HTTP/1.0\r\nConnection: keep-alive\r\n\r\n".to_owned(),
    ] {
        let mut client = Client::connect(server.address());
        client.send(request.repeat(2));
        let answer = client.answer();
        assert_eq!(answer.status, 404);
        assert!(answer.head.contains("\r\nConnection: close\r\n"), "{}", answer.head);
        client.half_close();
        assert!(client.is_closed(), "the second request must not be served");
    }
}

#[test]
fn a_client_that_asks_first_is_told_to_go_on_or_not() {
    let (server, channel) = start(&ProducerApiSettings { max_body_bytes: 1000, ..settings() });
    let head = |length: usize| {
        format!(
            "POST /enviar HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: {length}\r\n\r\n"
        )
    };
    let mut client = Client::connect(server.address());
    assert_eq!(client.ask(head(2)).status, 100);
    assert_eq!(client.ask("{}").status, 200);
    assert_eq!(client.ask(head(2) + "[]").status, 200, "who does not wait is not told");
    assert_eq!(client.ask(head(1001)).status, 413);
    assert_eq!(channel.taken(), [b"{}", b"[]"]);
}

#[test]
fn large_bodies_go_through_unchanged() {
    let (server, channel) = start(&settings());
    for length in [1000, 1024, 1025, 70_000, 1_048_576] {
        let body = format!("\"{}\"", "x".repeat(length - 2));
        let mut client = Client::connect(server.address());
        let answer = client.ask(post("", &body));
        assert_eq!(answer.status, 200);
        assert!(answer.body.contains(&body));
        assert_eq!(channel.taken().last().map(Vec::as_slice), Some(body.as_bytes()));
    }
    let body = format!("\"{}\"", "x".repeat(1_048_575));
    assert_eq!(Client::connect(server.address()).ask(post("", &body)).code(), "body_too_large");
}

#[test]
fn a_client_that_leaves_keeps_its_place_until_its_answer_has_come() {
    let (server, channel) = start(&ProducerApiSettings { max_connections: 2, ..settings() });
    for number in 1..=2 {
        let mut client = Client::connect(server.address());
        client.send(post("?key=held", "{}"));
        until("it is held", || channel.held() == number);
        client.reset();
    }
    let mut third = Client::connect(server.address());
    third.send(post("", "3"));
    assert_eq!(channel.taken().len(), 2, "there is no place for a third");
    channel.release();
    assert!(third.answer().body.contains("\"data\":3,"));
}
