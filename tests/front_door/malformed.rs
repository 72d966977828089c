//! Input that breaks a rule: each case gets its status, is never published, and harms nobody else.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use point_to_point::config::ProducerApiSettings;

use crate::support::{Client, post, settings, start};

const LIMIT: usize = 100_000;

/// Cases with the status that each must get. None of them is a whole good request.
fn cases() -> Vec<(u16, Vec<u8>)> {
    let request = |line: &str, headers: &str, body: &str| format!("{line}\r\n{headers}\r\n{body}");
    let line = "POST /enviar HTTP/1.1";
    let with = |headers: &str, body: &str| request(line, &format!("Host: x\r\n{headers}"), body);
    let text = [
        (400, request("POST /enviar", "Host: x\r\n", "")),
        (400, request("POST  /enviar HTTP/1.1", "Host: x\r\n", "")),
        (400, request("\0\u{1}\u{2}", "", "")),
        (400, request("POST enviar HTTP/1.1", "Host: x\r\n", "")),
        (400, "POST /enviar HTTP/1.1\nHost: x\nContent-Length: 2\n\n{}".to_owned()),
        (400, "POST /enviar HTTP/1.1\r\nHost: x\nContent-Length: 2\r\n\r\n{}".to_owned()),
        (400, request(line, "Content-Length: 2\r\n", "{}")),
        (400, request(line, "Host: x\r\nHost: y\r\nContent-Length: 2\r\n", "{}")),
        (400, with("Content-Length: abc\r\n", "{}")),
        (400, with("Content-Length: -2\r\n", "{}")),
        (400, with("Content-Length: 2\r\nContent-Length: 2\r\n", "{}")),
        (400, with("Content-Length: 2\r\nContent-Length: 20\r\n", "{}")),
        (400, with("Content-Length: 2\r\nTransfer-Encoding: chunked\r\n", "2\r\n{}\r\n0\r\n\r\n")),
        (400, with("Content-Length : 2\r\n", "{}")),
        (400, with("Folded: a\r\n b\r\nContent-Length: 2\r\n", "{}")),
        (400, with("Transfer-Encoding: chunked\r\n", "zz\r\n{}\r\n0\r\n\r\n")),
        (400, with("Transfer-Encoding: chunked\r\n", "2\r\n{}0\r\n\r\n")),
        (400, with("Transfer-Encoding: chunked\r\n", "2\n{}\n0\n\n")),
        (411, with("", "")),
        (413, with("Content-Length: 100001\r\n", "{}")),
        (413, with("Content-Length: 99999999999999\r\n", "{}")),
        (413, with("Content-Length: 99999999999999999999999999\r\n", "{}")),
        (413, with("Transfer-Encoding: chunked\r\n", "186a1\r\n")),
        (413, with("Transfer-Encoding: chunked\r\n", "ffffffff\r\n")),
        (414, request(&format!("POST /{} HTTP/1.1", "a".repeat(8 * 1024)), "Host: x\r\n", "")),
        (414, format!("POST /enviar?key={}", "a".repeat(20 * 1024))),
        (415, with("Content-Encoding: gzip\r\nContent-Length: 2\r\n", "{}")),
        (417, with("Expect: a-miracle\r\nContent-Length: 2\r\n", "{}")),
        (431, with(&"A: b\r\n".repeat(64), "")),
        (431, with(&format!("A: {}", "b".repeat(17 * 1024)), "")),
        (501, with("Transfer-Encoding: gzip\r\n", "")),
        (501, with("Transfer-Encoding: gzip, chunked\r\n", "2\r\n{}\r\n0\r\n\r\n")),
        (505, request("POST /enviar HTTP/2.0", "Host: x\r\n", "")),
        (505, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned()),
    ];
    text.into_iter().map(|(status, text)| (status, text.into_bytes())).collect()
}

/// Posts one good message after the other until told to stop, and returns how many. One failure is a panic.
fn good_client(address: SocketAddr, stop: Arc<AtomicBool>) -> thread::JoinHandle<usize> {
    thread::spawn(move || {
        let (mut client, mut count) = (Client::connect(address), 0);
        while !stop.load(Ordering::Relaxed) {
            assert_eq!(client.ask(post("", "{\"good\":true}")).status, 200);
            count += 1;
        }
        count
    })
}

#[test]
fn each_malformed_request_gets_its_status_and_good_clients_notice_nothing() {
    let (server, channel) = start(&ProducerApiSettings { max_body_bytes: LIMIT, ..settings() });
    let stop = Arc::new(AtomicBool::new(false));
    let good = good_client(server.address(), Arc::clone(&stop));
    for _ in 0..25 {
        for (status, request) in cases() {
            let mut client = Client::connect(server.address());
            client.send(&request);
            let answer = client.answer();
            let text = String::from_utf8_lossy(&request[..request.len().min(200)]).into_owned();
            assert_eq!(answer.status, status, "{text:?} was answered {answer:?}");
            assert!(answer.head.contains("\r\nConnection: close\r\n"), "{}", answer.head);
            assert!(!answer.code().is_empty());
            client.half_close();
            assert!(client.is_closed(), "nothing after a refused request is served");
        }
    }
    stop.store(true, Ordering::Relaxed);
    let count = good.join().unwrap();
    assert!(count > 0);
    assert_eq!(channel.taken().len(), count, "nothing but the good messages was published");
}

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
