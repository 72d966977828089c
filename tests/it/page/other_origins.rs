//! A page of another origin in a real browser, which sends to the endpoint only where its owner has named
//! that origin.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use super::webdriver::Browser;
use crate::supervisor::channel::Place;
use crate::support::program::{Program, Start};

const TOKEN: &str = "0123456789abcdef";

/// A site with one empty page; it ends when dropped.
struct Site {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
}

impl Site {
    fn open() -> Site {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, stop) = (listener.local_addr().unwrap(), Arc::new(AtomicBool::new(false)));
        let stopped = stop.clone();
        thread::spawn(move || {
            let page = "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 15\r\n\
                        Connection: close\r\n\r\n<!doctype html>";
            for mut client in listener.incoming().map_while(Result::ok) {
                if stopped.load(Ordering::Relaxed) {
                    return;
                }
                // The browser opens connections ahead, on which nothing comes.
                thread::spawn(move || {
                    let _ = client.read(&mut [0; 4096]).and_then(|_| client.write_all(page.as_bytes()));
                });
            }
        });
        Site { address, stop }
    }

    fn origin(&self) -> String {
        format!("http://localhost:{}", self.address.port())
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(self.address);
    }
}

/// What a script of the page learns when it fetches from the endpoint: the status and the answer with its
/// request id, or that it learns nothing.
fn fetched(browser: &Browser, endpoint: &Program, path: &str, options: &str) -> String {
    browser.value(&format!(
        "(window.learned = undefined, fetch('http://{}{path}', {options}).then(
            async answer => window.learned =
                [answer.status, !!answer.headers.get('X-Request-Id'), await answer.text()].join(' '),
            () => window.learned = 'nothing'), true)",
        endpoint.address()
    ));
    browser.wait_for("window.learned !== undefined");
    browser.text("window.learned")
}

pub fn a_page_of_another_origin_sends_where_that_origin_is_allowed(version: &'static str) {
    let (place, allowed, other) = (Place::new(version), Site::open(), Site::open());
    let start = place
        .program(Start::program("producer_api"))
        .set("producer_api.allowed_origins", &format!("[\"{}\"]", allowed.origin()))
        .set("producer_api.access_log", "true")
        .by(&format!("POINT_TO_POINT__PRODUCER_API__TOKEN={TOKEN} exec \"$@\""));
    let endpoint = Program::producer_with(start);
    let headers = format!("{{'Authorization': 'Bearer {TOKEN}', 'Content-Type': 'application/json'}}");
    let post = format!("{{method: 'POST', headers: {headers}, body: '1'}}");

    let browser = Browser::at(&allowed.origin());
    let answer = fetched(&browser, &endpoint, "/enviar", &post);
    assert!(answer.starts_with("200 true ") && answer.contains("Mensaje enviado"), "{answer}");
    // An answer that is no success is read as well: without the token, and where there is nothing.
    let answer = fetched(&browser, &endpoint, "/enviar", "{method: 'POST', body: '2'}");
    assert!(answer.starts_with("401 true ") && answer.contains("unauthorized"), "{answer}");
    let answer = fetched(&browser, &endpoint, "/nothing", &format!("{{headers: {headers}}}"));
    assert!(answer.starts_with("404 true "), "{answer}");
    // The stream of events, of which the first piece is enough.
    browser.value(&format!(
        "(window.learned = undefined, fetch('http://{}/events', {{headers: {headers}}}).then(
            async answer => window.learned =
                new TextDecoder().decode((await answer.body.getReader().read()).value)), true)",
        endpoint.address()
    ));
    browser.wait_for("(window.learned ?? '').startsWith('event: ')");

    // Another page: its preflight fails, and a request that needs none is refused.
    browser.go_to(&other.origin());
    assert_eq!(fetched(&browser, &endpoint, "/enviar", &post), "nothing");
    assert_eq!(fetched(&browser, &endpoint, "/enviar", "{method: 'POST', body: '3'}"), "nothing");
    assert_eq!(fetched(&browser, &endpoint, "/healthz", "{}"), "nothing");
    endpoint.wait_for_log(&["status=403", "POST /enviar"], super::PATIENCE);
    let stored = |log: &[String]| {
        log.iter().filter(|line| line.contains("status=200") && line.contains("POST")).count()
    };
    assert_eq!(stored(&endpoint.log()), 1);
}
