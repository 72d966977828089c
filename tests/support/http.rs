//! A small HTTP/1.1 client on one kept connection. It interprets as little as possible, so that a test sees what the
//! server really sent, and can tell an answer from a broken connection.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

/// An answer, whole.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The headers as sent, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Answer {
    /// The first header of this name (lower case).
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(header, _)| header == name).map(|(_, value)| value.as_str())
    }

    /// The body as JSON.
    pub fn json(&self) -> serde_json::Value {
        let text = String::from_utf8_lossy(&self.body);
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error} in the answer {text:?}"))
    }
}

/// A connection to the server, kept over several requests.
pub struct Connection {
    stream: BufReader<TcpStream>,
}

impl Connection {
    /// Connects; each later read waits 90 s at most, which is above every limit that a program has for its answer.
    pub fn open(address: SocketAddr) -> io::Result<Connection> {
        let stream = TcpStream::connect_timeout(&address, Duration::from_secs(5))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(90)))?;
        Ok(Connection { stream: BufReader::new(stream) })
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
        self.stream.get_mut().write_all(&request)?;
        self.answer()
    }

    /// Sends bytes as they are; that the server may have closed already is no failure.
    pub fn send(&mut self, bytes: &[u8]) {
        let _closed = self.stream.get_mut().write_all(bytes);
    }

    /// Sends nothing more.
    pub fn half_close(&mut self) {
        let _closed = self.stream.get_mut().shutdown(Shutdown::Write);
    }

    /// Gets what is at a path and waits for the whole answer.
    pub fn get(&mut self, path: &str) -> io::Result<Answer> {
        let request = format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n");
        self.stream.get_mut().write_all(request.as_bytes())?;
        self.answer()
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        if self.stream.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(line.trim_end().to_owned())
    }

    /// The next answer.
    ///
    /// # Errors
    /// The connection broke before it was whole.
    pub fn answer(&mut self) -> io::Result<Answer> {
        let first = self.line()?;
        let status = first.split(' ').nth(1).and_then(|word| word.parse().ok());
        let status = status.ok_or_else(|| io::Error::other(format!("no status line: {first:?}")))?;
        let mut headers = Vec::new();
        loop {
            let line = self.line()?;
            let Some((name, value)) = line.split_once(':') else { break };
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        let length =
            headers.iter().find(|(name, _)| name == "content-length").and_then(|(_, v)| v.parse().ok());
        let length = length.ok_or_else(|| io::Error::other(format!("no Content-Length in {headers:?}")))?;
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body)?;
        Ok(Answer { status, headers, body })
    }
}

/// One request on a connection of its own.
pub fn post(address: SocketAddr, path: &str, body: &[u8]) -> io::Result<Answer> {
    Connection::open(address)?.post(path, body)
}
