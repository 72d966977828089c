//! Bytes on their way to a client: at most one answer (and an interim `100 Continue` before it).

use std::io::{self, IoSlice, Write};
use std::time::{Instant, SystemTime};

use crate::http::answer::{Answer, reason};
use crate::request_id::RequestId;

/// The most memory that an empty output keeps for the next answer, in bytes.
const KEEP_BYTES: usize = 4096;

/// How an answer has to be framed for the request that it belongs to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Frame {
    /// The request was `HEAD`: the head of the answer alone.
    pub(super) head_only: bool,
    /// The connection ends after it.
    pub(super) close: bool,
    /// The client takes an answer in chunks (HTTP/1.1).
    pub(super) chunks: bool,
    /// Which request it was, as its answer says in `X-Request-Id`.
    pub(super) request: RequestId,
}

/// What is to be written to one client.
#[derive(Debug, Default)]
pub(super) struct Output {
    head: Vec<u8>,
    body: Vec<u8>,
    written: usize,
}

impl Output {
    /// Whether all has been written.
    pub(super) fn is_empty(&self) -> bool {
        self.head.is_empty() && self.body.is_empty()
    }

    /// Asks the client for the body that it holds back.
    pub(super) fn push_continue(&mut self) {
        self.head.extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
    }

    /// Puts in an answer of ours.
    pub(super) fn push_answer(&mut self, answer: Answer, frame: Frame, date: &mut DateLine) {
        let length = answer.body.len();
        self.push_head(
            answer.status,
            |out| out.extend_from_slice(answer.headers.as_bytes()),
            length,
            frame,
            date,
        );
        if !frame.head_only {
            self.body = answer.body;
        }
    }

    /// Puts in status line and headers; `headers` adds whole lines besides those that all answers have.
    pub(super) fn push_head(
        &mut self,
        status: u16,
        headers: impl FnOnce(&mut Vec<u8>),
        length: usize,
        frame: Frame,
        date: &mut DateLine,
    ) {
        let out = &mut self.head;
        push_status(out, status, frame, date);
        headers(out);
        if status != 204 && status != 304 {
            push_all(out, &[b"Content-Length: ", decimal(length, &mut [0; 20]), b"\r\n"]);
        }
        out.extend_from_slice(if frame.close { b"Connection: close\r\n\r\n".as_slice() } else { b"\r\n" });
    }

    /// Puts in the head of a stream: its body has no length, and the connection ends with it.
    pub(super) fn push_stream_head(&mut self, headers: &str, frame: Frame, date: &mut DateLine) {
        let coding: &[u8] = if frame.chunks { b"Transfer-Encoding: chunked\r\n" } else { b"" };
        push_status(&mut self.head, 200, frame, date);
        push_all(&mut self.head, &[headers.as_bytes(), coding, b"Connection: close\r\n\r\n"]);
    }

    /// Puts in more of a stream, in one chunk (RFC 9112 §7.1) where the client takes chunks. No bytes: its end.
    pub(super) fn push_stream(&mut self, bytes: &[u8], frame: Frame) {
        // A stream may never be written out to its last byte, and must not keep what has been.
        if let Some(body_written) = self.written.checked_sub(self.head.len()) {
            self.head.clear();
            self.body.drain(..body_written.min(self.body.len()));
            self.written = 0;
        }
        if frame.chunks {
            let end: &[u8] = if bytes.is_empty() { b"\r\n" } else { bytes };
            push_all(&mut self.body, &[format!("{:x}\r\n", bytes.len()).as_bytes(), end]);
            push_all(&mut self.body, &[if bytes.is_empty() { b"" } else { b"\r\n" }]);
        } else {
            self.body.extend_from_slice(bytes);
        }
    }

    /// How many bytes wait to be written.
    pub(super) fn waiting(&self) -> usize {
        (self.head.len() + self.body.len()).saturating_sub(self.written)
    }

    /// Puts in the body that belongs to the head put in last.
    pub(super) fn push_body(&mut self, body: &[u8]) {
        self.body.extend_from_slice(body);
    }

    /// Writes as much as the stream takes. `Ok(true)`: all of it; `Ok(false)`: the stream is full.
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

    fn clear(&mut self) {
        self.head.clear();
        self.head.shrink_to(KEEP_BYTES);
        self.body = Vec::new();
        self.written = 0;
    }
}

/// The status line, and the `Date` header.
fn push_status(out: &mut Vec<u8>, status: u16, frame: Frame, date: &DateLine) {
    push_all(out, &[b"HTTP/1.1 ", decimal(usize::from(status), &mut [0; 20]), b" "]);
    push_all(out, &[reason(status).as_bytes(), b"\r\n", date.line()]);
    // A vector takes everything.
    let _ = write!(out, "X-Request-Id: {}\r\n", frame.request);
}

fn push_all(out: &mut Vec<u8>, parts: &[&[u8]]) {
    for part in parts {
        out.extend_from_slice(part);
    }
}

/// A number in decimal digits.
pub(super) fn decimal(mut number: usize, digits: &mut [u8; 20]) -> &[u8] {
    let mut start = digits.len();
    for (index, digit) in digits.iter_mut().enumerate().rev() {
        *digit = b'0' + (number % 10) as u8;
        start = index;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    digits.get(start..).unwrap_or_default()
}

/// The `Date` header line, made once a second.
#[derive(Debug)]
pub(super) struct DateLine {
    line: Vec<u8>,
    made: Option<Instant>,
}

impl DateLine {
    /// No line yet: [`DateLine::update`] comes before the first use.
    pub(super) fn new() -> DateLine {
        DateLine { line: Vec::new(), made: None }
    }

    /// Makes the line anew if it is a second old.
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

    /// Takes a few bytes a call, and is full every third.
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
        let (mut output, mut date, mut stream) = (Output::default(), DateLine::new(), Narrow(Vec::new(), 0));
        let frame = Frame { head_only: false, close: true, chunks: true, request: RequestId::default() };
        output.push_continue();
        output.push_answer(Answer::json(200, b"{\"a\":1}".to_vec()), frame, &mut date);
        while !output.flush(&mut stream).unwrap() {}
        let expected = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\
                        X-Request-Id: 0000000000000000-0\r\nContent-Type: application/json\r\n\
                        Content-Length: 7\r\nConnection: close\r\n\r\n{\"a\":1}";
        assert_eq!(String::from_utf8(stream.0).unwrap(), expected);
        assert!(output.is_empty());
    }

    #[test]
    fn an_answer_to_head_has_the_length_but_no_body() {
        let (mut output, mut stream) = (Output::default(), Vec::new());
        let frame = Frame { head_only: true, close: false, chunks: true, request: RequestId::default() };
        output.push_answer(Answer::json(404, b"12345".to_vec()), frame, &mut DateLine::new());
        assert!(output.flush(&mut stream).unwrap());
        assert!(String::from_utf8(stream).unwrap().ends_with("Content-Length: 5\r\n\r\n"));
    }

    #[test]
    fn a_stream_keeps_nothing_of_what_is_written_though_its_client_is_always_behind() {
        let (mut output, mut stream) = (Output::default(), Narrow(Vec::new(), 0));
        let frame = Frame { head_only: false, close: true, chunks: true, request: RequestId::default() };
        output.push_stream_head("A: b\r\n", frame, &mut DateLine::new());
        for _ in 0..1000 {
            output.push_stream(b"data: 1\n\n", frame);
            while output.waiting() > 40 {
                let _full = output.flush(&mut stream).unwrap();
            }
            assert!(output.body.len() < 100 && output.waiting() > 0, "{}", output.body.len());
        }
        output.push_stream(b"", frame);
        while !output.flush(&mut stream).unwrap() {}
        let text = String::from_utf8(stream.0).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        let id = format!("X-Request-Id: {}", RequestId::default());
        let lines = ["HTTP/1.1 200 OK", &id, "A: b", "Transfer-Encoding: chunked", "Connection: close"];
        assert_eq!(head, lines.join("\r\n"));
        assert_eq!(body, "9\r\ndata: 1\n\n\r\n".repeat(1000) + "0\r\n\r\n");
    }

    #[test]
    fn numbers_are_written_in_decimal() {
        for number in [0, 7, 10, 1_048_576, usize::MAX] {
            assert_eq!(decimal(number, &mut [0; 20]), number.to_string().as_bytes());
        }
    }
}
