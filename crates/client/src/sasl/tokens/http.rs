//! One HTTP request to an identity provider, on a connection of its own.

use std::io::{self, ErrorKind, Read, Write};
use std::time::Instant;

use net::stop::Stop;

/// The largest answer, with its head, in bytes.
const MAX_BYTES: usize = 256 * 1024;
/// The most header fields of an answer.
const MAX_FIELDS: usize = 100;

/// An answer's status and body.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub status: u16,
    pub body: Vec<u8>,
}

/// Writes `request` and reads the answer. Reads and writes of `stream` give up after a short time with
/// `WouldBlock` or `TimedOut`, and are made again until `deadline` or the `stop`.
///
/// # Errors
/// The connection failed, the time is up, or the answer is none.
pub(super) fn exchange(
    stream: &mut (impl Read + Write + ?Sized),
    request: &[u8],
    deadline: Instant,
    stop: &Stop,
) -> io::Result<Answer> {
    let mut unsent = request;
    while !unsent.is_empty() {
        if let Some(written) = patiently(deadline, stop, stream.write(unsent))? {
            if written == 0 {
                return Err(ErrorKind::WriteZero.into());
            }
            unsent = unsent.get(written..).unwrap_or_default();
        }
    }
    while patiently(deadline, stop, stream.flush())?.is_none() {}
    let mut received = Vec::new();
    let mut buffer = [0; 8192];
    loop {
        let Some(read) = patiently(deadline, stop, stream.read(&mut buffer))? else { continue };
        received.extend_from_slice(buffer.get(..read).unwrap_or_default());
        if received.len() > MAX_BYTES {
            return Err(invalid("has more than 256 KiB"));
        }
        if let Some(answer) = answer(&received, read == 0)? {
            return Ok(answer);
        }
        if read == 0 {
            return Err(invalid("ended too early"));
        }
    }
}

/// The outcome of a read or write; none if it has to be made again.
fn patiently<T>(deadline: Instant, stop: &Stop, outcome: io::Result<T>) -> io::Result<Option<T>> {
    let again = [ErrorKind::WouldBlock, ErrorKind::TimedOut, ErrorKind::Interrupted];
    match outcome {
        Err(_) if stop.is_asked() => Err(io::Error::other("this program stops")),
        Err(error) if again.contains(&error.kind()) && Instant::now() < deadline => Ok(None),
        Err(error) if again.contains(&error.kind()) => {
            Err(io::Error::new(ErrorKind::TimedOut, "it has not answered in time"))
        }
        // A server that sends a byte now and then does not get around the deadline.
        Ok(_) if Instant::now() >= deadline => {
            Err(io::Error::new(ErrorKind::TimedOut, "it has not answered in time"))
        }
        outcome => outcome.map(Some),
    }
}

fn invalid(why: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, format!("its answer {why}"))
}

/// The answer in `received`, if it is whole; `is_end` says that no more will come.
fn answer(received: &[u8], is_end: bool) -> io::Result<Option<Answer>> {
    let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
    let mut head = httparse::Response::new(&mut fields);
    let parsed = head.parse(received).map_err(|error| invalid(&format!("is not HTTP: {error}")))?;
    let httparse::Status::Complete(length) = parsed else { return Ok(None) };
    let status = head.code.unwrap_or_default();
    let rest = received.get(length..).unwrap_or_default();
    if (100..200).contains(&status) {
        return answer(rest, is_end);
    }
    let field = |name: &str| {
        let field = head.headers.iter().find(|field| field.name.eq_ignore_ascii_case(name));
        field.map(|field| String::from_utf8_lossy(field.value).trim().to_owned())
    };
    let body = match (field("transfer-encoding"), field("content-length")) {
        (Some(encoding), _) if encoding.eq_ignore_ascii_case("chunked") => unchunked(rest)?,
        (Some(_), _) => return Err(invalid("has an unknown transfer encoding")),
        (None, Some(length)) => {
            let length: usize = length.parse().map_err(|_| invalid("has no valid length"))?;
            rest.get(..length).map(<[u8]>::to_vec)
        }
        (None, None) => is_end.then(|| rest.to_vec()),
    };
    Ok(body.map(|body| Answer { status, body }))
}

/// The body in `chunks`, if its last chunk is there.
fn unchunked(mut chunks: &[u8]) -> io::Result<Option<Vec<u8>>> {
    let mut body = Vec::new();
    loop {
        let parsed = httparse::parse_chunk_size(chunks).map_err(|_| invalid("has no valid chunks"))?;
        let httparse::Status::Complete((start, size)) = parsed else { return Ok(None) };
        if size == 0 {
            return Ok(Some(body));
        }
        let size = usize::try_from(size).ok().filter(|size| *size <= MAX_BYTES);
        let end = start + size.ok_or_else(|| invalid("has more than 256 KiB"))?;
        let Some(chunk) = chunks.get(start..end) else { return Ok(None) };
        body.extend_from_slice(chunk);
        let Some(line_end) = chunks.get(end..end + 2) else { return Ok(None) };
        if line_end != b"\r\n" {
            return Err(invalid("has no valid chunks"));
        }
        chunks = chunks.get(end + 2..).unwrap_or_default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> io::Result<Option<Answer>> {
        answer(bytes, false)
    }

    #[test]
    fn a_body_ends_by_its_length_its_last_chunk_or_the_connection() {
        let whole = |body: &str| Some(Answer { status: 200, body: body.as_bytes().to_vec() });
        let length = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
        assert_eq!(read(length).unwrap(), whole("hello"));
        let chunked =
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2;x=y\r\nlo\r\n0\r\n\r\n";
        assert_eq!(read(chunked).unwrap(), whole("hello"));
        let close = b"HTTP/1.0 200 OK\r\n\r\nhello";
        assert_eq!(answer(close, true).unwrap(), whole("hello"));
        assert_eq!(read(close).unwrap(), None);
        let informed = b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
        assert_eq!(read(informed).unwrap(), whole("ok"));
        for bytes in [&length[..], &chunked[..], &informed[..]] {
            for end in 0..bytes.len() - 4 {
                assert_eq!(read(&bytes[..end]).unwrap(), None, "{end}");
            }
        }
    }

    #[test]
    fn an_answer_that_is_none_is_an_error() {
        let wrong: [&[u8]; 5] = [
            b"SSH-2.0-OpenSSH\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffff\r\n",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\naXX",
        ];
        for bytes in wrong {
            assert!(read(bytes).is_err(), "{}", bytes.escape_ascii());
        }
    }
}
