//! Input that breaks a rule: never published, and harmless to everybody else. The table of statuses is tried
//! on the real program, in tests/hostile.

use std::thread;

use point_to_point::config::ProducerApiSettings;

use super::support::{Client, post, settings, start};

#[test]
fn a_request_that_comes_byte_by_byte_is_as_good_as_one_that_comes_whole() {
    let (server, channel) = start(&settings());
    let chunked = "POST /enviar HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n\
                   3\r\n[1,\r\n2;x=y\r\n2]\r\n0\r\nTrailer: x\r\n\r\n";
    for request in [post("", "[1,2]"), chunked.to_owned()] {
        let mut client = Client::connect(server.address());
        for byte in request.as_bytes() {
            client.send([*byte]);
        }
        assert_eq!(client.answer().status, 200);
    }
    assert_eq!(channel.taken(), [b"[1,2]", b"[1,2]"]);
}

#[test]
fn a_body_cut_short_is_never_published() {
    let (server, channel) = start(&settings());
    let chunked =
        "POST /enviar HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n1234\r\n0\r\n\r\n";
    let large = post("", &format!("[{}1]", "1,".repeat(2000)));
    for whole in [post("", "1234"), chunked.to_owned(), large] {
        let body = whole.find("\r\n\r\n").unwrap() + 4;
        for end in [1, body - 1, body, body + 1, whole.len() - 1] {
            let mut client = Client::connect(server.address());
            client.send(&whole[..end]);
            client.half_close();
            assert_eq!(client.answer().code(), "cut_short", "{:?}", &whole[..end.min(200)]);
            assert!(client.is_closed());
            let mut gone = Client::connect(server.address());
            gone.send(&whole[..end]);
        }
    }
    assert_eq!(Client::connect(server.address()).ask(post("", "5")).status, 200);
    assert_eq!(channel.taken(), [b"5"]);
}

#[test]
fn slow_requests_are_given_up_and_silent_connections_closed() {
    let brief = ProducerApiSettings {
        head_timeout_ms: 300,
        body_timeout_ms: 300,
        idle_timeout_ms: 900,
        ..settings()
    };
    let (server, channel) = start(&brief);
    let mut silent = Client::connect(server.address());
    let (mut head, mut body) = (Client::connect(server.address()), Client::connect(server.address()));
    head.send("POST /enviar HTTP/1.1\r\nHost:");
    body.send("POST /enviar HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{");
    let mut trickle = Client::connect(server.address());
    let answer = loop {
        // each byte in time, the whole head not
        trickle.send("a");
        thread::sleep(std::time::Duration::from_millis(20));
        if trickle.has_input() {
            break trickle.answer();
        }
    };
    assert_eq!(answer.status / 100, 4);
    assert_eq!(head.answer().code(), "slow_head");
    assert_eq!(body.answer().code(), "slow_body");
    assert!(silent.is_closed(), "nothing was asked, so nothing is answered");
    assert_eq!(channel.taken().len(), 0);
}

#[test]
fn random_bytes_harm_nobody() {
    let (server, _channel) = start(&ProducerApiSettings { head_timeout_ms: 500, ..settings() });
    let good = post("?key=a", "{\"a\":[1,2,3]}");
    let mut state = 0x9e37_79b9_7f4a_7c15_u64; // xorshift with a fixed seed: every run is the same
    let mut random = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % below as u64) as usize
    };
    for round in 0..500 {
        let mut bytes = good.repeat(1 + random(3)).into_bytes();
        for _ in 0..1 + random(8) {
            let place = random(bytes.len());
            match random(3) {
                0 => bytes[place] = random(256) as u8,
                1 => bytes.truncate(place.max(1)),
                _ => bytes.insert(place, b"\r\n\0 :;0f\xff"[random(9)]),
            }
        }
        let mut client = Client::connect(server.address());
        client.send(&bytes);
        client.half_close();
        while !client.is_closed() {
            let status = client.answer().status;
            assert!(status < 500 || status == 501 || status == 505, "{status} in round {round}");
        }
    }
    assert_eq!(Client::connect(server.address()).ask(good).status, 200);
}
