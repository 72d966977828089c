//! Asks a port whether it wants TLS. Without any cryptography, so also in a build without TLS.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, TcpStream};
use std::time::{Duration, Instant};

use net::connect::connect;

/// The bytes of a record's header and of the first field of its message.
const ANSWER: usize = 6;

const HANDSHAKE: u8 = 22;
const ALERT: u8 = 21;
const CLIENT_HELLO: u8 = 1;
const SERVER_HELLO: u8 = 2;

/// Extensions of the hello, without the server's name: groups x25519, P-256, P-384; points uncompressed;
/// signatures ECDSA, RSA-PSS and RSA-PKCS1 with SHA-256, SHA-384, SHA-512, and Ed25519; versions 1.3 and 1.2;
/// a key share for none of the groups, so that a server of 1.3 asks for one (RFC 8446 §4.2.8).
const EXTENSIONS: &[u8] = &[
    0, 10, 0, 8, 0, 6, 0, 29, 0, 23, 0, 24, //
    0, 11, 0, 2, 1, 0, //
    0, 13, 0, 22, 0, 20, 4, 3, 5, 3, 6, 3, 8, 4, 8, 5, 8, 6, 4, 1, 5, 1, 6, 1, 8, 7, //
    0, 43, 0, 5, 4, 3, 4, 3, 3, //
    0, 51, 0, 2, 0, 0,
];

/// The suites of the hello: those of TLS 1.3, and of TLS 1.2 with ECDHE, DHE and RSA.
const SUITES: [[u8; 2]; 14] = [
    [0x13, 0x01],
    [0x13, 0x02],
    [0x13, 0x03],
    [0xc0, 0x2b],
    [0xc0, 0x2c],
    [0xc0, 0x2f],
    [0xc0, 0x30],
    [0xc0, 0x09],
    [0xc0, 0x13],
    [0x00, 0x9e],
    [0x00, 0x9f],
    [0x00, 0x9c],
    [0x00, 0x2f],
    [0x00, 0x35],
];

/// Asks the port at `address` (`host:port`) once with the first message of a TLS handshake, and tells whether
/// the answer is TLS. No answer within `timeout` is none, as is a host that cannot be reached.
pub fn speaks_tls(address: &str, timeout: Duration) -> bool {
    let deadline = Instant::now() + timeout;
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    connect(address, deadline).is_ok_and(|socket| answers(&socket, &client_hello(host), deadline))
}

/// Whether the first bytes of the answer to `hello` are of TLS.
fn answers(mut socket: &TcpStream, hello: &[u8], deadline: Instant) -> bool {
    let mut answer = [0; ANSWER];
    let mut have = 0;
    let mut to_write = hello;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return false;
        }
        let timeouts = [socket.set_write_timeout(Some(left)), socket.set_read_timeout(Some(left))];
        if timeouts.iter().any(Result::is_err) {
            return false;
        }
        let done = match to_write {
            [] => socket.read(answer.get_mut(have..).unwrap_or_default()).inspect(|count| have += count),
            bytes => socket.write(bytes).inspect(|&count| to_write = bytes.get(count..).unwrap_or_default()),
        };
        match done {
            Ok(0) => return false,
            Ok(_) if have == ANSWER => return is_tls(answer),
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => return false,
        }
    }
}

/// Whether a server's answer begins so: a ServerHello, or an alert that is a warning (1) or fatal (2), in a
/// record of version 3.
fn is_tls(answer: [u8; ANSWER]) -> bool {
    let [kind, major, _, high, low, first] = answer;
    let size = u16::from_be_bytes([high, low]);
    match kind {
        HANDSHAKE => major == 3 && size > 0 && first == SERVER_HELLO,
        ALERT => major == 3 && size == 2 && matches!(first, 1 | 2),
        _ => false,
    }
}

/// The first message of a handshake, in a record.
fn client_hello(host: &str) -> Vec<u8> {
    // Nothing is encrypted with it.
    let random: [u8; 32] = net::random::bytes().unwrap_or_default();
    let mut extensions = server_name(host);
    extensions.extend_from_slice(EXTENSIONS);

    let mut body = vec![3, 3]; // TLS 1.2, as all later versions say here
    body.extend_from_slice(&random);
    body.push(0); // no session
    body.extend(with_size(SUITES.as_flattened()));
    body.extend_from_slice(&[1, 0]); // no compression
    body.extend(with_size(&extensions));

    let mut message = vec![CLIENT_HELLO, 0];
    message.extend(with_size(&body));
    let mut record = vec![HANDSHAKE, 3, 1];
    record.extend(with_size(&message));
    record
}

/// The extension with the server's name; none for an address (RFC 6066 §3) or a name that is too long.
fn server_name(host: &str) -> Vec<u8> {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    if bare.parse::<IpAddr>().is_ok() || bare.is_empty() || bare.len() > 253 {
        return Vec::new();
    }
    let mut name = vec![0];
    name.extend(with_size(bare.as_bytes()));
    let mut extension = vec![0, 0];
    extension.extend(with_size(&with_size(&name)));
    extension
}

/// The bytes after their number in two bytes.
fn with_size(bytes: &[u8]) -> Vec<u8> {
    let size = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
    [&size.to_be_bytes(), bytes].concat()
}
