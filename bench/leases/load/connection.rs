//! A client for HTTP/1.1 over a connection that is kept, as plain as the measured servers let it be.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// No answer takes longer; a wait for messages is shorter.
const LONGEST: Duration = Duration::from_secs(60);

/// A connection to a server.
pub struct Connection {
    stream: TcpStream,
    read: Vec<u8>,
}

impl Connection {
    /// Connects.
    pub fn open(address: &str) -> io::Result<Connection> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(LONGEST))?;
        Ok(Connection { stream, read: Vec::new() })
    }

    /// Sends a request with further lines for its head.
    pub fn send(&mut self, path: &str, lines: &str, body: &[u8]) -> io::Result<()> {
        let length = body.len();
        let head =
            format!("POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n{lines}\r\n");
        self.stream.write_all(&[head.as_bytes(), body].concat())
    }

    /// The status and the body of the answer.
    pub fn answer(&mut self) -> io::Result<(u16, Vec<u8>)> {
        loop {
            if let Some((status, head, length)) = head_of(&self.read)? {
                while self.read.len() < head + length {
                    self.more()?;
                }
                let rest = self.read.split_off(head + length);
                let body = std::mem::replace(&mut self.read, rest).split_off(head);
                return Ok((status, body));
            }
            self.more()?;
        }
    }

    /// A request and its answer, which has to be 200.
    pub fn post(&mut self, path: &str, lines: &str, body: &[u8]) -> io::Result<Vec<u8>> {
        self.send(path, lines, body)?;
        self.ok()
    }

    /// The body of an answer that has to be 200.
    pub fn ok(&mut self) -> io::Result<Vec<u8>> {
        match self.answer()? {
            (200, body) => Ok(body),
            (status, body) => Err(io::Error::other(format!("{status}: {}", String::from_utf8_lossy(&body)))),
        }
    }

    fn more(&mut self) -> io::Result<()> {
        let mut bytes = [0; 16 * 1024];
        match self.stream.read(&mut bytes)? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            count => {
                self.read.extend_from_slice(bytes.get(..count).unwrap_or_default());
                Ok(())
            }
        }
    }
}

/// The status, the length of the head and that of the body, once the head is there.
fn head_of(bytes: &[u8]) -> io::Result<Option<(u16, usize, usize)>> {
    let mut fields = [httparse::EMPTY_HEADER; 32];
    let mut answer = httparse::Response::new(&mut fields);
    let httparse::Status::Complete(head) = answer.parse(bytes).map_err(io::Error::other)? else {
        return Ok(None);
    };
    let length = answer.headers.iter().find(|field| field.name.eq_ignore_ascii_case("content-length"));
    let length = length.and_then(|field| std::str::from_utf8(field.value).ok()?.parse().ok());
    let length = length.ok_or_else(|| io::Error::other("an answer without Content-Length"))?;
    Ok(Some((answer.code.unwrap_or_default(), head, length)))
}
