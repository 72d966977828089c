//! The token: who shows it is served, who does not learns nothing and harms nobody.

use point_to_point::config::{ProducerApiSettings, Secret};

use super::support::{Client, settings, start};

const TOKEN: &str = "0123456789abcdef";

fn guarded() -> ProducerApiSettings {
    ProducerApiSettings { token: Some(Secret::new(TOKEN)), ..settings() }
}

/// A good request with these header lines.
fn post(headers: &str) -> String {
    format!("POST /enviar HTTP/1.1\r\nHost: x\r\n{headers}Content-Length: 2\r\n\r\n{{}}")
}

#[test]
fn only_who_shows_the_token_may_send() {
    let (server, channel) = start(&guarded());
    let right = post("Authorization: Bearer 0123456789abcdef\r\n");
    let mut good = Client::connect(server.address());
    assert_eq!(good.ask(&right).status, 200);
    for (headers, status, code) in [
        ("", 401, "unauthorized"),
        ("Authorization: Bearer 0123456789abcdeg\r\n", 401, "unauthorized"),
        ("Authorization: Basic 0123456789abcdef\r\n", 401, "unauthorized"),
        ("Authorization:\r\n", 401, "unauthorized"),
        ("Proxy-Authorization: Bearer 0123456789abcdef\r\n", 401, "unauthorized"),
        ("Authorization: Bearer 0123456789abcdef\r\nauthorization: Bearer x\r\n", 400, "bad_authorization"),
        ("Authorization: Bearer 0123456789abcdef\r\n Bearer x\r\n", 400, "bad_header"),
    ] {
        let mut client = Client::connect(server.address());
        let answer = client.ask(post(headers));
        assert_eq!((answer.status, answer.code().as_str()), (status, code), "{headers:?}");
        let challenged = answer.head.contains("\r\nWWW-Authenticate: Bearer\r\n");
        assert_eq!(challenged, status == 401, "{}", answer.head);
        assert!(client.is_closed());
        assert!(!answer.body.contains(TOKEN) && !answer.head.contains(TOKEN));
    }
    assert_eq!(good.ask(&right).status, 200, "the connection has stayed open");
    assert_eq!(channel.taken().len(), 2);
}

#[test]
fn without_the_token_a_request_is_refused_before_its_body_is_asked_for() {
    let (server, channel) = start(&guarded());
    let mut client = Client::connect(server.address());
    let answer = client
        .ask("POST /enviar HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 999999999\r\n\r\n");
    assert_eq!(answer.status, 401, "{}", answer.head);
    assert!(channel.taken().is_empty());
}

#[test]
fn without_the_token_nobody_learns_what_there_is() {
    let (server, _channel) = start(&guarded());
    for request in
        ["GET /metrics", "GET /nothing", "DELETE /enviar", "POST /healthz", "GET /healthz/../metrics"]
    {
        let request = format!("{request} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n");
        assert_eq!(Client::connect(server.address()).ask(request).status, 401);
    }
    for path in ["/", "/healthz", "/readyz", "/openapi.json"] {
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n");
        assert_ne!(Client::connect(server.address()).ask(request).status, 401, "{path}");
    }
}

#[test]
fn a_flood_of_wrong_tokens_keeps_nobody_from_service() {
    let (server, channel) = start(&guarded());
    let right = post("Authorization: Bearer 0123456789abcdef\r\n");
    let mut good = Client::connect(server.address());
    for number in 0..1000 {
        let mut bad = Client::connect(server.address());
        bad.send(post(&format!("Authorization: Bearer {number:016}\r\n")));
        if number % 10 == 0 {
            assert_eq!(good.ask(&right).status, 200);
        }
        assert_eq!(bad.answer().status, 401);
    }
    assert_eq!(channel.taken().len(), 100);
}
