//! Pages of other origins: those that the settings name may use the endpoint from a browser, all others are
//! refused as before.

use point_to_point::config::{ProducerApiSettings, Secret};
use point_to_point::http::HttpServer;

use super::support::{Answer, Channel, Client, settings, start};

const ALLOWED: &str = "Origin: http://localhost:4200\r\n";
const OTHER: &str = "Origin: http://localhost:4201\r\n";
const TOKEN: &str = "Authorization: Bearer 0123456789abcdef\r\n";

fn allowing() -> ProducerApiSettings {
    ProducerApiSettings { allowed_origins: vec!["http://localhost:4200".to_owned()], ..settings() }
}

fn guarded() -> (HttpServer, Channel) {
    start(&ProducerApiSettings { token: Some(Secret::new("0123456789abcdef")), ..allowing() })
}

fn request(line: &str, headers: &str) -> String {
    format!("{line} HTTP/1.1\r\nHost: x:1\r\n{headers}Content-Length: 2\r\n\r\n{{}}")
}

/// The preflight request of a browser.
fn preflight(path: &str, origin: &str) -> String {
    let asked = "Access-Control-Request-Method: POST\r\nAccess-Control-Request-Headers: authorization\r\n";
    format!("OPTIONS {path} HTTP/1.1\r\nHost: x:1\r\n{origin}{asked}\r\n")
}

/// Whether a script of the allowed origin may read the answer; caches are told in any case.
fn is_shared(answer: &Answer) -> bool {
    assert_eq!(answer.head.matches("\r\nVary: Origin\r\n").count(), 1, "{}", answer.head);
    let shared = answer.head.contains("\r\nAccess-Control-Allow-Origin: http://localhost:4200\r\n");
    assert_eq!(answer.head.contains("Access-Control-"), shared, "{}", answer.head);
    let exposed =
        "\r\nAccess-Control-Expose-Headers: Allow, ETag, Retry-After, WWW-Authenticate, X-Request-Id\r\n";
    assert_eq!(answer.head.contains(exposed), shared, "{}", answer.head);
    shared
}

#[test]
fn a_preflight_of_an_allowed_origin_is_answered_without_a_token_and_says_the_same_of_every_path() {
    let (server, channel) = guarded();
    let mut client = Client::connect(server.address());
    for path in ["/enviar?key=a", "/topics/pedidos", "/dead-letters/replay", "/nothing"] {
        let answer = client.ask(preflight(path, ALLOWED));
        assert_eq!((answer.status, answer.body.as_str()), (204, ""), "{path}");
        assert!(is_shared(&answer));
        for line in [
            "Access-Control-Allow-Methods: GET, HEAD, POST\r\n",
            "Access-Control-Allow-Headers: Authorization, Content-Type, If-None-Match, X-Request-Id\r\n",
            "Access-Control-Max-Age: 7200\r\n",
        ] {
            assert!(answer.head.contains(line), "{}", answer.head);
        }
        assert!(!answer.head.contains("Content-Length"), "{}", answer.head);
    }
    // The connection stays open for the request itself.
    let answer = client.ask(request("POST /enviar", &format!("{ALLOWED}{TOKEN}")));
    assert!(answer.status == 200 && is_shared(&answer));
    assert_eq!(channel.taken().len(), 1);
}

#[test]
fn a_preflight_of_another_origin_and_options_that_is_none_are_answered_as_before() {
    let (server, _channel) = guarded();
    let ask = |text: String| Client::connect(server.address()).ask(text);
    let answer = ask(preflight("/enviar", OTHER));
    assert!(answer.status == 401 && !is_shared(&answer));
    let answer = ask(preflight("/enviar", ""));
    assert!(answer.status == 401 && !is_shared(&answer));
    let options = format!("OPTIONS /enviar HTTP/1.1\r\nHost: x:1\r\n{ALLOWED}\r\n");
    let answer = ask(options);
    assert!(answer.status == 401 && is_shared(&answer), "without Access-Control-Request-Method");
    let (server, _channel) = start(&allowing());
    let answer = Client::connect(server.address()).ask(preflight("/enviar", OTHER));
    assert_eq!(
        (answer.status, answer.code().as_str(), is_shared(&answer)),
        (405, "method_not_allowed", false)
    );
}

#[test]
fn a_page_of_an_allowed_origin_reads_every_answer_errors_included() {
    let (server, channel) = guarded();
    let cross_site = format!("{ALLOWED}Sec-Fetch-Site: cross-site\r\n");
    let known = format!("{cross_site}{TOKEN}");
    for (line, headers, status) in [
        ("POST /enviar", known.as_str(), 200),
        ("POST /enviar?key=full", &known, 503),
        ("POST /enviar?key=unknown", &known, 504),
        ("POST /topics/nothing", &known, 400),
        ("GET /healthz", &cross_site, 200),
        ("GET /openapi.json", &cross_site, 200),
        ("DELETE /enviar", &known, 405),
        ("GET /nothing", &known, 404),
        ("POST /enviar", &cross_site, 401),
        ("POST /enviar", &format!("{known}Content-Encoding: br\r\n"), 415),
        ("POST /enviar", &format!("{known}Content-Length: 3\r\n"), 400),
        ("POST /enviar", &format!("{known}Host: y\r\n"), 400),
    ] {
        let answer = Client::connect(server.address()).ask(request(line, headers));
        assert_eq!(answer.status, status, "{line} {headers}: {}", answer.head);
        assert!(is_shared(&answer), "{line} {headers}: {}", answer.head);
    }
    assert_eq!(channel.taken().len(), 2, "the one that is stored, and the one of which it is not known");
}

#[test]
fn a_page_of_another_origin_is_refused_and_may_read_nothing() {
    let (server, channel) = start(&allowing());
    let mut client = Client::connect(server.address());
    // The lines of a request are not those of the one before on its connection.
    let answer = client.ask(request("POST /enviar", ALLOWED));
    assert!(answer.status == 200 && is_shared(&answer));
    let answer = client.ask(request("GET /healthz", OTHER));
    assert!(answer.status == 200 && !is_shared(&answer));
    let answer = client.ask(request("POST /enviar", ""));
    assert!(answer.status == 200 && !is_shared(&answer), "a program");
    for headers in [OTHER, "Origin: null\r\n", "Sec-Fetch-Site: cross-site\r\n", &format!("{ALLOWED}{OTHER}")]
    {
        let answer = Client::connect(server.address()).ask(request("POST /enviar", headers));
        assert_eq!((answer.status, answer.code().as_str()), (403, "cross_site"), "{headers}");
        assert!(!is_shared(&answer), "{headers}");
    }
    assert_eq!(channel.taken().len(), 2);
}

#[test]
fn an_allowed_origin_does_not_make_another_sites_name_this_endpoints() {
    let (server, channel) = start(&allowing());
    for line in ["POST /enviar", "OPTIONS /enviar"] {
        let asked = "Access-Control-Request-Method: POST\r\n";
        let text =
            format!("{line} HTTP/1.1\r\nHost: evil.example\r\n{ALLOWED}{asked}Content-Length: 2\r\n\r\n{{}}");
        let answer = Client::connect(server.address()).ask(text);
        assert_eq!((answer.status, answer.code().as_str()), (403, "foreign_name"), "{line}");
    }
    assert!(channel.taken().is_empty());
}

#[test]
fn a_stream_of_events_may_be_read_by_a_page_of_an_allowed_origin() {
    let (server, _channel) = start(&allowing());
    for (origin, shared) in [(ALLOWED, true), (OTHER, false)] {
        let mut client = Client::connect(server.address());
        client.send(format!("GET /events HTTP/1.1\r\nHost: x:1\r\n{origin}\r\n"));
        let head = client.read_until("\r\n\r\n");
        assert_eq!(is_shared(&Answer { status: 200, head, body: String::new() }), shared);
    }
}

#[test]
fn without_the_setting_no_header_is_added() {
    let (server, _channel) = start(&settings());
    for text in [request("GET /healthz", ALLOWED), request("POST /enviar", ""), preflight("/enviar", ALLOWED)]
    {
        let head = Client::connect(server.address()).ask(text).head;
        assert!(!head.contains("Access-Control-") && !head.contains("Vary"), "{head}");
    }
}
