//! Tokens of an identity provider of the tests' own.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use super::super::tests::Temporary;
use super::*;

const LONG: Duration = Duration::from_secs(60);

/// A provider that answers each connection's request by `answer`; its thread ends with the test.
fn provider(mut answer: impl FnMut(&str) -> String + Send + 'static) -> (String, Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/token?tenant=a", listener.local_addr().unwrap());
    let (sender, requests) = channel();
    thread::spawn(move || {
        while let Ok((mut socket, _)) = listener.accept() {
            let request = request(&mut socket);
            let _written = socket.write_all(answer(&request).as_bytes());
            if sender.send(request).is_err() {
                return;
            }
        }
    });
    (url, requests)
}

fn request(socket: &mut TcpStream) -> String {
    let mut text = String::new();
    let mut byte = [0];
    let is_whole = |text: &str| {
        let (head, form) = text.split_once("\r\n\r\n")?;
        let length = head.split("Content-Length: ").nth(1)?.lines().next()?;
        Some(form.len() == length.parse::<usize>().ok()?)
    };
    while is_whole(&text) != Some(true) && socket.read(&mut byte).unwrap() == 1 {
        text.push(char::from(byte[0]));
    }
    text
}

fn ok(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

fn credentials(url: &str) -> ClientCredentials {
    let secret = SecretSource::Given(Secret::new("s3cr:t"));
    ClientCredentials::new(url, None, "client".to_owned(), secret).unwrap()
}

fn get(tokens: &Tokens) -> Result<Vec<u8>, TokenError> {
    tokens.get(Instant::now() + LONG).map(|token| token.expose().to_vec())
}

#[test]
fn a_provider_is_asked_as_kafkas_own_client_does() {
    let (url, requests) = provider(|_| ok(r#"{"access_token":"a.b.c","expires_in":3600}"#));
    let endpoint = credentials(&url)
        .with_scope(Some("kafka read".to_owned()))
        .with_audience(Some("https://kafka".to_owned()));
    let tokens = Tokens::new(TokenSource::Endpoint(endpoint));
    assert_eq!(get(&tokens).unwrap(), b"a.b.c");
    let request = requests.recv().unwrap();
    assert!(request.starts_with("POST /token?tenant=a HTTP/1.1\r\nHost: 127.0.0.1:"), "{request}");
    assert!(request.contains("\r\nAuthorization: Basic Y2xpZW50OnMzY3I6dA==\r\n"), "{request}");
    assert!(
        request
            .ends_with("\r\n\r\ngrant_type=client_credentials&scope=kafka+read&audience=https%3A%2F%2Fkafka"),
        "{request}"
    );
}

#[test]
fn all_who_ask_share_one_token() {
    let (url, requests) = provider(|_| ok(r#"{"access_token":"a.b.c","expires_in":3600}"#));
    let tokens = Tokens::new(TokenSource::Endpoint(credentials(&url)));
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| assert_eq!(get(&tokens).unwrap(), b"a.b.c"));
        }
    });
    assert_eq!(get(&tokens).unwrap(), b"a.b.c");
    requests.recv().unwrap();
    assert!(requests.try_recv().is_err());
}

#[test]
fn what_may_pass_is_tried_again_and_what_may_not_is_said_at_once() {
    let mut answers = [
        "HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n".to_owned(),
        String::new(),
        ok(r#"{"access_token":"a.b.c"}"#),
    ]
    .into_iter();
    let (url, _requests) = provider(move |_| answers.next().unwrap());
    assert_eq!(get(&Tokens::new(TokenSource::Endpoint(credentials(&url)))).unwrap(), b"a.b.c");

    let body = r#"{"error":"invalid_client","error_description":"no such\nclient"}"#;
    let (url, requests) = provider(move |_| ok(body).replace("200 OK", "401 Unauthorized"));
    let error = get(&Tokens::new(TokenSource::Endpoint(credentials(&url)))).unwrap_err();
    let shown = url.strip_suffix("?tenant=a").unwrap();
    let expected = format!(
        "no token from the token endpoint {shown}: it answers with status 401: invalid_client: no such client"
    );
    assert_eq!(error, TokenError::lasting(expected));
    requests.recv().unwrap();
    assert!(requests.try_recv().is_err());
}

#[test]
fn an_answer_without_a_token_an_endless_one_or_none_at_all_is_an_error_without_secrets() {
    let stop = Stop::new();
    let endless = format!("HTTP/1.1 200 OK\r\n\r\n{}", "x".repeat(1024 * 1024));
    for answer in [ok("{}"), ok("[]"), ok(r#"{"access_token":""}"#), endless, "SSH-2.0\r\n\r\n".to_owned()] {
        let (url, _requests) = provider(move |_| answer.clone());
        let error = credentials(&url).fetch(Instant::now() + Duration::from_millis(200), &stop).unwrap_err();
        assert!(error.may_pass && !error.message.contains("s3cr"), "{error:?}");
    }
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", silent.local_addr().unwrap());
    let error = credentials(&url).fetch(Instant::now() + Duration::from_millis(50), &stop).unwrap_err();
    assert_eq!(error, TokenError::passing("it has not answered in time".to_owned()));
}

#[test]
fn an_address_over_which_others_could_read_the_secret_is_refused() {
    let refused = |url: &str| {
        let secret = SecretSource::Given(Secret::new("s"));
        ClientCredentials::new(url, None, "client".to_owned(), secret).unwrap_err()
    };
    assert!(refused("http://login.example.com/token").contains("use https://"));
    assert!(refused("https://login.example.com/token").contains("needs TLS"));
}

/// A held token, as if it had come some time ago and lived for so long.
fn hold(tokens: &Tokens, age: Duration, life: Duration) {
    let fetched = Fetched::new(Secret::new("held"), Some(life));
    lock(&tokens.shared.state).held = Some(fetched.aged(age));
}

#[test]
fn a_valid_token_is_used_while_its_provider_is_down_and_an_expired_one_is_not() {
    let gone = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", gone.local_addr().unwrap());
    drop(gone);
    let tokens = Tokens::new(TokenSource::Endpoint(credentials(&url)));
    hold(&tokens, Duration::from_secs(90), Duration::from_secs(100));
    assert_eq!(get(&tokens).unwrap(), b"held");
    hold(&tokens, Duration::from_secs(99), Duration::from_secs(100));
    assert!(get(&tokens).unwrap_err().may_pass);
}

#[test]
fn a_token_near_its_end_is_replaced() {
    let (url, _requests) = provider(|_| ok(r#"{"access_token":"new","expires_in":"3600"}"#));
    let tokens = Tokens::new(TokenSource::Endpoint(credentials(&url)));
    hold(&tokens, Duration::from_secs(90), Duration::from_secs(100));
    // The renewal may come later than this call waits for it.
    while get(&tokens).unwrap() != b"new" {}
}

#[test]
fn a_refused_token_is_replaced_unless_it_is_new() {
    let count = AtomicUsize::new(0);
    let (url, _requests) =
        provider(move |_| ok(&format!(r#"{{"access_token":"t{}"}}"#, count.fetch_add(1, Ordering::Relaxed))));
    let tokens = Tokens::new(TokenSource::Endpoint(credentials(&url)));
    assert_eq!(get(&tokens).unwrap(), b"t0");
    tokens.refused(&Secret::new("t0"));
    assert_eq!(get(&tokens).unwrap(), b"t0");
    hold(&tokens, LEAST_AGE, Duration::from_secs(3600));
    tokens.refused(&Secret::new("another"));
    assert_eq!(get(&tokens).unwrap(), b"held");
    tokens.refused(&Secret::new("held"));
    assert_eq!(get(&tokens).unwrap(), b"t1");
}

#[test]
fn a_failure_is_not_asked_for_again_before_its_wait_is_over() {
    let count = Arc::new(AtomicUsize::new(0));
    let counted = count.clone();
    let (url, _requests) = provider(move |_| {
        counted.fetch_add(1, Ordering::Relaxed);
        "HTTP/1.1 400 Bad\r\nContent-Length: 0\r\n\r\n".to_owned()
    });
    let tokens = Tokens::new(TokenSource::Endpoint(credentials(&url)));
    let first = get(&tokens).unwrap_err();
    lock(&tokens.shared.state).next_fetch = Instant::now() + LONG;
    assert_eq!(get(&tokens).unwrap_err(), first);
    assert_eq!(count.load(Ordering::Relaxed), 1);
}

#[test]
fn a_token_file_is_read_at_each_authentication() {
    let file = Temporary::file("renewed", b"first", 0o600);
    let tokens = Tokens::new(TokenSource::File(file.path()));
    for token in ["first", "second"] {
        std::fs::write(file.path(), format!("{token}\n")).unwrap();
        assert_eq!(get(&tokens).unwrap(), token.as_bytes());
    }
}

#[test]
fn a_token_file_that_is_not_there_yet_may_come_and_one_that_is_refused_lasts() {
    let error = |path: std::path::PathBuf| get(&Tokens::new(TokenSource::File(path))).unwrap_err();
    let empty = Temporary::file("token-empty", b"\n", 0o600);
    assert!(error(empty.path()).may_pass && error(empty.path().join("absent")).may_pass);
    assert!(error(std::env::temp_dir().join("no-such-token-file")).may_pass);
    let shared = Temporary::file("token-shared", b"s3cret", 0o644);
    let large = Temporary::file("token-large", &[b'x'; 64 * 1024 + 1], 0o600);
    for refused in [shared.path(), large.path(), std::env::temp_dir()] {
        let error = error(refused);
        assert!(!error.may_pass && !error.message.contains("s3cret"), "{error}");
    }
}

#[test]
fn tokens_that_are_dropped_end_their_program() {
    let words = ["/bin/sh", "-c", "sleep 1000"].map(str::to_owned);
    let tokens = Tokens::new(TokenSource::Command(words.to_vec()));
    let error = tokens.get(Instant::now() + Duration::from_millis(50)).unwrap_err();
    assert_eq!(error.message, "no token from the token command /bin/sh yet: it has not answered");
    // Waits for the thread, which ends the program.
    drop(tokens);
}
