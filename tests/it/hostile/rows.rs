//! The rows of the table: requests, each with the status that it must get. None of them may be stored.

/// A request that is answered with an error.
pub struct Row {
    /// The status.
    pub status: u16,
    /// What is sent.
    pub bytes: Vec<u8>,
    /// What the client does after that, and what becomes of the connection.
    pub end: End,
}

/// How an exchange ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The server closes after its answer: it cannot know where the next request would begin.
    Closed,
    /// The client closes its half before the request is whole, then as above.
    CutShort,
    /// The connection goes on.
    Kept,
}

/// The server's limit for bodies.
pub const LIMIT: usize = 100_000;

/// All rows.
pub fn all() -> Vec<Row> {
    let mut rows = Vec::new();
    let mut add = |end, requests: Vec<(u16, Vec<u8>)>| {
        rows.extend(requests.into_iter().map(|(status, bytes)| Row { status, bytes, end }));
    };
    add(End::Closed, bytes(malformed()));
    add(End::Closed, bytes(over_limits()));
    add(End::CutShort, bytes(cut_short()));
    add(End::Kept, refused_by_handlers());
    rows
}

fn bytes(requests: Vec<(u16, String)>) -> Vec<(u16, Vec<u8>)> {
    requests.into_iter().map(|(status, text)| (status, text.into_bytes())).collect()
}

const LINE: &str = "POST /enviar HTTP/1.1";

fn request(line: &str, headers: &str, body: &str) -> String {
    format!("{line}\r\n{headers}\r\n{body}")
}

/// A request line and `Host` that are right, with these headers and this body.
fn with(headers: &str, body: &str) -> String {
    request(LINE, &format!("Host: x\r\n{headers}"), body)
}

/// A `POST` that is right in its form.
pub fn post(target: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("POST {target} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

fn malformed() -> Vec<(u16, String)> {
    let chunked = |body| with("Transfer-Encoding: chunked\r\n", body);
    vec![
        (400, request("POST /enviar", "Host: x\r\n", "")),
        (400, request("POST  /enviar HTTP/1.1", "Host: x\r\n", "")),
        (400, request("\0\u{1}\u{2}", "", "")),
        (400, request("POST enviar HTTP/1.1", "Host: x\r\n", "")),
        (400, "POST /enviar HTTP/1.1\nHost: x\nContent-Length: 2\n\n{}".to_owned()),
        (400, "POST /enviar HTTP/1.1\r\nHost: x\nContent-Length: 2\r\n\r\n{}".to_owned()),
        (400, request(LINE, "Content-Length: 2\r\n", "{}")),
        (400, request(LINE, "Host: x\r\nHost: y\r\nContent-Length: 2\r\n", "{}")),
        (400, with("Content-Length: abc\r\n", "{}")),
        (400, with("Content-Length: -2\r\n", "{}")),
        (400, with("Content-Length: 2\r\nContent-Length: 2\r\n", "{}")),
        (400, with("Content-Length: 2\r\nContent-Length: 20\r\n", "{}")),
        (400, with("Content-Length: 2\r\nTransfer-Encoding: chunked\r\n", "2\r\n{}\r\n0\r\n\r\n")),
        (400, with("Content-Length : 2\r\n", "{}")),
        (400, with("Folded: a\r\n b\r\nContent-Length: 2\r\n", "{}")),
        (400, with("Content-Type: a/b\r\nContent-Type: a/b\r\nContent-Length: 2\r\n", "{}")),
        (400, chunked("zz\r\n{}\r\n0\r\n\r\n")),
        (400, chunked("2\r\n{}0\r\n\r\n")),
        (400, chunked("2\n{}\n0\n\n")),
        (411, with("", "")),
        (417, with("Expect: a-miracle\r\nContent-Length: 2\r\n", "{}")),
        (501, with("Transfer-Encoding: gzip\r\n", "")),
        (501, with("Transfer-Encoding: gzip, chunked\r\n", "2\r\n{}\r\n0\r\n\r\n")),
        (505, request("POST /enviar HTTP/2.0", "Host: x\r\n", "")),
        (505, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned()),
    ]
}

fn over_limits() -> Vec<(u16, String)> {
    vec![
        (413, with("Content-Length: 100001\r\n", "{}")),
        (413, with("Content-Length: 99999999999999\r\n", "{}")),
        (413, with("Content-Length: 99999999999999999999999999\r\n", "{}")),
        (413, with("Transfer-Encoding: chunked\r\n", "186a1\r\n")),
        (413, with("Transfer-Encoding: chunked\r\n", "ffffffff\r\n")),
        (414, request(&format!("POST /{} HTTP/1.1", "a".repeat(8 * 1024)), "Host: x\r\n", "")),
        (414, format!("POST /enviar?key={}", "a".repeat(20 * 1024))),
        (415, with("Content-Encoding: br\r\nContent-Length: 2\r\n", "{}")),
        (431, with(&"A: b\r\n".repeat(64), "")),
        (431, with(&format!("A: {}", "b".repeat(17 * 1024)), "")),
    ]
}

fn cut_short() -> Vec<(u16, String)> {
    vec![
        (400, with("Content-Length: 7\r\n", "{\"a\":1")),
        (400, with("Transfer-Encoding: chunked\r\n", "2\r\n{}\r\n")),
        (400, "POST /enviar HTTP/1.1\r\nHost: x\r\nContent-Le".to_owned()),
    ]
}

/// Records for a topic, right in their form.
fn records(topic: &str, body: &str) -> Vec<u8> {
    let kind = "Content-Type: application/vnd.kafka.json.v2+json\r\n";
    let line = format!("POST /topics/{topic} HTTP/1.1");
    request(&line, &format!("Host: x\r\n{kind}Content-Length: {}\r\n", body.len()), body).into_bytes()
}

fn refused_by_handlers() -> Vec<(u16, Vec<u8>)> {
    let get = |target: &str| format!("GET {target} HTTP/1.1\r\nHost: x\r\n\r\n").into_bytes();
    vec![
        (400, post("/enviar", b"hola")),
        (400, post("/enviar", b"")),
        (400, post("/enviar", b"{\"a\":1}{\"a\":2}")),
        (400, post("/enviar", b"\"\xff\"")),
        (400, post("/enviar", format!("{}{}", "[".repeat(65), "]".repeat(65)).as_bytes())),
        (400, post("/enviar", b"1e999")),
        (400, post("/enviar?key=%zz", b"{}")),
        (400, post("/enviar?key=%ff", b"{}")),
        (400, post("/enviar?key=a&key=b", b"{}")),
        (404, post("/nothing", b"{}")),
        (404, get("/enviar2?x=%0d%0aSet-Cookie:%20a=b")),
        (405, get("/enviar")),
        (404, get("/topics/no-hay")),
        (405, post("/topics", b"{}")),
        (400, post("/topics/no-hay", b"{\"records\":[{\"value\":1}]}")),
        (400, records("no-hay", "{\"records\":[")),
        (404, records("%2e%2e", "{\"records\":[{\"value\":1}]}")),
        (422, records("no-hay", "{\"records\":[]}")),
        (405, b"BREW /enviar HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n".to_vec()),
    ]
}
