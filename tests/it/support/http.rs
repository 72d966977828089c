//! HTTP/1.1 clients. [`RawClient`] works over any byte stream: bytes out; status, headers and body in. It
//! interprets as little as possible, so that a test sees what the server really sent, and can tell an answer
//! from a broken connection.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

/// A whole answer.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// Status line and headers as sent, with the empty line at the end.
    pub head: String,
    /// The headers as sent, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Answer {
    fn of_head(head: String) -> io::Result<Answer> {
        let mut lines = head.lines();
        let first = lines.next().unwrap_or_default();
        let status = first.split(' ').nth(1).and_then(|word| word.parse().ok());
        let status = status.ok_or_else(|| io::Error::other(format!("no status line: {first:?}")))?;
        let headers = lines.filter_map(|line| line.split_once(':'));
        let headers = headers.map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()));
        let headers = headers.collect();
        Ok(Answer { status, head, headers, body: Vec::new() })
    }

    /// The first header of this name (lower case).
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(header, _)| header == name).map(|(_, value)| value.as_str())
    }

    /// The body as JSON.
    pub fn json(&self) -> serde_json::Value {
        let text = String::from_utf8_lossy(&self.body);
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error} in the answer {text:?}"))
    }

    fn content_length(&self) -> Option<usize> {
        self.header("content-length").and_then(|length| length.parse().ok())
    }
}

/// A client over a byte stream that is kept over several requests.
pub struct RawClient<S> {
    /// The stream, to which requests are written.
    pub stream: S,
    /// Bytes that are read and not taken yet.
    input: Vec<u8>,
}

impl<S: Read> RawClient<S> {
    /// A client whose stream is connected.
    pub fn new(stream: S) -> RawClient<S> {
        RawClient { stream, input: Vec::new() }
    }

    /// The bytes that are read and not taken yet.
    pub fn unread(&self) -> &[u8] {
        &self.input
    }

    /// Reads once, and returns the number of bytes: 0 at the end.
    pub fn read(&mut self) -> io::Result<usize> {
        let mut buffer = [0; 16 * 1024];
        let count = self.stream.read(&mut buffer)?;
        self.input.extend_from_slice(&buffer[..count]);
        Ok(count)
    }

    fn read_more(&mut self) -> io::Result<()> {
        match self.read()? {
            0 => {
                let unread = String::from_utf8_lossy(&self.input);
                Err(io::Error::new(
                    io::ErrorKind::UnexpectedEof,
                    format!("the server closed after {unread:?}"),
                ))
            }
            _ => Ok(()),
        }
    }

    /// Reads until the input holds `text`, and takes it out up to there.
    pub fn read_until(&mut self, text: &str) -> io::Result<String> {
        loop {
            let place = self.input.windows(text.len()).position(|bytes| bytes == text.as_bytes());
            if let Some(place) = place {
                let taken = self.input.drain(..place + text.len()).collect();
                return String::from_utf8(taken).map_err(io::Error::other);
            }
            self.read_more()?;
        }
    }

    /// The next answer without its body.
    pub fn read_head(&mut self) -> io::Result<Answer> {
        Answer::of_head(self.read_until("\r\n\r\n")?)
    }

    /// The next answer. An answer without `Content-Length` has no body.
    pub fn read_answer(&mut self) -> io::Result<Answer> {
        let mut answer = self.read_head()?;
        let length = answer.content_length().unwrap_or(0);
        while self.input.len() < length {
            self.read_more()?;
        }
        answer.body = self.input.drain(..length).collect();
        Ok(answer)
    }
}

/// A connection to the server, kept over several requests.
pub struct Connection(RawClient<TcpStream>);

impl Connection {
    /// Connects; each later read waits 90 s at most, which is above every limit that a program has for its
    /// answer.
    pub fn open(address: SocketAddr) -> io::Result<Connection> {
        let stream = TcpStream::connect_timeout(&address, Duration::from_secs(5))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(90)))?;
        Ok(Connection(RawClient::new(stream)))
    }

    /// Lets each later read wait for so long at most.
    pub fn limit(&self, time: Duration) {
        self.0.stream.set_read_timeout(Some(time)).expect("a limit above zero");
    }

    /// Posts a JSON body and waits for the whole answer.
    pub fn post(&mut self, path: &str, body: &[u8]) -> io::Result<Answer> {
        self.post_with(path, "", body)
    }

    /// As [`Connection::post`], with further header lines, each with its CRLF.
    pub fn post_with(&mut self, path: &str, lines: &str, body: &[u8]) -> io::Result<Answer> {
        self.request("POST", path, lines, body)
    }

    /// As [`Connection::post_with`], with another method.
    pub fn request(&mut self, method: &str, path: &str, lines: &str, body: &[u8]) -> io::Result<Answer> {
        let mut request = format!(
            "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n{lines}\
             Content-Length: {}\r\n\r\n",
            body.len()
        )
        .into_bytes();
        request.extend_from_slice(body);
        self.0.stream.write_all(&request)?;
        self.answer()
    }

    /// Sends bytes as they are; that the server may have closed already is no failure.
    pub fn send(&mut self, bytes: &[u8]) {
        let _closed = self.0.stream.write_all(bytes);
    }

    /// Sends nothing more.
    pub fn half_close(&mut self) {
        let _closed = self.0.stream.shutdown(Shutdown::Write);
    }

    /// Gets what is at a path and waits for the whole answer.
    pub fn get(&mut self, path: &str) -> io::Result<Answer> {
        let request = format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n");
        self.0.stream.write_all(request.as_bytes())?;
        self.answer()
    }

    /// The next answer.
    ///
    /// # Errors
    /// The connection broke before the answer was whole, or the answer has no `Content-Length`.
    pub fn answer(&mut self) -> io::Result<Answer> {
        let answer = self.0.read_answer()?;
        match answer.content_length() {
            Some(_) => Ok(answer),
            // It has no body, and says no length (RFC 9110 §8.6).
            None if answer.status == 204 => Ok(answer),
            None => Err(io::Error::other(format!("no Content-Length in {:?}", answer.head))),
        }
    }

    /// Whether the server closes the connection without another byte.
    pub fn is_closed(&mut self) -> bool {
        self.0.unread().is_empty() && matches!(self.0.read(), Ok(0))
    }
}

/// One request on a connection of its own.
pub fn post(address: SocketAddr, path: &str, body: &[u8]) -> io::Result<Answer> {
    Connection::open(address)?.post(path, body)
}
