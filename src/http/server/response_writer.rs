//! The bytes on their way to a client: at most one response, and an interim `100 Continue` before it.

use std::io::{self, IoSlice, Write};
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use crate::http::decimal::decimal;
use crate::http::held::HeldBytes;
use crate::http::response::{Response, reason_phrase};
use crate::ids::RequestId;

/// The most memory that an empty writer keeps for the next response, in bytes.
const KEEP_BYTES: usize = 4096;

/// The framing that a request asks for in its response.
#[derive(Debug, Clone, Copy)]
pub(super) struct ResponseFraming {
    /// The request was `HEAD`: the response is a head alone.
    pub(super) head_only: bool,
    /// The connection ends after the response.
    pub(super) close: bool,
    /// The client accepts a response in chunks (HTTP/1.1).
    pub(super) chunked: bool,
}

/// The bytes that are to be written to one client.
#[derive(Debug, Default)]
pub(super) struct ResponseWriter {
    head: Vec<u8>,
    body: Vec<u8>,
    /// The memory of the body, where it is counted.
    held: Option<Arc<HeldBytes>>,
    written: usize,
    /// The id of the current request, for `X-Request-Id`.
    request: RequestId,
    /// Header lines of the response to the current request.
    cross_origin: Option<Arc<str>>,
}

impl ResponseWriter {
    /// Sets the header lines that say what pages of other sites may read of the next response.
    pub(super) fn set_cross_origin(&mut self, lines: Option<Arc<str>>) {
        self.cross_origin = lines;
    }

    /// Sets the id of the request that is answered next.
    pub(super) fn set_request(&mut self, request: RequestId) {
        self.request = request;
    }

    /// Whether all bytes have been written.
    pub(super) fn is_empty(&self) -> bool {
        self.head.is_empty() && self.body.is_empty()
    }

    /// Adds `100 Continue`, which asks the client for the body.
    pub(super) fn push_continue(&mut self) {
        self.head.extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
    }

    /// Adds a whole response.
    pub(super) fn push_response(
        &mut self,
        response: Response,
        framing: ResponseFraming,
        date: &mut DateHeader,
    ) {
        let length = response.body.len();
        self.push_head(
            response.status,
            |out| out.extend_from_slice(response.headers.as_bytes()),
            length,
            framing,
            date,
        );
        if !framing.head_only {
            (self.body, self.held) = (response.body, response.held);
        }
    }

    /// Adds status line and headers; `headers` adds whole lines to those that all responses have.
    pub(super) fn push_head(
        &mut self,
        status: u16,
        headers: impl FnOnce(&mut Vec<u8>),
        length: usize,
        framing: ResponseFraming,
        date: &mut DateHeader,
    ) {
        self.push_status(status, date);
        let out = &mut self.head;
        headers(out);
        if status != 204 && status != 304 {
            push_all(out, &[b"Content-Length: ", decimal(length, &mut [0; 20]), b"\r\n"]);
        }
        out.extend_from_slice(if framing.close { b"Connection: close\r\n\r\n".as_slice() } else { b"\r\n" });
    }

    /// Adds the head of a stream: its body has no length, and the connection ends with it.
    pub(super) fn push_stream_head(
        &mut self,
        headers: &str,
        framing: ResponseFraming,
        date: &mut DateHeader,
    ) {
        let coding: &[u8] = if framing.chunked { b"Transfer-Encoding: chunked\r\n" } else { b"" };
        self.push_status(200, date);
        push_all(&mut self.head, &[headers.as_bytes(), coding, b"Connection: close\r\n\r\n"]);
    }

    /// Adds more of a stream, as one chunk (RFC 9112 §7.1) if the client accepts chunks. No bytes: the end.
    pub(super) fn push_stream(&mut self, bytes: &[u8], framing: ResponseFraming) {
        // A stream may never be written to its last byte, and must not keep the written bytes.
        if let Some(body_written) = self.written.checked_sub(self.head.len()) {
            self.head.clear();
            self.body.drain(..body_written.min(self.body.len()));
            self.written = 0;
        }
        if framing.chunked {
            let end: &[u8] = if bytes.is_empty() { b"\r\n" } else { bytes };
            push_all(&mut self.body, &[format!("{:x}\r\n", bytes.len()).as_bytes(), end]);
            push_all(&mut self.body, &[if bytes.is_empty() { b"" } else { b"\r\n" }]);
        } else {
            self.body.extend_from_slice(bytes);
        }
    }

    /// The number of bytes that wait to be written.
    pub(super) fn waiting(&self) -> usize {
        (self.head.len() + self.body.len()).saturating_sub(self.written)
    }

    /// Adds the body of the head that was added last.
    pub(super) fn push_body(&mut self, body: &[u8]) {
        self.body.extend_from_slice(body);
    }

    /// Writes as much as the stream takes. `Ok(true)`: all bytes; `Ok(false)`: the stream is full.
    ///
    /// # Errors
    /// The connection is broken.
    pub(super) fn flush(&mut self, stream: &mut impl Write) -> io::Result<bool> {
        while !self.is_empty() {
            let (head, body) = match self.head.get(self.written..) {
                Some(head) => (head, self.body.as_slice()),
                None => (&[][..], self.body.get(self.written - self.head.len()..).unwrap_or_default()),
            };
            match stream.write_vectored(&[IoSlice::new(head), IoSlice::new(body)]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => self.written += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            }
            if self.written >= self.head.len() + self.body.len() {
                self.clear();
            }
        }
        Ok(true)
    }

    /// Adds the status line and the headers that every response has.
    fn push_status(&mut self, status: u16, date: &DateHeader) {
        let out = &mut self.head;
        push_all(out, &[b"HTTP/1.1 ", decimal(usize::from(status), &mut [0; 20]), b" "]);
        push_all(out, &[reason_phrase(status).as_bytes(), b"\r\n", date.line()]);
        push_all(out, &[b"X-Request-Id: ", self.request.as_str().as_bytes(), b"\r\n"]);
        out.extend_from_slice(self.cross_origin.as_deref().unwrap_or_default().as_bytes());
    }

    fn clear(&mut self) {
        self.head.clear();
        self.head.shrink_to(KEEP_BYTES);
        (self.body, self.held) = (Vec::new(), None);
        self.written = 0;
    }
}

fn push_all(out: &mut Vec<u8>, parts: &[&[u8]]) {
    for part in parts {
        out.extend_from_slice(part);
    }
}

/// The `Date` header line, made once a second.
#[derive(Debug)]
pub(super) struct DateHeader {
    line: Vec<u8>,
    made: Option<Instant>,
}

impl DateHeader {
    /// No line yet: [`DateHeader::update`] must be called before the first use.
    pub(super) fn new() -> DateHeader {
        DateHeader { line: Vec::new(), made: None }
    }

    /// Renews the line if it is a second old.
    pub(super) fn update(&mut self, now: Instant) {
        if self.made.is_none_or(|made| now.duration_since(made).as_secs() >= 1) {
            self.made = Some(now);
            self.line = format!("Date: {}\r\n", httpdate::fmt_http_date(SystemTime::now())).into_bytes();
        }
    }

    fn line(&self) -> &[u8] {
        &self.line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes a few bytes in each call, and is full in every third.
    struct Narrow(Vec<u8>, usize);

    impl Write for Narrow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.1 += 1;
            if self.1.is_multiple_of(3) {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            let count = bytes.len().min(7);
            self.0.extend_from_slice(&bytes[..count]);
            Ok(count)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_narrow_stream_gets_every_byte_in_order() {
        let (mut writer, mut date, mut stream) =
            (ResponseWriter::default(), DateHeader::new(), Narrow(Vec::new(), 0));
        let framing = ResponseFraming { head_only: false, close: true, chunked: true };
        writer.set_request(RequestId::given(b"abc-1").unwrap());
        writer.push_continue();
        writer.push_response(Response::json(200, b"{\"a\":1}".to_vec()), framing, &mut date);
        while !writer.flush(&mut stream).unwrap() {}
        let expected = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\
                        X-Request-Id: abc-1\r\nContent-Type: application/json\r\n\
                        Content-Length: 7\r\nConnection: close\r\n\r\n{\"a\":1}";
        assert_eq!(String::from_utf8(stream.0).unwrap(), expected);
        assert!(writer.is_empty());
    }

    #[test]
    fn the_memory_of_a_response_is_taken_until_it_is_written() {
        let (mut writer, mut stream) = (ResponseWriter::default(), Narrow(Vec::new(), 0));
        let framing = ResponseFraming { head_only: false, close: true, chunked: true };
        let budget = crate::http::held::ResponseBudget::new(7);
        let response = Response { held: budget.take(7), ..Response::json(200, b"{\"a\":1}".to_vec()) };
        writer.push_response(response, framing, &mut DateHeader::new());
        assert!(!writer.flush(&mut stream).unwrap() && budget.take(1).is_none());
        while !writer.flush(&mut stream).unwrap() {}
        assert!(budget.take(1).is_some());
    }

    #[test]
    fn a_response_to_head_has_the_length_but_no_body() {
        let (mut writer, mut stream) = (ResponseWriter::default(), Vec::new());
        let framing = ResponseFraming { head_only: true, close: false, chunked: true };
        writer.push_response(Response::json(404, b"12345".to_vec()), framing, &mut DateHeader::new());
        assert!(writer.flush(&mut stream).unwrap());
        assert!(String::from_utf8(stream).unwrap().ends_with("Content-Length: 5\r\n\r\n"));
    }

    #[test]
    fn a_stream_keeps_no_written_bytes_though_its_client_is_always_behind() {
        let (mut writer, mut stream) = (ResponseWriter::default(), Narrow(Vec::new(), 0));
        let framing = ResponseFraming { head_only: false, close: true, chunked: true };
        writer.push_stream_head("A: b\r\n", framing, &mut DateHeader::new());
        for _ in 0..1000 {
            writer.push_stream(b"data: 1\n\n", framing);
            while writer.waiting() > 40 {
                let _full = writer.flush(&mut stream).unwrap();
            }
            assert!(writer.body.len() < 100 && writer.waiting() > 0, "{}", writer.body.len());
        }
        writer.push_stream(b"", framing);
        while !writer.flush(&mut stream).unwrap() {}
        let text = String::from_utf8(stream.0).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        let id = format!("X-Request-Id: {}", RequestId::default());
        let lines = ["HTTP/1.1 200 OK", &id, "A: b", "Transfer-Encoding: chunked", "Connection: close"];
        assert_eq!(head, lines.join("\r\n"));
        assert_eq!(body, "9\r\ndata: 1\n\n\r\n".repeat(1000) + "0\r\n\r\n");
    }
}
